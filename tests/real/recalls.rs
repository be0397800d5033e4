//! Completion between real phones behind Kamailio: recalls that come to nothing at first, and requests
//! that need none.
//!
//! Spec: RULES R2, R4, R9, R10, R18. Which flow runs before which PBX is in `pbx/completion.rs`.

use std::net::SocketAddr;
use std::time::Duration;

use crate::completion::{are_heard, assert_counted, dials, ends, is_connected, talk, waits};
use crate::edge::{CODES, Office};
use crate::pbx::Phone;
use crate::pbx::completion::subscriber::{is_told, publishes, subscribes};
use crate::process::wait_for;
use crate::real::baresip::{Baresip, Setup};
use crate::real::kamailio::Kamailio;
use crate::real::stage::Stage;

/// How long phones may take to find out that the PBX has forgotten them.
const AGAIN_MAX: Duration = Duration::from_mins(1);

/// Nobody is called back before whatever the test does by hand.
const UNHURRIED_GUARD: &str = r#"
completion.codes.request_last = "*37#"
completion.guard = "15s"
"#;

/// Whoever lets his phone ring is soon called again.
const PATIENT: &str = r#"
completion.codes.request_last = "*37#"
completion.guard = "300ms"
completion.ring = "1s"
completion.rest = "3s"
"#;

/// Who finds nobody may leave a text.
const TEXTS: &str = r#"
completion.codes.message = "*39*{index}#"
completion.messages.texts = ["please call back"]
"#;

/// RULES R20: a text goes to the phone itself, past Kamailio.
#[test]
fn a_text_is_left_for_a_phone_behind_kamailio_that_is_busy() {
    let office = Office::open("edge_texts", 33, TEXTS);
    let [mut alice, mut bob, mut carol] = office.phones(["alice", "bob", "carol"]);
    talk(&mut carol, &mut bob);
    alice.dial("bob");
    alice.wait_until("CALL_CLOSED", |why| why.contains("486"));
    dials(&mut alice, "*39*0#");
    let is_taken = |(name, count): &(String, u64)| name == "completions_completed" && *count == 1;
    let taken = wait_for(AGAIN_MAX, || {
        office.campon.counted().into_iter().find(is_taken)
    });
    taken.expect("a text that is taken");
    ends(&mut carol, &mut bob);
    let (captured, stage) = office.close([alice, bob, carol]);
    let (us, b) = (stage.campon_ip(), stage.ip_of("bob"));
    let texts = captured.between(us, b, "MESSAGE");
    assert_eq!(texts.len(), 1, "{captured}");
    let taken = captured.between(b, us, "200 MESSAGE");
    assert_eq!(taken.len(), 1, "{captured}");
}

#[test]
fn who_reaches_the_other_by_hand_is_not_called_back() {
    let office = Office::open("edge_by_hand", 24, UNHURRIED_GUARD);
    let [mut alice, mut bob, mut carol] = office.phones(["alice", "bob", "carol"]);
    talk(&mut carol, &mut bob);
    waits(&mut alice, "486");
    ends(&mut carol, &mut bob);
    // She is quicker than her recall.
    talk(&mut alice, &mut bob);
    assert_counted(&office, &[("accepted", 1), ("completed", 1)]);
    ends(&mut alice, &mut bob);

    talk(&mut carol, &mut bob);
    waits(&mut alice, "486");
    ends(&mut carol, &mut bob);
    // He rings back by himself.
    bob.dial("alice");
    alice.wait_for("CALL_INCOMING");
    alice.tell("accept", "");
    bob.wait_for("CALL_ESTABLISHED");
    alice.wait_for("CALL_ESTABLISHED");
    let counts = [("accepted", 2), ("completed", 2), ("recalled", 0)];
    assert_counted(&office, &counts);
    ends(&mut alice, &mut bob);
    office.close([alice, bob, carol]);
}

