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
    std::array::from_fn(|place| {
        let nibble = (bits >> (60 - 4 * place)) & 0xf;
        // At most 15.
        let nibble = u8::try_from(nibble).unwrap_or_default();
        if nibble < 10 {
            b'0' + nibble
        } else {
            b'a' + nibble - 10
        }
    })
}

/// Reads 16 hexadecimal digits, in lower case as we write them.
pub fn read_hex(text: &[u8]) -> Option<u64> {
    if text.len() != 16 {
        return None;
    }
    text.iter().try_fold(0, |bits, digit| {
        let nibble = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(bits << 4 | u64::from(nibble))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
