//! Calls between address families and transports: each side sees the listener that faces it.

use crate::campon::{Campon, folder};
use crate::line::Line;
use crate::phone::Phone;

/// Alice's phone speaks IPv6, Bob's IPv4.
fn families(name: &str, network: [u8; 3], ports: [u16; 2]) -> (Campon, Phone, Phone) {
    let [campon_v6, alice_v6] = ports;
    let config = format!(
        "domains = [\"campon.example\"]\n\
         [[listener]]\naddress = \"NET.1:5060\"\n\
         [[listener]]\naddress = \"[::1]:{campon_v6}\"\n"
    );
    let campon = Campon::start(&folder(name), network, &config);
    let v6 = |port| (std::net::Ipv6Addr::LOCALHOST, port).into();
    let line = Line::udp(v6(alice_v6), v6(campon_v6));
    let mut alice = Phone::new("alice", "campon.example", line);
    let line = Line::udp((campon.ip(2), 5060).into(), campon.at(5060));
    let mut bob = Phone::new("bob", "campon.example", line);
    alice.register();
    bob.register();
    (campon, alice, bob)
}

#[test]
fn a_call_crosses_from_ipv6_to_ipv4() {
    let (_campon, mut alice, mut bob) = families("crossing_to_v4", [127, 91, 1], [28_060, 28_062]);
    alice.send(&alice.invite("bob"));
    let invite = bob.hear();
    let via = invite.field("Via");
    assert!(via.starts_with("SIP/2.0/UDP 127.91.1.1:5060;"), "{via}");
    assert_eq!(invite.field("Contact"), "<sip:127.91.1.1:5060>");
    bob.answer(&invite, "200 OK");
    let answer = alice.hear();
    assert!(answer.is("200"), "{}", answer.0);
    assert_eq!(answer.field("Contact"), "<sip:[::1]:28060>");
}

#[test]
fn a_call_crosses_from_ipv4_to_ipv6() {
    let (_campon, mut alice, mut bob) = families("crossing_to_v6", [127, 91, 3], [28_070, 28_072]);
    bob.send(&bob.invite("alice"));
    let invite = alice.hear();
    let via = invite.field("Via");
    assert!(via.starts_with("SIP/2.0/UDP [::1]:28070;"), "{via}");
    assert_eq!(invite.field("Contact"), "<sip:[::1]:28070>");
    alice.answer(&invite, "200 OK");
    let answer = bob.hear();
    assert!(answer.is("200"), "{}", answer.0);
    assert_eq!(answer.field("Contact"), "<sip:127.91.3.1:5060>");
}

#[test]
fn a_call_crosses_from_udp_to_tcp() {
    let config = "domains = [\"campon.example\"]\n[[listener]]\naddress = \"NET.1:5060\"\n";
    let campon = Campon::start(&folder("crossing_transports"), [127, 91, 2], config);
    let line = Line::udp((campon.ip(2), 5060).into(), campon.at(5060));
    let mut alice = Phone::new("alice", "campon.example", line);
    let mut bob = Phone::new("bob", "campon.example", Line::tcp(campon.at(5060)));
    bob.register();
    alice.send(&alice.invite("bob"));
    let invite = bob.hear();
    assert!(
        invite
            .field("Via")
            .starts_with("SIP/2.0/TCP 127.91.2.1:5060;"),
        "{}",
        invite.0
    );
    assert_eq!(
        invite.field("Contact"),
        "<sip:127.91.2.1:5060;transport=tcp>"
    );
    bob.answer(&invite, "200 OK");
    let answer = alice.hear();
    assert!(answer.is("200"), "{}", answer.0);
    assert_eq!(answer.field("Contact"), "<sip:127.91.2.1:5060>");
}
