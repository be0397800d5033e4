//! A campon that stops tells those who wait elsewhere, and leaves the queues elsewhere.
//!
//! Spec: RFC 6665 §4.1.2.3, §4.4.1; RFC 6910 §8; RULES R18.

use std::time::Duration;

use crate::flow::kit::completion::{
    BobIsBusy, GUARD, REQUEST_LAST, cc_call, connects, dials, ended, finds_busy, picks_up,
    recalled, subscribes, told, unsubscribe,
};
use crate::flow::kit::dialog::Dialog;
use crate::flow::kit::draft::{ANSWER, response};
use crate::flow::kit::scenes::hang_up;

#[test]
fn who_waits_in_a_queue_hears_that_it_is_no_more() {
    let scene = BobIsBusy::new();
    let (world, [alice, _, _]) = scene.parts();
    let waiting = subscribes(alice, &scene.busy);
    let dave = world.phone("dave");
    let busy = finds_busy(&dave);
    subscribes(&dave, &busy);
    world.drains();
    for subscriber in [alice, &dave] {
        ended(subscriber, "noresource");
    }
    alice.sends(unsubscribe(&waiting.dialog));
    alice.receives("481");
    scene.bob_is_free();
    world.stays_quiet();
}

#[test]
fn last_words_keep_the_pace_and_are_waited_for() {
    let scene = BobIsBusy::new();
    let (world, [alice, _, _]) = scene.parts();
    subscribes(alice, &scene.busy);
    scene.bob_is_free();
    told(alice, "ready");
    world.drains();
    // CC-65: there is room for one more, and a ready that is withdrawn is told at once.
    ended(alice, "noresource");
    world.stays_quiet();
}

#[test]
fn a_cc_call_under_way_is_served_to_its_end() {
    let scene = BobIsBusy::new();
    let (world, [alice, bob, _]) = scene.parts();
    subscribes(alice, &scene.busy);
    scene.bob_is_free();
    let ready = told(alice, "ready");
    let sent = alice.sends(cc_call(&ready));
    let rings = bob.receives("INVITE");
    world.drains();
    alice.receives_nothing();
    world.advance(Duration::from_millis(400));
    bob.sends(response(&rings, 200).with_sdp(ANSWER));
    let [answer] = alice.receives_each(["200"]);
    ended(alice, "noresource");
    alice.acks(&sent, &answer);
    bob.receives("ACK");
    hang_up(alice, &Dialog::of_caller(&sent, &answer), bob);
    world.stays_quiet();
}

#[test]
fn a_recall_that_has_begun_is_served_to_its_end() {
    let scene = BobIsBusy::new();
    let (world, [alice, bob, _]) = scene.parts();
    dials(alice, REQUEST_LAST);
    scene.bob_hangs_up();
    world.advance(GUARD);
    let recall = recalled(alice);
    world.drains();
    alice.receives_nothing();
    picks_up(alice, &recall);
    let cc_call = bob.receives("INVITE");
    let (dialog, _) = connects(alice, bob, &cc_call);
    hang_up(alice, &dialog, bob);
    world.stays_quiet();
}
