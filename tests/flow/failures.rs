//! Calls that do not come about, and what the caller hears of it.
//!
//! Spec: RFC 3261 §8.1.3, §16.6 (timer C), §16.7, §21; RFC 3326 §2.

use std::time::Duration;

use super::kit::draft::{bye, invite, response};
use super::kit::scenes::{Ringing, call, gives_in, offered, refused, ringing, two_phones};
use super::kit::subject::Setup;
use super::kit::world::World;

#[test]
fn refusals_reach_the_caller_with_code_and_phrase() {
    let (_world, alice, bob) = two_phones();
    for code in [
        "403", "404", "410", "480", "484", "486", "488", "501", "580", "600", "603", "604", "606",
    ] {
        let (sent, invite) = offered(&alice, &bob);
        let status = code.parse().expect("a code");
        bob.sends(response(&invite, status).phrased("Not Today"));
        bob.receives("ACK");
        assert_eq!(refused(&alice, &sent, code).phrase(), "Not Today");
    }
}

#[test]
fn a_callee_out_of_service_does_not_put_campon_out_of_service() {
    let (_world, alice, bob) = two_phones();
    let (sent, invite) = offered(&alice, &bob);
    bob.sends(response(&invite, 503).with("Retry-After", "600"));
    bob.receives("ACK");
    // S-31
    refused(&alice, &sent, "500");
}

#[test]
fn the_reason_of_a_refusal_reaches_the_caller() {
    let (_world, alice, bob) = two_phones();
    let (sent, invite) = offered(&alice, &bob);
    let reason = "Q.850;cause=20;text=\"Subscriber absent\"";
    bob.sends(response(&invite, 480).with("Reason", reason));
    bob.receives("ACK");
    assert_eq!(refused(&alice, &sent, "480").header("Reason"), reason);
}

#[test]
fn the_reason_of_a_bye_reaches_the_other_side() {
    let (_world, alice, bob) = two_phones();
    let call = call(&alice, &bob);
    let reason = "Q.850;cause=16;text=\"Terminated\"";
    bob.sends(bye(&call.callee).with("Reason", reason));
    let bye = alice.receives("BYE");
    assert_eq!(bye.header("Reason"), reason);
    alice.answers(&bye, 200);
    bob.receives("200");
}

#[test]
fn when_to_try_again_reaches_the_caller() {
    let (_world, alice, bob) = two_phones();
    let (sent, invite) = offered(&alice, &bob);
    bob.sends(response(&invite, 480).with("Retry-After", "18"));
    bob.receives("ACK");
    assert_eq!(refused(&alice, &sent, "480").header("Retry-After"), "18");
}

#[test]
fn a_redirection_is_passed_on_with_its_contacts() {
    let (_world, alice, bob) = two_phones();
    let (sent, invite) = offered(&alice, &bob);
    let contact = "<sip:voicemail@192.0.2.77;mailbox=bob>;q=0.7";
    bob.sends(response(&invite, 302).with("Contact", contact));
    bob.receives("ACK");
    // S-32
    assert_eq!(refused(&alice, &sent, "302").header("Contact"), contact);
}

#[test]
fn a_challenge_and_its_answer_pass_end_to_end() {
    let world = World::new(Setup::Upstream);
    let (alice, pbx) = (world.phone("alice"), world.upstream());
    let sent = alice.sends(invite("sip:carol@pbx.example"));
    let first = pbx.receives("INVITE");
    let challenge = "Digest realm=\"pbx.example\", nonce=\"n1\", algorithm=MD5, qop=\"auth\"";
    pbx.sends(response(&first, 407).with("Proxy-Authenticate", challenge));
    pbx.receives("ACK");
    let refusal = refused(&alice, &sent, "407");
    // S-29
    assert_eq!(refusal.header("Proxy-Authenticate"), challenge);
    let credentials = "Digest username=\"alice\", realm=\"pbx.example\", nonce=\"n1\"";
    let sent = alice.sends(
        invite("sip:carol@pbx.example")
            .with("Call-ID", sent.call_id())
            .with("From", sent.header("From"))
            .with("CSeq", &format!("{} INVITE", sent.cseq() + 1))
            .with("Proxy-Authorization", credentials),
    );
    let second = pbx.receives("INVITE");
    assert_eq!(second.header("Proxy-Authorization"), credentials);
    pbx.refuses(&second, 486);
    refused(&alice, &sent, "486");
}

#[test]
fn a_user_who_is_not_there_is_not_found() {
    let (_world, alice, bob) = two_phones();
    let sent = alice.sends(invite("nobody"));
    // S-10
    refused(&alice, &sent, "404");
    bob.receives_nothing();
}

#[test]
fn a_user_who_is_not_registered_is_looked_for_upstream() {
    let world = World::new(Setup::Upstream);
    let (alice, bob, pbx) = (world.phone("alice"), world.phone("bob"), world.upstream());
    let sent = alice.sends(invite("sip:carol@pbx.example"));
    let invite_up = pbx.receives("INVITE");
    assert!(invite_up.uri().starts_with("sip:carol@"));
    pbx.refuses(&invite_up, 404);
    refused(&alice, &sent, "404");
    let (sent, invite) = offered(&alice, &bob);
    pbx.receives_nothing();
    bob.refuses(&invite, 486);
    refused(&alice, &sent, "486");
}

#[test]
fn a_call_that_only_rings_ends_by_timer_c() {
    let (world, alice, bob) = two_phones();
    let Ringing { sent, invite, .. } = ringing(&alice, &bob);
    world.advance(Duration::from_mins(3));
    world.quiet();
    let cancel = bob.receives_within(Duration::from_mins(1), "CANCEL");
    assert_eq!(cancel.branch(), invite.branch());
    bob.answers(&cancel, 200);
    bob.refuses(&invite, 487);
    refused(&alice, &sent, "408");
}

#[test]
fn a_call_that_goes_on_ringing_is_not_ended_by_timer_c() {
    let (world, alice, bob) = two_phones();
    let Ringing { sent, invite, .. } = ringing(&alice, &bob);
    for _ in 0..10 {
        world.advance(Duration::from_mins(1));
        bob.answers(&invite, 180);
        bob.receives_nothing();
    }
    alice.receives_copies("180");
    alice.cancels(&sent);
    alice.receives("200");
    gives_in(&bob, &invite);
    refused(&alice, &sent, "487");
}

#[test]
fn a_callee_that_cannot_be_reached_fails_the_call_at_once() {
    let (world, alice, bob) = two_phones();
    let (sent, invite) = offered(&alice, &bob);
    world.could_not_send(&invite);
    // S-27, S-31: as a 503 from there, which is ours to hide.
    refused(&alice, &sent, "500");
    world.advance(Duration::from_secs(40));
    bob.receives_nothing();
}
