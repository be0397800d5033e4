//! What people ask for: complete, uncomplete, refuse.
//!
//! Spec: TAPI `lineCompleteCall`, `lineUncompleteCall`; RFC 6910 §6.2.

use std::sync::Arc;
use std::time::Duration;

use crate::cc::addr::{AddrSpec, Aor};
use crate::cc::agent::{self, NewRequest, Way};
use crate::cc::fork::CallId;
use crate::cc::id::{CceToken, CompletionId};
use crate::cc::line::{Calls, Line, Trigger};
use crate::cc::monitor::{self, Renewal, Wait};
use crate::cc::trust::Peer;
use crate::cc::{Condition, SubscriptionId};
use crate::completion::entry::{Commit, Completion, Ending, Errand, Life, Stage};
use crate::completion::history::{Event, History, Outcome};
use crate::completion::input::{Complete, FailedCall, Mode, Monitors, Offered, Ticket, Which};
use crate::completion::names::Names;
use crate::completion::output::{By, Output};
use crate::completion::record::Roles;
use crate::completion::reject::Reject;
use crate::completion::service::{Route, Service, Turn};
use crate::completion::user::Watch;
use crate::completion::wording::Wording;
use crate::time::Timestamp;

/// Facts about calls and users.
impl Service {
    pub(super) fn on_call_failed(&mut self, call: FailedCall, turn: &mut Turn<'_>) {
        let caller = call.caller.clone();
        let calls_max = self.settings.limits.failed_calls_max;
        let Some(user) = self.users.or_default(&caller) else {
            return;
        };
        user.failed
            .forget(turn.now, self.settings.timing.offer_window);
        user.failed.add(turn.now, call, calls_max);
        self.rekey(&caller, turn);
    }

    pub(super) fn on_call_answered(&mut self, caller: &Aor, callee: &Aor) {
        // R9: it is all the same which of the two has called.
        for (caller, callee) in [(caller, callee), (callee, caller)] {
            if let Some(id) = self.pairs.get(caller, callee) {
                self.on_cc_call_answered(id);
            }
        }
    }

    pub(super) fn on_line(&mut self, user: Aor, line: Line, turn: &mut Turn<'_>) {
        // A report that crossed the wish to hear no more.
        let watch = self.users.get(&user).map(|known| known.watch);
        if watch != Some(Watch::On) {
            return;
        }
        self.wake(&user);
        let Some(known) = self.users.get_mut(&user) else {
            return;
        };
        let before = std::mem::replace(&mut known.line, line);
        let (queue, requests) = (known.has_queue(), known.has_requests());
        let phones_wait = known.phones_wait > 0;
        if known.mail.is_some() {
            self.heed_mailbox(&user, &before, turn);
        }
        if phones_wait {
            self.heed_callers_line(&user, line);
        }
        if requests {
            self.post_agent(user.clone(), agent::Event::Line(line));
        }
        if queue {
            self.post_monitor(user, monitor::Event::Line(line));
        }
    }

    pub(super) fn on_user_gone(&mut self, user: &Aor, turn: &mut Turn<'_>) {
        let mine: Vec<_> = self.of_caller(user).map(|c| c.id).collect();
        for id in mine {
            self.take_back(id, By::Other, None, turn);
        }
        self.post_monitor(user.clone(), monitor::Event::CalleeGone);
        self.empty_mailbox(user, turn);
    }
}

/// The end of the process.
impl Service {
    /// RFC 6665 §4.1.2.3, §4.4.1: neither monitors nor agents elsewhere wait for us in vain.
    pub(super) fn on_stop(&mut self, turn: &mut Turn<'_>) {
        let waiting = |it: &&Completion| it.life != Life::Ended && it.stage != Stage::Calling;
        let waiting = self.completions.values().filter(waiting);
        let waiting: Vec<_> = waiting.map(|it| (it.id, it.roles, it.stage)).collect();
        for (id, roles, stage) in waiting {
            match (roles, stage) {
                (Roles::Monitor, _) => {
                    if let Some((callee, entry)) = self.entry_of(id) {
                        self.post_monitor(callee, monitor::Event::Abandon(entry));
                    }
                }
                // Its call goes on, as all do; or its caller is being rung.
                (Roles::Call, _)
                | (Roles::Agent | Roles::Both, Stage::Recalling | Stage::Calling) => {}
                (Roles::Text, _) | (Roles::Agent | Roles::Both, Stage::Asked | Stage::Queued) => {
                    self.take_back(id, By::Other, None, turn);
                }
            }
        }
    }
}

