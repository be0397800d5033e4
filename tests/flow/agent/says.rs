//! What a monitor is told of its caller.

use campon::shard::provider::{Answer, Ask, DialogReport};

use super::*;
use crate::flow::kit::scenes::{gives_in, hang_up};

/// Alice speaks with somebody behind the PBX.
#[track_caller]
fn talks(office: &Office) -> Dialog {
    let Office { alice, pbx, .. } = office;
    let sent = alice.sends(invite("erik").with_sdp(OFFER));
    let arrived = pbx.receives("INVITE");
    let answer = pbx.takes_call(&arrived, alice, &sent);
    Dialog::of_caller(&sent, &answer)
}

/// What a place's caller is said to be now, said in which PUBLISH; the PBX calls it so.
#[track_caller]
fn hears(office: &Office, etag: &str) -> (String, Message) {
    let publish = office.pbx.receives("PUBLISH");
    let answer = response(&publish, 200).with("SIP-ETag", etag);
    office.pbx.sends(answer.with("Expires", "3000"));
    (basic(&publish), publish)
}

#[test]
fn a_caller_on_a_call_is_suspended_in_his_turn_and_resumed_after_it() {
    let office = Office::new();
    let place = office.place("dora", MONITOR);
    let talk = talks(&office);
    office.world.advance(SECOND * 600);
    let ready = format!("{READY}cc-URI: {ENTRY}\r\n");
    place.tells("active;expires=3000", &ready);
    let (basic, suspended) = hears(&office, "1");
    assert_eq!((basic.as_str(), suspended.uri()), ("closed", ENTRY)); // CC-24
    assert_eq!(suspended.header("Expires"), "3000"); // CC-25
    assert!(!suspended.has("SIP-If-Match"));
    hang_up(&office.alice, &talk, &office.pbx);
    let (basic, resumed) = hears(&office, "2");
    assert_eq!((basic.as_str(), resumed.uri()), ("open", ENTRY)); // CC-27
    assert_eq!(resumed.header("SIP-If-Match"), "1");
    office.takes_back(&[&place]);
}

#[test]
fn what_cannot_be_said_at_one_address_is_said_at_the_next() {
    let office = Office::new();
    let place = office.place("dora", MONITOR);
    let talk = talks(&office);
    let ready = format!("{READY}cc-URI: {ENTRY}\r\n");
    let info = "<sip:ccm-9@192.0.2.200:5060>;purpose=call-completion";
    office
        .pbx
        .sends(place.notify(ALIVE, &ready).with("Call-Info", info));
    office.pbx.receives("200");
    let mut tried = Vec::new();
    for _ in 0..3 {
        let publish = office.pbx.receives("PUBLISH");
        tried.push((publish.uri().to_owned(), !publish.tag_of_to().is_empty()));
        office.pbx.answers(&publish, 404);
    }
    let (_, last) = hears(&office, "1");
    tried.push((last.uri().to_owned(), !last.tag_of_to().is_empty()));
    let monitor = "sip:monitor@192.0.2.200:5060".to_owned();
    // CC-26: cc-URI, dialog, Call-Info, Contact.
    let expected = [
        (ENTRY.to_owned(), false),
        (monitor.clone(), true),
        ("sip:ccm-9@192.0.2.200:5060".to_owned(), false),
        (monitor, false),
    ];
    assert_eq!(tried, expected); // CC-26
    hang_up(&office.alice, &talk, &office.pbx);
    hears(&office, "2");
    office.takes_back(&[&place]);
}

#[test]
fn while_a_caller_is_rung_for_one_callee_the_other_queues_pass_him_over() {
    let office = Office::new();
    let first = office.place("dora", MONITOR);
    let second = office.place("erik", "sip:ccm-2@192.0.2.200:5060");
    first.tells(ALIVE, READY);
    let recall = office.alice.receives("INVITE");
    let (basic, suspended) = hears(&office, "1");
    assert_eq!(suspended.call_id(), second.subscribe.call_id()); // CC-21
    assert_eq!(basic, "closed"); // CC-21
    office.alice.answers(&recall, 180);
    first.tells(ALIVE, QUEUED);
    gives_in(&office.alice, &recall);
    hears(&office, "2");
    office.takes_back(&[&first, &second]);
}

