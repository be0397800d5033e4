//! Who may join whose call by a mixer: every level against every other, in every kind of call.
//!
//! Spec: RULES R17; ECMA-202; threats T29, T31.

use std::time::Duration;

use campon::completion::Mode;
use campon::media::desk::Command;
use campon::media::room::News;
use campon::shard::provider::{Answer, Ask, CallState};
use campon::shard::record::{IntrusionEnd, Record};

use crate::flow::kit::dialog::Dialog;
use crate::flow::kit::draft::{ANSWER, OFFER, invite, reinvite, response};
use crate::flow::kit::party::Party;
use crate::flow::kit::scenes::hang_up;
use crate::flow::kit::subject::Setup;
use crate::flow::kit::world::World;

/// What kind of call Bob and Carol have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Plain,
    Private,
    Emergency,
    Held,
}

struct Scene {
    world: World,
    alice: Party,
    bob: Party,
    carol: Party,
}

impl Scene {
    fn new(setup: Setup) -> Self {
        let world = World::new(setup);
        let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| world.phone(name));
        Self {
            world,
            alice,
            bob,
            carol,
        }
    }

    /// Carol and Bob talk.
    fn talk(&self, kind: Kind) -> Dialog {
        let draft = invite("bob").with_sdp(OFFER);
        let sent = self.carol.sends(match kind {
            Kind::Plain | Kind::Held => draft,
            Kind::Private => draft.with("Privacy", "id"),
            Kind::Emergency => draft.with("Priority", "psap-callback"),
        });
        let rings = self.bob.receives("INVITE");
        self.bob.sends(response(&rings, 200).with_sdp(ANSWER));
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
        dialog
    }

    /// Alice asks to join it; whether anybody was about to be put on a mixer.
    fn attempt(&self) -> bool {
        let world = &self.world;
        let sent = self.alice.sends(invite("bob").with_sdp(OFFER));
        self.alice.receives("183");
        let Some(Command::Open { room, .. }) = world.next_sound() else {
            panic!("a room opens");
        };
        world.is_asked(Ask::Calls(None));
        let Answer::Calls(calls) = world.answers() else {
            panic!("no calls");
        };
        let mut busy = calls.iter().filter(|call| call.state == CallState::Busy);
        let call = busy.next().expect("a call that is held").call;
        world.is_asked(Ask::Complete {
            call,
            mode: Some(Mode::Intrude),
            message: None,
        });
        let mut is_let_in = false;
        while let Some(command) = world.next_sound() {
            is_let_in |= matches!(command, Command::Reserve { .. });
        }
        if is_let_in {
            // It is enough to know that it would be.
            world.hears(room, News::Unreserved);
        }
        self.carol.receives_nothing();
        self.bob.receives_nothing();
        self.alice.cancels(&sent);
        let [_, gone] = self.alice.receives_each(["200", "487"]);
        self.alice.acks(&sent, &gone);
        while world.next_sound().is_some() {}
        while !world.has_not_answered() {}
        is_let_in
    }

    /// The ends of all attempts since this was last asked.
    fn audited(&self) -> Vec<IntrusionEnd> {
        let records = std::iter::from_fn(|| self.world.next_record());
        let ends = records.filter_map(|record| match record {
            Record::Intrusion(record, _, end) => {
                assert_eq!(
                    (record.intruder.as_str(), record.target.as_str()),
                    ("alice", "bob")
                );
                Some(end)
            }
            Record::Call(_) | Record::Completion(_) => None,
        });
        ends.collect()
    }
}

/// T29: nobody joins who may not, and each attempt leaves its line.
#[test]
fn every_level_meets_every_other_in_every_kind_of_call() {
    let levels = || 0..4_u8;
    for intruder in levels() {
        for (target, third) in levels().flat_map(|target| levels().map(move |it| (target, it))) {
            let scene = Scene::new(Setup::Levels([intruder, target, third]));
            for kind in [Kind::Plain, Kind::Private, Kind::Emergency, Kind::Held] {
                let cell = format!("{intruder} {target} {third} {kind:?}");
                let talk = scene.talk(kind);
                let may = intruder > target && intruder > third && kind == Kind::Plain;
                assert_eq!(scene.attempt(), may, "{cell}");
                let ends = scene.audited();
                let [end] = ends[..] else {
                    panic!("{cell}: one attempt, one line: {ends:?}");
                };
                let is_denied = matches!(end, IntrusionEnd::Denied(_));
                assert_eq!(
                    (is_denied, end == IntrusionEnd::Joined),
                    (!may, false),
                    "{cell}"
                );
                hang_up(&scene.carol, &talk, &scene.bob);
                scene.world.advance(Duration::from_secs(1));
            }
        }
    }
}

/// T29: a warning that nobody would hear lets nobody in.
#[test]
fn without_a_warning_that_can_be_heard_nobody_joins() {
    let scene = Scene::new(Setup::Unwarned);
    let talk = scene.talk(Kind::Plain);
    assert!(!scene.attempt());
    let ends = scene.audited();
    assert!(matches!(ends[..], [IntrusionEnd::Denied(_)]), "{ends:?}");
    hang_up(&scene.carol, &talk, &scene.bob);
}
