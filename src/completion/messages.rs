//! Messages: a text that a caller leaves, delivered when the callee's phone takes it.
//!
//! Spec: RFC 3428 §5, §8 (one at a time); TAPI `LINECALLCOMPLMODE_MESSAGE`; RULES R20, R23.
//!
//! ```text
//!   Leave --> kept --callee registered--> Deliver --taken--> completed
//!               ^                            |
//!               '----rest, doubled------- not taken: his lamp is lit
//! ```
//!
//! - What may have been delivered is delivered again rather than lost.
//! - A text that is withdrawn while it is on its way may still be read.

use std::sync::Arc;
use std::time::Duration;

use crate::cc::addr::{AddrSpec, Aor};
use crate::cc::capsule::CallIdentity;
use crate::cc::id::CompletionId;
use crate::cc::line::Line;
use crate::completion::entry::{Completion, Errand, Life};
use crate::completion::history::{Event, Outcome};
use crate::completion::identity::Identity;
use crate::completion::input::{FailedCall, Leave, Monitors, Taking, Ticket};
use crate::completion::output::{Delivery, Output};
use crate::completion::record::Roles;
use crate::completion::reject::Reject;
use crate::completion::service::{Service, Turn};
use crate::time::Timestamp;

/// The longest rest between two attempts.
const REST_MAX: Duration = Duration::from_hours(1);
/// How long a delivery may take: each of a callee's phones has timer F to answer.
const DELIVERY_MAX: Duration = Duration::from_mins(6);

/// The texts that wait for one callee.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    /// Oldest first, each with its end.
    waiting: Vec<(CompletionId, Timestamp)>,
    stage: Stage,
    /// How often in a row nobody took one, since he last registered.
    failures: u32,
    lamp: Lamp,
    /// What his lamp shows.
    shown: usize,
}

/// What becomes of the first of them.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Stage {
    #[default]
    Idle,
    /// It is on its way, until then at most.
    Sending(CompletionId, Timestamp),
    /// It was not taken; not again before this.
    Resting(Timestamp),
}

/// Whether a callee is told that there is something for him.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Lamp {
    #[default]
    Off,
    On,
}

