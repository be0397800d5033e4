//! A wheel of deadlines: cheap to arm, never early but for what lies beyond its horizon.
//!
//! Invariants:
//! - keys come out in the order of their slots, and within a slot in the order in which they were armed;
//! - arming again adds an entry and takes none away: who is woken looks at his own deadline;
//! - an entry costs one node; nodes are given back when three quarters of them are unused, and all
//!   of them when nothing is armed.

use std::time::Duration;

use crate::time::Timestamp;

/// How long a slot is, in microseconds. SIP's shortest timer is T1 = 500 ms, which is 2 % late at
/// worst, and timers wake a worker 100 times a second at most.
const SLOT_US: u64 = 10_000;

/// How many slots there are, a power of two: 40.96 s, so that SIP's 64*T1 = 32 s lies within.
const SLOTS: u64 = 4096;

/// The slots that one word of the index stands for.
const WORD: u64 = 64;

/// In place of a node: there is none.
const NONE: u32 = u32::MAX;

/// Fewer nodes than this are kept while something is armed.
const NODES_KEPT: usize = 1024;

/// Keys by deadline.
///
/// A deadline is rounded up to its slot, so that a key comes out up to 10 ms late. One that lies more
/// than 40.95 s ahead comes out early, at the end of that time, and is to be armed again by its owner.
#[derive(Debug)]
pub struct Wheel<K> {
    slots: Box<[Slot]>,
    /// A bit for each slot that has entries, by word.
    occupied: Box<[u64]>,
    /// A bit for each word of `occupied` that is not zero.
    summary: u64,
    nodes: Vec<Node<K>>,
    /// The first of the unused nodes.
    unused: u32,
    /// The slot time, in slots since the start, before which nothing is armed.
    base: u64,
    entries: usize,
}

impl<K: Copy> Wheel<K> {
    /// An empty wheel; takes 33 KB.
    pub fn new() -> Self {
        Self {
            slots: (0..SLOTS).map(|_| Slot::default()).collect(),
            occupied: (0..SLOTS / WORD).map(|_| 0).collect(),
            summary: 0,
            nodes: Vec::new(),
            unused: NONE,
            base: 0,
            entries: 0,
        }
    }

    /// Wakes `key` at the deadline, at once if that has passed; says when, which is earlier than the
    /// deadline if that lies beyond the horizon.
    pub fn arm(&mut self, now: Timestamp, key: K, deadline: Timestamp) -> Timestamp {
        if self.entries == 0 {
            self.base = self.base.max(now.as_micros() / SLOT_US);
        }
        let due = deadline.as_micros().div_ceil(SLOT_US);
        let wakes = due.clamp(self.base, self.base + SLOTS - 1);
        self.append(wakes % SLOTS, key);
        self.entries += 1;
        deadline.min(Duration::from_micros(wakes * SLOT_US).into())
    }

    /// Takes out the next key that is due, if one is.
    pub fn take_due(&mut self, now: Timestamp) -> Option<K> {
        let now = now.as_micros() / SLOT_US;
        let Some(due) = self.first_occupied().filter(|due| *due <= now) else {
            self.base = self.base.max(now);
            return None;
        };
        self.base = due;
        let key = self.pop(due % SLOTS);
        self.give_back();
        key
    }

    /// When [`Self::take_due`] next has a key.
    pub fn next_due(&self) -> Option<Timestamp> {
        let due = self.first_occupied()?;
        Some(Duration::from_micros(due * SLOT_US).into())
    }

    /// How many entries there are; a key that was armed twice counts twice.
    pub fn len(&self) -> usize {
        self.entries
    }

    /// Whether nothing is armed.
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// The slot time of the first slot with entries, at or after `base`.
    fn first_occupied(&self) -> Option<u64> {
        if self.summary == 0 {
            return None;
        }
        let start = self.base % SLOTS;
        let (word, bit) = (start / WORD, start % WORD);
        let rest = self.word(word) >> bit;
        if rest != 0 {
            return Some(self.base + u64::from(rest.trailing_zeros()));
        }
        // The words after this one, round to the slots of this one that lie before `start`.
        let after = (word + 1) % WORD;
        let turned = self.summary.rotate_right(u32::try_from(after).unwrap_or(0));
        let found = (after + u64::from(turned.trailing_zeros())) % WORD;
        let slot = found * WORD + u64::from(self.word(found).trailing_zeros());
        Some(self.base + (slot + SLOTS - start) % SLOTS)
    }

    fn append(&mut self, at: u64, key: K) {
        let node = self.new_node(key);
        let Some(slot) = self.slots.get_mut(to_usize(at)) else {
            return;
        };
        let last = std::mem::replace(&mut slot.last, node);
        if let Some(last) = self.nodes.get_mut(to_usize(last.into())) {
            last.next = node;
        } else {
            slot.first = node;
            self.mark(at);
        }
    }

