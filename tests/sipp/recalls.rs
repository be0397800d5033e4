//! Flows of completion: who called a busy, silent or absent Bob is called back, or is not.
//!
//! Spec: RFC 6910 §6, §7; RFC 6665 §4; RFC 3903; RFC 3725 §4.4 (flow IV).
//!
//! Bob is kept busy by Dave; the scenario files hold what each phone demands of each message.

use std::time::Duration;

use crate::act::Dialog;
use crate::bridge::Bridge;
use crate::line::listen;
use crate::message::{Message, name_addr, uri};
use crate::player::finish;
use crate::stage::Phone::{Alice, AliceAtHome, Bob, Carol, Eve};
use crate::stage::{Stage, Transport};
use crate::trace::{Direction, Trace};

/// A recall as short as a test wants it.
const QUICK: &str = "recall = \"2s\"\nring = \"1500ms\"";

/// How long Bob is left alone.
const GUARD: Duration = Duration::from_millis(300);

/// A configuration with all codes and a short guard time.
fn config(times: &str) -> String {
    let guard = GUARD.as_millis();
    format!(
        r##"
[completion]
guard = "{guard}ms"
{times}

[completion.codes]
request_last = "*37#"
cancel_last = "*39#"
cancel_all = "#37#"
"##
    )
}

#[test]
fn who_may_not_ask_is_not_offered_completion() {
    let play = |stage: Stage| {
        stage.register(&[Bob]);
        let bob = stage.wait_at("busy.callee", Bob);
        let alice = stage.start("busy_without_offer.caller", Alice, Transport::Udp);
        finish(vec![alice, bob]);
        stage.close_served(&[]);
    };
    // A stranger: no flow of hers is registered.
    play(Stage::open_with("busy_without_offer", &config(QUICK)));
    let stage = Stage::open_with("completion_off", "[completion]\nenabled = false\n");
    stage.register(&[Alice]);
    play(stage);
}

#[test]
fn who_called_a_busy_callee_is_recalled_when_he_has_hung_up() {
    let stage = Stage::open_with("ccbs_recall", &config(QUICK));
    stage.register(&[Alice, Bob]);
    let talk = stage.talk();
    let mut alice = stage.start("ccbs_recall.caller", Alice, Transport::Udp);
    alice.wait_until_said("200 NOTIFY", 1);
    let bob = stage.hang_up(talk, Some(("basic_call.callee", 1)));
    let (alice, bob) = (alice.finish(), bob.hang_up());
    assert_cc_call(&alice, &bob);
    // Bob's lines are his own for the guard time.
    let freed = bob.time_of(Direction::Sent, "BYE", 0);
    assert!(between(freed, told_ready(&alice)) >= GUARD);
    let told = told(&alice);
    let states = told
        .iter()
        .map(|news| (news.state.as_str(), news.life.as_str()));
    let expected = [
        ("queued", "active"),
        ("ready", "active"),                        // CC-41
        ("queued", "terminated;reason=noresource"), // CC-46
    ];
    assert!(states.eq(expected), "{told:?}");
    let cc_uri = cc_call(&alice).request_uri().strip_suffix(";m=BS");
    // CC-70
    assert!(
        told.iter().all(|news| Some(news.cc_uri.as_str()) == cc_uri),
        "{told:?}"
    );
    stage.close_completed();
}

#[test]
fn who_called_a_silent_callee_is_recalled_when_he_has_talked_again() {
    let stage = Stage::open_with("ccnr_recall", &config(QUICK));
    stage.register(&[Alice, Bob]);
    let bob = stage.wait_at("ccnr_recall.callee", Bob);
    let mut alice = stage.start("ccnr_recall.caller", Alice, Transport::Udp);
    alice.wait_until_said("200 NOTIFY", 1);
    bob.finish();
    let talk = stage.talk();
    let bob = stage.hang_up(talk, Some(("basic_call.callee", 1)));
    let (alice, bob) = (alice.finish(), bob.hang_up());
    assert_cc_call(&alice, &bob);
    let offers = ["180 INVITE", "480 INVITE"].map(|label| alice.received_nth(label, 0));
    let [early, late] = offers.map(|told| told.header("Call-Info"));
    // CC-30: while it rings and when it failed, of the same mode.
    for offer in [early, late] {
        assert!(offer.ends_with(";purpose=call-completion;m=NR"), "{offer}");
    }
    // CC-33
    let asked = alice.sent_nth("SUBSCRIBE", 0).request_uri();
    assert_eq!(asked, format!("{};m=NR", uri(late)));
    stage.close_completed();
}

