//! The completions of a worker, by name.
//!
//! They lie side by side, apart from what calls allocate: what lasts for an hour would otherwise hold
//! the memory of all that came and went beside it. 64 of them take 16 KiB, which the allocator cuts from
//! pages of their own; in less than 14 KiB they would lie among the transactions of calls.

use crate::cc::id::CompletionId;
use crate::completion::entry::Completion;
use crate::ledger::Ledger;
use crate::table::{Key, Table};

/// Completions by their names.
#[derive(Debug)]
pub(super) struct Completions {
    table: Table<Completion>,
    by_id: Ledger<CompletionId, Key>,
}

impl Default for Completions {
    fn default() -> Self {
        Self {
            // How many there may be is said where one is asked for.
            table: Table::new(usize::MAX),
            by_id: Ledger::default(),
        }
    }
}

impl Completions {
    /// Adds one, of whose name there is none.
    pub(super) fn insert(&mut self, completion: Completion) {
        let id = completion.id;
        if let Ok(key) = self.table.insert(completion) {
            let before = self.by_id.insert(id, key);
            before.and_then(|before| self.table.remove(before));
        }
    }

    pub(super) fn remove(&mut self, id: &CompletionId) -> Option<Completion> {
        self.table.remove(self.by_id.remove(id)?)
    }

    pub(super) fn get_mut(&mut self, id: &CompletionId) -> Option<&mut Completion> {
        self.table.get_mut(*self.by_id.get(id)?)
    }

    pub(super) fn get(&self, id: &CompletionId) -> Option<&Completion> {
        self.table.get(*self.by_id.get(id)?)
    }

    pub(super) fn contains_key(&self, id: &CompletionId) -> bool {
        self.by_id.get(id).is_some()
    }

    /// All names, in their order.
    pub(super) fn keys(&self) -> impl Iterator<Item = CompletionId> {
        self.by_id.iter().map(|(id, _)| *id)
    }

    /// All, in the order of their names.
    pub(super) fn values(&self) -> impl Iterator<Item = &Completion> {
        self.after(None)
    }

    /// Those behind this name, in the order of their names.
    pub(super) fn after(&self, id: Option<CompletionId>) -> impl Iterator<Item = &Completion> {
        let later = self.by_id.after(id);
        later.filter_map(|(_, key)| self.table.get(*key))
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }
}
