//! Two Kamailios behind the SRV records of a local DNS, the first of them killed under calls.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::pbx::Phone;
use crate::pbx::dialog::Dialog;
use crate::pbx::digest::authorize;
use crate::pbx::endpoint::{Endpoint, Event, tagged};
use crate::pbx::journal::Journal;
use crate::pbx::sip::Sip;
use crate::real::children::Running;
use crate::real::kamailio::Kamailio;
use crate::real::served::Served;
use crate::real::stage::{Stage, UNHURRIED};

/// 20 calls a second.
const EVERY: Duration = Duration::from_millis(50);

/// Calls before the first server is killed, and in all.
const BEFORE: usize = 40;
const CALLS: usize = 160;

/// The pings of the configuration: two missed ones in a row put a server down.
const PING_MS: u64 = 300;

/// How long the last calls may take.
const REST_MAX: Duration = Duration::from_secs(30);

#[test]
fn calls_go_on_when_the_first_of_two_pbxs_is_killed() {
    let stage = Stage::open("failover", 19);
    let [first, second, dns, caller, callee, desk] = [2, 3, 53, 11, 12, 13].map(|place| {
        let [a, b, c, _] = stage.network().octets();
        Ipv4Addr::new(a, b, c, place)
    });
    let mut kamailios = [first, second].map(|ip| Kamailio::start(stage.folder(), ip.into(), None));
    let _dnsmasq = dnsmasq(&stage, dns, [first, second]);
    let us = stage.campon_ip();
    let config = format!(
        "upstream = {{ address = \"sip:pbx.test\", ping = \"{PING_MS}ms\", ping_max = \"{PING_MS}ms\" }}\n\
         [[listener]]\naddress = \"{us}:5060\"\n[resolver]\nservers = [\"{dns}:5353\"]\n{UNHURRIED}"
    );
    let campon = Served::start(stage.folder(), None, &config);
    // Bob is known at both, by one address.
    let bob = SocketAddr::from((callee, 5060));
    for ip in [first, second] {
        let mut phone = Phone::open("bob", (desk, 5060).into(), (ip, 5060).into());
        phone.speak_directly();
        let answer = phone.try_register(&format!("<sip:bob@{bob}>"), 600);
        assert_eq!(answer.status(), Some(200), "{answer}");
    }
    let over = Arc::new(AtomicBool::new(false));
    let answering = {
        let over = Arc::clone(&over);
        thread::spawn(move || answer_all(bob, &over))
    };
    let mut load = Load::new((caller, 5060).into(), (us, 5060).into());
    load.run_until(BEFORE);
    let before_the_kill = Instant::now();
    kamailios[0].kill();
    let killed = Instant::now();
    load.run_until(CALLS);
    load.finish();
    over.store(true, Ordering::Relaxed);
    answering.join().expect("the callee answers");
    let known_down = killed + Duration::from_millis(4 * PING_MS);
    for call in load.calls.values() {
        // One that the first server had begun to place is its own to lose.
        let is_torn = call.began + EVERY > before_the_kill && call.began < killed;
        let why = format!(
            "{:?}, begun {:?} after the kill",
            call.outcome,
            call.began.saturating_duration_since(killed)
        );
        assert!(
            call.outcome == Some(200) || is_torn,
            "{why}: {}",
            campon.log()
        );
    }
    let late = load.calls.values().filter(|call| call.began > known_down);
    assert!(late.count() > 20, "too few calls after the second ping");
    assert!(campon.log().contains("server is down"), "{}", campon.log());
    // What was said goodbye to the dead server is waited for as long as a transaction lasts, so no
    // clean end is asked for here.
    drop(campon);
}

/// A name server that knows the two PBXs by SRV, the first before the second.
fn dnsmasq(stage: &Stage, dns: Ipv4Addr, [first, second]: [Ipv4Addr; 2]) -> Running {
    let config = stage.folder().join("dnsmasq.conf");
    let text = format!(
        "port=5353\nlisten-address={dns}\nbind-interfaces\nno-resolv\nno-hosts\nno-poll\n\
         local-ttl=5\nlocal=/test/\naddress=/pbx-a.test/{first}\naddress=/pbx-b.test/{second}\n\
         srv-host=_sip._udp.pbx.test,pbx-a.test,5060,10,100\n\
         srv-host=_sip._udp.pbx.test,pbx-b.test,5060,20,100\n\
         naptr-record=pbx.test,20,50,S,SIP+D2U,,_sip._udp.pbx.test\n"
    );
    fs::write(&config, text).expect("a file in the target folder");
    let mut command = Command::new("dnsmasq");
    command
        .args(["-k", "--user=root", "--log-facility=-", "-C"])
        .arg(config);
    let pid = stage.folder().join("dnsmasq.pid");
    command.arg(format!("--pid-file={}", pid.display()));
    Running::start(command, "dnsmasq-base", &stage.folder().join("dnsmasq.log"))
}

