//! Texts in the lamps of a PBX: what it says of what waits reaches the phone with our count.
//!
//! Spec: RFC 3842 §3, §4.1, §5.2; RFC 6665 §4.2; RULES R20, R23.

use super::super::super::kit::draft::{Draft, request, within};
use super::super::super::kit::message::Message;
use super::super::super::kit::relayed::{Watching, notify, tells, watch, watches};
use super::super::super::kit::subject::Setup;
use super::{CANCEL_LAST, Office, address, from};

/// Leaves the first text.
const CALL_BACK: &str = "*39*0%23";

const KIND: &str = "application/simple-message-summary";

/// What waits at the PBX.
const VOICE: &str = "Messages-Waiting: yes\r\nVoice-Message: 1/3 (0/1)\r\n";
/// Nothing is new there.
const HEARD: &str = "Messages-Waiting: no\r\nVoice-Message: 0/4 (0/1)\r\n";
/// The same with a text.
const HEARD_AND_TEXT: &str =
    "Messages-Waiting: yes\r\nVoice-Message: 0/4 (0/1)\r\nText-Message: 1/0\r\n";

impl Office {
    /// Bob's phone asks the PBX for its user's lamp.
    #[track_caller]
    fn bob_asks_for_his_lamp(&self) -> Watching {
        let asks = watch(&self.bob, &address("bob"), "message-summary");
        watches(&self.bob, &self.pbx, from(asks, "bob"))
    }

    /// The PBX tells it.
    #[track_caller]
    fn says(&self, lamp: &Watching, said: &str) -> Message {
        let news = notify(&self.pbx, &lamp.far, "active;expires=3600");
        let news = news.with_only("Event", "message-summary;id=4");
        tells(&self.pbx, news.with_body(KIND, said.as_bytes()), &self.bob)
    }

    /// Alice leaves a text for Bob, whose phone does not take it.
    #[track_caller]
    fn alice_leaves_a_text(&self) {
        let talk = self.carol_talks();
        self.alice_finds_bob_busy();
        self.dials(CALL_BACK);
        let text = self.bob.receives("MESSAGE");
        self.bob.answers(&text, 405);
        self.is_over(&self.carol, &talk);
    }
}

/// Bob is told by us, and the PBX hears nothing of it.
#[track_caller]
fn is_told(office: &Office, summary: &str) -> Message {
    let told = office.bob.receives("NOTIFY");
    assert_eq!((told.sdp(), told.header("Content-Type")), (summary, KIND));
    office.bob.answers(&told, 200);
    office.pbx.receives_nothing();
    told
}

#[test]
fn a_text_is_shown_beside_what_waits_at_the_pbx() {
    let office = Office::new(Setup::EdgeTexts);
    let lamp = office.bob_asks_for_his_lamp();
    // Without texts it crosses as it is.
    let first = office.says(&lamp, VOICE);
    assert_eq!(first.sdp(), VOICE);

    let talk = office.carol_talks();
    office.alice_finds_bob_busy();
    office.dials(CALL_BACK);
    let text = office.bob.receives("MESSAGE");
    office.bob.answers(&text, 405);
    let told = is_told(&office, &format!("{VOICE}Text-Message: 1/0\r\n"));
    // S-123: the next one of the subscription that the phone has.
    assert_eq!(told.call_id(), lamp.near.call_id);
    assert_eq!(told.cseq(), first.cseq() + 1);
    assert_eq!(told.header("Event"), "message-summary;id=4");
    let state = told.header("Subscription-State");
    assert!(state.starts_with("active;expires="), "{told}");
    office.is_over(&office.carol, &talk);

    // What the PBX says next has it too.
    let next = office.says(&lamp, HEARD);
    assert_eq!(next.sdp(), HEARD_AND_TEXT);
    assert_eq!(next.cseq(), told.cseq() + 1);
    // Only ours is withdrawn.
    office.dials(CANCEL_LAST);
    is_told(&office, HEARD);
    assert_eq!(office.says(&lamp, VOICE).sdp(), VOICE);

    let end = within(&lamp.near, "SUBSCRIBE").with("Event", "message-summary;id=4");
    office.bob.sends(end.with("Expires", "0"));
    let end = office.pbx.receives("SUBSCRIBE");
    office.pbx.answers(&end, 200);
    office.bob.receives("200");
}

/// A PBX that has said nothing has no lamp, and one that was asked by another phone is not Bob's.
#[test]
fn where_the_pbx_has_said_nothing_nobody_is_told() {
    let office = Office::new(Setup::EdgeTexts);
    office.bob_asks_for_his_lamp();
    let others = from(
        watch(&office.carol, &address("bob"), "message-summary"),
        "carol",
    );
    let others = watches(&office.carol, &office.pbx, others);
    let news = notify(&office.pbx, &others.far, "active;expires=3600");
    let news = news.with_only("Event", "message-summary");
    let told = tells(
        &office.pbx,
        news.with_body(KIND, HEARD.as_bytes()),
        &office.carol,
    );
    assert_eq!(told.sdp(), HEARD);
    office.alice_leaves_a_text();
    office.bob.receives_nothing();
    office.carol.receives_nothing();
    office.dials(CANCEL_LAST);
    office.bob.receives_nothing();
    office.carol.receives_nothing();
}

/// What is no summary crosses as it is.
#[test]
fn other_bodies_in_a_lamp_stay_as_they_are() {
    let office = Office::new(Setup::EdgeTexts);
    let lamp = office.bob_asks_for_his_lamp();
    office.alice_leaves_a_text();
    for (kind, body) in [(KIND, "nothing waits"), ("text/plain", HEARD), (KIND, "")] {
        let news = notify(&office.pbx, &lamp.far, "active;expires=3600");
        let news = news.with_only("Event", "message-summary");
        let told = tells(
            &office.pbx,
            news.with_body(kind, body.as_bytes()),
            &office.bob,
        );
        assert_eq!(told.sdp(), body);
    }
    office.dials(CANCEL_LAST);
}

/// As many PBXs do: the phone has not asked.
#[test]
fn a_text_is_shown_by_a_lamp_that_nobody_has_asked_for() {
    let office = Office::new(Setup::EdgeTexts);
    let unasked = |said: &str| -> Draft {
        request("NOTIFY", &office.to_bob)
            .with_only("From", &format!("<{}>;tag=pbx", address("mailbox")))
            .with_only("To", &format!("<{}>", address("bob")))
            .with("Event", "message-summary")
            .with("Subscription-State", "active")
            .with_body(KIND, said.as_bytes())
    };
    let told = tells(&office.pbx, unasked(HEARD), &office.bob);
    assert_eq!(told.sdp(), HEARD);
    let talk = office.carol_talks();
    office.alice_finds_bob_busy();
    office.dials(CALL_BACK);
    let text = office.bob.receives("MESSAGE");
    office.bob.answers(&text, 405);
    let told = is_told(&office, HEARD_AND_TEXT);
    assert_eq!(told.uri(), office.bob.uri());
    assert!(told.header("From").contains(&address("mailbox")), "{told}");
    assert_eq!(told.header("Event"), "message-summary");
    office.is_over(&office.carol, &talk);
    let told = tells(&office.pbx, unasked(HEARD), &office.bob);
    assert_eq!(told.sdp(), HEARD_AND_TEXT);
    office.dials(CANCEL_LAST);
    is_told(&office, HEARD);
}
