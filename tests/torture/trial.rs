//! One message, fed to a worker of its own, with what it must and must not do.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use campon::shard::{Input, Output, Shard};
use campon::sip::flow::{ConnectionId, Flow, ListenerId, Transport};
use campon::time::Timestamp;

use super::expectation::{Expectation, Outcome};
use crate::flow::kit::draft::{self, Draft, Sender};
use crate::flow::kit::message::{Message, param};
use crate::flow::kit::subject::{self, Setup};

/// Longer than all timers of transactions and calls.
const QUIET: Duration = Duration::from_mins(15);

/// Who sends the messages; their Vias name others.
const TESTER: &str = "192.0.2.66:5060";
const TESTER_V6: &str = "[2001:db8::66]:5060";

/// One message and what is acceptable for it.
pub(crate) struct Trial {
    pub(crate) name: String,
    message: Vec<u8>,
    acceptable: Vec<Expectation>,
}

impl Trial {
    pub(crate) fn new(name: String, message: Vec<u8>, acceptable: Vec<Expectation>) -> Self {
        Self {
            name,
            message,
            acceptable,
        }
    }

    /// Feeds it to a worker, and a valid request after it.
    pub(crate) fn run(&self) -> Result<(), String> {
        let mut bench = Bench::new();
        let outcome = bench.feed(self)?;
        let met = self
            .acceptable
            .iter()
            .any(|expected| expected.is_met_by(&self.message, &outcome));
        if !met {
            return Err(format!("{outcome:?}, acceptable {:?}", self.acceptable));
        }
        self.check_what_must_not_be(&outcome)?;
        bench.check_alive()
    }

    /// The manifest's `must_not`, as far as it shows outside.
    fn check_what_must_not_be(&self, outcome: &Outcome) -> Result<(), String> {
        let answer = outcome.answers.first();
        let ensure = |holds: bool, what: &str| {
            let fault = format!("{what}: {outcome:?}");
            if holds { Ok(()) } else { Err(fault) }
        };
        let contacts = answer.map(|answer| answer.list("Contact"));
        let contacts = contacts.unwrap_or_default();
        let body = || {
            let end = self.message.windows(4).position(|w| w == b"\r\n\r\n");
            end.map(|end| self.message[end + 4..].to_vec())
        };
        match self.name.as_str() {
            "escnull" => ensure(contacts.len() == 2, "two bindings became one"),
            "cparam01" => ensure(
                contacts.iter().all(|c| param(c, "unknownparam").is_some()),
                "a header parameter moved into the URI",
            ),
            "cparam02" => ensure(
                contacts.iter().all(|c| c.contains(";unknownparam>")),
                "a URI parameter was lost",
            ),
            "regescrt" => ensure(
                contacts.iter().all(|c| c.contains("?Route=%3C")),
                "an escaped header was lost",
            ),
            "bext01" => ensure(
                answer.is_some_and(|a| !a.list("Unsupported").is_empty()),
                "420 without Unsupported",
            ),
            "intmeth" | "esc02" => ensure(
                answer.is_some_and(|a| a.status() != 405 || a.has("Allow")),
                "405 without Allow",
            ),
            "invut" | "mpart01" => ensure(
                outcome
                    .passed_on
                    .iter()
                    .all(|sent| Some(sent.body()) == body().as_deref()),
                "the body changed",
            ),
            "via-received-param-with-delim" | "via-received-param-no-delim" => ensure(
                answer.is_some_and(|a| !a.header("Via").contains("received=[")),
                "brackets around a received address",
            ),
            _ => Ok(()),
        }
    }
}

/// What all messages in turn leave in one worker's tables.
pub(crate) fn left_by(trials: &[Trial]) -> Vec<String> {
    let mut bench = Bench::new();
    let mut left = Vec::new();
    for trial in trials {
        left.extend(bench.feed(trial).err());
        left.extend(bench.check_alive().err());
    }
    bench.now = bench.now + QUIET;
    bench.pass_time();
    let held = subject::held_by_calls(&bench.shard.report(bench.now));
    left.extend(held.iter().map(|(table, len)| format!("{len} {table}")));
    left
}

