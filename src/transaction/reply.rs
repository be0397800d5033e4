//! What a response takes over from its request, and where it goes.
//!
//! Spec: RFC 3261 §8.2.6, §12.1.1, §18.2.1–18.2.2; RFC 3581 §4.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};

use crate::sip::flow::Flow;
use crate::sip::status::Status;
use crate::sip::{Host, Message, Name, NameAddr, Request, Via, Writer};

/// What follows the head of a response with no header lines of its own and no body.
pub const NOTHING: &[u8] = b"Content-Length: 0\r\n\r\n";

/// The default port of SIP over UDP and TCP.
const PORT: u16 = 5060;

/// The header lines that every response to a request repeats, To last and without its line end, so
/// that a tag can follow.
///
/// Vias come with `received` and `rport` filled in; Record-Route is taken over for responses that
/// make a dialog (S-13).
pub fn head(request: &Request<'_>, flow: &Flow) -> Box<[u8]> {
    let mut out = Vec::with_capacity(512);
    write_head(&mut out, &request.message, Some(&request.via), flow);
    out.into_boxed_slice()
}

/// As [`head`], of a message that may lack or garble any of the lines.
pub fn write_head(
    out: &mut Vec<u8>,
    message: &Message<'_>,
    top_via: Option<&Via<'_>>,
    flow: &Flow,
) {
    let mut top_via = top_via;
    for value in message.fields(Name::Via) {
        out.extend_from_slice(b"Via: ");
        match top_via.take() {
            Some(via) => {
                write_top_via(out, via, flow);
                out.extend_from_slice(value.get(via.text.len()..).unwrap_or_default());
            }
            None => unfold(out, value),
        }
        out.extend_from_slice(b"\r\n");
    }
    for name in [
        Name::RecordRoute,
        Name::Timestamp,
        Name::From,
        Name::CallId,
        Name::CSeq,
    ] {
        for value in message.fields(name) {
            line(out, name, value);
            out.extend_from_slice(b"\r\n");
        }
    }
    if let Some(to) = message.first(Name::To) {
        line(out, Name::To, to);
    }
}

/// Writes what follows the head of a response: header lines of its own, the blank line and the body.
pub fn rest<'s>(
    scratch: &'s mut Vec<u8>,
    write: impl FnOnce(&mut Writer<'_>),
    body: &[u8],
) -> &'s [u8] {
    scratch.clear();
    let mut writer = Writer::fragment(scratch);
    write(&mut writer);
    match writer.finish(body) {
        Ok(range) => scratch.get(range).unwrap_or_default(),
        // A value that must not be sent on is left out with all the others.
        Err(_) => NOTHING,
    }
}

/// Where a response goes: back over the connection, else to the source when asked by `rport`
/// (S-80), else to the source's address and the port of the Via (S-25).
pub fn destination(via: &Via<'_>, flow: &Flow) -> Flow {
    if flow.transport.is_reliable() || via.rport().is_some() {
        return *flow;
    }
    let port = via.port.unwrap_or(PORT);
    Flow {
        remote: SocketAddr::new(flow.remote.ip(), port),
        ..*flow
    }
}

/// Appends a whole response: status line, head, tag, then `rest`, which are header lines, the
/// blank line and the body. `server` says who answers, as a header line, unless `rest` does.
pub fn compose(
    out: &mut Vec<u8>,
    line: (Status, &[u8]),
    (head, server): (&[u8], &[u8]),
    tag: Tag<'_>,
    rest: &[u8],
) {
    let (status, phrase) = line;
    let phrase = if phrase.is_empty() {
        status.phrase().as_bytes()
    } else {
        phrase
    };
    let mut code = itoa::Buffer::new();
    out.extend_from_slice(b"SIP/2.0 ");
    out.extend_from_slice(code.format(status.code()).as_bytes());
    out.push(b' ');
    out.extend_from_slice(phrase);
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(head);
    if let Tag::Ours(tag) = tag {
        out.extend_from_slice(b";tag=");
        out.extend_from_slice(tag);
    }
    out.extend_from_slice(b"\r\n");
    if !server.is_empty() && !names_server(rest) {
        out.extend_from_slice(server);
    }
    out.extend_from_slice(rest);
}

/// The header line by which we name ourselves in responses; empty for nobody.
pub fn server_line(name: Option<&str>) -> Box<[u8]> {
    let line = name.map(|name| format!("{}: {name}\r\n", Name::Server.as_str()));
    line.unwrap_or_default().into_bytes().into()
}

/// Whether whoever is behind us has named himself, in a response of his that crosses.
fn names_server(rest: &[u8]) -> bool {
    rest.starts_with(b"Server:") || memchr::memmem::find(rest, b"\r\nServer:").is_some()
}

/// The To tag of a response (S-12).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Tag<'t> {
    /// The request had one, or the response is 100.
    AsReceived,
    /// Ours, where the request had none.
    Ours(&'t [u8]),
}

/// Whether a To header has a tag, as far as it can be read.
pub fn has_tag(to: &[u8]) -> bool {
    NameAddr::parse(to).is_ok_and(|to| to.tag().is_some())
}

fn line(out: &mut Vec<u8>, name: Name, value: &[u8]) {
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
    unfold(out, value);
}

/// A folded value becomes one line.
fn unfold(out: &mut Vec<u8>, value: &[u8]) {
    if memchr::memchr2(b'\r', b'\n', value).is_none() {
        out.extend_from_slice(value);
        return;
    }
    let unfolded = value.iter().map(|byte| match byte {
        b'\r' | b'\n' => b' ',
        other => *other,
    });
    out.extend(unfolded);
}

fn write_top_via(out: &mut Vec<u8>, via: &Via<'_>, flow: &Flow) {
    let asked = via.rport().is_some();
    // S-25: `received` is added when sent-by is not where the request came from; S-80: and always
    // with `rport`.
    if !asked && is_host(&via.host, flow.remote.ip()) {
        unfold(out, via.text);
        return;
    }
    let start = out.len();
    unfold(out, via.text);
    // Both parameters are ours to set: what the sender put there is taken out first.
    for name in ["received", "rport"] {
        remove_param(out, start, name);
    }
    let _written = write!(out, ";received={}", flow.remote.ip());
    if asked {
        let _written = write!(out, ";rport={}", flow.remote.port());
    }
}

fn is_host(host: &Host<'_>, address: IpAddr) -> bool {
    match host {
        Host::V4(host) => address == IpAddr::V4(*host),
        Host::V6(host) => address == IpAddr::V6(*host),
        Host::Name(_) => false,
    }
}

/// Takes `;name` or `;name=value` out of the Via that starts at `start`.
fn remove_param(out: &mut Vec<u8>, start: usize, name: &str) {
    let via = out.get(start..).unwrap_or_default();
    let mut at = 0;
    for piece in via.split(|byte| *byte == b';') {
        let key = piece.split(|byte| *byte == b'=').next();
        if at > 0 && key.is_some_and(|key| key.trim_ascii().eq_ignore_ascii_case(name.as_bytes())) {
            let from = start + at - 1;
            out.drain(from..from + 1 + piece.len());
            return;
        }
        at += piece.len() + 1;
    }
}
