//! A phone does not do what it is asked for, at each step on the way to a mixer and back, on each leg.
//!
//! Spec: RULES R17; RFC 3261 §12.2.1.2 (S-15), §14.1 (S-19).

use super::*;

/// How long a side is asked that has something else to do.
const RETURNS_IN: Duration = Duration::from_secs(32);
/// When a side is asked again that did not let go.
const KEPT_FOR: Duration = Duration::from_mins(1);

/// Answers each INVITE so until none has come for a while; how many there were.
#[track_caller]
fn refuses_all(world: &World, party: &Party, status: u16) -> u32 {
    let mut asked = 0;
    let mut idle = Duration::ZERO;
    while idle < Duration::from_secs(6) {
        if party.waiting() == 0 {
            world.advance(MOMENT);
            idle += MOMENT;
        } else {
            let invite = party.receives("INVITE");
            party.refuses(&invite, status);
            asked += 1;
            idle = Duration::ZERO;
        }
    }
    asked
}

/// A side is asked again a while later.
#[track_caller]
fn asked_within(party: &Party, time: Duration) -> Message {
    party.receives_within(time, "INVITE")
}

impl Scene {
    /// Carol has taken the mixer, and Bob is asked.
    #[track_caller]
    fn bob_is_asked(&self) -> Message {
        let (asked, _) = self.carol_is_asked();
        takes(&self.carol, &asked, CAROL);
        self.bob.receives("INVITE")
    }

    /// Carol has Bob again, and Bob is asked.
    #[track_caller]
    fn bob_is_asked_back(&self) -> Message {
        let back = self.carol.receives("INVITE");
        takes(&self.carol, &back, CAROL);
        self.bob.receives("INVITE")
    }

    /// Both are still on the mixer, by which they hear each other: a refresh is answered by us.
    #[track_caller]
    fn the_two_are_kept(&self) {
        assert!(self.world.next_sound().is_none());
        assert_eq!(self.world.counted("mixers_kept"), 1);
        let sides = [
            (&self.carol, &self.talk.caller, CAROL),
            (&self.bob, &self.talk.callee, BOB),
        ];
        for (phone, dialog, sdp) in sides {
            let refresh = phone.sends(reinvite(dialog).with_sdp(sdp));
            let answer = phone.receives("200");
            assert!(answer.sdp().contains("c=IN IP4 192.0.2.1\r\n"), "{answer}");
            phone.acks(&refresh, &answer);
        }
    }
}

#[test]
fn who_is_asked_to_come_and_knows_of_no_call_has_none() {
    for status in [408, 481] {
        let scene = Scene::new();
        let (asked, _) = scene.carol_is_asked();
        scene.carol.refuses(&asked, status);
        scene.both_are_hung_up_on();
        scene.alice_gets_her_failure();
        scene.world.stays_quiet();

        let scene = Scene::new();
        let asked = scene.bob_is_asked();
        scene.bob.refuses(&asked, status);
        scene.both_are_hung_up_on();
        scene.alice_gets_her_failure();
        scene.world.stays_quiet();
    }
}

/// RFC 3261 §14.1: no response at all is the end of the dialog; the caller does not wait for it.
#[test]
fn who_does_not_answer_at_all_is_gone_and_the_caller_has_had_his_failure() {
    let scene = Scene::new();
    scene.carol_is_asked();
    let refusal = scene.alice.receives_within(Duration::from_secs(30), "486");
    scene.alice.acks(&scene.sent, &refusal);
    scene.bob.receives_nothing();
    let bye = scene.bob.receives_within(Duration::from_secs(30), "BYE");
    scene.bob.answers(&bye, 200);
    let bye = loop {
        let next = scene.carol.receives_any();
        if next.cseq_method() == "BYE" {
            break next;
        }
        assert_eq!(next.cseq_method(), "INVITE");
    };
    scene.carol.answers(&bye, 200);
    while scene.world.next_sound().is_some() {}
    scene.world.stays_quiet();
}

