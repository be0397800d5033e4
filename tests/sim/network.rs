//! The network: what it loses, doubles, delays and lets overtake.

use std::time::Duration;

use campon::random::Rng;

/// What happens to datagrams in one direction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Conditions {
    /// Of 1000, so many are lost.
    pub(crate) lost: u64,
    /// Of 1000, so many arrive twice.
    pub(crate) doubled: u64,
    /// Of 1000, so many are late, so that others overtake them.
    pub(crate) late: u64,
    /// The longest ordinary delay; each delay differs, so that neighbours change places.
    pub(crate) delay_ms: u64,
}

impl Conditions {
    /// Nothing is lost, and everything takes a millisecond.
    pub(crate) const CLEAN: Self = Self {
        lost: 0,
        doubled: 0,
        late: 0,
        delay_ms: 0,
    };

    /// One in ten is lost, some are doubled, some come late.
    pub(crate) const BAD: Self = Self {
        lost: 100,
        doubled: 20,
        late: 30,
        delay_ms: 60,
    };

    /// When the copies of one datagram arrive, counted from now; none if it is lost.
    pub(crate) fn arrivals(self, rng: &mut Rng) -> Vec<Duration> {
        if rng.below(1000) < self.lost {
            return Vec::new();
        }
        let copies = 1 + usize::from(rng.below(1000) < self.doubled);
        (0..copies).map(|_| self.delay(rng)).collect()
    }

    fn delay(self, rng: &mut Rng) -> Duration {
        let late = if rng.below(1000) < self.late { 400 } else { 0 };
        let micros = 1000 + rng.below(self.delay_ms * 1000 + 1);
        Duration::from_micros(micros) + Duration::from_millis(late)
    }
}
