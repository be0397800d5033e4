//! Calls that wait: whom a busy callee costs nothing but time, in the order of all who wait for him.
//!
//! Spec: RULES R5; RFC 3841 §9.1 (`queue`, `no-queue`); RFC 3261 §21.1.4 (182).
//!
//! ```text
//!   busy --> held --asked for, a place in the queue--> waits --callee free--> INVITE anew
//!              |                                        | ^---- busy again ----|  |
//!              \--time, no place--> the failure <--time-/                         \--> answered, failed
//! ```
//!
//! - While a call waits its callee is as free as if it were not there.
//! - Whatever goes wrong, the caller gets the failure that was kept, with its offer.

use std::time::Duration;

use crate::call::{Call, NatMedia, Offer, Side, Told, Turn};
use crate::cc::Condition;
use crate::cc::capsule::CallIdentity;
use crate::cc::line::Calls;
use crate::cc::monitor::Found;
use crate::completion::{
    Complete, CompletionId, Input, Mode, Reject as NotCompleted, Ticket, WhichCall,
};
use crate::routing::table::{OnBusy, decide};
use crate::shard::desk::name_of;
use crate::shard::music::is_turning;
use crate::shard::offer::{About, Announcer, Asker, Callee};
use crate::shard::settings::Prompt;
use crate::shard::ways::{Ways, targets};
use crate::shard::{Held, Parties, Reject, Shard};
use crate::sip::flow::Flow;
use crate::sip::{Checked, Message, Name, Request, Scratch, Status};
use crate::table::Key;
use crate::time::Timestamp;

/// How much longer than its place in the queue a call is held: what ends is told by the queue.
pub(super) const TAIL: Duration = Duration::from_secs(2);

/// What it takes to let a call wait.
#[derive(Debug)]
pub(super) struct Camping {
    wish: OnBusy,
    /// The INVITE, as it came.
    pub(super) invite: Box<[u8]>,
    /// The way it came.
    pub(super) flow: Flow,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stage {
    /// The call takes its course.
    Idle,
    /// Its caller is kept from the failure; nobody knows yet.
    New,
    /// Somebody may ask for him.
    Open,
    /// It has been asked for.
    Asked,
    /// It has a place in the queue, until then at most.
    Waits(CompletionId, Timestamp),
    /// Its INVITE has gone out anew.
    Invited(CompletionId, Timestamp),
    /// Its INVITE has gone to its callee's phone, to join his call.
    Joining,
    /// It is of no interest any more.
    Over,
}

impl Announcer<'_> {
    /// R5: how long a caller is kept from this failure, because his call may wait.
    pub(super) fn camps(&mut self, failure: &Told<'_>) -> Option<Duration> {
        let About::Asker(asker) = &*self.about else {
            return None;
        };
        asker.camping.as_deref()?;
        let About::Asker(mut asker) = std::mem::take(self.about) else {
            return None;
        };
        let lasts = self.camps_as(&mut asker, failure);
        *self.about = About::Asker(asker);
        lasts
    }

    fn camps_as(&mut self, asker: &mut Asker, failure: &Told<'_>) -> Option<Duration> {
        let Callee::Ours(callee) = asker.callee.clone() else {
            return None;
        };
        let stage = asker.camping.as_deref()?.stage;
        let condition = self.condition_of(&callee, failure);
        if let Stage::Invited(id, until) = stage {
            if self.settings.edge.is_some() && is_challenge(failure.status) {
                // R5: the phone knows the password, and his place is kept for a while.
                asker.failed = None;
                return None;
            }
            let found = condition.map(|condition| Found {
                condition,
                calls: self.calls_of(&callee),
            });
            let waits = matches!(condition, Some(Condition::Busy | Condition::NotLoggedIn));
            self.facts.push_back(Input::CcCallFailed { id, found });
            let camping = asker.camping.as_deref_mut()?;
            if waits {
                camping.stage = Stage::Waits(id, until);
                return Some(until.since(self.now) + TAIL);
            }
            asker.failed = None;
            return None;
        }
        if stage == Stage::Joining {
            // What the phone says is what the caller gets.
            return None;
        }
        let may_be_asked = self.settings.completion.prompt.is_some() && asker.session.is_some();
        let lasts = match asker.camping.as_deref()?.wish {
            OnBusy::Refuse => return None,
            // He is asked by a prompt.
            OnBusy::Ask if may_be_asked => return None,
            OnBusy::CampOn => self.settings.completion.service.timing.camp_on_max + TAIL,
            OnBusy::Ask => self.settings.completion.ask_time,
        };
        let is_busy = stage == Stage::Idle && condition == Some(Condition::Busy);
        let name = name_of(&callee);
        // Who waits for this caller is not made to wait by him.
        let is_awaited = self.service.camps_on(&name, &asker.caller);
        let is_wanted = !is_awaited && !self.is_left_alone(&asker.caller);
        if !is_busy || !is_wanted || !self.service.has_place(&name) {
            return None;
        }
        let calls = self.calls_of(&callee);
        self.remember(asker, &callee, (failure.status, Condition::Busy, calls));
        asker.failed = Some(Condition::Busy);
        self.note_held_as(asker);
        Some(lasts)
    }

