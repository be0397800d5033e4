//! What A hears while its INVITE is unanswered, and the requests it sends meanwhile.
//!
//! Spec: RFC 3262 §3, §5; RFC 3311 §5.
//!
//! - Reliability is a matter of each leg (S-59): A's PRACK crosses where B awaits one, with the offer
//!   or answer in it; else there is nobody to carry that to.
//! - Each fork has numbers of its own, as the user agents behind a forking proxy have. Callers that
//!   follow one row of numbers only would wait for the others in vain; so where a caller merely
//!   supports `100rel`, its first fork is told reliably and the others as ever.

use std::io::Write as _;

use crate::call::exchange::At;
use crate::call::heard::Offer;
use crate::call::relay::carries_session;
use crate::call::sdp::SDP;
use crate::call::{Call, Few, Phase, Side, Turn, end};
use crate::call::{respond, respond_announced, respond_plainly, write_announced};
use crate::dialog::reliable::{Due, Numbered, Prack, Provisional, Reliable};
use crate::dialog::{Order, Tag};
use crate::random::Rng;
use crate::sip::flow::Flow;
use crate::sip::{
    Checked, Message, Method, Name, RAck, Request, Response, Scratch, Status, Writer,
};
use crate::table::Key;
use crate::time::Timestamp;
use crate::transaction::reply;
use crate::transaction::servers::Answer;

/// Says why an offer that A makes before the answer is refused.
const NOT_BEFORE_THE_ANSWER: &[u8] =
    b"399 campon \"The session cannot be changed before the callee answers\"";

/// The early dialogs of a caller who takes reliable responses.
#[derive(Debug)]
pub(super) struct Early {
    /// The CSeq number of A's INVITE.
    invite: u32,
    wish: Wish,
    /// Whether A waits for an offer: then our first reliable response has to make it (RFC 3262 §5),
    /// so that only those can be reliable that B has made so.
    is_late: bool,
    dialogs: Few<EarlyDialog>,
    /// B's 2xx, while A must not have it yet.
    answer: Option<HeldAnswer>,
}

/// A provisional response that A may be told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tell {
    /// The tag by which A knows the fork.
    pub(super) tag: Tag,
    /// The number that B awaits the PRACK of, if it awaits one.
    pub(super) rseq: Option<u32>,
}

/// What A is told.
#[derive(Debug)]
pub(super) struct Said<'s> {
    status: Status,
    phrase: &'s [u8],
    /// B's response; `None` if it is ours.
    response: Option<&'s Response<'s>>,
    body: &'s [u8],
}

impl<'s> Said<'s> {
    /// Something of our own, with this session description unless it is empty.
    pub(super) fn ours(status: Status, phrase: &'s [u8], sdp: &'s [u8]) -> Self {
        Self {
            status,
            phrase,
            response: None,
            body: sdp,
        }
    }

    fn is_own_session(&self) -> bool {
        self.response.is_none() && !self.body.is_empty()
    }

    fn has_session(&self) -> bool {
        let crosses = self.response.is_some_and(|it| carries_session(&it.message));
        crosses || self.is_own_session()
    }
}

/// How a caller asks for reliable responses.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Wish {
    /// It takes them.
    Supported,
    /// It takes no others.
    Required,
}

#[derive(Debug)]
struct EarlyDialog {
    /// Ours, as A knows it.
    tag: Tag,
    /// The number of A's last request in it; its forks count apart.
    remote_cseq: u32,
    reliable: Reliable,
}

#[derive(Debug)]
struct HeldAnswer {
    branch: u8,
    bytes: Box<[u8]>,
}

impl Early {
    /// S-51: nothing, unless the caller says that it takes reliable responses.
    pub(super) fn of(invite: &Request<'_>) -> Option<Box<Self>> {
        let message = &invite.message;
        let wish = if message.has_option(Name::Require, "100rel") {
            Wish::Required
        } else if message.has_option(Name::Supported, "100rel") {
            // CC-01: the ringing with an offer in it as well.
            Wish::Supported
        } else {
            return None;
        };
        Some(Box::new(Self {
            invite: invite.cseq.number,
            wish,
            is_late: !carries_session(message),
            dialogs: Few::new(),
            answer: None,
        }))
    }

