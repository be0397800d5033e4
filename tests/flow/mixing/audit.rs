//! Each attempt leaves one line, whoever asks while another is about it, and however it ends.
//!
//! Spec: RULES R17; threats T29.

use campon::completion::Mode;
use campon::completion::intrusion::Denied;
use campon::shard::provider::{Answer, Ask, CallState};
use campon::shard::record::{IntrusionEnd, Record};

use super::*;

/// What came of all attempts since this was last asked.
pub(super) fn ends(world: &World) -> Vec<&'static str> {
    let records = std::iter::from_fn(|| world.next_record());
    let ends = records.filter_map(|record| match record {
        Record::Intrusion(_, _, end) => Some(end.as_str()),
        Record::Call(_) | Record::Completion(_) => None,
    });
    ends.collect()
}

const NO_MEANS: IntrusionEnd = IntrusionEnd::Denied(Denied::NoMeans);

impl Scene {
    /// As [`Scene::new`], and records are written; Dave may join calls as well.
    fn recorded() -> Self {
        let (world, [alice, bob, carol]) = parties(Setup::Levels([1, 0, 0]));
        let talk = call(&carol, &bob);
        Self::of(world, [alice, bob, carol], talk)
    }

    /// An application asks for it, on behalf of whoever has a call of that state on this line.
    #[track_caller]
    fn asked_for(&self, line: &str, state: CallState) {
        let Answer::Calls(calls) = self.world.asks_at_once(Ask::Calls(Some(line.into()))) else {
            panic!("no calls");
        };
        let mut calls = calls.iter().filter(|call| call.state == state);
        let call = calls.next().expect("such a call").call;
        self.world.is_asked(Ask::Complete {
            call,
            mode: Some(Mode::Intrude),
            message: None,
        });
    }

    #[track_caller]
    fn is_turned_down(&self) {
        let answer = self.world.answers();
        assert!(matches!(answer, Answer::Refused(_)), "{answer:?}");
    }

    /// Who was to join whom, and what came of it, of all attempts since this was last asked.
    fn audited(&self) -> Vec<(String, String, Option<String>, IntrusionEnd)> {
        let records = std::iter::from_fn(|| self.world.next_record());
        let attempts = records.filter_map(|record| match record {
            Record::Intrusion(it, _, end) => Some((it.intruder, it.target, it.third, end)),
            Record::Call(_) | Record::Completion(_) => None,
        });
        attempts.collect()
    }

    #[track_caller]
    fn assert_audited(&self, wanted: &[(&str, IntrusionEnd)]) {
        let carol = Some("carol".to_owned());
        let wanted = wanted
            .iter()
            .map(|(who, end)| ((*who).to_owned(), "bob".to_owned(), carol.clone(), *end));
        assert_eq!(self.audited(), wanted.collect::<Vec<_>>());
    }
}

/// The story: who asked a second time while the first was under way left no line.
#[test]
fn who_asks_again_while_he_is_let_in_leaves_a_line_for_each() {
    let scene = Scene::recorded();
    scene.asks();
    scene.asked_for("alice", CallState::Busy);
    scene.is_turned_down();
    scene.assert_audited(&[("alice", NO_MEANS)]);
    scene.world.hears(scene.room, News::Reserved);
    let asked = scene.carol.receives("INVITE");
    scene.asked_for("alice", CallState::Busy);
    scene.is_turned_down();
    scene.assert_audited(&[("alice", NO_MEANS)]);
    takes(&scene.carol, &asked, CAROL);
    let asked = scene.bob.receives("INVITE");
    takes(&scene.bob, &asked, BOB);
    let dialog = scene.alice_is_in();
    scene.asked_for("alice", CallState::Conferenced);
    scene.is_turned_down();
    assert_eq!(scene.audited().len(), 1);
    scene.alice_leaves(&dialog);
    scene.assert_audited(&[("alice", IntrusionEnd::Joined)]);
    scene.they_have_each_other();
    scene.ends();
}

