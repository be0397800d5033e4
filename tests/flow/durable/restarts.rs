//! Requests by code: kept before they are answered, in their place after a restart, ended once.

use std::time::Duration;

use crate::flow::kit::completion::{
    BobIsBusy, CANCEL_ALL, GUARD, MOMENT, REQUEST_LAST, connects, dials, dials_in_vain, finds_busy,
    is_confirmed, picks_up, recalled, talks_after_recall,
};
use crate::flow::kit::draft::{OFFER, invite, register};
use crate::flow::kit::scenes::{call, hang_up, refused};
use crate::flow::kit::subject::Setup;
use crate::flow::kit::vault::Mood;
use crate::flow::kit::world::World;

use super::{bob_is_seen, restarts};

#[test]
fn a_code_is_answered_when_what_it_asks_for_is_kept() {
    let scene = BobIsBusy::with(Setup::Kept);
    let (world, [alice, _, _]) = scene.parts();
    world.store_is(Mood::Slow);
    let code = alice.sends(invite(REQUEST_LAST).with_sdp(OFFER));
    world.advance(Duration::from_secs(3));
    world.quiet();
    assert_eq!(world.completions_kept(), 0);
    world.store_is(Mood::Well);
    is_confirmed(alice, &code);
    assert_eq!(world.completions_kept(), 1);
    dials(alice, CANCEL_ALL);
    assert_eq!(world.completions_kept(), 0);
    scene.bob_hangs_up();
}

#[test]
fn a_request_outlives_its_process_and_ends_once() {
    let scene = BobIsBusy::with(Setup::Kept);
    let (world, [alice, bob, _]) = scene.parts();
    dials(alice, REQUEST_LAST);
    restarts(&scene);
    world.advance(Duration::from_mins(1));
    world.quiet();
    bob_is_seen(&scene);
    talks_after_recall(alice, bob);
    assert_eq!(world.completions_kept(), 0);
    restarts(&scene);
    bob_is_seen(&scene);
    world.stays_quiet();
}

/// Right after the start nobody was registered yet, so that Bob was taken for somebody behind the
/// upstream, which does not tell of him: the request had ended before he came back.
#[test]
fn a_request_for_a_user_outlives_its_process_beside_an_upstream() {
    let world = World::new(Setup::KeptUpstream);
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| world.phone(name));
    let talk = call(&carol, &bob);
    let sent = alice.sends(invite("bob").with_sdp(OFFER));
    bob.refuses(&bob.receives("INVITE"), 486);
    refused(&alice, &sent, "486");
    world.advance(MOMENT);
    dials(&alice, REQUEST_LAST);
    hang_up(&carol, &talk.caller, &bob);
    world.restarts();
    assert_eq!(world.completions_kept(), 1);
    world.advance(Duration::from_secs(10));
    for phone in [&alice, &bob, &carol] {
        phone.registers();
    }
    assert_eq!(world.completions_kept(), 1);
    let talk = call(&carol, &bob);
    hang_up(&carol, &talk.caller, &bob);
    world.advance(GUARD);
    talks_after_recall(&alice, &bob);
    assert_eq!(world.completions_kept(), 0);
}

/// Its caller was never told that it was accepted.
#[test]
fn what_was_not_kept_yet_is_gone_with_its_process() {
    let scene = BobIsBusy::with(Setup::Kept);
    let (world, [alice, _, _]) = scene.parts();
    world.store_is(Mood::Slow);
    alice.sends(invite(REQUEST_LAST).with_sdp(OFFER));
    restarts(&scene);
    bob_is_seen(&scene);
    world.stays_quiet();
}

#[test]
fn who_waits_longest_is_first_after_a_restart_as_before() {
    let scene = BobIsBusy::with(Setup::Kept);
    let (world, [alice, bob, _]) = scene.parts();
    let others = ["dave", "erin", "fred"].map(|name| world.phone(name));
    let waiting: Vec<_> = others.iter().chain([alice]).collect();
    for caller in &waiting {
        finds_busy(caller);
        dials(caller, REQUEST_LAST);
        world.advance(Duration::from_secs(1));
    }
    for _ in 0..2 {
        restarts(&scene);
        for other in &others {
            other.registers();
        }
    }
    bob_is_seen(&scene);
    for caller in waiting {
        talks_after_recall(caller, bob);
        world.advance(GUARD);
    }
}

#[test]
fn a_request_grows_old_while_no_process_is_there() {
    let scene = BobIsBusy::with(Setup::Kept);
    let (world, [alice, _, _]) = scene.parts();
    dials(alice, REQUEST_LAST);
    world.advance(Duration::from_mins(58));
    restarts(&scene);
    world.advance(Duration::from_secs(118));
    assert_eq!(world.completions_kept(), 1);
    world.advance(Duration::from_secs(1));
    assert_eq!(world.completions_kept(), 0);
    dials_in_vain(alice, CANCEL_ALL, "404");
}

