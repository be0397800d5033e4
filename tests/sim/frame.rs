//! What every simulation stands on: one clock, one worker, and datagrams under way.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hasher as _};
use std::net::SocketAddr;
use std::time::Duration;

use campon::random::Rng;
use campon::shard::{Input, Output, Report, Shard};
use campon::sip::flow::{Flow, ListenerId, Transport};
use campon::time::Timestamp;

use super::network::Conditions;
use super::transaction::Packet;
use crate::flow::kit::message::Message;
use crate::flow::kit::subject;

/// Whether the messages are written down.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Shown {
    Nothing,
    Messages,
}

/// The clock, the worker and the network; `P` is what the world has planned.
pub(crate) struct Frame<P> {
    pub(crate) now: Timestamp,
    pub(crate) rng: Rng,
    pub(crate) shard: Option<Shard>,
    /// How often what happened.
    pub(crate) tally: BTreeMap<&'static str, u64>,
    /// The datagrams, for people.
    pub(crate) messages: String,
    conditions: Conditions,
    shown: Shown,
    queue: BTreeMap<(Timestamp, u64), Event<P>>,
    serial: u64,
    trace: DefaultHasher,
}

/// What happens at its time.
pub(crate) enum Event<P> {
    /// A datagram.
    Arrives {
        from: SocketAddr,
        to: SocketAddr,
        bytes: Vec<u8>,
    },
    /// What was planned.
    Planned(P),
}

impl<P> Frame<P> {
    pub(crate) fn new(rng: Rng, conditions: Conditions, shard: Option<Shard>) -> Self {
        Self {
            now: Timestamp::START,
            rng,
            shard,
            tally: BTreeMap::new(),
            messages: String::new(),
            conditions,
            shown: Shown::Nothing,
            queue: BTreeMap::new(),
            serial: 0,
            trace: DefaultHasher::new(),
        }
    }

    pub(crate) fn show(&mut self, shown: Shown) {
        self.shown = shown;
    }

    /// Plans something.
    pub(crate) fn at(&mut self, since_start: Duration, what: P) {
        self.push(Timestamp::START + since_start, Event::Planned(what));
    }

    /// When the queue or the worker next have something.
    pub(crate) fn next_instant(&self) -> Option<Timestamp> {
        let queue = self.queue.keys().next().map(|key| key.0);
        let shard = self.shard.as_ref().and_then(Shard::poll_timeout);
        queue.into_iter().chain(shard).min()
    }

    /// The next event that is due.
    pub(crate) fn take_due(&mut self) -> Option<Event<P>> {
        let first = self.queue.first_entry()?;
        (first.key().0 <= self.now).then(|| first.remove())
    }

    /// The worker takes a datagram in: what it sends.
    pub(crate) fn receive(&mut self, from: SocketAddr, bytes: &[u8]) -> Vec<Packet> {
        let flow = Flow {
            transport: Transport::Udp,
            listener: ListenerId(0),
            remote: from,
            connection: None,
        };
        let shard = self.shard.as_mut().expect("only then is it sent to");
        let delay = Duration::ZERO;
        shard.handle_input(self.now, Input::Received { flow, bytes, delay });
        self.sent_by_campon()
    }

    /// The worker acts on what is due: what it sends.
    pub(crate) fn wake_campon(&mut self) -> Vec<Packet> {
        let now = self.now;
        let is_due = |shard: &&mut Shard| shard.poll_timeout().is_some_and(|due| due <= now);
        let Some(shard) = self.shard.as_mut().filter(is_due) else {
            return Vec::new();
        };
        shard.handle_timeout(now);
        self.sent_by_campon()
    }

    /// A datagram goes out, and may arrive.
    pub(crate) fn send(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        self.trace.write_u64(self.now.as_micros());
        self.trace.write(format!("{from}>{to}").as_bytes());
        self.trace.write(bytes);
        let arrivals = self.conditions.arrivals(&mut self.rng);
        let name = if arrivals.is_empty() {
            "lost"
        } else {
            "carried"
        };
        *self.tally.entry(name).or_default() += 1;
        self.note(from, to, bytes, name);
        for after in arrivals {
            let bytes = bytes.to_vec();
            self.push(self.now + after, Event::Arrives { from, to, bytes });
        }
    }

    /// What the tables of the worker still hold.
    pub(crate) fn held(&self, of: fn(&Report) -> Vec<(&'static str, usize)>) -> Vec<String> {
        let report = self.shard.as_ref().map(|shard| shard.report(self.now));
        let held = report.map(|report| of(&report)).unwrap_or_default();
        let left = held.into_iter();
        left.map(|(table, len)| format!("campon still holds {len} {table}"))
            .collect()
    }

    /// The same seed leaves the same one.
    pub(crate) fn trace(&self) -> u64 {
        self.trace.finish()
    }

    fn sent_by_campon(&mut self) -> Vec<Packet> {
        let shard = self.shard.as_mut().expect("it has just acted");
        let mut sent = Vec::new();
        while let Some(output) = shard.poll_output() {
            let Output::Send { flow, bytes, .. } = output else {
                continue;
            };
            sent.push((flow.remote, bytes.to_vec()));
        }
        *self.tally.entry("sent by campon").or_default() += sent.len() as u64;
        sent
    }

    fn note(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8], fate: &str) {
        if self.shown == Shown::Nothing {
            return;
        }
        let message = Message::read(bytes, self.now, None).expect("it was written whole");
        let time = self.now.since(Timestamp::START).as_secs_f64();
        let (start, id, cseq) = (message.start(), message.call_id(), message.header("CSeq"));
        let state = message.find("Subscription-State").unwrap_or_default();
        let body = String::from_utf8_lossy(message.body());
        let said = ["cc-state", "<basic"];
        let said = body
            .lines()
            .find(|line| said.iter().any(|what| line.contains(what)));
        let said = said.unwrap_or_default().trim();
        let _ = writeln!(
            self.messages,
            "{time:10.3} {from} → {to} {start} [{id}, {cseq}] {fate} {state} {said}"
        );
    }

    fn push(&mut self, at: Timestamp, event: Event<P>) {
        self.serial += 1;
        self.queue.insert((at, self.serial), event);
    }
}

/// Where campon listens.
pub(crate) fn campon() -> SocketAddr {
    subject::listeners()[0]
}
