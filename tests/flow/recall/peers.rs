//! Callees behind a peer: the phone dials what the monitor named, through the peer.
//!
//! Spec: RFC 6910 §6.4; RULES R3, R7, R10.

use super::{LAST, dials_for, is_answered, is_parted, takes_refer, tells};
use crate::flow::kit::completion::{connects, picks_up, recalled};
use crate::flow::kit::dialog::Dialog;
use crate::flow::kit::draft::{OFFER, invite, options, register, request};
use crate::flow::kit::monitor::{
    BOB, ENTRY, MONITOR, Watch, alice_and_peer, call_info, ends, fails_at_peer, is_queued_at_peer,
    notifies,
};
use crate::flow::kit::party::Party;
use crate::flow::kit::scenes::hang_up;
use crate::flow::kit::subject::{OWN_CALLS, Setup, UPSTREAM};
use crate::flow::kit::world::World;

/// Bob, who is behind the peer, is free, and Alice has picked up.
#[track_caller]
fn answered(setup: Setup) -> (World, Party, Party, Watch, Dialog) {
    let (world, alice, pbx) = alice_and_peer(setup);
    let (watch, recall) = is_called_back(&alice, &pbx);
    (world, alice, pbx, watch, recall)
}

#[track_caller]
fn is_called_back(alice: &Party, pbx: &Party) -> (Watch, Dialog) {
    fails_at_peer(alice, pbx, BOB, &call_info(MONITOR));
    let watch = is_queued_at_peer(alice, pbx);
    notifies(pbx, &watch.dialog, "ready");
    let recall = recalled(alice);
    let recall = picks_up(alice, &recall);
    (watch, recall)
}

#[test]
fn the_phone_dials_what_the_monitor_named() {
    let (_world, alice, pbx, watch, recall) = answered(Setup::ReferUpstream);
    let uri = takes_refer(&alice, &recall);
    assert_eq!(uri, format!("{ENTRY};m=BS")); // CC-23
    let sent = dials_for(&alice, &uri);
    let rings = pbx.receives("INVITE");
    assert_eq!(rings.uri(), uri);
    let (talk, _) = is_answered(&alice, &sent, &pbx, &rings);
    ends(&pbx, &watch.dialog, "noresource");
    tells(&alice, &recall, "SIP/2.0 200 OK", LAST);
    is_parted(&alice, &recall);
    hang_up(&alice, &talk, &pbx);
}

#[test]
fn a_peer_that_bears_no_parameters_gets_the_original_number() {
    let (_world, alice, pbx, watch, recall) = answered(Setup::BareUpstream);
    let uri = takes_refer(&alice, &recall);
    assert_eq!(uri, BOB); // R3
    let sent = dials_for(&alice, &uri);
    let rings = pbx.receives("INVITE");
    let (talk, _) = is_answered(&alice, &sent, &pbx, &rings);
    ends(&pbx, &watch.dialog, "noresource");
    tells(&alice, &recall, "SIP/2.0 200 OK", LAST);
    is_parted(&alice, &recall);
    hang_up(&alice, &talk, &pbx);
}

#[test]
fn a_phone_that_cannot_dial_is_put_through_by_us() {
    let (_world, alice, pbx, watch, _recall) = answered(Setup::ReferUpstream);
    let refer = alice.receives("REFER");
    alice.answers(&refer, 501);
    let rings = pbx.receives("INVITE");
    assert_eq!(rings.uri(), format!("{ENTRY};m=BS"));
    let (talk, _) = connects(&alice, &pbx, &rings);
    ends(&pbx, &watch.dialog, "noresource");
    hang_up(&alice, &talk, &pbx);
}

#[test]
fn a_call_of_our_own_leaves_from_an_address_of_its_own() {
    let (world, alice, pbx) = alice_and_peer(Setup::OwnCalls);
    let side = world.at_own_calls("pbx", UPSTREAM);
    let (watch, _recall) = is_called_back(&alice, &pbx);
    let rings = side.receives("INVITE");
    assert!(rings.header("Via").contains(OWN_CALLS), "{rings}"); // R4
    assert_eq!(rings.header("Contact"), format!("<sip:{OWN_CALLS}>"));
    let (talk, _) = connects(&alice, &side, &rings);
    ends(&pbx, &watch.dialog, "noresource");
    hang_up(&alice, &talk, &side);
}

#[test]
fn nothing_is_relayed_by_way_of_the_address_of_our_own_calls() {
    let world = World::new(Setup::OwnCalls);
    let (pbx, alice) = (
        world.upstream(),
        world.at_own_calls("alice", "192.0.2.77:5060"),
    );
    for draft in [
        invite("sip:0123@192.0.2.200").with_sdp(OFFER),
        register("alice"),
        request("SUBSCRIBE", "sip:bob@192.0.2.1").with("Event", "call-completion"),
        request("MESSAGE", "sip:bob@192.0.2.200"),
    ] {
        let is_invite = draft.method() == "INVITE";
        let sent = alice.sends(draft);
        let refusal = alice.receives("403"); // R4
        if is_invite {
            alice.acks(&sent, &refusal);
        }
    }
    alice.sends(options());
    alice.receives("200");
    // Help is called from wherever it is called.
    let sent = alice.sends(invite("urn:service:sos").with_sdp(OFFER));
    let help = pbx.receives("INVITE");
    assert!(!help.header("Via").contains(OWN_CALLS), "{help}");
    pbx.refuses(&help, 404);
    let refusal = alice.receives("404");
    alice.acks(&sent, &refusal);
}
