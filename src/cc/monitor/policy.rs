//! What an operator may choose about a callee's queue.
//!
//! Spec: RFC 6910 §7.3, §9.4, §9.11; TS 24.642 timers.

use std::time::Duration;

use crate::cc::Condition;
use crate::cc::document::Retention;
use crate::cc::monitor::cce::Waiter;

/// What an operator may choose about a queue.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// How long things take.
    pub times: Times,
    /// Most entries in one queue.
    pub entries_max: usize,
    /// Most entries selected at once; more than one only for a callee who takes several calls.
    pub ready_max: usize,
    /// Most recalls of one entry that come to nothing, by the caller's doing or the callee's.
    pub recalls_max: u32,
    /// Whether an entry outlives them.
    pub retention: Retention,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            times: Times::default(),
            entries_max: 5,
            ready_max: 1,
            recalls_max: 3,
            retention: Retention::Kept,
        }
    }
}

/// How long things take in a queue; each may be set in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// How long the callee's free lines are left to himself (TS 24.642: 0 to 15 s).
    pub guard: Duration,
    /// The same, where a caller waits with the call in his hand: long enough for a phone to be ready.
    pub guard_call: Duration,
    /// CC-42: how long a caller has to begin his CC call (RFC 6910 §7.3: 10 to 20 s).
    pub recall: Duration,
    /// How long a CC call may take to be answered; our bound, so that a lost end frees the queue.
    pub cc_call_max: Duration,
    /// How long a caller who let a recall pass is not recalled again, so that he is not rung three
    /// times within a minute.
    pub rest: Duration,
    /// How long the end of a CC call that failed may trail behind, before a change from engaged to
    /// free is the callee's own.
    pub aftermath: Duration,
    /// R2: how long a callee is waited for who was busy, and of whom nobody knows what calls he has:
    /// nobody may see him hang up.
    pub unknown: Duration,
    /// CC-65: the interval in which a subscription gets at most three NOTIFYs.
    pub notify_window: Duration,
    /// The shortest subscription granted; shorter ones only cost messages.
    pub expires_min: Duration,
    /// How long a request lives: CCBS.
    pub service_busy: Duration,
    /// How long a request lives: CCNR.
    pub service_no_reply: Duration,
    /// How long a request lives: CCNL.
    pub service_not_logged_in: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            guard: Duration::from_secs(5),
            guard_call: Duration::from_secs(1),
            recall: Duration::from_secs(20),
            cc_call_max: Duration::from_mins(3),
            rest: Duration::from_mins(1),
            aftermath: Duration::from_secs(2),
            unknown: Duration::from_mins(5),
            notify_window: Duration::from_secs(10),
            expires_min: Duration::from_secs(10),
            service_busy: Duration::from_hours(1),
            service_no_reply: Duration::from_hours(3),
            service_not_logged_in: Duration::from_hours(3),
        }
    }
}

impl Times {
    /// CC-54: the duration of a subscription that asks for none (RFC 6910 §9.4).
    pub const DEFAULT_DURATION: Duration = Duration::from_hours(1);

    pub(super) fn guard(&self, waiter: Waiter) -> Duration {
        match waiter {
            Waiter::Subscriber => self.guard,
            Waiter::Call => self.guard_call,
        }
    }

    /// CC-56: how long a request can still lead to a recall.
    pub fn service(&self, condition: Condition) -> Duration {
        match condition {
            Condition::Busy => self.service_busy,
            Condition::NoReply => self.service_no_reply,
            Condition::NotLoggedIn => self.service_not_logged_in,
        }
    }
}
