//! The caller's agent: the requests of one caller, towards monitors here and elsewhere.
//!
//! Spec: RFC 6910 §6; RFC 6665 §4.1 (subscriber).
//!
//! ```text
//!            2xx or NOTIFY           "ready", caller free      answers
//!  +---------+       +--------+ ----------------> +-----------+ ------> +---------+
//!  | Pending | ----> | Queued |                   | Recalling |         | Placing |
//!  +---------+       +--------+ <---------------- +-----------+         +---------+
//!       | refused,     ^  |  "queued", no answer, refused |               |   CC call
//!       | timer N      |  |                               |               v   leaves
//!       v              |  +--> ended: uncomplete, expiry, |         +---------+
//!     ended            |       monitors ended             |         | Calling | --> answered:
//!                      +----------------------------------+-------- +---------+     ended
//!                                                 CC call failed
//! ```
//!
//! Beside its stage a request is open or closed for recalls: closed while the caller is busy with
//! another one (CC-21), could not take his turn, or rests after a recall that he let pass.
//!
//! Invariants, checked after each event: a caller is recalled for one request at a time; a
//! subscription has at most one PUBLISH under way.

use crate::cc::id::CompletionId;
use crate::cc::line::Line;
use crate::cc::monitor::Because;
use crate::cc::{Basic, RecallState, SubscriptionId};
use crate::time::Timestamp;

mod event;
mod leaving;
mod request;
mod rest;
mod steps;

use leaving::{Leaving, Step};
use request::{Hold, Phase, Publishing, Request, Subscription};

pub use event::{
    Effect, End, Event, Life, Move, NewRequest, Notice, Policy, Publication, PublishTo, Published,
    RecallFailure, Resumption, Way, Why,
};
pub use request::{Kept, KeptSubscription, Stage};
pub use rest::Waiting;

/// The requests of one caller.
#[derive(Debug)]
pub struct Agent {
    line: Line,
    requests: Vec<Request>,
    /// Subscriptions whose request is gone.
    leaving: Vec<Leaving>,
}

/// What a reaction needs beside the requests.
struct Turn<'t> {
    now: Timestamp,
    policy: &'t Policy,
    out: &'t mut Vec<Effect>,
}

impl Agent {
    /// A caller without requests.
    pub fn new(line: Line) -> Self {
        Self {
            line,
            requests: Vec::new(),
            leaving: Vec::new(),
        }
    }

    /// Takes in one fact.
    pub fn handle(&mut self, now: Timestamp, event: Event, policy: &Policy, out: &mut Vec<Effect>) {
        self.trace(&event);
        let turn = &mut Turn { now, policy, out };
        match event {
            Event::Line(line) => self.line = line,
            Event::Request(new) => self.on_request(new, turn),
            Event::TakeUp(new, kept) => {
                let request = Request::revived(now, new, kept, policy);
                self.add(request);
            }
            Event::Accepted(id, left) => self.on_accepted(id, now + left, turn),
            Event::Refused(id, status) => self.on_refused(id, status, turn),
            Event::Forked(of, id) => self.on_forked(of, id, turn),
            Event::Notified(id, notice) => self.on_notified(id, &notice, turn),
            Event::Published(id, how) => self.on_published(id, how),
            Event::RecallAnswered(id) => self.on_recall_answered(id, turn),
            Event::RecallFailed(id, why) => self.on_recall_failed(id, why, turn),
            Event::CcCallArrived(id) => self.on_arrived(id, turn),
            Event::CcCallFailed(id) => self.on_call_failed(id, Why::CallFailed, turn),
            Event::CcCallAnswered(id) | Event::Talking(id) => self.on_talking(id, turn),
            Event::Resume(id) => {
                if let Some(request) = self.find(id) {
                    request.hold = None;
                }
            }
            Event::Uncomplete(id) => {
                self.stop_recall(id, Why::Ended, turn);
                self.end(id, End::Uncompleted, turn);
            }
        }
        self.settle(turn);
    }

    /// Acts on what is due at `now`.
    pub fn handle_timeout(&mut self, now: Timestamp, policy: &Policy, out: &mut Vec<Effect>) {
        self.trace_due(now);
        let turn = &mut Turn { now, policy, out };
        let ids: Vec<_> = self.requests.iter().map(|request| request.id).collect();
        for id in ids {
            self.on_due(id, turn);
        }
        self.on_leaving_due(turn);
        self.settle(turn);
    }

    /// When [`Self::handle_timeout`] next has work to do.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        let requests = self.requests.iter().flat_map(|r| self.deadlines(r));
        let leaving = self.leaving.iter().map(|gone| gone.gives_up);
        requests.chain(leaving).min()
    }

    /// Whether nothing is asked for and nothing is left to say.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty() && self.leaving.is_empty()
    }

    /// Whether the caller is busy with one of them.
    fn is_occupied(&self) -> bool {
        self.requests.iter().any(Request::is_active)
    }

    /// Where a request stands.
    pub fn stage(&self, id: CompletionId) -> Option<Stage> {
        let found = self.requests.iter().find(|request| request.id == id);
        found.map(|request| request.stage)
    }

    /// What of a request is to outlive the process.
    pub fn kept(&self, id: CompletionId) -> Option<Kept> {
        let found = self.requests.iter().find(|request| request.id == id);
        found.map(Request::kept)
    }

    fn deadlines(&self, request: &Request) -> impl Iterator<Item = Timestamp> {
        let stage = match request.stage {
            Stage::Pending | Stage::Queued => None,
            Stage::Recalling { gives_up }
            | Stage::Placing { gives_up }
            | Stage::Calling { gives_up } => Some(gives_up),
        };
        // A call under way is not cut off by the end of a subscription.
        let calling = matches!(request.stage, Stage::Placing { .. } | Stage::Calling { .. });
        let subs = request.subscriptions.iter().map(|sub| sub.ends);
        let ends = if calling { None } else { subs.min() };
        let free = self.line.frees_at();
        let hold = match request.hold {
            Some(Hold::Rest { until, .. }) => free.map(|free| free.max(until)),
            Some(Hold::Engaged) => free,
            None if request.shown == Basic::Closed && !self.is_occupied() => free,
            None | Some(Hold::ByHand { .. }) => None,
        };
        [stage, ends, hold].into_iter().flatten()
    }
}