#[test]
fn who_called_an_absent_callee_is_recalled_when_he_has_registered() {
    let stage = Stage::open_with("ccnl_recall", &config(QUICK));
    stage.register(&[Alice, Bob]);
    stage.play("deregistration.callee", Bob, Transport::Udp);
    let mut alice = stage.start("ccnl_recall.caller", Alice, Transport::Udp);
    alice.wait_until_said("200 NOTIFY", 1);
    let bob = stage.line("ccnl_recall.line", Bob, ("basic_call.callee", 1));
    let (alice, bob) = (alice.finish(), bob.hang_up());
    assert_cc_call(&alice, &bob);
    stage.close_completed();
}

#[test]
fn two_callers_are_recalled_in_the_order_in_which_they_asked() {
    let stage = Stage::open_with("ccbs_two_callers_in_order", &config(QUICK));
    stage.register(&[Alice, Bob, Carol]);
    let talk = stage.talk();
    let mut alice = stage.start("ccbs_recall.caller", Alice, Transport::Udp);
    alice.wait_until_said("200 NOTIFY", 1);
    let second = "ccbs_two_callers_in_order.second";
    let mut carol = stage.start(second, Carol, Transport::Udp);
    carol.wait_until_said("200 NOTIFY", 1);
    let bob = stage.hang_up(talk, Some(("basic_call.callee", 2)));
    let traces = finish(vec![alice, carol]);
    let bob = bob.hang_up();
    let [alice, carol] = traces.as_slice() else {
        panic!("two traces");
    };
    // CC-47: the end of one CC call is the turn of the next.
    assert!(hung_up(alice) < told_ready(carol), "both at once");
    assert_cc_call(carol, &bob);
    // CC-33: Bob's own address leads to his queue.
    let (asked, to) = (carol.sent_nth("SUBSCRIBE", 0), cc_call(carol).header("To"));
    assert_eq!(asked.request_uri(), format!("{};m=BS", uri(to)));
    stage.close_served(&[
        ("completions_accepted", 2),
        ("completions_completed", 2),
        ("completions_recalled", 2),
    ]);
}

#[test]
fn a_caller_who_is_away_is_passed_over_and_keeps_his_place() {
    let stage = Stage::open_with("ccbs_caller_suspends", &config(QUICK));
    stage.register(&[Alice, Bob, Carol, Eve]);
    let talk = stage.talk();
    let alice = stage.start("ccbs_caller_suspends.caller", Alice, Transport::Udp);
    let away = alice.finish();
    let mut carol = stage.start("ccbs_recall.caller", Carol, Transport::Udp);
    carol.wait_until_said("200 NOTIFY", 1);
    let bob = stage.hang_up(talk, Some(("basic_call.callee", 1)));
    carol.finish();
    bob.hang_up();

    let talk = stage.talk();
    let mut eve = stage.start("ccbs_recall.caller", Eve, Transport::Udp);
    eve.wait_until_said("200 NOTIFY", 1);
    let mut alice = stage.resume("ccbs_caller_suspends.resumed", Alice, &away);
    alice.wait_until_heard("200 PUBLISH", 1);
    let bob = stage.hang_up(talk, Some(("basic_call.callee", 2)));
    let traces = finish(vec![alice, eve]);
    bob.hang_up();
    let [alice, eve] = traces.as_slice() else {
        panic!("two traces");
    };
    // CC-48: said to the cc-URI.
    let cc_uri = cc_call(alice).request_uri().strip_suffix(";m=BS");
    let said = alice.sent_nth("PUBLISH pidf+xml", 0).request_uri();
    assert_eq!(Some(said), cc_uri);
    // CC-04
    assert!(hung_up(alice) < told_ready(eve), "the place is lost");
    stage.close_served(&[
        ("completions_accepted", 3),
        ("completions_completed", 3),
        ("completions_recalled", 3),
    ]);
}

