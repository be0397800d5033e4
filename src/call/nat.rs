//! The addresses that a phone behind a NAT writes into its session descriptions.
//!
//! Spec: RFC 8866 §5.7; RFC 3605 §2.1 (rtcp); RFC 1918 §3, RFC 6598 §7, RFC 4193 §3; RULES R14.
//!
//! Behind us every phone looks public to a PBX, while its description says 192.168.x. So the PBX is
//! told where the phone's packets come from, and sends its own there once it has had one: it must
//! take a peer to be where that peer sends from ("symmetric RTP").

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::call::sdp::sdp_of;
use crate::call::{Call, Side};
use crate::sip::Message;

/// What becomes of the private addresses in a phone's session descriptions.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum NatMedia {
    /// They cross as they are: the PBX reaches the phones, or finds out by itself.
    #[default]
    Off,
    /// They become the address that the phone's requests come from.
    Rewrite,
}

/// Where the media of one side is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Media {
    /// Where the side says.
    AsDescribed,
    /// Behind a NAT of this address, if the side names a private one.
    Behind(IpAddr),
}

impl Call {
    /// The body of a message of this side's, as the other side is to see it.
    pub(super) fn body_from<'m>(&self, side: Side, message: &Message<'m>) -> Cow<'m, [u8]> {
        if let Media::Behind(source) = self.leg(side).media
            && let Some(sdp) = sdp_of(message)
        {
            return rewritten(sdp, source);
        }
        Cow::Borrowed(message.body())
    }
}

/// The description with `source` in place of private addresses; as it is, where the two sides agree
/// on addresses by themselves (ICE) or on keys that go with the description.
fn rewritten(sdp: &[u8], source: IpAddr) -> Cow<'_, [u8]> {
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