#[test]
fn a_recall_is_let_pass_and_declined_and_put_off() {
    let office = Office::open("edge_passed", 25, PATIENT);
    let [mut alice, mut bob, mut carol, mut dave] =
        office.phones(["alice", "bob", "carol", "dave"]);
    talk(&mut carol, &mut bob);
    waits(&mut alice, "486");
    ends(&mut carol, &mut bob);
    // She does not hear it.
    alice.wait_for("CALL_INCOMING");
    alice.wait_for("CALL_CLOSED");
    // Then she does, and Bob declines.
    alice.wait_for("CALL_INCOMING");
    alice.tell("accept", "");
    bob.wait_for("CALL_INCOMING");
    bob.tell("hangup", "");
    alice.wait_for("CALL_CLOSED");
    alice.wait_for("CALL_CLOSED");
    bob.wait_for("CALL_CLOSED");
    assert_counted(&office, &[("recalled", 2), ("completed", 0)]);
    // His next talk ends while she has another call: she is put off, and called when she is free.
    talk(&mut carol, &mut bob);
    dave.dial("alice");
    alice.wait_for("CALL_INCOMING");
    alice.tell("accept", "");
    dave.wait_for("CALL_ESTABLISHED");
    ends(&mut carol, &mut bob);
    // More than the guard time.
    dave.play_for_a_second();
    ends(&mut dave, &mut alice);
    is_connected(&mut alice, &mut bob);
    assert_counted(
        &office,
        &[("accepted", 1), ("recalled", 3), ("completed", 1)],
    );
    let (captured, stage) = office.close([alice, bob, carol, dave]);
    let (us, a, b) = (stage.campon_ip(), stage.ip_of("alice"), stage.ip_of("bob"));
    // R2: Carol's two calls, Alice's first one, the one that he declined and the last: no storm.
    assert_eq!(captured.between(us, b, "INVITE").len(), 5, "{captured}");
    // Dave's call, the two recalls, and the last one: none while she talked.
    let rung = captured.between(us, a, "INVITE");
    let recalls = rung
        .iter()
        .filter(|one| !one.field("sip.Alert-Info").is_empty());
    let at = |one: &crate::real::capture::Wire| {
        let time = one.field("frame.time_epoch").parse::<f64>();
        time.expect("a time")
    };
    let recalls: Vec<f64> = recalls.map(|one| at(one)).collect();
    assert_eq!(recalls.len(), 3, "{captured}");
    let talked = rung.iter().find(|one| one.field("sip.from.user") == "dave");
    let talked = talked.map(|one| at(one)).expect("Dave's call");
    let byes = captured.between(us, a, "200 BYE");
    let hung_up = byes.iter().map(|one| at(one)).find(|time| *time > talked);
    let hung_up = hung_up.expect("the end of Dave's call");
    let meanwhile = recalls
        .iter()
        .filter(|time| (talked..hung_up).contains(*time));
    assert_eq!(meanwhile.count(), 0, "{captured}");
}

/// R9: the PBX sends to its mailbox whoever finds Bob busy, and the one who is called back as well.
#[test]
fn a_mailbox_behind_kamailio_is_not_the_callee() {
    let stage = Stage::open("edge_mailbox", 26);
    let (kamailio, mut mailbox) = stage.kamailio_with_mailbox();
    let office = Office::before(stage, kamailio, CODES);
    let [mut alice, mut bob, mut carol] = office.phones(["alice", "bob", "carol"]);
    talk(&mut carol, &mut bob);
    alice.dial("bob");
    mailbox.wait_for("CALL_ESTABLISHED");
    alice.tell("hangup", "");
    mailbox.wait_for("CALL_CLOSED");
    alice.wait_for("CALL_CLOSED");
    dials(&mut alice, "*37#");
    ends(&mut carol, &mut bob);
    alice.wait_for("CALL_INCOMING");
    alice.tell("accept", "");
    bob.wait_for("CALL_INCOMING");
    bob.tell("hangup", "");
    mailbox.wait_for("CALL_ESTABLISHED");
    // The recall is over, the call stays.
    alice.wait_for("CALL_CLOSED");
    alice.tell("hangup", "");
    mailbox.wait_for("CALL_CLOSED");
    alice.wait_for("CALL_CLOSED");
    assert_counted(&office, &[("recalled", 1), ("completed", 0)]);
    talk(&mut carol, &mut bob);
    ends(&mut carol, &mut bob);
    is_connected(&mut alice, &mut bob);
    assert_counted(
        &office,
        &[("accepted", 1), ("recalled", 2), ("completed", 1)],
    );
    mailbox.quit();
    office.close([alice, bob, carol]);
}

