//! The offer's token: a failed call, sealed, so that it is recognised without being remembered.
//!
//! Spec: RFC 6910 §11 (accept a subscription only shortly after a failed call from its caller).
//!
//! Sealed as in SIV: the tag of 128 bits is a keyed hash of the contents, and with another key it
//! makes the stream that hides them. Who has no key can neither make nor read nor change one.

use std::fmt;
use std::hash::Hasher as _;
use std::str::FromStr;
use std::time::Duration;

use siphasher::sip128::{Hasher128 as _, SipHasher24};

use crate::cc::Condition;
use crate::cc::addr::Aor;
use crate::cc::base32;
use crate::cc::id::NotAName;
use crate::cc::line::Calls;
use crate::random::Rng;
use crate::time::Timestamp;

/// Names one failed call; random, so that no two tokens are alike.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct CallIdentity(pub u64);

/// 13 characters of base 32.
impl fmt::Display for CallIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base32::encode(&self.0.to_be_bytes()))
    }
}

impl FromStr for CallIdentity {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        let bytes = base32::decode(text).and_then(|bytes| bytes.try_into().ok());
        bytes
            .map(|bytes| Self(u64::from_be_bytes(bytes)))
            .ok_or(NotAName)
    }
}

/// A failed call, as its token carries it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Offer {
    /// Who called; nobody else may use the token.
    pub caller: Aor,
    /// Whom he called.
    pub callee: Aor,
    /// Why that failed.
    pub condition: Condition,
    /// The callee's lines at that moment, the failed call's own legs not counted.
    pub calls: Calls,
    /// Which call it was.
    pub call: CallIdentity,
    /// When the offer went out; kept to the millisecond.
    pub issued: Timestamp,
}

impl Offer {
    /// Whether a request may still refer to it.
    pub fn is_fresh(&self, now: Timestamp, window: Duration) -> bool {
        is_recent(self.issued, now, window)
    }
}

/// CC-73: whether completion may be asked for now of a call that failed then: only shortly after.
pub fn is_recent(failed: Timestamp, now: Timestamp, window: Duration) -> bool {
    failed <= now && now.since(failed) <= window
}

/// The keys that seal and open; made at start, the same for all of a process.
#[derive(Clone)]
pub struct Sealer {
    tags: [u8; 16],
    stream: [u8; 16],
}

/// Bytes of the tag.
const TAG: usize = 16;

impl Sealer {
    /// Keys that nobody guesses.
    pub fn new(rng: &mut Rng) -> Self {
        let mut key = || {
            let bits = u128::from(rng.bits()) << 64 | u128::from(rng.bits());
            bits.to_be_bytes()
        };
        Self {
            tags: key(),
            stream: key(),
        }
    }

    /// The token of a failed call: letters and digits only.
    pub fn seal(&self, offer: &Offer) -> String {
        let contents = write(offer);
        let tag = self.tag(&contents);
        let mut bytes = Vec::with_capacity(TAG + contents.len());
        bytes.extend_from_slice(&tag);
        bytes.extend_from_slice(&contents);
        if let Some((_, hidden)) = bytes.split_at_mut_checked(TAG) {
            self.hide(&tag, hidden);
        }
        base32::encode(&bytes)
    }

    /// The failed call of a token; `None` for every text that [`Self::seal`] did not make.
    pub fn open(&self, token: &str) -> Option<Offer> {
        let bytes = base32::decode(token)?;
        let (tag, hidden) = bytes.split_first_chunk::<TAG>()?;
        let mut contents = hidden.to_vec();
        self.hide(tag, &mut contents);
        // The tags are compared as numbers: in the same time wherever they differ.
        let differs = u128::from_ne_bytes(self.tag(&contents)) ^ u128::from_ne_bytes(*tag);
        if differs != 0 {
            return None;
        }
        read(&contents)
    }

    fn tag(&self, contents: &[u8]) -> [u8; TAG] {
        let mut hasher = SipHasher24::new_with_key(&self.tags);
        hasher.write(contents);
        hasher.finish128().as_bytes()
    }

    /// Hides what is plain, and shows what is hidden: with a keyed hash of the tag and the place of
    /// each 16 bytes, as a stream of its own for each tag.
    fn hide(&self, tag: &[u8; TAG], contents: &mut [u8]) {
        let mut seeded = SipHasher24::new_with_key(&self.stream);
        seeded.write(tag);
        for (place, chunk) in (0_u64..).zip(contents.chunks_mut(16)) {
            let mut hasher = seeded;
            hasher.write_u64(place);
            for (byte, mask) in chunk.iter_mut().zip(hasher.finish128().as_bytes()) {
                *byte ^= mask;
            }
        }
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer(..)")
    }
}

