//! The route table: to whom requests go by who is called, how, and from where.
//!
//! Spec: RFC 3261 §16.5.

use campon::routing::table::{Destination, Origin, Pattern, Refusal, Route};

use super::kit::draft::{OFFER, invite, request};
use super::kit::message::Message;
use super::kit::party::Party;
use super::kit::scenes::refused;
use super::kit::subject::{DOMAIN, OFFICE, Setup, UPSTREAM};
use super::kit::world::World;

/// The first peer beside the upstream.
const OFFICE_ID: u32 = 1;

/// What the campon of [`Setup::Routed`] goes by.
pub(crate) fn table() -> Vec<Route> {
    let route = |user: &str, from, to| Route {
        user: Some(Pattern(user.to_owned())),
        method: None,
        from,
        to,
        on_busy: None,
    };
    let office = |strip, prefix: &str| Destination::Peer {
        peer: OFFICE_ID,
        strip,
        prefix: prefix.to_owned(),
    };
    vec![
        route("0900*", None, Destination::Refused(Refusal::Declined)),
        route(
            "01*",
            Some(Origin::Peer(OFFICE_ID)),
            Destination::Refused(Refusal::Forbidden),
        ),
        Route {
            method: Some("OPTIONS".to_owned()),
            ..route("7*", None, Destination::Refused(Refusal::NotFound))
        },
        route("00*", Some(Origin::Registered), office(2, "+")),
        route("112", None, Destination::Refused(Refusal::Forbidden)),
        route("bob", None, office(0, "")),
        route("9?", None, Destination::Users),
    ]
}

#[track_caller]
fn calls(caller: &Party, whom: &str) -> Message {
    caller.sends(invite(whom).with_sdp(OFFER))
}

/// The call arrives there, and is declined.
#[track_caller]
fn arrives(caller: &Party, sent: &Message, at: &Party) -> Message {
    let invite = at.receives("INVITE");
    at.refuses(&invite, 404);
    refused(caller, sent, "404");
    invite
}

fn routed() -> (World, Party, Party, Party) {
    let world = World::new(Setup::Routed);
    let (alice, pbx, office) = (world.phone("alice"), world.upstream(), world.office());
    (world, alice, pbx, office)
}

#[test]
fn a_route_leads_to_a_peer_with_another_number() {
    let (_world, alice, _pbx, office) = routed();
    let sent = calls(&alice, "0049301");
    let invite = arrives(&alice, &sent, &office);
    assert_eq!(invite.uri(), format!("sip:+49301@{OFFICE}"));
}

#[test]
fn what_fits_no_route_goes_as_without_a_table() {
    let (world, alice, pbx, _office) = routed();
    let sent = calls(&alice, "carol");
    let invite = arrives(&alice, &sent, &pbx);
    assert_eq!(invite.uri(), format!("sip:carol@{UPSTREAM}"));
    let dave = world.phone("dave");
    let sent = calls(&alice, "dave");
    arrives(&alice, &sent, &dave);
}

#[test]
fn a_route_comes_before_the_phones_of_a_user() {
    let (world, alice, _pbx, office) = routed();
    let _bob = world.phone("bob");
    let sent = calls(&alice, "bob");
    arrives(&alice, &sent, &office);
}

#[test]
fn a_route_may_refuse() {
    let (_world, alice, _pbx, office) = routed();
    let sent = calls(&alice, "090012345");
    refused(&alice, &sent, "603");
    let sent = calls(&office, "0123");
    refused(&office, &sent, "403");
}

#[test]
fn a_route_may_be_for_one_source_or_one_method() {
    let (_world, alice, pbx, office) = routed();
    for (caller, whom) in [(&alice, "0123"), (&office, "0049301"), (&alice, "77")] {
        let sent = calls(caller, whom);
        arrives(caller, &sent, &pbx);
    }
    alice.sends(request("OPTIONS", &format!("sip:77@{DOMAIN}")));
    alice.receives("404");
}

#[test]
fn a_route_to_our_users_goes_no_further() {
    let (world, alice, pbx, _office) = routed();
    let sent = calls(&alice, "90");
    refused(&alice, &sent, "404");
    let phone = world.party("phone");
    phone.registers_as("90");
    let sent = calls(&alice, "90");
    arrives(&alice, &sent, &phone);
    pbx.receives_nothing();
}

#[test]
fn a_call_for_help_passes_the_table_by() {
    let (_world, alice, pbx, _office) = routed();
    // The table forbids it.
    let sent = calls(&alice, "112");
    arrives(&alice, &sent, &pbx);
}
