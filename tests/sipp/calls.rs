//! Flows of what happens within a call: acknowledged ringing, changes, transfers, refreshes.
//!
//! Spec: RFC 3262; RFC 3311; RFC 3515; RFC 3891; RFC 4028; RFC 3261 §14.

use std::net::Ipv4Addr;

use crate::act::Dialog;
use crate::bridge::Bridge;
use crate::message::uri;
use crate::player::finish;
use crate::stage::Phone::{Alice, AliceAtHome, Bob, Carol, Dave, Eve};
use crate::stage::{Stage, Transport, network};
use crate::trace::Trace;

#[test]
fn a_prack_on_both_legs_crosses_with_its_offer() {
    let stage = Stage::open("prack_both");
    let call = stage.play_call("prack_both", Transport::Udp);
    call.assert_sound();
    // S-57: the offer in the PRACK, and the answer in its 200.
    call.assert_callees_bodies_cross();
    let told = call.caller.received_nth("183 INVITE sdp", 0);
    assert_eq!(told.header("Require"), "100rel");
    let prack = call.callee.received_nth("PRACK sdp", 0);
    let (number, _) = call.invite_out().cseq();
    assert_eq!(prack.header("RAck"), format!("7001 {number} INVITE"));
    assert_ne!(told.header("RSeq"), "7001");
    stage.close();
}

#[test]
fn a_prack_on_the_callees_leg_alone_is_campons() {
    let stage = Stage::open_with("prack_one_side", "[calls]\nreliable = \"always\"\n");
    let call = stage.play_call("prack_one_side", Transport::Udp);
    call.assert_sound();
    call.assert_callees_bodies_cross();
    // S-59
    let told = call.caller.received_nth("183 INVITE sdp", 0);
    assert!(!told.has("Require") && !told.has("RSeq"), "{told}");
    assert_eq!(call.invite_out().header("Supported"), "100rel");
    let prack = call.callee.received_nth("PRACK", 0);
    let (number, _) = call.invite_out().cseq();
    assert_eq!(prack.header("RAck"), format!("7001 {number} INVITE"));
    stage.close();
}

#[test]
fn updates_that_cross_are_put_off_and_come_again() {
    let stage = Stage::open("update_glare");
    let call = stage.play_call("update_glare", Transport::Udp);
    call.assert_sound();
    let again = call.caller.received_nth("200 UPDATE sdp", 0);
    // S-70: the second change is answered as if there had been no first one.
    assert_eq!(
        again.body(),
        call.callee.sent_nth("200 UPDATE sdp", 0).body()
    );
    stage.close();
}

#[test]
fn campon_refreshes_the_session_of_a_callee() {
    let config = "[calls]\nsession_expires = \"2s\"\nmin_se = \"1s\"\n";
    let stage = Stage::open_with("session_timer_refresh", config);
    let call = stage.play_call("session_timer_refresh", Transport::Udp);
    call.assert_sound();
    assert_eq!(call.invite_out().header("Session-Expires"), "2");
    assert!(
        !call
            .caller
            .received_nth("200 INVITE sdp", 0)
            .has("Session-Expires")
    );
    for nth in 0..2 {
        // S-95
        let refresh = call.callee.received_nth("UPDATE", nth);
        assert_eq!(refresh.header("Session-Expires"), "2;refresher=uac");
    }
    stage.close();
}

#[test]
fn a_session_that_nobody_refreshes_is_ended_on_both_sides() {
    let stage = Stage::open_with("session_timer_expiry", "[calls]\nmin_se = \"1s\"\n");
    let call = stage.play_call("session_timer_expiry", Transport::Udp);
    call.assert_sound();
    let agreed = call.caller.received_nth("200 INVITE sdp", 0);
    assert_eq!(agreed.header("Session-Expires"), "3;refresher=uac");
    for phone in [&call.caller, &call.callee] {
        // S-96
        let bye = phone.received_nth("BYE", 0);
        let reason = "SIP;cause=408;text=\"Session timer expired\"";
        assert_eq!(bye.header("Reason"), reason);
    }
    stage.close();
}

