//! Audio as it travels: samples to bytes and back.
//!
//! Spec: RFC 3551 §4.5.2 (G722: the clock of its packets runs at 8 kHz), §4.5.14 (PCMU, PCMA), §6;
//! RFC 7587 §4.1, §7 (opus: a clock of 48 kHz and two channels, whatever is sent).
//!
//! All that is played and mixed here is sampled at 8 kHz. Of G.722 that is its lower band, which its
//! decoder yields as it is; its encoder is given two samples for each. Opus codes and decodes at any
//! rate.

use std::fmt;

use audio_codec::g722::{Bitrate, G722Decoder, G722Encoder};
use audio_codec::{Decoder as _, Encoder as _};
use audio_codec_algorithms::{decode_alaw, decode_ulaw, encode_alaw, encode_ulaw};
use opus_rs::{Application, OpusDecoder, OpusEncoder};

use super::tone::to_sample;

/// Samples a second of everything here.
pub const RATE: u32 = 8000;
/// Samples of 20 ms: what a packet of ours holds.
pub const FRAME: usize = 160;
/// Samples of 20 ms.
pub type Frame = [i16; FRAME];
/// A frame without a sound.
pub const SILENCE: Frame = [0; FRAME];

/// Samples of 120 ms, the most that a packet of Opus holds (RFC 6716 §3.2.5).
const OPUS_SAMPLES_MAX: usize = 6 * FRAME;
/// The most that Opus makes of 20 ms (RFC 6716 §3.2.1).
const OPUS_BYTES_MAX: usize = 1275;
/// Bits a second: more than speech and the tones of a phone need.
const OPUS_BITRATE: i32 = 24_000;

/// How samples become bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Codec {
    /// G.722 at 64 kbit/s.
    G722,
    /// Opus.
    Opus,
    /// G.711 A-law.
    Pcma,
    /// G.711 µ-law.
    Pcmu,
}

impl Codec {
    /// The codec that an `a=rtpmap` calls so (RFC 8866 §6.6): name and clock rate.
    pub fn named(name: &[u8], rate: u32) -> Option<Self> {
        let codecs = [Self::G722, Self::Opus, Self::Pcma, Self::Pcmu];
        let is_it = |codec: &Self| {
            name.eq_ignore_ascii_case(codec.name().as_bytes()) && rate == codec.clock_rate()
        };
        codecs.into_iter().find(is_it)
    }

    /// The codec of a static payload type, which needs no `a=rtpmap`.
    pub fn of_static(payload_type: u8) -> Option<Self> {
        match payload_type {
            0 => Some(Self::Pcmu),
            8 => Some(Self::Pcma),
            9 => Some(Self::G722),
            _ => None,
        }
    }

    /// What an `a=rtpmap` says of it.
    pub fn map(self) -> &'static str {
        match self {
            Self::G722 => "G722/8000",
            Self::Opus => "opus/48000/2",
            Self::Pcma => "PCMA/8000",
            Self::Pcmu => "PCMU/8000",
        }
    }

    /// What an `a=fmtp` says of it, if there is anything to say.
    pub fn parameters(self) -> Option<&'static str> {
        match self {
            // RFC 7587 §6.1: hints that nothing above 4 kHz is sent or heard.
            Self::Opus => Some("maxplaybackrate=8000;sprop-maxcapturerate=8000"),
            Self::G722 | Self::Pcma | Self::Pcmu => None,
        }
    }

    /// How fast the clock of its packets runs, in Hz; that of its samples may differ.
    pub fn clock_rate(self) -> u32 {
        match self {
            Self::G722 | Self::Pcma | Self::Pcmu => 8000,
            Self::Opus => 48_000,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::G722 => "G722",
            Self::Opus => "opus",
            Self::Pcma => "PCMA",
            Self::Pcmu => "PCMU",
        }
    }
}

/// A codec at work in both directions of one stream: some remember what came before.
#[derive(Debug)]
pub struct Coder(State);

enum State {
    G722(Box<G722>),
    Opus(Box<Opus>),
    Pcma,
    Pcmu,
}

struct G722 {
    encoder: G722Encoder,
    decoder: G722Decoder,
    /// The samples that stand around the next one that is put between two.
    around: [i16; 2 * HALF.len()],
}

/// How much of each neighbour is in a sample between two, the nearest first, in 1/32768: Lanczos' window
/// of six. It lets 3.4 kHz pass and mirrors next to nothing above 4 kHz.
const HALF: [i32; 6] = [20_623, -6261, 3079, -1571, 696, -170];

/// `None` is a part that the library does not make, of which nothing is heard.
struct Opus {
    encoder: Option<OpusEncoder>,
    decoder: Option<OpusDecoder>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::G722(_) => Codec::G722.name(),
            Self::Opus(_) => Codec::Opus.name(),
            Self::Pcma => Codec::Pcma.name(),
            Self::Pcmu => Codec::Pcmu.name(),
        })
    }
}

