//! A phone: a user agent with transactions and calls of its own, driven by plans and messages.
//!
//! Spec: RFC 3261 §8, §9, §12 to §15; nothing in it is campon's.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use campon::random::Rng;
use campon::time::Timestamp;

use super::call::{Between, Call, End, Phase};
use super::transaction::{Client, Due, Heard, Packet, Repeat, Server};
use super::wire::{self, Parts};
use crate::flow::kit::message::Message;
use crate::flow::kit::subject::DOMAIN;

/// In its tally: its BYEs that nobody answered.
const BYE_UNHEARD: &str = "BYEs timed out";
/// When an unanswered INVITE is sent for the last time: T1 and its doubles up to timer B.
const LAST_COPY: Duration = Duration::from_millis(31_500);

/// How the user of a phone takes a call that comes: he plans what to do.
pub(crate) type Manners = fn(&mut Phone, Timestamp, &Message, &mut Call);

/// What came of one INVITE.
#[derive(Debug)]
pub(crate) struct Verdict {
    sent: Timestamp,
    /// When the first response came.
    heard: Option<Timestamp>,
    /// Each final response that is not a repetition: code and To tag.
    pub(crate) finals: Vec<(u16, String)>,
    /// Timer B.
    pub(crate) timed_out: bool,
    /// Whether campon was told to stop while the INVITE was under way.
    outlives_stop: bool,
    /// Its status, if it was refused as that of a stranger before the phone was known again.
    was_stranger: Option<u16>,
}

impl Verdict {
    fn new(sent: Timestamp) -> Self {
        Self {
            sent,
            heard: None,
            finals: Vec::new(),
            timed_out: false,
            outlives_stop: false,
            was_stranger: None,
        }
    }

    /// Whether the INVITE was sent as often as can be before a response came: its last copy may come
    /// when the transaction that answered it has ended (RFC 3261 §17.1.1.2, RFC 6026 §7.1).
    fn is_sent_to_the_last(&self) -> bool {
        self.heard.is_some_and(|at| self.sent + LAST_COPY <= at)
    }

    fn note_registered(&mut self) {
        if let [(status @ 404, _)] = &*self.finals {
            self.was_stranger = Some(*status);
        }
    }

    fn note(&mut self, status: u16, tag: &str) {
        // RFC 3261 §8.2.7: who refuses without state answers each copy anew, with the same tag; once
        // he was told to stop, he takes none.
        let is_same = |(before, other): &(u16, String)| *before >= 300 && other == tag;
        let is_anew = status == 503 && self.outlives_stop && self.finals.iter().any(is_same);
        let is_late = status >= 300 && !self.finals.is_empty() && self.is_sent_to_the_last();
        // The same where a stranger's copy comes when he is none any more.
        let is_of_copy = is_anew || is_late || self.was_stranger == Some(404);
        let this = (status, tag.to_owned());
        if !is_of_copy && !self.finals.contains(&this) {
            self.finals.push(this);
        }
    }
}

/// What a phone must put up with: what the network did is nobody's fault.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Network {
    /// Repetitions make good what it loses.
    Mends,
    /// It loses more than that.
    Loses,
    /// And requests come again when nobody remembers them.
    Haunts,
}

/// One phone.
#[derive(Debug)]
pub(crate) struct Phone {
    /// The user that it is registered for.
    pub(crate) user: String,
    /// The domain of its user.
    pub(crate) domain: String,
    /// Where it is.
    pub(crate) address: SocketAddr,
    /// The same, as a part of names.
    place: String,
    pub(crate) rng: Rng,
    pub(crate) clients: Vec<Client>,
    pub(crate) servers: Vec<Server>,
    pub(crate) calls: Vec<Call>,
    pub(crate) out: Vec<Packet>,
    /// How often what happened.
    pub(crate) tally: BTreeMap<&'static str, u64>,
    /// By the branch of the INVITE.
    pub(crate) verdicts: BTreeMap<String, Verdict>,
    /// What must never happen and did.
    pub(crate) faults: Vec<String>,
    pub(crate) network: Network,
    /// Whether other forks may answer from behind its address.
    pub(crate) has_forks: bool,
    pub(crate) manners: Manners,
    /// Header lines of each response to an INVITE but 100.
    pub(crate) adds: String,
    /// Whether somebody takes what stands in [`Self::asked`] and [`Self::told`].
    pub(crate) has_owner: bool,
    /// Requests about subscriptions, which its owner answers.
    pub(crate) asked: Vec<(SocketAddr, Message)>,
    /// The first final response to each request, after it.
    pub(crate) told: Vec<(Message, Message)>,
    /// Responses that are due later.
    late: Vec<(Timestamp, Message)>,
    serial: u64,
}

