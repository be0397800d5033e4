//! A value with parameters: Event, Subscription-State, Session-Expires, Reason, Replaces and others.
//!
//! Spec: RFC 3261 §20.11, §20.15; RFC 3326 §2; RFC 3891 §6.1; RFC 4028 §4; RFC 6665 §8.2.

use crate::sip::error::{ParseError, What};
use crate::sip::lex::trim;
use crate::sip::params::Params;

/// One value of such a header field.
#[derive(Clone, Copy, Debug)]
pub struct Item<'m> {
    /// What stands before the parameters: an event package, a media type, a Call-ID, a number.
    pub value: &'m [u8],
    /// The parameters.
    pub params: Params<'m>,
}

impl<'m> Item<'m> {
    /// Parses one value, which may not be empty.
    pub fn parse(text: &'m [u8]) -> Result<Self, ParseError> {
        let semicolon = text.iter().position(|byte| *byte == b';');
        let (value, params) = text.split_at(semicolon.unwrap_or(text.len()));
        let trimmed = trim(value);
        if trimmed.is_empty() {
            return Err(ParseError::new(What::Param, 0));
        }
        let params = Params::parse(params).map_err(|error| error.after(value.len()))?;
        Ok(Self {
            value: trimmed,
            params,
        })
    }

    /// Whether the value is this token, in any case.
    pub fn is(&self, token: &str) -> bool {
        self.value.eq_ignore_ascii_case(token.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_and_parameters_are_split() {
        let event = Item::parse(b"Dialog ; id=1;sla").unwrap();
        assert!(event.is("dialog"));
        assert_eq!(event.params.value("id"), Some(&b"1"[..]));
        let replaces = Item::parse(b"12@h;to-tag=7;from-tag=8;early-only").unwrap();
        assert_eq!(replaces.value, b"12@h");
        assert!(replaces.params.has("early-only"));
        let reason = Item::parse(br#"Q.850;cause=17;text="busy; very""#).unwrap();
        assert_eq!(reason.params.value("text"), Some(&br#""busy; very""#[..]));
    }

    #[test]
    fn broken_values_are_refused() {
        for text in ["", " ", ";a=b", "a;", "a;;b"] {
            assert!(Item::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
