//! Intrusion: a supervisor joins a call by the phone of who talks, and nobody else does.
//!
//! Spec: RFC 3911 §4, §5, §7.1; RULES R17, R23; TAPI `LINECALLCOMPLMODE_INTRUDE`.

use std::time::Duration;

use campon::completion::Mode;
use campon::completion::intrusion::Denied;
use campon::completion::{CompletionId, Reject};
use campon::shard::provider::{Answer, Ask, CallReason, CallReport, CallState, Refusal};
use campon::shard::record::{IntrusionEnd, IntrusionRecord, Record};

use crate::flow::kit::completion::{MOMENT, REQUEST_LAST, dials_in_vain};
use crate::flow::kit::dialog::Dialog;
use crate::flow::kit::draft::{ANSWER, Draft, OFFER, bye, invite, reinvite, response};
use crate::flow::kit::message::Message;
use crate::flow::kit::party::Party;
use crate::flow::kit::scenes::{hang_up, refused};
use crate::flow::kit::subject::Setup;
use crate::flow::kit::world::World;

/// Longer than a caller is kept from his failure.
const ASK_TIME: Duration = Duration::from_secs(11);

/// What Bob's phone says of itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phone {
    Joins,
    Plain,
}

/// Bob speaks with somebody.
struct Talk {
    world: World,
    bob: Party,
    with: Party,
    others: Dialog,
    /// Bob's 200, or the INVITE that he got.
    invite: Message,
    answered: Message,
}

impl Talk {
    fn new(with: &str) -> Self {
        Self::of(with, Phone::Joins, |draft| draft)
    }

    fn of(with: &str, phone: Phone, change: impl Fn(Draft) -> Draft) -> Self {
        let world = World::new(Setup::Joining);
        let [bob, with] = ["bob", with].map(|name| world.phone(name));
        let sent = with.sends(change(invite("bob").with_sdp(OFFER)));
        let rings = bob.receives("INVITE");
        bob.answers(&rings, 180);
        with.receives("180");
        let ok = response(&rings, 200).with_sdp(ANSWER);
        let answered = bob.sends(match phone {
            Phone::Joins => ok.with("Supported", "replaces, join"),
            Phone::Plain => ok.with("Supported", "replaces"),
        });
        let answer = with.receives("200");
        with.acks(&sent, &answer);
        bob.receives("ACK");
        world.advance(Duration::from_secs(1));
        Self {
            others: Dialog::of_caller(&sent, &answer),
            world,
            bob,
            with,
            invite: rings,
            answered,
        }
    }

    fn ends(&self) {
        hang_up(&self.with, &self.others, &self.bob);
    }
}

/// Somebody calls Bob, who is busy, and is kept from it.
#[track_caller]
fn finds_busy(world: &World, caller: &Party) -> (Message, CallReport) {
    let sent = caller.sends(invite("bob").with_sdp(OFFER));
    caller.receives("100");
    world.is_asked(Ask::Calls(None));
    let Answer::Calls(calls) = world.answers() else {
        panic!("no calls");
    };
    let mut held = calls
        .into_iter()
        .filter(|call| call.state == CallState::Busy);
    let held = held.next().expect("a call that is held");
    (sent, held)
}

/// dwReason of what is offered to Bob.
fn why_bob_rings(world: &World) -> Option<CallReason> {
    let Answer::Calls(calls) = world.asks_at_once(Ask::Calls(Some("bob".into()))) else {
        panic!("no calls");
    };
    let mut calls = calls.into_iter();
    let rings = calls.find(|call| call.state == CallState::Offering)?;
    Some(rings.reason)
}

/// He asks to join.
fn intrudes(world: &World, call: &CallReport) {
    world.is_asked(Ask::Complete {
        call: call.call,
        mode: Some(Mode::Intrude),
        message: None,
    });
}

