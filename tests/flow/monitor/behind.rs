//! Callees behind a peer that tells of their dialogs: they are waited for in queues of ours.
//!
//! Spec: RFC 4235; RULES R2, R11.

use std::time::Duration;

use crate::flow::kit::completion::{
    CANCEL_LAST, GUARD, LONG, REQUEST_LAST, connects, is_confirmed, picks_up, recalled,
};
use crate::flow::kit::dialogs::{Lamp, is_granted, is_watched};
use crate::flow::kit::draft::{OFFER, invite, response};
use crate::flow::kit::message::Message;
use crate::flow::kit::monitor::{BOB, alice_and_peer};
use crate::flow::kit::party::Party;
use crate::flow::kit::scenes::{hang_up, refused};
use crate::flow::kit::subject::Setup;
use crate::flow::kit::world::World;

/// Alice calls Bob, who is busy, as his PBX says.
#[track_caller]
fn finds_busy(alice: &Party, pbx: &Party) -> Message {
    let sent = alice.sends(invite(BOB).with_sdp(OFFER));
    let got = pbx.receives("INVITE");
    pbx.refuses(&got, 486);
    refused(alice, &sent, "486")
}

/// She asks to be called back, and the PBX tells that Bob talks.
#[track_caller]
fn waits() -> (World, Party, Party, Lamp) {
    let (world, alice, pbx) = alice_and_peer(Setup::Told);
    let busy = finds_busy(&alice, &pbx);
    assert!(busy.header("Call-Info").contains("purpose=call-completion"));
    let code = alice.sends(invite(REQUEST_LAST).with_sdp(OFFER));
    let lamp = is_watched(&pbx, BOB);
    is_confirmed(&alice, &code);
    lamp.tells(&pbx, 0, "full", &[("1", "confirmed")]);
    (world, alice, pbx, lamp)
}

/// She takes it back, and nobody watches Bob any more.
#[track_caller]
fn takes_back(alice: &Party, pbx: &Party, lamp: &Lamp) {
    let code = alice.sends(invite(CANCEL_LAST).with_sdp(OFFER));
    lamp.is_left(pbx);
    is_confirmed(alice, &code);
}

#[test]
fn a_callee_whose_pbx_tells_when_he_hangs_up_is_called_back() {
    let (world, alice, pbx, lamp) = waits();
    world.advance(LONG);
    alice.receives_nothing();
    lamp.tells(&pbx, 1, "partial", &[("1", "terminated")]);
    world.advance(GUARD);
    let recall = recalled(&alice);
    picks_up(&alice, &recall);
    let rings = pbx.receives("INVITE");
    assert!(
        rings.uri().starts_with(&format!("{BOB};m=BS;cce=")),
        "{rings}"
    );
    let (talk, _) = connects(&alice, &pbx, &rings);
    lamp.is_left(&pbx);
    hang_up(&alice, &talk, &pbx);
    // Nothing is left to take back.
    let code = alice.sends(invite(CANCEL_LAST).with_sdp(OFFER));
    refused(&alice, &code, "404");
}

#[test]
fn a_callee_who_rings_or_talks_again_is_not_free() {
    let (world, alice, pbx, lamp) = waits();
    let both = [("1", "terminated"), ("2", "early")];
    lamp.tells(&pbx, 1, "partial", &both);
    world.advance(LONG);
    alice.receives_nothing();
    lamp.tells(&pbx, 2, "partial", &[("2", "terminated")]);
    world.advance(GUARD);
    let recall = recalled(&alice);
    alice.refuses(&recall, 486);
    takes_back(&alice, &pbx, &lamp);
}

