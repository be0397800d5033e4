//! Agents elsewhere: phones that subscribe to a queue of ours, suspend and resume.
//!
//! Spec: RFC 6910 §7, §9; RFC 6665 §4.2; RFC 3903 §6.

use std::time::Duration;

use crate::flow::kit::completion::{
    BobIsBusy, GUARD, LONG, MOMENT, RECALL, cc_call, ended, finds_busy, just_before, line,
    offered_uri, publish, publish_within, refresh, refuses, subscribe, subscribes, told,
    unsubscribe, waits,
};
use crate::flow::kit::dialog::Dialog;
use crate::flow::kit::draft::{ANSWER, OFFER, invite, response};
use crate::flow::kit::message::{Message, uri_of};
use crate::flow::kit::party::{Party, assert_came_at};
use crate::flow::kit::scenes::{hang_up, refused};

/// A CC call is answered, and its subscription ends with it.
#[track_caller]
fn completes(caller: &Party, callee: &Party, sent: &Message) {
    let rings = callee.receives("INVITE");
    callee.sends(response(&rings, 200).with_sdp(ANSWER));
    let answer = caller.receives("200");
    ended(caller, "noresource");
    caller.acks(sent, &answer);
    callee.receives("ACK");
    hang_up(caller, &Dialog::of_caller(sent, &answer), callee);
}

/// Takes a subscription back.
#[track_caller]
fn leaves(subscriber: &Party, dialog: &Dialog) {
    subscriber.sends(unsubscribe(dialog));
    subscriber.receives("200");
    ended(subscriber, "timeout");
}

/// A PUBLISH is accepted: its entity tag.
#[track_caller]
fn is_published(publisher: &Party) -> String {
    let done = publisher.receives("200");
    done.header("SIP-ETag").to_owned()
}

/// Dave subscribes as well, a second after Alice.
fn dave_subscribes_too(scene: &BobIsBusy) -> (Party, Dialog) {
    let dave = scene.world.phone("dave");
    let busy = finds_busy(&dave);
    let waiting = subscribes(&dave, &busy);
    scene.world.advance(Duration::from_secs(1));
    (dave, waiting.dialog)
}

#[test]
fn a_subscriber_is_told_that_he_is_queued_and_how_to_be_selected() {
    let scene = BobIsBusy::new();
    let waiting = subscribes(&scene.alice, &scene.busy);
    assert_eq!(waiting.accepted.header("Expires"), "3600");
    assert_eq!(waiting.accepted.header("Allow-Events"), "call-completion");
    let notify = &waiting.queued;
    assert_eq!(notify.header("Event"), "call-completion");
    let state = notify.header("Subscription-State");
    assert_eq!(state, "active;expires=3600");
    let media = notify.header("Content-Type");
    assert_eq!(media, "application/call-completion"); // CC-58
    assert_eq!(line(notify, "cc-state"), "queued"); // CC-03, CC-61
    leaves(&scene.alice, &waiting.dialog);
    scene.bob_hangs_up();
}

#[test]
fn each_notify_has_the_same_address_for_the_entry() {
    let scene = BobIsBusy::new();
    let waiting = subscribes(&scene.alice, &scene.busy);
    let uri = line(&waiting.queued, "cc-URI");
    assert!(uri.starts_with("sip:cce-"), "{uri}");
    assert!(uri.ends_with("@192.0.2.1:5060"), "{uri}"); // CC-39
    assert_eq!(line(&waiting.queued, "cc-service-retention"), "true"); // CC-40
    let (dave, daves) = dave_subscribes_too(&scene);
    scene.bob_is_free();
    let ready = told(&scene.alice, "ready");
    assert_eq!(line(&ready, "cc-URI"), uri); // CC-70
    assert_eq!(line(&ready, "cc-service-retention"), "true");
    leaves(&scene.alice, &waiting.dialog);
    let ready = told(&dave, "ready");
    assert_ne!(line(&ready, "cc-URI"), uri);
    leaves(&dave, &daves);
}

#[test]
fn a_phone_that_subscribed_is_told_when_it_is_its_turn() {
    let scene = BobIsBusy::new();
    let BobIsBusy { alice, bob, .. } = &scene;
    subscribes(alice, &scene.busy); // S-122
    scene.bob_is_free();
    let ready = told(alice, "ready"); // CC-38, CC-41
    let sent = alice.sends(cc_call(&ready));
    completes(alice, bob, &sent);
}

