//! A party of a mix changes its session: by re-INVITE, UPDATE or transfer, at each step.
//!
//! Spec: RULES R17; RFC 3264 §8 (S-64); RFC 3311 §5.2 (S-68); RFC 3515; RFC 4028 §7.4; RFC 6337 §3.1.

use super::*;

/// Carol's next versions.
fn carols(version: u32, direction: &str) -> String {
    let hold = HOLD.replace("alice 1 2", &format!("alice 1 {version}"));
    hold.replace("sendonly", direction)
}

fn bobs(version: u32, direction: &str) -> String {
    let sdp = BOB.replace("bob 7 8", &format!("bob 7 {version}"));
    sdp.replace("sendrecv", direction)
}

impl Scene {
    /// Alice is told that she has to go, and the room closes.
    #[track_caller]
    fn alice_has_to_go(&self) {
        self.alice.is_hung_up_on();
        self.room_closes();
        assert!(self.world.next_sound().is_none());
    }

    /// Carol asks for this and Bob agrees; what Bob was asked, and what Carol hears.
    #[track_caller]
    fn carol_asks(&self, offer: &str, answer: &str) -> [Message; 2] {
        let sent = self
            .carol
            .sends(reinvite(&self.talk.caller).with_sdp(offer));
        let asked = self.bob.receives("INVITE");
        self.bob.sends(response(&asked, 200).with_sdp(answer));
        let heard = self.carol.receives("200");
        self.carol.acks(&sent, &heard);
        self.bob.receives("ACK");
        [asked, heard]
    }
}

/// One of the two puts the other on hold: they have a session of their own by that, and who has joined
/// has to go. What they hear of each other is later than what they have heard of us.
#[test]
fn who_puts_the_other_on_hold_ends_the_mix_by_that() {
    let (scene, _) = Scene::joined();
    let [asked, heard] = scene.carol_asks(&carols(3, "sendonly"), &bobs(9, "recvonly"));
    assert_eq!(asked.sdp(), carols(4, "sendonly"));
    assert_eq!(heard.sdp(), bobs(10, "recvonly"));
    scene.alice_has_to_go();
    // And takes it back.
    let [asked, heard] = scene.carol_asks(&carols(4, "sendrecv"), &bobs(10, "sendrecv"));
    assert_eq!(asked.sdp(), carols(5, "sendrecv"));
    assert_eq!(heard.sdp(), bobs(11, "sendrecv"));
    scene.ends();
}

/// RFC 3264 §6.1: who only hears, or neither, says so to the other one.
#[test]
fn who_speaks_no_more_says_so_to_the_other() {
    for [offered, answered] in [["recvonly", "sendonly"], ["inactive", "inactive"]] {
        let (scene, _) = Scene::joined();
        let [asked, heard] = scene.carol_asks(&carols(3, offered), &bobs(9, answered));
        assert_eq!(asked.sdp(), carols(4, offered));
        assert_eq!(heard.sdp(), bobs(10, answered));
        scene.alice_has_to_go();
        scene.ends();
    }
}

#[test]
fn whom_the_intruder_came_for_may_do_so_too() {
    let (scene, _) = Scene::joined();
    let hold = scene
        .bob
        .sends(reinvite(&scene.talk.callee).with_sdp(&bobs(9, "sendonly")));
    let asked = scene.carol.receives("INVITE");
    assert_eq!(asked.sdp(), bobs(10, "sendonly"));
    scene
        .carol
        .sends(response(&asked, 200).with_sdp(&carols(3, "recvonly")));
    let answer = scene.bob.receives("200");
    assert_eq!(answer.sdp(), carols(4, "recvonly"));
    scene.bob.acks(&hold, &answer);
    scene.carol.receives("ACK");
    scene.alice_has_to_go();
    scene.ends();
}

/// RFC 3261 §14.1: a refused change leaves the session as it is, and so the mix.
#[test]
fn a_change_that_the_other_side_refuses_leaves_all_three_as_they_are() {
    let (scene, dialog) = Scene::joined();
    let hold = scene
        .carol
        .sends(reinvite(&scene.talk.caller).with_sdp(&carols(3, "sendonly")));
    let asked = scene.bob.receives("INVITE");
    scene.bob.refuses(&asked, 488);
    refused(&scene.carol, &hold, "488");
    scene.alice.receives_nothing();
    assert!(scene.world.next_sound().is_none());
    scene.alice_leaves(&dialog);
    let back = scene.carol.receives("INVITE");
    takes(&scene.carol, &back, CAROL);
    // Bob has seen version 4, and refused it.
    let back = scene.bob.receives("INVITE");
    assert_eq!(back.sdp(), OFFER.replace("alice 1 1", "alice 1 5"));
    takes(&scene.bob, &back, BOB);
    scene.room_closes();
    scene.ends();
}

