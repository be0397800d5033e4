//! An INVITE with a `Join` or `Replaces` of its sender's own: to know the id of a call is no right to it.
//!
//! Spec: RFC 3911 §4, §8; RFC 3891 §3, §7; RULES R17; threats T30.

use campon::shard::record::{IntrusionRecord, Record};

use super::kit::completion::MOMENT;
use super::kit::dialog::Dialog;
use super::kit::draft::{ANSWER, Draft, OFFER, invite, response, within};
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

/// Dave speaks with Erin.
fn call_to(dave: &Party, erin: &Party) -> Dialog {
    let sent = dave.sends(invite("erin").with_sdp(OFFER));
    let rings = erin.receives("INVITE");
    let answer = erin.takes_call(&rings, dave, &sent);
    Dialog::of_caller(&sent, &answer)
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
    let answer = bob.takes_call(&rings, &carol, &sent);
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
    bob.refuses(&asked, 488);
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
    bob.refuses(&asked, 488);
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

fn replaces(talk: &Call) -> Draft {
    let id = id(&talk.caller);
    invite("bob").with("Replaces", &id).with_sdp(OFFER)
}

/// A lamp shows the id to many.
#[test]
fn who_was_not_referred_to_a_call_does_not_take_it_over() {
    let (world, [_, bob, carol], talk) = talk();
    for name in ["erin", "dave"] {
        let phone = world.phone(name);
        let sent = phone.sends(replaces(&talk));
        refused(&phone, &sent, "403");
    }
    bob.receives_nothing();
    assert_eq!(world.counted("rejected_replace_forbidden"), 2);
    hang_up(&carol, &talk.caller, &bob);
}

/// Nor does the word of a third one help: only a party may refer to its call.
#[test]
fn who_is_referred_to_somebody_elses_call_does_not_take_it_over() {
    let (world, [_, bob, carol], talk) = talk();
    let [dave, erin] = ["dave", "erin"].map(|name| world.phone(name));
    let others = call_to(&dave, &erin);
    let named = id(&talk.caller).replace('@', "%40").replace(';', "%3B");
    let named = named.replace('=', "%3D");
    let target = format!("<sip:bob@192.0.2.1?Replaces={named}>");
    dave.sends(within(&others, "REFER").with("Refer-To", &target));
    let asked = erin.receives("REFER");
    erin.answers(&asked, 202);
    dave.receives("202");
    let sent = erin.sends(replaces(&talk));
    refused(&erin, &sent, "403");
    bob.receives_nothing();
    hang_up(&dave, &others, &erin);
    hang_up(&carol, &talk.caller, &bob);
}

/// A call that rings may be picked up, and who may join a call may take it over.
#[test]
fn who_picks_up_and_who_has_the_level_reaches_the_phone() {
    let (world, [alice, bob, carol], talk) = talk();
    let sent = alice.sends(replaces(&talk));
    let asked = bob.receives("INVITE");
    assert!(asked.header("Replaces").starts_with(&*talk.callee.call_id));
    bob.refuses(&asked, 603);
    refused(&alice, &sent, "603");
    hang_up(&carol, &talk.caller, &bob);
    let sent = carol.sends(invite("bob").with_sdp(OFFER));
    let rings = bob.receives("INVITE");
    bob.answers(&rings, 180);
    let ringing = carol.receives("180");
    let dialog = Dialog::of_caller(&sent, &ringing);
    let erin = world.phone("erin");
    let draft = invite("bob").with("Replaces", &format!("{};early-only", id(&dialog)));
    let picks = erin.sends(draft.with_sdp(OFFER));
    let asked = bob.receives("INVITE");
    bob.refuses(&asked, 603);
    refused(&erin, &picks, "603");
    bob.refuses(&rings, 603);
    refused(&carol, &sent, "603");
}

/// T31: whatever it names, and whether anybody is there.
#[test]
fn a_call_for_help_is_refused_for_nothing_that_it_names() {
    let (world, [_, bob, carol], talk) = talk();
    let erin = world.phone("erin");
    let id = id(&talk.caller);
    for names in [["Join", "Replaces"], ["Join", "X"], ["Replaces", "X"]] {
        let draft = names
            .into_iter()
            .fold(invite("112"), |draft, name| draft.with(name, &id));
        let sent = erin.sends(draft.with_sdp(OFFER));
        let refusal = erin.receives_final();
        erin.acks(&sent, &refusal);
        assert!(![400, 403].contains(&refusal.status()), "{refusal}");
    }
    assert!(audited(&world).is_empty());
    hang_up(&carol, &talk.caller, &bob);
}
