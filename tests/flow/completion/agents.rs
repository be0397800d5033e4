//! Our callers at somebody else's queue: what a peer may have them dial, and what crosses.
//!
//! Spec: RFC 6910 §6; RFC 6665 §4.1; RFC 3903 §4; RULES R7, R18.

use std::time::Duration;

use crate::flow::kit::completion::{
    CANCEL_ALL, CANCEL_LAST, REQUEST_LAST, connects, dials, dials_in_vain, is_confirmed, picks_up,
    recalled, speaks_with, stops_ringing,
};
use crate::flow::kit::dialog::Dialog;
use crate::flow::kit::draft::{OFFER, invite, response};
use crate::flow::kit::message::Message;
use crate::flow::kit::monitor::{
    BOB, ENTRY, MONITOR, PATIENCE, accept, alice_and_peer, alice_failed_at_peer, call_info, ends,
    fails_at_peer, is_queued_at_peer, is_taken_back, is_taken_by_peer, notifies, notify,
    takes_subscribe,
};
use crate::flow::kit::party::{Party, assert_came_at};
use crate::flow::kit::scenes::{hang_up, refused};
use crate::flow::kit::subject::Setup;

/// Alice is called back, and her call is answered at the peer: the CC call as it came there.
#[track_caller]
fn is_completed(alice: &Party, pbx: &Party, dialog: &Dialog) -> Message {
    let recall = recalled(alice);
    picks_up(alice, &recall);
    let cc_call = pbx.receives("INVITE");
    let (alices, _) = connects(alice, pbx, &cc_call);
    ends(pbx, dialog, "noresource");
    hang_up(alice, &alices, pbx);
    cc_call
}

/// Alice's phone takes her request back.
#[track_caller]
fn takes_back(alice: &Party, pbx: &Party, dialog: &Dialog) {
    dials(alice, CANCEL_ALL);
    is_taken_back(pbx, dialog);
}

#[test]
fn the_offer_of_a_peer_is_taken_up_for_its_caller() {
    let (_world, alice, pbx) = alice_and_peer(Setup::Upstream);
    let refusal = fails_at_peer(&alice, &pbx, BOB, &call_info(MONITOR));
    assert!(!refusal.has("Call-Info"));
    let watch = is_queued_at_peer(&alice, &pbx);
    assert_eq!(watch.sent.uri(), format!("{MONITOR};m=BS")); // CC-09, CC-12
    takes_back(&alice, &pbx, &watch.dialog);
}

#[test]
fn a_caller_is_recalled_when_the_peer_says_ready() {
    let (_world, alice, pbx) = alice_failed_at_peer(Setup::Upstream);
    let watch = is_queued_at_peer(&alice, &pbx);
    notifies(&pbx, &watch.dialog, "ready");
    let cc_call = is_completed(&alice, &pbx, &watch.dialog);
    // CC-22, CC-23, CC-69: what the NOTIFY said, with all its parameters.
    assert_eq!(cc_call.uri(), format!("{ENTRY};m=BS"));
    assert_eq!(cc_call.header("To"), "<sip:bob@192.0.2.200>");
    let from = cc_call.header("From");
    assert!(from.starts_with("<sip:alice@192.0.2.1>;tag="), "{from}");
}

#[test]
fn a_name_of_the_peers_making_is_dialled_if_it_may_make_up_names() {
    let (_world, alice, pbx) = alice_and_peer(Setup::Biloxi);
    let monitor = "sip:cc-5@biloxi.example";
    fails_at_peer(&alice, &pbx, "sip:bob@biloxi.example", &call_info(monitor));
    let watch = is_queued_at_peer(&alice, &pbx);
    // Whatever the host, to the peer alone.
    assert_eq!(watch.sent.uri(), "sip:cc-5@biloxi.example;m=BS");
    let document = "cc-state: ready\r\ncc-URI: sip:cce-8@biloxi.example;x=1\r\n";
    pbx.sends(notify(&watch.dialog, "active;expires=60", document));
    pbx.receives("200");
    let cc_call = is_completed(&alice, &pbx, &watch.dialog);
    assert_eq!(cc_call.uri(), "sip:cce-8@biloxi.example;x=1;m=BS"); // CC-69
}

