//! The INVITE of a call: branches towards B, what A hears of them, and which of them wins.
//!
//! Spec: RFC 3261 §13, §16.6–16.8; RFC 3326.
//!
//! Invariants: A gets one final response; a branch that lost is cancelled, and its 2xx, should it
//! come all the same, is acknowledged and ended (S-07).

use crate::call::early::Early;
use crate::call::end;
use crate::call::forks::Fork;
use crate::call::nat::{Media, NatMedia};
use crate::call::negotiation::Negotiation;
use crate::call::relay::{carries_session, copy_crossing, copy_naming, share_of_breadth};
use crate::call::session;
use crate::call::{Again, Asks, Call, FORKS_MAX, Few, Ids, Outcome, Part, Phase, Side, Told, Turn};
use crate::call::{respond, respond_announced};
use crate::dialog::session_timer::Asked;
use crate::dialog::{Dialog, Reach, Tag};
use crate::sip::flow::Flow;
use crate::sip::{Checked, Message, Method, Name, Request, Response, Scratch, Status, Writer};
use crate::table::Key;
use crate::time::Timestamp;
use crate::transaction::branch::hex;
use crate::transaction::clients::{Failure, Outgoing};
use crate::transaction::fallback::Fallback;
use crate::transaction::reply;

/// Where an INVITE goes.
#[derive(Clone, Copy, Debug)]
pub struct Target<'t> {
    /// The Request-URI.
    pub uri: &'t [u8],
    /// The way.
    pub flow: Flow,
    /// How the peer is reached later.
    pub reach: Reach,
    /// Where else the INVITE goes if that server fails.
    pub others: Option<&'t Fallback>,
}

/// An INVITE that becomes a call.
#[derive(Clone, Copy, Debug)]
pub struct Offer<'o> {
    /// The request; its Max-Forwards is not 0.
    pub request: &'o Request<'o>,
    /// The way it came.
    pub flow: &'o Flow,
    /// Its transaction.
    pub server: Key,
    /// Where it goes, all at once.
    pub targets: &'o [Target<'o>],
    /// What we ask for of session timers.
    pub asks: Asks,
    /// What it repeats, if it was challenged before.
    pub again: Option<&'o Again>,
    /// The side that is a phone of ours, where we stand in front of its PBX, and where it is.
    pub phone: Option<(Side, Flow)>,
    /// What becomes of the addresses in the phone's session descriptions.
    pub nat_media: NatMedia,
}

/// The phone rang elsewhere first (RFC 3326 §3.1).
pub(super) const ANSWERED_ELSEWHERE: &[u8] = b"SIP;cause=200;text=\"Call completed elsewhere\"";

/// What is known of the branches until the last of them has ended.
#[derive(Debug)]
pub(super) struct Setup {
    /// A's INVITE; `None` once it has its final response.
    server: Option<Key>,
    branches: Few<Branch>,
    pub(super) forks: Few<Fork>,
    best: Option<Final>,
    /// Whether B rang: any 18x.
    rang: bool,
    /// S-71: whether B is to make the offer.
    pub(super) is_late: bool,
    /// What A's INVITE says of session timers, and what we ask for of our own.
    pub(super) asked: Asked,
    pub(super) asks: Asks,
    rings_until: Timestamp,
}

#[derive(Debug)]
struct Branch {
    client: Option<Key>,
    flow: Flow,
    reach: Reach,
}

/// The best failure so far, while other branches go on.
#[derive(Debug)]
struct Final {
    status: Status,
    /// The message, if there is one.
    response: Option<Box<[u8]>>,
}

impl Setup {
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        self.server.map(|_| self.rings_until)
    }

    /// A's INVITE, while it has no final response.
    pub(super) fn server(&self) -> Option<Key> {
        self.server
    }

    fn is_done(&self) -> bool {
        self.branches.iter().all(|branch| branch.client.is_none())
    }
}

