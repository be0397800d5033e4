//! Calls through a worker, in virtual time and without sockets.

use std::time::Duration;

use campon::random::Rng;
use campon::shard::settings::Peer;
use campon::shard::{Input, Listener, Output, Settings, Shard};
use campon::sip::flow::{Flow, ListenerId, Transport};
use campon::time::Timestamp;

const CALLER: &str = "127.0.0.1:5061";
const CALLEE: &str = "127.0.0.1:5070";
/// How many users of each name call and are called in turn.
const USERS: u64 = 1000;

const OFFER: &str = "v=0\r\no=user1 53655765 2353687637 IN IP4 127.0.0.1\r\ns=-\r\n\
    c=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 16000 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\n\
    a=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\n\
    a=ptime:20\r\na=sendrecv\r\n";

/// A worker, who calls and is called through it, and the time.
pub(crate) struct World {
    shard: Shard,
    now: Timestamp,
    calls: u64,
    sent: Vec<Vec<u8>>,
}

impl World {
    pub(crate) fn new() -> Self {
        let upstream = CALLEE.parse().expect("an address");
        let settings = Settings {
            listeners: vec![Listener::at("127.0.0.1:5060".parse().expect("an address"))],
            upstream: Some(Peer::new("upstream", Transport::Udp, upstream)),
            ..Settings::default()
        };
        Self {
            shard: Shard::new(settings, Rng::from_number(1)),
            now: Timestamp::START,
            calls: 0,
            sent: Vec::new(),
        }
    }

    /// Registers all callers and all callees; otherwise calls go upstream.
    pub(crate) fn register(&mut self) {
        for (name, at) in [("alice", CALLER), ("bob", CALLEE)] {
            for user in 0..USERS {
                let register = format!(
                    "REGISTER sip:127.0.0.1 SIP/2.0\r\n\
                     Via: SIP/2.0/UDP {at};branch=z9hG4bK-{user}-{name}\r\n\
                     From: <sip:{name}{user}@127.0.0.1>;tag={user}\r\n\
                     To: <sip:{name}{user}@127.0.0.1>\r\n\
                     Call-ID: {user}-{name}\r\nCSeq: 1 REGISTER\r\n\
                     Contact: <sip:{name}{user}@{at}>\r\nMax-Forwards: 70\r\n\
                     Expires: 7200\r\nContent-Length: 0\r\n\r\n"
                );
                self.receive(at, register.as_bytes());
                let answer = self.sent.pop().expect("an answer");
                assert!(answer.starts_with(b"SIP/2.0 200"), "registered");
                self.pass();
            }
        }
    }

    /// INVITE, 180, 200, ACK, BYE, 200; half a millisecond a call.
    pub(crate) fn answered_call(&mut self) {
        self.calls += 1;
        self.pass();
        let call = self.calls;
        self.receive(CALLER, request("INVITE", call, "", OFFER).as_bytes());
        let invite = self.take_sent(b"INVITE ");
        self.receive(CALLEE, &answer(&invite, "180 Ringing", ""));
        self.receive(CALLEE, &answer(&invite, "200 OK", OFFER));
        let tag = tag_of(&self.take_sent(b"SIP/2.0 200"));
        self.receive(CALLER, request("ACK", call, &tag, "").as_bytes());
        self.receive(CALLER, request("BYE", call, &tag, "").as_bytes());
        let bye = self.take_sent(b"BYE ");
        self.receive(CALLEE, &answer(&bye, "200 OK", ""));
    }

    /// INVITE, 486, ACK; half a millisecond a call.
    pub(crate) fn busy_call(&mut self) {
        self.calls += 1;
        self.pass();
        let call = self.calls;
        self.receive(CALLER, request("INVITE", call, "", OFFER).as_bytes());
        let invite = self.take_sent(b"INVITE ");
        self.receive(CALLEE, &answer(&invite, "486 Busy Here", ""));
        let tag = tag_of(&self.take_sent(b"SIP/2.0 486"));
        // Of the INVITE's transaction.
        let ack = request("ACK", call, &tag, "").replace("-ACK\r\n", "-INVITE\r\n");
        self.receive(CALLER, ack.as_bytes());
    }