/// Its user is asked, or it is slow: five seconds, and the question is withdrawn.
#[test]
fn who_only_says_that_he_is_trying_is_asked_no_longer_and_all_is_as_before() {
    let scene = Scene::new();
    let (asked, _) = scene.carol_is_asked();
    scene.carol.answers(&asked, 100);
    let cancel = scene
        .carol
        .receives_within(Duration::from_secs(6), "CANCEL");
    scene.carol.answers(&cancel, 200);
    scene.carol.refuses(&asked, 487);
    scene.bob.receives_nothing();
    scene.is_refused();

    let scene = Scene::new();
    let asked = scene.bob_is_asked();
    scene.bob.answers(&asked, 100);
    let cancel = scene.bob.receives_within(Duration::from_secs(6), "CANCEL");
    scene.bob.answers(&cancel, 200);
    scene.bob.refuses(&asked, 487);
    let back = scene.carol.receives("INVITE");
    takes(&scene.carol, &back, CAROL);
    scene.is_refused();
}

/// Whoever cannot join does not wait for what becomes of the two.
#[test]
fn what_the_second_side_refuses_the_caller_hears_at_once() {
    for status in [407, 488, 491, 500, 503] {
        let scene = Scene::new();
        let asked = scene.bob_is_asked();
        scene.bob.refuses(&asked, status);
        scene.alice_gets_her_failure();
        let back = scene.carol.receives("INVITE");
        scene.carol.refuses(&back, 491);
        let back = asked_within(&scene.carol, Duration::from_secs(2));
        assert_eq!(back.sdp(), ANSWER.replace("bob 7 7", "bob 7 10"));
        takes(&scene.carol, &back, CAROL);
        scene.bob.receives_nothing();
        assert!(scene.world.next_sound().is_none());
        scene.ends();
    }
}

/// She sends to us, and he does not: nobody would hear her for the rest of the call.
#[test]
fn a_side_that_came_alone_and_does_not_go_back_is_hung_up_on_in_the_end() {
    for (status, times) in [(488, 7..=8), (491, 20..=60)] {
        let scene = Scene::new();
        let asked = scene.bob_is_asked();
        scene.bob.refuses(&asked, 488);
        scene.alice_gets_her_failure();
        let began = scene.world.now();
        let mut asked = 0;
        while scene.bob.waiting() == 0 {
            if scene.carol.waiting() == 0 {
                scene.world.advance(MOMENT);
                continue;
            }
            let back = scene.carol.receives("INVITE");
            scene.carol.refuses(&back, status);
            asked += 1;
        }
        assert!(times.contains(&asked), "{status}: {asked} times");
        assert!(scene.world.now().since(began) <= RETURNS_IN);
        let bye = scene.bob.receives("BYE");
        assert!(bye.header("Reason").contains("cause=488"), "{bye}");
        scene.bob.answers(&bye, 200);
        scene.carol.is_hung_up_on();
        assert!(scene.world.next_sound().is_none());
        scene.world.stays_quiet();
    }
}

/// S-19: he whose Call-ID it is waits from 2.1 to 4 s, the other one up to 2 s.
#[test]
fn a_side_whose_request_has_met_ours_is_asked_again_after_the_time_of_its_leg() {
    let scene = Scene::left();
    let back = scene.carol.receives("INVITE");
    scene.carol.refuses(&back, 491);
    let back = asked_within(&scene.carol, Duration::from_secs(2));
    takes(&scene.carol, &back, CAROL);
    let back = scene.bob.receives("INVITE");
    scene.bob.refuses(&back, 491);
    scene.world.advance(Duration::from_millis(2_090));
    scene.bob.receives_nothing();
    let back = asked_within(&scene.bob, Duration::from_secs(2));
    takes(&scene.bob, &back, BOB);
    scene.room_closes();
    scene.ends();
}

#[test]
fn a_side_that_fails_to_let_go_is_asked_again_after_four_seconds() {
    for status in [500, 503] {
        let scene = Scene::left();
        let back = scene.carol.receives("INVITE");
        scene.carol.refuses(&back, status);
        scene.world.advance(Duration::from_millis(3_990));
        scene.carol.receives_nothing();
        scene.world.advance(Duration::from_millis(10));
        let back = scene.bob_is_asked_back();
        scene.bob.refuses(&back, status);
        scene.world.advance(Duration::from_secs(4));
        let back = scene.bob.receives("INVITE");
        takes(&scene.bob, &back, BOB);
        scene.room_closes();
        scene.ends();
    }
}

#[test]
fn who_is_given_back_and_knows_of_no_call_has_none() {
    for status in [408, 481] {
        let scene = Scene::left();
        let back = scene.carol.receives("INVITE");
        scene.carol.refuses(&back, status);
        scene.both_are_hung_up_on();
        scene.room_closes();
        scene.world.stays_quiet();

        let scene = Scene::left();
        let back = scene.bob_is_asked_back();
        scene.bob.refuses(&back, status);
        scene.both_are_hung_up_on();
        scene.room_closes();
        scene.world.stays_quiet();
    }
}

