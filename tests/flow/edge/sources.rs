//! Who may send what in edge mode: by method and by where it comes from.
//!
//! Spec: RULES R4, R8.
//!
//! | from | INVITE, codes | SUBSCRIBE, PUBLISH | the other methods | REGISTER |
//! |---|---|---|---|---|
//! | nowhere known | 403 | 403 | 403 | the PBX asks for the password |
//! | a phone whose registration ran out, or was refused | 403 | 403 | 403 | the same |
//! | a phone in another user's name | 403 | 403 | 403 | the same |
//! | another port or connection of a phone | 403 | 403 | 403 | the same |
//! | who has overheard a token | 403 | 403 | 403 | the same |
//! | a phone, in its user's name | passes | passes | passes | passes |
//! | a peer | passes | passes | passes | 403 from the PBX |
//!
//! What is refused reaches neither the PBX nor a phone, and starts nothing: see [`is_shut_out`].

use std::time::Duration;

use super::super::kit::completion::{CANCEL_ALL, REQUEST_LAST};
use super::super::kit::dialog::Dialog;
use super::super::kit::draft::{ANSWER, Draft, OFFER, request, response};
use super::super::kit::party::Party;
use super::super::kit::scenes::{hang_up, refused};
use super::super::kit::subject::DOMAIN;
use super::super::kit::world::World;
use super::{address, edge, from, granted, invite, register, registers};

/// Each method that begins something.
const METHODS: [&str; 12] = [
    "INVITE",
    "SUBSCRIBE",
    "MESSAGE",
    "PUBLISH",
    "NOTIFY",
    "REFER",
    "INFO",
    "OPTIONS",
    "UPDATE",
    "PRACK",
    "BYE",
    "FROB",
];

/// A request of Alice's to Bob.
fn drafted(method: &str) -> Draft {
    let draft = from(request(method, &address("bob")), "alice");
    match method {
        "SUBSCRIBE" => draft
            .with("Event", "dialog")
            .with("Contact", "<sip:alice@192.0.2.11>"),
        "PUBLISH" => draft.with("Event", "presence"),
        "NOTIFY" => draft
            .with("Event", "dialog")
            .with("Subscription-State", "active"),
        _ => draft,
    }
}

/// Nothing of it reaches the PBX, whatever the method, and no code is taken.
#[track_caller]
fn is_shut_out(party: &Party, pbx: &Party) {
    for code in [REQUEST_LAST, CANCEL_ALL, "*37*bob%23", "*%2337%23"] {
        let sent = party.sends(invite("alice", code).with_sdp(OFFER));
        refused(party, &sent, "403");
    }
    pbx.receives_nothing();
    // Nor does anybody wait who asks for it by name.
    let queue = from(request("SUBSCRIBE", &address("bob")), "alice")
        .with("Event", "call-completion")
        .with("Contact", "<sip:alice@192.0.2.11>");
    party.sends(queue);
    party.receives("403");
    for method in METHODS {
        let sent = party.sends(drafted(method));
        let refusal = party.receives("403");
        assert_eq!(refusal.cseq_method(), method);
        if method == "INVITE" {
            party.acks(&sent, &refusal);
        }
        pbx.receives_nothing();
    }
}

/// Alice, whose phone is registered.
fn with_alice() -> (World, Party, Party) {
    let (world, pbx) = edge();
    let alice = world.party("alice");
    registers(&alice, "alice", &pbx);
    (world, pbx, alice)
}

#[test]
fn an_outsider_reaches_nobody() {
    let (world, pbx, _alice) = with_alice();
    is_shut_out(&world.party("mallory"), &pbx);
}

#[test]
fn a_registered_phone_speaks_in_its_own_users_name() {
    let (world, pbx, _alice) = with_alice();
    let mallory = world.party("mallory");
    registers(&mallory, "mallory", &pbx);
    is_shut_out(&mallory, &pbx);
}

#[test]
fn a_flow_whose_registration_ran_out_is_an_outsiders() {
    let (world, pbx) = edge();
    let alice = world.party("alice");
    alice.sends(register("alice"));
    let at_pbx = pbx.receives("REGISTER");
    pbx.sends(granted(&at_pbx, 60));
    alice.receives("200");
    world.advance(Duration::from_secs(61));
    is_shut_out(&alice, &pbx);
}

/// R8: a flow is both addresses and ports.
#[test]
fn another_port_of_the_same_phone_is_an_outsiders() {
    let (world, pbx) = edge();
    let alice = world.party_at("alice", "192.0.2.50:5060");
    registers(&alice, "alice", &pbx);
    is_shut_out(&world.party_at("alice", "192.0.2.50:5061"), &pbx);
}

/// R8: a flow is one connection, and a new one is another.
#[test]
fn another_connection_of_the_same_phone_is_an_outsiders() {
    let (world, pbx) = edge();
    let alice = world.party_over_tcp("alice");
    registers(&alice, "alice", &pbx);
    let again = world.party_over_tcp("alice");
    is_shut_out(&again, &pbx);
}

