//! Intrusion in front of a PBX: it carries the call that is joined, and hears of the one that joins no
//! more than that it is over.
//!
//! Spec: RULES R1, R5, R16, R17; RFC 3911 §4, §7.1; RFC 3264 §8.
//!
//! ```text
//!   Carol ──► campon ──► PBX ──► campon ──► Bob      the in pass is mixed: the PBX's leg, and Bob's
//!   Alice ──► campon ─ ─ PBX                         answered by us; a CANCEL to the PBX
//! ```

use std::time::Duration;

use campon::completion::intrusion::Denied;
use campon::completion::{Mode, Reject};
use campon::media::desk::{Command, RoomId};
use campon::media::digit::Digit;
use campon::media::room::News;
use campon::shard::provider::{Answer, Ask, CallReport, CallState, Refusal};
use campon::shard::record::{IntrusionEnd, IntrusionRecord, Record};

use super::super::super::kit::dialog::Dialog;
use super::super::super::kit::draft::{ANSWER, Draft, OFFER, bye, proxied, reinvite, response};
use super::super::super::kit::message::Message;
use super::super::super::kit::party::Party;
use super::super::super::kit::scenes::{hang_up, refused};
use super::super::super::kit::subject::Setup;
use super::super::super::kit::world::World;
use super::{Office, Passing, Talk, invite};

/// What Carol's phone says when it takes our mixer, which it knows as the PBX's.
const CAROL: &str = "v=0\r\no=alice 1 2 IN IP4 192.0.2.10\r\ns=-\r\n\
    c=IN IP4 192.0.2.10\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0\r\na=sendrecv\r\n";
/// The same of Bob's.
const BOB: &str = "v=0\r\no=bob 7 8 IN IP4 192.0.2.20\r\ns=-\r\n\
    c=IN IP4 192.0.2.20\r\nt=0 0\r\nm=audio 50000 RTP/AVP 0\r\na=sendrecv\r\n";

/// Longer than a caller is kept from his failure.
const ASK_TIME: Duration = Duration::from_secs(11);

/// What proves Alice to the PBX.
const PROOF: &str = "Digest username=\"alice\", realm=\"pbx\", nonce=\"1\", \
    uri=\"sip:bob@pbx.example\", response=\"00000000000000000000000000000000\"";

/// Carol speaks with Bob, and Alice, who hears that he is busy, presses the digit to join them.
struct Scene {
    office: Office,
    talk: Talk,
    call: Passing,
    progress: Message,
    room: RoomId,
    ports: [u16; 2],
}

impl Scene {
    #[track_caller]
    fn new() -> Self {
        let office = Office::new(Setup::EdgeIntruding);
        let first = office.crosses(&office.carol, invite("carol", "bob"));
        let talk = office.is_answered(&office.carol, &first);
        let call = office.passes(&office.alice, invite("alice", "bob"));
        office.pbx.answers(&call.out, 100);
        office.bob.refuses(&call.arrived, 486);
        let progress = office.alice.receives("183");
        let (room, _) = office.world.opens();
        office.world.hears(room, News::Digit(Digit::D3));
        let next = office.world.next_sound();
        let Some(Command::Reserve { ports, .. }) = next else {
            panic!("{next:?}");
        };
        office.pbx.receives_nothing();
        office.world.hears(room, News::Reserved);
        Self {
            office,
            talk,
            call,
            progress,
            room,
            ports,
        }
    }

    /// The PBX's leg and Bob's are on the mixer, and Alice is answered by us.
    #[track_caller]
    fn alice_is_in(&self) -> Dialog {
        let Self { office, ports, .. } = self;
        let asked = office.changes_carols(&self.talk);
        assert_at(&asked, ports[0]);
        let asked = office.bob.receives("INVITE");
        assert_at(&asked, ports[1]);
        takes(&office.bob, &asked, BOB);
        let answer = office.alice.receives("200");
        assert_eq!(answer.tag_of_to(), self.progress.tag_of_to());
        assert_eq!(answer.sdp(), self.progress.sdp());
        office.alice.acks(&self.call.sent, &answer);
        let next = office.world.next_sound();
        let Some(Command::Mix { room, parties, .. }) = next else {
            panic!("{next:?}");
        };
        assert_eq!(room, self.room);
        let remotes = parties.map(|(_, agreed)| agreed.remote.to_string());
        assert_eq!(remotes, ["192.0.2.10:40000", "192.0.2.20:50000"]);
        Dialog::of_caller(&self.call.sent, &answer)
    }

