//! The addresses that a phone behind a NAT writes into its session descriptions.
//!
//! Spec: RFC 8866 §5.7; RFC 3605 §2.1 (rtcp); RFC 1918 §3, RFC 6598 §7, RFC 4193 §3; RULES R14.
//!
//! Behind us every phone looks public to a PBX, while its description says 192.168.x. So the PBX is
//! told where the phone's packets come from, and sends its own there once it has had one: it must
//! take a peer to be where that peer sends from ("symmetric RTP").

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::call::hold::is_held;
use crate::call::sdp::{Media as Line, sdp_of};
use crate::call::sound::audio_address;
use crate::call::{Call, Offer, Part, Side};
use crate::media::anchor::Party;
use crate::sip::Message;
use crate::sip::flow::Flow;

/// What becomes of the private addresses in a phone's session descriptions.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum NatMedia {
    /// They cross as they are: the PBX reaches the phones, or finds out by itself.
    #[default]
    Off,
    /// They become the address that the phone's requests come from.
    Rewrite,
    /// All audio passes us, whatever the addresses are.
    Anchor,
}

/// Where the media of one side is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Media {
    /// Where the side says.
    AsDescribed,
    /// Behind a NAT of this address, if the side names a private one.
    Behind(IpAddr),
    /// For the other side, at this address of ours.
    Anchored(SocketAddr),
}

/// The two sides of a call whose audio passes us, as they describe themselves.
#[derive(Debug)]
pub(super) struct Anchored {
    parties: [Option<Party>; 2],
    /// Which of them have put the other one on hold.
    holds: [bool; 2],
    is_new: bool,
}

impl Call {
    /// The body of a message of this side's, as the other side is to see it.
    pub(super) fn body_from<'m>(&self, side: Side, message: &Message<'m>) -> Cow<'m, [u8]> {
        let Some(sdp) = sdp_of(message) else {
            return Cow::Borrowed(message.body());
        };
        match self.leg(side).media {
            Media::AsDescribed => Cow::Borrowed(message.body()),
            Media::Behind(source) => rewritten(sdp, source),
            Media::Anchored(at) => anchored(sdp, at),
        }
    }

    /// R14: a phone's media is where its requests come from, or are sent to; or both sides' is with us.
    pub(super) fn place_media(&mut self, offer: &Offer<'_>) {
        match (offer.nat_media, &offer.phone) {
            (NatMedia::Rewrite, Some((side, flow))) => {
                self.leg_mut(*side).media = Media::Behind(flow.remote.ip());
            }
            (NatMedia::Anchor, Some(_)) => {
                let Some([for_a, for_b]) = offer.anchor else {
                    return;
                };
                self.a.media = Media::Anchored(for_b);
                self.b.media = Media::Anchored(for_a);
                self.anchored = Some(Box::new(Anchored {
                    parties: [None; 2],
                    holds: [false; 2],
                    is_new: false,
                }));
                let source = offer.flow.remote.ip();
                self.note_audio((Side::A, source), &offer.request.message);
            }
            (NatMedia::Off | NatMedia::Rewrite | NatMedia::Anchor, _) => {}
        }
    }

    /// The other side is a phone of ours as well: it is behind what it sends from.
    pub fn place_behind(&mut self, side: Side, flow: &Flow) {
        self.leg_mut(side).media = Media::Behind(flow.remote.ip());
    }

    /// Whether the audio of this call passes us.
    pub(super) fn is_anchored(&self) -> bool {
        self.anchored.is_some()
    }

    /// Who answers a request of this part, and where he is.
    pub(super) fn answerer_of(&self, part: Part) -> Option<(Side, IpAddr)> {
        let side = match part {
            Part::Branch(branch) => {
                let (flow, ..) = self.way_of(branch);
                return Some((Side::B, flow.remote.ip()));
            }
            Part::Negotiation => self.negotiation.as_deref()?.answerer(),
            Part::Exchange(number) => self.exchange_answerer(number)?,
            Part::Bye(_) | Part::Refer => return None,
        };
        Some((side, self.flow(side).remote.ip()))
    }

    /// A side, whose signalling comes from there, says where its audio is.
    pub(super) fn note_audio(&mut self, (side, source): (Side, IpAddr), message: &Message<'_>) {
        let Some(anchored) = self.anchored.as_deref_mut() else {
            return;
        };
        let Some(sdp) = sdp_of(message) else {
            return;
        };
        let party = Party {
            described: audio_address(sdp, source),
            signalling: source,
        };
        let place = match side {
            Side::A => anchored.parties.iter_mut().zip(&mut anchored.holds).next(),
            Side::B => anchored.parties.iter_mut().zip(&mut anchored.holds).nth(1),
        };
        let Some((place, holds)) = place else {
            return;
        };
        *holds = party.described.is_none() || is_held(sdp);
        if *place != Some(party) {
            *place = Some(party);
            anchored.is_new = true;
        }
    }

    /// Whether a side of a call whose audio passes us is on hold, or has not described itself.
    pub fn is_anchor_held(&self) -> bool {
        let anchored = self.anchored.as_deref();
        anchored.is_none_or(|it| it.holds.contains(&true) || it.parties.contains(&None))
    }

    /// Where the audio of the two sides is, as far as is known of both.
    pub fn anchored_parties(&self) -> Option<[Party; 2]> {
        match self.anchored.as_deref()?.parties {
            [Some(a), Some(b)] => Some([a, b]),
            [None, _] | [_, None] => None,
        }
    }

    /// Where the audio of the two sides is, if that is new and known of both.
    pub fn take_anchor(&mut self) -> Option<[Party; 2]> {
        let anchored = self.anchored.as_deref_mut()?;
        let [Some(a), Some(b)] = anchored.parties else {
            return None;
        };
        std::mem::take(&mut anchored.is_new).then_some([a, b])
    }
}

