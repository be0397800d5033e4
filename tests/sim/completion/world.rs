//! One seed: callers, callees, an agent and a monitor elsewhere, and a worker between them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use campon::cc::trust::Dials;
use campon::completion::{Codes, RawCodes, WallTime};
use campon::random::Rng;
use campon::shard::settings::Peer;
use campon::shard::{Listener, Settings, Shard};
use campon::sip::flow::Transport;
use campon::time::Timestamp;

use super::agent::{self, Agent};
use super::monitor::Monitor;
use super::user::{self, User, errand, index};
use super::watch::Watch;
use crate::flow::kit::message::Message;
use crate::flow::kit::subject::{self, DOMAIN};
use crate::sim::frame::{Crashes, Event, Frame, Shown, campon, is_recall};
use crate::sim::network::Conditions;
use crate::sim::phone::{Network, Phone};
use crate::sim::transaction::Packet;

/// Calls begin within this time.
const BUSY: Duration = Duration::from_mins(3);

/// By then every call and every completion has ended.
const QUIET: Duration = Duration::from_mins(30);

/// By then every registration has ended.
const REGISTRATIONS_END: Duration = Duration::from_hours(3);

/// The users: two who call, two who are called.
const USERS: [&str; 4] = ["alice", "anna", "bob", "ben"];

/// The peer, and the callee and the caller there.
const PEER: &str = "198.51.100.7";
const FAR: &str = "fred";
const AGENT: &str = "rita";

/// Calls that are made in a world, those that complete others apart.
const CALLS: u64 = 40;

/// How long the callee's free lines are left to himself.
pub(super) const GUARD: Duration = Duration::from_millis(300);
/// How long a recall may take without a CC call.
pub(super) const RECALL: Duration = Duration::from_secs(4);
/// How long a CC call may take.
pub(super) const CC_CALL_MAX: Duration = Duration::from_secs(20);
/// How long a caller is rung.
pub(super) const RING: Duration = Duration::from_secs(3);
/// In which a subscription gets at most three NOTIFYs.
pub(super) const NOTIFY_WINDOW: Duration = Duration::from_secs(3);
/// How long a failed call may be completed.
pub(super) const OFFER_WINDOW: Duration = Duration::from_secs(15);

/// What a seed did.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Of each datagram: when, between whom, and its bytes.
    pub(crate) trace: u64,
    /// The same for people.
    pub(crate) messages: String,
    /// How often what happened.
    pub(crate) tally: BTreeMap<&'static str, u64>,
    /// Which event met which stage of a request, and how often.
    pub(crate) pairs: BTreeMap<(&'static str, &'static str), u64>,
    /// What must never happen and did.
    pub(crate) faults: Vec<String>,
}

struct World {
    frame: Frame<Plan>,
    users: Vec<User>,
    agent: Agent,
    monitor: Monitor,
    watch: Watch,
    /// Of 1000 seconds, in so many somebody is cut off.
    cut: u64,
    /// When campon will have been started anew.
    down_until: Option<Timestamp>,
}

enum Plan {
    User(usize, user::Deed),
    Agent(agent::Deed),
    CutsOff(usize),
}

/// Runs one seed.
pub(crate) fn run(seed: u64, shown: Shown) -> Outcome {
    let mut world = World::new(seed);
    world.frame.show(shown);
    world.plan();
    world.plan_cuts(world.cut);
    world.run_until(Timestamp::START + BUSY + QUIET);
    let mut faults = world.frame.held(subject::held_by_calls);
    world.run_until(Timestamp::START + BUSY + QUIET + REGISTRATIONS_END);
    faults.extend(world.frame.held(subject::held));
    faults.extend(world.unsettled());
    faults.append(&mut world.watch.faults);
    let mut tally = std::mem::take(&mut world.frame.tally);
    for (name, count) in &world.frame.counted() {
        if name.starts_with("completions_") {
            tally.insert(name, *count);
        }
    }
    tally.insert("CC calls answered", world.watch.talks);
    tally.insert("turns contested", world.watch.contested());
    let pairs = std::mem::take(&mut world.watch.pairs);
    let users = world.users.iter_mut().map(|user| &mut user.phone);
    for phone in users.chain([&mut world.agent.phone, &mut world.monitor.phone]) {
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
        pairs,
        faults,
    }
}

