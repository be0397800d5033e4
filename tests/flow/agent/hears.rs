//! What a monitor tells, and what comes of it.

use super::*;
use crate::flow::kit::scenes::gives_in;

/// The same place, told of by another fork.
fn forked(place: &Place, tag: &str) -> Place {
    let mut fork = place.clone();
    let local = fork
        .dialog
        .local
        .replace("tag=monitor", &format!("tag={tag}"));
    fork.dialog.local = local;
    fork
}

#[test]
fn a_notify_is_answered_before_the_caller_has_said_anything() {
    let office = Office::new();
    let place = office.place("dora", MONITOR);
    office.pbx.sends(place.notify(ALIVE, READY));
    let answer = office.pbx.receives("200");
    assert_eq!(answer.cseq_method(), "NOTIFY"); // CC-75
    is_busy_for_a_recall(&office.alice);
    let suspended = office.pbx.receives("PUBLISH");
    office
        .pbx
        .sends(response(&suspended, 200).with("SIP-ETag", "1"));
    office.takes_back(&[&place]);
}

#[test]
fn a_notify_may_come_before_the_answer() {
    let office = Office::new();
    let Office { alice, pbx, .. } = &office;
    office.is_refused("dora", &[&offer(MONITOR)]);
    let dialled = office.dials(REQUEST_LAST);
    let subscribe = pbx.receives("SUBSCRIBE");
    let accepted = response(&subscribe, 200)
        .tagged("monitor")
        .with("Expires", "3600");
    let mut dialog = Dialog::of_callee(&subscribe, &subscribe);
    dialog.local.push_str(";tag=monitor");
    let place = Place {
        pbx: pbx.clone(),
        dialog,
        subscribe,
    };
    place.tells(ALIVE, QUEUED); // CC-76, S-129
    office.is_done(&dialled);
    pbx.sends(accepted.with("Contact", "<sip:monitor@192.0.2.200:5060>"));
    alice.receives_nothing();
    office.takes_back(&[&place]);
}

#[test]
fn a_monitor_that_accepts_and_is_silent_is_given_up() {
    let office = Office::new();
    office.is_refused("dora", &[&offer(MONITOR)]);
    let dialled = office.dials(REQUEST_LAST);
    let subscribe = office.pbx.receives("SUBSCRIBE");
    let place = Place::given(&office.pbx, &subscribe, "monitor");
    office.is_done(&dialled);
    office.world.advance(SECOND * 33);
    office.pbx.sends(place.notify(ALIVE, READY));
    office.pbx.receives("481"); // CC-76
    office.alice.receives_nothing();
}

#[test]
fn a_recall_and_its_call_have_all_their_hops_before_them() {
    let office = Office::new();
    let Office { alice, pbx, .. } = &office;
    let place = office.place("dora", MONITOR);
    place.tells(ALIVE, READY);
    let recall = alice.receives("INVITE");
    assert_eq!(recall.header("Max-Forwards"), "70"); // S-113
    alice.sends(response(&recall, 200).with_sdp(ANSWER));
    alice.receives("ACK");
    let cc_call = pbx.receives("INVITE");
    assert_eq!(cc_call.header("Max-Forwards"), "70"); // S-113
    pbx.refuses(&cc_call, 486);
    alice.is_hung_up_on();
    place.tells(ALIVE, QUEUED);
    office.takes_back(&[&place]);
}

#[test]
fn the_call_goes_where_the_monitor_says_with_all_that_it_says() {
    let office = Office::new();
    let Office { alice, pbx, .. } = &office;
    let place = office.place("dora", MONITOR);
    let entry = "sip:dora@192.0.2.200:5060;x=kept";
    place.tells(ALIVE, &format!("{READY}cc-URI: {entry}\r\n"));
    let recall = alice.receives("INVITE");
    alice.sends(response(&recall, 200).with_sdp(ANSWER));
    alice.receives("ACK");
    let cc_call = pbx.receives("INVITE");
    assert_eq!(cc_call.uri(), format!("{entry};m=BS")); // CC-22, CC-23, CC-69
    pbx.refuses(&cc_call, 486);
    alice.is_hung_up_on();
    place.tells(ALIVE, QUEUED);
    office.takes_back(&[&place]);
}

