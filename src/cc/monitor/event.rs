//! What a callee's queue is told, and what it wants done.
//!
//! Spec: RFC 6910 §7, §9; RFC 6665 §4.1.3 (reasons).

use std::time::Duration;

use crate::cc::line::{Calls, Line};
use crate::cc::monitor::cce::{Newcomer, Place, Wait};
use crate::cc::monitor::policy::Policy;
use crate::cc::pace::Gate;
use crate::cc::{Condition, RecallState, SubscriptionId};
use crate::time::Timestamp;

/// What a queue shares with all others.
#[derive(Debug)]
pub struct Context<'c> {
    /// What the operator chose.
    pub policy: &'c Policy,
    /// How often anybody may be recalled.
    pub gate: &'c mut Gate,
}

/// A fact that the queue is told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// What is known of the callee's lines now.
    Line(Line),
    /// Somebody asks for a place.
    Subscribe(Newcomer),
    /// Somebody had a place in the process before this one; in the order of their coming.
    TakeUp(Newcomer, Place),
    /// A subscriber asks again; his call failed once more.
    Renew(SubscriptionId, Wait),
    /// A subscriber refreshes, asking for this long; none is 3600 s, zero is an end.
    Refresh(SubscriptionId, Option<Duration>),
    /// A subscription is gone and nothing can be sent on it: a NOTIFY failed.
    Lost(SubscriptionId),
    /// A caller cannot be recalled, until then or for good.
    Suspend(SubscriptionId, Because, Option<Timestamp>),
    /// A caller can be recalled again.
    Resume(SubscriptionId),
    /// A caller's CC call arrived.
    CcCallArrived(SubscriptionId),
    /// The callee's phone answered it.
    CcCallAnswered(SubscriptionId),
    /// Somebody else did: voicemail, a forward.
    CcCallDiverted(SubscriptionId),
    /// Nobody did; how the callee was found, if the failure tells.
    CcCallFailed(SubscriptionId, Option<Found>),
    /// Somebody other than the subscriber ends the entry.
    Refuse(SubscriptionId),
    /// The entry is no longer served; one whose CC call is under way is served to its end.
    Abandon(SubscriptionId),
    /// The callee is no longer served.
    CalleeGone,
}

/// Why a caller cannot be recalled.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Because {
    /// He is not there, or on a call.
    Unavailable,
    /// He was rung and did not come.
    LetPass,
}

/// How a CC call that failed found the callee.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Found {
    /// Why it failed.
    pub condition: Condition,
    /// The callee's lines, the CC call's own legs not counted.
    pub calls: Calls,
}

/// What the queue wants done, in this order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Effect {
    /// Answer the SUBSCRIBE with 200 and this Expires.
    Accept(SubscriptionId, Duration),
    /// Answer the SUBSCRIBE with a failure.
    Refuse(SubscriptionId, Refusal),
    /// The entry of the first subscription is now that of the second.
    TookOver(SubscriptionId, SubscriptionId),
    /// Send a NOTIFY.
    Notify(SubscriptionId, Notice),
    /// The entry moved; told before the NOTIFY that says so.
    Moved(SubscriptionId, Move),
    /// The entry is gone; its last NOTIFY follows, if there can be one.
    Ended(SubscriptionId, End),
}

/// What a NOTIFY says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Notice {
    /// cc-state.
    pub state: RecallState,
    /// Subscription-State.
    pub life: Lifetime,
}

/// Subscription-State.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Lifetime {
    /// active, with the time that is left.
    Active(Duration),
    /// terminated.
    Terminated(Reason),
}

/// Why a subscription ended, as its subscriber is told (RFC 6665 §4.1.3).
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Reason {
    /// There is nothing more to wait for.
    NoResource,
    /// Try another time: an entry is not retained here.
    Probation,
    /// Do not try again.
    Rejected,
    /// It ran out, or its subscriber ended it.
    Timeout,
}

impl Reason {
    /// The value of the `reason` parameter.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoResource => "noresource",
            Self::Probation => "probation",
            Self::Rejected => "rejected",
            Self::Timeout => "timeout",
        }
    }
}

/// Why a SUBSCRIBE is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// CC-60: the queue is full for now: 480.
    Full,
    /// CC-35: another fork of it has the place: 482.
    Merged,
    /// It asks for less than the policy's `expires_min`: 423.
    TooBrief,
    /// It refreshes what is not there: 481.
    Unknown,
}

/// What became of an entry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Move {
    /// It has a place: the n-th, from 1.
    Queued(usize),
    /// It was selected; the caller is recalled.
    Selected,
    /// Its CC call is under way.
    Calling,
    /// It is no longer selected.
    PutBack(Why),
    /// The caller is unavailable.
    Suspended,
    /// The caller is available.
    Resumed,
}

/// Why an entry is no longer selected.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Why {
    /// The callee cannot take a call after all.
    CalleeTaken,
    /// The CC call failed.
    CallFailed,
    /// Somebody else answered the CC call.
    Diverted,
    /// No CC call came in time.
    RecallPassed,
    /// The caller became unavailable.
    Suspended,
}

/// How an entry ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// The callee answered.
    Answered,
    /// The callee is no longer served.
    CalleeGone,
    /// The time of the service is over.
    Expired,
    /// The subscriber cannot be reached.
    Lost,
    /// A recall came to nothing, and entries are not retained.
    NotRetained,
    /// Too many recalls came to nothing.
    RecallsUsedUp,
    /// Somebody other than the subscriber ended it.
    Refused,
    /// The subscriber ended it.
    Unsubscribed,
}

impl End {
    /// What the subscriber is told; `None` if he cannot be told anything.
    pub(super) fn reason(self) -> Option<Reason> {
        match self {
            // CC-46: nothing is left to wait for.
            Self::Answered | Self::CalleeGone => Some(Reason::NoResource),
            Self::Expired | Self::Unsubscribed => Some(Reason::Timeout),
            Self::NotRetained => Some(Reason::Probation),
            Self::RecallsUsedUp | Self::Refused => Some(Reason::Rejected),
            Self::Lost => None,
        }
    }
}
