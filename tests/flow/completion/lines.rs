//! What a line is told of its requests, mode by mode, and what its calls say of themselves.
//!
//! Spec: TAPI `lineCompleteCall`, LINE_LINEDEVSTATE, LINE_CALLSTATE, LINECALLINFO; RULES R18, R24.

use std::time::Duration;

use campon::cc::capsule::CallIdentity;
use campon::completion::{CompletionId, Mode, Outcome, Reject};
use campon::shard::provider::{
    Answer, Ask, CallReason, CallReport, CallState, Direction, LineNews, Refusal,
};

use crate::flow::kit::completion::{
    BobIsBusy, CANCEL_LAST, MOMENT, REQUEST_LAST, connects, dials, picks_up, recalled,
};
use crate::flow::kit::dialog::Dialog;
use crate::flow::kit::draft::{ANSWER, OFFER, invite, reinvite, response};
use crate::flow::kit::scenes::{call, hang_up, refused};
use crate::flow::kit::subject::Setup;
use crate::flow::kit::world::World;

/// What was told since it was looked at last: line, and news by TAPI's names.
fn news(world: &World) -> Vec<String> {
    let named = |line: String, what: LineNews| match what {
        LineNews::CallState { state, .. } => format!("{line} CALLSTATE {state:?}"),
        LineNews::Connection { state, .. } => format!("{line} CALLSTATE {state:?} DIRECT"),
        LineNews::ComplCancel { outcome, .. } => format!("{line} COMPLCANCEL {outcome:?}"),
        LineNews::MsgWait { count: 0 } => format!("{line} MSGWAITOFF"),
        LineNews::MsgWait { count } => format!("{line} MSGWAITON {count}"),
        LineNews::NumCompletions { count } => format!("{line} NUMCOMPLETIONS {count}"),
    };
    let told = world.news().into_iter();
    told.map(|event| named(event.line, event.what)).collect()
}

fn calls_of(world: &World, line: &str) -> Vec<CallReport> {
    let Answer::Calls(calls) = world.asks_at_once(Ask::Calls(Some(line.into()))) else {
        panic!("no calls");
    };
    calls
}

/// The call of Alice's that has failed is completed in this mode.
fn completes(world: &World, mode: Mode, message: Option<u32>) -> CompletionId {
    let calls = calls_of(world, "alice");
    let [call] = calls.as_slice() else {
        panic!("one call: {calls:?}");
    };
    assert!(call.modes.contains(&mode), "{call:?}");
    world.is_asked(Ask::Complete {
        call: call.call,
        mode: Some(mode),
        message,
    });
    let Answer::Completed { id, number } = world.answers() else {
        panic!("not accepted");
    };
    assert_eq!(number, 1);
    id
}

/// It is no name of a request any more.
#[track_caller]
fn is_gone(world: &World, id: CompletionId) {
    world.is_asked(Ask::Uncomplete(id));
    let Answer::Refused(refusal) = world.answers() else {
        panic!("it lives");
    };
    assert_eq!(refusal, Refusal::Completion(Reject::UnknownCompletion));
}

/// There is no such call any more, and nothing to complete.
#[track_caller]
fn is_no_call(world: &World, call: CallIdentity) {
    let complete = Ask::Complete {
        call,
        mode: Some(Mode::Callback),
        message: None,
    };
    for ask in [Ask::Call(call), complete] {
        let answer = world.asks_at_once(ask);
        assert!(
            matches!(answer, Answer::Refused(Refusal::Call)),
            "{answer:?}"
        );
    }
}

/// The story: who read the lists of his line page by page got the same page for ever.
#[test]
fn the_lists_of_one_line_end_behind_what_is_on_it() {
    let scene = BobIsBusy::new();
    let (world, _) = scene.parts();
    let id = completes(world, Mode::Callback, None);
    for (after, count) in [(None, 1), (Some(id), 0)] {
        let answer = world.asks_of(Some("alice"), Ask::Completions(after));
        assert!(matches!(answer, Answer::Completions(found) if found.len() == count));
    }
    for (after, count) in [(None, 1), (Some("alice".into()), 0)] {
        let answer = world.asks_of(Some("alice"), Ask::Lines(after));
        assert!(matches!(answer, Answer::Lines(found) if found.len() == count));
    }
    world.is_asked(Ask::Uncomplete(id));
    assert!(matches!(world.answers(), Answer::Done));
    scene.bob_hangs_up();
}

fn calls_up(world: &World, line: &str) -> usize {
    let Answer::Line(line) = world.asks_at_once(Ask::Line(line.into())) else {
        panic!("no line");
    };
    line.calls as usize
}

