//! A request within a call other than INVITE, ACK and BYE: it crosses, and so does its answer.
//!
//! Spec: RFC 3261 §12.2; RFC 3262 §5; RFC 3311 §5.2; RFC 4320; RFC 5057 §5.

use crate::call::negotiation::{Crossing, is_end_of_dialog};
use crate::call::relay::carries_session;
use crate::call::session;
use crate::call::{Call, EXCHANGES_MAX, Part, Side, Turn, end, respond_plainly};
use crate::dialog::reliable::Prack;
use crate::dialog::session_timer::Asked;
use crate::dialog::{Dialog, Order, Tag};
use crate::sip::flow::Flow;
use crate::sip::{Method, Request, Response, Status};
use crate::table::Key;
use crate::transaction::clients::Failure;
use crate::transaction::reply;

/// A request that is crossing.
#[derive(Debug)]
pub(super) struct Exchange {
    number: u8,
    at: At,
    /// The asker's transaction; `None` for a refresh of ours.
    server: Option<Key>,
    kind: Kind,
    usage: Usage,
    /// What it says of session timers.
    asked: Asked,
}

/// Where within a call somebody asks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct At {
    pub(super) side: Side,
    /// The tag by which A knows the early dialog; `None` in the one that was answered.
    pub(super) early: Option<Tag>,
}

/// What an exchange stands in the way of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Prack { has_offer: bool },
    Update { has_offer: bool },
    Other,
}

/// What a request within a call is about (RFC 5057 §3).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Usage {
    /// The call itself.
    Call,
    /// A subscription, or nothing that lasts: that the other side knows nothing of it says nothing
    /// of the call.
    Other,
}

impl Usage {
    fn of(method: Method<'_>) -> Self {
        let is_other = matches!(
            method,
            Method::Message
                | Method::Notify
                | Method::Options
                | Method::Publish
                | Method::Refer
                | Method::Subscribe
        );
        if is_other { Self::Other } else { Self::Call }
    }
}

/// Why a request has to come again later.
enum Glare {
    /// The asker is not done with what he asked before.
    Again,
    /// It meets what the other side has asked.
    Crossed,
}

impl Kind {
    fn of(request: &Request<'_>) -> Self {
        let has_offer = carries_session(&request.message);
        if request.method == Method::Update {
            Self::Update { has_offer }
        } else {
            Self::Other
        }
    }

    fn has_offer(self) -> bool {
        match self {
            Self::Prack { has_offer } | Self::Update { has_offer } => has_offer,
            Self::Other => false,
        }
    }
}

impl Exchange {
    /// Whether the call is over if the other side knows nothing of this (S-15, RFC 5057 §5.1).
    fn is_of_call(&self) -> bool {
        self.usage == Usage::Call && self.at.early.is_none()
    }

    /// The side whose offer waits for its answer.
    pub(super) fn offers(&self) -> Option<Side> {
        self.kind.has_offer().then_some(self.at.side)
    }
}

impl At {
    /// In the dialog of a call that was answered.
    pub(super) fn within(side: Side) -> Self {
        Self { side, early: None }
    }
}

impl Call {
    pub(super) fn on_exchange(
        &mut self,
        turn: &mut Turn<'_>,
        at: At,
        request: &Request<'_>,
        flow: &Flow,
    ) {
        // S-14: what is older than the last request was overtaken.
        let order = self.order_at(at, request.cseq.number);
        if order == Order::OutOfOrder || self.exchanges.len() >= EXCHANGES_MAX {
            return end::refuse_for_now(turn, request, flow);
        }
        match self.glare(at, request) {
            Some(Glare::Again) => return end::refuse_for_now(turn, request, flow),
            Some(Glare::Crossed) => {
                let (message, status) = (&request.message, Status::REQUEST_PENDING);
                return turn.layer.refuse(message, flow, status, reply::NOTHING);
            }
            None => {}
        }
        let is_update = request.method == Method::Update;
        if is_update && session::refuse_too_short(turn, request, flow).is_some() {
            return;
        }
        let Some((server, number)) = self.accept_exchange(turn, request, flow) else {
            return end::refuse_for_now(turn, request, flow);
        };
        if is_target_refresh(request.method)
            && let Some(dialog) = self.dialog_at(at)
        {
            dialog.refresh_target(&request.message);
        }
        self.pass_on(
            turn,
            request,
            None,
            Exchange {
                number,
                at,
                server: Some(server),
                kind: Kind::of(request),
                usage: Usage::of(request.method),
                asked: if is_update {
                    Asked::of(&request.message)
                } else {
                    Asked::default()
                },
            },
        );
    }

