//! The one pass over a message: where its header fields begin and end.
//!
//! Spec: RFC 3261 §7.1, §7.2, §7.3.1, §18.3.
//!
//! - The pass ends at the empty line; the body is never looked at.
//! - What cannot be indexed is an error. What can be indexed but not trusted is a flaw, which
//!   [`Checked::check`](crate::sip::check::Checked::check) turns into an answer.

use memchr::{memchr, memchr2, memrchr};

use crate::sip::error::{ParseError, What};
use crate::sip::lex::{parse_u32, quoted_len, trim_end, trim_start};
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
    Malformed,
    /// There is more than one.
    Repeated,
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
        rest: head.get(from..).unwrap_or_default(),
        line_feeds: false,
        length: Length::Absent,
        flaw: None,
    };
    let (start, start_flaw) = pass.start_line()?;
    pass.flaw = pass.flaw.or(start_flaw);
    pass.fields(fields)?;
    if pass.rest.is_empty() && head.len() < raw.len() {
        return Err(ParseError::new(What::HeadersTooLarge, head.len()));
    }
    pass.check_nul(from);
    Ok(Index {
        start,
        from,
        body: pass.at(),
        length: pass.length,
        flaw: pass.flaw,
    })
}

struct Pass<'m> {
    head: &'m [u8],
    /// The end of it, from the next line on.
    rest: &'m [u8],
    /// The start line ended in a bare LF, so that all lines may.
    line_feeds: bool,
    length: Length,
    flaw: Option<ParseError>,
}

impl<'m> Pass<'m> {
    fn start_line(&mut self) -> Result<(StartLine<'m>, Option<ParseError>), ParseError> {
        let from = self.at();
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
            match self.rest {
                [b'\r', b'\n', body @ ..] | [b'\n', body @ ..] => {
                    self.rest = body;
                    return Ok(());
                }
                [] => {
                    self.flag(What::HeadersOpen, self.at());
                    return Ok(());
                }
                _ if fields.len() == HEADERS_MAX => {
                    return Err(ParseError::new(What::HeadersTooMany, self.at()));
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
        let start = self.at();
        let len = self
            .rest
            .iter()
            .position(|byte| *byte == b':' || *byte <= b' ')
            .unwrap_or(self.rest.len());
        let (spelled, mut after) = self.rest.split_at(len);
        // S-33: blanks may stand before the colon.
        while let [b' ' | b'\t', more @ ..] = after {
            after = more;
        }
        self.rest = after;
        let mut end = self.line_end();
        // S-33: a line that begins with a blank continues the one before.
        while let [b' ' | b'\t', ..] = self.rest {
            end = self.line_end();
        }
        let name = Name::of(spelled);
        let is_name = name != Name::Other || is_all_token(spelled);
        let (Ok(len), Some(value), true) = (u8::try_from(len), after.strip_prefix(b":"), is_name)
        else {
            self.flag(What::Line, start);
            return None;
        };
        let value = value
            .get(..end - (self.head.len() - value.len()))
            .unwrap_or_default();
        let value = trim_start(value);
        let value_start = end - value.len();
        let value = trim_end(value);
        if name == Name::ContentLength {
            self.content_length(start, value);
        }
        // A message is no larger than 16 bits can count.
        let place = |at: usize| u16::try_from(at).unwrap_or(u16::MAX);
        Some(Field {
            name,
            spelled: len,
            start: place(start),
            value: place(value_start),
            end: place(value_start + value.len()),
        })
    }

    fn content_length(&mut self, at: usize, value: &[u8]) {
        // S-26: two lengths are two messages to two readers, even if they are equal.
        if self.length != Length::Absent {
            self.flag(What::Repeated(Name::ContentLength), at);
            self.length = Length::Repeated;
            return;
        }
        let bytes = parse_u32(value).and_then(|bytes| usize::try_from(bytes).ok());
        self.length = bytes.map_or(Length::Malformed, Length::Bytes);
        if bytes.is_none() {
            self.flag(What::Malformed(Name::ContentLength), at);
        }
    }

    /// Moves to the next line; where this one ends comes back.
    #[inline]
    fn line_end(&mut self) -> usize {
        loop {
            let found = memchr2(b'\r', b'\n', self.rest).unwrap_or(self.rest.len());
            let (_, line_end) = self.rest.split_at(found);
            let end = self.head.len() - line_end.len();
            match line_end {
                [b'\r', b'\n', next @ ..] => {
                    self.rest = next;
                    return end;
                }
                [b'\n', next @ ..] => {
                    // In a message with CRLF a bare LF is somebody's hidden header field.
                    if !self.line_feeds {
                        self.flag(What::Control, end);
                    }
                    self.rest = next;
                    return end;
                }
                [_, next @ ..] => {
                    self.flag(What::Control, end);
                    self.rest = next;
                }
                [] => {
                    self.rest = &[];
                    return end;
                }
            }
        }
    }

    /// A NUL may stand only as a quoted pair in a quoted string.
    fn check_nul(&mut self, from: usize) {
        let head = self.head.get(from..self.at()).unwrap_or_default();
        if memchr(0, head).is_some() && has_bare_nul(head) {
            self.flag(What::Control, from);
        }
    }

    /// The first byte of the next line.
    fn at(&self) -> usize {
        self.head.len() - self.rest.len()
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

fn is_all_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().copied().all(is_token)
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
    } else if spaced || bare.is_empty() || memchr2(b' ', b'\t', bare).is_some() {
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
