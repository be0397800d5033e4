//! Completion between real phones behind Kamailio: the ways that it takes besides the first one.
//!
//! Spec: RULES R2, R9, R10, R18, R19. Which flow runs before which PBX is in `pbx/completion.rs`.

use crate::edge::{CODES, Office};
use crate::real::baresip::Baresip;
use crate::real::stage::Stage;

/// Bob talks with this caller.
pub fn talk(caller: &mut Baresip, bob: &mut Baresip) {
    caller.dial("bob");
    bob.wait_for("CALL_INCOMING");
    bob.tell("accept", "");
    caller.wait_for("CALL_ESTABLISHED");
    bob.wait_for("CALL_ESTABLISHED");
}

/// Bob hangs up on this caller.
pub fn ends(caller: &mut Baresip, bob: &mut Baresip) {
    bob.tell("hangup", "");
    caller.wait_for("CALL_CLOSED");
    bob.wait_for("CALL_CLOSED");
}

/// A call to Bob ends so; the caller asks to be called back.
pub fn waits(caller: &mut Baresip, status: &str) {
    caller.dial("bob");
    caller.wait_until("CALL_CLOSED", |why| why.contains(status));
    dials(caller, "*37#");
}

/// A code that is taken.
pub fn dials(caller: &mut Baresip, code: &str) {
    caller.dial(code);
    caller.wait_for("CALL_ESTABLISHED");
    caller.wait_for("CALL_CLOSED");
}

/// The caller's phone rings, and dials by itself when it is picked up; Bob answers.
pub fn is_connected(caller: &mut Baresip, bob: &mut Baresip) {
    caller.wait_for("CALL_INCOMING");
    caller.tell("accept", "");
    bob.wait_for("CALL_INCOMING");
    bob.tell("accept", "");
    bob.wait_for("CALL_ESTABLISHED");
    // The recall itself is over, and only the call to Bob is left.
    caller.wait_for("CALL_CLOSED");
    ends(caller, bob);
}

/// Both phones ring, one after the other, and are picked up.
pub fn pick_up(caller: &mut Baresip, bob: &mut Baresip) {
    for phone in [caller, &mut *bob] {
        phone.wait_for("CALL_INCOMING");
        phone.tell("accept", "");
    }
    bob.wait_for("CALL_ESTABLISHED");
}

/// The same with Alice, whom Bob then hears.
pub fn are_heard(alice: &mut Baresip, bob: &mut Baresip) {
    pick_up(alice, bob);
    alice.play_for_a_second();
    bob.wait_until_heard(Stage::tone_of("alice"));
}

/// What became of the requests.
pub fn assert_counted(office: &Office, wanted: &[(&str, u64)]) {
    let counted = office.campon.counted();
    for (what, count) in wanted {
        let name = format!("completions_{what}");
        let found = counted.iter().find(|(other, _)| *other == name);
        assert_eq!(found.map(|(_, count)| *count), Some(*count), "{name}");
    }
}

#[test]
fn callers_are_served_in_their_order_and_one_is_taken_back() {
    let office = Office::open("edge_order", 20, CODES);
    let [mut alice, mut bob, mut carol, mut dave] =
        office.phones(["alice", "bob", "carol", "dave"]);
    talk(&mut carol, &mut bob);
    waits(&mut alice, "486");
    waits(&mut dave, "486");
    ends(&mut carol, &mut bob);
    is_connected(&mut alice, &mut bob);
    is_connected(&mut dave, &mut bob);
    assert_counted(
        &office,
        &[("accepted", 2), ("recalled", 2), ("completed", 2)],
    );

    talk(&mut carol, &mut bob);
    waits(&mut alice, "486");
    waits(&mut dave, "486");
    dials(&mut alice, "#37#");
    ends(&mut carol, &mut bob);
    is_connected(&mut dave, &mut bob);
    let counts = [
        ("accepted", 4),
        ("recalled", 3),
        ("completed", 3),
        ("cancelled", 1),
    ];
    assert_counted(&office, &counts);
    let (captured, stage) = office.close([alice, bob, carol, dave]);
    let us = stage.campon_ip();
    // Whoever took it back was not rung again.
    for (user, recalls) in [("alice", 1), ("dave", 2)] {
        let rung = captured.between(us, stage.ip_of(user), "INVITE");
        assert_eq!(rung.len(), recalls, "{captured}");
    }
}

