//! An upstream of two servers: a call goes on to the second when the first fails it.
//!
//! Spec: RFC 3263 §4.3, §4.4; RFC 3261 §9.1, §16.7, §21.5.4.

use std::time::Duration;

use super::kit::dialog::Dialog;
use super::kit::draft::{ANSWER, OFFER, invite, response};
use super::kit::message::Message;
use super::kit::party::{Party, assert_came_at};
use super::kit::scenes::{gives_in, hang_up, refused};
use super::kit::subject::{SECOND, Setup, UPSTREAM};
use super::kit::world::World;

/// How long a server may say nothing while another one is left.
const PATIENCE: Duration = Duration::from_secs(4);

fn twins() -> (World, Party, Party, Party) {
    let world = World::new(Setup::Twins);
    let (alice, first, second) = (world.phone("alice"), world.upstream(), world.second());
    (world, alice, first, second)
}

/// Alice calls Carol behind the upstream.
#[track_caller]
fn calls(alice: &Party) -> Message {
    alice.sends(invite("carol").with_sdp(OFFER))
}

/// The server answers, and the two talk and hang up.
#[track_caller]
fn is_taken(alice: &Party, sent: &Message, server: &Party, invite: &Message) {
    server.sends(response(invite, 200).with_sdp(ANSWER));
    let answer = alice.receives("200");
    alice.acks(sent, &answer);
    server.receives("ACK");
    hang_up(alice, &Dialog::of_caller(sent, &answer), server);
}

#[test]
fn a_server_that_says_503_is_followed_by_the_next() {
    let (_world, alice, first, second) = twins();
    let sent = calls(&alice);
    let at_first = first.receives("INVITE");
    first.answers(&at_first, 503);
    // S-102
    let ack = first.receives("ACK");
    assert_eq!(ack.branch(), at_first.branch());
    let at_second = second.receives("INVITE");
    // S-101
    assert_ne!(at_second.branch(), at_first.branch());
    for same in ["From", "To", "Call-ID", "CSeq", "Max-Forwards", "Contact"] {
        assert_eq!(at_second.header(same), at_first.header(same));
    }
    assert_eq!(at_second.body(), at_first.body());
    assert_eq!(at_first.uri(), format!("sip:carol@{UPSTREAM}"));
    assert_eq!(at_second.uri(), format!("sip:carol@{SECOND}"));
    is_taken(&alice, &sent, &second, &at_second);
}

/// There is nowhere else to go; who looks after it is told, and the next call goes there as well.
#[test]
fn an_upstream_without_a_second_that_is_silent_is_down_and_called_on() {
    let world = World::new(Setup::Upstream);
    let (alice, upstream) = (world.phone("alice"), world.upstream());
    let sent = calls(&alice);
    world.advance(Duration::from_secs(32));
    upstream.receives_copies("INVITE");
    refused(&alice, &sent, "408");
    assert_eq!(world.servers_down(), [UPSTREAM]);
    let sent = calls(&alice);
    let arrived = upstream.receives("INVITE");
    is_taken(&alice, &sent, &upstream, &arrived);
    world.advance(Duration::from_secs(30));
    assert_eq!(world.servers_down(), [""; 0]);
}

#[test]
fn a_503_whose_ack_was_lost_is_acknowledged_where_it_came_from() {
    let (_world, alice, first, second) = twins();
    let sent = calls(&alice);
    let at_first = first.receives("INVITE");
    let unavailable = first.answers(&at_first, 503);
    first.receives("ACK");
    let at_second = second.receives("INVITE");
    first.sends_again(&unavailable);
    // S-102
    assert_eq!(first.receives("ACK").branch(), at_first.branch());
    second.receives_nothing();
    is_taken(&alice, &sent, &second, &at_second);
}

#[test]
fn a_server_that_says_nothing_is_followed_by_the_next() {
    let (world, alice, first, second) = twins();
    let start = world.now();
    let sent = calls(&alice);
    let at_second = second.receives_within(PATIENCE * 2, "INVITE");
    // S-101
    assert_came_at(std::slice::from_ref(&at_second), start, &[4000]);
    let copies = first.receives_copies("INVITE");
    // S-104: until then it stays with the server that was chosen.
    assert_came_at(&copies, start, &[0, 500, 1500, 3500]);
    is_taken(&alice, &sent, &second, &at_second);
    world.advance(Duration::from_secs(40));
    first.receives_nothing();
}

