//! Phones that wait for Bob by the dialog package: one after the other, and nobody who merely looks.
//!
//! Spec: RFC 4235; RFC 5359 §2.17; RULES R15.

use std::time::Duration;

use crate::flow::kit::completion::{
    BobIsBusy, CANCEL_LAST, GUARD, MOMENT, RECALL, dials, finds_busy, just_before, speaks_with,
    subscribe,
};
use crate::flow::kit::dialog::Dialog;
use crate::flow::kit::draft::{ANSWER, Draft, OFFER, invite, response, within};
use crate::flow::kit::message::Message;
use crate::flow::kit::party::Party;
use crate::flow::kit::scenes::{hang_up, refused};

const BOB: &str = "sip:bob@192.0.2.1";

/// As Yealink's phones subscribe, for a minute.
fn watch(watcher: &Party) -> Draft {
    subscribe(watcher, BOB)
        .with_only("Event", "dialog")
        .with_only("Accept", "application/dialog-info+xml")
        .with_only("Expires", "60")
}

/// What a phone is told of Bob's calls.
#[track_caller]
fn sees(watcher: &Party, state: &str) -> Message {
    let notify = watcher.receives("NOTIFY");
    watcher.answers(&notify, 200);
    assert_eq!(notify.header("Content-Type"), "application/dialog-info+xml");
    let states: Vec<_> = notify.sdp().matches("<state>").collect();
    assert_eq!(states.len(), 1, "{notify}");
    let expected = format!("<state>{state}</state>");
    assert!(notify.sdp().contains(&expected), "{state}, not {notify}");
    assert!(!notify.sdp().contains("remote"), "{notify}");
    assert!(
        notify.sdp().contains(&format!("entity=\"{BOB}\"")),
        "{notify}"
    );
    notify
}

/// The version of a document, and the id of its dialog.
fn version_and_id(notify: &Message) -> (u32, String) {
    let value = |name: &str| {
        let (_, rest) = notify.sdp().split_once(&format!(" {name}=\"")).expect("it");
        rest.split('"').next().expect("a value").to_owned()
    };
    let version = notify.sdp().split_once("info\" version=\"").expect("one").1;
    let version = version.split('"').next().expect("a value");
    (version.parse().expect("a number"), value("id"))
}

/// A phone waits.
#[track_caller]
fn watches(watcher: &Party) -> Dialog {
    let sent = watcher.sends(watch(watcher));
    let accepted = watcher.receives("200");
    assert_eq!(accepted.header("Expires"), "60");
    sees(watcher, "confirmed");
    Dialog::of_caller(&sent, &accepted)
}

#[track_caller]
fn refreshes(watcher: &Party, dialog: &Dialog, expires: &str) {
    let refresh = within(dialog, "SUBSCRIBE").with("Event", "dialog");
    watcher.sends(refresh.with("Expires", expires));
    let accepted = watcher.receives("200");
    assert_eq!(accepted.header("Expires"), expires);
}

/// Its subscription ends, without a word of Bob's being free.
#[track_caller]
fn is_ended(watcher: &Party, reason: &str) {
    let last = sees(watcher, "confirmed");
    let state = last.header("Subscription-State");
    assert_eq!(state, format!("terminated;reason={reason}"));
}

/// The phone calls Bob, who answers, and they talk and hang up.
#[track_caller]
fn talks(caller: &Party, bob: &Party) {
    let sent = caller.sends(invite("bob").with_sdp(OFFER));
    let rings = bob.receives("INVITE");
    bob.sends(response(&rings, 200).with_sdp(ANSWER));
    let [answer] = caller.receives_each(["200"]);
    is_ended(caller, "noresource");
    caller.acks(&sent, &answer);
    bob.receives("ACK");
    hang_up(caller, &Dialog::of_caller(&sent, &answer), bob);
}

#[test]
fn phones_that_watch_are_served_one_after_the_other() {
    let scene = BobIsBusy::new();
    let (world, [alice, bob, _]) = scene.parts();
    let dave = world.phone("dave");
    watches(alice);
    finds_busy(&dave);
    watches(&dave);
    scene.bob_hangs_up();
    world.advance(just_before(GUARD));
    // Both still see a call: Bob is left alone for a while.
    world.quiet();
    world.advance(MOMENT);
    sees(alice, "terminated");
    dave.receives_nothing();
    talks(alice, bob);
    world.advance(GUARD);
    sees(&dave, "terminated");
    talks(&dave, bob);
    world.stays_quiet();
}

