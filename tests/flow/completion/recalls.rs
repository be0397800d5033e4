//! The recall: whose turn it is, how he is rung, and what becomes of him who does not come.
//!
//! Spec: RFC 6910 §5, §6.3, §6.5, §7.3; RFC 3725 §4.4; RULES R10, R21.

use std::time::Duration;

use crate::flow::kit::completion::{
    BobIsBusy, CANCEL_LAST, GUARD, LONG, MOMENT, REQUEST_LAST, REST, RING, connects, dials,
    dials_in_vain, finds_busy, just_before, picks_up, recalled, speaks_with, stops_ringing,
    talks_after_recall,
};
use crate::flow::kit::dialog::Dialog;
use crate::flow::kit::draft::{ANSWER, OFFER, invite, register, response};
use crate::flow::kit::message::Message;
use crate::flow::kit::party::Party;
use crate::flow::kit::scenes::{call, gives_in, hang_up, refused, two_phones};
use crate::flow::kit::subject::Setup;
use crate::flow::kit::world::World;

/// Dave asks for Bob as well, a second after Alice.
#[track_caller]
fn dave_asks_too(scene: &BobIsBusy) -> Party {
    let dave = scene.world.phone("dave");
    finds_busy(&dave);
    dials(&dave, REQUEST_LAST);
    scene.world.advance(Duration::from_secs(1));
    dave
}

#[test]
fn two_callers_are_called_back_in_the_order_of_their_requests() {
    let scene = BobIsBusy::new();
    let (world, [alice, bob, _]) = scene.parts();
    dials(alice, REQUEST_LAST);
    let dave = dave_asks_too(&scene);
    scene.bob_is_free();
    let recall = recalled(alice);
    dave.receives_nothing();
    picks_up(alice, &recall);
    let rings = bob.receives("INVITE");
    bob.sends(response(&rings, 200).with_sdp(OFFER));
    let offer = alice.receives("INVITE");
    let taken = alice.sends(response(&offer, 200).with_sdp(ANSWER));
    alice.receives("ACK");
    bob.receives("ACK");
    world.advance(LONG);
    dave.receives_nothing();
    hang_up(alice, &Dialog::of_callee(&offer, &taken), bob);
    world.advance(GUARD);
    talks_after_recall(&dave, bob); // CC-47
}

/// Bob is busy with something that nobody here sees, and two ring him at a time: he has refused Alice, who
/// waits, and not yet Carol.
struct TwoRingBob {
    world: World,
    phones: [Party; 3],
    carols: Message,
    rings: Message,
}

impl TwoRingBob {
    #[track_caller]
    fn new() -> Self {
        let world = World::new(Setup::Unlimited);
        let phones = ["alice", "bob", "carol"].map(|name| world.phone(name));
        let [alice, bob, carol] = &phones;
        let [alices, carols] = [alice, carol].map(|it| it.sends(invite("bob").with_sdp(OFFER)));
        let [first, rings] = [bob.receives("INVITE"), bob.receives("INVITE")];
        bob.refuses(&first, 486);
        refused(alice, &alices, "486");
        dials(alice, REQUEST_LAST);
        Self {
            world,
            phones,
            carols,
            rings,
        }
    }

    /// The end of Carol's call is no sign that he is free; one that he talks on is.
    #[track_caller]
    fn recalls_after_a_talk(&self) {
        let [alice, bob, carol] = &self.phones;
        self.world.advance(LONG);
        alice.receives_nothing();
        let talk = call(carol, bob);
        hang_up(carol, &talk.caller, bob);
        self.world.advance(GUARD);
        talks_after_recall(alice, bob);
    }
}

/// R2: the end of the second call was taken for the end of what he is busy with.
#[test]
fn a_call_that_is_refused_as_busy_is_no_sign_that_its_callee_is_free() {
    let scene = TwoRingBob::new();
    let [_, bob, carol] = &scene.phones;
    scene.world.advance(MOMENT);
    bob.refuses(&scene.rings, 486);
    refused(carol, &scene.carols, "486");
    scene.recalls_after_a_talk();
}

