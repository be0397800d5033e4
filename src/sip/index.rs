//! The one pass over a message: where its header fields begin and end.
//!
//! Spec: RFC 3261 §7.1, §7.2, §7.3.1, §18.3.
//!
//! - The pass ends at the empty line; the body is never looked at.
//! - What cannot be indexed is an error. What can be indexed but not trusted is a flaw, which
//!   [`Checked::check`](crate::sip::check::Checked::check) turns into an answer.

use memchr::{memchr, memchr2, memrchr};

use crate::sip::error::{ParseError, What};
use crate::sip::lex::{is_lws, parse_u32, quoted_len};
use crate::sip::message::{HEADER_BYTES_MAX, HEADERS_MAX, StartLine};
use crate::sip::method::{Method, is_token};
use crate::sip::name::Name;
use crate::sip::status::Status;

/// Where a header field stands in its message: eight bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    pub(crate) name: Name,
    /// Length of the name as spelled.
    spelled: u8,
    /// The first byte of the name.
    start: u16,
    /// The first byte of the value.
    value: u16,
    /// The byte after the value.
    end: u16,
}

impl Field {
    pub(crate) fn spelled(self, raw: &[u8]) -> &[u8] {
        let start = usize::from(self.start);
        raw.get(start..start + usize::from(self.spelled))
            .unwrap_or_default()
    }

    pub(crate) fn value(self, raw: &[u8]) -> &[u8] {
        raw.get(usize::from(self.value)..usize::from(self.end))
            .unwrap_or_default()
    }
}

/// What Content-Length says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Length {
    Absent,
    Bytes(usize),
    /// Malformed, or there is more than one.
    Unknown,
}

/// The result of the pass, apart from the fields.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Index<'m> {
    pub(crate) start: StartLine<'m>,
    /// The first byte of the start line.
    pub(crate) from: usize,
    /// The first byte of the body.
    pub(crate) body: usize,
    pub(crate) length: Length,
    /// The first thing that is wrong.
    pub(crate) flaw: Option<ParseError>,
}

/// Goes over `raw` once; `fields` is emptied first.
pub(crate) fn index<'m>(raw: &'m [u8], fields: &mut Vec<Field>) -> Result<Index<'m>, ParseError> {
    fields.clear();
    let from = raw.iter().position(|byte| !matches!(byte, b'\r' | b'\n'));
    let from = from.ok_or_else(|| ParseError::new(What::Empty, 0))?;
    // A longer header section is refused without looking at the rest of it.
    let head = raw.get(..from + HEADER_BYTES_MAX).unwrap_or(raw);
    let mut pass = Pass {
        head,
        at: from,
        line_feeds: false,
        length: Length::Absent,
        flaw: None,
    };
    let (start, start_flaw) = pass.start_line()?;
    pass.flaw = pass.flaw.or(start_flaw);
    pass.fields(fields)?;
    if pass.at == head.len() && head.len() < raw.len() {
        return Err(ParseError::new(What::HeadersTooLarge, pass.at));
    }
    pass.check_nul(from);
    let Pass {
        at: body,
        length,
        flaw,
        ..
    } = pass;
    Ok(Index {
        start,
        from,
        body,
        length,
        flaw,
    })
}

struct Pass<'m> {
    head: &'m [u8],
    at: usize,
    /// The start line ended in a bare LF, so that all lines may.
    line_feeds: bool,
    length: Length,
    flaw: Option<ParseError>,
}

impl<'m> Pass<'m> {
    fn start_line(&mut self) -> Result<(StartLine<'m>, Option<ParseError>), ParseError> {
        let from = self.at;
        self.line_feeds = true;
        let end = self.line_end();
        self.line_feeds = self.head.get(end) == Some(&b'\n');
        let line = self.head.get(from..end).unwrap_or_default();
        let at = |error: ParseError| error.after(from);
        let parsed = match line.first_chunk() {
            Some(first) if is_version(*first) => status_line(line),
            _ => request_line(line),
        };
        let (start, flaw) = parsed.map_err(at)?;
        Ok((start, flaw.map(at)))
    }

