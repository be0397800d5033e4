//! The digit on busy: what the caller hears, and what becomes of what he presses.
//!
//! Spec: RULES R5, R16; RFC 3264 §6; RFC 3261 §13.3.1.1; RFC 6910 §7.1.

mod abused;
mod never;
mod texts;

use std::time::Duration;

use campon::media::desk::{Command, RoomId};
use campon::media::digit::Digit;
use campon::media::room::News;
use campon::media::trial::Trust;

use crate::flow::kit::completion::{GUARD, LONG, MOMENT, offered_uri, talks_after_recall};
use crate::flow::kit::dialog::Dialog;
use crate::flow::kit::draft::{ANSWER, OFFER, invite, reinvite, response, within};
use crate::flow::kit::message::Message;
use crate::flow::kit::party::Party;
use crate::flow::kit::scenes::{Call, call, hang_up, refused};
use crate::flow::kit::subject::Setup;
use crate::flow::kit::world::World;

/// How long a digit is waited for.
const LASTS: Duration = Duration::from_secs(20);

/// How long Bob is left alone before a call that waits rings.
const CALL_GUARD: Duration = Duration::from_secs(1);

/// Carol speaks with Bob, and Alice hears that he is busy.
struct Asked {
    world: World,
    alice: Party,
    bob: Party,
    carol: Party,
    talk: Call,
    sent: Message,
    progress: Message,
    room: RoomId,
    port: u16,
}

impl Asked {
    fn new() -> Self {
        Self::with(|draft| draft)
    }

    /// In a campon of this setup.
    fn of(setup: Setup) -> Self {
        Self::before(setup, |draft| draft)
    }

    /// The same, with an INVITE that has more in it.
    fn with(
        more: impl FnOnce(crate::flow::kit::draft::Draft) -> crate::flow::kit::draft::Draft,
    ) -> Self {
        Self::before(Setup::Prompting, more)
    }

    fn before(
        setup: Setup,
        more: impl FnOnce(crate::flow::kit::draft::Draft) -> crate::flow::kit::draft::Draft,
    ) -> Self {
        let world = World::new(setup);
        let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| world.phone(name));
        let talk = call(&carol, &bob);
        world.advance(Duration::from_secs(1));
        let sent = alice.sends(more(invite("bob").with_sdp(OFFER)));
        let progress = alice.receives("183");
        let Some(Command::Open { room, party, .. }) = world.next_sound() else {
            panic!("a room opens");
        };
        assert_eq!(party.1.remote.to_string(), "192.0.2.10:40000");
        assert_eq!(party.1.trust, Trust::Full);
        let port = party.0;
        Self {
            world,
            alice,
            bob,
            carol,
            talk,
            sent,
            progress,
            room,
            port,
        }
    }

    /// Alice gets her 486 with the offer, and what was said is over.
    #[track_caller]
    fn ends_busy(&self) -> Message {
        let busy = refused(&self.alice, &self.sent, "486");
        assert!(offered_uri(&busy).starts_with("sip:cc-"));
        self.room_closes();
        busy
    }

    #[track_caller]
    fn room_closes(&self) {
        let next = self.world.next_sound();
        assert!(
            matches!(next, Some(Command::Close { room }) if room == self.room),
            "{next:?}"
        );
        assert!(self.world.next_sound().is_none());
    }

    /// Bob hangs up, and Alice is called back.
    #[track_caller]
    fn is_called_back(&self) {
        self.bob_is_free();
        talks_after_recall(&self.alice, &self.bob);
        self.is_quiet();
    }

    /// A tone says whether it was done.
    #[track_caller]
    fn hears_a_tone(&self) {
        let next = self.world.next_sound();
        assert!(
            matches!(next, Some(Command::Play { room, .. }) if room == self.room),
            "{next:?}"
        );
        self.world.hears(self.room, News::PlayedOut);
    }

    #[track_caller]
    fn presses(&self, digit: Digit) {
        self.world.hears(self.room, News::Digit(digit));
    }

    /// Her call has a place, and she hears music.
    #[track_caller]
    fn waits(&self) {
        self.presses(Digit::D1);
        let told = self.alice.receives("182");
        // Without it phones fall silent.
        assert_eq!(told.sdp(), self.progress.sdp());
        self.hears_more();
    }

    /// Something else is played to her.
    #[track_caller]
    fn hears_more(&self) {
        let next = self.world.next_sound();
        assert!(
            matches!(next, Some(Command::Play { room, .. }) if room == self.room),
            "{next:?}"
        );
        assert!(self.world.next_sound().is_none());
    }

    /// Bob has hung up, and his phone rings.
    #[track_caller]
    fn bob_is_rung(&self) -> Message {
        self.world.advance(Duration::from_secs(1));
        hang_up(&self.carol, &self.talk.caller, &self.bob);
        self.world.advance(CALL_GUARD);
        self.bob.receives("INVITE")
    }

    /// Bob answers; the two talk and hang up.
    #[track_caller]
    fn bob_answers(&self, rings: &Message) {
        self.bob.sends(response(rings, 200).with_sdp(ANSWER));
        let answer = self.alice.receives("200");
        // R16: as from another fork.
        assert_ne!(answer.tag_of_to(), self.progress.tag_of_to());
        self.alice.acks(&self.sent, &answer);
        self.bob.receives("ACK");
        let dialog = Dialog::of_caller(&self.sent, &answer);
        hang_up(&self.alice, &dialog, &self.bob);
    }

    /// Carol and Bob have said all they had to say, and Bob was left alone.
    fn bob_is_free(&self) {
        self.world.advance(Duration::from_secs(1));
        hang_up(&self.carol, &self.talk.caller, &self.bob);
        self.world.advance(GUARD);
    }

    fn is_quiet(&self) {
        self.world.stays_quiet();
    }

    /// Bob is free, and nobody calls anybody back.
    fn comes_to_nothing(&self) {
        self.bob_is_free();
        self.is_quiet();
    }
}

