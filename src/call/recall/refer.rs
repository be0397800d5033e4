//! A's own phone is asked to call B, and tells how that goes.
//!
//! Spec: RFC 3515 §2.4; RFC 3420; RFC 3261 §20.5 (Allow); RFC 3326; RULES R10, R18.
//!
//! ```text
//!   refer --> Asked --2xx--> Taken --its INVITE is seen--> Calling --last NOTIFY--> Over
//!               |              |                              |
//!         refused, time    time, it failed          its call is decided, time
//!               +------+-------+                              |
//!                      v                                      v
//!              Answered: another way                        Over
//! ```
//!
//! The call that the phone places is another one: what becomes of it is told by that call alone.

use std::time::Duration;

use crate::call::negotiation::{Negotiation, is_end_of_dialog};
use crate::call::recall::{ALLOW, News, NoCall, Recall, Stage, reason};
use crate::call::sdp::{SDP, sdp_of};
use crate::call::{Call, Outcome, Part, Phase, Side, Turn, end, respond, respond_plainly};
use crate::dialog::Order;
use crate::sip::flow::Flow;
use crate::sip::lex::parse_u32;
use crate::sip::{Event, Method, Name, Request, Response, Status, SubscriptionState, Writer};
use crate::sip::{Substate, sipfrag_status};
use crate::time::Timestamp;
use crate::transaction::clients::Outgoing;
use crate::transaction::reply;

/// R10: how long the phone may take to call B; one that asks its user first is later than that, and
/// its call counts as one by hand.
const INVITE_MAX: Duration = Duration::from_secs(5);
/// How long its last NOTIFY may trail behind the moment in which its call was decided.
const NEWS_MAX: Duration = Duration::from_secs(5);

/// A REFER that is being followed.
#[derive(Debug)]
pub(super) struct Referring {
    progress: Progress,
    /// When it is given up; `None` while the phone's call decides.
    until: Option<Timestamp>,
    caller: Caller,
}

/// How far the phone has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Progress {
    /// The REFER was sent.
    Asked,
    /// The phone has accepted it.
    Taken,
    /// Its call was seen.
    Calling,
}

/// Whether A is still in the dialog of the recall: phones may leave it as soon as they dial.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Caller {
    Stays,
    HasHungUp,
}

impl Referring {
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        self.until
    }

    /// Whether A has hung up already.
    pub(super) fn is_left(&self) -> bool {
        self.caller == Caller::HasHungUp
    }
}

impl Call {
    /// Whether A, who has answered, may be asked to call B himself: his 200 does not say that his
    /// phone cannot.
    pub fn takes_refer(&self) -> bool {
        let recall = self.recall.as_deref();
        recall.is_some_and(|recall| recall.takes_refer && recall.is_answered())
    }

    /// Asks A's phone to call this URI; whether that could be sent.
    ///
    /// [`News::NotReferred`] tells that it does not, and that another way may be tried.
    pub fn refer(&mut self, turn: &mut Turn<'_>, uri: &[u8]) -> bool {
        if !self.takes_refer() {
            return false;
        }
        let Some(number) = self.send_refer(turn, uri) else {
            return false;
        };
        if let Some(recall) = self.recall.as_deref_mut() {
            recall.referred = Some(number);
            recall.stage = Stage::Referring(Referring {
                progress: Progress::Asked,
                until: Some(turn.now + INVITE_MAX),
                caller: Caller::Stays,
            });
        }
        true
    }

    fn send_refer(&mut self, turn: &mut Turn<'_>, uri: &[u8]) -> Option<u32> {
        let user = Some(self.user(Part::Refer));
        let dialog = &mut self.a.dialog;
        let number = dialog.next_cseq();
        let flow = dialog.flow();
        turn.scratch.clear();
        let mut writer = Writer::fragment(turn.scratch);
        dialog.write_fields(&mut writer, Method::Refer, number, 70);
        writer.header(Name::Contact, turn.contacts.of(&flow));
        writer.header_parts(Name::ReferTo, &[b"<", uri, b">"]);
        writer.finish(b"").ok()?;
        let outgoing = Outgoing {
            method: Method::Refer,
            uri: dialog.request_uri(),
            flow,
            user,
            destination: 0,
            fields: turn.scratch,
        };
        turn.layer.request(turn.now, &outgoing).ok()?;
        Some(number)
    }

