//! Who may join whose call: every level against every other, in every kind of call, however it is asked.
//!
//! Spec: RULES R17; ECMA-202; RFC 3911 §4; threats T29, T31.

use std::time::Duration;

use campon::completion::Mode;
use campon::completion::intrusion::Denied;
use campon::media::desk::{Command, RoomId};
use campon::media::digit::Digit;
use campon::media::room::News;
use campon::shard::provider::{Answer, Ask, CallState};
use campon::shard::record::{IntrusionEnd, Record};

use crate::flow::kit::dialog::Dialog;
use crate::flow::kit::draft::{ANSWER, OFFER, invite, reinvite, response};
use crate::flow::kit::message::Message;
use crate::flow::kit::party::Party;
use crate::flow::kit::scenes::{hang_up, refused};
use crate::flow::kit::subject::Setup;
use crate::flow::kit::world::World;

/// What kind of call Bob and Carol have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Plain,
    Private,
    Emergency,
    Held,
    /// It only rings.
    Early,
    /// Audio that we do not have.
    Deaf,
    /// Bob has another one beside it, as whoever makes a conference at his phone.
    Several,
}

/// R23: the one about help is the last, for nobody joins anything of who has called for it within the hour.
const KINDS: [Kind; 7] = [
    Kind::Plain,
    Kind::Deaf,
    Kind::Private,
    Kind::Held,
    Kind::Early,
    Kind::Several,
    Kind::Emergency,
];

/// How Alice asks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Way {
    /// By an application, and a mixer of ours would be it.
    Asked,
    /// By digit.
    Digit,
    /// By an application, and Bob's phone joins calls itself.
    Join,
}

struct Scene {
    world: World,
    alice: Party,
    bob: Party,
    carol: Party,
    erin: Party,
}

/// Carol and Bob talk, or are about to.
struct Talk {
    kind: Kind,
    sent: Message,
    rings: Message,
    dialog: Option<Dialog>,
    /// Bob's other call.
    other: Option<Dialog>,
}

impl Scene {
    fn new(setup: Setup) -> Self {
        let world = World::new(setup);
        let names = ["alice", "bob", "carol", "erin"];
        let [alice, bob, carol, erin] = names.map(|name| world.phone(name));
        Self {
            world,
            alice,
            bob,
            carol,
            erin,
        }
    }

    fn talk(&self, kind: Kind, way: Way) -> Talk {
        let [offer, answer] = match kind {
            Kind::Deaf => [OFFER, ANSWER].map(|sdp| {
                let deaf = sdp.replace("AVP 0 8", "AVP 18").replace("AVP 0", "AVP 18");
                deaf.replace("a=sendrecv", "a=rtpmap:18 G729/8000")
            }),
            Kind::Plain
            | Kind::Private
            | Kind::Emergency
            | Kind::Held
            | Kind::Early
            | Kind::Several => [OFFER, ANSWER].map(str::to_owned),
        };
        let draft = invite("bob").with_sdp(&offer);
        let sent = self.carol.sends(match kind {
            Kind::Plain | Kind::Held | Kind::Early | Kind::Deaf | Kind::Several => draft,
            Kind::Private => draft.with("Privacy", "id"),
            Kind::Emergency => draft.with("Priority", "psap-callback"),
        });
        let rings = self.bob.receives("INVITE");
        if kind == Kind::Early {
            self.bob.answers(&rings, 180);
            self.carol.receives("180");
            let dialog = None;
            return Talk {
                kind,
                sent,
                rings,
                dialog,
                other: None,
            };
        }
        let ok = response(&rings, 200).with_sdp(&answer);
        self.bob.sends(match way {
            Way::Join => ok.with("Supported", "join"),
            Way::Asked | Way::Digit => ok,
        });
        let answer = self.carol.receives("200");
        self.carol.acks(&sent, &answer);
        self.bob.receives("ACK");
        let dialog = Dialog::of_caller(&sent, &answer);
        if kind == Kind::Held {
            let hold = OFFER.replace("sendrecv", "sendonly");
            let sent = self.carol.sends(reinvite(&dialog).with_sdp(&hold));
            let got = self.bob.receives("INVITE");
            let held = ANSWER.replace("sendrecv", "recvonly");
            self.bob.sends(response(&got, 200).with_sdp(&held));
            let answer = self.carol.receives("200");
            self.carol.acks(&sent, &answer);
            self.bob.receives("ACK");
        }
        let other = (kind == Kind::Several).then(|| self.bob_calls_erin());
        Talk {
            kind,
            sent,
            rings,
            dialog: Some(dialog),
            other,
        }
    }

    fn bob_calls_erin(&self) -> Dialog {
        let sent = self.bob.sends(invite("erin").with_sdp(ANSWER));
        let rings = self.erin.receives("INVITE");
        let answer = self.erin.takes_call(&rings, &self.bob, &sent);
        Dialog::of_caller(&sent, &answer)
    }

    fn ends(&self, talk: Talk) {
        if let Some(other) = &talk.other {
            hang_up(&self.bob, other, &self.erin);
        }
        if let Some(dialog) = talk.dialog {
            hang_up(&self.carol, &dialog, &self.bob);
        } else {
            assert_eq!(talk.kind, Kind::Early);
            self.bob.refuses(&talk.rings, 603);
            refused(&self.carol, &talk.sent, "603");
        }
        self.world.advance(Duration::from_secs(1));
    }

