//! Trunk mode: between a PBX and a carrier, and nobody registers.
//!
//! Spec: RFC 3261 §16.5, §21.4.6; RULES R4, R11.

use campon::routing::table::{Destination, Origin, Pattern, Refusal, Route};
use campon::shard::Settings;
use campon::shard::settings::{Peer, PeerCompletion};
use campon::sip::flow::Transport;

use super::kit::completion::{GUARD, LONG, cc_call, ended, offered_uri, subscribe, told, waits};
use super::kit::dialog::Dialog;
use super::kit::dialogs::is_watched;
use super::kit::draft::{ANSWER, Draft, OFFER, invite, options, register, request, response};
use super::kit::message::Message;
use super::kit::party::Party;
use super::kit::scenes::{call, hang_up, refused};
use super::kit::subject::{DOMAIN, OFFICE, Setup, UPSTREAM};
use super::kit::world::World;

/// The upstream and the peer beside it.
const PBX_ID: u32 = 0;
const CARRIER_ID: u32 = 1;

/// Where a third peer is.
const BRANCH: &str = "192.0.2.203:5060";

/// What the PBX offers with a call that failed.
const QUEUE: &str = "<sip:q1@192.0.2.200:5060>;purpose=call-completion;m=BS";

/// What the campon of [`Setup::Trunk`] goes by.
pub(crate) fn prepare(settings: &mut Settings) {
    settings.is_trunk = true;
    let branch = Peer::new(
        "branch",
        Transport::Udp,
        BRANCH.parse().expect("an address"),
    );
    settings.peers.push(branch);
    let is_told = settings
        .upstream
        .as_ref()
        .is_some_and(|it| it.dialog_events);
    for carrier in settings.peers.iter_mut().take(1).filter(|_| !is_told) {
        carrier.completion = PeerCompletion::Off;
    }
    settings.calls.emergency = vec!["112".to_owned(), "0112".to_owned()];
    let route = |user: &str, from, to| Route {
        user: Some(Pattern(user.to_owned())),
        method: None,
        from: Some(Origin::Peer(from)),
        to,
        on_busy: None,
    };
    let carrier = Destination::Peer {
        peer: CARRIER_ID,
        strip: 1,
        prefix: "+".to_owned(),
    };
    settings.routes = vec![
        route("0900*", PBX_ID, Destination::Refused(Refusal::Declined)),
        route("112", PBX_ID, Destination::Refused(Refusal::Forbidden)),
        route("0*", PBX_ID, carrier),
    ];
}

fn trunk() -> (World, Party, Party) {
    let world = World::new(Setup::Trunk);
    let (pbx, carrier) = (world.upstream(), world.office());
    (world, pbx, carrier)
}

/// The call arrives there, and is declined.
#[track_caller]
fn arrives(from: &Party, sent: &Message, at: &Party) -> Message {
    let invite = at.receives("INVITE");
    at.answers(&invite, 404);
    at.receives("ACK");
    refused(from, sent, "404");
    invite
}

#[track_caller]
fn calls(from: &Party, whom: &str) -> Message {
    from.sends(invite(whom).with_sdp(OFFER))
}

#[test]
fn a_call_of_the_carrier_goes_to_the_pbx_and_lasts_until_either_hangs_up() {
    let (_world, pbx, carrier) = trunk();
    let one = call(&carrier, &pbx);
    assert_eq!(one.invite.uri(), format!("sip:bob@{UPSTREAM}"));
    hang_up(&carrier, &one.caller, &pbx);
    let two = call(&carrier, &pbx);
    hang_up(&pbx, &two.callee, &carrier);
}

#[test]
fn a_call_of_the_pbx_goes_where_a_route_leads() {
    let (_world, pbx, carrier) = trunk();
    let sent = calls(&pbx, "049301");
    let invite = arrives(&pbx, &sent, &carrier);
    assert_eq!(invite.uri(), format!("sip:+49301@{OFFICE}"));
    let sent = calls(&pbx, "09001");
    refused(&pbx, &sent, "603");
}

/// It would come back for ever.
#[test]
fn a_call_of_the_pbx_that_no_route_fits_does_not_go_back_to_it() {
    let (world, pbx, carrier) = trunk();
    let sent = calls(&pbx, "1001");
    refused(&pbx, &sent, "404");
    carrier.receives_nothing();
    world.quiet();
}

#[test]
fn a_request_that_names_a_peer_goes_to_that_peer() {
    let (_world, pbx, carrier) = trunk();
    let sent = calls(&pbx, "sip:zoe@192.0.2.201");
    let invite = arrives(&pbx, &sent, &carrier);
    assert_eq!(invite.uri(), "sip:zoe@192.0.2.201");
    // Its own name is none of the other side's.
    let sent = calls(&pbx, "sip:zoe@192.0.2.200");
    refused(&pbx, &sent, "404");
}

#[test]
fn nobody_registers_in_trunk_mode() {
    let (world, pbx, carrier) = trunk();
    let stranger = world.party("stranger");
    for party in [&stranger, &pbx, &carrier] {
        party.sends(register("alice"));
        let refusal = party.receives("405"); // S-10
        assert!(!refusal.header("Allow").contains("REGISTER"));
    }
    stranger.sends(options());
    let fine = stranger.receives("200"); // S-36
    assert!(!fine.header("Allow").contains("REGISTER"));
    assert!(fine.header("Allow").contains("INVITE"));
}

