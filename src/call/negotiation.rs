//! An INVITE within a call, and the 2xx of any INVITE until its ACK.
//!
//! Spec: RFC 3261 §13.3.1.4, §14 (S-05, S-18, S-20, S-21).
//!
//! ```text
//!   re-INVITE --> Pending --2xx--> Answered --ACK--> gone, and the ACK crosses
//!                    |                |
//!                 failure          no ACK for 64*T1
//!                    v                v
//!                  gone            the call ends
//! ```
//!
//! There is one at a time in a call: the offer of one side is answered before the next is made.

use std::borrow::Cow;
use std::time::Duration;

use crate::call::end;
use crate::call::exchange::At;
use crate::call::relay::{carries_session, copy_crossing, copy_naming};
use crate::call::session;
use crate::call::setup::forwards;
use crate::call::{Call, Ids, Outcome, Part, Phase, Side, Turn, respond, respond_plainly};
use crate::dialog::session_timer::Asked;
use crate::dialog::{Dialog, Order};
use crate::sip::flow::Flow;
use crate::sip::{Method, Name, Request, Response, Status, Writer};
use crate::table::Key;
use crate::time::Timestamp;
use crate::transaction::clients::{Failure, Outgoing};
use crate::transaction::reply;
use crate::transaction::servers::Answer;

/// The INVITE that is being negotiated.
#[derive(Debug)]
pub(super) struct Negotiation {
    /// The side whose INVITE it is.
    asker: Side,
    /// Its transaction; `None` once the asker has been told otherwise.
    server: Option<Key>,
    /// The number of the asker's INVITE.
    asked: u32,
    /// The number of ours, to the other side.
    sent: u32,
    /// The transaction of ours.
    client: Option<Key>,
    /// S-50: whether the asker takes no provisional responses but reliable ones, which it does not
    /// get within a call.
    is_mute: bool,
    /// The side whose offer waits for its answer.
    offers: Option<Side>,
    origin: Origin,
    /// What the asker's INVITE says of session timers.
    asked_timer: Asked,
    state: State,
}

/// How a request gets to the other side.
#[derive(Clone, Copy, Debug)]
pub(super) struct Crossing {
    /// Who sends it.
    pub(super) at: At,
    /// Whom its answer is for.
    pub(super) part: Part,
    /// What a PRACK acknowledges on the other leg.
    pub(super) rack: Option<u32>,
}

/// Whose idea it was.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Origin {
    /// A side's.
    Side,
    /// Ours, to put a mixer between the two, or to take it away.
    Mixer,
    /// Ours, to refresh the session of the other side than the asker.
    Refresh,
}

#[derive(Debug)]
enum State {
    Pending {
        /// When it is withdrawn.
        until: Timestamp,
    },
    Answered {
        resend: Timestamp,
        interval: Duration,
        gives_up: Timestamp,
        /// Whether the other side has its ACK already, because the call has ended.
        is_settled: bool,
    },
}

impl Negotiation {
    /// A 2xx has been sent to the asker; `numbers` are those of his INVITE and of ours.
    pub(super) fn answered(
        turn: &Turn<'_>,
        asker: (Side, Key),
        client: Option<Key>,
        numbers: (u32, u32),
    ) -> Self {
        let (asked, sent) = numbers;
        let (asker, server) = asker;
        Self {
            asker,
            server: Some(server),
            asked,
            sent,
            client,
            is_mute: false,
            offers: None,
            origin: Origin::Side,
            asked_timer: Asked::default(),
            state: State::unacked(turn),
        }
    }

    /// We have sent a 2xx of our own to the asker; there is no other side.
    pub(super) fn settled(turn: &Turn<'_>, asker: (Side, Key), asked: u32) -> Self {
        let mut unacked = Self::answered(turn, asker, None, (asked, 0));
        if let State::Answered { is_settled, .. } = &mut unacked.state {
            *is_settled = true;
        }
        unacked
    }

