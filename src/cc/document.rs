//! The body `application/call-completion`: what a NOTIFY says of one queue entry.
//!
//! Spec: RFC 6910 §10; read as its errors in the field demand (LF alone, no last line end,
//! brackets around the URI), written as the standard has it.

use std::borrow::Cow;

use crate::cc::RecallState;
use crate::cc::addr::AddrSpec;

/// The media type, also the default where a SUBSCRIBE has no Accept (RFC 6910 §9.5).
pub const MEDIA_TYPE: &str = "application/call-completion";

/// The longest body that is read, in bytes: three lines fit many times over.
pub const BODY_MAX: usize = 16 * 1024;

/// The longest line that is read, in bytes, its folds included.
pub const LINE_MAX: usize = 4 * 1024;

/// What a document says.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Document {
    /// Whether the entry is selected; every NOTIFY of a living subscription says so.
    pub state: Option<RecallState>,
    /// Whether a failed CC call keeps the entry.
    pub retention: Retention,
    /// Where the CC call and the PUBLISH go.
    pub uri: Option<AddrSpec>,
}

/// Whether an entry outlives a CC call that failed: the retain option.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Retention {
    /// It ends with it.
    #[default]
    None,
    /// It stays, with its place.
    Kept,
}

/// Whether the subscription lives on after the NOTIFY that carries the document.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Life {
    /// Its expiration is not zero.
    Active,
    /// It is the last one.
    Terminated,
}

/// Why a body cannot be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Broken {
    /// A line has no name, no colon, or bytes that no line may have.
    #[error("a line is malformed")]
    BadLine,
    /// `cc-state` is neither queued nor ready.
    #[error("cc-state is unknown")]
    BadState,
    /// `cc-URI` is not a URI.
    #[error("cc-URI is not a URI")]
    BadUri,
    /// A defined line stands twice.
    #[error("a line stands twice")]
    Duplicate,
    /// A living subscription has no `cc-state`.
    #[error("cc-state is missing")]
    NoState,
    /// The body or a line is longer than allowed.
    #[error("the body is too long")]
    TooLong,
}

impl Document {
    /// Reads a body; `life` is what the Subscription-State of its NOTIFY says.
    pub fn parse(body: &[u8], life: Life) -> Result<Self, Broken> {
        if body.len() > BODY_MAX {
            return Err(Broken::TooLong);
        }
        let mut document = Self::default();
        let mut seen = Seen::default();
        let mut lines = Lines(body);
        while let Some(line) = lines.next()? {
            document.take(&line, &mut seen)?;
        }
        // CC-61: the state is the point of the document. CC-62: after the end it may be missing.
        if life == Life::Active && document.state.is_none() {
            return Err(Broken::NoState);
        }
        Ok(document)
    }

    /// Appends the body.
    ///
    /// CC-57, CC-58: every NOTIFY of ours has one, and always with `cc-state`: old chan_sip answers
    /// 400 to a last NOTIFY without it.
    pub fn write(&self, out: &mut Vec<u8>) {
        if let Some(state) = self.state {
            let value = match state {
                RecallState::Queued => "queued",
                RecallState::Ready => "ready",
            };
            write_line(out, "cc-state", value);
        }
        match self.retention {
            // CC-40: its presence is the announcement; there is no value for "no".
            Retention::Kept => write_line(out, "cc-service-retention", "true"),
            Retention::None => {}
        }
        if let Some(uri) = &self.uri {
            write_line(out, "cc-URI", uri.as_str());
        }
    }

    fn take(&mut self, line: &[u8], seen: &mut Seen) -> Result<(), Broken> {
        let colon = line.iter().position(|b| *b == b':');
        let (name, value) = colon
            .and_then(|at| line.split_at_checked(at))
            .ok_or(Broken::BadLine)?;
        let name = name.trim_ascii_end();
        if name.is_empty() || !name.iter().all(|b| is_token(*b)) {
            return Err(Broken::BadLine);
        }
        let value = value.strip_prefix(b":").unwrap_or(value).trim_ascii();
        // CC-68: names in any case; other names mean nothing to us, whatever they carry.
        if name.eq_ignore_ascii_case(b"cc-state") {
            once(&mut seen.state)?;
            self.state = Some(parse_state(value)?);
        } else if name.eq_ignore_ascii_case(b"cc-service-retention") {
            once(&mut seen.retention)?;
            if value.eq_ignore_ascii_case(b"true") {
                self.retention = Retention::Kept;
            }
        } else if name.eq_ignore_ascii_case(b"cc-uri") {
            once(&mut seen.uri)?;
            self.uri = Some(parse_uri(value)?);
        }
        Ok(())
    }
}

