//! The phones of one side ring, and one of them answers or none.
//!
//! Spec: RFC 3261 §13, §16.7; RFC 3326 §2; RFC 7463 §9 (Alert-Info); RFC 3725 §4.4.
//!
//! All of them share Call-ID, tag and number, as the forks of one call do. A 2xx that lost, or that
//! comes when the recall has ended, is acknowledged and ended (S-07).

use crate::call::finals::is_better;
use crate::call::recall::{ALLOW, Invitation, News, NoCall, Recall, Refusal, Stage, reason};
use crate::call::sdp::{SDP, sdp_of};
use crate::call::setup::ANSWERED_ELSEWHERE;
use crate::call::sound::audio_ip;
use crate::call::{Call, FORKS_MAX, Outcome, Part, Phase, Side, Target, Turn, end};
use crate::dialog::{Dialog, Reach};
use crate::sip::flow::Flow;
use crate::sip::{Method, Name, Response, Status, Writer, cause};
use crate::table::Key;
use crate::time::Timestamp;
use crate::transaction::clients::{Failure, Outgoing};

/// How a phone is told that it is not an ordinary call (RULES R10).
const ALERT: &[u8] = b"<urn:alert:service:recall:callback>";

/// Header fields of the owner's.
type Said<'s> = &'s [(Name, &'s [u8])];

/// An INVITE of ours to one phone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Branch {
    side: Side,
    /// Its transaction, until the final response.
    pub(super) client: Option<Key>,
    /// Whether anything has come back.
    pub(super) is_heard: bool,
    flow: Flow,
    reach: Reach,
}

/// The phones of one side, until one of them answers.
#[derive(Debug)]
pub(super) struct Ring {
    /// Timer C.
    pub(super) until: Timestamp,
    /// Whether any did: an 18x came.
    pub(super) rang: bool,
    /// The best failure so far, while other phones go on.
    best: Option<Refusal>,
}

impl Ring {
    pub(super) fn new(turn: &Turn<'_>) -> Self {
        Self {
            until: turn.now + turn.timing.rings,
            rang: false,
            best: None,
        }
    }
}

impl Recall {
    /// What rings on this side, if its phones do.
    fn ring_of(&mut self, side: Side) -> Option<&mut Ring> {
        match (&mut self.stage, side) {
            (Stage::Ringing(ring), Side::A) | (Stage::Calling(ring), Side::B) => Some(ring),
            (Stage::Ringing(_), Side::B)
            | (Stage::Calling(_), Side::A)
            | (
                Stage::Answered { .. }
                | Stage::Announcing(_)
                | Stage::Referring(_)
                | Stage::Offering(_)
                | Stage::Over,
                Side::A | Side::B,
            ) => None,
        }
    }

    pub(super) fn cancel_branches(&self, turn: &mut Turn<'_>, reason: &[u8]) {
        for client in self.branches.iter().filter_map(|branch| branch.client) {
            turn.layer.cancel(turn.now, client, reason);
        }
    }

    /// Whose phone a branch is.
    pub(in crate::call) fn side_of_branch(&self, number: u8) -> Option<Side> {
        let branch = self.branches.get(usize::from(number));
        branch.map(|branch| branch.side)
    }

    /// The INVITE of a branch has gone again with credentials.
    pub(in crate::call) fn renew_branch(&mut self, number: u8, client: Key) {
        if let Some(branch) = self.branches.get_mut(usize::from(number)) {
            branch.client = Some(client);
        }
    }

    /// S-101: the INVITE of a branch has gone on to another server.
    pub(in crate::call) fn move_branch(&mut self, number: u8, client: Key, flow: Flow) {
        if let Some(branch) = self.branches.get_mut(usize::from(number)) {
            branch.client = Some(client);
            branch.flow = flow;
        }
    }

    /// Takes note of a final response; the branch comes back as it was before.
    fn end_branch(&mut self, number: u8) -> Option<Branch> {
        let branch = self.branches.get_mut(usize::from(number))?;
        let before = *branch;
        branch.client = None;
        Some(before)
    }

    fn rings_on(&self, side: Side) -> bool {
        let mut branches = self.branches.iter();
        branches.any(|branch| branch.side == side && branch.client.is_some())
    }
}

impl Call {
    /// Sends an INVITE to each of these phones; whether any went out.
    pub(super) fn ring(&mut self, turn: &mut Turn<'_>, side: Side, to: &Invitation<'_>) -> bool {
        let number = self.leg_mut(side).dialog.next_cseq();
        for target in to.targets {
            self.ring_one(turn, side, target, (number, to.said));
        }
        self.recall
            .as_deref()
            .is_some_and(|recall| recall.rings_on(side))
    }

    fn ring_one(
        &mut self,
        turn: &mut Turn<'_>,
        side: Side,
        target: &Target<'_>,
        said: (u32, Said<'_>),
    ) -> Option<()> {
        let branches = &self.recall.as_deref()?.branches;
        let branch = u8::try_from(branches.len()).ok()?;
        let user = Some(self.user(Part::Branch(branch)));
        self.write_ring(turn, side, target, said)?;
        let outgoing = Outgoing {
            method: Method::Invite,
            uri: target.uri,
            flow: target.flow,
            user,
            destination: 0,
            fields: turn.scratch,
        };
        let sent = turn.layer.request_with(turn.now, &outgoing, target.others);
        let client = sent.ok()?;
        self.recall.as_deref_mut()?.branches.push(Branch {
            side,
            client: Some(client),
            is_heard: false,
            flow: target.flow,
            reach: target.reach,
        });
        Some(())
    }

    fn write_ring(
        &mut self,
        turn: &mut Turn<'_>,
        side: Side,
        target: &Target<'_>,
        (number, said): (u32, Said<'_>),
    ) -> Option<()> {
        turn.scratch.clear();
        let mut writer = Writer::fragment(turn.scratch);
        let dialog = &self.leg(side).dialog;
        dialog.write_fields(&mut writer, Method::Invite, number, 70);
        writer.header(Name::Contact, turn.contacts.of(&target.flow));
        writer.header(Name::Allow, ALLOW);
        for (name, value) in said.iter().filter(|(_, value)| !value.is_empty()) {
            writer.header(*name, value);
        }
        let body = match side {
            Side::A => {
                let session = &mut self.recall.as_deref_mut()?.session;
                session.move_to(turn.layer.sent_by(&target.flow));
                writer.header(Name::AlertInfo, ALERT);
                writer.header(Name::ContentType, SDP);
                session.hold()
            }
            // B is to make the offer.
            Side::B => Vec::new(),
        };
        writer.finish(&body).ok()?;
        Some(())
    }

    pub(in crate::call) fn on_ring_response(
        &mut self,
        turn: &mut Turn<'_>,
        number: u8,
        response: &Response<'_>,
    ) {
        if response.status.is_provisional() {
            self.on_ring_progress(turn, number, response.status);
        } else if response.status.is_success() {
            self.on_ring_success(turn, number, response);
        } else {
            let q850 = cause(&response.message, "Q.850");
            let q850 = q850.and_then(|cause| u8::try_from(cause).ok());
            self.on_ring_final(turn, number, response.status, q850);
        }
    }

    pub(in crate::call) fn on_ring_failure(
        &mut self,
        turn: &mut Turn<'_>,
        number: u8,
        failure: Failure,
    ) {
        let status = match failure {
            Failure::TimedOut => Status::REQUEST_TIMEOUT,
            Failure::Unreachable => Status::SERVICE_UNAVAILABLE,
        };
        self.on_ring_final(turn, number, status, None);
    }

    fn on_ring_progress(&mut self, turn: &Turn<'_>, number: u8, status: Status) {
        let until = turn.now + turn.timing.rings;
        let Some(recall) = self.recall.as_deref_mut() else {
            return;
        };
        let Some(branch) = recall.branches.get_mut(usize::from(number)) else {
            return;
        };
        branch.is_heard = true;
        let side = branch.side;
        // 100 is of one hop.
        if let Some(ring) = recall.ring_of(side).filter(|_| status != Status::TRYING) {
            ring.rang |= matches!(status.code(), 180..190);
            ring.until = until;
        }
    }

    fn on_ring_success(&mut self, turn: &mut Turn<'_>, number: u8, response: &Response<'_>) {
        let Some(recall) = self.recall.as_deref_mut() else {
            return;
        };
        let Some(branch) = recall.end_branch(number) else {
            return;
        };
        let is_awaited = recall.ring_of(branch.side).is_some();
        let known = &self.leg(branch.side).dialog;
        let dialog = known.answered(response, &branch.flow, branch.reach);
        if !is_awaited {
            // The winner is acknowledged when A has answered its offer, and by the transaction after
            // that.
            if known.remote_tag() != dialog.remote_tag() {
                self.refuse_late(turn, dialog, &branch, response);
            }
            return;
        }
        self.leg_mut(branch.side).dialog = dialog;
        if let Some(recall) = self.recall.as_deref_mut() {
            recall.has_answered = true;
            recall.cancel_branches(turn, ANSWERED_ELSEWHERE);
        }
        match branch.side {
            Side::A => self.on_caller_answered(turn, &branch, response),
            Side::B => self.on_callee_answered(turn, branch.client, response),
        }
    }

    fn on_caller_answered(
        &mut self,
        turn: &mut Turn<'_>,
        branch: &Branch,
        response: &Response<'_>,
    ) {
        let number = response.cseq.number;
        end::send_ack(turn, &self.a.dialog, number, branch.client, None);
        if let Some(recall) = self.recall.as_deref_mut() {
            // RFC 3261 §20.5: a phone that does not say what it allows has excluded nothing.
            let message = &response.message;
            recall.takes_refer =
                message.first(Name::Allow).is_none() || message.has_option(Name::Allow, "REFER");
            let source = branch.flow.remote.ip();
            recall.audio = sdp_of(message).and_then(|sdp| audio_ip(sdp, source));
            recall.session.move_to(turn.layer.sent_by(&branch.flow));
            recall.stage = Stage::Answered {
                until: turn.now + turn.timing.t1 * 64,
            };
        }
        self.report(News::RecallAnswered);
    }

    /// S-07: a phone that answered too late is acknowledged each time and ended once.
    fn refuse_late(
        &mut self,
        turn: &mut Turn<'_>,
        mut dialog: Dialog,
        branch: &Branch,
        response: &Response<'_>,
    ) {
        let number = response.cseq.number;
        let recall = self.recall.as_deref().filter(|_| branch.side == Side::B);
        match recall.zip(sdp_of(&response.message)) {
            Some((recall, offer)) => {
                let sdp = recall.session.rejection(offer);
                end::send_answer(turn, &dialog, number, branch.client, &sdp);
            }
            None => end::send_ack(turn, &dialog, number, branch.client, None),
        }
        let is_up = matches!(self.phase, Phase::Recalling | Phase::Talking);
        let why = if is_up { ANSWERED_ELSEWHERE } else { b"" };
        let remote_tag = dialog.remote_tag();
        let known = self.refused.iter().any(|refused| **refused == *remote_tag);
        if !known && self.refused.len() < FORKS_MAX {
            self.refused.push(Box::from(remote_tag));
            let others = self.account_on(branch.side);
            end::send_bye(turn, &mut dialog, why, (None, others.as_ref()));
        }
    }

    fn on_ring_final(&mut self, turn: &mut Turn<'_>, number: u8, status: Status, q850: Option<u8>) {
        let Some(recall) = self.recall.as_deref_mut() else {
            return;
        };
        let ended = recall.end_branch(number);
        // An ACK that could not be sent says nothing new.
        let Some(branch) = ended.filter(|branch| branch.client.is_some()) else {
            return;
        };
        let side = branch.side;
        let is_last = !recall.rings_on(side);
        let Some(ring) = recall.ring_of(side) else {
            return;
        };
        let rang = ring.rang;
        let refusal = Refusal { status, rang, q850 };
        let best = match ring.best {
            Some(best) if is_better(best.status, status) => Refusal { rang, ..best },
            Some(_) | None => refusal,
        };
        // RFC 3261 §16.7: a 6xx is for everybody.
        if is_last || status.code() >= 600 {
            self.on_nobody_answered(turn, side, best);
        } else {
            ring.best = Some(best);
        }
    }

    /// Timer C: nobody has given a sign of life for too long.
    pub(super) fn on_ring_too_long(&mut self, turn: &mut Turn<'_>) {
        let Some(recall) = self.recall.as_deref_mut() else {
            return;
        };
        for side in [Side::A, Side::B] {
            let Some(ring) = recall.ring_of(side) else {
                continue;
            };
            let refusal = Refusal {
                status: Status::REQUEST_TIMEOUT,
                rang: ring.rang,
                q850: None,
            };
            return self.on_nobody_answered(turn, side, refusal);
        }
    }

    fn on_nobody_answered(&mut self, turn: &mut Turn<'_>, side: Side, refusal: Refusal) {
        let status = refusal.status;
        if side == Side::B
            && let Some(recall) = self.recall.as_deref_mut()
            && recall.wait_on(turn)
        {
            return self.report(News::CcCallFailed(Some(refusal)));
        }
        self.report(match side {
            Side::A => News::RecallFailed(NoCall::of(status)),
            Side::B => News::CcCallFailed(Some(refusal)),
        });
        self.wind_up(turn, Outcome::Failed(status), None, &reason(status));
    }
}

impl NoCall {
    /// What the status of A's phones says of A. A redirection is not followed: it is he who is to be
    /// rung.
    fn of(status: Status) -> Self {
        match status.code() {
            486 | 600 => Self::Busy,
            408 | 480 | 487 => Self::Unanswered,
            404 | 410 | 430 | 500..600 | 604 => Self::Unreachable,
            _ => Self::Refused,
        }
    }
}
