//! Asking and taking back: codes, limits, owners.

use crate::cc::Condition;
use crate::completion::{
    By, Code, Codes, Complete, CompletionId, Input, Limits, Mode, News, Outcome, Output, RawCodes,
    Reject, Settings, Ticket, Which, WhichCall,
};

use super::kit::{ALICE, BOB, CAROL, DAVE, World, answer, ended, rung, seconds, stopped, user};

#[test]
fn a_code_asks_for_the_last_failed_call_and_another_takes_it_back() {
    let raw = RawCodes {
        request_last: Some("*37#".to_owned()),
        cancel_last: Some("#37*#".to_owned()),
        cancel_all: Some("#37#".to_owned()),
        ..RawCodes::default()
    };
    let codes = Codes::new(&raw, &["112".to_owned()]).expect("codes");
    let mut world = World::new();
    world.engaged(BOB);
    world.fails(ALICE, BOB, Condition::Busy);
    world.fails(ALICE, DAVE, Condition::NoReply);
    assert_eq!(codes.parse(b"*37%23"), Some(Code::RequestLast));
    let id = world.asks(ALICE).expect("a place");
    assert_eq!(*world.service.view(id).expect("alive").callee, user(DAVE));
    assert_eq!(codes.parse(b"#37*#"), Some(Code::CancelLast));
    let (result, _) = world.takes_back(ALICE, Which::Last);
    assert_eq!(result, Ok(vec![id]));
    assert_eq!(rung(&world.frees(BOB)), []);
    world.ends_empty();
}

#[test]
fn cancel_all_takes_back_all_of_a_callers_requests_and_nobody_elses() {
    let mut world = World::new();
    let bob = world.waits(ALICE, BOB);
    let dave = world.waits(ALICE, DAVE);
    let other = world.waits(CAROL, BOB);
    let (result, out) = world.takes_back(ALICE, Which::All);
    assert_eq!(result, Ok(vec![bob, dave]));
    let mut outcomes = ended(&out);
    outcomes.sort();
    let mut expected = [(bob, Outcome::Cancelled), (dave, Outcome::Cancelled)];
    expected.sort();
    assert_eq!(outcomes, expected);
    assert_eq!(rung(&world.frees(BOB)), [user(CAROL)]);
    assert!(world.service.view(other).is_some());
}

#[test]
fn somebody_elses_request_is_as_unknown_as_none() {
    let mut world = World::new();
    let id = world.waits(ALICE, BOB);
    let (result, out) = world.takes_back(CAROL, Which::Id(id));
    assert_eq!(result, Err(Reject::UnknownCompletion));
    assert_eq!(ended(&out), []);
    let nobody = CompletionId::from_bits(1);
    let (result, _) = world.takes_back(CAROL, Which::Id(nobody));
    assert_eq!(result, Err(Reject::UnknownCompletion));
    assert_eq!(
        world.takes_back(CAROL, Which::All).0,
        Err(Reject::UnknownCompletion)
    );
    assert_eq!(rung(&world.frees(BOB)), [user(ALICE)]);
}

#[test]
fn a_second_wish_for_the_same_callee_is_the_first_one() {
    let mut world = World::new();
    let id = world.waits(ALICE, BOB);
    world.waits(CAROL, BOB);
    world.pass(seconds(10));
    // CC-14, CC-15
    assert_eq!(world.waits(ALICE, BOB), id);
    assert_eq!(world.service.views(&user(ALICE)).len(), 1);
    assert_eq!(rung(&world.frees(BOB)), [user(ALICE)], "the place is kept");
}

#[test]
fn a_second_wish_waits_for_what_the_second_call_needs() {
    let mut world = World::new();
    world.waits(ALICE, BOB);
    world.pass(seconds(10));
    world.stops_ringing(BOB);
    world.pass(seconds(1));
    world.fails(ALICE, BOB, Condition::NoReply);
    world.asks(ALICE).expect("the same place");
    assert_eq!(rung(&world.pass(seconds(600))), []);
    world.engaged(BOB);
    assert_eq!(rung(&world.frees(BOB)), [user(ALICE)]);
}

#[test]
fn completion_is_asked_for_shortly_after_a_failed_call_or_not_at_all() {
    let mut world = World::new();
    assert_eq!(world.asks(ALICE), Err(Reject::NoOffer));
    world.fails(ALICE, BOB, Condition::NoReply);
    // Late, and nothing that was due has been done yet.
    world.now = world.now + seconds(31);
    // CC-73
    assert_eq!(world.asks(ALICE), Err(Reject::NoOffer));
    world.fails(ALICE, BOB, Condition::NoReply);
    world.pass(seconds(30));
    assert!(world.asks(ALICE).is_ok());
}