/// Subscriptions.
impl Agent {
    fn on_request(&mut self, new: NewRequest, turn: &mut Turn<'_>) {
        let request = Request::new(turn.now, new, turn.policy);
        for sub in &request.subscriptions {
            // CC-09: to every known monitor.
            let target = request.target(&sub.monitor);
            turn.out.push(Effect::Subscribe(sub.id, target));
        }
        self.add(request);
    }

    /// Most callers have one request, which a vector that grows as it likes gives the room of four.
    fn add(&mut self, request: Request) {
        self.requests.reserve_exact(1);
        self.requests.push(request);
    }

    fn on_accepted(&mut self, id: SubscriptionId, ends: Timestamp, turn: &mut Turn<'_>) {
        if let Some(request) = self.request_of(id) {
            let Some(sub) = request.find(id) else { return };
            match sub.phase {
                // CC-76: timer N runs on until the NOTIFY.
                Phase::Asked => sub.phase = Phase::Answered,
                Phase::Answered | Phase::Live => sub.ends = sub.ends.min(ends),
            }
            self.on_taken(id, turn);
        } else {
            self.unsubscribe_late(id, turn);
        }
    }

    fn on_refused(&mut self, id: SubscriptionId, status: u16, turn: &mut Turn<'_>) {
        self.forget(id, turn);
        if let Some(request) = self.request_of(id) {
            request.last_status = status;
            self.on_over(id, End::MonitorEnded, turn);
        }
    }

    /// CC-19: each fork that answers is a subscription of its own, behind the same request.
    fn on_forked(&mut self, of: SubscriptionId, id: SubscriptionId, turn: &Turn<'_>) {
        let timer_n = turn.now + turn.policy.notify_max;
        let Some(request) = self.request_of(of) else {
            self.leaving.push(Leaving {
                id,
                step: Step::Answer,
                gives_up: timer_n,
            });
            return;
        };
        let Some(monitor) = request.find(of).map(|sub| sub.monitor.clone()) else {
            return;
        };
        let mut sub = Subscription::new(id, monitor, timer_n);
        sub.phase = Phase::Answered;
        request.subscriptions.push(sub);
    }

    fn on_notified(&mut self, id: SubscriptionId, notice: &Notice, turn: &mut Turn<'_>) {
        let now = turn.now;
        let Some(request) = self.request_of(id) else {
            match notice.life {
                Life::Active(_) => self.unsubscribe_late(id, turn),
                Life::TimedOut | Life::Ended => self.forget(id, turn),
            }
            return;
        };
        request.read(now, id, notice);
        match notice.life {
            Life::TimedOut => self.on_over(id, End::Expired, turn),
            Life::Ended => self.on_over(id, End::MonitorEnded, turn),
            Life::Active(_) => {
                // CC-76: a NOTIFY before the 2xx says as much.
                self.on_taken(id, turn);
                match notice.state {
                    Some(RecallState::Ready) => self.on_ready(id, turn),
                    Some(RecallState::Queued) => self.on_queued(id, turn),
                    None => {}
                }
            }
        }
    }

    /// A monitor has the request.
    fn on_taken(&mut self, id: SubscriptionId, turn: &mut Turn<'_>) {
        if let Some(request) = self.request_of(id)
            && request.stage == Stage::Pending
        {
            request.stage = Stage::Queued;
            turn.out.push(Effect::Moved(request.id, Move::Queued));
        }
    }

    /// A subscription is gone; with the last one, its request.
    fn on_over(&mut self, id: SubscriptionId, end: End, turn: &mut Turn<'_>) {
        let Some(request) = self.request_of(id) else {
            return;
        };
        let name = request.id;
        request.subscriptions.retain(|sub| sub.id != id);
        turn.out.push(Effect::Forget(id));
        let was_selected = request.selected == Some(id);
        match request.stage {
            Stage::Pending if request.subscriptions.is_empty() => {
                // CC-20: nobody takes it.
                let status = request.last_status;
                self.end(name, End::Failed(status), turn);
            }
            Stage::Queued if request.subscriptions.is_empty() => self.end(name, end, turn),
            Stage::Recalling { .. } if was_selected => {
                self.stop_recall(name, Why::Withdrawn, turn);
                self.on_idle(name, end, turn);
            }
            // A monitor is left, or the end of the call decides.
            Stage::Pending
            | Stage::Queued
            | Stage::Recalling { .. }
            | Stage::Placing { .. }
            | Stage::Calling { .. } => {}
        }
    }

    /// CC-64: what one monitor wants is done; the others are told that the caller is unavailable.
    fn on_ready(&mut self, id: SubscriptionId, turn: &mut Turn<'_>) {
        let occupied = self.is_occupied();
        let refuses = self.line.refuses_calls(turn.now);
        let gives_up = turn.now + turn.policy.ring;
        let Some(request) = self.request_of(id) else {
            return;
        };
        let Some(sub) = request.find(id) else { return };
        // A recall is one change to "ready": said twice, it rings once.
        let told_open = sub.told == Basic::Open;
        if sub.seen.replace(RecallState::Ready) == Some(RecallState::Ready) || !told_open {
            return;
        }
        if occupied || request.hold.is_some() {
            return;
        }
        if refuses {
            // CC-24: his turn comes while he is on a call: suspended, not lost.
            request.hold = Some(match turn.policy.resumption {
                Resumption::Automatic => Hold::Engaged,
                Resumption::ByHand => Hold::ByHand {
                    because: Because::Unavailable,
                },
            });
            return;
        }
        request.selected = Some(id);
        request.stage = Stage::Recalling { gives_up };
        let name = request.id;
        turn.out.push(Effect::Moved(name, Move::Recalling));
        turn.out.push(Effect::Recall(name));
    }