impl Call {
    /// Sends an INVITE on, to all of its targets at once.
    pub fn invite(key: Key, turn: &mut Turn<'_>, offer: &Offer<'_>) -> Self {
        let request = offer.request;
        let b = callee_of(key, turn, offer);
        let mut a = Dialog::of_server(request, offer.flow, Tag::new(key, turn.rng));
        a.order(request.cseq.number);
        if let Some((Side::A, home)) = &offer.phone {
            // R22: whatever its Contact says.
            a.keep_to_flow(home);
        }
        let mut call = Self::of_legs(key, turn.now, a, b, Phase::Inviting);
        call.setup = Some(Box::new(Setup {
            server: Some(offer.server),
            branches: Few::new(),
            forks: Few::new(),
            best: None,
            rang: false,
            is_late: !carries_session(&request.message),
            asked: session::asked_by(&request.message, offer.asks.a),
            asks: offer.asks,
            rings_until: turn.now + turn.timing.rings,
        }));
        call.early = Early::of(request);
        call.phone = offer.phone.map(|(side, _)| side);
        call.place_media(offer);
        call.send_invites(turn, offer);
        call
    }

    /// Takes the CANCEL of A's INVITE (S-09): A has its answer now, the branches when they can.
    pub fn handle_cancel(&mut self, turn: &mut Turn<'_>, part: u16, cancel: &Request<'_>) {
        let reason = cancel.message.first(Name::Reason).unwrap_or_default();
        if self.phase == Phase::Inviting {
            self.withdraw(turn, reason);
        } else if Part::of(part) == Part::Negotiation {
            self.cancel_reinvite(turn, reason);
        }
    }

    /// Takes back an INVITE that nobody has answered: A gets 487, and what rings a CANCEL with this
    /// Reason. A call that was answered stays.
    pub fn withdraw(&mut self, turn: &mut Turn<'_>, reason: &[u8]) {
        if self.phase == Phase::Inviting {
            self.finish(turn, Status::REQUEST_TERMINATED);
            self.outcome = Outcome::Cancelled;
            self.give_up_branches(turn, reason);
        }
    }

    /// R14: a phone's media is where its requests come from, or are sent to.
    fn place_media(&mut self, offer: &Offer<'_>) {
        if let (NatMedia::Rewrite, Some((side, flow))) = (offer.nat_media, &offer.phone) {
            self.leg_mut(*side).media = Media::Behind(flow.remote.ip());
        }
    }

    fn send_invites(&mut self, turn: &mut Turn<'_>, offer: &Offer<'_>) {
        let number = self.b.dialog.next_cseq();
        let user_of = |branch| self.user(Part::Branch(branch));
        let destination = turn.layer.digester().destination(&offer.request.uri);
        let mut branches = Few::new();
        let mut written_for = None;
        for (index, target) in (0..).zip(offer.targets) {
            let contact = turn.contacts.of(&target.flow);
            if written_for != Some(contact) {
                if !self.write_invite(turn, offer, number, contact) {
                    break;
                }
                written_for = Some(contact);
            }
            let outgoing = Outgoing {
                method: Method::Invite,
                uri: target.uri,
                flow: target.flow,
                user: Some(user_of(index)),
                destination,
                fields: turn.scratch,
            };
            let sent = turn.layer.request_with(turn.now, &outgoing, target.others);
            if let Ok(client) = sent {
                branches.push(Branch {
                    client: Some(client),
                    flow: target.flow,
                    reach: target.reach,
                });
            }
        }
        let is_sent = !branches.is_empty();
        if let Some(setup) = self.setup.as_deref_mut() {
            setup.branches = branches;
        }
        if !is_sent {
            self.finish(turn, Status::SERVER_INTERNAL_ERROR);
            self.close_setup();
        }
    }

    /// Whether the fields could be written.
    fn write_invite(
        &self,
        turn: &mut Turn<'_>,
        offer: &Offer<'_>,
        number: u32,
        contact: &[u8],
    ) -> bool {
        let request = offer.request;
        let receivers: Few<Flow> = offer.targets.iter().map(|target| target.flow).collect();
        let ids = Ids {
            legs: turn.legs,
            own: None,
            receivers: &receivers,
        };
        turn.scratch.clear();
        let mut writer = Writer::fragment(turn.scratch);
        let hops = forwards(request);
        self.b
            .dialog
            .write_fields(&mut writer, Method::Invite, number, hops);
        if let Some(breadth) = share_of_breadth(&request.message, offer.targets.len()) {
            writer.header_fmt(Name::MaxBreadth, format_args!("{breadth}"));
        }
        writer.header(Name::Contact, contact);
        copy_naming(&mut writer, &request.message, turn.realm, &ids);
        let asked_s = self.setup.as_deref().and_then(|setup| setup.asks.b);
        let least_s = turn.policy.session_least_s;
        session::write_invite(&mut writer, &request.message, asked_s, least_s);
        if let Some(name) = self.asks_reliable(turn.policy.reliable) {
            writer.header(name, b"100rel");
        }
        let body = self.body_from(Side::A, &request.message);
        writer.finish(&body).is_ok()
    }