#[test]
fn a_server_that_rings_too_late_is_told_to_stop() {
    let (world, alice, first, second) = twins();
    let sent = calls(&alice);
    let at_second = second.receives_within(PATIENCE * 2, "INVITE");
    let at_first = first.receives_copies("INVITE").swap_remove(0);
    first.answers(&at_first, 180);
    alice.receives_nothing();
    // S-102
    let cancel = gives_in(&first, &at_first);
    assert_eq!(cancel.branch(), at_first.branch());
    is_taken(&alice, &sent, &second, &at_second);
    world.quiet();
}

#[test]
fn a_server_that_answers_too_late_is_hung_up_on() {
    let (world, alice, first, second) = twins();
    let sent = calls(&alice);
    let at_second = second.receives_within(PATIENCE * 2, "INVITE");
    let at_first = first.receives_copies("INVITE").swap_remove(0);
    first.sends(response(&at_first, 200).with_sdp(ANSWER));
    // S-07
    first.receives("ACK");
    first.is_hung_up_on();
    alice.receives_nothing();
    is_taken(&alice, &sent, &second, &at_second);
    world.quiet();
}

#[test]
fn a_server_that_cannot_be_reached_is_followed_at_once() {
    let (world, alice, first, second) = twins();
    let sent = calls(&alice);
    let at_first = first.receives("INVITE");
    world.could_not_send(&at_first);
    // S-101
    let at_second = second.receives("INVITE");
    assert_eq!(at_second.at, at_first.at);
    is_taken(&alice, &sent, &second, &at_second);
    assert_eq!(world.servers_down(), [UPSTREAM]);
}

#[test]
fn a_server_that_has_only_tried_may_still_be_followed() {
    let (world, alice, first, second) = twins();
    let sent = calls(&alice);
    let at_first = first.receives("INVITE");
    first.answers(&at_first, 100);
    // It has the call: only it can say that it cannot take it.
    world.advance(Duration::from_secs(10));
    second.receives_nothing();
    first.refuses(&at_first, 503);
    let at_second = second.receives("INVITE");
    is_taken(&alice, &sent, &second, &at_second);
}

#[test]
fn a_call_that_rang_stays_where_it_rang() {
    let (_world, alice, first, second) = twins();
    let sent = calls(&alice);
    let at_first = first.receives("INVITE");
    first.answers(&at_first, 183);
    alice.receives("183");
    first.refuses(&at_first, 503);
    // S-31
    refused(&alice, &sent, "500");
    second.receives_nothing();
}

#[test]
fn a_refusal_is_no_failure_of_the_server() {
    let (world, alice, first, second) = twins();
    for code in [404, 486, 500, 603] {
        let sent = calls(&alice);
        let at_first = first.receives("INVITE");
        first.answers(&at_first, code);
        first.receives("ACK");
        refused(&alice, &sent, &code.to_string());
    }
    second.receives_nothing();
    assert_eq!(world.servers_down(), [""; 0]);
}

#[test]
fn a_call_that_was_taken_back_goes_nowhere_else() {
    let (world, alice, first, second) = twins();
    let sent = calls(&alice);
    first.receives("INVITE");
    alice.gives_up(&sent);
    world.advance(Duration::from_secs(40));
    let copies = first.receives_copies("INVITE");
    assert_eq!(copies.len(), 6);
    second.receives_nothing();
}

#[test]
fn a_call_taken_back_at_the_second_server_is_withdrawn_there() {
    let (_world, alice, first, second) = twins();
    let sent = calls(&alice);
    let at_first = first.receives("INVITE");
    first.refuses(&at_first, 503);
    let at_second = second.receives("INVITE");
    second.answers(&at_second, 180);
    alice.receives("180");
    alice.cancels(&sent);
    alice.receives("200");
    // S-102
    let cancel = gives_in(&second, &at_second);
    assert_eq!(cancel.branch(), at_second.branch());
    refused(&alice, &sent, "487");
    first.receives_nothing();
}

#[test]
fn a_call_that_no_server_takes_is_refused() {
    let (world, alice, first, second) = twins();
    let sent = calls(&alice);
    for server in [&first, &second] {
        let invite = server.receives("INVITE");
        server.refuses(&invite, 503);
    }
    // S-31
    refused(&alice, &sent, "500");
    assert_eq!(world.servers_down(), [UPSTREAM, SECOND]);
    // Where all are down, the first is as good as any.
    let sent = calls(&alice);
    let at_first = first.receives("INVITE");
    is_taken(&alice, &sent, &first, &at_first);
}

#[test]
fn the_last_server_has_the_time_of_a_transaction() {
    let (world, alice, first, second) = twins();
    let start = world.now();
    let sent = calls(&alice);
    alice.receives("100");
    let refusal = alice.receives_within(Duration::from_mins(1), "408");
    assert_came_at(std::slice::from_ref(&refusal), start, &[36_000]);
    alice.acks(&sent, &refusal);
    first.receives_copies("INVITE");
    second.receives_copies("INVITE");
}

