//! What the completion service is told: facts, wishes, and what came over the network.
//!
//! Spec: DESIGN §8; RFC 6910 §6, §7; RFC 3903 (PUBLISH).
//!
//! A message is told after its syntax, its dialog and its sender were checked; what it means for
//! completion is decided here.

use std::sync::Arc;
use std::time::Duration;

use crate::cc::addr::{AddrSpec, Aor};
use crate::cc::agent::{Notice, Published, RecallFailure};
use crate::cc::capsule::CallIdentity;
use crate::cc::fork::CallId;
use crate::cc::id::{CceToken, CompletionId};
use crate::cc::line::{Calls, Line};
use crate::cc::monitor::{Found, Renewal};
use crate::cc::trust::Peer;
use crate::cc::{Basic, Condition, SubscriptionId};
use crate::completion::identity::Identity;
use crate::store::{Answer, Key, Stored, Version};

/// One fact or wish.
#[derive(Clone, Debug)]
pub enum Input {
    /// A call failed that may be completed; not told of emergency calls.
    CallFailed(FailedCall),
    /// A phone of the callee's answered a call that is none of ours: what either of the two asked
    /// for is done.
    /// (One of ours is told by [`Self::CcCallAnswered`]; to tell both does no harm.)
    CallAnswered {
        /// Who called.
        caller: Aor,
        /// Who answered.
        callee: Aor,
    },
    /// Something about a subscription's dialog is new that is to outlive the process.
    Moved {
        /// Which subscription.
        subscription: SubscriptionId,
    },
    /// The store has failed: nothing is kept until [`Self::StoreOpened`], and what it was asked for
    /// and did not answer may have happened or not.
    StoreFailed,
    /// It is there again, and has these.
    StoreOpened {
        /// All its records.
        found: Vec<(Key, Version)>,
    },
    /// What is known of a watched user's lines now. The newest replaces all before it.
    ///
    /// To be told after [`Self::CcCallArrived`], where one call causes both.
    Line {
        /// Whose.
        user: Aor,
        /// What is known.
        line: Line,
    },
    /// A call's caller is kept from its failure, told by [`Self::CallFailed`] before: until
    /// [`Self::CallReleased`] he may camp on with it.
    CallHeld {
        /// Which.
        call: CallIdentity,
    },
    /// R5: a call that waited is no longer there to be connected, though its caller waits on: he is
    /// called back instead.
    CallLost {
        /// Which.
        call: CallIdentity,
        /// Why.
        how: Lost,
    },
    /// He is kept no longer: he was told, has hung up, or talks.
    CallReleased {
        /// Which.
        call: CallIdentity,
    },
    /// The process is about to stop, and what waits will be forgotten: each is told who is elsewhere.
    /// Recalls and CC calls that are under way are not disturbed.
    Stop,
    /// A user is no longer served: removed, or barred.
    UserGone {
        /// Who.
        user: Aor,
    },

    /// A user asks for completion: by code, by digit, by API.
    Complete(Complete),
    /// A user leaves a text for whom he did not reach.
    Leave(Leave),
    /// The callee's phones were sent a [`Output::Deliver`](super::Output::Deliver).
    Delivered {
        /// Which.
        id: CompletionId,
        /// Whose phones.
        callee: Aor,
        /// What they made of it.
        how: Taking,
    },
    /// A user takes a request back.
    Uncomplete {
        /// Names the question in its answer.
        ticket: Ticket,
        /// Who asks; only his own requests are found.
        caller: Aor,
        /// Which.
        which: Which,
    },
    /// A user says that he is back: he can be called back again for all that he waits for.
    Resume {
        /// Who.
        caller: Aor,
    },
    /// The callee or an operator ends a request.
    Refuse {
        /// Names the question in its answer.
        ticket: Ticket,
        /// Which.
        id: CompletionId,
    },

    /// An agent elsewhere subscribes to a queue of ours.
    Subscribe(Subscribe),
    /// It refreshes, or with zero unsubscribes.
    Refresh {
        /// Its subscription.
        subscription: SubscriptionId,
        /// The Expires of the SUBSCRIBE.
        expires: Option<Duration>,
    },
    /// A NOTIFY of ours was answered with 404, 405, 410, 416, 480-485, 489, 501 or 604, or not at
    /// all: the subscription is gone.
    NotifyFailed {
        /// Which.
        subscription: SubscriptionId,
    },
    /// An agent elsewhere publishes whether its caller can be recalled.
    Publish(Publish),

