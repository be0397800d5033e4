//! The caller is rung, and then his callee.

use super::rig::{ALICE, ALICE_2, ANSWER, BOB, BOB_2, OFFER, Rig};
use crate::call::recall::{News, NoCall, Refusal};
use crate::call::{Outcome, Side};
use crate::sip::Status;

fn failed(why: NoCall) -> News {
    News::RecallFailed(why)
}

fn refused(status: Status, rang: bool, q850: Option<u8>) -> News {
    News::CcCallFailed(Some(Refusal { status, rang, q850 }))
}

#[test]
fn the_phone_that_asked_is_rung_with_nothing_to_hear() {
    let mut rig = Rig::recall(&[ALICE]);
    let ring = rig.receives(ALICE, "INVITE sip:alice@192.0.2.1 SIP/2.0");
    assert_eq!(ring.field("Max-Forwards"), "70");
    let from = ring.field("From");
    assert!(from.starts_with("\"Callback: \\\"Bob\\\"\" <sip:bob@example.com>;tag="));
    assert_eq!(ring.field("To"), "<sip:alice@example.com>");
    assert_eq!(ring.field("Contact"), "<sip:192.0.2.100:5060>");
    assert_eq!(
        ring.field("Alert-Info"),
        "<urn:alert:service:recall:callback>"
    );
    assert!(ring.field("Allow").contains("INVITE, ACK, CANCEL, BYE"));
    assert_eq!(ring.line("m="), "m=audio 9 RTP/AVP 0 8 101");
    assert_eq!(ring.line("a=inactive"), "a=inactive");
    assert!(ring.line("o=").ends_with(" 1 IN IP4 192.0.2.100"));
}

#[test]
fn without_a_phone_there_is_no_recall() {
    assert!(Rig::recall(&[]).is_over());
}

#[test]
fn an_unheard_invite_is_sent_again() {
    let mut rig = Rig::recall(&[ALICE]);
    rig.receives(ALICE, "INVITE");
    rig.wait(500);
    let again = rig.receives(ALICE, "INVITE");
    rig.answers(&again, 200, ANSWER);
    rig.receives(ALICE, "ACK");
    assert_eq!(rig.news(), Some(News::RecallAnswered));
}

#[test]
fn a_caller_who_answers_is_acknowledged_each_time() {
    let mut rig = Rig::recall(&[ALICE]);
    let ring = rig.receives(ALICE, "INVITE");
    rig.answers(&ring, 200, ANSWER);
    // S-04
    assert_eq!(rig.receives(ALICE, "ACK").field("CSeq"), "1 ACK");
    assert_eq!(rig.news(), Some(News::RecallAnswered));
    rig.answers(&ring, 200, ANSWER);
    rig.receives(ALICE, "ACK");
    assert_eq!(rig.news(), None);
    rig.is_silent();
}

#[test]
fn the_status_of_the_phone_says_why_the_caller_did_not_come() {
    for (status, why) in [
        (486, NoCall::Busy),
        (600, NoCall::Busy),
        (603, NoCall::Refused),
        (403, NoCall::Refused),
        (302, NoCall::Refused),
        (408, NoCall::Unanswered),
        (480, NoCall::Unanswered),
        (487, NoCall::Unanswered),
        (404, NoCall::Unreachable),
        (410, NoCall::Unreachable),
        (503, NoCall::Unreachable),
    ] {
        let mut rig = Rig::recall(&[ALICE]);
        let ring = rig.receives(ALICE, "INVITE");
        rig.answers(&ring, status, "");
        rig.receives(ALICE, "ACK");
        assert_eq!(rig.news(), Some(failed(why)), "{status}");
        rig.is_silent();
        assert!(rig.is_over());
    }
}

#[test]
fn a_phone_that_says_nothing_is_given_up() {
    let mut rig = Rig::recall(&[ALICE]);
    rig.wait(32_000);
    assert_eq!(rig.news(), Some(failed(NoCall::Unanswered)));
    assert!(rig.is_over());
}

