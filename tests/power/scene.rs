//! A campon with a store, and three phones before it that are witnesses of what it does.
//!
//! The phones are sockets of the test's own, with no more of SIP than they need.

use std::cell::RefCell;
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use campon::completion::{Record, WallTime};
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_campon");

/// How long anything may take: nothing, when all goes well.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

pub(super) const SDP: &str = "v=0\r\no=- 1 1 IN IP4 127.84.1.1\r\ns=-\r\nc=IN IP4 127.84.1.1\r\nt=0 0\r\n\
    m=audio 4000 RTP/AVP 0\r\na=sendrecv\r\n";

fn ip(net: u8, place: u8) -> String {
    format!("127.84.{net}.{place}")
}

/// A campon on this store; killed when it is dropped.
pub(super) struct Campon(Child);

impl Campon {
    pub(super) fn start(config: &Path, ip: &str) -> Self {
        Self::run(Command::new(BINARY), config, ip)
    }

    /// The same, which alone sees a disk of a megabyte at this folder.
    pub(super) fn start_on_small_disk(config: &Path, ip: &str, folder: &Path) -> Self {
        let mut command = Command::new("unshare");
        let script = "mount -t tmpfs -o size=1m campon \"$0\" && exec \"$@\"";
        command.args(["--mount", "sh", "-c", script]);
        command.arg(folder).arg(BINARY);
        Self::run(command, config, ip)
    }

    /// On a disk whose blocks come from a room of their own: when that is full, what is written fails
    /// when it is synced.
    pub(super) fn start_on_thin_disk(config: &Path, ip: &str, folder: &Path) -> Self {
        let mut command = Command::new("unshare");
        let script = "mount -t tmpfs -o size=8m campon \"$0\" && mkdir \"$0/disk\" \
                      && truncate -s 64M \"$0/image\" && mkfs.ext2 -q -F \"$0/image\" \
                      && mount -o loop \"$0/image\" \"$0/disk\" && exec \"$@\"";
        command.args(["--mount", "sh", "-c", script]);
        command.arg(folder).arg(BINARY);
        Self::run(command, config, ip)
    }

