//! A place to send to, as an operator writes it: an address, or a name that DNS knows.
//!
//! Spec: RFC 3261 §19.1.1; RFC 3263 §4.1, §4.2 (S-100).

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::sip::Host;
use crate::sip::flow::Transport;

/// The port of SIP over UDP and TCP.
const PORT: u16 = 5060;
/// The port of SIP over TLS.
const PORT_TLS: u16 = 5061;

/// `sip:HOST[:PORT][;transport=…]`, or the same with `sips:`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Place {
    /// Whether it is a `sips:` URI: TLS all the way (S-30).
    pub secure: bool,
    /// The host.
    pub spot: Spot,
    /// The port, if it is given.
    pub port: Option<u16>,
    /// The transport, if it is given.
    pub transport: Option<Transport>,
}

/// The host of a place.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Spot {
    /// An IP address, which nobody need be asked about.
    Address(IpAddr),
    /// A name in lower case, without a dot at its end.
    Name(Arc<str>),
}

impl Place {
    /// The place of this address.
    pub fn at(transport: Transport, address: SocketAddr) -> Self {
        Self {
            secure: false,
            spot: Spot::Address(address.ip()),
            port: Some(address.port()),
            transport: Some(transport),
        }
    }

    /// S-100: what carries requests there if only the place says so: UDP, for `sips:` TLS.
    pub fn transport(&self) -> Transport {
        match self.transport {
            // RFC 3261 §19.1.2: a `sips:` URI with `transport=tcp` means TLS over TCP.
            None | Some(Transport::Tcp) if self.secure => Transport::Tls,
            None => Transport::Udp,
            Some(transport) => transport,
        }
    }

    /// The port by default.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or_else(|| port_of(self.transport()))
    }

    /// The way there, if no name is in it.
    pub fn fixed(&self) -> Option<(Transport, SocketAddr)> {
        match &self.spot {
            Spot::Address(ip) => Some((self.transport(), SocketAddr::new(*ip, self.port()))),
            Spot::Name(_) => None,
        }
    }

    /// The host as it stands in a URI: IPv6 in brackets.
    pub fn host(&self) -> Box<str> {
        self.spot.to_string().into()
    }

    /// What follows the user in a Request-URI that means this place: `host`, `host:port`.
    pub fn host_port(&self) -> Box<str> {
        match (&self.spot, self.port) {
            (Spot::Name(name), None) => (**name).into(),
            (spot, _) => format!("{spot}:{}", self.port()).into(),
        }
    }
}

/// The port of SIP over a transport (RFC 3261 §19.1.2).
pub(super) fn port_of(transport: Transport) -> u16 {
    match transport {
        Transport::Udp | Transport::Tcp => PORT,
        Transport::Tls => PORT_TLS,
    }
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(IpAddr::V4(ip)) => Host::V4(*ip).fmt(f),
            Self::Address(IpAddr::V6(ip)) => Host::V6(*ip).fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "sips" } else { "sip" };
        write!(f, "{scheme}:{}", self.spot)?;
        match (&self.spot, self.port) {
            (_, Some(port)) => write!(f, ":{port}")?,
            (Spot::Address(_), None) => write!(f, ":{}", self.port())?,
            (Spot::Name(_), None) => {}
        }
        match (&self.spot, self.transport) {
            (_, Some(transport)) => write!(f, ";transport={}", transport.uri_name()),
            (Spot::Address(_), None) if !self.secure => write!(f, ";transport=udp"),
            (Spot::Address(_) | Spot::Name(_), None) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(spot: Spot) -> Place {
        Place {
            secure: false,
            spot,
            port: None,
            transport: None,
        }
    }

    #[test]
    fn an_address_alone_is_reached_by_udp_and_a_sips_one_by_tls() {
        let ip = IpAddr::from([192, 0, 2, 7]);
        let udp = place(Spot::Address(ip));
        // S-100
        assert_eq!(
            udp.fixed(),
            Some((Transport::Udp, SocketAddr::new(ip, 5060)))
        );
        let tls = Place {
            secure: true,
            ..udp.clone()
        };
        assert_eq!(
            tls.fixed(),
            Some((Transport::Tls, SocketAddr::new(ip, 5061)))
        );
        assert_eq!(udp.to_string(), "sip:192.0.2.7:5060;transport=udp");
        assert_eq!(tls.to_string(), "sips:192.0.2.7:5061");
    }

    #[test]
    fn a_name_is_written_as_it_was_configured() {
        let name = place(Spot::Name("pbx.example.org".into()));
        assert_eq!(name.fixed(), None);
        assert_eq!(name.to_string(), "sip:pbx.example.org");
        assert_eq!(&*name.host_port(), "pbx.example.org");
        let tcp = Place {
            port: Some(5070),
            transport: Some(Transport::Tcp),
            ..name
        };
        assert_eq!(tcp.to_string(), "sip:pbx.example.org:5070;transport=tcp");
        assert_eq!(&*tcp.host_port(), "pbx.example.org:5070");
    }
}
