//! What a caller's agent is told, and what it wants done.
//!
//! Spec: RFC 6910 §6; RFC 6665 §4.1.

use std::time::Duration;

use crate::cc::addr::AddrSpec;
use crate::cc::agent::request::Kept;
use crate::cc::document::Retention;
use crate::cc::id::CompletionId;
use crate::cc::line::Line;
use crate::cc::monitor::Because;
use crate::cc::trust::Peer;
use crate::cc::{Basic, Condition, RecallState, SubscriptionId};

/// What an operator may choose about a caller's requests; each time may be set in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// How long the caller's phone rings; shorter than the monitor's recall timer by the time that
    /// the CC call needs to arrive.
    pub ring: Duration,
    /// How long the CC call may take to leave after the caller answered.
    pub place_max: Duration,
    /// How long it may take to be answered or to fail; our bound, so that a lost end frees the
    /// caller's other requests.
    pub cc_call_max: Duration,
    /// How long a caller who did not come to the phone is suspended, unless he is seen talking.
    pub rest: Duration,
    /// How long the end of a recall may trail behind, before a call that the caller talked on is
    /// another one.
    pub aftermath: Duration,
    /// CC-76: how long the first NOTIFY may take (timer N: 64 * T1).
    pub notify_max: Duration,
    /// How long the last NOTIFY may take; the same bound.
    pub leave_max: Duration,
    /// Most recalls that a caller lets pass.
    pub recalls_max: u32,
    /// How a caller who was not there is taken for back.
    pub resumption: Resumption,
}

/// How a caller who could not take his turn is recalled again.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Resumption {
    /// When he can take a call, and has rested or was seen talking.
    #[default]
    Automatic,
    /// CC-28: only when he says so.
    ByHand,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            ring: Duration::from_secs(15),
            place_max: Duration::from_secs(10),
            cc_call_max: Duration::from_mins(3),
            rest: Duration::from_mins(1),
            aftermath: Duration::from_secs(2),
            notify_max: Duration::from_secs(32),
            leave_max: Duration::from_secs(32),
            recalls_max: 3,
            resumption: Resumption::Automatic,
        }
    }
}

/// What a caller asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NewRequest {
    /// Its name.
    pub id: CompletionId,
    /// CC-08: the original Request-URI.
    pub dialled: AddrSpec,
    /// Why the call failed, as the monitor has it.
    pub condition: Option<Condition>,
    /// Where the monitors are.
    pub way: Way,
    /// CC-09: a subscription for each known monitor, each under its own name.
    pub monitors: Vec<(SubscriptionId, AddrSpec)>,
}

/// How the monitors are reached.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Way {
    /// Inside the process.
    Loop,
    /// Through the peer from which the failed response came.
    Peer(Peer),
}

/// A fact that the agent is told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// What is known of the caller's lines now.
    Line(Line),
    /// The caller asks.
    Request(NewRequest),
    /// He asked in the process before this one, and a monitor has it; in the order of his asking.
    TakeUp(NewRequest, Kept),
    /// A SUBSCRIBE was answered with 2xx and this Expires.
    Accepted(SubscriptionId, Duration),
    /// A SUBSCRIBE failed, with this status; 408 for no answer.
    Refused(SubscriptionId, u16),
    /// A NOTIFY of another fork of a SUBSCRIBE made a dialog: the second names it.
    Forked(SubscriptionId, SubscriptionId),
    /// A NOTIFY came.
    Notified(SubscriptionId, Notice),
    /// A PUBLISH was answered; each one is, if only by its transaction's end.
    Published(SubscriptionId, Published),
    /// The caller answered his recall.
    RecallAnswered(CompletionId),
    /// He did not.
    RecallFailed(CompletionId, RecallFailure),
    /// The CC call is under way.
    CcCallArrived(CompletionId),
    /// The callee answered it.
    CcCallAnswered(CompletionId),
    /// He did not.
    CcCallFailed(CompletionId),
    /// The two talk with each other, by a call that nobody asked us for.
    Talking(CompletionId),
    /// The caller says that he is back.
    Resume(CompletionId),
    /// The caller no longer wants it.
    Uncomplete(CompletionId),
}