    /// An INVITE of ours of this number, for `asker`, that nobody waits for any more.
    pub(super) fn withdrawn(turn: &Turn<'_>, asker: Side, client: Key, sent: u32) -> Self {
        Self {
            asker,
            server: None,
            asked: 0,
            sent,
            client: Some(client),
            is_mute: false,
            offers: None,
            origin: Origin::Side,
            asked_timer: Asked::default(),
            state: State::Pending {
                until: turn.now + turn.timing.rings,
            },
        }
    }

    /// An INVITE of ours to this side, of a mixer or without it, which waits until then.
    pub(super) fn of_mixer(
        turn: &Turn<'_>,
        side: Side,
        (client, sent): (Key, u32),
        until: Timestamp,
    ) -> Self {
        Self {
            offers: Some(side.other()),
            origin: Origin::Mixer,
            state: State::Pending { until },
            ..Self::withdrawn(turn, side.other(), client, sent)
        }
    }

    /// Our INVITE went again, in this transaction and with this number.
    pub(super) fn renew(&mut self, client: Key, number: u32) {
        self.client = Some(client);
        self.sent = number;
    }

    /// The side that answers our INVITE.
    pub(super) fn answerer(&self) -> Side {
        self.asker.other()
    }

    /// The side whose offer waits for its answer.
    pub(super) fn offers(&self) -> Option<Side> {
        self.offers
    }

    /// Whether nobody but the asker has a part in it any more.
    pub(super) fn is_settled(&self) -> bool {
        matches!(
            self.state,
            State::Answered {
                is_settled: true,
                ..
            }
        )
    }

    pub(super) fn deadline(&self) -> Timestamp {
        match self.state {
            State::Pending { until } => until,
            State::Answered {
                resend, gives_up, ..
            } => resend.min(gives_up),
        }
    }
}

impl State {
    fn unacked(turn: &Turn<'_>) -> Self {
        Self::Answered {
            resend: turn.now + turn.timing.t1,
            interval: turn.timing.t1,
            gives_up: turn.now + turn.timing.t1 * 64,
            is_settled: false,
        }
    }
}

impl Call {
    /// Takes an INVITE within the call.
    pub(super) fn on_reinvite(
        &mut self,
        turn: &mut Turn<'_>,
        side: Side,
        request: &Request<'_>,
        flow: &Flow,
    ) {
        let pending = self.negotiation.as_deref().map(|pending| pending.asker);
        // S-68: an UPDATE with an offer is as good as an INVITE here.
        match pending.or_else(|| self.pending_offer(None)) {
            // S-18: his own is not finished yet.
            Some(asker) if asker == side => return end::refuse_for_now(turn, request, flow),
            // S-18: they cross.
            Some(_) => {
                let message = &request.message;
                return turn
                    .layer
                    .refuse(message, flow, Status::REQUEST_PENDING, reply::NOTHING);
            }
            None => {}
        }
        if self.leg_mut(side).dialog.order(request.cseq.number) == Order::OutOfOrder {
            return end::refuse_for_now(turn, request, flow);
        }
        if session::refuse_too_short(turn, request, flow).is_some() {
            return;
        }
        let user = Some(self.user(Part::Negotiation));
        let Ok(server) = turn.layer.accept(turn.now, request, flow, user) else {
            return end::refuse_for_now(turn, request, flow);
        };
        self.leg_mut(side).dialog.refresh_target(&request.message);
        turn.layer.respond(turn.now, server, &Answer::TRYING);
        let crossing = Crossing {
            at: At::within(side),
            part: Part::Negotiation,
            rack: None,
        };
        let Some((client, sent)) = self.send_across(turn, request, &crossing) else {
            let tag = reply::Tag::AsReceived;
            return respond_plainly(turn, server, Status::SERVER_INTERNAL_ERROR, tag);
        };
        self.negotiation = Some(Box::new(Negotiation {
            asker: side,
            server: Some(server),
            asked: request.cseq.number,
            sent,
            client: Some(client),
            is_mute: request.message.has_option(Name::Require, "100rel"),
            offers: carries_session(&request.message).then_some(side),
            origin: Origin::Side,
            asked_timer: Asked::of(&request.message),
            state: State::Pending {
                until: turn.now + turn.timing.rings,
            },
        }));
    }

