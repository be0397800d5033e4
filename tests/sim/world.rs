//! One seed: phones, a network and a worker, until all is quiet.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hasher as _};
use std::net::SocketAddr;
use std::time::Duration;

use campon::random::Rng;
use campon::shard::{Input, Output, Shard};
use campon::sip::flow::{Flow, ListenerId, Transport};
use campon::time::Timestamp;

use super::call::Errand;
use super::network::Conditions;
use super::phone::Phone;
use crate::flow::kit::message::Message;
use crate::flow::kit::subject::{self, DOMAIN, Setup};

/// Calls begin within this time.
const BUSY: Duration = Duration::from_mins(2);

/// By then every call has ended, one that only rings (timer C) included.
const QUIET: Duration = Duration::from_mins(20);

/// By then every registration has ended.
const REGISTRATIONS_END: Duration = Duration::from_hours(3);

/// Phones in a world; the first user has two of them.
const PHONES: u16 = 6;

/// Calls that are made in a world.
const CALLS: u64 = 14;

/// What stands between the phones.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Between {
    /// A worker.
    Campon,
    /// Nothing: the phones call each other's addresses, so that they are tested themselves.
    Nothing,
}

/// Whether the messages are written down.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Shown {
    Nothing,
    Messages,
}

/// What a seed did.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Of each datagram: when, between whom, and its bytes.
    pub(crate) trace: u64,
    /// The same for people, of the calls.
    pub(crate) messages: String,
    /// How often what happened.
    pub(crate) tally: BTreeMap<&'static str, u64>,
    /// What must never happen and did.
    pub(crate) faults: Vec<String>,
}

struct World {
    now: Timestamp,
    rng: Rng,
    conditions: Conditions,
    shard: Option<Shard>,
    phones: Vec<Phone>,
    queue: BTreeMap<(Timestamp, u64), Event>,
    serial: u64,
    trace: DefaultHasher,
    messages: String,
    shown: Shown,
    tally: BTreeMap<&'static str, u64>,
}

enum Event {
    Arrives {
        from: SocketAddr,
        to: SocketAddr,
        bytes: Vec<u8>,
    },
    Registers(usize),
    Dials(usize, Errand),
}

/// Runs one seed.
pub(crate) fn run(seed: u64, between: Between, conditions: Conditions) -> Outcome {
    run_shown(seed, between, conditions, Shown::Nothing)
}

/// Runs one seed, and writes its messages down if asked.
pub(crate) fn run_shown(
    seed: u64,
    between: Between,
    conditions: Conditions,
    shown: Shown,
) -> Outcome {
    let mut world = World::new(seed, between, conditions);
    world.shown = shown;
    world.plan();
    world.run_until(Timestamp::START + BUSY + QUIET);
    let mut faults = world.held(subject::held_by_calls);
    world.run_until(Timestamp::START + BUSY + QUIET + REGISTRATIONS_END);
    faults.extend(world.held(subject::held));
    let mut tally = world.tally;
    for phone in &mut world.phones {
        phone.check_end();
        faults.append(&mut phone.faults);
        for (what, count) in &phone.tally {
            *tally.entry(what).or_default() += count;
        }
    }
    Outcome {
        trace: world.trace.finish(),
        messages: world.messages,
        tally,
        faults,
    }
}

impl World {
    fn new(seed: u64, between: Between, conditions: Conditions) -> Self {
        let mut rng = Rng::from_number(seed);
        let setup = if rng.below(2) == 0 {
            Setup::Standalone
        } else {
            Setup::Unlimited
        };
        let phone = |n: u16| {
            let address = SocketAddr::from(([192, 0, 2, 100], 5060 + n));
            let mut phone = Phone::new(user(n), address, seed ^ u64::from(n) << 32);
            phone.has_forks = between == Between::Campon;
            phone
        };
        Self {
            now: Timestamp::START,
            conditions,
            shard: (between == Between::Campon).then(|| subject::shard(setup, rng.bits())),
            rng,
            phones: (0..PHONES).map(phone).collect(),
            queue: BTreeMap::new(),
            serial: 0,
            trace: DefaultHasher::new(),
            messages: String::new(),
            shown: Shown::Nothing,
            tally: BTreeMap::new(),
        }
    }

    /// Draws who registers and who calls whom, and when.
    fn plan(&mut self) {
        for phone in 0..self.phones.len() {
            let at = Duration::from_millis(self.rng.below(1000));
            self.at(at, Event::Registers(phone));
        }
        let busy_ms = u64::try_from(BUSY.as_millis()).expect("short");
        for _ in 0..CALLS {
            let at = Duration::from_millis(10_000 + self.rng.below(busy_ms - 10_000));
            let (from, errand) = self.errand();
            self.at(at, Event::Dials(from, errand));
        }
    }

