//! REGISTER on its way to the PBX and back.
//!
//! Spec: RFC 3261 §10.2, §10.3; RULES R3, R12.

use std::time::Duration;

use super::super::kit::draft::{OFFER, options, request, response};
use super::super::kit::message::{param, uri_of};
use super::super::kit::scenes::refused;
use super::super::kit::subject::{DOMAIN, UPSTREAM};
use super::{PBX, edge, granted, register, registers};

/// R3: what the digest covers, and who it is.
#[test]
fn a_registration_reaches_the_pbx_as_the_phone_wrote_it() {
    let (world, pbx) = edge();
    let alice = world.party("alice");
    let sent = alice.sends(register("alice").with("User-Agent", "phone 1.0"));
    let at_pbx = pbx.receives("REGISTER");
    assert_eq!(at_pbx.uri(), format!("sip:{PBX}"));
    assert_eq!(uri_of(at_pbx.header("To")), super::address("alice"));
    assert_eq!(uri_of(at_pbx.header("From")), super::address("alice"));
    assert_eq!(at_pbx.cseq(), sent.cseq());
    assert_ne!(at_pbx.call_id(), sent.call_id());
    assert_eq!(at_pbx.header("Max-Forwards"), "69");
    assert_eq!(at_pbx.header("User-Agent"), "phone 1.0");
    assert_eq!(at_pbx.header("Expires"), "3600");
    pbx.answers(&at_pbx, 503);
    alice.receives("503");
}

/// R12
#[test]
fn a_registration_is_kept_under_an_alias() {
    let (world, pbx) = edge();
    let alice = world.party("alice");
    let contact = "<sip:alice@192.0.2.11:5060>;q=0.5;reg-id=1;\
                   +sip.instance=\"<urn:uuid:1>\";expires=600";
    let options = "path, outbound, gruu, replaces";
    let draft = register("alice").with("Contact", contact);
    alice.sends(draft.with("Supported", options));
    let at_pbx = pbx.receives("REGISTER");
    assert_eq!(at_pbx.header("Supported"), "replaces");
    let alias = at_pbx.header("Contact");
    let uri = uri_of(alias);
    let host = format!("@{DOMAIN}:5060");
    assert!(uri.starts_with("sip:reg-") && uri.ends_with(&host), "{uri}");
    let params = ">;q=0.5;+sip.instance=\"<urn:uuid:1>\";expires=600";
    assert!(alias.ends_with(params), "{alias}");
    pbx.sends(granted(&at_pbx, 300).with("Service-Route", "<sip:192.0.2.200;lr>"));
    let answer = alice.receives("200");
    assert!(!answer.has("Service-Route"));
    let own = answer.header("Contact");
    assert_eq!(uri_of(own), "sip:alice@192.0.2.11:5060");
    assert_eq!(param(own, "expires"), Some("300"));
}

#[test]
fn a_challenge_and_its_answer_pass_through() {
    let (world, pbx) = edge();
    let alice = world.party("alice");
    let sent = alice.sends(register("alice"));
    let first = pbx.receives("REGISTER");
    let challenge = "Digest realm=\"pbx.example\", nonce=\"n1\", qop=\"auth\"";
    pbx.sends(response(&first, 401).with("WWW-Authenticate", challenge));
    let challenged = alice.receives("401");
    assert_eq!(challenged.header("WWW-Authenticate"), challenge);
    let credentials = "Digest username=\"alice\", realm=\"pbx.example\", nonce=\"n1\", \
                       uri=\"sip:pbx.example\", response=\"0\"";
    let again = register("alice")
        .with("Call-ID", sent.call_id())
        .with("CSeq", "315 REGISTER")
        .with("Authorization", credentials);
    alice.sends(again);
    let second = pbx.receives("REGISTER");
    assert_eq!(second.header("Authorization"), credentials);
    // R3
    assert_eq!(second.call_id(), first.call_id());
    assert_eq!(second.tag_of_from(), first.tag_of_from());
    assert_eq!(second.cseq(), first.cseq() + 1);
    assert_eq!(second.contact(), first.contact());
    pbx.sends(granted(&second, 3600).with("Authentication-Info", "nextnonce=\"n2\""));
    let answer = alice.receives("200");
    assert_eq!(answer.header("Authentication-Info"), "nextnonce=\"n2\"");
}

