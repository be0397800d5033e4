//! The callee's monitor: the queue of those who wait for one callee.
//!
//! Spec: RFC 6910 §5 (queue model), §7 (monitor behaviour), §9 (event package).
//!
//! ```text
//!                       condition met, callee free, guard over
//!   SUBSCRIBE  +--------+ ------------------------------> +-------+   CC call    +---------+
//!  ----------> | Queued |                                 | Ready | -----------> | Calling |
//!              +--------+ <------------------------------ +-------+   arrives    +---------+
//!                |  ^ |   recall timer, callee engaged,       |                    |  | answered
//!  PUBLISH open, |  | |   PUBLISH closed                      |                    |  v
//!         closed +--+ |                                       |                    | ended
//!                     |    ^----- CC call failed (retain) ----|--------------------+
//!                     +---- unsubscribe, expiry, refusal -----+--> ended
//! ```
//!
//! Invariants, checked after each event:
//! - at most [`Policy::ready_max`] entries are selected, and none that is suspended;
//! - a caller has one entry;
//! - a subscription gets at most three NOTIFYs in a window, and "ready" is never the third.

use std::time::Duration;

use crate::cc::addr::Aor;
use crate::cc::document::Retention;
use crate::cc::line::{Calls, Line};
use crate::cc::pace::Pace;
use crate::cc::{Condition, RecallState, SubscriptionId};
use crate::time::Timestamp;

mod cce;
mod event;
mod policy;
mod rest;
mod steps;

use cce::{Cce, Owed};

pub use cce::{Availability, Newcomer, Place, Renewal, Stage, Wait, Waiter};
pub use event::{
    Because, Context, Effect, End, Event, Found, Lifetime, Move, Notice, Reason, Refusal, Why,
};
pub use policy::{Policy, Times};
pub use rest::Waiting;

/// The queue of one callee.
#[derive(Debug)]
pub struct Monitor {
    line: Line,
    /// In the order of their coming.
    entries: Vec<Cce>,
    /// Ended, and the last NOTIFY has to wait.
    leaving: Vec<Leaving>,
    /// Until when a change to free may be the end of a CC call that failed.
    aftermath: Timestamp,
    /// Such a change.
    own_edge: Option<Timestamp>,
}

#[derive(Debug)]
struct Leaving {
    id: SubscriptionId,
    reason: Reason,
    pace: Pace,
}

impl Monitor {
    /// An empty queue.
    pub fn new(line: Line) -> Self {
        Self {
            line,
            entries: Vec::new(),
            leaving: Vec::new(),
            aftermath: Timestamp::START,
            own_edge: None,
        }
    }

    /// Takes in one fact.
    pub fn handle(
        &mut self,
        now: Timestamp,
        event: Event,
        context: &mut Context<'_>,
        out: &mut Vec<Effect>,
    ) {
        self.trace(&event);
        let mut turn = Turn {
            now,
            policy: context.policy,
            out,
        };
        match event {
            Event::Line(line) => self.on_line(line, &mut turn),
            Event::Subscribe(newcomer) => self.on_subscribe(newcomer, &mut turn),
            Event::TakeUp(newcomer, place) => {
                self.enter(Cce::revived(newcomer, &place, now));
            }
            Event::Renew(id, wait) => self.on_renew(id, wait),
            Event::Refresh(id, asked) => self.on_refresh(id, asked, &mut turn),
            Event::Lost(id) => self.end(id, End::Lost, &mut turn),
            Event::Suspend(id, because, until) => self.on_suspend(id, because, until, &mut turn),
            Event::Resume(id) => self.on_resume(id, &mut turn),
            Event::CcCallArrived(id) => self.on_arrived(id, &mut turn),
            Event::CcCallAnswered(id) => self.end(id, End::Answered, &mut turn),
            Event::CcCallDiverted(id) => self.on_diverted(id, &mut turn),
            Event::CcCallFailed(id, found) => self.on_failed(id, found, &mut turn),
            Event::Refuse(id) => self.end(id, End::Refused, &mut turn),
            Event::Abandon(id) => self.on_abandon(id, &mut turn),
            Event::CalleeGone => self.end_all(End::CalleeGone, &mut turn),
        }
        self.settle(now, context, out);
    }

    /// Acts on what is due at `now`.
    pub fn handle_timeout(
        &mut self,
        now: Timestamp,
        context: &mut Context<'_>,
        out: &mut Vec<Effect>,
    ) {
        self.trace_due(now, context);
        let mut turn = Turn {
            now,
            policy: context.policy,
            out,
        };
        let due: Vec<_> = self.entries.iter().map(|cce| cce.id).collect();
        for id in due {
            self.on_due(id, &mut turn);
        }
        self.settle(now, context, out);
    }

    /// When [`Self::handle_timeout`] next has work to do.
    pub fn poll_timeout(&self, context: &Context<'_>) -> Option<Timestamp> {
        let policy = context.policy;
        let window = policy.times.notify_window;
        let entries = self
            .entries
            .iter()
            .filter_map(|e| e.deadline(&policy.times));
        let leaving = self.leaving.iter().map(|gone| gone.pace.next(window));
        let selects = self
            .entries
            .iter()
            .filter(|_| self.has_room(policy) && !context.gate.is_shut())
            .filter_map(|cce| cce.selectable_at(&self.line, &policy.times))
            .map(|at| at.max(context.gate.opens()));
        entries.chain(leaving).chain(selects).min()
    }

    /// Whether nobody waits and nothing is left to say.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.leaving.is_empty()
    }

    /// How many have a place.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether another caller would get a place.
    pub fn has_place(&self, policy: &Policy) -> bool {
        self.entries.len() < policy.entries_max
    }

    /// The entry of a caller.
    pub fn entry_of(&self, caller: &Aor) -> Option<SubscriptionId> {
        let found = self.entries.iter().find(|cce| cce.caller == *caller);
        found.map(|cce| cce.id)
    }

    /// Where an entry stands.
    pub fn stage(&self, id: SubscriptionId) -> Option<Stage> {
        self.entries.iter().find(|e| e.id == id).map(|e| e.stage)
    }

    /// Entries that are selected: the callee is reserved for them.
    pub fn selected(&self) -> impl Iterator<Item = SubscriptionId> {
        let selected = self.entries.iter().filter(|cce| !cce.is_queued());
        selected.map(|cce| cce.id)
    }
}

/// What a reaction needs beside the queue.
struct Turn<'t> {
    now: Timestamp,
    policy: &'t Policy,
    out: &'t mut Vec<Effect>,
}

