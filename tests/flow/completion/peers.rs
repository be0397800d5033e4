//! Callers of a peer at our queues: the peer is their agent.
//!
//! Spec: RFC 6910 §7; RULES R8, R11.

use crate::flow::kit::completion::{
    GUARD, MOMENT, cc_call, ended, leaves, line, offered_uri, publish, subscribe, told, waits,
};
use crate::flow::kit::dialog::Dialog;
use crate::flow::kit::draft::{ANSWER, Draft, OFFER, invite, response};
use crate::flow::kit::message::Message;
use crate::flow::kit::party::Party;
use crate::flow::kit::scenes::{Call, call, hang_up, refused};
use crate::flow::kit::subject::Setup;
use crate::flow::kit::world::World;

/// A user of the peer's.
const ZOE: &str = "<sip:zoe@biloxi.example>;tag=z1";

/// One who withholds who he is.
const ANONYMOUS: &str = "\"Anonymous\" <sip:anonymous@anonymous.invalid>;tag=a1";

/// Carol speaks with Bob, and this user of the peer's has called him in vain: the 486.
fn bob_is_busy(from: &str) -> (World, [Party; 3], Call, Message) {
    let world = World::new(Setup::Peer);
    let (bob, carol) = (world.phone("bob"), world.phone("carol"));
    let office = world.office();
    let talk = call(&carol, &bob);
    let sent = office.sends(invite("bob").with("From", from).with_sdp(OFFER));
    let busy = refused(&office, &sent, "486");
    world.advance(GUARD);
    (world, [office, bob, carol], talk, busy)
}

/// The peer's SUBSCRIBE in somebody's name.
fn subscribe_as(from: &str, office: &Party, busy: &Message) -> Draft {
    subscribe(office, offered_uri(busy)).with("From", from)
}

#[test]
fn a_caller_of_a_peer_is_called_through_when_it_is_his_turn() {
    let (world, [office, bob, carol], talk, busy) = bob_is_busy(ZOE);
    let info = busy.header("Call-Info");
    assert!(info.ends_with(">;purpose=call-completion;m=BS"), "{info}"); // CC-31
    waits(&office, subscribe_as(ZOE, &office, &busy)); // CC-33
    hang_up(&carol, &talk.caller, &bob);
    world.advance(GUARD);
    let ready = told(&office, "ready"); // CC-41
    let sent = office.sends(cc_call(&ready).with("From", "<sip:zoe@biloxi.example>;tag=z2"));
    let rings = bob.receives("INVITE");
    bob.sends(response(&rings, 200).with_sdp(ANSWER));
    let answer = office.receives("200");
    ended(&office, "noresource");
    office.acks(&sent, &answer);
    bob.receives("ACK");
    hang_up(&office, &Dialog::of_caller(&sent, &answer), &bob);
}

/// The CC call that comes first is the one that counts, but who gets through by another one to his place
/// waits no longer: he was told once more that it was his turn.
#[test]
fn a_caller_of_a_peer_who_gets_through_by_a_second_call_waits_no_longer() {
    let world = World::new(Setup::PeerUnlimited);
    let (bob, carol) = (world.phone("bob"), world.phone("carol"));
    let office = world.office();
    let talk = call(&carol, &bob);
    let sent = office.sends(invite("bob").with("From", ZOE).with_sdp(OFFER));
    bob.refuses(&bob.receives("INVITE"), 486);
    let busy = refused(&office, &sent, "486");
    world.advance(GUARD);
    waits(&office, subscribe_as(ZOE, &office, &busy));
    hang_up(&carol, &talk.caller, &bob);
    world.advance(GUARD);
    let ready = told(&office, "ready");
    let again = |tag: &str| {
        let from = format!("<sip:zoe@biloxi.example>;tag={tag}");
        office.sends(cc_call(&ready).with("From", &from))
    };
    let sent = again("z2");
    let first = bob.receives("INVITE");
    let beside = again("z3");
    let second = bob.receives("INVITE");
    bob.sends(response(&second, 200).with_sdp(ANSWER));
    let answer = office.receives("200");
    ended(&office, "noresource"); // CC-46
    office.acks(&beside, &answer);
    bob.receives("ACK");
    bob.refuses(&first, 486);
    refused(&office, &sent, "486");
    world.advance(MOMENT);
    hang_up(&office, &Dialog::of_caller(&beside, &answer), &bob);
    world.stays_quiet();
}

#[test]
fn a_peer_may_send_from_any_of_its_ports() {
    let (world, [office, bob, carol], talk, busy) = bob_is_busy(ZOE);
    let other_port = world.party_at("office", "192.0.2.201:40001");
    let waiting = waits(&other_port, subscribe_as(ZOE, &other_port, &busy));
    leaves(&other_port, &waiting.dialog);
    office.receives_nothing();
    hang_up(&carol, &talk.caller, &bob);
}

#[test]
fn who_sends_from_elsewhere_is_not_the_peer() {
    let (world, [_office, bob, carol], talk, busy) = bob_is_busy(ZOE);
    let stranger = world.party_at("zoe", "192.0.2.202:5060");
    stranger.sends(subscribe_as(ZOE, &stranger, &busy));
    stranger.receives("403"); // CC-53
    hang_up(&carol, &talk.caller, &bob);
    world.stays_quiet();
}

#[test]
fn a_peer_does_not_speak_for_our_users() {
    let (_world, [office, bob, carol], talk, busy) =
        bob_is_busy("<sip:alice@192.0.2.1>;tag=forged");
    assert!(!busy.has("Call-Info"));
    hang_up(&carol, &talk.caller, &bob);
    office.receives_nothing();
}

#[test]
fn an_offer_is_for_the_one_of_the_peers_users_who_called() {
    let (_world, [office, bob, carol], talk, busy) = bob_is_busy(ZOE);
    let other = "<sip:yann@biloxi.example>;tag=y1";
    office.sends(subscribe_as(other, &office, &busy));
    office.receives("403"); // CC-53
    let waiting = waits(&office, subscribe_as(ZOE, &office, &busy));
    let uri = line(&waiting.queued, "cc-URI");
    office.sends(publish(uri, "closed").with("From", other));
    office.receives("403"); // CC-72
    leaves(&office, &waiting.dialog);
    hang_up(&carol, &talk.caller, &bob);
}

#[test]
fn a_caller_who_withholds_his_number_is_known_by_his_offer() {
    let (world, [office, bob, carol], talk, busy) = bob_is_busy(ANONYMOUS);
    let waiting = waits(&office, subscribe_as(ANONYMOUS, &office, &busy));
    hang_up(&carol, &talk.caller, &bob);
    world.advance(GUARD);
    told(&office, "ready");
    leaves(&office, &waiting.dialog);
}
