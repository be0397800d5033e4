//! A table of machines by key, whose memory goes back when they have gone.
//!
//! Invariants:
//! - a key is given out once: the generation counts every insertion into the table, so a key whose
//!   entry has gone finds nothing, whoever has its slot now;
//! - the lowest free slot is reused first, so that what is left of a busy hour gathers in few chunks;
//! - a chunk without entries is freed, but for one that is kept for the next entry;
//! - a table without entries has no memory at all, unless it is to keep that one.

/// The slots of a chunk, which is what is allocated and freed at once; as many as a word has bits.
const CHUNK: u32 = u64::BITS;

/// Every slot of a chunk free, or every chunk of a word with a free slot.
const ALL: u64 = u64::MAX;

/// Names one entry of one [`Table`], for as long as it lives.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    /// The key of these bits; any number is a key, if perhaps one that finds nothing.
    pub fn from_bits(bits: u64) -> Self {
        let low = |bits: u64| u32::try_from(bits & u64::from(u32::MAX)).unwrap_or_default();
        Self {
            index: low(bits),
            generation: low(bits >> 32),
        }
    }

    /// The key as a number, to be carried in a tag, a branch or a token.
    pub fn to_bits(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// Where in the table its entry lies, which is another's when it has gone.
    pub fn slot(self) -> u32 {
        self.index
    }

    fn place(self) -> (usize, u32) {
        place(self.index)
    }
}

/// The table has as many entries as it may have.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the table is full")]
pub struct Full;

/// Entries by [`Key`].
#[derive(Debug)]
pub struct Table<T> {
    chunks: Vec<Chunk<T>>,
    /// A bit for each chunk: whether it has a free slot.
    open: Vec<u64>,
    /// The chunk that is allocated and has no entries.
    spare: Option<usize>,
    /// Whether that stays when there are no others.
    keeps_spare: bool,
    next_generation: u32,
    entries_max: usize,
    entries: usize,
    taken: usize,
}

impl<T> Table<T> {
    /// An empty table, which allocates nothing yet.
    pub fn new(entries_max: usize) -> Self {
        Self {
            chunks: Vec::new(),
            open: Vec::new(),
            spare: None,
            keeps_spare: false,
            next_generation: 0,
            entries_max: entries_max.min(to_usize(u32::MAX)),
            entries: 0,
            taken: 0,
        }
    }

    /// The same, for entries of which the last often goes before the next comes: with those that it has
    /// had its memory goes back but for a chunk.
    pub fn with_spare(entries_max: usize) -> Self {
        Self {
            keeps_spare: true,
            ..Self::new(entries_max)
        }
    }

    /// How many entries may be added; those that are there already stay.
    pub fn set_max(&mut self, entries_max: usize) {
        self.entries_max = entries_max.min(to_usize(u32::MAX));
    }

    /// Adds an entry.
    pub fn insert(&mut self, value: T) -> Result<Key, Full> {
        self.fill(|generation| Slot::Held { generation, value })
    }

    /// Adds an entry that is yet to be made, as if it were taken: [`Self::put_back`] fills it.
    pub fn reserve(&mut self) -> Result<Key, Full> {
        let key = self.fill(|generation| Slot::Taken { generation })?;
        self.taken += 1;
        Ok(key)
    }

    /// Takes an entry out for a while: its key stays reserved and finds nothing until
    /// [`Self::put_back`] or [`Self::discard`].
    pub fn take(&mut self, key: Key) -> Option<T> {
        let generation = key.generation;
        let value = self.slot_mut(key)?.take(key, Slot::Taken { generation })?;
        self.taken += 1;
        Some(value)
    }

    /// Puts an entry back that was taken; false, and drops the value, if it was not.
    pub fn put_back(&mut self, key: Key, value: T) -> bool {
        let generation = key.generation;
        match self.slot_mut(key) {
            Some(slot) if slot.is_taken(key) => *slot = Slot::Held { generation, value },
            Some(_) | None => return false,
        }
        self.taken -= 1;
        true
    }

    /// Frees the slot of an entry that was taken and will not be put back; false if it was not.
    pub fn discard(&mut self, key: Key) -> bool {
        match self.slot_mut(key) {
            Some(slot) if slot.is_taken(key) => *slot = Slot::Free,
            Some(_) | None => return false,
        }
        self.taken -= 1;
        self.free(key);
        true
    }