    /// A SUBSCRIBE of ours was answered with 2xx.
    Accepted {
        /// Which.
        subscription: SubscriptionId,
        /// The Expires of the answer.
        expires: Duration,
    },
    /// A SUBSCRIBE of ours failed.
    Refused {
        /// Which.
        subscription: SubscriptionId,
        /// The status; 408 for no answer, 503 if it could not be sent.
        status: u16,
    },
    /// A NOTIFY made another dialog of a SUBSCRIBE of ours (another To tag); its content follows as
    /// [`Self::Notified`] for the new subscription.
    Forked {
        /// The subscription that was sent.
        of: SubscriptionId,
        /// The new one, by [`Service::next_subscription`](super::Service::next_subscription).
        subscription: SubscriptionId,
    },
    /// A NOTIFY came; it was answered before this was told (CC-75).
    Notified {
        /// Its subscription.
        subscription: SubscriptionId,
        /// What it says.
        notice: Notice,
    },
    /// A PUBLISH of ours was answered, or its transaction ended.
    Published {
        /// The subscription that it was about.
        subscription: SubscriptionId,
        /// How.
        how: Published,
    },

    /// The caller answered his recall.
    RecallAnswered {
        /// Which.
        id: CompletionId,
    },
    /// He did not, or hung up before the CC call left, or no CC call could be placed.
    RecallFailed {
        /// Which.
        id: CompletionId,
        /// Why.
        why: RecallFailure,
    },
    /// A CC call is under way: it arrived at the callee, or left for a callee elsewhere.
    CcCallArrived {
        /// Which.
        id: CompletionId,
    },
    /// A phone of the callee's answered it.
    CcCallAnswered {
        /// Which.
        id: CompletionId,
    },
    /// Somebody else did: voicemail, a forward. The call stays up.
    CcCallDiverted {
        /// Which.
        id: CompletionId,
    },
    /// Nobody did.
    CcCallFailed {
        /// Which.
        id: CompletionId,
        /// How the callee was found, by [`decide`](crate::cc::offer::decide); `None` if the caller
        /// gave up or the failure tells nothing of the callee.
        found: Option<Found>,
    },

    /// The store answered a [`Output::Persist`](super::Output::Persist).
    Persisted {
        /// Which record.
        key: Key,
        /// What became of the change.
        answer: Answer,
    },
    /// The store answered a [`Output::Read`](super::Output::Read).
    Loaded {
        /// Which record.
        key: Key,
        /// What it says now.
        stored: Option<Stored>,
    },
}

/// Names a question in its answer; given by who asks, never looked into.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Ticket(pub u64);

/// Names the phone that asked, so that it is the one that rings; given by the shard, never looked
/// into.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Binding(pub u64);

/// A call that failed.
#[derive(Clone, Debug)]
pub struct FailedCall {
    /// Its name, also in its token.
    pub call: CallIdentity,
    /// Who called: the user whose flow it came over.
    pub caller: Aor,
    /// CC-07: the URI of its From, as it was sent.
    pub from: AddrSpec,
    /// R13: what it said of him beside From.
    pub identity: Identity,
    /// From which of his phones.
    pub binding: Binding,
    /// Whom he called: the user who owns the number, else the canonical form of what was dialled.
    pub callee: Aor,
    /// CC-08: the original Request-URI.
    pub dialled: AddrSpec,
    /// CC-08: the final status.
    pub status: u16,
    /// Why it failed, by [`decide`](crate::cc::offer::decide) or
    /// [`condition_offered`](crate::cc::offer::condition_offered).
    pub condition: Condition,
    /// The callee's lines at that moment, the call's own legs not counted.
    pub calls: Calls,
    /// Where his queue can be.
    pub monitors: Monitors,
}

/// Where a callee's queue can be.
#[derive(Clone, Debug)]
pub enum Monitors {
    /// Here: he is a user of ours with a source of availability.
    Own,
    /// Behind a peer.
    Peer {
        /// From whom the failed response came.
        peer: Peer,
        /// CC-08: Call-Info with purpose call-completion, of the 1xx and the final. Empty if there
        /// was none: the original Request-URI is asked then.
        offers: Vec<Offered>,
    },
    /// Both are possible: a user of ours, called through a peer that offers to watch him.
    Both {
        /// From whom the failed response came.
        peer: Peer,
        /// What it offers.
        offers: Vec<Offered>,
    },
}

