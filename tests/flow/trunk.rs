//! Trunk mode: between a PBX and a carrier, and nobody registers.
//!
//! Spec: RFC 3261 §16.5, §21.4.6; RULES R4, R11.

use campon::routing::table::{Destination, Origin, Pattern, Refusal, Route};
use campon::shard::Settings;
use campon::shard::settings::{Peer, PeerCompletion, Redirect};
use campon::sip::flow::Transport;

use super::kit::completion::{GUARD, LONG, cc_call, ended, offered_uri, subscribe, told, waits};
use super::kit::dialog::Dialog;
use super::kit::dialogs::is_watched;
use super::kit::draft::{
    ANSWER, Draft, OFFER, cancel, invite, options, register, request, response,
};
use super::kit::message::Message;
use super::kit::party::Party;
use super::kit::scenes::{call, gives_in, hang_up, refused};
use super::kit::subject::{DOMAIN, OFFICE, Setup, UPSTREAM};
use super::kit::world::World;

/// The upstream and the peer beside it.
const PBX_ID: u32 = 0;
const CARRIER_ID: u32 = 1;
const BRANCH_ID: u32 = 2;

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
    if let Some(pbx) = &mut settings.upstream {
        pbx.redirect = Redirect::Follow;
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
        route("0*", PBX_ID, carrier.clone()),
        route("07*", BRANCH_ID, carrier),
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
    at.refuses(&invite, 404);
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
    pbx.refuses(&got, 486);
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

/// The branch calls Bob of the PBX, which sends it on to these.
#[track_caller]
fn is_sent_on(branch: &Party, pbx: &Party, contacts: &[&str]) -> [Message; 2] {
    let sent = calls(branch, "bob");
    [sent, sends_on(pbx, contacts)]
}

/// What the PBX got; it has its ACK.
#[track_caller]
fn sends_on(pbx: &Party, contacts: &[&str]) -> Message {
    let invite = pbx.receives("INVITE");
    let moved = contacts
        .iter()
        .fold(response(&invite, 302), |moved, contact| {
            moved.with("Contact", contact)
        });
    pbx.sends(moved);
    pbx.receives("ACK");
    invite
}

fn three() -> (World, Party, Party, Party) {
    let (world, pbx, carrier) = trunk();
    let branch = world.party_at("branch", BRANCH);
    (world, pbx, carrier, branch)
}

/// ```text
///   branch          campon           PBX         carrier
///     │ INVITE bob ──►│ INVITE bob ──►│              │
///     │               │◄───────── 302 │              │
///     │               │ ACK ─────────►│              │
///     │               │ INVITE ann ─────────────────►│
///     │◄────── 200 OK │◄────────────────────── 200 OK │
/// ```
#[test]
fn a_call_goes_where_a_peer_that_is_followed_sends_it() {
    let (_world, pbx, carrier, branch) = three();
    let contacts = ["<sip:zoe@192.0.2.201>;q=0.5", "<sip:ann@192.0.2.201>;q=0.9"];
    let [sent, first] = is_sent_on(&branch, &pbx, &contacts);
    let second = carrier.receives("INVITE");
    assert_eq!(second.uri(), "sip:ann@192.0.2.201"); // S-32
    for name in ["Call-ID", "From", "To"] {
        assert_eq!(second.header(name), first.header(name), "{name}");
    }
    assert_eq!(second.cseq(), first.cseq() + 1);
    assert_eq!(second.body(), first.body());
    let answered = carrier.sends(response(&second, 200).with_sdp(ANSWER));
    let answer = branch.receives("200");
    branch.acks(&sent, &answer);
    carrier.receives("ACK");
    let _callee = Dialog::of_callee(&second, &answered);
    hang_up(&branch, &Dialog::of_caller(&sent, &answer), &carrier);
}

#[test]
fn a_number_at_our_own_name_is_followed_by_the_route_table() {
    let (_world, pbx, carrier, branch) = three();
    let [sent, _] = is_sent_on(&branch, &pbx, &["<sip:0755@192.0.2.1>"]);
    let invite = arrives(&branch, &sent, &carrier);
    assert_eq!(invite.uri(), format!("sip:+755@{OFFICE}"));
    // No route fits what comes from elsewhere.
    let sent = calls(&carrier, "bob");
    sends_on(&pbx, &["<sip:0755@192.0.2.1>"]);
    refused(&carrier, &sent, "302");
}

/// What leads to nobody whom we know, adds something, or names a place in a queue.
#[test]
fn a_redirection_that_leads_nowhere_is_passed_on() {
    let (world, pbx, carrier, branch) = three();
    for contact in [
        "<sip:ann@198.51.100.1>",
        "<sip:ann@192.0.2.201?Replaces=x>",
        "<sip:ann@192.0.2.201;maddr=198.51.100.1>",
        "<sip:ann@192.0.2.201;cce=abc>",
        "<sip:192.0.2.201>",
        "<tel:+49301>",
        "<sips:ann@192.0.2.201>",
        "<sip:bob@192.0.2.200:5060>",
    ] {
        let [sent, _] = is_sent_on(&branch, &pbx, &[contact]);
        let told = refused(&branch, &sent, "302");
        assert_eq!(told.header("Contact"), contact); // S-32
    }
    carrier.receives_nothing();
    // Nobody said that the carrier's are to be followed.
    let sent = calls(&pbx, "049301");
    let invite = carrier.receives("INVITE");
    carrier.sends(response(&invite, 302).with("Contact", &format!("<sip:ann@{BRANCH}>")));
    carrier.receives("ACK");
    refused(&pbx, &sent, "302");
    world.quiet();
}

#[test]
fn redirections_end_somewhere() {
    let (_world, pbx, _carrier, branch) = three();
    let sent = calls(&branch, "bob");
    for number in 1..=5 {
        sends_on(&pbx, &[&format!("<sip:bob{number}@192.0.2.200>")]);
    }
    let last = sends_on(&pbx, &["<sip:bob6@192.0.2.200>"]);
    assert_eq!(last.uri(), "sip:bob5@192.0.2.200");
    refused(&branch, &sent, "302");
    // To where it has been, it does not go again.
    let sent = calls(&branch, "bob");
    sends_on(&pbx, &["<sip:one@192.0.2.200>"]);
    sends_on(&pbx, &["<sip:two@192.0.2.200>"]);
    sends_on(&pbx, &["<sip:one@192.0.2.200>"]);
    refused(&branch, &sent, "302");
}

#[test]
fn a_call_that_was_sent_on_can_be_given_up() {
    let (_world, pbx, carrier, branch) = three();
    let [sent, _] = is_sent_on(&branch, &pbx, &["<sip:ann@192.0.2.201>"]);
    let invite = carrier.receives("INVITE");
    carrier.answers(&invite, 180);
    branch.receives("180");
    branch.sends(cancel(&sent));
    branch.receives("200");
    refused(&branch, &sent, "487");
    gives_in(&carrier, &invite);
}
