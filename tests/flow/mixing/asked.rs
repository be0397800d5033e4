//! An application asks for what the digit asks for: it is answered when the three hear each other, or
//! cannot.
//!
//! Spec: TAPI `lineCompleteCall`, `LINECALLCOMPLMODE_INTRUDE`; RULES R24.

use campon::completion::intrusion::Denied;
use campon::completion::{Mode, Reject};
use campon::shard::provider::{Answer, Ask, CallState, Refusal};

use super::*;

impl Scene {
    fn states(&self, line: &str) -> Vec<CallState> {
        let Answer::Calls(calls) = self.world.asks_at_once(Ask::Calls(Some(line.into()))) else {
            panic!("no calls");
        };
        calls.iter().map(|call| call.state).collect()
    }

    /// Carol is asked to come to the mixer, and nobody is answered yet.
    #[track_caller]
    fn is_asked_for(&self) -> Message {
        let Answer::Calls(calls) = self.world.asks_at_once(Ask::Calls(Some("alice".into()))) else {
            panic!("no calls");
        };
        let [call] = calls.as_slice() else {
            panic!("one call: {calls:?}");
        };
        assert!(call.modes.contains(&Mode::Intrude), "{call:?}");
        self.world.is_asked(Ask::Complete {
            call: call.call,
            mode: Some(Mode::Intrude),
            message: None,
        });
        let next = self.world.next_sound();
        assert!(matches!(next, Some(Command::Reserve { .. })), "{next:?}");
        self.world.hears(self.room, News::Reserved);
        let asked = self.carol.receives("INVITE");
        assert!(self.world.has_not_answered());
        asked
    }

    #[track_caller]
    fn is_told_that_there_is_no_way(&self) {
        let Answer::Refused(refusal) = self.world.answers() else {
            panic!("accepted");
        };
        let denied = Reject::IntrusionDenied(Denied::NoMeans);
        assert_eq!(refusal, Refusal::Completion(denied));
    }
}

#[test]
fn an_application_is_answered_when_its_caller_is_in_the_call() {
    let scene = Scene::new();
    let asked = scene.is_asked_for();
    takes(&scene.carol, &asked, CAROL);
    let asked = scene.bob.receives("INVITE");
    assert!(scene.world.has_not_answered());
    takes(&scene.bob, &asked, BOB);
    let dialog = scene.alice_is_in();
    assert!(matches!(scene.world.answers(), Answer::Completed { .. }));
    for line in ["alice", "bob", "carol"] {
        assert_eq!(scene.states(line), [CallState::Conferenced], "{line}");
    }
    scene.alice_leaves(&dialog);
    // What was completed has not failed.
    assert!(scene.states("alice").is_empty());
    // Whether they have let go of the mixer or not.
    assert_eq!(scene.states("bob"), [CallState::Connected]);
    scene.they_have_each_other();
    assert_eq!(scene.states("bob"), [CallState::Connected]);
    scene.ends();
}

#[test]
fn an_application_is_told_what_a_phone_has_refused() {
    let scene = Scene::new();
    let asked = scene.is_asked_for();
    scene.carol.refuses(&asked, 488);
    scene.is_told_that_there_is_no_way();
    scene.is_refused();
}

#[test]
fn an_application_is_told_that_its_caller_has_gone() {
    let scene = Scene::new();
    let asked = scene.is_asked_for();
    scene.alice.gives_up(&scene.sent);
    scene.is_told_that_there_is_no_way();
    takes(&scene.carol, &asked, CAROL);
    let back = scene.carol.receives("INVITE");
    takes(&scene.carol, &back, CAROL);
    let next = scene.world.next_sound();
    assert!(
        matches!(next, Some(Command::Part { .. } | Command::Close { .. })),
        "{next:?}"
    );
    scene.ends();
}