/// Nobody is asked for ever, and nobody is told 491 for ever.
#[test]
fn a_side_that_does_not_let_go_is_kept_on_the_mixer_and_asked_each_minute() {
    for (status, times) in [(407, 1..=1), (488, 1..=1), (491, 20..=60)] {
        let scene = Scene::left();
        let asked = refuses_all(&scene.world, &scene.carol, status);
        assert!(times.contains(&asked), "{status}: {asked} times");
        scene.bob.receives_nothing();
        scene.the_two_are_kept();
        // One refusal is enough to know.
        let back = asked_within(&scene.carol, KEPT_FOR);
        scene.carol.refuses(&back, status);
        scene.world.advance(Duration::from_secs(50));
        scene.carol.receives_nothing();
        scene.the_two_are_kept();
        scene.world.advance(Duration::from_secs(10));
        let back = scene.bob_is_asked_back();
        takes(&scene.bob, &back, BOB);
        scene.room_closes();
        scene.ends();
    }
}

/// The first one had let go, and would hear nobody.
#[test]
fn who_was_given_back_comes_again_if_the_other_one_does_not_let_go() {
    for status in [488, 491] {
        let scene = Scene::left();
        let back = scene.bob_is_asked_back();
        scene.bob.refuses(&back, status);
        while scene.carol.waiting() == 0 {
            if scene.bob.waiting() == 0 {
                scene.world.advance(MOMENT);
                continue;
            }
            let back = scene.bob.receives("INVITE");
            scene.bob.refuses(&back, status);
        }
        let again = scene.carol.receives("INVITE");
        assert!(again.sdp().contains("c=IN IP4 192.0.2.1\r\n"), "{again}");
        takes(&scene.carol, &again, CAROL);
        scene.the_two_are_kept();
        // He who did not is asked first from now on.
        let back = asked_within(&scene.bob, KEPT_FOR);
        scene.carol.receives_nothing();
        takes(&scene.bob, &back, BOB);
        let back = scene.carol.receives("INVITE");
        takes(&scene.carol, &back, CAROL);
        scene.room_closes();
        scene.ends();
    }
}

#[test]
fn who_does_not_come_again_is_hung_up_on_with_who_did_not_let_go() {
    let others = CAROL.replace("40000", "40002");
    for sdp in [None, Some(others.as_str())] {
        let scene = Scene::left();
        let back = scene.bob_is_asked_back();
        scene.bob.refuses(&back, 488);
        let again = scene.carol.receives("INVITE");
        match sdp {
            None => scene.carol.refuses(&again, 488),
            // Where the mixer does not send to.
            Some(sdp) => takes(&scene.carol, &again, sdp),
        }
        scene.both_are_hung_up_on();
        scene.room_closes();
        scene.world.stays_quiet();
    }
}

#[test]
fn each_hangs_up_while_he_is_asked_back() {
    for is_carol in [true, false] {
        let scene = Scene::left();
        let back = scene.carol.receives("INVITE");
        scene.carol.answers(&back, 100);
        let sides = [
            (&scene.carol, &scene.talk.caller),
            (&scene.bob, &scene.talk.callee),
        ];
        let [(from, dialog), (to, _)] = if is_carol {
            sides
        } else {
            [sides[1], sides[0]]
        };
        from.hangs_up(dialog);
        if is_carol {
            to.is_hung_up_on();
            let [cancel, _] = from.receives_each(["CANCEL", "200"]);
            from.answers(&cancel, 200);
        } else {
            let [cancel, bye] = to.receives_each(["CANCEL", "BYE"]);
            to.answers(&cancel, 200);
            to.answers(&bye, 200);
            from.receives("200");
        }
        scene.carol.refuses(&back, 487);
        scene.room_closes();
        scene.world.stays_quiet();
    }
}

#[test]
fn each_hangs_up_while_he_waits_to_be_asked_back() {
    for is_carol in [true, false] {
        let scene = Scene::left();
        let back = scene.carol.receives("INVITE");
        scene.carol.refuses(&back, 503);
        if is_carol {
            hang_up(&scene.carol, &scene.talk.caller, &scene.bob);
        } else {
            hang_up(&scene.bob, &scene.talk.callee, &scene.carol);
        }
        scene.room_closes();
        scene.world.stays_quiet();
    }
}
