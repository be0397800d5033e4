//! The callee's offer goes to the caller, and his answer back.

use super::rig::{ALICE, ANSWER, BOB, OFFER, Rig};
use crate::call::Outcome;
use crate::call::recall::{News, Refusal};
use crate::sip::Status;

/// What the owner is told when it was not the callee who refused.
const IN_VAIN: Option<News> = Some(News::CcCallFailed(None));

#[test]
fn the_callees_offer_is_put_to_the_caller_as_a_change_of_our_session() {
    let (rig, _, change) = Rig::offering();
    // S-14
    assert_eq!(change.field("CSeq"), "2 INVITE");
    assert_eq!(change.line("m="), "m=audio 4000 RTP/AVP 8");
    assert!(change.line("o=- ").ends_with(" 2 IN IP4 192.0.2.100"));
    assert_eq!(change.field("Contact"), "<sip:192.0.2.100:5060>");
    rig.is_silent();
}

#[test]
fn the_callers_answer_goes_to_the_callee_with_the_ack() {
    let (mut rig, _, change) = Rig::offering();
    rig.answers_as(&change, 200, "Require: timer\r\nServer: phone\r\n", ANSWER);
    assert_eq!(rig.receives(ALICE, "ACK").field("CSeq"), "2 ACK");
    let ack = rig.receives(BOB, "ACK");
    // S-04
    assert_eq!(ack.field("CSeq"), "1 ACK");
    assert_eq!(ack.body(), ANSWER);
    assert_eq!(ack.field("Content-Type"), "application/sdp");
    assert_eq!(ack.field("Require"), "");
    assert_eq!(rig.news(), Some(News::Answered));
    assert!(rig.call().answered().is_some());
    rig.is_silent();
}

#[test]
fn a_lost_ack_is_made_up_for_on_both_sides() {
    let (mut rig, invite, change) = Rig::offering();
    rig.answers(&change, 200, ANSWER);
    rig.receives(ALICE, "ACK");
    let ack = rig.receives(BOB, "ACK");
    // S-04
    rig.answers(&change, 200, ANSWER);
    rig.receives(ALICE, "ACK");
    rig.answers(&invite, 200, OFFER);
    assert_eq!(rig.receives(BOB, "ACK").body(), ack.body());
}

#[test]
fn the_callee_may_repeat_his_answer_while_the_caller_is_asked() {
    let (mut rig, invite, _) = Rig::offering();
    rig.answers(&invite, 200, OFFER);
    rig.is_silent();
    assert!(rig.call().is_up());
}

#[test]
fn a_change_that_is_lost_is_sent_again() {
    let (mut rig, _, _) = Rig::offering();
    rig.wait(500);
    let again = rig.receives(ALICE, "INVITE");
    rig.answers(&again, 200, ANSWER);
    rig.receives(BOB, "ACK");
    assert_eq!(rig.news(), Some(News::Answered));
}

#[test]
fn another_fork_of_the_callee_is_let_go() {
    let (mut rig, invite, change) = Rig::offering();
    rig.fork_answers(&invite, 200, OFFER);
    // S-07
    rig.receives(BOB, "ACK");
    rig.receives(BOB, "BYE");
    rig.answers(&change, 200, ANSWER);
    assert_eq!(rig.receives(BOB, "ACK").body(), ANSWER);
}

#[test]
fn an_offer_that_does_not_begin_with_audio_ends_both_calls() {
    let (mut rig, invite) = Rig::calling();
    let offer = OFFER.replace("m=audio 4000", "m=video 4002");
    rig.answers(&invite, 200, &offer);
    let ack = rig.receives(BOB, "ACK");
    assert_eq!(ack.line("m="), "m=video 0 RTP/AVP 8");
    for peer in [BOB, ALICE] {
        let bye = rig.receives(peer, "BYE");
        assert!(bye.field("Reason").starts_with("SIP;cause=488"));
        rig.answers(&bye, 200, "");
    }
    let refusal = Refusal {
        status: Status::NOT_ACCEPTABLE_HERE,
        rang: true,
        q850: None,
    };
    assert_eq!(rig.news(), Some(News::CcCallFailed(Some(refusal))));
    assert!(rig.is_over());
}

#[test]
fn an_answer_without_an_offer_ends_both_calls() {
    let (mut rig, invite) = Rig::calling();
    rig.answers(&invite, 200, "");
    assert_eq!(rig.receives(BOB, "ACK").body(), "");
    rig.receives(BOB, "BYE");
    rig.receives(ALICE, "BYE");
}

#[test]
fn a_caller_who_refuses_the_offer_ends_both_calls() {
    let (mut rig, _, change) = Rig::offering();
    rig.answers(&change, 488, "");
    rig.receives(ALICE, "ACK");
    let ack = rig.receives(BOB, "ACK");
    assert_eq!(ack.line("m="), "m=audio 0 RTP/AVP 8");
    for peer in [BOB, ALICE] {
        let bye = rig.receives(peer, "BYE");
        assert!(bye.field("Reason").starts_with("SIP;cause=488"));
        rig.answers(&bye, 200, "");
    }
    assert_eq!(rig.news(), IN_VAIN);
    assert!(rig.is_over());
}

