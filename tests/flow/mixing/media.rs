//! What the sessions of the three may be: codecs, more lines than one, keys, hold. Each is mixed right, or
//! not at all, and then the two talk as before.
//!
//! Spec: RULES R17; RFC 3264 §6, §8.2, §8.4; RFC 4568 §7.1; RFC 6337 §3.1.

use campon::media::codec::Codec;

use super::*;
use crate::flow::kit::scenes::Ringing;

const CRYPTO: &str = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 \
    inline:4fl6DT4BjODWT6MsBt5BOQ7Gda1Jiv7rtpYLOqvm\r\n";

/// Carol and Bob talk, and describe themselves so.
fn call_as(carol: &Party, bob: &Party, offer: &str, answer: &str) -> Call {
    let sent = carol.sends(invite("bob").with_sdp(offer));
    let rings = bob.receives("INVITE");
    bob.answers(&rings, 180);
    let ringing = Ringing {
        rings: carol.receives("180"),
        invite: rings,
        sent,
    };
    let answered = bob.sends(response(&ringing.invite, 200).with_sdp(answer));
    let answer = carol.receives("200");
    let ack = carol.acks(&ringing.sent, &answer);
    bob.receives("ACK");
    Call {
        caller: Dialog::of_caller(&ringing.sent, &answer),
        callee: Dialog::of_callee(&ringing.invite, &answered),
        sent: ringing.sent,
        invite: ringing.invite,
        answer,
        answered,
        ack,
    }
}

impl Scene {
    /// The two describe themselves so, and Alice offers that.
    fn described(offer: &str, answer: &str, alices: &str) -> Self {
        let (world, [alice, bob, carol]) = parties(Setup::Intruding);
        let talk = call_as(&carol, &bob, offer, answer);
        Self::offered(world, [alice, bob, carol], talk, alices)
    }

    /// Both take the mixer so; what they were asked.
    #[track_caller]
    fn both_take(&self, carols: &str, bobs: &str) -> [Message; 2] {
        let (asked, _) = self.carol_is_asked();
        takes(&self.carol, &asked, carols);
        let also = self.bob.receives("INVITE");
        takes(&self.bob, &also, bobs);
        [asked, also]
    }

    /// Alice is let in; the codecs of the two.
    #[track_caller]
    fn is_let_in(&self) -> (Dialog, [Codec; 2], [bool; 2]) {
        let answer = self.alice.receives("200");
        self.alice.acks(&self.sent, &answer);
        let next = self.world.next_sound();
        let Some(Command::Mix { parties, .. }) = next else {
            panic!("{next:?}");
        };
        let codecs = parties.map(|(_, agreed)| agreed.codec);
        let have_keys = parties.map(|(_, agreed)| agreed.keys.is_some());
        (Dialog::of_caller(&self.sent, &answer), codecs, have_keys)
    }

    /// She leaves; what each of the two is given back.
    #[track_caller]
    fn is_given_back(&self, dialog: &Dialog, carols: &str, bobs: &str) -> [Message; 2] {
        self.alice_leaves(dialog);
        let back = self.carol.receives("INVITE");
        takes(&self.carol, &back, carols);
        let also = self.bob.receives("INVITE");
        takes(&self.bob, &also, bobs);
        self.room_closes();
        [back, also]
    }

    /// Nobody is asked for anything, and Alice gets her failure.
    #[track_caller]
    fn is_not_to_be(&self) {
        self.world.hears(self.room, News::Digit(Digit::D3));
        assert!(self.world.next_sound().is_none());
        self.carol.receives_nothing();
        self.bob.receives_nothing();
        self.world.advance(Duration::from_secs(20));
        refused(&self.alice, &self.sent, "486");
        self.room_closes();
        self.ends();
    }
}

/// The lines of media of a description.
fn media(message: &Message) -> Vec<&str> {
    let lines = message.sdp().lines();
    lines.filter(|line| line.starts_with("m=")).collect()
}

