//! Flows of camp-on: Alice waits for Bob with the call in her hand.
//!
//! Spec: RULES R5; RFC 3841 §9.1; RFC 3261 §21.1.4. Bob is kept busy by Dave.

use crate::line::listen;
use crate::stage::Phone::{Alice, Bob};
use crate::stage::{Stage, Transport};
use crate::trace::Trace;

/// Bob's phone is rung as soon as he has hung up.
const CONFIG: &str = "
[completion]
camp_on_guard = \"100ms\"
guard = \"300ms\"
";

/// What Alice was told while she waited has no session, and is no offer.
fn assert_queued(alice: &Trace) {
    let queued = alice.received_nth("182 INVITE", 0);
    assert_eq!(queued.body(), b"");
    assert!(queued.tag_of_to().is_some(), "{queued}");
}

#[test]
fn a_call_waits_until_the_callee_is_free() {
    let stage = Stage::open_with("camp_on_until_free", CONFIG);
    stage.register(&[Alice, Bob]);
    let talk = stage.talk();
    let mut alice = stage.start("camp_on_until_free.caller", Alice, Transport::Udp);
    alice.wait_until_heard("182 INVITE", 1);
    let bob = stage.hang_up(talk, Some(("basic_call.callee", 1)));
    let (alice, bob) = (alice.finish(), bob.hang_up());
    assert_queued(&alice);
    // The call that rings is the one that waited.
    let rang = bob.received_nth("INVITE sdp", 0);
    assert_eq!(rang.body(), alice.sent_nth("INVITE sdp", 0).body());
    assert_eq!(rang.header("Request-Disposition"), "queue");
    stage.close_completed();
}

#[test]
fn a_caller_who_hangs_up_waits_no_longer() {
    let stage = Stage::open_with("camp_on_cancelled", CONFIG);
    stage.register(&[Alice, Bob]);
    let talk = stage.talk();
    let alice = stage.play("camp_on_cancelled.caller", Alice, Transport::Udp);
    assert_queued(&alice);
    let bob = stage.hang_up(talk, None);
    // Nobody rings him.
    listen();
    bob.hang_up();
    stage.close_served(&[("completions_accepted", 1), ("completions_cancelled", 1)]);
}

#[test]
fn a_call_that_waited_too_long_is_offered_a_callback() {
    let config = format!(
        "{CONFIG}camp_on_max = \"1500ms\"\n[completion.codes]\nrequest_last = \"*37#\"\n\
         cancel_all = \"#37#\"\n"
    );
    let stage = Stage::open_with("camp_on_expires_to_callback", &config);
    stage.register(&[Alice, Bob]);
    let talk = stage.talk();
    let flow = "camp_on_expires_to_callback.caller";
    let alice = stage.play(flow, Alice, Transport::Udp);
    assert_queued(&alice);
    let offer = alice.received_nth("486 INVITE", 0).header("Call-Info");
    assert!(offer.ends_with(";purpose=call-completion;m=BS"), "{offer}");
    for code in ["*37#", "#37#"] {
        stage.act("code.caller", Alice).with("code", code).play();
    }
    stage.hang_up(talk, None).hang_up();
    stage.close_served(&[
        ("completions_accepted", 2),
        ("completions_cancelled", 1),
        ("completions_expired", 1),
    ]);
}
