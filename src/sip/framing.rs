//! Where one message of a stream ends and the next begins.
//!
//! Spec: RFC 3261 §7.5, §18.3; RFC 5626 §3.5.1, §4.4.1 (keep-alive).
//!
//! - A message ends where its only Content-Length says. Without a good one the place of the next
//!   message is unknown, and the connection is of no use any more.
//! - How the bytes were cut on their way does not matter.

use bytes::{Buf as _, Bytes, BytesMut};
use memchr::memchr;

use crate::sip::error::What;
use crate::sip::index::{Field, Length, index};
use crate::sip::message::{HEADER_BYTES_MAX, MESSAGE_MAX};
use crate::sip::name::Name;

/// How much a peer may send before a message is complete.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most bytes of the start line and the header fields.
    pub head_max: usize,
    /// Most bytes of a message.
    pub message_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_max: HEADER_BYTES_MAX,
            message_max: MESSAGE_MAX,
        }
    }
}

/// What a stream carries.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Frame {
    /// One message, from its first byte to the end of its body.
    Message(Bytes),
    /// A double line end between messages: the peer awaits a single one.
    Ping,
}

/// Why a stream cannot be read on: the connection is to be closed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FrameError {
    /// The rule that is broken.
    pub what: What,
    /// The start line and header fields, where they can be told: a request may be answered first.
    pub head: Option<Bytes>,
}

/// Cuts a stream into messages.
#[derive(Debug)]
pub struct Framer {
    limits: Limits,
    buffer: BytesMut,
    state: State,
    fields: Vec<Field>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Between messages.
    Gap,
    /// The head is not complete; it does not end before this many bytes.
    Head { searched: usize },
    /// The message has this many bytes.
    Body { len: usize },
    /// Nothing more is read.
    Broken(What),
}

/// What the line ends between two messages are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Gap {
    Ping,
    Open,
    Over,
}

