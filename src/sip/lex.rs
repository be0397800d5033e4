//! The byte cursor and the splitters under every value.
//!
//! Spec: RFC 3261 §7.3.1, §25.1 (LWS, token, quoted-string).

use std::borrow::Cow;

use memchr::{memchr2, memchr3};

use crate::sip::error::{ParseError, What};
use crate::sip::method::is_token;

/// Whether a byte is part of linear white space, folds included.
pub(crate) fn is_lws(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// The text without white space at its ends.
pub(crate) fn trim(mut text: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = text
        && is_lws(*first)
    {
        text = rest;
    }
    while let [rest @ .., last] = text
        && is_lws(*last)
    {
        text = rest;
    }
    text
}

/// The text with each fold (a line end and the blanks after it) as one space.
pub fn unfold(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr2(b'\r', b'\n', text).is_none() {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr2(b'\r', b'\n', rest) {
        let (line, fold) = rest.split_at(at);
        out.extend_from_slice(trim_end(line));
        out.push(b' ');
        rest = trim_start(fold);
    }
    out.extend_from_slice(rest);
    Cow::Owned(out)
}

/// The content of a quoted string, its escapes resolved; other text as it is.
pub fn unquote(text: &[u8]) -> Cow<'_, [u8]> {
    let [b'"', inner @ .., b'"'] = text else {
        return Cow::Borrowed(text);
    };
    if !inner.contains(&b'\\') {
        return Cow::Borrowed(inner);
    }
    let mut out = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter().copied();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'\\' => bytes.next().unwrap_or(b'\\'),
            _ => byte,
        });
    }
    Cow::Owned(out)
}

/// The number of these digits; `None` for other bytes, for none, and above `u32::MAX`.
pub fn parse_u32(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u32, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u32::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// The port of these digits.
pub(crate) fn parse_port(digits: &[u8]) -> Option<u16> {
    let port = parse_u32(digits).and_then(|number| u16::try_from(number).ok())?;
    (port != 0).then_some(port)
}

/// The values of a list: split at commas outside quotes and angle brackets, trimmed, none empty.
#[derive(Clone, Debug)]
pub struct Commas<'m>(&'m [u8]);

impl<'m> Commas<'m> {
    /// The values of one header field.
    pub fn of(field: &'m [u8]) -> Self {
        Self(field)
    }
}

impl<'m> Iterator for Commas<'m> {
    type Item = &'m [u8];

    fn next(&mut self) -> Option<&'m [u8]> {
        while !self.0.is_empty() {
            let (value, rest) = split_at_comma(self.0);
            self.0 = rest;
            let value = trim(value);
            if !value.is_empty() {
                return Some(value);
            }
        }
        None
    }
}

fn split_at_comma(text: &[u8]) -> (&[u8], &[u8]) {
    let mut at = 0;
    while let Some(rest) = text.get(at..)
        && let Some(found) = memchr3(b',', b'"', b'<', rest)
    {
        at += found;
        let special = rest.get(found..).unwrap_or_default();
        at += match special {
            [b'"', ..] => quoted_len(special).unwrap_or(special.len()),
            [b'<', ..] => memchr2(b'>', b'"', special).unwrap_or(0) + 1,
            _ => {
                let (value, rest) = text.split_at(at);
                return (value, rest.get(1..).unwrap_or_default());
            }
        };
    }
    (text, &[])
}

/// How long the quoted string is that the text begins with, quotes included.
pub(crate) fn quoted_len(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        let rest = text.get(at..)?;
        let found = memchr2(b'"', b'\\', rest)?;
        at += found + 1;
        match rest.get(found) {
            Some(b'"') => return Some(at),
            _ => at += 1,
        }
    }
}

/// A place in a text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'m> {
    text: &'m [u8],
    rest: &'m [u8],
}

impl<'m> Cursor<'m> {
    pub(crate) fn new(text: &'m [u8]) -> Self {
        Self { text, rest: text }
    }

