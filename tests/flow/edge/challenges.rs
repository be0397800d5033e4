//! Calls that the PBX asks for credentials.
//!
//! Spec: RFC 3261 §22.2, §22.3; RULES R3.

use std::time::Duration;

use super::super::kit::dialog::Dialog;
use super::super::kit::draft::{ANSWER, OFFER, bye, reinvite, response, within};
use super::super::kit::message::Message;
use super::super::kit::party::Party;
use super::super::kit::scenes::{hang_up, refused};
use super::{edge, invite, registers};

const CHALLENGE: &str = "Digest realm=\"pbx.example\", nonce=\"n1\", qop=\"auth\"";
const CREDENTIALS: &str = "Digest username=\"alice\", realm=\"pbx.example\", nonce=\"n1\", \
    uri=\"sip:bob@pbx.example\", response=\"0\"";

/// Alice calls Bob, and the PBX asks her for her password: her INVITE, and what the PBX got.
#[track_caller]
fn challenged(alice: &Party, pbx: &Party) -> (Message, Message) {
    let sent = alice.sends(invite("alice", "bob").with_sdp(OFFER));
    let at_pbx = pbx.receives("INVITE");
    pbx.sends(response(&at_pbx, 407).with("Proxy-Authenticate", CHALLENGE));
    let ack = pbx.receives("ACK");
    assert_eq!(ack.cseq(), at_pbx.cseq());
    let challenge = refused(alice, &sent, "407");
    assert_eq!(challenge.header("Proxy-Authenticate"), CHALLENGE);
    (sent, at_pbx)
}

/// The same INVITE with the next number and credentials.
fn repeated(sent: &Message) -> super::Draft {
    invite("alice", "bob")
        .with("Call-ID", sent.call_id())
        .with("CSeq", &format!("{} INVITE", sent.cseq() + 1))
        .with("Proxy-Authorization", CREDENTIALS)
        .with_sdp(OFFER)
}

/// The PBX owns the realm, and its challenge only passes here.
#[test]
fn a_call_that_is_repeated_with_credentials_is_the_same_to_the_pbx() {
    let (world, pbx) = edge();
    let alice = world.party("alice");
    registers(&alice, "alice", &pbx);
    let (sent, first) = challenged(&alice, &pbx);
    let sent = alice.sends(repeated(&sent));
    let second = pbx.receives("INVITE");
    // R3
    assert_eq!(second.call_id(), first.call_id());
    assert_eq!(second.tag_of_from(), first.tag_of_from());
    assert_eq!(second.cseq(), first.cseq() + 1);
    assert_eq!(second.uri(), first.uri());
    assert_ne!(second.branch(), first.branch());
    assert_eq!(second.header("Proxy-Authorization"), CREDENTIALS);
    let answered = pbx.sends(response(&second, 200).with_sdp(ANSWER));
    let answer = alice.receives("200");
    alice.acks(&sent, &answer);
    let ack = pbx.receives("ACK");
    assert_eq!(ack.cseq(), second.cseq());
    // The PBX finds the call by the tag of the first INVITE.
    let at_pbx = Dialog::of_callee(&second, &answered);
    hang_up(&pbx, &at_pbx, &alice);
}

#[test]
fn a_call_may_be_challenged_more_than_once() {
    let (world, pbx) = edge();
    let alice = world.party("alice");
    registers(&alice, "alice", &pbx);
    let (mut sent, first) = challenged(&alice, &pbx);
    for tries in 1..=3 {
        sent = alice.sends(repeated(&sent));
        let again = pbx.receives("INVITE");
        assert_eq!(again.call_id(), first.call_id());
        assert_eq!(again.cseq(), first.cseq() + tries);
        pbx.sends(response(&again, 407).with("Proxy-Authenticate", CHALLENGE));
        pbx.receives("ACK");
        refused(&alice, &sent, "407");
    }
}

/// A challenged call is none yet: nothing is left of it when the phone gives up.
#[test]
fn a_call_that_is_not_repeated_is_forgotten() {
    let (world, pbx) = edge();
    let alice = world.party("alice");
    registers(&alice, "alice", &pbx);
    let (sent, first) = challenged(&alice, &pbx);
    world.advance(Duration::from_secs(33));
    let sent = alice.sends(repeated(&sent));
    let late = pbx.receives("INVITE");
    assert_ne!(late.call_id(), first.call_id());
    pbx.refuses(&late, 486);
    refused(&alice, &sent, "486");
}

/// Alice speaks with somebody at the PBX: her end, and the PBX's.
#[track_caller]
fn talking(alice: &Party, pbx: &Party) -> (Dialog, Dialog) {
    let sent = alice.sends(invite("alice", "bob").with_sdp(OFFER));
    let at_pbx = pbx.receives("INVITE");
    let answered = pbx.sends(response(&at_pbx, 200).with_sdp(ANSWER));
    let answer = alice.receives("200");
    alice.acks(&sent, &answer);
    pbx.receives("ACK");
    let own = Dialog::of_caller(&sent, &answer);
    (own, Dialog::of_callee(&at_pbx, &answered))
}