    /// The caller is kept from a failure: until he gets it his call may be asked for.
    pub(super) fn note_held(&mut self) {
        if let About::Asker(mut asker) = std::mem::take(self.about) {
            self.note_held_as(&mut asker);
            *self.about = About::Asker(asker);
        }
    }

    fn note_held_as(&mut self, asker: &mut Asker) {
        if let Some(camping) = asker.camping.as_deref_mut() {
            camping.stage = Stage::New;
            let call = asker.call;
            self.facts.push_back(Input::CallHeld { call });
        }
    }
}

impl Shard {
    /// What is kept of a call that may have to wait.
    pub(super) fn may_camp(&self, request: &Request<'_>, flow: &Flow) -> Option<Box<Camping>> {
        let wish = self.on_busy(request, flow)?;
        let prompt = self.settings.completion.prompt.as_ref();
        let asks = |prompt: &Prompt| prompt.digits.iter().any(|(_, mode)| *mode == Mode::CampOn);
        (wish != OnBusy::Refuse || prompt.is_some_and(asks)).then(|| {
            Box::new(Camping {
                wish,
                invite: Box::from(request.message.raw()),
                flow: *flow,
                stage: Stage::Idle,
            })
        })
    }

    /// What becomes of a caller whose callee is busy: what he asks for, else what the operator says;
    /// `None` if his call is not to wait in any case.
    fn on_busy(&self, request: &Request<'_>, flow: &Flow) -> Option<OnBusy> {
        let asked = request.message.values(Name::RequestDisposition);
        for directive in asked.flat_map(|value| value.split(|byte| *byte == b',')) {
            let directive = directive.trim_ascii();
            if directive.eq_ignore_ascii_case(b"no-queue") {
                return None;
            }
            if directive.eq_ignore_ascii_case(b"queue") {
                return Some(OnBusy::CampOn);
            }
        }
        let usual = self.settings.completion.on_busy;
        let routes = &self.settings.routes;
        if routes.iter().all(|route| route.on_busy.is_none()) {
            return Some(usual);
        }
        let of_route = self.with_asked(request, flow, |asked| decide(routes, asked)?.1.on_busy);
        Some(of_route.unwrap_or(usual))
    }

    /// Whether the call of this caller may wait: who is waited for by his callee is not made to wait.
    pub(super) fn could_camp(&self, asker: &Asker) -> bool {
        let Callee::Ours(callee) = &asker.callee else {
            return false;
        };
        let is_awaited = self.desk.service.camps_on(&name_of(callee), &asker.caller);
        asker.camping.is_some() && !is_awaited
    }