#[test]
fn a_second_intruder_leaves_a_line_for_each_time_that_he_asks() {
    let scene = Scene::recorded();
    scene.joins();
    let dialog = scene.alice_is_in();
    let dave = scene.world.phone("dave");
    let sent = dave.sends(invite("bob").with_sdp(OFFER));
    dave.receives("183");
    let (room, _) = scene.world.opens();
    for _ in 0..2 {
        scene.world.hears(room, News::Digit(Digit::D3));
        scene.assert_audited(&[("dave", NO_MEANS)]);
        // The same press, which his phone tells by INFO as well.
        scene.world.advance(Duration::from_millis(200));
        scene.world.hears(room, News::Digit(Digit::D3));
        scene.assert_audited(&[]);
        scene.world.advance(Duration::from_secs(1));
    }
    scene.asked_for("dave", CallState::Busy);
    scene.is_turned_down();
    scene.assert_audited(&[("dave", NO_MEANS)]);
    // He hears that it is not to be.
    let next = scene.world.next_sound();
    assert!(matches!(next, Some(Command::Play { .. })), "{next:?}");
    scene.world.hears(room, News::PlayedOut);
    refused(&dave, &sent, "486");
    scene.world.closes();
    scene.alice_leaves(&dialog);
    scene.assert_audited(&[("alice", IntrusionEnd::Joined)]);
    scene.they_have_each_other();
    scene.ends();
}

/// There is nothing to join from there, and it was asked for all the same.
#[test]
fn who_asks_from_a_call_that_is_up_leaves_a_line() {
    let scene = Scene::recorded();
    scene.asked_for("carol", CallState::Connected);
    scene.is_turned_down();
    let found = scene.audited();
    assert_eq!(found.len(), 1, "{found:?}");
    let no_right = IntrusionEnd::Denied(Denied::NoRight);
    assert_eq!((found[0].0.as_str(), found[0].3), ("carol", no_right));
    let asked = scene.asks();
    assert_eq!(asked.len(), 2);
    scene.world.hears(scene.room, News::Unreserved);
    scene.alice_gets_her_failure();
    scene.assert_audited(&[("alice", IntrusionEnd::Failed)]);
    scene.ends();
}

#[test]
fn who_hangs_up_at_any_step_leaves_one_line() {
    for steps in 0..3 {
        let scene = Scene::recorded();
        scene.asks();
        let mut asked = None;
        if steps > 0 {
            scene.world.hears(scene.room, News::Reserved);
            asked = Some(scene.carol.receives("INVITE"));
        }
        if let Some(invite) = asked.take_if(|_| steps > 1) {
            takes(&scene.carol, &invite, CAROL);
            let asked = scene.bob.receives("INVITE");
            scene.alice.cancels(&scene.sent);
            scene.bob.refuses(&asked, 488);
        } else {
            scene.alice.cancels(&scene.sent);
        }
        let [_, ended] = scene.alice.receives_each(["200", "487"]);
        scene.alice.acks(&scene.sent, &ended);
        scene.assert_audited(&[("alice", IntrusionEnd::Failed)]);
        if let Some(asked) = &asked {
            takes(&scene.carol, asked, CAROL);
        }
        if steps > 0 {
            let back = scene.carol.receives("INVITE");
            takes(&scene.carol, &back, CAROL);
        }
        while scene.world.next_sound().is_some() {}
        scene.ends();
        assert!(scene.audited().is_empty());
    }
}

#[test]
fn each_end_of_the_call_that_was_joined_leaves_one_line() {
    let scene = Scene::recorded();
    scene.joins();
    scene.alice_is_in();
    hang_up(&scene.bob, &scene.talk.callee, &scene.carol);
    scene.alice.is_hung_up_on();
    scene.assert_audited(&[("alice", IntrusionEnd::Joined)]);
    scene.all_is_quiet();
    assert!(scene.audited().is_empty());

    let scene = Scene::recorded();
    let (asked, _) = scene.carol_is_asked();
    scene.carol.refuses(&asked, 481);
    scene.both_are_hung_up_on();
    scene.assert_audited(&[("alice", IntrusionEnd::Failed)]);
    scene.alice_gets_her_failure();
    scene.world.stays_quiet();
}
