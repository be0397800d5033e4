//! The route table: which peer a request is for, by who is called, how, and from where.
//!
//! Spec: RFC 3261 §16.5 (the target set is a matter of local policy).
//!
//! The first route that fits decides. What fits none goes as without a table.

use std::net::IpAddr;

/// One line of the table.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Route {
    /// Who is called; everybody if there is none.
    pub user: Option<Pattern>,
    /// The method; each if there is none.
    pub method: Option<String>,
    /// Where it comes from; anywhere if there is none.
    pub from: Option<Origin>,
    /// What becomes of it.
    pub to: Destination,
    /// What becomes of its caller if the callee is busy; `None`: what becomes of all others.
    pub on_busy: Option<OnBusy>,
}

/// What becomes of a caller whose callee is busy (R5).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum OnBusy {
    /// He is kept for a while, so that somebody may ask for him.
    Ask,
    /// His call waits.
    CampOn,
    /// He is told.
    #[default]
    Refuse,
}

/// Where a request comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Origin {
    /// The first bits of its address.
    Network(Network),
    /// A peer, by its index.
    Peer(u32),
    /// A phone of a user of ours.
    Registered,
}

/// What becomes of a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Destination {
    /// It goes to a peer, by its index, with another user part.
    Peer {
        /// The peer.
        peer: u32,
        /// How many characters at the beginning of the user part are left out.
        strip: usize,
        /// What is put before the rest.
        prefix: String,
    },
    /// It is refused.
    Refused(Refusal),
    /// It goes to the phones of a user of ours, or nowhere.
    Users,
}

/// How a route refuses.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// 603
    Declined,
    /// 403
    Forbidden,
    /// 404
    NotFound,
}

/// A text in which `*` stands for any number of characters and `?` for one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pattern(pub String);

/// An address and how many of its bits count.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Network {
    /// The address.
    pub ip: IpAddr,
    /// At most 32 for IPv4 and 128 for IPv6.
    pub bits: u8,
}

/// What the table needs to know of a request.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The user part of the Request-URI, or the number of a `tel:` URI, without escapes.
    pub user: &'a [u8],
    /// The method.
    pub method: &'a str,
    /// Where it came from.
    pub source: IpAddr,
    /// Whose address that is.
    pub peer: Option<u32>,
    /// Whether it came from a phone of a user of ours.
    pub is_registered: bool,
}

/// The first route that fits, with its number from 1.
pub fn decide<'r>(routes: &'r [Route], asked: &Asked<'_>) -> Option<(usize, &'r Route)> {
    (1..).zip(routes).find(|(_, route)| route.fits(asked))
}

impl Route {
    fn fits(&self, asked: &Asked<'_>) -> bool {
        let user = self.user.as_ref();
        let method = self.method.as_ref();
        user.is_none_or(|user| user.fits(asked.user))
            && method.is_none_or(|method| method == asked.method)
            && self.from.as_ref().is_none_or(|from| from.fits(asked))
    }
}

impl Origin {
    fn fits(&self, asked: &Asked<'_>) -> bool {
        match self {
            Self::Network(network) => network.has(asked.source),
            Self::Peer(peer) => asked.peer == Some(*peer),
            Self::Registered => asked.is_registered,
        }
    }
}

impl Pattern {
    /// Whether the whole text is as the pattern says. Each star is tried at most once for each
    /// character of the text.
    pub fn fits(&self, text: &[u8]) -> bool {
        let pattern = self.0.as_bytes();
        let (mut at, mut read) = (0, 0);
        // Where to go on if what follows the last star does not fit.
        let mut again: Option<(usize, usize)> = None;
        while let Some(byte) = text.get(read) {
            match pattern.get(at) {
                Some(b'*') => {
                    again = Some((at, read));
                    at += 1;
                }
                Some(wanted) if *wanted == b'?' || wanted == byte => {
                    at += 1;
                    read += 1;
                }
                Some(_) | None => {
                    let Some((star, taken)) = again else {
                        return false;
                    };
                    again = Some((star, taken + 1));
                    (at, read) = (star + 1, taken + 1);
                }
            }
        }
        let rest = pattern.get(at..).unwrap_or_default();
        rest.iter().all(|byte| *byte == b'*')
    }
}

impl Network {
    /// Whether the address lies in it.
    pub fn has(self, other: IpAddr) -> bool {
        let differs = match (self.ip, other) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                u128::from(own.to_bits() ^ other.to_bits()) << 96
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => own.to_bits() ^ other.to_bits(),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
        };
        differs.leading_zeros() >= u32::from(self.bits)
    }
}

