//! The times of all transactions, and the schedule of a message that is sent again.
//!
//! Spec: RFC 3261 §17.1.1.1, appendix A; RFC 4320 §4.1.

use std::time::Duration;

use crate::time::Timestamp;

/// The three times that every timer of a transaction is made of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Timing {
    /// T1, the estimate of a round trip. 500 ms is the RFC's; a smaller one is for private networks
    /// only, as it multiplies what is sent into a congested one.
    pub t1: Duration,
    /// T2, the longest time between two sendings of a message other than an INVITE: 4 s. It bounds
    /// how long after an outage the first copy gets through.
    pub t2: Duration,
    /// T4, how long the network may hold a message: 5 s. A reliable transport holds none.
    pub t4: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            t1: Duration::from_millis(500),
            t2: Duration::from_secs(4),
            t4: Duration::from_secs(5),
        }
    }
}

impl Timing {
    /// 64*T1, after which a peer that has not answered is given up: timers B, F, H, J, L and M.
    /// In these 32 s, seven INVITEs or eleven other messages have gone unanswered.
    pub fn patience(self) -> Duration {
        self.t1 * 64
    }

    /// Timer D: how long repeated failures are acknowledged. The peer repeats them until 64*T1 by
    /// his own T1, so it is never less than the 32 s of the default one.
    pub fn repeated_failure(self) -> Duration {
        self.patience().max(Self::default().t1 * 64)
    }

    /// How long a client of our T1 and T2 takes until its timer E is set to T2: 3.5 s.
    pub fn until_t2(self) -> Duration {
        let mut interval = self.t1;
        let mut elapsed = Duration::ZERO;
        while interval < self.t2 && !interval.is_zero() {
            elapsed += interval;
            interval *= 2;
        }
        elapsed
    }
}

/// When a message is sent again, and how long that wait is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Resend {
    /// When.
    pub at: Timestamp,
    /// The wait, which the next one doubles.
    pub interval: Duration,
}

impl Resend {
    /// The first wait, of T1; none over a transport that resends by itself.
    pub fn start(now: Timestamp, timing: Timing, reliable: bool) -> Option<Self> {
        (!reliable).then(|| Self::after(timing.t1, now))
    }

    /// The next wait: twice this one.
    #[must_use]
    pub fn doubled(self, now: Timestamp) -> Self {
        Self::after(self.interval * 2, now)
    }

    /// The next wait: twice this one, but at most `max`.
    #[must_use]
    pub fn doubled_to(self, max: Duration, now: Timestamp) -> Self {
        Self::after((self.interval * 2).min(max), now)
    }

    fn after(interval: Duration, now: Timestamp) -> Self {
        let at = now + interval;
        Self { at, interval }
    }
}

/// The end of a time that only an unreliable transport makes us wait; `None` if it is over at once.
pub(super) fn ends(now: Timestamp, after: Duration, reliable: bool) -> Option<Timestamp> {
    (!reliable).then(|| now + after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_slows_down_to_t2_after_3_5_s() {
        assert_eq!(Timing::default().until_t2(), Duration::from_millis(3_500));
    }

    #[test]
    fn a_t1_of_nothing_slows_down_at_once() {
        let timing = Timing {
            t1: Duration::ZERO,
            ..Timing::default()
        };
        assert_eq!(timing.until_t2(), Duration::ZERO);
    }
}