#[test]
fn a_refusal_of_the_pbx_passes_as_it_is() {
    let (world, pbx) = edge();
    let alice = world.party("alice");
    for (status, name, value) in [
        (403, "Reason", "Q.850;cause=21"),
        (423, "Min-Expires", "7200"),
        (503, "Retry-After", "30"),
        (404, "Warning", "399 pbx \"unknown\""),
    ] {
        alice.sends(register("alice"));
        let at_pbx = pbx.receives("REGISTER");
        let refusal = response(&at_pbx, status).with(name, value);
        pbx.sends(refusal.phrased("So It Is"));
        let refused = alice.receives(&status.to_string());
        assert_eq!(refused.header(name), value);
        assert_eq!(refused.phrase(), "So It Is");
    }
}

#[test]
fn every_phone_of_a_user_has_an_alias_of_its_own() {
    let (world, pbx) = edge();
    let (desk, cell) = (world.party("desk"), world.party("cell"));
    let first = registers(&desk, "bob", &pbx);
    cell.sends(register("bob"));
    let at_pbx = pbx.receives("REGISTER");
    assert_ne!(at_pbx.contact(), first);
    let both = granted(&at_pbx, 3600).with("Contact", &format!("<{first}>;expires=1800"));
    pbx.sends(both);
    let listed = cell.receives("200");
    let listed: Vec<_> = listed
        .list("Contact")
        .iter()
        .map(|it| uri_of(it).to_owned())
        .collect();
    assert_eq!(listed, [cell.uri(), desk.uri()]);
}

#[test]
fn several_contacts_of_one_register_have_an_alias_each() {
    let (world, pbx) = edge();
    let alice = world.party("alice");
    let contacts = "<sip:alice@192.0.2.11>;expires=60, <sip:alice@192.0.2.11:5070>";
    alice.sends(register("alice").with("Contact", contacts));
    let at_pbx = pbx.receives("REGISTER");
    let aliases = at_pbx.list("Contact");
    assert_eq!(aliases.len(), 2);
    assert_ne!(uri_of(aliases[0]), uri_of(aliases[1]));
    pbx.sends(granted(&at_pbx, 90));
    let listed = alice.receives("200");
    assert_eq!(
        listed.list("Contact"),
        [
            "<sip:alice@192.0.2.11>;expires=90",
            "<sip:alice@192.0.2.11:5070>;expires=90"
        ]
    );
}

/// R12: after a refresh from another port, and with another Call-ID, the phone is the same.
#[test]
fn an_alias_stays_the_same_as_long_as_the_phone_does() {
    let (world, pbx) = edge();
    let alice = world.party("alice");
    let contact = |port| {
        let address = format!("<sip:alice@192.0.2.11:{port}>");
        format!("{address};+sip.instance=\"<urn:uuid:1>\"")
    };
    alice.sends(register("alice").with("Contact", &contact(5060)));
    let first = pbx.receives("REGISTER");
    pbx.sends(granted(&first, 3600));
    alice.receives("200");
    alice.sends(register("alice").with("Contact", &contact(5070)));
    let second = pbx.receives("REGISTER");
    assert_eq!(first.contact(), second.contact());
    assert_ne!(first.call_id(), second.call_id());
    pbx.sends(granted(&second, 3600));
    let listed = alice.receives("200");
    assert_eq!(
        uri_of(listed.header("Contact")),
        "sip:alice@192.0.2.11:5070"
    );
}

