//! What is refused, and how: who may not know whether somebody is busy learns nothing.
//!
//! Spec: RFC 6910 §7.2, §9.3, §9.7, §11; RFC 6665 §4.2.1; RFC 3903 §6.

use crate::flow::kit::completion::{
    BobIsBusy, ended, leaves, line, offered_uri, publish, publish_within, subscribe, subscribes,
    told, unsubscribe,
};
use crate::flow::kit::draft::{Draft, OFFER, cancel, request, within};
use crate::flow::kit::message::Message;
use crate::flow::kit::party::Party;
use crate::flow::kit::scenes::refused;

/// Sends it, and takes the refusal.
#[track_caller]
fn is_refused(party: &Party, draft: Draft, status: &str) -> Message {
    party.sends(draft);
    party.receives(status)
}

/// A response without what belongs to its request and to its hour alone.
fn outline(response: &Message) -> Vec<String> {
    let own = ["Via", "From", "To", "Call-ID", "CSeq"];
    let fields = response.fields();
    let fields = fields.filter(|(name, _)| !own.contains(name));
    let mut lines: Vec<_> = fields
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    lines.insert(0, response.start().to_owned());
    lines
}

#[test]
fn other_event_packages_are_unknown() {
    let scene = BobIsBusy::new();
    let uri = offered_uri(&scene.busy).to_owned();
    for package in ["presence", "dialog", "call-completion2"] {
        let draft = subscribe(&scene.alice, &uri).with_only("Event", package);
        let refusal = is_refused(&scene.alice, draft, "489");
        assert_eq!(refusal.header("Allow-Events"), "call-completion"); // S-120
    }
    let draft = subscribe(&scene.alice, &uri).without("Event");
    is_refused(&scene.alice, draft, "489");
    scene.bob_hangs_up();
}

#[test]
fn a_subscriber_must_take_the_one_type_there_is() {
    let scene = BobIsBusy::new();
    let draft = subscribe(&scene.alice, offered_uri(&scene.busy));
    let draft = draft.with_only("Accept", "application/pidf+xml");
    is_refused(&scene.alice, draft, "406"); // CC-52
    scene.bob_hangs_up();
}

#[test]
fn a_subscription_that_is_too_brief_learns_how_long_it_must_be() {
    let scene = BobIsBusy::new();
    let draft = subscribe(&scene.alice, offered_uri(&scene.busy));
    let refusal = is_refused(&scene.alice, draft.with_only("Expires", "9"), "423");
    assert_eq!(refusal.header("Min-Expires"), "10"); // S-121
    scene.bob_is_free();
    scene.world.stays_quiet();
}

/// Asked without a failed call, with a stranger's, with a made-up or a used-up token, for a busy or
/// an idle or an unknown user: one answer.
#[test]
fn who_may_not_ask_gets_the_same_answer_in_every_case() {
    let scene = BobIsBusy::new();
    let (world, [alice, _, _]) = scene.parts();
    let dave = world.phone("dave");
    let stranger = world.party("stranger");
    let alices = offered_uri(&scene.busy);
    let forged = alices.replace("sip:cc-", "sip:cc-a");
    let of_alice = |draft: Draft| draft.with("From", "<sip:alice@192.0.2.1>;tag=forged");
    let refusals = [
        // CC-73: no call of Dave's has failed.
        is_refused(&dave, subscribe(&dave, "sip:bob@192.0.2.1"), "403"),
        is_refused(&dave, subscribe(&dave, "sip:alice@192.0.2.1"), "403"),
        is_refused(&dave, subscribe(&dave, "sip:nobody@192.0.2.1"), "403"),
        // CC-53: another caller's offer.
        is_refused(&dave, subscribe(&dave, alices), "403"),
        is_refused(alice, subscribe(alice, &forged), "403"),
        is_refused(&dave, of_alice(subscribe(&dave, alices)), "403"),
        is_refused(&stranger, subscribe(&stranger, alices), "403"),
        is_refused(&stranger, of_alice(subscribe(&stranger, alices)), "403"),
        is_refused(&stranger, publish(alices, "open"), "403"),
        is_refused(&dave, publish(alices, "closed"), "403"),
    ];
    let first = outline(&refusals[0]);
    for refusal in &refusals {
        assert_eq!(outline(refusal), first);
    }
    assert_eq!(first, ["SIP/2.0 403 Forbidden", "Content-Length: 0"]);
    scene.bob_is_free();
    world.stays_quiet();
}

#[test]
fn an_offer_is_refused_when_its_time_is_over() {
    let scene = BobIsBusy::new();
    scene.world.advance(std::time::Duration::from_secs(30));
    let draft = subscribe(&scene.alice, offered_uri(&scene.busy));
    is_refused(&scene.alice, draft, "403"); // CC-73
    scene.bob_hangs_up();
}

/// S-09: a SUBSCRIBE is answered at once, so that nothing is left to be taken back.
#[test]
fn a_cancel_of_a_subscribe_takes_nothing_back() {
    let scene = BobIsBusy::new();
    let waiting = subscribes(&scene.alice, &scene.busy);
    let cancel = cancel(&waiting.sent);
    scene.alice.sends(cancel);
    scene.alice.receives("200");
    scene.bob_is_free();
    told(&scene.alice, "ready");
    scene.alice.sends(unsubscribe(&waiting.dialog));
    scene.alice.receives("200");
    ended(&scene.alice, "timeout");
}