#[test]
fn a_code_asks_for_a_callback_and_the_phone_that_asked_is_put_through() {
    let stage = Stage::open_with("code_callback", &config(QUICK));
    stage.register(&[Alice, Bob]);
    let talk = stage.talk();
    let mut alice = stage.line("code_callback.caller", Alice, ("code_callback.recall", 1));
    alice.wait_until_said("200 BYE", 1);
    let bob = stage.hang_up(talk, Some(("late_offer.callee", 1)));
    alice.wait_until_heard("200 BYE", 1);
    listen();
    assert_put_through(&alice.hang_up(), &bob.hang_up());
    stage.close_completed();
}

#[test]
fn the_phone_that_asked_dials_by_itself_when_it_is_asked_to() {
    let methods = "recall_by = [\"refer\", \"direct\"]";
    let stage = Stage::open_with("recall_by_refer", &config(&format!("{QUICK}\n{methods}")));
    stage.register(&[Alice, Bob]);
    let talk = stage.talk();
    let recalled = ("recall_by_refer.recall", 1);
    let mut alice = stage.line("code_callback.caller", Alice, recalled);
    alice.wait_until_said("200 BYE", 1);
    let bob = stage.hang_up(talk, Some(("basic_call.callee", 1)));
    alice.wait_until_said("202 REFER", 1);
    let recall = alice.hang_up();
    let refer = recall.received_nth("REFER", 0);
    let dialled = uri(refer.header("Refer-To"));
    let caller = stage.act("recall_by_refer.caller", Alice);
    let caller = caller.with("refer_to", dialled).play();
    let mut dialog = Dialog::made_at(&recall.of_call(refer.call_id()), "INVITE");
    let news = stage.act("recall_by_refer.news", Alice);
    let news = news.within(&mut dialog).play();
    let bob = bob.hang_up();

    assert_cc_call(&caller, &bob);
    let dialled = caller.sent_nth("INVITE sdp", 0);
    let first = recall.sent_nth("INVITE sdp", 0);
    assert!(
        dialled
            .request_uri()
            .starts_with(&format!("{};m=BS;cce=", first.request_uri()))
    );
    let bye = news.received_nth("BYE", 0);
    assert_eq!(bye.call_id(), refer.call_id());
    assert!(!bye.has("Reason"), "{bye}");
    stage.close_completed();
}

#[test]
fn a_phone_that_does_not_dial_by_itself_is_put_through() {
    let methods = "recall_by = [\"refer\", \"direct\"]";
    let stage = Stage::open_with(
        "recall_refer_refused_falls_back",
        &config(&format!("{QUICK}\n{methods}")),
    );
    stage.register(&[Alice, Bob]);
    let talk = stage.talk();
    let recalled = ("recall_refer_refused_falls_back.recall", 1);
    let mut alice = stage.line("code_callback.caller", Alice, recalled);
    alice.wait_until_said("200 BYE", 1);
    let bob = stage.hang_up(talk, Some(("late_offer.callee", 1)));
    alice.wait_until_heard("200 BYE", 1);
    listen();
    assert_put_through(&alice.hang_up(), &bob.hang_up());
    stage.close_completed();
}

#[test]
fn a_request_that_a_code_took_back_rings_nobody() {
    let stage = Stage::open_with("code_cancel", &config(QUICK));
    stage.register(&[Alice, Bob]);
    let talk = stage.talk();
    let mut alice = stage.start("code_cancel.caller", Alice, Transport::Udp);
    alice.wait_until_said("ACK", 4);
    let bob = stage.hang_up(talk, None);
    listen();
    alice.hang_up();
    bob.hang_up();
    stage.close_served(&[("completions_accepted", 1), ("completions_cancelled", 1)]);
}

