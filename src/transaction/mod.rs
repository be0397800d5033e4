//! Transactions: requests are sent until answered, and answered once.
//!
//! Spec: RFC 3261 §17, §18; RFC 6026; RFC 4320.
//!
//! Four machines, each a value in a file of its own; [`Layer`] holds those of one worker, matches
//! messages to them and keeps their deadlines.

pub mod branch;
pub mod clients;
mod derived;
pub mod digest;
pub mod fallback;
pub mod invite_client;
pub mod invite_server;
pub mod login;
pub mod non_invite_client;
pub mod non_invite_server;
pub mod outbox;
pub mod reply;
pub mod servers;
mod steps;
pub mod timing;
mod wishes;

#[cfg(test)]
mod matrix;

use crate::random::Rng;
use crate::sip::flow::Flow;
use crate::sip::status::Status;
use crate::sip::{Message, Name, Request, Response, Via};
use crate::table::{Full, Key};
use crate::time::Timestamp;
use crate::transaction::branch::Branch;
use crate::transaction::clients::{Clients, Failure, Heard, Outgoing};
use crate::transaction::digest::{DigestMap, Digester};
use crate::transaction::fallback::{Fallback, ServerFailed};
use crate::transaction::login::Proven;
use crate::transaction::outbox::{Outbox, SendId};
use crate::transaction::reply::Tag;
use crate::transaction::servers::{Answer, Arrival, NoAck, Servers};
use crate::transaction::timing::Timing;
use crate::wheel::Wheel;

/// The class of a response, as far as a transaction cares.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Class {
    /// 1xx
    Provisional,
    /// 2xx
    Success,
    /// 3xx-6xx
    Failure,
}

impl From<Status> for Class {
    fn from(status: Status) -> Self {
        match status.code() {
            ..200 => Self::Provisional,
            200..300 => Self::Success,
            300.. => Self::Failure,
        }
    }
}

/// Whom a transaction tells: a call, and which part of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct User {
    /// The call.
    pub call: Key,
    /// The part, in the call's own numbering.
    pub part: u16,
}

/// What a transaction tells without having been asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Event {
    /// A request of ours failed without an answer.
    Failed(User, Failure),
    /// Nobody acknowledged our failure response to an INVITE.
    NoAck(User),
}

/// Whose deadline it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Armed {
    /// A client transaction.
    Client(Key),
    /// A server transaction.
    Server(Key),
}

/// How many transactions there are, of one kind.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Count {
    /// All.
    pub all: usize,
    /// Those that still wait for something, rather than only absorbing what is repeated.
    pub owing: usize,
    /// When the oldest began.
    pub oldest: Option<Timestamp>,
}

impl Count {
    fn add(&mut self, is_owing: bool, began: Timestamp) {
        self.all += 1;
        self.owing += usize::from(is_owing);
        self.oldest = self
            .oldest
            .map_or(Some(began), |oldest| Some(oldest.min(began)));
    }
}

/// The transactions of one worker.
#[derive(Debug)]
pub struct Layer {
    timing: Timing,
    /// The sent-by of each listener.
    sent_by: Vec<Box<[u8]>>,
    digester: Digester,
    servers: Servers,
    clients: Clients,
    wheel: Wheel<Armed>,
    outbox: Outbox,
    rng: Rng,
    /// The server transaction that is taken up again: see [`Layer::resume`].
    resuming: Option<(Timestamp, Key)>,
}

/// What a transaction may use while it is handled.
#[derive(Debug)]
pub struct Turn<'t> {
    now: Timestamp,
    timing: Timing,
    sent_by: &'t [Box<[u8]>],
    digester: &'t Digester,
    wheel: &'t mut Wheel<Armed>,
    outbox: &'t mut Outbox,
    rng: &'t mut Rng,
}

impl Layer {
    /// No transactions yet; `sent_by` is the host and port of each listener, as peers see it.
    pub fn new(timing: Timing, sent_by: Vec<Box<[u8]>>, max: usize, mut rng: Rng) -> Self {
        Self {
            timing,
            sent_by,
            digester: Digester::new(&mut rng),
            servers: Servers::new(max),
            clients: Clients::new(max),
            wheel: Wheel::new(),
            outbox: Outbox::default(),
            rng,
            resuming: None,
        }
    }

