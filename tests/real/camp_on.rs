//! Calls of real phones that wait before Kamailio, which has a mailbox for whoever finds a phone busy.
//!
//! Spec: RULES R3, R5.

use std::time::Duration;

use crate::completion::{assert_counted, ends, pick_up, talk};
use crate::edge::Office;
use crate::process::wait_for;
use crate::real::baresip::Baresip;
use crate::real::capture::Wire;
use crate::real::stage::Stage;

/// No tones of a phone's.
const PROMPT_HERTZ: u32 = 1150;
const MUSIC_HERTZ: u32 = 620;

/// Whoever finds somebody busy waits.
const WAITS: &str = "completion.on_busy = \"camp-on\"\ncompletion.camp_on_guard = \"300ms\"\n";

/// A call to Bob, who is busy: it waits, as that many have so far.
fn camps(office: &Office, caller: &mut Baresip, camped: u64) {
    caller.dial("bob");
    let waits = wait_for(Duration::from_secs(40), || {
        let counted = office.campon.counted();
        let found = counted.iter().find(|(name, _)| name == "calls_camped");
        (found?.1 == camped).then_some(())
    });
    assert!(waits.is_some(), "it does not wait: {}", caller.log());
}

/// It is his turn: his phone gives its password once more, and Bob answers.
fn is_put_through(caller: &mut Baresip, bob: &mut Baresip) {
    bob.wait_for("CALL_INCOMING");
    bob.tell("accept", "");
    caller.wait_for("CALL_ESTABLISHED");
    bob.wait_for("CALL_ESTABLISHED");
    caller.wait_until_heard(Stage::tone_of("bob"));
    ends(caller, bob);
}

/// Both hear each other: what each of their phones has recorded of this call says so.
fn hear_each_other(alice: &Baresip, bob: &Baresip) {
    alice.wait_until_heard(Stage::tone_of("bob"));
    bob.wait_until_heard(Stage::tone_of("alice"));
}

#[test]
fn calls_wait_before_kamailio_and_its_mailbox_hears_nothing_of_them() {
    let stage = Stage::open("edge_camp_on", 30);
    let (kamailio, mailbox) = stage.kamailio_with_mailbox();
    let office = Office::before(stage, kamailio, WAITS);
    let [mut alice, mut bob, mut carol, mut dave] =
        office.phones(["alice", "bob", "carol", "dave"]);
    talk(&mut carol, &mut bob);
    camps(&office, &mut alice, 1);
    camps(&office, &mut dave, 2);
    ends(&mut carol, &mut bob);
    is_put_through(&mut alice, &mut bob);
    is_put_through(&mut dave, &mut bob);
    assert_counted(&office, &[("accepted", 2), ("completed", 2)]);

    talk(&mut carol, &mut bob);
    camps(&office, &mut alice, 3);
    alice.tell("hangup", "");
    alice.wait_for("CALL_CLOSED");
    ends(&mut carol, &mut bob);
    assert_counted(
        &office,
        &[("accepted", 3), ("completed", 2), ("cancelled", 1)],
    );
    mailbox.quit();
    let (captured, stage) = office.close([alice, bob, carol, dave]);
    let (us, pbx, a) = (stage.campon_ip(), stage.pbx_ip(), stage.ip_of("alice"));
    let [x, y, z, _] = stage.network().octets();
    let mailbox = [x, y, z, 15].into();
    assert_eq!(
        captured.between(pbx, mailbox, "INVITE").len(),
        0,
        "{captured}"
    );
    assert!(
        !captured.between(us, a, "182 INVITE").is_empty(),
        "{captured}"
    );
    // R5: each call that waits is taken from the PBX, and is asked for its password once more.
    assert_eq!(captured.between(us, pbx, "CANCEL").len(), 3, "{captured}");
    assert_eq!(captured.between(us, a, "407 INVITE").len(), 3, "{captured}");
    stage.assert_audio_is_direct(&captured, ["dave", "bob"]);
}

