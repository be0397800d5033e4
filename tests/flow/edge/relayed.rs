//! What passes outside of calls between phones and the PBX that is their registrar.
//!
//! Spec: RFC 6665; RFC 3428; RFC 3842; RULES R3, R4, R12, R22.

use super::super::kit::draft::{request, response, within};
use super::super::kit::message::without_tag;
use super::super::kit::relayed::{accept, ends, notify, tells, watch, watches};
use super::super::kit::subject::DOMAIN;
use super::{address, edge, from, registers};

#[test]
fn a_phone_watches_a_line_of_the_pbx() {
    let (world, pbx) = edge();
    // Behind a NAT, its Contact leads nowhere.
    let alice = world.party_at("alice", "192.0.2.50:40001");
    registers(&alice, "alice", &pbx);
    let draft = from(watch(&alice, &address("bob"), "dialog"), "alice");
    let draft = draft.with_only("Contact", "<sip:alice@10.1.1.1:5060>");
    let scene = watches(&alice, &pbx, draft);
    // R3
    assert_eq!(scene.arrived.uri(), address("bob"));
    let names = ["From", "To"].map(|name| without_tag(scene.arrived.header(name)).to_owned());
    assert_eq!(
        names,
        ["alice", "bob"].map(|user| format!("<{}>", address(user)))
    );
    assert!(scene.arrived.contact().contains(DOMAIN));
    // R22
    let told = tells(
        &pbx,
        notify(&pbx, &scene.far, "active;expires=3600"),
        &alice,
    );
    assert_eq!(told.uri(), "sip:alice@10.1.1.1:5060");
    let end = within(&scene.near, "SUBSCRIBE").with("Event", "dialog");
    alice.sends(end.with("Expires", "0"));
    let end = pbx.receives("SUBSCRIBE");
    pbx.sends(accept(&pbx, &end, "0"));
    alice.receives("200");
    ends(&pbx, &scene.far, &alice);
}

#[test]
fn the_pbx_lights_the_lamp_of_an_alias() {
    let (world, pbx) = edge();
    let alice = world.party_over_tcp("alice");
    let alias = registers(&alice, "alice", &pbx);
    let lamp = |uri: &str| {
        request("NOTIFY", uri)
            .with("Event", "message-summary")
            .with("Subscription-State", "active")
    };
    pbx.sends(lamp(&alias));
    let lit = alice.receives("NOTIFY");
    assert_eq!(lit.uri(), alice.uri());
    assert!(lit.connection().is_some());
    alice.answers(&lit, 200);
    pbx.receives("200");
    // Nobody but its phone is reached by an alias, and nobody by another name.
    pbx.sends(lamp(&address("alice")));
    pbx.receives("404");
    alice.disconnects();
    pbx.sends(lamp(&alias));
    pbx.receives("480");
}

#[test]
fn the_pbx_watches_an_alias() {
    let (world, pbx) = edge();
    let alice = world.party("alice");
    let alias = registers(&alice, "alice", &pbx);
    let scene = watches(&pbx, &alice, watch(&pbx, &alias, "dialog"));
    assert_eq!(scene.arrived.uri(), alice.uri());
    tells(
        &alice,
        notify(&alice, &scene.far, "active;expires=3600"),
        &pbx,
    );
    ends(&alice, &scene.far, &pbx);
}

#[test]
fn a_text_passes_the_pbx_on_its_way_to_another_phone() {
    let (world, pbx) = edge();
    let [alice, bob] = ["alice", "bob"].map(|name| world.party(name));
    registers(&alice, "alice", &pbx);
    let alias = registers(&bob, "bob", &pbx);
    let text = request("MESSAGE", &address("bob")).with_body("text/plain", b"hello");
    alice.sends(from(text, "alice"));
    let out = pbx.receives("MESSAGE");
    assert_eq!(out.uri(), address("bob"));
    // A PBX that is a proxy: the names of the first pass come back.
    pbx.sends(super::super::kit::draft::proxied(&out, &alias));
    let text = bob.receives("MESSAGE");
    assert_eq!((text.uri(), text.body()), (&*bob.uri(), &b"hello"[..]));
    assert_ne!(text.call_id(), out.call_id());
    bob.answers(&text, 202);
    let back = pbx.receives("202");
    pbx.sends(response(&out, back.status()));
    alice.receives("202");
}

#[test]
fn a_peer_asks_the_pbx() {
    let (world, pbx) = edge();
    let office = world.office();
    let draft =
        watch(&office, &address("bob"), "dialog").with("From", "<sip:carol@office.example>;tag=c");
    let scene = watches(&office, &pbx, draft);
    assert_eq!(scene.arrived.uri(), address("bob"));
    tells(
        &pbx,
        notify(&pbx, &scene.far, "active;expires=3600"),
        &office,
    );
    ends(&pbx, &scene.far, &office);
}

/// R12, R13: what the PBX calls our phones is between it and us.
#[test]
fn a_phone_that_watches_registrations_sees_contacts_of_phones() {
    let (world, pbx) = edge();
    let [alice, desk] = [("alice", "192.0.2.50:40001"), ("desk", "192.0.2.51:5060")]
        .map(|(name, address)| world.party_at(name, address));
    let aliases = [&alice, &desk].map(|phone| registers(phone, "alice", &pbx));
    let watched = from(watch(&alice, &address("alice"), "reg"), "alice");
    let scene = watches(&alice, &pbx, watched);
    let [first, second] = &aliases;
    let gone = format!("sip:reg-{}@{DOMAIN}:5060", "0".repeat(24));
    let contacts = [first.as_str(), second, &gone, "sip:alice@192.0.2.77"];
    let document = |contacts: [&str; 4]| {
        let one =
            |uri: &&str| format!("<contact id=\"c\" state=\"active\"><uri>{uri}</uri></contact>");
        let all: String = contacts.iter().map(one).collect();
        format!(
            "<reginfo xmlns=\"urn:ietf:params:xml:ns:reginfo\" version=\"0\" state=\"full\">\
             <registration aor=\"sip:alice@pbx.example\" id=\"r\" state=\"active\">{all}\
             </registration></reginfo>"
        )
    };
    let news = notify(&pbx, &scene.far, "active;expires=3600");
    let body = document(contacts);
    let news = news.with_body("application/reginfo+xml", body.as_bytes());
    let told = tells(&pbx, news, &alice);
    let nobody = "sip:anonymous@anonymous.invalid";
    let expected = [&*alice.uri(), &*desk.uri(), nobody, "sip:alice@192.0.2.77"];
    assert_eq!(told.sdp(), document(expected));
    ends(&pbx, &scene.far, &alice);
}