#[test]
fn silence_absence_and_a_second_refusal_are_waited_for_in_turn() {
    let office = Office::open("edge_conditions", 21, CODES);
    let [mut alice, mut bob, mut carol] = office.phones(["alice", "bob", "carol"]);
    // No reply: he is back when he has talked.
    alice.dial("bob");
    bob.wait_for("CALL_INCOMING");
    alice.wait_for("CALL_RINGING");
    alice.tell("hangup", "");
    bob.wait_for("CALL_CLOSED");
    alice.wait_for("CALL_CLOSED");
    dials(&mut alice, "*37#");
    talk(&mut carol, &mut bob);
    ends(&mut carol, &mut bob);
    // Busy again: he refuses the call, and has to be seen talking once more.
    alice.wait_for("CALL_INCOMING");
    alice.tell("accept", "");
    bob.wait_for("CALL_INCOMING");
    bob.tell("hangup", "");
    alice.wait_for("CALL_CLOSED");
    alice.wait_for("CALL_CLOSED");
    bob.wait_for("CALL_CLOSED");
    talk(&mut carol, &mut bob);
    ends(&mut carol, &mut bob);
    is_connected(&mut alice, &mut bob);
    assert_counted(
        &office,
        &[("accepted", 1), ("recalled", 2), ("completed", 1)],
    );

    // Not logged in: he is there again.
    bob.quit();
    alice.dial("bob");
    alice.wait_for("CALL_CLOSED");
    dials(&mut alice, "*37#");
    let [mut bob] = office.phones(["bob"]);
    is_connected(&mut alice, &mut bob);
    assert_counted(
        &office,
        &[("accepted", 2), ("recalled", 3), ("completed", 2)],
    );
    let (captured, stage) = office.close([alice, bob, carol]);
    let offers = ["NR", "NL"].map(|m| {
        let told = captured.messages.iter();
        let to_alice = |one: &&crate::real::capture::Wire| {
            one.goes(stage.campon_ip(), stage.ip_of("alice"))
                && one.field("sip.Call-Info").ends_with(&format!("m={m}"))
        };
        told.filter(to_alice).count()
    });
    assert!(
        offers.iter().all(|count| *count > 0),
        "{offers:?} {captured}"
    );
}

/// R10: Bob's phone rings, and the PBX hears nothing of it.
#[test]
fn a_callee_behind_kamailio_is_rung_without_it() {
    let more = format!("upstream.recall = [\"direct\"]\n{CODES}");
    let office = Office::open("edge_direct", 22, &more);
    let [mut alice, mut bob, mut carol] = office.phones(["alice", "bob", "carol"]);
    talk(&mut carol, &mut bob);
    waits(&mut alice, "486");
    ends(&mut carol, &mut bob);
    are_heard(&mut alice, &mut bob);
    bob.tell("hangup", "");
    alice.wait_for("CALL_CLOSED");
    assert_counted(
        &office,
        &[("accepted", 1), ("recalled", 1), ("completed", 1)],
    );
    let (captured, stage) = office.close([alice, bob, carol]);
    let (us, pbx) = (stage.campon_ip(), stage.pbx_ip());
    // Carol's call and Alice's first one, each challenged and repeated.
    assert_eq!(captured.between(us, pbx, "INVITE").len(), 4, "{captured}");
    assert_eq!(captured.between(us, stage.ip_of("bob"), "INVITE").len(), 3);
    stage.assert_audio_is_direct(&captured, ["alice", "bob"]);
}
