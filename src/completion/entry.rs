//! One completion as the service holds it.
//!
//! Spec: TAPI completion ids; DESIGN §8.8, §11 (what is kept before it takes effect).

use std::sync::Arc;

use crate::cc::SubscriptionId;
use crate::cc::addr::{AddrSpec, Aor};
use crate::cc::capsule::CallIdentity;
use crate::cc::id::{CceToken, CompletionId};
use crate::cc::line::{Calls, Trigger};
use crate::cc::monitor::{Renewal, Wait};
use crate::cc::trust::Peer;
use crate::completion::history::{History, Outcome};
use crate::completion::identity::Identity;
use crate::completion::input::{Binding, FailedCall, Mode, Monitors, Ticket};
use crate::completion::output::{By, Output};
use crate::completion::record::Roles;
use crate::store::Version;
use crate::time::Timestamp;

/// How far a completion is from its caller's point of view.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Stage {
    /// Asked for; no monitor has it yet.
    Asked,
    /// It waits.
    Queued,
    /// The caller is recalled, or told that it is his turn.
    Recalling,
    /// The CC call is under way.
    Calling,
}

/// Whether it lives.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Life {
    /// Nobody has accepted it; the answers to these questions wait.
    Asked,
    Accepted,
    Ended,
}

/// What is wanted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Errand {
    Callback,
    /// This call waits.
    CampOn(CallIdentity),
    Message,
}

impl Errand {
    pub(super) fn mode(self) -> Mode {
        match self {
            Self::Callback => Mode::Callback,
            Self::CampOn(_) => Mode::CampOn,
            Self::Message => Mode::Message,
        }
    }
}

/// One completion.
#[derive(Debug)]
pub(super) struct Completion {
    pub(super) errand: Errand,
    /// What the callee is to read, of a message.
    pub(super) text: Option<Arc<str>>,
    pub(super) id: CompletionId,
    pub(super) cce: CceToken,
    /// Counts all completions: the newest has the highest.
    pub(super) order: u64,
    /// The lowest that its caller had free.
    pub(super) number: u32,
    pub(super) roles: Roles,
    /// Where the monitor is, if not here.
    pub(super) peer: Option<Peer>,
    /// Its entry in a queue of ours.
    pub(super) entry: Option<SubscriptionId>,
    /// What the refreshes of its subscription do.
    pub(super) renewal: Renewal,
    pub(super) caller: Aor,
    pub(super) callee: Aor,
    pub(super) from: AddrSpec,
    pub(super) identity: Identity,
    pub(super) dialled: AddrSpec,
    pub(super) binding: Binding,
    /// What it waits for, and since when.
    pub(super) wait: Wait,
    pub(super) life: Life,
    pub(super) stage: Stage,
    pub(super) ends: Timestamp,
    /// How often it was selected.
    pub(super) recalls: u32,
    /// How often no call followed.
    pub(super) recalls_passed: u32,
    pub(super) suspended: Option<Timestamp>,
    /// Who waits for it to be accepted.
    pub(super) asked: Vec<Ticket>,
    /// Who wants it to end, and waits for that.
    pub(super) ending: Option<Ending>,
    pub(super) history: History,
    pub(super) commit: Commit,
}

/// A wish that it ends.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) by: By,
    /// The question, and all that it is about.
    pub(super) answer: Option<(Ticket, Vec<CompletionId>)>,
}

impl Completion {
    /// The call that it is about, as it was when it failed.
    pub(super) fn failed_call(&self) -> FailedCall {
        FailedCall {
            call: CallIdentity(self.order),
            caller: self.caller.clone(),
            from: self.from.clone(),
            identity: self.identity.clone(),
            binding: self.binding,
            callee: self.callee.clone(),
            dialled: self.dialled.clone(),
            status: 0,
            condition: self.wait.condition,
            calls: match self.wait.trigger {
                Trigger::Freed | Trigger::Registered | Trigger::Seen { .. } => Calls::Engaged,
                Trigger::Talked => Calls::Free,
            },
            monitors: Monitors::Own,
        }
    }

    /// How it ended, if the machines say so: a wish of its caller's is a cancellation.
    pub(super) fn outcome(&self, by_itself: Outcome) -> (Outcome, By) {
        match (&self.ending, by_itself) {
            (_, Outcome::Completed) => (Outcome::Completed, By::Other),
            (Some(ending), _) if ending.by == By::Caller => (Outcome::Cancelled, By::Caller),
            (Some(_), _) => (Outcome::Refused, By::Other),
            (None, Outcome::Cancelled) => (Outcome::Cancelled, By::Caller),
            (None, outcome) => (outcome, By::Other),
        }
    }
}

/// What the store knows of a completion, and what waits for it to know more.
#[derive(Debug)]
pub(super) struct Commit {
    pub(super) version: Option<Version>,
    pub(super) state: CommitState,
    pub(super) need: Need,
    /// Whether the store has ever said that it has it.
    pub(super) was_kept: bool,
    /// How often it was asked what it has, and has not said yet.
    pub(super) reads: u32,
    /// How many of these were about the change before the one that is under way.
    pub(super) reads_before: u32,
    /// What may go out when all is kept.
    pub(super) held: Vec<Output>,
}

/// Whether the store is at work.
#[derive(Debug)]
pub(super) enum CommitState {
    Idle,
    /// A change is under way.
    Waiting {
        /// What it writes.
        record: Option<Box<[u8]>>,
        /// When it is asked after.
        asks: Timestamp,
        /// Whether it was made before and did not take.
        turn: Attempt,
        /// What it is for.
        need: Need,
    },
    /// The record belongs to somebody else now.
    Lost,
}

/// Which attempt at a change it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Attempt {
    First,
    /// A store that fails is asked again later, not at once.
    Repeated,
}

/// Whether there is something to keep.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Need {
    Nothing,
    /// Something that nothing waits for.
    Later,
    /// Something without which nothing more goes out.
    Put,
}

impl Commit {
    pub(super) fn new() -> Self {
        Self {
            version: None,
            state: CommitState::Idle,
            need: Need::Nothing,
            was_kept: false,
            reads: 0,
            reads_before: 0,
            held: Vec::new(),
        }
    }

    /// Whether outputs go out at once.
    pub(super) fn is_open(&self) -> bool {
        match self.state {
            CommitState::Idle
            | CommitState::Waiting {
                need: Need::Nothing | Need::Later,
                ..
            } => self.need != Need::Put,
            CommitState::Waiting {
                need: Need::Put, ..
            } => false,
            CommitState::Lost => true,
        }
    }

    /// Gives out what was held, and its room with it: what waits mostly holds nothing.
    pub(super) fn release(&mut self, out: &mut Vec<Output>) {
        out.extend(std::mem::take(&mut self.held));
    }

    /// Holds an output, or takes back what it undoes: who was not rung need not be told to stop.
    pub(super) fn hold(&mut self, output: Output) {
        if let Output::EndRecall { .. } = output {
            let never_rang = self.held.iter().any(|o| matches!(o, Output::Recall(_)));
            self.drop_calls();
            if never_rang {
                return;
            }
        }
        self.held.push(output);
    }

    /// Nobody is rung, called or written to by what is held.
    pub(super) fn drop_calls(&mut self) {
        let calls = |held: &Output| {
            matches!(
                held,
                Output::Recall(_) | Output::Call(_) | Output::Deliver(_)
            )
        };
        self.held.retain(|held| !calls(held));
    }
}
