//! The table of what passes through outside of calls: how it is found, and for whom it counts.
//!
//! Spec: RFC 6665 §4; RULES R15.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use crate::dialog::Tag;
use crate::location::Aor;
use crate::relay::{Part, Passage, Subscription};
use crate::shard::summaries::Summary;
use crate::shard::terms::Identity;
use crate::shard::watchers::Fallback;
use crate::sip::Request;
use crate::sip::flow::Flow;
use crate::table::{Key, Table};
use crate::time::Timestamp;
use crate::transaction::User;

/// How much of it there may be at once.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Subscriptions that pass through; at 2 KiB each, the default is 200 MB.
    pub subscriptions_max: usize,
    /// Those of one user: more than the keys of a large desk.
    pub per_user_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            subscriptions_max: 100_000,
            per_user_max: 300,
        }
    }
}

/// The requests of a worker that are passing through.
#[derive(Debug)]
pub(super) struct Relays {
    pub(super) passages: Table<Passage>,
    pub(super) subscriptions: Table<Box<Held>>,
    /// By our tag towards the notifiers, which names no entry.
    pub(super) by_far_tag: BTreeMap<Tag, Key>,
    pub(super) by_owner: BTreeMap<Aor, u32>,
    /// The subscriptions of phones to the dialogs of somebody: lamps, busy keys.
    lamps: BTreeMap<Arc<Lamp>, u32>,
    /// The subscriptions in which a user's texts are shown.
    lit: BTreeMap<Aor, Vec<Key>>,
    /// What phones were told of their users that have not asked.
    unasked: BTreeMap<Aor, Summary>,
    pub(super) deadlines: BTreeSet<(Timestamp, Key)>,
    per_user_max: u32,
    /// The body of the request in hand as its receiver may see it, if that is another.
    pub(super) shown: Option<Vec<u8>>,
    /// What has been taken out of its slot, should its handling panic.
    pub(super) in_hand: Option<InHand>,
}

/// What is being handled.
#[derive(Debug)]
pub(super) enum InHand {
    Passage(Key),
    Subscription(Key, Filed),
}

/// What was dropped because its handling panicked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Lost {
    Passage(Key),
    Subscription(Key),
}

impl Lost {
    /// Whether this is who waits for an answer.
    pub(super) fn is_of(self, user: User) -> bool {
        match (self, Part::of(user.part)) {
            (Self::Passage(key), Some(Part::Passage))
            | (Self::Subscription(key), Some(Part::Opening(_) | Part::Exchange(_))) => {
                user.call == key
            }
            (Self::Passage(_) | Self::Subscription(_), _) => false,
        }
    }
}

/// A subscription and what the worker keeps beside it.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) subscription: Subscription,
    pub(super) filed: Filed,
    /// What is done if it is refused by somebody who does not know the package.
    pub(super) fallback: Option<Box<Fallback>>,
    /// What was said in it of what waits for its user, if that is what it is about.
    pub(super) summary: Option<Box<Summary>>,
}

/// A phone, by its user and its address, and whom it watches.
type Lamp = (Aor, SocketAddr, Aor);

/// Under what a subscription is found, and what it counts for.
#[derive(Clone, Debug, Default)]
pub(super) struct Filed {
    far_tag: Option<Tag>,
    pub(super) owner: Option<Aor>,
    lamp: Option<Arc<Lamp>>,
    /// Whose texts are shown in it, where they are.
    pub(super) lit: Option<Aor>,
    /// RFC 3325 §7: what either side learns of the other.
    pub(super) identity: Identity,
    deadline: Option<Timestamp>,
}

/// What is kept beside a subscription.
#[derive(Debug)]
pub(super) struct Kept {
    /// The user of ours whose phone it is.
    pub(super) owner: Option<Aor>,
    /// What it watches, if that is somebody's dialogs.
    pub(super) lamp: Option<Lamp>,
    /// Whether texts of ours are shown in it.
    pub(super) is_lit: bool,
    /// See [`Held::fallback`].
    pub(super) fallback: Option<Box<Fallback>>,
    /// What either side learns of the other.
    pub(super) identity: Identity,
}

/// A phone that watches somebody's dialogs.
pub(super) fn lamp_of(owner: &Aor, flow: &Flow, target: &Aor) -> Lamp {
    (owner.clone(), flow.remote, target.clone())
}

impl Relays {
    pub(super) fn new(limits: Limits, passages_max: usize) -> Self {
        Self {
            passages: Table::new(passages_max),
            subscriptions: Table::new(limits.subscriptions_max),
            by_far_tag: BTreeMap::new(),
            by_owner: BTreeMap::new(),
            lamps: BTreeMap::new(),
            lit: BTreeMap::new(),
            unasked: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            per_user_max: limits.per_user_max,
            shown: None,
            in_hand: None,
        }
    }

    /// How much there may be from here on; what is there already stays.
    pub(super) fn set_limits(&mut self, limits: Limits, passages_max: usize) {
        self.passages.set_max(passages_max);
        self.subscriptions.set_max(limits.subscriptions_max);
        self.per_user_max = limits.per_user_max;
    }

    /// How many requests without a dialog wait for their answer.
    pub(super) fn passages(&self) -> usize {
        self.passages.len()
    }

    /// How many subscriptions pass through.
    pub(super) fn subscriptions(&self) -> usize {
        self.subscriptions.len()
    }

    /// When a subscription is next to be forgotten.
    pub(super) fn poll_timeout(&self) -> Option<Timestamp> {
        self.deadlines.first().map(|(due, _)| *due)
    }

