//! The way a message came, and the way to answer it.
//!
//! Spec: RFC 3261 §18; RFC 5626 §2 ("flow").

use std::fmt;
use std::net::SocketAddr;

/// What carries messages between two addresses.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Transport {
    /// Datagrams: may be lost, doubled and reordered.
    Udp,
    /// A TCP connection.
    Tcp,
    /// A TLS connection.
    Tls,
}

impl Transport {
    /// The name in a Via header: `UDP`, `TCP`, `TLS`.
    pub fn via_name(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
        }
    }

    /// The value of a URI's `transport` parameter.
    pub fn uri_name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        }
    }

    /// The port where none is written (RFC 3261 §19.1.2): 5060, and for TLS 5061.
    pub fn port(self) -> u16 {
        match self {
            Self::Udp | Self::Tcp => 5060,
            Self::Tls => 5061,
        }
    }

    /// Whether the transport itself delivers or reports failure (RFC 3261 §17: "reliable").
    pub fn is_reliable(self) -> bool {
        !matches!(self, Self::Udp)
    }
}

/// Which of our listening sockets; an index into the configuration's listeners.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ListenerId(pub u8);

/// A stream connection, as numbered by `io`; never reused within a process.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ConnectionId(pub u32);

/// One way between us and a peer.
///
/// With no `connection` on a stream transport, `io` uses an open connection to `remote` or opens
/// one; with a `connection` that has ended, it reports that the message was not sent.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Flow {
    /// What carries it.
    pub transport: Transport,
    /// Our end.
    pub listener: ListenerId,
    /// Their end, as the socket shows it.
    pub remote: SocketAddr,
    /// The connection it came over; always `None` for UDP.
    pub connection: Option<ConnectionId>,
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.transport.uri_name(), self.remote)
    }
}