/// A phone that answers every call at once.
fn answer_all(local: SocketAddr, over: &AtomicBool) {
    let mut endpoint = Endpoint::open(local, Journal::open("bob"));
    while !over.load(Ordering::Relaxed) {
        let Some(Event::Request(request)) = endpoint.poll(Duration::from_millis(20)) else {
            continue;
        };
        if request.method() == "ACK" {
            continue;
        }
        let mut answer = Sip::response(&request, 200, "OK");
        if request.method() == "INVITE" {
            answer.push("Contact", &format!("<sip:bob@{local}>"));
            answer = answer.carrying("application/sdp", &request.body);
        }
        let tag = endpoint.unique("t");
        endpoint.answer(&request, &tagged(answer, &tag));
    }
}

/// One call of many.
struct Call {
    began: Instant,
    invite: Sip,
    /// The last final response to its INVITE; none before there is one.
    outcome: Option<u16>,
}

/// Calls of Alice's, one after the other at their pace.
struct Load {
    endpoint: Endpoint,
    campon: SocketAddr,
    /// By Call-ID.
    calls: BTreeMap<String, Call>,
    next: Instant,
}

impl Load {
    fn new(local: SocketAddr, campon: SocketAddr) -> Self {
        Self {
            endpoint: Endpoint::open(local, Journal::open("alice")),
            campon,
            calls: BTreeMap::new(),
            next: Instant::now(),
        }
    }

    /// Goes on until so many calls have begun.
    fn run_until(&mut self, calls: usize) {
        while self.calls.len() < calls {
            if self.next <= Instant::now() {
                self.next += EVERY;
                self.begin();
            }
            self.step();
        }
    }

    /// Waits until every call has its outcome.
    fn finish(&mut self) {
        let until = Instant::now() + REST_MAX;
        while Instant::now() < until && self.calls.values().any(|call| call.outcome.is_none()) {
            self.step();
        }
    }

    fn begin(&mut self) {
        let (tag, call_id) = (self.endpoint.unique("t"), self.endpoint.unique("call"));
        let local = self.endpoint.local();
        let sdp = format!(
            "v=0\r\no=- 1 1 IN IP4 {0}\r\ns=-\r\nc=IN IP4 {0}\r\nt=0 0\r\nm=audio 20000 RTP/AVP 8\r\n",
            local.ip()
        );
        let invite = Sip::request("INVITE", "sip:bob@pbx.test")
            .with("From", &format!("<sip:alice@pbx.test>;tag={tag}"))
            .with("To", "<sip:bob@pbx.test>")
            .with("Call-ID", &call_id)
            .with("CSeq", "1 INVITE")
            .with("Contact", &format!("<sip:alice@{local}>"))
            .carrying("application/sdp", sdp.as_bytes());
        self.endpoint.ask(invite.clone(), self.campon);
        let call = Call {
            began: Instant::now(),
            invite,
            outcome: None,
        };
        self.calls.insert(call_id, call);
    }

    fn step(&mut self) {
        let Some(Event::Response(response)) = self.endpoint.poll(Duration::from_millis(5)) else {
            return;
        };
        let status = response.status().unwrap_or_default();
        let Some(call) = self.calls.get_mut(response.call_id()) else {
            return;
        };
        if response.method() != "INVITE" || status < 200 {
            return;
        }
        let number = call.invite.cseq().0;
        // The second server does not know what the first has asked for.
        if let (407, 1..=2, Some(challenge)) =
            (status, number, response.first("Proxy-Authenticate"))
        {
            let mut again = call.invite.clone();
            again.remove("Proxy-Authorization");
            again.set("CSeq", &format!("{} INVITE", number + 1));
            let (name, value) = authorize(&again, challenge, "alice", "alicepw");
            again.push(&name, &value);
            call.invite = again.clone();
            self.endpoint.ask(again, self.campon);
            return;
        }
        call.outcome = Some(status);
        if status == 200 {
            let mut dialog = Dialog::of_client(&call.invite);
            dialog.learn(&response);
            let hop = dialog.hop().expect("campon's Contact names an address");
            self.endpoint
                .acknowledge(dialog.numbered("ACK", number), hop);
            self.endpoint.ask(dialog.request("BYE"), hop);
        }
    }
}