    fn run(mut command: Command, config: &Path, ip: &str) -> Self {
        command
            .args(["serve", "--listen", ip, "--config"])
            .arg(config);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().expect("the binary runs"))
    }

    /// This path as campon sees it.
    pub(super) fn seen(&self, path: &Path) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.0.id()));
        root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// SIGKILL.
    pub(super) fn kill(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Drop for Campon {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Which way a message went.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Way {
    Heard,
    Sent,
}

/// What a phone has said or heard, in its order.
pub(super) struct Line {
    pub(super) at: Instant,
    pub(super) way: Way,
    pub(super) text: String,
}

/// A phone: a socket, and how many requests it has sent.
pub(super) struct Phone {
    name: &'static str,
    socket: UdpSocket,
    at: SocketAddr,
    /// Where campon is.
    home: String,
    sent: u32,
    journal: RefCell<Vec<Line>>,
}

impl Phone {
    fn new(name: &'static str, net: u8, place: u8) -> Self {
        let socket = UdpSocket::bind(format!("{}:5060", ip(net, place)));
        let socket = socket.expect("an address of the test's own");
        let at = socket.local_addr().expect("it is bound");
        Self {
            name,
            socket,
            at,
            home: ip(net, 1),
            sent: 0,
            journal: RefCell::default(),
        }
    }

    fn note(&self, way: Way, text: &str) {
        let (at, text) = (Instant::now(), text.to_owned());
        self.journal.borrow_mut().push(Line { at, way, text });
    }

    /// What it has said and heard since it was asked last.
    pub(super) fn journal(&self) -> Vec<Line> {
        self.journal.take()
    }

    pub(super) fn send(&self, text: &str) {
        self.note(Way::Sent, text);
        // A campon that is dead refuses.
        let at = (self.home.as_str(), 5060);
        let _refused = self.socket.send_to(text.as_bytes(), at);
    }

    /// A request out of any dialog: its text, to be sent again.
    pub(super) fn request(&mut self, method: &str, user: &str, more: &str, body: &str) -> String {
        self.sent += 1;
        let (name, at, sent, ip) = (self.name, self.at, self.sent, &self.home);
        let to = if method == "REGISTER" { name } else { user };
        let uri = if method == "REGISTER" {
            String::new()
        } else {
            format!("{user}@")
        };
        let kind = if body.is_empty() {
            ""
        } else {
            "Content-Type: application/sdp\r\n"
        };
        format!(
            "{method} sip:{uri}{ip} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bK{name}{sent}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:{name}@{ip}>;tag=t{sent}\r\nTo: <sip:{to}@{ip}>\r\n\
             Call-ID: {name}-{sent}\r\nCSeq: {sent} {method}\r\nContact: <sip:{name}@{at}>\r\n\
             {more}{kind}Content-Length: {length}\r\n\r\n{body}",
            length = body.len()
        )
    }

    /// The next message of this start; all others are answered or let go.
    pub(super) fn awaits(&self, time: Duration, start: &str) -> Option<String> {
        let mut buffer = [0; 8192];
        // The time of one silence: whatever comes meanwhile begins it anew.
        self.socket.set_read_timeout(Some(time)).expect("a timeout");
        loop {
            let (length, _) = self.socket.recv_from(&mut buffer).ok()?;
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            self.note(Way::Heard, &text);
            if text.starts_with(start) {
                return Some(text);
            }
            if text.starts_with("BYE") || text.starts_with("CANCEL") {
                self.send(&answer(&text, "200 OK", ""));
            }
        }
    }

    #[track_caller]
    pub(super) fn hears(&self, start: &str) -> String {
        let heard = self.awaits(PATIENCE, start);
        heard.unwrap_or_else(|| panic!("{} waits for {start} in vain", self.name))
    }

    /// Sends it until it is answered by a final response: a campon that starts hears it at last.
    pub(super) fn asks(&self, request: &str) -> String {
        for _ in 0..750 {
            self.send(request);
            let id = value(request, "Call-ID");
            while let Some(text) = self.awaits(Duration::from_millis(40), "SIP/2.0 ") {
                if value(&text, "Call-ID") == id && !text.starts_with("SIP/2.0 1") {
                    return text;
                }
            }
        }
        panic!("{} is not answered:\n{request}", self.name)
    }

    pub(super) fn registers(&mut self) {
        let register = self.request("REGISTER", "", "Expires: 3600\r\n", "");
        let done = self.asks(&register);
        assert!(done.starts_with("SIP/2.0 200"), "{done}");
    }

    /// An ACK or a BYE in the dialog of a request of its own that was answered by this.
    pub(super) fn within(&mut self, method: &str, request: &str, answered: &str) -> String {
        let cseq = value(request, "CSeq");
        let number: u32 = cseq
            .split(' ')
            .next()
            .and_then(|n| n.parse().ok())
            .expect("a CSeq");
        let number = number + u32::from(method != "ACK");
        let contact = value(answered, "Contact");
        let target = contact
            .trim_start_matches('<')
            .split('>')
            .next()
            .unwrap_or_default();
        let home = format!("sip:{}", self.home);
        let target = if target.is_empty() { &home } else { target };
        self.sent += 1;
        format!(
            "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {};branch=z9hG4bK{}w{}\r\n\
             Max-Forwards: 70\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {number} {method}\r\n\
             Content-Length: 0\r\n\r\n",
            self.at,
            self.name,
            self.sent,
            value(request, "From"),
            value(answered, "To"),
            value(request, "Call-ID"),
        )
    }
}

/// The first value of a header.
pub(super) fn value<'t>(text: &'t str, name: &str) -> &'t str {
    let lines = text.split("\r\n");
    let mut found = lines.filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    found.next().unwrap_or_default()
}

pub(super) fn answer(request: &str, status: &str, body: &str) -> String {
    let vias = request
        .split("\r\n")
        .filter(|line| line.starts_with("Via: "));
    let vias: Vec<_> = vias.collect();
    let to = value(request, "To");
    let tag = if to.contains(";tag=") {
        ""
    } else {
        ";tag=phone"
    };
    let (contact, kind) = if body.is_empty() {
        (String::new(), "")
    } else {
        let uri = request.split(' ').nth(1).unwrap_or_default();
        (
            format!("Contact: <{uri}>\r\n"),
            "Content-Type: application/sdp\r\n",
        )
    };
    format!(
        "SIP/2.0 {status}\r\n{}\r\nFrom: {}\r\nTo: {to}{tag}\r\nCall-ID: {}\r\nCSeq: {}\r\n\
         {contact}{kind}Content-Length: {}\r\n\r\n{body}",
        vias.join("\r\n"),
        value(request, "From"),
        value(request, "Call-ID"),
        value(request, "CSeq"),
        body.len(),
    )
}

/// A request as a worker has it stored: its record after its length, and what comes behind.
pub(super) fn opened(stored: &[u8]) -> (Record, &[u8]) {
    let (length, rest) = stored.split_first_chunk().expect("a length");
    let length = usize::try_from(u32::from_be_bytes(*length)).expect("a length");
    let (record, rest) = rest.split_at_checked(length).expect("a whole record");
    let record = Record::decode(record, WallTime::default());
    (record.expect("a record"), rest)
}