/// Which of the defined lines were there.
#[derive(Default)]
struct Seen {
    state: Option<()>,
    retention: Option<()>,
    uri: Option<()>,
}

fn once(seen: &mut Option<()>) -> Result<(), Broken> {
    match seen.replace(()) {
        None => Ok(()),
        Some(()) => Err(Broken::Duplicate),
    }
}

/// What is left of a body.
struct Lines<'b>(&'b [u8]);

impl<'b> Lines<'b> {
    /// The next line with its folds undone; blank lines are passed over.
    fn next(&mut self) -> Result<Option<Cow<'b, [u8]>>, Broken> {
        while !self.0.is_empty() {
            let first = self.physical()?;
            if first.trim_ascii().is_empty() {
                continue;
            }
            if first.first().is_some_and(|b| is_blank(*b)) {
                return Err(Broken::BadLine);
            }
            let mut line = Cow::Borrowed(first);
            // CC-68: a line goes on where the next one begins with white space.
            while self.0.first().is_some_and(|b| is_blank(*b)) {
                line.to_mut().push(b' ');
                line.to_mut()
                    .extend_from_slice(self.physical()?.trim_ascii());
            }
            let fits = line.len() <= LINE_MAX;
            return fits.then_some(Some(line)).ok_or(Broken::TooLong);
        }
        Ok(None)
    }

    /// Up to the next line end, CR LF or LF alone.
    fn physical(&mut self) -> Result<&'b [u8], Broken> {
        let end = self.0.iter().position(|b| *b == b'\n');
        let (line, after) = end
            .and_then(|at| self.0.split_at_checked(at))
            .unwrap_or((self.0, b""));
        self.0 = after.strip_prefix(b"\n").unwrap_or(after);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.iter().any(|b| matches!(b, b'\r' | b'\0')) {
            return Err(Broken::BadLine);
        }
        Ok(line)
    }
}

fn parse_state(value: &[u8]) -> Result<RecallState, Broken> {
    if value.eq_ignore_ascii_case(b"queued") {
        Ok(RecallState::Queued)
    } else if value.eq_ignore_ascii_case(b"ready") {
        Ok(RecallState::Ready)
    } else {
        Err(Broken::BadState)
    }
}

/// CC-69: all up to the line's end is the URI, parameters that nobody knows included.
fn parse_uri(value: &[u8]) -> Result<AddrSpec, Broken> {
    let bare = match value.strip_prefix(b"<") {
        Some(inside) => {
            let close = inside.iter().position(|b| *b == b'>');
            let (uri, _) = close
                .and_then(|at| inside.split_at_checked(at))
                .ok_or(Broken::BadUri)?;
            uri
        }
        None => value,
    };
    let text = str::from_utf8(bare).map_err(|_| Broken::BadUri)?;
    AddrSpec::new(text).map_err(|_| Broken::BadUri)
}

