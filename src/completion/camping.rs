//! Camp-on: the caller waits with the call in his hand, in the same queue as all others.
//!
//! Spec: RULES R5; RFC 3261 §21.1.4 (182), RFC 3841 §9.1; TAPI `LINECALLCOMPLMODE_CAMPON`.
//!
//! ```text
//!   CallHeld, complete --> Camp --callee free, guard--> Connect --CcCallAnswered--> completed
//!                            ^------- CcCallFailed: busy again -----|
//!                            |--time, uncomplete, recalls used up--> EndCamp: the failure, with an offer
//!                            |--CallLost (no credentials)----------> a callback, its place kept
//!                            |--CallReleased (he hung up)----------> cancelled
//! ```
//!
//! Nothing of it is kept in the store: the call does not outlive the process.

use std::sync::Arc;

use crate::cc::addr::Aor;
use crate::cc::agent::{self, NewRequest, Way};
use crate::cc::capsule::CallIdentity;
use crate::cc::id::CompletionId;
use crate::cc::line::Trigger;
use crate::cc::monitor::{self, Newcomer, Renewal, Wait, Waiter};
use crate::cc::pace::Medium;
use crate::cc::{Condition, SubscriptionId};
use crate::completion::entry::{Completion, Errand, Life};
use crate::completion::input::{FailedCall, Lost, Monitors, Ticket};
use crate::completion::output::{By, Output};
use crate::completion::record::Roles;
use crate::completion::reject::Reject;
use crate::completion::service::{Route, Service, Turn, loop_call_id};
use crate::time::Timestamp;

impl Service {
    /// Whether `caller` waits for `callee` with a call in his hand: who is waited for like that and
    /// calls back is not made to wait himself, or neither would ever be free.
    pub fn camps_on(&self, caller: &Aor, callee: &Aor) -> bool {
        let id = self.pairs.get(caller, callee);
        let completion = id.and_then(|id| self.completions.get(&id));
        completion.is_some_and(|it| matches!(it.errand, Errand::CampOn))
    }

    /// The request that a call waits for.
    pub fn camp_of(&self, call: CallIdentity) -> Option<CompletionId> {
        self.held_calls.get(&call).copied().flatten()
    }

    pub(super) fn on_call_held(&mut self, call: CallIdentity) {
        self.held_calls.entry(call).or_insert(None);
    }

    pub(super) fn on_call_released(&mut self, call: CallIdentity, turn: &mut Turn<'_>) {
        if let Some(id) = self.held_calls.remove(&call).flatten() {
            self.take_back(id, By::Caller, None, turn);
        }
    }

    /// His request becomes a callback, in the same place of the queue: to the queue he is a subscriber
    /// who takes over from the call.
    pub(super) fn on_call_lost(&mut self, call: CallIdentity, how: Lost, turn: &mut Turn<'_>) {
        let Some(id) = self.held_calls.remove(&call).flatten() else {
            return;
        };
        if let Some((callee, entry)) = self.entry_of(id) {
            let event = match how {
                Lost::Diverted => monitor::Event::CcCallDiverted(entry),
                Lost::NotRepeated => monitor::Event::CcCallFailed(entry, None),
            };
            self.post_monitor(callee, event);
        }
        self.run_steps(turn);
        let subscription = self.next_subscription();
        let Some(completion) = self.completions.get_mut(&id) else {
            return;
        };
        if completion.life == Life::Ended {
            return;
        }
        if how == Lost::Diverted {
            // R9: as if he had let it ring.
            completion.wait = Wait {
                condition: Condition::NoReply,
                trigger: Trigger::Talked,
                since: turn.now,
            };
        }
        let condition = completion.wait.condition;
        completion.errand = Errand::Callback;
        completion.roles = Roles::Both;
        completion.ends = turn.now + self.settings.monitor.times.service(condition);
        let route = Route {
            roles: Roles::Both,
            names: Arc::clone(&completion.names),
        };
        let dialled = completion.wording.dialled();
        let request = NewRequest {
            id,
            dialled: dialled.clone(),
            condition: Some(condition),
            way: Way::Loop,
            monitors: vec![(subscription, dialled)],
        };
        self.post_agent(route.names.caller.clone(), agent::Event::Request(request));
        self.routes.insert(subscription, route);
    }

