//! What an application may look at: requests in the order of their names, and calls that have failed.
//!
//! Spec: TAPI `lineGetCallStatus`, `LINEDEVSTATUS.dwNumCallCompletions`; RULES R24.

use std::cmp::Reverse;

use crate::cc::Condition;
use crate::cc::addr::{AddrSpec, Aor};
use crate::cc::capsule::CallIdentity;
use crate::cc::id::CompletionId;
use crate::completion::entry::Life;
use crate::completion::input::{FailedCall, Mode};
use crate::completion::service::{Service, View};
use crate::completion::user::User;
use crate::time::Timestamp;

/// A call that has failed, for as long as its completion may be asked for.
#[derive(Clone, Copy, Debug)]
pub struct Failed<'s> {
    /// Its name.
    pub call: CallIdentity,
    /// Who called.
    pub caller: &'s Aor,
    /// Whom.
    pub callee: &'s Aor,
    /// What he dialled.
    pub dialled: &'s AddrSpec,
    /// The final status.
    pub status: u16,
    /// Why it failed.
    pub condition: Condition,
    /// When.
    pub at: Timestamp,
    /// Until when its completion may be asked for.
    pub until: Timestamp,
    /// The request that its caller has for that callee.
    pub completion: Option<CompletionId>,
}

impl Service {
    /// The modes by which a call can be completed whose caller is kept from its failure.
    pub fn modes_of_held(&self, call: CallIdentity) -> &'static [Mode] {
        match self.held_calls.get(&call) {
            Some(None) => &[Mode::Callback, Mode::CampOn],
            // It waits already.
            Some(Some(_)) | None => &[],
        }
    }

    /// The modes by which a call that has failed can be completed.
    pub fn modes(&self) -> &'static [Mode] {
        &[Mode::Callback]
    }

    /// How many requests a caller may have at once.
    pub fn per_caller_max(&self) -> usize {
        self.settings.limits.per_caller_max
    }

    /// Everybody's living requests behind this name, by name, at most so many.
    pub fn views_after(&self, after: Option<CompletionId>, most: usize) -> Vec<View<'_>> {
        let later = self.completions.after(after);
        let living = later.filter(|it| it.life != Life::Ended);
        living.take(most).map(View::of).collect()
    }

    /// A caller's failed calls that he may still have completed, the newest first.
    pub fn failed_calls(&self, now: Timestamp, caller: &Aor) -> Vec<Failed<'_>> {
        let user = self.users.get(caller);
        user.map_or_else(Vec::new, |user| self.failed_of(now, user))
    }

    /// Everybody's, the newest first, at most so many.
    pub fn all_failed_calls(&self, now: Timestamp, most: usize) -> Vec<Failed<'_>> {
        let all = self.users.iter().map(|(_, user)| user);
        let mut all: Vec<_> = all.flat_map(|user| self.failed_of(now, user)).collect();
        all.sort_unstable_by_key(|failed| (Reverse(failed.at), failed.call));
        all.truncate(most);
        all
    }

    /// The failed call of this name, if it is this caller's, or anybody's.
    pub fn failed_call_named(
        &self,
        now: Timestamp,
        call: CallIdentity,
        caller: Option<&Aor>,
    ) -> Option<Failed<'_>> {
        let mut calls = match caller {
            Some(caller) => self.failed_calls(now, caller),
            None => self.all_failed_calls(now, usize::MAX),
        };
        let at = calls.iter().position(|failed| failed.call == call)?;
        Some(calls.swap_remove(at))
    }

    /// A failed call is of no interest any more.
    pub fn forget_failed(&mut self, caller: &Aor, call: CallIdentity) {
        if let Some(user) = self.users.get_mut(caller) {
            user.failed.remove(|failed| failed.call == call);
        }
    }

    /// How many wait for him, in a queue of ours.
    pub fn waiting_for(&self, callee: &Aor) -> usize {
        let user = self.users.get(callee);
        user.map_or(0, User::queue_len)
    }

    /// Whether anybody waits for him, or he waits, or may ask to.
    pub fn knows(&self, user: &Aor) -> bool {
        self.users.contains(user)
    }

    /// Whom anybody waits for, who waits, or who may ask to; in no order.
    pub fn users(&self) -> impl Iterator<Item = &Aor> {
        self.users.iter().map(|(name, _)| name)
    }

    fn failed_of<'s>(&'s self, now: Timestamp, user: &'s User) -> Vec<Failed<'s>> {
        let window = self.settings.timing.offer_window;
        let fresh = user.failed.fresh((now, window));
        fresh.map(|(at, call)| self.failed(at, call)).collect()
    }

    fn failed<'s>(&'s self, at: Timestamp, call: &'s FailedCall) -> Failed<'s> {
        Failed {
            call: call.call,
            caller: &call.caller,
            callee: &call.callee,
            dialled: &call.dialled,
            status: call.status,
            condition: call.condition,
            at,
            until: at + self.settings.timing.offer_window,
            completion: self.pairs.get(&call.caller, &call.callee),
        }
    }
}
