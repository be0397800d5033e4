//! A failure that A is not told yet: its INVITE stays pending, and we have something to say meanwhile.
//!
//! Spec: RFC 3261 §13.3.1.1, §16.7, §21.1.4; RULES R5, R16.
//!
//! ```text
//!   Inviting --failure--> held --let go, time--> the failure goes to A
//!       ^                  | \---CANCEL, BYE----> 487
//!       '---INVITE anew----'
//!
//!   Inviting --B known to be busy--> asked --A waits, or has asked--> held
//!       ^                              |  \--------B's side----------> as if nothing had been asked
//!       '------------time--------------'
//! ```
//!
//! - What we say ourselves is an early dialog of its own, as if another fork rang.
//! - B's side is done: a 2xx that crossed our CANCEL is acknowledged and ended (S-07).

use std::time::Duration;

use crate::call::early::{Early, Said, Tell};
use crate::call::end;
use crate::call::finals::Final;
use crate::call::forks::Fork;
use crate::call::marks::Marks;
use crate::call::setup::{self, Offer, Setup};
use crate::call::{Call, Phase, Turn, respond_plainly};
use crate::dialog::{Dialog, Order, Tag};
use crate::media::digit::Digit;
use crate::media::info;
use crate::sip::flow::Flow;
use crate::sip::{Name, Request, Response, Status};
use crate::table::Key;
use crate::time::Timestamp;
use crate::transaction::reply;

/// How long a failure is kept, and what was heard meanwhile.
#[derive(Debug)]
pub(super) struct Hold {
    /// When A gets it.
    pub(super) until: Timestamp,
    stage: Stage,
    /// When A is told again that it waits, if it does.
    tells: Option<Timestamp>,
    /// Our early dialog.
    tag: Tag,
    /// The session that A has in it.
    session: Box<[u8]>,
    /// What A's phone pressed by INFO, until it is taken.
    digit: Option<Digit>,
}

/// Whether a failure is kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    /// It is.
    Kept,
    /// Not yet: A is asked what is to be done about it while B's side still has the INVITE.
    Asked,
    /// The INVITE has gone to B once more.
    Invited(Sent),
}

/// How an INVITE has gone once more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sent {
    /// As A wrote it.
    AsWritten,
    /// Without the credentials that it came with.
    Unproven,
}

impl Hold {
    /// Whether B's side may ask for credentials that A has given before.
    pub(super) fn is_unproven(&self) -> bool {
        self.stage == Stage::Invited(Sent::Unproven)
    }

    pub(super) fn is_kept(&self) -> bool {
        self.stage == Stage::Kept
    }

    /// When there is something to do.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        let told = self.tells.map_or(self.until, |tells| tells.min(self.until));
        let waits = matches!(self.stage, Stage::Kept | Stage::Asked);
        waits.then_some(told)
    }
}

/// RFC 3261 §13.3.1.1: how often a caller who waits is told so at least.
const TELLS: Duration = Duration::from_mins(1);
/// Who has his answer half a second later is not told once more that he waits for it; he is kept for two
/// seconds longer than he may wait.
const SOON: Duration = Duration::from_millis(2500);

/// A's INVITE, for which there is nobody to ring.
#[derive(Clone, Copy, Debug)]
pub struct Refused<'r> {
    /// The request.
    pub request: &'r Request<'r>,
    /// The way it came.
    pub flow: &'r Flow,
    /// Its transaction.
    pub server: Key,
    /// What A gets in the end.
    pub status: Status,
}

impl Call {
    /// A call that fails, but not before this time is over.
    pub fn hold(key: Key, turn: &mut Turn<'_>, refused: &Refused<'_>, lasts: Duration) -> Self {
        let request = refused.request;
        let tag = Tag::new(key, turn.rng);
        let mut caller = Dialog::of_server(request, refused.flow, tag);
        caller.order(request.cseq.number);
        let nobody = Dialog::begun(b"", [b"", b""], tag, *refused.flow);
        let mut call = Self::of_legs(key, turn.now, caller, nobody, Phase::Inviting);
        call.setup = Some(Box::new(Setup::of_nobody(turn, request, refused.server)));
        call.early = Early::of(request);
        call.marks = Marks::of_invite(turn, &request.message);
        call.keep(turn, Final::ours(refused.status), lasts);
        call
    }

    /// Whether A is kept from its failure, or asked about it before there is one.
    pub fn is_held(&self) -> bool {
        let hold = self.own_hold().filter(|_| self.open_server().is_some());
        hold.is_some_and(|hold| matches!(hold.stage, Stage::Kept | Stage::Asked))
    }

    /// Whether A is kept from its failure, and B's side is done.
    pub fn is_kept(&self) -> bool {
        let hold = self.own_hold().filter(|_| self.open_server().is_some());
        hold.is_some_and(Hold::is_kept)
    }

