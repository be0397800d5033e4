//! Phones behind a NAT: it is kept open, and what they say of their addresses is corrected.
//!
//! Spec: RFC 4787 §4.3; RFC 8866 §5.7; RULES R14.

use std::time::Duration;

use super::super::kit::dialog::Dialog;
use super::super::kit::draft::{ANSWER, OFFER, reinvite, request, response};
use super::super::kit::message::Message;
use super::super::kit::party::Party;
use super::super::kit::scenes::hang_up;
use super::super::kit::subject::Setup;
use super::super::kit::world::World;
use super::{edge_with, granted, invite, register, registers};

/// A description of a phone that knows its own network only.
fn private(sdp: &str) -> String {
    sdp.replace("c=IN IP4 192.0.2.10", "c=IN IP4 192.168.1.10")
        .replace("c=IN IP4 192.0.2.20", "c=IN IP4 10.0.0.20")
}

/// Where a message says that media goes.
fn media_of(message: &Message) -> &str {
    let mut lines = message.sdp().lines();
    let line = lines.find_map(|line| line.strip_prefix("c=IN IP4 "));
    line.expect("a connection line")
}

/// A phone behind the NAT at 203.0.113.5, with the alias that it is known by.
#[track_caller]
fn behind_nat(world: &World, name: &str, port: u16, pbx: &Party) -> (Party, String) {
    let phone = world.party_at(name, &format!("203.0.113.5:{port}"));
    let alias = registers(&phone, name, pbx);
    (phone, alias)
}

#[test]
fn a_caller_behind_a_nat_sends_and_gets_media_where_his_requests_come_from() {
    let (world, pbx) = edge_with(Setup::EdgeNat);
    let (alice, _) = behind_nat(&world, "alice", 40001, &pbx);
    let sent = alice.sends(invite("alice", "bob").with_sdp(&private(OFFER)));
    let at_pbx = pbx.receives("INVITE");
    assert_eq!(media_of(&at_pbx), "203.0.113.5");
    // R14: the session and its ports are the phone's.
    assert!(
        at_pbx
            .sdp()
            .starts_with("v=0\r\no=alice 1 1 IN IP4 192.0.2.10\r\n")
    );
    assert!(at_pbx.sdp().contains("m=audio 40000 RTP/AVP 0 8\r\n"));
    pbx.sends(response(&at_pbx, 200).with_sdp(&private(ANSWER)));
    let answer = alice.receives("200");
    // What the PBX says is the PBX's to know.
    assert_eq!(media_of(&answer), "10.0.0.20");
    alice.acks(&sent, &answer);
    pbx.receives("ACK");
    let dialog = Dialog::of_caller(&sent, &answer);
    let again = alice.sends(reinvite(&dialog).with_sdp(&private(OFFER)));
    let at_pbx = pbx.receives("INVITE");
    assert_eq!(media_of(&at_pbx), "203.0.113.5");
    pbx.takes_call(&at_pbx, &alice, &again);
    hang_up(&alice, &dialog, &pbx);
}

#[test]
fn a_callee_behind_a_nat_answers_with_the_address_that_he_is_seen_at() {
    let (world, pbx) = edge_with(Setup::EdgeNat);
    let (bob, alias) = behind_nat(&world, "bob", 40002, &pbx);
    let sent = pbx.sends(request("INVITE", &alias).with_sdp(&private(OFFER)));
    let at_bob = bob.receives("INVITE");
    assert_eq!(media_of(&at_bob), "192.168.1.10");
    bob.sends(response(&at_bob, 183).with_sdp(&private(ANSWER)));
    let early = pbx.receives("183");
    assert_eq!(media_of(&early), "203.0.113.5");
    bob.sends(response(&at_bob, 200).with_sdp(&private(ANSWER)));
    let answer = pbx.receives("200");
    assert_eq!(media_of(&answer), "203.0.113.5");
    pbx.acks(&sent, &answer);
    bob.receives("ACK");
    hang_up(&pbx, &Dialog::of_caller(&sent, &answer), &bob);
}