/// What a NOTIFY said.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Notice {
    /// cc-state; a living subscription has one.
    pub state: Option<RecallState>,
    /// Subscription-State.
    pub life: Life,
    /// cc-service-retention.
    pub retention: Retention,
    /// cc-URI.
    pub cc_uri: Option<AddrSpec>,
    /// The URI of a Call-Info with purpose call-completion.
    pub call_info: Option<AddrSpec>,
    /// Contact.
    pub contact: Option<AddrSpec>,
}

/// Subscription-State of a NOTIFY, as far as an agent cares.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Life {
    /// active or pending, with the time that is left.
    Active(Duration),
    /// terminated;reason=timeout.
    TimedOut,
    /// terminated for any other reason, or none.
    Ended,
}

/// How a PUBLISH was answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Published {
    /// With 2xx.
    Done,
    /// With a failure, or not at all.
    Failed,
}

/// Why a recall did not reach the caller.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RecallFailure {
    /// He is on another call: 486.
    Busy,
    /// He is on a call of which he was not known to be: nothing was rung.
    Engaged,
    /// He answered, and no CC call could be placed.
    NoCall,
    /// He rejected it, or hung up again before the CC call left.
    Refused,
    /// It rang and he did not come.
    Unanswered,
    /// No phone of his could be reached.
    Unreachable,
}

/// What the agent wants done, in this order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Effect {
    /// Send SUBSCRIBE to this address.
    Subscribe(SubscriptionId, AddrSpec),
    /// Send SUBSCRIBE with Expires: 0.
    Unsubscribe(SubscriptionId),
    /// The subscription is over for us: later NOTIFYs get 481.
    Forget(SubscriptionId),
    /// Send PUBLISH.
    Publish(SubscriptionId, Publication),
    /// Ring the caller.
    Recall(CompletionId),
    /// Stop whatever is up for the recall, with the caller and with the callee; nothing of it is
    /// told any more.
    EndRecall(CompletionId, Why),
    /// Place the CC call to this address.
    Call(CompletionId, AddrSpec),
    /// The request moved.
    Moved(CompletionId, Move),
    /// The request is gone; what is left of its subscriptions follows.
    Ended(CompletionId, End),
}

/// A PUBLISH.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Publication {
    /// Where to.
    pub to: PublishTo,
    /// What it says of the caller.
    pub basic: Basic,
    /// CC-25: what is left of the subscription.
    pub expires: Duration,
    /// Why; told only inside the process.
    pub because: Because,
}

/// Where a PUBLISH goes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum PublishTo {
    /// Out of any dialog, to this address.
    Address(AddrSpec),
    /// In the dialog of the subscription.
    Dialog,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Move {
    /// A monitor has it.
    Queued,
    /// The caller is rung.
    Recalling,
    /// He answered; the CC call is asked for.
    Placing,
    /// The CC call is under way.
    Calling,
    /// It waits again.
    PutBack(Why),
    /// The caller is unavailable, and the monitors are told so.
    Suspended,
    /// He is available again.
    Resumed,
}

/// Why a recall or a CC call is over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Why {
    /// The CC call did not reach the callee.
    CallFailed,
    /// The caller called by himself.
    CalledByHand,
    /// The request ended.
    Ended,
    /// No CC call left in time.
    NoCall,
    /// The caller did not come to the phone.
    NotReached(RecallFailure),
    /// The monitor took the selection back.
    Withdrawn,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// The callee answered.
    Answered,
    /// The time of the service is over.
    Expired,
    /// CC-20: no monitor took it: the status of the last answer.
    Failed(u16),
    /// The monitors ended it.
    MonitorEnded,
    /// The caller let too many recalls pass.
    RecallsUsedUp,
    /// The caller ended it.
    Uncompleted,
}
