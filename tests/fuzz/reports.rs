//! What we report of streams whose numbers jump: a report that can be read, of what was counted.
//!
//! Spec: RFC 3550 §6.4.1, §A.1, §A.3; threats T27.

use std::net::SocketAddr;
use std::time::Duration;

use campon::media::codec::FRAME;
use campon::media::report;
use campon::media::stream::Stream;
use campon::random::Rng;
use campon::time::Timestamp;

use super::each_case;
use super::mutate::below;
use super::packets::{packet, stream};

/// How far from one number to the next.
const JUMPS: [u16; 9] = [0, 1, 2, 100, 3000, 32_000, 32_767, 32_768, 65_535];

/// The block of a report: fraction, loss in all, highest number, jitter.
#[derive(Debug)]
struct Block {
    fraction: u8,
    lost: u32,
    highest: u32,
    jitter: u32,
}

/// Reads a sender report with one block by itself, and nobody's library.
fn block_in(report: &[u8]) -> Option<Block> {
    let head = report.first_chunk::<4>()?;
    let is_one = head[0] == 0x81 && head[1] == 200;
    let words = usize::from(u16::from_be_bytes([head[2], head[3]])) + 1;
    assert!(report.len() >= words * 4, "{report:?}");
    let block = report.get(28..52).filter(|_| is_one)?;
    let word = |at: usize| u32::from_be_bytes(block[at..at + 4].try_into().expect("four"));
    Some(Block {
        fraction: block[4],
        lost: word(4) & 0x00ff_ffff,
        highest: word(8),
        jitter: word(12),
    })
}

fn reported(now: Timestamp, stream: &mut Stream) -> Option<Block> {
    let mut bytes = Vec::new();
    stream.report(now, &mut bytes);
    assert!(report::is_report(&bytes), "{bytes:?}");
    block_in(&bytes)
}

/// How many packets a case has; now and then enough for numbers of 32 bits to run out.
fn packets_in(rng: &mut Rng) -> u32 {
    let most = if rng.below(40) == 0 { 150_000 } else { 300 };
    u32::try_from(1 + rng.below(most)).expect("few")
}

#[test]
fn a_stream_that_jumps_is_reported_as_any_other() {
    let peer = SocketAddr::from(([192, 0, 2, 1], 4000));
    each_case(50, |rng| {
        let mut ours = stream(rng);
        let mut now = Timestamp::START;
        let jump = JUMPS[below(rng, JUMPS.len())];
        let mut sequence = u16::try_from(rng.below(65_536)).expect("16 bits");
        let mut source = 9_u8;
        let mut before: Option<Block> = None;
        for _ in 0..packets_in(rng) {
            sequence = match rng.below(64) {
                0 => u16::try_from(rng.below(65_536)).expect("16 bits"),
                1 => sequence.wrapping_sub(JUMPS[below(rng, JUMPS.len())]),
                _ => sequence.wrapping_add(jump),
            };
            if rng.below(5000) == 0 {
                source = source.wrapping_add(1);
                before = None;
            }
            now = now + Duration::from_millis(rng.below(40));
            let mut bytes = packet(0, sequence, &[0x55; FRAME]);
            bytes[11] = source;
            ours.handle(now, peer, &bytes).expect("it is audio");
            if rng.below(200) > 0 {
                continue;
            }
            let _heard = ours.take();
            let block = reported(now, &mut ours).expect("something was heard");
            let lost = ours.reception().lost();
            assert_eq!(block.lost, lost.min(0x7f_ffff), "{block:?}");
            if let Some(before) = &before {
                assert!(block.highest >= before.highest, "{before:?} {block:?}");
            }
            // A share is lost of what was to come since the last report, also where as many came twice.
            let has_moved = before.as_ref().is_none_or(|it| block.highest > it.highest);
            assert!(block.fraction == 0 || has_moved, "{before:?} {block:?}");
            let most = Duration::from_secs(1).as_millis() * 8;
            assert!(u128::from(block.jitter) <= most, "{block:?}");
            before = Some(block);
        }
    });
}

#[test]
fn who_loses_nothing_is_reported_to_lose_nothing() {
    let peer = SocketAddr::from(([192, 0, 2, 1], 4000));
    each_case(50, |rng| {
        let mut ours = stream(rng);
        let mut sequence = u16::try_from(rng.below(65_536)).expect("16 bits");
        for number in 0..2 * packets_in(rng).min(200) {
            let now = Timestamp::START + Duration::from_millis(20) * number;
            let bytes = packet(0, sequence, &[0x55; FRAME]);
            ours.handle(now, peer, &bytes).expect("it is audio");
            sequence = sequence.wrapping_add(1);
        }
        let block = reported(Timestamp::START, &mut ours).expect("something was heard");
        assert_eq!((block.fraction, block.lost), (0, 0), "{block:?}");
    });
}
