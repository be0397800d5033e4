//! One seed: callers, callees, an agent and a monitor elsewhere, and a worker between them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use campon::completion::WallTime;
use campon::random::Rng;
use campon::shard::provider::{Answer, Ask};
use campon::shard::{Input, Shard};
use campon::time::Timestamp;

use super::agent::{self, Agent};
use super::fate::Fate;
use super::monitor::Monitor;
use super::operator::Operator;
use super::settings::settings;
use super::user::{self, User, errand, index};
use super::watch::{Watch, read};
use crate::flow::kit::message::Message;
use crate::flow::kit::subject::{self, DOMAIN};
use crate::flow::kit::vault::Mood;
use crate::sim::frame::{Crashes, Event, Frame, Shown, campon, is_for_kept};
use crate::sim::phone::Phone;
use crate::sim::transaction::Packet;

/// Calls begin within this time.
const BUSY: Duration = Duration::from_mins(3);

/// By then every call and every completion has ended.
const QUIET: Duration = Duration::from_mins(30);

/// By then every registration has ended.
const REGISTRATIONS_END: Duration = Duration::from_hours(3);

/// The users: two who call, two who are called.
const USERS: [&str; 4] = ["alice", "anna", "bob", "ben"];

/// All who take part, by number: the users, the agent, the monitor.
const PARTIES: usize = USERS.len() + 2;
const AGENT_AT: usize = USERS.len();
const MONITOR_AT: usize = AGENT_AT + 1;

/// The peer, and the callee and the caller there.
pub(super) const PEER: &str = "198.51.100.7";
const FAR: &str = "fred";
const AGENT: &str = "rita";

/// Calls that are made in a world, those that complete others apart.
const CALLS: u64 = 40;

/// How long the store is slow or fails at most.
const STORE_DELAY_MS: u64 = 6_000;

/// How long a process waits at most for its calls, once it was told to stop.
const STOPS_WITHIN_MS: u64 = 8_000;

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
    operator: Operator,
    watch: Watch,
    /// When each of all has something to do.
    due: [Option<Timestamp>; PARTIES],
    fate: Fate,
    /// When campon will have been started anew.
    down_until: Option<Timestamp>,
}

enum Plan {
    User(usize, user::Deed),
    /// A request is ended by somebody else than its caller.
    EndsRequest,
    /// The store gets slow, or fails, or is well again.
    StoreIs(Mood),
    /// Campon takes nothing new.
    Drains,
    /// It hangs up and ends, if it is this process.
    Stops(Timestamp),
    Agent(agent::Deed),
    CutsOff(usize),
}

