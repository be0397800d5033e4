//! Agents elsewhere that subscribe to queues of ours.

use std::time::Duration;

use crate::cc::capsule::{CallIdentity, Offer, Sealer};
use crate::cc::document::Retention;
use crate::cc::line::Calls;
use crate::cc::monitor::{Found, Lifetime, Reason, Renewal};
use crate::cc::{Basic, Condition};
use crate::completion::{
    CceToken, Input, Outcome, Output, Pattern, Publish, PublishAt, Queue, Reject, Subscribe,
    Ticket, Which,
};
use crate::random::Rng;

use super::kit::{
    ALICE, BOB, CAROL, DAVE, QUEUED, READY, World, cce_of, ended, notified, notifies, over,
    refused, seconds, user,
};

const BUSY: Found = Found {
    condition: Condition::Busy,
    calls: Calls::Engaged,
};

fn suspected(out: &[Output]) -> Vec<Pattern> {
    let patterns = out.iter().filter_map(|output| {
        let Output::Suspect(suspicion) = output else {
            return None;
        };
        Some(suspicion.pattern)
    });
    patterns.collect()
}

fn granted(out: &[Output]) -> Option<Duration> {
    out.iter().find_map(|output| {
        let Output::Accept { expires, .. } = output else {
            return None;
        };
        Some(*expires)
    })
}

#[test]
fn an_agent_elsewhere_is_accepted_told_its_turn_and_told_the_end() {
    let mut world = World::new();
    world.engaged(BOB);
    let token = world.fails(ALICE, BOB, Condition::Busy);
    let (alice, out) = world.subscribes(ALICE, &token, "c1");
    // CC-55
    assert_eq!(granted(&out), Some(seconds(3600)));
    assert_eq!(notified(&out, alice), [QUEUED]);
    let out = world.frees(BOB);
    // CC-41
    assert_eq!(notified(&out, alice), [READY]);
    let id = world.id_of(ALICE);
    assert_eq!(world.service.recognise(&user(ALICE), &user(BOB)), Some(id));
    world.step(Input::CcCallArrived { id });
    let out = world.step(Input::CcCallAnswered { id });
    // CC-46
    assert_eq!(notified(&out, alice), [over(Reason::NoResource)]);
    assert_eq!(ended(&out), [(id, Outcome::Completed)]);
    world.ends_empty();
}

#[test]
fn every_notify_names_the_entry_and_says_that_it_is_retained() {
    let mut world = World::new();
    let alice = world.waits_elsewhere(ALICE, BOB);
    let carol = world.waits_elsewhere(CAROL, BOB);
    let mut out = world.frees(BOB);
    out.extend(world.engaged(BOB));
    for id in [alice, carol] {
        out.extend(world.step(Input::Refresh {
            subscription: id,
            expires: Some(Duration::ZERO),
        }));
    }
    out.extend(world.pass(seconds(20)));
    let mine: Vec<_> = notifies(&out)
        .into_iter()
        .filter(|n| n.0 == alice)
        .collect();
    assert_eq!(mine.len(), 3, "ready, queued, terminated");
    // CC-70
    assert!(mine.iter().all(|n| n.1.cce == mine[0].1.cce));
    assert_ne!(cce_of(&out, carol), mine[0].1.cce);
    // CC-40
    assert!(mine.iter().all(|n| n.1.retention == Retention::Kept));
}

#[test]
fn two_agents_are_served_in_their_order() {
    let mut world = World::new();
    let alice = world.waits_elsewhere(ALICE, BOB);
    let carol = world.waits_elsewhere(CAROL, BOB);
    let out = world.frees(BOB);
    assert_eq!(notified(&out, alice), [READY]);
    assert_eq!(notified(&out, carol), []);
    let out = world.pass(seconds(20));
    // CC-44
    assert_eq!(notified(&out, alice), [QUEUED]);
    assert_eq!(notified(&out, carol), [READY]);
}

