//! How fast each of many may go: a bucket of tokens for each, in bounded memory.
//!
//! A bucket is one instant: by when all that was taken will have been earned again. Who is not
//! known has a full one, so that only those are remembered who have taken of late.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::hash::Hash;
use std::time::Duration;

use crate::time::Timestamp;

/// How much may be taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Rate {
    /// The time in which one is earned.
    interval: Duration,
    /// How long it takes to fill an empty bucket.
    full: Duration,
}

impl Rate {
    /// So many a second, and `burst` at once.
    pub(super) fn per_second(rate: u32, burst: u32) -> Self {
        let interval = Duration::from_secs(1) / rate.max(1);
        Self {
            interval,
            full: interval * burst.max(1),
        }
    }

    /// Takes one of a single bucket that is full again at this time, if there is one.
    pub(super) fn take(self, now: Timestamp, full_at: &mut Timestamp) -> bool {
        let taken = (*full_at).max(now) + self.interval;
        let is_there = taken.since(now) <= self.full;
        if is_there {
            *full_at = taken;
        }
        is_there
    }

    /// One in this time.
    pub(super) fn one_in(interval: Duration) -> Self {
        Self {
            interval,
            full: interval,
        }
    }
}

/// A bucket for each key.
#[derive(Debug)]
pub(super) struct Buckets<K> {
    rate: Rate,
    keys_max: usize,
    /// By when each is full again.
    full_at: HashMap<K, Timestamp>,
    /// Each key once, those first that may be full by now.
    order: VecDeque<K>,
}

impl<K: Clone + Eq + Hash> Buckets<K> {
    /// Full buckets, of which so many are remembered at most.
    pub(super) fn new(rate: Rate, keys_max: usize) -> Self {
        Self {
            rate,
            keys_max,
            full_at: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    /// Takes one, if there is one.
    pub(super) fn take(&mut self, now: Timestamp, key: K) -> bool {
        if let Some(full_at) = self.full_at.get_mut(&key) {
            return self.rate.take(now, full_at);
        }
        self.make_room(now);
        self.order.push_back(key.clone());
        self.full_at.insert(key, now + self.rate.interval);
        true
    }

    /// How many are remembered.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.full_at.len()
    }

    /// Looks at two for each that comes, so that what is full goes sooner than others come.
    fn make_room(&mut self, now: Timestamp) {
        for _ in 0..2 {
            let Some(key) = self.order.pop_front() else {
                return;
            };
            let is_full = self.full_at.get(&key).is_none_or(|full_at| *full_at <= now);
            if is_full || self.order.len() + 1 >= self.keys_max {
                self.full_at.remove(&key);
            } else {
                self.order.push_back(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::START;

    fn taken(buckets: &mut Buckets<u32>, now: Timestamp, key: u32, tries: u32) -> usize {
        (0..tries).filter(|_| buckets.take(now, key)).count()
    }

    #[test]
    fn a_burst_is_let_through_and_then_the_rate() {
        let mut buckets = Buckets::new(Rate::per_second(10, 5), 9);
        assert_eq!(taken(&mut buckets, NOW, 1, 20), 5);
        let later = NOW + Duration::from_millis(250);
        assert_eq!(taken(&mut buckets, later, 1, 20), 2);
        let refilled = NOW + Duration::from_mins(1);
        assert_eq!(taken(&mut buckets, refilled, 1, 20), 5);
    }

    #[test]
    fn what_one_takes_is_no_loss_to_another() {
        let mut buckets = Buckets::new(Rate::per_second(1, 1), 9);
        assert_eq!(taken(&mut buckets, NOW, 1, 9), 1);
        assert_eq!(taken(&mut buckets, NOW, 2, 9), 1);
    }

    #[test]
    fn only_so_many_are_remembered_and_none_that_is_full() {
        let mut buckets = Buckets::new(Rate::per_second(1, 1), 100);
        for key in 0..10_000 {
            assert!(buckets.take(NOW, key));
            assert!(buckets.len() <= 100, "{}", buckets.len());
        }
        // T06: a key that was just used has spent what it had.
        assert!(!buckets.take(NOW, 9_999));
        let later = NOW + Duration::from_mins(1);
        for key in 20_000..20_100 {
            assert!(buckets.take(later, key));
        }
        assert!(!buckets.full_at.contains_key(&9_999));
        assert_eq!(buckets.len(), buckets.order.len());
    }

    #[test]
    fn one_in_a_minute_is_one_in_a_minute() {
        let minute = Duration::from_mins(1);
        let mut buckets = Buckets::new(Rate::one_in(minute), 9);
        assert_eq!(taken(&mut buckets, NOW, 1, 9), 1);
        assert_eq!(taken(&mut buckets, NOW + minute / 2, 1, 9), 0);
        assert_eq!(taken(&mut buckets, NOW + minute, 1, 9), 1);
    }
}
