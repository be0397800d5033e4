//! Names of 128 bits: of a request for completion, and of its entry in a queue.
//!
//! Spec: TAPI `dwCompletionID`, RFC 6910 §10.3.

use std::fmt;
use std::str::FromStr;

use crate::cc::base32;
use crate::random::Rng;

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
            pub struct $name {
                // Not one number: what has such a name would lie at every sixteenth byte.
                high: u64,
                low: u64,
            }

            impl $name {
                /// A name that nobody guesses.
                pub fn random(rng: &mut Rng) -> Self {
                    Self {
                        high: rng.bits(),
                        low: rng.bits(),
                    }
                }

                /// The name with these bits.
                pub const fn from_bits(bits: u128) -> Self {
                    let [h0, h1, h2, h3, h4, h5, h6, h7, l0, l1, l2, l3, l4, l5, l6, l7] =
                        bits.to_be_bytes();
                    Self {
                        high: u64::from_be_bytes([h0, h1, h2, h3, h4, h5, h6, h7]),
                        low: u64::from_be_bytes([l0, l1, l2, l3, l4, l5, l6, l7]),
                    }
                }

                /// The bits.
                pub fn to_bits(self) -> u128 {
                    u128::from(self.high) << 64 | u128::from(self.low)
                }
            }

            impl fmt::Display for $name {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str(&base32::encode(&self.to_bits().to_be_bytes()))
                }
            }

            impl fmt::Debug for $name {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    write!(f, concat!(stringify!($name), "({})"), self)
                }
            }

            impl FromStr for $name {
                type Err = NotAName;

                fn from_str(text: &str) -> Result<Self, NotAName> {
                    let bytes = base32::decode(text).ok_or(NotAName)?;
                    let bytes = bytes.try_into().map_err(|_| NotAName)?;
                    Ok(Self::from_bits(u128::from_be_bytes(bytes)))
                }
            }
        )*
    };
}

names! {
    /// Names one request for completion for as long as it lives; printed as 26 characters.
    CompletionId
    /// Names one entry in a callee's queue towards its subscriber: the user part of its cc-URI.
    ///
    /// Not the completion's own name, because it crosses other people's servers.
    CceToken
}

/// The text is not as many characters of base 32 as such a name has.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a name in base 32")]
pub struct NotAName;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_printed_as_26_characters_and_read_back() {
        let id = CompletionId::random(&mut Rng::from_number(7));
        let text = id.to_string();
        assert_eq!(text.len(), 26);
        assert_eq!(text.parse(), Ok(id));
        assert_eq!(text.to_uppercase().parse(), Ok(id));
    }

    #[test]
    fn a_text_of_another_length_names_nothing() {
        assert_eq!("".parse::<CceToken>(), Err(NotAName));
        assert_eq!("mzxw6ytboi".parse::<CceToken>(), Err(NotAName));
    }
}