#[test]
fn a_redirection_crosses_with_its_targets() {
    let stage = Stage::open("redirect_302");
    let call = stage.play_call("redirect_302", Transport::Udp);
    assert_ne!(call.invite_in().call_id(), call.invite_out().call_id());
    let (said, heard) = (
        call.callee.sent_nth("302 INVITE", 0),
        call.caller.received_nth("302 INVITE", 0),
    );
    // S-32
    for name in ["Contact", "Diversion"] {
        assert_eq!(heard.header(name), said.header(name), "{name}");
    }
    stage.close();
}

#[test]
fn two_phones_of_a_callee_ring_in_dialogs_of_their_own() {
    let stage = Stage::open("fork_two_early_dialogs");
    stage.register(&[Bob]);
    // Carol's place is Bob's other phone.
    let cell = stage.act("registration.phone", Carol).with("user", "bob");
    cell.play();
    let desk = stage.wait_at("fork_two_early_dialogs.winner", Bob);
    let cell = stage.wait_at("fork_two_early_dialogs.loser", Carol);
    let alice = stage.start("fork_two_early_dialogs.caller", Alice, Transport::Udp);
    let traces = finish(vec![alice, desk, cell]);
    let [alice, desk, cell] = traces.as_slice() else {
        panic!("three traces");
    };
    let tags = [0, 1].map(|nth| alice.received_nth("180 INVITE", nth).tag_of_to());
    // S-12
    assert_ne!(tags[0], tags[1]);
    let answer = alice.received_nth("200 INVITE sdp", 0).tag_of_to();
    assert!(tags.contains(&answer));
    let call_ids = [desk, cell].map(|phone| phone.received_nth("INVITE sdp", 0).call_id());
    assert_eq!(call_ids[0], call_ids[1]);
    let cancel = cell.received_nth("CANCEL", 0).header("Reason");
    assert!(cancel.contains("cause=200"), "{cancel}");
    stage.close();
}

#[test]
fn a_blind_transfer_is_reported_to_who_asked_for_it() {
    let stage = Stage::open_with("refer_blind", "[calls]\ncalls_max = 3\n");
    stage.register(&[Alice, Bob, Carol]);
    let asked = stage.wait_at("refer_blind.callee", Bob);
    let alice = stage.start("refer_blind.caller", Alice, Transport::Udp);
    let asked = asked.finish();
    let refer = asked.received_nth("REFER", 0);
    assert_eq!(
        refer.header("Referred-By"),
        format!("<sip:alice@{}>", stage.domain())
    );
    let target = uri(refer.header("Refer-To")).to_owned();
    let talk = Transfer {
        target,
        extra: format!("Referred-By: {}", refer.header("Referred-By")),
    };
    talk.play(&stage);
    let mut dialog = Dialog::made_at(&asked, "INVITE");
    let done = stage
        .act("refer_blind.done", Bob)
        .within(&mut dialog)
        .start();
    let traces = finish(vec![alice, done]);
    // S-161
    let news = [0, 1].map(|nth| {
        let notify = traces[0].received_nth("NOTIFY sipfrag", nth);
        String::from_utf8_lossy(notify.body()).trim().to_owned()
    });
    assert_eq!(news, ["SIP/2.0 100 Trying", "SIP/2.0 200 OK"]);
    stage.close();
}

