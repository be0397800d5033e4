//! The server transactions of a worker: each request is handled once and its answer kept.
//!
//! Spec: RFC 3261 §17.2, §9.2; RFC 6026 §7.1; RFC 4320 §4.

use crate::sip::flow::Flow;
use crate::sip::method::Method;
use crate::sip::status::Status;
use crate::sip::{Request, Writer};
use crate::table::{Full, Key, Table};
use crate::time::Timestamp;
use crate::transaction::branch::hex;
use crate::transaction::digest::{Digest, DigestMap, Digester};
use crate::transaction::outbox::{Outbox, SendId};
use crate::transaction::reply::{self, Tag};
use crate::transaction::steps::{Due, trace};
use crate::transaction::wishes::{Wish, Wishes};
use crate::transaction::{Armed, Class, Count, Turn, User, give_back};
use crate::transaction::{invite_server, non_invite_server};

/// What a request turned out to be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Arrival {
    /// An ACK that belongs to no failure response: the dialogs know it.
    Ack,
    /// A retransmission, or the ACK of a failure: nothing is left to do.
    Absorbed,
    /// A CANCEL of the request whose transaction this is: an INVITE, or one that it cannot stop.
    Cancel(Key),
    /// S-09: a CANCEL of nothing that we know.
    CancelOfNothing,
    /// S-11: another copy of a request that is being handled.
    Merged,
    /// A request to be handled.
    New,
}

/// What a transaction answers.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// The status.
    pub status: Status,
    /// The phrase; the standard's if empty.
    pub phrase: &'a [u8],
    /// The To tag.
    pub tag: Tag<'a>,
    /// Header lines, the blank line and the body, as a fragment of the writer.
    pub rest: &'a [u8],
}

impl<'a> Answer<'a> {
    /// One with header lines and a body of its own.
    pub fn written(
        scratch: &'a mut Vec<u8>,
        (status, phrase, tag): (Status, &'a [u8], Tag<'a>),
        write: impl FnOnce(&mut Writer<'_>),
        body: &[u8],
    ) -> Self {
        Self {
            status,
            phrase,
            tag,
            rest: reply::rest(scratch, write, body),
        }
    }
}

impl Answer<'static> {
    /// 200 within a dialog.
    pub const OK: Self = Self {
        status: Status::OK,
        phrase: b"",
        tag: Tag::AsReceived,
        rest: reply::NOTHING,
    };
    /// S-06: 100, which says that the request has come.
    pub const TRYING: Self = Self {
        status: Status::TRYING,
        phrase: b"",
        tag: Tag::AsReceived,
        rest: reply::NOTHING,
    };
}

/// Requests that a CANCEL may name and does not stop (RFC 3261 §9.1).
const UNSTOPPABLE: &[Method<'static>] = &[
    Method::Subscribe,
    Method::Notify,
    Method::Publish,
    Method::Message,
    Method::Refer,
    Method::Options,
    Method::Info,
    Method::Register,
    Method::Bye,
    Method::Update,
    Method::Prack,
];

#[derive(Clone, Copy, Debug)]
enum Machine {
    Invite(invite_server::State),
    Other(non_invite_server::State),
}

#[derive(Debug)]
struct Server {
    machine: Machine,
    name: Digest,
    copies: Option<Digest>,
    /// Where responses go; its address is the source's.
    flow: Flow,
    user: Option<User>,
    /// What responses repeat of the request; given up with the final response.
    head: Box<[u8]>,
    /// The last response, for as long as it may be needed again.
    last: Box<[u8]>,
    began: Timestamp,
    armed: Option<Timestamp>,
}

/// All server transactions.
#[derive(Debug)]
pub struct Servers {
    table: Table<Server>,
    by_name: DigestMap<Key>,
    by_copies: DigestMap<Key>,
    /// The names of the request that [`Self::sort`] has just called new, for [`Self::accept`].
    sorted: Option<Names>,
    /// The header line by which we name ourselves.
    named: Box<[u8]>,
}

/// The names under which a transaction is found: its own, and what copies of its request share, if
/// it may have copies.
type Names = (Digest, Option<Digest>);

/// What a server transaction has to tell its user.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NoAck(pub User);