#[test]
fn a_phone_that_cannot_be_reached_is_told_at_once() {
    let mut rig = Rig::recall(&[ALICE]);
    let lost = rig.receives(ALICE, "INVITE");
    rig.fails_to_send(&lost);
    assert_eq!(rig.news(), Some(failed(NoCall::Unreachable)));
    assert!(rig.is_over());
}

#[test]
fn a_phone_that_rings_for_ever_is_not_waited_for() {
    let mut rig = Rig::recall(&[ALICE]);
    let ring = rig.receives(ALICE, "INVITE");
    rig.answers(&ring, 180, "");
    rig.wait(184_999);
    rig.is_silent();
    rig.wait(1);
    let cancel = rig.receives(ALICE, "CANCEL");
    assert_eq!(rig.news(), Some(failed(NoCall::Unanswered)));
    rig.answers(&cancel, 200, "");
    rig.answers(&ring, 487, "");
    rig.receives(ALICE, "ACK");
    assert!(rig.is_over());
}

#[test]
fn the_phone_that_answers_first_has_the_call() {
    let mut rig = Rig::recall(&[ALICE, ALICE_2]);
    let first = rig.receives(ALICE, "INVITE");
    let second = rig.receives(ALICE_2, "INVITE");
    assert_eq!(first.field("Call-ID"), second.field("Call-ID"));
    rig.answers(&first, 180, "");
    rig.answers(&second, 180, "");
    rig.answers(&first, 200, ANSWER);
    rig.receives(ALICE, "ACK");
    let cancel = rig.receives(ALICE_2, "CANCEL");
    assert!(cancel.field("Reason").starts_with("SIP;cause=200"));
    rig.answers(&second, 487, "");
    rig.receives(ALICE_2, "ACK");
    assert_eq!(rig.news(), Some(News::RecallAnswered));
    rig.place(&[BOB]);
    rig.receives(BOB, "INVITE");
}

#[test]
fn a_second_answer_is_acknowledged_and_ended() {
    let mut rig = Rig::recall(&[ALICE, ALICE_2]);
    let first = rig.receives(ALICE, "INVITE");
    let second = rig.receives(ALICE_2, "INVITE");
    rig.answers(&first, 200, ANSWER);
    rig.answers(&second, 200, ANSWER);
    rig.receives(ALICE, "ACK");
    // S-07
    rig.receives(ALICE_2, "ACK");
    rig.receives(ALICE_2, "BYE");
    rig.is_silent();
    assert!(rig.call().is_up());
}

#[test]
fn one_busy_phone_does_not_end_the_ringing_of_the_other() {
    let mut rig = Rig::recall(&[ALICE, ALICE_2]);
    let first = rig.receives(ALICE, "INVITE");
    let second = rig.receives(ALICE_2, "INVITE");
    rig.answers(&first, 486, "");
    assert_eq!(rig.news(), None);
    rig.answers(&second, 503, "");
    assert_eq!(rig.news(), Some(failed(NoCall::Busy)));
    assert!(rig.is_over());
}

#[test]
fn a_rejection_for_everybody_ends_the_ringing_of_the_other() {
    let mut rig = Rig::recall(&[ALICE, ALICE_2]);
    let first = rig.receives(ALICE, "INVITE");
    let second = rig.receives(ALICE_2, "INVITE");
    rig.answers(&first, 180, "");
    rig.answers(&second, 603, "");
    assert_eq!(rig.news(), Some(failed(NoCall::Refused)));
    rig.receives(ALICE, "CANCEL");
    rig.answers(&first, 487, "");
    assert!(rig.is_over());
}

#[test]
fn a_withdrawn_recall_is_cancelled_once_the_phone_was_heard() {
    let mut rig = Rig::recall(&[ALICE]);
    let ring = rig.receives(ALICE, "INVITE");
    rig.end_recall();
    // S-08
    rig.is_silent();
    rig.answers(&ring, 180, "");
    let cancel = rig.receives(ALICE, "CANCEL");
    assert_eq!(cancel.field("Reason"), "SIP;cause=487");
    rig.answers(&ring, 487, "");
    rig.receives(ALICE, "ACK");
    assert_eq!(rig.news(), None);
    assert!(rig.is_over());
}