    /// Carol and Bob have each other again.
    #[track_caller]
    fn they_have_each_other(&self) {
        let office = &self.office;
        let back = office.changes_carols(&self.talk);
        assert_eq!(back.sdp(), ANSWER.replace("bob 7 7", "bob 7 9"));
        let back = office.bob.receives("INVITE");
        assert_eq!(back.sdp(), OFFER.replace("alice 1 1", "alice 1 3"));
        takes(&office.bob, &back, BOB);
        office.world.closes();
    }

    /// The PBX has been told to forget Alice's call, and hears afterwards that Bob is busy.
    #[track_caller]
    fn pbx_gives_up(&self) {
        let pbx = &self.office.pbx;
        let cancel = pbx.receives("CANCEL");
        pbx.receives_nothing();
        pbx.answers(&cancel, 200);
        pbx.answers(&self.call.out, 487);
        let [_, refusal] = pbx.receives_each(["ACK", "486"]);
        pbx.acks(&self.call.back, &refusal);
    }

    /// Alice hears that it is not to be; the PBX hears that Bob is busy, and says so itself.
    #[track_caller]
    fn is_refused(&self) {
        let office = &self.office;
        let next = office.world.next_sound();
        assert!(matches!(next, Some(Command::Play { .. })), "{next:?}");
        office.pbx.receives_nothing();
        office.world.hears(self.room, News::PlayedOut);
        let refusal = office.pbx.receives("486");
        office.pbx.acks(&self.call.back, &refusal);
        office.pbx.refuses(&self.call.out, 486);
        refused(&office.alice, &self.call.sent, "486");
        office.world.closes();
    }

    #[track_caller]
    fn ends(&self) {
        let office = &self.office;
        office.is_over(&office.carol, &self.talk);
        office.world.stays_quiet();
    }
}

impl Office {
    /// Somebody's call arrives at Bob's phone by way of a PBX that stays in between.
    #[track_caller]
    fn crosses(&self, caller: &Party, draft: Draft) -> Passing {
        let sent = caller.sends(draft.with_sdp(OFFER));
        let out = self.pbx.receives("INVITE");
        let on = proxied(&out, &self.to_bob)
            .without("Contact")
            .without("Privacy");
        let back = self
            .pbx
            .sends(on.with("Contact", &format!("<{}>", self.pbx.uri())));
        let arrived = self.bob.receives("INVITE");
        Passing {
            sent,
            out,
            back,
            arrived,
        }
    }

    /// What campon asks of the PBX in the in pass crosses it, and is asked of Carol's phone; she
    /// agrees, and the PBX says what she says.
    #[track_caller]
    fn changes_carols(&self, talk: &Talk) -> Message {
        let Self { pbx, carol, .. } = self;
        let asked = pbx.receives("INVITE");
        assert_eq!(asked.call_id(), talk.inward.call_id);
        let on = pbx.sends(reinvite(&talk.outward).with_sdp(asked.sdp()));
        let arrived = carol.receives("INVITE");
        assert_eq!(arrived.sdp(), asked.sdp());
        carol.sends(response(&arrived, 200).with_sdp(CAROL));
        let taken = pbx.receives("200");
        pbx.acks(&on, &taken);
        carol.receives("ACK");
        takes(pbx, &asked, taken.sdp());
        asked
    }
}

/// Takes an offer.
#[track_caller]
fn takes(party: &Party, asked: &Message, sdp: &str) {
    party.sends(response(asked, 200).with_sdp(sdp));
    let ack = party.receives("ACK");
    assert_eq!(ack.cseq(), asked.cseq());
}

/// Our mixer at this port.
#[track_caller]
fn assert_at(asked: &Message, port: u16) {
    let media = format!("m=audio {port} RTP/AVP 0\r\nc=IN IP4 192.0.2.1\r\n");
    assert!(asked.sdp().contains(&media), "{asked}");
}

/// The record that an attempt leaves.
#[track_caller]
fn audited(world: &World) -> (IntrusionRecord, IntrusionEnd) {
    loop {
        match world.next_record().expect("a record") {
            Record::Intrusion(record, _, end) => return (*record, end),
            Record::Call(_) | Record::Completion(_) => {}
        }
    }
}

#[track_caller]
fn assert_audited(world: &World, third: Option<&str>, wanted: IntrusionEnd) {
    let (record, end) = audited(world);
    let names = [record.intruder.as_str(), record.target.as_str()];
    assert_eq!(
        (names, record.third.as_deref()),
        (["alice@pbx.example", "bob@pbx.example"], third)
    );
    assert_eq!(end, wanted);
}