#[track_caller]
fn is_denied(world: &World, denied: Denied) {
    let Answer::Refused(Refusal::Completion(reject)) = world.answers() else {
        panic!("not refused");
    };
    assert_eq!(reject, Reject::IntrusionDenied(denied));
    assert_eq!(audited(world).1, IntrusionEnd::Denied(denied));
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

/// The caller hears what was kept from him.
#[track_caller]
fn hears_busy(caller: &Party, sent: &Message) {
    let busy = caller.receives_within(ASK_TIME, "486");
    caller.acks(sent, &busy);
}

#[test]
fn a_supervisor_joins_by_the_phone_that_talks() {
    let talk = Talk::new("carol");
    let Talk { world, bob, .. } = &talk;
    let alice = world.phone("alice");
    let (sent, held) = finds_busy(world, &alice);
    assert!(held.modes.contains(&Mode::Intrude), "{held:?}");
    intrudes(world, &held);
    let join = bob.receives("INVITE");
    // RFC 3911 §7.1: the dialog as Bob's phone knows it.
    let expected = format!(
        "{};to-tag={};from-tag={}",
        talk.invite.call_id(),
        talk.answered.tag_of_to(),
        talk.invite.tag_of_from(),
    );
    assert_eq!(join.header("Join"), expected);
    assert!(join.list("Require").contains(&"join"), "{join}");
    assert_eq!(join.uri(), bob.uri());
    assert_eq!(join.sdp(), sent.sdp());
    assert_eq!(why_bob_rings(world), Some(CallReason::Intrude));
    bob.answers(&join, 180);
    alice.receives("180");
    let Answer::Completed { id, .. } = world.answers() else {
        panic!("not accepted");
    };
    let answered = bob.sends(response(&join, 200).with_sdp(ANSWER));
    let answer = alice.receives("200");
    alice.acks(&sent, &answer);
    bob.receives("ACK");
    let (record, end) = audited(world);
    assert_eq!(
        (
            record.intruder.as_str(),
            record.target.as_str(),
            record.third.as_deref()
        ),
        ("alice", "bob", Some("carol"))
    );
    assert_eq!((record.joined.is_some(), end), (true, IntrusionEnd::Joined));
    // Its id has ended at once.
    world.is_asked(Ask::Uncomplete(id));
    let Answer::Refused(refusal) = world.answers() else {
        panic!("it lives");
    };
    assert_eq!(refusal, Refusal::Completion(Reject::UnknownCompletion));
    bob.sends(bye(&Dialog::of_callee(&join, &answered)));
    alice.is_hung_up_on();
    bob.receives("200");
    // What was completed has not failed.
    let answer = world.asks_at_once(Ask::Call(held.call));
    assert!(
        matches!(answer, Answer::Refused(Refusal::Call)),
        "{answer:?}"
    );
    dials_in_vain(&alice, REQUEST_LAST, "403");
    talk.ends();
}

#[test]
fn what_the_phone_says_to_it_is_what_the_intruder_gets() {
    let talk = Talk::new("carol");
    let Talk { world, bob, .. } = &talk;
    let alice = world.phone("alice");
    let (sent, held) = finds_busy(world, &alice);
    intrudes(world, &held);
    let join = bob.receives("INVITE");
    bob.refuses(&join, 488);
    refused(&alice, &sent, "488");
    let Answer::Refused(refusal) = world.answers() else {
        panic!("accepted");
    };
    assert_eq!(refusal, Refusal::Completion(Reject::MonitorRefused(488)));
    assert_eq!(audited(world).1, IntrusionEnd::Failed);
    talk.ends();
}

#[test]
fn an_intruder_who_hangs_up_joins_nothing() {
    let talk = Talk::new("carol");
    let Talk { world, bob, .. } = &talk;
    let alice = world.phone("alice");
    let (sent, held) = finds_busy(world, &alice);
    intrudes(world, &held);
    let join = bob.receives("INVITE");
    bob.answers(&join, 100);
    alice.gives_up(&sent);
    let cancel = bob.receives("CANCEL");
    bob.answers(&cancel, 200);
    bob.refuses(&join, 487);
    assert_eq!(audited(world).1, IntrusionEnd::Failed);
    assert!(matches!(world.answers(), Answer::Refused(_)));
    talk.ends();
}

#[test]
fn a_level_that_is_not_above_the_callees_is_denied() {
    let talk = Talk::new("carol");
    let dave = talk.world.phone("dave");
    let (sent, held) = finds_busy(&talk.world, &dave);
    intrudes(&talk.world, &held);
    is_denied(&talk.world, Denied::TargetProtected);
    hears_busy(&dave, &sent);
    talk.ends();
}

#[test]
fn a_third_party_is_protected_too() {
    for third in ["fred", "ginny"] {
        let talk = Talk::new(third);
        let alice = talk.world.phone("alice");
        let (sent, held) = finds_busy(&talk.world, &alice);
        intrudes(&talk.world, &held);
        is_denied(&talk.world, Denied::ThirdProtected);
        hears_busy(&alice, &sent);
        talk.ends();
    }
}

#[test]
fn who_has_no_level_is_not_even_offered_it() {
    let talk = Talk::new("carol");
    let erin = talk.world.phone("erin");
    let (sent, held) = finds_busy(&talk.world, &erin);
    assert!(!held.modes.contains(&Mode::Intrude), "{held:?}");
    intrudes(&talk.world, &held);
    let Answer::Refused(refusal) = talk.world.answers() else {
        panic!("accepted");
    };
    assert_eq!(refusal, Refusal::Completion(Reject::ModeNotOffered));
    // T29: it was an attempt all the same.
    let end = IntrusionEnd::Denied(Denied::NoRight);
    assert_eq!(audited(&talk.world).1, end);
    hears_busy(&erin, &sent);
    talk.ends();
}

#[test]
fn a_private_call_is_joined_by_nobody() {
    let private = |draft: Draft| draft.with("Privacy", "id");
    let talk = Talk::of("carol", Phone::Joins, private);
    let alice = talk.world.phone("alice");
    let (sent, held) = finds_busy(&talk.world, &alice);
    intrudes(&talk.world, &held);
    is_denied(&talk.world, Denied::Private);
    hears_busy(&alice, &sent);
    talk.ends();
}

/// RFC 7090: a call back from those who help.
#[test]
fn a_call_about_an_emergency_is_joined_by_nobody() {
    let urgent = |draft: Draft| draft.with("Priority", "psap-callback");
    let talk = Talk::of("carol", Phone::Joins, urgent);
    let alice = talk.world.phone("alice");
    let (sent, held) = finds_busy(&talk.world, &alice);
    intrudes(&talk.world, &held);
    is_denied(&talk.world, Denied::Emergency);
    hears_busy(&alice, &sent);
    talk.ends();
}

/// RULES R23: for an hour nothing of ours touches who has called for help, and then it may again.
#[test]
fn nobody_joins_a_call_of_who_has_called_for_help_within_the_hour() {
    for who in ["bob", "carol"] {
        let talk = Talk::new("carol");
        let world = &talk.world;
        let caller = if who == "bob" { &talk.bob } else { &talk.with };
        let [alice, help] = ["alice", "help"].map(|name| world.phone(name));
        let urgent = invite("help").with("Priority", "emergency");
        let sent = caller.sends(urgent.with_sdp(OFFER));
        let rings = help.receives("INVITE");
        help.refuses(&rings, 486);
        refused(caller, &sent, "486");
        world.advance(Duration::from_mins(30));
        for phone in [&alice, &talk.bob, &talk.with] {
            phone.registers();
        }
        world.advance(Duration::from_secs(1790));
        let (sent, held) = finds_busy(world, &alice);
        intrudes(world, &held);
        is_denied(world, Denied::Emergency);
        hears_busy(&alice, &sent);
        let (sent, held) = finds_busy(world, &alice);
        intrudes(world, &held);
        let join = talk.bob.receives("INVITE");
        talk.bob.refuses(&join, 603);
        refused(&alice, &sent, "603");
        assert!(matches!(world.answers(), Answer::Refused(_)));
        talk.ends();
    }
}

#[test]
fn a_call_on_hold_is_not_joined_until_it_goes_on() {
    let talk = Talk::new("carol");
    let Talk {
        world, bob, with, ..
    } = &talk;
    let alice = world.phone("alice");
    holds(with, &talk.others, bob, "sendonly", "recvonly");
    let (sent, held) = finds_busy(world, &alice);
    intrudes(world, &held);
    is_denied(world, Denied::Held);
    holds(with, &talk.others, bob, "sendrecv", "sendrecv");
    intrudes(world, &held);
    let join = bob.receives("INVITE");
    bob.refuses(&join, 603);
    refused(&alice, &sent, "603");
    assert!(matches!(world.answers(), Answer::Refused(_)));
    talk.ends();
}

/// The other party's re-INVITE changes which way sound goes.
#[track_caller]
fn holds(from: &Party, dialog: &Dialog, to: &Party, offer: &str, answer: &str) {
    let offer = OFFER.replace("sendrecv", offer);
    let sent = from.sends(reinvite(dialog).with_sdp(&offer));
    let got = to.receives("INVITE");
    let answer = ANSWER.replace("sendrecv", answer);
    to.sends(response(&got, 200).with_sdp(&answer));
    let ok = from.receives("200");
    from.acks(&sent, &ok);
    to.receives("ACK");
}

#[test]
fn a_phone_that_does_not_say_that_it_joins_is_not_asked() {
    let talk = Talk::of("carol", Phone::Plain, |draft| draft);
    let alice = talk.world.phone("alice");
    let (sent, held) = finds_busy(&talk.world, &alice);
    intrudes(&talk.world, &held);
    is_denied(&talk.world, Denied::NoMeans);
    hears_busy(&alice, &sent);
    talk.ends();
}

#[test]
fn a_call_that_only_rings_is_not_joined() {
    let world = World::new(Setup::Joining);
    let [bob, carol, alice] = ["bob", "carol", "alice"].map(|name| world.phone(name));
    let rings = carol.sends(invite("bob").with_sdp(OFFER));
    let invite = bob.receives("INVITE");
    bob.answers(&invite, 180);
    carol.receives("180");
    let (sent, held) = finds_busy(&world, &alice);
    intrudes(&world, &held);
    is_denied(&world, Denied::Ringing);
    world.advance(MOMENT);
    hears_busy(&alice, &sent);
    bob.refuses(&invite, 603);
    refused(&carol, &rings, "603");
}

/// A name that was made up is nobody's.
#[test]
fn a_call_that_is_not_held_is_not_completed_so() {
    let talk = Talk::new("carol");
    let world = &talk.world;
    world.is_asked(Ask::Calls(None));
    let Answer::Calls(calls) = world.answers() else {
        panic!("no calls");
    };
    for call in &calls {
        intrudes(world, call);
        let Answer::Refused(refusal) = world.answers() else {
            panic!("accepted");
        };
        assert_eq!(refusal, Refusal::State);
    }
    world.is_asked(Ask::Refuse(CompletionId::from_bits(1)));
    assert!(matches!(world.answers(), Answer::Refused(_)));
    talk.ends();
}