impl Servers {
    /// None yet, and never more than `max` at once.
    pub fn new(max: usize) -> Self {
        Self {
            table: Table::new(max),
            by_name: DigestMap::default(),
            by_copies: DigestMap::default(),
            sorted: None,
            named: Box::default(),
        }
    }

    /// By which header line we name ourselves from here on; empty for none.
    pub fn set_named(&mut self, named: Box<[u8]>) {
        self.named = named;
    }

    /// That header line.
    pub fn named(&self) -> &[u8] {
        &self.named
    }

    /// How many there may be; those that are there already stay.
    pub fn set_max(&mut self, max: usize) {
        self.table.set_max(max);
    }

    /// Finds out what a request is; retransmissions and ACKs are dealt with on the way.
    pub fn sort(&mut self, turn: &mut Turn<'_>, request: &Request<'_>, flow: &Flow) -> Arrival {
        self.sorted = None;
        let name = turn.digester.transaction(request);
        let known = self.by_name.get(&name).copied();
        match (request.method, known) {
            (Method::Cancel, Some(key)) if self.is_same_caller(key, turn, request, flow) => {
                Arrival::Cancel(key)
            }
            (Method::Cancel, _) => match self.cancelled_in_vain(turn, request, flow) {
                Some(key) => Arrival::Cancel(key),
                None => Arrival::CancelOfNothing,
            },
            (Method::Ack, Some(key)) => self.on_ack(turn, key),
            (Method::Ack, None) => Arrival::Ack,
            (_, Some(key)) => {
                self.step(turn, key, Happening::Retransmitted);
                Arrival::Absorbed
            }
            (_, None) => self.on_unknown((name, copies(turn.digester, request))),
        }
    }

    /// Begins the transaction of a request that [`Self::sort`] called new.
    pub fn accept(
        &mut self,
        turn: &mut Turn<'_>,
        request: &Request<'_>,
        flow: &Flow,
        user: Option<User>,
    ) -> Result<Key, Full> {
        let is_invite = request.method == Method::Invite;
        let machine = if is_invite {
            Machine::Invite(invite_server::State::start())
        } else {
            Machine::Other(non_invite_server::State::start(turn.now, turn.timing))
        };
        let names = || {
            let name = turn.digester.transaction(request);
            (name, copies(turn.digester, request))
        };
        let (name, copies) = self.sorted.take().unwrap_or_else(names);
        let key = self.table.insert(Server {
            machine,
            name,
            copies,
            flow: reply::destination(&request.via, flow),
            user,
            head: reply::head(request, flow),
            last: Box::default(),
            began: turn.now,
            armed: None,
        })?;
        self.by_name.insert(name, key);
        if let Some(copies) = copies {
            self.by_copies.insert(copies, key);
        }
        self.arm(turn, key);
        Ok(key)
    }

    /// Sends a response and keeps it for retransmissions.
    pub fn respond(&mut self, turn: &mut Turn<'_>, key: Key, answer: &Answer<'_>) {
        let Some(server) = self.table.get_mut(key) else {
            return;
        };
        let (machine, wishes) = server.after(turn, Happening::Answered(answer.status.into()));
        if wishes.has(Wish::Send) {
            server.send(turn.outbox, &self.named, answer);
        }
        self.settle(turn, key, machine, wishes);
    }

    /// Sends the last response again: the retransmission of a 2xx is its user's (S-05, S-41).
    pub fn resend(&mut self, outbox: &mut Outbox, key: Key) {
        if let Some(server) = self.table.get(key) {
            outbox.send(server.flow, &server.last, SendId::default());
        }
    }

    /// Gives up the 2xx that has been acknowledged.
    pub fn release(&mut self, key: Key) {
        if let Some(server) = self.table.get_mut(key) {
            server.last = Box::default();
        }
    }

    /// Gives a transaction that nobody had to a user.
    pub fn adopt(&mut self, key: Key, user: Option<User>) {
        if let Some(server) = self.table.get_mut(key) {
            server.user = user;
        }
    }

    /// Whose transaction it is.
    pub fn user(&self, key: Key) -> Option<User> {
        self.table.get(key)?.user
    }

