//! What crosses on the way: uncomplete and ready, CANCEL and 200, the callee's own call and recall.
//!
//! Spec: RFC 6910 §7; RFC 3261 §9; RULES R9, R18.

use std::time::Duration;

use crate::flow::kit::completion::{
    BobIsBusy, CANCEL_LAST, GUARD, MOMENT, RECALL, REQUEST_LAST, RING, cc_call, connects, dials,
    dials_in_vain, ended, finds_busy, is_confirmed, just_before, picks_up, recalled, speaks_with,
    stops_ringing, subscribes, talks_after_recall, told, unsubscribe,
};
use crate::flow::kit::dialog::Dialog;
use crate::flow::kit::draft::{ANSWER, OFFER, invite, response};
use crate::flow::kit::scenes::{gives_in, hang_up, refused};

/// How long a CC call may take.
const CC_CALL: Duration = Duration::from_mins(3);

/// Uncomplete against ready: the two cross on the wire.
#[test]
fn a_request_taken_back_while_ready_is_under_way_ends() {
    let scene = BobIsBusy::new();
    let (world, [alice, _, _]) = scene.parts();
    let waiting = subscribes(alice, &scene.busy);
    scene.bob_is_free();
    // The SUBSCRIBE leaves before the NOTIFY is read.
    alice.sends(unsubscribe(&waiting.dialog));
    let ready = told(alice, "ready");
    assert!(ready.header("Subscription-State").starts_with("active;"));
    assert_eq!(alice.receives("200").header("Expires"), "0");
    ended(alice, "timeout");
    world.stays_quiet();
}

#[test]
fn the_next_caller_is_ready_when_the_one_before_takes_his_request_back() {
    let scene = BobIsBusy::new();
    let (world, [alice, bob, _]) = scene.parts();
    let dave = world.phone("dave");
    let waiting = subscribes(alice, &scene.busy);
    finds_busy(&dave);
    dials(&dave, REQUEST_LAST);
    world.advance(Duration::from_secs(1));
    scene.bob_is_free();
    told(alice, "ready");
    dave.receives_nothing();
    alice.sends(unsubscribe(&waiting.dialog));
    alice.receives("200");
    ended(alice, "timeout");
    talks_after_recall(&dave, bob); // CC-47
}

/// Uncomplete against ready: by code, while the phone already rings.
#[test]
fn a_code_that_cancels_stops_the_recall() {
    let scene = BobIsBusy::new();
    let (world, [alice, _, _]) = scene.parts();
    dials(alice, REQUEST_LAST);
    scene.bob_is_free();
    let recall = recalled(alice);
    dials(alice, CANCEL_LAST);
    let reason = stops_ringing(alice, &recall);
    assert!(reason.starts_with("SIP;cause=487"), "{reason}");
    world.stays_quiet();
}

/// The same in the instant in which the INVITE of the recall is not answered yet: no CANCEL without
/// a provisional response.
#[test]
fn a_recall_is_not_cancelled_before_the_phone_has_said_anything() {
    let scene = BobIsBusy::new();
    let (world, [alice, _, _]) = scene.parts();
    dials(alice, REQUEST_LAST);
    scene.bob_is_free();
    let recall = alice.receives("INVITE");
    dials(alice, CANCEL_LAST);
    alice.receives_nothing();
    alice.answers(&recall, 100);
    gives_in(alice, &recall);
    world.stays_quiet();
}

/// 200 against CANCEL on the recall's leg.
#[test]
fn a_recall_answered_while_it_is_taken_back_is_acknowledged_and_ended() {
    let scene = BobIsBusy::new();
    let (world, [alice, bob, _]) = scene.parts();
    dials(alice, REQUEST_LAST);
    scene.bob_is_free();
    let recall = recalled(alice);
    let code = alice.sends(invite(CANCEL_LAST).with_sdp(OFFER));
    is_confirmed(alice, &code);
    // R18: the phone answers before it has read the CANCEL.
    alice.sends(response(&recall, 200).with_sdp(ANSWER));
    let cancel = alice.receives("CANCEL");
    alice.refuses(&cancel, 481);
    alice.is_hung_up_on();
    bob.receives_nothing();
    world.stays_quiet();
}

