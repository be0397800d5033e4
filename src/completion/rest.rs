//! Requests that only wait: the machines that serve them are there when something happens to them.
//!
//! Spec: DESIGN §6 (what a request that waits may take).
//!
//! A queue in which everybody only waits, and an agent whose requests all do, are made anew from the
//! requests themselves by the next event; whatever more there is to know of them keeps them awake.
//! What a machine at rest is made of is changed only after it was woken.

use std::sync::Arc;

use crate::cc::SubscriptionId;
use crate::cc::addr::Aor;
use crate::cc::agent::{self, Agent, Kept};
use crate::cc::fork::CallId;
use crate::cc::id::CompletionId;
use crate::cc::monitor::{self, Context, Monitor, Place, Policy};
use crate::cc::pace::Medium;
use crate::completion::entry::{Completion, Life};
use crate::completion::names::Pairs;
use crate::completion::record::Roles;
use crate::completion::requests::Completions;
use crate::completion::service::{Route, Service};
use crate::completion::user::{Queue, User};
use crate::ledger::Ledger;
use crate::time::Timestamp;

#[cfg(test)]
thread_local! {
    /// Whether nothing rests, for comparison.
    pub(super) static AWAKE: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Where entries are found.
type Routes = Ledger<SubscriptionId, Route>;

impl Service {
    /// His queue is there, if anybody waits for him.
    pub(super) fn wake_queue(&mut self, callee: &Aor) {
        let Some(user) = self.users.get_mut(callee) else {
            return;
        };
        let entries = user.queue.resting();
        if entries.is_empty() {
            return;
        }
        let found = entries.iter().filter_map(|id| {
            let completion = entered(&self.routes, &self.completions, *id)?;
            completion.as_entry(*id)
        });
        let monitor = Monitor::awake(user.line, found);
        user.queue = Queue::Awake(Box::new(monitor));
    }

    /// His agent is there, if he waits for anybody.
    pub(super) fn wake_agent(&mut self, caller: &Aor) {
        let Some(user) = self.users.get_mut(caller) else {
            return;
        };
        if !std::mem::take(&mut user.rests) {
            return;
        }
        let mut found = Vec::new();
        for id in self.pairs.of_caller(caller) {
            if let Some(completion) = self.completions.get_mut(&id)
                && std::mem::take(&mut completion.is_at_rest)
            {
                found.extend(completion.as_request().map(|it| (completion.order, it)));
            }
        }
        found.sort_unstable_by_key(|(order, _)| *order);
        let found = found.into_iter().map(|(_, waiting)| waiting);
        user.agent = Some(Box::new(Agent::awake(user.line, found)));
    }

    /// The machines of a completion are there.
    pub(super) fn wake_pair(&mut self, id: CompletionId) {
        if let Some(completion) = self.completions.get(&id) {
            let names = Arc::clone(&completion.names);
            self.wake_agent(&names.caller);
            self.wake_queue(&names.callee);
        }
    }

    /// How many machines rest.
    #[cfg(test)]
    pub(super) fn resting(&self) -> usize {
        let users = self.users.iter().map(|(_, user)| user);
        let counts = users
            .map(|user| usize::from(!user.queue.resting().is_empty()) + usize::from(user.rests));
        counts.sum()
    }

    /// Both that a user may have.
    pub(super) fn wake(&mut self, user: &Aor) {
        self.wake_queue(user);
        self.wake_agent(user);
    }
}

/// What is kept of the machines.
impl Service {
    /// Its entry in a queue of ours, with the Call-ID of its subscription.
    pub(super) fn kept_entry(
        &self,
        completion: &Completion,
    ) -> Option<(SubscriptionId, CallId, Place)> {
        let id = completion.entry?;
        let user = self.users.get(&completion.callee)?;
        let (place, call_id) = match &user.queue {
            Queue::Awake(monitor) => monitor.place(id)?,
            resting if !resting.resting().contains(&id) => return None,
            Queue::Empty | Queue::One(_) | Queue::Several(_) => completion.as_entry(id)?.place(),
        };
        Some((id, call_id, place))
    }

    /// What its caller's agent has.
    pub(super) fn kept_request(&self, completion: &Completion) -> Option<Kept> {
        let user = self.users.get(&completion.caller)?;
        if !completion.roles.has_agent() {
            return None;
        }
        match &user.agent {
            Some(agent) => agent.kept(completion.id),
            None if !completion.is_at_rest => None,
            None => Some(completion.as_request()?.kept()),
        }
    }
}

/// Lets what a user has rest, if it only waits.
pub(super) fn lay_to_rest(
    user: &mut User,
    now: Timestamp,
    context: &Context<'_>,
    (routes, completions): (&Routes, &mut Completions),
) {
    #[cfg(test)]
    if AWAKE.get() {
        return;
    }
    lay_queue_to_rest(user, now, context, (routes, completions));
    lay_agent_to_rest(user, completions);
}

/// Lets a queue rest, if all in it only wait.
fn lay_queue_to_rest(
    user: &mut User,
    now: Timestamp,
    context: &Context<'_>,
    (routes, completions): (&Routes, &mut Completions),
) {
    let Some(monitor) = user.queue.awake() else {
        return;
    };
    let Some(waiting) = monitor.waiting(now, &user.line, context) else {
        return;
    };
    let is_known = |waiting: &monitor::Waiting| {
        let completion = entered(routes, completions, waiting.id);
        completion.is_some_and(|completion| completion.tells(waiting))
    };
    if !waiting.iter().all(is_known) {
        return;
    }
    for waiting in &waiting {
        let id = routes.get(&waiting.id).map(|route| route.names.id);
        if let Some(completion) = id.and_then(|id| completions.get_mut(&id)) {
            completion.call_id = waiting.call_id;
            completion.told = waiting.told;
        }
    }
    user.queue = Queue::at_rest(waiting.iter().map(|waiting| waiting.id));
}

/// Lets an agent rest, if all of his requests only wait.
fn lay_agent_to_rest(user: &mut User, completions: &mut Completions) {
    let Some(agent) = &user.agent else {
        return;
    };
    let Some(waiting) = agent.waiting(&user.line) else {
        return;
    };
    let order = |waiting: &agent::Waiting| {
        let completion = completions.get(&waiting.id)?;
        let is_known = completion.as_request().as_ref() == Some(waiting);
        is_known.then_some(completion.order)
    };
    let orders: Option<Vec<u64>> = waiting.iter().map(order).collect();
    if !orders.is_some_and(|orders| orders.is_sorted()) {
        return;
    }
    for waiting in &waiting {
        if let Some(completion) = completions.get_mut(&waiting.id) {
            completion.is_at_rest = true;
            user.rests = true;
        }
    }
    user.agent = None;
}

/// When something is due for what rests of a user's.
pub(super) fn rests_until(
    (aor, user): (&Aor, &User),
    (routes, completions, pairs): (&Routes, &Completions, &Pairs),
) -> Option<Timestamp> {
    let entries = user.queue.resting().iter();
    let entries = entries.filter_map(|id| Some(entered(routes, completions, *id)?.ends));
    let queue = entries.min();
    if !user.rests {
        return queue;
    }
    let requests = pairs.of_caller(aor).filter_map(|id| completions.get(&id));
    let requests = requests.filter(|completion| completion.is_at_rest);
    requests.map(|it| it.ends).chain(queue).min()
}

/// The completion of an entry.
fn entered<'c>(
    routes: &Routes,
    completions: &'c Completions,
    id: SubscriptionId,
) -> Option<&'c Completion> {
    let completion = completions.get(&routes.get(&id)?.names.id)?;
    Some(completion)
}