struct Bench {
    shard: Shard,
    now: Timestamp,
    serial: u64,
}

impl Bench {
    fn new() -> Self {
        Self {
            shard: subject::shard(Setup::Upstream, 3),
            now: Timestamp::START + Duration::from_secs(1),
            serial: 0,
        }
    }

    /// Feeds a message; an upstream declines whatever call comes of it.
    fn feed(&mut self, trial: &Trial) -> Result<Outcome, String> {
        let mut outcome = Outcome::default();
        let from = source(&trial.message);
        for (flow, sent) in self.input(from, &trial.message)? {
            if !sent.is_request() {
                outcome.hear(from, flow, sent)?;
                continue;
            }
            if let Some(fault) = sent.fault() {
                return Err(format!("{fault} in what was passed on:\n{sent}"));
            }
            let decline = draft::response(&sent, 603);
            outcome.passed_on.push(sent);
            for (back, heard) in self.input(flow, &self.written(decline))? {
                if heard.kind() != "ACK" {
                    outcome.hear(from, back, heard)?;
                }
            }
        }
        Ok(outcome)
    }

    /// A valid request is answered.
    fn check_alive(&mut self) -> Result<(), String> {
        self.serial += 1;
        let options = self.written(draft::options());
        let flow = flow("192.0.2.77:5060", Transport::Udp);
        let answers = self.input(flow, &options)?;
        match &*answers {
            [(_, answer)] if answer.status() == 200 => Ok(()),
            _ => Err(format!("a valid OPTIONS after it got {answers:?}")),
        }
    }

    fn input(&mut self, flow: Flow, bytes: &[u8]) -> Result<Vec<(Flow, Message)>, String> {
        self.now = self.now + Duration::from_millis(1);
        self.pass_time();
        let delay = Duration::ZERO;
        self.shard
            .handle_input(self.now, Input::Received { flow, bytes, delay });
        self.sent()
    }

    fn pass_time(&mut self) {
        while self.shard.poll_timeout().is_some_and(|due| due <= self.now) {
            self.shard.handle_timeout(self.now);
            while self.shard.poll_output().is_some() {}
        }
    }

    fn sent(&mut self) -> Result<Vec<(Flow, Message)>, String> {
        let mut sent = Vec::new();
        while let Some(output) = self.shard.poll_output() {
            let Output::Send { flow, bytes, .. } = output else {
                continue;
            };
            sent.push((flow, Message::read(bytes, self.now, None)?));
        }
        Ok(sent)
    }

    fn written(&self, draft: Draft) -> Vec<u8> {
        draft.written(&Sender {
            name: "tester",
            address: "192.0.2.77:5060".to_owned(),
            transport: "UDP",
            serial: self.serial,
        })
    }
}

impl Outcome {
    /// A response to the message goes back to where it came from, wherever its Via points.
    fn hear(&mut self, from: Flow, to: Flow, response: Message) -> Result<(), String> {
        if to.remote.ip() != from.remote.ip() {
            return Err(format!("an answer went to {to}:\n{response}"));
        }
        if response.status() >= 200 {
            self.answers.push(response);
        }
        Ok(())
    }
}

/// The way a message comes: over the transport that its top Via names, and over IPv6 if it is about
/// that.
fn source(message: &[u8]) -> Flow {
    let text = String::from_utf8_lossy(message);
    let via = text.lines().find_map(|line| line.strip_prefix("Via: "));
    let via = via.unwrap_or_default();
    let transport = if via.starts_with("SIP/2.0/TCP") {
        Transport::Tcp
    } else {
        Transport::Udp
    };
    let address = if via.contains("[2001:") {
        TESTER_V6
    } else {
        TESTER
    };
    flow(address, transport)
}

fn flow(address: &str, transport: Transport) -> Flow {
    let remote: SocketAddr = address.parse().expect("an address");
    Flow {
        transport,
        listener: ListenerId(u8::from(matches!(remote.ip(), IpAddr::V6(_)))),
        remote,
        connection: transport.is_reliable().then_some(ConnectionId(9)),
    }
}
