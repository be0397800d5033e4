//! One schedule: callers, a callee or two, the service, its store, and a hand at the switch.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use campon::cc::addr::{AddrSpec, Aor};
use campon::cc::agent::RecallFailure;
use campon::cc::capsule::CallIdentity;
use campon::cc::line::{Calls, Line};
use campon::cc::{Condition, SubscriptionId};
use campon::completion::{
    Binding, Complete, CompletionId, FailedCall, Identity, Input, Mode, Monitors, News, Output,
    Record, Reloaded, Service, Settings, Tell, Ticket, WallTime, Which, WhichCall,
};
use campon::random::Rng;
use campon::store::disk::Disk;
use campon::store::keep::Keep as _;
use campon::store::{Answer, Key, Put, Version};
use campon::time::Timestamp;

use super::model::{Model, State};
use super::platter::{Platter, below};

/// Small, so that a schedule is over soon.
const CACHE_BYTES: usize = 256 * 1024;
/// After so long nobody need be seen (R2).
const UNKNOWN: Duration = Duration::from_mins(5);
const STEPS: u64 = 40;
const CALLERS: [&str; 3] = ["alice", "carol", "dave"];
const CALLEES: [&str; 2] = ["bob", "erin"];

/// What is wrong with the store, or with how it is used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Mutant {
    None,
    /// A commit does not wait for the disk.
    NoSync,
    /// The service hears that something is kept before it is.
    AnswerFirst,
    /// A change of a record that exists is not written.
    RecallUnkept,
}

/// What came of a schedule.
pub(super) struct Outcome {
    pub(super) fault: Option<String>,
    pub(super) tally: BTreeMap<&'static str, u64>,
}

struct World {
    rng: Rng,
    mutant: Mutant,
    platter: Platter,
    /// `None` while it has failed.
    disk: Option<Disk>,
    service: Service,
    started: WallTime,
    now: Timestamp,
    /// What waits to be written.
    orders: Vec<Put>,
    /// What is to be read after that.
    reads: Vec<Key>,
    /// What the store has said and the service has not heard.
    answers: VecDeque<Input>,
    lines: BTreeMap<Aor, Line>,
    asking: BTreeMap<Ticket, Aor>,
    taking_back: BTreeMap<Ticket, CompletionId>,
    tickets: u64,
    model: Model,
    is_shown: bool,
}

pub(super) fn run(seed: u64, mutant: Mutant) -> Outcome {
    let mut world = World::new(seed, mutant);
    for _ in 0..STEPS {
        world.step();
        if world.model.fault.is_some() {
            break;
        }
    }
    if world.model.fault.is_none() {
        world.end();
    }
    Outcome {
        fault: world.model.fault,
        tally: world.model.tally,
    }
}

fn user(name: &str) -> Aor {
    Aor::new(&format!("sip:{name}@home.example"))
}

fn done(key: Key, version: Version) -> Input {
    let answer = Answer::Done(version);
    Input::Persisted { key, answer }
}

