//! Flows of two phones through the release binary, played by SIPp on loopback.
//!
//! Each test takes addresses of its own, starts campon there, plays the scenarios of one flow as
//! processes, and asserts what both phones saw on the wire. The scenario files hold the ladders;
//! `sipp/ladder.rs` compares them with what happened, message by message.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "real processes run in real time"
)]
#![allow(
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![allow(unreachable_pub, reason = "a test is used by nobody")]

#[path = "sipp/act.rs"]
mod act;
#[path = "sipp/bridge.rs"]
mod bridge;
#[path = "sipp/calls.rs"]
mod calls;
#[path = "sipp/camping.rs"]
mod camping;
#[path = "sipp/campons.rs"]
mod campons;
#[path = "sipp/edge.rs"]
mod edge;
#[path = "sipp/keys.rs"]
mod keys;
#[path = "sipp/ladder.rs"]
mod ladder;
#[path = "sipp/line.rs"]
mod line;
#[path = "sipp/message.rs"]
mod message;
#[path = "sipp/messages.rs"]
mod messages;
#[path = "sipp/mixing.rs"]
mod mixing;
#[path = "sipp/operator.rs"]
mod operator;
#[path = "sipp/peers.rs"]
mod peers;
#[path = "sipp/player.rs"]
mod player;
#[path = "sipp/process.rs"]
mod process;
#[path = "real/mod.rs"]
#[allow(dead_code, reason = "real phones play in the other flows")]
mod real;
#[path = "sipp/recalls.rs"]
mod recalls;
#[path = "sipp/relayed.rs"]
mod relayed;
#[path = "sipp/scenarios.rs"]
mod scenarios;
#[path = "sipp/servers.rs"]
mod servers;
#[path = "sipp/sound.rs"]
mod sound;
#[path = "sipp/stage.rs"]
mod stage;
#[path = "sipp/tap.rs"]
mod tap;
#[path = "sipp/tour.rs"]
mod tour;
#[path = "sipp/trace.rs"]
mod trace;
#[path = "sipp/ways.rs"]
mod ways;

use std::io::{Read as _, Write as _};

use bridge::Bridge;
use message::Message;
use stage::Phone::{Alice, Bob};
use stage::{Stage, Transport};

#[test]
fn a_phone_registers_refreshes_and_leaves() {
    let stage = Stage::open("register");
    let phone = stage.play("register.phone", Bob, Transport::Udp);
    let desk = |expires| (phone.sent_nth("REGISTER", 0).contact(), expires);
    let soft = |expires| (phone.sent_nth("REGISTER", 1).contact(), expires);
    let listed = |n| phone.received_nth("200 REGISTER", n).bindings();

    // RFC 3261 §10.3 step 8: the answer lists all bindings, each with the time that it has left.
    assert_bindings(&listed(0), &[desk(600)]);
    assert_bindings(&listed(1), &[desk(600), soft(900)]);
    // §10.2.3: without Contact, it is a question.
    assert_bindings(&listed(2), &[desk(600), soft(900)]);
    // §10.2.4: a refresh moves the end of one binding.
    assert_bindings(&listed(3), &[desk(1200), soft(900)]);
    // §10.2.2: zero removes one; `*` removes all, but (§10.3 step 6) only with Expires: 0.
    assert_bindings(&listed(4), &[desk(1200)]);
    assert_bindings(&listed(5), &[]);
    assert_bindings(&listed(6), &[]);
    stage.close();
}

