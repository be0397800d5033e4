//! The completion service: facts in, wishes out.
//!
//! Spec: DESIGN §8, §9; RFC 6910.
//!
//! Invariants:
//! - a caller has at most one request for a callee (CC-14);
//! - each accepted request ends in exactly one [`Outcome`](super::Outcome);
//! - what must survive is kept before it takes effect.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::cc::SubscriptionId;
use crate::cc::addr::Aor;
use crate::cc::agent::{self, Agent};
use crate::cc::capsule::{CallIdentity, Offer, Sealer};
use crate::cc::fork::CallId;
use crate::cc::id::{CceToken, CompletionId};
use crate::cc::line::Line;
use crate::cc::monitor::{self, Context, Monitor};
use crate::cc::pace::Gate;
use crate::completion::agenda::Agenda;
use crate::completion::entry::{Completion, Life, Stage};
use crate::completion::history::History;
use crate::completion::input::{FailedCall, Input, Mode};
use crate::completion::names::{Blanks, Names, Pairs, Tokens};
use crate::completion::output::Output;
use crate::completion::record::{Roles, WallTime};
use crate::completion::requests::Completions;
use crate::completion::rest::{lay_to_rest, rests_until};
use crate::completion::settings::Settings;
use crate::completion::user::{Queue, User, Watch};
use crate::ledger::Ledger;
use crate::named::Named;
use crate::random::Rng;
use crate::time::Timestamp;

/// All completions of a worker.
#[derive(Debug)]
pub struct Service {
    pub(super) settings: Settings,
    pub(super) started: WallTime,
    pub(super) rng: Rng,
    pub(super) sealer: Sealer,
    pub(super) gate: Gate,
    /// Side by side, as completions are.
    pub(super) users: Named<Aor, User>,
    pub(super) completions: Completions,
    pub(super) blanks: Blanks,
    /// The living ones, by caller and callee.
    pub(super) pairs: Pairs,
    /// The living texts, by caller.
    pub(super) notes: BTreeSet<(Aor, CompletionId)>,
    /// The living ones, by the name of their entry.
    pub(super) tokens: Tokens,
    pub(super) routes: Ledger<SubscriptionId, Route>,
    /// The calls whose callers are kept from a failure, and that may wait.
    pub(super) held_calls: BTreeMap<CallIdentity, Option<CompletionId>>,
    /// The request of a SUBSCRIBE that its queue is deciding on.
    pub(super) newcomer: Option<Box<Completion>>,
    /// The completions that wait for the store, by when it is asked after.
    pub(super) unkept: Agenda<CompletionId>,
    /// The users with something to do, by when; each knows his own.
    pub(super) due: Ledger<(Timestamp, Aor), ()>,
    /// Users with failed calls, by when those are looked at.
    pub(super) fading: VecDeque<(Timestamp, Aor)>,
    pub(super) steps: VecDeque<Step>,
    /// Completions that have something to keep, or have ended.
    pub(super) touched: BTreeSet<CompletionId>,
    pub(super) last_subscription: u64,
    pub(super) last_order: u64,
    /// Whether the store keeps nothing for now.
    pub(super) is_down: bool,
}

/// One event for one machine; machines meet only through these.
#[derive(Debug)]
pub(super) enum Step {
    Agent(Aor, agent::Event),
    Monitor(Aor, monitor::Event),
}

/// Where a subscription leads.
#[derive(Clone, Debug)]
pub(super) struct Route {
    /// Which of its ends are here.
    pub(super) roles: Roles,
    pub(super) names: Arc<Names>,
}

/// The time of an input, and where its outputs go.
pub(super) struct Turn<'t> {
    pub(super) now: Timestamp,
    pub(super) out: &'t mut Vec<Output>,
}

/// Most events that one input may cause inside; more means that two machines chase each other.
const STEPS_MAX: usize = 1024;

/// Room for fewer users with failed calls than this is kept.
const FADING_KEPT: usize = 4096;

/// The Call-ID that stands for a request inside the process.
pub(super) fn loop_call_id(subscription: SubscriptionId) -> CallId {
    CallId::new(&subscription.0.to_be_bytes())
}

/// What there is at a moment; all zero after quiet.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Completions, those that are just ending included.
    pub completions: usize,
    /// Subscriptions, those on their way out included.
    pub subscriptions: usize,
    /// Users with a queue, a request or a failed call.
    pub users: usize,
}