    /// Takes an entry out for good.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let value = self.slot_mut(key)?.take(key, Slot::Free)?;
        self.free(key);
        Some(value)
    }

    /// The entry of this key, to be changed.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        match self.slot_mut(key)? {
            Slot::Held { generation, value } if *generation == key.generation => Some(value),
            Slot::Free | Slot::Taken { .. } | Slot::Held { .. } => None,
        }
    }

    /// The entry of this key.
    pub fn get(&self, key: Key) -> Option<&T> {
        let (at, slot) = key.place();
        match self.chunks.get(at)?.slots.get(to_usize(slot))? {
            Slot::Held { generation, value } if *generation == key.generation => Some(value),
            Slot::Free | Slot::Taken { .. } | Slot::Held { .. } => None,
        }
    }

    /// The entry in this slot, whichever it is.
    pub fn at(&self, slot: u32) -> Option<&T> {
        let (at, slot) = place(slot);
        self.chunks.get(at)?.slots.get(to_usize(slot))?.held()
    }

    /// The entry in this slot, to be changed.
    pub fn at_mut(&mut self, slot: u32) -> Option<&mut T> {
        let (at, slot) = place(slot);
        match self.chunks.get_mut(at)?.slots.get_mut(to_usize(slot))? {
            Slot::Held { value, .. } => Some(value),
            Slot::Free | Slot::Taken { .. } => None,
        }
    }

    /// Takes the entry in this slot out for good.
    pub fn remove_at(&mut self, slot: u32) -> Option<T> {
        let (at, place) = place(slot);
        let held = self.chunks.get(at)?.slots.get(to_usize(place))?;
        let generation = held.generation()?;
        let index = slot;
        self.remove(Key { index, generation })
    }

    /// How many entries there are, those that are taken included.
    pub fn len(&self) -> usize {
        self.entries
    }

    /// Whether there are no entries, taken ones included.
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// How many entries are taken; between two inputs, those that a panic has lost.
    pub fn taken(&self) -> usize {
        self.taken
    }

    /// The most entries that the table may have.
    pub fn entries_max(&self) -> usize {
        self.entries_max
    }

    /// The entries in the order of their slots, without those that are taken.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        let chunks = (0..).step_by(to_usize(CHUNK)).zip(&self.chunks);
        chunks.flat_map(|(base, chunk)| chunk.iter(base))
    }

    /// The entry that was inserted first, of those that are not taken. Looks at each of them.
    pub fn oldest(&self) -> Option<(Key, &T)> {
        let age = |key: Key| self.next_generation.wrapping_sub(key.generation);
        self.iter().max_by_key(|(key, _)| age(*key))
    }

    fn fill(&mut self, slot: impl FnOnce(u32) -> Slot<T>) -> Result<Key, Full> {
        if self.entries >= self.entries_max {
            return Err(Full);
        }
        let at = self.open_chunk();
        let generation = self.next_generation;
        let chunk = self.chunks.get_mut(at).ok_or(Full)?;
        let place = chunk.fill(slot(generation));
        if chunk.free == 0 {
            self.set_open(at, false);
        }
        if self.spare == Some(at) {
            self.spare = None;
        }
        self.next_generation = generation.wrapping_add(1);
        self.entries += 1;
        let base = u32::try_from(at).map_err(|_| Full)? * CHUNK;
        Ok(Key {
            index: base + place,
            generation,
        })
    }

    /// The lowest chunk with a free slot, allocated.
    fn open_chunk(&mut self) -> usize {
        let word = self.open.iter().position(|word| *word != 0);
        let at = word.map_or(self.chunks.len(), |word| {
            let bits = self.open.get(word).copied().unwrap_or_default();
            word * to_usize(CHUNK) + to_usize(bits.trailing_zeros())
        });
        if at >= self.chunks.len() {
            self.chunks.push(Chunk::unallocated());
            self.open
                .resize(self.chunks.len().div_ceil(to_usize(CHUNK)), 0);
            self.set_open(at, true);
        }
        if let Some(chunk) = self.chunks.get_mut(at) {
            chunk.allocate();
        }
        at
    }

    fn free(&mut self, key: Key) {
        let (at, slot) = key.place();
        let Some(chunk) = self.chunks.get_mut(at) else {
            return;
        };
        chunk.free |= 1 << slot;
        let is_empty = chunk.free == ALL;
        self.entries -= 1;
        self.set_open(at, true);
        if self.is_empty() && !self.keeps_spare {
            self.free_all();
        } else if is_empty {
            self.free_chunk(at);
        }
    }

    fn free_all(&mut self) {
        self.chunks = Vec::new();
        self.open = Vec::new();
        self.spare = None;
    }

    /// Keeps the lower of the two empty chunks, which is the one that is filled again first.
    fn free_chunk(&mut self, emptied: usize) {
        let Some(spare) = self.spare.replace(emptied) else {
            return;
        };
        self.spare = Some(spare.min(emptied));
        if let Some(chunk) = self.chunks.get_mut(spare.max(emptied)) {
            *chunk = Chunk::unallocated();
        }
        while self.chunks.last().is_some_and(Chunk::is_unallocated) {
            self.chunks.pop();
            self.set_open(self.chunks.len(), false);
        }
        if self.chunks.len() < self.chunks.capacity() / 4 {
            self.chunks.shrink_to(self.chunks.len() * 2);
            self.open
                .truncate(self.chunks.len().div_ceil(to_usize(CHUNK)));
            self.open.shrink_to_fit();
        }
    }

    fn set_open(&mut self, chunk: usize, is_open: bool) {
        let bit = 1 << (chunk % to_usize(CHUNK));
        if let Some(word) = self.open.get_mut(chunk / to_usize(CHUNK)) {
            *word = if is_open { *word | bit } else { *word & !bit };
        }
    }

    /// The slot of this key, whoever has it now.
    fn slot_mut(&mut self, key: Key) -> Option<&mut Slot<T>> {
        let (at, slot) = key.place();
        self.chunks.get_mut(at)?.slots.get_mut(to_usize(slot))
    }
}

