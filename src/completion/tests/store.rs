//! What the store does, and what waits for it.

use crate::cc::Condition;
use crate::cc::agent::RecallFailure;
use crate::cc::monitor::Reason;
use crate::completion::{Event, Input, Outcome, Output, Record, Reject, Ticket, WallTime, Which};
use crate::store::{Answer, Store as _, Version};

use super::kit::{
    ALICE, BOB, CAROL, QUEUED, StoreMood, World, answer, called, ended, notified, notifies, over,
    refused, rung, seconds, stopped, user,
};

#[test]
fn a_request_is_kept_before_its_caller_hears_of_it() {
    let mut world = World::new();
    world.engaged(BOB);
    world.fails(ALICE, BOB, Condition::Busy);
    let out = world.asks_in_full(ALICE);
    let kept = out.iter().position(|o| matches!(o, Output::Persist(_)));
    let told = out
        .iter()
        .position(|o| matches!(o, Output::Completed { .. }));
    assert!(kept < told);
    let id = answer(&out).expect("answered").expect("accepted");
    let stored = world.store.read(Record::key(id, &user(BOB))).expect("kept");
    let record = Record::decode(&stored.record, WallTime(0)).expect("a record");
    assert_eq!((record.id, record.callee), (id, user(BOB)));
}

#[test]
fn a_recall_is_counted_before_it_rings() {
    let mut world = World::new();
    let id = world.waits(ALICE, BOB);
    world.mood = StoreMood::Silent;
    assert_eq!(rung(&world.frees(BOB)), []);
    let key = Record::key(id, &user(BOB));
    let stored = world.store.read(key).expect("kept");
    let record = Record::decode(&stored.record, WallTime(0)).expect("a record");
    assert_eq!(record.recalls, 1);
    let answer = Answer::Done(stored.version);
    assert_eq!(
        rung(&world.step(Input::Persisted { key, answer })),
        [user(ALICE)]
    );
}

/// The answer waited for the end of one alone, and a process that ended then left the other to ring.
#[test]
fn who_takes_several_back_is_told_when_the_end_of_each_is_kept() {
    let (done, lost) = (Answer::Done(Version(9)), Answer::Conflict);
    let ways = [
        ([0, 1], done),
        ([1, 0], done),
        ([0, 1], lost),
        ([1, 0], lost),
    ];
    for (order, first) in ways {
        let mut world = World::new();
        let waiting = [BOB, CAROL].map(|callee| (world.waits(ALICE, callee), callee));
        world.mood = StoreMood::Silent;
        let mut out = world.step(Input::Uncomplete {
            ticket: Ticket(5),
            caller: user(ALICE),
            which: Which::All,
        });
        let is_told = |out: &[Output]| {
            let mut answers = out.iter();
            answers.any(|o| matches!(o, Output::Uncompleted { .. }))
        };
        for (at, answer) in order.into_iter().zip([first, done]) {
            assert!(!is_told(&out), "{order:?} {first:?}");
            let (id, callee) = waiting[at];
            let key = Record::key(id, &user(callee));
            out = world.step(Input::Persisted { key, answer });
        }
        assert!(is_told(&out), "{order:?} {first:?}");
    }
}

#[test]
fn who_was_not_rung_yet_is_not_rung_after_he_took_it_back() {
    let mut world = World::new();
    let id = world.waits(ALICE, BOB);
    world.mood = StoreMood::Silent;
    world.frees(BOB);
    let mut out = world.step(Input::Uncomplete {
        ticket: Ticket(5),
        caller: user(ALICE),
        which: Which::Id(id),
    });
    world.mood = StoreMood::Well;
    out.extend(world.pass(seconds(60)));
    assert_eq!(rung(&out), []);
    assert_eq!(stopped(&out), []);
    assert_eq!(ended(&out), [(id, Outcome::Cancelled)]);
    world.ends_empty();
}

/// All NOTIFYs that had waited left at once: ready, queued and ready again.
#[test]
fn who_is_told_late_is_told_how_it_stands() {
    let mut world = World::new();
    let id = world.waits_elsewhere(ALICE, BOB);
    world.mood = StoreMood::Silent;
    let mut out = world.frees(BOB);
    out.extend(world.engaged(BOB));
    // CC-67
    assert_eq!(notified(&out, id), []);
    world.mood = StoreMood::Well;
    assert_eq!(notified(&world.pass(seconds(10)), id), [QUEUED]);
}

#[test]
fn a_store_that_does_not_know_is_read_before_anything_is_decided() {
    let mut world = World::new();
    world.mood = StoreMood::Unsure;
    let id = world.waits(ALICE, BOB);
    assert_eq!(rung(&world.frees(BOB)), [user(ALICE)]);
    world.step(Input::RecallAnswered { id });
    let out = world.step(Input::CcCallAnswered { id });
    assert_eq!(ended(&out), [(id, Outcome::Completed)]);
    world.ends_empty();
}

