//! The monotonic clock that all runs by, and the calendar for people; read nowhere else.

#![expect(
    clippy::disallowed_types,
    reason = "the only file that may read the clock"
)]

use std::time::{Instant, SystemTime};

use humantime::format_rfc3339_millis;

use crate::time::{Date, Timestamp};

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

    /// What the calendar says now.
    pub(super) fn calendar(self) -> Calendar {
        Calendar {
            now: self.now(),
            today: SystemTime::now(),
        }
    }
}

/// The calendar at one moment: moments that are told by it lie apart as the monotonic clock had them,
/// even if somebody has set the calendar meanwhile.
#[derive(Clone, Copy, Debug)]
pub(super) struct Calendar {
    now: Timestamp,
    today: SystemTime,
}

impl Calendar {
    /// A moment, in UTC, to the millisecond (RFC 3339): `2026-11-26T20:15:00.000Z`.
    pub(super) fn utc(&self, at: impl Into<Date>) -> String {
        let (ago, ahead) = at.into().around(self.now);
        let at = self.today.checked_sub(ago);
        let at = at.and_then(|at| at.checked_add(ahead));
        format_rfc3339_millis(at.unwrap_or(SystemTime::UNIX_EPOCH)).to_string()
    }

    /// Seconds since 1970 of a moment of the past.
    pub(super) fn unix_s(&self, at: Timestamp) -> f64 {
        let ago = self.now.since(at);
        let since = self.today.duration_since(SystemTime::UNIX_EPOCH);
        (since.unwrap_or_default().as_secs_f64() - ago.as_secs_f64()).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_moment_of_the_past_is_told_in_utc() {
        let calendar = Calendar {
            now: Timestamp::from(Duration::from_secs(100)),
            today: SystemTime::UNIX_EPOCH + Duration::from_hours(500_000),
        };
        let at = Timestamp::from(Duration::from_millis(98_500));
        assert_eq!(calendar.utc(at), "2027-01-15T07:59:58.500Z");
        let ahead = Timestamp::from(Duration::from_millis(102_250));
        assert_eq!(calendar.utc(ahead), "2027-01-15T08:00:02.250Z");
        let before = Date::from_micros(-1_000_000);
        assert_eq!(calendar.utc(before), "2027-01-15T07:58:19.000Z");
        assert!((calendar.unix_s(at) - 1_799_999_998.5).abs() < 1e-6);
    }
}
