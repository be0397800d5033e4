//! The world: one worker, a clock that tests turn, and seats for the parties.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use campon::completion::WallTime;
use campon::media::desk::{Command, RoomId};
use campon::media::room::News;
use campon::routing::names::{self, Failed};
use campon::shard::provider::{Answer, Ask, Asking, LineEvent, Question};
use campon::shard::record::Record;
use campon::shard::{Input, Output, SendId, Shard};
use campon::sip::flow::{ConnectionId, Flow, ListenerId, Transport};
use campon::time::Timestamp;

use super::completion::LONG;
use super::message::Message;
use super::party::Party;
use super::subject::{self, OFFICE, OWN_CALLS_LISTENER, SECOND, Setup, UPSTREAM};
use super::vault::{Mood, Vault};

/// Longer than every timer of a call, and than the hour in which a caller for help is left alone.
const QUIET: Duration = Duration::from_mins(65);

/// Longer than a registration lives.
const REGISTRATIONS_END: Duration = Duration::from_hours(3);

/// Far more timeouts than any ladder needs at one instant.
const STEPS_AT_ONCE_MAX: u32 = 10_000;

/// A handle on the world; the last one of it and its parties checks what is left.
#[derive(Clone)]
pub(crate) struct World(pub(super) Rc<RefCell<State>>);

pub(super) struct State {
    shard: Shard,
    setup: Setup,
    /// The calendar's time when campon was started.
    started: WallTime,
    pub(super) now: Timestamp,
    pub(super) seats: Vec<Seat>,
    pub(super) serial: u64,
    sent: usize,
    /// How long inputs waited before campon saw them.
    delay: Duration,
    /// Branch and method of each request that a party sent.
    asked: BTreeSet<(String, String)>,
    ladder: Vec<String>,
    /// What campon wants to know of DNS.
    questions: VecDeque<names::Question>,
    /// Keep-alives without a message: where to, and when.
    pings: Vec<(Flow, Timestamp)>,
    /// What the sound thread is to do.
    sounds: VecDeque<Command>,
    /// What is to be kept over a restart, by key.
    kept: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// What keeps completions over a restart.
    vault: Vault,
}

/// A party's place: where it is, and what has come for it.
pub(super) struct Seat {
    pub(super) name: String,
    pub(super) flow: Flow,
    pub(super) inbox: VecDeque<Message>,
}

impl World {
    /// An empty world with a campon of this setup.
    pub(crate) fn new(setup: Setup) -> Self {
        Self(Rc::new(RefCell::new(State {
            shard: subject::shard(setup, 1),
            setup,
            started: subject::STARTED,
            now: Timestamp::START + Duration::from_secs(1000),
            seats: Vec::new(),
            serial: 0,
            sent: 0,
            delay: Duration::ZERO,
            asked: BTreeSet::new(),
            ladder: Vec::new(),
            questions: VecDeque::new(),
            pings: Vec::new(),
            sounds: VecDeque::new(),
            kept: BTreeMap::new(),
            vault: Vault::default(),
        })))
        .begun()
    }

    fn begun(self) -> Self {
        let mut state = self.0.borrow_mut();
        let now = state.now;
        state.shard.take_over(now, Vec::new());
        drop(state);
        self
    }

    /// The store does this from here on.
    pub(crate) fn store_is(&self, mood: Mood) {
        let mut state = self.0.borrow_mut();
        state.note(&format!("the store is {mood:?}"));
        state.vault.set_mood(mood);
        state.deliver();
    }

    /// How many completions are kept.
    pub(crate) fn completions_kept(&self) -> usize {
        self.0.borrow().vault.len()
    }

    /// campon is started anew, with what it kept; the calendar goes on, the process's time does not.
    pub(crate) fn restarts(&self) {
        self.0.borrow_mut().restart();
    }

    /// The addresses that were kept alive without a message since this was last asked.
    pub(crate) fn pings(&self) -> Vec<SocketAddr> {
        let pings = std::mem::take(&mut self.0.borrow_mut().pings);
        pings.into_iter().map(|(flow, _)| flow.remote).collect()
    }

    /// A party over UDP at the next free address.
    pub(crate) fn party(&self, name: &str) -> Party {
        let address = format!("192.0.2.{}:5060", 10 + self.0.borrow().seats.len());
        self.party_at(name, &address)
    }

    /// A party over UDP at this address.
    pub(crate) fn party_at(&self, name: &str, address: &str) -> Party {
        self.seat(name, address, Transport::Udp)
    }

    /// A party over TCP, on a connection that it opened.
    pub(crate) fn party_over_tcp(&self, name: &str) -> Party {
        let address = format!("192.0.2.{}:45060", 10 + self.0.borrow().seats.len());
        self.seat(name, &address, Transport::Tcp)
    }