    fn on_queued(&mut self, id: SubscriptionId, turn: &mut Turn<'_>) {
        let Some(request) = self.request_of(id) else {
            return;
        };
        let name = request.id;
        let was_selected = request.selected == Some(id);
        if let Some(sub) = request.find(id) {
            sub.seen = Some(RecallState::Queued);
        }
        match request.stage {
            // A CC call that has not left (the store is slow, or the caller is told who is called)
            // would find the callee taken.
            Stage::Recalling { .. } | Stage::Placing { .. } if was_selected => {
                self.stop_recall(name, Why::Withdrawn, turn);
            }
            // Nothing to stop, or too late: the call meets whatever the callee does.
            Stage::Pending
            | Stage::Queued
            | Stage::Recalling { .. }
            | Stage::Placing { .. }
            | Stage::Calling { .. } => {}
        }
    }

    fn on_published(&mut self, id: SubscriptionId, how: Published) {
        let Some(sub) = self.request_of(id).and_then(|request| request.find(id)) else {
            return;
        };
        sub.publishing = Publishing::Idle;
        match how {
            Published::Done => {}
            Published::Failed => {
                sub.ways_failed += 1;
                // The monitor knows no better than before: said again, another way.
                sub.told = match sub.told {
                    Basic::Closed => Basic::Open,
                    Basic::Open => Basic::Closed,
                };
            }
        }
    }
}

/// The recall and the CC call.
impl Agent {
    fn on_recall_answered(&mut self, id: CompletionId, turn: &mut Turn<'_>) {
        let gives_up = turn.now + turn.policy.place_max;
        let Some(request) = self.find(id) else { return };
        if matches!(request.stage, Stage::Recalling { .. }) {
            request.stage = Stage::Placing { gives_up };
            let target = request.call_target();
            turn.out.push(Effect::Moved(id, Move::Placing));
            turn.out.push(Effect::Call(id, target));
        }
    }

    fn on_recall_failed(&mut self, id: CompletionId, why: RecallFailure, turn: &mut Turn<'_>) {
        let Some(request) = self.find(id) else { return };
        if !matches!(
            request.stage,
            Stage::Recalling { .. } | Stage::Placing { .. }
        ) {
            return;
        }
        let rest = |because| Hold::Rest {
            // The end of the recall itself is no sign that he is back.
            since: turn.now + turn.policy.aftermath,
            until: turn.now + turn.policy.rest,
            because,
        };
        let (because, hold) = match why {
            RecallFailure::NoCall => return self.on_call_failed(id, Why::NoCall, turn),
            // CC-24: as if it had been known when his turn came.
            RecallFailure::Engaged => (Because::Unavailable, Hold::Engaged),
            RecallFailure::Busy | RecallFailure::Unreachable => {
                (Because::Unavailable, rest(Because::Unavailable))
            }
            RecallFailure::Refused | RecallFailure::Unanswered => {
                (Because::LetPass, rest(Because::LetPass))
            }
        };
        if because == Because::LetPass {
            request.passed += 1;
        }
        let used_up = request.passed >= turn.policy.recalls_max;
        request.hold = Some(match turn.policy.resumption {
            Resumption::Automatic => hold,
            Resumption::ByHand => Hold::ByHand { because },
        });
        self.put_back(id, Why::NotReached(why), turn);
        if used_up {
            self.end(id, End::RecallsUsedUp, turn);
        } else {
            self.on_idle(id, End::MonitorEnded, turn);
        }
    }

    fn on_arrived(&mut self, id: CompletionId, turn: &mut Turn<'_>) {
        let gives_up = turn.now + turn.policy.cc_call_max;
        let Some(request) = self.find(id) else { return };
        match request.stage {
            // He did not wait for his phone to ring.
            Stage::Recalling { .. } => {
                let by_hand = Effect::EndRecall(id, Why::CalledByHand);
                turn.out.push(by_hand);
            }
            Stage::Placing { .. } => {}
            Stage::Pending | Stage::Queued | Stage::Calling { .. } => return,
        }
        request.stage = Stage::Calling { gives_up };
        turn.out.push(Effect::Moved(id, Move::Calling));
    }

    /// What he wanted he has: the CC call itself, or another one.
    fn on_talking(&mut self, id: CompletionId, turn: &mut Turn<'_>) {
        let stage = self.stage(id);
        if matches!(stage, Some(Stage::Recalling { .. })) {
            self.stop_recall(id, Why::CalledByHand, turn);
        }
        self.end(id, End::Answered, turn);
    }

    fn on_call_failed(&mut self, id: CompletionId, why: Why, turn: &mut Turn<'_>) {
        let Some(request) = self.find(id) else { return };
        if matches!(request.stage, Stage::Placing { .. } | Stage::Calling { .. }) {
            self.put_back(id, why, turn);
            self.on_idle(id, End::MonitorEnded, turn);
        }
    }

    fn on_due(&mut self, id: CompletionId, turn: &mut Turn<'_>) {
        let now = turn.now;
        let Some(request) = self.find(id) else { return };
        match request.stage {
            Stage::Recalling { gives_up } if gives_up <= now => {
                let why = RecallFailure::Unanswered;
                turn.out.push(Effect::EndRecall(id, Why::NotReached(why)));
                self.on_recall_failed(id, why, turn);
            }
            Stage::Placing { gives_up } | Stage::Calling { gives_up } if gives_up <= now => {
                turn.out.push(Effect::EndRecall(id, Why::NoCall));
                self.on_call_failed(id, Why::NoCall, turn);
            }
            Stage::Placing { .. } | Stage::Calling { .. } => return,
            Stage::Pending | Stage::Queued | Stage::Recalling { .. } => {}
        }
        let Some(request) = self.find(id) else { return };
        let over = request.subscriptions.iter().filter(|sub| sub.ends <= now);
        let over: Vec<_> = over.map(|sub| (sub.id, sub.phase)).collect();
        for (sub, phase) in over {
            let end = match phase {
                // CC-76: timer N.
                Phase::Asked | Phase::Answered => End::MonitorEnded,
                Phase::Live => End::Expired,
            };
            self.on_over(sub, end, turn);
        }
    }

