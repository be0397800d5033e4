//! The core's own clock reading: a point in time, and nothing that can read a clock.

use std::ops::Add;
use std::time::Duration;

/// Time since the process started, as read by `io` and handed to the core; whole microseconds.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The start of the process, and of every simulation.
    pub const START: Self = Self(0);

    /// How long before `self` the earlier instant was; zero if it was not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// Microseconds since [`Self::START`].
    pub fn as_micros(self) -> u64 {
        self.0
    }
}

impl From<Duration> for Timestamp {
    fn from(since_start: Duration) -> Self {
        Self(u64::try_from(since_start.as_micros()).unwrap_or(u64::MAX))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, after: Duration) -> Self {
        Self(self.0.saturating_add(Self::from(after).0))
    }
}