/// He leaves while the two are at it: what they agree on is all that is needed.
#[test]
fn who_leaves_while_the_two_agree_on_something_else_is_not_waited_for() {
    for status in [200, 488] {
        let (scene, dialog) = Scene::joined();
        let hold = scene
            .carol
            .sends(reinvite(&scene.talk.caller).with_sdp(&carols(3, "sendonly")));
        let asked = scene.bob.receives("INVITE");
        scene.bob.answers(&asked, 100);
        scene.alice_leaves(&dialog);
        scene.world.advance(Duration::from_secs(10));
        scene.carol.receives("100");
        if status == 200 {
            scene
                .bob
                .sends(response(&asked, 200).with_sdp(&bobs(9, "recvonly")));
            let heard = scene.carol.receives("200");
            scene.carol.acks(&hold, &heard);
            scene.bob.receives("ACK");
        } else {
            scene.bob.refuses(&asked, status);
            refused(&scene.carol, &hold, "488");
            let back = scene
                .carol
                .receives_within(Duration::from_secs(3), "INVITE");
            takes(&scene.carol, &back, CAROL);
            let back = scene.bob.receives("INVITE");
            takes(&scene.bob, &back, BOB);
        }
        scene.room_closes();
        scene.world.advance(LONG);
        scene.ends();
    }
}

#[test]
fn a_change_by_update_crosses_and_ends_the_mix() {
    let (scene, _) = Scene::joined();
    let update = within(&scene.talk.caller, "UPDATE").with_sdp(&carols(3, "sendonly"));
    scene.carol.sends(update);
    let asked = scene.bob.receives("UPDATE");
    assert_eq!(asked.sdp(), carols(4, "sendonly"));
    scene
        .bob
        .sends(response(&asked, 200).with_sdp(&bobs(9, "recvonly")));
    let heard = scene.carol.receives("200");
    assert_eq!(heard.sdp(), bobs(10, "recvonly"));
    scene.alice_has_to_go();
    scene.ends();
}

#[test]
fn an_update_that_changes_nothing_is_answered_by_us() {
    let (scene, dialog) = Scene::joined();
    let sides = [
        (&scene.carol, &scene.talk.caller, CAROL),
        (&scene.bob, &scene.talk.callee, BOB),
    ];
    for (phone, dialog, sdp) in sides {
        phone.sends(within(dialog, "UPDATE").with_sdp(sdp));
        let answer = phone.receives("200");
        assert!(answer.sdp().contains("c=IN IP4 192.0.2.1\r\n"), "{answer}");
    }
    // One without a session crosses.
    scene.carol.sends(within(&scene.talk.caller, "UPDATE"));
    let asked = scene.bob.receives("UPDATE");
    scene.bob.answers(&asked, 200);
    scene.carol.receives("200");
    scene.alice.receives_nothing();
    scene.ends_as_it_was(&dialog);
}

/// RFC 3261 §14.2: who makes no offer wants one, which is the other side's to make.
#[test]
fn who_asks_for_an_offer_gets_the_other_sides() {
    let (scene, _) = Scene::joined();
    let sent = scene.carol.sends(reinvite(&scene.talk.caller));
    let asked = scene.bob.receives("INVITE");
    scene
        .bob
        .sends(response(&asked, 200).with_sdp(&bobs(9, "sendrecv")));
    let offer = scene.carol.receives("200");
    assert_eq!(offer.sdp(), bobs(10, "sendrecv"));
    scene
        .carol
        .sends(crate::flow::kit::draft::ack(&sent, &offer).with_sdp(&carols(3, "sendrecv")));
    let ack = scene.bob.receives("ACK");
    assert_eq!(ack.sdp(), carols(4, "sendrecv"));
    scene.alice_has_to_go();
    scene.ends();
}

/// S-18, S-68: the time of an INVITE of ours, and no longer.
#[test]
fn what_meets_an_invite_of_ours_has_to_come_again() {
    let scene = Scene::new();
    let (asked, _) = scene.carol_is_asked();
    let sides = [
        (&scene.carol, &scene.talk.caller),
        (&scene.bob, &scene.talk.callee),
    ];
    for (phone, dialog) in sides {
        let hold = phone.sends(reinvite(dialog).with_sdp(&carols(2, "sendonly")));
        refused(phone, &hold, "491");
        phone.sends(within(dialog, "UPDATE").with_sdp(&carols(2, "sendonly")));
        phone.receives("491");
        // What is not about the session crosses.
        phone.sends(within(dialog, "INFO"));
        let other = if phone.uri() == scene.carol.uri() {
            &scene.bob
        } else {
            &scene.carol
        };
        let info = other.receives("INFO");
        other.answers(&info, 200);
        phone.receives("200");
    }
    takes(&scene.carol, &asked, CAROL);
    let asked = scene.bob.receives("INVITE");
    takes(&scene.bob, &asked, BOB);
    let dialog = scene.alice_is_in();
    scene.alice_leaves(&dialog);
    let back = scene.carol.receives("INVITE");
    for (phone, dialog) in sides {
        let hold = phone.sends(reinvite(dialog).with_sdp(&carols(3, "sendonly")));
        refused(phone, &hold, "491");
    }
    takes(&scene.carol, &back, CAROL);
    let back = scene.bob.receives("INVITE");
    takes(&scene.bob, &back, BOB);
    scene.room_closes();
    scene.carol_asks(&carols(3, "sendonly"), &bobs(9, "recvonly"));
    scene.ends();
}

