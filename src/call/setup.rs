//! The INVITE of a call: branches towards B, what A hears of them, and which of them wins.
//!
//! Spec: RFC 3261 §13, §16.6–16.8; RFC 3326.
//!
//! Invariants: A gets one final response; a branch that lost is cancelled, and its 2xx, should it
//! come all the same, is acknowledged and ended (S-07).

use std::net::SocketAddr;

use crate::call::branches::Branch;
use crate::call::early::Early;
use crate::call::end;
use crate::call::finals::{Final, is_better};
use crate::call::forks::Fork;
use crate::call::held::Hold;
use crate::call::marks::Marks;
use crate::call::nat::NatMedia;
use crate::call::negotiation::Negotiation;
use crate::call::relay::{carries_session, copy_naming, share_of_breadth};
use crate::call::respond_announced;
use crate::call::session;
use crate::call::{Again, Asks, Call, FORKS_MAX, Few, Ids, Outcome, Part, Phase, Side, Told, Turn};
use crate::dialog::session_timer::Asked;
use crate::dialog::{Dialog, Reach, Tag};
use crate::sip::flow::Flow;
use crate::sip::{Method, Name, Request, Response, Status, Writer};
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
    /// Our addresses for A's audio and for B's, if it is to pass us.
    pub anchor: Option<[SocketAddr; 2]>,
}

/// The phone rang elsewhere first (RFC 3326 §3.1).
pub(super) const ANSWERED_ELSEWHERE: &[u8] = b"SIP;cause=200;text=\"Call completed elsewhere\"";

/// What is known of the branches until the last of them has ended.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "facts that have nothing to do with each other"
)]
pub(super) struct Setup {
    /// A's INVITE; `None` once it has its final response.
    server: Option<Key>,
    /// Its number: others may come in its early dialogs.
    invite: u32,
    pub(super) branches: Few<Branch>,
    /// How many of them are of INVITEs before this one.
    pub(super) earlier: usize,
    pub(super) forks: Few<Fork>,
    pub(super) best: Option<Final>,
    /// What keeps A from the best failure, when all branches have failed.
    pub(super) hold: Option<Hold>,
    /// Whether B rang: any 18x.
    pub(super) rang: bool,
    /// Whether what B's side plays before the answer has a session.
    early_media: bool,
    /// S-71: whether B is to make the offer.
    pub(super) is_late: bool,
    /// What A's INVITE says of session timers, and what we ask for of our own.
    pub(super) asked: Asked,
    pub(super) asks: Asks,
    rings_until: Timestamp,
}

impl Setup {
    /// Of an INVITE that goes to nobody.
    pub(super) fn of_nobody(turn: &Turn<'_>, request: &Request<'_>, server: Key) -> Self {
        Self::new(turn, request, (server, Asks::default()))
    }

    fn new(turn: &Turn<'_>, request: &Request<'_>, (server, asks): (Key, Asks)) -> Self {
        Self {
            server: Some(server),
            invite: request.cseq.number,
            branches: Few::new(),
            earlier: 0,
            forks: Few::new(),
            best: None,
            hold: None,
            rang: false,
            early_media: false,
            is_late: !carries_session(&request.message),
            asked: session::asked_by(&request.message, asks.a),
            asks,
            rings_until: turn.now + turn.timing.rings,
        }
    }

    pub(super) fn deadline(&self) -> Option<Timestamp> {
        let kept = self.hold.as_ref().and_then(Hold::deadline);
        self.server.map(|_| kept.unwrap_or(self.rings_until))
    }

    /// A's INVITE, while it has no final response.
    pub(super) fn server(&self) -> Option<Key> {
        self.server
    }

    /// Timer C runs anew.
    pub(super) fn ring_until(&mut self, rings_until: Timestamp) {
        self.rings_until = rings_until;
    }