    fn asks(&self, room: RoomId, way: Way) {
        if way == Way::Digit {
            return self.world.hears(room, News::Digit(Digit::D3));
        }
        self.world.is_asked(Ask::Calls(None));
        let Answer::Calls(calls) = self.world.answers() else {
            panic!("no calls");
        };
        let mut busy = calls.iter().filter(|call| call.state == CallState::Busy);
        let call = busy.next().expect("a call that is held").call;
        self.world.is_asked(Ask::Complete {
            call,
            mode: Some(Mode::Intrude),
            message: None,
        });
    }

    /// Alice asks to join them; whether Bob's phone or anybody's was about to be asked.
    fn attempt(&self, way: Way) -> bool {
        let world = &self.world;
        let sent = self.alice.sends(invite("bob").with_sdp(OFFER));
        self.alice.receives("183");
        let (room, _) = world.opens();
        self.asks(room, way);
        let mut is_let_in = false;
        while let Some(command) = world.next_sound() {
            is_let_in |= matches!(command, Command::Reserve { .. });
        }
        if is_let_in {
            // It is enough to know that it would be.
            world.hears(room, News::Unreserved);
        }
        self.carol.receives_nothing();
        let is_joined = self.bob.waiting() > 0;
        if is_joined {
            assert_eq!(way, Way::Join);
            let join = self.bob.receives("INVITE");
            assert!(!join.header("Join").is_empty(), "{join}");
            self.bob.refuses(&join, 603);
            refused(&self.alice, &sent, "603");
        } else {
            self.alice.gives_up(&sent);
        }
        while world.next_sound().is_some() {}
        while !world.has_not_answered() {}
        is_let_in || is_joined
    }

    /// The ends of all attempts since this was last asked; each names all three.
    fn audited(&self, has_others: bool) -> Vec<IntrusionEnd> {
        let records = std::iter::from_fn(|| self.world.next_record());
        let ends = records.filter_map(|record| match record {
            Record::Intrusion(record, _, end) => {
                let names = [&record.intruder, &record.target];
                assert_eq!(names, ["alice", "bob"]);
                // Of several that the target talks to, one is named.
                let third = record.third.as_deref();
                assert!(third == Some("carol") || (has_others && third == Some("erin")));
                Some(end)
            }
            Record::Call(_) | Record::Completion(_) => None,
        });
        ends.collect()
    }
}

/// What is to come of it; who would be let in is not, for something fails that has nothing to do with it.
fn expected(way: Way, [intruder, target, third]: [u8; 3], kind: Kind) -> IntrusionEnd {
    let denied = match kind {
        _ if intruder == 0 => Denied::NoRight,
        _ if intruder <= target => Denied::TargetProtected,
        Kind::Private => Denied::Private,
        Kind::Held => Denied::Held,
        Kind::Early => Denied::Ringing,
        Kind::Several => Denied::Several,
        Kind::Emergency => Denied::Emergency,
        Kind::Plain | Kind::Deaf if intruder <= third => Denied::ThirdProtected,
        Kind::Deaf if way != Way::Join => Denied::NoMeans,
        Kind::Plain | Kind::Deaf => return IntrusionEnd::Failed,
    };
    IntrusionEnd::Denied(denied)
}

fn every_cell(way: Way) {
    let levels = || 0..4_u8;
    for intruder in levels() {
        for (target, third) in levels().flat_map(|target| levels().map(move |it| (target, it))) {
            let scene = Scene::new(Setup::Levels([intruder, target, third]));
            for kind in KINDS {
                let cell = format!("{way:?} {intruder} {target} {third} {kind:?}");
                let talk = scene.talk(kind, way);
                let wanted = expected(way, [intruder, target, third], kind);
                let may = wanted == IntrusionEnd::Failed;
                assert_eq!(scene.attempt(way), may, "{cell}");
                // One attempt, one line.
                assert_eq!(scene.audited(kind == Kind::Several), [wanted], "{cell}");
                scene.ends(talk);
            }
        }
    }
}

/// T29: nobody joins who may not, and each attempt leaves its line.
#[test]
fn every_level_meets_every_other_in_every_kind_of_call() {
    every_cell(Way::Asked);
}

/// What was not offered may be pressed all the same.
#[test]
fn every_level_meets_every_other_by_digit() {
    every_cell(Way::Digit);
}

/// RFC 3911 §4: a phone that joins calls is asked for nobody who may not.
#[test]
fn every_level_meets_every_other_where_the_phone_joins_calls() {
    every_cell(Way::Join);
}

/// T29: a warning that nobody would hear lets nobody in.
#[test]
fn without_a_warning_that_can_be_heard_nobody_joins() {
    for way in [Way::Asked, Way::Digit] {
        let scene = Scene::new(Setup::Unwarned);
        let talk = scene.talk(Kind::Plain, way);
        assert!(!scene.attempt(way));
        let ends = scene.audited(false);
        assert!(matches!(ends[..], [IntrusionEnd::Denied(_)]), "{ends:?}");
        scene.ends(talk);
    }
}
