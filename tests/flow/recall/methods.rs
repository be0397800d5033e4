//! The caller's own phone dials; and what happens if it cannot, will not, or does so too late.
//!
//! Spec: RFC 3515 §2.4; RFC 3420; RFC 3261 §20.5; RULES R10.

use std::time::Duration;

use campon::cc::capsule::CallIdentity;
use campon::shard::provider::{Answer, Ask, CallReason, CallState, LineNews};

use super::{LAST, MORE_TO_COME, answered, dials_for, is_answered, is_parted, refer_news};
use super::{takes_refer, tells};
use crate::flow::kit::completion::{
    BobIsBusy, CANCEL_LAST, GUARD, LONG, MOMENT, REQUEST_LAST, REST, connects, dials,
    dials_in_vain, just_before, picks_up, recalled, stops_ringing, talks_after_recall,
};
use crate::flow::kit::dialog::Dialog;
use crate::flow::kit::draft::{ANSWER, OFFER, bye, reinvite, response};
use crate::flow::kit::message::Message;
use crate::flow::kit::party::Party;
use crate::flow::kit::scenes::{call, hang_up, refused};
use crate::flow::kit::subject::Setup;
use crate::flow::kit::world::World;

/// R10: how long the phone may take to dial.
const INVITE_MAX: Duration = Duration::from_secs(5);

/// Bob is rung by campon, answers, and is connected with Alice in the dialog of her recall.
#[track_caller]
fn is_put_through(alice: &Party, recall: &Dialog, bob: &Party) {
    let rings = bob.receives("INVITE");
    connects(alice, bob, &rings);
    hang_up(alice, recall, bob);
}

/// Nothing is left to take back.
#[track_caller]
fn is_completed(alice: &Party) {
    dials_in_vain(alice, CANCEL_LAST, "404");
}

#[test]
fn the_phone_that_asked_dials_by_itself() {
    let (scene, recall) = answered(Setup::ReferOrDirect);
    let (world, [alice, bob, _]) = scene.parts();
    let uri = takes_refer(alice, &recall);
    let cce = uri.strip_prefix("sip:bob@192.0.2.1;m=BS;cce=");
    assert_eq!(cce.map(str::len), Some(26), "{uri}"); // CC-23
    bob.receives_nothing();
    tells(alice, &recall, "SIP/2.0 100 Trying", MORE_TO_COME);
    let sent = dials_for(alice, &uri);
    let rings = bob.receives("INVITE");
    assert_eq!(rings.uri(), bob.uri());
    bob.answers(&rings, 180);
    alice.receives("180");
    // Longer than a phone may take to dial: it has.
    world.advance(INVITE_MAX * 2);
    tells(alice, &recall, "SIP/2.0 180 Ringing", MORE_TO_COME);
    let (talk, _) = is_answered(alice, &sent, bob, &rings);
    alice.receives_nothing();
    tells(alice, &recall, "SIP/2.0 200 OK", LAST);
    assert_eq!(is_parted(alice, &recall), "");
    world.stays_quiet();
    hang_up(alice, &talk, bob);
    is_completed(alice);
}

/// The call that it dials is the one that its line is told of, to its end.
#[test]
fn a_phone_that_an_application_connects_dials_by_itself() {
    let ((world, [alice, bob], recall, sent), asked) = is_connected_by_refer();
    let rings = bob.receives("INVITE");
    let (talk, _) = is_answered(&alice, &sent, &bob, &rings);
    let call = talks(&world);
    assert_eq!(call[1], asked);
    world.advance(INVITE_MAX);
    is_parted(&alice, &recall);
    assert_eq!(told(&world), []);
    hang_up(&alice, &talk, &bob);
    assert_eq!(told(&world), [(CallState::Idle, call)]);
}

/// A phone may part with the call that has asked it as soon as its own is under way: its line was told
/// that it talked, and in the same breath that it did no more.
#[test]
fn a_phone_that_an_application_connects_may_part_with_us_first() {
    let ((world, [alice, bob], recall, sent), asked) = is_connected_by_refer();
    let rings = bob.receives("INVITE");
    bob.answers(&rings, 180);
    alice.receives("180");
    alice.leaves(&recall);
    assert_eq!(told(&world), []);
    let (talk, _) = is_answered(&alice, &sent, &bob, &rings);
    let call = talks(&world);
    assert_eq!(call[1], asked);
    hang_up(&alice, &talk, &bob);
    assert_eq!(told(&world), [(CallState::Idle, call)]);
}