/// 200 against CANCEL on the CC call's leg.
#[test]
fn a_cc_call_answered_while_it_is_taken_back_is_acknowledged_and_ended() {
    let scene = BobIsBusy::new();
    let (world, [alice, bob, _]) = scene.parts();
    let (dialog, rings) = scene.alice_is_called_back();
    bob.answers(&rings, 180);
    alice.leaves(&dialog);
    bob.sends(response(&rings, 200).with_sdp(OFFER));
    let cancel = bob.receives("CANCEL");
    bob.refuses(&cancel, 481);
    bob.is_hung_up_on();
    dials(alice, CANCEL_LAST);
    world.stays_quiet();
}

/// Ready against the caller's CANCEL: his phone takes its CC call back.
#[test]
fn a_cc_call_that_its_caller_gave_up_leaves_the_request_in_place() {
    let scene = BobIsBusy::new();
    let (world, [alice, bob, _]) = scene.parts();
    let waiting = subscribes(alice, &scene.busy);
    scene.bob_is_free();
    let ready = told(alice, "ready");
    let sent = alice.sends(cc_call(&ready));
    let rings = bob.receives("INVITE");
    bob.answers(&rings, 180);
    alice.receives("180");
    alice.cancels(&sent);
    alice.receives("200");
    gives_in(bob, &rings);
    let [given_up, notify] = alice.receives_each(["487", "NOTIFY"]);
    alice.acks(&sent, &given_up);
    alice.answers(&notify, 200);
    assert!(notify.sdp().contains("cc-state: queued")); // CC-45
    // The end of that call is no new sign of life of Bob's.
    world.stays_quiet();
    scene.bob_talks_again();
    told(alice, "ready");
    alice.sends(unsubscribe(&waiting.dialog));
    alice.receives("200");
    ended(alice, "timeout");
}

/// Ready against the caller's CANCEL: Bob's 200 comes first.
#[test]
fn a_cc_call_answered_in_spite_of_its_cancel_is_ended() {
    let scene = BobIsBusy::new();
    let (world, [alice, bob, _]) = scene.parts();
    let waiting = subscribes(alice, &scene.busy);
    scene.bob_is_free();
    let ready = told(alice, "ready");
    let sent = alice.sends(cc_call(&ready));
    let rings = bob.receives("INVITE");
    bob.answers(&rings, 180);
    alice.receives("180");
    alice.cancels(&sent);
    alice.receives("200");
    bob.sends(response(&rings, 200).with_sdp(ANSWER));
    let cancel = bob.receives("CANCEL");
    bob.refuses(&cancel, 481);
    bob.is_hung_up_on();
    let [given_up, notify] = alice.receives_each(["487", "NOTIFY"]);
    alice.acks(&sent, &given_up);
    alice.answers(&notify, 200);
    assert!(notify.sdp().contains("cc-state: queued")); // CC-45
    alice.sends(unsubscribe(&waiting.dialog));
    alice.receives("200");
    world.advance(GUARD);
    ended(alice, "timeout");
    world.stays_quiet();
}

/// The callee's new call against the recall: he dials in the guard time.
#[test]
fn a_callee_who_dials_in_the_guard_time_is_not_disturbed() {
    let scene = BobIsBusy::new();
    let (world, [alice, bob, carol]) = scene.parts();
    dials(alice, REQUEST_LAST);
    scene.bob_hangs_up();
    world.advance(just_before(GUARD));
    let talk = speaks_with(bob, "carol", carol);
    world.stays_quiet();
    hang_up(bob, &talk, carol);
    world.advance(GUARD);
    talks_after_recall(alice, bob);
}

