//! The sound of an intrusion fails, at any moment of it: whoever joins is ended, and the two talk on.
//!
//! Spec: RULES R17.

use super::*;

/// The story: the mixer had gone, the three heard nothing, and nobody was told.
#[test]
fn when_the_mixer_fails_the_intruder_is_ended_and_the_two_talk_directly() {
    let scene = Scene::new();
    scene.joins();
    scene.alice_is_in();
    scene.world.hears(scene.room, News::Failed);
    let bye = scene.alice.receives("BYE");
    scene.alice.answers(&bye, 200);
    scene.leaves_the_mixer();
    scene.they_have_each_other();
    scene.ends();
}

#[test]
fn when_the_mixer_fails_who_stayed_with_an_intruder_is_not_left_in_silence() {
    let scene = Scene::new();
    scene.carol_leaves();
    scene.world.hears(scene.room, News::Failed);
    let bye = scene.alice.receives("BYE");
    scene.alice.answers(&bye, 200);
    let bye = scene.bob.receives("BYE");
    scene.bob.answers(&bye, 200);
    scene.leaves_the_mixer();
    scene.all_is_quiet();
}

#[test]
fn when_sound_fails_before_anybody_is_asked_the_failure_is_told_at_once() {
    let scene = Scene::new();
    scene.asks();
    scene.world.hears(scene.room, News::Failed);
    refused(&scene.alice, &scene.sent, "486");
    scene.carol.receives_nothing();
    scene.bob.receives_nothing();
    let next = scene.world.next_sound();
    assert!(matches!(next, Some(Command::Close { .. })), "{next:?}");
    assert!(scene.world.next_sound().is_none());
    scene.ends();
}

/// One of the two is at the mixer already, and is given the other again.
#[test]
fn when_sound_fails_while_the_two_are_asked_the_one_who_has_agreed_goes_back() {
    let scene = Scene::new();
    let (asked, _) = scene.carol_is_asked();
    takes(&scene.carol, &asked, CAROL);
    let asked = scene.bob.receives("INVITE");
    scene.world.hears(scene.room, News::Failed);
    refused(&scene.alice, &scene.sent, "486");
    scene.leaves_the_mixer();
    takes(&scene.bob, &asked, BOB);
    scene.they_have_each_other();
    scene.ends();
}

/// The two go back to each other as they were about to: there is nothing more to do.
#[test]
fn a_mixer_that_fails_while_the_two_leave_it_changes_nothing() {
    let scene = Scene::new();
    scene.joins();
    let dialog = scene.alice_is_in();
    scene.alice_leaves(&dialog);
    scene.world.hears(scene.room, News::Failed);
    scene.they_have_each_other();
    scene.ends();
}