#[test]
fn a_digit_puts_the_in_pass_of_the_callee_on_a_mixer() {
    let scene = Scene::new();
    let dialog = scene.alice_is_in();
    scene.pbx_gives_up();
    let Office { world, alice, .. } = &scene.office;
    world.advance(Duration::from_mins(1));
    alice.leaves(&dialog);
    let next = world.next_sound();
    assert!(matches!(next, Some(Command::Part { .. })), "{next:?}");
    scene.they_have_each_other();
    assert_audited(world, Some("carol@pbx.example"), IntrusionEnd::Joined);
    scene.ends();
}

/// The PBX's part is over: what becomes of the two who stay it does not hear.
#[test]
fn when_the_other_party_hangs_up_the_intruder_stays_with_whom_she_called() {
    let scene = Scene::new();
    let dialog = scene.alice_is_in();
    scene.pbx_gives_up();
    let Office {
        world,
        alice,
        bob,
        carol,
        pbx,
        ..
    } = &scene.office;
    carol.hangs_up(&scene.talk.caller);
    pbx.is_hung_up_on();
    carol.receives_each(["200"]);
    pbx.leaves(&scene.talk.inward);
    bob.receives_nothing();
    alice.receives_nothing();
    let next = world.next_sound();
    assert!(
        matches!(next, Some(Command::Part { port, .. }) if port == scene.ports[0]),
        "{next:?}"
    );
    world.advance(Duration::from_mins(1));
    alice.leaves(&dialog);
    bob.is_hung_up_on();
    pbx.receives_nothing();
    let next = world.next_sound();
    assert!(matches!(next, Some(Command::Part { .. })), "{next:?}");
    world.closes();
    assert_audited(world, Some("carol@pbx.example"), IntrusionEnd::Joined);
    world.stays_quiet();
}

/// Its 200 crosses the CANCEL: nobody talks to the mailbox.
#[test]
fn a_mailbox_that_answers_who_has_joined_is_hung_up_on() {
    let scene = Scene::new();
    let dialog = scene.alice_is_in();
    let Office {
        world, alice, pbx, ..
    } = &scene.office;
    let cancel = pbx.receives("CANCEL");
    let answer = response(&scene.call.out, 200).tagged("voicemail");
    pbx.sends(answer.with_sdp(ANSWER));
    pbx.answers(&cancel, 200);
    let [_, bye, refusal] = pbx.receives_each(["ACK", "BYE", "486"]);
    pbx.answers(&bye, 200);
    pbx.acks(&scene.call.back, &refusal);
    alice.receives_nothing();
    alice.leaves(&dialog);
    world.next_sound();
    scene.they_have_each_other();
    scene.ends();
}

/// R17: where a re-INVITE is challenged, or not wanted, nobody has noticed anything.
#[test]
fn what_the_pbx_refuses_leaves_all_as_it_was() {
    for status in [407, 488, 491] {
        let scene = Scene::new();
        let Office {
            world,
            bob,
            pbx,
            carol,
            ..
        } = &scene.office;
        let asked = pbx.receives("INVITE");
        pbx.refuses(&asked, status);
        bob.receives_nothing();
        carol.receives_nothing();
        scene.is_refused();
        assert_audited(world, Some("carol@pbx.example"), IntrusionEnd::Failed);
        scene.ends();
    }
}

/// R5: the PBX waits for as long as it takes, and then does what it always does.
#[test]
fn the_mailbox_is_there_for_who_does_not_join() {
    let scene = Scene::new();
    let office = &scene.office;
    let asked = office.pbx.receives("INVITE");
    office.pbx.refuses(&asked, 488);
    office.world.next_sound();
    office.world.hears(scene.room, News::PlayedOut);
    let refusal = office.pbx.receives("486");
    office.pbx.acks(&scene.call.back, &refusal);
    let mailbox = office.is_diverted(&scene.call);
    hang_up(&office.alice, &mailbox, &office.pbx);
    scene.ends();
}

/// Bob speaks with Carol by a phone that joins calls, and Alice asks for that by an application.
struct Asking {
    office: Office,
    talk: Talk,
    /// The INVITE of it, as Bob's phone got it.
    arrived: Message,
    call: Passing,
    held: CallReport,
}

