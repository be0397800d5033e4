//! campon between baresip and Kamailio: neither is changed, and every feature of a call survives.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::completion::{self, are_heard, ends, waits};
use crate::process::{Campon, wait_for};
use crate::real::baresip::Baresip;
use crate::real::capture::{Capture, Captured, Wire};
use crate::real::kamailio::Kamailio;
use crate::real::softphone::Softphone;
use crate::real::stage::{Stage, UNHURRIED};

/// How long phones may take to find out that the PBX has forgotten them.
const AGAIN_MAX: Duration = Duration::from_mins(1);

/// campon before Kamailio, and phones that are registered through it.
pub struct Office {
    pub stage: Stage,
    pub kamailio: Kamailio,
    pub campon: Campon,
    capture: Capture,
}

impl Office {
    pub fn open(name: &str, number: u8, more: &str) -> Self {
        let stage = Stage::open(name, number);
        let kamailio = stage.kamailio();
        Self::before(stage, kamailio, more)
    }

    /// The same before this PBX.
    pub fn before(stage: Stage, kamailio: Kamailio, more: &str) -> Self {
        let upstream = kamailio.address();
        let config = format!(
            "mode = \"edge\"\nupstream.address = \"sip:{upstream}\"\ndomains = [\"pbx.test\"]\n{more}\n{UNHURRIED}"
        );
        let campon = stage.campon(&config);
        let capture = stage.capture();
        Self {
            stage,
            kamailio,
            campon,
            capture,
        }
    }

    pub fn phones<const N: usize>(&self, users: [&str; N]) -> [Baresip; N] {
        self.stage.registered(users)
    }

    fn ip(&self, user: &str) -> Ipv4Addr {
        self.stage.ip_of(user)
    }

    /// Ends the phones and campon, and gives what went over the wire.
    pub fn close<const N: usize>(self, phones: [Baresip; N]) -> (Captured, Stage) {
        phones.into_iter().for_each(Baresip::quit);
        self.campon.stop();
        (self.capture.finish(), self.stage)
    }
}

/// Alice's call of Bob, answered, with both tones heard.
fn talk(alice: &mut Baresip, bob: &mut Baresip) {
    alice.dial("bob");
    bob.wait_for("CALL_INCOMING");
    bob.tell("accept", "");
    alice.wait_for("CALL_ESTABLISHED");
    bob.wait_for("CALL_ESTABLISHED");
    alice.wait_until_heard(Stage::tone_of("bob"));
    bob.wait_until_heard(Stage::tone_of("alice"));
    alice.play_for_a_second();
}

/// Whether what `inner` says is what `outer` says, in these fields.
fn assert_same(inner: &Wire, outer: &Wire, fields: &[&str]) {
    for field in fields {
        assert_eq!(inner.field(field), outer.field(field), "{field}");
    }
}

#[test]
fn a_phone_registers_with_its_password_at_the_pbx_and_leaves_it() {
    let office = Office::open("edge_registration", 11, "");
    let [alice] = office.phones(["alice"]);
    let contacts = office.kamailio.contacts("alice");
    assert_eq!(contacts.len(), 1, "{contacts:?}");
    let (us, pbx) = (office.stage.campon_ip(), office.stage.pbx_ip());
    assert!(contacts[0].contains(&us.to_string()), "{contacts:?}");
    alice.quit();
    let left = || office.kamailio.contacts("alice").is_empty().then_some(());
    assert!(wait_for(AGAIN_MAX, left).is_some(), "Alice is still there");
    let (captured, stage) = office.close([]);
    let phone = stage.ip_of("alice");
    let asked = captured.between(phone, us, "REGISTER");
    let passed = captured.between(us, pbx, "REGISTER");
    assert_eq!((asked.len(), passed.len()), (4, 4), "{captured}");
    // R3: nothing that the digest covers, and nothing that says who it is, is touched.
    let kept = [
        "sip.r-uri",
        "sip.Authorization",
        "sip.auth.uri",
        "sip.from.user",
        "sip.to.user",
    ];
    for (asked, passed) in asked.iter().zip(&passed) {
        assert_same(asked, passed, &kept);
        assert_ne!(asked.field("sip.Call-ID"), passed.field("sip.Call-ID"));
        assert!(
            contacts[0].contains(passed.field("sip.contact.uri")),
            "{captured}"
        );
    }
    let refused = captured.between(us, phone, "401 REGISTER");
    assert_eq!(refused.len(), 2, "{captured}");
    // It is told of its own Contact, then of none.
    let granted = captured.between(us, phone, "200 REGISTER");
    let listed = granted.iter().map(|one| one.field("sip.contact.uri"));
    let own = asked[0].field("sip.contact.uri");
    assert!(listed.eq([own, ""]), "{captured}");
}

