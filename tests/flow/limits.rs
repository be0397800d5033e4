//! When campon says no by itself: engaged users, drain, overload.
//!
//! Spec: RFC 3261 §21.4.18, §21.5.4; RFC 7090 §5; RFC 7339 §5.10.

use std::time::Duration;

use super::kit::draft::{ANSWER, OFFER, invite, options, response};
use super::kit::party::Party;
use super::kit::scenes::{call, gives_in, hang_up, refused, ringing, two_phones};
use super::kit::subject::Setup;
use super::kit::world::World;

/// A call of Carol's to Bob gets through to his phone, which refuses it.
fn gets_through(carol: &Party, bob: &Party, draft: super::kit::draft::Draft) {
    let sent = carol.sends(draft.with_sdp(OFFER));
    let invite = bob.receives("INVITE");
    bob.refuses(&invite, 603);
    refused(carol, &sent, "603");
}

#[test]
fn a_user_who_speaks_is_busy() {
    let (world, alice, bob) = two_phones();
    let carol = world.phone("carol");
    let call = call(&alice, &bob);
    // R20: whoever made the call, both are engaged.
    for whom in ["alice", "bob"] {
        let sent = carol.sends(invite(whom).with_sdp(OFFER));
        refused(&carol, &sent, "486");
    }
    hang_up(&alice, &call.caller, &bob);
    gets_through(&carol, &bob, invite("bob"));
}

#[test]
fn a_user_whose_phone_rings_is_busy() {
    let (world, alice, bob) = two_phones();
    let carol = world.phone("carol");
    let scene = ringing(&alice, &bob);
    let sent = carol.sends(invite("bob"));
    // R20
    refused(&carol, &sent, "486");
    alice.cancels(&scene.sent);
    alice.receives("200");
    gives_in(&bob, &scene.invite);
    refused(&alice, &scene.sent, "487");
    gets_through(&carol, &bob, invite("bob"));
}

#[test]
fn a_busy_user_is_free_again_after_a_refusal() {
    let (world, alice, bob) = two_phones();
    let carol = world.phone("carol");
    gets_through(&alice, &bob, invite("bob"));
    gets_through(&carol, &bob, invite("bob"));
}

#[test]
fn an_emergency_call_back_reaches_a_user_who_speaks() {
    let (world, alice, bob) = two_phones();
    let carol = world.phone("carol");
    let call = call(&alice, &bob);
    // R20
    gets_through(
        &carol,
        &bob,
        invite("bob").with("Priority", "psap-callback"),
    );
    hang_up(&alice, &call.caller, &bob);
}

/// A recall would make him busy, so that his turn never came.
#[test]
fn who_calls_himself_is_not_offered_to_wait_for_himself() {
    let world = World::new(Setup::Standalone);
    let alice = world.phone("alice");
    let sent = alice.sends(invite("alice").with_sdp(OFFER));
    let ringing = alice.receives("INVITE");
    alice.refuses(&ringing, 486);
    let busy = refused(&alice, &sent, "486");
    assert!(!busy.has("Call-Info"), "{busy}");
}

#[test]
fn without_a_limit_a_second_call_rings() {
    let world = World::new(Setup::Unlimited);
    let (alice, bob) = (world.phone("alice"), world.phone("bob"));
    let carol = world.phone("carol");
    let call = call(&alice, &bob);
    gets_through(&carol, &bob, invite("bob"));
    hang_up(&alice, &call.caller, &bob);
}

#[test]
fn while_draining_no_call_begins_and_calls_go_on() {
    let (world, alice, bob) = two_phones();
    let carol = world.phone("carol");
    let call = call(&alice, &bob);
    world.drains();
    world.quiet();
    let sent = carol.sends(invite("bob"));
    refused(&carol, &sent, "503");
    carol.sends(options());
    carol.receives("503");
    hang_up(&bob, &call.callee, &alice);
}

#[test]
fn while_draining_a_call_that_rings_may_be_answered() {
    let (world, alice, bob) = two_phones();
    let scene = ringing(&alice, &bob);
    world.drains();
    world.quiet();
    bob.sends(response(&scene.invite, 200).with_sdp(ANSWER));
    let answer = alice.receives("200");
    alice.acks(&scene.sent, &answer);
    bob.receives("ACK");
    let dialog = super::kit::dialog::Dialog::of_caller(&scene.sent, &answer);
    hang_up(&alice, &dialog, &bob);
}

#[test]
fn hanging_up_ends_the_calls_that_are_up() {
    let (world, alice, bob) = two_phones();
    call(&alice, &bob);
    world.hangs_up();
    for party in [&alice, &bob] {
        party.is_hung_up_on();
    }
}

#[test]
fn hanging_up_ends_the_calls_that_ring() {
    let (world, alice, bob) = two_phones();
    let scene = ringing(&alice, &bob);
    world.hangs_up();
    gives_in(&bob, &scene.invite);
    let refusal = alice.receives_final();
    assert!(refusal.status() >= 400, "{refusal}");
    alice.acks(&scene.sent, &refusal);
}

#[test]
fn a_campon_that_is_behind_refuses_calls_without_keeping_anything() {
    let (world, alice, bob) = two_phones();
    world.falls_behind(Duration::from_millis(500));
    let held = world.held_by_calls();
    let sent = alice.sends(invite("bob").with_sdp(OFFER));
    // S-184: who does not take part in overload control gets no Retry-After.
    let refusal = alice.receives("503");
    assert!(!refusal.has("Retry-After"));
    assert_eq!(world.held_by_calls(), held);
    world.advance(Duration::from_secs(10));
    alice.receives_nothing();
    alice.acks(&sent, &refusal);
    bob.receives_nothing();
}

#[test]
fn a_campon_that_is_behind_still_ends_calls() {
    let (world, alice, bob) = two_phones();
    let call = call(&alice, &bob);
    world.falls_behind(Duration::from_millis(500));
    // S-186
    hang_up(&alice, &call.caller, &bob);
}

#[test]
fn a_campon_that_is_behind_still_takes_emergency_calls() {
    let world = World::new(Setup::Upstream);
    let (alice, pbx) = (world.phone("alice"), world.upstream());
    world.falls_behind(Duration::from_millis(500));
    let sent = alice.sends(invite("urn:service:sos"));
    // S-186, R6
    let invite = pbx.receives("INVITE");
    pbx.refuses(&invite, 480);
    refused(&alice, &sent, "480");
}

#[test]
fn a_campon_that_has_caught_up_takes_calls() {
    let (world, alice, bob) = two_phones();
    world.falls_behind(Duration::from_millis(500));
    let sent = alice.sends(invite("bob"));
    let refusal = alice.receives("503");
    alice.acks(&sent, &refusal);
    world.falls_behind(Duration::ZERO);
    world.advance(Duration::from_secs(1));
    gets_through(&alice, &bob, invite("bob"));
}
