//! Changes of a call that is up, from both sides, one at a time and at once.
//!
//! Spec: RFC 3261 §12.2, §14, §15.1.2.

use std::time::Duration;

use super::kit::draft::{ANSWER, OFFER, ack, in_dialog, reinvite, response};
use super::kit::message::Message;
use super::kit::party::Party;
use super::kit::scenes::{Call, call, hang_up, refused, two_phones};

/// Hold, in the words of a session description.
const HOLD: &str = "v=0\r\no=alice 1 2 IN IP4 192.0.2.10\r\ns=-\r\n\
    c=IN IP4 192.0.2.10\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0 8\r\na=sendonly\r\n";

/// Alice asks for hold; Bob's phone has said nothing yet.
fn holding(alice: &Party, bob: &Party, call: &Call) -> (Message, Message) {
    let sent = alice.sends(reinvite(&call.caller).with_sdp(HOLD));
    (sent, bob.receives("INVITE"))
}

#[test]
fn the_caller_changes_the_call() {
    let (_world, alice, bob) = two_phones();
    let call = call(&alice, &bob);
    let (sent, change) = holding(&alice, &bob, &call);
    assert_eq!(change.sdp(), HOLD);
    // S-14
    assert_eq!(change.cseq(), call.invite.cseq() + 1);
    assert_eq!(change.tag_of_to(), call.answered.tag_of_to());
    bob.sends(response(&change, 200).with_sdp(ANSWER));
    let answer = alice.receives("200");
    assert_eq!(answer.sdp(), ANSWER);
    assert_eq!(answer.tag_of_to(), call.answer.tag_of_to());
    alice.acks(&sent, &answer);
    let ack = bob.receives("ACK");
    // S-04
    assert_eq!(ack.cseq(), change.cseq());
    hang_up(&alice, &call.caller, &bob);
}

#[test]
fn the_callee_changes_the_call() {
    let (_world, alice, bob) = two_phones();
    let call = call(&alice, &bob);
    let sent = bob.sends(reinvite(&call.callee).with_sdp(HOLD));
    let change = alice.receives("INVITE");
    assert_eq!(change.sdp(), HOLD);
    // S-13
    assert_eq!(change.uri(), alice.uri());
    assert_eq!(change.tag_of_from(), call.answer.tag_of_to());
    alice.takes_call(&change, &bob, &sent);
    hang_up(&bob, &call.callee, &alice);
}

#[test]
fn a_change_may_be_offered_in_its_answer() {
    let (_world, alice, bob) = two_phones();
    let call = call(&alice, &bob);
    let sent = alice.sends(reinvite(&call.caller));
    let change = bob.receives("INVITE");
    assert!(change.body().is_empty());
    bob.sends(response(&change, 200).with_sdp(OFFER));
    let answer = alice.receives("200");
    assert_eq!(answer.sdp(), OFFER);
    bob.receives_nothing();
    alice.sends(ack(&sent, &answer).with_sdp(ANSWER));
    // S-04
    assert_eq!(bob.receives("ACK").sdp(), ANSWER);
    hang_up(&alice, &call.caller, &bob);
}

#[test]
fn a_refused_change_leaves_the_call_as_it_was() {
    let (world, alice, bob) = two_phones();
    let call = call(&alice, &bob);
    let (sent, change) = holding(&alice, &bob, &call);
    bob.refuses(&change, 488);
    refused(&alice, &sent, "488");
    world.advance(Duration::from_mins(2));
    // S-20
    world.quiet();
    hang_up(&bob, &call.callee, &alice);
}

#[test]
fn changes_from_both_sides_at_once_are_both_put_off() {
    let (_world, alice, bob) = two_phones();
    let call = call(&alice, &bob);
    let (sent, change) = holding(&alice, &bob, &call);
    let crossing = bob.sends(reinvite(&call.callee).with_sdp(HOLD));
    // S-18
    refused(&bob, &crossing, "491");
    bob.refuses(&change, 491);
    refused(&alice, &sent, "491");
    hang_up(&alice, &call.caller, &bob);
}

#[test]
fn a_second_change_before_the_first_is_answered_is_put_off() {
    let (_world, alice, bob) = two_phones();
    let call = call(&alice, &bob);
    let (sent, change) = holding(&alice, &bob, &call);
    let second = alice.sends(reinvite(&call.caller).with_sdp(OFFER));
    let refusal = refused(&alice, &second, "500");
    // S-18
    let retry: u32 = refusal.header("Retry-After").parse().expect("seconds");
    assert!(retry <= 10, "Retry-After {retry}");
    bob.receives_nothing();
    bob.takes_call(&change, &alice, &sent);
    hang_up(&alice, &call.caller, &bob);
}

