//! Feature codes: what a caller dials to ask for completion and to take it back.
//!
//! Spec: TS 22.030 Annex B (service code 37), TS 24.093 §4.4. None is wired in; each is configured.

use std::collections::BTreeSet;

/// What a code asks for.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Code {
    /// Take back all requests.
    CancelAll,
    /// Take back the newest request.
    CancelLast,
    /// Call back when the last call that failed can be completed.
    RequestLast,
}

/// The codes as configured; `None` is a code that is not used.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RawCodes {
    /// [`Code::RequestLast`], for example `*37#`.
    pub request_last: Option<String>,
    /// [`Code::CancelLast`].
    pub cancel_last: Option<String>,
    /// [`Code::CancelAll`], for example `#37#`.
    pub cancel_all: Option<String>,
}

/// The codes in use: each a text that can be dialled, no two the same, none an emergency number.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Codes(Vec<(String, Code)>);

/// Why codes are refused at start.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CodeError {
    /// Two codes are the same.
    #[error("`{0}` is used for two codes")]
    Duplicate(String),
    /// A code would take an emergency number, or what is dialled on the way to one.
    #[error("`{0}` collides with the emergency number `{1}`")]
    Emergency(String, String),
    /// A code has characters that no phone dials.
    #[error("`{0}` cannot be dialled")]
    NotDialable(String),
}

impl Codes {
    /// Checks codes against each other and against the emergency numbers.
    pub fn new(raw: &RawCodes, emergency: &[String]) -> Result<Self, CodeError> {
        let all = [
            (&raw.request_last, Code::RequestLast),
            (&raw.cancel_last, Code::CancelLast),
            (&raw.cancel_all, Code::CancelAll),
        ];
        let mut seen = BTreeSet::new();
        let mut codes = Vec::new();
        for (text, code) in all {
            let Some(text) = text else { continue };
            let dialable = |b: u8| b.is_ascii_digit() || matches!(b, b'*' | b'#');
            if text.is_empty() || !text.bytes().all(dialable) {
                return Err(CodeError::NotDialable(text.clone()));
            }
            let collides = |number: &&String| {
                number.starts_with(text.as_str()) || text.starts_with(number.as_str())
            };
            if let Some(number) = emergency.iter().find(collides) {
                return Err(CodeError::Emergency(text.clone(), number.clone()));
            }
            if !seen.insert(text.clone()) {
                return Err(CodeError::Duplicate(text.clone()));
            }
            codes.push((text.clone(), code));
        }
        Ok(Self(codes))
    }

    /// The texts and what they ask for.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Code)> {
        self.0.iter().map(|(text, code)| (&**text, *code))
    }

    /// What the user part of a Request-URI asks for, if it is a code; escapes (`%23`) are read.
    pub fn parse(&self, user: &[u8]) -> Option<Code> {
        let user = unescape(user)?;
        let found = self.0.iter().find(|(text, _)| text.as_bytes() == user);
        found.map(|(_, code)| *code)
    }
}

/// `%HH` as the byte that it stands for; `None` if one is malformed.
fn unescape(user: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = user.iter();
    let mut text = Vec::with_capacity(user.len());
    while let Some(byte) = bytes.next() {
        if *byte != b'%' {
            text.push(*byte);
            continue;
        }
        let digit = |byte: &u8| char::from(*byte).to_digit(16);
        let value = digit(bytes.next()?)? * 16 + digit(bytes.next()?)?;
        text.push(u8::try_from(value).ok()?);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(request: &str, cancel: &str) -> RawCodes {
        RawCodes {
            request_last: Some(request.to_owned()),
            cancel_last: None,
            cancel_all: Some(cancel.to_owned()),
        }
    }

    #[test]
    fn only_configured_codes_are_codes() {
        let codes = Codes::new(&raw("*37#", "#37#"), &[]).expect("codes");
        assert_eq!(codes.parse(b"*37#"), Some(Code::RequestLast));
        assert_eq!(codes.parse(b"*37%23"), Some(Code::RequestLast));
        assert_eq!(codes.parse(b"%2337%23"), Some(Code::CancelAll));
        for user in ["*37", "*37#1", "%", "%2", "%zz", ""] {
            assert_eq!(codes.parse(user.as_bytes()), None, "{user}");
        }
        assert_eq!(Codes::default().parse(b"*37#"), None);
    }

    #[test]
    fn a_code_in_the_way_of_an_emergency_number_is_refused() {
        let emergency = ["112".to_owned(), "911".to_owned()];
        for code in ["112", "11", "1123"] {
            let error = Codes::new(&raw(code, "#37#"), &emergency);
            let expected = CodeError::Emergency(code.to_owned(), "112".to_owned());
            assert_eq!(error, Err(expected));
        }
    }

    #[test]
    fn codes_that_are_the_same_or_cannot_be_dialled_are_refused() {
        assert_eq!(
            Codes::new(&raw("*37#", "*37#"), &[]),
            Err(CodeError::Duplicate("*37#".to_owned()))
        );
        for code in ["", "camp on", "*3a"] {
            let error = Codes::new(&raw(code, "#37#"), &[]);
            assert_eq!(error, Err(CodeError::NotDialable(code.to_owned())));
        }
    }
}
