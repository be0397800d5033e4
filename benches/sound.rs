//! How late sound leaves under load: so many callers who hear music, or so many calls that are joined.
//!
//! Arguments: `music` or `mixes`, how many, and for how many seconds, as in
//! `cargo bench --bench sound -- mixes 500 20`. It starts `target/release/campon`, or what `CAMPON_BIN`
//! names, on 127.0.0.1 and plays all phones itself. A packet's lateness is how long after its turn it came,
//! by the earliest packet of its stream and by the system's clock at its arrival: what the driver itself
//! is late does not count. Each phone speaks at a time of its own within the 20 ms, as phones do.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "it measures real time, prints what it has found, and stops at the first surprise"
)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use nix::cmsg_space;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, setsockopt,
    sockopt::{RcvBufForce, ReceiveTimestampns},
};
use nix::sys::time::TimeSpec;
use socket2::{Domain, Socket, Type};

const CAMPON: &str = "127.0.0.1:25060";
const PHONES: &str = "127.0.0.1:25070";
const MEDIA: &str = "127.0.0.1:25072";
/// Longest that anything in SIP may take.
const STEP_MAX: Duration = Duration::from_secs(20);
/// How long a request waits for its answer before it is sent again.
const T1: Duration = Duration::from_millis(500);
/// Enough for what comes while the driver does something else.
const BUFFER_BYTES: usize = 32 << 20;
/// How far one stream's turns are apart.
const TICK: Duration = Duration::from_millis(20);

fn main() {
    let arguments: Vec<String> = std::env::args().filter(|it| it != "--bench").collect();
    // Whoever lists tests asks benches as well.
    let is_load = |kind: &String| ["music", "mixes"].contains(&kind.as_str());
    let [_, kind, count, seconds] = arguments.as_slice() else {
        return;
    };
    if !is_load(kind) {
        return;
    }
    let (count, seconds) = (number(count), number(seconds));
    let campon = Campon::start();
    let mut driver = Driver::new();
    match kind.as_str() {
        "music" => driver.callers_hear_music(count),
        _ => driver.calls_are_joined(count),
    }
    let before = campon.cpu();
    let streams = driver.measure(Duration::from_secs(seconds));
    let used = campon.cpu().saturating_sub(before).as_micros();
    let each = used / u128::from(streams.max(1) * seconds);
    println!("CPU of campon: {used} µs, {each} µs for each second of a stream");
}

fn number(text: &str) -> u64 {
    text.parse().expect("a number")
}

/// campon, until it is dropped.
struct Campon(Child);

impl Drop for Campon {
    fn drop(&mut self) {
        // A signal would let it wait for its calls.
        let _ended = self.0.kill();
        let _status = self.0.wait();
    }
}

impl Campon {
    /// The processor time that all its threads have had.
    fn cpu(&self) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.0.id())).expect("its threads");
        let nanos = tasks.map(|task| {
            let file = task.expect("a thread").path().join("schedstat");
            let text = fs::read_to_string(file).unwrap_or_default();
            let first = text.split_whitespace().next();
            first.and_then(|it| it.parse().ok()).unwrap_or(0)
        });
        Duration::from_nanos(nanos.sum())
    }

    fn start() -> Self {
        let file = std::env::temp_dir().join("campon-sound.toml");
        let config = format!(
            "[[listener]]\naddress = \"{CAMPON}\"\n[api]\nlisten = \"127.0.0.1:25080\"\n\
         [log]\nlevel = \"error\"\n[overload]\ndelay_target_ms = 60000\n[media]\nports = \"30000-59999\"\n\
         [strangers]\nrate_max = 0\n\
         [completion]\nqueue_max = 100000\nper_caller_max = 100\ncamp_on_max = \"1h\"\n\
         [completion.intrusion]\nintrudes = 1\nprotection = 0\n\
         [completion.prompt]\nintrude = \"3\"\n"
        );
        fs::write(&file, config).expect("a file in the folder for temporary ones");
        let binary =
            std::env::var("CAMPON_BIN").unwrap_or_else(|_| "target/release/campon".to_owned());
        let mut command = Command::new(&binary);
        command.arg("serve").arg("--config").arg(file);
        let child = command.spawn();
        Self(child.unwrap_or_else(|error| panic!("{binary}: {error}")))
    }
}

/// All phones: one socket for what they say, one for what they hear.
struct Driver {
    sip: UdpSocket,
    media: UdpSocket,
    serial: u64,
    /// The responses so far, by Call-ID: of the INVITE the last one.
    answers: BTreeMap<String, String>,
    /// What each phone sends audio to, by its Call-ID and end.
    sends_to: BTreeMap<String, SocketAddr>,
}