fn address(user: &Aor) -> AddrSpec {
    AddrSpec::new(user.as_str()).expect("a URI")
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

impl World {
    fn new(seed: u64, mutant: Mutant) -> Self {
        let platter = Platter::new(mutant == Mutant::NoSync);
        let disk = Disk::on(platter.plug(), CACHE_BYTES).expect("a new disk");
        let started = WallTime(1_000_000_000_000_000);
        let rng = Rng::from_number(seed);
        Self {
            service: Service::new(Settings::default(), started, Rng::from_number(seed)),
            rng,
            mutant,
            platter,
            disk: Some(disk),
            started,
            now: Timestamp::START,
            orders: Vec::new(),
            reads: Vec::new(),
            answers: VecDeque::new(),
            lines: BTreeMap::new(),
            asking: BTreeMap::new(),
            taking_back: BTreeMap::new(),
            tickets: 0,
            model: Model::default(),
            is_shown: super::asked("CAMPON_SCHEDULE").is_some(),
        }
    }

    fn step(&mut self) {
        match self.rng.below(20) {
            0..=3 => self.ask(),
            4..=5 => self.hang_up(),
            6..=8 => {
                let time = [1, 6, 6, 20][below(&mut self.rng, 4)];
                self.pass(seconds(time));
            }
            9..=11 => self.answer_phones(),
            12 => self.take_back(),
            13..=16 => self.write(),
            17 => self.hear(),
            18 => self.break_disk(),
            _ => self.lose_power(),
        }
        // Mostly the store is quick.
        if self.rng.below(3) > 0 {
            self.write();
            self.hear();
        }
    }

    /// A caller finds a callee busy, and asks to be called back.
    fn ask(&mut self) {
        let caller = user(CALLERS[below(&mut self.rng, CALLERS.len())]);
        let callee = user(CALLEES[below(&mut self.rng, CALLEES.len())]);
        self.set_line(&callee, |line, _| line.calls = Calls::Engaged);
        self.tickets += 1;
        let call = FailedCall {
            call: CallIdentity(self.tickets),
            caller: caller.clone(),
            from: address(&caller),
            identity: Identity::default(),
            binding: Binding(1),
            callee: callee.clone(),
            dialled: address(&callee),
            status: 486,
            condition: Condition::Busy,
            calls: Calls::Engaged,
            monitors: Monitors::Own,
        };
        self.tell(Input::CallFailed(call));
        let ticket = Ticket(self.tickets);
        self.asking.insert(ticket, callee);
        self.tell(Input::Complete(Complete {
            ticket,
            caller,
            call: WhichCall::Last,
            mode: Mode::Callback,
        }));
    }

    fn hang_up(&mut self) {
        let callee = user(CALLEES[below(&mut self.rng, CALLEES.len())]);
        self.pass(seconds(1));
        self.set_line(&callee, |line, _| line.calls = Calls::Engaged);
        self.pass(seconds(1));
        self.model.on_seen(Some(&callee));
        self.set_line(&callee, |line, now| {
            line.calls = Calls::Free;
            line.freed = Some(now);
            line.talked = Some(now);
        });
        self.pass(seconds(6));
    }

    fn set_line(&mut self, user: &Aor, change: impl FnOnce(&mut Line, Timestamp)) {
        let now = self.now;
        let line = self.lines.entry(user.clone()).or_insert(Line::UNKNOWN);
        line.registered = line.registered.or(Some(Timestamp::START));
        change(line, now);
        let (user, line) = (user.clone(), *line);
        self.tell(Input::Line { user, line });
    }

    /// Whoever's phone rings does something.
    fn answer_phones(&mut self) {
        let known = self.model.known.iter();
        let active: Vec<_> = known
            .filter(|(_, it)| matches!(it.state, State::Ringing | State::Calling))
            .map(|(id, it)| (*id, it.state))
            .collect();
        for (id, state) in active {
            let choice = self.rng.below(4);
            let input = match (state, choice) {
                (State::Ringing, 0) => {
                    let why = RecallFailure::Refused;
                    self.model.set(id, State::Waits);
                    Input::RecallFailed { id, why }
                }
                (State::Ringing, _) => Input::RecallAnswered { id },
                (_, 0) => {
                    self.model.set(id, State::Waits);
                    Input::CcCallFailed { id, found: None }
                }
                (_, 1) => Input::CcCallArrived { id },
                _ => {
                    self.ends(id);
                    Input::CcCallAnswered { id }
                }
            };
            self.tell(input);
        }
    }

    fn ends(&mut self, id: CompletionId) {
        if let Some(known) = self.model.known.get_mut(&id) {
            known.is_ending = true;
        }
    }

    fn take_back(&mut self) {
        let caller = user(CALLERS[below(&mut self.rng, CALLERS.len())]);
        let Some(id) = self.service.views(&caller).last().map(|view| view.id) else {
            return;
        };
        self.ends(id);
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.taking_back.insert(ticket, id);
        self.tell(Input::Uncomplete {
            ticket,
            caller,
            which: Which::Id(id),
        });
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.service.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            if self.now >= Timestamp::START + UNKNOWN {
                self.model.on_seen(None);
            }
            let mut out = Vec::new();
            self.service.handle_timeout(self.now, &mut out);
            self.follow(out);
        }
        self.now = end;
    }

    fn tell(&mut self, input: Input) {
        self.show(&input);
        let mut out = Vec::new();
        self.service.handle(self.now, input, &mut out);
        self.follow(out);
    }

    /// What leaves the service is seen by the world outside, as far as it is about requests.
    fn follow(&mut self, out: Vec<Output>) {
        for output in out {
            self.show(&output);
            if let Output::Persist(put) = output {
                self.order(put);
            } else if let Output::Read(key) = output {
                self.reads.push(key);
            } else if let Output::Completed { ticket, result } = output {
                let callee = self.asking.remove(&ticket);
                if let (Ok(id), Some(callee)) = (result, callee) {
                    self.model.on_accepted(id, callee);
                }
            } else if let Output::Uncompleted { ticket, result } = output {
                let id = self.taking_back.remove(&ticket);
                if let (Some(id), Ok(_)) = (id, result) {
                    self.model.on_ended(id);
                }
            } else if let Output::Recall(recall) = output {
                self.model.on_recall(recall.id, recall.callee);
            } else if let Output::EndRecall { id, .. } = output {
                self.model.set(id, State::Waits);
            } else if let Output::Call(call) = output {
                self.model.set(call.id, State::Calling);
            } else if let Output::Watch { user } = output {
                self.tell_line(user);
            } else if let Output::Tell(tell) = output {
                self.on_news(&tell);
            }
        }
    }

    fn tell_line(&mut self, user: Aor) {
        let line = self.lines.get(&user).copied().unwrap_or(Line {
            calls: Calls::Free,
            registered: Some(Timestamp::START),
            ..Line::UNKNOWN
        });
        self.tell(Input::Line { user, line });
    }

    fn on_news(&mut self, tell: &Tell) {
        let known = self.model.known.get_mut(&tell.id);
        if let Some(known) = known.filter(|_| matches!(tell.news, News::Recalling)) {
            known.selected += 1;
            // The last one ends it, unless it is answered.
            known.is_ending |= known.selected >= Settings::default().agent.recalls_max;
        }
        if !matches!(tell.news, News::Ended { .. }) {
            return;
        }
        if self.disk.is_some() {
            self.model.on_ended(tell.id);
        } else {
            // While nothing is kept, an end may not outlive the process.
            self.ends(tell.id);
            self.model.set(tell.id, State::Waits);
        }
    }

    /// For who runs one schedule alone.
    fn show(&self, what: &impl std::fmt::Debug) {
        if self.is_shown {
            let text = format!("{what:?}");
            let text = text.get(..300).unwrap_or(&text);
            println!("{:>12} {text}", self.now.as_micros());
        }
    }

    fn order(&mut self, put: Put) {
        match self.mutant {
            // What is to be removed is not answered early: who has forgotten it asks again for its end.
            Mutant::AnswerFirst if put.record.is_some() => {
                let version = Version(put.expect.map_or(1, |seen| seen.0 + 1));
                self.answers.push_back(done(put.key, version));
                self.orders.push(put);
            }
            Mutant::RecallUnkept if put.expect.is_some() && put.record.is_some() => {
                let version = put.expect.expect("it was just looked at");
                self.answers.push_back(done(put.key, version));
            }
            Mutant::None | Mutant::NoSync | Mutant::AnswerFirst | Mutant::RecallUnkept => {
                self.orders.push(put);
            }
        }
    }

    /// The store writes what waits, by one commit.
    fn write(&mut self) {
        let Some(disk) = &mut self.disk else {
            return;
        };
        let orders = std::mem::take(&mut self.orders);
        let reads = std::mem::take(&mut self.reads);
        let mut answers = Vec::new();
        if !orders.is_empty() {
            let Ok(written) = disk.write(&[], &orders) else {
                self.model.count("failed while writing");
                return self.fail();
            };
            answers = written;
        }
        for (put, answer) in orders.into_iter().zip(answers) {
            self.model.count("records written");
            if self.mutant != Mutant::AnswerFirst || put.record.is_none() {
                let key = put.key;
                self.answers.push_back(Input::Persisted { key, answer });
            }
        }
        for key in reads {
            let Ok(stored) = disk.read(key) else {
                return self.fail();
            };
            self.answers.push_back(Input::Loaded { key, stored });
        }
    }

    /// The service hears what the store has said.
    fn hear(&mut self) {
        while let Some(answer) = self.answers.pop_front() {
            self.tell(answer);
        }
    }

    /// The disk fails soon, or is mended.
    fn break_disk(&mut self) {
        if self.disk.is_some() {
            let changes = self.rng.below(12);
            let changes = u32::try_from(changes).expect("small");
            self.platter.fail_after(Some(changes));
        } else {
            self.mend();
        }
    }

    fn fail(&mut self) {
        self.model.count("store failed");
        self.disk = None;
        self.orders.clear();
        self.reads.clear();
        self.answers.clear();
        self.tell(Input::StoreFailed);
    }

    fn mend(&mut self) {
        self.platter.fail_after(None);
        let disk = Disk::on(self.platter.plug(), CACHE_BYTES).expect("the disk as it is");
        let found = disk.completions().expect("a disk that can be read");
        let found = found.into_iter().map(|(key, stored)| (key, stored.version));
        let found = found.collect();
        self.disk = Some(disk);
        self.tell(Input::StoreOpened { found });
    }

    /// The power goes, at times in the middle of a commit, and at times again while it comes back.
    fn lose_power(&mut self) {
        if self.disk.is_some() && self.rng.below(2) == 0 {
            let changes = self.rng.below(12);
            self.platter
                .fail_after(Some(u32::try_from(changes).expect("small")));
            let orders = std::mem::take(&mut self.orders);
            if let Some(disk) = &mut self.disk {
                let _lost = disk.write(&[], &orders);
            }
        }
        if !self.asking.is_empty() {
            self.model.count("lost while asked");
        }
        self.show(&"the power is lost");
        self.model.on_power_lost();
        self.platter.lose_power(&mut self.rng);
        self.disk = None;
        while self.rng.below(4) == 0 {
            self.model.count("lost while recovering");
            let changes = self.rng.below(10);
            self.platter
                .fail_after(Some(u32::try_from(changes).expect("small")));
            let _lost = Disk::on(self.platter.plug(), CACHE_BYTES);
            self.platter.lose_power(&mut self.rng);
        }
        self.restart();
    }

    fn restart(&mut self) {
        self.started = self.started.at(self.now);
        self.now = Timestamp::START;
        self.orders.clear();
        self.reads.clear();
        self.answers.clear();
        self.asking.clear();
        self.taking_back.clear();
        self.lines.clear();
        let disk = match Disk::on(self.platter.plug(), CACHE_BYTES) {
            Ok(disk) => disk,
            Err(error) => {
                return self
                    .model
                    .fault(format!("the store does not open: {error}"));
            }
        };
        let records = match disk.completions() {
            Ok(records) => records,
            Err(error) => return self.model.fault(format!("the store is not read: {error}")),
        };
        // Of a pair's, the latest is taken up: the end of those before it was not written in time.
        let mut latest = BTreeMap::new();
        for (_, stored) in &records {
            let Some(record) = Record::decode(&stored.record, self.started) else {
                return self.model.fault("a record is broken");
            };
            let pair = (record.caller.clone(), record.callee.clone());
            let place = latest.entry(pair).or_insert((record.order, record.id, 0));
            if record.order >= place.0 {
                *place = (record.order, record.id, record.recalls);
            }
        }
        let recalls = latest.into_values().map(|(_, id, recalls)| (id, recalls));
        self.model.check(&recalls.collect());
        self.disk = Some(disk);
        let records = records.into_iter().map(|(key, stored)| Reloaded {
            key,
            stored,
            peer: None,
            dialogs: Vec::<SubscriptionId>::new(),
        });
        let rng = Rng::from_number(self.rng.bits());
        self.service = Service::new(Settings::default(), self.started, rng);
        let mut out = Vec::new();
        self.service.restore(self.now, records.collect(), &mut out);
        self.follow(out);
    }

    /// After a last loss of power all is quiet, and nothing is left.
    fn end(&mut self) {
        if self.disk.is_none() {
            self.mend();
        }
        self.platter.fail_after(None);
        self.lose_power();
        // Longer than any request lives.
        for _ in 0..200 {
            if self.service.counts().completions == 0 {
                break;
            }
            self.pass(seconds(30));
            for _ in 0..3 {
                self.write();
                self.hear();
            }
        }
        let Some(disk) = &self.disk else {
            return;
        };
        let left = disk.completions().map(|left| left.len());
        if left != Ok(0) {
            self.model.fault(format!("left in the end: {left:?}"));
        }
        let (known, model) = (self.model.known.clone(), &mut self.model);
        for (id, known) in known {
            if known.state != State::Ended {
                model.fault(format!("{id} has no end: {known:?}"));
            }
        }
    }
}