    /// The same at this address.
    pub(crate) fn party_over_tcp_at(&self, name: &str, address: &str) -> Party {
        self.seat(name, address, Transport::Tcp)
    }

    /// A party that is registered.
    pub(crate) fn phone(&self, name: &str) -> Party {
        let party = self.party(name);
        party.registers();
        party
    }

    /// The party at the upstream's address.
    pub(crate) fn upstream(&self) -> Party {
        self.party_at("pbx", UPSTREAM)
    }

    /// Somebody at this address who talks with the address of our own calls.
    pub(crate) fn at_own_calls(&self, name: &str, address: &str) -> Party {
        let party = self.party_at(name, address);
        let mut state = self.0.borrow_mut();
        let seat = state.seats.last_mut().expect("that party's");
        seat.flow.listener = ListenerId(OWN_CALLS_LISTENER);
        drop(state);
        party
    }

    /// The party at the address of the upstream's second server.
    pub(crate) fn second(&self) -> Party {
        self.party_at("second", SECOND)
    }

    /// What an application is told that asks this and need not wait.
    #[track_caller]
    pub(crate) fn asks_at_once(&self, ask: Ask) -> Answer {
        self.asks_of(None, ask)
    }

    /// The same, if this is the only line that it may ask about.
    #[track_caller]
    pub(crate) fn asks_of(&self, line: Option<&str>, ask: Ask) -> Answer {
        let mut state = self.0.borrow_mut();
        let question = Question {
            asking: Asking(1),
            line: line.map(Box::from),
            ask,
        };
        let now = state.now;
        state.shard.handle_input(now, Input::Asked(&question));
        let (_, answer) = state.shard.poll_answer().expect("an answer at once");
        answer
    }

    /// What campon has counted under this name.
    #[track_caller]
    pub(crate) fn counted(&self, name: &str) -> u64 {
        let state = self.0.borrow();
        let counters = state.shard.report(state.now).counters;
        let found = counters.iter().find(|(other, _)| *other == name);
        found.expect("a counter of this name").1
    }

    /// The servers of the peers that take no requests.
    pub(crate) fn servers_down(&self) -> Vec<String> {
        let state = self.0.borrow();
        subject::down(&state.shard.report(state.now))
    }

    /// The party at the other peer's address.
    pub(crate) fn office(&self) -> Party {
        self.party_at("office", OFFICE)
    }

    fn seat(&self, name: &str, address: &str, transport: Transport) -> Party {
        let remote: SocketAddr = address.parse().expect("an address");
        let mut state = self.0.borrow_mut();
        let id = state.seats.len();
        let number = u32::try_from(id).expect("few parties");
        let connection = transport.is_reliable().then_some(ConnectionId(number));
        let flow = Flow {
            transport,
            listener: ListenerId(u8::from(remote.is_ipv6())),
            remote,
            connection,
        };
        let (name, inbox) = (name.to_owned(), VecDeque::new());
        state.seats.push(Seat { name, flow, inbox });
        drop(state);
        Party::new(Self(Rc::clone(&self.0)), id)
    }

    /// The time.
    pub(crate) fn now(&self) -> Timestamp {
        self.0.borrow().now
    }

    /// Lets time pass; what falls due on the way happens when it is due.
    pub(crate) fn advance(&self, time: Duration) {
        self.0.borrow_mut().advance(time);
    }

    /// Nothing has come that the test did not take, a 100 excepted.
    #[track_caller]
    pub(crate) fn quiet(&self) {
        self.0.borrow_mut().quiet();
    }

    /// How many messages campon has sent so far.
    pub(crate) fn messages_sent(&self) -> usize {
        self.0.borrow().sent
    }

    /// From here on inputs have waited this long when campon sees them.
    pub(crate) fn falls_behind(&self, delay: Duration) {
        self.0.borrow_mut().delay = delay;
    }

    /// The operator's first Ctrl-C.
    pub(crate) fn drains(&self) {
        self.0.borrow_mut().input("is told to drain", Input::Drain);
    }

    /// The operator's second Ctrl-C.
    pub(crate) fn hangs_up(&self) {
        let mut state = self.0.borrow_mut();
        state.input("is told to hang up", Input::HangUp);
    }

    /// A message that campon gave out turns out not to have been sent.
    pub(crate) fn could_not_send(&self, message: &Message) {
        let (client, flow) = message.origin.expect("a message of campon's");
        let what = format!("hears that {} was not sent", message.kind());
        let mut state = self.0.borrow_mut();
        state.input(&what, Input::NotSent { client, flow });
    }

    /// The next question of campon's for DNS.
    pub(crate) fn next_question(&self) -> Option<names::Question> {
        let mut state = self.0.borrow_mut();
        state.deliver();
        state.questions.pop_front()
    }

