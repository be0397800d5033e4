//! The agent's side: monitors elsewhere, recalls, CC calls, and what our agents want done.
//!
//! Spec: RFC 6910 §6; RFC 6665 §4.1.

use std::time::Duration;

use crate::cc::addr::{AddrSpec, Aor};
use crate::cc::agent::{
    self, Effect, End, Move, Publication as Wanted, Published, RecallFailure, Why,
};
use crate::cc::id::CompletionId;
use crate::cc::monitor::{self, Found, Newcomer, Renewal, Waiter};
use crate::cc::pace::Medium;
use crate::cc::{Basic, SubscriptionId};
use crate::completion::entry::{Completion, Life, Stage};
use crate::completion::history::{Event, Outcome};
use crate::completion::output::{Call, News, Output, Publication, Recall, Subscription, Via};
use crate::completion::record::Roles;
use crate::completion::reject::Reject;
use crate::completion::service::{Service, Turn, loop_call_id};
use crate::time::Timestamp;

/// What came from monitors elsewhere, and from the calls.
impl Service {
    /// Hands something that came for a subscription of ours to its agent; nothing, if it is unknown.
    pub(super) fn tell_agent(&mut self, subscription: SubscriptionId, event: agent::Event) {
        if let Some(route) = self.routes.get(&subscription)
            && route.roles == Roles::Agent
        {
            let caller = route.names.caller.clone();
            self.post_agent(caller, event);
        }
    }

    pub(super) fn on_forked(&mut self, of: SubscriptionId, subscription: SubscriptionId) {
        let route = self.routes.get(&of).cloned();
        let Some(route) = route.filter(|route| route.roles == Roles::Agent) else {
            return;
        };
        self.routes.insert(subscription, route);
        self.tell_agent(of, agent::Event::Forked(of, subscription));
    }

    /// What the caller did as his phone rang. If the next recall still waits for the store, he did it to
    /// one that was taken back.
    pub(super) fn on_phone(&mut self, id: CompletionId, event: agent::Event) {
        let known = self.completions.get(&id);
        if !known.is_some_and(|completion| completion.commit.holds_recall()) {
            self.on_recall(id, event);
        }
    }

    /// R21: a recall that the store kept back for as long as it would have rung has reached nobody; its
    /// caller has not let it pass, and keeps his place.
    pub(super) fn missed_recalls(&mut self, caller: &Aor, now: Timestamp) -> Vec<agent::Event> {
        let Some(agent) = self.users.get(caller).and_then(|user| user.agent.as_ref()) else {
            return Vec::new();
        };
        let is_over = |id| match agent.stage(id) {
            Some(agent::Stage::Recalling { gives_up }) => gives_up <= now,
            Some(
                agent::Stage::Pending
                | agent::Stage::Queued
                | agent::Stage::Placing { .. }
                | agent::Stage::Calling { .. },
            )
            | None => false,
        };
        let is_missed = |it: &&Completion| it.commit.holds_recall() && is_over(it.id);
        let missed = self.of_caller(caller).filter(is_missed).map(|it| it.id);
        let missed: Vec<_> = missed.collect();
        for id in &missed {
            if let Some(completion) = self.completions.get_mut(id) {
                completion.commit.drop_calls();
            }
        }
        let reaches_nobody = |id| agent::Event::RecallFailed(id, RecallFailure::Unreachable);
        missed.into_iter().map(reaches_nobody).collect()
    }

    /// Something about a recall that rings here.
    pub(super) fn on_recall(&mut self, id: CompletionId, event: agent::Event) {
        if let Some(completion) = self.completions.get(&id) {
            let caller = completion.caller.clone();
            self.post_agent(caller, event);
        }
    }

    pub(super) fn on_cc_call_arrived(&mut self, id: CompletionId) {
        if let Some((callee, entry)) = self.entry_of(id) {
            self.post_monitor(callee, monitor::Event::CcCallArrived(entry));
        }
        self.on_recall(id, agent::Event::CcCallArrived(id));
    }

    pub(super) fn on_cc_call_answered(&mut self, id: CompletionId) {
        self.on_recall(id, agent::Event::CcCallAnswered(id));
        if let Some((callee, entry)) = self.entry_of(id) {
            self.post_monitor(callee, monitor::Event::CcCallAnswered(entry));
        }
    }

    pub(super) fn on_cc_call_diverted(&mut self, id: CompletionId) {
        if let Some((callee, entry)) = self.entry_of(id) {
            self.post_monitor(callee, monitor::Event::CcCallDiverted(entry));
        }
        self.on_recall(id, agent::Event::CcCallFailed(id));
    }

