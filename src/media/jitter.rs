//! Evens out how packets come: a frame every 20 ms out of packets of any length and order.
//!
//! Spec: RFC 3550 §6.4.1 (what jitter is). The first frame waits for [`DEPTH`] packets; a packet that is
//! not there when its turn comes is a gap of silence, and one that comes later is dropped. Packets are
//! decoded in the order in which they are heard: some codecs remember what came before.

use std::collections::BTreeMap;

use super::codec::{Coder, FRAME, Frame, SILENCE};

/// How many packets are waited for before the first is heard.
const DEPTH: usize = 2;
/// More than this are dropped from the front, so that what is heard never lags by more.
const PACKETS_MAX: usize = 10;
/// A packet that is this far from the next one begins anew.
const JUMP: u64 = 200;

/// Packets in the order in which they are to be heard.
#[derive(Debug, Default)]
pub struct Buffer {
    /// Their payloads.
    packets: BTreeMap<u64, Box<[u8]>>,
    /// What is left of the packets whose turn it was.
    samples: Vec<i16>,
    /// The packet whose turn is next, as its number counted on past 16 bits.
    next: Option<u64>,
    is_filling: bool,
    /// Packets that came too late, or twice.
    late: u64,
    /// Gaps that were heard.
    gaps: u64,
}

impl Buffer {
    /// Takes in what a packet of this number holds; nothing where it holds a digit and no sound.
    pub fn put(&mut self, sequence: u16, payload: &[u8]) {
        let number = self.number_of(sequence);
        match self.next {
            Some(next) if number.abs_diff(next) > JUMP => self.restart(number),
            Some(next) if number < next => {
                self.late += 1;
                return;
            }
            Some(_) => {}
            None => self.restart(number),
        }
        if self.packets.insert(number, payload.into()).is_some() {
            self.late += 1;
        }
        while self.packets.len() > PACKETS_MAX {
            self.skip();
        }
    }

    /// What is to be heard next; `None` while there is nothing.
    pub fn take(&mut self, coder: &mut Coder) -> Option<Frame> {
        let sounds = self.packets.values().filter(|packet| !packet.is_empty());
        if self.is_filling && sounds.count() < DEPTH {
            return None;
        }
        self.is_filling = false;
        while self.samples.len() < FRAME {
            if !self.advance(coder) {
                self.is_filling = true;
                break;
            }
        }
        if self.samples.is_empty() {
            return None;
        }
        let mut frame = SILENCE;
        let count = self.samples.len().min(FRAME);
        let taken = self.samples.drain(..count);
        frame
            .iter_mut()
            .zip(taken)
            .for_each(|(out, sample)| *out = sample);
        Some(frame)
    }

    /// How many packets came too late or twice, and how many gaps were heard.
    pub fn lost(&self) -> (u64, u64) {
        (self.late, self.gaps)
    }

    /// Takes the packet whose turn it is, or silence in its place if only later ones are there.
    fn advance(&mut self, coder: &mut Coder) -> bool {
        let Some(next) = self.next else {
            return false;
        };
        match self.packets.remove(&next) {
            // RFC 4733 §2.5.1.6: digits take numbers of their own, in which there is nothing to miss.
            Some(packet) if packet.is_empty() => {}
            Some(packet) => coder.decode(&packet, &mut self.samples),
            None if self.packets.is_empty() => return false,
            None => {
                self.gaps += 1;
                coder.conceal(&mut self.samples);
            }
        }
        self.next = Some(next + 1);
        true
    }

    fn skip(&mut self) {
        if let Some((number, _)) = self.packets.pop_first() {
            self.next = Some(number + 1);
        }
    }

    fn restart(&mut self, number: u64) {
        self.packets.clear();
        self.samples.clear();
        self.next = Some(number);
        self.is_filling = true;
    }

