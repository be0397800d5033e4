//! The offer, and the ways to take it up: what a caller is told, and what becomes of his wish.
//!
//! Spec: RFC 6910 §6.1, §6.2, §7.1; RULES R2, R19, R20, R21, R23.

use std::time::Duration;

use crate::flow::kit::completion::{
    BobIsBusy, CANCEL_ALL, CANCEL_LAST, GUARD, REQUEST_LAST, cc_call, connects, dials,
    dials_in_vain, ended, finds_busy, picks_up, recalled, subscribes, talks_after_recall, told,
};
use crate::flow::kit::dialog::Dialog;
use crate::flow::kit::draft::{ANSWER, OFFER, invite, register, response, within};
use crate::flow::kit::message::{Message, uri_of};
use crate::flow::kit::party::Party;
use crate::flow::kit::scenes::{
    bob_with_two_phones, call, gives_in, hang_up, refused, ringing, two_phones,
};
use crate::flow::kit::subject::Setup;
use crate::flow::kit::world::World;

/// The mode that a message offers.
#[track_caller]
fn mode_of(message: &Message) -> &str {
    let info = message.header("Call-Info");
    assert!(info.starts_with("<sip:cc-"), "{info}");
    let offer = info.split_once(">;purpose=call-completion;m=");
    offer.expect("an offer with a mode").1
}

/// A user who is known, and has no phone any more.
fn absent(world: &World, name: &str) -> Party {
    let party = world.phone(name);
    party.sends(register(name).with_only("Expires", "0"));
    party.receives("200");
    party
}

/// A call that rings and that its caller gives up.
#[track_caller]
fn rings_in_vain(alice: &Party, bob: &Party) -> Message {
    let scene = ringing(alice, bob);
    alice.cancels(&scene.sent);
    alice.receives("200");
    gives_in(bob, &scene.invite);
    refused(alice, &scene.sent, "487")
}

#[test]
fn a_refusal_says_that_the_call_can_be_completed() {
    let scene = BobIsBusy::new();
    assert_eq!(mode_of(&scene.busy), "BS"); // CC-30
    let uri = uri_of(scene.busy.header("Call-Info"));
    assert!(uri.ends_with("@192.0.2.1:5060"), "{uri}"); // CC-31
    scene.bob_hangs_up();
}

#[test]
fn a_phone_that_rings_says_what_can_be_done_if_nobody_answers() {
    let (_world, alice, bob) = two_phones();
    let scene = ringing(&alice, &bob);
    assert_eq!(mode_of(&scene.rings), "NR"); // CC-30
    alice.cancels(&scene.sent);
    alice.receives("200");
    gives_in(&bob, &scene.invite);
    let given_up = refused(&alice, &scene.sent, "487");
    assert_eq!(mode_of(&given_up), "NR");
}

#[test]
fn an_answered_call_offers_nothing() {
    let (_world, alice, bob) = two_phones();
    let talk = call(&alice, &bob);
    assert!(!talk.answer.has("Call-Info"));
    hang_up(&alice, &talk.caller, &bob);
}

#[test]
fn an_absent_callee_is_offered_as_such() {
    let world = World::new(Setup::Standalone);
    let (alice, _dave) = (world.phone("alice"), absent(&world, "dave"));
    let sent = alice.sends(invite("dave").with_sdp(OFFER));
    let refusal = refused(&alice, &sent, "480");
    assert_eq!(mode_of(&refusal), "NL"); // CC-30
}

#[test]
fn an_unknown_callee_is_not_offered() {
    let (_world, alice, _bob) = two_phones();
    let sent = alice.sends(invite("nobody").with_sdp(OFFER));
    let refusal = refused(&alice, &sent, "404");
    assert!(!refusal.has("Call-Info"));
    dials_in_vain(&alice, REQUEST_LAST, "403");
}