impl Mailbox {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.shown == 0 && self.is_at_rest()
    }

    fn is_at_rest(&self) -> bool {
        // One that is withdrawn on its way is waited for: one at a time.
        !matches!(self.stage, Stage::Sending(..))
    }

    /// When there is something to do.
    pub(super) fn deadline(&self, line: &Line) -> Option<Timestamp> {
        let ends = self.waiting.iter().map(|(_, ends)| *ends).min();
        let next = match self.stage {
            Stage::Sending(_, until) => Some(until),
            Stage::Resting(until) if !self.waiting.is_empty() => line.registered.map(|_| until),
            Stage::Resting(_) | Stage::Idle => None,
        };
        ends.into_iter().chain(next).min()
    }

    /// What the lamp is to show now, if that is something else than before.
    pub(super) fn take_lamp(&mut self) -> Option<usize> {
        let shows = match self.lamp {
            Lamp::Off => 0,
            Lamp::On => self.waiting.len(),
        };
        (std::mem::replace(&mut self.shown, shows) != shows).then_some(shows)
    }

    fn remove(&mut self, id: CompletionId) {
        self.waiting.retain(|(waiting, _)| *waiting != id);
        if self.waiting.is_empty() {
            self.lamp = Lamp::Off;
        }
    }

    /// He is there anew, and so may be another phone.
    fn on_line(&mut self, before: &Line, line: &Line) {
        if line.registered.is_some() && line.registered != before.registered {
            self.failures = 0;
            if let Stage::Resting(_) = self.stage {
                self.stage = Stage::Idle;
            }
        }
    }

    /// The one to be delivered now.
    fn next(&mut self, now: Timestamp, line: &Line) -> Option<CompletionId> {
        match self.stage {
            Stage::Sending(_, until) if now < until => return None,
            // As if nobody had taken it.
            Stage::Sending(id, _) => self.on_not_taken(now, id, Taking::Failed, Duration::ZERO),
            Stage::Resting(until) if now < until => return None,
            Stage::Resting(_) | Stage::Idle => {}
        }
        line.registered?;
        if let Some(until) = line.quiet_until.filter(|until| now < *until) {
            // R23: after a call for help he is left alone.
            self.stage = Stage::Resting(until);
            return None;
        }
        let (id, _) = *self.waiting.first()?;
        self.stage = Stage::Sending(id, now + DELIVERY_MAX);
        Some(id)
    }

    fn on_taken(&mut self, id: CompletionId) {
        if self.is_sending(id) {
            self.stage = Stage::Idle;
            self.failures = 0;
        }
    }

    fn on_not_taken(&mut self, now: Timestamp, id: CompletionId, how: Taking, rest: Duration) {
        if !self.is_sending(id) {
            return;
        }
        let doubled = rest.saturating_mul(1 << self.failures.min(16));
        let rest = match how {
            // His phones take no texts at all: until another one comes.
            Taking::Refused => REST_MAX.max(rest),
            Taking::Failed | Taking::Taken => doubled.min(REST_MAX.max(rest)),
        };
        self.failures = self.failures.saturating_add(1);
        self.stage = Stage::Resting(now + rest);
        if !self.waiting.is_empty() {
            self.lamp = Lamp::On;
        }
    }

    /// It does not leave any more: the next one need not wait for what becomes of it.
    fn on_unsent(&mut self, now: Timestamp, id: CompletionId) {
        if self.is_sending(id) {
            self.stage = Stage::Resting(now);
        }
    }

    fn is_sending(&self, id: CompletionId) -> bool {
        matches!(self.stage, Stage::Sending(sent, _) if sent == id)
    }
}

/// What is asked for.
impl Service {
    pub(super) fn on_leave(&mut self, leave: &Leave, turn: &mut Turn<'_>) {
        let ticket = leave.ticket;
        if let Err(reject) = self.try_leave(leave, turn) {
            let result = Err(reject);
            turn.out.push(Output::Completed { ticket, result });
        }
    }

    fn try_leave(&mut self, leave: &Leave, turn: &mut Turn<'_>) -> Result<(), Reject> {
        let window = self.settings.timing.offer_window;
        let user = self.users.get(&leave.caller).ok_or(Reject::NoOffer)?;
        let wanted = |call: &FailedCall| leave.call.is_of(call);
        let call = user.failed.newest((turn.now, window), wanted);
        let (at, call) = call.ok_or(Reject::NoOffer)?;
        let call = call.clone();
        if !call.takes_message() {
            return Err(Reject::ModeNotOffered);
        }
        if let Monitors::Peer { .. } = call.monitors {
            return Err(Reject::NoMonitor);
        }
        let pair = (&call.caller, &call.callee);
        if let Some(id) = self.same_message(pair, &leave.text) {
            let result = Ok(id);
            let ticket = leave.ticket;
            self.emit(id, Output::Completed { ticket, result }, turn);
            return Ok(());
        }
        self.has_room_for_text(&call.caller, &call.callee)?;
        let mut completion = self.new_completion(&call, at, turn.now);
        completion.errand = Errand::Message;
        completion.roles = Roles::Text;
        completion.aside().text = Some(Arc::clone(&leave.text));
        completion.ends = turn.now + self.settings.timing.message_lasts;
        completion.aside().asked.push(leave.ticket);
        let id = completion.id;
        self.insert(completion);
        self.keep(id);
        self.accept(id, turn);
        self.deliver(&call.callee, turn);
        Ok(())
    }

    /// The request that a text takes the place of, when it is kept.
    pub(super) fn replaced_by(&self, id: CompletionId) -> Option<CompletionId> {
        let text = self.completions.get(&id);
        let text = text.filter(|it| it.roles == Roles::Text && it.life != Life::Ended)?;
        self.pairs.get(&text.caller, &text.callee)
    }

