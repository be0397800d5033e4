//! Lost messages: what campon repeats, for how long, and what it does when it hears something twice.
//!
//! Spec: RFC 3261 §13.3.1.4, §17; RFC 6026 §7, §8.

use std::time::Duration;

use super::kit::dialog::Dialog;
use super::kit::draft::{ANSWER, OFFER, invite, reinvite, request, response};
use super::kit::party::assert_came_at;
use super::kit::scenes::{call, hang_up, offered, refused, ringing, two_phones};
use super::kit::subject::DOMAIN;

/// T1 doubling up to T2, within 32 s: the repetitions after the first sending.
const UP_TO_T2_MS: [u64; 10] = [
    500, 1500, 3500, 7500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500,
];

#[test]
fn an_invite_is_repeated_until_the_callee_says_something() {
    let (world, alice, bob) = two_phones();
    let (sent, invite) = offered(&alice, &bob);
    world.advance(Duration::from_secs(4));
    let copies = bob.receives_copies("INVITE");
    // S-02
    assert_came_at(&copies, invite.at, &[500, 1500, 3500]);
    assert!(copies.iter().all(|copy| copy.raw == invite.raw));
    bob.answers(&invite, 100);
    world.advance(Duration::from_mins(1));
    bob.receives_nothing();
    bob.refuses(&invite, 486);
    refused(&alice, &sent, "486");
}

#[test]
fn a_callee_that_says_nothing_is_given_up_after_64_t1() {
    let (world, alice, bob) = two_phones();
    let (sent, invite) = offered(&alice, &bob);
    world.advance(Duration::from_millis(31_900));
    // S-02
    let repeated = [500, 1500, 3500, 7500, 15_500, 31_500];
    assert_came_at(&bob.receives_copies("INVITE"), invite.at, &repeated);
    alice.receives_nothing();
    world.advance(Duration::from_millis(300));
    refused(&alice, &sent, "408");
}

#[test]
fn an_answer_without_ack_is_repeated_then_the_call_is_cleared() {
    let (world, alice, bob) = two_phones();
    let (_sent, invite) = offered(&alice, &bob);
    bob.sends(response(&invite, 200).with_sdp(ANSWER));
    let answer = alice.receives("200");
    world.advance(Duration::from_millis(31_900));
    let copies = alice.receives_copies("200");
    // S-05
    assert_came_at(&copies, answer.at, &UP_TO_T2_MS);
    assert!(copies.iter().all(|copy| copy.raw == answer.raw));
    world.advance(Duration::from_millis(300));
    let bye = alice.receives("BYE");
    assert_eq!(bye.tag_of_from(), answer.tag_of_to());
    alice.answers(&bye, 200);
    bob.receives("ACK");
    bob.is_hung_up_on();
}

#[test]
fn a_refusal_without_ack_is_repeated_then_forgotten() {
    let (world, alice, bob) = two_phones();
    let (_sent, invite) = offered(&alice, &bob);
    bob.refuses(&invite, 486);
    let busy = alice.receives("486");
    world.advance(Duration::from_mins(1));
    // S-03
    assert_came_at(&alice.receives_copies("486"), busy.at, &UP_TO_T2_MS);
}

#[test]
fn an_ack_ends_the_repetition_of_a_refusal() {
    let (world, alice, bob) = two_phones();
    let (sent, invite) = offered(&alice, &bob);
    bob.refuses(&invite, 486);
    let busy = alice.receives("486");
    world.advance(Duration::from_millis(600));
    assert_eq!(alice.receives("486").raw, busy.raw);
    alice.acks(&sent, &busy);
    world.advance(Duration::from_secs(10));
    // S-03
    alice.receives_nothing();
}

#[test]
fn an_invite_heard_twice_is_answered_with_the_last_response() {
    let (_world, alice, bob) = two_phones();
    let (sent, invite) = offered(&alice, &bob);
    let trying = alice.receives("100");
    alice.sends_again(&sent);
    // S-01
    assert_eq!(alice.receives("100").raw, trying.raw);
    bob.answers(&invite, 180);
    let rings = alice.receives("180");
    alice.sends_again(&sent);
    assert_eq!(alice.receives("180").raw, rings.raw);
    bob.refuses(&invite, 486);
    let busy = alice.receives("486");
    alice.sends_again(&sent);
    assert_eq!(alice.receives("486").raw, busy.raw);
    alice.acks(&sent, &busy);
}