/// One completion, as its caller and the operator see it.
#[derive(Clone, Copy, Debug)]
pub struct View<'s> {
    /// Its name.
    pub id: CompletionId,
    /// Its number among its caller's, from 1: for TAPI and for codes.
    pub number: u32,
    /// Its entry's name towards others.
    pub cce: CceToken,
    /// How the call is completed.
    pub mode: Mode,
    /// Who has the two roles.
    pub roles: Roles,
    /// Who waits.
    pub caller: &'s Aor,
    /// For whom.
    pub callee: &'s Aor,
    /// What he dialled, as a URI.
    pub dialled: &'s str,
    /// Where it stands.
    pub stage: Stage,
    /// What the callee is to read, of a message.
    pub text: Option<&'s str>,
    /// When its service ends.
    pub ends: Timestamp,
    /// What happened so far.
    pub history: &'s History,
}

impl Service {
    /// A service without completions; `started` is the calendar's time at [`Timestamp::START`].
    pub fn new(settings: Settings, started: WallTime, mut rng: Rng) -> Self {
        Self {
            sealer: Sealer::new(&mut rng),
            gate: Gate::new(settings.limits.recalls_per_second_max),
            settings,
            started,
            rng,
            users: Named::default(),
            completions: Completions::default(),
            blanks: Blanks::default(),
            pairs: Pairs::default(),
            notes: BTreeSet::new(),
            tokens: Tokens::default(),
            routes: Ledger::default(),
            held_calls: BTreeMap::new(),
            newcomer: None,
            unkept: Agenda::new(),
            due: Ledger::default(),
            fading: VecDeque::new(),
            steps: VecDeque::new(),
            touched: BTreeSet::new(),
            last_subscription: 0,
            last_order: 0,
            is_down: false,
        }
    }

    /// Takes in one fact or wish.
    pub fn handle(&mut self, now: Timestamp, input: Input, out: &mut Vec<Output>) {
        let turn = &mut Turn { now, out };
        match input {
            Input::CallFailed(call) => self.on_call_failed(call, turn),
            Input::CallAnswered { caller, callee } => self.on_call_answered(&caller, &callee),
            Input::Line { user, line } => self.on_line(user, line, turn),
            Input::Resume { caller } => self.on_resume(&caller),
            Input::Stop => self.on_stop(turn),
            Input::CallHeld { call } => self.on_call_held(call),
            Input::CallLost { call, how } => self.on_call_lost(call, how, turn),
            Input::CallReleased { call } => self.on_call_released(call, turn),
            Input::UserGone { user } => self.on_user_gone(&user, turn),
            Input::Complete(complete) => self.on_complete(&complete, turn),
            Input::Leave(leave) => self.on_leave(&leave, turn),
            Input::Delivered { id, callee, how } => self.on_delivered((id, &callee), how, turn),
            Input::Uncomplete {
                ticket,
                caller,
                which,
            } => self.on_uncomplete(ticket, &caller, which, turn),
            Input::Refuse { ticket, id } => self.on_refuse(ticket, id, turn),
            Input::Subscribe(subscribe) => self.on_subscribe(subscribe, turn),
            Input::Refresh {
                subscription,
                expires,
            } => self.on_refresh(subscription, expires, turn),
            Input::NotifyFailed { subscription } => self.on_notify_failed(subscription),
            Input::Publish(publish) => self.on_publish(&publish, turn),
            Input::Accepted {
                subscription,
                expires,
            } => self.tell_agent(subscription, agent::Event::Accepted(subscription, expires)),
            Input::Refused {
                subscription,
                status,
            } => self.tell_agent(subscription, agent::Event::Refused(subscription, status)),
            Input::Forked { of, subscription } => self.on_forked(of, subscription),
            Input::Notified {
                subscription,
                notice,
            } => {
                self.tell_agent(subscription, agent::Event::Notified(subscription, notice));
                self.on_moved(subscription);
            }
            Input::Moved { subscription } => self.on_moved(subscription),
            Input::Published { subscription, how } => {
                self.tell_agent(subscription, agent::Event::Published(subscription, how));
                self.on_moved(subscription);
            }
            Input::RecallAnswered { id } => self.on_phone(id, agent::Event::RecallAnswered(id)),
            Input::RecallFailed { id, why } => {
                self.on_phone(id, agent::Event::RecallFailed(id, why));
            }
            Input::CcCallArrived { id } => self.on_cc_call_arrived(id),
            Input::CcCallAnswered { id } => self.on_cc_call_answered(id),
            Input::CcCallDiverted { id } => self.on_cc_call_diverted(id),
            Input::CcCallFailed { id, found } => self.on_cc_call_failed(id, found),
            Input::Persisted { key, answer } => self.on_persisted(key, answer, turn),
            Input::Loaded { key, stored } => self.on_loaded(key, stored, turn),
            Input::StoreFailed => self.on_store_failed(turn),
            Input::StoreOpened { found } => self.on_store_opened(found, turn),
        }
        self.run(turn);
    }