#[test]
fn a_phone_that_an_application_connects_may_give_up_after_it_has_parted_with_us() {
    let ((world, [alice, bob], recall, sent), asked) = is_connected_by_refer();
    let rings = bob.receives("INVITE");
    bob.answers(&rings, 180);
    alice.receives("180");
    alice.leaves(&recall);
    alice.gives_up(&sent);
    stops_ringing(&bob, &rings);
    assert_eq!(told(&world), [(CallState::Idle, [asked, asked])]);
    world.advance(LONG);
    assert_eq!(told(&world), []);
    world.quiet();
}

/// Alice's phone was asked to dial Bob's number, because an application connects her line, and has done so.
fn is_connected_by_refer() -> ((World, [Party; 2], Dialog, Message), CallIdentity) {
    let world = World::new(Setup::Refer);
    let [alice, bob] = ["alice", "bob"].map(|name| world.phone(name));
    world.is_asked(Ask::Connect {
        from: "alice".into(),
        to: "bob".into(),
    });
    let Answer::Connected(asked) = world.answers() else {
        panic!("not connected");
    };
    let recall = picks_up(&alice, &recalled(&alice));
    let uri = takes_refer(&alice, &recall);
    assert_eq!(uri, "sip:bob@192.0.2.1:5060", "nothing is completed");
    let sent = dials_for(&alice, &uri);
    let states = [CallState::Offering, CallState::Proceeding];
    assert_eq!(told(&world), states.map(|state| (state, [asked, asked])));
    ((world, [alice, bob], recall, sent), asked)
}

/// What the line was told of the connection, and nothing else.
fn told(world: &World) -> Vec<(CallState, [CallIdentity; 2])> {
    let news = world.news().into_iter().map(|event| match event.what {
        LineNews::Connection {
            call, asked, state, ..
        } => (state, [call, asked.unwrap_or(call)]),
        LineNews::CallState { .. }
        | LineNews::ComplCancel { .. }
        | LineNews::MsgWait { .. }
        | LineNews::NumCompletions { .. } => panic!("other news: {:?}", event.what),
    });
    news.collect()
}

/// The line was told that it talks, by a call that completes nothing.
#[track_caller]
fn talks(world: &World) -> [CallIdentity; 2] {
    let connected = told(world);
    let [(CallState::Connected, call)] = *connected else {
        panic!("not connected: {connected:?}");
    };
    let Answer::Call(report) = world.asks_at_once(Ask::Call(call[0])) else {
        panic!("no such call");
    };
    assert_eq!(
        (report.state, report.reason, report.completes),
        (CallState::Connected, CallReason::Direct, None)
    );
    call
}

#[test]
fn a_phone_that_says_nothing_of_its_call_is_parted_with_soon_after_the_answer() {
    let (scene, recall) = answered(Setup::Refer);
    let (world, [alice, bob, _]) = scene.parts();
    let sent = dials_for(alice, &takes_refer(alice, &recall));
    let rings = bob.receives("INVITE");
    let (talk, _) = is_answered(alice, &sent, bob, &rings);
    world.advance(just_before(INVITE_MAX));
    alice.receives_nothing();
    world.advance(MOMENT);
    is_parted(alice, &recall);
    hang_up(alice, &talk, bob);
}

#[test]
fn a_phone_that_refuses_to_dial_is_put_through() {
    for status in [405, 501, 603, 407] {
        let (scene, recall) = answered(Setup::ReferOrDirect);
        let [alice, bob, _] = scene.phones();
        let refer = alice.receives("REFER");
        assert_eq!(refer.call_id(), recall.call_id);
        alice.answers(&refer, status);
        is_put_through(alice, &recall, bob);
        is_completed(alice);
    }
}

#[test]
fn a_phone_that_does_not_allow_refer_is_not_asked() {
    for (allow, is_asked) in [
        ("INVITE, ACK, CANCEL, BYE", false),
        ("INVITE, ACK, BYE, REFER", true),
    ] {
        let scene = BobIsBusy::with(Setup::ReferOrDirect);
        let [alice, bob, _] = scene.phones();
        dials(alice, REQUEST_LAST);
        scene.bob_is_free();
        let recall = recalled(alice);
        let answer = response(&recall, 200).with("Allow", allow).with_sdp(ANSWER);
        let recall = Dialog::of_callee(&recall, &alice.sends(answer));
        alice.receives("ACK");
        if is_asked {
            let refer = alice.receives("REFER");
            alice.answers(&refer, 405);
        }
        is_put_through(alice, &recall, bob);
    }
}

