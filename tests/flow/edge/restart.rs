//! What is left of registrations after a restart, and what a phone hears between two of the PBX's.
//!
//! Spec: RULES R12.

use std::time::Duration;

use super::super::kit::completion::{
    CANCEL_ALL, LONG, MOMENT, REQUEST_LAST, is_confirmed, just_before, recalled,
};
use super::super::kit::draft::{OFFER, proxied, request};
use super::super::kit::message::{Message, param};
use super::super::kit::party::Party;
use super::super::kit::scenes::refused;
use super::super::kit::subject::Setup;
use super::super::kit::world::World;
use super::{address, edge_with, from, granted, invite, register, registers};

fn edge() -> (World, Party) {
    edge_with(Setup::EdgeNat)
}

/// A REGISTER of Alice's with this Call-ID and number.
fn numbered(call_id: &str, cseq: u32) -> super::Draft {
    register("alice")
        .with("Call-ID", call_id)
        .with("CSeq", &format!("{cseq} REGISTER"))
}

/// Alice registers, for an hour as the PBX sees it: what the PBX got.
#[track_caller]
fn registered(alice: &Party, pbx: &Party) -> Message {
    alice.sends(numbered("one", 1));
    let at_pbx = pbx.receives("REGISTER");
    pbx.sends(granted(&at_pbx, 3600));
    let told = alice.receives("200");
    assert_eq!(param(told.header("Contact"), "expires"), Some("60"));
    at_pbx
}

#[test]
fn a_refresh_is_answered_here_until_half_of_the_pbxs_time_is_over() {
    let (world, pbx) = edge();
    let alice = world.party("alice");
    let first = registered(&alice, &pbx);
    for cseq in 2..40 {
        world.advance(Duration::from_secs(46));
        alice.sends(numbered("one", cseq));
        let told = alice.receives("200");
        assert_eq!(param(told.header("Contact"), "expires"), Some("60"));
        assert!(
            told.header("Contact")
                .starts_with(&format!("<{}>", alice.uri()))
        );
        pbx.receives_nothing();
    }
    world.advance(Duration::from_secs(56));
    alice.sends(numbered("one", 41));
    let second = pbx.receives("REGISTER");
    assert_eq!(second.contact(), first.contact());
    // R3: in their order, with a gap where we answered.
    assert_eq!(second.call_id(), first.call_id());
    assert_eq!(second.cseq(), 41);
    pbx.sends(granted(&second, 3600));
    alice.receives("200");
    world.pings();
}

#[test]
fn whatever_is_new_about_a_phone_goes_to_the_pbx() {
    let (world, pbx) = edge();
    let alice = world.party_at("alice", "192.0.2.50:5060");
    let moved = world.party_at("alice", "192.0.2.50:5061");
    registered(&alice, &pbx);
    let own = format!("<{}>", alice.uri());
    let changed = [
        (&alice, numbered("two", 1)),
        (
            &alice,
            numbered("two", 2).with("Contact", &format!("{own};q=0.1")),
        ),
        (
            &alice,
            numbered("two", 3).with("Contact", "<sip:alice@192.0.2.50:5060;new>"),
        ),
        (&moved, numbered("two", 4).with("Contact", &own)),
        (
            &moved,
            numbered("two", 5)
                .with("Contact", &own)
                .with_only("Expires", "0"),
        ),
    ];
    for (phone, draft) in changed {
        phone.sends(draft);
        let at_pbx = pbx.receives("REGISTER");
        pbx.sends(granted(&at_pbx, 3600));
        phone.receives("200");
    }
}

/// R12: the phone is there at once, and the PBX finds it under the same alias.
#[test]
fn a_phone_is_called_after_a_restart_as_before() {
    let (world, pbx) = edge();
    let alice = world.party_at("alice", "203.0.113.5:40001");
    let alias = registered(&alice, &pbx).contact().to_owned();
    world.advance(Duration::from_secs(20));
    world.restarts();
    let sent = pbx.sends(request("INVITE", &alias).with_sdp(OFFER));
    let at_alice = alice.receives("INVITE");
    assert_eq!(at_alice.uri(), alice.uri());
    alice.refuses(&at_alice, 486);
    refused(&pbx, &sent, "486");
    // R8: and it may call.
    let sent = alice.sends(invite("alice", "bob").with_sdp(OFFER));
    let at_pbx = pbx.receives("INVITE");
    pbx.refuses(&at_pbx, 486);
    refused(&alice, &sent, "486");
    // The PBX has it for an hour, of which 20 s are over.
    alice.sends(numbered("one", 2));
    alice.receives("200");
    pbx.receives_nothing();
    world.advance(Duration::from_secs(61));
    pbx.sends(request("OPTIONS", &alias));
    pbx.receives("480");
}