#[test]
fn a_phone_keeps_its_wish_up_by_a_refresh_and_takes_it_back_without_one() {
    let scene = BobIsBusy::new();
    let (world, [alice, _, _]) = scene.parts();
    let dialog = watches(alice);
    for _ in 0..5 {
        world.advance(Duration::from_secs(50));
        refreshes(alice, &dialog, "60");
        let notify = sees(alice, "confirmed");
        let state = notify.header("Subscription-State");
        assert_eq!(state, "active;expires=60");
    }
    world.advance(Duration::from_mins(1));
    is_ended(alice, "timeout");
    scene.bob_is_free();
    world.stays_quiet();
}

#[test]
fn a_phone_takes_its_wish_back() {
    let scene = BobIsBusy::new();
    let (world, [alice, _, _]) = scene.parts();
    let dialog = watches(alice);
    refreshes(alice, &dialog, "0");
    is_ended(alice, "timeout");
    scene.bob_is_free();
    world.stays_quiet();
}

#[test]
fn a_wish_taken_back_by_code_ends_the_phones_subscription() {
    let scene = BobIsBusy::new();
    let (world, [alice, _, _]) = scene.parts();
    watches(alice);
    let sent = alice.sends(invite(CANCEL_LAST).with_sdp(OFFER));
    let [done, last] = alice.receives_each(["200", "NOTIFY"]);
    alice.answers(&last, 200);
    let state = last.header("Subscription-State");
    assert_eq!(state, "terminated;reason=noresource");
    assert!(last.sdp().contains("<state>confirmed</state>"), "{last}");
    alice.acks(&sent, &done);
    alice.is_hung_up_on();
    scene.bob_is_free();
    world.stays_quiet();
}

#[test]
fn documents_are_counted_and_name_one_made_up_dialog() {
    let scene = BobIsBusy::new();
    let (world, [alice, _, _]) = scene.parts();
    let sent = alice.sends(watch(alice));
    let accepted = alice.receives("200");
    // S-140: one that the phone can read, and (S-144) no more than that he is on a call.
    let first = version_and_id(&sees(alice, "confirmed"));
    scene.bob_is_free();
    let second = version_and_id(&sees(alice, "terminated"));
    // S-141: each is whole.
    assert_eq!((first.0, second.0), (0, 1));
    assert_eq!(first.1, second.1);
    world.advance(RECALL);
    // It let its turn pass.
    let third = version_and_id(&sees(alice, "confirmed"));
    assert_eq!(third, (2, first.1));
    let dialog = Dialog::of_caller(&sent, &accepted);
    refreshes(alice, &dialog, "0");
    is_ended(alice, "timeout");
}

#[test]
fn the_parameters_of_a_phones_event_come_back() {
    let scene = BobIsBusy::new();
    let alice = &scene.alice;
    let event = "dialog;purpose=call-completion";
    let draft = watch(alice).with_only("Event", event);
    let sent = alice.sends(draft.with_only("Expires", "3600"));
    let accepted = alice.receives("200");
    let told = sees(alice, "confirmed");
    assert_eq!(told.header("Event"), event);
    scene.bob_is_free();
    let told = sees(alice, "terminated");
    assert_eq!(told.header("Event"), event);
    let dialog = Dialog::of_caller(&sent, &accepted);
    let end = within(&dialog, "SUBSCRIBE").with("Event", event);
    alice.sends(end.with("Expires", "0"));
    alice.receives("200");
    is_ended(alice, "timeout");
}

#[test]
fn who_has_not_called_is_told_nothing() {
    let scene = BobIsBusy::new();
    let dave = scene.world.phone("dave");
    dave.sends(watch(&dave));
    dave.receives("489");
    let says_so = "dialog;purpose=call-completion";
    dave.sends(watch(&dave).with_only("Event", says_so));
    dave.receives("403"); // CC-73
    scene.world.advance(Duration::from_secs(31));
    scene.alice.sends(watch(&scene.alice));
    scene.alice.receives("489");
    scene.bob_hangs_up();
}

#[test]
fn a_watcher_on_another_call_keeps_his_place_and_another_is_served() {
    let scene = BobIsBusy::new();
    let (world, [alice, bob, _]) = scene.parts();
    let [dave, erin] = ["dave", "erin"].map(|name| world.phone(name));
    watches(alice);
    finds_busy(&dave);
    watches(&dave);
    world.advance(Duration::from_secs(1));
    let other = speaks_with(alice, "erin", &erin);
    scene.bob_is_free();
    sees(&dave, "terminated");
    alice.receives_nothing();
    talks(&dave, bob);
    world.advance(GUARD);
    alice.receives_nothing();
    hang_up(alice, &other, &erin);
    sees(alice, "terminated");
    talks(alice, bob);
}

