//! TLS: calls over it, whom campon believes, and whom it does not.

use std::fs;
use std::net::TcpListener;

use crate::authority::{Authority, Certified};
use crate::campon::{Campon, PATIENCE, folder, wait_for};
use crate::line::Line;
use crate::phone::{Heard, Phone};

/// A listener for UDP and TCP, and one for TLS.
const BOTH: &str = r#"
domains = ["campon.example"]
[[listener]]
address = "NET.1:5060"
[[listener]]
address = "NET.1"
tls = { certificate = "campon.pem", key = "campon.key.pem" }
"#;

struct Stage {
    campon: Campon,
    authority: Authority,
}

impl Stage {
    fn open(name: &str, network: [u8; 3], config: &str) -> Self {
        let folder = folder(name);
        let authority = Authority::new(&folder);
        authority.certify("campon", &["sip:campon.example", "campon.example"]);
        let campon = Campon::start(&folder, network, config);
        Self { campon, authority }
    }

    fn on_tls(&self, user: &'static str, shown: Option<&Certified>) -> std::io::Result<Phone> {
        let config = self.authority.client(shown);
        let line = Line::tls(self.campon.at(5061), "campon.example", config)?;
        Ok(Phone::new(user, "campon.example", line))
    }

    fn on_udp(&self, user: &'static str, last: u8) -> Phone {
        let local = (self.campon.ip(last), 5060).into();
        let line = Line::udp(local, self.campon.at(5060));
        Phone::new(user, "campon.example", line)
    }
}

#[test]
fn a_call_crosses_between_tls_and_udp_both_ways() {
    let stage = Stage::open("secure_call", [127, 90, 1], BOTH);
    let mut alice = stage.on_tls("alice", None).expect("TLS");
    let mut bob = stage.on_udp("bob", 2);
    alice.register();
    bob.register();

    alice.send(&alice.invite("bob"));
    let invite = bob.hear();
    // S-37: either side sees the listener that faces it.
    assert!(
        invite
            .field("Via")
            .starts_with("SIP/2.0/UDP 127.90.1.1:5060;")
    );
    assert_eq!(invite.field("Contact"), "<sip:127.90.1.1:5060>");
    bob.answer(&invite, "200 OK");
    let answer = alice.hear();
    assert!(answer.is("200"), "{}", answer.0);
    assert_eq!(
        answer.field("Contact"),
        "<sip:127.90.1.1:5061;transport=tls>"
    );

    // Bob's side ends it: over the very connection on which Alice called.
    let bye = within(&invite, &bob, "BYE");
    let ack = alice.request("ACK", "sip:127.90.1.1:5061;transport=tls", "bob", "");
    let ack = ack.replace("alice-ACK\r\n", "alice-INVITE\r\n");
    alice.send(&ack.replace(
        "To: <sip:bob@campon.example>",
        &format!("To: {}", answer.field("To")),
    ));
    assert!(bob.hear().is("ACK"));
    bob.send(&bye);
    let bye = alice.hear();
    assert!(bye.is("BYE"), "{}", bye.0);
    assert!(bye.field("Via").starts_with("SIP/2.0/TLS 127.90.1.1:5061;"));
    alice.answer(&bye, "200 OK");
    assert!(bob.hear().is("200"));
}

#[test]
fn a_phone_on_tls_is_called_over_the_connection_on_which_it_registered() {
    let stage = Stage::open("secure_callee", [127, 90, 2], BOTH);
    let mut alice = stage.on_udp("alice", 2);
    let mut bob = stage.on_tls("bob", None).expect("TLS");
    bob.register();
    alice.send(&alice.invite("bob"));
    let invite = bob.hear();
    assert!(invite.is("INVITE"), "{}", invite.0);
    assert!(
        invite.field("Via").starts_with(
            "SIP/2.0/TLS 127.90.1.1:5061;"
                .replace("90.1", "90.2")
                .as_str()
        )
    );
    bob.answer(&invite, "486 Busy Here");
    assert!(alice.hear().is("486"));
    // Its connection was the only way there.
    drop(bob);
    let mut calls = 0;
    wait_for("the end of the connection", || {
        calls += 1;
        let call_id = format!("alice-{calls}");
        alice.send(&alice.invite("bob").replace("alice-INVITE", &call_id));
        let mut answer = alice.hear();
        while answer.field("Call-ID") != call_id {
            answer = alice.hear();
        }
        answer.is("480").then_some(())
    });
}

