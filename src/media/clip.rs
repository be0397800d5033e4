//! A sound to be played: samples at 8 kHz, one channel, shared by all who play it.
//!
//! What operators bring as WAV, of any rate and number of channels, becomes this once, when it is
//! loaded.

use std::io::Cursor;
use std::sync::Arc;

use hound::{SampleFormat, WavReader};
use rubato::audioadapter_buffers::direct::SequentialSliceOfVecs;
use rubato::{
    Async, FixedAsync, Resampler as _, SincInterpolationParameters, SincInterpolationType,
    WindowFunction,
};

use super::codec::{FRAME, Frame, RATE, SILENCE};
use super::room::NoWarning;
use super::tone::to_sample;

/// Longest sound that is taken, in samples at its own rate: an hour at 48 kHz.
const SAMPLES_MAX: u32 = 48_000 * 3600;

/// Samples to be played.
#[derive(Clone, Debug)]
pub struct Clip(Arc<[i16]>);

/// Why a WAV file cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum ClipError {
    /// There is nothing to hear in it.
    #[error("it has no samples")]
    Empty,
    /// Nobody would be warned by it (T29).
    #[error("{0}")]
    Faint(NoWarning),
    /// It is longer than an hour.
    #[error("it is longer than an hour")]
    Long,
    /// It cannot be brought to 8 kHz.
    #[error("its rate of {0} Hz is not to be brought to 8000")]
    Rate(u32),
    /// It is no WAV file of whole or floating-point samples.
    #[error("it is no WAV file that can be read: {0}")]
    Wav(#[from] hound::Error),
}

impl Clip {
    /// These samples.
    pub fn new(samples: Vec<i16>) -> Self {
        Self(samples.into())
    }

    /// The sound of a WAV file: the mean of its channels, at 8 kHz.
    pub fn from_wav(file: &[u8]) -> Result<Self, ClipError> {
        let mut reader = WavReader::new(Cursor::new(file))?;
        let spec = reader.spec();
        if reader.duration() > SAMPLES_MAX {
            return Err(ClipError::Long);
        }
        let interleaved: Vec<f32> = match spec.sample_format {
            SampleFormat::Float => reader.samples::<f32>().collect::<Result<_, _>>()?,
            SampleFormat::Int => {
                let full = f32::from(2_u8).powi(i32::from(spec.bits_per_sample) - 1);
                let samples = reader.samples::<i32>();
                let scaled = samples.map(|sample| sample.map(|sample| to_float(sample) / full));
                scaled.collect::<Result<_, _>>()?
            }
        };
        let channels = usize::from(spec.channels.max(1));
        let mean = |each: &[f32]| each.iter().sum::<f32>() / f32::from(spec.channels.max(1));
        let mono: Vec<f32> = interleaved.chunks_exact(channels).map(mean).collect();
        let at_rate = resample(mono, spec.sample_rate)?;
        if at_rate.is_empty() {
            return Err(ClipError::Empty);
        }
        let full = f32::from(i16::MAX);
        Ok(Self(
            at_rate
                .into_iter()
                .map(|sample| to_sample(sample * full))
                .collect(),
        ))
    }

    /// One after the other.
    pub fn joined(clips: &[&Self]) -> Self {
        Self(
            clips
                .iter()
                .flat_map(|clip| clip.0.iter().copied())
                .collect(),
        )
    }

    /// All of it.
    pub fn samples(&self) -> &[i16] {
        &self.0
    }

    /// The first of its frames, up to so many.
    #[must_use]
    pub fn cut_to(&self, frames: usize) -> Self {
        let samples = self.0.len().min(frames.saturating_mul(FRAME));
        Self(self.0.iter().take(samples).copied().collect())
    }

    /// The frame of this number, the last one filled up with silence; `None` after it.
    pub fn frame(&self, index: usize) -> Option<Frame> {
        let begin = index.checked_mul(FRAME)?;
        let rest = self.0.get(begin..).filter(|rest| !rest.is_empty())?;
        let mut frame = SILENCE;
        frame
            .iter_mut()
            .zip(rest)
            .for_each(|(out, sample)| *out = *sample);
        Some(frame)
    }

    /// How many frames it has.
    pub fn frames(&self) -> usize {
        self.0.len().div_ceil(FRAME)
    }
}

