//! The end of a call: BYE from a side or to both, and the ACKs that must come before.
//!
//! Spec: RFC 3261 §13.2.2.4 (S-04), §15 (S-21); RFC 3326.
//!
//! A BYE is answered at once and not when the other side has answered: whoever hangs up is done. Only
//! between a phone and its PBX it is otherwise, see `leaving`.

use crate::call::relay::copy_request;
use crate::call::sdp::SDP;
use crate::call::setup::forwards;
use crate::call::{Call, Outcome, Part, Phase, Side, Turn, respond_plainly};
use crate::dialog::{Dialog, Order, Tag};
use crate::sip::flow::Flow;
use crate::sip::{Message, Method, Name, Request, Response, Status, Writer};
use crate::table::Key;
use crate::transaction::User;
use crate::transaction::clients::Outgoing;
use crate::transaction::fallback::Fallback;
use crate::transaction::reply;

impl Call {
    pub(super) fn on_bye(
        &mut self,
        turn: &mut Turn<'_>,
        side: Side,
        request: &Request<'_>,
        flow: &Flow,
    ) {
        if self.leg_mut(side).dialog.order(request.cseq.number) == Order::OutOfOrder {
            return refuse_for_now(turn, request, flow);
        }
        let Ok(server) = turn.layer.accept(turn.now, request, flow, None) else {
            return refuse_for_now(turn, request, flow);
        };
        if self.may_be_challenged(side) {
            return self.ask_to_leave(turn, (side, server), request);
        }
        respond_plainly(turn, server, Status::OK, reply::Tag::AsReceived);
        if self.could_spare(side) {
            return self.spare(turn, side);
        }
        self.settle_leaving(turn);
        match self.phase {
            Phase::Talking => {
                self.outcome = Outcome::HungUp(side);
                self.phase = Phase::Ending { byes: 1 };
                self.note_end(turn.now);
                self.forget_sessions();
                self.abandon_negotiation(turn);
                self.abandon_exchanges(turn);
                self.relay_bye(turn, side, request);
                self.note_left(side);
            }
            Phase::Recalling => {
                self.on_recall_bye(turn, side);
                self.note_left(side);
            }
            Phase::Confirming | Phase::Joined => {
                self.outcome = Outcome::HungUp(side);
                self.phase = Phase::Ending { byes: 0 };
            }
            Phase::Staying(stays) if stays == side => {
                self.outcome = Outcome::HungUp(side);
                self.phase = Phase::Ending { byes: 0 };
                self.forget_sessions();
                self.abandon_negotiation(turn);
            }
            // The BYEs crossed.
            Phase::Staying(_) | Phase::Inviting | Phase::Ending { .. } => self.note_left(side),
        }
    }

    /// Takes a BYE of A's for an early dialog: as good as a CANCEL (RFC 3261 §15).
    pub(super) fn on_early_bye(&mut self, turn: &mut Turn<'_>, request: &Request<'_>, flow: &Flow) {
        if let Ok(server) = turn.layer.accept(turn.now, request, flow, None) {
            respond_plainly(turn, server, Status::OK, reply::Tag::AsReceived);
        }
        let reason = request.message.first(Name::Reason).unwrap_or_default();
        self.finish(turn, Status::REQUEST_TERMINATED);
        self.outcome = Outcome::Cancelled;
        self.give_up_branches(turn, reason);
    }

    /// Ends the call as if A had, in whatever state it is.
    pub fn disconnect(&mut self, turn: &mut Turn<'_>) {
        if self.phase != Phase::Inviting {
            let before = self.outcome;
            self.hang_up(turn);
            if before == Outcome::Open && self.outcome == Outcome::Lost {
                self.outcome = Outcome::Disconnected;
            }
            return;
        }
        self.finish(turn, Status::REQUEST_TERMINATED);
        self.outcome = Outcome::Cancelled;
        self.give_up_branches(turn, b"");
    }

    /// R24: A, who hears B's phone ring, is told that nobody answers.
    pub fn refuse_ringing(&mut self, turn: &mut Turn<'_>) {
        if self.phase == Phase::Inviting && self.has_rung() {
            self.finish(turn, Status::TEMPORARILY_UNAVAILABLE);
            self.give_up_branches(turn, b"");
        }
    }

