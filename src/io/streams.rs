//! All stream connections: lets them in, opens them, finds them by number or address.
//!
//! Spec: RFC 3261 §18.1.1, §18.2.2 (which connection carries what), §18.2.1 (listening by TCP).

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use crate::observe::StreamCounters;
use crate::shard::{Report, TableReport};
use crate::sip::flow::{ConnectionId, Flow, ListenerId, Transport};

use super::clock::Clock;
use super::connection::{Connection, Ending, Event, Opener, Outgoing, Write};
use super::mail::{Command, Mail};
use super::roster::{Admission, Entry, Limits, Roster};

/// What waits to be written to one peer; past it, nothing is taken for him.
const WRITES_MAX: usize = 1024;
/// Events that wait; their senders wait beyond that.
const EVENTS_MAX: usize = 256;
/// After an error of accepting, such as too many open files, until the next attempt.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// At the end, how long what is queued has to be written.
const LAST_WRITES: Duration = Duration::from_millis(500);

/// All stream connections.
#[derive(Debug)]
pub(super) struct Streams {
    clock: Clock,
    listeners: Vec<SocketAddr>,
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
        listeners: Vec<std::net::TcpListener>,
        mail: mpsc::Sender<Mail>,
        commands: mpsc::Receiver<Command>,
    ) -> io::Result<Self> {
        let (tell, events) = mpsc::channel(EVENTS_MAX);
        let mut addresses = Vec::new();
        for (index, listener) in (0..).zip(listeners) {
            addresses.push(listener.local_addr()?);
            tokio::spawn(accept(
                ListenerId(index),
                TcpListener::from_std(listener)?,
                tell.clone(),
            ));
        }
        Ok(Self {
            clock,
            listeners: addresses,
            mail,
            commands,
            events,
            tell,
            roster: Roster::new(Limits::default()),
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
            Command::Send { flow, bytes, id } => {
                let write = Box::new(Write {
                    bytes,
                    sender: Some((id, flow)),
                });
                if !self.queue(flow, write) {
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
        if let Some(connection) = self.connection(listener, remote, Opener::Peer) {
            self.counters.connections_accepted += 1;
            tokio::spawn(connection.run(stream, Opener::Peer));
        }
    }

    fn on_ended(&mut self, id: ConnectionId, ending: Ending) {
        self.tasks -= 1;
        self.roster.remove(id);
        if ending == Ending::Spoiled {
            self.counters.connections_spoiled += 1;
        }
    }

    /// Puts a message in the queue of its connection, which is opened if need be; whether it is there.
    fn queue(&mut self, flow: Flow, write: Box<Write>) -> bool {
        // What names a connection goes by it or not at all: another is the sender's to choose.
        let id = flow
            .connection
            .or_else(|| self.roster.find(flow.listener, flow.remote));
        let id = id.or_else(|| self.open(flow));
        let writes = id.and_then(|id| self.roster.writes(id));
        writes.is_some_and(|writes| writes.try_send(write).is_ok())
    }

    fn open(&mut self, flow: Flow) -> Option<ConnectionId> {
        if flow.transport != Transport::Tcp || self.roster.is_full() {
            return None;
        }
        let address = *self.listeners.get(usize::from(flow.listener.0))?;
        let connection = self.connection(flow.listener, flow.remote, Opener::Us)?;
        let id = connection.id;
        self.counters.connections_opened += 1;
        tokio::spawn(connection.open(address));
        Some(id)
    }

    /// A numbered connection, in the roster; `None` when all numbers have been given.
    fn connection(
        &mut self,
        listener: ListenerId,
        remote: SocketAddr,
        opener: Opener,
    ) -> Option<Connection> {
        let id = ConnectionId(self.next_id);
        self.next_id = self.next_id.checked_add(1)?;
        let (writes, queue) = mpsc::channel(WRITES_MAX);
        let connection = Connection {
            flow: Flow {
                transport: Transport::Tcp,
                listener,
                remote,
                connection: Some(id),
            },
            id,
            clock: self.clock,
            mail: self.mail.clone(),
            events: self.tell.clone(),
            outgoing: Outgoing::new(queue),
            own_queue: writes.downgrade(),
        };
        let since = self.clock.now();
        self.roster.insert(
            id,
            Entry {
                listener,
                remote,
                opener,
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
