//! The two passes of a call: from a phone to the PBX, and from the PBX to a phone.
//!
//! Spec: RULES R1, R3, R22.

use std::time::Duration;

use super::super::kit::dialog::Dialog;
use super::super::kit::draft::{ANSWER, OFFER, proxied, request, response};
use super::super::kit::message::uri_of;
use super::super::kit::scenes::{hang_up, refused};
use super::super::kit::subject::DOMAIN;
use super::{address, edge, invite, register, registers};

#[test]
fn a_call_of_a_phone_goes_to_the_pbx_as_the_phone_wrote_it() {
    let (world, pbx) = edge();
    let (alice, bob) = (world.party("alice"), world.party("bob"));
    registers(&alice, "alice", &pbx);
    registers(&bob, "bob", &pbx);
    let sent = alice.sends(invite("alice", "bob").with_sdp(OFFER));
    let at_pbx = pbx.receives("INVITE");
    // R3
    assert_eq!(at_pbx.uri(), address("bob"));
    assert_eq!(uri_of(at_pbx.header("From")), address("alice"));
    assert_eq!(uri_of(at_pbx.header("To")), address("bob"));
    assert_ne!(at_pbx.call_id(), sent.call_id());
    let answer = pbx.takes_call(&at_pbx, &alice, &sent);
    bob.receives_nothing();
    hang_up(&alice, &Dialog::of_caller(&sent, &answer), &pbx);
}

/// A URI that names us is the phone's to write: its password covers it.
#[test]
fn a_request_uri_with_our_address_is_left_alone() {
    let (world, pbx) = edge();
    let alice = world.party("alice");
    registers(&alice, "alice", &pbx);
    let ours = format!("sip:carol@{DOMAIN}");
    let sent = alice.sends(super::from(request("INVITE", &ours), "alice"));
    let at_pbx = pbx.receives("INVITE");
    assert_eq!(at_pbx.uri(), ours);
    pbx.refuses(&at_pbx, 404);
    refused(&alice, &sent, "404");
}

#[test]
fn a_call_of_the_pbx_goes_to_the_phone_of_the_alias() {
    let (world, pbx) = edge();
    // What it says of its own address is of no use.
    let bob = world.party_at("bob", "192.0.2.50:40001");
    let private = "<sip:bob@10.1.1.1:5060;x=1>";
    bob.sends(register("bob").with("Contact", private));
    let at_pbx = pbx.receives("REGISTER");
    pbx.sends(super::granted(&at_pbx, 3600));
    bob.receives("200");
    let call = request("INVITE", at_pbx.contact()).with_sdp(OFFER);
    let sent = pbx.sends(call.with("From", "<sip:alice@pbx.example>;tag=1"));
    let at_bob = bob.receives("INVITE");
    assert_eq!(at_bob.uri(), "sip:bob@10.1.1.1:5060;x=1");
    assert!(!at_bob.has("Call-Info"));
    let answered = response(&at_bob, 200).with("Contact", private);
    let answered = bob.sends(answered.with_sdp(ANSWER));
    let answer = pbx.receives("200");
    pbx.acks(&sent, &answer);
    bob.receives("ACK");
    let _bob = Dialog::of_callee(&at_bob, &answered);
    hang_up(&pbx, &Dialog::of_caller(&sent, &answer), &bob);
}

#[test]
fn a_phone_on_a_connection_is_called_over_that_connection_alone() {
    let (world, pbx) = edge();
    let bob = world.party_over_tcp("bob");
    let alias = registers(&bob, "bob", &pbx);
    let sent = pbx.sends(request("INVITE", &alias).with_sdp(OFFER));
    let at_bob = bob.receives("INVITE");
    assert!(at_bob.connection().is_some());
    bob.refuses(&at_bob, 486);
    refused(&pbx, &sent, "486");
    bob.disconnects();
    let sent = pbx.sends(request("INVITE", &alias).with_sdp(OFFER));
    let gone = refused(&pbx, &sent, "480");
    // R1: the in pass adds nothing towards the PBX.
    assert!(!gone.has("Call-Info"));
}

