//! The users that completion has to do with, by name.
//!
//! As completions, they lie side by side, apart from what calls allocate.

use std::collections::HashMap;

use crate::cc::addr::Aor;
use crate::completion::user::User;
use crate::table::{Key, Table};

/// Room for fewer names than this is kept.
const ROOM_KEPT: usize = 4096;

/// Users by their names.
#[derive(Debug)]
pub(super) struct Users {
    table: Table<User>,
    by_name: HashMap<Aor, Key>,
}

impl Default for Users {
    fn default() -> Self {
        Self {
            // As many as completions and failed calls need.
            table: Table::new(usize::MAX),
            by_name: HashMap::new(),
        }
    }
}

impl Users {
    /// The user of this name, who may be new; `None` if there are 2^32 already.
    pub(super) fn or_default(&mut self, name: &Aor) -> Option<&mut User> {
        if let Some(key) = self.by_name.get(name) {
            return self.table.get_mut(*key);
        }
        let key = self.table.insert(User::default()).ok()?;
        self.by_name.insert(name.clone(), key);
        self.table.get_mut(key)
    }

    pub(super) fn remove(&mut self, name: &Aor) {
        if let Some(key) = self.by_name.remove(name) {
            self.table.remove(key);
        }
        // A busy hour's memory goes back.
        let room = self.by_name.capacity();
        if room > ROOM_KEPT && self.by_name.len() < room / 8 {
            self.by_name.shrink_to(self.by_name.len() * 2);
        }
    }

    pub(super) fn get_mut(&mut self, name: &Aor) -> Option<&mut User> {
        self.table.get_mut(*self.by_name.get(name)?)
    }

    pub(super) fn get(&self, name: &Aor) -> Option<&User> {
        self.table.get(*self.by_name.get(name)?)
    }

    /// This name, as it is written already where he is known.
    pub(super) fn name(&self, name: &Aor) -> Aor {
        let known = self.by_name.get_key_value(name);
        known.map_or(name, |(known, _)| known).clone()
    }

    pub(super) fn contains_key(&self, name: &Aor) -> bool {
        self.by_name.contains_key(name)
    }

    /// All, in no order that means anything.
    pub(super) fn values(&self) -> impl Iterator<Item = &User> {
        self.table.iter().map(|(_, user)| user)
    }

    /// Their names, in no order.
    #[expect(clippy::disallowed_methods, reason = "who lists them sorts them")]
    pub(super) fn keys(&self) -> impl Iterator<Item = &Aor> {
        self.by_name.keys()
    }

    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }
}
