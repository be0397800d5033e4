//! Numbers that are not the names under which phones register: as configured, and as calls show them.
//!
//! Spec: RULES R1.

use super::super::kit::completion::{CANCEL_ALL, GUARD, REQUEST_LAST, is_confirmed};
use super::super::kit::draft::{Draft, OFFER, proxied, request};
use super::super::kit::message::Message;
use super::super::kit::party::Party;
use super::super::kit::scenes::refused;
use super::super::kit::subject::Setup;
use super::super::kit::world::World;
use super::{address, edge, edge_with, from, invite, registers};

/// Alice's call to this number is refused by Bob's phone, which is rung as `onward` says; what she is
/// told.
#[track_caller]
fn is_refused(
    (alice, pbx, bob): (&Party, &Party, &Party),
    number: &str,
    onward: impl FnOnce(&Message) -> Draft,
) -> Message {
    let sent = alice.sends(invite("alice", number).with_sdp(OFFER));
    let out = pbx.receives("INVITE");
    let back = pbx.sends(onward(&out));
    let arrived = bob.receives("INVITE");
    bob.refuses(&arrived, 486);
    let busy = pbx.receives("486");
    pbx.acks(&back, &busy);
    pbx.refuses(&out, 486);
    refused(alice, &sent, "486")
}

fn three() -> (World, Party, [Party; 3], String) {
    let (world, pbx) = edge();
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| world.party(name));
    registers(&alice, "alice", &pbx);
    let to_bob = registers(&bob, "bob", &pbx);
    (world, pbx, [alice, bob, carol], to_bob)
}

fn offers(failure: &Message) -> bool {
    let info = failure.find("Call-Info").unwrap_or_default();
    info.ends_with(";purpose=call-completion;m=BS")
}

#[test]
fn whose_number_it_is_shows_when_a_call_comes_back_by_its_ids() {
    let (_world, pbx, [alice, bob, _], to_bob) = three();
    let parties = (&alice, &pbx, &bob);
    // The first call is to nobody's number as far as anybody knows.
    let first = is_refused(parties, "1001", |out| proxied(out, &to_bob));
    assert!(!offers(&first), "{first}");
    let second = is_refused(parties, "1001", |out| proxied(out, &to_bob));
    assert!(offers(&second), "{second}");
    let code = from(request("INVITE", &address(REQUEST_LAST)), "alice");
    let code = alice.sends(code.with_sdp(OFFER));
    is_confirmed(&alice, &code);
    let code = from(request("INVITE", &address(CANCEL_ALL)), "alice");
    let code = alice.sends(code.with_sdp(OFFER));
    is_confirmed(&alice, &code);
}

/// A group that rings Bob, and next time Carol.
#[test]
fn a_number_that_rings_two_users_is_nobodys() {
    let (_world, pbx, [alice, bob, carol], to_bob) = three();
    let to_carol = registers(&carol, "carol", &pbx);
    is_refused((&alice, &pbx, &bob), "700", |out| proxied(out, &to_bob));
    is_refused((&alice, &pbx, &carol), "700", |out| proxied(out, &to_carol));
    let third = is_refused((&alice, &pbx, &bob), "700", |out| proxied(out, &to_bob));
    assert!(!offers(&third), "{third}");
}

/// The PBX shows extensions and has ids of its own: only the configuration knows who is who.
#[test]
fn numbers_of_the_configuration_join_the_passes_of_a_b2bua() {
    let (world, pbx) = edge_with(Setup::EdgeKept);
    let [alice, bob] = ["alice", "bob"].map(|name| world.party(name));
    registers(&alice, "alice", &pbx);
    let to_bob = registers(&bob, "bob", &pbx);
    let onward = |_: &Message| {
        let from = format!("<{}>;tag=b2bua", address("1002"));
        let call = request("INVITE", &to_bob).with("From", &from);
        call.with_sdp(OFFER)
    };
    let parties = (&alice, &pbx, &bob);
    let sent = alice.sends(invite("alice", "1001").with_sdp(OFFER));
    let out = pbx.receives("INVITE");
    let back = pbx.sends(onward(&out));
    let arrived = bob.receives("INVITE");
    bob.refuses(&arrived, 486);
    let busy = pbx.receives("486");
    pbx.acks(&back, &busy);
    // R19: the nearest evidence is that of his phone, whatever the PBX says.
    pbx.refuses(&out, 500);
    let failure = refused(&alice, &sent, "500");
    assert!(offers(&failure), "{failure}");
    let again = is_refused(parties, "bob", onward);
    assert!(offers(&again), "{again}");
    world.advance(GUARD);
}
