//! Phones that subscribe to a queue of ours: their turn, and messages that are lost or overtaken.
//!
//! Spec: RFC 6910 §7, §9; RFC 6665 §4.2; RFC 3903 §6.

use std::time::Duration;

use crate::flow::kit::completion::{
    BobIsBusy, GUARD, LONG, RECALL, cc_call, ended, finds_busy, leaves, line, offered_uri, publish,
    subscribe, subscribes, told, unsubscribe, waits,
};
use crate::flow::kit::dialog::Dialog;
use crate::flow::kit::draft::{ANSWER, OFFER, invite, response, within};
use crate::flow::kit::message::{Message, uri_of};
use crate::flow::kit::party::{Party, assert_came_at};
use crate::flow::kit::scenes::{call, hang_up, refused};
use crate::flow::kit::subject::Setup;
use crate::flow::kit::world::World;

/// By which name a caller calls.
#[derive(Clone, Copy, Debug)]
enum Names {
    Callee,
    Place,
}

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

/// A PUBLISH is accepted: its entity tag.
#[track_caller]
fn is_published(publisher: &Party) -> String {
    let done = publisher.receives("200");
    done.header("SIP-ETag").to_owned()
}

#[test]
fn a_phone_that_subscribed_is_told_when_it_is_its_turn() {
    let scene = BobIsBusy::new();
    let [alice, bob, _] = scene.phones();
    subscribes(alice, &scene.busy); // S-122
    scene.bob_is_free();
    let ready = told(alice, "ready"); // CC-38, CC-41
    let sent = alice.sends(cc_call(&ready));
    completes(alice, bob, &sent);
}

#[test]
fn a_request_that_was_taken_back_leads_to_nothing() {
    let scene = BobIsBusy::new();
    let (world, [alice, _, _]) = scene.parts();
    let waiting = subscribes(alice, &scene.busy);
    leaves(alice, &waiting.dialog); // S-122
    scene.bob_is_free();
    world.stays_quiet();
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
fn a_call_to_the_callee_by_his_caller_is_the_cc_call() {
    let scene = BobIsBusy::new();
    let [alice, bob, _] = scene.phones();
    subscribes(alice, &scene.busy);
    scene.bob_is_free();
    told(alice, "ready");
    let sent = alice.sends(invite("sip:bob@192.0.2.1;m=BS").with_sdp(OFFER));
    completes(alice, bob, &sent); // CC-46
}

#[test]
fn a_cc_call_that_is_refused_costs_nobody_his_place() {
    let scene = BobIsBusy::new();
    let (world, [alice, bob, _]) = scene.parts();
    let waiting = subscribes(alice, &scene.busy);
    scene.bob_is_free();
    let ready = told(alice, "ready");
    let sent = alice.sends(cc_call(&ready));
    let rings = bob.receives("INVITE");
    bob.refuses(&rings, 486);
    refused(alice, &sent, "486");
    told(alice, "queued"); // CC-45
    world.advance(LONG);
    alice.receives_nothing();
    leaves(alice, &waiting.dialog);
}

/// Who calls once more while his CC call rings has made a second call: its failure is not the first
/// one's, by whichever name of the callee.
#[test]
fn a_second_call_beside_the_cc_call_says_nothing_of_it() {
    for names in [Names::Callee, Names::Place] {
        let scene = BobIsBusy::new();
        let [alice, bob, _] = scene.phones();
        subscribes(alice, &scene.busy);
        scene.bob_is_free();
        let ready = told(alice, "ready");
        let first = alice.sends(cc_call(&ready));
        let rings = bob.receives("INVITE");
        let beside = match names {
            Names::Callee => invite("bob").with_sdp(OFFER),
            Names::Place => cc_call(&ready),
        };
        let second = alice.sends(beside);
        refused(alice, &second, "486");
        // CC-38: it is still hers.
        alice.receives_nothing();
        bob.receives_nothing();
        bob.sends(response(&rings, 200).with_sdp(ANSWER));
        let answer = alice.receives("200");
        // CC-46
        ended(alice, "noresource");
        alice.acks(&first, &answer);
        bob.receives("ACK");
        hang_up(alice, &Dialog::of_caller(&first, &answer), bob);
    }
}

/// A call to the callee is taken for the CC call as long as none comes that bears its name.
#[test]
fn a_call_by_the_name_of_the_place_is_the_cc_call_rather_than_one_before() {
    let world = World::new(Setup::Unlimited);
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| world.phone(name));
    let talk = call(&carol, &bob);
    let sent = alice.sends(invite("bob").with_sdp(OFFER));
    bob.refuses(&bob.receives("INVITE"), 486);
    let busy = refused(&alice, &sent, "486");
    world.advance(GUARD);
    subscribes(&alice, &busy);
    hang_up(&carol, &talk.caller, &bob);
    world.advance(GUARD);
    let ready = told(&alice, "ready");
    let by_number = alice.sends(invite("bob").with_sdp(OFFER));
    let first = bob.receives("INVITE");
    let by_name = alice.sends(cc_call(&ready)); // CC-22
    let second = bob.receives("INVITE");
    bob.refuses(&first, 486);
    refused(&alice, &by_number, "486");
    alice.receives_nothing();
    bob.sends(response(&second, 200).with_sdp(ANSWER));
    let answer = alice.receives("200");
    ended(&alice, "noresource");
    alice.acks(&by_name, &answer);
    bob.receives("ACK");
    hang_up(&alice, &Dialog::of_caller(&by_name, &answer), &bob);
}

