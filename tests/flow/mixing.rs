//! Intrusion by a mixer: what the three see of it, and what goes wrong without harm.
//!
//! Spec: RULES R17; RFC 3264 §8; RFC 3261 §14.1; threats T29, T31.

mod alone;
mod asked;
mod audit;
mod chance;
mod changes;
mod media;
mod refusals;
mod unheard;

use std::time::Duration;

use campon::media::desk::{Command, RoomId};
use campon::media::digit::Digit;
use campon::media::room::News;

use crate::flow::kit::completion::{LONG, MOMENT};
use crate::flow::kit::dialog::Dialog;
use crate::flow::kit::draft::{ANSWER, Draft, OFFER, invite, reinvite, response, within};
use crate::flow::kit::message::Message;
use crate::flow::kit::party::Party;
use crate::flow::kit::scenes::{Call, call, hang_up, refused};
use crate::flow::kit::subject::Setup;
use crate::flow::kit::world::World;

/// What Carol's phone says when it takes our mixer.
const CAROL: &str = "v=0\r\no=alice 1 2 IN IP4 192.0.2.10\r\ns=-\r\n\
    c=IN IP4 192.0.2.10\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0\r\na=sendrecv\r\n";
/// The same of Bob's.
const BOB: &str = "v=0\r\no=bob 7 8 IN IP4 192.0.2.20\r\ns=-\r\n\
    c=IN IP4 192.0.2.20\r\nt=0 0\r\nm=audio 50000 RTP/AVP 0\r\na=sendrecv\r\n";
/// Carol puts somebody on hold.
const HOLD: &str = "v=0\r\no=alice 1 2 IN IP4 192.0.2.10\r\ns=-\r\n\
    c=IN IP4 192.0.2.10\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0 8\r\na=sendonly\r\n";

/// Carol speaks with Bob, and Alice, who may join them, hears that he is busy.
struct Scene {
    world: World,
    alice: Party,
    bob: Party,
    carol: Party,
    talk: Call,
    sent: Message,
    progress: Message,
    room: RoomId,
    /// Alice's port of ours.
    port: u16,
}

impl Scene {
    fn new() -> Self {
        let (world, [alice, bob, carol]) = parties(Setup::Intruding);
        let talk = call(&carol, &bob);
        Self::of(world, [alice, bob, carol], talk)
    }

    fn of(world: World, parties: [Party; 3], talk: Call) -> Self {
        Self::offered(world, parties, talk, OFFER)
    }

    /// Alice offers this.
    fn offered(world: World, [alice, bob, carol]: [Party; 3], talk: Call, offer: &str) -> Self {
        let sent = alice.sends(invite("bob").with_sdp(offer));
        let progress = alice.receives("183");
        let (room, port) = world.opens();
        Self {
            world,
            alice,
            bob,
            carol,
            talk,
            sent,
            progress,
            room,
            port,
        }
    }

    /// Alice presses the digit, and there are two ports for her wish.
    #[track_caller]
    fn asks(&self) -> [u16; 2] {
        self.world.hears(self.room, News::Digit(Digit::D3));
        let next = self.world.next_sound();
        let Some(Command::Reserve { room, ports }) = next else {
            panic!("{next:?}");
        };
        assert_eq!(room, self.room);
        ports
    }

    /// The ports are ours; Carol, who is not Bob's phone, is asked first.
    #[track_caller]
    fn carol_is_asked(&self) -> (Message, [u16; 2]) {
        let ports = self.asks();
        self.carol.receives_nothing();
        self.world.hears(self.room, News::Reserved);
        (self.carol.receives("INVITE"), ports)
    }

    /// Both phones take the mixer.
    #[track_caller]
    fn joins(&self) -> [u16; 2] {
        let (asked, ports) = self.carol_is_asked();
        assert_mixer(&asked, 7 + 1, ports[0]);
        takes(&self.carol, &asked, CAROL);
        let asked = self.bob.receives("INVITE");
        assert_mixer(&asked, 1 + 1, ports[1]);
        takes(&self.bob, &asked, BOB);
        ports
    }

