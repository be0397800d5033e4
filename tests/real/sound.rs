//! What real phones hear of campon in other codecs than G.711, and under keys.
//!
//! Spec: RULES R16; RFC 3551 §4.5.2; RFC 3711; RFC 4568.

use std::fs;

use crate::harness::{PROMPT_HERTZ, TOUR};
use crate::real::baresip::Baresip;
use crate::real::stage::Stage;
use crate::real::wav;

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
    let voice = stage.folder().join("voice");
    fs::create_dir_all(&voice).expect("a folder in the target folder");
    wav::write_tone(&voice.join("busy.wav"), PROMPT_HERTZ, 5);
    let config = format!(
        "{TOUR}\n[media]\nports = \"21400-21499\"\nvoice = \"{}\"\n\n\
         [completion.prompt]\ncallback = \"5\"\n",
        voice.display()
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
