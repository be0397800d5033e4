//! One stream connection: a task that reads messages, writes messages, and ends.
//!
//! Spec: RFC 3261 §18.3 (framing); RFC 5626 §3.5.1 (keep-alive), §4.4.1; RFC 5922 §7 (TLS).
//!
//! ```text
//!   connected -- TLS, where it is spoken: 5 s --> a message in 10 s --> proven
//!       |                      |                          |               |
//!       +---- too slow, not believed, not SIP ------------+               |  closed by either side,
//!                              |                                          |  unframed, a message that
//!                              v                                          |  takes over 30 s, a peer
//!                            ended <--------------------------------------+  that does not read or
//!                                                                            answer our pings
//! ```
//!
//! Whatever was queued and did not leave is reported, one by one, before the end is.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsStream;

use crate::shard::SendId;
use crate::sip::error::What;
use crate::sip::flow::{ConnectionId, Flow, ListenerId};
use crate::sip::framing::{Frame, FrameError, Framer, Limits};

use super::clock::Clock;
use super::mail::Mail;
use super::pulse::{Pulse, Vitality};
use super::secure::Handshake;
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
    /// For all that TLS exchanges before the first message (T19).
    pub(super) handshake: Duration,
    /// Of silence, until a peer that we connected to is asked whether he is there (S-85).
    pub(super) silence: Duration,
    /// Until he answers that, if he ever did (S-83).
    pub(super) pong: Duration,
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
            handshake: Duration::from_secs(5),
            silence: Duration::from_secs(110),
            pong: Duration::from_secs(10),
        }
    }
}

/// How much is read at once; on the stack only, so that idle connections hold none.
const READ_BYTES: usize = 8 * 1024;
/// Asks whether the other end is there (S-83).
const PING: &[u8] = b"\r\n\r\n";
/// The answer to a ping (S-83).
pub(super) const PONG: &[u8] = b"\r\n";

/// A message that waits to be written.
#[derive(Debug)]
pub(super) struct Write {
    /// The message.
    pub(super) bytes: Bytes,
    /// What to call it if it does not leave; `None` for a ping or a pong.
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
    /// By us or by the peer, before TLS was agreed on: too slow, not believed, not TLS.
    Unsecured,
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
    /// For pings and pongs.
    pub(super) own_queue: mpsc::WeakSender<Box<Write>>,
    /// What it is wrapped in.
    pub(super) wrapping: Wrapping,
}

