//! What a stream knows of how it comes and goes, and the reports that tell the peer.
//!
//! Spec: RFC 3550 §6.4.1 (sender reports, with the time since the start as NTP time), §6.5.1 (CNAME),
//! §A.3 (loss), §A.8 (jitter).

use std::time::Duration;

use rtcp_types::prelude::*;
use rtcp_types::{Compound, Packet, ReportBlock, Sdes, SdesChunk, SdesItem, SenderReport};

use crate::time::Timestamp;

/// How packets of one source came.
#[derive(Clone, Copy, Debug)]
pub struct Reception {
    /// How fast the clock of its packets runs.
    clock_rate: u32,
    first: Option<u32>,
    /// The highest number, counted on past 16 bits.
    highest: u32,
    received: u32,
    /// Of the packet before: when it came less when it was made, by that clock.
    transit: Option<i64>,
    /// Sixteen times the mean deviation, by that clock.
    jitter: i64,
    /// What was expected and received at the report before.
    reported: (u32, u32),
}

/// What was sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sending {
    /// Our source.
    pub ssrc: u32,
    /// The clock of the packets.
    pub timestamp: u32,
    /// How many.
    pub packets: u32,
    /// Their payload.
    pub bytes: u32,
}

impl Reception {
    /// Nothing has come yet of a source whose packets have a clock of so many Hz.
    pub fn new(clock_rate: u32) -> Self {
        Self {
            clock_rate,
            first: None,
            highest: 0,
            received: 0,
            transit: None,
            jitter: 0,
            reported: (0, 0),
        }
    }

    /// Takes note of a packet.
    pub fn note(&mut self, now: Timestamp, sequence: u16, timestamp: u32) {
        let number = self.number_of(sequence);
        self.first.get_or_insert(number);
        self.highest = self.highest.max(number);
        self.received = self.received.wrapping_add(1);
        let came = i64::try_from(self.clock_at(now)).unwrap_or(i64::MAX);
        let transit = came - i64::from(timestamp);
        if let Some(before) = self.transit.replace(transit) {
            // The clock of the packets goes round; a second is more than any network takes.
            let deviation = (transit - before).abs();
            if deviation < i64::from(self.clock_rate) {
                self.jitter += deviation - (self.jitter + 8) / 16;
            }
        }
    }

    /// How many packets were on their way and did not come.
    pub fn lost(&self) -> u32 {
        self.expected().saturating_sub(self.received)
    }

    /// The mean deviation of the time between packets.
    pub fn jitter(&self) -> Duration {
        let ticks = u64::try_from(self.jitter / 16).unwrap_or(0);
        Duration::from_micros(ticks * 1_000_000 / u64::from(self.clock_rate.max(1)))
    }

    fn clock_at(&self, now: Timestamp) -> u64 {
        let ticks = u128::from(now.as_micros()) * u128::from(self.clock_rate) / 1_000_000;
        u64::try_from(ticks).unwrap_or(u64::MAX)
    }

    fn expected(&self) -> u32 {
        self.first.map_or(0, |first| self.highest - first + 1)
    }

    /// The number with these low bits that is nearest to the highest one.
    fn number_of(&self, sequence: u16) -> u32 {
        const ROUND: u32 = 1 << 16;
        if self.first.is_none() {
            return ROUND + u32::from(sequence);
        }
        let base = self.highest - self.highest % ROUND + u32::from(sequence);
        let candidates = [base.saturating_sub(ROUND), base, base.saturating_add(ROUND)];
        let nearest = candidates
            .into_iter()
            .min_by_key(|it| it.abs_diff(self.highest));
        nearest.unwrap_or(base)
    }

    fn block(&mut self, ssrc: u32) -> rtcp_types::ReportBlockBuilder {
        let (expected, received) = (self.expected(), self.received);
        let (before, had) = std::mem::replace(&mut self.reported, (expected, received));
        let (expected, received) = (expected.saturating_sub(before), received.wrapping_sub(had));
        // Whoever jumps from number to number loses more packets than there are numbers in 24 bits.
        let lost = u64::from(expected.saturating_sub(received)) * 256;
        let fraction = lost.checked_div(expected.into()).unwrap_or(0).min(255);
        ReportBlock::builder(ssrc)
            .fraction_lost(u8::try_from(fraction).unwrap_or(u8::MAX))
            .cumulative_lost(self.lost().min(0x7f_ffff))
            .extended_sequence_number(self.highest)
            .interarrival_jitter(u32::try_from(self.jitter / 16).unwrap_or(0))
    }
}