#[test]
fn a_caller_who_answers_nothing_ends_both_calls() {
    let (mut rig, _, change) = Rig::offering();
    rig.answers(&change, 200, "");
    rig.receives(ALICE, "ACK");
    rig.receives(BOB, "ACK");
    rig.receives(BOB, "BYE");
    rig.receives(ALICE, "BYE");
    assert_eq!(rig.news(), IN_VAIN);
}

#[test]
fn a_change_that_crosses_the_callers_own_is_asked_again_once() {
    let (mut rig, _, change) = Rig::offering();
    let alice = rig.alice();
    rig.sends(&alice, "INVITE", 1, ANSWER);
    // S-18
    rig.receives(ALICE, "SIP/2.0 491");
    rig.answers(&change, 491, "");
    rig.receives(ALICE, "ACK");
    // S-19
    rig.wait(2_099);
    rig.is_silent();
    let again = rig.waits_for(ALICE, "INVITE", 1_910);
    assert_eq!(again.field("CSeq"), "3 INVITE");
    assert_eq!(again.body(), change.body());
    rig.answers(&again, 200, ANSWER);
    assert_eq!(rig.receives(BOB, "ACK").body(), ANSWER);
    assert_eq!(rig.news(), Some(News::Answered));
}

#[test]
fn a_change_that_crosses_twice_ends_both_calls() {
    let (mut rig, _, change) = Rig::offering();
    rig.answers(&change, 491, "");
    rig.receives(ALICE, "ACK");
    let again = rig.waits_for(ALICE, "INVITE", 4_000);
    rig.answers(&again, 491, "");
    rig.receives(ALICE, "ACK");
    rig.receives(ALICE, "BYE");
    rig.receives(BOB, "ACK");
    rig.receives(BOB, "BYE");
    assert_eq!(rig.news(), IN_VAIN);
}

#[test]
fn a_caller_who_says_nothing_keeps_the_callee_waiting_for_64_t1() {
    let (mut rig, _, change) = Rig::offering();
    rig.answers(&change, 100, "");
    rig.wait(31_999);
    rig.is_silent();
    rig.wait(1);
    let ack = rig.receives(BOB, "ACK");
    assert_eq!(ack.line("m="), "m=audio 0 RTP/AVP 8");
    rig.receives(BOB, "BYE");
    rig.receives(ALICE, "CANCEL");
    rig.receives(ALICE, "BYE");
    assert_eq!(rig.news(), IN_VAIN);
}

#[test]
fn an_answer_that_comes_when_all_is_over_is_acknowledged() {
    let (mut rig, _, change) = Rig::offering();
    let alice = rig.alice();
    rig.sends(&alice, "BYE", 1, "");
    rig.receives(ALICE, "SIP/2.0 200");
    rig.receives(BOB, "ACK");
    let bye = rig.receives(BOB, "BYE");
    assert_eq!(rig.news(), IN_VAIN);
    rig.answers(&bye, 200, "");
    rig.answers(&change, 200, ANSWER);
    // S-04
    assert_eq!(rig.receives(ALICE, "ACK").field("CSeq"), "2 ACK");
    rig.is_silent();
    assert!(rig.is_over());
}

#[test]
fn a_change_that_nobody_answers_any_more_leaves_nothing_behind() {
    let (mut rig, _, _) = Rig::offering();
    let alice = rig.alice();
    rig.sends(&alice, "BYE", 1, "");
    rig.wait(64_000);
    assert!(rig.is_over());
}

#[test]
fn a_callee_who_hangs_up_at_once_ends_the_call_of_the_caller() {
    let (mut rig, invite, change) = Rig::offering();
    rig.sends(&invite.answered(), "BYE", 1, "");
    rig.receives(BOB, "SIP/2.0 200");
    rig.receives(BOB, "ACK");
    rig.receives(ALICE, "BYE");
    assert_eq!(rig.news(), IN_VAIN);
    rig.answers(&change, 487, "");
    rig.receives(ALICE, "ACK");
    rig.is_silent();
}

#[test]
fn a_recall_that_ends_when_both_have_answered_lets_them_talk() {
    let (mut rig, _, change) = Rig::offering();
    rig.end_recall();
    rig.is_silent();
    rig.answers(&change, 200, ANSWER);
    rig.receives(BOB, "ACK");
    // Whoever ended it may have given up, and would ring them again.
    assert_eq!(rig.news(), Some(News::Answered));
    assert!(rig.call().answered().is_some());
}

#[test]
fn when_everything_ends_a_half_made_call_ends_too() {
    let (mut rig, _, _) = Rig::offering();
    rig.hang_up();
    rig.receives(BOB, "ACK");
    rig.receives(BOB, "BYE");
    rig.receives(ALICE, "BYE");
    assert_eq!(rig.call().outcome(), Outcome::Lost);
}

#[test]
fn what_an_application_ends_is_not_lost() {
    let (mut rig, _, _) = Rig::talking();
    rig.disconnect();
    rig.receives(BOB, "BYE");
    rig.receives(ALICE, "BYE");
    assert_eq!(rig.call().outcome(), Outcome::Disconnected);
}
