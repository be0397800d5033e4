//! Subscriptions to our queues that outlive their process, on the wire.
//!
//! Spec: RFC 6665 §4.2; RFC 3903 §6; RFC 6910 §7.

use std::time::Duration;

use crate::flow::kit::completion::{
    BobIsBusy, LONG, cc_call, ended, finds_busy, leaves, line, offered_uri, publish,
    publish_within, refresh, subscribe, subscribes, told,
};
use crate::flow::kit::dialog::Dialog;
use crate::flow::kit::draft::{ANSWER, response};
use crate::flow::kit::message::Message;
use crate::flow::kit::party::Party;
use crate::flow::kit::scenes::{call, hang_up};
use crate::flow::kit::subject::Setup;
use crate::flow::kit::vault::Mood;

use super::{bob_is_seen, restarts};

/// The subscriber's CC call is answered by Bob, which ends the subscription.
#[track_caller]
fn completes(scene: &BobIsBusy) {
    let BobIsBusy { alice, bob, .. } = scene;
    let ready = told(alice, "ready");
    let sent = alice.sends(cc_call(&ready));
    let rings = bob.receives("INVITE");
    bob.sends(response(&rings, 200).with_sdp(ANSWER));
    let answer = alice.receives("200");
    ended(alice, "noresource");
    alice.acks(&sent, &answer);
    bob.receives("ACK");
    hang_up(alice, &Dialog::of_caller(&sent, &answer), bob);
}

/// The process before may have told as much as may be told in ten seconds.
#[track_caller]
fn told_at_last(subscriber: &Party) -> Message {
    let notify = subscriber.receives_within(Duration::from_secs(11), "NOTIFY");
    assert_eq!(line(&notify, "cc-state"), "queued");
    subscriber.answers(&notify, 200);
    notify
}

/// The answer of the process before is lost with it: whoever asked repeats his SUBSCRIBE, and has his
/// place; somebody else who repeats it has none.
#[test]
fn a_subscribe_that_comes_again_after_a_restart_is_answered_as_before() {
    let scene = BobIsBusy::with(Setup::Kept);
    let [alice, _, carol] = scene.phones();
    let waiting = subscribes(alice, &scene.busy);
    restarts(&scene);
    carol.sends_raw(&waiting.sent.raw);
    carol.receives("403");
    alice.sends_again(&waiting.sent);
    let accepted = alice.receives("200");
    assert_eq!(accepted.tag_of_to(), waiting.accepted.tag_of_to());
    let queued = told_at_last(alice);
    assert_eq!(queued.tag_of_from(), waiting.accepted.tag_of_to());
    bob_is_seen(&scene);
    completes(&scene);
}

#[test]
fn a_refresh_that_comes_again_after_a_restart_is_answered_as_before() {
    let scene = BobIsBusy::with(Setup::Kept);
    let (world, [alice, _, _]) = scene.parts();
    let waiting = subscribes(alice, &scene.busy);
    world.advance(Duration::from_secs(11));
    let sent = alice.sends(refresh(&waiting.dialog, "3000"));
    alice.receives("200");
    told(alice, "queued");
    restarts(&scene);
    alice.sends_again(&sent);
    alice.receives("200");
    told_at_last(alice);
    bob_is_seen(&scene);
    completes(&scene);
}

/// CC-36: a place was taken over, and the process ended before the new dialog was answered; the old
/// one is gone by then.
#[test]
fn a_place_that_was_taken_over_is_not_lost_with_the_answer() {
    let scene = BobIsBusy::with(Setup::Kept);
    let alice = &scene.alice;
    let first = subscribes(alice, &scene.busy);
    let second = alice.sends(subscribe(alice, offered_uri(&scene.busy)));
    let taken = alice.receives("200");
    let mut told_both = [alice.receives("NOTIFY"), alice.receives("NOTIFY")];
    told_both.sort_by_key(|notify| notify.call_id() == first.accepted.call_id());
    for notify in &told_both {
        alice.answers(notify, 200);
    }
    assert!(
        told_both[1]
            .header("Subscription-State")
            .starts_with("terminated")
    );
    restarts(&scene);
    alice.sends(refresh(&first.dialog, "3000"));
    alice.receives("481");
    alice.sends_again(&second);
    assert_eq!(alice.receives("200").tag_of_to(), taken.tag_of_to());
    told_at_last(alice);
    bob_is_seen(&scene);
    completes(&scene);
}

