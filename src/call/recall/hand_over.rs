//! B's offer is put to A, and A's answer to B: from then on the two talk.
//!
//! Spec: RFC 3725 §4.4; RFC 3261 §13.2.2.4, §14.1 (S-04, S-18, S-19); RFC 3264 §8.
//!
//! B sends its 2xx again and again until it hears what A says; both wait for 64*T1 at most.

use std::time::Duration;

use crate::call::negotiation::Negotiation;
use crate::call::recall::{ALLOW, News, Refusal, Stage, reason};
use crate::call::sdp::{SDP, begins_with_audio, sdp_of};
use crate::call::{Call, Outcome, Part, Phase, Side, Turn, end};
use crate::sip::{Method, Name, Response, Status, Writer};
use crate::table::Key;
use crate::time::Timestamp;
use crate::transaction::clients::Outgoing;

/// B's answer on its way through A.
#[derive(Debug)]
pub(super) struct Offering {
    /// The number of our INVITE to B.
    number: u32,
    /// Its transaction.
    client: Option<Key>,
    /// What B offers, as A is to see it.
    offer: Box<[u8]>,
    /// When B has waited long enough.
    until: Timestamp,
    asking: Asking,
}

/// The re-INVITE that asks A.
#[derive(Clone, Copy, Debug)]
enum Asking {
    /// It is under way.
    Sent {
        number: u32,
        client: Key,
        is_last: bool,
    },
    /// S-19: it met one of A's, and goes again later.
    Crossed { again: Timestamp },
    /// A has said no, or was not asked.
    Ended,
}

impl Offering {
    pub(super) fn deadline(&self) -> Timestamp {
        match self.asking {
            Asking::Crossed { again } => self.until.min(again),
            Asking::Sent { .. } | Asking::Ended => self.until,
        }
    }
}

impl Call {
    /// B has answered; its dialog is made.
    pub(super) fn on_callee_answered(
        &mut self,
        turn: &mut Turn<'_>,
        client: Option<Key>,
        response: &Response<'_>,
    ) {
        let Some(recall) = self.recall.as_deref_mut() else {
            return;
        };
        let theirs = sdp_of(&response.message).unwrap_or_default();
        // A knows an audio line, and the first line stays what it is (RFC 3264 §8).
        let is_fit = begins_with_audio(theirs);
        let offer = if is_fit {
            recall.session.describe(theirs)
        } else {
            theirs.to_vec()
        };
        recall.stage = Stage::Offering(Offering {
            number: response.cseq.number,
            client,
            offer: offer.into_boxed_slice(),
            until: turn.now + turn.timing.t1 * 64,
            asking: Asking::Ended,
        });
        if is_fit {
            return self.ask(turn, false);
        }
        let status = Status::NOT_ACCEPTABLE_HERE;
        self.report(News::CcCallFailed(Some(Refusal {
            status,
            rang: true,
            q850: None,
        })));
        self.wind_up(turn, Outcome::Failed(status), None, &reason(status));
    }

    /// Asks A to take what B offers.
    fn ask(&mut self, turn: &mut Turn<'_>, is_last: bool) {
        match self.send_offer(turn) {
            Some((client, number)) => self.set_asking(Asking::Sent {
                number,
                client,
                is_last,
            }),
            None => self.fail_to_hand_over(turn, Status::SERVER_INTERNAL_ERROR),
        }
    }

    fn send_offer(&mut self, turn: &mut Turn<'_>) -> Option<(Key, u32)> {
        let offer = self.offering()?.offer.clone();
        self.ask_anew(turn, &offer)
    }

    /// Sends A, who has answered, another session; its transaction and its number.
    pub(super) fn ask_anew(&mut self, turn: &mut Turn<'_>, offer: &[u8]) -> Option<(Key, u32)> {
        let user = Some(self.user(Part::Negotiation));
        let number = self.a.dialog.next_cseq();
        let dialog = &self.a.dialog;
        let flow = dialog.flow();
        turn.scratch.clear();
        let mut writer = Writer::fragment(turn.scratch);
        dialog.write_fields(&mut writer, Method::Invite, number, 70);
        writer.header(Name::Contact, turn.contacts.of(&flow));
        writer.header(Name::Allow, ALLOW);
        writer.header(Name::ContentType, SDP);
        writer.finish(offer).ok()?;
        let outgoing = Outgoing {
            method: Method::Invite,
            uri: dialog.request_uri(),
            flow,
            user,
            destination: 0,
            fields: turn.scratch,
        };
        let client = turn.layer.request(turn.now, &outgoing).ok()?;
        Some((client, number))
    }

