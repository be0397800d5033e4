//! Monitors elsewhere that our agents subscribe to, and strangers who would like to be called.

use crate::cc::agent::{Life, Notice, PublishTo, Published};
use crate::cc::document::Retention;
use crate::cc::trust::{Dials, Peer};
use crate::cc::{Basic, Condition, RecallState, SubscriptionId};
use crate::completion::{
    CompletionId, Input, Monitors, Offered, Outcome, Output, Publication, Reject, Subscription,
    Ticket, Via, Which,
};
use crate::store;

use super::kit::{
    ALICE, BOB, DAVE, StoreMood, World, address, answer, called, ended, peer, rung, seconds,
    stopped, user,
};

fn offered(uri: &str) -> Offered {
    Offered {
        uri: address(uri),
        m: Some(Condition::NoReply),
    }
}

/// A call through a peer fails, and its response offers completion at these addresses.
fn fails_through(world: &mut World, peer: Peer, offers: &[&str]) {
    let offers = offers.iter().map(|uri| offered(uri)).collect();
    let mut call = world.failed_call(ALICE, BOB, Condition::Busy);
    call.dialled = address("sip:+15550123@peer.example");
    call.monitors = Monitors::Peer { peer, offers };
    world.step(Input::CallFailed(call));
}

fn subscriptions(out: &[Output]) -> Vec<Subscription> {
    let all = out.iter().filter_map(|output| {
        let Output::Subscribe(subscription) = output else {
            return None;
        };
        Some(subscription.clone())
    });
    all.collect()
}

fn publications(out: &[Output]) -> Vec<Publication> {
    let all = out.iter().filter_map(|output| {
        let Output::Publish(publication) = output else {
            return None;
        };
        Some(publication.clone())
    });
    all.collect()
}

fn unsubscribed(out: &[Output]) -> Vec<SubscriptionId> {
    let all = out.iter().filter_map(|output| {
        let Output::Unsubscribe { subscription } = output else {
            return None;
        };
        Some(*subscription)
    });
    all.collect()
}

fn says(state: RecallState) -> Notice {
    Notice {
        state: Some(state),
        life: Life::Active(seconds(3000)),
        retention: Retention::Kept,
        cc_uri: Some(address("sip:cce-1@peer.example;gr=5")),
        call_info: None,
        contact: None,
    }
}

fn notified(world: &mut World, subscription: SubscriptionId, notice: Notice) -> Vec<Output> {
    world.step(Input::Notified {
        subscription,
        notice,
    })
}

/// A request that a monitor elsewhere has queued.
fn queued(world: &mut World) -> (CompletionId, SubscriptionId) {
    fails_through(world, peer(), &["sip:cc-1@peer.example"]);
    let out = world.asks_in_full(ALICE);
    let subscription = subscriptions(&out)[0].subscription;
    world.step(Input::Accepted {
        subscription,
        expires: seconds(3600),
    });
    notified(world, subscription, says(RecallState::Queued));
    (world.id_of(ALICE), subscription)
}

#[test]
fn a_subscribe_is_addressed_as_the_standard_says() {
    let mut world = World::new();
    fails_through(
        &mut world,
        peer(),
        &["sip:cc-1@peer.example", "sip:cc-2@peer.example"],
    );
    let out = world.asks_in_full(ALICE);
    let wishes = subscriptions(&out);
    // CC-09
    assert_eq!(wishes.len(), 2);
    // CC-12
    assert_eq!(wishes[0].target.as_str(), "sip:cc-1@peer.example;m=NR");
    assert_eq!(wishes[0].from.as_str(), user(ALICE).as_str());
    // CC-17
    assert_eq!(wishes[0].to.as_str(), "sip:+15550123@peer.example");
    assert_eq!(answer(&out), None, "not before a monitor has it");
}

#[test]
fn a_subscribe_comes_from_the_callers_address_and_asks_for_an_hour() {
    let mut world = World::new();
    fails_through(&mut world, peer(), &["sip:cc-1@peer.example"]);
    let wish = subscriptions(&world.asks_in_full(ALICE)).remove(0);
    // CC-07, CC-16
    assert_eq!(wish.from.as_str(), user(ALICE).as_str());
    // CC-55
    assert_eq!(wish.expires, seconds(3600));
    assert_eq!(wish.peer, peer().id);
}

#[test]
fn without_an_offer_the_original_address_is_asked_alone() {
    let mut world = World::new();
    fails_through(&mut world, peer(), &[]);
    let wishes = subscriptions(&world.asks_in_full(ALICE));
    let targets: Vec<_> = wishes.iter().map(|wish| wish.target.as_str()).collect();
    // CC-11
    assert_eq!(targets, ["sip:+15550123@peer.example;m=BS"]);
}