#[test]
fn a_call_that_is_refused_costs_a_watcher_nothing() {
    let scene = BobIsBusy::new();
    let (world, [alice, bob, _]) = scene.parts();
    let dialog = watches(alice);
    scene.bob_is_free();
    sees(alice, "terminated");
    let sent = alice.sends(invite("bob").with_sdp(OFFER));
    let rings = bob.receives("INVITE");
    bob.refuses(&rings, 486);
    refused(alice, &sent, "486");
    sees(alice, "confirmed");
    refreshes(alice, &dialog, "0");
    // CC-65
    world.advance(Duration::from_secs(5));
    is_ended(alice, "timeout");
}

#[test]
fn a_phone_and_a_code_are_one_wish() {
    let scene = BobIsBusy::new();
    let (world, [alice, _, _]) = scene.parts();
    dials(alice, "*37%23");
    watches(alice);
    dials(alice, CANCEL_LAST);
    is_ended(alice, "noresource");
    scene.bob_is_free();
    world.stays_quiet();
}

#[test]
fn a_subscription_to_completion_takes_the_place_of_the_phones_own() {
    let scene = BobIsBusy::new();
    let alice = &scene.alice;
    watches(alice);
    let draft = subscribe(
        alice,
        crate::flow::kit::completion::offered_uri(&scene.busy),
    );
    let sent = alice.sends(draft.with_only("Call-ID", "another@192.0.2.2"));
    let accepted = alice.receives("200");
    // CC-36
    let both = [alice.receives("NOTIFY"), alice.receives("NOTIFY")];
    for notify in &both {
        alice.answers(notify, 200);
    }
    let ended = both.iter().find(|it| it.header("Event") == "dialog");
    let state = ended.expect("the older one").header("Subscription-State");
    assert_eq!(state, "terminated;reason=noresource");
    let dialog = Dialog::of_caller(&sent, &accepted);
    let end = within(&dialog, "SUBSCRIBE").with("Event", "call-completion");
    alice.sends(end.with("Expires", "0"));
    alice.receives("200");
    let last = alice.receives("NOTIFY");
    alice.answers(&last, 200);
    scene.bob_hangs_up();
}

#[test]
fn a_phone_that_subscribes_anew_keeps_its_place() {
    let scene = BobIsBusy::new();
    let (world, [alice, _, _]) = scene.parts();
    watches(alice);
    let dave = world.phone("dave");
    finds_busy(&dave);
    let daves = watches(&dave);
    // Long after her call failed.
    world.advance(Duration::from_secs(50));
    refreshes(&dave, &daves, "60");
    sees(&dave, "confirmed");
    let sent = alice.sends(watch(alice));
    let accepted = alice.receives("200");
    let dialog = Dialog::of_caller(&sent, &accepted);
    let told = [alice.receives("NOTIFY"), alice.receives("NOTIFY")];
    for notify in &told {
        alice.answers(notify, 200);
    }
    let states = told.map(|notify| notify.header("Subscription-State").to_owned());
    assert!(states.contains(&"terminated;reason=noresource".to_owned()));
    assert!(states.contains(&"active;expires=60".to_owned()));
    scene.bob_is_free();
    sees(alice, "terminated");
    dave.receives_nothing();
    refreshes(alice, &dialog, "0");
    is_ended(alice, "timeout");
    sees(&dave, "terminated");
    refreshes(&dave, &daves, "0");
    is_ended(&dave, "timeout");
}

#[test]
fn a_phone_whose_connection_is_new_is_told_there() {
    let scene = BobIsBusy::new();
    let world = &scene.world;
    let dave = world.party_over_tcp("dave");
    dave.registers();
    finds_busy(&dave);
    let dialog = watches(&dave);
    dave.disconnects();
    let again = world.party_over_tcp("dave");
    again.registers();
    refreshes(&again, &dialog, "60");
    let told = sees(&again, "confirmed");
    assert!(told.connection().is_some());
    // CC-67
    world.advance(Duration::from_secs(10));
    scene.bob_is_free();
    sees(&again, "terminated");
    refreshes(&again, &dialog, "0");
    is_ended(&again, "timeout");
}
