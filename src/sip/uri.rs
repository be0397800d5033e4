//! A URI as it stands in a message, split but not unescaped.
//!
//! Spec: RFC 3261 §19.1, §25.1; RFC 3966 §3 (tel); RFC 8141 §2 (urn).

use std::borrow::Cow;

use memchr::memchr;

use crate::sip::class::Class;
use crate::sip::error::{ParseError, What};
use crate::sip::lex::{Cursor, parse_port};

pub use crate::sip::host::Host;
pub use crate::sip::params::Params;

/// A URI; a scheme that we do not know is kept as it is.
#[derive(Clone, Copy, Debug)]
pub enum Uri<'m> {
    /// `sip:` or `sips:`.
    Sip(SipUri<'m>),
    /// `tel:`.
    Tel(TelUri<'m>),
    /// `urn:`, all of it.
    Urn(&'m [u8]),
    /// Any other scheme, all of it.
    Other(&'m [u8]),
}

/// A SIP or SIPS URI.
#[derive(Clone, Copy, Debug)]
pub struct SipUri<'m> {
    /// Whether the scheme is `sips`.
    pub secure: bool,
    /// The user, with its escapes and without the password.
    pub user: Option<&'m [u8]>,
    /// What stands between the first colon of the user part and the `@`.
    pub password: Option<&'m [u8]>,
    /// The host.
    pub host: Host<'m>,
    /// The port, if one is written.
    pub port: Option<u16>,
    /// The URI's own parameters.
    pub params: Params<'m>,
    /// What follows the question mark.
    pub headers: Option<&'m [u8]>,
    text: &'m [u8],
}

/// A telephone number.
#[derive(Clone, Copy, Debug)]
pub struct TelUri<'m> {
    /// The number as written: visual separators and the `+` of a global number included.
    pub number: &'m [u8],
    /// The parameters: `phone-context`, `ext`, `isub` and others.
    pub params: Params<'m>,
    text: &'m [u8],
}

impl<'m> Uri<'m> {
    /// Parses a URI that is the whole text, without angle brackets.
    pub fn parse(text: &'m [u8]) -> Result<Self, ParseError> {
        if !text
            .iter()
            .fold(true, |fits, byte| fits & Class::URI.has(*byte))
        {
            return Err(ParseError::new(What::Uri, 0));
        }
        let mut cursor = Cursor::new(text);
        let scheme = cursor.take_all(Class::SCHEME);
        if !scheme.first().is_some_and(u8::is_ascii_alphabetic) || !cursor.eat(b':') {
            return Err(cursor.error(What::Scheme));
        }
        Ok(match Scheme::of(scheme) {
            Scheme::Sip => Self::Sip(SipUri::take(cursor, false)?),
            Scheme::Sips => Self::Sip(SipUri::take(cursor, true)?),
            Scheme::Tel => Self::Tel(TelUri::take(cursor)?),
            Scheme::Urn => Self::Urn(text),
            Scheme::Other => Self::Other(text),
        })
    }

    /// The whole URI, as written.
    pub fn text(&self) -> &'m [u8] {
        match self {
            Self::Sip(uri) => uri.text,
            Self::Tel(uri) => uri.text,
            Self::Urn(text) | Self::Other(text) => text,
        }
    }

    /// The scheme, as written.
    pub fn scheme(&self) -> &'m [u8] {
        let text = self.text();
        let end = memchr(b':', text).unwrap_or(text.len());
        text.get(..end).unwrap_or_default()
    }

    /// The SIP or SIPS URI, if it is one.
    pub fn as_sip(&self) -> Option<SipUri<'m>> {
        match self {
            Self::Sip(uri) => Some(*uri),
            Self::Tel(_) | Self::Urn(_) | Self::Other(_) => None,
        }
    }
}

