//! Keeps the NATs in front of phones open, and finds out which phones have gone.
//!
//! Spec: RFC 4787 §4.3; RFC 5626 §4.4 (what a keep-alive is for); RFC 3261 §11 (OPTIONS).
//!
//! Only flows over UDP are kept alive here: a connection keeps itself.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use crate::location::Alias;
use crate::shard::Shard;
use crate::shard::settings::{Edge as Policy, KeepAlive as How};
use crate::sip::flow::Transport;
use crate::sip::{Method, Name, Writer};
use crate::table::{Key, Table};
use crate::time::Timestamp;
use crate::transaction::User;
use crate::transaction::branch::hex;
use crate::transaction::clients::Outgoing;
use crate::transaction::outbox::SendId;

/// The part of a transaction's user that says: a keep-alive.
const PART: u16 = u16::from_be_bytes([9, 0]);
/// After so many requests without an answer, a phone that used to answer has gone.
const MISSED_MAX: u8 = 2;

/// The phones that are kept alive.
#[derive(Debug)]
pub(super) struct KeepAlive {
    how: How,
    every: Duration,
    phones: Table<Phone>,
    by_alias: HashMap<Alias, Key>,
    due: BTreeSet<(Timestamp, Key)>,
}

#[derive(Debug)]
struct Phone {
    alias: Alias,
    due: Timestamp,
    habit: Habit,
    missed: u8,
    /// Whether an OPTIONS of ours waits for its answer.
    is_asked: bool,
}

/// Whether a phone is one that answers OPTIONS at all.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Habit {
    Answers,
    Unknown,
}

impl KeepAlive {
    pub(super) fn new(policy: &Policy, phones_max: usize) -> Self {
        Self {
            how: policy.keep_alive,
            every: policy.keep_alive_every,
            phones: Table::new(phones_max),
            by_alias: HashMap::new(),
            due: BTreeSet::new(),
        }
    }

    /// Phones that are there already are kept alive by these settings from their next turn on; where
    /// nothing was sent before, from their next registration on.
    pub(super) fn set_settings(&mut self, policy: &Policy) {
        self.how = policy.keep_alive;
        self.every = policy.keep_alive_every;
    }

    pub(super) fn poll_timeout(&self) -> Option<Timestamp> {
        self.due.first().map(|(due, _)| *due)
    }

    /// A phone has registered: from then on it is kept alive, for as long as it is there.
    pub(super) fn note(&mut self, now: Timestamp, alias: Alias) {
        if self.how == How::Off {
            return;
        }
        if let Some(phone) = self.by_alias.get(&alias).copied() {
            if let Some(phone) = self.phones.get_mut(phone) {
                phone.missed = 0;
            }
            return;
        }
        let due = now + self.first_after(alias);
        let phone = Phone {
            alias,
            due,
            habit: Habit::Unknown,
            missed: 0,
            is_asked: false,
        };
        if let Ok(key) = self.phones.insert(phone) {
            self.by_alias.insert(alias, key);
            self.due.insert((due, key));
        }
    }

    /// Phones that came at the same time, as after a restart, are not all kept alive at once.
    fn first_after(&self, alias: Alias) -> Duration {
        let [.., spread] = alias.to_bytes();
        self.every * (256 - u32::from(spread)) / 256
    }

    fn forget(&mut self, key: Key) {
        if let Some(phone) = self.phones.remove(key) {
            self.by_alias.remove(&phone.alias);
            self.due.remove(&(phone.due, key));
        }
    }

    /// The next phone that is due, with the time after it set.
    fn take_due(&mut self, now: Timestamp) -> Option<(Key, Alias)> {
        let (due, key) = *self.due.first().filter(|(due, _)| *due <= now)?;
        self.due.remove(&(due, key));
        let phone = self.phones.get_mut(key)?;
        phone.due = now + self.every;
        self.due.insert((phone.due, key));
        Some((key, phone.alias))
    }
}

/// Whether a transaction belongs to a keep-alive.
pub(super) fn is_keep_alive(user: User) -> bool {
    user.part == PART
}

impl Shard {
    /// Sends what is due to the phones that are there.
    pub(super) fn keep_alive(&mut self, now: Timestamp) {
        while let Some(edge) = self.edge.as_deref_mut()
            && let Some((key, alias)) = edge.keep_alive.take_due(now)
        {
            let target = edge.relay.target(now, &self.registrar, alias);
            let target = target.filter(|target| target.flow.transport == Transport::Udp);
            let Some(target) = target else {
                edge.keep_alive.forget(key);
                continue;
            };
            match edge.keep_alive.how {
                How::Options => {}
                How::Crlf => {
                    let outbox = self.layer.outbox();
                    outbox.send(target.flow, b"\r\n\r\n", SendId::default());
                    continue;
                }
                How::Off => {
                    edge.keep_alive.forget(key);
                    continue;
                }
            }
            let (flow, uri) = (target.flow, Box::<[u8]>::from(target.uri));
            let phone = edge.keep_alive.phones.get_mut(key);
            if phone.is_some_and(|phone| !std::mem::replace(&mut phone.is_asked, true)) {
                self.send_options(now, key, flow, &uri);
            }
        }
    }

    fn send_options(&mut self, now: Timestamp, key: Key, flow: crate::sip::Flow, uri: &[u8]) {
        let ids = [0; 3].map(|_: u8| hex(self.rng.bits()));
        let [call, host, tag] = &ids;
        self.scratch.clear();
        let mut writer = Writer::fragment(&mut self.scratch);
        let own = self.layer.sent_by(&flow);
        writer
            .header(Name::MaxForwards, b"70")
            .header_parts(Name::From, &[b"<sip:", own, b">;tag=", tag])
            .header_parts(Name::To, &[b"<", uri, b">"])
            .header_parts(Name::CallId, &[call, host])
            .header(Name::CSeq, b"1 OPTIONS")
            .header(Name::Contact, self.contacts.of(&flow));
        if writer.finish(b"").is_err() {
            return;
        }
        let outgoing = Outgoing {
            method: Method::Options,
            uri,
            flow,
            user: Some(User {
                call: key,
                part: PART,
            }),
            destination: 0,
            fields: &self.scratch,
        };
        if self.layer.request(now, &outgoing).is_err() {
            self.on_phone_asked(key, false);
        }
    }

    /// Whatever a phone answers, it is there; one that used to answer and does not has gone.
    pub(super) fn on_phone_asked(&mut self, key: Key, has_answered: bool) {
        let Some(edge) = self.edge.as_deref_mut() else {
            return;
        };
        let Some(phone) = edge.keep_alive.phones.get_mut(key) else {
            return;
        };
        phone.is_asked = false;
        if has_answered {
            (phone.habit, phone.missed) = (Habit::Answers, 0);
        } else {
            phone.missed = phone.missed.saturating_add(1);
        }
        let is_gone = phone.habit == Habit::Answers && phone.missed >= MISSED_MAX;
        let alias = phone.alias;
        if edge.relay.note_presence(alias, !is_gone) {
            if is_gone {
                self.counters.phones_silent += 1;
            }
            tracing::info!(%alias, answers = !is_gone, "a phone has changed its habits");
        }
    }
}