#[test]
fn an_invite_heard_again_after_the_ack_of_a_refusal_is_absorbed() {
    let (_world, alice, bob) = two_phones();
    let (sent, invite) = offered(&alice, &bob);
    bob.refuses(&invite, 486);
    let busy = alice.receives("486");
    let ack = alice.acks(&sent, &busy);
    alice.sends_again(&sent);
    alice.sends_again(&ack);
    // S-01
    alice.receives_nothing();
    bob.receives_nothing();
}

#[test]
fn an_invite_heard_again_after_the_answer_is_absorbed() {
    let (_world, alice, bob) = two_phones();
    let call = call(&alice, &bob);
    alice.sends_again(&call.sent);
    // S-40
    alice.receives_nothing();
    bob.receives_nothing();
    hang_up(&alice, &call.caller, &bob);
}

#[test]
fn an_answer_heard_again_is_acknowledged_again() {
    let (_world, alice, bob) = two_phones();
    let call = call(&alice, &bob);
    bob.sends_again(&call.answered);
    // S-42
    let ack = bob.receives("ACK");
    assert_eq!(ack.cseq(), call.invite.cseq());
    alice.receives_nothing();
    hang_up(&alice, &call.caller, &bob);
}

#[test]
fn an_answer_heard_again_brings_the_same_ack_with_its_body() {
    let (_world, alice, bob) = two_phones();
    let sent = alice.sends(invite("bob"));
    let invite = bob.receives("INVITE");
    let answered = bob.sends(response(&invite, 200).with_sdp(OFFER));
    let answer = alice.receives("200");
    alice.sends(super::kit::draft::ack(&sent, &answer).with_sdp(ANSWER));
    let ack = bob.receives("ACK");
    bob.sends_again(&answered);
    // S-04
    assert_eq!(bob.receives("ACK").sdp(), ack.sdp());
    hang_up(&bob, &Dialog::of_callee(&invite, &answered), &alice);
}

#[test]
fn a_lost_ack_is_made_up_for_by_the_next_one() {
    let (world, alice, bob) = two_phones();
    let (sent, invite) = offered(&alice, &bob);
    let answered = bob.sends(response(&invite, 200).with_sdp(ANSWER));
    alice.receives("200");
    world.advance(Duration::from_millis(600));
    let answer = alice.receives("200");
    alice.acks(&sent, &answer);
    bob.receives("ACK");
    world.advance(Duration::from_secs(40));
    // S-05, S-41
    alice.receives_nothing();
    hang_up(&bob, &Dialog::of_callee(&invite, &answered), &alice);
}

#[test]
fn a_refusal_heard_again_is_acknowledged_again_by_the_transaction() {
    let (world, alice, bob) = two_phones();
    let (sent, invite) = offered(&alice, &bob);
    let busy = bob.answers(&invite, 486);
    let ack = bob.receives("ACK");
    // S-03
    assert_eq!(ack.branch(), invite.branch());
    assert_eq!(ack.uri(), invite.uri());
    assert_eq!(ack.header("To"), busy.header("To"));
    refused(&alice, &sent, "486");
    world.advance(Duration::from_secs(20));
    bob.sends_again(&busy);
    assert_eq!(bob.receives("ACK").raw, ack.raw);
    alice.receives_nothing();
}

#[test]
fn a_bye_without_answer_is_repeated_then_given_up() {
    let (world, alice, bob) = two_phones();
    let call = call(&alice, &bob);
    alice.hangs_up(&call.caller);
    let bye = bob.receives("BYE");
    world.advance(Duration::from_secs(40));
    assert_came_at(&bob.receives_copies("BYE"), bye.at, &UP_TO_T2_MS);
    // S-47: however the callee behaves, the caller's BYE is never answered 408.
    let answers = alice.receives_copies("200");
    assert_eq!(answers.len(), 1);
}

#[test]
fn a_bye_is_not_answered_100_before_timer_e_is_at_t2() {
    let (world, alice, bob) = two_phones();
    let call = call(&alice, &bob);
    alice.hangs_up(&call.caller);
    let bye = bob.receives("BYE");
    world.advance(Duration::from_millis(3400));
    bob.receives_copies("BYE");
    bob.answers(&bye, 200);
    // S-46
    let first = alice.receives_any();
    assert_eq!(first.kind(), "200");
    assert_eq!(first.cseq_method(), "BYE");
}

