//! The story of one request, as its caller and the operator read it.

use std::collections::VecDeque;
use std::fmt;

use crate::cc::Condition;
use crate::cc::agent::RecallFailure;
use crate::time::Timestamp;

/// How a request ended: each accepted one ends in exactly one of these.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Outcome {
    /// Its caller took it back.
    Cancelled,
    /// The two talked.
    Completed,
    /// Its time ran out.
    Expired,
    /// The callee's side ended it.
    Refused,
}

/// What happened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Event {
    /// The callee could not take the call after all.
    CalleeTaken,
    /// The CC call left, or arrived.
    CallStarted,
    /// The CC call failed.
    CallFailed,
    /// Somebody else answered the CC call.
    Diverted,
    /// The caller answered his recall.
    CallerAnswered,
    /// It ended.
    Ended(Outcome),
    /// It got the n-th place, counted from 1.
    Queued(usize),
    /// The caller was rung, or told that it is his turn.
    Recalled,
    /// The recall was not answered, or no call followed.
    RecallPassed,
    /// The recall failed.
    RecallFailed(RecallFailure),
    /// It was asked for, after a call that failed like this.
    Requested(Condition),
    /// The caller was available again.
    Resumed,
    /// The caller was not available.
    Suspended,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cancelled => "cancelled",
            Self::Completed => "completed",
            Self::Expired => "expired",
            Self::Refused => "refused",
        })
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CalleeTaken => "callee taken again",
            Self::CallStarted => "call under way",
            Self::CallFailed => "call failed",
            Self::Diverted => "answered elsewhere",
            Self::CallerAnswered => "caller answered",
            Self::Ended(outcome) => return outcome.fmt(f),
            Self::Queued(place) => return write!(f, "queued as no. {place}"),
            Self::Recalled => "recalled",
            Self::RecallPassed => "recall passed",
            Self::RecallFailed(RecallFailure::Busy) => "caller busy",
            Self::RecallFailed(RecallFailure::NoCall) => "no call placed",
            Self::RecallFailed(RecallFailure::Refused) => "caller refused",
            Self::RecallFailed(RecallFailure::Unanswered) => "caller did not answer",
            Self::RecallFailed(RecallFailure::Unreachable) => "caller not reached",
            Self::Requested(Condition::Busy) => "callee busy",
            Self::Requested(Condition::NoReply) => "callee did not answer",
            Self::Requested(Condition::NotLoggedIn) => "callee not registered",
            Self::Resumed => "caller available",
            Self::Suspended => "caller not available",
        })
    }
}

/// How many events are kept: the first, and the newest ones.
const EVENTS_MAX: usize = 32;

/// A story.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct History(VecDeque<(Timestamp, Event)>);

impl History {
    /// One more event; of a long story the middle is forgotten.
    pub(super) fn add(&mut self, now: Timestamp, event: Event) {
        if self.0.len() >= EVENTS_MAX {
            self.0.remove(1);
        }
        self.0.push_back((now, event));
    }

    /// What happened, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (Timestamp, Event)> {
        self.0.iter().copied()
    }
}

/// Each event with the seconds since the first.
impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((first, _)) = self.0.front() else {
            return Ok(());
        };
        for (index, (at, event)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{}s {event}", at.since(*first).as_secs())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_story_can_be_read() {
        let mut history = History::default();
        let at = |seconds| Timestamp::START + Duration::from_secs(seconds);
        history.add(at(3), Event::Requested(Condition::Busy));
        history.add(at(3), Event::Queued(2));
        history.add(at(18), Event::RecallFailed(RecallFailure::Unanswered));
        history.add(at(90), Event::Ended(Outcome::Expired));
        let read = "0s callee busy, 0s queued as no. 2, 15s caller did not answer, 87s expired";
        assert_eq!(history.to_string(), read);
    }

    #[test]
    fn a_long_story_keeps_its_beginning_and_its_end() {
        let mut history = History::default();
        history.add(Timestamp::START, Event::Requested(Condition::Busy));
        for second in 1..100 {
            let at = Timestamp::START + Duration::from_secs(second);
            history.add(at, Event::Recalled);
        }
        let events: Vec<_> = history.iter().collect();
        assert_eq!(events.len(), EVENTS_MAX);
        assert_eq!(
            events[0],
            (Timestamp::START, Event::Requested(Condition::Busy))
        );
        let last = Timestamp::START + Duration::from_secs(99);
        assert_eq!(events.last(), Some(&(last, Event::Recalled)));
    }
}
