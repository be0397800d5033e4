//! The ladders of one callee and callers of ours, from the failed call to the talk.

use crate::cc::Condition;
use crate::cc::agent::{RecallFailure, Why};
use crate::cc::line::Calls;
use crate::cc::monitor::Found;
use crate::completion::{
    CompletionId, Event, Input, News, Outcome, Output, Reject, Stage, Via, Which,
};

use super::kit::{ALICE, BOB, CAROL, DAVE, World, called, ended, rung, seconds, stopped, user};

const BUSY: Found = Found {
    condition: Condition::Busy,
    calls: Calls::Engaged,
};

#[test]
fn ccbs_b_hangs_up_a_is_rung_b_is_called_and_they_talk() {
    let mut world = World::new();
    let id = world.waits(ALICE, BOB);
    let out = world.frees(BOB);
    assert_eq!(rung(&out), [user(ALICE)]);
    let out = world.step(Input::RecallAnswered { id });
    let Some(Output::Call(call)) = out.iter().find(|o| matches!(o, Output::Call(_))) else {
        panic!("no CC call");
    };
    // CC-23
    assert_eq!(call.target.as_str(), "sip:bob@home.example;m=BS");
    let cce = world.service.views(&user(ALICE))[0].cce;
    assert_eq!(call.via, Via::Own(cce));
    assert_eq!(world.service.recognise_token(cce), Some(id));
    world.step(Input::CcCallArrived { id });
    world.engaged(BOB);
    let out = world.step(Input::CcCallAnswered { id });
    assert_eq!(ended(&out), [(id, Outcome::Completed)]);
    assert_eq!(
        world.takes_back(ALICE, Which::Id(id)).0,
        Err(Reject::UnknownCompletion),
        "too late"
    );
    world.hangs_up(BOB);
    world.ends_empty();
}

#[test]
fn ccnr_a_is_rung_after_b_was_seen_talking() {
    let mut world = World::new();
    world.fails(ALICE, BOB, Condition::NoReply);
    let id = world.asks(ALICE).expect("a place");
    world.engaged(BOB);
    world.pass(seconds(30));
    world.stops_ringing(BOB);
    assert_eq!(rung(&world.pass(seconds(600))), []);
    world.engaged(BOB);
    let out = world.frees(BOB);
    assert_eq!(rung(&out), [user(ALICE)]);
    let out = world.step(Input::RecallAnswered { id });
    assert_eq!(called(&out), ["sip:bob@home.example;m=NR"]);
}

#[test]
fn ccnl_a_is_rung_after_b_registered() {
    let mut world = World::new();
    world.unregisters(BOB);
    world.fails(ALICE, BOB, Condition::NotLoggedIn);
    world.asks(ALICE).expect("a place");
    assert_eq!(rung(&world.pass(seconds(600))), []);
    world.registers(BOB);
    assert_eq!(rung(&world.pass(seconds(4))), []);
    assert_eq!(rung(&world.pass(seconds(1))), [user(ALICE)]);
}

#[test]
fn two_callers_are_served_in_their_order() {
    let mut world = World::new();
    let alice = world.waits(ALICE, BOB);
    let carol = world.waits(CAROL, BOB);
    assert_eq!(rung(&world.frees(BOB)), [user(ALICE)]);
    world.step(Input::RecallAnswered { id: alice });
    world.step(Input::CcCallArrived { id: alice });
    world.engaged(BOB);
    world.step(Input::CcCallAnswered { id: alice });
    // CC-47
    assert_eq!(rung(&world.frees(BOB)), [user(CAROL)]);
    world.step(Input::RecallAnswered { id: carol });
    world.step(Input::CcCallArrived { id: carol });
    let out = world.step(Input::CcCallAnswered { id: carol });
    assert_eq!(ended(&out), [(carol, Outcome::Completed)]);
    world.ends_empty();
}

#[test]
fn a_caller_who_ignores_his_recall_lets_the_next_one_pass() {
    let mut world = World::new();
    let alice = world.waits(ALICE, BOB);
    world.waits(CAROL, BOB);
    world.frees(BOB);
    let out = world.pass(seconds(15));
    assert_eq!(stopped(&out), [alice]);
    assert_eq!(rung(&out), [user(CAROL)]);
    let story: Vec<_> = world
        .service
        .view(alice)
        .expect("alive")
        .history
        .iter()
        .collect();
    let failure = RecallFailure::Unanswered;
    assert!(
        story
            .iter()
            .any(|(_, event)| *event == Event::RecallFailed(failure))
    );
}

#[test]
fn the_third_recall_that_a_caller_ignores_ends_his_request() {
    let mut world = World::new();
    let id = world.waits(ALICE, BOB);
    let mut out = world.frees(BOB);
    out.extend(world.pass(seconds(600)));
    assert_eq!(rung(&out).len(), 3);
    assert_eq!(ended(&out), [(id, Outcome::Refused)]);
    world.ends_empty();
}