/// R2: her leg is over, and what becomes of his is nothing to those who call her. She was engaged for
/// half a minute.
#[test]
fn who_could_not_be_connected_is_free_though_the_callee_answers_no_bye() {
    let scene = BobIsBusy::new();
    let (world, [alice, bob, _]) = scene.parts();
    let (_, cc_call) = scene.alice_is_called_back();
    bob.sends(response(&cc_call, 200).with_sdp(OFFER));
    let offer = alice.receives("INVITE");
    alice.refuses(&offer, 488);
    bob.receives("ACK");
    bob.receives("BYE");
    assert_eq!(calls_up(world, "alice"), 1);
    alice.is_hung_up_on();
    assert_eq!(calls_up(world, "alice"), 0);
    dials(alice, CANCEL_LAST);
    world.advance(Duration::from_secs(32));
    bob.receives_copies("BYE");
    assert_eq!(calls_up(world, "alice"), 0);
}

/// The same of one who hangs up while he is rung.
#[test]
fn who_hangs_up_on_a_callback_is_free_though_the_callee_answers_no_cancel() {
    let scene = BobIsBusy::new();
    let (world, [alice, bob, _]) = scene.parts();
    let (dialog, cc_call) = scene.alice_is_called_back();
    bob.answers(&cc_call, 180);
    assert_eq!(calls_up(world, "alice"), 1);
    alice.leaves(&dialog);
    bob.receives("CANCEL");
    assert_eq!(calls_up(world, "alice"), 0);
    dials(alice, CANCEL_LAST);
    world.advance(Duration::from_secs(64));
    bob.receives_copies("CANCEL");
    assert_eq!(calls_up(world, "alice"), 0);
}

#[test]
fn a_line_that_is_called_back_hears_each_step() {
    let scene = BobIsBusy::new();
    let (world, [alice, bob, _]) = scene.parts();
    news(world);
    let failed = calls_of(world, "alice").remove(0).call;
    let id = completes(world, Mode::Callback, None);
    assert_eq!(news(world), ["alice NUMCOMPLETIONS 1"]);
    scene.bob_is_free();
    let recall = recalled(alice);
    assert_eq!(news(world), ["alice CALLSTATE Offering"]);
    let calls = calls_of(world, "alice");
    let new = calls.iter().find(|call| call.state == CallState::Offering);
    let new = new.expect("a call that rings");
    assert_eq!(
        (new.direction, new.reason, new.completes),
        (Direction::In, CallReason::Completion, Some(id))
    );
    assert_eq!(new.party.as_deref(), Some("bob"));
    picks_up(alice, &recall);
    let cc_call = bob.receives("INVITE");
    assert_eq!(news(world), ["alice CALLSTATE Proceeding"]);
    let (dialog, _) = connects(alice, bob, &cc_call);
    assert_eq!(
        news(world),
        ["alice CALLSTATE Connected", "alice NUMCOMPLETIONS 0"]
    );
    is_gone(world, id);
    is_no_call(world, failed);
    hang_up(alice, &dialog, bob);
}

/// Who leaves word is not called back as well, and is told of one request.
#[test]
fn a_text_in_place_of_a_callback_is_one_request() {
    let scene = BobIsBusy::with(Setup::Texts);
    let (world, [_, bob, _]) = scene.parts();
    news(world);
    completes(world, Mode::Callback, None);
    assert_eq!(news(world), ["alice NUMCOMPLETIONS 1"]);
    let calls = calls_of(world, "alice");
    let call = calls.first().expect("the call that has failed").call;
    world.is_asked(Ask::Complete {
        call,
        mode: Some(Mode::Message),
        message: Some(0),
    });
    assert!(matches!(world.answers(), Answer::Completed { .. }));
    for count in news(world) {
        assert_eq!(count, "alice NUMCOMPLETIONS 1");
    }
    let Answer::Line(line) = world.asks_at_once(Ask::Line("alice".into())) else {
        panic!("no line");
    };
    assert_eq!(line.completions, 1);
    let text = bob.receives("MESSAGE");
    bob.answers(&text, 200);
    assert_eq!(news(world), ["alice NUMCOMPLETIONS 0"]);
    scene.bob_hangs_up();
}

/// The only call of Alice's that is up.
#[track_caller]
fn up(world: &World) -> CallReport {
    let calls = calls_of(world, "alice").into_iter();
    let mut up = calls.filter(|call| call.status.is_none());
    up.next().expect("a call that is up")
}

