//! A registrar and a phone that registers with it, for tests.

use std::net::SocketAddr;
use std::time::Duration;

use crate::location::Aor;
use crate::location::Domains;
use crate::location::Policy;
use crate::location::Registrar;
use crate::location::Target;
use crate::sip::Checked;
use crate::sip::ConnectionId;
use crate::sip::Flow;
use crate::sip::ListenerId;
use crate::sip::Message;
use crate::sip::Scratch;
use crate::sip::Status;
use crate::sip::Transport;
use crate::sip::Uri;
use crate::time::Timestamp;

/// A registrar at 127.0.0.1 with the default policy.
pub(super) struct Rig {
    pub(super) registrar: Registrar,
    pub(super) domains: Domains,
}

/// What a phone writes into its REGISTERs, and where it sends them from.
pub(super) struct Phone {
    pub(super) to: &'static str,
    pub(super) sent_by: &'static str,
    pub(super) call_id: &'static str,
    /// Of the next request.
    pub(super) cseq: u32,
    pub(super) flow: Flow,
}

/// An answer to a REGISTER: its Contacts, or all of its lines if it is not 200.
pub(super) type Answer = (Status, Vec<String>);

impl Rig {
    pub(super) fn new(policy: Policy) -> Self {
        let own = "127.0.0.1".parse().expect("an address");
        Self {
            registrar: Registrar::new(policy),
            domains: Domains::new([own], [""; 0]),
        }
    }

    /// Sends a REGISTER with these further header lines.
    pub(super) fn register(&mut self, at_s: u64, phone: &mut Phone, lines: &[&str]) -> Answer {
        let Phone {
            to,
            sent_by,
            call_id,
            cseq,
            flow,
        } = phone;
        let transport = flow.transport.via_name();
        let text = format!(
            "REGISTER sip:127.0.0.1 SIP/2.0\r\n\
             Via: SIP/2.0/{transport} {sent_by};branch=z9hG4bK{cseq}\r\n\
             From: <sip:alice@127.0.0.1>;tag=1\r\n\
             To: {to}\r\n\
             Call-ID: {call_id}\r\n\
             CSeq: {cseq} REGISTER\r\n\
             {}\r\n",
            lines
                .iter()
                .flat_map(|line| [*line, "\r\n"])
                .collect::<String>()
        );
        *cseq += 1;
        self.receive(at_s, flow, text.as_bytes())
    }

    /// Takes in a REGISTER as received.
    pub(super) fn receive(&mut self, at_s: u64, flow: &Flow, bytes: &[u8]) -> Answer {
        let mut scratch = Scratch::new();
        let message = Message::parse(bytes, &mut scratch).expect("a message");
        let Ok(Checked::Request(request)) = Checked::check(message) else {
            panic!("the REGISTER is no coherent request");
        };
        let mut out = Vec::new();
        let registrar = &mut self.registrar;
        let status = registrar.handle_register(at(at_s), &request, flow, &self.domains, &mut out);
        let text = String::from_utf8(out).expect("ASCII");
        let lines = text
            .strip_suffix("Content-Length: 0\r\n\r\n")
            .expect("an end")
            .lines();
        let is_ok = status == Status::OK;
        let shown = |line: &str| {
            if is_ok {
                contact(line)
            } else {
                line.to_owned()
            }
        };
        (status, lines.map(shown).collect())
    }

    /// Where this user is called.
    pub(super) fn targets(&self, at_s: u64, uri: &str) -> Vec<Target<'_>> {
        self.registrar.targets(at(at_s), &self.aor(uri)).collect()
    }

    /// Where this user is called, as Request-URIs.
    pub(super) fn uris(&self, at_s: u64, uri: &str) -> Vec<&str> {
        let targets = self.targets(at_s, uri).into_iter();
        targets
            .map(|target| str::from_utf8(target.uri).expect("ASCII"))
            .collect()
    }

    pub(super) fn aor(&self, uri: &str) -> Aor {
        let uri = Uri::parse(uri.as_bytes()).expect("a URI");
        self.domains.aor(&uri).expect("a user")
    }
}

impl Phone {
    /// Alice's phone at 192.0.2.1:5060, which has no NAT before it.
    pub(super) fn alice() -> Self {
        Self {
            to: "<sip:alice@127.0.0.1>",
            sent_by: "192.0.2.1",
            call_id: "one",
            cseq: 1,
            flow: udp("192.0.2.1:5060"),
        }
    }
}

/// This many seconds after the start.
pub(super) fn at(after_s: u64) -> Timestamp {
    Timestamp::START + Duration::from_secs(after_s)
}

pub(super) fn udp(remote: &str) -> Flow {
    to(Transport::Udp, remote)
}

pub(super) fn tcp(remote: &str, connection: u32) -> Flow {
    Flow {
        connection: Some(ConnectionId(connection)),
        ..to(Transport::Tcp, remote)
    }
}

/// A flow without a connection, from the one listener.
pub(super) fn to(transport: Transport, remote: &str) -> Flow {
    let remote: SocketAddr = remote.parse().expect("an address and a port");
    Flow {
        transport,
        listener: ListenerId(0),
        remote,
        connection: None,
    }
}

fn contact(line: &str) -> String {
    line.strip_prefix("Contact: ")
        .expect("nothing but Contacts")
        .to_owned()
}
