//! Flows of the other ways to ask for completion: by a phone's own subscription to dialogs.
//!
//! Spec: RFC 4235; RULES R15.

use crate::message::Message;
use crate::player::finish;
use crate::stage::Phone::{Alice, Bob, Carol};
use crate::stage::{Stage, Transport};
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
    stage.close_served(&[
        ("completions_accepted", 1),
        ("completions_completed", 1),
        ("completions_recalled", 1),
    ]);
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
