//! What an operator may choose about completion, with the defaults of a fresh install.
//!
//! Spec: DESIGN §8.7; TS 24.642 timers; RFC 6910 §11 (limits against probing).

use std::time::Duration;

use crate::cc::{agent, monitor};

/// All of it. Every time may be set in milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    /// The callees' queues: guard, recall timer, service durations, entries for one callee.
    pub monitor: monitor::Policy,
    /// The callers' requests: ringing, rest.
    pub agent: agent::Policy,
    /// How much is held at once.
    pub limits: Limits,
    /// How long things take that belong to neither role.
    pub timing: Timing,
}

/// How much is held at once; the newest is refused, and told which limit it was.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Requests of one caller (service code 37 counts 1 to 5).
    pub per_caller_max: usize,
    /// Requests of all callers.
    pub total_max: usize,
    /// Failed calls that are remembered for one caller.
    pub failed_calls_max: usize,
    /// Texts that wait for one callee.
    pub messages_max: usize,
    /// Recalls that may start within a second, so that a restart does not ring everybody at once.
    pub recalls_per_second_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            per_caller_max: 5,
            total_max: 100_000,
            failed_calls_max: 5,
            messages_max: 20,
            recalls_per_second_max: 10,
        }
    }
}

/// How long things take that belong to neither role.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// CC-73: how long after a failed call its completion may be asked for.
    pub offer_window: Duration,
    /// How long a call may wait at most (RULES R5).
    pub camp_on_max: Duration,
    /// How long a text waits for a phone that takes it.
    pub message_lasts: Duration,
    /// How long after a text was not taken it is sent again; doubled each time, up to an hour.
    pub message_rest: Duration,
    /// How long the store may take, before a new request is refused and a known one asks again.
    pub commit_max: Duration,
    /// How long after a start the lines of users that nobody saw count as free.
    pub unknown_time: Duration,
    /// CC-74: a suspension that is longer than a call.
    pub suspension_long: Duration,
    /// CC-74: a queue that was not empty for longer than any request lives.
    pub queue_long: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            offer_window: Duration::from_secs(30),
            camp_on_max: Duration::from_mins(2),
            message_lasts: Duration::from_hours(7 * 24),
            message_rest: Duration::from_mins(1),
            commit_max: Duration::from_secs(4),
            unknown_time: Duration::from_mins(5),
            suspension_long: Duration::from_hours(1),
            queue_long: Duration::from_hours(12),
        }
    }
}
