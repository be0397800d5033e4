//! Provisional responses that the caller acknowledges, and every way in which that can go wrong.
//!
//! Spec: RFC 3262 §3, §5; RFC 3311 §5.2.

use std::time::Duration;

use super::kit::dialog::Dialog;
use super::kit::draft::{ANSWER, Draft, OFFER, in_dialog, invite, options, response, within};
use super::kit::message::Message;
use super::kit::party::{Party, assert_came_at};
use super::kit::scenes::{bob_with_two_phones, call, gives_in, hang_up, refused, two_phones};
use super::kit::world::World;

/// A call of a caller who takes reliable responses, in which Bob has said nothing yet.
#[track_caller]
fn offered_by(alice: &Party, bob: &Party, draft: Draft) -> (Message, Message) {
    let sent = alice.sends(draft.with_sdp(OFFER));
    (sent, bob.receives("INVITE"))
}

#[track_caller]
fn offered(alice: &Party, bob: &Party) -> (Message, Message) {
    offered_by(alice, bob, invite("bob").with("Supported", "100rel"))
}

/// A call that rings, reliably for the caller, who has not acknowledged it.
struct Told {
    sent: Message,
    invite: Message,
    /// As the caller got it.
    rings: Message,
    /// The caller's end of the early dialog.
    early: Dialog,
}

#[track_caller]
fn told(alice: &Party, bob: &Party, draft: impl FnOnce(&Message) -> Draft) -> Told {
    let (sent, invite) = offered(alice, bob);
    let rings = bob.sends(draft(&invite));
    let rings = alice.receives(rings.kind());
    assert!(is_reliable(&rings), "{rings}");
    let early = Dialog::of_caller(&sent, &rings);
    Told {
        sent,
        invite,
        rings,
        early,
    }
}

fn rings(invite: &Message) -> Draft {
    response(invite, 180)
}

fn has_early_media(invite: &Message) -> Draft {
    response(invite, 183).with_sdp(ANSWER)
}

pub(super) fn is_reliable(response: &Message) -> bool {
    let is_required = response.lists("Require", "100rel");
    assert_eq!(is_required, response.has("RSeq"), "{response}");
    is_required
}

pub(super) fn rseq(response: &Message) -> u32 {
    response.header("RSeq").parse().expect("a number")
}

fn rack(response: &Message) -> String {
    format!("{} {}", rseq(response), response.header("CSeq"))
}

pub(super) fn prack(early: &Dialog, of: &Message) -> Draft {
    within(early, "PRACK").with("RAck", &rack(of))
}

/// The caller acknowledges a response, and campon says that this is well.
#[track_caller]
pub(super) fn acknowledges(alice: &Party, early: &Dialog, of: &Message) {
    alice.sends(prack(early, of));
    let answer = alice.receives("200");
    assert_eq!(answer.cseq_method(), "PRACK");
}

/// Bob's phone is answered, Alice hears it, and hangs up within the dialog in which it rang.
#[track_caller]
fn answered(alice: &Party, bob: &Party, told: &Told) {
    bob.sends(response(&told.invite, 200).with_sdp(ANSWER));
    talk(alice, bob, told);
}

/// Alice has the answer, acknowledges it, and hangs up within the dialog in which it rang.
#[track_caller]
fn talk(alice: &Party, bob: &Party, told: &Told) {
    let answer = alice.receives("200");
    assert_eq!(answer.cseq_method(), "INVITE");
    assert_eq!(answer.tag_of_to(), told.rings.tag_of_to());
    alice.acks(&told.sent, &answer);
    bob.receives("ACK");
    hang_up(alice, &told.early, bob);
}

#[track_caller]
fn ends(alice: &Party, bob: &Party, told: &Told) {
    bob.refuses(&told.invite, 486);
    refused(alice, &told.sent, "486");
}

fn after(world: &World, ms: u64) {
    world.advance(Duration::from_millis(ms));
}

