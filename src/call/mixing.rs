//! A third party joins the two: both are given a mixer of ours.
//!
//! Spec: RULES R17; RFC 3264 §8; RFC 3261 §14.1 (S-18, S-19).
//!
//! ```text
//!              2xx                2xx       he leaves
//!   Asking far ---> Asking near ---> Mixed -----------> Returning, see `returning`
//!        |               |
//!        |refused        \--refused: Returning far
//!        v
//!   the two talk, as if nothing had been asked
//! ```
//!
//! - The side that may ask for credentials is asked first: what it refuses nobody has noticed.
//! - What is described to a side is its session with the other one, in versions that rise, whoever
//!   describes it.
//! - Nobody's request waits for longer than an INVITE of ours; what a side asks meanwhile is in `mixed`.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::call::hold::is_held;
use crate::call::known::origin_of;
use crate::call::mixed::{mixer_sdp, taken_beside};
use crate::call::negotiation::{Negotiation, is_end_of_dialog};
use crate::call::recall::ALLOW;
use crate::call::returning::Waiting;
use crate::call::sdp::{SDP, sdp_of};
use crate::call::sound::{Taken, audio_at};
use crate::call::{Call, Outcome, Phase, Side, Turn, end};
use crate::media::srtp::MasterKey;
use crate::media::stream::Agreed;
use crate::random::Rng;
use crate::sip::{Method, Name, Response, Status, Writer};
use crate::time::Timestamp;
use crate::transaction::clients::Failure;

/// How long a side may take to answer; phones do so by themselves.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// A mixer between the two sides.
#[derive(Debug)]
pub(super) struct Mixing {
    pub(super) stage: Stage,
    /// Who is asked first.
    first: Side,
    /// Our address for each side.
    pub(super) at: [SocketAddr; 2],
    /// What we send under to each side that has no plain audio: what it hears the other one under.
    keys: [Option<MasterKey>; 2],
    /// What each side has agreed to; nothing any more if the mixer is out of order.
    pub(super) agreed: [Option<Agreed>; 2],
    /// Which of them have been told to send to us.
    pub(super) changed: [bool; 2],
    /// What was described to each side last that it has not taken.
    pub(super) offered: [Option<Box<[u8]>>; 2],
    /// What each side has taken last.
    pub(super) described: [Box<[u8]>; 2],
    /// The version that was sent to each side last.
    pub(super) versions: [u64; 2],
    is_wanted: bool,
    /// Whether both have been on it at the same time, and so hear each other by it.
    pub(super) is_heard: bool,
    /// How often a side has not let go, which is told once.
    pub(super) kept: u32,
    pub(super) news: Option<MixNews>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stage {
    /// This side is asked to send to us.
    Asking(Side),
    /// Both do.
    Mixed,
    /// This side is asked to send to the other one again, and will be until then.
    Returning(Side, Timestamp),
    /// It was, at a time when it could not be asked.
    Waiting(Waiting),
    /// This side, which had been given the other one, is to send to us again: the other side does not.
    Rejoining(Side),
    /// Both do, though nobody has joined them any more: this side did not let go, and is asked again.
    Kept(Side, Timestamp),
}

/// What has become of a mixer.
#[derive(Clone, Debug)]
pub enum MixNews {
    /// The two talk without it: as before, or as one of them has asked the other to.
    Gone,
    /// It is not needed any more, but a side does not let go of it: the two talk by it.
    Kept,
    /// This side has left; the other one stays with whoever has joined.
    Left(Side),
    /// A side describes itself anew, and stays: our port for it, and what was agreed on.
    Moved(Side, Box<(u16, Agreed)>),
    /// Both sides send to us: what was agreed on with A and B.
    Ready(Box<[Agreed; 2]>),
    /// Nobody can join: the side that has taken the mixer is given the other one again.
    Refused,
}

impl Call {
    /// Whether a mixer at this address could stand between the two: both have audio that we know, both hear
    /// and are heard there.
    pub fn could_mix(&self, at: IpAddr) -> bool {
        let could = |side| {
            let taken = self.taken_of(side);
            taken.is_some_and(|taken| taken.is_beside(at)) && self.version_of(side).is_some()
        };
        // What passes us already is not known by its own addresses.
        !self.is_anchored() && [Side::A, Side::B].into_iter().all(could)
    }