/// SIPp knows MD5 alone, so Bob has no other secret; the ladders show SHA-256.
#[test]
fn a_phone_with_a_password_is_asked_and_asked_again() {
    // printf bob:campon:secret | md5sum
    let users = "[[user]]\nname = \"alice\"\npassword = \"wonderland\"\n\
        [[user]]\nname = \"bob\"\nha1_md5 = \"975b334fc21d365ad323435e5f2842c3\"\n\
        [registrar]\nnonce_life_ms = 2000\n";
    let stage = Stage::open_with("register_auth", users);
    let phone = stage.play("register_auth.phone", Bob, Transport::Udp);
    let challenges = |n| -> Vec<_> {
        let answer = phone.received_nth("401 REGISTER", n);
        answer.headers("WWW-Authenticate").collect()
    };
    let alices = challenges(0);
    assert_eq!(alices.len(), 2, "{alices:?}");
    assert!(alices[0].contains("algorithm=SHA-256"), "{alices:?}"); // S-170
    assert!(alices[1].contains("algorithm=MD5"), "{alices:?}"); // S-170
    // Asked, and asked anew after a wrong password; then, after the right one, only for the nonce.
    for (n, is_stale) in [(1, false), (2, false), (3, true)] {
        let bobs = challenges(n);
        assert_eq!(bobs.len(), 1, "{bobs:?}");
        assert!(bobs[0].contains("qop=\"auth\""), "{bobs:?}"); // S-172
        assert_eq!(bobs[0].contains("stale=true"), is_stale, "{bobs:?}"); // S-173
    }
    let desk = (phone.sent_nth("REGISTER", 1).contact(), 600);
    for n in 0..3 {
        assert_bindings(&phone.received_nth("200 REGISTER", n).bindings(), &[desk]);
    }
    stage.close();
}

/// T32
#[test]
fn a_scanner_is_told_nothing() {
    let stage = Stage::open("scanner_dropped");
    let scanner = stage.play("scanner_dropped.phone", Alice, Transport::Udp);
    assert_eq!(scanner.received().count(), 0);
    assert_eq!(stage.count("scanners_dropped"), 3);
    stage.close();
}

/// T18: SIPp writes whole messages, so that others beside it are slow.
#[test]
fn who_is_slow_over_tcp_is_closed_and_costs_nobody_else_anything() {
    let stage = Stage::open("slow_tcp_closed");
    let mut slow: Vec<_> = (0..20).map(|_| stage.connect()).collect();
    for stream in &mut slow {
        stream
            .write_all(b"OPTIONS sip:campon SIP/2.0\r\nVia: S")
            .expect("open");
    }
    stage.play("slow_tcp_closed.phone", Alice, Transport::Tcp);
    for stream in &mut slow {
        // No byte before its end.
        assert_eq!(stream.read(&mut [0; 16]).expect("it is closed in time"), 0);
    }
    assert_eq!(stage.count("connections_spoiled"), 20);
    stage.play("slow_tcp_closed.phone", Alice, Transport::Tcp);
    stage.close();
}

#[test]
fn options_tells_what_campon_can_do() {
    let stage = Stage::open("options");
    let phone = stage.play("options.phone", Alice, Transport::Udp);
    let answer = phone.received_nth("200 OPTIONS", 0);
    // S-36
    assert_lists(
        answer,
        "Allow",
        &["INVITE", "ACK", "CANCEL", "BYE", "OPTIONS"],
    );
    assert_lists(answer, "Accept", &["application/sdp"]);
    assert_lists(answer, "Supported", &[]);
    assert!(answer.tag_of_to().is_some(), "no To tag in {answer}"); // S-12
    stage.close();
}

#[test]
fn a_call_is_answered_and_hung_up() {
    let stage = Stage::open("basic_call");
    let call = stage.play_call("basic_call", Transport::Udp);
    call.assert_sound();
    assert_call_is_bridged(&call);
    stage.close();
}

#[test]
fn a_call_over_tcp_reaches_the_connection_of_the_registration() {
    let stage = Stage::open("tcp_call");
    let call = stage.play_call_on_kept_connection("tcp_call");
    call.assert_sound();
    assert_call_is_bridged(&call);
    stage.close();
}

#[test]
fn a_call_over_tcp_opens_a_connection_when_the_registration_closed_its_own() {
    let stage = Stage::open("tcp_call_anew");
    let call = stage.play_call("tcp_call", Transport::Tcp);
    call.assert_sound();
    assert_call_is_bridged(&call);
    stage.close();
}

#[test]
fn a_call_over_ipv6_is_answered_and_hung_up() {
    let stage = Stage::open_ipv6("ipv6_call");
    let call = stage.play_call("ipv6_call", Transport::Udp);
    call.assert_sound();
    assert_call_is_bridged(&call);
    assert!(
        call.invite_out().contact().contains("[::1]:"),
        "{}",
        call.invite_out()
    );
    stage.close();
}