#[test]
fn a_caller_acknowledges_ringing_and_the_callee_hears_nothing_of_it() {
    let (_world, alice, bob) = two_phones();
    let told = told(&alice, &bob, rings);
    // S-50
    assert!(told.rings.lists("Require", "100rel"));
    acknowledges(&alice, &told.early, &told.rings);
    bob.receives_nothing();
    answered(&alice, &bob, &told);
}

#[test]
fn each_leg_has_its_own_reliability() {
    let (_world, alice, bob) = two_phones();
    let draft = invite("bob").with("Supported", "timer, 100rel");
    let (sent, invite) = offered_by(&alice, &bob, draft);
    // S-59
    assert_eq!(invite.list("Supported"), ["timer", "100rel"]);
    bob.sends(rings(&invite));
    let rings = alice.receives("180");
    assert_eq!(rings.list("Require"), ["100rel"]);
    acknowledges(&alice, &Dialog::of_caller(&sent, &rings), &rings);
    bob.receives_nothing();
    bob.refuses(&invite, 486);
    refused(&alice, &sent, "486");
}

#[test]
fn a_caller_who_does_not_ask_is_told_as_ever() {
    let (_world, alice, bob) = two_phones();
    let (sent, invite) = offered_by(&alice, &bob, invite("bob").with("Supported", "timer"));
    bob.sends(has_early_media(&invite));
    // S-51
    assert!(!is_reliable(&alice.receives("183")));
    bob.refuses(&invite, 486);
    refused(&alice, &sent, "486");
}

#[test]
fn trying_is_never_reliable() {
    let (_world, alice, bob) = two_phones();
    let (sent, invite) = offered_by(&alice, &bob, invite("bob").with("Require", "100rel"));
    // S-51
    assert!(!is_reliable(&alice.receives("100")));
    bob.answers(&invite, 100);
    alice.receives_nothing();
    bob.refuses(&invite, 486);
    refused(&alice, &sent, "486");
}

#[test]
fn a_caller_may_require_reliable_responses_of_campon_but_not_of_the_callee() {
    let (_world, alice, bob) = two_phones();
    let draft = invite("bob").with("Require", "100rel, timer");
    let (sent, invite) = offered_by(&alice, &bob, draft);
    assert!(!invite.has("Require"));
    bob.answers(&invite, 180);
    let rings = alice.receives("180");
    // S-50
    assert!(is_reliable(&rings));
    acknowledges(&alice, &Dialog::of_caller(&sent, &rings), &rings);
    bob.refuses(&invite, 486);
    refused(&alice, &sent, "486");
}

#[test]
fn ringing_that_got_lost_comes_again_until_it_is_acknowledged() {
    let (world, alice, bob) = two_phones();
    let told = told(&alice, &bob, rings);
    after(&world, 4000);
    let again = alice.receives_copies("180");
    // S-53
    assert_came_at(&again, told.rings.at, &[500, 1500, 3500]);
    assert!(again.iter().all(|copy| copy.raw == told.rings.raw));
    acknowledges(&alice, &told.early, &told.rings);
    after(&world, 60_000);
    alice.receives_nothing();
    answered(&alice, &bob, &told);
}

#[test]
fn early_media_on_a_stream_comes_again_as_well() {
    let (world, _, bob) = two_phones();
    let alice = world.party_over_tcp("alice");
    let told = told(&alice, &bob, has_early_media);
    after(&world, 1600);
    // S-53
    assert_came_at(&alice.receives_copies("183"), told.rings.at, &[500, 1500]);
    acknowledges(&alice, &told.early, &told.rings);
    ends(&alice, &bob, &told);
}

#[test]
fn an_acknowledgement_whose_answer_got_lost_is_answered_again() {
    let (world, alice, bob) = two_phones();
    let told = told(&alice, &bob, rings);
    let prack = alice.sends(prack(&told.early, &told.rings));
    let first = alice.receives("200");
    after(&world, 500);
    alice.sends_again(&prack);
    // S-54
    assert_eq!(alice.receives("200").raw, first.raw);
    ends(&alice, &bob, &told);
}