#[test]
fn a_request_with_a_monitor_elsewhere_goes_from_the_notify_to_the_talk() {
    let mut world = World::new();
    fails_through(&mut world, peer(), &["sip:cc-1@peer.example"]);
    let out = world.asks_in_full(ALICE);
    let subscription = subscriptions(&out)[0].subscription;
    let out = notified(&mut world, subscription, says(RecallState::Queued));
    let id = answer(&out).expect("answered").expect("accepted");
    let out = notified(&mut world, subscription, says(RecallState::Ready));
    assert_eq!(rung(&out), [user(ALICE)]);
    let out = world.step(Input::RecallAnswered { id });
    // CC-22, CC-69
    assert_eq!(called(&out), ["sip:cce-1@peer.example;gr=5;m=BS"]);
    assert!(
        out.iter()
            .any(|output| matches!(output, Output::Call(call) if call.via == Via::Peer(peer().id)))
    );
    world.step(Input::CcCallArrived { id });
    let out = world.step(Input::CcCallAnswered { id });
    assert_eq!(ended(&out), [(id, Outcome::Completed)]);
    let notice = Notice {
        life: Life::Ended,
        ..says(RecallState::Queued)
    };
    let out = notified(&mut world, subscription, notice);
    assert_eq!(unsubscribed(&out), []);
    world.ends_empty();
}

#[test]
fn a_monitor_elsewhere_that_refuses_is_told_to_who_asked() {
    for (status, reject) in [
        (480, Reject::QueueFull),
        (403, Reject::NoMonitor),
        (489, Reject::NoMonitor),
        (500, Reject::MonitorRefused(500)),
    ] {
        let mut world = World::new();
        fails_through(&mut world, peer(), &["sip:cc-1@peer.example"]);
        let out = world.asks_in_full(ALICE);
        let subscription = subscriptions(&out)[0].subscription;
        let out = world.step(Input::Refused {
            subscription,
            status,
        });
        // CC-20
        assert_eq!(answer(&out), Some(Err(reject)), "{status}");
        world.ends_empty();
    }
}

#[test]
fn a_monitor_elsewhere_that_is_silent_is_given_up() {
    let mut world = World::new();
    fails_through(&mut world, peer(), &["sip:cc-1@peer.example"]);
    assert_eq!(answer(&world.asks_in_full(ALICE)), None);
    let out = world.pass(seconds(32));
    // CC-76
    assert_eq!(answer(&out), Some(Err(Reject::NoMonitor)));
    world.ends_empty();
}

#[test]
fn a_fork_that_answers_is_a_subscription_of_the_same_request() {
    let mut world = World::new();
    let (id, subscription) = queued(&mut world);
    let fork = world.service.next_subscription();
    world.step(Input::Forked {
        of: subscription,
        subscription: fork,
    });
    notified(&mut world, fork, says(RecallState::Queued));
    let out = notified(&mut world, fork, says(RecallState::Ready));
    assert_eq!(rung(&out), [user(ALICE)]);
    // CC-64
    let closed = publications(&out);
    assert_eq!(closed[0].subscription, subscription);
    assert_eq!(closed[0].basic, Basic::Closed);
    let (_, out) = world.takes_back(ALICE, Which::Id(id));
    // CC-19
    assert_eq!(unsubscribed(&out), [subscription, fork]);
    world.ends_empty();
}

#[test]
fn uncomplete_is_told_to_the_monitor_and_a_silent_one_is_forgotten() {
    let mut world = World::new();
    let (id, subscription) = queued(&mut world);
    notified(&mut world, subscription, says(RecallState::Ready));
    let (result, out) = world.takes_back(ALICE, Which::Id(id));
    assert_eq!(result, Ok(vec![id]));
    assert_eq!(stopped(&out), [id]);
    assert_eq!(unsubscribed(&out), [subscription]);
    assert_eq!(
        rung(&notified(
            &mut world,
            subscription,
            says(RecallState::Ready)
        )),
        []
    );
    let out = world.pass(seconds(32));
    assert!(
        out.iter()
            .any(|output| matches!(output, Output::Forget { .. }))
    );
    world.ends_empty();
}

/// The store is slow, and the monitor elsewhere or the caller is not: the dialog was held for ever.
#[test]
fn what_ends_before_the_store_has_it_is_forgotten_and_told_to_the_monitor() {
    for is_taken_back in [false, true] {
        let mut world = World::new();
        fails_through(&mut world, peer(), &["sip:cc-1@peer.example"]);
        world.mood = StoreMood::Silent;
        let out = world.asks_in_full(ALICE);
        let subscription = subscriptions(&out)[0].subscription;
        world.step(Input::Accepted {
            subscription,
            expires: seconds(3600),
        });
        notified(&mut world, subscription, says(RecallState::Queued));
        if is_taken_back {
            world.step(Input::Uncomplete {
                ticket: Ticket(2),
                caller: user(ALICE),
                which: Which::Last,
            });
        } else {
            let life = Life::Ended;
            let queued = says(RecallState::Queued);
            notified(&mut world, subscription, Notice { life, ..queued });
        }
        let mut out = world.pass(seconds(4));
        assert_eq!(answer(&out), Some(Err(Reject::StoreUnavailable)));
        assert_eq!(unsubscribed(&out).len(), usize::from(is_taken_back));
        out.extend(world.pass(seconds(32)));
        let forgets = |output: &&Output| matches!(output, Output::Forget { .. });
        assert_eq!(out.iter().filter(forgets).count(), 1);
        // The answer comes late.
        world.mood = StoreMood::Well;
        for (key, stored) in world.stored() {
            let answer = store::Answer::Done(stored.version);
            world.step(Input::Persisted { key, answer });
        }
        world.ends_empty();
    }
}

