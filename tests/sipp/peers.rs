//! Flows of completion in which somebody else has a part: a monitor behind a PBX, a stranger, two
//! callers of one callee, a callee who does not want to.
//!
//! Spec: RFC 6910 §6, §7, §9; RFC 3725 §4.4; RFC 3903 §6; RULES R2, R7, R18, R21.

use std::net::Ipv4Addr;

use crate::act::{Dialog, Silence};
use crate::bridge::Bridge;
use crate::line::listen;
use crate::message::{Message, uri};
use crate::player::{Player, finish};
use crate::stage::Phone::{self, Alice, AliceAtHome, Bob, Carol, Dave, Eve};
use crate::stage::{Stage, network};
use crate::trace::Trace;

/// The times of the flows: far shorter than a person's, far longer than a message's way.
const TIMES: &str = r#"
[completion]
guard = "300ms"
recall = "5s"
ring = "1s"
rest = "2s"
aftermath = "100ms"
notify_window = "100ms"
expires_min = "2s"
"#;

const CODES: &str = r##"
[completion.codes]
request_last = "*37#"
cancel_all = "#37#"
"##;

const REQUEST: &str = "*37%23";
const CANCEL_ALL: &str = "%2337%23";

/// What a PBX tells of a place: cc-state and Subscription-State.
const READY: (&str, &str) = ("ready", "active;expires=590");
const QUEUED: (&str, &str) = ("queued", "active;expires=580");
const OVER: (&str, &str) = ("queued", "terminated;reason=noresource");

const NEWS: &str = "NOTIFY call-completion";
const PUBLICATION: &str = "PUBLISH pidf+xml";

#[test]
fn a_request_at_a_monitor_elsewhere_is_taken_back_there() {
    let stage = open_before_pbx("agent_of_remote_monitor");
    let pbx = stage.address_of(Bob);
    let monitor = format!("sip:ccm-7f3a@{pbx}");
    let call = call_pbx(&stage, &offer(&monitor));
    call.assert_sound();
    // The offer is campon's to take up, so Alice is not told of it.
    let busy = call.caller.received_nth("486 INVITE", 0);
    assert!(!busy.has("Call-Info"), "{busy}");

    let queue = stage.act("agent_of_remote_monitor.leaver", Bob);
    let queue = queue.with("cc_uri", "sip:cce-42@office.example").listen();
    assert_done(&dial(&stage, REQUEST));
    assert_done(&dial(&stage, CANCEL_ALL));
    let queue = queue.finish();

    let subscribe = queue.received_nth("SUBSCRIBE", 0);
    // CC-12
    assert_eq!(subscribe.request_uri(), format!("{monitor};m=BS"));
    let invite = call.invite_out();
    // CC-16
    assert_eq!(uri(subscribe.header("From")), uri(invite.header("From")));
    // CC-17
    assert_eq!(uri(subscribe.header("To")), uri(invite.header("To")));
    assert_eq!(subscribe.header("Event"), "call-completion");
    assert_eq!(subscribe.header("Accept"), "application/call-completion");
    let expires: u32 = subscribe.header("Expires").parse().expect("seconds");
    assert!((3_595..=3_600).contains(&expires), "{subscribe}");
    assert_ne!(subscribe.call_id(), invite.call_id());

    // RFC 6665 §4.1.2.3: in the dialog, and (R7) to the PBX wherever its Contact points.
    let leaves = queue.received_nth("SUBSCRIBE", 1);
    assert_eq!(leaves.request_uri(), "sip:monitor@office.example");
    assert_eq!(leaves.header("Event"), "call-completion");
    assert_eq!(leaves.header("Expires"), "0");
    assert_eq!(leaves.header("From"), subscribe.header("From"));
    let tag = queue.sent_nth("200 SUBSCRIBE", 0).tag_of_to();
    assert_eq!(leaves.tag_of_to(), tag);
    assert_eq!(leaves.cseq().0, subscribe.cseq().0 + 1);
    stage.close();
}