/// R10: her phone is put through from an address of campon's own, which Kamailio trusts.
#[test]
fn a_caller_behind_kamailio_is_put_through_from_an_address_of_our_own() {
    let stage = Stage::open("edge_own_calls", 27);
    let [a, b, c, _] = stage.network().octets();
    let own = format!("{a}.{b}.{c}.9");
    let trust = format!(
        "if (is_method(\"INVITE\") && $si == \"{own}\") \
         {{ record_route(); dlg_manage(); route(LOCATE); }}\n"
    );
    let challenged = "\t# everything else is challenged, INVITE too\n";
    let kamailio = Kamailio::start_with(
        stage.folder(),
        stage.pbx_ip().into(),
        &[(challenged, &trust)],
        "",
    );
    let more = format!("upstream.recall = [\"3pcc\"]\nown_calls.listen = \"{own}:5060\"\n{CODES}");
    let office = Office::before(stage, kamailio, &more);
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
    let own = own.parse().expect("an address");
    let ours = captured.between(own, stage.pbx_ip(), "INVITE");
    // R4: in her name, once, and asked for no password.
    let names: Vec<_> = ours.iter().map(|one| one.field("sip.from.user")).collect();
    assert_eq!(names.first(), Some(&"alice"), "{captured}");
    assert_eq!(captured.between(stage.pbx_ip(), own, "407 INVITE").len(), 0);
    assert_eq!(
        captured
            .between(stage.campon_ip(), stage.ip_of("alice"), "REFER")
            .len(),
        0
    );
}

/// A phone that speaks RFC 6910 itself: it is told, calls through Kamailio, and may not be there.
#[test]
fn a_subscriber_behind_kamailio_is_told_when_it_is_his_turn() {
    let office = Office::open("edge_subscriber", 28, CODES);
    let [mut bob, mut carol] = office.phones(["bob", "carol"]);
    let place = SocketAddr::new(office.stage.ip_of("alice").into(), 5060);
    let mut alice = Phone::open("alice", place, office.stage.campon_at());
    alice.register(300);
    talk(&mut carol, &mut bob);
    let mut busy = alice.dial("sip:bob@pbx.test");
    let refusal = alice.hear(&mut busy, 486);
    let mut queue = subscribes(&mut alice, &refusal);
    let uri = is_told(&mut alice, &mut queue, "cc-URI");
    publishes(&mut alice, &uri, "closed");
    ends(&mut carol, &mut bob);
    // More than the guard time.
    alice.stays_quiet(Duration::from_millis(900));
    publishes(&mut alice, &uri, "open");
    assert_eq!(is_told(&mut alice, &mut queue, "cc-state"), "ready");
    let mut out = alice.dial(&format!("{uri};m=BS"));
    bob.wait_for("CALL_INCOMING");
    bob.tell("accept", "");
    alice.hear_at_last(&mut out, 200);
    bob.wait_for("CALL_ESTABLISHED");
    let last = alice.agree(&mut queue, "NOTIFY");
    let state = last.first("Subscription-State");
    assert_eq!(state, Some("terminated;reason=noresource"), "{last}");
    alice.hang_up(&mut out.dialog);
    bob.wait_for("CALL_CLOSED");
    assert_counted(
        &office,
        &[("accepted", 1), ("recalled", 1), ("completed", 1)],
    );
    alice.close();
    let (captured, stage) = office.close([bob, carol]);
    // R3: with her own password, to the number that she dialled first.
    let passed = captured.between(stage.campon_ip(), stage.pbx_ip(), "INVITE");
    let last = passed.last().expect("the call that completes");
    assert!(
        last.field("sip.r-uri").starts_with("sip:bob@pbx.test;cce="),
        "{captured}"
    );
}

/// Kamailio knows nobody any more, and then those who have registered anew.
#[test]
fn a_caller_is_called_back_though_kamailio_was_started_anew() {
    let mut office = Office::open("edge_restarted", 29, CODES);
    let [mut alice, mut bob, mut carol] = ["alice", "bob", "carol"].map(|user| {
        let setup = Setup {
            proxy: &format!("sip:{}:5060", office.stage.campon_ip()),
            expires: 8,
            ..office.stage.setup(user)
        };
        Baresip::start(office.stage.folder(), &setup)
    });
    for phone in [&mut alice, &mut bob, &mut carol] {
        phone.wait_until_registered();
    }
    talk(&mut carol, &mut bob);
    waits(&mut alice, "486");
    office.kamailio.kill();
    office.kamailio.start_again();
    let again = wait_for(AGAIN_MAX, || {
        let known = ["alice", "bob"].map(|user| office.kamailio.contacts(user).len());
        (known == [1, 1]).then_some(())
    });
    assert!(again.is_some(), "the phones are not registered anew");
    ends(&mut carol, &mut bob);
    is_connected(&mut alice, &mut bob);
    assert_counted(
        &office,
        &[("accepted", 1), ("recalled", 1), ("completed", 1)],
    );
    office.close([alice, bob, carol]);
}