#[test]
fn who_ignores_a_recall_is_put_back_and_not_rung_again_at_once() {
    let rest = Duration::from_millis(1500);
    let times = r#"recall = "2s"
ring = "600ms"
rest = "1500ms"
notify_window = "100ms"
recalls_max = 2"#;
    let stage = Stage::open_with("recall_ignored", &config(times));
    stage.register(&[Alice, Bob]);
    let talk = stage.talk();
    let mut alice = stage.line("code_callback.caller", Alice, ("recall_ignored.recall", 2));
    alice.wait_until_said("200 BYE", 1);
    let bob = stage.hang_up(talk, None);
    // The second one that she ignores is the last one.
    alice.wait_until_heard("CANCEL", 2);
    listen();
    let (alice, _) = (alice.hang_up(), bob.hang_up());
    let stopped = alice.time_of(Direction::Received, "CANCEL", 0);
    // Her own calls are sent; those received are recalls.
    let again = alice.time_of(Direction::Received, "INVITE sdp", 1);
    // Times are those at which SIPp came to read; the first may have lain there for a moment.
    let read_late = Duration::from_millis(200);
    let least = rest.saturating_sub(read_late);
    assert!(between(stopped, again) >= least, "{stopped}, then {again}");
    stage.close_served(&[
        ("completions_accepted", 1),
        ("completions_recalled", 2),
        ("completions_refused", 1),
    ]);
}

#[test]
fn a_request_that_is_taken_back_while_the_caller_rings_rings_no_longer() {
    // The recall would ring for longer than the test takes.
    let stage = Stage::open_with("uncomplete_while_caller_rings", &config(""));
    stage.register(&[Alice, AliceAtHome, Bob]);
    let talk = stage.talk();
    let mut alice = stage.line("code_callback.caller", Alice, ("recall_ignored.recall", 1));
    alice.wait_until_said("200 BYE", 1);
    let bob = stage.hang_up(talk, None);
    alice.wait_until_said("180 INVITE", 1);
    let other = "uncomplete_while_caller_rings.other";
    stage.play(other, AliceAtHome, Transport::Udp);
    alice.wait_until_said("487 INVITE", 1);
    listen();
    alice.hang_up();
    bob.hang_up();
    stage.close_served(&[
        ("completions_accepted", 1),
        ("completions_cancelled", 1),
        ("completions_recalled", 1),
    ]);
}

#[test]
fn who_has_unsubscribed_is_not_recalled() {
    let stage = Stage::open_with("uncomplete_queued", &config(QUICK));
    stage.register(&[Alice, Bob]);
    let talk = stage.talk();
    let mut alice = stage.start("uncomplete_queued.caller", Alice, Transport::Udp);
    alice.wait_until_said("200 NOTIFY", 2);
    let bob = stage.hang_up(talk, None);
    listen();
    alice.hang_up();
    bob.hang_up();
    stage.close_served(&[("completions_accepted", 1), ("completions_cancelled", 1)]);
}

/// What a NOTIFY says.
#[derive(Debug)]
struct Told {
    state: String,
    /// Subscription-State without the time that is left.
    life: String,
    cc_uri: String,
}

fn told(caller: &Trace) -> Vec<Told> {
    let notifies = caller.received().filter(|one| one.method() == "NOTIFY");
    let requests = notifies.filter(|one| one.status().is_none());
    let told = requests.map(|notify| {
        let body = String::from_utf8_lossy(notify.body());
        let line = |name: &str| {
            let found = body.lines().find_map(|line| line.strip_prefix(name));
            found
                .unwrap_or_else(|| panic!("no {name} in {notify}"))
                .to_owned()
        };
        let life = notify.header("Subscription-State");
        let (life, _) = life.split_once(";expires=").unwrap_or((life, ""));
        Told {
            state: line("cc-state: "),
            life: life.to_owned(),
            cc_uri: line("cc-URI: "),
        }
    });
    told.collect()
}

/// The INVITE of the CC call: the last one that the caller sent.
fn cc_call(caller: &Trace) -> &Message {
    let invites = caller.sent().filter(|one| one.label() == "INVITE sdp");
    invites.last().expect("a CC call")
}