#[test]
fn a_caller_who_never_acknowledges_is_given_up_and_the_phone_falls_silent() {
    let (world, alice, bob) = two_phones();
    let told = told(&alice, &bob, rings);
    after(&world, 31_900);
    assert_eq!(alice.receives_copies("180").len(), 6);
    bob.receives_nothing();
    after(&world, 200);
    gives_in(&bob, &told.invite);
    // S-53
    refused(&alice, &told.sent, "504");
}

#[test]
fn an_acknowledgement_of_something_else_is_refused_and_the_ringing_repeated() {
    let (world, alice, bob) = two_phones();
    let told = told(&alice, &bob, rings);
    let (rseq, cseq) = (rseq(&told.rings), told.sent.cseq());
    let wrong = [
        format!("{} {cseq} INVITE", rseq + 1),
        format!("{} {cseq} INVITE", rseq - 1),
        format!("{rseq} {} INVITE", cseq + 1),
        format!("{rseq} {cseq} UPDATE"),
    ];
    for rack in wrong {
        alice.sends(within(&told.early, "PRACK").with("RAck", &rack));
        // S-54
        alice.receives("481");
    }
    after(&world, 600);
    assert_eq!(alice.receives_copies("180").len(), 1);
    acknowledges(&alice, &told.early, &told.rings);
    answered(&alice, &bob, &told);
}

#[test]
fn a_second_acknowledgement_of_the_same_matches_nothing() {
    let (_world, alice, bob) = two_phones();
    let told = told(&alice, &bob, rings);
    acknowledges(&alice, &told.early, &told.rings);
    alice.sends(prack(&told.early, &told.rings));
    // S-54
    alice.receives("481");
    answered(&alice, &bob, &told);
}

#[test]
fn an_acknowledgement_that_names_nothing_is_malformed() {
    let (_world, alice, bob) = two_phones();
    let told = told(&alice, &bob, rings);
    alice.sends(within(&told.early, "PRACK"));
    alice.receives("400");
    alice.sends(within(&told.early, "PRACK").with("RAck", "1 INVITE"));
    alice.receives("400");
    acknowledges(&alice, &told.early, &told.rings);
    ends(&alice, &bob, &told);
}

#[test]
fn an_acknowledgement_that_was_overtaken_is_refused() {
    let (_world, alice, bob) = two_phones();
    let told = told(&alice, &bob, rings);
    let cseq = told.sent.cseq();
    let late = in_dialog(&told.early, "PRACK", cseq);
    alice.sends(late.with("RAck", &rack(&told.rings)));
    // S-14
    alice.receives("500");
    acknowledges(&alice, &told.early, &told.rings);
    ends(&alice, &bob, &told);
}

#[test]
fn a_request_of_the_call_comes_after_the_acknowledgements_before_it() {
    let (_world, alice, bob) = two_phones();
    let told = told(&alice, &bob, rings);
    acknowledges(&alice, &told.early, &told.rings);
    bob.sends(response(&told.invite, 200).with_sdp(ANSWER));
    let answer = alice.receives("200");
    alice.acks(&told.sent, &answer);
    bob.receives("ACK");
    alice.sends(in_dialog(&told.early, "INFO", told.sent.cseq() + 1));
    // S-14
    alice.receives("500");
    bob.receives_nothing();
    hang_up(&alice, &told.early, &bob);
}

#[test]
fn an_outsider_acknowledges_nothing() {
    let (world, alice, bob) = two_phones();
    let mallory = world.party("mallory");
    let told = told(&alice, &bob, rings);
    let forged = prack(&told.early, &told.rings);
    mallory.sends(forged.with_only("From", "<sip:alice@192.0.2.1>;tag=guessed"));
    // S-54
    mallory.receives("481");
    after(&world, 600);
    assert_eq!(alice.receives_copies("180").len(), 1);
    acknowledges(&alice, &told.early, &told.rings);
    ends(&alice, &bob, &told);
}

