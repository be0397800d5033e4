//! kill -9 of the binary at moments of a seed's choosing, with a witness on each side.
//!
//! Alice, Bob and Carol are phones of this test's own: what they have heard is what counts. After each
//! kill campon is started anew on the same store, Bob is seen on the phone again, and Alice is rung if
//! and only if her request was accepted and has not ended.
//!
//! A kill says nothing of fsync, for the page cache survives the process.

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use campon::random::Rng;
use serde_json::Value;

const IP: &str = "127.84.1.1";
const CAMPON: &str = "127.84.1.1:5060";
const HOME: &str = "sip:127.84.1.1";

/// How long anything may take: nothing, when all goes well.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long Alice is listened to where nothing is to come: more than the guard, and than all that
/// happens by itself.
const SILENCE: Duration = Duration::from_millis(600);

/// How many kills there are if `CAMPON_KILLS` does not say.
const KILLS: u64 = 50;
/// How often each moment must be hit; a request or a cancellation that was answered before the kill is
/// none of its first or last moment.
const HITS_MIN: u64 = 5;

/// What the kill hits.
const MOMENTS: [&str; 5] = [
    "accept before its answer",
    "ready",
    "ringing A",
    "CC call",
    "uncomplete",
];

const SDP: &str = "v=0\r\no=- 1 1 IN IP4 127.84.1.1\r\ns=-\r\nc=IN IP4 127.84.1.1\r\nt=0 0\r\n\
    m=audio 4000 RTP/AVP 0\r\na=sendrecv\r\n";

/// A campon on this store; killed when it is dropped.
struct Campon(Child);