#[test]
fn a_late_offer_is_answered_in_the_ack() {
    let stage = Stage::open("late_offer");
    let call = stage.play_call("late_offer", Transport::Udp);
    call.assert_sound();
    // S-71: the offer stands in the 200, the answer in the ACK.
    assert_eq!(call.invite_out().body(), b"");
    call.assert_callees_bodies_cross();
    let answer = call.callee.received_nth("ACK sdp", 0);
    assert_eq!(answer.body(), call.caller.sent_nth("ACK sdp", 0).body());
    stage.close();
}

#[test]
fn a_prack_through_campon_stays_on_the_callers_leg() {
    let stage = Stage::open("prack");
    let call = stage.play_call("prack", Transport::Udp);
    call.assert_sound();
    call.assert_callees_bodies_cross();
    let told = ["183 INVITE sdp", "180 INVITE"].map(|label| call.caller.received_nth(label, 0));
    let rseq = told.map(|told| told.header("RSeq").parse::<u32>().expect("a number"));
    // S-52
    assert_eq!(rseq[1], rseq[0] + 1);
    for told in told {
        assert_lists(told, "Require", &["100rel"]);
    }
    // S-59
    let mut heard = call.callee.received();
    assert!(heard.all(|one| one.method() != "PRACK"));
    assert_eq!(call.invite_out().header("Supported"), "100rel"); // S-58
    stage.close();
}

#[test]
fn both_sides_change_a_call() {
    let stage = Stage::open("reinvite_both_ways");
    let call = stage.play_call("reinvite_both_ways", Transport::Udp);
    // S-14: `assert_sound` demands numbers without gaps on both legs.
    call.assert_sound();
    call.assert_callees_bodies_cross();
    // S-16: what follows a re-INVITE goes to the Contact that it gave.
    let moved = call.caller.sent_nth("INVITE sdp", 1).contact();
    assert_eq!(
        call.caller.received_nth("INVITE sdp", 0).request_uri(),
        moved
    );
    assert_eq!(call.caller.received_nth("BYE", 0).request_uri(), moved);
    // S-04: the ACK of a 200 goes to the Contact of that 200.
    let ack = call.callee.received_nth("ACK", 1);
    assert_eq!(
        ack.request_uri(),
        call.callee.sent_nth("200 INVITE sdp", 1).contact()
    );
    let reason = call.callee.sent_nth("BYE", 0).header("Reason");
    assert_eq!(call.caller.received_nth("BYE", 0).header("Reason"), reason);
    stage.close();
}

#[test]
fn a_caller_gives_up_while_the_phone_rings() {
    let stage = Stage::open("cancel_ringing");
    let call = stage.play_call("cancel_ringing", Transport::Udp);
    call.assert_sound();
    assert_cancelled(&call);
    // S-03: the ACK of a failure is the INVITE's own.
    let ack = call.callee.received_nth("ACK", 0);
    assert_eq!(ack.branch(), call.invite_out().branch());
    stage.close();
}

#[test]
fn a_call_that_is_answered_while_it_is_cancelled_is_hung_up() {
    let stage = Stage::open("cancel_crosses_200");
    let call = stage.play_call("cancel_crosses_200", Transport::Udp);
    call.assert_sound();
    assert_cancelled(&call);
    // S-07: the unwanted answer is acknowledged as an answer is, then ended.
    let ack = call.callee.received_nth("ACK", 0);
    assert_ne!(ack.branch(), call.invite_out().branch());
    let answered = call.callee.sent_nth("200 INVITE sdp", 0).contact();
    assert_eq!(ack.request_uri(), answered);
    assert_eq!(call.callee.received_nth("BYE", 0).request_uri(), answered);
    stage.close();
}

#[test]
fn a_busy_callee_is_told_to_the_caller() {
    let stage = Stage::open("busy");
    let call = stage.play_call("busy", Transport::Udp);
    call.assert_sound();
    assert_failed_with(&call, "486 INVITE");
    stage.close();
}

