//! A name and an address: From, To, Contact, Route, Refer-To and their kin.
//!
//! Spec: RFC 3261 §20.10, §25.1 (name-addr, addr-spec).

use memchr::{memchr, memchr3};

use crate::sip::error::{ParseError, What};
use crate::sip::lex::{Cursor, quoted_len, trim};
use crate::sip::params::Params;
use crate::sip::uri::Uri;

/// One value of such a header field.
#[derive(Clone, Copy, Debug)]
pub struct NameAddr<'m> {
    /// The display name: without its quotes, but with its escapes; may hold folds; empty if absent.
    pub display: &'m [u8],
    /// The address.
    pub uri: Uri<'m>,
    /// The parameters of the header field, which are not the URI's.
    pub params: Params<'m>,
    /// Display name and address as written, up to the header's parameters; may hold folds.
    pub text: &'m [u8],
    /// Asked for by each layer, so found once.
    tag: Option<&'m [u8]>,
}

impl<'m> NameAddr<'m> {
    /// Parses one value.
    ///
    /// Without angle brackets the parameters are the header's, and a question mark is refused.
    pub fn parse(value: &'m [u8]) -> Result<Self, ParseError> {
        let value = trim(value);
        let mut cursor = Cursor::new(value);
        if cursor.peek() == Some(b'<') {
            return Self::bracketed(&[], cursor);
        }
        if cursor.peek() == Some(b'"') {
            let len = quoted_len(value).ok_or_else(|| ParseError::new(What::Quote, 0))?;
            let quoted = cursor.take(len);
            cursor.skip_lws();
            let display = quoted.get(1..len - 1).unwrap_or_default();
            return Self::bracketed(display, cursor);
        }
        match memchr3(b'<', b';', b'"', value).map(|at| (at, value.get(at))) {
            Some((at, Some(b'<'))) => {
                let display = trim(cursor.take(at));
                check_plain(display)?;
                Self::bracketed(display, cursor)
            }
            Some((at, _)) => Self::bare(value.split_at(at)),
            None => Self::bare((value, &[])),
        }
    }

    /// The `tag` parameter of From and To.
    pub fn tag(&self) -> Option<&'m [u8]> {
        self.tag
    }

    fn bracketed(display: &'m [u8], mut cursor: Cursor<'m>) -> Result<Self, ParseError> {
        if !cursor.eat(b'<') {
            return Err(cursor.error(What::Address));
        }
        let before = cursor.at();
        let end = memchr(b'>', cursor.rest()).ok_or_else(|| cursor.error(What::Address))?;
        let uri = Uri::parse(cursor.take(end)).map_err(|error| error.after(before))?;
        cursor.take(1);
        let before = cursor.at();
        let text = cursor.taken();
        let (params, tag) = parse_params(cursor.rest()).map_err(|error| error.after(before))?;
        Ok(Self {
            display,
            uri,
            params,
            text,
            tag,
        })
    }

    fn bare((address, params): (&'m [u8], &'m [u8])) -> Result<Self, ParseError> {
        let text = trim(address);
        // A question mark or a comma would be taken for the URI's by some and the header's by others.
        if let Some(at) = text.iter().position(|byte| matches!(byte, b'?' | b',')) {
            return Err(ParseError::new(What::Address, at));
        }
        let uri = Uri::parse(text)?;
        let (params, tag) = parse_params(params).map_err(|error| error.after(address.len()))?;
        Ok(Self {
            display: &[],
            uri,
            params,
            text,
            tag,
        })
    }
}

/// The parameters, and the first `tag` of them unless it is empty.
fn parse_params(text: &[u8]) -> Result<(Params<'_>, Option<&[u8]>), ParseError> {
    let mut tag = None;
    let params = Params::parse_noting(text, |name, value| {
        if name.eq_ignore_ascii_case(b"tag") {
            tag.get_or_insert(value);
        }
    })?;
    Ok((params, tag.flatten().filter(|tag| !tag.is_empty())))
}

/// Refuses what would split the value when it is written again; else wider than tokens.
fn check_plain(display: &[u8]) -> Result<(), ParseError> {
    let bad = |byte: &u8| matches!(byte, b',' | b'>' | b'\\' | 0x7f) || is_control(*byte);
    match display.iter().position(bad) {
        None => Ok(()),
        Some(at) => Err(ParseError::new(What::Address, at)),
    }
}

fn is_control(byte: u8) -> bool {
    byte < b' ' && !matches!(byte, b'\t' | b'\r' | b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(value: &str) -> NameAddr<'_> {
        NameAddr::parse(value.as_bytes()).unwrap()
    }

    #[test]
    fn a_quoted_name_keeps_its_escapes() {
        let from = parse(r#""J Rosenberg \\\""       <sip:jdrosen@example.com> ; tag = 98asjd8"#);
        assert_eq!(from.display, br#"J Rosenberg \\\""#);
        assert_eq!(from.uri.text(), b"sip:jdrosen@example.com");
        assert_eq!(from.tag(), Some(&b"98asjd8"[..])); // S-33
        assert_eq!(
            from.text,
            br#""J Rosenberg \\\""       <sip:jdrosen@example.com>"#
        );
    }

    #[test]
    fn a_plain_name_needs_no_blank_after_it() {
        let from = parse("caller<sip:caller@example.com>;tag=323");
        assert_eq!(from.display, b"caller");
        assert_eq!(parse("T. Watson <sip:t@h>").display, b"T. Watson");
        assert_eq!(parse("<sip:t@h>").display, b"");
    }

    #[test]
    fn without_brackets_parameters_belong_to_the_header() {
        let bare = parse("sip:+19725552222@gw1.example.net;unknownparam");
        assert!(bare.params.has("unknownparam"));
        assert_eq!(bare.text, b"sip:+19725552222@gw1.example.net");
        assert!(bare.uri.as_sip().unwrap().params.is_empty());
    }

    #[test]
    fn within_brackets_parameters_belong_to_the_uri() {
        let contact = parse("<sip:+19725552222@gw1.example.net;unknownparam>;q=1");
        assert!(contact.uri.as_sip().unwrap().params.has("unknownparam"));
        assert!(!contact.params.has("unknownparam"));
    }

    #[test]
    fn an_empty_tag_is_none() {
        assert_eq!(parse("<sip:t@h>;tag=").tag(), None);
    }

    #[test]
    fn broken_values_are_refused() {
        for value in [
            "",
            r#""Mr. J. User <sip:j.user@example.com>"#,
            "Bell, Alexander <sip:a.g.bell@example.com>",
            r#""W" < sip:t.watson@example.org >"#,
            "sip:user@example.com?Route=%3Csip:sip.example.com%3E",
            "<sip:user@example.com",
            "<sip:user@example.com>tag=1",
            r#"a "b" <sip:user@example.com>"#,
            "alan@jasomi.com",
            "<>",
        ] {
            assert!(NameAddr::parse(value.as_bytes()).is_err(), "{value}");
        }
    }
}