#[test]
fn a_caller_is_called_back_when_a_monitor_elsewhere_says_so() {
    let stage = open_before_pbx("agent_recall");
    let monitor = format!("sip:ccm-7f3a@{}", stage.address_of(Bob));
    // Nobody resolves this name: what a PBX says names its callee, and is no route (R7).
    let entry = "sip:cce-42@office.example;x=kept";
    let (call, talk) = complete_at_pbx(&stage, &monitor, entry);
    let invite = talk.callee.received_nth("INVITE", 0);
    // CC-22, CC-23, CC-69
    assert_eq!(invite.request_uri(), format!("{entry};m=BS"));
    let first = call.invite_out();
    assert_eq!(uri(invite.header("From")), uri(first.header("From")));
    assert_ne!(invite.call_id(), first.call_id());
    stage.close();
}

#[test]
fn a_caller_who_does_not_come_is_suspended_at_a_monitor_elsewhere() {
    let stage = open_before_pbx("agent_suspends");
    let monitor = format!("sip:ccm-7f3a@{}", stage.address_of(Bob));
    let entry = "sip:cce-42@office.example";
    let (_, mut place) = ask_at_pbx(&stage, &monitor, entry);
    let alice = stage.act("recall_ignored.recall", Alice).listen();
    let suspended = hear_publication(&stage, "away-1");
    tell(&stage, &mut place, READY, entry);
    let suspended = suspended.finish();
    let resumed = hear_publication(&stage, "here-1");
    alice.finish();
    tell(&stage, &mut place, QUEUED, entry);
    let resumed = resumed.finish();

    let suspended = suspended.received_nth(PUBLICATION, 0);
    // CC-24: to the cc-URI, before all others (§6.5).
    assert_eq!(basic(suspended), "closed");
    assert_eq!(suspended.request_uri(), entry);
    assert_eq!(suspended.header("Event"), "presence");
    // CC-25
    let expires: u32 = suspended.header("Expires").parse().expect("seconds");
    assert!((580..=590).contains(&expires), "{suspended}");
    assert!(!suspended.has("SIP-If-Match"), "{suspended}");
    let resumed = resumed.received_nth(PUBLICATION, 0);
    // CC-27
    assert_eq!(basic(resumed), "open");
    assert_eq!(resumed.request_uri(), entry);
    assert_eq!(resumed.header("SIP-If-Match"), "away-1");
    connect(&stage, &mut place, entry);
    stage.close();
}

#[test]
fn a_caller_is_called_back_again_when_the_callee_elsewhere_was_busy_again() {
    let stage = open_before_pbx("agent_busy_again");
    let monitor = format!("sip:ccm-7f3a@{}", stage.address_of(Bob));
    let entry = "sip:cce-42@office.example";
    let (failed, mut place) = ask_at_pbx(&stage, &monitor, entry);
    let alice = stage.act("agent_busy_again.recalled", Alice).listen();
    let bob = stage.act("agent_busy_again.callee", Bob).listen();
    tell(&stage, &mut place, READY, entry);
    let alice = alice.finish();
    bob.finish();
    let reason = alice.received_nth("BYE", 0).header("Reason");
    assert!(reason.starts_with("SIP;cause=486"), "{reason}");
    tell(&stage, &mut place, QUEUED, entry);
    let talk = connect(&stage, &mut place, entry);
    assert_called_back(&talk, &failed);
    stage.close();
}

#[test]
fn a_number_that_a_monitor_makes_up_is_not_dialled() {
    let stage = open_before_pbx("agent_other_number");
    let monitor = format!("sip:ccm-7f3a@{}", stage.address_of(Bob));
    let premium = format!("sip:+19005550100@{}", stage.address_of(Bob));
    let (_, talk) = complete_at_pbx(&stage, &monitor, &premium);
    let invite = talk.callee.received_nth("INVITE", 0);
    // R7: the next address in the order of CC-22 that may be dialled.
    assert_eq!(invite.request_uri(), format!("{monitor};m=BS"));
    stage.close();
}

#[test]
fn a_place_to_call_at_a_strangers_host_is_not_dialled() {
    let stage = open_before_pbx("agent_other_host");
    let trap = stage.address_of(Eve);
    let silence = Silence::at(trap);
    let monitor = format!("sip:ccm-7f3a@{}", stage.address_of(Bob));
    let (_, talk) = complete_at_pbx(&stage, &monitor, &format!("sip:cce-42@{trap}"));
    let invite = talk.callee.received_nth("INVITE", 0);
    assert_eq!(invite.request_uri(), format!("{monitor};m=BS"));
    silence.assert_kept();
    stage.close();
}

