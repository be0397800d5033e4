//! Threats on the wire, scaled to seconds: what some do to campon is no loss to the others.

use std::time::{Duration, Instant};

use crate::authority::Authority;
use crate::campon::{Campon, folder, wait_for};
use crate::line::Line;
use crate::phone::Phone;

const SLOW: &str = r#"
domains = ["campon.example"]
[[listener]]
address = "NET.1:5060"
[[listener]]
address = "NET.1"
tls = { certificate = "campon.pem", key = "campon.key.pem" }
[limits]
connections = 600
connections_of_source = 300
"#;

/// After its first byte, a connection without a whole message lives 10 s.
const CLOSED_BY: Duration = Duration::from_secs(15);

fn stage(name: &str, network: [u8; 3], config: &str) -> (Campon, Authority) {
    let folder = folder(name);
    let authority = Authority::new(&folder);
    authority.certify("campon", &["campon.example"]);
    (Campon::start(&folder, network, config), authority)
}

/// A phone that calls nobody: what counts is that it is answered.
fn is_answered(line: Line, user: &'static str) {
    let mut phone = Phone::new(user, "campon.example", line);
    phone.send(&phone.invite("nobody"));
    let answer = phone.hear();
    assert!(answer.is("404"), "{}", answer.0);
}

/// T18, T19: half-sent messages and half-made agreements, and who calls meanwhile.
#[test]
fn slow_tcp_closed() {
    let (campon, authority) = stage("manners_slow", [127, 92, 1], SLOW);
    let begun = Instant::now();
    let mut slow: Vec<_> = (0..150).map(|_| Line::tcp(campon.at(5060))).collect();
    slow.extend((0..100).map(|_| Line::tcp(campon.at(5061))));
    for line in &mut slow[..150] {
        line.write(b"OPTIONS sip:campon.example SIP/2.0\r\nVia: S")
            .expect("open");
    }
    for _ in 0..20 {
        is_answered(Line::tcp(campon.at(5060)), "alice");
        let config = authority.client(None);
        let line = Line::tls(campon.at(5061), "campon.example", config);
        is_answered(line.expect("TLS"), "bob");
    }
    for line in &mut slow {
        assert_eq!(line.read(&mut [0; 16]), 0);
    }
    assert!(begun.elapsed() < CLOSED_BY, "{:?}", begun.elapsed());
    assert_eq!(campon.count("connections_spoiled"), 150);
    assert_eq!(campon.count("connections_unsecured"), 100);
}

/// T18: a source with as many connections as it may have loses its oldest silent one.
#[test]
fn more_connections_of_a_source_cost_it_its_own() {
    let config = SLOW.replace("connections_of_source = 300", "connections_of_source = 5");
    let (campon, _) = stage("manners_many", [127, 92, 2], &config);
    let mut silent: Vec<_> = (0..5).map(|_| Line::tcp(campon.at(5060))).collect();
    is_answered(Line::tcp(campon.at(5060)), "alice");
    assert_eq!(silent[0].read(&mut [0; 1]), 0);
    assert_eq!(campon.count("connections_evicted"), 1);
}

/// T16: on TLS as on TCP, bytes after a message that cannot be framed are no message.
#[test]
fn what_is_smuggled_behind_a_broken_length_is_never_answered() {
    let (campon, authority) = stage("manners_smuggled", [127, 92, 3], SLOW);
    let config = authority.client(None);
    let secure = Line::tls(campon.at(5061), "campon.example", config).expect("TLS");
    for line in [Line::tcp(campon.at(5060)), secure] {
        let mut phone = Phone::new("alice", "campon.example", line);
        let smuggled = phone.request("OPTIONS", "sip:campon.example", "alice", "");
        let broken = phone
            .invite("nobody")
            .replace("Content-Length: 0", "Content-Length: 0\r\nl: 7");
        phone.send(&(broken + &smuggled));
        let answer = phone.hear();
        assert!(
            answer.is("400") && answer.field("CSeq").contains("INVITE"),
            "{}",
            answer.0
        );
        assert!(phone.next().is_none());
    }
}

/// T06: a flood with ever new Call-IDs leaves a peer's calls alone, and nothing behind.
#[test]
fn a_flood_of_strangers_is_no_loss_to_a_peer() {
    let config = "domains = [\"campon.example\"]\n\
                  [[listener]]\naddress = \"NET.1:5060\"\n\
                  [[peer]]\nname = \"trunk\"\naddress = \"NET.9\"\n\
                  [strangers]\nrate_max = 10\n";
    let (campon, _) = stage("manners_flood", [127, 92, 4], config);
    let line = |last: u8| Line::udp((campon.ip(last), 5060).into(), campon.at(5060));
    let mut trunk = Phone::new("trunk", "campon.example", line(9));
    let mut flood = Phone::new("mallory", "campon.example", line(66));
    let mut answered = 0;
    for round in 0..20 {
        for number in 0..100 {
            let id = format!("flood-{round}-{number}");
            flood.send(&flood.invite("nobody").replace("mallory-INVITE", &id));
        }
        let id = format!("trunk-{round}");
        trunk.send(&trunk.invite("nobody").replace("trunk-INVITE", &id));
        let answer = trunk.hear();
        assert!(
            answer.is("404") && answer.field("Call-ID") == id,
            "{}",
            answer.0
        );
        answered += 1;
    }
    assert_eq!(answered, 20);
    // A burst of 20, and 10 a second since.
    wait_for("the count", || {
        (campon.count("requests_throttled") > 1000).then_some(())
    });
    assert_eq!(campon.log().matches("too many requests").count(), 1);
    assert_eq!(campon.table("server_transactions"), 0);
}