/// R2: who has hung up before he was watched is free, once.
#[test]
fn a_callee_found_free_is_called_back() {
    let (world, alice, pbx) = alice_and_peer(Setup::Told);
    finds_busy(&alice, &pbx);
    world.advance(Duration::from_secs(20));
    let code = alice.sends(invite(REQUEST_LAST).with_sdp(OFFER));
    let lamp = is_watched(&pbx, BOB);
    is_confirmed(&alice, &code);
    lamp.tells(&pbx, 0, "full", &[]);
    world.advance(GUARD);
    let recall = recalled(&alice);
    picks_up(&alice, &recall);
    let rings = pbx.receives("INVITE");
    // He does not want to be disturbed: that he has no calls is no news.
    pbx.refuses(&rings, 486);
    let [bye] = alice.receives_each(["BYE"]);
    alice.answers(&bye, 200);
    lamp.tells(&pbx, 1, "full", &[("9", "early")]);
    lamp.tells(&pbx, 2, "full", &[]);
    world.advance(LONG);
    alice.receives_nothing();
    takes_back(&alice, &pbx, &lamp);
}

/// R2: who is told to have no calls does not want to be disturbed; that he still has none is no news.
#[test]
fn a_callee_who_was_told_to_be_free_is_not_called_back_at_once() {
    let (world, alice, pbx, lamp) = waits();
    lamp.tells(&pbx, 1, "full", &[]);
    let dora = world.phone("dora");
    let busy = finds_busy(&dora, &pbx);
    assert!(busy.has("Call-Info"), "{busy}");
    let code = dora.sends(invite(REQUEST_LAST).with_sdp(OFFER));
    is_confirmed(&dora, &code);
    takes_back_unseen(&alice);
    world.advance(LONG);
    dora.receives_nothing();
    // He has talked, and may be disturbed.
    lamp.tells(&pbx, 2, "full", &[("9", "confirmed")]);
    lamp.tells(&pbx, 3, "full", &[]);
    world.advance(GUARD);
    let recall = recalled(&dora);
    dora.refuses(&recall, 486);
    takes_back(&dora, &pbx, &lamp);
}

/// She takes it back while somebody else waits for Bob.
#[track_caller]
fn takes_back_unseen(alice: &Party) {
    let code = alice.sends(invite(CANCEL_LAST).with_sdp(OFFER));
    is_confirmed(alice, &code);
}

#[test]
fn a_pbx_that_was_started_anew_is_asked_anew() {
    let (world, alice, pbx, lamp) = waits();
    world.advance(Duration::from_secs(530));
    let again = lamp.is_refreshed(&pbx);
    pbx.answers(&again, 481);
    world.advance(Duration::from_secs(1));
    let [sent] = pbx.receives_each(["SUBSCRIBE"]);
    assert_eq!(sent.tag_of_to(), "");
    assert_ne!(sent.call_id(), lamp.sent.call_id());
    let fresh = is_granted(&pbx, sent);
    // What it said before holds no more.
    pbx.sends(lamp.notify("active"));
    pbx.receives_each(["481"]);
    fresh.tells(&pbx, 0, "full", &[]);
    world.advance(GUARD);
    let recall = recalled(&alice);
    alice.refuses(&recall, 486);
    takes_back(&alice, &pbx, &fresh);
}

/// It may have been started anew, and would tell nothing until its subscription is refreshed.
#[test]
fn a_server_that_is_up_again_is_asked_about_whom_is_watched() {
    let world = World::new(Setup::ToldTwins);
    let (alice, first, second) = (world.phone("alice"), world.upstream(), world.second());
    finds_busy(&alice, &first);
    let code = alice.sends(invite(REQUEST_LAST).with_sdp(OFFER));
    let lamp = is_watched(&first, BOB);
    is_confirmed(&alice, &code);
    lamp.tells(&first, 0, "full", &[("1", "confirmed")]);

    let sent = alice.sends(invite("sip:carol@pbx.example").with_sdp(OFFER));
    let got = first.receives("INVITE");
    first.sends(response(&got, 503).with("Retry-After", "60"));
    first.receives("ACK");
    let got = second.receives("INVITE");
    second.refuses(&got, 603);
    refused(&alice, &sent, "603");
    world.advance(Duration::from_secs(58));
    assert_eq!(world.servers_down().len(), 1);
    first.receives_nothing();

    for _ in 0..30 {
        if first.waiting() == 0 {
            world.advance(Duration::from_millis(100));
        }
    }
    assert_eq!(world.servers_down().len(), 0);
    let again = lamp.is_refreshed(&first);
    first.answers(&again, 481);
    world.advance(Duration::from_secs(1));
    let fresh = is_watched(&first, BOB);
    fresh.tells(&first, 0, "full", &[]);
    world.advance(GUARD);
    let recall = recalled(&alice);
    alice.refuses(&recall, 486);
    takes_back(&alice, &first, &fresh);
}

