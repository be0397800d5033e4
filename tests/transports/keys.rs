//! Keys of the configuration by what they do on the wire.
//!
//! Spec: RFC 3261 §18.1.1, §20.35; RFC 5626 §4.4; RULES R22.

use std::net::{SocketAddr, TcpListener};

use crate::campon::{Campon, folder, wait_for};
use crate::line::Line;
use crate::phone::{Heard, Phone};

const HEAD: &str = "domains = [\"campon.example\"]\n";
const LISTENER: &str = "[[listener]]\naddress = \"NET.1:5060\"\n";

/// Starts campon with keys that stand before all tables, and with tables.
fn start(name: &str, number: u8, keys: &str, tables: &str) -> Campon {
    let config = format!("{HEAD}timing.t1_ms = 4000\n{keys}{LISTENER}{tables}");
    Campon::start(&folder(name), [127, 93, number], &config)
}

fn party(campon: &Campon, user: &'static str, last: u8) -> Phone {
    let line = Line::udp((campon.ip(last), 5060).into(), campon.at(5060));
    Phone::new(user, "campon.example", line)
}

/// The party's n-th call.
fn invites(phone: &mut Phone, callee: &str, n: u8, more: &str) {
    let uri = format!("sip:{callee}@campon.example");
    let invite = phone.request("INVITE", &uri, callee, more);
    let id = format!("{}-{n}", phone.user);
    phone.send(&invite.replace(&format!("{}-INVITE", phone.user), &id));
}

/// The upstream gets a call that is too long for a datagram.
fn long_call(alice: &mut Phone) {
    invites(
        alice,
        "carol",
        1,
        &format!("Subject: {}\r\n", "long ".repeat(250)),
    );
}

fn pbx_at(number: u8) -> SocketAddr {
    SocketAddr::from(([127, 93, number, 9], 5060))
}

const ASKED: &str = "[upstream]\naddress = \"NET.9\"\ntcp = \"ask\"\n";

/// ```text
///   alice            campon                     pbx
///                      │ OPTIONS (TCP) ──────────►│
///                      │◄──────────────── 200 OK │
///     │ INVITE (long) ►│ INVITE (TCP) ───────────►│
///     │◄────────── 404 │◄──────────────────── 404 │
/// ```
#[test]
fn what_is_too_long_goes_by_tcp_where_options_by_tcp_were_answered() {
    let listener = TcpListener::bind(pbx_at(51)).expect("an address of ours");
    let campon = start("keys_tcp_asked", 51, "", ASKED);
    let mut datagrams = party(&campon, "pbx", 9);
    let line = Line::accept(&listener, None).expect("TCP");
    let mut pbx = Phone::new("pbx", "campon.example", line);
    let asked = pbx.hears("OPTIONS");
    pbx.answer(&asked, "200 OK");
    wait_for("the answer", || {
        campon.log().contains("takes TCP").then_some(())
    });
    let mut alice = party(&campon, "alice", 2);
    long_call(&mut alice);
    let invite = pbx.hears("INVITE"); // S-24
    pbx.answer(&invite, "404 Not Found");
    alice.hears("404");
    // What is short goes as it always did.
    invites(&mut alice, "carol", 2, "");
    datagrams.hears("INVITE");
}

#[test]
fn what_is_too_long_stays_a_datagram_where_nobody_answers_by_tcp() {
    let campon = start("keys_tcp_refused", 52, "", ASKED);
    let mut pbx = party(&campon, "pbx", 9);
    let mut alice = party(&campon, "alice", 2);
    long_call(&mut alice);
    let invite = pbx.hears("INVITE"); // R22
    pbx.answer(&invite, "404 Not Found");
    alice.hears("404");
}

/// S-24: the operator was wrong, or the PBX no longer takes it.
#[test]
fn what_is_too_long_goes_by_udp_nevertheless_where_tcp_is_refused() {
    let campon = start("keys_tcp_gone", 59, "", &ASKED.replace("\"ask\"", "true"));
    let mut pbx = party(&campon, "pbx", 9);
    let mut alice = party(&campon, "alice", 2);
    long_call(&mut alice);
    let invite = pbx.hears("INVITE");
    let [via, contact] = ["Via", "Contact"].map(|name| invite.field(name));
    assert!(via.starts_with("SIP/2.0/UDP 127.93.59.1:5060;"), "{via}");
    assert!(!contact.contains("transport=tcp"), "{contact}");
    pbx.answer(&invite, "404 Not Found");
    alice.hears("404");
}

