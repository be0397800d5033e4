//! The one writer of messages: no value can end its line.
//!
//! Spec: RFC 3261 §7; RFC 4475 §3.1.1.2.

use std::fmt;
use std::io::Write as _;
use std::ops::Range;

use memchr::{memchr2, memchr3};

use crate::sip::index::has_bare_nul;
use crate::sip::lex::unfold;
use crate::sip::message::{Header, MESSAGE_MAX};
use crate::sip::method::{Method, is_token};
use crate::sip::name::Name;
use crate::sip::status::Status;

/// Why a message was not written.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refused {
    /// A header name that is no token.
    #[error("a header name is no token")]
    Name,
    /// More than [`MESSAGE_MAX`] bytes.
    #[error("message too large")]
    TooLarge,
    /// A Request-URI with blanks or control characters, or none.
    #[error("malformed Request-URI")]
    Uri,
    /// A value or phrase with CR, LF or NUL in it.
    #[error("CR, LF or NUL in {0}")]
    Value(Name),
}

/// Appends one message to a buffer.
///
/// A fold in a value becomes one space; a NUL may stand only as a quoted pair in a quoted string.
/// The first value that breaks a rule is told by [`Self::finish`].
#[derive(Debug)]
#[must_use = "`finish` writes the end of the message"]
pub struct Writer<'b> {
    out: &'b mut Vec<u8>,
    start: usize,
    refused: Option<Refused>,
}

impl<'b> Writer<'b> {
    /// Begins a request.
    pub fn request(out: &'b mut Vec<u8>, method: Method<'_>, uri: &[u8]) -> Self {
        let mut writer = Self::fragment(out);
        writer.put(&[method.as_str().as_bytes(), b" ", uri, b" SIP/2.0\r\n"]);
        if uri.is_empty() || uri.iter().any(|byte| matches!(byte, 0..=b' ' | 0x7f)) {
            writer.refuse(Refused::Uri);
        }
        writer
    }

    /// Begins a response; an empty phrase means the standard's.
    pub fn response(out: &'b mut Vec<u8>, status: Status, phrase: &[u8]) -> Self {
        let mut writer = Self::fragment(out);
        let phrase = if phrase.is_empty() {
            status.phrase().as_bytes()
        } else {
            phrase
        };
        let mut code = itoa::Buffer::new();
        writer.put(&[b"SIP/2.0 ", code.format(status.code()).as_bytes(), b" "]);
        writer.value(Name::Other, &[phrase]);
        writer
    }

    /// Begins header fields and a body without a start line.
    pub fn fragment(out: &'b mut Vec<u8>) -> Self {
        let start = out.len();
        Self {
            out,
            start,
            refused: None,
        }
    }

    /// Adds a header field.
    ///
    /// Content-Length is left out: [`Self::finish`] writes it.
    pub fn header(&mut self, name: Name, value: &[u8]) -> &mut Self {
        self.header_parts(name, &[value])
    }

    /// Adds a header field of any name; a compact name that we know is written in full.
    pub fn header_named(&mut self, spelled: &[u8], value: &[u8]) -> &mut Self {
        let name = Name::of(spelled);
        if name != Name::Other {
            return self.header(name, value);
        }
        if spelled.is_empty() || !spelled.iter().copied().all(is_token) {
            self.refuse(Refused::Name);
        }
        self.put(&[spelled, b": "]);
        self.value(Name::Other, &[value]);
        self
    }

    /// Adds a header field whose value is formatted.
    pub fn header_fmt(&mut self, name: Name, value: fmt::Arguments<'_>) -> &mut Self {
        if self.begin(name) {
            let start = self.out.len();
            // Writing to a `Vec` fails only if a `Display` does.
            if self.out.write_fmt(value).is_err() {
                self.refuse(Refused::Value(name));
            }
            self.end(name, start);
        }
        self
    }

    /// Adds a header field whose value is these parts, one after the other.
    pub fn header_parts(&mut self, name: Name, parts: &[&[u8]]) -> &mut Self {
        if self.begin(name) {
            self.value(name, parts);
        }
        self
    }

    /// Adds a received header field: spelled as received but never compact, and unfolded.
    pub fn copy(&mut self, header: Header<'_>) -> &mut Self {
        self.header_named(header.spelled, header.value)
    }

