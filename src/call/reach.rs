//! Addresses of a description that nobody can mean: sound is sent to none of them.
//!
//! Spec: RFC 1122 §3.2.1.3; RFC 5771 §3; RFC 4291 §2.4; RFC 8445 §19.5.1 (the voice hammer attack).

use std::net::{IpAddr, Ipv4Addr};

use crate::call::sdp::sdp_of;
use crate::call::sound::audio_ip;
use crate::sip::Message;

/// Whether sound may be sent there for whoever signals from here: to one host, and to this machine for
/// nobody else.
pub(super) fn is_reachable(to: IpAddr, signalling: IpAddr) -> bool {
    let (to, signalling) = (to.to_canonical(), signalling.to_canonical());
    let is_host = match to {
        IpAddr::V4(to) => is_host(to),
        IpAddr::V6(to) => !to.is_unspecified() && !to.is_multicast(),
    };
    is_host && (!to.is_loopback() || signalling.is_loopback())
}

/// Whether it may be a host's: not "this network", a group of hosts, or reserved with the broadcast.
fn is_host(address: Ipv4Addr) -> bool {
    let [first, ..] = address.octets();
    (1..224).contains(&first)
}

/// Whether a message wants sound where none may be sent; on hold it wants none (RFC 3264 §8.4).
pub fn misdirects(message: &Message<'_>, signalling: IpAddr) -> bool {
    let wanted = sdp_of(message).and_then(|sdp| audio_ip(sdp, signalling));
    wanted.is_some_and(|to| !to.is_unspecified() && !is_reachable(to, signalling))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reachable(to: &str, signalling: &str) -> bool {
        let [to, signalling] = [to, signalling].map(|it| it.parse().expect("an address"));
        is_reachable(to, signalling)
    }

    #[test]
    fn sound_is_sent_to_hosts_alone() {
        for to in [
            "0.0.0.0",
            "0.1.2.3",
            "224.0.0.1",
            "239.255.255.250",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "ff02::1",
            "::ffff:224.0.0.1",
            "127.0.0.1",
            "::1",
            "::ffff:127.0.0.1",
        ] {
            assert!(!reachable(to, "192.0.2.9"), "{to}");
        }
        for to in [
            "192.0.2.1",
            "10.0.0.1",
            "223.255.255.1",
            "2001:db8::1",
            "fe80::1",
        ] {
            assert!(reachable(to, "192.0.2.9"), "{to}");
        }
    }

    #[test]
    fn this_machine_may_hear_itself() {
        assert!(reachable("127.0.0.9", "127.0.0.1"));
        assert!(reachable("::1", "127.0.0.1"));
    }
}