/// Without the origin.
fn body(sdp: &str) -> String {
    let lines = sdp.lines().filter(|line| !line.starts_with("o="));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn each_of_the_three_has_his_own_codec() {
    let opus = OFFER.replace("AVP 0 8\r\n", "AVP 96\r\na=rtpmap:96 opus/48000/2\r\n");
    let [offer, carols] =
        [OFFER, CAROL].map(|sdp| sdp.replace("AVP 0 8", "AVP 8").replace("AVP 0", "AVP 8"));
    let [answer, bobs] = [ANSWER, BOB].map(|sdp| sdp.replace("AVP 0", "AVP 8"));
    let scene = Scene::described(&offer, &answer, &opus);
    assert!(scene.progress.sdp().contains("opus/48000/2"));
    let asked = scene.both_take(&carols, &bobs);
    assert!(asked.iter().all(|it| media(it)[0].ends_with(" RTP/AVP 8")));
    let (dialog, codecs, _) = scene.is_let_in();
    assert_eq!(codecs, [Codec::Pcma; 2]);
    scene.is_given_back(&dialog, &carols, &bobs);
    scene.ends();
}

#[test]
fn nobody_joins_audio_that_we_do_not_have() {
    let [offer, answer] = [OFFER, ANSWER].map(|sdp| {
        let other = sdp.replace("AVP 0 8", "AVP 18").replace("AVP 0", "AVP 18");
        other.replace("a=sendrecv", "a=rtpmap:18 G729/8000")
    });
    Scene::described(&offer, &answer, OFFER).is_not_to_be();
}

/// R17. The story: who offered to hear, and to say nothing, was let in.
#[test]
fn nobody_joins_to_listen_only() {
    let listens = OFFER.replace("sendrecv", "recvonly");
    let scene = Scene::described(OFFER, ANSWER, &listens);
    assert!(scene.progress.sdp().contains("a=sendonly"));
    scene.is_not_to_be();
}

/// T29. The story: two phones of IPv6 were sent to our address of IPv4, and heard nobody and no warning.
#[test]
fn nobody_joins_audio_of_the_other_ip_version() {
    let six = |sdp: &str| {
        let caller = sdp.replace("c=IN IP4 192.0.2.10", "c=IN IP6 2001:db8::10");
        caller.replace("c=IN IP4 192.0.2.20", "c=IN IP6 2001:db8::20")
    };
    let described = [(six(OFFER), six(ANSWER)), (OFFER.to_owned(), six(ANSWER))];
    for (offer, answer) in &described {
        Scene::described(offer, answer, OFFER).is_not_to_be();
    }
}

/// The mixer has no picture: it is refused for the time (RFC 3264 §8.2), and comes back.
#[test]
fn a_picture_stops_while_three_talk_and_comes_back() {
    let video = "m=video 40002 RTP/AVP 97\r\na=rtpmap:97 H264/90000\r\n";
    let none = "m=video 0 RTP/AVP 97\r\n";
    let with = |sdp: &str, line: &str| format!("{sdp}{line}");
    let (offer, answer) = (with(OFFER, video), with(ANSWER, video));
    let scene = Scene::described(&offer, &answer, OFFER);
    let (carols, bobs) = (with(CAROL, none), with(BOB, none));
    for asked in scene.both_take(&carols, &bobs) {
        assert_eq!(media(&asked)[1], "m=video 0 RTP/AVP 97", "{asked}");
    }
    let (dialog, ..) = scene.is_let_in();
    let back = scene.is_given_back(&dialog, &with(CAROL, video), &with(BOB, video));
    assert_eq!(body(back[0].sdp()), body(&answer));
    assert_eq!(body(back[1].sdp()), body(&offer));
    scene.ends();
}

/// The story: of two lines of audio the first was taken, which the callee had refused.
#[test]
fn of_two_lines_of_audio_the_one_that_is_used_is_mixed() {
    let first = "m=audio 40004 RTP/AVP 0\r\n";
    let none = "m=audio 0 RTP/AVP 0\r\n";
    let two = |sdp: &str, line: &str| sdp.replacen("m=audio", &format!("{line}m=audio"), 1);
    let (offer, answer) = (two(OFFER, first), two(ANSWER, none));
    let scene = Scene::described(&offer, &answer, OFFER);
    let (carols, bobs) = (two(CAROL, none), two(BOB, none));
    for asked in scene.both_take(&carols, &bobs) {
        let lines = media(&asked);
        assert_eq!(lines.len(), 2, "{asked}");
        assert!(lines[0].starts_with("m=audio 0 "), "{asked}");
        assert!(lines[1].starts_with("m=audio 2"), "{asked}");
    }
    let (dialog, ..) = scene.is_let_in();
    let back = scene.is_given_back(&dialog, &two(CAROL, first), &bobs);
    assert_eq!(body(back[0].sdp()), body(&answer));
    scene.ends();
}

/// Each leg goes on under the keys that it has: many a phone takes no second one. Who joins has plain audio.
#[test]
fn under_keys_each_leg_keeps_those_that_it_has() {
    let other = CRYPTO.replace("4fl6DT4B", "ABCDEFGH");
    let secure = |sdp: &str, crypto: &str| {
        let sdp = sdp.replace("RTP/AVP", "RTP/SAVP");
        sdp.replace("a=sendrecv\r\n", &format!("{crypto}a=sendrecv\r\n"))
    };
    let (offer, answer) = (secure(OFFER, CRYPTO), secure(ANSWER, &other));
    let scene = Scene::described(&offer, &answer, OFFER);
    let [carols, bobs] = [secure(CAROL, CRYPTO), secure(BOB, &other)];
    let asked = scene.both_take(&carols, &bobs);
    for (asked, key) in asked.iter().zip([other.as_str(), CRYPTO]) {
        assert!(media(asked)[0].contains(" RTP/SAVP "), "{asked}");
        assert!(asked.sdp().contains(key), "{asked}");
    }
    let (dialog, _, have_keys) = scene.is_let_in();
    assert_eq!(have_keys, [true, true]);
    let back = scene.is_given_back(&dialog, &carols, &bobs);
    assert_eq!(body(back[0].sdp()), body(&answer));
    scene.ends();
}

/// RFC 4568 §7.1.2: an answer without a key is none.
#[test]
fn who_answers_keys_without_one_is_given_the_other_one_back() {
    let secure = |sdp: &str| {
        let sdp = sdp.replace("RTP/AVP", "RTP/SAVP");
        sdp.replace("a=sendrecv\r\n", &format!("{CRYPTO}a=sendrecv\r\n"))
    };
    let scene = Scene::described(&secure(OFFER), &secure(ANSWER), OFFER);
    let (asked, _) = scene.carol_is_asked();
    takes(&scene.carol, &asked, &secure(CAROL).replace(CRYPTO, ""));
    scene.alice_gets_her_failure();
    let back = scene.carol.receives("INVITE");
    takes(&scene.carol, &back, &secure(CAROL));
    scene.bob.receives_nothing();
    scene.ends();
}

/// A phone may answer as if nothing had been asked, and one that says nothing has not agreed.
#[test]
fn an_answer_is_taken_for_what_it_says() {
    let scene = Scene::new();
    let (asked, _) = scene.carol_is_asked();
    takes(&scene.carol, &asked, OFFER);
    let asked = scene.bob.receives("INVITE");
    takes(&scene.bob, &asked, ANSWER);
    let dialog = scene.alice_is_in();
    scene.ends_as_it_was(&dialog);

    let scene = Scene::new();
    let (asked, _) = scene.carol_is_asked();
    scene.carol.answers(&asked, 200);
    scene.carol.receives("ACK");
    scene.alice_gets_her_failure();
    let back = scene.carol.receives("INVITE");
    takes(&scene.carol, &back, CAROL);
    scene.bob.receives_nothing();
    scene.ends();
}

/// Music on hold, whoever plays it and wherever the description says so.
#[test]
fn a_call_on_hold_is_not_joined_however_that_is_said() {
    let nowhere = OFFER.replace("c=IN IP4 192.0.2.10", "c=IN IP4 0.0.0.0");
    let of_session = OFFER.replace("t=0 0\r\n", "t=0 0\r\na=sendonly\r\n");
    let of_session = of_session.replace("a=sendrecv\r\n", "");
    let holds = [
        (OFFER.replace("sendrecv", "sendonly"), "recvonly"),
        (OFFER.replace("sendrecv", "inactive"), "inactive"),
        (nowhere, "sendrecv"),
        (of_session, "recvonly"),
    ];
    for (hold, answer) in &holds {
        let (world, [alice, bob, carol]) = parties(Setup::Levels([1, 0, 0]));
        let talk = call(&carol, &bob);
        let sent = carol.sends(reinvite(&talk.caller).with_sdp(hold));
        let asked = bob.receives("INVITE");
        let held = BOB.replace("sendrecv", answer);
        bob.sends(response(&asked, 200).with_sdp(&held));
        let heard = carol.receives("200");
        carol.acks(&sent, &heard);
        bob.receives("ACK");
        let scene = Scene::of(world, [alice, bob, carol], talk);
        scene.is_not_to_be();
        let mut ends = audit::ends(&scene.world);
        assert_eq!(ends.pop(), Some("held"), "{hold}");
    }
}

/// The ports were being opened when one of the two put the other on hold.
#[test]
fn who_is_put_on_hold_at_the_moment_of_joining_is_not_joined() {
    for is_answered in [true, false] {
        let scene = Scene::new();
        scene.asks();
        let hold = scene
            .carol
            .sends(reinvite(&scene.talk.caller).with_sdp(HOLD));
        let asked = scene.bob.receives("INVITE");
        let answer = response(&asked, 200).with_sdp(&BOB.replace("sendrecv", "recvonly"));
        if is_answered {
            scene.bob.sends(answer);
            let heard = scene.carol.receives("200");
            scene.carol.acks(&hold, &heard);
            scene.bob.receives("ACK");
            scene.world.hears(scene.room, News::Reserved);
        } else {
            scene.world.hears(scene.room, News::Reserved);
            scene.bob.sends(answer);
            let heard = scene.carol.receives("200");
            scene.carol.acks(&hold, &heard);
            scene.bob.receives("ACK");
        }
        scene.is_refused();
    }
}
