//! What is asked for again, and what is taken back again: it is done once.
//!
//! Spec: RFC 6910 §7.3, §7.4; RFC 3261 §9.2; RULES R2, R21.

use std::time::Duration;

use crate::flow::kit::completion::{
    BobIsBusy, GUARD, LONG, REQUEST_LAST, cc_call, dials, line, offered_uri, picks_up, recalled,
    speaks_with, subscribe, subscribes, talks_after_recall, told, unsubscribe,
};
use crate::flow::kit::dialog::Dialog;
use crate::flow::kit::draft::{OFFER, invite};
use crate::flow::kit::monitor::{
    BOB, MONITOR, alice_and_peer, call_info, fails_at_peer, is_taken_back, takes_subscribe,
};
use crate::flow::kit::scenes::{call, hang_up, refused};
use crate::flow::kit::subject::Setup;

/// She asked again for the call that had failed before all that, and was rung at once: the callee had
/// been free since that call.
#[test]
fn who_asks_again_after_the_callee_refused_waits_for_his_next_call() {
    let scene = BobIsBusy::new();
    let (world, [alice, bob, carol]) = scene.parts();
    dials(alice, REQUEST_LAST);
    scene.bob_is_free();
    let recall = recalled(alice);
    picks_up(alice, &recall);
    let rings = bob.receives("INVITE");
    bob.refuses(&rings, 486);
    alice.is_hung_up_on();
    dials(alice, REQUEST_LAST);
    // CC-45
    world.stays_quiet();
    let talk = call(carol, bob);
    hang_up(carol, &talk.caller, bob);
    world.advance(GUARD);
    talks_after_recall(alice, bob);
}

/// The same by SUBSCRIBE, which takes over the place of the one before.
#[test]
fn a_place_that_is_taken_over_after_the_callee_refused_waits_for_his_next_call() {
    let scene = BobIsBusy::new();
    let (world, [alice, bob, carol]) = scene.parts();
    subscribes(alice, &scene.busy);
    scene.bob_is_free();
    let ready = told(alice, "ready");
    let sent = alice.sends(cc_call(&ready));
    let rings = bob.receives("INVITE");
    bob.refuses(&rings, 486);
    refused(alice, &sent, "486");
    told(alice, "queued");
    world.advance(Duration::from_secs(11));
    let again = alice.sends(subscribe(alice, offered_uri(&scene.busy)));
    let accepted = alice.receives("200");
    let mut notifies = [alice.receives("NOTIFY"), alice.receives("NOTIFY")];
    notifies.sort_by_key(|notify| notify.call_id() == again.call_id());
    for notify in &notifies {
        alice.answers(notify, 200);
    }
    let [old, new] = &notifies;
    // CC-36
    let state = old.header("Subscription-State");
    assert_eq!(state, "terminated;reason=noresource");
    assert_eq!(line(new, "cc-state"), "queued");
    // CC-45
    world.advance(LONG);
    alice.receives_nothing();
    let talk = call(carol, bob);
    hang_up(carol, &talk.caller, bob);
    world.advance(GUARD);
    told(alice, "ready");
    alice.sends(unsubscribe(&Dialog::of_caller(&again, &accepted)));
    alice.receives("200");
    told(alice, "queued");
}

/// A CANCEL whose 200 was lost came again, and took one of her other calls for ended: Carol was called
/// back while she talked.
#[test]
fn a_code_that_is_cancelled_twice_was_one_call() {
    let (world, alice, pbx) = alice_and_peer(Setup::Upstream);
    let [carol, dave] = ["carol", "dave"].map(|name| world.phone(name));
    fails_at_peer(&alice, &pbx, BOB, &call_info(MONITOR));
    let talk = speaks_with(&alice, "dave", &dave);
    let code = alice.sends(invite(REQUEST_LAST).with_sdp(OFFER));
    let call = carol.sends(invite("alice").with_sdp(OFFER));
    alice.refuses(&alice.receives("INVITE"), 486);
    refused(&carol, &call, "486");
    dials(&carol, REQUEST_LAST);
    let cancel = alice.gives_up(&code); // S-09
    alice.sends_again(&cancel);
    alice.receives("200");
    let watch = takes_subscribe(&pbx);
    is_taken_back(&pbx, &watch.dialog);
    world.stays_quiet();
    hang_up(&alice, &talk, &dave);
    world.advance(GUARD);
    talks_after_recall(&carol, &alice);
}