#[test]
fn a_caller_who_may_not_ask_is_offered_nothing() {
    let scene = BobIsBusy::new();
    let stranger = scene.world.party("stranger");
    let refusal = finds_busy(&stranger);
    assert!(!refusal.has("Call-Info"));
    scene.bob_hangs_up();
}

#[test]
fn a_call_that_was_declined_is_not_offered() {
    let (_world, alice, bob) = two_phones();
    let sent = alice.sends(invite("bob").with_sdp(OFFER));
    let rings = bob.receives("INVITE");
    bob.refuses(&rings, 603);
    let refusal = refused(&alice, &sent, "603");
    assert!(!refusal.has("Call-Info"));
}

#[test]
fn a_caller_who_dialled_the_code_is_called_back_when_the_callee_is_free() {
    let scene = BobIsBusy::new();
    let [alice, bob, _] = scene.phones();
    dials(alice, REQUEST_LAST);
    scene.bob_is_free();

    let recall = recalled(alice);
    let from = recall.header("From");
    assert!(
        from.starts_with("\"Callback: bob\" <sip:bob@192.0.2.1>"),
        "{from}"
    );
    assert!(recall.sdp().contains("a=inactive"));
    picks_up(alice, &recall);
    let cc_call = bob.receives("INVITE");
    let from = cc_call.header("From");
    assert!(from.starts_with("<sip:alice@192.0.2.1>"), "{from}"); // CC-07
    assert_eq!(cc_call.header("To"), "<sip:bob@192.0.2.1>"); // CC-17
    assert!(cc_call.body().is_empty());
    bob.answers(&cc_call, 180);
    bob.sends(response(&cc_call, 200).with_sdp(OFFER));
    let offer = alice.receives("INVITE");
    assert!(offer.sdp().contains("m=audio 40000"));
    let taken = alice.sends(response(&offer, 200).with_sdp(ANSWER));
    alice.receives("ACK");
    let ack = bob.receives("ACK");
    assert!(ack.sdp().contains("m=audio 50000"));
    hang_up(alice, &Dialog::of_callee(&offer, &taken), bob);
}

#[test]
fn a_call_that_rang_in_vain_is_completed_after_the_callee_has_talked() {
    let (world, alice, bob) = two_phones();
    let carol = world.phone("carol");
    rings_in_vain(&alice, &bob);
    dials(&alice, REQUEST_LAST);
    world.stays_quiet(); // CC-02
    let talk = call(&carol, &bob);
    world.advance(GUARD);
    hang_up(&carol, &talk.caller, &bob);
    world.advance(GUARD);
    talks_after_recall(&alice, &bob);
}

/// DND or the reject key: a phone without calls that says 486 would say it again.
#[test]
fn a_callee_who_refuses_while_idle_is_called_only_after_he_has_talked() {
    let (world, alice, bob) = two_phones();
    let carol = world.phone("carol");
    let sent = alice.sends(invite("bob").with_sdp(OFFER));
    let rings = bob.receives("INVITE");
    bob.refuses(&rings, 486);
    let refusal = refused(&alice, &sent, "486");
    assert_eq!(mode_of(&refusal), "BS");
    dials(&alice, REQUEST_LAST);
    world.stays_quiet(); // CC-02
    let talk = call(&carol, &bob);
    world.advance(GUARD);
    hang_up(&carol, &talk.caller, &bob);
    world.advance(GUARD);
    talks_after_recall(&alice, &bob);
}

#[test]
fn an_engaged_phone_that_refuses_by_itself_is_waited_for() {
    let world = World::new(Setup::Unlimited);
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| world.phone(name));
    let talk = call(&carol, &bob);
    let sent = alice.sends(invite("bob").with_sdp(OFFER));
    let rings = bob.receives("INVITE");
    bob.refuses(&rings, 486);
    let refusal = refused(&alice, &sent, "486");
    assert_eq!(mode_of(&refusal), "BS");
    world.advance(GUARD);
    dials(&alice, REQUEST_LAST);
    hang_up(&carol, &talk.caller, &bob);
    world.advance(GUARD);
    talks_after_recall(&alice, &bob);
}