/// A dialog of one process and one of the next had the same place in it, and the older one was not found
/// by a third.
#[test]
fn subscriptions_of_two_processes_live_on_in_a_third() {
    let scene = BobIsBusy::with(Setup::Kept);
    let (world, [alice, _, _]) = scene.parts();
    let [dave, erin] = ["dave", "erin"].map(|name| world.phone(name));
    let before = subscribes(&dave, &finds_busy(&dave));
    let first = subscribes(alice, &scene.busy);
    leaves(&dave, &before.dialog);
    restarts(&scene);
    erin.registers();
    let talk = call(&scene.carol, &scene.bob);
    let second = subscribes(&erin, &finds_busy(&erin));
    hang_up(&scene.carol, &talk.caller, &scene.bob);
    restarts(&scene);
    world.advance(Duration::from_secs(11));
    for (phone, waiting) in [(alice, &first), (&erin, &second)] {
        leaves(phone, &waiting.dialog);
    }
    assert_eq!(world.completions_kept(), 0);
}

#[test]
fn a_subscription_lives_on_and_its_numbers_with_it() {
    let scene = BobIsBusy::with(Setup::Kept);
    let (world, [alice, _, _]) = scene.parts();
    let waiting = subscribes(alice, &scene.busy);
    let entry = line(&waiting.queued, "cc-URI").to_owned();
    let mut last = waiting.queued.cseq();
    for _ in 0..3 {
        restarts(&scene);
        world.advance(Duration::from_secs(11));
        alice.sends(refresh(&waiting.dialog, "3000"));
        alice.receives("200");
        let queued = told(alice, "queued");
        // S-14: a number is used once, whichever process used it.
        assert!(queued.cseq() > last, "{} after {last}", queued.cseq());
        last = queued.cseq();
        assert_eq!(line(&queued, "cc-URI"), entry);
        assert_eq!(queued.call_id(), waiting.sent.call_id());
    }
    bob_is_seen(&scene);
    completes(&scene);
    assert_eq!(world.completions_kept(), 0);
}

/// Two ends of the process in a row: the second one began with the numbers that the first one had used,
/// as nothing of them was kept.
#[test]
fn numbers_are_kept_before_a_process_uses_them() {
    let scene = BobIsBusy::with(Setup::Kept);
    let (world, [alice, _, _]) = scene.parts();
    let waiting = subscribes(alice, &scene.busy);
    let mut last = waiting.queued.cseq();
    for _ in 0..3 {
        restarts(&scene);
        world.advance(Duration::from_secs(11));
        // From here on nothing is written any more.
        world.store_is(Mood::Slow);
        alice.sends(refresh(&waiting.dialog, "3000"));
        alice.receives("200");
        let queued = told(alice, "queued");
        assert!(queued.cseq() > last, "{} after {last}", queued.cseq()); // S-14
        last = queued.cseq();
    }
    world.store_is(Mood::Well);
    world.advance(Duration::from_secs(11));
    leaves(alice, &waiting.dialog);
    assert_eq!(world.completions_kept(), 0);
    world.advance(LONG);
}

/// Who waits at a campon that keeps nothing is told that it stops; here there is nothing to tell.
#[test]
fn a_campon_that_stops_leaves_its_subscriptions_to_the_next() {
    let scene = BobIsBusy::with(Setup::Kept);
    let (world, [alice, _, _]) = scene.parts();
    let waiting = subscribes(alice, &scene.busy);
    world.drains();
    scene.bob_is_free();
    world.advance(Duration::from_secs(20));
    world.quiet();
    restarts(&scene);
    world.advance(Duration::from_secs(9));
    leaves(alice, &waiting.dialog);
    assert_eq!(world.completions_kept(), 0);
    world.advance(LONG);
}

