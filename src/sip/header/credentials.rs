//! Digest credentials as written: Authorization and Proxy-Authorization.
//!
//! Spec: RFC 3261 §20.7, §20.28, §25.1 (digest-response); RFC 7616 §3.4.

use crate::sip::lex::{Commas, trim};

/// The parameters that count.
const PARAMS: [&str; 9] = [
    "username",
    "realm",
    "nonce",
    "uri",
    "response",
    "algorithm",
    "qop",
    "nc",
    "cnonce",
];

/// The parameters of Digest credentials, without their quotes but with their escapes: that is what
/// is hashed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Credentials<'m> {
    /// Who it is.
    pub username: Option<&'m [u8]>,
    /// Whose password it is about.
    pub realm: Option<&'m [u8]>,
    /// The challenge's nonce.
    pub nonce: Option<&'m [u8]>,
    /// The Request-URI as it was when the request was sent.
    pub uri: Option<&'m [u8]>,
    /// What proves the password.
    pub response: Option<&'m [u8]>,
    /// What it was hashed with; MD5 if it is not said.
    pub algorithm: Option<&'m [u8]>,
    /// What was hashed.
    pub qop: Option<&'m [u8]>,
    /// How often the nonce has been used.
    pub nc: Option<&'m [u8]>,
    /// The sender's own nonce.
    pub cnonce: Option<&'m [u8]>,
}

impl<'m> Credentials<'m> {
    /// The credentials in one header field; `None` if the scheme is another, or if a parameter
    /// stands there twice.
    pub fn parse(field: &'m [u8]) -> Option<Self> {
        let values = params_of(field, PARAMS)?;
        let [
            username,
            realm,
            nonce,
            uri,
            response,
            algorithm,
            qop,
            nc,
            cnonce,
        ] = values;
        Some(Self {
            username,
            realm,
            nonce,
            uri,
            response,
            algorithm,
            qop,
            nc,
            cnonce,
        })
    }

    /// Whether they are about a password of this realm.
    pub fn is_for(&self, realm: &str) -> bool {
        self.realm == Some(realm.as_bytes())
    }
}

/// The values of these parameters of the scheme Digest, without quotes; `None` if the scheme is
/// another, or if one of them stands there twice.
pub(super) fn params_of<'m, const N: usize>(
    field: &'m [u8],
    names: [&str; N],
) -> Option<[Option<&'m [u8]>; N]> {
    let field = trim(field);
    let end = field.iter().position(u8::is_ascii_whitespace)?;
    let (scheme, params) = field.split_at(end);
    if !scheme.eq_ignore_ascii_case(b"Digest") {
        return None;
    }
    let mut values = [None; N];
    for param in Commas::of(params) {
        let equals = param.iter().position(|byte| *byte == b'=')?;
        let (name, value) = param.split_at(equals);
        let value = without_quotes(trim(value.get(1..)?));
        let is_named = |known: &str| known.as_bytes().eq_ignore_ascii_case(trim(name));
        let place = names.iter().position(|known| is_named(known));
        let place = place.and_then(|place| values.get_mut(place));
        if place.is_some_and(|place| place.replace(value).is_some()) {
            return None;
        }
    }
    Some(values)
}

fn without_quotes(value: &[u8]) -> &[u8] {
    match value {
        [b'"', inner @ .., b'"'] => inner,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(field: &str) -> Option<Credentials<'_>> {
        Credentials::parse(field.as_bytes())
    }

    #[test]
    fn blanks_case_and_order_do_not_matter() {
        let field = "dIGEST  CNONCE=c , nc = 0000000A,QOP=\"auth\",\r\n opaque=\"\", response=0f,\
            uri=\"sip:a,b\",nonce=\"\",Realm=\"a \\\"b\\\"\"";
        let expected = Credentials {
            username: None,
            realm: Some(b"a \\\"b\\\""),
            nonce: Some(b""),
            uri: Some(b"sip:a,b"),
            response: Some(b"0f"),
            algorithm: None,
            qop: Some(b"auth"),
            nc: Some(b"0000000A"),
            cnonce: Some(b"c"),
        };
        assert_eq!(parse(field), Some(expected));
        assert!(expected.is_for("a \\\"b\\\"") && !expected.is_for("a"));
    }

    #[test]
    fn another_scheme_has_no_credentials_of_ours() {
        for field in [
            "NoOneKnowsThisScheme opaque-data=here",
            "Basic YTpi",
            "Digest",
        ] {
            assert_eq!(parse(field), None, "{field}");
        }
    }

    #[test]
    fn what_stands_there_twice_says_nothing() {
        assert_eq!(parse("Digest realm=\"a\", nonce=b, Realm=\"c\""), None);
        assert_eq!(parse("Digest realm=\"a\", nonce"), None);
    }
}
