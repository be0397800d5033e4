//! A third party joins the two: both are given a mixer of ours, and each other again when he leaves.
//!
//! Spec: RULES R17; RFC 3264 §8; RFC 3261 §14.1 (S-18, S-19).
//!
//! ```text
//!   Talking --> Asking far --2xx--> Asking near --2xx--> Mixed --> Returning far --> near --> Talking
//!                  |                   |failure                       ^  | ^
//!                  |failure            \------------------------------/  \-/ refused: again later
//!                  v
//!               Talking, as if nothing had been asked
//! ```
//!
//! - The side that may ask for credentials is asked first: what it refuses nobody has noticed.
//! - What is described to a side is its session with the other one, in versions that rise, whoever
//!   describes it.
//! - While a mixer stands between them nobody's session changes: that gives 491, and the mixer goes.

use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use crate::call::known::{origin_of, with_version, write_origin};
use crate::call::negotiation::{Negotiation, is_end_of_dialog};
use crate::call::recall::ALLOW;
use crate::call::sdp::{Media, SDP, sdp_of};
use crate::call::sound::{Taken, sections, write_audio};
use crate::call::{Call, Phase, Side, Turn, end, respond, respond_plainly};
use crate::dialog::Order;
use crate::media::stream::Agreed;
use crate::sip::flow::Flow;
use crate::sip::{Method, Name, Request, Response, Status, Writer};
use crate::table::Key;
use crate::time::Timestamp;
use crate::transaction::clients::Failure;
use crate::transaction::reply;

/// How long a side may take to answer; phones do so by themselves.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// How often a side is asked that has something else to do just then (S-19).
const TRIES_MAX: u8 = 4;

/// A mixer between the two sides.
#[derive(Debug)]
pub(super) struct Mixing {
    stage: Stage,
    /// Who is asked first.
    first: Side,
    /// Our address for each side.
    at: [SocketAddr; 2],
    /// What each side has agreed to.
    agreed: [Option<Agreed>; 2],
    /// Which of them have been told to send to us.
    changed: [bool; 2],
    /// What was described to each side last.
    described: [Box<[u8]>; 2],
    /// The version that was sent to each side last.
    versions: [u64; 2],
    tries: u8,
    is_wanted: bool,
    news: Option<MixNews>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    /// This side is asked to send to us.
    Asking(Side),
    /// Both do.
    Mixed,
    /// This side is asked to send to the other one again.
    Returning(Side),
    /// It was, at a time when it could not be asked.
    Waiting(Side, Timestamp),
    /// It does not want to: the mixer stays as long as the call.
    Stuck,
}

/// What has become of a mixer.
#[derive(Clone, Debug)]
pub enum MixNews {
    /// A side wants to change its session: whoever has joined has to leave.
    Disturbed,
    /// The two talk as before, with nothing between them.
    Gone,
    /// Both sides send to us: what was agreed on with A and B.
    Ready(Box<[Agreed; 2]>),
    /// The mixer is not needed any more, but a side does not let go of it.
    Stuck,
}

impl Call {
    /// Whether a mixer could stand between the two: both have plain audio that we know, both hear and
    /// are heard.
    pub fn could_mix(&self) -> bool {
        // What passes us already is not known by its own addresses.
        !self.is_anchored()
            && [Side::A, Side::B]
                .into_iter()
                .all(|side| self.taken_of(side).is_some() && self.version_of(side).is_some())
    }

    /// Whether the session of a side is on hold, as far as it is known.
    pub fn is_on_hold(&self) -> bool {
        let known = [&self.a, &self.b].into_iter().flat_map(|leg| &leg.known);
        known
            .flat_map(|known| sections(&known.sdp))
            .any(|audio| audio.media.port().is_some_and(|port| port > 0) && !audio.flows())
    }

    /// Whether a mixer stands or is to stand between the two.
    pub fn has_mixer(&self) -> bool {
        self.mixing.is_some()
    }