    /// Alice is in, by the session that she had before.
    #[track_caller]
    fn alice_is_in(&self) -> Dialog {
        let answer = self.alice.receives("200");
        assert_eq!(answer.tag_of_to(), self.progress.tag_of_to());
        assert_eq!(answer.sdp(), self.progress.sdp());
        self.alice.acks(&self.sent, &answer);
        let next = self.world.next_sound();
        let Some(Command::Mix { room, parties, .. }) = next else {
            panic!("{next:?}");
        };
        let remotes = parties.map(|(_, agreed)| agreed.remote.to_string());
        assert_eq!(remotes, ["192.0.2.10:40000", "192.0.2.20:50000"]);
        assert_eq!(room, self.room);
        Dialog::of_caller(&self.sent, &answer)
    }

    /// Each of the two is given the other, as it was before and in a later version.
    #[track_caller]
    fn they_have_each_other(&self) {
        let back = self.carol.receives("INVITE");
        assert_eq!(back.sdp(), ANSWER.replace("bob 7 7", "bob 7 9"));
        takes(&self.carol, &back, CAROL);
        let back = self.bob.receives("INVITE");
        assert_eq!(back.sdp(), OFFER.replace("alice 1 1", "alice 1 3"));
        takes(&self.bob, &back, BOB);
        self.world.closes();
        assert!(self.world.next_sound().is_none());
    }

    /// Alice leaves what she has joined, and the two talk as before.
    #[track_caller]
    fn ends_as_it_was(&self, dialog: &Dialog) {
        self.alice_leaves(dialog);
        self.they_have_each_other();
        self.ends();
    }

    /// Alice leaves what she has joined.
    #[track_caller]
    fn alice_leaves(&self, dialog: &Dialog) {
        self.alice.leaves(dialog);
        self.leaves_the_mixer();
    }

    #[track_caller]
    fn leaves_the_mixer(&self) {
        let next = self.world.next_sound();
        let Some(Command::Part { room, port }) = next else {
            panic!("{next:?}");
        };
        assert_eq!((room, port), (self.room, self.port));
    }

    /// All three are on the mixer: Alice's end.
    #[track_caller]
    fn joined() -> (Self, Dialog) {
        let scene = Self::new();
        scene.joins();
        let dialog = scene.alice_is_in();
        (scene, dialog)
    }

    /// All three were on the mixer, and Alice has left.
    #[track_caller]
    fn left() -> Self {
        let (scene, dialog) = Self::joined();
        scene.alice_leaves(&dialog);
        scene
    }

    /// The room is nobody's any more.
    #[track_caller]
    fn room_closes(&self) {
        let next = self.world.next_sound();
        assert!(
            matches!(next, Some(Command::Close { room }) if room == self.room),
            "{next:?}"
        );
    }

    /// The call of the two ends, because they cannot be brought together.
    #[track_caller]
    fn both_are_hung_up_on(&self) {
        for phone in [&self.carol, &self.bob] {
            phone.is_hung_up_on();
        }
    }

    /// Alice hears that it is not to be, and gets her failure; the other two have noticed nothing more.
    #[track_caller]
    fn is_refused(&self) {
        self.alice_gets_her_failure();
        self.ends();
    }

    #[track_caller]
    fn alice_gets_her_failure(&self) {
        let next = self.world.next_sound();
        assert!(matches!(next, Some(Command::Play { .. })), "{next:?}");
        self.world.hears(self.room, News::PlayedOut);
        refused(&self.alice, &self.sent, "486");
        self.room_closes();
    }

    /// All three are on the mixer, and Carol hangs up.
    #[track_caller]
    fn carol_leaves(&self) -> Dialog {
        let [carols, _] = self.joins();
        let dialog = self.alice_is_in();
        self.carol.leaves(&self.talk.caller);
        self.bob.receives_nothing();
        self.alice.receives_nothing();
        let next = self.world.next_sound();
        let Some(Command::Part { room, port }) = next else {
            panic!("{next:?}");
        };
        assert_eq!((room, port), (self.room, carols));
        dialog
    }

    /// The room has closed, and nothing is left.
    #[track_caller]
    fn all_is_quiet(&self) {
        self.world.closes();
        assert!(self.world.next_sound().is_none());
        self.world.stays_quiet();
    }

    /// The two talk until Carol hangs up, and nothing is left.
    #[track_caller]
    fn ends(&self) {
        hang_up(&self.carol, &self.talk.caller, &self.bob);
        self.world.stays_quiet();
    }
}

fn parties(setup: Setup) -> (World, [Party; 3]) {
    let world = World::new(setup);
    let parties = ["alice", "bob", "carol"].map(|name| world.phone(name));
    (world, parties)
}