/// The callee's new call against the recall: he dials while Alice's phone rings.
#[test]
fn a_callee_who_dials_while_the_caller_is_rung_ends_the_recall() {
    let scene = BobIsBusy::new();
    let (world, [alice, bob, carol]) = scene.parts();
    let dave = world.phone("dave");
    dials(alice, REQUEST_LAST);
    finds_busy(&dave);
    dials(&dave, REQUEST_LAST);
    world.advance(Duration::from_secs(1));
    scene.bob_is_free();
    let recall = recalled(alice);
    let talk = speaks_with(bob, "carol", carol);
    let reason = stops_ringing(alice, &recall);
    assert!(reason.starts_with("SIP;cause=480"), "{reason}"); // CC-63
    world.advance(GUARD);
    hang_up(bob, &talk, carol);
    world.advance(GUARD);
    // R9: her place is kept.
    dave.receives_nothing();
    talks_after_recall(alice, bob);
    world.advance(GUARD);
    talks_after_recall(&dave, bob);
}

/// The callee's new call against the recall: somebody else gets through to him first.
#[test]
fn a_callee_who_is_called_while_the_caller_is_rung_ends_the_recall() {
    let scene = BobIsBusy::new();
    let (world, [alice, bob, carol]) = scene.parts();
    dials(alice, REQUEST_LAST);
    scene.bob_is_free();
    let recall = recalled(alice);
    let sent = carol.sends(invite("bob").with_sdp(OFFER));
    let rings = bob.receives("INVITE");
    stops_ringing(alice, &recall);
    // That call comes to nothing: he was rung, and did not talk; he is free all the same.
    bob.refuses(&rings, 486);
    refused(carol, &sent, "486");
    world.advance(just_before(GUARD));
    alice.receives_nothing();
    world.advance(MOMENT);
    talks_after_recall(alice, bob);
}

/// Ready is withdrawn from a phone that asked by SUBSCRIBE.
#[test]
fn ready_is_withdrawn_when_the_callee_dials() {
    let scene = BobIsBusy::new();
    let (world, [alice, bob, carol]) = scene.parts();
    let waiting = subscribes(alice, &scene.busy);
    scene.bob_is_free();
    let ready = told(alice, "ready");
    let talk = speaks_with(bob, "carol", carol);
    told(alice, "queued"); // CC-63, CC-66
    // She calls all the same: they crossed.
    let sent = alice.sends(cc_call(&ready));
    refused(alice, &sent, "486");
    hang_up(bob, &talk, carol);
    alice.sends(unsubscribe(&waiting.dialog));
    alice.receives("200");
    alice.receives_nothing(); // CC-65
    world.advance(Duration::from_secs(5));
    ended(alice, "timeout");
    world.stays_quiet();
}

/// Bob's 486 in the guard time: he is called by hand, and refuses.
#[test]
fn a_callee_who_refuses_in_the_guard_time_gets_a_guard_time_anew() {
    let scene = BobIsBusy::new();
    let (world, [alice, bob, carol]) = scene.parts();
    dials(alice, REQUEST_LAST);
    scene.bob_hangs_up();
    world.advance(Duration::from_secs(3));
    let sent = carol.sends(invite("bob").with_sdp(OFFER));
    let rings = bob.receives("INVITE");
    bob.refuses(&rings, 486);
    refused(carol, &sent, "486");
    world.advance(just_before(GUARD));
    alice.receives_nothing();
    world.advance(MOMENT * 2);
    talks_after_recall(alice, bob);
}

