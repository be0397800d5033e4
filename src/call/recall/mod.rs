//! A recall: we ring the caller of a call that failed, then his callee, and connect the two.
//!
//! Spec: RFC 3725 §4.4 (flow IV), §6, §7; RFC 3264 §8; RFC 3326; RULES R10, R18.
//!
//! ```text
//!   recall --> Ringing --2xx--> Answered --place--> Calling --2xx--> Offering --2xx--> Over: a bridge
//!                 |             |  ^  |               |           |    ^   |
//!                 |         refer  |  |               |           |   491: once again
//!                 |             v  |  |               |           |
//!                 |        Referring  |               |           |
//!           failure, time      |   BYE, time  failure, BYE, time  | other failure, BYE, time
//!                 +------------+------+----+----------+-----------+
//!                                          v
//!                             Over: what is up is withdrawn
//! ```
//!
//! - Side A is the caller, who is rung first, and side B his callee; we are the client of both.
//! - While A has answered and B is not called yet, A may hear something of ours (`announce`).
//! - Only when B has described his media is A asked to take them, so B hears A as soon as he answers,
//!   and A hears nothing before.
//! - A knows one session, ours: each description that B makes, also later, is told to A with our
//!   `o=` line (RFC 3264 §8).
//! - Whoever is left when the other has gone gets a BYE that says why.

mod announce;
mod hand_over;
mod kept;
mod refer;
mod ring;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use crate::call::sdp::{Session, sdp_of};
use crate::call::{Call, Few, Outcome, Phase, Side, Target, Turn, end};
use crate::dialog::{Dialog, Tag};
use crate::sip::flow::Flow;
use crate::sip::{Message, Method, Name, Request, Status};
use crate::table::Key;
use crate::time::Timestamp;
use crate::transaction::branch::hex;
use crate::transaction::fallback::Fallback;
use crate::transaction::login::Login;
use crate::transaction::reply;

pub use announce::Announcement;

use announce::Announcing;
use hand_over::Offering;
use refer::Referring;
use ring::{Branch, Ring};

/// The methods that may cross once the two talk.
pub(super) const ALLOW: &[u8] =
    b"INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, MESSAGE, NOTIFY, REFER, UPDATE";

/// Somebody, as From or To shows him.
#[derive(Clone, Copy, Debug)]
pub struct Party<'p> {
    /// The display name as it is to be read, without quotes; may be empty.
    pub name: &'p [u8],
    /// The URI, without angle brackets.
    pub uri: &'p [u8],
}

/// An INVITE of our own, to all phones of somebody at once.
#[derive(Clone, Copy, Debug)]
pub struct Invitation<'i> {
    /// His phones.
    pub targets: &'i [Target<'i>],
    /// Who calls, as he is to see it.
    pub from: Party<'i>,
    /// Whom it is for.
    pub to: Party<'i>,
    /// What else it says of who calls; empty values are left out.
    pub said: &'i [(Name, &'i [u8])],
}

/// What the owner of a recall is told; at most one at a time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum News {
    /// A's phone does not call B: [`Call::place`] or [`Call::give_up`] is awaited.
    NotReferred,
    /// A has answered: [`Call::refer`], [`Call::place`] or [`Call::give_up`] is awaited.
    RecallAnswered,
    /// No call to B was placed, and none will be.
    RecallFailed(NoCall),
    /// B is being called.
    CcCallLeft,
    /// The two talk: from here on it is a call like others.
    Answered,
    /// B was called in vain; how he refused, unless it was not he who did.
    CcCallFailed(Option<Refusal>),
}

/// Why no call was placed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NoCall {
    /// A is on another call.
    Busy,
    /// A answered, and then there was no way to B, or nobody asked for one.
    NoWay,
    /// A rejected it, or hung up again.
    Refused,
    /// It rang and A did not come.
    Unanswered,
    /// No phone of A's could be reached.
    Unreachable,
}

