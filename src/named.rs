//! A table whose entries are found by their names, which grows by little where they are many.
//!
//! A map of the standard library holds its entries in one piece, and twice the room for them when it has
//! just grown; here that piece holds 4 bytes for each, and the entries lie in a [`Table`].
//!
//! Invariants:
//! - each name has one entry;
//! - entries are listed in the order of their slots, which is the same in every run.

use std::hash::{BuildHasher as _, Hash, RandomState};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::table::Table;

/// Room for fewer names than this is kept.
const ROOM_KEPT: usize = 512;

/// Entries by their names.
#[derive(Debug)]
pub struct Named<N, V> {
    entries: Table<(N, V)>,
    /// The slot of each.
    slots: HashTable<u32>,
    /// Keyed by chance: nobody outside knows which names meet.
    hasher: RandomState,
}

impl<N, V> Default for Named<N, V> {
    fn default() -> Self {
        Self {
            entries: Table::with_spare(usize::MAX),
            slots: HashTable::new(),
            hasher: RandomState::new(),
        }
    }
}

impl<N: Clone + Eq + Hash, V: Default> Named<N, V> {
    /// An entry's name is this one from now on, which is its equal: two that share their text take less.
    pub fn rename(&mut self, name: &N) {
        let slot = self.slot_of(name);
        if let Some((known, _)) = slot.and_then(|slot| self.entries.at_mut(slot)) {
            *known = name.clone();
        }
    }

    /// The entry of this name, which may be new; `None` if there are 2^32 already.
    pub fn or_default(&mut self, name: &N) -> Option<&mut V> {
        let (entries, hasher) = (&mut self.entries, &self.hasher);
        let rehash = |slot: &u32| {
            entries
                .at(*slot)
                .map_or(0, |(name, _)| hasher.hash_one(name))
        };
        let is_it = |slot: &u32| entries.at(*slot).is_some_and(|(it, _)| it == name);
        let slot = match self.slots.entry(hasher.hash_one(name), is_it, rehash) {
            Entry::Occupied(found) => *found.get(),
            Entry::Vacant(vacant) => {
                let key = entries.insert((name.clone(), V::default())).ok()?;
                *vacant.insert(key.slot()).get()
            }
        };
        self.entries.at_mut(slot).map(|(_, value)| value)
    }
}

impl<N: Eq + Hash, V> Named<N, V> {
    /// Takes an entry out.
    pub fn remove(&mut self, name: &N) {
        self.change(name, |_| Fate::Goes);
    }

    /// Changes an entry, if there is one, which may be its end.
    pub fn change(&mut self, name: &N, change: impl FnOnce(&mut V) -> Fate) {
        if self.is_empty() {
            return;
        }
        let entries = &mut self.entries;
        let is_it = |slot: &u32| entries.at(*slot).is_some_and(|(it, _)| it == name);
        let hash = self.hasher.hash_one(name);
        let Ok(found) = self.slots.find_entry(hash, is_it) else {
            return;
        };
        let slot = *found.get();
        let value = entries.at_mut(slot);
        if value.map(|(_, value)| change(value)) == Some(Fate::Goes) {
            found.remove();
            entries.remove_at(slot);
            self.shrink();
        }
    }

    /// Changes each entry, which may be its end.
    pub fn change_all(&mut self, mut change: impl FnMut(&mut V) -> Fate) {
        let entries = &mut self.entries;
        self.slots.retain(|slot| {
            let fate = entries.at_mut(*slot).map(|(_, value)| change(value));
            if fate == Some(Fate::Goes) {
                entries.remove_at(*slot);
            }
            fate == Some(Fate::Stays)
        });
        self.shrink();
    }

    /// The entry of this name, to be changed.
    pub fn get_mut(&mut self, name: &N) -> Option<&mut V> {
        let slot = self.slot_of(name)?;
        self.entries.at_mut(slot).map(|(_, value)| value)
    }

    /// The entry of this name.
    pub fn get(&self, name: &N) -> Option<&V> {
        let slot = self.slot_of(name)?;
        self.entries.at(slot).map(|(_, value)| value)
    }

    /// This name, as its entry has it already where there is one.
    pub fn name<'n>(&'n self, name: &'n N) -> &'n N {
        let known = self.slot_of(name).and_then(|slot| self.entries.at(slot));
        known.map_or(name, |(known, _)| known)
    }

    /// Whether there is an entry of this name.
    pub fn contains(&self, name: &N) -> bool {
        self.slot_of(name).is_some()
    }

    /// The names and their entries, in the order of their slots.
    pub fn iter(&self) -> impl Iterator<Item = (&N, &V)> {
        self.entries.iter().map(|(_, (name, value))| (name, value))
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    fn slot_of(&self, name: &N) -> Option<u32> {
        if self.is_empty() {
            return None;
        }
        let is_it = |slot: &u32| self.entries.at(*slot).is_some_and(|(it, _)| it == name);
        self.slots.find(self.hasher.hash_one(name), is_it).copied()
    }

    /// A busy hour's memory goes back.
    fn shrink(&mut self) {
        let room = self.slots.capacity();
        if room > ROOM_KEPT && self.slots.len() < room / 8 {
            let (entries, hasher) = (&self.entries, &self.hasher);
            let rehash = |slot: &u32| {
                entries
                    .at(*slot)
                    .map_or(0, |(name, _)| hasher.hash_one(name))
            };
            self.slots.shrink_to(self.slots.len() * 2, rehash);
        }
    }
}

/// What becomes of an entry that was changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fate {
    /// It is needed no more.
    Goes,
    /// It stays.
    Stays,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_busy_hours_room_goes_back() {
        let mut named = Named::<u32, u32>::default();
        for name in 0..20_000 {
            named.or_default(&name);
        }
        assert!(named.slots.capacity() >= 20_000);
        for name in 1..20_000 {
            named.remove(&name);
        }
        assert!(
            named.slots.capacity() <= ROOM_KEPT,
            "{}",
            named.slots.capacity()
        );
        assert_eq!(named.get(&0), Some(&0));
        named.change_all(|_| Fate::Goes);
        assert!(named.is_empty() && named.get(&0).is_none());
    }

    proptest! {
        #[test]
        fn it_is_a_map(steps in prop::collection::vec((0..200_u32, 0..5_u8), 0..900)) {
            let mut named = Named::<u32, usize>::default();
            let mut map = BTreeMap::new();
            for (number, (name, what)) in steps.into_iter().enumerate() {
                match what {
                    0 => {
                        named.remove(&name);
                        map.remove(&name);
                    }
                    1 if name < 4 => {
                        let is_kept = |value: usize| !value.is_multiple_of(4);
                        named.change_all(|value| if is_kept(*value) { Fate::Stays } else { Fate::Goes });
                        map.retain(|_, value| is_kept(*value));
                    }
                    _ => {
                        if let Some(value) = named.or_default(&name) {
                            *value += number;
                        }
                        *map.entry(name).or_default() += number;
                    }
                }
                prop_assert_eq!(named.get(&name), map.get(&name));
                prop_assert_eq!(named.get_mut(&name), map.get_mut(&name));
                prop_assert_eq!(named.contains(&name), map.contains_key(&name));
                let entries: BTreeMap<_, _> = named.iter().map(|(name, value)| (*name, *value)).collect();
                prop_assert_eq!(&entries, &map);
                prop_assert_eq!((named.len(), named.is_empty()), (map.len(), map.is_empty()));
            }
        }
    }
}
