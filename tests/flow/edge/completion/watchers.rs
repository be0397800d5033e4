//! Phones that wait by the dialog package in front of a PBX, which tells all others.
//!
//! Spec: RULES R15; RFC 4235.

use super::Office;
use crate::flow::edge::{address, from, invite};
use crate::flow::kit::completion::GUARD;
use crate::flow::kit::dialog::Dialog;
use crate::flow::kit::draft::{Draft, within};
use crate::flow::kit::party::Party;
use crate::flow::kit::relayed::{ends, watch, watches};
use crate::flow::kit::subject::Setup;

/// As Yealink's phones subscribe, for a minute.
fn watch_bob(alice: &Party) -> Draft {
    from(watch(alice, &address("bob"), "dialog"), "alice").with_only("Expires", "60")
}

/// Alice's phone is told of one dialog of Bob's.
#[track_caller]
fn sees(alice: &Party, state: &str) {
    let [told] = alice.receives_each(["NOTIFY"]);
    alice.answers(&told, 200);
    assert!(
        told.sdp().contains(&format!("<state>{state}</state>")),
        "{told}"
    );
}

#[test]
fn a_phone_that_waits_for_who_is_busy_is_told_by_campon_and_not_by_the_pbx() {
    let office = Office::new(Setup::Edge);
    let talk = office.carol_talks();
    office.alice_finds_bob_busy();
    let alice = &office.alice;
    alice.sends(watch_bob(alice));
    alice.receives("200");
    sees(alice, "confirmed");
    office.pbx.receives_nothing();
    office.is_over(&office.carol, &talk);
    office.world.advance(GUARD);
    sees(alice, "terminated");
    let call = office.passes(alice, invite("alice", "bob"));
    let talk = office.is_answered(alice, &call);
    sees(alice, "confirmed");
    office.is_over(alice, &talk);
    office.has_nothing_left();
    office.world.stays_quiet();
}

#[test]
fn a_lamp_is_the_pbxs_to_light_whoever_was_called_before() {
    let office = Office::new(Setup::Edge);
    let (alice, pbx) = (&office.alice, &office.pbx);
    let lamp = from(watch(alice, &address("bob"), "dialog"), "alice");
    let lamp = watches(alice, pbx, lamp);
    let talk = office.carol_talks();
    office.alice_finds_bob_busy();
    // Where the phone has a lamp for him, another SUBSCRIBE may be one as well; for an hour, surely.
    for draft in [
        watch_bob(alice),
        from(watch(alice, &address("bob"), "dialog"), "alice"),
    ] {
        let other = watches(alice, pbx, draft);
        ends(pbx, &other.far, alice);
    }
    ends(pbx, &lamp.far, alice);
    office.is_over(&office.carol, &talk);
    // Nobody has asked to be called back.
    office.world.stays_quiet();
}

#[test]
fn who_has_not_called_in_vain_is_told_by_the_pbx() {
    let office = Office::new(Setup::Edge);
    let (alice, pbx) = (&office.alice, &office.pbx);
    let marked = watch_bob(alice).with_only("Event", "dialog;purpose=call-completion");
    for draft in [watch_bob(alice), marked] {
        let watching = watches(alice, pbx, draft);
        ends(pbx, &watching.far, alice);
    }
}

#[test]
fn where_the_pbx_knows_no_dialogs_campon_tells_who_waits() {
    for status in [404, 489] {
        let office = Office::new(Setup::Edge);
        let (alice, pbx) = (&office.alice, &office.pbx);
        let talk = office.carol_talks();
        office.alice_finds_bob_busy();
        // So long a time would be a lamp's.
        let long = from(watch(alice, &address("bob"), "dialog"), "alice");
        let sent = alice.sends(long);
        let arrived = pbx.receives("SUBSCRIBE");
        pbx.answers(&arrived, status);
        let accepted = alice.receives("200");
        sees(alice, "confirmed");
        let dialog = Dialog::of_caller(&sent, &accepted);
        office.is_over(&office.carol, &talk);
        office.world.advance(GUARD);
        sees(alice, "terminated");
        let end = within(&dialog, "SUBSCRIBE").with("Event", "dialog");
        alice.sends(end.with("Expires", "0"));
        alice.receives("200");
        sees(alice, "confirmed");
    }
}

#[test]
fn other_refusals_of_a_lamp_pass() {
    let office = Office::new(Setup::Edge);
    let (alice, pbx) = (&office.alice, &office.pbx);
    let talk = office.carol_talks();
    office.alice_finds_bob_busy();
    for (draft, status) in [
        (from(watch(alice, &address("bob"), "dialog"), "alice"), 403),
        // Nobody has called her.
        (from(watch(alice, &address("dora"), "dialog"), "alice"), 489),
    ] {
        alice.sends(draft);
        let arrived = pbx.receives("SUBSCRIBE");
        pbx.answers(&arrived, status);
        alice.receives(&status.to_string());
    }
    office.is_over(&office.carol, &talk);
}