    /// Whether A's phone was asked to call B, and that is not over yet.
    pub fn is_referring(&self) -> bool {
        let stage = self.recall.as_deref().map(|recall| &recall.stage);
        matches!(stage, Some(Stage::Referring(_)))
    }

    /// The call that A's phone was asked for is seen.
    pub fn note_referred(&mut self) {
        if let Some(referring) = self.referring() {
            referring.progress = Progress::Calling;
            referring.until = None;
        }
    }

    /// The call that A's phone was asked for is answered or has failed: what the phone says of it is
    /// not waited for much longer.
    pub fn end_referral(&mut self, turn: &Turn<'_>) {
        let until = turn.now + NEWS_MAX;
        if let Some(referring) = self.referring() {
            referring.until = Some(until);
        }
    }

    /// No way to B is left: A is let go.
    pub fn give_up(&mut self, turn: &mut Turn<'_>) {
        if self.recall.as_deref().is_some_and(Recall::is_answered) {
            self.give_up_placing(turn);
        }
    }

    /// Takes the response to the REFER.
    pub(in crate::call) fn on_refer_response(
        &mut self,
        turn: &mut Turn<'_>,
        response: &Response<'_>,
    ) {
        let status = response.status;
        let Some(referring) = self.referring() else {
            return;
        };
        match referring.progress {
            Progress::Asked if status.is_success() => referring.progress = Progress::Taken,
            Progress::Asked if is_end_of_dialog(status) => self.lose_caller(turn),
            Progress::Asked if status.is_failure() => self.give_up_referral(turn),
            // Its call was quicker, or has failed already.
            Progress::Asked | Progress::Taken | Progress::Calling => {}
        }
    }

    /// Nobody has answered the REFER.
    pub(in crate::call) fn on_refer_failure(&mut self, turn: &mut Turn<'_>) {
        let progress = self.referring().map(|referring| referring.progress);
        if progress == Some(Progress::Asked) {
            self.lose_caller(turn);
        }
    }

    /// Whether this is news of our own REFER, and none of what the two do with each other.
    pub(in crate::call) fn is_refer_news(&self, side: Side, request: &Request<'_>) -> bool {
        let number = self.recall.as_deref().and_then(|recall| recall.referred);
        let event = Event::of(&request.message).filter(|event| event.is("refer"));
        // RFC 3515 §2.4.6: without an id it is about the first REFER of the dialog, and that is ours.
        let is_ours = |event: Event<'_>| event.id.is_none_or(|id| parse_u32(id) == number);
        side == Side::A && number.is_some() && event.is_some_and(is_ours)
    }

    /// Takes a NOTIFY that tells how the phone's call goes.
    pub(in crate::call) fn on_refer_news(
        &mut self,
        turn: &mut Turn<'_>,
        request: &Request<'_>,
        flow: &Flow,
    ) {
        if self.a.dialog.order(request.cseq.number) == Order::OutOfOrder {
            return end::refuse_for_now(turn, request, flow);
        }
        let Ok(server) = turn.layer.accept(turn.now, request, flow, None) else {
            return end::refuse_for_now(turn, request, flow);
        };
        respond_plainly(turn, server, Status::OK, reply::Tag::AsReceived);
        let status = sipfrag_status(request.message.body());
        let decided = status.filter(|status| !status.is_provisional());
        let state = request.message.first(Name::SubscriptionState);
        let state = state.and_then(|state| SubscriptionState::parse(state).ok());
        let is_last = state.is_some_and(|state| state.substate == Substate::Terminated);
        let progress = self.referring().map(|referring| referring.progress);
        match (progress, decided) {
            (Some(Progress::Calling), _) if is_last || decided.is_some() => {
                self.part(turn, decided);
            }
            // It has reached B by a way that we do not see.
            (Some(Progress::Asked | Progress::Taken), Some(status)) if status.is_success() => {
                self.give_up_placing(turn);
            }
            (Some(Progress::Asked | Progress::Taken), Some(_)) => self.give_up_referral(turn),
            (Some(_) | None, _) => {}
        }
    }

