//! One INVITE, several answers: phones of one user, and forks behind one phone's address.
//!
//! Spec: RFC 3261 §13.2.2.4, §16.6, §16.7; RFC 3326 §3.1.

use std::time::Duration;

use super::kit::dialog::Dialog;
use super::kit::draft::{ANSWER, OFFER, invite, response};
use super::kit::scenes::{bob_with_two_phones, gives_in, hang_up, offered, refused, two_phones};

#[test]
fn each_phone_rings_and_the_first_answer_wins() {
    let (_world, alice, desk, cell) = bob_with_two_phones();
    let sent = alice.sends(invite("bob").with_sdp(OFFER));
    let (at_desk, at_cell) = (desk.receives("INVITE"), cell.receives("INVITE"));
    assert_ne!(at_desk.branch(), at_cell.branch());
    assert_eq!(at_desk.uri(), desk.uri());
    assert_eq!(at_cell.uri(), cell.uri());
    desk.answers(&at_desk, 180);
    cell.answers(&at_cell, 180);
    let (desk_rings, cell_rings) = (alice.receives("180"), alice.receives("180"));
    // S-12
    assert_ne!(desk_rings.tag_of_to(), cell_rings.tag_of_to());
    cell.sends(response(&at_cell, 200).with_sdp(ANSWER));
    let answer = alice.receives("200");
    assert_eq!(answer.tag_of_to(), cell_rings.tag_of_to());
    gives_in(&desk, &at_desk);
    alice.acks(&sent, &answer);
    cell.receives("ACK");
    hang_up(&alice, &Dialog::of_caller(&sent, &answer), &cell);
}

#[test]
fn the_phones_that_lose_are_told_that_the_call_was_answered_elsewhere() {
    let (_world, alice, desk, cell) = bob_with_two_phones();
    let sent = alice.sends(invite("bob").with_sdp(OFFER));
    let (at_desk, at_cell) = (desk.receives("INVITE"), cell.receives("INVITE"));
    desk.answers(&at_desk, 180);
    alice.receives("180");
    cell.sends(response(&at_cell, 200).with_sdp(ANSWER));
    let answer = alice.receives("200");
    let cancel = gives_in(&desk, &at_desk);
    let reason = cancel.header("Reason");
    assert!(reason.starts_with("SIP"), "{reason}");
    assert!(reason.contains("cause=200"), "{reason}");
    alice.acks(&sent, &answer);
    cell.receives("ACK");
    hang_up(&alice, &Dialog::of_caller(&sent, &answer), &cell);
}

#[test]
fn one_busy_phone_does_not_end_the_call() {
    let (_world, alice, desk, cell) = bob_with_two_phones();
    let sent = alice.sends(invite("bob").with_sdp(OFFER));
    let (at_desk, at_cell) = (desk.receives("INVITE"), cell.receives("INVITE"));
    desk.refuses(&at_desk, 486);
    alice.receives_nothing();
    let answer = cell.takes_call(&at_cell, &alice, &sent);
    hang_up(&alice, &Dialog::of_caller(&sent, &answer), &cell);
}

#[test]
fn when_all_phones_refuse_the_best_refusal_is_passed_on() {
    let (_world, alice, desk, cell) = bob_with_two_phones();
    for (first, second) in [(500, 486), (486, 500)] {
        let sent = alice.sends(invite("bob").with_sdp(OFFER));
        let (at_desk, at_cell) = (desk.receives("INVITE"), cell.receives("INVITE"));
        desk.answers(&at_desk, first);
        desk.receives("ACK");
        alice.receives_nothing();
        cell.answers(&at_cell, second);
        cell.receives("ACK");
        refused(&alice, &sent, "486");
    }
}

#[test]
fn a_decline_everywhere_silences_the_other_phones() {
    let (_world, alice, desk, cell) = bob_with_two_phones();
    let sent = alice.sends(invite("bob").with_sdp(OFFER));
    let (at_desk, at_cell) = (desk.receives("INVITE"), cell.receives("INVITE"));
    cell.answers(&at_cell, 180);
    alice.receives("180");
    desk.refuses(&at_desk, 603);
    gives_in(&cell, &at_cell);
    refused(&alice, &sent, "603");
}

#[test]
fn two_phones_that_answer_at_once_are_not_both_connected() {
    let (_world, alice, desk, cell) = bob_with_two_phones();
    let sent = alice.sends(invite("bob").with_sdp(OFFER));
    let (at_desk, at_cell) = (desk.receives("INVITE"), cell.receives("INVITE"));
    cell.answers(&at_cell, 180);
    alice.receives("180");
    desk.sends(response(&at_desk, 200).with_sdp(ANSWER));
    let answer = alice.receives("200");
    let cancel = cell.receives("CANCEL");
    cell.sends(response(&at_cell, 200).with_sdp(ANSWER));
    // S-07
    cell.receives("ACK");
    let bye = cell.receives("BYE");
    cell.answers(&cancel, 200);
    cell.answers(&bye, 200);
    alice.receives_nothing();
    alice.acks(&sent, &answer);
    desk.receives("ACK");
    hang_up(&alice, &Dialog::of_caller(&sent, &answer), &desk);
}

#[test]
fn a_caller_who_gives_up_silences_all_phones() {
    let (_world, alice, desk, cell) = bob_with_two_phones();
    let sent = alice.sends(invite("bob").with_sdp(OFFER));
    let (at_desk, at_cell) = (desk.receives("INVITE"), cell.receives("INVITE"));
    desk.answers(&at_desk, 180);
    cell.answers(&at_cell, 180);
    alice.receives_copies("180");
    alice.cancels(&sent);
    alice.receives("200");
    gives_in(&desk, &at_desk);
    gives_in(&cell, &at_cell);
    // S-09
    refused(&alice, &sent, "487");
}

