//! An upstream of two servers behind SRV records: the first ends under load, and the calls go on.
//!
//! Spec: RFC 3263 §4; RFC 2782; RFC 1035 §4; RFC 3403 §4.
//!
//! The callers are played by SIPp. The servers are threads of the test: they answer OPTIONS, which a
//! scenario of SIPp cannot do between its calls, and end between two messages.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::message::Message;
use crate::stage::Phone::{Alice, Bob, Carol};
use crate::stage::{Stage, network};

/// How many calls there are, and how many begin in a second.
const CALLS: u32 = 100;
const A_SECOND: u32 = 20;
/// How often a thread looks whether it is to end.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A thread with a socket that answers what comes; it ends when it is dropped.
struct Answering {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Answering {
    fn start(
        address: SocketAddr,
        mut answer: impl FnMut(&[u8]) -> Vec<Vec<u8>> + Send + 'static,
    ) -> Self {
        let socket = UdpSocket::bind(address).expect("an address of this stage");
        let timeout = socket.set_read_timeout(Some(LOOK_EVERY));
        timeout.expect("a timeout");
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let run = move || {
            let mut buffer = vec![0; 65_536];
            while !over.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut buffer) else {
                    continue;
                };
                for answer in answer(buffer.get(..length).unwrap_or_default()) {
                    socket.send_to(&answer, from).expect("a route on loopback");
                }
            }
        };
        Self {
            is_over,
            thread: Some(thread::spawn(run)),
        }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(
            thread::panicking() || ended.is_none_or(|ended| ended.is_ok()),
            "a server of the test panicked"
        );
    }
}

/// A PBX that takes every call at once; `calls` counts the INVITEs.
fn pbx(address: SocketAddr, calls: &Arc<AtomicU32>) -> Answering {
    let calls = Arc::clone(calls);
    Answering::start(address, move |raw| {
        let request = Message::read(raw);
        match request.method() {
            "ACK" => Vec::new(),
            "INVITE" => {
                assert_eq!(request.request_uri(), "sip:bob@pbx.test");
                calls.fetch_add(1, Ordering::Relaxed);
                vec![
                    response(&request, address, "180 Ringing"),
                    response(&request, address, "200 OK"),
                ]
            }
            _ => vec![response(&request, address, "200 OK")],
        }
    })
}

fn response(request: &Message, address: SocketAddr, status: &str) -> Vec<u8> {
    let mut text = format!("SIP/2.0 {status}\r\n");
    for name in ["Via", "From", "Call-ID", "CSeq"] {
        let _written = write!(text, "{name}: {}\r\n", request.header(name));
    }
    let tag = if request.tag_of_to().is_some() {
        ""
    } else {
        ";tag=pbx"
    };
    let _written = write!(text, "To: {}{tag}\r\n", request.header("To"));
    let _written = write!(text, "Contact: <sip:bob@{address}>\r\n");
    let body = if status == "200 OK" && request.method() == "INVITE" {
        text.push_str("Content-Type: application/sdp\r\n");
        format!(
            "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n\
             m=audio 17000 RTP/AVP 8\r\n",
            ip = address.ip()
        )
    } else {
        String::new()
    };
    let _written = write!(text, "Content-Length: {}\r\n\r\n{body}", body.len());
    text.into_bytes()
}

/// A DNS server with the zone `pbx.test`: NAPTR for UDP, and SRV for the first server before the
/// second.
fn dns(address: SocketAddr, servers: [Ipv4Addr; 2]) -> Answering {
    Answering::start(address, move |query| {
        let Some((question, name, kind)) = question(query) else {
            return Vec::new();
        };
        let answers: Vec<(u16, Vec<u8>)> = match (kind, &*name) {
            (35, "pbx.test") => {
                let mut naptr = vec![0, 10, 0, 50, 1, b'S', 7];
                naptr.extend_from_slice(b"SIP+D2U");
                naptr.push(0);
                naptr.extend(labels("_sip._udp.pbx.test"));
                vec![(35, naptr)]
            }
            (33, "_sip._udp.pbx.test") => {
                let srv = |priority: u8, host: &str| {
                    let mut srv = vec![0, priority, 0, 100];
                    srv.extend(5060_u16.to_be_bytes());
                    srv.extend(labels(host));
                    (33, srv)
                };
                vec![srv(20, "second.pbx.test"), srv(10, "first.pbx.test")]
            }
            (1, "first.pbx.test") => vec![(1, servers[0].octets().to_vec())],
            (1, "second.pbx.test") => vec![(1, servers[1].octets().to_vec())],
            _ => Vec::new(),
        };
        let mut reply = query.get(..2).unwrap_or_default().to_vec();
        // An answer with authority, one question.
        reply.extend([0x85, 0x80, 0, 1]);
        let count = u16::try_from(answers.len()).expect("few records");
        reply.extend(count.to_be_bytes());
        reply.extend([0; 4]);
        reply.extend_from_slice(question);
        for (kind, data) in answers {
            // The name of the question, class IN, a TTL of an hour.
            reply.extend([0xc0, 12]);
            reply.extend(kind.to_be_bytes());
            reply.extend([0, 1]);
            reply.extend(3600_u32.to_be_bytes());
            let length = u16::try_from(data.len()).expect("short records");
            reply.extend(length.to_be_bytes());
            reply.extend(data);
        }
        vec![reply]
    })
}

