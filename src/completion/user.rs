//! One user: his lines, his queue, his requests, and the calls of his that failed.
//!
//! Spec: RFC 6910 §6.1 (what an agent records of a failed call).

use std::collections::VecDeque;
use std::time::Duration;

use crate::cc::SubscriptionId;
use crate::cc::agent::Agent;
use crate::cc::capsule::is_recent;
use crate::cc::line::Line;
use crate::cc::monitor::Monitor;
use crate::completion::input::FailedCall;
use crate::completion::messages::Mailbox;
use crate::time::Timestamp;

/// One user; kept while there is anything to keep.
#[derive(Debug)]
pub(super) struct User {
    pub(super) line: Line,
    /// Whether somebody was asked to tell his lines.
    pub(super) watch: Watch,
    /// Whether somebody was told that he is waited for.
    pub(super) is_waited_for: bool,
    /// Who waits for him, but for those who only wait.
    pub(super) monitor: Option<Box<Monitor>>,
    /// Who only waits for him; nobody, where there is a monitor.
    pub(super) waiting: Box<[SubscriptionId]>,
    /// Since when somebody does.
    pub(super) waited_for: Timestamp,
    /// For whom he waits, if he does more than that.
    pub(super) agent: Option<Box<Agent>>,
    /// For how many he only waits; none, where there is an agent.
    pub(super) resting: u32,
    pub(super) failed: FailedCalls,
    /// The texts that wait for him.
    pub(super) mail: Option<Box<Mailbox>>,
    /// When those are looked at.
    pub(super) fades: Option<Timestamp>,
    /// His deadline, as it is noted.
    pub(super) due: Option<Timestamp>,
    /// How many requests his phones keep up by subscriptions of their own.
    pub(super) phones_wait: u32,
}

impl Default for User {
    fn default() -> Self {
        Self {
            line: Line::UNKNOWN,
            watch: Watch::Off,
            is_waited_for: false,
            monitor: None,
            waiting: Box::default(),
            waited_for: Timestamp::START,
            agent: None,
            resting: 0,
            failed: FailedCalls::default(),
            mail: None,
            fades: None,
            due: None,
            phones_wait: 0,
        }
    }
}

impl User {
    /// Whether his lines matter.
    pub(super) fn wants(&self) -> Watch {
        let has_machine = self.has_queue() || self.has_requests() || self.mail.is_some();
        if has_machine || self.phones_wait > 0 {
            Watch::On
        } else {
            Watch::Off
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.wants() == Watch::Off && self.failed.0.is_empty()
    }
}

/// Whether somebody tells a user's lines.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Watch {
    Off,
    On,
}

/// The last calls of one user that failed, oldest first.
#[derive(Debug, Default)]
pub(super) struct FailedCalls(VecDeque<(Timestamp, FailedCall)>);

impl FailedCalls {
    /// CC-07, CC-08: one more; of too many the oldest is forgotten.
    pub(super) fn add(&mut self, now: Timestamp, call: FailedCall, calls_max: usize) {
        while self.0.len() >= calls_max.max(1) {
            self.0.pop_front();
        }
        // Most have one.
        self.0.reserve_exact(1);
        self.0.push_back((now, call));
    }

    /// The newest one that may be asked for and meets a condition, and when it failed.
    pub(super) fn newest(
        &self,
        (now, window): (Timestamp, Duration),
        wanted: impl Fn(&FailedCall) -> bool,
    ) -> Option<(Timestamp, &FailedCall)> {
        let recent = |(at, _): &&(Timestamp, _)| is_recent(*at, now, window);
        let mut recent = self.0.iter().rev().filter(recent);
        let (at, call) = recent.find(|(_, call)| wanted(call))?;
        Some((*at, call))
    }

    /// Those that may be asked for, the newest first, and when each failed.
    pub(super) fn fresh(
        &self,
        (now, window): (Timestamp, Duration),
    ) -> impl Iterator<Item = (Timestamp, &FailedCall)> {
        let all = self.0.iter().rev();
        let fresh = all.filter(move |(at, _)| is_recent(*at, now, window));
        fresh.map(|(at, call)| (*at, call))
    }

    /// Forgets those that nobody asks for.
    pub(super) fn remove(&mut self, is_gone: impl Fn(&FailedCall) -> bool) {
        self.0.retain(|(_, call)| !is_gone(call));
    }

    /// Forgets what can no longer be asked for.
    pub(super) fn forget(&mut self, now: Timestamp, window: Duration) {
        while let Some((at, _)) = self.0.front()
            && *at + window < now
        {
            self.0.pop_front();
        }
    }

    /// When [`Self::forget`] next has work to do.
    pub(super) fn deadline(&self, window: Duration) -> Option<Timestamp> {
        let (at, _) = self.0.front()?;
        Some(*at + window + Duration::from_micros(1))
    }
}
