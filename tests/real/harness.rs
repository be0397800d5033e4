//! The real parties by themselves, and in front of campon's own registrar.

use crate::completion::{are_heard, pick_up, talk, waits};
use crate::real::baresip::Baresip;
use crate::real::capture::{Captured, Wire};
use crate::real::stage::Stage;
use crate::real::wav::{LOUD_ENOUGH, Recording, Sounding};

/// Without campon: what the other tests stand on.
#[test]
fn two_phones_talk_through_kamailio_alone() {
    let stage = Stage::open("kamailio_alone", 1);
    let kamailio = stage.kamailio();
    let capture = stage.capture();
    let proxy = format!("sip:{}", kamailio.address());
    let mut alice = stage.phone_with("alice", &proxy, &[]);
    let mut bob = stage.phone_with("bob", &proxy, &[]);
    alice.wait_until_registered();
    bob.wait_until_registered();
    assert_eq!(kamailio.contacts("bob").len(), 1);
    alice.dial("bob");
    bob.wait_for("CALL_INCOMING");
    bob.tell("accept", "");
    alice.wait_for("CALL_ESTABLISHED");
    alice.wait_until_heard(Stage::tone_of("bob"));
    bob.wait_until_heard(Stage::tone_of("alice"));
    alice.play_for_a_second();
    alice.tell("hangup", "");
    bob.wait_for("CALL_CLOSED");
    let captured = capture.finish();
    let b = stage.ip_of("bob");
    stage.assert_audio_is_direct(&captured, ["alice", "bob"]);
    assert_eq!(
        captured.between(stage.pbx_ip(), b, "INVITE").len(),
        1,
        "{captured}"
    );
}

/// The tour of the README, with three phones.
#[test]
fn a_caller_of_a_busy_phone_dials_the_code_and_is_called_back() {
    let stage = Stage::open("readme_tour", 2);
    let campon = stage.campon(TOUR);
    let capture = stage.capture();
    let [mut alice, mut bob, mut carol] = stage.registered(["alice", "bob", "carol"]);
    talk(&mut carol, &mut bob);

    waits(&mut alice, "486");
    carol.tell("hangup", "");
    carol.wait_for("CALL_CLOSED");

    are_heard(&mut alice, &mut bob);
    alice.tell("hangup", "");
    bob.wait_for("CALL_CLOSED");

    let captured = capture.finish();
    let (a, us) = (stage.ip_of("alice"), stage.campon_ip());
    assert_eq!(captured.between(us, a, "486 INVITE").len(), 1, "{captured}");
    let recalls = captured.between(us, a, "INVITE");
    assert_eq!(recalls[0].field("sip.from.user"), "bob", "{captured}");
    stage.assert_audio_is_direct(&captured, ["alice", "bob"]);
    campon.stop();
}

/// R16: the prompt is a tone, so that it can be told from anything else in the recording.
#[test]
fn a_caller_of_a_busy_phone_hears_a_prompt_and_presses_a_digit() {
    let stage = Stage::open("digit_on_busy", 45);
    let voice = stage.voice(&[("busy", PROMPT_HERTZ)], 5);
    let config = format!(
        "{TOUR}\n[media]\nports = \"21000-21099\"\nvoice = \"{voice}\"\n\n\
         [completion.prompt]\ncallback = \"5\"\n"
    );
    let campon = stage.campon(&config);
    let capture = stage.capture();
    let [mut alice, mut bob, mut carol] = stage.registered(["alice", "bob", "carol"]);
    talk(&mut carol, &mut bob);

    alice.dial("bob");
    alice.wait_for("CALL_PROGRESS");
    alice.wait_until_heard(PROMPT_HERTZ);
    alice.tell("sndcode", "5");
    let closed = alice.wait_for("CALL_CLOSED");
    assert!(closed.contains("486"), "{closed}");
    carol.tell("hangup", "");
    carol.wait_for("CALL_CLOSED");

    pick_up(&mut alice, &mut bob);
    bob.wait_until_heard(Stage::tone_of("alice"));
    alice.tell("hangup", "");
    bob.wait_for("CALL_CLOSED");

    let captured = capture.finish();
    let (a, us) = (stage.ip_of("alice"), stage.campon_ip());
    let told = captured.between(us, a, "183 INVITE");
    assert!(!told.is_empty(), "{captured}");
    // Nothing was answered, so nothing is billed.
    assert_eq!(captured.between(us, a, "486 INVITE").len(), 1, "{captured}");
    campon.stop();
}