    /// Puts a mixer of these addresses, for A and for B, between the two, asking one side first;
    /// whether that has begun. What comes of it is told as [`MixNews`].
    pub fn begin_mix(&mut self, turn: &mut Turn<'_>, at: [SocketAddr; 2], first: Side) -> bool {
        let is_quiet = self.negotiation.is_none() && self.exchanges.is_empty();
        let is_free = self.phase == Phase::Talking && is_quiet && self.mixing.is_none();
        let versions = [Side::A, Side::B].map(|side| self.version_of(side));
        let ([Some(a), Some(b)], true) = (versions, is_free && self.could_mix()) else {
            return false;
        };
        self.mixing = Some(Box::new(Mixing {
            stage: Stage::Asking(first),
            first,
            at,
            agreed: [None; 2],
            changed: [false; 2],
            described: Default::default(),
            versions: [a, b],
            tries: 0,
            is_wanted: true,
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
        if mixing.stage == Stage::Mixed && self.phase == Phase::Talking {
            let first = mixing.first;
            self.give_back(turn, first);
        }
    }

    /// What has become of the mixer.
    pub fn take_mix_news(&mut self) -> Option<MixNews> {
        self.mixing.as_deref_mut()?.news.take()
    }

    /// A side's audio, by its own description.
    fn taken_of(&self, side: Side) -> Option<Taken> {
        let known = self.leg(side.other()).known.as_deref()?;
        Taken::of(&known.sdp, self.flow(side).remote.ip())
    }

    fn version_of(&self, side: Side) -> Option<u64> {
        origin_of(&self.leg(side).known.as_deref()?.sdp).map(|origin| origin.version)
    }

    /// Asks a side to send to us.
    fn ask_to_mix(&mut self, turn: &mut Turn<'_>, side: Side) -> bool {
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
        let at = *mixing.at.get(place)?;
        Some(mixer_sdp(&known.sdp, version, at, &taken).into_boxed_slice())
    }

    /// Asks a side to send to the other one again.
    fn give_back(&mut self, turn: &mut Turn<'_>, side: Side) {
        let place = index(side);
        let known = self.leg(side).known.as_deref().map(|known| &known.sdp);
        let mixing = self.mixing.as_deref();
        let version = mixing.and_then(|mixing| mixing.versions.get(place)?.checked_add(1));
        let sdp = known.zip(version);
        let sdp = sdp.map(|(known, version)| with_version(known, version).into_boxed_slice());
        self.set_mix_stage(Stage::Returning(side));
        let sent = sdp.and_then(|sdp| self.describe_anew(turn, side, sdp));
        if sent.is_none() {
            self.on_not_returned(turn, side);
        }
    }

    /// Sends an INVITE with this description to a side, which is the next version of its session.
    fn describe_anew(&mut self, turn: &mut Turn<'_>, side: Side, sdp: Box<[u8]>) -> Option<()> {
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
        *mixing.described.get_mut(place)? = sdp;
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
        let described = self.mixing.as_deref();
        if let Some(sdp) = described.and_then(|it| it.described.get(index(side)).cloned()) {
            self.redescribe(side, &sdp);
        }
        match self.mix_stage() {
            Some(Stage::Asking(_)) => {
                let source = self.flow(side).remote.ip();
                let taken = sdp_of(&response.message).and_then(|sdp| Taken::of(sdp, source));
                self.on_agreed(turn, side, taken.map(|taken| taken.agreed));
            }
            Some(Stage::Returning(_)) => self.on_returned(turn, side),
            Some(Stage::Mixed | Stage::Waiting(..) | Stage::Stuck) | None => {}
        }
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
        let (first, is_wanted) = (mixing.first, mixing.is_wanted && agreed.is_some());
        if !is_wanted {
            // Also where it has taken what nobody can hear.
            return self.give_back(turn, first);
        }
        if side == first {
            mixing.stage = Stage::Asking(side.other());
            mixing.tries = 0;
            if !self.ask_to_mix(turn, side.other()) {
                self.give_back(turn, first);
            }
        } else if let [Some(a), Some(b)] = mixing.agreed {
            mixing.stage = Stage::Mixed;
            mixing.news = Some(MixNews::Ready(Box::new([a, b])));
        }
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
                self.give_back(turn, first);
            }
            Stage::Returning(_) if status == Status::REQUEST_PENDING => {
                self.on_not_returned(turn, side);
            }
            Stage::Returning(_) => mixing.give_up(),
            Stage::Mixed | Stage::Waiting(..) | Stage::Stuck => {}
        }
    }

    fn on_not_returned(&mut self, turn: &mut Turn<'_>, side: Side) {
        let Some(mixing) = self.mixing.as_deref_mut() else {
            return;
        };
        mixing.tries += 1;
        if mixing.tries >= TRIES_MAX {
            return mixing.give_up();
        }
        // S-19: longer than who owns the Call-ID waits.
        let wait = Duration::from_millis(2_100 + 10 * turn.rng.below(191));
        mixing.stage = Stage::Waiting(side, turn.now + wait);
    }

    /// A side sends to the other one again.
    fn on_returned(&mut self, turn: &mut Turn<'_>, side: Side) {
        let place = index(side);
        let Some(mixing) = self.mixing.as_deref_mut() else {
            return;
        };
        let (first, version) = (mixing.first, mixing.versions.get(place).copied());
        let other = mixing.changed.get(index(first.other())).copied();
        // Who was not asked, or has refused, knows of nothing.
        let is_last = side != first || other != Some(true);
        mixing.tries = 0;
        if is_last {
            mixing.news = Some(MixNews::Gone);
        }
        if let (Some(known), Some(version)) = (self.leg_mut(side).known.as_deref_mut(), version) {
            let before = origin_of(&known.sdp).map_or(0, |origin| origin.version);
            known.ahead += version.saturating_sub(before);
            known.sdp = with_version(&known.sdp, version).into_boxed_slice();
        }
        if !is_last {
            self.give_back(turn, first.other());
        }
    }

    /// When a side is asked again.
    pub(super) fn mix_deadline(&self) -> Option<Timestamp> {
        match self.mix_stage()? {
            Stage::Waiting(_, again) => Some(again),
            Stage::Asking(_) | Stage::Mixed | Stage::Returning(_) | Stage::Stuck => None,
        }
    }

    /// Asks a side again whose time has come.
    pub(super) fn on_mix_due(&mut self, turn: &mut Turn<'_>) {
        if let Some(Stage::Waiting(side, again)) = self.mix_stage()
            && again <= turn.now
        {
            self.give_back(turn, side);
        }
    }

    /// The mixer is gone; nothing of it is left.
    pub fn forget_mix(&mut self) {
        self.mixing = None;
    }

    fn mix_stage(&self) -> Option<Stage> {
        self.mixing.as_deref().map(|mixing| mixing.stage)
    }

    fn set_mix_stage(&mut self, stage: Stage) {
        if let Some(mixing) = self.mixing.as_deref_mut() {
            mixing.stage = stage;
        }
    }
}

/// What a side sends meanwhile.
impl Call {
    /// Takes a request that would change the session of a side that has a mixer: one that changes
    /// nothing is answered by us, and any other has to come again when the mixer is gone. Whether it
    /// was such a request.
    pub(super) fn takes_for_mixer(
        &mut self,
        turn: &mut Turn<'_>,
        side: Side,
        request: &Request<'_>,
        flow: &Flow,
    ) -> bool {
        let is_invite = request.method == Method::Invite;
        let has_offer = sdp_of(&request.message).is_some();
        if self.mixing.is_none() || !(is_invite || has_offer) {
            return false;
        }
        let is_same = self.mix_stage() == Some(Stage::Mixed) && self.is_as_agreed(side, request);
        if !(is_invite && is_same && self.negotiation.is_none()) {
            let (message, status) = (&request.message, Status::REQUEST_PENDING);
            turn.layer.refuse(message, flow, status, reply::NOTHING);
            if let Some(mixing) = self.mixing.as_deref_mut()
                && mixing.stage == Stage::Mixed
            {
                mixing.news = Some(MixNews::Disturbed);
            }
            return true;
        }
        if self.leg_mut(side).dialog.order(request.cseq.number) == Order::OutOfOrder {
            end::refuse_for_now(turn, request, flow);
            return true;
        }
        let user = Some(self.user(crate::call::Part::Negotiation));
        let Ok(server) = turn.layer.accept(turn.now, request, flow, user) else {
            end::refuse_for_now(turn, request, flow);
            return true;
        };
        self.answer_as_mixer(turn, (side, server), request);
        true
    }

