//! Peers: where they come from, what they may do, how much, and what they learn of who calls.

use std::net::TcpListener;

use crate::campon::{Campon, folder};
use crate::line::Line;
use crate::phone::{Heard, Phone};

const HEAD: &str = "domains = [\"campon.example\"]\n[[listener]]\naddress = \"NET.1:5060\"\n";
const ALICE: &str = "P-Asserted-Identity: <sip:+4930123@carrier.example>\r\n";

fn start(name: &str, network: [u8; 3], config: &str) -> Campon {
    Campon::start(&folder(name), network, &format!("{HEAD}{config}"))
}

fn party(campon: &Campon, user: &'static str, last: u8) -> Phone {
    let line = Line::udp((campon.ip(last), 5060).into(), campon.at(5060));
    Phone::new(user, "campon.example", line)
}

/// The party's n-th INVITE.
fn nth(phone: &Phone, callee: &str, n: u8) -> (String, String) {
    let id = format!("{}-{n}", phone.user);
    let invite = phone.invite(callee);
    let invite = invite.replace(&format!("{}-INVITE", phone.user), &id);
    (id, invite)
}

/// What the n-th INVITE is answered with; answers to others are not listened to.
fn answer(phone: &mut Phone, callee: &str, n: u8) -> Heard {
    let (id, invite) = nth(phone, callee, n);
    phone.send(&invite);
    loop {
        let heard = phone.hear();
        if heard.field("Call-ID") == id {
            return heard;
        }
    }
}

#[test]
fn a_peer_uses_the_methods_that_it_may() {
    let config =
        "[[peer]]\nname = \"trunk\"\naddress = \"NET.9\"\nmethods = [\"INVITE\", \"ACK\"]\n";
    let campon = start("trunk_methods", [127, 93, 1], config);
    let (mut trunk, mut stranger) = (party(&campon, "trunk", 9), party(&campon, "bob", 8));
    let options = |phone: &Phone| phone.request("OPTIONS", "sip:campon.example", "x", "");
    trunk.send(&options(&trunk));
    let refusal = trunk.hear();
    assert!(refusal.is("405"), "{}", refusal.0);
    assert_eq!(refusal.field("Allow"), "INVITE, ACK");
    assert!(answer(&mut trunk, "nobody", 1).is("404"));
    stranger.send(&options(&stranger));
    assert!(stranger.hear().is("200"));
}

#[test]
fn a_peer_has_as_many_calls_as_it_may() {
    let config = "[[peer]]\nname = \"trunk\"\naddress = \"NET.9\"\ncalls_max = 1\n\
                  [calls]\ncalls_max = 9\n";
    let campon = start("trunk_calls", [127, 93, 2], config);
    let (mut trunk, mut bob) = (party(&campon, "trunk", 9), party(&campon, "bob", 2));
    bob.register();
    let (_, first) = nth(&trunk, "bob", 1);
    trunk.send(&first);
    let invite = bob.hear();
    bob.answer(&invite, "180 Ringing");
    assert!(trunk.hear().is("180"));
    let refusal = answer(&mut trunk, "bob", 2);
    assert!(refusal.is("503"), "{}", refusal.0);
    // Another one's are not counted.
    let mut carol = party(&campon, "carol", 3);
    let (_, theirs) = nth(&carol, "bob", 1);
    carol.send(&theirs);
    let other = bob.hear();
    assert!(other.is("INVITE"), "{}", other.0);
    bob.answer(&invite, "486 Busy Here");
    assert!(trunk.hear().is("486"));
    let (_, third) = nth(&trunk, "bob", 3);
    trunk.send(&third);
    loop {
        let heard = bob.hear();
        if heard.is("INVITE") {
            break assert!(heard.field("From").contains("trunk"), "{}", heard.0);
        }
    }
}

#[test]
fn a_peer_begins_as_many_calls_a_second_as_it_may() {
    let config = "[[peer]]\nname = \"trunk\"\naddress = \"NET.9\"\nrate_max = 3\n";
    let campon = start("trunk_rate", [127, 93, 3], config);
    let mut trunk = party(&campon, "trunk", 9);
    for n in 0..12 {
        let (_, invite) = nth(&trunk, "nobody", n);
        trunk.send(&invite);
    }
    let answers: Vec<_> = (0..12).map(|_| trunk.hear()).collect();
    let count = |status| answers.iter().filter(|heard| heard.is(status)).count();
    assert_eq!(count("404") + count("503"), 12);
    // Three, and one for each third of a second that it took.
    assert!(count("404") >= 3 && count("503") >= 1, "{}", count("404"));
    let refused = campon.count("rejected_peer_too_fast");
    assert_eq!(refused, u64::try_from(count("503")).expect("few"));
}

