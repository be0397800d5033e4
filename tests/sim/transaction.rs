//! Transactions as a phone has them: written from the RFC's text, apart from campon's.
//!
//! Spec: RFC 3261 §17.1, §17.2; RFC 6026 §7.1, §7.2.

use std::net::SocketAddr;
use std::time::Duration;

use campon::time::Timestamp;

use super::wire;
use crate::flow::kit::message::Message;

/// RTT estimate.
pub(crate) const T1: Duration = Duration::from_millis(500);
/// Longest interval between repetitions.
pub(crate) const T2: Duration = Duration::from_secs(4);
/// Longest life of a message.
pub(crate) const T4: Duration = Duration::from_secs(5);
/// How long anything is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(32);

/// A datagram on its way out: where to, and what.
pub(crate) type Packet = (SocketAddr, Message);

/// A datagram that is sent again and again until somebody stops it.
#[derive(Clone, Debug)]
pub(crate) struct Repeat {
    packet: Packet,
    again: Timestamp,
    interval: Duration,
    longest: Duration,
    gives_up: Timestamp,
}

/// What became of a [`Repeat`] whose time had come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Due {
    Nothing,
    GaveUp,
}

impl Repeat {
    /// Sends for the first time, and again after T1, doubling up to `longest`.
    pub(crate) fn start(
        now: Timestamp,
        packet: Packet,
        longest: Duration,
        out: &mut Vec<Packet>,
    ) -> Self {
        out.push(packet.clone());
        Self {
            packet,
            again: now + T1,
            interval: T1,
            longest,
            gives_up: now + PATIENCE,
        }
    }

    fn handle_timeout(&mut self, now: Timestamp, out: &mut Vec<Packet>) -> Due {
        if self.gives_up <= now {
            return Due::GaveUp;
        }
        if self.again <= now {
            out.push(self.packet.clone());
            self.interval = (self.interval * 2).min(self.longest);
            self.again = now + self.interval;
        }
        Due::Nothing
    }

    /// Acts on the slot that holds a repetition; an emptied slot means that it gave up.
    pub(crate) fn tick(slot: &mut Option<Self>, now: Timestamp, out: &mut Vec<Packet>) -> Due {
        let due = slot
            .as_mut()
            .map_or(Due::Nothing, |repeat| repeat.handle_timeout(now, out));
        if due == Due::GaveUp {
            *slot = None;
        }
        due
    }

    pub(crate) fn deadline(&self) -> Timestamp {
        self.again.min(self.gives_up)
    }
}

/// A request of the phone's own.
#[derive(Debug)]
pub(crate) struct Client {
    /// The request as it was sent.
    pub(crate) request: Message,
    /// The call that it belongs to.
    pub(crate) call: u64,
    to: SocketAddr,
    /// When an INVITE that was taken back is given up (RFC 3261 §9.1).
    gives_up: Option<Timestamp>,
    state: ClientState,
}

#[derive(Debug)]
enum ClientState {
    Trying(Repeat),
    /// A 1xx came; only a non-INVITE is still repeated.
    Proceeding(Option<Repeat>),
    /// A final came; an INVITE's is acknowledged as often as it is repeated.
    Ended {
        ends: Timestamp,
        ack: Option<Packet>,
    },
    Gone,
}

/// What a response means to the user of the transaction.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Heard {
    Provisional,
    Final,
    /// A final after the first: the same again, or one that must not be.
    FinalAgain,
}

impl Client {
    /// Sends the request.
    pub(crate) fn start(
        now: Timestamp,
        call: u64,
        to: SocketAddr,
        request: Message,
        out: &mut Vec<Packet>,
    ) -> Self {
        let longest = if request.kind() == "INVITE" {
            PATIENCE
        } else {
            T2
        };
        let repeat = Repeat::start(now, (to, request.clone()), longest, out);
        Self {
            request,
            call,
            to,
            gives_up: None,
            state: ClientState::Trying(repeat),
        }
    }

    /// Whether a response is for this request.
    pub(crate) fn is_answered_by(&self, response: &Message) -> bool {
        self.request.branch() == response.branch()
            && self.request.kind() == response.cseq_method()
            && !self.is_gone()
    }

    pub(crate) fn is_gone(&self) -> bool {
        matches!(self.state, ClientState::Gone)
    }

    /// Whether no final response has come yet.
    pub(crate) fn is_open(&self) -> bool {
        matches!(
            self.state,
            ClientState::Trying(_) | ClientState::Proceeding(_)
        )
    }

    pub(crate) fn handle_response(
        &mut self,
        now: Timestamp,
        response: &Message,
        out: &mut Vec<Packet>,
    ) -> Heard {
        let is_invite = self.request.kind() == "INVITE";
        if response.status() < 200 {
            self.proceed(is_invite);
            return Heard::Provisional;
        }
        if let ClientState::Ended { ack, .. } = &self.state {
            out.extend(ack.clone());
            return Heard::FinalAgain;
        }
        let fails = response.status() >= 300;
        let ack = (is_invite && fails).then(|| (self.to, wire::ack_of_failure(self, response)));
        out.extend(ack.clone());
        let keeps = if is_invite { PATIENCE } else { T4 };
        let ends = now + keeps;
        self.state = ClientState::Ended { ends, ack };
        Heard::Final
    }

    /// From here on this ACK goes out for each repetition of the 2xx.
    pub(crate) fn acknowledges_with(&mut self, packet: Packet) {
        if let ClientState::Ended { ack, .. } = &mut self.state {
            *ack = Some(packet);
        }
    }