/// How a callee did not answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// His final response, or what stands for its absence: 408 or 503.
    pub status: Status,
    /// Whether a phone rang before: any 18x.
    pub rang: bool,
    /// The cause of Q.850 that his response named.
    pub q850: Option<u8>,
}

/// What makes a call a recall; kept for the session that A knows.
#[derive(Debug)]
pub(super) struct Recall {
    stage: Stage,
    /// Those of A and then those of B.
    branches: Few<Branch>,
    /// Whether one of them was answered.
    has_answered: bool,
    /// Ours with A.
    session: Session,
    news: Option<News>,
    /// Where A's audio is, by what his 200 says.
    audio: Option<IpAddr>,
    /// What A said to an announcement.
    announced: Option<Announcement>,
    owner: Owner,
    /// Whether A's 200 leaves it open that his phone takes a REFER.
    takes_refer: bool,
    /// The number of ours, if we sent one.
    referred: Option<u32>,
    /// How long A waits whom we have answered, however often B is called in vain; `None`: A is let go.
    keeps_until: Option<Timestamp>,
    /// Who we are on B's side, if we called him with an account of ours (R4).
    login: Option<Arc<Login>>,
}

#[derive(Debug)]
enum Stage {
    /// A's phones ring.
    Ringing(Ring),
    /// A has answered, and is to be connected.
    Answered {
        /// When he is let go.
        until: Timestamp,
    },
    /// A is asked to hear us.
    Announcing(Announcing),
    /// A's phone is asked to call B itself.
    Referring(Referring),
    /// B's phones ring.
    Calling(Ring),
    /// B has answered, and A is asked to take what he offers.
    Offering(Offering),
    /// The two were connected, or it has ended.
    Over,
}

/// Whether somebody wants the news.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Owner {
    Listens,
    HasEnded,
}

impl Recall {
    /// Whether no branch is left to wait for: phones that have never said anything, when others have
    /// answered, are not there.
    pub(super) fn is_quiet(&self) -> bool {
        let mut open = self.branches.iter().filter(|it| it.client.is_some());
        open.all(|branch| self.has_answered && !branch.is_heard)
    }

    pub(super) fn deadline(&self) -> Option<Timestamp> {
        match &self.stage {
            Stage::Ringing(ring) | Stage::Calling(ring) => Some(ring.until),
            Stage::Answered { until } => Some(*until),
            Stage::Announcing(announcing) => Some(announcing.until),
            Stage::Referring(referring) => referring.deadline(),
            Stage::Offering(offering) => Some(offering.deadline()),
            Stage::Over => None,
        }
    }

    fn is_answered(&self) -> bool {
        matches!(self.stage, Stage::Answered { .. })
    }
}

impl Party<'_> {
    /// The value of From or To: the name as a quoted string, without what cannot stand in one.
    fn to_text(self) -> Vec<u8> {
        let mut text = Vec::with_capacity(self.name.len() + self.uri.len() + 8);
        if !self.name.is_empty() {
            text.push(b'"');
            for byte in self.name.iter().filter(|byte| !byte.is_ascii_control()) {
                if matches!(byte, b'"' | b'\\') {
                    text.push(b'\\');
                }
                text.push(*byte);
            }
            text.extend_from_slice(b"\" ");
        }
        text.push(b'<');
        text.extend_from_slice(self.uri);
        text.push(b'>');
        text
    }
}

impl Call {
    /// Rings A, with an audio line on which nothing flows yet; `None` if no INVITE could be sent.
    ///
    /// [`Call::take_news`] tells what becomes of it.
    pub fn recall(key: Key, turn: &mut Turn<'_>, to: &Invitation<'_>) -> Option<Self> {
        let flow = to.targets.first()?.flow;
        let b = Dialog::begun(
            &new_call_id(turn),
            [b"", b""],
            Tag::new(key, turn.rng),
            flow,
        );
        let call_id = new_call_id(turn);
        let a = to.begin(turn, key, flow, &call_id);
        let mut call = Self::of_legs(key, turn.now, a, b, Phase::Recalling);
        call.recall = Some(Box::new(Recall {
            stage: Stage::Ringing(Ring::new(turn)),
            branches: Few::new(),
            has_answered: false,
            session: Session::new(turn.rng.below(1 << 31), b""),
            news: None,
            audio: None,
            announced: None,
            owner: Owner::Listens,
            takes_refer: false,
            referred: None,
            login: None,
            keeps_until: None,
        }));
        call.ring(turn, Side::A, to).then_some(call)
    }

