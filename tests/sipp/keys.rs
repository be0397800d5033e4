//! Flows of keys: Alice finds Bob busy and presses one, told by INFO or only to be heard.
//!
//! Spec: RULES R5, R16, R17; RFC 6086; ITU-T Q.23. Bob is kept busy by Dave.

use std::fs;
use std::time::Duration;

use campon::media::codec::{Codec, Coder};
use campon::media::digit::Digit;
use campon::media::tone::{self, Part};

use crate::line::listen;
use crate::player::Player;
use crate::process::{Meanwhile, Script};
use crate::scenarios;
use crate::stage::Phone::{Alice, Bob, Dave};
use crate::stage::{Stage, Transport};

const CONFIG: &str = "
[overload]
delay_target_ms = 60000

[media]
ports = \"22000-22099\"

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
    let clip = tone::render(&sound, 8000);
    let frames = (0..clip.frames()).filter_map(|index| clip.frame(index));
    let mut bytes = Vec::new();
    let mut coder = Coder::new(Codec::Pcma);
    frames.for_each(|frame| coder.encode(&frame, &mut bytes));
    fs::write(script.folder.join("key.alaw"), bytes).expect("a file in the target folder");
    script
}

/// She hears what can be done, presses 5 and gets her failure; when Bob is free she is called back.
fn is_called_back(way: Way, name: &str, scenario: &str) {
    let stage = Stage::open_with(name, CONFIG);
    stage.register(&[Alice, Bob]);
    let talk = stage.talk();
    let mut script = presses(&stage, scenario, Digit::D5);
    script.meanwhile = Some(Meanwhile {
        scenario: scenarios::path("code_callback.recall"),
        calls: 1,
    });
    let mut alice = Player::start(&script);
    alice.wait_until_said("ACK", 1);
    let bob = stage.hang_up(talk, Some(("late_offer.callee", 1)));
    alice.wait_until_heard("200 BYE", 1);
    listen();
    let (alice, _bob) = (alice.hang_up(), bob.hang_up());
    // Nothing was answered but the recall.
    let prompt = alice.received_nth("183 INVITE sdp", 0);
    let prompt = String::from_utf8_lossy(prompt.body()).into_owned();
    assert!(prompt.contains("m=audio 220"), "{prompt}");
    assert_was_heard(&stage, way);
    stage.close_served(&[
        ("completions_accepted", 1),
        ("completions_completed", 1),
        ("completions_recalled", 1),
    ]);
}

/// She presses 1 and hears music until Bob's phone rings, and answers.
fn waits_with_music(way: Way, name: &str, scenario: &str) {
    let stage = Stage::open_with(name, CONFIG);
    stage.register(&[Alice, Bob]);
    let talk = stage.talk();
    let mut alice = Player::start(&presses(&stage, scenario, Digit::D1));
    alice.wait_until_heard("182 INVITE sdp", 1);
    let so_far = stage.count("sound_packets_sent");
    stage.wait_until_counted("sound_packets_sent", so_far + 25);
    let bob = stage.hang_up(talk, Some(("basic_call.callee", 1)));
    let (alice, bob) = (alice.finish(), bob.hang_up());
    // What she got in the end is Bob's own session.
    let answer = alice.received_nth("200 INVITE sdp", 0);
    assert_eq!(answer.body(), bob.sent_nth("200 INVITE sdp", 0).body());
    assert_was_heard(&stage, way);
    stage.close_served(&[
        ("completions_accepted", 1),
        ("completions_completed", 1),
        ("completions_recalled", 1),
    ]);
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
    is_called_back(Way::Told, "digit_by_info", "digit_by_info.caller");
}

#[test]
fn a_key_that_only_sounds_has_its_caller_called_back() {
    is_called_back(Way::Heard, "digit_in_band", "digit_in_band.caller");
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
    let stage = Stage::open_with("intrude_in_band", CONFIG);
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
    stage.close_served(&[]);
}
