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
