//! The one clock: monotonic, and read nowhere else.

#![expect(
    clippy::disallowed_types,
    reason = "the only file that may read the clock"
)]

use std::time::Instant;

use crate::time::Timestamp;

/// Reads the monotonic clock as a [`Timestamp`]; every copy shows the same time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock(Instant);

impl Clock {
    /// Starts the clock at [`Timestamp::START`].
    pub(super) fn start() -> Self {
        Self(Instant::now())
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