#[test]
fn a_document_that_is_missing_is_asked_for() {
    let (world, alice, pbx, lamp) = waits();
    lamp.tells(&pbx, 5, "partial", &[("2", "confirmed")]);
    world.advance(Duration::from_secs(1));
    let again = lamp.is_refreshed(&pbx);
    pbx.sends(response(&again, 200).with("Expires", "600"));
    lamp.tells(&pbx, 6, "full", &[]);
    world.advance(GUARD);
    let recall = recalled(&alice);
    alice.refuses(&recall, 486);
    takes_back(&alice, &pbx, &lamp);
}

#[test]
fn a_document_that_cannot_be_read_is_refused_and_changes_nothing() {
    let (world, alice, pbx, lamp) = waits();
    let broken = lamp.notify("active");
    pbx.sends(broken.with_body("application/dialog-info+xml", b"<dialog-info"));
    pbx.receives_each(["400"]);
    world.advance(Duration::from_secs(20));
    alice.receives_nothing();
    takes_back(&alice, &pbx, &lamp);
}

#[test]
fn a_pbx_that_says_nothing_is_asked_again_after_a_while() {
    let (world, alice, pbx) = alice_and_peer(Setup::Told);
    finds_busy(&alice, &pbx);
    let code = alice.sends(invite(REQUEST_LAST).with_sdp(OFFER));
    let [sent] = pbx.receives_each(["SUBSCRIBE"]);
    is_confirmed(&alice, &code);
    pbx.answers(&sent, 503);
    world.advance(Duration::from_secs(29));
    assert_eq!(pbx.waiting(), 0);
    world.advance(Duration::from_secs(1));
    let lamp = is_watched(&pbx, BOB);
    lamp.tells(&pbx, 0, "full", &[("1", "confirmed")]);
    // It ends it, and may be asked again at once; but not for ever.
    pbx.sends(lamp.notify("terminated;reason=deactivated"));
    pbx.receives_each(["200"]);
    world.advance(Duration::from_secs(1));
    let lamp = is_watched(&pbx, BOB);
    pbx.sends(lamp.notify("terminated;reason=deactivated"));
    pbx.receives_each(["200"]);
    world.advance(Duration::from_secs(59));
    assert_eq!(pbx.waiting(), 0);
    world.advance(Duration::from_secs(1));
    let lamp = is_watched(&pbx, BOB);
    lamp.tells(&pbx, 0, "full", &[("1", "confirmed")]);
    takes_back(&alice, &pbx, &lamp);
}

/// R2: without a source nobody is offered to wait.
#[test]
fn a_peer_that_knows_no_dialog_events_is_not_asked_for_an_hour() {
    let (world, alice, pbx) = alice_and_peer(Setup::Told);
    finds_busy(&alice, &pbx);
    let code = alice.sends(invite(REQUEST_LAST).with_sdp(OFFER));
    let [sent] = pbx.receives_each(["SUBSCRIBE"]);
    is_confirmed(&alice, &code);
    pbx.answers(&sent, 489);
    let gone = alice.sends(invite(CANCEL_LAST).with_sdp(OFFER));
    refused(&alice, &gone, "404");
    let busy = finds_busy(&alice, &pbx);
    assert!(!busy.has("Call-Info"), "{busy}");
    world.advance(Duration::from_hours(1));
    alice.registers();
    let busy = finds_busy(&alice, &pbx);
    assert!(busy.has("Call-Info"), "{busy}");
}