    /// Ends the call on both sides, in whatever state it is.
    pub fn hang_up(&mut self, turn: &mut Turn<'_>) {
        match self.phase {
            Phase::Inviting => {
                self.finish(turn, Status::SERVICE_UNAVAILABLE);
                self.give_up_branches(turn, b"");
            }
            Phase::Recalling => self.wind_up(turn, Outcome::Lost, None, b""),
            Phase::Confirming | Phase::Joined => self.end_confirmed(turn, Outcome::Lost),
            Phase::Talking | Phase::Staying(_) => self.lose(turn, &[Side::A, Side::B]),
            Phase::Ending { .. } => {}
        }
    }

    /// Ends the call with a BYE to these sides, as far as they are there.
    pub(super) fn lose(&mut self, turn: &mut Turn<'_>, sides: &[Side]) {
        self.lose_for(turn, sides, b"");
    }

    /// The same for this reason.
    pub(super) fn lose_for(&mut self, turn: &mut Turn<'_>, sides: &[Side], reason: &[u8]) {
        let lone = self.lone();
        self.outcome = Outcome::Lost;
        self.phase = Phase::Ending { byes: 0 };
        self.settle_leaving(turn);
        self.abandon_negotiation(turn);
        self.abandon_exchanges(turn);
        match lone {
            Some(side) => self.send_byes(turn, &[side], reason),
            None => self.send_byes(turn, sides, reason),
        }
    }

    /// Sends a BYE to these sides, and waits for their answers only.
    pub(super) fn send_byes(&mut self, turn: &mut Turn<'_>, sides: &[Side], reason: &[u8]) {
        let mut byes = 0;
        self.note_end(turn.now);
        self.forget_sessions();
        for side in sides {
            let user = Some(self.user(Part::Bye(*side)));
            let others = self.account_on(*side);
            let dialog = &mut self.leg_mut(*side).dialog;
            byes += u8::from(send_bye(turn, dialog, reason, (user, others.as_ref())));
        }
        self.phase = Phase::Ending { byes };
    }

    pub(super) fn on_bye_done(&mut self, side: Side, status: Status) {
        if let Phase::Ending { byes } = self.phase
            && !status.is_provisional()
        {
            self.note_left(side);
            self.phase = Phase::Ending {
                byes: byes.saturating_sub(1),
            };
        }
    }

    fn relay_bye(&mut self, turn: &mut Turn<'_>, from: Side, request: &Request<'_>) {
        let part = Part::Bye(from.other());
        if self.send_bye_across(turn, from, request, part).is_none() {
            self.phase = Phase::Ending { byes: 0 };
        }
    }

    pub(super) fn send_bye_across(
        &mut self,
        turn: &mut Turn<'_>,
        from: Side,
        request: &Request<'_>,
        part: Part,
    ) -> Option<Key> {
        let user = Some(self.user(part));
        let others = self.account_on(from.other());
        let dialog = &mut self.leg_mut(from.other()).dialog;
        let number = dialog.next_cseq();
        turn.scratch.clear();
        let mut writer = Writer::fragment(turn.scratch);
        dialog.write_fields(&mut writer, Method::Bye, number, forwards(request));
        copy_request(&mut writer, &request.message, turn.realm);
        writer.finish(request.message.body()).ok()?;
        send_as(turn, dialog, Method::Bye, (user, others.as_ref()))
    }
}

/// Sends a BYE of our own; whether it went out.
pub(super) fn send_bye(
    turn: &mut Turn<'_>,
    dialog: &mut Dialog,
    reason: &[u8],
    (user, others): (Option<User>, Option<&Fallback>),
) -> bool {
    let number = dialog.next_cseq();
    turn.scratch.clear();
    let mut writer = Writer::fragment(turn.scratch);
    dialog.write_fields(&mut writer, Method::Bye, number, 70);
    if !reason.is_empty() {
        writer.header(Name::Reason, reason);
    }
    let method = Method::Bye;
    writer.finish(b"").is_ok() && send_as(turn, dialog, method, (user, others)).is_some()
}

