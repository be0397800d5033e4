//! What is asked of a monitor, and of which.

use super::*;

#[test]
fn a_monitor_is_asked_as_the_failed_call_was_made() {
    let office = Office::new();
    let Office { alice, pbx, .. } = &office;
    let from = format!("<sip:alice@{DOMAIN};x=y>;tag=from");
    let sent = alice.sends(invite("dora").with_sdp(OFFER).with("From", &from));
    let arrived = pbx.receives("INVITE");
    let offer = format!("<{MONITOR}>;purpose=call-completion;m=NR");
    pbx.sends(response(&arrived, 180).with("Call-Info", &offer));
    alice.receives("180");
    pbx.refuses(&arrived, 480);
    refused(alice, &sent, "480");
    let dialled = office.dials(REQUEST_LAST);
    let subscribe = pbx.receives("SUBSCRIBE");
    // CC-08: what the ringing offered is known after a failure that offers nothing.
    assert_eq!(subscribe.uri(), format!("{MONITOR};m=NR"));
    let asks_as = uri_of(subscribe.header("From"));
    assert_eq!(asks_as, format!("sip:alice@{DOMAIN};x=y")); // CC-07
    assert_eq!(subscribe.header("Accept"), "application/call-completion"); // CC-58
    let place = Place::given(pbx, &subscribe, "monitor");
    office.is_done(&dialled);
    place.tells(ALIVE, QUEUED);
    office.takes_back(&[&place]);
}

#[test]
fn an_agent_asks_for_an_hour() {
    let office = Office::new();
    let place = office.place("dora", MONITOR);
    let expires = place.subscribe.header("Expires");
    assert_eq!(expires, "3600"); // CC-54, CC-55
    let disposition = place.subscribe.header("Request-Disposition");
    assert_eq!(disposition, "parallel"); // CC-18
    let wanted = place.subscribe.header("Accept-Contact");
    assert_eq!(wanted, "*;actor=\"principal\";require"); // CC-18
    office.takes_back(&[&place]);
}

#[test]
fn every_monitor_that_made_an_offer_is_asked() {
    let office = Office::new();
    let others = "sip:ccm-2@192.0.2.200:5060";
    office.is_refused("dora", &[&offer(MONITOR), &offer(others)]);
    let dialled = office.dials(REQUEST_LAST);
    let asked = [(); 2].map(|()| office.pbx.receives("SUBSCRIBE"));
    let uris = asked.each_ref().map(Message::uri);
    assert_eq!(uris, [format!("{MONITOR};m=BS"), format!("{others};m=BS")]); // CC-09
    let places = asked.map(|subscribe| Place::given(&office.pbx, &subscribe, "monitor"));
    office.is_done(&dialled);
    for place in &places {
        place.tells(ALIVE, QUEUED);
    }
    office.takes_back(&places.each_ref());
}

#[test]
fn a_server_that_refuses_for_now_is_followed_by_the_next() {
    let office = Office::with(Setup::Twins);
    let second = office.world.second();
    office.is_refused("dora", &[&offer(MONITOR)]);
    let dialled = office.dials(REQUEST_LAST);
    let at_first = office.pbx.receives("SUBSCRIBE");
    office.pbx.answers(&at_first, 503);
    // S-101
    let at_second = second.receives("SUBSCRIBE");
    assert_ne!(at_second.branch(), at_first.branch());
    for same in ["From", "To", "Call-ID", "CSeq", "Expires"] {
        assert_eq!(at_second.header(same), at_first.header(same));
    }
    assert_eq!(at_second.uri(), at_first.uri());
    let place = Place::given(&second, &at_second, "monitor");
    office.is_done(&dialled);
    place.tells(ALIVE, QUEUED);
    // What follows is for the server that gave the place.
    let dialled = office.dials(CANCEL_ALL);
    let leaves = place.is_left();
    second.sends(response(&leaves, 200).with("Expires", "0"));
    place.tells("terminated;reason=timeout", "");
    office.is_done(&dialled);
    office.pbx.receives_nothing();
}

#[test]
fn an_offer_of_no_known_mode_is_taken_up_with_what_was_seen() {
    for end in ["", ";m=ZZ"] {
        let office = Office::new();
        let offer = format!("<{MONITOR}>;purpose=call-completion{end}");
        office.is_refused("dora", &[&offer]);
        let dialled = office.dials(REQUEST_LAST);
        let subscribe = office.pbx.receives("SUBSCRIBE");
        assert_eq!(subscribe.uri(), format!("{MONITOR};m=BS")); // CC-32
        let place = Place::given(&office.pbx, &subscribe, "monitor");
        office.is_done(&dialled);
        place.tells(ALIVE, QUEUED);
        office.takes_back(&[&place]);
    }
}

#[test]
fn without_an_offer_the_callee_himself_is_asked() {
    let office = Office::new();
    let callee = "sip:dora@192.0.2.200";
    office.is_refused(callee, &[]);
    let dialled = office.dials(REQUEST_LAST);
    let subscribe = office.pbx.receives("SUBSCRIBE");
    assert_eq!(subscribe.uri(), format!("{callee};m=BS")); // CC-11
    assert_eq!(uri_of(subscribe.header("To")), callee);
    let place = Place::given(&office.pbx, &subscribe, "monitor");
    office.is_done(&dialled);
    place.tells(ALIVE, QUEUED);
    office.takes_back(&[&place]);
}

#[test]
fn who_asks_where_nobody_takes_it_is_told_so() {
    for (code, told) in [("404", "403"), ("480", "480"), ("489", "403")] {
        let office = Office::new();
        office.is_refused("dora", &[&offer(MONITOR)]);
        let dialled = office.dials(REQUEST_LAST);
        let subscribe = office.pbx.receives("SUBSCRIBE");
        office
            .pbx
            .answers(&subscribe, code.parse().expect("a code"));
        refused(&office.alice, &dialled, told); // CC-20
    }
}

#[test]
fn a_callee_is_asked_for_once_however_often_he_was_called() {
    let office = Office::new();
    let place = office.place("dora", MONITOR);
    office.is_refused("dora", &[&offer(MONITOR)]);
    let dialled = office.dials(REQUEST_LAST);
    office.is_done(&dialled); // CC-15
    office.pbx.receives_nothing(); // CC-14
    office.takes_back(&[&place]);
}

/// R13: who hides his number in a call hides it in all that is asked for him.
#[test]
fn a_caller_is_named_as_in_the_call_that_failed_and_no_more() {
    let office = Office::new();
    let Office { alice, pbx, .. } = &office;
    let call = invite("dora")
        .with_sdp(OFFER)
        .with("Privacy", "id;critical");
    let sent = alice.sends(call);
    let arrived = pbx.receives("INVITE");
    pbx.sends(response(&arrived, 486).with("Call-Info", &offer(MONITOR)));
    pbx.receives("ACK");
    refused(alice, &sent, "486");
    let dialled = office.dials(REQUEST_LAST);
    let subscribe = pbx.receives("SUBSCRIBE");
    assert_eq!(subscribe.header("Privacy"), "id;critical");
    assert_eq!(
        uri_of(subscribe.header("From")),
        uri_of(arrived.header("From"))
    );
    // A phone's own assertion is nobody's.
    assert!(!subscribe.has("P-Asserted-Identity"), "{subscribe}");
    let place = Place::given(pbx, &subscribe, "monitor");
    office.is_done(&dialled);
    place.tells(ALIVE, QUEUED);
    office.takes_back(&[&place]);
}
