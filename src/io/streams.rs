//! All stream connections: lets them in, opens them, finds them by number or address.
//!
//! Spec: RFC 3261 §18.1.1, §18.2.2 (which connection carries what), §18.2.1 (listening by TCP);
//! RFC 5922 §7 (TLS).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use crate::observe::StreamCounters;
use crate::shard::{Report, TableReport};
use crate::sip::flow::{ConnectionId, Flow, ListenerId, Transport};
use crate::tls::Proof;

use super::clock::Clock;
use super::connection::{Connection, Ending, Event, Opener, Outgoing, Patience, Wrapping, Write};
use super::mail::{Command, Mail};
use super::roster::{Admission, Entry, Limits, Roster};
use super::secure::Secure;

/// What waits to be written to one peer; past it, nothing is taken for him.
const WRITES_MAX: usize = 1024;
/// Events that wait; their senders wait beyond that.
const EVENTS_MAX: usize = 256;
/// After an error of accepting, such as too many open files, until the next attempt.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// At the end, how long what is queued has to be written.
const LAST_WRITES: Duration = Duration::from_millis(500);

/// What peers may take of us.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tolerance {
    /// Of each connection.
    pub(super) patience: Patience,
    /// How many connections.
    pub(super) limits: Limits,
}

/// All stream connections.
pub(super) struct Streams {
    clock: Clock,
    patience: Patience,
    listeners: Vec<SocketAddr>,
    secure: Secure,
    mail: mpsc::Sender<Mail>,
    commands: mpsc::Receiver<Command>,
    events: mpsc::Receiver<Event>,
    /// For the tasks to come.
    tell: mpsc::Sender<Event>,
    roster: Roster,
    /// Tasks of connections that have not ended.
    tasks: usize,
    next_id: u32,
    counters: StreamCounters,
}

impl Streams {
    /// Starts to accept on the event loop of this thread; the listeners are in the order of their ids.
    pub(super) fn start(
        clock: Clock,
        tolerance: Tolerance,
        (listeners, secure): (Vec<std::net::TcpListener>, Secure),
        mail: mpsc::Sender<Mail>,
        commands: mpsc::Receiver<Command>,
    ) -> io::Result<Self> {
        let (tell, events) = mpsc::channel(EVENTS_MAX);
        let mut addresses = Vec::new();
        for (index, listener) in (0..).zip(listeners) {
            addresses.push(listener.local_addr()?);
            let socket = TcpListener::from_std(listener)?;
            tokio::spawn(accept(ListenerId(index), socket, tell.clone()));
        }
        Ok(Self {
            clock,
            patience: tolerance.patience,
            listeners: addresses,
            secure,
            mail,
            commands,
            events,
            tell,
            roster: Roster::new(tolerance.limits),
            tasks: 0,
            next_id: 0,
            counters: StreamCounters::default(),
        })
    }

