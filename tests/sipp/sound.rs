//! What the phones of a stage say and hear: tones that SIPp streams, and what the wire held of them.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use campon::media::codec::{Codec, Coder};
use campon::media::tone::{self, Part};

use crate::process::Script;
use crate::real::capture::{Capture, Captured};
use crate::real::wav::{self, Recording, Sounding};
use crate::stage::{Phone, Stage};

/// How loud a phone is, of the 32 767 of a sample: as loud as the other recordings of the tests.
const LOUD: i16 = 8000;

/// What campon's prompt on busy and its music are here, in Hz.
pub const PROMPT_HERTZ: u32 = 1160;
pub const MUSIC_HERTZ: u32 = 620;

/// What tells that somebody has joined.
pub const WARNING_HERTZ: u32 = 1400;

/// The tone that a user's phone streams, in Hz.
pub fn tone_of(user: &str) -> u16 {
    match user {
        "alice" => 440,
        "bob" => 880,
        _ => 1320,
    }
}

/// Writes A-law for SIPp to stream.
pub fn write_alaw(file: &Path, parts: &[Part]) {
    let clip = tone::render(parts, LOUD);
    let frames = (0..clip.frames()).filter_map(|index| clip.frame(index));
    let mut bytes = Vec::new();
    let mut coder = Coder::new(Codec::Pcma);
    frames.for_each(|frame| coder.encode(&frame, &mut bytes));
    fs::write(file, bytes).expect("a file in the target folder");
}

/// Lays the tone of this phone where its scenarios stream it from, if one of them does.
pub fn lay_out(script: &Script) {
    let meanwhile = script.meanwhile.iter().map(|it| &it.scenario);
    let streams = |file: &PathBuf| {
        let text = fs::read_to_string(file).unwrap_or_default();
        text.contains("rtp_stream=\"tone.alaw,")
    };
    if !std::iter::once(&script.scenario)
        .chain(meanwhile)
        .any(streams)
    {
        return;
    }
    let user = script.keys.iter().find(|(name, _)| *name == "user");
    let hertz = tone_of(user.map_or("", |(_, user)| user));
    fs::create_dir_all(&script.folder).expect("a folder in the target folder");
    let tone = [Part::sine(hertz, Duration::from_secs(1))];
    write_alaw(&script.folder.join("tone.alaw"), &tone);
}

/// The folder of recordings for `media.voice`: a prompt and music that are told by their tones.
pub fn voice(name: &str) -> String {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("voice")
        .join(name);
    fs::create_dir_all(&folder).expect("a folder in the target folder");
    wav::write_tone(&folder.join("busy.wav"), PROMPT_HERTZ, 5);
    for name in ["music.wav", "ringing.wav"] {
        wav::write_tone(&folder.join(name), MUSIC_HERTZ, 5);
    }
    folder.display().to_string()
}

impl Stage {
    /// Begins to capture what goes between the addresses of this stage.
    pub fn capture(&self) -> Capture {
        Capture::start(&self.file(""), v4(self.campon_address()))
    }

    fn ip_of(&self, phone: Phone) -> Ipv4Addr {
        v4(self.address_of(phone).ip())
    }
}

fn v4(ip: IpAddr) -> Ipv4Addr {
    match ip {
        IpAddr::V4(ip) => ip,
        IpAddr::V6(ip) => panic!("{ip} is not captured"),
    }
}

/// What one phone was sent by campon, or by another phone.
pub struct Heard {
    /// When each packet came, in seconds.
    pub times: Vec<f64>,
    pub recording: Recording,
}

impl Heard {
    /// What campon sent this phone.
    pub fn of_campon(stage: &Stage, captured: &Captured, to: Phone) -> Self {
        let from = v4(stage.campon_address());
        Self::between(captured, from, stage.ip_of(to))
    }

    /// What one phone sent another.
    pub fn of(stage: &Stage, captured: &Captured, from: Phone, to: Phone) -> Self {
        Self::between(captured, stage.ip_of(from), stage.ip_of(to))
    }

    fn between(captured: &Captured, from: Ipv4Addr, to: Ipv4Addr) -> Self {
        let (times, recording) = captured.sent(from, to);
        Self { times, recording }
    }

    /// When all these tones were heard and none of those, which must have been so.
    pub fn sounding(&self, all: &[u32], none: &[u32]) -> Sounding {
        let found = self.recording.sounding(all, none);
        found.unwrap_or_else(|| {
            let seconds = self.recording.seconds();
            panic!("never {all:?} Hz without {none:?} in {seconds} s")
        })
    }

    pub fn first(&self) -> f64 {
        *self.times.first().expect("a packet")
    }

    pub fn last(&self) -> f64 {
        *self.times.last().expect("a packet")
    }
}

/// Demands that these two heard each other, from phone to phone, for half a second at least.
pub fn assert_talked(stage: &Stage, captured: &Captured, [a, b]: [Phone; 2]) {
    for (from, to) in [(a, b), (b, a)] {
        let heard = Heard::of(stage, captured, from, to);
        let tone = u32::from(tone_of(from.user()));
        let sounding = heard.sounding(&[tone], &[]);
        assert!(sounding.seconds >= 0.5, "{from:?} to {to:?}: {sounding:?}");
    }
}

/// Demands that this phone heard the warning of campon 200 ms at least before it heard who joins (T29).
pub fn assert_warned_first(stage: &Stage, captured: &Captured, phone: Phone, joining: Phone) {
    let heard = Heard::of_campon(stage, captured, phone);
    let hertz = u32::from(tone_of(joining.user()));
    let warned = heard.sounding(&[WARNING_HERTZ], &[hertz]);
    assert!(warned.seconds >= 0.2, "{phone:?}: {warned:?}");
    let joined = heard.sounding(&[hertz], &[]);
    assert!(
        joined.first >= warned.first + 0.2,
        "{phone:?}: {hertz} Hz at {joined:?}, {warned:?}"
    );
}

/// Demands that Alice joined Bob and Dave and left them: that each of the three heard the warning
/// 200 ms at least before anybody new, then both others, all of it from campon; and that then the two
/// heard each other from phone to phone again (R17, T29).
pub fn assert_joined_and_left(stage: &Stage, captured: &Captured) {
    let tone = |phone: Phone| u32::from(tone_of(phone.user()));
    let [alice, bob, dave] = [Phone::Alice, Phone::Bob, Phone::Dave];
    for (phone, others, new) in [
        (alice, [bob, dave], vec![bob, dave]),
        (bob, [dave, alice], vec![alice]),
        (dave, [bob, alice], vec![alice]),
    ] {
        let heard = Heard::of_campon(stage, captured, phone);
        let together = heard.sounding(&others.map(tone), &[WARNING_HERTZ]);
        assert!(together.seconds >= 0.5, "{phone:?}: {together:?}");
        for joining in new {
            assert_warned_first(stage, captured, phone, joining);
        }
    }
    for (from, to) in [(bob, dave), (dave, bob)] {
        let ours = Heard::of_campon(stage, captured, to);
        let direct = Heard::of(stage, captured, from, to);
        assert!(direct.first() < ours.first(), "{to:?} had heard {from:?}");
        let after = direct.times.iter().filter(|time| **time > ours.last());
        assert!(after.count() >= 25, "{to:?} hears {from:?} no more");
        assert!(direct.sounding(&[tone(from)], &[tone(alice)]).seconds >= 0.5);
    }
}