/// The URI with another user part; as it is where it has none, or one too short.
pub fn rewritten(uri: &[u8], user: &[u8], strip: usize, prefix: &str) -> Vec<u8> {
    let scheme = uri
        .iter()
        .position(|byte| *byte == b':')
        .unwrap_or_default()
        + 1;
    let rest = uri.get(scheme + user.len()..).unwrap_or_default();
    let kept = user.get(strip..).unwrap_or(user);
    let scheme = uri.get(..scheme).unwrap_or_default();
    [scheme, prefix.as_bytes(), kept, rest].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(pattern: &str, text: &str) -> bool {
        Pattern(pattern.to_owned()).fits(text.as_bytes())
    }

    #[test]
    fn a_star_stands_for_any_number_of_characters() {
        for (pattern, fitting) in [
            ("49*", "4930123"),
            ("49*", "49"),
            ("*", ""),
            ("*99", "1199"),
            ("0*1*2", "0512312"),
            ("??", "12"),
            ("alice", "alice"),
            ("*a*b", "aab"),
        ] {
            assert!(fits(pattern, fitting), "{pattern} {fitting}");
        }
        for (pattern, other) in [
            ("49*", "4"),
            ("??", "123"),
            ("?", ""),
            ("alice", "alice2"),
            ("0*1*2", "05123"),
            ("", "1"),
        ] {
            assert!(!fits(pattern, other), "{pattern} {other}");
        }
    }

    #[test]
    fn a_long_text_is_no_burden() {
        let text = "a".repeat(10_000);
        assert!(!fits("*a*a*a*a*a*a*a*b", &text));
    }

    #[test]
    fn a_network_is_the_first_bits_of_an_address() {
        let network = |ip: &str, bits| Network {
            ip: ip.parse().expect("an address"),
            bits,
        };
        let has = |network: Network, ip: &str| network.has(ip.parse().expect("an address"));
        assert!(has(network("10.1.0.0", 16), "10.1.255.3"));
        assert!(!has(network("10.1.0.0", 16), "10.2.0.1"));
        assert!(has(network("10.1.2.3", 32), "10.1.2.3"));
        assert!(!has(network("10.1.2.3", 32), "10.1.2.2"));
        assert!(has(network("0.0.0.0", 0), "203.0.113.9"));
        assert!(!has(network("0.0.0.0", 0), "2001:db8::1"));
        assert!(has(network("2001:db8::", 32), "2001:db8:ffff::1"));
        assert!(!has(network("2001:db8::", 33), "2001:db8:ffff::1"));
    }

    #[test]
    fn the_first_route_that_fits_decides() {
        let route = |user: &str, from, peer| Route {
            user: Some(Pattern(user.to_owned())),
            method: Some("INVITE".to_owned()),
            from,
            on_busy: None,
            to: Destination::Peer {
                peer,
                strip: 0,
                prefix: String::new(),
            },
        };
        let routes = [
            route("00*", Some(Origin::Peer(7)), 1),
            route("00*", Some(Origin::Registered), 2),
            route("0*", None, 3),
        ];
        let decided = |user: &str, peer, is_registered, method| {
            let asked = Asked {
                user: user.as_bytes(),
                method,
                source: IpAddr::from([192, 0, 2, 1]),
                peer,
                is_registered,
            };
            decide(&routes, &asked).map(|(number, _)| number)
        };
        assert_eq!(decided("0049", Some(7), true, "INVITE"), Some(1));
        assert_eq!(decided("0049", None, true, "INVITE"), Some(2));
        assert_eq!(decided("0049", None, false, "INVITE"), Some(3));
        assert_eq!(decided("49", Some(7), true, "INVITE"), None);
        assert_eq!(decided("0049", Some(7), true, "MESSAGE"), None);
    }

    #[test]
    fn a_number_is_cut_and_extended_at_its_beginning() {
        let cases = [
            ("sip:0049301@h;x=1", "0049301", 2, "", "sip:49301@h;x=1"),
            ("sips:301@h", "301", 0, "4930", "sips:4930301@h"),
            ("tel:+4930;ext=1", "+4930", 1, "00", "tel:004930;ext=1"),
            ("sip:1@h", "1", 5, "9", "sip:91@h"),
        ];
        for (uri, user, strip, prefix, expected) in cases {
            let changed = rewritten(uri.as_bytes(), user.as_bytes(), strip, prefix);
            assert_eq!(String::from_utf8_lossy(&changed), expected);
        }
    }
}
