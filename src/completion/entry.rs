//! One completion as the service holds it.
//!
//! Spec: TAPI completion ids; DESIGN §8.8, §11 (what is kept before it takes effect).

use std::ops::Deref;
use std::sync::Arc;

use crate::cc::SubscriptionId;
use crate::cc::capsule::CallIdentity;
use crate::cc::fork::CallId;
use crate::cc::id::CompletionId;
use crate::cc::line::{Calls, Trigger};
use crate::cc::monitor::{Renewal, Wait};
use crate::cc::trust::Peer;
use crate::completion::history::{History, Outcome};
use crate::completion::input::{Binding, FailedCall, Mode, Monitors, Ticket};
use crate::completion::names::Names;
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
    /// Its call waits.
    CampOn,
    Message,
}

impl Errand {
    pub(super) fn mode(self) -> Mode {
        match self {
            Self::Callback => Mode::Callback,
            Self::CampOn => Mode::CampOn,
            Self::Message => Mode::Message,
        }
    }
}

/// One completion.
#[derive(Debug)]
pub(super) struct Completion {
    pub(super) errand: Errand,
    pub(super) names: Arc<Names>,
    /// Counts all completions: the newest has the highest.
    pub(super) order: u64,
    /// The lowest that its caller had free.
    pub(super) number: u32,
    pub(super) roles: Roles,
    /// Its entry in a queue of ours.
    pub(super) entry: Option<SubscriptionId>,
    /// The Call-ID of the subscription by which that came, while it rests.
    pub(super) call_id: CallId,
    /// When its subscriber was last told, while it rests.
    pub(super) told: Option<Timestamp>,
    /// Whether its caller's agent is to be made of it.
    pub(super) is_at_rest: bool,
    /// What the refreshes of its subscription do.
    pub(super) renewal: Renewal,
    pub(super) binding: Binding,
    /// What it waits for, and since when.
    pub(super) wait: Wait,
    pub(super) life: Life,
    pub(super) stage: Stage,
    pub(super) ends: Timestamp,
    /// How often it was selected.
    pub(super) recalls: u16,
    /// How often no call followed.
    pub(super) recalls_passed: u16,
    pub(super) suspended: Option<Timestamp>,
    pub(super) history: History,
    pub(super) commit: Commit,
    pub(super) aside: Option<Box<Aside>>,
}

/// What most completions have not, while they wait.
#[derive(Debug, Default)]
pub(super) struct Aside {
    /// The call that waits.
    pub(super) camped: Option<CallIdentity>,
    /// What the callee is to read, of a message.
    pub(super) text: Option<Arc<str>>,
    /// Where the monitor is, if not here.
    pub(super) peer: Option<Peer>,
    /// Who waits for it to be accepted.
    pub(super) asked: Vec<Ticket>,
    /// Who wants it to end, and waits for that.
    pub(super) ending: Option<Ending>,
}

impl Aside {
    /// These, if there is any.
    pub(super) fn of(text: Option<Arc<str>>, peer: Option<Peer>) -> Option<Box<Self>> {
        let aside = Self {
            text,
            peer,
            ..Self::default()
        };
        (!aside.is_empty()).then(|| Box::new(aside))
    }

    fn is_empty(&self) -> bool {
        let is_kept = self.camped.is_some() || self.text.is_some() || self.peer.is_some();
        !is_kept && self.asked.is_empty() && self.ending.is_none()
    }
}

/// A wish that it ends.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) by: By,
    /// The question, and all that it is about.
    pub(super) answer: Option<(Ticket, Vec<CompletionId>)>,
}

/// Its names are as its own fields.
impl Deref for Completion {
    type Target = Names;

    fn deref(&self) -> &Names {
        &self.names
    }
}

impl Completion {
    /// What the callee is to read, of a message.
    pub(super) fn text(&self) -> Option<&Arc<str>> {
        self.aside.as_ref()?.text.as_ref()
    }

    /// Whether the store is to hear of it: a call that waits ends with the process, but what there is of
    /// one goes with it.
    pub(super) fn is_kept(&self) -> bool {
        self.roles != Roles::Call || self.commit.version.is_some()
    }

    /// Where the monitor is, if not here.
    pub(super) fn peer(&self) -> Option<&Peer> {
        self.aside.as_ref()?.peer.as_ref()
    }

    /// The call that waits.
    pub(super) fn camped(&self) -> Option<CallIdentity> {
        let aside = self
            .aside
            .as_ref()
            .filter(|_| self.errand == Errand::CampOn)?;
        aside.camped
    }

    /// The wish that it ends.
    pub(super) fn ending(&self) -> Option<&Ending> {
        self.aside.as_ref()?.ending.as_ref()
    }

