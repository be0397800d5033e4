//! CSeq: the number and method of a request in its dialog.
//!
//! Spec: RFC 3261 §8.1.1.5, §20.16.

use crate::sip::error::{ParseError, What};
use crate::sip::lex::{Cursor, parse_u32};
use crate::sip::method::Method;
use crate::sip::name::Name;

/// The value of CSeq.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CSeq<'m> {
    /// The sequence number.
    pub number: u32,
    /// The method; of a CANCEL or ACK its own, not the INVITE's.
    pub method: Method<'m>,
}

impl<'m> CSeq<'m> {
    /// Parses a number, blanks and a method.
    pub fn parse(value: &'m [u8]) -> Result<Self, ParseError> {
        let mut cursor = Cursor::new(value);
        cursor.skip_lws();
        let error = cursor.error(What::Number);
        let digits = cursor.take_while(|byte| byte.is_ascii_digit());
        let number = parse_u32(digits).ok_or(error)?;
        let error = cursor.error(What::Malformed(Name::CSeq));
        let before = cursor.at();
        cursor.skip_lws();
        if cursor.at() == before {
            return Err(error);
        }
        let method = Method::parse(cursor.take_token()).ok_or(error)?;
        cursor.skip_lws();
        match cursor.peek() {
            None => Ok(Self { number, method }),
            Some(_) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folds_and_leading_zeros_are_read() {
        let cseq = CSeq::parse(b"0009\r\n  INVITE").unwrap();
        assert_eq!(
            cseq,
            CSeq {
                number: 9,
                method: Method::Invite
            }
        );
    }

    #[test]
    fn a_number_beyond_32_bits_does_not_wrap() {
        let error = CSeq::parse(b"36893488147419103232 REGISTER").unwrap_err();
        assert_eq!(error.what, What::Number);
    }

    #[test]
    fn broken_values_are_refused() {
        for value in [
            "",
            "1",
            "1 ",
            "INVITE",
            "1INVITE",
            "1 INVITE x",
            "-1 INVITE",
            "1 IN/VITE",
        ] {
            assert!(CSeq::parse(value.as_bytes()).is_err(), "{value}");
        }
    }
}
