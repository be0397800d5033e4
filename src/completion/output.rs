//! What the completion service wants done.
//!
//! Spec: DESIGN §8; RFC 6910 §6, §7.
//!
//! Outputs are carried out in their order. What depends on a record is given out only after the
//! store answered that it is kept.

use std::sync::Arc;
use std::time::Duration;

use crate::cc::addr::{AddrSpec, Aor};
use crate::cc::agent::{PublishTo, Why};
use crate::cc::capsule::CallIdentity;
use crate::cc::document::Retention;
use crate::cc::id::{CceToken, CompletionId};
use crate::cc::monitor::Lifetime;
use crate::cc::trust::PeerId;
use crate::cc::{Basic, Condition, RecallState, SubscriptionId};
use crate::completion::history::{Event, History, Outcome};
use crate::completion::identity::Identity;
use crate::completion::input::{Binding, Mode, Ticket};
use crate::completion::reject::Reject;
use crate::store::{Key, Put};

/// One wish.
#[derive(Clone, Debug)]
pub enum Output {
    /// Answer a SUBSCRIBE with 200 and this Expires; its NOTIFY follows.
    Accept {
        /// Which subscription.
        subscription: SubscriptionId,
        /// CC-59: what is granted; zero answers an unsubscribe.
        expires: Duration,
        /// CC-48: the name of the place, by which a PUBLISH to the notifier's Contact finds it.
        cce: CceToken,
    },
    /// Answer a SUBSCRIBE with a failure; the subscription does not exist, or (423) is unchanged.
    Reject {
        /// Which subscription.
        subscription: SubscriptionId,
        /// Why.
        reject: Reject,
    },
    /// Send a NOTIFY.
    Notify {
        /// On which subscription.
        subscription: SubscriptionId,
        /// What it says.
        notify: Notify,
    },
    /// Answer a PUBLISH.
    PublishAnswered {
        /// Which.
        ticket: Ticket,
        /// With 200, or with a failure.
        result: Result<(), Reject>,
    },

    /// Send a SUBSCRIBE, Event: call-completion; its answer is told in any case.
    Subscribe(Subscription),
    /// Send a SUBSCRIBE with Expires: 0 in this subscription's dialog.
    Unsubscribe {
        /// Which subscription.
        subscription: SubscriptionId,
    },
    /// Send a SUBSCRIBE in the dialog of a subscription that outlived a process: its NOTIFY tells what
    /// was missed. A failure is told only if it ends the subscription.
    Refresh {
        /// Which subscription.
        subscription: SubscriptionId,
        /// What is left of it.
        expires: Duration,
    },
    /// The subscription is over for us: later NOTIFYs get 481.
    Forget {
        /// Which subscription.
        subscription: SubscriptionId,
    },
    /// Send a PUBLISH, Event: presence; its answer is told in any case.
    Publish(Publication),

    /// The caller's call waits (R5): tell him so now, and from time to time. He is kept from its
    /// failure until then at most; [`Output::EndCamp`] comes before.
    Camp {
        /// Which request.
        id: CompletionId,
        /// Which call.
        call: CallIdentity,
        /// How long it waits.
        lasts: Duration,
    },
    /// It is the call's turn: send its INVITE to the callee. Answered by CcCallArrived, and then by
    /// one of the CC call's ends.
    Connect {
        /// Which request.
        id: CompletionId,
        /// Which call.
        call: CallIdentity,
    },
    /// The call waits no longer: its caller gets the failure, unless he has been answered.
    EndCamp {
        /// Which call.
        call: CallIdentity,
    },

    /// Ring the caller. Answered by RecallAnswered or RecallFailed.
    Recall(Recall),
    /// Stop whatever is up for this recall, with the caller (CANCEL after a 1xx; a 200 that wins the
    /// race is ACKed and BYEd) and with the callee (CANCEL, and BYE to the caller with Reason).
    /// Nothing more is told of it.
    EndRecall {
        /// Which.
        id: CompletionId,
        /// Why.
        why: Why,
    },
    /// The caller answered: place the CC call. Answered by CcCallArrived, or RecallFailed (no call),
    /// and then by one of the CC call's ends.
    Call(Call),

    /// Send a callee's phones a MESSAGE. Answered by Delivered.
    Deliver(Delivery),
    /// So many texts wait for this user that his phones do not take: light his lamp, or put it out.
    Lamp {
        /// Whose.
        user: Aor,
        /// How many.
        count: usize,
    },

    /// Answers [`Input::Complete`](super::Input::Complete).
    Completed {
        /// Which question.
        ticket: Ticket,
        /// The request's name: it is kept, and a monitor has it.
        result: Result<CompletionId, Reject>,
    },
    /// Answers [`Input::Uncomplete`](super::Input::Uncomplete) and
    /// [`Input::Refuse`](super::Input::Refuse).
    Uncompleted {
        /// Which question.
        ticket: Ticket,
        /// What has ended.
        result: Result<Vec<CompletionId>, Reject>,
    },

    /// Somebody waits for this callee: what else can tell of his lines is to be asked.
    WaitedFor {
        /// Whom.
        user: Aor,
    },
    /// Nobody waits for him any more.
    Unwaited {
        /// Whom.
        user: Aor,
    },

    /// Make a change in the store; its answer is told in any case.
    Persist(Put),
    /// Read a record; its answer is told in any case.
    Read(Key),

