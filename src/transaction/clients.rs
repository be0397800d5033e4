//! The client transactions of a worker: each request is sent until it is answered.
//!
//! Spec: RFC 3261 §17.1, §9.1; RFC 6026 §7.2.
//!
//! A CANCEL shares the entry of its INVITE: it has the same branch, and nobody needs it longer.

mod failover;
mod proof;

use std::collections::VecDeque;

use crate::sip::flow::Flow;
use crate::sip::method::Method;
use crate::sip::status::Status;
use crate::sip::{Message, Name, NameAddr, Response, Scratch};
use crate::table::{Full, Key, Table};
use crate::time::Timestamp;
use crate::transaction::branch::Branch;
use crate::transaction::fallback::{Attempt, Fallback, ServerFailed, Trouble};
use crate::transaction::login::Proven;
use crate::transaction::outbox::SendId;
use crate::transaction::steps::{Due, trace};
use crate::transaction::wishes::{Wish, Wishes};
use crate::transaction::{Armed, Count, Turn, User, derived};
use crate::transaction::{invite_client, non_invite_client};

/// A request to be sent; the transaction adds the Via.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'o> {
    /// The method.
    pub method: Method<'o>,
    /// The Request-URI.
    pub uri: &'o [u8],
    /// The way to the next hop.
    pub flow: Flow,
    /// Who hears of the answers; nobody if `None`.
    pub user: Option<User>,
    /// [`crate::transaction::digest::Digester::destination`] of the request that caused this one.
    pub destination: u64,
    /// Header lines, the blank line and the body, as a fragment of the writer.
    pub fields: &'o [u8],
}

/// What a response turned out to be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Heard {
    /// A repetition, or an answer that nobody waits for.
    Absorbed,
    /// S-07: a 2xx of a server that was given up: what it began is to be ended.
    Orphan,
    /// S-44: it answers nothing that we sent.
    Stray,
    /// It is for this user.
    Up(User),
}

/// Why a request failed without an answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Failure {
    /// Nothing came in time: as good as 408 (RFC 3261 §8.1.3.1).
    TimedOut,
    /// It could not be sent: as good as 503 (S-27).
    Unreachable,
}

#[derive(Clone, Copy, Debug)]
enum Machine {
    Invite(invite_client::State),
    Other(non_invite_client::State),
}

/// The CANCEL of an INVITE.
#[derive(Debug)]
enum Cancel {
    /// S-08: it waits for the first provisional response.
    Wanted { reason: Box<[u8]> },
    /// It is under way.
    Sent {
        machine: non_invite_client::State,
        request: Box<[u8]>,
    },
}

#[derive(Debug)]
struct Client {
    machine: Machine,
    nonce: u64,
    flow: Flow,
    user: Option<User>,
    /// The request while it may be sent again, then the ACK of a failure.
    request: Box<[u8]>,
    cancel: Option<Box<Cancel>>,
    /// Where else the request may go, while it may.
    attempt: Option<Box<Attempt>>,
    /// Whether the request has gone elsewhere, and nobody waits for this answer.
    is_given_up: bool,
    /// What [`Branch::destination`] says.
    destination: u64,
    began: Timestamp,
    armed: Option<Timestamp>,
}

/// All client transactions.
#[derive(Debug)]
pub struct Clients {
    table: Table<Client>,
    /// The request that was answered last, as it was sent.
    answered: Option<(Key, Box<[u8]>)>,
    scratch: Scratch,
    failed: VecDeque<ServerFailed>,
    proven: VecDeque<Proven>,
}

impl Clients {
    /// None yet, and never more than `max` at once.
    pub fn new(max: usize) -> Self {
        Self {
            table: Table::new(max),
            answered: None,
            scratch: Scratch::new(),
            failed: VecDeque::new(),
            proven: VecDeque::new(),
        }
    }

    /// How many there may be; those that are there already stay.
    pub fn set_max(&mut self, max: usize) {
        self.table.set_max(max);
    }

    /// Sends a request and waits for its answers.
    pub fn start(&mut self, turn: &mut Turn<'_>, outgoing: &Outgoing<'_>) -> Result<Key, Full> {
        self.start_with(turn, outgoing, None)
    }