impl<'m> SipUri<'m> {
    /// The whole URI, as written.
    pub fn text(&self) -> &'m [u8] {
        self.text
    }

    /// Whether it asks for TLS (S-100): by its scheme, or by its `transport`, which RFC 5630 §3.1.4
    /// has kept although RFC 3261 had given it up.
    pub fn is_by_tls(&self) -> bool {
        let named = self.params.value("transport");
        self.secure || named.is_some_and(|named| named.eq_ignore_ascii_case(b"tls"))
    }

    /// The value of this header field after the question mark, its escapes resolved.
    ///
    /// It may hold any byte: only the writer may put it into a message.
    pub fn header(&self, name: &str) -> Option<Cow<'m, [u8]>> {
        let mut headers = self.headers?.split(|byte| *byte == b'&');
        headers.find_map(|header| {
            let equals = memchr(b'=', header).unwrap_or(header.len());
            let (found, value) = header.split_at(equals);
            let is_it = unescape(found).eq_ignore_ascii_case(name.as_bytes());
            is_it.then(|| unescape(value.get(1..).unwrap_or_default()))
        })
    }

    fn take(mut cursor: Cursor<'m>, secure: bool) -> Result<Self, ParseError> {
        let text = cursor.whole();
        // A user may hold semicolons, question marks and slashes: the first @ ends it.
        let (user, password) = match memchr(b'@', cursor.rest()) {
            Some(len) => {
                let (user, password) = split_user(cursor.take(len));
                cursor.take(1);
                (user, password)
            }
            None => (None, None),
        };
        let host = Host::take(&mut cursor)?;
        let port = take_port(&mut cursor)?;
        let before = cursor.at();
        let params = cursor.take_while(|byte| byte != b'?');
        let params = Params::parse(params).map_err(|error| error.after(before))?;
        let headers = cursor.eat(b'?').then(|| cursor.rest());
        Ok(Self {
            secure,
            user,
            password,
            host,
            port,
            params,
            headers,
            text,
        })
    }
}

impl<'m> TelUri<'m> {
    /// The whole URI, as written.
    pub fn text(&self) -> &'m [u8] {
        self.text
    }

    fn take(mut cursor: Cursor<'m>) -> Result<Self, ParseError> {
        let text = cursor.whole();
        let number = cursor.take_while(is_in_number);
        if !number.iter().any(|byte| is_digit(*byte)) {
            return Err(cursor.error(What::Number));
        }
        let before = cursor.at();
        let params = Params::parse(cursor.rest()).map_err(|error| error.after(before))?;
        Ok(Self {
            number,
            params,
            text,
        })
    }
}

