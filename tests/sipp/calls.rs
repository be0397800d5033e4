//! Flows of what happens within a call: acknowledged ringing, changes, transfers, refreshes.
//!
//! Spec: RFC 3262; RFC 3311; RFC 3515; RFC 3891; RFC 4028; RFC 3261 §14.

use crate::stage::{Stage, Transport};

#[test]
fn a_prack_on_both_legs_crosses_with_its_offer() {
    let stage = Stage::open("prack_both");
    let call = stage.play_call("prack_both", Transport::Udp);
    call.assert_sound();
    // S-57: the offer in the PRACK, and the answer in its 200.
    call.assert_callees_bodies_cross();
    let told = call.caller.received_nth("183 INVITE sdp", 0);
    assert_eq!(told.header("Require"), "100rel");
    let prack = call.callee.received_nth("PRACK sdp", 0);
    let (number, _) = call.invite_out().cseq();
    assert_eq!(prack.header("RAck"), format!("7001 {number} INVITE"));
    assert_ne!(told.header("RSeq"), "7001");
    stage.close();
}

#[test]
fn a_prack_on_the_callees_leg_alone_is_campons() {
    let stage = Stage::open_with("prack_one_side", "[calls]\nreliable = \"always\"\n");
    let call = stage.play_call("prack_one_side", Transport::Udp);
    call.assert_sound();
    call.assert_callees_bodies_cross();
    // S-59
    let told = call.caller.received_nth("183 INVITE sdp", 0);
    assert!(!told.has("Require") && !told.has("RSeq"), "{told}");
    assert_eq!(call.invite_out().header("Supported"), "100rel");
    let prack = call.callee.received_nth("PRACK", 0);
    let (number, _) = call.invite_out().cseq();
    assert_eq!(prack.header("RAck"), format!("7001 {number} INVITE"));
    stage.close();
}

#[test]
fn updates_that_cross_are_put_off_and_come_again() {
    let stage = Stage::open("update_glare");
    let call = stage.play_call("update_glare", Transport::Udp);
    call.assert_sound();
    let again = call.caller.received_nth("200 UPDATE sdp", 0);
    // S-70: the second change is answered as if there had been no first one.
    assert_eq!(
        again.body(),
        call.callee.sent_nth("200 UPDATE sdp", 0).body()
    );
    stage.close();
}