/// Takes an offer.
#[track_caller]
fn takes(party: &Party, asked: &Message, sdp: &str) {
    party.sends(response(asked, 200).with_sdp(sdp));
    let ack = party.receives("ACK");
    assert_eq!(ack.cseq(), asked.cseq());
}

/// Our mixer at this port, as that version of what the party knows.
#[track_caller]
fn assert_mixer(asked: &Message, version: u32, port: u16) {
    let sdp = asked.sdp();
    let origin = sdp
        .lines()
        .find(|line| line.starts_with("o="))
        .expect("an origin");
    assert_eq!(
        origin.split(' ').nth(2),
        Some(version.to_string().as_str()),
        "{sdp}"
    );
    let media = format!("m=audio {port} RTP/AVP 0\r\nc=IN IP4 192.0.2.1\r\n");
    assert!(sdp.contains(&media), "{sdp}");
}

/// T29: nobody is heard before the ports are ours, both legs agree and all were warned.
#[test]
fn a_caller_with_the_right_joins_and_leaves_and_the_two_talk_as_before() {
    let (scene, dialog) = Scene::joined();
    scene.world.advance(Duration::from_mins(1));
    scene.ends_as_it_was(&dialog);
}

#[test]
fn who_has_joined_may_do_so_again() {
    let (scene, dialog) = Scene::joined();
    scene.alice_leaves(&dialog);
    scene.they_have_each_other();
    let Scene {
        world,
        alice,
        bob,
        carol,
        talk,
        ..
    } = scene;
    let again = Scene::of(world, [alice, bob, carol], talk);
    let (asked, ports) = again.carol_is_asked();
    assert_mixer(&asked, 10, ports[0]);
    takes(&again.carol, &asked, CAROL);
    let asked = again.bob.receives("INVITE");
    assert_mixer(&asked, 4, ports[1]);
    takes(&again.bob, &asked, BOB);
    let dialog = again.alice_is_in();
    again.alice_leaves(&dialog);
    let back = again.carol.receives("INVITE");
    takes(&again.carol, &back, CAROL);
    let back = again.bob.receives("INVITE");
    takes(&again.bob, &back, BOB);
    again.ends();
}

#[test]
fn what_the_first_side_refuses_the_second_has_not_noticed() {
    for status in [407, 488, 491] {
        let scene = Scene::new();
        let (asked, _) = scene.carol_is_asked();
        scene.carol.refuses(&asked, status);
        scene.bob.receives_nothing();
        scene.is_refused();
    }
}

#[test]
fn what_the_second_side_refuses_the_first_is_told() {
    let scene = Scene::new();
    let (asked, _) = scene.carol_is_asked();
    takes(&scene.carol, &asked, CAROL);
    let asked = scene.bob.receives("INVITE");
    scene.bob.refuses(&asked, 488);
    let back = scene.carol.receives("INVITE");
    assert_eq!(back.sdp(), ANSWER.replace("bob 7 7", "bob 7 9"));
    takes(&scene.carol, &back, CAROL);
    scene.bob.receives_nothing();
    scene.is_refused();
}

#[test]
fn a_side_that_takes_what_nobody_can_hear_has_refused() {
    let scene = Scene::new();
    let (asked, _) = scene.carol_is_asked();
    takes(&scene.carol, &asked, &CAROL.replace("sendrecv", "inactive"));
    let back = scene.carol.receives("INVITE");
    takes(&scene.carol, &back, CAROL);
    scene.bob.receives_nothing();
    scene.is_refused();
}

#[test]
fn without_ports_nobody_is_asked() {
    let scene = Scene::new();
    scene.asks();
    scene.world.hears(scene.room, News::Unreserved);
    scene.carol.receives_nothing();
    scene.bob.receives_nothing();
    scene.is_refused();
}

#[test]
fn a_caller_who_hangs_up_while_he_waits_to_join_leaves_no_mixer() {
    let scene = Scene::new();
    let (asked, _) = scene.carol_is_asked();
    scene.alice.gives_up(&scene.sent);
    scene.leaves_the_mixer();
    takes(&scene.carol, &asked, CAROL);
    let back = scene.carol.receives("INVITE");
    assert_eq!(back.sdp(), ANSWER.replace("bob 7 7", "bob 7 9"));
    takes(&scene.carol, &back, CAROL);
    scene.bob.receives_nothing();
    scene.world.closes();
    scene.ends();
}