#[test]
fn a_server_that_failed_is_left_alone_for_a_while() {
    let (world, alice, first, second) = twins();
    let sent = calls(&alice);
    let at_first = first.receives("INVITE");
    first.refuses(&at_first, 503);
    let at_second = second.receives("INVITE");
    is_taken(&alice, &sent, &second, &at_second);
    world.advance(Duration::from_secs(29));
    let sent = calls(&alice);
    let at_second = second.receives("INVITE");
    is_taken(&alice, &sent, &second, &at_second);
    world.advance(Duration::from_secs(2));
    let sent = calls(&alice);
    let at_first = first.receives("INVITE");
    is_taken(&alice, &sent, &first, &at_first);
}

#[test]
fn a_server_that_says_when_to_come_back_is_left_alone_until_then() {
    let (world, alice, first, second) = twins();
    let sent = calls(&alice);
    let at_first = first.receives("INVITE");
    first.sends(response(&at_first, 503).with("Retry-After", "60 (backup)"));
    first.receives("ACK");
    let at_second = second.receives("INVITE");
    is_taken(&alice, &sent, &second, &at_second);
    world.advance(Duration::from_secs(58));
    assert_eq!(world.servers_down(), [UPSTREAM]);
    world.advance(Duration::from_secs(3));
    assert_eq!(world.servers_down(), [""; 0]);
}

/// Both servers get their OPTIONS; these answers go back, in the order of the servers.
#[track_caller]
fn pinged(servers: [&Party; 2], answers: [Option<u16>; 2]) -> Vec<Message> {
    let mut pings = Vec::new();
    for (server, answer) in servers.into_iter().zip(answers) {
        let ping = server.receives("OPTIONS");
        if let Some(status) = answer {
            server.answers(&ping, status);
        }
        pings.push(ping);
    }
    pings
}

#[test]
fn a_server_is_down_after_its_second_ping_without_an_answer() {
    let world = World::new(Setup::Pinged);
    let (alice, first, second) = (world.party("alice"), world.upstream(), world.second());
    world.advance(Duration::from_millis(100));
    let pings = pinged([&first, &second], [None, Some(200)]);
    assert_eq!(pings[0].uri(), format!("sip:{UPSTREAM}"));
    assert_eq!(pings[1].uri(), format!("sip:{SECOND}"));
    alice.registers();
    world.advance(Duration::from_secs(9));
    // It is asked again, but one lost answer says little.
    assert_eq!(first.receives_copies("OPTIONS").len(), 2);
    assert_eq!(world.servers_down(), [""; 0]);
    world.advance(Duration::from_secs(1));
    pinged([&first, &second], [None, Some(404)]);
    world.advance(Duration::from_secs(2));
    assert_eq!(first.receives_copies("OPTIONS").len(), 2);
    assert_eq!(world.servers_down(), [UPSTREAM]);
    let sent = calls(&alice);
    let at_second = second.receives("INVITE");
    is_taken(&alice, &sent, &second, &at_second);
    first.receives_nothing();
    world.drains();
}

#[test]
fn a_server_comes_back_with_its_second_answer_in_a_row() {
    let world = World::new(Setup::Pinged);
    let (first, second) = (world.upstream(), world.second());
    world.advance(Duration::from_millis(100));
    let answers = [503, 408, 200, 503, 200, 483];
    let down = [false, true, true, true, true, false];
    for (answer, is_down) in answers.into_iter().zip(down) {
        pinged([&first, &second], [Some(answer), Some(200)]);
        assert_eq!(world.servers_down().len(), usize::from(is_down), "{answer}");
        world.advance(Duration::from_secs(10));
    }
    pinged([&first, &second], [Some(200), Some(200)]);
    world.drains();
    world.advance(Duration::from_mins(1));
}

#[test]
fn a_server_that_cannot_be_pinged_is_as_silent_as_one_that_says_nothing() {
    let world = World::new(Setup::Pinged);
    let (first, second) = (world.upstream(), world.second());
    world.advance(Duration::from_millis(100));
    for _ in 0..2 {
        let pings = pinged([&first, &second], [None, Some(200)]);
        world.could_not_send(&pings[0]);
        world.advance(Duration::from_secs(10));
    }
    assert_eq!(world.servers_down(), [UPSTREAM]);
    pinged([&first, &second], [Some(200), Some(200)]);
    world.drains();
}