#[test]
fn the_next_response_waits_for_the_acknowledgement_and_has_the_next_number() {
    let (_world, alice, bob) = two_phones();
    let told = told(&alice, &bob, rings);
    bob.sends(has_early_media(&told.invite));
    bob.sends(response(&told.invite, 182).phrased("In line"));
    // S-52
    alice.receives_nothing();
    acknowledges(&alice, &told.early, &told.rings);
    let media = alice.receives("183");
    assert_eq!(media.sdp(), ANSWER);
    assert_eq!(rseq(&media), rseq(&told.rings) + 1);
    alice.receives_nothing();
    acknowledges(&alice, &told.early, &media);
    let queued = alice.receives("182");
    assert_eq!(queued.phrase(), "In line");
    assert_eq!(rseq(&queued), rseq(&media) + 1);
    acknowledges(&alice, &told.early, &queued);
    answered(&alice, &bob, &told);
}

#[test]
fn an_answer_waits_until_the_caller_has_the_early_media() {
    let (world, alice, bob) = two_phones();
    let told = told(&alice, &bob, has_early_media);
    let answered = bob.sends(response(&told.invite, 200).with_sdp(ANSWER));
    after(&world, 400);
    bob.sends_again(&answered);
    // S-55
    alice.receives_nothing();
    bob.receives_nothing();
    acknowledges(&alice, &told.early, &told.rings);
    talk(&alice, &bob, &told);
}

#[test]
fn what_rings_on_behind_an_answer_that_waits_is_not_heard() {
    let (_world, alice, bob) = two_phones();
    let told = told(&alice, &bob, has_early_media);
    bob.sends(response(&told.invite, 200).with_sdp(ANSWER));
    bob.sends(rings(&told.invite).tagged("late"));
    acknowledges(&alice, &told.early, &told.rings);
    // S-55
    talk(&alice, &bob, &told);
}

#[test]
fn an_answer_does_not_wait_for_ringing_that_may_still_be_acknowledged() {
    let (world, alice, bob) = two_phones();
    let told = told(&alice, &bob, rings);
    let answered = bob.sends(response(&told.invite, 200).with_sdp(ANSWER));
    let answer = alice.receives("200");
    alice.acks(&told.sent, &answer);
    bob.receives("ACK");
    // S-54
    acknowledges(&alice, &told.early, &told.rings);
    after(&world, 60_000);
    alice.receives_nothing();
    hang_up(&bob, &Dialog::of_callee(&told.invite, &answered), &alice);
}

#[test]
fn an_answer_that_the_caller_never_may_have_is_hung_up() {
    let (world, alice, bob) = two_phones();
    let told = told(&alice, &bob, has_early_media);
    bob.sends(response(&told.invite, 200).with_sdp(ANSWER));
    after(&world, 31_900);
    alice.receives_copies("183");
    after(&world, 200);
    // S-53
    refused(&alice, &told.sent, "504");
    // S-07
    bob.receives("ACK");
    bob.is_hung_up_on();
}

#[test]
fn a_refusal_does_not_wait_and_ends_the_repetition() {
    let (world, alice, bob) = two_phones();
    let told = told(&alice, &bob, has_early_media);
    ends(&alice, &bob, &told);
    after(&world, 40_000);
    // S-53
    alice.receives_nothing();
}

#[test]
fn a_call_with_unacknowledged_ringing_is_taken_back() {
    let (world, alice, bob) = two_phones();
    let told = told(&alice, &bob, rings);
    alice.gives_up(&told.sent);
    // S-54: its acknowledgement may have crossed.
    acknowledges(&alice, &told.early, &told.rings);
    gives_in(&bob, &told.invite);
    after(&world, 40_000);
    alice.receives_nothing();
}

#[test]
fn a_call_whose_answer_waits_is_taken_back_and_hung_up() {
    let (_world, alice, bob) = two_phones();
    let told = told(&alice, &bob, has_early_media);
    bob.sends(response(&told.invite, 200).with_sdp(ANSWER));
    alice.gives_up(&told.sent);
    // S-07
    bob.receives("ACK");
    bob.is_hung_up_on();
}

