//! RAck: which reliable response a PRACK acknowledges.
//!
//! Spec: RFC 3262 §7.2.

use crate::sip::error::{ParseError, What};
use crate::sip::header::cseq::CSeq;
use crate::sip::lex::{Cursor, parse_u32};

/// The value of RAck.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RAck<'m> {
    /// The RSeq of the response.
    pub rseq: u32,
    /// The CSeq of the response.
    pub cseq: CSeq<'m>,
}

impl<'m> RAck<'m> {
    /// Parses two numbers and a method.
    pub fn parse(value: &'m [u8]) -> Result<Self, ParseError> {
        let mut cursor = Cursor::new(value);
        cursor.skip_lws();
        let error = cursor.error(What::Number);
        let digits = cursor.take_while(|byte| byte.is_ascii_digit());
        let rseq = parse_u32(digits).ok_or(error)?;
        let before = cursor.at();
        cursor.skip_lws();
        if cursor.at() == before {
            return Err(cursor.error(What::Number));
        }
        let before = cursor.at();
        let cseq = CSeq::parse(cursor.rest()).map_err(|error| error.after(before))?;
        Ok(Self { rseq, cseq })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::method::Method;

    #[test]
    fn two_numbers_and_a_method_are_read() {
        let rack = RAck::parse(b"776656 1 INVITE").unwrap();
        let cseq = CSeq {
            number: 1,
            method: Method::Invite,
        };
        assert_eq!(
            rack,
            RAck {
                rseq: 776_656,
                cseq
            }
        );
    }

    #[test]
    fn broken_values_are_refused() {
        for value in [
            "",
            "1",
            "1 INVITE",
            "1 2",
            "1,2 INVITE",
            "x 1 INVITE",
            "4294967296 1 INVITE",
        ] {
            assert!(RAck::parse(value.as_bytes()).is_err(), "{value}");
        }
    }
}