impl Coder {
    /// A coder that has seen nothing yet.
    pub fn new(codec: Codec) -> Self {
        Self(match codec {
            Codec::G722 => State::G722(Box::new(G722 {
                encoder: G722Encoder::with_options(Bitrate::Mode1_64000, false, false),
                // At 8 kHz, a sample a byte.
                decoder: G722Decoder::with_options(Bitrate::Mode1_64000, false, true),
                around: [0; 2 * HALF.len()],
            })),
            Codec::Opus => State::Opus(Box::new(Opus::new())),
            Codec::Pcma => State::Pcma,
            Codec::Pcmu => State::Pcmu,
        })
    }

    /// Appends a frame as bytes.
    pub fn encode(&mut self, frame: &Frame, bytes: &mut Vec<u8>) {
        match &mut self.0 {
            State::G722(both) => both.encode(frame, bytes),
            State::Opus(both) => both.encode(frame, bytes),
            State::Pcma => bytes.extend(frame.iter().map(|sample| encode_alaw(*sample))),
            State::Pcmu => bytes.extend(frame.iter().map(|sample| encode_ulaw(*sample))),
        }
    }

    /// Appends the samples that these bytes stand for; what they do not stand for is silence.
    pub fn decode(&mut self, bytes: &[u8], samples: &mut Vec<i16>) {
        match &mut self.0 {
            State::G722(both) => {
                let begin = samples.len();
                samples.resize(begin + bytes.len(), 0);
                let room = samples.get_mut(begin..).unwrap_or_default();
                let written = both.decoder.decode_into(bytes, room);
                debug_assert!(written.is_ok(), "a sample a byte");
            }
            State::Opus(both) => both.decode(bytes, samples),
            State::Pcma => samples.extend(bytes.iter().map(|byte| decode_alaw(*byte))),
            State::Pcmu => samples.extend(bytes.iter().map(|byte| decode_ulaw(*byte))),
        }
    }

    /// Appends a frame in place of a packet that is not there.
    pub fn conceal(&mut self, samples: &mut Vec<i16>) {
        match &mut self.0 {
            // To Opus, nothing is a packet that was lost.
            State::Opus(both) => both.decode(b"", samples),
            State::G722(_) | State::Pcma | State::Pcmu => samples.extend_from_slice(&SILENCE),
        }
    }
}

impl G722 {
    fn encode(&mut self, frame: &Frame, bytes: &mut Vec<u8>) {
        let mut wide = [0; 2 * FRAME];
        for (pair, sample) in wide.as_chunks_mut::<2>().0.iter_mut().zip(frame) {
            self.around.rotate_left(1);
            if let Some(last) = self.around.last_mut() {
                *last = *sample;
            }
            let (before, after) = self.around.split_at(HALF.len());
            let near = before.iter().rev().zip(after).zip(HALF);
            let between: i32 = near
                .map(|((one, other), share)| (i32::from(*one) + i32::from(*other)) * share)
                .sum();
            let between = (between >> 15).clamp(i16::MIN.into(), i16::MAX.into());
            let own = before.last().copied().unwrap_or_default();
            *pair = [own, i16::try_from(between).unwrap_or_default()];
        }
        let begin = bytes.len();
        bytes.resize(begin + FRAME, 0);
        let room = bytes.get_mut(begin..).unwrap_or_default();
        let written = self.encoder.encode_into(&wide, room);
        debug_assert!(written.is_ok(), "a byte of two samples");
    }
}

impl Opus {
    fn new() -> Self {
        let mut encoder = OpusEncoder::new(8000, 1, Application::Voip).ok();
        if let Some(encoder) = &mut encoder {
            encoder.bitrate_bps = OPUS_BITRATE;
            // The least work: a quarter of what it does otherwise, for what a phone's speaker tells apart.
            encoder.complexity = 0;
        }
        let decoder = OpusDecoder::new(8000, 1).ok();
        Self { encoder, decoder }
    }

    fn encode(&mut self, frame: &Frame, bytes: &mut Vec<u8>) {
        let begin = bytes.len();
        bytes.resize(begin + OPUS_BYTES_MAX, 0);
        let room = bytes.get_mut(begin..).unwrap_or_default();
        let encoder = self.encoder.as_mut();
        let written = encoder.and_then(|it| it.encode_i16(frame, FRAME, room).ok());
        debug_assert!(written.is_some(), "20 ms at 8 kHz");
        bytes.truncate(begin + written.unwrap_or(0));
    }

