//! A request within a subscription, in either direction, until it is answered.
//!
//! Spec: RFC 6665 §4.1.2, §4.2.2; RFC 3261 §12.2; RFC 4320 §4.

use std::borrow::Cow;

use crate::call::relay::{copy_crossing, copy_naming, share_of_breadth};
use crate::call::{Ids, forwards, not_the_whole_service};
use crate::dialog::subscription::Fate;
use crate::relay::subscription::{Side, Subscription, granted};
use crate::relay::{Part, Refused, Turn, as_accepted, is_target_refresh, respond, respond_plainly};
use crate::sip::flow::Flow;
use crate::sip::{Method, Name, Request, Response, Status, Writer};
use crate::table::Key;
use crate::transaction::clients::{Failure, Outgoing};
use crate::transaction::reply;

/// Up to how many requests cross within one subscription at a time.
const EXCHANGES_MAX: usize = 8;

/// A request that is crossing.
#[derive(Debug)]
pub(super) struct Exchange {
    number: u8,
    fork: u8,
    asker: Side,
    server: Key,
    kind: Kind,
}

/// What a request means for its subscription.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// The NOTIFY after which nothing comes.
    LastNotify,
    /// Another NOTIFY.
    Notify,
    /// Nothing.
    Other,
    /// A refresh, or the end.
    Subscribe,
}

impl Kind {
    /// S-124, S-125, S-15: whether this answer leaves nothing of the subscription.
    fn is_end(self, status: Status) -> bool {
        match self {
            Self::LastNotify => true,
            Self::Notify | Self::Subscribe => Fate::after(status) == Fate::Gone,
            Self::Other => status == Status::CALL_DOES_NOT_EXIST,
        }
    }

    /// S-124: whether the same goes for no answer; a refresh that failed leaves what was granted.
    fn is_end_after(self, failure: Failure) -> bool {
        match self {
            Self::LastNotify => true,
            Self::Notify => Fate::after_failure(failure) == Fate::Gone,
            Self::Other | Self::Subscribe => false,
        }
    }
}

impl Subscription {
    /// Sends a request of one side to the other.
    pub(super) fn begin_exchange(
        &mut self,
        turn: &mut Turn<'_>,
        (asker, fork): (Side, u8),
        request: &Request<'_>,
        (flow, kind): (&Flow, Kind),
    ) -> Result<(), Refused> {
        if self.exchanges.len() >= EXCHANGES_MAX {
            return Err(Refused::Full);
        }
        let number = self.next_number();
        let user = Some(Part::Exchange(number).user(self.key));
        let server = turn.layer.accept(turn.now, request, flow, user);
        let server = server.map_err(|_| Refused::Full)?;
        if self
            .send_across(turn, (asker, fork), request, number)
            .is_none()
        {
            let tag = reply::Tag::AsReceived;
            respond_plainly(turn, server, Status::SERVER_INTERNAL_ERROR, tag);
            return Ok(());
        }
        self.exchanges.push(Exchange {
            number,
            fork,
            asker,
            server,
            kind,
        });
        Ok(())
    }

    fn send_across(
        &mut self,
        turn: &mut Turn<'_>,
        (asker, fork): (Side, u8),
        request: &Request<'_>,
        number: u8,
    ) -> Option<()> {
        let user = Some(Part::Exchange(number).user(self.key));
        let fork = self.forks.get_mut(usize::from(fork))?;
        let dialog = fork.dialog_mut(asker.other());
        let (cseq, to) = (dialog.next_cseq(), dialog.flow());
        let ids = Ids {
            legs: turn.legs,
            own: None,
            receivers: &[to],
        };
        turn.scratch.clear();
        let mut writer = Writer::fragment(turn.scratch);
        dialog.write_fields(&mut writer, request.method, cseq, forwards(request));
        if is_target_refresh(request.method) {
            writer.header(Name::Contact, turn.contacts.of(&to));
        }
        if let Some(breadth) = share_of_breadth(&request.message, 1) {
            writer.header_fmt(Name::MaxBreadth, format_args!("{breadth}"));
        }
        copy_naming(&mut writer, &request.message, turn.realm, &ids);
        let body = turn.body.map(Cow::Borrowed);
        let body = body.unwrap_or_else(|| ids.body(&request.message));
        writer.finish(&body).ok()?;
        let outgoing = Outgoing {
            method: request.method,
            uri: dialog.request_uri(),
            flow: to,
            user,
            destination: turn.layer.digester().destination(&request.uri),
            fields: turn.scratch,
        };
        turn.layer.request(turn.now, &outgoing).ok()?;
        Some(())
    }