#[test]
fn uncomplete_before_the_answer_waits_for_it() {
    let mut world = World::new();
    fails_through(&mut world, peer(), &["sip:cc-1@peer.example"]);
    let out = world.asks_in_full(ALICE);
    let subscription = subscriptions(&out)[0].subscription;
    let (_, out) = world.takes_back(ALICE, Which::Last);
    assert_eq!(unsubscribed(&out), []);
    assert_eq!(answer(&out), Some(Err(Reject::UnknownCompletion)));
    let out = world.step(Input::Accepted {
        subscription,
        expires: seconds(3600),
    });
    assert_eq!(unsubscribed(&out), [subscription]);
    world.ends_empty();
}

#[test]
fn a_caller_on_a_call_is_suspended_at_the_monitor_and_resumed_there() {
    let mut world = World::new();
    let (_, subscription) = queued(&mut world);
    world.engaged(ALICE);
    world.pass(seconds(600));
    let out = notified(&mut world, subscription, says(RecallState::Ready));
    assert_eq!(rung(&out), []);
    let wish = &publications(&out)[0];
    // CC-24
    assert_eq!(wish.basic, Basic::Closed);
    // CC-25
    assert_eq!(wish.expires, seconds(3000));
    // CC-26
    let cc_uri = PublishTo::Address(address("sip:cce-1@peer.example;gr=5"));
    assert_eq!(wish.to, cc_uri);
    let how = Published::Done;
    world.step(Input::Published { subscription, how });
    let out = world.hangs_up(ALICE);
    assert_eq!(publications(&out)[0].basic, Basic::Open);
}

#[test]
fn strangers_are_neither_asked_nor_dialled() {
    for evil in [
        "sip:cc-1@evil.example",
        "sip:cc-1@peer.example;maddr=198.51.100.9",
        "tel:+19005550100",
    ] {
        let mut world = World::new();
        fails_through(&mut world, peer(), &[evil]);
        let out = world.asks_in_full(ALICE);
        assert_eq!(answer(&out), Some(Err(Reject::NoMonitor)), "{evil}");
        assert_eq!(subscriptions(&out), []);
        world.ends_empty();
    }
}

#[test]
fn a_peer_has_no_other_number_dialled_than_the_original() {
    for cc_uri in [
        "sip:+19005550100@peer.example",
        "sip:cce-1@evil.example",
        "sip:cce-1@peer.example;maddr=198.51.100.9",
        "sip:cce-1@peer.example?Replaces=x",
    ] {
        let mut world = World::new();
        let pbx = Peer {
            dials: Dials::Original,
            ..peer()
        };
        fails_through(&mut world, pbx, &["sip:cc-1@peer.example"]);
        let out = world.asks_in_full(ALICE);
        let subscription = subscriptions(&out)[0].subscription;
        let notice = Notice {
            cc_uri: Some(address(cc_uri)),
            ..says(RecallState::Ready)
        };
        let out = notified(&mut world, subscription, notice);
        let id = answer(&out).expect("answered").expect("accepted");
        let out = world.step(Input::RecallAnswered { id });
        assert_eq!(
            called(&out),
            ["sip:+15550123@peer.example;m=BS"],
            "{cc_uri}"
        );
    }
}

#[test]
fn a_callee_of_ours_behind_a_stranger_is_watched_by_ourselves() {
    let mut world = World::new();
    world.engaged(BOB);
    let mut call = world.failed_call(ALICE, BOB, Condition::Busy);
    let offers = vec![offered("sip:cc-1@evil.example")];
    call.monitors = Monitors::Both {
        peer: peer(),
        offers,
    };
    world.step(Input::CallFailed(call));
    let out = world.asks_in_full(ALICE);
    assert_eq!(subscriptions(&out), []);
    assert!(answer(&out).expect("answered").is_ok());
    assert_eq!(rung(&world.frees(BOB)), [user(ALICE)]);
}

#[test]
fn what_comes_for_somebody_elses_subscription_does_nothing() {
    let mut world = World::new();
    let loops = world.waits(ALICE, DAVE);
    for number in 0..20 {
        let out = notified(&mut world, SubscriptionId(number), says(RecallState::Ready));
        assert_eq!(rung(&out), []);
    }
    assert!(world.service.view(loops).is_some());
}
