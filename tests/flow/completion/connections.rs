//! Calls that an application makes: what their line is told, what they are said to be, how they end.
//!
//! Spec: TAPI ITBasicCallControl::Connect, ::Disconnect, LINE_CALLSTATE, LINECALLINFO; RULES R24.

use campon::cc::capsule::CallIdentity;
use campon::shard::provider::{Answer, Ask, CallReason, CallReport, CallState, LineNews, Refusal};
use campon::shard::record::{CallRecord, End, Ender, Record};

use crate::flow::kit::completion::{LONG, RING, connects, picks_up, recalled, stops_ringing};
use crate::flow::kit::dialog::Dialog;
use crate::flow::kit::party::Party;
use crate::flow::kit::scenes::hang_up;
use crate::flow::kit::subject::{DOMAIN, Setup};
use crate::flow::kit::world::World;

/// Where records are written: Alice is to be connected with Bob, and her phone is there.
fn connecting() -> (World, [Party; 2], CallIdentity) {
    let world = World::new(Setup::Unwarned);
    let parties = ["alice", "bob"].map(|name| world.phone(name));
    world.is_asked(to_bob("alice"));
    let Answer::Connected(call) = world.answers() else {
        panic!("not connected");
    };
    assert_eq!(told(&world, call), [CallState::Offering]);
    (world, parties, call)
}

fn to_bob(from: &str) -> Ask {
    Ask::Connect {
        from: from.into(),
        to: "bob".into(),
    }
}

/// What Alice's line was told of this call, and nobody of anything else.
#[track_caller]
fn told(world: &World, of: CallIdentity) -> Vec<CallState> {
    let states = world.news().into_iter().map(|event| match event.what {
        LineNews::Connection {
            call,
            asked: None,
            state,
            callee,
        } if call == of && event.line == "alice" && callee == "bob" => state,
        LineNews::CallState { .. }
        | LineNews::ComplCancel { .. }
        | LineNews::Connection { .. }
        | LineNews::MsgWait { .. }
        | LineNews::NumCompletions { .. } => panic!("other news: {:?}", event.what),
    });
    states.collect()
}

#[track_caller]
fn the_call(world: &World, call: CallIdentity) -> CallReport {
    let Answer::Call(report) = world.asks_at_once(Ask::Call(call)) else {
        panic!("no such call");
    };
    report
}

#[track_caller]
fn record(world: &World) -> CallRecord {
    let record = world.next_record().expect("a record");
    let Record::Call(record) = record else {
        panic!("no call: {record:?}");
    };
    *record
}

/// Both answer: the end of Alice, who talks to Bob.
fn talk(world: &World, [alice, bob]: &[Party; 2], call: CallIdentity) -> Dialog {
    let rings = recalled(alice);
    assert_eq!(told(world, call), []);
    picks_up(alice, &rings);
    let offered = bob.receives("INVITE");
    assert_eq!(told(world, call), [CallState::Proceeding]);
    let (dialog, _) = connects(alice, bob, &offered);
    assert_eq!(told(world, call), [CallState::Connected]);
    dialog
}

#[test]
fn a_line_that_is_connected_hears_each_step_and_completes_nothing() {
    let (world, parties, call) = connecting();
    let rings = the_call(&world, call);
    assert_eq!(
        (rings.state, rings.reason, rings.completes),
        (CallState::Offering, CallReason::Direct, None)
    );
    assert_eq!(rings.party.as_deref(), Some("bob"));
    let dialog = talk(&world, &parties, call);
    let talks = the_call(&world, call);
    assert_eq!(
        (talks.state, talks.reason, talks.completes),
        (CallState::Connected, CallReason::Direct, None)
    );
    let [alice, bob] = &parties;
    hang_up(alice, &dialog, bob);
    assert_eq!(told(&world, call), [CallState::Idle]);
    let record = record(&world);
    assert_eq!(
        (record.end, record.completion.is_none()),
        (End::Answered, true)
    );
}

#[test]
fn a_connection_that_is_taken_down_is_told_to_its_line_once() {
    let (world, parties, call) = connecting();
    talk(&world, &parties, call);
    world.is_asked(Ask::Disconnect(call));
    assert!(matches!(world.answers(), Answer::Done));
    for party in &parties {
        party.is_hung_up_on();
    }
    assert_eq!(told(&world, call), [CallState::Idle]);
    let record = record(&world);
    assert_eq!((record.end, record.by), (End::Answered, Ender::Campon));
    world.advance(LONG);
    assert_eq!(told(&world, call), []);
}

/// Refused, taken back or not answered: the line hears that it is over, and its record completes nothing.
#[test]
fn a_connection_that_comes_to_nothing_is_told_to_its_line_once() {
    for how in ["refused", "taken back", "not answered", "callee busy"] {
        let (world, [alice, bob], call) = connecting();
        let rings = recalled(&alice);
        match how {
            "refused" => alice.refuses(&rings, 603),
            "taken back" => {
                world.is_asked(Ask::Disconnect(call));
                assert!(matches!(world.answers(), Answer::Done));
                stops_ringing(&alice, &rings);
            }
            "not answered" => {
                world.advance(RING);
                stops_ringing(&alice, &rings);
            }
            _ => {
                picks_up(&alice, &rings);
                let offered = bob.receives("INVITE");
                assert_eq!(told(&world, call), [CallState::Proceeding]);
                bob.refuses(&offered, 486);
                alice.is_hung_up_on();
            }
        }
        assert_eq!(told(&world, call), [CallState::Idle], "{how}");
        world.advance(LONG);
        assert_eq!(told(&world, call), [], "{how}");
        assert!(record(&world).completion.is_none(), "{how}");
    }
}

/// The story: Bob's phone rang whatever host he was named at, and by UDP where TLS was asked for.
#[test]
fn a_connection_leads_to_whom_it_names_or_nowhere() {
    for to in [
        "bob@elsewhere.example".to_owned(),
        format!("sips:bob@{DOMAIN}"),
    ] {
        let world = World::new(Setup::Standalone);
        let [alice, bob] = ["alice", "bob"].map(|name| world.phone(name));
        world.is_asked(Ask::Connect {
            from: "alice".into(),
            to: to.into(),
        });
        assert!(matches!(world.answers(), Answer::Connected(_)));
        let rings = recalled(&alice);
        picks_up(&alice, &rings);
        alice.is_hung_up_on();
        bob.receives_nothing(); // S-30
        world.quiet();
    }
}

#[test]
fn who_is_no_line_is_connected_with_nobody() {
    let world = World::new(Setup::Standalone);
    let _bob = world.phone("bob");
    world.is_asked(to_bob("nobody"));
    let Answer::Refused(refusal) = world.answers() else {
        panic!("somebody rings");
    };
    assert_eq!(refusal, Refusal::Line);
    assert!(world.news().is_empty());
}