/// The description with the first audio that is in use at this address and nothing else (RULES R14); as it
/// is, where the two sides look for a way by themselves (ICE).
pub fn anchored(sdp: &[u8], at: SocketAddr) -> Cow<'_, [u8]> {
    let lines = || sdp.split_inclusive(|byte| *byte == b'\n');
    if lines().any(looks_for_a_way) {
        return Cow::Borrowed(sdp);
    }
    let family = if at.is_ipv4() { "IN IP4" } else { "IN IP6" };
    let place = format!("c={family} {}", at.ip());
    let mut out = Vec::with_capacity(sdp.len() + 32);
    let mut has_audio = false;
    for line in lines() {
        let end = line.trim_ascii_end().len();
        let (text, end) = line.split_at_checked(end).unwrap_or((line, b""));
        if text.starts_with(b"a=rtcp:") {
            // The next one is meant again.
            continue;
        }
        let is_held = text.ends_with(b" 0.0.0.0");
        if text.starts_with(b"c=") && !is_held {
            out.extend_from_slice(place.as_bytes());
        } else if let Some(media) = Line::parse(text) {
            let is_used = media.port().is_some_and(|port| port > 0);
            let takes = is_used && !has_audio && media.is_audio();
            has_audio |= takes;
            let port = if takes { at.port() } else { 0 };
            media.write_line(&mut out, port);
        } else {
            out.extend_from_slice(text);
        }
        out.extend_from_slice(end);
    }
    Cow::Owned(out)
}

/// Whether a line belongs to ICE.
fn looks_for_a_way(line: &[u8]) -> bool {
    let attributes: [&[u8]; 3] = [b"a=candidate:", b"a=ice-pwd:", b"a=ice-ufrag:"];
    attributes.iter().any(|name| line.starts_with(name))
}

/// The description with `source` in place of private addresses in its `c=` and `a=rtcp:` lines (RULES
/// R14); as it is, where the two sides agree on addresses by themselves (ICE) or on keys that go with the
/// description.
pub fn rewritten(sdp: &[u8], source: IpAddr) -> Cow<'_, [u8]> {
    let lines = || sdp.split_inclusive(|byte| *byte == b'\n');
    if lines().any(settles_by_itself) || !lines().any(|line| private_in(line, source).is_some()) {
        return Cow::Borrowed(sdp);
    }
    let mut out = Vec::with_capacity(sdp.len() + 32);
    for line in lines() {
        match private_in(line, source) {
            Some((before, after)) => {
                out.extend_from_slice(before);
                out.extend_from_slice(source.to_string().as_bytes());
                out.extend_from_slice(after);
            }
            None => out.extend_from_slice(line),
        }
    }
    Cow::Owned(out)
}

/// Whether a line belongs to ICE or to encrypted media.
fn settles_by_itself(line: &[u8]) -> bool {
    let attributes: [&[u8]; 5] = [
        b"a=candidate:",
        b"a=crypto:",
        b"a=fingerprint:",
        b"a=ice-pwd:",
        b"a=ice-ufrag:",
    ];
    let is_secure = line.starts_with(b"m=") && memchr::memmem::find(line, b"SAVP").is_some();
    is_secure || attributes.iter().any(|name| line.starts_with(name))
}

/// What stands before and after the address of a `c=` or `a=rtcp:` line, if that is a private one
/// of the family of `source` and another.
fn private_in(line: &[u8], source: IpAddr) -> Option<(&[u8], &[u8])> {
    if !line.starts_with(b"c=") && !line.starts_with(b"a=rtcp:") {
        return None;
    }
    let marker: &[u8] = match source {
        IpAddr::V4(_) => b"IN IP4 ",
        IpAddr::V6(_) => b"IN IP6 ",
    };
    let start = memchr::memmem::find(line, marker)? + marker.len();
    let (before, rest) = line.split_at_checked(start)?;
    let is_end = |byte: &u8| byte.is_ascii_whitespace() || *byte == b'/';
    let end = rest.iter().position(is_end).unwrap_or(rest.len());
    let (address, after) = rest.split_at_checked(end)?;
    let address: IpAddr = str::from_utf8(address).ok()?.parse().ok()?;
    (address != source && is_private(address)).then_some((before, after))
}