    /// An INVITE of A's in the recall's dialog: phones hold it before they dial.
    pub(in crate::call) fn on_recall_reinvite(
        &mut self,
        turn: &mut Turn<'_>,
        request: &Request<'_>,
        flow: &Flow,
    ) {
        let is_out_of_order = self.a.dialog.order(request.cseq.number) == Order::OutOfOrder;
        if self.negotiation.is_some() || is_out_of_order {
            return end::refuse_for_now(turn, request, flow);
        }
        let user = Some(self.user(Part::Negotiation));
        let Ok(server) = turn.layer.accept(turn.now, request, flow, user) else {
            return end::refuse_for_now(turn, request, flow);
        };
        self.a.dialog.refresh_target(&request.message);
        let Some(recall) = self.recall.as_deref_mut() else {
            return;
        };
        let sdp = match sdp_of(&request.message) {
            Some(offer) => recall.session.held_anew(offer),
            None => recall.session.hold(),
        };
        let asked = request.cseq.number;
        let unacked = Negotiation::settled(turn, (Side::A, server), asked);
        self.negotiation = Some(Box::new(unacked));
        let contact = turn.contacts.of(&self.a.dialog.flow());
        let write = |writer: &mut Writer<'_>| {
            writer.header(Name::Contact, contact);
            writer.header(Name::Allow, ALLOW);
            writer.header(Name::ContentType, SDP);
        };
        let answer = (Status::OK, &b""[..], reply::Tag::AsReceived);
        respond(turn, server, answer, write, &sdp);
    }

    /// A leaves the recall while his phone is asked, or calls.
    pub(super) fn on_referred_bye(&mut self, turn: &mut Turn<'_>) {
        let Some(referring) = self.referring() else {
            return;
        };
        match referring.progress {
            Progress::Asked => self.lose_caller(turn),
            Progress::Taken => referring.caller = Caller::HasHungUp,
            Progress::Calling => {
                self.wind_up(turn, Outcome::HandedOver, Some(Side::A), b"");
            }
        }
    }

    pub(super) fn on_referral_due(&mut self, turn: &mut Turn<'_>) {
        let progress = self.referring().map(|referring| referring.progress);
        match progress {
            Some(Progress::Asked | Progress::Taken) => self.give_up_referral(turn),
            Some(Progress::Calling) => self.part(turn, None),
            None => {}
        }
    }

    /// The phone does not call: A waits for another way, if he is still there.
    fn give_up_referral(&mut self, turn: &mut Turn<'_>) {
        if self
            .referring()
            .is_some_and(|referring| referring.is_left())
        {
            return self.lose_caller(turn);
        }
        if let Some(recall) = self.recall.as_deref_mut() {
            recall.stage = Stage::Answered {
                until: turn.now + turn.timing.t1 * 64,
            };
        }
        self.report(News::NotReferred);
    }

    /// A was there, and is no more.
    pub(super) fn lose_caller(&mut self, turn: &mut Turn<'_>) {
        self.report(News::RecallFailed(NoCall::Refused));
        let gone = Some(Side::A);
        self.wind_up(turn, Outcome::HungUp(Side::A), gone, b"");
    }

    /// R10: the recall has served its purpose; A learns why, if his call has failed.
    fn part(&mut self, turn: &mut Turn<'_>, decided: Option<Status>) {
        match decided.filter(|status| status.is_failure()) {
            Some(status) => {
                let why = reason(status);
                self.wind_up(turn, Outcome::Failed(status), None, &why);
            }
            None => self.wind_up(turn, Outcome::HandedOver, None, b""),
        }
    }

    fn referring(&mut self) -> Option<&mut Referring> {
        match &mut self.recall.as_deref_mut()?.stage {
            Stage::Referring(referring) => Some(referring),
            Stage::Ringing(_)
            | Stage::Answered { .. }
            | Stage::Announcing(_)
            | Stage::Calling(_)
            | Stage::Offering(_)
            | Stage::Over => None,
        }
    }

    /// Whether an INVITE of A's is answered by us: he has nobody to talk to yet.
    pub(in crate::call) fn holds_caller(&self, side: Side) -> bool {
        side == Side::A && self.phase == Phase::Recalling && self.is_referring()
    }
}
