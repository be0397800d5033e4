//! Who is in how many calls.
//!
//! A user is *engaged* while a leg on one of his registered flows exists, alerting included (R2).
//! Users without legs are not kept.

use std::collections::HashMap;

use crate::location::Aor;

/// The users that are in calls.
#[derive(Debug, Default)]
pub struct Users {
    engaged: HashMap<Aor, u32>,
}

impl Users {
    /// One more leg.
    pub fn engage(&mut self, user: &Aor) {
        match self.engaged.get_mut(user) {
            Some(legs) => *legs += 1,
            None => {
                self.engaged.insert(user.clone(), 1);
            }
        }
    }

    /// One leg less.
    pub fn release(&mut self, user: &Aor) {
        let Some(legs) = self.engaged.get_mut(user) else {
            return;
        };
        *legs -= 1;
        if *legs == 0 {
            self.engaged.remove(user);
            if self.engaged.capacity() > 4096 && self.engaged.len() < self.engaged.capacity() / 8 {
                self.engaged.shrink_to(self.engaged.len() * 2);
            }
        }
    }

    /// How many legs he has.
    pub fn legs(&self, user: &Aor) -> u32 {
        self.engaged.get(user).copied().unwrap_or_default()
    }

    /// How many users are in calls.
    pub fn len(&self) -> usize {
        self.engaged.len()
    }

    /// Whether nobody is in a call.
    pub fn is_empty(&self) -> bool {
        self.engaged.is_empty()
    }
}
