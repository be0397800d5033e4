//! A call that waits and is answered: its caller has music on an answered leg, and his callee later.
//!
//! Spec: RULES R5; RFC 3725 §4.4; RFC 3264 §8; RFC 3262 §3.

use std::time::Duration;

use campon::media::desk::{Command, RoomId};
use campon::media::digit::Digit;
use campon::media::room::News;

use crate::flow::kit::completion::{CANCEL_LAST, connects, dials_in_vain};
use crate::flow::kit::dialog::Dialog;
use crate::flow::kit::draft::{ANSWER, Draft, OFFER, invite, reinvite, response, within};
use crate::flow::kit::message::Message;
use crate::flow::kit::party::Party;
use crate::flow::kit::scenes::{Call, call, hang_up, refused};
use crate::flow::kit::subject::Setup;
use crate::flow::kit::world::World;

/// How long Bob's phone is left alone before the call that waits is offered to it.
const CALL_GUARD: Duration = Duration::from_secs(1);
/// How long a call waits.
const CAMP_ON_MAX: Duration = Duration::from_mins(2);

/// Bob talks with Carol, and Alice, who waits for him, was answered.
struct Kept {
    world: World,
    alice: Party,
    bob: Party,
    carol: Party,
    talk: Call,
    room: RoomId,
    sent: Message,
    answer: Message,
    dialog: Dialog,
}

impl Kept {
    fn new() -> Self {
        let asked = Self::asks(|draft| draft);
        let (world, [alice, bob, carol], talk, sent, progress, room) = asked;
        world.hears(room, News::Digit(Digit::D1));
        let [_, answer] = alice.receives_each(["182", "200"]);
        assert_eq!(answer.tag_of_to(), progress.tag_of_to());
        assert_eq!(answer.sdp(), progress.sdp());
        alice.acks(&sent, &answer);
        let dialog = Dialog::of_caller(&sent, &answer);
        let kept = Self {
            world,
            alice,
            bob,
            carol,
            talk,
            room,
            sent,
            answer,
            dialog,
        };
        kept.hears_more();
        kept
    }

    /// Alice hears what can be done.
    fn asks(
        more: impl FnOnce(Draft) -> Draft,
    ) -> (World, [Party; 3], Call, Message, Message, RoomId) {
        let world = World::new(Setup::Answering);
        let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| world.phone(name));
        let talk = call(&carol, &bob);
        world.advance(Duration::from_secs(1));
        let sent = alice.sends(more(invite("bob").with_sdp(OFFER)));
        let progress = alice.receives("183");
        let (room, _) = world.opens();
        (world, [alice, bob, carol], talk, sent, progress, room)
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

    #[track_caller]
    fn room_closes(&self) {
        let next = self.world.next_sound();
        assert!(
            matches!(next, Some(Command::Close { room }) if room == self.room),
            "{next:?}"
        );
        assert!(self.world.next_sound().is_none());
    }

    /// Bob has hung up, and his phone is asked what it has to offer.
    #[track_caller]
    fn bob_is_rung(&self) -> Message {
        self.world.advance(Duration::from_secs(1));
        hang_up(&self.carol, &self.talk.caller, &self.bob);
        self.world.advance(CALL_GUARD);
        let rings = self.bob.receives("INVITE");
        assert_eq!(rings.body(), b"");
        assert!(rings.header("From").contains("alice"), "{rings}");
        rings
    }

    /// Bob answers; Alice's session goes over to him, and they talk.
    #[track_caller]
    fn bob_answers(&self, rings: &Message) -> Dialog {
        let (offer, _) = connects(&self.alice, &self.bob, rings);
        assert_eq!(offer.call_id, self.dialog.call_id);
        self.room_closes();
        offer
    }

    #[track_caller]
    fn is_quiet(&self) {
        self.world.stays_quiet();
    }
}

#[test]
fn she_hears_music_on_an_answered_leg_and_then_her_callee() {
    let kept = Kept::new();
    kept.world.advance(Duration::from_secs(40));
    kept.alice.receives_nothing();
    let rings = kept.bob_is_rung();
    kept.bob.answers(&rings, 180);
    kept.hears_more();
    let dialog = kept.bob_answers(&rings);
    hang_up(&kept.alice, &dialog, &kept.bob);
    dials_in_vain(&kept.alice, CANCEL_LAST, "404");
    kept.is_quiet();
}

/// RFC 3264 §8: what Bob describes is the next version of the session that she has.
#[test]
fn her_session_goes_over_to_her_callee_in_a_later_version() {
    let kept = Kept::new();
    let origin = |sdp: &str| {
        let line = sdp.lines().find(|line| line.starts_with("o="));
        line.expect("an origin").to_owned()
    };
    let first = origin(kept.answer.sdp());
    let rings = kept.bob_is_rung();
    kept.bob.sends(response(&rings, 200).with_sdp(OFFER));
    let offer = kept.alice.receives("INVITE");
    assert_eq!(origin(offer.sdp()), first.replacen(" 1 IN", " 2 IN", 1));
    assert!(offer.sdp().contains("m=audio 40000"), "{offer}");
    kept.alice.sends(response(&offer, 200).with_sdp(ANSWER));
    kept.alice.receives("ACK");
    let ack = kept.bob.receives("ACK");
    assert_eq!(ack.sdp(), ANSWER);
    kept.room_closes();
    hang_up(&kept.alice, &kept.dialog, &kept.bob);
    kept.is_quiet();
}