/// The text with each `%HH` as its byte; for comparing and looking up, never for finding the parts.
///
/// A `%` without two hexadecimal digits stays. What comes out is not unescaped again.
pub fn unescape(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr(b'%', text).is_none() {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((letter, after)) = take_letter(rest) {
        out.push(letter);
        rest = after;
    }
    Cow::Owned(out)
}

/// The first letter, its escape resolved, and what follows.
pub(crate) fn take_letter(text: &[u8]) -> Option<(u8, &[u8])> {
    match text {
        [b'%', high, low, after @ ..] if let Some(letter) = hex(*high, *low) => {
            Some((letter, after))
        }
        [letter, after @ ..] => Some((*letter, after)),
        [] => None,
    }
}

enum Scheme {
    Sip,
    Sips,
    Tel,
    Urn,
    Other,
}

impl Scheme {
    fn of(text: &[u8]) -> Self {
        match text {
            [b'S' | b's', b'I' | b'i', b'P' | b'p'] => Self::Sip,
            [b'S' | b's', b'I' | b'i', b'P' | b'p', b'S' | b's'] => Self::Sips,
            [b'T' | b't', b'E' | b'e', b'L' | b'l'] => Self::Tel,
            [b'U' | b'u', b'R' | b'r', b'N' | b'n'] => Self::Urn,
            _ => Self::Other,
        }
    }
}

fn hex(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

/// Some gateways write `sip:@host` for a caller without a number: that is no user.
fn split_user(info: &[u8]) -> (Option<&[u8]>, Option<&[u8]>) {
    let (user, password) = match memchr(b':', info) {
        Some(colon) => (info.get(..colon), info.get(colon + 1..)),
        None => (Some(info), None),
    };
    (user.filter(|user| !user.is_empty()), password)
}

fn take_port(cursor: &mut Cursor<'_>) -> Result<Option<u16>, ParseError> {
    if !cursor.eat(b':') {
        return Ok(None);
    }
    let error = cursor.error(What::Port);
    let digits = cursor.take_while(|byte| byte.is_ascii_digit());
    parse_port(digits).map(Some).ok_or(error)
}

fn is_in_number(byte: u8) -> bool {
    is_digit(byte) || matches!(byte, b'+' | b'-' | b'.' | b'(' | b')')
}

fn is_digit(byte: u8) -> bool {
    byte.is_ascii_hexdigit() || matches!(byte, b'*' | b'#')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sip(text: &str) -> SipUri<'_> {
        Uri::parse(text.as_bytes()).unwrap().as_sip().unwrap()
    }

    #[test]
    fn a_full_uri_is_split() {
        let uri = sip("sips:alice:secret@atlanta.com:5061;transport=tcp;lr?subject=x&to=y");
        assert!(uri.secure);
        assert_eq!(uri.user, Some(&b"alice"[..]));
        assert_eq!(uri.password, Some(&b"secret"[..]));
        assert_eq!(
            (uri.host, uri.port),
            (Host::Name("atlanta.com"), Some(5061))
        );
        assert_eq!(uri.params.value("transport"), Some(&b"tcp"[..]));
        assert!(uri.params.has("lr"));
        assert_eq!(uri.headers, Some(&b"subject=x&to=y"[..]));
    }

    #[test]
    fn the_first_at_sign_ends_the_user() {
        let uri = sip("sip:user;par=u%40example.net@example.com");
        assert_eq!(uri.user, Some(&b"user;par=u%40example.net"[..]));
        assert!(uri.params.is_empty());
        let uri = sip("sip:+1(555)a/crazy?,/;;*:&weird!*pas$wo~d@example.com");
        assert_eq!(uri.user, Some(&b"+1(555)a/crazy?,/;;*"[..]));
        assert_eq!(uri.password, Some(&b"&weird!*pas$wo~d"[..]));
        let uri = sip("sip:john.doe#1@h?Replaces=a@b");
        assert_eq!(uri.user, Some(&b"john.doe#1"[..]));
        assert_eq!(uri.headers, Some(&b"Replaces=a@b"[..]));
    }

    #[test]
    fn an_address_in_brackets_may_have_a_port() {
        let uri = sip("sip:[2001:db8::10]:5070;lr");
        assert_eq!(uri.host, Host::V6("2001:db8::10".parse().unwrap()));
        assert_eq!(uri.port, Some(5070));
        let uri = sip("sip:[2001:db8::10:5070]");
        assert_eq!(uri.host, Host::V6("2001:db8::10:5070".parse().unwrap()));
        assert_eq!(uri.port, None);
    }

    #[test]
    fn a_user_of_no_letters_is_none() {
        assert_eq!(sip("sip:@10.0.0.1").user, None);
        assert_eq!(sip("sip:10.0.0.1").user, None);
    }

    #[test]
    fn header_fields_of_a_uri_are_found_without_their_escapes() {
        let uri = sip("sip:b@h?a=1&Replaces=12%40h%3Bto-tag%3D7&c");
        assert_eq!(
            uri.header("replaces").as_deref(),
            Some(&b"12@h;to-tag=7"[..])
        );
        assert_eq!(uri.header("c").as_deref(), Some(&b""[..]));
        assert_eq!(uri.header("d"), None);
    }

    #[test]
    fn other_schemes_are_kept() {
        let parse = |text: &'static str| Uri::parse(text.as_bytes()).unwrap();
        let Uri::Tel(tel) = parse("tel:+1-201-555-0123;ext=22") else {
            panic!("a number");
        };
        assert_eq!(tel.number, b"+1-201-555-0123");
        assert_eq!(tel.params.value("EXT"), Some(&b"22"[..]));
        assert!(matches!(
            parse("urn:service:sos"),
            Uri::Urn(b"urn:service:sos")
        ));
        assert!(matches!(parse("http://www.example.com"), Uri::Other(_)));
        assert_eq!(parse("soap.beep://192.0.2.103:3002").scheme(), b"soap.beep");
    }

    #[test]
    fn broken_uris_are_refused() {
        for text in [
            "",
            "sip",
            "sip:",
            "sip:@",
            ":a",
            "1:a",
            "sip:a b",
            "sip:a@b c",
            "<sip:a@b>",
            "sip:a@b;",
            "sip:a@b;;lr",
            "sip:a@b:x",
            "sip:a@b:",
            "sip:a@b:99999",
            "sip:a@b;\"",
            "tel:",
            "tel:;a=b",
            "sip:a@b@c",
            "alan@jasomi.com",
            "sip:a@b\0",
            "sip:a@[::1",
        ] {
            assert!(Uri::parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn escapes_are_resolved_once() {
        assert_eq!(&*unescape(b"%75se%72"), b"user");
        assert_eq!(&*unescape(b"v%61lue%25%34%31"), b"value%41");
        assert_eq!(&*unescape(b"null-%00-null"), b"null-\0-null");
        assert_eq!(&*unescape(b"50%"), b"50%");
        assert_eq!(&*unescape(b"%Z%45"), b"%ZE");
    }
}
