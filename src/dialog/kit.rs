//! What the tests of dialogs' usages share: a place to send from, and messages from text.

use crate::dialog::tag::Tag;
use crate::dialog::turn::Turn;
use crate::random::Rng;
use crate::sip::{Checked, Flow, ListenerId, Message, Request, Response, Scratch, Transport};
use crate::table::Key;
use crate::time::Timestamp;
use crate::transaction::timing::Timing;
use crate::transaction::{Layer, User};

/// The peer's address.
pub(super) const PEER: &str = "127.0.0.9:5060";

/// Whoever asks.
pub(super) const USER: Option<User> = None;

/// A worker without sockets.
pub(super) struct Bench {
    pub(super) now: Timestamp,
    layer: Layer,
    pub(super) rng: Rng,
    scratch: Vec<u8>,
}

impl Bench {
    pub(super) fn new() -> Self {
        let sent_by = vec![Box::from(&b"127.0.0.1:5060"[..])];
        Self {
            now: Timestamp::START,
            layer: Layer::new(Timing::default(), sent_by, 10, Rng::from_number(1)),
            rng: Rng::from_number(2),
            scratch: Vec::new(),
        }
    }

    pub(super) fn turn(&mut self) -> Turn<'_> {
        Turn {
            now: self.now,
            layer: &mut self.layer,
            rng: &mut self.rng,
            scratch: &mut self.scratch,
        }
    }

    /// The one message that was sent.
    pub(super) fn sent(&mut self) -> Sent {
        let sending = self.layer.outbox().poll().expect("a message");
        let sent = Sent {
            to: sending.flow.remote.to_string(),
            text: str::from_utf8(sending.bytes).expect("text").to_owned(),
        };
        assert!(self.layer.outbox().poll().is_none(), "a second message");
        sent
    }
}

/// A message that was sent.
pub(super) struct Sent {
    pub(super) to: String,
    pub(super) text: String,
}

impl Sent {
    /// Its lines but the Via, which is the transaction's.
    pub(super) fn lines(&self) -> Vec<&str> {
        let lines = self.text.split("\r\n");
        lines.filter(|line| !line.starts_with("Via:")).collect()
    }

    pub(super) fn request(&self) -> Request<'static> {
        request(&self.text)
    }

    /// The value of the header field that is spelled so; empty if there is none.
    pub(super) fn value(&self, name: &str) -> String {
        let found = self.request().message.named(name).unwrap_or_default();
        String::from_utf8_lossy(found).into_owned()
    }
}

/// The way to the peer.
pub(super) fn flow() -> Flow {
    Flow {
        transport: Transport::Udp,
        listener: ListenerId(0),
        remote: PEER.parse().expect("an address"),
        connection: None,
    }
}

/// A tag of ours.
pub(super) fn tag() -> Tag {
    Tag {
        call: Key::from_bits(7),
        nonce: 9,
    }
}

/// The parameter that carries a tag.
pub(super) fn param(tag: Tag) -> String {
    format!(";tag={}", String::from_utf8_lossy(&tag.text()))
}

/// A message of these lines, without a body.
pub(super) fn text(lines: &[&str]) -> String {
    format!("{}\r\n\r\n", lines.join("\r\n"))
}

/// A request; its text is never freed, which a test can afford.
pub(super) fn request(text: &str) -> Request<'static> {
    match check(text) {
        Checked::Request(request) => request,
        Checked::Response(_) => panic!("a response"),
    }
}

/// A response; as [`request`].
pub(super) fn response(text: &str) -> Response<'static> {
    match check(text) {
        Checked::Request(_) => panic!("a request"),
        Checked::Response(response) => response,
    }
}

fn check(text: &str) -> Checked<'static> {
    let bytes: &'static [u8] = Box::leak(Box::from(text.as_bytes()));
    let scratch = Box::leak(Box::new(Scratch::new()));
    let message = Message::parse(bytes, scratch).expect("a message");
    Checked::check(message).expect("a message that can be acted on")
}
