//! A worker: one thread that owns a shard, takes in all that is there, sends at once, and sleeps.
//!
//! A turn is: mail from the other threads, datagrams, timers, then sleep until one of them has more.
//! What the shard wants sent leaves right after the input that caused it, so that nothing waits for
//! the end of a turn.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::Sleep;

use crate::media::desk::RoomId;
use crate::media::room::News;
use crate::observe::DatagramCounters;
use crate::routing::names;
use crate::shard::provider::{LineEvent, Question};
use crate::shard::{Input, Output, Report, SendId, Shard};
use crate::sip::flow::{Flow, ListenerId, Transport};
use crate::store::keep::Change;
use crate::time::Timestamp;

use super::allocator::ThreadCache;
use super::applications::Applications;
use super::clock::Clock;
use super::datagrams::{Datagrams, Sent};
use super::keeper::Keeper;
use super::mail::{Command, Mail};
use super::records::Slot;
use super::sound;

/// The most datagrams that are read in a row before timers and mail have their turn.
const DATAGRAMS_A_TURN: usize = 128;
/// The most pieces of mail that are taken in a row.
const MAIL_A_TURN: usize = 128;
/// How often a draining worker looks whether it is done: it may have to count all transactions.
const LOOK: Duration = Duration::from_millis(50);
/// Longer than the longest datagram, which has 65 507 bytes.
const DATAGRAM_BYTES: usize = 64 * 1024;

/// A shard and what drives it.
#[derive(Debug)]
pub(super) struct Worker {
    shard: Shard,
    clock: Clock,
    post: Post,
    mail: mpsc::Receiver<Mail>,
    inbox: Vec<Mail>,
    buffer: Vec<u8>,
    cache: ThreadCache,
    phase: Phase,
    /// When the shard has work to do, as it was at the end of the turn.
    due: Option<Timestamp>,
}

/// How far the worker is from its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    /// Until the operator wants to stop.
    Running,
    /// Until nothing is owed to anybody.
    Draining {
        /// When that is looked at again.
        look: Timestamp,
    },
    /// Nothing more is taken in.
    Over,
}

/// Whether a turn took in all that was there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Turn {
    /// There may be more; the event loop is to look before the next turn.
    Cut,
    /// There was no more.
    Whole,
}

/// Everything that a shard's outputs go through.
#[derive(Debug)]
struct Post {
    /// By listener.
    sockets: Vec<Option<Datagrams>>,
    streams: mpsc::Sender<Command>,
    questions: mpsc::Sender<names::Question>,
    /// To the sound thread, if there is one.
    sound: Option<sound::Slot>,
    /// For call records, if there are to be any.
    records: Option<Slot>,
    /// Where records are kept over a restart; nowhere, if `None`.
    keeper: Option<Keeper>,
    /// What did not leave, for the shard to hear of.
    failed: Vec<(SendId, Flow)>,
    /// What is not heard, for the shard to hear of.
    unheard: Vec<(RoomId, News)>,
    counters: DatagramCounters,
    applications: Applications,
}

impl Worker {
    /// A worker on the event loop of this thread; the sockets are those of the listeners, in order,
    /// `None` for those without datagrams.
    pub(super) fn new(
        shard: Shard,
        clock: Clock,
        sockets: Vec<Option<std::net::UdpSocket>>,
        mail: mpsc::Receiver<Mail>,
        (streams, questions, records): (
            mpsc::Sender<Command>,
            mpsc::Sender<names::Question>,
            Option<Slot>,
        ),
    ) -> io::Result<Self> {
        let sockets = sockets
            .into_iter()
            .map(|socket| socket.map(Datagrams::new).transpose())
            .collect::<Result<_, _>>()?;
        let counters = DatagramCounters::default();
        Ok(Self {
            shard,
            clock,
            post: Post {
                sockets,
                streams,
                questions,
                sound: None,
                records,
                keeper: None,
                failed: Vec::new(),
                unheard: Vec::new(),
                counters,
                applications: Applications::default(),
            },
            mail,
            inbox: Vec::with_capacity(MAIL_A_TURN),
            buffer: vec![0; DATAGRAM_BYTES],
            cache: ThreadCache::default(),
            phase: Phase::Running,
            due: None,
        })
    }

    /// The same, which keeps there what is to outlive it.
    pub(super) fn keeping(mut self, keeper: Option<Keeper>) -> Self {
        self.post.keeper = keeper;
        self
    }

