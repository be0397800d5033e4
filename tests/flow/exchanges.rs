//! Requests within a call that change nothing of it: INFO, MESSAGE, UPDATE and what else phones send.
//!
//! Spec: RFC 3261 §12.2; RFC 4320 §4; RFC 7332 §5.

use std::time::Duration;

use super::kit::draft::{ANSWER, OFFER, in_dialog, response, within};
use super::kit::scenes::{Call, call, hang_up, refused, two_phones};

/// What a phone sends for a key pressed during a call.
const DIGIT: &[u8] = b"Signal=5\r\nDuration=160\r\n";

fn digit(call: &Call) -> super::kit::draft::Draft {
    within(&call.caller, "INFO").with_body("application/dtmf-relay", DIGIT)
}

#[test]
fn a_request_within_the_call_and_its_answer_cross() {
    let (_world, alice, bob) = two_phones();
    let call = call(&alice, &bob);
    alice.sends(digit(&call));
    let info = bob.receives("INFO");
    assert_eq!(info.body(), DIGIT);
    // S-14
    assert_eq!(info.cseq(), call.invite.cseq() + 1);
    assert_eq!(info.header("Max-Forwards"), "69");
    bob.sends(response(&info, 415).with("Accept", "text/plain"));
    let answer = alice.receives("415");
    assert_eq!(answer.header("Accept"), "text/plain");
    // S-20
    hang_up(&alice, &call.caller, &bob);
}

#[test]
fn requests_of_both_sides_cross_each_other() {
    let (_world, alice, bob) = two_phones();
    let call = call(&alice, &bob);
    alice.sends(digit(&call));
    let text = within(&call.callee, "MESSAGE").with_body("text/plain", b"hello");
    bob.sends(text);
    let (to_bob, to_alice) = (bob.receives("INFO"), alice.receives("MESSAGE"));
    assert_eq!(to_alice.body(), b"hello");
    alice.answers(&to_alice, 200);
    bob.answers(&to_bob, 200);
    assert_eq!(alice.receives("200").cseq_method(), "INFO");
    assert_eq!(bob.receives("200").cseq_method(), "MESSAGE");
    hang_up(&alice, &call.caller, &bob);
}

#[test]
fn an_update_moves_the_media_and_the_target() {
    let (world, alice, bob) = two_phones();
    let call = call(&alice, &bob);
    let moved = world.party_at("moved", "192.0.2.88:5060");
    let contact = "<sip:alice@192.0.2.88:5060>";
    let update = within(&call.caller, "UPDATE").with("Contact", contact);
    alice.sends(update.with_sdp(OFFER));
    let update = bob.receives("UPDATE");
    assert_eq!(update.sdp(), OFFER);
    bob.sends(response(&update, 200).with_sdp(ANSWER));
    assert_eq!(alice.receives("200").sdp(), ANSWER);
    bob.hangs_up(&call.callee);
    // S-16
    moved.is_hung_up_on();
    bob.receives("200");
}

#[test]
fn updates_that_meet_are_both_put_off() {
    let (_world, alice, bob) = two_phones();
    let call = call(&alice, &bob);
    alice.sends(within(&call.caller, "UPDATE").with_sdp(OFFER));
    let update = bob.receives("UPDATE");
    alice.sends(within(&call.caller, "UPDATE"));
    // S-68: her own first one waits.
    assert!(alice.receives("500").has("Retry-After"));
    bob.sends(within(&call.callee, "UPDATE").with_sdp(OFFER));
    // S-68: hers is on its way to him.
    bob.receives("491");
    let change = bob.sends(within(&call.callee, "INVITE").with_sdp(OFFER));
    refused(&bob, &change, "491");
    let change = alice.sends(within(&call.caller, "INVITE").with_sdp(OFFER));
    refused(&alice, &change, "500");
    bob.answers(&update, 491);
    // S-70
    alice.receives("491");
    bob.receives_nothing();
    hang_up(&alice, &call.caller, &bob);
}

#[test]
fn an_update_without_an_offer_meets_nothing() {
    let (_world, alice, bob) = two_phones();
    let call = call(&alice, &bob);
    alice.sends(within(&call.caller, "UPDATE").with_sdp(OFFER));
    let to_bob = bob.receives("UPDATE");
    bob.sends(within(&call.callee, "UPDATE"));
    let to_alice = alice.receives("UPDATE");
    alice.answers(&to_alice, 200);
    // S-68
    bob.receives("200");
    bob.sends(response(&to_bob, 200).with_sdp(ANSWER));
    assert_eq!(alice.receives("200").sdp(), ANSWER);
    hang_up(&alice, &call.caller, &bob);
}