    pub(super) fn on_cc_call_failed(&mut self, id: CompletionId, found: Option<Found>) {
        if let Some((callee, entry)) = self.entry_of(id) {
            self.post_monitor(callee, monitor::Event::CcCallFailed(entry, found));
        }
        self.on_recall(id, agent::Event::CcCallFailed(id));
    }
}

/// What our agents want done.
impl Service {
    pub(super) fn on_agent_effect(&mut self, caller: &Aor, effect: Effect, turn: &mut Turn<'_>) {
        match effect {
            Effect::Subscribe(subscription, target) => {
                self.on_agent_subscribes(subscription, target, turn);
            }
            Effect::Unsubscribe(subscription) => self.on_agent_unsubscribes(subscription, turn),
            Effect::Forget(subscription) => self.on_agent_forgets(subscription, turn),
            Effect::Publish(subscription, wanted) => {
                self.on_agent_publishes(caller, subscription, wanted, turn);
            }
            Effect::Recall(id) => self.on_agent_recalls(id, turn),
            Effect::EndRecall(id, why) => self.emit(id, Output::EndRecall { id, why }, turn),
            Effect::Call(id, target) => self.on_agent_calls(id, target, turn),
            Effect::Moved(id, to) => self.on_request_moved(id, to, turn),
            Effect::Ended(id, end) => self.on_request_ended(id, end, turn),
        }
    }

    fn on_agent_subscribes(
        &mut self,
        subscription: SubscriptionId,
        target: AddrSpec,
        turn: &mut Turn<'_>,
    ) {
        let Some(route) = self.routes.get(&subscription).cloned() else {
            return;
        };
        let Some(completion) = self.completions.get(&route.names.id) else {
            return;
        };
        let service = completion.ends.since(turn.now);
        let Some(peer) = completion.peer() else {
            let newcomer = Newcomer {
                id: subscription,
                caller: completion.caller.clone(),
                call_id: loop_call_id(subscription),
                expires: Some(service.max(self.settings.monitor.times.expires_min)),
                wait: completion.wait,
                medium: Medium::Process,
                renewal: Renewal::Shortens,
                waiter: Waiter::Subscriber,
            };
            self.post_monitor(
                route.names.callee.clone(),
                monitor::Event::Subscribe(newcomer),
            );
            return;
        };
        turn.out.push(Output::Subscribe(Subscription {
            subscription,
            id: route.names.id,
            peer: peer.id,
            target,
            from: completion.wording.from(),
            identity: completion.wording.identity(),
            to: completion.wording.dialled(),
            expires: service,
        }));
    }

    fn on_agent_unsubscribes(&mut self, subscription: SubscriptionId, turn: &mut Turn<'_>) {
        let Some(route) = self.routes.get(&subscription).cloned() else {
            return;
        };
        if route.roles == Roles::Both {
            let zero = Some(Duration::ZERO);
            self.post_monitor(
                route.names.callee.clone(),
                monitor::Event::Refresh(subscription, zero),
            );
        } else {
            self.emit(route.names.id, Output::Unsubscribe { subscription }, turn);
        }
    }

    fn on_agent_forgets(&mut self, subscription: SubscriptionId, turn: &mut Turn<'_>) {
        if let Some(route) = self.routes.remove(&subscription)
            && route.roles == Roles::Agent
        {
            self.emit(route.names.id, Output::Forget { subscription }, turn);
        }
    }

    fn on_agent_publishes(
        &mut self,
        caller: &Aor,
        subscription: SubscriptionId,
        wanted: Wanted,
        turn: &mut Turn<'_>,
    ) {
        let Some(route) = self.routes.get(&subscription).cloned() else {
            return;
        };
        if route.roles == Roles::Both {
            let event = match wanted.basic {
                Basic::Closed => monitor::Event::Suspend(subscription, wanted.because, None),
                Basic::Open => monitor::Event::Resume(subscription),
            };
            self.post_monitor(route.names.callee.clone(), event);
            let done = agent::Event::Published(subscription, Published::Done);
            self.post_agent(caller.clone(), done);
            return;
        }
        let Some(completion) = self.completions.get(&route.names.id) else {
            return;
        };
        let Some(peer) = completion.peer() else {
            return;
        };
        let publication = Output::Publish(Publication {
            subscription,
            peer: peer.id,
            to: wanted.to,
            from: completion.wording.from(),
            identity: completion.wording.identity(),
            basic: wanted.basic,
            expires: wanted.expires,
        });
        self.emit(route.names.id, publication, turn);
    }