    /// The times of what is begun or goes on from here; deadlines that are set stay.
    pub fn set_timing(&mut self, timing: Timing) {
        self.timing = timing;
    }

    /// What we call ourselves in responses, where nobody behind us has said who answers.
    pub fn set_name(&mut self, name: Option<&str>) {
        self.servers.set_named(reply::server_line(name));
    }

    /// How many transactions of each kind there may be.
    pub fn set_max(&mut self, max: usize) {
        self.servers.set_max(max);
        self.clients.set_max(max);
    }

    /// Finds out what a request is, and deals with what is only a repetition.
    pub fn sort(&mut self, now: Timestamp, request: &Request<'_>, flow: &Flow) -> Arrival {
        let (servers, _, mut turn) = self.split(now);
        servers.sort(&mut turn, request, flow)
    }

    /// Begins the transaction of a new request.
    pub fn accept(
        &mut self,
        now: Timestamp,
        request: &Request<'_>,
        flow: &Flow,
        user: Option<User>,
    ) -> Result<Key, Full> {
        if let Some((_, server)) = self.resuming.take() {
            self.servers.adopt(server, user);
            return Ok(server);
        }
        let (servers, _, mut turn) = self.split(now);
        servers.accept(&mut turn, request, flow, user)
    }

    /// Takes up a request that was accepted and put aside: until [`Self::end_resuming`], the next
    /// [`Self::accept`] or [`Self::refuse`] is about its transaction.
    pub fn resume(&mut self, now: Timestamp, server: Key) {
        self.resuming = Some((now, server));
    }

    /// The request that was taken up has been handled, or put aside again.
    pub fn end_resuming(&mut self) {
        self.resuming = None;
    }

    /// Answers a request, and again whenever it is repeated.
    pub fn respond(&mut self, now: Timestamp, server: Key, answer: &Answer<'_>) {
        let (servers, _, mut turn) = self.split(now);
        servers.respond(&mut turn, server, answer);
    }

    /// Sends the 2xx of this transaction again (S-05).
    pub fn resend(&mut self, server: Key) {
        self.servers.resend(&mut self.outbox, server);
    }

    /// Gives up the 2xx that has been acknowledged.
    pub fn release(&mut self, server: Key) {
        self.servers.release(server);
    }

    /// Ends what a user has begun that is no more: its requests are answered 500, and its INVITEs
    /// withdrawn. Looks at every transaction.
    pub fn abandon(&mut self, now: Timestamp, is_gone: impl Fn(User) -> bool) {
        let (servers, clients, mut turn) = self.split(now);
        servers.abandon(&mut turn, &is_gone);
        clients.abandon(&mut turn, &is_gone);
    }

    /// Whose server transaction it is.
    pub fn user(&self, server: Key) -> Option<User> {
        self.servers.user(server)
    }

    /// Answers a request and keeps nothing of it: a repetition is answered anew (RFC 3261 §8.2.7).
    ///
    /// `rest` is a fragment of the writer. The To tag depends on the request alone.
    pub fn refuse(&mut self, message: &Message<'_>, flow: &Flow, status: Status, rest: &[u8]) {
        let tag = self.digester.stateless_tag(&[
            message.first(Name::CallId).unwrap_or_default(),
            message.first(Name::From).unwrap_or_default(),
            message.first(Name::CSeq).unwrap_or_default(),
        ]);
        self.answer_once(message, flow, (status, &branch::hex(tag)), rest);
    }

    /// As [`Self::refuse`], with a To tag of the caller's choosing and nothing else.
    pub fn answer_with_tag(
        &mut self,
        message: &Message<'_>,
        flow: &Flow,
        status: Status,
        tag: &[u8],
    ) {
        self.answer_once(message, flow, (status, tag), reply::NOTHING);
    }

    /// Sends a request and waits for its answers.
    pub fn request(&mut self, now: Timestamp, outgoing: &Outgoing<'_>) -> Result<Key, Full> {
        let (_, clients, mut turn) = self.split(now);
        clients.start(&mut turn, outgoing)
    }

