//! One user: his lines, his queue, his requests, and the calls of his that failed.
//!
//! Spec: RFC 6910 §6.1 (what an agent records of a failed call).

use std::time::Duration;

use smallvec::SmallVec;

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
    /// Who waits for him.
    pub(super) queue: Queue,
    /// Since when somebody does.
    pub(super) waited_for: Timestamp,
    /// For whom he waits, if he does more than that.
    pub(super) agent: Option<Box<Agent>>,
    /// Whether he only waits, and an agent is to be made of his requests.
    pub(super) rests: bool,
    pub(super) failed: FailedCalls,
    /// The texts that wait for him.
    pub(super) mail: Option<Box<Mailbox>>,
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
            queue: Queue::default(),
            waited_for: Timestamp::START,
            agent: None,
            rests: false,
            failed: FailedCalls::default(),
            mail: None,
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
        self.wants() == Watch::Off && self.failed.calls().is_empty()
    }
}

/// Who waits for a user.
#[derive(Debug, Default)]
pub(super) enum Queue {
    /// Nobody.
    #[default]
    Empty,
    /// This one does nothing else.
    One(SubscriptionId),
    /// Nor do these, in this order.
    Several(Box<SmallVec<[SubscriptionId; 4]>>),
    Awake(Box<Monitor>),
}

impl Queue {
    /// The machine, if there is one.
    pub(super) fn awake_mut(&mut self) -> Option<&mut Monitor> {
        match self {
            Self::Awake(monitor) => Some(monitor),
            Self::Empty | Self::One(_) | Self::Several(_) => None,
        }
    }

    pub(super) fn awake(&self) -> Option<&Monitor> {
        match self {
            Self::Awake(monitor) => Some(monitor),
            Self::Empty | Self::One(_) | Self::Several(_) => None,
        }
    }

    /// These only wait.
    pub(super) fn at_rest(waiting: impl Iterator<Item = SubscriptionId>) -> Self {
        let waiting: SmallVec<_> = waiting.collect();
        match &*waiting {
            [] => Self::Empty,
            [one] => Self::One(*one),
            [_, _, ..] => Self::Several(Box::new(waiting)),
        }
    }

    /// Those who only wait.
    pub(super) fn resting(&self) -> &[SubscriptionId] {
        match self {
            Self::One(waiting) => std::slice::from_ref(waiting),
            Self::Several(waiting) => waiting,
            Self::Empty | Self::Awake(_) => &[],
        }
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Empty | Self::One(_) | Self::Several(_) => self.resting().len(),
            Self::Awake(monitor) => monitor.len(),
        }
    }
}

/// Whether somebody tells a user's lines.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Watch {
    Off,
    On,
}

/// The last calls of one user that failed. Who waits for an hour keeps no room for those of its first
/// minute.
#[derive(Debug, Default)]
pub(super) struct FailedCalls(Option<Box<Failed>>);

#[derive(Debug, Default)]
struct Failed {
    /// Oldest first, and when each failed; most have one.
    calls: SmallVec<[(Timestamp, FailedCall); 1]>,
    /// When they are looked at.
    fades: Option<Timestamp>,
}

impl FailedCalls {
    /// CC-07, CC-08: one more; of too many the oldest is forgotten.
    pub(super) fn add(&mut self, now: Timestamp, call: FailedCall, calls_max: usize) {
        let calls = &mut self.0.get_or_insert_default().calls;
        let most = calls_max.max(1) - 1;
        calls.drain(..calls.len().saturating_sub(most));
        calls.push((now, call));
    }

    /// They are looked at then, or at no time.
    pub(super) fn set_fades(&mut self, at: Option<Timestamp>) {
        if let Some(failed) = &mut self.0 {
            failed.fades = at;
        }
        self.drop_empty();
    }

    /// When they are looked at.
    pub(super) fn fades(&self) -> Option<Timestamp> {
        self.0.as_ref()?.fades
    }

    fn calls(&self) -> &[(Timestamp, FailedCall)] {
        self.0.as_ref().map_or(&[], |failed| &failed.calls)
    }

    /// The newest one that may be asked for and meets a condition, and when it failed.
    pub(super) fn newest(
        &self,
        (now, window): (Timestamp, Duration),
        wanted: impl Fn(&FailedCall) -> bool,
    ) -> Option<(Timestamp, &FailedCall)> {
        let recent = |(at, _): &&(Timestamp, _)| is_recent(*at, now, window);
        let mut recent = self.calls().iter().rev().filter(recent);
        let (at, call) = recent.find(|(_, call)| wanted(call))?;
        Some((*at, call))
    }

    /// Those that may be asked for, the newest first, and when each failed.
    pub(super) fn fresh(
        &self,
        (now, window): (Timestamp, Duration),
    ) -> impl Iterator<Item = (Timestamp, &FailedCall)> {
        let all = self.calls().iter().rev();
        let fresh = all.filter(move |(at, _)| is_recent(*at, now, window));
        fresh.map(|(at, call)| (*at, call))
    }

    /// Forgets those that nobody asks for.
    pub(super) fn remove(&mut self, is_gone: impl Fn(&FailedCall) -> bool) {
        self.retain(|(_, call)| !is_gone(call));
    }

    /// Forgets what can no longer be asked for.
    pub(super) fn forget(&mut self, now: Timestamp, window: Duration) {
        let oldest = self.calls().first();
        if oldest.is_some_and(|(at, _)| *at + window < now) {
            self.retain(|(at, _)| *at + window >= now);
        }
    }

    /// When [`Self::forget`] next has work to do.
    pub(super) fn deadline(&self, window: Duration) -> Option<Timestamp> {
        let (at, _) = self.calls().first()?;
        Some(*at + window + Duration::from_micros(1))
    }

    fn retain(&mut self, is_kept: impl Fn(&(Timestamp, FailedCall)) -> bool) {
        if let Some(failed) = &mut self.0 {
            failed.calls.retain(|call| is_kept(call));
        }
        self.drop_empty();
    }

    fn drop_empty(&mut self) {
        let is_empty = |failed: &Failed| failed.calls.is_empty() && failed.fades.is_none();
        self.0.take_if(|failed| is_empty(failed));
    }
}
