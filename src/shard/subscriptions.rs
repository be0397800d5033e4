//! The subscriptions of a worker: those to our queues, and those of our callers to queues elsewhere.
//!
//! Spec: RFC 6665 §4; RFC 3903; RFC 6910 §9.
//!
//! The service knows a subscription by its id, the wire by our tag. Which of its messages may follow
//! another is the service's to say; here is what a message needs.

use std::collections::BTreeMap;
use std::hash::Hasher as _;
use std::time::Duration;

use siphasher::sip::SipHasher13;
use smallvec::SmallVec;

use crate::cc::addr::AddrSpec;
use crate::cc::{Basic, SubscriptionId};
use crate::completion::{self, Ticket};
use crate::dialog::publication::{self, Publications, Publisher};
use crate::dialog::subscription::{Fork, Notifier, Subscriber};
use crate::dialog::{Dialog, Tag};
use crate::ledger::Ledger;
use crate::shard::Shard;
use crate::sip::flow::Flow;
use crate::sip::{Method, Request, Response};
use crate::table::{Full, Key, Table};
use crate::time::Timestamp;
use crate::transaction::User;
use crate::transaction::clients::Failure;

/// How long a SUBSCRIBE that is not answered comes again.
const REPEATED_FOR: Duration = Duration::from_secs(32);

/// The subscriptions of a worker.
#[derive(Debug)]
pub(super) struct Subscriptions {
    table: Table<Subscription>,
    by_id: Ledger<SubscriptionId, (Key, Fork)>,
    /// Those of processes before this one: where they are now, by our tags. Two processes may have had
    /// theirs in the same place.
    moved: BTreeMap<Tag, Key>,
    /// The same to our queues, by a digest of the Call-ID, while a SUBSCRIBE may come again that the
    /// process before has not answered.
    unanswered: BTreeMap<u64, Key>,
    /// When none comes again any more.
    repeated_until: Timestamp,
    pub(super) publications: Publications,
    /// The PUBLISHs that wait for their answer.
    pub(super) publishing: BTreeMap<Ticket, Publishing>,
}

/// One SUBSCRIBE and what came of it.
#[derive(Debug)]
pub(super) enum Subscription {
    /// Ours, to a queue elsewhere.
    Agent(Box<Agent>),
    /// Somebody's, to a queue of ours.
    ///
    /// In its place: as many as wait, and they lie apart from what calls allocate.
    Monitor(Monitor),
}

/// A subscription to a queue of ours.
#[derive(Debug)]
pub(super) struct Monitor {
    pub(super) id: SubscriptionId,
    pub(super) notifier: Notifier,
    /// The SUBSCRIBE that waits for its answer.
    pub(super) asked: Option<Box<Subscribing>>,
    /// What its agent published last.
    pub(super) basic: Basic,
    /// The number of a NOTIFY up to which a later process will not use it again.
    pub(super) reserved: u32,
    /// R3: what its agent, a phone of the PBX's, is to dial in its turn; of all others it is the name
    /// of the place at our address.
    pub(super) dials: Option<Box<AddrSpec>>,
}

/// A SUBSCRIBE that waits for its answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Subscribing {
    /// The one that makes the dialog.
    First(Key),
    /// The same once more, after a process that has made the dialog and not answered.
    Again(Key),
    /// One within it.
    Within(Key),
}

/// A subscription to a queue elsewhere, with its forks.
#[derive(Debug)]
pub(super) struct Agent {
    pub(super) subscriber: Subscriber,
    pub(super) flow: Flow,
    pub(super) forks: SmallVec<[Forked; 1]>,
}

/// What belongs to one fork.
#[derive(Debug)]
pub(super) struct Forked {
    pub(super) id: SubscriptionId,
    pub(super) publisher: Publisher,
    /// The PUBLISH that waits for its answer.
    pub(super) publication: Option<Box<completion::Publication>>,
    /// Whether it was refreshed because it outlived a process, and that is not answered yet.
    pub(super) is_refreshed: bool,
}