#[test]
fn an_agent_that_suspends_lets_the_second_pass_and_keeps_its_place() {
    let mut world = World::new();
    let alice = world.waits_elsewhere(ALICE, BOB);
    let carol = world.waits_elsewhere(CAROL, BOB);
    let dave = world.waits_elsewhere(DAVE, BOB);
    let out = world.frees(BOB);
    let at = PublishAt::Entry(cce_of(&out, alice));
    let (result, out) = world.publishes(ALICE, at.clone(), Basic::Closed);
    // CC-39
    assert_eq!(result, Ok(()));
    // CC-50
    assert_eq!(notified(&out, alice), [QUEUED]);
    assert_eq!(notified(&out, carol), [READY]);
    let id = world.id_of(CAROL);
    world.step(Input::CcCallArrived { id });
    world.engaged(BOB);
    world.step(Input::CcCallAnswered { id });
    world.publishes(ALICE, at, Basic::Open).0.expect("resumed");
    let out = world.frees(BOB);
    // CC-51
    assert_eq!(notified(&out, alice), [READY]);
    assert_eq!(notified(&out, dave), []);
}

#[test]
fn a_publish_finds_its_entry_by_every_address_that_we_gave_out() {
    let mut world = World::new();
    world.engaged(BOB);
    let token = world.fails(ALICE, BOB, Condition::Busy);
    let (alice, out) = world.subscribes(ALICE, &token, "c1");
    // CC-48, CC-49
    for at in [
        PublishAt::Entry(cce_of(&out, alice)),
        PublishAt::Subscription(alice),
        PublishAt::Queue(Queue::Token(token.as_str().into())),
        PublishAt::Queue(Queue::Callee(user(BOB))),
    ] {
        let (result, _) = world.publishes(ALICE, at.clone(), Basic::Closed);
        assert_eq!(result, Ok(()), "{at:?}");
        let (result, _) = world.publishes(CAROL, at.clone(), Basic::Closed);
        assert_eq!(result, Err(Reject::NoEntry), "{at:?}");
    }
}

#[test]
fn a_publish_without_a_living_entry_is_refused() {
    let mut world = World::new();
    let alice = world.waits_elsewhere(ALICE, BOB);
    let out = world.frees(BOB);
    let at = PublishAt::Entry(cce_of(&out, alice));
    world.step(Input::NotifyFailed {
        subscription: alice,
    });
    // CC-72
    assert_eq!(
        world.publishes(ALICE, at, Basic::Closed).0,
        Err(Reject::NoEntry)
    );
    let stranger = PublishAt::Entry(CceToken::from_bits(1));
    assert_eq!(
        world.publishes(ALICE, stranger, Basic::Closed).0,
        Err(Reject::NoEntry)
    );
}

#[test]
fn a_suspension_ends_with_its_publication() {
    let mut world = World::new();
    let alice = world.waits_elsewhere(ALICE, BOB);
    world.pass(seconds(10));
    world.step(Input::Publish(Publish {
        ticket: Ticket(3),
        at: PublishAt::Subscription(alice),
        caller: Some(user(ALICE)),
        basic: Basic::Closed,
        expires: Some(seconds(300)),
    }));
    let mut out = world.frees(BOB);
    out.extend(world.pass(seconds(230)));
    assert_eq!(notified(&out, alice), []);
    // CC-06
    assert_eq!(notified(&world.pass(seconds(10)), alice), [READY]);
}