#[test]
fn an_unknown_alias_is_nobody() {
    let (_world, pbx) = edge();
    let nobody = format!("sip:reg-0123456789abcdef01234567@{DOMAIN}");
    let sent = pbx.sends(request("INVITE", &nobody).with_sdp(OFFER));
    refused(&pbx, &sent, "404");
    // Nor is a name: the PBX never gets its own call back.
    let sent = pbx.sends(request("INVITE", &format!("sip:bob@{DOMAIN}")).with_sdp(OFFER));
    refused(&pbx, &sent, "404");
}

/// R1: an internal call crosses us twice; the PBX is a proxy here.
#[test]
fn a_call_between_two_phones_crosses_twice() {
    let (world, pbx) = edge();
    let (alice, bob) = (world.party("alice"), world.party("bob"));
    registers(&alice, "alice", &pbx);
    let alias = registers(&bob, "bob", &pbx);
    let sent = alice.sends(invite("alice", "bob").with_sdp(OFFER));
    let out = pbx.receives("INVITE");
    let back = pbx.sends(proxied(&out, &alias));
    let at_bob = bob.receives("INVITE");
    assert_eq!(at_bob.uri(), bob.uri());
    let rings = bob.answers(&at_bob, 180);
    assert_eq!(rings.status(), 180);
    let rings = pbx.receives("180");
    pbx.sends(response(&out, 180).tagged(rings.tag_of_to()));
    alice.receives("180");
    let answered = bob.takes_call(&at_bob, &pbx, &back);
    pbx.sends(
        response(&out, 200)
            .tagged(answered.tag_of_to())
            .with_sdp(ANSWER),
    );
    let answer = alice.receives("200");
    alice.acks(&sent, &answer);
    pbx.receives("ACK");
    alice.hangs_up(&Dialog::of_caller(&sent, &answer));
    pbx.is_hung_up_on();
    alice.receives("200");
    pbx.hangs_up(&Dialog::of_caller(&back, &answered));
    bob.is_hung_up_on();
    pbx.receives("200");
}

#[test]
fn both_phones_of_a_user_ring_when_the_pbx_forks() {
    let (world, pbx) = edge();
    let (desk, cell) = (world.party("desk"), world.party("cell"));
    let aliases = [registers(&desk, "bob", &pbx), registers(&cell, "bob", &pbx)];
    let forked = |uri: &str| {
        request("INVITE", uri)
            .with("Call-ID", "forked@192.0.2.200")
            .with("From", "<sip:alice@pbx.example>;tag=forked")
    };
    let sent = aliases.map(|alias| pbx.sends(forked(&alias).with_sdp(OFFER)));
    // The same call to two phones is not a copy.
    let (at_desk, at_cell) = (desk.receives("INVITE"), cell.receives("INVITE"));
    desk.answers(&at_desk, 180);
    cell.answers(&at_cell, 180);
    pbx.receives_copies("180");
    desk.sends(response(&at_desk, 200).with_sdp(ANSWER));
    let answer = pbx.receives("200");
    pbx.acks(&sent[0], &answer);
    desk.receives("ACK");
    pbx.cancels(&sent[1]);
    let [_, ended] = pbx.receives_each(["200", "487"]);
    pbx.acks(&sent[1], &ended);
    let cancel = cell.receives("CANCEL");
    cell.answers(&cancel, 200);
    cell.refuses(&at_cell, 487);
    hang_up(&pbx, &Dialog::of_caller(&sent[0], &answer), &desk);
}

#[test]
fn a_phone_whose_registration_ran_out_is_not_there() {
    let (world, pbx) = edge();
    let alice = world.party("alice");
    alice.sends(register("alice"));
    let at_pbx = pbx.receives("REGISTER");
    pbx.sends(super::granted(&at_pbx, 60));
    alice.receives("200");
    world.advance(Duration::from_secs(61));
    pbx.sends(request("OPTIONS", at_pbx.contact()));
    pbx.receives("404");
}