fn socket(address: &str) -> UdpSocket {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).expect("a socket");
    socket.set_recv_buffer_size(BUFFER_BYTES).expect("a buffer");
    let address: SocketAddr = address.parse().expect("an address");
    socket.bind(&address.into()).expect("a free port");
    socket
        .set_nonblocking(true)
        .expect("a socket that does not wait");
    socket.into()
}

impl Driver {
    fn new() -> Self {
        let media = socket(MEDIA);
        setsockopt(&media, ReceiveTimestampns, &true).expect("times of arrival");
        // More than the system's limit where it may.
        let _is_more = setsockopt(&media, RcvBufForce, &BUFFER_BYTES);
        Self {
            sip: socket(PHONES),
            media,
            serial: 0,
            answers: BTreeMap::new(),
            sends_to: BTreeMap::new(),
        }
    }

    /// Carol talks with Bob, and the others wait for him.
    fn callers_hear_music(&mut self, count: u64) {
        for user in ["carol", "bob"] {
            self.registers(user);
        }
        self.calls("carol", "bob", "");
        for index in 0..count {
            let user = format!("caller{index}");
            self.registers(&user);
            let call = self.sends_invite(&user, "bob", "Request-Disposition: queue\r\n");
            self.waits_for(&call, "183");
        }
    }

    /// Each Carol talks with her Bob, and each Alice joins them.
    fn calls_are_joined(&mut self, count: u64) {
        for index in 0..count {
            let [alice, bob, carol] = ["alice", "bob", "carol"].map(|it| format!("{it}{index}"));
            for user in [&alice, &bob, &carol] {
                self.registers(user);
            }
            self.calls(&carol, &bob, "");
            let call = self.sends_invite(&alice, &bob, "");
            self.waits_for(&call, "183");
            self.presses(&call, &alice, '3');
            self.waits_for(&call, "200");
        }
    }

    fn registers(&mut self, user: &str) {
        let call = self.call_id();
        let request = format!(
            "REGISTER sip:127.0.0.1 SIP/2.0\r\n{}From: <sip:{user}@127.0.0.1>;tag={call}\r\n\
             To: <sip:{user}@127.0.0.1>\r\nCall-ID: {call}\r\nCSeq: 1 REGISTER\r\n\
             Contact: <sip:{user}@{PHONES}>\r\nExpires: 3600\r\nContent-Length: 0\r\n\r\n",
            Self::via(&call, "register")
        );
        // campon may not be there yet.
        let until = Instant::now() + STEP_MAX;
        while !self.answers.contains_key(&call) && Instant::now() < until {
            self.sends(&request);
            let again = Instant::now() + T1;
            while Instant::now() < again && !self.answers.contains_key(&call) {
                if !self.hears_sip() {
                    std::thread::sleep(Duration::from_micros(200));
                }
            }
        }
        self.waits_for(&call, "200");
    }

    fn calls(&mut self, from: &str, to: &str, more: &str) {
        let call = self.sends_invite(from, to, more);
        self.waits_for(&call, "200");
    }

    fn sends_invite(&mut self, from: &str, to: &str, more: &str) -> String {
        let call = self.call_id();
        let sdp = sdp();
        self.sends(&format!(
            "INVITE sip:{to}@127.0.0.1 SIP/2.0\r\n{}From: <sip:{from}@127.0.0.1>;tag={call}\r\n\
             To: <sip:{to}@127.0.0.1>\r\nCall-ID: {call}\r\nCSeq: 1 INVITE\r\n\
             Contact: <sip:{from}@{PHONES}>\r\n{more}Content-Type: application/sdp\r\n\
             Content-Length: {}\r\n\r\n{sdp}",
            Self::via(&call, "invite"),
            sdp.len()
        ));
        call
    }

    /// By INFO, in the early dialog.
    fn presses(&self, call: &str, from: &str, key: char) {
        let progress = self.answers[call].clone();
        let body = format!("Signal={key}\r\nDuration=160\r\n");
        self.sends(&format!(
            "INFO sip:{CAMPON} SIP/2.0\r\n{}From: <sip:{from}@127.0.0.1>;tag={call}\r\n\
             To: {}\r\nCall-ID: {call}\r\nCSeq: 2 INFO\r\n\
             Content-Type: application/dtmf-relay\r\nContent-Length: {}\r\n\r\n{body}",
            Self::via(call, "info"),
            header(&progress, "To"),
            body.len()
        ));
    }

