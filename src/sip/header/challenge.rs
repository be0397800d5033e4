//! Digest challenges as written: WWW-Authenticate and Proxy-Authenticate.
//!
//! Spec: RFC 3261 §20.27, §20.44, §25.1 (challenge); RFC 7616 §3.3; RFC 8760 §2.4.

use crate::sip::digest::{Algorithm, QOP};
use crate::sip::header::credentials::params_of;
use crate::sip::lex::{Commas, trim};

/// The parameters that count.
const PARAMS: [&str; 6] = ["realm", "nonce", "opaque", "stale", "algorithm", "qop"];

/// A Digest challenge that we can answer; its texts are without their quotes and with their escapes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Challenge<'m> {
    /// Whose password is asked for.
    pub realm: &'m [u8],
    /// What the answer is to be made of.
    pub nonce: &'m [u8],
    /// What is to come back as it is.
    pub opaque: Option<&'m [u8]>,
    /// Whether the answer before this challenge was right, for a nonce that has run out.
    pub is_stale: bool,
    /// What is to be hashed with.
    pub algorithm: Algorithm,
    /// Whether it names the quality `auth`; else it is of those who know none (RFC 3261 §22.4).
    pub has_qop: bool,
}

impl<'m> Challenge<'m> {
    /// The challenge in one header field; `None` if it is of another scheme, lacks realm or nonce, or
    /// wants an algorithm or a quality that we do not have.
    pub fn parse(field: &'m [u8]) -> Option<Self> {
        let [realm, nonce, opaque, stale, algorithm, qop] = params_of(field, PARAMS)?;
        let texts = [realm, nonce, opaque].into_iter().flatten();
        // What is folded or worse does not go back as it is.
        if texts.flatten().any(u8::is_ascii_control) {
            return None;
        }
        let algorithm = match algorithm {
            Some(name) => Algorithm::of(name)?,
            None => Algorithm::Md5,
        };
        if let Some(offered) = qop {
            let mut offered = Commas::of(offered);
            offered.find(|one| trim(one).eq_ignore_ascii_case(QOP.as_bytes()))?;
        }
        Some(Self {
            realm: realm?,
            nonce: nonce?,
            opaque,
            is_stale: stale.is_some_and(|stale| stale.eq_ignore_ascii_case(b"true")),
            algorithm,
            has_qop: qop.is_some(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(field: &str) -> Option<Challenge<'_>> {
        Challenge::parse(field.as_bytes())
    }

    #[test]
    fn a_challenge_is_read_with_all_that_the_answer_needs() {
        let field = "Digest  realm=\"a, \\\"b\\\"\", Nonce = \"n=\", opaque=\"\", STALE=TRUE,\
            domain=\"sip:x\", algorithm=sha-256, qop=\"auth-int, auth\"";
        let expected = Challenge {
            realm: b"a, \\\"b\\\"",
            nonce: b"n=",
            opaque: Some(b""),
            is_stale: true,
            algorithm: Algorithm::Sha256,
            has_qop: true,
        };
        assert_eq!(parse(field), Some(expected));
    }

    #[test]
    fn an_old_challenge_has_neither_algorithm_nor_quality() {
        let challenge = parse("Digest realm=\"a\", nonce=\"n\"").expect("a challenge");
        assert_eq!(challenge.algorithm, Algorithm::Md5);
        assert!(!challenge.has_qop && !challenge.is_stale);
    }

    #[test]
    fn what_we_cannot_answer_is_no_challenge() {
        for field in [
            "Basic realm=\"a\"",
            "Digest realm=\"a\"",
            "Digest nonce=\"n\"",
            "Digest realm=\"a\", nonce=\"n\", qop=\"auth-int\"",
            "Digest realm=\"a\", nonce=\"n\r\n m\", qop=\"auth\"",
            "Digest realm=\"a\", nonce=\"n\", algorithm=SHA-512-256",
            "Digest realm=\"a\", nonce=\"n\", algorithm=MD5-sess, qop=\"auth\"",
        ] {
            assert_eq!(parse(field), None, "{field}");
        }
    }
}
