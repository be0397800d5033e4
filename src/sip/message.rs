//! A message as it was received, and an index over it.
//!
//! Spec: RFC 3261 §7, §18.3.
//!
//! - A message borrows the received bytes and a reusable index: nothing is copied.
//! - Values are parsed when asked for; [`Checked`](crate::sip::check::Checked) parses the mandatory ones.

use std::fmt;

use crate::sip::error::{ParseError, What};
use crate::sip::index::{Field, Length, index};
use crate::sip::lex::Commas;
use crate::sip::method::Method;
use crate::sip::name::Name;
use crate::sip::status::Status;

/// Most bytes of a message: what a datagram can hold, and 16 bits can count.
pub const MESSAGE_MAX: usize = 65_535;

/// Most header fields; more cost time to search and serve nobody.
pub const HEADERS_MAX: usize = 256;

/// Most bytes of the start line and the header fields.
pub const HEADER_BYTES_MAX: usize = 16 * 1024;

/// The memory of an index, kept from message to message.
#[derive(Debug)]
pub struct Scratch(Vec<Field>);

impl Scratch {
    /// An index with room for usual messages.
    pub fn new() -> Self {
        Self(Vec::with_capacity(32))
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

/// The first line of a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StartLine<'m> {
    /// A Request-Line.
    Request {
        /// The method.
        method: Method<'m>,
        /// The Request-URI, as written.
        uri: &'m [u8],
    },
    /// A Status-Line.
    Response {
        /// The status code.
        status: Status,
        /// The reason phrase; may be empty, need not be UTF-8.
        phrase: &'m [u8],
    },
}

/// A header field as received.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Header<'m> {
    /// Which one it is.
    pub name: Name,
    /// The name as written: in compact form, or in other case.
    pub spelled: &'m [u8],
    /// The value without blanks at its ends; may hold folds.
    pub value: &'m [u8],
}

/// A request or response, indexed.
#[derive(Clone, Copy)]
pub struct Message<'m> {
    /// From the first byte received, leading line ends included.
    received: &'m [u8],
    fields: &'m [Field],
    start: StartLine<'m>,
    from: u16,
    body: u16,
    end: u16,
    flaw: Option<ParseError>,
    /// The header fields that count as not there.
    hidden: Option<Name>,
}

impl<'m> Message<'m> {
    /// Indexes one datagram or one framed stream message.
    ///
    /// An error means that it is no SIP message, or larger than the limits of this module: there is
    /// nothing to answer. What else is wrong is told by [`Self::flaw`].
    pub fn parse(raw: &'m [u8], scratch: &'m mut Scratch) -> Result<Self, ParseError> {
        if raw.len() > MESSAGE_MAX {
            return Err(ParseError::new(What::MessageTooLarge, MESSAGE_MAX));
        }
        let Scratch(fields) = scratch;
        let found = index(raw, fields)?;
        let mut flaw = found.flaw;
        let end = match found.length {
            // S-26: what follows the body in a datagram is not looked at.
            Length::Bytes(bytes) if bytes <= raw.len() - found.body => found.body + bytes,
            Length::Bytes(_) => {
                flaw = flaw.or_else(|| Some(ParseError::new(What::BodyShort, found.body)));
                raw.len()
            }
            Length::Absent => raw.len(),
            Length::Malformed | Length::Repeated => found.body,
        };
        let place = |at: usize| u16::try_from(at).unwrap_or(u16::MAX);
        Ok(Self {
            received: raw,
            fields,
            start: found.start,
            from: place(found.from),
            body: place(found.body),
            end: place(end),
            flaw,
            hidden: None,
        })
    }

    /// The same message as if it had no header field of this name; [`Self::raw`] and [`Self::head`]
    /// still have it.
    #[must_use]
    pub fn without(self, name: Name) -> Self {
        Self {
            hidden: Some(name),
            ..self
        }
    }