    fn waits_for(&mut self, call: &str, status: &str) {
        let until = Instant::now() + STEP_MAX;
        let start = format!("SIP/2.0 {status}");
        while !self
            .answers
            .get(call)
            .is_some_and(|it| it.starts_with(&start))
        {
            assert!(
                Instant::now() < until,
                "{call}: no {status}, {:?}",
                self.answers.get(call)
            );
            if !self.hears_sip() {
                std::thread::sleep(Duration::from_micros(200));
            }
        }
    }

    /// Takes a message; whether there was one.
    fn hears_sip(&mut self) -> bool {
        let mut buffer = [0; 8192];
        let length = match self.sip.recv(&mut buffer) {
            Ok(length) => length,
            // Nobody listens yet.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => return false,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(error) => panic!("{error}"),
        };
        let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
        let call = header(&message, "Call-ID").to_owned();
        let method = header(&message, "CSeq")
            .split(' ')
            .nth(1)
            .unwrap_or_default()
            .to_owned();
        if message.starts_with("SIP/2.0 ") {
            if method == "INVITE" && message.starts_with("SIP/2.0 2") {
                self.acknowledges(&message);
            }
            self.notes_media(&call, "caller", &message);
            if method != "INFO" {
                self.answers.insert(call, message);
            }
        } else if method != "ACK" {
            self.notes_media(&call, "callee", &message);
            self.answers_request(&message, &method);
        }
        true
    }

    fn acknowledges(&self, answer: &str) {
        let call = header(answer, "Call-ID");
        let number = header(answer, "CSeq").split(' ').next().unwrap_or_default();
        self.sends(&format!(
            "ACK sip:{CAMPON} SIP/2.0\r\n{}From: {}\r\nTo: {}\r\nCall-ID: {call}\r\n\
             CSeq: {number} ACK\r\nContent-Length: 0\r\n\r\n",
            Self::via(call, "ack"),
            header(answer, "From"),
            header(answer, "To"),
        ));
    }

    fn answers_request(&self, request: &str, method: &str) {
        let to = header(request, "To");
        let tag = if to.contains("tag=") {
            ""
        } else {
            ";tag=callee"
        };
        let (kind, sdp) = match method {
            "INVITE" => ("Content-Type: application/sdp\r\n", sdp()),
            _ => ("", String::new()),
        };
        let vias = request.lines().filter(|line| line.starts_with("Via:"));
        let vias: String = vias.flat_map(|via| [via, "\r\n"]).collect();
        self.sends(&format!(
            "SIP/2.0 200 OK\r\n{vias}From: {}\r\nTo: {to}{tag}\r\nCall-ID: {}\r\nCSeq: {}\r\n\
             Contact: <sip:phone@{PHONES}>\r\n{kind}Content-Length: {}\r\n\r\n{sdp}",
            header(request, "From"),
            header(request, "Call-ID"),
            header(request, "CSeq"),
            sdp.len()
        ));
    }

    /// Where a phone is told to send to; only campon is sent to.
    fn notes_media(&mut self, call: &str, end: &str, message: &str) {
        let port = message
            .lines()
            .find_map(|line| line.strip_prefix("m=audio "));
        let port: Option<u16> = port.and_then(|rest| rest.split(' ').next()?.parse().ok());
        if let Some(port) = port.filter(|port| *port >= 30_000) {
            let to = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            self.sends_to.insert(format!("{call} {end}"), to);
        }
    }

    /// Listens for so long, and says how late packets were.
    fn measure(&mut self, lasts: Duration) -> u64 {
        let mut streams: BTreeMap<u16, Arrivals> = BTreeMap::new();
        // What came before is of no interest.
        while self.hears_media(&mut streams) {}
        streams.clear();
        let mut speech = Speech::of(self.sends_to.values().copied());
        let begin = Instant::now();
        while begin.elapsed() < lasts {
            let has_spoken = speech.goes_on(begin.elapsed(), &self.media);
            let has_heard = self.hears_sip() | self.hears_media(&mut streams);
            if !has_spoken && !has_heard {
                std::thread::sleep(Duration::from_micros(100));
            }
        }
        let mut late: Vec<i64> = Vec::new();
        for Arrivals { delays, .. } in streams.values() {
            let least = delays.iter().min().copied().unwrap_or_default();
            late.extend(delays.iter().map(|it| it - least));
        }
        late.sort_unstable();
        let at = |part: usize| {
            late.get(late.len() * part / 1000)
                .copied()
                .unwrap_or_default()
        };
        let (streams, packets) = (streams.len(), late.len());
        println!(
            "{streams} streams, {packets} packets, {} of {} expected; late by µs: p50 {}, p99 {}, \
             p99.9 {}, most {}",
            packets,
            u128::try_from(streams).unwrap_or_default() * lasts.as_millis() / 20,
            at(500),
            at(990),
            at(999),
            late.last().copied().unwrap_or_default()
        );
        u64::try_from(streams).unwrap_or_default()
    }