/// A run of slots; without memory until it is first filled, and again after it has emptied.
#[derive(Debug)]
struct Chunk<T> {
    /// A bit for each slot: whether it is free.
    free: u64,
    slots: Box<[Slot<T>]>,
}

/// Room for one entry.
#[derive(Debug)]
enum Slot<T> {
    Free,
    Taken { generation: u32 },
    Held { generation: u32, value: T },
}

impl<T> Chunk<T> {
    fn unallocated() -> Self {
        Self {
            free: ALL,
            slots: Box::default(),
        }
    }

    fn allocate(&mut self) {
        if self.is_unallocated() {
            let free = std::iter::repeat_with(|| Slot::Free);
            self.slots = free.take(to_usize(CHUNK)).collect();
        }
    }

    /// Fills the lowest free slot.
    fn fill(&mut self, with: Slot<T>) -> u32 {
        let lowest = self.free.trailing_zeros();
        let slot = self.slots.get_mut(to_usize(lowest));
        *slot.expect("an open chunk is allocated and has a free slot") = with;
        self.free &= !(1 << lowest);
        lowest
    }

    fn iter(&self, base: u32) -> impl Iterator<Item = (Key, &T)> {
        let slots = (base..).zip(&self.slots);
        slots.filter_map(|(index, slot)| match slot {
            Slot::Held { generation, value } => {
                let generation = *generation;
                Some((Key { index, generation }, value))
            }
            Slot::Taken { .. } | Slot::Free => None,
        })
    }

    fn is_unallocated(&self) -> bool {
        self.slots.is_empty()
    }
}

impl<T> Slot<T> {
    fn held(&self) -> Option<&T> {
        match self {
            Self::Held { value, .. } => Some(value),
            Self::Free | Self::Taken { .. } => None,
        }
    }

    fn generation(&self) -> Option<u32> {
        match self {
            Self::Held { generation, .. } => Some(*generation),
            Self::Free | Self::Taken { .. } => None,
        }
    }

    /// Takes the value of this generation out, and leaves `then`.
    fn take(&mut self, key: Key, then: Self) -> Option<T> {
        match std::mem::replace(self, then) {
            Self::Held { generation, value } if generation == key.generation => Some(value),
            other @ (Self::Free | Self::Taken { .. } | Self::Held { .. }) => {
                *self = other;
                None
            }
        }
    }

    fn is_taken(&self, key: Key) -> bool {
        matches!(self, Self::Taken { generation } if *generation == key.generation)
    }
}

/// The chunk of a slot, and which of its slots it is.
fn place(slot: u32) -> (usize, u32) {
    (to_usize(slot / CHUNK), slot % CHUNK)
}