/// The reactions.
impl Monitor {
    fn on_subscribe(&mut self, newcomer: Newcomer, turn: &mut Turn<'_>) {
        let id = newcomer.id;
        let times = &turn.policy.times;
        let asked = newcomer.expires.unwrap_or(Times::DEFAULT_DURATION);
        // CC-55, CC-56: what is asked for, up to the end of the service.
        let service = times.service(newcomer.wait.condition);
        let granted = asked.min(service);
        let ends = turn.now + service;
        let same = |cce: &Cce| cce.caller == newcomer.caller;
        let twin = self.entries.iter().position(same);
        let is_brief = !asked.is_zero() && asked < times.expires_min;
        // A call costs no messages while it waits.
        let is_too_brief = is_brief && newcomer.waiter == Waiter::Subscriber;
        let refusal = match twin.and_then(|at| self.entries.get(at)) {
            Some(twin) if twin.keeps_from(&newcomer).is_some() => twin.keeps_from(&newcomer),
            _ if is_too_brief => Some(Refusal::TooBrief),
            // CC-60: full for now; who has a place already may have it again.
            None if !self.has_place(turn.policy) => Some(Refusal::Full),
            Some(_) | None => None,
        };
        if let Some(refusal) = refusal {
            turn.out.push(Effect::Refuse(id, refusal));
            return;
        }
        if asked.is_zero() {
            // A look at a queue in which he has no place: one NOTIFY, and it is over.
            self.leaving.push(Leaving::new(id, Reason::Timeout));
        } else if let Some(twin) = twin.and_then(|at| self.entries.get_mut(at)) {
            let old = twin.take_over(&newcomer, (turn.now + granted, ends), &self.line);
            turn.out.push(Effect::TookOver(old.id, id));
            self.leaving.push(old);
        } else {
            self.enter(Cce::new(newcomer, turn.now + granted, ends));
            let place = self.entries.len();
            turn.out.push(Effect::Moved(id, Move::Queued(place)));
        }
        turn.out.push(Effect::Accept(id, granted));
    }

    /// Most queues have one entry, which a vector that grows as it likes gives the room of four.
    fn enter(&mut self, cce: Cce) {
        self.entries.reserve_exact(1);
        self.entries.push(cce);
    }

    fn on_renew(&mut self, id: SubscriptionId, wait: Wait) {
        let line = self.line;
        if let Some(cce) = self.find(id)
            && cce.is_queued()
        {
            cce.wait_for(wait, &line);
        }
    }

    fn on_refresh(&mut self, id: SubscriptionId, asked: Option<Duration>, turn: &mut Turn<'_>) {
        let now = turn.now;
        let brief = turn.policy.times.expires_min;
        let asked = asked.unwrap_or(Times::DEFAULT_DURATION);
        let Some(cce) = self.find(id) else {
            turn.out.push(Effect::Refuse(id, Refusal::Unknown));
            return;
        };
        let remaining = cce.remaining(now);
        if asked.is_zero() {
            turn.out.push(Effect::Accept(id, Duration::ZERO));
            self.end(id, End::Unsubscribed, turn);
        } else if asked < brief.min(remaining) {
            turn.out.push(Effect::Refuse(id, Refusal::TooBrief));
        } else {
            // CC-59: a refresh never lengthens.
            let granted = asked.min(remaining);
            cce.expires = now + granted;
            cce.owed = Owed::Notify;
            turn.out.push(Effect::Accept(id, granted));
        }
    }

    /// CC-63: a selection that the callee's own call has overtaken is withdrawn, its place kept.
    fn on_line(&mut self, line: Line, turn: &mut Turn<'_>) {
        self.rest_after_refusal(&line, turn.now, &turn.policy.times);
        self.line = self.without_own_edge(line, turn.now);
        if !self.line.refuses_calls(turn.now) {
            return;
        }
        // What took the callee may be a recall of his own, whose end is no edge: who waits for each
        // other would be rung twice in a moment.
        let rests_until = turn.now + turn.policy.times.guard;
        for cce in &mut self.entries {
            if matches!(cce.stage, Stage::Ready { .. }) {
                cce.rests_until = cce.rests_until.max(rests_until);
                cce.put_back(Why::CalleeTaken, turn.out);
            }
        }
    }

    /// The end of a CC call that nobody answered is no sign that the callee finished a call.
    fn without_own_edge(&mut self, mut line: Line, now: Timestamp) -> Line {
        let calling = self
            .entries
            .iter()
            .any(|cce| matches!(cce.stage, Stage::Calling { .. }));
        let is_new = line.freed > self.line.freed;
        if is_new && line.freed > line.talked && (calling || now < self.aftermath) {
            self.own_edge = line.freed;
        }
        if line.freed.is_some() && line.freed == self.own_edge {
            line.freed = self.line.freed;
        }
        line
    }

    /// CC-04, CC-05, CC-50: an unavailable caller is not selected, and not any longer.
    fn on_suspend(
        &mut self,
        id: SubscriptionId,
        because: Because,
        until: Option<Timestamp>,
        turn: &mut Turn<'_>,
    ) {
        let Some(cce) = self.find(id) else { return };
        if !cce.is_suspended() {
            turn.out.push(Effect::Moved(id, Move::Suspended));
        }
        cce.availability = Availability::Suspended { until };
        if matches!(cce.stage, Stage::Ready { .. }) {
            match because {
                Because::LetPass => cce.passed += 1,
                Because::Unavailable => {}
            }
            cce.put_back(Why::Suspended, turn.out);
            self.end_if_used_up(id, Why::Suspended, turn);
        }
    }

    /// CC-51: the queue runs again afterwards, as after every event.
    fn on_resume(&mut self, id: SubscriptionId, turn: &mut Turn<'_>) {
        if let Some(cce) = self.find(id)
            && cce.is_suspended()
        {
            cce.availability = Availability::Available;
            turn.out.push(Effect::Moved(id, Move::Resumed));
        }
    }

    /// CC-43: the recall timer stops when the CC call arrives; only a selected caller has one. Where a
    /// surer one comes, its time is the one that counts.
    fn on_arrived(&mut self, id: SubscriptionId, turn: &mut Turn<'_>) {
        let gives_up = turn.now + turn.policy.times.cc_call_max;
        let Some(cce) = self.find(id).filter(|cce| !cce.is_queued()) else {
            return;
        };
        let before = std::mem::replace(&mut cce.stage, Stage::Calling { gives_up });
        if let Stage::Ready { .. } = before {
            turn.out.push(Effect::Moved(id, Move::Calling));
        }
    }

    fn on_abandon(&mut self, id: SubscriptionId, turn: &mut Turn<'_>) {
        let cce = self.find(id);
        if cce.is_some_and(|cce| !matches!(cce.stage, Stage::Calling { .. })) {
            self.end(id, End::CalleeGone, turn);
        }
    }

    fn on_diverted(&mut self, id: SubscriptionId, turn: &mut Turn<'_>) {
        let found = Found {
            condition: Condition::NoReply,
            calls: Calls::Free,
        };
        self.call_came_to_nothing(id, Some(found), Why::Diverted, turn);
    }

    /// CC-45: back to the queue, to be selected again after the callee's next change.
    fn on_failed(&mut self, id: SubscriptionId, found: Option<Found>, turn: &mut Turn<'_>) {
        self.call_came_to_nothing(id, found, Why::CallFailed, turn);
    }

    fn call_came_to_nothing(
        &mut self,
        id: SubscriptionId,
        found: Option<Found>,
        why: Why,
        turn: &mut Turn<'_>,
    ) {
        let now = turn.now;
        let (line, unknown) = (self.line, turn.policy.times.unknown);
        let Some(cce) = self.find(id) else { return };
        if let Some(found) = found {
            cce.wait.meet(found, (&line, now), unknown);
        }
        cce.wait.since = now;
        if !cce.is_queued() {
            cce.failed = cce.failed.saturating_add(1);
            cce.put_back(why, turn.out);
            self.aftermath = now + turn.policy.times.aftermath;
            self.end_if_used_up(id, why, turn);
        }
        // What the callee did before is used up for everybody: the next caller would find him as
        // this one did.
        if found.is_some() {
            for cce in self.entries.iter_mut().filter(|cce| cce.is_queued()) {
                cce.wait.since = now;
            }
        }
    }