#[test]
fn who_was_told_that_it_is_his_turn_is_told_that_it_is_not() {
    let scene = BobIsBusy::with(Setup::Kept);
    let (world, [alice, _, _]) = scene.parts();
    subscribes(alice, &scene.busy);
    scene.bob_is_free();
    told(alice, "ready");
    restarts(&scene);
    world.quiet();
    // CC-65: nobody knows how many NOTIFYs went out in the last ten seconds.
    world.advance(Duration::from_secs(9));
    told(alice, "queued");
    world.advance(Duration::from_mins(4));
    world.quiet();
    bob_is_seen(&scene);
    completes(&scene);
}

#[test]
fn a_subscription_that_its_subscriber_has_forgotten_ends_at_the_first_notify() {
    let scene = BobIsBusy::with(Setup::Kept);
    let (world, [alice, _, _]) = scene.parts();
    subscribes(alice, &scene.busy);
    restarts(&scene);
    bob_is_seen(&scene);
    world.advance(Duration::from_secs(4));
    let notify = alice.receives("NOTIFY");
    alice.answers(&notify, 481);
    assert_eq!(world.completions_kept(), 0);
    world.advance(LONG);
}

#[test]
fn a_suspension_and_its_entity_tag_outlive_the_process() {
    let scene = BobIsBusy::with(Setup::Kept);
    let (world, [alice, _, _]) = scene.parts();
    let waiting = subscribes(alice, &scene.busy);
    let entry = line(&waiting.queued, "cc-URI").to_owned();
    alice.sends(publish(&entry, "closed"));
    let tag = alice.receives("200").header("SIP-ETag").to_owned();
    restarts(&scene);
    bob_is_seen(&scene);
    world.advance(Duration::from_secs(30));
    world.quiet();
    // S-152: it is the same publication.
    alice.sends(publish(&entry, "open").with("SIP-If-Match", &tag));
    let again = alice.receives("200").header("SIP-ETag").to_owned();
    assert_ne!(again, tag);
    completes(&scene);
}

/// The answer is lost with the process, and whoever published says it again: he was refused, as out of
/// order, or for an entity-tag that his own request had changed.
#[test]
fn a_publish_that_comes_again_after_a_restart_is_answered_as_kept() {
    let scene = BobIsBusy::with(Setup::Kept);
    let (world, [alice, _, _]) = scene.parts();
    let waiting = subscribes(alice, &scene.busy);
    let closed = || publish_within(&waiting.dialog, "closed");
    let mut tags = Vec::new();
    for draft in [closed(), closed()] {
        let matched = tags.last().map(|tag: &String| tag.as_str());
        let draft = match matched {
            Some(tag) => draft.with("SIP-If-Match", tag),
            None => draft,
        };
        let sent = alice.sends(draft);
        let first = alice.receives("200");
        restarts(&scene);
        alice.sends_again(&sent);
        let again = alice.receives("200");
        // S-12: the dialog has its tag, and no other beside it.
        for answer in [&first, &again] {
            assert_eq!(answer.header("To"), waiting.accepted.header("To"));
        }
        let both = [first, again].map(|answer| answer.header("SIP-ETag").to_owned());
        assert_ne!(both[0], both[1]);
        tags.extend(both);
        world.advance(Duration::from_secs(33));
        // None comes again so late.
        let late = String::from_utf8_lossy(&sent.raw).replace("branch=", "branch=z9hG4bKlate");
        alice.sends_raw(late.as_bytes());
        alice.receives("500");
    }
    bob_is_seen(&scene);
    world.advance(Duration::from_secs(30));
    world.quiet();
    for (tag, status) in [(&tags[0], "412"), (&tags[2], "412"), (&tags[3], "200")] {
        alice.sends(publish_within(&waiting.dialog, "open").with("SIP-If-Match", tag));
        alice.receives(status);
    }
    completes(&scene);
}

