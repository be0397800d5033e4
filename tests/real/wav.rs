//! Tones as 8 kHz mono WAV files: written for a phone to play, and heard in what a phone recorded.

use std::f64::consts::TAU;
use std::fs;
use std::path::Path;
use std::slice::ChunksExact;

const RATE: u32 = 8000;

/// The loudness of a tone that is played, of 32 767.
const LOUD: f64 = 8000.0;

/// Writes a tone of that frequency and length.
pub fn write_tone(file: &Path, hertz: u32, seconds: u32) {
    let samples = (0..RATE * seconds).map(|n| {
        let phase = TAU * f64::from(hertz) * f64::from(n) / f64::from(RATE);
        let loud = (phase.sin() * LOUD).round();
        #[allow(
            clippy::cast_possible_truncation,
            reason = "LOUD is below the largest i16"
        )]
        let sample = loud as i16;
        sample
    });
    write_samples(file, samples);
}

fn write_samples(file: &Path, samples: impl Iterator<Item = i16>) {
    let data: Vec<u8> = samples.flat_map(i16::to_le_bytes).collect();
    let length = u32::try_from(data.len()).expect("a tone is short");
    let mut wav = Vec::new();
    wav.extend(b"RIFF");
    wav.extend((36 + length).to_le_bytes());
    wav.extend(b"WAVEfmt ");
    wav.extend(16_u32.to_le_bytes());
    wav.extend([1_u16, 1].into_iter().flat_map(u16::to_le_bytes));
    wav.extend([RATE, RATE * 2].into_iter().flat_map(u32::to_le_bytes));
    wav.extend([2_u16, 16].into_iter().flat_map(u16::to_le_bytes));
    wav.extend(b"data");
    wav.extend(length.to_le_bytes());
    wav.extend(data);
    fs::write(file, wav).expect("a file in the target folder");
}

/// Writes a key of a phone (ITU-T Q.23), pressed for a third of a second after a second of silence.
pub fn write_key(file: &Path, hertz: [u32; 2]) {
    let samples = (0..RATE * 3).map(|n| {
        if !(RATE..RATE * 4 / 3).contains(&n) {
            return 0;
        }
        let wave = |hertz| (TAU * f64::from(hertz) * f64::from(n) / f64::from(RATE)).sin();
        let loud = (hertz.map(wave).iter().sum::<f64>() * LOUD / 2.0).round();
        #[allow(
            clippy::cast_possible_truncation,
            reason = "LOUD is below the largest i16"
        )]
        let sample = loud as i16;
        sample
    });
    write_samples(file, samples);
}

/// How loud a tone must be to count as heard.
pub const LOUD_ENOUGH: f64 = LOUD / 2.0;

/// When something is heard, in seconds from the beginning.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sounding {
    pub first: f64,
    /// Where the last of it ends.
    pub last: f64,
    /// How long all of it lasts.
    pub seconds: f64,
}

/// What a recording holds.
pub struct Recording {
    samples: Vec<f64>,
    rate: f64,
}

impl Recording {
    /// Reads a WAV of 16-bit samples; one that was never closed has a length of 0 and is read to its end.
    pub fn read(file: &Path) -> Self {
        let raw = fs::read(file).unwrap_or_default();
        let at = raw
            .windows(4)
            .position(|four| four == b"data")
            .unwrap_or(raw.len());
        let number = |at: usize| {
            let four = raw.get(at..at + 4).and_then(|four| four.try_into().ok());
            u32::from_le_bytes(four.unwrap_or_default())
        };
        let rate = f64::from(number(24).max(1));
        let data = raw.get(at + 8..).unwrap_or_default();
        let pairs = data.as_chunks::<2>().0.iter();
        let samples = pairs.map(|pair| f64::from(i16::from_le_bytes(*pair)));
        Self {
            samples: samples.collect(),
            rate,
        }
    }

