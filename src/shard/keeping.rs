//! What of completion outlives the process: orders to the store, and records with their dialogs.
//!
//! Spec: DESIGN §11. A record as it is stored, numbers big-endian:
//!
//! ```text
//!   length, what the service knows │ name of the peer behind which the monitor is │ number of dialogs
//!   each: 0, id, what its agent dials, what was published last, its entity-tag and end, its dialog
//!      or 1, flow, number of forks, each: id, entity-tag, the subscriber's dialog
//! ```

use std::collections::VecDeque;
use std::net::SocketAddr;

use smallvec::SmallVec;

use crate::cc::addr::AddrSpec;
use crate::cc::{Basic, SubscriptionId, trust};
use crate::completion::{CompletionId, Input, Reloaded, WallTime};
use crate::dialog::Dialog;
use crate::dialog::kept::{put_flow, put_text, reserved_from, take, take_flow, take_text};
use crate::dialog::publication::Publisher;
use crate::dialog::subscription::{Fork, Notifier, Subscriber};
use crate::shard::edge::Edge;
use crate::shard::subscriptions::{Agent, Forked, Monitor, Subscription, Subscriptions};
use crate::shard::{Output, Shard};
use crate::store::memory::Memory;
use crate::store::{Key, Opening, Order, Put, Reply, Store as _, Stored};
use crate::table;
use crate::time::Timestamp;

/// Where completions are kept.
#[derive(Debug)]
pub(super) enum Vault {
    /// In this process: they end with it.
    Here(Memory),
    /// Where the driver knows.
    There(There),
}

/// The way to a store that is driven from outside.
#[derive(Debug)]
pub(super) struct There {
    opening: Opening,
    state: State,
    orders: VecDeque<Order>,
    /// The one that was handed out last.
    handed: Option<Order>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// It has failed.
    Down,
    /// Its records have yet to come.
    Loading,
    Up,
}

impl Vault {
    pub(super) fn new(is_elsewhere: bool) -> Self {
        if !is_elsewhere {
            return Self::Here(Memory::new());
        }
        Self::There(There {
            opening: Opening::default(),
            state: State::Loading,
            orders: VecDeque::new(),
            handed: None,
        })
    }

    /// The records as they are here; where they are elsewhere, they are asked for.
    pub(super) fn reload(&mut self) -> Option<Vec<(Key, Stored)>> {
        match self {
            Self::Here(memory) => {
                let all = (0..=u8::MAX).flat_map(|partition| memory.load(partition));
                Some(all.collect())
            }
            Self::There(there) => {
                there.state = State::Loading;
                there.orders.push_back(Order::Load);
                None
            }
        }
    }

    /// Whether another process will find what is kept.
    pub(super) fn is_elsewhere(&self) -> bool {
        matches!(self, Self::There(_))
    }

    fn is_up(&self) -> bool {
        matches!(self, Self::There(there) if there.state == State::Up)
    }

    pub(super) fn has_orders(&self) -> bool {
        matches!(self, Self::There(there) if !there.orders.is_empty())
    }

    pub(super) fn poll_order(&mut self) -> Option<Output<'_>> {
        let Self::There(there) = self else {
            return None;
        };
        there.handed = there.orders.pop_front();
        let order = there.handed.as_ref()?;
        let opening = there.opening;
        Some(Output::Store { opening, order })
    }
}

impl Shard {
    /// Takes up the completions that the process before has kept; to be called before the first
    /// input, where they are kept elsewhere.
    pub fn take_over(&mut self, now: Timestamp, records: Vec<(Key, Stored)>) {
        if let Vault::There(there) = &mut self.desk.vault {
            there.state = State::Up;
        }
        self.serve(now, |shard| {
            shard.take_up(now, records);
            shard.settle(now);
        });
    }