/// A phone that sends no events for its keys is heard all the same.
#[test]
fn a_digit_that_only_sounds_is_taken() {
    let stage = Stage::open("digit_in_band", 49);
    let config = format!(
        "{TOUR}\n[media]\nports = \"21300-21399\"\n\n[completion.prompt]\ncallback = \"5\"\n"
    );
    let campon = stage.campon(&config);
    let [mut alice, mut bob, mut carol] = stage.registered(["alice", "bob", "carol"]);
    talk(&mut carol, &mut bob);
    alice.says_key(KEY_5);
    alice.dial("bob");
    let closed = alice.wait_for("CALL_CLOSED");
    assert!(closed.contains("486"), "{closed}");
    carol.tell("hangup", "");
    carol.wait_for("CALL_CLOSED");
    pick_up(&mut alice, &mut bob);
    alice.tell("hangup", "");
    bob.wait_for("CALL_CLOSED");
    campon.stop();
}

/// ITU-T Q.23.
const KEY_5: [u32; 2] = [770, 1336];

/// R5, R16: what A's phone recorded is prompt, music and Bob, with no hole between the last two.
#[test]
fn a_caller_who_waits_hears_music_and_then_the_callee() {
    let stage = Stage::open("music_on_busy", 46);
    let sounds = ["music", "ringing"].map(|name| (name, MUSIC_HERTZ));
    let voice = stage.voice(&[&sounds[..], &[("busy", PROMPT_HERTZ)]].concat(), 5);
    let config = format!(
        "{TOUR}\n[media]\nports = \"21100-21199\"\nvoice = \"{voice}\"\n\n\
         [completion.prompt]\ncallback = \"5\"\ncamp_on = \"1\"\n"
    );
    let campon = stage.campon(&config);
    let capture = stage.capture();
    let [mut alice, mut bob, mut carol] = stage.registered(["alice", "bob", "carol"]);
    talk(&mut carol, &mut bob);

    alice.dial("bob");
    alice.wait_for("CALL_PROGRESS");
    alice.wait_until_heard(PROMPT_HERTZ);
    alice.tell("sndcode", "1");
    alice.wait_until_heard(MUSIC_HERTZ);
    carol.tell("hangup", "");
    carol.wait_for("CALL_CLOSED");
    bob.wait_for("CALL_CLOSED");

    bob.wait_for("CALL_INCOMING");
    bob.tell("accept", "");
    alice.wait_for("CALL_ESTABLISHED");
    bob.wait_until_heard(Stage::tone_of("alice"));
    alice.wait_until_heard(Stage::tone_of("bob"));
    alice.tell("hangup", "");
    bob.wait_for("CALL_CLOSED");

    let captured = capture.finish();
    let (a, us) = (stage.ip_of("alice"), stage.campon_ip());
    assert!(
        !captured.between(us, a, "182 INVITE").is_empty(),
        "{captured}"
    );
    assert_eq!(captured.between(us, a, "200 INVITE").len(), 1, "{captured}");
    let silence = captured.longest_silence(Stage::audio_port_of("alice"));
    assert!(silence < GAP_MAX, "{silence} s without audio\n{captured}");
    campon.stop();
}

