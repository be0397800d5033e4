//! When two URIs mean the same.
//!
//! Spec: RFC 3261 §19.1.4; RFC 3966 §4 (tel); RFC 8141 §3 and RFC 5031 §4.4 (urn).
//!
//! The relation is symmetric, but not transitive: parameters that one side lacks are mostly ignored.

use memchr::memchr_iter;

use crate::sip::params::{PARAMS_MAX, Params};
use crate::sip::uri::{SipUri, TelUri, Uri, take_letter};

/// Parameters that both URIs have, or neither: they change where a request goes.
const SIGNIFICANT: [&[u8]; 5] = [b"maddr", b"method", b"transport", b"ttl", b"user"];

impl Uri<'_> {
    /// Whether both name the same resource by the rules of their scheme.
    ///
    /// No name is looked up, and a `tel` URI never equals a `sip` one.
    pub fn is_equivalent(&self, other: &Uri<'_>) -> bool {
        match (self, other) {
            (Self::Sip(a), Uri::Sip(b)) => are_sip_equivalent(a, b),
            (Self::Tel(a), Uri::Tel(b)) => are_tel_equivalent(a, b),
            (Self::Urn(a), Uri::Urn(b)) => are_urn_equivalent(a, b),
            (Self::Other(a), Uri::Other(b)) => a == b,
            (Self::Sip(_) | Self::Tel(_) | Self::Urn(_) | Self::Other(_), _) => false,
        }
    }
}

fn are_sip_equivalent(a: &SipUri<'_>, b: &SipUri<'_>) -> bool {
    // S-34: the user has a case, the host has none, and a port that is left out is not 5060.
    a.secure == b.secure
        && a.host == b.host
        && a.port == b.port
        && are_same(a.user, b.user, Case::Counts)
        && are_same(a.password, b.password, Case::Counts)
        && agree(a.params, b.params)
        && agree(b.params, a.params)
        && are_headers_same(a.headers, b.headers)
}

/// Whether each parameter of `a` is the same in `b`, or missing there and without significance.
fn agree(a: Params<'_>, b: Params<'_>) -> bool {
    a.iter().all(|(name, value)| {
        let is_this = |other: &[u8]| are_bytes_same(name, other, Case::Ignored);
        // S-34: a parameter that one side lacks counts only if it changes the way of a request.
        b.iter().find(|(other, _)| is_this(other)).map_or_else(
            || !SIGNIFICANT.into_iter().any(is_this),
            |(_, other)| are_same(value, other, Case::Ignored),
        )
    })
}

/// Header fields are never ignored; their order is.
fn are_headers_same(a: Option<&[u8]>, b: Option<&[u8]>) -> bool {
    let (Some(a), Some(b)) = (a, b) else {
        return a.is_none() && b.is_none();
    };
    let count = |headers: &[u8]| memchr_iter(b'&', headers).count();
    if count(a) != count(b) || count(a) >= PARAMS_MAX {
        return false;
    }
    let has_all = |of: &[u8], all: &[u8]| {
        let mut all = all.split(|byte| *byte == b'&');
        all.all(|one| {
            of.split(|byte| *byte == b'&')
                .any(|other| is_header_same(one, other))
        })
    };
    has_all(a, b) && has_all(b, a)
}

fn is_header_same(a: &[u8], b: &[u8]) -> bool {
    let (a_name, a_value) = split_at_equals(a);
    let (b_name, b_value) = split_at_equals(b);
    are_bytes_same(a_name, b_name, Case::Ignored) && are_same(a_value, b_value, Case::Counts)
}

fn split_at_equals(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    match text.iter().position(|byte| *byte == b'=') {
        Some(at) => {
            let (name, value) = text.split_at(at);
            (name, value.get(1..))
        }
        None => (text, None),
    }
}

fn are_tel_equivalent(a: &TelUri<'_>, b: &TelUri<'_>) -> bool {
    let has_all = |of: Params<'_>, all: Params<'_>| {
        all.iter().all(|(name, value)| {
            let mut of = of.iter();
            let found = of.find(|(other, _)| other.eq_ignore_ascii_case(name));
            found.is_some_and(|(_, other)| are_numbers_same(value, other))
        })
    };
    are_numbers_same(Some(a.number), Some(b.number))
        && has_all(a.params, b.params)
        && has_all(b.params, a.params)
}

/// Numbers without their visual separators; also right for the other values of a `tel` URI.
fn are_numbers_same(a: Option<&[u8]>, b: Option<&[u8]>) -> bool {
    let digits = |text: Option<&[u8]>| {
        let bytes = text.unwrap_or_default().to_ascii_lowercase().into_iter();
        bytes
            .filter(|byte| !matches!(byte, b'-' | b'.' | b'(' | b')'))
            .collect::<Vec<_>>()
    };
    a.is_some() == b.is_some() && digits(a) == digits(b)
}