    fn pop(&mut self, at: u64) -> Option<K> {
        let slot = self.slots.get_mut(to_usize(at))?;
        let popped = slot.first;
        let node = self.nodes.get_mut(to_usize(popped.into()))?;
        slot.first = std::mem::replace(&mut node.next, self.unused);
        let key = node.key;
        self.unused = popped;
        self.entries -= 1;
        if slot.first == NONE {
            slot.last = NONE;
            self.unmark(at);
        }
        Some(key)
    }

    fn new_node(&mut self, key: K) -> u32 {
        let unused = self.unused;
        if let Some(node) = self.nodes.get_mut(to_usize(unused.into())) {
            self.unused = std::mem::replace(&mut node.next, NONE);
            node.key = key;
            return unused;
        }
        let new = u32::try_from(self.nodes.len()).expect("2^32 nodes are 48 GB");
        self.nodes.push(Node { key, next: NONE });
        new
    }

    /// Gives back the memory of nodes that were many and are few.
    fn give_back(&mut self) {
        if self.entries == 0 {
            // Every slot has been emptied, so that none names a node.
            self.nodes = Vec::new();
            self.unused = NONE;
        } else if self.nodes.len() > NODES_KEPT && self.entries < self.nodes.len() / 4 {
            self.compact();
        }
    }

    /// Moves the nodes together, and gives back the memory of the rest.
    fn compact(&mut self) {
        let spread = std::mem::replace(&mut self.nodes, Vec::with_capacity(self.entries * 2));
        self.unused = NONE;
        for at in 0..SLOTS {
            let slot = self.slots.get_mut(to_usize(at));
            let mut next = slot.map_or(NONE, |slot| std::mem::take(slot).first);
            while let Some(node) = spread.get(to_usize(next.into())) {
                next = node.next;
                self.append(at, node.key);
            }
        }
    }

    fn mark(&mut self, slot: u64) {
        if let Some(word) = self.occupied.get_mut(to_usize(slot / WORD)) {
            *word |= 1 << (slot % WORD);
            self.summary |= 1 << (slot / WORD);
        }
    }

    fn unmark(&mut self, slot: u64) {
        if let Some(word) = self.occupied.get_mut(to_usize(slot / WORD)) {
            *word &= !(1 << (slot % WORD));
            if *word == 0 {
                self.summary &= !(1 << (slot / WORD));
            }
        }
    }

    fn word(&self, word: u64) -> u64 {
        self.occupied
            .get(to_usize(word))
            .copied()
            .unwrap_or_default()
    }
}

impl<K: Copy> Default for Wheel<K> {
    fn default() -> Self {
        Self::new()
    }
}

/// The list of what is due at one time.
#[derive(Debug)]
struct Slot {
    first: u32,
    last: u32,
}

impl Default for Slot {
    fn default() -> Self {
        Self {
            first: NONE,
            last: NONE,
        }
    }
}

#[derive(Debug)]
struct Node<K> {
    key: K,
    next: u32,
}