#[test]
fn a_callee_who_declines_is_told_to_the_caller() {
    let stage = Stage::open("callee_rejects_603");
    let call = stage.play_call("callee_rejects_603", Transport::Udp);
    call.assert_sound();
    assert_failed_with(&call, "603 INVITE");
    stage.close();
}

#[test]
fn nothing_is_left_when_the_timers_have_run_out() {
    let stage = Stage::open("nothing_left");
    stage.play_call("basic_call", Transport::Udp);
    stage.play_call("busy", Transport::Udp);
    stage.play_call("cancel_ringing", Transport::Udp);
    stage.play("deregistration.callee", Bob, Transport::Udp);
    stage.close_empty();
}

/// What an answered call has beyond what every call has.
fn assert_call_is_bridged(call: &Bridge) {
    call.assert_callees_bodies_cross();
    let unknown = call.invite_in().header("X-Unheard-Of");
    assert_eq!(call.invite_out().header("X-Unheard-Of"), unknown);
    // S-04: the ACK of a 200 is a transaction of its own, to the Contact of the 200.
    let ack = call.callee.received_nth("ACK", 0);
    assert_ne!(ack.branch(), call.invite_out().branch());
    let answered = call.callee.sent_nth("200 INVITE sdp", 0).contact();
    assert_eq!(ack.request_uri(), answered);
    let bye = call.callee.received_nth("BYE", 0);
    assert_eq!(bye.request_uri(), answered);
    let reason = call.caller.sent_nth("BYE", 0).header("Reason");
    assert_eq!(bye.header("Reason"), reason);
}

fn assert_cancelled(call: &Bridge) {
    let cancel = call.callee.received_nth("CANCEL", 0);
    let invite = call.invite_out();
    // S-08: as the INVITE that it ends, and nothing is required of the callee.
    assert_eq!(cancel.branch(), invite.branch());
    assert_eq!(cancel.request_uri(), invite.request_uri());
    for name in ["From", "To", "Call-ID"] {
        assert_eq!(cancel.header(name), invite.header(name), "{name}");
    }
    assert!(
        !cancel.has("Require") && !cancel.has("Proxy-Require"),
        "{cancel}"
    );
    let reason = call.caller.sent_nth("CANCEL", 0).header("Reason");
    assert_eq!(cancel.header("Reason"), reason);
    // S-09; RFC 3261 §9.2 says SHOULD, and nothing speaks against it.
    let ended = call.caller.received_nth("487 INVITE", 0).tag_of_to();
    assert_eq!(call.caller.received_nth("200 CANCEL", 0).tag_of_to(), ended);
}

fn assert_failed_with(call: &Bridge, label: &str) {
    let sent = call.callee.sent_nth(label, 0);
    assert_eq!(
        call.caller.received_nth(label, 0).header("Reason"),
        sent.header("Reason")
    );
    // S-03: the ACK of a failure is the INVITE's own, hop by hop.
    let ack = call.callee.received_nth("ACK", 0);
    assert_eq!(ack.branch(), call.invite_out().branch());
    assert_eq!(ack.request_uri(), call.invite_out().request_uri());
    assert_eq!(ack.tag_of_to(), sent.tag_of_to());
}

/// Demands these bindings in any order; a second or two may have passed since they were given.
fn assert_bindings(listed: &[(&str, u32)], expected: &[(&str, u32)]) {
    assert_eq!(listed.len(), expected.len(), "{listed:?}, not {expected:?}");
    for (uri, expires) in expected {
        let found = listed.iter().find(|(listed, _)| listed == uri);
        let (_, left) = found.unwrap_or_else(|| panic!("no {uri} in {listed:?}"));
        assert!(
            (expires - 5..=*expires).contains(left),
            "{uri}: {left} s of {expires} s"
        );
    }
}

/// Demands a header with at least these elements.
fn assert_lists(message: &Message, name: &str, elements: &[&str]) {
    assert!(message.has(name), "no {name} in {message}");
    let listed: Vec<_> = message
        .headers(name)
        .flat_map(|line| line.split(','))
        .collect();
    for element in elements {
        assert!(
            listed.iter().any(|one| one.trim() == *element),
            "no {element} in {message}"
        );
    }
}
