//! How much can be asked for: requests of one caller, places in one queue.
//!
//! Spec: RFC 6910 §9.7; DESIGN §8.7.

use std::time::Duration;

use campon::completion::{Mode, Reject};
use campon::shard::provider::{Answer, Ask, Refusal};

use crate::flow::kit::completion::{
    BobIsBusy, CANCEL_ALL, REQUEST_LAST, dials, dials_in_vain, ended, finds_busy, offered_uri,
    stops_ringing, subscribe, subscribes, talks_after_recall, unsubscribe,
};
use crate::flow::kit::draft::{OFFER, invite, register};
use crate::flow::kit::message::Message;
use crate::flow::kit::party::Party;
use crate::flow::kit::scenes::refused;
use crate::flow::kit::subject::Setup;
use crate::flow::kit::world::World;

/// A call to a user who is known and has no phone any more.
#[track_caller]
fn finds_absent(world: &World, caller: &Party, user: &str) -> Message {
    let phone = world.phone(user);
    phone.sends(register(user).with_only("Expires", "0"));
    phone.receives("200");
    let sent = caller.sends(invite(user).with_sdp(OFFER));
    refused(caller, &sent, "480")
}

#[test]
fn a_caller_may_ask_for_five_callees() {
    let world = World::new(Setup::Standalone);
    let alice = world.phone("alice");
    for user in ["u1", "u2", "u3", "u4", "u5"] {
        finds_absent(&world, &alice, user);
        dials(&alice, REQUEST_LAST);
    }
    let sixth = finds_absent(&world, &alice, "u6");
    let refusal = dials_in_vain(&alice, REQUEST_LAST, "480"); // CC-60
    assert_eq!(refusal.phrase(), "the caller has too many requests");
    alice.sends(subscribe(&alice, offered_uri(&sixth)));
    assert_eq!(alice.receives("480").header("Retry-After"), "60");
    dials(&alice, CANCEL_ALL);
    dials(&alice, REQUEST_LAST);
    dials(&alice, CANCEL_ALL);
}

/// The story: an application asked for one too many, and the phone that rang for it stopped.
#[test]
fn a_call_that_rings_is_not_given_up_for_a_request_that_is_refused() {
    let world = World::new(Setup::Texts);
    let [alice, bob] = ["alice", "bob"].map(|name| world.phone(name));
    let rings = || {
        let sent = alice.sends(invite("bob").with_sdp(OFFER));
        let rung = bob.receives("INVITE");
        bob.answers(&rung, 180);
        alice.receives("180");
        (sent, rung)
    };
    let asks = |mode, message| {
        let Answer::Calls(calls) = world.asks_at_once(Ask::Calls(Some("alice".into()))) else {
            panic!("no calls");
        };
        let call = calls.iter().find(|call| call.status.is_none());
        world.is_asked(Ask::Complete {
            call: call.expect("a call that rings").call,
            mode: Some(mode),
            message,
        });
        world.answers()
    };
    for user in ["u1", "u2", "u3", "u4", "u5"] {
        finds_absent(&world, &alice, user);
        dials(&alice, REQUEST_LAST);
    }
    let (sent, rung) = rings();
    for (mode, message) in [(Mode::Callback, None), (Mode::Message, Some(0))] {
        let answer = asks(mode, message);
        let limit = Refusal::Completion(Reject::CallerLimit);
        assert!(
            matches!(answer, Answer::Refused(refusal) if refusal == limit),
            "{answer:?}"
        );
        alice.receives_nothing();
        bob.receives_nothing();
    }
    bob.refuses(&rung, 486);
    refused(&alice, &sent, "486");
    dials(&alice, CANCEL_ALL);
    let (sent, rung) = rings();
    let answer = asks(Mode::Callback, None);
    assert!(matches!(answer, Answer::Completed { .. }), "{answer:?}");
    stops_ringing(&bob, &rung);
    refused(&alice, &sent, "480");
    dials(&alice, CANCEL_ALL);
}

#[test]
fn a_callee_is_waited_for_by_five_callers() {
    let scene = BobIsBusy::new();
    let world = &scene.world;
    let names = ["d1", "d2", "d3", "d4", "d5"];
    let callers = names.map(|name| world.phone(name));
    let offers = callers.each_ref().map(finds_busy);
    world.advance(Duration::from_secs(1));
    let waiting = [0, 1, 2, 3, 4].map(|nth| subscribes(&callers[nth], &offers[nth]));
    // CC-60: for now.
    scene
        .alice
        .sends(subscribe(&scene.alice, offered_uri(&scene.busy)));
    let refused = scene.alice.receives("480");
    assert_eq!(refused.header("Retry-After"), "60");
    let refusal = dials_in_vain(&scene.alice, REQUEST_LAST, "480");
    assert_eq!(refusal.phrase(), "the callee's queue is full");
    // Nobody else is offered a place that there is not.
    let dave = world.phone("dave");
    assert!(!finds_busy(&dave).has("Call-Info"));
    for (caller, waiting) in callers.iter().zip(&waiting) {
        caller.sends(unsubscribe(&waiting.dialog));
        caller.receives("200");
        ended(caller, "timeout");
    }
    dials(&scene.alice, REQUEST_LAST);
    scene.bob_is_free();
    talks_after_recall(&scene.alice, &scene.bob);
    world.stays_quiet();
}