#[test]
fn a_forged_a_foreign_and_a_late_token_get_the_same_403() {
    let mut world = World::new();
    world.engaged(BOB);
    let token = world.fails(ALICE, BOB, Condition::Busy);
    let forged = {
        let offer = Offer {
            caller: user(ALICE),
            callee: user(BOB),
            condition: Condition::Busy,
            calls: Calls::Engaged,
            call: CallIdentity(1),
            issued: world.now,
        };
        Sealer::new(&mut Rng::from_number(99)).seal(&offer)
    };
    for (caller, token) in [(ALICE, "x"), (ALICE, &*forged), (CAROL, &*token)] {
        let (_, out) = world.subscribes(caller, token, "c1");
        // CC-73
        assert_eq!(refused(&out).map(Reject::status), Some(403), "{caller}");
        // CC-74
        assert_eq!(suspected(&out), [Pattern::NoFailedCall]);
    }
    world.pass(seconds(31));
    let (_, out) = world.subscribes(ALICE, &token, "c1");
    assert_eq!(refused(&out).map(Reject::status), Some(403));
    world.ends_empty();
}

#[test]
fn a_token_is_for_nobody_but_the_caller_of_its_call() {
    let mut world = World::new();
    world.engaged(BOB);
    let token = world.fails(ALICE, BOB, Condition::Busy);
    let (_, out) = world.subscribes(CAROL, &token, "c1");
    // CC-29, CC-53
    assert_eq!(refused(&out), Some(Reject::NoOffer));
    let (alice, out) = world.subscribes(ALICE, &token, "c1");
    assert_eq!(notified(&out, alice), [QUEUED]);
}

#[test]
fn a_token_is_enough_where_the_call_is_not_remembered() {
    let mut world = World::new();
    world.engaged(BOB);
    let offer = Offer {
        caller: user(ALICE),
        callee: user(BOB),
        condition: Condition::Busy,
        calls: Calls::Engaged,
        call: CallIdentity(77),
        issued: world.now,
    };
    let token = world.service.seal(&offer);
    world.pass(seconds(30));
    let (alice, out) = world.subscribes(ALICE, &token, "c1");
    assert_eq!(notified(&out, alice), [QUEUED]);
    let late = world.service.seal(&Offer {
        issued: world.now,
        caller: user(CAROL),
        ..offer
    });
    world.pass(seconds(31));
    let (_, out) = world.subscribes(CAROL, &late, "c2");
    // CC-73
    assert_eq!(refused(&out), Some(Reject::NoOffer));
}

#[test]
fn a_token_from_early_in_the_ringing_is_good_after_the_call_failed() {
    let mut world = World::new();
    let call = world.failed_call(ALICE, BOB, Condition::NoReply);
    let token = world.service.seal(&Offer {
        caller: call.caller.clone(),
        callee: call.callee.clone(),
        condition: call.condition,
        calls: call.calls,
        call: call.call,
        issued: world.now,
    });
    world.pass(seconds(60));
    world.step(Input::CallFailed(call));
    let (alice, out) = world.subscribes(ALICE, &token, "c1");
    assert_eq!(notified(&out, alice), [QUEUED]);
}

#[test]
fn a_caller_who_withheld_his_name_is_known_by_his_token() {
    let mut world = World::new();
    world.engaged(BOB);
    let token = world.fails(ALICE, BOB, Condition::Busy);
    let subscription = world.service.next_subscription();
    let out = world.step(Input::Subscribe(Subscribe {
        subscription,
        caller: None,
        queue: Queue::Token(token.into()),
        call_id: "c1".into(),
        expires: None,
        renewal: Renewal::Shortens,
    }));
    assert_eq!(notified(&out, subscription), [QUEUED]);
    assert_eq!(world.service.views(&user(ALICE)).len(), 1);
}

#[test]
fn a_subscribe_to_the_callee_himself_needs_a_failed_call_too() {
    let mut world = World::new();
    world.engaged(BOB);
    world.fails(ALICE, BOB, Condition::Busy);
    let mut subscribe = |caller: &str, callee: &str| {
        let subscription = world.service.next_subscription();
        let out = world.step(Input::Subscribe(Subscribe {
            subscription,
            caller: Some(user(caller)),
            queue: Queue::Callee(user(callee)),
            call_id: "c1".into(),
            expires: None,
            renewal: Renewal::Shortens,
        }));
        (notified(&out, subscription), refused(&out))
    };
    // CC-33
    assert_eq!(subscribe(ALICE, BOB), (vec![QUEUED], None));
    // CC-73
    assert_eq!(subscribe(ALICE, DAVE), (vec![], Some(Reject::NoOffer)));
    assert_eq!(subscribe(CAROL, BOB), (vec![], Some(Reject::NoOffer)));
}