impl Phone {
    pub(crate) fn new(user: String, address: SocketAddr, seed: u64) -> Self {
        Self {
            place: address.to_string().replace(['.', ':'], "-"),
            user,
            domain: DOMAIN.to_owned(),
            address,
            rng: Rng::from_number(seed),
            clients: Vec::new(),
            servers: Vec::new(),
            calls: Vec::new(),
            out: Vec::new(),
            tally: BTreeMap::new(),
            verdicts: BTreeMap::new(),
            faults: Vec::new(),
            network: Network::Mends,
            has_forks: true,
            manners: Self::plan_manners,
            adds: String::new(),
            has_owner: false,
            asked: Vec::new(),
            told: Vec::new(),
            late: Vec::new(),
            serial: 0,
        }
    }

    /// Registers for an hour.
    pub(crate) fn register(&mut self, now: Timestamp, registrar: SocketAddr) {
        self.send_register(now, registrar, "");
    }

    /// Takes its registration back.
    pub(crate) fn unregister(&mut self, now: Timestamp, registrar: SocketAddr) {
        self.send_register(now, registrar, "Expires: 0\r\n");
    }

    fn send_register(&mut self, now: Timestamp, registrar: SocketAddr, lines: &str) {
        let aor = format!("<sip:{}@{}>", self.user, self.domain);
        let from = format!("{aor};tag={}", self.unique("t"));
        let id = self.unique("reg");
        let branch = self.unique("z9hG4bK");
        let parts = Parts {
            method: "REGISTER",
            uri: &format!("sip:{}", self.domain),
            branch: &branch,
            from: &from,
            to: &aor,
            call_id: &id,
            cseq: 1,
            lines,
            body: "",
        };
        let request = wire::request(self.address, &parts);
        self.start(now, 0, registrar, request);
    }

    /// A message came.
    pub(crate) fn handle_message(&mut self, now: Timestamp, from: SocketAddr, message: Message) {
        if let Some(fault) = message.fault() {
            self.faults.push(format!("{fault} in\n{message}"));
            return;
        }
        if message.is_request() {
            self.on_request(now, from, message);
        } else {
            self.on_response(now, &message);
        }
    }

    /// Does all that is due.
    pub(crate) fn handle_timeout(&mut self, now: Timestamp) {
        let mut clients = std::mem::take(&mut self.clients);
        for client in &mut clients {
            if client.handle_timeout(now, &mut self.out) == Due::GaveUp {
                self.on_timeout(now, client);
            }
        }
        clients.retain(|client| !client.is_gone());
        clients.append(&mut self.clients);
        self.clients = clients;
        self.answer_late(now);
        for server in &mut self.servers {
            server.handle_timeout(now, &mut self.out);
        }
        self.servers.retain(|server| !server.is_gone(now));
        for at in 0..self.calls.len() {
            self.repeat_answer(now, at);
            while let Some(act) = self.calls[at].take_due(now) {
                self.act(now, at, act);
            }
        }
    }