/// Runs one seed.
pub(crate) fn run(seed: u64, shown: Shown) -> Outcome {
    let mut world = World::new(seed);
    world.frame.show(shown);
    world.plan();
    world.plan_cuts(world.fate.conditions.cut);
    world.plan_operator();
    world.run_until(Timestamp::START + BUSY + QUIET);
    // Where both sides hung up and no copy of their BYEs arrived, campon takes them for two who talk.
    let unheard = world
        .users
        .iter()
        .map(|user| user.phone.byes_unheard())
        .sum();
    let mut faults = world.frame.held(subject::held_by_calls, unheard);
    world.run_until(Timestamp::START + BUSY + QUIET + REGISTRATIONS_END);
    faults.extend(world.frame.held(subject::held, unheard));
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
    tally.extend(world.watch.camped());
    tally.insert("texts taken back", world.watch.texts_withdrawn());
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
        let kept = self.frame.vault.records();
        let kept: Vec<_> = kept.iter().map(|(_, stored)| read(stored)).collect();
        // A process that ends between a change and its count counts it not, or its heir does again.
        let ends = ["crashes", "stops"];
        let has_crashed = ends.iter().any(|end| self.frame.tally.contains_key(end));
        let faults = [
            (
                accepted != ended && !has_crashed,
                format!("{accepted} accepted, {ended} ended"),
            ),
            (!kept.is_empty(), format!("records are left: {kept:?}")),
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
        let drawn = settings(&mut Rng::from_number(wishes));
        let mut shard = start(subject::STARTED);
        shard.take_over(Timestamp::START, Vec::new());
        let fate = Fate::drawn(&mut rng, drawn.completion.keeps);
        let phone = |user: &str, address: String, n: u64| {
            let address = address.parse().expect("an address");
            let mut phone = Phone::new(user.to_owned(), address, seed ^ (n << 32));
            phone.network = fate.network();
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
        let mut frame = Frame::new(rng, fate.conditions, Some(shard));
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
        if fate.crashes() {
            frame.may_crash(crash);
        }
        let mut watch = Watch::new(phones.collect(), &drawn);
        if fate.troubles > 0 {
            watch.is_kept = false;
            watch.store_delay = Duration::from_millis(STORE_DELAY_MS);
        }
        Self {
            watch,
            frame,
            due: [None; PARTIES],
            down_until: None,
            fate,
            users,
            agent: Agent::new(agent),
            operator: Operator::default(),
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
                let whom = index(self.frame.rng.below(PARTIES as u64));
                self.frame
                    .at(Duration::from_secs(second), Plan::CutsOff(whom));
            }
        }
    }

    /// Draws when requests are ended by others, and when campon is stopped.
    fn plan_operator(&mut self) {
        let busy_ms = u64::try_from(BUSY.as_millis()).expect("short");
        let any = |rng: &mut Rng| Duration::from_millis(10_000 + rng.below(busy_ms));
        for _ in 0..self.frame.rng.below(8) {
            let at = any(&mut self.frame.rng);
            self.frame.at(at, Plan::EndsRequest);
        }
        for _ in 0..self.fate.troubles {
            let (at, length) = (
                any(&mut self.frame.rng),
                self.frame.rng.below(STORE_DELAY_MS),
            );
            let mood = [Mood::Slow, Mood::Down][index(self.frame.rng.below(2))];
            self.frame.at(at, Plan::StoreIs(mood));
            self.frame.at(
                at + Duration::from_millis(length),
                Plan::StoreIs(Mood::Well),
            );
        }
        if self.fate.stops() {
            let at = any(&mut self.frame.rng);
            self.frame.at(at, Plan::Drains);
        }
    }

    fn cut_off(&mut self, whom: usize) {
        let length = Duration::from_millis(500 + self.frame.rng.below(45_000));
        let address = self.phone(whom).address;
        self.frame.cut_off(address, length);
    }

    fn call(&mut self) -> Plan {
        let is_contested = self.users.iter().all(User::is_patient);
        let rng = &mut self.frame.rng;
        let patience = 1_000 + rng.below(9_000);
        let talk = 500 + rng.below(15_000);
        let waits = rng.below(4) == 0 && !is_contested;
        let to = |name: &str, host: &str| {
            let errand = errand(format!("sip:{name}@{host}"), patience, talk);
            if waits { user::waits(errand) } else { errand }
        };
        // Where turns are looked at, most want the same one.
        let others = if is_contested { 5 } else { 2 };
        let callee = USERS[2 + usize::from(rng.below(others) == 0)];
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
        let due = self.due.iter().copied().flatten();
        due.chain(self.frame.next_instant()).min()
    }

    fn happen(&mut self, event: Event<Plan>) {
        let now = self.frame.now;
        match event {
            Event::Arrives { from, to, message } => self.arrive(from, to, message),
            Event::Planned(Plan::User(user, deed)) => {
                self.users[user].act(now, deed);
                self.send_of(user);
            }
            Event::Planned(Plan::CutsOff(whom)) => self.cut_off(whom),
            Event::Planned(Plan::EndsRequest) => self.end_request(),
            Event::Planned(Plan::StoreIs(mood)) => {
                self.watch.on_store(self.frame.now, mood);
                let sent = self.frame.store_is(mood);
                self.send_from_campon(sent);
            }
            Event::Planned(Plan::Drains) => self.drain(),
            Event::Planned(Plan::Stops(born)) if self.frame.process() == Some(born) => {
                let sent = self.frame.stop();
                self.send_from_campon(sent);
            }
            Event::Planned(Plan::Stops(_)) => {}
            Event::Planned(Plan::Agent(deed)) => {
                self.agent.act(now, deed);
                self.send_of(AGENT_AT);
            }
        }
    }

    fn end_request(&mut self) {
        let now = self.frame.now;
        let list = self.operator.question(Ask::Completions(None));
        let sent = self.frame.tell(Input::Asked(&list));
        // A list is answered at once.
        let listed = self.frame.answers.pop();
        self.send_from_campon(sent);
        let Some((_, Answer::Completions(requests))) = listed else {
            return;
        };
        if let Some((pair, question)) = self.operator.ends_one(&mut self.frame.rng, &requests) {
            *self.frame.tally.entry("ended by others").or_default() += 1;
            self.watch.on_ending(now, &pair);
            let sent = self.frame.tell(Input::Asked(&question));
            self.send_from_campon(sent);
        }
    }

    fn drain(&mut self) {
        for whom in 0..PARTIES {
            self.phone(whom).on_stop();
        }
        let sent = self.frame.tell(Input::Drain);
        self.send_from_campon(sent);
        if let Some(born) = self.frame.process() {
            let waits = Duration::from_millis(self.frame.rng.below(STOPS_WITHIN_MS));
            let at = (self.frame.now + waits).since(Timestamp::START);
            self.frame.at(at, Plan::Stops(born));
        }
    }

    fn arrive(&mut self, from: SocketAddr, to: SocketAddr, message: Message) {
        let now = self.frame.now;
        if to == campon() {
            if self.frame.shard.is_some() {
                self.watch.on_input(now, from, &message);
            }
            let sent = self.frame.receive(from, &message);
            return self.send_from_campon(sent);
        }
        let whom = match self.users.iter().position(|user| user.phone.address == to) {
            Some(user) => user,
            None if self.agent.phone.address == to => AGENT_AT,
            None => MONITOR_AT,
        };
        let phone = self.phone(whom);
        assert_eq!(phone.address, to, "nobody is there");
        phone.handle_message(now, from, message);
        match whom {
            AGENT_AT => self.agent.react(now),
            MONITOR_AT => self.monitor.react(now),
            user => self.users[user].react(now),
        }
        self.send_of(whom);
    }

    fn fall_due(&mut self) {
        let now = self.frame.now;
        self.watch.on_time(now);
        let sent = self.frame.wake_campon();
        if let Some(jump) = self.frame.jump.take() {
            self.watch.on_jump(jump);
        }
        self.send_from_campon(sent);
        for whom in 0..PARTIES {
            if self.due[whom].is_some_and(|due| due <= now) {
                self.act_on_time(whom);
            }
        }
    }

    /// Somebody does what he has planned for now, and his phone what is due.
    fn act_on_time(&mut self, whom: usize) {
        let now = self.frame.now;
        match whom {
            AGENT_AT => {
                while let Some(deed) = take_due(&mut self.agent.agenda, now) {
                    self.agent.act(now, deed);
                }
            }
            MONITOR_AT => {
                while let Some(moves_on) = take_due(&mut self.monitor.agenda, now) {
                    self.monitor.act(now, moves_on);
                }
            }
            user => {
                let user = &mut self.users[user];
                while let Some(deed) = take_due(&mut user.agenda, now) {
                    user.act(now, deed);
                }
            }
        }
        self.phone(whom).handle_timeout(now);
        self.send_of(whom);
    }

    fn phone(&mut self, whom: usize) -> &mut Phone {
        match whom {
            AGENT_AT => &mut self.agent.phone,
            MONITOR_AT => &mut self.monitor.phone,
            user => &mut self.users[user].phone,
        }
    }

    /// What somebody has done goes out, and he says when he next has something to do.
    fn send_of(&mut self, whom: usize) {
        let phone = self.phone(whom);
        let (from, mut out) = (phone.address, std::mem::take(&mut phone.out));
        for (to, message) in out.drain(..) {
            self.frame.send(from, to, &message);
        }
        let phone = self.phone(whom);
        phone.out = out;
        let due = phone.deadline();
        let planned = match whom {
            AGENT_AT => next_deed(&self.agent.agenda),
            MONITOR_AT => next_deed(&self.monitor.agenda),
            user => next_deed(&self.users[user].agenda),
        };
        self.due[whom] = due.into_iter().chain(planned).min();
    }

    fn send_from_campon(&mut self, sent: Vec<Packet>) {
        let now = self.frame.now;
        for (to, message) in sent {
            if matches!(message.kind(), "INVITE" | "NOTIFY") {
                let talking_on = self.users.iter().filter(|user| user.phone.talks_on());
                let talking_on = talking_on.map(|user| user.phone.user.clone());
                self.watch.talking_on = talking_on.collect();
            }
            if is_for_kept(&message)
                && let Some(kept) = self.frame.kept.pop_front()
            {
                self.watch.note_kept(&kept);
            }
            self.watch.on_output(now, to, &message);
            self.frame.send(campon(), to, &message);
        }
        for stored in std::mem::take(&mut self.frame.removed) {
            self.watch.on_removed(now, &stored);
        }
        for (asking, answer) in std::mem::take(&mut self.frame.answers) {
            if let Some(pair) = self.operator.hears(asking, &answer) {
                self.watch.on_ended(&pair);
            }
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
        self.watch.note_kept(&self.frame.vault.records());
        self.watch.on_crash(now, self.frame.last_removal);
        self.operator.on_crash();
        self.frame.answers.clear();
        for user in &mut self.users {
            user.phone.on_crash();
        }
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

fn next_deed<D>(agenda: &[(Timestamp, D)]) -> Option<Timestamp> {
    agenda.iter().map(|(at, _)| *at).min()
}

fn take_due<D>(agenda: &mut Vec<(Timestamp, D)>, now: Timestamp) -> Option<D> {
    let due = agenda.iter().position(|(at, _)| *at <= now)?;
    Some(agenda.remove(due).1)
}
