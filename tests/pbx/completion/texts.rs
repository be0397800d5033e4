//! Texts left for a callee of the scripted PBX: by MESSAGE to his phone, which campon knows.
//!
//! Spec: RFC 3428 §4, §8; RFC 3842 §5.2; RULES R20, R23.

use super::{LISTENS, Scene, before_each, dials, is_refused, registered};
use crate::pbx::Phone;
use crate::pbx::dialog::Dialog;
use crate::pbx::sip::Sip;

const TEXTS: &str = r#"
completion.codes.message = "*39*{index}#"
completion.messages.texts = ["please call back"]
"#;

fn leaves_a_text(scene: &mut Scene) {
    is_refused(&mut scene.alice, &mut scene.bob, 486);
    dials(&mut scene.alice, "*39*0%23");
}

#[test]
fn a_text_reaches_a_callee_who_speaks_with_somebody() {
    before_each("text_taken", 58, TEXTS, |mut scene| {
        let call = scene.bob_talks();
        leaves_a_text(&mut scene);
        let text = scene.bob.expect("MESSAGE");
        assert_eq!(text.body, b"alice: please call back");
        scene.bob.answer(&text, Sip::response(&text, 200, "OK"));
        scene.bob_is_free(call);
        // Nobody is called back besides.
        scene.alice.stays_quiet(LISTENS);
        scene.close(&[("accepted", 1), ("completed", 1)]);
    });
}

#[test]
fn a_text_that_no_phone_takes_is_withdrawn() {
    before_each("text_back", 59, TEXTS, |mut scene| {
        let call = scene.bob_talks();
        leaves_a_text(&mut scene);
        let text = scene.bob.expect("MESSAGE");
        let refused = Sip::response(&text, 405, "Method Not Allowed");
        scene.bob.answer(&text, refused);
        dials(&mut scene.alice, "%2337%23");
        // His next phone is told nothing.
        let mut at_home = registered(&scene.office, "bob", 15);
        at_home.stays_quiet(LISTENS);
        scene.bob_is_free(call);
        scene.close_with([at_home], &[("accepted", 1), ("cancelled", 1)]);
    });
}

/// R23: the lamp is the PBX's, and shows both.
#[test]
fn a_text_is_shown_beside_the_voice_messages_of_the_pbx() {
    before_each("text_lamp", 69, TEXTS, |mut scene| {
        scene.office.pbx.set(|switches| switches.voice = Some(1));
        let mut lamp = asks_for_lamp(&mut scene.bob);
        let voice = "Messages-Waiting: yes\r\nVoice-Message: 1/0\r\n";
        is_shown(&mut scene.bob, &mut lamp, voice);
        let call = scene.bob_talks();
        leaves_a_text(&mut scene);
        let text = scene.bob.expect("MESSAGE");
        let refused = Sip::response(&text, 405, "Method Not Allowed");
        scene.bob.answer(&text, refused);
        let both = format!("{voice}Text-Message: 1/0\r\n");
        is_shown(&mut scene.bob, &mut lamp, &both);
        scene.office.pbx.set(|switches| switches.voice = Some(0));
        let text = "Messages-Waiting: yes\r\nVoice-Message: 0/0\r\nText-Message: 1/0\r\n";
        is_shown(&mut scene.bob, &mut lamp, text);
        dials(&mut scene.alice, "%2337%23");
        let none = "Messages-Waiting: no\r\nVoice-Message: 0/0\r\n";
        is_shown(&mut scene.bob, &mut lamp, none);
        scene.bob_is_free(call);
        scene.close(&[("accepted", 1), ("cancelled", 1)]);
    });
}

/// His phone asks the PBX, with its password.
fn asks_for_lamp(bob: &mut Phone) -> Dialog {
    let contact = format!("<{}>", bob.contact_uri());
    let aor = bob.aor();
    let mut subscribe = bob
        .request("SUBSCRIBE", &aor)
        .with("Contact", &contact)
        .with("Event", "message-summary")
        .with("Accept", "application/simple-message-summary")
        .with("Expires", "600");
    let challenged = bob.ask(subscribe.clone());
    assert_eq!(challenged.status(), Some(407), "{challenged}");
    subscribe.set("CSeq", "2 SUBSCRIBE");
    bob.prove(&mut subscribe, &challenged);
    let mut dialog = Dialog::of_client(&subscribe);
    let accepted = bob.ask(subscribe);
    assert_eq!(accepted.status(), Some(200), "{accepted}");
    dialog.learn(&accepted);
    dialog
}

fn is_shown(bob: &mut Phone, lamp: &mut Dialog, summary: &str) {
    let told = bob.agree(lamp, "NOTIFY");
    assert_eq!(String::from_utf8_lossy(&told.body), summary, "{told}");
}
