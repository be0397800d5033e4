//! A table of machines by key, whose memory goes back when they have gone.
//!
//! Invariants:
//! - a key is given out once: the generation counts every insertion into the table, so a key whose
//!   entry has gone finds nothing, whoever has its slot now;
//! - the lowest free slot is reused first, so that what is left of a busy hour gathers in few chunks;
//! - a chunk without entries is freed, but for one that is kept for the next entry.

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

    fn place(self) -> (usize, u32) {
        (to_usize(self.index / CHUNK), self.index % CHUNK)
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
            next_generation: 0,
            entries_max: entries_max.min(to_usize(u32::MAX)),
            entries: 0,
            taken: 0,
        }
    }

    /// Adds an entry.
    pub fn insert(&mut self, value: T) -> Result<Key, Full> {
        if self.entries >= self.entries_max {
            return Err(Full);
        }
        let at = self.open_chunk();
        let generation = self.next_generation;
        let chunk = self.chunks.get_mut(at).ok_or(Full)?;
        let slot = chunk.fill(generation, value);
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
            index: base + slot,
            generation,
        })
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
        if is_empty {
            self.free_chunk(at);
        }
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
    fn fill(&mut self, generation: u32, value: T) -> u32 {
        let lowest = self.free.trailing_zeros();
        let slot = self.slots.get_mut(to_usize(lowest));
        *slot.expect("an open chunk is allocated and has a free slot") =
            Slot::Held { generation, value };
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

/// A count of slots as what `Vec` counts with; both are at least 32 bits wide.
fn to_usize(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