    /// Looks after a call that may wait; whether nobody else need look after it.
    pub(super) fn attend_camp(&mut self, now: Timestamp, key: Key, held: &mut Held) -> bool {
        let About::Asker(asker) = &mut held.about else {
            return false;
        };
        let Some(camping) = asker.camping.as_deref_mut() else {
            return false;
        };
        let (call, caller) = (asker.call, asker.caller.clone());
        if matches!(camping.stage, Stage::Idle | Stage::Over) {
            return false;
        }
        let is_challenged = self.edge.is_some() && held.call.is_challenged();
        if is_challenged && matches!(camping.stage, Stage::Invited(..)) {
            return false;
        }
        let is_kept_on = !camping.is_open() || held.call.is_held();
        if !held.call.is_up() || !is_kept_on {
            camping.stage = Stage::Over;
            self.release_camp(call);
            return false;
        }
        match camping.stage {
            Stage::New if camping.wish == OnBusy::CampOn => {
                camping.stage = Stage::Asked;
                let ticket = self.desk.ticket();
                self.desk.camp_tickets.insert(ticket, call);
                self.desk.facts.push_back(Input::Complete(Complete {
                    ticket,
                    caller,
                    call: WhichCall::Call(call),
                    mode: Mode::CampOn,
                }));
            }
            Stage::New => camping.stage = Stage::Open,
            Stage::Open
            | Stage::Asked
            | Stage::Waits(..)
            | Stage::Invited(..)
            | Stage::Joining
            | Stage::Idle
            | Stage::Over => {}
        }
        let is_prompted = camping.stage == Stage::Open && asker.session.is_some();
        self.desk.camps.insert(call, key);
        if held.call.is_kept() {
            let condition = asker.failed;
            self.leave_callee(now, key, (&mut held.parties, condition));
        }
        !is_prompted || self.settings.completion.prompt.is_none()
    }

    /// The call will not wait: it has come to something else.
    pub(super) fn give_up_camp(&mut self, held: &mut Held) {
        if let About::Asker(asker) = &mut held.about
            && asker.camping.take().is_some()
        {
            let call = asker.call;
            self.release_camp(call);
        }
    }

    /// RFC 3261 §18.4: who called over a connection that has gone has no call any more. Nobody is rung
    /// for him when it would be his turn.
    pub(super) fn end_camps_over(&mut self, now: Timestamp, flow: &Flow) {
        let calls = self.desk.camps.values();
        let is_over = |key: &&Key| {
            let held = self.calls.get(**key);
            held.is_some_and(|held| held.call.flow(Side::A) == *flow)
        };
        let gone: Vec<Key> = calls.filter(is_over).copied().collect();
        for key in gone {
            self.with_call(now, key, |call, turn| call.withdraw(turn, b""));
        }
    }

    fn release_camp(&mut self, call: CallIdentity) {
        self.desk.camps.remove(&call);
        self.desk.facts.push_back(Input::CallReleased { call });
    }

    /// Somebody has answered, and what was asked is of no interest any more.
    pub(super) fn close_question(&mut self, about: &About) {
        let asker = about.asker();
        if let Some(asker) = asker.filter(|it| it.camping.as_deref().is_some_and(Camping::is_open))
        {
            self.release_camp(asker.call);
        }
    }

    /// There is no room for a call whose caller would be kept from its failure.
    pub(super) fn forget_held(&mut self, about: &About) {
        if let About::Asker(asker) = about {
            let call = asker.call;
            self.desk.facts.push_back(Input::CallReleased { call });
        }
    }

    /// Whom a call does not ring any more, as it has failed so, is not held by it.
    pub(super) fn leave_callee(
        &mut self,
        now: Timestamp,
        key: Key,
        (parties, condition): (&mut Parties, Option<Condition>),
    ) {
        self.close_pass(parties, key);
        let [_, to] = &mut parties.through;
        let left = Parties {
            callee: parties.callee.take(),
            through: [None, to.take()],
            ..Parties::default()
        };
        match condition {
            Some(Condition::Busy) => self.release_refused(now, &left),
            Some(Condition::NoReply | Condition::NotLoggedIn) | None => self.release(now, &left),
        }
    }

    /// The service has answered what was asked for a call by its own wish; whether it was that.
    pub(super) fn answer_camp(
        &mut self,
        now: Timestamp,
        ticket: Ticket,
        result: &Result<CompletionId, NotCompleted>,
    ) -> bool {
        let Some(call) = self.desk.camp_tickets.remove(&ticket) else {
            return false;
        };
        let waits = self.desk.service.camp_of(call).is_some();
        if !waits {
            tracing::info!(
                refused = result.as_ref().err().map(ToString::to_string),
                "a call does not wait"
            );
            self.end_camp(now, call);
        }
        true
    }

