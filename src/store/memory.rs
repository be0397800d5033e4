//! The store of a process that keeps nothing beyond its own life.

use std::collections::BTreeMap;

use crate::store::{Answer, Epoch, Key, Put, Store, Stored, Version};

/// Records in memory.
#[derive(Debug, Default)]
pub struct Memory {
    records: BTreeMap<Key, Stored>,
    leases: BTreeMap<u8, Epoch>,
    /// Never counts down, so that a record made anew is not taken for the one before.
    changes: u64,
}

impl Memory {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
}

impl Store for Memory {
    fn put(&mut self, put: Put) -> Answer {
        let lease = self.leases.get(&put.key.partition).copied();
        let found = self.records.get(&put.key).map(|stored| stored.version);
        if lease.unwrap_or_default() != put.epoch || found != put.expect {
            return Answer::Conflict;
        }
        self.changes += 1;
        let version = Version(self.changes);
        match put.record {
            Some(record) => {
                let stored = Stored { version, record };
                self.records.insert(put.key, stored);
            }
            None => {
                self.records.remove(&put.key);
            }
        }
        Answer::Done(version)
    }

    fn read(&self, key: Key) -> Option<Stored> {
        self.records.get(&key).cloned()
    }

    fn load(&self, partition: u8) -> Vec<(Key, Stored)> {
        let first = Key { partition, id: 0 };
        let last = Key {
            partition,
            id: u128::MAX,
        };
        let found = self.records.range(first..=last);
        found.map(|(key, stored)| (*key, stored.clone())).collect()
    }

    fn lease(&mut self, partition: u8) -> Epoch {
        let epoch = self.leases.entry(partition).or_default();
        epoch.0 += 1;
        *epoch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(id: u128, expect: Option<Version>, record: Option<&[u8]>) -> Put {
        Put {
            key: Key { partition: 3, id },
            expect,
            epoch: Epoch::default(),
            record: record.map(Box::from),
        }
    }

    #[test]
    fn a_record_changes_only_from_the_version_that_was_seen() {
        let mut store = Memory::new();
        let Answer::Done(first) = store.put(put(1, None, Some(b"one"))) else {
            panic!("a new record is refused");
        };
        assert_eq!(store.put(put(1, None, Some(b"two"))), Answer::Conflict);
        let Answer::Done(second) = store.put(put(1, Some(first), Some(b"two"))) else {
            panic!("a change is refused");
        };
        assert_eq!(store.put(put(1, Some(first), None)), Answer::Conflict);
        let key = Key {
            partition: 3,
            id: 1,
        };
        assert_eq!(
            store.read(key).map(|s| s.record),
            Some(Box::from(&b"two"[..]))
        );
        assert!(matches!(
            store.put(put(1, Some(second), None)),
            Answer::Done(_)
        ));
        assert!(store.is_empty());
        assert_eq!(store.put(put(1, Some(second), None)), Answer::Conflict);
    }

    #[test]
    fn who_lost_the_lease_changes_nothing() {
        let mut store = Memory::new();
        store.put(put(1, None, Some(b"one")));
        let epoch = store.lease(3);
        assert_eq!(store.put(put(2, None, Some(b"two"))), Answer::Conflict);
        let late = Put {
            epoch,
            ..put(2, None, Some(b"two"))
        };
        assert!(matches!(store.put(late), Answer::Done(_)));
        assert_eq!(store.load(3).len(), 2);
        assert_eq!(store.load(4).len(), 0);
    }
}