    /// Repeats, gives up or ends; `GaveUp` is timer B or F.
    pub(crate) fn handle_timeout(&mut self, now: Timestamp, out: &mut Vec<Packet>) -> Due {
        let due = match &mut self.state {
            ClientState::Trying(repeat) | ClientState::Proceeding(Some(repeat)) => {
                repeat.handle_timeout(now, out)
            }
            ClientState::Ended { ends, .. } if *ends <= now => {
                self.state = ClientState::Gone;
                Due::Nothing
            }
            ClientState::Proceeding(None) if self.gives_up.is_some_and(|at| at <= now) => {
                Due::GaveUp
            }
            ClientState::Ended { .. } | ClientState::Proceeding(None) | ClientState::Gone => {
                Due::Nothing
            }
        };
        if due == Due::GaveUp {
            self.state = ClientState::Gone;
        }
        due
    }

    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        match &self.state {
            ClientState::Trying(repeat) | ClientState::Proceeding(Some(repeat)) => {
                Some(repeat.deadline())
            }
            ClientState::Ended { ends, .. } => Some(*ends),
            ClientState::Proceeding(None) => self.gives_up,
            ClientState::Gone => None,
        }
    }

    /// It was taken back.
    pub(crate) fn takes_back(&mut self, now: Timestamp) {
        self.gives_up = Some(now + PATIENCE);
    }

    fn proceed(&mut self, is_invite: bool) {
        let before = std::mem::replace(&mut self.state, ClientState::Gone);
        self.state = match before {
            ClientState::Trying(mut repeat) if !is_invite => {
                repeat.interval = T2;
                ClientState::Proceeding(Some(repeat))
            }
            ClientState::Trying(_) => ClientState::Proceeding(None),
            other
            @ (ClientState::Proceeding(_) | ClientState::Ended { .. } | ClientState::Gone) => other,
        };
    }
}

/// A request of the other's.
#[derive(Debug)]
pub(crate) struct Server {
    /// The request as it came.
    pub(crate) request: Message,
    /// The call that it belongs to.
    pub(crate) call: u64,
    from: SocketAddr,
    last: Option<Message>,
    /// How often it came again.
    copies: u32,
    state: ServerState,
}

#[derive(Debug)]
enum ServerState {
    /// No final response yet.
    Open,
    /// A failure of an INVITE, repeated until its ACK comes.
    Refusing(Option<Repeat>, Timestamp),
    /// Nothing more to say; a repeated request gets the last response if `answers`.
    Ended { ends: Timestamp, answers: bool },
}

impl Server {
    pub(crate) fn new(request: Message, call: u64, from: SocketAddr) -> Self {
        Self {
            request,
            call,
            from,
            last: None,
            copies: 0,
            state: ServerState::Open,
        }
    }

    /// Whether a request is the one of this transaction again, or its ACK.
    pub(crate) fn is_for(&self, request: &Message) -> bool {
        let method = if request.kind() == "ACK" {
            "INVITE"
        } else {
            request.kind()
        };
        self.is_asked_by(request) && self.request.kind() == method
    }

    /// Whether a request has the branch and the sender of this transaction: its CANCEL does.
    pub(crate) fn is_asked_by(&self, request: &Message) -> bool {
        self.request.branch() == request.branch()
            && wire::sent_by(&self.request) == wire::sent_by(request)
    }

    /// Whether a response is to its request.
    pub(crate) fn is_answered_by(&self, response: &Message) -> bool {
        let request = &self.request;
        request.branch() == response.branch() && request.kind() == response.cseq_method()
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, ServerState::Open)
    }

    /// Whether its request has not come again.
    pub(crate) fn came_once(&self) -> bool {
        self.copies == 0
    }

    pub(crate) fn is_gone(&self, now: Timestamp) -> bool {
        match self.state {
            ServerState::Open => false,
            ServerState::Refusing(_, ends) | ServerState::Ended { ends, .. } => ends <= now,
        }
    }

    /// Sends a response; a 2xx to an INVITE is the user's to repeat.
    pub(crate) fn respond(
        &mut self,
        now: Timestamp,
        response: &Message,
        out: &mut Vec<Packet>,
    ) -> Packet {
        let packet = (self.from, response.clone());
        self.last = Some(response.clone());
        let is_invite = self.request.kind() == "INVITE";
        match response.status() {
            100..200 => out.push(packet.clone()),
            200..300 if is_invite => {
                let ends = now + PATIENCE;
                let answers = false;
                self.state = ServerState::Ended { ends, answers };
            }
            _ if is_invite => {
                let repeat = Repeat::start(now, packet.clone(), T2, out);
                self.state = ServerState::Refusing(Some(repeat), now + PATIENCE);
            }
            _ => {
                out.push(packet.clone());
                let (ends, answers) = (now + PATIENCE, true);
                self.state = ServerState::Ended { ends, answers };
            }
        }
        packet
    }

    /// The request came again.
    pub(crate) fn handle_again(&mut self, out: &mut Vec<Packet>) {
        self.copies += 1;
        let answers = !matches!(self.state, ServerState::Ended { answers: false, .. });
        if let Some(last) = self.last.clone().filter(|_| answers) {
            out.push((self.from, last));
        }
    }

    /// The ACK of a failure came.
    pub(crate) fn handle_ack(&mut self, now: Timestamp) {
        if matches!(self.state, ServerState::Refusing(..)) {
            let (ends, answers) = (now + T4, false);
            self.state = ServerState::Ended { ends, answers };
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Timestamp, out: &mut Vec<Packet>) {
        if let ServerState::Refusing(repeat, _) = &mut self.state {
            Repeat::tick(repeat, now, out);
        }
    }

    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        match &self.state {
            ServerState::Open => None,
            ServerState::Refusing(Some(repeat), _) => Some(repeat.deadline()),
            ServerState::Refusing(None, ends) | ServerState::Ended { ends, .. } => Some(*ends),
        }
    }
}