    /// When [`Self::handle_timeout`] next has work.
    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        let clients = self.clients.iter().filter_map(Client::deadline);
        let servers = self.servers.iter().filter_map(Server::deadline);
        let calls = self.calls.iter().filter_map(Call::deadline);
        let late = self.late.iter().map(|(at, _)| *at);
        clients.chain(servers).chain(calls).chain(late).min()
    }

    /// How often nobody answered as it hung up.
    pub(crate) fn byes_unheard(&self) -> u64 {
        self.tally.get(BYE_UNHEARD).copied().unwrap_or_default()
    }

    /// What must hold once all is quiet.
    pub(crate) fn check_end(&mut self) {
        for (branch, verdict) in &self.verdicts {
            let ends = verdict.finals.len() + usize::from(verdict.timed_out);
            // A request that comes a second time after all is forgotten is answered a second time.
            if ends == 0 || ends > 1 && self.network < Network::Haunts {
                let what = format!("{branch} ended {ends} times: {verdict:?}");
                self.faults.push(what);
            }
        }
        for call in &self.calls {
            if call.phase != Phase::Over {
                self.faults
                    .push(format!("{} is left {:?}", call.id, call.phase));
            }
            if self.network >= Network::Loses {
                continue;
            }
            if let Some(what) = call.unanswered.as_ref().filter(|_| call.end != End::Known) {
                self.faults.push(what.clone());
            }
            if call.end == End::Unknown {
                self.faults.push(format!("{} was lost in between", call.id));
            }
        }
        let (clients, servers) = (self.clients.len(), self.servers.len());
        if clients + servers > 0 {
            self.faults
                .push(format!("{clients} and {servers} transactions are left"));
        }
    }

    /// Text that no other phone and no other use has.
    pub(crate) fn unique(&mut self, what: &str) -> String {
        self.serial += 1;
        format!("{what}{}-{}", self.place, self.serial)
    }

    /// Counts.
    pub(crate) fn count(&mut self, what: &'static str) {
        *self.tally.entry(what).or_default() += 1;
    }

    /// Starts a client transaction.
    pub(crate) fn start(&mut self, now: Timestamp, call: u64, to: SocketAddr, request: Message) {
        let client = Client::start(now, call, to, request, &mut self.out);
        if client.request.kind() == "INVITE" {
            let branch = client.request.branch().to_owned();
            self.verdicts.insert(branch, Verdict::new(now));
        }
        self.clients.push(client);
    }

    /// Answers a request with a transaction of its own, at once and for good.
    pub(crate) fn answer(
        &mut self,
        now: Timestamp,
        from: SocketAddr,
        request: Message,
        status: u16,
    ) {
        self.answer_with(now, from, request, (status, ""));
    }

    /// The same with header lines; gives the To tag that it made.
    pub(crate) fn answer_with(
        &mut self,
        now: Timestamp,
        from: SocketAddr,
        request: Message,
        (status, lines): (u16, &str),
    ) -> String {
        let tag = self.unique("t");
        let response = wire::response(self.address, &request, (status, lines), &tag, "");
        let takes_time = self.has_owner && request.kind() != "CANCEL" && self.rng.below(25) == 0;
        let trying = wire::response(self.address, &request, (100, ""), &tag, "");
        let mut server = Server::new(request, 0, from);
        if takes_time {
            // RFC 4320 §4.1: who needs longer says so, and answers in time.
            server.respond(now, &trying, &mut self.out);
            let at = now + Duration::from_millis(200 + self.rng.below(6_000));
            self.late.push((at, response));
        } else {
            server.respond(now, &response, &mut self.out);
        }
        self.servers.push(server);
        tag
    }

    /// Gives the answers that have taken their time.
    fn answer_late(&mut self, now: Timestamp) {
        let is_due = |(at, _): &mut (Timestamp, Message)| *at <= now;
        let due: Vec<_> = self.late.extract_if(.., is_due).collect();
        for (_, response) in due {
            let is_for = |it: &&mut Server| it.is_answered_by(&response);
            if let Some(server) = self.servers.iter_mut().find(is_for) {
                server.respond(now, &response, &mut self.out);
            }
        }
    }

    /// The place of a call in [`Self::calls`].
    pub(crate) fn call_at(&self, no: u64) -> Option<usize> {
        self.calls.iter().position(|call| call.no == no)
    }

    /// The process that its calls cross has ended; they have not, but those with the process itself.
    pub(crate) fn on_crash(&mut self) {
        let is_up = |call: &Call| call.phase == Phase::Up && call.unacknowledged.is_none();
        let talks = |call: &&mut Call| is_up(call) && !call.remote.contains("%23");
        for call in self.calls.iter_mut().filter(talks) {
            call.between = Between::Gone;
        }
    }

    /// Whether its user talks on, on a call that campon does not know any more.
    pub(crate) fn talks_on(&self) -> bool {
        let talks_on = |call: &Call| call.between == Between::Gone && call.phase == Phase::Up;
        self.calls.iter().any(talks_on)
    }

    /// Campon is told to stop.
    pub(crate) fn on_stop(&mut self) {
        for client in &self.clients {
            if let Some(verdict) = self.verdicts.get_mut(client.request.branch()) {
                verdict.outlives_stop = true;
            }
        }
    }

    /// A number for a new call.
    pub(crate) fn next_call(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    fn on_request(&mut self, now: Timestamp, from: SocketAddr, request: Message) {
        if request.kind() == "ACK" {
            return self.on_ack(now, &request);
        }
        let known = |server: &Server| server.is_for(&request);
        if let Some(at) = self.servers.iter().position(known) {
            self.servers[at].handle_again(&mut self.out);
            return self.count("repeated requests");
        }
        match (request.kind(), request.tag_of_to().is_empty()) {
            ("INVITE", true) => self.on_invite(now, from, request),
            ("INVITE", false) => self.on_change(now, from, request),
            ("CANCEL", _) => self.on_cancel(now, from, request),
            ("BYE", _) => self.on_bye(now, from, request),
            ("OPTIONS", _) => self.answer(now, from, request, 200),
            ("MESSAGE", _) if self.has_owner => self.read(now, from, request),
            ("NOTIFY" | "PUBLISH" | "SUBSCRIBE", _) if self.has_owner => {
                self.asked.push((from, request));
            }
            _ => self.answer(now, from, request, 405),
        }
    }

    /// As a rule it shows what it is sent.
    fn read(&mut self, now: Timestamp, from: SocketAddr, request: Message) {
        let status = [200, 200, 200, 480][usize::try_from(self.rng.below(4)).expect("small")];
        if status == 200 {
            self.count("texts read");
        }
        self.answer(now, from, request, status);
    }

    fn on_response(&mut self, now: Timestamp, response: &Message) {
        let asked = |client: &Client| client.is_answered_by(response);
        let found = self.clients.iter().position(asked);
        let Some(at) = found else {
            self.count("late responses");
            return;
        };
        if let Some(verdict) = self.verdicts.get_mut(response.branch()) {
            verdict.heard.get_or_insert(now);
        }
        let heard = self.clients[at].handle_response(now, response, &mut self.out);
        let (kind, call) = (response.cseq_method(), self.clients[at].call);
        if heard == Heard::Final && self.has_owner {
            let request = self.clients[at].request.clone();
            self.told.push((request, response.clone()));
        }
        match (kind, heard) {
            ("INVITE", Heard::Provisional) => self.on_progress(now, call, response),
            ("INVITE", Heard::Final | Heard::FinalAgain) => {
                self.note_final(response);
                if heard == Heard::Final {
                    self.on_final(now, at, response);
                }
            }
            ("REGISTER", Heard::Final) => {
                self.count("registrations");
                if response.status() != 200 {
                    return;
                }
                let verdicts = self.verdicts.values_mut();
                verdicts.for_each(Verdict::note_registered);
            }
            ("PRACK", Heard::Final) if response.status() == 200 => self.count("PRACKs heard"),
            ("PRACK", Heard::Final) => self.count("PRACKs too late"),
            ("BYE", Heard::Final) if response.status() == 481 => self.on_bye_unknown(call),
            _ => {}
        }
    }

    fn note_final(&mut self, response: &Message) {
        let verdict = self.verdicts.get_mut(response.branch());
        let verdict = verdict.expect("an INVITE has a verdict");
        verdict.note(response.status(), response.tag_of_to());
    }

    fn on_timeout(&mut self, now: Timestamp, client: &Client) {
        match client.request.kind() {
            "INVITE" => {
                self.count("INVITEs timed out");
                let verdict = self.verdicts.get_mut(client.request.branch());
                verdict.expect("an INVITE has a verdict").timed_out = true;
                self.on_invite_timeout(now, client);
            }
            "CANCEL" => self.count("CANCELs timed out"),
            "BYE" if self.network >= Network::Loses => self.count(BYE_UNHEARD),
            _ if self.network >= Network::Loses => self.count("timed out"),
            kind => {
                let what = format!("a {kind} timed out");
                self.faults.push(what);
            }
        }
    }

    fn repeat_answer(&mut self, now: Timestamp, at: usize) {
        let Some((_, repeat)) = &mut self.calls[at].unacknowledged else {
            return;
        };
        if Repeat::tick(repeat, now, &mut self.out) == Due::GaveUp {
            self.count("answers without ACK");
            self.calls[at].unacknowledged = None;
            self.hang_up(now, at);
        }
    }
}