impl Campon {
    fn start(config: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_campon"));
        command
            .args(["serve", "--listen", IP, "--config"])
            .arg(config);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().expect("the binary runs"))
    }

    /// SIGKILL.
    fn kill(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Drop for Campon {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A phone: a socket, and how many requests it has sent.
struct Phone {
    name: &'static str,
    socket: UdpSocket,
    at: SocketAddr,
    sent: u32,
}

impl Phone {
    fn new(name: &'static str, address: &str) -> Self {
        let socket = UdpSocket::bind(address).expect("an address of the test's own");
        let at = socket.local_addr().expect("it is bound");
        Self {
            name,
            socket,
            at,
            sent: 0,
        }
    }

    fn send(&self, text: &str) {
        // A campon that is dead refuses.
        let _refused = self.socket.send_to(text.as_bytes(), CAMPON);
    }

    /// A request out of any dialog: its text, to be sent again.
    fn request(&mut self, method: &str, user: &str, more: &str, body: &str) -> String {
        self.sent += 1;
        let (name, at, sent) = (self.name, self.at, self.sent);
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
            "{method} sip:{uri}{IP} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bK{name}{sent}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:{name}@{IP}>;tag=t{sent}\r\nTo: <sip:{to}@{IP}>\r\n\
             Call-ID: {name}-{sent}\r\nCSeq: {sent} {method}\r\nContact: <sip:{name}@{at}>\r\n\
             {more}{kind}Content-Length: {length}\r\n\r\n{body}",
            length = body.len()
        )
    }

    /// The next message of this start; all others are answered or let go.
    fn awaits(&self, time: Duration, start: &str) -> Option<String> {
        let mut buffer = [0; 8192];
        // The time of one silence: whatever comes meanwhile begins it anew.
        self.socket.set_read_timeout(Some(time)).expect("a timeout");
        loop {
            let (length, _) = self.socket.recv_from(&mut buffer).ok()?;
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if text.starts_with(start) {
                return Some(text);
            }
            if text.starts_with("BYE") || text.starts_with("CANCEL") {
                self.send(&answer(&text, "200 OK", ""));
            }
        }
    }

    #[track_caller]
    fn hears(&self, start: &str) -> String {
        let heard = self.awaits(PATIENCE, start);
        heard.unwrap_or_else(|| panic!("{} waits for {start} in vain", self.name))
    }

    /// Sends it until it is answered by a final response: a campon that starts hears it at last.
    fn asks(&self, request: &str) -> String {
        for _ in 0..150 {
            self.send(request);
            let id = value(request, "Call-ID");
            while let Some(text) = self.awaits(Duration::from_millis(200), "SIP/2.0 ") {
                if value(&text, "Call-ID") == id && !text.starts_with("SIP/2.0 1") {
                    return text;
                }
            }
        }
        panic!("{} is not answered:\n{request}", self.name)
    }

    fn registers(&mut self) {
        let register = self.request("REGISTER", "", "Expires: 3600\r\n", "");
        let done = self.asks(&register);
        assert!(done.starts_with("SIP/2.0 200"), "{done}");
    }

    /// An ACK or a BYE in the dialog of a request of its own that was answered by this.
    fn within(&mut self, method: &str, request: &str, answered: &str) -> String {
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
        let target = if target.is_empty() { HOME } else { target };
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
fn value<'t>(text: &'t str, name: &str) -> &'t str {
    let lines = text.split("\r\n");
    let mut found = lines.filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    found.next().unwrap_or_default()
}

fn answer(request: &str, status: &str, body: &str) -> String {
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

struct Scene {
    campon: Campon,
    config: PathBuf,
    alice: Phone,
    bob: Phone,
    carol: Phone,
}

impl Scene {
    fn new(folder: &Path) -> Self {
        let config = folder.join("campon.toml");
        let text = format!(
            "[store]\npath = \"{}\"\n[overload]\ndelay_target_ms = 60000\n\
             [completion]\nguard = \"100ms\"\nrest = \"1s\"\n\
             [completion.codes]\nrequest_last = \"*37#\"\ncancel_all = \"#37#\"\n",
            folder.join("store").display()
        );
        fs::write(&config, text).expect("a file in the test's folder");
        let mut scene = Self {
            campon: Campon::start(&config),
            config,
            alice: Phone::new("alice", "127.84.1.2:5060"),
            bob: Phone::new("bob", "127.84.1.3:5060"),
            carol: Phone::new("carol", "127.84.1.4:5060"),
        };
        scene.register();
        scene
    }

    fn register(&mut self) {
        for phone in [&mut self.alice, &mut self.bob, &mut self.carol] {
            phone.registers();
        }
    }

    fn restart(&mut self) {
        self.campon.kill();
        self.campon = Campon::start(&self.config);
        self.register();
    }

    /// Carol talks with Bob: what ends it.
    fn carol_talks(&mut self) -> String {
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

    fn carol_hangs_up(&self, bye: &str) {
        self.carol.asks(bye);
        // His line is his own again when his phone has said so.
        self.bob.send(&answer(&self.bob.hears("BYE"), "200 OK", ""));
    }

    fn alice_finds_busy(&mut self) {
        let invite = self.alice.request("INVITE", "bob", "", SDP);
        let busy = self.alice.asks(&invite);
        assert!(busy.starts_with("SIP/2.0 486"), "{busy}");
        let ack = self.alice.within("ACK", &invite, &busy);
        let branch = value(&invite, "Via").to_owned();
        let ack = ack.replacen(value(&ack, "Via"), &branch, 1);
        self.alice.send(&ack);
    }

    /// Dials a code and hears what came of it.
    fn dials(&mut self, code: &str) -> bool {
        let invite = self.alice.request("INVITE", code, "", SDP);
        let done = self.alice.asks(&invite);
        let ack = self.alice.within("ACK", &invite, &done);
        self.alice.send(&ack);
        done.starts_with("SIP/2.0 200")
    }

    /// Alice answers her recall and talks with Bob; the CC call's INVITE was heard already.
    fn connects(&self, cc_call: &str) {
        self.bob.send(&answer(cc_call, "200 OK", SDP));
        let offer = self.alice.hears("INVITE");
        self.alice.send(&answer(&offer, "200 OK", SDP));
        self.bob.hears("ACK");
    }

    /// Waits until no request is left: its end is kept.
    fn is_ended(&self) {
        let ask = || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_campon"));
            let api = format!("http://{IP}:5080");
            command.args(["status", "--json", "--api", &api]);
            let out = command.output().expect("the binary runs");
            let status: Value = serde_json::from_slice(&out.stdout).unwrap_or_default();
            status["tables"]["completions"]["entries"] == 0
        };
        let pause = Duration::from_millis(100);
        let mut looks = (0..300).map(|_| (ask(), self.carol.awaits(pause, "nothing")));
        assert!(looks.any(|(ended, _)| ended), "the request does not end");
    }

    /// Bob is seen on the phone, so that whoever waits for him is rung.
    fn bob_is_seen(&mut self) {
        let bye = self.carol_talks();
        self.carol_hangs_up(&bye);
    }
}

/// Whether she was told that her request was accepted, and whether it may ring, after a kill at this
/// moment: `None` where either is right, for nobody had heard what became of it.
fn until_kill(scene: &mut Scene, moment: usize, pause: Duration) -> Option<bool> {
    let bye = scene.carol_talks();
    scene.alice_finds_busy();
    let nap = |scene: &Scene| {
        if !pause.is_zero() {
            drop(scene.carol.awaits(pause, "nothing"));
        }
    };
    if moment == 0 {
        let code = scene.alice.request("INVITE", "*37%23", "", SDP);
        scene.alice.send(&code);
        nap(scene);
        scene.campon.kill();
        let told = scene
            .alice
            .awaits(Duration::from_millis(100), "SIP/2.0 200");
        return told.map(|_| true);
    }
    assert!(scene.dials("*37%23"), "the request is accepted");
    if moment == 4 {
        let code = scene.alice.request("INVITE", "%2337%23", "", SDP);
        scene.alice.send(&code);
        nap(scene);
        scene.campon.kill();
        let told = scene
            .alice
            .awaits(Duration::from_millis(100), "SIP/2.0 200");
        return told.map(|_| false);
    }
    scene.carol_hangs_up(&bye);
    if moment == 1 {
        // Around the end of the guard time, when he is selected.
        drop(scene.carol.awaits(Duration::from_millis(90), "nothing"));
        nap(scene);
        scene.campon.kill();
        return Some(true);
    }
    let recall = scene.alice.hears("INVITE");
    scene.alice.send(&answer(&recall, "180 Ringing", ""));
    if moment == 2 {
        nap(scene);
        scene.campon.kill();
        return Some(true);
    }
    scene.alice.send(&answer(&recall, "200 OK", SDP));
    let _cc_call = scene.bob.hears("INVITE");
    nap(scene);
    scene.campon.kill();
    Some(true)
}

/// After the kill: lost or rung for nothing is a fault.
fn after_kill(scene: &mut Scene, expected: Option<bool>) -> Option<&'static str> {
    for phone in [&scene.alice, &scene.bob, &scene.carol] {
        // What was under way when the power went.
        while phone.awaits(Duration::from_millis(20), "").is_some() {}
    }
    scene.restart();
    scene.bob_is_seen();
    let patience = if expected == Some(true) {
        PATIENCE
    } else {
        SILENCE
    };
    let recall = scene.alice.awaits(patience, "INVITE");
    match (expected, recall) {
        (Some(true), None) => return Some("lost"),
        (Some(false), Some(_)) => return Some("rung after its end"),
        (_, None) => return None,
        (_, Some(recall)) => {
            scene.alice.send(&answer(&recall, "200 OK", SDP));
            let cc_call = scene.bob.hears("INVITE");
            scene.connects(&cc_call);
        }
    }
    // It has ended now, once: whatever Bob does.
    scene.is_ended();
    scene.restart();
    scene.bob_is_seen();
    scene.alice.awaits(SILENCE, "INVITE").map(|_| "rung twice")
}

#[test]
fn accepted_requests_outlive_kills_and_ring_once() {
    let folder = std::env::temp_dir().join(format!("campon-crash-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let kills = super::asked("CAMPON_KILLS").unwrap_or(KILLS);
    let mut scene = Scene::new(&folder);
    let mut hits: BTreeMap<&str, u64> = BTreeMap::new();
    let mut faults = Vec::new();
    for seed in 0..kills {
        let mut rng = Rng::from_number(seed);
        let moment = usize::try_from(seed % 5).expect("below five");
        let hit = hits.get(MOMENTS[moment]).copied().unwrap_or_default();
        let longest = match moment {
            // At once until it was hit often enough: an answer takes longer than that.
            0 | 4 if hit < HITS_MIN => 0,
            0 | 4 => 3_000,
            _ => 12_000,
        };
        let pause = Duration::from_micros(rng.below(longest));
        let expected = until_kill(&mut scene, moment, pause);
        if expected.is_none() || (1..4).contains(&moment) {
            *hits.entry(MOMENTS[moment]).or_default() += 1;
        }
        if let Some(fault) = after_kill(&mut scene, expected) {
            faults.push(format!("kill {seed} at {}: {fault}", MOMENTS[moment]));
        }
    }
    println!("{kills} kills: {hits:?}; faults: {faults:?}");
    drop(scene);
    drop(fs::remove_dir_all(&folder));
    assert_eq!(faults, [""; 0]);
    let are_all_hit = MOMENTS
        .iter()
        .all(|moment| hits.get(moment).is_some_and(|hits| *hits >= HITS_MIN));
    assert!(kills < KILLS || are_all_hit, "{hits:?}");
}