    /// The call has its place.
    pub(super) fn camp(
        &mut self,
        now: Timestamp,
        id: CompletionId,
        (call, lasts): (CallIdentity, Duration),
    ) {
        let Some((key, mut held)) = self.take_camp(call) else {
            return self.desk.facts.push_back(Input::CallReleased { call });
        };
        let until = now + lasts;
        set_stage(&mut held, Stage::Waits(id, until));
        self.in_turn(now, &mut held, |call, turn| call.queue(turn, until + TAIL));
        self.begin_music(now, (key, id), &mut held);
        self.counters.calls_camped += 1;
        self.put_back(now, key, held);
    }

    /// It is the call's turn.
    pub(super) fn connect_camped(&mut self, now: Timestamp, id: CompletionId, call: CallIdentity) {
        let Some((key, mut held)) = self.take_camp(call) else {
            return self.desk.facts.push_back(Input::CallReleased { call });
        };
        if let Err(found) = self.invite_camped(now, (key, id), &mut held) {
            let found = Some(found);
            self.desk.facts.push_back(Input::CcCallFailed { id, found });
        }
        self.put_back(now, key, held);
    }

    fn invite_camped(
        &mut self,
        now: Timestamp,
        (key, id): (Key, CompletionId),
        held: &mut Held,
    ) -> Result<(), Found> {
        let away = Found {
            condition: Condition::NotLoggedIn,
            calls: Calls::Free,
        };
        let About::Asker(asker) = &mut held.about else {
            return Err(away);
        };
        let camping = asker.camping.as_deref_mut().ok_or(away)?;
        let Stage::Waits(_, until) = camping.stage else {
            return Err(away);
        };
        let flow = camping.flow;
        let (invite, sent) = self.anew(&camping.invite);
        let mut index = Scratch::new();
        let message = Message::parse(&invite, &mut index).map_err(|_| away)?;
        let Ok(Checked::Request(request)) = Checked::check(message) else {
            return Err(away);
        };
        let [from_before, _] = held.parties.through;
        let ways = self.way_to_camped(now, &request, &flow, &mut held.parties);
        let ways = ways.map_err(|reject| {
            if matches!(reject, Reject::UserBusy) {
                Found {
                    condition: Condition::Busy,
                    calls: Calls::Engaged,
                }
            } else {
                away
            }
        })?;
        set_stage(held, Stage::Invited(id, until));
        // A call that was refused here has come from its peer without being counted.
        let [from, to] = held.parties.through;
        let entered = [from.filter(|_| from_before.is_none()), to];
        // CC-43: before the callee's line changes.
        self.desk.facts.push_back(Input::CcCallArrived { id });
        if let Some(callee) = &held.parties.callee {
            self.users.engage(callee);
        }
        self.engage_peers(&Parties {
            through: entered,
            ..Parties::default()
        });
        if let Some(dialled) = &mut held.parties.dialled {
            dialled.begin_again();
        }
        self.open_pass(&held.parties, key);
        if self.place_kept(now, held, &ways) {
            return Ok(());
        }
        let message = Self::for_other_side(held.parties.identity, request.message);
        let request = Request { message, ..request };
        let Some(server) = held.call.open_server() else {
            return Ok(());
        };
        let offer = self.offer_of((&request, &flow, server), &ways, &held.parties);
        let targets = targets(&ways);
        let mut offer = Offer {
            targets: &targets,
            ..offer
        };
        let has = held.anchorage.as_deref().copied();
        held.anchorage = self.anchor(key, has, &mut offer).map(Box::new);
        self.in_turn(now, held, |call: &mut Call, turn: &mut Turn<'_>| {
            call.invite_held(turn, &offer, sent);
        });
        Ok(())
    }

    /// An INVITE as it goes on, to nobody yet.
    pub(super) fn offer_of<'o>(
        &self,
        (request, flow, server): (&'o Request<'o>, &'o Flow, Key),
        ways: &Ways,
        parties: &Parties,
    ) -> Offer<'o> {
        let edge = self.settings.edge.as_ref();
        Offer {
            request,
            flow,
            server,
            targets: &[],
            asks: self.session_asks(flow, ways),
            again: None,
            phone: self.phone_of(parties, (request, flow), ways),
            nat_media: edge.map_or(NatMedia::Off, |it| it.nat_media),
            anchor: None,
        }
    }

    /// Where a call that waits goes, now that it is its turn.
    fn way_to_camped(
        &self,
        now: Timestamp,
        request: &Request<'_>,
        flow: &Flow,
        parties: &mut Parties,
    ) -> Result<Ways, Reject> {
        let callee = self.domains.aor(&request.uri);
        let routed = self.route(now, request, flow, callee)?;
        if routed.callee.as_ref().is_some_and(|it| self.is_full(it)) {
            return Err(Reject::UserBusy);
        }
        self.check_terms(request, (flow, &routed.ways), parties)?;
        parties.callee = routed.callee;
        Ok(routed.ways)
    }

    /// The call waits no longer.
    pub(super) fn end_camp(&mut self, now: Timestamp, call: CallIdentity) {
        let Some((key, mut held)) = self.take_camp(call) else {
            return;
        };
        self.desk.camps.remove(&call);
        if is_turning(&held) {
            self.turn_to_callback(now, &mut held);
            return self.put_back(now, key, held);
        }
        if held.call.keeps_caller() {
            self.end_kept(now, &mut held);
            return self.put_back(now, key, held);
        }
        if let About::Asker(asker) = &mut held.about {
            // Whoever waited for long may ask from now on.
            asker.failed = None;
        }
        let is_ringing = held.call.answered().is_none() && !held.call.is_held();
        self.in_turn(now, &mut held, |call, turn| {
            if is_ringing {
                call.refuse(turn, Status::BUSY_HERE);
            } else {
                call.let_go(turn);
            }
        });
        self.put_back(now, key, held);
    }

    pub(super) fn take_camp(&mut self, call: CallIdentity) -> Option<(Key, Box<Held>)> {
        let key = *self.desk.camps.get(&call)?;
        let held = self.calls.take(key);
        if held.is_none() {
            self.desk.camps.remove(&call);
            self.desk.facts.push_back(Input::CallReleased { call });
        }
        Some((key, held?))
    }
}