/// Campon, and who calls by it.
pub(super) struct Scene {
    pub(super) campon: Campon,
    config: PathBuf,
    ip: String,
    pub(super) alice: Phone,
    pub(super) bob: Phone,
    pub(super) carol: Phone,
}

impl Scene {
    /// In a network of its own, with a store at this place, and more of a configuration.
    pub(super) fn open(
        net: u8,
        folder: &Path,
        (store, more): (&Path, &str),
        start: impl FnOnce(&Path, &str) -> Campon,
    ) -> Self {
        let config = folder.join("campon.toml");
        let text = format!(
            "[store]\npath = \"{}\"\n[overload]\ndelay_target_ms = 60000\n\
             [completion]\nguard = \"100ms\"\nrest = \"1s\"\n\
             [completion.codes]\nrequest_last = \"*37#\"\ncancel_last = \"#37*#\"\n\
             cancel_all = \"#37#\"\n{more}",
            store.display()
        );
        fs::write(&config, text).expect("a file in the test's folder");
        let ip = ip(net, 1);
        let mut scene = Self {
            campon: start(&config, &ip),
            config,
            ip,
            alice: Phone::new("alice", net, 2),
            bob: Phone::new("bob", net, 3),
            carol: Phone::new("carol", net, 4),
        };
        scene.register();
        scene
    }

    fn register(&mut self) {
        for phone in [&mut self.alice, &mut self.bob, &mut self.carol] {
            phone.registers();
        }
    }

    pub(super) fn restart(&mut self) {
        self.campon.kill();
        self.campon = Campon::start(&self.config, &self.ip);
        self.register();
    }

    /// Carol talks with Bob: what ends it.
    pub(super) fn carol_talks(&mut self) -> String {
        let invite = self.carol.request("INVITE", "bob", "", SDP);
        self.carol.send(&invite);
        let rings = self.bob.hears("INVITE");
        self.bob.send(&answer(&rings, "200 OK", SDP));
        let answered = self.carol.hears("SIP/2.0 200");
        let ack = self.carol.within("ACK", &invite, &answered);
        self.carol.send(&ack);
        self.bob.hears("ACK");
        self.carol.within("BYE", &invite, &answered)
    }

    pub(super) fn carol_hangs_up(&self, bye: &str) {
        self.carol.asks(bye);
        // His line is his own again when his phone has said so.
        self.bob.send(&answer(&self.bob.hears("BYE"), "200 OK", ""));
    }

    /// What she is told.
    pub(super) fn alice_finds_busy(&mut self, whom: &str) -> String {
        let invite = self.alice.request("INVITE", whom, "", SDP);
        let busy = self.alice.asks(&invite);
        assert!(busy.starts_with("SIP/2.0 486"), "{busy}");
        let ack = self.alice.within("ACK", &invite, &busy);
        let branch = value(&invite, "Via").to_owned();
        let ack = ack.replacen(value(&ack, "Via"), &branch, 1);
        self.alice.send(&ack);
        busy
    }

    /// Alice dials a code; the first line of what came of it.
    pub(super) fn dials(&mut self, code: &str) -> String {
        let invite = self.alice.request("INVITE", code, "", SDP);
        let done = self.alice.asks(&invite);
        let ack = self.alice.within("ACK", &invite, &done);
        self.alice.send(&ack);
        done.lines().next().unwrap_or_default().to_owned()
    }

    /// Alice answers her recall and talks with Bob; the CC call's INVITE was heard already.
    pub(super) fn connects(&self, cc_call: &str) {
        self.bob.send(&answer(cc_call, "200 OK", SDP));
        let offer = self.alice.hears("INVITE");
        self.alice.send(&answer(&offer, "200 OK", SDP));
        self.bob.hears("ACK");
    }

    /// Waits until no request is left: its end is kept.
    pub(super) fn is_ended(&self) {
        self.holds(0);
    }

    /// Waits until there are so many requests.
    pub(super) fn holds(&self, requests: u64) {
        let ask = || {
            let mut command = Command::new(BINARY);
            let api = format!("http://{}:5080", self.ip);
            command.args(["status", "--json", "--api", &api]);
            let out = command.output().expect("the binary runs");
            let status: Value = serde_json::from_slice(&out.stdout).unwrap_or_default();
            status["tables"]["completions"]["entries"] == requests
        };
        let pause = Duration::from_millis(20);
        let mut looks = (0..1500).map(|_| ask() || self.carol.awaits(pause, "nothing").is_some());
        assert!(looks.any(|is_so| is_so), "not {requests} requests");
    }

    /// Bob is seen on the phone, so that whoever waits for him is rung.
    pub(super) fn bob_is_seen(&mut self) {
        let bye = self.carol_talks();
        self.carol_hangs_up(&bye);
    }
}