impl Asking {
    #[track_caller]
    fn of(change: impl Fn(Draft) -> Draft) -> Self {
        let office = Office::new(Setup::EdgeJoining);
        let first = office.crosses(&office.carol, change(invite("carol", "bob")));
        let ok = response(&first.arrived, 200).tagged("bobs");
        let talk = office.is_answered_with(
            &office.carol,
            &first,
            ok.with("Supported", "replaces, join"),
        );
        let proven = invite("alice", "bob").with("Proxy-Authorization", PROOF);
        let call = office.passes(&office.alice, proven);
        assert_eq!(call.out.header("Proxy-Authorization"), PROOF);
        office.pbx.answers(&call.out, 100);
        office.bob.refuses(&call.arrived, 486);
        office.alice.receives("100");
        office.pbx.receives("100");
        office.pbx.receives_nothing();
        office.world.is_asked(Ask::Calls(None));
        let Answer::Calls(calls) = office.world.answers() else {
            panic!("no calls");
        };
        let mut held = calls.iter().filter(|it| it.state == CallState::Busy);
        let held = held.next().expect("a call that is held").clone();
        assert!(held.modes.contains(&Mode::Intrude), "{held:?}");
        office.world.is_asked(Ask::Complete {
            call: held.call,
            mode: Some(Mode::Intrude),
            message: None,
        });
        Self {
            office,
            talk,
            arrived: first.arrived,
            call,
            held,
        }
    }

    #[track_caller]
    fn ends(&self) {
        let office = &self.office;
        office.is_over(&office.carol, &self.talk);
        office.world.stays_quiet();
    }
}

#[test]
fn the_callees_phone_joins_without_the_pbx() {
    let asking = Asking::of(|draft| draft);
    let Asking {
        office,
        call,
        arrived,
        ..
    } = &asking;
    let Office {
        world,
        alice,
        bob,
        pbx,
        ..
    } = office;
    let join = bob.receives("INVITE");
    // RFC 3911 §7.1, R17: the leg of the in pass, as Bob's phone knows it.
    let expected = format!(
        "{};to-tag=bobs;from-tag={}",
        arrived.call_id(),
        arrived.tag_of_from()
    );
    assert_eq!(join.header("Join"), expected);
    assert!(join.list("Require").contains(&"join"), "{join}");
    // What proves Alice to the PBX is nothing to Bob.
    assert!(!join.has("Proxy-Authorization"), "{join}");
    assert_eq!(join.sdp(), call.sent.sdp());
    let cancel = pbx.receives("CANCEL");
    pbx.receives_nothing();
    bob.answers(&join, 180);
    alice.receives("180");
    let Answer::Completed { .. } = world.answers() else {
        panic!("not accepted");
    };
    pbx.answers(&cancel, 200);
    pbx.answers(&call.out, 487);
    let [_, refusal] = pbx.receives_each(["ACK", "486"]);
    pbx.acks(&call.back, &refusal);
    let answered = bob.sends(response(&join, 200).with_sdp(ANSWER));
    let answer = alice.receives("200");
    assert!(!answer.has("Call-Info"), "{answer}");
    alice.acks(&call.sent, &answer);
    bob.receives("ACK");
    assert_audited(world, Some("carol@pbx.example"), IntrusionEnd::Joined);
    bob.sends(bye(&Dialog::of_callee(&join, &answered)));
    alice.is_hung_up_on();
    bob.receives("200");
    pbx.receives_nothing();
    asking.ends();
}

#[test]
fn what_the_phone_says_to_a_join_is_what_the_caller_gets() {
    let asking = Asking::of(|draft| draft);
    let Asking { office, call, .. } = &asking;
    let join = office.bob.receives("INVITE");
    let cancel = office.pbx.receives("CANCEL");
    office.bob.refuses(&join, 488);
    refused(&office.alice, &call.sent, "488");
    office.pbx.answers(&cancel, 200);
    office.pbx.answers(&call.out, 487);
    let [_, refusal] = office.pbx.receives_each(["ACK", "486"]);
    office.pbx.acks(&call.back, &refusal);
    let Answer::Refused(refusal) = office.world.answers() else {
        panic!("accepted");
    };
    assert_eq!(refusal, Refusal::Completion(Reject::MonitorRefused(488)));
    assert_audited(
        &office.world,
        Some("carol@pbx.example"),
        IntrusionEnd::Failed,
    );
    asking.ends();
}