#[test]
fn a_monitor_at_a_strangers_address_is_not_asked() {
    let stage = open_before_pbx("stranger_monitor_dials_nothing");
    let (trap, pbx) = (stage.address_of(Eve), stage.address_of(Bob));
    let silence = Silence::at(trap);
    for monitor in [
        format!("sip:ccm-7f3a@{trap}"),
        format!("sip:ccm-7f3a@{pbx};maddr={}", trap.ip()),
        format!("sip:ccm-7f3a@{pbx}?Route=%3Csip:{trap};lr%3E"),
        "tel:+19005550100".to_owned(),
    ] {
        let offer = offer(&monitor);
        let call = call_pbx(&stage, &offer);
        call.assert_sound();
        // R7: untouched, for a phone that wants to try it by itself.
        let busy = call.caller.received_nth("486 INVITE", 0);
        assert_eq!(busy.header("Call-Info"), offer, "{monitor}");
        let nobody = Silence::at(pbx);
        let refused = stage.act("stranger_monitor_dials_nothing.caller", Alice);
        refused.with("code", REQUEST).play();
        nobody.assert_kept();
    }
    silence.assert_kept();
    stage.close();
}

#[test]
fn a_queue_that_is_full_takes_nobody_else() {
    let stage = open("queue_full_480", "queue_max = 1");
    stage.register(&[Alice, Bob, Carol]);
    let carols = queue_offered(&refuse(&stage, Carol));
    let alices = queue_offered(&refuse(&stage, Alice));
    let place = take_place(&stage, &alices);
    let full = stage.act("queue_full_480.phone", Carol);
    // CC-60
    full.with("queue", &carols).play();
    // What cannot be had is not offered.
    let busy = refuse(&stage, Carol);
    assert!(!busy.has("Call-Info"), "{busy}");
    leave_place(&stage, &place);
    stage
        .act("place.phone", Carol)
        .with("queue", &carols)
        .play();
    stage.close();
}

#[test]
fn who_has_no_business_in_a_queue_learns_nothing_there() {
    let stage = open("forged_token_403", "");
    stage.register(&[Alice, Bob, Carol]);
    let queue = queue_offered(&refuse(&stage, Alice));
    let silence = Silence::at(stage.address_of(Bob));
    let ask = |phone: Phone, user: &str, queue: &str| {
        let asks = stage.act("forged_token_403.phone", phone);
        let asks = asks.with("user", user).with("queue", queue).play();
        beside_transaction(asks.received_nth("403 SUBSCRIBE", 0))
    };
    let by_number = format!("sip:bob@{};m=BS", stage.domain());
    let nobody = format!("sip:nobody@{};m=BS", stage.domain());
    let changed = ask(Alice, "alice", &with_one_letter_changed(&queue));
    // CC-73: a token of somebody else's call, no call at all, nobody to be called, and strangers.
    assert_eq!(ask(Carol, "carol", &queue), changed);
    assert_eq!(ask(Carol, "carol", &by_number), changed);
    assert_eq!(ask(Carol, "carol", &nobody), changed);
    assert_eq!(ask(Carol, "alice", &queue), changed);
    assert_eq!(ask(Eve, "eve", &queue), changed);
    assert_eq!(ask(Eve, "alice", &queue), changed);
    silence.assert_kept();
    stage.close();
}

#[test]
fn nobody_suspends_a_request_that_is_not_his() {
    let stage = open("forged_publication_403", "");
    stage.register(&[Alice, Bob, Carol]);
    let queue = queue_offered(&refuse(&stage, Alice));
    let place = take_place(&stage, &queue);
    let entry = entry(place.received_nth(NEWS, 0));
    let suspend = |phone: Phone, user: &str, entry: &str| {
        let forged = stage.act("forged_publication_403.phone", phone);
        let forged = forged.with("user", user).with("cc_uri", entry).play();
        beside_transaction(forged.received_nth("403 PUBLISH", 0))
    };
    let changed = suspend(Alice, "alice", &with_one_letter_changed(&entry));
    // CC-72
    assert_eq!(suspend(Carol, "carol", &entry), changed);
    assert_eq!(suspend(Eve, "alice", &entry), changed);
    leave_place(&stage, &place);
    // A place that was left is as unknown as none.
    assert_eq!(suspend(Alice, "alice", &entry), changed);
    stage.close();
}