/// Scheme and namespace have no case; what follows has one, but for service names.
fn are_urn_equivalent(a: &[u8], b: &[u8]) -> bool {
    const SERVICE: &[u8] = b"urn:service:";
    let namespace_end = a
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b':')
        .nth(1);
    let Some((end, _)) = namespace_end else {
        return a.eq_ignore_ascii_case(b);
    };
    let (Some((a, a_rest)), Some((b, b_rest))) =
        (a.split_at_checked(end + 1), b.split_at_checked(end + 1))
    else {
        return false;
    };
    let has_case = !a.eq_ignore_ascii_case(SERVICE);
    a.eq_ignore_ascii_case(b)
        && (a_rest == b_rest || !has_case && a_rest.eq_ignore_ascii_case(b_rest))
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Case {
    Counts,
    Ignored,
}

fn are_same(a: Option<&[u8]>, b: Option<&[u8]>, case: Case) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => are_bytes_same(a, b, case),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

fn are_bytes_same(a: &[u8], b: &[u8], case: Case) -> bool {
    letters(a, case).eq(letters(b, case))
}

/// Each letter, and whether it is a reserved one that was written as an escape.
fn letters(text: &[u8], case: Case) -> impl Iterator<Item = (u8, bool)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (letter, after) = take_letter(rest)?;
        let is_escape = rest.len() - after.len() > 1;
        rest = after;
        // S-34: an escape is its letter, unless the letter has a meaning of its own in a URI.
        let is_hidden = is_escape && b";/?:@&=+$,".contains(&letter);
        let letter = if case == Case::Ignored {
            letter.to_ascii_lowercase()
        } else {
            letter
        };
        Some((letter, is_hidden))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_pair(a: &str, b: &str, expected: bool) {
        let (a, b) = (
            Uri::parse(a.as_bytes()).unwrap(),
            Uri::parse(b.as_bytes()).unwrap(),
        );
        assert_eq!(a.is_equivalent(&b), expected);
        assert_eq!(b.is_equivalent(&a), expected);
        assert!(a.is_equivalent(&a) && b.is_equivalent(&b));
    }

    #[test]
    fn equivalent_sip_uris_match() {
        for (a, b) in [
            (
                "sip:%61lice@atlanta.com;transport=TCP",
                "sip:alice@AtLanTa.CoM;Transport=tcp",
            ),
            ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
            (
                "sip:carol@chicago.com;security=on",
                "sip:carol@chicago.com;newparam=5",
            ),
            (
                "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
                "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
            ),
            (
                "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
                "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
            ),
            ("sip:a@[2001:db8::1]", "SIP:a@[2001:DB8:0:0::1]"),
        ] {
            assert_pair(a, b, true); // S-34
        }
    }

    #[test]
    fn different_sip_uris_do_not_match() {
        for (a, b) in [
            (
                "SIP:ALICE@AtLanTa.CoM;Transport=udp",
                "sip:alice@AtLanTa.CoM;Transport=UDP",
            ),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
            (
                "sip:bob@biloxi.com",
                "sip:bob@biloxi.com:6000;transport=tcp",
            ),
            (
                "sip:carol@chicago.com",
                "sip:carol@chicago.com?Subject=next%20meeting",
            ),
            ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
            ("sip:bob@biloxi.com", "sips:bob@biloxi.com"),
            ("sip:bob@biloxi.com", "sip:biloxi.com"),
            ("sip:bob:x@biloxi.com", "sip:bob@biloxi.com"),
            (
                "sip:carol@chicago.com;security=on",
                "sip:carol@chicago.com;security=off",
            ),
            ("sip:a@h;user=phone", "sip:a@h"),
            ("sip:a@h;maddr=1.2.3.4", "sip:a@h"),
            ("sip:a@h;ttl=1", "sip:a@h"),
            ("sip:a@h;method=INVITE", "sip:a@h"),
            ("sip:a@h?a=1&b=2", "sip:a@h?a=1&a=1"),
            ("sip:a%3Bb@h", "sip:a;b@h"),
            ("sip:%00@h", "sip:%00%00@h"),
        ] {
            assert_pair(a, b, false); // S-34
        }
    }

    #[test]
    fn telephone_numbers_match_without_their_separators() {
        assert_pair("tel:+1-201-555-0123", "TEL:+1(201)555.0123", true);
        assert_pair(
            "tel:+12015550123;ext=22;isub=1",
            "tel:+12015550123;isub=1;EXT=2-2",
            true,
        );
        assert_pair("tel:+12015550123", "tel:12015550123;phone-context=x", false);
        assert_pair("tel:+12015550123;ext=22", "tel:+12015550123", false);
        assert_pair("tel:+12015550123", "sip:+12015550123@h;user=phone", false);
    }

    #[test]
    fn urns_match_by_their_namespace() {
        assert_pair("urn:service:sos", "URN:Service:SOS", true);
        assert_pair("urn:service:sos", "urn:service:sos.police", false);
        assert_pair("urn:nena:A", "URN:NENA:A", true);
        assert_pair("urn:nena:A", "urn:nena:a", false);
        assert_pair("isbn:2983792873", "isbn:2983792873", true);
        assert_pair("urn:x", "urn:xy:z", false);
    }
}