/// The second one was carried out as well, and refused: its caller was ready, who was told that he is away.
#[test]
fn of_two_publishes_at_once_for_one_entity_tag_the_first_is_carried_out() {
    let scene = BobIsBusy::with(Setup::Kept);
    let (world, [alice, _, _]) = scene.parts();
    let waiting = subscribes(alice, &scene.busy);
    let entry = line(&waiting.queued, "cc-URI").to_owned();
    let says = |basic: &str, tag: &str| {
        alice.sends(publish(&entry, basic).with("SIP-If-Match", tag));
    };
    alice.sends(publish(&entry, "closed"));
    let tag = alice.receives("200").header("SIP-ETag").to_owned();
    world.store_is(Mood::Slow);
    says("closed", &tag);
    says("open", &tag);
    alice.receives("412"); // S-156
    world.store_is(Mood::Well);
    let tag = alice.receives("200").header("SIP-ETag").to_owned();
    scene.bob_is_free();
    world.advance(Duration::from_secs(20));
    world.quiet();
    says("open", &tag);
    alice.receives("200");
    completes(&scene);
}

#[test]
fn a_publication_runs_out_by_the_calendar() {
    let scene = BobIsBusy::with(Setup::Kept);
    let (world, [alice, _, _]) = scene.parts();
    let waiting = subscribes(alice, &scene.busy);
    let entry = line(&waiting.queued, "cc-URI").to_owned();
    alice.sends(publish(&entry, "closed").with_only("Expires", "600"));
    let tag = alice.receives("200").header("SIP-ETag").to_owned();
    world.advance(Duration::from_secs(400));
    restarts(&scene);
    bob_is_seen(&scene);
    world.advance(Duration::from_secs(100));
    world.quiet();
    world.advance(Duration::from_secs(94));
    told(alice, "ready");
    alice.sends(publish(&entry, "closed").with("SIP-If-Match", &tag));
    alice.receives("412");
    leaves(alice, &waiting.dialog);
}

/// A new SUBSCRIBE for the same callee takes the place over, whichever process has it.
#[test]
fn a_place_is_taken_over_after_a_restart() {
    let scene = BobIsBusy::with(Setup::Kept);
    let (world, [alice, bob, carol]) = scene.parts();
    let first = subscribes(alice, &scene.busy);
    restarts(&scene);
    world.advance(Duration::from_secs(11));
    let talk = call(carol, bob);
    let busy = finds_busy(alice);
    let sent = alice.sends(subscribe(alice, offered_uri(&busy)));
    let accepted = alice.receives("200");
    let notifies = [alice.receives("NOTIFY"), alice.receives("NOTIFY")];
    for notify in &notifies {
        alice.answers(notify, 200);
    }
    let state = |call_id: &str| {
        let mine = notifies.iter().find(|notify| notify.call_id() == call_id);
        mine.expect("a NOTIFY")
            .header("Subscription-State")
            .to_owned()
    };
    assert_eq!(state(first.sent.call_id()), "terminated;reason=noresource");
    assert!(state(sent.call_id()).starts_with("active"));
    hang_up(carol, &talk.caller, bob);
    leaves(alice, &Dialog::of_caller(&sent, &accepted));
    assert_eq!(world.completions_kept(), 0);
}

/// A place that was taken over is older than its subscription: the next process had forgotten the
/// dialog, because its number was not where it was looked for.
#[test]
fn a_place_that_was_taken_over_outlives_the_process_before_younger_ones() {
    let scene = BobIsBusy::with(Setup::Kept);
    let (world, [alice, _, _]) = scene.parts();
    subscribes(alice, &scene.busy);
    let dave = world.phone("dave");
    let behind = subscribes(&dave, &finds_busy(&dave));
    world.advance(Duration::from_secs(11));
    let sent = alice.sends(subscribe(alice, offered_uri(&finds_busy(alice))));
    let accepted = alice.receives("200");
    for _ in 0..2 {
        let notify = alice.receives("NOTIFY");
        alice.answers(&notify, 200);
    }
    restarts(&scene);
    world.advance(Duration::from_secs(11));
    leaves(alice, &Dialog::of_caller(&sent, &accepted));
    leaves(&dave, &behind.dialog);
    assert_eq!(world.completions_kept(), 0);
    world.advance(LONG);
}
