//! A call that is answered by us, and ended by us when the caller has acknowledged.

use super::rig::{ALICE, ANSWER, Rig};
use crate::call::{Outcome, Side};

#[test]
fn the_first_audio_line_of_the_offer_is_taken_and_nothing_flows() {
    let mut rig = Rig::new();
    let answer = rig.confirm(ANSWER);
    assert_eq!(answer.line("m="), "m=audio 9 RTP/AVP 8");
    assert_eq!(answer.line("a="), "a=inactive");
    assert_eq!(answer.field("Content-Type"), "application/sdp");
    assert_eq!(answer.field("Contact"), "<sip:192.0.2.100:5060>");
}

#[test]
fn without_an_offer_we_make_one() {
    let answer = Rig::new().confirm("");
    assert_eq!(answer.line("m="), "m=audio 9 RTP/AVP 0 8 101");
}

#[test]
fn the_caller_gets_a_bye_on_his_ack() {
    let mut rig = Rig::new();
    let answer = rig.confirm(ANSWER);
    rig.sends(&answer, "ACK", 1, "");
    let bye = rig.receives(ALICE, "BYE");
    assert_eq!(bye.field("CSeq"), "1 BYE");
    assert_eq!(rig.call().outcome(), Outcome::Confirmed);
    rig.answers(&bye, 200, "");
    rig.is_silent();
    assert!(rig.is_over());
}

#[test]
fn the_answer_is_repeated_until_the_ack() {
    let mut rig = Rig::new();
    let answer = rig.confirm(ANSWER);
    // S-05
    rig.wait(500);
    rig.receives(ALICE, "SIP/2.0 200");
    rig.wait(1_000);
    rig.receives(ALICE, "SIP/2.0 200");
    rig.sends(&answer, "ACK", 1, "");
    rig.receives(ALICE, "BYE");
    rig.wait(100);
    rig.is_silent();
}

#[test]
fn a_caller_who_never_acknowledges_gets_his_bye_too() {
    let mut rig = Rig::new();
    rig.confirm(ANSWER);
    rig.wait(31_999);
    while rig.has_sent(ALICE, "SIP/2.0 200") {
        rig.receives(ALICE, "SIP/2.0 200");
    }
    rig.is_silent();
    rig.wait(1);
    // S-05
    rig.receives(ALICE, "BYE");
    assert_eq!(rig.call().outcome(), Outcome::Lost);
}

#[test]
fn a_caller_may_hang_up_first() {
    let mut rig = Rig::new();
    let answer = rig.confirm(ANSWER);
    rig.sends(&answer, "BYE", 2, "");
    rig.receives(ALICE, "SIP/2.0 200");
    assert_eq!(rig.call().outcome(), Outcome::HungUp(Side::A));
    rig.sends(&answer, "ACK", 1, "");
    rig.is_silent();
    assert!(rig.is_over());
}

#[test]
fn a_change_before_the_ack_is_put_off() {
    let mut rig = Rig::new();
    let answer = rig.confirm(ANSWER);
    rig.sends(&answer, "INVITE", 2, ANSWER);
    // S-18
    rig.receives(ALICE, "SIP/2.0 500");
}

#[test]
fn when_everything_ends_it_ends() {
    let mut rig = Rig::new();
    rig.confirm(ANSWER);
    rig.hang_up();
    rig.receives(ALICE, "BYE");
}
