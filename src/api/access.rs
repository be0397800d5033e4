//! Who may ask the API for what: bearer tokens, their scopes, and the line that each is bound to.
//!
//! Spec: RFC 6750 §2.1, §3.1.
//!
//! A token is known by its hash alone, and compared in constant time with every one there is.

use sha2::{Digest as _, Sha256};
use subtle::{ConditionallySelectable as _, ConstantTimeEq as _};

/// What a token is good for.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Scope {
    /// To end anybody's request.
    Admin,
    /// To complete, connect and end calls, and to take requests back, in the name of a line.
    Complete,
    /// To look.
    Read,
}

impl Scope {
    /// Each, by its word in the configuration.
    pub const WORDS: [(&'static str, Self); 3] = [
        ("admin", Self::Admin),
        ("complete", Self::Complete),
        ("read", Self::Read),
    ];
}

/// A bearer token, as it is configured.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Token {
    /// What the log calls it.
    pub name: String,
    /// SHA-256 of it.
    pub hash: [u8; 32],
    /// What it is good for.
    pub scopes: Vec<Scope>,
    /// The only line that it is good for; any, if `None`.
    pub line: Option<Box<str>>,
}

/// Who asks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Grant {
    /// Which token, by its place; the number of tokens, if none was needed.
    pub place: usize,
    /// What he may.
    pub scopes: Vec<Scope>,
    /// On which line alone.
    pub line: Option<Box<str>>,
}

impl Grant {
    /// Whether he may.
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }
}

/// Whom the API listens to.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// The tokens.
    pub tokens: Vec<Token>,
    /// Whether it listens to everybody, where there are no tokens: so it is where everybody may
    /// register as anybody, and could ask for as much by phone.
    pub is_open: bool,
}

impl Access {
    /// Who sends this value of Authorization; `None` if he is nobody.
    pub fn grant(&self, authorization: Option<&[u8]>) -> Option<Grant> {
        if self.tokens.is_empty() && self.is_open {
            return Some(Grant {
                place: 0,
                scopes: vec![Scope::Complete, Scope::Read],
                line: None,
            });
        }
        let (scheme, token) = authorization?.split_at_checked(7)?;
        if !scheme.eq_ignore_ascii_case(b"bearer ") {
            return None;
        }
        let hash: [u8; 32] = Sha256::digest(token.trim_ascii()).into();
        let mut found = u32::MAX;
        for (place, known) in (0..).zip(&self.tokens) {
            found.conditional_assign(&place, known.hash.ct_eq(&hash));
        }
        let place = usize::try_from(found).ok()?;
        let token = self.tokens.get(place)?;
        Some(Grant {
            place,
            scopes: token.scopes.clone(),
            line: token.line.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access() -> Access {
        let token = |name: &str, scope| Token {
            name: name.to_owned(),
            hash: Sha256::digest(name.as_bytes()).into(),
            scopes: vec![scope],
            line: Some(name.into()),
        };
        Access {
            tokens: vec![token("alice", Scope::Read), token("bob", Scope::Complete)],
            is_open: true,
        }
    }

    #[test]
    fn a_token_is_known_by_its_hash() {
        let access = access();
        let line = |value: &[u8]| access.grant(Some(value)).and_then(|grant| grant.line);
        assert_eq!(line(b"Bearer alice").as_deref(), Some("alice"));
        assert_eq!(line(b"bearer bob").as_deref(), Some("bob"));
        for value in [
            "Bearer carol",
            "Bearer ",
            "Bearer",
            "Basic bob",
            "",
            "alice",
        ] {
            assert_eq!(line(value.as_bytes()), None, "{value}");
        }
    }

    /// Where there are tokens, nobody is let in without one.
    #[test]
    fn the_api_is_open_only_where_there_are_no_tokens_and_no_passwords() {
        assert_eq!(access().grant(None), None);
        assert_eq!(Access::default().grant(None), None);
        let open = Access {
            is_open: true,
            ..Access::default()
        };
        let grant = open.grant(None).expect("a grant");
        assert!(grant.may(Scope::Read) && grant.may(Scope::Complete) && !grant.may(Scope::Admin));
    }
}
