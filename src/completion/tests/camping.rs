//! Calls that wait, and what becomes of their requests when the calls are lost.

use crate::cc::Condition;
use crate::cc::capsule::CallIdentity;
use crate::cc::line::Calls;
use crate::cc::monitor::Found;
use crate::completion::{
    Complete, CompletionId, Input, Lost, Mode, Outcome, Output, Reject, Ticket, Which, WhichCall,
};
use crate::store::Answer;

use super::kit::{ALICE, BOB, StoreMood, World, called, ended, refused, rung, seconds, user};

/// Alice waits for Bob with this call.
fn camps(world: &mut World) -> (CallIdentity, CompletionId) {
    world.engaged(BOB);
    let failed = world.failed_call(ALICE, BOB, Condition::Busy);
    let call = failed.call;
    world.step(Input::CallFailed(failed));
    world.step(Input::CallHeld { call });
    world.step(Input::Complete(Complete {
        ticket: Ticket(1),
        caller: user(ALICE),
        call: WhichCall::Call(call),
        mode: Mode::CampOn,
    }));
    let id = world.service.camp_of(call);
    (call, id.expect("a place in the queue"))
}

/// The same, and her call is on its way to him.
fn is_connected(world: &mut World) -> (CallIdentity, CompletionId) {
    let (call, id) = camps(world);
    world.pass(seconds(60));
    let mut out = world.hangs_up(BOB);
    out.extend(world.pass(seconds(1)));
    let connects = |it: &Output| matches!(it, Output::Connect { call: its, .. } if *its == call);
    assert!(out.iter().any(connects), "{out:?}");
    world.step(Input::CcCallArrived { id });
    (call, id)
}

fn loses(world: &mut World, call: CallIdentity, how: Lost) -> Vec<Output> {
    world.step(Input::CallLost { call, how })
}

#[test]
fn a_call_that_is_lost_becomes_a_callback_that_is_kept() {
    let mut world = World::new();
    let (call, id) = is_connected(&mut world);
    assert!(world.store.is_empty(), "a call outlives no process");
    world.pass(seconds(4));
    let mut out = loses(&mut world, call, Lost::NotRepeated);
    assert_eq!(world.stored().len(), 1);
    assert_eq!(world.service.views(&user(ALICE))[0].mode, Mode::Callback);
    out.extend(world.pass(seconds(1)));
    assert_eq!(rung(&out), [user(ALICE)]);
    assert!(ended(&out).is_empty(), "{out:?}");
    let out = world.step(Input::RecallAnswered { id });
    assert_eq!(called(&out), ["sip:bob@home.example;m=BS"]);
    world.step(Input::CcCallArrived { id });
    let out = world.step(Input::CcCallAnswered { id });
    assert_eq!(ended(&out), [(id, Outcome::Completed)]);
    world.ends_empty();
}

/// A record was written as the call went back, and was never removed.
#[test]
fn a_call_that_goes_back_into_the_queue_is_not_kept() {
    let mut world = World::new();
    let (_, id) = is_connected(&mut world);
    let found = Some(Found {
        condition: Condition::Busy,
        calls: Calls::Engaged,
    });
    world.engaged(BOB);
    world.step(Input::CcCallFailed { id, found });
    assert!(world.store.is_empty(), "a call outlives no process");
    world.takes_back(ALICE, Which::Id(id)).0.expect("it waits");
    world.ends_empty();
}

#[test]
fn a_lost_call_waits_through_a_restart() {
    let mut world = World::new();
    let (call, id) = is_connected(&mut world);
    world.engaged(BOB);
    loses(&mut world, call, Lost::NotRepeated);
    world.restarts(&[]);
    assert_eq!(world.id_of(ALICE), id);
    world.engaged(BOB);
    let out = world.frees(BOB);
    assert_eq!(rung(&out), [user(ALICE)]);
}

/// R9: she talks to his mailbox; it has told nothing of him.
#[test]
fn a_call_that_somebody_else_answered_waits_until_he_has_talked() {
    let mut world = World::new();
    let (call, _) = is_connected(&mut world);
    let mut out = loses(&mut world, call, Lost::Diverted);
    out.extend(world.pass(seconds(600)));
    assert_eq!(rung(&out), []);
    world.engaged(BOB);
    assert_eq!(rung(&world.frees(BOB)), [user(ALICE)]);
}

/// Taken back before the phone had time to call again.
#[test]
fn a_call_whose_request_has_ended_is_lost_without_a_trace() {
    let mut world = World::new();
    let (call, id) = is_connected(&mut world);
    let (_, out) = world.takes_back(ALICE, Which::Id(id));
    assert_eq!(ended(&out), [(id, Outcome::Cancelled)]);
    assert!(loses(&mut world, call, Lost::NotRepeated).is_empty());
    world.ends_empty();
}

/// Alice's phone subscribed while her call waited. The store did not take the subscription, and whoever
/// knew of her request by then never heard that it was over.
#[test]
fn a_call_whose_place_the_store_does_not_keep_for_a_subscription_has_ended() {
    for fails in [false, true] {
        let mut world = World::new();
        let token = world.fails(ALICE, BOB, Condition::Busy);
        let (call, id) = camps(&mut world);
        world.mood = StoreMood::Silent;
        let (_, out) = world.subscribes(ALICE, &token, "c1");
        let leaves = |it: &Output| matches!(it, Output::EndCamp { call: its } if *its == call);
        assert!(out.iter().any(leaves), "{out:?}");
        let out = if fails {
            world.step(Input::StoreFailed)
        } else {
            world.pass(seconds(4))
        };
        assert_eq!(refused(&out), Some(Reject::StoreUnavailable));
        assert_eq!(ended(&out), [(id, Outcome::Refused)]);
        end_well(world);
    }
}

#[test]
fn a_lost_call_that_the_store_does_not_keep_has_ended() {
    let mut world = World::new();
    let (call, id) = is_connected(&mut world);
    world.mood = StoreMood::Silent;
    let out = loses(&mut world, call, Lost::NotRepeated);
    assert!(ended(&out).is_empty(), "{out:?}");
    assert_eq!(ended(&world.pass(seconds(4))), [(id, Outcome::Refused)]);
    end_well(world);
}

/// It ends once, whoever ended it.
#[test]
fn a_lost_call_that_is_taken_back_before_the_store_keeps_it_is_cancelled() {
    let mut world = World::new();
    let (call, id) = is_connected(&mut world);
    world.mood = StoreMood::Silent;
    let mut out = loses(&mut world, call, Lost::NotRepeated);
    out.extend(world.step(Input::Uncomplete {
        ticket: Ticket(5),
        caller: user(ALICE),
        which: Which::Id(id),
    }));
    assert!(ended(&out).is_empty(), "{out:?}");
    assert_eq!(ended(&world.pass(seconds(4))), [(id, Outcome::Cancelled)]);
    end_well(world);
}

/// The answers of a silent store come late.
fn end_well(mut world: World) {
    world.mood = StoreMood::Well;
    world.step(Input::StoreOpened { found: Vec::new() });
    for (key, stored) in world.stored() {
        let answer = Answer::Done(stored.version);
        world.step(Input::Persisted { key, answer });
    }
    world.ends_empty();
}
