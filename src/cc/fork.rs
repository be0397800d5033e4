//! What the forks of one SUBSCRIBE have in common: its Call-ID, which is only ever compared.
//!
//! Spec: RFC 6910 §9.6 (CC-35); RFC 3261 §8.2.2.2.

use std::fmt;
use std::hash::Hasher as _;

use siphasher::sip::SipHasher13;

/// What stands before the digits of one that is kept; no Call-ID begins with it.
const MARK: char = '#';

/// A Call-ID, in eight bytes: who brings about that two of his are taken for one loses one of them.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct CallId(u64);

impl CallId {
    /// The one of this text.
    pub fn new(text: &[u8]) -> Self {
        // Fixed keys: what is kept is the same in every process.
        let mut hasher = SipHasher13::new_with_keys(0, 0);
        hasher.write(text);
        Self(hasher.finish())
    }

    /// The one that [`fmt::Display`] wrote, or that was kept as it came.
    pub fn of_kept(text: &str) -> Self {
        let digits = text.strip_prefix(MARK);
        let bits = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
        bits.map_or_else(|| Self::new(text.as_bytes()), Self)
    }
}

impl From<&str> for CallId {
    fn from(text: &str) -> Self {
        Self::new(text.as_bytes())
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{MARK}{:x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_was_kept_is_the_same_in_either_form() {
        let came = CallId::from("c1@a.example");
        assert_eq!(CallId::of_kept(&came.to_string()), came);
        assert_eq!(CallId::of_kept("c1@a.example"), came);
        assert_ne!(CallId::from("c2@a.example"), came);
        assert_ne!(CallId::of_kept("#no digits"), came);
    }
}
