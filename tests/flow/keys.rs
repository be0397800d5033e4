//! Sound of ours under keys: what is agreed on, and what is heard with it.
//!
//! Spec: RULES R16, R17; RFC 3264 §8; RFC 3711; RFC 4568 §7.1.

use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use campon::media::codec::{Codec, Coder};
use campon::media::desk::{Command, Desk, RoomId};
use campon::media::digit::Digit;
use campon::media::room::{News, Sends};
use campon::media::srtp::{KEY_BYTES, Keys, MasterKey, Shield, Suite};
use campon::media::stream::{Agreed, Junk};
use campon::random::Rng;
use campon::time::Timestamp;

use crate::flow::kit::completion::{GUARD, LONG, MOMENT, talks_after_recall};
use crate::flow::kit::dialog::Dialog;
use crate::flow::kit::draft::{ANSWER, OFFER, invite, response};
use crate::flow::kit::message::Message;
use crate::flow::kit::party::Party;
use crate::flow::kit::scenes::{hang_up, refused};
use crate::flow::kit::subject::Setup;
use crate::flow::kit::world::World;

const SUITE: &str = "AES_CM_128_HMAC_SHA1_80";

/// What each of them sends under.
const ALICE: MasterKey = MasterKey([1; KEY_BYTES]);
const BOB: MasterKey = MasterKey([2; KEY_BYTES]);
const CAROL: MasterKey = MasterKey([3; KEY_BYTES]);

/// That description, with audio under this key and no other.
fn under(key: MasterKey, sdp: &str) -> String {
    let line = format!("a=crypto:1 {SUITE} inline:{}\r\n", STANDARD.encode(key.0));
    let sdp = sdp.replace("RTP/AVP", "RTP/SAVP");
    sdp.replace("a=sendrecv\r\n", &format!("{line}a=sendrecv\r\n"))
}

/// The key that a description of ours has.
#[track_caller]
fn key_in(sdp: &str) -> MasterKey {
    let mut lines = sdp.lines().filter(|line| line.starts_with("a=crypto:"));
    let line = lines.next().expect("a key");
    assert_eq!(lines.next(), None, "{sdp}");
    let (_, key) = line
        .split_once(&format!("a=crypto:1 {SUITE} inline:"))
        .unwrap_or_else(|| panic!("{line}"));
    let key = STANDARD.decode(key).expect("base64");
    MasterKey(key.try_into().expect("30 bytes"))
}

/// Carol and Bob speak, under keys of theirs.
fn talk(carol: &Party, bob: &Party) -> Dialog {
    let sent = carol.sends(invite("bob").with_sdp(&under(CAROL, OFFER)));
    let rings = bob.receives("INVITE");
    bob.sends(response(&rings, 200).with_sdp(&under(BOB, ANSWER)));
    let answer = carol.receives("200");
    carol.acks(&sent, &answer);
    bob.receives("ACK");
    Dialog::of_caller(&sent, &answer)
}