    fn pass(&mut self) {
        self.now = self.now + Duration::from_micros(500);
    }

    fn receive(&mut self, from: &str, message: &[u8]) {
        let flow = Flow {
            transport: Transport::Udp,
            listener: ListenerId(0),
            remote: from.parse().expect("an address"),
            connection: None,
        };
        self.sent.clear();
        turn(&mut self.shard, self.now, (flow, message), &mut self.sent);
    }

    fn take_sent(&mut self, start: &[u8]) -> Vec<u8> {
        let found = self.sent.iter().position(|sent| sent.starts_with(start));
        self.sent.swap_remove(found.expect("it was sent"))
    }
}

/// One turn of a worker that one message has woken.
#[inline(never)]
fn turn(shard: &mut Shard, now: Timestamp, (flow, bytes): (Flow, &[u8]), sent: &mut Vec<Vec<u8>>) {
    let delay = Duration::ZERO;
    shard.handle_input(now, Input::Received { flow, bytes, delay });
    deliver(shard, sent);
    if shard.poll_timeout().is_some_and(|due| due <= now) {
        shard.handle_timeout(now);
        deliver(shard, sent);
    }
    // For how long it may sleep.
    std::hint::black_box(shard.poll_timeout());
}

fn deliver(shard: &mut Shard, sent: &mut Vec<Vec<u8>>) {
    while let Some(output) = shard.poll_output() {
        if let Output::Send { bytes, .. } = output {
            sent.push(bytes.to_vec());
        }
    }
}

fn request(method: &str, call: u64, tag: &str, body: &str) -> String {
    let number = u8::from(method == "BYE") + 1;
    let user = call % USERS;
    let own = if body.is_empty() {
        ""
    } else {
        "Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, SUBSCRIBE, NOTIFY, INFO, PUBLISH, UPDATE\
         \r\nSupported: replaces, timer\r\nUser-Agent: bench-uac\r\n\
         Content-Type: application/sdp\r\n"
    };
    format!(
        "{method} sip:bob{user}@127.0.0.1:5060 SIP/2.0\r\n\
         Via: SIP/2.0/UDP {CALLER};branch=z9hG4bK-4711-{call}-{method}\r\n\
         From: \"Alice Caller\" <sip:alice{user}@{CALLER}>;tag=4711SIPpTag00{call}\r\n\
         To: \"Bob\" <sip:bob{user}@127.0.0.1:5060>{tag}\r\n\
         Call-ID: {call}-4711@127.0.0.1\r\nCSeq: {number} {method}\r\n\
         Contact: <sip:alice@{CALLER}>\r\nMax-Forwards: 70\r\n{own}\
         Content-Length: {length}\r\n\r\n{body}",
        length = body.len(),
    )
}

fn answer(request: &[u8], status: &str, body: &str) -> Vec<u8> {
    let line = |name: &str| {
        let value = value_after(request, &format!("\r\n{name}: "));
        format!("{name}: {value}\r\n")
    };
    let tag = if value_after(request, "\r\nTo: ").contains(";tag=") {
        ""
    } else {
        ";tag=4711SIPpUas01"
    };
    let to = line("To").replace("\r\n", &format!("{tag}\r\n"));
    let own = if body.is_empty() {
        ""
    } else {
        "Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, UPDATE\r\nServer: bench-uas\r\n\
         Content-Type: application/sdp\r\n"
    };
    format!(
        "SIP/2.0 {status}\r\n{}{}{to}{}{}\
         Contact: <sip:bob@{CALLEE};transport=UDP>\r\n{own}Content-Length: {}\r\n\r\n{body}",
        line("Via"),
        line("From"),
        line("Call-ID"),
        line("CSeq"),
        body.len()
    )
    .into_bytes()
}

/// `;tag=…` of a response's To.
fn tag_of(response: &[u8]) -> String {
    let to = value_after(response, "\r\nTo: ");
    let tag = to.split(";tag=").nth(1).expect("a tag");
    format!(";tag={tag}")
}

fn value_after<'t>(message: &'t [u8], name: &str) -> &'t str {
    let text = std::str::from_utf8(message).expect("text");
    let rest = text.split(name).nth(1).expect("the header is there");
    rest.split("\r\n").next().expect("a line")
}
