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
    /// Of 1000, so many arrive after up to [`STALE_MAX`]: longer than any transaction waits.
    pub(crate) stale: u64,
    /// Of 1000, so many seconds in which somebody is cut off.
    pub(crate) cut: u64,
}

/// The longest that a datagram is under way.
const STALE_MAX: Duration = Duration::from_secs(40);

impl Conditions {
    /// Nothing is lost, and everything takes a millisecond.
    pub(crate) const CLEAN: Self = Self {
        lost: 0,
        doubled: 0,
        late: 0,
        delay_ms: 0,
        stale: 0,
        cut: 0,
    };

    /// One in ten is lost, some are doubled, some come late.
    pub(crate) const BAD: Self = Self {
        lost: 100,
        doubled: 20,
        late: 30,
        delay_ms: 60,
        stale: 0,
        cut: 0,
    };

    /// As bad as networks come: up to half of all is lost, some arrives when nobody remembers what
    /// it was about, and now and then somebody is cut off.
    pub(crate) fn worst(rng: &mut Rng) -> Self {
        Self {
            lost: rng.below(501),
            doubled: rng.below(101),
            late: rng.below(201),
            delay_ms: rng.below(201),
            stale: rng.below(3) * rng.below(11),
            cut: rng.below(3) * rng.below(51),
        }
    }

    /// Whether what is lost is more than what repetitions make good.
    pub(crate) fn is_hopeless(self) -> bool {
        self.lost > 100 || self.stale > 0 || self.cut > 0
    }

    /// When the copies of one datagram arrive, counted from now; none if it is lost.
    pub(crate) fn arrivals(self, rng: &mut Rng) -> Vec<Duration> {
        if rng.below(1000) < self.lost {
            return Vec::new();
        }
        let copies = 1 + usize::from(rng.below(1000) < self.doubled);
        (0..copies).map(|_| self.delay(rng)).collect()
    }

    fn delay(self, rng: &mut Rng) -> Duration {
        if self.stale > 0 && rng.below(1000) < self.stale {
            let longest = u64::try_from(STALE_MAX.as_micros()).expect("short");
            return Duration::from_micros(rng.below(longest + 1));
        }
        let late = if rng.below(1000) < self.late { 400 } else { 0 };
        let micros = 1000 + rng.below(self.delay_ms * 1000 + 1);
        Duration::from_micros(micros) + Duration::from_millis(late)
    }
}