/// An index as what slices are indexed by.
fn to_usize(index: u64) -> usize {
    usize::try_from(index).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(ms: u64) -> Timestamp {
        Duration::from_millis(ms).into()
    }

    fn drain(wheel: &mut Wheel<u32>, now: Timestamp) -> Vec<u32> {
        std::iter::from_fn(|| wheel.take_due(now)).collect()
    }

    #[test]
    fn keys_come_out_in_the_order_of_their_deadlines() {
        let mut wheel = Wheel::new();
        for (key, deadline) in [(1, 500), (2, 32_000), (3, 20), (4, 4_000)] {
            wheel.arm(at(0), key, at(deadline));
        }
        assert_eq!(drain(&mut wheel, at(32_000)), [3, 1, 4, 2]);
        assert!(wheel.is_empty());
    }

    #[test]
    fn keys_of_one_slot_come_out_in_the_order_of_arming() {
        let mut wheel = Wheel::new();
        for (key, deadline) in [(1, 509), (2, 501), (3, 505)] {
            wheel.arm(at(0), key, at(deadline));
        }
        assert_eq!(drain(&mut wheel, at(510)), [1, 2, 3]);
    }

    #[test]
    fn a_key_is_never_early_and_at_most_10_ms_late() {
        let mut wheel = Wheel::new();
        wheel.arm(at(0), 1, at(501));
        assert_eq!(wheel.next_due(), Some(at(510)));
        assert_eq!(wheel.take_due(at(509)), None);
        assert_eq!(wheel.take_due(at(510)), Some(1));
        assert_eq!(wheel.next_due(), None);
    }

    #[test]
    fn a_deadline_that_has_passed_is_due_at_once() {
        let mut wheel = Wheel::new();
        wheel.arm(at(60_000), 1, at(60_500));
        assert_eq!(wheel.take_due(at(60_100)), None);
        wheel.arm(at(60_100), 2, at(100));
        assert_eq!(wheel.take_due(at(60_100)), Some(2));
    }

    #[test]
    fn beyond_the_horizon_a_key_comes_out_early_to_be_armed_again() {
        let mut wheel = Wheel::new();
        let deadline = at(180_000);
        wheel.arm(at(0), 1, deadline);
        let mut wake_ups = 0;
        let mut now = at(0);
        while now < deadline {
            now = wheel.next_due().expect("it is armed");
            assert_eq!(wheel.take_due(now), Some(1));
            wheel.arm(now, 1, deadline);
            wake_ups += 1;
        }
        assert_eq!((now, wake_ups), (deadline, 5));
    }

    #[test]
    fn a_long_silence_does_not_bring_keys_out_early() {
        let mut wheel = Wheel::new();
        let hour = 3_600_000;
        wheel.arm(at(hour), 1, at(hour + 500));
        assert_eq!(wheel.next_due(), Some(at(hour + 500)));
    }

    #[test]
    fn a_wheel_goes_round_without_mixing_up_its_rounds() {
        let mut wheel = Wheel::new();
        wheel.arm(at(40_000), 1, at(41_000));
        wheel.arm(at(40_000), 2, at(80_000));
        wheel.arm(at(40_000), 3, at(40_960));
        assert_eq!(drain(&mut wheel, at(41_000)), [3, 1]);
        assert_eq!(wheel.next_due(), Some(at(80_000)));
    }

    /// Whoever takes the deadline for the wake-up does not arm again, and never wakes.
    #[test]
    fn a_key_is_told_when_it_wakes() {
        let mut wheel = Wheel::new();
        assert_eq!(wheel.arm(at(0), 1, at(501)), at(501));
        assert_eq!(wheel.arm(at(30_000), 2, at(62_000)), at(40_950));
        assert_eq!(wheel.arm(at(30_000), 3, at(20)), at(20));
    }

    #[test]
    fn the_slots_just_behind_the_present_are_the_last_of_the_round() {
        let mut wheel = Wheel::new();
        wheel.arm(at(600), 1, at(41_260));
        wheel.arm(at(600), 2, at(2_000));
        assert_eq!(drain(&mut wheel, at(41_260)), [2, 1]);
    }

    #[test]
    fn memory_goes_back_while_a_few_keys_are_still_armed() {
        let mut wheel = Wheel::new();
        for key in 0..100_000 {
            wheel.arm(at(0), key, at(u64::from(key % 500)));
        }
        wheel.arm(at(0), 100_000, at(32_000));
        wheel.arm(at(0), 100_001, at(32_000));
        assert_eq!(drain(&mut wheel, at(500)).len(), 100_000);
        assert!(wheel.nodes.capacity() <= 2 * NODES_KEPT);
        assert_eq!(drain(&mut wheel, at(32_000)), [100_000, 100_001]);
    }

    #[test]
    fn a_wheel_with_nothing_armed_keeps_no_nodes() {
        let mut wheel = Wheel::new();
        for key in 0..1_000 {
            wheel.arm(at(0), key, at(500));
        }
        assert_eq!(drain(&mut wheel, at(500)).len(), 1_000);
        assert_eq!(wheel.nodes.capacity(), 0);
        wheel.arm(at(500), 7, at(1_000));
        assert_eq!(drain(&mut wheel, at(1_000)), [7]);
    }

    proptest! {
        /// The wheel does what a list sorted by slot does.
        #[test]
        fn a_wheel_is_a_sorted_list(steps in prop::collection::vec((0..40_900_u64, 0..200_u64, 0..4_u8), 0..600)) {
            let mut wheel = Wheel::new();
            let mut list: Vec<(u64, u32)> = Vec::new();
            let mut now = 0;
            for ((after, elapsed, arms), key) in steps.into_iter().zip(0_u32..) {
                for key in (0..arms).map(|arm| key * 4 + u32::from(arm)) {
                    wheel.arm(at(now), key, at(now + after));
                    list.push(((now + after).div_ceil(10), key));
                }
                list.sort_by_key(|(slot, _)| *slot);
                let due = list.first().map(|(slot, _)| at(slot * 10));
                prop_assert_eq!(wheel.next_due(), due);
                now += elapsed;
                let split = list.partition_point(|(slot, _)| *slot <= now / 10);
                let expected: Vec<_> = list.drain(..split).map(|(_, key)| key).collect();
                prop_assert_eq!(drain(&mut wheel, at(now)), expected);
                prop_assert_eq!(wheel.len(), list.len());
            }
        }
    }
}