    /// What A-law bytes (G.711) sound like.
    pub fn of_alaw(bytes: &[u8]) -> Self {
        Self {
            samples: bytes.iter().map(|byte| alaw(*byte)).collect(),
            rate: f64::from(RATE),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    pub fn seconds(&self) -> f64 {
        #[allow(clippy::cast_precision_loss, reason = "a few minutes at most")]
        let samples = self.samples.len() as f64;
        samples / self.rate
    }

    /// After how many seconds a tone is first heard, to a tenth of one.
    pub fn first_heard(&self, hertz: u32) -> Option<f64> {
        let is_heard = |samples: &[f64]| self.level(samples, hertz) > LOUD / 4.0;
        let tenths = self.windows(10).position(is_heard)?;
        #[allow(clippy::cast_precision_loss, reason = "a few thousand")]
        let tenths = tenths as f64;
        Some(tenths / 10.0)
    }

    /// When all these tones sound and none of those does, if ever. What it is measured in is twentieths
    /// of a second, in which the tones of the stage do not disturb each other: they are multiples of
    /// 20 Hz.
    pub fn sounding(&self, all: &[u32], none: &[u32]) -> Option<Sounding> {
        let mut sounding: Option<Sounding> = None;
        for (at, window) in (0_u32..).zip(self.windows(20)) {
            let is_heard = |hertz: &u32| self.level(window, *hertz) > LOUD / 4.0;
            if all.iter().all(is_heard) && !none.iter().any(is_heard) {
                let at = f64::from(at) / 20.0;
                let so_far = sounding.get_or_insert(Sounding {
                    first: at,
                    last: at,
                    seconds: 0.0,
                });
                so_far.last = at + 0.05;
                so_far.seconds += 0.05;
            }
        }
        sounding
    }

    /// What is left after so many seconds.
    pub fn after(&self, seconds: f64) -> Self {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a place in the recording"
        )]
        let first = (seconds * self.rate) as usize;
        Self {
            samples: self.samples.get(first..).unwrap_or_default().to_vec(),
            rate: self.rate,
        }
    }

    /// The windows of which there are so many in a second.
    fn windows(&self, a_second: u32) -> ChunksExact<'_, f64> {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rate is a small positive number"
        )]
        let window = (self.rate / f64::from(a_second)) as usize;
        self.samples.chunks_exact(window.max(1))
    }

    fn level(&self, samples: &[f64], hertz: u32) -> f64 {
        goertzel(samples, f64::from(hertz) / self.rate)
    }

    /// How loud a tone is, of the 8000 with which it was played, in the quarters of a second in which
    /// it is loudest: the third of them, so that a moment of it is not enough.
    pub fn loudness(&self, hertz: u32) -> f64 {
        let levels = self.windows(4).map(|samples| self.level(samples, hertz));
        let mut levels: Vec<_> = levels.collect();
        levels.sort_by(f64::total_cmp);
        levels.iter().rev().nth(2).copied().unwrap_or_default()
    }
}

/// One sample of A-law: sign, a step of eight that doubles, and four bits within it.
fn alaw(byte: u8) -> f64 {
    let byte = byte ^ 0x55;
    let (step, place) = ((byte >> 4) & 7, i32::from(byte & 15));
    let loud = match step {
        0 => (place << 4) + 8,
        _ => ((place << 4) + 0x108) << (step - 1),
    };
    f64::from(if byte & 0x80 == 0 { -loud } else { loud })
}

/// The amplitude of one frequency, given in cycles a sample.
fn goertzel(samples: &[f64], frequency: f64) -> f64 {
    let turn = 2.0 * (TAU * frequency).cos();
    let (mut last, mut before) = (0.0, 0.0);
    for sample in samples {
        (last, before) = (turn.mul_add(last, sample - before), last);
    }
    let power = turn.mul_add(-last * before, last.mul_add(last, before * before));
    #[allow(clippy::cast_precision_loss, reason = "a few thousand samples")]
    let length = samples.len() as f64;
    2.0 * power.max(0.0).sqrt() / length
}

#[test]
fn a_tone_is_heard_and_another_is_not() {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tone.wav");
    write_tone(&file, 440, 1);
    let recording = Recording::read(&file);
    assert!((recording.loudness(440) - LOUD).abs() < LOUD / 100.0);
    assert!(recording.loudness(880) < LOUD / 100.0);
}

/// One tone, then both, then the other.
#[test]
fn tones_are_told_apart_in_their_times() {
    let wave = |hertz: f64, at: f64| (TAU * hertz * at).sin() * LOUD;
    let samples = (0..3 * RATE).map(|n| {
        let at = f64::from(n) / f64::from(RATE);
        let first = if at < 2.0 { wave(440.0, at) } else { 0.0 };
        let second = if at < 1.0 { 0.0 } else { wave(880.0, at) };
        first + second
    });
    let recording = Recording {
        samples: samples.collect(),
        rate: f64::from(RATE),
    };
    let sounding = |all: &[u32], none: &[u32]| {
        let found = recording.sounding(all, none)?;
        Some([found.first, found.last, found.seconds].map(|it| (it * 20.0).round() / 20.0))
    };
    assert_eq!(sounding(&[440], &[880]), Some([0.0, 1.0, 1.0]));
    assert_eq!(sounding(&[440, 880], &[]), Some([1.0, 2.0, 1.0]));
    assert_eq!(sounding(&[880], &[440]), Some([2.0, 3.0, 1.0]));
    assert_eq!(sounding(&[1320], &[]), None);
    assert_eq!(recording.after(2.0).sounding(&[440], &[]), None);
}