impl Forked {
    pub(super) fn new(id: SubscriptionId) -> Self {
        Self {
            id,
            publisher: Publisher::default(),
            publication: None,
            is_refreshed: false,
        }
    }
}

/// A PUBLISH that waits for the service.
#[derive(Debug)]
pub(super) struct Publishing {
    pub(super) server: Key,
    pub(super) asked: publication::Asked,
    pub(super) owner: SubscriptionId,
    pub(super) basic: Basic,
    /// What its entity-tag will be made of.
    pub(super) nonce: u64,
    /// When it will end.
    pub(super) ends: Timestamp,
}

/// What kind of request of ours a response belongs to; see [`User::part`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Part {
    /// A PUBLISH about this fork.
    Publish(Fork),
    /// A SUBSCRIBE or a NOTIFY.
    Subscription,
}

impl Part {
    /// The part of a number; `None` for those of calls.
    pub(super) fn of(part: u16) -> Option<Self> {
        let [kind, number] = part.to_be_bytes();
        match kind {
            5 => Some(Self::Subscription),
            6 => Some(Self::Publish(Fork(number))),
            _ => None,
        }
    }

    /// Whom the transaction tells.
    pub(super) fn user(self, key: Key) -> User {
        let part = match self {
            Self::Subscription => [5, 0],
            Self::Publish(Fork(number)) => [6, number],
        };
        User {
            call: key,
            part: u16::from_be_bytes(part),
        }
    }
}

impl Subscriptions {
    pub(super) fn new(subscriptions_max: usize) -> Self {
        let limits = publication::Limits {
            publications_max: subscriptions_max,
            ..publication::Limits::default()
        };
        Self {
            table: Table::new(subscriptions_max),
            by_id: Ledger::default(),
            moved: BTreeMap::new(),
            unanswered: BTreeMap::new(),
            repeated_until: Timestamp::START,
            publications: Publications::new(limits),
            publishing: BTreeMap::new(),
        }
    }

    /// How many there may be; those that are there already stay.
    pub(super) fn set_max(&mut self, subscriptions_max: usize) {
        self.table.set_max(subscriptions_max);
        self.publications.set_max(subscriptions_max);
    }

    /// A place for one more.
    pub(super) fn reserve(&mut self) -> Result<Key, Full> {
        self.table.reserve()
    }

    /// Gives up a place that was reserved.
    pub(super) fn give_up(&mut self, key: Key) {
        self.table.discard(key);
    }

    /// Fills a place that was reserved.
    pub(super) fn fill(&mut self, key: Key, id: SubscriptionId, subscription: Subscription) {
        self.by_id.insert(id, (key, Fork(0)));
        self.table.put_back(key, subscription);
    }

    /// Takes in one of a process before this one, under the tag that it had; whether there was room.
    pub(super) fn revive(
        &mut self,
        tag: Tag,
        ids: &[SubscriptionId],
        subscription: Subscription,
    ) -> bool {
        let asked = match &subscription {
            Subscription::Monitor(monitor) => Some(digest(monitor.notifier.dialog().call_id())),
            Subscription::Agent(_) => None,
        };
        let Ok(key) = self.table.insert(subscription) else {
            return false;
        };
        self.unanswered.extend(asked.map(|asked| (asked, key)));
        self.moved.insert(tag, key);
        for (number, id) in (0..).zip(ids) {
            self.by_id.insert(*id, (key, Fork(number)));
        }
        true
    }

    /// The subscription of a process before this one that this SUBSCRIBE has made, if the process has
    /// ended before its answer was heard.
    pub(super) fn made_before(&mut self, request: &Request<'_>) -> Option<&mut Monitor> {
        let key = *self.unanswered.get(&digest(request.call_id))?;
        match self.get_mut(key)? {
            Subscription::Monitor(monitor) if monitor.notifier.was_made_by(request) => {
                Some(monitor)
            }
            Subscription::Monitor(_) | Subscription::Agent(_) => None,
        }
    }

