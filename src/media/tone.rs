//! Tones: sines in a cadence, rendered once and then played like any other clip.
//!
//! Spec: ITU-T E.180 (cadences), Q.23 (the pairs of DTMF); RULES R17 (warning tone).

use std::f32::consts::TAU;
use std::time::Duration;

use super::clip::Clip;
use super::codec::RATE;
use super::digit::Digit;

/// A part of a tone: up to two sines at once, or a pause.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// Their frequencies in Hz; zero is none.
    pub hz: [u16; 2],
    /// How long.
    pub lasts: Duration,
}

impl Part {
    /// One sine.
    pub fn sine(hz: u16, lasts: Duration) -> Self {
        Self { hz: [hz, 0], lasts }
    }

    /// Nothing.
    pub fn pause(lasts: Duration) -> Self {
        Self { hz: [0, 0], lasts }
    }

    /// The pair of a digit.
    pub fn digit(digit: Digit, lasts: Duration) -> Self {
        let (low, high) = digit.pair();
        Self {
            hz: [low, high],
            lasts,
        }
    }
}

/// Renders these parts, each sine with this amplitude.
pub fn render(parts: &[Part], amplitude: i16) -> Clip {
    let mut samples = Vec::new();
    for part in parts {
        let count = samples_of(part.lasts);
        samples.extend((0..count).map(|index| sample(part, index, count, amplitude)));
    }
    Clip::new(samples)
}

/// How many samples a time has.
pub fn samples_of(time: Duration) -> usize {
    let count = time.as_millis().saturating_mul(u128::from(RATE)) / 1000;
    usize::try_from(count).unwrap_or(usize::MAX)
}

fn sample(part: &Part, index: usize, count: usize, amplitude: i16) -> i16 {
    // A tone that begins or ends within less than this clicks.
    const EDGE: usize = 40;
    let at = to_f32(index) / to_f32(to_usize(RATE));
    let sines = part.hz.iter().filter(|hz| **hz > 0);
    let sum: f32 = sines.map(|hz| (TAU * f32::from(*hz) * at).sin()).sum();
    let from_edge = index.min(count - index).min(EDGE);
    let level = to_f32(from_edge) / to_f32(EDGE);
    to_sample(sum * level * f32::from(amplitude))
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a float becomes a sample by no other way; the cast saturates"
)]
pub(super) fn to_sample(value: f32) -> i16 {
    value.round() as i16
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of samples are far below 2^24"
)]
fn to_f32(count: usize) -> f32 {
    count as f32
}

fn to_usize(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::power::Listener;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_sine_has_its_frequency_and_no_other() {
        let clip = render(&[Part::sine(440, SECOND)], 8000);
        let heard = |hz| Listener::new(hz).share_of(clip.samples());
        assert!(heard(440.0) > 0.9, "{}", heard(440.0));
        assert!(heard(880.0) < 0.01);
        assert_eq!(clip.samples().len(), 8000);
    }

    #[test]
    fn two_sines_share_the_power_and_a_pause_has_none() {
        let parts = [Part::digit(Digit::D5, SECOND), Part::pause(SECOND)];
        let clip = render(&parts, 8000);
        let (tone, pause) = clip.samples().split_at(8000);
        for hz in [770.0, 1336.0] {
            let share = Listener::new(hz).share_of(tone);
            assert!((0.4..0.6).contains(&share), "{hz} Hz: {share}");
        }
        assert!(pause.iter().all(|sample| *sample == 0));
    }

    #[test]
    fn the_loudest_tone_does_not_wrap() {
        let clip = render(&[Part::digit(Digit::D1, SECOND)], i16::MAX);
        let loudest = clip.samples().iter().max().expect("samples");
        assert_eq!(*loudest, i16::MAX);
    }
}
