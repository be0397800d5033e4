//! The caller hears whom his recall is for before his callee is rung, and then how that rings.
//!
//! Spec: RFC 3725 §4.4, §7; RFC 3264 §8; RULES R10.

use campon::media::desk::{Command, RoomId};
use campon::media::room::News;

use super::{answered, takes_refer};
use crate::flow::kit::completion::{
    BobIsBusy, CANCEL_LAST, GUARD, REQUEST_LAST, REST, connects, dials, dials_in_vain, recalled,
};
use crate::flow::kit::dialog::Dialog;
use crate::flow::kit::draft::{ANSWER, response};
use crate::flow::kit::scenes::{call, hang_up};
use crate::flow::kit::subject::Setup;

/// Alice has picked up, and her phone hears us.
#[track_caller]
fn hears_us(setup: Setup) -> (BobIsBusy, Dialog, RoomId) {
    let (scene, dialog) = answered(setup);
    scene.bob.receives_nothing();
    let asked = scene.alice.receives("INVITE");
    let sdp = asked.sdp();
    let media = "m=audio 20002 RTP/AVP 0 8 101\r\nc=IN IP4 192.0.2.1\r\n";
    assert!(
        sdp.contains(media) && sdp.contains("a=sendrecv\r\n"),
        "{sdp}"
    );
    scene.alice.sends(response(&asked, 200).with_sdp(ANSWER));
    scene.alice.receives("ACK");
    let next = scene.world.next_sound();
    let Some(Command::Open { room, party, .. }) = next else {
        panic!("{next:?}");
    };
    assert_eq!(party.1.remote.to_string(), "192.0.2.20:50000");
    scene.bob.receives_nothing();
    (scene, dialog, room)
}

#[track_caller]
fn closes(scene: &BobIsBusy, room: RoomId) {
    let next = scene.world.next_sound();
    assert!(
        matches!(next, Some(Command::Close { room: closed }) if closed == room),
        "{next:?}"
    );
    assert!(scene.world.next_sound().is_none());
}

#[test]
fn the_callee_is_rung_when_his_caller_has_heard_whom_for() {
    let (scene, dialog, room) = hears_us(Setup::Announcing);
    let (world, [alice, bob, _]) = scene.parts();
    world.hears(room, News::PlayedOut);
    let rings = bob.receives("INVITE");
    assert!(world.next_sound().is_none());
    bob.answers(&rings, 180);
    let next = world.next_sound();
    assert!(matches!(next, Some(Command::Play { .. })), "{next:?}");
    let (talk, _) = connects(alice, bob, &rings);
    assert_eq!(talk.call_id, dialog.call_id);
    closes(&scene, room);
    hang_up(alice, &talk, bob);
    dials_in_vain(alice, CANCEL_LAST, "404");
    world.stays_quiet();
}

/// Bob takes another call while she listens: she is recalled anew when he has ended it.
#[test]
fn a_callee_who_is_taken_while_his_caller_hears_whom_for_is_not_rung() {
    let (scene, _, room) = hears_us(Setup::Announcing);
    let (world, [alice, bob, carol]) = scene.parts();
    let talk = call(carol, bob);
    alice.is_hung_up_on();
    closes(&scene, room);
    bob.receives_nothing();
    hang_up(carol, &talk.caller, bob);
    world.advance(GUARD);
    let recall = recalled(alice);
    alice.refuses(&recall, 486);
    dials(alice, CANCEL_LAST);
}

/// R10: her phone dials by itself when it has heard it.
#[test]
fn the_callers_phone_is_asked_to_dial_when_she_has_heard_whom_for() {
    let (scene, dialog, room) = hears_us(Setup::AnnouncingRefer);
    scene.alice.receives_nothing();
    scene.world.hears(room, News::PlayedOut);
    takes_refer(&scene.alice, &dialog);
    closes(&scene, room);
    scene.alice.leaves(&dialog);
    // She has time to dial, and does not.
    scene.world.advance(REST / 2);
    dials(&scene.alice, CANCEL_LAST);
}

#[test]
fn a_phone_that_does_not_want_to_hear_us_is_put_through_at_once() {
    for status in [488, 491, 500] {
        let (scene, _) = answered(Setup::Announcing);
        let asked = scene.alice.receives("INVITE");
        scene.alice.refuses(&asked, status);
        scene.world.closes();
        assert!(scene.world.next_sound().is_none());
        let rings = scene.bob.receives("INVITE");
        let (talk, _) = connects(&scene.alice, &scene.bob, &rings);
        hang_up(&scene.alice, &talk, &scene.bob);
    }
}

