//! Calls that are taken back, in every race.
//!
//! Spec: RFC 3261 §9; RFC 3326 §2.

use std::time::Duration;

use super::kit::completion::speaks_with;
use super::kit::dialog::Dialog;
use super::kit::draft::{ANSWER, OFFER, cancel, invite, response};
use super::kit::party::assert_came_at;
use super::kit::scenes::{Ringing, call, gives_in, hang_up, offered, refused, ringing, two_phones};

#[test]
fn a_call_that_rings_is_taken_back() {
    let (_world, alice, bob) = two_phones();
    let Ringing { sent, invite, .. } = ringing(&alice, &bob);
    alice.cancels(&sent);
    // S-09
    assert_eq!(alice.receives("200").cseq_method(), "CANCEL");
    gives_in(&bob, &invite);
    refused(&alice, &sent, "487");
}

#[test]
fn the_cancel_is_of_the_invite_that_the_callee_got() {
    let (_world, alice, bob) = two_phones();
    let Ringing { sent, invite, .. } = ringing(&alice, &bob);
    alice.cancels(&sent);
    alice.receives("200");
    let cancel = gives_in(&bob, &invite);
    // S-08
    assert_eq!(cancel.uri(), invite.uri());
    assert_eq!(cancel.all("Via"), invite.all("Via"));
    assert_eq!(cancel.cseq(), invite.cseq());
    assert_eq!(cancel.header("To"), invite.header("To"));
    assert_eq!(cancel.header("From"), invite.header("From"));
    assert!(!cancel.has("Require"));
    refused(&alice, &sent, "487");
}

#[test]
fn a_cancel_waits_until_the_callee_has_said_something() {
    let (_world, alice, bob) = two_phones();
    let (sent, invite) = offered(&alice, &bob);
    alice.cancels(&sent);
    alice.receives("200");
    // S-09
    refused(&alice, &sent, "487");
    // S-08
    bob.receives_nothing();
    bob.answers(&invite, 100);
    gives_in(&bob, &invite);
}

#[test]
fn a_cancel_that_waits_is_not_sent_after_a_refusal() {
    let (_world, alice, bob) = two_phones();
    let (sent, invite) = offered(&alice, &bob);
    alice.cancels(&sent);
    alice.receives("200");
    refused(&alice, &sent, "487");
    bob.answers(&invite, 486);
    // S-08
    bob.receives("ACK");
}

#[test]
fn an_answer_to_a_call_that_was_taken_back_is_hung_up() {
    let (_world, alice, bob) = two_phones();
    let (sent, invite) = offered(&alice, &bob);
    alice.cancels(&sent);
    alice.receives("200");
    refused(&alice, &sent, "487");
    bob.sends(response(&invite, 200).with_sdp(ANSWER));
    // S-07
    bob.receives("ACK");
    bob.is_hung_up_on();
}

#[test]
fn an_answer_that_crosses_the_cancel_is_hung_up() {
    let (_world, alice, bob) = two_phones();
    let Ringing { sent, invite, .. } = ringing(&alice, &bob);
    alice.cancels(&sent);
    alice.receives("200");
    let cancel = bob.receives("CANCEL");
    bob.sends(response(&invite, 200).with_sdp(ANSWER));
    // S-07
    bob.receives("ACK");
    let bye = bob.receives("BYE");
    bob.answers(&cancel, 200);
    bob.answers(&bye, 200);
    refused(&alice, &sent, "487");
}

#[test]
fn a_cancel_that_crosses_the_answer_changes_nothing() {
    let (_world, alice, bob) = two_phones();
    let Ringing { sent, invite, .. } = ringing(&alice, &bob);
    bob.sends(response(&invite, 200).with_sdp(ANSWER));
    alice.cancels(&sent);
    let answer = alice.receives("200");
    assert_eq!(answer.cseq_method(), "INVITE");
    // S-09
    assert_eq!(alice.receives("200").cseq_method(), "CANCEL");
    alice.acks(&sent, &answer);
    bob.receives("ACK");
    hang_up(&alice, &Dialog::of_caller(&sent, &answer), &bob);
}