    /// The same, to one server of several.
    pub fn start_with(
        &mut self,
        turn: &mut Turn<'_>,
        outgoing: &Outgoing<'_>,
        fallback: Option<Fallback>,
    ) -> Result<Key, Full> {
        let attempt = fallback.map(|fallback| Attempt::start(turn.now, fallback));
        self.start_attempt(turn, outgoing, attempt)
    }

    fn start_attempt(
        &mut self,
        turn: &mut Turn<'_>,
        outgoing: &Outgoing<'_>,
        attempt: Option<Attempt>,
    ) -> Result<Key, Full> {
        let machine = Machine::start(turn, outgoing);
        let nonce = turn.rng.bits();
        let key = self.table.insert(Client {
            machine,
            nonce,
            flow: outgoing.flow,
            user: outgoing.user,
            request: Box::default(),
            cancel: None,
            attempt: attempt.map(Box::new),
            is_given_up: false,
            destination: outgoing.destination,
            began: turn.now,
            armed: None,
        })?;
        let branch = Branch {
            key,
            nonce,
            destination: outgoing.destination,
        };
        let sent = turn.send(outgoing, branch, SendId(Some(key)));
        let request = Box::from(sent);
        if let Some(client) = self.table.get_mut(key) {
            client.request = request;
        }
        self.arm(turn, key);
        Ok(key)
    }

    /// Takes a response.
    pub fn handle_response(&mut self, turn: &mut Turn<'_>, response: &Response<'_>) -> Heard {
        let branch = response.via.branch().and_then(Branch::parse);
        let Some((key, client)) = branch.and_then(|branch| {
            let client = self.table.get_mut(branch.key)?;
            (client.nonce == branch.nonce).then_some((branch.key, client))
        }) else {
            return Heard::Stray;
        };
        if response.cseq.method == Method::Cancel {
            client.on_cancel_answered(turn, response);
            self.arm(turn, key);
            return Heard::Absorbed;
        }
        let is_invite = response.cseq.method == Method::Invite;
        if is_invite != matches!(client.machine, Machine::Invite(_)) {
            return Heard::Stray;
        }
        let (user, is_given_up) = (client.user, client.is_given_up);
        if client.is_accepted()
            && response.status.is_success()
            && client.repeats(&mut self.scratch, response)
        {
            turn.outbox
                .send(client.flow, &client.request, SendId::default());
            return Heard::Absorbed;
        }
        let (machine, wishes) = client.after(turn, response.status);
        let mut has_moved = self.try_next(turn, key, response);
        if wishes.has(Wish::Ack) {
            self.acknowledge(turn, key, response);
        }
        has_moved |= self.prove(turn, key, response);
        self.settle(turn, key, machine);
        match user {
            Some(_) if is_given_up && response.status.is_success() => Heard::Orphan,
            Some(user) if wishes.has(Wish::Up) && !is_given_up && !has_moved => Heard::Up(user),
            _ => Heard::Absorbed,
        }
    }

    /// Sends the ACK of a 2xx and keeps it with the INVITE's transaction, to be sent again with each
    /// repetition of the 2xx (S-04), whatever has become of the call by then.
    pub fn acknowledge_success(&mut self, turn: &mut Turn<'_>, key: Key, outgoing: &Outgoing<'_>) {
        let sent = turn.send_once(outgoing);
        if let Some(client) = self
            .table
            .get_mut(key)
            .filter(|client| client.is_accepted())
        {
            client.flow = outgoing.flow;
            client.request = Box::from(sent);
        }
    }

    /// Withdraws an INVITE: at once if a provisional response came, else when one comes (S-08).
    pub fn cancel(&mut self, turn: &mut Turn<'_>, key: Key, reason: &[u8]) {
        let Some(client) = self.table.get_mut(key) else {
            return;
        };
        if client.cancel.is_some() {
            return;
        }
        let reason = Box::from(reason);
        // What is withdrawn goes nowhere else.
        client.attempt = None;
        client.cancel = Some(Box::new(Cancel::Wanted { reason }));
        if client.is_proceeding() {
            self.send_cancel(turn, key);
        }
    }

