//! Flows of keys: Alice finds Bob busy and presses one, told by INFO or only to be heard.
//!
//! Spec: RULES R5, R16, R17; RFC 6086; ITU-T Q.23. Bob is kept busy by Dave.

use std::fs;
use std::time::Duration;

use campon::media::digit::Digit;
use campon::media::tone::Part;

use crate::line::listen;
use crate::player::Player;
use crate::process::{Meanwhile, Script};
use crate::real::capture::Capture;
use crate::scenarios;
use crate::sound::{self, Heard, MUSIC_HERTZ, PROMPT_HERTZ};
use crate::sound::{assert_joined_and_left, assert_talked};
use crate::stage::Phone::{Alice, Bob, Dave};
use crate::stage::{Stage, Transport};

const CONFIG: &str = "
[overload]
delay_target_ms = 60000

[completion]
camp_on_guard = \"100ms\"
guard = \"300ms\"

[completion.intrusion]
intrudes = 1
protection = 0

[completion.prompt]
callback = \"5\"
camp_on = \"1\"
intrude = \"3\"
";

/// The same with sounds that are told from each other.
pub fn config(name: &str) -> String {
    let voice = sound::voice(name);
    format!("{CONFIG}\n[media]\nports = \"22000-22099\"\nvoice = \"{voice}\"\n")
}

/// How Alice presses a key.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// Her phone tells it (INFO).
    Told,
    /// It sounds in her audio, and nothing else.
    Heard,
}

/// What Alice's phone plays who presses this key.
fn presses(stage: &Stage, scenario: &str, digit: Digit) -> Script {
    let mut script = stage.script(scenario, Alice, Transport::Udp);
    let key = digit.key().to_string();
    script.keys.push(("digit", key));
    fs::create_dir_all(&script.folder).expect("a folder in the target folder");
    let sound = [
        Part::pause(Duration::from_millis(500)),
        Part::digit(digit, Duration::from_millis(200)),
        Part::pause(Duration::from_secs(2)),
    ];
    sound::write_alaw(&script.folder.join("key.alaw"), &sound);
    script
}

/// What becomes of one wish.
const SERVED: &[(&str, u64)] = &[
    ("completions_accepted", 1),
    ("completions_completed", 1),
    ("completions_recalled", 1),
];

/// She hears what can be done, presses 5 and gets her failure; when Bob is free she is called back, and
/// they talk.
fn is_called_back(stage: &Stage, way: Way, scenario: &str) {
    stage.register(&[Alice, Bob]);
    let talk = stage.talk();
    let mut script = presses(stage, scenario, Digit::D5);
    script.meanwhile = Some(Meanwhile {
        scenario: scenarios::path("heard_callback.recall"),
        calls: 1,
    });
    let mut alice = Player::start(&script);
    alice.wait_until_said("ACK", 1);
    let bob = stage.hang_up(talk, Some(("heard_late_offer.callee", 1)));
    alice.wait_until_heard("200 BYE", 1);
    listen();
    let (alice, _bob) = (alice.hang_up(), bob.hang_up());
    // Nothing was answered but the recall.
    let prompt = alice.received_nth("183 INVITE sdp", 0);
    let prompt = String::from_utf8_lossy(prompt.body()).into_owned();
    assert!(prompt.contains("m=audio 22"), "{prompt}");
    assert_was_heard(stage, way);
}

/// The same on a stage of that name, where what each heard is measured.
fn is_called_back_on(way: Way, name: &str, scenario: &str) {
    let stage = Stage::open_with(name, &config(name));
    let capture = stage.capture();
    is_called_back(&stage, way, scenario);
    let captured = capture.finish();
    let heard = Heard::of_campon(&stage, &captured, Alice);
    assert!(heard.sounding(&[PROMPT_HERTZ], &[]).seconds >= 0.2);
    assert_talked(&stage, &captured, [Alice, Bob]);
    stage.close_served(SERVED);
}

