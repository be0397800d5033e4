//! What real phones hear of campon in other codecs than G.711, under keys, and in a recall.
//!
//! Spec: RULES R10, R16; RFC 3551 §4.5.2; RFC 3711; RFC 3725 §4.4; RFC 4568.

use serde_json::json;

use crate::completion::talk;
use crate::harness::{PROMPT_HERTZ, TOUR};
use crate::real::baresip::Baresip;
use crate::real::capture::Wire;
use crate::real::stage::Stage;

/// The prompt is a tone, so that it can be told from anything else in the recording; what the phone
/// presses has come back by the 486.
fn hears_and_presses(phone: &mut Baresip) {
    phone.dial("bob");
    phone.wait_for("CALL_PROGRESS");
    phone.wait_until_heard(PROMPT_HERTZ);
    phone.tell("sndcode", "5");
    let closed = phone.wait_for("CALL_CLOSED");
    assert!(closed.contains("486"), "{closed}");
}

#[test]
fn the_prompt_is_heard_in_g722_and_under_keys() {
    let stage = Stage::open("prompt_codecs", 50);
    let voice = stage.voice(&[("busy", PROMPT_HERTZ)], 5);
    let config = format!(
        "{TOUR}\n[media]\nports = \"21400-21499\"\nvoice = \"{voice}\"\n\n\
         [completion.prompt]\ncallback = \"5\"\n"
    );
    let campon = stage.campon(&config);
    let capture = stage.capture();
    let proxy = format!("sip:{}:5060", stage.campon_ip());
    let mut alice = stage.phone_with("alice", &proxy, &["audio_codecs=G722/16000"]);
    let mut dave = stage.phone_with("dave", &proxy, &["mediaenc=srtp-mand"]);
    let [mut bob, mut carol] = ["bob", "carol"].map(|user| stage.phone(user));
    for phone in [&mut alice, &mut bob, &mut carol, &mut dave] {
        phone.wait_until_registered();
    }
    carol.dial("bob");
    bob.wait_for("CALL_INCOMING");
    bob.tell("accept", "");
    carol.wait_for("CALL_ESTABLISHED");
    hears_and_presses(&mut alice);
    hears_and_presses(&mut dave);

    let captured = capture.finish();
    let us = stage.campon_ip();
    let answered = |user, with: &str| {
        let told = captured.between(us, stage.ip_of(user), "183 INVITE");
        let first = told.first().unwrap_or_else(|| panic!("{captured}"));
        let mut attributes = first.fields("sdp.media_attr");
        attributes.any(|attribute| attribute.starts_with(with))
    };
    assert!(answered("alice", "rtpmap:9 G722/8000"), "{captured}");
    assert!(!answered("alice", "crypto:"), "{captured}");
    assert!(answered("dave", "rtpmap:8 PCMA/8000"), "{captured}");
    assert!(answered("dave", "crypto:"), "{captured}");
    carol.tell("hangup", "");
    bob.wait_for("CALL_CLOSED");
    campon.stop();
}

/// RFC 3725 §4.4: a phone that goes on recording over a re-INVITE that gives its session a direction
/// has heard the prompt in its first call, and Bob in the one by which it was called back.
#[test]
fn who_is_called_back_hears_the_callee_in_the_session_that_had_no_direction() {
    let stage = Stage::open("recall_recorded", 53);
    let voice = stage.voice(&[("busy", PROMPT_HERTZ)], 5);
    let config = format!(
        "{TOUR}\n[media]\nports = \"21500-21599\"\nvoice = \"{voice}\"\n\n\
         [completion.prompt]\ncallback = \"5\"\n"
    );
    let campon = stage.campon(&config);
    let capture = stage.capture();
    let [mut bob, mut carol] = stage.registered(["bob", "carol"]);
    let mut alice = stage.softphone("alice");
    talk(&mut carol, &mut bob);
    alice.tell("call sip:bob@pbx.test");
    alice.wait_until_heard(1, PROMPT_HERTZ);
    alice.tell("dtmf 5");
    let gone = |call| json!({"ev": "state", "state": "DISCONNECTED", "call": call});
    let refused = alice.wait_for(&gone(1));
    assert_eq!(refused["code"], 486, "{refused}");
    carol.tell("hangup", "");
    bob.wait_for("CALL_CLOSED");
    bob.forget_recordings();

    alice.wait_for(&json!({"ev": "incoming", "call": 2}));
    alice.tell("answer 200 2");
    bob.wait_for("CALL_INCOMING");
    bob.tell("accept", "");
    alice.wait_until_heard(2, Stage::tone_of("bob"));
    bob.wait_until_heard(Stage::tone_of("alice"));
    bob.tell("hangup", "");
    alice.wait_for(&gone(2));
    alice.quit();

    let captured = capture.finish();
    let (us, a) = (stage.campon_ip(), stage.ip_of("alice"));
    let sessions = captured.between(us, a, "INVITE");
    let directed = |invite: &Wire| {
        let mut attributes = invite.fields("sdp.media_attr");
        !attributes.any(|attribute| attribute == "inactive")
    };
    let directed: Vec<_> = sessions.into_iter().map(directed).collect();
    assert_eq!(directed, [false, true], "{captured}");
    campon.stop();
}