    /// S-57, S-59: A's PRACK of a response that B, too, awaits the PRACK of.
    pub(super) fn pass_prack(
        &mut self,
        turn: &mut Turn<'_>,
        (tag, rseq): (Tag, u32),
        request: &Request<'_>,
        flow: &Flow,
    ) {
        let Some((server, number)) = self.accept_exchange(turn, request, flow) else {
            return end::refuse_for_now(turn, request, flow);
        };
        let has_session = carries_session(&request.message);
        let is_answer = has_session && self.take_early_answer(tag);
        self.pass_on(
            turn,
            request,
            Some(rseq),
            Exchange {
                number,
                at: At {
                    side: Side::A,
                    early: Some(tag),
                },
                server: Some(server),
                kind: Kind::Prack {
                    has_offer: has_session && !is_answer,
                },
                usage: Usage::Call,
                asked: Asked::default(),
            },
        );
    }

    fn accept_exchange(
        &self,
        turn: &mut Turn<'_>,
        request: &Request<'_>,
        flow: &Flow,
    ) -> Option<(Key, u8)> {
        let number = self.free_number();
        let user = Some(self.user(Part::Exchange(number)));
        let server = turn.layer.accept(turn.now, request, flow, user).ok()?;
        Some((server, number))
    }

    fn pass_on(
        &mut self,
        turn: &mut Turn<'_>,
        request: &Request<'_>,
        rack: Option<u32>,
        exchange: Exchange,
    ) {
        let crossing = Crossing {
            at: exchange.at,
            part: Part::Exchange(exchange.number),
            rack,
        };
        if self.send_across(turn, request, &crossing).is_some() {
            self.exchanges.push(exchange);
        } else {
            let status = Status::SERVER_INTERNAL_ERROR;
            answer_plainly(turn, exchange.server, status);
        }
    }

    /// Makes room for a refresh of ours, which is an UPDATE that nobody has asked for.
    pub(super) fn begin_refresh(&mut self, at: At) -> Option<Part> {
        let is_at = |exchange: &Exchange| exchange.at == at;
        if self.exchanges.len() >= EXCHANGES_MAX || self.exchanges.iter().any(is_at) {
            return None;
        }
        let number = self.free_number();
        self.exchanges.push(Exchange {
            number,
            at,
            server: None,
            kind: Kind::Other,
            usage: Usage::Call,
            asked: Asked::default(),
        });
        Some(Part::Exchange(number))
    }

    /// Who answers a request that crosses.
    pub(super) fn answerer_in(&self, number: u8) -> Option<Side> {
        let mut exchanges = self.exchanges.iter();
        let exchange = exchanges.find(|exchange| exchange.number == number)?;
        Some(exchange.at.side.other())
    }

    /// The refresh could not be sent.
    pub(super) fn forget_refresh(&mut self, part: Part) {
        if let Part::Exchange(number) = part {
            self.end_exchange(number);
        }
    }

    pub(super) fn on_exchange_response(
        &mut self,
        turn: &mut Turn<'_>,
        number: u8,
        response: &Response<'_>,
    ) {
        // S-45: provisional responses to anything but an INVITE do not cross.
        if response.status.is_provisional() {
            return;
        }
        let Some(exchange) = self.end_exchange(number) else {
            return;
        };
        let at = exchange.at;
        let Some(server) = exchange.server else {
            return self.on_refreshed(turn, at.side.other(), response);
        };
        let is_success = response.status.is_success();
        if is_success && is_target_refresh(response.cseq.method) {
            let answerer = At {
                side: at.side.other(),
                ..at
            };
            if let Some(dialog) = self.dialog_at(answerer) {
                dialog.refresh_target(&response.message);
            }
        }
        if is_success && exchange.kind.has_offer() && at.early.is_none() {
            // What it was is not known any more.
            self.note_session(at.side, None);
            self.note_session(at.side.other(), None);
            self.on_session_crossed();
        }
        if is_success && response.cseq.method == Method::Update && at.early.is_none() {
            self.on_session_answered(turn, at.side.other(), response, None);
            self.agree_within(turn, at.side, exchange.asked);
        }
        self.relay_within(turn, server, at.side, response);
        if let (Kind::Prack { .. }, Some(tag)) = (exchange.kind, at.early) {
            let prack = if is_success {
                Prack::Met
            } else {
                Prack::Refused
            };
            self.on_heard(turn, tag, prack);
        } else if is_end_of_dialog(response.status) && exchange.is_of_call() {
            self.lose(turn, &[Side::A, Side::B]);
        }
    }

