//! Audio that passes us: each side is told of a port of ours, and the sound thread of both sides.
//!
//! Spec: RULES R14; RFC 3264 §5, §6; RFC 4961.

use std::time::Duration;

use campon::media::desk::{Command, RoomId};
use campon::media::room::News;
use campon::media::trial::Trust;

use super::super::kit::dialog::Dialog;
use super::super::kit::draft::{ANSWER, OFFER, reinvite, request, response};
use super::super::kit::message::Message;
use super::super::kit::party::Party;
use super::super::kit::scenes::hang_up;
use super::super::kit::subject::Setup;
use super::super::kit::world::World;
use super::{edge_with, invite, registers};

/// A description of a phone that knows its own network only.
fn private(sdp: &str) -> String {
    sdp.replace("c=IN IP4 192.0.2.10", "c=IN IP4 192.168.1.10")
        .replace("c=IN IP4 192.0.2.20", "c=IN IP4 192.168.1.10")
}

/// The port of ours that a message names.
#[track_caller]
fn port_of(message: &Message) -> u16 {
    let sdp = message.sdp();
    assert!(sdp.contains("c=IN IP4 192.0.2.1\r\n"), "{sdp}");
    let mut lines = sdp.lines();
    let line = lines.find_map(|line| line.strip_prefix("m=audio "));
    let port = line.and_then(|line| line.split(' ').next());
    port.and_then(|port| port.parse().ok()).expect("a port")
}

fn behind_nat(world: &World, name: &str, pbx: &Party) -> (Party, String) {
    let phone = world.party_at(name, "203.0.113.5:40001");
    let alias = registers(&phone, name, pbx);
    (phone, alias)
}

/// Alice, who is behind a NAT, calls Bob: what she has sent, and what has come to the PBX.
fn calls() -> (World, [Party; 2], [Message; 2]) {
    let (world, pbx) = edge_with(Setup::EdgeAnchor);
    let (alice, _) = behind_nat(&world, "alice", &pbx);
    let sent = alice.sends(invite("alice", "bob").with_sdp(&private(OFFER)));
    let at_pbx = pbx.receives("INVITE");
    (world, [alice, pbx], [sent, at_pbx])
}

/// What the sound thread is told: the ports, where each side says that it is, and where it signals from.
#[track_caller]
fn anchored(world: &World) -> (RoomId, [u16; 2], [(String, String); 2]) {
    let next = world.next_sound();
    let Some(Command::Anchor {
        room,
        ports,
        parties,
        ..
    }) = next
    else {
        panic!("{next:?}");
    };
    let parties = parties.map(|party| {
        let described = party.described.map(|it| it.to_string());
        (described.unwrap_or_default(), party.signalling.to_string())
    });
    (room, ports, parties)
}

#[track_caller]
fn closes(world: &World, room: RoomId) {
    let next = world.next_sound();
    assert!(
        matches!(next, Some(Command::Close { room: it }) if it == room),
        "{next:?}"
    );
    assert!(world.next_sound().is_none());
}

#[test]
fn a_caller_behind_a_nat_is_heard_through_us_and_may_move() {
    let (world, [alice, pbx], [sent, at_pbx]) = calls();
    let for_pbx = port_of(&at_pbx);
    assert!(world.next_sound().is_none());
    pbx.sends(response(&at_pbx, 200).with_sdp(ANSWER));
    let answer = alice.receives("200");
    let for_alice = port_of(&answer);
    assert_ne!(for_alice, for_pbx);
    let (room, ports, [a, b]) = anchored(&world);
    assert_eq!(ports, [for_alice, for_pbx]);
    let from_alice = "203.0.113.5".to_owned();
    assert_eq!(a, ("192.168.1.10:40000".to_owned(), from_alice.clone()));
    assert_eq!(b.0, "192.0.2.20:50000");
    alice.acks(&sent, &answer);
    pbx.receives("ACK");

    let dialog = Dialog::of_caller(&sent, &answer);
    let moved = private(OFFER).replace("m=audio 40000", "m=audio 41000");
    let again = alice.sends(reinvite(&dialog).with_sdp(&moved));
    let at_pbx = pbx.receives("INVITE");
    assert_eq!(port_of(&at_pbx), for_pbx);
    let (_, _, [a, _]) = anchored(&world);
    assert_eq!(a, ("192.168.1.10:41000".to_owned(), from_alice));
    pbx.sends(response(&at_pbx, 200).with_sdp(ANSWER));
    let answer = alice.receives("200");
    assert_eq!(port_of(&answer), for_alice);
    alice.acks(&again, &answer);
    pbx.receives("ACK");
    assert!(world.next_sound().is_none());
    hang_up(&alice, &dialog, &pbx);
    closes(&world, room);
}

