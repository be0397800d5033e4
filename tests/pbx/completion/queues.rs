//! Queues before the scripted PBX: who is called back when, and what completes a request.
//!
//! Spec: RULES R2, R9, R10, R21.

use std::time::Duration;

use super::{
    COMPLETED, LISTENS, LONG_GUARD, before_each, dials, dials_anew, dials_as_told, ends,
    is_recalled, is_refused, registered, rings_back, talk, tells,
};
use crate::pbx::switches::Voicemail;

/// Whoever lets his phone ring is soon called again.
const PATIENT: &str = "completion.ring = \"1s\"\ncompletion.rest = \"300ms\"\n";

#[test]
fn two_callers_are_called_back_in_their_order() {
    before_each("in_order", 31, "", |mut scene| {
        let mut dave = registered(&scene.office, "dave", 14);
        let call = scene.bob_talks();
        scene.alice_waits();
        is_refused(&mut dave, &mut scene.bob, 486);
        dials(&mut dave, "*37%23");
        scene.bob_is_free(call);
        let mut recall = is_recalled(&mut scene.alice);
        let call = dials_anew(&mut scene.alice, &mut scene.bob, &mut recall);
        dave.stays_quiet(LISTENS);
        ends(call, &mut scene.alice, &mut scene.bob);
        let mut recall = is_recalled(&mut dave);
        let call = dials_anew(&mut dave, &mut scene.bob, &mut recall);
        ends(call, &mut dave, &mut scene.bob);
        let counts = [("accepted", 2), ("recalled", 2), ("completed", 2)];
        scene.close_with([dave], &counts);
    });
}

/// CC-21: who is on a call is passed over, and is first again when he has hung up.
#[test]
fn a_caller_on_another_call_keeps_his_place() {
    before_each("suspended", 32, "", |mut scene| {
        let [mut dave, mut erin] =
            [("dave", 14), ("erin", 16)].map(|(user, at)| registered(&scene.office, user, at));
        let call = scene.bob_talks();
        scene.alice_waits();
        is_refused(&mut dave, &mut scene.bob, 486);
        dials(&mut dave, "*37%23");
        let with_erin = talk(&mut erin, &mut scene.alice, "alice");
        scene.bob_is_free(call);
        let mut recall = is_recalled(&mut dave);
        let call = dials_anew(&mut dave, &mut scene.bob, &mut recall);
        ends(with_erin, &mut erin, &mut scene.alice);
        scene.alice.stays_quiet(LISTENS);
        ends(call, &mut dave, &mut scene.bob);
        scene.alice_is_connected();
        let counted = scene.office.campon().counted();
        let recalled = counted
            .iter()
            .find(|(name, _)| name == "completions_recalled");
        assert!(
            recalled.is_some_and(|(_, count)| *count >= 2),
            "{counted:?}"
        );
        let recalled = recalled.map_or(0, |(_, count)| *count);
        let counts = [("accepted", 2), ("recalled", recalled), ("completed", 2)];
        scene.close_with([dave, erin], &counts);
    });
}

#[test]
fn a_recall_that_nobody_hears_comes_again() {
    before_each("ignored", 33, PATIENT, |mut scene| {
        let call = scene.bob_talks();
        scene.alice_waits();
        scene.bob_is_free(call);
        let ignored = rings_back(&mut scene.alice);
        scene.alice.see_cancelled(&ignored);
        scene.alice_is_connected();
        scene.close(&[("accepted", 1), ("recalled", 2), ("completed", 1)]);
    });
}

/// R2: busy again is no end, but a new edge has to be seen.
#[test]
fn a_callee_who_is_busy_again_is_waited_for_again() {
    before_each("busy_again", 34, "", |mut scene| {
        let call = scene.bob_talks();
        scene.alice_waits();
        scene.bob_is_free(call);
        let mut recall = is_recalled(&mut scene.alice);
        let mut out = dials_as_told(&mut scene.alice, &mut recall);
        let again = scene.bob.called();
        scene.bob.tell(&again, 486, "Busy Here");
        scene.alice.hear(&mut out, 486);
        let news = ("terminated", "SIP/2.0 486 Busy Here\r\n");
        tells(&mut scene.alice, &mut recall.dialog, news);
        scene.alice.agree(&mut recall.dialog, "BYE");
        scene.alice.stays_quiet(LISTENS);
        let call = scene.bob_talks();
        scene.bob_is_free(call);
        scene.alice_is_connected();
        scene.close(&[("accepted", 1), ("recalled", 2), ("completed", 1)]);
    });
}

/// R2: a phone that is busy without a call does not want any, and is not rung all the time.
#[test]
fn who_does_not_want_to_be_disturbed_is_left_alone_until_he_talks() {
    before_each("do_not_disturb", 35, "", |mut scene| {
        scene.alice_waits();
        scene.alice.stays_quiet(LISTENS);
        let call = scene.bob_talks();
        scene.bob_is_free(call);
        scene.alice_is_connected();
        scene.close(COMPLETED);
    });
}

/// R9: Alice hears the mailbox, the call stays, and so does her place.
#[test]
fn a_recall_that_the_mailbox_answers_completes_nothing() {
    before_each("mailbox_again", 36, "", |mut scene| {
        let call = scene.bob_talks();
        scene.alice_waits();
        scene.bob_is_free(call);
        let mut recall = is_recalled(&mut scene.alice);
        let soon = Voicemail::After(Duration::from_millis(300));
        let pbx = &scene.office.pbx;
        pbx.set(move |switches| switches.voicemail = soon);
        let mut out = dials_as_told(&mut scene.alice, &mut recall);
        let silent = scene.bob.ring();
        scene.alice.hear(&mut out, 180);
        scene.bob.see_cancelled(&silent);
        scene.alice.hear(&mut out, 200);
        tells(
            &mut scene.alice,
            &mut recall.dialog,
            ("terminated", "SIP/2.0 200 OK\r\n"),
        );
        scene.alice.agree(&mut recall.dialog, "BYE");
        scene.alice.hang_up(&mut out.dialog);
        pbx.set(|switches| switches.voicemail = Voicemail::Never);
        let call = scene.bob_talks();
        scene.bob_is_free(call);
        scene.alice_is_connected();
        scene.close(&[("accepted", 1), ("recalled", 2), ("completed", 1)]);
    });
}

#[test]
fn a_callee_who_rings_back_first_completes_the_request() {
    before_each("rings_back", 37, LONG_GUARD, |mut scene| {
        let call = scene.bob_talks();
        scene.alice_waits();
        scene.bob_is_free(call);
        let call = talk(&mut scene.bob, &mut scene.alice, "alice");
        ends(call, &mut scene.bob, &mut scene.alice);
        scene.close(&[("accepted", 1), ("completed", 1)]);
    });
}

#[test]
fn a_caller_who_reaches_the_callee_by_hand_completes_the_request() {
    before_each("by_hand", 38, LONG_GUARD, |mut scene| {
        let call = scene.bob_talks();
        scene.alice_waits();
        scene.bob_is_free(call);
        let call = talk(&mut scene.alice, &mut scene.bob, "bob");
        ends(call, &mut scene.alice, &mut scene.bob);
        scene.close(&[("accepted", 1), ("completed", 1)]);
    });
}