    fn fields(&mut self, fields: &mut Vec<Field>) -> Result<(), ParseError> {
        loop {
            match self.rest() {
                [b'\r', b'\n', ..] => {
                    self.at += 2;
                    return Ok(());
                }
                [b'\n', ..] => {
                    self.at += 1;
                    return Ok(());
                }
                [] => {
                    self.flag(What::HeadersOpen, self.at);
                    return Ok(());
                }
                _ if fields.len() == HEADERS_MAX => {
                    return Err(ParseError::new(What::HeadersTooMany, self.at));
                }
                _ => {}
            }
            if let Some(field) = self.field() {
                fields.push(field);
            }
        }
    }

    /// One field with its folds; `None` for a line that is none.
    fn field(&mut self) -> Option<Field> {
        let start = self.at;
        let rest = self.rest();
        let spelled = rest
            .iter()
            .position(|byte| !is_token(*byte))
            .unwrap_or(rest.len());
        let blanks = rest.get(spelled..).unwrap_or_default();
        // S-33: blanks may stand before the colon.
        let colon = blanks
            .iter()
            .position(|byte| !matches!(byte, b' ' | b'\t'))
            .unwrap_or(0);
        self.at += spelled + colon;
        let is_field = blanks.get(colon) == Some(&b':');
        let mut end = self.line_end();
        // S-33: a line that begins with a blank continues the one before.
        while matches!(self.rest(), [b' ' | b'\t', ..]) {
            end = self.line_end();
        }
        let spelled = u8::try_from(spelled)
            .ok()
            .filter(|len| *len > 0 && is_field);
        let Some(spelled) = spelled else {
            self.flag(What::Line, start);
            return None;
        };
        Some(self.known(
            start,
            spelled,
            start + usize::from(spelled) + colon + 1,
            end,
        ))
    }

    fn known(&mut self, start: usize, spelled: u8, mut value: usize, mut end: usize) -> Field {
        let head = self.head;
        while value < end && head.get(value).is_some_and(|byte| is_lws(*byte)) {
            value += 1;
        }
        while value < end && head.get(end - 1).is_some_and(|byte| is_lws(*byte)) {
            end -= 1;
        }
        let name = Name::of(
            head.get(start..start + usize::from(spelled))
                .unwrap_or_default(),
        );
        if name == Name::ContentLength {
            self.content_length(start, head.get(value..end).unwrap_or_default());
        }
        // HEADER_BYTES_MAX keeps all places within 16 bits but for leading line ends.
        let place = |at: usize| u16::try_from(at).unwrap_or(u16::MAX);
        Field {
            name,
            spelled,
            start: place(start),
            value: place(value),
            end: place(end),
        }
    }

    fn content_length(&mut self, at: usize, value: &[u8]) {
        // S-26: two lengths are two messages to two readers, even if they are equal.
        if self.length != Length::Absent {
            self.flag(What::Repeated(Name::ContentLength), at);
            self.length = Length::Unknown;
            return;
        }
        let bytes = parse_u32(value).and_then(|bytes| usize::try_from(bytes).ok());
        self.length = bytes.map_or(Length::Unknown, Length::Bytes);
        if bytes.is_none() {
            self.flag(What::Malformed(Name::ContentLength), at);
        }
    }

    /// Moves to the next line; where this one ends comes back.
    fn line_end(&mut self) -> usize {
        loop {
            let rest = self.rest();
            let Some(found) = memchr2(b'\r', b'\n', rest) else {
                self.at = self.head.len();
                return self.at;
            };
            let end = self.at + found;
            match rest.get(found..) {
                Some([b'\r', b'\n', ..]) => {
                    self.at = end + 2;
                    return end;
                }
                Some([b'\n', ..]) => {
                    // In a message with CRLF a bare LF is somebody's hidden header field.
                    if !self.line_feeds {
                        self.flag(What::Control, end);
                    }
                    self.at = end + 1;
                    return end;
                }
                _ => {
                    self.flag(What::Control, end);
                    self.at = end + 1;
                }
            }
        }
    }

