//! Keyed digests of what peers choose: short names for requests that nobody can make collide.
//!
//! Spec: RFC 3261 §17.2.3 (S-01), §8.2.2.2 (S-11).
//!
//! A table of 100 000 entries meets an accidental collision of 128 bits once in 10^28 look-ups, so
//! equal digests are taken for equal requests and the texts are not kept.

use std::hash::{BuildHasherDefault, Hasher};

use siphasher::sip128::{Hasher128 as _, SipHasher13};

use crate::random::Rng;
use crate::sip::method::Method;
use crate::sip::{Request, Uri};

/// The digest of one request in one respect.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Digest(u128);

impl Digest {
    /// Its upper and its lower 64 bits.
    pub fn halves(self) -> [u64; 2] {
        let half = |bits: u128| u64::try_from(bits & u128::from(u64::MAX)).unwrap_or_default();
        [half(self.0 >> 64), half(self.0)]
    }
}

/// A map from digests; they are hashes already and are not hashed again.
pub type DigestMap<V> = std::collections::HashMap<Digest, V, BuildHasherDefault<Already>>;

/// Takes a keyed digest as its own hash.
#[derive(Clone, Copy, Debug, Default)]
pub struct Already(u64);

impl Hasher for Already {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            for (to, from) in word.iter_mut().zip(chunk) {
                *to = *from;
            }
            self.0 ^= u64::from_le_bytes(word);
        }
    }

    fn write_u128(&mut self, digest: u128) {
        self.0 = u64::try_from(digest >> 64).unwrap_or_default();
    }
}

/// Makes digests under one secret key.
#[derive(Clone, Copy, Debug)]
pub struct Digester {
    key: (u64, u64),
}

impl Digester {
    /// A digester with a key of its own.
    pub fn new(rng: &mut Rng) -> Self {
        Self {
            key: (rng.bits(), rng.bits()),
        }
    }

    /// The digest of these parts, each told apart from its neighbours.
    pub fn of(&self, parts: &[&[u8]]) -> Digest {
        let mut hasher = SipHasher13::new_with_keys(self.key.0, self.key.1);
        for part in parts {
            hasher.write(part);
            hasher.write_u8(0);
        }
        Digest(hasher.finish128().as_u128())
    }

    /// S-01: the server transaction of a request; an ACK and a CANCEL name that of their INVITE.
    pub fn transaction(&self, request: &Request<'_>) -> Digest {
        let class = match request.method {
            Method::Ack | Method::Cancel | Method::Invite => Method::Invite,
            other @ (Method::Bye
            | Method::Info
            | Method::Message
            | Method::Notify
            | Method::Options
            | Method::Prack
            | Method::Publish
            | Method::Refer
            | Method::Register
            | Method::Subscribe
            | Method::Update
            | Method::Other(_)) => other,
        };
        self.transaction_of(class, request)
    }

    /// The server transaction that this request would belong to, were it of this method.
    pub fn transaction_of(&self, method: Method<'_>, request: &Request<'_>) -> Digest {
        let class = method.as_str().as_bytes();
        let via = &request.via;
        if via.has_magic_cookie() {
            return self.of(&[class, via.branch().unwrap_or_default(), via.sent_by()]);
        }
        let number = request.cseq.number.to_be_bytes();
        let from_tag = request.from.tag().unwrap_or_default();
        // RFC 3261 §17.2.3: what was before RFC 3261 is told by its own top Via and identity.
        self.of(&[
            class,
            via.text,
            request.uri.text(),
            request.call_id,
            from_tag,
            &number,
        ])
    }

    /// S-11: what the copies of one request that came over several ways have in common. The
    /// Request-URI belongs to it: the same request to two of our users is not a copy (R22).
    pub fn copies(&self, request: &Request<'_>) -> Digest {
        let from_tag = request.from.tag().unwrap_or_default();
        let number = request.cseq.number.to_be_bytes();
        self.of(&[request.uri.text(), request.call_id, from_tag, &number])
    }

    /// The second part of our branches (S-111): where a request was bound for.
    pub fn destination(&self, uri: &Uri<'_>) -> u64 {
        let mut hash = Already::default();
        hash.write_u128(self.of(&[uri.text()]).0);
        hash.finish()
    }

    /// A tag for a response that leaves no state behind: the same one each time (RFC 3261 §8.2.7).
    pub fn stateless_tag(&self, parts: &[&[u8]]) -> u64 {
        let mut hash = Already::default();
        hash.write_u128(self.of(parts).0);
        hash.finish()
    }
}