    /// Takes a response to a request that crossed.
    pub fn handle_exchange(&mut self, turn: &mut Turn<'_>, number: u8, response: &Response<'_>) {
        // S-45
        if response.status.is_provisional() {
            return;
        }
        let Some(exchange) = self.end_exchange(number) else {
            return;
        };
        let fork = self.forks.get_mut(usize::from(exchange.fork));
        if let Some(fork) = fork.filter(|_| response.status.is_success()) {
            if is_target_refresh(response.cseq.method) {
                let answerer = fork.dialog_mut(exchange.asker.other());
                answerer.refresh_target(&response.message);
            }
            if exchange.kind == Kind::Subscribe {
                // Where nothing is left, its last NOTIFY may still come.
                fork.ends = turn.now + granted(response) + turn.patience;
            }
        }
        self.relay_answer(turn, &exchange, response);
        if exchange.kind.is_end(response.status) {
            self.end_fork(turn, usize::from(exchange.fork));
        }
    }

    /// Takes the failure of a request that crossed and that nobody answered.
    pub fn handle_exchange_failure(&mut self, turn: &mut Turn<'_>, number: u8, failure: Failure) {
        let Some(exchange) = self.end_exchange(number) else {
            return;
        };
        // S-47: silence crosses as silence.
        if failure == Failure::Unreachable {
            let status = Status::SERVER_INTERNAL_ERROR;
            respond_plainly(turn, exchange.server, status, reply::Tag::AsReceived);
        }
        if exchange.kind.is_end_after(failure) {
            self.end_fork(turn, usize::from(exchange.fork));
        }
    }

    /// What waits in this fork for an answer gets 481.
    pub(super) fn abandon_exchanges(&mut self, turn: &mut Turn<'_>, fork: usize) {
        let (gone, kept) = std::mem::take(&mut self.exchanges)
            .into_iter()
            .partition(|exchange| usize::from(exchange.fork) == fork);
        self.exchanges = kept;
        let gone: Vec<Exchange> = gone;
        for exchange in gone {
            let status = Status::CALL_DOES_NOT_EXIST;
            respond_plainly(turn, exchange.server, status, reply::Tag::AsReceived);
        }
    }

    fn relay_answer(&self, turn: &mut Turn<'_>, exchange: &Exchange, response: &Response<'_>) {
        let Some(fork) = self.forks.get(usize::from(exchange.fork)) else {
            return;
        };
        let contact = turn.contacts.of(&fork.dialog(exchange.asker).flow());
        let method = response.cseq.method;
        let has_contact = response.status.is_success() && is_target_refresh(method);
        let status = not_the_whole_service(as_accepted(method, response.status));
        let phrase = if status == response.status {
            response.phrase
        } else {
            b""
        };
        let write = |writer: &mut Writer<'_>| {
            if has_contact {
                writer.header(Name::Contact, contact);
            }
            copy_crossing(writer, response);
        };
        let answer = (status, phrase, reply::Tag::AsReceived);
        respond(
            turn,
            exchange.server,
            answer,
            write,
            response.message.body(),
        );
    }

    fn end_exchange(&mut self, number: u8) -> Option<Exchange> {
        let mut exchanges = self.exchanges.iter();
        let at = exchanges.position(|exchange| exchange.number == number)?;
        Some(self.exchanges.remove(at))
    }

    /// A number that no late answer to an earlier request has.
    fn next_number(&mut self) -> u8 {
        self.last_exchange = self.last_exchange.wrapping_add(1);
        self.last_exchange
    }
}

/// What a request means for its subscription.
pub(super) fn kind_of(request: &Request<'_>, is_last: bool) -> Kind {
    match request.method {
        Method::Notify if is_last => Kind::LastNotify,
        Method::Notify => Kind::Notify,
        Method::Subscribe => Kind::Subscribe,
        Method::Ack
        | Method::Bye
        | Method::Cancel
        | Method::Info
        | Method::Invite
        | Method::Message
        | Method::Options
        | Method::Prack
        | Method::Publish
        | Method::Refer
        | Method::Register
        | Method::Update
        | Method::Other(_) => Kind::Other,
    }
}