#[test]
fn a_call_that_waits_stays_and_its_callee_sees_that_it_has() {
    let scene = BobIsBusy::new();
    let (world, [alice, bob, _]) = scene.parts();
    news(world);
    let queued = invite("bob")
        .with_sdp(OFFER)
        .with("Request-Disposition", "queue");
    let sent = alice.sends(queued);
    alice.receives("182");
    assert_eq!(news(world), ["alice NUMCOMPLETIONS 1"]);
    let waits = calls_of(world, "alice").into_iter();
    let waits: Vec<_> = waits.filter(|call| call.status.is_none()).collect();
    assert!(
        matches!(waits.as_slice(), [call] if call.state == CallState::Busy
            && call.completion.is_some()),
        "{waits:?}"
    );
    let waits = up(world);
    let says = |call: &CallReport| (call.state, call.reason, call.completes);
    let completes = |state| (state, CallReason::Completion, waits.completion);
    assert_eq!(says(&waits), completes(CallState::Busy));
    world.advance(MOMENT);
    scene.bob_hangs_up();
    world.advance(Duration::from_secs(1));
    let rings = bob.receives("INVITE");
    let calls = calls_of(world, "bob");
    let [offered] = calls.as_slice() else {
        panic!("one call: {calls:?}");
    };
    assert_eq!(
        (offered.state, offered.reason),
        (CallState::Offering, CallReason::CampedOn)
    );
    bob.answers(&rings, 180);
    alice.receives("180");
    assert_eq!(says(&up(world)), completes(CallState::Ringback));
    let answer = bob.takes_call(&rings, alice, &sent);
    assert_eq!(
        news(world),
        [
            "alice CALLSTATE Ringback",
            "alice CALLSTATE Connected",
            "alice NUMCOMPLETIONS 0"
        ]
    );
    assert_eq!(says(&up(world)), completes(CallState::Connected));
    hang_up(alice, &Dialog::of_caller(&sent, &answer), bob);
    // What was completed has not failed.
    is_no_call(world, waits.call);
}

/// It was told as one that had failed and could be completed, by who had just dropped it.
#[test]
fn a_call_that_waits_and_is_taken_down_is_gone() {
    let scene = BobIsBusy::new();
    let (world, [alice, ..]) = scene.parts();
    let queued = invite("bob")
        .with_sdp(OFFER)
        .with("Request-Disposition", "queue");
    let sent = alice.sends(queued);
    alice.receives("182");
    let waits = up(world);
    news(world);
    world.is_asked(Ask::Disconnect(waits.call));
    assert!(matches!(world.answers(), Answer::Done));
    refused(alice, &sent, "487");
    assert_eq!(news(world), ["alice NUMCOMPLETIONS 0"]);
    is_no_call(world, waits.call);
    scene.bob_hangs_up();
}

#[test]
fn a_text_that_lights_a_lamp_is_told_to_both_lines() {
    let scene = BobIsBusy::with(Setup::Texts);
    let (world, [_, bob, _]) = scene.parts();
    news(world);
    let id = completes(world, Mode::Message, Some(0));
    assert_eq!(news(world), ["alice NUMCOMPLETIONS 1"]);
    let text = bob.receives("MESSAGE");
    bob.answers(&text, 405);
    assert_eq!(news(world), ["bob MSGWAITON 1"]);
    world.is_asked(Ask::Uncomplete(id));
    assert!(matches!(world.answers(), Answer::Done));
    let mut told = news(world);
    told.sort_unstable();
    assert_eq!(told, ["alice NUMCOMPLETIONS 0", "bob MSGWAITOFF"]);
    is_gone(world, id);
    scene.bob_hangs_up();
}

/// Only what a line has not asked for itself is told it as COMPLCANCEL.
#[test]
fn a_request_that_an_operator_ends_is_told_to_its_line() {
    let scene = BobIsBusy::new();
    let (world, [alice, _, _]) = scene.parts();
    let id = completes(world, Mode::Callback, None);
    news(world);
    world.is_asked(Ask::Refuse(id));
    assert!(matches!(world.answers(), Answer::Done));
    let refused = format!("alice COMPLCANCEL {:?}", Outcome::Refused);
    assert_eq!(news(world), [refused.as_str(), "alice NUMCOMPLETIONS 0"]);
    is_gone(world, id);
    dials(alice, REQUEST_LAST);
    let Answer::Completions(found) = world.asks_at_once(Ask::Completions(None)) else {
        panic!("no requests");
    };
    let [again] = found.as_slice() else {
        panic!("one request: {found:?}");
    };
    news(world);
    world.is_asked(Ask::Uncomplete(again.id));
    assert!(matches!(world.answers(), Answer::Done));
    assert_eq!(news(world), ["alice NUMCOMPLETIONS 0"]);
    scene.bob_hangs_up();
}

#[test]
fn a_call_on_hold_says_so() {
    let world = World::new(Setup::Joining);
    let [alice, bob] = ["alice", "bob"].map(|name| world.phone(name));
    let talk = call(&alice, &bob);
    let state = || calls_of(&world, "alice").first().map(|call| call.state);
    assert_eq!(state(), Some(CallState::Connected));
    let holds =
        alice.sends(reinvite(&talk.caller).with_sdp(&OFFER.replace("sendrecv", "sendonly")));
    let offer = bob.receives("INVITE");
    bob.sends(response(&offer, 200).with_sdp(&ANSWER.replace("sendrecv", "recvonly")));
    let held = alice.receives("200");
    alice.acks(&holds, &held);
    bob.receives("ACK");
    assert_eq!(state(), Some(CallState::OnHold));
    hang_up(&alice, &talk.caller, &bob);
}