/// A late offer is answered in the ACK.
#[test]
fn an_answer_in_an_ack_is_corrected_too() {
    let (world, pbx) = edge_with(Setup::EdgeNat);
    let (alice, _) = behind_nat(&world, "alice", 40001, &pbx);
    let sent = alice.sends(invite("alice", "bob"));
    let at_pbx = pbx.receives("INVITE");
    pbx.sends(response(&at_pbx, 200).with_sdp(ANSWER));
    let answer = alice.receives("200");
    alice.sends(super::super::kit::draft::ack(&sent, &answer).with_sdp(&private(OFFER)));
    let ack = pbx.receives("ACK");
    assert_eq!(media_of(&ack), "203.0.113.5");
    hang_up(&alice, &Dialog::of_caller(&sent, &answer), &pbx);
}

#[test]
fn a_nat_is_kept_open_for_as_long_as_its_phone_is_there() {
    let (world, pbx) = edge_with(Setup::EdgeNat);
    let (alice, _) = behind_nat(&world, "alice", 40001, &pbx);
    world.advance(Duration::from_secs(58));
    let pings = world.pings();
    assert!((2..=3).contains(&pings.len()), "{pings:?}");
    let address = alice.address();
    assert!(
        pings.iter().all(|it| it.to_string() == address),
        "{pings:?}"
    );
    // It was told 60 s, and has not come back.
    world.advance(Duration::from_secs(30));
    world.pings();
    world.advance(Duration::from_mins(5));
    assert_eq!(world.pings(), []);
}

/// A connection keeps itself, or says that it has ended.
#[test]
fn a_connection_gets_no_empty_lines() {
    let (world, pbx) = edge_with(Setup::EdgeNat);
    let alice = world.party_over_tcp("alice");
    registers(&alice, "alice", &pbx);
    world.advance(Duration::from_secs(55));
    assert_eq!(world.pings(), []);
}

#[test]
fn a_phone_that_stops_answering_is_not_called() {
    let (world, pbx) = edge_with(Setup::EdgeAsks);
    let alice = world.party("alice");
    alice.sends(register("alice"));
    let at_pbx = pbx.receives("REGISTER");
    pbx.sends(granted(&at_pbx, 600));
    alice.receives("200");
    let alias = at_pbx.contact();
    let asked = alice.receives_within(Duration::from_secs(31), "OPTIONS");
    assert_eq!(asked.uri(), alice.uri());
    // Whatever it says: it is there.
    alice.answers(&asked, 405);
    // Two are not answered, each for 32 s.
    world.advance(Duration::from_mins(3));
    alice.receives_copies("OPTIONS");
    pbx.sends(request("OPTIONS", alias));
    pbx.receives("480");
    let asked = alice.receives_within(Duration::from_secs(61), "OPTIONS");
    alice.answers(&asked, 200);
    pbx.sends(request("OPTIONS", alias));
    pbx.receives("200");
    alice.sends(register("alice").with_only("Expires", "0"));
    let at_pbx = pbx.receives("REGISTER");
    pbx.answers(&at_pbx, 200);
    alice.receives("200");
}

/// Some phones know no OPTIONS; that is no reason to leave them alone.
#[test]
fn a_phone_that_never_answers_is_called_all_the_same() {
    let (world, pbx) = edge_with(Setup::EdgeAsks);
    let alice = world.party("alice");
    alice.sends(register("alice"));
    let at_pbx = pbx.receives("REGISTER");
    pbx.sends(granted(&at_pbx, 300));
    alice.receives("200");
    world.advance(Duration::from_secs(250));
    alice.receives_copies("OPTIONS");
    pbx.sends(request("OPTIONS", at_pbx.contact()));
    pbx.receives("200");
    world.advance(Duration::from_secs(90));
    alice.receives_copies("OPTIONS");
}
