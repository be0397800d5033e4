//! Digits heard in the audio itself.
//!
//! Spec: ITU-T Q.24 (tolerances): 40 ms are a digit, a gap of 40 ms ends it; the two tones may differ by
//! 8 dB. Voice must not be taken for digits, so nearly all energy has to be in the pair.

use super::codec::Frame;
use super::digit::{Digit, HIGH, LOW};
use super::power::{Listener, energies_in, energy_of};

/// Hears digits, 20 ms at a time.
#[derive(Debug)]
pub struct Ear {
    rows: [Listener; 4],
    columns: [Listener; 4],
    /// What the last frame held, and whether it was told.
    last: Option<Digit>,
    is_told: bool,
}

impl Default for Ear {
    fn default() -> Self {
        Self {
            rows: LOW.map(|hz| Listener::new(f32::from(hz))),
            columns: HIGH.map(|hz| Listener::new(f32::from(hz))),
            last: None,
            is_told: false,
        }
    }
}

impl Ear {
    /// Takes in the next frame: the digit that it makes certain, told once as long as it sounds.
    pub fn hear(&mut self, frame: &Frame) -> Option<Digit> {
        let heard = self.digit_in(frame);
        let is_same = heard.is_some() && heard == self.last;
        let is_new = is_same && !self.is_told;
        self.is_told = is_same;
        self.last = heard;
        heard.filter(|_| is_new)
    }

    fn digit_in(&self, frame: &Frame) -> Option<Digit> {
        /// About −40 dB of full scale, summed over a frame.
        const LEAST: f32 = 160.0 * 300.0 * 300.0;
        const SHARE: f32 = 0.75;
        const TWIST: f32 = 6.3;
        let energy = energy_of(frame);
        if energy <= LEAST {
            return None;
        }
        let (row, low) = loudest(energies_in(&self.rows, frame))?;
        let (column, high) = loudest(energies_in(&self.columns, frame))?;
        let is_pair = low + high > SHARE * energy && low < TWIST * high && high < TWIST * low;
        is_pair.then(|| Digit::at(row, column))?
    }
}

fn loudest(energies: [f32; 4]) -> Option<(usize, f32)> {
    let energies = energies.into_iter().enumerate();
    energies.max_by(|(_, a), (_, b)| a.total_cmp(b))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::media::clip::Clip;
    use crate::media::tone::{self, Part};

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn heard_in(clip: &Clip) -> String {
        let mut ear = Ear::default();
        let frames = (0..).map_while(|index| clip.frame(index));
        frames
            .filter_map(|frame| ear.hear(&frame))
            .map(Digit::key)
            .collect()
    }

    #[test]
    fn each_digit_is_heard_once() {
        for key in "0123456789*#ABCD".bytes() {
            let digit = Digit::of_key(key).expect("a digit");
            let parts = [
                Part::pause(ms(60)),
                Part::digit(digit, ms(100)),
                Part::pause(ms(60)),
            ];
            let clip = tone::render(&parts, 6000);
            assert_eq!(heard_in(&clip), digit.key().to_string());
        }
    }

    #[test]
    fn the_same_digit_again_after_a_gap_is_another() {
        let press = [Part::digit(Digit::D7, ms(80)), Part::pause(ms(80))];
        assert_eq!(heard_in(&tone::render(&press.repeat(3), 4000)), "777");
    }

    #[test]
    fn tones_that_are_no_pair_and_digits_in_noise_are_not_taken_for_digits() {
        let dial = tone::render(&[Part::sine(425, ms(400))], 8000);
        let row_alone = tone::render(&[Part::sine(770, ms(400))], 8000);
        let ringing = tone::render(
            &[Part {
                hz: [440, 480],
                lasts: ms(400),
            }],
            8000,
        );
        for clip in [dial, row_alone, ringing] {
            assert_eq!(heard_in(&clip), "");
        }
        let mut seed = 1_u32;
        let noise = std::iter::repeat_with(|| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            i16::try_from(seed >> 17).unwrap_or(0) - 8192
        });
        assert_eq!(heard_in(&Clip::new(noise.take(80_000).collect())), "");
    }

    #[test]
    fn a_flick_of_one_frame_is_no_digit() {
        let parts = [
            Part::pause(ms(20)),
            Part::digit(Digit::D5, ms(20)),
            Part::pause(ms(40)),
        ];
        assert_eq!(heard_in(&tone::render(&parts, 6000)), "");
    }
}