/// A Call-Info that offers completion.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Offered {
    /// Its URI.
    pub uri: AddrSpec,
    /// Its `m`, if there is one that is known.
    pub m: Option<Condition>,
}

/// A wish for completion.
#[derive(Clone, Debug)]
pub struct Complete {
    /// Names the question in its answer.
    pub ticket: Ticket,
    /// Who asks.
    pub caller: Aor,
    /// For which of his failed calls.
    pub call: WhichCall,
    /// How.
    pub mode: Mode,
}

/// A text for whom a caller did not reach.
#[derive(Clone, Debug)]
pub struct Leave {
    /// Names the question in its answer.
    pub ticket: Ticket,
    /// Who leaves it.
    pub caller: Aor,
    /// For the callee of which of his failed calls.
    pub call: WhichCall,
    /// What it says.
    pub text: Arc<str>,
}

/// What a callee's phones made of a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Taking {
    /// None has taken it, for now.
    Failed,
    /// They take no messages.
    Refused,
    /// One has taken it.
    Taken,
}

/// One of a caller's failed calls.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum WhichCall {
    /// The newest.
    Last,
    /// This one.
    Call(CallIdentity),
}

impl WhichCall {
    /// Whether the newest call that this holds for is the one.
    pub(super) fn is_of(self, call: &FailedCall) -> bool {
        match self {
            Self::Last => true,
            Self::Call(identity) => call.call == identity,
        }
    }
}

/// How a call is completed: TAPI's completion modes.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Mode {
    /// The caller is called back.
    Callback,
    /// The call stays and waits.
    CampOn,
    /// The caller joins the callee's call.
    Intrude,
    /// The callee gets a text.
    Message,
}

impl Mode {
    /// Each, in TAPI's order.
    pub const ALL: [Self; 4] = [Self::CampOn, Self::Callback, Self::Intrude, Self::Message];

    /// Its name for applications, in records, metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Callback => "callback",
            Self::CampOn => "camp_on",
            Self::Intrude => "intrude",
            Self::Message => "message",
        }
    }
}

/// How a call that waited was lost, while its caller waits on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Lost {
    /// Something else than the callee has answered it.
    Diverted,
    /// Credentials were asked for, and it has not come again with them.
    NotRepeated,
}

/// Some of a caller's requests.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Which {
    /// This one.
    Id(CompletionId),
    /// The newest.
    Last,
    /// All.
    All,
    /// The text that this question has left, as long as its answer waits for the store.
    Left(Ticket),
}

/// A SUBSCRIBE of an agent elsewhere that would make a new subscription.
///
/// CC-32: its `m` is not among it: what is served is what the failed call was.
#[derive(Clone, Debug)]
pub struct Subscribe {
    /// A new name, by [`Service::next_subscription`](super::Service::next_subscription).
    pub subscription: SubscriptionId,
    /// CC-53: the user of its From, as far as that was authenticated; `None` if the caller withheld
    /// his identity and a configured peer sent it, so that the token alone tells who he is.
    pub caller: Option<Aor>,
    /// What its Request-URI names.
    pub queue: Queue,
    /// Its Call-ID: forks have the same.
    pub call_id: CallId,
    /// Its Expires.
    pub expires: Option<Duration>,
    /// What its refreshes do.
    pub renewal: Renewal,
}

/// What a Request-URI of a SUBSCRIBE or PUBLISH names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Queue {
    /// CC-33: a callee, by an address that we serve.
    Callee(Aor),
    /// CC-33: an offer of ours, by its token.
    Token(Box<str>),
}

/// A PUBLISH of an agent elsewhere.
#[derive(Clone, Debug)]
pub struct Publish {
    /// Names the question in its answer.
    pub ticket: Ticket,
    /// CC-48: what it was sent to.
    pub at: PublishAt,
    /// The user of its From, as far as that was authenticated; `None` as in [`Subscribe::caller`].
    pub caller: Option<Aor>,
    /// What it says; a removed publication is open.
    pub basic: Basic,
    /// How long it says so.
    pub expires: Option<Duration>,
}

/// What a PUBLISH was sent to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum PublishAt {
    /// A cc-URI of ours.
    Entry(CceToken),
    /// A dialog of a subscription, or the Contact that we gave in it.
    Subscription(SubscriptionId),
    /// A callee or an offer.
    Queue(Queue),
}