    /// Acts on what is due at `now`.
    pub fn handle_timeout(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        let turn = &mut Turn { now, out };
        while let Some(next) = self.next_due().filter(|next| *next <= now) {
            // Of the same moment, the store's first.
            if let Some(id) = self.unkept.take_due(next) {
                self.on_commit_due(id, turn);
            } else if let Some(((_, user), ())) = self.due.pop_first() {
                self.on_user_due(&user, turn);
            }
            self.run(turn);
        }
        while let Some((at, user)) = self.fading.pop_front_if(|(at, _)| *at <= now) {
            self.on_faded(at, &user, turn);
        }
        let room = self.fading.capacity();
        if room > FADING_KEPT && self.fading.len() < room / 4 {
            // A busy minute's memory goes back.
            self.fading.shrink_to(self.fading.len() * 2);
        }
    }

    /// When [`Self::handle_timeout`] next has work to do.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        let fading = self.fading.front().map(|(at, _)| *at);
        self.next_due().into_iter().chain(fading).min()
    }

    fn next_due(&self) -> Option<Timestamp> {
        let user = self.due.first().map(|((due, _), ())| *due);
        self.unkept.next().into_iter().chain(user).min()
    }

    /// A name for a subscription that came or that forked.
    pub fn next_subscription(&mut self) -> SubscriptionId {
        self.last_subscription += 1;
        SubscriptionId(self.last_subscription)
    }

    /// The token of a failed call, for its Call-Info.
    pub fn seal(&self, offer: &Offer) -> String {
        self.sealer.seal(offer)
    }

    /// Whether the callee's queue would take another caller; nothing is offered otherwise.
    pub fn has_place(&self, callee: &Aor) -> bool {
        let user = self.users.get(callee);
        let free = user.is_none_or(|user| user.has_place(&self.settings.monitor));
        free && !self.is_down && self.completions.len() < self.settings.limits.total_max
    }

    /// The completion whose cc-URI has this token, as long as it lives.
    pub fn entry(&self, cce: CceToken) -> Option<View<'_>> {
        self.view(self.tokens.get(cce)?)
    }

    /// Who called whom in the call that an offer's token is of; `None` if the token is none of ours.
    pub fn offered(&self, token: &str) -> Option<(Aor, Aor)> {
        let offer = self.sealer.open(token)?;
        Some((offer.caller, offer.callee))
    }

    /// The completion that a callee is reserved for.
    pub fn reserved_for(&self, callee: &Aor) -> Option<CompletionId> {
        let monitor = self.users.get(callee)?.queue.awake()?;
        let route = self.routes.get(&monitor.selected().next()?)?;
        Some(route.names.id)
    }

    /// One completion, as long as it lives.
    pub fn view(&self, id: CompletionId) -> Option<View<'_>> {
        let completion = self.completions.get(&id)?;
        (completion.life != Life::Ended).then(|| View::of(completion))
    }

    /// The caller's last call to this number that failed and may be asked for: to what he dialled, or to
    /// whom it is.
    pub fn failed_call_to(
        &self,
        now: Timestamp,
        caller: &Aor,
        number: &str,
    ) -> Option<CallIdentity> {
        let window = self.settings.timing.offer_window;
        let wanted = |call: &FailedCall| {
            let names = [call.dialled.user(), call.callee.user()];
            names.into_iter().flatten().any(|name| name == number)
        };
        let user = self.users.get(caller)?;
        let (_, call) = user.failed.newest((now, window), wanted)?;
        Some(call.call)
    }

    /// A caller's completions, oldest first.
    pub fn views(&self, caller: &Aor) -> Vec<View<'_>> {
        let mut found: Vec<_> = self.of_caller(caller).collect();
        found.sort_by_key(|completion| completion.order);
        found.into_iter().map(View::of).collect()
    }

    /// Other settings from here on: requests keep the end that they were promised.
    pub fn set_settings(&mut self, settings: Settings) {
        let per_second = settings.limits.recalls_per_second_max;
        if per_second != self.settings.limits.recalls_per_second_max {
            self.gate = Gate::new(per_second);
            self.gate.set_shut(self.is_down);
        }
        self.settings = settings;
    }

    /// What there is at this moment.
    pub fn counts(&self) -> Counts {
        Counts {
            completions: self.completions.len(),
            subscriptions: self.routes.len(),
            users: self.users.len(),
        }
    }

    /// How many completions of each mode are at each stage.
    pub fn stages(&self) -> Vec<(Mode, Stage, usize)> {
        let stages = [
            Stage::Asked,
            Stage::Calling,
            Stage::Queued,
            Stage::Recalling,
        ];
        let mut counts: BTreeMap<(Mode, Stage), usize> = BTreeMap::new();
        for stage in stages {
            counts.insert((Mode::Callback, stage), 0);
        }
        let living = self.completions.values();
        for completion in living.filter(|completion| completion.life != Life::Ended) {
            let kind = (completion.errand.mode(), completion.stage);
            *counts.entry(kind).or_default() += 1;
        }
        let counts = counts.into_iter();
        counts
            .map(|((mode, stage), count)| (mode, stage, count))
            .collect()
    }

    pub(super) fn of_caller(&self, caller: &Aor) -> impl Iterator<Item = &Completion> {
        let first = (caller.clone(), CompletionId::from_bits(0));
        let notes = self.notes.range(first..);
        let notes = notes.take_while(move |(owner, _)| owner == caller);
        let notes = notes.map(|(_, id)| *id);
        let ids = self.pairs.of_caller(caller).chain(notes);
        ids.filter_map(|id| self.completions.get(&id))
    }
}

