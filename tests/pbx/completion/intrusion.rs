//! Intrusion before the scripted PBX: it carries what is joined, and has no part in who joins.
//!
//! Spec: RULES R5, R16, R17; RFC 3911 §4, §7.1; TAPI `LINECALLCOMPLMODE_INTRUDE`.

use std::net::IpAddr;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Scene, proxy};
use crate::pbx::Phone;
use crate::pbx::dialog::Dialog;
use crate::pbx::journal::Way;
use crate::pbx::phone::Outgoing;
use crate::pbx::sip::Sip;
use crate::pbx::switches::{CallerShown, Switches, Voicemail};
use crate::process::wait_for;

/// How long campon may take to do what it was asked for.
const EFFECT_MAX: Duration = Duration::from_secs(20);

/// Who finds somebody busy may press three to join his call.
const MIXER: &str = r#"
media.ports = "20000-20009"
completion.intrusion = { intrudes = 1, protection = 0 }
completion.prompt = { intrude = "3" }
records.file = "records"
"#;

/// What lets the application in, and its SHA-256.
const TOKEN: &str = "a-token-of-tests";
const LETS_IN: &str = r#"
api.token = [{ name = "tests", scopes = ["read", "complete"], sha256 = "2790ea26a8a8fadabc24a2a419724b02daed32320676df533e803f8a0f55a869" }]
"#;

/// An application may have callers join calls, of whom there are some with a level above this
/// protection; nobody is asked for longer than this.
pub fn asked(protection: u8, lasts: &str) -> String {
    format!(
        "{LETS_IN}completion.on_busy = \"ask\"\ncompletion.ask_time = \"{lasts}\"\n\
         completion.intrusion = {{ intrudes = 1, protection = {protection} }}\n\
         records.file = \"records\"\n"
    )
}