    pub(super) fn on_branch_response(
        &mut self,
        turn: &mut Turn<'_>,
        branch: u8,
        response: &Response<'_>,
    ) {
        if response.status.is_provisional() {
            self.on_progress(turn, branch, response);
        } else if response.status.is_success() {
            self.on_success(turn, branch, response);
        } else if self.ask_longer(turn, branch, response).is_none() {
            self.end_branch(branch);
            self.on_branch_final(turn, response.status, Some(response));
        }
    }

    pub(super) fn on_branch_failure(&mut self, turn: &mut Turn<'_>, branch: u8, failure: Failure) {
        self.end_branch(branch);
        let status = match failure {
            Failure::TimedOut => Status::REQUEST_TIMEOUT,
            Failure::Unreachable => Status::SERVICE_UNAVAILABLE,
        };
        self.on_branch_final(turn, status, None);
    }

    /// S-101: the INVITE of a branch has gone on to another server.
    pub(super) fn move_branch(&mut self, branch: u8, client: Key, flow: Flow) {
        let setup = self.setup.as_deref_mut();
        if let Some(branch) = setup.and_then(|setup| setup.branches.get_mut(usize::from(branch))) {
            branch.client = Some(client);
            branch.flow = flow;
        }
    }

    /// Timer C: nobody has given a sign of life for too long (RFC 3261 §16.8).
    pub(super) fn on_rings_too_long(&mut self, turn: &mut Turn<'_>) {
        let due = |setup: &Setup| setup.deadline().is_some_and(|until| until <= turn.now);
        if self.setup.as_deref().is_some_and(due) {
            self.finish(turn, Status::REQUEST_TIMEOUT);
            self.give_up_branches(turn, b"");
        }
    }

    fn on_progress(&mut self, turn: &mut Turn<'_>, branch: u8, response: &Response<'_>) {
        let until = turn.now + turn.timing.rings;
        // What still rings elsewhere when B has answered is nothing to A.
        let is_answered = self.holds_answer();
        let Some(setup) = self.setup.as_deref_mut() else {
            return;
        };
        // 100 is of one hop.
        let is_told = response.status != Status::TRYING && !is_answered;
        let Some(server) = setup.server.filter(|_| is_told) else {
            return;
        };
        setup.rings_until = until;
        setup.rang |= matches!(response.status.code(), 180..190);
        let tag = self.fork(turn, response);
        if let Some(tell) = tag.and_then(|tag| self.hear(branch, tag, response)) {
            self.tell(turn, server, response, tell);
        }
    }

    pub(super) fn on_success(&mut self, turn: &mut Turn<'_>, branch: u8, response: &Response<'_>) {
        if self.hold_answer(branch, response) {
            return;
        }
        let (flow, reach, client) = self.way_of(branch);
        self.end_branch(branch);
        let mut dialog = self.b.dialog.answered(response, &flow, reach);
        let number = response.cseq.number;
        let Some(server) = self.take_server() else {
            let remote_tag = response.to.tag().unwrap_or_default();
            let is_winner = self.answered.is_some() && self.b.dialog.remote_tag() == remote_tag;
            // The winner is acknowledged when A acknowledges, and by the transaction after that.
            if !is_winner {
                self.refuse_fork(turn, dialog, number, client);
            }
            return;
        };
        let tag = self.fork(turn, response);
        let tag = tag.unwrap_or_else(|| self.a.dialog.tag());
        if let Some(heard) = self.heard(tag) {
            dialog.continue_from(&heard.dialog);
        }
        self.b.dialog = dialog;
        self.on_session_answered(turn, Side::B, response, client);
        self.agree_with_caller(turn, response);
        self.a.dialog.set_tag(tag);
        self.phase = Phase::Talking;
        self.answered = Some(turn.now);
        self.relay_success(turn, server, response, tag);
        let numbers = (self.a.dialog.remote_cseq(), number);
        let unacked = Negotiation::answered(turn, (Side::A, server), client, numbers);
        self.negotiation = Some(Box::new(unacked));
        self.leave_early(tag);
        self.cancel_branches(turn, ANSWERED_ELSEWHERE);
        self.close_setup();
    }