/// Appends a report of what was sent, and of what came from that source.
pub fn write(
    now: Timestamp,
    sending: &Sending,
    heard: Option<(u32, &mut Reception)>,
    out: &mut Vec<u8>,
) {
    let mut report = SenderReport::builder(sending.ssrc)
        .ntp_timestamp(ntp_of(now))
        .rtp_timestamp(sending.timestamp)
        .packet_count(sending.packets)
        .octet_count(sending.bytes);
    if let Some((ssrc, reception)) = heard {
        report = report.add_report_block(reception.block(ssrc));
    }
    let name = format!("{:08x}@campon", sending.ssrc);
    let name = SdesItem::builder(SdesItem::CNAME, &name);
    let names = Sdes::builder().add_chunk(SdesChunk::builder(sending.ssrc).add_item(name));
    let packet = Compound::builder().add_packet(report).add_packet(names);
    let begin = out.len();
    let size = packet.calculate_size().unwrap_or(0);
    out.resize(begin + size, 0);
    if let Some(room) = out.get_mut(begin..) {
        let written = packet.write_into(room);
        debug_assert!(written.is_ok(), "a report of one source fits");
    }
}

/// Whether these bytes are reports, or what else begins a packet of them: phones say goodbye, and open
/// the way with a packet of their own making, without a report (RFC 5506 §3.4.2).
pub fn is_report(bytes: &[u8]) -> bool {
    let packets = Compound::parse(bytes);
    packets.is_ok_and(|mut packets| {
        let first = packets.next();
        matches!(
            first,
            Some(Ok(Packet::Sr(_)
                | Packet::Rr(_)
                | Packet::Bye(_)
                | Packet::App(_)))
        )
    })
}

/// 32 bits of seconds and 32 of their fraction.
fn ntp_of(now: Timestamp) -> u64 {
    let wide = (u128::from(now.as_micros()) << 32) / 1_000_000;
    u64::try_from(wide).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::START + Duration::from_millis(ms)
    }

    fn report(reception: &mut Reception) -> (u8, u32, u32, u32) {
        let mut bytes = Vec::new();
        let sending = Sending {
            ssrc: 1,
            ..Sending::default()
        };
        write(at(1000), &sending, Some((2, reception)), &mut bytes);
        let mut packets = Compound::parse(&bytes).expect("RTCP");
        let Some(Ok(Packet::Sr(report))) = packets.next() else {
            panic!("a sender report comes first");
        };
        assert_eq!(report.ntp_timestamp(), 1 << 32);
        assert!(matches!(packets.next(), Some(Ok(Packet::Sdes(_)))));
        let block = report.report_blocks().next().expect("a block");
        let highest = block.extended_sequence_number();
        (
            block.fraction_lost(),
            block.cumulative_lost(),
            highest,
            block.interarrival_jitter(),
        )
    }

    #[test]
    fn a_steady_stream_has_neither_loss_nor_jitter() {
        let mut reception = Reception::new(8000);
        for index in 0..100_u16 {
            reception.note(
                at(u64::from(index) * 20),
                65_500_u16.wrapping_add(index),
                u32::from(index) * 160,
            );
        }
        assert_eq!(report(&mut reception), (0, 0, (2 << 16) + 63, 0));
    }

    #[test]
    fn what_is_missing_is_lost_once_in_all_and_in_the_share_since_the_last_report() {
        let mut reception = Reception::new(8000);
        for index in (0..100_u16).filter(|index| index % 4 != 1) {
            reception.note(at(u64::from(index) * 20), index, u32::from(index) * 160);
        }
        let (fraction, lost, ..) = report(&mut reception);
        assert_eq!((fraction, lost), (64, 25));
        reception.note(at(2000), 100, 16_000);
        let (fraction, lost, ..) = report(&mut reception);
        assert_eq!((fraction, lost), (0, 25));
    }

    #[test]
    fn who_jumps_through_all_numbers_there_are_is_reported_as_any_other() {
        let (mut reception, mut sequence) = (Reception::new(8000), 0_u16);
        for index in 0..140_000_u32 {
            reception.note(at(u64::from(index)), sequence, index);
            sequence = sequence.wrapping_add(32_000);
            if index % 1000 == 999 {
                let (fraction, lost, ..) = report(&mut reception);
                assert!(
                    fraction == 255 || reception.highest == u32::MAX,
                    "{index}: {fraction}"
                );
                assert!(lost > 0, "{index}");
            }
        }
    }

    #[test]
    fn a_stream_that_wavers_has_jitter() {
        let mut reception = Reception::new(8000);
        for index in 0..200_u16 {
            let late = u64::from(index % 2) * 10;
            reception.note(
                at(u64::from(index) * 20 + late),
                index,
                u32::from(index) * 160,
            );
        }
        let jitter = reception.jitter();
        assert!((9..=10).contains(&jitter.as_millis()), "{jitter:?}");
    }

    #[test]
    fn only_reports_are_reports() {
        let mut bytes = Vec::new();
        write(at(0), &Sending::default(), None, &mut bytes);
        assert!(is_report(&bytes));
        assert!(!is_report(b"") && !is_report(&[0x80, 0, 0, 1, 0, 0, 0, 0]));
        bytes.pop();
        assert!(!is_report(&bytes));
    }

    /// What baresip begins each session with.
    #[test]
    fn a_packet_of_a_phones_own_making_is_no_rubbish() {
        let ping = b"\x80\xcc\x00\x03\x00\x00\x00\x01PINGPOGO";
        assert!(is_report(ping));
        assert!(!is_report(b"\x80\x08\x00\x03"));
        assert!(!is_report(b""));
    }
}
