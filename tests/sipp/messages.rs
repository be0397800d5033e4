//! Flows of texts that callers leave: delivered, kept for who is away, withdrawn, shown by a lamp.
//!
//! Spec: RFC 3428 §4, §7, §8; RFC 3842 §3, §5; TAPI `LINECALLCOMPLMODE_MESSAGE`.

use crate::line::listen;
use crate::message::Message;
use crate::stage::Phone::{Alice, Bob};
use crate::stage::{Stage, Transport};

const CONFIG: &str = r##"
[completion]
guard = "300ms"

[completion.codes]
message = "*39*{index}#"
cancel_all = "#37#"

[completion.messages]
texts = ["please call back", "it is urgent"]
retry = "1s"
"##;

/// What a text of Alice's is on the wire.
fn assert_text(text: &Message, says: &str) {
    assert_eq!(text.body(), format!("alice: {says}").as_bytes());
    assert_eq!(text.header("Content-Type"), "text/plain;charset=UTF-8");
    assert!(text.header("From").contains("<sip:alice@"), "{text}");
    assert!(text.header("Date").ends_with(" GMT"), "{text}");
    let left_s: u32 = text.header("Expires").parse().expect("seconds");
    assert!((604_000..=604_800).contains(&left_s), "{text}");
    assert!(!text.has("Contact"), "{text}");
}

impl Stage {
    /// Alice, whose call has just failed, dials a code.
    fn alice_dials(&self, code: &str) {
        self.act("code.caller", Alice).with("code", code).play();
    }

    fn alice_finds_bob_busy(&self) {
        let target = format!("sip:bob@{}", self.domain());
        let act = self.act("offered.caller", Alice);
        act.with("target", target).play();
    }
}

#[test]
fn a_text_is_delivered_to_a_callee_who_is_busy() {
    let stage = Stage::open_with("message_delivered", CONFIG);
    stage.register(&[Alice, Bob]);
    let talk = stage.talk();
    stage.alice_finds_bob_busy();
    let bob = stage.wait_at("message_delivered.phone", Bob);
    stage.alice_dials("*39*0#");
    assert_text(
        bob.finish().received_nth("MESSAGE plain;charset=UTF-8", 0),
        "please call back",
    );
    stage.hang_up(talk, None).hang_up();
    stage.close_served(&[("completions_accepted", 1), ("completions_completed", 1)]);
}

#[test]
fn a_text_waits_for_a_callee_who_is_away() {
    let stage = Stage::open_with("message_when_registered", CONFIG);
    stage.register(&[Alice, Bob]);
    stage.play("deregistration.callee", Bob, Transport::Udp);
    let target = format!("sip:bob@{}", stage.domain());
    let call = stage.act("message_when_registered.caller", Alice);
    call.with("target", target).play();
    stage.alice_dials("*39*1#");
    let taken = ("message_when_registered.phone", 1);
    let mut bob = stage.line("ccnl_recall.line", Bob, taken);
    bob.wait_until_said("200 MESSAGE", 1);
    assert_text(
        bob.hang_up().received_nth("MESSAGE plain;charset=UTF-8", 0),
        "it is urgent",
    );
    stage.close_served(&[("completions_accepted", 1), ("completions_completed", 1)]);
}

#[test]
fn a_text_that_is_withdrawn_comes_no_more() {
    let stage = Stage::open_with("message_withdrawn", CONFIG);
    stage.register(&[Alice, Bob]);
    let talk = stage.talk();
    stage.alice_finds_bob_busy();
    let bob = stage.wait_at("message_withdrawn.phone", Bob);
    stage.alice_dials("*39*0#");
    bob.finish();
    stage.alice_dials("#37#");
    // Longer than the rest after which it would come again.
    let line = stage.hang_up(talk, None);
    listen();
    let bob = line.hang_up();
    assert!(bob.received().all(|heard| heard.method() == "BYE"));
    stage.close_served(&[("completions_accepted", 1), ("completions_cancelled", 1)]);
}

#[test]
fn a_text_that_the_phone_does_not_take_lights_its_lamp() {
    let stage = Stage::open_with("message_lights_lamp", CONFIG);
    stage.register(&[Alice, Bob]);
    let talk = stage.talk();
    stage.alice_finds_bob_busy();
    let bob = stage.wait_at("message_lights_lamp.text", Bob);
    stage.alice_dials("*39*0#");
    bob.finish();
    let mut bob = stage.start("message_lights_lamp.phone", Bob, Transport::Udp);
    bob.wait_until_said("200 NOTIFY", 1);
    stage.alice_dials("#37#");
    let bob = bob.finish();
    for (nth, says) in [(0, "yes"), (1, "no")] {
        let told = bob.received_nth("NOTIFY simple-message-summary", nth);
        let waiting = format!("Messages-Waiting: {says}\r\n");
        assert!(told.body().starts_with(waiting.as_bytes()), "{told}");
    }
    stage.hang_up(talk, None).hang_up();
    stage.close_served(&[("completions_accepted", 1), ("completions_cancelled", 1)]);
}
