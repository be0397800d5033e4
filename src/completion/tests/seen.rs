//! What is seen of a random life, and whether it may be.
//!
//! Spec: DESIGN §13 (invariants).

use std::collections::{BTreeMap, BTreeSet};

use crate::cc::line::Calls;
use crate::cc::monitor::Lifetime;
use crate::cc::{RecallState, SubscriptionId};
use crate::completion::{
    CceToken, CompletionId, Input, News, Notify, Outcome, Output, Tell, Ticket,
};
use crate::random::Rng;
use crate::time::Timestamp;

use super::kit::{StoreMood, World, seconds, user};

/// Whose monitor is elsewhere.
pub(super) const FAR: &str = "far";

/// Whether the store has moods in this life.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Store {
    Steady,
    Moody,
}

/// One life: the world, and what was seen of it.
pub(super) struct Sim {
    pub(super) world: World,
    pub(super) rng: Rng,
    pub(super) store: Store,
    pub(super) tickets: u64,
    pub(super) open_tickets: BTreeSet<Ticket>,
    /// SUBSCRIBEs without an answer.
    pub(super) open_subscribes: Vec<SubscriptionId>,
    /// Dialogs of agents elsewhere that live.
    pub(super) dialogs: BTreeMap<SubscriptionId, Dialog>,
    /// Subscriptions of ours to monitors elsewhere.
    pub(super) far: BTreeSet<SubscriptionId>,
    pub(super) publishing: BTreeSet<SubscriptionId>,
    pub(super) accepted: BTreeMap<CompletionId, Option<Outcome>>,
    pub(super) taken_back: BTreeSet<CompletionId>,
    /// Recalls that are up.
    pub(super) ringing: BTreeSet<CompletionId>,
    pub(super) tokens: Vec<(&'static str, String)>,
    pub(super) recalls: usize,
}

/// What one subscriber saw.
#[derive(Default)]
pub(super) struct Dialog {
    pub(super) notified: Vec<(Timestamp, RecallState)>,
    pub(super) cce: Option<CceToken>,
    pub(super) suspended: bool,
    pub(super) turn: Turn,
}

/// Whether it is its turn.
#[derive(Default)]
pub(super) enum Turn {
    #[default]
    No,
    /// Since then, and nobody has called.
    Since(Timestamp),
    Called,
}

impl Sim {
    /// Sees what comes out, and that it may.
    pub(super) fn watch(&mut self, out: Vec<Output>) {
        for output in out {
            match output {
                Output::Accept { subscription, .. } | Output::Reject { subscription, .. } => {
                    let mut open = self.open_subscribes.iter();
                    let open = open.position(|open| *open == subscription);
                    self.open_subscribes.remove(open.expect("answered once"));
                    if let Output::Accept { .. } = output {
                        self.dialogs.entry(subscription).or_default();
                    }
                }
                Output::Notify {
                    subscription,
                    notify,
                } => self.on_notify(subscription, &notify),
                Output::PublishAnswered { ticket, .. } | Output::Completed { ticket, .. } => {
                    assert!(self.open_tickets.remove(&ticket), "answered twice");
                }
                Output::Uncompleted { ticket, result } => {
                    assert!(self.open_tickets.remove(&ticket), "answered twice");
                    self.taken_back.extend(result.unwrap_or_default());
                }
                Output::Subscribe(wish) => {
                    self.far.insert(wish.subscription);
                }
                Output::Forget { subscription } => {
                    self.far.remove(&subscription);
                    self.publishing.remove(&subscription);
                }
                Output::Publish(wish) => {
                    let free = self.publishing.insert(wish.subscription);
                    assert!(free, "two PUBLISHs at once");
                }
                Output::Recall(recall) => self.on_recall(recall.id),
                Output::EndRecall { id, .. } => {
                    self.ringing.remove(&id);
                }
                Output::Call(call) => {
                    assert!(self.ringing.contains(&call.id), "nobody was rung");
                    self.may_disturb(call.id);
                }
                Output::Tell(tell) => self.on_news(&tell),
                Output::Unsubscribe { .. }
                | Output::Refresh { .. }
                | Output::Camp { .. }
                | Output::Connect { .. }
                | Output::EndCamp { .. }
                | Output::Persist(_)
                | Output::Read(_)
                | Output::Watch { .. }
                | Output::Unwatch { .. }
                | Output::WaitedFor { .. }
                | Output::Unwaited { .. }
                | Output::Suspect(_) => {}
            }
        }
        self.check_ready();
    }