#[test]
fn a_change_that_was_not_made_is_made_again() {
    let mut world = World::new();
    let id = world.waits(ALICE, BOB);
    world.mood = StoreMood::Failing;
    assert_eq!(rung(&world.frees(BOB)), []);
    world.mood = StoreMood::Well;
    let out = world.pass(seconds(4));
    assert_eq!(rung(&out), [user(ALICE)]);
    let stored = world.store.read(Record::key(id, &user(BOB))).expect("kept");
    let record = Record::decode(&stored.record, WallTime(0)).expect("a record");
    assert_eq!(record.recalls, 1);
}

#[test]
fn a_silent_store_refuses_new_requests_and_leaves_nothing_behind() {
    let mut world = World::new();
    world.engaged(BOB);
    let token = world.fails(ALICE, BOB, Condition::Busy);
    world.mood = StoreMood::Silent;
    assert_eq!(answer(&world.asks_in_full(ALICE)), None);
    let out = world.pass(seconds(4));
    assert_eq!(answer(&out), Some(Err(Reject::StoreUnavailable)));
    let (phone, out) = world.subscribes(ALICE, &token, "c1");
    assert_eq!(notifies(&out), []);
    let out = world.pass(seconds(4));
    assert_eq!(refused(&out).map(Reject::status), Some(503));
    assert_eq!(notified(&out, phone), []);
    // The answers come late.
    world.mood = StoreMood::Well;
    for (key, stored) in world.stored() {
        let answer = Answer::Done(stored.version);
        world.step(Input::Persisted { key, answer });
    }
    world.ends_empty();
}

#[test]
fn a_running_recall_survives_a_silent_store() {
    let mut world = World::new();
    let id = world.waits(ALICE, BOB);
    world.frees(BOB);
    world.mood = StoreMood::Silent;
    let mut out = world.step(Input::RecallAnswered { id });
    assert_eq!(called(&out), [""; 0]);
    world.mood = StoreMood::Well;
    out.extend(world.pass(seconds(4)));
    assert_eq!(called(&out), ["sip:bob@home.example;m=BS"]);
}

/// The end of the ringing waited for the store, met the next recall there, and a late answer to the
/// first one called Bob as if it were to the second.
#[test]
fn a_recall_that_is_taken_back_ends_at_once_though_the_store_is_silent() {
    let mut world = World::new();
    let id = world.waits(ALICE, BOB);
    world.frees(BOB);
    world.mood = StoreMood::Silent;
    let mut out = world.step(Input::RecallAnswered { id });
    assert_eq!(stopped(&out), []);
    out = world.engaged(BOB);
    assert_eq!(stopped(&out), [id]);
    out = world.frees(BOB);
    out.extend(world.step(Input::RecallAnswered { id }));
    assert_eq!(called(&out), [""; 0]);
    world.mood = StoreMood::Well;
    out = world.pass(seconds(4));
    assert_eq!((stopped(&out), called(&out)), (vec![], vec![]));
    assert_eq!(rung(&out), [user(ALICE)]);
}

/// A store that was slow for as long as a phone rings cost the caller who was to be rung his place, and one
/// of the recalls that he may let pass.
#[test]
fn a_recall_that_the_store_kept_back_is_none_that_its_caller_let_pass() {
    let mut world = World::new();
    let id = world.waits(ALICE, BOB);
    world.waits(CAROL, BOB);
    world.mood = StoreMood::Silent;
    let mut out = world.frees(BOB);
    out.extend(world.pass(seconds(15)));
    assert_eq!((rung(&out), stopped(&out)), (vec![], vec![]));
    world.mood = StoreMood::Well;
    out = world.pass(seconds(4));
    assert_eq!(rung(&out), [user(CAROL)], "he is left alone for a moment");
    let history = &world.service.view(id).expect("alive").history;
    let story: Vec<_> = history.iter().map(|(_, event)| event).collect();
    let failed = |why| story.contains(&Event::RecallFailed(why));
    assert!(failed(RecallFailure::Unreachable) && !failed(RecallFailure::Unanswered));
    let stored = world.store.read(Record::key(id, &user(BOB))).expect("kept");
    let record = Record::decode(&stored.record, WallTime(0)).expect("a record");
    assert_eq!((record.recalls, record.recalls_passed), (1, 0));
}

#[test]
fn a_record_that_somebody_else_has_ends_here_without_a_recall() {
    let mut world = World::new();
    let id = world.waits(ALICE, BOB);
    world.mood = StoreMood::Taken;
    let out = world.frees(BOB);
    assert_eq!(rung(&out), []);
    assert_eq!(ended(&out), [(id, Outcome::Refused)]);
    assert!(world.service.view(id).is_none());
}