    /// An application asks; the answer may come later.
    pub(crate) fn is_asked(&self, ask: Ask) {
        let question = Question {
            asking: Asking(1),
            line: None,
            ask,
        };
        let mut state = self.0.borrow_mut();
        state.input("is asked by an application", Input::Asked(&question));
    }

    /// What an application is answered.
    #[track_caller]
    pub(crate) fn answers(&self) -> Answer {
        let answer = self.0.borrow_mut().shard.poll_answer();
        answer.expect("an answer").1
    }

    /// What lines were told since this was asked last.
    pub(crate) fn news(&self) -> Vec<LineEvent> {
        let mut state = self.0.borrow_mut();
        std::iter::from_fn(|| state.shard.poll_news()).collect()
    }

    /// Whether no application has been answered since.
    pub(crate) fn has_not_answered(&self) -> bool {
        self.0.borrow_mut().shard.poll_answer().is_none()
    }

    /// The next record of a call, a request or an attempt.
    pub(crate) fn next_record(&self) -> Option<Record> {
        self.0.borrow_mut().shard.poll_record()
    }

    /// What the sound thread is to do next.
    pub(crate) fn next_sound(&self) -> Option<Command> {
        self.0.borrow_mut().sounds.pop_front()
    }

    /// Long afterwards nothing has come that the test did not take.
    #[track_caller]
    pub(crate) fn stays_quiet(&self) {
        self.advance(LONG);
        self.quiet();
    }

    /// A room opens: its name, and the port of who is to hear something in it.
    #[track_caller]
    pub(crate) fn opens(&self) -> (RoomId, u16) {
        let next = self.next_sound();
        let Some(Command::Open { room, party, .. }) = next else {
            panic!("no room opens: {next:?}");
        };
        (room, party.0)
    }

    /// A room closes.
    #[track_caller]
    pub(crate) fn closes(&self) {
        let next = self.next_sound();
        assert!(matches!(next, Some(Command::Close { .. })), "{next:?}");
    }

    /// Something was heard in a room.
    pub(crate) fn hears(&self, room: RoomId, news: News) {
        let what = format!("hears {news:?}");
        let mut state = self.0.borrow_mut();
        state.input(&what, Input::Heard { room, news });
    }

    /// DNS answers, or not.
    pub(crate) fn resolves(
        &self,
        question: &names::Question,
        reply: Result<&names::Answer, Failed>,
    ) {
        let what = format!("hears of DNS about the {question}");
        let mut state = self.0.borrow_mut();
        state.input(&what, Input::Resolved { question, reply });
    }

    /// What calls left in campon's tables.
    pub(crate) fn held_by_calls(&self) -> Vec<(&'static str, usize)> {
        let state = self.0.borrow();
        subject::held_by_calls(&state.shard.report(state.now))
    }
}

impl State {
    /// A party's bytes reach campon.
    pub(super) fn carry(&mut self, seat: usize, raw: &[u8]) {
        let read = Message::of_party(raw, self.now);
        let text = read.as_ref().map_or("something", Message::start).to_owned();
        if let Ok(message) = read
            && message.is_request()
            && message.has("Via")
        {
            let method = message.cseq_method().to_owned();
            self.asked.insert((message.branch().to_owned(), method));
        }
        let Seat { name, flow, .. } = &self.seats[seat];
        let (flow, delay) = (*flow, self.delay);
        let arrow = format!("{name} → campon  {text}");
        self.note(&arrow);
        let bytes = raw;
        self.shard
            .handle_input(self.now, Input::Received { flow, bytes, delay });
        self.deliver();
    }

    fn restart(&mut self) {
        self.note("campon is started anew");
        let started = self.started.0 + self.now.as_micros();
        self.started = WallTime(started);
        self.shard = subject::restarted(self.setup, 2, self.started);
        self.now = Timestamp::START;
        for (key, record) in &self.kept {
            if let Some(record) = record {
                self.shard.restore(key, record);
            }
        }
        let records = self.vault.restart();
        self.shard.take_over(self.now, records);
        self.deliver();
    }

    /// A party's connection ends.
    pub(super) fn disconnect(&mut self, seat: usize) {
        let flow = self.seats[seat].flow;
        self.input("sees a stream end", Input::Disconnected { flow });
    }

    fn input(&mut self, what: &str, input: Input<'_>) {
        self.note(&format!("campon {what}"));
        self.shard.handle_input(self.now, input);
        self.deliver();
    }

    pub(super) fn advance(&mut self, time: Duration) {
        self.advance_until(time, |_| false);
    }