    /// Calls B for A, who has answered; in any other state it does nothing.
    pub fn place(&mut self, turn: &mut Turn<'_>, to: &Invitation<'_>) {
        let Some(recall) = self.recall.as_deref_mut() else {
            return;
        };
        if !recall.is_answered() {
            return;
        }
        recall.stage = Stage::Calling(Ring::new(turn));
        let mut others = to.targets.iter().filter_map(|target| target.others);
        recall.login = others.find_map(|others| others.login.clone());
        let call_id = self.b.dialog.call_id().to_vec();
        self.b.dialog = to.begin(turn, self.key, self.b.dialog.flow(), &call_id);
        if self.ring(turn, Side::B, to) {
            self.report(News::CcCallLeft);
        } else {
            self.give_up_placing(turn);
        }
    }

    /// How a request of ours to this side is proven, should it be challenged.
    pub(super) fn account_on(&self, side: Side) -> Option<Fallback> {
        let recall = self.recall.as_deref().filter(|_| side == Side::B)?;
        recall.login.clone().map(Fallback::of_login)
    }

    /// Whether B's phones ring.
    pub fn is_placing(&self) -> bool {
        let stage = self.recall.as_deref().map(|recall| &recall.stage);
        matches!(stage, Some(Stage::Calling(_)))
    }

    /// Withdraws what is up (R18): nothing more is told. A call that both have answered stays, and is
    /// told of when they talk.
    pub fn end_recall(&mut self, turn: &mut Turn<'_>, reason: &[u8]) {
        let Some(recall) = self.recall.as_deref_mut() else {
            return;
        };
        recall.owner = Owner::HasEnded;
        match recall.stage {
            Stage::Ringing(_)
            | Stage::Answered { .. }
            | Stage::Announcing(_)
            | Stage::Referring(_)
            | Stage::Calling(_) => self.wind_up(turn, Outcome::Cancelled, None, reason),
            Stage::Offering(_) | Stage::Over => {}
        }
    }

    /// What has happened to a recall since it was last asked; to be taken after each turn.
    pub fn take_news(&mut self) -> Option<News> {
        self.recall.as_deref_mut()?.news.take()
    }

