//! A queue in which everybody only waits, and what it takes to make it anew.
//!
//! Spec: DESIGN §6.
//!
//! Nearly all that wait do so undisturbed. A queue of such entries need not lie in memory: the one
//! that [`Monitor::awake`] makes of them does whatever the one that [`Monitor::waiting`] looked at
//! would have done.

use std::time::Duration;

use crate::cc::SubscriptionId;
use crate::cc::addr::Aor;
use crate::cc::fork::CallId;
use crate::cc::line::{Calls, Line};
use crate::cc::monitor::cce::{Availability, Cce, Owed};
use crate::cc::monitor::policy::Times;
use crate::cc::monitor::{Context, Monitor, Place, Stage, Wait, Waiter};
use crate::cc::pace::{Medium, Pace};
use crate::time::Timestamp;

/// All that is to be known of an entry that only waits.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Waiting {
    /// Its subscription.
    pub id: SubscriptionId,
    /// Whose it is.
    pub caller: Aor,
    /// The Call-ID of its SUBSCRIBE.
    pub call_id: CallId,
    /// What it waits for.
    pub wait: Wait,
    /// When its subscription ends, and its service.
    pub expires: Timestamp,
    /// How it is told.
    pub medium: Medium,
    /// When it was last told.
    pub told: Option<Timestamp>,
}

impl Waiting {
    /// What of it is to outlive the process, and its Call-ID.
    pub fn place(self) -> (Place, CallId) {
        let call_id = self.call_id;
        (Cce::awake(self).place(), call_id)
    }
}

impl Monitor {
    /// The queue of these, in their order.
    pub fn awake(line: Line, waiting: impl IntoIterator<Item = Waiting>) -> Self {
        let mut monitor = Self::new(line);
        for waiting in waiting {
            monitor.enter(Cce::awake(waiting));
        }
        monitor
    }

    /// What of an entry is to outlive the process, and its Call-ID.
    pub fn place(&self, id: SubscriptionId) -> Option<(Place, CallId)> {
        let found = self.entries.iter().find(|cce| cce.id == id)?;
        Some((found.place(), found.call_id))
    }

    /// Those who wait, in their order, if that is all that is to be known of the queue at `now`, and
    /// nothing is due before one of them ends or the line changes.
    pub fn waiting(
        &self,
        now: Timestamp,
        line: &Line,
        context: &Context<'_>,
    ) -> Option<Vec<Waiting>> {
        let is_quiet = self.leaving.is_empty() && self.own_edge.is_none() && self.aftermath <= now;
        if !is_quiet || self.line != *line {
            return None;
        }
        let times = &context.policy.times;
        let window = times.notify_window;
        let waiting = self.entries.iter().map(|cce| {
            let cannot_be_selected = cce.selectable_at(line, times).is_none();
            cce.waiting(now, window).filter(|_| cannot_be_selected)
        });
        waiting.collect()
    }
}

impl Cce {
    fn awake(waiting: Waiting) -> Self {
        Self {
            id: waiting.id,
            caller: waiting.caller,
            call_id: waiting.call_id,
            wait: waiting.wait,
            waiter: Waiter::Subscriber,
            expires: waiting.expires,
            service_ends: None,
            availability: Availability::Available,
            stage: Stage::Queued,
            passed: 0,
            failed: 0,
            rests_until: Timestamp::START,
            pace: Pace::since(waiting.medium, waiting.told),
            owed: Owed::Nothing,
        }
    }

    /// What is to be known of it, if it only waits.
    fn waiting(&self, now: Timestamp, window: Duration) -> Option<Waiting> {
        let (medium, told) = self.pace.calm(now, window)?;
        let waiting = Waiting {
            id: self.id,
            caller: self.caller.clone(),
            call_id: self.call_id,
            wait: self.wait,
            expires: self.expires,
            medium,
            told,
        };
        let anew = Self {
            // What is over holds nobody back.
            rests_until: self.rests_until.min(now),
            pace: self.pace.clone(),
            ..Self::awake(waiting.clone())
        };
        (anew == *self).then_some(waiting)
    }
}

impl Monitor {
    /// A call that the callee refused as busy is no edge, but his line is his own again after it.
    pub(super) fn rest_after_refusal(&mut self, line: &Line, now: Timestamp, times: &Times) {
        let is_over = self.line.calls == Calls::Engaged && line.calls != Calls::Engaged;
        let is_edge = line.freed > self.line.freed && line.freed != self.own_edge;
        if is_over && !is_edge {
            for cce in self.entries.iter_mut().filter(|cce| cce.is_queued()) {
                cce.rests_until = cce.rests_until.max(now + times.guard(cce.waiter));
            }
        }
    }
}