/// Each nature of a PBX, and one that shows its callers by their extensions.
fn natures() -> [(&'static str, Switches); 3] {
    let extension = Switches {
        caller: CallerShown::Extension,
        ..Switches::default()
    };
    [
        ("b2bua", Switches::default()),
        ("proxy", proxy()),
        ("extension", extension),
    ]
}

/// Alice's call finds Bob busy, whose mailbox would take it.
fn finds_busy(scene: &mut Scene) -> Outgoing {
    let mailbox = Voicemail::OnBusy;
    let pbx = &scene.office.pbx;
    pbx.set(move |switches| switches.voicemail = mailbox);
    let call = scene.alice.dial("sip:bob@pbx.test");
    let second = scene.bob.called();
    scene.bob.tell(&second, 486, "Busy Here");
    call
}

/// A phone is given another session, which it agrees to.
fn is_changed(phone: &mut Phone, dialog: &mut Dialog) -> Sip {
    let asked = phone.agree(dialog, "INVITE");
    phone.expect("ACK");
    asked
}

/// Without what says which version it is.
fn without_origin(sdp: &[u8]) -> String {
    let sdp = String::from_utf8_lossy(sdp);
    let lines = sdp.lines().filter(|line| !line.starts_with("o="));
    lines.collect::<Vec<_>>().join("\n")
}

/// What came of the only attempt, and who was there.
fn attempt(scene: &Scene) -> Value {
    let found = wait_for(EFFECT_MAX, || scene.office.recorded("intrusion").pop());
    let mut record = found.expect("a record of the attempt");
    for key in ["call_id", "began", "joined", "ended", "type"] {
        record.as_object_mut().expect("an object").remove(key);
    }
    record
}

/// R17: the PBX has asked nobody and answered nobody for who joined; of the call that was joined it
/// has relayed so many changes.
fn assert_pbx_saw(scene: &Scene, call: &Outgoing, changes: usize) {
    let journal = scene.office.pbx.journal();
    let is_within = |sip: &&Sip| sip.tag_of_to().is_some();
    let came = journal.came("INVITE");
    let story = journal.story();
    assert_eq!(came.iter().filter(is_within).count(), changes, "{story}");
    assert_eq!(journal.came("CANCEL").len(), 1, "{story}");
    // The calls of Carol and of Alice, each with and without a password.
    assert_eq!(came.len() - changes, 4, "{story}");
    assert_eq!(
        journal.labelled(Way::Left, "487 INVITE").len(),
        1,
        "{story}"
    );
    let answered = journal.labelled(Way::Left, "200 INVITE");
    let hers = answered.iter().filter(|entry| {
        let from = entry.sip.first("From").unwrap_or_default();
        from.contains("alice") || entry.sip.call_id() == call.dialog.call_id
    });
    assert_eq!(hers.count(), 0, "{story}");
}

#[test]
fn a_caller_joins_the_call_of_a_busy_callee_by_a_digit() {
    for (number, (nature, switches)) in (60..).zip(natures()) {
        let mut scene = Scene::open(&format!("intrude_{nature}"), number, switches, MIXER);
        let mut talk = scene.bob_talks();
        let mut call = finds_busy(&mut scene);
        let Scene {
            alice, bob, carol, ..
        } = &mut scene;
        alice.hear(&mut call, 183);
        let pressed = alice.say(&mut call.dialog, |dialog| {
            let digit = b"Signal=3\r\nDuration=160\r\n";
            dialog
                .request("INFO")
                .carrying("application/dtmf-relay", digit)
        });
        assert_eq!(pressed.status(), Some(200), "{pressed}");
        let (out, into) = (&mut talk.out.dialog, &mut talk.into.dialog);
        for asked in [is_changed(carol, out), is_changed(bob, into)] {
            let sdp = String::from_utf8_lossy(&asked.body).into_owned();
            assert!(sdp.contains("m=audio 2000"), "{asked}");
            let ours = format!("c=IN IP4 127.203.{number}.1");
            assert!(sdp.contains(&ours), "{asked}");
        }
        alice.hear(&mut call, 200);
        alice.hang_up(&mut call.dialog);
        // Then they have each other again.
        let back = is_changed(carol, out);
        assert_eq!(
            without_origin(&back.body),
            without_origin(bob.sdp().as_bytes())
        );
        let back = is_changed(bob, into);
        assert_eq!(
            without_origin(&back.body),
            without_origin(carol.sdp().as_bytes())
        );
        let known = json!({
            "intruder": "alice", "target": "bob", "third": "carol", "outcome": "joined"
        });
        assert_eq!(attempt(&scene), known);
        assert_pbx_saw(&scene, &call, 2);
        scene.bob_is_free(talk);
        scene.close(&[]);
    }
}

#[test]
fn a_caller_joins_by_the_phone_of_a_busy_callee() {
    for (number, (nature, switches)) in (63..).zip(natures()) {
        let config = asked(0, "10s");
        let mut scene = Scene::open(&format!("join_{nature}"), number, switches, &config);
        scene.bob.supports("replaces, join");
        let talk = scene.bob_talks();
        let mut call = finds_busy(&mut scene);
        let answer = asks_to_join(scene.office.campon_at().ip());
        let mut join = scene.bob.ring();
        assert_joins(&join.invite, &talk.into.dialog);
        // What proves her to the PBX is nothing to Bob.
        assert_eq!(join.invite.first("Proxy-Authorization"), None);
        scene.alice.hear(&mut call, 180);
        scene.bob.tell(&join, 200, "OK");
        scene.alice.hear(&mut call, 200);
        scene.bob.expect("ACK");
        let answer = answer.join().expect("it is asked");
        assert!(answer["completion_id"].is_string(), "{answer}");
        let known = json!({
            "intruder": "alice", "target": "bob", "third": "carol", "outcome": "joined"
        });
        assert_eq!(attempt(&scene), known);
        scene.bob.hang_up(&mut join.dialog);
        scene.alice.agree(&mut call.dialog, "BYE");
        assert_pbx_saw(&scene, &call, 0);
        scene.bob_is_free(talk);
        scene.close(&[]);
    }
}

/// RFC 3911 §7.1: the dialog as the phone knows it that has it.
pub fn assert_joins(invite: &Sip, dialog: &Dialog) {
    let tag = |value: &str| value.rsplit_once("tag=").map(|(_, tag)| tag.to_owned());
    let (to, from) = (tag(&dialog.local), tag(&dialog.remote));
    let (to, from) = (to.unwrap_or_default(), from.unwrap_or_default());
    let expected = format!("{};to-tag={to};from-tag={from}", dialog.call_id);
    assert_eq!(invite.first("Join"), Some(expected.as_str()), "{invite}");
    assert_eq!(invite.first("Require"), Some("join"), "{invite}");
}

/// The PBX says itself that he is busy, as if nobody had asked.
#[test]
fn who_may_not_join_hears_what_the_pbx_says() {
    let hidden = Switches {
        caller: CallerShown::Anonymous,
        ..Switches::default()
    };
    let natures = [
        (66, Switches::default(), 1, "target-protected"),
        (67, proxy(), 1, "target-protected"),
        // Whom he talks to nobody knows, and so nobody joins them.
        (68, hidden, 0, "third-protected"),
    ];
    for (number, switches, protection, outcome) in natures {
        let config = asked(protection, "3s");
        let mut scene = Scene::open(&format!("protected_{number}"), number, switches, &config);
        scene.bob.supports("join");
        let talk = scene.bob_talks();
        let mut call = scene.alice.dial("sip:bob@pbx.test");
        let second = scene.bob.called();
        scene.bob.tell(&second, 486, "Busy Here");
        let refused = asks_to_join(scene.office.campon_at().ip());
        let refused = refused.join().expect("it is asked");
        assert_eq!(refused["code"], "OPERATIONUNAVAIL", "{refused}");
        scene.alice.hear(&mut call, 486);
        let record = attempt(&scene);
        let names = ["intruder", "target", "outcome"].map(|key| record[key].as_str());
        assert_eq!(
            names,
            [Some("alice"), Some("bob"), Some(outcome)],
            "{record}"
        );
        scene.bob_is_free(talk);
        scene.close(&[]);
    }
}

/// Has the caller's call that is kept from its failure join his callee's, as an application does; what
/// the API answers when it knows.
pub fn asks_to_join(campon: IpAddr) -> std::thread::JoinHandle<Value> {
    let api = format!("http://{campon}:5080/v1");
    let calls = format!("{api}/calls?line=alice");
    let held = wait_for(EFFECT_MAX, || {
        let calls = curl(&[&calls]);
        let mut calls = calls.as_array()?.iter();
        let busy = calls.find(|call| call["state"] == "busy")?;
        busy["id"].as_str().map(str::to_owned)
    });
    let held = held.expect("a call that is kept");
    let complete = format!("{api}/calls/{held}/complete");
    std::thread::spawn(move || curl(&["--json", "{\"mode\":\"intrude\"}", &complete]))
}

fn curl(arguments: &[&str]) -> Value {
    let mut command = Command::new("curl");
    let bearer = format!("Authorization: Bearer {TOKEN}");
    let done = command.args(["-s", "-H", &bearer]).args(arguments).output();
    let done = done.expect("curl in the path");
    serde_json::from_slice(&done.stdout).unwrap_or_default()
}