    fn answer_as_mixer(
        &mut self,
        turn: &mut Turn<'_>,
        (side, server): (Side, Key),
        request: &Request<'_>,
    ) {
        self.leg_mut(side).dialog.refresh_target(&request.message);
        let mixing = self.mixing.as_deref();
        let sdp = mixing.and_then(|mixing| mixing.described.get(index(side)).cloned());
        let Some(sdp) = sdp else {
            let tag = reply::Tag::AsReceived;
            return respond_plainly(turn, server, Status::SERVER_INTERNAL_ERROR, tag);
        };
        let contact = turn.contacts.of(&self.leg(side).dialog.flow());
        let terms = self.terms(side);
        let write = |writer: &mut Writer<'_>| {
            writer.header(Name::Contact, contact);
            writer.header(Name::Allow, ALLOW);
            if let Some(terms) = terms {
                terms.write_answer(writer);
            }
            writer.header(Name::ContentType, SDP);
        };
        let answer = (Status::OK, &b""[..], reply::Tag::AsReceived);
        respond(turn, server, answer, write, &sdp);
        let unacked = Negotiation::settled(turn, (side, server), request.cseq.number);
        self.negotiation = Some(Box::new(unacked));
    }

    /// Whether this offer is what was agreed on with that side.
    fn is_as_agreed(&self, side: Side, request: &Request<'_>) -> bool {
        let source = self.flow(side).remote.ip();
        let taken = sdp_of(&request.message).and_then(|sdp| Taken::of(sdp, source));
        let mixing = self.mixing.as_deref();
        let agreed = mixing.and_then(|mixing| *mixing.agreed.get(index(side))?);
        taken.zip(agreed).is_some_and(|(taken, agreed)| {
            let new = taken.agreed;
            (new.remote, new.codec, new.payload_type)
                == (agreed.remote, agreed.codec, agreed.payload_type)
        })
    }
}

impl Mixing {
    fn give_up(&mut self) {
        self.stage = Stage::Stuck;
        self.news = Some(MixNews::Stuck);
    }
}

fn index(side: Side) -> usize {
    match side {
        Side::A => 0,
        Side::B => 1,
    }
}

/// Our mixer as this version of a session that a side knows so: audio at this address in the line that
/// has it, in the codec that the side has, and no other line.
fn mixer_sdp(known: &[u8], version: u64, at: SocketAddr, taken: &Taken) -> Vec<u8> {
    let mut out = b"v=0\r\n".to_vec();
    if let Some(origin) = origin_of(known) {
        write_origin(&origin, version, &mut out);
    }
    let family = if at.is_ipv4() { "IN IP4" } else { "IN IP6" };
    // Writing to memory cannot fail.
    let _written = write!(out, "s=-\r\nc={family} {}\r\nt=0 0\r\n", at.ip());
    for (line, audio) in sections(known).enumerate() {
        let media: &Media<'_> = &audio.media;
        if line == taken.line {
            write_audio(&mut out, media, at, &taken.agreed);
        } else {
            media.write(&mut out, b"0", media.formats);
        }
    }
    out
}