    pub(super) fn on_exchange_failure(
        &mut self,
        turn: &mut Turn<'_>,
        number: u8,
        failure: Failure,
    ) {
        let Some(exchange) = self.end_exchange(number) else {
            return;
        };
        match failure {
            // S-47: the asker has given up by now, and a 408 would only hurt.
            Failure::TimedOut if exchange.is_of_call() => {
                self.lose(turn, &[Side::A, Side::B]);
            }
            // The call goes on; whether it rings on is the INVITE's to tell.
            Failure::TimedOut => {}
            Failure::Unreachable => {
                let status = Status::SERVER_INTERNAL_ERROR;
                answer_plainly(turn, exchange.server, status);
                if exchange.server.is_none() {
                    self.on_refresh_refused(turn.now, exchange.at.side.other());
                }
            }
        }
    }

    /// S-21: what is pending when the call ends is answered 487; a PRACK has reached us all the same
    /// (S-54).
    pub(super) fn abandon_exchanges(&mut self, turn: &mut Turn<'_>) {
        for exchange in std::mem::take(&mut self.exchanges) {
            let status = match exchange.kind {
                Kind::Prack { has_offer: false } => Status::OK,
                Kind::Prack { has_offer: true } | Kind::Update { .. } | Kind::Other => {
                    Status::REQUEST_TERMINATED
                }
            };
            answer_plainly(turn, exchange.server, status);
        }
    }

    /// S-68: whether an UPDATE comes at a time when it cannot be answered.
    fn glare(&self, at: At, request: &Request<'_>) -> Option<Glare> {
        if request.method != Method::Update {
            return None;
        }
        let is_second =
            |exchange: &Exchange| exchange.at == at && matches!(exchange.kind, Kind::Update { .. });
        if self.exchanges.iter().any(is_second) {
            return Some(Glare::Again);
        }
        if !carries_session(&request.message) {
            return None;
        }
        match self.pending_offer(at.early)? {
            side if side == at.side => Some(Glare::Again),
            _ => Some(Glare::Crossed),
        }
    }

    /// S-60: the side whose offer is not answered yet.
    pub(super) fn pending_offer(&self, early: Option<Tag>) -> Option<Side> {
        let of_exchange = self.exchanges.iter().find_map(Exchange::offers);
        let of_early = || self.offer_in(early?);
        let of_invite = || self.negotiation.as_deref()?.offers();
        of_exchange.or_else(of_early).or_else(of_invite)
    }

    /// S-14, in a dialog that may be early.
    fn order_at(&mut self, at: At, number: u32) -> Order {
        match (at.side, at.early) {
            (Side::A, Some(tag)) => self.order_in(tag, number),
            (Side::B, Some(_)) | (_, None) => match self.dialog_at(at) {
                Some(dialog) => dialog.order(number),
                None => Order::OutOfOrder,
            },
        }
    }

    /// Our end of the dialog with somebody; A's early dialogs differ in our tag alone.
    pub(super) fn dialog_at(&mut self, at: At) -> Option<&mut Dialog> {
        let is_answered = self.answered.is_some();
        match (at.side, at.early) {
            (Side::B, Some(tag)) if !is_answered => self.heard(tag).map(|heard| &mut heard.dialog),
            (side, _) => Some(&mut self.leg_mut(side).dialog),
        }
    }

    /// The side that answers an exchange.
    pub(super) fn exchange_answerer(&self, number: u8) -> Option<Side> {
        let mut exchanges = self.exchanges.iter();
        let exchange = exchanges.find(|exchange| exchange.number == number)?;
        Some(exchange.at.side.other())
    }

    fn end_exchange(&mut self, number: u8) -> Option<Exchange> {
        let at = self
            .exchanges
            .iter()
            .position(|exchange| exchange.number == number)?;
        Some(self.exchanges.remove(at))
    }

    fn free_number(&self) -> u8 {
        let taken = |number: &u8| self.exchanges.iter().any(|other| other.number == *number);
        (0..=u8::MAX)
            .find(|number| !taken(number))
            .unwrap_or_default()
    }
}

fn answer_plainly(turn: &mut Turn<'_>, server: Option<Key>, status: Status) {
    if let Some(server) = server {
        respond_plainly(turn, server, status, reply::Tag::AsReceived);
    }
}

/// S-16: requests whose Contact is the new target.
fn is_target_refresh(method: Method<'_>) -> bool {
    matches!(
        method,
        Method::Invite | Method::Update | Method::Subscribe | Method::Notify | Method::Refer
    )
}
