//! Flows of the other ways to ask for completion: by a phone's own subscription to dialogs.
//!
//! Spec: RFC 4235; RULES R15.

use std::net::Ipv4Addr;

use crate::message::Message;
use crate::player::finish;
use crate::stage::Phone::{self, Alice, Bob, Carol};
use crate::stage::{Stage, Transport, network};
use crate::trace::{Direction, Trace};

/// A recall as short as a test wants it.
const QUICK: &str = "[completion]\nguard = \"300ms\"\nrecall = \"2s\"\nring = \"1500ms\"\n";

const NEWS: &str = "NOTIFY dialog-info+xml";

#[test]
fn phones_that_watch_a_busy_callee_are_served_one_after_the_other() {
    let stage = Stage::open_with("yealink_watchers_served_in_turn", QUICK);
    stage.register(&[Alice, Bob, Carol]);
    let talk = stage.talk();
    let scenario = "yealink_watchers_served_in_turn.caller";
    let [alice, carol] = [Alice, Carol].map(|phone| {
        let mut phone = stage.start(scenario, phone, Transport::Udp);
        phone.wait_until_said("200 NOTIFY", 1);
        phone
    });
    let bob = stage.hang_up(talk, Some(("basic_call.callee", 2)));
    let traces = finish(vec![alice, carol]);
    bob.hang_up();
    let [alice, carol] = traces.as_slice() else {
        panic!("two traces");
    };
    // Bob has been free before, but it was not Carol's turn.
    let hung_up = alice.time_of(Direction::Sent, "BYE", 0);
    assert!(
        hung_up < carol.time_of(Direction::Received, NEWS, 1),
        "both at once"
    );
    for phone in [alice, carol] {
        assert_counted(phone);
    }
    stage.close_served(&[
        ("completions_accepted", 2),
        ("completions_completed", 2),
        ("completions_recalled", 2),
    ]);
}

#[test]
fn a_phone_that_says_what_it_waits_for_is_told_so() {
    let stage = Stage::open_with("snom_event_parameter_echoed", QUICK);
    stage.register(&[Alice, Bob]);
    let talk = stage.talk();
    let scenario = "snom_event_parameter_echoed.caller";
    let mut alice = stage.start(scenario, Alice, Transport::Udp);
    alice.wait_until_said("200 NOTIFY", 1);
    let bob = stage.hang_up(talk, Some(("basic_call.callee", 1)));
    let alice = alice.finish();
    bob.hang_up();
    let event = alice.sent_nth("SUBSCRIBE", 0).header("Event");
    for nth in 0..3 {
        assert_eq!(alice.received_nth(NEWS, nth).header("Event"), event);
    }
    stage.close_completed();
}

/// RFC 4235 §4.1: the documents are counted from 0, and all about one dialog.
fn assert_counted(phone: &Trace) {
    let told = |nth| phone.received_nth(NEWS, nth);
    for nth in 0..3 {
        let version = format!("dialog-info\" version=\"{nth}\"");
        assert!(body(told(nth)).contains(&version), "{}", told(nth));
        assert_eq!(dialog(told(nth)), dialog(told(0)));
    }
}

fn body(message: &Message) -> String {
    String::from_utf8_lossy(message.body()).into_owned()
}

/// The id of the one dialog that a document is about.
fn dialog(notify: &Message) -> String {
    let body = body(notify);
    let mut dialogs = body.split("<dialog id=\"").skip(1);
    let dialog = dialogs.next().and_then(|rest| rest.split('"').next());
    assert!(dialogs.next().is_none(), "{notify}");
    dialog.expect("a dialog").to_owned()
}

/// A phone behind a PBX that redials by itself every 30 s; here it has less patience.
#[test]
fn a_phone_that_calls_a_busy_callee_again_and_again_is_answered_by_campon() {
    let [a, b, c, _] = network("poller_absorbed").octets();
    let pbx = Ipv4Addr::new(a, b, c, 2);
    let config = format!("mode = \"edge\"\nupstream = \"sip:{pbx}\"\nedge.keep_alive = \"off\"\n");
    let stage = Stage::open_with("poller_absorbed", &config);
    register_at_pbx(&stage, Alice);
    let alias = register_at_pbx(&stage, Carol);
    let mut carol = stage.act("talk.callee", Carol).listen();
    // The PBX calls from another port, so that nothing of it is mistaken for an answer.
    let talk = stage.act("poller_absorbed.pbx", Bob).at_port(5070);
    let talk = talk.with("alias", alias).start();
    carol.wait_until_heard("ACK", 1);
    let carol = carol.finish();

    // For one call only; a second one would find nobody there.
    let pbx = stage.act("busy.callee", Bob).listen();
    let alice = stage.play("poller_absorbed.phone", Alice, Transport::Udp);
    pbx.finish();
    // Each of them is offered to be called back.
    for nth in 0..3 {
        let busy = alice.received_nth("486 INVITE", nth);
        assert!(busy.header("Call-Info").ends_with(";m=BS"), "{busy}");
    }
    assert_eq!(stage.count("polls_absorbed"), 2);

    // She is free, and so the PBX is asked again.
    let mut hangs_up = stage.act("hang_up.callee", Carol);
    hangs_up = hangs_up.in_call(
        carol.received_nth("INVITE sdp", 0),
        carol.sent_nth("200 INVITE sdp", 0),
    );
    let mut hangs_up = hangs_up.start();
    hangs_up.wait_until_heard("200 BYE", 1);
    hangs_up.hang_up();
    talk.finish();
    let pbx = stage.act("busy.callee", Bob).listen();
    let target = format!("sip:carol@{}", stage.domain());
    stage
        .act("offered.caller", Alice)
        .with("target", target)
        .play();
    pbx.finish();
    assert_eq!(stage.count("polls_absorbed"), 2);
    stage.close();
}

/// A phone registers at the PBX, which is at Bob's address: the alias under which that calls it.
fn register_at_pbx(stage: &Stage, phone: Phone) -> String {
    let pbx = stage.act("register_two_contacts.pbx", Bob).listen();
    let phone = stage.act("registration.phone", phone).start();
    let traces = finish(vec![phone, pbx]);
    let [_, pbx] = traces.as_slice() else {
        panic!("two traces");
    };
    pbx.received_nth("REGISTER", 0).contact().to_owned()
}
