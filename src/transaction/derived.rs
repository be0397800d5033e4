//! The ACK of a failure and the CANCEL: requests that repeat the INVITE they belong to.
//!
//! Spec: RFC 3261 §17.1.1.3 (S-03), §9.1 (S-08).

use crate::sip::method::Method;
use crate::sip::{Message, Name, Scratch, StartLine, Writer};

/// Appends the ACK of a failure response whose To header is `to`.
pub(super) fn write_ack(out: &mut Vec<u8>, scratch: &mut Scratch, invite: &[u8], to: &[u8]) {
    write(out, scratch, invite, Method::Ack, |writer, message| {
        writer.header(Name::To, to);
        copy(writer, message, &[Name::CallId]);
    });
}

/// Appends the CANCEL of an INVITE, with this Reason unless it is empty.
pub(super) fn write_cancel(out: &mut Vec<u8>, scratch: &mut Scratch, invite: &[u8], reason: &[u8]) {
    write(out, scratch, invite, Method::Cancel, |writer, message| {
        copy(writer, message, &[Name::To, Name::CallId]);
        if !reason.is_empty() {
            writer.header(Name::Reason, reason);
        }
    });
}

fn write(
    out: &mut Vec<u8>,
    scratch: &mut Scratch,
    invite: &[u8],
    method: Method<'_>,
    middle: impl FnOnce(&mut Writer<'_>, &Message<'_>),
) {
    let message = Message::parse(invite, scratch).expect("our own INVITE is well formed");
    let StartLine::Request { uri, .. } = message.start() else {
        return;
    };
    let mut writer = Writer::request(out, method, uri);
    // The top Via is the INVITE's, branch included, and there is only ours.
    copy(&mut writer, &message, &[Name::Via, Name::Route]);
    writer.header(Name::MaxForwards, b"70");
    copy(&mut writer, &message, &[Name::From]);
    middle(&mut writer, &message);
    let cseq = message.first(Name::CSeq).unwrap_or_default();
    let number = cseq
        .split(u8::is_ascii_whitespace)
        .next()
        .unwrap_or_default();
    writer.header_parts(Name::CSeq, &[number, b" ", method.as_str().as_bytes()]);
    writer
        .finish(b"")
        .expect("what an INVITE of ours holds passed the writer once");
}

fn copy(writer: &mut Writer<'_>, message: &Message<'_>, names: &[Name]) {
    for name in names {
        for value in message.fields(*name) {
            writer.header(*name, value);
        }
    }
}
