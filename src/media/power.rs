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
        let [energy] = energies_in(&[*self], samples);
        energy
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

/// What each of these listeners hears, as [`Listener::energy_in`] says it: one pass over the samples, for
/// every stream is listened to for eight tones.
pub fn energies_in<const N: usize>(listeners: &[Listener; N], samples: &[i16]) -> [f32; N] {
    let (mut last, mut before, mut count) = ([0.0_f32; N], [0.0_f32; N], 0.0_f32);
    for sample in samples {
        let sample = f32::from(*sample);
        let states = last.iter_mut().zip(&mut before);
        for ((last, before), listener) in states.zip(listeners) {
            let next = sample + listener.coefficient * *last - *before;
            *before = *last;
            *last = next;
        }
        count += 1.0;
    }
    let scale = 2.0 / count.max(1.0);
    let mut energies = [0.0; N];
    let states = last.iter().zip(&before).zip(listeners);
    for (energy, ((last, before), listener)) in energies.iter_mut().zip(states) {
        let power = last * last + before * before - listener.coefficient * last * before;
        *energy = scale * power;
    }
    energies
}

/// The sum of the squares of these samples.
pub fn energy_of(samples: &[i16]) -> f32 {
    samples
        .iter()
        .map(|sample| f32::from(*sample))
        .map(|sample| sample * sample)
        .sum()
}