    /// The first line.
    pub fn start(&self) -> StartLine<'m> {
        self.start
    }

    /// All header fields in order.
    pub fn headers(&self) -> impl Iterator<Item = Header<'m>> + use<'m> {
        let (received, hidden) = (self.received, self.hidden);
        let shown = self.fields.iter();
        let shown = shown.filter(move |field| hidden != Some(field.name));
        shown.map(move |field| Header {
            name: field.name,
            spelled: field.spelled(received),
            value: field.value(received),
        })
    }

    /// The value of the first header field of this name; may hold folds.
    pub fn first(&self, name: Name) -> Option<&'m [u8]> {
        self.fields(name).next()
    }

    /// The value of each header field of this name; may hold folds.
    pub fn fields(&self, name: Name) -> impl Iterator<Item = &'m [u8]> + use<'m> {
        let received = self.received;
        let fields = if self.hidden == Some(name) {
            &[]
        } else {
            self.fields
        };
        let named = fields.iter().filter(move |field| field.name == name);
        named.map(move |field| field.value(received))
    }

    /// The values of all header fields of this name, comma-separated ones one by one, none empty.
    ///
    /// For header fields that are lists, which Authorization and its kin, Date and Subject are not.
    pub fn values(&self, name: Name) -> impl Iterator<Item = &'m [u8]> + use<'m> {
        // S-33: a list is the same in one line or in many.
        self.fields(name).flat_map(Commas::of)
    }

    /// The value of the first header field spelled so, in any case.
    pub fn named(&self, spelled: &str) -> Option<&'m [u8]> {
        let spelled = spelled.as_bytes();
        let name = Name::of(spelled);
        if name != Name::Other {
            return self.first(name);
        }
        let mut headers = self.headers();
        let found = headers.find(|header| header.spelled.eq_ignore_ascii_case(spelled))?;
        Some(found.value)
    }

    /// Whether a list of tokens (Supported, Require, Allow, …) has this one, in any case.
    pub fn has_option(&self, name: Name, tag: &str) -> bool {
        self.values(name)
            .any(|value| value.eq_ignore_ascii_case(tag.as_bytes()))
    }

    /// The body, as long as Content-Length says; without one, the rest of the datagram.
    pub fn body(&self) -> &'m [u8] {
        self.between(self.body, self.end)
    }

    /// The message from its start line to the end of its body.
    pub fn raw(&self) -> &'m [u8] {
        self.between(self.from, self.end)
    }

    /// The start line and the header fields, with the empty line that ends them.
    pub fn head(&self) -> &'m [u8] {
        self.between(self.from, self.body)
    }

    /// The first thing that makes this message untrustworthy, if any.
    pub fn flaw(&self) -> Option<ParseError> {
        self.flaw
    }

    fn between(&self, from: u16, to: u16) -> &'m [u8] {
        self.received
            .get(usize::from(from)..usize::from(to))
            .unwrap_or_default()
    }
}