#[test]
fn who_is_busy_again_lets_her_wait_on() {
    let kept = Kept::new();
    let rings = kept.bob_is_rung();
    kept.bob.answers(&rings, 180);
    kept.hears_more();
    kept.bob.refuses(&rings, 486);
    kept.hears_more();
    kept.alice.receives_nothing();
    kept.alice.leaves(&kept.dialog);
    kept.room_closes();
    kept.is_quiet();
}

#[test]
fn whose_music_fails_waits_on_in_silence() {
    let kept = Kept::new();
    kept.world.hears(kept.room, News::Failed);
    kept.room_closes();
    kept.alice.receives_nothing();
    kept.world.advance(Duration::from_secs(20));
    let rings = kept.bob_is_rung();
    kept.bob.answers(&rings, 180);
    let (dialog, _) = connects(&kept.alice, &kept.bob, &rings);
    assert!(kept.world.next_sound().is_none());
    hang_up(&kept.alice, &dialog, &kept.bob);
    kept.is_quiet();
}

#[test]
fn who_hangs_up_waits_no_longer() {
    let kept = Kept::new();
    kept.alice.leaves(&kept.dialog);
    kept.room_closes();
    kept.world.advance(Duration::from_secs(1));
    hang_up(&kept.carol, &kept.talk.caller, &kept.bob);
    kept.world.advance(CALL_GUARD * 2);
    kept.bob.receives_nothing();
    kept.is_quiet();
}

#[test]
fn who_hangs_up_while_her_callee_rings_is_not_waited_for() {
    let kept = Kept::new();
    let rings = kept.bob_is_rung();
    kept.bob.answers(&rings, 180);
    kept.hears_more();
    kept.alice.leaves(&kept.dialog);
    let cancel = kept.bob.receives("CANCEL");
    kept.bob.answers(&cancel, 200);
    kept.bob.refuses(&rings, 487);
    kept.room_closes();
    kept.is_quiet();
}

#[test]
fn when_the_time_to_wait_is_over_she_is_told_why() {
    let kept = Kept::new();
    kept.world.advance(CAMP_ON_MAX);
    let bye = kept.alice.receives("BYE");
    assert!(bye.header("Reason").contains("cause=486"), "{bye}");
    kept.alice.answers(&bye, 200);
    kept.room_closes();
    hang_up(&kept.carol, &kept.talk.caller, &kept.bob);
    kept.is_quiet();
}

/// S-05: and her line is nobody's any more.
#[test]
fn who_never_acknowledges_the_answer_waits_no_longer() {
    let asked = Kept::asks(|draft| draft);
    let (world, [alice, bob, carol], talk, _sent, _, room) = asked;
    world.hears(room, News::Digit(Digit::D1));
    alice.receives_each(["182", "200"]);
    for _ in 0..64 {
        world.advance(Duration::from_millis(500));
        while alice.waiting() > 0 {
            let again = alice.receives_any();
            if again.start().starts_with("BYE") {
                alice.answers(&again, 200);
            }
        }
    }
    hang_up(&carol, &talk.caller, &bob);
    world.stays_quiet();
}

#[test]
fn while_she_waits_her_session_stays_as_it_is() {
    let kept = Kept::new();
    let hold = OFFER.replace("alice 1 1", "alice 1 2");
    let hold = kept.alice.sends(reinvite(&kept.dialog).with_sdp(&hold));
    refused(&kept.alice, &hold, "491");
    kept.alice.sends(within(&kept.dialog, "OPTIONS"));
    kept.alice.receives("500");
    kept.alice.leaves(&kept.dialog);
    kept.room_closes();
    assert_eq!(kept.sent.call_id(), kept.dialog.call_id);
    hang_up(&kept.carol, &kept.talk.caller, &kept.bob);
    kept.is_quiet();
}

/// RFC 3262 §3: nothing is answered before what was said reliably is known.
#[test]
fn who_takes_reliable_responses_is_answered_when_she_has_acknowledged_them() {
    let asked = Kept::asks(|draft| draft.with("Supported", "100rel"));
    let (world, [alice, bob, carol], talk, sent, progress, room) = asked;
    let dialog = Dialog::of_caller(&sent, &progress);
    let prack = |told: &Message| {
        let rack = format!("{} {} INVITE", told.header("RSeq"), sent.cseq());
        alice.sends(within(&dialog, "PRACK").with("RAck", &rack));
    };
    prack(&progress);
    alice.receives("200");
    world.hears(room, News::Digit(Digit::D1));
    let queued = alice.receives("182");
    prack(&queued);
    let answers = alice.receives_each(["200", "200"]);
    let answer = answers.iter().find(|one| one.cseq_method() == "INVITE");
    let answer = answer.expect("an answer to the INVITE").clone();
    alice.acks(&sent, &answer);
    alice.leaves(&dialog);
    hang_up(&carol, &talk.caller, &bob);
    world.stays_quiet();
}
