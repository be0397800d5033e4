//! Calls that go well: set up, spoken, cleared.
//!
//! Spec: RFC 3261 §12, §13, §15; RFC 6026 §7.

use std::time::Duration;

use super::kit::dialog::Dialog;
use super::kit::draft::{ANSWER, OFFER, invite, response};
use super::kit::message::{param, uri_of};
use super::kit::scenes::{call, gives_in, hang_up, offered, refused, ringing, two_phones};
use super::kit::subject::DOMAIN;

#[test]
fn a_call_rings_is_answered_and_ends() {
    let (world, alice, bob) = two_phones();
    let before = world.messages_sent();

    let sent = alice.sends(invite("bob").with_sdp(OFFER));
    alice.receives("100"); // S-06
    let invite = bob.receives("INVITE");
    assert_eq!(invite.sdp(), OFFER);
    bob.answers(&invite, 180);
    let rings = alice.receives("180");
    let answered = bob.sends(response(&invite, 200).with_sdp(ANSWER));
    let answer = alice.receives("200");
    assert_eq!(answer.sdp(), ANSWER);
    // S-12
    assert_eq!(rings.tag_of_to(), answer.tag_of_to());
    alice.acks(&sent, &answer);
    let ack = bob.receives("ACK");
    // S-04
    assert_eq!(ack.cseq(), invite.cseq());
    assert_ne!(ack.branch(), invite.branch());
    hang_up(&alice, &Dialog::of_caller(&sent, &answer), &bob);

    assert_eq!(uri_of(answered.header("Contact")), bob.uri());
    // To Alice 100, 180, 200 and 200; to Bob INVITE, ACK and BYE.
    assert_eq!(world.messages_sent() - before, 7);
}

#[test]
fn the_callee_may_hang_up() {
    let (_world, alice, bob) = two_phones();
    let call = call(&alice, &bob);
    hang_up(&bob, &call.callee, &alice);
}

#[test]
fn the_legs_have_ids_and_contacts_of_their_own() {
    let (_world, alice, bob) = two_phones();
    let call = call(&alice, &bob);
    // S-37
    assert_ne!(call.invite.call_id(), call.sent.call_id());
    assert_ne!(call.invite.tag_of_from(), call.sent.tag_of_from());
    assert_ne!(call.invite.branch(), call.sent.branch());
    assert_ne!(call.answer.tag_of_to(), call.answered.tag_of_to());
    assert!(call.invite.contact().contains(DOMAIN));
    assert!(call.answer.contact().contains(DOMAIN));
    assert!(!call.invite.to_string().contains(&alice.address()));
    hang_up(&alice, &call.caller, &bob);
}

#[test]
fn each_leg_counts_its_own_cseq() {
    let (_world, alice, bob) = two_phones();
    let call = call(&alice, &bob);
    alice.hangs_up(&call.caller);
    let bye = bob.receives("BYE");
    // S-14
    assert_eq!(bye.cseq(), call.invite.cseq() + 1);
    bob.answers(&bye, 200);
    alice.receives("200");
}

#[test]
fn a_bye_is_sent_to_the_contact_that_answered() {
    let (_world, alice, bob) = two_phones();
    let call = call(&alice, &bob);
    alice.hangs_up(&call.caller);
    let bye = bob.receives("BYE");
    // S-13
    assert_eq!(bye.uri(), bob.uri());
    assert_eq!(bye.call_id(), call.invite.call_id());
    assert_eq!(bye.tag_of_to(), call.answered.tag_of_to());
    bob.answers(&bye, 200);
    alice.receives("200");
}

#[test]
fn an_offer_in_the_answer_is_answered_in_the_ack() {
    let (_world, alice, bob) = two_phones();
    let sent = alice.sends(invite("bob"));
    let invite = bob.receives("INVITE");
    assert!(invite.body().is_empty());
    let answered = bob.sends(response(&invite, 200).with_sdp(OFFER));
    let answer = alice.receives("200");
    assert_eq!(answer.sdp(), OFFER);
    bob.receives_nothing();
    let ack = super::kit::draft::ack(&sent, &answer).with_sdp(ANSWER);
    alice.sends(ack);
    let ack = bob.receives("ACK");
    // S-04, S-71
    assert_eq!(ack.sdp(), ANSWER);
    assert_eq!(ack.header("Content-Type"), "application/sdp");
    hang_up(&bob, &Dialog::of_callee(&invite, &answered), &alice);
}

#[test]
fn early_media_reaches_the_caller() {
    let (_world, alice, bob) = two_phones();
    let (sent, invite) = offered(&alice, &bob);
    bob.sends(response(&invite, 183).with_sdp(ANSWER));
    let progress = alice.receives("183");
    assert_eq!(progress.sdp(), ANSWER);
    bob.sends(response(&invite, 200).with_sdp(ANSWER));
    let answer = alice.receives("200");
    // S-12
    assert_eq!(answer.tag_of_to(), progress.tag_of_to());
    alice.acks(&sent, &answer);
    bob.receives("ACK");
    hang_up(&alice, &Dialog::of_caller(&sent, &answer), &bob);
}