    /// What follows is of another INVITE.
    pub(super) fn begin_again(&mut self, rings_until: Timestamp, asks: Asks) {
        self.earlier = self.branches.len();
        self.best = None;
        self.rang = false;
        self.early_media = false;
        self.rings_until = rings_until;
        self.asks = asks;
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
        call.setup = Some(Box::new(Setup::new(
            turn,
            request,
            (offer.server, offer.asks),
        )));
        call.early = Early::of(request);
        call.marks = Marks::of_invite(turn, &request.message);
        call.phone = offer.phone.map(|(side, _)| side);
        call.place_media(offer);
        if offer.again.is_some_and(|again| again.has_waited) {
            call.wait_again(turn);
        }
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

    pub(super) fn send_invites(&mut self, turn: &mut Turn<'_>, offer: &Offer<'_>) {
        let number = self.b.dialog.next_cseq();
        let user_of = |branch| self.user(Part::Branch(branch));
        let destination = turn.layer.digester().destination(&offer.request.uri);
        let earlier = self.setup.as_deref().map_or(0, |setup| setup.earlier);
        let first = u8::try_from(earlier).unwrap_or(u8::MAX);
        let mut branches = Few::new();
        let mut written_for = None;
        for (index, target) in (first..).zip(offer.targets) {
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
                    is_heard: false,
                    flow: target.flow,
                    reach: target.reach,
                });
            }
        }
        let is_sent = !branches.is_empty();
        if let Some(setup) = self.setup.as_deref_mut() {
            setup.branches.extend(branches);
        }
        if !is_sent {
            self.finish(turn, Status::SERVER_INTERNAL_ERROR);
            self.give_up_branches(turn, b"");
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
            self.note_heard(branch);
            self.on_progress(turn, branch, response);
        } else if response.status.is_success() {
            self.on_success(turn, branch, response);
        } else if self.ask_longer(turn, branch, response).is_none() {
            self.note_late(response.status);
            self.end_branch(branch);
            if !self.is_earlier(branch) {
                self.on_branch_final(turn, response.status, Some(response));
            }
        }
    }

    pub(super) fn on_branch_failure(&mut self, turn: &mut Turn<'_>, branch: u8, failure: Failure) {
        self.end_branch(branch);
        if self.is_earlier(branch) {
            return;
        }
        let status = match failure {
            Failure::TimedOut => Status::REQUEST_TIMEOUT,
            Failure::Unreachable => Status::SERVICE_UNAVAILABLE,
        };
        self.on_branch_final(turn, status, None);
    }

    /// Timer C: nobody has given a sign of life for too long (RFC 3261 §16.8).
    pub(super) fn on_rings_too_long(&mut self, turn: &mut Turn<'_>) {
        let due = |setup: &Setup| setup.deadline().is_some_and(|until| until <= turn.now);
        if !self.setup.as_deref().is_some_and(due) {
            return;
        }
        if self.is_held() {
            self.on_held_due(turn);
        } else {
            self.finish(turn, Status::REQUEST_TIMEOUT);
            self.give_up_branches(turn, b"");
        }
    }

    fn on_progress(&mut self, turn: &mut Turn<'_>, branch: u8, response: &Response<'_>) {
        let until = turn.now + turn.timing.rings;
        // What still rings elsewhere when B has answered, or when all is over, is nothing to A.
        let is_answered = self.holds_answer() || self.is_held() || self.is_earlier(branch);
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
        setup.early_media |= carries_session(&response.message);
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
        let is_awaited = !self.is_kept() && !self.is_earlier(branch);
        let Some(server) = is_awaited.then(|| self.take_server()).flatten() else {
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
        self.note_sessions(turn, (Side::A, client), response);
        self.a.dialog.set_tag(tag);
        self.phase = Phase::Talking;
        self.answered = Some(turn.now);
        self.relay_success(turn, server, response, tag);
        let numbers = (self.invite_number(), number);
        let unacked = Negotiation::answered(turn, (Side::A, server), client, numbers);
        self.negotiation = Some(Box::new(unacked));
        self.leave_early(tag);
        self.cancel_branches(turn, ANSWERED_ELSEWHERE);
        self.close_setup();
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
            end::send_bye(turn, &mut dialog, ANSWERED_ELSEWHERE, (None, None));
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
        if setup.hold.as_ref().is_some_and(Hold::is_kept) {
            return;
        }
        let beaten = setup
            .best
            .as_ref()
            .is_some_and(|best| is_better(best.status, status));
        let is_last = setup.is_used_up();
        // RFC 3261 §16.7: a 6xx is for everybody.
        let decides = is_last || status.code() >= 600;
        if !decides {
            if !beaten {
                setup.best = Some(Final::of(status, response));
            }
            return;
        }
        if beaten {
            self.relay_best(turn);
        } else {
            self.decide(turn, status, response);
        }
        if !self.is_kept() {
            self.give_up_branches(turn, b"");
        }
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
        };
        let told = self.told(response.status, Some(response));
        let body = self.body_from(Side::B, &response.message);
        respond_announced(turn, server, answer, (&told, &body), write);
    }

    pub(super) fn told<'r>(&self, status: Status, response: Option<&'r Response<'r>>) -> Told<'r> {
        let rang = self.setup.as_deref().is_some_and(|setup| setup.rang);
        Told {
            status,
            rang,
            response,
        }
    }

    /// The transaction of A's INVITE, for as long as that has no final response.
    pub fn open_server(&self) -> Option<Key> {
        self.setup.as_deref()?.server
    }

    /// The number of A's INVITE, by which its ACK is known.
    pub(super) fn invite_number(&self) -> u32 {
        let setup = self.setup.as_deref();
        setup.map_or_else(|| self.a.dialog.remote_cseq(), |setup| setup.invite)
    }

    /// Whether A hears something from B's side already.
    pub fn hears_callee(&self) -> bool {
        self.setup.as_deref().is_some_and(|setup| setup.early_media)
    }

    /// Whether somebody has an INVITE of ours that he has not answered.
    pub fn is_inviting(&self) -> bool {
        let setup = self.setup.as_deref();
        setup.is_some_and(|setup| !setup.is_done())
    }

    /// Whether somebody has an INVITE of ours that he has been told to forget.
    pub fn is_withdrawing(&self) -> bool {
        let setup = self.setup.as_deref();
        setup.is_some_and(|setup| {
            let mut branches = setup.branches.iter().take(match setup.server {
                Some(_) => setup.earlier,
                None => usize::MAX,
            });
            branches.any(|branch| branch.client.is_some())
        })
    }

    pub(super) fn take_server(&mut self) -> Option<Key> {
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

    pub(super) fn cancel_branches(&self, turn: &mut Turn<'_>, reason: &[u8]) {
        let Some(setup) = self.setup.as_deref() else {
            return;
        };
        for client in setup.branches.iter().filter_map(|branch| branch.client) {
            turn.layer.cancel(turn.now, client, reason);
        }
    }

    pub(super) fn close_setup(&mut self) {
        if self.setup.as_deref().is_some_and(Setup::is_done) {
            self.setup = None;
        }
    }
}

/// Our half of the dialog with B: a new one, or that of the INVITE that this one repeats (R3).
pub(super) fn callee_of(key: Key, turn: &mut Turn<'_>, offer: &Offer<'_>) -> Dialog {
    let (request, flow) = (offer.request, *offer.flow);
    if let Some(Again {
        call_id, tag, cseq, ..
    }) = offer.again
    {
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