/// R7: a PBX's dial plan reaches the world at our users' cost.
#[test]
fn what_was_dialled_is_dialled_again_whatever_a_peer_says() {
    for stranger in [
        "sip:+19005550100@192.0.2.200",
        "sip:cce-8@192.0.2.200",
        "sip:bob@evil.example",
        "sip:bob@192.0.2.200;maddr=198.51.100.9",
        "sip:bob@192.0.2.200?Route=%3Csip:evil.example%3E",
        "tel:+19005550100",
    ] {
        let (_world, alice, pbx) = alice_failed_at_peer(Setup::Upstream);
        let watch = is_taken_by_peer(&alice, &pbx);
        let document = format!("cc-state: ready\r\ncc-URI: {stranger}\r\n");
        pbx.sends(notify(&watch.dialog, "active;expires=60", &document));
        let taken = pbx.receives_any();
        assert_eq!(taken.status(), 200, "{stranger}");
        let recall = recalled(&alice);
        picks_up(&alice, &recall);
        let cc_call = pbx.receives("INVITE");
        assert_eq!(cc_call.uri(), "sip:bob@192.0.2.200;m=BS", "{stranger}"); // CC-22
        let (alices, _) = connects(&alice, &pbx, &cc_call);
        ends(&pbx, &watch.dialog, "noresource");
        hang_up(&alice, &alices, &pbx);
    }
}

/// R7: an offer that names anybody but the peer is none of ours, and crosses as it came.
#[test]
fn an_offer_that_names_a_stranger_is_not_taken_up() {
    for stranger in [
        "sip:queue@evil.example",
        "sip:queue@192.0.2.201",
        "sip:queue@192.0.2.200;maddr=198.51.100.9",
        "sip:queue@192.0.2.200?Route=%3Csip:evil.example%3E",
        "tel:+19005550100",
        "http://192.0.2.200/queue",
    ] {
        let (world, alice, pbx) = alice_and_peer(Setup::Upstream);
        let info = call_info(stranger);
        let refusal = fails_at_peer(&alice, &pbx, BOB, &info);
        assert_eq!(refusal.header("Call-Info"), info);
        dials_in_vain(&alice, REQUEST_LAST, "403");
        world.stays_quiet();
    }
}

#[test]
fn a_refusal_without_an_offer_crosses_untouched() {
    let (_world, alice, pbx) = alice_and_peer(Setup::Upstream);
    let info = "<http://192.0.2.200/bob.png>;purpose=icon";
    let refusal = fails_at_peer(&alice, &pbx, BOB, info);
    assert_eq!(refusal.header("Call-Info"), info);
}

#[test]
fn each_fork_that_answers_is_a_monitor_of_its_own() {
    let (_world, alice, pbx) = alice_failed_at_peer(Setup::Upstream);
    let watch = is_queued_at_peer(&alice, &pbx);
    let fork = Dialog::of_notifier(&watch.sent, "fork");
    notifies(&pbx, &fork, "queued"); // CC-19
    notifies(&pbx, &fork, "ready");
    let recall = recalled(&alice);
    // CC-64: the other one has to know that she is busy.
    let publish = pbx.receives("PUBLISH");
    assert!(publish.sdp().contains("<basic>closed</basic>"));
    pbx.sends(published(&publish, "e1"));
    picks_up(&alice, &recall);
    let cc_call = pbx.receives("INVITE");
    let (alices, _) = connects(&alice, &pbx, &cc_call);
    is_taken_back(&pbx, &watch.dialog);
    ends(&pbx, &fork, "noresource");
    hang_up(&alice, &alices, &pbx);
}

/// A 200 to a PUBLISH.
fn published(publish: &Message, etag: &str) -> crate::flow::kit::draft::Draft {
    let expires = publish.header("Expires").to_owned();
    response(publish, 200)
        .with("SIP-ETag", etag)
        .with("Expires", &expires)
}

#[test]
fn a_request_that_the_peer_refuses_cannot_be_made() {
    // What only the peer could explain is told as what it means to her.
    for (answer, code) in [
        (480, "480"),
        (403, "403"),
        (489, "403"),
        (302, "403"),
        (401, "403"),
        (407, "403"),
        (500, "500"),
    ] {
        let (world, alice, pbx) = alice_failed_at_peer(Setup::Upstream);
        let sent = alice.sends(invite(REQUEST_LAST).with_sdp(OFFER));
        let asked = pbx.receives("SUBSCRIBE");
        pbx.answers(&asked, answer);
        refused(&alice, &sent, code); // CC-20
        world.stays_quiet();
    }
}

#[test]
fn a_peer_that_is_silent_cannot_be_asked() {
    let (world, alice, pbx) = alice_failed_at_peer(Setup::Upstream);
    let sent = alice.sends(invite(REQUEST_LAST).with_sdp(OFFER));
    let first = pbx.receives("SUBSCRIBE");
    world.advance(Duration::from_secs(4));
    let copies = pbx.receives_copies("SUBSCRIBE");
    assert_came_at(&copies, first.at, &[500, 1_500, 3_500]);
    world.advance(PATIENCE.saturating_sub(Duration::from_secs(4)));
    pbx.receives_copies("SUBSCRIBE");
    refused(&alice, &sent, "403"); // CC-20
    world.stays_quiet();
}