    /// A NUL may stand only as a quoted pair in a quoted string.
    fn check_nul(&mut self, from: usize) {
        let head = self.head.get(from..self.at).unwrap_or_default();
        if memchr(0, head).is_some() && has_bare_nul(head) {
            self.flag(What::Control, from);
        }
    }

    fn rest(&self) -> &'m [u8] {
        self.head.get(self.at..).unwrap_or_default()
    }

    fn flag(&mut self, what: What, at: usize) {
        self.flaw = self.flaw.or_else(|| Some(ParseError::new(what, at)));
    }
}

/// Whether a NUL stands anywhere but as a quoted pair in a quoted string.
pub(crate) fn has_bare_nul(text: &[u8]) -> bool {
    let mut rest = text;
    while let Some(at) = memchr2(0, b'"', rest) {
        let special = rest.get(at..).unwrap_or_default();
        let Some(len) = quoted_len(special).filter(|_| special.first() == Some(&b'"')) else {
            return memchr(0, special).is_some();
        };
        let (quoted, after) = special.split_at(len);
        if has_unescaped_nul(quoted) {
            return true;
        }
        rest = after;
    }
    false
}

fn has_unescaped_nul(quoted: &[u8]) -> bool {
    let mut bytes = quoted.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            0 => return true,
            b'\\' => {
                bytes.next();
            }
            _ => {}
        }
    }
    false
}

type Start<'m> = (StartLine<'m>, Option<ParseError>);

fn request_line(line: &[u8]) -> Result<Start<'_>, ParseError> {
    let not_sip = ParseError::new(What::NotSip, 0);
    let method_end = memchr(b' ', line).ok_or(not_sip)?;
    let trimmed = line.trim_ascii_end();
    let uri_end = memrchr(b' ', trimmed)
        .filter(|end| *end > method_end)
        .ok_or(not_sip)?;
    let (rest, version) = trimmed.split_at(uri_end);
    let (method, uri) = rest.split_at(method_end);
    let method = Method::parse(method).ok_or(not_sip)?;
    let version = version.get(1..).unwrap_or_default();
    if !version.first_chunk().copied().is_some_and(is_version) {
        return Err(not_sip);
    }
    let bare = uri.trim_ascii();
    let spaced = uri.len() - bare.len() > 1 || trimmed.len() < line.len();
    let flaw = if version.get(4..) != Some(b"2.0") {
        Some(ParseError::new(What::Version, uri_end))
    } else if spaced || bare.is_empty() || bare.iter().any(u8::is_ascii_whitespace) {
        Some(ParseError::new(What::StartLine, method_end))
    } else {
        None
    };
    Ok((StartLine::Request { method, uri: bare }, flaw))
}

fn status_line(line: &[u8]) -> Result<Start<'_>, ParseError> {
    let error = ParseError::new(What::Status, 0);
    let space = memchr(b' ', line).ok_or(error)?;
    let (version, rest) = line.split_at(space);
    let (code, phrase) = match rest.get(1..) {
        Some([a, b, c]) => ([*a, *b, *c], &[][..]),
        Some([a, b, c, b' ', phrase @ ..]) => ([*a, *b, *c], phrase),
        _ => return Err(error),
    };
    let code = parse_u32(&code).and_then(|code| u16::try_from(code).ok());
    let status = code.and_then(Status::new).ok_or(error)?;
    let is_ours = version.get(4..) == Some(b"2.0");
    let flaw = (!is_ours).then(|| ParseError::new(What::Version, 0));
    Ok((StartLine::Response { status, phrase }, flaw))
}

fn is_version(first: [u8; 4]) -> bool {
    first.eq_ignore_ascii_case(b"SIP/")
}