#[test]
fn a_time_that_ran_out_while_we_were_away_has_run_out() {
    let (world, pbx) = edge();
    let alice = world.party("alice");
    let alias = registered(&alice, &pbx).contact().to_owned();
    world.advance(Duration::from_secs(59));
    world.restarts();
    world.advance(Duration::from_secs(2));
    pbx.sends(request("OPTIONS", &alias));
    pbx.receives("480");
}

/// A connection does not outlive the process: the phone has to come back, and no other phone on a
/// new connection is taken for it.
#[test]
fn a_phone_on_a_connection_is_there_when_it_has_come_back() {
    let (world, pbx) = edge();
    let alice = world.party_over_tcp("alice");
    let alias = registered(&alice, &pbx).contact().to_owned();
    world.restarts();
    pbx.sends(request("OPTIONS", &alias));
    pbx.receives("480");
    let sent = alice.sends(invite("alice", "bob").with_sdp(OFFER));
    refused(&alice, &sent, "403");
    alice.sends(numbered("one", 2));
    let at_pbx = pbx.receives("REGISTER");
    assert_eq!(at_pbx.contact(), alias);
    pbx.sends(granted(&at_pbx, 3600));
    alice.receives("200");
    pbx.sends(request("OPTIONS", &alias));
    pbx.receives("200");
}

#[test]
fn who_has_left_is_not_there_after_a_restart() {
    let (world, pbx) = edge();
    let (alice, bob) = (world.party("alice"), world.party("bob"));
    let alias = registered(&alice, &pbx).contact().to_owned();
    let other = registers(&bob, "bob", &pbx);
    alice.sends(numbered("one", 2).with_only("Expires", "0"));
    let at_pbx = pbx.receives("REGISTER");
    pbx.answers(&at_pbx, 200);
    alice.receives("200");
    world.restarts();
    pbx.sends(request("OPTIONS", &alias));
    pbx.receives("404");
    pbx.sends(request("OPTIONS", &other));
    pbx.receives("200");
}

/// R2: who was on a call when we were killed may have hung up unseen; nobody knows, so that a busy
/// signal is no refusal, and waiting for him ends after a while.
#[test]
fn a_callee_of_whom_nothing_is_known_after_a_restart_is_called_in_the_end() {
    let (world, pbx) = edge_with(Setup::EdgeKept);
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| world.party(name));
    registers(&alice, "alice", &pbx);
    let to_bob = registers(&bob, "bob", &pbx);
    registers(&carol, "carol", &pbx);
    world.restarts();
    for caller in [(&alice, "alice"), (&carol, "carol")] {
        let (phone, user) = caller;
        let sent = phone.sends(invite(user, "bob").with_sdp(OFFER));
        let out = pbx.receives("INVITE");
        let back = pbx.sends(proxied(&out, &to_bob));
        let arrived = bob.receives("INVITE");
        bob.refuses(&arrived, 486);
        let busy = pbx.receives("486");
        pbx.acks(&back, &busy);
        pbx.refuses(&out, 486);
        refused(phone, &sent, "486");
    }
    let code = from(request("INVITE", &address(REQUEST_LAST)), "alice");
    let code = alice.sends(code.with_sdp(OFFER));
    is_confirmed(&alice, &code);
    world.advance(just_before(LONG));
    alice.receives_nothing();
    world.advance(MOMENT);
    let recall = recalled(&alice);
    alice.refuses(&recall, 486);
    let code = from(request("INVITE", &address(CANCEL_ALL)), "alice");
    let code = alice.sends(code.with_sdp(OFFER));
    is_confirmed(&alice, &code);
}