#[test]
fn a_request_that_was_taken_back_leads_to_nothing() {
    let scene = BobIsBusy::new();
    let BobIsBusy { world, alice, .. } = &scene;
    let waiting = subscribes(alice, &scene.busy);
    leaves(alice, &waiting.dialog); // S-122
    scene.bob_is_free();
    world.advance(LONG);
    world.quiet();
}

#[test]
fn a_mode_that_is_missing_or_unknown_is_served_as_the_call_failed() {
    for mode in ["", ";m=XX", ";m=NR"] {
        let scene = BobIsBusy::new();
        let uri = format!("{}{mode}", offered_uri(&scene.busy));
        let waiting = waits(&scene.alice, subscribe(&scene.alice, &uri));
        scene.bob_is_free();
        told(&scene.alice, "ready"); // CC-32
        leaves(&scene.alice, &waiting.dialog);
    }
}

#[test]
fn the_callee_himself_can_be_subscribed_to() {
    let scene = BobIsBusy::new();
    let uri = "sip:bob@192.0.2.1";
    let waiting = waits(&scene.alice, subscribe(&scene.alice, uri)); // CC-33
    scene.bob_is_free();
    told(&scene.alice, "ready");
    leaves(&scene.alice, &waiting.dialog);
}

#[test]
fn a_subscription_lasts_an_hour_unless_it_says_otherwise() {
    let scene = BobIsBusy::new();
    let draft = subscribe(&scene.alice, offered_uri(&scene.busy));
    let waiting = waits(&scene.alice, draft.without("Expires"));
    assert_eq!(waiting.accepted.header("Expires"), "3600"); // CC-54, CC-55
    leaves(&scene.alice, &waiting.dialog);
    scene.bob_hangs_up();
}

#[test]
fn a_subscription_is_no_longer_than_the_service() {
    let scene = BobIsBusy::new();
    let draft = subscribe(&scene.alice, offered_uri(&scene.busy));
    let waiting = waits(&scene.alice, draft.with_only("Expires", "7200"));
    assert_eq!(waiting.accepted.header("Expires"), "3600"); // CC-56
    leaves(&scene.alice, &waiting.dialog);
    scene.bob_hangs_up();
}

#[test]
fn a_refresh_never_lengthens() {
    let scene = BobIsBusy::new();
    let BobIsBusy { world, alice, .. } = &scene;
    let waiting = subscribes(alice, &scene.busy);
    world.advance(Duration::from_mins(10));
    alice.sends(refresh(&waiting.dialog, "3600"));
    assert_eq!(alice.receives("200").header("Expires"), "3000"); // CC-59
    let queued = told(alice, "queued");
    let state = queued.header("Subscription-State");
    assert_eq!(state, "active;expires=3000");
    leaves(alice, &waiting.dialog);
    scene.bob_hangs_up();
}

#[test]
fn a_subscription_without_accept_gets_the_one_type_there_is() {
    let scene = BobIsBusy::new();
    let draft = subscribe(&scene.alice, offered_uri(&scene.busy)).without("Accept");
    let waiting = waits(&scene.alice, draft); // CC-52
    let media = waiting.queued.header("Content-Type");
    assert_eq!(media, "application/call-completion");
    leaves(&scene.alice, &waiting.dialog);
    scene.bob_hangs_up();
}

#[test]
fn a_subscription_that_runs_out_says_so() {
    let scene = BobIsBusy::new();
    let BobIsBusy { world, alice, .. } = &scene;
    let draft = subscribe(alice, offered_uri(&scene.busy));
    waits(alice, draft.with_only("Expires", "60"));
    world.advance(Duration::from_secs(59));
    alice.receives_nothing();
    world.advance(Duration::from_secs(1));
    let last = ended(alice, "timeout"); // CC-37
    assert_eq!(line(&last, "cc-state"), "queued"); // CC-62
    scene.bob_is_free();
    world.advance(LONG);
    world.quiet();
}

#[test]
fn a_second_subscription_takes_the_place_of_the_first() {
    let scene = BobIsBusy::new();
    let BobIsBusy { alice, .. } = &scene;
    subscribes(alice, &scene.busy);
    let (dave, daves) = dave_subscribes_too(&scene);
    let sent = alice.sends(subscribe(alice, offered_uri(&scene.busy)));
    let accepted = alice.receives("200");
    let [first, second] = [alice.receives("NOTIFY"), alice.receives("NOTIFY")];
    let states = [&first, &second].map(|notify| notify.header("Subscription-State"));
    assert_eq!(
        states,
        ["terminated;reason=noresource", "active;expires=3600"]
    ); // CC-36
    alice.answers(&first, 200);
    alice.answers(&second, 200);
    scene.world.advance(GUARD);
    scene.bob_is_free();
    told(alice, "ready");
    dave.receives_nothing();
    leaves(alice, &Dialog::of_caller(&sent, &accepted));
    told(&dave, "ready");
    leaves(&dave, &daves);
}

