//! Texts left by code: delivered by MESSAGE, shown by the lamp, withdrawn.
//!
//! Spec: RFC 3428 §4, §5, §8; RFC 3842 §3, §5; RULES R20, R23.

use std::time::Duration;

use crate::flow::kit::completion::{
    BobIsBusy, CANCEL_LAST, MOMENT, dials, dials_in_vain, finds_busy, is_confirmed,
};
use crate::flow::kit::dialog::Dialog;
use crate::flow::kit::draft::{Draft, OFFER, invite, request, within};
use crate::flow::kit::message::{Message, uri_of};
use crate::flow::kit::party::Party;
use crate::flow::kit::subject::Setup;

/// Leaves the first text, and the second.
const CALL_BACK: &str = "*39*0%23";
const URGENT: &str = "*39*1%23";
/// How long after a text was not taken it is sent again.
const RETRY: Duration = Duration::from_mins(1);

/// A code is confirmed while the text is on its way to Bob.
#[track_caller]
fn leaves(caller: &Party, code: &str, bob: &Party) -> Message {
    let sent = caller.sends(invite(code).with_sdp(OFFER));
    is_confirmed(caller, &sent);
    bob.receives("MESSAGE")
}

/// What a summary says waits.
#[track_caller]
fn shows(notify: &Message, waiting: &str, count: &str) {
    assert_eq!(notify.header("Event"), "message-summary");
    let media_type = notify.header("Content-Type");
    assert_eq!(media_type, "application/simple-message-summary");
    let expected = format!(
        "Messages-Waiting: {waiting}\r\nMessage-Account: sip:bob@192.0.2.1\r\nText-Message: {count}\r\n"
    );
    assert_eq!(notify.sdp(), expected);
}

fn lamp(bob: &Party) -> Draft {
    request("SUBSCRIBE", "sip:bob@192.0.2.1")
        .with("Event", "message-summary")
        .with("Accept", "application/simple-message-summary")
        .with("Expires", "600")
        .with("Contact", &format!("<{}>", bob.uri()))
}

/// Bob's phone asks for its lamp, and hears how it is.
#[track_caller]
fn asks_for_lamp(bob: &Party, waiting: &str, count: &str) -> Dialog {
    let sent = bob.sends(lamp(bob));
    let granted = bob.receives("200");
    assert_eq!(granted.header("Expires"), "600");
    let notify = bob.receives("NOTIFY");
    shows(&notify, waiting, count);
    bob.answers(&notify, 200);
    Dialog::of_caller(&sent, &granted)
}

#[test]
fn a_text_reaches_a_callee_who_speaks_with_somebody() {
    let scene = BobIsBusy::with(Setup::Texts);
    let text = leaves(&scene.alice, CALL_BACK, &scene.bob);
    assert_eq!(text.sdp(), "alice: please call back");
    assert_eq!(text.header("Content-Type"), "text/plain;charset=UTF-8");
    assert_eq!(uri_of(text.header("From")), "sip:alice@192.0.2.1");
    assert!(text.header("To").contains("sip:bob@192.0.2.1"), "{text}");
    assert_eq!(text.uri(), scene.bob.uri());
    assert!(!text.has("Contact"), "{text}");
    assert_eq!(text.header("Date"), "Sun, 09 Sep 2001 02:03:21 GMT");
    assert_eq!(text.header("Expires"), "604800");
    scene.bob.answers(&text, 200);
    dials_in_vain(&scene.alice, CANCEL_LAST, "404");
    scene.bob_hangs_up();
}

/// RFC 3428 §8: one at a time.
#[test]
fn the_second_text_waits_for_the_answer_to_the_first() {
    let scene = BobIsBusy::with(Setup::Texts);
    let first = leaves(&scene.alice, CALL_BACK, &scene.bob);
    dials(&scene.alice, URGENT);
    scene.bob.receives_nothing();
    scene.bob.answers(&first, 200);
    let second = scene.bob.receives("MESSAGE");
    assert_eq!(second.sdp(), "alice: it is urgent");
    scene.bob.answers(&second, 200);
    scene.bob_hangs_up();
}

#[test]
fn every_phone_of_the_callee_is_sent_the_text_one_after_the_other() {
    let scene = BobIsBusy::with(Setup::Texts);
    let cell = scene.world.party("cell");
    cell.registers_as("bob");
    let sent = scene.alice.sends(invite(CALL_BACK).with_sdp(OFFER));
    is_confirmed(&scene.alice, &sent);
    let (first, second) = if scene.bob.waiting() > 0 {
        (&scene.bob, &cell)
    } else {
        (&cell, &scene.bob)
    };
    let text = first.receives("MESSAGE");
    second.receives_nothing();
    first.answers(&text, 405);
    let text = second.receives("MESSAGE");
    second.answers(&text, 200);
    dials_in_vain(&scene.alice, CANCEL_LAST, "404");
    scene.bob_hangs_up();
}

#[test]
fn a_text_that_is_not_taken_lights_the_lamp_until_it_is() {
    let scene = BobIsBusy::with(Setup::Texts);
    let (world, [alice, bob, _]) = scene.parts();
    let lamp = asks_for_lamp(bob, "no", "0/0");
    world.advance(Duration::from_secs(2));
    let text = leaves(alice, CALL_BACK, bob);
    bob.answers(&text, 480);
    let lit = bob.receives("NOTIFY");
    shows(&lit, "yes", "1/0");
    assert!(
        lit.header("Subscription-State").starts_with("active"),
        "{lit}"
    );
    bob.answers(&lit, 200);
    world.advance(RETRY);
    let again = bob.receives("MESSAGE");
    assert_eq!(again.sdp(), text.sdp());
    bob.answers(&again, 200);
    let out = bob.receives("NOTIFY");
    shows(&out, "no", "0/0");
    bob.answers(&out, 200);
    ends_lamp(bob, &lamp);
    scene.bob_hangs_up();
}

