//! The story of one request, as its caller and the operator read it.

use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use crate::cc::Condition;
use crate::cc::agent::RecallFailure;
use crate::completion::bytes::{Broken, Reader, Writer};
use crate::completion::record::WallTime;
use crate::time::{Date, Timestamp};

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
    /// Nobody took the message.
    MessageNotTaken,
    /// The message was sent.
    MessageSent,
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
    /// The process was started anew, and with it the wait for the callee's next change.
    Restarted,
    /// The caller was available again.
    Resumed,
    /// The caller was not available.
    Suspended,
}

/// The events without a number, each with its code in what outlives the process.
const CODES: &[(u8, Event)] = &[
    (1, Event::CalleeTaken),
    (2, Event::CallStarted),
    (3, Event::CallFailed),
    (4, Event::Diverted),
    (5, Event::CallerAnswered),
    (6, Event::Ended(Outcome::Cancelled)),
    (7, Event::Ended(Outcome::Completed)),
    (8, Event::Ended(Outcome::Expired)),
    (9, Event::Ended(Outcome::Refused)),
    (10, Event::Recalled),
    (11, Event::RecallPassed),
    (12, Event::RecallFailed(RecallFailure::Busy)),
    (13, Event::RecallFailed(RecallFailure::NoCall)),
    (14, Event::RecallFailed(RecallFailure::Refused)),
    (15, Event::RecallFailed(RecallFailure::Unanswered)),
    (16, Event::RecallFailed(RecallFailure::Unreachable)),
    (17, Event::Requested(Condition::Busy)),
    (18, Event::Requested(Condition::NoReply)),
    (19, Event::Requested(Condition::NotLoggedIn)),
    (20, Event::Restarted),
    (21, Event::Resumed),
    (22, Event::Suspended),
    (23, Event::MessageSent),
    (24, Event::MessageNotTaken),
    (25, Event::RecallFailed(RecallFailure::Engaged)),
];

/// The code of [`Event::Queued`]; its place follows.
const QUEUED: u8 = 0;

impl Event {
    /// Its code, and the number that goes with it.
    fn code(self) -> (u8, u32) {
        if let Self::Queued(place) = self {
            return (QUEUED, u32::try_from(place).unwrap_or(u32::MAX));
        }
        let found = CODES.iter().find(|(_, event)| *event == self);
        let (code, _) = found.expect("every event but Queued has a code");
        (*code, 0)
    }

    /// The event with this code and number.
    fn of((code, number): (u8, u32)) -> Option<Self> {
        if code == QUEUED {
            return usize::try_from(number).map(Self::Queued).ok();
        }
        let found = CODES.iter().find(|(its, _)| *its == code);
        found.map(|(_, event)| *event)
    }

    fn write(self, out: &mut Writer) {
        let (code, number) = self.code();
        out.byte(code);
        if code == QUEUED {
            out.number(number);
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Broken> {
        let code = from.byte()?;
        let number = if code == QUEUED { from.number()? } else { 0 };
        Self::of((code, number)).ok_or(Broken)
    }
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
            Self::MessageNotTaken => "message not taken",
            Self::MessageSent => "message sent",
            Self::Queued(place) => return write!(f, "queued as no. {place}"),
            Self::Recalled => "recalled",
            Self::RecallPassed => "recall passed",
            Self::RecallFailed(RecallFailure::Busy) => "caller busy",
            Self::RecallFailed(RecallFailure::Engaged) => "caller on a call",
            Self::RecallFailed(RecallFailure::NoCall) => "no call placed",
            Self::RecallFailed(RecallFailure::Refused) => "caller refused",
            Self::RecallFailed(RecallFailure::Unanswered) => "caller did not answer",
            Self::RecallFailed(RecallFailure::Unreachable) => "caller not reached",
            Self::Requested(Condition::Busy) => "callee busy",
            Self::Requested(Condition::NoReply) => "callee did not answer",
            Self::Requested(Condition::NotLoggedIn) => "callee not registered",
            Self::Restarted => "campon restarted",
            Self::Resumed => "caller available",
            Self::Suspended => "caller not available",
        })
    }
}

/// How many events are kept: the first, and the newest ones.
const EVENTS_MAX: usize = 32;

/// A story; short ones are many, so that each event takes 8 bytes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct History {
    /// When it began, in microseconds since the process did; less than zero if it was there before.
    began_us: i64,
    moments: Moments,
}

/// How many events lie where the story does: most have no more until somebody is recalled twice.
const FEW: usize = 7;

/// The events of a story.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Moments {
    /// So many of these.
    Few(u8, [Moment; FEW]),
    Many(Box<[Moment]>),
}

impl Default for Moments {
    fn default() -> Self {
        Self::Few(0, [Moment::default(); FEW])
    }
}

impl From<Vec<Moment>> for Moments {
    fn from(moments: Vec<Moment>) -> Self {
        let mut few = [Moment::default(); FEW];
        match (few.get_mut(..moments.len()), u8::try_from(moments.len())) {
            (Some(place), Ok(length)) => {
                place.copy_from_slice(&moments);
                Self::Few(length, few)
            }
            (None, _) | (_, Err(_)) => Self::Many(moments.into_boxed_slice()),
        }
    }
}