#[test]
fn a_bye_heard_twice_is_answered_twice() {
    let (_world, alice, bob) = two_phones();
    let call = call(&alice, &bob);
    let sent = alice.hangs_up(&call.caller);
    bob.is_hung_up_on();
    let answer = alice.receives("200");
    alice.sends_again(&sent);
    // S-01
    assert_eq!(alice.receives("200").raw, answer.raw);
    bob.receives_nothing();
}

#[test]
fn a_stray_ack_is_ignored() {
    let (_world, alice, bob) = two_phones();
    let call = call(&alice, &bob);
    alice.sends(request("ACK", &format!("sip:bob@{DOMAIN}")));
    alice.sends_again(&call.ack);
    alice.receives_nothing();
    bob.receives_nothing();
    hang_up(&alice, &call.caller, &bob);
}

#[test]
fn a_stray_answer_is_not_passed_on() {
    let (_world, alice, bob) = two_phones();
    let scene = ringing(&alice, &bob);
    let via = format!("SIP/2.0/UDP {DOMAIN}:5060;branch=z9hG4bK-of-nobody");
    let stray = response(&scene.invite, 200).with_only("Via", &via);
    bob.sends(stray.with_sdp(ANSWER));
    // S-44
    alice.receives_nothing();
    bob.receives_nothing();
    bob.refuses(&scene.invite, 486);
    refused(&alice, &scene.sent, "486");
}

#[test]
fn an_answer_long_after_the_call_is_not_passed_on() {
    let (world, alice, bob) = two_phones();
    let call = call(&alice, &bob);
    hang_up(&alice, &call.caller, &bob);
    world.advance(Duration::from_mins(2));
    bob.sends_again(&call.answered);
    // S-44
    alice.receives_nothing();
    bob.receives_nothing();
}

#[test]
fn a_response_that_could_not_be_sent_does_not_end_the_transaction() {
    let (world, alice, bob) = two_phones();
    let scene = ringing(&alice, &bob);
    world.could_not_send(&scene.rings);
    bob.receives_nothing();
    bob.sends(response(&scene.invite, 200).with_sdp(ANSWER));
    // S-43
    let answer = alice.receives("200");
    alice.acks(&scene.sent, &answer);
    bob.receives("ACK");
    hang_up(&alice, &Dialog::of_caller(&scene.sent, &answer), &bob);
}

/// Found by simulation: the caller's phone waited for ever for the answer to its re-INVITE.
#[test]
fn an_answer_to_a_change_is_repeated_though_the_call_has_ended() {
    let (world, alice, bob) = two_phones();
    let call = call(&alice, &bob);
    let sent = alice.sends(reinvite(&call.caller).with_sdp(OFFER));
    let change = bob.receives("INVITE");
    bob.sends(response(&change, 200).with_sdp(ANSWER));
    let lost = alice.receives("200");
    bob.hangs_up(&call.callee);
    alice.is_hung_up_on();
    world.advance(Duration::from_millis(600));
    bob.receives_each(["ACK", "200"]);
    // S-05
    let answer = alice.receives("200");
    assert_eq!(answer.raw, lost.raw);
    alice.acks(&sent, &answer);
}

/// Found by simulation: a phone whose ACK was lost repeated its answer for 32 s.
#[test]
fn an_answer_heard_again_after_the_call_has_ended_is_acknowledged_again() {
    let (_world, alice, bob) = two_phones();
    let call = call(&alice, &bob);
    hang_up(&alice, &call.caller, &bob);
    bob.sends_again(&call.answered);
    // S-42
    assert_eq!(bob.receives("ACK").tag_of_to(), call.answered.tag_of_to());
    alice.receives_nothing();
}

/// A busy callee hung up while the 486 was lost, and the repeated INVITE rang him: two finals.
#[test]
fn a_call_that_was_refused_is_still_refused_when_it_comes_again() {
    let (world, alice, bob) = two_phones();
    let stranger = world.party("dave");
    let call = call(&alice, &bob);
    let sent = stranger.sends(invite("bob").with_sdp(OFFER));
    let busy = stranger.receives("486");
    hang_up(&alice, &call.caller, &bob);
    stranger.sends_again(&sent);
    assert_eq!(stranger.receives("486").raw, busy.raw);
    bob.receives_nothing();
    stranger.acks(&sent, &busy);
}