    /// The way of a branch and its transaction; the call's when the branches are forgotten.
    pub(super) fn way_of(&self, branch: u8) -> (Flow, Reach, Option<Key>) {
        let branches = self.setup.as_deref().map(|setup| &setup.branches);
        let branch = branches.and_then(|branches| branches.get(usize::from(branch)));
        match branch {
            Some(branch) => (branch.flow, branch.reach, branch.client),
            None => (self.b.dialog.flow(), Reach::Address, None),
        }
    }

    /// S-07: a fork that answered too late is acknowledged each time and ended once.
    fn refuse_fork(
        &mut self,
        turn: &mut Turn<'_>,
        mut dialog: Dialog,
        number: u32,
        client: Option<Key>,
    ) {
        end::send_ack(turn, &dialog, number, client, None);
        let remote_tag = dialog.remote_tag();
        let known = self.refused.iter().any(|refused| **refused == *remote_tag);
        if !known && self.refused.len() < FORKS_MAX {
            self.refused.push(Box::from(remote_tag));
            end::send_bye(turn, &mut dialog, ANSWERED_ELSEWHERE, None);
        }
    }

    fn on_branch_final(
        &mut self,
        turn: &mut Turn<'_>,
        status: Status,
        response: Option<&Response<'_>>,
    ) {
        if self.holds_answer() {
            return;
        }
        let Some(setup) = self.setup.as_deref_mut() else {
            return;
        };
        if setup.server.is_none() {
            self.close_setup();
            return;
        }
        let beaten = setup
            .best
            .as_ref()
            .is_some_and(|best| is_better(best.status, status));
        let is_last = setup.is_done();
        // RFC 3261 §16.7: a 6xx is for everybody.
        let decides = is_last || status.code() >= 600;
        if !decides {
            if !beaten {
                setup.best = Some(Final {
                    status,
                    response: response.map(|response| Box::from(response.message.raw())),
                });
            }
            return;
        }
        if beaten {
            self.relay_best(turn);
        } else if let Some(response) = response {
            self.relay_final(turn, status, response);
        } else {
            self.finish(turn, not_the_whole_service(status));
        }
        self.give_up_branches(turn, b"");
    }

    /// The way of each branch.
    pub(super) fn branch_flows(&self) -> impl Iterator<Item = Flow> {
        let branches = self.setup.as_deref().map(|setup| &setup.branches);
        branches.into_iter().flatten().map(|branch| branch.flow)
    }

