//! Audio as it travels: samples to bytes and back.
//!
//! Spec: RFC 3551 §4.5.14, §6 (PCMU, PCMA: 8 kHz, one byte a sample, static payload types).

use audio_codec_algorithms::{decode_alaw, decode_ulaw, encode_alaw, encode_ulaw};

/// Samples a second of everything here.
pub const RATE: u32 = 8000;
/// Samples of 20 ms: what a packet of ours holds.
pub const FRAME: usize = 160;
/// Samples of 20 ms.
pub type Frame = [i16; FRAME];
/// A frame without a sound.
pub const SILENCE: Frame = [0; FRAME];

/// How samples become bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Codec {
    /// G.711 A-law.
    Pcma,
    /// G.711 µ-law.
    Pcmu,
}

impl Codec {
    /// The codec that an `a=rtpmap` calls so (RFC 8866 §6.6): name and clock rate.
    pub fn named(name: &[u8], rate: u32) -> Option<Self> {
        let codecs = [Self::Pcma, Self::Pcmu];
        let is_named = |codec: &Self| name.eq_ignore_ascii_case(codec.name().as_bytes());
        (rate == RATE).then(|| codecs.into_iter().find(is_named))?
    }

    /// The codec of a static payload type, which needs no `a=rtpmap`.
    pub fn of_static(payload_type: u8) -> Option<Self> {
        match payload_type {
            0 => Some(Self::Pcmu),
            8 => Some(Self::Pcma),
            _ => None,
        }
    }

    /// Its name in an `a=rtpmap`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pcma => "PCMA",
            Self::Pcmu => "PCMU",
        }
    }

    /// Appends these samples as bytes.
    pub fn encode(self, samples: &[i16], bytes: &mut Vec<u8>) {
        let encode = match self {
            Self::Pcma => encode_alaw,
            Self::Pcmu => encode_ulaw,
        };
        bytes.extend(samples.iter().map(|sample| encode(*sample)));
    }

    /// The samples that these bytes stand for.
    pub fn decode(self, bytes: &[u8]) -> impl Iterator<Item = i16> {
        let decode = match self {
            Self::Pcma => decode_alaw,
            Self::Pcmu => decode_ulaw,
        };
        bytes.iter().map(move |byte| decode(*byte))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_comes_back_nearly_as_it_was() {
        for codec in [Codec::Pcma, Codec::Pcmu] {
            for sample in (i16::MIN..=i16::MAX).step_by(97) {
                let mut bytes = Vec::new();
                codec.encode(&[sample], &mut bytes);
                let back = codec.decode(&bytes).next().expect("a byte, so a sample");
                let error = (i32::from(back) - i32::from(sample)).abs();
                // Sixteen steps a segment, and clipping at the top.
                let bound = (i32::from(sample).abs() / 16).max(16);
                assert!(error <= bound, "{codec:?}: {sample} became {back}");
            }
        }
    }

    #[test]
    fn a_codec_is_known_by_name_in_any_case_or_by_its_static_type() {
        assert_eq!(Codec::named(b"pcmu", 8000), Some(Codec::Pcmu));
        assert_eq!(Codec::named(b"PCMA", 16000), None);
        assert_eq!(Codec::named(b"opus", 8000), None);
        assert_eq!(Codec::of_static(8), Some(Codec::Pcma));
        assert_eq!(Codec::of_static(18), None);
    }
}
