//! Strangers: nothing for scanners, no more than one datagram for one, and no forks without end.
//!
//! Spec: RFC 3261 §26.1.5; RFC 5393 §5.3.3.

use std::time::Duration;

use super::kit::draft::{OFFER, invite, options};
use super::kit::message::Message;
use super::kit::scenes::{bob_with_two_phones, refused, two_phones};
use super::kit::subject::Setup;
use super::kit::world::World;

/// T32: who looks for something to break into learns nothing, and nobody learns what we are.
#[test]
fn a_scanner_hears_nothing_and_a_phone_does() {
    let (world, alice, _bob) = two_phones();
    let mallory = world.party("mallory");
    for agent in ["friendly-scanner", "SIPVicious/0.3", "sipcli/v1.8"] {
        mallory.sends(options().with("User-Agent", agent));
        mallory.sends(invite("bob").with("User-Agent", agent).with_sdp(OFFER));
    }
    mallory.receives_nothing();
    alice.sends(options().with("User-Agent", "no friendly-scanner"));
    let answer = alice.receives("200");
    assert!(!answer.has("Server") && !answer.has("User-Agent"));
}

/// A call for help is one, whatever makes it.
#[test]
fn a_scanner_that_calls_for_help_is_heard() {
    let (world, _alice, _bob) = two_phones();
    let mallory = world.party("mallory");
    let help = invite("urn:service:sos").with("User-Agent", "friendly-scanner");
    let sent = mallory.sends(help.with_sdp(OFFER));
    let answer = mallory.receives_final();
    mallory.acks(&sent, &answer);
}

/// T07: 40 s after an INVITE that nobody acknowledges, one datagram has left for it.
#[test]
fn what_is_refused_to_a_stranger_leaves_once() {
    let world = World::new(Setup::Standalone);
    let mallory = world.party("mallory");
    let sent = mallory.sends(invite("nobody").with_sdp(OFFER));
    let answers: Vec<Message> = mallory.receives_copies("404");
    assert_eq!(answers.len(), 1);
    world.advance(Duration::from_secs(40));
    mallory.receives_nothing();
    let length = |message: &Message| {
        let fields = message.fields();
        let fields = fields.map(|(name, value)| name.len() + value.len() + 4);
        message.start().len() + fields.sum::<usize>() + message.body().len()
    };
    assert!(length(&answers[0]) * 2 <= length(&sent) * 3);
}

/// T06: what comes too fast gets no answer, and whoever waits is answered again.
#[test]
fn a_flood_of_one_source_is_answered_up_to_its_rate() {
    let world = World::new(Setup::Standalone);
    let (mallory, carol) = (world.party("mallory"), world.party("carol"));
    for _ in 0..1000 {
        mallory.sends(options());
    }
    assert_eq!(mallory.waiting(), 400);
    carol.sends(options());
    carol.receives("200");
    for _ in 0..400 {
        mallory.receives("200");
    }
    world.advance(Duration::from_millis(50));
    for _ in 0..100 {
        mallory.sends(options());
    }
    assert_eq!(mallory.waiting(), 10);
    for _ in 0..10 {
        mallory.receives("200");
    }
}

/// A load test on the machine itself was throttled as a flood.
#[test]
fn programs_on_the_same_machine_may_be_as_fast_as_they_like() {
    let world = World::new(Setup::Standalone);
    let sipp = world.party_at("sipp", "192.0.2.1:5061");
    for _ in 0..1000 {
        sipp.sends(options());
    }
    assert_eq!(sipp.waiting(), 1000);
    for _ in 0..1000 {
        sipp.receives("200");
    }
}

#[test]
fn branches_share_the_breadth_of_their_invite() {
    let (_world, alice, desk, cell) = bob_with_two_phones();
    for (given, shared) in [(None, "30"), (Some("7"), "3"), (Some("1000"), "30")] {
        let draft = invite("bob").with_sdp(OFFER);
        let draft = given
            .into_iter()
            .fold(draft, |draft, breadth| draft.with("Max-Breadth", breadth));
        let sent = alice.sends(draft);
        for phone in [&desk, &cell] {
            let at_phone = phone.receives("INVITE");
            assert_eq!(at_phone.header("Max-Breadth"), shared); // S-112
            phone.refuses(&at_phone, 486);
        }
        refused(&alice, &sent, "486");
    }
}

#[test]
fn an_invite_without_breadth_for_all_phones_is_refused() {
    let (_world, alice, desk, cell) = bob_with_two_phones();
    let sent = alice.sends(invite("bob").with("Max-Breadth", "1").with_sdp(OFFER));
    refused(&alice, &sent, "440"); // S-112
    desk.receives_nothing();
    cell.receives_nothing();
}

#[test]
fn the_breadth_of_a_call_to_one_phone_crosses() {
    let (_world, alice, bob) = two_phones();
    let sent = alice.sends(invite("bob").with("Max-Breadth", "5").with_sdp(OFFER));
    let at_bob = bob.receives("INVITE");
    assert_eq!(at_bob.header("Max-Breadth"), "5"); // S-113
    bob.refuses(&at_bob, 486);
    refused(&alice, &sent, "486");
}