/// Uncomplete: it shows at the peer, and what crosses it comes to nothing.
#[test]
fn a_request_taken_back_is_taken_back_at_the_peer() {
    let (world, alice, pbx) = alice_failed_at_peer(Setup::Upstream);
    let watch = is_queued_at_peer(&alice, &pbx);
    dials(&alice, CANCEL_LAST);
    let end = pbx.receives("SUBSCRIBE");
    assert_eq!(end.header("Expires"), "0");
    assert_eq!(end.uri(), "sip:notifier@192.0.2.200:5060");
    // R18: her turn comes too late.
    notifies(&pbx, &watch.dialog, "ready");
    alice.receives_nothing();
    pbx.sends(accept(&end, "0"));
    ends(&pbx, &watch.dialog, "timeout");
    let state = "active;expires=60";
    pbx.sends(notify(&watch.dialog, state, "cc-state: ready\r\n"));
    pbx.receives("481");
    world.stays_quiet();
}

/// R18: a SUBSCRIBE that is not answered yet is ended when it is.
#[test]
fn a_request_taken_back_before_the_peer_has_answered_is_ended_after_it() {
    let (world, alice, pbx) = alice_failed_at_peer(Setup::Upstream);
    let code = alice.sends(invite(REQUEST_LAST).with_sdp(OFFER));
    let sent = pbx.receives("SUBSCRIBE");
    let cancel = alice.sends(invite(CANCEL_LAST).with_sdp(OFFER));
    is_confirmed(&alice, &cancel);
    refused(&alice, &code, "404");
    pbx.receives_nothing(); // R18
    let accepted = pbx.sends(accept(&sent, "3600"));
    let dialog = Dialog::of_callee(&sent, &accepted);
    is_taken_back(&pbx, &dialog);
    world.stays_quiet();
}

#[test]
fn a_caller_whose_recall_rings_takes_his_request_back_at_the_peer() {
    let (world, alice, pbx) = alice_failed_at_peer(Setup::Upstream);
    let watch = is_queued_at_peer(&alice, &pbx);
    notifies(&pbx, &watch.dialog, "ready");
    let recall = recalled(&alice);
    let code = alice.sends(invite(CANCEL_LAST).with_sdp(OFFER));
    is_taken_back(&pbx, &watch.dialog);
    is_confirmed(&alice, &code);
    stops_ringing(&alice, &recall); // R18
    world.stays_quiet();
}

#[test]
fn a_peer_that_withdraws_its_word_stops_the_recall() {
    let (_world, alice, pbx) = alice_failed_at_peer(Setup::Upstream);
    let watch = is_queued_at_peer(&alice, &pbx);
    notifies(&pbx, &watch.dialog, "ready");
    let recall = recalled(&alice);
    notifies(&pbx, &watch.dialog, "queued");
    stops_ringing(&alice, &recall); // CC-61
    notifies(&pbx, &watch.dialog, "ready");
    is_completed(&alice, &pbx, &watch.dialog);
}

#[test]
fn a_peer_that_ends_the_subscription_ends_the_request() {
    let (world, alice, pbx) = alice_failed_at_peer(Setup::Upstream);
    let watch = is_queued_at_peer(&alice, &pbx);
    ends(&pbx, &watch.dialog, "rejected");
    dials_in_vain(&alice, CANCEL_LAST, "404");
    let state = "active;expires=60";
    pbx.sends(notify(&watch.dialog, state, "cc-state: ready\r\n"));
    pbx.receives("481");
    world.stays_quiet();
}

#[test]
fn a_publication_that_is_lost_is_sent_again() {
    let (world, alice, pbx) = alice_and_peer(Setup::Upstream);
    let carol = world.phone("carol");
    fails_at_peer(&alice, &pbx, BOB, &call_info(MONITOR));
    let watch = is_queued_at_peer(&alice, &pbx);
    let talk = speaks_with(&alice, "carol", &carol);
    notifies(&pbx, &watch.dialog, "ready");
    let first = pbx.receives("PUBLISH");
    let copy = pbx.receives_within(Duration::from_secs(1), "PUBLISH");
    assert_eq!(copy.raw, first.raw);
    assert_came_at(&[copy], first.at, &[500]);
    pbx.sends(published(&first, "e1"));
    hang_up(&alice, &talk, &carol);
    let open = pbx.receives("PUBLISH");
    pbx.sends(published(&open, "e2"));
    takes_back(&alice, &pbx, &watch.dialog);
}