    /// Takes what is there; whether there was anything.
    fn hears_media(&self, streams: &mut BTreeMap<u16, Arrivals>) -> bool {
        let mut buffer = [0; 2048];
        let mut control = cmsg_space!(TimeSpec);
        let mut any = false;
        // Speech has its turn in between.
        for _ in 0..64 {
            let mut parts = [IoSliceMut::new(&mut buffer)];
            let flags = MsgFlags::empty();
            let fd = self.media.as_raw_fd();
            let Ok(message) = recvmsg::<SockaddrIn>(fd, &mut parts, Some(&mut control), flags)
            else {
                return any;
            };
            any = true;
            let arrivals = message.cmsgs().expect("times of arrival");
            let came = arrivals.filter_map(|it| {
                let ControlMessageOwned::ScmTimestampns(at) = it else {
                    return None;
                };
                Some(at.tv_sec() * 1_000_000 + at.tv_nsec() / 1000)
            });
            let came = came.last().expect("a time of arrival");
            let from = message.address.map_or(0, |it| it.port());
            if message.bytes < 12 {
                continue;
            }
            let clock = u32::from_be_bytes([buffer[4], buffer[5], buffer[6], buffer[7]]);
            let arrivals = streams.entry(from).or_insert_with(|| Arrivals {
                first: clock,
                delays: Vec::new(),
            });
            // The clock of the packets counts on over pauses and past its end, and 8000 a second.
            let turn = i64::from(clock.wrapping_sub(arrivals.first).cast_signed()) * 125;
            arrivals.delays.push(came - turn);
        }
        any
    }

    fn call_id(&mut self) -> String {
        self.serial += 1;
        format!("sound{}", self.serial)
    }

    fn via(call: &str, what: &str) -> String {
        format!("Via: SIP/2.0/UDP {PHONES};branch=z9hG4bK{call}{what}\r\nMax-Forwards: 70\r\n")
    }

    fn sends(&self, message: &str) {
        let sent = self.sip.send_to(message.as_bytes(), CAMPON);
        sent.expect("campon is there");
    }
}

/// When the packets of a stream came.
struct Arrivals {
    /// What the clock of the first one said.
    first: u32,
    /// The system's time of each, less that of its turn on the stream's clock, in µs.
    delays: Vec<i64>,
}

/// What the phones say: one packet each in 20 ms, one after the other.
struct Speech {
    phones: Vec<SocketAddr>,
    /// How many packets have been sent.
    said: usize,
    packet: Vec<u8>,
}

impl Speech {
    fn of(phones: impl Iterator<Item = SocketAddr>) -> Self {
        let mut packet = vec![0x80, 0];
        packet.extend([0; 10]);
        packet.extend(0..160_u8);
        Self {
            phones: phones.collect(),
            said: 0,
            packet,
        }
    }

    /// Says what is due so long after the beginning; whether there was anything.
    fn goes_on(&mut self, elapsed: Duration, media: &UdpSocket) -> bool {
        let turns = elapsed.as_nanos() * self.phones.len() as u128 / TICK.as_nanos();
        let due = usize::try_from(turns).unwrap_or(usize::MAX);
        let begun = self.said;
        // What is to be heard has its turn in between.
        while self.said < due && self.said < begun + 64 {
            let (round, index) = (self.said / self.phones.len(), self.said % self.phones.len());
            let round = u32::try_from(round).unwrap_or_default();
            let source = u32::try_from(index).unwrap_or_default();
            self.packet[2..4].copy_from_slice(&round.to_be_bytes()[2..]);
            self.packet[4..8].copy_from_slice(&(round * 160).to_be_bytes());
            self.packet[8..12].copy_from_slice(&source.to_be_bytes());
            // One that does not leave is lost, as on any network.
            let _lost = media.send_to(&self.packet, self.phones[index]);
            self.said += 1;
        }
        self.said > begun
    }
}

fn sdp() -> String {
    let port = MEDIA.rsplit_once(':').map_or("", |(_, port)| port);
    format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP 0\r\na=sendrecv\r\n"
    )
}

fn header<'m>(message: &'m str, name: &str) -> &'m str {
    let mut fields = message.lines().filter_map(|line| line.split_once(':'));
    let field = fields.find(|(field, _)| field.eq_ignore_ascii_case(name));
    field.map_or("", |(_, value)| value.trim())
}