#[test]
fn a_document_is_read_in_any_spelling() {
    let office = Office::new();
    let place = office.place("dora", MONITOR);
    let odd = "CC-State:\r\n  ready\r\nx-mood: fine\r\n";
    place.tells(ALIVE, odd);
    is_busy_for_a_recall(&office.alice); // CC-68
    let suspended = office.pbx.receives("PUBLISH");
    office
        .pbx
        .sends(response(&suspended, 200).with("SIP-ETag", "1"));
    office.takes_back(&[&place]);
}

#[test]
fn a_document_that_says_a_thing_twice_or_nothing_is_refused() {
    let office = Office::new();
    let place = office.place("dora", MONITOR);
    let twice = format!("{QUEUED}{READY}");
    office.pbx.sends(place.notify(ALIVE, &twice));
    office.pbx.receives("400"); // CC-68
    let silent = "cc-service-retention: true\r\n";
    office.pbx.sends(place.notify(ALIVE, silent));
    office.pbx.receives("400"); // CC-61
    office.alice.receives_nothing();
    office.takes_back(&[&place]);
}

#[test]
fn the_last_notify_needs_no_document() {
    let office = Office::new();
    let place = office.place("dora", MONITOR);
    place.tells("terminated;reason=noresource", ""); // CC-62
    let dialled = office.dials(CANCEL_ALL);
    refused(&office.alice, &dialled, "404");
}

#[test]
fn each_fork_that_tells_something_has_a_place_of_its_own() {
    let office = Office::new();
    let place = office.place("dora", MONITOR);
    let other = forked(&place, "fork");
    other.tells(ALIVE, QUEUED); // CC-19, S-129
    // CC-64: what one wants is done, and the other told that Alice is away.
    other.tells(ALIVE, READY);
    let recall = office.alice.receives("INVITE");
    let suspended = office.pbx.receives("PUBLISH");
    assert_eq!(suspended.tag_of_to(), "monitor"); // CC-64
    assert_eq!(basic(&suspended), "closed");
    office
        .pbx
        .sends(response(&suspended, 200).with("SIP-ETag", "1"));
    office.alice.answers(&recall, 180);
    other.tells(ALIVE, QUEUED);
    gives_in(&office.alice, &recall);
    let resumed = office.pbx.receives("PUBLISH");
    assert_eq!(basic(&resumed), "open");
    office
        .pbx
        .sends(response(&resumed, 200).with("SIP-ETag", "2"));
    office.takes_back(&[&place, &other]);
}

#[test]
fn a_notify_of_nothing_that_was_asked_for_is_refused() {
    let office = Office::new();
    let place = office.place("dora", MONITOR);
    let mut another = place.clone();
    another.dialog.call_id = "another".to_owned();
    office.pbx.sends(another.notify(ALIVE, READY));
    office.pbx.receives("481"); // S-126
    office.alice.receives_nothing();
    office.takes_back(&[&place]);
}

#[test]
fn an_answer_of_202_is_as_good_as_200() {
    let office = Office::new();
    office.is_refused("dora", &[&offer(MONITOR)]);
    let dialled = office.dials(REQUEST_LAST);
    let subscribe = office.pbx.receives("SUBSCRIBE");
    let accepted = response(&subscribe, 202)
        .tagged("monitor")
        .with("Expires", "3600")
        .with("Contact", "<sip:monitor@192.0.2.200:5060>");
    let accepted = office.pbx.sends(accepted);
    office.is_done(&dialled); // S-128
    let place = Place {
        pbx: office.pbx.clone(),
        dialog: Dialog::of_callee(&subscribe, &accepted),
        subscribe,
    };
    place.tells(ALIVE, QUEUED);
    office.takes_back(&[&place]);
}

#[test]
fn a_place_that_its_monitor_takes_away_is_gone_for_whatever_reason() {
    for reason in ["deactivated", "giveup", "rejected", "invariant", "x"] {
        let office = Office::new();
        let place = office.place("dora", MONITOR);
        place.tells(&format!("terminated;reason={reason}"), QUEUED);
        office.world.advance(SECOND * 60);
        office.pbx.receives_nothing(); // S-127
        office.pbx.sends(place.notify(ALIVE, READY));
        office.pbx.receives("481"); // S-126
    }
}