/// The story: a mixer that a phone did not let go of answered 491 for ever.
#[test]
fn who_is_kept_on_a_mixer_leaves_it_by_a_change_of_his_own() {
    let scene = Scene::left();
    let back = scene.carol.receives("INVITE");
    scene.carol.refuses(&back, 488);
    let [asked, _] = scene.carol_asks(&carols(3, "sendonly"), &bobs(9, "recvonly"));
    assert_eq!(asked.sdp(), carols(4, "sendonly"));
    scene.room_closes();
    scene.world.advance(Duration::from_mins(3));
    scene.ends();
}

#[test]
fn who_waits_to_be_asked_back_leaves_the_mixer_by_a_change_of_his_own() {
    let scene = Scene::left();
    let back = scene.carol.receives("INVITE");
    scene.carol.refuses(&back, 503);
    // What he knows of the mixer is a change like any other by now.
    scene.carol_asks(&carols(3, "sendrecv"), &bobs(9, "sendrecv"));
    scene.room_closes();
    scene.world.advance(Duration::from_mins(3));
    scene.ends();
}

/// She would be given a session with whom she has left.
#[test]
fn who_hangs_up_while_her_change_is_under_way_ends_the_call() {
    let (scene, _) = Scene::joined();
    let hold = scene
        .carol
        .sends(reinvite(&scene.talk.caller).with_sdp(&carols(3, "sendonly")));
    let asked = scene.bob.receives("INVITE");
    scene.bob.answers(&asked, 100);
    scene.carol.hangs_up(&scene.talk.caller);
    let [_, _, ended] = scene.carol.receives_each(["100", "200", "487"]);
    scene.carol.acks(&hold, &ended);
    let [cancel, bye] = scene.bob.receives_each(["CANCEL", "BYE"]);
    scene.bob.answers(&cancel, 200);
    scene.bob.refuses(&asked, 487);
    scene.bob.answers(&bye, 200);
    scene.alice_has_to_go();
    scene.world.stays_quiet();
}

/// Bob's phone is sent to Dave: it calls him, and Carol leaves. The intruder stays with Bob until he
/// takes the new call up.
#[test]
fn a_transfer_crosses_and_who_is_transferred_ends_the_mix() {
    let (scene, _) = Scene::joined();
    let refers = within(&scene.talk.caller, "REFER").with("Refer-To", "<sip:dave@192.0.2.1>");
    scene.carol.sends(refers);
    let referred = scene.bob.receives("REFER");
    scene.bob.answers(&referred, 202);
    scene.carol.receives("202");
    // His phone holds this call for the other.
    let hold = scene
        .bob
        .sends(reinvite(&scene.talk.callee).with_sdp(&bobs(9, "sendonly")));
    let asked = scene.carol.receives("INVITE");
    scene
        .carol
        .sends(response(&asked, 200).with_sdp(&carols(3, "recvonly")));
    let answer = scene.bob.receives("200");
    scene.bob.acks(&hold, &answer);
    scene.carol.receives("ACK");
    scene.alice_has_to_go();
    scene.ends();
}

/// RFC 3891: somebody else's call takes the place of Carol's; her leg ends as by hanging up.
#[test]
fn who_is_replaced_leaves_as_if_she_had_hung_up() {
    let scene = Scene::new();
    let [carols_port, _] = scene.joins();
    let dialog = scene.alice_is_in();
    let dave = scene.world.phone("dave");
    let id = format!(
        "{};to-tag={};from-tag={}",
        scene.talk.caller.call_id,
        scene.talk.answer.tag_of_to(),
        scene.talk.sent.tag_of_from(),
    );
    let sent = dave.sends(invite("carol").with("Replaces", &id).with_sdp(OFFER));
    let taken = scene.carol.receives("INVITE");
    let answer = scene.carol.takes_call(&taken, &dave, &sent);
    scene.carol.leaves(&scene.talk.caller);
    let next = scene.world.next_sound();
    assert!(
        matches!(next, Some(Command::Part { port, .. }) if port == carols_port),
        "{next:?}"
    );
    hang_up(&dave, &Dialog::of_caller(&sent, &answer), &scene.carol);
    scene.alice.leaves(&dialog);
    scene.bob.is_hung_up_on();
    scene.leaves_the_mixer();
    scene.all_is_quiet();
}