    /// Takes A's response to B's offer.
    pub(in crate::call) fn on_offer_response(
        &mut self,
        turn: &mut Turn<'_>,
        response: &Response<'_>,
    ) {
        if self.on_announcement_response(turn, response) {
            return;
        }
        let status = response.status;
        let Some(Asking::Sent {
            number,
            client,
            is_last,
        }) = self.offering().map(|offering| offering.asking)
        else {
            return;
        };
        if status.is_provisional() {
            return;
        }
        if status.is_success() {
            self.a.dialog.refresh_target(&response.message);
            end::send_ack(turn, &self.a.dialog, number, Some(client), None);
            return match sdp_of(&response.message) {
                Some(answer) => self.hand_over(turn, answer),
                None => self.fail_to_hand_over(turn, Status::NOT_ACCEPTABLE_HERE),
            };
        }
        if status == Status::REQUEST_PENDING && !is_last {
            // S-19: the Call-ID is ours.
            let wait = Duration::from_millis(2_100 + 10 * turn.rng.below(191));
            let again = turn.now + wait;
            return self.set_asking(Asking::Crossed { again });
        }
        self.fail_to_hand_over(turn, status);
    }

    /// A has not answered B's offer, and will not.
    pub(in crate::call) fn on_offer_failure(&mut self, turn: &mut Turn<'_>) {
        if self.on_announcement_failure(turn) {
            return;
        }
        let asking = self.offering().map(|offering| offering.asking);
        if matches!(asking, Some(Asking::Sent { .. })) {
            self.fail_to_hand_over(turn, Status::REQUEST_TIMEOUT);
        }
    }

    pub(super) fn on_offering_due(&mut self, turn: &mut Turn<'_>) {
        let Some(offering) = self.offering() else {
            return;
        };
        if offering.until <= turn.now {
            self.report(News::CcCallFailed(None));
            let status = Status::REQUEST_TIMEOUT;
            self.wind_up(turn, Outcome::Lost, None, &reason(status));
        } else {
            self.ask(turn, true);
        }
    }

    fn hand_over(&mut self, turn: &mut Turn<'_>, answer: &[u8]) {
        let Some(Offering {
            number,
            client,
            offer,
            ..
        }) = self.offering()
        else {
            return;
        };
        end::send_answer(turn, &self.b.dialog, *number, *client, answer);
        if turn.policy.keeps_sessions {
            let offer = offer.clone();
            self.note_session(Side::A, Some(offer));
            self.note_session(Side::B, Some(Box::from(answer)));
        }
        self.phase = Phase::Talking;
        self.answered.get_or_insert(turn.now);
        self.report(News::Answered);
        if let Some(recall) = self.recall.as_deref_mut() {
            recall.stage = Stage::Over;
        }
    }

    /// Both have answered, and still the two cannot talk: it was A's side that said so.
    fn fail_to_hand_over(&mut self, turn: &mut Turn<'_>, status: Status) {
        self.set_asking(Asking::Ended);
        self.report(News::CcCallFailed(None));
        self.wind_up(turn, Outcome::Lost, None, &reason(status));
    }

    /// B gets its ACK, with which nothing flows; and what A still says is acknowledged.
    pub(super) fn abandon_offer(&mut self, turn: &mut Turn<'_>, offering: &Offering) {
        let Some(recall) = self.recall.as_deref() else {
            return;
        };
        let sdp = recall.session.rejection(&offering.offer);
        let (number, client) = (offering.number, offering.client);
        if offering.offer.is_empty() {
            end::send_ack(turn, &self.b.dialog, number, client, None);
        } else {
            end::send_answer(turn, &self.b.dialog, number, client, &sdp);
        }
        if let Asking::Sent { number, client, .. } = offering.asking {
            turn.layer.cancel(turn.now, client, b"");
            let withdrawn = Negotiation::withdrawn(turn, Side::B, client, number);
            self.negotiation = Some(Box::new(withdrawn));
        }
    }

    fn offering(&self) -> Option<&Offering> {
        match &self.recall.as_deref()?.stage {
            Stage::Offering(offering) => Some(offering),
            Stage::Ringing(_)
            | Stage::Answered { .. }
            | Stage::Announcing(_)
            | Stage::Referring(_)
            | Stage::Calling(_)
            | Stage::Over => None,
        }
    }

    fn set_asking(&mut self, asking: Asking) {
        if let Some(recall) = self.recall.as_deref_mut()
            && let Stage::Offering(offering) = &mut recall.stage
        {
            offering.asking = asking;
        }
    }
}