    /// The same text of the same caller for the same callee, if it waits already.
    pub(super) fn same_message(
        &self,
        (caller, callee): (&Aor, &Aor),
        text: &str,
    ) -> Option<CompletionId> {
        let mut mine = self.of_caller(caller);
        let same =
            mine.find(|it| it.text().is_some_and(|its| **its == *text) && it.callee == *callee)?;
        Some(same.id)
    }

    /// Whether another text for this callee may be taken, in place of a request to be called back.
    pub(super) fn has_room_for_text(&self, caller: &Aor, callee: &Aor) -> Result<(), Reject> {
        self.has_room(caller, self.pairs.get(caller, callee))?;
        if self.messages_for(callee) >= self.settings.limits.messages_max {
            return Err(Reject::QueueFull);
        }
        Ok(())
    }

    /// How many texts wait for him.
    pub fn messages_for(&self, callee: &Aor) -> usize {
        let mail = self.users.get(callee).and_then(|user| user.mail.as_ref());
        mail.map_or(0, |mail| mail.waiting.len())
    }

    /// What his lamp shows.
    pub fn lamp_of(&self, callee: &Aor) -> usize {
        let mail = self.users.get(callee).and_then(|user| user.mail.as_ref());
        mail.map_or(0, |mail| mail.shown)
    }

    /// Whether the caller of this failed call can be named, so that a text of his may be left.
    pub fn takes_message(&self, caller: &Aor, call: CallIdentity) -> bool {
        let user = self.users.get(caller);
        let found = user.and_then(|user| {
            let window = (Timestamp::START, Duration::MAX);
            user.failed.newest(window, |failed| failed.call == call)
        });
        found.is_none_or(|(_, call)| call.takes_message())
    }
}

/// What becomes of them.
impl Service {
    /// Whether a text was left by this question alone, and nobody has heard yet that it is kept.
    pub(super) fn is_unheard(&self, id: CompletionId, asked: Ticket) -> bool {
        let text = self.completions.get(&id);
        let Some(text) = text.filter(|it| it.roles == Roles::Text && !it.commit.was_kept) else {
            return false;
        };
        let held = text.commit.held().iter();
        let tickets = held.filter_map(|held| {
            let Output::Completed { ticket, .. } = held else {
                return None;
            };
            Some(*ticket)
        });
        tickets.eq([asked])
    }

    /// Nobody is rung, called or written to by what is held of it.
    pub(super) fn drop_calls(&mut self, id: CompletionId, turn: &mut Turn<'_>) {
        let Some(completion) = self.completions.get_mut(&id) else {
            return;
        };
        let mut held = completion.commit.held().iter();
        let is_unsent = held.any(|held| matches!(held, Output::Deliver(_)));
        completion.commit.drop_calls();
        if !is_unsent {
            return;
        }
        let callee = completion.callee.clone();
        let user = self.users.get_mut(&callee);
        if let Some(mail) = user.and_then(|user| user.mail.as_mut()) {
            mail.on_unsent(turn.now, id);
            self.rekey(&callee, turn);
        }
    }

    /// One more waits.
    pub(super) fn put_in_mailbox(&mut self, completion: &Completion) {
        let (id, ends) = (completion.id, completion.ends);
        let callee = completion.callee.clone();
        self.notes.insert((completion.caller.clone(), id));
        let Some(user) = self.users.or_default(&callee) else {
            return;
        };
        user.mail.get_or_insert_default().waiting.push((id, ends));
    }

    /// It waits no longer.
    pub(super) fn take_from_mailbox(
        &mut self,
        (id, caller, callee): (CompletionId, &Aor, &Aor),
        turn: &mut Turn<'_>,
    ) {
        self.notes.remove(&(caller.clone(), id));
        let mail = self.users.get_mut(callee);
        if let Some(mail) = mail.and_then(|user| user.mail.as_mut()) {
            mail.remove(id);
            self.rekey(callee, turn);
        }
    }

