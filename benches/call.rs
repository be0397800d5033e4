//! What one call costs in our own code: INVITE to BYE through a worker, without sockets.

use std::time::Duration;

use campon::random::Rng;
use campon::shard::settings::Peer;
use campon::shard::{Input, Listener, Output, Settings, Shard};
use campon::sip::flow::{Flow, ListenerId, Transport};
use campon::time::Timestamp;
use criterion::{Criterion, criterion_group, criterion_main};

const A: &str = "127.0.0.2:5060";
const B: &str = "127.0.0.3:5060";

const OFFER: &str = "v=0\r\no=user1 53655765 2353687637 IN IP4 127.0.0.2\r\ns=-\r\n\
    c=IN IP4 127.0.0.2\r\nt=0 0\r\nm=audio 16000 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\n\
    a=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\n\
    a=ptime:20\r\na=sendrecv\r\n";

/// A worker in front of B, the time, and what it sent last.
struct World {
    shard: Shard,
    now: Timestamp,
    calls: u64,
    sent: Vec<Vec<u8>>,
}

impl World {
    fn new() -> Self {
        let settings = Settings {
            listeners: vec![Listener::at("127.0.0.1:5060".parse().expect("an address"))],
            upstream: Some(Peer::new(
                "upstream",
                Transport::Udp,
                B.parse().expect("an address"),
            )),
            ..Settings::default()
        };
        Self {
            shard: Shard::new(settings, Rng::from_number(1)),
            now: Timestamp::START,
            calls: 0,
            sent: Vec::new(),
        }
    }

    fn receive(&mut self, from: &str, message: &[u8]) {
        let flow = Flow {
            transport: Transport::Udp,
            listener: ListenerId(0),
            remote: from.parse().expect("an address"),
            connection: None,
        };
        let delay = Duration::ZERO;
        let bytes = message;
        let input = Input::Received { flow, bytes, delay };
        self.shard.handle_input(self.now, input);
        self.sent.clear();
        while let Some(Output::Send { bytes, .. }) = self.shard.poll_output() {
            self.sent.push(bytes.to_vec());
        }
    }

    /// INVITE, 180, 200, ACK, BYE, 200; half a millisecond a call.
    fn call(&mut self) {
        self.calls += 1;
        self.now = self.now + Duration::from_micros(500);
        self.shard.handle_timeout(self.now);
        while self.shard.poll_output().is_some() {}
        let call = self.calls;
        self.receive(A, request("INVITE", call, "", OFFER).as_bytes());
        let invite = self.sent.pop().expect("the INVITE went on");
        self.receive(B, &answer(&invite, "180 Ringing", ""));
        self.receive(B, &answer(&invite, "200 OK", OFFER));
        let tag = value_after(self.sent.last().expect("the 200 went on"), "\r\nTo: ");
        let tag = tag.split(";tag=").nth(1).expect("a tag").to_owned();
        let tag = format!(";tag={tag}");
        self.receive(A, request("ACK", call, &tag, "").as_bytes());
        self.receive(A, request("BYE", call, &tag, "").as_bytes());
        let bye = self.sent.pop().expect("the BYE went on");
        self.receive(B, &answer(&bye, "200 OK", ""));
    }
}

fn request(method: &str, call: u64, tag: &str, body: &str) -> String {
    let number = u8::from(method == "BYE") + 1;
    let kind = if body.is_empty() {
        ""
    } else {
        "Content-Type: application/sdp\r\n"
    };
    format!(
        "{method} sip:bob{call}@127.0.0.1:5060 SIP/2.0\r\n\
         Via: SIP/2.0/UDP 127.0.0.2:5060;branch=z9hG4bK-{call}-{method}\r\n\
         From: \"Alice Caller\" <sip:alice{call}@127.0.0.2:5060>;tag=SIPpTag00{call}\r\n\
         To: \"Bob\" <sip:bob{call}@127.0.0.1:5060>{tag}\r\n\
         Call-ID: {call}-1234@127.0.0.2\r\nCSeq: {number} {method}\r\n\
         Contact: <sip:alice@127.0.0.2:5060>\r\nMax-Forwards: 70\r\n\
         Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, SUBSCRIBE, NOTIFY, INFO, UPDATE\r\n\
         Supported: replaces, timer\r\nUser-Agent: bench\r\n{kind}\
         Content-Length: {length}\r\n\r\n{body}",
        length = body.len(),
    )
}

fn value_after<'t>(message: &'t [u8], name: &str) -> &'t str {
    let text = std::str::from_utf8(message).expect("text");
    let rest = text.split(name).nth(1).expect("the header is there");
    rest.split("\r\n").next().expect("a line")
}

fn answer(request: &[u8], status: &str, body: &str) -> Vec<u8> {
    let line = |name: &str| {
        format!(
            "{name}: {}\r\n",
            value_after(request, &format!("\r\n{name}: "))
        )
    };
    let tag = if value_after(request, "\r\nTo: ").contains(";tag=") {
        ""
    } else {
        ";tag=b"
    };
    let to = line("To").replace("\r\n", &format!("{tag}\r\n"));
    format!(
        "SIP/2.0 {status}\r\n{}{}{to}{}{}Contact: <sip:{B}>\r\nContent-Length: {}\r\n\r\n{body}",
        line("Via"),
        line("From"),
        line("Call-ID"),
        line("CSeq"),
        body.len()
    )
    .into_bytes()
}

fn answered_call(c: &mut Criterion) {
    let mut world = World::new();
    c.bench_function("an answered call", |bencher| bencher.iter(|| world.call()));
}

criterion_group!(benches, answered_call);
criterion_main!(benches);