/// S-04: the ACK of a 2xx, a request of its own with the number of the INVITE; with what crosses of
/// the other side's ACK, and its body as this side is to see it, if there is one.
pub(super) fn send_ack(
    turn: &mut Turn<'_>,
    dialog: &Dialog,
    number: u32,
    client: Option<Key>,
    crossing: Option<(&Message<'_>, &[u8])>,
) {
    let realm = turn.realm;
    let write = |writer: &mut Writer<'_>| {
        if let Some((ack, _)) = crossing {
            copy_request(writer, ack, realm);
        }
    };
    let body = crossing.map_or(&b""[..], |(_, body)| body);
    acknowledge(turn, dialog, (number, client), write, body);
}

/// The ACK of a 2xx that made an offer, with this answer.
pub(super) fn send_answer(
    turn: &mut Turn<'_>,
    dialog: &Dialog,
    number: u32,
    client: Option<Key>,
    sdp: &[u8],
) {
    let write = |writer: &mut Writer<'_>| {
        writer.header(Name::ContentType, SDP);
    };
    acknowledge(turn, dialog, (number, client), write, sdp);
}

fn acknowledge(
    turn: &mut Turn<'_>,
    dialog: &Dialog,
    invite: (u32, Option<Key>),
    write: impl FnOnce(&mut Writer<'_>),
    body: &[u8],
) {
    let (number, client) = invite;
    turn.scratch.clear();
    let mut writer = Writer::fragment(turn.scratch);
    dialog.write_fields(&mut writer, Method::Ack, number, 70);
    write(&mut writer);
    if writer.finish(body).is_err() {
        return;
    }
    let outgoing = Outgoing {
        method: Method::Ack,
        uri: dialog.request_uri(),
        flow: dialog.flow(),
        user: None,
        destination: 0,
        fields: turn.scratch,
    };
    turn.layer.acknowledge(turn.now, client, &outgoing);
}

/// S-07: a 2xx that no call waits for any more is acknowledged, and what it began is ended.
pub fn refuse_orphan(turn: &mut Turn<'_>, response: &Response<'_>, flow: &Flow) {
    let Some(tag) = response.from.tag().and_then(Tag::parse) else {
        return;
    };
    let mut dialog = Dialog::of_orphan(response, tag, flow);
    send_ack(turn, &dialog, response.cseq.number, None, None);
    send_bye(turn, &mut dialog, b"", (None, None));
}

/// S-14, S-18: not now, but it may be tried again soon.
pub(super) fn refuse_for_now(turn: &mut Turn<'_>, request: &Request<'_>, flow: &Flow) {
    let seconds = turn.rng.below(11);
    turn.scratch.clear();
    let mut writer = Writer::fragment(turn.scratch);
    writer.header_fmt(Name::RetryAfter, format_args!("{seconds}"));
    let rest = match writer.finish(b"") {
        Ok(range) => turn.scratch.get(range).unwrap_or_default(),
        Err(_) => reply::NOTHING,
    };
    let status = Status::SERVER_INTERNAL_ERROR;
    turn.layer.refuse(&request.message, flow, status, rest);
}

/// Sends a request within a dialog, whose fields stand in the scratch.
pub(super) fn send(
    turn: &mut Turn<'_>,
    dialog: &Dialog,
    method: Method<'_>,
    user: Option<User>,
) -> Option<Key> {
    send_as(turn, dialog, method, (user, None))
}

/// The same by whom it is proven to be ours, should it be challenged.
pub(super) fn send_as(
    turn: &mut Turn<'_>,
    dialog: &Dialog,
    method: Method<'_>,
    (user, others): (Option<User>, Option<&Fallback>),
) -> Option<Key> {
    let outgoing = Outgoing {
        method,
        uri: dialog.request_uri(),
        flow: dialog.flow(),
        user,
        destination: 0,
        fields: turn.scratch,
    };
    turn.layer.request_with(turn.now, &outgoing, others).ok()
}