/// What carries the messages within the connection.
pub(super) enum Wrapping {
    /// Nothing more than TCP.
    Plain,
    /// TLS.
    Tls(Handshake),
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
        let ending = match std::mem::replace(&mut self.wrapping, Wrapping::Plain) {
            Wrapping::Plain => {
                let (reader, writer) = stream.split();
                let ending = self.converse(reader, writer, opener).await;
                drop(stream);
                ending
            }
            Wrapping::Tls(handshake) => match self.shake_hands(handshake, stream).await {
                Ok(stream) => {
                    let (reader, writer) = tokio::io::split(stream);
                    self.converse(reader, writer, opener).await
                }
                // Nobody knows of him: there is nothing to take back.
                Err(ending) => return self.end(ending).await,
            },
        };
        self.on_disconnected(ending).await;
    }

    /// Makes the connection one of TLS, and says whose it is.
    async fn shake_hands(
        &mut self,
        handshake: Handshake,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, Ending> {
        let exchange = timeout(self.patience.handshake, handshake.run(stream));
        let shaken = tokio::select! {
            shaken = exchange => shaken,
            () = self.outgoing.until_unwanted() => return Err(Ending::Unwanted),
        };
        let why: &dyn std::fmt::Display = match shaken {
            Ok(Ok((stream, names))) => {
                if let Some(names) = names {
                    let flow = self.flow;
                    let proven = self.mail.send(Mail::Proven { flow, names }).await;
                    proven.map_err(|_| Ending::Unwanted)?;
                }
                return Ok(stream);
            }
            Ok(Err(ref error)) => error,
            Err(ref error) => error,
        };
        tracing::debug!(from = %self.flow, %why, "no TLS");
        Err(Ending::Unsecured)
    }

    async fn converse(
        &mut self,
        mut reader: impl AsyncRead + Unpin,
        mut writer: impl AsyncWrite + Unpin,
        opener: Opener,
    ) -> Ending {
        let mut incoming = Incoming::new(self, opener);
        let ending = tokio::select! {
            ending = incoming.read(&mut reader) => ending,
            ending = self.outgoing.write(&mut writer) => ending,
        };
        if ending == Ending::Spoiled {
            let last_words = async {
                tokio::select! {
                    () = discard(&mut reader) => {}
                    _ = self.outgoing.write(&mut writer) => {}
                }
            };
            // Nobody waits for a peer who neither reads nor hangs up.
            drop(timeout(self.patience.last_words, last_words).await);
        }
        if ending != Ending::Closed {
            // TLS says that this is the end.
            drop(timeout(self.patience.last_words, writer.shutdown()).await);
        }
        ending
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
    async fn write(&mut self, writer: &mut (impl AsyncWrite + Unpin)) -> Ending {
        loop {
            if self.current.is_none() {
                self.current = self.queue.recv().await;
            }
            let Some(write) = &self.current else {
                return Ending::Unwanted;
            };
            let written = async {
                writer.write_all(&write.bytes).await?;
                writer.flush().await
            };
            match timeout(self.patience, written).await {
                Ok(Ok(())) => self.current = None,
                Ok(Err(_)) => return Ending::Closed,
                Err(_) => return Ending::Spoiled,
            }
        }
    }

    /// Waits until nobody can queue more and nothing is queued.
    async fn until_unwanted(&mut self) {
        if self.current.is_none() {
            self.current = self.queue.recv().await;
            if self.current.is_none() {
                return;
            }
        }
        // He is wanted by somebody who waits for him.
        std::future::pending::<()>().await;
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
    /// Whether the other end is asked if it is still there.
    pulse: Pulse,
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
            pulse: Pulse::new(&connection.patience, opener),
        }
    }

    async fn read(&mut self, reader: &mut (impl AsyncRead + Unpin)) -> Ending {
        loop {
            let due = [self.first_due, self.message_due, self.pulse.due()];
            let due = due.into_iter().flatten().min();
            let (framer, pulse) = (&mut self.framer, &mut self.pulse);
            let read = read_some(reader, |bytes| {
                pulse.on_read(bytes);
                framer.push(bytes);
            });
            let read = match due {
                Some(due) => timeout_at(due, read).await,
                None => Ok(read.await),
            };
            match read {
                Ok(Ok(0) | Err(_)) => return Ending::Closed,
                Ok(Ok(_)) => {}
                Err(_) => match self.on_silence() {
                    Ok(()) => continue,
                    Err(ending) => return ending,
                },
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

    /// Nothing came in time: he is too slow, or to be asked whether he is there.
    fn on_silence(&mut self) -> Result<(), Ending> {
        let now = Instant::now();
        let due = self.first_due.into_iter().chain(self.message_due);
        if due.min().is_some_and(|due| due <= now) {
            return Err(Ending::Spoiled);
        }
        match self.pulse.on_silence(now) {
            Vitality::Dead => Err(Ending::Closed),
            Vitality::Doubtful => {
                self.write_own(PING);
                Ok(())
            }
            Vitality::Fine => Ok(()),
        }
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
        self.write_own(PONG);
    }

    /// A peer who does not read gets neither ping nor pong.
    fn write_own(&self, bytes: &'static [u8]) {
        let Some(queue) = self.own_queue.upgrade() else {
            return;
        };
        let write = Write {
            bytes: Bytes::from_static(bytes),
            sender: None,
        };
        drop(queue.try_send(Box::new(write)));
    }
}

/// One read, by way of the stack: what waits in a connection's task is kept small.
async fn read_some(
    reader: &mut (impl AsyncRead + Unpin),
    mut take: impl FnMut(&[u8]),
) -> io::Result<usize> {
    poll_fn(|context| {
        let mut chunk = [0; READ_BYTES];
        let mut chunk = ReadBuf::new(&mut chunk);
        ready!(Pin::new(&mut *reader).poll_read(context, &mut chunk))?;
        take(chunk.filled());
        Poll::Ready(Ok(chunk.filled().len()))
    })
    .await
}

/// Reads what nobody wants, so that the last words are not lost to a reset.
async fn discard(reader: &mut (impl AsyncRead + Unpin)) {
    while read_some(reader, |_| {})
        .await
        .is_ok_and(|length| length > 0)
    {}
}
