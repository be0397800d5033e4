//! A REFER outside of any call, and what comes of it.
//!
//! Spec: RFC 3515 §2.4; RFC 4488; RFC 7647.

use crate::flow::kit::dialog::Dialog;
use crate::flow::kit::draft::{Draft, request, response, within};
use crate::flow::kit::message::uri_of;
use crate::flow::kit::relayed::{CAROL, phone_and_pbx, tells};
use crate::flow::kit::subject::{DOMAIN, Setup};
use crate::flow::kit::world::World;

fn refer(contact: &str) -> Draft {
    request("REFER", CAROL)
        .with("Refer-To", "<sip:dave@pbx.example>")
        .with("Contact", contact)
}

fn progress(far: &Dialog, state: &str, line: &str) -> Draft {
    within(far, "NOTIFY")
        .with("Event", "refer")
        .with("Subscription-State", state)
        .with("Contact", "<sip:carol@192.0.2.200>")
        .with_body(
            "message/sipfrag;version=2.0",
            format!("{line}\r\n").as_bytes(),
        )
}

#[test]
fn what_comes_of_a_refer_is_told_to_whoever_sent_it() {
    let (_world, alice, pbx) = phone_and_pbx();
    let sent = alice.sends(refer(&format!("<{}>", alice.uri())));
    let arrived = pbx.receives("REFER");
    assert_eq!(arrived.header("Refer-To"), "<sip:dave@pbx.example>");
    assert!(uri_of(arrived.header("Contact")).contains(DOMAIN));
    let taken = response(&arrived, 202).with("Contact", "<sip:carol@192.0.2.200>");
    let answer = pbx.sends(taken);
    // S-162
    let accepted = alice.receives("200");
    let far = Dialog::of_callee(&arrived, &answer);
    let told = tells(
        &pbx,
        progress(&far, "active;expires=60", "SIP/2.0 100 Trying"),
        &alice,
    );
    // S-161
    assert_eq!(told.body(), b"SIP/2.0 100 Trying\r\n");
    assert_eq!(told.call_id(), sent.call_id());
    assert_eq!(told.tag_of_from(), accepted.tag_of_to());
    let last = progress(&far, "terminated;reason=noresource", "SIP/2.0 200 OK");
    let last = tells(&pbx, last, &alice);
    // S-164
    assert_eq!(
        last.header("Subscription-State"),
        "terminated;reason=noresource"
    );
    pbx.sends(progress(&far, "active;expires=60", "SIP/2.0 200 OK"));
    pbx.receives("481");
}

#[test]
fn a_refer_of_which_nobody_wants_to_hear_leaves_nothing() {
    let (world, alice, pbx) = phone_and_pbx();
    let contact = format!("<{}>", alice.uri());
    alice.sends(
        refer(&contact)
            .with("Refer-Sub", "false")
            .with("Supported", "norefersub"),
    );
    let arrived = pbx.receives("REFER");
    assert_eq!(arrived.header("Refer-Sub"), "false");
    assert!(arrived.lists("Supported", "norefersub"));
    let taken = response(&arrived, 200).with("Refer-Sub", "false");
    pbx.sends(taken.with("Contact", "<sip:carol@192.0.2.200>"));
    // S-161
    assert_eq!(alice.receives("200").header("Refer-Sub"), "false");
    world.advance(std::time::Duration::from_secs(33));
    assert_eq!(world.held_by_calls(), []);
}

#[test]
fn a_refer_in_a_campon_without_a_pbx_is_not_for_it() {
    let world = World::new(Setup::Standalone);
    let (alice, bob) = (world.phone("alice"), world.phone("bob"));
    let draft = request("REFER", &format!("sip:bob@{DOMAIN}"));
    alice.sends(
        draft
            .with("Refer-To", CAROL)
            .with("Contact", "<sip:alice@192.0.2.10>"),
    );
    // S-10
    alice.receives("405");
    bob.receives_nothing();
}