/// She came for Bob.
#[test]
fn when_whom_the_intruder_called_hangs_up_all_is_over() {
    let (scene, _) = Scene::joined();
    hang_up(&scene.bob, &scene.talk.callee, &scene.carol);
    let bye = scene.alice.is_hung_up_on();
    assert_eq!(bye.call_id(), scene.sent.call_id());
    scene.all_is_quiet();
}

#[test]
fn when_the_other_one_hangs_up_the_intruder_stays_with_whom_he_called() {
    let scene = Scene::new();
    let dialog = scene.carol_leaves();
    scene.world.advance(Duration::from_mins(1));
    scene.bob.receives_nothing();
    scene.alice.leaves(&dialog);
    scene.bob.is_hung_up_on();
    scene.leaves_the_mixer();
    scene.all_is_quiet();
}

#[test]
fn who_stays_with_an_intruder_can_hang_up() {
    let scene = Scene::new();
    scene.carol_leaves();
    scene.bob.leaves(&scene.talk.callee);
    scene.alice.is_hung_up_on();
    scene.all_is_quiet();
}

/// Her line is as free as after any call: she is called, and calls.
#[test]
fn who_has_left_an_intruder_behind_is_free() {
    let scene = Scene::new();
    let dialog = scene.carol_leaves();
    let dave = scene.world.phone("dave");
    let sent = dave.sends(invite("carol").with_sdp(OFFER));
    let rings = scene.carol.receives("INVITE");
    let answer = scene.carol.takes_call(&rings, &dave, &sent);
    hang_up(&dave, &Dialog::of_caller(&sent, &answer), &scene.carol);
    // Bob's is not.
    let sent = dave.sends(invite("bob").with_sdp(OFFER));
    dave.receives("183");
    scene.world.opens();
    dave.gives_up(&sent);
    scene.world.closes();
    scene.alice.leaves(&dialog);
    scene.bob.is_hung_up_on();
    scene.leaves_the_mixer();
    scene.all_is_quiet();
}

#[test]
fn who_stays_with_an_intruder_may_refresh_and_hold_his_session() {
    let scene = Scene::new();
    scene.carol_leaves();
    let refresh = scene.bob.sends(reinvite(&scene.talk.callee).with_sdp(BOB));
    let answer = scene.bob.receives("200");
    assert!(answer.sdp().contains("c=IN IP4 192.0.2.1\r\n"), "{answer}");
    scene.bob.acks(&refresh, &answer);
    let hold = BOB.replace("sendrecv", "sendonly");
    let hold = scene
        .bob
        .sends(reinvite(&scene.talk.callee).with_sdp(&hold));
    let answer = scene.bob.receives("200");
    assert!(answer.sdp().contains("a=recvonly\r\n"), "{answer}");
    scene.bob.acks(&hold, &answer);
    let next = scene.world.next_sound();
    assert!(
        matches!(&next, Some(Command::Move { party, .. }) if party.1.is_on_hold),
        "{next:?}"
    );
    scene.bob.sends(within(&scene.talk.callee, "UPDATE"));
    scene.bob.receives("200");
    let refers = within(&scene.talk.callee, "REFER").with("Refer-To", "<sip:dave@192.0.2.1>");
    scene.bob.sends(refers);
    scene.bob.receives("403");
    // Carol's leg is gone.
    scene.carol.sends(within(&scene.talk.caller, "OPTIONS"));
    scene.carol.receives("481");
    scene.bob.leaves(&scene.talk.callee);
    scene.alice.is_hung_up_on();
    scene.all_is_quiet();
}

#[test]
fn when_one_of_the_two_hangs_up_meanwhile_the_caller_gets_his_failure() {
    let scene = Scene::new();
    let (asked, _) = scene.carol_is_asked();
    scene.carol.answers(&asked, 100);
    scene.bob.leaves(&scene.talk.callee);
    let bye = scene.carol.receives_each(["CANCEL", "BYE"]);
    scene.carol.answers(&bye[0], 200);
    scene.carol.refuses(&asked, 487);
    scene.carol.answers(&bye[1], 200);
    let next = scene.world.next_sound();
    assert!(matches!(next, Some(Command::Play { .. })), "{next:?}");
    scene.world.hears(scene.room, News::PlayedOut);
    refused(&scene.alice, &scene.sent, "486");
    scene.world.stays_quiet();
}

