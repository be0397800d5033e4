//! While the store keeps nothing: what is refused, what goes on, and how all of it is kept again.
//!
//! Spec: DESIGN §11; RULES R6.
//!
//! - Nothing new is taken, for it might be lost with the process.
//! - Nobody is selected: that is written before its caller hears of it. Who was rung goes on.
//! - What ends has ended; its record is removed when the store is there again. Who asks for the end is
//!   told that it may not last (503).

use std::collections::BTreeMap;

use crate::cc::SubscriptionId;
use crate::cc::agent;
use crate::cc::id::CompletionId;
use crate::cc::monitor;
use crate::completion::commit::removal;
use crate::completion::entry::{Commit, CommitState, Completion, Life, Need};
use crate::completion::history::Outcome;
use crate::completion::output::{News, Output};
use crate::completion::record::{Record, Roles};
use crate::completion::reject::Reject;
use crate::completion::service::{Service, Turn};
use crate::store::{Key, Version};

impl Service {
    pub(super) fn on_store_failed(&mut self, turn: &mut Turn<'_>) {
        self.is_down = true;
        self.gate.set_shut(true);
        let ids: Vec<CompletionId> = self.completions.keys().collect();
        for id in ids {
            let Some(completion) = self.completions.get_mut(&id) else {
                continue;
            };
            // A call that waits is not to be kept.
            if completion.roles == Roles::Call {
                continue;
            }
            if !completion.commit.was_kept {
                self.refuse_unkept(id, turn);
                continue;
            }
            let commit = &mut completion.commit;
            if let CommitState::Waiting(_) = commit.state {
                commit.state = CommitState::Idle;
                commit.need = Need::Put;
            }
            for output in commit.take_held() {
                commit.give_out_unkept(output, turn.out);
            }
            self.settle_commit(id);
        }
    }

    /// Writes what there is over what was found.
    pub(super) fn on_store_opened(&mut self, found: Vec<(Key, Version)>, turn: &mut Turn<'_>) {
        self.is_down = false;
        self.gate.set_shut(false);
        let mut found: BTreeMap<Key, Version> = found.into_iter().collect();
        let mut callees = Vec::new();
        let ids: Vec<CompletionId> = self.completions.keys().collect();
        for id in ids {
            let Some(completion) = self.completions.get_mut(&id) else {
                continue;
            };
            let version = found.remove(&Record::key(id, &completion.callee));
            if completion.life != Life::Accepted || completion.roles == Roles::Call {
                continue;
            }
            completion.commit.version = version;
            completion.commit.state = CommitState::Idle;
            completion.commit.need = Need::Put;
            self.touched.insert(id);
            callees.push(completion.callee.clone());
        }
        // What has ended meanwhile, or was refused.
        let gone = found.into_iter();
        let gone = gone.map(|(key, version)| Output::Persist(removal(key, version)));
        turn.out.extend(gone);
        // Whose turn it is could not be found out.
        for callee in callees {
            self.rekey(&callee, turn);
        }
    }

    /// Nobody is recalled from here on: the process is about to stop.
    pub fn stop_selecting(&mut self) {
        self.gate.set_shut(true);
    }

    /// A new request that the store does not take: who asked hears that, and nothing else leaves. One that
    /// a call has waited for was known before it was to be kept, and its end is told.
    pub(super) fn refuse_unkept(&mut self, id: CompletionId, turn: &mut Turn<'_>) {
        self.drop_calls(id, turn);
        let is_known = self.completions.get(&id).is_some_and(Completion::is_known);
        if is_known {
            self.finish(id, Outcome::Refused, turn);
        }
        self.delist(id, turn);
        self.unkept.set(&id, None);
        let Some(mut completion) = self.completions.remove(&id) else {
            return;
        };
        for ticket in completion.take_asked() {
            let result = Err(Reject::StoreUnavailable);
            turn.out.push(Output::Completed { ticket, result });
        }
        let held = completion.commit.held().iter();
        turn.out.extend(held.clone().filter_map(Output::refused));
        let ends = held
            .filter(|held| is_known && held.tells_of(|news| matches!(news, News::Ended { .. })));
        turn.out.extend(ends.cloned());
        self.abandon(&completion);
    }

    /// Clears the machines of a completion that never was.
    fn abandon(&mut self, completion: &Completion) {
        if let Some(entry) = completion.entry {
            if !completion.roles.has_agent() {
                self.routes.remove(&entry);
            }
            self.post_monitor(completion.callee.clone(), monitor::Event::Lost(entry));
        }
        let end = agent::Event::Uncomplete(completion.id);
        self.post_agent(completion.caller.clone(), end);
    }

    /// What a dialog says of itself is kept with its completion.
    pub(super) fn on_moved(&mut self, subscription: SubscriptionId) {
        if let Some(route) = self.routes.get(&subscription) {
            let id = route.names.id;
            let known = self.completions.get(&id);
            if known.is_some_and(|completion| completion.life == Life::Accepted) {
                self.keep_later(id);
            }
        }
    }
}

impl Completion {
    /// Whether anybody was told that it was accepted.
    fn is_known(&self) -> bool {
        let accepts = |news: &News| matches!(news, News::Accepted(_));
        let is_held = self.commit.held().iter().any(|held| held.tells_of(accepts));
        self.life != Life::Asked && !is_held
    }
}

impl Commit {
    /// Gives out what does not wait until the store is there again.
    pub(super) fn give_out_unkept(&mut self, output: Output, out: &mut Vec<Output>) {
        if let Output::Uncompleted { ticket, result } = output {
            let result = result.and(Err(Reject::StoreUnavailable));
            out.push(Output::Uncompleted { ticket, result });
        } else if let Output::Recall(_) = output {
            self.hold(output);
        } else {
            out.push(output);
        }
    }
}

impl Output {
    fn tells_of(&self, is_it: impl Fn(&News) -> bool) -> bool {
        matches!(self, Self::Tell(tell) if is_it(&tell.news))
    }

    /// What goes out in its place, or all the same, when the store did not take what it says.
    fn refused(&self) -> Option<Self> {
        let reject = Reject::StoreUnavailable;
        match self {
            Self::Accept { subscription, .. } => Some(Self::Reject {
                subscription: *subscription,
                reject,
            }),
            Self::Completed { ticket, .. } => Some(Self::Completed {
                ticket: *ticket,
                result: Err(reject),
            }),
            Self::Uncompleted { ticket, .. } => Some(Self::Uncompleted {
                ticket: *ticket,
                result: Err(Reject::UnknownCompletion),
            }),
            Self::PublishAnswered { ticket, .. } => Some(Self::PublishAnswered {
                ticket: *ticket,
                result: Err(reject),
            }),
            // A monitor elsewhere has its subscription, whatever the store has.
            Self::Unsubscribe { .. } | Self::Forget { .. } => Some(self.clone()),
            Self::Reject { .. }
            | Self::Notify { .. }
            | Self::Subscribe(_)
            | Self::Refresh { .. }
            | Self::Publish(_)
            | Self::Recall(_)
            | Self::EndRecall { .. }
            | Self::Call(_)
            | Self::Camp { .. }
            | Self::Connect { .. }
            | Self::EndCamp { .. }
            | Self::Deliver(_)
            | Self::Lamp { .. }
            | Self::Persist(_)
            | Self::Read(_)
            | Self::Watch { .. }
            | Self::Unwatch { .. }
            | Self::WaitedFor { .. }
            | Self::Unwaited { .. }
            | Self::Tell(_)
            | Self::Suspect(_) => None,
        }
    }
}