impl User {
    /// Whether anybody waits for him.
    pub(super) fn has_queue(&self) -> bool {
        matches!(self.queue, Queue::Awake(_)) || !self.queue.resting().is_empty()
    }

    /// Whether he waits for anybody.
    pub(super) fn has_requests(&self) -> bool {
        self.agent.is_some() || self.rests
    }

    /// How many wait for him.
    pub(super) fn queue_len(&self) -> usize {
        self.queue.len()
    }

    /// Whether another caller would get a place.
    pub(super) fn has_place(&self, policy: &Policy) -> bool {
        self.queue_len() < policy.entries_max
    }
}

impl Completion {
    /// Its entry in a queue, as it is while it only waits.
    pub(super) fn as_entry(&self, id: SubscriptionId) -> Option<monitor::Waiting> {
        let medium = match self.roles {
            Roles::Both => Medium::Process,
            Roles::Monitor => Medium::Network,
            Roles::Agent | Roles::Call | Roles::Text => return None,
        };
        let is_entry = self.entry == Some(id) && self.life != Life::Ended;
        is_entry.then(|| monitor::Waiting {
            id,
            caller: self.caller.clone(),
            call_id: self.call_id,
            wait: self.wait,
            expires: self.ends,
            medium,
            told: self.told,
        })
    }

    /// Whether it says all of this entry, but for what it can be told.
    fn tells(&self, waiting: &monitor::Waiting) -> bool {
        let mine = self.as_entry(waiting.id).map(|mine| monitor::Waiting {
            call_id: waiting.call_id,
            told: waiting.told,
            ..mine
        });
        mine.as_ref() == Some(waiting)
    }

    /// The request that its caller's agent has, as it is while it only waits.
    pub(super) fn as_request(&self) -> Option<agent::Waiting> {
        let is_waiting = self.roles == Roles::Both && self.life == Life::Accepted;
        let subscription = self.entry.filter(|_| is_waiting)?;
        Some(agent::Waiting {
            id: self.id,
            dialled: self.wording.dialled(),
            condition: self.wait.condition,
            subscription,
            ends: self.ends,
        })
    }
}
