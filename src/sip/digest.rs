//! The hashes of Digest authentication, and what somebody with the right password answers.
//!
//! Spec: RFC 7616 §3.4.1–§3.4.3; RFC 8760 §2.

use md5::Md5;
use sha2::Sha256;
use sha2::digest::Digest;
use smallvec::SmallVec;
use subtle::ConstantTimeEq as _;

/// A hash in hexadecimal digits, in lower case.
pub type Hex = SmallVec<[u8; 64]>;

/// The only quality of protection that we offer and use: a body is nobody's to protect on the way.
pub const QOP: &str = "auth";

/// What a password is hashed with; the better one comes first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Algorithm {
    /// SHA-256 (RFC 8760).
    Sha256,
    /// MD5: for phones that know no other.
    Md5,
}

impl Algorithm {
    /// S-170: each of them, in the order of preference.
    pub const ALL: [Self; 2] = [Self::Sha256, Self::Md5];

    /// The algorithm of this name, in any case.
    pub fn of(name: &[u8]) -> Option<Self> {
        let is_named = |one: &Self| one.name().as_bytes().eq_ignore_ascii_case(name);
        Self::ALL.into_iter().find(is_named)
    }

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SHA-256",
            Self::Md5 => "MD5",
        }
    }

    /// How many hexadecimal digits a hash has.
    pub fn digits(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Md5 => 32,
        }
    }

    /// The hash of these texts with colons between them.
    pub fn hash(self, texts: &[&[u8]]) -> Hex {
        match self {
            Self::Sha256 => hash::<Sha256>(texts),
            Self::Md5 => hash::<Md5>(texts),
        }
    }
}

/// What is said of a request beside the password, as written, without quotes.
#[derive(Clone, Copy, Debug)]
pub struct Said<'m> {
    /// The challenge's nonce.
    pub nonce: &'m [u8],
    /// How often it has been used, in eight hexadecimal digits.
    pub count: &'m [u8],
    /// The nonce of the one who answers.
    pub own_nonce: &'m [u8],
    /// What was hashed; empty: the challenge named nothing (RFC 3261 §22.4, rule 8), and neither
    /// count nor own nonce count.
    pub qop: &'m [u8],
    /// The method.
    pub method: &'m [u8],
    /// The Request-URI.
    pub uri: &'m [u8],
}

impl Said<'_> {
    /// Whether this answer is that of somebody who knows the secret: the hash of name, realm and
    /// password (`HA1`).
    pub fn is_answered(&self, algorithm: Algorithm, secret: &[u8], answer: &[u8]) -> bool {
        let expected = self.answer(algorithm, secret);
        expected
            .as_slice()
            .ct_eq(&answer.to_ascii_lowercase())
            .into()
    }

    /// What who knows the secret answers.
    pub fn answer(&self, algorithm: Algorithm, secret: &[u8]) -> Hex {
        let request = algorithm.hash(&[self.method, self.uri]);
        if self.qop.is_empty() {
            return algorithm.hash(&[secret, self.nonce, &request]);
        }
        let (count, own_nonce) = (self.count, self.own_nonce);
        algorithm.hash(&[secret, self.nonce, count, own_nonce, self.qop, &request])
    }
}

fn hash<D: Digest>(texts: &[&[u8]]) -> Hex {
    let mut digest = D::new();
    for (at, text) in texts.iter().enumerate() {
        if at > 0 {
            digest.update(b":");
        }
        digest.update(text);
    }
    hex(&digest.finalize())
}

/// The lower-case hexadecimal digits of these bytes.
pub fn hex(bytes: &[u8]) -> Hex {
    let digit = |nibble: u8| match nibble {
        0..=9 => b'0' + nibble,
        _ => b'a' + nibble - 10,
    };
    let digits = |byte: &u8| [digit(byte >> 4), digit(byte & 0xf)];
    bytes.iter().flat_map(digits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7616 §3.9.1: one request, answered with either algorithm.
    const EXAMPLE: Said<'_> = Said {
        nonce: b"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
        count: b"00000001",
        own_nonce: b"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
        qop: b"auth",
        method: b"GET",
        uri: b"/dir/index.html",
    };

    fn secret(algorithm: Algorithm) -> Hex {
        algorithm.hash(&[b"Mufasa", b"http-auth@example.org", b"Circle of Life"])
    }

    #[test]
    fn the_published_example_is_answered_as_published() {
        let answer = |algorithm| {
            let answer = EXAMPLE.answer(algorithm, &secret(algorithm));
            String::from_utf8(answer.to_vec()).expect("digits")
        };
        assert_eq!(answer(Algorithm::Md5), "8ca523f5e9506fed4657c9700eebdbec");
        assert_eq!(
            answer(Algorithm::Sha256),
            "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"
        );
    }

    #[test]
    fn an_answer_is_right_in_any_case_and_wrong_in_any_other_digit() {
        let (md5, secret) = (Algorithm::Md5, secret(Algorithm::Md5));
        let is_right = |answer: &[u8]| EXAMPLE.is_answered(md5, &secret, answer);
        assert!(is_right(b"8CA523F5E9506FED4657C9700EEBDBEC"));
        assert!(!is_right(b"8ca523f5e9506fed4657c9700eebdbed"));
        assert!(!is_right(b"8ca523f5e9506fed4657c9700eebdbe"));
        assert!(!is_right(b""));
    }

    /// RFC 2617 §3.5, with the challenge of RFC 2069.
    #[test]
    fn without_a_quality_only_the_nonce_and_the_request_are_hashed() {
        let said = Said {
            nonce: b"dcd98b7102dd2f0e8b11d0f600bfb0c093",
            qop: b"",
            ..EXAMPLE
        };
        let secret = Algorithm::Md5.hash(&[b"Mufasa", b"testrealm@host.com", b"Circle Of Life"]);
        let answer = said.answer(Algorithm::Md5, &secret);
        let expected: &[u8] = b"670fd8c2df070c60b045671b8b24ff02";
        assert_eq!(&*answer, expected);
    }

    #[test]
    fn an_algorithm_is_known_by_its_name_in_any_case() {
        assert_eq!(Algorithm::of(b"sha-256"), Some(Algorithm::Sha256));
        assert_eq!(Algorithm::of(b"MD5"), Some(Algorithm::Md5));
        assert_eq!(Algorithm::of(b"MD5-sess"), None);
    }
}