impl Camping {
    /// Whether a busy callee would let this call wait.
    pub(super) fn may_wait(&self) -> bool {
        match self.stage {
            Stage::Idle => self.wish == OnBusy::CampOn,
            Stage::Invited(..) => true,
            Stage::New
            | Stage::Open
            | Stage::Asked
            | Stage::Waits(..)
            | Stage::Joining
            | Stage::Over => false,
        }
    }

    pub(super) fn stage(&self) -> Stage {
        self.stage
    }

    /// Whether its caller is kept from a failure, and has no place yet.
    fn is_open(&self) -> bool {
        matches!(self.stage, Stage::New | Stage::Open | Stage::Asked)
    }

    /// Whether its caller may ask for that, once it is known.
    pub(super) fn may_be_asked_for(&self) -> bool {
        self.wish == OnBusy::Ask && self.stage == Stage::Idle
    }

    /// Whether it is at its callee's phone, to join his call.
    pub(super) fn is_joining(&self) -> bool {
        self.stage == Stage::Joining
    }

    /// The request whose turn it is.
    pub(super) fn invited(&self) -> Option<CompletionId> {
        match self.stage {
            Stage::Invited(id, _) => Some(id),
            Stage::Idle
            | Stage::New
            | Stage::Open
            | Stage::Asked
            | Stage::Waits(..)
            | Stage::Joining
            | Stage::Over => None,
        }
    }

    /// The call has come again, with credentials.
    pub(super) fn repeat(&mut self, request: &Request<'_>, flow: &Flow) {
        self.invite = Box::from(request.message.raw());
        self.flow = *flow;
    }

    pub(super) fn give_up(&mut self) {
        self.stage = Stage::Over;
    }
}

fn is_challenge(status: Status) -> bool {
    matches!(
        status,
        Status::UNAUTHORIZED | Status::PROXY_AUTHENTICATION_REQUIRED
    )
}

/// Says how far a call is.
pub(super) fn set_stage(held: &mut Held, stage: Stage) {
    if let About::Asker(asker) = &mut held.about
        && let Some(camping) = asker.camping.as_deref_mut()
    {
        camping.stage = stage;
    }
}