/// Alice's phone knows nothing but keys, and she is asked.
fn asked(world: &World, alice: &Party) -> (Message, Message, RoomId, (u16, Agreed)) {
    let sent = alice.sends(invite("bob").with_sdp(&under(ALICE, OFFER)));
    let progress = alice.receives("183");
    match world.next_sound() {
        Some(Command::Open { room, party, .. }) => (sent, progress, room, party),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_phone_that_knows_keys_alone_hears_the_prompt_under_ours() {
    let world = World::new(Setup::Prompting);
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| world.phone(name));
    let talk = talk(&carol, &bob);
    let sent = alice.sends(invite("bob").with_sdp(&under(ALICE, OFFER)));
    let progress = alice.receives("183");
    assert!(
        progress.sdp().contains(" RTP/SAVP 0\r\n"),
        "{}",
        progress.sdp()
    );
    let opens = world.next_sound().expect("a room opens");
    let Command::Open {
        party: (port, agreed),
        ..
    } = &opens
    else {
        panic!("{opens:?}");
    };
    let (port, remote) = (*port, agreed.remote);
    let printed = format!("{opens:?}");
    assert!(printed.contains("MasterKey(**)"), "{printed}");

    // What the answer says is enough to hear it.
    let mut hears = Shield::new(Keys {
        suite: Suite::AesCm128HmacSha1_80,
        ours: ALICE,
        theirs: key_in(progress.sdp()),
    });
    let mut desk = Desk::new(Rng::from_number(7), Duration::from_secs(5));
    desk.handle(Timestamp::START, opens);
    let (mut coder, mut heard) = (Coder::new(Codec::Pcmu), Vec::new());
    for tick in 0..50 {
        let mut sends = Sends::default();
        let now = Timestamp::START + Duration::from_millis(20 * tick);
        desk.handle_timeout(now, &mut sends, |_, _| ());
        for (_, to, packet) in sends.iter() {
            assert_eq!(to, remote);
            let plain = hears.open(packet).expect("ours");
            coder.decode(&plain.as_ref()[12..], &mut heard);
        }
    }
    assert_eq!(heard.len(), 8000, "a second");
    let loudest = heard.iter().map(|sample| sample.unsigned_abs()).max();
    assert!(loudest > Some(3000), "{loudest:?}");

    // And a digit is taken only under hers.
    assert_eq!(presses(&mut desk, port, remote, None), None);
    assert_eq!(desk.counts().dropped.get(&Junk::Forged), Some(&1));
    let digit = presses(&mut desk, port, remote, Some(&mut hears));
    assert_eq!(digit, Some(News::Digit(Digit::D5)));

    alice.gives_up(&sent);
    hang_up(&carol, &talk, &bob);
}

/// The audio of a digit, plain or sealed.
fn presses(
    desk: &mut Desk,
    port: u16,
    from: SocketAddr,
    mut shield: Option<&mut Shield>,
) -> Option<News> {
    use campon::media::tone::{self, Part};
    let clip = tone::render(&[Part::digit(Digit::D5, Duration::from_millis(200))], 6000);
    let mut coder = Coder::new(Codec::Pcmu);
    let mut news = None;
    let frames = if shield.is_some() { clip.frames() } else { 1 };
    for index in 0..frames {
        let sequence = u8::try_from(index).expect("few");
        let mut packet = vec![0x80, 0, 0, sequence, 0, 0, 0, sequence, 0, 0, 0, 9];
        coder.encode(&clip.frame(index).expect("a frame"), &mut packet);
        if let Some(shield) = &mut shield {
            shield.seal(&mut packet, 0);
        }
        let now = Timestamp::START + Duration::from_millis(1000 + 20 * u64::from(sequence));
        let mut sends = Sends::default();
        desk.handle_packet(now, port, from, &packet, &mut sends);
        desk.handle_timeout(now, &mut sends, |_, it| {
            news = news.or_else(|| matches!(it, News::Digit(_)).then_some(it));
        });
    }
    news
}

/// The story: she heard our music, and of Bob, whose answer had another key, nothing: her phone keeps the
/// first one.
#[test]
fn who_knows_keys_alone_is_not_offered_to_wait_and_is_called_back() {
    let world = World::new(Setup::Prompting);
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| world.phone(name));
    let talk = talk(&carol, &bob);
    let (sent, _, room, _) = asked(&world, &alice);
    world.hears(room, News::Digit(Digit::D1));
    alice.receives_nothing();
    assert!(world.next_sound().is_none());
    world.hears(room, News::Digit(Digit::D5));
    assert!(matches!(world.next_sound(), Some(Command::Play { .. })));
    world.hears(room, News::PlayedOut);
    let busy = alice.receives("486");
    alice.acks(&sent, &busy);
    world.closes();
    world.advance(MOMENT);
    hang_up(&carol, &talk, &bob);
    world.advance(GUARD);
    talks_after_recall(&alice, &bob);
}