    /// Tell this user's lines: now, and whenever they change.
    Watch {
        /// Who.
        user: Aor,
    },
    /// No longer.
    Unwatch {
        /// Who.
        user: Aor,
    },
    /// For the call record, the API and TAPI.
    Tell(Tell),
    /// CC-74: for the log and its counter: this looks like probing.
    Suspect(Suspicion),
}

/// What a NOTIFY says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Notify {
    /// cc-state.
    pub state: RecallState,
    /// CC-39, CC-70: the user part of the cc-URI, unique to the entry.
    pub cce: CceToken,
    /// CC-40: cc-service-retention.
    pub retention: Retention,
    /// Subscription-State.
    pub life: Lifetime,
}

/// A SUBSCRIBE to a monitor elsewhere.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Subscription {
    /// Its name.
    pub subscription: SubscriptionId,
    /// For which request.
    pub id: CompletionId,
    /// Where it goes, whatever the addresses say.
    pub peer: PeerId,
    /// The Request-URI.
    pub target: AddrSpec,
    /// CC-16: From, the caller's address in the failed call.
    pub from: AddrSpec,
    /// R13: what else the failed call said of the caller.
    pub identity: Identity,
    /// CC-17: To, the original destination.
    pub to: AddrSpec,
    /// CC-55: Expires.
    pub expires: Duration,
}

/// A PUBLISH to a monitor elsewhere.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Publication {
    /// About which subscription.
    pub subscription: SubscriptionId,
    /// Where it goes, whatever the addresses say.
    pub peer: PeerId,
    /// The Request-URI, or the dialog.
    pub to: PublishTo,
    /// From and presentity: the caller's address in the failed call.
    pub from: AddrSpec,
    /// R13: what else the failed call said of the caller.
    pub identity: Identity,
    /// What it says.
    pub basic: Basic,
    /// CC-25: Expires.
    pub expires: Duration,
}

/// A recall of a caller.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Recall {
    /// Which request.
    pub id: CompletionId,
    /// Whom to ring.
    pub caller: Aor,
    /// Which of his phones; all of them only if it is gone.
    pub binding: Binding,
    /// Whom he wanted.
    pub callee: Aor,
    /// What he dialled.
    pub dialled: AddrSpec,
    /// How long it rings at most; the service ends it by itself.
    pub ring: Duration,
}

/// A CC call.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Call {
    /// Which request.
    pub id: CompletionId,
    /// Who calls.
    pub caller: Aor,
    /// His address in the failed call.
    pub from: AddrSpec,
    /// R13: what that said of him beside From.
    pub identity: Identity,
    /// Who is called.
    pub callee: Aor,
    /// CC-17: the original destination.
    pub dialled: AddrSpec,
    /// The Request-URI or Refer-To, `m` included.
    pub target: AddrSpec,
    /// Why the first call failed.
    pub condition: Condition,
    /// Through whom.
    pub via: Via,
}

/// A text on its way to a callee.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Delivery {
    /// Which request.
    pub id: CompletionId,
    /// Who left it: his address in the failed call.
    pub from: AddrSpec,
    /// For whom.
    pub callee: Aor,
    /// What it says.
    pub text: Arc<str>,
    /// How long it is of interest.
    pub expires: Duration,
}

/// How a CC call reaches its callee.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Via {
    /// He is ours; a `cce` parameter with this token lets his side recognise the call where it
    /// crosses a PBX.
    Own(CceToken),
    /// Through the peer from which the failed response came.
    Peer(PeerId),
}

/// News of one request.
#[derive(Clone, Debug)]
pub struct Tell {
    /// Which.
    pub id: CompletionId,
    /// Whose.
    pub caller: Aor,
    /// About whom.
    pub callee: Aor,
    /// How the call is completed.
    pub mode: Mode,
    /// What happened.
    pub news: News,
}

/// What happened to a request.
#[derive(Clone, Debug)]
pub enum News {
    /// It was accepted; the caller has this many now.
    Accepted(usize),
    /// The caller is being recalled.
    Recalling,
    /// The CC call is under way.
    Calling,
    /// It waits, for this reason.
    Waiting(Event),
    /// It ended.
    Ended {
        /// How.
        outcome: Outcome,
        /// By whose doing.
        by: By,
        /// How many requests the caller has left.
        left: usize,
        /// Its story.
        history: History,
    },
}

/// Who ended a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum By {
    /// The caller.
    Caller,
    /// Anybody else, or time.
    Other,
}

/// A pattern that looks like probing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Suspicion {
    /// Who, if he said.
    pub caller: Option<Aor>,
    /// About whom.
    pub callee: Option<Aor>,
    /// What.
    pub pattern: Pattern,
}

/// CC-74: the four patterns.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Pattern {
    /// A suspension is longer than a call.
    LongSuspension,
    /// A subscription without a failed call before it.
    NoFailedCall,
    /// A queue is never empty.
    QueueNeverEmpty,
    /// A caller was selected more than once and did not call.
    ReadyWithoutCall,
}

impl Pattern {
    /// The words in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LongSuspension => "a suspension longer than a call",
            Self::NoFailedCall => "no failed call before it",
            Self::QueueNeverEmpty => "a queue that is never empty",
            Self::ReadyWithoutCall => "turns without a call",
        }
    }
}