/// Complete.
impl Service {
    pub(super) fn on_complete(&mut self, complete: &Complete, turn: &mut Turn<'_>) {
        if let Err(reject) = self.try_complete(complete, turn) {
            turn.out.push(Output::Completed {
                ticket: complete.ticket,
                result: Err(reject),
            });
        }
    }

    fn try_complete(&mut self, complete: &Complete, turn: &mut Turn<'_>) -> Result<(), Reject> {
        match complete.mode {
            Mode::Callback | Mode::CampOn => {}
            Mode::Intrude | Mode::Message => return Err(Reject::ModeNotOffered),
        }
        let window = self.settings.timing.offer_window;
        let user = self.users.get(&complete.caller).ok_or(Reject::NoOffer)?;
        let wanted = |call: &FailedCall| complete.call.is_of(call);
        let call = user.failed.newest((turn.now, window), wanted);
        let (at, call) = call.ok_or(Reject::NoOffer)?;
        let call = call.clone();
        if let Some(id) = self.pairs.get(&call.caller, &call.callee) {
            self.again(id, &call, at, complete.ticket, turn);
            return Ok(());
        }
        self.has_room(&call.caller, None)?;
        if complete.mode == Mode::CampOn {
            return self.camp_on((at, call), complete.ticket, turn);
        }
        let plan = Plan::of(&call).ok_or(Reject::NoMonitor)?;
        self.begin((at, call), &plan, complete.ticket, turn.now);
        Ok(())
    }

    /// CC-14, CC-15: a second request for the same callee is the first one, with news.
    fn again(
        &mut self,
        id: CompletionId,
        call: &FailedCall,
        at: Timestamp,
        ticket: Ticket,
        turn: &mut Turn<'_>,
    ) {
        self.wake_pair(id);
        let Some(completion) = self.completions.get_mut(&id) else {
            return;
        };
        completion.wait = call.wait(at, self.settings.timing.unknown_time);
        let caller = completion.caller.clone();
        if let Some(entry) = completion.entry {
            let callee = completion.callee.clone();
            let wait = completion.wait;
            self.post_monitor(callee, monitor::Event::Renew(entry, wait));
        }
        // Who asks is there.
        self.post_agent(caller, agent::Event::Resume(id));
        let Some(completion) = self.completions.get_mut(&id) else {
            return;
        };
        match completion.life {
            Life::Asked => completion.aside().asked.push(ticket),
            Life::Accepted | Life::Ended => {
                let result = Ok(id);
                self.emit(id, Output::Completed { ticket, result }, turn);
            }
        }
    }

    /// Whether another request of this caller may be taken, maybe in place of one.
    pub(super) fn has_room(
        &self,
        caller: &Aor,
        replaced: Option<CompletionId>,
    ) -> Result<(), Reject> {
        if self.is_down {
            return Err(Reject::StoreUnavailable);
        }
        let limits = &self.settings.limits;
        let stays = |it: &&Completion| Some(it.id) != replaced;
        if self.of_caller(caller).filter(stays).count() >= limits.per_caller_max {
            Err(Reject::CallerLimit)
        } else if self.completions.len() >= limits.total_max {
            Err(Reject::ProcessFull)
        } else {
            Ok(())
        }
    }

    /// R6: whether a request of this caller's for this callee would be taken now, or this text for him:
    /// no call is given up for one that would not.
    pub fn would_take(
        &self,
        (caller, callee): (&Aor, &Aor),
        text: Option<&str>,
    ) -> Result<(), Reject> {
        if let Some(text) = text {
            let is_there = self.same_message((caller, callee), text).is_some();
            return if is_there {
                Ok(())
            } else {
                self.has_room_for_text(caller, callee)
            };
        }
        if self.pairs.get(caller, callee).is_some() {
            return Ok(());
        }
        self.has_room(caller, None)?;
        self.has_place(callee)
            .then_some(())
            .ok_or(Reject::QueueFull)
    }

