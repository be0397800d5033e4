//! Who can be called: registrations, their ends, and how users are found.
//!
//! Spec: RFC 3261 §10.3, §19.1.4.

use std::time::Duration;

use super::kit::draft::{invite, register};
use super::kit::message::{param, uri_of};
use super::kit::scenes::{refused, two_phones};
use super::kit::subject::{DOMAIN, Setup};
use super::kit::world::World;

#[test]
fn a_registration_is_answered_with_the_bindings() {
    let world = World::new(Setup::Standalone);
    let (desk, cell) = (world.party("desk"), world.party("cell"));
    desk.registers_as("bob");
    cell.sends(register("bob"));
    let answer = cell.receives("200");
    let contacts = answer.list("Contact");
    let uris: Vec<_> = contacts.iter().map(|contact| uri_of(contact)).collect();
    assert!(uris.contains(&desk.uri().as_str()), "{uris:?}");
    assert!(uris.contains(&cell.uri().as_str()), "{uris:?}");
    assert_eq!(uris.len(), 2);
    assert_eq!(param(contacts[0], "expires"), Some("3600"));
}

#[test]
fn a_registration_that_is_refreshed_stays_one() {
    let (world, alice, bob) = two_phones();
    world.advance(Duration::from_mins(30));
    let same = format!("<SIP:bob@{}>", bob.address());
    bob.sends(register("bob").with("Contact", &same));
    // S-34
    assert_eq!(bob.receives("200").list("Contact").len(), 1);
    world.advance(Duration::from_mins(45));
    let sent = alice.sends(invite("bob"));
    let invite = bob.receives("INVITE");
    bob.refuses(&invite, 486);
    refused(&alice, &sent, "486");
}

#[test]
fn a_phone_that_comes_back_at_another_address_is_called_there_only() {
    let world = World::new(Setup::Standalone);
    let (alice, before, after) = (
        world.phone("alice"),
        world.party("before"),
        world.party("after"),
    );
    for place in [&before, &after] {
        let contact = format!("<{}>;+sip.instance=\"<urn:uuid:0a>\"", place.uri());
        place.sends(register("bob").with("Contact", &contact));
        // S-87
        assert_eq!(place.receives("200").list("Contact").len(), 1);
    }
    let sent = alice.sends(invite("bob"));
    let invite = after.receives("INVITE");
    before.receives_nothing();
    after.refuses(&invite, 486);
    refused(&alice, &sent, "486");
}

#[test]
fn a_phone_is_called_by_the_transport_that_its_contact_names() {
    let world = World::new(Setup::Standalone);
    let (alice, over_udp, over_tcp) = (
        world.phone("alice"),
        world.party("udp"),
        world.party_over_tcp("tcp"),
    );
    let contact = format!("<{}>", over_tcp.uri());
    over_udp.sends(register("bob").with("Contact", &contact));
    over_udp.receives("200");
    let sent = alice.sends(invite("bob"));
    // S-100
    let invite = over_tcp.receives("INVITE");
    assert!(invite.header("Via").starts_with("SIP/2.0/TCP "));
    over_udp.receives_nothing();
    over_tcp.refuses(&invite, 486);
    refused(&alice, &sent, "486");
}

#[test]
fn a_registration_that_has_expired_is_not_called() {
    let (world, alice, bob) = two_phones();
    world.advance(Duration::from_mins(61));
    let sent = alice.sends(invite("bob"));
    let refusal = alice.receives_final();
    assert!(["404", "480"].contains(&refusal.kind()), "{refusal}");
    alice.acks(&sent, &refusal);
    bob.receives_nothing();
}

#[test]
fn a_registration_that_is_taken_back_is_not_called() {
    let (_world, alice, bob) = two_phones();
    for gone in [
        register("bob").with_only("Expires", "0"),
        register("bob")
            .with_only("Expires", "0")
            .with("Contact", "*"),
    ] {
        bob.registers();
        bob.sends(gone);
        assert!(!bob.receives("200").has("Contact"));
        let sent = alice.sends(invite("bob"));
        let refusal = alice.receives_final();
        assert!(["404", "480"].contains(&refusal.kind()), "{refusal}");
        alice.acks(&sent, &refusal);
    }
}

#[test]
fn a_question_for_the_bindings_changes_nothing() {
    let (_world, _alice, bob) = two_phones();
    let question = register("bob").without("Contact").without("Expires");
    bob.sends(question);
    let answer = bob.receives("200");
    assert_eq!(uri_of(answer.header("Contact")), bob.uri());
}

#[test]
fn a_user_is_found_however_the_address_is_written() {
    let (_world, alice, bob) = two_phones();
    for uri in [
        format!("SIP:bob@{DOMAIN}"),
        format!("sip:%62ob@{DOMAIN}"),
        format!("sip:bob@{DOMAIN};transport=udp"),
        format!("sip:bob@{DOMAIN}:5060"),
    ] {
        let sent = alice.sends(invite(&uri));
        // S-34
        let invite = bob.receives("INVITE");
        bob.refuses(&invite, 486);
        refused(&alice, &sent, "486");
    }
}

#[test]
fn a_user_of_another_case_is_another_user() {
    let (_world, alice, bob) = two_phones();
    let sent = alice.sends(invite("Bob"));
    // S-34
    refused(&alice, &sent, "404");
    bob.receives_nothing();
}

#[test]
fn a_phone_is_called_at_its_contact_with_all_its_parameters() {
    let world = World::new(Setup::Standalone);
    let (alice, bob) = (world.phone("alice"), world.party("bob"));
    let uri = format!("sip:b%20ob@{};line=7;ob", bob.address());
    bob.sends(register("bob").with("Contact", &format!("\"Bob\" <{uri}>;q=0.5")));
    bob.receives("200");
    let sent = alice.sends(invite("bob"));
    let invite = bob.receives("INVITE");
    assert_eq!(invite.uri(), uri);
    bob.refuses(&invite, 486);
    refused(&alice, &sent, "486");
}