#[test]
fn a_callee_who_is_busy_again_costs_nobody_his_place() {
    let mut world = World::new();
    let alice = world.waits(ALICE, BOB);
    world.waits(CAROL, BOB);
    world.frees(BOB);
    world.step(Input::RecallAnswered { id: alice });
    world.step(Input::CcCallArrived { id: alice });
    world.engaged(BOB);
    let found = Some(BUSY);
    let out = world.step(Input::CcCallFailed { id: alice, found });
    // CC-45
    assert_eq!(ended(&out), []);
    assert_eq!(rung(&world.pass(seconds(300))), [], "a new edge is awaited");
    assert_eq!(rung(&world.frees(BOB)), [user(ALICE)]);
}

#[test]
fn a_callee_who_rejects_starts_no_storm_of_recalls() {
    let mut world = World::new();
    let alice = world.waits(ALICE, BOB);
    world.waits(CAROL, BOB);
    world.frees(BOB);
    world.step(Input::RecallAnswered { id: alice });
    world.step(Input::CcCallArrived { id: alice });
    world.engaged(BOB);
    let found = Some(Found {
        calls: Calls::Free,
        ..BUSY
    });
    let mut out = world.step(Input::CcCallFailed { id: alice, found });
    out.extend(world.stops_ringing(BOB));
    out.extend(world.pass(seconds(1800)));
    assert_eq!(rung(&out), []);
}

#[test]
fn a_caller_on_a_call_is_suspended_and_rung_when_he_is_free() {
    let mut world = World::new();
    world.waits(ALICE, BOB);
    world.waits(CAROL, BOB);
    world.engaged(ALICE);
    // CC-24
    assert_eq!(rung(&world.frees(BOB)), [user(CAROL)]);
    let id = world.id_of(CAROL);
    world.step(Input::RecallFailed {
        id,
        why: RecallFailure::Refused,
    });
    let mut out = world.hangs_up(ALICE);
    out.extend(world.pass(seconds(10)));
    // CC-27
    assert_eq!(rung(&out), [user(ALICE)]);
}

#[test]
fn a_caller_is_rung_for_one_of_his_requests_at_a_time() {
    let mut world = World::new();
    let bob = world.waits(ALICE, BOB);
    world.waits(ALICE, DAVE);
    world.pass(seconds(60));
    world.hangs_up(BOB);
    world.hangs_up(DAVE);
    // CC-21
    assert_eq!(rung(&world.pass(seconds(10))).len(), 1);
    world.engaged(ALICE);
    world.step(Input::RecallAnswered { id: bob });
    world.step(Input::CcCallArrived { id: bob });
    let mut out = world.step(Input::CcCallAnswered { id: bob });
    out.extend(world.pass(seconds(60)));
    assert_eq!(rung(&out), []);
    let mut out = world.hangs_up(ALICE);
    out.extend(world.pass(seconds(10)));
    assert_eq!(rung(&out), [user(ALICE)]);
}

#[test]
fn a_callee_who_calls_while_a_is_rung_stops_the_ringing() {
    let mut world = World::new();
    let id = world.waits(ALICE, BOB);
    world.frees(BOB);
    let out = world.engaged(BOB);
    // CC-63
    assert_eq!(stopped(&out), [id]);
    // A's answer crossed it.
    assert_eq!(called(&world.step(Input::RecallAnswered { id })), [""; 0]);
    assert_eq!(rung(&world.frees(BOB)), [user(ALICE)]);
}

#[test]
fn nobody_is_rung_for_a_callee_who_called_for_help_or_by_a_caller_who_did() {
    let mut world = World::new();
    world.waits(ALICE, BOB);
    world.waits(CAROL, DAVE);
    world.called_for_help(BOB, seconds(1800));
    world.called_for_help(CAROL, seconds(1800));
    world.pass(seconds(60));
    world.hangs_up(BOB);
    world.hangs_up(DAVE);
    assert_eq!(rung(&world.pass(seconds(1739))), []);
    let mut both = rung(&world.pass(seconds(2)));
    both.sort();
    assert_eq!(both, [user(ALICE), user(CAROL)]);
}

#[test]
fn an_answer_by_voicemail_leaves_the_request_waiting() {
    let mut world = World::new();
    let id = world.waits(ALICE, BOB);
    world.frees(BOB);
    world.step(Input::RecallAnswered { id });
    world.step(Input::CcCallArrived { id });
    let out = world.step(Input::CcCallDiverted { id });
    assert_eq!(ended(&out), []);
    assert_eq!(stopped(&out), [], "the call stays up");
    assert_eq!(rung(&world.pass(seconds(600))), []);
    world.engaged(BOB);
    assert_eq!(rung(&world.frees(BOB)), [user(ALICE)]);
}