    /// Keeps it until then; nothing if none is kept.
    pub fn hold_until(&mut self, until: Timestamp) {
        if let Some(hold) = self
            .setup
            .as_deref_mut()
            .and_then(|setup| setup.hold.as_mut())
        {
            hold.until = until;
        }
    }

    /// R5: A is told that it waits, now and from time to time, and is kept until then.
    pub fn queue(&mut self, turn: &mut Turn<'_>, until: Timestamp) {
        self.hold_until(until);
        self.take_from_b(turn);
        self.tell_queued(turn);
    }

    fn tell_queued(&mut self, turn: &mut Turn<'_>) {
        // Phones stop playing what comes before the answer when they hear anything without a session;
        // who has one reliably must not have it again (RFC 6337 §3.1.1).
        let again = self.own_hold().filter(|_| self.early.is_none());
        let session = again.map(|hold| hold.session.clone()).unwrap_or_default();
        self.tell_held(turn, Status::QUEUED, b"", &session);
        if let Some(hold) = self.hold_mut() {
            let next = turn.now + TELLS;
            hold.tells = (next + SOON < hold.until).then_some(next);
        }
    }

    /// Sends A's INVITE to B once more, or for the first time; what is heard of it A hears. Whoever has
    /// it still gets a CANCEL.
    pub fn invite_held(&mut self, turn: &mut Turn<'_>, offer: &Offer<'_>, sent: Sent) {
        self.take_from_b(turn);
        if !self.is_kept() {
            return;
        }
        if self.b.dialog.call_id().is_empty() {
            self.b.dialog = setup::callee_of(self.key, turn, offer);
        }
        self.phone = offer.phone.map(|(side, _)| side);
        self.place_media(offer);
        let rings_until = turn.now + turn.timing.rings;
        if let Some(setup) = self.setup.as_deref_mut() {
            setup.begin_again(rings_until, offer.asks);
        }
        if let Some(hold) = self.hold_mut() {
            hold.stage = Stage::Invited(sent);
        }
        self.send_invites(turn, offer);
    }

    /// Whatever is due of a failure that is kept.
    pub(super) fn on_held_due(&mut self, turn: &mut Turn<'_>) {
        let Some(hold) = self.own_hold().filter(|_| self.is_held()) else {
            return;
        };
        if hold.until <= turn.now {
            self.cease(turn);
        } else if hold.tells.is_some_and(|tells| tells <= turn.now) {
            self.tell_queued(turn);
        }
    }

    /// Tells A something in our early dialog, with this session description unless it is empty.
    pub fn tell_held(&mut self, turn: &mut Turn<'_>, status: Status, phrase: &[u8], sdp: &[u8]) {
        let Some((server, hold)) = self.open_server().zip(self.own_hold()) else {
            return;
        };
        let tell = Tell {
            tag: hold.tag,
            rseq: None,
        };
        self.tell_as(turn, server, tell, &Said::ours(status, phrase, sdp));
        if let Some(hold) = self.hold_mut().filter(|_| !sdp.is_empty()) {
            hold.session = Box::from(sdp);
        }
    }

    /// A, whose call rings once more, gets this failure, and what rings a CANCEL.
    pub fn refuse(&mut self, turn: &mut Turn<'_>, status: Status) {
        if self.phase == Phase::Inviting {
            self.finish(turn, status);
            self.give_up_branches(turn, b"");
        }
    }

    /// What A's phone pressed, as far as it says so by INFO.
    pub fn take_digit(&mut self) -> Option<Digit> {
        let hold = self.setup.as_deref_mut()?.hold.as_mut()?;
        hold.digit.take()
    }

    /// Nothing was asked for: A gets the failure that was kept, or B's side is waited for as before.
    pub fn cease(&mut self, turn: &mut Turn<'_>) {
        if self.is_kept() || !self.is_held() {
            return self.let_go(turn);
        }
        let rings_until = turn.now + turn.timing.rings;
        if let Some(setup) = self.setup.as_deref_mut() {
            setup.best = None;
            setup.ring_until(rings_until);
        }
        if let Some(hold) = self.hold_mut() {
            hold.stage = Stage::Invited(Sent::AsWritten);
        }
    }

    /// A gets the failure that was kept, or that it was asked about.
    pub fn let_go(&mut self, turn: &mut Turn<'_>) {
        self.take_from_b(turn);
        if self.is_held() {
            self.relay_best(turn);
            self.give_up_branches(turn, b"");
        }
    }

    /// R5: B is known to be busy though his side has not said so: A is kept from that, and what rings
    /// gets a CANCEL; whether it is so.
    pub fn hold_busy(&mut self, turn: &mut Turn<'_>) -> bool {
        let is_open = self.phase == Phase::Inviting && !self.holds_answer();
        is_open && self.hold_back(turn, Status::BUSY_HERE, None)
    }