    /// What B is to be asked for in turn: only B can make the offer that A requires reliably.
    pub(super) fn wish_beyond(&self) -> Wish {
        if self.is_late {
            self.wish
        } else {
            Wish::Supported
        }
    }

    /// When the next response is sent again or given up.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        let dialogs = self.dialogs.iter();
        let deadlines = dialogs.filter_map(|dialog| dialog.reliable.deadline());
        deadlines.min()
    }

    /// Whether A is told this reliably.
    fn covers(&self, tell: Tell) -> bool {
        if self.is_late {
            return tell.rseq.is_some();
        }
        match self.wish {
            Wish::Required => true,
            Wish::Supported => self
                .dialogs
                .first()
                .is_none_or(|first| first.tag == tell.tag),
        }
    }

    /// S-50: whether A takes nothing unreliable.
    fn is_strict(&self) -> bool {
        self.wish == Wish::Required
    }

    fn dialog(&mut self, tag: Tag) -> Option<&mut EarlyDialog> {
        self.dialogs.iter_mut().find(|dialog| dialog.tag == tag)
    }

    fn open(&mut self, tag: Tag, rng: &mut Rng) {
        if self.dialog(tag).is_none() {
            self.dialogs.push(EarlyDialog {
                tag,
                remote_cseq: self.invite,
                reliable: Reliable::new(rng),
            });
        }
    }

    fn holds_success(&self) -> bool {
        let mut dialogs = self.dialogs.iter();
        dialogs.any(|dialog| dialog.reliable.holds_success())
    }

    fn is_unacknowledged(&self) -> bool {
        let mut dialogs = self.dialogs.iter();
        dialogs.any(|dialog| dialog.reliable.is_unacknowledged())
    }
}

impl Call {
    /// Passes on a provisional response.
    pub(super) fn tell(
        &mut self,
        turn: &mut Turn<'_>,
        server: Key,
        response: &Response<'_>,
        tell: Tell,
    ) {
        let body = self.body_from(Side::B, &response.message);
        let said = Said {
            status: response.status,
            phrase: response.phrase,
            response: Some(response),
            body: &body,
        };
        self.tell_as(turn, server, tell, &said);
    }

