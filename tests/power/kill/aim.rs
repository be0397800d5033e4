//! Where a seed aims: at any instant of the exchange, or at one of a stretch that is short.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use campon::random::Rng;

use super::exchange::Point;
use super::sight::Phase;

/// What has to be hit.
pub(super) const SOUGHT: [Phase; 5] = [
    Phase::Accept,
    Phase::Uncomplete,
    Phase::Ready,
    Phase::Ringing,
    Phase::CcCall,
];

/// How often each.
pub(super) const HITS_MIN: u64 = 5;

/// Of so many seeds two choose from the whole exchange: the others would seldom meet what takes a
/// millisecond.
const IN_TURN: u64 = 5;
const OF_THE_WHOLE: u64 = 2;

/// When campon is killed.
#[derive(Debug)]
pub(super) struct Aim {
    /// So long after this.
    pub(super) point: Point,
    pub(super) delay: Duration,
    /// Whether Alice takes her request back in this exchange.
    pub(super) takes_back: bool,
}

impl Aim {
    /// When all has been said.
    pub(super) fn at_the_end(takes_back: bool) -> Self {
        Self {
            point: Point::Over,
            delay: Duration::ZERO,
            takes_back,
        }
    }
}

impl fmt::Display for Aim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} + {:?}", self.point, self.delay)
    }
}

/// What is known of the exchange, and what has been hit.
pub(super) struct Plan {
    kills: u64,
    hits: BTreeMap<Phase, u64>,
    /// How long each stretch took, as often as it was seen whole.
    stretches: BTreeMap<Point, Vec<Duration>>,
    /// How long it takes as a whole, when she takes it back and when not.
    wholes: BTreeMap<bool, Duration>,
}

impl Plan {
    pub(super) fn new(kills: u64) -> Self {
        Self {
            kills,
            hits: BTreeMap::new(),
            stretches: BTreeMap::new(),
            wholes: BTreeMap::new(),
        }
    }

    pub(super) fn learns(&mut self, times: &[(Point, Instant)], takes_back: bool) {
        for pair in times.windows(2) {
            let [(point, begins), (_, ends)] = pair else {
                continue;
            };
            let took = ends.duration_since(*begins);
            self.stretches.entry(*point).or_default().push(took);
        }
        if let (Some((_, begins)), Some((Point::Over, ends))) = (times.first(), times.last()) {
            self.wholes.insert(takes_back, ends.duration_since(*begins));
        }
    }

    pub(super) fn hits(&mut self, phase: Phase) {
        *self.hits.entry(phase).or_default() += 1;
    }

    /// What a stretch takes as a rule.
    fn stretch(&self, point: Point) -> Duration {
        let mut seen = self.stretches.get(&point).cloned().unwrap_or_default();
        seen.sort_unstable();
        seen.get(seen.len() / 2).copied().unwrap_or_default()
    }

    fn lacks(&self, phase: Phase) -> u64 {
        HITS_MIN.saturating_sub(self.hits.get(&phase).copied().unwrap_or_default())
    }

    /// What this seed chooses.
    pub(super) fn aim(&self, seed: u64) -> Aim {
        let mut rng = Rng::from_number(seed);
        let mut within = |span: Duration| {
            let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
            Duration::from_micros(rng.below(micros.max(1)))
        };
        if seed % IN_TURN < OF_THE_WHOLE {
            let takes_back = seed.is_multiple_of(2 * IN_TURN);
            let whole = self.wholes.get(&takes_back).copied().unwrap_or_default();
            return Aim {
                point: Point::Calls,
                delay: within(whole),
                takes_back,
            };
        }
        let hits = |phase: &Phase| self.hits.get(phase).copied().unwrap_or_default();
        let sought = SOUGHT.into_iter().min_by_key(hits).unwrap_or(Phase::Accept);
        let point = match sought {
            Phase::Uncomplete => Point::TakesBack,
            Phase::Ready => Point::Freed,
            Phase::Ringing => Point::Rings,
            Phase::CcCall => Point::Answers,
            Phase::Accept | Phase::Talking | Phase::TakenBack | Phase::Unasked | Phase::Waiting => {
                Point::Asks
            }
        };
        let span = self.stretch(point);
        // When every further seed must hit, it is done at once: an answer takes longer than that.
        let later = (seed..self.kills).filter(|seed| seed % IN_TURN >= OF_THE_WHOLE);
        let lacking: u64 = SOUGHT.iter().map(|phase| self.lacks(*phase)).sum();
        let left = u64::try_from(later.count()).unwrap_or(u64::MAX);
        let delay = if lacking >= left {
            Duration::ZERO
        } else if sought == Phase::Ready && seed.is_multiple_of(2) {
            // Every other one at the end of the guard time, when he is selected.
            span * 9 / 10 + within(span / 8)
        } else {
            within(span)
        };
        Aim {
            point,
            delay,
            takes_back: sought == Phase::Uncomplete,
        }
    }
}