#[test]
fn a_second_branch_of_a_subscribe_is_merged() {
    let scene = BobIsBusy::new();
    let waiting = subscribes(&scene.alice, &scene.busy);
    let sent = &waiting.sent;
    let again = |number: &str| {
        subscribe(&scene.alice, sent.uri())
            .with("Call-ID", sent.call_id())
            .with("From", sent.header("From"))
            .with("CSeq", number)
    };
    // CC-35: by its number, and after its transaction has ended by its Call-ID.
    is_refused(&scene.alice, again("314 SUBSCRIBE"), "482");
    is_refused(&scene.alice, again("315 SUBSCRIBE"), "482");
    scene.bob_is_free();
    told(&scene.alice, "ready");
    leaves(&scene.alice, &waiting.dialog);
}

#[test]
fn a_subscription_that_nobody_knows_is_refused() {
    let scene = BobIsBusy::new();
    let waiting = subscribes(&scene.alice, &scene.busy);
    leaves(&scene.alice, &waiting.dialog);
    is_refused(&scene.alice, unsubscribe(&waiting.dialog), "481");
    let publish = publish_within(&waiting.dialog, "open");
    is_refused(&scene.alice, publish, "481");
    scene.bob_hangs_up();
}

#[test]
fn a_subscription_ends_by_nobody_elses_request() {
    let scene = BobIsBusy::new();
    let (world, [alice, _, _]) = scene.parts();
    let waiting = subscribes(alice, &scene.busy);
    let stranger = world.party("stranger");
    let end = |tag: &str| {
        let draft = within(&waiting.dialog, "SUBSCRIBE");
        let to = waiting.dialog.remote.split(";tag=").next();
        let to = format!("{};tag={tag}", to.unwrap_or_default());
        let draft = draft.with("Event", "call-completion").with("Expires", "0");
        draft.with_only("To", &to)
    };
    is_refused(&stranger, end("00000000000000000000000000000000"), "481");
    is_refused(&stranger, end("made-up"), "481");
    scene.bob_is_free();
    told(alice, "ready");
    leaves(alice, &waiting.dialog);
}

/// R8: the address of an entry is its caller's alone, whoever has read it.
#[test]
fn the_address_of_an_entry_is_of_use_to_its_caller_alone() {
    let scene = BobIsBusy::new();
    let (world, [alice, bob, _]) = scene.parts();
    let waiting = subscribes(alice, &scene.busy);
    let uri = line(&waiting.queued, "cc-URI").to_owned();
    scene.bob_is_free();
    told(alice, "ready");
    let (dave, stranger) = (world.phone("dave"), world.party("stranger"));
    for (party, uri) in [
        (&dave, uri.as_str()),
        (&stranger, uri.as_str()),
        (&stranger, "sip:cce-aaaaaaaaaaaaaaaaaaaaaaaaaa@192.0.2.1"),
    ] {
        let sent = party.sends(request("INVITE", &format!("{uri};m=BS")).with_sdp(OFFER));
        refused(party, &sent, "404");
        is_refused(party, publish(uri, "closed"), "403"); // CC-72
    }
    bob.receives_nothing();
    alice.receives_nothing();
    leaves(alice, &waiting.dialog);
}

#[test]
fn a_publication_must_be_one() {
    let scene = BobIsBusy::new();
    let alice = &scene.alice;
    let waiting = subscribes(alice, &scene.busy);
    let uri = line(&waiting.queued, "cc-URI").to_owned();
    let broken = publish(&uri, "closed").with_only("Event", "message-summary");
    let refusal = is_refused(alice, broken, "489");
    assert_eq!(refusal.header("Allow-Events"), "call-completion, presence");
    is_refused(alice, publish(&uri, "perhaps"), "400");
    scene.bob_is_free();
    told(alice, "ready");
    leaves(alice, &waiting.dialog);
}

#[test]
fn a_look_at_the_queue_takes_no_place_in_it() {
    let scene = BobIsBusy::new();
    let draft = subscribe(&scene.alice, offered_uri(&scene.busy)).with_only("Expires", "0");
    scene.alice.sends(draft);
    assert_eq!(scene.alice.receives("200").header("Expires"), "0");
    ended(&scene.alice, "timeout");
    scene.bob_is_free();
    scene.world.stays_quiet();
}

#[test]
fn a_subscribe_without_contact_cannot_be_answered_by_notifys() {
    let scene = BobIsBusy::new();
    let draft = subscribe(&scene.alice, offered_uri(&scene.busy));
    is_refused(&scene.alice, draft.without("Contact"), "400"); // S-13
    scene.bob_is_free();
    scene.world.stays_quiet();
}

/// Threats T03: in the name of a caller who may ask, with his own offer, from fifty places that are not
/// his.
#[test]
fn ten_thousand_spoofed_requests_ring_nobody() {
    let scene = BobIsBusy::new();
    let world = &scene.world;
    let alices = offered_uri(&scene.busy);
    for place in 100..150 {
        let mallory = world.party_at("alice", &format!("192.0.2.{place}:5060"));
        for _ in 0..200 {
            mallory.sends(subscribe(&mallory, alices));
            mallory.receives("403");
        }
    }
    assert_eq!(world.counted("completions_accepted"), 0);
    scene.bob_is_free();
    world.stays_quiet();
}
