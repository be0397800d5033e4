//! A wheel of deadlines: cheap to arm, never early but for what lies beyond its horizon.
//!
//! Invariants:
//! - keys come out in the order of their slots, and within a slot in the order in which they were armed;
//! - arming again adds an entry and takes none away: who is woken looks at his own deadline;
//! - an entry costs one node; nodes are given back when three quarters of them are unused.

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

/// Fewer nodes than this are kept.
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

    /// Wakes `key` at the deadline; at once if that has passed.
    pub fn arm(&mut self, now: Timestamp, key: K, deadline: Timestamp) {
        if self.entries == 0 {
            self.base = self.base.max(now.as_micros() / SLOT_US);
        }
        let due = deadline.as_micros().div_ceil(SLOT_US);
        self.append(due.clamp(self.base, self.base + SLOTS - 1) % SLOTS, key);
        self.entries += 1;
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
        if self.nodes.len() > NODES_KEPT && self.entries < self.nodes.len() / 4 {
            self.compact();
        }
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
