//! Ends of calls that meet other ends, or nothing.
//!
//! Spec: RFC 3261 §12.2.1.2, §12.2.2, §15.

use std::time::Duration;

use campon::shard::record::Record;

use super::kit::dialog::Dialog;
use super::kit::draft::{OFFER, bye, invite, options};
use super::kit::scenes::{Ringing, call, hang_up, refused, ringing, two_phones};
use super::kit::subject::Setup;
use super::kit::world::World;

#[test]
fn byes_from_both_sides_at_once_are_both_answered() {
    let (_world, alice, bob) = two_phones();
    let call = call(&alice, &bob);
    alice.hangs_up(&call.caller);
    bob.hangs_up(&call.callee);
    let [to_bob, answer] = bob.receives_each(["BYE", "200"]);
    assert_eq!(answer.cseq_method(), "BYE");
    bob.answers(&to_bob, 481);
    // S-15
    alice.receives("200");
}

#[test]
fn a_callee_that_knows_nothing_of_the_call_does_not_hold_up_its_end() {
    let (_world, alice, bob) = two_phones();
    let call = call(&alice, &bob);
    alice.hangs_up(&call.caller);
    let bye = bob.receives("BYE");
    bob.answers(&bye, 481);
    // S-15
    alice.receives("200");
}

/// A user with one call at a time was busy for half a minute after he had hung up on a phone that
/// had died: until its BYE was given up.
#[test]
fn who_hangs_up_on_a_phone_that_has_died_is_free() {
    let (world, alice, bob) = two_phones();
    let carol = world.phone("carol");
    let before = call(&alice, &bob);
    bob.leaves(&before.callee);
    alice.receives("BYE");
    let after = call(&carol, &bob);
    // Nor is he freed once more when nobody waits for her any longer.
    world.advance(Duration::from_secs(32));
    alice.receives_copies("BYE");
    let sent = alice.sends(invite("bob").with_sdp(OFFER));
    refused(&alice, &sent, "486");
    hang_up(&carol, &after.caller, &bob);
}

/// Half a minute in which nobody answered was on the bill.
#[test]
fn a_record_ends_with_the_talk_and_not_with_the_last_answer() {
    let world = World::new(Setup::Joining);
    let (alice, bob) = (world.phone("alice"), world.phone("bob"));
    let talk = call(&alice, &bob);
    world.advance(Duration::from_secs(10));
    bob.leaves(&talk.callee);
    world.advance(Duration::from_secs(33));
    alice.receives_copies("BYE");
    let Some(Record::Call(record)) = world.next_record() else {
        panic!("no record of the call");
    };
    let answered = record.answered.expect("they talked");
    assert_eq!(record.ended.since(answered), Duration::from_secs(10));
}

#[test]
fn a_bye_of_a_call_that_has_ended_is_answered_481() {
    let (_world, alice, bob) = two_phones();
    let call = call(&alice, &bob);
    hang_up(&bob, &call.callee, &alice);
    alice.hangs_up(&call.caller);
    // S-15
    alice.receives("481");
    bob.receives_nothing();
}

#[test]
fn a_bye_before_the_answer_ends_the_call() {
    let (_world, alice, bob) = two_phones();
    let scene = ringing(&alice, &bob);
    let Ringing {
        sent,
        invite,
        rings,
    } = scene;
    alice.hangs_up(&Dialog::of_caller(&sent, &rings));
    let cancel = bob.receives("CANCEL");
    bob.answers(&cancel, 200);
    bob.refuses(&invite, 487);
    // S-21
    let [answer, refusal] = alice.receives_each(["200", "487"]);
    assert_eq!(answer.cseq_method(), "BYE");
    alice.acks(&sent, &refusal);
}

#[test]
fn a_request_in_an_unknown_dialog_is_answered_481() {
    let (_world, alice, bob) = two_phones();
    let call = call(&alice, &bob);
    for method in ["BYE", "INVITE", "OPTIONS"] {
        let tag = "<sip:bob@192.0.2.1>;tag=of-nobody";
        let draft = super::kit::draft::within(&call.caller, method);
        let sent = alice.sends(draft.with_only("To", tag));
        // S-15
        let answer = alice.receives("481");
        if method == "INVITE" {
            alice.acks(&sent, &answer);
        }
    }
    hang_up(&alice, &call.caller, &bob);
}

#[test]
fn a_bye_outside_of_any_dialog_is_answered_481() {
    let (_world, alice, bob) = two_phones();
    let call = call(&alice, &bob);
    let no_tag = bye(&call.caller).with_only("To", "<sip:bob@192.0.2.1>");
    alice.sends(no_tag);
    // S-15
    alice.receives("481");
    bob.receives_nothing();
    hang_up(&alice, &call.caller, &bob);
    alice.sends(options());
    alice.receives("200");
}