#[test]
fn a_request_whose_time_is_over_at_a_restart_has_ended() {
    let scene = BobIsBusy::with(Setup::Kept);
    let (world, [alice, _, _]) = scene.parts();
    world.store_is(Mood::Well);
    dials(alice, REQUEST_LAST);
    world.advance(Duration::from_mins(59));
    world.store_is(Mood::Slow);
    world.advance(Duration::from_mins(2));
    restarts(&scene);
    assert_eq!(world.completions_kept(), 0);
}

/// He was rung, and nobody knows how that ended: he waits, and for a new sign of Bob's.
#[test]
fn who_was_being_rung_is_not_rung_again_until_the_callee_is_seen() {
    let scene = BobIsBusy::with(Setup::Kept);
    let (world, [alice, bob, _]) = scene.parts();
    dials(alice, REQUEST_LAST);
    scene.bob_is_free();
    recalled(alice);
    restarts(&scene);
    world.advance(Duration::from_mins(4));
    world.quiet();
    bob_is_seen(&scene);
    talks_after_recall(alice, bob);
}

/// The process died while Bob talked, and his phone refreshes: he was taken for free, and Alice rung.
#[test]
fn a_refresh_after_a_restart_is_no_sign_of_a_callee_who_was_busy() {
    let scene = BobIsBusy::with(Setup::Kept);
    let (world, [alice, _, _]) = scene.parts();
    dials(alice, REQUEST_LAST);
    restarts_and_registers_later(&scene);
    world.advance(Duration::from_mins(1));
    // He talks on, and takes no other call: that one's end is not the end of his talk.
    bob_refuses_carol(&scene);
    world.advance(Duration::from_mins(1));
    world.quiet();
    bob_is_seen(&scene);
    talks_after_recall(alice, &scene.bob);
    assert_eq!(world.completions_kept(), 0);
}

#[test]
fn a_callee_who_only_refreshes_after_a_restart_is_tried_when_nobody_can_know_more() {
    let scene = BobIsBusy::with(Setup::Kept);
    let (world, [alice, bob, _]) = scene.parts();
    dials(alice, REQUEST_LAST);
    restarts_and_registers_later(&scene);
    world.advance(Duration::from_secs(289));
    world.quiet();
    world.advance(Duration::from_secs(1));
    talks_after_recall(alice, bob);
}

#[test]
fn a_refresh_does_not_ring_again_who_was_being_rung_at_the_end_of_a_process() {
    let scene = BobIsBusy::with(Setup::Kept);
    let (world, [alice, bob, _]) = scene.parts();
    dials(alice, REQUEST_LAST);
    scene.bob_is_free();
    recalled(alice);
    restarts_and_registers_later(&scene);
    world.advance(Duration::from_mins(2));
    world.quiet();
    bob_is_seen(&scene);
    talks_after_recall(alice, bob);
}

/// His phone was not there, so that it comes with no talk of before.
#[test]
fn who_was_not_registered_is_free_when_he_comes_after_a_restart() {
    let scene = BobIsBusy::with(Setup::Kept);
    let (world, [alice, bob, _]) = scene.parts();
    scene.bob_hangs_up();
    bob.sends(register("bob").with_only("Expires", "0"));
    bob.receives("200");
    let sent = alice.sends(invite("bob").with_sdp(OFFER));
    refused(alice, &sent, "480");
    world.advance(MOMENT);
    dials(alice, REQUEST_LAST);
    restarts_and_registers_later(&scene);
    world.advance(GUARD);
    talks_after_recall(alice, bob);
    assert_eq!(world.completions_kept(), 0);
}

/// The phones register some time after the start, as those do that refresh.
fn restarts_and_registers_later(scene: &BobIsBusy) {
    scene.world.restarts();
    scene.world.advance(Duration::from_secs(10));
    for phone in [&scene.alice, &scene.carol, &scene.bob] {
        phone.registers();
    }
}

#[track_caller]
fn bob_refuses_carol(scene: &BobIsBusy) {
    let sent = scene.carol.sends(invite("bob").with_sdp(OFFER));
    scene.bob.refuses(&scene.bob.receives("INVITE"), 486);
    refused(&scene.carol, &sent, "486");
}

#[test]
fn a_call_that_completes_a_request_ends_it_for_good() {
    let scene = BobIsBusy::with(Setup::Kept);
    let (world, [alice, bob, _]) = scene.parts();
    dials(alice, REQUEST_LAST);
    scene.bob_is_free();
    let recall = recalled(alice);
    picks_up(alice, &recall);
    let cc_call = bob.receives("INVITE");
    let (dialog, _) = connects(alice, bob, &cc_call);
    hang_up(alice, &dialog, bob);
    restarts(&scene);
    bob_is_seen(&scene);
    world.stays_quiet();
}

#[test]
fn what_was_taken_back_stays_taken_back() {
    let scene = BobIsBusy::with(Setup::Kept);
    let (world, [alice, _, _]) = scene.parts();
    dials(alice, REQUEST_LAST);
    restarts(&scene);
    dials(alice, CANCEL_ALL);
    restarts(&scene);
    bob_is_seen(&scene);
    world.stays_quiet();
}