#[test]
fn a_call_that_asks_for_tls_goes_by_tls_or_nowhere() {
    let stage = Stage::open("secure_sips", [127, 90, 7], BOTH);
    let mut alice = stage.on_udp("alice", 2);
    let mut bob = stage.on_udp("bob", 3);
    bob.register();
    let invite = alice.invite("bob").replace("INVITE sip:", "INVITE sips:");
    alice.send(&invite);
    let answer = alice.hear();
    assert!(answer.is("480"), "{}", answer.0); // S-30
    assert!(answer.field("Warning").starts_with("380 "));

    let mut carol = stage.on_tls("carol", None).expect("TLS");
    carol.register();
    alice.send(
        &invite
            .replace("bob", "carol")
            .replace("alice-INVITE", "alice-again"),
    );
    let invite = carol.hear();
    assert!(invite.is("INVITE"), "{}", invite.0);
    let via = invite.field("Via");
    assert!(via.starts_with("SIP/2.0/TLS "), "{via}"); // S-30
}

#[test]
fn certificates_are_renewed_at_sighup_unless_they_are_broken() {
    let stage = Stage::open("secure_renewal", [127, 90, 8], BOTH);
    let shown = || {
        let phone = stage.on_tls("alice", None).expect("TLS");
        let Line::ToServer(stream) = phone.line else {
            panic!("no TLS");
        };
        let chain = stream.conn.peer_certificates().expect("a certificate");
        chain[0].to_vec()
    };
    let first = shown();
    stage.authority.certify("campon", &["campon.example"]);
    assert_eq!(shown(), first);
    stage.campon.signal("HUP");
    let log = |line: &'static str| stage.campon.log().contains(line).then_some(());
    wait_for("renewal", || log("the certificates have been read anew"));
    let second = shown();
    assert_ne!(second, first);
    fs::write(stage.campon.folder.join("campon.pem"), "no certificate").expect("a file");
    stage.campon.signal("HUP");
    wait_for("the refusal", || log("the certificates stay as they were"));
    assert_eq!(shown(), second);
}

/// A PBX that is reached by TLS, and proves itself with these names.
fn upstream(name: &str, network: [u8; 3], names: &[&str]) -> (Stage, TcpListener, Certified) {
    let [a, b, c] = network;
    let config = format!(
        "{BOTH}\n[upstream]\naddress = \"{a}.{b}.{c}.9;transport=tls\"\n\
         tls_name = \"pbx.example\"\ntls_ca = \"authority.pem\"\n"
    );
    let stage = Stage::open(name, network, &config);
    let pbx = TcpListener::bind((stage.campon.ip(9), 5061)).expect("an address of ours");
    let certified = stage.authority.certify("pbx", names);
    (stage, pbx, certified)
}

#[test]
fn a_pbx_that_proves_its_name_is_called_by_tls() {
    let names = ["sip:PBX.example", "other.example"];
    let (stage, listener, certified) = upstream("secure_upstream", [127, 90, 3], &names);
    let mut alice = stage.on_udp("alice", 2);
    alice.send(&alice.invite("carol"));
    let line = Line::accept(&listener, Some(certified.server())).expect("TLS"); // S-192
    assert_eq!(server_name(&line), Some("pbx.example")); // S-194
    let mut pbx = Phone::new("carol", "pbx.example", line);
    let invite = pbx.hear();
    assert!(
        invite
            .field("Via")
            .starts_with("SIP/2.0/TLS 127.90.3.1:5061;")
    );
    assert_eq!(
        invite.field("Contact"),
        "<sip:127.90.3.1:5061;transport=tls>"
    );
    pbx.answer(&invite, "404 Not Found");
    assert!(alice.hear().is("404"));
    assert!(pbx.hear().is("ACK"));
    // The same connection serves the next call.
    alice.send(&alice.invite("dave").replace("alice-INVITE", "alice-again"));
    assert!(pbx.hear().is("INVITE"));
    assert_eq!(stage.campon.count("connections_opened"), 1);
}

/// What the PBX hears of a call, and what the caller does; the answer is that of a way that is
/// closed.
fn is_told(stage: &Stage, listener: &TcpListener, certified: &Certified) -> Option<Heard> {
    let mut alice = stage.on_udp("alice", 2);
    alice.send(&alice.invite("carol"));
    let met = Line::accept(listener, Some(certified.server()));
    let met = met
        .ok()
        .map(|line| Phone::new("carol", "pbx.example", line));
    let heard = met.and_then(|mut pbx| pbx.next());
    if heard.is_none() {
        let answer = alice.hear();
        assert!(answer.is("500"), "{}", answer.0);
    }
    heard
}

#[test]
fn a_pbx_that_proves_another_name_is_told_nothing() {
    for (index, names) in [
        &["sip:evil.example", "pbx.example"][..],
        &["*.example"],
        &["pbx.example\0.evil.example"],
        &["sip:carol@pbx.example"],
    ]
    .into_iter()
    .enumerate()
    {
        let last = 10 + u8::try_from(index).expect("few");
        let name = format!("secure_impostor_{index}");
        let (stage, listener, certified) = upstream(&name, [127, 90, last], names);
        let heard = is_told(&stage, &listener, &certified);
        assert!(heard.is_none(), "{names:?} {heard:?}"); // S-191, S-192
    }
}

