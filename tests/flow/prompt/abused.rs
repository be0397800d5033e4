//! Callers who do at any moment what nobody expects: each call ends, and its port is free.
//!
//! Spec: RFC 3261 §9, §14.2, §15; RFC 3262 §3; RFC 3311 §5.2; RULES R16.

use super::*;

impl Asked {
    fn dialog(&self) -> Dialog {
        Dialog::of_caller(&self.sent, &self.progress)
    }

    /// Alice hangs up before anything was answered.
    #[track_caller]
    fn is_given_up(&self) {
        self.alice.gives_up(&self.sent);
        self.room_closes();
    }

    /// A request within the dialog of the prompt has failed.
    #[track_caller]
    fn is_refused(&self, status: &str) {
        let answer = self.alice.receives(status);
        assert_eq!(answer.tag_of_to(), self.progress.tag_of_to());
    }
}

#[test]
fn who_hangs_up_while_he_hears_the_tone_is_called_back_all_the_same() {
    let asked = Asked::new();
    asked.presses(Digit::D5);
    let next = asked.world.next_sound();
    assert!(matches!(next, Some(Command::Play { .. })), "{next:?}");
    asked.is_given_up();
    asked.is_called_back();
}

#[test]
fn who_hangs_up_while_he_hears_music_waits_no_longer() {
    let asked = Asked::new();
    asked.waits();
    asked.is_given_up();
    asked.comes_to_nothing();
}

#[test]
fn who_hangs_up_while_his_callee_rings_leaves_nothing() {
    let asked = Asked::new();
    asked.waits();
    let rings = asked.bob_is_rung();
    asked.bob.answers(&rings, 180);
    asked.alice.receives("180");
    asked.hears_more();
    asked.alice.cancels(&asked.sent);
    asked.alice.receives("200");
    let cancel = asked.bob.receives("CANCEL");
    asked.bob.answers(&cancel, 200);
    asked.bob.refuses(&rings, 487);
    let ended = asked.alice.receives("487");
    asked.alice.acks(&asked.sent, &ended);
    asked.room_closes();
    asked.is_quiet();
}

/// RFC 3261 §15: a caller may end an early dialog by BYE.
#[test]
fn who_ends_the_dialog_of_the_prompt_by_bye_has_given_up() {
    let asked = Asked::new();
    asked.alice.hangs_up(&asked.dialog());
    let [_, ended] = asked.alice.receives_each(["200", "487"]);
    asked.alice.acks(&asked.sent, &ended);
    asked.room_closes();
    asked.comes_to_nothing();
}

/// RFC 3261 §14.2: the first INVITE is not answered yet.
#[test]
fn an_invite_within_the_dialog_of_the_prompt_changes_nothing() {
    let asked = Asked::new();
    let again = asked
        .alice
        .sends(reinvite(&asked.dialog()).with_sdp(&OFFER.replace("40000", "40002")));
    refused(&asked.alice, &again, "500");
    asked.presses(Digit::D5);
    asked.hears_a_tone();
    asked.ends_busy();
    asked.is_called_back();
}

/// RFC 3311 §5.2: what it offers is not acceptable while the prompt is heard.
#[test]
fn an_update_within_the_dialog_of_the_prompt_changes_nothing() {
    let asked = Asked::new();
    let moved = OFFER.replace("40000", "40002");
    asked
        .alice
        .sends(within(&asked.dialog(), "UPDATE").with_sdp(&moved));
    asked.is_refused("488");
    assert!(asked.world.next_sound().is_none());
    asked.world.advance(LASTS);
    asked.ends_busy();
    asked.comes_to_nothing();
}

/// RFC 3262 §3: what is said reliably comes again, and is over with the call.
#[test]
fn who_acknowledges_nothing_that_is_said_reliably_gets_his_failure() {
    let asked = Asked::with(|draft| draft.with("Supported", "100rel"));
    assert!(!asked.progress.header("RSeq").is_empty());
    asked.world.advance(LASTS);
    let mut finals = 0;
    while asked.alice.waiting() > 0 {
        let told = asked.alice.receives_any();
        if told.start().contains(" 486 ") {
            asked.alice.acks(&asked.sent, &told);
            finals += 1;
        } else {
            assert_eq!(told.header("RSeq"), asked.progress.header("RSeq"));
        }
    }
    assert_eq!(finals, 1);
    asked.room_closes();
    asked.comes_to_nothing();
}