/// The story: a phone and a PBX that both have IPv6 were given our address of IPv4, and heard nothing.
#[test]
fn a_phone_of_the_other_ip_version_is_heard_without_us() {
    let (world, pbx) = edge_with(Setup::EdgeAnchor);
    let alice = world.party_at("alice", "[2001:db8::10]:5060");
    registers(&alice, "alice", &pbx);
    let six = OFFER.replace("c=IN IP4 192.0.2.10", "c=IN IP6 2001:db8::10");
    let sent = alice.sends(invite("alice", "bob").with_sdp(&six));
    let at_pbx = pbx.receives("INVITE");
    assert_eq!(at_pbx.sdp(), six);
    pbx.sends(response(&at_pbx, 200).with_sdp(ANSWER));
    let answer = alice.receives("200");
    assert_eq!(answer.sdp(), ANSWER);
    alice.acks(&sent, &answer);
    pbx.receives("ACK");
    hang_up(&alice, &Dialog::of_caller(&sent, &answer), &pbx);
    assert!(world.next_sound().is_none());
}

#[test]
fn a_callee_behind_a_nat_is_heard_through_us_before_he_answers() {
    let (world, pbx) = edge_with(Setup::EdgeAnchor);
    let (bob, alias) = behind_nat(&world, "bob", &pbx);
    let sent = pbx.sends(request("INVITE", &alias).with_sdp(OFFER));
    let at_bob = bob.receives("INVITE");
    let for_bob = port_of(&at_bob);
    bob.sends(response(&at_bob, 183).with_sdp(&private(ANSWER)));
    let early = pbx.receives("183");
    let (room, ports, [_, b]) = anchored(&world);
    assert_eq!(ports, [port_of(&early), for_bob]);
    assert_eq!(
        b,
        ("192.168.1.10:50000".to_owned(), "203.0.113.5".to_owned())
    );
    bob.sends(response(&at_bob, 200).with_sdp(&private(ANSWER)));
    let answer = pbx.receives("200");
    assert_eq!(port_of(&answer), port_of(&early));
    pbx.acks(&sent, &answer);
    bob.receives("ACK");
    hang_up(&pbx, &Dialog::of_caller(&sent, &answer), &bob);
    closes(&world, room);
}

#[test]
fn without_ports_a_call_goes_on_as_if_there_were_no_nat() {
    let (world, pbx) = edge_with(Setup::EdgeAnchor);
    let (alice, _) = behind_nat(&world, "alice", &pbx);
    let first = alice.sends(invite("alice", "bob").with_sdp(&private(OFFER)));
    let at_pbx = pbx.receives("INVITE");
    port_of(&at_pbx);
    let second = alice.sends(invite("alice", "carol").with_sdp(&private(OFFER)));
    let other = pbx.receives("INVITE");
    assert_eq!(other.sdp(), private(OFFER));
    for (sent, asked) in [(first, at_pbx), (second, other)] {
        pbx.refuses(&asked, 486);
        let refusal = alice.receives("486");
        alice.acks(&sent, &refusal);
    }
    world.closes();
}

/// A call of a phone behind a NAT, answered.
struct Talk {
    world: World,
    alice: Party,
    pbx: Party,
    dialog: Dialog,
    room: RoomId,
}

fn talk() -> Talk {
    let (world, [alice, pbx], [sent, at_pbx]) = calls();
    pbx.sends(response(&at_pbx, 200).with_sdp(ANSWER));
    let answer = alice.receives("200");
    let (room, ..) = anchored(&world);
    alice.acks(&sent, &answer);
    pbx.receives("ACK");
    let dialog = Dialog::of_caller(&sent, &answer);
    Talk {
        world,
        alice,
        pbx,
        dialog,
        room,
    }
}

impl Talk {
    /// Both sides are told that it is over, and nothing is left.
    #[track_caller]
    fn is_ended(&self) {
        for side in [&self.alice, &self.pbx] {
            side.is_hung_up_on();
        }
        closes(&self.world, self.room);
        self.world.advance(Duration::from_mins(1));
        assert!(self.world.next_sound().is_none());
    }

    /// Alice describes herself anew.
    #[track_caller]
    fn describes(&self, sdp: &str) {
        let again = self.alice.sends(reinvite(&self.dialog).with_sdp(sdp));
        let at_pbx = self.pbx.receives("INVITE");
        self.pbx.takes_call(&at_pbx, &self.alice, &again);
    }
}