/// Bob's 486 to the CC call: no storm of recalls.
#[test]
fn a_callee_who_refuses_the_cc_call_is_waited_for_again() {
    let scene = BobIsBusy::new();
    let (world, [alice, bob, _]) = scene.parts();
    let dave = world.phone("dave");
    dials(alice, REQUEST_LAST);
    finds_busy(&dave);
    dials(&dave, REQUEST_LAST);
    world.advance(Duration::from_secs(1));
    scene.bob_is_free();
    let recall = recalled(alice);
    picks_up(alice, &recall);
    let rings = bob.receives("INVITE");
    bob.refuses(&rings, 486);
    let bye = alice.receives("BYE");
    assert_eq!(bye.header("Reason"), "SIP;cause=486;text=\"Busy Here\"");
    alice.answers(&bye, 200);
    // CC-45: neither she nor the next one is recalled before Bob has talked.
    world.stays_quiet();
    scene.bob_talks_again();
    dave.receives_nothing();
    talks_after_recall(alice, bob);
    world.advance(GUARD);
    talks_after_recall(&dave, bob);
}

/// Callee busy again: he is engaged with somebody else when the CC call leaves.
#[test]
fn a_callee_who_is_taken_while_the_caller_picks_up_is_waited_for_again() {
    let scene = BobIsBusy::new();
    let (world, [alice, bob, carol]) = scene.parts();
    dials(alice, REQUEST_LAST);
    scene.bob_is_free();
    let recall = recalled(alice);
    // The two cross: her phone answers before it has read the CANCEL.
    let talk = speaks_with(bob, "carol", carol);
    alice.sends(response(&recall, 200).with_sdp(ANSWER));
    let cancel = alice.receives("CANCEL");
    alice.refuses(&cancel, 481);
    alice.is_hung_up_on();
    world.advance(GUARD);
    hang_up(bob, &talk, carol);
    world.advance(GUARD);
    talks_after_recall(alice, bob);
}

#[test]
fn a_recall_answered_after_its_time_is_acknowledged_and_ended() {
    let scene = BobIsBusy::new();
    let (world, [alice, bob, _]) = scene.parts();
    dials(alice, REQUEST_LAST);
    scene.bob_is_free();
    let recall = recalled(alice);
    world.advance(RING);
    alice.sends(response(&recall, 200).with_sdp(ANSWER));
    let cancel = alice.receives("CANCEL");
    alice.refuses(&cancel, 481);
    alice.is_hung_up_on();
    bob.receives_nothing();
    dials(alice, CANCEL_LAST);
    world.stays_quiet();
}

/// A CC call after the recall timer: it is his turn no more, and the line is free all the same.
#[test]
fn a_cc_call_after_the_recall_timer_completes_the_request() {
    let scene = BobIsBusy::new();
    let (world, [alice, bob, _]) = scene.parts();
    subscribes(alice, &scene.busy);
    scene.bob_is_free();
    let ready = told(alice, "ready");
    world.advance(RECALL);
    told(alice, "queued"); // CC-44
    let sent = alice.sends(cc_call(&ready));
    let rings = bob.receives("INVITE");
    bob.sends(response(&rings, 200).with_sdp(ANSWER));
    let answer = alice.receives("200");
    ended(alice, "noresource"); // CC-46
    alice.acks(&sent, &answer);
    bob.receives("ACK");
    hang_up(alice, &Dialog::of_caller(&sent, &answer), bob);
}

/// Her phone rings, and she dials Bob on it.
#[test]
fn a_caller_who_dials_while_her_phone_rings_needs_no_recall() {
    let scene = BobIsBusy::new();
    let (world, [alice, bob, _]) = scene.parts();
    dials(alice, REQUEST_LAST);
    scene.bob_is_free();
    let recall = recalled(alice);
    let sent = alice.sends(invite("bob").with_sdp(OFFER));
    let rings = bob.receives("INVITE");
    let reason = stops_ringing(alice, &recall);
    assert!(reason.starts_with("SIP;cause=200"), "{reason}");
    let answer = bob.takes_call(&rings, alice, &sent);
    hang_up(alice, &Dialog::of_caller(&sent, &answer), bob);
    dials_in_vain(alice, CANCEL_LAST, "404");
    world.stays_quiet();
}