#[test]
fn a_phone_that_leaves_is_unknown_to_the_pbx_and_to_us() {
    let (world, pbx) = edge();
    let alice = world.party("alice");
    let alias = registers(&alice, "alice", &pbx);
    let leaving = register("alice").with_only("Expires", "0");
    alice.sends(leaving);
    let at_pbx = pbx.receives("REGISTER");
    assert_eq!(at_pbx.header("Expires"), "0");
    assert_eq!(at_pbx.contact(), alias);
    pbx.answers(&at_pbx, 200);
    let answer = alice.receives("200");
    assert!(!answer.has("Contact"));
    pbx.sends(request("OPTIONS", &alias));
    pbx.receives("404");
    // R8: who has left is nobody.
    alice.sends(super::invite("alice", "bob").with_sdp(OFFER));
    let refused = alice.receives("403");
    assert_eq!(refused.cseq_method(), "INVITE");
    pbx.receives_nothing();
}

#[test]
fn a_star_takes_all_phones_of_a_user_away() {
    let (world, pbx) = edge();
    let (desk, cell) = (world.party("desk"), world.party("cell"));
    let aliases = [registers(&desk, "bob", &pbx), registers(&cell, "bob", &pbx)];
    desk.sends(
        register("bob")
            .with_only("Expires", "0")
            .with("Contact", "*"),
    );
    let at_pbx = pbx.receives("REGISTER");
    assert_eq!(at_pbx.header("Contact"), "*");
    pbx.answers(&at_pbx, 200);
    desk.receives("200");
    for alias in aliases {
        pbx.sends(request("OPTIONS", &alias));
        pbx.receives("480");
    }
}

#[test]
fn a_register_without_contact_lists_what_the_pbx_has() {
    let (world, pbx) = edge();
    let alice = world.party("alice");
    let alias = registers(&alice, "alice", &pbx);
    alice.sends(register("alice").without("Contact"));
    let at_pbx = pbx.receives("REGISTER");
    assert!(!at_pbx.has("Contact"));
    let listed = response(&at_pbx, 200)
        .with("Contact", &format!("<{alias}>;expires=3000"))
        .with("Contact", "<sip:alice@198.51.100.1>;expires=70");
    pbx.sends(listed);
    let listed = alice.receives("200");
    let uris: Vec<_> = listed
        .list("Contact")
        .iter()
        .map(|it| uri_of(it).to_owned())
        .collect();
    assert_eq!(uris, [alice.uri(), "sip:alice@198.51.100.1".to_owned()]);
}

/// What the PBX leaves unanswered is told as 504, before the phone gives up by itself.
#[test]
fn a_silent_pbx_is_a_504() {
    let (world, pbx) = edge();
    let alice = world.party("alice");
    alice.sends(register("alice"));
    world.advance(Duration::from_secs(15));
    alice.receives_nothing();
    world.advance(Duration::from_secs(2));
    alice.receives("504");
    world.advance(Duration::from_secs(20));
    let copies = pbx.receives_copies("REGISTER");
    // Who looks after it is told.
    assert_eq!(world.servers_down(), [UPSTREAM]);
    // Its late answer changes nothing.
    pbx.sends(granted(&copies[0], 3600));
    alice.receives_nothing();
}

#[test]
fn a_pbx_that_cannot_be_reached_is_a_503() {
    let (world, pbx) = edge();
    let alice = world.party("alice");
    alice.sends(register("alice"));
    let at_pbx = pbx.receives("REGISTER");
    world.could_not_send(&at_pbx);
    alice.receives("503");
    assert_eq!(world.servers_down(), [UPSTREAM]);
    // There is no other one: it is asked on, and that is said in the end.
    alice.sends(register("alice"));
    let at_pbx = pbx.receives("REGISTER");
    pbx.sends(granted(&at_pbx, 3600));
    alice.receives("200");
    world.advance(Duration::from_secs(30));
    assert_eq!(world.servers_down(), [""; 0]);
}

#[test]
fn a_repeated_register_is_sent_to_the_pbx_once() {
    let (world, pbx) = edge();
    let alice = world.party("alice");
    let sent = alice.sends(register("alice"));
    alice.sends_again(&sent);
    let at_pbx = pbx.receives("REGISTER");
    pbx.sends(granted(&at_pbx, 60));
    alice.receives("200");
    alice.sends_again(&sent);
    alice.receives("200");
    pbx.receives_nothing();
}

