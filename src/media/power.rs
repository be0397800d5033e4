//! How much of a sound is of one frequency.
//!
//! Goertzel's recurrence: one term of a Fourier transform, over as many samples as there are.

use std::f32::consts::TAU;

/// Listens for one frequency at 8 kHz.
#[derive(Clone, Copy, Debug)]
pub struct Listener {
    coefficient: f32,
}

impl Listener {
    /// Listens for this frequency in Hz.
    pub fn new(hz: f32) -> Self {
        let coefficient = 2.0 * (TAU * hz / 8000.0).cos();
        Self { coefficient }
    }

    /// The energy of these samples at the frequency, on the scale of [`energy_of`]: a pure sine has
    /// nearly all of its energy here.
    pub fn energy_in(&self, samples: &[i16]) -> f32 {
        let (mut last, mut before, mut count) = (0.0_f32, 0.0_f32, 0.0_f32);
        for sample in samples {
            let next = f32::from(*sample) + self.coefficient * last - before;
            before = last;
            last = next;
            count += 1.0;
        }
        let power = last * last + before * before - self.coefficient * last * before;
        if count > 0.0 {
            2.0 * power / count
        } else {
            0.0
        }
    }

    /// The part of the energy of these samples that is at the frequency, from 0 to 1.
    pub fn share_of(&self, samples: &[i16]) -> f32 {
        let energy = energy_of(samples);
        if energy > 0.0 {
            self.energy_in(samples) / energy
        } else {
            0.0
        }
    }
}

/// The sum of the squares of these samples.
pub fn energy_of(samples: &[i16]) -> f32 {
    samples
        .iter()
        .map(|sample| f32::from(*sample))
        .map(|sample| sample * sample)
        .sum()
}
