//! A tap between two campons: each sends to it what is for the other, and it passes on and keeps all.
//!
//! Towards each campon it has the address that this one knows the other by.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::message::Message;
use crate::process::wait_for;

/// How often a direction that is silent looks whether it is to end.
const LOOK: Duration = Duration::from_millis(50);

/// How long something may take that is sure to come.
const PATIENCE: Duration = Duration::from_secs(30);

/// Who said something.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Side {
    North,
    South,
}

/// An end of the tap: where it listens for a campon, and where that one is.
#[derive(Clone, Copy, Debug)]
pub struct End {
    pub here: SocketAddr,
    pub campon: SocketAddr,
}

/// What was said, in its order.
type Heard = Arc<Mutex<Vec<(Side, Message)>>>;

pub struct Tap {
    heard: Heard,
    is_over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Tap {
    /// Between two campons, each of which sees one end.
    pub fn between(north: End, south: End) -> Self {
        let socket = |end: End| {
            let socket = UdpSocket::bind(end.here).expect("a free address on loopback");
            socket.set_read_timeout(Some(LOOK)).expect("a timeout");
            Arc::new(socket)
        };
        let sockets = [socket(north), socket(south)];
        let heard = Heard::default();
        let is_over = Arc::new(AtomicBool::new(false));
        let [to_north, to_south] = sockets;
        let ways = [
            (
                Side::North,
                Arc::clone(&to_north),
                Arc::clone(&to_south),
                south.campon,
            ),
            (Side::South, to_south, to_north, north.campon),
        ];
        let threads = ways.map(|(side, from, to, campon)| {
            let (heard, is_over) = (Arc::clone(&heard), Arc::clone(&is_over));
            thread::spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    pass(side, &from, (&to, campon), &heard);
                }
            })
        });
        Self {
            heard,
            is_over,
            threads: threads.into(),
        }
    }

    /// The requests of this method that one side has sent so far, each once.
    pub fn requests(&self, side: Side, method: &str) -> Vec<Message> {
        self.said(side, |one| one.status().is_none() && one.method() == method)
    }

    /// The answers to such requests.
    pub fn answers(&self, side: Side, method: &str) -> Vec<Message> {
        self.said(side, |one| one.status().is_some() && one.method() == method)
    }

    /// Waits for the n-th of these requests, 0 being the first.
    pub fn wait_for(&self, side: Side, method: &str, n: usize) -> Message {
        self.wait_until(method, || self.requests(side, method).into_iter().nth(n))
    }

    /// Waits until this is there.
    pub fn wait_until<T>(&self, what: &str, found: impl FnMut() -> Option<T>) -> T {
        let found = wait_for(PATIENCE, found);
        found.unwrap_or_else(|| panic!("no {what} among {:#?}", self.all()))
    }

    fn said(&self, side: Side, wanted: impl Fn(&Message) -> bool) -> Vec<Message> {
        let heard = self.heard.lock().expect("nobody panics with it");
        let said = heard.iter().filter(|(by, one)| *by == side && wanted(one));
        let mut said: Vec<Message> = said.map(|(_, one)| one.clone()).collect();
        // Loopback loses nothing, but a loaded machine may be late.
        said.dedup();
        said
    }

    fn all(&self) -> Vec<String> {
        let heard = self.heard.lock().expect("nobody panics with it");
        let lines = heard
            .iter()
            .map(|(by, one)| format!("{by:?} {}", one.label()));
        lines.collect()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ended = thread.join();
        }
    }
}

/// Passes on what comes within a moment.
fn pass(side: Side, from: &UdpSocket, (to, campon): (&UdpSocket, SocketAddr), heard: &Heard) {
    let mut bytes = vec![0; 65_536];
    // Nothing came, or whoever was sent to has stopped.
    let Ok(length) = from.recv(&mut bytes) else {
        return;
    };
    let bytes = bytes.get(..length).unwrap_or_default();
    let message = Message::read(bytes);
    heard
        .lock()
        .expect("nobody panics with it")
        .push((side, message));
    let _gone_meanwhile = to.send_to(bytes, campon);
}