/// R10: she hears whom for before his phone is rung, and then how that rings.
#[test]
fn a_caller_who_is_called_back_hears_whom_for_before_the_callee_is_rung() {
    let stage = Stage::open("announced_recall", 51);
    let voice = stage.voice(&[("recall", PROMPT_HERTZ), ("ringing", MUSIC_HERTZ)], 2);
    let config = format!("{TOUR}\n[media]\nports = \"21400-21499\"\nvoice = \"{voice}\"\n");
    let config = config.replace("[completion]\n", "[completion]\nannounce_recall = true\n");
    let campon = stage.campon(&config);
    let capture = stage.capture();
    let [mut alice, mut bob, mut carol] = ["alice", "bob", "carol"].map(|user| stage.phone(user));
    for phone in [&mut alice, &mut bob, &mut carol] {
        phone.wait_until_registered();
    }
    carol.dial("bob");
    bob.wait_for("CALL_INCOMING");
    bob.tell("accept", "");
    carol.wait_for("CALL_ESTABLISHED");
    alice.dial("bob");
    alice.wait_for("CALL_CLOSED");
    alice.dial("*37#");
    alice.wait_for("CALL_CLOSED");
    carol.tell("hangup", "");
    carol.wait_for("CALL_CLOSED");

    alice.wait_for("CALL_INCOMING");
    alice.tell("accept", "");
    bob.wait_for("CALL_INCOMING");
    alice.play_for_a_second();
    bob.tell("accept", "");
    bob.wait_for("CALL_ESTABLISHED");
    bob.wait_until_heard(Stage::tone_of("alice"));
    alice.play_for_a_second();
    alice.tell("hangup", "");
    bob.wait_for("CALL_CLOSED");

    let captured = capture.finish();
    let (us, a, b) = (stage.campon_ip(), stage.ip_of("alice"), stage.ip_of("bob"));
    let at = |found: &[&Wire]| {
        let time = found.last().expect("one").field("frame.time_epoch");
        time.parse::<f64>().expect("a time")
    };
    let (times, heard) = captured.audio_between(21_400, Stage::audio_port_of("alice"));
    let began = times.first().copied().expect("she hears us");
    let said = heard.first_heard(PROMPT_HERTZ).expect("whom for");
    let rang = heard.first_heard(MUSIC_HERTZ).expect("how his phone rings");
    assert!(said < 0.3 && rang > 1.8, "{said} s, {rang} s\n{captured}");
    let rung = at(&captured.between(us, b, "INVITE"));
    assert!(rung - began > 1.8, "{began} {rung}\n{captured}");
    // Then it is Bob whom she hears, and nobody else.
    let put_through = at(&captured.between(us, a, "INVITE"));
    let last = times.last().copied().unwrap_or_default();
    assert!(last < put_through + 1.0, "{captured}");
    campon.stop();
}

// R17, T29: measured in what each phone has recorded, and on the wire, which shows whose audio it was.
#[test]
fn a_caller_with_the_right_joins_two_phones_and_leaves_them_as_they_were() {
    let stage = Stage::open("intrusion", 47);
    let voice = stage.voice(&[("busy", PROMPT_HERTZ)], 5);
    let config = format!(
        "{TOUR}\n[media]\nports = \"21200-21299\"\nvoice = \"{voice}\"\n\n\
         [completion.intrusion]\nintrudes = 1\nprotection = 0\n\n\
         [completion.prompt]\nintrude = \"3\"\n"
    );
    let campon = stage.campon(&config);
    let capture = stage.capture();
    let [mut alice, mut bob, mut carol] = stage.registered(["alice", "bob", "carol"]);
    talk(&mut carol, &mut bob);
    joins_and_leaves(&mut alice, (&mut carol, &mut bob));

    let captured = capture.finish();
    assert_heard_three(&stage, &captured, 21_200);
    campon.stop();
}

/// Alice, whom a tone asks, joins Bob's call with Carol by the digit, hears both and leaves; they talk
/// on and hang up. What each of the three phones has recorded says so.
pub fn joins_and_leaves(alice: &mut Baresip, (carol, bob): (&mut Baresip, &mut Baresip)) {
    alice.dial("bob");
    alice.wait_until_heard(PROMPT_HERTZ);
    alice.tell("sndcode", "3");
    alice.wait_for("CALL_ESTABLISHED");
    for other in ["bob", "carol"] {
        alice.wait_until_heard(Stage::tone_of(other));
    }
    for phone in [&*carol, &*bob] {
        phone.wait_until_heard(Stage::tone_of("alice"));
    }
    alice.play_for_a_second();
    alice.tell("hangup", "");
    carol.play_for_a_second();
    carol.play_for_a_second();
    carol.tell("hangup", "");
    bob.wait_for("CALL_CLOSED");
    let [[a, said_by_a], [b, said_by_b], [c, said_by_c]] =
        [&*alice, &*bob, &*carol].map(Baresip::longest_recordings);
    assert_joined(&a, &said_by_a);
    assert_talked_on("bob", &b, &said_by_b, "carol");
    assert_talked_on("carol", &c, &said_by_c, "bob");
}