    /// Writes Content-Length, the empty line and the body; the message's place comes back.
    ///
    /// When something was refused, the buffer is as it was before the message.
    pub fn finish(mut self, body: &[u8]) -> Result<Range<usize>, Refused> {
        let mut length = itoa::Buffer::new();
        let length = length.format(body.len());
        // S-26: one Content-Length, always.
        self.put(&[b"Content-Length: ", length.as_bytes(), b"\r\n\r\n", body]);
        if self.out.len() - self.start > MESSAGE_MAX {
            self.refuse(Refused::TooLarge);
        }
        match self.refused {
            None => Ok(self.start..self.out.len()),
            Some(refused) => {
                self.out.truncate(self.start);
                Err(refused)
            }
        }
    }

    fn begin(&mut self, name: Name) -> bool {
        if name == Name::Other {
            self.refuse(Refused::Name);
        }
        let is_wanted = !matches!(name, Name::ContentLength | Name::Other);
        if is_wanted {
            self.put(&[name.as_str().as_bytes(), b": "]);
        }
        is_wanted
    }

    fn value(&mut self, name: Name, parts: &[&[u8]]) {
        let start = self.out.len();
        self.put(parts);
        self.end(name, start);
    }

    fn end(&mut self, name: Name, start: usize) {
        let value = self.out.get(start..).unwrap_or_default();
        if memchr3(b'\r', b'\n', 0, value).is_some() {
            match mend(value) {
                Some(value) => {
                    self.out.truncate(start);
                    self.out.extend_from_slice(&value);
                }
                None => self.refuse(Refused::Value(name)),
            }
        }
        self.out.extend_from_slice(b"\r\n");
    }

    fn put(&mut self, parts: &[&[u8]]) {
        for part in parts {
            self.out.extend_from_slice(part);
        }
    }

    fn refuse(&mut self, refused: Refused) {
        self.refused = self.refused.or(Some(refused));
    }
}