    /// Withdraws what is left of a user that is no more; nobody hears of its answers.
    pub fn abandon(&mut self, turn: &mut Turn<'_>, is_gone: impl Fn(User) -> bool) {
        let of_user = |client: &Client| client.is_owing() && client.user.is_some_and(&is_gone);
        let gone = self.table.iter().filter(|(_, client)| of_user(client));
        let gone: Vec<_> = gone.map(|(key, client)| (key, client.machine)).collect();
        for (key, machine) in gone {
            if let Machine::Invite(_) = machine {
                self.cancel(turn, key, b"");
            }
        }
    }

    /// Says that a request could not be sent; the user is told (S-27).
    pub fn handle_not_sent(&mut self, turn: &mut Turn<'_>, key: Key) -> Option<(User, Failure)> {
        let client = self.table.get_mut(key)?;
        let (machine, wishes) = client.after_transport_error(turn);
        let user = client.user.filter(|_| !client.is_given_up);
        let has_moved =
            wishes.has(Wish::Unreachable) && self.move_on(turn, key, Trouble::Unreachable);
        self.settle(turn, key, machine);
        Some((user?, Failure::Unreachable)).filter(|_| wishes.has(Wish::Unreachable) && !has_moved)
    }

    /// Acts on a deadline of this transaction.
    pub fn handle_timeout(&mut self, turn: &mut Turn<'_>, key: Key) -> Option<(User, Failure)> {
        let client = self.table.get_mut(key)?;
        if client.armed.is_some_and(|armed| armed <= turn.now) {
            client.armed = None;
        }
        client.resend_cancel(turn);
        if client.is_out_of_patience(turn.now) && self.move_on(turn, key, Trouble::Silent) {
            self.give_up(turn, key);
            return None;
        }
        let client = self.table.get_mut(key)?;
        let (machine, wishes) = client.after_timeout(turn);
        let user = client.user.filter(|_| !client.is_given_up);
        if wishes.has(Wish::Resend) && !client.is_given_up {
            let (flow, id) = (client.flow, SendId(Some(key)));
            turn.outbox.send(flow, &client.request, id);
        }
        let has_moved = wishes.has(Wish::TimedOut) && self.move_on(turn, key, Trouble::Silent);
        self.settle(turn, key, machine);
        Some((user?, Failure::TimedOut)).filter(|_| wishes.has(Wish::TimedOut) && !has_moved)
    }