    /// An INVITE of ours is under way that refreshes the session of this side.
    pub(super) fn await_refresh(&mut self, turn: &Turn<'_>, side: Side, client: Key, number: u32) {
        let withdrawn = Negotiation::withdrawn(turn, side.other(), client, number);
        self.negotiation = Some(Box::new(Negotiation {
            offers: Some(side.other()),
            origin: Origin::Refresh,
            ..withdrawn
        }));
    }

    /// Sends a request of one side to the other; its transaction and number come back.
    pub(super) fn send_across(
        &mut self,
        turn: &mut Turn<'_>,
        request: &Request<'_>,
        crossing: &Crossing,
    ) -> Option<(Key, u32)> {
        let user = Some(self.user(crossing.part));
        let At { side: from, early } = crossing.at;
        let at = At {
            side: from.other(),
            early,
        };
        self.note_audio((from, self.flow(from).remote.ip()), &request.message);
        let body = self.body_towards(at.side, &request.message);
        let number = self.dialog_at(at)?.next_cseq();
        let dialog = self.dialog_towards(at)?;
        let flow = dialog.flow();
        let ids = Ids {
            legs: turn.legs,
            own: Some((self, at.side)),
            receivers: &[flow],
        };
        turn.scratch.clear();
        let mut writer = Writer::fragment(turn.scratch);
        dialog.write_fields(&mut writer, request.method, number, forwards(request));
        match crossing.rack.zip(early) {
            Some((rseq, tag)) => self.heard_in(tag)?.write_rack(&mut writer, rseq),
            None => {
                writer.header(Name::Contact, turn.contacts.of(&flow));
            }
        }
        copy_naming(&mut writer, &request.message, turn.realm, &ids);
        if matches!(request.method, Method::Invite | Method::Update) {
            session::write_request(&mut writer, self.leg(at.side), request);
        }
        let body = if request.method == Method::Notify {
            ids.body(&request.message)
        } else {
            body
        };
        writer.finish(&body).ok()?;
        let outgoing = Outgoing {
            method: request.method,
            uri: dialog.request_uri(),
            flow,
            user,
            destination: turn.layer.digester().destination(&request.uri),
            fields: turn.scratch,
        };
        // R4: in a call of our own, whoever of the two asks.
        let account = self.account_on(at.side).filter(|_| at.early.is_none());
        let client = turn
            .layer
            .request_with(turn.now, &outgoing, account.as_ref())
            .ok()?;
        if request.method == Method::Refer {
            self.note_refer(from, request, number);
        }
        Some((client, number))
    }

