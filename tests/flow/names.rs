//! An upstream with a name: DNS says where it is, and calls wait for that only at the start.
//!
//! Spec: RFC 3263 §4; RFC 2782; RFC 8767; RFC 3261 §21.5.5.

use std::net::IpAddr;
use std::time::Duration;

use campon::routing::names::{Answer, Failed, Kind, Question, Records, Srv};

use super::kit::draft::{OFFER, invite};
use super::kit::message::Message;
use super::kit::party::{Party, assert_came_at};
use super::kit::scenes::refused;
use super::kit::subject::{SECOND, Setup, UPSTREAM};
use super::kit::world::World;

/// What the zone of the upstream says.
const TTL: Duration = Duration::from_mins(10);

/// Two servers: the first for all calls, the second for when it fails.
fn zone(question: &Question) -> Records {
    let mut records = Records::default();
    match (question.kind, &*question.name) {
        (Kind::Srv, "_sip._udp.pbx.example.org") => {
            records.srv = vec![srv(20, "b.example.org"), srv(10, "a.example.org")];
        }
        (Kind::Address, "a.example.org") => records.addresses = vec![ip(UPSTREAM)],
        (Kind::Address, "b.example.org") => records.addresses = vec![ip(SECOND)],
        (Kind::Srv | Kind::Address | Kind::Naptr, _) => {}
    }
    records
}

fn srv(priority: u16, target: &str) -> Srv {
    Srv {
        priority,
        weight: 1,
        port: 5060,
        target: target.into(),
    }
}

fn ip(address: &str) -> IpAddr {
    let address: std::net::SocketAddr = address.parse().expect("an address");
    address.ip()
}

/// DNS answers all that campon asks, until it asks no more.
fn answers(world: &World, zone: impl Fn(&Question) -> Records) -> usize {
    let mut asked = 0;
    while let Some(question) = world.next_question() {
        let answer = Answer {
            records: zone(&question),
            ttl: TTL,
        };
        world.resolves(&question, Ok(&answer));
        asked += 1;
    }
    asked
}

/// DNS fails whatever campon asks.
fn fails(world: &World) -> usize {
    let mut asked = 0;
    while let Some(question) = world.next_question() {
        world.resolves(&question, Err(Failed));
        asked += 1;
    }
    asked
}

fn named() -> (World, Party, Party, Party) {
    let world = World::new(Setup::Named);
    // A world begins long after its campon: the first questions have been given up.
    while world.next_question().is_some() {}
    world.advance(Duration::from_secs(6));
    let (alice, first, second) = (world.phone("alice"), world.upstream(), world.second());
    (world, alice, first, second)
}

#[track_caller]
fn calls(alice: &Party) -> Message {
    alice.sends(invite("carol").with_sdp(OFFER))
}

/// The server has no Carol.
#[track_caller]
fn declines(alice: &Party, sent: &Message, server: &Party) -> Message {
    let invite = server.receives("INVITE");
    server.refuses(&invite, 404);
    refused(alice, sent, "404");
    invite
}

#[test]
fn a_call_before_the_first_answer_waits_for_it() {
    let (world, alice, first, _second) = named();
    let sent = calls(&alice);
    alice.receives("100");
    world.advance(Duration::from_secs(1));
    first.receives_nothing();
    // NAPTR, the SRV of UDP, and two hosts.
    assert_eq!(answers(&world, zone), 4);
    let invite = declines(&alice, &sent, &first);
    // The name is what the server knows itself by.
    assert_eq!(invite.uri(), "sip:carol@pbx.example.org");
}

#[test]
fn a_call_after_the_first_answer_asks_nobody() {
    let (world, alice, first, _second) = named();
    answers(&world, zone);
    for _ in 0..3 {
        let sent = calls(&alice);
        declines(&alice, &sent, &first);
    }
    assert_eq!(answers(&world, zone), 0);
}

#[test]
fn servers_of_a_name_are_tried_by_priority() {
    let (world, alice, first, second) = named();
    answers(&world, zone);
    let sent = calls(&alice);
    let at_first = first.receives("INVITE");
    first.refuses(&at_first, 503);
    // S-101
    let at_second = declines(&alice, &sent, &second);
    assert_eq!(at_second.uri(), at_first.uri());
    assert_ne!(at_second.branch(), at_first.branch());
}

#[test]
fn a_call_that_dns_keeps_waiting_too_long_is_told_so() {
    let (world, alice, first, _second) = named();
    let start = world.now();
    let sent = calls(&alice);
    alice.receives("100");
    let refusal = alice.receives_within(Duration::from_secs(30), "504");
    assert_came_at(std::slice::from_ref(&refusal), start, &[4000]);
    alice.acks(&sent, &refusal);
    answers(&world, zone);
    first.receives_nothing();
}

#[test]
fn nobody_waits_for_a_dns_that_fails() {
    let (world, alice, _first, _second) = named();
    let sent = calls(&alice);
    alice.receives("100");
    assert!(fails(&world) > 0);
    refused(&alice, &sent, "504");
    let sent = calls(&alice);
    refused(&alice, &sent, "504");
    // It is asked again by itself.
    world.advance(Duration::from_secs(6));
    assert!(answers(&world, zone) > 0);
}

#[test]
fn a_name_that_is_not_there_makes_the_service_unavailable() {
    let (world, alice, _first, _second) = named();
    let sent = calls(&alice);
    alice.receives("100");
    answers(&world, |_| Records::default());
    refused(&alice, &sent, "503");
}

#[test]
fn a_call_that_waits_can_be_taken_back() {
    let (world, alice, first, _second) = named();
    let sent = calls(&alice);
    alice.receives("100");
    alice.cancels(&sent);
    // S-09
    let [_, terminated] = alice.receives_each(["200", "487"]);
    alice.acks(&sent, &terminated);
    answers(&world, zone);
    first.receives_nothing();
}

#[test]
fn whoever_stops_lets_nobody_wait() {
    let (world, alice, _first, _second) = named();
    let sent = calls(&alice);
    alice.receives("100");
    world.hangs_up();
    refused(&alice, &sent, "503");
}

#[test]
fn an_invite_that_waits_and_comes_again_is_no_second_call() {
    let (world, alice, first, _second) = named();
    let sent = calls(&alice);
    alice.sends_again(&sent);
    answers(&world, zone);
    alice.sends_again(&sent);
    declines(&alice, &sent, &first);
    first.receives_nothing();
}

#[test]
fn calls_go_on_while_dns_fails() {
    let (world, alice, first, _second) = named();
    answers(&world, zone);
    for _ in 0..6 {
        world.advance(Duration::from_mins(9));
        alice.registers();
        fails(&world);
        let sent = calls(&alice);
        declines(&alice, &sent, &first);
    }
}

#[test]
fn calls_follow_the_name_when_it_moves() {
    let (world, alice, first, second) = named();
    answers(&world, zone);
    let sent = calls(&alice);
    declines(&alice, &sent, &first);
    world.advance(TTL);
    let moved = |question: &Question| {
        let mut records = zone(question);
        records.srv.retain(|srv| &*srv.target == "b.example.org");
        records
    };
    assert!(answers(&world, moved) > 0);
    let sent = calls(&alice);
    declines(&alice, &sent, &second);
}