/// A registration whose Contacts contradict each other does not trouble the PBX.
#[test]
fn a_malformed_registration_stays_here() {
    let (world, pbx) = edge();
    let alice = world.party("alice");
    alice.sends(register("alice").with("Contact", "*"));
    alice.receives("400");
    let many: Vec<_> = (1..=11)
        .map(|port| format!("<sip:a@192.0.2.11:{port}>"))
        .collect();
    alice.sends(register("alice").with("Contact", &many.join(", ")));
    alice.receives("403");
    pbx.receives_nothing();
}

/// The PBX would shut us out, and all phones with us.
#[test]
fn who_is_wrong_too_often_is_not_passed_on() {
    let (world, pbx) = edge();
    let (alice, bob) = (world.party("alice"), world.party("bob"));
    let credentials = "Digest username=\"alice\", realm=\"pbx.example\", nonce=\"n\"";
    let tries = || register("alice").with("Authorization", credentials);
    let again = "Digest realm=\"pbx.example\", nonce=\"n2\", stale=TRUE";
    // A nonce that is too old is nobody's fault.
    for _ in 0..12 {
        alice.sends(tries());
        let at_pbx = pbx.receives("REGISTER");
        pbx.sends(response(&at_pbx, 401).with("WWW-Authenticate", again));
        alice.receives("401");
    }
    for _ in 0..10 {
        alice.sends(tries());
        let at_pbx = pbx.receives("REGISTER");
        pbx.sends(response(&at_pbx, 401).with("WWW-Authenticate", "Digest realm=\"p\""));
        alice.receives("401");
    }
    alice.sends(tries());
    alice.receives("403");
    pbx.receives_nothing();
    registers(&bob, "bob", &pbx);
    world.advance(Duration::from_secs(61));
    registers(&alice, "alice", &pbx);
}

/// A phone that was started anew counts from 1 again, perhaps with the Call-ID of before: whether that
/// will do is the PBX's to say.
#[test]
fn a_phone_that_counts_anew_is_there_if_the_pbx_says_so() {
    let (world, pbx) = edge();
    let (alice, moved) = (
        world.party_at("alice", "192.0.2.50:5060"),
        "192.0.2.50:5070",
    );
    let moved = world.party_at("alice", moved);
    let contact = "<sip:alice@192.0.2.50>";
    for (phone, cseq) in [(&alice, 7), (&moved, 1)] {
        let draft = register("alice")
            .with("Call-ID", "same")
            .with("Contact", contact);
        phone.sends(draft.with("CSeq", &format!("{cseq} REGISTER")));
        let at_pbx = pbx.receives("REGISTER");
        pbx.sends(granted(&at_pbx, 60));
        let told = phone.receives("200");
        assert_eq!(told.header("Contact"), format!("{contact};expires=60"));
        let sent = pbx.sends(request("INVITE", at_pbx.contact()).with_sdp(OFFER));
        let at_phone = phone.receives("INVITE");
        phone.refuses(&at_phone, 486);
        refused(&pbx, &sent, "486");
    }
}

/// R12: the PBX need not forget the phones of a campon that is about to be started anew.
#[test]
fn options_to_an_alias_are_answered_while_draining() {
    let (world, pbx) = edge();
    let alice = world.party("alice");
    let alias = registers(&alice, "alice", &pbx);
    world.drains();
    pbx.sends(request("OPTIONS", &alias));
    pbx.receives("200");
    pbx.sends(options());
    pbx.receives("503");
}

#[test]
fn options_to_an_alias_tell_whether_its_phone_is_there() {
    let (world, pbx) = edge();
    let alice = world.party_over_tcp("alice");
    let alias = registers(&alice, "alice", &pbx);
    pbx.sends(request("OPTIONS", &alias));
    pbx.receives("200");
    alice.disconnects();
    pbx.sends(request("OPTIONS", &alias));
    pbx.receives("480");
    pbx.sends(request(
        "OPTIONS",
        &format!("sip:reg-000000000000000000000000@{DOMAIN}"),
    ));
    pbx.receives("404");
    // Whether we are there.
    pbx.sends(options());
    pbx.receives("200");
}
