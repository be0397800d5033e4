//! What one SIPp process sent and received, read from its message log and its counters.

use std::fmt;
use std::fs;
use std::path::Path;

use crate::message::Message;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Direction {
    Sent,
    Received,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sent => "sent    ",
            Self::Received => "received",
        })
    }
}

/// One message, at the time when SIPp logged it (`2026-11-22 19:10:24.397523`: sorts as text).
#[derive(Clone, Debug)]
pub struct Logged {
    pub at: String,
    pub direction: Direction,
    pub message: Message,
}

/// All messages of one phone in order, repetitions included.
#[derive(Clone, Debug)]
pub struct Trace {
    pub all: Vec<Logged>,
}

impl Trace {
    /// Reads SIPp's `-trace_msg` file, all of it. A phone that never spoke has none.
    pub fn read(file: &Path) -> Self {
        let log = fs::read(file).unwrap_or_default();
        let (trace, rest) = Self::take(&log);
        assert!(
            rest.trim_ascii().is_empty(),
            "{} holds what is no message: {}",
            file.display(),
            rest.escape_ascii()
        );
        trace
    }

    /// Reads the same file while SIPp still writes to it.
    pub fn read_so_far(file: &Path) -> Self {
        Self::take(&fs::read(file).unwrap_or_default()).0
    }

    fn take(log: &[u8]) -> (Self, &[u8]) {
        let mut rest = log;
        let mut all = Vec::new();
        while let Some((logged, left)) = take_logged(rest) {
            all.push(logged);
            rest = left;
        }
        (Self { all }, rest)
    }

    pub fn sent(&self) -> impl Iterator<Item = &Message> {
        self.of(Direction::Sent)
    }

    pub fn received(&self) -> impl Iterator<Item = &Message> {
        self.of(Direction::Received)
    }

    /// The n-th message (0 is the first) with that ladder label among those sent.
    pub fn sent_nth(&self, label: &str, n: usize) -> &Message {
        self.nth(Direction::Sent, label, n)
    }

    /// The n-th message (0 is the first) with that ladder label among those received.
    pub fn received_nth(&self, label: &str, n: usize) -> &Message {
        self.nth(Direction::Received, label, n)
    }

    /// The messages of one Call-ID.
    pub fn of_call(&self, call_id: &str) -> Self {
        let mut all = self.all.clone();
        all.retain(|logged| logged.message.call_id() == call_id);
        Self { all }
    }

    /// How many messages with that ladder label went that way.
    pub fn count(&self, direction: Direction, label: &str) -> usize {
        let labelled = self.of(direction).filter(|one| one.label() == label);
        labelled.count()
    }

    /// When the n-th message (0 is the first) with that ladder label went that way.
    pub fn time_of(&self, direction: Direction, label: &str, n: usize) -> &str {
        let same = |one: &&Logged| one.direction == direction && one.message.label() == label;
        let found = self.all.iter().filter(same).nth(n);
        let found = found.unwrap_or_else(|| panic!("no {label} ({n}) {direction}"));
        &found.at
    }

    fn of(&self, direction: Direction) -> impl Iterator<Item = &Message> {
        let wanted = move |logged: &&Logged| logged.direction == direction;
        self.all.iter().filter(wanted).map(|logged| &logged.message)
    }

    fn nth(&self, direction: Direction, label: &str, n: usize) -> &Message {
        let found = self.of(direction).filter(|one| one.label() == label).nth(n);
        found.unwrap_or_else(|| panic!("no {label} ({n}) among the {direction:?}"))
    }
}

/// How lines begin that SIPp writes into the log while a TCP connection is being set up.
const CHATTER: &[&str] = &["Problem ", "Exit problem "];

/// Takes one entry: a line of dashes with the time, a line with the length, a blank line, the bytes.
fn take_logged(log: &[u8]) -> Option<(Logged, &[u8])> {
    let (mut rule, mut log) = take_line(log)?;
    while rule.is_empty() || CHATTER.iter().any(|start| rule.starts_with(start)) {
        (rule, log) = take_line(log)?;
    }
    let at = rule.trim_start_matches('-');
    if at.len() == rule.len() {
        return None;
    }
    let (what, log) = take_line(log)?;
    let (_, log) = take_line(log)?;
    let digits = what.split(['(', '[']).nth(1)?;
    let digits = digits.split(|c: char| !c.is_ascii_digit()).next()?;
    let (bytes, log) = log.split_at_checked(digits.parse().ok()?)?;
    let direction = if what.contains("message sent") {
        Direction::Sent
    } else {
        Direction::Received
    };
    let logged = Logged {
        at: at.trim().to_owned(),
        direction,
        message: Message::read(bytes),
    };
    Some((logged, log))
}

fn take_line(log: &[u8]) -> Option<(&str, &[u8])> {
    let end = log.iter().position(|byte| *byte == b'\n')?;
    let (line, rest) = log.split_at_checked(end)?;
    Some((str::from_utf8(line).ok()?, rest.get(1..)?))
}

/// The columns of SIPp's `-trace_counts` file that are not as they must be: a retransmission, a
/// message that came out of place, or a wait that ran out.
pub fn bad_counts(csv: &str) -> Vec<String> {
    let mut lines = csv.lines();
    let names = lines.next().unwrap_or_default();
    let last = lines.last().unwrap_or_default();
    let bad = names
        .split(';')
        .zip(last.split(';'))
        .filter(|(name, count)| {
            let must_be_zero = ["_Retrans", "_Unexp", "_Timeout", "_Lost"];
            must_be_zero.iter().any(|end| name.ends_with(end)) && *count != "0"
        });
    bad.map(|(name, count)| format!("{name}={count}")).collect()
}

#[test]
fn a_trace_is_cut_by_the_lengths_it_states() {
    let log = b"----- 2026-11-22 19:10:24.397523\nUDP message sent (46 bytes):\n\n\
        OPTIONS sip:a SIP/2.0\r\nCSeq: 1 OPTIONS\r\n\r\n----\n\
        ----- 2026-11-22 19:10:24.398061\nTCP message received [35] bytes :\n\n\
        SIP/2.0 200 OK\r\nCSeq: 1 OPTIONS\r\n\r\n\n";
    let (first, rest) = take_logged(log).expect("one entry");
    assert_eq!(first.direction, Direction::Sent);
    assert_eq!(first.message.body(), b"----");
    let (second, rest) = take_logged(rest).expect("another entry");
    assert_eq!(second.direction, Direction::Received);
    assert_eq!(second.message.label(), "200 OPTIONS");
    assert_eq!(rest, b"\n");
}

#[test]
fn a_retransmission_is_seen_in_the_counts() {
    let csv = "CurrentTime;0_INVITE_Sent;0_INVITE_Retrans;1_200_Recv;1_200_Unexp;\n\
        t;0;0;0;0;\nt;1;2;1;0;\n";
    assert_eq!(bad_counts(csv), ["0_INVITE_Retrans=2"]);
}