    /// Runs until the worker is over, and writes its last messages.
    pub(super) async fn run(mut self) {
        loop {
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(command) => self.on_command(command).await,
                    None => break,
                },
                Some(event) = self.events.recv() => self.on_event(event),
            }
        }
        self.roster.clear();
        // What a peer does not take in that time is lost with us.
        drop(timeout(LAST_WRITES, self.tasks_ended()).await);
    }

    async fn tasks_ended(&mut self) {
        while self.tasks > 0 {
            if let Some(Event::Ended(..)) = self.events.recv().await {
                self.tasks -= 1;
            }
        }
    }

    async fn on_command(&mut self, command: Command) {
        match command {
            // Whoever asked may have gone.
            Command::Report(asker) => drop(asker.send(self.report())),
            Command::Reload(asker) => drop(asker.send(self.secure.reload())),
            Command::Send {
                flow,
                bytes,
                id,
                proof,
            } => {
                let write = Box::new(Write {
                    bytes,
                    sender: Some((id, flow)),
                });
                if !self.queue(flow, proof, write) {
                    // S-27. A worker that is gone needs no mail.
                    drop(self.mail.send(Mail::NotSent { id, flow }).await);
                }
            }
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Accepted {
                listener,
                stream,
                remote,
            } => {
                self.on_accepted(listener, stream, remote);
            }
            Event::Ended(id, ending) => self.on_ended(id, ending),
            Event::Proven(id) => self.roster.prove(id),
        }
    }

    fn on_accepted(&mut self, listener: ListenerId, stream: TcpStream, remote: SocketAddr) {
        match self.roster.admission(remote.ip()) {
            Admission::Welcome => {}
            Admission::Instead(oldest) => {
                self.counters.connections_evicted += 1;
                self.roster.remove(oldest);
            }
            Admission::Refused => {
                self.counters.connections_refused += 1;
                return;
            }
        }
        let handshake = self.secure.accept(listener);
        let wrapping = handshake.map_or(Wrapping::Plain, Wrapping::Tls);
        let from_peer = (Opener::Peer, None);
        if let Some(connection) = self.connection((listener, remote), from_peer, wrapping) {
            self.counters.connections_accepted += 1;
            tokio::spawn(connection.run(stream, Opener::Peer));
        }
    }

    fn on_ended(&mut self, id: ConnectionId, ending: Ending) {
        self.tasks -= 1;
        self.roster.remove(id);
        match ending {
            Ending::Spoiled => self.counters.connections_spoiled += 1,
            Ending::Unsecured => self.counters.connections_unsecured += 1,
            Ending::Closed | Ending::Unwanted => {}
        }
    }

    /// Puts a message in the queue of its connection, which is opened if need be; whether it is there.
    fn queue(&mut self, flow: Flow, proof: Option<Arc<Proof>>, write: Box<Write>) -> bool {
        // What names a connection goes by it or not at all: another is the sender's to choose.
        let id = flow
            .connection
            .or_else(|| self.roster.find(flow.listener, flow.remote, proof.clone()));
        let id = id.or_else(|| self.open(flow, proof));
        let writes = id.and_then(|id| self.roster.writes(id));
        writes.is_some_and(|writes| writes.try_send(write).is_ok())
    }

    fn open(&mut self, flow: Flow, proof: Option<Arc<Proof>>) -> Option<ConnectionId> {
        if self.roster.is_full() {
            return None;
        }
        let wrapping = self.wrapping_towards(flow, proof.as_ref())?;
        let address = *self.listeners.get(usize::from(flow.listener.0))?;
        let to = (flow.listener, flow.remote);
        let connection = self.connection(to, (Opener::Us, proof), wrapping)?;
        let id = connection.id;
        self.counters.connections_opened += 1;
        tokio::spawn(connection.open(address));
        Some(id)
    }

    /// `None` where no connection can be opened: TLS to nobody in particular proves nothing.
    fn wrapping_towards(&mut self, flow: Flow, proof: Option<&Arc<Proof>>) -> Option<Wrapping> {
        match flow.transport {
            Transport::Udp => None,
            Transport::Tcp => Some(Wrapping::Plain),
            Transport::Tls => match self.secure.connect(flow.listener, proof?) {
                Ok(handshake) => handshake.map(Wrapping::Tls),
                Err(error) => {
                    tracing::warn!(to = %flow, %error, "cannot speak TLS");
                    None
                }
            },
        }
    }

    /// A numbered connection, in the roster; `None` when all numbers have been given.
    fn connection(
        &mut self,
        (listener, remote): (ListenerId, SocketAddr),
        (opener, proof): (Opener, Option<Arc<Proof>>),
        wrapping: Wrapping,
    ) -> Option<Connection> {
        let id = ConnectionId(self.next_id);
        self.next_id = self.next_id.checked_add(1)?;
        let (writes, queue) = mpsc::channel(WRITES_MAX);
        let connection = Connection {
            flow: Flow {
                transport: match &wrapping {
                    Wrapping::Plain => Transport::Tcp,
                    Wrapping::Tls(_) => Transport::Tls,
                },
                listener,
                remote,
                connection: Some(id),
            },
            id,
            clock: self.clock,
            patience: self.patience,
            mail: self.mail.clone(),
            events: self.tell.clone(),
            outgoing: Outgoing::new(queue, self.patience.write),
            own_queue: writes.downgrade(),
            wrapping,
        };
        let since = self.clock.now();
        self.roster.insert(
            id,
            Entry {
                listener,
                remote,
                opener,
                proof,
                since,
                writes,
            },
        );
        self.tasks += 1;
        Some(connection)
    }

    fn report(&self) -> Report {
        let now = self.clock.now();
        let connections = TableReport {
            name: "connections",
            entries: self.roster.len(),
            oldest: self.roster.oldest().map(|since| now.since(since)),
        };
        Report {
            tables: vec![connections],
            counters: self.counters.iter().collect(),
            ..Report::default()
        }
    }
}

