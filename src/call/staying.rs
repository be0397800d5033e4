//! One of the two has left a mixer: the other stays in the call with whoever has joined it.
//!
//! Spec: RULES R17; RFC 3261 §12.2, §15; RFC 4028 §7.4.
//!
//! ```text
//!   Talking, on a mixer --BYE of the side that may be spared--> Staying --BYE of either--> over
//! ```
//!
//! - Who has joined came for the side that was asked last: if that one hangs up, all are done.
//! - The session of who stays is one with the mixer: it may be refreshed, moved, held and ended.

use crate::call::mixed::mixer_beside;
use crate::call::mixing::{MixNews, index};
use crate::call::relay::carries_session;
use crate::call::sdp::sdp_of;
use crate::call::sound::{Taken, sections};
use crate::call::{Call, Phase, Side, Turn, end, respond, respond_plainly};
use crate::dialog::Order;
use crate::dialog::session_timer::Asked;
use crate::sip::flow::Flow;
use crate::sip::{Method, Request, Status, Writer};
use crate::transaction::reply;

impl Call {
    /// The side that is alone with us, if the other one has no part in the call.
    pub(super) fn lone(&self) -> Option<Side> {
        match self.phase {
            Phase::Joined => Some(Side::A),
            Phase::Staying(side) => Some(side),
            Phase::Inviting
            | Phase::Recalling
            | Phase::Confirming
            | Phase::Talking
            | Phase::Ending { .. } => None,
        }
    }

    /// Whether both talk, with each other or with who has joined them.
    pub(super) fn is_talking(&self) -> bool {
        matches!(self.phase, Phase::Talking | Phase::Staying(_))
    }

    /// Whether the call goes on without this side.
    pub(super) fn could_spare(&self, side: Side) -> bool {
        let pending = self.negotiation.as_deref();
        // What crosses would give who stays a session with who has left.
        let is_crossing = pending.is_some_and(|pending| !pending.is_settled());
        let is_quiet = !is_crossing && self.pending_offer(None).is_none();
        let is_up = self.phase == Phase::Talking && self.leaving.is_none();
        is_up && is_quiet && self.is_mixed_beyond(side)
    }

    /// This side has left; the other one stays.
    pub(super) fn spare(&mut self, turn: &mut Turn<'_>, side: Side) {
        self.phase = Phase::Staying(side.other());
        self.leg_mut(side).timed = None;
        self.abandon_negotiation(turn);
        self.abandon_exchanges(turn);
        self.tell_of_mix(MixNews::Left(side));
    }

    /// Takes a request of who stays that is neither an ACK nor a BYE.
    pub(super) fn on_staying(
        &mut self,
        turn: &mut Turn<'_>,
        side: Side,
        request: &Request<'_>,
        flow: &Flow,
    ) {
        if self.lone() != Some(side) {
            let gone = Status::CALL_DOES_NOT_EXIST;
            return turn
                .layer
                .refuse(&request.message, flow, gone, reply::NOTHING);
        }
        self.answer_alone(turn, side, request, flow);
    }

    /// Answers what a side asks for that has nobody but us: its session stays as it is.
    pub(super) fn answer_alone(
        &mut self,
        turn: &mut Turn<'_>,
        side: Side,
        request: &Request<'_>,
        flow: &Flow,
    ) {
        let has_offer = carries_session(&request.message);
        // Who makes no offer is made ours again.
        let asks_for_offer = request.method == Method::Invite && !has_offer;
        let is_free = self.negotiation.is_none() && self.mixing.is_some();
        let is_taken = asks_for_offer || self.taken_alone(request, flow).is_some();
        if is_free && is_taken {
            return self.refresh_as_mixer(turn, side, request, flow);
        }
        if self.leg_mut(side).dialog.order(request.cseq.number) == Order::OutOfOrder {
            return end::refuse_for_now(turn, request, flow);
        }
        let Ok(server) = turn.layer.accept(turn.now, request, flow, None) else {
            return end::refuse_for_now(turn, request, flow);
        };
        let is_harmless = matches!(
            request.method,
            Method::Info | Method::Options | Method::Update | Method::Message
        );
        let status = if is_harmless && !has_offer {
            Status::OK
        } else if matches!(request.method, Method::Invite | Method::Update) {
            Status::NOT_ACCEPTABLE_HERE
        } else {
            Status::FORBIDDEN
        };
        if request.method != Method::Update || !status.is_success() {
            return respond_plainly(turn, server, status, reply::Tag::AsReceived);
        }
        self.leg_mut(side).dialog.refresh_target(&request.message);
        self.agree_within(turn, side, Asked::of(&request.message));
        let terms = self.terms(side);
        let write = |writer: &mut Writer<'_>| {
            if let Some(terms) = terms {
                terms.write_answer(writer);
            }
        };
        let answer = (status, &b""[..], reply::Tag::AsReceived);
        respond(turn, server, answer, write, b"");
    }

    /// What we take of the offer of who is alone with us: where he is from here on, or that he holds.
    fn taken_alone(&self, request: &Request<'_>, flow: &Flow) -> Option<Taken> {
        let offer = sdp_of(&request.message)?;
        let taken = Taken::of_holder(offer, flow.remote.ip())?;
        let at = self.mixing.as_deref()?.at;
        at.iter()
            .any(|at| taken.is_beside(at.ip()))
            .then_some(taken)
    }

    /// R17: who is alone with us describes himself anew, or comes from elsewhere (RFC 3264 §8): he is
    /// answered anew and heard there; what says the same once more is answered as before (S-64).
    pub(super) fn move_alone(
        &mut self,
        turn: &mut Turn<'_>,
        side: Side,
        request: &Request<'_>,
        flow: &Flow,
    ) {
        let is_known = self.is_as_agreed(side, &request.message);
        let Some((taken, offer)) = self
            .taken_alone(request, flow)
            .zip(sdp_of(&request.message))
        else {
            return;
        };
        let Some(mixing) = self.mixing.as_deref_mut() else {
            return;
        };
        let place = index(side);
        let (Some(before), Some(described), Some(version), Some(at)) = (
            mixing.agreed.get_mut(place),
            mixing.described.get_mut(place),
            mixing.versions.get_mut(place),
            mixing.at.get(place),
        ) else {
            return;
        };
        let is_there = before.is_some_and(|before| before.signalling == flow.remote.ip());
        if is_known && is_there {
            return;
        }
        // Many a phone keeps the first key that it is sent under.
        let said = sections(described).nth(taken.line);
        let kept = said.and_then(|it| it.keys()).map(|keys| keys.key());
        let kept = kept.filter(|_| taken.is_secure());
        let ours = kept.or_else(|| taken.key(turn.rng));
        let agreed = taken.agreed(ours);
        *version = version.saturating_add(1);
        let sdp = mixer_beside((described, *version), offer, (*at, ours), &taken);
        *described = sdp.into_boxed_slice();
        *before = Some(agreed);
        mixing.news = Some(MixNews::Moved(side, Box::new((at.port(), agreed))));
    }
}