    fn begin(
        &mut self,
        failed: (Timestamp, FailedCall),
        plan: &Plan,
        ticket: Ticket,
        now: Timestamp,
    ) {
        let (at, call) = failed;
        let targets = plan.targets(&call);
        let mut completion = self.new_completion(&call, at, now);
        completion.aside().asked.push(ticket);
        let way = match plan {
            Plan::Own => Way::Loop,
            Plan::Peer { peer, .. } => {
                completion.roles = Roles::Agent;
                completion.aside().peer = Some(peer.clone());
                Way::Peer(peer.clone())
            }
        };
        let id = completion.id;
        let route = Route {
            roles: completion.roles,
            names: Arc::clone(&completion.names),
        };
        let mut monitors = Vec::new();
        for target in targets {
            let subscription = self.next_subscription();
            self.routes.insert(subscription, route.clone());
            monitors.push((subscription, target));
        }
        if completion.roles == Roles::Both {
            completion.entry = monitors.first().map(|(subscription, _)| *subscription);
        }
        self.insert(completion);
        let request = NewRequest {
            id,
            dialled: call.dialled,
            condition: Some(call.condition),
            way,
            monitors,
        };
        self.post_agent(call.caller, agent::Event::Request(request));
    }

    /// A completion of a failed call, with both roles here until somebody says otherwise.
    pub(super) fn new_completion(
        &mut self,
        call: &FailedCall,
        at: Timestamp,
        now: Timestamp,
    ) -> Box<Completion> {
        self.last_order += 1;
        let numbers: Vec<_> = self.of_caller(&call.caller).map(|c| c.number).collect();
        let number = (1..u32::MAX).find(|number| !numbers.contains(number));
        let mut history = History::default();
        history.add(now, Event::Requested(call.condition));
        let names = Names {
            id: CompletionId::random(&mut self.rng),
            cce: CceToken::random(&mut self.rng),
            // Who asks several times is written once.
            caller: self.users.name(&call.caller).clone(),
            callee: self.users.name(&call.callee).clone(),
            wording: Wording::new(&call.from, &call.dialled, &call.identity),
        };
        Box::new(Completion {
            errand: Errand::Callback,
            names: self.blanks.fill(names),
            order: self.last_order,
            number: number.unwrap_or(0),
            roles: Roles::Both,
            entry: None,
            call_id: CallId::default(),
            told: None,
            is_at_rest: false,
            renewal: Renewal::Shortens,
            binding: call.binding,
            wait: call.wait(at, self.settings.timing.unknown_time),
            life: Life::Asked,
            stage: Stage::Asked,
            ends: now + self.settings.monitor.times.service(call.condition),
            recalls: 0,
            recalls_passed: 0,
            suspended: None,
            history,
            commit: Commit::new(),
            aside: None,
        })
    }

    pub(super) fn insert(&mut self, completion: Box<Completion>) {
        if completion.roles == Roles::Text {
            self.put_in_mailbox(&completion);
        } else {
            self.pairs.insert(&completion.names);
            self.tokens.insert(&completion.names);
        }
        self.completions.insert(*completion);
    }
}

/// Resume, uncomplete and refuse.
impl Service {
    /// CC-28
    pub(super) fn on_resume(&mut self, caller: &Aor) {
        let mine: Vec<_> = self.of_caller(caller).map(|c| c.id).collect();
        for id in mine {
            self.post_agent(caller.clone(), agent::Event::Resume(id));
        }
    }

    pub(super) fn on_uncomplete(
        &mut self,
        ticket: Ticket,
        caller: &Aor,
        which: Which,
        turn: &mut Turn<'_>,
    ) {
        let mut mine: Vec<_> = self.of_caller(caller).map(|c| (c.order, c.id)).collect();
        mine.sort_unstable();
        let mut mine = mine.into_iter().map(|(_, id)| id);
        let ids: Vec<_> = match which {
            // Somebody else's is as unknown as none.
            Which::Id(id) => mine.filter(|mine| *mine == id).collect(),
            Which::Last => mine.next_back().into_iter().collect(),
            Which::All => mine.collect(),
            Which::Left(asked) => mine.filter(|id| self.is_unheard(*id, asked)).collect(),
        };
        let Some(last) = ids.last().copied() else {
            turn.out.push(Output::Uncompleted {
                ticket,
                result: Err(Reject::UnknownCompletion),
            });
            return;
        };
        for id in ids.clone() {
            let answer = (id == last).then(|| (ticket, ids.clone()));
            self.take_back(id, By::Caller, answer, turn);
        }
    }

