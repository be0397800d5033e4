//! The one clock: monotonic, and read nowhere else.

#![expect(
    clippy::disallowed_types,
    reason = "the only file that may read the clock"
)]

use std::time::{Instant, SystemTime};

use crate::time::Timestamp;

/// Reads the monotonic clock as a [`Timestamp`]; every copy shows the same time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock(Instant);

impl Clock {
    /// Starts the clock at [`Timestamp::START`].
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    /// The time of the calendar when the clock was started, in microseconds since 1970.
    pub(super) fn started(self) -> u64 {
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let started = since_1970
            .unwrap_or_default()
            .saturating_sub(self.0.elapsed());
        u64::try_from(started.as_micros()).unwrap_or(u64::MAX)
    }

    /// The current time.
    pub(super) fn now(self) -> Timestamp {
        Timestamp::from(self.0.elapsed())
    }

    /// The same moment as the event loop's timers count it.
    pub(super) fn instant(self, at: Timestamp) -> tokio::time::Instant {
        tokio::time::Instant::from_std(self.0 + at.since(Timestamp::START))
    }
}