/// The value with its folds as spaces; `None` if CR, LF or NUL stand in it in any other way.
fn mend(value: &[u8]) -> Option<Vec<u8>> {
    let mut rest = value;
    while let Some(at) = memchr2(b'\r', b'\n', rest) {
        rest = match rest.get(at..) {
            Some([b'\r', b'\n', after @ ..] | [b'\n', after @ ..])
                if matches!(after, [b' ' | b'\t', ..]) =>
            {
                after
            }
            _ => return None,
        };
    }
    (!has_bare_nul(value)).then(|| unfold(value).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_written_line_by_line() {
        let mut out = b"before".to_vec();
        let mut writer = Writer::request(&mut out, Method::Invite, b"sip:bob@biloxi.com");
        writer
            .header(Name::CallId, b"a84b4c76e66710")
            .header_fmt(Name::CSeq, format_args!("{} {}", 314_159, Method::Invite))
            .header_parts(
                Name::To,
                &[b"Bob <sip:bob@biloxi.com>", b";tag=", b"a6c85cf"],
            )
            .header_named(b"X-Own", b"1");
        let place = writer.finish(b"v=0\r\n").unwrap();
        let expected = "INVITE sip:bob@biloxi.com SIP/2.0\r\n\
            Call-ID: a84b4c76e66710\r\n\
            CSeq: 314159 INVITE\r\n\
            To: Bob <sip:bob@biloxi.com>;tag=a6c85cf\r\n\
            X-Own: 1\r\n\
            Content-Length: 5\r\n\r\n\
            v=0\r\n";
        assert_eq!(str::from_utf8(&out[place]).unwrap(), expected);
        assert!(out.starts_with(b"before"));
    }

    #[test]
    fn a_response_has_its_own_phrase_or_the_standards() {
        let line = |phrase: &[u8]| {
            let mut out = Vec::new();
            Writer::response(&mut out, Status::BUSY_HERE, phrase)
                .finish(b"")
                .unwrap();
            String::from_utf8(out)
                .unwrap()
                .lines()
                .next()
                .unwrap()
                .to_owned()
        };
        assert_eq!(line(b""), "SIP/2.0 486 Busy Here");
        assert_eq!(line(b"Besetzt"), "SIP/2.0 486 Besetzt");
    }

    #[test]
    fn a_fragment_has_no_start_line() {
        let mut out = Vec::new();
        let mut writer = Writer::fragment(&mut out);
        writer.header(Name::Supported, b"timer");
        writer.finish(b"").unwrap();
        assert_eq!(out, b"Supported: timer\r\nContent-Length: 0\r\n\r\n");
    }

    /// One header field with this value, or why there is none.
    fn subject(value: &[u8]) -> Result<Vec<u8>, Refused> {
        let mut out = b"before".to_vec();
        let mut writer = Writer::fragment(&mut out);
        writer.header(Name::Subject, value);
        match writer.finish(b"") {
            Ok(place) => Ok(out[place].to_vec()),
            Err(refused) => {
                assert_eq!(out, b"before");
                Err(refused)
            }
        }
    }

    #[test]
    fn a_value_cannot_end_its_line() {
        for value in [
            "a\r\nEvil: 1",
            "a\nEvil: 1",
            "a\rb",
            "a\0b",
            "a\r\n",
            "\n",
            "a\r\n\r\n b",
            "\r\n\n x",
        ] {
            let refused = subject(value.as_bytes());
            assert_eq!(refused, Err(Refused::Value(Name::Subject)), "{value:?}");
        }
    }

    #[test]
    fn a_fold_becomes_one_space() {
        let written = subject(b"a\r\n \tb\n c").unwrap();
        assert_eq!(written, b"Subject: a b c\r\nContent-Length: 0\r\n\r\n");
    }

    #[test]
    fn a_nul_stands_only_as_a_quoted_pair() {
        let written = subject(b"\"NUL:\\\0\" <sip:a>").unwrap();
        assert!(written.starts_with(b"Subject: \"NUL:\\\0\" <sip:a>\r\n"));
        assert!(subject(b"\\\0").is_err());
        assert!(subject(b"\"\0\"").is_err());
    }

    #[test]
    fn names_uris_and_phrases_are_held_to_the_same_rule() {
        let mut out = Vec::new();
        let mut writer = Writer::fragment(&mut out);
        writer.header_named(b"X Own", b"1");
        assert_eq!(writer.finish(b""), Err(Refused::Name));
        let mut writer = Writer::fragment(&mut out);
        writer.header(Name::Other, b"1");
        assert_eq!(writer.finish(b""), Err(Refused::Name));
        for uri in ["", "sip:a b", "sip:a\r\nEvil: 1", "sip:a\0"] {
            let writer = Writer::request(&mut out, Method::Bye, uri.as_bytes());
            assert_eq!(writer.finish(b""), Err(Refused::Uri), "{uri:?}");
        }
        let writer = Writer::response(&mut out, Status::OK, b"OK\r\nEvil: 1");
        assert_eq!(writer.finish(b""), Err(Refused::Value(Name::Other)));
        assert!(out.is_empty());
    }

    #[test]
    fn content_length_is_written_once() {
        let mut out = Vec::new();
        let mut writer = Writer::fragment(&mut out);
        writer.header(Name::ContentLength, b"77");
        writer.header_named(b"l", b"78");
        writer.finish(b"ab").unwrap();
        assert_eq!(out, b"Content-Length: 2\r\n\r\nab"); // S-26
    }

    #[test]
    fn a_copied_field_is_never_compact() {
        let mut out = Vec::new();
        let mut writer = Writer::fragment(&mut out);
        let header = |spelled, value| Header {
            name: Name::of(spelled),
            spelled,
            value,
        };
        writer.copy(header(b"f", b"<sip:a>"));
        writer.copy(header(b"x-OWN", b"a\r\n b"));
        writer.finish(b"").unwrap();
        assert_eq!(
            out,
            b"From: <sip:a>\r\nx-OWN: a b\r\nContent-Length: 0\r\n\r\n"
        );
    }

    #[test]
    fn a_message_beyond_the_limit_is_refused() {
        let mut out = Vec::new();
        let body = vec![b'a'; MESSAGE_MAX];
        assert_eq!(
            Writer::fragment(&mut out).finish(&body),
            Err(Refused::TooLarge)
        );
        assert!(out.is_empty());
    }
}
