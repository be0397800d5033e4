//! What every simulation stands on: one clock, one worker, and datagrams under way.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::SocketAddr;
use std::sync::LazyLock;
use std::time::Duration;

use campon::completion::WallTime;
use campon::random::Rng;
use campon::shard::provider::{Answer, Asking};
use campon::shard::{Input, Output, Report, Shard};
use campon::sip::flow::{Flow, ListenerId, Transport};
use campon::store::{Key, Order, Put, Stored};
use campon::time::Timestamp;

use super::network::Conditions;
use super::transaction::Packet;
use crate::flow::kit::message::Message;
use crate::flow::kit::subject;
use crate::flow::kit::vault::{Mood, Vault};

/// What is kept of the messages.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Shown {
    Nothing,
    /// A hash of all of them.
    Trace,
    /// The text of each, for people.
    Messages,
}

/// The clock, the worker and the network; `P` is what the world has planned.
pub(crate) struct Frame<P> {
    pub(crate) now: Timestamp,
    pub(crate) rng: Rng,
    /// `None` where there is none, and while it is down.
    pub(crate) shard: Option<Shard>,
    /// When the process was started: its clock counts from there.
    born: Timestamp,
    /// What outlives the process.
    pub(crate) vault: Vault,
    /// How far the clock was set forwards at the last start, if anybody has yet to hear of it.
    pub(crate) jump: Option<Duration>,
    /// What applications were answered, as long as nobody has taken it.
    pub(crate) answers: Vec<(Asking, Answer)>,
    /// What was kept as each recall left, of those that have left in this step.
    pub(crate) kept: VecDeque<Vec<(Key, Stored)>>,
    /// The records that were removed in this step.
    pub(crate) removed: Vec<Stored>,
    /// When a record was to be removed last.
    pub(crate) last_removal: Option<Timestamp>,
    crashes: Option<Crashes>,
    /// How often what happened.
    pub(crate) tally: BTreeMap<&'static str, u64>,
    /// The datagrams, for people.
    pub(crate) messages: String,
    conditions: Conditions,
    /// Who is cut off, and until when.
    cut: Option<(SocketAddr, Timestamp)>,
    shown: Shown,
    queue: BTreeMap<(Timestamp, u64), Event<P>>,
    serial: u64,
    trace: DefaultHasher,
}

/// How far the calendar may be ahead of the time that passes.
const CLOCK_JUMP_MAX_S: u64 = 120;

/// How many outputs after a recall are a good moment for a crash: his phone rings, and what it was rung
/// for must be known to the next process.
const EAGER: u32 = 3;

/// When campon crashes, and how it comes back.
pub(crate) struct Crashes {
    /// Starts the next process, at this time of the calendar.
    pub(crate) start: Box<dyn Fn(WallTime) -> Shard>,
    /// Of 10 000 outputs, so many are never carried out.
    pub(crate) odds: u64,
    /// So many crashes may still come.
    pub(crate) left: u32,
    /// How far the calendar is off.
    pub(crate) is_ahead: Duration,
    /// So many outputs are as good a moment as fifteen others: a recall has just left.
    pub(crate) eager: u32,
    /// When it is started anew.
    pub(crate) down_until: Option<Timestamp>,
    /// What the processes before counted.
    pub(crate) counted: BTreeMap<&'static str, u64>,
}

/// Whether the store had anything to say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Heard {
    Nothing,
    Something,
}