    pub(super) fn on_refuse(&mut self, ticket: Ticket, id: CompletionId, turn: &mut Turn<'_>) {
        let known = self.completions.get(&id);
        if known.is_some_and(|completion| completion.life != Life::Ended) {
            self.take_back(id, By::Other, Some((ticket, vec![id])), turn);
        } else {
            turn.out.push(Output::Uncompleted {
                ticket,
                result: Err(Reject::UnknownCompletion),
            });
        }
    }

    /// Ends one that lives, from whichever end is here.
    pub(super) fn take_back(
        &mut self,
        id: CompletionId,
        by: By,
        answer: Option<(Ticket, Vec<CompletionId>)>,
        turn: &mut Turn<'_>,
    ) {
        let Some(completion) = self.completions.get_mut(&id) else {
            return;
        };
        if completion.ending().is_some() {
            // Asked twice within one input; the first one answers for both.
            if let Some((ticket, ids)) = answer {
                self.answer_uncompleted(ticket, ids, turn);
            }
            return;
        }
        completion.aside().ending = Some(Ending { by, answer });
        if completion.roles == Roles::Text {
            return self.finish(id, Outcome::Cancelled, turn);
        }
        let (caller, callee) = (completion.caller.clone(), completion.callee.clone());
        match (completion.roles, completion.entry) {
            (Roles::Agent | Roles::Both, _) => {
                self.post_agent(caller, agent::Event::Uncomplete(id));
            }
            (Roles::Call | Roles::Monitor, Some(entry)) => {
                self.post_monitor(callee, monitor::Event::Refuse(entry));
            }
            (Roles::Call | Roles::Monitor, None) | (Roles::Text, _) => {}
        }
    }

    /// The entry of a completion in a queue of ours, and whose queue it is.
    pub(super) fn entry_of(&self, id: CompletionId) -> Option<(Aor, SubscriptionId)> {
        let completion = self.completions.get(&id)?;
        Some((completion.callee.clone(), completion.entry?))
    }
}

impl FailedCall {
    /// What has to happen before its caller is recalled.
    ///
    /// R2: a callee of whom nobody knows what calls he has may have hung up unseen.
    pub(super) fn wait(&self, at: Timestamp, unknown_time: Duration) -> Wait {
        let trigger = match (self.condition, self.calls) {
            (Condition::Busy, Calls::Unknown) => Trigger::Seen {
                by: at + unknown_time,
            },
            (condition, calls) => Trigger::after(condition, calls),
        };
        Wait {
            condition: self.condition,
            trigger,
            since: at,
        }
    }
}

/// Which monitors a failed call leads to.
enum Plan {
    Own,
    Peer { peer: Peer, offers: Vec<Offered> },
}

impl Plan {
    /// The peer's, if it offers any that it may name; ours, if the callee is ours; else whoever
    /// answers at the address that was dialled.
    fn of(call: &FailedCall) -> Option<Self> {
        let (peer, offers) = match &call.monitors {
            Monitors::Own => return Some(Self::Own),
            Monitors::Peer { peer, offers } | Monitors::Both { peer, offers } => (peer, offers),
        };
        let named = offers.iter().filter(|o| peer.may_name(&o.uri).is_ok());
        let trusted: Vec<_> = named.cloned().collect();
        let own = matches!(call.monitors, Monitors::Both { .. });
        let asks_blindly = offers.is_empty() && peer.may_name(&call.dialled).is_ok();
        if trusted.is_empty() && own {
            return Some(Self::Own);
        }
        (!trusted.is_empty() || asks_blindly).then(|| Self::Peer {
            peer: peer.clone(),
            offers: trusted,
        })
    }

    /// Where the SUBSCRIBEs go, each address once.
    fn targets(&self, call: &FailedCall) -> Vec<AddrSpec> {
        let offers = match self {
            Self::Own => &[][..],
            Self::Peer { offers, .. } => offers,
        };
        let mut targets = Vec::new();
        for offer in offers {
            // CC-12: with the mode that the monitor offered; without one, what we saw.
            let target = offer.uri.with_m(offer.m.unwrap_or(call.condition));
            if !targets.contains(&target) {
                targets.push(target);
            }
        }
        if targets.is_empty() {
            // CC-11: no monitor is known, so that the original address is asked alone.
            targets.push(call.dialled.clone());
        }
        targets
    }
}
