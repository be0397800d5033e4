//! Requests that make no dialog: MESSAGE, INFO, OPTIONS, and methods that nobody here knows.
//!
//! Spec: RFC 3428; RFC 3261 §11, §16.7; RFC 4320; RFC 7332 §5.

use std::time::Duration;

use crate::flow::kit::draft::{Draft, proxied, request, response};
use crate::flow::kit::message::without_tag;
use crate::flow::kit::relayed::{CAROL, phone_and_pbx};
use crate::flow::kit::scenes::{bob_with_two_phones, two_phones};
use crate::flow::kit::subject::{DOMAIN, Setup};
use crate::flow::kit::world::World;

const TEXT: &[u8] = b"Watson, come here.\n\xc3\xa9";

fn text_for(uri: &str) -> Draft {
    request("MESSAGE", uri).with_body("text/plain;charset=utf-8", TEXT)
}

fn text_for_bob() -> Draft {
    text_for(&format!("sip:bob@{DOMAIN}"))
}

#[test]
fn a_message_goes_from_phone_to_phone() {
    let (_world, alice, bob) = two_phones();
    let sent = alice.sends(text_for_bob().with("Subject", "to the point"));
    let text = bob.receives("MESSAGE");
    assert_eq!((text.uri(), text.body()), (&*bob.uri(), TEXT));
    assert_eq!(text.header("Content-Type"), "text/plain;charset=utf-8");
    assert_eq!(text.header("Subject"), "to the point");
    assert_eq!(
        without_tag(text.header("From")),
        without_tag(sent.header("From"))
    );
    // S-37
    assert_ne!(text.call_id(), sent.call_id());
    assert_ne!(text.tag_of_from(), sent.tag_of_from());
    // RFC 3428 §4: it makes no dialog.
    assert!(!text.has("Contact"));
    // S-113
    assert_eq!(text.header("Max-Forwards"), "69");
    bob.sends(response(&text, 200).phrased("Heard"));
    let done = alice.receives("200");
    assert_eq!(done.phrase(), "Heard");
    // S-12
    assert_ne!(done.tag_of_to(), "bob");
}

#[test]
fn a_message_that_is_kept_for_later_is_answered_202() {
    let (_world, alice, pbx) = phone_and_pbx();
    alice.sends(text_for(CAROL));
    let text = pbx.receives("MESSAGE");
    pbx.answers(&text, 202);
    // RFC 3428 §7: who keeps it says so.
    alice.receives("202");
}

#[test]
fn the_first_phone_that_takes_a_message_answers_it() {
    let (_world, alice, desk, cell) = bob_with_two_phones();
    alice.sends(text_for_bob());
    let [at_desk, in_pocket] = [&desk, &cell].map(|phone| phone.receives("MESSAGE"));
    // RFC 3261 §16.6: both are forks of one request.
    assert_eq!(at_desk.call_id(), in_pocket.call_id());
    assert_eq!(at_desk.header("From"), in_pocket.header("From"));
    assert_ne!(at_desk.branch(), in_pocket.branch());
    desk.answers(&at_desk, 486);
    alice.receives_nothing();
    cell.answers(&in_pocket, 200);
    alice.receives("200");
}

#[test]
fn the_phones_share_the_breadth_of_a_message() {
    let (_world, alice, desk, cell) = bob_with_two_phones();
    alice.sends(text_for_bob().with("Max-Breadth", "1"));
    // S-112
    alice.receives("440");
    alice.sends(text_for_bob().with("Max-Breadth", "5"));
    for phone in [&desk, &cell] {
        let text = phone.receives("MESSAGE");
        assert_eq!(text.header("Max-Breadth"), "2");
        phone.answers(&text, 200);
    }
    alice.receives("200");
}

#[test]
fn the_best_of_several_refusals_is_the_answer() {
    for (first, second, best) in [(480, 415, "415"), (503, 480, "480"), (404, 503, "404")] {
        let (_world, alice, desk, cell) = bob_with_two_phones();
        alice.sends(text_for_bob());
        let [at_desk, in_pocket] = [&desk, &cell].map(|phone| phone.receives("MESSAGE"));
        desk.answers(&at_desk, first);
        cell.answers(&in_pocket, second);
        alice.receives(best);
    }
}

#[test]
fn a_refusal_for_everybody_decides_at_once() {
    let (_world, alice, desk, cell) = bob_with_two_phones();
    alice.sends(text_for_bob());
    let [at_desk, in_pocket] = [&desk, &cell].map(|phone| phone.receives("MESSAGE"));
    desk.answers(&at_desk, 603);
    alice.receives("603");
    cell.answers(&in_pocket, 200);
    alice.receives_nothing();
}

