//! A part played by one SIPp process, and dialogs that go on from one process to the next.
//!
//! One SIPp call is one Call-ID, so a flow of several dialogs is several parts. A dialog that has to
//! wait for what happens elsewhere is begun by one part and taken up by another, with the names that
//! the first one's trace holds: so nothing waits for time.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use crate::message::Message;
use crate::player::Player;
use crate::process::Script;
use crate::stage::{Phone, Stage, Transport};
use crate::trace::Trace;

/// One part, not yet begun.
pub struct Act {
    script: Script,
}

impl Stage {
    /// A part of a phone, by UDP.
    pub fn act(&self, scenario: &str, phone: Phone) -> Act {
        Act {
            script: self.script(scenario, phone, Transport::Udp),
        }
    }
}

impl Act {
    /// Says what a name in square brackets stands for.
    pub fn with(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.script.keys.retain(|(known, _)| *known != key);
        self.script.keys.push((key, value.into()));
        self
    }

    /// At another campon than the stage's.
    pub fn of_campon(mut self, campon: SocketAddr) -> Self {
        self.script.campon = campon;
        self.with("domain", campon.ip().to_string())
    }

    /// At another port of the phone.
    pub fn at_port(mut self, port: u16) -> Self {
        self.script.local.set_port(port);
        self
    }

    /// Takes up a dialog, with one request of its own.
    pub fn within(mut self, dialog: &mut Dialog) -> Self {
        let number = dialog.next_number;
        dialog.next_number += 1;
        self.script.call_id = Some(dialog.call_id.clone());
        self.with("my_name", &dialog.my_name)
            .with("their_name", &dialog.their_name)
            .with("their_contact", &dialog.their_contact)
            .with("next_number", number.to_string())
    }

    /// Goes on in a call that this phone took, with what it got and what it answered.
    pub fn in_call(mut self, invite: &Message, answer: &Message) -> Self {
        self.script.call_id = Some(invite.call_id().to_owned());
        self.with("dialog_target", invite.contact())
            .with("dialog_local", answer.header("To"))
            .with("dialog_remote", invite.header("From"))
    }

    pub fn start(&self) -> Player {
        Player::start(&self.script)
    }

    /// Starts, and waits until it can be called.
    pub fn listen(&self) -> Player {
        let mut player = self.start();
        player.wait_until_listening();
        player
    }

    /// Plays to the end.
    pub fn play(&self) -> Trace {
        self.start().finish()
    }
}

/// A dialog, as one of its sides has to know it to go on.
pub struct Dialog {
    call_id: String,
    my_name: String,
    their_name: String,
    their_contact: String,
    next_number: u32,
}

impl Dialog {
    /// The dialog that a phone began with its first request of this method.
    pub fn begun_by(trace: &Trace, method: &str) -> Self {
        let request = first(trace.sent(), method, None);
        let answer = first(trace.received(), method, Some(200));
        Self::new(
            trace,
            answer.header("From"),
            answer.header("To"),
            answer,
            request,
        )
    }

    /// The dialog that the first request of this method made at the phone that it reached.
    pub fn made_at(trace: &Trace, method: &str) -> Self {
        let request = first(trace.received(), method, None);
        let answer = first(trace.sent(), method, Some(200));
        Self::new(
            trace,
            answer.header("To"),
            answer.header("From"),
            request,
            request,
        )
    }

    fn new(trace: &Trace, mine: &str, theirs: &str, with_contact: &Message, of: &Message) -> Self {
        let sent = trace.sent().filter(|one| one.status().is_none());
        let inside = sent.filter(|one| one.call_id() == of.call_id());
        let last = inside.map(|one| one.cseq().0).max().unwrap_or_default();
        Self {
            call_id: of.call_id().to_owned(),
            my_name: mine.to_owned(),
            their_name: theirs.to_owned(),
            their_contact: with_contact.contact().to_owned(),
            next_number: last + 1,
        }
    }
}

fn first<'m>(
    mut messages: impl Iterator<Item = &'m Message>,
    method: &str,
    status: Option<u16>,
) -> &'m Message {
    let found = messages.find(|one| one.method() == method && one.status() == status);
    found.unwrap_or_else(|| panic!("no {method} {status:?}"))
}

/// An address at which nothing may arrive.
pub struct Silence {
    datagrams: UdpSocket,
    streams: TcpListener,
}

impl Silence {
    pub fn at(address: SocketAddr) -> Self {
        let datagrams = UdpSocket::bind(address).expect("a free address on loopback");
        datagrams.set_nonblocking(true).expect("a socket option");
        let streams = TcpListener::bind(address).expect("a free address on loopback");
        streams.set_nonblocking(true).expect("a socket option");
        Self { datagrams, streams }
    }

    /// Demands that nothing has come.
    pub fn assert_kept(&self) {
        let mut bytes = [0; 2048];
        match self.datagrams.recv(&mut bytes) {
            Ok(length) => panic!(
                "heard {}",
                bytes.get(..length).unwrap_or_default().escape_ascii()
            ),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        match self.streams.accept() {
            Ok((_, from)) => panic!("a connection from {from}"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
}
