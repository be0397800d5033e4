//! B busy, A called back: by feature code and by SUBSCRIBE.

use std::time::Duration;

use super::kit::dialog::Dialog;
use super::kit::draft::{ANSWER, OFFER, invite, register, request, response, within};
use super::kit::message::{Message, uri_of};
use super::kit::party::Party;
use super::kit::scenes::{Call, call, hang_up, refused, two_phones};
use super::kit::subject::Setup;
use super::kit::world::World;

const GUARD: Duration = Duration::from_secs(5);

/// Carol speaks with Bob, and Alice calls him: the world, the three, Carol's call and Alice's 486.
fn bob_is_busy() -> (World, [Party; 3], Call, Message) {
    let world = World::new(Setup::Standalone);
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| world.phone(name));
    let talk = call(&carol, &bob);
    let sent = alice.sends(invite("bob").with_sdp(OFFER));
    let busy = refused(&alice, &sent, "486");
    world.advance(Duration::from_secs(1));
    (world, [alice, bob, carol], talk, busy)
}

/// A code is answered, and ended by campon.
#[track_caller]
fn dials(caller: &Party, code: &str) {
    let sent = caller.sends(invite(code).with_sdp(OFFER));
    let done = caller.receives("200");
    caller.acks(&sent, &done);
    let bye = caller.receives("BYE");
    caller.answers(&bye, 200);
}

#[test]
fn a_refusal_says_that_the_call_can_be_completed() {
    let (_world, [_, bob, carol], talk, busy) = bob_is_busy();
    let info = busy.header("Call-Info");
    assert!(info.starts_with("<sip:cc-"), "{info}"); // CC-30
    assert!(info.ends_with(">;purpose=call-completion;m=BS"), "{info}"); // CC-31
    hang_up(&carol, &talk.caller, &bob);
}

#[test]
fn a_caller_who_dialled_the_code_is_called_back_when_the_callee_is_free() {
    let (world, [alice, bob, carol], talk, _) = bob_is_busy();
    dials(&alice, "*37%23");
    hang_up(&carol, &talk.caller, &bob);
    world.advance(GUARD);

    let recall = alice.receives("INVITE");
    let from = recall.header("From");
    assert!(from.starts_with("\"Callback: bob\" <sip:bob@"), "{from}");
    assert_eq!(
        recall.header("Alert-Info"),
        "<urn:alert:service:recall:callback>"
    );
    assert!(recall.sdp().contains("a=inactive"));
    alice.answers(&recall, 180);
    alice.sends(response(&recall, 200).with_sdp(ANSWER));
    alice.receives("ACK");
    let cc_call = bob.receives("INVITE");
    assert!(cc_call.header("From").contains("sip:alice@"));
    assert!(cc_call.body().is_empty());
    bob.answers(&cc_call, 180);
    bob.sends(response(&cc_call, 200).with_sdp(OFFER));
    let offer = alice.receives("INVITE");
    alice.sends(response(&offer, 200).with_sdp(ANSWER));
    alice.receives("ACK");
    let ack = bob.receives("ACK");
    assert!(!ack.body().is_empty());

    let alices = Dialog::of_callee(&offer, &alice.sends(response(&offer, 200).with_sdp(ANSWER)));
    alice.receives("ACK");
    hang_up(&alice, &alices, &bob);
}

/// Alice asks by SUBSCRIBE: her request and its 200.
#[track_caller]
fn subscribes(alice: &Party, busy: &Message) -> (Message, Message) {
    let uri = uri_of(busy.header("Call-Info")).to_owned();
    let sent = alice.sends(
        request("SUBSCRIBE", &uri)
            .with("Event", "call-completion")
            .with("Accept", "application/call-completion")
            .with("Contact", &format!("<{}>", alice.uri()))
            .with("Expires", "3600"),
    );
    (sent, alice.receives("200"))
}