#[test]
fn an_answer_to_a_withdrawn_recall_is_acknowledged_and_ended() {
    let mut rig = Rig::recall(&[ALICE]);
    let ring = rig.receives(ALICE, "INVITE");
    rig.end_recall();
    rig.answers(&ring, 200, ANSWER);
    // S-07
    rig.receives(ALICE, "ACK");
    let bye = rig.receives(ALICE, "BYE");
    assert_eq!(bye.field("CSeq"), "2 BYE");
    assert_eq!(rig.news(), None);
    assert!(rig.is_over());
}

#[test]
fn a_caller_who_has_answered_is_let_go_when_the_recall_is_withdrawn() {
    let mut rig = Rig::answered();
    rig.end_recall();
    let bye = rig.receives(ALICE, "BYE");
    assert_eq!(bye.field("Reason"), "SIP;cause=487");
    assert!(!rig.is_over());
    rig.answers(&bye, 200, "");
    assert_eq!(rig.news(), None);
    assert!(rig.is_over());
}

#[test]
fn a_caller_who_hangs_up_again_has_refused() {
    let mut rig = Rig::answered();
    let alice = rig.alice();
    rig.sends(&alice, "BYE", 1, "");
    rig.receives(ALICE, "SIP/2.0 200");
    assert_eq!(rig.news(), Some(failed(NoCall::Refused)));
    assert!(rig.is_over());
}

#[test]
fn a_caller_whom_nobody_connects_is_let_go() {
    let mut rig = Rig::answered();
    rig.wait(31_999);
    rig.is_silent();
    rig.wait(1);
    let bye = rig.receives(ALICE, "BYE");
    assert!(bye.field("Reason").starts_with("SIP;cause=503"));
    assert_eq!(rig.news(), Some(failed(NoCall::NoWay)));
    rig.answers(&bye, 200, "");
    assert!(rig.is_over());
}

#[test]
fn without_a_way_to_the_callee_the_caller_is_let_go() {
    let mut rig = Rig::answered();
    rig.place(&[]);
    assert_eq!(rig.news(), Some(failed(NoCall::NoWay)));
    rig.receives(ALICE, "BYE");
}

#[test]
fn a_caller_who_wants_a_change_too_early_is_put_off() {
    let mut rig = Rig::answered();
    let alice = rig.alice();
    rig.sends(&alice, "INVITE", 1, ANSWER);
    // S-18
    rig.receives(ALICE, "SIP/2.0 491");
    rig.sends(&alice, "INFO", 2, "");
    let later = rig.receives(ALICE, "SIP/2.0 500");
    assert!(!later.field("Retry-After").is_empty());
}

#[test]
fn the_callee_is_called_in_the_callers_name_and_makes_the_offer() {
    let mut rig = Rig::answered();
    rig.place(&[BOB]);
    assert_eq!(rig.news(), Some(News::CcCallLeft));
    let invite = rig.receives(BOB, "INVITE sip:bob@192.0.2.11 SIP/2.0");
    let from = invite.field("From");
    assert!(from.starts_with("\"Alice\" <sip:alice@example.com>;tag="));
    assert_eq!(invite.field("To"), "<sip:100@example.com>");
    assert_eq!(invite.field("Max-Forwards"), "70");
    assert_eq!(invite.field("Alert-Info"), "");
    assert_eq!(invite.body(), "");
    rig.answers(&invite, 183, OFFER);
    rig.is_silent();
}

