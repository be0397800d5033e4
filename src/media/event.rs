//! Digits that come as events of their own, each told over and over.
//!
//! Spec: RFC 4733 §2.3 (payload), §2.5.1.3 (long events), §2.5.1.4 (the end is sent three times), §2.6.
//!
//! What lasts longer than a packet can say is told in segments: the next begins where the one before is
//! full, with its timestamp, and is no new key.

use super::digit::Digit;

/// The longest that a packet can say an event has lasted, in ticks.
const SEGMENT: u32 = 0xffff;
/// Set in the second byte of the packets that tell the end.
const END: u8 = 0x80;

/// How somebody sends and takes events.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Format {
    /// Their payload type.
    pub payload_type: u8,
    /// The rate of the clock that they are measured by, in Hz.
    pub clock_rate: u32,
}

impl Format {
    /// This payload type, by the clock of telephony.
    pub fn at_8000(payload_type: u8) -> Self {
        Self {
            payload_type,
            clock_rate: 8000,
        }
    }
}

/// What one packet tells of an event, as it goes on to somebody else.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Told {
    /// The RTP timestamp of the event.
    pub timestamp: u32,
    /// The event, its end and volume, and how long it has lasted.
    pub payload: [u8; 4],
    /// The rate of the clock that it is measured by, in Hz; not 0.
    pub clock_rate: u32,
}

/// The segment of an event that was told last.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Segment {
    timestamp: u32,
    event: u8,
    is_over: bool,
}

impl Segment {
    /// Whether this one goes on with it.
    fn goes_on(self, next: Self) -> bool {
        let is_after = next.timestamp.wrapping_sub(self.timestamp) == SEGMENT;
        is_after && !self.is_over && next.event == self.event
    }
}

/// The event that is passed on to somebody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Passing {
    /// Of who sends it.
    last: Option<Segment>,
    /// How long it had lasted before this segment, by the clock of who sends it.
    before: u32,
    /// When it began by the clock of who gets it.
    began: u32,
    /// How many segments he has been told in full, and how long it has lasted for him.
    full: u32,
    lasted: u32,
}

/// What is in the packet that passes an event on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Passed {
    /// The RTP timestamp.
    pub timestamp: u32,
    /// The event, its end and volume, and how long it has lasted.
    pub payload: [u8; 4],
    /// Whether it is the first of its event (RFC 4733 §2.5.1.2).
    pub is_first: bool,
}

impl Passing {
    /// The packet that passes on what was told to somebody who measures events at this rate, in Hz, and
    /// whose clock is there now.
    pub fn pass(&mut self, told: Told, clock_rate: u32, clock: u32) -> Passed {
        let [event, end_and_volume, high, low] = told.payload;
        let is_first = self.note(Segment {
            timestamp: told.timestamp,
            event,
            is_over: end_and_volume & END != 0,
        });
        if is_first {
            self.began = clock;
        }
        let lasts = self.before + u32::from(u16::from_be_bytes([high, low]));
        let lasts = u64::from(lasts) * u64::from(clock_rate) / u64::from(told.clock_rate.max(1));
        let lasts = u32::try_from(lasts).unwrap_or(u32::MAX);
        // A segment is told in full before the next one begins.
        let full = (self.full + 1).saturating_mul(SEGMENT);
        let is_cut = lasts > full && self.lasted < full;
        self.lasted = if is_cut { full } else { lasts };
        self.full = self.lasted.saturating_sub(1) / SEGMENT;
        let ticks = u16::try_from(self.lasted - self.full * SEGMENT).unwrap_or(u16::MAX);
        let [high, low] = ticks.to_be_bytes();
        let volume = end_and_volume & !END;
        Passed {
            timestamp: self.began.wrapping_add(self.full * SEGMENT),
            payload: [
                event,
                if is_cut { volume } else { end_and_volume },
                high,
                low,
            ],
            is_first,
        }
    }

    /// Takes in a segment; whether it begins an event.
    fn note(&mut self, segment: Segment) -> bool {
        match self.last.replace(segment) {
            Some(last) if last.timestamp == segment.timestamp => false,
            Some(last) if last.goes_on(segment) => {
                self.before = self.before.saturating_add(SEGMENT);
                false
            }
            Some(_) | None => {
                *self = Self {
                    last: Some(segment),
                    ..Self::default()
                };
                true
            }
        }
    }
}

/// Sorts out which of the packets begin a digit.
#[derive(Debug, Default)]
pub struct Events {
    /// What was told last: all packets of one segment have the same timestamp.
    last: Option<Segment>,
}