/// R2: the same of one that was taken back before he said so, which was taken for one that had rung.
#[test]
fn a_call_that_is_taken_back_and_refused_as_busy_is_no_sign_that_its_callee_is_free() {
    let scene = TwoRingBob::new();
    let [_, bob, carol] = &scene.phones;
    carol.cancels(&scene.carols);
    assert_eq!(carol.receives("200").cseq_method(), "CANCEL");
    refused(carol, &scene.carols, "487");
    scene.world.advance(MOMENT);
    bob.refuses(&scene.rings, 486);
    scene.recalls_after_a_talk();
}

/// R2: his leg is over, and what has become of hers is nothing to those who wait for him.
#[test]
fn who_hung_up_on_a_phone_that_has_died_is_called_back_for() {
    let scene = BobIsBusy::new();
    let (world, [alice, bob, carol]) = scene.parts();
    dials(alice, REQUEST_LAST);
    bob.leaves(&scene.talk.callee);
    world.advance(GUARD);
    talks_after_recall(alice, bob);
    let byes = carol.receives_copies("BYE");
    carol.answers(&byes[0], 200);
}

#[test]
fn a_recall_that_nobody_answers_is_over_in_time() {
    let scene = BobIsBusy::new();
    let (world, [alice, bob, _]) = scene.parts();
    dials(alice, REQUEST_LAST);
    let dave = dave_asks_too(&scene);
    scene.bob_is_free();
    let recall = recalled(alice);
    world.advance(just_before(RING));
    alice.receives_nothing();
    world.advance(MOMENT);
    let reason = stops_ringing(alice, &recall);
    assert!(reason.starts_with("SIP;cause=480"), "{reason}"); // CC-42
    // The next one's turn has come.
    talks_after_recall(&dave, bob); // CC-47
    world.advance(REST);
    talks_after_recall(alice, bob); // CC-44
}

#[test]
fn three_recalls_that_nobody_answers_are_enough() {
    let scene = BobIsBusy::new();
    let (world, [alice, _, _]) = scene.parts();
    dials(alice, REQUEST_LAST);
    scene.bob_is_free();
    for nth in 1..=3 {
        let recall = recalled(alice);
        world.advance(RING);
        stops_ringing(alice, &recall);
        alice.receives_nothing();
        if nth < 3 {
            world.advance(REST);
        }
    }
    dials_in_vain(alice, CANCEL_LAST, "404");
    world.stays_quiet();
}

#[test]
fn a_caller_whose_phone_is_busy_keeps_his_place_while_the_next_one_is_served() {
    let scene = BobIsBusy::new();
    let (world, [alice, bob, _]) = scene.parts();
    dials(alice, REQUEST_LAST);
    let dave = dave_asks_too(&scene);
    scene.bob_is_free();
    let recall = alice.receives("INVITE");
    alice.refuses(&recall, 486);
    talks_after_recall(&dave, bob); // CC-50
    world.advance(REST);
    talks_after_recall(alice, bob); // CC-51
}

#[test]
fn a_caller_who_is_on_a_call_is_called_back_after_it() {
    let scene = BobIsBusy::new();
    let (world, [alice, bob, carol]) = scene.parts();
    dials(alice, REQUEST_LAST);
    let dave = dave_asks_too(&scene);
    scene.bob_hangs_up();
    let talk = speaks_with(alice, "carol", carol);
    world.advance(GUARD);
    alice.receives_nothing();
    talks_after_recall(&dave, bob);
    world.advance(LONG);
    alice.receives_nothing(); // CC-24
    hang_up(alice, &talk, carol);
    talks_after_recall(alice, bob); // CC-27
}

#[test]
fn a_caller_who_rejects_his_recall_is_rung_later() {
    let scene = BobIsBusy::new();
    let (world, [alice, bob, _]) = scene.parts();
    dials(alice, REQUEST_LAST);
    scene.bob_is_free();
    let recall = alice.receives("INVITE");
    alice.refuses(&recall, 603);
    world.advance(just_before(REST));
    alice.receives_nothing();
    world.advance(MOMENT);
    talks_after_recall(alice, bob);
}

#[test]
fn a_recall_that_is_redirected_is_not_followed() {
    let scene = BobIsBusy::new();
    let (world, [alice, _, carol]) = scene.parts();
    dials(alice, REQUEST_LAST);
    scene.bob_is_free();
    let recall = alice.receives("INVITE");
    let elsewhere = format!("<{}>", carol.uri());
    alice.sends(response(&recall, 302).with("Contact", &elsewhere));
    alice.receives("ACK");
    // R10
    carol.receives_nothing();
    dials(alice, CANCEL_LAST);
    world.stays_quiet();
}

