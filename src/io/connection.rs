//! One stream connection: a task that reads messages, writes messages, and ends.
//!
//! Spec: RFC 3261 §18.3 (framing); RFC 5626 §3.5.1 (keep-alive), §4.4.1.
//!
//! ```text
//!   connected ---- a message in 10 s ----> proven ---- closed by either side, unframed,
//!       |                                              a message that takes over 30 s,
//!       +---- none: too slow ----> ended               a peer that does not read ----> ended
//! ```
//!
//! Whatever was queued and did not leave is reported, one by one, before the end is.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncWriteExt as _;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use crate::shard::SendId;
use crate::sip::error::What;
use crate::sip::flow::{ConnectionId, Flow, ListenerId};
use crate::sip::framing::{Frame, FrameError, Framer, Limits};

use super::clock::Clock;
use super::mail::Mail;
use super::socket;

/// How long a connection waits for its peer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Until the first message of whoever connected to us is complete (T18).
    pub(super) first_message: Duration,
    /// From a message's first byte to its last (T18).
    pub(super) message: Duration,
    /// Until he takes what is written to him.
    pub(super) write: Duration,
    /// Until he reacts to our connecting.
    pub(super) connect: Duration,
    /// Until the answer to what broke the framing has left.
    pub(super) last_words: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            first_message: Duration::from_secs(10),
            message: Duration::from_secs(30),
            write: Duration::from_secs(30),
            // Well below timer B, so that the transaction can still go elsewhere.
            connect: Duration::from_secs(5),
            last_words: Duration::from_millis(500),
        }
    }
}

/// How much is read at once; on the stack only, so that idle connections hold none.
const READ_BYTES: usize = 8 * 1024;
/// The answer to a ping (S-83).
const PONG: &[u8] = b"\r\n";

/// A message that waits to be written.
#[derive(Debug)]
pub(super) struct Write {
    /// The message.
    pub(super) bytes: Bytes,
    /// What to call it if it does not leave; `None` for a pong.
    pub(super) sender: Option<(SendId, Flow)>,
}

/// Boxed, as a queue sets aside room for a block of entries at once.
pub(super) type Writes = mpsc::Sender<Box<Write>>;

/// What the streams are told of a connection.
#[derive(Debug)]
pub(super) enum Event {
    /// Somebody connected.
    Accepted {
        /// Where.
        listener: ListenerId,
        /// His connection.
        stream: TcpStream,
        /// His address.
        remote: SocketAddr,
    },
    /// It has ended; nothing more is written to it.
    Ended(ConnectionId, Ending),
    /// It has carried a whole message.
    Proven(ConnectionId),
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Ending {
    /// By the peer, or by the network.
    Closed,
    /// By us, for what the peer sent or did not send in time.
    Spoiled,
    /// By us: no longer wanted.
    Unwanted,
}

/// Who opened a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Opener {
    /// The peer, who has yet to show that he speaks SIP.
    Peer,
    /// We.
    Us,
}

/// What a connection's task works with.
#[derive(Debug)]
pub(super) struct Connection {
    /// With its number.
    pub(super) flow: Flow,
    /// Its number.
    pub(super) id: ConnectionId,
    /// The clock of the worker.
    pub(super) clock: Clock,
    /// How long it waits for its peer.
    pub(super) patience: Patience,
    /// To the worker.
    pub(super) mail: mpsc::Sender<Mail>,
    /// To the streams.
    pub(super) events: mpsc::Sender<Event>,
    /// What is to be written.
    pub(super) outgoing: Outgoing,
    /// For pongs.
    pub(super) own_queue: mpsc::WeakSender<Box<Write>>,
}

/// The writing side of a connection.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// Once its senders are gone and it is empty, the connection ends.
    queue: mpsc::Receiver<Box<Write>>,
    /// What has been begun; if it is still here at the end, it has not left.
    current: Option<Box<Write>>,
    /// How long a write may take.
    patience: Duration,
}

impl Connection {
    /// Connects from the listener's address, and runs.
    pub(super) async fn open(self, listener: SocketAddr) {
        let remote = self.flow.remote;
        let connect = async {
            let socket = TcpSocket::from_std_stream(socket::outgoing_tcp(listener)?);
            socket.connect(remote).await
        };
        match timeout(self.patience.connect, connect).await {
            Ok(Ok(stream)) => self.run(stream, Opener::Us).await,
            Ok(Err(_)) | Err(_) => self.end(Ending::Closed).await,
        }
    }

    /// Runs until either side ends it.
    pub(super) async fn run(mut self, mut stream: TcpStream, opener: Opener) {
        // A connection that is gone already fails at the first read.
        drop(socket::tune_stream(&stream));
        let (reader, mut writer) = stream.split();
        let mut incoming = Incoming::new(&self, opener);
        let ending = tokio::select! {
            ending = incoming.read(&reader) => ending,
            ending = self.outgoing.write(&mut writer) => ending,
        };
        if ending == Ending::Spoiled {
            let last_words = async {
                tokio::select! {
                    () = discard(&reader) => {}
                    _ = self.outgoing.write(&mut writer) => {}
                }
            };
            // Nobody waits for a peer who neither reads nor hangs up.
            drop(timeout(self.patience.last_words, last_words).await);
        }
        drop(stream);
        self.on_disconnected(ending).await;
    }

    async fn on_disconnected(self, ending: Ending) {
        let disconnected = Mail::Disconnected { flow: self.flow };
        let mail = self.mail.clone();
        self.end(ending).await;
        // A worker that is gone needs no mail.
        drop(mail.send(disconnected).await);
    }