#[test]
fn a_place_to_call_is_there_for_its_owner_alone() {
    let stage = open("forged_entry_404", "");
    stage.register(&[Alice, Bob, Carol]);
    let queue = queue_offered(&refuse(&stage, Alice));
    let place = take_place(&stage, &queue);
    let entry = entry(place.received_nth(NEWS, 0));
    let silence = Silence::at(stage.address_of(Bob));
    let call = |phone: Phone, user: &str, entry: &str| {
        let forged = stage.act("forged_entry_404.caller", phone);
        let forged = forged.with("user", user);
        let forged = forged.with("target", format!("{entry};m=BS")).play();
        beside_transaction(forged.received_nth("404 INVITE", 0))
    };
    let changed = call(Alice, "alice", &with_one_letter_changed(&entry));
    // CC-71
    assert_eq!(call(Carol, "carol", &entry), changed);
    assert_eq!(call(Eve, "alice", &entry), changed);
    silence.assert_kept();
    leave_place(&stage, &place);
    stage.close();
}

#[test]
fn a_request_that_comes_twice_gets_one_place() {
    let stage = open("merged_482", "");
    stage.register(&[Alice, Bob]);
    let queue = queue_offered(&refuse(&stage, Alice));
    let twice = stage.act("merged_482.phone", Alice);
    let twice = twice.with("queue", &queue).play();
    // CC-35
    let merged = twice.received_nth("482 SUBSCRIBE", 0);
    assert_eq!(merged.branch(), twice.sent_nth("SUBSCRIBE", 1).branch());
    assert_eq!(news(&twice), ["active queued"]);
    leave_place(&stage, &twice);
    stage.close();
}

#[test]
fn a_place_is_kept_while_its_callee_is_busy_again() {
    let stage = open("callee_busy_again", "");
    stage.register(&[Bob, Alice, AliceAtHome]);
    let talk = stage.talk();
    // R20: Bob talks, and campon says so for his phone.
    let busy = stage.act("offered.caller", Alice);
    let busy = busy.with("target", bob(&stage)).play();
    let queue = queue_offered(busy.received_nth("486 INVITE", 0));
    let waits = stage.act("callee_busy_again.phone", Alice);
    let mut waits = waits.with("queue", &queue).start();
    waits.wait_until_heard(NEWS, 1);
    let line = stage.hang_up(talk, Some(("busy.callee", 1)));
    waits.wait_until_heard(NEWS, 2);
    let ready = waits.trace_so_far().received_nth(NEWS, 1).clone();
    call_back(&stage, "offered.caller", &ready);
    line.hang_up();
    waits.wait_until_heard(NEWS, 3);
    listen();
    // CC-45: the guard time has passed, but Bob has not talked.
    let told = news(&waits.trace_so_far());
    assert_eq!(told, ["active queued", "active ready", "active queued"]);

    let talk = stage.talk();
    let line = stage.hang_up(talk, Some(("basic_call.callee", 1)));
    waits.wait_until_heard(NEWS, 4);
    call_back(&stage, "answered.caller", &ready);
    line.hang_up();
    let waits = waits.finish();
    let told = news(&waits).split_off(3);
    // CC-46
    assert_eq!(
        told,
        ["active ready", "terminated;reason=noresource queued"]
    );
    // CC-70: the same place, first and last.
    assert_eq!(entry_of_all(&waits), entry(&ready));
    stage.close();
}

#[test]
fn a_callee_who_was_busy_without_a_call_is_left_alone_until_he_has_talked() {
    let stage = open("callee_rejects_by_dnd", "");
    stage.register(&[Bob, Alice, AliceAtHome]);
    let queue = queue_offered(&refuse(&stage, Alice));
    let waits = stage.act("callee_rejects_by_dnd.phone", Alice);
    let mut waits = waits.with("queue", &queue).start();
    waits.wait_until_heard(NEWS, 1);
    listen();
    // A call that Bob refuses is no sign that he is back.
    refuse(&stage, Dave);
    listen();
    // CC-02: a recall would meet the same Bob.
    assert_eq!(news(&waits.trace_so_far()), ["active queued"]);

    let talk = stage.talk();
    let line = stage.hang_up(talk, Some(("basic_call.callee", 1)));
    waits.wait_until_heard(NEWS, 2);
    let ready = waits.trace_so_far().received_nth(NEWS, 1).clone();
    call_back(&stage, "answered.caller", &ready);
    line.hang_up();
    let told = news(&waits.finish()).split_off(1);
    assert_eq!(
        told,
        ["active ready", "terminated;reason=noresource queued"]
    );
    stage.close();
}