#[test]
fn a_cc_call_that_the_peer_refuses_leaves_the_request_in_its_queue() {
    let (_world, alice, pbx) = alice_failed_at_peer(Setup::Upstream);
    let watch = is_queued_at_peer(&alice, &pbx);
    notifies(&pbx, &watch.dialog, "ready");
    let recall = recalled(&alice);
    picks_up(&alice, &recall);
    let cc_call = pbx.receives("INVITE");
    pbx.refuses(&cc_call, 486);
    let bye = alice.receives("BYE");
    assert!(bye.header("Reason").starts_with("SIP;cause=486"));
    alice.answers(&bye, 200);
    // CC-45
    notifies(&pbx, &watch.dialog, "queued");
    notifies(&pbx, &watch.dialog, "ready");
    is_completed(&alice, &pbx, &watch.dialog);
}

/// Whether a phone of Bob's has answered, or his voicemail, is known at the peer.
#[test]
fn a_call_by_hand_is_for_the_peer_to_judge() {
    let (world, alice, pbx) = alice_failed_at_peer(Setup::Upstream);
    let watch = is_queued_at_peer(&alice, &pbx);
    let talk = speaks_with(&alice, BOB, &pbx);
    pbx.receives_nothing();
    ends(&pbx, &watch.dialog, "noresource");
    hang_up(&alice, &talk, &pbx);
    dials_in_vain(&alice, CANCEL_LAST, "404");
    world.stays_quiet();
}

/// Her phone rings, and she dials Bob on it.
#[test]
fn a_caller_who_dials_while_her_phone_rings_gets_through_to_the_peer() {
    let (world, alice, pbx) = alice_failed_at_peer(Setup::Upstream);
    let watch = is_queued_at_peer(&alice, &pbx);
    notifies(&pbx, &watch.dialog, "ready");
    let recall = recalled(&alice);
    let sent = alice.sends(invite(BOB).with_sdp(OFFER));
    stops_ringing(&alice, &recall);
    let got = pbx.receives("INVITE");
    let answer = pbx.takes_call(&got, &alice, &sent);
    ends(&pbx, &watch.dialog, "noresource");
    hang_up(&alice, &Dialog::of_caller(&sent, &answer), &pbx);
    world.stays_quiet();
}

/// A PBX is meant where a user of ours dials somebody at our own address.
#[test]
fn a_callee_dialled_at_our_own_address_is_called_at_the_peers() {
    let (_world, alice, pbx) = alice_and_peer(Setup::Upstream);
    fails_at_peer(&alice, &pbx, "bob", &call_info(MONITOR));
    let watch = is_taken_by_peer(&alice, &pbx);
    pbx.sends(notify(
        &watch.dialog,
        "active;expires=60",
        "cc-state: ready\r\n",
    ));
    pbx.receives("200");
    let cc_call = is_completed(&alice, &pbx, &watch.dialog);
    // R3: as the first call was.
    assert_eq!(cc_call.uri(), "sip:bob@192.0.2.200:5060;m=BS"); // CC-22
}

#[test]
fn a_subscription_that_the_peer_lets_run_out_ends_the_request() {
    let (world, alice, pbx) = alice_failed_at_peer(Setup::Upstream);
    let watch = is_taken_by_peer(&alice, &pbx);
    let state = "active;expires=60";
    pbx.sends(notify(&watch.dialog, state, "cc-state: queued\r\n"));
    pbx.receives("200");
    world.advance(Duration::from_mins(1));
    dials_in_vain(&alice, CANCEL_LAST, "404");
    pbx.sends(notify(&watch.dialog, state, "cc-state: ready\r\n"));
    pbx.receives("481");
    world.stays_quiet();
}

#[test]
fn a_subscribe_that_cannot_be_sent_is_refused_at_once() {
    let (world, alice, pbx) = alice_failed_at_peer(Setup::Upstream);
    let code = alice.sends(invite(REQUEST_LAST).with_sdp(OFFER));
    let asked = pbx.receives("SUBSCRIBE");
    world.could_not_send(&asked);
    refused(&alice, &code, "503"); // CC-20
    world.stays_quiet();
}

/// She hangs up before the peer has answered, and never heard that she is queued.
#[test]
fn a_code_that_is_cancelled_while_the_peer_thinks_leads_to_nothing() {
    let (world, alice, pbx) = alice_failed_at_peer(Setup::Upstream);
    let code = alice.sends(invite(REQUEST_LAST).with_sdp(OFFER));
    alice.gives_up(&code); // S-09
    let watch = takes_subscribe(&pbx);
    is_taken_back(&pbx, &watch.dialog);
    world.stays_quiet();
}
