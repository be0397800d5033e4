//! A phone that hangs up towards its PBX: the PBX may ask for credentials, as for any request.
//!
//! Spec: RFC 3261 §15.1, §22.3; RULES R3.
//!
//! Elsewhere a BYE is answered at once. Here its answer waits for the PBX's: a challenge passes and
//! leaves the call as it was, so that the phone can hang up again with credentials; all else ends it.

use crate::call::{Call, Outcome, Part, Phase, Side, Turn, respond_plainly};
use crate::sip::{Request, Response, Status};
use crate::table::Key;
use crate::time::Timestamp;
use crate::transaction::reply;

/// A BYE that waits for the other side's answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leaving {
    /// Who hangs up.
    side: Side,
    server: Key,
    since: Timestamp,
}

impl Call {
    /// Whether a BYE of this side's may be challenged by the other.
    pub(super) fn may_be_challenged(&self, side: Side) -> bool {
        let is_phone = self.phone == Some(side) && self.phase == Phase::Talking;
        is_phone && self.leaving.is_none() && self.negotiation.is_none()
    }

    /// Passes a BYE on, whose transaction is `server`.
    pub(super) fn ask_to_leave(
        &mut self,
        turn: &mut Turn<'_>,
        (side, server): (Side, Key),
        request: &Request<'_>,
    ) {
        let since = turn.now;
        self.leaving = Some(Leaving {
            side,
            server,
            since,
        });
        let part = Part::Bye(side.other());
        if self.send_bye_across(turn, side, request, part).is_none() {
            self.leave(turn);
        }
    }

    /// Takes the answer to such a BYE; whether it is one.
    pub(super) fn on_leave_answered(
        &mut self,
        turn: &mut Turn<'_>,
        asked: Side,
        response: &Response<'_>,
    ) -> bool {
        let leaving = self.leaving.filter(|it| it.side.other() == asked);
        let Some(Leaving { side, server, .. }) = leaving else {
            return false;
        };
        match response.status {
            status if status.is_provisional() => {}
            Status::UNAUTHORIZED | Status::PROXY_AUTHENTICATION_REQUIRED => {
                self.leaving = None;
                self.relay_within(turn, server, side, response);
            }
            _ => self.leave(turn),
        }
        true
    }

    /// Nobody has answered such a BYE; whether it was one.
    pub(super) fn on_leave_failed(&mut self, turn: &mut Turn<'_>, asked: Side) -> bool {
        let is_leaving = self.leaving.is_some_and(|it| it.side.other() == asked);
        if is_leaving {
            self.leave(turn);
        }
        is_leaving
    }

    /// The call has ended in another way: who wanted to hang up has what he wanted.
    pub(super) fn settle_leaving(&mut self, turn: &mut Turn<'_>) {
        if let Some(Leaving { server, .. }) = self.leaving.take() {
            respond_plainly(turn, server, Status::OK, reply::Tag::AsReceived);
        }
    }

    fn leave(&mut self, turn: &mut Turn<'_>) {
        let Some(Leaving { side, since, .. }) = self.leaving else {
            return;
        };
        self.note_end(since);
        self.settle_leaving(turn);
        self.outcome = Outcome::HungUp(side);
        self.phase = Phase::Ending { byes: 0 };
        self.abandon_negotiation(turn);
        self.abandon_exchanges(turn);
    }
}