#[test]
fn a_caller_of_a_busy_phone_hears_early_media_of_ours() {
    let asked = Asked::new();
    let progress = &asked.progress;
    let sdp = progress.sdp();
    let media = format!("m=audio {} RTP/AVP 0\r\nc=IN IP4 192.0.2.1\r\n", asked.port);
    assert!(sdp.contains(&media), "{sdp}");
    assert_eq!(asked.port % 2, 0);
    assert!(offered_uri(progress).starts_with("sip:cc-")); // CC-30
    assert_eq!(progress.header("Content-Type"), "application/sdp");
    asked.world.advance(LASTS);
    let busy = asked.ends_busy();
    assert_eq!(busy.tag_of_to(), progress.tag_of_to());
    asked.comes_to_nothing();
}

#[test]
fn five_calls_him_back_and_nothing_was_answered() {
    let asked = Asked::new();
    asked.presses(Digit::D5);
    asked.hears_a_tone();
    asked.ends_busy();
    asked.is_called_back();
}

#[test]
fn a_digit_by_info_is_as_good() {
    let asked = Asked::new();
    let dialog = Dialog::of_caller(&asked.sent, &asked.progress);
    let digit = within(&dialog, "INFO")
        .with_body("application/dtmf-relay", b"Signal=5\r\nDuration=160\r\n");
    asked.alice.sends(digit);
    asked.alice.receives("200");
    asked.hears_a_tone();
    asked.ends_busy();
    asked.is_called_back();
}

#[test]
fn another_digit_does_nothing_and_the_same_one_again_no_more() {
    let asked = Asked::new();
    asked.presses(Digit::D7);
    assert!(asked.world.next_sound().is_none());
    asked.presses(Digit::D5);
    asked.presses(Digit::D5);
    asked.hears_a_tone();
    asked.ends_busy();
    asked.is_called_back();
}

#[test]
fn who_hangs_up_while_he_is_asked_is_not_called_back() {
    let asked = Asked::new();
    asked.alice.gives_up(&asked.sent);
    asked.room_closes();
    asked.comes_to_nothing();
}

#[test]
fn without_a_port_the_failure_is_told_at_once() {
    let asked = Asked::new();
    asked.world.hears(asked.room, News::Failed);
    asked.ends_busy();
    asked.comes_to_nothing();
}

/// T29: nor is anybody else made to hear it.
#[test]
fn who_wants_sound_where_none_may_be_sent_gets_his_failure_at_once() {
    for address in [
        "IP4 224.2.1.1/127",
        "IP4 255.255.255.255",
        "IP4 127.0.0.1",
        "IP6 ff02::1",
    ] {
        let world = World::new(Setup::Prompting);
        let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| world.phone(name));
        let talk = call(&carol, &bob);
        let sdp = OFFER.replace("c=IN IP4 192.0.2.10", &format!("c=IN {address}"));
        assert_ne!(sdp, OFFER);
        let sent = alice.sends(invite("bob").with_sdp(&sdp));
        offered_uri(&refused(&alice, &sent, "486"));
        assert!(world.next_sound().is_none(), "{address}");
        assert_eq!(world.counted("sounds_misdirected"), 1, "{address}");
        hang_up(&carol, &talk.caller, &bob);
        world.advance(LONG);
    }
}