#[test]
fn phones_call_each_other_through_the_pbx_and_hear_each_other() {
    let office = Office::open("edge_call", 12, "");
    let [mut alice, mut bob] = office.phones(["alice", "bob"]);
    talk(&mut alice, &mut bob);
    alice.tell("hangup", "");
    bob.wait_for("CALL_CLOSED");
    // And the other way.
    bob.dial("alice");
    alice.wait_for("CALL_INCOMING");
    alice.tell("accept", "");
    bob.wait_for("CALL_ESTABLISHED");
    alice.wait_for("CALL_ESTABLISHED");
    bob.tell("hangup", "");
    alice.wait_for("CALL_CLOSED");
    let (a, b) = (office.ip("alice"), office.ip("bob"));
    let (captured, stage) = office.close([alice, bob]);
    let (us, pbx) = (stage.campon_ip(), stage.pbx_ip());
    stage.assert_audio_is_direct(&captured, ["alice", "bob"]);
    // Four legs a call, no two of them with one Call-ID but the PBX's own two: it is a proxy.
    for (caller, callee) in [(a, b), (b, a)] {
        let dialled = captured.between(caller, us, "INVITE");
        let rung = captured.between(us, callee, "INVITE");
        assert_eq!((dialled.len(), rung.len()), (2, 1), "{captured}");
        assert_ne!(
            dialled[0].field("sip.Call-ID"),
            rung[0].field("sip.Call-ID")
        );
    }
    // R3: asked for credentials, the repeat keeps Call-ID and From tag, and counts on.
    let passed = captured.between(us, pbx, "INVITE");
    assert_eq!(passed.len(), 4, "{captured}");
    for pair in passed.chunks(2) {
        assert_same(
            pair[1],
            pair[0],
            &["sip.Call-ID", "sip.from.tag", "sip.r-uri"],
        );
        let number = |one: &Wire| one.field("sip.CSeq.seq").parse::<u32>().expect("a number");
        assert_eq!(number(pair[1]), number(pair[0]) + 1);
    }
}

#[test]
fn a_call_is_held_and_resumed_through_the_pbx() {
    let office = Office::open("edge_hold", 13, "");
    let [mut alice, mut bob] = office.phones(["alice", "bob"]);
    talk(&mut alice, &mut bob);
    for change in ["hold", "resume"] {
        alice.tell(change, "");
        alice.wait_until("CALL_REMOTE_SDP", |of| of == "answer");
    }
    bob.tell("hangup", "");
    alice.wait_for("CALL_CLOSED");
    let (captured, stage) = office.close([alice, bob]);
    let (us, b) = (stage.campon_ip(), stage.ip_of("bob"));
    let offers = captured.between(us, b, "INVITE");
    let directions: Vec<_> = offers.iter().map(|one| direction(one)).collect();
    assert_eq!(
        directions,
        ["sendrecv", "sendonly", "sendrecv"],
        "{captured}"
    );
    let answers = captured.between(b, us, "200 INVITE");
    let directions: Vec<_> = answers.iter().map(|one| direction(one)).collect();
    assert_eq!(
        directions,
        ["sendrecv", "recvonly", "sendrecv"],
        "{captured}"
    );
}

