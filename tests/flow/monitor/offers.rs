//! The offer: in which responses it stands, and whom it lets in.

use super::*;
use crate::flow::kit::scenes::{offered, two_phones};

/// The parameters of an offer, and its URI.
#[track_caller]
fn offer(response: &Message) -> (String, String) {
    let info = response.header("Call-Info");
    let (uri, params) = info.split_once('>').expect("a URI in brackets");
    (uri_of(info).to_owned(), format!("{}>{params}", &uri[..8]))
}

#[test]
fn an_offer_is_told_reliably_to_who_asks_for_that() {
    let (_world, alice, bob) = two_phones();
    let sent = alice.sends(invite("bob").with_sdp(OFFER).with("Supported", "100rel"));
    let arrived = bob.receives("INVITE");
    bob.answers(&arrived, 180);
    let rings = alice.receives("180");
    assert!(offer(&rings).1.contains("purpose=call-completion"));
    assert_eq!(rings.header("Require"), "100rel"); // CC-01
    assert!(rings.header("RSeq").parse::<u32>().is_ok());
    bob.refuses(&arrived, 486);
    refused(&alice, &sent, "486");
}

#[test]
fn an_offer_is_made_while_it_rings_and_when_it_has_failed() {
    let (_world, alice, bob) = two_phones();
    let (sent, arrived) = offered(&alice, &bob);
    for code in [180, 183] {
        bob.answers(&arrived, code);
        let told = alice.receives(&code.to_string());
        let (_, form) = offer(&told);
        assert_eq!(form, "<sip:cc->;purpose=call-completion;m=NR"); // CC-30
    }
    bob.refuses(&arrived, 486);
    let busy = refused(&alice, &sent, "486");
    let (uri, form) = offer(&busy);
    assert_eq!(form, "<sip:cc->;purpose=call-completion;m=BS"); // CC-30
    assert!(uri.ends_with(&format!("@{DOMAIN}:5060")), "{uri}"); // CC-31
}

#[test]
fn every_address_that_was_offered_leads_to_the_queue_and_so_does_the_callees_own() {
    let (world, alice, bob) = two_phones();
    let (sent, arrived) = offered(&alice, &bob);
    bob.answers(&arrived, 180);
    let (early, _) = offer(&alice.receives("180"));
    bob.refuses(&arrived, 486);
    let (late, _) = offer(&refused(&alice, &sent, "486"));
    assert_ne!(early, late);
    for queue in [early, late, format!("sip:bob@{DOMAIN}")] {
        Place::taken(&alice, subscribe(&alice, &queue)).left(); // CC-33
        world.advance(SECOND);
    }
}

#[test]
fn an_unknown_mode_or_none_is_served_as_the_one_that_was_seen() {
    let scene = Scene::new();
    for end in ["", ";m=ZZ", ";m"] {
        let queue = offered_to(&scene.alice);
        let draft = subscribe(&scene.alice, &format!("{queue}{end}"));
        Place::taken(&scene.alice, draft).left(); // CC-32
        scene.world.advance(WINDOW);
    }
    hang_up(&scene.dave, &scene.talk.caller, &scene.bob);
}

#[test]
fn who_made_the_call_may_ask_whatever_his_name_and_nobody_else() {
    let scene = Scene::new();
    let Scene { alice, carol, .. } = &scene;
    let queue = offered_to(alice);
    for uri in [&queue, &format!("sip:bob@{DOMAIN}")] {
        carol.sends(subscribe(carol, uri));
        carol.receives("403"); // CC-29
    }
    let eve = scene.world.party("eve");
    let as_alice = format!("<sip:alice@{DOMAIN}>;tag=eve");
    eve.sends(subscribe(&eve, &queue).with("From", &as_alice));
    eve.receives("403"); // CC-71
    let renamed = format!("\"A. Liddell\" <sip:alice@{DOMAIN}>;tag=other;x=y");
    let draft = subscribe(alice, &queue).with("From", &renamed);
    Place::taken(alice, draft).left(); // CC-53
    hang_up(&scene.dave, &scene.talk.caller, &scene.bob);
}

#[test]
fn who_asks_too_late_is_refused() {
    let scene = Scene::new();
    let Scene { alice, world, .. } = &scene;
    let queue = offered_to(alice);
    world.advance(SECOND * 29);
    Place::taken(alice, subscribe(alice, &queue)).left();
    world.advance(SECOND * 2);
    for uri in [&queue, &format!("sip:bob@{DOMAIN}")] {
        alice.sends(subscribe(alice, uri));
        alice.receives("403"); // CC-73
    }
    hang_up(&scene.dave, &scene.talk.caller, &scene.bob);
}