#[test]
fn who_is_no_peer_reaches_nobody_but_help() {
    let (world, pbx, carrier) = trunk();
    let stranger = world.party("stranger");
    let sent = calls(&stranger, "bob");
    refused(&stranger, &sent, "403");
    let subscribe = request("SUBSCRIBE", &format!("sip:bob@{DOMAIN}")).with("Event", "dialog");
    stranger.sends(subscribe);
    stranger.receives("403");
    pbx.receives_nothing();
    carrier.receives_nothing();
    let sent = calls(&stranger, "112");
    arrives(&stranger, &sent, &pbx);
}

/// A route that refuses the number refuses no help; one that leads somewhere leads there.
#[test]
fn a_call_for_help_of_the_pbx_reaches_the_carrier() {
    let (_world, pbx, carrier) = trunk();
    let sent = calls(&pbx, "112");
    let invite = arrives(&pbx, &sent, &carrier);
    assert_eq!(invite.uri(), format!("sip:112@{OFFICE}"));
    let sent = calls(&pbx, "0112");
    let invite = arrives(&pbx, &sent, &carrier);
    assert_eq!(invite.uri(), format!("sip:+112@{OFFICE}"));
    let sent = calls(&carrier, "112");
    arrives(&carrier, &sent, &pbx);
}

/// Bob of the PBX is busy, and the PBX offers its own completion.
#[track_caller]
fn bob_is_busy(pbx: &Party, carrier: &Party) -> Message {
    let sent = calls(carrier, "bob");
    let invite = pbx.receives("INVITE");
    pbx.sends(response(&invite, 486).with("Call-Info", QUEUE));
    pbx.receives("ACK");
    refused(carrier, &sent, "486")
}

#[test]
fn a_request_for_completion_passes_between_peers_by_the_name_of_the_queue() {
    let (world, pbx, carrier) = trunk();
    let subscribe = request("SUBSCRIBE", "sip:q1@192.0.2.200:5060;m=BS")
        .with("Event", "call-completion")
        .with("Accept", "application/call-completion")
        .with("Expires", "600")
        .with("Contact", &format!("<sip:carrier@{OFFICE}>"));
    carrier.sends(subscribe);
    let asked = pbx.receives("SUBSCRIBE");
    assert_eq!(asked.uri(), "sip:q1@192.0.2.200:5060;m=BS");
    pbx.answers(&asked, 480);
    carrier.receives("480");
    world.quiet();
}

/// What is off for one side is nothing that it should hear of.
#[test]
fn offers_do_not_reach_a_peer_whose_completion_is_off() {
    let (world, pbx, carrier) = trunk();
    let branch = world.party_at("branch", BRANCH);
    assert!(!bob_is_busy(&pbx, &carrier).has("Call-Info"));
    assert_eq!(bob_is_busy(&pbx, &branch).header("Call-Info"), QUEUE);
}

/// Each 180 and 200 crosses, with the session descriptions untouched.
#[test]
fn media_goes_from_peer_to_peer() {
    let (_world, pbx, carrier) = trunk();
    let sent = pbx.sends(invite("049301").with_sdp(OFFER));
    let invite = carrier.receives("INVITE");
    assert_eq!(invite.body(), OFFER.as_bytes());
    carrier.sends(response(&invite, 200).with_sdp(ANSWER));
    let answer = pbx.receives("200");
    assert_eq!(answer.body(), ANSWER.as_bytes());
    pbx.acks(&sent, &answer);
    carrier.receives("ACK");
    hang_up(&pbx, &Dialog::of_caller(&sent, &answer), &carrier);
}

/// R11: the PBX offers no completion, and tells of its users' dialogs.
#[test]
fn a_caller_behind_the_carrier_waits_for_a_user_of_a_pbx_that_tells() {
    let world = World::new(Setup::TrunkTold);
    let (pbx, carrier) = (world.upstream(), world.office());
    let from_zoe = |draft: Draft| draft.with("From", "<sip:zoe@192.0.2.201>;tag=zoe");
    let sent = carrier.sends(from_zoe(invite("bob").with_sdp(OFFER)));
    let got = pbx.receives("INVITE");
    pbx.answers(&got, 486);
    pbx.receives("ACK");
    let busy = refused(&carrier, &sent, "486");
    let uri = offered_uri(&busy).to_owned();
    assert!(uri.contains(DOMAIN), "{busy}");
    let place = waits(&carrier, from_zoe(subscribe(&carrier, &uri)));
    let lamp = is_watched(&pbx, &format!("sip:bob@{UPSTREAM}"));
    lamp.tells(&pbx, 0, "full", &[("1", "confirmed")]);
    world.advance(LONG);
    carrier.receives_nothing();
    lamp.tells(&pbx, 1, "full", &[]);
    world.advance(GUARD);
    let ready = told(&carrier, "ready");
    let sent = carrier.sends(from_zoe(cc_call(&ready)));
    let rings = pbx.receives("INVITE");
    assert!(
        rings.uri().starts_with(&format!("sip:bob@{UPSTREAM}")),
        "{rings}"
    );
    pbx.sends(response(&rings, 200).with_sdp(ANSWER));
    let answer = carrier.receives("200");
    carrier.acks(&sent, &answer);
    ended(&carrier, "noresource");
    lamp.is_left(&pbx);
    let [ack] = pbx.receives_each(["ACK"]);
    assert_eq!(ack.call_id(), rings.call_id());
    hang_up(&carrier, &Dialog::of_caller(&sent, &answer), &pbx);
    assert_ne!(place.dialog.call_id, ack.call_id());
}
