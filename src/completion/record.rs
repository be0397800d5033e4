//! One completion as the store keeps it.
//!
//! Numbers are big-endian, texts are preceded by their length in two bytes. The first byte is the
//! version of this form, so that a later one can read what an earlier one wrote.

use std::hash::Hasher as _;
use std::time::Duration;

use siphasher::sip::SipHasher13;

use crate::cc::Condition;
use crate::cc::addr::{AddrSpec, Aor};
use crate::cc::id::{CceToken, CompletionId};
use crate::completion::identity::Identity;
use crate::completion::input::Binding;
use crate::store::Key;
use crate::time::Timestamp;

/// A reading of the calendar's clock, in microseconds since 1970; handed in, as time is.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct WallTime(pub u64);

impl WallTime {
    /// The reading when the process's time is `now`, if this was it at the start.
    #[must_use]
    pub fn at(self, now: Timestamp) -> Self {
        Self(self.0.saturating_add(now.as_micros()))
    }

    /// How long after `earlier` this is; zero if it is not.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// Who has the two roles.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Roles {
    /// The monitor is elsewhere.
    Agent,
    /// Both are here.
    Both,
    /// The agent is elsewhere.
    Monitor,
}

/// What outlives the process.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Record {
    /// Its name.
    pub id: CompletionId,
    /// Its entry's name towards others.
    pub cce: CceToken,
    /// Who has the two roles.
    pub roles: Roles,
    /// Why the call failed.
    pub condition: Condition,
    /// Its number among its caller's.
    pub number: u32,
    /// The phone that asked.
    pub binding: Binding,
    /// How often it was selected; written before the caller hears of it.
    pub recalls: u32,
    /// When its service ends.
    pub ends: WallTime,
    /// Who called.
    pub caller: Aor,
    /// Whom.
    pub callee: Aor,
    /// From which address.
    pub from: AddrSpec,
    /// To which.
    pub dialled: AddrSpec,
    /// What the call said of him beside that.
    pub identity: Identity,
}

/// The form that [`Record::encode`] writes.
const FORM: u8 = 2;

impl Record {
    /// Where it is kept.
    pub fn key(id: CompletionId, callee: &Aor) -> Key {
        // Fixed keys: the partition of a callee is the same in every process.
        let mut hasher = SipHasher13::new_with_keys(0, 0);
        hasher.write(callee.as_str().as_bytes());
        let [partition, ..] = hasher.finish().to_be_bytes();
        Key {
            partition,
            id: id.to_bits(),
        }
    }

    /// As bytes.
    pub fn encode(&self) -> Box<[u8]> {
        let roles = match self.roles {
            Roles::Agent => 0,
            Roles::Both => 1,
            Roles::Monitor => 2,
        };
        let condition = match self.condition {
            Condition::Busy => 0,
            Condition::NoReply => 1,
            Condition::NotLoggedIn => 2,
        };
        let mut bytes = vec![FORM, roles, condition];
        bytes.extend_from_slice(&self.id.to_bits().to_be_bytes());
        bytes.extend_from_slice(&self.cce.to_bits().to_be_bytes());
        bytes.extend_from_slice(&self.number.to_be_bytes());
        bytes.extend_from_slice(&self.recalls.to_be_bytes());
        bytes.extend_from_slice(&self.binding.0.to_be_bytes());
        bytes.extend_from_slice(&self.ends.0.to_be_bytes());
        for text in [
            self.caller.as_str(),
            self.callee.as_str(),
            self.from.as_str(),
            self.dialled.as_str(),
            self.identity.asserted(),
            self.identity.privacy(),
        ] {
            let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        bytes.into_boxed_slice()
    }

    /// What [`Self::encode`] wrote; `None` for anything else.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let [FORM, roles, condition] = take(&mut rest)? else {
            return None;
        };
        let roles = match roles {
            0 => Roles::Agent,
            1 => Roles::Both,
            2 => Roles::Monitor,
            _ => return None,
        };
        let condition = match condition {
            0 => Condition::Busy,
            1 => Condition::NoReply,
            2 => Condition::NotLoggedIn,
            _ => return None,
        };
        let record = Self {
            roles,
            condition,
            id: CompletionId::from_bits(u128::from_be_bytes(take(&mut rest)?)),
            cce: CceToken::from_bits(u128::from_be_bytes(take(&mut rest)?)),
            number: u32::from_be_bytes(take(&mut rest)?),
            recalls: u32::from_be_bytes(take(&mut rest)?),
            binding: Binding(u64::from_be_bytes(take(&mut rest)?)),
            ends: WallTime(u64::from_be_bytes(take(&mut rest)?)),
            caller: Aor::new(text(&mut rest)?),
            callee: Aor::new(text(&mut rest)?),
            from: AddrSpec::new(text(&mut rest)?).ok()?,
            dialled: AddrSpec::new(text(&mut rest)?).ok()?,
            identity: Identity::new(text(&mut rest)?, text(&mut rest)?),
        };
        rest.is_empty().then_some(record)
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*bytes)
}

fn text<'b>(rest: &mut &'b [u8]) -> Option<&'b str> {
    let length = u16::from_be_bytes(take(rest)?);
    let (text, after) = rest.split_at_checked(length.into())?;
    *rest = after;
    str::from_utf8(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let address = |text| AddrSpec::new(text).expect("a URI");
        Record {
            id: CompletionId::from_bits(7),
            cce: CceToken::from_bits(8),
            roles: Roles::Both,
            condition: Condition::NoReply,
            number: 3,
            binding: Binding(9),
            recalls: 2,
            ends: WallTime(1_700_000_000_000_000),
            caller: Aor::new("sip:alice@a.example"),
            callee: Aor::new("sip:bob@b.example"),
            from: address("sip:alice@a.example"),
            dialled: address("sip:102@b.example;user=phone"),
            identity: Identity::new("<sip:+4930@a.example>", "id"),
        }
    }

    #[test]
    fn a_record_is_read_back() {
        assert_eq!(Record::decode(&record().encode()), Some(record()));
        let bytes = record().encode().len();
        assert!(bytes < 256, "{bytes} bytes for a common completion");
    }

    #[test]
    fn a_cut_or_longer_record_is_no_record() {
        let bytes = record().encode();
        for length in 0..bytes.len() {
            assert_eq!(Record::decode(&bytes[..length]), None, "{length} bytes");
        }
        let longer = [&bytes[..], b"x"].concat();
        assert_eq!(Record::decode(&longer), None);
    }

    #[test]
    fn all_requests_for_one_callee_lie_in_one_partition() {
        let key = |id, callee: &str| Record::key(CompletionId::from_bits(id), &Aor::new(callee));
        let bob = key(1, "sip:bob@b.example");
        assert_eq!(bob.partition, key(2, "sip:bob@b.example").partition);
        let others = (0..50).map(|n| key(1, &format!("sip:{n}@b.example")).partition);
        assert!(others.into_iter().any(|other| other != bob.partition));
    }
}
