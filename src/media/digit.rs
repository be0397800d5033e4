//! The digits of a telephone, by whichever way they come.
//!
//! Spec: RFC 4733 §3.2 (events), ITU-T Q.23 (pairs).

/// A key of a telephone.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[expect(missing_docs, reason = "each is the digit of its name")]
pub enum Digit {
    D0,
    D1,
    D2,
    D3,
    D4,
    D5,
    D6,
    D7,
    D8,
    D9,
    Star,
    Hash,
    A,
    B,
    C,
    D,
}

/// In the order of their events.
const ALL: [Digit; 16] = {
    use Digit::{A, B, C, D, D0, D1, D2, D3, D4, D5, D6, D7, D8, D9, Hash, Star};
    [
        D0, D1, D2, D3, D4, D5, D6, D7, D8, D9, Star, Hash, A, B, C, D,
    ]
};
const KEYS: &[u8; 16] = b"0123456789*#ABCD";
/// Frequencies of rows and columns in Hz.
pub(super) const LOW: [u16; 4] = [697, 770, 852, 941];
pub(super) const HIGH: [u16; 4] = [1209, 1336, 1477, 1633];
/// What stands where on the pad.
const PAD: [[u8; 4]; 4] = [*b"123A", *b"456B", *b"789C", *b"*0#D"];

impl Digit {
    /// The digit of an event.
    pub fn of_event(event: u8) -> Option<Self> {
        ALL.get(usize::from(event)).copied()
    }

    /// The digit that is written so.
    pub fn of_key(key: u8) -> Option<Self> {
        let at = KEYS
            .iter()
            .position(|each| *each == key.to_ascii_uppercase())?;
        ALL.get(at).copied()
    }

    /// The digit in this row and column of the pad.
    pub(super) fn at(row: usize, column: usize) -> Option<Self> {
        Self::of_key(*PAD.get(row)?.get(column)?)
    }

    /// How it is written.
    pub fn key(self) -> char {
        let at = ALL.iter().position(|each| *each == self);
        char::from(at.and_then(|at| KEYS.get(at)).copied().unwrap_or(b'?'))
    }

    /// The frequencies of its row and its column in Hz.
    pub fn pair(self) -> (u16, u16) {
        let key = self.key();
        let rows = LOW.iter().zip(PAD);
        let pairs = rows.flat_map(|(low, row)| HIGH.iter().zip(row).map(move |it| (low, it)));
        let mut found = pairs.filter(|(_, (_, each))| char::from(*each) == key);
        found
            .next()
            .map_or((0, 0), |(low, (high, _))| (*low, *high))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_event_has_its_key_and_its_place_on_the_pad() {
        for (event, key) in (0..).zip(KEYS) {
            let digit = Digit::of_event(event).expect("sixteen events");
            assert_eq!(Digit::of_key(*key), Some(digit));
            let (low, high) = digit.pair();
            let row = LOW.iter().position(|hz| *hz == low).expect("a row");
            let column = HIGH.iter().position(|hz| *hz == high).expect("a column");
            assert_eq!(Digit::at(row, column), Some(digit));
        }
        assert_eq!(Digit::of_event(16), None);
        assert_eq!(Digit::of_key(b'x'), None);
        assert_eq!(Digit::of_key(b'd'), Some(Digit::D));
    }

    #[test]
    fn five_is_in_the_middle() {
        assert_eq!(Digit::D5.pair(), (770, 1336));
        assert_eq!(Digit::D5.key(), '5');
    }
}