#[test]
fn forks_behind_one_address_keep_their_own_tags() {
    let (_world, alice, bob) = two_phones();
    let (sent, invite) = offered(&alice, &bob);
    bob.sends(response(&invite, 180).tagged("one"));
    bob.sends(response(&invite, 183).tagged("two").with_sdp(ANSWER));
    let (first, second) = (alice.receives("180"), alice.receives("183"));
    // S-12
    assert_ne!(first.tag_of_to(), second.tag_of_to());
    bob.sends(response(&invite, 200).tagged("two").with_sdp(ANSWER));
    let answer = alice.receives("200");
    assert_eq!(answer.tag_of_to(), second.tag_of_to());
    alice.acks(&sent, &answer);
    assert_eq!(bob.receives("ACK").tag_of_to(), "two");
    alice.hangs_up(&Dialog::of_caller(&sent, &answer));
    let bye = bob.receives("BYE");
    // S-13
    assert_eq!(bye.tag_of_to(), "two");
    bob.answers(&bye, 200);
    alice.receives("200");
}

#[test]
fn the_answer_of_a_second_fork_is_acknowledged_and_hung_up() {
    let (_world, alice, bob) = two_phones();
    let (sent, invite) = offered(&alice, &bob);
    let one = bob.sends(response(&invite, 200).tagged("one").with_sdp(ANSWER));
    let answer = alice.receives("200");
    alice.acks(&sent, &answer);
    assert_eq!(bob.receives("ACK").tag_of_to(), "one");
    bob.sends(response(&invite, 200).tagged("two").with_sdp(ANSWER));
    // S-07
    assert_eq!(bob.receives("ACK").tag_of_to(), "two");
    let bye = bob.receives("BYE");
    assert_eq!(bye.tag_of_to(), "two");
    bob.answers(&bye, 200);
    alice.receives_nothing();
    hang_up(&bob, &Dialog::of_callee(&invite, &one), &alice);
}

#[test]
fn the_answer_of_a_second_fork_is_acknowledged_each_time_it_comes() {
    let (_world, alice, bob) = two_phones();
    let (sent, invite) = offered(&alice, &bob);
    let one = bob.sends(response(&invite, 200).tagged("one").with_sdp(ANSWER));
    let answer = alice.receives("200");
    alice.acks(&sent, &answer);
    bob.receives("ACK");
    let two = bob.sends(response(&invite, 200).tagged("two").with_sdp(ANSWER));
    bob.receives("ACK");
    let bye = bob.receives("BYE");
    bob.sends_again(&two);
    // S-42
    assert_eq!(bob.receives("ACK").tag_of_to(), "two");
    bob.answers(&bye, 200);
    hang_up(&bob, &Dialog::of_callee(&invite, &one), &alice);
}

#[test]
fn a_fork_that_still_rings_after_the_answer_is_not_heard() {
    let (_world, alice, bob) = two_phones();
    let (sent, invite) = offered(&alice, &bob);
    let one = bob.sends(response(&invite, 200).tagged("one").with_sdp(ANSWER));
    let answer = alice.receives("200");
    bob.sends(response(&invite, 180).tagged("two"));
    alice.receives_nothing();
    alice.acks(&sent, &answer);
    bob.receives("ACK");
    hang_up(&bob, &Dialog::of_callee(&invite, &one), &alice);
}

/// Found by simulation: after a call that was taken back, the second fork's answer was not heard, and
/// that phone repeated it for 32 s.
#[test]
fn the_answer_of_a_second_fork_after_the_end_of_the_call_is_hung_up() {
    let (_world, alice, bob) = two_phones();
    let (sent, invite) = offered(&alice, &bob);
    bob.sends(response(&invite, 200).tagged("one").with_sdp(ANSWER));
    let answer = alice.receives("200");
    alice.acks(&sent, &answer);
    bob.receives("ACK");
    hang_up(&alice, &Dialog::of_caller(&sent, &answer), &bob);
    bob.sends(response(&invite, 200).tagged("two").with_sdp(ANSWER));
    // S-07
    assert_eq!(bob.receives("ACK").tag_of_to(), "two");
    let bye = bob.receives("BYE");
    assert_eq!(bye.tag_of_to(), "two");
    bob.answers(&bye, 200);
    alice.receives_nothing();
}

/// One of Bob's phones was moved and left its registration behind: for half a minute after each call
/// he was busy.
#[test]
fn a_phone_that_is_not_there_keeps_nobody_busy() {
    let (world, alice, desk, cell) = bob_with_two_phones();
    let carol = world.phone("carol");
    let sent = alice.sends(invite("bob").with_sdp(OFFER));
    let at_cell = cell.receives("INVITE");
    let answer = cell.takes_call(&at_cell, &alice, &sent);
    world.advance(Duration::from_secs(2));
    hang_up(&alice, &Dialog::of_caller(&sent, &answer), &cell);
    let sent = carol.sends(invite("bob").with_sdp(OFFER));
    let at_cell = cell.receives("INVITE");
    cell.answers(&at_cell, 180);
    carol.receives("180");
    // It is heard of at last: what it says is of no call.
    let [first, ..] = &*desk.receives_copies("INVITE") else {
        panic!("an INVITE to the desk");
    };
    desk.sends(response(first, 200).with_sdp(ANSWER));
    let [_ack, bye] = desk.receives_each(["ACK", "BYE"]);
    desk.answers(&bye, 200);
    carol.gives_up(&sent);
    gives_in(&cell, &at_cell);
    world.advance(Duration::from_secs(40));
    desk.receives_copies("INVITE");
}
