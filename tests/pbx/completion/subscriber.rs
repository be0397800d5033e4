//! A phone that speaks RFC 6910, before the scripted PBX: it asks campon, and calls through the PBX.
//!
//! Spec: RFC 6910 §6; RULES R3, R9.

use super::{COMPLETED, LISTENS, before_each, ends, is_refused};
use crate::pbx::Phone;
use crate::pbx::dialog::Dialog;
use crate::pbx::sip::{Sip, address};

/// Subscribes to what a refusal offers.
pub fn subscribes(alice: &mut Phone, refusal: &Sip) -> Dialog {
    let offer = refusal.first("Call-Info").unwrap_or_default();
    assert!(
        offer.ends_with(";purpose=call-completion;m=BS"),
        "{refusal}"
    );
    let uri = format!("{};m=BS", address(offer));
    let contact = format!("<{}>", alice.contact_uri());
    let subscribe = alice
        .request("SUBSCRIBE", &uri)
        .with("Contact", &contact)
        .with("Event", "call-completion")
        .with("Accept", "application/call-completion")
        .with("Expires", "3600");
    let mut dialog = Dialog::of_client(&subscribe);
    let accepted = alice.ask(subscribe);
    assert_eq!(accepted.status(), Some(200), "{accepted}");
    dialog.learn(&accepted);
    dialog
}

/// What she is told next: the line of that name.
pub fn is_told(alice: &mut Phone, dialog: &mut Dialog, name: &str) -> String {
    let notify = alice.agree(dialog, "NOTIFY");
    let body = String::from_utf8_lossy(&notify.body).into_owned();
    let mut lines = body.lines();
    let line = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    line.unwrap_or_else(|| panic!("no {name} in {notify}"))
        .to_owned()
}

#[test]
fn a_phone_that_subscribes_calls_through_the_pbx_when_it_is_its_turn() {
    before_each("subscriber", 47, "", |mut scene| {
        let call = scene.bob_talks();
        let refusal = is_refused(&mut scene.alice, &mut scene.bob, 486);
        let mut queue = subscribes(&mut scene.alice, &refusal);
        let uri = is_told(&mut scene.alice, &mut queue, "cc-URI");
        // R3: the number that she dialled, so that the PBX and her password know it.
        assert!(uri.starts_with("sip:bob@pbx.test;cce="), "{uri}");
        scene.bob_is_free(call);
        assert_eq!(is_told(&mut scene.alice, &mut queue, "cc-state"), "ready");
        let mut out = scene.alice.dial(&format!("{uri};m=BS"));
        let into = scene.bob.ring();
        scene.alice.hear(&mut out, 180);
        scene.bob.tell(&into, 200, "OK");
        scene.alice.hear(&mut out, 200);
        scene.bob.expect("ACK");
        let last = scene.alice.agree(&mut queue, "NOTIFY");
        let state = last.first("Subscription-State");
        assert_eq!(state, Some("terminated;reason=noresource"), "{last}");
        ends(super::Talk { out, into }, &mut scene.alice, &mut scene.bob);
        let passed = scene.office.pbx.journal().came("INVITE");
        assert_eq!(
            passed.last().map(|invite| invite.uri().to_owned()),
            Some(format!("{uri};m=BS"))
        );
        scene.close(COMPLETED);
    });
}

/// CC-48: she is not at her phone, and says so to the cc-URI; the PBX hears nothing of it.
#[test]
fn a_phone_that_subscribes_suspends_and_resumes() {
    before_each("suspends", 48, "", |mut scene| {
        let call = scene.bob_talks();
        let refusal = is_refused(&mut scene.alice, &mut scene.bob, 486);
        let mut queue = subscribes(&mut scene.alice, &refusal);
        let uri = is_told(&mut scene.alice, &mut queue, "cc-URI");
        publishes(&mut scene.alice, &uri, "closed");
        scene.bob_is_free(call);
        scene.alice.stays_quiet(LISTENS);
        publishes(&mut scene.alice, &uri, "open");
        assert_eq!(is_told(&mut scene.alice, &mut queue, "cc-state"), "ready");
        let end = |dialog: &mut Dialog| {
            let end = dialog.request("SUBSCRIBE");
            let end = end.with("Event", "call-completion").with("Expires", "0");
            end.with("Contact", "<sip:alice@127.0.0.1>")
        };
        let ended = scene.alice.say(&mut queue, end);
        assert_eq!(ended.status(), Some(200), "{ended}");
        scene.alice.agree(&mut queue, "NOTIFY");
        assert!(scene.office.pbx.journal().came("PUBLISH").is_empty());
        scene.close(&[("accepted", 1), ("recalled", 1), ("cancelled", 1)]);
    });
}

pub fn publishes(alice: &mut Phone, to: &str, basic: &str) {
    let pidf = format!(
        "<?xml version=\"1.0\"?><presence xmlns=\"urn:ietf:params:xml:ns:pidf\" \
         entity=\"sip:alice@pbx.test\"><tuple id=\"a\"><status><basic>{basic}</basic></status>\
         </tuple></presence>"
    );
    let publish = alice.request("PUBLISH", to).with("Event", "presence");
    let answer = alice.ask(publish.carrying("application/pidf+xml", pidf.as_bytes()));
    assert_eq!(answer.status(), Some(200), "{answer}");
}