    /// The same, which tells there what is new on lines.
    pub(super) fn telling(mut self, news: mpsc::Sender<LineEvent>) -> Self {
        self.post.applications.tell(news);
        self
    }

    /// The same, whose calls can be heard.
    pub(super) fn sounding(mut self, sound: Option<sound::Slot>) -> Self {
        self.post.sound = sound;
        self
    }

    /// Runs until the operator's wish to stop is fulfilled; what is left then.
    pub(super) async fn run(mut self) -> Report {
        let mut alarm = Alarm::new(self.clock);
        // What the shard wants from the start: to know where its peers are.
        self.post.deliver(&mut self.shard);
        loop {
            let turn = self.turn();
            if self.is_over() {
                return self.report();
            }
            match turn {
                Turn::Cut => tokio::task::yield_now().await,
                Turn::Whole => poll_fn(|context| self.poll_more(context, &mut alarm)).await,
            }
        }
    }

    fn turn(&mut self) -> Turn {
        self.open_mail();
        let turn = self.receive();
        self.report_failures();
        self.run_timers();
        self.cache.set(!self.shard.is_at_rest());
        turn
    }

    fn open_mail(&mut self) {
        let mut inbox = std::mem::take(&mut self.inbox);
        for mail in inbox.drain(..) {
            self.on_mail(mail);
        }
        self.inbox = inbox;
    }

    fn on_mail(&mut self, mail: Mail) {
        let now = self.clock.now();
        match mail {
            Mail::Ask { line, ask, asker } => {
                let asking = self.post.applications.wait(asker);
                let question = Question { asking, line, ask };
                self.take_in(now, Input::Asked(&question));
            }
            Mail::Alive(asker) => {
                let _has_gone = asker.send(());
            }
            Mail::Disconnected { flow } => self.take_in(now, Input::Disconnected { flow }),
            Mail::Drain => {
                self.phase = Phase::Draining { look: now };
                self.take_in(now, Input::Drain);
            }
            Mail::HangUp => {
                self.phase = Phase::Over;
                self.take_in(now, Input::HangUp);
            }
            Mail::Heard { room, news } => self.take_in(now, Input::Heard { room, news }),
            Mail::NotSent { id, flow } => self.take_in(now, Input::NotSent { client: id, flow }),
            Mail::Proven { flow, names } => {
                let names = &names;
                self.take_in(now, Input::Proven { flow, names });
            }
            Mail::Received {
                flow,
                bytes,
                queued,
            } => {
                let delay = now.since(queued);
                self.take_in(
                    now,
                    Input::Received {
                        flow,
                        bytes: &bytes,
                        delay,
                    },
                );
            }
            Mail::Reconfigure { settings, done } => {
                self.take_in(now, Input::Reconfigure(settings));
                let _has_gone = done.send(());
            }
            Mail::Resolved { question, reply } => {
                let reply = reply.as_ref().map_err(|failed| *failed);
                let question = &question;
                self.take_in(now, Input::Resolved { question, reply });
            }
            Mail::Store(replies) => {
                for reply in replies {
                    self.take_in(now, Input::Store(reply));
                }
            }
            // Whoever asked may have gone.
            Mail::Report(asker) => drop(asker.send(self.report())),
        }
    }

    fn receive(&mut self) -> Turn {
        let mut turn = Turn::Whole;
        for index in 0..self.post.sockets.len() {
            let listener = ListenerId(u8::try_from(index).unwrap_or(u8::MAX));
            let more = (0..DATAGRAMS_A_TURN).all(|_| self.receive_one(listener));
            if more {
                turn = Turn::Cut;
            }
        }
        turn
    }

    /// Whether there was one.
    fn receive_one(&mut self, listener: ListenerId) -> bool {
        let socket = self.post.sockets.get_mut(usize::from(listener.0));
        let Some(socket) = socket.and_then(Option::as_mut) else {
            return false;
        };
        let Some((length, remote)) = socket.receive(&mut self.buffer) else {
            return false;
        };
        let now = self.clock.now();
        let delay = socket.delay(now);
        self.post.counters.datagrams_received += 1;
        let flow = Flow {
            transport: Transport::Udp,
            listener,
            remote,
            connection: None,
        };
        let bytes = self.buffer.get(..length).unwrap_or_default();
        self.shard
            .handle_input(now, Input::Received { flow, bytes, delay });
        self.post.deliver(&mut self.shard);
        true
    }

