//! The way of messages: Via, route sets, hops and loops.
//!
//! Spec: RFC 3261 §12.1, §12.2.1.1, §16.3, §18.2; RFC 3581 §4; RFC 5393 §4.2; RFC 7332 §5.

use super::kit::dialog::Dialog;
use super::kit::draft::{ANSWER, OFFER, invite, options, proxied, response};
use super::kit::message::{Message, param, uri_of};
use super::kit::scenes::{call, hang_up, offered, refused, ringing, two_phones};
use super::kit::subject::{DOMAIN, DOMAIN_V6, Setup};
use super::kit::world::World;

#[test]
fn a_response_goes_to_the_source_when_rport_is_asked_for() {
    let world = World::new(Setup::Standalone);
    let behind_nat = world.party_at("nat", "192.0.2.50:40001");
    let via = "SIP/2.0/UDP 10.1.1.1:5060;rport;branch=z9hG4bK-nat-1";
    behind_nat.sends(options().with("Via", via));
    let answer = behind_nat.receives("200");
    let via = answer.header("Via");
    // S-80, S-25
    assert_eq!(param(via, "rport"), Some("40001"));
    assert_eq!(param(via, "received"), Some("192.0.2.50"));
    assert!(via.starts_with("SIP/2.0/UDP 10.1.1.1:5060;"));
}

#[test]
fn a_response_goes_to_the_port_of_the_via_when_rport_is_not_asked_for() {
    let world = World::new(Setup::Standalone);
    let sends = world.party_at("sends", "192.0.2.50:40001");
    let listens = world.party_at("listens", "192.0.2.50:5070");
    let via = "SIP/2.0/UDP 10.1.1.1:5070;branch=z9hG4bK-old-1";
    sends.sends(options().with("Via", via));
    let answer = listens.receives("200");
    // S-25
    assert_eq!(param(answer.header("Via"), "received"), Some("192.0.2.50"));
    assert_eq!(param(answer.header("Via"), "rport"), None);
}

#[test]
fn a_response_without_port_in_the_via_goes_to_5060() {
    let world = World::new(Setup::Standalone);
    let sends = world.party_at("sends", "192.0.2.50:40001");
    let listens = world.party_at("listens", "192.0.2.50:5060");
    let via = "SIP/2.0/UDP pc.example.com;branch=z9hG4bK-old-2";
    sends.sends(options().with("Via", via));
    let answer = listens.receives("200");
    // S-25
    assert_eq!(param(answer.header("Via"), "received"), Some("192.0.2.50"));
}

#[test]
fn the_vias_below_the_top_come_back_as_they_were() {
    let (_world, alice, bob) = two_phones();
    let top = "SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK-top";
    let below = "SIP/2.0/TCP proxy.example.com:5090;branch=z9hG4bK-below;received=192.0.2.9";
    let sent = alice.sends(invite("bob").with("Via", top).with("Via", below));
    let invite = bob.receives("INVITE");
    // S-37
    assert_eq!(invite.list("Via").len(), 1);
    bob.refuses(&invite, 486);
    let busy = refused(&alice, &sent, "486");
    assert_eq!(busy.list("Via"), [top, below]);
}

#[test]
fn a_phone_behind_nat_is_called_where_it_registered_from() {
    let world = World::new(Setup::Standalone);
    let alice = world.phone("alice");
    let bob = world.party_at("bob", "192.0.2.50:40001");
    let private = "<sip:bob@10.1.1.1:5060>";
    let register = super::kit::draft::register("bob").with("Contact", private);
    let via = "SIP/2.0/UDP 10.1.1.1:5060;branch=z9hG4bK-reg;rport";
    bob.sends(register.with("Via", via));
    bob.receives("200");
    let (sent, invite) = offered(&alice, &bob);
    assert_eq!(invite.uri(), "sip:bob@10.1.1.1:5060");
    let answered = response(&invite, 200).with("Contact", private);
    bob.sends(answered.with_sdp(ANSWER));
    let answer = alice.receives("200");
    alice.acks(&sent, &answer);
    bob.receives("ACK");
    hang_up(&alice, &Dialog::of_caller(&sent, &answer), &bob);
}

#[test]
fn requests_follow_the_route_set_of_the_callee_in_reverse() {
    let (world, alice, bob) = two_phones();
    let (near, far) = ("<sip:192.0.2.60:5060;lr>", "<sip:192.0.2.61:5060;lr>");
    let proxy = world.party_at("near", "192.0.2.60:5060");
    let (sent, invite) = offered(&alice, &bob);
    let routed = response(&invite, 200)
        .with("Record-Route", far)
        .with("Record-Route", near);
    bob.sends(routed.with_sdp(ANSWER));
    let answer = alice.receives("200");
    // S-37
    assert!(!answer.has("Record-Route"));
    alice.acks(&sent, &answer);
    let ack = proxy.receives("ACK");
    // S-13
    assert_eq!(ack.list("Route"), [near, far]);
    assert_eq!(ack.uri(), bob.uri());
    alice.hangs_up(&Dialog::of_caller(&sent, &answer));
    let bye = proxy.receives("BYE");
    assert_eq!(bye.list("Route"), [near, far]);
    proxy.answers(&bye, 200);
    alice.receives("200");
}