    /// As [`Self::request`], to one server of several: when it fails, the request goes to the next,
    /// and [`Self::poll_server_failed`] tells so (S-101).
    pub fn request_with(
        &mut self,
        now: Timestamp,
        outgoing: &Outgoing<'_>,
        fallback: Option<&Fallback>,
    ) -> Result<Key, Full> {
        let (_, clients, mut turn) = self.split(now);
        clients.start_with(&mut turn, outgoing, fallback.cloned())
    }

    /// The next server that failed a request which could, or could not, go elsewhere.
    pub fn poll_server_failed(&mut self) -> Option<ServerFailed> {
        self.clients.poll_server_failed()
    }

    /// What has become of the next challenge of a request that has an account.
    pub fn poll_proven(&mut self) -> Option<Proven> {
        self.clients.poll_proven()
    }

    /// Gives up a request whose answer nobody waits for any more.
    pub fn forget(&mut self, client: Key) {
        self.clients.forget(client);
    }

    /// Sends an ACK of a 2xx: a request of its own that nobody answers (S-04). It goes again with
    /// each repetition of the 2xx, if `client` is the INVITE's transaction.
    pub fn acknowledge(&mut self, now: Timestamp, client: Option<Key>, outgoing: &Outgoing<'_>) {
        let (_, clients, mut turn) = self.split(now);
        match client {
            Some(client) => clients.acknowledge_success(&mut turn, client, outgoing),
            None => {
                turn.send_once(outgoing);
            }
        }
    }

    /// Takes a response.
    pub fn handle_response(&mut self, now: Timestamp, response: &Response<'_>) -> Heard {
        let (_, clients, mut turn) = self.split(now);
        clients.handle_response(&mut turn, response)
    }

    /// The INVITE of a transaction as it was sent, if its final response is the one that came last;
    /// else empty.
    pub fn answered_invite(&self, client: Option<Key>) -> &[u8] {
        client
            .map(|client| self.clients.answered(client))
            .unwrap_or_default()
    }

    /// Withdraws an INVITE of ours.
    pub fn cancel(&mut self, now: Timestamp, client: Key, reason: &[u8]) {
        let (_, clients, mut turn) = self.split(now);
        clients.cancel(&mut turn, client, reason);
    }

    /// Says that something could not be sent.
    pub fn handle_not_sent(&mut self, now: Timestamp, id: SendId) -> Option<Event> {
        let (_, clients, mut turn) = self.split(now);
        let (user, failure) = clients.handle_not_sent(&mut turn, id.0?)?;
        Some(Event::Failed(user, failure))
    }

    /// Acts on the next deadline that is due; `None` when none is.
    pub fn handle_timeout(&mut self, now: Timestamp) -> Option<Option<Event>> {
        let (servers, clients, mut turn) = self.split(now);
        Some(match turn.wheel.take_due(now)? {
            Armed::Client(key) => {
                let failed = clients.handle_timeout(&mut turn, key);
                failed.map(|(user, failure)| Event::Failed(user, failure))
            }
            Armed::Server(key) => servers
                .handle_timeout(&mut turn, key)
                .map(|NoAck(user)| Event::NoAck(user)),
        })
    }