#[test]
fn a_phone_that_subscribed_is_told_when_it_is_its_turn() {
    let (world, [alice, bob, carol], talk, busy) = bob_is_busy();
    let (_, accepted) = subscribes(&alice, &busy);
    assert_eq!(accepted.header("Expires"), "3600");
    let queued = alice.receives("NOTIFY"); // S-122
    alice.answers(&queued, 200);
    assert!(String::from_utf8_lossy(queued.body()).contains("cc-state: queued"));
    hang_up(&carol, &talk.caller, &bob);
    world.advance(GUARD);

    let ready = alice.receives("NOTIFY");
    alice.answers(&ready, 200);
    let body = String::from_utf8_lossy(ready.body()).into_owned();
    assert!(body.contains("cc-state: ready"), "{body}");
    let line = body.lines().find(|line| line.starts_with("cc-URI:"));
    let uri = line
        .expect("a cc-URI")
        .trim_start_matches("cc-URI:")
        .trim()
        .to_owned();

    let sent = alice.sends(request("INVITE", &format!("{uri};m=BS")).with_sdp(OFFER));
    let cc_call = bob.receives("INVITE");
    bob.sends(response(&cc_call, 200).with_sdp(ANSWER));
    let answer = alice.receives("200");
    let ended = alice.receives("NOTIFY");
    assert_eq!(
        ended.header("Subscription-State"),
        "terminated;reason=noresource"
    );
    alice.answers(&ended, 200);
    alice.acks(&sent, &answer);
    bob.receives("ACK");
    hang_up(&alice, &Dialog::of_caller(&sent, &answer), &bob);
}

#[test]
fn a_request_that_was_taken_back_leads_to_nothing() {
    let (world, [alice, bob, carol], talk, busy) = bob_is_busy();
    let (sent, accepted) = subscribes(&alice, &busy);
    let queued = alice.receives("NOTIFY");
    alice.answers(&queued, 200);
    let dialog = Dialog::of_caller(&sent, &accepted);
    alice.sends(
        within(&dialog, "SUBSCRIBE")
            .with("Event", "call-completion")
            .with("Expires", "0"),
    );
    alice.receives("200");
    let ended = alice.receives("NOTIFY"); // S-122
    assert_eq!(
        ended.header("Subscription-State"),
        "terminated;reason=timeout"
    );
    alice.answers(&ended, 200);
    hang_up(&carol, &talk.caller, &bob);
    world.advance(GUARD * 10);
    world.quiet();
}

/// The recall began before the service had heard of the call that its caller was in.
#[test]
fn a_caller_who_asks_while_he_talks_is_called_back_afterwards() {
    let (world, alice, bob) = two_phones();
    let carol = world.phone("carol");
    carol.sends(register("carol").with_only("Expires", "0"));
    carol.receives("200");
    let sent = alice.sends(invite("carol").with_sdp(OFFER));
    refused(&alice, &sent, "480");
    world.advance(Duration::from_secs(1));
    carol.registers();
    world.advance(GUARD * 2);
    let talk = call(&alice, &bob);
    dials(&alice, "*37%23");
    world.advance(GUARD * 2);
    alice.receives_nothing();
    hang_up(&alice, &talk.caller, &bob);
    let recall = alice.receives("INVITE");
    alice.answers(&recall, 603);
    alice.receives("ACK");
    dials(&alice, "%2337%23");
}

/// A refresh that crossed the end cost the subscriber his last NOTIFY, and campon the subscription.
#[test]
fn a_refresh_after_the_end_does_not_cost_the_last_notify() {
    let (world, [alice, bob, carol], talk, busy) = bob_is_busy();
    let (sent, accepted) = subscribes(&alice, &busy);
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
    world.advance(Duration::from_secs(10));
    let ended = is_told();
    assert_eq!(
        ended.header("Subscription-State"),
        "terminated;reason=timeout"
    );
    hang_up(&carol, &talk.caller, &bob);
}