#[test]
fn a_turn_that_is_not_used_passes_to_the_next_one() {
    let scene = BobIsBusy::new();
    let BobIsBusy { world, alice, .. } = &scene;
    let waiting = subscribes(alice, &scene.busy);
    let (dave, daves) = dave_subscribes_too(&scene);
    scene.bob_is_free();
    told(alice, "ready");
    world.advance(just_before(RECALL));
    world.quiet();
    world.advance(MOMENT);
    told(alice, "queued"); // CC-42, CC-44
    told(&dave, "ready"); // CC-47
    leaves(alice, &waiting.dialog);
    leaves(&dave, &daves);
}

#[test]
fn a_cc_call_that_rings_stops_the_recall_timer() {
    let scene = BobIsBusy::new();
    let BobIsBusy {
        world, alice, bob, ..
    } = &scene;
    subscribes(alice, &scene.busy);
    scene.bob_is_free();
    let ready = told(alice, "ready");
    world.advance(just_before(RECALL));
    let sent = alice.sends(cc_call(&ready));
    world.advance(Duration::from_secs(30));
    let rings = bob.receives_copies("INVITE").remove(0);
    bob.answers(&rings, 180);
    alice.receives("180");
    alice.receives_nothing(); // CC-43
    bob.sends(response(&rings, 200).with_sdp(ANSWER));
    let answer = alice.receives("200");
    ended(alice, "noresource");
    alice.acks(&sent, &answer);
    bob.receives("ACK");
    hang_up(alice, &Dialog::of_caller(&sent, &answer), bob);
}

#[test]
fn a_call_to_the_callee_by_his_caller_is_the_cc_call() {
    let scene = BobIsBusy::new();
    let BobIsBusy { alice, bob, .. } = &scene;
    subscribes(alice, &scene.busy);
    scene.bob_is_free();
    told(alice, "ready");
    let sent = alice.sends(invite("sip:bob@192.0.2.1;m=BS").with_sdp(OFFER));
    completes(alice, bob, &sent); // CC-46
}

#[test]
fn a_cc_call_that_is_refused_costs_nobody_his_place() {
    let scene = BobIsBusy::new();
    let BobIsBusy {
        world, alice, bob, ..
    } = &scene;
    let waiting = subscribes(alice, &scene.busy);
    scene.bob_is_free();
    let ready = told(alice, "ready");
    let sent = alice.sends(cc_call(&ready));
    let rings = bob.receives("INVITE");
    refuses(bob, &rings, 486);
    refused(alice, &sent, "486");
    told(alice, "queued"); // CC-45
    world.advance(LONG);
    alice.receives_nothing();
    leaves(alice, &waiting.dialog);
}

#[test]
fn a_suspended_caller_is_passed_over_in_his_place() {
    let scene = BobIsBusy::new();
    let BobIsBusy { world, alice, .. } = &scene;
    let waiting = subscribes(alice, &scene.busy);
    let (dave, daves) = dave_subscribes_too(&scene);
    let uri = line(&waiting.queued, "cc-URI");
    alice.sends(publish(uri, "closed"));
    let tag = is_published(alice);
    scene.bob_is_free();
    alice.receives_nothing(); // CC-04
    told(&dave, "ready");
    alice.sends(publish(uri, "open").with("SIP-If-Match", &tag));
    is_published(alice);
    world.advance(just_before(RECALL));
    alice.receives_nothing();
    leaves(&dave, &daves);
    told(alice, "ready"); // CC-51
    leaves(alice, &waiting.dialog);
}

#[test]
fn a_caller_who_is_suspended_when_his_turn_has_come_gives_it_away() {
    let scene = BobIsBusy::new();
    let BobIsBusy { alice, .. } = &scene;
    let waiting = subscribes(alice, &scene.busy);
    let (dave, daves) = dave_subscribes_too(&scene);
    scene.bob_is_free();
    let ready = told(alice, "ready");
    alice.sends(publish(line(&ready, "cc-URI"), "closed"));
    let [done, notify] = alice.receives_each(["200", "NOTIFY"]);
    assert!(done.has("SIP-ETag"));
    alice.answers(&notify, 200);
    assert_eq!(line(&notify, "cc-state"), "queued"); // CC-05, CC-50
    told(&dave, "ready");
    scene.world.advance(GUARD);
    leaves(alice, &waiting.dialog);
    leaves(&dave, &daves);
}

