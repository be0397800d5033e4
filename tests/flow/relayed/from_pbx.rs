//! What the PBX sends to a phone without having been asked, and what it asks a phone.
//!
//! Spec: RFC 3842 (unsolicited NOTIFY); RFC 3428; RFC 6665 §4.1.4, §4.4.1.

use crate::flow::kit::dialog::Dialog;
use crate::flow::kit::draft::{request, response, within};
use crate::flow::kit::relayed::{accept, ends, notify, phone_and_pbx, tells, watch, watches};
use crate::flow::kit::subject::{DOMAIN, Setup};
use crate::flow::kit::world::World;

/// Alice, as the PBX calls her.
fn alice_uri() -> String {
    format!("sip:alice@{DOMAIN}")
}

const LAMP: &[u8] = b"Messages-Waiting: yes\r\nVoice-Message: 2/8 (0/2)\r\n";

#[test]
fn the_lamp_of_a_phone_is_lit_without_a_subscription() {
    let (_world, alice, pbx) = phone_and_pbx();
    let lamp = request("NOTIFY", &alice_uri())
        .with("Event", "message-summary")
        .with("Subscription-State", "active")
        .with_body("application/simple-message-summary", LAMP);
    let sent = pbx.sends(lamp);
    let lit = alice.receives("NOTIFY");
    assert_eq!((lit.uri(), lit.body()), (&*alice.uri(), LAMP));
    assert_eq!(lit.header("Event"), "message-summary");
    // S-123
    assert_eq!(lit.header("Subscription-State"), "active");
    // S-37
    assert_ne!(lit.call_id(), sent.call_id());
    alice.answers(&lit, 200);
    pbx.receives("200");
}

#[test]
fn a_phone_that_does_not_want_it_says_so() {
    let (_world, alice, pbx) = phone_and_pbx();
    let lamp = request("NOTIFY", &alice_uri()).with("Event", "message-summary");
    pbx.sends(lamp);
    let lit = alice.receives("NOTIFY");
    alice.answers(&lit, 481);
    // S-126
    pbx.receives("481");
}

#[test]
fn each_phone_of_a_user_is_lit() {
    let world = World::new(Setup::Upstream);
    let (desk, cell, pbx) = (world.party("desk"), world.party("cell"), world.upstream());
    desk.registers_as("bob");
    cell.registers_as("bob");
    let lamp = request("NOTIFY", &format!("sip:bob@{DOMAIN}"));
    pbx.sends(
        lamp.with("Event", "message-summary")
            .with("Subscription-State", "active"),
    );
    for phone in [&desk, &cell] {
        let lit = phone.receives("NOTIFY");
        phone.answers(&lit, 200);
    }
    pbx.receives("200");
}

#[test]
fn a_message_of_the_pbx_reaches_the_phone() {
    let (_world, alice, pbx) = phone_and_pbx();
    pbx.sends(request("MESSAGE", &alice_uri()).with_body("text/plain", b"lunch"));
    let text = alice.receives("MESSAGE");
    assert_eq!(text.body(), b"lunch");
    alice.answers(&text, 200);
    pbx.receives("200");
}

#[test]
fn what_is_for_nobody_here_does_not_go_back_to_the_pbx() {
    let (_world, alice, pbx) = phone_and_pbx();
    for method in ["MESSAGE", "NOTIFY", "SUBSCRIBE", "PUBLISH", "FROBNICATE"] {
        let draft = request(method, &format!("sip:nobody@{DOMAIN}"));
        pbx.sends(
            draft
                .with("Event", "presence")
                .with("Contact", "<sip:pbx@192.0.2.200>"),
        );
        // S-10
        pbx.receives("404");
    }
    alice.receives_nothing();
}