fn write_line(out: &mut Vec<u8>, name: &str, value: &str) {
    for part in [name, ": ", value, "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// RFC 3261 §25.1, `token`.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &str) -> Result<Document, Broken> {
        Document::parse(body.as_bytes(), Life::Active)
    }

    fn uri_of(body: &str) -> Option<String> {
        let document = parse(body).expect("a document");
        document.uri.map(|uri| uri.as_str().to_owned())
    }

    #[test]
    fn the_document_of_the_standard_is_read_and_written_back() {
        let body = "cc-state: queued\r\ncc-service-retention: true\r\n\
                    cc-URI: sip:cce-42@biloxi.example;gr\r\n";
        let document = parse(body).expect("a document");
        assert_eq!(document.state, Some(RecallState::Queued));
        // CC-40
        assert_eq!(document.retention, Retention::Kept);
        let mut out = Vec::new();
        document.write(&mut out);
        // CC-58
        assert_eq!(String::from_utf8(out).as_deref(), Ok(body));
    }

    #[test]
    fn names_in_any_case_folds_and_unknown_lines_are_read() {
        let body = "X-Odd: \u{e9}\nCC-STATE :\r\n\tREADY\r\nSubject:\n";
        let document = parse(body).expect("a document");
        // CC-68
        assert_eq!(document.state, Some(RecallState::Ready));
        assert_eq!(document.retention, Retention::None);
    }

    #[test]
    fn line_feeds_alone_and_a_missing_last_line_end_are_read() {
        assert_eq!(
            uri_of("cc-state: ready\ncc-URI:sip:a@b.example").as_deref(),
            Some("sip:a@b.example")
        );
    }

    #[test]
    fn a_line_that_stands_twice_spoils_the_body() {
        for line in [
            "cc-state: ready",
            "cc-service-retention: true",
            "cc-URI: sip:a@b",
        ] {
            let body = format!("cc-state: queued\r\n{line}\r\n{line}\r\n");
            // CC-68
            assert_eq!(parse(&body), Err(Broken::Duplicate), "{line}");
        }
    }

    #[test]
    fn unknown_parameters_of_the_uri_are_kept() {
        let uri = "sip:cce-42@b.example;m=BS;gr;odd=%41;lr";
        // CC-69
        let bare = format!("cc-state: ready\r\ncc-URI: {uri}\r\n");
        assert_eq!(uri_of(&bare).as_deref(), Some(uri));
        let bracketed = format!("cc-state: ready\r\ncc-URI: <{uri}>;note=1\r\n");
        assert_eq!(uri_of(&bracketed).as_deref(), Some(uri));
    }

    #[test]
    fn a_living_subscription_must_say_its_state_and_an_ended_one_need_not() {
        for body in ["", "\r\n", "cc-URI: sip:a@b.example\r\n"] {
            // CC-61
            assert_eq!(parse(body), Err(Broken::NoState));
            // CC-62
            assert!(Document::parse(body.as_bytes(), Life::Terminated).is_ok());
        }
    }

    #[test]
    fn what_cannot_be_understood_is_refused() {
        for (body, why) in [
            ("cc-state: busy\r\n", Broken::BadState),
            ("cc-state: ready\r\ncc-URI: bob\r\n", Broken::BadUri),
            (
                "cc-state: ready\r\ncc-URI: <sip:b@b.example\r\n",
                Broken::BadUri,
            ),
            ("cc-state: ready\r\nno colon\r\n", Broken::BadLine),
            (" cc-state: ready\r\n", Broken::BadLine),
            ("cc-state: ready\r\nx: \0\r\n", Broken::BadLine),
            ("cc-state: ready\rx: y\r\n", Broken::BadLine),
            (": ready\r\n", Broken::BadLine),
        ] {
            assert_eq!(parse(body), Err(why), "{body:?}");
        }
    }

    #[test]
    fn a_huge_line_or_body_is_refused() {
        let line = format!("cc-state: ready\r\nx: {}\r\n", "y".repeat(LINE_MAX));
        assert_eq!(parse(&line), Err(Broken::TooLong));
        let body = format!("cc-state: ready\r\n{}", "x: y\r\n".repeat(BODY_MAX / 6));
        assert_eq!(parse(&body), Err(Broken::TooLong));
        let folds = format!("cc-state: ready\r\nx: y\r\n{}", " y\r\n".repeat(LINE_MAX));
        assert_eq!(parse(&folds), Err(Broken::TooLong));
    }

    #[test]
    fn every_document_that_we_write_says_its_state() {
        let mut out = Vec::new();
        let document = Document {
            state: Some(RecallState::Ready),
            ..Document::default()
        };
        document.write(&mut out);
        // CC-57
        assert_eq!(out, b"cc-state: ready\r\n");
    }
}