/// Condition and lines (1), milliseconds (8), call (8), length of the caller (2), caller, callee.
fn write(offer: &Offer) -> Vec<u8> {
    let condition = match offer.condition {
        Condition::Busy => 0,
        Condition::NoReply => 1,
        Condition::NotLoggedIn => 2,
    };
    let calls = match offer.calls {
        Calls::Unknown => 0,
        Calls::Engaged => 4,
        Calls::Free => 8,
    };
    let caller = offer.caller.as_str().as_bytes();
    let callee = offer.callee.as_str().as_bytes();
    let length = u16::try_from(caller.len()).unwrap_or(u16::MAX);
    let mut bytes = Vec::with_capacity(19 + caller.len() + callee.len());
    bytes.push(condition | calls);
    bytes.extend_from_slice(&(offer.issued.as_micros() / 1000).to_be_bytes());
    bytes.extend_from_slice(&offer.call.0.to_be_bytes());
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(caller);
    bytes.extend_from_slice(callee);
    bytes
}

fn read(bytes: &[u8]) -> Option<Offer> {
    let (kind, rest) = bytes.split_first()?;
    let (millis, rest) = rest.split_first_chunk()?;
    let (call, rest) = rest.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let (caller, callee) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
    Some(Offer {
        caller: Aor::new(str::from_utf8(caller).ok()?),
        callee: Aor::new(str::from_utf8(callee).ok()?),
        condition: match kind & 3 {
            0 => Condition::Busy,
            1 => Condition::NoReply,
            2 => Condition::NotLoggedIn,
            _ => return None,
        },
        calls: match kind >> 2 {
            0 => Calls::Unknown,
            1 => Calls::Engaged,
            2 => Calls::Free,
            _ => return None,
        },
        call: CallIdentity(u64::from_be_bytes(*call)),
        issued: Timestamp::from(Duration::from_millis(u64::from_be_bytes(*millis))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(condition: Condition, calls: Calls) -> Offer {
        Offer {
            caller: Aor::new("sip:alice@atlanta.example"),
            callee: Aor::new("sip:bob@biloxi.example"),
            condition,
            calls,
            call: CallIdentity(77),
            issued: Timestamp::START + Duration::from_millis(1_234),
        }
    }

    fn sealer(seed: u64) -> Sealer {
        Sealer::new(&mut Rng::from_number(seed))
    }

    #[test]
    fn what_was_sealed_is_opened() {
        for condition in Condition::ALL {
            for calls in [Calls::Unknown, Calls::Engaged, Calls::Free] {
                let offer = offer(condition, calls);
                let token = sealer(1).seal(&offer);
                assert_eq!(sealer(1).open(&token), Some(offer));
            }
        }
    }

    #[test]
    fn a_changed_token_opens_nothing() {
        let sealer = sealer(1);
        let token = sealer.seal(&offer(Condition::Busy, Calls::Engaged));
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'b' { b'c' } else { b'b' };
            let changed = String::from_utf8(changed).expect("letters");
            assert_eq!(sealer.open(&changed), None, "character {at}");
        }
        for text in [
            "",
            "a",
            &token[1..],
            &token[..40],
            &[&token, "aaaaaaaa"].concat(),
        ] {
            assert_eq!(sealer.open(text), None, "{text}");
        }
    }

    #[test]
    fn another_process_opens_nothing() {
        let token = sealer(1).seal(&offer(Condition::Busy, Calls::Engaged));
        assert_eq!(sealer(2).open(&token), None);
    }

    #[test]
    fn a_token_shows_neither_party_and_no_two_calls_have_the_same() {
        let sealer = sealer(1);
        let one = offer(Condition::Busy, Calls::Engaged);
        let two = Offer {
            call: CallIdentity(78),
            ..one.clone()
        };
        let bytes = base32::decode(&sealer.seal(&one)).expect("base 32");
        assert!(
            !bytes
                .windows(3)
                .any(|part| part == b"bob" || part == b"sip")
        );
        assert_ne!(sealer.seal(&one)[26..], sealer.seal(&two)[26..]);
    }

    #[test]
    fn an_offer_is_fresh_for_its_window_and_not_before_its_time() {
        let offer = offer(Condition::Busy, Calls::Engaged);
        let window = Duration::from_secs(30);
        // CC-73
        assert!(offer.is_fresh(offer.issued + window, window));
        assert!(!offer.is_fresh(offer.issued + window + Duration::from_millis(1), window));
        assert!(!offer.is_fresh(Timestamp::START, window));
    }
}