#[test]
fn a_phone_that_takes_what_it_does_not_hear_is_put_through_at_once() {
    let (scene, _) = answered(Setup::Announcing);
    let asked = scene.alice.receives("INVITE");
    let deaf = ANSWER.replace("sendrecv", "inactive");
    assert_ne!(deaf, ANSWER);
    scene.alice.sends(response(&asked, 200).with_sdp(&deaf));
    scene.alice.receives("ACK");
    let rings = scene.bob.receives("INVITE");
    let (talk, _) = connects(&scene.alice, &scene.bob, &rings);
    hang_up(&scene.alice, &talk, &scene.bob);
}

/// The story: a phone of IPv6 was offered sound at an address of IPv4.
#[test]
fn a_phone_of_the_other_ip_version_is_put_through_at_once() {
    let scene = BobIsBusy::with(Setup::Announcing);
    dials(&scene.alice, REQUEST_LAST);
    scene.bob_is_free();
    let recall = recalled(&scene.alice);
    let six = ANSWER.replace("c=IN IP4 192.0.2.20", "c=IN IP6 2001:db8::20");
    assert_ne!(six, ANSWER);
    let answer = scene.alice.sends(response(&recall, 200).with_sdp(&six));
    scene.alice.receives("ACK");
    scene.alice.receives_nothing();
    scene.world.closes();
    assert!(scene.world.next_sound().is_none());
    let rings = scene.bob.receives("INVITE");
    let (talk, _) = connects(&scene.alice, &scene.bob, &rings);
    assert_eq!(talk.call_id, answer.call_id());
    hang_up(&scene.alice, &talk, &scene.bob);
}

#[test]
fn without_a_port_the_callee_is_rung_at_once() {
    let (scene, _, room) = hears_us(Setup::Announcing);
    scene.world.hears(room, News::Failed);
    let rings = scene.bob.receives("INVITE");
    let (talk, _) = connects(&scene.alice, &scene.bob, &rings);
    hang_up(&scene.alice, &talk, &scene.bob);
}

#[test]
fn a_caller_whose_sound_fails_while_her_callee_rings_has_her_call() {
    let (scene, _, room) = hears_us(Setup::Announcing);
    scene.world.hears(room, News::PlayedOut);
    let rings = scene.bob.receives("INVITE");
    scene.bob.answers(&rings, 180);
    let next = scene.world.next_sound();
    assert!(matches!(next, Some(Command::Play { .. })), "{next:?}");
    scene.world.hears(room, News::Failed);
    closes(&scene, room);
    let (talk, _) = connects(&scene.alice, &scene.bob, &rings);
    hang_up(&scene.alice, &talk, &scene.bob);
}

#[test]
fn a_caller_who_hangs_up_while_she_is_told_has_refused() {
    let (scene, dialog, room) = hears_us(Setup::Announcing);
    scene.alice.leaves(&dialog);
    closes(&scene, room);
    scene.world.advance(REST / 2);
    scene.bob.receives_nothing();
    // R21: it counts as one that was let pass.
    dials(&scene.alice, CANCEL_LAST);
}

#[test]
fn a_caller_who_is_gone_when_she_is_asked_to_hear_us_has_refused() {
    let (scene, _) = answered(Setup::Announcing);
    let asked = scene.alice.receives("INVITE");
    scene.alice.refuses(&asked, 481);
    scene.world.advance(REST / 2);
    scene.bob.receives_nothing();
    // R21: it counts as one that was let pass.
    dials(&scene.alice, CANCEL_LAST);
}

/// R18: her answer, which comes when all is over, is acknowledged.
#[test]
fn a_recall_that_is_taken_back_while_she_is_asked_leaves_nothing() {
    let (scene, dialog) = answered(Setup::Announcing);
    let asked = scene.alice.receives("INVITE");
    scene.alice.answers(&asked, 100);
    // Nobody says anything for as long as an INVITE may last.
    scene.world.advance(std::time::Duration::from_secs(10));
    let [cancel, bye] = scene.alice.receives_each(["CANCEL", "BYE"]);
    assert_eq!(bye.call_id(), dialog.call_id);
    scene.alice.answers(&cancel, 200);
    scene.alice.answers(&bye, 200);
    scene.alice.sends(response(&asked, 200).with_sdp(ANSWER));
    scene.alice.receives("ACK");
    scene.bob.receives_nothing();
}

#[test]
fn when_the_callee_is_busy_again_the_room_closes() {
    let (scene, _, room) = hears_us(Setup::Announcing);
    scene.world.hears(room, News::PlayedOut);
    let rings = scene.bob.receives("INVITE");
    scene.bob.refuses(&rings, 486);
    scene.alice.is_hung_up_on();
    closes(&scene, room);
}
