//! A host: a name or an IP address.
//!
//! Spec: RFC 3261 §25.1 (host), as corrected by RFC 5118 §4.10.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::sip::class::Class;
use crate::sip::error::{ParseError, What};
use crate::sip::lex::Cursor;

/// A host; names are equal without regard to case.
#[derive(Clone, Copy, Debug, Eq)]
pub enum Host<'m> {
    /// A domain name, as written.
    Name(&'m str),
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// An IPv6 address, without its brackets.
    V6(Ipv6Addr),
}

impl<'m> Host<'m> {
    /// Parses a host that is the whole text; an IPv6 address stands in brackets.
    pub fn parse(text: &'m [u8]) -> Result<Self, ParseError> {
        let mut cursor = Cursor::new(text);
        let host = Self::take(&mut cursor)?;
        match cursor.peek() {
            None => Ok(host),
            Some(_) => Err(cursor.error(What::Host)),
        }
    }

    /// The address, if it is one.
    pub fn address(self) -> Option<IpAddr> {
        match self {
            Self::Name(_) => None,
            Self::V4(address) => Some(IpAddr::V4(address)),
            Self::V6(address) => Some(IpAddr::V6(address)),
        }
    }

    pub(crate) fn take(cursor: &mut Cursor<'m>) -> Result<Self, ParseError> {
        let error = cursor.error(What::Host);
        if cursor.eat(b'[') {
            let inside = cursor.take_while(|byte| byte != b']');
            let address = parse_v6(inside).filter(|_| cursor.eat(b']'));
            return address.map(Self::V6).ok_or(error);
        }
        let name = cursor.take_all(Class::HOST);
        let begins_well = name
            .first()
            .is_some_and(|byte| !matches!(byte, b'.' | b'-'));
        if let Some(address) = parse_v4(name) {
            return Ok(Self::V4(address));
        }
        let name = str::from_utf8(name).ok().filter(|_| begins_well);
        name.map(Self::Name).ok_or(error)
    }
}

/// Four decimal numbers without leading zeros, as [`Ipv4Addr`] reads them; most hosts are of this
/// kind, and each message has several.
fn parse_v4(text: &[u8]) -> Option<Ipv4Addr> {
    let (a, rest) = take_octet(text)?;
    let (b, rest) = take_octet(rest.strip_prefix(b".")?)?;
    let (c, rest) = take_octet(rest.strip_prefix(b".")?)?;
    let (d, rest) = take_octet(rest.strip_prefix(b".")?)?;
    rest.is_empty().then(|| Ipv4Addr::new(a, b, c, d))
}

fn take_octet(text: &[u8]) -> Option<(u8, &[u8])> {
    let (first, mut rest) = text.split_first()?;
    let mut number = digit(*first)?;
    while let [next, after @ ..] = rest
        && number != 0
        && let Some(digit) = digit(*next)
    {
        number = number.checked_mul(10)?.checked_add(digit)?;
        rest = after;
    }
    Some((number, rest))
}

fn digit(byte: u8) -> Option<u8> {
    let digit = byte.wrapping_sub(b'0');
    (digit < 10).then_some(digit)
}

/// The address in the text, with or without brackets (RFC 5118 §4.5).
pub(crate) fn parse_address(text: &[u8]) -> Option<IpAddr> {
    let bare = text
        .strip_prefix(b"[")
        .and_then(|rest| rest.strip_suffix(b"]"));
    match bare {
        Some(inside) => parse_v6(inside).map(IpAddr::V6),
        None => str::from_utf8(text).ok()?.parse().ok(),
    }
}

/// RFC 5118 §4.10: the grammar of RFC 3261 lets three colons stand for two.
fn parse_v6(text: &[u8]) -> Option<Ipv6Addr> {
    let text = str::from_utf8(text).ok()?;
    let address = text.parse().ok();
    address.or_else(|| text.replacen(":::", "::", 1).parse().ok())
}

impl PartialEq for Host<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Name(a), Self::Name(b)) => a.eq_ignore_ascii_case(b),
            (Self::V4(a), Self::V4(b)) => a == b,
            (Self::V6(a), Self::V6(b)) => a == b,
            (Self::Name(_) | Self::V4(_) | Self::V6(_), _) => false,
        }
    }
}

impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::V4(address) => address.fmt(f),
            Self::V6(address) => write!(f, "[{address}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_address_is_one_to_the_standard_library_too(text in "[0-9.a]{0,17}") {
            prop_assert_eq!(parse_v4(text.as_bytes()), text.parse().ok());
        }

        #[test]
        fn every_address_is_read(bits: u32) {
            let address = Ipv4Addr::from_bits(bits);
            prop_assert_eq!(parse_v4(address.to_string().as_bytes()), Some(address));
        }
    }

    #[test]
    fn what_only_looks_like_an_address_is_none() {
        for text in [
            "",
            ".",
            "1.2.3",
            "1.2.3.",
            ".1.2.3",
            "1..2.3",
            "1.2.3.4.",
            "1.2.3.4.5",
        ] {
            assert_eq!(parse_v4(text.as_bytes()), None, "{text}");
        }
        for text in [
            "01.2.3.4",
            "1.2.3.00",
            "1.2.3.256",
            "1.2.3.260",
            "1.2.3.1000",
            "1.2.3.4a",
        ] {
            assert_eq!(parse_v4(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn names_are_equal_in_any_case() {
        let host = |text: &'static str| Host::parse(text.as_bytes()).unwrap();
        assert_eq!(host("Biloxi.COM"), host("biloxi.com")); // S-34
        assert_ne!(host("biloxi.com"), host("biloxi.org"));
        assert_ne!(host("127.0.0.1"), host("127.0.0.2"));
    }

    #[test]
    fn addresses_are_told_from_names() {
        for (text, written) in [
            ("192.0.2.1", "192.0.2.1"),
            ("[2001:DB8:0::10]", "[2001:db8::10]"),
            ("[2001:db8:::192.0.2.1]", "[2001:db8::c000:201]"),
            ("[::ffff:192.0.2.2]", "[::ffff:192.0.2.2]"),
        ] {
            let host = Host::parse(text.as_bytes()).unwrap();
            assert!(host.address().is_some(), "{text}");
            assert_eq!(host.to_string(), written);
        }
        assert_eq!(Host::parse(b"pbx_1.example.com").unwrap().address(), None);
        assert_eq!(Host::parse(b"1.2.3.4.example").unwrap().address(), None);
    }

    #[test]
    fn broken_hosts_are_refused() {
        for text in [
            "",
            ".",
            "-a",
            "2001:db8::10",
            "[2001:db8::10",
            "[::1]x",
            "[a]",
            "a b",
            "a\0",
        ] {
            assert!(Host::parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn an_address_may_stand_without_brackets_in_received() {
        let expected = Some("2001:db8::9:255".parse().unwrap());
        assert_eq!(parse_address(b"2001:db8::9:255"), expected);
        assert_eq!(parse_address(b"[2001:db8::9:255]"), expected);
        assert_eq!(parse_address(b"example.com"), None);
    }
}