impl World {
    /// Each accepted completion ends in one of the four ways, and nothing is kept of it; nothing
    /// panicked.
    fn unsettled(&self) -> Vec<String> {
        let counted = self.frame.counted();
        let count = |name: &str| {
            let found = counted.get(name);
            *found.unwrap_or_else(|| panic!("no counter {name}"))
        };
        let ends = ["cancelled", "completed", "expired", "refused"];
        let ended: u64 = ends
            .map(|end| count(&format!("completions_{end}")))
            .iter()
            .sum();
        let accepted = count("completions_accepted");
        let panics = count("panics");
        let kept = self.frame.vault.len();
        // A process that ends between a change and its count counts it not, or its heir does again.
        let has_crashed = self.frame.tally.contains_key("crashes");
        let faults = [
            (
                accepted != ended && !has_crashed,
                format!("{accepted} accepted, {ended} ended"),
            ),
            (kept > 0, format!("{kept} records are left")),
            (panics > 0, format!("{panics} panics")),
        ];
        let found = faults.into_iter().filter(|(is_true, _)| *is_true);
        found.map(|(_, what)| what).collect()
    }

    fn new(seed: u64) -> Self {
        let mut rng = Rng::from_number(seed);
        let (wishes, bits) = (rng.bits(), rng.bits());
        let start = move |started: WallTime| {
            let mut settings = settings(&mut Rng::from_number(wishes));
            settings.started = started;
            Shard::new(settings, Rng::from_number(bits ^ started.0))
        };
        let is_upstream = settings(&mut Rng::from_number(wishes)).upstream.is_some();
        let mut shard = start(subject::STARTED);
        shard.take_over(Timestamp::START, Vec::new());
        let conditions = match rng.below(3) {
            0 => Conditions::worst(&mut rng),
            _ => Conditions::BAD,
        };
        // Two worlds in three crash, of whatever network.
        let crashes = rng.below(3) > 0;
        let network = if conditions.stale > 0 || crashes {
            Network::Haunts
        } else if conditions.is_hopeless() {
            Network::Loses
        } else {
            Network::Mends
        };
        let phone = |user: &str, address: String, n: u64| {
            let address = address.parse().expect("an address");
            let mut phone = Phone::new(user.to_owned(), address, seed ^ (n << 32));
            phone.network = network;
            phone
        };
        let patience = match seed % 4 {
            0 => user::Patience::Some,
            _ => user::Patience::None,
        };
        let user = |(n, name): (usize, &&str)| {
            let phone = phone(name, format!("192.0.2.100:{}", 5060 + n), n as u64);
            User::new(phone, patience)
        };
        let users: Vec<_> = USERS.iter().enumerate().map(user).collect();
        let mut agent = phone(AGENT, format!("{PEER}:5080"), 10);
        PEER.clone_into(&mut agent.domain);
        let mut monitor = phone(FAR, format!("{PEER}:5060"), 11);
        PEER.clone_into(&mut monitor.domain);
        let mut frame = Frame::new(rng, conditions, Some(shard));
        let rng = &mut frame.rng;
        let crash = Crashes {
            start: Box::new(start),
            odds: 20 + rng.below(150),
            left: u32::try_from(1 + rng.below(4)).expect("few"),
            is_ahead: Duration::ZERO,
            eager: 0,
            down_until: None,
            counted: BTreeMap::new(),
        };
        let cc_uri = ["queue-of-fred", FAR][index(rng.below(2))];
        let phones = users
            .iter()
            .map(|user| (user.phone.address, user.phone.user.clone()));
        if crashes {
            frame.may_crash(crash);
        }
        Self {
            watch: Watch::new(phones.collect(), is_upstream),
            frame,
            down_until: None,
            cut: conditions.cut,
            users,
            agent: Agent::new(agent),
            monitor: Monitor::new(monitor, cc_uri, Timestamp::START + BUSY),
        }
    }

    /// Draws who registers and who calls whom, and when.
    fn plan(&mut self) {
        for user in 0..self.users.len() {
            let at = Duration::from_millis(self.frame.rng.below(1000));
            self.frame.at(at, Plan::User(user, user::Deed::Returns));
        }
        let busy_ms = u64::try_from(BUSY.as_millis()).expect("short");
        for _ in 0..CALLS {
            let at = Duration::from_millis(10_000 + self.frame.rng.below(busy_ms - 10_000));
            let plan = self.call();
            self.frame.at(at, plan);
        }
        for user in 0..self.users.len() {
            if self.frame.rng.below(2) == 0 {
                let at = Duration::from_millis(10_000 + self.frame.rng.below(busy_ms - 10_000));
                self.frame.at(at, Plan::User(user, user::Deed::Leaves));
            }
        }
    }