#[test]
fn an_absent_callee_is_called_when_he_registers() {
    let world = World::new(Setup::Standalone);
    let (alice, dave) = (world.phone("alice"), absent(&world, "dave"));
    let sent = alice.sends(invite("dave").with_sdp(OFFER));
    refused(&alice, &sent, "480");
    dials(&alice, REQUEST_LAST);
    world.stays_quiet(); // CC-02
    dave.registers();
    world.advance(GUARD);
    talks_after_recall(&alice, &dave);
}

#[test]
fn a_second_request_for_the_same_callee_is_the_first_one() {
    let scene = BobIsBusy::new();
    let [alice, bob, _] = scene.phones();
    let dave = scene.world.phone("dave");
    dials(alice, REQUEST_LAST);
    finds_busy(&dave);
    dials(&dave, REQUEST_LAST);
    finds_busy(alice);
    dials(alice, REQUEST_LAST);
    scene.world.advance(Duration::from_secs(1));
    scene.bob_is_free();
    // CC-14, CC-15: one recall, at the place of the first.
    talks_after_recall(alice, bob);
    scene.world.advance(GUARD);
    talks_after_recall(&dave, bob);
    scene.world.stays_quiet();
}

#[test]
fn a_code_comes_too_late_when_the_failed_call_is_forgotten() {
    let scene = BobIsBusy::new();
    scene.world.advance(Duration::from_secs(30));
    let refusal = dials_in_vain(&scene.alice, REQUEST_LAST, "403"); // CC-73
    assert_eq!(refusal.phrase(), "no failed call to complete");
    scene.bob_is_free();
    scene.world.stays_quiet();
}

#[test]
fn a_code_is_answered_with_silence_and_ended() {
    let scene = BobIsBusy::new();
    dials(&scene.alice, REQUEST_LAST);
    dials(&scene.alice, CANCEL_LAST);
    dials_in_vain(&scene.alice, CANCEL_LAST, "404");
    scene.bob_is_free();
    scene.world.stays_quiet();
}

#[test]
fn a_code_means_nothing_from_somebody_elses_phone() {
    let scene = BobIsBusy::new();
    dials(&scene.alice, REQUEST_LAST);
    let stranger = scene.world.party("stranger");
    let from = "<sip:alice@192.0.2.1>;tag=forged";
    for code in [REQUEST_LAST, CANCEL_LAST, CANCEL_ALL] {
        let sent = stranger.sends(invite(code).with("From", from).with_sdp(OFFER));
        refused(&stranger, &sent, "404");
    }
    scene.bob_is_free();
    talks_after_recall(&scene.alice, &scene.bob);
}

#[test]
fn all_requests_are_taken_back_by_one_code() {
    let scene = BobIsBusy::new();
    let (world, alice) = (&scene.world, &scene.alice);
    let dave = absent(world, "dave");
    dials(alice, REQUEST_LAST);
    let sent = alice.sends(invite("dave").with_sdp(OFFER));
    refused(alice, &sent, "480");
    dials(alice, REQUEST_LAST);
    dials(alice, CANCEL_ALL);
    dials_in_vain(alice, CANCEL_ALL, "404");
    dave.registers();
    scene.bob_is_free();
    world.stays_quiet();
}

#[test]
fn a_call_by_hand_does_what_was_asked_for() {
    let scene = BobIsBusy::new();
    let (world, [alice, bob, _]) = scene.parts();
    dials(alice, REQUEST_LAST);
    scene.bob_hangs_up();
    let talk = call(alice, bob);
    hang_up(alice, &talk.caller, bob);
    dials_in_vain(alice, CANCEL_LAST, "404");
    world.stays_quiet();
}

