//! Dialogs as bytes, for a process after this one.
//!
//! Numbers are big-endian; texts are preceded by their length in two bytes. A flow's connection ends
//! with its process, and the peer is reached at its address.

use std::net::{IpAddr, SocketAddr};

use crate::dialog::identity::{Dialog, Parts, Reach};
use crate::dialog::tag::Tag;
use crate::sip::flow::{Flow, ListenerId, Transport};
use crate::table::Key;

/// How many numbers of our requests are kept at once: what is written says a number that was not used
/// yet, so that a later process does not use one again (RFC 3261 §12.2.1.1).
pub const RESERVED: u32 = 100;

/// Takes bytes from the front.
pub fn take<const N: usize>(from: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, after) = from.split_first_chunk()?;
    *from = after;
    Some(*bytes)
}

/// Takes a text from the front.
pub fn take_text<'b>(from: &mut &'b [u8]) -> Option<&'b [u8]> {
    let length = u16::from_be_bytes(take(from)?);
    let (text, after) = from.split_at_checked(length.into())?;
    *from = after;
    Some(text)
}

/// Writes a text behind its length; nothing, if it is longer than a message.
pub fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    let length = u16::try_from(text.len());
    out.extend_from_slice(&length.unwrap_or_default().to_be_bytes());
    out.extend_from_slice(if length.is_ok() { text } else { b"" });
}

/// The number after which a later process goes on.
pub fn reserved_from(cseq: u32) -> u32 {
    (cseq / RESERVED + 2) * RESERVED
}

/// Writes a flow; listeners are named by their addresses, as their order may change.
pub fn put_flow(out: &mut Vec<u8>, flow: &Flow, listeners: &[SocketAddr]) {
    out.push(match flow.transport {
        Transport::Udp => 0,
        Transport::Tcp => 1,
        Transport::Tls => 2,
    });
    let nowhere = SocketAddr::new(IpAddr::from([0; 4]), 0);
    let listener = listeners.get(usize::from(flow.listener.0));
    put_address(out, listener.copied().unwrap_or(nowhere));
    put_address(out, flow.remote);
}

/// What [`put_flow`] wrote; `None` if we do not listen there any more.
pub fn take_flow(from: &mut &[u8], listeners: &[SocketAddr]) -> Option<Flow> {
    let transport = match take(from)? {
        [0] => Transport::Udp,
        [1] => Transport::Tcp,
        [2] => Transport::Tls,
        _ => return None,
    };
    let ours = take_address(from)?;
    let remote = take_address(from)?;
    let at = listeners.iter().position(|it| *it == ours)?;
    Some(Flow {
        transport,
        listener: ListenerId(u8::try_from(at).ok()?),
        remote,
        connection: None,
    })
}

fn put_address(out: &mut Vec<u8>, address: SocketAddr) {
    match address.ip() {
        IpAddr::V4(ip) => {
            out.push(4);
            out.extend_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            out.push(6);
            out.extend_from_slice(&ip.octets());
        }
    }
    out.extend_from_slice(&address.port().to_be_bytes());
}

fn take_address(from: &mut &[u8]) -> Option<SocketAddr> {
    let ip = match take(from)? {
        [4] => IpAddr::from(take::<4>(from)?),
        [6] => IpAddr::from(take::<16>(from)?),
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_be_bytes(take(from)?)))
}

impl Dialog {
    /// Writes it for a later process, whose requests go on after this number.
    pub fn put(&self, out: &mut Vec<u8>, listeners: &[SocketAddr], cseq: u32) {
        let Parts {
            texts,
            tag,
            remote_cseq,
            flow,
            reach,
        } = self.parts();
        out.push(match reach {
            Reach::Address => 0,
            Reach::Flow => 1,
            Reach::Host => 2,
        });
        put_flow(out, &flow, listeners);
        out.extend_from_slice(&tag.call.to_bits().to_be_bytes());
        out.extend_from_slice(&tag.nonce.to_be_bytes());
        out.extend_from_slice(&cseq.to_be_bytes());
        out.push(u8::from(remote_cseq.is_some()));
        out.extend_from_slice(&remote_cseq.unwrap_or_default().to_be_bytes());
        for text in texts {
            put_text(out, text);
        }
    }