/// The PBX tells Bob's phone nothing of that, and its own 486 is what she gets.
#[test]
fn a_private_call_through_a_pbx_is_joined_by_nobody() {
    let asking = Asking::of(|draft| draft.with("Privacy", "id"));
    let Asking {
        office, call, held, ..
    } = &asking;
    let Office {
        world,
        alice,
        bob,
        pbx,
        ..
    } = office;
    let Answer::Refused(Refusal::Completion(reject)) = world.answers() else {
        panic!("not refused");
    };
    assert_eq!(reject, Reject::IntrusionDenied(Denied::Private));
    assert_audited(
        world,
        Some("carol@pbx.example"),
        IntrusionEnd::Denied(Denied::Private),
    );
    bob.receives_nothing();
    assert_eq!(held.state, CallState::Busy);
    let refusal = pbx.receives_within(ASK_TIME, "486");
    pbx.acks(&call.back, &refusal);
    pbx.refuses(&call.out, 486);
    refused(alice, &call.sent, "486");
    asking.ends();
}

/// R17: what changes nothing is answered by the mixer; Carol's hold, which the PBX passes on, crosses to Bob,
/// and who has joined has to go.
#[test]
fn what_the_pbx_asks_for_meanwhile_is_answered_by_the_mixer_or_crosses() {
    let scene = Scene::new();
    scene.alice_is_in();
    scene.pbx_gives_up();
    let Office {
        world,
        alice,
        bob,
        pbx,
        ..
    } = &scene.office;
    let refresh = pbx.sends(reinvite(&scene.talk.inward).with_sdp(CAROL));
    let answer = pbx.receives("200");
    assert_at(&answer, scene.ports[0]);
    pbx.acks(&refresh, &answer);
    bob.receives_nothing();
    let hold = CAROL.replace("sendrecv", "sendonly");
    let hold = pbx.sends(reinvite(&scene.talk.inward).with_sdp(&hold));
    let asked = bob.receives("INVITE");
    let held = BOB.replace("sendrecv", "recvonly");
    bob.sends(response(&asked, 200).with_sdp(&held));
    let answer = pbx.receives("200");
    pbx.acks(&hold, &answer);
    bob.receives("ACK");
    alice.is_hung_up_on();
    world.closes();
    assert_audited(world, Some("carol@pbx.example"), IntrusionEnd::Joined);
    scene.ends();
}

/// The PBX does not relay the change back: the two talk by the mixer until it does.
#[test]
fn a_pbx_that_does_not_let_go_of_the_mixer_is_asked_again() {
    let scene = Scene::new();
    let dialog = scene.alice_is_in();
    scene.pbx_gives_up();
    let Office {
        world, alice, pbx, ..
    } = &scene.office;
    alice.leaves(&dialog);
    let next = world.next_sound();
    assert!(matches!(next, Some(Command::Part { .. })), "{next:?}");
    let back = pbx.receives("INVITE");
    pbx.refuses(&back, 488);
    assert!(world.next_sound().is_none());
    world.advance(Duration::from_mins(1));
    // One version was refused.
    let back = scene.office.changes_carols(&scene.talk);
    assert_eq!(back.sdp(), ANSWER.replace("bob 7 7", "bob 7 10"));
    let back = scene.office.bob.receives("INVITE");
    takes(&scene.office.bob, &back, BOB);
    world.closes();
    assert_audited(world, Some("carol@pbx.example"), IntrusionEnd::Joined);
    scene.ends();
}

/// T29: it is not offered, and may be pressed all the same.
#[test]
fn a_digit_that_is_not_offered_behind_a_pbx_leaves_its_line() {
    let office = Office::new(Setup::EdgeIntruding);
    let private = invite("carol", "bob").with("Privacy", "id");
    let first = office.crosses(&office.carol, private);
    let talk = office.is_answered(&office.carol, &first);
    let call = office.passes(&office.alice, invite("alice", "bob"));
    office.pbx.answers(&call.out, 100);
    office.bob.refuses(&call.arrived, 486);
    office.alice.receives("183");
    let (room, _) = office.world.opens();
    office.world.hears(room, News::Digit(Digit::D3));
    assert!(office.world.next_sound().is_none());
    let denied = IntrusionEnd::Denied(Denied::Private);
    assert_audited(&office.world, Some("carol@pbx.example"), denied);
    office.alice.gives_up(&call.sent);
    let cancel = office.pbx.receives("CANCEL");
    office.pbx.answers(&cancel, 200);
    office.pbx.answers(&call.out, 487);
    let [_, refusal] = office.pbx.receives_each(["ACK", "486"]);
    office.pbx.acks(&call.back, &refusal);
    office.world.next_sound();
    office.is_over(&office.carol, &talk);
    office.world.stays_quiet();
}