    /// Whether the session of a side is on hold, as far as it is known.
    pub fn is_on_hold(&self) -> bool {
        let mut known = [&self.a, &self.b].into_iter().flat_map(|leg| &leg.known);
        known.any(|known| is_held(&known.sdp))
    }

    /// Whether a mixer stands or is to stand between the two.
    pub fn has_mixer(&self) -> bool {
        self.mixing.is_some()
    }

    /// Whether somebody joins the two, or has joined them and is still there.
    pub fn is_mixed(&self) -> bool {
        let mixing = self.mixing.as_deref();
        mixing.is_some_and(|mixing| mixing.is_wanted)
    }

    /// Puts a mixer of these addresses, for A and for B, between the two, asking one side first;
    /// whether that has begun. What comes of it is told as [`MixNews`].
    pub fn begin_mix(&mut self, turn: &mut Turn<'_>, at: [SocketAddr; 2], first: Side) -> bool {
        let is_quiet = self.negotiation.is_none() && self.exchanges.is_empty();
        let could = at.iter().all(|at| self.could_mix(at.ip()));
        let is_free = self.phase == Phase::Talking && is_quiet && could && self.mixing.is_none();
        let versions = [Side::A, Side::B].map(|side| self.version_of(side));
        let ([Some(a), Some(b)], true) = (versions, is_free) else {
            return false;
        };
        let taken = [Side::A, Side::B].map(|side| self.taken_of(side));
        let keys = taken.map(|taken| taken.and_then(|taken| taken.sent_under()));
        self.mixing = Some(Box::new(Mixing {
            stage: Stage::Asking(first),
            first,
            at,
            keys,
            agreed: [None; 2],
            changed: [false; 2],
            offered: [None, None],
            described: Default::default(),
            versions: [a, b],
            is_wanted: true,
            is_heard: false,
            kept: 0,
            news: None,
        }));
        let is_sent = self.ask_to_mix(turn, first);
        if !is_sent {
            self.mixing = None;
        }
        is_sent
    }

    /// The two are to have each other again.
    pub fn end_mix(&mut self, turn: &mut Turn<'_>) {
        let Some(mixing) = self.mixing.as_deref_mut() else {
            return;
        };
        mixing.is_wanted = false;
        if let Phase::Staying(side) = self.phase {
            self.lose(turn, &[side]);
            self.outcome = Outcome::HungUp(side.other());
            return;
        }
        if self.phase == Phase::Talking && mixing.stage == Stage::Mixed {
            let first = mixing.first;
            self.give_back(turn, first);
        }
    }

    /// Whether both are on the mixer with somebody who has joined, and this is not the side that he
    /// came for.
    pub(super) fn is_mixed_beyond(&self, side: Side) -> bool {
        let mixing = self.mixing.as_deref();
        mixing.is_some_and(|it| it.stage == Stage::Mixed && it.is_wanted && it.first == side)
    }

    pub(super) fn tell_of_mix(&mut self, news: MixNews) {
        if let Some(mixing) = self.mixing.as_deref_mut() {
            mixing.news = Some(news);
        }
    }

    /// What has become of the mixer.
    pub fn take_mix_news(&mut self) -> Option<MixNews> {
        self.mixing.as_deref_mut()?.news.take()
    }

    /// A side's audio, by its own description, in a line that both use.
    pub(super) fn taken_of(&self, side: Side) -> Option<Taken> {
        let own = &self.leg(side.other()).known.as_deref()?.sdp;
        let known = &self.leg(side).known.as_deref()?.sdp;
        taken_beside(known, own, self.flow(side).remote.ip())
    }

    fn version_of(&self, side: Side) -> Option<u64> {
        origin_of(&self.leg(side).known.as_deref()?.sdp).map(|origin| origin.version)
    }

    /// Asks a side to send to us.
    pub(super) fn ask_to_mix(&mut self, turn: &mut Turn<'_>, side: Side) -> bool {
        let described = self.mixer_for(side);
        let sent = described.and_then(|sdp| self.describe_anew(turn, side, sdp));
        sent.is_some()
    }