/// The phone asks no more.
#[track_caller]
fn ends_lamp(bob: &Party, lamp: &Dialog) {
    bob.sends(
        within(lamp, "SUBSCRIBE")
            .with("Event", "message-summary")
            .with("Expires", "0")
            .with("Contact", &format!("<{}>", bob.uri())),
    );
    bob.receives("200");
    let last = bob.receives("NOTIFY");
    let state = last.header("Subscription-State");
    assert_eq!(state, "terminated;reason=timeout");
    bob.answers(&last, 200);
}

/// RFC 3842 §3.11: once a second at most.
#[test]
fn a_lamp_is_told_once_a_second_at_most() {
    let scene = BobIsBusy::with(Setup::Texts);
    let (world, [alice, bob, _]) = scene.parts();
    let text = leaves(alice, CALL_BACK, bob);
    bob.answers(&text, 480);
    let lamp = asks_for_lamp(bob, "yes", "1/0");
    dials(alice, CANCEL_LAST);
    bob.receives_nothing();
    let out = bob.receives_within(Duration::from_secs(1), "NOTIFY");
    shows(&out, "no", "0/0");
    bob.answers(&out, 200);
    world.advance(MOMENT);
    ends_lamp(bob, &lamp);
    scene.bob_hangs_up();
}

#[test]
fn a_lamp_that_is_not_asked_for_again_goes_out() {
    let scene = BobIsBusy::with(Setup::Texts);
    let bob = &scene.bob;
    asks_for_lamp(bob, "no", "0/0");
    let last = bob.receives_within(Duration::from_mins(10), "NOTIFY");
    let state = last.header("Subscription-State");
    assert_eq!(state, "terminated;reason=timeout");
    bob.answers(&last, 200);
    scene.bob_hangs_up();
}

#[test]
fn nobody_is_told_of_anothers_lamp_and_none_for_a_moment() {
    let scene = BobIsBusy::with(Setup::Texts);
    let [alice, bob, _] = scene.phones();
    alice.sends(lamp(alice));
    alice.receives("489");
    bob.sends(lamp(bob).with_only("Expires", "59"));
    let brief = bob.receives("423");
    assert_eq!(brief.header("Min-Expires"), "60");
    bob.sends(lamp(bob).with_only("Accept", "application/pidf+xml"));
    bob.receives("406");
    scene.bob_hangs_up();
}

#[test]
fn a_text_that_was_taken_back_is_not_sent_again() {
    let scene = BobIsBusy::with(Setup::Texts);
    let (world, [alice, bob, _]) = scene.parts();
    let text = leaves(alice, CALL_BACK, bob);
    bob.answers(&text, 503);
    dials(alice, CANCEL_LAST);
    world.advance(RETRY * 60);
    world.quiet();
    scene.bob_hangs_up();
}

#[test]
fn a_number_without_a_text_is_refused() {
    let scene = BobIsBusy::with(Setup::Texts);
    dials_in_vain(&scene.alice, "*39*2%23", "404");
    scene.bob_hangs_up();
}

/// Who has withheld his number cannot be named in what he leaves.
#[test]
fn who_withholds_his_number_leaves_no_text() {
    let scene = BobIsBusy::with(Setup::Texts);
    let alice = &scene.alice;
    let sent = alice.sends(invite("bob").with_sdp(OFFER).with("Privacy", "id"));
    crate::flow::kit::scenes::refused(alice, &sent, "486");
    dials_in_vain(alice, CALL_BACK, "403");
    scene.bob_hangs_up();
}

#[test]
fn a_text_outlives_the_process_and_comes_when_its_callee_registers() {
    let scene = BobIsBusy::with(Setup::KeptTexts);
    let (world, [alice, bob, _]) = scene.parts();
    let text = leaves(alice, CALL_BACK, bob);
    bob.answers(&text, 480);
    assert_eq!(world.completions_kept(), 1);
    world.restarts();
    assert_eq!(world.completions_kept(), 1);
    world.advance(RETRY);
    world.quiet();
    bob.registers();
    let text = bob.receives("MESSAGE");
    assert_eq!(text.sdp(), "alice: please call back");
    bob.answers(&text, 200);
    assert_eq!(world.completions_kept(), 0);
}

/// A restart kept the last request of each pair alone, and the first of two texts was lost.
#[test]
fn two_texts_of_one_caller_outlive_the_process() {
    let scene = BobIsBusy::with(Setup::KeptTexts);
    let BobIsBusy {
        world, alice, bob, ..
    } = &scene;
    let text = leaves(alice, CALL_BACK, bob);
    bob.answers(&text, 480);
    finds_busy(alice);
    dials(alice, URGENT);
    assert_eq!(world.completions_kept(), 2);
    world.restarts();
    assert_eq!(world.completions_kept(), 2);
    bob.registers();
    let first = bob.receives("MESSAGE");
    assert_eq!(first.sdp(), "alice: please call back");
    bob.answers(&first, 200);
    let second = bob.receives("MESSAGE");
    assert_ne!(second.sdp(), first.sdp());
    bob.answers(&second, 200);
    assert_eq!(world.completions_kept(), 0);
}