/// Whether an address means something only where the phone is.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let is_shared = address & Ipv4Addr::new(255, 192, 0, 0) == Ipv4Addr::new(100, 64, 0, 0);
            address.is_private() || address.is_link_local() || address.is_loopback() || is_shared
        }
        IpAddr::V6(address) => {
            address.is_unique_local()
                || address.is_unicast_link_local()
                || address == Ipv6Addr::LOCALHOST
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 5));

    fn seen(lines: &[&str]) -> String {
        let sdp = lines.join("\r\n") + "\r\n";
        String::from_utf8(rewritten(sdp.as_bytes(), SOURCE).into_owned()).expect("text")
    }

    #[test]
    fn audio_that_passes_us_is_at_our_address_and_other_media_nowhere() {
        let sdp = "v=0\r\no=alice 1 1 IN IP4 192.168.1.7\r\ns=-\r\nc=IN IP4 192.168.1.7\r\nt=0 0\r\n\
            m=audio 40000 RTP/SAVP 0 101\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x\r\n\
            a=rtcp:40001 IN IP4 192.168.1.7\r\nm=video 40002 RTP/AVP 31\r\nc=IN IP4 10.0.0.1\r\n";
        let at = "198.51.100.2:20000".parse().expect("an address");
        let seen = String::from_utf8(anchored(sdp.as_bytes(), at).into_owned()).expect("text");
        let expected = "v=0\r\no=alice 1 1 IN IP4 192.168.1.7\r\ns=-\r\nc=IN IP4 198.51.100.2\r\nt=0 0\r\n\
            m=audio 20000 RTP/SAVP 0 101\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x\r\n\
            m=video 0 RTP/AVP 31\r\nc=IN IP4 198.51.100.2\r\n";
        assert_eq!(seen, expected);
        for settled in [
            "a=candidate:1 1 UDP 1 192.168.1.7 40000 typ host\r\n",
            "a=ice-ufrag:x\r\n",
        ] {
            let sdp = format!("{sdp}{settled}");
            assert_eq!(&*anchored(sdp.as_bytes(), at), sdp.as_bytes());
        }
        let held = "c=IN IP4 0.0.0.0\r\nm=audio 0 RTP/AVP 0\r\n";
        assert_eq!(&*anchored(held.as_bytes(), at), held.as_bytes());
    }

    #[test]
    fn a_private_address_becomes_the_source() {
        let seen = seen(&[
            "v=0",
            "o=alice 1 1 IN IP4 192.168.1.7",
            "s=-",
            "c=IN IP4 192.168.1.7",
            "t=0 0",
            "m=audio 40000 RTP/AVP 0",
            "a=rtcp:40001 IN IP4 192.168.1.7",
            "m=video 0 RTP/AVP 31",
            "c=IN IP4 10.0.0.1/127",
        ]);
        let expected = [
            "v=0",
            "o=alice 1 1 IN IP4 192.168.1.7",
            "s=-",
            "c=IN IP4 203.0.113.5",
            "t=0 0",
            "m=audio 40000 RTP/AVP 0",
            "a=rtcp:40001 IN IP4 203.0.113.5",
            "m=video 0 RTP/AVP 31",
            "c=IN IP4 203.0.113.5/127",
            "",
        ];
        assert_eq!(seen, expected.join("\r\n"));
    }

    /// 0.0.0.0 is how a call was held before RFC 3264.
    #[test]
    fn what_others_can_reach_or_nobody_should_stays() {
        for address in ["198.51.100.9", "203.0.113.5", "0.0.0.0", "phone.example"] {
            let line = format!("c=IN IP4 {address}");
            assert_eq!(seen(&[&line]), format!("{line}\r\n"));
        }
        let other_family = "c=IN IP6 fd00::1";
        assert_eq!(seen(&[other_family]), format!("{other_family}\r\n"));
    }

    #[test]
    fn what_two_phones_settle_between_them_stays() {
        for settled in [
            "a=candidate:1 1 UDP 1 192.168.1.7 40000 typ host",
            "a=ice-ufrag:x",
            "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x",
            "a=fingerprint:sha-256 00",
            "m=audio 40000 RTP/SAVPF 0",
        ] {
            let seen = seen(&["c=IN IP4 192.168.1.7", settled]);
            assert!(seen.starts_with("c=IN IP4 192.168.1.7\r\n"), "{seen}");
        }
    }

    #[test]
    fn addresses_are_private_by_their_blocks() {
        for (address, expected) in [
            ("10.255.0.1", true),
            ("172.16.0.1", true),
            ("172.32.0.1", false),
            ("100.64.0.1", true),
            ("100.128.0.1", false),
            ("169.254.1.1", true),
            ("8.8.8.8", false),
            ("fd00::1", true),
            ("fe80::1", true),
            ("2001:db8::1", false),
        ] {
            let address = address.parse().expect("an address");
            assert_eq!(is_private(address), expected, "{address}");
        }
    }
}