    /// Draws when who is cut off, as often as the conditions say.
    fn plan_cuts(&mut self, cut: u64) {
        for second in 0..BUSY.as_secs() {
            if self.frame.rng.below(1000) < cut {
                let whom = index(self.frame.rng.below(USERS.len() as u64 + 2));
                self.frame
                    .at(Duration::from_secs(second), Plan::CutsOff(whom));
            }
        }
    }

    fn cut_off(&mut self, whom: usize) {
        let length = Duration::from_millis(500 + self.frame.rng.below(45_000));
        let phone = match whom.checked_sub(self.users.len()) {
            None => &self.users[whom].phone,
            Some(0) => &self.agent.phone,
            Some(_) => &self.monitor.phone,
        };
        let address = phone.address;
        self.frame.cut_off(address, length);
    }

    fn call(&mut self) -> Plan {
        let rng = &mut self.frame.rng;
        let patience = 1_000 + rng.below(9_000);
        let talk = 500 + rng.below(15_000);
        let to = |name: &str, host: &str| errand(format!("sip:{name}@{host}"), patience, talk);
        let callee = USERS[2 + index(rng.below(2))];
        match rng.below(20) {
            0..6 => Plan::Agent(agent::Deed::Dials(to(callee, DOMAIN))),
            6..9 => Plan::User(index(rng.below(2)), user::Deed::Dials(to(FAR, PEER))),
            9..14 => Plan::User(index(rng.below(2)), user::Deed::Dials(to(callee, DOMAIN))),
            14..19 => {
                // The callees make each other busy.
                let from = index(rng.below(2));
                let errand = to(USERS[3 - from], DOMAIN);
                Plan::User(2 + from, user::Deed::Dials(errand))
            }
            _ => {
                let callee = USERS[index(rng.below(2))];
                Plan::Agent(agent::Deed::Dials(to(callee, DOMAIN)))
            }
        }
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
        let users = self.users.iter().flat_map(|user| {
            let deeds = user.agenda.iter().map(|(at, _)| *at);
            deeds.chain(user.phone.deadline())
        });
        let agent = self.agent.agenda.iter().map(|(at, _)| *at);
        let monitor = self.monitor.agenda.iter().map(|(at, _)| *at);
        let all = users.chain(agent).chain(self.agent.phone.deadline());
        let all = all.chain(monitor).chain(self.monitor.phone.deadline());
        all.chain(self.frame.next_instant()).min()
    }

    fn happen(&mut self, event: Event<Plan>) {
        let now = self.frame.now;
        match event {
            Event::Arrives { from, to, bytes } => self.arrive(from, to, &bytes),
            Event::Planned(Plan::User(user, deed)) => {
                self.users[user].act(now, deed);
                self.send_all();
            }
            Event::Planned(Plan::CutsOff(whom)) => self.cut_off(whom),
            Event::Planned(Plan::Agent(deed)) => {
                self.agent.act(now, deed);
                self.send_all();
            }
        }
    }

    fn arrive(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let now = self.frame.now;
        if to == campon() {
            let message = Message::read(bytes, now, None).expect("phones write whole messages");
            if self.frame.shard.is_some() {
                self.watch.on_input(now, from, &message);
            }
            let sent = self.frame.receive(from, bytes);
            return self.send_from_campon(sent);
        }
        if let Some(user) = self.users.iter_mut().find(|user| user.phone.address == to) {
            user.phone.handle_message(now, from, bytes);
            user.react(now);
        } else if self.agent.phone.address == to {
            self.agent.phone.handle_message(now, from, bytes);
            self.agent.react(now);
        } else {
            assert_eq!(self.monitor.phone.address, to, "nobody is there");
            self.monitor.phone.handle_message(now, from, bytes);
            self.monitor.react(now);
        }
        self.send_all();
    }

