//! The digit that leaves a text: the first one, or the one that is chosen by a second digit.
//!
//! Spec: TAPI `LINECALLCOMPLMODE_MESSAGE`; RFC 3428 §4; RULES R16, R23.

use super::*;

impl Asked {
    /// The text is on its way to Bob, who takes it.
    #[track_caller]
    fn bob_reads(&self, text: &str) {
        let message = self.bob.receives("MESSAGE");
        assert_eq!(message.sdp(), text);
        self.bob.answers(&message, 200);
    }
}

#[test]
fn four_leaves_the_first_text_where_none_was_recorded() {
    let asked = Asked::of(Setup::PromptingTexts);
    asked.presses(Digit::D4);
    asked.bob_reads("alice: please call back");
    asked.hears_a_tone();
    asked.ends_busy();
    asked.comes_to_nothing();
}

#[test]
fn who_hears_the_texts_chooses_by_a_second_digit() {
    let asked = Asked::of(Setup::PromptingChoice);
    asked.presses(Digit::D4);
    asked.hears_more();
    // None of the texts, and a digit that meant something before.
    asked.presses(Digit::D5);
    asked.presses(Digit::Hash);
    assert!(asked.world.next_sound().is_none());
    asked.world.advance(LASTS.saturating_sub(MOMENT));
    asked.presses(Digit::D1);
    asked.bob_reads("alice: it is urgent");
    asked.hears_a_tone();
    asked.ends_busy();
    asked.comes_to_nothing();
}

#[test]
fn who_chooses_no_text_leaves_none_and_gets_his_failure() {
    let asked = Asked::of(Setup::PromptingChoice);
    asked.presses(Digit::D4);
    asked.hears_more();
    asked.world.advance(LASTS);
    asked.ends_busy();
    asked.comes_to_nothing();
}

#[test]
fn a_text_may_be_left_for_who_does_not_answer_and_is_there_again() {
    let world = World::new(Setup::PromptingTexts);
    let [alice, bob] = ["alice", "bob"].map(|name| world.phone(name));
    let sent = alice.sends(invite("bob").with_sdp(OFFER));
    let rings = bob.receives("INVITE");
    bob.answers(&rings, 180);
    alice.receives("180");
    bob.refuses(&rings, 480);
    alice.receives("183");
    let (room, _) = world.opens();
    world.hears(room, News::Digit(Digit::D4));
    let message = bob.receives("MESSAGE");
    assert_eq!(message.sdp(), "alice: please call back");
    bob.answers(&message, 200);
    world.hears(room, News::PlayedOut);
    refused(&alice, &sent, "480");
}

/// What cannot be done is not said, and its digit does nothing.
#[test]
fn who_withholds_his_number_is_not_asked_for_a_text() {
    let world = World::new(Setup::PromptingTexts);
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| world.phone(name));
    let talk = call(&carol, &bob);
    let sent = alice.sends(invite("bob").with_sdp(OFFER).with("Privacy", "id"));
    alice.receives("183");
    let (room, _) = world.opens();
    world.hears(room, News::Digit(Digit::D4));
    assert!(world.next_sound().is_none());
    world.advance(LASTS);
    refused(&alice, &sent, "486");
    hang_up(&carol, &talk.caller, &bob);
}