impl<'s> View<'s> {
    pub(super) fn of(completion: &'s Completion) -> Self {
        Self {
            id: completion.id,
            number: completion.number,
            cce: completion.cce,
            mode: completion.errand.mode(),
            roles: completion.roles,
            caller: &completion.caller,
            callee: &completion.callee,
            dialled: completion.wording.dialled_text(),
            stage: completion.stage,
            text: completion.text().map(|text| &**text),
            ends: completion.ends,
            history: &completion.history,
        }
    }
}

/// How events reach the machines.
impl Service {
    pub(super) fn post_agent(&mut self, caller: Aor, event: agent::Event) {
        self.steps.push_back(Step::Agent(caller, event));
    }

    pub(super) fn post_monitor(&mut self, callee: Aor, event: monitor::Event) {
        self.steps.push_back(Step::Monitor(callee, event));
    }

    pub(super) fn run(&mut self, turn: &mut Turn<'_>) {
        self.run_steps(turn);
        self.commit(turn);
    }

    pub(super) fn run_steps(&mut self, turn: &mut Turn<'_>) {
        let mut steps = 0;
        while let Some(step) = self.steps.pop_front() {
            steps += 1;
            assert!(steps <= STEPS_MAX, "two machines chase each other");
            match step {
                Step::Agent(caller, event) => self.step_agent(&caller, event, turn),
                Step::Monitor(callee, event) => self.step_monitor(&callee, event, turn),
            }
        }
    }

    fn step_monitor(&mut self, callee: &Aor, event: monitor::Event, turn: &mut Turn<'_>) {
        self.wake_queue(callee);
        if let monitor::Event::Subscribe(_) | monitor::Event::TakeUp(..) = event {
            let Some(user) = self.users.or_default(callee) else {
                return;
            };
            if user.queue.awake().is_none() {
                user.queue = Queue::Awake(Box::new(Monitor::new(user.line)));
                user.waited_for = turn.now;
            }
        }
        let user = self.users.get_mut(callee);
        let mut effects = Vec::new();
        if let Some(monitor) = user.and_then(|user| user.queue.awake_mut()) {
            let mut context = Context {
                policy: &self.settings.monitor,
                gate: &mut self.gate,
            };
            monitor.handle(turn.now, event, &mut context, &mut effects);
        }
        for effect in effects {
            self.on_monitor_effect(callee, effect, turn);
        }
        self.rekey(callee, turn);
    }

    fn step_agent(&mut self, caller: &Aor, event: agent::Event, turn: &mut Turn<'_>) {
        self.wake_agent(caller);
        if let agent::Event::Request(_) | agent::Event::TakeUp(..) = event {
            let Some(user) = self.users.or_default(caller) else {
                return;
            };
            let line = user.line;
            user.agent.get_or_insert_with(|| Box::new(Agent::new(line)));
        }
        let mut effects = Vec::new();
        let user = self.users.get_mut(caller);
        if let Some(agent) = user.and_then(|user| user.agent.as_mut()) {
            agent.handle(turn.now, event, &self.settings.agent, &mut effects);
        }
        for effect in effects {
            self.on_agent_effect(caller, effect, turn);
        }
        self.rekey(caller, turn);
    }