/// RFC 3261 §18.1.1: what is too long for UDP comes over a stream, from a port of its own.
#[test]
fn a_long_request_of_a_phone_on_udp_comes_over_a_stream() {
    let (world, pbx) = edge();
    let alice = world.party_at("alice", "192.0.2.50:5060");
    registers(&alice, "alice", &pbx);
    let stream = world.party_over_tcp_at("alice", "192.0.2.50:45060");
    let long = |user: &str| {
        invite(user, "bob")
            .with("Subject", &"x".repeat(1300))
            .with_sdp(OFFER)
    };
    let sent = stream.sends(long("alice"));
    let at_pbx = pbx.receives("INVITE");
    let answered = pbx.sends(response(&at_pbx, 200).with_sdp(ANSWER));
    let answer = stream.receives("200");
    stream.acks(&sent, &answer);
    pbx.receives("ACK");
    // R22: the phone is where it registered; its stream may have ended by now.
    stream.disconnects();
    hang_up(&pbx, &Dialog::of_callee(&at_pbx, &answered), &alice);
    // In nobody else's name, and from no other address.
    let again = world.party_over_tcp_at("alice", "192.0.2.50:45061");
    let sent = again.sends(long("mallory"));
    refused(&again, &sent, "403");
    let elsewhere = world.party_over_tcp_at("alice", "192.0.2.51:45060");
    let sent = elsewhere.sends(long("alice"));
    refused(&elsewhere, &sent, "403");
    pbx.receives_nothing();
}

/// What would have fitted is no phone's way to call.
#[test]
fn a_short_request_over_another_stream_is_an_outsiders() {
    let (world, pbx) = edge();
    let alice = world.party_at("alice", "192.0.2.50:5060");
    registers(&alice, "alice", &pbx);
    is_shut_out(&world.party_over_tcp_at("alice", "192.0.2.50:45060"), &pbx);
}

/// A challenge proves nothing yet.
#[test]
fn who_was_refused_by_the_pbx_is_an_outsider() {
    let (world, pbx) = edge();
    let alice = world.party("alice");
    for status in [401, 403] {
        alice.sends(register("alice"));
        let at_pbx = pbx.receives("REGISTER");
        pbx.answers(&at_pbx, status);
        alice.receives(&status.to_string());
    }
    is_shut_out(&alice, &pbx);
}

#[test]
fn a_registered_phone_calls_through_the_pbx() {
    let (_world, pbx, alice) = with_alice();
    let sent = alice.sends(invite("alice", "bob").with_sdp(OFFER));
    let at_pbx = pbx.receives("INVITE");
    pbx.refuses(&at_pbx, 486);
    refused(&alice, &sent, "486");
}

/// Who withholds his number tells it the PBX alone, which is to know whom to charge.
#[test]
fn a_phone_that_withholds_its_number_calls_in_the_name_that_the_pbx_is_told() {
    let (world, pbx, alice) = with_alice();
    let nobody = "\"Anonymous\" <sip:anonymous@anonymous.invalid>;tag=1";
    let hidden = |who: &str| {
        request("INVITE", &address("bob"))
            .with("From", nobody)
            .with("P-Preferred-Identity", &format!("<{}>", address(who)))
            .with("Privacy", "id")
            .with_sdp(OFFER)
    };
    let sent = alice.sends(hidden("alice"));
    let at_pbx = pbx.receives("INVITE");
    assert!(
        at_pbx
            .header("From")
            .starts_with("\"Anonymous\" <sip:anonymous@anonymous.invalid>")
    );
    assert_eq!(
        at_pbx.header("P-Preferred-Identity"),
        format!("<{}>", address("alice"))
    );
    pbx.refuses(&at_pbx, 486);
    refused(&alice, &sent, "486");
    let mallory = world.party("mallory");
    registers(&mallory, "mallory", &pbx);
    let sent = mallory.sends(hidden("alice"));
    refused(&mallory, &sent, "403");
    let sent = alice.sends(request("INVITE", &address("bob")).with("From", nobody));
    refused(&alice, &sent, "403");
    pbx.receives_nothing();
}

#[test]
fn a_peer_calls_through_the_pbx() {
    let (world, pbx, _alice) = with_alice();
    let office = world.office();
    let call = invite("carol", "bob").with("From", "<sip:carol@office.example>;tag=1");
    let sent = office.sends(call.with_only("From", "<sip:carol@office.example>;tag=1"));
    let at_pbx = pbx.receives("INVITE");
    pbx.refuses(&at_pbx, 486);
    refused(&office, &sent, "486");
}

/// The PBX gets nothing back that it sent, whatever it dials.
#[test]
fn the_pbx_reaches_aliases_alone() {
    let (_world, pbx, _alice) = with_alice();
    for uri in [
        address("bob"),
        address("alice"),
        format!("sip:alice@{DOMAIN}"),
    ] {
        let sent = pbx.sends(request("INVITE", &uri).with_sdp(OFFER));
        refused(&pbx, &sent, "404");
    }
}

#[test]
fn a_pbx_registers_nobody_with_us() {
    let (_world, pbx) = edge();
    pbx.sends(register("alice"));
    pbx.receives("403");
}

#[test]
fn a_call_for_help_is_let_in_from_anywhere() {
    let (world, pbx, _alice) = with_alice();
    let stranger = world.party("stranger");
    let sent = stranger.sends(request("INVITE", "urn:service:sos").with_sdp(OFFER));
    let at_pbx = pbx.receives("INVITE");
    assert_eq!(at_pbx.uri(), "urn:service:sos");
    pbx.refuses(&at_pbx, 486);
    refused(&stranger, &sent, "486");
}

/// A code is a registered user's alone: an outsider's never starts anything.
#[test]
fn a_feature_code_of_an_outsider_does_nothing() {
    let (world, pbx, _alice) = with_alice();
    let mallory = world.party("mallory");
    let sent = mallory.sends(invite("alice", "*37%23").with_sdp(OFFER));
    refused(&mallory, &sent, "403");
    pbx.receives_nothing();
}