#[test]
fn a_full_queue_answers_480() {
    let mut world = World::new();
    for n in 0..5 {
        world.waits_elsewhere(&format!("caller-{n}"), BOB);
    }
    let token = world.fails(ALICE, BOB, Condition::Busy);
    let (_, out) = world.subscribes(ALICE, &token, "c1");
    // CC-60
    assert_eq!(refused(&out).map(Reject::status), Some(480));
    assert_eq!(world.service.views(&user(ALICE)).len(), 0);
}

#[test]
fn a_fork_of_an_accepted_subscribe_gets_482_and_leaves_the_first_alone() {
    let mut world = World::new();
    world.engaged(BOB);
    let token = world.fails(ALICE, BOB, Condition::Busy);
    let (alice, _) = world.subscribes(ALICE, &token, "c1");
    let (_, out) = world.subscribes(ALICE, &token, "c1");
    // CC-35
    assert_eq!(refused(&out).map(Reject::status), Some(482));
    assert_eq!(notified(&world.frees(BOB), alice), [READY]);
}

#[test]
fn a_second_subscribe_takes_the_name_and_the_place_of_the_first() {
    let mut world = World::new();
    world.engaged(BOB);
    let token = world.fails(ALICE, BOB, Condition::Busy);
    let (first, _) = world.subscribes(ALICE, &token, "c1");
    let id = world.id_of(ALICE);
    let carol = world.waits_elsewhere(CAROL, BOB);
    let (second, out) = world.subscribes(ALICE, &token, "c2");
    // CC-36
    assert_eq!(notified(&out, first), [over(Reason::NoResource)]);
    assert_eq!(notified(&out, second), [QUEUED]);
    assert_eq!(world.id_of(ALICE), id);
    let at = PublishAt::Entry(cce_of(&out, second));
    // CC-39
    assert_eq!(world.publishes(ALICE, at, Basic::Open).0, Ok(()));
    let out = world.frees(BOB);
    assert_eq!(notified(&out, second), [READY]);
    assert_eq!(notified(&out, carol), []);
    world.ends_empty();
}

#[test]
fn a_phone_that_subscribes_takes_over_what_its_user_asked_for_by_code() {
    let mut world = World::new();
    let id = world.waits(ALICE, BOB);
    let token = world.fails(ALICE, BOB, Condition::Busy);
    let (phone, out) = world.subscribes(ALICE, &token, "c1");
    // CC-36
    assert_eq!(notified(&out, phone), [QUEUED]);
    assert_eq!(world.id_of(ALICE), id);
    let out = world.frees(BOB);
    assert_eq!(notified(&out, phone), [READY]);
    assert_eq!(super::kit::rung(&out), [], "the phone rings by itself");
    world.step(Input::CcCallArrived { id });
    let out = world.step(Input::CcCallAnswered { id });
    assert_eq!(ended(&out), [(id, Outcome::Completed)]);
    world.ends_empty();
}

#[test]
fn an_unsubscribe_cancels_and_is_confirmed() {
    let mut world = World::new();
    let alice = world.waits_elsewhere(ALICE, BOB);
    let id = world.id_of(ALICE);
    let out = world.step(Input::Refresh {
        subscription: alice,
        expires: Some(Duration::ZERO),
    });
    assert_eq!(granted(&out), Some(Duration::ZERO));
    assert_eq!(notified(&out, alice), [over(Reason::Timeout)]);
    assert_eq!(ended(&out), [(id, Outcome::Cancelled)]);
    let out = world.step(Input::Refresh {
        subscription: alice,
        expires: None,
    });
    assert_eq!(refused(&out).map(Reject::status), Some(481));
    world.ends_empty();
}