    /// What a side is told of the mixer.
    fn mixer_for(&self, side: Side) -> Option<Box<[u8]>> {
        let taken = self.taken_of(side)?;
        let known = self.leg(side).known.as_deref()?;
        let mixing = self.mixing.as_deref()?;
        let place = index(side);
        let version = mixing.versions.get(place)?.checked_add(1)?;
        let at = (*mixing.at.get(place)?, *mixing.keys.get(place)?);
        Some(mixer_sdp(&known.sdp, version, at, &taken).into_boxed_slice())
    }

    /// Sends an INVITE with this description to a side, which is the next version of its session.
    pub(super) fn describe_anew(
        &mut self,
        turn: &mut Turn<'_>,
        side: Side,
        sdp: Box<[u8]>,
    ) -> Option<()> {
        if self.negotiation.is_some() || self.pending_offer(None).is_some() {
            return None;
        }
        let user = Some(self.user(crate::call::Part::Negotiation));
        let terms = self.terms(side);
        let leg = self.leg_mut(side);
        let number = leg.dialog.next_cseq();
        turn.scratch.clear();
        let mut writer = Writer::fragment(turn.scratch);
        leg.dialog
            .write_fields(&mut writer, Method::Invite, number, 70);
        let flow = leg.dialog.flow();
        writer.header(Name::Contact, turn.contacts.of(&flow));
        writer.header(Name::Allow, ALLOW);
        if let Some(terms) = terms {
            writer.header(Name::Supported, b"timer");
            terms.write_request(&mut writer);
        }
        writer.header(Name::ContentType, SDP);
        writer.finish(&sdp).ok()?;
        let account = self.account_on(side);
        let dialog = &self.leg(side).dialog;
        let client = end::send_as(turn, dialog, Method::Invite, (user, account.as_ref()))?;
        let until = turn.now + ANSWER_MAX;
        let pending = Negotiation::of_mixer(turn, side, (client, number), until);
        self.negotiation = Some(Box::new(pending));
        let place = index(side);
        let mixing = self.mixing.as_deref_mut()?;
        *mixing.versions.get_mut(place)? += 1;
        *mixing.offered.get_mut(place)? = Some(sdp);
        Some(())
    }

    /// A side has answered what it was asked; its ACK is on its way.
    pub(super) fn on_mix_response(
        &mut self,
        turn: &mut Turn<'_>,
        side: Side,
        response: &Response<'_>,
    ) {
        if self.phase != Phase::Talking {
            return;
        }
        let status = response.status;
        if is_end_of_dialog(status) {
            // S-15
            return self.lose(turn, &[Side::A, Side::B]);
        }
        if !status.is_success() {
            return self.on_mix_refused(turn, side, status);
        }
        self.leg_mut(side).dialog.refresh_target(&response.message);
        self.on_session_answered(turn, side, response, None);
        self.note_taken(side);
        match self.mix_stage() {
            Some(Stage::Asking(_)) => {
                let agreed = self.agreed_in(side, response);
                self.on_agreed(turn, side, agreed);
            }
            Some(Stage::Returning(..)) => self.on_returned(turn, side),
            Some(Stage::Rejoining(_)) => self.on_rejoined(turn, side, response),
            Some(Stage::Mixed | Stage::Waiting(_) | Stage::Kept(..)) | None => {}
        }
    }

    /// A side has taken what was described to it.
    fn note_taken(&mut self, side: Side) {
        let place = index(side);
        let Some(mixing) = self.mixing.as_deref_mut() else {
            return;
        };
        let offered = mixing.offered.get_mut(place).and_then(Option::take);
        if let (Some(offered), Some(described)) = (offered, mixing.described.get_mut(place)) {
            described.clone_from(&offered);
            self.redescribe(side, &offered);
        }
    }

    /// What a side has agreed to.
    fn agreed_in(&self, side: Side, response: &Response<'_>) -> Option<Agreed> {
        let source = self.flow(side).remote.ip();
        let taken = Taken::of(sdp_of(&response.message)?, source)?;
        let mixing = self.mixing.as_deref()?;
        let (ours, at) = (*mixing.keys.get(index(side))?, mixing.at.get(index(side))?);
        // Who was offered keys has to have some, and who was not, none.
        let is_fit = taken.is_secure() == ours.is_some() && taken.is_beside(at.ip());
        is_fit.then(|| taken.agreed(ours))
    }

