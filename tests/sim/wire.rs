//! What phones write on the wire.
//!
//! Spec: RFC 3261 §8.1.1, §8.2.6, §13.2.2.4, §17.1.1.3.

use std::net::SocketAddr;

use campon::time::Timestamp;

use super::transaction::Client;
use crate::flow::kit::message::{Message, uri_of};

/// The parts of a request that differ from one to the next.
#[derive(Debug)]
pub(crate) struct Parts<'p> {
    pub(crate) method: &'static str,
    pub(crate) uri: &'p str,
    pub(crate) branch: &'p str,
    pub(crate) from: &'p str,
    pub(crate) to: &'p str,
    pub(crate) call_id: &'p str,
    pub(crate) cseq: u32,
    /// Further header lines, each with its end.
    pub(crate) lines: &'p str,
    pub(crate) body: &'p str,
}

/// A request of the phone at this address.
pub(crate) fn request(address: SocketAddr, parts: &Parts<'_>) -> Message {
    let Parts {
        method,
        uri,
        branch,
        from,
        to,
        call_id,
        cseq,
        lines,
        body,
    } = parts;
    let contact = match *method {
        "INVITE" | "NOTIFY" | "REGISTER" | "SUBSCRIBE" => contact_of(address),
        _ => String::new(),
    };
    let content = content_of(method, body);
    whole(&format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {address};branch={branch};rport\r\n\
         Max-Forwards: 70\r\nFrom: {from}\r\nTo: {to}\r\nCall-ID: {call_id}\r\n\
         CSeq: {cseq} {method}\r\n{contact}{lines}{content}\r\n{body}"
    ))
}

/// A response of the phone at this address.
pub(crate) fn response(
    address: SocketAddr,
    request: &Message,
    (status, lines): (u16, &str),
    tag: &str,
    body: &str,
) -> Message {
    let vias = request.all("Via").join("\r\nVia: ");
    let to = request.header("To");
    let tag = if status == 100 || to.contains(";tag=") {
        String::new()
    } else {
        format!(";tag={tag}")
    };
    let makes_dialog = matches!(request.kind(), "INVITE" | "SUBSCRIBE");
    let contact = if makes_dialog && (101..400).contains(&status) {
        contact_of(address)
    } else {
        String::new()
    };
    let content = content_of(request.kind(), body);
    let (from, call_id) = (request.header("From"), request.call_id());
    let cseq = request.header("CSeq");
    whole(&format!(
        "SIP/2.0 {status} Simulated\r\nVia: {vias}\r\nFrom: {from}\r\nTo: {to}{tag}\r\nCall-ID: {call_id}\r\nCSeq: {cseq}\r\n\
         {contact}{lines}{content}\r\n{body}"
    ))
}

/// The ACK of a transaction that failed.
pub(crate) fn ack_of_failure(client: &Client, response: &Message) -> Message {
    let invite = &client.request;
    let (uri, via) = (invite.uri(), invite.header("Via"));
    let (from, to) = (invite.header("From"), response.header("To"));
    let (call_id, cseq) = (invite.call_id(), invite.cseq());
    whole(&format!(
        "ACK {uri} SIP/2.0\r\nVia: {via}\r\nMax-Forwards: 70\r\nFrom: {from}\r\nTo: {to}\r\n\
         Call-ID: {call_id}\r\nCSeq: {cseq} ACK\r\nContent-Length: 0\r\n\r\n"
    ))
}

/// The CANCEL of an INVITE.
pub(crate) fn cancel(invite: &Message) -> Message {
    let (uri, via) = (invite.uri(), invite.header("Via"));
    let (from, to) = (invite.header("From"), invite.header("To"));
    let (call_id, cseq) = (invite.call_id(), invite.cseq());
    whole(&format!(
        "CANCEL {uri} SIP/2.0\r\nVia: {via}\r\nMax-Forwards: 70\r\nFrom: {from}\r\nTo: {to}\r\n\
         Call-ID: {call_id}\r\nCSeq: {cseq} CANCEL\r\nContent-Length: 0\r\n\r\n"
    ))
}

/// Who wrote a request: host and port of its top Via.
pub(crate) fn sent_by(message: &Message) -> String {
    let via = message.list("Via");
    let top = via.first().copied().unwrap_or_default();
    let after = top.split_whitespace().nth(1).unwrap_or_default();
    after.split(';').next().unwrap_or_default().to_owned()
}

/// Where a Contact is.
pub(crate) fn address_of(contact: &str) -> SocketAddr {
    let uri = uri_of(contact);
    let after_scheme = uri.split_once(':').map_or(uri, |(_, rest)| rest);
    let place = after_scheme.rsplit('@').next().unwrap_or(after_scheme);
    let place = place.split(';').next().unwrap_or(place);
    let with_port = format!("{place}:5060");
    place
        .parse()
        .or_else(|_| with_port.parse())
        .unwrap_or_else(|_| panic!("no address in the Contact {contact}"))
}

/// A session description that names the call it is for.
pub(crate) fn session(call: &str, version: u32) -> String {
    format!(
        "v=0\r\no=- 1 {version} IN IP4 192.0.2.9\r\ns={call}\r\nc=IN IP4 192.0.2.9\r\n\
         t=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
    )
}

/// The call that a session description names.
pub(crate) fn session_name(message: &Message) -> Option<String> {
    let body = str::from_utf8(message.body()).ok()?;
    let line = body.lines().find_map(|line| line.strip_prefix("s="));
    line.map(str::to_owned)
}

/// What a phone wrote; the datagram says when it is sent.
fn whole(text: &str) -> Message {
    let read = Message::read(text.as_bytes(), Timestamp::START, None);
    read.expect("phones write whole messages")
}

fn contact_of(address: SocketAddr) -> String {
    format!("Contact: <sip:phone@{address}>\r\n")
}

fn content_of(method: &str, body: &str) -> String {
    let length = body.len();
    let media_type = match method {
        "NOTIFY" => "application/call-completion",
        "PUBLISH" => "application/pidf+xml",
        _ => "application/sdp",
    };
    if body.is_empty() {
        "Content-Length: 0\r\n".to_owned()
    } else {
        format!("Content-Type: {media_type}\r\nContent-Length: {length}\r\n")
    }
}