    /// The number with these low bits that is nearest to the one that is next.
    fn number_of(&self, sequence: u16) -> u64 {
        const ROUND: u64 = 1 << 16;
        let near = self.next.unwrap_or(ROUND);
        let base = near - near % ROUND + u64::from(sequence);
        let candidates = [base.saturating_sub(ROUND), base, base + ROUND];
        candidates
            .into_iter()
            .min_by_key(|number| number.abs_diff(near))
            .unwrap_or(base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::media::codec::Codec;

    /// A packet of the sound that this byte of µ-law stands for; ~0 is silence.
    fn packet(byte: u8) -> Vec<u8> {
        vec![!byte; FRAME]
    }

    fn take(buffer: &mut Buffer) -> Option<Vec<u8>> {
        let mut coder = Coder::new(Codec::Pcmu);
        let frame = buffer.take(&mut coder)?;
        let mut bytes = Vec::new();
        coder.encode(&frame, &mut bytes);
        Some(bytes.into_iter().map(|byte| !byte).collect())
    }

    fn heard(buffer: &mut Buffer) -> Option<u8> {
        take(buffer).map(|frame| frame[0])
    }

    #[test]
    fn packets_are_heard_in_their_order_once_two_are_there() {
        let mut buffer = Buffer::default();
        buffer.put(8, &packet(8));
        assert_eq!(heard(&mut buffer), None);
        buffer.put(10, &packet(10));
        buffer.put(9, &packet(9));
        let all: Vec<_> = std::iter::from_fn(|| heard(&mut buffer)).collect();
        assert_eq!(all, [8, 9, 10]);
    }

    #[test]
    fn a_lost_packet_is_a_gap_and_comes_too_late_afterwards() {
        let mut buffer = Buffer::default();
        buffer.put(1, &packet(1));
        buffer.put(3, &packet(3));
        let all: Vec<_> = std::iter::from_fn(|| heard(&mut buffer)).collect();
        assert_eq!(all, [1, 0, 3]);
        buffer.put(2, &packet(2));
        assert_eq!(buffer.lost(), (1, 1));
        assert_eq!(heard(&mut buffer), None);
    }

    /// As many packets as a phone sends of a digit, within what somebody says.
    #[test]
    fn a_digit_is_no_gap_and_does_not_delay_what_follows() {
        let mut buffer = Buffer::default();
        let mut all = Vec::new();
        for sequence in 1..=40 {
            let value = u8::try_from(sequence).expect("small");
            match sequence {
                10..25 => buffer.put(sequence, &[]),
                _ => buffer.put(sequence, &packet(value)),
            }
            all.push(heard(&mut buffer));
        }
        let said: Vec<_> = all.iter().copied().flatten().collect();
        let expected: Vec<_> = (1..10).chain(25..40).collect();
        assert_eq!(said, expected[..said.len()]);
        // One behind, as before the digit.
        assert_eq!((all[8], all.last().copied().flatten()), (Some(8), Some(39)));
        assert_eq!(buffer.lost(), (0, 0));
    }

    #[test]
    fn numbers_go_on_past_their_end() {
        let mut buffer = Buffer::default();
        for (sequence, value) in [(65_534, 1), (65_535, 2), (1, 4), (0, 3)] {
            buffer.put(sequence, &packet(value));
        }
        let all: Vec<_> = std::iter::from_fn(|| heard(&mut buffer)).collect();
        assert_eq!(all, [1, 2, 3, 4]);
    }

    #[test]
    fn packets_of_other_lengths_become_frames() {
        let mut buffer = Buffer::default();
        buffer.put(1, &packet(7)[..80]);
        buffer.put(2, &[!8; 400]);
        let first = take(&mut buffer).expect("a frame");
        assert_eq!((first[79], first[80]), (7, 8));
        assert_eq!(heard(&mut buffer), Some(8));
        assert_eq!(heard(&mut buffer), Some(8));
        assert_eq!(heard(&mut buffer), None);
    }

    #[test]
    fn a_burst_does_not_delay_what_follows() {
        let mut buffer = Buffer::default();
        for sequence in 0..50 {
            buffer.put(sequence, &packet(u8::try_from(sequence).expect("small")));
        }
        assert_eq!(heard(&mut buffer), Some(40));
    }

    #[test]
    fn a_sender_that_begins_anew_is_followed() {
        let mut buffer = Buffer::default();
        buffer.put(1, &packet(1));
        buffer.put(2, &packet(2));
        buffer.put(30_000, &packet(3));
        buffer.put(30_001, &packet(4));
        assert_eq!(heard(&mut buffer), Some(3));
    }

    #[test]
    fn nothing_that_comes_makes_it_grow() {
        let mut buffer = Buffer::default();
        for sequence in (0..u16::MAX).rev().step_by(3) {
            buffer.put(sequence, &packet(1));
            assert!(buffer.packets.len() <= PACKETS_MAX);
        }
    }
}