    fn on_due(&mut self, id: SubscriptionId, turn: &mut Turn<'_>) {
        let now = turn.now;
        let rests_until = now + turn.policy.times.rest;
        let Some(cce) = self.find(id) else { return };
        if let Availability::Suspended { until: Some(until) } = cce.availability
            && until <= now
        {
            cce.availability = Availability::Available;
            turn.out.push(Effect::Moved(id, Move::Resumed));
        }
        match cce.stage {
            Stage::Calling { gives_up } if gives_up <= now => self.on_failed(id, None, turn),
            Stage::Ready { .. } | Stage::Queued if cce.expires <= now => {
                let end = if cce.was_let_lapse(now) {
                    End::Unsubscribed
                } else {
                    End::Expired
                };
                self.end(id, end, turn);
            }
            Stage::Ready { until } if until <= now => {
                // CC-44: its own place is behind those who did not let a recall pass.
                cce.passed = cce.passed.saturating_add(1);
                cce.rests_until = rests_until;
                cce.put_back(Why::RecallPassed, turn.out);
                self.end_if_used_up(id, Why::RecallPassed, turn);
            }
            Stage::Queued | Stage::Ready { .. } | Stage::Calling { .. } => {}
        }
    }

    /// After a recall that came to nothing: the end, if there is no next one.
    fn end_if_used_up(&mut self, id: SubscriptionId, why: Why, turn: &mut Turn<'_>) {
        let policy = turn.policy;
        let Some(cce) = self.find(id) else { return };
        let end = if u32::from(cce.passed) + u32::from(cce.failed) >= policy.recalls_max {
            End::RecallsUsedUp
        } else if policy.retention == Retention::None && why != Why::Suspended {
            // CC-44: without retention the first recall is the only one.
            End::NotRetained
        } else if cce.expires <= turn.now {
            End::Expired
        } else {
            return;
        };
        self.end(id, end, turn);
    }
}

/// What follows each event.
impl Monitor {
    fn settle(&mut self, now: Timestamp, context: &mut Context<'_>, out: &mut Vec<Effect>) {
        let times = &context.policy.times;
        self.tell(now, times, out);
        // CC-47, CC-51: whatever has ended or come, the queue runs.
        self.select(now, context, out);
        self.tell(now, times, out);
        self.check(context.policy);
    }

    /// CC-38, CC-41: every change is told, as soon as the pace allows.
    fn tell(&mut self, now: Timestamp, times: &Times, out: &mut Vec<Effect>) {
        self.leaving.retain(|gone| {
            let waits = gone.pace.next(times.notify_window) > now;
            if !waits {
                let life = Lifetime::Terminated(gone.reason);
                // Peers that read a last NOTIFY as any other miss a state in it.
                let state = RecallState::Queued;
                out.push(Effect::Notify(gone.id, Notice { state, life }));
            }
            waits
        });
        for cce in &mut self.entries {
            if cce.notify_at(times).is_some_and(|at| at <= now) {
                cce.owed = Owed::Nothing;
                cce.pace.record(now);
                let life = Lifetime::Active(cce.expires.since(now));
                let state = cce.recall_state();
                out.push(Effect::Notify(cce.id, Notice { state, life }));
            }
        }
    }

    /// Recalls those whose turn it is: the fewest recalls let pass, then the oldest, so that who
    /// ignores recalls blocks nobody, and a busy callee costs nobody his place.
    fn select(&mut self, now: Timestamp, context: &mut Context<'_>, out: &mut Vec<Effect>) {
        let times = &context.policy.times;
        while self.has_room(context.policy) && context.gate.opens() <= now {
            let may = |cce: &&mut Cce| {
                let at = cce.selectable_at(&self.line, times);
                at.is_some_and(|at| at <= now)
            };
            let next = self.entries.iter_mut().filter(may);
            let Some(cce) = next.min_by_key(|cce| cce.passed) else {
                return;
            };
            context.gate.record(now);
            // CC-42: the recall timer runs from the moment the recall is notified.
            cce.stage = Stage::Ready {
                until: now + times.recall,
            };
            cce.owed = Owed::Notify;
            out.push(Effect::Moved(cce.id, Move::Selected));
        }
    }

    fn has_room(&self, policy: &Policy) -> bool {
        self.selected().count() < policy.ready_max
    }

    /// CC-06: what is known of the caller's presence goes with the entry.
    fn end(&mut self, id: SubscriptionId, end: End, turn: &mut Turn<'_>) {
        let Some(at) = self.entries.iter().position(|cce| cce.id == id) else {
            return;
        };
        let cce = self.entries.remove(at);
        turn.out.push(Effect::Ended(id, end));
        if let Some(reason) = end.reason() {
            self.leaving.push(Leaving {
                id,
                reason,
                pace: cce.pace,
            });
        }
    }

    /// CC-37: what can no longer be recalled is ended.
    fn end_all(&mut self, end: End, turn: &mut Turn<'_>) {
        let ids: Vec<_> = self.entries.iter().map(|cce| cce.id).collect();
        for id in ids {
            self.end(id, end, turn);
        }
    }

    fn find(&mut self, id: SubscriptionId) -> Option<&mut Cce> {
        self.entries.iter_mut().find(|cce| cce.id == id)
    }

    fn check(&self, policy: &Policy) {
        assert!(
            self.selected().count() <= policy.ready_max,
            "too many recalls"
        );
        let ready = |cce: &Cce| matches!(cce.stage, Stage::Ready { .. });
        assert!(
            !self.entries.iter().any(|e| e.is_suspended() && ready(e)),
            "a suspended entry is ready"
        );
    }
}