/// R17: legs under keys are mixed as plain ones are. The story: a phone that took no second key heard nobody
/// while three talked, for each leg had a new one; so each has the one under which it hears the other.
#[test]
fn a_call_under_keys_is_joined_and_given_back_with_its_own() {
    let world = World::new(Setup::Intruding);
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| world.phone(name));
    let talk = talk(&carol, &bob);
    let (sent, progress, room, party) = asked(&world, &alice);
    world.hears(room, News::Digit(Digit::D3));
    let reserve = world.next_sound();
    assert!(
        matches!(reserve, Some(Command::Reserve { .. })),
        "{reserve:?}"
    );
    world.hears(room, News::Reserved);

    let mut ours = Vec::new();
    for (phone, sdp) in [(&carol, under(CAROL, OFFER)), (&bob, under(BOB, ANSWER))] {
        let offered = phone.receives("INVITE");
        assert!(offered.sdp().contains(" RTP/SAVP 0\r\n"));
        ours.push(key_in(offered.sdp()));
        let sdp = sdp.replace("RTP/SAVP 0 8", "RTP/SAVP 0");
        phone.sends(response(&offered, 200).with_sdp(&sdp));
        phone.receives("ACK");
    }
    let answer = alice.receives("200");
    assert_eq!(answer.sdp(), progress.sdp());
    alice.acks(&sent, &answer);
    let Some(Command::Mix { parties, .. }) = world.next_sound() else {
        panic!("a mix");
    };
    let keys = parties.map(|(_, agreed)| agreed.keys.expect("keys"));
    assert_eq!(keys.map(|keys| keys.theirs), [CAROL, BOB]);
    assert_eq!(keys.map(|keys| keys.ours), ours[..]);
    assert_eq!(ours, [BOB, CAROL]);
    let alices = key_in(progress.sdp());
    assert_eq!(party.1.keys.expect("keys").ours, alices);
    assert!(![ALICE, BOB, CAROL].contains(&alices), "her key is new");

    alice.leaves(&Dialog::of_caller(&sent, &answer));
    for (phone, theirs, own, sdp) in [(&carol, BOB, CAROL, OFFER), (&bob, CAROL, BOB, ANSWER)] {
        let back = phone.receives("INVITE");
        assert_eq!(key_in(back.sdp()), theirs);
        phone.sends(response(&back, 200).with_sdp(&under(own, sdp)));
        phone.receives("ACK");
    }
    hang_up(&carol, &talk, &bob);
    world.advance(LONG);
    while world.next_sound().is_some() {}
    world.quiet();
}

/// A side that was offered keys and answers in the clear is not mixed.
#[test]
fn whoever_takes_the_mixer_without_keys_has_refused() {
    let world = World::new(Setup::Intruding);
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| world.phone(name));
    let talk = talk(&carol, &bob);
    let (sent, _, room, _) = asked(&world, &alice);
    world.hears(room, News::Digit(Digit::D3));
    world.next_sound().expect("ports");
    world.hears(room, News::Reserved);
    let offered = carol.receives("INVITE");
    carol.sends(response(&offered, 200).with_sdp(OFFER));
    carol.receives("ACK");
    let back = carol.receives("INVITE");
    assert_eq!(key_in(back.sdp()), BOB);
    carol.sends(response(&back, 200).with_sdp(&under(CAROL, OFFER)));
    carol.receives("ACK");
    bob.receives_nothing();
    let refusal = world.next_sound();
    assert!(matches!(refusal, Some(Command::Play { .. })), "{refusal:?}");
    world.hears(room, News::PlayedOut);
    refused(&alice, &sent, "486");
    hang_up(&carol, &talk, &bob);
    world.advance(LONG);
    while world.next_sound().is_some() {}
    world.quiet();
}