#[test]
fn a_subscription_that_campon_cannot_serve_is_refused_with_what_it_can() {
    let stage = open("refusals", "");
    stage.register(&[Alice, Bob]);
    let queue = queue_offered(&refuse(&stage, Alice));
    let asks = stage.act("refusals.phone", Alice);
    let asks = asks.with("queue", &queue).play();
    // RFC 6665 §4.2.1.1
    let unknown = asks.received_nth("489 SUBSCRIBE", 0);
    assert_eq!(unknown.header("Allow-Events"), "call-completion");
    // CC-52
    asks.received_nth("406 SUBSCRIBE", 0);
    // RFC 6665 §4.2.1.3
    let brief = asks.received_nth("423 SUBSCRIBE", 0);
    assert_eq!(brief.header("Min-Expires"), "2");
    leave_place(&stage, &asks);
    stage.close();
}

#[test]
fn a_state_that_nobody_published_cannot_be_changed() {
    let stage = open("publication_412", "");
    stage.register(&[Alice, Bob]);
    let queue = queue_offered(&refuse(&stage, Alice));
    let place = take_place(&stage, &queue);
    let entry = entry(place.received_nth(NEWS, 0));
    let publishes = stage.act("publication_412.phone", Alice);
    let publishes = publishes.with("cc_uri", &entry).play();
    let closed = publishes.received_nth("200 PUBLISH", 0);
    let open = publishes.received_nth("200 PUBLISH", 1);
    // RFC 3903 §6 step 6: each answer has a tag of its own.
    assert_ne!(open.header("SIP-ETag"), closed.header("SIP-ETag"));
    assert!(closed.has("Expires"), "{closed}");
    let wrong = publishes.received_nth("412 PUBLISH", 0);
    assert!(!wrong.has("SIP-ETag"), "{wrong}");
    leave_place(&stage, &place);
    stage.close();
}

/// A registrar with completion.
fn open(name: &str, completion: &str) -> Stage {
    Stage::open_with(name, &format!("{TIMES}{completion}\n"))
}

/// A registrar with completion in front of a PBX, at Bob's address, that has monitors of its own.
fn open_before_pbx(name: &str) -> Stage {
    let [a, b, c, _] = network(name).octets();
    let pbx = Ipv4Addr::new(a, b, c, 2);
    let upstream = format!(
        "[upstream]\nname = \"office\"\naddress = \"sip:{pbx}\"\n\
         cc_domains = [\"office.example\"]\ndials = \"tokens\"\n"
    );
    let stage = Stage::open_with(name, &format!("{upstream}{TIMES}{CODES}"));
    stage.register(&[Alice]);
    stage
}

fn bob(stage: &Stage) -> String {
    format!("sip:bob@{}", stage.domain())
}

fn offer(monitor: &str) -> String {
    format!("<{monitor}>;purpose=call-completion;m=BS")
}

/// Alice calls Bob behind the PBX, who is busy.
fn call_pbx(stage: &Stage, offer: &str) -> Bridge {
    let callee = stage.act("agent_of_remote_monitor.callee", Bob);
    let callee = callee.with("call_info", offer).listen();
    let caller = stage.act("offered.caller", Alice);
    let caller = caller.with("target", bob(stage)).start();
    bridge(vec![caller, callee])
}

/// A recall and its CC call: what the two phones saw, both of them called by campon.
struct Completed {
    caller: Trace,
    callee: Trace,
}

/// Alice asks for completion at the PBX, is called back when its monitor says so, and talks with Bob:
/// the call that failed and the one that did not.
fn complete_at_pbx(stage: &Stage, monitor: &str, entry: &str) -> (Bridge, Completed) {
    let (failed, mut place) = ask_at_pbx(stage, monitor, entry);
    let talk = connect(stage, &mut place, entry);
    assert_called_back(&talk, &failed);
    (failed, talk)
}