#[test]
fn a_call_by_hand_completes_the_request() {
    let mut world = World::new();
    let id = world.waits(ALICE, BOB);
    world.frees(BOB);
    let (caller, callee) = (user(ALICE), user(BOB));
    assert_eq!(world.service.recognise(&caller, &callee), Some(id));
    let out = world.step(Input::CallAnswered { caller, callee });
    assert_eq!(stopped(&out), [id]);
    assert_eq!(ended(&out), [(id, Outcome::Completed)]);
    world.ends_empty();
}

#[test]
fn a_cc_call_that_cannot_be_placed_waits_for_the_next_change() {
    let mut world = World::new();
    let id = world.waits(ALICE, BOB);
    world.frees(BOB);
    world.step(Input::RecallAnswered { id });
    let why = RecallFailure::NoCall;
    let out = world.step(Input::RecallFailed { id, why });
    assert_eq!(ended(&out), []);
    assert_eq!(rung(&world.pass(seconds(300))), []);
    world.engaged(BOB);
    assert_eq!(rung(&world.frees(BOB)), [user(ALICE)]);
}

#[test]
fn a_request_expires_with_its_service() {
    let mut world = World::new();
    let id = world.waits(ALICE, BOB);
    let out = world.pass(seconds(3600));
    assert_eq!(ended(&out), [(id, Outcome::Expired)]);
    world.ends_empty();
}

#[test]
fn the_callee_is_reserved_from_the_selection_to_the_end_of_the_call() {
    let mut world = World::new();
    let id = world.waits(ALICE, BOB);
    assert_eq!(world.service.reserved_for(&user(BOB)), None);
    world.frees(BOB);
    assert_eq!(world.service.reserved_for(&user(BOB)), Some(id));
    world.step(Input::RecallAnswered { id });
    world.step(Input::CcCallArrived { id });
    assert_eq!(world.service.reserved_for(&user(BOB)), Some(id));
    world.step(Input::CcCallAnswered { id });
    assert_eq!(world.service.reserved_for(&user(BOB)), None);
}

/// RULES R18, as far as it shows at the service.
#[test]
fn uncomplete_stops_what_is_up_in_each_state() {
    type Reach = fn(&mut World, CompletionId);
    let states: [(Stage, Reach); 4] = [
        (Stage::Queued, |_, _| {}),
        (Stage::Recalling, |world, _| {
            world.frees(BOB);
        }),
        (Stage::Recalling, |world, id| {
            world.frees(BOB);
            world.step(Input::RecallAnswered { id });
        }),
        (Stage::Calling, |world, id| {
            world.frees(BOB);
            world.step(Input::RecallAnswered { id });
            world.step(Input::CcCallArrived { id });
        }),
    ];
    for (stage, reach) in states {
        let mut world = World::new();
        let id = world.waits(ALICE, BOB);
        reach(&mut world, id);
        assert_eq!(world.service.view(id).expect("alive").stage, stage);
        let (result, out) = world.takes_back(ALICE, Which::Id(id));
        assert_eq!(result, Ok(vec![id]));
        let expected = if stage == Stage::Queued {
            vec![]
        } else {
            vec![id]
        };
        assert_eq!(stopped(&out), expected, "{stage:?}");
        assert_eq!(ended(&out), [(id, Outcome::Cancelled)]);
        let late = [
            world.step(Input::RecallAnswered { id }),
            world.step(Input::CcCallArrived { id }),
            world.hangs_up(BOB),
        ];
        let mut late = late.concat();
        late.extend(world.pass(seconds(600)));
        assert_eq!(rung(&late), [], "{stage:?}");
        assert_eq!(called(&late), [""; 0]);
        world.ends_empty();
    }
}

#[test]
fn a_cc_call_by_hand_during_the_ringing_is_the_cc_call() {
    let mut world = World::new();
    let id = world.waits(ALICE, BOB);
    world.frees(BOB);
    let out = world.step(Input::CcCallArrived { id });
    let by_hand = out
        .iter()
        .any(|output| matches!(output, Output::EndRecall { why, .. } if *why == Why::CalledByHand));
    assert!(by_hand, "his phone stops ringing");
    let out = world.step(Input::CcCallAnswered { id });
    assert_eq!(ended(&out), [(id, Outcome::Completed)]);
}

#[test]
fn the_story_is_told_in_its_order() {
    let mut world = World::new();
    let id = world.waits(ALICE, BOB);
    world.frees(BOB);
    world.step(Input::RecallAnswered { id });
    world.step(Input::CcCallArrived { id });
    let out = world.step(Input::CcCallAnswered { id });
    let story = out.iter().find_map(|output| {
        let Output::Tell(tell) = output else {
            return None;
        };
        let News::Ended { history, .. } = &tell.news else {
            return None;
        };
        Some(history.clone())
    });
    let story = story.expect("it ended");
    let events: Vec<_> = story.iter().map(|(_, event)| event).collect();
    let expected = [
        Event::Requested(Condition::Busy),
        Event::Queued(1),
        Event::Recalled,
        Event::CallerAnswered,
        Event::CallStarted,
        Event::Ended(Outcome::Completed),
    ];
    assert_eq!(events, expected);
}