    fn run_timers(&mut self) {
        self.due = self.shard.poll_timeout();
        let Some(due) = self.due else {
            return;
        };
        let now = self.clock.now();
        if due <= now {
            self.shard.handle_timeout(now);
            self.post.deliver(&mut self.shard);
            self.due = self.shard.poll_timeout();
        }
    }

    /// Tells the shard what did not leave. What its reaction sends may fail as well: that is told in
    /// the next turn, so that an unreachable world does not hold this one.
    fn report_failures(&mut self) {
        for (client, flow) in std::mem::take(&mut self.post.failed) {
            self.take_in(self.clock.now(), Input::NotSent { client, flow });
        }
        for (room, news) in std::mem::take(&mut self.post.unheard) {
            self.take_in(self.clock.now(), Input::Heard { room, news });
        }
    }

    fn take_in(&mut self, now: Timestamp, input: Input<'_>) {
        self.shard.handle_input(now, input);
        self.post.deliver(&mut self.shard);
    }

    fn poll_more(&mut self, context: &mut Context<'_>, alarm: &mut Alarm) -> Poll<()> {
        let mut more = !self.post.failed.is_empty() || !self.post.unheard.is_empty();
        for socket in self.post.sockets.iter().flatten() {
            more |= socket.poll_ready(context).is_ready();
        }
        match self
            .mail
            .poll_recv_many(context, &mut self.inbox, MAIL_A_TURN)
        {
            // Nobody is left who could ask for a stop.
            Poll::Ready(0) => self.inbox.push(Mail::HangUp),
            Poll::Pending | Poll::Ready(_) => {}
        }
        more |= !self.inbox.is_empty();
        more |= alarm.poll(context, self.due()).is_ready();
        if more {
            self.post.flush();
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    fn is_over(&mut self) -> bool {
        let Phase::Draining { look } = self.phase else {
            return self.phase == Phase::Over;
        };
        let now = self.clock.now();
        if now < look {
            return false;
        }
        self.phase = Phase::Draining { look: now + LOOK };
        !self.shard.is_owing()
    }

    /// When there is something to do even if nothing comes in.
    fn due(&self) -> Option<Timestamp> {
        let look = match self.phase {
            Phase::Draining { look } => Some(look),
            Phase::Running | Phase::Over => None,
        };
        self.due.into_iter().chain(look).min()
    }

    fn report(&self) -> Report {
        let mut report = self.shard.report(self.clock.now());
        report.counters.extend(self.post.counters.iter());
        if let Some(records) = &self.post.records {
            report.counters.extend(records.counts().iter());
        }
        if let Some(sound) = &self.post.sound {
            report.counters.extend(sound.counts().iter());
        }
        report
    }
}

impl Post {
    /// Carries out what the shard wants done.
    fn deliver(&mut self, shard: &mut Shard) {
        while let Some(output) = shard.poll_output() {
            match output {
                // A question that finds no room is given up by the shard in time.
                Output::Resolve { question } => {
                    drop(self.questions.try_send(question.clone()));
                }
                Output::Keep { key, record } => self.keep(key, record),
                Output::Store { opening, order } => {
                    if let Some(keeper) = &self.keeper {
                        keeper.order(opening, order.clone());
                    }
                }
                Output::Send { flow, bytes, id } => match flow.transport {
                    Transport::Udp => self.send_datagram(flow, bytes, id),
                    Transport::Tcp | Transport::Tls => {
                        let bytes = Bytes::copy_from_slice(bytes);
                        let proof = shard.proof_of(&flow);
                        self.send_by_stream(Command::Send {
                            flow,
                            bytes,
                            id,
                            proof,
                        });
                    }
                },
            }
        }
        self.applications.deliver(shard);
        while let Some(command) = shard.poll_sound() {
            let sound = self.sound.as_mut();
            let refused = sound.and_then(|sound| sound.put(command).err());
            self.unheard.extend(refused);
        }
        if let Some(records) = &self.records {
            while let Some(record) = shard.poll_record() {
                records.put(record);
            }
        }
    }

    fn keep(&mut self, key: &[u8], record: Option<&[u8]>) {
        let change = Change {
            key: key.into(),
            record: record.map(Box::from),
        };
        if let Some(keeper) = &self.keeper
            && !keeper.keep(change)
        {
            self.counters.records_dropped += 1;
        }
    }

    /// A full queue is a peer that does not read; we do not wait for him.
    fn send_by_stream(&mut self, command: Command) {
        let sent = self.streams.try_send(command);
        if let Err(TrySendError::Full(unsent) | TrySendError::Closed(unsent)) = sent
            && let Command::Send { flow, id, .. } = unsent
        {
            self.fail(id, flow);
        }
    }

    fn send_datagram(&mut self, flow: Flow, bytes: &[u8], id: SendId) {
        let socket = self.sockets.get_mut(usize::from(flow.listener.0));
        let socket = socket.and_then(Option::as_mut);
        match socket.map(|socket| socket.send(flow.remote, bytes)) {
            Some(Sent::Left) => self.counters.datagrams_sent += 1,
            Some(Sent::Deferred) => self.counters.datagrams_deferred += 1,
            Some(Sent::Dropped) => self.counters.datagrams_dropped += 1,
            Some(Sent::Refused) | None => self.fail(id, flow),
        }
    }

    /// S-27: what cannot be sent is the core's to react to.
    fn fail(&mut self, id: SendId, flow: Flow) {
        self.counters.sends_failed += 1;
        self.failed.push((id, flow));
    }

    fn flush(&mut self) {
        for socket in self.sockets.iter_mut().flatten() {
            self.counters.datagrams_sent += socket.flush();
        }
    }
}

/// Wakes the worker when the shard has something due.
///
/// Deadlines mostly move away, as answers come: so an alarm that is set too early stays set, and the
/// worker goes back to sleep for the rest.
#[derive(Debug)]
struct Alarm {
    clock: Clock,
    sleep: Pin<Box<Sleep>>,
    /// When it goes off; `None` if it has gone off.
    set: Option<Timestamp>,
}

impl Alarm {
    fn new(clock: Clock) -> Self {
        let sleep = Box::pin(tokio::time::sleep_until(clock.instant(Timestamp::START)));
        Self {
            clock,
            sleep,
            set: None,
        }
    }

    fn poll(&mut self, context: &mut Context<'_>, due: Option<Timestamp>) -> Poll<()> {
        let Some(due) = due else {
            return Poll::Pending;
        };
        if self.set.is_none_or(|set| due < set) {
            self.sleep.as_mut().reset(self.clock.instant(due));
            self.set = Some(due);
        }
        let rung = self.sleep.as_mut().poll(context);
        if rung.is_ready() {
            self.set = None;
        }
        rung
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::net::SocketAddr;

    use tokio::net::UdpSocket;
    use tokio::sync::oneshot;
    use tokio::task::JoinHandle;

    use super::*;
    use crate::random::Rng;
    use crate::shard::settings::Overload;
    use crate::shard::{Listener, Settings};
    use crate::sip::flow::ConnectionId;

    /// A worker on a socket of ours, and a peer's socket.
    struct Kit {
        listener: SocketAddr,
        peer: UdpSocket,
        mail: mpsc::Sender<Mail>,
        commands: mpsc::Receiver<Command>,
        worker: JoinHandle<Report>,
    }

    impl Kit {
        fn start() -> Self {
            let loopback = ([127, 0, 0, 1], 0).into();
            let socket = crate::io::socket::bind_udp(loopback).expect("loopback");
            let listener = socket.local_addr().expect("bound");
            let listeners = vec![Listener::at(listener)];
            // However slow the machine is, nothing is refused for it.
            let overload = Overload {
                delay_max: Duration::from_mins(1),
            };
            let settings = Settings {
                listeners,
                overload,
                ..Settings::default()
            };
            let shard = Shard::new(settings, Rng::from_number(1));
            let (mail, mailbox) = mpsc::channel(16);
            let (streams, commands) = mpsc::channel(1);
            let worker = Worker::new(
                shard,
                Clock::start(),
                vec![Some(socket)],
                mailbox,
                (streams, mpsc::channel(1).0, None),
            );
            let worker = tokio::spawn(worker.expect("an event loop runs").run());
            // With room for the answers to a burst.
            let peer = crate::io::socket::bind_udp(loopback).expect("loopback");
            let peer = UdpSocket::from_std(peer).expect("an event loop runs");
            Self {
                listener,
                peer,
                mail,
                commands,
                worker,
            }
        }

        fn flow(&self, transport: Transport) -> Flow {
            let connection = transport.is_reliable().then_some(ConnectionId(3));
            let remote = self.peer.local_addr().expect("bound");
            Flow {
                transport,
                listener: ListenerId(0),
                remote,
                connection,
            }
        }

        fn options(&self, call_id: usize, transport: Transport) -> String {
            let Self { listener, peer, .. } = self;
            let (peer, via) = (peer.local_addr().expect("bound"), transport.via_name());
            format!(
                "OPTIONS sip:{listener} SIP/2.0\r\n\
                 Via: SIP/2.0/{via} {peer};branch=z9hG4bK{call_id}\r\n\
                 Max-Forwards: 70\r\n\
                 From: <sip:a@{peer}>;tag=1\r\n\
                 To: <sip:{listener}>\r\n\
                 Call-ID: {call_id}\r\n\
                 CSeq: 1 OPTIONS\r\n\
                 Content-Length: 0\r\n\r\n"
            )
        }

        async fn tell(&self, mail: Mail) {
            self.mail.send(mail).await.expect("a worker");
        }

        async fn count(&self, name: &str) -> u64 {
            let (asker, answer) = oneshot::channel();
            self.tell(Mail::Report(asker)).await;
            let report = answer.await.expect("a report");
            let found = report.counters.iter().find(|counter| counter.0 == name);
            found.expect("a counter of that name").1
        }
    }

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let bounded = async { tokio::time::timeout(Duration::from_secs(20), test).await };
        runtime
            .expect("an event loop")
            .block_on(bounded)
            .expect("the test ends");
    }

    /// More than one turn's worth, so that a cut turn goes on by itself.
    #[test]
    fn every_datagram_of_a_burst_is_answered() {
        run(async {
            let kit = Kit::start();
            let burst = DATAGRAMS_A_TURN + 1;
            for call_id in 0..burst {
                let options = kit.options(call_id, Transport::Udp);
                kit.peer
                    .send_to(options.as_bytes(), kit.listener)
                    .await
                    .expect("loopback");
            }
            let mut answer = [0; 2048];
            for _ in 0..burst {
                let (length, from) = kit.peer.recv_from(&mut answer).await.expect("an answer");
                assert!(answer[..length].starts_with(b"SIP/2.0 200 OK\r\n"));
                assert_eq!(from, kit.listener);
            }
            assert_eq!(
                kit.count("datagrams_sent").await,
                u64::try_from(burst).expect("small")
            );
        });
    }

    #[test]
    fn the_answer_to_a_stream_message_goes_to_its_connection() {
        run(async {
            let mut kit = Kit::start();
            let flow = kit.flow(Transport::Tcp);
            let bytes = Bytes::from(kit.options(1, Transport::Tcp));
            kit.tell(Mail::Received {
                flow,
                bytes,
                queued: Timestamp::START,
            })
            .await;
            let Some(Command::Send {
                flow: to, bytes, ..
            }) = kit.commands.recv().await
            else {
                panic!("no answer");
            };
            assert_eq!(to, flow);
            assert!(bytes.starts_with(b"SIP/2.0 200 OK\r\n"));
        });
    }

    /// A stream that takes nothing any more must not hold up the datagrams.
    #[test]
    fn what_the_streams_have_no_room_for_is_not_waited_for() {
        run(async {
            let kit = Kit::start();
            let flow = kit.flow(Transport::Tcp);
            for call_id in 1..=3 {
                let bytes = Bytes::from(kit.options(call_id, Transport::Tcp));
                kit.tell(Mail::Received {
                    flow,
                    bytes,
                    queued: Timestamp::START,
                })
                .await;
            }
            assert_eq!(kit.count("sends_failed").await, 2);
            let options = kit.options(4, Transport::Udp);
            kit.peer
                .send_to(options.as_bytes(), kit.listener)
                .await
                .expect("loopback");
            kit.peer.recv_from(&mut [0; 2048]).await.expect("an answer");
        });
    }

    #[test]
    fn a_worker_that_owes_nothing_ends_when_it_is_drained() {
        run(async {
            let kit = Kit::start();
            kit.tell(Mail::Drain).await;
            let report = kit.worker.await.expect("no panic");
            assert_eq!((report.draining, report.owed), (true, 0));
        });
    }

    #[test]
    fn a_worker_ends_at_once_when_it_is_to_hang_up() {
        run(async {
            let kit = Kit::start();
            kit.tell(Mail::HangUp).await;
            kit.worker.await.expect("no panic");
        });
    }

    #[test]
    fn a_worker_that_nobody_can_stop_any_more_ends() {
        run(async {
            let Kit { mail, worker, .. } = Kit::start();
            drop(mail);
            worker.await.expect("no panic");
        });
    }
}