    fn decode(&mut self, bytes: &[u8], samples: &mut Vec<i16>) {
        let mut room = [0.0; OPUS_SAMPLES_MAX];
        // A packet says how long it is; one that was lost does not.
        let most = if bytes.len() > 1 {
            OPUS_SAMPLES_MAX
        } else {
            FRAME
        };
        let decoder = self.decoder.as_mut();
        let count = decoder.and_then(|it| it.decode(bytes, most, &mut room).ok());
        match count.and_then(|count| room.get(..count)) {
            Some(heard) => samples.extend(heard.iter().map(|it| to_sample(it * 32_768.0))),
            None => samples.extend_from_slice(&SILENCE),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::media::power::Listener;
    use crate::media::tone::{self, Part};

    #[test]
    fn a_sample_comes_back_nearly_as_it_was() {
        for codec in [Codec::Pcma, Codec::Pcmu] {
            let mut coder = Coder::new(codec);
            for sample in (i16::MIN..=i16::MAX).step_by(97) {
                let (mut bytes, mut back) = (Vec::new(), Vec::new());
                coder.encode(&[sample; FRAME], &mut bytes);
                coder.decode(&bytes, &mut back);
                let error = (i32::from(back[0]) - i32::from(sample)).abs();
                // Sixteen steps a segment, and clipping at the top.
                let bound = (i32::from(sample).abs() / 16).max(16);
                assert!(error <= bound, "{codec:?}: {sample} became {back:?}");
            }
        }
    }

    /// What becomes of 400 ms of a tone, and the longest packet of it.
    fn passed(codec: Codec, hz: u16) -> (Vec<i16>, usize) {
        let tone = tone::render(&[Part::sine(hz, Duration::from_millis(400))], 8000);
        let mut coder = Coder::new(codec);
        let (mut heard, mut longest) = (Vec::new(), 0);
        for index in 0..tone.frames() {
            let mut bytes = Vec::new();
            coder.encode(&tone.frame(index).expect("a frame"), &mut bytes);
            longest = longest.max(bytes.len());
            coder.decode(&bytes, &mut heard);
        }
        assert_eq!(heard.len(), tone.frames() * FRAME);
        (heard, longest)
    }

    /// RFC 3551 §4.5.2: 64 kbit/s, so 160 bytes in 20 ms.
    #[test]
    fn a_tone_passes_each_codec_at_its_pitch_and_loudness() {
        for (codec, bytes_max) in [
            (Codec::G722, FRAME),
            (Codec::Opus, FRAME),
            (Codec::Pcma, FRAME),
        ] {
            for hz in [300, 1000, 2500, 3200] {
                let (heard, longest) = passed(codec, hz);
                assert!(longest <= bytes_max, "{codec:?}: {longest} bytes");
                let settled = &heard[5 * FRAME..];
                let share = Listener::new(f32::from(hz)).share_of(settled);
                assert!(share > 0.9, "{codec:?}: {hz} Hz has {share} of the power");
                let squares = settled.iter().map(|sample| f32::from(*sample).powi(2));
                let count = u16::try_from(settled.len()).expect("few samples");
                let amplitude = (2.0 * squares.sum::<f32>() / f32::from(count)).sqrt();
                assert!(
                    (6800.0..9200.0).contains(&amplitude),
                    "{codec:?}: {hz} Hz at {amplitude}"
                );
            }
        }
    }

    /// RFC 6716 §3.2.5, and what no packet is.
    #[test]
    fn a_packet_of_opus_is_as_long_as_it_says_and_one_that_is_none_is_silence() {
        let mut coder = Coder::new(Codec::Opus);
        let mut bytes = Vec::new();
        coder.encode(&[500; FRAME], &mut bytes);
        // The same frame six times is 120 ms (code 3, constant length), and seven times too long.
        for (count, samples) in [(6, 6 * FRAME), (7, FRAME)] {
            let mut packet = vec![bytes[0] | 3, count];
            (0..count).for_each(|_| packet.extend(&bytes[1..]));
            let mut heard = Vec::new();
            coder.decode(&packet, &mut heard);
            assert_eq!(heard.len(), samples, "{count} frames");
        }
        for packet in [&b""[..], b"\x08", b"\xff\xff\xff"] {
            let mut heard = Vec::new();
            coder.decode(packet, &mut heard);
            assert_eq!(heard.len(), FRAME, "{packet:?}");
        }
    }

    #[test]
    fn a_codec_is_known_by_name_in_any_case_or_by_its_static_type() {
        assert_eq!(Codec::named(b"pcmu", 8000), Some(Codec::Pcmu));
        assert_eq!(Codec::named(b"g722", 8000), Some(Codec::G722));
        assert_eq!(Codec::named(b"G722", 16000), None);
        assert_eq!(Codec::named(b"PCMA", 16000), None);
        assert_eq!(Codec::named(b"OPUS", 48_000), Some(Codec::Opus));
        assert_eq!(Codec::named(b"opus", 8000), None);
        assert_eq!(Codec::of_static(8), Some(Codec::Pcma));
        assert_eq!(Codec::of_static(9), Some(Codec::G722));
        assert_eq!(Codec::of_static(18), None);
    }
}