/// Uncomplete when both have answered: too late.
#[test]
fn a_call_that_both_have_answered_stays() {
    let scene = BobIsBusy::new();
    let [alice, bob, _] = scene.phones();
    dials(alice, REQUEST_LAST);
    scene.bob_is_free();
    let recall = recalled(alice);
    picks_up(alice, &recall);
    let rings = bob.receives("INVITE");
    let (dialog, _) = connects(alice, bob, &rings);
    // R18
    dials_in_vain(alice, CANCEL_LAST, "404");
    hang_up(alice, &dialog, bob);
}

/// Uncomplete while Bob's phone rings.
#[test]
fn a_request_taken_back_while_the_callee_is_rung_stops_his_phone() {
    let scene = BobIsBusy::new();
    let (world, [alice, bob, _]) = scene.parts();
    dials(alice, REQUEST_LAST);
    scene.bob_is_free();
    let recall = recalled(alice);
    picks_up(alice, &recall);
    let rings = bob.receives("INVITE");
    bob.answers(&rings, 180);
    let code = alice.sends(invite(CANCEL_LAST).with_sdp(OFFER));
    gives_in(bob, &rings);
    let bye = alice.receives("BYE");
    assert!(bye.header("Reason").starts_with("SIP;cause=487")); // R18
    alice.answers(&bye, 200);
    is_confirmed(alice, &code);
    world.stays_quiet();
}

#[test]
fn nobody_is_called_back_by_a_campon_that_is_stopping() {
    let scene = BobIsBusy::new();
    let (world, [alice, _, _]) = scene.parts();
    dials(alice, REQUEST_LAST);
    world.drains();
    scene.bob_is_free();
    world.stays_quiet();
}

#[test]
fn a_recall_is_withdrawn_by_a_campon_that_hangs_up() {
    let scene = BobIsBusy::new();
    let (world, [alice, _, _]) = scene.parts();
    dials(alice, REQUEST_LAST);
    scene.bob_is_free();
    let recall = recalled(alice);
    world.hangs_up();
    gives_in(alice, &recall);
    world.stays_quiet();
}

#[test]
fn a_cc_call_is_withdrawn_by_a_campon_that_hangs_up() {
    let scene = BobIsBusy::new();
    let (world, [alice, bob, _]) = scene.parts();
    dials(alice, REQUEST_LAST);
    scene.bob_is_free();
    let recall = recalled(alice);
    picks_up(alice, &recall);
    let rings = bob.receives("INVITE");
    bob.answers(&rings, 180);
    world.hangs_up();
    gives_in(bob, &rings);
    alice.is_hung_up_on();
    world.stays_quiet();
}

/// Bob picks up when his time is almost over, and Alice's phone is slow to take what he offers: the
/// request was given up in between. They talked, and she was called back for it again.
#[test]
fn a_callee_who_picks_up_at_the_last_moment_is_not_waited_for_again() {
    let scene = BobIsBusy::new();
    let (world, [alice, bob, _]) = scene.parts();
    dials(alice, REQUEST_LAST);
    scene.bob_is_free();
    picks_up(alice, &recalled(alice));
    let rings = bob.receives("INVITE");
    bob.answers(&rings, 180);
    world.advance(CC_CALL.saturating_sub(Duration::from_secs(2)));
    let answer = bob.sends(response(&rings, 200).with_sdp(OFFER));
    let offer = alice.receives("INVITE");
    alice.answers(&offer, 100);
    world.advance(Duration::from_secs(4));
    world.quiet();
    alice.sends(response(&offer, 200).with_sdp(ANSWER));
    alice.receives("ACK");
    bob.receives("ACK");
    hang_up(bob, &Dialog::of_callee(&rings, &answer), alice);
    world.stays_quiet();
    dials_in_vain(alice, CANCEL_LAST, "404");
}
