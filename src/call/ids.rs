//! Which leg an id in a message names, and by which id the other side knows that call.
//!
//! Spec: RFC 3891 §3; RFC 3911 §4; RFC 4538 §4; RFC 4235 §4.1; RFC 5589 §7.3; RFC 7092 §3.1 (S-168).
//!
//! - An id crosses as that of the leg that faces its receiver, if one of the call does: so he knows
//!   it, and an id of the PBX's own dialogs comes back to the PBX unchanged.
//! - A REFER speaks to one party of another, whom its Refer-To means: an id in there whose end is
//!   ours crosses as that of the leg beyond us, where that party is.
//! - Whose tag is ours is found by the tag itself: it carries the key of its call.

use std::borrow::Cow;
use std::fmt;

use memchr::memmem;

use crate::call::{Call, Few, Phase, Side, Target};
use crate::dialog::Tag;
use crate::sip::dialog_info;
use crate::sip::flow::Flow;
use crate::sip::{DialogId, Header, Item, Message, Name, NameAddr, OwnedDialogId, unescape};
use crate::table::Key;

/// The legs of all calls, as far as they can be named.
pub trait Legs: fmt::Debug {
    /// The leg that `id` names, if `tag`, one of the id's two, is ours on it.
    fn named(&self, id: &DialogId<'_>, tag: Tag) -> Option<NamedLeg>;
}

/// No calls at all.
#[derive(Debug)]
pub struct NoLegs;

impl Legs for NoLegs {
    fn named(&self, _: &DialogId<'_>, _: Tag) -> Option<NamedLeg> {
        None
    }
}

/// A leg that an id names, and the one beyond it.
#[derive(Clone, Debug)]
pub struct NamedLeg {
    /// The call.
    pub call: Key,
    /// The side where the end is that the id means.
    pub end: Side,
    /// The ways to the peer of the leg: one, or those of all branches while it rings.
    ways: Few<Flow>,
    /// The id of the leg on the other side, which means the same end.
    beyond: OwnedDialogId,
    ways_beyond: Few<Flow>,
}

/// What ids become on their way to somebody.
#[derive(Clone, Copy, Debug)]
pub struct Ids<'i> {
    /// The legs of the calls that are not in hand.
    pub legs: &'i dyn Legs,
    /// The call in hand, and to which of its sides the message goes.
    pub own: Option<(&'i Call, Side)>,
    /// Who gets the message.
    pub receivers: &'i [Flow],
}

impl Ids<'_> {
    /// The value that a header field crosses with, if not with its own.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "what is not in the list names no dialog"
    )]
    pub fn header(&self, header: Header<'_>) -> Option<Vec<u8>> {
        match header.name {
            Name::Join | Name::Replaces | Name::TargetDialog => {
                let id = DialogId::parse(header.name, header.value)?;
                self.towards(&id)?.in_place_of(header.name, header.value)
            }
            Name::Event => {
                let (call, to) = self.own?;
                call.event_towards(to, header.value)
            }
            Name::ReferTo => self.refer_to(header.value),
            _ => None,
        }
    }

    /// The body that a message crosses with.
    pub fn body<'m>(&self, message: &Message<'m>) -> Cow<'m, [u8]> {
        let kind = message.first(Name::ContentType).map(Item::parse);
        match kind {
            Some(Ok(kind)) if kind.is(dialog_info::MEDIA_TYPE) => {
                dialog_info::map_ids(message.body(), |id| self.towards(id))
            }
            Some(_) | None => Cow::Borrowed(message.body()),
        }
    }

    /// The id by which a receiver knows the call that `id` names, if that is another one.
    fn towards(&self, id: &DialogId<'_>) -> Option<OwnedDialogId> {
        let mut best: (Closeness, Option<OwnedDialogId>) = (Closeness::None, None);
        for tag in [id.end, id.across] {
            let Some(leg) = self.named(id, tag) else {
                continue;
            };
            let here = closeness(&leg.ways, self.receivers);
            let beyond = closeness(&leg.ways_beyond, self.receivers);
            if here.max(beyond) > best.0 {
                let is_beyond = beyond > here;
                best = (here.max(beyond), is_beyond.then_some(leg.beyond));
            }
        }
        best.1
    }

    /// S-167, S-168: a Refer-To whose Replaces names a call of the referrer's through us.
    fn refer_to(&self, value: &[u8]) -> Option<Vec<u8>> {
        let address = NameAddr::parse(value).ok()?;
        let uri = address.uri.as_sip()?;
        let headers = uri.headers?;
        let mut written = Vec::with_capacity(headers.len() + 64);
        let mut is_mapped = false;
        for header in headers.split(|byte| *byte == b'&') {
            written.push(if written.is_empty() { b'?' } else { b'&' });
            match self.beyond(header) {
                Some(replaces) => {
                    written.extend_from_slice(b"Replaces=");
                    escape(&mut written, &replaces);
                    is_mapped = true;
                }
                None => written.extend_from_slice(header),
            }
        }
        let old = [b"?", headers].concat();
        let at = memmem::find(value, &old).filter(|_| is_mapped)?;
        let (before, after) = value.split_at(at);
        let after = after.get(old.len()..).unwrap_or_default();
        Some([before, &*written, after].concat())
    }

    /// The value for a `Replaces=…` of a URI that is ours at its end.
    fn beyond(&self, header: &[u8]) -> Option<Vec<u8>> {
        let value = replaces_in(header)?;
        let id = DialogId::parse(Name::Replaces, &value)?;
        let leg = self.named(&id, id.end)?;
        leg.beyond.in_place_of(Name::Replaces, &value)
    }

    fn named(&self, id: &DialogId<'_>, tag: &[u8]) -> Option<NamedLeg> {
        let tag = Tag::parse(tag)?;
        let own = self.own.and_then(|(call, _)| call.named(id, tag));
        own.or_else(|| self.legs.named(id, tag))
    }
}