/// The direction of the audio in an SDP body.
fn direction(wire: &Wire) -> &str {
    let known = ["sendrecv", "sendonly", "recvonly", "inactive"];
    let mut fields = wire.fields("sdp.media_attr").map(str::trim);
    fields
        .find(|value| known.contains(value))
        .unwrap_or("sendrecv")
}

#[test]
fn a_call_is_transferred_blindly_through_the_pbx() {
    let office = Office::open("edge_blind_transfer", 14, "");
    let [mut alice, mut bob, mut carol] = office.phones(["alice", "bob", "carol"]);
    talk(&mut alice, &mut bob);
    alice.tell("transfer", "sip:carol@pbx.test");
    carol.wait_for("CALL_INCOMING");
    carol.tell("accept", "");
    carol.wait_for("CALL_ESTABLISHED");
    bob.wait_until_heard(Stage::tone_of("carol"));
    carol.wait_until_heard(Stage::tone_of("bob"));
    carol.tell("hangup", "");
    carol.wait_for("CALL_CLOSED");
    let (captured, stage) = office.close([alice, bob, carol]);
    let (us, a, b) = (stage.campon_ip(), stage.ip_of("alice"), stage.ip_of("bob"));
    let asked = captured.between(a, us, "REFER");
    let passed = captured.between(us, b, "REFER");
    assert_eq!((asked.len(), passed.len()), (1, 1), "{captured}");
    assert!(
        passed[0].field("sip.Refer-To").contains("carol"),
        "{captured}"
    );
    let told = captured.between(us, a, "NOTIFY");
    // The subscription is named by the number of the REFER, which is another one on each leg.
    let own = asked[0].field("sip.CSeq.seq");
    for one in &told {
        let named = one.field("sip.Event").strip_prefix("refer;id=");
        assert!(named.is_none_or(|id| id == own), "{captured}");
    }
    let ended = |one: &&Wire| {
        one.field("sip.Subscription-State")
            .starts_with("terminated")
    };
    assert_eq!(
        told.iter().filter(|one| ended(one)).count(),
        1,
        "{captured}"
    );
}

/// A call of the first's, answered.
fn reach(caller: &mut Softphone, number: &str, callee: &mut Softphone) {
    caller.tell(&format!("call sip:{number}@pbx.test"));
    callee.wait_for(&json!({"ev": "incoming"}));
    callee.tell("answer 200");
    callee.wait_for(&confirmed());
    caller.wait_for(&confirmed());
}

fn confirmed() -> Value {
    json!({"ev": "state", "state": "CONFIRMED"})
}

#[test]
fn a_call_is_transferred_to_one_that_was_asked_first() {
    let office = Office::open("edge_attended_transfer", 18, "");
    let [mut alice, mut bob, mut carol] =
        ["alice", "bob", "carol"].map(|user| office.stage.softphone(user));
    reach(&mut alice, "bob", &mut bob);
    alice.tell("hold");
    // Held by the other side.
    bob.wait_for(&json!({"ev": "media", "status": 3}));
    reach(&mut alice, "carol", &mut carol);
    alice.tell("xferreplaces 1 2");
    let referred = bob.wait_for(&json!({"ev": "refer"}));
    assert!(
        referred["to"]
            .as_str()
            .is_some_and(|to| to.contains("Replaces=")),
        "{referred}"
    );
    carol.wait_for(&json!({"ev": "replaced"}));
    bob.wait_for(&confirmed());
    alice.wait_for(&json!({"ev": "referstatus", "code": 200}));
    // Bob and Carol speak in a second call of theirs.
    bob.wait_until_heard(2, Stage::tone_of("carol"));
    carol.wait_until_heard(2, Stage::tone_of("bob"));
    alice.tell("hangup 1");
    bob.wait_for(&json!({"ev": "state", "state": "DISCONNECTED", "call": 1}));
    bob.tell("hangup 2");
    carol.wait_for(&json!({"ev": "state", "state": "DISCONNECTED", "call": 2}));
    [alice, bob, carol].into_iter().for_each(Softphone::quit);
    let (captured, stage) = office.close([]);
    let (us, c) = (stage.campon_ip(), stage.ip_of("carol"));
    let rung = captured.between(us, c, "INVITE");
    let replacing = rung
        .iter()
        .filter(|one| !one.field("sip.Replaces").is_empty());
    // Carol knows the call that is replaced by her own Call-ID of it.
    let named: Vec<_> = replacing.map(|one| one.field("sip.Replaces")).collect();
    let own = rung[0].field("sip.Call-ID");
    assert!(
        matches!(*named, [one] if one.starts_with(own)),
        "{named:?}\n{captured}"
    );
}

