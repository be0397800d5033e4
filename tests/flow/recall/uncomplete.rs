//! A request that is taken back while its caller's phone is asked to dial, or dials.
//!
//! Spec: RULES R18; RFC 3326.

use super::{LAST, answered, dials_for, is_answered, is_parted, takes_refer, tells};
use crate::flow::kit::completion::{BobIsBusy, CANCEL_LAST, LONG, stops_ringing};
use crate::flow::kit::draft::{OFFER, invite};
use crate::flow::kit::message::Message;
use crate::flow::kit::party::Party;
use crate::flow::kit::scenes::{hang_up, refused};
use crate::flow::kit::subject::Setup;

/// Alice's other phone.
fn cell(scene: &BobIsBusy) -> Party {
    let cell = scene.world.party("cell");
    cell.registers_as("alice");
    cell
}

/// She takes her request back there: the code as it was dialled.
fn takes_back(cell: &Party) -> Message {
    let from = "<sip:alice@192.0.2.1>;tag=cell";
    cell.sends(invite(CANCEL_LAST).with("From", from).with_sdp(OFFER))
}

#[track_caller]
fn is_done(cell: &Party, code: &Message) {
    crate::flow::kit::completion::is_confirmed(cell, code);
}

#[test]
fn a_phone_that_was_asked_to_dial_is_let_go() {
    let (scene, recall) = answered(Setup::ReferOrDirect);
    let (world, [alice, bob, _]) = scene.parts();
    let cell = cell(&scene);
    takes_refer(alice, &recall);
    let code = takes_back(&cell);
    let reason = is_parted(alice, &recall);
    assert!(reason.starts_with("SIP;cause=487"), "{reason}");
    is_done(&cell, &code);
    world.advance(LONG);
    bob.receives_nothing();
}

#[test]
fn a_call_that_the_phone_was_asked_for_is_withdrawn() {
    let (scene, recall) = answered(Setup::ReferOrDirect);
    let [alice, bob, _] = scene.phones();
    let cell = cell(&scene);
    let sent = dials_for(alice, &takes_refer(alice, &recall));
    let rings = bob.receives("INVITE");
    bob.answers(&rings, 180);
    alice.receives("180");
    let code = takes_back(&cell);
    let reason = stops_ringing(bob, &rings);
    assert!(reason.starts_with("SIP;cause=487"), "{reason}");
    refused(alice, &sent, "487");
    is_parted(alice, &recall);
    is_done(&cell, &code);
}

#[test]
fn a_call_that_the_callee_has_answered_stays() {
    let (scene, recall) = answered(Setup::ReferOrDirect);
    let [alice, bob, _] = scene.phones();
    let cell = cell(&scene);
    let sent = dials_for(alice, &takes_refer(alice, &recall));
    let rings = bob.receives("INVITE");
    let (talk, _) = is_answered(alice, &sent, bob, &rings);
    let code = takes_back(&cell);
    refused(&cell, &code, "404");
    tells(alice, &recall, "SIP/2.0 200 OK", LAST);
    is_parted(alice, &recall);
    hang_up(alice, &talk, bob);
}

/// She has dialled by herself while her phone rang: that call is hers.
#[test]
fn a_call_by_hand_is_not_withdrawn() {
    let scene = BobIsBusy::with(Setup::Refer);
    let [alice, bob, _] = scene.phones();
    crate::flow::kit::completion::dials(alice, crate::flow::kit::completion::REQUEST_LAST);
    let cell = cell(&scene);
    scene.bob_is_free();
    let recall = crate::flow::kit::completion::recalled(alice);
    let sent = alice.sends(invite("bob").with_sdp(OFFER));
    stops_ringing(alice, &recall);
    let rings = bob.receives("INVITE");
    bob.answers(&rings, 180);
    alice.receives("180");
    let code = takes_back(&cell);
    is_done(&cell, &code);
    let (talk, _) = is_answered(alice, &sent, bob, &rings);
    hang_up(alice, &talk, bob);
}