/// Alice calls Bob, who is busy, and gets a place in his queue at the PBX: the call, and the dialog of
/// the place as the PBX knows it.
fn ask_at_pbx(stage: &Stage, monitor: &str, entry: &str) -> (Bridge, Dialog) {
    let failed = call_pbx(stage, &offer(monitor));
    let queue = stage.act("agent_of_remote_monitor.queue", Bob);
    let queue = queue.with("cc_uri", entry).listen();
    assert_done(&dial(stage, REQUEST));
    (failed, Dialog::made_at(&queue.finish(), "SUBSCRIBE"))
}

/// It is Alice's turn: her phone rings, then Bob's, and they talk.
fn connect(stage: &Stage, place: &mut Dialog, entry: &str) -> Completed {
    let alice = stage.act("agent_of_remote_monitor.recalled", Alice);
    let mut alice = alice.listen();
    let mut bob = stage.act("late_offer.callee", Bob).listen();
    tell(stage, place, READY, entry);
    bob.wait_until_heard("ACK sdp", 1);
    alice.wait_until_heard("ACK", 2);
    tell(stage, place, OVER, entry);
    let mut traces = finish(vec![alice, bob]).into_iter();
    let caller = traces.next().expect("Alice's trace");
    let callee = traces.next().expect("Bob's trace");
    Completed { caller, callee }
}

/// The PBX tells what became of Alice's place; from a port of its own, as the monitor of a PBX may.
fn tell(stage: &Stage, place: &mut Dialog, (state, life): (&str, &str), entry: &str) {
    let news = stage.act("agent_of_remote_monitor.news", Bob);
    let news = news.at_port(5070).within(place);
    let news = news.with("state", state).with("life", life);
    news.with("cc_uri", entry).play();
}

/// The PBX waits for what is published, and calls it so.
fn hear_publication(stage: &Stage, etag: &str) -> Player {
    let hears = stage.act("agent_suspends.publication", Bob);
    hears.with("etag", etag).listen()
}

/// What a publication says of its caller.
fn basic(publication: &Message) -> String {
    let body = String::from_utf8_lossy(publication.body()).into_owned();
    let after = body.split_once("<basic>").map(|(_, after)| after);
    let basic = after.and_then(|after| after.split_once("</basic>"));
    let basic = basic.unwrap_or_else(|| panic!("no state in {publication}"));
    basic.0.to_owned()
}

/// RFC 3725 §4.4: Alice is asked first, without sound; what Bob offers is hers to answer.
fn assert_called_back(talk: &Completed, failed: &Bridge) {
    let recall = talk.caller.received_nth("INVITE sdp", 0);
    assert_eq!(
        uri(recall.header("From")),
        uri(failed.invite_in().header("To"))
    );
    assert!(
        recall.header("From").starts_with("\"Callback: "),
        "{recall}"
    );
    let ring = "<urn:alert:service:recall:callback>";
    assert_eq!(recall.header("Alert-Info"), ring);
    assert_inactive(recall);
    let offered = talk.callee.sent_nth("200 INVITE sdp", 0);
    let reoffered = talk.caller.received_nth("INVITE sdp", 1);
    assert_eq!(media(reoffered), media(offered));
    assert_ne!(reoffered.body(), offered.body(), "o= is of each dialog");
    let answered = talk.caller.sent_nth("200 INVITE sdp", 1);
    let answer = talk.callee.received_nth("ACK sdp", 0);
    assert_eq!(media(answer), media(answered));
}

/// Bob's phone refuses a call as busy; gives what the caller hears.
fn refuse(stage: &Stage, phone: Phone) -> Message {
    let callee = stage.act("busy.callee", Bob).listen();
    let caller = stage.act("offered.caller", phone);
    let caller = caller.with("target", bob(stage)).start();
    let call = bridge(vec![caller, callee]);
    call.assert_sound();
    call.caller.received_nth("486 INVITE", 0).clone()
}

fn bridge(players: Vec<Player>) -> Bridge {
    let mut traces = finish(players).into_iter();
    let caller = traces.next().expect("the caller's trace");
    Bridge::new(caller, traces.next().expect("the callee's trace"))
}

/// Alice calls where her recall says.
fn call_back(stage: &Stage, scenario: &str, recall: &Message) -> Trace {
    let target = format!("{};m=BS", entry(recall));
    stage
        .act(scenario, AliceAtHome)
        .with("target", target)
        .play()
}