    fn relay_success(&self, turn: &mut Turn<'_>, server: Key, response: &Response<'_>, tag: Tag) {
        let tag = tag.text();
        let contact = turn.contacts.of(&self.a.dialog.flow());
        let terms = self.terms(Side::A);
        let answer = (response.status, response.phrase, reply::Tag::Ours(&tag));
        let write = |writer: &mut Writer<'_>| {
            writer.header(Name::Contact, contact);
            if let Some(terms) = terms {
                terms.write_answer(writer);
            }
            copy_crossing(writer, response);
        };
        let body = self.body_from(Side::B, &response.message);
        respond(turn, server, answer, write, &body);
    }

    pub(super) fn told<'r>(&self, status: Status, response: Option<&'r Response<'r>>) -> Told<'r> {
        let rang = self.setup.as_deref().is_some_and(|setup| setup.rang);
        Told {
            status,
            rang,
            response,
        }
    }

    fn relay_final(&mut self, turn: &mut Turn<'_>, status: Status, response: &Response<'_>) {
        let Some(server) = self.take_server() else {
            return;
        };
        let status = not_the_whole_service(status);
        let phrase = if status == response.status {
            response.phrase
        } else {
            b""
        };
        let tag = self.final_tag(response.to.tag().unwrap_or_default());
        let answer = (status, phrase, reply::Tag::Ours(&tag));
        let told = self.told(status, Some(response));
        let body = response.message.body();
        respond_announced(turn, server, answer, (&told, body), |_| ());
        self.outcome = Outcome::Failed(status);
    }

    fn relay_best(&mut self, turn: &mut Turn<'_>) {
        let setup = self.setup.as_deref_mut();
        let Some(best) = setup.and_then(|setup| setup.best.take()) else {
            return;
        };
        let mut index = Scratch::new();
        let kept = best.response.as_deref().unwrap_or_default();
        let message = Message::parse(kept, &mut index);
        match message
            .ok()
            .and_then(|message| Checked::check(message).ok())
        {
            Some(Checked::Response(response)) => self.relay_final(turn, best.status, &response),
            Some(Checked::Request(_)) | None => {
                self.finish(turn, not_the_whole_service(best.status));
            }
        }
    }

    /// Ends A's INVITE with a failure of our own.
    pub(super) fn finish(&mut self, turn: &mut Turn<'_>, status: Status) {
        let told = self.told(status, None);
        if let Some(server) = self.take_server() {
            let tag = self.answer_tag();
            self.a.dialog.set_tag(tag);
            let tag = tag.text();
            let answer = (status, b"".as_slice(), reply::Tag::Ours(&tag));
            respond_announced(turn, server, answer, (&told, b""), |_| ());
            self.outcome = Outcome::Failed(status);
        }
    }

    /// The transaction of A's INVITE, for as long as that has no final response.
    pub(super) fn open_server(&self) -> Option<Key> {
        self.setup.as_deref()?.server
    }

    fn take_server(&mut self) -> Option<Key> {
        let server = self.setup.as_deref_mut()?.server.take();
        self.fall_silent();
        server
    }

    /// Withdraws what is left of the INVITE; the call ends when the branches have.
    pub(super) fn give_up_branches(&mut self, turn: &mut Turn<'_>, reason: &[u8]) {
        if self.phase == Phase::Inviting {
            self.phase = Phase::Ending { byes: 0 };
        }
        self.release_answer(turn);
        self.abandon_exchanges(turn);
        self.cancel_branches(turn, reason);
        self.close_setup();
    }

    fn cancel_branches(&self, turn: &mut Turn<'_>, reason: &[u8]) {
        let Some(setup) = self.setup.as_deref() else {
            return;
        };
        for client in setup.branches.iter().filter_map(|branch| branch.client) {
            turn.layer.cancel(turn.now, client, reason);
        }
    }

    fn end_branch(&mut self, branch: u8) {
        let setup = self.setup.as_deref_mut();
        if let Some(branch) = setup.and_then(|setup| setup.branches.get_mut(usize::from(branch))) {
            branch.client = None;
        }
        if self.phase != Phase::Inviting {
            self.close_setup();
        }
    }

    fn close_setup(&mut self) {
        if self.setup.as_deref().is_some_and(Setup::is_done) {
            self.setup = None;
        }
    }
}

/// Our half of the dialog with B: a new one, or that of the INVITE that this one repeats (R3).
fn callee_of(key: Key, turn: &mut Turn<'_>, offer: &Offer<'_>) -> Dialog {
    let (request, flow) = (offer.request, *offer.flow);
    if let Some(Again { call_id, tag, cseq }) = offer.again {
        let mut dialog = Dialog::of_client(call_id, request, *tag, flow);
        dialog.count_from(*cseq);
        return dialog;
    }
    let tag = Tag::new(key, turn.rng);
    let call_id = [hex(turn.rng.bits()), hex(turn.rng.bits())].concat();
    Dialog::of_client(&call_id, request, tag, flow)
}

/// Max-Forwards for the next hop: one less (S-113), and 70 where there was none.
pub fn forwards(request: &Request<'_>) -> u8 {
    request
        .max_forwards
        .map_or(70, |hops| hops.saturating_sub(1))
}

/// S-31: one target's 503 does not say that we are out of service.
pub fn not_the_whole_service(status: Status) -> Status {
    if status == Status::SERVICE_UNAVAILABLE {
        Status::SERVER_INTERNAL_ERROR
    } else {
        status
    }
}

/// RFC 3261 §16.7: whether the failure `old` says more than the failure `new`.
pub fn is_better(old: Status, new: Status) -> bool {
    rank(old) <= rank(new)
}

fn rank(status: Status) -> (u16, bool) {
    let class = match status.code() / 100 {
        6 => 0,
        class => class,
    };
    // Those that A can do something about come before the others of their class.
    (class, !matches!(status.code(), 401 | 407 | 415 | 420 | 484))
}