/// A count of slots as what `Vec` counts with; both are at least 32 bits wide.
fn to_usize(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn filled(count: u32) -> (Table<u32>, Vec<Key>) {
        let mut table = Table::new(100_000);
        let keys = (0..count).map(|value| table.insert(value).expect("there is room"));
        let keys = keys.collect();
        (table, keys)
    }

    fn allocated<T>(table: &Table<T>) -> usize {
        let chunks = table.chunks.iter();
        chunks.filter(|chunk| !chunk.is_unallocated()).count()
    }

    #[test]
    fn a_key_finds_its_entry_and_nothing_once_it_has_gone() {
        let (mut table, keys) = filled(3);
        assert_eq!(table.get(keys[1]), Some(&1));
        assert_eq!(table.remove(keys[1]), Some(1));
        assert_eq!(table.get(keys[1]), None);
        assert_eq!(table.remove(keys[1]), None);
        assert_eq!(table.len(), 2);
    }

    #[test]
    fn a_stale_key_does_not_find_the_next_entry_of_its_slot() {
        let (mut table, keys) = filled(1);
        table.remove(keys[0]);
        let next = table.insert(7).expect("there is room");
        assert_eq!(next.index, keys[0].index);
        assert_eq!((table.get(keys[0]), table.get(next)), (None, Some(&7)));
    }

    #[test]
    fn a_stale_key_finds_nothing_after_its_chunk_was_freed_and_filled_again() {
        let (mut table, stale) = filled(256);
        for &key in &stale {
            table.remove(key);
        }
        for value in 0..256 {
            table.insert(value).expect("there is room");
        }
        assert!(stale.iter().all(|&key| table.get(key).is_none()));
    }

    #[test]
    fn a_key_survives_as_a_number() {
        let (table, keys) = filled(300);
        let key = Key::from_bits(keys[299].to_bits());
        assert_eq!(table.get(key), Some(&299));
        assert_eq!(Key::from_bits(u64::MAX).to_bits(), u64::MAX);
    }

    #[test]
    fn a_full_table_takes_no_more_until_one_has_gone() {
        let mut table = Table::new(2);
        let first = table.insert('a').expect("there is room");
        table.insert('b').expect("there is room");
        assert_eq!(table.insert('c'), Err(Full));
        table.remove(first);
        assert!(table.insert('d').is_ok());
    }

    #[test]
    fn the_key_of_a_taken_entry_finds_nothing_and_nobody_gets_its_slot() {
        let (mut table, keys) = filled(2);
        assert_eq!(table.take(keys[0]), Some(0));
        assert_eq!(table.get(keys[0]), None);
        assert_eq!(table.take(keys[0]), None);
        assert_eq!(table.remove(keys[0]), None);
        assert_eq!((table.len(), table.taken()), (2, 1));
        let other = table.insert(9).expect("there is room");
        assert_ne!(other.index, keys[0].index);
    }

    #[test]
    fn an_entry_that_was_put_back_is_as_before() {
        let (mut table, keys) = filled(1);
        let value = table.take(keys[0]).expect("it is there");
        assert!(table.put_back(keys[0], value + 1));
        assert_eq!((table.get(keys[0]), table.taken()), (Some(&1), 0));
    }

    #[test]
    fn what_was_not_taken_can_neither_be_put_back_nor_discarded() {
        let (mut table, keys) = filled(1);
        assert!(!table.put_back(keys[0], 5));
        assert!(!table.discard(keys[0]));
        table.remove(keys[0]);
        assert!(!table.put_back(keys[0], 5));
        assert!(!table.discard(keys[0]));
        assert!(table.is_empty());
    }

    #[test]
    fn the_slot_of_a_lost_entry_is_free_once_it_is_discarded() {
        let (mut table, keys) = filled(1);
        table.take(keys[0]);
        assert!(table.discard(keys[0]));
        assert_eq!((table.len(), table.taken()), (0, 0));
        assert_eq!(table.insert(1).map(|key| key.index), Ok(keys[0].index));
    }

    #[test]
    fn the_lowest_free_slot_is_filled_first() {
        let (mut table, keys) = filled(300);
        for at in [290, 70, 3, 130] {
            table.remove(keys[at]);
        }
        let mut fill = || table.insert(0).expect("there is room").index;
        assert_eq!([fill(), fill(), fill(), fill()], [3, 70, 130, 290]);
    }

    #[test]
    fn a_nearly_empty_table_keeps_two_chunks_of_the_many() {
        let (mut table, keys) = filled(20_000);
        for &key in keys.iter().skip(1).rev() {
            table.remove(key);
        }
        assert_eq!(allocated(&table), 2);
        assert!(table.chunks.capacity() < 16 && table.open.len() <= 1);
    }

    #[test]
    fn an_emptied_table_keeps_no_memory() {
        let (mut table, keys) = filled(20_000);
        for &key in &keys {
            table.remove(key);
        }
        assert_eq!((table.chunks.capacity(), table.open.capacity()), (0, 0));
        assert!(table.insert(7).is_ok());
    }

    #[test]
    fn an_emptied_table_that_keeps_a_spare_keeps_one_chunk() {
        let mut table = Table::with_spare(usize::MAX);
        for round in 0..2 {
            let keys = (0..20_000).map(|value| table.insert(value).expect("there is room"));
            let keys: Vec<_> = keys.collect();
            for &key in &keys {
                table.remove(key);
            }
            assert_eq!(allocated(&table), 1, "round {round}");
            assert!(table.chunks.capacity() < 16, "round {round}");
        }
        let key = table.insert(1).expect("there is room");
        table.remove(key);
        assert_eq!(allocated(&table), 1);
    }

    #[test]
    fn memory_goes_back_below_an_entry_that_stays() {
        let (mut table, keys) = filled(20_000);
        for &key in &keys[..19_999] {
            table.remove(key);
        }
        assert_eq!(allocated(&table), 2);
        assert_eq!(table.get(keys[19_999]), Some(&19_999));
    }

    #[test]
    fn an_entry_that_comes_and_goes_at_the_edge_of_a_chunk_allocates_nothing() {
        let (mut table, _keys) = filled(CHUNK);
        for _ in 0..3 {
            let key = table.insert(0).expect("there is room");
            assert_eq!(allocated(&table), 2);
            table.remove(key);
            assert_eq!(allocated(&table), 2);
        }
    }

    #[test]
    fn the_oldest_entry_is_found_whatever_slot_it_has() {
        let (mut table, keys) = filled(3);
        table.remove(keys[0]);
        table.insert(9).expect("there is room");
        assert_eq!(table.oldest(), Some((keys[1], &1)));
    }

    proptest! {
        /// The table does what a map does, whatever is done to it.
        #[test]
        fn a_table_is_a_map(steps in prop::collection::vec((0..6_u8, any::<prop::sample::Index>()), 0..2_000)) {
            let mut table = Table::new(300);
            let mut keys = Vec::new();
            let mut map = BTreeMap::new();
            let mut taken = BTreeMap::new();
            for (value, (step, at)) in steps.into_iter().enumerate() {
                // Three of six steps insert, and keys that have gone are tried as well.
                let key = (!keys.is_empty()).then(|| *at.get(&keys));
                match (step, key) {
                    (1, Some(key)) => prop_assert_eq!(table.remove(key), map.remove(&key)),
                    (2, Some(key)) => {
                        let value = map.remove(&key);
                        prop_assert_eq!(table.take(key), value);
                        taken.extend(value.map(|value| (key, value)));
                    }
                    (3, Some(key)) => {
                        let value = taken.remove(&key);
                        prop_assert_eq!(table.put_back(key, value.unwrap_or(0)), value.is_some());
                        map.extend(value.map(|value| (key, value)));
                    }
                    (4, Some(key)) => {
                        prop_assert_eq!(table.discard(key), taken.remove(&key).is_some());
                    }
                    _ => {
                        let is_full = map.len() + taken.len() == 300;
                        let key = table.insert(value).ok();
                        prop_assert_eq!(key.is_none(), is_full);
                        map.extend(key.map(|key| (key, value)));
                        keys.extend(key);
                    }
                }
                prop_assert_eq!((table.len(), table.taken()), (map.len() + taken.len(), taken.len()));
            }
            let entries: Vec<_> = table.iter().map(|(key, value)| (key, *value)).collect();
            prop_assert!(entries.is_sorted_by_key(|(key, _)| key.index));
            prop_assert_eq!(entries, map.into_iter().collect::<Vec<_>>());
        }
    }
}
