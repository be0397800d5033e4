//! Somebody who is not in the call tries to end or change it.
//!
//! Spec: RFC 3261 §9.2, §12.2.2, §26.1.2, §26.1.4; RFC 6026 §6.

use super::kit::dialog::Dialog;
use std::time::Duration;

use super::kit::draft::{ANSWER, OFFER, cancel, invite, options, request, response, within};
use super::kit::message::uri_of;
use super::kit::scenes::{call, hang_up, refused, ringing, two_phones};
use super::kit::subject::DOMAIN;

#[test]
fn a_bye_with_guessed_tags_does_not_end_the_call() {
    let (world, alice, bob) = two_phones();
    let mallory = world.party("mallory");
    let call = call(&alice, &bob);
    for dialog in [&call.caller, &call.callee] {
        let guessed_own = format!("{}x", dialog.local);
        mallory.sends(within(dialog, "BYE").with_only("From", &guessed_own));
        // S-15
        mallory.receives("481");
        let guessed_other = format!("{}x", dialog.remote);
        mallory.sends(within(dialog, "BYE").with_only("To", &guessed_other));
        mallory.receives("481");
        mallory.sends(within(dialog, "BYE").with_only("Call-ID", "guess@192.0.2.1"));
        mallory.receives("481");
    }
    world.quiet();
    hang_up(&alice, &call.caller, &bob);
}

#[test]
fn a_bye_with_the_tags_of_the_other_leg_does_not_end_the_call() {
    let (world, alice, bob) = two_phones();
    let mallory = world.party("mallory");
    let call = call(&alice, &bob);
    let mixed = within(&call.caller, "BYE")
        .with_only("From", &call.callee.local)
        .with_only("To", &call.callee.remote);
    mallory.sends(mixed);
    // S-13
    mallory.receives("481");
    world.quiet();
    hang_up(&alice, &call.caller, &bob);
}

#[test]
fn a_change_with_guessed_tags_does_not_reach_the_call() {
    let (world, alice, bob) = two_phones();
    let mallory = world.party("mallory");
    let call = call(&alice, &bob);
    let guessed = format!("{}x", call.caller.local);
    let draft = within(&call.caller, "INVITE").with_only("From", &guessed);
    let sent = mallory.sends(draft.with_sdp(OFFER));
    // S-15
    refused(&mallory, &sent, "481");
    world.quiet();
    hang_up(&alice, &call.caller, &bob);
}

#[test]
fn a_cancel_with_a_guessed_branch_does_not_end_the_call() {
    let (world, alice, bob) = two_phones();
    let mallory = world.party("mallory");
    let scene = ringing(&alice, &bob);
    for branch in ["z9hG4bK-alice-1", "z9hG4bK-guess"] {
        let via = format!("SIP/2.0/UDP {};branch={branch};rport", mallory.address());
        mallory.sends(cancel(&scene.sent).with_only("Via", &via));
        // S-09
        mallory.receives("481");
    }
    world.quiet();
    bob.sends(response(&scene.invite, 200).with_sdp(ANSWER));
    let answer = alice.receives("200");
    alice.acks(&scene.sent, &answer);
    bob.receives("ACK");
    hang_up(&alice, &Dialog::of_caller(&scene.sent, &answer), &bob);
}

#[test]
fn a_cancel_that_was_overheard_does_not_end_the_call() {
    let (world, alice, bob) = two_phones();
    let mallory = world.party("mallory");
    let scene = ringing(&alice, &bob);
    // Her copy differs from Alice's own CANCEL in nothing but where it comes from.
    mallory.sends(cancel(&scene.sent));
    // S-09
    mallory.receives("481");
    world.quiet();
    bob.refuses(&scene.invite, 486);
    refused(&alice, &scene.sent, "486");
}

#[test]
fn a_forged_response_with_a_guessed_branch_is_dropped() {
    let (world, alice, bob) = two_phones();
    let mallory = world.party("mallory");
    let scene = ringing(&alice, &bob);
    for status in [183, 200, 302, 486, 603] {
        let via = format!("SIP/2.0/UDP {DOMAIN}:5060;branch=z9hG4bK-guess");
        mallory.sends(response(&scene.invite, status).with_only("Via", &via));
    }
    // S-44
    world.quiet();
    bob.refuses(&scene.invite, 486);
    refused(&alice, &scene.sent, "486");
}

#[test]
fn an_ack_with_guessed_tags_does_not_stop_the_answer() {
    let (world, alice, bob) = two_phones();
    let mallory = world.party("mallory");
    let scene = ringing(&alice, &bob);
    bob.sends(response(&scene.invite, 200).with_sdp(ANSWER));
    let answer = alice.receives("200");
    let dialog = Dialog::of_caller(&scene.sent, &answer);
    let ack = super::kit::draft::in_dialog(&dialog, "ACK", scene.sent.cseq());
    mallory.sends(ack.with_only("From", "<sip:alice@192.0.2.1>;tag=guess"));
    mallory.receives_nothing();
    world.advance(Duration::from_millis(600));
    // S-05
    alice.receives("200");
    alice.acks(&scene.sent, &answer);
    bob.receives("ACK");
    hang_up(&alice, &dialog, &bob);
}

/// Whoever knew a port of Alice's could have had himself told when Bob was free.
#[test]
fn nobody_is_told_at_another_address_who_is_busy() {
    let (world, alice, bob) = two_phones();
    let carol = world.phone("carol");
    let mallory = world.party("mallory");
    let talk = call(&carol, &bob);
    let sent = alice.sends(invite("bob").with_sdp(OFFER));
    let busy = refused(&alice, &sent, "486");
    let subscribe = request("SUBSCRIBE", uri_of(busy.header("Call-Info")))
        .with("Event", "call-completion")
        .with("Contact", &format!("<{}>", mallory.uri()));
    let sent = alice.sends(subscribe);
    let accepted = alice.receives("200");
    let told = alice.receives("NOTIFY"); // R8
    alice.answers(&told, 200);
    mallory.receives_nothing();

    let dialog = Dialog::of_caller(&sent, &accepted);
    let ends = within(&dialog, "SUBSCRIBE").with("Event", "call-completion");
    alice.sends(ends.with("Expires", "0"));
    alice.receives("200");
    let told = alice.receives("NOTIFY");
    alice.answers(&told, 200);
    hang_up(&carol, &talk.caller, &bob);
}

#[test]
fn noise_is_dropped_and_the_next_request_is_answered() {
    let (world, alice, bob) = two_phones();
    let mallory = world.party("mallory");
    let call = call(&alice, &bob);
    for noise in [
        &b""[..],
        b"\r\n\r\n",
        b"\0",
        b"GET / HTTP/1.1\r\nHost: campon\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"SIP/2.0 200 OK\r\n\r\n",
        &[b'A'; 2000],
        &[0xff; 9],
    ] {
        mallory.sends_raw(noise);
    }
    world.quiet();
    mallory.sends(options());
    mallory.receives("200");
    hang_up(&alice, &call.caller, &bob);
}
