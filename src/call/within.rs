//! What a side asks for within a call, which machine takes it, and where what we ask goes on.
//!
//! Spec: RFC 3261 §12.2, §15; RFC 3262 §3 (S-54).

use crate::call::end;
use crate::call::exchange::At;
use crate::call::recall;
use crate::call::{Call, Part, Phase, Side, Turn};
use crate::sip::flow::Flow;
use crate::sip::{Method, Request, Status};
use crate::table::Key;
use crate::transaction::reply;

impl Call {
    /// Takes a request of this side's within the call; it is not an ACK.
    pub fn handle_request(
        &mut self,
        turn: &mut Turn<'_>,
        side: Side,
        request: &Request<'_>,
        flow: &Flow,
    ) {
        match (self.phase, request.method) {
            (_, Method::Bye) => self.on_bye(turn, side, request, flow),
            (_, Method::Prack) if side == Side::A => {
                self.on_prack(turn, self.a.dialog.tag(), request, flow);
            }
            (_, Method::Notify) if self.is_refer_news(side, request) => {
                self.on_refer_news(turn, request, flow);
            }
            (Phase::Talking, _) if self.takes_for_mixer(turn, side, request, flow) => {}
            (Phase::Talking, Method::Invite) => self.on_reinvite(turn, side, request, flow),
            (Phase::Joined, _) => self.on_joined(turn, request, flow),
            (_, Method::Invite) if self.holds_caller(side) => {
                self.on_recall_reinvite(turn, request, flow);
            }
            (Phase::Recalling, _) => recall::refuse_for_now(turn, request, flow),
            // S-18: his INVITE is not finished yet.
            (Phase::Confirming, _) => end::refuse_for_now(turn, request, flow),
            // S-54: B was promised nothing that it could acknowledge.
            (_, Method::Prack) | (Phase::Inviting | Phase::Ending { .. }, _) => {
                let gone = Status::CALL_DOES_NOT_EXIST;
                turn.layer
                    .refuse(&request.message, flow, gone, reply::NOTHING);
            }
            (Phase::Talking, _) => self.on_exchange(turn, At::within(side), request, flow),
        }
    }

    /// Takes in that a request has gone on to another server (RFC 3263 §4.3).
    pub fn handle_moved(&mut self, part: u16, client: Key, flow: Flow) {
        if let Part::Branch(branch) = Part::of(part) {
            match self.recall.as_deref_mut() {
                Some(recall) => recall.move_branch(branch, client, flow),
                None => self.move_branch(branch, client, flow),
            }
        }
    }

    /// Takes in that a request of ours was challenged and has gone again with credentials, under this
    /// number.
    pub fn handle_proven(&mut self, part: u16, client: Key, number: u32) {
        let recall = self.recall.as_deref_mut();
        let side = match (Part::of(part), recall) {
            (Part::Branch(branch), Some(recall)) => {
                recall.renew_branch(branch, client);
                recall.side_of_branch(branch)
            }
            (Part::Bye(side), _) => Some(side),
            (Part::Negotiation, _) => self.negotiation.as_deref_mut().map(|pending| {
                pending.renew(client, number);
                pending.answerer()
            }),
            (Part::Exchange(exchange), _) => {
                let answerer = self.answerer_in(exchange);
                if let Some(answerer) = answerer {
                    self.renumber_refer(answerer.other(), number);
                }
                answerer
            }
            (Part::Branch(_) | Part::Refer, _) => None,
        };
        if let Some(side) = side {
            self.leg_mut(side).dialog.count_past(number);
        }
    }
}