/// R17: a phone that comes by another network, or a PBX that gives another address, stays in the mix. What
/// it says of itself is what the other side is given afterwards.
#[test]
fn who_only_moves_is_answered_by_us_and_stays() {
    for method in ["INVITE", "UPDATE"] {
        let scene = Scene::new();
        let [port, _] = scene.joins();
        let dialog = scene.alice_is_in();
        let moved = carols(3, "sendrecv").replace("c=IN IP4 192.0.2.10", "c=IN IP4 192.0.2.77");
        let sent = scene
            .carol
            .sends(within(&scene.talk.caller, method).with_sdp(&moved));
        let answer = scene.carol.receives("200");
        let media = format!("m=audio {port} RTP/AVP 0\r\nc=IN IP4 192.0.2.1\r\n");
        assert!(answer.sdp().contains(&media), "{answer}");
        if method == "INVITE" {
            scene.carol.acks(&sent, &answer);
        }
        scene.bob.receives_nothing();
        scene.alice.receives_nothing();
        let next = scene.world.next_sound();
        let Some(Command::Move { room, party }) = next else {
            panic!("{next:?}");
        };
        assert_eq!((room, party.0), (scene.room, port));
        assert_eq!(party.1.remote.to_string(), "192.0.2.77:40000");
        scene.alice_leaves(&dialog);
        let back = scene.carol.receives("INVITE");
        takes(&scene.carol, &back, &carols(4, "sendrecv"));
        let back = scene.bob.receives("INVITE");
        assert_eq!(back.sdp(), moved);
        takes(&scene.bob, &back, BOB);
        scene.room_closes();
        scene.ends();
    }
}

/// A phone whose NAT has given it another address says what it said before: it is heard there.
#[test]
fn who_refreshes_from_elsewhere_is_heard_there() {
    let scene = Scene::new();
    let [port, _] = scene.joins();
    let dialog = scene.alice_is_in();
    let elsewhere = scene.world.party_at("carol", "203.0.113.77:6000");
    for moves in [true, false] {
        let refresh = elsewhere.sends(reinvite(&scene.talk.caller).with_sdp(CAROL));
        let answer = elsewhere.receives("200");
        elsewhere.acks(&refresh, &answer);
        let next = scene.world.next_sound();
        if !moves {
            assert!(next.is_none(), "{next:?}");
            continue;
        }
        let Some(Command::Move { room, party }) = next else {
            panic!("{next:?}");
        };
        assert_eq!((room, party.0), (scene.room, port));
        assert_eq!(party.1.signalling.to_string(), "203.0.113.77");
    }
    scene.bob.receives_nothing();
    scene.alice_leaves(&dialog);
    let back = elsewhere.receives("INVITE");
    takes(&elsewhere, &back, CAROL);
    let back = scene.bob.receives("INVITE");
    takes(&scene.bob, &back, BOB);
    scene.room_closes();
    hang_up(&elsewhere, &scene.talk.caller, &scene.bob);
    scene.world.stays_quiet();
}

/// Another codec, or a picture, is for the other side to say something to.
#[test]
fn who_changes_more_than_his_address_asks_the_other_side() {
    let moved = carols(3, "sendrecv");
    let codec = moved.replace("AVP 0 8", "AVP 8");
    let picture = format!("{moved}m=video 40002 RTP/AVP 97\r\na=rtpmap:97 H264/90000\r\n");
    for offer in [codec, picture] {
        let (scene, _) = Scene::joined();
        scene.carol_asks(&offer, &bobs(9, "sendrecv"));
        scene.alice_has_to_go();
        scene.ends();
    }
}

/// Who stays alone with an intruder may move as well.
#[test]
fn who_stays_with_an_intruder_may_move() {
    let scene = Scene::new();
    let dialog = scene.carol_leaves();
    let moved = bobs(9, "sendrecv").replace("c=IN IP4 192.0.2.20", "c=IN IP4 192.0.2.78");
    let sent = scene
        .bob
        .sends(reinvite(&scene.talk.callee).with_sdp(&moved));
    let answer = scene.bob.receives("200");
    scene.bob.acks(&sent, &answer);
    let next = scene.world.next_sound();
    assert!(matches!(next, Some(Command::Move { .. })), "{next:?}");
    scene.alice.leaves(&dialog);
    scene.bob.is_hung_up_on();
    scene.leaves_the_mixer();
    scene.all_is_quiet();
}