#[test]
fn requests_follow_the_route_set_of_the_caller_in_order() {
    let (world, alice, bob) = two_phones();
    let (near, far) = ("<sip:192.0.2.60:5060;lr>", "<sip:192.0.2.61:5060;lr>");
    let proxy = world.party_at("near", "192.0.2.60:5060");
    let routed = invite("bob").with("Record-Route", &format!("{near}, {far}"));
    let sent = alice.sends(routed.with_sdp(OFFER));
    let invite = bob.receives("INVITE");
    let answered = bob.sends(response(&invite, 200).with_sdp(ANSWER));
    let answer = alice.receives("200");
    assert_eq!(answer.list("Record-Route"), [near, far]);
    alice.acks(&sent, &answer);
    bob.receives("ACK");
    bob.hangs_up(&Dialog::of_callee(&invite, &answered));
    let bye = proxy.receives("BYE");
    // S-13
    assert_eq!(bye.list("Route"), [near, far]);
    assert_eq!(bye.uri(), alice.uri());
    proxy.answers(&bye, 200);
    bob.receives("200");
}

#[test]
fn a_strict_router_gets_itself_as_request_uri() {
    let (world, alice, bob) = two_phones();
    let strict = world.party_at("strict", "192.0.2.60:5060");
    let (sent, invite) = offered(&alice, &bob);
    let routed = response(&invite, 200)
        .with("Record-Route", "<sip:192.0.2.61:5060;lr>")
        .with("Record-Route", "<sip:192.0.2.60:5060>");
    bob.sends(routed.with_sdp(ANSWER));
    let answer = alice.receives("200");
    alice.acks(&sent, &answer);
    let ack = strict.receives("ACK");
    // S-17
    assert_eq!(ack.uri(), "sip:192.0.2.60:5060");
    let own = format!("<{}>", bob.uri());
    assert_eq!(ack.list("Route"), ["<sip:192.0.2.61:5060;lr>", &own]);
    alice.hangs_up(&Dialog::of_caller(&sent, &answer));
    let bye = strict.receives("BYE");
    assert_eq!(bye.list("Route"), ["<sip:192.0.2.61:5060;lr>", &own]);
    strict.answers(&bye, 200);
    alice.receives("200");
}

#[test]
fn a_call_uses_up_one_hop() {
    let (_world, alice, bob) = two_phones();
    for (arrives, leaves) in [("70", "69"), ("1", "0"), ("255", "254")] {
        let sent = alice.sends(invite("bob").with("Max-Forwards", arrives));
        let invite = bob.receives("INVITE");
        // S-22, S-113
        assert_eq!(invite.header("Max-Forwards"), leaves);
        bob.refuses(&invite, 486);
        refused(&alice, &sent, "486");
    }
}

#[test]
fn a_call_without_hop_count_gets_70() {
    let (_world, alice, bob) = two_phones();
    let sent = alice.sends(invite("bob").without("Max-Forwards"));
    let invite = bob.receives("INVITE");
    // S-22, S-113
    assert_eq!(invite.header("Max-Forwards"), "70");
    bob.refuses(&invite, 486);
    refused(&alice, &sent, "486");
}

#[test]
fn a_call_with_no_hops_left_is_refused() {
    let (_world, alice, bob) = two_phones();
    let sent = alice.sends(invite("bob").with("Max-Forwards", "0"));
    // S-22
    refused(&alice, &sent, "483");
    bob.receives_nothing();
}

#[test]
fn a_call_that_comes_back_unchanged_is_a_loop() {
    let world = World::new(Setup::Upstream);
    let (alice, pbx) = (world.phone("alice"), world.upstream());
    let sent = alice.sends(invite("sip:carol@pbx.example").with_sdp(OFFER));
    let first = pbx.receives("INVITE");
    let back = pbx.sends(proxied(&first, first.uri()));
    // R22, S-110
    refused(&pbx, &back, "482");
    pbx.refuses(&first, 482);
    refused(&alice, &sent, "482");
}

#[test]
fn a_call_that_comes_back_for_somebody_else_is_a_spiral() {
    let world = World::new(Setup::Upstream);
    let (alice, bob, pbx) = (world.phone("alice"), world.phone("bob"), world.upstream());
    let sent = alice.sends(invite("sip:carol@pbx.example").with_sdp(OFFER));
    let first = pbx.receives("INVITE");
    let back = pbx.sends(proxied(&first, &format!("sip:bob@{DOMAIN}")));
    // R22
    let second = bob.receives("INVITE");
    // S-113: a loop through campon uses up its hops.
    assert_eq!(first.header("Max-Forwards"), "69");
    assert_eq!(second.header("Max-Forwards"), "67");
    bob.refuses(&second, 486);
    refused(&pbx, &back, "486");
    pbx.refuses(&first, 486);
    refused(&alice, &sent, "486");
}