/// RFC 4028 §7.4: a refresh changes nothing.
#[test]
fn a_refresh_of_what_was_agreed_on_is_answered_by_us() {
    let (scene, dialog) = Scene::joined();
    let refresh = scene
        .carol
        .sends(reinvite(&scene.talk.caller).with_sdp(CAROL));
    let answer = scene.carol.receives("200");
    assert!(answer.sdp().contains("c=IN IP4 192.0.2.1\r\n"), "{answer}");
    scene.carol.acks(&refresh, &answer);
    scene.bob.receives_nothing();
    scene.ends_as_it_was(&dialog);
}

#[test]
fn whoever_has_joined_can_leave_and_ask_for_nothing_of_the_others() {
    let (scene, dialog) = Scene::joined();
    let picture = OFFER.replace("m=audio", "m=video");
    let picture = scene.alice.sends(reinvite(&dialog).with_sdp(&picture));
    refused(&scene.alice, &picture, "488");
    // RFC 4028 §7.4: what was agreed on may be asked for again, and asked what it was.
    for refresh in [reinvite(&dialog).with_sdp(OFFER), reinvite(&dialog)] {
        let refresh = scene.alice.sends(refresh);
        let answer = scene.alice.receives("200");
        assert_eq!(answer.sdp(), scene.progress.sdp());
        scene.alice.acks(&refresh, &answer);
    }
    let info = within(&dialog, "INFO").with_body("application/dtmf", b"5");
    scene.alice.sends(info);
    scene.alice.receives("200");
    scene
        .alice
        .sends(within(&dialog, "REFER").with("Refer-To", "<sip:dave@192.0.2.1>"));
    scene.alice.receives("403");
    scene.ends_as_it_was(&dialog);
}

/// A caller hears of what he may, and of nothing else.
fn is_not_offered(setup: Setup, invites: impl FnOnce(Draft) -> Draft, hold: bool) {
    let (world, [alice, bob, carol]) = parties(setup);
    let sent = carol.sends(invites(invite("bob").with_sdp(OFFER)));
    let rings = bob.receives("INVITE");
    let answer = bob.takes_call(&rings, &carol, &sent);
    let dialog = Dialog::of_caller(&sent, &answer);
    if hold {
        let sent = carol.sends(reinvite(&dialog).with_sdp(HOLD));
        let asked = bob.receives("INVITE");
        bob.sends(response(&asked, 200).with_sdp(BOB));
        let answer = carol.receives("200");
        carol.acks(&sent, &answer);
        bob.receives("ACK");
    }
    let sent = alice.sends(invite("bob").with_sdp(OFFER));
    alice.receives("183");
    let (room, _) = world.opens();
    world.hears(room, News::Digit(Digit::D3));
    assert!(world.next_sound().is_none());
    world.advance(Duration::from_secs(20));
    refused(&alice, &sent, "486");
    hang_up(&carol, &dialog, &bob);
    world.stays_quiet();
}

#[test]
fn who_may_not_join_is_not_offered_to() {
    // Without the right.
    is_not_offered(Setup::Prompting, |invite| invite, false);
    // T31
    is_not_offered(
        Setup::Intruding,
        |it| it.with("Priority", "emergency"),
        false,
    );
    is_not_offered(Setup::Intruding, |it| it.with("Privacy", "id"), false);
    is_not_offered(Setup::Intruding, |it| it, true);
}

#[test]
fn nobody_joins_his_own_call() {
    let (world, [alice, bob, _]) = parties(Setup::Intruding);
    let talk = call(&alice, &bob);
    let sent = alice.sends(invite("bob").with_sdp(OFFER));
    alice.receives("183");
    let (room, _) = world.opens();
    world.hears(room, News::Digit(Digit::D3));
    assert!(world.next_sound().is_none());
    world.advance(Duration::from_secs(20));
    refused(&alice, &sent, "486");
    hang_up(&alice, &talk.caller, &bob);
    world.stays_quiet();
}

#[test]
fn nobody_joins_a_call_that_two_have_joined() {
    let (scene, dialog) = Scene::joined();
    let dave = scene.world.phone("dave");
    let sent = dave.sends(invite("bob").with_sdp(OFFER));
    dave.receives("183");
    let (room, _) = scene.world.opens();
    scene.world.hears(room, News::Digit(Digit::D3));
    assert!(scene.world.next_sound().is_none());
    scene.world.advance(Duration::from_secs(20));
    refused(&dave, &sent, "486");
    scene.world.closes();
    scene.world.advance(MOMENT);
    scene.ends_as_it_was(&dialog);
}
