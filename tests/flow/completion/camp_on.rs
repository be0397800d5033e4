//! Camp-on: a caller's INVITE stays pending, and is offered to the callee when it is its turn.
//!
//! Spec: RULES R5; RFC 3841 §9.1; RFC 3261 §13.3.1.1, §21.1.4; RFC 3262 §3.

use std::time::Duration;

use crate::flow::kit::completion::{
    BobIsBusy, CANCEL_LAST, GUARD, LONG, MOMENT, REQUEST_LAST, dials, just_before,
    talks_after_recall,
};
use crate::flow::kit::dialog::Dialog;
use crate::flow::kit::draft::{ANSWER, Draft, OFFER, invite, response, within};
use crate::flow::kit::message::Message;
use crate::flow::kit::party::Party;
use crate::flow::kit::scenes::{gives_in, hang_up, refused};
use crate::flow::kit::subject::Setup;

/// How long Bob's phone is left alone before the call that waits is offered to it.
const CALL_GUARD: Duration = Duration::from_secs(1);
/// How often a caller who waits is told so.
const TELLS: Duration = Duration::from_mins(1);
/// How long a call waits.
const CAMP_ON_MAX: Duration = Duration::from_mins(2);

/// A call to Bob that is to wait for him.
fn queued() -> Draft {
    invite("bob")
        .with_sdp(OFFER)
        .with("Request-Disposition", "queue")
}

/// It waits.
#[track_caller]
fn camps(caller: &Party) -> Message {
    let sent = caller.sends(queued());
    let told = caller.receives("182");
    assert!(told.start().ends_with("Queued"), "{told}");
    sent
}

/// Bob's other call ends, a moment after all that was before.
fn bob_hangs_up(scene: &BobIsBusy) {
    scene.world.advance(MOMENT);
    scene.bob_hangs_up();
}

/// Bob's other call ends, and his phone is offered the call that waits.
#[track_caller]
fn bob_is_offered_it(scene: &BobIsBusy) -> Message {
    bob_hangs_up(scene);
    scene.world.advance(CALL_GUARD);
    scene.bob.receives("INVITE")
}

/// His phone rings for it.
#[track_caller]
fn bob_rings(scene: &BobIsBusy) -> Message {
    let rings = bob_is_offered_it(scene);
    scene.bob.answers(&rings, 180);
    scene.alice.receives("180");
    rings
}

/// He is busy again, and the call goes back into the queue.
#[track_caller]
fn bob_is_busy_again(scene: &BobIsBusy) {
    let rings = bob_is_offered_it(scene);
    scene.bob.refuses(&rings, 486);
    scene.world.advance(MOMENT);
    scene.alice.receives("182");
}

/// Bob's phone takes the call, and the two talk.
#[track_caller]
fn talks(caller: &Party, sent: &Message, bob: &Party) {
    let rings = bob.receives("INVITE");
    bob.answers(&rings, 180);
    caller.receives("180");
    bob.sends(response(&rings, 200).with_sdp(ANSWER));
    let answer = caller.receives("200");
    caller.acks(sent, &answer);
    bob.receives("ACK");
    hang_up(caller, &Dialog::of_caller(sent, &answer), bob);
}

#[test]
fn a_call_waits_and_is_offered_when_the_callee_is_free() {
    let scene = BobIsBusy::new();
    let (world, [alice, bob, _]) = scene.parts();
    let sent = camps(alice);
    world.advance(just_before(TELLS));
    alice.receives_nothing();
    world.advance(MOMENT);
    alice.receives("182");
    bob_hangs_up(&scene);
    world.advance(just_before(CALL_GUARD));
    bob.receives_nothing();
    world.advance(MOMENT);
    talks(alice, &sent, bob);
    world.advance(LONG);
    bob.receives_nothing();
}

#[test]
fn a_caller_who_hangs_up_waits_no_longer() {
    let scene = BobIsBusy::new();
    let (world, [alice, bob, _]) = scene.parts();
    let sent = camps(alice);
    alice.gives_up(&sent);
    bob_hangs_up(&scene);
    world.advance(LONG);
    bob.receives_nothing();
}

#[test]
fn a_call_that_waited_too_long_may_be_called_back() {
    let scene = BobIsBusy::new();
    let (world, [alice, bob, _]) = scene.parts();
    let sent = camps(alice);
    world.advance(TELLS);
    alice.receives("182");
    world.advance(just_before(CAMP_ON_MAX.saturating_sub(TELLS)));
    alice.receives_nothing();
    world.advance(MOMENT);
    let busy = refused(alice, &sent, "486");
    assert!(busy.header("Call-Info").ends_with(";m=BS"), "{busy}");
    dials(alice, REQUEST_LAST);
    world.advance(MOMENT);
    scene.bob_is_free();
    talks_after_recall(alice, bob);
}

#[test]
fn who_wants_no_queue_is_told_at_once() {
    let scene = BobIsBusy::new();
    let draft = invite("bob").with("Request-Disposition", "no-fork, no-queue");
    let sent = scene.alice.sends(draft.with_sdp(OFFER));
    refused(&scene.alice, &sent, "486");
    bob_hangs_up(&scene);
}

#[test]
fn a_callee_who_is_busy_again_costs_nobody_his_place() {
    let scene = BobIsBusy::new();
    let (world, [alice, ..]) = scene.parts();
    let sent = camps(alice);
    bob_is_busy_again(&scene);
    world.advance(just_before(just_before(TELLS)));
    alice.receives_nothing();
    alice.gives_up(&sent);
}