#[test]
fn a_phone_that_does_not_dial_in_time_is_put_through() {
    let (scene, recall) = answered(Setup::ReferOrDirect);
    let (world, [alice, bob, _]) = scene.parts();
    takes_refer(alice, &recall);
    world.advance(just_before(INVITE_MAX));
    bob.receives_nothing();
    world.advance(MOMENT);
    // What it tells later is of no interest, to Bob least of all.
    let rings = bob.receives("INVITE");
    tells(alice, &recall, "SIP/2.0 100 Trying", MORE_TO_COME);
    connects(alice, bob, &rings);
    tells(alice, &recall, "SIP/2.0 603 Decline", LAST);
    bob.receives_nothing();
    hang_up(alice, &recall, bob);
}

#[test]
fn a_phone_whose_call_fails_before_it_leaves_is_put_through() {
    let (scene, recall) = answered(Setup::ReferOrDirect);
    let [alice, bob, _] = scene.phones();
    takes_refer(alice, &recall);
    tells(alice, &recall, "SIP/2.0 503 Service Unavailable", LAST);
    is_put_through(alice, &recall, bob);
}

#[test]
fn a_phone_that_follows_its_call_no_longer_may_still_dial() {
    let (scene, recall) = answered(Setup::ReferOrDirect);
    let [alice, bob, _] = scene.phones();
    let uri = takes_refer(alice, &recall);
    tells(alice, &recall, "SIP/2.0 100 Trying", LAST);
    alice.receives_nothing();
    let sent = dials_for(alice, &uri);
    let rings = bob.receives("INVITE");
    let (talk, _) = is_answered(alice, &sent, bob, &rings);
    scene.world.advance(INVITE_MAX);
    is_parted(alice, &recall);
    hang_up(alice, &talk, bob);
}

#[test]
fn a_caller_who_cannot_be_connected_is_let_go() {
    let (scene, recall) = answered(Setup::Refer);
    let (world, [alice, bob, _]) = scene.parts();
    let refer = alice.receives("REFER");
    alice.answers(&refer, 405);
    let reason = is_parted(alice, &recall);
    assert!(reason.starts_with("SIP;cause=503"), "{reason}");
    world.advance(LONG);
    bob.receives_nothing();
    dials(alice, CANCEL_LAST);
}

#[test]
fn a_late_call_of_the_phone_counts_as_one_by_hand() {
    let (scene, recall) = answered(Setup::Refer);
    let (world, [alice, bob, _]) = scene.parts();
    let uri = takes_refer(alice, &recall);
    world.advance(INVITE_MAX);
    is_parted(alice, &recall);
    world.advance(REST);
    let sent = dials_for(alice, &uri);
    let rings = bob.receives("INVITE");
    let (talk, _) = is_answered(alice, &sent, bob, &rings);
    hang_up(alice, &talk, bob);
    is_completed(alice);
}

#[test]
fn a_late_call_of_the_phone_takes_the_place_of_ours() {
    let (scene, recall) = answered(Setup::ReferOrDirect);
    let (world, [alice, bob, _]) = scene.parts();
    let uri = takes_refer(alice, &recall);
    world.advance(INVITE_MAX);
    let ours = bob.receives("INVITE");
    bob.answers(&ours, 180);
    let sent = dials_for(alice, &uri);
    let [cancel, hers] = bob.receives_each(["CANCEL", "INVITE"]);
    bob.answers(&cancel, 200);
    bob.refuses(&ours, 487);
    let reason = is_parted(alice, &recall);
    assert!(reason.starts_with("SIP;cause=200"), "{reason}");
    let (talk, _) = is_answered(alice, &sent, bob, &hers);
    hang_up(alice, &talk, bob);
    is_completed(alice);
}

#[test]
fn a_call_of_the_phone_that_meets_a_busy_callee_is_tried_again_later() {
    let (scene, recall) = answered(Setup::ReferOrDirect);
    let (world, [alice, bob, carol]) = scene.parts();
    let sent = dials_for(alice, &takes_refer(alice, &recall));
    let rings = bob.receives("INVITE");
    bob.refuses(&rings, 486);
    refused(alice, &sent, "486");
    tells(alice, &recall, "SIP/2.0 486 Busy Here", LAST);
    let reason = is_parted(alice, &recall);
    assert!(reason.starts_with("SIP;cause=486"), "{reason}");
    world.stays_quiet(); // CC-45
    let talk = call(carol, bob);
    hang_up(carol, &talk.caller, bob);
    world.advance(GUARD);
    let recall = recalled(alice);
    let recall = picks_up(alice, &recall);
    let sent = dials_for(alice, &takes_refer(alice, &recall));
    let rings = bob.receives("INVITE");
    let (talk, _) = is_answered(alice, &sent, bob, &rings);
    tells(alice, &recall, "SIP/2.0 200 OK", LAST);
    is_parted(alice, &recall);
    hang_up(alice, &talk, bob);
}