    pub(super) fn heed_mailbox(&mut self, callee: &Aor, before: &Line, turn: &mut Turn<'_>) {
        let Some(user) = self.users.get_mut(callee) else {
            return;
        };
        let line = user.line;
        if let Some(mail) = user.mail.as_mut() {
            mail.on_line(before, &line);
            self.deliver(callee, turn);
        }
    }

    /// Sends what is next, if anything is.
    pub(super) fn deliver(&mut self, callee: &Aor, turn: &mut Turn<'_>) {
        let user = self.users.get_mut(callee);
        let next = user.and_then(|user| {
            let line = user.line;
            user.mail.as_mut()?.next(turn.now, &line)
        });
        if let Some(completion) = next.and_then(|id| self.completions.get_mut(&id))
            && let Some(text) = completion.text().cloned()
        {
            completion.history.add(turn.now, Event::MessageSent);
            let id = completion.id;
            let delivery = Delivery {
                id,
                from: completion.wording.from(),
                callee: completion.callee.clone(),
                text,
                expires: completion.ends.since(turn.now),
            };
            self.emit(id, Output::Deliver(delivery), turn);
        }
        self.rekey(callee, turn);
    }

    pub(super) fn on_delivered(
        &mut self,
        (id, callee): (CompletionId, &Aor),
        how: Taking,
        turn: &mut Turn<'_>,
    ) {
        let rest = self.settings.timing.message_rest;
        let user = self.users.get_mut(callee);
        if let Some(mail) = user.and_then(|user| user.mail.as_mut()) {
            match how {
                Taking::Taken => mail.on_taken(id),
                Taking::Failed | Taking::Refused => mail.on_not_taken(turn.now, id, how, rest),
            }
        }
        let is_known = self.completions.contains_key(&id);
        match how {
            Taking::Taken if is_known => self.finish(id, Outcome::Completed, turn),
            Taking::Failed | Taking::Refused => self.story(id, Event::MessageNotTaken, None, turn),
            Taking::Taken => {}
        }
        self.deliver(callee, turn);
    }

    /// What has waited for too long, and what is to be tried again.
    pub(super) fn on_mailbox_due(&mut self, callee: &Aor, turn: &mut Turn<'_>) {
        let mail = self.users.get(callee).and_then(|user| user.mail.as_ref());
        let Some(mail) = mail else {
            return;
        };
        let over = mail.waiting.iter().filter(|(_, ends)| *ends <= turn.now);
        let over: Vec<_> = over.map(|(id, _)| *id).collect();
        for id in over {
            self.finish(id, Outcome::Expired, turn);
        }
        self.deliver(callee, turn);
    }

    /// The callee is no longer served: nobody will read them.
    pub(super) fn empty_mailbox(&mut self, callee: &Aor, turn: &mut Turn<'_>) {
        let mail = self.users.get(callee).and_then(|user| user.mail.as_ref());
        let waiting = mail.map_or_else(Vec::new, |mail| mail.waiting.clone());
        for (id, _) in waiting {
            self.finish(id, Outcome::Refused, turn);
        }
    }
}

impl FailedCall {
    fn takes_message(&self) -> bool {
        is_named(&self.from, &self.identity)
    }
}

/// R23: whether a caller may be named, as a text names who left it.
pub fn is_named(from: &AddrSpec, identity: &Identity) -> bool {
    let mut wishes = identity.privacy().split([';', ',']).map(str::trim);
    let hides = wishes.any(|wish| {
        let hiding = ["header", "id", "user"];
        hiding.iter().any(|known| wish.eq_ignore_ascii_case(known))
    });
    let user = from.user().unwrap_or_default();
    !hides && !user.is_empty() && !user.eq_ignore_ascii_case("anonymous")
}
