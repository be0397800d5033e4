//! A request within a call other than INVITE, ACK, BYE and PRACK: it crosses, and so does its answer.
//!
//! Spec: RFC 3261 §12.2; RFC 4320; RFC 5057 §5.

use crate::call::negotiation::is_end_of_dialog;
use crate::call::{Call, EXCHANGES_MAX, Part, Side, Turn, end, respond_plainly};
use crate::dialog::Order;
use crate::sip::flow::Flow;
use crate::sip::{Method, Request, Response, Status};
use crate::table::Key;
use crate::transaction::clients::Failure;
use crate::transaction::reply;

/// A request that is crossing.
#[derive(Debug)]
pub(super) struct Exchange {
    number: u8,
    asker: Side,
    server: Key,
}

impl Call {
    pub(super) fn on_exchange(
        &mut self,
        turn: &mut Turn<'_>,
        side: Side,
        request: &Request<'_>,
        flow: &Flow,
    ) {
        // S-14: what is older than the last request was overtaken.
        let order = self.leg_mut(side).dialog.order(request.cseq.number);
        if order == Order::OutOfOrder || self.exchanges.len() >= EXCHANGES_MAX {
            return end::refuse_for_now(turn, request, flow);
        }
        let number = self.free_number();
        let Ok(server) = turn.layer.accept(turn.now, request, flow, None) else {
            return end::refuse_for_now(turn, request, flow);
        };
        if is_target_refresh(request.method) {
            self.leg_mut(side).dialog.refresh_target(&request.message);
        }
        let part = Part::Exchange(number);
        if self.send_across(turn, side, request, part).is_some() {
            self.exchanges.push(Exchange {
                number,
                asker: side,
                server,
            });
        } else {
            let tag = reply::Tag::AsReceived;
            respond_plainly(turn, server, Status::SERVER_INTERNAL_ERROR, tag);
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
        let Exchange { asker, server, .. } = exchange;
        if response.status.is_success() && is_target_refresh(response.cseq.method) {
            let answerer = self.leg_mut(asker.other());
            answerer.dialog.refresh_target(&response.message);
        }
        self.relay_within(turn, server, asker, response);
        if is_end_of_dialog(response.status) {
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
            Failure::TimedOut => self.lose(turn, &[Side::A, Side::B]),
            Failure::Unreachable => {
                let status = Status::SERVER_INTERNAL_ERROR;
                respond_plainly(turn, exchange.server, status, reply::Tag::AsReceived);
            }
        }
    }

    /// S-21: what is pending when the call ends is answered 487.
    pub(super) fn abandon_exchanges(&mut self, turn: &mut Turn<'_>) {
        for exchange in std::mem::take(&mut self.exchanges) {
            let status = Status::REQUEST_TERMINATED;
            respond_plainly(turn, exchange.server, status, reply::Tag::AsReceived);
        }
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

/// S-16: requests whose Contact is the new target.
fn is_target_refresh(method: Method<'_>) -> bool {
    matches!(
        method,
        Method::Invite | Method::Update | Method::Subscribe | Method::Notify | Method::Refer
    )
}