    /// Gives up a request whose answer nobody waits for.
    pub fn forget(&mut self, key: Key) {
        self.table.remove(key);
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// The request of this transaction, if its final response is the one that came last; else empty.
    pub fn answered(&self, key: Key) -> &[u8] {
        let answered = self.answered.as_ref().filter(|(of, _)| *of == key);
        answered.map(|(_, request)| &**request).unwrap_or_default()
    }

    /// How many there are.
    pub fn count(&self) -> Count {
        let mut count = Count::default();
        for (_, client) in self.table.iter() {
            count.add(client.is_owing(), client.began);
        }
        count
    }

    fn settle(&mut self, turn: &mut Turn<'_>, key: Key, machine: Option<Machine>) {
        let Some(machine) = machine else {
            self.table.remove(key);
            return;
        };
        let Some(client) = self.table.get_mut(key) else {
            return;
        };
        let was_accepted = client.is_accepted();
        client.machine = machine;
        if !was_accepted && let Some(given_up) = client.give_up_request() {
            self.answered = Some((key, given_up));
        }
        let cancel_due = client.is_proceeding() && client.is_cancel_wanted();
        if cancel_due {
            self.send_cancel(turn, key);
        } else {
            self.arm(turn, key);
        }
    }

    fn send_cancel(&mut self, turn: &mut Turn<'_>, key: Key) {
        let Some(client) = self.table.get_mut(key) else {
            return;
        };
        let Some(Cancel::Wanted { reason }) = client.cancel.as_deref() else {
            return;
        };
        let mut request = Vec::with_capacity(512);
        derived::write_cancel(&mut request, &mut self.scratch, &client.request, reason);
        turn.outbox.send(client.flow, &request, SendId::default());
        let reliable = client.flow.transport.is_reliable();
        let sent = &mut Wishes::default();
        let machine = non_invite_client::State::start(turn.now, turn.timing, reliable, sent);
        client.cancel = Some(Box::new(Cancel::Sent {
            machine,
            request: request.into_boxed_slice(),
        }));
        client.on_cancel_sent(turn);
        self.arm(turn, key);
    }

    /// S-03: the ACK of a failure takes the place of the INVITE, to be sent again with each
    /// repetition of the failure.
    fn acknowledge(&mut self, turn: &mut Turn<'_>, key: Key, response: &Response<'_>) {
        let Some(client) = self.table.get_mut(key) else {
            return;
        };
        if !client.is_completed() {
            let to = response.message.first(Name::To).unwrap_or_default();
            let mut ack = Vec::with_capacity(512);
            derived::write_ack(&mut ack, &mut self.scratch, &client.request, to);
            let invite = std::mem::replace(&mut client.request, ack.into_boxed_slice());
            self.answered = Some((key, invite));
            client.cancel = None;
        }
        turn.outbox
            .send(client.flow, &client.request, SendId(Some(key)));
    }

    fn arm(&mut self, turn: &mut Turn<'_>, key: Key) {
        if let Some(client) = self.table.get_mut(key) {
            let deadline = client.deadline();
            turn.arm(Armed::Client(key), deadline, &mut client.armed);
        }
    }
}

impl Machine {
    fn start(turn: &Turn<'_>, outgoing: &Outgoing<'_>) -> Self {
        let (now, timing) = (turn.now, turn.timing);
        let reliable = outgoing.flow.transport.is_reliable();
        // The request goes out with the transaction, so there is nothing left to wish for.
        let sent = &mut Wishes::default();
        if outgoing.method == Method::Invite {
            Self::Invite(invite_client::State::start(now, timing, reliable, sent))
        } else {
            Self::Other(non_invite_client::State::start(now, timing, reliable, sent))
        }
    }
}

impl Client {
    fn on_cancel_answered(&mut self, turn: &Turn<'_>, response: &Response<'_>) {
        let Some(Cancel::Sent { machine, .. }) = self.cancel.as_deref_mut() else {
            return;
        };
        let event = non_invite_client::Event::Response(response.status.into());
        let reliable = self.flow.transport.is_reliable();
        let unheard = &mut Wishes::default();
        trace("non-invite client", &*machine, &event);
        match machine.handle(turn.now, event, turn.timing, reliable, unheard) {
            Some(next) => *machine = next,
            None => self.cancel = None,
        }
    }

    fn on_cancel_sent(&mut self, turn: &Turn<'_>) {
        if let (Some(machine), _) = self.after_event(turn, invite_client::Event::CancelSent) {
            self.machine = machine;
        }
    }

    fn resend_cancel(&mut self, turn: &mut Turn<'_>) {
        let Some(Cancel::Sent { machine, request }) = self.cancel.as_deref_mut() else {
            return;
        };
        let mut wishes = Wishes::default();
        let reliable = self.flow.transport.is_reliable();
        let next = machine.handle_timeout(turn.now, turn.timing, &mut wishes);
        trace("non-invite client", &*machine, &Due::of(next.as_ref()));
        if wishes.has(Wish::Resend) && !reliable {
            turn.outbox.send(self.flow, request, SendId::default());
        }
        match next {
            Some(next) => *machine = next,
            None => self.cancel = None,
        }
    }

    fn after(&self, turn: &Turn<'_>, status: Status) -> (Option<Machine>, Wishes) {
        let mut wishes = Wishes::default();
        match self.machine {
            Machine::Invite(_) => {
                self.after_event(turn, invite_client::Event::Response(status.into()))
            }
            Machine::Other(state) => {
                let event = non_invite_client::Event::Response(status.into());
                trace("non-invite client", &state, &event);
                let reliable = self.flow.transport.is_reliable();
                let next = state.handle(turn.now, event, turn.timing, reliable, &mut wishes);
                (next.map(Machine::Other), wishes)
            }
        }
    }