    fn fall_due(&mut self) {
        let now = self.frame.now;
        self.watch.on_time(now);
        let sent = self.frame.wake_campon();
        if let Some(jump) = self.frame.jump.take() {
            self.watch.on_jump(jump);
        }
        self.send_from_campon(sent);
        for user in &mut self.users {
            while let Some(deed) = take_due(&mut user.agenda, now) {
                user.act(now, deed);
            }
            user.phone.handle_timeout(now);
        }
        while let Some(deed) = take_due(&mut self.agent.agenda, now) {
            self.agent.act(now, deed);
        }
        self.agent.phone.handle_timeout(now);
        while let Some(moves_on) = take_due(&mut self.monitor.agenda, now) {
            self.monitor.act(now, moves_on);
        }
        self.monitor.phone.handle_timeout(now);
        self.send_all();
    }

    fn send_all(&mut self) {
        let users = self.users.iter_mut().map(|user| &mut user.phone);
        for phone in users.chain([&mut self.agent.phone, &mut self.monitor.phone]) {
            for (to, bytes) in std::mem::take(&mut phone.out) {
                self.frame.send(phone.address, to, &bytes);
            }
        }
    }

    fn send_from_campon(&mut self, sent: Vec<Packet>) {
        let now = self.frame.now;
        for (to, bytes) in sent {
            let message = Message::read(&bytes, now, None);
            if is_recall(&bytes)
                && let Some(kept) = self.frame.kept.pop_front()
            {
                self.watch.note_kept(&kept);
            }
            match message {
                Ok(message) => self.watch.on_output(now, to, &message),
                Err(why) => self.watch.faults.push(why),
            }
            self.frame.send(campon(), to, &bytes);
        }
        let down_until = self.frame.down_until();
        if down_until.is_some() && down_until != self.down_until {
            self.on_crash();
        }
        self.down_until = down_until;
    }

    /// The phones notice sooner or later, and register again.
    fn on_crash(&mut self) {
        let now = self.frame.now;
        self.watch.on_crash(now, self.frame.last_removal);
        let back = self.frame.down_until().unwrap_or(now);
        for user in 0..self.users.len() {
            // As if he was still known, or when his phone notices.
            let latest = [20, 12_000, 12_000][index(self.frame.rng.below(3))];
            let after = Duration::from_millis(self.frame.rng.below(latest));
            let at = (back + after).since(Timestamp::START);
            self.frame.at(at, Plan::User(user, user::Deed::ComesBackTo));
        }
    }
}

fn take_due<D>(agenda: &mut Vec<(Timestamp, D)>, now: Timestamp) -> Option<D> {
    let due = agenda.iter().position(|(at, _)| *at <= now)?;
    Some(agenda.remove(due).1)
}

/// A worker whose times are so short that a seed sees several completions; its peer is the
/// upstream in one half of the worlds.
fn settings(rng: &mut Rng) -> Settings {
    let listeners = subject::listeners().map(Listener::at);
    let address = format!("{PEER}:5060").parse().expect("an address");
    let mut peer = Peer::new("office", Transport::Udp, address);
    if rng.below(2) == 0 {
        peer.dials = Dials::Tokens;
    }
    let (upstream, peers) = if rng.below(2) == 0 {
        (Some(peer), Vec::new())
    } else {
        (None, vec![peer])
    };
    let mut settings = Settings {
        listeners: listeners.to_vec(),
        upstream,
        peers,
        ..Settings::default()
    };
    if rng.below(3) == 0 {
        settings.calls.calls_max = None;
    }
    let codes = RawCodes {
        request_last: Some("*37#".to_owned()),
        cancel_last: Some("#37*#".to_owned()),
        cancel_all: Some("#37#".to_owned()),
        ..RawCodes::default()
    };
    settings.completion.keeps = true;
    settings.completion.codes = Codes::new(&codes, &[]).expect("codes that can be dialled");
    let service = &mut settings.completion.service;
    service.timing.offer_window = OFFER_WINDOW;
    let times = &mut service.monitor.times;
    times.guard = GUARD;
    times.recall = RECALL;
    times.notify_window = NOTIFY_WINDOW;
    times.cc_call_max = CC_CALL_MAX;
    times.rest = Duration::from_secs(5);
    times.aftermath = Duration::from_millis(500);
    times.service_busy = Duration::from_mins(2);
    times.service_no_reply = Duration::from_mins(3);
    times.service_not_logged_in = Duration::from_mins(5);
    let agent = &mut service.agent;
    agent.ring = RING;
    agent.cc_call_max = CC_CALL_MAX;
    agent.rest = Duration::from_secs(5);
    agent.aftermath = Duration::from_millis(500);
    settings
}