    /// Drops what was in hand when its handling panicked; which it was.
    pub(super) fn drop_in_hand(&mut self) -> Option<Lost> {
        match self.in_hand.take()? {
            InHand::Passage(key) => {
                self.passages.discard(key);
                Some(Lost::Passage(key))
            }
            InHand::Subscription(key, filed) => {
                self.subscriptions.discard(key);
                self.unfile(key, &filed);
                Some(Lost::Subscription(key))
            }
        }
    }

    /// The subscription that a request within a dialog may belong to.
    pub(super) fn find(&self, request: &Request<'_>) -> Option<Key> {
        let tag = request.to.tag().and_then(Tag::parse)?;
        let far = self.by_far_tag.get(&tag).copied();
        far.or_else(|| self.subscriptions.get(tag.call).map(|_| tag.call))
    }

    pub(super) fn put_passage(&mut self, key: Key, passage: Option<Passage>) {
        self.in_hand = None;
        match passage {
            Some(passage) => self.passages.put_back(key, passage),
            None => self.passages.discard(key),
        };
    }

    /// Whether this phone watches the dialogs of somebody already.
    pub(super) fn has_lamp(&self, owner: &Aor, flow: &Flow, target: &Aor) -> bool {
        !self.lamps.is_empty() && self.lamps.contains_key(&lamp_of(owner, flow, target))
    }

    /// The subscriptions in which this user's texts are shown.
    pub(super) fn lit_for(&self, owner: &Aor) -> Vec<Key> {
        self.lit.get(owner).cloned().unwrap_or_default()
    }

    /// What was said last of what waits for this user, where his phones have not asked.
    pub(super) fn unasked_for(&mut self, owner: &Aor) -> Option<&mut Summary> {
        self.unasked.get_mut(owner)
    }

    /// Keeps that, for as many users as there may be subscriptions.
    pub(super) fn keep_unasked(&mut self, owner: Aor, summary: Summary) {
        let has_room = self.unasked.len() < self.subscriptions.entries_max();
        if has_room || self.unasked.contains_key(&owner) {
            self.unasked.insert(owner, summary);
        }
    }

    /// Drops a subscription that was refused and is to be answered in another way; with the
    /// transaction that waits for that.
    pub(super) fn take_fallback(&mut self, key: Key) -> Option<(Fallback, Key)> {
        let held = self.subscriptions.get_mut(key)?;
        let fallback = held.fallback.take()?;
        let server = held.subscription.give_up()?;
        let filed = held.filed.clone();
        self.subscriptions.remove(key);
        self.unfile(key, &filed);
        Some((*fallback, server))
    }

    pub(super) fn is_full(&self, owner: &Aor) -> bool {
        let held = self.by_owner.get(owner).copied();
        held.unwrap_or_default() >= self.per_user_max
    }

    /// Puts a subscription where it is found.
    pub(super) fn file(&mut self, key: Key, subscription: Subscription, kept: Kept) {
        let Kept {
            owner,
            lamp,
            is_lit,
            fallback,
            identity,
        } = kept;
        let far_tag = subscription.far_tag();
        if let Some(tag) = far_tag {
            self.by_far_tag.insert(tag, key);
        }
        if let Some(owner) = &owner {
            *self.by_owner.entry(owner.clone()).or_default() += 1;
        }
        let lamp = lamp.map(Arc::new);
        if let Some(lamp) = &lamp {
            *self.lamps.entry(Arc::clone(lamp)).or_default() += 1;
        }
        let lit = owner.clone().filter(|_| is_lit);
        if let Some(owner) = &lit {
            self.lit.entry(owner.clone()).or_default().push(key);
        }
        let filed = Filed {
            far_tag,
            owner,
            lamp,
            lit,
            identity,
            deadline: None,
        };
        let held = Held {
            subscription,
            filed,
            fallback,
            summary: None,
        };
        self.put_back(key, Box::new(held));
    }

    pub(super) fn put_back(&mut self, key: Key, mut held: Box<Held>) {
        if held.subscription.is_over() {
            self.subscriptions.discard(key);
            return self.unfile(key, &held.filed);
        }
        let deadline = held.subscription.deadline();
        if held.filed.deadline != deadline {
            if let Some(before) = held.filed.deadline {
                self.deadlines.remove(&(before, key));
            }
            self.deadlines.extend(deadline.map(|due| (due, key)));
            held.filed.deadline = deadline;
        }
        self.subscriptions.put_back(key, held);
    }

    fn unfile(&mut self, key: Key, filed: &Filed) {
        if let Some(due) = filed.deadline {
            self.deadlines.remove(&(due, key));
        }
        // A newer one may have taken the entry.
        if let Some(tag) = filed.far_tag
            && self.by_far_tag.get(&tag) == Some(&key)
        {
            self.by_far_tag.remove(&tag);
        }
        if let Some(owner) = &filed.owner {
            one_less(&mut self.by_owner, owner);
        }
        if let Some(lamp) = &filed.lamp {
            one_less(&mut self.lamps, lamp);
        }
        if let Some(owner) = &filed.lit
            && let Some(keys) = self.lit.get_mut(owner)
        {
            keys.retain(|other| *other != key);
            if keys.is_empty() {
                self.lit.remove(owner);
            }
        }
    }
}

fn one_less<K: Ord>(counts: &mut BTreeMap<K, u32>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(key);
        }
    }
}