#[test]
fn an_attended_transfer_replaces_the_call_that_it_names() {
    let stage = Stage::open_with("refer_attended_replaces", "[calls]\ncalls_max = 3\n");
    stage.register(&[Alice, Bob, Carol]);
    let consulted = stage.wait_at("refer_attended_replaces.consulted", Carol);
    let consultation = stage.start(
        "refer_attended_replaces.consultation",
        AliceAtHome,
        Transport::Udp,
    );
    let traces = finish(vec![consultation, consulted]);
    let (hers, carols) = (&traces[0], &traces[1]);
    let answer = hers.received_nth("200 INVITE sdp", 0);
    let [to, from] = [answer.tag_of_to(), answer.tag_of_from()].map(|tag| tag.expect("a tag"));
    let id = format!("{}%3Bto-tag%3D{to}%3Bfrom-tag%3D{from}", answer.call_id());
    let asked = stage.wait_at("refer_blind.callee", Bob);
    let refers = stage.act("refer_attended_replaces.caller", Alice);
    let alice = refers.with("replaces", id.replace('@', "%40")).start();
    let asked = asked.finish();

    let refer_to = asked.received_nth("REFER", 0).header("Refer-To").to_owned();
    let (target, replaces) = uri(&refer_to).split_once("?Replaces=").expect("a Replaces");
    let replaces = [("%3B", ";"), ("%3D", "="), ("%40", "@")]
        .iter()
        .fold(replaces.to_owned(), |text, (escape, plain)| {
            text.replace(escape, plain)
        });
    // S-167: her call as Carol knows it.
    let invite = carols.received_nth("INVITE sdp", 0);
    let carols_tag = carols.sent_nth("200 INVITE sdp", 0).tag_of_to();
    let (carols_tag, ours) = (
        carols_tag.expect("a tag"),
        invite.tag_of_from().expect("a tag"),
    );
    let call_id = invite.call_id();
    let expected = format!("{call_id};to-tag={carols_tag};from-tag={ours}");
    assert_eq!(replaces, expected);
    let talk = Transfer {
        target: target.to_owned(),
        extra: format!("Replaces: {replaces}"),
    };
    let taken = talk.play(&stage);
    // S-168
    assert_eq!(
        taken.received_nth("INVITE sdp", 0).header("Replaces"),
        expected
    );

    let left = stage.wait_at("refer_attended_replaces.left", AliceAtHome);
    let mut dialog = Dialog::made_at(carols, "INVITE");
    let replaced = stage.act("refer_attended_replaces.replaced", Carol);
    let replaced = replaced.within(&mut dialog).start();
    finish(vec![left, replaced]);
    let mut dialog = Dialog::made_at(&asked, "INVITE");
    let done = stage
        .act("refer_blind.done", Bob)
        .within(&mut dialog)
        .start();
    finish(vec![alice, done]);
    stage.close();
}

/// What Bob's phone was asked to call.
struct Transfer {
    target: String,
    extra: String,
}

impl Transfer {
    /// Bob calls, Carol answers and hangs up; what she saw comes back.
    fn play(&self, stage: &Stage) -> Trace {
        let carol = stage.wait_at("transfer.target", Carol);
        let bob = stage.act("transfer.transferee", Bob);
        let bob = bob
            .with("target", &*self.target)
            .with("extra", &*self.extra)
            .start();
        let mut traces = finish(vec![bob, carol]).into_iter();
        traces.nth(1).expect("Carol's trace")
    }
}

/// The INVITE of a stranger who calls for help, while campon stops and all its users are busy.
#[test]
fn a_call_for_help_gets_through_while_others_are_refused() {
    let name = "emergency_bypasses_limits";
    let [a, b, c, d] = network(name).octets();
    let services = Ipv4Addr::new(a, b, c, d + 6);
    let config =
        format!("upstream = \"sip:{services}\"\n[calls]\ncalls_max = 1\nemergency = [\"112\"]\n");
    let stage = Stage::open_with(name, &config);
    stage.register(&[Bob, Dave]);
    let talk = stage.talk();
    stage.drain();
    stage.act("emergency_bypasses_limits.refused", Alice).play();
    let services = stage.wait_at("emergency_bypasses_limits.callee", Eve);
    let alice = stage.start("emergency_bypasses_limits.caller", Alice, Transport::Udp);
    let call = Bridge::of(finish(vec![alice, services]));
    call.assert_callees_bodies_cross();
    stage.hang_up(talk, None).hang_up();
    stage.close_drained();
}