    /// R5: the same, and A is asked about it while B's side still has the INVITE.
    pub fn ask_of_busy(&mut self, turn: &mut Turn<'_>) -> bool {
        let is_open = self.phase == Phase::Inviting && !self.holds_answer();
        if !is_open || self.is_held() || self.open_server().is_none() {
            return false;
        }
        let told = self.told(Status::BUSY_HERE, None);
        let Some(lasts) = turn.announce.holds(&told) else {
            return false;
        };
        self.keep(turn, Final::ours(Status::BUSY_HERE), lasts);
        if let Some(hold) = self.hold_mut() {
            hold.stage = Stage::Asked;
        }
        true
    }

    /// What is asked about is a failure from here on; whatever B's side does with the INVITE.
    fn take_from_b(&mut self, turn: &mut Turn<'_>) {
        if let Some(hold) = self.hold_mut()
            && hold.stage == Stage::Asked
        {
            hold.stage = Stage::Kept;
            self.cancel_branches(turn, b"");
        }
    }

    /// A has waited before: what fails from here on keeps it waiting, and it hears so.
    pub(super) fn wait_again(&mut self, turn: &mut Turn<'_>) {
        let tag = Tag::new(self.key, turn.rng);
        if let Some(setup) = self.setup.as_deref_mut() {
            setup.forks.push(Fork::own(tag));
            setup.hold = Some(Hold {
                until: turn.now,
                stage: Stage::Invited(Sent::AsWritten),
                tells: Some(turn.now),
                tag,
                session: Box::default(),
                digit: None,
            });
        }
    }

    /// Whether this failure is kept for a while; `response` is B's, if it is one of B's.
    pub(super) fn hold_back(
        &mut self,
        turn: &mut Turn<'_>,
        status: Status,
        response: Option<&Response<'_>>,
    ) -> bool {
        let told = self.told(status, response);
        if self.is_held() || self.open_server().is_none() {
            return false;
        }
        let Some(lasts) = turn.announce.holds(&told) else {
            return false;
        };
        self.keep(turn, Final::of(status, response), lasts);
        self.cancel_branches(turn, b"");
        true
    }

    fn keep(&mut self, turn: &mut Turn<'_>, failure: Final, lasts: Duration) {
        let tag = Tag::new(self.key, turn.rng);
        if let Some(setup) = self.setup.as_deref_mut() {
            setup.best = Some(failure);
            if let Some(hold) = &mut setup.hold {
                hold.stage = Stage::Kept;
                hold.until = turn.now + lasts;
                // Who has heard it ring hears that he waits on.
                hold.tells = hold.tells.map(|_| turn.now);
                return;
            }
            setup.forks.push(Fork::own(tag));
            setup.hold = Some(Hold {
                until: turn.now + lasts,
                stage: Stage::Kept,
                tells: None,
                tag,
                session: Box::default(),
                digit: None,
            });
        }
    }

    fn hold_mut(&mut self) -> Option<&mut Hold> {
        self.setup.as_deref_mut()?.hold.as_mut()
    }

    pub(super) fn own_hold(&self) -> Option<&Hold> {
        self.setup.as_deref()?.hold.as_ref()
    }

    /// Whether A knows what we say ourselves by this tag.
    pub(super) fn is_own(&self, tag: Tag) -> bool {
        self.own_hold().is_some_and(|hold| hold.tag == tag)
    }

    /// Our early dialog.
    pub(super) fn held_tag(&self) -> Option<Tag> {
        self.own_hold().map(|hold| hold.tag)
    }

    /// The session that A has in it, if any.
    pub fn held_session(&self) -> Box<[u8]> {
        let hold = self.own_hold();
        hold.map(|hold| hold.session.clone()).unwrap_or_default()
    }

    /// Nothing is kept from A any more.
    pub(super) fn drop_hold(&mut self) {
        if let Some(setup) = self.setup.as_deref_mut() {
            setup.hold = None;
            setup.best = None;
        }
        self.close_setup();
    }

    /// Takes an INFO of A's in our early dialog: a digit, or nothing to us (RFC 6086 §4.2.2).
    pub(super) fn on_own_info(&mut self, turn: &mut Turn<'_>, request: &Request<'_>, flow: &Flow) {
        let Some(tag) = self.own_hold().map(|hold| hold.tag) else {
            return;
        };
        if self.order_in(tag, request.cseq.number) == Order::OutOfOrder {
            return end::refuse_for_now(turn, request, flow);
        }
        let Ok(server) = turn.layer.accept(turn.now, request, flow, None) else {
            return end::refuse_for_now(turn, request, flow);
        };
        let message = &request.message;
        let media_type = message.first(Name::ContentType).unwrap_or_default();
        let digit = info::digit_in(media_type, message.body());
        let status = match digit {
            None if !message.body().is_empty() => Status::UNSUPPORTED_MEDIA_TYPE,
            None | Some(_) => Status::OK,
        };
        respond_plainly(turn, server, status, reply::Tag::AsReceived);
        let hold = self
            .setup
            .as_deref_mut()
            .and_then(|setup| setup.hold.as_mut());
        if let Some(hold) = hold.filter(|_| digit.is_some()) {
            hold.digit = digit;
        }
    }
}