/// The first question of a query: as it stands, its name and its kind.
fn question(query: &[u8]) -> Option<(&[u8], String, u16)> {
    let mut name = Vec::new();
    let mut at = 12;
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        let label = query.get(at..at + length)?;
        name.push(String::from_utf8_lossy(label).to_ascii_lowercase());
        at += length;
    }
    let kind = u16::from_be_bytes([*query.get(at)?, *query.get(at + 1)?]);
    Some((query.get(12..at + 4)?, name.join("."), kind))
}

/// A name as DNS has it.
fn labels(name: &str) -> Vec<u8> {
    let mut labels = Vec::new();
    for label in name.split('.') {
        labels.push(u8::try_from(label.len()).expect("a label"));
        labels.extend_from_slice(label.as_bytes());
    }
    labels.push(0);
    labels
}

#[test]
fn calls_go_on_when_the_first_of_two_servers_behind_srv_ends_under_load() {
    let [a, b, c, _] = network("srv_failover").octets();
    // Bob's place and Carol's.
    let (first, second) = (Ipv4Addr::new(a, b, c, 2), Ipv4Addr::new(a, b, c, 5));
    let resolver = SocketAddr::new(Ipv4Addr::new(a, b, c, 53).into(), 5353);
    let _dns = dns(resolver, [first, second]);
    let counts = [(); 2].map(|()| Arc::new(AtomicU32::new(0)));
    let first_pbx = pbx(SocketAddr::new(first.into(), 5060), &counts[0]);
    let _second_pbx = pbx(SocketAddr::new(second.into(), 5060), &counts[1]);
    let config = format!(
        "[resolver]\nservers = [\"{resolver}\"]\n[calls]\ncalls_max = 1000\n\
         [upstream]\naddress = \"sip:pbx.test\"\nattempt = \"400ms\"\n\
         ping = \"300ms\"\nping_max = \"100ms\"\n"
    );
    let stage = Stage::open_with("srv_failover", &config);
    assert_eq!(stage.address_of(Bob).ip(), first);
    assert_eq!(stage.address_of(Carol).ip(), second);
    let caller = stage.crowd("basic_call.caller", Alice, CALLS, A_SECOND);
    stage.wait_until_counted("calls_answered", (CALLS / 3).into());
    // Its port is closed as that of a process that was killed.
    drop(first_pbx);
    let at_the_end = counts[0].load(Ordering::Relaxed);
    // Every caller got through, without repeating anything.
    caller.finish();
    let [at_first, at_second] = counts.map(|count| count.load(Ordering::Relaxed));
    assert_eq!(at_first, at_the_end);
    assert_eq!(at_first + at_second, CALLS);
    assert!(at_second > CALLS / 3, "{at_second}");
    let moved = stage.counted().into_iter();
    let moved = moved.filter(|(name, _)| name == "requests_moved_on");
    // Those within one attempt of the end; after the second ping at the latest, nobody asks it.
    let [(_, moved)] = &*moved.collect::<Vec<_>>() else {
        panic!("a counter of that name")
    };
    assert!((1..=40).contains(moved), "{moved}");
    let log = stage.stop();
    let told: Vec<_> = log
        .lines()
        .filter(|line| line.contains("server is down"))
        .collect();
    assert_eq!(told.len(), 1, "{log}");
    assert!(
        told[0].contains(&format!("sip:{first}:5060;transport=udp")),
        "{log}"
    );
}