/// She presses 1 and hears music until Bob's phone rings, and answers.
fn waits_with_music(way: Way, name: &str, scenario: &str) {
    let stage = Stage::open_with(name, &config(name));
    let capture = stage.capture();
    stage.register(&[Alice, Bob]);
    let talk = stage.talk();
    let mut alice = Player::start(&presses(&stage, scenario, Digit::D1));
    alice.wait_until_heard("182 INVITE sdp", 1);
    let so_far = stage.count("sound_packets_sent");
    stage.wait_until_counted("sound_packets_sent", so_far + 25);
    let bob = stage.hang_up(talk, Some(("heard.callee", 1)));
    let (alice, bob) = (alice.finish(), bob.hang_up());
    // What she got in the end is Bob's own session.
    let answer = alice.received_nth("200 INVITE sdp", 0);
    assert_eq!(answer.body(), bob.sent_nth("200 INVITE sdp", 0).body());
    assert_was_heard(&stage, way);
    let captured = capture.finish();
    let heard = Heard::of_campon(&stage, &captured, Alice);
    let prompt = heard.sounding(&[PROMPT_HERTZ], &[]);
    let music = heard.sounding(&[MUSIC_HERTZ], &[]);
    assert!(prompt.seconds >= 0.2 && music.seconds >= 0.5, "{music:?}");
    assert!(prompt.last <= music.first + 0.05, "{prompt:?} {music:?}");
    assert_talked(&stage, &captured, [Alice, Bob]);
    let bobs = Heard::of(&stage, &captured, Bob, Alice).first();
    assert!(bobs - heard.last() < 0.3, "{} s", bobs - heard.last());
    stage.close_served(SERVED);
}

fn assert_was_heard(stage: &Stage, way: Way) {
    let heard = stage.count("sound_packets_received");
    match way {
        Way::Told => assert_eq!(heard, 0, "her phone sends no audio"),
        Way::Heard => assert!(heard > 25, "{heard} packets"),
    }
    assert_eq!(stage.count("sound_packets_unknown"), 0);
}

#[test]
fn a_key_told_by_info_has_its_caller_called_back() {
    is_called_back_on(Way::Told, "digit_by_info", "digit_by_info.caller");
}

#[test]
fn a_key_that_only_sounds_has_its_caller_called_back() {
    is_called_back_on(Way::Heard, "digit_in_band", "digit_in_band.caller");
}

/// What is played to her and what she presses go over IPv6.
#[test]
fn a_key_heard_over_ipv6_has_its_caller_called_back() {
    let name = "digit_over_ipv6";
    let ours = config(name).replace("22000-22099", "22100-22198");
    let stage = Stage::open_ipv6_with(name, &ours);
    let capture = Capture::over_ipv6(&stage.file(""), 22_100);
    is_called_back(&stage, Way::Heard, "digit_in_band.caller");
    let (_, heard) = capture.finish().sent_from(22_100);
    let prompt = heard.sounding(&[PROMPT_HERTZ], &[]).expect("the prompt");
    assert!(prompt.seconds >= 0.2, "{prompt:?}");
    stage.close_served(SERVED);
}

#[test]
fn a_key_told_by_info_lets_a_call_wait_with_music() {
    waits_with_music(Way::Told, "music_by_info", "music_by_info.caller");
}

#[test]
fn a_key_that_only_sounds_lets_a_call_wait_with_music() {
    waits_with_music(Way::Heard, "music_in_band", "music_in_band.caller");
}

/// The same told by INFO is `a_digit_by_info_joins_a_call_and_leaving_restores_it`.
#[test]
fn a_key_that_only_sounds_joins_a_call() {
    let stage = Stage::open_with("intrude_in_band", &config("intrude_in_band"));
    let capture = stage.capture();
    stage.register(&[Alice, Bob, Dave]);
    let mut bob = stage.wait_at("intrude_by_mixer.callee", Bob);
    let dave = stage.start("intrude_by_mixer.third", Dave, Transport::Udp);
    bob.wait_until_heard("ACK", 1);
    let alice = Player::start(&presses(&stage, "intrude_in_band.caller", Digit::D3));
    let alice = alice.finish();
    dave.finish();
    bob.finish();
    let [prompt, joined] = ["183 INVITE sdp", "200 INVITE sdp"].map(|it| alice.received_nth(it, 0));
    assert_eq!(prompt.body(), joined.body());
    assert_was_heard(&stage, Way::Heard);
    assert_joined_and_left(&stage, &capture.finish());
    stage.close_served(&[]);
}
