//! The core's own clock reading: a point in time, and nothing that can read a clock.

use std::fmt;
use std::num::NonZeroU64;
use std::ops::Add;
use std::time::Duration;

/// Time since the process started, as read by `io` and handed to the core; whole microseconds.
///
/// A deadline that may be missing takes no more room than one that is there: what waits has many.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Timestamp {
    /// One more than the microseconds, so that zero is left for "none".
    count: NonZeroU64,
}

impl Timestamp {
    /// The start of the process, and of every simulation.
    pub const START: Self = Self {
        count: NonZeroU64::MIN,
    };

    /// How long before `self` the earlier instant was; zero if it was not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.as_micros().saturating_sub(earlier.as_micros()))
    }

    /// Microseconds since [`Self::START`].
    pub fn as_micros(self) -> u64 {
        self.count.get() - 1
    }
}

impl Default for Timestamp {
    fn default() -> Self {
        Self::START
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Timestamp").field(&self.as_micros()).finish()
    }
}

impl From<Duration> for Timestamp {
    fn from(since_start: Duration) -> Self {
        Self::START + since_start
    }
}

/// A point in time to be told to people: it may lie before the process started.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Date {
    /// Microseconds since [`Timestamp::START`].
    since_start_us: i64,
}

impl Date {
    /// The date so many microseconds after [`Timestamp::START`], or before it.
    pub const fn from_micros(since_start_us: i64) -> Self {
        Self { since_start_us }
    }

    /// How long before `now` this was, and how long after it this is; one of the two is zero.
    pub fn around(self, now: Timestamp) -> (Duration, Duration) {
        let this = i128::from(self.since_start_us);
        let now = i128::from(now.as_micros());
        let micros = |us: i128| Duration::from_micros(u64::try_from(us).unwrap_or_default());
        (micros(now - this), micros(this - now))
    }
}

impl From<Timestamp> for Date {
    fn from(at: Timestamp) -> Self {
        Self::from_micros(i64::try_from(at.as_micros()).unwrap_or(i64::MAX))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, after: Duration) -> Self {
        let micros = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        Self {
            count: self.count.saturating_add(micros),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_may_be_missing_takes_no_more_room() {
        assert_eq!(size_of::<Option<Timestamp>>(), size_of::<u64>());
    }

    #[test]
    fn a_date_lies_on_one_side_of_now() {
        let second = Duration::from_secs(1);
        let now = Timestamp::START + second;
        let (none, date) = (Duration::ZERO, Date::from_micros);
        assert_eq!(date(-2_000_000).around(now), (3 * second, none));
        assert_eq!(date(5_000_000).around(now), (none, 4 * second));
        assert_eq!(Date::from(now).around(now), (none, none));
    }

    #[test]
    fn time_ends_and_does_not_overflow() {
        let end = Timestamp::from(Duration::MAX);
        assert_eq!(end + Duration::from_secs(1), end);
        assert!(Timestamp::START + Duration::from_micros(1) < end);
        assert_eq!(Timestamp::default().as_micros(), 0);
        assert_eq!(
            format!("{:?}", Timestamp::from(Duration::from_micros(7))),
            "Timestamp(7)"
        );
    }
}
