//! Once the two talk it is a call like others, but for the session that the caller knows.

use super::rig::{ALICE, ANSWER, BOB, OFFER, Rig};
use crate::call::{Outcome, Side};

#[test]
fn the_caller_hangs_up() {
    let (mut rig, alice, _) = Rig::talking();
    rig.sends(&alice, "BYE", 1, "");
    rig.receives(ALICE, "SIP/2.0 200");
    let bye = rig.receives(BOB, "BYE");
    assert_eq!(bye.field("CSeq"), "2 BYE");
    assert_eq!(rig.call().outcome(), Outcome::HungUp(Side::A));
    rig.answers(&bye, 200, "");
    assert!(rig.is_over());
}

#[test]
fn the_callee_hangs_up() {
    let (mut rig, _, bob) = Rig::talking();
    rig.sends(&bob, "BYE", 1, "");
    rig.receives(BOB, "SIP/2.0 200");
    assert_eq!(rig.receives(ALICE, "BYE").field("CSeq"), "3 BYE");
    assert_eq!(rig.call().outcome(), Outcome::HungUp(Side::B));
}

#[test]
fn a_request_crosses() {
    let (mut rig, alice, _) = Rig::talking();
    rig.sends(&alice, "INFO", 1, "");
    let info = rig.receives(BOB, "INFO");
    rig.answers(&info, 200, "");
    rig.receives(ALICE, "SIP/2.0 200");
}

#[test]
fn a_change_by_the_callee_is_the_next_version_of_our_session() {
    let (mut rig, _, bob) = Rig::talking();
    let changed = OFFER.replace("sendrecv", "sendonly");
    rig.sends(&bob, "INVITE", 1, &changed);
    rig.receives(BOB, "SIP/2.0 100");
    let change = rig.receives(ALICE, "INVITE");
    assert!(change.line("o=- ").ends_with(" 3 IN IP4 192.0.2.100"));
    assert_eq!(change.line("a="), "a=sendonly");
    rig.answers(&change, 200, ANSWER);
    // The callee has met the caller's own session and no other.
    assert_eq!(rig.receives(BOB, "SIP/2.0 200").body(), ANSWER);
}

#[test]
fn a_refresh_by_the_callee_keeps_the_version() {
    let (mut rig, _, bob) = Rig::talking();
    rig.sends(&bob, "UPDATE", 1, OFFER);
    let update = rig.receives(ALICE, "UPDATE");
    assert!(update.line("o=- ").ends_with(" 2 IN IP4 192.0.2.100"));
}

#[test]
fn an_answer_of_the_callees_is_the_next_version_of_our_session() {
    let (mut rig, alice, _) = Rig::talking();
    rig.sends(&alice, "INVITE", 1, ANSWER);
    let change = rig.receives(BOB, "INVITE");
    assert_eq!(change.body(), ANSWER);
    rig.receives(ALICE, "SIP/2.0 100");
    rig.answers(&change, 200, &OFFER.replace("4000", "4004"));
    let answer = rig.receives(ALICE, "SIP/2.0 200");
    assert!(answer.line("o=- ").ends_with(" 3 IN IP4 192.0.2.100"));
    assert_eq!(answer.line("m="), "m=audio 4004 RTP/AVP 8");
}

#[test]
fn an_answer_in_the_callees_ack_is_the_next_version_of_our_session() {
    let (mut rig, _, bob) = Rig::talking();
    rig.sends(&bob, "INVITE", 1, "");
    rig.receives(BOB, "SIP/2.0 100");
    let change = rig.receives(ALICE, "INVITE");
    assert_eq!(change.body(), "");
    rig.answers(&change, 200, ANSWER);
    let answer = rig.receives(BOB, "SIP/2.0 200");
    rig.sends(&bob, "ACK", 1, &OFFER.replace("4000", "4006"));
    let ack = rig.receives(ALICE, "ACK");
    assert!(ack.line("o=- ").ends_with(" 3 IN IP4 192.0.2.100"));
    assert_eq!(answer.body(), ANSWER);
}

#[test]
fn the_recall_can_no_longer_be_withdrawn() {
    let (mut rig, _, _) = Rig::talking();
    rig.end_recall();
    rig.is_silent();
    assert!(rig.call().is_up());
}

#[test]
fn the_call_has_no_deadline() {
    let (rig, _, _) = Rig::talking();
    assert_eq!(rig.call().deadline(), None);
}