/// What the phones dial.
pub const CODES: &str = r##"
[completion.codes]
request_last = "*37#"
cancel_all = "#37#"

[completion]
guard = "300ms"
"##;

#[test]
fn a_caller_of_a_busy_phone_behind_the_pbx_is_called_back() {
    let office = Office::open("edge_completion", 15, CODES);
    let [mut alice, mut bob, mut carol] = office.phones(["alice", "bob", "carol"]);
    complete(&mut alice, &mut bob, &mut carol);
    let (captured, stage) = office.close([alice, bob, carol]);
    let (us, a) = (stage.campon_ip(), stage.ip_of("alice"));
    assert_eq!(captured.between(us, a, "486 INVITE").len(), 1, "{captured}");
    let recalls = captured.between(us, a, "INVITE");
    assert_eq!(recalls[0].field("sip.from.user"), "bob", "{captured}");
    assert!(
        recalls[0]
            .field("sip.Alert-Info")
            .contains("recall:callback"),
        "{captured}"
    );
    // R10: her own phone dialled Bob, through the PBX and with her password.
    let refers = captured.between(us, a, "REFER");
    assert_eq!(refers.len(), 1, "{captured}");
    let target = refers[0].field("sip.Refer-To");
    assert!(target.contains("sip:bob@pbx.test;m=BS;cce="), "{target}");
    let passed = captured.between(us, stage.pbx_ip(), "INVITE");
    let completing = passed
        .iter()
        .filter(|one| one.field("sip.r-uri").contains("cce="));
    let completing: Vec<_> = completing.collect();
    assert_eq!(completing.len(), 2, "{captured}");
    assert_eq!(
        completing[1].field("sip.auth.username"),
        "\"alice\"",
        "{captured}"
    );
    stage.assert_audio_is_direct(&captured, ["alice", "bob"]);
}

/// Bob talks with Carol; Alice asks to be called back, and is.
pub fn complete(alice: &mut Baresip, bob: &mut Baresip, carol: &mut Baresip) {
    completion::talk(carol, bob);
    waits(alice, "486");
    ends(carol, bob);
    are_heard(alice, bob);
    alice.tell("hangup", "");
    bob.wait_for("CALL_CLOSED");
}

#[test]
fn phones_are_reached_again_when_the_pbx_has_been_killed_and_started() {
    let mut office = Office::open("edge_pbx_restart", 16, "");
    let [mut alice, mut bob] = office.phones(["alice", "bob"]);
    office.kamailio.kill();
    office.kamailio.start_again();
    assert_eq!(office.kamailio.contacts("bob"), [""; 0]);
    let again = wait_for(AGAIN_MAX, || {
        let known = ["alice", "bob"].map(|user| office.kamailio.contacts(user).len());
        (known == [1, 1]).then_some(())
    });
    assert!(again.is_some(), "the phones are not registered anew");
    talk(&mut alice, &mut bob);
    bob.tell("hangup", "");
    alice.wait_for("CALL_CLOSED");
    let (captured, stage) = office.close([alice, bob]);
    stage.assert_audio_is_direct(&captured, ["alice", "bob"]);
}

