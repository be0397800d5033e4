//! Digits that come as events of their own, each told over and over.
//!
//! Spec: RFC 4733 §2.3 (payload), §2.5.1.4 (the end is sent three times), §2.6.

use super::digit::Digit;

/// What one packet tells of an event, as it goes on to somebody else.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Told {
    /// The RTP timestamp of the event.
    pub timestamp: u32,
    /// The event, its end and volume, and how long it has lasted.
    pub payload: [u8; 4],
}

/// The event that is passed on to somebody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Passing {
    /// When it began by the clock of who sends it, and by that of who gets it.
    began: Option<[u32; 2]>,
}

impl Passing {
    /// The timestamp of the packet that passes on what was told, now that the clock is there, and
    /// whether it is the first of its event (RFC 4733 §2.5.1.2).
    pub fn pass(&mut self, told: Told, clock: u32) -> (u32, bool) {
        match self.began {
            Some([theirs, ours]) if theirs == told.timestamp => (ours, false),
            Some(_) | None => {
                self.began = Some([told.timestamp, clock]);
                (clock, true)
            }
        }
    }
}

/// Sorts out which of the packets begin a digit.
#[derive(Debug, Default)]
pub struct Events {
    /// The RTP timestamp of the digit that was told last: all packets of one event have the same.
    last: Option<u32>,
}

impl Events {
    /// Takes in a packet of events: what was pressed, if this is the first that tells it.
    pub fn handle(&mut self, timestamp: u32, payload: &[u8]) -> Option<Digit> {
        let &[event, _end_and_volume, _, _, ..] = payload else {
            return None;
        };
        let digit = Digit::of_event(event)?;
        let is_late = |last: u32| timestamp.wrapping_sub(last) > u32::MAX / 2;
        let is_known = self
            .last
            .is_some_and(|last| last == timestamp || is_late(last));
        if is_known {
            return None;
        }
        self.last = Some(timestamp);
        Some(digit)
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

    #[test]
    fn an_event_has_one_timestamp_wherever_it_goes() {
        let mut passing = Passing::default();
        let told = |timestamp| Told {
            timestamp,
            payload: [5, 10, 0, 160],
        };
        assert_eq!(passing.pass(told(7000), 320), (320, true));
        assert_eq!(passing.pass(told(7000), 480), (320, false));
        assert_eq!(passing.pass(told(9000), 1600), (1600, true));
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