    /// What the store says.
    pub(super) fn on_store(&mut self, now: Timestamp, reply: Reply) {
        match reply {
            // Answers to what was asked before the records are read anew are nobody's: who was made
            // anew would have them removed, as he does not know them yet.
            Reply::Put { .. } | Reply::Read { .. } if !self.desk.vault.is_up() => {}
            Reply::Put { key, answer } => {
                self.desk.facts.push_back(Input::Persisted { key, answer });
            }
            Reply::Read { key, stored } => {
                let stored = stored.map(|stored| unsealed(&stored));
                self.desk.facts.push_back(Input::Loaded { key, stored });
            }
            Reply::Failed => self.on_store_failed(),
            Reply::Opened { opening, records } => self.on_store_opened(now, opening, records),
        }
    }

    fn on_store_failed(&mut self) {
        let Vault::There(there) = &mut self.desk.vault else {
            return;
        };
        there.orders.clear();
        if there.state == State::Up {
            there.state = State::Down;
            self.counters.store_failures += 1;
            self.desk.facts.push_back(Input::StoreFailed);
        }
    }

    fn on_store_opened(&mut self, now: Timestamp, opening: Opening, records: Vec<(Key, Stored)>) {
        let Vault::There(there) = &mut self.desk.vault else {
            return;
        };
        there.orders.clear();
        there.opening = opening;
        match std::mem::replace(&mut there.state, State::Up) {
            State::Loading => self.take_up(now, records),
            State::Down | State::Up => {
                let found = records.into_iter();
                let found = found.map(|(key, stored)| (key, stored.version)).collect();
                self.desk.facts.push_back(Input::StoreOpened { found });
            }
        }
    }

    pub(super) fn persist(&mut self, mut put: Put) {
        let key = put.key;
        if let Vault::Here(memory) = &mut self.desk.vault {
            let answer = memory.put(put);
            self.desk.facts.push_back(Input::Persisted { key, answer });
            return;
        }
        put.record = put.record.map(|record| self.sealed(key, &record));
        if let Vault::There(there) = &mut self.desk.vault
            && there.state == State::Up
        {
            there.orders.push_back(Order::Put(put));
        }
    }

    pub(super) fn read_kept(&mut self, key: Key) {
        match &mut self.desk.vault {
            Vault::Here(memory) => {
                let stored = memory.read(key);
                self.desk.facts.push_back(Input::Loaded { key, stored });
            }
            Vault::There(there) => there.orders.push_back(Order::Read(key)),
        }
    }

    /// Takes up what was kept, and drops the dialogs that nobody wants.
    pub(super) fn take_up(&mut self, now: Timestamp, records: Vec<(Key, Stored)>) {
        let count = records.len();
        self.desk.subscriptions.expect_repeats(now);
        if count > 0 {
            let unknown_time = self.settings.completion.service.timing.unknown_time;
            self.sources.await_users(now + unknown_time);
            if !self.edge.as_deref().is_some_and(Edge::keeps) {
                self.users
                    .know_nobody_until(Timestamp::START + unknown_time);
            }
        }
        let mut dialogs = Vec::new();
        let reloaded = records.into_iter().map(|(key, stored)| {
            let reloaded = self.revive(key, stored);
            dialogs.extend_from_slice(&reloaded.dialogs);
            reloaded
        });
        let reloaded: Vec<_> = reloaded.collect();
        let mut wishes = Vec::new();
        let used = self.desk.service.restore(now, reloaded, &mut wishes);
        for id in dialogs.iter().filter(|id| used.binary_search(id).is_err()) {
            self.desk.subscriptions.forget(*id);
        }
        let restored = self.desk.service.counts().completions;
        let lost = count.saturating_sub(restored);
        self.counters.completions_restored += u64::try_from(restored).unwrap_or(u64::MAX);
        if count > 0 {
            tracing::info!(restored, lost, "completions are waited for again");
        }
        self.carry_out_all(now, wishes);
    }
}