impl Events {
    /// Takes in a packet of events: what was pressed, if this is the first that tells it.
    pub fn handle(&mut self, timestamp: u32, payload: &[u8]) -> Option<Digit> {
        let &[event, end_and_volume, _, _, ..] = payload else {
            return None;
        };
        let digit = Digit::of_event(event)?;
        let segment = Segment {
            timestamp,
            event,
            is_over: end_and_volume & END != 0,
        };
        let is_late = |last: u32| timestamp.wrapping_sub(last) > u32::MAX / 2;
        if self.last.is_some_and(|last| is_late(last.timestamp)) {
            return None;
        }
        let is_known = self
            .last
            .replace(segment)
            .is_some_and(|last| last.timestamp == timestamp || last.goes_on(segment));
        (!is_known).then_some(digit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digit_is_told_once_however_often_it_comes() {
        let mut events = Events::default();
        let packets = [
            [5, 10, 0, 160],
            [5, 10, 1, 64],
            [5, 0x8a, 1, 224],
            [5, 0x8a, 1, 224],
        ];
        let told: Vec<_> = packets
            .iter()
            .filter_map(|it| events.handle(7000, it))
            .collect();
        assert_eq!(told, [Digit::D5]);
        assert_eq!(events.handle(9000, &[5, 0x8a, 1, 224]), Some(Digit::D5));
    }

    /// What is passed on between these clocks: timestamp, end and volume, and how long it has lasted.
    fn passed((from, to): (u32, u32), packets: &[(u32, u8, u16)]) -> Vec<(u32, u8, u16, bool)> {
        let mut passing = Passing::default();
        let pass = |(clock, &(timestamp, end_and_volume, ticks)): (u32, &(u32, u8, u16))| {
            let [high, low] = ticks.to_be_bytes();
            let told = Told {
                timestamp,
                payload: [5, end_and_volume, high, low],
                clock_rate: from,
            };
            let passed = passing.pass(told, to, clock);
            let [event, end_and_volume, high, low] = passed.payload;
            assert_eq!(event, 5);
            let ticks = u16::from_be_bytes([high, low]);
            (passed.timestamp, end_and_volume, ticks, passed.is_first)
        };
        (100..).zip(packets).map(pass).collect()
    }

    #[test]
    fn an_event_has_one_timestamp_wherever_it_goes() {
        let packets = [(7000, 10, 160), (7000, 0x8a, 320), (9000, 10, 160)];
        let expected = [
            (100, 10, 160, true),
            (100, 0x8a, 320, false),
            (102, 10, 160, true),
        ];
        assert_eq!(passed((8000, 8000), &packets), expected);
    }

    /// The story: a key that was pressed for 100 ms beside Opus was one of 600 ms for a phone of PCMA.
    #[test]
    fn how_long_an_event_lasts_is_measured_by_the_clock_of_who_gets_it() {
        let packets = [(7000, 10, 960), (7000, 0x8a, 4800)];
        let expected = [(100, 10, 160, true), (100, 0x8a, 800, false)];
        assert_eq!(passed((48_000, 8000), &packets), expected);
        let back = [(7000, 10, 160), (7000, 0x8a, 800)];
        let expected = [(100, 10, 960, true), (100, 0x8a, 4800, false)];
        assert_eq!(passed((8000, 48_000), &back), expected);
    }

    /// RFC 4733 §2.5.1.3.
    #[test]
    fn a_key_that_is_held_for_longer_than_a_packet_can_say_is_one_key() {
        let second = 7000 + SEGMENT;
        let packets = [
            (7000, 10, 160),
            (7000, 10, u16::MAX),
            (second, 10, 160),
            (second, 0x8a, 960),
        ];
        let mut events = Events::default();
        let pressed = packets
            .iter()
            .filter_map(|(timestamp, end, _)| events.handle(*timestamp, &[5, *end, 0, 0]));
        assert_eq!(pressed.collect::<Vec<_>>(), [Digit::D5]);
        let as_it_came = passed((8000, 8000), &packets);
        let began = 100 + SEGMENT;
        let expected = [
            (100, 10, 160, true),
            (100, 10, u16::MAX, false),
            (began, 10, 160, false),
            (began, 0x8a, 960, false),
        ];
        assert_eq!(as_it_came, expected);
        let ticks = |packets: &[(u32, u8, u16, bool)]| -> Vec<_> {
            packets.iter().map(|it| (it.0, it.2, it.3)).collect()
        };
        let expected = [
            (100, 26, true),
            (100, 10_922, false),
            (100, 10_949, false),
            (100, 11_082, false),
        ];
        assert_eq!(ticks(&passed((48_000, 8000), &packets)), expected);
    }

    /// The same key is pressed again as the first press would have gone on.
    #[test]
    fn what_was_over_does_not_go_on() {
        let again = 7000 + SEGMENT;
        let mut events = Events::default();
        for (timestamp, end, told) in [
            (7000, 10, Some(Digit::D5)),
            (7000, 0x8a, None),
            (again, 10, Some(Digit::D5)),
        ] {
            assert_eq!(events.handle(timestamp, &[5, end, 0, 160]), told);
        }
        let packets = [(7000, 10, 160), (7000, 0x8a, 320), (again, 10, 160)];
        assert_eq!(
            passed((8000, 8000), &packets).last(),
            Some(&(102, 10, 160, true))
        );
    }

    /// Its first segment is full for who gets it long before it is for who sends it, and its end is told.
    #[test]
    fn a_faster_clock_has_more_segments() {
        let packets = [(7000, 10, 10_880), (7000, 10, 11_040), (7000, 0x8a, 11_040)];
        let expected = [
            (100, 10, 65_280, true),
            (100, 10, u16::MAX, false),
            (100 + SEGMENT, 0x8a, 705, false),
        ];
        assert_eq!(passed((8000, 48_000), &packets), expected);
    }

    #[test]
    fn the_beginning_may_be_lost() {
        let mut events = Events::default();
        assert_eq!(
            events.handle(u32::MAX, &[11, 0x8a, 3, 32]),
            Some(Digit::Hash)
        );
        // The clock goes on through zero, and a straggler is no new digit.
        assert_eq!(events.handle(400, &[1, 10, 0, 160]), Some(Digit::D1));
        assert_eq!(events.handle(u32::MAX, &[11, 0x8a, 3, 32]), None);
    }

    #[test]
    fn what_is_no_digit_is_nothing() {
        let mut events = Events::default();
        assert_eq!(events.handle(1, &[16, 0, 0, 0]), None); // flash
        assert_eq!(events.handle(1, &[5, 0, 0]), None);
        assert_eq!(events.handle(1, b""), None);
    }
}