    /// Stops what is up for it, if anything is.
    ///
    /// Ringing, answered or already with the callee: who carries it out knows how far it came.
    fn stop_recall(&mut self, id: CompletionId, why: Why, turn: &mut Turn<'_>) {
        let active = self.find(id).is_some_and(|request| request.is_active());
        if active {
            turn.out.push(Effect::EndRecall(id, why));
            self.put_back(id, why, turn);
        }
    }

    fn put_back(&mut self, id: CompletionId, why: Why, turn: &mut Turn<'_>) {
        if let Some(request) = self.find(id) {
            request.stage = Stage::Queued;
            turn.out.push(Effect::Moved(id, Move::PutBack(why)));
        }
    }

    /// The caller is no longer busy with it: if no monitor is left, that was all.
    fn on_idle(&mut self, id: CompletionId, end: End, turn: &mut Turn<'_>) {
        let monitors = self.find(id).map(|request| request.subscriptions.len());
        if monitors == Some(0) {
            self.end(id, end, turn);
        }
    }
}

/// Ends.
impl Agent {
    /// Ends a request; its subscriptions are ended over the network, state by state.
    fn end(&mut self, id: CompletionId, end: End, turn: &mut Turn<'_>) {
        let Some(at) = self.requests.iter().position(|request| request.id == id) else {
            return;
        };
        let request = self.requests.remove(at);
        turn.out.push(Effect::Ended(id, end));
        for sub in request.subscriptions {
            // CC-46: the monitor whose call succeeded ends its subscription by itself.
            let farewell = end == End::Answered && request.selected == Some(sub.id);
            let step = match sub.phase {
                Phase::Asked => Step::Answer,
                Phase::Answered | Phase::Live if farewell => Step::Farewell,
                Phase::Answered | Phase::Live => {
                    turn.out.push(Effect::Unsubscribe(sub.id));
                    Step::Confirmation
                }
            };
            self.leaving.push(Leaving {
                id: sub.id,
                step,
                gives_up: turn.now + turn.policy.leave_max,
            });
        }
    }
}

/// What follows each event.
impl Agent {
    /// Tells the monitors whether the caller can be recalled, where that changed.
    fn settle(&mut self, turn: &mut Turn<'_>) {
        let active = self.requests.iter().find(|request| request.is_active());
        let active = active.map(|request| request.id);
        for request in &mut self.requests {
            request.release_hold(&self.line, turn.now);
            let elsewhere = active.is_some_and(|id| id != request.id);
            // CC-21: while he is recalled for one, he is not for the others.
            // CC-27: resumed only when he can take a call.
            let stays = request.shown == Basic::Closed && self.line.refuses_calls(turn.now);
            let shown = if elsewhere || stays || request.hold.is_some() {
                Basic::Closed
            } else {
                Basic::Open
            };
            let told = request.stage != Stage::Pending && request.shown != shown;
            if told {
                request.shown = shown;
                let to = match shown {
                    Basic::Closed => Move::Suspended,
                    Basic::Open => Move::Resumed,
                };
                turn.out.push(Effect::Moved(request.id, to));
            }
            request.publish(shown, turn);
        }
        let active = self.requests.iter().filter(|request| request.is_active());
        assert!(active.count() <= 1, "a caller is recalled twice");
    }

    fn request_of(&mut self, id: SubscriptionId) -> Option<&mut Request> {
        let mut requests = self.requests.iter_mut();
        requests.find(|request| request.subscriptions.iter().any(|sub| sub.id == id))
    }