#[test]
fn a_bye_after_the_acknowledgement_takes_the_call_back() {
    let (_world, alice, bob) = two_phones();
    let told = told(&alice, &bob, rings);
    acknowledges(&alice, &told.early, &told.rings);
    alice.leaves(&told.early);
    gives_in(&bob, &told.invite);
    refused(&alice, &told.sent, "487");
}

#[test]
fn hanging_up_ends_a_call_whose_answer_waits() {
    let (world, alice, bob) = two_phones();
    let told = told(&alice, &bob, has_early_media);
    bob.sends(response(&told.invite, 200).with_sdp(ANSWER));
    world.hangs_up();
    // S-07
    bob.receives("ACK");
    bob.is_hung_up_on();
    refused(&alice, &told.sent, "503");
}

#[test]
fn forks_have_numbers_of_their_own() {
    let (_world, alice, desk, cell) = bob_with_two_phones();
    let draft = invite("bob").with("Require", "100rel");
    let sent = alice.sends(draft.with_sdp(OFFER));
    let (at_desk, at_cell) = (desk.receives("INVITE"), cell.receives("INVITE"));
    desk.answers(&at_desk, 180);
    cell.answers(&at_cell, 180);
    let rings = [alice.receives("180"), alice.receives("180")];
    let [by_desk, by_cell] = rings
        .each_ref()
        .map(|rings| Dialog::of_caller(&sent, rings));
    let [desk_rings, cell_rings] = &rings;
    alice.sends(prack(&by_desk, cell_rings));
    // S-54
    alice.receives("481");
    acknowledges(&alice, &by_desk, desk_rings);
    acknowledges(&alice, &by_cell, cell_rings);
    desk.answers(&at_desk, 183);
    let more = alice.receives("183");
    // S-52
    assert_eq!(rseq(&more), rseq(desk_rings) + 1);
    acknowledges(&alice, &by_desk, &more);
    cell.sends(response(&at_cell, 200).with_sdp(ANSWER));
    let answer = alice.receives("200");
    gives_in(&desk, &at_desk);
    alice.acks(&sent, &answer);
    cell.receives("ACK");
    // S-14: each fork counts apart, so this number was used in the other one already.
    hang_up(&alice, &by_cell, &cell);
}

/// Some callers follow one row of numbers whatever the tag, and wait in vain for another to go on.
#[test]
fn only_the_first_fork_is_reliable_for_a_caller_who_does_not_insist() {
    let (world, alice, desk, cell) = bob_with_two_phones();
    let draft = invite("bob").with("Supported", "100rel");
    let sent = alice.sends(draft.with_sdp(OFFER));
    let (at_desk, at_cell) = (desk.receives("INVITE"), cell.receives("INVITE"));
    desk.answers(&at_desk, 180);
    cell.answers(&at_cell, 180);
    let (desk_rings, cell_rings) = (alice.receives("180"), alice.receives("180"));
    assert!(is_reliable(&desk_rings) && !is_reliable(&cell_rings));
    acknowledges(&alice, &Dialog::of_caller(&sent, &desk_rings), &desk_rings);
    after(&world, 40_000);
    alice.receives_nothing();
    cell.sends(response(&at_cell, 200).with_sdp(ANSWER));
    let answer = alice.receives("200");
    gives_in(&desk, &at_desk);
    alice.acks(&sent, &answer);
    cell.receives("ACK");
    hang_up(&alice, &Dialog::of_caller(&sent, &answer), &cell);
}

#[test]
fn the_ringing_of_a_fork_that_lost_may_still_be_acknowledged() {
    let (_world, alice, desk, cell) = bob_with_two_phones();
    let draft = invite("bob").with("Supported", "100rel");
    let sent = alice.sends(draft.with_sdp(OFFER));
    let (at_desk, at_cell) = (desk.receives("INVITE"), cell.receives("INVITE"));
    desk.answers(&at_desk, 180);
    let rings = alice.receives("180");
    cell.sends(response(&at_cell, 200).with_sdp(ANSWER));
    let answer = alice.receives("200");
    gives_in(&desk, &at_desk);
    alice.acks(&sent, &answer);
    cell.receives("ACK");
    // S-54
    acknowledges(&alice, &Dialog::of_caller(&sent, &rings), &rings);
    hang_up(&alice, &Dialog::of_caller(&sent, &answer), &cell);
}