/// An INVITE of Alice's within the recall is answered: nothing flows.
#[track_caller]
fn is_held(alice: &Party, recall: &Dialog) -> Message {
    let hold = OFFER.replace("sendrecv", "sendonly");
    let sent = alice.sends(reinvite(recall).with_sdp(&hold));
    let [held] = alice.receives_each(["200"]);
    assert!(held.sdp().contains("a=inactive"), "{held}");
    alice.acks(&sent, &held);
    held
}

#[test]
fn a_phone_may_hold_the_recall_before_it_dials() {
    let (scene, recall) = answered(Setup::Refer);
    let [alice, bob, _] = scene.phones();
    let uri = takes_refer(alice, &recall);
    is_held(alice, &recall);
    let sent = dials_for(alice, &uri);
    let rings = bob.receives("INVITE");
    let (talk, _) = is_answered(alice, &sent, bob, &rings);
    tells(alice, &recall, "SIP/2.0 200 OK", LAST);
    is_parted(alice, &recall);
    hang_up(alice, &talk, bob);
}

#[test]
fn a_phone_may_leave_the_recall_as_soon_as_it_dials() {
    let (scene, recall) = answered(Setup::Refer);
    let [alice, bob, _] = scene.phones();
    let uri = takes_refer(alice, &recall);
    alice.leaves(&recall);
    let sent = dials_for(alice, &uri);
    let rings = bob.receives("INVITE");
    let (talk, _) = is_answered(alice, &sent, bob, &rings);
    // The news of its call are taken all the same.
    tells(alice, &recall, "SIP/2.0 200 OK", LAST);
    hang_up(alice, &talk, bob);
    is_completed(alice);
}

#[test]
fn a_caller_who_hangs_up_and_does_not_dial_is_left_alone() {
    let (scene, recall) = answered(Setup::ReferOrDirect);
    let (world, [alice, bob, _]) = scene.parts();
    takes_refer(alice, &recall);
    alice.sends(bye(&recall));
    alice.receives("200");
    world.advance(just_before(REST));
    world.quiet();
    world.advance(INVITE_MAX + MOMENT);
    let recall = recalled(alice);
    let recall = picks_up(alice, &recall);
    let refer = alice.receives("REFER");
    alice.sends(bye(&recall));
    alice.receives("200");
    alice.answers(&refer, 481);
    world.advance(INVITE_MAX * 2);
    bob.receives_nothing();
    dials(alice, CANCEL_LAST);
}

#[test]
fn news_of_somebody_elses_transfer_cross() {
    let (scene, recall) = answered(Setup::ReferOrDirect);
    let [alice, bob, _] = scene.phones();
    let refer = alice.receives("REFER");
    alice.answers(&refer, 405);
    let rings = bob.receives("INVITE");
    connects(alice, bob, &rings);
    let other = refer_news(&recall, "SIP/2.0 100 Trying", MORE_TO_COME);
    alice.sends(other.with_only("Event", "refer;id=99"));
    let news = bob.receives("NOTIFY");
    bob.answers(&news, 200);
    alice.receives("200");
    hang_up(alice, &recall, bob);
}

/// Where nothing is configured all is as before.
#[test]
fn a_standalone_campon_puts_through() {
    let scene = BobIsBusy::new();
    dials(&scene.alice, REQUEST_LAST);
    scene.bob_is_free();
    talks_after_recall(&scene.alice, &scene.bob);
}

#[test]
fn a_phone_that_rings_elsewhere_is_told_why_it_stops() {
    let (scene, recall) = answered(Setup::ReferOrDirect);
    let [alice, bob, _] = scene.phones();
    let refer = alice.receives("REFER");
    alice.answers(&refer, 405);
    let rings = bob.receives("INVITE");
    bob.answers(&rings, 180);
    alice.sends(bye(&recall));
    alice.receives("200");
    stops_ringing(bob, &rings);
    dials(alice, CANCEL_LAST);
}