/// The `Replaces` that a Refer-To asks its receiver to send (RFC 5589 §7.3), as it is in an INVITE.
pub fn replaced_by(refer_to: &[u8]) -> Option<Vec<u8>> {
    let address = NameAddr::parse(refer_to).ok()?;
    let headers = address.uri.as_sip()?.headers?;
    let mut headers = headers.split(|byte| *byte == b'&');
    headers.find_map(replaces_in)
}

/// The value of a `Replaces=…` of a URI.
fn replaces_in(header: &[u8]) -> Option<Vec<u8>> {
    let equals = header.iter().position(|byte| *byte == b'=')?;
    let (name, value) = header.split_at(equals);
    let is_it = unescape(name).eq_ignore_ascii_case(b"Replaces");
    is_it.then(|| unescape(value.get(1..).unwrap_or_default()).to_vec())
}

/// How surely a leg leads to somebody.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Closeness {
    None,
    /// To the same machine.
    Host,
    /// To the same port of it.
    Port,
}

fn closeness(ways: &[Flow], receivers: &[Flow]) -> Closeness {
    let any = |same: fn(&Flow, &Flow) -> bool| {
        let mut ways = ways.iter();
        ways.any(|way| receivers.iter().any(|receiver| same(way, receiver)))
    };
    if any(|way, receiver| way.remote == receiver.remote) {
        Closeness::Port
    } else if any(|way, receiver| way.remote.ip() == receiver.remote.ip()) {
        Closeness::Host
    } else {
        Closeness::None
    }
}