/// Records as they are stored.
impl Shard {
    fn sealed(&mut self, key: Key, record: &[u8]) -> Box<[u8]> {
        let id = CompletionId::from_bits(key.id);
        let service = &self.desk.service;
        let peer = service
            .peer_of(id)
            .and_then(|peer| self.settings.peer(peer));
        let subscriptions = service.subscriptions_of(id);
        let mut out = Vec::with_capacity(record.len() + 16);
        // No record is as long as that.
        let length = u32::try_from(record.len()).unwrap_or_default();
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(record);
        put_text(
            &mut out,
            peer.map(|peer| peer.name.as_bytes()).unwrap_or_default(),
        );
        let place = (&*self.bound, self.settings.started);
        self.desk.subscriptions.put(&mut out, &subscriptions, place);
        out.into_boxed_slice()
    }

    fn revive(&mut self, key: Key, stored: Stored) -> Reloaded {
        let Vault::There(_) = &self.desk.vault else {
            // In this process the dialogs have ended with what failed.
            return Reloaded {
                key,
                stored,
                peer: None,
                dialogs: Vec::new(),
            };
        };
        let version = stored.version;
        let (record, mut rest) = split(&stored.record).unwrap_or_default();
        let peer = take_text(&mut rest).and_then(|name| self.peer_named(name));
        let place = (&*self.bound, self.settings.started);
        let dialogs = self.desk.subscriptions.take(rest, place);
        let record = record.into();
        Reloaded {
            key,
            stored: Stored { version, record },
            peer,
            dialogs: dialogs.unwrap_or_default(),
        }
    }

    fn peer_named(&self, name: &[u8]) -> Option<trust::Peer> {
        let mut peers = self.settings.peers();
        let (id, peer) = peers.find(|(_, peer)| peer.name.as_bytes() == name)?;
        Some(peer.trust(id))
    }
}

/// The record as the service wrote it.
fn unsealed(stored: &Stored) -> Stored {
    let record = split(&stored.record).map(|(record, _)| record.into());
    Stored {
        version: stored.version,
        record: record.unwrap_or_default(),
    }
}

/// What the service wrote, and what follows.
fn split(sealed: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut rest = sealed;
    let length = u32::from_be_bytes(take(&mut rest)?);
    rest.split_at_checked(usize::try_from(length).ok()?)
}

/// The addresses of our listeners by their ids, and the calendar's time at the start.
type Place<'p> = (&'p [SocketAddr], WallTime);

/// Dialogs as they are stored.
impl Subscriptions {
    fn put(&mut self, out: &mut Vec<u8>, ids: &[SubscriptionId], place: Place<'_>) {
        let mut keys: SmallVec<[(table::Key, SubscriptionId); 2]> = SmallVec::new();
        for id in ids {
            if let Some(key) = self.key_of(*id)
                && keys.iter().all(|(known, _)| *known != key)
            {
                keys.push((key, *id));
            }
        }
        let at = out.len();
        out.push(0);
        let mut count = 0;
        for (key, id) in keys {
            count += u8::from(self.put_one(out, key, id, place));
        }
        if let Some(byte) = out.get_mut(at) {
            *byte = count;
        }
    }

    fn put_one(
        &mut self,
        out: &mut Vec<u8>,
        key: table::Key,
        id: SubscriptionId,
        place: Place<'_>,
    ) -> bool {
        let publication = self.publication_of(id);
        match self.get_mut(key) {
            Some(Subscription::Monitor(monitor)) => {
                put_monitor(out, monitor, publication, place);
                true
            }
            Some(Subscription::Agent(agent)) => put_agent(out, agent, place),
            None => false,
        }
    }

    /// The names of the subscriptions whose dialogs there are.
    fn take(&mut self, mut from: &[u8], place: Place<'_>) -> Option<Vec<SubscriptionId>> {
        let from = &mut from;
        let mut ids = Vec::new();
        let [count] = take(from)?;
        for _ in 0..count {
            match take(from)? {
                [0] => ids.extend(self.take_monitor(from, place)?),
                [1] => ids.extend(self.take_agent(from, place)?),
                _ => return None,
            }
        }
        Some(ids)
    }

