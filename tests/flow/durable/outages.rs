//! A store that fails, and one that is slow: nothing new is taken, all else goes on.

use std::time::Duration;

use crate::flow::kit::completion::{
    BobIsBusy, CANCEL_ALL, GUARD, MOMENT, REQUEST_LAST, connects, dials, dials_in_vain, finds_busy,
    leaves, offered_uri, picks_up, recalled, subscribe, subscribes, talks_after_recall, told,
};
use crate::flow::kit::draft::{OFFER, invite};
use crate::flow::kit::scenes::{call, hang_up, refused};
use crate::flow::kit::subject::Setup;
use crate::flow::kit::vault::Mood;

use super::{bob_is_seen, restarts};

#[test]
fn while_nothing_is_kept_new_requests_are_refused_and_calls_go_on() {
    let scene = BobIsBusy::with(Setup::Kept);
    let (world, [alice, bob, carol]) = scene.parts();
    world.store_is(Mood::Down);
    dials_in_vain(alice, REQUEST_LAST, "503");
    alice.sends(subscribe(alice, offered_uri(&scene.busy)));
    alice.receives("503");
    scene.bob_hangs_up();
    let talk = call(carol, bob);
    // R6: nothing is offered that would be refused.
    let busy = finds_busy(alice);
    assert_eq!(busy.find("Call-Info"), None);
    hang_up(carol, &talk.caller, bob);
    world.store_is(Mood::Well);
    let talk = call(carol, bob);
    finds_busy(alice);
    dials(alice, REQUEST_LAST);
    world.advance(Duration::from_secs(1));
    hang_up(carol, &talk.caller, bob);
    world.advance(GUARD);
    talks_after_recall(alice, bob);
    assert_eq!(world.completions_kept(), 0);
}

#[test]
fn a_recall_that_rings_is_carried_through_while_nothing_is_kept() {
    let scene = BobIsBusy::with(Setup::Kept);
    let (world, [alice, bob, _]) = scene.parts();
    dials(alice, REQUEST_LAST);
    scene.bob_is_free();
    let recall = recalled(alice);
    world.store_is(Mood::Down);
    picks_up(alice, &recall);
    let cc_call = bob.receives("INVITE");
    let (dialog, _) = connects(alice, bob, &cc_call);
    hang_up(alice, &dialog, bob);
    assert_eq!(world.completions_kept(), 1);
    world.store_is(Mood::Well);
    assert_eq!(world.completions_kept(), 0);
}

#[test]
fn nobody_is_selected_while_nothing_is_kept_and_then_he_is() {
    let scene = BobIsBusy::with(Setup::Kept);
    let (world, [alice, bob, _]) = scene.parts();
    dials(alice, REQUEST_LAST);
    world.store_is(Mood::Down);
    scene.bob_is_free();
    world.advance(Duration::from_secs(30));
    world.quiet();
    world.store_is(Mood::Well);
    world.advance(MOMENT);
    talks_after_recall(alice, bob);
}

/// The failure hits what is just being written: who was not told yet is refused.
#[test]
fn a_request_that_the_store_failed_on_is_refused_and_leaves_nothing() {
    let scene = BobIsBusy::with(Setup::Kept);
    let (world, [alice, _, _]) = scene.parts();
    world.store_is(Mood::Slow);
    let code = alice.sends(invite(REQUEST_LAST).with_sdp(OFFER));
    world.store_is(Mood::Down);
    refused(alice, &code, "503");
    world.store_is(Mood::Well);
    assert_eq!(world.completions_kept(), 0);
    scene.bob_is_free();
    world.stays_quiet();
}

/// The request has ended, and its caller knows that a restart might bring it back.
#[test]
fn who_takes_his_request_back_meanwhile_is_told_503_and_is_not_rung() {
    let scene = BobIsBusy::with(Setup::Kept);
    let (world, [alice, _, _]) = scene.parts();
    dials(alice, REQUEST_LAST);
    world.store_is(Mood::Down);
    dials_in_vain(alice, CANCEL_ALL, "503");
    world.store_is(Mood::Well);
    assert_eq!(world.completions_kept(), 0);
    scene.bob_is_free();
    world.stays_quiet();
}