#[test]
fn a_phone_that_says_nothing_is_given_up() {
    let scene = BobIsBusy::new();
    let (world, [alice, _, _]) = scene.parts();
    dials(alice, REQUEST_LAST);
    scene.bob_is_free();
    world.advance(RING);
    // Five copies in this time, and no CANCEL to a phone that has said nothing.
    let copies = alice.receives_copies("INVITE");
    assert_eq!(copies.len(), 5);
    dials(alice, CANCEL_LAST);
    world.advance(Duration::from_secs(20));
    alice.receives_copies("INVITE");
    world.stays_quiet();
}

#[test]
fn a_caller_who_hangs_up_before_the_callee_answers_stops_his_phone() {
    let scene = BobIsBusy::new();
    let (world, [alice, bob, _]) = scene.parts();
    let (dialog, rings) = scene.alice_is_called_back();
    bob.answers(&rings, 180);
    alice.leaves(&dialog);
    gives_in(bob, &rings);
    // CC-45: the request stays, and waits for another sign of Bob's.
    world.stays_quiet();
    scene.bob_talks_again();
    talks_after_recall(alice, bob);
}

#[test]
fn a_callee_who_does_not_answer_the_cc_call_is_waited_for_again() {
    let scene = BobIsBusy::new();
    let (world, [alice, bob, _]) = scene.parts();
    dials(alice, REQUEST_LAST);
    scene.bob_is_free();
    let recall = recalled(alice);
    picks_up(alice, &recall);
    let rings = bob.receives("INVITE");
    bob.answers(&rings, 180);
    // 180 s: our bound.
    world.advance(Duration::from_mins(3));
    gives_in(bob, &rings);
    let bye = alice.receives("BYE");
    let reason = bye.header("Reason").to_owned();
    assert!(reason.starts_with("SIP;cause=4"), "{reason}");
    alice.answers(&bye, 200);
    world.stays_quiet();
    scene.bob_talks_again();
    talks_after_recall(alice, bob);
}

#[test]
fn a_callee_whose_phones_are_gone_is_called_when_he_is_back() {
    let scene = BobIsBusy::new();
    let (world, [alice, bob, _]) = scene.parts();
    dials(alice, REQUEST_LAST);
    scene.bob_hangs_up();
    bob.sends(register("bob").with_only("Expires", "0"));
    bob.receives("200");
    world.stays_quiet(); // CC-02
    bob.registers();
    world.advance(GUARD);
    talks_after_recall(alice, bob);
}

#[test]
fn a_caller_is_rung_for_one_of_his_requests_at_a_time() {
    let scene = BobIsBusy::new();
    let (world, [alice, bob, carol]) = scene.parts();
    dials(alice, REQUEST_LAST);
    let sent = alice.sends(invite("carol").with_sdp(OFFER));
    refused(alice, &sent, "486");
    dials(alice, REQUEST_LAST);
    world.advance(Duration::from_secs(1));
    // Both are free at once.
    scene.bob_is_free();
    let recall = recalled(alice);
    alice.receives_nothing(); // CC-21
    picks_up(alice, &recall);
    let (first, second) = if bob.waiting() > 0 {
        (bob, carol)
    } else {
        (carol, bob)
    };
    let rings = first.receives("INVITE");
    let (dialog, _) = connects(alice, first, &rings);
    world.advance(LONG);
    second.receives_nothing();
    // The other callee's guard time is long over.
    hang_up(alice, &dialog, first);
    talks_after_recall(alice, second);
}

#[test]
fn a_request_lives_as_long_as_its_service() {
    let scene = BobIsBusy::new();
    let (world, [alice, _, _]) = scene.parts();
    dials(alice, REQUEST_LAST);
    world.advance(Duration::from_hours(1));
    dials_in_vain(alice, CANCEL_LAST, "404"); // CC-56
    scene.bob_is_free();
    world.stays_quiet();
}

