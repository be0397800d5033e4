//! The names that stand towards a PBX for a phone that registers through us: its alias and its ids.
//!
//! Spec: RULES R3, R12; RFC 3261 §10.2, §19.1.1.
//!
//! Each is a keyed hash of what it stands for: the same phone has the same names after a refresh and
//! after a restart of ours, nobody guesses another's, and nothing has to be remembered of them.

use std::fmt;

use sha2::Digest as _;
use sha2::Sha256;

use crate::location::Aor;
use crate::sip::NameAddr;
use crate::sip::SipUri;
use crate::sip::digest::Hex;
use crate::sip::digest::hex;

/// What a user part that is an alias begins with.
const PREFIX: &[u8] = b"reg-";
/// 96 bits: no two phones have the same.
const BYTES: usize = 12;

/// The user part of the Contact by which a PBX knows a phone.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Alias([u8; BYTES]);

impl Alias {
    /// How many bytes an alias has.
    pub const BYTES: usize = BYTES;

    /// The alias that a Request-URI or Contact of ours names; `None` if it names something else.
    pub fn parse(uri: &SipUri<'_>) -> Option<Self> {
        let digits = uri.user?.strip_prefix(PREFIX)?;
        let mut bytes = [0; BYTES];
        if digits.len() != 2 * BYTES {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
            // What we wrote is in lower case.
            let text = str::from_utf8(pair).ok()?;
            let is_hex = |digit: u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
            text.bytes().all(is_hex).then_some(())?;
            *byte = u8::from_str_radix(text, 16).ok()?;
        }
        Some(Self(bytes))
    }

    /// The bytes, to be stored.
    pub fn to_bytes(self) -> [u8; BYTES] {
        self.0
    }

    /// The alias of these bytes.
    pub fn from_bytes(bytes: [u8; BYTES]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Alias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("reg-")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Makes the names, under one secret.
#[derive(Clone)]
pub struct Pseudonyms {
    secret: [u8; 32],
}

impl Pseudonyms {
    /// The names under this secret; whoever keeps it keeps the names.
    pub fn new(secret: [u8; 32]) -> Self {
        Self { secret }
    }

    /// The names of a process that keeps no secret: they last as long as it has this address, and no
    /// outsider is told any of them.
    pub fn of_address(sent_by: &str) -> Self {
        Self::new(Sha256::digest(sent_by).into())
    }

    /// R12: of the AOR and the instance with its flow, else the Contact's URI.
    pub fn alias(&self, aor: &Aor, contact: &NameAddr<'_>) -> Alias {
        let aor = aor.as_str().as_bytes();
        let hash = match contact.params.value("+sip.instance") {
            Some(instance) => {
                let flow = contact.params.value("reg-id").unwrap_or_default();
                self.hash(&[b"instance", aor, instance, flow])
            }
            None => self.hash(&[b"contact", aor, contact.uri.text()]),
        };
        let mut alias = [0; BYTES];
        for (to, from) in alias.iter_mut().zip(hash) {
            *to = from;
        }
        Alias(alias)
    }

    /// R3: the Call-ID and the From tag that stand for a phone's own outside of dialogs: the same
    /// for a request that is repeated with credentials, and for a registration as long as it lives.
    ///
    /// With them goes the phone's own CSeq number, so that requests stay in their order.
    pub fn ids(&self, from: &Aor, call_id: &[u8], tag: &[u8]) -> Ids {
        let from = from.as_str().as_bytes();
        let text = |hash: [u8; 32]| hex(hash.get(..16).unwrap_or_default());
        Ids {
            call_id: text(self.hash(&[b"call-id", from, call_id])),
            tag: text(self.hash(&[b"tag", from, call_id, tag])),
        }
    }

    fn hash(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut hash = Sha256::new_with_prefix(self.secret);
        for part in parts {
            // Each part is told apart from its neighbours.
            hash.update(part.len().to_be_bytes());
            hash.update(part);
        }
        hash.finalize().into()
    }
}

impl fmt::Debug for Pseudonyms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pseudonyms")
    }
}

/// Call-ID and From tag of a request that stands for a phone's, each of 32 hexadecimal digits.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ids {
    /// The Call-ID.
    pub call_id: Hex,
    /// The From tag.
    pub tag: Hex,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alias(aor: &str, contact: &str) -> Alias {
        let contact = NameAddr::parse(contact.as_bytes()).expect("a Contact");
        Pseudonyms::new([7; 32]).alias(&Aor::of_user(aor.as_bytes()), &contact)
    }

    #[test]
    fn an_alias_reads_as_it_was_written() {
        let alias = alias("alice", "<sip:alice@192.0.2.1>");
        let text = format!("sip:{alias}@192.0.2.9:5060;transport=tcp");
        let uri = crate::sip::Uri::parse(text.as_bytes()).expect("a URI");
        let uri = uri.as_sip().expect("a SIP URI");
        assert_eq!(Alias::parse(&uri), Some(alias));
        for other in ["reg-", "reg-0123", "alice", "REG-000000000000000000000000"] {
            let text = format!("sip:{other}@192.0.2.9");
            let uri = crate::sip::Uri::parse(text.as_bytes()).expect("a URI");
            assert_eq!(Alias::parse(&uri.as_sip().expect("a SIP URI")), None);
        }
    }

    /// R12: a phone that says who it is keeps its alias wherever it goes; another one is told by its
    /// address.
    #[test]
    fn an_alias_belongs_to_a_phone_and_its_user() {
        let id = ";+sip.instance=\"<urn:uuid:1>\"";
        let home = alias("alice", &format!("<sip:alice@192.0.2.1>{id};expires=60"));
        let away = alias("alice", &format!("<sip:alice@192.0.2.7:5070>{id}"));
        assert_eq!(home, away);
        let second = alias("alice", &format!("<sip:alice@192.0.2.1>{id};reg-id=2"));
        assert_ne!(home, second);
        let plain = alias("alice", "<sip:alice@192.0.2.1>;q=0.5");
        assert_eq!(plain, alias("alice", "<sip:alice@192.0.2.1>;expires=0"));
        assert_ne!(plain, alias("alice", "<sip:alice@192.0.2.2>"));
        assert_ne!(plain, alias("bob", "<sip:alice@192.0.2.1>"));
    }

    #[test]
    fn the_ids_of_a_repeated_request_are_the_same() {
        let names = Pseudonyms::new([7; 32]);
        let alice = Aor::of_user(b"alice");
        let ids = names.ids(&alice, b"call", b"tag");
        assert_eq!(ids, names.ids(&alice, b"call", b"tag"));
        assert_ne!(ids.call_id, names.ids(&alice, b"call2", b"tag").call_id);
        let other_tag = names.ids(&alice, b"call", b"tag2");
        assert_eq!(ids.call_id, other_tag.call_id);
        assert_ne!(ids.tag, other_tag.tag);
        let other_key = Pseudonyms::new([8; 32]).ids(&alice, b"call", b"tag");
        assert_ne!(ids.call_id, other_key.call_id);
    }
}
