//! Flows of intrusion by a mixer of ours: Alice joins the call of Bob and Dave.
//!
//! Spec: RULES R17; RFC 3264 §8; RFC 6086.

use crate::keys::config;
use crate::sound::{assert_joined_and_left, assert_warned_first};
use crate::stage::Phone::{Alice, Bob, Dave};
use crate::stage::{Stage, Transport};
use crate::trace::Trace;

/// Twice a phone was asked to change its session: to our mixer, and back to what it had been.
fn assert_changed_and_back(phone: &Trace, nth: usize, first: &str) {
    let mixer = phone.received_nth("INVITE sdp", nth);
    let mixer = String::from_utf8_lossy(mixer.body()).into_owned();
    assert!(mixer.contains("m=audio 220"), "{mixer}");
    let back = phone.received_nth("INVITE sdp", nth + 1);
    let back = String::from_utf8_lossy(back.body()).into_owned();
    let without_origin = |sdp: &str| {
        let lines = sdp.lines().filter(|line| !line.starts_with("o="));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(without_origin(&back), without_origin(first));
}

#[test]
fn a_digit_by_info_joins_a_call_and_leaving_restores_it() {
    let stage = Stage::open_with("intrude_by_mixer", &config("intrude_by_mixer"));
    let capture = stage.capture();
    stage.register(&[Alice, Bob, Dave]);
    let mut bob = stage.wait_at("intrude_by_mixer.callee", Bob);
    let dave = stage.start("intrude_by_mixer.third", Dave, Transport::Udp);
    bob.wait_until_heard("ACK", 1);
    let alice = stage.play("intrude_by_mixer.caller", Alice, Transport::Udp);
    let (dave, bob) = (dave.finish(), bob.finish());
    // Who joins is answered by the session that the prompt had.
    let [prompt, joined] = ["183 INVITE sdp", "200 INVITE sdp"].map(|it| alice.received_nth(it, 0));
    assert_eq!(prompt.body(), joined.body());
    let offer = dave.sent_nth("INVITE sdp", 0);
    let answer = bob.sent_nth("200 INVITE sdp", 0);
    let text = |body: &[u8]| String::from_utf8_lossy(body).into_owned();
    assert_changed_and_back(&bob, 1, &text(offer.body()));
    assert_changed_and_back(&dave, 0, &text(answer.body()));
    assert_joined_and_left(&stage, &capture.finish_unread());
    stage.close_served(&[]);
}

/// The story: a phone behind a NAT, which can be sent nothing before it has said something, had the warning
/// sent to nowhere, and heard the intruder without one (T29).
#[test]
fn a_phone_behind_a_nat_is_warned_before_it_hears_who_joins() {
    let stage = Stage::open_with("intrude_behind_nat", &config("intrude_behind_nat"));
    let capture = stage.capture();
    stage.register(&[Alice, Bob, Dave]);
    let mut bob = stage.wait_at("intrude_behind_nat.callee", Bob);
    let dave = stage.start("intrude_by_mixer.third", Dave, Transport::Udp);
    bob.wait_until_heard("ACK", 1);
    stage.play("intrude_by_mixer.caller", Alice, Transport::Udp);
    let (dave, bob) = (dave.finish(), bob.finish());
    let answer = bob.sent_nth("200 INVITE sdp", 0);
    let answer = String::from_utf8_lossy(answer.body()).into_owned();
    assert_changed_and_back(&dave, 0, &answer);
    let captured = capture.finish_unread();
    for phone in [Bob, Dave] {
        assert_warned_first(&stage, &captured, phone, Alice);
    }
    stage.close_served(&[]);
}