#[test]
fn a_caller_whose_phones_are_gone_is_called_back_when_he_is_back() {
    let scene = BobIsBusy::new();
    let (world, [alice, bob, _]) = scene.parts();
    dials(alice, REQUEST_LAST);
    alice.sends(register("alice").with_only("Expires", "0"));
    alice.receives("200");
    scene.bob_is_free();
    world.stays_quiet();
    alice.registers();
    world.advance(GUARD);
    let recall = alice.receives_copies("INVITE").remove(0);
    picks_up(alice, &recall);
    let rings = bob.receives("INVITE");
    let (dialog, _) = connects(alice, bob, &rings);
    hang_up(alice, &dialog, bob);
}

#[test]
fn a_phone_that_asked_is_the_same_after_it_has_registered_anew() {
    let scene = BobIsBusy::new();
    let (world, [alice, bob, _]) = scene.parts();
    let second = world.party("cell");
    second.registers_as("alice");
    dials(alice, REQUEST_LAST);
    world.advance(LONG);
    alice.registers();
    scene.bob_is_free();
    second.receives_nothing();
    talks_after_recall(alice, bob);
}

#[test]
fn a_phone_behind_a_stream_is_rung_on_it() {
    let scene = BobIsBusy::new();
    let (world, [_, bob, _]) = scene.parts();
    let dave = world.party_over_tcp("dave");
    dave.registers();
    finds_busy(&dave);
    dials(&dave, REQUEST_LAST);
    world.advance(Duration::from_secs(1));
    scene.bob_is_free();
    talks_after_recall(&dave, bob);
}

#[test]
fn a_callee_who_leaves_while_the_caller_is_rung_ends_the_recall() {
    let scene = BobIsBusy::new();
    let (world, [alice, bob, _]) = scene.parts();
    dials(alice, REQUEST_LAST);
    scene.bob_is_free();
    let recall = recalled(alice);
    bob.sends(register("bob").with_only("Expires", "0"));
    bob.receives("200");
    stops_ringing(alice, &recall); // CC-63
    world.stays_quiet();
    bob.registers();
    world.advance(GUARD);
    talks_after_recall(alice, bob);
}

#[test]
fn a_recall_that_cannot_be_sent_is_no_fault_of_the_callers() {
    let scene = BobIsBusy::new();
    let (world, [alice, bob, _]) = scene.parts();
    dials(alice, REQUEST_LAST);
    let dave = dave_asks_too(&scene);
    scene.bob_is_free();
    let recall = alice.receives("INVITE");
    world.could_not_send(&recall);
    talks_after_recall(&dave, bob);
    world.advance(REST);
    talks_after_recall(alice, bob);
}

/// The one of his phones that is busy, and the one that is free.
#[test]
fn a_callee_with_two_phones_is_reached_on_the_one_that_answers() {
    let scene = BobIsBusy::new();
    let (world, [alice, bob, _]) = scene.parts();
    dials(alice, REQUEST_LAST);
    let cell = world.party("cell");
    cell.registers_as("bob");
    scene.bob_is_free();
    let recall = recalled(alice);
    picks_up(alice, &recall);
    let [at_desk, in_pocket] = [bob, &cell].map(|phone| phone.receives("INVITE"));
    bob.refuses(&at_desk, 486);
    alice.receives_nothing();
    let (dialog, _) = connects(alice, &cell, &in_pocket);
    hang_up(alice, &dialog, &cell);
}

#[test]
fn no_recall_runs_into_the_call_that_asked_for_it() {
    let scene = BobIsBusy::new();
    scene.bob_hangs_up();
    let (world, [alice, _, _]) = scene.parts();
    world.advance(GUARD * 2);
    let sent = alice.sends(invite(REQUEST_LAST).with_sdp(OFFER));
    let done = alice.receives("200");
    // A phone with one line would be busy, and Alice had to wait for her turn again.
    alice.receives_nothing();
    alice.acks(&sent, &done);
    alice.is_hung_up_on();
    let recall = alice.receives("INVITE"); // CC-24
    alice.refuses(&recall, 486);
    dials(alice, CANCEL_LAST);
}