/// RFC 3261 §13.3.1.1: he heard nothing for more than a minute where his time ended soon afterwards.
#[test]
fn who_waits_is_told_so_each_minute_to_the_end() {
    let scene = BobIsBusy::new();
    let (world, [alice, ..]) = scene.parts();
    let sent = camps(alice);
    world.advance(Duration::from_secs(57));
    bob_is_busy_again(&scene);
    world.advance(TELLS);
    alice.receives("182");
    world.advance(Duration::from_secs(2));
    refused(alice, &sent, "486");
}

/// A record was written as the call went back into the queue, and was never removed.
#[test]
fn a_call_that_goes_back_into_the_queue_leaves_nothing_in_the_store() {
    let scene = BobIsBusy::with(Setup::Kept);
    let (world, [alice, ..]) = scene.parts();
    let sent = camps(alice);
    bob_is_busy_again(&scene);
    assert_eq!(world.completions_kept(), 0);
    alice.cancels(&sent);
    alice.receives("200");
    refused(alice, &sent, "487");
    assert_eq!(world.completions_kept(), 0);
}

#[test]
fn a_callee_who_does_not_answer_has_been_reached() {
    let scene = BobIsBusy::new();
    let (_, [alice, bob, _]) = scene.parts();
    let sent = camps(alice);
    let rings = bob_rings(&scene);
    bob.refuses(&rings, 480);
    let failure = refused(alice, &sent, "480");
    assert!(failure.header("Call-Info").ends_with(";m=NR"), "{failure}");
}

#[test]
fn a_caller_who_hangs_up_while_the_callee_rings_ends_that_too() {
    let scene = BobIsBusy::new();
    let (world, [alice, bob, _]) = scene.parts();
    let sent = camps(alice);
    let rings = bob_rings(&scene);
    alice.gives_up(&sent);
    gives_in(bob, &rings);
    world.advance(LONG);
    bob.receives_nothing();
}

/// The callee's 200 and the caller's CANCEL cross: the caller has gone, and the callee is told.
#[test]
fn an_answer_that_crosses_a_cancel_is_acknowledged_and_ended() {
    let scene = BobIsBusy::new();
    let (_, [alice, bob, _]) = scene.parts();
    let sent = camps(alice);
    let rings = bob_rings(&scene);
    alice.gives_up(&sent);
    let cancel = bob.receives("CANCEL");
    bob.sends(response(&rings, 200).with_sdp(ANSWER));
    bob.answers(&cancel, 200);
    let [_ack, bye] = bob.receives_each(["ACK", "BYE"]);
    bob.answers(&bye, 200);
}

#[test]
fn a_wish_that_is_taken_back_ends_the_call_that_waits() {
    let scene = BobIsBusy::new();
    let (world, [alice, bob, _]) = scene.parts();
    let sent = camps(alice);
    let code = alice.sends(invite(CANCEL_LAST).with_sdp(OFFER));
    let [busy, done] = alice.receives_each(["486", "200"]);
    alice.acks(&sent, &busy);
    alice.acks(&code, &done);
    alice.is_hung_up_on();
    bob_hangs_up(&scene);
    world.advance(GUARD);
    bob.receives_nothing();
}

#[test]
fn a_caller_who_wants_to_be_sure_acknowledges_that_he_waits() {
    let scene = BobIsBusy::new();
    let (world, [alice, bob, _]) = scene.parts();
    let sent = alice.sends(queued().with("Supported", "100rel"));
    let told = alice.receives("182");
    assert_eq!(told.header("Require"), "100rel");
    let dialog = Dialog::of_caller(&sent, &told);
    let rack = format!("{} {} INVITE", told.header("RSeq"), sent.cseq());
    alice.sends(within(&dialog, "PRACK").with("RAck", &rack));
    alice.receives("200");
    world.advance(TELLS);
    let again = alice.receives("182");
    let rack = format!("{} {} INVITE", again.header("RSeq"), sent.cseq());
    alice.sends(within(&dialog, "PRACK").with("RAck", &rack));
    alice.receives("200");
    alice.gives_up(&sent);
    bob_hangs_up(&scene);
    bob.receives_nothing();
}

/// Each waited for the other, and neither would ever have been free.
#[test]
fn two_who_call_each_other_are_connected_once() {
    let scene = BobIsBusy::new();
    let (world, [alice, bob, _]) = scene.parts();
    let sent = camps(alice);
    bob_hangs_up(&scene);
    let back = bob.sends(
        invite("alice")
            .with_sdp(OFFER)
            .with("Request-Disposition", "queue"),
    );
    refused(bob, &back, "486");
    world.advance(CALL_GUARD);
    talks(alice, &sent, bob);
    world.advance(LONG);
    assert_eq!((alice.waiting(), bob.waiting()), (0, 0));
}

/// Who is called back is called after the guard time, which is longer.
#[test]
fn a_call_in_the_hand_rings_before_those_who_are_called_back() {
    let scene = BobIsBusy::new();
    let (world, [alice, bob, _]) = scene.parts();
    let dave = world.phone("dave");
    dials(alice, REQUEST_LAST);
    let sent = camps(&dave);
    bob_hangs_up(&scene);
    world.advance(CALL_GUARD);
    talks(&dave, &sent, bob);
    world.advance(GUARD);
    talks_after_recall(alice, bob);
}