#[test]
fn a_new_request_whose_record_conflicts_is_refused() {
    let mut world = World::new();
    world.engaged(BOB);
    world.fails(ALICE, BOB, Condition::Busy);
    world.mood = StoreMood::Taken;
    assert_eq!(world.asks(ALICE), Err(Reject::StoreUnavailable));
    world.mood = StoreMood::Well;
    world.ends_empty();
}

#[test]
fn a_suspension_is_kept_and_its_end_too() {
    let mut world = World::new();
    let id = world.waits(ALICE, BOB);
    world.frees(BOB);
    let why = RecallFailure::Refused;
    let out = world.step(Input::RecallFailed { id, why });
    assert!(out.iter().any(|o| matches!(o, Output::Persist(_))));
    let carol = world.waits_elsewhere(CAROL, BOB);
    let out = world.step(Input::UserGone { user: user(BOB) });
    assert_eq!(notified(&out, carol), [over(Reason::NoResource)]);
    assert_ne!(notified(&out, carol), [QUEUED]);
    world.ends_empty();
}

#[test]
fn after_a_restart_a_request_waits_for_a_sign_of_the_callee() {
    let mut world = World::new();
    let id = world.waits(ALICE, BOB);
    world.frees(BOB);
    let out = world.restarts(&[ALICE, BOB]);
    assert_eq!(rung(&out), [], "not rung twice");
    assert_eq!(world.id_of(ALICE), id);
    assert_eq!(rung(&world.pass(seconds(120))), []);
    world.registers(BOB);
    world.engaged(BOB);
    assert_eq!(rung(&world.frees(BOB)), [user(ALICE)]);
    world.step(Input::RecallAnswered { id });
    let out = world.step(Input::CcCallAnswered { id });
    assert_eq!(ended(&out), [(id, Outcome::Completed)]);
    world.ends_empty();
}

#[test]
fn after_a_restart_a_silent_callee_counts_as_free_after_a_while() {
    let mut world = World::new();
    world.waits(ALICE, BOB);
    world.restarts(&[ALICE, BOB]);
    assert_eq!(rung(&world.pass(seconds(299))), []);
    assert_eq!(rung(&world.pass(seconds(1))), [user(ALICE)]);
}

#[test]
fn after_a_restart_no_more_than_ten_are_rung_within_a_second() {
    let mut world = World::new();
    for n in 0..25 {
        world.waits(&format!("caller-{n}"), &format!("callee-{n}"));
    }
    let names: Vec<_> = (0..25)
        .flat_map(|n| [format!("caller-{n}"), format!("callee-{n}")])
        .collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    world.restarts(&names);
    assert_eq!(rung(&world.pass(seconds(300))).len(), 10);
    assert_eq!(rung(&world.pass(seconds(1))).len(), 10);
    assert_eq!(rung(&world.pass(seconds(1))).len(), 5);
}

#[test]
fn records_that_are_over_or_led_to_a_dialog_are_removed_at_a_restart() {
    let mut world = World::new();
    world.waits_elsewhere(CAROL, BOB);
    world.waits(ALICE, BOB);
    world.restarts(&[ALICE, BOB]);
    assert_eq!(world.unrestored, 1);
    assert_eq!(world.stored().len(), 1);
    world.now = world.now + seconds(2 * 3600);
    world.restarts(&[]);
    world.ends_empty();
}

/// The store had the record of a request that was refused as it said nothing, and the caller asked again:
/// the next process took up both, and what happened to one was written down for the other.
#[test]
fn a_refused_request_that_was_kept_all_the_same_does_not_come_back_beside_the_next() {
    let mut world = World::new();
    world.mood = StoreMood::Silent;
    world.fails(ALICE, BOB, Condition::Busy);
    world.asks_in_full(ALICE);
    let out = world.pass(seconds(5));
    assert_eq!(answer(&out), Some(Err(Reject::StoreUnavailable)));
    world.mood = StoreMood::Well;
    let id = world.waits(ALICE, BOB);
    assert_eq!(world.stored().len(), 2);
    world.restarts(&[ALICE, BOB]);
    assert_eq!(world.stored().len(), 1);
    assert_eq!(world.id_of(ALICE), id);
    world.registers(BOB);
    world.engaged(BOB);
    assert_eq!(rung(&world.frees(BOB)), [user(ALICE)]);
    world.step(Input::RecallAnswered { id });
    let out = world.step(Input::CcCallAnswered { id });
    assert_eq!(ended(&out), [(id, Outcome::Completed)]);
    world.ends_empty();
}