#[test]
fn a_change_after_a_refused_one_has_a_higher_cseq() {
    let (_world, alice, bob) = two_phones();
    let call = call(&alice, &bob);
    let (sent, first) = holding(&alice, &bob, &call);
    bob.refuses(&first, 491);
    refused(&alice, &sent, "491");
    let (sent, second) = holding(&alice, &bob, &call);
    // S-14
    assert_eq!(second.cseq(), first.cseq() + 1);
    bob.takes_call(&second, &alice, &sent);
    hang_up(&alice, &call.caller, &bob);
}

#[test]
fn a_request_with_a_lower_cseq_is_refused() {
    let (_world, alice, bob) = two_phones();
    let call = call(&alice, &bob);
    let late = alice.sends(in_dialog(&call.caller, "INVITE", 3).with_sdp(HOLD));
    // S-14
    refused(&alice, &late, "500");
    alice.sends(in_dialog(&call.caller, "BYE", 4));
    alice.receives("500");
    bob.receives_nothing();
    hang_up(&alice, &call.caller, &bob);
}

#[test]
fn a_change_of_a_call_that_the_callee_has_lost_ends_it() {
    let (_world, alice, bob) = two_phones();
    let call = call(&alice, &bob);
    let (sent, change) = holding(&alice, &bob, &call);
    bob.refuses(&change, 481);
    // S-15, S-20
    refused(&alice, &sent, "481");
    for party in [&alice, &bob] {
        let bye = party.receives("BYE");
        party.answers(&bye, 481);
    }
}

#[test]
fn a_change_that_nobody_answers_ends_the_call() {
    let (world, alice, bob) = two_phones();
    let call = call(&alice, &bob);
    let (sent, _change) = holding(&alice, &bob, &call);
    world.advance(Duration::from_millis(31_900));
    assert_eq!(bob.receives_copies("INVITE").len(), 6);
    world.advance(Duration::from_millis(300));
    // S-15, S-20
    refused(&alice, &sent, "408");
    alice.is_hung_up_on();
    bob.is_hung_up_on();
}

#[test]
fn a_change_is_taken_back() {
    let (_world, alice, bob) = two_phones();
    let call = call(&alice, &bob);
    let (sent, change) = holding(&alice, &bob, &call);
    bob.answers(&change, 100);
    alice.cancels(&sent);
    alice.receives("200");
    let cancel = bob.receives("CANCEL");
    // S-08
    assert_eq!(cancel.branch(), change.branch());
    bob.answers(&cancel, 200);
    bob.refuses(&change, 487);
    refused(&alice, &sent, "487");
    hang_up(&alice, &call.caller, &bob);
}

#[test]
fn the_callee_hangs_up_during_a_change() {
    let (_world, alice, bob) = two_phones();
    let call = call(&alice, &bob);
    let (sent, change) = holding(&alice, &bob, &call);
    bob.leaves(&call.callee);
    bob.refuses(&change, 487);
    let [refusal, bye] = alice.receives_each(["487", "BYE"]);
    // S-21
    alice.acks(&sent, &refusal);
    alice.answers(&bye, 200);
}

#[test]
fn the_caller_hangs_up_during_a_change_of_his_own() {
    let (_world, alice, bob) = two_phones();
    let call = call(&alice, &bob);
    let (sent, change) = holding(&alice, &bob, &call);
    alice.hangs_up(&call.caller);
    bob.is_hung_up_on();
    bob.refuses(&change, 487);
    // S-21
    let [refusal, answer] = alice.receives_each(["487", "200"]);
    assert_eq!(answer.cseq_method(), "BYE");
    alice.acks(&sent, &refusal);
}

#[test]
fn a_party_that_moves_is_reached_where_it_is() {
    let (world, alice, bob) = two_phones();
    let call = call(&alice, &bob);
    let moved = world.party_at("moved", "192.0.2.88:5060");
    let contact = "<sip:alice@192.0.2.88:5060>";
    let sent = alice.sends(
        reinvite(&call.caller)
            .with("Contact", contact)
            .with_sdp(HOLD),
    );
    let change = bob.receives("INVITE");
    bob.takes_call(&change, &alice, &sent);
    bob.hangs_up(&call.callee);
    // S-16
    let bye = moved.receives("BYE");
    assert_eq!(bye.uri(), "sip:alice@192.0.2.88:5060");
    moved.answers(&bye, 200);
    bob.receives("200");
}

#[test]
fn an_unacknowledged_change_ends_the_call() {
    let (world, alice, bob) = two_phones();
    let call = call(&alice, &bob);
    let (_sent, change) = holding(&alice, &bob, &call);
    bob.sends(response(&change, 200).with_sdp(ANSWER));
    let answer = alice.receives("200");
    world.advance(Duration::from_millis(31_900));
    let copies = alice.receives_copies("200");
    assert!(copies.iter().all(|copy| copy.raw == answer.raw));
    world.advance(Duration::from_millis(300));
    // S-05
    alice.is_hung_up_on();
    bob.receives("ACK");
    bob.is_hung_up_on();
}