/// A registration that asks for `outbound`, or does not; the answer.
fn registers(phone: &mut Phone, more: &str) -> Heard {
    let register = phone.request("REGISTER", "sip:campon.example", phone.user, "");
    let contact = register.lines().find(|line| line.starts_with("Contact: "));
    let contact = contact.expect("a Contact").to_owned();
    let id = format!("{}-{}", phone.user, more.len());
    let register = register.replace(&format!("{}-REGISTER", phone.user), &id);
    phone.send(&register.replace(&contact, &format!("{contact}{more}")));
    phone.hears("200")
}

#[test]
fn a_phone_that_asks_for_it_is_told_how_long_its_flow_may_be_silent() {
    let tables = "[registrar]\nflow_timer_s = 40\n";
    let campon = start("keys_flow_timer", 53, "", tables);
    let mut alice = party(&campon, "alice", 2);
    let asks = ";reg-id=1;+sip.instance=\"<urn:uuid:1>\"\r\nSupported: path, outbound";
    assert_eq!(registers(&mut alice, asks).field("Flow-Timer"), "40"); // S-85
    let mut bob = party(&campon, "bob", 3);
    for silent in ["\r\nSupported: path, outbound", ";reg-id=1", ""] {
        let answer = registers(&mut bob, silent);
        assert_eq!(answer.fields("Flow-Timer").next(), None, "{}", answer.0);
    }
}

#[test]
fn a_user_begins_as_many_calls_as_he_may() {
    let tables = "[calls]\ncalls_max = 9\noutgoing_max = 1\nemergency = [\"112\"]\n";
    let campon = start("keys_outgoing", 54, "", tables);
    let [mut alice, mut bob] = [("alice", 2), ("bob", 3)].map(|(user, last)| {
        let mut phone = party(&campon, user, last);
        phone.register();
        phone
    });
    invites(&mut alice, "bob", 1, "");
    let first = bob.hears("INVITE");
    bob.answer(&first, "180 Ringing");
    alice.hears("180");
    invites(&mut alice, "bob", 2, "");
    alice.hears("403");
    assert_eq!(campon.count("rejected_too_many_calls"), 1);
    // A call for help is let in, and what comes to him counts for others.
    invites(&mut alice, "112", 3, "");
    alice.hears("404");
    invites(&mut bob, "alice", 1, "");
    let second = alice.hears("INVITE");
    alice.answer(&second, "486 Busy Here");
    bob.hears("486");
    alice.hears("ACK");
    // His first call over, he may begin another one.
    bob.answer(&first, "486 Busy Here");
    alice.hears("486");
    bob.hears("ACK");
    invites(&mut alice, "bob", 4, "");
    bob.hears("INVITE");
}

#[test]
fn campon_names_itself_in_answers_if_it_is_told_to() {
    let options = |phone: &mut Phone| {
        phone.send(&phone.request("OPTIONS", "sip:campon.example", "x", ""));
        phone.hear()
    };
    let campon = start("keys_unnamed", 55, "", "");
    let answer = options(&mut party(&campon, "alice", 2));
    assert_eq!(answer.fields("Server").next(), None, "{}", answer.0);
    let campon = start(
        "keys_named",
        56,
        "server_header = \"Switch/7 (north)\"\n",
        "",
    );
    let mut alice = party(&campon, "alice", 2);
    assert_eq!(options(&mut alice).field("Server"), "Switch/7 (north)");
    alice.register();
    let mut bob = party(&campon, "bob", 3);
    bob.register();
    invites(&mut alice, "nobody", 1, "");
    let refusal = alice.hears("404");
    assert_eq!(refusal.field("Server"), "Switch/7 (north)");
    // Who answers a call for himself has the word.
    invites(&mut alice, "bob", 2, "");
    let invite = bob.hears("INVITE");
    bob.answer(&invite, "486 Busy Here\r\nServer: Phone/1");
    let refusal = alice.hears("486");
    let named: Vec<_> = refusal.fields("Server").collect();
    assert_eq!(named, ["Phone/1"]);
}