/// She was busy for half a minute after she had given up on a phone that had died.
#[test]
fn who_gives_up_on_a_phone_that_has_died_is_free() {
    let (world, alice, bob) = two_phones();
    let carol = world.phone("carol");
    let (sent, _) = offered(&alice, &bob);
    alice.cancels(&sent);
    alice.receives("200");
    refused(&alice, &sent, "487");
    let talk = speaks_with(&carol, "alice", &alice);
    // Nor is she freed once more when Bob's phone is given up.
    world.advance(Duration::from_secs(33));
    bob.receives_copies("INVITE");
    let again = bob.sends(invite("alice").with_sdp(OFFER));
    refused(&bob, &again, "486");
    hang_up(&carol, &talk, &alice);
}

#[test]
fn a_cancel_of_a_call_that_is_up_changes_nothing() {
    let (_world, alice, bob) = two_phones();
    let call = call(&alice, &bob);
    alice.cancels(&call.sent);
    // S-09
    alice.receives("200");
    bob.receives_nothing();
    hang_up(&alice, &call.caller, &bob);
}

#[test]
fn a_cancel_after_the_refusal_changes_nothing() {
    let (_world, alice, bob) = two_phones();
    let (sent, invite) = offered(&alice, &bob);
    bob.refuses(&invite, 486);
    let busy = alice.receives("486");
    alice.cancels(&sent);
    // S-09
    assert_eq!(alice.receives("200").cseq_method(), "CANCEL");
    alice.acks(&sent, &busy);
}

#[test]
fn a_cancel_of_nothing_is_answered_481() {
    let (_world, alice, bob) = two_phones();
    let Ringing { sent, invite, .. } = ringing(&alice, &bob);
    let via = "SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK-another;rport";
    alice.sends(cancel(&sent).with_only("Via", via));
    // S-09
    alice.receives("481");
    bob.receives_nothing();
    bob.refuses(&invite, 486);
    refused(&alice, &sent, "486");
}

#[test]
fn a_cancel_sent_twice_is_answered_twice_and_passed_on_once() {
    let (_world, alice, bob) = two_phones();
    let Ringing { sent, invite, .. } = ringing(&alice, &bob);
    let cancel = alice.cancels(&sent);
    alice.sends_again(&cancel);
    gives_in(&bob, &invite);
    let [first, refusal] = alice.receives_each(["200", "487"]);
    let second = alice.receives("200");
    // S-09
    assert_eq!(first.cseq_method(), "CANCEL");
    assert_eq!(second.tag_of_to(), first.tag_of_to());
    alice.acks(&sent, &refusal);
}

#[test]
fn a_lost_cancel_is_sent_again_until_given_up() {
    let (world, alice, bob) = two_phones();
    let Ringing { sent, .. } = ringing(&alice, &bob);
    let start = alice.cancels(&sent).at;
    alice.receives("200");
    world.advance(Duration::from_secs(33));
    let copies = bob.receives_copies("CANCEL");
    let doubling = [0, 500, 1500, 3500];
    let steady = (0..7).map(|n| 7500 + n * 4000);
    assert_came_at(
        &copies,
        start,
        &doubling.into_iter().chain(steady).collect::<Vec<_>>(),
    );
    let answers = alice.receives_copies("487");
    alice.acks(&sent, answers.last().expect("a final response"));
}

#[test]
fn a_callee_that_ignores_the_cancel_is_given_up() {
    let (world, alice, bob) = two_phones();
    let Ringing { sent, .. } = ringing(&alice, &bob);
    alice.cancels(&sent);
    alice.receives("200");
    let cancel = bob.receives("CANCEL");
    bob.answers(&cancel, 200);
    world.advance(Duration::from_secs(34));
    let answers = alice.receives_copies("487");
    alice.acks(&sent, answers.last().expect("a final response"));
    world.advance(Duration::from_secs(33));
    assert_eq!(world.held_by_calls(), []);
}

#[test]
fn why_a_call_was_taken_back_reaches_the_callee() {
    let (_world, alice, bob) = two_phones();
    let Ringing { sent, invite, .. } = ringing(&alice, &bob);
    let reason = "SIP;cause=200;text=\"Call completed elsewhere\"";
    alice.sends(cancel(&sent).with("Reason", reason));
    alice.receives("200");
    let cancel = gives_in(&bob, &invite);
    assert_eq!(cancel.header("Reason"), reason);
    refused(&alice, &sent, "487");
}