fn resample(samples: Vec<f32>, rate: u32) -> Result<Vec<f32>, ClipError> {
    const CHUNK: usize = 1024;
    if rate == RATE || samples.is_empty() {
        return Ok(samples);
    }
    let no_rate = || ClipError::Rate(rate);
    let ratio = f64::from(RATE) / f64::from(rate);
    let parameters = SincInterpolationParameters {
        sinc_len: 128,
        f_cutoff: None,
        oversampling_factor: 128,
        interpolation: SincInterpolationType::Linear,
        window: WindowFunction::BlackmanHarris2,
    };
    let fixed = FixedAsync::Input;
    let mut resampler =
        Async::<f32>::new_sinc(ratio, 1.0, &parameters, CHUNK, 1, fixed).map_err(|_| no_rate())?;
    let length = samples.len();
    let mut out = vec![vec![0.0; resampler.process_all_needed_output_len(length)]];
    let needed = out.first().map_or(0, Vec::len);
    let input = [samples];
    let source = SequentialSliceOfVecs::new(&input, 1, length).map_err(|_| no_rate())?;
    let mut sink = SequentialSliceOfVecs::new_mut(&mut out, 1, needed).map_err(|_| no_rate())?;
    let (_, count) = resampler
        .process_all_into_buffer(&source, &mut sink, length, None)
        .map_err(|_| no_rate())?;
    let mut samples = out.pop().unwrap_or_default();
    samples.truncate(count);
    Ok(samples)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "24 of 32 bits are more than 8 kHz G.711 shows"
)]
fn to_float(sample: i32) -> f32 {
    sample as f32
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hound::{WavSpec, WavWriter};

    use super::*;
    use crate::media::power::Listener;
    use crate::media::tone::{self, Part};

    /// A second of 440 Hz in each of so many channels.
    fn wav(rate: u32, channels: u16, bits: u16) -> Vec<u8> {
        let sample_format = if bits == 32 {
            SampleFormat::Float
        } else {
            SampleFormat::Int
        };
        let spec = WavSpec {
            channels,
            sample_rate: rate,
            bits_per_sample: bits,
            sample_format,
        };
        let mut file = Cursor::new(Vec::new());
        let mut writer = WavWriter::new(&mut file, spec).expect("a writer");
        for index in 0..rate {
            let at = f64::from(index) / f64::from(rate);
            let value = 0.5 * (std::f64::consts::TAU * 440.0 * at).sin();
            for _ in 0..channels {
                let full = f64::from(2_u8).powi(i32::from(bits) - 1);
                #[expect(clippy::cast_possible_truncation, reason = "a test's own sine")]
                let written = match sample_format {
                    SampleFormat::Float => writer.write_sample(value as f32),
                    SampleFormat::Int => writer.write_sample((value * full) as i32),
                };
                written.expect("memory");
            }
        }
        writer.finalize().expect("memory");
        file.into_inner()
    }

    #[test]
    fn a_file_of_any_rate_and_depth_becomes_the_same_sound() {
        let kinds = [
            (8000, 1, 16),
            (16_000, 1, 8),
            (44_100, 2, 16),
            (48_000, 1, 24),
            (48_000, 2, 32),
        ];
        for (rate, channels, bits) in kinds {
            let clip = Clip::from_wav(&wav(rate, channels, bits)).expect("a sound");
            let length = clip.samples().len();
            assert!((7900..=8100).contains(&length), "{rate}: {length} samples");
            let share = Listener::new(440.0).share_of(clip.samples());
            assert!(
                share > 0.95,
                "{rate} Hz, {channels} channels, {bits} bits: {share}"
            );
            let loudest = clip.samples().iter().max().expect("samples");
            assert!((15_000..18_000).contains(loudest), "{rate}: {loudest}");
        }
    }

    #[test]
    fn what_cannot_be_played_is_refused_with_the_reason() {
        let why = |file: &[u8]| Clip::from_wav(file).expect_err("no sound").to_string();
        assert!(why(b"RIFF").starts_with("it is no WAV file that can be read"));
        let spec = WavSpec {
            channels: 1,
            sample_rate: 8000,
            bits_per_sample: 16,
            sample_format: SampleFormat::Int,
        };
        let mut empty = Cursor::new(Vec::new());
        WavWriter::new(&mut empty, spec)
            .and_then(WavWriter::finalize)
            .expect("memory");
        assert_eq!(why(empty.get_ref()), "it has no samples");
    }

    #[test]
    fn the_last_frame_is_filled_up() {
        let clip = tone::render(&[Part::sine(440, Duration::from_millis(30))], 8000);
        assert_eq!(clip.frames(), 2);
        let last = clip.frame(1).expect("a second frame");
        assert!(last.iter().take(80).any(|sample| *sample != 0));
        assert!(last.iter().skip(80).all(|sample| *sample == 0));
        assert!(clip.frame(2).is_none());
    }

    #[test]
    fn clips_follow_each_other() {
        let one = Clip::new(vec![1; 100]);
        let both = Clip::joined(&[&one, &Clip::new(vec![2; 50])]);
        assert_eq!(both.samples().len(), 150);
        assert_eq!(both.samples().last(), Some(&2));
    }
}