#[test]
fn a_text_passes_the_pbx_with_its_senders_password() {
    let office = Office::open("edge_text", 41, "");
    let [mut alice, mut bob] = ["alice", "bob"].map(|user| office.stage.softphone(user));
    alice.tell("message sip:bob@pbx.test at one, in the usual place?");
    bob.wait_for(&json!({"ev": "message", "body": "at one, in the usual place?"}));
    // The PBX of this flow has no presence: that is its own to say.
    bob.tell("subscribe sip:alice@pbx.test");
    bob.wait_for(&json!({"ev": "buddy", "state": "TERMINATED"}));
    let (us, pbx) = (office.stage.campon_ip(), office.stage.pbx_ip());
    [alice, bob].into_iter().for_each(Softphone::quit);
    let (captured, stage) = office.close([]);
    let [alice, bob] = ["alice", "bob"].map(|user| stage.ip_of(user));

    // S-29: challenged by the PBX, and sent again under the same names.
    let passed = captured.between(us, pbx, "MESSAGE");
    let [first, again] = &*passed else {
        panic!("two MESSAGEs to the PBX: {captured}");
    };
    assert_same(first, again, &["sip.Call-ID", "sip.from.tag", "sip.r-uri"]);
    assert_eq!(again.field("sip.CSeq.seq"), next(first), "{captured}");
    assert_eq!(captured.between(us, alice, "407 MESSAGE").len(), 1);
    // Each pass has names of its own.
    let asked = captured.between(alice, us, "MESSAGE");
    let rung = captured.between(us, bob, "MESSAGE");
    assert_eq!((asked.len(), rung.len()), (2, 1), "{captured}");
    assert_ne!(asked[0].field("sip.Call-ID"), first.field("sip.Call-ID"));
    assert_ne!(rung[0].field("sip.Call-ID"), first.field("sip.Call-ID"));
    assert_eq!(captured.between(us, alice, "200 MESSAGE").len(), 1);
    // S-120
    assert!(
        !captured.between(us, bob, "489 SUBSCRIBE").is_empty(),
        "{captured}"
    );
}

/// The number after that of this request.
fn next(request: &Wire) -> String {
    let number: u32 = request.field("sip.CSeq.seq").parse().expect("a number");
    (number + 1).to_string()
}

#[test]
fn a_phone_watches_whether_another_is_there() {
    let stage = Stage::open("edge_presence", 42);
    let kamailio = stage.kamailio_with_presence();
    let office = Office::before(stage, kamailio, "");
    let mut alice = office.stage.softphone("alice");
    alice.tell("subscribe sip:bob@pbx.test");
    alice.wait_for(&json!({"ev": "buddy", "state": "ACTIVE"}));
    let (us, pbx) = (office.stage.campon_ip(), office.stage.pbx_ip());
    // It takes its subscription back when it ends.
    alice.quit();
    let (captured, stage) = office.close([]);
    let alice = stage.ip_of("alice");

    let asked = captured.between(us, pbx, "SUBSCRIBE");
    assert!(asked.len() >= 2, "{captured}");
    // R3: once more with the password.
    assert_same(
        asked[0],
        asked[1],
        &["sip.Call-ID", "sip.from.tag", "sip.r-uri"],
    );
    assert_eq!(asked[1].field("sip.CSeq.seq"), next(asked[0]), "{captured}");
    let told = captured.between(pbx, us, "NOTIFY");
    let heard = captured.between(us, alice, "NOTIFY");
    assert!(!told.is_empty(), "{captured}");
    assert_eq!(told.len(), heard.len(), "{captured}");
    for (told, heard) in told.iter().zip(&heard) {
        let kept = ["sip.Event", "sip.Subscription-State", "sip.msg_body"];
        assert_same(told, heard, &kept); // S-123
        assert_ne!(told.field("sip.Call-ID"), heard.field("sip.Call-ID")); // S-37
    }
    assert_eq!(told.len(), captured.between(us, pbx, "200 NOTIFY").len());
}
