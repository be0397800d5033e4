//! How often one subscriber may be notified, and how often anybody may be recalled.
//!
//! Spec: RFC 6910 §9.11.

use std::time::Duration;

use crate::time::Timestamp;

/// The most NOTIFYs that one subscription gets within a window.
pub const NOTIFIES_MAX: usize = 3;

/// When the last NOTIFYs of one subscription went out.
///
/// CC-65: no more than three in any window. CC-67: "ready" is never the third, so that (CC-66) a
/// withdrawal can always follow it at once.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Pace {
    /// Oldest first.
    sent: [Option<Timestamp>; NOTIFIES_MAX],
    medium: Medium,
}

/// What the NOTIFYs of a subscription go over.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Medium {
    /// The network, which is not to be flooded.
    #[default]
    Network,
    /// Nothing: both ends of the subscription are here.
    Process,
}

impl Pace {
    /// None has gone out yet.
    pub fn over(medium: Medium) -> Self {
        Self {
            medium,
            ..Self::default()
        }
    }

    /// Nobody knows what went out before `now`: as many as may.
    pub fn unknown(medium: Medium, now: Timestamp) -> Self {
        let sent = match medium {
            Medium::Network => Some(now),
            Medium::Process => None,
        };
        Self {
            sent: [sent; NOTIFIES_MAX],
            medium,
        }
    }

    /// The subscriber was told once, or never.
    pub fn since(medium: Medium, told: Option<Timestamp>) -> Self {
        Self {
            sent: [None, None, told],
            medium,
        }
    }

    /// What goes over what, and when the last one went out; `None` as long as those before that one
    /// still count.
    pub fn calm(&self, now: Timestamp, window: Duration) -> Option<(Medium, Option<Timestamp>)> {
        let [first, second, last] = self.sent;
        let is_over = |sent: Option<Timestamp>| leaves(sent, window) <= now;
        (is_over(first) && is_over(second)).then_some((self.medium, last))
    }

    /// One went out.
    pub fn record(&mut self, now: Timestamp) {
        if self.medium == Medium::Process {
            return;
        }
        self.sent.rotate_left(1);
        if let Some(last) = self.sent.last_mut() {
            *last = Some(now);
        }
    }

    /// From when on another may go out.
    pub fn next(&self, window: Duration) -> Timestamp {
        let [third_last, _, _] = self.sent;
        leaves(third_last, window)
    }

    /// From when on one that says "ready" may go out.
    pub fn next_ready(&self, window: Duration) -> Timestamp {
        let [_, second_last, _] = self.sent;
        leaves(second_last, window)
    }
}

/// When a NOTIFY no longer lies in a window that ends then.
fn leaves(sent: Option<Timestamp>, window: Duration) -> Timestamp {
    sent.map_or(Timestamp::START, |sent| sent + window)
}

/// How many recalls a process may start: a few at once, then at a steady rate, so that what waited
/// for a restart or for a PBX does not ring everybody in one second.
#[derive(Clone, Debug)]
pub struct Gate {
    interval: Duration,
    burst: u32,
    /// When the allowance would be full; a burst reaches that far into the future.
    full_at: Timestamp,
    is_shut: bool,
}

impl Gate {
    /// A gate that lets this many a second through; 0 means no limit.
    pub fn new(per_second: u32) -> Self {
        let interval = Duration::from_secs(1).checked_div(per_second);
        Self {
            interval: interval.unwrap_or(Duration::ZERO),
            burst: per_second,
            full_at: Timestamp::START,
            is_shut: false,
        }
    }

    /// Whether nobody is let through.
    pub fn is_shut(&self) -> bool {
        self.is_shut
    }

    /// Lets nobody through, or again as many as may.
    pub fn set_shut(&mut self, is_shut: bool) {
        self.is_shut = is_shut;
    }

    /// When the next one may pass; not after `now` if it may at once.
    pub fn opens(&self) -> Timestamp {
        if self.is_shut {
            return Timestamp::from(Duration::MAX);
        }
        let ahead = self.interval * self.burst.saturating_sub(1);
        let micros = self.full_at.since(Timestamp::START + ahead);
        Timestamp::START + micros
    }

    /// One passed.
    pub fn record(&mut self, now: Timestamp) {
        self.full_at = self.full_at.max(now) + self.interval;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(10);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::START + Duration::from_secs(seconds)
    }

    #[test]
    fn the_fourth_notify_waits_until_the_first_left_the_window() {
        let mut pace = Pace::default();
        for second in [1, 2, 3] {
            assert!(pace.next(WINDOW) <= at(second));
            pace.record(at(second));
        }
        // CC-65
        assert_eq!(pace.next(WINDOW), at(11));
    }

    #[test]
    fn what_stays_in_the_process_is_not_held_back() {
        let mut pace = Pace::over(Medium::Process);
        for _ in 0..4 {
            pace.record(at(1));
        }
        assert!(pace.next_ready(WINDOW) <= at(1));
    }

    #[test]
    fn ready_is_never_the_third_within_a_window() {
        let mut pace = Pace::default();
        pace.record(at(1));
        assert!(pace.next_ready(WINDOW) <= at(1));
        pace.record(at(1));
        // CC-67
        assert_eq!(pace.next_ready(WINDOW), at(11));
        // CC-66
        assert!(pace.next(WINDOW) <= at(1));
    }

    #[test]
    fn a_gate_lets_a_second_worth_through_and_then_one_an_interval() {
        let mut gate = Gate::new(10);
        let start = at(100);
        for _ in 0..10 {
            assert!(gate.opens() <= start);
            gate.record(start);
        }
        assert_eq!(gate.opens(), start + Duration::from_millis(100));
        gate.record(start + Duration::from_millis(100));
        assert_eq!(gate.opens(), start + Duration::from_millis(200));
        assert!(gate.opens() <= at(200), "it fills again");
    }

    #[test]
    fn a_gate_of_zero_has_no_limit() {
        let mut gate = Gate::new(0);
        gate.record(at(5));
        assert!(gate.opens() <= at(5));
    }
}
