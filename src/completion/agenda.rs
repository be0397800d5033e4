//! Who has something to do, and when.
//!
//! Ordered by time, then by owner, so that the same events have the same order in every run.

use std::collections::{BTreeMap, BTreeSet};

use crate::time::Timestamp;

/// The next deadline of each owner.
#[derive(Debug)]
pub(super) struct Agenda<K> {
    by_time: BTreeSet<(Timestamp, K)>,
    by_owner: BTreeMap<K, Timestamp>,
}

impl<K: Clone + Ord> Agenda<K> {
    pub(super) fn new() -> Self {
        Self {
            by_time: BTreeSet::new(),
            by_owner: BTreeMap::new(),
        }
    }

    /// The owner's deadline is this now, instead of any before.
    pub(super) fn set(&mut self, owner: &K, deadline: Option<Timestamp>) {
        if let Some(before) = self.by_owner.get(owner) {
            if Some(*before) == deadline {
                return;
            }
            self.by_time.remove(&(*before, owner.clone()));
        }
        match deadline {
            Some(deadline) => {
                self.by_time.insert((deadline, owner.clone()));
                self.by_owner.insert(owner.clone(), deadline);
            }
            None => {
                self.by_owner.remove(owner);
            }
        }
    }

    pub(super) fn next(&self) -> Option<Timestamp> {
        self.by_time.first().map(|(deadline, _)| *deadline)
    }

    /// Takes one owner whose time has come.
    pub(super) fn take_due(&mut self, now: Timestamp) -> Option<K> {
        let (deadline, _) = self.by_time.first()?;
        if *deadline > now {
            return None;
        }
        let (_, owner) = self.by_time.pop_first()?;
        self.by_owner.remove(&owner);
        Some(owner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn owners_come_in_the_order_of_their_last_deadlines() {
        let at = |s| Timestamp::START + Duration::from_secs(s);
        let mut agenda = Agenda::new();
        agenda.set(&'a', Some(at(5)));
        agenda.set(&'b', Some(at(3)));
        agenda.set(&'c', Some(at(3)));
        agenda.set(&'a', Some(at(2)));
        agenda.set(&'c', None);
        assert_eq!(agenda.next(), Some(at(2)));
        assert_eq!(agenda.take_due(at(1)), None);
        assert_eq!(agenda.take_due(at(9)), Some('a'));
        assert_eq!(agenda.take_due(at(9)), Some('b'));
        assert_eq!(agenda.take_due(at(9)), None);
    }
}
