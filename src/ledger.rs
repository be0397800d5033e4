//! An ordered map for keys that mostly come in their order, which leaves no room between them.
//!
//! A B-tree that grows at its end, or just before it, leaves its nodes half empty; here the pages that
//! are left behind are full. Otherwise it is one of two levels.
//!
//! Invariants:
//! - no page is empty, and the pages are in the order of their keys;
//! - a page that three quarters have left gives half of its room back.

/// The most entries of a page, which is what an insertion or removal moves at most.
const PAGE: usize = 64;

/// Entries in the order of their keys.
#[derive(Debug)]
pub struct Ledger<K, V> {
    pages: Vec<Vec<(K, V)>>,
    entries: usize,
}

impl<K: Ord, V> Default for Ledger<K, V> {
    fn default() -> Self {
        Self {
            pages: Vec::new(),
            entries: 0,
        }
    }
}

impl<K: Ord, V> Ledger<K, V> {
    /// Enters a value, and gives the one back that it takes the place of.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let at = self.page_of(&key);
        let Some(page) = self.pages.get_mut(at) else {
            self.pages.push(page_of_one((key, value)));
            self.entries += 1;
            return None;
        };
        let place = match page.binary_search_by(|(it, _)| it.cmp(&key)) {
            Ok(found) => {
                let held = page.get_mut(found);
                return held.map(|(_, held)| std::mem::replace(held, value));
            }
            Err(place) => place,
        };
        self.entries += 1;
        if page.len() < PAGE {
            page.insert(place, (key, value));
        } else if place == PAGE {
            // Behind all of them: they stay together.
            self.pages.insert(at + 1, page_of_one((key, value)));
        } else {
            let cut = if place > PAGE / 4 * 3 {
                place
            } else {
                PAGE / 2
            };
            let mut rest = Vec::with_capacity(PAGE);
            rest.extend(page.drain(cut..));
            if place > cut {
                rest.insert(place - cut, (key, value));
            } else {
                page.insert(place, (key, value));
            }
            self.pages.insert(at + 1, rest);
        }
        None
    }

    /// Takes an entry out.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let at = self.page_of(key);
        let page = self.pages.get_mut(at)?;
        let place = page.binary_search_by(|(it, _)| it.cmp(key)).ok()?;
        Some(self.take(at, place)?.1)
    }

    /// Takes the first entry out.
    pub fn pop_first(&mut self) -> Option<(K, V)> {
        self.take(0, 0)
    }

    /// The value of this key, to be changed.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let at = self.page_of(key);
        let page = self.pages.get_mut(at)?;
        let place = page.binary_search_by(|(it, _)| it.cmp(key)).ok()?;
        page.get_mut(place).map(|(_, value)| value)
    }

    /// The value of this key.
    pub fn get(&self, key: &K) -> Option<&V> {
        let page = self.pages.get(self.page_of(key))?;
        let place = page.binary_search_by(|(it, _)| it.cmp(key)).ok()?;
        page.get(place).map(|(_, value)| value)
    }

    /// The first entry.
    pub fn first(&self) -> Option<&(K, V)> {
        self.pages.first()?.first()
    }

    /// The entries behind this key, or all, in their order.
    pub fn after(&self, key: Option<K>) -> impl Iterator<Item = &(K, V)> {
        let page = key.as_ref().map_or(0, |key| self.page_of(key));
        let later = self.pages.iter().skip(page).flatten();
        later.skip_while(move |(it, _)| key.as_ref().is_some_and(|key| it <= key))
    }

    /// The entries in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = &(K, V)> {
        self.pages.iter().flatten()
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// The last page that begins at or before this key, or the first one.
    fn page_of(&self, key: &K) -> usize {
        let begins_before = |page: &Vec<(K, V)>| page.first().is_some_and(|(it, _)| it <= key);
        let after = self.pages.partition_point(begins_before);
        after.saturating_sub(1)
    }

    fn take(&mut self, at: usize, place: usize) -> Option<(K, V)> {
        let page = self.pages.get_mut(at)?;
        if place >= page.len() {
            return None;
        }
        let taken = page.remove(place);
        self.entries -= 1;
        if page.is_empty() {
            self.pages.remove(at);
            shrink(&mut self.pages);
        } else {
            shrink(page);
        }
        Some(taken)
    }
}

/// A page that need not move while it fills.
fn page_of_one<T>(entry: T) -> Vec<T> {
    let mut page = Vec::with_capacity(PAGE);
    page.push(entry);
    page
}

/// Gives room back that has not been needed for a while.
fn shrink<T>(list: &mut Vec<T>) {
    if list.len() <= list.capacity() / 4 {
        list.shrink_to(list.len() * 2);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn room<V>(ledger: &Ledger<u64, V>) -> usize {
        ledger.pages.iter().map(Vec::capacity).sum()
    }

    #[test]
    fn what_comes_in_order_leaves_no_room_between() {
        let mut ledger = Ledger::default();
        for key in 0..1000_u64 {
            ledger.insert(key, ());
        }
        assert!(room(&ledger) <= 1000 + PAGE, "room for {}", room(&ledger));
        for key in (0..1000).filter(|key| key % 32 != 0) {
            ledger.remove(&key);
        }
        assert!(room(&ledger) <= 4 * ledger.len(), "{}", room(&ledger));
        while ledger.pop_first().is_some() {}
        assert_eq!((room(&ledger), ledger.pages.capacity()), (0, 0));
    }

    #[test]
    fn what_comes_before_a_few_that_stay_last_leaves_no_room_either() {
        let mut ledger = Ledger::default();
        for last in 0..10 {
            ledger.insert(u64::MAX - last, ());
        }
        for key in 0..1000_u64 {
            ledger.insert(key, ());
        }
        assert!(
            room(&ledger) <= 1010 + 2 * PAGE,
            "room for {}",
            room(&ledger)
        );
    }

    proptest! {
        #[test]
        fn it_is_a_map(steps in proptest::collection::vec((0..200_u64, 0..4_u8), 0..600)) {
            let mut ledger = Ledger::default();
            let mut map = BTreeMap::new();
            for (number, (key, what)) in steps.into_iter().enumerate() {
                match what {
                    0 => prop_assert_eq!(ledger.remove(&key), map.remove(&key)),
                    1 if key < 20 => prop_assert_eq!(ledger.pop_first(), map.pop_first()),
                    _ => prop_assert_eq!(ledger.insert(key, number), map.insert(key, number)),
                }
                let first = ledger.first().map(|(key, _)| key);
                prop_assert_eq!(first, map.first_key_value().map(|(key, _)| key));
                prop_assert_eq!(ledger.get(&key), map.get(&key));
                prop_assert_eq!(ledger.get_mut(&key), map.get_mut(&key));
                let later: Vec<_> = ledger.after(Some(key)).map(|(_, value)| value).collect();
                prop_assert_eq!(later, map.range(key + 1..).map(|(_, value)| value).collect::<Vec<_>>());
                prop_assert!(ledger.iter().map(|(key, value)| (key, value)).eq(&map));
                prop_assert_eq!((ledger.len(), ledger.is_empty()), (map.len(), map.is_empty()));
            }
        }
    }
}
