//! An INVITE with a `Join` of its sender's own: no way round the rights of who joins calls.
//!
//! Spec: RFC 3911 §4, §8; RFC 3891 §3; RULES R17; threats T30.

use campon::shard::record::{IntrusionRecord, Record};

use super::kit::completion::MOMENT;
use super::kit::dialog::Dialog;
use super::kit::draft::{ANSWER, Draft, OFFER, invite, response};
use super::kit::message::param;
use super::kit::party::Party;
use super::kit::scenes::{Call, call, hang_up, refused};
use super::kit::subject::Setup;
use super::kit::world::World;

/// Carol speaks with Bob, who is protected against the first level; Alice has the second.
fn talk() -> (World, [Party; 3], Call) {
    let world = World::new(Setup::Joining);
    let parties = ["alice", "bob", "carol"].map(|name| world.phone(name));
    let talk = call(&parties[2], &parties[1]);
    (world, parties, talk)
}

/// How a lamp, or the phone itself, shows the call.
fn id(dialog: &Dialog) -> String {
    let tag = |address: &str| param(address, "tag").expect("a tag").to_owned();
    let (to, from) = (tag(&dialog.remote), tag(&dialog.local));
    format!("{};to-tag={to};from-tag={from}", dialog.call_id)
}

fn joins(talk: &Call) -> Draft {
    invite("bob")
        .with("Join", &id(&talk.caller))
        .with_sdp(OFFER)
}

/// What was written down of all attempts since this was last asked.
fn audited(world: &World) -> Vec<(IntrusionRecord, &'static str)> {
    let records = std::iter::from_fn(|| world.next_record());
    let attempts = records.filter_map(|record| match record {
        Record::Intrusion(record, _, end) => Some((*record, end.as_str())),
        Record::Call(_) | Record::Completion(_) => None,
    });
    attempts.collect()
}

#[track_caller]
fn assert_audited(world: &World, intruder: &str, outcome: &str) -> IntrusionRecord {
    let mut found = audited(world);
    assert_eq!(found.len(), 1, "{found:?}");
    let (record, end) = found.remove(0);
    let names = (
        record.intruder.as_str(),
        record.target.as_str(),
        record.third.as_deref(),
    );
    assert_eq!(
        (names, end),
        ((intruder, "bob", Some("carol")), outcome),
        "{record:?}"
    );
    record
}

/// T30: to know the id is not to have the right.
#[test]
fn who_has_no_right_joins_no_call_by_its_id() {
    let (world, [_, bob, carol], talk) = talk();
    for (name, outcome) in [("erin", "no-right"), ("dave", "target-protected")] {
        let phone = world.phone(name);
        for draft in [joins(&talk), joins(&talk).with("Priority", "emergency")] {
            let sent = phone.sends(draft);
            refused(&phone, &sent, "403");
            bob.receives_nothing();
            assert_audited(&world, name, outcome);
        }
    }
    assert_eq!(world.counted("rejected_join_forbidden"), 4);
    hang_up(&carol, &talk.caller, &bob);
}

#[test]
fn nobody_joins_a_private_call_by_its_id() {
    let world = World::new(Setup::Joining);
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| world.phone(name));
    let sent = carol.sends(invite("bob").with("Privacy", "id").with_sdp(OFFER));
    let rings = bob.receives("INVITE");
    bob.sends(response(&rings, 200).with_sdp(ANSWER));
    let answer = carol.receives("200");
    carol.acks(&sent, &answer);
    bob.receives("ACK");
    let dialog = Dialog::of_caller(&sent, &answer);
    let draft = invite("bob").with("Join", &id(&dialog));
    let joins = alice.sends(draft.with_sdp(OFFER));
    refused(&alice, &joins, "403");
    assert_audited(&world, "alice", "private");
    hang_up(&carol, &dialog, &bob);
}

#[test]
fn who_has_the_right_may_and_it_is_written_down() {
    let (world, [alice, bob, carol], talk) = talk();
    let sent = alice.sends(joins(&talk));
    let asked = bob.receives("INVITE");
    assert!(
        asked
            .header("Join")
            .starts_with(talk.callee.call_id.as_str())
    );
    assert!(audited(&world).is_empty());
    let answered = bob.sends(response(&asked, 200).with_sdp(ANSWER));
    let answer = alice.receives("200");
    alice.acks(&sent, &answer);
    bob.receives("ACK");
    world.advance(MOMENT);
    hang_up(&alice, &Dialog::of_caller(&sent, &answer), &bob);
    let record = assert_audited(&world, "alice", "joined");
    assert!(record.joined.is_some());
    // What his phone says to it is what she gets.
    let sent = alice.sends(joins(&talk));
    let asked = bob.receives("INVITE");
    bob.answers(&asked, 488);
    bob.receives("ACK");
    refused(&alice, &sent, "488");
    assert_audited(&world, "alice", "failed");
    assert_ne!(answered.tag_of_to(), "");
    hang_up(&carol, &talk.caller, &bob);
}

/// Each of the two may have his own call joined, by another phone of his.
#[test]
fn whose_call_it_is_may_join_it() {
    let (world, [_, bob, carol], talk) = talk();
    let cell = world.phone("carol");
    let sent = cell.sends(joins(&talk));
    let asked = bob.receives("INVITE");
    bob.answers(&asked, 488);
    bob.receives("ACK");
    refused(&cell, &sent, "488");
    assert!(audited(&world).is_empty());
    hang_up(&carol, &talk.caller, &bob);
}

/// A tag that is not ours to the last digit names nothing: the phone that gets it says so.
#[test]
fn an_id_that_is_guessed_names_no_call() {
    let (world, [alice, bob, carol], talk) = talk();
    let id = id(&talk.caller);
    let tag = param(&talk.caller.remote, "tag").expect("a tag").to_owned();
    for digit in ["0", "f"] {
        let guessed = format!("{}{digit}", &tag[..tag.len() - 1]);
        if guessed == tag {
            continue;
        }
        for name in ["Join", "Replaces"] {
            let draft = invite("bob").with(name, &id.replace(&tag, &guessed));
            let sent = alice.sends(draft.with_sdp(OFFER));
            // Bob has a call already, and this one has nothing to do with it.
            refused_at_last(&world, &alice, &sent);
            bob.receives_nothing();
        }
    }
    assert!(audited(&world).is_empty());
    hang_up(&carol, &talk.caller, &bob);
}

/// Who is busy is busy, also for who is kept from hearing so for a while.
#[track_caller]
fn refused_at_last(world: &World, caller: &Party, sent: &super::kit::message::Message) {
    let mut waited = 0;
    while caller.waiting() == 0 && waited < 400 {
        world.advance(MOMENT);
        waited += 1;
    }
    refused(caller, sent, "486");
}

/// RFC 3891 §3, RFC 3911 §4: 400.
#[test]
fn an_invite_names_one_call_at_most() {
    let (world, [alice, bob, carol], talk) = talk();
    let id = id(&talk.caller);
    for names in [
        ["Replaces", "Replaces"],
        ["Join", "Join"],
        ["Join", "Replaces"],
    ] {
        let draft = names
            .into_iter()
            .fold(invite("bob"), |draft, name| draft.with(name, &id));
        let sent = alice.sends(draft.with_sdp(OFFER));
        refused(&alice, &sent, "400");
    }
    assert_eq!(world.counted("rejected_dialogs_too_many"), 3);
    bob.receives_nothing();
    hang_up(&carol, &talk.caller, &bob);
}
