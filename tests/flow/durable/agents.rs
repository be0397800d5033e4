//! Subscriptions of our callers to queues elsewhere that outlive their process, on the wire.
//!
//! Spec: RFC 6665 §4.1; RFC 6910 §6; RFC 3903 §4.

use std::time::Duration;

use crate::flow::agent::{
    ALIVE, MONITOR, Office, Place, QUEUED, READY, basic, is_busy_for_a_recall,
};
use crate::flow::kit::draft::response;
use crate::flow::kit::message::Message;
use crate::flow::kit::subject::Setup;

const BOB: &str = "sip:bob@192.0.2.200";

fn office() -> (Office, Place) {
    let office = Office::with(Setup::KeptUpstream);
    let place = office.place(BOB, MONITOR);
    (office, place)
}

/// campon is started anew: the refresh by which it finds out what it missed.
#[track_caller]
fn restarts(office: &Office, place: &Place) -> Message {
    office.world.restarts();
    let refresh = office.pbx.receives("SUBSCRIBE");
    assert_eq!(refresh.call_id(), place.subscribe.call_id());
    assert!(refresh.header("To").contains(";tag="), "{refresh}");
    // S-14: above all that the process before may have used.
    assert!(refresh.cseq() > place.subscribe.cseq() + 50, "{refresh}");
    let expires: u32 = refresh.header("Expires").parse().expect("a number");
    assert!((3000..=3600).contains(&expires), "{expires}");
    office.alice.registers();
    refresh
}

#[test]
fn our_subscription_is_refreshed_and_taken_back_in_its_dialog() {
    let (office, place) = office();
    let refresh = restarts(&office, &place);
    office
        .pbx
        .sends(response(&refresh, 200).with("Expires", "3500"));
    place.tells(ALIVE, QUEUED);
    office.takes_back(&[&place]);
    assert_eq!(office.world.completions_kept(), 0);
}

#[test]
fn a_turn_that_was_missed_is_told_by_the_refresh() {
    let (office, place) = office();
    let refresh = restarts(&office, &place);
    office
        .pbx
        .sends(response(&refresh, 200).with("Expires", "3500"));
    place.tells(ALIVE, READY);
    is_busy_for_a_recall(&office.alice);
    let publication = office.pbx.receives("PUBLISH");
    assert_eq!(basic(&publication), "closed");
    office
        .pbx
        .sends(response(&publication, 200).with("SIP-ETag", "e1"));
    place.tells(ALIVE, QUEUED);
    office.takes_back(&[&place]);
}

/// The monitor counts one turn, and so does its caller, whatever became of our process.
#[test]
fn who_was_rung_for_a_turn_is_not_rung_for_it_again() {
    let (office, place) = office();
    place.tells(ALIVE, READY);
    let recall = office.alice.receives("INVITE");
    let refresh = restarts(&office, &place);
    drop(recall);
    office
        .pbx
        .sends(response(&refresh, 200).with("Expires", "3500"));
    place.tells(ALIVE, READY);
    office.world.advance(Duration::from_secs(30));
    office.world.quiet();
    place.tells(ALIVE, QUEUED);
    place.tells(ALIVE, READY);
    is_busy_for_a_recall(&office.alice);
    let publication = office.pbx.receives("PUBLISH");
    office
        .pbx
        .sends(response(&publication, 200).with("SIP-ETag", "e1"));
    office.takes_back(&[&place]);
}

#[test]
fn a_refresh_that_finds_nothing_ends_the_request() {
    let (office, place) = office();
    let refresh = restarts(&office, &place);
    office.pbx.sends(response(&refresh, 481));
    office.world.advance(Duration::from_secs(1));
    assert_eq!(office.world.completions_kept(), 0);
}

/// The PBX comes back later than we do, as after a loss of power.
#[test]
fn a_refresh_that_fails_for_now_costs_nothing() {
    let (office, place) = office();
    let refresh = restarts(&office, &place);
    office.pbx.sends(response(&refresh, 503));
    office.world.advance(Duration::from_mins(5));
    assert_eq!(office.world.completions_kept(), 1);
    place.tells(ALIVE, QUEUED);
    office.takes_back(&[&place]);
}

#[test]
fn an_entity_tag_of_ours_outlives_the_process() {
    let (office, place) = office();
    place.tells(ALIVE, READY);
    is_busy_for_a_recall(&office.alice);
    let publication = office.pbx.receives("PUBLISH");
    office
        .pbx
        .sends(response(&publication, 200).with("SIP-ETag", "e1"));
    let refresh = restarts(&office, &place);
    office
        .pbx
        .sends(response(&refresh, 200).with("Expires", "3500"));
    let publication = office.pbx.receives("PUBLISH");
    assert_eq!(publication.header("SIP-If-Match"), "e1");
    assert_eq!(basic(&publication), "open");
    office
        .pbx
        .sends(response(&publication, 200).with("SIP-ETag", "e2"));
    place.tells(ALIVE, QUEUED);
    office.takes_back(&[&place]);
}