    /// What [`Self::put`] wrote; `None` for anything else, or if we do not listen there any more.
    pub fn take(from: &mut &[u8], listeners: &[SocketAddr]) -> Option<Self> {
        let reach = match take(from)? {
            [0] => Reach::Address,
            [1] => Reach::Flow,
            [2] => Reach::Host,
            _ => return None,
        };
        let flow = take_flow(from, listeners)?;
        let tag = Tag {
            call: Key::from_bits(u64::from_be_bytes(take(from)?)),
            nonce: u64::from_be_bytes(take(from)?),
        };
        let cseq = u32::from_be_bytes(take(from)?);
        let [has_remote] = take(from)?;
        let remote = u32::from_be_bytes(take(from)?);
        let mut texts: [&[u8]; 6] = [b""; 6];
        for text in &mut texts {
            *text = take_text(from)?;
        }
        let parts = Parts {
            texts,
            tag,
            remote_cseq: (has_remote != 0).then_some(remote),
            flow,
            reach,
        };
        // Longer than a message is what nobody wrote.
        let length: usize = texts.iter().map(|text| text.len()).sum();
        u16::try_from(length)
            .is_ok()
            .then(|| Self::of_parts(&parts, cseq))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialog::kit::{flow, request, tag, text};

    fn dialog() -> Dialog {
        let lines = [
            "SUBSCRIBE sip:cc-1@127.0.0.1 SIP/2.0",
            "Via: SIP/2.0/UDP 127.0.0.9;branch=z9hG4bK1",
            "From: \"Alice\" <sip:alice@a.example>;tag=a1",
            "To: <sip:bob@b.example>",
            "Call-ID: cc-1@a",
            "CSeq: 41 SUBSCRIBE",
            "Contact: <sip:alice@127.0.0.9>",
            "Record-Route: <sip:127.0.0.5;lr>, <sip:127.0.0.6;lr>",
        ];
        Dialog::of_server(&request(&text(&lines)), &flow(), tag())
    }

    fn listeners() -> Vec<SocketAddr> {
        let ours = SocketAddr::from(([127, 0, 0, 1], 5060));
        let at = usize::from(flow().listener.0);
        let mut all = vec![SocketAddr::from(([127, 0, 0, 2], 5060)); at];
        all.push(ours);
        all
    }

    #[test]
    fn a_dialog_goes_on_in_a_later_process() {
        let mut bytes = Vec::new();
        dialog().put(&mut bytes, &listeners(), 200);
        let mut turned = listeners();
        turned.insert(0, SocketAddr::from(([127, 0, 0, 3], 5060)));
        let mut from = &bytes[..];
        let mut read = Dialog::take(&mut from, &turned).expect("a dialog");
        assert_eq!(from, b"");
        assert_eq!(read.tag(), tag());
        assert!(read.is(b"cc-1@a", tag(), b"a1"));
        assert_eq!(read.request_uri(), b"sip:alice@127.0.0.9");
        // Its listener has another number now.
        assert_eq!(usize::from(read.flow().listener.0), turned.len() - 1);
        assert_eq!(read.flow().remote, dialog().flow().remote);
        assert_eq!((read.next_cseq(), read.remote_cseq()), (201, 41));
        assert_eq!(
            Dialog::take(&mut &bytes[..], &turned[..1]).map(|_| ()),
            None
        );
    }

    #[test]
    fn a_cut_dialog_is_none() {
        let mut bytes = Vec::new();
        dialog().put(&mut bytes, &listeners(), 200);
        for length in 0..bytes.len() {
            let read = Dialog::take(&mut &bytes[..length], &listeners());
            assert!(read.is_none(), "{length} bytes");
        }
    }

    #[test]
    fn numbers_are_reserved_a_hundred_at_a_time() {
        assert_eq!(
            [0, 1, 99, 100, 250].map(reserved_from),
            [200, 200, 200, 300, 400]
        );
    }
}