#[test]
fn only_the_phone_that_asked_is_rung() {
    let scene = BobIsBusy::new();
    let second = scene.world.party("cell");
    second.registers_as("alice");
    dials(&scene.alice, REQUEST_LAST);
    scene.bob_is_free();
    second.receives_nothing();
    talks_after_recall(&scene.alice, &scene.bob);
}

#[test]
fn another_phone_is_rung_if_the_one_that_asked_is_gone() {
    let scene = BobIsBusy::new();
    let (world, [alice, bob, _]) = scene.parts();
    let second = world.party("cell");
    second.registers_as("alice");
    dials(alice, REQUEST_LAST);
    alice.sends(register("alice").with_only("Expires", "0"));
    alice.receives("200");
    scene.bob_is_free();
    alice.receives_nothing();
    talks_after_recall(&second, bob);
}

#[test]
fn all_phones_of_the_callee_ring_and_one_of_them_answers() {
    let (world, alice, desk, cell) = bob_with_two_phones();
    let carol = world.phone("carol");
    let sent = carol.sends(invite("bob").with_sdp(OFFER));
    let [at_desk, in_pocket] = [&desk, &cell].map(|phone| phone.receives("INVITE"));
    cell.answers(&in_pocket, 180);
    carol.receives("180");
    desk.sends(response(&at_desk, 200).with_sdp(ANSWER));
    gives_in(&cell, &in_pocket);
    let answer = carol.receives("200");
    carol.acks(&sent, &answer);
    desk.receives("ACK");
    finds_busy(&alice);
    dials(&alice, REQUEST_LAST);
    world.advance(GUARD);
    hang_up(&carol, &Dialog::of_caller(&sent, &answer), &desk);
    world.advance(GUARD);

    let recall = recalled(&alice);
    picks_up(&alice, &recall);
    let [at_desk, in_pocket] = [&desk, &cell].map(|phone| phone.receives("INVITE"));
    desk.answers(&at_desk, 180);
    let (dialog, _) = connects(&alice, &cell, &in_pocket);
    gives_in(&desk, &at_desk);
    hang_up(&alice, &dialog, &cell);
}

#[test]
fn who_has_called_for_help_is_left_alone() {
    let scene = BobIsBusy::new();
    let (world, [alice, _, carol]) = scene.parts();
    dials(alice, REQUEST_LAST);
    let dave = world.phone("dave");
    let sent = alice.sends(invite("dave").with("Priority", "emergency").with_sdp(OFFER));
    let rings = dave.receives("INVITE");
    dave.refuses(&rings, 486);
    let refusal = refused(alice, &sent, "486");
    assert!(!refusal.has("Call-Info"));
    scene.bob_is_free();
    // R23
    world.advance(Duration::from_mins(58));
    world.quiet();
    carol.receives_nothing();
}

#[test]
fn a_phone_that_subscribed_is_not_rung_by_a_code_as_well() {
    let scene = BobIsBusy::new();
    let [alice, bob, _] = scene.phones();
    let waiting = subscribes(alice, &scene.busy);
    dials(alice, REQUEST_LAST);
    scene.bob_is_free();
    // CC-14: one request, and its phone does what it does.
    let ready = told(alice, "ready");
    let sent = alice.sends(cc_call(&ready));
    let rings = bob.receives("INVITE");
    bob.sends(response(&rings, 200).with_sdp(ANSWER));
    let answer = alice.receives("200");
    ended(alice, "noresource");
    alice.acks(&sent, &answer);
    bob.receives("ACK");
    hang_up(alice, &Dialog::of_caller(&sent, &answer), bob);
    assert_eq!(waiting.accepted.header("Expires"), "3600");
}

