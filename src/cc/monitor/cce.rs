//! A CC entity: one caller's place in a callee's queue.
//!
//! Spec: RFC 6910 §5; its two states there are `stage` (recall state) and `suspended` (availability).

use std::time::Duration;

use crate::cc::addr::Aor;
use crate::cc::fork::CallId;
use crate::cc::line::{Calls, Line, Trigger};
use crate::cc::monitor::Leaving;
use crate::cc::monitor::event::{Effect, Found, Move, Reason, Refusal, Why};
use crate::cc::monitor::policy::Times;
use crate::cc::pace::{Medium, Pace};
use crate::cc::{Condition, RecallState, SubscriptionId};
use crate::time::Timestamp;

/// Somebody who wants a place.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Newcomer {
    /// His subscription.
    pub id: SubscriptionId,
    /// CC-29: whose call failed: the user of its From.
    pub caller: Aor,
    /// The Call-ID of his SUBSCRIBE: forks of one have the same.
    pub call_id: CallId,
    /// How long he asks for; none is 3600 s.
    pub expires: Option<Duration>,
    /// What he waits for.
    pub wait: Wait,
    /// How he is told.
    pub medium: Medium,
    /// What a refresh does.
    pub renewal: Renewal,
    /// Who has to be ready for the callee.
    pub waiter: Waiter,
}

/// Who waits in the caller's name.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Waiter {
    /// A subscriber, who then has to ring the caller.
    #[default]
    Subscriber,
    /// The caller himself, with the call in his hand: he has a guard time of his own (R5).
    Call,
}

/// What a refresh does to a subscription's end.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Renewal {
    /// CC-59: it never lengthens.
    #[default]
    Shortens,
    /// It lengthens, up to the end of the service: for phones that subscribe for a minute at a time,
    /// and take their wish back by no longer doing so.
    Lengthens,
}

/// What has to happen before a recall, and since when it is waited for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Wait {
    /// Why the call failed.
    pub condition: Condition,
    /// What has to happen.
    pub trigger: Trigger,
    /// When the call failed: what happened before that does not count.
    pub since: Timestamp,
}

/// What of an entry outlives its process, beside what its [`Newcomer`] had.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Place {
    /// When its subscription ends.
    pub expires: Timestamp,
    /// The end of the service, where it is not that of the subscription.
    pub service_ends: Option<Timestamp>,
    /// Recalls that the caller let pass; they cost him his place.
    pub passed: u32,
    /// CC calls that did not reach the callee; they do not.
    pub failed: u32,
    /// Whether the caller can be recalled.
    pub availability: Availability,
    /// Whether the subscriber may have heard that it is his turn.
    pub selected: bool,
}

/// Where an entry stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stage {
    /// Not selected.
    Queued,
    /// Selected; the caller's call is awaited.
    Ready {
        /// The recall timer.
        until: Timestamp,
    },
    /// The caller's call is under way.
    Calling {
        /// When a call whose end nobody tells is given up.
        gives_up: Timestamp,
    },
}

/// Whether the caller can be recalled.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Availability {
    /// He can.
    Available,
    /// He cannot.
    Suspended {
        /// When his publication runs out; without it, when his subscription does.
        until: Option<Timestamp>,
    },
}

/// Whether the subscriber has to be told something.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Owed {
    Nothing,
    Notify,
}

/// One caller's place.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Cce {
    pub(super) id: SubscriptionId,
    pub(super) caller: Aor,
    pub(super) call_id: CallId,
    pub(super) wait: Wait,
    pub(super) waiter: Waiter,
    pub(super) expires: Timestamp,
    /// The end of the service, where it is not that of the subscription.
    pub(super) service_ends: Option<Timestamp>,
    pub(super) availability: Availability,
    pub(super) stage: Stage,
    /// Recalls that the caller let pass; they cost him his place.
    pub(super) passed: u16,
    /// CC calls that did not reach the callee; they do not.
    pub(super) failed: u16,
    /// Not selected again before this.
    pub(super) rests_until: Timestamp,
    pub(super) pace: Pace,
    pub(super) owed: Owed,
}