#[test]
fn a_refresh_is_granted_what_is_left() {
    let mut world = World::new();
    let alice = world.waits_elsewhere(ALICE, BOB);
    world.pass(seconds(600));
    let out = world.step(Input::Refresh {
        subscription: alice,
        expires: Some(seconds(3600)),
    });
    // CC-59
    assert_eq!(granted(&out), Some(seconds(3000)));
    let left = notifies(&out)[0].1.life;
    assert_eq!(left, Lifetime::Active(seconds(3000)));
}

#[test]
fn a_request_taken_back_by_code_ends_the_dialog_of_the_phone() {
    let mut world = World::new();
    let alice = world.waits_elsewhere(ALICE, BOB);
    let id = world.id_of(ALICE);
    let (result, out) = world.takes_back(ALICE, Which::All);
    assert_eq!(result, Ok(vec![id]));
    assert_eq!(notified(&out, alice), [over(Reason::Rejected)]);
    assert_eq!(ended(&out), [(id, Outcome::Cancelled)]);
    world.ends_empty();
}

#[test]
fn an_agent_whose_call_meets_a_busy_callee_is_told_queued_and_waits_on() {
    let mut world = World::new();
    let alice = world.waits_elsewhere(ALICE, BOB);
    world.frees(BOB);
    let id = world.id_of(ALICE);
    world.step(Input::CcCallArrived { id });
    world.engaged(BOB);
    let found = Some(BUSY);
    let out = world.step(Input::CcCallFailed { id, found });
    // CC-45
    assert_eq!(notified(&out, alice), [QUEUED]);
    assert_eq!(notified(&world.frees(BOB), alice), [READY]);
}

#[test]
fn a_subscriber_who_is_selected_twice_and_never_calls_is_suspected() {
    let mut world = World::new();
    world.waits_elsewhere(ALICE, BOB);
    let mut out = world.frees(BOB);
    out.extend(world.pass(seconds(79)));
    assert_eq!(suspected(&out), []);
    // CC-74
    assert_eq!(
        suspected(&world.pass(seconds(21))),
        [Pattern::ReadyWithoutCall]
    );
}

#[test]
fn a_suspension_longer_than_a_call_is_suspected() {
    let mut world = World::new();
    world.fails(ALICE, BOB, Condition::NoReply);
    let (alice, _) = {
        let token = world.fails(ALICE, BOB, Condition::NoReply);
        world.engaged(BOB);
        let subscription = world.service.next_subscription();
        let out = world.step(Input::Subscribe(Subscribe {
            subscription,
            caller: Some(user(ALICE)),
            queue: Queue::Token(token.into()),
            call_id: "c1".into(),
            expires: Some(seconds(3 * 3600)),
            renewal: Renewal::Shortens,
        }));
        (subscription, out)
    };
    let at = PublishAt::Subscription(alice);
    world
        .publishes(ALICE, at.clone(), Basic::Closed)
        .0
        .expect("ok");
    world.pass(seconds(3601));
    let (_, out) = world.publishes(ALICE, at, Basic::Open);
    // CC-74
    assert_eq!(suspected(&out), [Pattern::LongSuspension]);
}

#[test]
fn a_queue_that_is_never_empty_is_suspected() {
    let mut world = World::new();
    let callers = ["caller-0", "caller-1"];
    let mut out = Vec::new();
    for hour in 0..27_usize {
        world.engaged(BOB);
        let token = world.fails(callers[hour % 2], BOB, Condition::Busy);
        let call_id = format!("call-{hour}");
        out.extend(world.subscribes(callers[hour % 2], &token, &call_id).1);
        out.extend(world.pass(seconds(1800)));
    }
    // CC-74
    assert_eq!(suspected(&out).first(), Some(&Pattern::QueueNeverEmpty));
}