#[test]
fn a_bye_and_its_challenge_pass_and_the_call_stays_until_it_comes_again() {
    let (world, pbx) = edge();
    let alice = world.party("alice");
    registers(&alice, "alice", &pbx);
    let (own, at_pbx) = talking(&alice, &pbx);
    alice.hangs_up(&own);
    let first = pbx.receives("BYE");
    alice.receives_nothing();
    pbx.sends(response(&first, 407).with("Proxy-Authenticate", CHALLENGE));
    let challenged = alice.receives("407");
    assert_eq!(challenged.header("Proxy-Authenticate"), CHALLENGE);
    // The call is up: the PBX may still say something in it.
    pbx.sends(within(&at_pbx, "INFO"));
    let info = alice.receives("INFO");
    alice.answers(&info, 200);
    pbx.receives("200");
    alice.sends(bye(&own).with("Proxy-Authorization", CREDENTIALS));
    let second = pbx.receives("BYE");
    assert_eq!(second.header("Proxy-Authorization"), CREDENTIALS);
    assert_eq!(second.cseq(), first.cseq() + 1);
    pbx.answers(&second, 200);
    alice.receives("200");
}

/// Whatever the PBX says but a challenge, or nothing: who has hung up is done.
#[test]
fn a_bye_that_the_pbx_refuses_is_one_all_the_same() {
    let (world, pbx) = edge();
    let alice = world.party("alice");
    registers(&alice, "alice", &pbx);
    for status in [481, 500] {
        let (own, _) = talking(&alice, &pbx);
        alice.hangs_up(&own);
        let at_pbx = pbx.receives("BYE");
        pbx.answers(&at_pbx, status);
        alice.receives("200");
    }
    let (own, _) = talking(&alice, &pbx);
    alice.hangs_up(&own);
    let at_pbx = pbx.receives("BYE");
    world.could_not_send(&at_pbx);
    alice.receives("200");
}

#[test]
fn byes_that_cross_end_the_call_once() {
    let (world, pbx) = edge();
    let alice = world.party("alice");
    registers(&alice, "alice", &pbx);
    let (own, at_pbx) = talking(&alice, &pbx);
    alice.hangs_up(&own);
    let of_alice = pbx.receives("BYE");
    pbx.leaves(&at_pbx);
    let [_, of_pbx] = alice.receives_each(["200", "BYE"]);
    pbx.answers(&of_alice, 200);
    alice.answers(&of_pbx, 200);
}

/// A change of the session is challenged and repeated as well.
#[test]
fn a_reinvite_and_its_challenge_pass_and_it_comes_again() {
    let (world, pbx) = edge();
    let alice = world.party("alice");
    registers(&alice, "alice", &pbx);
    let (own, _) = talking(&alice, &pbx);
    let sent = alice.sends(reinvite(&own).with_sdp(OFFER));
    let first = pbx.receives("INVITE");
    pbx.sends(response(&first, 407).with("Proxy-Authenticate", CHALLENGE));
    pbx.receives("ACK");
    let challenge = refused(&alice, &sent, "407");
    assert_eq!(challenge.header("Proxy-Authenticate"), CHALLENGE);
    let again = reinvite(&own).with("Proxy-Authorization", CREDENTIALS);
    let sent = alice.sends(again.with_sdp(OFFER));
    let second = pbx.receives("INVITE");
    assert_eq!(second.cseq(), first.cseq() + 1);
    pbx.takes_call(&second, &alice, &sent);
    hang_up(&alice, &own, &pbx);
}

/// The slot of a challenged call is its caller's.
#[test]
fn nobody_else_takes_up_a_challenged_call() {
    let (world, pbx) = edge();
    let (alice, mallory) = (world.party("alice"), world.party("mallory"));
    registers(&alice, "alice", &pbx);
    registers(&mallory, "mallory", &pbx);
    let (sent, first) = challenged(&alice, &pbx);
    let stolen = invite("mallory", "bob")
        .with("Call-ID", sent.call_id())
        .with("CSeq", "7 INVITE")
        .with_only(
            "From",
            &format!("<sip:mallory@pbx.example>;tag={}", sent.tag_of_from()),
        );
    let theirs = mallory.sends(stolen);
    let at_pbx = pbx.receives("INVITE");
    assert_ne!(at_pbx.call_id(), first.call_id());
    pbx.refuses(&at_pbx, 486);
    refused(&mallory, &theirs, "486");
    let sent = alice.sends(repeated(&sent));
    let own = pbx.receives("INVITE");
    assert_eq!(own.call_id(), first.call_id());
    pbx.refuses(&own, 486);
    refused(&alice, &sent, "486");
}
