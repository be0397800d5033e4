//! The branch of our own requests: it names the client transaction and proves that we made it.
//!
//! Spec: RFC 3261 §8.1.1.7, §17.1.3; RFC 5393 §4.2.
//!
//! ```text
//!   z9hG4bK  kkkkkkkkkkkkkkkk  nnnnnnnnnnnnnnnn  dddddddddddddddd
//!            slot, generation  64 random bits    where the request was bound for
//! ```

use crate::table::Key;

const COOKIE: &[u8] = b"z9hG4bK";

/// What our branches say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Branch {
    /// The client transaction.
    pub key: Key,
    /// What nobody else knows.
    pub nonce: u64,
    /// A digest of the Request-URI that the request came with.
    pub destination: u64,
}

impl Branch {
    /// Reads a branch that may be ours.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let rest = text.strip_prefix(COOKIE)?;
        let (key, rest) = rest.split_at_checked(16)?;
        let (nonce, destination) = rest.split_at_checked(16)?;
        Some(Self {
            key: Key::from_bits(read_hex(key)?),
            nonce: read_hex(nonce)?,
            destination: read_hex(destination)?,
        })
    }

    /// Appends the text.
    pub fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(COOKIE);
        write_hex(out, self.key.to_bits());
        write_hex(out, self.nonce);
        write_hex(out, self.destination);
    }
}

/// Appends 16 hexadecimal digits.
pub fn write_hex(out: &mut Vec<u8>, bits: u64) {
    out.extend_from_slice(&hex(bits));
}

/// 16 hexadecimal digits.
pub fn hex(bits: u64) -> [u8; 16] {
    let (high, low) = (digits(bits >> 32), digits(bits & 0xffff_ffff));
    (u128::from(high) << 64 | u128::from(low)).to_be_bytes()
}

/// One byte of a `u64` each.
const ONES: u64 = 0x0101_0101_0101_0101;

/// The 8 digits of 32 bits, all at once, the first in the highest byte.
fn digits(bits: u64) -> u64 {
    // A half byte in each byte.
    let halves = (bits << 16 | bits) & 0x0000_ffff_0000_ffff;
    let halves = (halves << 8 | halves) & 0x00ff_00ff_00ff_00ff;
    let halves = (halves << 4 | halves) & (0xf * ONES);
    let letters = (halves + 6 * ONES) >> 4 & ONES;
    let to_letters = u64::from(b'a' - b'0' - 10);
    halves + u64::from(b'0') * ONES + to_letters * letters
}

/// Reads 16 hexadecimal digits, in lower case as we write them.
pub fn read_hex(text: &[u8]) -> Option<u64> {
    let text: &[u8; 16] = text.try_into().ok()?;
    let (high, low) = (*text.first_chunk()?, *text.last_chunk()?);
    let bits = u64::from(number(high)) << 32 | u64::from(number(low));
    // Other text has a number too, but is not what that number is written as.
    (hex(bits) == *text).then_some(bits)
}

/// The number of 8 digits.
fn number(text: [u8; 8]) -> u32 {
    let text = u64::from_be_bytes(text);
    let halves = ((text & (0xf * ONES)) + 9 * (text >> 6 & ONES)) & (0xf * ONES);
    let bytes = (halves | halves >> 4) & 0x00ff_00ff_00ff_00ff;
    let pairs = (bytes | bytes >> 8) & 0x0000_ffff_0000_ffff;
    // The high half is a copy of what stands in the low one.
    u32::try_from((pairs | pairs >> 16) & 0xffff_ffff).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn digits_are_those_that_std_writes(bits: u64) {
            let text = hex(bits);
            prop_assert_eq!(str::from_utf8(&text).unwrap(), format!("{bits:016x}"));
            prop_assert_eq!(read_hex(&hex(bits)), Some(bits));
        }

        #[test]
        fn what_is_not_written_so_is_not_read(text in "[0-9a-fA-F]{15,17}|[ -~]{16}") {
            let is_ours = text.len() == 16
                && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            let bits = u64::from_str_radix(&text, 16).ok().filter(|_| is_ours);
            prop_assert_eq!(read_hex(text.as_bytes()), bits);
        }
    }

    #[test]
    fn a_branch_reads_as_it_was_written() {
        let branch = Branch {
            key: Key::from_bits(0x0123_4567_89ab_cdef),
            nonce: u64::MAX,
            destination: 10,
        };
        let mut text = Vec::new();
        branch.write(&mut text);
        assert_eq!(Branch::parse(&text), Some(branch));
        assert_eq!(Branch::parse(b"z9hG4bK-1234"), None);
    }
}