/// The part of a branch that says where the request was bound for.
fn destination(invite: &Message) -> &str {
    let branch = invite.branch();
    &branch[branch.len() - 16..]
}

#[test]
fn a_branch_tells_where_the_request_was_bound_for() {
    let world = World::new(Setup::Upstream);
    let (alice, pbx) = (world.phone("alice"), world.upstream());
    let mut seen = Vec::new();
    for whom in ["carol", "carol", "dave"] {
        let sent = alice.sends(invite(&format!("sip:{whom}@pbx.example")));
        let at_pbx = pbx.receives("INVITE");
        pbx.refuses(&at_pbx, 486);
        refused(&alice, &sent, "486");
        seen.push(at_pbx);
    }
    let [first, again, other] = &seen[..] else {
        panic!("three calls");
    };
    assert_ne!(first.branch(), again.branch());
    // S-111
    assert_eq!(destination(first), destination(again));
    assert_ne!(destination(first), destination(other));
}

#[test]
fn the_same_call_by_two_ways_is_taken_once() {
    let (_world, alice, bob) = two_phones();
    let draft = invite("bob")
        .with("Call-ID", "merged@192.0.2.10")
        .with("From", "<sip:alice@192.0.2.1>;tag=merged");
    let sent = alice.sends(draft.clone());
    let invite = bob.receives("INVITE");
    let again = alice.sends(draft);
    // S-11
    assert_ne!(again.branch(), sent.branch());
    refused(&alice, &again, "482");
    bob.receives_nothing();
    bob.refuses(&invite, 486);
    refused(&alice, &sent, "486");
}

#[test]
fn only_branch_sender_and_method_together_make_a_transaction() {
    let world = World::new(Setup::Standalone);
    let (alice, carol, bob) = (
        world.phone("alice"),
        world.party("carol"),
        world.phone("bob"),
    );
    let branch = "branch=z9hG4bK-the-same-branch";
    let first = format!("SIP/2.0/UDP {};{branch}", alice.address());
    let second = format!("SIP/2.0/UDP {};{branch}", carol.address());
    alice.sends(options().with("Via", &first));
    carol.sends(options().with("Via", &second));
    alice.receives("200");
    carol.receives("200");
    // S-01: another method with the same branch and sender is another transaction.
    let sent = alice.sends(invite("bob").with("Via", &first));
    let invite = bob.receives("INVITE");
    bob.refuses(&invite, 486);
    refused(&alice, &sent, "486");
}

#[test]
fn each_leg_names_the_address_that_faces_it() {
    let (_world, alice, bob) = two_phones();
    let call = call(&alice, &bob);
    let via = call.invite.header("Via");
    assert!(via.starts_with(&format!("SIP/2.0/UDP {DOMAIN}")), "{via}");
    assert!(uri_of(call.invite.header("Contact")).contains(DOMAIN));
    hang_up(&alice, &call.caller, &bob);
}

#[test]
fn what_campon_sends_leaves_by_the_socket_that_it_listens_on() {
    let world = World::new(Setup::Standalone);
    let (alice, bob) = (
        world.phone("alice"),
        world.party_at("bob", "[2001:db8::20]:5060"),
    );
    bob.registers();
    alice.sends(options());
    bob.sends(options());
    for (party, socket) in [(&alice, 0), (&bob, 1)] {
        let answer = party.receives("200");
        // S-81
        assert_eq!(answer.origin.expect("campon's").1.listener.0, socket);
    }
    let (sent, invite) = offered(&alice, &bob);
    // S-82: and the Via says which.
    assert_eq!(invite.origin.expect("campon's").1.listener.0, 1);
    assert!(
        invite.header("Via").contains(&format!("{DOMAIN_V6}:5060;")),
        "{invite}"
    );
    bob.refuses(&invite, 486);
    refused(&alice, &sent, "486");
}

#[test]
fn what_a_via_says_of_overload_stays_on_its_leg() {
    let (_world, alice, bob) = two_phones();
    let via = format!(
        "SIP/2.0/UDP {};branch=z9hG4bK-oc;rport;oc;oc-algo=\"loss\"",
        alice.address()
    );
    let sent = alice.sends(invite("bob").with("Via", &via));
    let invite = bob.receives("INVITE");
    // S-185
    assert!(!invite.header("Via").contains("oc"), "{invite}");
    bob.refuses(&invite, 486);
    refused(&alice, &sent, "486");
}

#[test]
fn an_early_target_is_where_the_call_is_taken_back() {
    let (_world, alice, bob) = two_phones();
    let scene = ringing(&alice, &bob);
    // S-13: the 180 makes an early dialog, with campon as its remote target.
    assert!(scene.rings.contact().contains(DOMAIN));
    bob.refuses(&scene.invite, 486);
    refused(&alice, &scene.sent, "486");
}