    /// Whether this request within a subscription to a queue of ours is the last that the process
    /// before has heard in it, and may not have answered.
    pub(super) fn was_heard_before(&mut self, request: &Request<'_>) -> bool {
        if self.unanswered.is_empty() || !self.unanswered.contains_key(&digest(request.call_id)) {
            return false;
        }
        let monitor = self.monitor_of(request);
        monitor.is_some_and(|monitor| monitor.notifier.was_last(request))
    }

    /// The place of a subscription.
    pub(super) fn key_of(&self, id: SubscriptionId) -> Option<Key> {
        self.by_id.get(&id).map(|(key, _)| *key)
    }

    /// What the subscriber has published, or is about to: the bits of its entity-tag, what it says,
    /// and its end.
    pub(super) fn publication_of(&mut self, id: SubscriptionId) -> Option<(u64, Basic, Timestamp)> {
        let mut waiting = self.publishing.values();
        if let Some(asked) = waiting.find(|publishing| publishing.owner == id) {
            let is_removal = asked.asked.wish == publication::Wish::Remove;
            return (!is_removal).then_some((asked.nonce, asked.basic, asked.ends));
        }
        let (nonce, ends) = self.publications.kept(id.0)?;
        let (_, monitor) = self.monitor_mut(id)?;
        Some((nonce, monitor.basic, ends))
    }

    /// Whether the entity-tag that a PUBLISH names is not this owner's, or not any more once a PUBLISH
    /// before it is kept (S-156): of two that name the same, the first one is carried out.
    pub(super) fn names_another(&self, asked: &publication::Asked, owner: SubscriptionId) -> bool {
        let mut waiting = self.publishing.values();
        let mut is_changing = || waiting.any(|publishing| publishing.owner == owner);
        let named = asked.owner();
        named.is_some_and(|named| named != owner.0 || is_changing())
    }