    fn errand(&mut self) -> (usize, Errand) {
        let phones = u64::from(PHONES);
        let from = self.rng.below(phones);
        let whom = (from + 1 + self.rng.below(phones - 1)) % phones;
        let to_phone = self.phones[index(whom)].address;
        let patience = match self.rng.below(10) {
            // He waits longer than timer C lets him.
            0 => Duration::from_mins(9),
            // He thinks better of it at once.
            1 => Duration::from_millis(self.rng.below(150)),
            _ => Duration::from_millis(500 + self.rng.below(20_000)),
        };
        let changes = self.rng.below(3);
        let changes = (0..changes).map(|_| Duration::from_millis(self.rng.below(8000)));
        let changes = changes.collect();
        let host = if self.shard.is_some() {
            DOMAIN.to_owned()
        } else {
            to_phone.to_string()
        };
        let errand = Errand {
            uri: format!("sip:{}@{host}", self.phones[index(whom)].user),
            to: if self.shard.is_some() {
                campon()
            } else {
                to_phone
            },
            patience,
            talks: Duration::from_millis(300 + self.rng.below(20_000)),
            changes,
            offers_late: self.rng.below(5) == 0,
        };
        (index(from), errand)
    }

    fn run_until(&mut self, end: Timestamp) {
        while let Some(next) = self.next_instant().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            if let Some((&key, _)) = self.queue.first_key_value()
                && key.0 <= self.now
            {
                let event = self.queue.remove(&key).expect("it is the first");
                self.happen(event);
            } else {
                self.fall_due();
            }
        }
    }

    fn next_instant(&self) -> Option<Timestamp> {
        let queue = self.queue.keys().next().map(|key| key.0);
        let shard = self.shard.as_ref().and_then(Shard::poll_timeout);
        let phones = self.phones.iter().filter_map(Phone::deadline);
        queue.into_iter().chain(shard).chain(phones).min()
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrives { from, to, bytes } => self.arrive(from, to, &bytes),
            Event::Registers(phone) if self.shard.is_some() => {
                self.phones[phone].register(self.now, campon());
                self.send_from(phone);
            }
            Event::Registers(_) => {}
            Event::Dials(phone, errand) => {
                self.phones[phone].dial(self.now, &errand);
                self.send_from(phone);
            }
        }
    }

    fn arrive(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        if to == campon() {
            let flow = Flow {
                transport: Transport::Udp,
                listener: ListenerId(0),
                remote: from,
                connection: None,
            };
            let shard = self.shard.as_mut().expect("only then is it sent to");
            let delay = Duration::ZERO;
            shard.handle_input(self.now, Input::Received { flow, bytes, delay });
            return self.send_from_campon();
        }
        let found = self.phones.iter().position(|phone| phone.address == to);
        let phone = found.unwrap_or_else(|| panic!("nobody is at {to}"));
        self.phones[phone].handle_message(self.now, from, bytes);
        self.send_from(phone);
    }

    fn fall_due(&mut self) {
        if let Some(shard) = &mut self.shard
            && shard.poll_timeout().is_some_and(|due| due <= self.now)
        {
            shard.handle_timeout(self.now);
            self.send_from_campon();
        }
        for phone in 0..self.phones.len() {
            let deadline = self.phones[phone].deadline();
            if deadline.is_some_and(|due| due <= self.now) {
                self.phones[phone].handle_timeout(self.now);
                self.send_from(phone);
            }
        }
    }

    fn send_from(&mut self, phone: usize) {
        let from = self.phones[phone].address;
        for (to, bytes) in std::mem::take(&mut self.phones[phone].out) {
            self.send(from, to, &bytes);
        }
    }

    fn send_from_campon(&mut self) {
        let mut sent = Vec::new();
        let shard = self.shard.as_mut().expect("it has just acted");
        while let Some(output) = shard.poll_output() {
            let Output::Send { flow, bytes, .. } = output;
            sent.push((flow.remote, bytes.to_vec()));
        }
        for (to, bytes) in sent {
            *self.tally.entry("sent by campon").or_default() += 1;
            self.send(campon(), to, &bytes);
        }
    }

    fn send(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
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
            let since_start = self.now.since(Timestamp::START);
            let bytes = bytes.to_vec();
            self.at(since_start + after, Event::Arrives { from, to, bytes });
        }
    }

    fn note(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8], fate: &str) {
        if self.shown == Shown::Nothing {
            return;
        }
        let message = Message::read(bytes, self.now, None).expect("it was written whole");
        let time = self.now.since(Timestamp::START).as_secs_f64();
        let (start, id, cseq) = (message.start(), message.call_id(), message.header("CSeq"));
        let _ = writeln!(
            self.messages,
            "{time:10.3} {from} → {to} {start} [{id}, {cseq}] {fate}"
        );
    }

    fn at(&mut self, since_start: Duration, event: Event) {
        self.serial += 1;
        let key = (Timestamp::START + since_start, self.serial);
        self.queue.insert(key, event);
    }

    fn held(&self, of: fn(&campon::shard::Report) -> Vec<(&'static str, usize)>) -> Vec<String> {
        let report = self.shard.as_ref().map(|shard| shard.report(self.now));
        let held = report.map(|report| of(&report)).unwrap_or_default();
        let left = held.into_iter();
        left.map(|(table, len)| format!("campon still holds {len} {table}"))
            .collect()
    }
}

/// The first two phones are one user's.
fn user(phone: u16) -> String {
    format!("user{}", phone.saturating_sub(1))
}

fn campon() -> SocketAddr {
    subject::listeners()[0]
}

fn index(number: u64) -> usize {
    usize::try_from(number).expect("few phones")
}