/// Lets in whoever connects, until the streams are gone.
async fn accept(listener: ListenerId, socket: TcpListener, events: mpsc::Sender<Event>) {
    loop {
        match socket.accept().await {
            Ok((stream, remote)) => {
                let accepted = Event::Accepted {
                    listener,
                    stream,
                    remote,
                };
                if events.send(accepted).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;

    use bytes::Bytes;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::sync::oneshot;

    use super::*;
    use crate::shard::SendId;

    const OPTIONS: &[u8] = b"OPTIONS sip:a SIP/2.0\r\nContent-Length: 2\r\n\r\nxy";
    const ANSWER: &[u8] = b"SIP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n";
    const ID: SendId = SendId(None);

    /// Streams on one listener of ours, and both ends of their channels.
    struct Kit {
        listener: SocketAddr,
        mail: mpsc::Receiver<Mail>,
        commands: mpsc::Sender<Command>,
    }

    impl Kit {
        fn start(tolerance: Tolerance) -> Self {
            let socket = bound();
            let listener = socket.local_addr().expect("bound");
            let (mail, mailbox) = mpsc::channel(64);
            let (commands, taken) = mpsc::channel(64);
            let clock = Clock::start();
            let secure = Secure::new(vec![None]).expect("no certificates");
            let streams = Streams::start(clock, tolerance, (vec![socket], secure), mail, taken);
            tokio::spawn(streams.expect("an event loop runs").run());
            Self {
                listener,
                mail: mailbox,
                commands,
            }
        }

        async fn client(&self) -> TcpStream {
            TcpStream::connect(self.listener).await.expect("a listener")
        }

        /// The next message, with the flow by which it came.
        async fn received(&mut self) -> (Flow, Bytes) {
            match self.mail.recv().await {
                Some(Mail::Received { flow, bytes, .. }) => (flow, bytes),
                other => panic!("{other:?} instead of a message"),
            }
        }

        async fn disconnected(&mut self) -> Flow {
            match self.mail.recv().await {
                Some(Mail::Disconnected { flow }) => flow,
                other => panic!("{other:?} instead of a disconnection"),
            }
        }

        async fn not_sent(&mut self) -> (SendId, Flow) {
            match self.mail.recv().await {
                Some(Mail::NotSent { id, flow }) => (id, flow),
                other => panic!("{other:?} instead of a failure"),
            }
        }

        async fn send(&self, flow: Flow, bytes: &'static [u8]) {
            let bytes = Bytes::from_static(bytes);
            self.commands
                .send(Command::Send {
                    flow,
                    bytes,
                    id: ID,
                    proof: None,
                })
                .await
                .expect("streams");
        }

        async fn count(&self, name: &str) -> u64 {
            let (asker, answer) = oneshot::channel();
            self.commands
                .send(Command::Report(asker))
                .await
                .expect("streams");
            let report = answer.await.expect("a report");
            let found = report.counters.iter().find(|counter| counter.0 == name);
            found.expect("a counter of that name").1
        }
    }

    /// A listening socket of our set-up, at a port that the system chooses.
    fn bound() -> std::net::TcpListener {
        crate::io::socket::bind_tcp(([127, 0, 0, 1], 0).into()).expect("loopback")
    }

    fn short() -> Tolerance {
        let soon = Duration::from_millis(20);
        let patience = Patience {
            first_message: soon,
            message: soon,
            ..Patience::default()
        };
        Tolerance {
            patience,
            limits: Limits::default(),
        }
    }

    fn flow_to(remote: SocketAddr) -> Flow {
        let listener = ListenerId(0);
        Flow {
            transport: Transport::Tcp,
            listener,
            remote,
            connection: None,
        }
    }

    async fn read_exactly(stream: &mut TcpStream, expected: &[u8]) {
        let mut read = vec![0; expected.len()];
        stream.read_exact(&mut read).await.expect("as many bytes");
        assert_eq!(read, expected);
    }

    async fn read_end(stream: &mut TcpStream) {
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.expect("an orderly end");
        assert_eq!(rest, b"");
    }

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let bounded = async { timeout(Duration::from_secs(20), test).await };
        runtime
            .expect("an event loop")
            .block_on(bounded)
            .expect("the test ends");
    }

    #[test]
    fn messages_arrive_whole_in_order_and_with_their_flow() {
        run(async {
            let mut kit = Kit::start(Tolerance::default());
            let mut client = kit.client().await;
            client
                .write_all(&[OPTIONS, ANSWER, OPTIONS].concat())
                .await
                .expect("open");
            let (flow, first) = kit.received().await;
            assert_eq!(first, OPTIONS); // S-26
            assert_eq!(flow.remote, client.local_addr().expect("connected"));
            assert_eq!(flow.connection, Some(ConnectionId(0)));
            assert_eq!(kit.received().await, (flow, Bytes::from_static(ANSWER)));
            assert_eq!(kit.received().await, (flow, Bytes::from_static(OPTIONS)));
        });
    }

    #[test]
    fn a_double_line_end_is_answered_by_a_single_one() {
        run(async {
            let kit = Kit::start(Tolerance::default());
            let mut client = kit.client().await;
            client.write_all(b"\r\n\r\n").await.expect("open");
            read_exactly(&mut client, b"\r\n").await; // S-83
        });
    }

    #[test]
    fn an_answer_goes_back_over_the_connection_of_its_request() {
        run(async {
            let mut kit = Kit::start(Tolerance::default());
            let (mut one, mut other) = (kit.client().await, kit.client().await);
            one.write_all(OPTIONS).await.expect("open");
            let (flow_of_one, _) = kit.received().await;
            other.write_all(OPTIONS).await.expect("open");
            let (flow_of_other, _) = kit.received().await;
            kit.send(flow_of_other, OPTIONS).await;
            kit.send(flow_of_one, ANSWER).await;
            read_exactly(&mut one, ANSWER).await;
            read_exactly(&mut other, OPTIONS).await;
        });
    }

    #[test]
    fn one_connection_is_opened_from_the_listeners_address_and_used_again() {
        run(async {
            let mut kit = Kit::start(Tolerance::default());
            let peer = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
            let remote = peer.local_addr().expect("bound");
            kit.send(flow_to(remote), OPTIONS).await;
            kit.send(flow_to(remote), ANSWER).await;
            let (mut accepted, from) = peer.accept().await.expect("a connection");
            assert_eq!(from.ip(), kit.listener.ip());
            read_exactly(&mut accepted, &[OPTIONS, ANSWER].concat()).await;
            accepted.write_all(ANSWER).await.expect("open");
            let (flow, _) = kit.received().await;
            assert_eq!(
                (flow.remote, flow.connection),
                (remote, Some(ConnectionId(0)))
            );
            assert_eq!(kit.count("connections_opened").await, 1);
        });
    }

    #[test]
    fn what_nobody_listens_for_is_reported_as_not_sent() {
        run(async {
            let mut kit = Kit::start(Tolerance::default());
            let nobody = flow_to(bound().local_addr().expect("bound, and gone"));
            kit.send(nobody, OPTIONS).await;
            assert_eq!(kit.not_sent().await, (ID, nobody)); // S-27
        });
    }

    #[test]
    fn a_connection_that_has_ended_is_not_replaced_by_another() {
        run(async {
            let mut kit = Kit::start(Tolerance::default());
            let mut client = kit.client().await;
            client.write_all(OPTIONS).await.expect("open");
            let (flow, _) = kit.received().await;
            drop(client);
            assert_eq!(kit.disconnected().await, flow);
            kit.send(flow, ANSWER).await;
            assert_eq!(kit.not_sent().await, (ID, flow)); // S-27
        });
    }

    #[test]
    fn who_connects_and_says_nothing_is_hung_up_on() {
        run(async {
            let mut kit = Kit::start(short());
            let mut client = kit.client().await;
            read_end(&mut client).await;
            assert_eq!(
                kit.disconnected().await.remote,
                client.local_addr().expect("bound")
            );
            assert_eq!(kit.count("connections_spoiled").await, 1);
        });
    }

    #[test]
    fn who_never_ends_his_second_message_is_hung_up_on() {
        run(async {
            let mut kit = Kit::start(short());
            let mut client = kit.client().await;
            let (begun, _) = OPTIONS.split_at(30);
            client
                .write_all(&[OPTIONS, begun].concat())
                .await
                .expect("open");
            kit.received().await;
            read_end(&mut client).await;
            assert_eq!(kit.count("connections_spoiled").await, 1);
        });
    }

    #[test]
    fn who_has_spoken_may_be_silent() {
        run(async {
            let mut kit = Kit::start(short());
            let mut client = kit.client().await;
            client.write_all(OPTIONS).await.expect("open");
            let (flow, _) = kit.received().await;
            // Another one's deadline is later than this one's would be.
            read_end(&mut kit.client().await).await;
            assert_ne!(kit.disconnected().await, flow);
            kit.send(flow, ANSWER).await;
            read_exactly(&mut client, ANSWER).await;
        });
    }

    #[test]
    fn what_breaks_the_framing_is_answered_and_then_hung_up_on() {
        run(async {
            let mut kit = Kit::start(Tolerance::default());
            let mut client = kit.client().await;
            let broken = b"OPTIONS sip:a SIP/2.0\r\nContent-Length: x\r\n\r\n";
            client
                .write_all(&[broken, OPTIONS].concat())
                .await
                .expect("open");
            let (flow, head) = kit.received().await;
            assert_eq!(head, broken.as_slice());
            kit.send(flow, ANSWER).await;
            read_exactly(&mut client, ANSWER).await;
            read_end(&mut client).await;
            // S-26: what follows is no message of anybody's.
            assert_eq!(kit.disconnected().await, flow);
        });
    }

    #[test]
    fn a_message_without_a_length_ends_the_connection_unanswered() {
        run(async {
            let mut kit = Kit::start(Tolerance::default());
            let mut client = kit.client().await;
            client
                .write_all(b"OPTIONS sip:a SIP/2.0\r\nCSeq: 1 OPTIONS\r\n\r\n")
                .await
                .expect("open");
            // S-26: over TCP it is no message, and its end is not known.
            assert_eq!(
                kit.disconnected().await.remote,
                client.local_addr().expect("bound")
            );
        });
    }

    #[test]
    fn too_many_connections_cost_the_oldest_silent_one_its_place() {
        run(async {
            let limits = Limits {
                from_source_max: 1,
                ..Limits::default()
            };
            let mut kit = Kit::start(Tolerance {
                limits,
                ..Tolerance::default()
            });
            let (mut silent, mut speaker) = (kit.client().await, kit.client().await);
            read_end(&mut silent).await;
            let gone = kit.disconnected().await;
            assert_eq!(gone.remote, silent.local_addr().expect("bound"));
            speaker.write_all(OPTIONS).await.expect("open");
            kit.received().await;
            assert_eq!(kit.count("connections_evicted").await, 1);
        });
    }

    #[test]
    fn where_everybody_has_spoken_nobody_more_is_let_in() {
        run(async {
            let limits = Limits {
                connections_max: 1,
                ..Limits::default()
            };
            let mut kit = Kit::start(Tolerance {
                limits,
                ..Tolerance::default()
            });
            let mut speaker = kit.client().await;
            speaker.write_all(OPTIONS).await.expect("open");
            let (flow, _) = kit.received().await;
            read_end(&mut kit.client().await).await;
            assert_eq!(kit.count("connections_refused").await, 1);
            kit.send(flow, ANSWER).await;
            read_exactly(&mut speaker, ANSWER).await;
        });
    }

    #[test]
    fn what_is_queued_at_the_end_is_written() {
        run(async {
            let mut kit = Kit::start(Tolerance::default());
            let mut client = kit.client().await;
            client.write_all(OPTIONS).await.expect("open");
            let (flow, _) = kit.received().await;
            kit.send(flow, ANSWER).await;
            drop(kit);
            read_exactly(&mut client, ANSWER).await;
            read_end(&mut client).await;
        });
    }
}