    pub(crate) fn take_while(&mut self, is_wanted: impl Fn(u8) -> bool) -> &'m [u8] {
        let len = self.rest.iter().position(|byte| !is_wanted(*byte));
        self.take(len.unwrap_or(self.rest.len()))
    }

    pub(crate) fn take_token(&mut self) -> &'m [u8] {
        self.take_while(is_token)
    }

    /// Takes as many bytes, or all that are left.
    pub(crate) fn take(&mut self, len: usize) -> &'m [u8] {
        let (taken, rest) = self.rest.split_at_checked(len).unwrap_or((self.rest, &[]));
        self.rest = rest;
        taken
    }

    pub(crate) fn skip_lws(&mut self) {
        self.rest = trim_start(self.rest);
    }

    pub(crate) fn eat(&mut self, byte: u8) -> bool {
        match self.rest {
            [first, rest @ ..] if *first == byte => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// Eats the byte with white space around it.
    pub(crate) fn eat_spaced(&mut self, byte: u8) -> bool {
        self.skip_lws();
        let eaten = self.eat(byte);
        if eaten {
            self.skip_lws();
        }
        eaten
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    pub(crate) fn rest(&self) -> &'m [u8] {
        self.rest
    }

    /// Bytes before the cursor.
    pub(crate) fn at(&self) -> usize {
        self.text.len() - self.rest.len()
    }

    /// All of the text.
    pub(crate) fn whole(&self) -> &'m [u8] {
        self.text
    }

    /// The text before the cursor.
    pub(crate) fn taken(&self) -> &'m [u8] {
        self.text.get(..self.at()).unwrap_or_default()
    }

    /// The text between two places of this cursor.
    pub(crate) fn since(&self, start: Self) -> &'m [u8] {
        let len = start.rest.len() - self.rest.len();
        start.rest.get(..len).unwrap_or_default()
    }

    pub(crate) fn error(&self, what: What) -> ParseError {
        ParseError::new(what, self.at())
    }
}

fn trim_start(mut text: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = text
        && is_lws(*first)
    {
        text = rest;
    }
    text
}

fn trim_end(mut text: &[u8]) -> &[u8] {
    while let [rest @ .., last] = text
        && is_lws(*last)
    {
        text = rest;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(field: &str) -> Vec<&str> {
        let values = Commas::of(field.as_bytes());
        values.map(|value| str::from_utf8(value).unwrap()).collect()
    }

    #[test]
    fn commas_split_outside_quotes_and_brackets_only() {
        let field = r#""A, \", B" <sip:a,b@h;x=1>;q=1 , <sip:c> ,, sip:d"#;
        let expected = [r#""A, \", B" <sip:a,b@h;x=1>;q=1"#, "<sip:c>", "sip:d"];
        assert_eq!(split(field), expected); // S-33
    }

    #[test]
    fn an_open_quote_or_bracket_ends_with_the_text() {
        assert_eq!(split(r#"a, "b, c"#), ["a", r#""b, c"#]);
        assert_eq!(split("a, <b"), ["a", "<b"]);
        assert_eq!(split(r#"a, "\"#), ["a", r#""\"#]);
    }

    #[test]
    fn folds_become_one_space() {
        assert_eq!(&*unfold(b"a \r\n\t b\n  c"), b"a b c");
        assert!(matches!(unfold(b"a b"), Cow::Borrowed(b"a b")));
    }

    #[test]
    fn quotes_and_escapes_are_taken_off() {
        assert_eq!(&*unquote(br#""a \"b\" \\""#), br#"a "b" \"#);
        assert_eq!(&*unquote(b"token"), b"token");
    }

    #[test]
    fn numbers_are_digits_within_range() {
        assert_eq!(parse_u32(b"0009"), Some(9));
        assert_eq!(parse_u32(b"4294967295"), Some(u32::MAX));
        for text in [
            "",
            "4294967296",
            "36893488147419103232",
            "-1",
            "+1",
            "1 ",
            "1.0",
        ] {
            assert_eq!(parse_u32(text.as_bytes()), None, "{text}");
        }
    }
}