#[test]
fn an_update_during_a_change_waits_for_the_answer_to_that() {
    let (_world, alice, bob) = two_phones();
    let call = call(&alice, &bob);
    let sent = alice.sends(within(&call.caller, "INVITE"));
    let change = bob.receives("INVITE");
    bob.sends(response(&change, 200).with_sdp(OFFER));
    let answer = alice.receives("200");
    // S-60: his offer has no answer before her ACK.
    alice.sends(within(&call.caller, "UPDATE").with_sdp(OFFER));
    alice.receives("491");
    bob.sends(within(&call.callee, "UPDATE").with_sdp(OFFER));
    bob.receives("500");
    alice.sends(super::kit::draft::ack(&sent, &answer).with_sdp(ANSWER));
    bob.receives("ACK");
    bob.sends(within(&call.callee, "UPDATE").with_sdp(OFFER));
    let update = alice.receives("UPDATE");
    alice.sends(response(&update, 200).with_sdp(ANSWER));
    bob.receives("200");
    hang_up(&alice, &call.caller, &bob);
}

#[test]
fn an_info_moves_nothing() {
    let (_world, alice, bob) = two_phones();
    let call = call(&alice, &bob);
    let elsewhere = "<sip:elsewhere@192.0.2.88:5060>";
    alice.sends(digit(&call).with("Contact", elsewhere));
    let info = bob.receives("INFO");
    bob.sends(response(&info, 200).with("Contact", elsewhere));
    alice.receives("200");
    // S-16
    hang_up(&alice, &call.caller, &bob);
}

#[test]
fn a_provisional_response_to_it_does_not_cross() {
    let (_world, alice, bob) = two_phones();
    let call = call(&alice, &bob);
    alice.sends(digit(&call));
    let info = bob.receives("INFO");
    bob.answers(&info, 100);
    bob.answers(&info, 183);
    // S-45
    assert_eq!(alice.waiting(), 0);
    bob.answers(&info, 200);
    alice.receives("200");
    hang_up(&alice, &call.caller, &bob);
}

#[test]
fn its_sender_hears_100_only_after_timer_e_is_at_t2() {
    let (world, alice, bob) = two_phones();
    let call = call(&alice, &bob);
    let sent = alice.sends(digit(&call));
    let info = bob.receives("INFO");
    world.advance(Duration::from_millis(600));
    alice.sends_again(&sent);
    world.advance(Duration::from_millis(2800));
    bob.receives_copies("INFO");
    // S-46
    assert_eq!(alice.waiting_with_100s(), 0);
    world.advance(Duration::from_millis(300));
    alice.receives("100");
    bob.receives_copies("INFO");
    bob.answers(&info, 200);
    alice.receives("200");
    hang_up(&alice, &call.caller, &bob);
}

#[test]
fn one_that_nobody_answers_ends_the_call_in_silence() {
    let (world, alice, bob) = two_phones();
    let call = call(&alice, &bob);
    alice.sends(digit(&call));
    bob.receives("INFO");
    world.advance(Duration::from_millis(31_900));
    bob.receives_copies("INFO");
    world.advance(Duration::from_millis(300));
    // S-47: no 408; S-15: but the dialog is over.
    alice.is_hung_up_on();
    bob.is_hung_up_on();
}

#[test]
fn one_that_comes_late_is_refused() {
    let (_world, alice, bob) = two_phones();
    let call = call(&alice, &bob);
    alice.sends(in_dialog(&call.caller, "INFO", 3));
    // S-14
    alice.receives("500");
    bob.receives_nothing();
    hang_up(&alice, &call.caller, &bob);
}

#[test]
fn a_prack_of_a_call_without_reliable_ringing_matches_nothing() {
    let (_world, alice, bob) = two_phones();
    let call = call(&alice, &bob);
    for (party, dialog) in [(&alice, &call.caller), (&bob, &call.callee)] {
        let rack = format!("1 {} INVITE", call.sent.cseq());
        party.sends(in_dialog(dialog, "PRACK", 1000).with("RAck", &rack));
        // S-54
        party.receives("481");
    }
    alice.receives_nothing();
    bob.receives_nothing();
    alice.sends(in_dialog(&call.caller, "BYE", 1001));
    bob.is_hung_up_on();
    alice.receives("200");
}

#[test]
fn one_that_waits_when_the_call_ends_gets_487() {
    let (_world, alice, bob) = two_phones();
    let call = call(&alice, &bob);
    alice.sends(digit(&call));
    let info = bob.receives("INFO");
    bob.leaves(&call.callee);
    // S-21
    let [answer, bye] = alice.receives_each(["487", "BYE"]);
    assert_eq!(answer.cseq_method(), "INFO");
    alice.answers(&bye, 200);
    bob.answers(&info, 487);
}

#[test]
fn one_that_the_callee_knows_no_call_for_ends_it() {
    let (_world, alice, bob) = two_phones();
    let call = call(&alice, &bob);
    alice.sends(digit(&call));
    let info = bob.receives("INFO");
    bob.answers(&info, 481);
    // S-15
    alice.receives("481");
    for party in [&alice, &bob] {
        let bye = party.receives("BYE");
        party.answers(&bye, 481);
    }
}

#[test]
fn a_request_outside_of_any_call_that_needs_one_is_refused() {
    let (_world, alice, _bob) = two_phones();
    for method in ["INFO", "UPDATE", "PRACK", "NOTIFY"] {
        alice.sends(super::kit::draft::request(method, "sip:bob@192.0.2.1"));
        // S-15
        alice.receives("481");
    }
}
