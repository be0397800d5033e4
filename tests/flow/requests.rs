//! What any request must be, and what campon answers for itself.
//!
//! Spec: RFC 3261 §8.2, §11, §18.3, §21.4.

use super::kit::draft::{invite, options, request};
use super::kit::scenes::{refused, two_phones};
use super::kit::subject::{DOMAIN, Setup};
use super::kit::world::World;

#[test]
fn options_says_what_campon_can_do() {
    let (_world, alice, _bob) = two_phones();
    alice.sends(options());
    let answer = alice.receives("200");
    // S-36
    for method in [
        "INVITE",
        "ACK",
        "CANCEL",
        "BYE",
        "OPTIONS",
        "PUBLISH",
        "SUBSCRIBE",
    ] {
        assert!(answer.lists("Allow", method), "Allow without {method}");
    }
    assert!(answer.lists("Accept", "application/sdp"));
    assert!(answer.has("Supported"));
}

#[test]
fn options_is_answered_the_same_when_heard_again() {
    let (_world, alice, _bob) = two_phones();
    let sent = alice.sends(options());
    let answer = alice.receives("200");
    alice.sends_again(&sent);
    // S-01
    assert_eq!(alice.receives("200").raw, answer.raw);
}

#[test]
fn options_with_no_hops_left_is_answered_or_refused_but_not_passed_on() {
    let (world, alice, _bob) = two_phones();
    let before = world.messages_sent();
    alice.sends(options().with("Max-Forwards", "0"));
    // S-22
    let answer = alice.receives_any();
    assert!(["200", "483"].contains(&answer.kind()), "{answer}");
    assert_eq!(world.messages_sent(), before + 1);
}

#[test]
fn an_unknown_method_is_refused_with_the_known_ones() {
    let (_world, alice, bob) = two_phones();
    for uri in [format!("sip:{DOMAIN}"), format!("sip:bob@{DOMAIN}")] {
        alice.sends(request("FROBNICATE", &uri));
        // S-10
        let refusal = alice.receives("405");
        assert!(refusal.lists("Allow", "INVITE"));
        assert!(!refusal.lists("Allow", "FROBNICATE"));
    }
    bob.receives_nothing();
}

#[test]
fn a_refusal_is_the_same_when_the_request_is_heard_again() {
    let (world, alice, _bob) = two_phones();
    let sent = alice.sends(invite("nobody"));
    let refusal = alice.receives("404");
    alice.sends_again(&sent);
    // S-12: the tag too, whether or not anything was kept of the first.
    assert_eq!(alice.receives("404").tag_of_to(), refusal.tag_of_to());
    alice.acks(&sent, &refusal);
    world.advance(std::time::Duration::from_secs(2));
    alice.receives_nothing();
}

#[test]
fn an_extension_that_campon_does_not_have_is_refused_by_name() {
    let (_world, alice, bob) = two_phones();
    let sent = alice.sends(invite("bob").with("Require", "foo-ext, bar-ext"));
    let refusal = refused(&alice, &sent, "420");
    // S-10
    assert!(refusal.lists("Unsupported", "foo-ext"));
    assert!(refusal.lists("Unsupported", "bar-ext"));
    bob.receives_nothing();
}

#[test]
fn a_required_extension_does_not_stop_a_cancel() {
    let (_world, alice, bob) = two_phones();
    let scene = super::kit::scenes::ringing(&alice, &bob);
    let cancel = super::kit::draft::cancel(&scene.sent).with("Require", "foo-ext");
    alice.sends(cancel);
    // S-09
    alice.receives("200");
    super::kit::scenes::gives_in(&bob, &scene.invite);
    refused(&alice, &scene.sent, "487");
}

#[test]
fn a_scheme_that_campon_does_not_speak_is_refused() {
    let (_world, alice, _bob) = two_phones();
    for uri in ["http://example.com/bob", "mailto:bob@example.com"] {
        let sent = alice.sends(invite(uri));
        // S-10
        refused(&alice, &sent, "416");
    }
}

#[test]
fn a_telephone_number_reaches_the_user_who_has_it() {
    let world = World::new(Setup::Standalone);
    let (alice, bob) = (world.phone("alice"), world.party("bob"));
    bob.registers_as("+4930123");
    let sent = alice.sends(invite("tel:+49-(30)-123"));
    let invite = bob.receives("INVITE");
    // S-35
    assert_eq!(invite.uri(), bob.uri());
    bob.refuses(&invite, 486);
    refused(&alice, &sent, "486");
}

#[test]
fn a_subscription_to_a_package_that_campon_does_not_have_is_refused() {
    let (_world, alice, bob) = two_phones();
    for method in ["SUBSCRIBE", "PUBLISH"] {
        let draft = request(method, &format!("sip:bob@{DOMAIN}"));
        alice.sends(draft.with("Event", "frobnication"));
        // S-120
        alice.receives("489");
    }
    bob.receives_nothing();
}

#[test]
fn a_body_shorter_than_it_says_is_refused() {
    let (_world, alice, _bob) = two_phones();
    alice.sends(options().with("Content-Length", "10"));
    // S-26
    alice.receives("400");
}

#[test]
fn bytes_after_the_body_of_a_datagram_are_ignored() {
    let (_world, alice, bob) = two_phones();
    let hidden = "INVITE sip:bob@192.0.2.1 SIP/2.0\r\n";
    let draft = options().with_body("text/plain", hidden.as_bytes());
    alice.sends(draft.with("Content-Length", "0"));
    // S-26
    alice.receives("200");
    bob.receives_nothing();
}

#[test]
fn a_datagram_without_content_length_ends_where_it_ends() {
    let (_world, alice, bob) = two_phones();
    let sent = alice.sends(
        invite("bob")
            .with_sdp(super::kit::draft::OFFER)
            .without("Content-Length"),
    );
    let invite = bob.receives("INVITE");
    // S-26
    assert_eq!(invite.sdp(), super::kit::draft::OFFER);
    bob.refuses(&invite, 486);
    refused(&alice, &sent, "486");
}

#[test]
fn a_broken_request_is_refused_and_leaves_nothing() {
    let (world, alice, _bob) = two_phones();
    alice.sends(invite("bob").with("CSeq", "99999999999 INVITE"));
    alice.receives("400");
    world.advance(std::time::Duration::from_secs(40));
    assert_eq!(world.held_by_calls(), []);
}

#[test]
fn a_subscription_is_refused_as_there_is_no_event_package() {
    let (_world, alice, bob) = two_phones();
    for uri in [format!("sip:{DOMAIN}"), format!("sip:bob@{DOMAIN}")] {
        alice.sends(request("SUBSCRIBE", &uri).with("Event", "dialog"));
        // S-120
        alice.receives("489");
    }
    bob.receives_nothing();
}