impl Newcomer {
    /// The end of the service, if his subscription may end before it.
    pub(super) fn service_ends(&self, ends: Timestamp) -> Option<Timestamp> {
        match self.renewal {
            Renewal::Shortens => None,
            Renewal::Lengthens => Some(ends),
        }
    }
}

impl Wait {
    /// A call has found the callee so, whose line is this now; lines of which nothing is known count as
    /// free after so long.
    pub(super) fn meet(
        &mut self,
        found: Found,
        (line, now): (&Line, Timestamp),
        unknown: Duration,
    ) {
        let trigger = match (found.condition, found.calls) {
            (Condition::Busy, Calls::Unknown) => Trigger::Seen { by: now + unknown },
            (condition, calls) => Trigger::after(condition, calls),
        };
        let next = Self {
            condition: found.condition,
            trigger,
            since: now,
        };
        self.follow(next, line);
        self.since = now;
    }

    /// What was found out last counts, but that a phone was not there yet.
    ///
    /// R2: who talks since before the start may not have registered with this process; his phone will,
    /// and he talk on.
    fn follow(&mut self, next: Self, line: &Line) {
        let has_come = line.registered.is_some_and(|at| at < next.since);
        let is_unseen = line.freed.is_none() && !has_come;
        let is_unknown = matches!(self.trigger, Trigger::Seen { by } if by > next.since);
        if next.condition != Condition::NotLoggedIn || !is_unseen || !is_unknown {
            *self = next;
        }
    }
}

impl Cce {
    /// CC-03: a new entry is available and queued.
    pub(super) fn new(newcomer: Newcomer, expires: Timestamp, service_ends: Timestamp) -> Self {
        Self {
            service_ends: newcomer.service_ends(service_ends),
            id: newcomer.id,
            caller: newcomer.caller,
            call_id: newcomer.call_id,
            wait: newcomer.wait,
            waiter: newcomer.waiter,
            expires,
            availability: Availability::Available,
            stage: Stage::Queued,
            passed: 0,
            failed: 0,
            rests_until: Timestamp::START,
            pace: Pace::over(newcomer.medium),
            owed: Owed::Notify,
        }
    }

    /// CC-03, CC-06: the entry of a process before this one, in its place; who was selected is queued
    /// again, and told so.
    pub(super) fn revived(newcomer: Newcomer, place: &Place, now: Timestamp) -> Self {
        let pace = Pace::unknown(newcomer.medium, now);
        let owed = if place.selected {
            Owed::Notify
        } else {
            Owed::Nothing
        };
        Self {
            availability: place.availability,
            passed: u16::try_from(place.passed).unwrap_or(u16::MAX),
            failed: u16::try_from(place.failed).unwrap_or(u16::MAX),
            pace,
            owed,
            service_ends: place.service_ends,
            ..Self::new(newcomer, place.expires, place.expires)
        }
    }

    /// What outlives the process.
    pub(super) fn place(&self) -> Place {
        Place {
            expires: self.expires,
            service_ends: self.service_ends,
            passed: self.passed.into(),
            failed: self.failed.into(),
            availability: self.availability,
            selected: !self.is_queued(),
        }
    }

    /// How long a refresh may make it last from now on.
    pub(super) fn remaining(&self, now: Timestamp) -> Duration {
        self.service_ends.unwrap_or(self.expires).since(now)
    }

    /// Whether the subscription ran out before the service did.
    pub(super) fn was_let_lapse(&self, now: Timestamp) -> bool {
        self.service_ends.is_some_and(|ends| ends > now)
    }

    /// What its subscriber is told: selected from the recall until the CC call ends.
    pub(super) fn recall_state(&self) -> RecallState {
        match self.stage {
            Stage::Queued => RecallState::Queued,
            Stage::Ready { .. } | Stage::Calling { .. } => RecallState::Ready,
        }
    }

    /// He has asked again: for a call that has failed since, or for one before. The later one says how
    /// the callee was found last.
    pub(super) fn wait_for(&mut self, wait: Wait, line: &Line) {
        let (mut first, last) = if wait.since > self.wait.since {
            (self.wait, wait)
        } else {
            (wait, self.wait)
        };
        first.follow(last, line);
        self.wait = first;
    }