#[test]
fn a_publication_of_a_stale_version_is_refused() {
    let scene = BobIsBusy::new();
    let alice = &scene.alice;
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
    // S-156: what was refused has changed nothing.
    scene.bob_is_free();
    alice.receives_nothing();
    leaves(alice, &waiting.dialog);
}

#[test]
fn a_publication_moves_nothing() {
    let scene = BobIsBusy::new();
    let alice = &scene.alice;
    let waiting = subscribes(alice, &scene.busy);
    let uri = line(&waiting.queued, "cc-URI");
    let draft = publish(uri, "open").with("Contact", "<sip:elsewhere@192.0.2.88:5060>");
    alice.sends(draft.with("Record-Route", "<sip:192.0.2.77;lr>"));
    is_published(alice);
    scene.bob_is_free();
    // S-155: what follows goes where the subscription is.
    told(alice, "ready");
    leaves(alice, &waiting.dialog);
}

#[test]
fn a_subscription_is_answered_before_anybody_is_asked() {
    let scene = BobIsBusy::new();
    let before = scene.world.messages_sent();
    let waiting = subscribes(&scene.alice, &scene.busy);
    // S-134: the 200 and the NOTIFY, at once, and nothing to Bob.
    assert_eq!(scene.world.messages_sent(), before + 2);
    assert_eq!(waiting.accepted.at, waiting.sent.at);
    leaves(&scene.alice, &waiting.dialog);
    scene.bob_hangs_up();
}

#[test]
fn a_notify_that_is_lost_is_sent_again() {
    let scene = BobIsBusy::new();
    let (world, [alice, _, _]) = scene.parts();
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
    let alice = &scene.alice;
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
    let alice = &scene.alice;
    let waiting = subscribes(alice, &scene.busy);
    let sent = alice.sends(publish(line(&waiting.queued, "cc-URI"), "closed"));
    let done = alice.receives("200");
    alice.sends_again(&sent);
    assert_eq!(alice.receives("200").raw, done.raw);
    leaves(alice, &waiting.dialog);
    scene.bob_hangs_up();
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
    let (world, [alice, _, _]) = scene.parts();
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

/// A refresh that crossed the end cost the subscriber his last NOTIFY, and campon the subscription.
#[test]
fn a_refresh_after_the_end_does_not_cost_the_last_notify() {
    let scene = BobIsBusy::new();
    let alice = &scene.alice;
    let sent = alice.sends(subscribe(alice, offered_uri(&scene.busy)));
    let accepted = alice.receives("200");
    let dialog = Dialog::of_caller(&sent, &accepted);
    let refreshes = |expires: &str| {
        let refresh = within(&dialog, "SUBSCRIBE").with("Event", "call-completion");
        alice.sends(refresh.with("Expires", expires));
    };
    let is_told = || {
        let notify = alice.receives("NOTIFY");
        alice.answers(&notify, 200);
        notify
    };
    is_told();
    for _ in 0..2 {
        refreshes("600");
        alice.receives("200");
        is_told();
    }
    refreshes("0");
    alice.receives("200");
    refreshes("600");
    alice.receives("481");
    scene.world.advance(Duration::from_secs(10));
    let ended = is_told();
    assert_eq!(
        ended.header("Subscription-State"),
        "terminated;reason=timeout"
    );
    scene.bob_hangs_up();
}