#[test]
fn a_publication_that_runs_out_resumes_the_caller() {
    let scene = BobIsBusy::new();
    let BobIsBusy { world, alice, .. } = &scene;
    let waiting = subscribes(alice, &scene.busy);
    let uri = line(&waiting.queued, "cc-URI");
    alice.sends(publish(uri, "closed").with_only("Expires", "120"));
    let done = alice.receives("200");
    assert_eq!(done.header("Expires"), "120");
    scene.bob_is_free();
    world.advance(just_before(Duration::from_mins(2).saturating_sub(GUARD)));
    alice.receives_nothing();
    world.advance(MOMENT);
    told(alice, "ready");
    leaves(alice, &waiting.dialog);
}

#[test]
fn a_publication_is_taken_wherever_the_monitor_is() {
    let scene = BobIsBusy::new();
    let BobIsBusy { world, alice, .. } = &scene;
    let waiting = subscribes(alice, &scene.busy);
    let entry = line(&waiting.queued, "cc-URI");
    let offer = offered_uri(&scene.busy);
    // CC-48: the entry, the offer, the callee, and the subscription.
    let drafts = [
        publish(entry, "closed"),
        publish(offer, "closed"),
        publish("sip:bob@192.0.2.1", "closed"),
        publish_within(&waiting.dialog, "closed"),
    ];
    for draft in drafts {
        alice.sends(draft);
        is_published(alice);
    }
    scene.bob_is_free();
    world.advance(GUARD);
    alice.receives_nothing(); // CC-49
    leaves(alice, &waiting.dialog);
}

#[test]
fn a_publication_of_a_stale_version_is_refused() {
    let scene = BobIsBusy::new();
    let BobIsBusy { alice, .. } = &scene;
    let waiting = subscribes(alice, &scene.busy);
    let uri = line(&waiting.queued, "cc-URI");
    alice.sends(publish(uri, "closed"));
    let first = is_published(alice);
    alice.sends(publish(uri, "closed").with("SIP-If-Match", &first));
    let second = is_published(alice);
    assert_ne!(first, second);
    for stale in [first.as_str(), "made-up"] {
        alice.sends(publish(uri, "open").with("SIP-If-Match", stale));
        alice.receives("412");
    }
    scene.bob_is_free();
    alice.receives_nothing();
    leaves(alice, &waiting.dialog);
}

#[test]
fn what_was_published_ends_with_the_subscription() {
    let scene = BobIsBusy::new();
    let BobIsBusy { alice, .. } = &scene;
    let waiting = subscribes(alice, &scene.busy);
    let uri = line(&waiting.queued, "cc-URI");
    alice.sends(publish(uri, "closed"));
    let tag = is_published(alice);
    leaves(alice, &waiting.dialog);
    alice.sends(publish(uri, "open").with("SIP-If-Match", &tag));
    alice.receives("403"); // CC-06, CC-72
    scene.bob_hangs_up();
}

#[test]
fn no_more_than_three_notifys_within_ten_seconds() {
    let scene = BobIsBusy::new();
    let BobIsBusy { world, alice, .. } = &scene;
    let waiting = subscribes(alice, &scene.busy);
    let start = waiting.queued.at;
    scene.bob_is_free();
    told(alice, "ready");
    let uri = line(&waiting.queued, "cc-URI").to_owned();
    alice.sends(publish(&uri, "closed"));
    let [_, withdrawn] = alice.receives_each(["200", "NOTIFY"]);
    alice.answers(&withdrawn, 200);
    assert_came_at(&[withdrawn], start, &[5_000]); // CC-66
    alice.sends(publish(&uri, "open"));
    alice.receives("200");
    world.advance(GUARD);
    alice.receives_nothing(); // CC-65
    let ready = alice.receives_within(GUARD, "NOTIFY");
    alice.answers(&ready, 200);
    assert_eq!(line(&ready, "cc-state"), "ready");
    assert_came_at(&[ready], start, &[15_000]); // CC-67
    leaves(alice, &waiting.dialog);
}

#[test]
fn a_notify_that_is_lost_is_sent_again() {
    let scene = BobIsBusy::new();
    let BobIsBusy { world, alice, .. } = &scene;
    let waiting = subscribes(alice, &scene.busy);
    scene.bob_is_free();
    let first = alice.receives("NOTIFY");
    let second = alice.receives_within(Duration::from_secs(1), "NOTIFY");
    assert_eq!(first.raw, second.raw);
    assert_came_at(&[second], first.at, &[500]);
    alice.answers(&first, 200);
    world.advance(GUARD);
    leaves(alice, &waiting.dialog);
}