    /// CC-36: the newer dialog has the place; the older one, which comes back, is ended.
    pub(super) fn take_over(
        &mut self,
        newcomer: &Newcomer,
        (expires, ends): (Timestamp, Timestamp),
        line: &Line,
    ) -> Leaving {
        self.service_ends = newcomer.service_ends(ends);
        let old = Leaving {
            id: self.id,
            reason: Reason::NoResource,
            pace: std::mem::replace(&mut self.pace, Pace::over(newcomer.medium)),
        };
        self.id = newcomer.id;
        self.call_id = newcomer.call_id;
        self.expires = expires;
        // CC-06: what was published for the older one is over.
        self.availability = Availability::Available;
        self.rests_until = Timestamp::START;
        self.owed = Owed::Notify;
        if self.is_queued() {
            match self.waiter {
                Waiter::Subscriber => self.wait_for(newcomer.wait, line),
                // How his call ended, the newcomer knows.
                Waiter::Call => self.wait = newcomer.wait,
            }
        }
        self.waiter = newcomer.waiter;
        old
    }

    /// CC-63: told as queued again.
    pub(super) fn put_back(&mut self, why: Why, out: &mut Vec<Effect>) {
        self.stage = Stage::Queued;
        self.owed = Owed::Notify;
        out.push(Effect::Moved(self.id, Move::PutBack(why)));
    }

    /// Why this newcomer of the same caller does not take its place over.
    pub(super) fn keeps_from(&self, newcomer: &Newcomer) -> Option<Refusal> {
        let is_call = self.waiter == Waiter::Call && newcomer.waiter == Waiter::Subscriber;
        if self.call_id == newcomer.call_id {
            // CC-35: a fork of the SUBSCRIBE that made the entry.
            Some(Refusal::Merged)
        } else if is_call && matches!(self.stage, Stage::Calling { .. }) {
            // R5: the call with which he waits is at the callee's right now, and would end.
            Some(Refusal::Full)
        } else {
            None
        }
    }

    pub(super) fn is_suspended(&self) -> bool {
        matches!(self.availability, Availability::Suspended { .. })
    }

    pub(super) fn is_queued(&self) -> bool {
        matches!(self.stage, Stage::Queued)
    }

    /// From when on it may be selected, as things stand; `None` if something must change.
    ///
    /// CC-02: neither while the caller is unavailable nor before its condition is met.
    pub(super) fn selectable_at(&self, line: &Line, times: &Times) -> Option<Timestamp> {
        if self.is_suspended() || !self.is_queued() {
            return None;
        }
        let met = self.wait.trigger.met_at(line, self.wait.since)?;
        let unknown_by = self.wait.trigger.unknown_by(line, self.wait.since);
        let free = line.takes_calls_at(unknown_by)?;
        let latest = met
            .max(free)
            .max(line.settles(times.guard(self.waiter)))
            .max(self.pace.next_ready(times.notify_window))
            .max(self.rests_until);
        Some(latest)
    }

    /// When the NOTIFY that is owed may go out.
    ///
    /// CC-67: one that says "ready" leaves room for the next one to say "queued".
    pub(super) fn notify_at(&self, times: &Times) -> Option<Timestamp> {
        match (self.owed, self.recall_state()) {
            (Owed::Nothing, _) => None,
            (Owed::Notify, RecallState::Queued) => Some(self.pace.next(times.notify_window)),
            (Owed::Notify, RecallState::Ready) => Some(self.pace.next_ready(times.notify_window)),
        }
    }

    /// When something is due for it, its selection apart.
    pub(super) fn deadline(&self, times: &Times) -> Option<Timestamp> {
        let stage = match self.stage {
            Stage::Queued => self.expires,
            Stage::Ready { until } => until.min(self.expires),
            // A call under way is not cut off by the end of the service.
            Stage::Calling { gives_up } => gives_up,
        };
        let resumes = match self.availability {
            Availability::Available => None,
            Availability::Suspended { until } => until,
        };
        let tells = self.notify_at(times);
        [Some(stage), resumes, tells].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each of those who wait has one.
    #[test]
    fn a_place_in_a_queue_takes_little_room() {
        assert!(size_of::<Cce>() <= 160, "{} bytes", size_of::<Cce>());
    }
}