    /// Our end of the dialog with somebody, as it is written.
    fn dialog_towards(&self, at: At) -> Option<Cow<'_, Dialog>> {
        let leg = &self.leg(at.side).dialog;
        let Some(tag) = at.early.filter(|_| self.answered.is_none()) else {
            return Some(Cow::Borrowed(leg));
        };
        Some(match at.side {
            Side::A => {
                let mut dialog = leg.clone();
                dialog.set_tag(tag);
                Cow::Owned(dialog)
            }
            Side::B => Cow::Borrowed(&self.heard_in(tag)?.dialog),
        })
    }

    pub(super) fn on_reinvite_response(&mut self, turn: &mut Turn<'_>, response: &Response<'_>) {
        let status = response.status;
        let Some(pending) = self.negotiation.as_deref_mut() else {
            return;
        };
        let (asker, answerer) = (pending.asker, pending.asker.other());
        let is_unheard = status == Status::TRYING || status.is_provisional() && pending.is_mute;
        if matches!(pending.state, State::Answered { .. }) || is_unheard {
            // Until the asker acknowledges there is nothing to say to the answerer.
            return;
        }
        let Some(server) = pending.server else {
            let origin = pending.origin;
            // Else the call has ended meanwhile.
            if !status.is_provisional() {
                let (number, client) = (pending.sent, pending.client);
                self.negotiation = None;
                if status.is_success() {
                    end::send_ack(turn, &self.leg(answerer).dialog, number, client, None);
                }
                match origin {
                    Origin::Mixer => self.on_mix_response(turn, answerer, response),
                    Origin::Refresh => self.on_refreshed(turn, answerer, response),
                    Origin::Side => {}
                }
            }
            return;
        };
        if status.is_success() {
            pending.state = State::unacked(turn);
            // S-71: without an offer in the INVITE, the answer to this one comes in the ACK.
            let makes_offer = pending.offers.is_none() && carries_session(&response.message);
            pending.offers = makes_offer.then_some(answerer);
            let (asked, client) = (pending.asked_timer, pending.client);
            self.on_session_answered(turn, answerer, response, client);
            self.agree_within(turn, asker, asked);
            self.note_sessions(turn, (asker, client), response);
            self.note_description(asker, &response.message);
            self.on_session_crossed();
            self.leg_mut(answerer)
                .dialog
                .refresh_target(&response.message);
        } else if status.is_failure() {
            self.negotiation = None;
        }
        self.relay_within(turn, server, asker, response);
        if is_end_of_dialog(status) {
            // S-15, S-20: the other side knows nothing of the call any more.
            self.lose(turn, &[Side::A, Side::B]);
        }
    }

    /// Answers a request of `asker` with what the other side answered.
    pub(super) fn relay_within(
        &mut self,
        turn: &mut Turn<'_>,
        server: Key,
        asker: Side,
        response: &Response<'_>,
    ) {
        let body = self.body_towards(asker, &response.message);
        let contact = turn.contacts.of(&self.leg(asker).dialog.flow());
        let answer = (response.status, response.phrase, reply::Tag::AsReceived);
        let refreshes = matches!(response.cseq.method, Method::Invite | Method::Update);
        let terms = self
            .terms(asker)
            .filter(|_| refreshes && response.status.is_success());
        let write = |writer: &mut Writer<'_>| {
            if !response.status.is_failure() {
                writer.header(Name::Contact, contact);
            }
            if let Some(terms) = terms {
                terms.write_answer(writer);
            }
            copy_crossing(writer, response);
        };
        respond(turn, server, answer, write, &body);
    }

    pub(super) fn on_reinvite_failure(&mut self, turn: &mut Turn<'_>, failure: Failure) {
        let Some(pending) = self.negotiation.take() else {
            return;
        };
        let status = match failure {
            Failure::TimedOut => Status::REQUEST_TIMEOUT,
            Failure::Unreachable => Status::SERVER_INTERNAL_ERROR,
        };
        let Some(server) = pending.server else {
            let side = pending.asker.other();
            return match pending.origin {
                Origin::Mixer if self.is_talking() => {
                    self.on_mix_failure(turn, side, failure);
                }
                Origin::Refresh if self.is_talking() => {
                    self.on_refresh_failure(turn, side, failure);
                }
                Origin::Mixer | Origin::Refresh | Origin::Side => {}
            };
        };
        respond_plainly(turn, server, status, reply::Tag::AsReceived);
        if is_end_of_dialog(status) {
            self.lose(turn, &[Side::A, Side::B]);
        }
    }

    /// A re-INVITE is withdrawn by who sent it; the other side's answer decides (RFC 3261 §9).
    pub(super) fn cancel_reinvite(&self, turn: &mut Turn<'_>, reason: &[u8]) {
        if let Some(pending) = self.negotiation.as_deref()
            && let (State::Pending { .. }, Some(client)) = (&pending.state, pending.client)
        {
            turn.layer.cancel(turn.now, client, reason);
        }
    }

    /// Takes an ACK of this side's.
    pub fn handle_ack(&mut self, turn: &mut Turn<'_>, side: Side, ack: &Request<'_>) {
        let Some(pending) = self.negotiation.as_deref() else {
            return;
        };
        let awaited = matches!(pending.state, State::Answered { .. })
            && pending.asker == side
            && pending.asked == ack.cseq.number;
        if !awaited {
            return;
        }
        if let Some(server) = pending.server {
            turn.layer.release(server);
        }
        let Some(pending) = self.negotiation.take() else {
            return;
        };
        if !pending.is_settled() {
            self.note_description(side.other(), &ack.message);
            self.note_audio((side, self.flow(side).remote.ip()), &ack.message);
            let body = self.body_towards(side.other(), &ack.message).into_owned();
            if turn.policy.keeps_sessions && carries_session(&ack.message) {
                self.note_session(side.other(), Some(Box::from(&*body)));
            }
            let dialog = &self.leg(side.other()).dialog;
            let crossing = Some((&ack.message, &*body));
            end::send_ack(turn, dialog, pending.sent, pending.client, crossing);
        }
        if self.phase == Phase::Confirming {
            self.end_confirmed(turn, Outcome::Confirmed);
        }
    }

    /// Whatever is due of a negotiation: the 2xx again (S-05), or the end of patience.
    pub(super) fn on_ack_due(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now;
        let Some(pending) = self.negotiation.as_deref_mut() else {
            return;
        };
        match &mut pending.state {
            State::Pending { until } if *until <= now => {
                *until = now + turn.timing.rings;
                if let Some(client) = pending.client {
                    turn.layer.cancel(now, client, b"");
                }
            }
            State::Answered { gives_up, .. } if *gives_up <= now => {
                // S-05: nobody acknowledged, so the call is ended on both sides.
                self.settle_answerer(turn);
                self.negotiation = None;
                match self.phase {
                    Phase::Talking | Phase::Staying(_) => self.lose(turn, &[Side::A, Side::B]),
                    Phase::Confirming | Phase::Joined => self.end_confirmed(turn, Outcome::Lost),
                    Phase::Recalling if self.keeps_caller() => self.end_recall(turn, b""),
                    Phase::Inviting | Phase::Recalling | Phase::Ending { .. } => {}
                }
            }
            State::Answered {
                resend, interval, ..
            } if *resend <= now => {
                *interval = (*interval * 2).min(turn.timing.t2);
                *resend = now + *interval;
                if let Some(server) = pending.server {
                    turn.layer.resend(server);
                }
            }
            State::Pending { .. } | State::Answered { .. } => {}
        }
    }

    /// The answerer must have an ACK before it can get a BYE; the asker still gets his 2xx, again
    /// and again, until he acknowledges it.
    pub(super) fn settle_answerer(&mut self, turn: &mut Turn<'_>) {
        let Some(pending) = self.negotiation.as_deref_mut() else {
            return;
        };
        let State::Answered { is_settled, .. } = &mut pending.state else {
            return;
        };
        if !std::mem::replace(is_settled, true) {
            let (answerer, number, client) = (pending.asker.other(), pending.sent, pending.client);
            end::send_ack(turn, &self.leg(answerer).dialog, number, client, None);
        }
    }

    /// S-21: what is pending when the call ends is answered 487.
    pub(super) fn abandon_negotiation(&mut self, turn: &mut Turn<'_>) {
        self.settle_answerer(turn);
        let Some(pending) = self.negotiation.as_deref_mut() else {
            return;
        };
        if matches!(pending.state, State::Answered { .. }) {
            return;
        }
        if let Some(client) = pending.client {
            turn.layer.cancel(turn.now, client, b"");
        }
        let server = pending.server.take();
        if let Some(server) = server {
            let tag = reply::Tag::AsReceived;
            respond_plainly(turn, server, Status::REQUEST_TERMINATED, tag);
        }
    }
}

/// S-15: a 481 or 408 to a request within a dialog ends it.
pub(super) fn is_end_of_dialog(status: Status) -> bool {
    matches!(
        status,
        Status::CALL_DOES_NOT_EXIST | Status::REQUEST_TIMEOUT
    )
}
