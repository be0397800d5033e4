//! What comes as audio of each codec, and under keys.
//!
//! Spec: RFC 3551 §4.5.2, §4.5.14; RFC 3711 §3.3, §3.4; RFC 6716 §3; threats T27.

use campon::media::codec::{Codec, Coder, FRAME, Frame};
use campon::media::srtp::{Keys, MasterKey, Shield, Suite};

use super::each_case;
use super::mutate::{below, bent};

const CODECS: [Codec; 4] = [Codec::G722, Codec::Opus, Codec::Pcma, Codec::Pcmu];

/// RFC 6716 §3.2.5: a packet of Opus is 120 ms at most; all others are a sample a byte.
#[test]
fn a_packet_is_as_much_sound_as_it_says() {
    each_case(25, |rng| {
        let codec = CODECS[below(rng, CODECS.len())];
        let mut coder = Coder::new(codec);
        let loud = i16::try_from(1 + rng.below(20_000)).expect("a sample");
        for _ in 0..10 {
            let frame: Frame = std::array::from_fn(|at| {
                let saw = i16::try_from(at % 20).expect("small") * 100 - 1000;
                if rng.below(3) == 0 { saw } else { saw % loud }
            });
            let mut good = Vec::new();
            coder.encode(&frame, &mut good);
            let tripled = [&good[..1], &[3], &good[..], &good[..], &good[..]].concat();
            let packet = bent(rng, &[&good, &tripled, &[0xfc, 0xff, 0xfe]]);
            let mut samples = Vec::new();
            coder.decode(&packet, &mut samples);
            match codec {
                Codec::Opus => assert!(samples.len() <= 6 * FRAME, "{packet:?}"),
                Codec::G722 | Codec::Pcma | Codec::Pcmu => {
                    assert_eq!(samples.len(), packet.len());
                }
            }
            if rng.below(4) == 0 {
                coder.conceal(&mut samples);
            }
        }
    });
}

/// Whatever is done to a packet, it is taken as it was, once, or not at all.
#[test]
fn nothing_is_taken_under_keys_that_was_not_sent_under_them() {
    each_case(10, |rng| {
        let suites = [Suite::AesCm128HmacSha1_80, Suite::AesCm128HmacSha1_32];
        let suite = suites[below(rng, 2)];
        let (ours, theirs) = (MasterKey::random(rng), MasterKey::random(rng));
        let mut sends = Shield::new(Keys {
            suite,
            ours,
            theirs,
        });
        let mut hears = Shield::new(Keys {
            suite,
            ours: theirs,
            theirs: ours,
        });
        let mut packets = Vec::new();
        for number in 0..4_u8 {
            let mut audio = vec![0x80, 0, 0xff, number, 0, 0, 0, number, 0, 0, 0, 9];
            audio.extend([number; 40]);
            let mut report = vec![0x80, 200, 0, 6, 0, 0, 0, 9];
            report.extend([number; 20]);
            for (plain, is_report) in [(audio, false), (report, true)] {
                let mut sealed = plain.clone();
                if is_report {
                    sends.seal_report(&mut sealed, 0);
                } else {
                    sends.seal(&mut sealed, 0);
                }
                packets.push((plain, sealed, false));
            }
        }
        for _ in 0..12 {
            let good: Vec<&[u8]> = packets.iter().map(|(_, sealed, _)| &sealed[..]).collect();
            let packet = bent(rng, &good);
            let found = packets.iter_mut().find(|(_, sealed, _)| *sealed == packet);
            let audio = hears.open(&packet).ok().map(|it| it.as_ref().to_vec());
            let report = hears.open_report(&packet).ok();
            let report = report.map(|it| it.as_ref().to_vec());
            match (audio.or(report), found) {
                (Some(heard), Some((plain, _, was_heard))) => {
                    assert_eq!(heard, *plain);
                    assert!(!*was_heard, "heard twice");
                    *was_heard = true;
                }
                (Some(heard), None) => panic!("{heard:?} out of {packet:?}"),
                (None, Some((_, _, was_heard))) => assert!(*was_heard, "{packet:?}"),
                (None, None) => {}
            }
        }
    });
}