    fn on_agent_recalls(&mut self, id: CompletionId, turn: &mut Turn<'_>) {
        let ring = self.settings.agent.ring;
        let Some(completion) = self.completions.get(&id) else {
            return;
        };
        let recall = Output::Recall(Recall {
            id,
            caller: completion.caller.clone(),
            binding: completion.binding,
            callee: completion.callee.clone(),
            dialled: completion.wording.dialled(),
            ring,
        });
        self.emit(id, recall, turn);
    }

    fn on_agent_calls(&mut self, id: CompletionId, target: AddrSpec, turn: &mut Turn<'_>) {
        // A call that a crash cuts off is not placed twice: kept before it leaves.
        self.keep(id);
        let Some(completion) = self.completions.get(&id) else {
            return;
        };
        let via = match completion.peer() {
            Some(peer) => Via::Peer(peer.id),
            None => Via::Own(completion.cce),
        };
        let call = Output::Call(Call {
            id,
            caller: completion.caller.clone(),
            from: completion.wording.from(),
            identity: completion.wording.identity(),
            callee: completion.callee.clone(),
            dialled: completion.wording.dialled(),
            target,
            condition: completion.wait.condition,
            via,
        });
        self.emit(id, call, turn);
    }

    fn on_request_moved(&mut self, id: CompletionId, to: Move, turn: &mut Turn<'_>) {
        let Some(completion) = self.completions.get_mut(&id) else {
            return;
        };
        // The place went over to an agent elsewhere.
        if !completion.roles.has_agent() {
            return;
        }
        let (event, stage) = match to {
            Move::Queued => {
                let is_accepted = completion.life == Life::Accepted;
                self.keep(id);
                if !is_accepted {
                    self.accept(id, turn);
                }
                return;
            }
            Move::Recalling => {
                if completion.roles == Roles::Agent {
                    completion.recalls = completion.recalls.saturating_add(1);
                    self.keep(id);
                }
                (Event::Recalled, Some((Stage::Recalling, News::Recalling)))
            }
            Move::Placing => (Event::CallerAnswered, None),
            Move::Calling => {
                // He called by hand while the store held ours up.
                completion.commit.drop_calls();
                (Event::CallStarted, Some((Stage::Calling, News::Calling)))
            }
            Move::PutBack(why) => {
                completion.commit.drop_calls();
                self.keep_later(id);
                if why == Why::NoCall {
                    self.on_no_call(id);
                }
                let event = match why {
                    Why::CallFailed | Why::CalledByHand | Why::Ended => Event::CallFailed,
                    Why::NoCall => Event::RecallPassed,
                    Why::NotReached(failure) => Event::RecallFailed(failure),
                    Why::Withdrawn => Event::CalleeTaken,
                };
                (event, Some((Stage::Queued, News::Waiting(event))))
            }
            Move::Suspended => {
                self.keep(id);
                (Event::Suspended, None)
            }
            Move::Resumed => {
                self.keep(id);
                (Event::Resumed, None)
            }
        };
        self.story(id, event, stage, turn);
    }

    /// A queue here need not wait for its timer to learn that no call comes.
    fn on_no_call(&mut self, id: CompletionId) {
        if let Some((callee, entry)) = self.entry_of(id) {
            self.post_monitor(callee, monitor::Event::CcCallFailed(entry, None));
        }
    }

    fn on_request_ended(&mut self, id: CompletionId, end: End, turn: &mut Turn<'_>) {
        let Some(completion) = self.completions.get_mut(&id) else {
            return;
        };
        if !completion.roles.has_agent() {
            return;
        }
        let outcome = match end {
            End::Answered => Outcome::Completed,
            End::Expired => Outcome::Expired,
            End::Uncompleted => Outcome::Cancelled,
            End::Failed(_) | End::MonitorEnded | End::RecallsUsedUp => Outcome::Refused,
        };
        if completion.life == Life::Asked {
            let reject = match end {
                End::Failed(status) => Reject::of_monitor(status),
                End::Uncompleted => Reject::UnknownCompletion,
                End::Answered | End::Expired | End::MonitorEnded | End::RecallsUsedUp => {
                    Reject::NoMonitor
                }
            };
            self.disown(id, reject, turn);
        } else {
            self.finish(id, outcome, turn);
        }
    }
}