    fn on_notify(&mut self, subscription: SubscriptionId, notify: &Notify) {
        let now = self.world.now;
        // What a store held back comes when it comes.
        let steady = self.store == Store::Steady;
        let Some(dialog) = self.dialogs.get_mut(&subscription) else {
            return;
        };
        let recent = dialog.notified.iter().rev();
        let recent = recent.take_while(|(at, _)| now.since(*at) < seconds(10));
        let recent = recent.count();
        if steady {
            // CC-65
            assert!(recent < 3, "more than three NOTIFYs");
            let third = notify.state == RecallState::Ready && recent > 1;
            // CC-67
            assert!(!third, "ready is the third");
        }
        dialog.cce = Some(notify.cce);
        dialog.notified.push((now, notify.state));
        match notify.state {
            RecallState::Ready => {
                assert!(!dialog.suspended, "a suspended entry is ready");
                if let Turn::No = dialog.turn {
                    dialog.turn = Turn::Since(now);
                }
            }
            RecallState::Queued => dialog.turn = Turn::No,
        }
        if let Lifetime::Terminated(_) = notify.life {
            self.dialogs.remove(&subscription);
        }
    }

    /// Ready without a CC call lasts no longer than the recall timer.
    fn check_ready(&self) {
        let now = self.world.now;
        for dialog in self.dialogs.values() {
            if let (Turn::Since(since), Store::Steady) = (&dialog.turn, self.store) {
                let long = now.since(*since);
                assert!(long <= seconds(20), "ready for {long:?}");
            }
        }
    }

    fn on_recall(&mut self, id: CompletionId) {
        self.recalls += 1;
        assert!(self.ringing.insert(id), "rung twice");
        self.may_disturb(id);
        let view = self.world.service.view(id).expect("it lives");
        let others = self.ringing.iter().filter(|other| **other != id);
        for other in others {
            let other = self.world.service.view(*other);
            let same = other.is_some_and(|other| other.caller == view.caller);
            assert!(!same, "a caller is rung for two requests");
        }
    }

    fn may_disturb(&self, id: CompletionId) {
        assert!(!self.taken_back.contains(&id), "taken back");
        let view = self.world.service.view(id).expect("it lives");
        let line = self.world.line_of(view.callee);
        let steady = self.store == Store::Steady;
        if steady && *view.callee != user(FAR) {
            assert_ne!(line.calls, Calls::Engaged, "a busy callee is rung");
        }
    }

    fn on_news(&mut self, tell: &Tell) {
        match &tell.news {
            News::Accepted(_) => {
                let before = self.accepted.insert(tell.id, None);
                assert_eq!(before, None, "accepted twice");
            }
            News::Ended { outcome, .. } => {
                let end = self.accepted.get_mut(&tell.id).expect("it was accepted");
                assert_eq!(end.replace(*outcome), None, "ended twice");
                self.ringing.remove(&tell.id);
            }
            News::Recalling | News::Calling | News::Waiting(_) => {}
        }
    }

    /// Everybody waits until all is over.
    pub(super) fn quiet(&mut self) {
        self.world.mood = StoreMood::Well;
        // The store says what it has, as after it was opened again.
        for (key, stored) in self.world.stored() {
            let stored = Some(stored);
            self.step(Input::Loaded { key, stored });
        }
        for _ in 0..4 {
            self.pass(seconds(3600));
        }
        assert!(self.open_tickets.is_empty(), "a question has no answer");
        assert!(self.open_subscribes.is_empty(), "a SUBSCRIBE has none");
        let alive = self.accepted.values().filter(|end| end.is_none());
        assert_eq!(alive.count(), 0, "a completion has no end");
        self.world.ends_empty();
    }
}