/// RFC 8445 §19.5.1: what may be somebody else's address is sent to on trial.
#[test]
fn who_wants_sound_elsewhere_than_he_signals_from_is_believed_for_a_while() {
    let asked = Asked::new();
    let elsewhere = OFFER.replace("c=IN IP4 192.0.2.10", "c=IN IP4 203.0.113.77");
    let dave = asked.world.phone("dave");
    let sent = dave.sends(invite("bob").with_sdp(&elsewhere));
    dave.receives("183");
    let Some(Command::Open { room, party, .. }) = asked.world.next_sound() else {
        panic!("a room opens");
    };
    assert_eq!(party.1.trust, Trust::OnTrial);
    asked.world.hears(room, News::Unconfirmed);
    assert_eq!(asked.world.counted("sounds_unconfirmed"), 1);
    // What he presses counts as before.
    asked.world.hears(room, News::Digit(Digit::D5));
    let next = asked.world.next_sound();
    assert!(matches!(next, Some(Command::Play { .. })), "{next:?}");
    asked.world.hears(room, News::PlayedOut);
    refused(&dave, &sent, "486");
    asked.world.closes();
    asked.world.advance(LASTS);
    asked.ends_busy();
    asked.bob_is_free();
    talks_after_recall(&dave, &asked.bob);
    asked.is_quiet();
}

/// He is called back, and hears no tone that says so.
#[test]
fn sound_that_fails_when_all_is_said_lets_the_caller_go_at_once() {
    let asked = Asked::new();
    asked.presses(Digit::D5);
    let next = asked.world.next_sound();
    assert!(matches!(next, Some(Command::Play { .. })), "{next:?}");
    asked.world.hears(asked.room, News::Failed);
    asked.ends_busy();
    asked.is_called_back();
}

#[test]
fn sound_that_fails_while_his_callee_rings_leaves_the_caller_his_call() {
    let asked = Asked::new();
    asked.waits();
    let rings = asked.bob_is_rung();
    asked.bob.answers(&rings, 180);
    asked.alice.receives("180");
    asked.hears_more();
    asked.world.hears(asked.room, News::Failed);
    asked.room_closes();
    asked.bob_answers(&rings);
    asked.is_quiet();
}

#[test]
fn when_all_ports_are_taken_the_failure_is_told_at_once() {
    let asked = Asked::new();
    let [dave, erin] = ["dave", "erin"].map(|name| asked.world.phone(name));
    let second = dave.sends(invite("bob").with_sdp(OFFER));
    dave.receives("183");
    let third = erin.sends(invite("bob").with_sdp(OFFER));
    refused(&erin, &third, "486");
    asked.world.advance(LASTS);
    refused(&dave, &second, "486");
    refused(&asked.alice, &asked.sent, "486");
    asked.comes_to_nothing();
}

#[test]
fn who_could_not_hear_us_is_not_asked() {
    for sdp in [
        OFFER.replace("RTP/AVP", "RTP/SAVP"),
        OFFER.replace("a=sendrecv", "a=inactive"),
        OFFER.replace("RTP/AVP 0 8", "RTP/AVP 96"),
        // Our ports are of IPv4.
        OFFER.replace("c=IN IP4 192.0.2.10", "c=IN IP6 2001:db8::10"),
    ] {
        let world = World::new(Setup::Prompting);
        let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| world.phone(name));
        let talk = call(&carol, &bob);
        let sent = alice.sends(invite("bob").with_sdp(&sdp));
        refused(&alice, &sent, "486");
        assert!(world.next_sound().is_none());
        let late = alice.sends(invite("bob"));
        refused(&alice, &late, "486");
        assert!(world.next_sound().is_none());
        hang_up(&carol, &talk.caller, &bob);
    }
}

#[test]
fn a_phone_that_says_busy_itself_is_asked_about_as_well() {
    let world = World::new(Setup::Prompting);
    let [alice, bob] = ["alice", "bob"].map(|name| world.phone(name));
    let sent = alice.sends(invite("bob").with_sdp(OFFER));
    let rings = bob.receives("INVITE");
    bob.refuses(&rings, 486);
    let progress = alice.receives("183");
    assert!(progress.sdp().contains("m=audio 2000"));
    assert!(matches!(world.next_sound(), Some(Command::Open { .. })));
    world.advance(LASTS);
    refused(&alice, &sent, "486");
    world.stays_quiet();
}

#[test]
fn a_caller_who_takes_reliable_responses_acknowledges_ours() {
    let asked = Asked::with(|draft| draft.with("Supported", "100rel"));
    let rseq = asked.progress.header("RSeq").to_owned();
    let dialog = Dialog::of_caller(&asked.sent, &asked.progress);
    let rack = format!("{rseq} {} INVITE", asked.sent.cseq());
    asked
        .alice
        .sends(within(&dialog, "PRACK").with("RAck", &rack));
    asked.alice.receives("200");
    asked.world.advance(LASTS);
    asked.ends_busy();
    asked.comes_to_nothing();
}

