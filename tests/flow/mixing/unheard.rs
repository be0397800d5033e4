//! The sound of an intrusion fails, at any moment of it: whoever joins is ended, and the two talk on.
//!
//! Spec: RULES R17.

use super::*;

/// The mixer is no more; or nothing comes from Alice. The stories: the three heard nothing, and nobody was
/// told; and a softphone that crashed kept a mixer and two callers who heard a warning every 15 s.
const ENDS: [News; 2] = [News::Failed, News::Silent];

#[test]
fn when_the_mixer_fails_or_the_intruder_is_silent_the_two_talk_directly() {
    for end in ENDS {
        let (scene, _) = Scene::joined();
        scene.world.hears(scene.room, end);
        scene.alice.is_hung_up_on();
        scene.leaves_the_mixer();
        scene.they_have_each_other();
        scene.ends();
    }
}

#[test]
fn when_the_mixer_fails_or_the_intruder_is_silent_who_stayed_with_him_is_let_go() {
    for end in ENDS {
        let scene = Scene::new();
        scene.carol_leaves();
        scene.world.hears(scene.room, end);
        scene.alice.is_hung_up_on();
        scene.bob.is_hung_up_on();
        scene.leaves_the_mixer();
        scene.all_is_quiet();
    }
}

#[test]
fn when_sound_fails_before_anybody_is_asked_the_failure_is_told_at_once() {
    let scene = Scene::new();
    scene.asks();
    scene.world.hears(scene.room, News::Failed);
    refused(&scene.alice, &scene.sent, "486");
    scene.carol.receives_nothing();
    scene.bob.receives_nothing();
    scene.world.closes();
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
    let (scene, dialog) = Scene::joined();
    scene.alice_leaves(&dialog);
    scene.world.hears(scene.room, News::Failed);
    scene.they_have_each_other();
    scene.ends();
}

/// There is no mixer to be kept on: who does not let go of it is asked for a while, and hung up on.
#[test]
fn a_mixer_that_fails_keeps_nobody() {
    for is_kept in [false, true] {
        let (scene, dialog) = Scene::joined();
        if is_kept {
            scene.alice_leaves(&dialog);
            let back = scene.carol.receives("INVITE");
            scene.carol.refuses(&back, 488);
            scene.carol.receives_nothing();
            scene.world.hears(scene.room, News::Failed);
        } else {
            scene.world.hears(scene.room, News::Failed);
            scene.alice.is_hung_up_on();
            scene.leaves_the_mixer();
        }
        let mut asked = 0;
        while scene.bob.waiting() == 0 {
            if scene.carol.waiting() == 0 {
                scene.world.advance(MOMENT);
                continue;
            }
            let back = scene.carol.receives("INVITE");
            scene.carol.refuses(&back, 488);
            asked += 1;
        }
        assert!((7..=8).contains(&asked), "{asked} times");
        scene.both_are_hung_up_on();
        scene.room_closes();
        scene.world.stays_quiet();
    }
}