#[test]
fn a_certificate_for_another_use_proves_nothing() {
    let names = ["sip:pbx.example"];
    let (stage, listener, _) = upstream("secure_usage", [127, 90, 9], &names);
    let certified = stage.authority.certify_client("client", &names);
    let heard = is_told(&stage, &listener, &certified);
    assert!(heard.is_none(), "{heard:?}"); // S-195
}

const TRUNK: &str = r#"
domains = ["campon.example"]
[[listener]]
address = "NET.1:5060"
[[listener]]
address = "NET.1"
[listener.tls]
certificate = "campon.pem"
key = "campon.key.pem"
client_auth = "required"
client_ca = "authority.pem"
[[peer]]
name = "trunk"
address = "NET.9;transport=tls"
tls_name = "trunk.example"
tls_ca = "authority.pem"
[[user]]
name = "alice"
password = "wonderland"
"#;

#[test]
fn a_peer_is_known_by_its_certificate_and_not_by_its_address() {
    let stage = Stage::open("secure_trunk", [127, 90, 4], TRUNK);
    let certify = |file: &str, name: &str| stage.authority.certify(file, &[name]);
    let ask = |shown: &Certified| {
        let mut phone = stage.on_tls("alice", Some(shown)).expect("TLS");
        phone.send(&phone.invite("nobody"));
        phone.hear()
    };
    // A peer passes on what its own users send: nobody asks for Alice's password.
    let trunk = ask(&certify("trunk", "sip:trunk.example"));
    assert!(trunk.is("404"), "{}", trunk.0);
    let other = ask(&certify("other", "sip:other.example"));
    assert!(other.is("407"), "{}", other.0); // S-193
}

#[test]
fn who_shows_no_certificate_where_one_is_demanded_is_hung_up_on() {
    let stage = Stage::open("secure_demanded", [127, 90, 5], TRUNK);
    // TLS 1.3 tells a client only after its own last word.
    let refused = stage.on_tls("alice", None).ok().is_none_or(|mut phone| {
        phone.line.write(phone.invite("nobody").as_bytes()).is_err() || phone.next().is_none()
    });
    assert!(refused); // S-193
    wait_for("the count", || {
        (stage.campon.count("connections_unsecured") == 1).then_some(())
    });
}

#[test]
fn a_key_that_is_not_the_certificates_is_named_at_the_start() {
    let folder = folder("secure_mismatch");
    let authority = Authority::new(&folder);
    let [one, other] = ["one", "other"].map(|name| authority.certify(name, &[name]));
    let text = format!(
        "[[listener]]\naddress = \"127.0.0.1\"\n[listener.tls]\ncertificate = {:?}\nkey = {:?}\n",
        one.certificate, other.key
    );
    let file = folder.join("campon.toml");
    fs::write(&file, &text).expect("a file");
    let arguments = campon::config::Arguments::default();
    let error = campon::config::Config::load(file.to_str(), &arguments).expect_err("no pair");
    let error = error.to_string();
    assert!(
        error.contains("campon.toml:5: listener.tls.key: "),
        "{error}"
    );
    assert!(error.contains("is not the key of"), "{error}");
}

/// A handshake that is never begun is ended by campon after 5 s.
#[test]
fn who_connects_for_tls_and_says_nothing_is_hung_up_on() {
    let stage = Stage::open("secure_silent", [127, 90, 6], BOTH);
    let started = std::time::Instant::now();
    let mut silent = Line::tcp(stage.campon.at(5061));
    assert_eq!(silent.read(&mut [0; 1]), 0);
    assert!(started.elapsed() < PATIENCE);
    wait_for("the count", || {
        (stage.campon.count("connections_unsecured") == 1).then_some(())
    });
}

fn server_name(line: &Line) -> Option<&str> {
    match line {
        Line::FromClient(stream) => stream.conn.server_name(),
        Line::Tcp(_) | Line::ToServer(_) | Line::Udp(..) => None,
    }
}

/// A request of the callee's within the call of this INVITE.
fn within(invite: &Heard, callee: &Phone, method: &str) -> String {
    let local = callee.line.local();
    let contact = invite.field("Contact").trim_matches(['<', '>']);
    format!(
        "{method} {contact} SIP/2.0\r\n\
         Via: SIP/2.0/{} {local};branch=z9hG4bK-within-{method};rport\r\n\
         Max-Forwards: 70\r\n\
         From: {};tag=answer\r\n\
         To: {}\r\n\
         Call-ID: {}\r\n\
         CSeq: 7 {method}\r\n\
         Content-Length: 0\r\n\r\n",
        callee.line.transport(),
        invite.field("To"),
        invite.field("From"),
        invite.field("Call-ID"),
    )
}