    fn on_user_due(&mut self, aor: &Aor, turn: &mut Turn<'_>) {
        let now = turn.now;
        self.wake(aor);
        let missed = self.missed_recalls(aor, now);
        let Some(user) = self.users.get_mut(aor) else {
            return;
        };
        user.due = None;
        let mut queue = Vec::new();
        if let Some(monitor) = user.queue.awake_mut() {
            let mut context = Context {
                policy: &self.settings.monitor,
                gate: &mut self.gate,
            };
            monitor.handle_timeout(now, &mut context, &mut queue);
        }
        let mut requests = Vec::new();
        if let Some(agent) = &mut user.agent {
            for event in missed {
                agent.handle(now, event, &self.settings.agent, &mut requests);
            }
            agent.handle_timeout(now, &self.settings.agent, &mut requests);
        }
        for effect in queue {
            self.on_monitor_effect(aor, effect, turn);
        }
        for effect in requests {
            self.on_agent_effect(aor, effect, turn);
        }
        self.on_mailbox_due(aor, turn);
        self.rekey(aor, turn);
    }

    /// Calls of his have been remembered long enough.
    fn on_faded(&mut self, at: Timestamp, aor: &Aor, turn: &mut Turn<'_>) {
        let window = self.settings.timing.offer_window;
        let user = self.users.get_mut(aor);
        // Somebody of that name who was forgotten meanwhile had another time.
        if let Some(user) = user.filter(|user| user.failed.fades() == Some(at)) {
            user.failed.set_fades(None);
            user.failed.forget(turn.now, window);
            self.rekey(aor, turn);
        }
    }

    /// After a user was touched: his deadline, whether he is watched, whether he is kept at all.
    pub(super) fn rekey(&mut self, aor: &Aor, turn: &mut Turn<'_>) {
        let Some(user) = self.users.get_mut(aor) else {
            return;
        };
        if user.queue.awake().is_some_and(Monitor::is_empty) {
            user.queue = Queue::default();
        }
        user.agent.take_if(|agent| agent.is_empty());
        let context = Context {
            policy: &self.settings.monitor,
            gate: &mut self.gate,
        };
        let found = (&self.routes, &mut self.completions);
        lay_to_rest(user, turn.now, &context, found);
        if let Some(count) = user.mail.as_mut().and_then(|mail| mail.take_lamp()) {
            let user = aor.clone();
            turn.out.push(Output::Lamp { user, count });
        }
        user.mail.take_if(|mail| mail.is_empty());
        let wants = user.wants();
        if user.watch != wants {
            user.watch = wants;
            let user_name = aor.clone();
            turn.out.push(match wants {
                Watch::On => Output::Watch { user: user_name },
                Watch::Off => Output::Unwatch { user: user_name },
            });
            // Nobody tells it any more, so that it would grow old.
            user.line = Line::UNKNOWN;
        }
        let is_waited_for = user.has_queue();
        if std::mem::replace(&mut user.is_waited_for, is_waited_for) != is_waited_for {
            let user = aor.clone();
            turn.out.push(if is_waited_for {
                Output::WaitedFor { user }
            } else {
                Output::Unwaited { user }
            });
        }
        let monitor = user.queue.awake().and_then(|m| m.poll_timeout(&context));
        let agent = user.agent.as_ref().and_then(|agent| agent.poll_timeout());
        let mail = user.mail.as_ref();
        let mail = mail.and_then(|mail| mail.deadline(&user.line));
        let found = (&self.routes, &self.completions, &self.pairs);
        let rests = rests_until((aor, user), found);
        let deadline = [monitor, agent, mail, rests].into_iter().flatten().min();
        if deadline != user.due {
            let before = std::mem::replace(&mut user.due, deadline);
            before.map(|due| self.due.remove(&(due, aor.clone())));
            deadline.map(|due| self.due.insert((due, aor.clone()), ()));
        }
        let fades = user.failed.deadline(self.settings.timing.offer_window);
        if let Some(fades) = fades
            && user.failed.fades().is_none()
        {
            // In their order, so that whoever comes after others may be looked at late.
            let last = self.fading.back().map(|(at, _)| *at);
            let fades = last.into_iter().fold(fades, Timestamp::max);
            user.failed.set_fades(Some(fades));
            self.fading.push_back((fades, aor.clone()));
        }
        if user.is_empty() {
            self.users.remove(aor);
        }
    }
}