#[test]
fn a_caller_who_takes_reliable_responses_gets_the_offer_in_one() {
    let (_world, alice, bob) = two_phones();
    let sent = alice.sends(invite("bob").with("Supported", "100rel").with_sdp(OFFER));
    let got = bob.receives("INVITE");
    bob.answers(&got, 180);
    let rings = alice.receives("180");
    assert_eq!(mode_of(&rings), "NR"); // CC-01
    assert!(rings.lists("Require", "100rel"));
    let dialog = Dialog::of_caller(&sent, &rings);
    let rack = format!("{} 314 INVITE", rings.header("RSeq"));
    alice.sends(within(&dialog, "PRACK").with("RAck", &rack));
    alice.receives("200");
    bob.refuses(&got, 486);
    let refusal = refused(&alice, &sent, "486");
    assert_eq!(mode_of(&refusal), "BS");
}

#[test]
fn an_offer_of_the_callees_phone_gives_way_to_ours() {
    let (_world, alice, bob) = two_phones();
    let sent = alice.sends(invite("bob").with_sdp(OFFER));
    let got = bob.receives("INVITE");
    let own = "<sip:bob@192.0.2.11>;purpose=call-completion;m=BS";
    bob.sends(response(&got, 486).with("Call-Info", own));
    bob.receives("ACK");
    let refusal = refused(&alice, &sent, "486");
    assert_eq!(refusal.list("Call-Info").len(), 1);
    assert_eq!(mode_of(&refusal), "BS");
}

#[test]
fn an_offer_names_the_address_by_which_the_caller_came() {
    let world = World::new(Setup::Standalone);
    let (bob, carol) = (world.phone("bob"), world.phone("carol"));
    let alice = world.party_at("alice", "[2001:db8::10]:5060");
    alice.registers();
    let talk = call(&carol, &bob);
    let busy = finds_busy(&alice);
    let uri = uri_of(busy.header("Call-Info"));
    assert!(uri.ends_with("@[2001:db8::1]:5060"), "{uri}"); // CC-31
    hang_up(&carol, &talk.caller, &bob);
}

/// Between the 486 and the code the callee has hung up.
#[test]
fn a_callee_who_was_free_again_before_the_code_is_called() {
    let scene = BobIsBusy::new();
    scene.bob_hangs_up();
    scene.world.advance(Duration::from_secs(10));
    dials(&scene.alice, REQUEST_LAST);
    // Her turn came while she was on the phone with the code, and comes again as soon as she is not.
    talks_after_recall(&scene.alice, &scene.bob);
}

#[test]
fn a_code_that_comes_twice_counts_once() {
    let scene = BobIsBusy::new();
    let alice = &scene.alice;
    let sent = alice.sends(invite(REQUEST_LAST).with_sdp(OFFER));
    let done = alice.receives("200");
    alice.sends_again(&sent);
    let again = alice.receives_within(Duration::from_secs(1), "200");
    assert_eq!(again.raw, done.raw);
    alice.acks(&sent, &done);
    alice.is_hung_up_on();
    alice.receives_copies("200");
    dials(alice, CANCEL_LAST);
    dials_in_vain(alice, CANCEL_LAST, "404");
    scene.bob_hangs_up();
}

#[test]
fn a_callee_who_has_called_for_help_is_left_alone() {
    let scene = BobIsBusy::new();
    let (world, [alice, bob, carol]) = scene.parts();
    dials(alice, REQUEST_LAST);
    scene.bob_hangs_up();
    let sent = bob.sends(
        invite("carol")
            .with("Priority", "emergency")
            .with_sdp(OFFER),
    );
    let rings = carol.receives("INVITE");
    carol.refuses(&rings, 486);
    refused(bob, &sent, "486");
    // R23
    world.advance(Duration::from_mins(58));
    world.quiet();
}

#[test]
fn a_code_takes_back_nobody_elses_request() {
    let scene = BobIsBusy::new();
    let dave = scene.world.phone("dave");
    dials(&scene.alice, REQUEST_LAST);
    for code in [CANCEL_LAST, CANCEL_ALL] {
        let refusal = dials_in_vain(&dave, code, "404");
        assert_eq!(refusal.phrase(), "no such completion");
    }
    scene.bob_is_free();
    talks_after_recall(&scene.alice, &scene.bob);
}