#[test]
fn a_message_for_nobody_is_refused() {
    let (_world, alice, bob) = two_phones();
    alice.sends(text_for(&format!("sip:nobody@{DOMAIN}")));
    // S-10
    alice.receives("404");
    bob.sends(crate::flow::kit::draft::register("bob").with_only("Expires", "0"));
    bob.receives("200");
    alice.sends(text_for_bob());
    let refused = alice.receives_any();
    assert!(["404", "480"].contains(&refused.kind()), "{refused}");
    bob.receives_nothing();
}

#[test]
fn a_message_that_nobody_answers_is_not_answered() {
    let (world, alice, bob) = two_phones();
    alice.sends(text_for_bob());
    world.advance(Duration::from_secs(70));
    bob.receives_copies("MESSAGE");
    // S-47
    alice.receives_nothing();
    assert_eq!(world.held_by_calls(), []);
}

#[test]
fn a_408_of_the_pbx_is_not_passed_on() {
    let (_world, alice, pbx) = phone_and_pbx();
    alice.sends(text_for(CAROL));
    let text = pbx.receives("MESSAGE");
    pbx.answers(&text, 408);
    // S-47
    alice.receives_nothing();
}

#[test]
fn a_message_that_cannot_be_sent_is_refused() {
    let (world, alice, pbx) = phone_and_pbx();
    alice.sends(text_for(CAROL));
    let text = pbx.receives("MESSAGE");
    world.could_not_send(&text);
    // S-31, S-27
    alice.receives("500");
}

#[test]
fn a_message_that_comes_twice_goes_on_once() {
    let (_world, alice, bob) = two_phones();
    let sent = alice.sends(text_for_bob());
    let text = bob.receives("MESSAGE");
    alice.sends_again(&sent);
    bob.receives_nothing();
    bob.answers(&text, 200);
    let done = alice.receives("200");
    alice.sends_again(&sent);
    // S-01
    assert_eq!(alice.receives("200").raw, done.raw);
}

#[test]
fn a_message_with_no_hops_left_or_in_a_loop_is_refused() {
    let (_world, alice, pbx) = phone_and_pbx();
    alice.sends(text_for(CAROL).with("Max-Forwards", "0"));
    // S-22
    alice.receives("483");
    alice.sends(text_for(CAROL));
    let text = pbx.receives("MESSAGE");
    pbx.sends(proxied(&text, text.uri()));
    // S-110
    pbx.receives("482");
    pbx.answers(&text, 482);
    alice.receives("482");
}

#[test]
fn a_method_that_nobody_here_knows_is_the_pbxs_to_answer() {
    let (_world, alice, pbx) = phone_and_pbx();
    for method in ["FROBNICATE", "INFO"] {
        alice.sends(request(method, CAROL).with("X-Why", "not"));
        let unknown = pbx.receives(method);
        assert_eq!(unknown.header("X-Why"), "not");
        pbx.sends(response(&unknown, 405).with("Allow", "INVITE, ACK, BYE"));
        // S-10: with what the PBX has, not with what we have.
        assert_eq!(alice.receives("405").header("Allow"), "INVITE, ACK, BYE");
    }
}

#[test]
fn options_about_the_pbx_are_its_own() {
    let (_world, alice, pbx) = phone_and_pbx();
    for uri in [CAROL, "sip:pbx.example"] {
        alice.sends(request("OPTIONS", uri).with("Accept", "application/sdp"));
        let asked = pbx.receives("OPTIONS");
        assert_eq!(asked.uri(), uri);
        pbx.sends(
            response(&asked, 200)
                .with("Allow", "INVITE")
                .with("Accept", "a/b"),
        );
        let told = alice.receives("200");
        // S-36
        assert_eq!(
            (told.header("Allow"), told.header("Accept")),
            ("INVITE", "a/b")
        );
    }
    alice.sends(crate::flow::kit::draft::options());
    assert!(alice.receives("200").lists("Allow", "PUBLISH"));
    pbx.receives_nothing();
}

#[test]
fn a_message_to_a_user_of_ours_does_not_go_to_the_pbx() {
    let world = World::new(Setup::Upstream);
    let (alice, bob, pbx) = (world.phone("alice"), world.phone("bob"), world.upstream());
    alice.sends(text_for_bob());
    let text = bob.receives("MESSAGE");
    bob.answers(&text, 200);
    alice.receives("200");
    pbx.receives_nothing();
}