    /// What is rare, to be changed.
    pub(super) fn aside(&mut self) -> &mut Aside {
        self.aside.get_or_insert_default()
    }

    /// Those who wait for it to be accepted, who now hear of it.
    pub(super) fn take_asked(&mut self) -> Vec<Ticket> {
        let asked = self
            .aside
            .as_mut()
            .map(|aside| std::mem::take(&mut aside.asked));
        self.aside.take_if(|aside| aside.is_empty());
        asked.unwrap_or_default()
    }

    /// The call that it is about, as it was when it failed.
    pub(super) fn failed_call(&self) -> FailedCall {
        FailedCall {
            call: CallIdentity(self.order),
            caller: self.caller.clone(),
            from: self.wording.from(),
            identity: self.wording.identity(),
            binding: self.binding,
            callee: self.callee.clone(),
            dialled: self.wording.dialled(),
            status: 0,
            condition: self.wait.condition,
            calls: match self.wait.trigger {
                Trigger::Back { .. }
                | Trigger::Freed
                | Trigger::Registered
                | Trigger::Seen { .. } => Calls::Engaged,
                Trigger::Talked => Calls::Free,
            },
            monitors: Monitors::Own,
        }
    }

    /// How it ended, if the machines say so: a wish of its caller's is a cancellation.
    pub(super) fn outcome(&self, by_itself: Outcome) -> (Outcome, By) {
        match (self.ending(), by_itself) {
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
    pub(super) work: Option<Box<Work>>,
}

/// What waits for the store; most of the time nothing does.
#[derive(Debug, Default)]
pub(super) struct Work {
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
    Waiting(Box<Change>),
    /// The record belongs to somebody else now.
    Lost,
}

/// A change that is under way.
#[derive(Debug)]
pub(super) struct Change {
    /// What it writes.
    pub(super) record: Option<Box<[u8]>>,
    /// When it is asked after.
    pub(super) asks: Timestamp,
    /// Whether it was made before and did not take.
    pub(super) turn: Attempt,
    /// What it is for.
    pub(super) need: Need,
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
            work: None,
        }
    }

    /// Whether outputs go out at once.
    pub(super) fn is_open(&self) -> bool {
        match &self.state {
            CommitState::Idle => self.need != Need::Put,
            CommitState::Waiting(change) => Need::Put > self.need.max(change.need),
            CommitState::Lost => true,
        }
    }

    /// What waits for the store, to be changed.
    pub(super) fn work(&mut self) -> &mut Work {
        self.work.get_or_insert_default()
    }

    /// What may go out when all is kept.
    pub(super) fn held(&self) -> &[Output] {
        self.work.as_ref().map_or(&[], |work| &work.held)
    }

    /// Forgets what the store was asked, and gives what was held.
    pub(super) fn take_held(&mut self) -> Vec<Output> {
        self.work.take().map(|work| work.held).unwrap_or_default()
    }

    /// Gives out what was held, and its room with it.
    pub(super) fn release(&mut self, out: &mut Vec<Output>) {
        if let Some(work) = &mut self.work {
            out.extend(std::mem::take(&mut work.held));
        }
        self.work.take_if(|work| work.reads == 0);
    }

    /// Holds an output until all is kept.
    pub(super) fn hold(&mut self, output: Output) {
        let held = &mut self.work().held;
        if let Output::Notify { subscription, .. } = &output {
            // CC-67: who is told late is told how it stands, not how that came: each NOTIFY says all.
            let is_older = |it: &Output| matches!(it, Output::Notify { subscription: of, .. } if of == subscription);
            held.retain(|it| !is_older(it));
        }
        held.push(output);
    }

    /// The ringing stops at once, for nothing of that need be kept: held back, it would meet the next
    /// recall. Who was not rung yet need not be told to stop.
    pub(super) fn end_recall(&mut self, end: Output, out: &mut Vec<Output>) {
        let rang = !self.holds_recall();
        self.drop_calls();
        if rang {
            out.push(end);
        }
    }

    /// Whether somebody is to be rung when all is kept.
    pub(super) fn holds_recall(&self) -> bool {
        let rings = |held: &Output| matches!(held, Output::Recall(_));
        self.held().iter().any(rings)
    }

    /// Nobody is rung, called or written to by what is held.
    pub(super) fn drop_calls(&mut self) {
        let calls = |held: &Output| {
            matches!(
                held,
                Output::Recall(_) | Output::Call(_) | Output::Deliver(_)
            )
        };
        if let Some(work) = &mut self.work {
            work.held.retain(|held| !calls(held));
        }
    }
}