/// What happens at its time.
pub(crate) enum Event<P> {
    /// A datagram.
    Arrives {
        from: SocketAddr,
        to: SocketAddr,
        message: Message,
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
            born: Timestamp::START,
            vault: Vault::default(),
            jump: None,
            answers: Vec::new(),
            kept: VecDeque::new(),
            removed: Vec::new(),
            last_removal: None,
            crashes: None,
            tally: BTreeMap::new(),
            messages: String::new(),
            conditions,
            cut: None,
            shown: Shown::Nothing,
            queue: BTreeMap::new(),
            serial: 0,
            trace: DefaultHasher::new(),
        }
    }

    pub(crate) fn may_crash(&mut self, crashes: Crashes) {
        self.crashes = Some(crashes);
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
        let shard = shard.map(|due| self.born + due.since(Timestamp::START));
        let starts = self.down_until();
        queue.into_iter().chain(shard).chain(starts).min()
    }

    /// The next event that is due.
    pub(crate) fn take_due(&mut self) -> Option<Event<P>> {
        let first = self.queue.first_entry()?;
        (first.key().0 <= self.now).then(|| first.remove())
    }

    /// The worker takes a datagram in: what it sends.
    pub(crate) fn receive(&mut self, from: SocketAddr, message: &Message) -> Vec<Packet> {
        let flow = Flow {
            transport: Transport::Udp,
            listener: ListenerId(0),
            remote: from,
            connection: None,
        };
        let now = self.campons_now();
        let Some(shard) = self.shard.as_mut() else {
            *self.tally.entry("sent to nobody").or_default() += 1;
            return Vec::new();
        };
        let (bytes, delay) = (&*message.raw, Duration::ZERO);
        shard.handle_input(now, Input::Received { flow, bytes, delay });
        self.sent_by_campon()
    }

    /// The worker is told something else than a datagram: what it sends.
    pub(crate) fn tell(&mut self, input: Input<'_>) -> Vec<Packet> {
        let now = self.campons_now();
        if let Some(shard) = self.shard.as_mut() {
            shard.handle_input(now, input);
        }
        self.sent_by_campon()
    }

    /// The store does this from here on: what the worker sends.
    pub(crate) fn store_is(&mut self, mood: Mood) -> Vec<Packet> {
        self.vault.set_mood(mood);
        *self.tally.entry("troubles of the store").or_default() += u64::from(mood != Mood::Well);
        self.sent_by_campon()
    }

    /// The process ends by itself, as it was told to: what it still sends. It is started again.
    pub(crate) fn stop(&mut self) -> Vec<Packet> {
        let sent = self.tell(Input::HangUp);
        if self.shard.is_some() && self.crashes.is_some() {
            self.end_process();
            *self.tally.entry("stops").or_default() += 1;
        }
        sent
    }

    /// Which process runs, if one does: when it was started.
    pub(crate) fn process(&self) -> Option<Timestamp> {
        self.shard.as_ref().map(|_| self.born)
    }

    /// The worker acts on what is due: what it sends.
    pub(crate) fn wake_campon(&mut self) -> Vec<Packet> {
        if self.down_until().is_some_and(|until| until <= self.now) {
            self.start();
            return self.sent_by_campon();
        }
        let now = self.campons_now();
        let is_due = |shard: &&mut Shard| shard.poll_timeout().is_some_and(|due| due <= now);
        let Some(shard) = self.shard.as_mut().filter(is_due) else {
            return Vec::new();
        };
        shard.handle_timeout(now);
        self.sent_by_campon()
    }

    /// A datagram goes out, and may arrive.
    pub(crate) fn send(&mut self, from: SocketAddr, to: SocketAddr, message: &Message) {
        if self.shown == Shown::Trace {
            let what = (self.now.as_micros(), from, to, &message.raw);
            what.hash(&mut self.trace);
        }
        let is_cut = |(whom, until): (SocketAddr, Timestamp)| {
            (whom == from || whom == to) && self.now < until
        };
        let arrivals = if self.cut.is_some_and(is_cut) {
            Vec::new()
        } else {
            self.conditions.arrivals(&mut self.rng)
        };
        let name = if arrivals.is_empty() {
            "lost"
        } else {
            "carried"
        };
        *self.tally.entry(name).or_default() += 1;
        self.note(from, to, message, name);
        for after in arrivals {
            let message = message.clone();
            self.push(self.now + after, Event::Arrives { from, to, message });
        }
    }

    /// Nothing reaches somebody, and nothing of his gets out, for so long.
    pub(crate) fn cut_off(&mut self, whom: SocketAddr, length: Duration) {
        self.cut = Some((whom, self.now + length));
        *self.tally.entry("cut off").or_default() += 1;
    }

    /// What the tables of the worker still hold, but for so many calls that it cannot know to be over and
    /// the users who are on them.
    pub(crate) fn held(
        &self,
        of: fn(&Report) -> Vec<(&'static str, usize)>,
        unheard: u64,
    ) -> Vec<String> {
        let report = self.shard.as_ref();
        let report = report.map(|shard| shard.report(self.campons_now()));
        let held = report.map(|report| of(&report)).unwrap_or_default();
        let left = held.into_iter();
        let most = |table: &str| match table {
            "calls" => unheard,
            "users" | "users_engaged" => 2 * unheard,
            _ => 0,
        };
        let left = left.filter(|(table, len)| *len as u64 > most(table));
        left.map(|(table, len)| format!("campon still holds {len} {table}"))
            .collect()
    }

    /// The same seed leaves the same one.
    pub(crate) fn trace(&self) -> u64 {
        self.trace.finish()
    }

    /// What time it is to the process.
    pub(crate) fn campons_now(&self) -> Timestamp {
        Timestamp::START + self.now.since(self.born)
    }

    /// When campon is started again, if it is down.
    pub(crate) fn down_until(&self) -> Option<Timestamp> {
        self.crashes.as_ref().and_then(|crashes| crashes.down_until)
    }

    /// What all processes have counted.
    pub(crate) fn counted(&self) -> BTreeMap<&'static str, u64> {
        let before = self.crashes.as_ref().map(|crashes| &crashes.counted);
        let mut counted = before.cloned().unwrap_or_default();
        let report = self
            .shard
            .as_ref()
            .map(|shard| shard.report(self.campons_now()));
        for (name, count) in report.iter().flat_map(|report| &report.counters) {
            *counted.entry(*name).or_default() += count;
        }
        counted
    }

    /// Carries out what the worker wants, until there is no more of it or the process ends.
    fn sent_by_campon(&mut self) -> Vec<Packet> {
        let mut sent = Vec::new();
        while let Some(shard) = self.shard.as_mut() {
            let Some(output) = shard.poll_output() else {
                if self.hear_store() == Heard::Nothing {
                    break;
                }
                continue;
            };
            let mut sends = None;
            if let Output::Send { flow, bytes, .. } = output {
                let read = Message::read(bytes, self.now, None);
                let whole = read.unwrap_or_else(|why| panic!("{why} in\n{}", bytes.escape_ascii()));
                sends = Some((flow.remote, whole));
            } else if let Output::Store { opening, order } = output {
                if let Order::Put(Put {
                    record: None, key, ..
                }) = order
                {
                    self.last_removal = Some(self.now);
                    let mut kept = self.vault.records().into_iter();
                    let found = kept.find(|(other, _)| other == key);
                    self.removed.extend(found.map(|(_, stored)| stored));
                }
                self.vault.put_in(opening, order);
            }
            if self.ends_here() {
                break;
            }
            let sent_now = sends.as_ref().map(|(_, message)| message);
            if sent_now.is_some_and(is_for_kept) {
                self.kept.push_back(self.vault.records());
            }
            if sent_now.is_some_and(is_recall)
                && let Some(crashes) = &mut self.crashes
            {
                crashes.eager = EAGER;
            }
            sent.extend(sends);
        }
        *self.tally.entry("sent by campon").or_default() += sent.len() as u64;
        if let Some(shard) = &mut self.shard {
            self.answers
                .extend(std::iter::from_fn(|| shard.poll_answer()));
        }
        sent
    }

    /// The worker hears what the store says, unless the process ends in between.
    fn hear_store(&mut self) -> Heard {
        let Some(reply) = self.vault.next_reply() else {
            return Heard::Nothing;
        };
        let now = self.campons_now();
        if !self.ends_here()
            && let Some(shard) = &mut self.shard
        {
            shard.handle_input(now, Input::Store(reply));
        }
        Heard::Something
    }

    /// Whether the process ends at this output; then it does.
    fn ends_here(&mut self) -> bool {
        let Some(crashes) = self.crashes.as_mut().filter(|crashes| crashes.left > 0) else {
            return false;
        };
        let weight = if crashes.eager > 0 { 15 } else { 1 };
        crashes.eager = crashes.eager.saturating_sub(1);
        if self.rng.below(10_000) >= crashes.odds * weight {
            return false;
        }
        crashes.left -= 1;
        self.end_process();
        *self.tally.entry("crashes").or_default() += 1;
        true
    }

    /// Nothing is left of it but what it kept and what it has counted, and it is started again.
    fn end_process(&mut self) {
        let counted = self.counted();
        let longest = [200, 8_000, 8_000][usize::try_from(self.rng.below(3)).expect("small")];
        let down = Duration::from_millis(self.rng.below(longest));
        if let Some(crashes) = &mut self.crashes {
            crashes.down_until = Some(self.now + down);
            crashes.counted = counted;
        }
        self.shard = None;
        if self.shown == Shown::Messages {
            let time = self.now.since(Timestamp::START).as_secs_f64();
            let _ = writeln!(self.messages, "{time:10.3} campon ends");
        }
    }

    /// The next process begins with what the last one kept.
    fn start(&mut self) {
        let Some(crashes) = self.crashes.as_mut() else {
            return;
        };
        crashes.down_until = None;
        // Somebody sets the clock, forwards or back.
        let was_ahead = crashes.is_ahead;
        crashes.is_ahead = match self.rng.below(5) {
            0 => Duration::from_secs(self.rng.below(CLOCK_JUMP_MAX_S + 1)),
            _ => crashes.is_ahead,
        };
        self.jump = Some(crashes.is_ahead.saturating_sub(was_ahead));
        let passed = self.now.since(Timestamp::START) + crashes.is_ahead;
        let passed = u64::try_from(passed.as_micros()).expect("a world is short");
        let started = WallTime(subject::STARTED.0 + passed);
        let mut shard = (crashes.start)(started);
        self.born = self.now;
        let records = self.vault.restart();
        if self.shown == Shown::Messages {
            let (time, count) = (
                self.now.since(Timestamp::START).as_secs_f64(),
                records.len(),
            );
            let _ = writeln!(
                self.messages,
                "{time:10.3} campon starts with {count} records, {:?} ahead",
                crashes.is_ahead
            );
        }
        *self.tally.entry("records found").or_default() += records.len() as u64;
        shard.take_over(self.campons_now(), records);
        self.shard = Some(shard);
    }

    fn note(&mut self, from: SocketAddr, to: SocketAddr, message: &Message, fate: &str) {
        if self.shown != Shown::Messages {
            return;
        }
        let time = self.now.since(Timestamp::START).as_secs_f64();
        let (start, id, cseq) = (message.start(), message.call_id(), message.header("CSeq"));
        let state = message.find("Subscription-State").unwrap_or_default();
        let body = String::from_utf8_lossy(message.body());
        let said = ["cc-state", "<basic"];
        let said = body
            .lines()
            .find(|line| said.iter().any(|what| line.contains(what)));
        let who = message
            .find("Alert-Info")
            .and_then(|_| message.find("From"));
        let said = said.or(who).unwrap_or_default().trim();
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

/// Whether this message rings a caller.
pub(crate) fn is_recall(message: &Message) -> bool {
    message.has("Alert-Info")
}

/// Whether a message is sent for something that the store must know of.
pub(crate) fn is_for_kept(message: &Message) -> bool {
    match message.kind() {
        "MESSAGE" => true,
        "NOTIFY" => message.body().starts_with(b"cc-state: ready"),
        _ => is_recall(message),
    }
}

/// Where campon listens.
pub(crate) fn campon() -> SocketAddr {
    static FIRST: LazyLock<SocketAddr> = LazyLock::new(|| subject::listeners()[0]);
    *FIRST
}
