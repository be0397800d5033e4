//! The names of our leg of what a peer began: Call-ID and tag, made from those that the peer chose.
//!
//! Spec: RFC 3261 §22.2, §22.3 (S-29); RULES R3.
//!
//! A request that is challenged comes again with credentials, and whoever asked for them expects the
//! same Call-ID and From tag. Keyed digests give the same names again, so that nothing is kept of a
//! request that was refused; nobody else can foresee them, nor lead two phones' names together.

use crate::dialog::tag::Tag;
use crate::random::Rng;
use crate::sip::Request;
use crate::sip::flow::Flow;
use crate::transaction::branch::hex;
use crate::transaction::digest::{Digest, Digester};

/// The names of a leg.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Names {
    /// The Call-ID: 32 hexadecimal digits.
    pub call_id: [u8; 32],
    /// Our tag; it names no entry of any table.
    pub tag: Tag,
}

impl Names {
    /// The names of our leg of this request: the same ones each time that it comes from this
    /// address with this Call-ID, From and tag, whatever its CSeq and credentials.
    pub fn of(digester: &Digester, request: &Request<'_>, flow: &Flow) -> Self {
        let source = flow.remote.ip().to_string();
        let tag = request.from.tag().unwrap_or_default();
        let digest = |what: &[u8]| {
            digester.of(&[
                what,
                source.as_bytes(),
                request.call_id,
                request.from.uri.text(),
                tag,
            ])
        };
        Self::of_digests(digest(b"Call-ID"), digest(b"tag"))
    }

    /// Names that nobody else has, for a leg whose own are taken.
    pub fn random(rng: &mut Rng) -> Self {
        let [a, b, c, d] = std::array::from_fn(|_| rng.bits());
        Self::of_bits([a, b], [c, d])
    }

    fn of_digests(call_id: Digest, tag: Digest) -> Self {
        Self::of_bits(call_id.halves(), tag.halves())
    }

    fn of_bits(call_id: [u64; 2], [high, low]: [u64; 2]) -> Self {
        let mut digits = call_id.into_iter().flat_map(hex);
        Self {
            call_id: std::array::from_fn(|_| digits.next().unwrap_or(b'0')),
            tag: Tag {
                call: crate::table::Key::from_bits(high),
                nonce: low,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialog::kit::{flow, request, text};

    fn names(from: &str, call_id: &str, number: u32, flow: &Flow) -> Names {
        let lines = [
            "MESSAGE sip:bob@b.example SIP/2.0",
            "Via: SIP/2.0/UDP 127.0.0.9;branch=z9hG4bK1;rport",
            &format!("From: {from}"),
            "To: <sip:bob@b.example>",
            &format!("Call-ID: {call_id}"),
            &format!("CSeq: {number} MESSAGE"),
        ];
        let digester = Digester::new(&mut Rng::from_number(1));
        Names::of(&digester, &request(&text(&lines)), flow)
    }

    #[test]
    fn a_repetition_with_credentials_has_the_names_of_the_first() {
        let here = flow();
        let mut moved = here;
        moved.remote.set_port(40_001);
        let from = "<sip:alice@a.example>;tag=a1";
        let first = names(from, "c1@a", 1, &here);
        // S-29
        assert_eq!(names(from, "c1@a", 2, &here), first);
        assert_eq!(
            names("Alice <sip:alice@a.example>;tag=a1", "c1@a", 2, &moved),
            first
        );
    }

    #[test]
    fn another_request_has_other_names() {
        let here = flow();
        let mut elsewhere = here;
        elsewhere.remote.set_ip("127.0.0.77".parse().unwrap());
        let from = "<sip:alice@a.example>;tag=a1";
        let first = names(from, "c1@a", 1, &here);
        let others = [
            names("<sip:alice@a.example>;tag=a2", "c1@a", 1, &here),
            names("<sip:eve@a.example>;tag=a1", "c1@a", 1, &here),
            names(from, "c2@a", 1, &here),
            names(from, "c1@a", 1, &elsewhere),
            Names::random(&mut Rng::from_number(2)),
        ];
        for other in others {
            assert_ne!(other.call_id, first.call_id);
            assert_ne!(other.tag, first.tag);
        }
    }

    #[test]
    fn the_names_tell_nothing_of_the_phones() {
        let names = names("<sip:alice@a.example>;tag=a1", "c1@a", 1, &flow());
        assert!(names.call_id.iter().all(u8::is_ascii_hexdigit));
        assert_eq!(Tag::parse(&names.tag.text()), Some(names.tag));
    }
}
