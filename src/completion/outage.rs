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
use crate::cc::id::CompletionId;
use crate::completion::commit::removal;
use crate::completion::entry::{Commit, CommitState, Life, Need};
use crate::completion::output::Output;
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
