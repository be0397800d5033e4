//! Numbers that a PBX knows its users by, besides the names under which their phones register.
//!
//! Spec: RULES R1.
//!
//! They are written in the configuration, or learned from calls that come back with our own ids: who
//! was rung for a number is who has it, unless somebody else is rung for it as well.

use std::collections::HashMap;

use crate::location::Aor;
use crate::shard::Shard;
use crate::shard::offer::{About, Callee};
use crate::sip::Uri;
use crate::table::Key;

/// The most numbers that are learned.
const LEARNED_MAX: usize = 10_000;

/// Whose the numbers are that calls have shown.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    learned: HashMap<Box<str>, Owner>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Owner {
    One(Aor),
    /// It rings several users: a group.
    Several,
}

impl Numbers {
    fn learn(&mut self, number: &str, user: &Aor) {
        let has_room = self.learned.len() < LEARNED_MAX;
        match self.learned.get_mut(number) {
            Some(Owner::One(owner)) if owner == user => {}
            Some(owner) => *owner = Owner::Several,
            None if has_room => {
                let owner = Owner::One(user.clone());
                self.learned.insert(Box::from(number), owner);
            }
            None => {}
        }
    }

    fn owner_of(&self, number: &str) -> Option<&Aor> {
        match self.learned.get(number)? {
            Owner::One(owner) => Some(owner),
            Owner::Several => None,
        }
    }
}

impl Shard {
    /// R1: the user whose number was dialled, where his phones register with the PBX.
    pub(super) fn owner_of(&self, dialled: &Aor) -> Option<Aor> {
        self.edge.as_deref()?;
        let named = self.registrar.owner_of(dialled);
        named.or_else(|| {
            self.registrar
                .owner_of(self.user_of_number(dialled.user())?)
        })
    }

    /// Whether this number stands for this user.
    pub(super) fn is_number_of(&self, number: &[u8], user: &Aor) -> bool {
        let Ok(number) = str::from_utf8(number) else {
            return false;
        };
        let written = || self.user_of_number(number);
        number == user.user() || written().is_some_and(|owner| owner.user() == user.user())
    }

    /// What the configuration says goes before what was learned.
    fn user_of_number(&self, number: &str) -> Option<&Aor> {
        let written = self.settings.edge.as_ref()?.numbers.get(number);
        written.or_else(|| self.edge.as_deref()?.numbers.owner_of(number))
    }

    /// A call came back by its ids, to a phone of this user's: his number is what was dialled, unless
    /// it is a name under which somebody registers.
    pub(super) fn learn_number(&mut self, out: Key, user: &Aor) {
        let Some(edge) = &mut self.edge else {
            return;
        };
        let Some(About::Asker(asker)) = self.calls.get(out).map(|held| &held.about) else {
            return;
        };
        if matches!(&asker.callee, Callee::Ours(owner) if owner == user) {
            // Known, as most are.
            return;
        }
        let dialled = Uri::parse(asker.dialled.as_str().as_bytes());
        let dialled = dialled.ok().and_then(|uri| self.domains.aor(&uri));
        let is_number = |dialled: &Aor| self.registrar.owner_of(dialled).is_none();
        if let Some(dialled) = dialled.filter(is_number) {
            edge.numbers.learn(dialled.user(), user);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_rings_two_users_is_nobodys() {
        let [bob, carol] = [b"bob".as_slice(), b"carol"].map(Aor::of_user);
        let mut numbers = Numbers::default();
        numbers.learn("1001", &bob);
        numbers.learn("1001", &bob);
        assert_eq!(numbers.owner_of("1001"), Some(&bob));
        numbers.learn("1001", &carol);
        numbers.learn("1001", &bob);
        assert_eq!(numbers.owner_of("1001"), None);
    }

    #[test]
    fn no_more_numbers_are_learned_than_there_is_room_for() {
        let bob = Aor::of_user(b"bob");
        let mut numbers = Numbers::default();
        for number in 0..=LEARNED_MAX {
            numbers.learn(&number.to_string(), &bob);
        }
        assert_eq!(numbers.learned.len(), LEARNED_MAX);
    }
}