    /// Answers what is left of a user that is no more: nobody else will.
    pub fn abandon(&mut self, turn: &mut Turn<'_>, is_gone: impl Fn(User) -> bool) {
        let of_user = |server: &Server| server.is_owing() && server.user.is_some_and(&is_gone);
        let owing = self.table.iter().filter(|(_, server)| of_user(server));
        let owing: Vec<_> = owing.map(|(key, _)| key).collect();
        for key in owing {
            let tag = hex(turn.rng.bits());
            let answer = Answer {
                status: Status::SERVER_INTERNAL_ERROR,
                phrase: b"",
                tag: Tag::Ours(&tag),
                rest: reply::NOTHING,
            };
            self.respond(turn, key, &answer);
        }
    }

    /// Acts on a deadline of this transaction.
    pub fn handle_timeout(&mut self, turn: &mut Turn<'_>, key: Key) -> Option<NoAck> {
        let server = self.table.get_mut(key)?;
        if server.armed.is_some_and(|armed| armed <= turn.now) {
            server.armed = None;
        }
        let (machine, wishes) = server.after_timeout(turn);
        let user = server.user;
        self.settle(turn, key, machine, wishes);
        user.filter(|_| wishes.has(Wish::NoAck)).map(NoAck)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// How many there are.
    pub fn count(&self) -> Count {
        let mut count = Count::default();
        for (_, server) in self.table.iter() {
            count.add(server.is_owing(), server.began);
        }
        count
    }

    /// S-09, and nothing an outsider sends ends a call: a CANCEL is its INVITE's only if it names
    /// the same call and comes from the same address.
    fn is_same_caller(
        &self,
        key: Key,
        turn: &Turn<'_>,
        request: &Request<'_>,
        flow: &Flow,
    ) -> bool {
        self.table.get(key).is_some_and(|server| {
            let same_source = server.flow.remote.ip() == flow.remote.ip();
            let same_call = server
                .copies
                .is_none_or(|copies| copies == turn.digester.copies(request));
            same_source && same_call
        })
    }

    /// S-133: the transaction of another request than an INVITE that a CANCEL names.
    fn cancelled_in_vain(
        &self,
        turn: &Turn<'_>,
        request: &Request<'_>,
        flow: &Flow,
    ) -> Option<Key> {
        let mut names = UNSTOPPABLE
            .iter()
            .map(|method| turn.digester.transaction_of(*method, request));
        let key = names.find_map(|name| self.by_name.get(&name).copied())?;
        self.is_same_caller(key, turn, request, flow).then_some(key)
    }

    fn on_unknown(&mut self, names: Names) -> Arrival {
        if names
            .1
            .is_some_and(|copies| self.by_copies.contains_key(&copies))
        {
            return Arrival::Merged;
        }
        self.sorted = Some(names);
        Arrival::New
    }

    fn on_ack(&mut self, turn: &mut Turn<'_>, key: Key) -> Arrival {
        // S-41: what acknowledges a 2xx, with a branch of its own or not, is for the user.
        if self.step(turn, key, Happening::Acknowledged).has(Wish::Up) {
            Arrival::Ack
        } else {
            Arrival::Absorbed
        }
    }

    fn step(&mut self, turn: &mut Turn<'_>, key: Key, happening: Happening) -> Wishes {
        let Some(server) = self.table.get_mut(key) else {
            return Wishes::default();
        };
        let (machine, wishes) = server.after(turn, happening);
        self.settle(turn, key, machine, wishes);
        wishes
    }

    fn settle(&mut self, turn: &mut Turn<'_>, key: Key, machine: Option<Machine>, wishes: Wishes) {
        let Some(server) = self.table.get_mut(key) else {
            return;
        };
        if wishes.has(Wish::Trying) {
            server.send(turn.outbox, &self.named, &Answer::TRYING);
        }
        if wishes.has(Wish::Resend) && !server.last.is_empty() {
            turn.outbox
                .send(server.flow, &server.last, SendId::default());
        }
        let Some(machine) = machine else {
            self.remove(key);
            return;
        };
        server.machine = machine;
        self.arm(turn, key);
    }

    fn arm(&mut self, turn: &mut Turn<'_>, key: Key) {
        let Some(server) = self.table.get_mut(key) else {
            return;
        };
        let deadline = match server.machine {
            Machine::Invite(state) => state.deadline(),
            Machine::Other(state) => state.deadline(),
        };
        turn.arm(Armed::Server(key), deadline, &mut server.armed);
    }

    fn remove(&mut self, key: Key) {
        let Some(server) = self.table.remove(key) else {
            return;
        };
        self.by_name.remove(&server.name);
        if let Some(copies) = server.copies {
            // A newer request may have taken the entry.
            if self.by_copies.get(&copies) == Some(&key) {
                self.by_copies.remove(&copies);
            }
        }
        give_back(&mut self.by_name);
        give_back(&mut self.by_copies);
    }
}

/// S-11: what copies of this request share; only what begins a dialog or stands alone has copies.
fn copies(digester: &Digester, request: &Request<'_>) -> Option<Digest> {
    let is_first = request.to.tag().is_none();
    is_first.then(|| digester.copies(request))
}

impl Server {
    fn after(&self, turn: &Turn<'_>, happening: Happening) -> (Option<Machine>, Wishes) {
        let mut wishes = Wishes::default();
        let (now, timing) = (turn.now, turn.timing);
        let reliable = self.flow.transport.is_reliable();
        let machine = match self.machine {
            Machine::Invite(state) => {
                let event = happening.for_invite();
                trace("invite server", &state, &event);
                let next = state.handle(now, event, timing, reliable, &mut wishes);
                next.map(Machine::Invite)
            }
            Machine::Other(state) => match happening.for_other() {
                Some(event) => {
                    trace("non-invite server", &state, &event);
                    let next = state.handle(now, event, timing, reliable, &mut wishes);
                    next.map(Machine::Other)
                }
                None => Some(self.machine),
            },
        };
        (machine, wishes)
    }