#[test]
fn the_pbx_watches_a_phone() {
    let (_world, alice, pbx) = phone_and_pbx();
    let scene = watches(&pbx, &alice, watch(&pbx, &alice_uri(), "dialog"));
    assert_eq!(scene.arrived.uri(), alice.uri());
    let told = tells(
        &alice,
        notify(&alice, &scene.far, "active;expires=3600"),
        &pbx,
    );
    // S-13
    assert_eq!(told.tag_of_to(), scene.sent.tag_of_from());
    assert_eq!(told.uri(), pbx.uri());
    pbx.sends(
        within(&scene.near, "SUBSCRIBE")
            .with("Event", "dialog")
            .with("Expires", "0"),
    );
    let end = alice.receives("SUBSCRIBE");
    alice.sends(accept(&alice, &end, "0"));
    pbx.receives("200");
    ends(&alice, &scene.far, &pbx);
}

#[test]
fn each_phone_that_the_pbx_watches_is_a_fork_of_its_own() {
    let world = World::new(Setup::Upstream);
    let (desk, cell, pbx) = (world.party("desk"), world.party("cell"), world.upstream());
    desk.registers_as("bob");
    cell.registers_as("bob");
    let sent = pbx.sends(watch(&pbx, &format!("sip:bob@{DOMAIN}"), "dialog"));
    let [at_desk, in_pocket] = [&desk, &cell].map(|phone| phone.receives("SUBSCRIBE"));
    let first = desk.sends(accept(&desk, &at_desk, "3600"));
    let accepted = pbx.receives("200");
    let second = cell.sends(accept(&cell, &in_pocket, "3600"));
    pbx.receives_nothing();
    let (at_desk, in_pocket) = (
        Dialog::of_callee(&at_desk, &first),
        Dialog::of_callee(&in_pocket, &second),
    );
    let told = tells(&desk, notify(&desk, &at_desk, "active;expires=3600"), &pbx);
    assert_eq!(told.tag_of_from(), accepted.tag_of_to());
    let other = tells(
        &cell,
        notify(&cell, &in_pocket, "active;expires=3600"),
        &pbx,
    );
    // S-129
    assert_eq!(other.call_id(), sent.call_id());
    assert_ne!(other.tag_of_from(), told.tag_of_from());
    // A refresh reaches the phone that it is for.
    let near = Dialog::of_callee(&other, &other);
    pbx.sends(
        within(&near, "SUBSCRIBE")
            .with("Event", "dialog")
            .with("Expires", "0"),
    );
    let end = cell.receives("SUBSCRIBE");
    cell.sends(accept(&cell, &end, "0"));
    pbx.receives("200");
    ends(&cell, &in_pocket, &pbx);
    ends(&desk, &at_desk, &pbx);
}

#[test]
fn a_phone_that_refuses_is_outdone_by_one_that_does_not() {
    let world = World::new(Setup::Upstream);
    let (desk, cell, pbx) = (world.party("desk"), world.party("cell"), world.upstream());
    desk.registers_as("bob");
    cell.registers_as("bob");
    pbx.sends(watch(&pbx, &format!("sip:bob@{DOMAIN}"), "dialog"));
    let [at_desk, in_pocket] = [&desk, &cell].map(|phone| phone.receives("SUBSCRIBE"));
    desk.sends(response(&at_desk, 489).with("Allow-Events", "presence"));
    pbx.receives_nothing();
    let answer = cell.sends(accept(&cell, &in_pocket, "3600"));
    pbx.receives("200");
    ends(&cell, &Dialog::of_callee(&in_pocket, &answer), &pbx);
}

#[test]
fn a_refusal_of_every_phone_says_what_there_would_be() {
    let (_world, alice, pbx) = phone_and_pbx();
    pbx.sends(watch(&pbx, &alice_uri(), "dialog"));
    let arrived = alice.receives("SUBSCRIBE");
    alice.sends(response(&arrived, 489).with("Allow-Events", "presence, refer"));
    // S-132
    assert_eq!(
        pbx.receives("489").header("Allow-Events"),
        "presence, refer"
    );
}