#[test]
fn a_subscribe_that_comes_twice_is_answered_twice_and_counts_once() {
    let scene = BobIsBusy::new();
    let BobIsBusy { alice, .. } = &scene;
    let waiting = subscribes(alice, &scene.busy);
    alice.sends_again(&waiting.sent);
    let again = alice.receives("200");
    assert_eq!(again.raw, waiting.accepted.raw);
    alice.receives_nothing();
    leaves(alice, &waiting.dialog);
    scene.bob_hangs_up();
}

#[test]
fn a_publish_that_comes_twice_is_answered_twice_and_counts_once() {
    let scene = BobIsBusy::new();
    let BobIsBusy { alice, .. } = &scene;
    let waiting = subscribes(alice, &scene.busy);
    let sent = alice.sends(publish(line(&waiting.queued, "cc-URI"), "closed"));
    let done = alice.receives("200");
    alice.sends_again(&sent);
    assert_eq!(alice.receives("200").raw, done.raw);
    leaves(alice, &waiting.dialog);
    scene.bob_hangs_up();
}

#[test]
fn a_subscriber_that_knows_nothing_of_it_has_lost_his_place() {
    let scene = BobIsBusy::new();
    let BobIsBusy { world, alice, .. } = &scene;
    let waiting = subscribes(alice, &scene.busy);
    let (dave, daves) = dave_subscribes_too(&scene);
    scene.bob_is_free();
    let ready = alice.receives("NOTIFY");
    alice.answers(&ready, 481);
    told(&dave, "ready"); // CC-47
    alice.sends(unsubscribe(&waiting.dialog));
    alice.receives("481");
    leaves(&dave, &daves);
    world.advance(LONG);
    world.quiet();
}

#[test]
fn a_subscriber_that_is_silent_has_lost_his_place() {
    let scene = BobIsBusy::new();
    let BobIsBusy { world, alice, .. } = &scene;
    subscribes(alice, &scene.busy);
    let (dave, daves) = dave_subscribes_too(&scene);
    scene.bob_is_free();
    world.advance(RECALL);
    told(&dave, "ready");
    world.advance(Duration::from_secs(15));
    let notifys = alice.receives_copies("NOTIFY");
    assert!(notifys.len() > 10, "{} copies", notifys.len());
    leaves(&dave, &daves);
    world.advance(LONG);
    alice.receives_copies("NOTIFY");
    world.quiet();
}

#[test]
fn the_offers_address_is_made_for_one_caller_and_one_callee() {
    let scene = BobIsBusy::new();
    let waiting = subscribes(&scene.alice, &scene.busy);
    let dave = scene.world.phone("dave");
    let busy = finds_busy(&dave);
    let [alices, daves] = [&scene.busy, &busy].map(|busy| uri_of(busy.header("Call-Info")));
    assert_ne!(alices, daves); // CC-29
    leaves(&scene.alice, &waiting.dialog);
    scene.bob_hangs_up();
}

#[test]
fn a_notify_that_fails_for_now_costs_nobody_his_place() {
    let scene = BobIsBusy::new();
    let BobIsBusy { world, alice, .. } = &scene;
    let waiting = subscribes(alice, &scene.busy);
    scene.bob_is_free();
    let ready = alice.receives("NOTIFY");
    alice.answers(&ready, 500); // S-125
    world.advance(RECALL);
    told(alice, "queued");
    leaves(alice, &waiting.dialog);
}

#[test]
fn a_subscriber_behind_a_stream_is_told_on_it() {
    let scene = BobIsBusy::new();
    let world = &scene.world;
    let dave = world.party_over_tcp("dave");
    dave.registers();
    let busy = finds_busy(&dave);
    let waiting = subscribes(&dave, &busy);
    world.advance(Duration::from_secs(1));
    scene.bob_is_free();
    let ready = told(&dave, "ready");
    assert_eq!(ready.connection(), waiting.queued.connection());
    assert!(ready.connection().is_some());
    leaves(&dave, &waiting.dialog);
}

#[test]
fn a_refresh_that_was_overtaken_changes_nothing() {
    let scene = BobIsBusy::new();
    let alice = &scene.alice;
    let waiting = subscribes(alice, &scene.busy);
    let stale = unsubscribe(&waiting.dialog).with_only("CSeq", "1 SUBSCRIBE");
    alice.sends(stale);
    alice.receives("500"); // S-14
    scene.bob_is_free();
    told(alice, "ready");
    leaves(alice, &waiting.dialog);
}