    /// A side has not answered what it was asked.
    pub(super) fn on_mix_failure(&mut self, turn: &mut Turn<'_>, side: Side, failure: Failure) {
        match failure {
            // S-15: as good as 408.
            Failure::TimedOut => self.lose(turn, &[Side::A, Side::B]),
            Failure::Unreachable => {
                self.on_mix_refused(turn, side, Status::SERVER_INTERNAL_ERROR);
            }
        }
    }

    fn on_agreed(&mut self, turn: &mut Turn<'_>, side: Side, agreed: Option<Agreed>) {
        let Some(mixing) = self.mixing.as_deref_mut() else {
            return;
        };
        let place = index(side);
        if let (Some(has), Some(is_changed)) =
            (mixing.agreed.get_mut(place), mixing.changed.get_mut(place))
        {
            (*has, *is_changed) = (agreed, true);
        }
        let first = mixing.first;
        if !mixing.is_wanted || agreed.is_none() {
            // Also where it has taken what nobody can hear.
            return self.call_off(turn, first);
        }
        if side == first {
            mixing.stage = Stage::Asking(side.other());
            if !self.ask_to_mix(turn, side.other()) {
                self.call_off(turn, first);
            }
        } else if let [Some(a), Some(b)] = mixing.agreed {
            mixing.stage = Stage::Mixed;
            mixing.is_heard = true;
            mixing.news = Some(MixNews::Ready(Box::new([a, b])));
        }
    }

    /// Nobody joins; who was asked first is given the other side again.
    fn call_off(&mut self, turn: &mut Turn<'_>, first: Side) {
        if let Some(mixing) = self.mixing.as_deref_mut()
            && std::mem::take(&mut mixing.is_wanted)
        {
            mixing.news = Some(MixNews::Refused);
        }
        self.give_back(turn, first);
    }

    /// A side does not want what it was asked.
    fn on_mix_refused(&mut self, turn: &mut Turn<'_>, side: Side, status: Status) {
        let Some(mixing) = self.mixing.as_deref_mut() else {
            return;
        };
        match mixing.stage {
            Stage::Asking(_) if side == mixing.first => {
                mixing.news = Some(MixNews::Gone);
            }
            Stage::Asking(_) => {
                let first = mixing.first;
                self.call_off(turn, first);
            }
            Stage::Returning(..) => self.on_not_returned(turn, side, status),
            Stage::Rejoining(_) => self.part_the_two(turn),
            Stage::Mixed | Stage::Waiting(_) | Stage::Kept(..) => {}
        }
    }

    /// The mixer is gone; nothing of it is left.
    pub fn forget_mix(&mut self) {
        self.mixing = None;
    }

    pub(super) fn mix_stage(&self) -> Option<Stage> {
        self.mixing.as_deref().map(|mixing| mixing.stage)
    }

    pub(super) fn set_mix_stage(&mut self, stage: Stage) {
        if let Some(mixing) = self.mixing.as_deref_mut() {
            mixing.stage = stage;
        }
    }
}

impl Mixing {
    /// The mixer of who has joined, and has no other side: what we took of his offer, and our answer.
    pub(super) fn of_one(taken: &Taken, sdp: &[u8]) -> Self {
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let ours = audio_at(sdp, nowhere.ip()).unwrap_or(nowhere);
        // He is asked for nothing, so that our keys are of no interest here; his are.
        let agreed = taken.agreed(taken.key(&mut Rng::from_number(0)));
        Self {
            stage: Stage::Mixed,
            first: Side::A,
            at: [ours, nowhere],
            keys: [None; 2],
            agreed: [Some(agreed), None],
            changed: [true, false],
            offered: [None, None],
            described: [Box::from(sdp), Box::default()],
            versions: [origin_of(sdp).map_or(0, |origin| origin.version), 0],
            is_wanted: true,
            is_heard: true,
            kept: 0,
            news: None,
        }
    }
}

pub(super) fn index(side: Side) -> usize {
    match side {
        Side::A => 0,
        Side::B => 1,
    }
}