/// RFC 3261 §25.1: what may not stand in a header of a URI is escaped.
fn escape(out: &mut Vec<u8>, value: &[u8]) {
    for byte in value {
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()[]/?:+$".contains(byte) {
            out.push(*byte);
        } else {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
}

impl Call {
    /// The leg of this call that `id` names, if `tag` is ours on it; nothing is named before both of
    /// its ends have a tag.
    pub fn named(&self, id: &DialogId<'_>, tag: Tag) -> Option<NamedLeg> {
        let is_end = *id.end == *tag.text();
        let theirs = if is_end { id.across } else { id.end };
        let pairs = self.tags();
        let mut named = pairs
            .iter()
            .flat_map(|[a, b]| [(Side::A, a, b), (Side::B, b, a)]);
        let (side, _, beyond) = named.find(|(side, (ours, remote), _)| {
            *ours == tag && *remote == theirs && self.call_id(*side) == id.call_id
        })?;
        let (ours, theirs) = beyond;
        if theirs.is_empty() {
            return None;
        }
        let ours = ours.text().to_vec();
        let (end, across) = if is_end {
            (theirs.to_vec(), ours)
        } else {
            (ours, theirs.to_vec())
        };
        let other = side.other();
        Some(NamedLeg {
            call: self.key,
            end: if is_end { other } else { side },
            ways: self.ways(side),
            beyond: OwnedDialogId {
                call_id: self.call_id(other).to_vec(),
                end,
                across,
            },
            ways_beyond: self.ways(other),
        })
    }

    /// Where the peer of a side takes requests.
    pub fn peer(&self, side: Side) -> Target<'_> {
        let dialog = &self.leg(side).dialog;
        Target {
            uri: dialog.request_uri(),
            flow: dialog.flow(),
            reach: dialog.reach(),
            others: None,
        }
    }

    /// Our tag and the peer's on the A leg and on the B leg: of each fork while it rings.
    fn tags(&self) -> Few<[(Tag, &[u8]); 2]> {
        let [a, b] = [&self.a, &self.b].map(|leg| (leg.dialog.tag(), leg.dialog.remote_tag()));
        if self.phase != Phase::Inviting {
            return Few::from_iter([[a, b]]);
        }
        let forks = self.forks();
        forks
            .map(|(tag, remote_tag)| [(tag, a.1), (b.0, remote_tag)])
            .collect()
    }

    fn ways(&self, side: Side) -> Few<Flow> {
        match side {
            Side::B if self.phase == Phase::Inviting => self.branch_flows().collect(),
            Side::A | Side::B => Few::from_iter([self.leg(side).dialog.flow()]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::flow::{ListenerId, Transport};

    const OURS: &str = "00000000000000070000000000000009";

    fn flow(remote: &str) -> Flow {
        Flow {
            transport: Transport::Udp,
            listener: ListenerId(0),
            remote: remote.parse().expect("an address"),
            connection: None,
        }
    }

    /// One call: `here` is at 192.0.2.1, `beyond` at 192.0.2.2.
    #[derive(Debug)]
    struct OneCall;

    impl Legs for OneCall {
        fn named(&self, id: &DialogId<'_>, tag: Tag) -> Option<NamedLeg> {
            let is_ours = *tag.text() == *OURS.as_bytes() && id.call_id == b"here";
            is_ours.then(|| NamedLeg {
                call: tag.call,
                end: Side::B,
                ways: Few::from_iter([flow("192.0.2.1:5060")]),
                beyond: OwnedDialogId {
                    call_id: b"b@h".to_vec(),
                    end: b"e".to_vec(),
                    across: b"a".to_vec(),
                },
                ways_beyond: Few::from_iter([flow("192.0.2.2:5060")]),
            })
        }
    }

    fn mapped(name: Name, value: &str, receiver: &str) -> Option<String> {
        let header = Header {
            name,
            spelled: name.as_str().as_bytes(),
            value: value.as_bytes(),
        };
        let ids = Ids {
            legs: &OneCall,
            own: None,
            receivers: &[flow(receiver)],
        };
        let mapped = ids.header(header)?;
        Some(String::from_utf8(mapped).expect("text"))
    }

    #[test]
    fn an_id_is_the_receivers_own() {
        let value = format!("here;to-tag={OURS};from-tag=x;early-only");
        let beyond = Some("b@h;to-tag=e;from-tag=a;early-only".to_owned());
        assert_eq!(mapped(Name::Replaces, &value, "192.0.2.2:5060"), beyond);
        assert_eq!(mapped(Name::Replaces, &value, "192.0.2.2:5080"), beyond);
        assert_eq!(mapped(Name::Replaces, &value, "192.0.2.1:5060"), None);
        assert_eq!(mapped(Name::Replaces, &value, "192.0.2.3:5060"), None);
        let other = format!("other;to-tag={OURS};from-tag=x");
        assert_eq!(mapped(Name::Replaces, &other, "192.0.2.2:5060"), None);
    }

    #[test]
    fn a_refer_to_names_the_call_beyond_us_and_keeps_all_else() {
        let value = format!(
            "\"C?R\" <sip:carol@h;x?A=1&rEplaces=here%3Bto-tag%3D{OURS}%3Bfrom-tag%3Dx&B=2>;p=q"
        );
        let expected =
            "\"C?R\" <sip:carol@h;x?A=1&Replaces=b%40h%3Bto-tag%3De%3Bfrom-tag%3Da&B=2>;p=q";
        let written = mapped(Name::ReferTo, &value, "192.0.2.3:5060");
        assert_eq!(written.as_deref(), Some(expected));
    }

    #[test]
    fn a_refer_to_whose_end_is_not_ours_stays() {
        for value in [
            format!("<sip:carol@h?Replaces=here%3Bto-tag%3Dx%3Bfrom-tag%3D{OURS}>"),
            "<sip:carol@h?Replaces=here>".to_owned(),
            "<sip:carol@h>".to_owned(),
            "<tel:+1>".to_owned(),
        ] {
            assert_eq!(
                mapped(Name::ReferTo, &value, "192.0.2.2:5060"),
                None,
                "{value}"
            );
        }
    }
}