    /// A name for a fork that showed itself.
    pub(super) fn name(&mut self, id: SubscriptionId, key: Key, fork: Fork) {
        self.by_id.insert(id, (key, fork));
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Subscription> {
        self.table.get_mut(key)
    }

    /// The dialog of a subscription, as far as there is one.
    pub(super) fn dialog_of(&self, id: SubscriptionId) -> Option<&Dialog> {
        let (key, fork) = *self.by_id.get(&id)?;
        match self.table.get(key)? {
            Subscription::Agent(agent) => agent.subscriber.dialog(fork),
            Subscription::Monitor(monitor) => Some(monitor.notifier.dialog()),
        }
    }

    /// The queue's side of a subscription.
    pub(super) fn monitor_mut(&mut self, id: SubscriptionId) -> Option<(Key, &mut Monitor)> {
        let (key, _) = *self.by_id.get(&id)?;
        match self.get_mut(key)? {
            Subscription::Monitor(monitor) => Some((key, monitor)),
            Subscription::Agent(_) => None,
        }
    }

    /// The caller's side of a subscription.
    pub(super) fn agent_mut(&mut self, id: SubscriptionId) -> Option<(Key, Fork, &mut Agent)> {
        let (key, fork) = *self.by_id.get(&id)?;
        match self.get_mut(key)? {
            Subscription::Agent(agent) => Some((key, fork, agent)),
            Subscription::Monitor(_) => None,
        }
    }

    /// Whether a request is within a subscription.
    pub(super) fn has(&self, request: &Request<'_>) -> bool {
        let may_be = matches!(
            request.method,
            Method::Notify | Method::Publish | Method::Subscribe
        );
        may_be && self.named_by(request).is_some()
    }

    /// The place of the subscription that a request is within.
    pub(super) fn named_by(&self, request: &Request<'_>) -> Option<Key> {
        let tag = request.to.tag().and_then(Tag::parse)?;
        let moved = self.moved.get(&tag).copied();
        let mut places = [Some(tag.call), moved].into_iter().flatten();
        places.find(|key| match self.table.get(*key) {
            Some(Subscription::Agent(agent)) => agent.subscriber.is_named_by(request),
            Some(Subscription::Monitor(monitor)) => monitor.notifier.is(request),
            None => false,
        })
    }

    /// The subscription to a queue of ours that a request is within.
    pub(super) fn monitor_of(&mut self, request: &Request<'_>) -> Option<&mut Monitor> {
        let key = self.named_by(request)?;
        match self.get_mut(key)? {
            Subscription::Monitor(monitor) => Some(monitor),
            Subscription::Agent(_) => None,
        }
    }

    /// Drops what is known of a subscription: later messages of it get 481.
    pub(super) fn forget(&mut self, id: SubscriptionId) {
        let Some((key, fork)) = self.by_id.remove(&id) else {
            return;
        };
        self.publications.forget(id.0);
        let (is_over, tag) = match self.get_mut(key) {
            Some(Subscription::Agent(agent)) => {
                agent.subscriber.forget(fork);
                (agent.subscriber.is_over(), agent.subscriber.tag())
            }
            Some(Subscription::Monitor(monitor)) => (true, Some(monitor.notifier.tag())),
            None => (true, None),
        };
        if is_over {
            self.table.remove(key);
            if let Some(tag) = tag.filter(|tag| self.moved.get(tag) == Some(&key)) {
                self.moved.remove(&tag);
            }
        }
    }

    /// Those who have asked the process before repeat that for 64 × T1 (RFC 3261 timer F).
    pub(super) fn expect_repeats(&mut self, now: Timestamp) {
        self.repeated_until = now + REPEATED_FOR;
    }

    /// Forgets publications that have run out: their suspensions have as well.
    pub(super) fn handle_timeout(&mut self, now: Timestamp) {
        if now >= self.repeated_until {
            self.unanswered.clear();
        }
        while self.publications.handle_timeout(now).is_some() {}
    }

    /// When [`Self::handle_timeout`] next has work to do.
    pub(super) fn poll_timeout(&self) -> Option<Timestamp> {
        let repeats = (!self.unanswered.is_empty()).then_some(self.repeated_until);
        let publications = self.publications.poll_timeout();
        publications.into_iter().chain(repeats).min()
    }

    /// How many subscriptions to our queues there are.
    pub(super) fn subscribers(&self) -> usize {
        let all = self.table.iter();
        all.filter(|(_, it)| matches!(it, Subscription::Monitor(_)))
            .count()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }
}

/// Two that are alike are told apart by the dialog itself.
fn digest(call_id: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(call_id);
    hasher.finish()
}

/// Seconds for a header field: what has begun counts.
pub(super) fn whole_seconds(time: Duration) -> u32 {
    let rounded = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    u32::try_from(rounded).unwrap_or(u32::MAX)
}

impl Shard {
    /// Takes an answer to a SUBSCRIBE, NOTIFY or PUBLISH of ours.
    pub(super) fn on_subscription_response(
        &mut self,
        now: Timestamp,
        (key, part): (Key, Part),
        response: &Response<'_>,
    ) {
        match (self.desk.subscriptions.get_mut(key), part) {
            (Some(Subscription::Monitor(_)), _) => self.on_notify_answered(key, response.status),
            (Some(Subscription::Agent(_)), Part::Subscription) => {
                self.on_subscribe_answered(now, key, response);
            }
            (Some(Subscription::Agent(_)), Part::Publish(fork)) => {
                self.on_publish_answered(now, (key, fork), response);
            }
            // It has ended meanwhile.
            (None, _) => {}
        }
    }

    /// Takes the failure of such a request that nobody answered.
    pub(super) fn on_subscription_failure(&mut self, (key, part): (Key, Part), failure: Failure) {
        match (self.desk.subscriptions.get_mut(key), part) {
            (Some(Subscription::Monitor(_)), _) => self.on_notify_unanswered(key, failure),
            (Some(Subscription::Agent(_)), Part::Subscription) => {
                self.on_subscribe_unanswered(key, failure);
            }
            (Some(Subscription::Agent(_)), Part::Publish(fork)) => {
                self.on_publish_unanswered(key, fork);
            }
            (None, _) => {}
        }
    }
}