/// Where the offer in a response says that its call can be completed, as a SUBSCRIBE names it.
fn queue_offered(busy: &Message) -> String {
    let offered = busy.header("Call-Info");
    // CC-30: of this form, because old chan_sip reads no other.
    let uri = offered.strip_prefix('<').and_then(|rest| {
        let (uri, parameters) = rest.split_once('>')?;
        (parameters == ";purpose=call-completion;m=BS").then_some(uri)
    });
    let uri = uri.unwrap_or_else(|| panic!("no offer in {busy}"));
    assert!(uri.starts_with("sip:cc-") && !uri.contains(';'), "{busy}");
    format!("{uri};m=BS")
}

fn take_place(stage: &Stage, queue: &str) -> Trace {
    let place = stage.act("place.phone", Alice);
    let place = place.with("queue", queue).play();
    let accepted = place.received_nth("200 SUBSCRIBE", 0);
    assert_eq!(accepted.header("Expires"), "600");
    assert_eq!(news(&place), ["active queued"]);
    place
}

fn leave_place(stage: &Stage, place: &Trace) {
    let leaves = stage.act("place_left.phone", Alice);
    let leaves = leaves
        .within(&mut Dialog::begun_by(place, "SUBSCRIBE"))
        .play();
    assert_eq!(
        leaves.received_nth("200 SUBSCRIBE", 0).header("Expires"),
        "0"
    );
    assert_eq!(news(&leaves), ["terminated;reason=timeout queued"]);
}

/// What each NOTIFY says: of the subscription, and of the place.
fn news(trace: &Trace) -> Vec<String> {
    let notifies = trace.received().filter(|one| one.label() == NEWS);
    let said = notifies.map(|notify| {
        assert_eq!(notify.header("Event"), "call-completion");
        let life = notify.header("Subscription-State");
        let life = life.split(";expires=").next().unwrap_or_default();
        // CC-40
        assert_eq!(line(notify, "cc-service-retention"), "true");
        format!("{life} {}", line(notify, "cc-state"))
    });
    said.collect()
}

/// The cc-URI of a NOTIFY.
fn entry(notify: &Message) -> String {
    line(notify, "cc-URI")
}

/// The one cc-URI of all NOTIFYs.
fn entry_of_all(trace: &Trace) -> String {
    let mut entries: Vec<_> = trace.received().filter(|one| one.label() == NEWS).collect();
    let last = entry(entries.pop().expect("a NOTIFY"));
    assert!(entries.iter().all(|one| entry(one) == last), "{entries:?}");
    last
}

fn line(notify: &Message, name: &str) -> String {
    let body = String::from_utf8_lossy(notify.body()).into_owned();
    let start = format!("{name}: ");
    let found = body.lines().find_map(|line| line.strip_prefix(&start));
    found
        .unwrap_or_else(|| panic!("no {name} in {notify}"))
        .to_owned()
}

fn with_one_letter_changed(uri: &str) -> String {
    let (user, host) = uri.split_once('@').expect("a user part");
    let (rest, last) = user.split_at(user.len() - 1);
    let other = if last == "b" { "c" } else { "b" };
    format!("{rest}{other}@{host}")
}

/// A response without what belongs to its transaction alone.
fn beside_transaction(response: &Message) -> String {
    let own = ["Via:", "From:", "To:", "Call-ID:", "CSeq:"];
    let text = response.to_string();
    let lines = text.lines();
    let kept = lines.filter(|line| !own.iter().any(|name| line.starts_with(name)));
    kept.fold(String::new(), |all, line| all + line + "\n")
}

/// Alice dials a code.
fn dial(stage: &Stage, code: &str) -> Trace {
    stage.act("code.caller", Alice).with("code", code).play()
}

/// What was asked for by code is done: said by an answer without sound, and a hang-up.
fn assert_done(dialled: &Trace) {
    assert_inactive(dialled.received_nth("200 INVITE sdp", 0));
}

fn assert_inactive(message: &Message) {
    let body = String::from_utf8_lossy(message.body()).into_owned();
    assert_eq!(body.matches("m=audio ").count(), 1, "{message}");
    assert!(body.lines().any(|line| line == "a=inactive"), "{message}");
}

/// The description from its media on.
fn media(message: &Message) -> String {
    let body = String::from_utf8_lossy(message.body()).into_owned();
    let start = body
        .find("m=")
        .unwrap_or_else(|| panic!("no media in {message}"));
    body.get(start..).unwrap_or_default().to_owned()
}