impl Leaving {
    fn new(id: SubscriptionId, reason: Reason) -> Self {
        Self {
            id,
            reason,
            pace: Pace::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::time::Duration;

    use super::*;
    use crate::cc::line::Trigger;
    use crate::cc::pace::{Gate, Medium};

    const ALICE: SubscriptionId = SubscriptionId(1);
    const CAROL: SubscriptionId = SubscriptionId(2);
    const DAVE: SubscriptionId = SubscriptionId(3);

    /// A queue, what it shares, and the time.
    struct Bench {
        monitor: Monitor,
        policy: Policy,
        gate: Gate,
        now: Timestamp,
        line: Line,
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn ccbs(since: Timestamp) -> Wait {
        Wait {
            condition: Condition::Busy,
            trigger: Trigger::Freed,
            since,
        }
    }

    const BUSY: Found = Found {
        condition: Condition::Busy,
        calls: Calls::Engaged,
    };
    const REJECTS: Found = Found {
        condition: Condition::Busy,
        calls: Calls::Free,
    };

    impl Bench {
        /// A callee on a call, and nobody waiting.
        fn new(policy: Policy) -> Self {
            let line = Line {
                calls: Calls::Engaged,
                registered: Some(Timestamp::START),
                ..Line::UNKNOWN
            };
            Self {
                monitor: Monitor::new(line),
                policy,
                gate: Gate::new(10),
                now: Timestamp::START + seconds(100),
                line,
            }
        }

        fn step(&mut self, event: Event) -> Vec<Effect> {
            let mut out = Vec::new();
            let mut context = Context {
                policy: &self.policy,
                gate: &mut self.gate,
            };
            self.monitor.handle(self.now, event, &mut context, &mut out);
            out
        }

        /// Lets time pass; everything that falls due on the way happens.
        fn pass(&mut self, time: Duration) -> Vec<Effect> {
            let end = self.now + time;
            let mut out = Vec::new();
            let mut context = Context {
                policy: &self.policy,
                gate: &mut self.gate,
            };
            let mut turns = 0;
            while let Some(due) = self
                .monitor
                .poll_timeout(&context)
                .filter(|due| *due <= end)
            {
                turns += 1;
                assert!(turns < 1_000, "a deadline does not go away");
                self.now = self.now.max(due);
                self.monitor
                    .handle_timeout(self.now, &mut context, &mut out);
            }
            self.now = end;
            out
        }

        fn newcomer(&self, id: SubscriptionId) -> Newcomer {
            Newcomer {
                medium: Medium::Network,
                renewal: Renewal::Shortens,
                waiter: Waiter::Subscriber,
                id,
                caller: Aor::new(&format!("sip:{}@a.example", id.0)),
                call_id: (&*format!("call-{}", id.0)).into(),
                expires: None,
                wait: ccbs(self.now),
            }
        }

        fn subscribe(&mut self, id: SubscriptionId) -> Vec<Effect> {
            let newcomer = self.newcomer(id);
            self.step(Event::Subscribe(newcomer))
        }

        /// She has waited since before the process began, and nobody knows of Bob.
        fn reloads_alice(&mut self) {
            let by = self.now + seconds(300);
            let reloaded = Newcomer {
                wait: Wait {
                    trigger: Trigger::Seen { by },
                    ..ccbs(self.now)
                },
                ..self.newcomer(ALICE)
            };
            self.step(Event::Subscribe(reloaded));
        }

        fn line(&mut self, line: Line) -> Vec<Effect> {
            self.line = line;
            self.step(Event::Line(line))
        }

        fn engaged(&mut self) -> Vec<Effect> {
            self.line(Line {
                calls: Calls::Engaged,
                ..self.line
            })
        }

        /// The callee's last call ends, and it was one that he talked on.
        fn hangs_up(&mut self) -> Vec<Effect> {
            self.line(Line {
                calls: Calls::Free,
                freed: Some(self.now),
                talked: Some(self.now),
                ..self.line
            })
        }

        /// The callee's last call ends, and nobody had answered it.
        fn stops_ringing(&mut self) -> Vec<Effect> {
            self.line(Line {
                calls: Calls::Free,
                freed: Some(self.now),
                ..self.line
            })
        }

        /// These wait, in this order, and the first one is recalled.
        fn with_recall(waiting: &[SubscriptionId]) -> Self {
            let mut bench = Self::new(Policy::default());
            for id in waiting {
                bench.subscribe(*id);
            }
            bench.pass(seconds(20));
            bench.hangs_up();
            bench.pass(seconds(5));
            assert_eq!(bench.recalled(), waiting.first().copied());
            bench
        }

        /// Where the first caller stands, whatever his subscription is called now.
        fn place_of_alice(&self) -> String {
            let caller = self.newcomer(ALICE).caller;
            let mut entries = self.monitor.entries.iter();
            let Some(cce) = entries.find(|cce| cce.caller == caller) else {
                return "gone".to_owned();
            };
            let stage = match cce.stage {
                Stage::Queued => "Queued",
                Stage::Ready { .. } => "Ready",
                Stage::Calling { .. } => "Calling",
            };
            let mark = if cce.is_suspended() {
                ", suspended"
            } else {
                ""
            };
            [stage, mark].concat()
        }

        fn recalled(&self) -> Option<SubscriptionId> {
            self.monitor.selected().next()
        }
    }

    fn told(out: &[Effect], id: SubscriptionId) -> Vec<(RecallState, Option<Reason>)> {
        let mine = out.iter().filter_map(|effect| match effect {
            Effect::Notify(to, notice) if *to == id => Some(notice),
            Effect::Notify(..)
            | Effect::Accept(..)
            | Effect::Refuse(..)
            | Effect::TookOver(..)
            | Effect::Moved(..)
            | Effect::Ended(..) => None,
        });
        mine.map(|notice| match notice.life {
            Lifetime::Active(_) => (notice.state, None),
            Lifetime::Terminated(reason) => (notice.state, Some(reason)),
        })
        .collect()
    }

    const QUEUED: (RecallState, Option<Reason>) = (RecallState::Queued, None);
    const READY: (RecallState, Option<Reason>) = (RecallState::Ready, None);

    fn over(reason: Reason) -> (RecallState, Option<Reason>) {
        (RecallState::Queued, Some(reason))
    }

    #[test]
    fn a_newcomer_is_accepted_and_told_that_he_is_queued() {
        let mut bench = Bench::new(Policy::default());
        let out = bench.subscribe(ALICE);
        let hour = seconds(3600);
        let notice = Notice {
            state: RecallState::Queued,
            life: Lifetime::Active(hour),
        };
        let expected = [
            // CC-03
            Effect::Moved(ALICE, Move::Queued(1)),
            // CC-54
            Effect::Accept(ALICE, hour),
            Effect::Notify(ALICE, notice),
        ];
        assert_eq!(out, expected);
    }

    #[test]
    fn the_first_in_the_queue_is_recalled_when_the_callee_is_free_and_his_guard_time_over() {
        let mut bench = Bench::new(Policy::default());
        bench.subscribe(ALICE);
        bench.subscribe(CAROL);
        bench.pass(seconds(20));
        bench.hangs_up();
        assert_eq!(bench.pass(Duration::from_millis(4_999)), []);
        let out = bench.pass(Duration::from_millis(1));
        // CC-41
        assert_eq!(told(&out, ALICE), [READY]);
        assert_eq!(told(&out, CAROL), []);
        let until = bench.now + seconds(20);
        // CC-42
        assert_eq!(bench.monitor.stage(ALICE), Some(Stage::Ready { until }));
    }

    #[test]
    fn a_callee_who_calls_in_his_guard_time_is_left_alone() {
        let mut bench = Bench::new(Policy::default());
        bench.subscribe(ALICE);
        bench.pass(seconds(20));
        bench.hangs_up();
        bench.pass(seconds(4));
        bench.engaged();
        // CC-02
        assert_eq!(bench.pass(seconds(60)), []);
        bench.hangs_up();
        assert_eq!(told(&bench.pass(seconds(5)), ALICE), [READY]);
    }

    #[test]
    fn a_callee_who_is_free_all_along_is_not_recalled() {
        let mut bench = Bench::new(Policy::default());
        bench.hangs_up();
        bench.pass(seconds(20));
        bench.subscribe(ALICE);
        // CC-02
        assert_eq!(bench.pass(seconds(600)), []);
    }

    #[test]
    fn recall_moves_on_when_its_timer_runs_out() {
        let mut bench = Bench::with_recall(&[ALICE, CAROL]);
        let out = bench.pass(seconds(20));
        // CC-44
        assert_eq!(told(&out, ALICE), [QUEUED]);
        assert_eq!(told(&out, CAROL), [READY]);
    }

    #[test]
    fn who_lets_a_recall_pass_comes_after_those_who_did_not() {
        let mut bench = Bench::with_recall(&[ALICE, CAROL]);
        bench.pass(seconds(20));
        bench.step(Event::CcCallArrived(CAROL));
        bench.step(Event::CcCallAnswered(CAROL));
        bench.subscribe(DAVE);
        bench.engaged();
        bench.pass(seconds(120));
        bench.hangs_up();
        bench.pass(seconds(5));
        // CC-44
        assert_eq!(bench.recalled(), Some(DAVE));
    }

    #[test]
    fn who_let_a_recall_pass_is_not_recalled_again_at_once() {
        let mut bench = Bench::with_recall(&[ALICE]);
        bench.pass(seconds(20));
        assert_eq!(bench.pass(seconds(59)), []);
        assert_eq!(told(&bench.pass(seconds(1)), ALICE), [READY]);
    }

    #[test]
    fn a_callee_who_takes_another_call_withdraws_the_recall_and_keeps_the_place() {
        let mut bench = Bench::with_recall(&[ALICE, CAROL]);
        let out = bench.engaged();
        // CC-63
        assert_eq!(told(&out, ALICE), [QUEUED]);
        bench.pass(seconds(60));
        bench.hangs_up();
        bench.pass(seconds(5));
        assert_eq!(bench.recalled(), Some(ALICE));
    }

    #[test]
    fn the_recall_timer_stops_when_the_cc_call_arrives() {
        let mut bench = Bench::with_recall(&[ALICE, CAROL]);
        bench.step(Event::CcCallArrived(ALICE));
        bench.engaged();
        // CC-43
        assert_eq!(bench.pass(seconds(60)), []);
        let out = bench.step(Event::CcCallAnswered(ALICE));
        // CC-46
        assert_eq!(out[0], Effect::Ended(ALICE, End::Answered));
        assert_eq!(told(&out, ALICE), [over(Reason::NoResource)]);
        bench.hangs_up();
        // CC-47
        assert_eq!(told(&bench.pass(seconds(5)), CAROL), [READY]);
    }

    #[test]
    fn a_cc_call_that_meets_a_busy_callee_keeps_its_place_and_waits_for_his_next_change() {
        let mut bench = Bench::with_recall(&[ALICE, CAROL]);
        bench.step(Event::CcCallArrived(ALICE));
        bench.engaged();
        let out = bench.step(Event::CcCallFailed(ALICE, Some(BUSY)));
        // CC-45
        assert_eq!(told(&out, ALICE), [QUEUED]);
        bench.pass(seconds(60));
        assert_eq!(bench.recalled(), None);
        bench.hangs_up();
        bench.pass(seconds(5));
        assert_eq!(bench.recalled(), Some(ALICE));
    }

    #[test]
    fn a_callee_who_rejects_is_not_recalled_again_until_he_was_seen_talking() {
        let mut bench = Bench::with_recall(&[ALICE, CAROL]);
        bench.step(Event::CcCallArrived(ALICE));
        bench.engaged();
        bench.step(Event::CcCallFailed(ALICE, Some(REJECTS)));
        bench.pass(seconds(1));
        // The end of the CC call itself.
        bench.stops_ringing();
        // CC-45
        assert_eq!(bench.pass(seconds(600)), [], "nobody is recalled");
        bench.engaged();
        bench.pass(seconds(60));
        bench.hangs_up();
        bench.pass(seconds(5));
        assert_eq!(bench.recalled(), Some(ALICE));
    }

    /// After a restart a callee may talk on a call that nobody here knows, and hang up unseen.
    #[test]
    fn a_busy_callee_of_whom_nothing_is_known_is_tried_again_after_a_while() {
        let mut bench = Bench::with_recall(&[ALICE]);
        bench.step(Event::CcCallArrived(ALICE));
        bench.step(Event::Line(Line::UNKNOWN));
        let found = Found {
            condition: Condition::Busy,
            calls: Calls::Unknown,
        };
        bench.step(Event::CcCallFailed(ALICE, Some(found)));
        bench.pass(seconds(299));
        assert_eq!(bench.recalled(), None);
        bench.pass(seconds(10));
        assert_eq!(bench.recalled(), Some(ALICE));
    }

    #[test]
    fn an_edge_that_the_cc_call_made_stays_uncounted_in_later_reports() {
        let mut bench = Bench::with_recall(&[ALICE, CAROL]);
        bench.step(Event::CcCallArrived(ALICE));
        bench.engaged();
        bench.step(Event::CcCallFailed(ALICE, Some(BUSY)));
        bench.stops_ringing();
        bench.pass(seconds(60));
        bench.step(Event::Line(bench.line));
        assert_eq!(bench.pass(seconds(60)), []);
    }

    #[test]
    fn a_suspended_caller_is_passed_over_and_keeps_his_place() {
        let mut bench = Bench::with_recall(&[ALICE, CAROL, DAVE]);
        let out = bench.step(Event::Suspend(ALICE, Because::Unavailable, None));
        // CC-05, CC-50
        assert_eq!(told(&out, ALICE), [QUEUED]);
        assert_eq!(told(&out, CAROL), [READY]);
        bench.step(Event::CcCallArrived(CAROL));
        bench.step(Event::CcCallAnswered(CAROL));
        bench.pass(seconds(60));
        bench.engaged();
        bench.step(Event::Resume(ALICE));
        bench.hangs_up();
        bench.pass(seconds(5));
        // CC-51
        assert_eq!(bench.recalled(), Some(ALICE));
    }

    #[test]
    fn a_suspended_caller_is_not_recalled_and_a_resumed_one_is_at_once() {
        let mut bench = Bench::new(Policy::default());
        bench.subscribe(ALICE);
        bench.step(Event::Suspend(ALICE, Because::Unavailable, None));
        bench.pass(seconds(20));
        bench.hangs_up();
        // CC-04
        assert_eq!(bench.pass(seconds(60)), []);
        // CC-51
        assert_eq!(told(&bench.step(Event::Resume(ALICE)), ALICE), [READY]);
    }

    #[test]
    fn a_suspension_ends_with_its_publication() {
        let mut bench = Bench::new(Policy::default());
        bench.subscribe(ALICE);
        let until = bench.now + seconds(30);
        bench.step(Event::Suspend(ALICE, Because::Unavailable, Some(until)));
        bench.pass(seconds(10));
        bench.hangs_up();
        assert_eq!(bench.pass(Duration::from_millis(19_999)), []);
        // CC-06
        let out = bench.pass(Duration::from_millis(1));
        assert_eq!(told(&out, ALICE), [READY]);
    }

    #[test]
    fn a_fork_of_a_subscribe_is_refused_as_merged() {
        let mut bench = Bench::new(Policy::default());
        bench.subscribe(ALICE);
        let fork = Newcomer {
            id: CAROL,
            ..bench.newcomer(ALICE)
        };
        // CC-35
        let expected = [Effect::Refuse(CAROL, Refusal::Merged)];
        assert_eq!(bench.step(Event::Subscribe(fork)), expected);
    }

    /// Who subscribed while his own call, which had waited, rang the callee had that call ended.
    #[test]
    fn who_has_a_call_at_the_callee_does_not_subscribe_in_its_place() {
        let mut bench = Bench::new(Policy::default());
        let call = Newcomer {
            waiter: Waiter::Call,
            ..bench.newcomer(ALICE)
        };
        bench.step(Event::Subscribe(call));
        bench.pass(seconds(20));
        bench.hangs_up();
        bench.pass(seconds(5));
        bench.step(Event::CcCallArrived(ALICE));
        let again = |bench: &Bench| Newcomer {
            id: DAVE,
            call_id: "another".into(),
            ..bench.newcomer(ALICE)
        };
        let subscribe = Event::Subscribe(again(&bench));
        assert_eq!(bench.step(subscribe), [Effect::Refuse(DAVE, Refusal::Full)]);
        bench.engaged();
        bench.step(Event::CcCallFailed(ALICE, Some(BUSY)));
        let subscribe = Event::Subscribe(again(&bench));
        assert_eq!(bench.step(subscribe)[0], Effect::TookOver(ALICE, DAVE));
    }

    #[test]
    fn a_second_dialog_of_a_caller_takes_over_his_place() {
        let mut bench = Bench::new(Policy::default());
        bench.subscribe(ALICE);
        bench.subscribe(CAROL);
        bench.pass(seconds(60));
        let again = Newcomer {
            id: DAVE,
            call_id: "another".into(),
            ..bench.newcomer(ALICE)
        };
        let out = bench.step(Event::Subscribe(again));
        // CC-36
        assert_eq!(out[0], Effect::TookOver(ALICE, DAVE));
        assert_eq!(out[1], Effect::Accept(DAVE, seconds(3600)));
        assert_eq!(told(&out, ALICE), [over(Reason::NoResource)]);
        assert_eq!(told(&out, DAVE), [QUEUED]);
        bench.pass(seconds(60));
        bench.hangs_up();
        bench.pass(seconds(5));
        assert_eq!(bench.recalled(), Some(DAVE), "the place went over");
    }

    #[test]
    fn a_full_queue_refuses_the_newest_and_takes_back_who_has_a_place() {
        let mut bench = Bench::new(Policy {
            entries_max: 1,
            ..Policy::default()
        });
        bench.subscribe(ALICE);
        // CC-60
        assert_eq!(
            bench.subscribe(CAROL),
            [Effect::Refuse(CAROL, Refusal::Full)]
        );
        let again = Newcomer {
            id: DAVE,
            call_id: "another".into(),
            ..bench.newcomer(ALICE)
        };
        let out = bench.step(Event::Subscribe(again));
        // CC-36
        assert!(out.contains(&Effect::Accept(DAVE, seconds(3600))));
    }

    #[test]
    fn a_refresh_may_shorten_and_never_lengthens() {
        let mut bench = Bench::new(Policy::default());
        bench.subscribe(ALICE);
        bench.pass(seconds(600));
        let out = bench.step(Event::Refresh(ALICE, Some(seconds(7200))));
        // CC-59
        assert_eq!(out[0], Effect::Accept(ALICE, seconds(3000)));
        assert_eq!(told(&out, ALICE), [QUEUED]);
        let out = bench.step(Event::Refresh(ALICE, Some(seconds(60))));
        assert_eq!(out[0], Effect::Accept(ALICE, seconds(60)));
        let out = bench.step(Event::Refresh(ALICE, None));
        assert_eq!(out[0], Effect::Accept(ALICE, seconds(60)));
    }

    #[test]
    fn the_grant_ends_with_the_service_and_a_brief_one_is_refused() {
        let mut bench = Bench::new(Policy::default());
        let asks = |bench: &Bench, id, time| Newcomer {
            expires: Some(time),
            ..bench.newcomer(id)
        };
        let long = asks(&bench, ALICE, seconds(86_400));
        // CC-56
        let out = bench.step(Event::Subscribe(long));
        assert!(out.contains(&Effect::Accept(ALICE, seconds(3600))));
        let brief = asks(&bench, CAROL, seconds(9));
        assert_eq!(
            bench.step(Event::Subscribe(brief)),
            [Effect::Refuse(CAROL, Refusal::TooBrief)]
        );
    }

    #[test]
    fn a_look_at_the_queue_gets_one_notify_and_no_place() {
        let mut bench = Bench::new(Policy::default());
        let look = Newcomer {
            expires: Some(Duration::ZERO),
            ..bench.newcomer(ALICE)
        };
        let out = bench.step(Event::Subscribe(look));
        assert_eq!(out[0], Effect::Accept(ALICE, Duration::ZERO));
        assert_eq!(told(&out, ALICE), [over(Reason::Timeout)]);
        assert!(bench.monitor.is_empty());
    }

    #[test]
    fn an_unsubscribe_is_confirmed_with_a_last_notify_that_has_a_state() {
        let mut bench = Bench::new(Policy::default());
        bench.subscribe(ALICE);
        let out = bench.step(Event::Refresh(ALICE, Some(Duration::ZERO)));
        assert_eq!(
            out[..2],
            [
                Effect::Accept(ALICE, Duration::ZERO),
                Effect::Ended(ALICE, End::Unsubscribed)
            ]
        );
        // CC-62
        assert_eq!(told(&out, ALICE), [over(Reason::Timeout)]);
        assert!(bench.monitor.is_empty());
        let out = bench.step(Event::Refresh(ALICE, None));
        assert_eq!(out, [Effect::Refuse(ALICE, Refusal::Unknown)]);
    }

    #[test]
    fn an_entry_ends_with_its_service_but_not_during_its_call() {
        let mut bench = Bench::new(Policy::default());
        bench.subscribe(ALICE);
        bench.subscribe(CAROL);
        bench.pass(seconds(3590));
        bench.hangs_up();
        bench.pass(seconds(5));
        bench.step(Event::CcCallArrived(ALICE));
        let out = bench.pass(seconds(5));
        // CC-37
        assert_eq!(told(&out, CAROL), [over(Reason::Timeout)]);
        assert_eq!(told(&out, ALICE), []);
        let out = bench.step(Event::CcCallFailed(ALICE, Some(BUSY)));
        assert_eq!(told(&out, ALICE), [over(Reason::Timeout)]);
    }

    #[test]
    fn everybody_is_told_when_the_callee_is_gone() {
        let mut bench = Bench::with_recall(&[ALICE, CAROL]);
        let out = bench.step(Event::CalleeGone);
        // CC-37
        assert_eq!(told(&out, ALICE), [over(Reason::NoResource)]);
        assert_eq!(told(&out, CAROL), [over(Reason::NoResource)]);
        assert!(bench.monitor.is_empty());
    }

    #[test]
    fn a_withdrawal_is_told_at_once_and_the_next_recall_waits_for_the_window() {
        let mut bench = Bench::new(Policy::default());
        bench.policy.times.guard = Duration::ZERO;
        bench.subscribe(ALICE);
        bench.pass(seconds(1));
        assert_eq!(told(&bench.hangs_up(), ALICE), [READY]);
        bench.pass(seconds(1));
        // CC-66
        assert_eq!(told(&bench.engaged(), ALICE), [QUEUED]);
        bench.pass(seconds(1));
        assert_eq!(bench.hangs_up(), []);
        // CC-67: two of the last ten seconds' NOTIFYs must have left the window.
        assert_eq!(bench.pass(Duration::from_millis(7_999)), []);
        assert_eq!(told(&bench.pass(seconds(1)), ALICE), [READY]);
    }

    #[test]
    fn every_change_of_the_state_is_told() {
        let mut bench = Bench::new(Policy::default());
        let mut out = bench.subscribe(ALICE);
        for _ in 0..2 {
            bench.pass(seconds(60));
            out.extend(bench.hangs_up());
            out.extend(bench.pass(seconds(5)));
            out.extend(bench.engaged());
        }
        // CC-38
        assert_eq!(told(&out, ALICE), [QUEUED, READY, QUEUED, READY, QUEUED]);
    }

    #[test]
    fn no_subscription_gets_a_fourth_notify_in_ten_seconds() {
        let mut bench = Bench::new(Policy::default());
        bench.subscribe(ALICE);
        let mut notifies = Vec::new();
        for _ in 0..40 {
            let mut out = bench.step(Event::Refresh(ALICE, None));
            out.extend(bench.pass(Duration::from_millis(500)));
            let told = told(&out, ALICE).len();
            notifies.extend(std::iter::repeat_n(bench.now, told));
        }
        assert!(notifies.len() >= 5);
        for window in notifies.windows(4) {
            // CC-65
            assert!(window[3].since(window[0]) >= Duration::from_millis(9_500));
        }
    }

    #[test]
    fn the_third_recall_that_comes_to_nothing_is_the_last() {
        let mut bench = Bench::with_recall(&[ALICE]);
        bench.pass(seconds(20));
        bench.pass(seconds(60));
        bench.step(Event::CcCallArrived(ALICE));
        bench.step(Event::CcCallFailed(ALICE, Some(BUSY)));
        bench.engaged();
        bench.pass(seconds(60));
        bench.hangs_up();
        bench.pass(seconds(5));
        assert_eq!(bench.recalled(), Some(ALICE));
        let out = bench.pass(seconds(20));
        assert!(out.contains(&Effect::Ended(ALICE, End::RecallsUsedUp)));
        assert_eq!(told(&out, ALICE), [over(Reason::Rejected)]);
    }

    #[test]
    fn without_retention_the_first_recall_is_the_only_one() {
        for arrives in [true, false] {
            let mut bench = Bench::with_recall(&[ALICE]);
            bench.policy.retention = Retention::None;
            let out = if arrives {
                bench.step(Event::CcCallArrived(ALICE));
                bench.step(Event::CcCallFailed(ALICE, Some(BUSY)))
            } else {
                bench.pass(seconds(20))
            };
            // CC-44
            assert_eq!(told(&out, ALICE), [over(Reason::Probation)]);
        }
    }

    #[test]
    fn an_answer_by_voicemail_leaves_the_caller_waiting_for_the_callee_to_come_back() {
        let mut bench = Bench::with_recall(&[ALICE]);
        bench.step(Event::CcCallArrived(ALICE));
        let out = bench.step(Event::CcCallDiverted(ALICE));
        assert_eq!(told(&out, ALICE), [QUEUED]);
        bench.pass(seconds(60));
        bench.engaged();
        bench.stops_ringing();
        assert_eq!(bench.pass(seconds(60)), []);
        bench.engaged();
        bench.hangs_up();
        assert_eq!(told(&bench.pass(seconds(5)), ALICE), [READY]);
    }

    #[test]
    fn a_lost_cc_call_gives_way_to_the_next_caller() {
        let mut bench = Bench::with_recall(&[ALICE, CAROL]);
        bench.step(Event::CcCallArrived(ALICE));
        let out = bench.pass(seconds(180));
        assert_eq!(told(&out, ALICE), [QUEUED]);
        assert_eq!(told(&out, CAROL), [READY]);
    }

    #[test]
    fn a_subscriber_who_cannot_be_reached_loses_his_place_silently() {
        let mut bench = Bench::with_recall(&[ALICE, CAROL]);
        let out = bench.step(Event::Lost(ALICE));
        assert_eq!(out[0], Effect::Ended(ALICE, End::Lost));
        assert_eq!(told(&out, ALICE), []);
        assert_eq!(told(&out, CAROL), [READY]);
    }

    #[test]
    fn after_a_restart_unknown_lines_count_as_free_when_their_time_is_up() {
        let mut bench = Bench::new(Policy::default());
        bench.line(Line::UNKNOWN);
        bench.reloads_alice();
        assert_eq!(bench.pass(seconds(299)), []);
        assert_eq!(told(&bench.pass(seconds(1)), ALICE), [READY]);
    }

    /// A subscriber who had been told before the restart that it was his turn called just after it, and
    /// Bob, who talked on, was taken for one who had been away when his phone registered.
    #[test]
    fn a_call_too_early_after_a_restart_does_not_make_a_busy_callee_one_who_was_away() {
        let mut bench = Bench::new(Policy::default());
        let away = Line {
            calls: Calls::Free,
            ..Line::UNKNOWN
        };
        bench.line(away);
        bench.reloads_alice();
        bench.step(Event::CcCallArrived(ALICE));
        let nobody = Found {
            condition: Condition::NotLoggedIn,
            calls: Calls::Free,
        };
        bench.step(Event::CcCallFailed(ALICE, Some(nobody)));
        bench.pass(seconds(1));
        let back = Line {
            calls: Calls::Unknown,
            registered: Some(bench.now),
            ..away
        };
        bench.line(back);
        assert_eq!(bench.pass(seconds(100)), []);
        // Who was seen since and is not there now, is away.
        bench.line(Line {
            calls: Calls::Free,
            freed: Some(bench.now),
            ..back
        });
        assert_eq!(told(&bench.pass(seconds(5)), ALICE), [READY]);
        bench.step(Event::CcCallArrived(ALICE));
        bench.line(Line {
            registered: None,
            ..bench.line
        });
        bench.step(Event::CcCallFailed(ALICE, Some(nobody)));
        bench.pass(seconds(10));
        bench.line(Line {
            registered: Some(bench.now),
            ..bench.line
        });
        assert_eq!(told(&bench.pass(seconds(5)), ALICE), [READY]);
    }

    /// The same of one who called twice: the first call found Bob busy, the second one found his phone not
    /// yet there. Her SUBSCRIBEs come in either order.
    #[test]
    fn a_subscription_too_early_after_a_restart_does_not_make_a_busy_callee_one_who_was_away() {
        for order in [[0, 1], [1, 0]] {
            let mut bench = Bench::new(Policy::default());
            bench.line(Line {
                calls: Calls::Free,
                ..Line::UNKNOWN
            });
            let by = bench.now + seconds(300);
            let busy = Wait {
                trigger: Trigger::Seen { by },
                ..ccbs(bench.now)
            };
            bench.pass(seconds(1));
            let away = Wait {
                condition: Condition::NotLoggedIn,
                trigger: Trigger::Registered,
                since: bench.now,
            };
            bench.pass(seconds(1));
            bench.line(Line {
                calls: Calls::Unknown,
                registered: Some(bench.now),
                ..bench.line
            });
            let caller = bench.newcomer(ALICE).caller;
            for (id, wait) in [ALICE, DAVE].into_iter().zip(order) {
                let newcomer = Newcomer {
                    caller: caller.clone(),
                    wait: [busy, away][wait],
                    ..bench.newcomer(id)
                };
                let out = bench.step(Event::Subscribe(newcomer));
                assert_eq!(told(&out, id), [QUEUED]);
            }
            assert_eq!(told(&bench.pass(seconds(100)), DAVE), []);
            assert_eq!(told(&bench.hangs_up(), DAVE), []);
            assert_eq!(told(&bench.pass(seconds(5)), DAVE), [READY]);
        }
    }

    #[test]
    fn nobody_is_recalled_to_a_callee_who_called_for_help() {
        let mut bench = Bench::with_recall(&[ALICE]);
        let hour = bench.now + seconds(3_000);
        let out = bench.line(Line {
            quiet_until: Some(hour),
            ..bench.line
        });
        assert_eq!(told(&out, ALICE), [QUEUED]);
        assert_eq!(bench.pass(seconds(2_999)), []);
        assert_eq!(told(&bench.pass(seconds(1)), ALICE), [READY]);
    }

    #[test]
    fn a_closed_gate_delays_the_recall() {
        let mut bench = Bench::new(Policy::default());
        bench.gate = Gate::new(1);
        bench.subscribe(ALICE);
        bench.pass(seconds(20));
        bench.hangs_up();
        bench.pass(Duration::from_millis(4_500));
        bench.gate.record(bench.now);
        assert_eq!(bench.pass(Duration::from_millis(999)), []);
        assert_eq!(bench.step(Event::Line(bench.line)), []);
        assert_eq!(told(&bench.pass(Duration::from_millis(1)), ALICE), [READY]);
    }

    /// Every state and every event: what is done, and where it leads.
    #[test]
    fn every_event_is_defined_in_every_state() {
        let mut matrix = String::new();
        for (state, setup) in states() {
            let _ = writeln!(matrix, "{state}");
            for event in events() {
                let mut bench = setup();
                let name = name_of(&event);
                let event = at_its_time(event, &bench);
                let out = bench.step(event);
                let mut stage = bench.place_of_alice();
                for effect in out {
                    let _ = write!(stage, "; {}", short(&effect));
                }
                let _ = writeln!(matrix, "  {name:<22} -> {stage}");
            }
        }
        insta::assert_snapshot!(matrix);
    }

    type Setup = fn() -> Bench;

    fn states() -> [(&'static str, Setup); 4] {
        fn queued() -> Bench {
            let mut bench = Bench::new(Policy::default());
            bench.subscribe(ALICE);
            bench.pass(seconds(60));
            bench
        }
        fn suspended() -> Bench {
            let mut bench = queued();
            bench.step(Event::Suspend(ALICE, Because::Unavailable, None));
            bench
        }
        fn ready() -> Bench {
            Bench::with_recall(&[ALICE])
        }
        fn calling() -> Bench {
            let mut bench = ready();
            bench.step(Event::CcCallArrived(ALICE));
            bench
        }
        [
            ("Queued", queued),
            ("Queued, suspended", suspended),
            ("Ready", ready),
            ("Calling", calling),
        ]
    }

    fn events() -> Vec<Event> {
        let free = Line {
            calls: Calls::Free,
            ..Line::UNKNOWN
        };
        let engaged = Line {
            calls: Calls::Engaged,
            ..Line::UNKNOWN
        };
        let bench = Bench::new(Policy::default());
        let twin = |call_id: &str, id| Newcomer {
            id,
            call_id: call_id.into(),
            ..bench.newcomer(ALICE)
        };
        vec![
            Event::Line(free),
            Event::Line(engaged),
            Event::Subscribe(bench.newcomer(CAROL)),
            Event::Subscribe(twin("call-1", CAROL)),
            Event::Subscribe(twin("another", DAVE)),
            Event::Renew(ALICE, ccbs(bench.now)),
            Event::Refresh(ALICE, None),
            Event::Refresh(ALICE, Some(Duration::ZERO)),
            Event::Lost(ALICE),
            Event::Suspend(ALICE, Because::Unavailable, None),
            Event::Suspend(ALICE, Because::LetPass, None),
            Event::Resume(ALICE),
            Event::CcCallArrived(ALICE),
            Event::CcCallAnswered(ALICE),
            Event::CcCallDiverted(ALICE),
            Event::CcCallFailed(ALICE, Some(BUSY)),
            Event::CcCallFailed(ALICE, None),
            Event::Refuse(ALICE),
            Event::Abandon(ALICE),
            Event::CalleeGone,
        ]
    }

    fn name_of(event: &Event) -> String {
        match event {
            Event::Line(line) => format!("{:?}", line.calls),
            Event::Subscribe(newcomer) => match newcomer.id {
                CAROL if newcomer.call_id == "call-2".into() => "Subscribe other".to_owned(),
                CAROL => "Subscribe fork".to_owned(),
                _ => "Subscribe again".to_owned(),
            },
            Event::Refresh(_, Some(_)) => "Unsubscribe".to_owned(),
            Event::Suspend(_, because, _) => format!("Suspend {because:?}"),
            Event::CcCallFailed(_, found) => format!("CcCallFailed {}", found.is_some()),
            Event::TakeUp(..)
            | Event::Renew(..)
            | Event::Refresh(..)
            | Event::Lost(..)
            | Event::Resume(..)
            | Event::CcCallArrived(..)
            | Event::CcCallAnswered(..)
            | Event::CcCallDiverted(..)
            | Event::Refuse(..)
            | Event::Abandon(..)
            | Event::CalleeGone => {
                let name = format!("{event:?}");
                name.split('(').next().unwrap_or_default().to_owned()
            }
        }
    }

    fn at_its_time(event: Event, bench: &Bench) -> Event {
        match event {
            Event::Line(line) if line.calls == Calls::Free => Event::Line(Line {
                calls: Calls::Free,
                freed: Some(bench.now),
                talked: Some(bench.now),
                ..bench.line
            }),
            Event::Line(_) => Event::Line(Line {
                calls: Calls::Engaged,
                ..bench.line
            }),
            Event::Subscribe(..)
            | Event::TakeUp(..)
            | Event::Renew(..)
            | Event::Refresh(..)
            | Event::Lost(..)
            | Event::Suspend(..)
            | Event::Resume(..)
            | Event::CcCallArrived(..)
            | Event::CcCallAnswered(..)
            | Event::CcCallDiverted(..)
            | Event::CcCallFailed(..)
            | Event::Refuse(..)
            | Event::Abandon(..)
            | Event::CalleeGone => event,
        }
    }

    fn short(effect: &Effect) -> String {
        match effect {
            Effect::Accept(id, time) => format!("accept {} for {} s", id.0, time.as_secs()),
            Effect::Refuse(id, refusal) => format!("refuse {} {refusal:?}", id.0),
            Effect::TookOver(from, to) => format!("{} takes over from {}", to.0, from.0),
            Effect::Notify(id, notice) => match notice.life {
                Lifetime::Active(_) => format!("notify {} {:?}", id.0, notice.state),
                Lifetime::Terminated(reason) => {
                    format!("notify {} terminated {}", id.0, reason.as_str())
                }
            },
            Effect::Moved(id, to) => format!("{} {to:?}", id.0),
            Effect::Ended(id, end) => format!("{} ended {end:?}", id.0),
        }
    }
}