#[test]
fn a_peer_is_believed_where_its_media_is_and_a_phone_behind_a_nat_until_it_is_heard() {
    let (world, [alice, pbx], [sent, at_pbx]) = calls();
    pbx.sends(response(&at_pbx, 200).with_sdp(ANSWER));
    let answer = alice.receives("200");
    let Some(Command::Anchor { parties, .. }) = world.next_sound() else {
        panic!("it passes us");
    };
    assert_eq!(parties.map(|it| it.trust), [Trust::OnTrial, Trust::Full]);
    assert_ne!(
        parties[1].described.map(|it| it.ip()),
        Some(parties[1].signalling)
    );
    alice.acks(&sent, &answer);
    pbx.receives("ACK");
    hang_up(&alice, &Dialog::of_caller(&sent, &answer), &pbx);
    world.closes();
}

#[test]
fn a_side_that_wants_its_audio_at_a_group_is_sent_none_until_it_is_heard() {
    let (world, pbx) = edge_with(Setup::EdgeAnchor);
    let (alice, _) = behind_nat(&world, "alice", &pbx);
    let group = private(OFFER).replace("c=IN IP4 192.168.1.10", "c=IN IP4 224.2.1.1/127");
    let sent = alice.sends(invite("alice", "bob").with_sdp(&group));
    let at_pbx = pbx.receives("INVITE");
    pbx.sends(response(&at_pbx, 200).with_sdp(ANSWER));
    let answer = alice.receives("200");
    let (.., [a, _]) = anchored(&world);
    assert_eq!(a.0, "");
    assert_eq!(world.counted("sounds_misdirected"), 1);
    alice.acks(&sent, &answer);
    pbx.receives("ACK");
    hang_up(&alice, &Dialog::of_caller(&sent, &answer), &pbx);
    world.closes();
}

/// The story: two phones that had crashed kept their ports until campon was started anew.
#[test]
fn a_call_that_passes_us_is_ended_when_nothing_comes_from_either_side() {
    let talk = talk();
    talk.world.hears(talk.room, News::Silent);
    talk.alice.receives_nothing();
    talk.world.hears(talk.room, News::Silent);
    talk.is_ended();
}

#[test]
fn a_call_that_passes_us_and_is_on_hold_may_be_silent() {
    let talk = talk();
    talk.world.hears(talk.room, News::Silent);
    let hold = private(OFFER).replace("a=sendrecv", "a=sendonly");
    assert_ne!(hold, private(OFFER));
    talk.describes(&hold);
    for _ in 0..3 {
        talk.world.hears(talk.room, News::Silent);
    }
    talk.describes(&private(OFFER));
    talk.world.hears(talk.room, News::Silent);
    talk.alice.receives_nothing();
    talk.pbx.receives_nothing();
    talk.world.hears(talk.room, News::Silent);
    talk.is_ended();
}

#[test]
fn a_call_that_passes_us_and_rings_may_be_silent() {
    let (world, [alice, pbx], [sent, at_pbx]) = calls();
    pbx.sends(response(&at_pbx, 183).with_sdp(ANSWER));
    alice.receives("183");
    let (room, ..) = anchored(&world);
    for _ in 0..3 {
        world.hears(room, News::Silent);
    }
    let answer = pbx.takes_call(&at_pbx, &alice, &sent);
    world.hears(room, News::Silent);
    hang_up(&alice, &Dialog::of_caller(&sent, &answer), &pbx);
    closes(&world, room);
}

#[test]
fn a_call_that_has_lost_its_ports_has_them_again() {
    let talk = talk();
    talk.world.hears(talk.room, News::Failed);
    let (room, ports, [a, b]) = anchored(&talk.world);
    assert_eq!(room, talk.room);
    assert_ne!(ports[0], ports[1]);
    assert_eq!([a.0, b.0], ["192.168.1.10:40000", "192.0.2.20:50000"]);
    talk.alice.receives_nothing();
    hang_up(&talk.alice, &talk.dialog, &talk.pbx);
    closes(&talk.world, room);
}

#[test]
fn a_call_that_cannot_have_its_ports_again_is_ended() {
    let talk = talk();
    talk.world.hears(talk.room, News::Failed);
    anchored(&talk.world);
    talk.world.hears(talk.room, News::Failed);
    talk.is_ended();
}

#[test]
fn a_call_that_has_lost_its_ports_before_the_answer_is_ended_by_it() {
    let (world, [alice, pbx], [sent, at_pbx]) = calls();
    pbx.sends(response(&at_pbx, 183).with_sdp(ANSWER));
    alice.receives("183");
    let (room, ..) = anchored(&world);
    world.hears(room, News::Failed);
    anchored(&world);
    world.hears(room, News::Failed);
    alice.receives_nothing();
    pbx.sends(response(&at_pbx, 200).with_sdp(ANSWER));
    let answer = alice.receives("200");
    alice.acks(&sent, &answer);
    alice.is_hung_up_on();
    for _ in 0..2 {
        let any = pbx.receives_any();
        if any.start().starts_with("BYE") {
            pbx.answers(&any, 200);
        }
    }
    closes(&world, room);
}
