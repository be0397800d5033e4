//! One seed: phones, a network and a worker, until all is quiet.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use campon::random::Rng;
use campon::time::Timestamp;

use super::call::Errand;
use super::frame::{Event, Frame, Shown, campon};
use super::network::Conditions;
use super::phone::Phone;
use super::transaction::Packet;
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
    frame: Frame<Plan>,
    phones: Vec<Phone>,
}

enum Plan {
    Registers(usize),
    Dials(usize, Errand),
}

/// Runs one seed.
pub(crate) fn run(seed: u64, between: Between, conditions: Conditions) -> Outcome {
    run_shown(seed, between, conditions, Shown::Trace)
}

/// Runs one seed, and writes its messages down if asked.
pub(crate) fn run_shown(
    seed: u64,
    between: Between,
    conditions: Conditions,
    shown: Shown,
) -> Outcome {
    let mut world = World::new(seed, between, conditions);
    world.frame.show(shown);
    world.plan();
    world.run_until(Timestamp::START + BUSY + QUIET);
    let mut faults = world.frame.held(subject::held_by_calls, 0);
    world.run_until(Timestamp::START + BUSY + QUIET + REGISTRATIONS_END);
    faults.extend(world.frame.held(subject::held, 0));
    let mut tally = std::mem::take(&mut world.frame.tally);
    for phone in &mut world.phones {
        phone.check_end();
        faults.append(&mut phone.faults);
        for (what, count) in &phone.tally {
            *tally.entry(what).or_default() += count;
        }
    }
    Outcome {
        trace: world.frame.trace(),
        messages: world.frame.messages,
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
        let shard = (between == Between::Campon).then(|| subject::shard(setup, rng.bits()));
        Self {
            frame: Frame::new(rng, conditions, shard),
            phones: (0..PHONES).map(phone).collect(),
        }
    }

    /// Draws who registers and who calls whom, and when.
    fn plan(&mut self) {
        for phone in 0..self.phones.len() {
            let at = Duration::from_millis(self.frame.rng.below(1000));
            self.frame.at(at, Plan::Registers(phone));
        }
        let busy_ms = u64::try_from(BUSY.as_millis()).expect("short");
        for _ in 0..CALLS {
            let at = Duration::from_millis(10_000 + self.frame.rng.below(busy_ms - 10_000));
            let (from, errand) = self.errand();
            self.frame.at(at, Plan::Dials(from, errand));
        }
    }

    fn errand(&mut self) -> (usize, Errand) {
        let phones = u64::from(PHONES);
        let from = self.frame.rng.below(phones);
        let whom = (from + 1 + self.frame.rng.below(phones - 1)) % phones;
        let to_phone = self.phones[index(whom)].address;
        let patience = match self.frame.rng.below(10) {
            // He waits longer than timer C lets him.
            0 => Duration::from_mins(9),
            // He thinks better of it at once.
            1 => Duration::from_millis(self.frame.rng.below(150)),
            _ => Duration::from_millis(500 + self.frame.rng.below(20_000)),
        };
        let changes = self.frame.rng.below(3);
        let changes = (0..changes).map(|_| Duration::from_millis(self.frame.rng.below(8000)));
        let changes = changes.collect();
        let host = if self.frame.shard.is_some() {
            DOMAIN.to_owned()
        } else {
            to_phone.to_string()
        };
        let errand = Errand {
            uri: format!("sip:{}@{host}", self.phones[index(whom)].user),
            to: if self.frame.shard.is_some() {
                campon()
            } else {
                to_phone
            },
            patience,
            talks: Duration::from_millis(300 + self.frame.rng.below(20_000)),
            changes,
            offers_late: self.frame.rng.below(5) == 0,
            lines: "",
        };
        (index(from), errand)
    }

    fn run_until(&mut self, end: Timestamp) {
        while let Some(next) = self.next_instant().filter(|next| *next <= end) {
            self.frame.now = self.frame.now.max(next);
            match self.frame.take_due() {
                Some(event) => self.happen(event),
                None => self.fall_due(),
            }
        }
    }

    fn next_instant(&self) -> Option<Timestamp> {
        let phones = self.phones.iter().filter_map(Phone::deadline);
        self.frame.next_instant().into_iter().chain(phones).min()
    }

    fn happen(&mut self, event: Event<Plan>) {
        let now = self.frame.now;
        match event {
            Event::Arrives { from, to, message } => self.arrive(from, to, message),
            Event::Planned(Plan::Registers(phone)) if self.frame.shard.is_some() => {
                self.phones[phone].register(now, campon());
                self.send_from(phone);
            }
            Event::Planned(Plan::Registers(_)) => {}
            Event::Planned(Plan::Dials(phone, errand)) => {
                self.phones[phone].dial(now, &errand);
                self.send_from(phone);
            }
        }
    }

    fn arrive(&mut self, from: SocketAddr, to: SocketAddr, message: Message) {
        if to == campon() {
            let sent = self.frame.receive(from, &message);
            return self.send_from_campon(sent);
        }
        let found = self.phones.iter().position(|phone| phone.address == to);
        let phone = found.unwrap_or_else(|| panic!("nobody is at {to}"));
        self.phones[phone].handle_message(self.frame.now, from, message);
        self.send_from(phone);
    }

    fn fall_due(&mut self) {
        let sent = self.frame.wake_campon();
        self.send_from_campon(sent);
        for phone in 0..self.phones.len() {
            let deadline = self.phones[phone].deadline();
            if deadline.is_some_and(|due| due <= self.frame.now) {
                self.phones[phone].handle_timeout(self.frame.now);
                self.send_from(phone);
            }
        }
    }

    fn send_from(&mut self, phone: usize) {
        let from = self.phones[phone].address;
        for (to, message) in std::mem::take(&mut self.phones[phone].out) {
            self.frame.send(from, to, &message);
        }
    }

    fn send_from_campon(&mut self, sent: Vec<Packet>) {
        for (to, message) in sent {
            self.frame.send(campon(), to, &message);
        }
    }
}

/// The first two phones are one user's.
fn user(phone: u16) -> String {
    format!("user{}", phone.saturating_sub(1))
}

fn index(number: u64) -> usize {
    usize::try_from(number).expect("few phones")
}
