//! One call before the first, so that all that calls run through is in memory from the start.
//!
//! The first call is then no slower than the next, and what campon takes when it is idle does not
//! depend on whether it ever had calls. A shard of its own plays it in time of its own, and nothing
//! of it leaves.

use std::net::SocketAddr;
use std::time::Duration;

use crate::random::Rng;
use crate::shard::settings::Peer;
use crate::shard::{Input, Listener, Output, Settings, Shard};
use crate::sip::flow::{Flow, ListenerId, Transport};
use crate::time::Timestamp;

/// Addresses for documents (RFC 5737).
const CALLER: SocketAddr = address(1);
const CAMPON: SocketAddr = address(2);
const CALLEE: SocketAddr = address(3);

const CONTACT: &str = "Contact: <sip:a@192.0.2.1>\r\n";
const NO_BODY: &str = "Content-Length: 0\r\n\r\n";
const BODY: &str = "Contact: <sip:a@192.0.2.1>\r\n\
    Content-Type: application/sdp\r\nContent-Length: 96\r\n\r\n\
    v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
    m=audio 9 RTP/AVP 0\r\na=sendrecv\r\n";

/// Longer than the longest timer of a transaction.
const TIMERS: Duration = Duration::from_mins(1);

/// Plays a call; to be done before there is a log for it to show up in.
pub(super) fn rehearse() {
    drop(play());
}

/// From INVITE to BYE, and until nothing is left of it.
fn play() -> Stage {
    let mut stage = Stage::new();
    let invite = stage.receive(CALLER, &request("INVITE", "To: <sip:b@192.0.2.2>", BODY));
    let ringing = format!("{CONTACT}{NO_BODY}");
    stage.receive(CALLEE, &response("180 Ringing", &invite, &ringing));
    let answer = stage.receive(CALLEE, &response("200 OK", &invite, BODY));
    let to = line(&answer, "To:");
    stage.receive(CALLER, &request("ACK", to, NO_BODY));
    let bye = stage.receive(CALLER, &request("BYE", to, NO_BODY));
    stage.receive(CALLEE, &response("200 OK", &bye, NO_BODY));
    stage.pass(TIMERS);
    stage
}

struct Stage {
    shard: Shard,
    now: Timestamp,
}

impl Stage {
    fn new() -> Self {
        let settings = Settings {
            listeners: vec![Listener::at(CAMPON)],
            upstream: Some(Peer::new("callee", Transport::Udp, CALLEE)),
            ..Settings::default()
        };
        Self {
            shard: Shard::new(settings, Rng::from_number(0)),
            now: Timestamp::START,
        }
    }

    /// Takes a message in; the last that is sent because of it.
    fn receive(&mut self, remote: SocketAddr, message: &str) -> String {
        let flow = Flow {
            transport: Transport::Udp,
            listener: ListenerId(0),
            remote,
            connection: None,
        };
        let input = Input::Received {
            flow,
            bytes: message.as_bytes(),
            delay: Duration::ZERO,
        };
        self.shard.handle_input(self.now, input);
        self.sent()
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.shard.handle_timeout(self.now);
        self.sent();
    }

    fn sent(&mut self) -> String {
        let mut last = String::new();
        while let Some(Output::Send { bytes, .. }) = self.shard.poll_output() {
            last = String::from_utf8_lossy(bytes).into_owned();
        }
        last
    }
}

const fn address(host: u8) -> SocketAddr {
    use std::net::{IpAddr, Ipv4Addr};
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, host)), 5060)
}

fn request(method: &str, to: &str, rest: &str) -> String {
    let number = if method == "BYE" { 2 } else { 1 };
    format!(
        "{method} sip:b@192.0.2.2 SIP/2.0\r\nVia: SIP/2.0/UDP {CALLER};branch=z9hG4bK{method}\r\n\
         From: <sip:a@192.0.2.1>;tag=a\r\n{to}\r\nCall-ID: rehearsal\r\nCSeq: {number} {method}\r\n\
         Max-Forwards: 70\r\n{rest}"
    )
}

fn response(status: &str, request: &str, rest: &str) -> String {
    let echo = |name| line(request, name);
    let (via, from, to) = (echo("Via:"), echo("From:"), echo("To:"));
    let tag = if to.contains(";tag=") { "" } else { ";tag=b" };
    let (call_id, cseq) = (echo("Call-ID:"), echo("CSeq:"));
    format!("SIP/2.0 {status}\r\n{via}\r\n{from}\r\n{to}{tag}\r\n{call_id}\r\n{cseq}\r\n{rest}")
}

fn line<'m>(message: &'m str, name: &str) -> &'m str {
    let mut lines = message.lines();
    lines
        .find(|line| line.starts_with(name))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rehearsal_is_a_whole_call_that_leaves_nothing() {
        let stage = play();
        let report = stage.shard.report(stage.now);
        assert!(report.tables.iter().all(|table| table.entries == 0));
        for count in [
            ("messages_received", 6),
            ("messages_sent", 7),
            ("responses_stray", 0),
        ] {
            assert!(report.counters.contains(&count), "{count:?}");
        }
    }

    #[test]
    fn the_body_is_as_long_as_it_says() {
        let (_, body) = BODY.split_once("\r\n\r\n").expect("a blank line");
        assert!(BODY.contains(&format!("Content-Length: {}\r\n", body.len())));
    }
}