    async fn end(mut self, ending: Ending) {
        while let Some(write) = self.outgoing.take_unsent().await {
            if let Some((id, flow)) = write.sender {
                drop(self.mail.send(Mail::NotSent { id, flow }).await);
            }
        }
        drop(self.events.send(Event::Ended(self.id, ending)).await);
    }
}

impl Outgoing {
    /// Nothing to write yet.
    pub(super) fn new(queue: mpsc::Receiver<Box<Write>>, patience: Duration) -> Self {
        Self {
            queue,
            current: None,
            patience,
        }
    }

    /// Writes what comes until nobody can queue more.
    async fn write(&mut self, writer: &mut WriteHalf<'_>) -> Ending {
        loop {
            self.current = self.queue.recv().await;
            let Some(write) = &self.current else {
                return Ending::Unwanted;
            };
            match timeout(self.patience, writer.write_all(&write.bytes)).await {
                Ok(Ok(())) => self.current = None,
                Ok(Err(_)) => return Ending::Closed,
                Err(_) => return Ending::Spoiled,
            }
        }
    }

    /// What has not left, one by one; nothing more can be queued.
    async fn take_unsent(&mut self) -> Option<Box<Write>> {
        self.queue.close();
        match self.current.take() {
            None => self.queue.recv().await,
            current @ Some(_) => current,
        }
    }
}

/// The reading side of a connection.
struct Incoming {
    flow: Flow,
    id: ConnectionId,
    clock: Clock,
    mail: mpsc::Sender<Mail>,
    events: mpsc::Sender<Event>,
    own_queue: mpsc::WeakSender<Box<Write>>,
    framer: Framer,
    /// How long a message may take.
    patience: Duration,
    /// By when the first whole message must have come; `None` once it has, or if we connected.
    first_due: Option<Instant>,
    /// By when the message that has begun must be complete.
    message_due: Option<Instant>,
}

impl Incoming {
    fn new(connection: &Connection, opener: Opener) -> Self {
        Self {
            flow: connection.flow,
            id: connection.id,
            clock: connection.clock,
            mail: connection.mail.clone(),
            events: connection.events.clone(),
            own_queue: connection.own_queue.clone(),
            framer: Framer::new(Limits::default()),
            patience: connection.patience.message,
            first_due: match opener {
                Opener::Peer => Some(Instant::now() + connection.patience.first_message),
                Opener::Us => None,
            },
            message_due: None,
        }
    }

    async fn read(&mut self, reader: &ReadHalf<'_>) -> Ending {
        loop {
            if self.wait_readable(reader).await.is_err() {
                return Ending::Spoiled;
            }
            match read_some(reader, |bytes| self.framer.push(bytes)) {
                Ok(0) => return Ending::Closed,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(_) => return Ending::Closed,
            }
            if let Err(ending) = self.take_frames().await {
                return ending;
            }
            self.message_due = match self.message_due {
                _ if !self.framer.is_midway() => None,
                None => Some(Instant::now() + self.patience),
                due @ Some(_) => due,
            };
        }
    }

    /// Waits for bytes; the error is a peer who is too slow.
    async fn wait_readable(
        &self,
        reader: &ReadHalf<'_>,
    ) -> Result<(), tokio::time::error::Elapsed> {
        let due = self.first_due.into_iter().chain(self.message_due).min();
        // An error of the socket shows in the read that follows.
        match due {
            Some(due) => drop(timeout_at(due, reader.readable()).await?),
            None => drop(reader.readable().await),
        }
        Ok(())
    }

    async fn take_frames(&mut self) -> Result<(), Ending> {
        loop {
            match self.framer.next() {
                Ok(None) => return Ok(()),
                Ok(Some(Frame::Message(bytes))) => {
                    self.message_due = None;
                    self.deliver(bytes).await?;
                }
                Ok(Some(Frame::Ping)) => self.answer_ping(),
                Err(error) => {
                    self.deliver_head(error).await?;
                    return Err(Ending::Spoiled);
                }
            }
        }
    }

    async fn deliver(&mut self, bytes: Bytes) -> Result<(), Ending> {
        if self.first_due.take().is_some() {
            drop(self.events.send(Event::Proven(self.id)).await);
        }
        let mail = Mail::Received {
            flow: self.flow,
            bytes,
            queued: self.clock.now(),
        };
        // A full mailbox makes us wait, and the peer with us.
        self.mail.send(mail).await.map_err(|_| Ending::Unwanted)
    }

    /// S-26: what cannot be framed is answered if it can be told what it is, and then hung up on. A
    /// message without any length would pass for a datagram, so it gets no answer.
    async fn deliver_head(&mut self, error: FrameError) -> Result<(), Ending> {
        match error {
            FrameError {
                what: What::Missing(_),
                ..
            }
            | FrameError { head: None, .. } => Ok(()),
            FrameError {
                head: Some(head), ..
            } => self.deliver(head).await,
        }
    }

    /// S-83: a double line end is answered by a single one.
    fn answer_ping(&self) {
        let Some(queue) = self.own_queue.upgrade() else {
            return;
        };
        let pong = Write {
            bytes: Bytes::from_static(PONG),
            sender: None,
        };
        // A peer who does not read gets no pong.
        drop(queue.try_send(Box::new(pong)));
    }
}

/// One read, by way of the stack: what waits in a connection's task is kept small.
fn read_some(reader: &ReadHalf<'_>, take: impl FnOnce(&[u8])) -> io::Result<usize> {
    let mut chunk = [0; READ_BYTES];
    let length = reader.try_read(&mut chunk)?;
    take(chunk.get(..length).unwrap_or_default());
    Ok(length)
}

/// Reads what nobody wants, so that the last words are not lost to a reset.
async fn discard(reader: &ReadHalf<'_>) {
    while reader.readable().await.is_ok() {
        match read_some(reader, |_| {}) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}
