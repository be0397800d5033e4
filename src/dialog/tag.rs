//! Our tags: each names the call that it belongs to and cannot be guessed.
//!
//! Spec: RFC 3261 §19.3 (at least 32 bits of randomness; ours have 64).

use crate::random::Rng;
use crate::table::Key;
use crate::transaction::branch::{hex, read_hex};

/// A tag of ours: where the call is, and what only its peer was told.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Tag {
    /// The call.
    pub call: Key,
    /// What nobody else knows.
    pub nonce: u64,
}

/// A tag in writing: 32 hexadecimal digits.
pub type TagText = smallvec::SmallVec<[u8; 32]>;

impl Tag {
    /// A new tag for this call.
    pub fn new(call: Key, rng: &mut Rng) -> Self {
        Self {
            call,
            nonce: rng.bits(),
        }
    }

    /// Reads a tag that may be ours.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (call, nonce) = text.split_at_checked(16)?;
        Some(Self {
            call: Key::from_bits(read_hex(call)?),
            nonce: read_hex(nonce)?,
        })
    }

    /// The text.
    pub fn text(self) -> TagText {
        let mut text = TagText::new();
        text.extend_from_slice(&hex(self.call.to_bits()));
        text.extend_from_slice(&hex(self.nonce));
        text
    }
}