    fn after_timeout(&self, turn: &Turn<'_>) -> (Option<Machine>, Wishes) {
        let mut wishes = Wishes::default();
        let now = turn.now;
        let machine = match self.machine {
            Machine::Invite(state) => {
                let next = state.handle_timeout(now, turn.timing, &mut wishes);
                trace("invite server", &state, &Due::of(next.as_ref()));
                next.map(Machine::Invite)
            }
            Machine::Other(state) => {
                let next = state.handle_timeout(now, &mut wishes);
                trace("non-invite server", &state, &Due::of(next.as_ref()));
                next.map(Machine::Other)
            }
        };
        (machine, wishes)
    }

    /// Sends and keeps a response; after a final one the request's lines are not needed any more.
    fn send(&mut self, outbox: &mut Outbox, named: &[u8], answer: &Answer<'_>) {
        let line = (answer.status, answer.phrase);
        let head = (&*self.head, named);
        // S-12: a request without copies has a tag in To, and no response has two.
        let is_tagged = self.copies.is_none();
        let tag = if is_tagged {
            Tag::AsReceived
        } else {
            answer.tag
        };
        let sent = outbox.write(self.flow, SendId::default(), |out| {
            reply::compose(out, line, head, tag, answer.rest);
        });
        self.last = Box::from(sent);
        if !answer.status.is_provisional() {
            self.head = Box::default();
        }
    }

    fn is_owing(&self) -> bool {
        match self.machine {
            Machine::Invite(
                invite_server::State::Proceeding | invite_server::State::Completed { .. },
            )
            | Machine::Other(
                non_invite_server::State::Trying { .. }
                | non_invite_server::State::Proceeding { .. },
            ) => true,
            // A 2xx that waits for its ACK keeps its call, which counts itself.
            Machine::Invite(
                invite_server::State::Accepted { .. } | invite_server::State::Confirmed { .. },
            )
            | Machine::Other(non_invite_server::State::Completed { .. }) => false,
        }
    }
}

/// What happened to a server transaction.
#[derive(Clone, Copy, Debug)]
enum Happening {
    Acknowledged,
    Answered(Class),
    Retransmitted,
}

impl Happening {
    fn for_invite(self) -> invite_server::Event {
        match self {
            Self::Acknowledged => invite_server::Event::Acknowledged,
            Self::Answered(class) => invite_server::Event::Answer(class),
            Self::Retransmitted => invite_server::Event::Retransmitted,
        }
    }

    fn for_other(self) -> Option<non_invite_server::Event> {
        match self {
            // Nobody acknowledges anything but an INVITE.
            Self::Acknowledged => None,
            Self::Answered(class) => Some(non_invite_server::Event::Answer(class)),
            Self::Retransmitted => Some(non_invite_server::Event::Retransmitted),
        }
    }
}