#[test]
fn a_decline_elsewhere_does_not_end_a_call_whose_answer_waits() {
    let (_world, alice, desk, cell) = bob_with_two_phones();
    let draft = invite("bob").with("Supported", "100rel");
    let sent = alice.sends(draft.with_sdp(OFFER));
    let (at_desk, at_cell) = (desk.receives("INVITE"), cell.receives("INVITE"));
    desk.sends(has_early_media(&at_desk));
    let rings = alice.receives("183");
    desk.sends(response(&at_desk, 200).with_sdp(ANSWER));
    cell.refuses(&at_cell, 603);
    // S-55
    alice.receives_nothing();
    let early = Dialog::of_caller(&sent, &rings);
    acknowledges(&alice, &early, &rings);
    let answer = alice.receives("200");
    alice.acks(&sent, &answer);
    desk.receives("ACK");
    hang_up(&alice, &early, &desk);
}

#[test]
fn a_caller_who_waits_for_an_offer_is_told_as_ever() {
    let (_world, alice, bob) = two_phones();
    let sent = alice.sends(invite("bob").with("Supported", "100rel"));
    let invite = bob.receives("INVITE");
    bob.answers(&invite, 180);
    bob.sends(response(&invite, 183).with_sdp(ANSWER));
    assert!(!is_reliable(&alice.receives("180")));
    assert!(!is_reliable(&alice.receives("183")));
    bob.refuses(&invite, 486);
    refused(&alice, &sent, "486");
}

#[test]
fn an_offer_in_an_acknowledgement_is_refused_with_the_reason() {
    let (world, alice, bob) = two_phones();
    let told = told(&alice, &bob, has_early_media);
    alice.sends(prack(&told.early, &told.rings).with_sdp(OFFER));
    let refusal = alice.receives("488");
    assert!(
        refusal
            .header("Warning")
            .contains("before the callee answers")
    );
    bob.receives_nothing();
    after(&world, 40_000);
    // S-53: that the response has come is known all the same.
    alice.receives_nothing();
    // S-54
    acknowledges(&alice, &told.early, &told.rings);
    answered(&alice, &bob, &told);
}

#[test]
fn an_update_before_the_answer_is_refused_and_the_call_goes_on() {
    let (_world, alice, bob) = two_phones();
    let told = told(&alice, &bob, has_early_media);
    acknowledges(&alice, &told.early, &told.rings);
    alice.sends(within(&told.early, "UPDATE").with_sdp(OFFER));
    let refusal = alice.receives("488");
    assert!(
        refusal
            .header("Warning")
            .contains("before the callee answers")
    );
    bob.receives_nothing();
    answered(&alice, &bob, &told);
}

#[test]
fn a_change_of_the_call_is_never_told_reliably() {
    let (_world, alice, bob) = two_phones();
    let call = call(&alice, &bob);
    let change = within(&call.caller, "INVITE").with("Require", "100rel");
    let sent = alice.sends(change.with_sdp(OFFER));
    let invite = bob.receives("INVITE");
    bob.answers(&invite, 180);
    // S-50: so it is told nothing until the answer.
    alice.receives_nothing();
    bob.takes_call(&invite, &alice, &sent);
    hang_up(&alice, &call.caller, &bob);
}

#[test]
fn campon_says_that_it_has_reliable_responses() {
    let (_world, alice, _bob) = two_phones();
    alice.sends(options());
    let answer = alice.receives("200");
    assert!(answer.lists("Supported", "100rel"));
    // S-36
    assert!(answer.lists("Allow", "PRACK"));
}