#[test]
fn a_busy_callee_ends_the_call_of_the_caller_with_his_status() {
    let (mut rig, invite) = Rig::calling();
    rig.answers_as(
        &invite,
        486,
        "Reason: SIP;cause=486, Q.850;cause=17\r\n",
        "",
    );
    rig.receives(BOB, "ACK");
    assert_eq!(rig.news(), Some(refused(Status::BUSY_HERE, true, Some(17))));
    let bye = rig.receives(ALICE, "BYE");
    assert_eq!(bye.field("Reason"), "SIP;cause=486;text=\"Busy Here\"");
    rig.answers(&bye, 200, "");
    assert!(rig.is_over());
}

#[test]
fn a_callee_who_says_nothing_was_not_rung() {
    let mut rig = Rig::answered();
    rig.place(&[BOB]);
    assert_eq!(rig.news(), Some(News::CcCallLeft));
    rig.wait(32_000);
    assert_eq!(
        rig.news(),
        Some(refused(Status::REQUEST_TIMEOUT, false, None))
    );
}

#[test]
fn a_callee_who_rings_for_ever_is_withdrawn() {
    let (mut rig, invite) = Rig::calling();
    rig.wait(185_000);
    rig.receives(BOB, "CANCEL");
    rig.receives(ALICE, "BYE");
    assert_eq!(
        rig.news(),
        Some(refused(Status::REQUEST_TIMEOUT, true, None))
    );
    rig.answers(&invite, 487, "");
    rig.receives(BOB, "ACK");
}

#[test]
fn the_phones_of_the_callee_ring_at_once_and_one_wins() {
    let mut rig = Rig::answered();
    rig.place(&[BOB, BOB_2]);
    let first = rig.receives(BOB, "INVITE");
    let second = rig.receives(BOB_2, "INVITE");
    rig.answers(&first, 180, "");
    rig.answers(&second, 200, OFFER);
    rig.receives(BOB, "CANCEL");
    rig.answers(&first, 200, OFFER);
    // S-07
    let ack = rig.receives(BOB, "ACK");
    assert_eq!(ack.line("m="), "m=audio 0 RTP/AVP 8");
    let bye = rig.receives(BOB, "BYE");
    assert!(bye.field("Reason").starts_with("SIP;cause=200"));
    rig.receives(ALICE, "INVITE");
    assert!(rig.call().is_up());
}

#[test]
fn a_caller_who_hangs_up_while_the_callee_rings_withdraws_the_call() {
    let (mut rig, invite) = Rig::calling();
    let alice = rig.alice();
    rig.sends(&alice, "BYE", 1, "");
    rig.receives(ALICE, "SIP/2.0 200");
    rig.receives(BOB, "CANCEL");
    assert_eq!(rig.news(), Some(News::CcCallFailed(None)));
    assert_eq!(rig.call().outcome(), Outcome::HungUp(Side::A));
    rig.answers(&invite, 487, "");
    rig.receives(BOB, "ACK");
    rig.is_silent();
    assert!(rig.is_over());
}

#[test]
fn a_recall_that_ends_while_the_callee_rings_leaves_nobody_ringing() {
    let (mut rig, invite) = Rig::calling();
    rig.end_recall();
    assert_eq!(rig.receives(BOB, "CANCEL").field("Reason"), "SIP;cause=487");
    let bye = rig.receives(ALICE, "BYE");
    assert_eq!(bye.field("Reason"), "SIP;cause=487");
    rig.answers(&bye, 200, "");
    rig.answers(&invite, 487, "");
    assert_eq!(rig.news(), None);
    assert!(rig.is_over());
}

#[test]
fn a_callee_who_answers_a_withdrawn_call_is_acknowledged_and_let_go() {
    let (mut rig, invite) = Rig::calling();
    rig.end_recall();
    rig.receives(BOB, "CANCEL");
    rig.answers(&invite, 200, OFFER);
    // S-07
    let ack = rig.receives(BOB, "ACK");
    assert_eq!(ack.line("m="), "m=audio 0 RTP/AVP 8");
    assert_eq!(rig.receives(BOB, "BYE").field("Reason"), "");
    assert_eq!(rig.news(), None);
}
