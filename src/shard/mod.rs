//! A stand-in with the outside of a worker: it answers OPTIONS and REGISTER with 200, no more.
//!
//! Spec: RFC 3261 §8.2.6, §11.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use crate::random::Rng;
use crate::sip::flow::Flow;
use crate::time::Timestamp;

/// What a worker is told at its start.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The addresses it serves; `ListenerId(n)` is the n-th.
    pub listeners: Vec<Listener>,
    /// Where requests go that are for nobody registered here: a SIP URI.
    pub upstream: Option<String>,
    /// The most calls of a user; `None` is no limit.
    pub calls_max: Option<u32>,
}

/// One address, UDP and TCP.
#[derive(Clone, Copy, Debug)]
pub struct Listener {
    /// The address it is bound to.
    pub bind: SocketAddr,
}

/// What happened outside.
#[derive(Clone, Copy, Debug)]
pub enum Input<'i> {
    /// A datagram, or a framed message of a stream.
    Received {
        /// The way it came.
        flow: Flow,
        /// The message.
        bytes: &'i [u8],
        /// Time since the receive socket was last empty.
        delay: Duration,
    },
    /// A message was not sent.
    NotSent {
        /// Which one.
        client: SendId,
        /// The way it should have gone.
        flow: Flow,
    },
    /// A stream ended.
    Disconnected {
        /// Which one.
        flow: Flow,
    },
    /// No new calls.
    Drain,
    /// End all calls.
    HangUp,
}

/// What is to be done outside.
#[derive(Clone, Copy, Debug)]
pub enum Output<'o> {
    /// A message goes out.
    Send {
        /// The way it goes.
        flow: Flow,
        /// The message.
        bytes: &'o [u8],
        /// The sender, for [`Input::NotSent`].
        id: SendId,
    },
    /// A connection is to be closed.
    Close {
        /// Which one.
        flow: Flow,
    },
}

/// Who sent a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SendId(pub u64);

/// What a worker holds.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Entries by table.
    pub tables: Vec<(&'static str, usize)>,
}

/// One worker's SIP state.
#[derive(Debug)]
pub struct Shard {
    rng: Rng,
    waiting: VecDeque<(Flow, Vec<u8>)>,
    sent: Vec<u8>,
}

impl Shard {
    /// A worker that holds nothing.
    pub fn new(_settings: Settings, rng: Rng) -> Self {
        Self {
            rng,
            waiting: VecDeque::new(),
            sent: Vec::new(),
        }
    }

    /// Takes one input.
    pub fn handle_input(&mut self, _now: Timestamp, input: Input<'_>) {
        if let Input::Received { flow, bytes, .. } = input {
            let tag = self.rng.bits();
            if let Some(answer) = answer(bytes, tag) {
                self.waiting.push_back((flow, answer));
            }
        }
    }

    /// Acts on what is due.
    pub fn handle_timeout(&mut self, _now: Timestamp) {}

    /// The next thing to do outside.
    pub fn poll_output(&mut self) -> Option<Output<'_>> {
        let (flow, bytes) = self.waiting.pop_front()?;
        self.sent = bytes;
        Some(Output::Send {
            flow,
            bytes: &self.sent,
            id: SendId(0),
        })
    }

    /// When `handle_timeout` next has work.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        None
    }

    /// What it holds.
    pub fn report(&self, _now: Timestamp) -> Report {
        Report::default()
    }
}

fn answer(bytes: &[u8], tag: u64) -> Option<Vec<u8>> {
    let text = String::from_utf8_lossy(bytes);
    if !(text.starts_with("OPTIONS ") || text.starts_with("REGISTER ")) {
        return None;
    }
    let mut out = String::from("SIP/2.0 200 OK\r\n");
    for line in text.lines() {
        let name = line.split(':').next().unwrap_or_default();
        if ["Via", "From", "To", "Call-ID", "CSeq", "Contact"].contains(&name) {
            out.push_str(line);
            if name == "To" && !line.contains("tag=") {
                let _ = write!(out, ";tag={tag:x}");
            }
            out.push_str("\r\n");
        }
    }
    out.push_str("Content-Length: 0\r\n\r\n");
    Some(out.into_bytes())
}