/// The recall began before the service had heard of the call that its caller was in.
#[test]
fn a_caller_who_asks_while_he_talks_is_called_back_afterwards() {
    let (world, alice, bob) = two_phones();
    let carol = world.phone("carol");
    bob.sends(register("bob").with_only("Expires", "0"));
    bob.receives("200");
    let sent = alice.sends(invite("bob").with_sdp(OFFER));
    refused(&alice, &sent, "480");
    world.advance(Duration::from_secs(1));
    bob.registers();
    world.advance(GUARD * 2);
    let talk = speaks_with(&alice, "carol", &carol);
    dials(&alice, REQUEST_LAST);
    world.advance(GUARD * 2);
    alice.receives_nothing();
    hang_up(&alice, &talk, &carol);
    talks_after_recall(&alice, &bob);
}

/// R9: it is all the same which of the two has called.
#[test]
fn a_callee_who_calls_back_by_himself_completes_the_request() {
    let scene = BobIsBusy::new();
    let (world, [alice, bob, _]) = scene.parts();
    dials(alice, REQUEST_LAST);
    scene.bob_hangs_up();
    let talk = speaks_with(bob, "alice", alice);
    dials_in_vain(alice, CANCEL_LAST, "404");
    hang_up(bob, &talk, alice);
    world.stays_quiet();
}

/// She is on the phone until she knows that her wish is noted, and no longer.
#[test]
fn a_turn_that_comes_while_the_code_is_dialled_is_not_missed() {
    let scene = BobIsBusy::new();
    let (world, [alice, bob, _]) = scene.parts();
    scene.bob_is_free();
    let code = alice.sends(invite(REQUEST_LAST).with_sdp(OFFER));
    let done = alice.receives("200");
    world.advance(Duration::from_millis(300));
    alice.acks(&code, &done);
    alice.is_hung_up_on();
    let recall = recalled(alice);
    picks_up(alice, &recall);
    let rings = bob.receives("INVITE");
    let (dialog, _) = connects(alice, bob, &rings);
    hang_up(alice, &dialog, bob);
}

/// Zoe's turn came before it was known that she was on the phone with the code, and she was left to
/// rest as if her phone had refused.
#[test]
fn whoever_asks_for_a_callee_who_is_free_again_is_called_back_once_the_code_is_over() {
    let scene = BobIsBusy::new();
    let zoe = scene.world.phone("zoe");
    finds_busy(&zoe);
    scene.world.advance(Duration::from_secs(1));
    scene.bob_hangs_up();
    scene.world.advance(Duration::from_secs(10));
    dials(&zoe, REQUEST_LAST);
    talks_after_recall(&zoe, &scene.bob);
}

/// It was not called back as long as its old registration lived.
#[test]
fn a_phone_that_has_restarted_on_another_port_is_called_back() {
    let scene = BobIsBusy::new();
    let (world, [alice, bob, _]) = scene.parts();
    dials(alice, REQUEST_LAST);
    let restarted = world.party_at("alice", "192.0.2.10:40001");
    restarted.registers();
    scene.bob_is_free();
    let recall = recalled(&restarted);
    picks_up(&restarted, &recall);
    let rings = bob.receives("INVITE");
    let (dialog, _) = connects(&restarted, bob, &rings);
    hang_up(&restarted, &dialog, bob);
    world.advance(Duration::from_secs(33));
    alice.receives_copies("INVITE");
}

/// R13, R23: who withholds his number does so in the call that completes his, too. What a phone
/// asserts of itself is nobody's word (RFC 3325 §5), there as in any call.
#[test]
fn who_withholds_his_number_withholds_it_again() {
    let scene = BobIsBusy::new();
    let [alice, bob, _] = scene.phones();
    let sent = alice.sends(
        invite("bob")
            .with("P-Asserted-Identity", "<sip:+4930100@192.0.2.1>")
            .with("Privacy", "id")
            .with_sdp(OFFER),
    );
    refused(alice, &sent, "486");
    dials(alice, REQUEST_LAST);
    scene.world.advance(Duration::from_secs(1));
    scene.bob_is_free();
    let recall = recalled(alice);
    assert!(!recall.has("P-Asserted-Identity"), "{recall}");
    picks_up(alice, &recall);
    let rings = bob.receives("INVITE");
    assert!(!rings.has("P-Asserted-Identity"), "{rings}");
    assert_eq!(rings.header("Privacy"), "id");
    let (dialog, _) = connects(alice, bob, &rings);
    hang_up(alice, &dialog, bob);
}