impl fmt::Debug for Message<'_> {
    /// The start line alone: the rest is the peers' business.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Message").field(&self.start).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INVITE: &str = "INVITE sip:bob@biloxi.com SIP/2.0\r\n\
        Via: SIP/2.0/UDP pc33.atlanta.com;branch=z9hG4bK776asdhds, SIP/2.0/TCP b\r\n\
        v : SIP/2.0/UDP c\r\n\
        Subject: a\r\n\tfolded\r\n  one\r\n\
        X-Unknown: \u{43d}\u{43e}\r\n\
        Supported: timer,100REL\r\n\
        l: 4\r\n\
        \r\n\
        bodyREST";

    fn with<T>(text: impl AsRef<[u8]>, look: impl FnOnce(Message<'_>) -> T) -> T {
        look(Message::parse(text.as_ref(), &mut Scratch::new()).unwrap())
    }

    fn flaw(text: impl AsRef<[u8]>) -> Option<What> {
        with(text, |message| message.flaw().map(|flaw| flaw.what))
    }

    fn refused(text: impl AsRef<[u8]>) -> What {
        Message::parse(text.as_ref(), &mut Scratch::new())
            .unwrap_err()
            .what
    }

    #[test]
    fn one_name_is_found_in_all_its_spellings() {
        with(INVITE, |message| {
            let values: Vec<_> = message.values(Name::Via).collect();
            assert_eq!(values.len(), 3); // S-33
            assert_eq!(values[2], b"SIP/2.0/UDP c");
            assert_eq!(message.fields(Name::Via).count(), 2);
            assert_eq!(message.headers().nth(1).unwrap().spelled, b"v");
        });
    }

    #[test]
    fn a_folded_value_is_whole() {
        with(INVITE, |message| {
            let subject = message.first(Name::Subject).unwrap();
            assert_eq!(&*crate::sip::lex::unfold(subject), b"a folded one"); // S-33
            assert_eq!(message.named("subject"), Some(subject));
        });
    }

    #[test]
    fn unknown_header_fields_keep_their_bytes() {
        let text = b"OPTIONS sip:a SIP/2.0\r\nX-Raw: \xff\xfe\x01\r\n\r\n";
        with(text, |message| {
            assert_eq!(message.named("x-raw"), Some(&b"\xff\xfe\x01"[..])); // S-33
            assert_eq!(message.flaw(), None);
        });
    }

    #[test]
    fn options_are_found_in_any_case() {
        with(INVITE, |message| {
            assert!(message.has_option(Name::Supported, "100rel"));
            assert!(!message.has_option(Name::Supported, "100"));
            assert!(!message.has_option(Name::Require, "100rel"));
        });
    }

    #[test]
    fn what_follows_the_body_is_ignored() {
        with(INVITE, |message| {
            assert_eq!(message.body(), b"body"); // S-26
            assert!(message.raw().ends_with(b"\r\n\r\nbody"));
            assert!(message.raw().starts_with(b"INVITE"));
        });
    }

    #[test]
    fn without_content_length_the_body_is_the_rest() {
        with("OPTIONS sip:a SIP/2.0\r\n\r\nrest\r\n", |message| {
            assert_eq!(message.body(), b"rest\r\n");
        });
    }

    #[test]
    fn leading_line_ends_and_bare_line_feeds_are_read() {
        with(
            "\r\n\r\nOPTIONS sip:a SIP/2.0\nl: 2\nTo: x\n y\n\nab",
            |message| {
                assert_eq!(message.flaw(), None);
                assert_eq!(message.first(Name::To), Some(&b"x\n y"[..]));
                assert_eq!(message.body(), b"ab");
                assert!(message.raw().starts_with(b"OPTIONS"));
            },
        );
    }

    #[test]
    fn a_bare_line_feed_among_crlf_is_a_flaw() {
        let text = "OPTIONS sip:a SIP/2.0\r\nSubject: x\nRoute: <sip:evil>\r\n\r\n";
        assert_eq!(flaw(text), Some(What::Control));
    }

    #[test]
    fn a_bare_cr_or_nul_in_a_value_is_a_flaw() {
        for value in ["a\rb", "a\0b", "\"a\0b\"", "\"a\\\"\0\"", "\" \0"] {
            let text = format!("OPTIONS sip:a SIP/2.0\r\nSubject: {value}\r\n\r\n");
            assert_eq!(flaw(text), Some(What::Control), "{value:?}");
        }
    }

    #[test]
    fn a_nul_as_a_quoted_pair_is_kept() {
        let text = "OPTIONS sip:a SIP/2.0\r\nTo: \"a\\\0b\" <sip:a>\r\n\r\n\0";
        assert_eq!(flaw(text), None);
    }

    #[test]
    fn two_content_lengths_are_a_flaw_even_if_equal() {
        let text = "OPTIONS sip:a SIP/2.0\r\nl: 1\r\nContent-Length: 1\r\n\r\nab";
        assert_eq!(flaw(text), Some(What::Repeated(Name::ContentLength))); // S-26
        with(text, |message| assert_eq!(message.body(), b""));
    }

    #[test]
    fn a_content_length_that_is_no_number_is_a_flaw() {
        for value in ["-999", "", "1 2", "0x10", "4294967296", "1,1", "+1"] {
            let text = format!("OPTIONS sip:a SIP/2.0\r\nContent-Length: {value}\r\n\r\nab");
            let expected = What::Malformed(Name::ContentLength);
            assert_eq!(flaw(text), Some(expected), "{value:?}"); // S-26
        }
    }

    #[test]
    fn a_body_shorter_than_content_length_is_a_flaw() {
        let text = "OPTIONS sip:a SIP/2.0\r\nContent-Length: 3\r\n\r\nab";
        assert_eq!(flaw(text), Some(What::BodyShort)); // S-26
    }

    #[test]
    fn lines_that_are_no_header_fields_are_a_flaw() {
        for line in ["Foobar roobar", ": x", " x: y", "F\u{e4}: y", "a b: c"] {
            let text = format!("OPTIONS sip:a SIP/2.0\r\n{line}\r\n\r\n");
            assert_eq!(flaw(text), Some(What::Line), "{line:?}");
        }
    }

    #[test]
    fn missing_ends_are_a_flaw() {
        assert_eq!(
            flaw("OPTIONS sip:a SIP/2.0\r\nTo: x\r\n"),
            Some(What::HeadersOpen)
        );
        assert_eq!(flaw("OPTIONS sip:a SIP/2.0"), Some(What::HeadersOpen));
    }

    #[test]
    fn blanks_in_a_start_line_are_a_flaw() {
        for line in [
            "INVITE  sip:a SIP/2.0",
            "INVITE sip:a  SIP/2.0",
            "INVITE sip:a; lr SIP/2.0",
            "INVITE sip:a SIP/2.0 ",
            "INVITE \tsip:a SIP/2.0",
            "INVITE  SIP/2.0",
        ] {
            assert_eq!(
                flaw(format!("{line}\r\n\r\n")),
                Some(What::StartLine),
                "{line}"
            );
        }
    }

    #[test]
    fn another_version_is_a_flaw() {
        assert_eq!(flaw("OPTIONS sip:a SIP/7.0\r\n\r\n"), Some(What::Version));
        assert_eq!(flaw("SIP/7.0 200 OK\r\n\r\n"), Some(What::Version));
        assert_eq!(flaw("OPTIONS sip:a sip/2.0\r\n\r\n"), None);
    }

    #[test]
    fn what_is_not_sip_is_refused() {
        for text in [
            "GET / HTTP/1.1\r\n\r\n",
            "INVITE sip:a\r\n\r\n",
            "hello",
            "\x16\x03\x01\0",
            "IN@ a SIP/2.0",
        ] {
            assert_eq!(refused(text), What::NotSip, "{text}");
        }
        assert_eq!(refused("\r\n\r\n"), What::Empty);
        assert_eq!(refused(""), What::Empty);
    }

    #[test]
    fn a_status_code_has_three_digits_from_100_to_699() {
        for code in ["4294967301", "20", "099", "700", "2x0", "", " 200"] {
            assert_eq!(
                refused(format!("SIP/2.0 {code} OK\r\n\r\n")),
                What::Status,
                "{code}"
            );
        }
        for (line, expected) in [
            ("SIP/2.0 100 ", ""),
            ("SIP/2.0 100", ""),
            ("SIP/2.0 180 R g", "R g"),
        ] {
            with(format!("{line}\r\n\r\n"), |message| match message.start() {
                StartLine::Response { phrase, .. } => assert_eq!(phrase, expected.as_bytes()),
                StartLine::Request { .. } => panic!("a response"),
            });
        }
    }

    #[test]
    fn the_limits_hold() {
        let fields = |count| format!("OPTIONS sip:a SIP/2.0\r\n{}\r\n", "a: b\r\n".repeat(count));
        assert_eq!(flaw(fields(HEADERS_MAX)), None);
        assert_eq!(refused(fields(HEADERS_MAX + 1)), What::HeadersTooMany);
        let long = |count| format!("OPTIONS sip:a SIP/2.0\r\na: {}\r\n\r\n", "b".repeat(count));
        assert_eq!(flaw(long(HEADER_BYTES_MAX - 100)), None);
        assert_eq!(refused(long(HEADER_BYTES_MAX)), What::HeadersTooLarge);
        assert_eq!(refused(vec![b'a'; MESSAGE_MAX + 1]), What::MessageTooLarge);
    }

    #[test]
    fn a_field_of_the_index_takes_eight_bytes() {
        assert_eq!(size_of::<Field>(), 8);
        assert!(size_of::<Message<'_>>() <= 96);
    }
}