    /// Tells A something in the early dialog that it knows by this tag.
    pub(super) fn tell_as(
        &mut self,
        turn: &mut Turn<'_>,
        server: Key,
        tell: Tell,
        said: &Said<'_>,
    ) {
        let tag = tell.tag;
        let contact = turn.contacts.of(&self.a.dialog.flow());
        let write = |writer: &mut Writer<'_>| {
            writer.header(Name::Contact, contact);
            if said.is_own_session() {
                writer.header(Name::ContentType, SDP);
            }
        };
        let told = self.told(said.status, said.response);
        let is_strict = self.early.as_deref().is_some_and(Early::is_strict);
        let early = self.early.as_deref_mut();
        let Some(early) = early.filter(|early| early.covers(tell)) else {
            if !is_strict {
                let tag = tag.text();
                let answer = (said.status, said.phrase, reply::Tag::Ours(&tag));
                respond_announced(turn, server, answer, (&told, said.body), write);
            }
            if let Some(rseq) = tell.rseq {
                self.acknowledge(turn, tag, rseq);
            }
            return;
        };
        let rest = write_announced(turn.scratch, turn.announce, (&told, said.body), write);
        let provisional = Provisional {
            status: said.status,
            phrase: Box::from(said.phrase),
            rest: Box::from(rest),
            has_session: said.has_session(),
            rseq_beyond: tell.rseq,
        };
        early.open(tag, turn.rng);
        if let Some(dialog) = early.dialog(tag) {
            dialog.reliable.handle_response(provisional);
        }
        self.send_next(turn, tag);
    }

    /// S-55: B's answer waits while A may not have heard of the session that it confirms; whether it
    /// does. B sends it again meanwhile, and so may others.
    pub(super) fn hold_answer(&mut self, branch: u8, response: &Response<'_>) -> bool {
        let is_open = self.open_server().is_some();
        let early = self.early.as_deref_mut().filter(|_| is_open);
        let Some(early) = early.filter(|early| early.holds_success()) else {
            return false;
        };
        early.answer.get_or_insert_with(|| HeldAnswer {
            branch,
            bytes: Box::from(response.message.raw()),
        });
        true
    }

    /// Whether B has answered, and A does not know it yet.
    pub(super) fn holds_answer(&self) -> bool {
        let early = self.early.as_deref();
        early.is_some_and(|early| early.answer.is_some())
    }

    /// RFC 3262 §3: whether A has yet to acknowledge a session that it was told of.
    pub(super) fn owes_prack(&self) -> bool {
        let early = self.early.as_deref();
        early.is_some_and(Early::holds_success)
    }

    /// Takes B's answer that waited as if it came now.
    pub(super) fn release_answer(&mut self, turn: &mut Turn<'_>) {
        let early = self.early.as_deref_mut();
        let Some(HeldAnswer { branch, bytes }) = early.and_then(|early| early.answer.take()) else {
            return;
        };
        let mut scratch = Scratch::new();
        let message = Message::parse(&bytes, &mut scratch).ok();
        if let Some(Ok(Checked::Response(response))) = message.map(Checked::check) {
            self.on_success(turn, branch, &response);
        }
    }

    /// The INVITE has its final response: no other is sent again (RFC 3262 §3).
    pub(super) fn fall_silent(&mut self) {
        let early = self.early.as_deref_mut();
        for dialog in early.into_iter().flat_map(|early| &mut early.dialogs) {
            dialog.reliable.handle_final();
        }
    }

    /// The dialog with this tag goes on, and A counts its requests from where it was in it.
    pub(super) fn leave_early(&mut self, tag: Tag) {
        let Some(early) = self.early.as_deref_mut() else {
            return;
        };
        if let Some(dialog) = early.dialog(tag) {
            self.a.dialog.order(dialog.remote_cseq);
        }
        if !early.is_unacknowledged() {
            self.early = None;
        }
    }

    /// Takes a request within an early dialog; whether it is one.
    pub fn handle_early(
        &mut self,
        turn: &mut Turn<'_>,
        tag: Tag,
        request: &Request<'_>,
        flow: &Flow,
    ) -> bool {
        let Some((side, tag)) = self.early_end(tag, request) else {
            return false;
        };
        if side == Side::A && request.method == Method::Prack {
            self.on_prack(turn, tag, request, flow);
            return true;
        }
        if !self.is_early(tag) {
            return false;
        }
        let early = Some(tag);
        match (side, request.method) {
            (Side::A, Method::Bye) => self.on_early_bye(turn, request, flow),
            (Side::A, Method::Info) if self.is_own(tag) => self.on_own_info(turn, request, flow),
            (Side::B, Method::Bye | Method::Prack) => return false,
            // S-18: the INVITE is not finished yet.
            (Side::A, Method::Invite) => end::refuse_for_now(turn, request, flow),
            (Side::B, Method::Invite) => {
                let (message, status) = (&request.message, Status::REQUEST_PENDING);
                turn.layer.refuse(message, flow, status, reply::NOTHING);
            }
            _ if self.heard(tag).is_some() => {
                self.on_exchange(turn, At { side, early }, request, flow);
            }
            (Side::A, Method::Update) => self.on_early_update(turn, tag, request, flow),
            _ => return false,
        }
        true
    }

    /// Whose early dialog a request to this tag of ours is within, and the tag by which A knows it.
    fn early_end(&self, tag: Tag, request: &Request<'_>) -> Option<(Side, Tag)> {
        let remote_tag = request.from.tag().unwrap_or_default();
        let a = &self.a.dialog;
        if a.is(request.call_id, a.tag(), remote_tag) {
            return Some((Side::A, tag));
        }
        let b = &self.b.dialog;
        let is_callee = b.tag() == tag && b.call_id() == request.call_id;
        let mut forks = self.forks().filter(|_| is_callee);
        let fork = forks.find(|(_, of_fork)| *of_fork == remote_tag)?;
        Some((Side::B, fork.0))
    }

    /// An UPDATE that cannot cross: B has made no early dialog that it could cross in.
    fn on_early_update(
        &mut self,
        turn: &mut Turn<'_>,
        tag: Tag,
        request: &Request<'_>,
        flow: &Flow,
    ) {
        if self.order_in(tag, request.cseq.number) == Order::OutOfOrder {
            return end::refuse_for_now(turn, request, flow);
        }
        let Ok(server) = turn.layer.accept(turn.now, request, flow, None) else {
            return end::refuse_for_now(turn, request, flow);
        };
        if carries_session(&request.message) {
            return refuse_offer(turn, server);
        }
        self.a.dialog.refresh_target(&request.message);
        let contact = turn.contacts.of(&self.a.dialog.flow());
        let answer = (Status::OK, &b""[..], reply::Tag::AsReceived);
        let write = |writer: &mut Writer<'_>| {
            writer.header(Name::Contact, contact);
        };
        respond(turn, server, answer, write, b"");
    }

    /// Takes a PRACK of A's in the dialog with this tag.
    pub(super) fn on_prack(
        &mut self,
        turn: &mut Turn<'_>,
        tag: Tag,
        request: &Request<'_>,
        flow: &Flow,
    ) {
        let rack = request.message.first(Name::RAck).map(RAck::parse);
        let Some(Ok(rack)) = rack else {
            let message = &request.message;
            return turn
                .layer
                .refuse(message, flow, Status::BAD_REQUEST, reply::NOTHING);
        };
        if !self.awaits_prack(tag, &rack) {
            // S-54: it acknowledges nothing.
            let gone = Status::CALL_DOES_NOT_EXIST;
            return turn
                .layer
                .refuse(&request.message, flow, gone, reply::NOTHING);
        }
        if self.order_in(tag, request.cseq.number) == Order::OutOfOrder {
            return end::refuse_for_now(turn, request, flow);
        }
        if let Some(rseq) = self.awaited_beyond(tag) {
            // It has come, and is answered when B's answer has.
            self.quiet(tag);
            return self.pass_prack(turn, (tag, rseq), request, flow);
        }
        let Ok(server) = turn.layer.accept(turn.now, request, flow, None) else {
            return end::refuse_for_now(turn, request, flow);
        };
        if carries_session(&request.message) {
            // S-57 cannot be had: B would have to answer, and awaits no PRACK.
            refuse_offer(turn, server);
            self.on_heard(turn, tag, Prack::Refused);
        } else {
            // S-54
            respond_plainly(turn, server, Status::OK, reply::Tag::AsReceived);
            self.on_heard(turn, tag, Prack::Met);
        }
    }

    /// The number by which B awaits the PRACK of what A has been told last, if it still does.
    fn awaited_beyond(&mut self, tag: Tag) -> Option<u32> {
        let is_open = self.open_server().is_some() && self.heard(tag).is_some();
        let early = self.early.as_deref_mut().filter(|_| is_open)?;
        early.dialog(tag)?.reliable.rseq_beyond()
    }

    /// What A has been told in this dialog is not told again.
    fn quiet(&mut self, tag: Tag) {
        let early = self.early.as_deref_mut();
        if let Some(dialog) = early.and_then(|early| early.dialog(tag)) {
            dialog.reliable.handle_prack(Prack::Refused);
        }
    }

    /// S-71: B's offer in this dialog is being answered, if it made one.
    pub(super) fn take_early_answer(&mut self, tag: Tag) -> bool {
        match self.heard(tag) {
            Some(heard) if heard.offers() == Some(Side::B) => {
                heard.offer = Offer::Answered;
                true
            }
            Some(_) | None => false,
        }
    }

    /// A has the response that was under way in this dialog.
    pub(super) fn on_heard(&mut self, turn: &mut Turn<'_>, tag: Tag, prack: Prack) {
        let Some(early) = self.early.as_deref_mut() else {
            return;
        };
        if let Some(dialog) = early.dialog(tag) {
            dialog.reliable.handle_prack(prack);
        }
        if early.answer.is_none() {
            self.send_next(turn, tag);
        } else if !early.holds_success() {
            self.release_answer(turn);
        }
    }

    /// Whatever is due of A's early dialogs: a response again, or the end of patience.
    pub(super) fn on_prack_due(&mut self, turn: &mut Turn<'_>) {
        let Some(server) = self.open_server() else {
            return;
        };
        let Some(early) = self.early.as_deref_mut() else {
            return;
        };
        let mut gives_up = false;
        for dialog in &mut early.dialogs {
            match dialog.reliable.handle_timeout(turn.now) {
                Due::Nothing => {}
                Due::Again(numbered) => send(turn, server, dialog.tag, numbered),
                Due::GivesUp => gives_up = true,
            }
        }
        if gives_up {
            // S-53: the caller is gone, or cannot hear us.
            self.finish(turn, Status::SERVER_TIMEOUT);
            self.give_up_branches(turn, b"");
        }
    }

    fn send_next(&mut self, turn: &mut Turn<'_>, tag: Tag) {
        let (now, t1) = (turn.now, turn.timing.t1);
        let Some(server) = self.open_server() else {
            return;
        };
        let dialog = self
            .early
            .as_deref_mut()
            .and_then(|early| early.dialog(tag));
        let next = dialog.and_then(|dialog| dialog.reliable.poll_send(now, t1));
        if let Some(numbered) = next {
            send(turn, server, tag, numbered);
        }
    }

    fn awaits_prack(&mut self, tag: Tag, rack: &RAck<'_>) -> bool {
        let Some(early) = self.early.as_deref_mut() else {
            return false;
        };
        let names_invite = rack.cseq.number == early.invite && rack.cseq.method == Method::Invite;
        let dialog = early.dialog(tag).filter(|_| names_invite);
        dialog.is_some_and(|dialog| dialog.reliable.awaits(rack.rseq))
    }

    /// S-14, in a dialog that may be early.
    pub(super) fn order_in(&mut self, tag: Tag, number: u32) -> Order {
        if self.phase != Phase::Inviting && self.a.dialog.tag() == tag {
            return self.a.dialog.order(number);
        }
        let early = self.early.as_deref_mut();
        match early.and_then(|early| early.dialog(tag)) {
            Some(dialog) if dialog.remote_cseq < number => {
                dialog.remote_cseq = number;
                Order::InOrder
            }
            Some(_) => Order::OutOfOrder,
            // A takes no reliable responses, so that it knows one early dialog or does not care.
            None => self.a.dialog.order(number),
        }
    }
}

/// Sends a reliable response, for the first time or again.
fn send(turn: &mut Turn<'_>, server: Key, tag: Tag, numbered: Numbered<'_>) {
    let Numbered { rseq, response } = numbered;
    turn.scratch.clear();
    // S-50. Writing to memory cannot fail.
    let _written = write!(turn.scratch, "Require: 100rel\r\nRSeq: {rseq}\r\n");
    turn.scratch.extend_from_slice(&response.rest);
    let tag = tag.text();
    let answer = Answer {
        status: response.status,
        phrase: &response.phrase,
        tag: reply::Tag::Ours(&tag),
        rest: turn.scratch,
    };
    turn.layer.respond(turn.now, server, &answer);
}

/// An offer of A's before the answer crosses to nobody; the session stays as it is.
fn refuse_offer(turn: &mut Turn<'_>, server: Key) {
    let answer = (
        Status::NOT_ACCEPTABLE_HERE,
        b"".as_slice(),
        reply::Tag::AsReceived,
    );
    let write = |writer: &mut Writer<'_>| {
        writer.header(Name::Warning, NOT_BEFORE_THE_ANSWER);
    };
    respond(turn, server, answer, write, b"");
}