#[test]
fn a_peer_is_known_in_all_its_networks() {
    let config = "[[peer]]\nname = \"trunk\"\naddress = \"192.0.2.9\"\nnetworks = [\"NET.16/28\"]\n\
                  [[user]]\nname = \"alice\"\npassword = \"wonderland\"\n";
    let campon = start("trunk_networks", [127, 93, 4], config);
    for (last, expected) in [(17, "404"), (31, "404"), (32, "407")] {
        let mut alice = party(&campon, "alice", last);
        let heard = answer(&mut alice, "nobody", last);
        assert!(heard.is(expected), "{last} {}", heard.0);
    }
}

/// What Bob's phone sees of an identity that this party asserts.
fn seen(campon: &Campon, bob: &mut Phone, last: u8, privacy: &str) -> Vec<String> {
    let mut caller = party(campon, "caller", last);
    let more = format!("{ALICE}{privacy}");
    let invite = caller.request("INVITE", "sip:bob@campon.example", "bob", &more);
    let id = format!("caller-{last}-{}", privacy.len());
    caller.send(&invite.replace("caller-INVITE", &id));
    let invite = bob.hear();
    assert!(invite.is("INVITE"), "{}", invite.0);
    bob.answer(&invite, "486 Busy Here");
    assert!(bob.hear().is("ACK"));
    assert!(caller.hear().is("486"));
    let seen = invite.fields("P-Asserted-Identity");
    seen.map(str::to_owned).collect()
}

#[test]
fn an_asserted_identity_crosses_from_those_who_are_trusted_unless_it_is_private() {
    let config = "[[peer]]\nname = \"kept\"\naddress = \"NET.9\"\n\
                  [[peer]]\nname = \"stripped\"\naddress = \"NET.10\"\ntrust = \"strip\"\n";
    let campon = start("trunk_identity", [127, 93, 5], config);
    let mut bob = party(&campon, "bob", 2);
    bob.register();
    let mut seen = |last, privacy| seen(&campon, &mut bob, last, privacy);
    let kept = "<sip:+4930123@carrier.example>";
    assert_eq!(seen(9, ""), [kept]);
    assert_eq!(seen(9, "Privacy: none\r\n"), [kept]);
    assert_eq!(seen(9, "Privacy: user;id\r\n"), [""; 0]);
    assert_eq!(seen(10, ""), [""; 0]);
    // A phone asserts nothing.
    assert_eq!(seen(11, ""), [""; 0]);
}

#[test]
fn what_goes_to_a_network_leaves_from_the_listener_that_serves_it() {
    let config = "[[listener]]\naddress = \"NET.5:5060\"\nserves = [\"NET.8/29\"]\n\
                  [upstream]\naddress = \"NET.9\"\n";
    let campon = start("trunk_serves", [127, 93, 6], config);
    let mut alice = party(&campon, "alice", 2);
    let line = Line::udp((campon.ip(9), 5060).into(), (campon.ip(5), 5060).into());
    let mut pbx = Phone::new("pbx", "campon.example", line);
    alice.send(&alice.invite("carol"));
    let invite = pbx.hear();
    let via = invite.field("Via");
    assert!(via.starts_with("SIP/2.0/UDP 127.93.6.5:5060;"), "{via}"); // R13
    assert_eq!(invite.field("Contact"), "<sip:127.93.6.5:5060>");
    pbx.answer(&invite, "404 Not Found");
    let answer = alice.hear();
    assert!(answer.is("404"), "{}", answer.0);
}

#[test]
fn what_is_too_long_for_a_datagram_goes_to_a_peer_by_tcp_if_it_takes_that() {
    for (number, tcp) in [(7, true), (8, false)] {
        let config = format!("[upstream]\naddress = \"NET.9\"\ntcp = {tcp}\n");
        let campon = start(&format!("trunk_tcp_{tcp}"), [127, 93, number], &config);
        let listener = TcpListener::bind((campon.ip(9), 5060)).expect("an address of ours");
        let mut datagrams = party(&campon, "pbx", 9);
        let mut alice = party(&campon, "alice", 2);
        let long = format!("Subject: {}\r\n", "long ".repeat(250));
        alice.send(&alice.request("INVITE", "sip:carol@campon.example", "carol", &long));
        if !tcp {
            let invite = datagrams.hear(); // R22
            assert!(invite.is("INVITE"), "{}", invite.0);
            continue;
        }
        let line = Line::accept(&listener, None).expect("TCP");
        let mut pbx = Phone::new("pbx", "campon.example", line);
        let invite = pbx.hear();
        let via = invite.field("Via");
        assert!(via.starts_with("SIP/2.0/TCP 127.93.7.1:5060;"), "{via}"); // S-24
        pbx.answer(&invite, "404 Not Found");
        assert!(alice.hear().is("404"));
        // What is short still goes as it always did.
        let (_, short) = nth(&alice, "carol", 2);
        alice.send(&short);
        assert!(datagrams.hear().is("INVITE"));
    }
}
