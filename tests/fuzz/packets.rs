//! RTP, RTCP and digits.
//!
//! Spec: RFC 3550 §5.1, §6.4, §A.2 (what is no RTCP); RFC 4733 §2.3; threats T27.

use std::net::SocketAddr;
use std::time::Duration;

use campon::media::codec::{Codec, FRAME, Frame};
use campon::media::digit::Digit;
use campon::media::event::{Events, Format};
use campon::media::inband::Ear;
use campon::media::info::digit_in;
use campon::media::report;
use campon::media::stream::{Agreed, Stream};
use campon::media::trial::Trust;
use campon::random::Rng;
use campon::time::Timestamp;

use super::each_case;
use super::mutate::{below, bent};

const AUDIO: u8 = 0;
const EVENTS: u8 = 101;

fn peer() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 4000))
}

pub(super) fn stream(rng: &mut Rng) -> Stream {
    let agreed = Agreed {
        remote: peer(),
        signalling: peer().ip(),
        codec: Codec::Pcmu,
        payload_type: AUDIO,
        events: Some(Format::at_8000(EVENTS)),
        is_on_hold: false,
        keys: None,
        trust: Trust::Full,
    };
    Stream::new(agreed, rng)
}

/// A packet of that payload type, with nothing before its payload but the header.
pub(super) fn packet(payload_type: u8, sequence: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, payload_type];
    packet.extend(sequence.to_be_bytes());
    packet.extend((u32::from(sequence) * 160).to_be_bytes());
    packet.extend([0, 0, 0, 9]);
    packet.extend(payload);
    packet
}

/// One good packet of each kind: audio of usual and odd lengths, an event, an extension, padding.
fn good_packets(sequence: u16) -> Vec<Vec<u8>> {
    let mut extended = packet(AUDIO, sequence, &[0xbe, 0xde, 0, 1, 1, 2, 3, 4]);
    extended[0] |= 0x10;
    extended.extend([0xff; FRAME]);
    let mut padded = packet(AUDIO, sequence, &[0x55; FRAME]);
    padded.extend([0, 0, 0, 4]);
    padded[0] |= 0x20;
    vec![
        packet(AUDIO, sequence, &[0x7f; FRAME]),
        packet(AUDIO, sequence, &[0x7f; 3]),
        packet(AUDIO, sequence, &[0x7f; 1400]),
        packet(EVENTS, sequence, &[5, 10, 0, 160]),
        extended,
        padded,
    ]
}

fn refs(packets: &[Vec<u8>]) -> Vec<&[u8]> {
    packets.iter().map(Vec::as_slice).collect()
}

#[test]
fn rtp_that_is_taken_is_of_a_kind_that_was_agreed_on() {
    each_case(1, |rng| {
        let mut stream = stream(rng);
        let mut now = Timestamp::START;
        let mut sequence = u16::try_from(rng.below(65_536)).expect("16 bits");
        for _ in 0..40 {
            sequence = match rng.below(8) {
                0 => u16::try_from(rng.below(65_536)).expect("16 bits"),
                1 => sequence.wrapping_sub(2),
                _ => sequence.wrapping_add(1),
            };
            now = now + Duration::from_millis(rng.below(60));
            let packet = bent(rng, &refs(&good_packets(sequence)));
            if stream.handle(now, peer(), &packet).is_ok() {
                assert_eq!(packet[0] >> 6, 2, "{packet:?}");
                assert!([AUDIO, EVENTS].contains(&(packet[1] & 0x7f)), "{packet:?}");
            }
            let _heard = stream.take();
        }
        // What is told of it can be read, however it was.
        let mut report = Vec::new();
        stream.report(now, &mut report);
        assert!(report::is_report(&report), "{report:?}");
        let lost = stream.reception().lost();
        assert!(lost < u32::MAX / 2, "{lost} lost");
    });
}

#[test]
fn reports_that_are_taken_are_compound_and_begin_with_one() {
    each_case(1, |rng| {
        let mut ours = stream(rng);
        let mut good = Vec::new();
        ours.report(Timestamp::START, &mut good);
        let heard = packet(AUDIO, 7, &[0; FRAME]);
        ours.handle(Timestamp::START, peer(), &heard)
            .expect("taken");
        let mut with_block = Vec::new();
        ours.report(Timestamp::START, &mut with_block);
        let bye = [0x81, 203, 0, 1, 0, 0, 0, 9];
        let bytes = bent(rng, &[&good, &with_block, &bye]);
        if ours.handle_report(peer(), &bytes).is_ok() {
            assert_eq!(bytes[0] >> 6, 2, "{bytes:?}");
            assert!((192..=223).contains(&bytes[1]), "{bytes:?}");
        }
    });
}

#[test]
fn a_digit_is_told_only_where_one_stands() {
    let bodies: [&[u8]; 5] = [
        b"Signal=5\r\nDuration=160\r\n",
        b"signal = #\nDuration= 100",
        b"5",
        b"11",
        b"Duration=160\r\nSignal=*\r\n",
    ];
    let types: [&[u8]; 3] = [
        b"application/dtmf-relay",
        b"application/dtmf; charset=utf-8",
        b"application/sdp",
    ];
    each_case(1, |rng| {
        let (media_type, body) = (bent(rng, &types), bent(rng, &bodies));
        if let Some(digit) = digit_in(&media_type, &body) {
            let key = digit.key().to_string();
            let number = [(Digit::Star, "10"), (Digit::Hash, "11")];
            let number = number.iter().find(|(each, _)| *each == digit);
            let number = number.map_or("", |(_, number)| number);
            let stands = |text: &[u8]| {
                !text.is_empty()
                    && body
                        .windows(text.len())
                        .any(|it| it.eq_ignore_ascii_case(text))
            };
            assert!(
                stands(key.as_bytes()) || stands(number.as_bytes()),
                "{digit:?} in {body:?}"
            );
        }
        let mut events = Events::default();
        let payload = bent(rng, &[&[5, 10, 0, 160], &[11, 0x8a, 3, 32]]);
        let timestamp = u32::try_from(rng.below(1 << 32)).expect("32 bits");
        if let Some(digit) = events.handle(timestamp, &payload) {
            assert_eq!(Digit::of_event(payload[0]), Some(digit));
            assert_eq!(events.handle(timestamp, &payload), None, "told twice");
        }
    });
}

#[test]
fn noise_of_any_loudness_is_no_digit() {
    each_case(50, |rng| {
        let mut ear = Ear::default();
        let loud = i16::try_from(1 + below(rng, 32_766)).expect("a sample");
        for _ in 0..50 {
            let frame: Frame = std::array::from_fn(|_| {
                let sample =
                    i16::try_from(rng.below(loud.unsigned_abs().into())).expect("a sample");
                if rng.below(2) == 0 { sample } else { -sample }
            });
            assert_eq!(ear.hear(&frame), None, "at {loud}");
        }
    });
}