    /// Whether a subscription that takes over an entry is that of a call that was lost.
    pub(super) fn goes_on_as_callback(&mut self, id: CompletionId, to: SubscriptionId) -> bool {
        let route = self.routes.get(&to);
        let is_own = route.is_some_and(|route| route.roles == Roles::Both);
        if let Some(completion) = self.completions.get_mut(&id).filter(|_| is_own) {
            completion.entry = Some(to);
            self.keep(id);
        }
        is_own
    }

    /// The wish; its answer comes when the queue has taken it.
    pub(super) fn camp_on(
        &mut self,
        (at, call): (Timestamp, FailedCall),
        ticket: Ticket,
        turn: &Turn<'_>,
    ) -> Result<(), Reject> {
        // TAPI: the mode is offered while the call is there.
        if !self.held_calls.contains_key(&call.call) {
            return Err(Reject::ModeNotOffered);
        }
        if let Monitors::Peer { .. } = call.monitors {
            return Err(Reject::NoMonitor);
        }
        let lasts = self.settings.timing.camp_on_max;
        let subscription = self.next_subscription();
        let mut completion = self.new_completion(&call, at, turn.now);
        completion.errand = Errand::CampOn;
        completion.aside().camped = Some(call.call);
        completion.roles = Roles::Call;
        completion.entry = Some(subscription);
        completion.ends = turn.now + lasts;
        completion.aside().asked.push(ticket);
        let route = Route {
            roles: Roles::Call,
            names: Arc::clone(&completion.names),
        };
        self.routes.insert(subscription, route);
        let newcomer = Newcomer {
            id: subscription,
            caller: call.caller,
            call_id: loop_call_id(subscription),
            expires: Some(lasts),
            wait: completion.wait,
            medium: Medium::Process,
            renewal: Renewal::Shortens,
            waiter: Waiter::Call,
        };
        self.newcomer = Some(completion);
        self.post_monitor(call.callee, monitor::Event::Subscribe(newcomer));
        Ok(())
    }

    /// It has a place.
    pub(super) fn begin_camp(&mut self, id: CompletionId, turn: &mut Turn<'_>) {
        if let Some((call, lasts)) = self.camped(id, turn.now) {
            self.held_calls.insert(call, Some(id));
            self.emit(id, Output::Camp { id, call, lasts }, turn);
        }
    }

    /// It is its turn.
    pub(super) fn connect_camped(&mut self, id: CompletionId, turn: &mut Turn<'_>) {
        if let Some((call, _)) = self.camped(id, turn.now) {
            self.emit(id, Output::Connect { id, call }, turn);
        }
    }

    /// Its place is gone.
    pub(super) fn end_camp(&mut self, id: CompletionId, turn: &mut Turn<'_>) {
        if let Some((call, _)) = self.camped(id, turn.now) {
            self.held_calls.remove(&call);
            self.emit(id, Output::EndCamp { call }, turn);
        }
    }

    fn camped(
        &self,
        id: CompletionId,
        now: Timestamp,
    ) -> Option<(CallIdentity, std::time::Duration)> {
        let completion = self.completions.get(&id)?;
        Some((completion.camped()?, completion.ends.since(now)))
    }
}

/// The queue has not taken it.
pub(super) fn refuse_camp(newcomer: Option<Box<Completion>>, reject: Reject, turn: &mut Turn<'_>) {
    for ticket in newcomer
        .into_iter()
        .flat_map(|mut newcomer| newcomer.take_asked())
    {
        let result = Err(reject);
        turn.out.push(Output::Completed { ticket, result });
    }
}
