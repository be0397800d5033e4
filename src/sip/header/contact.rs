//! Contact: where a user agent can be reached, or all places at once.
//!
//! Spec: RFC 3261 §10.2.2, §20.10, §25.1 (qvalue).

use crate::sip::error::ParseError;
use crate::sip::header::name_addr::NameAddr;
use crate::sip::lex::parse_u32;

/// One value of Contact.
#[derive(Clone, Copy, Debug)]
pub enum Contact<'m> {
    /// `*`: every binding of a registration.
    Star,
    /// An address.
    Address(NameAddr<'m>),
}

impl<'m> Contact<'m> {
    /// Parses one value.
    pub fn parse(value: &'m [u8]) -> Result<Self, ParseError> {
        match value.trim_ascii() {
            b"*" => Ok(Self::Star),
            address => NameAddr::parse(address).map(Self::Address),
        }
    }

    /// The address, if it is one.
    pub fn address(&self) -> Option<NameAddr<'m>> {
        match self {
            Self::Star => None,
            Self::Address(address) => Some(*address),
        }
    }
}

impl NameAddr<'_> {
    /// The `expires` parameter in seconds; `None` if absent or no number of 32 bits.
    pub fn expires_s(&self) -> Option<u32> {
        self.params.value("expires").and_then(parse_u32)
    }

    /// The `q` parameter in thousandths, 0 to 1000; `None` if absent or malformed.
    pub fn q_thousandths(&self) -> Option<u16> {
        let (whole, decimals) = match self.params.value("q")? {
            [whole] => (whole, &[][..]),
            [whole, b'.', decimals @ ..] if decimals.len() <= 3 => (whole, decimals),
            _ => return None,
        };
        let digit = |text: &[u8], worth: u32| match text {
            [] => Some(0),
            digits => parse_u32(digits).map(|number| number * worth),
        };
        let worth = [1000, 100, 10, 1].get(decimals.len())?;
        let thousandths = digit(&[*whole], 1000)? + digit(decimals, *worth)?;
        let thousandths = Some(thousandths).filter(|number| *number <= 1000)?;
        u16::try_from(thousandths).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_all() {
        assert!(matches!(Contact::parse(b" * "), Ok(Contact::Star)));
        let address = Contact::parse(b"<sip:a@h>").unwrap().address().unwrap();
        assert_eq!(address.uri.text(), b"sip:a@h");
        assert!(Contact::parse(b"**").is_err());
    }

    #[test]
    fn q_is_read_in_thousandths() {
        for (q, expected) in [
            ("1", Some(1000)),
            ("0", Some(0)),
            ("0.33", Some(330)),
            ("0.5", Some(500)),
            ("1.000", Some(1000)),
            ("0.", Some(0)),
            ("1.001", None),
            ("0.1234", None),
            ("2", None),
            (".5", None),
            ("-1", None),
            ("", None),
        ] {
            let value = format!("<sip:a@h>;q={q}");
            let address = NameAddr::parse(value.as_bytes()).unwrap();
            assert_eq!(address.q_thousandths(), expected, "{q}");
        }
    }

    #[test]
    fn expires_beyond_32_bits_is_none() {
        let expires = |value: &str| NameAddr::parse(value.as_bytes()).unwrap().expires_s();
        assert_eq!(expires("<sip:a@h>;expires=60"), Some(60));
        assert_eq!(expires("<sip:a@h>;expires=280297596632815"), None);
        assert_eq!(expires("<sip:a@h>"), None);
    }
}