#[test]
fn what_changed_while_nothing_was_kept_is_kept_afterwards() {
    let scene = BobIsBusy::with(Setup::Kept);
    let (world, [alice, bob, _]) = scene.parts();
    dials(alice, REQUEST_LAST);
    world.store_is(Mood::Down);
    world.advance(Duration::from_mins(1));
    world.store_is(Mood::Well);
    restarts(&scene);
    bob_is_seen(&scene);
    talks_after_recall(alice, bob);
}

#[test]
fn a_store_that_does_not_answer_refuses_after_a_while_and_forgets_what_it_did_not_say() {
    let scene = BobIsBusy::with(Setup::Kept);
    let (world, [alice, _, _]) = scene.parts();
    world.store_is(Mood::Slow);
    let code = alice.sends(invite(REQUEST_LAST).with_sdp(OFFER));
    world.advance(Duration::from_secs(4));
    refused(alice, &code, "503");
    world.store_is(Mood::Well);
    assert_eq!(world.completions_kept(), 0);
    scene.bob_is_free();
    world.stays_quiet();
}

/// She had hung up before the store had the text, and heard 487: Bob was sent it all the same.
#[test]
fn a_text_whose_code_is_taken_back_before_it_is_kept_is_not_sent() {
    let scene = BobIsBusy::with(Setup::KeptTexts);
    let (world, [alice, _, _]) = scene.parts();
    world.store_is(Mood::Slow);
    let code = alice.sends(invite("*39*0%23").with_sdp(OFFER));
    world.advance(Duration::from_secs(1));
    alice.cancels(&code);
    assert_eq!(alice.receives("200").cseq_method(), "CANCEL");
    refused(alice, &code, "487");
    world.store_is(Mood::Well);
    world.stays_quiet();
    assert_eq!(world.completions_kept(), 0);
    scene.bob_hangs_up();
}

#[test]
fn a_store_that_is_slow_delays_a_recall_and_no_call() {
    let scene = BobIsBusy::with(Setup::Kept);
    let (world, [alice, bob, carol]) = scene.parts();
    dials(alice, REQUEST_LAST);
    world.store_is(Mood::Slow);
    scene.bob_is_free();
    world.quiet();
    let talk = call(carol, bob);
    hang_up(carol, &talk.caller, bob);
    world.store_is(Mood::Well);
    world.quiet();
    world.advance(GUARD);
    talks_after_recall(alice, bob);
}

/// Alice picks up, and Carol reaches Bob before the store knows of Alice's CC call: it would find him
/// busy. To hang up on her nothing need be kept.
#[test]
fn a_cc_call_that_is_not_kept_yet_does_not_ring_a_callee_who_is_taken_meanwhile() {
    let scene = BobIsBusy::with(Setup::Kept);
    let (world, [alice, bob, carol]) = scene.parts();
    dials(alice, REQUEST_LAST);
    scene.bob_is_free();
    let recall = recalled(alice);
    world.store_is(Mood::Slow);
    picks_up(alice, &recall);
    bob.receives_nothing();
    let talk = call(carol, bob);
    alice.is_hung_up_on();
    world.advance(MOMENT);
    world.store_is(Mood::Well);
    bob.receives_nothing();
    hang_up(carol, &talk.caller, bob);
    world.advance(GUARD);
    talks_after_recall(alice, bob);
    assert_eq!(world.completions_kept(), 0);
}

/// A subscriber hears of his turn only when that is kept.
#[test]
fn a_turn_is_told_when_it_is_kept() {
    let scene = BobIsBusy::with(Setup::Kept);
    let (world, [alice, _, _]) = scene.parts();
    let waiting = subscribes(alice, &scene.busy);
    world.store_is(Mood::Slow);
    scene.bob_is_free();
    world.quiet();
    world.store_is(Mood::Well);
    told(alice, "ready");
    leaves(alice, &waiting.dialog);
}