#[test]
fn the_last_five_failed_calls_are_remembered() {
    let mut world = World::new();
    let calls: Vec<_> = (0..6)
        .map(|n| {
            let call = world.failed_call(ALICE, &format!("callee-{n}"), Condition::NoReply);
            let name = call.call;
            world.step(Input::CallFailed(call));
            name
        })
        .collect();
    let mut ask = |call| {
        let out = world.step(Input::Complete(Complete {
            ticket: Ticket(1),
            caller: user(ALICE),
            call: WhichCall::Call(call),
            mode: Mode::Callback,
        }));
        answer(&out).expect("an answer")
    };
    assert_eq!(ask(calls[0]), Err(Reject::NoOffer));
    // CC-08
    assert!(ask(calls[1]).is_ok());
    assert!(ask(calls[5]).is_ok());
}

#[test]
fn a_caller_may_have_five_requests() {
    let mut world = World::new();
    for n in 0..5 {
        world.waits(ALICE, &format!("callee-{n}"));
    }
    world.fails(ALICE, BOB, Condition::Busy);
    // CC-60
    assert_eq!(world.asks(ALICE), Err(Reject::CallerLimit));
    let numbers: Vec<_> = world
        .service
        .views(&user(ALICE))
        .iter()
        .map(|view| view.number)
        .collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
    assert!(world.takes_back(ALICE, Which::Last).0.is_ok());
    assert!(world.asks(ALICE).is_ok());
}

#[test]
fn a_callee_may_have_five_waiting_and_the_process_as_many_as_it_can_hold() {
    let settings = Settings {
        limits: Limits {
            total_max: 7,
            ..Limits::default()
        },
        ..Settings::default()
    };
    let mut world = World::with(&settings);
    for n in 0..5 {
        assert!(world.service.has_place(&user(BOB)));
        world.waits(&format!("caller-{n}"), BOB);
    }
    assert!(!world.service.has_place(&user(BOB)));
    world.fails(ALICE, BOB, Condition::Busy);
    // CC-60
    assert_eq!(world.asks(ALICE), Err(Reject::QueueFull));
    world.waits(ALICE, DAVE);
    world.waits(CAROL, DAVE);
    world.fails(BOB, DAVE, Condition::Busy);
    assert_eq!(world.asks(BOB), Err(Reject::ProcessFull));
}

#[test]
fn other_modes_are_not_offered() {
    let mut world = World::new();
    world.fails(ALICE, BOB, Condition::Busy);
    for mode in [Mode::CampOn, Mode::Intrude, Mode::Message] {
        let out = world.step(Input::Complete(Complete {
            ticket: Ticket(1),
            caller: user(ALICE),
            call: WhichCall::Last,
            mode,
        }));
        assert_eq!(answer(&out), Some(Err(Reject::ModeNotOffered)));
    }
}

#[test]
fn an_end_that_the_caller_did_not_ask_for_is_told_as_such() {
    let by = |out: &[Output]| {
        out.iter().find_map(|output| {
            let Output::Tell(tell) = output else {
                return None;
            };
            let News::Ended { by, left, .. } = tell.news else {
                return None;
            };
            Some((by, left))
        })
    };
    let mut world = World::new();
    let id = world.waits(ALICE, BOB);
    world.waits(ALICE, DAVE);
    let (_, out) = world.takes_back(ALICE, Which::Id(id));
    assert_eq!(by(&out), Some((By::Caller, 1)));
    let id = world.id_of(ALICE);
    let ticket = Ticket(9);
    let out = world.step(Input::Refuse { ticket, id });
    assert_eq!(by(&out), Some((By::Other, 0)));
    assert_eq!(ended(&out), [(id, Outcome::Refused)]);
    let out = world.step(Input::Refuse { ticket, id });
    let unknown = Err(Reject::UnknownCompletion);
    let answered = |output: &Output| matches!(output, Output::Uncompleted { result, .. } if *result == unknown);
    assert!(out.iter().any(answered));
}

#[test]
fn a_user_who_is_gone_takes_his_requests_and_his_queue_with_him() {
    let mut world = World::new();
    let waiting_for_him = world.waits(ALICE, BOB);
    let his = world.waits(BOB, DAVE);
    world.frees(BOB);
    let out = world.step(Input::UserGone { user: user(BOB) });
    let mut outcomes = ended(&out);
    outcomes.sort();
    let mut expected = [(waiting_for_him, Outcome::Refused), (his, Outcome::Refused)];
    expected.sort();
    // CC-37
    assert_eq!(outcomes, expected);
    assert_eq!(stopped(&out), [waiting_for_him]);
    world.ends_empty();
}

#[test]
fn only_users_who_wait_or_are_waited_for_are_watched() {
    let mut world = World::new();
    world.engaged(BOB);
    world.fails(ALICE, BOB, Condition::Busy);
    let out = world.asks_in_full(ALICE);
    let mut watched: Vec<_> = out
        .iter()
        .filter_map(|output| {
            let Output::Watch { user } = output else {
                return None;
            };
            Some(user.clone())
        })
        .collect();
    watched.sort();
    assert_eq!(watched, [user(ALICE), user(BOB)]);
    let (_, out) = world.takes_back(ALICE, Which::Last);
    let unwatched = out
        .iter()
        .filter(|output| matches!(output, Output::Unwatch { .. }));
    assert_eq!(unwatched.count(), 2);
}
