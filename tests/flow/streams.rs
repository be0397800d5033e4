//! Calls over TCP and over IPv6.
//!
//! Spec: RFC 3261 §17.1.1.2, §17.2.1, §18; RFC 5118 §4.

use std::time::Duration;

use super::kit::draft::{ANSWER, OFFER, invite, options, register, response};
use super::kit::party::Party;
use super::kit::scenes::{call, hang_up, offered, refused};
use super::kit::subject::{DOMAIN_V6, Setup};
use super::kit::world::World;

fn alice_and_bob_over_tcp() -> (World, Party, Party) {
    let world = World::new(Setup::Standalone);
    let (alice, bob) = (world.phone("alice"), world.party_over_tcp("bob"));
    bob.registers();
    (world, alice, bob)
}

#[test]
fn a_phone_on_tcp_is_called_over_its_connection() {
    let (_world, alice, bob) = alice_and_bob_over_tcp();
    let call = call(&alice, &bob);
    let via = call.invite.header("Via");
    // S-25
    assert!(via.starts_with("SIP/2.0/TCP "), "{via}");
    assert!(call.invite.contact().contains("transport=tcp"));
    assert!(!call.answer.contact().contains("transport=tcp"));
    hang_up(&alice, &call.caller, &bob);
}

#[test]
fn a_caller_on_tcp_is_answered_over_his_connection() {
    let world = World::new(Setup::Standalone);
    let (carol, bob) = (world.party_over_tcp("carol"), world.phone("bob"));
    let call = call(&carol, &bob);
    // S-25
    assert!(call.answer.contact().contains("transport=tcp"));
    assert!(call.invite.header("Via").starts_with("SIP/2.0/UDP "));
    hang_up(&bob, &call.callee, &carol);
}

#[test]
fn an_invite_on_a_stream_is_not_repeated() {
    let (world, alice, bob) = alice_and_bob_over_tcp();
    let (sent, _invite) = offered(&alice, &bob);
    world.advance(Duration::from_millis(31_900));
    // S-02
    bob.receives_nothing();
    world.advance(Duration::from_millis(300));
    refused(&alice, &sent, "408");
}

#[test]
fn a_refusal_on_a_stream_is_not_repeated() {
    let (world, alice, bob) = alice_and_bob_over_tcp();
    let sent = bob.sends(invite("alice"));
    let invite = alice.receives("INVITE");
    alice.refuses(&invite, 486);
    let busy = bob.receives("486");
    world.advance(Duration::from_secs(20));
    // S-03
    bob.receives_nothing();
    bob.acks(&sent, &busy);
}

#[test]
fn an_answer_on_a_stream_is_repeated_until_acknowledged() {
    let (world, alice, bob) = alice_and_bob_over_tcp();
    let sent = bob.sends(invite("alice").with_sdp(OFFER));
    let invite = alice.receives("INVITE");
    alice.sends(response(&invite, 200).with_sdp(ANSWER));
    let answer = bob.receives("200");
    world.advance(Duration::from_millis(1600));
    // S-05, S-41
    assert_eq!(bob.receives_copies("200").len(), 2);
    bob.acks(&sent, &answer);
    alice.receives("ACK");
    let dialog = super::kit::dialog::Dialog::of_caller(&sent, &answer);
    hang_up(&bob, &dialog, &alice);
}

#[test]
fn a_bye_on_a_stream_is_not_repeated() {
    let (world, alice, bob) = alice_and_bob_over_tcp();
    let call = call(&alice, &bob);
    alice.hangs_up(&call.caller);
    let bye = bob.receives("BYE");
    world.advance(Duration::from_secs(3));
    bob.receives_nothing();
    bob.answers(&bye, 200);
    alice.receives("200");
}

#[test]
fn a_phone_whose_connection_has_ended_is_called_at_its_contact() {
    let (world, alice, bob) = alice_and_bob_over_tcp();
    bob.disconnects();
    world.quiet();
    let (sent, invite) = offered(&alice, &bob);
    assert_eq!(invite.connection(), None);
    world.could_not_send(&invite);
    // S-27
    refused(&alice, &sent, "500");
    bob.receives_nothing();
}

#[test]
fn a_request_to_a_phone_on_udp_stays_on_udp_however_long_it_is() {
    let world = World::new(Setup::Standalone);
    let (alice, bob) = (world.phone("alice"), world.phone("bob"));
    let long = OFFER.to_owned() + &"a=candidate:1 1 UDP 2130706431 192.0.2.10\r\n".repeat(60);
    let sent = alice.sends(invite("bob").with_sdp(&long));
    // R22
    let invite = bob.receives("INVITE");
    assert_eq!(invite.sdp(), long);
    bob.refuses(&invite, 486);
    refused(&alice, &sent, "486");
}

#[test]
fn phones_on_ipv6_call_each_other() {
    let world = World::new(Setup::Standalone);
    let alice = world.party_at("alice", "[2001:db8::10]:5060");
    let bob = world.party_at("bob", "[2001:db8::11]:5060");
    for party in [&alice, &bob] {
        party.registers();
    }
    let call = call(&alice, &bob);
    let via = call.invite.header("Via");
    assert!(
        via.starts_with(&format!("SIP/2.0/UDP {DOMAIN_V6}")),
        "{via}"
    );
    assert!(call.answer.contact().contains(DOMAIN_V6));
    hang_up(&bob, &call.callee, &alice);
}

#[test]
fn a_phone_on_ipv4_calls_one_on_ipv6() {
    let world = World::new(Setup::Standalone);
    let alice = world.phone("alice");
    let bob = world.party_at("bob", "[2001:db8::11]:5060");
    bob.registers();
    let call = call(&alice, &bob);
    assert!(call.invite.contact().contains(DOMAIN_V6));
    assert!(!call.answer.contact().contains(DOMAIN_V6));
    hang_up(&alice, &call.caller, &bob);
}

#[test]
fn what_is_received_on_ipv6_is_told_without_brackets() {
    let world = World::new(Setup::Standalone);
    let party = world.party_at("nat", "[2001:db8::77]:40001");
    let via = "SIP/2.0/UDP [2001:db8::5]:5060;rport;branch=z9hG4bK-six";
    party.sends(options().with("Via", via));
    let answer = party.receives("200");
    let received = super::kit::message::param(answer.header("Via"), "received");
    // S-80
    assert_eq!(received, Some("2001:db8::77"));
}

#[test]
fn one_user_may_have_a_phone_on_each_transport() {
    let world = World::new(Setup::Standalone);
    let (udp, tcp) = (world.party("udp"), world.party_over_tcp("tcp"));
    udp.registers_as("bob");
    tcp.sends(register("bob"));
    assert_eq!(tcp.receives("200").list("Contact").len(), 2);
    let alice = world.phone("alice");
    let sent = alice.sends(invite("bob"));
    let (at_udp, at_tcp) = (udp.receives("INVITE"), tcp.receives("INVITE"));
    udp.refuses(&at_udp, 486);
    tcp.refuses(&at_tcp, 486);
    refused(&alice, &sent, "486");
}