    fn take_monitor(
        &mut self,
        from: &mut &[u8],
        (listeners, started): Place<'_>,
    ) -> Option<Vec<SubscriptionId>> {
        let id = SubscriptionId(u64::from_be_bytes(take(from)?));
        let dials = str::from_utf8(take_text(from)?).ok()?;
        let [basic] = take(from)?;
        let publication = match take(from)? {
            [0] => None,
            _ => Some((
                u64::from_be_bytes(take(from)?),
                started.moment(WallTime(u64::from_be_bytes(take(from)?))),
            )),
        };
        let notifier = Notifier::take(from, listeners)?;
        let tag = notifier.tag();
        let monitor = Monitor {
            id,
            reserved: notifier.cseq(),
            notifier,
            dials: AddrSpec::new(dials).ok().map(Box::new),
            asked: None,
            basic: if basic == 0 {
                Basic::Closed
            } else {
                Basic::Open
            },
        };
        let is_placed = self.revive(tag, &[id], Subscription::Monitor(monitor));
        if let Some(publication) = publication.filter(|_| is_placed) {
            self.publications.restore(id.0, publication);
        }
        Some(if is_placed { vec![id] } else { Vec::new() })
    }

    fn take_agent(
        &mut self,
        from: &mut &[u8],
        (listeners, _): Place<'_>,
    ) -> Option<Vec<SubscriptionId>> {
        let flow = take_flow(from, listeners)?;
        let [count] = take(from)?;
        let (mut ids, mut forks, mut dialogs) = (Vec::new(), SmallVec::new(), Vec::new());
        for _ in 0..count {
            let id = SubscriptionId(u64::from_be_bytes(take(from)?));
            let publisher = Publisher::of_etag(take_text(from)?);
            dialogs.push(Dialog::take(from, listeners)?);
            ids.push(id);
            forks.push(Forked {
                publisher,
                ..Forked::new(id)
            });
        }
        let subscriber = Subscriber::of_forks(dialogs);
        let tag = subscriber.tag()?;
        let agent = Agent {
            subscriber,
            flow,
            forks,
        };
        let is_placed = self.revive(tag, &ids, Subscription::Agent(Box::new(agent)));
        Some(if is_placed { ids } else { Vec::new() })
    }
}

fn put_monitor(
    out: &mut Vec<u8>,
    monitor: &mut Monitor,
    publication: Option<(u64, Basic, Timestamp)>,
    (listeners, started): Place<'_>,
) {
    let basic = publication.map_or(monitor.basic, |(_, basic, _)| basic);
    out.push(0);
    out.extend_from_slice(&monitor.id.0.to_be_bytes());
    let dials = monitor.dials.as_deref().map(AddrSpec::as_str);
    put_text(out, dials.unwrap_or_default().as_bytes());
    out.push(u8::from(basic == Basic::Open));
    out.push(u8::from(publication.is_some()));
    if let Some((nonce, _, ends)) = publication {
        out.extend_from_slice(&nonce.to_be_bytes());
        out.extend_from_slice(&started.at(ends).0.to_be_bytes());
    }
    monitor.reserved = reserved_from(monitor.notifier.cseq());
    monitor.notifier.put(out, listeners, monitor.reserved);
}

/// Whether anything of it is to be kept: without a dialog there is nothing to go on with.
fn put_agent(out: &mut Vec<u8>, agent: &Agent, (listeners, _): Place<'_>) -> bool {
    let mut bytes = Vec::new();
    let mut count = 0;
    for (number, forked) in (0..u8::MAX).zip(&agent.forks) {
        let mut dialog = Vec::new();
        if agent.subscriber.put(&mut dialog, listeners, Fork(number)) {
            bytes.extend_from_slice(&forked.id.0.to_be_bytes());
            put_text(&mut bytes, forked.publisher.etag());
            bytes.extend_from_slice(&dialog);
            count += 1;
        }
    }
    if count > 0 {
        out.push(1);
        put_flow(out, &agent.flow, listeners);
        out.push(count);
        out.extend_from_slice(&bytes);
    }
    count > 0
}