impl Deref for Moments {
    type Target = [Moment];

    fn deref(&self) -> &[Moment] {
        match self {
            Self::Few(length, few) => few.get(..usize::from(*length)).unwrap_or(few),
            Self::Many(many) => many,
        }
    }
}

/// One event of a story.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Moment {
    /// How long after the first, in milliseconds.
    after_ms: u32,
    code: u8,
    /// Of [`Event::Queued`].
    place: u16,
}

impl Moment {
    fn new(after: Duration, event: Event) -> Self {
        let (code, place) = event.code();
        Self {
            after_ms: u32::try_from(after.as_millis()).unwrap_or(u32::MAX),
            code,
            place: u16::try_from(place).unwrap_or(u16::MAX),
        }
    }

    fn after(self) -> Duration {
        Duration::from_millis(self.after_ms.into())
    }

    fn event(self) -> Event {
        Event::of((self.code, self.place.into())).expect("the code was an event's")
    }
}

impl History {
    /// One more event; of a long story the middle is forgotten.
    pub(super) fn add(&mut self, now: Timestamp, event: Event) {
        let now_us = signed(now.as_micros());
        if self.moments.is_empty() {
            self.began_us = now_us;
        }
        let after_us = now_us.saturating_sub(self.began_us);
        let after = Duration::from_micros(u64::try_from(after_us).unwrap_or_default());
        self.push(Moment::new(after, event));
    }

    fn push(&mut self, moment: Moment) {
        let mut moments = self.moments.to_vec();
        if moments.len() >= EVENTS_MAX {
            moments.remove(1);
        }
        moments.push(moment);
        self.moments = moments.into();
    }

    /// What happened, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (Date, Event)> {
        let began_us = self.began_us;
        let at = move |after: Duration| {
            Date::from_micros(began_us.saturating_add(signed(micros(after))))
        };
        let moments = self.moments.iter();
        moments.map(move |moment| (at(moment.after()), moment.event()))
    }

    /// Writes it for a later process.
    pub(super) fn write(&self, out: &mut Writer, started: WallTime) {
        out.long(started.0.saturating_add_signed(self.began_us));
        // At most EVENTS_MAX.
        out.byte(u8::try_from(self.moments.len()).unwrap_or(u8::MAX));
        for moment in self.moments.iter() {
            out.number(moment.after_ms);
            moment.event().write(out);
        }
    }

    /// What [`Self::write`] wrote, in a process that was started then.
    pub(super) fn read(from: &mut Reader<'_>, started: WallTime) -> Result<Self, Broken> {
        let began = WallTime(from.long()?);
        // One of the two is zero.
        let after_us = signed(micros(began.since(started)));
        let began_us = after_us - signed(micros(started.since(began)));
        let mut moments = Vec::new();
        for _ in 0..from.byte()? {
            let after = Duration::from_millis(from.number()?.into());
            moments.push(Moment::new(after, Event::read(from)?));
        }
        Ok(Self {
            began_us,
            moments: moments.into(),
        })
    }
}

/// Each event with the seconds since the first.
impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, moment) in self.moments.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            let after_s = moment.after().as_secs();
            write!(f, "{comma}{after_s}s {}", moment.event())?;
        }
        Ok(())
    }
}

fn signed(us: u64) -> i64 {
    i64::try_from(us).unwrap_or(i64::MAX)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn carried(history: &History, from: WallTime, to: WallTime) -> History {
        let mut bytes = Writer::default();
        history.write(&mut bytes, from);
        let mut bytes = Reader(&bytes.0);
        let read = History::read(&mut bytes, to).expect("a story");
        assert_eq!(bytes.0, b"");
        read
    }

    #[test]
    fn a_story_goes_on_in_the_next_process() {
        let at = |seconds| Timestamp::START + Duration::from_secs(seconds);
        let wall = |seconds: u64| WallTime(1_000_000_000 + seconds * 1_000_000);
        let mut history = History::default();
        history.add(at(100), Event::Requested(Condition::Busy));
        history.add(at(100), Event::Queued(3));
        history.add(at(160), Event::Recalled);
        let mut history = carried(&history, wall(0), wall(300));
        history.add(at(5), Event::Restarted);
        let mut history = carried(&history, wall(300), wall(400));
        history.add(at(0), Event::Ended(Outcome::Completed));
        let read = "0s callee busy, 0s queued as no. 3, 60s recalled, 205s campon restarted, \
            300s completed";
        assert_eq!(history.to_string(), read);
        let times: Vec<_> = history.iter().map(|(at, _)| at).collect();
        let told = [-300, -300, -240, -95, 0].map(|seconds| Date::from_micros(seconds * 1_000_000));
        assert_eq!(times, told);
    }

    #[test]
    fn every_event_is_read_as_it_was_written() {
        let mut history = History::default();
        for (_, event) in CODES {
            history.add(Timestamp::START, *event);
        }
        assert_eq!(carried(&history, WallTime(7), WallTime(7)), history);
    }

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
            (Timestamp::START.into(), Event::Requested(Condition::Busy))
        );
        let last = Timestamp::START + Duration::from_secs(99);
        assert_eq!(events.last(), Some(&(last.into(), Event::Recalled)));
    }
}
