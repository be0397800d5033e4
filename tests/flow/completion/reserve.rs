//! A callee is kept free for the caller who is called back, also from ordinary calls.
//!
//! Spec: RULES R9.

use crate::flow::kit::completion::{
    BobIsBusy, CANCEL_LAST, REQUEST_LAST, connects, dials, finds_busy, picks_up, recalled,
    stops_ringing,
};
use crate::flow::kit::draft::{OFFER, invite};
use crate::flow::kit::scenes::{hang_up, refused};
use crate::flow::kit::subject::Setup;

/// Alice's phone rings, because Bob is free.
fn alice_rings() -> (BobIsBusy, crate::flow::kit::message::Message) {
    let scene = BobIsBusy::with(Setup::Reserving);
    dials(&scene.alice, REQUEST_LAST);
    scene.bob_is_free();
    let recall = recalled(&scene.alice);
    (scene, recall)
}

#[test]
fn an_ordinary_call_finds_a_callee_busy_who_is_kept_free() {
    let (scene, recall) = alice_rings();
    let busy = finds_busy(&scene.carol);
    assert!(busy.has("Call-Info"), "{busy}");
    scene.bob.receives_nothing();
    let talk = picks_up(&scene.alice, &recall);
    let rings = scene.bob.receives("INVITE");
    connects(&scene.alice, &scene.bob, &rings);
    hang_up(&scene.alice, &talk, &scene.bob);
}

#[test]
fn who_is_called_back_for_help_is_kept_from_nobody() {
    let (scene, recall) = alice_rings();
    let call = invite("bob").with("Priority", "psap-callback");
    let sent = scene.carol.sends(call.with_sdp(OFFER));
    let rings = scene.bob.receives("INVITE");
    stops_ringing(&scene.alice, &recall);
    scene.bob.refuses(&rings, 486);
    refused(&scene.carol, &sent, "486");
    dials(&scene.alice, CANCEL_LAST);
}

#[test]
fn a_callee_who_calls_himself_is_kept_for_nobody() {
    let (scene, recall) = alice_rings();
    let sent = scene.bob.sends(invite("carol").with_sdp(OFFER));
    let rings = scene.carol.receives("INVITE");
    stops_ringing(&scene.alice, &recall);
    scene.carol.refuses(&rings, 486);
    refused(&scene.bob, &sent, "486");
    dials(&scene.alice, CANCEL_LAST);
}
