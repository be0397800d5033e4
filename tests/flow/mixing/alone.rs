//! Whoever has joined describes himself anew: elsewhere, in another codec, on hold.
//!
//! Spec: RFC 3264 §6.1, §8, §8.4; RULES R17.

use campon::media::codec::Codec;
use campon::media::desk::Command;
use campon::media::stream::Agreed;

use super::{HOLD, Scene};
use crate::flow::kit::dialog::Dialog;
use crate::flow::kit::draft::{OFFER, reinvite, within};

impl Scene {
    /// Alice describes herself so, by this method: what she is told, and where she is heard now.
    #[track_caller]
    fn alice_moves(&self, dialog: &Dialog, method: &str, offer: &str) -> (String, Agreed) {
        let sent = match method {
            "INVITE" => reinvite(dialog),
            other => within(dialog, other),
        };
        let sent = self.alice.sends(sent.with_sdp(offer));
        let answer = self.alice.receives("200");
        if method == "INVITE" {
            self.alice.acks(&sent, &answer);
        }
        self.carol.receives_nothing();
        self.bob.receives_nothing();
        let next = self.world.next_sound();
        let Some(Command::Move { room, party }) = next else {
            panic!("{next:?}");
        };
        assert_eq!((room, party.0), (self.room, self.port));
        (answer.sdp().to_owned(), party.1)
    }
}

fn version(sdp: &str) -> u64 {
    let origin = sdp.lines().find(|line| line.starts_with("o="));
    let version = origin.and_then(|origin| origin.split(' ').nth(2));
    version.and_then(|it| it.parse().ok()).expect("a version")
}

/// The story: an intruder whose phone came by another network was answered 488, and heard nothing from then
/// on.
#[test]
fn an_intruder_who_moves_is_heard_where_he_is() {
    for method in ["INVITE", "UPDATE"] {
        let (scene, dialog) = Scene::joined();
        let moved = OFFER
            .replace("alice 1 1", "alice 1 2")
            .replace("c=IN IP4 192.0.2.10", "c=IN IP4 192.0.2.77")
            .replace("40000", "40010");
        assert_ne!(moved, OFFER);
        let (answer, agreed) = scene.alice_moves(&dialog, method, &moved);
        assert_eq!(agreed.remote.to_string(), "192.0.2.77:40010");
        let ours = format!("m=audio {} RTP/AVP 0", scene.port);
        assert!(answer.contains(&ours), "{answer}");
        let before = version(scene.progress.sdp());
        assert_eq!(version(&answer), before + 1);
        // S-64: the same once more is answered as before, and moves nobody.
        let again = scene.alice.sends(reinvite(&dialog).with_sdp(&moved));
        let once_more = scene.alice.receives("200");
        assert_eq!(once_more.sdp(), answer);
        scene.alice.acks(&again, &once_more);
        assert!(scene.world.next_sound().is_none());
        scene.ends_as_it_was(&dialog);
    }
}

/// His NAT has given him another address, and his phone, which does not know, says what it said before.
#[test]
fn an_intruder_whose_requests_come_from_elsewhere_is_heard_there() {
    let (scene, dialog) = Scene::joined();
    let elsewhere = scene.world.party_at("alice", "203.0.113.77:6000");
    let refresh = elsewhere.sends(reinvite(&dialog).with_sdp(OFFER));
    let answer = elsewhere.receives("200");
    elsewhere.acks(&refresh, &answer);
    let next = scene.world.next_sound();
    let Some(Command::Move { party, .. }) = next else {
        panic!("{next:?}");
    };
    let (port, agreed) = party;
    assert_eq!(port, scene.port);
    assert_eq!(agreed.signalling.to_string(), "203.0.113.77");
    // The same from there once more.
    let refresh = elsewhere.sends(reinvite(&dialog).with_sdp(OFFER));
    let once_more = elsewhere.receives("200");
    assert_eq!(once_more.sdp(), answer.sdp());
    elsewhere.acks(&refresh, &once_more);
    assert!(scene.world.next_sound().is_none());
    elsewhere.leaves(&dialog);
    scene.leaves_the_mixer();
    scene.they_have_each_other();
    scene.ends();
}

#[test]
fn an_intruder_may_change_his_codec() {
    let (scene, dialog) = Scene::joined();
    let other = OFFER.replace("AVP 0 8", "AVP 8 0");
    assert_ne!(other, OFFER);
    let (answer, agreed) = scene.alice_moves(&dialog, "INVITE", &other);
    assert_eq!(agreed.codec, Codec::Pcma);
    let ours = format!("m=audio {} RTP/AVP 8", scene.port);
    assert!(answer.contains(&ours), "{answer}");
    scene.ends_as_it_was(&dialog);
}

/// Nobody hears his music, and he is sent nothing before he takes the call up again.
#[test]
fn an_intruder_may_hold_and_come_back() {
    let nowhere = OFFER.replace("c=IN IP4 192.0.2.10", "c=IN IP4 0.0.0.0");
    let inactive = HOLD.replace("sendonly", "inactive");
    for (hold, answered) in [
        (HOLD, "a=recvonly"),
        (&inactive, "a=inactive"),
        (&nowhere, "a=recvonly"),
    ] {
        let (scene, dialog) = Scene::joined();
        let (answer, agreed) = scene.alice_moves(&dialog, "INVITE", hold);
        assert!(agreed.is_on_hold);
        assert!(answer.contains(&format!("{answered}\r\n")), "{answer}");
        let (answer, agreed) = scene.alice_moves(&dialog, "INVITE", OFFER);
        assert!(!agreed.is_on_hold);
        assert!(answer.contains("a=sendrecv\r\n"), "{answer}");
        scene.ends_as_it_was(&dialog);
    }
}

/// He mutes himself by signalling, and goes on hearing.
#[test]
fn an_intruder_may_only_hear() {
    let (scene, dialog) = Scene::joined();
    let mute = HOLD.replace("sendonly", "recvonly");
    let (answer, agreed) = scene.alice_moves(&dialog, "INVITE", &mute);
    assert!(!agreed.is_on_hold);
    assert!(answer.contains("a=sendonly\r\n"), "{answer}");
    scene.ends_as_it_was(&dialog);
}

/// There is no way from our address to there: his session stays as it was.
#[test]
fn an_intruder_who_goes_to_the_other_ip_version_stays_where_he_was() {
    let (scene, dialog) = Scene::joined();
    let six = OFFER.replace("c=IN IP4 192.0.2.10", "c=IN IP6 2001:db8::10");
    assert_ne!(six, OFFER);
    let sent = scene.alice.sends(reinvite(&dialog).with_sdp(&six));
    crate::flow::kit::scenes::refused(&scene.alice, &sent, "488");
    assert!(scene.world.next_sound().is_none());
    scene.ends_as_it_was(&dialog);
}