#[test]
fn what_campon_does_not_know_crosses_untouched() {
    let (_world, alice, bob) = two_phones();
    let sent = alice.sends(
        invite("bob")
            .with("Subject", "lunch, or later")
            .with("X-Unknown", "  ;;,,;;,;  \"<")
            .with_body(
                "multipart/mixed;boundary=x",
                b"--x\r\n\r\n\0\x01\xff\n--x--",
            ),
    );
    let invite = bob.receives("INVITE");
    // S-33
    assert_eq!(invite.header("Subject"), "lunch, or later");
    assert_eq!(invite.header("X-Unknown"), ";;,,;;,;  \"<");
    assert_eq!(invite.header("Content-Type"), "multipart/mixed;boundary=x");
    assert_eq!(invite.body(), sent.body());
    bob.sends(response(&invite, 486).with("X-Why", "on the phone"));
    let busy = alice.receives("486");
    assert_eq!(busy.header("X-Why"), "on the phone");
    alice.acks(&sent, &busy);
    bob.receives("ACK");
}

#[test]
fn compact_and_folded_headers_are_understood() {
    let (_world, alice, bob) = two_phones();
    let sent = alice.sends(
        invite("bob")
            .without("From")
            .with("f", "<sip:alice@192.0.2.1>;tag=compact")
            .with("i", "compact-form@192.0.2.10")
            .with("m", "<sip:alice@192.0.2.10:5060>")
            .with("s", "lunch,\r\n or later")
            .with("sUPPORTED", "timer")
            .with("c", "application/sdp"),
    );
    // S-33
    let invite = bob.receives("INVITE");
    assert_eq!(invite.header("Subject"), "lunch, or later");
    bob.answers(&invite, 486);
    let busy = alice.receives("486");
    assert_eq!(busy.call_id(), "compact-form@192.0.2.10");
    assert_eq!(busy.tag_of_from(), "compact");
    let ack = super::kit::draft::ack(&sent, &busy)
        .with("From", busy.header("From"))
        .with("Call-ID", busy.call_id());
    alice.sends(ack);
    bob.receives("ACK");
}

#[test]
fn caller_and_callee_see_who_is_calling_whom() {
    let (_world, alice, bob) = two_phones();
    let from = "\"Alice \\\"A\\\" Example\" <sip:alice@192.0.2.1>;tag=shown";
    let sent = alice.sends(invite("bob").with("From", from));
    let invite = bob.receives("INVITE");
    let shown = invite.header("From");
    assert!(shown.starts_with("\"Alice \\\"A\\\" Example\" <sip:alice@"));
    // S-37
    assert_ne!(param(shown, "tag"), Some("shown"));
    assert!(uri_of(invite.header("To")).starts_with("sip:bob@"));
    assert_eq!(invite.uri(), bob.uri());
    bob.answers(&invite, 486);
    let busy = alice.receives("486");
    assert_eq!(busy.header("From"), from);
    alice.acks(&sent, &busy);
    bob.receives("ACK");
}

#[test]
fn a_long_call_is_left_alone() {
    let (world, alice, bob) = two_phones();
    let call = call(&alice, &bob);
    world.advance(Duration::from_mins(20));
    world.quiet();
    hang_up(&alice, &call.caller, &bob);
}

#[test]
fn two_calls_between_the_same_two_do_not_mix() {
    let (_world, alice, bob) = two_phones();
    let first = call(&alice, &bob);
    hang_up(&alice, &first.caller, &bob);
    let second = ringing(&alice, &bob);
    // S-13
    assert_ne!(second.invite.call_id(), first.invite.call_id());
    assert_ne!(second.rings.tag_of_to(), first.answer.tag_of_to());
    bob.refuses(&second.invite, 486);
    refused(&alice, &second.sent, "486");
}

#[test]
fn a_refusal_bears_the_tag_of_the_ringing_before_it() {
    let (_world, alice, bob) = two_phones();
    let scene = ringing(&alice, &bob);
    bob.refuses(&scene.invite, 603);
    let refusal = refused(&alice, &scene.sent, "603");
    // S-12
    assert_eq!(refusal.tag_of_to(), scene.rings.tag_of_to());
}

#[test]
fn the_end_of_a_call_that_was_taken_back_bears_the_tag_of_its_ringing() {
    let (_world, alice, bob) = two_phones();
    let scene = ringing(&alice, &bob);
    alice.cancels(&scene.sent);
    alice.receives("200");
    gives_in(&bob, &scene.invite);
    let refusal = refused(&alice, &scene.sent, "487");
    // S-12
    assert_eq!(refusal.tag_of_to(), scene.rings.tag_of_to());
}

#[test]
fn each_100_is_of_one_hop() {
    let (_world, alice, bob) = two_phones();
    let (sent, invite) = offered(&alice, &bob);
    alice.receives("100");
    bob.answers(&invite, 100);
    assert_eq!(alice.waiting_with_100s(), 0);
    bob.refuses(&invite, 486);
    refused(&alice, &sent, "486");
}