/// What Alice heard and said: she was warned like the others, and had heard neither of them before.
fn assert_joined(heard: &Recording, said: &Recording) {
    let [a, b, c] = ["alice", "bob", "carol"].map(Stage::tone_of);
    let warned = sounds(heard, &[WARNING_HERTZ], &[b, c]);
    let together = sounds(heard, &[b, c], &[]);
    assert!(warned.seconds >= 0.2, "{warned:?} of a warning");
    assert!(together.seconds >= 1.0, "{together:?} together");
    for other in [b, c] {
        let first = heard.first_heard(other).expect("who was joined");
        assert!(first >= warned.first + 0.2, "{other} Hz at {first} s");
    }
    assert!(sounds(said, &[a], &[]).seconds >= together.seconds);
}

/// What somebody heard and said who talked with another when Alice joined them and left: him, the
/// warning beside him, Alice and him, and him again.
fn assert_talked_on(user: &str, heard: &Recording, said: &Recording, other: &str) {
    let [own, alice, other] = [user, "alice", other].map(Stage::tone_of);
    let before = sounds(heard, &[other], &[WARNING_HERTZ, alice]);
    let warned = sounds(heard, &[WARNING_HERTZ, other], &[alice]);
    let together = sounds(heard, &[alice, other], &[WARNING_HERTZ]);
    let joined = sounds(heard, &[alice], &[]);
    let after = sounds(&heard.after(joined.last), &[other], &[alice]);
    let told = format!("{user}: {before:?} {warned:?} {together:?} {after:?}");
    assert!(before.first + 0.5 < warned.first, "{told}");
    assert!(warned.seconds >= 0.2, "{told}");
    assert!(joined.first >= warned.first + 0.2, "{told}");
    assert!(together.seconds >= 1.0, "{told}");
    assert!(after.seconds >= 1.0, "{told}");
    // His own voice is in what he said, all the time.
    let said = sounds(said, &[own], &[]).seconds;
    assert!(said > heard.seconds() * 0.8, "{user}: {said} s of his own");
}

fn sounds(recording: &Recording, all: &[u32], none: &[u32]) -> Sounding {
    let found = recording.sounding(all, none);
    found.unwrap_or_else(|| panic!("never {all:?} Hz without {none:?}"))
}

/// Alice was heard in Bob's call with Carol by way of our ports, after a warning, and then they talked
/// from phone to phone again.
pub fn assert_heard_three(stage: &Stage, captured: &Captured, ours: u16) {
    let us = stage.campon_ip();
    for (user, other) in [("bob", "carol"), ("carol", "bob")] {
        let (times, heard) = captured.audio_between(ours, Stage::audio_port_of(user));
        let warned = heard.first_heard(WARNING_HERTZ).expect("a warning");
        let joined = heard
            .first_heard(Stage::tone_of("alice"))
            .expect("who has joined");
        assert!(
            joined - warned >= 0.2,
            "{user}: {warned} s, {joined} s\n{captured}"
        );
        assert!(
            heard.loudness(Stage::tone_of(other)) > LOUD_ENOUGH / 2.0,
            "{captured}"
        );
        // Then they talk from phone to phone again.
        let back = captured.between(us, stage.ip_of(user), "INVITE");
        let back: f64 = back
            .last()
            .expect("it was given back")
            .field("frame.time_epoch")
            .parse()
            .expect("a time");
        let (direct, _) =
            captured.audio_between(Stage::audio_port_of(other), Stage::audio_port_of(user));
        let last = |times: &[f64]| times.last().copied().unwrap_or_default();
        assert!(
            last(&direct) > back + 1.0,
            "{user} hears nobody\n{captured}"
        );
        assert!(last(&times) < back + 1.0, "{user} hears us\n{captured}");
    }
}

/// What tells that somebody has joined.
const WARNING_HERTZ: u32 = 1400;

/// The longest time without a packet when the callee takes over from the music, in seconds.
const GAP_MAX: f64 = 0.3;

/// No tone of a phone's either.
const MUSIC_HERTZ: u32 = 620;

/// No tone of a phone's.
pub const PROMPT_HERTZ: u32 = 1150;

pub const TOUR: &str = r##"
domains = ["pbx.test"]

[completion]
guard = "300ms"

[completion.codes]
request_last = "*37#"
cancel_all = "#37#"

[overload]
delay_target_ms = 60000
"##;
