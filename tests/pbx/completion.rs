//! Completion before the scripted PBX, whatever its habits: busy, code, recall, and the caller's own
//! phone dials the callee anew through the PBX.

use std::time::Duration;

use super::Phone;
use super::dialog::Dialog;
use super::office::Office;
use super::phone::{Incoming, Outgoing};
use super::sip::{Sip, address};
use super::switches::{CallerShown, Ids, Switches, Voicemail};

const CODES: &str = r#"
[completion]
guard = "300ms"

[completion.codes]
request_last = "*37#"
"#;

/// Three users.
struct Scene {
    office: Office,
    alice: Phone,
    bob: Phone,
    carol: Phone,
    /// Bob's with Carol, on both sides.
    talk: Option<(Outgoing, Incoming)>,
}

impl Scene {
    fn open(name: &str, number: u8, switches: Switches) -> Self {
        let office = Office::open(name, number, switches, CODES);
        let (alice, bob) = office.alice_and_bob();
        let mut carol = office.phone("carol", 13);
        carol.register(300);
        Self {
            office,
            alice,
            bob,
            carol,
            talk: None,
        }
    }

    /// Bob begins to talk with Carol.
    fn talks(&mut self) {
        let mut out = self.carol.dial("sip:bob@pbx.test");
        let into = self.bob.ring();
        self.carol.hear(&mut out, 180);
        self.bob.tell(&into, 200, "OK");
        self.carol.hear(&mut out, 200);
        self.bob.expect("ACK");
        self.talk = Some((out, into));
    }

    /// Alice calls Bob, whose phone is busy; the PBX tells her so, or its mailbox answers.
    fn fails(&mut self, told: u16) {
        let mut call = self.alice.dial("sip:bob@pbx.test");
        let second = self.bob.called();
        self.bob.tell(&second, 486, "Busy Here");
        self.alice.hear(&mut call, told);
        if told == 200 {
            self.alice.hang_up(&mut call.dialog);
        }
    }

    /// She dials the code.
    fn asks(&mut self) {
        let mut code = self.alice.dial("sip:*37%23@pbx.test");
        self.alice.hear(&mut code, 200);
        self.alice.agree(&mut code.dialog, "BYE");
    }

    /// Bob hangs up; Alice's phone rings, and she picks up.
    fn is_recalled(&mut self) -> Incoming {
        let (mut out, mut into) = self.talk.take().expect("a talk");
        self.bob.hang_up(&mut into.dialog);
        self.carol.agree(&mut out.dialog, "BYE");
        let recall = self.alice.ring();
        let alert = recall.invite.first("Alert-Info");
        assert_eq!(alert, Some("<urn:alert:service:recall:callback>"));
        self.alice.tell(&recall, 200, "OK");
        self.alice.expect("ACK");
        recall
    }

    /// Her phone is told to dial Bob, does so through the PBX, and he answers.
    fn dials_anew(&mut self, mut recall: Incoming) {
        let refer = self.alice.agree(&mut recall.dialog, "REFER");
        let target = refer.first("Refer-To").map(address).unwrap_or_default();
        assert!(target.starts_with("sip:bob@pbx.test"), "{refer}");
        self.tells(&mut recall.dialog, "active", "SIP/2.0 100 Trying\r\n");
        let mut call = self.alice.dial(target);
        let mut into = self.bob.ring();
        self.alice.hear(&mut call, 180);
        self.bob.tell(&into, 200, "OK");
        self.alice.hear(&mut call, 200);
        self.bob.expect("ACK");
        self.tells(&mut recall.dialog, "terminated", "SIP/2.0 200 OK\r\n");
        self.alice.agree(&mut recall.dialog, "BYE");
        self.alice.hang_up(&mut call.dialog);
        self.bob.agree(&mut into.dialog, "BYE");
    }

    fn tells(&mut self, dialog: &mut Dialog, state: &str, news: &str) {
        let contact = format!("<{}>", self.alice.contact_uri());
        let notify = |dialog: &mut Dialog| -> Sip {
            dialog
                .request("NOTIFY")
                .with("Contact", &contact)
                .with("Event", "refer")
                .with("Subscription-State", state)
                .carrying("message/sipfrag;version=2.0", news.as_bytes())
        };
        let answer = self.alice.say(dialog, notify);
        assert_eq!(answer.status(), Some(200), "{answer}");
    }

    fn close(self) {
        let counted = self.office.campon().counted();
        let completed = counted
            .iter()
            .find(|(name, _)| name == "completions_completed");
        assert_eq!(completed.map(|(_, count)| *count), Some(1), "{counted:?}");
        self.office.close([self.alice, self.bob, self.carol]);
    }
}

/// The whole of it before a PBX with these habits.
fn completes(name: &str, number: u8, switches: Switches, told: u16) {
    let mut scene = Scene::open(name, number, switches);
    scene.talks();
    scene.fails(told);
    scene.asks();
    let recall = scene.is_recalled();
    scene.dials_anew(recall);
    scene.close();
}

#[test]
fn a_busy_callee_is_reached_through_a_pbx_with_ids_of_its_own() {
    completes("complete_new", 20, Switches::default(), 486);
}

#[test]
fn a_busy_callee_is_reached_through_a_pbx_that_keeps_ids() {
    let switches = Switches {
        ids: Ids::Kept,
        strips: false,
        ..Switches::default()
    };
    completes("complete_kept", 21, switches, 486);
}

#[test]
fn a_busy_callee_is_reached_though_the_mailbox_answered() {
    let switches = Switches {
        voicemail: Voicemail::OnBusy,
        ..Switches::default()
    };
    completes("complete_mailbox", 22, switches, 200);
}

#[test]
fn a_busy_callee_is_reached_through_a_pbx_that_hides_callers() {
    let switches = Switches {
        caller: CallerShown::Anonymous,
        ..Switches::default()
    };
    completes("complete_hidden", 23, switches, 486);
}

#[test]
fn a_busy_callee_is_reached_through_a_pbx_that_shows_extensions() {
    let switches = Switches {
        caller: CallerShown::Extension,
        ..Switches::default()
    };
    completes("complete_extension", 24, switches, 486);
}

/// The PBX's own ring timer ends the call: no reply. Bob is back when he has spoken with somebody.
#[test]
fn a_silent_callee_is_reached_when_he_is_back() {
    let switches = Switches {
        rings: Duration::from_millis(300),
        ..Switches::default()
    };
    let mut scene = Scene::open("complete_silent", 25, switches);
    let mut call = scene.alice.dial("sip:bob@pbx.test");
    let silent = scene.bob.ring();
    scene.alice.hear(&mut call, 180);
    scene.bob.see_cancelled(&silent);
    scene.alice.hear(&mut call, 480);
    scene
        .office
        .pbx
        .set(|switches| switches.rings = Duration::from_secs(30));
    scene.asks();
    scene.talks();
    let recall = scene.is_recalled();
    scene.dials_anew(recall);
    scene.close();
}
