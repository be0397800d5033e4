//! One datagram socket as the worker drives it.
//!
//! It is read until it is empty; what the system cannot take yet is kept, up to a bound.
//!
//! Spec: RFC 3261 §18.1.1, §18.2.2 (requests and responses leave from the port that is listened on).

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::time::Timestamp;

/// The most datagrams that wait for the system: past it they would only arrive late.
const DEFERRED_MAX: usize = 1024;

/// A datagram socket.
#[derive(Debug)]
pub(super) struct Datagrams {
    /// Watched for reading alone: a socket that is watched for both wakes its thread for each
    /// datagram that has left, which costs as much as reading one.
    socket: AsyncFd<UdpSocket>,
    /// The same socket, watched for room to write while something waits for it.
    room: Option<AsyncFd<UdpSocket>>,
    /// Datagrams that wait until the system takes more, oldest first.
    deferred: VecDeque<(SocketAddr, Box<[u8]>)>,
    /// When the first datagram was read since the socket was last empty.
    busy_since: Option<Timestamp>,
}

/// What became of a datagram that was to be sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Sent {
    /// It waits for the system.
    Deferred,
    /// Too many wait; it is lost, as the network loses datagrams.
    Dropped,
    /// The system took it.
    Left,
    /// The system refuses it: too long, no route, wrong family.
    Refused,
}

impl Datagrams {
    /// A socket of the event loop that runs on this thread.
    pub(super) fn new(socket: UdpSocket) -> io::Result<Self> {
        let socket = watched(socket, Interest::READABLE)?;
        Ok(Self {
            socket,
            room: None,
            deferred: VecDeque::new(),
            busy_since: None,
        })
    }

    /// Reads one datagram: its length and sender; `None` once there is none.
    pub(super) fn receive(&mut self, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
        loop {
            match self
                .socket
                .try_io(Interest::READABLE, |socket| socket.recv_from(buffer))
            {
                Ok(received) => return Some(received),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.busy_since = None;
                    return None;
                }
                // An error that the network reported about a datagram sent earlier; each is told once.
                Err(_) => {}
            }
        }
    }

    /// How long a datagram that was just read may have waited: since the socket was last empty.
    pub(super) fn delay(&mut self, now: Timestamp) -> Duration {
        now.since(*self.busy_since.get_or_insert(now))
    }

    /// Sends, or keeps for later behind what already waits.
    pub(super) fn send(&mut self, remote: SocketAddr, bytes: &[u8]) -> Sent {
        if self.deferred.is_empty() {
            match self.socket.get_ref().send_to(bytes, remote) {
                Ok(_) => return Sent::Left,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Sent::Refused,
            }
        }
        if self.deferred.len() >= DEFERRED_MAX || self.watch_for_room().is_err() {
            return Sent::Dropped;
        }
        self.deferred.push_back((remote, bytes.into()));
        Sent::Deferred
    }

    /// Sends what waits, as far as the system takes it; how many left.
    pub(super) fn flush(&mut self) -> u64 {
        let mut left = 0;
        while let Some((remote, bytes)) = self.deferred.front() {
            match self.socket.get_ref().send_to(bytes, *remote) {
                Ok(_) => left += 1,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return left,
                // Refused so late, it counts as lost on the way.
                Err(_) => {}
            }
            self.deferred.pop_front();
        }
        self.room = None;
        left
    }

    /// Whether there is something to read, or room for what waits to be sent; if not, the task is
    /// woken when there is.
    pub(super) fn poll_ready(&self, context: &mut Context<'_>) -> Poll<()> {
        let readable = self.socket.poll_read_ready(context).is_ready();
        let sendable = self.poll_room(context).is_ready();
        if readable || sendable {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    fn poll_room(&self, context: &mut Context<'_>) -> Poll<()> {
        let Some(room) = &self.room else {
            return Poll::Pending;
        };
        if let Ok(mut guard) = ready!(room.poll_write_ready(context)) {
            // What is sent next shows whether there is more.
            guard.clear_ready();
        }
        Poll::Ready(())
    }

    fn watch_for_room(&mut self) -> io::Result<()> {
        if self.room.is_none() {
            let socket = self.socket.get_ref().try_clone()?;
            self.room = Some(watched(socket, Interest::WRITABLE)?);
        }
        Ok(())
    }
}

/// The socket, watched by the event loop of this thread.
#[expect(
    deprecated,
    reason = "its successor is unsafe, so as to bar file descriptors that may close or change while \
              watched; std's socket does neither, as nothing here replaces it"
)]
fn watched(socket: UdpSocket, interest: Interest) -> io::Result<AsyncFd<UdpSocket>> {
    AsyncFd::with_interest(socket, interest)
}