/// The CC call, the last call of both, is a call like any other.
fn assert_cc_call(caller: &Trace, callee: &Trace) {
    let arrived = callee.received().filter(|one| one.label() == "INVITE sdp");
    let arrived = arrived.last().expect("a CC call at Bob's");
    let call = Bridge::new(
        caller.of_call(cc_call(caller).call_id()),
        callee.of_call(arrived.call_id()),
    );
    call.assert_sound();
    call.assert_callees_bodies_cross();
    // Dialled as a CC call, it rings at Bob's own Contact.
    assert_eq!(arrived.request_uri(), callee_contact(callee));
}

fn callee_contact(callee: &Trace) -> &str {
    callee.sent_nth("200 INVITE sdp", 0).contact()
}

/// Flow IV: each side's description reaches the other, and both calls end together.
fn assert_put_through(caller: &Trace, callee: &Trace) {
    let recall = caller.received_nth("INVITE sdp", 0);
    let offered = caller.received_nth("INVITE sdp", 1);
    let call = callee.received_nth("INVITE", 0);
    assert_ne!(recall.call_id(), call.call_id());
    assert_ne!(recall.tag_of_from(), call.tag_of_from());
    // To the phone that asked; towards Bob it is her call, to what she dialled.
    assert_eq!(
        recall.request_uri(),
        caller.sent_nth("180 INVITE", 0).contact()
    );
    let dialled = caller.sent_nth("INVITE sdp", 0);
    assert_eq!(uri(call.header("From")), uri(dialled.header("From")));
    assert_eq!(
        name_addr(call.header("To")),
        name_addr(dialled.header("To"))
    );
    assert_eq!(offered.call_id(), recall.call_id());
    assert!(offered.cseq().0 > recall.cseq().0, "{offered}");

    let (first, second) = (origin(recall.body()), origin(offered.body()));
    assert_eq!(first.id, second.id, "one session");
    assert_eq!(first.version + 1, second.version);
    let answered = callee.sent_nth("200 INVITE sdp", 0).body();
    assert_eq!(beside_origin(offered.body()), beside_origin(answered));
    let answer = caller.sent_nth("200 INVITE sdp", 1).body();
    let arrived = callee.received_nth("ACK sdp", 0).body();
    assert_eq!(beside_origin(arrived), beside_origin(answer));
}

struct Origin {
    id: String,
    version: u64,
}

/// The `o=` line: a name of the session, and a number that grows with each change.
fn origin(sdp: &[u8]) -> Origin {
    let text = String::from_utf8_lossy(sdp);
    let line = text.lines().find_map(|line| line.strip_prefix("o="));
    let fields: Vec<_> = line.expect("an origin").split(' ').collect();
    let [name, id, version, place @ ..] = fields.as_slice() else {
        panic!("no origin: {fields:?}");
    };
    Origin {
        id: format!("{name} {id} {}", place.join(" ")),
        version: version.parse().expect("a number"),
    }
}

fn beside_origin(sdp: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(sdp);
    let lines = text.lines().filter(|line| !line.starts_with("o="));
    lines.map(str::to_owned).collect()
}

fn told_ready(caller: &Trace) -> &str {
    caller.time_of(Direction::Received, "NOTIFY call-completion", 1)
}

fn hung_up(caller: &Trace) -> &str {
    caller.time_of(Direction::Sent, "BYE", 0)
}

/// The time between two entries of a log.
fn between(earlier: &str, later: &str) -> Duration {
    let since_midnight = |at: &str| {
        let (_, clock) = at.split_once(' ').expect("a date and a time");
        let fields: Vec<f64> = clock.split(':').flat_map(str::parse).collect();
        let [hours, minutes, seconds] = fields.as_slice() else {
            panic!("no time: {at}");
        };
        Duration::from_secs_f64(hours * 3600.0 + minutes * 60.0 + seconds)
    };
    let (earlier, later) = (since_midnight(earlier), since_midnight(later));
    let next_day = Duration::from_hours(if later < earlier { 24 } else { 0 });
    (later + next_day).saturating_sub(earlier)
}