    /// Lets time pass until it is over or something is as wished.
    pub(super) fn advance_until(&mut self, time: Duration, wished: impl Fn(&Self) -> bool) {
        let until = self.now + time;
        let (mut at_once, mut last) = (0, None);
        while let Some(due) = self.shard.poll_timeout().filter(|due| *due <= until) {
            at_once = if last == Some(due) { at_once + 1 } else { 0 };
            assert!(at_once < STEPS_AT_ONCE_MAX, "a timer stays due at {due:?}");
            last = Some(due);
            self.now = self.now.max(due);
            self.shard.handle_timeout(self.now);
            self.deliver();
            if wished(self) {
                return;
            }
        }
        self.now = until;
    }

    /// Everything that campon wants sent goes to the party at that address.
    fn deliver(&mut self) {
        let mut arrived = Vec::new();
        while let Some(output) = self.shard.poll_output() {
            match output {
                Output::Send { flow, bytes, id } => arrived.push((flow, bytes.to_vec(), id)),
                Output::Resolve { question } => self.questions.push_back(question.clone()),
                Output::Keep { key, record } => {
                    self.kept.insert(key.to_vec(), record.map(<[u8]>::to_vec));
                }
                Output::Store { opening, order } => self.vault.put_in(opening, order),
            }
        }
        self.sounds
            .extend(std::iter::from_fn(|| self.shard.poll_sound()));
        for (flow, raw, id) in arrived {
            self.receive_raw(flow, &raw, id);
        }
        if let Some(reply) = self.vault.next_reply() {
            self.shard.handle_input(self.now, Input::Store(reply));
            self.deliver();
        }
    }

    fn receive_raw(&mut self, flow: Flow, raw: &[u8], id: SendId) {
        if raw == b"\r\n\r\n" {
            self.pings.push((flow, self.now));
            return;
        }
        let read = Message::read(raw, self.now, Some((id, flow)));
        let message = read.unwrap_or_else(|why| {
            self.fail(&format!("{why} in\n{}", String::from_utf8_lossy(raw)))
        });
        self.sent += 1;
        self.receive(flow, message);
    }

    fn receive(&mut self, flow: Flow, message: Message) {
        let start = message.start();
        let Some(seat) = self.seats.iter().position(|seat| seat.is_at(flow)) else {
            self.fail(&format!(
                "campon sent this to nobody, at {flow}:\n{message}"
            ))
        };
        let name = &self.seats[seat].name;
        let to = message.find("To").unwrap_or_default();
        self.note(&format!("campon → {name}  {start}  [{to}]"));
        if let Some(fault) = message.fault() {
            self.fail(&format!("{fault} in\n{message}"));
        }
        if !message.is_request() {
            let asked = (
                message.branch().to_owned(),
                message.cseq_method().to_owned(),
            );
            if !self.asked.contains(&asked) {
                self.fail(&format!("nobody asked for this:\n{message}"));
            }
        }
        self.seats[seat].inbox.push_back(message);
    }

    #[track_caller]
    pub(super) fn quiet(&self) {
        for seat in &self.seats {
            let mut left = seat.inbox.iter().filter(|message| message.status() != 100);
            if let Some(message) = left.next() {
                self.fail(&format!("{} also got\n{message}", seat.name));
            }
        }
    }

    pub(super) fn note(&mut self, what: &str) {
        let time = self.now.since(Timestamp::START).as_secs_f64() - 1000.0;
        self.ladder.push(format!("{time:9.3}  {what}"));
    }

    /// Fails the test with the ladder as it went.
    #[track_caller]
    pub(super) fn fail(&self, why: &str) -> ! {
        let mut ladder = String::new();
        for arrow in &self.ladder {
            let _ = writeln!(ladder, "  {arrow}");
        }
        panic!("{why}\nthe ladder so far:\n{ladder}");
    }

    /// After each ladder: nothing more comes, and no table holds anything.
    fn check_end(&mut self) {
        self.quiet();
        self.note("the ladder ends");
        self.advance(QUIET);
        self.quiet();
        let held = subject::held_by_calls(&self.shard.report(self.now));
        if !held.is_empty() {
            self.fail(&format!("left in the tables: {held:?}"));
        }
        self.advance(REGISTRATIONS_END);
        self.quiet();
        let held = subject::held(&self.shard.report(self.now));
        if !held.is_empty() {
            self.fail(&format!("left after the registrations: {held:?}"));
        }
    }
}

impl Drop for State {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.check_end();
        }
    }
}

impl Seat {
    fn is_at(&self, flow: Flow) -> bool {
        let same_way = self.flow.transport == flow.transport
            && self.flow.remote == flow.remote
            && self.flow.listener == flow.listener;
        let same_stream = flow.connection.is_none() || flow.connection == self.flow.connection;
        same_way && same_stream
    }
}