    /// The body of a message as the other side is to see it.
    pub(super) fn body_towards<'m>(&mut self, to: Side, message: &Message<'m>) -> Cow<'m, [u8]> {
        let recall = self.recall.as_deref_mut().filter(|_| to == Side::A);
        let described = recall.and_then(|recall| {
            let theirs = sdp_of(message)?;
            Some(recall.session.describe(theirs))
        });
        let body = described.map_or_else(|| self.body_from(to.other(), message), Cow::Owned);
        let ahead = sdp_of(message).and_then(|_| self.ahead_for(to, &body));
        ahead.map_or(body, Cow::Owned)
    }

    /// A side that has answered hangs up before the two are connected.
    pub(super) fn on_recall_bye(&mut self, turn: &mut Turn<'_>, side: Side) {
        let Some(recall) = self.recall.as_deref() else {
            return;
        };
        let news = match recall.stage {
            Stage::Ringing(_) | Stage::Answered { .. } | Stage::Announcing(_) => {
                News::RecallFailed(NoCall::Refused)
            }
            Stage::Referring(_) => return self.on_referred_bye(turn),
            Stage::Calling(_) | Stage::Offering(_) => News::CcCallFailed(None),
            Stage::Over => return,
        };
        self.report(news);
        self.wind_up(turn, Outcome::HungUp(side), Some(side), b"");
    }

    /// Whatever is due of a recall.
    pub(super) fn on_recall_due(&mut self, turn: &mut Turn<'_>) {
        let Some(recall) = self.recall.as_deref() else {
            return;
        };
        if recall.deadline().is_none_or(|due| due > turn.now) {
            return;
        }
        match recall.stage {
            Stage::Ringing(_) | Stage::Calling(_) => self.on_ring_too_long(turn),
            Stage::Answered { .. } | Stage::Announcing(_) => self.give_up_placing(turn),
            Stage::Referring(_) => self.on_referral_due(turn),
            Stage::Offering(_) => self.on_offering_due(turn),
            Stage::Over => {}
        }
    }

    /// A was rung for nothing, or has waited for it.
    fn give_up_placing(&mut self, turn: &mut Turn<'_>) {
        self.report(News::RecallFailed(NoCall::NoWay));
        let status = Status::SERVICE_UNAVAILABLE;
        self.wind_up(turn, Outcome::Failed(status), None, &reason(status));
    }

    /// Ends a recall on both sides in whatever state it is, because `gone` hung up, if anybody did.
    pub(super) fn wind_up(
        &mut self,
        turn: &mut Turn<'_>,
        outcome: Outcome,
        gone: Option<Side>,
        reason: &[u8],
    ) {
        let Some(recall) = self.recall.as_deref_mut() else {
            return;
        };
        let stage = std::mem::replace(&mut recall.stage, Stage::Over);
        recall.cancel_branches(turn, reason);
        self.outcome = outcome;
        let answered: &[Side] = match stage {
            Stage::Ringing(_) | Stage::Over => &[],
            Stage::Referring(referring) if referring.is_left() => &[],
            Stage::Answered { .. } | Stage::Referring(_) | Stage::Calling(_) => &[Side::A],
            Stage::Announcing(announcing) => {
                self.abandon_announcement(turn, &announcing);
                &[Side::A]
            }
            Stage::Offering(offering) => {
                self.abandon_offer(turn, &offering);
                &[Side::A, Side::B]
            }
        };
        let left = |side: &&Side| Some(**side) != gone;
        let left: Few<Side> = answered.iter().filter(left).copied().collect();
        self.send_byes(turn, &left, reason);
    }

    /// Who has ended it still hears that the two talk, so that nobody is rung for what he has.
    fn report(&mut self, news: News) {
        if let Some(recall) = self.recall.as_deref_mut()
            && (recall.owner == Owner::Listens || news == News::Answered)
        {
            recall.news = Some(news);
        }
    }
}

impl Invitation<'_> {
    /// Our half of the dialog that it asks for.
    fn begin(&self, turn: &mut Turn<'_>, key: Key, flow: Flow, call_id: &[u8]) -> Dialog {
        let ends = [self.from.to_text(), self.to.to_text()];
        let [from, to] = &ends;
        Dialog::begun(call_id, [from, to], Tag::new(key, turn.rng), flow)
    }
}

/// Refuses a request other than BYE while the two are not connected yet.
pub(super) fn refuse_for_now(turn: &mut Turn<'_>, request: &Request<'_>, flow: &Flow) {
    if request.method == Method::Invite {
        // S-18, RFC 3725 §6: there is nobody yet who could answer it.
        let status = Status::REQUEST_PENDING;
        let message = &request.message;
        return turn.layer.refuse(message, flow, status, reply::NOTHING);
    }
    end::refuse_for_now(turn, request, flow);
}

fn new_call_id(turn: &mut Turn<'_>) -> Vec<u8> {
    [hex(turn.rng.bits()), hex(turn.rng.bits())].concat()
}

/// RFC 3725 §6: the one who is left learns why by a Reason with the other's status.
fn reason(status: Status) -> Vec<u8> {
    let (code, phrase) = (status.code(), status.phrase());
    if phrase.is_empty() {
        return format!("SIP;cause={code}").into_bytes();
    }
    format!("SIP;cause={code};text=\"{phrase}\"").into_bytes()
}