/// R5, R16: what Alice hears of us is early media, and what is done for her needs her password.
#[test]
fn a_caller_before_kamailio_presses_five_and_is_called_back_or_one_and_hears_music() {
    let stage = Stage::open("edge_digits", 54);
    let voice = stage.voice(&[("busy", PROMPT_HERTZ), ("music", MUSIC_HERTZ)], 5);
    let kamailio = stage.kamailio();
    let config = format!(
        "media = {{ ports = \"20100-20119\", voice = \"{voice}\" }}\n\
         completion = {{ guard = \"300ms\", camp_on_guard = \"300ms\", \
         prompt = {{ callback = \"5\", camp_on = \"1\" }} }}\n"
    );
    let office = Office::before(stage, kamailio, &config);
    let [mut alice, mut bob, mut carol] = office.phones(["alice", "bob", "carol"]);
    talk(&mut carol, &mut bob);
    alice.dial("bob");
    alice.wait_until_heard(PROMPT_HERTZ);
    alice.tell("sndcode", "5");
    let closed = alice.wait_for("CALL_CLOSED");
    assert!(closed.contains("486"), "{closed}");
    ends(&mut carol, &mut bob);
    for phone in [&alice, &bob] {
        phone.forget_recordings();
    }
    pick_up(&mut alice, &mut bob);
    hear_each_other(&alice, &bob);
    alice.tell("hangup", "");
    bob.wait_for("CALL_CLOSED");

    alice.forget_recordings();
    talk(&mut carol, &mut bob);
    alice.dial("bob");
    alice.wait_until_heard(PROMPT_HERTZ);
    alice.tell("sndcode", "1");
    alice.wait_until_heard(MUSIC_HERTZ);
    ends(&mut carol, &mut bob);
    bob.forget_recordings();
    bob.wait_for("CALL_INCOMING");
    bob.tell("accept", "");
    alice.wait_for("CALL_ESTABLISHED");
    hear_each_other(&alice, &bob);
    ends(&mut alice, &mut bob);
    assert_counted(&office, &[("accepted", 2), ("completed", 2)]);
    let (captured, stage) = office.close([alice, bob, carol]);
    let (us, a) = (stage.campon_ip(), stage.ip_of("alice"));
    assert_eq!(captured.between(us, a, "183 INVITE").len(), 2, "{captured}");
    stage.assert_audio_is_direct(&captured, ["carol", "bob"]);
}

/// The digit on busy comes before the mailbox, which is there for who presses nothing.
#[test]
fn who_is_asked_and_presses_nothing_reaches_the_mailbox_behind_kamailio() {
    let stage = Stage::open("edge_asked", 31);
    let (kamailio, mut mailbox) = stage.kamailio_with_mailbox();
    let prompt = "media.ports = \"20000-20009\"\n\
                  completion.prompt = { callback = \"5\", lasts = \"1s\" }\n";
    let office = Office::before(stage, kamailio, prompt);
    let [mut alice, mut bob, mut carol] = office.phones(["alice", "bob", "carol"]);
    talk(&mut carol, &mut bob);
    alice.dial("bob");
    mailbox.wait_for("CALL_ESTABLISHED");
    alice.wait_for("CALL_ESTABLISHED");
    alice.tell("hangup", "");
    mailbox.wait_for("CALL_CLOSED");
    alice.wait_for("CALL_CLOSED");
    ends(&mut carol, &mut bob);
    mailbox.quit();
    let (captured, stage) = office.close([alice, bob, carol]);
    let (us, pbx) = (stage.campon_ip(), stage.pbx_ip());
    let (a, b) = (stage.ip_of("alice"), stage.ip_of("bob"));
    let at = |found: &[&Wire]| {
        let time = found.first().expect("one").field("frame.time_epoch");
        time.parse::<f64>().expect("a time")
    };
    assert_eq!(captured.between(us, a, "183 INVITE").len(), 1, "{captured}");
    // R5: Bob's 486 is withheld from the PBX for as long as she is asked.
    let refused = at(&captured.between(b, us, "486 INVITE"));
    let told = at(&captured.between(us, pbx, "486 INVITE"));
    assert!(told - refused >= 1.0, "{captured}");
}
