//! Texts left for a callee of the scripted PBX: by MESSAGE to his phone, which campon knows.
//!
//! Spec: RFC 3428 §4, §8; RULES R20.

use super::{LISTENS, Scene, before_each, dials, is_refused, registered};
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