#[test]
fn a_monitor_that_has_forgotten_a_publication_is_told_anew() {
    let office = Office::new();
    let place = office.place("dora", MONITOR);
    let talk = talks(&office);
    place.tells(ALIVE, READY);
    hears(&office, "1");
    hang_up(&office.alice, &talk, &office.pbx);
    let resumed = office.pbx.receives("PUBLISH");
    assert_eq!(resumed.header("SIP-If-Match"), "1");
    office.pbx.answers(&resumed, 412);
    let (basic, anew) = hears(&office, "2");
    assert!(!anew.has("SIP-If-Match")); // S-153
    assert_eq!(basic, "open");
    office.takes_back(&[&place]);
}

#[test]
fn a_publication_waits_for_the_answer_to_the_one_before() {
    let office = Office::new();
    let place = office.place("dora", MONITOR);
    let talk = talks(&office);
    place.tells(ALIVE, READY);
    let suspended = office.pbx.receives("PUBLISH");
    hang_up(&office.alice, &talk, &office.pbx);
    office.pbx.receives_nothing(); // S-154
    office
        .pbx
        .sends(response(&suspended, 200).with("SIP-ETag", "1"));
    let (basic, resumed) = hears(&office, "2");
    assert_eq!(basic, "open");
    assert_eq!(resumed.header("SIP-If-Match"), "1"); // S-154
    office.takes_back(&[&place]);
}

#[test]
fn a_campon_that_stops_gives_its_places_up() {
    let office = Office::new();
    let places = ["dora", "erik"].map(|whom| office.place(whom, MONITOR));
    office.world.drains();
    let leaves = places.each_ref().map(Place::is_left);
    for (place, leaves) in places.iter().zip(leaves) {
        assert_eq!(leaves.header("Expires"), "0");
        office
            .pbx
            .sends(response(&leaves, 200).with("Expires", "0"));
        place.tells("terminated;reason=timeout", "");
    }
    office.world.advance(SECOND * 600);
    office.world.quiet();
}

/// Dialled by who is back.
const RESUME: &str = "*38%23";

#[test]
fn who_is_to_say_so_himself_is_not_resumed_before_he_does() {
    let office = Office::with(Setup::ByHand);
    let place = office.place("dora", MONITOR);
    let talk = talks(&office);
    let ready = format!("{READY}cc-URI: {ENTRY}\r\n");
    place.tells("active;expires=3000", &ready);
    let (basic, _) = hears(&office, "1");
    assert_eq!(basic, "closed");
    hang_up(&office.alice, &talk, &office.pbx);
    // CC-28
    office.world.advance(SECOND * 600);
    office.pbx.receives_nothing();
    let dialled = office.dials(RESUME);
    office.is_done(&dialled);
    let (basic, resumed) = hears(&office, "2");
    assert_eq!((basic.as_str(), resumed.uri()), ("open", ENTRY));
    office.takes_back(&[&place]);
    let dialled = office.dials(RESUME);
    refused(&office.alice, &dialled, "404");
}

/// DESIGN §8.8: an application may look for what carries a request.
#[test]
fn a_request_names_the_dialog_that_carries_it() {
    let office = Office::new();
    let place = office.place("dora", MONITOR);
    let Answer::Completions(all) = office.world.asks_at_once(Ask::Completions(None)) else {
        panic!("no list");
    };
    let [request] = &all[..] else {
        panic!("{all:?}");
    };
    let dialog = DialogReport {
        call_id: place.subscribe.call_id().to_owned(),
        local_tag: place.subscribe.tag_of_from().to_owned(),
        remote_tag: "monitor".to_owned(),
    };
    assert_eq!(request.dialogs, [dialog]);
    office.takes_back(&[&place]);
}