impl Framer {
    /// A stream of which nothing has arrived.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            buffer: BytesMut::new(),
            state: State::Gap,
            fields: Vec::new(),
        }
    }

    /// Takes in what arrived; [`Self::next`] is to be called until it has no more.
    pub fn push(&mut self, bytes: &[u8]) {
        if !matches!(self.state, State::Broken(_)) {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The next frame; `None` if more bytes are needed.
    ///
    /// After an error every call has the same one, without the head.
    #[expect(
        clippy::should_implement_trait,
        reason = "a stream that may go on is no iterator"
    )]
    pub fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        loop {
            match self.state {
                State::Gap => match self.skip_gap() {
                    Gap::Ping => return Ok(Some(Frame::Ping)),
                    Gap::Open => return Ok(None),
                    Gap::Over => self.state = State::Head { searched: 0 },
                },
                State::Head { searched } => match self.head_len(searched)? {
                    Some(len) => self.on_head(len)?,
                    None => return Ok(None),
                },
                State::Body { len } if len <= self.buffer.len() => {
                    self.state = State::Gap;
                    return Ok(Some(Frame::Message(self.buffer.split_to(len).freeze())));
                }
                State::Body { .. } => return Ok(None),
                State::Broken(what) => return Err(FrameError { what, head: None }),
            }
        }
    }

    /// Whether a message has begun and not ended.
    pub fn is_midway(&self) -> bool {
        self.buffer
            .iter()
            .any(|byte| !matches!(byte, b'\r' | b'\n'))
    }

    /// Drops line ends before a message, up to a double one.
    fn skip_gap(&mut self) -> Gap {
        loop {
            let (len, gap) = match &*self.buffer {
                // S-83: two line ends are a ping.
                [b'\r', b'\n', b'\r', b'\n', ..] => (4, Gap::Ping),
                // Half a ping, or the answer to one of ours.
                [] | [b'\r'] | [b'\r', b'\n'] | [b'\r', b'\n', b'\r'] => return Gap::Open,
                [b'\r', b'\n', ..] => (2, Gap::Open),
                [b'\n', ..] => (1, Gap::Open),
                _ => return Gap::Over,
            };
            self.buffer.advance(len);
            if gap == Gap::Ping {
                return gap;
            }
        }
    }

    fn head_len(&mut self, searched: usize) -> Result<Option<usize>, FrameError> {
        let mut at = searched;
        while let Some(found) = memchr(b'\n', self.buffer.get(at..).unwrap_or_default()) {
            let line = at + found + 1;
            let blank = match self.buffer.get(line..).unwrap_or_default() {
                [b'\n', ..] => 1,
                [b'\r', b'\n', ..] => 2,
                _ => 0,
            };
            if blank > 0 && line + blank <= self.limits.head_max {
                return Ok(Some(line + blank));
            }
            at = line;
        }
        if self.buffer.len() >= self.limits.head_max {
            return Err(self.fail(What::HeadersTooLarge, None));
        }
        // The line end that was seen last may belong to the empty line.
        let searched = match &*self.buffer {
            [.., b'\n', b'\r'] => self.buffer.len() - 2,
            [.., b'\n'] => self.buffer.len() - 1,
            _ => self.buffer.len(),
        };
        self.state = State::Head { searched };
        Ok(None)
    }

    fn on_head(&mut self, head_len: usize) -> Result<(), FrameError> {
        let head = self.buffer.get(..head_len).unwrap_or_default();
        let length = match index(head, &mut self.fields) {
            Ok(index) => index.length,
            Err(error) => return Err(self.fail(error.what, None)),
        };
        // S-26: on a stream Content-Length is mandatory, and there is only one.
        let what = match length {
            Length::Bytes(bytes) if bytes <= self.limits.message_max.saturating_sub(head_len) => {
                self.state = State::Body {
                    len: head_len + bytes,
                };
                return Ok(());
            }
            Length::Bytes(_) => What::MessageTooLarge,
            Length::Absent => What::Missing(Name::ContentLength),
            Length::Malformed => What::Malformed(Name::ContentLength),
            Length::Repeated => What::Repeated(Name::ContentLength),
        };
        let head = self.buffer.split_to(head_len).freeze();
        Err(self.fail(what, Some(head)))
    }

    fn fail(&mut self, what: What, head: Option<Bytes>) -> FrameError {
        self.state = State::Broken(what);
        self.buffer = BytesMut::new();
        FrameError { what, head }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "OPTIONS sip:a SIP/2.0\r\nContent-Length: 4\r\n\r\n\r\n\r\n";
    const SECOND: &str = "SIP/2.0 200 OK\nl:0\n\n";

    fn all(framer: &mut Framer) -> Result<Vec<Frame>, FrameError> {
        let mut frames = Vec::new();
        while let Some(frame) = framer.next()? {
            frames.push(frame);
        }
        Ok(frames)
    }

    fn message(text: &'static str) -> Frame {
        Frame::Message(Bytes::from_static(text.as_bytes()))
    }

    fn fails(text: &str) -> FrameError {
        let mut framer = Framer::new(Limits::default());
        framer.push(text.as_bytes());
        let error = all(&mut framer).unwrap_err();
        framer.push(FIRST.as_bytes());
        assert_eq!(framer.next().unwrap_err().what, error.what);
        error
    }

    #[test]
    fn messages_and_pings_come_in_order_however_they_are_cut() {
        let stream = format!("\r\n{FIRST}{SECOND}\r\n\r\n\r\n{FIRST}\r\n");
        let expected = [message(FIRST), message(SECOND), Frame::Ping, message(FIRST)];
        for size in 1..=stream.len() {
            let mut framer = Framer::new(Limits::default());
            let mut frames = Vec::new();
            for chunk in stream.as_bytes().chunks(size) {
                framer.push(chunk);
                frames.extend(all(&mut framer).unwrap());
            }
            assert_eq!(frames, expected, "{size}"); // S-26, S-83
            assert!(!framer.is_midway());
        }
    }

    #[test]
    fn an_unfinished_message_is_midway() {
        let mut framer = Framer::new(Limits::default());
        assert!(!framer.is_midway());
        for (chunk, midway) in [("\r\n", false), ("OPTIONS", true)] {
            framer.push(chunk.as_bytes());
            assert_eq!(framer.next(), Ok(None));
            assert_eq!(framer.is_midway(), midway);
        }
        framer.push(b" sip:a SIP/2.0\r\nl: 2\r\n\r\nx");
        assert_eq!(framer.next(), Ok(None));
        assert!(framer.is_midway());
    }

    #[test]
    fn without_one_good_content_length_the_stream_ends() {
        for (lines, what) in [
            ("", What::Missing(Name::ContentLength)),
            ("l: -1\r\n", What::Malformed(Name::ContentLength)),
            (
                "l: 99999999999999999999\r\n",
                What::Malformed(Name::ContentLength),
            ),
            (
                "l: 0\r\nContent-Length: 0\r\n",
                What::Repeated(Name::ContentLength),
            ),
            (
                "l: x\r\nContent-Length: 0\r\n",
                What::Repeated(Name::ContentLength),
            ),
            ("l: 65535\r\n", What::MessageTooLarge),
        ] {
            let head = format!("OPTIONS sip:a SIP/2.0\r\n{lines}\r\n");
            let error = fails(&format!("{head}{FIRST}"));
            assert_eq!(error.what, what, "{lines}"); // S-26
            assert_eq!(error.head.as_deref(), Some(head.as_bytes()));
        }
    }

    #[test]
    fn what_is_not_sip_ends_the_stream() {
        let error = fails("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(
            error,
            FrameError {
                what: What::NotSip,
                head: None
            }
        );
    }

    #[test]
    fn a_head_without_end_ends_the_stream() {
        let line = "a: b\r\n".repeat(HEADER_BYTES_MAX / 6 + 1);
        let error = fails(&format!("OPTIONS sip:a SIP/2.0\r\n{line}\r\n"));
        assert_eq!(error.what, What::HeadersTooLarge);
        assert_eq!(
            fails(&"a".repeat(HEADER_BYTES_MAX)).what,
            What::HeadersTooLarge
        );
    }
}