    /// S-27: the user hears that the peer cannot be reached.
    fn after_transport_error(&self, turn: &Turn<'_>) -> (Option<Machine>, Wishes) {
        match self.machine {
            Machine::Invite(_) => self.after_event(turn, invite_client::Event::TransportError),
            Machine::Other(state) => {
                let mut wishes = Wishes::default();
                let event = non_invite_client::Event::TransportError;
                trace("non-invite client", &state, &event);
                let reliable = self.flow.transport.is_reliable();
                let next = state.handle(turn.now, event, turn.timing, reliable, &mut wishes);
                (next.map(Machine::Other), wishes)
            }
        }
    }

    fn after_event(
        &self,
        turn: &Turn<'_>,
        event: invite_client::Event,
    ) -> (Option<Machine>, Wishes) {
        let mut wishes = Wishes::default();
        let Machine::Invite(state) = self.machine else {
            return (Some(self.machine), wishes);
        };
        trace("invite client", &state, &event);
        let reliable = self.flow.transport.is_reliable();
        let next = state.handle(turn.now, event, turn.timing, reliable, &mut wishes);
        (next.map(Machine::Invite), wishes)
    }

    fn after_timeout(&self, turn: &Turn<'_>) -> (Option<Machine>, Wishes) {
        let mut wishes = Wishes::default();
        let machine = match self.machine {
            Machine::Invite(state) => {
                let next = state.handle_timeout(turn.now, &mut wishes);
                trace("invite client", &state, &Due::of(next.as_ref()));
                next.map(Machine::Invite)
            }
            Machine::Other(state) => {
                let next = state.handle_timeout(turn.now, turn.timing, &mut wishes);
                trace("non-invite client", &state, &Due::of(next.as_ref()));
                next.map(Machine::Other)
            }
        };
        (machine, wishes)
    }

    fn deadline(&self) -> Option<Timestamp> {
        let own = match self.machine {
            Machine::Invite(state) => state.deadline(),
            Machine::Other(state) => state.deadline(),
        };
        let cancel = match self.cancel.as_deref() {
            Some(Cancel::Sent { machine, .. }) => machine.deadline(),
            Some(Cancel::Wanted { .. }) | None => None,
        };
        let next = self.attempt.as_deref().and_then(|attempt| attempt.until);
        own.into_iter().chain(cancel).chain(next).min()
    }

    /// What cannot be sent again is not kept.
    fn give_up_request(&mut self) -> Option<Box<[u8]>> {
        if matches!(
            self.machine,
            Machine::Invite(invite_client::State::Accepted { .. })
                | Machine::Other(non_invite_client::State::Completed { .. })
        ) {
            self.cancel = None;
            return Some(std::mem::take(&mut self.request));
        }
        None
    }

    /// Whether a 2xx is that which was acknowledged, and not another fork's.
    fn repeats(&self, scratch: &mut Scratch, response: &Response<'_>) -> bool {
        let Ok(ack) = Message::parse(&self.request, scratch) else {
            // Nothing has been acknowledged yet.
            return false;
        };
        let acked = NameAddr::parse(ack.first(Name::To).unwrap_or_default());
        acked.is_ok_and(|acked| acked.tag() == response.to.tag())
    }

    fn is_accepted(&self) -> bool {
        matches!(
            self.machine,
            Machine::Invite(invite_client::State::Accepted { .. })
        )
    }

    fn is_proceeding(&self) -> bool {
        matches!(
            self.machine,
            Machine::Invite(invite_client::State::Proceeding { .. })
        )
    }

    fn is_completed(&self) -> bool {
        matches!(
            self.machine,
            Machine::Invite(invite_client::State::Completed { .. })
        )
    }

    fn is_cancel_wanted(&self) -> bool {
        matches!(self.cancel.as_deref(), Some(Cancel::Wanted { .. }))
    }

    fn is_owing(&self) -> bool {
        if self.is_given_up {
            return false;
        }
        match self.machine {
            Machine::Invite(
                invite_client::State::Calling { .. } | invite_client::State::Proceeding { .. },
            )
            | Machine::Other(
                non_invite_client::State::Trying { .. }
                | non_invite_client::State::Proceeding { .. },
            ) => true,
            Machine::Invite(
                invite_client::State::Accepted { .. } | invite_client::State::Completed { .. },
            )
            | Machine::Other(non_invite_client::State::Completed { .. }) => false,
        }
    }
}