    /// When [`Self::handle_timeout`] next has work to do.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        self.wheel.next_due()
    }

    /// What is to be sent.
    pub fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// The digests of this worker.
    pub fn digester(&self) -> &Digester {
        &self.digester
    }

    /// The sent-by of a listener, as peers see it.
    pub fn sent_by(&self, flow: &Flow) -> &[u8] {
        sent_by(&self.sent_by, flow)
    }

    /// R22: whether this request has been here before with the same Request-URI. One of ours that
    /// comes back with another is a spiral, and normal.
    pub fn is_loop(&self, request: &Request<'_>) -> bool {
        let others = request.message.values(Name::Via).skip(1);
        let others = others.filter_map(|value| Via::parse(value).ok());
        let mut vias = std::iter::once(request.via).chain(others);
        vias.any(|via| {
            let is_ours = self.sent_by.iter().any(|ours| **ours == *via.sent_by());
            let branch = via.branch().filter(|_| is_ours).and_then(Branch::parse);
            branch.is_some_and(|it| it.destination == self.digester.destination(&request.uri))
        })
    }

    /// Whether there are no transactions.
    pub fn is_empty(&self) -> bool {
        self.servers.is_empty() && self.clients.is_empty()
    }

    /// How many server transactions there are.
    pub fn servers(&self) -> Count {
        self.servers.count()
    }

    /// How many client transactions there are.
    pub fn clients(&self) -> Count {
        self.clients.count()
    }

    fn answer_once(
        &mut self,
        message: &Message<'_>,
        flow: &Flow,
        answer: (Status, &[u8]),
        rest: &[u8],
    ) {
        let (status, tag) = answer;
        if let Some((now, server)) = self.resuming.take() {
            let answer = Answer {
                status,
                phrase: b"",
                tag: Tag::Ours(tag),
                rest,
            };
            return self.respond(now, server, &answer);
        }
        let value = message.first(Name::Via).unwrap_or_default();
        let via = Via::parse(value).ok();
        let to = via.map_or(*flow, |via| reply::destination(&via, flow));
        let mut head = Vec::with_capacity(512);
        reply::write_head(&mut head, message, via.as_ref(), flow);
        let has_tag = message.first(Name::To).is_none_or(reply::has_tag);
        let tag = if has_tag {
            Tag::AsReceived
        } else {
            Tag::Ours(tag)
        };
        let named = self.servers.named();
        self.outbox.write(to, SendId::default(), |out| {
            reply::compose(out, (status, b""), (&head, named), tag, rest);
        });
    }

    fn split(&mut self, now: Timestamp) -> (&mut Servers, &mut Clients, Turn<'_>) {
        let turn = Turn {
            now,
            timing: self.timing,
            sent_by: &self.sent_by,
            digester: &self.digester,
            wheel: &mut self.wheel,
            outbox: &mut self.outbox,
            rng: &mut self.rng,
        };
        (&mut self.servers, &mut self.clients, turn)
    }
}

impl Turn<'_> {
    /// Queues a request with its Via; the bytes come back.
    fn send(&mut self, outgoing: &Outgoing<'_>, branch: Branch, id: SendId) -> &[u8] {
        let sent_by = sent_by(self.sent_by, &outgoing.flow);
        self.outbox.write(outgoing.flow, id, |out| {
            out.extend_from_slice(outgoing.method.as_str().as_bytes());
            out.push(b' ');
            out.extend_from_slice(outgoing.uri);
            out.extend_from_slice(b" SIP/2.0\r\nVia: SIP/2.0/");
            out.extend_from_slice(outgoing.flow.transport.via_name().as_bytes());
            out.push(b' ');
            out.extend_from_slice(sent_by);
            out.extend_from_slice(b";branch=");
            branch.write(out);
            out.extend_from_slice(b";rport\r\n");
            out.extend_from_slice(outgoing.fields);
        })
    }

    /// Queues a request that has no transaction.
    fn send_once(&mut self, outgoing: &Outgoing<'_>) -> &[u8] {
        let branch = Branch {
            key: Key::from_bits(u64::MAX),
            nonce: self.rng.bits(),
            destination: outgoing.destination,
        };
        self.send(outgoing, branch, SendId::default())
    }

    /// Sees to it that the wheel wakes `whom` at `deadline` or before.
    ///
    /// Deadlines mostly move away; so an entry stays where it is, and on waking its owner finds out
    /// that it has nothing to do yet.
    fn arm(&mut self, whom: Armed, deadline: Option<Timestamp>, armed: &mut Option<Timestamp>) {
        let Some(deadline) = deadline else {
            return;
        };
        if armed.is_none_or(|armed| armed > deadline) {
            *armed = Some(self.wheel.arm(self.now, whom, deadline));
        }
    }
}

/// A map that has become nearly empty gives its memory back, and an empty one all of it.
fn give_back<V>(map: &mut DigestMap<V>) {
    let is_sparse = map.capacity() > 512 && map.len() < map.capacity() / 8;
    if is_sparse || map.is_empty() {
        map.shrink_to(map.len() * 2);
    }
}

fn sent_by<'l>(listeners: &'l [Box<[u8]>], flow: &Flow) -> &'l [u8] {
    listeners
        .get(usize::from(flow.listener.0))
        .map(|text| &**text)
        .unwrap_or_default()
}