    fn find(&mut self, id: CompletionId) -> Option<&mut Request> {
        self.requests.iter_mut().find(|request| request.id == id)
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::time::Duration;

    use super::*;
    use crate::cc::Condition;
    use crate::cc::addr::AddrSpec;
    use crate::cc::document::Retention;
    use crate::cc::line::Calls;
    use crate::cc::trust::{Dials, Peer, PeerId};

    const BOB: CompletionId = CompletionId::from_bits(1);
    const DAN: CompletionId = CompletionId::from_bits(2);
    /// The subscriptions behind them.
    const TO_BOB: SubscriptionId = SubscriptionId(11);
    const TO_DAN: SubscriptionId = SubscriptionId(12);
    const FORK: SubscriptionId = SubscriptionId(13);

    /// An agent, the time, and its caller's lines.
    struct Bench {
        agent: Agent,
        policy: Policy,
        now: Timestamp,
        line: Line,
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn address(text: &str) -> AddrSpec {
        AddrSpec::new(text).expect("a URI")
    }

    fn peer() -> Peer {
        Peer {
            id: PeerId(1),
            hosts: ["b.example"].map(Box::from).into(),
            dials: Dials::Tokens,
        }
    }

    fn says(state: RecallState) -> Notice {
        Notice {
            state: Some(state),
            life: Life::Active(seconds(3000)),
            retention: Retention::Kept,
            cc_uri: None,
            call_info: None,
            contact: None,
        }
    }

    fn ended() -> Notice {
        Notice {
            life: Life::Ended,
            ..says(RecallState::Queued)
        }
    }

    impl Bench {
        fn new() -> Self {
            let line = Line {
                calls: Calls::Free,
                registered: Some(Timestamp::START),
                ..Line::UNKNOWN
            };
            Self {
                agent: Agent::new(line),
                policy: Policy::default(),
                now: Timestamp::START + seconds(100),
                line,
            }
        }

        fn step(&mut self, event: Event) -> Vec<Effect> {
            let mut out = Vec::new();
            self.agent.handle(self.now, event, &self.policy, &mut out);
            out
        }

        fn pass(&mut self, time: Duration) -> Vec<Effect> {
            let end = self.now + time;
            let mut out = Vec::new();
            let mut turns = 0;
            while let Some(due) = self.agent.poll_timeout().filter(|due| *due <= end) {
                turns += 1;
                assert!(turns < 1_000, "a deadline does not go away");
                self.now = self.now.max(due);
                self.agent.handle_timeout(self.now, &self.policy, &mut out);
            }
            self.now = end;
            out
        }

        fn notified(&mut self, id: SubscriptionId, state: RecallState) -> Vec<Effect> {
            self.step(Event::Notified(id, says(state)))
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

        fn hangs_up(&mut self) -> Vec<Effect> {
            self.line(Line {
                calls: Calls::Free,
                freed: Some(self.now),
                talked: Some(self.now),
                ..self.line
            })
        }

        fn ask(&mut self, id: CompletionId, sub: SubscriptionId) -> Vec<Effect> {
            let monitors = vec![(sub, address("sip:cc-1@b.example"))];
            self.step(Event::Request(request(id, monitors)))
        }

        /// One request that its monitor has queued.
        fn queued() -> Self {
            let mut bench = Self::new();
            bench.ask(BOB, TO_BOB);
            bench.step(Event::Accepted(TO_BOB, seconds(3600)));
            bench.notified(TO_BOB, RecallState::Queued);
            bench
        }

        /// Two of them.
        fn two_queued() -> Self {
            let mut bench = Self::queued();
            bench.ask(DAN, TO_DAN);
            bench.notified(TO_DAN, RecallState::Queued);
            bench
        }

        fn recalling() -> Self {
            let mut bench = Self::queued();
            bench.notified(TO_BOB, RecallState::Ready);
            bench
        }

        fn placing() -> Self {
            let mut bench = Self::recalling();
            bench.step(Event::RecallAnswered(BOB));
            bench
        }

        fn calling() -> Self {
            let mut bench = Self::placing();
            bench.step(Event::CcCallArrived(BOB));
            bench
        }

        fn suspended() -> Self {
            let mut bench = Self::queued();
            bench.engaged();
            bench.notified(TO_BOB, RecallState::Ready);
            bench
        }
    }

    fn request(id: CompletionId, monitors: Vec<(SubscriptionId, AddrSpec)>) -> NewRequest {
        NewRequest {
            id,
            dialled: address("sip:+15550123@b.example"),
            condition: Some(Condition::Busy),
            way: Way::Peer(peer()),
            monitors,
        }
    }

    /// The PUBLISHs among the effects: to whom, what, and where.
    fn published(out: &[Effect]) -> Vec<(SubscriptionId, Basic, PublishTo)> {
        let publications = out.iter().filter_map(|effect| match effect {
            Effect::Publish(id, publication) => {
                Some((*id, publication.basic, publication.to.clone()))
            }
            Effect::Subscribe(..)
            | Effect::Unsubscribe(..)
            | Effect::Forget(..)
            | Effect::Recall(..)
            | Effect::EndRecall(..)
            | Effect::Call(..)
            | Effect::Moved(..)
            | Effect::Ended(..) => None,
        });
        publications.collect()
    }

    fn told(out: &[Effect]) -> Vec<(SubscriptionId, Basic)> {
        let all = published(out).into_iter();
        all.map(|(id, basic, _)| (id, basic)).collect()
    }

    #[test]
    fn every_known_monitor_is_subscribed_to_with_the_mode_it_offered() {
        let mut bench = Bench::new();
        let monitors = vec![
            (TO_BOB, address("sip:cc-1@b.example")),
            (FORK, address("sip:cc-2@b.example")),
        ];
        let out = bench.step(Event::Request(request(BOB, monitors)));
        let expected = [
            // CC-12
            Effect::Subscribe(TO_BOB, address("sip:cc-1@b.example;m=BS")),
            // CC-09
            Effect::Subscribe(FORK, address("sip:cc-2@b.example;m=BS")),
        ];
        assert_eq!(out, expected);
    }

    #[test]
    fn a_notify_before_the_answer_is_as_good_as_the_answer() {
        let mut bench = Bench::new();
        bench.ask(BOB, TO_BOB);
        let out = bench.notified(TO_BOB, RecallState::Queued);
        // CC-76
        assert_eq!(out, [Effect::Moved(BOB, Move::Queued)]);
        assert_eq!(bench.step(Event::Accepted(TO_BOB, seconds(3600))), []);
    }

    #[test]
    fn a_subscription_without_a_notify_is_given_up_by_timer_n() {
        let mut bench = Bench::new();
        bench.ask(BOB, TO_BOB);
        bench.step(Event::Accepted(TO_BOB, seconds(3600)));
        assert_eq!(bench.pass(Duration::from_millis(31_999)), []);
        // CC-76
        assert_eq!(
            bench.pass(Duration::from_millis(1)),
            [
                Effect::Forget(TO_BOB),
                Effect::Ended(BOB, End::MonitorEnded)
            ]
        );
    }

    #[test]
    fn a_request_that_no_monitor_takes_fails_with_the_last_answer() {
        let mut bench = Bench::new();
        let monitors = vec![
            (TO_BOB, address("sip:cc-1@b.example")),
            (FORK, address("sip:cc-2@b.example")),
        ];
        bench.step(Event::Request(request(BOB, monitors)));
        let out = bench.step(Event::Refused(TO_BOB, 480));
        assert_eq!(out, [Effect::Forget(TO_BOB)]);
        let out = bench.step(Event::Refused(FORK, 403));
        // CC-20
        assert_eq!(out[1], Effect::Ended(BOB, End::Failed(403)));
        assert!(bench.agent.is_empty());
    }

    #[test]
    fn ready_rings_the_caller_and_suspends_his_other_requests() {
        let mut bench = Bench::two_queued();
        let out = bench.notified(TO_BOB, RecallState::Ready);
        assert!(out.contains(&Effect::Recall(BOB)));
        // CC-21
        assert_eq!(told(&out), [(TO_DAN, Basic::Closed)]);
        bench.step(Event::Published(TO_DAN, Published::Done));
        let out = bench.step(Event::RecallFailed(BOB, RecallFailure::Refused));
        // CC-27
        assert!(told(&out).contains(&(TO_DAN, Basic::Open)));
    }

    #[test]
    fn forks_of_a_subscribe_are_coordinated() {
        let mut bench = Bench::queued();
        bench.step(Event::Forked(TO_BOB, FORK));
        // CC-19
        bench.notified(FORK, RecallState::Queued);
        let out = bench.notified(FORK, RecallState::Ready);
        assert!(out.contains(&Effect::Recall(BOB)));
        // CC-64
        assert_eq!(told(&out), [(TO_BOB, Basic::Closed)]);
        let out = bench.notified(TO_BOB, RecallState::Ready);
        assert!(!out.contains(&Effect::Recall(BOB)), "rung twice");
    }

    #[test]
    fn ready_said_twice_rings_once() {
        let mut bench = Bench::recalling();
        assert_eq!(bench.notified(TO_BOB, RecallState::Ready), []);
        bench.step(Event::RecallFailed(BOB, RecallFailure::Unanswered));
        assert_eq!(bench.notified(TO_BOB, RecallState::Ready), []);
    }

    #[test]
    fn a_caller_on_a_call_is_suspended_when_his_turn_comes_and_resumed_afterwards() {
        let mut bench = Bench::queued();
        bench.engaged();
        bench.pass(seconds(100));
        let out = bench.notified(TO_BOB, RecallState::Ready);
        let Some(Effect::Publish(_, publication)) = out.last() else {
            panic!("nothing was published");
        };
        // CC-24
        assert_eq!(publication.basic, Basic::Closed);
        // CC-25
        assert_eq!(publication.expires, seconds(3000));
        bench.step(Event::Published(TO_BOB, Published::Done));
        bench.notified(TO_BOB, RecallState::Queued);
        // CC-27
        assert_eq!(told(&bench.hangs_up()), [(TO_BOB, Basic::Open)]);
        bench.step(Event::Published(TO_BOB, Published::Done));
        let out = bench.notified(TO_BOB, RecallState::Ready);
        assert!(out.contains(&Effect::Recall(BOB)));
    }

    #[test]
    fn a_caller_whose_call_was_told_late_is_resumed_when_it_ends() {
        let mut bench = Bench::recalling();
        bench.engaged();
        let out = bench.step(Event::RecallFailed(BOB, RecallFailure::Engaged));
        // CC-24
        assert_eq!(told(&out), [(TO_BOB, Basic::Closed)]);
        bench.step(Event::Published(TO_BOB, Published::Done));
        bench.notified(TO_BOB, RecallState::Queued);
        bench.pass(seconds(1));
        // CC-27
        assert_eq!(told(&bench.hangs_up()), [(TO_BOB, Basic::Open)]);
    }

    #[test]
    fn a_publish_goes_where_the_standard_says_and_on_when_that_fails() {
        let mut bench = Bench::queued();
        let notice = Notice {
            cc_uri: Some(address("sip:cce-1@b.example;odd")),
            call_info: Some(address("sip:info@b.example")),
            contact: Some(address("sip:contact@b.example")),
            ..says(RecallState::Queued)
        };
        bench.step(Event::Notified(TO_BOB, notice));
        bench.engaged();
        let mut out = bench.notified(TO_BOB, RecallState::Ready);
        for _ in 0..6 {
            out.extend(bench.step(Event::Published(TO_BOB, Published::Failed)));
        }
        let ways: Vec<_> = published(&out).into_iter().map(|(_, _, to)| to).collect();
        let to = |text| PublishTo::Address(address(text));
        let expected = [
            // CC-69
            to("sip:cce-1@b.example;odd"),
            PublishTo::Dialog,
            to("sip:info@b.example"),
            to("sip:contact@b.example"),
        ];
        // CC-26
        assert_eq!(ways, expected);
    }

    #[test]
    fn a_publish_waits_for_the_answer_to_the_one_before() {
        let mut bench = Bench::suspended();
        assert_eq!(told(&bench.hangs_up()), []);
        let out = bench.step(Event::Published(TO_BOB, Published::Done));
        assert_eq!(told(&out), [(TO_BOB, Basic::Open)]);
    }

    fn call_target(cc_uri: Option<&str>, dials: Dials) -> String {
        let mut bench = Bench::new();
        let way = Way::Peer(Peer { dials, ..peer() });
        let monitors = vec![(TO_BOB, address("sip:cc-1@b.example"))];
        let new = NewRequest {
            way,
            ..request(BOB, monitors)
        };
        bench.step(Event::Request(new));
        let notice = Notice {
            cc_uri: cc_uri.map(address),
            ..says(RecallState::Ready)
        };
        bench.step(Event::Notified(TO_BOB, notice));
        let out = bench.step(Event::RecallAnswered(BOB));
        let Some(Effect::Call(_, target)) = out.last() else {
            panic!("no call is placed");
        };
        target.as_str().to_owned()
    }

    #[test]
    fn the_cc_call_goes_to_the_cc_uri_else_to_the_monitor_else_to_the_original_number() {
        let cc_uri = Some("sip:cce-1@b.example;gr=7");
        // CC-22, CC-23
        assert_eq!(
            call_target(cc_uri, Dials::Tokens),
            "sip:cce-1@b.example;gr=7;m=BS"
        );
        assert_eq!(call_target(None, Dials::Tokens), "sip:cc-1@b.example;m=BS");
        assert_eq!(
            call_target(cc_uri, Dials::Original),
            "sip:+15550123@b.example;m=BS"
        );
    }

    #[test]
    fn nothing_that_a_stranger_names_is_dialled() {
        for evil in [
            "sip:+19005550100@b.example",
            "sip:cce-1@evil.example",
            "sip:cce-1@b.example;maddr=198.51.100.9",
        ] {
            let target = call_target(Some(evil), Dials::Tokens);
            assert_eq!(target, "sip:cc-1@b.example;m=BS", "{evil}");
        }
    }

    #[test]
    fn a_monitor_that_takes_the_selection_back_stops_the_ringing() {
        let mut bench = Bench::recalling();
        let out = bench.notified(TO_BOB, RecallState::Queued);
        assert_eq!(out[0], Effect::EndRecall(BOB, Why::Withdrawn));
        // The caller's answer crossed it.
        assert_eq!(bench.step(Event::RecallAnswered(BOB)), []);
        let out = bench.notified(TO_BOB, RecallState::Ready);
        assert!(out.contains(&Effect::Recall(BOB)), "the next one rings");
    }

    #[test]
    fn a_caller_who_does_not_come_is_suspended_until_he_is_seen_or_has_rested() {
        for seen in [true, false] {
            let mut bench = Bench::recalling();
            let out = bench.pass(seconds(15));
            let why = Why::NotReached(RecallFailure::Unanswered);
            assert_eq!(out[0], Effect::EndRecall(BOB, why));
            // CC-24
            assert_eq!(told(&out), [(TO_BOB, Basic::Closed)]);
            bench.step(Event::Published(TO_BOB, Published::Done));
            bench.pass(seconds(10));
            let out = if seen {
                bench.hangs_up()
            } else {
                assert_eq!(bench.pass(seconds(49)), []);
                bench.pass(seconds(1))
            };
            assert_eq!(told(&out), [(TO_BOB, Basic::Open)]);
        }
    }

    #[test]
    fn the_end_of_the_recall_itself_does_not_count_as_being_seen() {
        let mut bench = Bench::recalling();
        bench.step(Event::RecallFailed(BOB, RecallFailure::Refused));
        bench.step(Event::Published(TO_BOB, Published::Done));
        bench.pass(seconds(1));
        assert_eq!(bench.hangs_up(), []);
    }

    #[test]
    fn the_third_recall_that_the_caller_lets_pass_is_the_last() {
        let mut bench = Bench::recalling();
        for _ in 0..2 {
            bench.step(Event::RecallFailed(BOB, RecallFailure::Refused));
            bench.step(Event::Published(TO_BOB, Published::Done));
            bench.notified(TO_BOB, RecallState::Queued);
            bench.pass(seconds(60));
            bench.step(Event::Published(TO_BOB, Published::Done));
            bench.notified(TO_BOB, RecallState::Ready);
        }
        let out = bench.step(Event::RecallFailed(BOB, RecallFailure::Refused));
        let end = [
            Effect::Ended(BOB, End::RecallsUsedUp),
            Effect::Unsubscribe(TO_BOB),
        ];
        assert_eq!(out[1..], end);
    }

    #[test]
    fn an_answered_cc_call_completes_the_request_and_the_monitor_ends_the_subscription() {
        let mut bench = Bench::calling();
        let out = bench.step(Event::CcCallAnswered(BOB));
        assert_eq!(out, [Effect::Ended(BOB, End::Answered)]);
        let out = bench.step(Event::Notified(TO_BOB, ended()));
        assert_eq!(out, [Effect::Forget(TO_BOB)]);
        assert!(bench.agent.is_empty());
    }

    #[test]
    fn a_monitor_that_does_not_notice_the_success_is_unsubscribed_from() {
        let mut bench = Bench::calling();
        bench.step(Event::CcCallAnswered(BOB));
        assert_eq!(bench.pass(seconds(32)), [Effect::Unsubscribe(TO_BOB)]);
        assert_eq!(bench.pass(seconds(32)), [Effect::Forget(TO_BOB)]);
        assert!(bench.agent.is_empty());
    }

    #[test]
    fn a_cc_call_that_fails_waits_for_the_next_turn() {
        let mut bench = Bench::calling();
        let out = bench.step(Event::CcCallFailed(BOB));
        assert_eq!(out, [Effect::Moved(BOB, Move::PutBack(Why::CallFailed))]);
        bench.notified(TO_BOB, RecallState::Queued);
        let out = bench.notified(TO_BOB, RecallState::Ready);
        assert!(out.contains(&Effect::Recall(BOB)));
    }

    #[test]
    fn a_subscription_that_ends_during_the_call_ends_the_request_only_if_the_call_fails() {
        for answered in [true, false] {
            let mut bench = Bench::calling();
            let out = bench.step(Event::Notified(TO_BOB, ended()));
            assert_eq!(out, [Effect::Forget(TO_BOB)]);
            let (event, end) = if answered {
                (Event::CcCallAnswered(BOB), End::Answered)
            } else {
                (Event::CcCallFailed(BOB), End::MonitorEnded)
            };
            assert_eq!(bench.step(event).last(), Some(&Effect::Ended(BOB, end)));
        }
    }

    #[test]
    fn a_monitor_that_ends_the_subscription_stops_the_ringing() {
        let mut bench = Bench::recalling();
        let out = bench.step(Event::Notified(TO_BOB, ended()));
        assert!(out.contains(&Effect::EndRecall(BOB, Why::Withdrawn)));
        assert_eq!(out.last(), Some(&Effect::Ended(BOB, End::MonitorEnded)));
    }

    #[test]
    fn a_request_ends_with_its_service() {
        let mut bench = Bench::queued();
        let out = bench.pass(seconds(3000));
        assert_eq!(out.last(), Some(&Effect::Ended(BOB, End::Expired)));
        assert!(bench.agent.is_empty());
    }

    #[test]
    fn a_call_by_hand_stops_the_ringing_and_completes_the_request() {
        let mut bench = Bench::recalling();
        let out = bench.step(Event::Talking(BOB));
        assert_eq!(out[0], Effect::EndRecall(BOB, Why::CalledByHand));
        assert!(out.contains(&Effect::Ended(BOB, End::Answered)));
    }

    #[test]
    fn a_cc_call_that_never_leaves_is_given_up() {
        let mut bench = Bench::placing();
        let out = bench.pass(seconds(10));
        let expected = [
            Effect::EndRecall(BOB, Why::NoCall),
            Effect::Moved(BOB, Move::PutBack(Why::NoCall)),
        ];
        assert_eq!(out, expected);
    }

    #[test]
    fn a_subscription_given_up_before_its_answer_is_ended_after_it() {
        for notify_first in [true, false] {
            let mut bench = Bench::new();
            bench.ask(BOB, TO_BOB);
            let out = bench.step(Event::Uncomplete(BOB));
            assert_eq!(out, [Effect::Ended(BOB, End::Uncompleted)]);
            let answer = if notify_first {
                Event::Notified(TO_BOB, says(RecallState::Queued))
            } else {
                Event::Accepted(TO_BOB, seconds(3600))
            };
            assert_eq!(bench.step(answer), [Effect::Unsubscribe(TO_BOB)]);
            assert_eq!(bench.notified(TO_BOB, RecallState::Ready), []);
            let out = bench.step(Event::Notified(TO_BOB, ended()));
            assert_eq!(out, [Effect::Forget(TO_BOB)]);
        }
    }

    #[test]
    fn a_silent_monitor_is_forgotten() {
        let mut bench = Bench::queued();
        bench.step(Event::Uncomplete(BOB));
        assert_eq!(bench.pass(Duration::from_millis(31_999)), []);
        assert_eq!(
            bench.pass(Duration::from_millis(1)),
            [Effect::Forget(TO_BOB)]
        );
    }

    /// RULES R18: what taking back means in each state, and what is left to do.
    #[test]
    fn uncomplete_is_defined_in_every_state() {
        let mut table = String::new();
        for (state, setup) in states() {
            let mut bench = setup();
            let out = bench.step(Event::Uncomplete(BOB));
            let _ = writeln!(table, "{state}: {}", list(&out));
        }
        insta::assert_snapshot!(table);
    }

    /// Every state and every event: where it leads, and what is done.
    #[test]
    fn every_event_is_defined_in_every_state() {
        let mut matrix = String::new();
        for (state, setup) in states() {
            let _ = writeln!(matrix, "{state}");
            for (name, event) in events() {
                let mut bench = setup();
                let out = bench.step(event);
                let stage = bench.agent.stage(BOB);
                let stage = stage.map_or_else(|| "gone".to_owned(), |stage| format!("{stage:?}"));
                let stage = stage.split(' ').next().unwrap_or_default();
                let _ = writeln!(matrix, "  {name:<18} -> {stage}; {}", list(&out));
            }
        }
        insta::assert_snapshot!(matrix);
    }

    type Setup = fn() -> Bench;

    fn states() -> [(&'static str, Setup); 6] {
        fn pending() -> Bench {
            let mut bench = Bench::new();
            bench.ask(BOB, TO_BOB);
            bench
        }
        [
            ("Pending", pending),
            ("Queued", Bench::queued),
            ("Queued, suspended", Bench::suspended),
            ("Recalling", Bench::recalling),
            ("Placing", Bench::placing),
            ("Calling", Bench::calling),
        ]
    }

    fn events() -> Vec<(&'static str, Event)> {
        let free = Bench::new().line;
        let engaged = Line {
            calls: Calls::Engaged,
            ..free
        };
        let failed = |why| Event::RecallFailed(BOB, why);
        let notified = |state| Event::Notified(TO_BOB, says(state));
        vec![
            ("engaged", Event::Line(engaged)),
            ("free", Event::Line(free)),
            ("accepted", Event::Accepted(TO_BOB, seconds(3600))),
            ("refused", Event::Refused(TO_BOB, 480)),
            ("forked", Event::Forked(TO_BOB, FORK)),
            ("says queued", notified(RecallState::Queued)),
            ("says ready", notified(RecallState::Ready)),
            ("ends", Event::Notified(TO_BOB, ended())),
            ("published", Event::Published(TO_BOB, Published::Done)),
            ("not published", Event::Published(TO_BOB, Published::Failed)),
            ("recall answered", Event::RecallAnswered(BOB)),
            ("recall busy", failed(RecallFailure::Busy)),
            ("recall engaged", failed(RecallFailure::Engaged)),
            ("recall refused", failed(RecallFailure::Refused)),
            ("recall no call", failed(RecallFailure::NoCall)),
            ("CC call arrived", Event::CcCallArrived(BOB)),
            ("CC call answered", Event::CcCallAnswered(BOB)),
            ("CC call failed", Event::CcCallFailed(BOB)),
            ("talking", Event::Talking(BOB)),
            ("resume", Event::Resume(BOB)),
            ("uncomplete", Event::Uncomplete(BOB)),
        ]
    }

    fn list(out: &[Effect]) -> String {
        let short = |effect: &Effect| match effect {
            Effect::Subscribe(..) => "SUBSCRIBE".to_owned(),
            Effect::Unsubscribe(_) => "SUBSCRIBE Expires: 0".to_owned(),
            Effect::Forget(_) => "forget".to_owned(),
            Effect::Publish(_, publication) => format!("PUBLISH {:?}", publication.basic),
            Effect::Recall(_) => "ring caller".to_owned(),
            Effect::EndRecall(_, why) => format!("end recall {why:?}"),
            Effect::Call(..) => "call callee".to_owned(),
            Effect::Moved(_, to) => format!("{to:?}"),
            Effect::Ended(_, end) => format!("ended {end:?}"),
        };
        out.iter().map(short).collect::<Vec<_>>().join(", ")
    }
}