#[test]
fn one_waits_with_music_and_then_a_ringing_tone_until_the_callee_answers() {
    let asked = Asked::new();
    asked.waits();
    let rings = asked.bob_is_rung();
    assert!(asked.world.next_sound().is_none());
    asked.bob.answers(&rings, 180);
    let ringing = asked.alice.receives("180");
    assert_ne!(ringing.tag_of_to(), asked.progress.tag_of_to());
    asked.hears_more();
    asked.bob_answers(&rings);
    asked.room_closes();
    asked.is_quiet();
}

/// The INVITE has an older number than the digit: its ACK was not taken for its own, and the call lost.
#[test]
fn a_digit_by_info_lets_a_call_wait_that_is_acknowledged() {
    let asked = Asked::new();
    let dialog = Dialog::of_caller(&asked.sent, &asked.progress);
    let digit = within(&dialog, "INFO").with_body("application/dtmf", b"1");
    asked.alice.sends(digit);
    let [_, _] = asked.alice.receives_each(["200", "182"]);
    asked.hears_more();
    let rings = asked.bob_is_rung();
    let answered = asked.bob.sends(response(&rings, 200).with_sdp(ANSWER));
    let answer = asked.alice.receives("200");
    asked.alice.acks(&asked.sent, &answer);
    asked.bob.receives("ACK");
    asked.room_closes();
    asked.world.advance(Duration::from_mins(1));
    let dialog = Dialog::of_callee(&rings, &answered);
    hang_up(&asked.bob, &dialog, &asked.alice);
    asked.is_quiet();
}

#[test]
fn what_the_callees_side_plays_itself_ends_the_music() {
    let asked = Asked::new();
    asked.waits();
    let rings = asked.bob_is_rung();
    asked.bob.sends(response(&rings, 183).with_sdp(ANSWER));
    asked.alice.receives("183");
    asked.room_closes();
    asked.bob_answers(&rings);
    asked.is_quiet();
}

#[test]
fn who_is_busy_again_lets_the_music_go_on() {
    let asked = Asked::new();
    asked.waits();
    let rings = asked.bob_is_rung();
    asked.bob.answers(&rings, 180);
    asked.alice.receives("180");
    asked.hears_more();
    asked.bob.refuses(&rings, 486);
    asked.hears_more();
    asked.world.advance(MOMENT);
    asked.alice.receives("182");
    asked.alice.gives_up(&asked.sent);
    asked.room_closes();
    asked.is_quiet();
}

#[test]
fn who_waits_may_ask_to_be_called_back_instead() {
    let asked = Asked::new();
    asked.waits();
    // Longer than a failed call is remembered.
    asked.world.advance(Duration::from_secs(90));
    asked.alice.receives("182");
    asked.presses(Digit::D5);
    asked.presses(Digit::D5);
    asked.hears_a_tone();
    asked.ends_busy();
    asked.is_called_back();
}

#[test]
fn a_call_waits_without_music_where_no_port_could_be_opened() {
    let asked = Asked::new();
    asked.waits();
    asked.world.hears(asked.room, News::Failed);
    asked.room_closes();
    let rings = asked.bob_is_rung();
    asked.bob_answers(&rings);
    asked.is_quiet();
}

#[test]
fn music_ends_with_the_time_to_wait() {
    let asked = Asked::new();
    asked.waits();
    asked.world.advance(Duration::from_mins(2));
    asked.alice.receives("182");
    asked.ends_busy();
    asked.comes_to_nothing();
}

/// RFC 3841 §9.1: whoever wants no queue is not offered one.
#[test]
fn one_does_nothing_for_who_wants_no_queue() {
    let asked = Asked::with(|draft| draft.with("Request-Disposition", "no-queue"));
    asked.presses(Digit::D1);
    asked.alice.receives_nothing();
    asked.world.advance(LASTS);
    asked.ends_busy();
    asked.comes_to_nothing();
}

/// Nobody need have been asked.
#[test]
fn a_call_that_waits_by_its_own_wish_has_music_as_well() {
    let world = World::new(Setup::Prompting);
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| world.phone(name));
    let talk = call(&carol, &bob);
    let draft = invite("bob").with("Request-Disposition", "queue");
    let sent = alice.sends(draft.with_sdp(OFFER));
    let queued = alice.receives("182");
    let progress = alice.receives("183");
    assert_eq!(queued.tag_of_to(), progress.tag_of_to());
    let opened = world.next_sound();
    let Some(Command::Open { room, .. }) = opened else {
        panic!("{opened:?}");
    };
    world.hears(room, News::Digit(Digit::D5));
    assert!(matches!(world.next_sound(), Some(Command::Play { .. })));
    world.hears(room, News::PlayedOut);
    refused(&alice, &sent, "486");
    world.closes();
    world.advance(Duration::from_secs(1));
    hang_up(&carol, &talk.caller, &bob);
    world.advance(GUARD);
    talks_after_recall(&alice, &bob);
    world.stays_quiet();
}
