//! The monitor's side: agents elsewhere, and what our queues want done.
//!
//! Spec: RFC 6910 §7; RFC 6665 §4.2; RFC 3903 §6.

use std::sync::Arc;
use std::time::Duration;

use crate::cc::addr::{AddrSpec, Aor};
use crate::cc::agent::{self, Life as NoticeLife, Notice};
use crate::cc::document::Retention;
use crate::cc::id::CompletionId;
use crate::cc::monitor::{
    self, Because, Effect, End, Lifetime, Move, Newcomer, Reason, Refusal, Renewal, Waiter, Why,
};
use crate::cc::pace::Medium;
use crate::cc::{Basic, SubscriptionId};
use crate::completion::camping::refuse_camp;
use crate::completion::entry::{Completion, Errand, Life, Stage};
use crate::completion::history::{Event, Outcome};
use crate::completion::identity::Identity;
use crate::completion::input::{
    Binding, FailedCall, Monitors, Publish, PublishAt, Queue, Subscribe,
};
use crate::completion::output::{By, News, Notify, Output, Pattern, Suspicion};
use crate::completion::record::Roles;
use crate::completion::reject::Reject;
use crate::completion::service::{Route, Service, Turn};
use crate::time::Timestamp;

/// What came from agents elsewhere.
impl Service {
    pub(super) fn on_subscribe(&mut self, subscribe: Subscribe, turn: &mut Turn<'_>) {
        let subscription = subscribe.subscription;
        match self.try_subscribe(subscribe, turn) {
            Ok(()) => {}
            Err(reject) => turn.out.push(Output::Reject {
                subscription,
                reject,
            }),
        }
    }

    fn try_subscribe(&mut self, subscribe: Subscribe, turn: &mut Turn<'_>) -> Result<(), Reject> {
        if self.is_down {
            return Err(Reject::StoreUnavailable);
        }
        let Some((since, call)) = self.failed_call(&subscribe, turn.now) else {
            // CC-73, CC-74: nobody camps on without having called.
            turn.out.push(Output::Suspect(Suspicion {
                caller: subscribe.caller,
                callee: None,
                pattern: Pattern::NoFailedCall,
            }));
            return Err(Reject::NoOffer);
        };
        let is_ours = matches!(call.monitors, Monitors::Own | Monitors::Both { .. });
        if subscribe.renewal == Renewal::Lengthens && !is_ours {
            return Err(Reject::NoMonitor);
        }
        let known = self.pairs.get(&call.caller, &call.callee);
        match known.map(|id| (id, self.entry_of(id))) {
            // CC-36: the queue gives his place to the new dialog.
            Some((_, Some(_))) => {}
            // The same wish went to a monitor elsewhere; he says now where he wants it.
            Some((id, None)) => self.take_back(id, By::Other, None, turn),
            None => self.has_room(&call.caller, None)?,
        }
        let mut completion = self.new_completion(&call, since, turn.now);
        completion.roles = Roles::Monitor;
        completion.entry = Some(subscribe.subscription);
        completion.renewal = subscribe.renewal;
        let wait = completion.wait;
        let route = Route {
            roles: Roles::Monitor,
            names: Arc::clone(&completion.names),
        };
        self.routes.insert(subscribe.subscription, route);
        self.newcomer = Some(completion);
        let newcomer = Newcomer {
            id: subscribe.subscription,
            caller: call.caller,
            call_id: subscribe.call_id,
            expires: subscribe.expires,
            wait,
            medium: Medium::Network,
            renewal: subscribe.renewal,
            waiter: Waiter::Subscriber,
        };
        self.post_monitor(call.callee, monitor::Event::Subscribe(newcomer));
        Ok(())
    }

    /// Who waits by this subscription.
    pub fn waits_by(&self, subscription: SubscriptionId) -> Option<&Aor> {
        self.routes
            .get(&subscription)
            .map(|route| &route.names.caller)
    }

    /// Whether a phone that watches this callee by a SUBSCRIBE of its own may be waiting for him: a
    /// call of its user's to him failed, and his queue is here; or it waits already, and begins anew.
    pub fn may_wait(&self, now: Timestamp, caller: &Aor, callee: &Aor) -> bool {
        if self.phones_wish(caller, callee).is_some() {
            return true;
        }
        let window = self.settings.timing.offer_window;
        let user = self.users.get(caller);
        let wanted = |call: &FailedCall| {
            let is_ours = matches!(call.monitors, Monitors::Own | Monitors::Both { .. });
            call.callee == *callee && is_ours
        };
        user.is_some_and(|user| user.failed.newest((now, window), wanted).is_some())
    }

    /// The request of a caller for this callee that a phone of his keeps up.
    fn phones_wish(&self, caller: &Aor, callee: &Aor) -> Option<&Completion> {
        let id = self.pairs.get(caller, callee)?;
        let completion = self.completions.get(&id)?;
        (completion.renewal == Renewal::Lengthens).then_some(completion)
    }

    /// The failed call that a SUBSCRIBE is about, and when it failed.
    fn failed_call(
        &self,
        subscribe: &Subscribe,
        now: Timestamp,
    ) -> Option<(Timestamp, FailedCall)> {
        let window = self.settings.timing.offer_window;
        match &subscribe.queue {
            Queue::Callee(callee) => {
                let caller = subscribe.caller.as_ref()?;
                let user = self.users.get(caller)?;
                let wanted = |call: &FailedCall| call.callee == *callee;
                if let Some((at, call)) = user.failed.newest((now, window), wanted) {
                    return Some((at, call.clone()));
                }
                // A phone that begins its subscription anew still waits for the same.
                let wish = self.phones_wish(caller, callee)?;
                let again = subscribe.renewal == Renewal::Lengthens;
                again.then(|| (wish.wait.since, wish.failed_call()))
            }
            Queue::Token(token) => {
                let offer = self.sealer.open(token)?;
                // CC-29, CC-53: for nobody but the caller of that call.
                if subscribe
                    .caller
                    .as_ref()
                    .is_some_and(|c| *c != offer.caller)
                {
                    return None;
                }
                let known = self.users.get(&offer.caller);
                let wanted = |call: &FailedCall| call.call == offer.call;
                let known = known.and_then(|user| user.failed.newest((now, window), wanted));
                if let Some((at, call)) = known {
                    return Some((at, call.clone()));
                }
                // Not remembered, but sealed: by its own time.
                let address = AddrSpec::new(offer.callee.as_str()).ok()?;
                let call = FailedCall {
                    call: offer.call,
                    from: AddrSpec::new(offer.caller.as_str()).ok()?,
                    identity: Identity::default(),
                    binding: Binding::default(),
                    dialled: address,
                    status: 0,
                    condition: offer.condition,
                    calls: offer.calls,
                    monitors: Monitors::Own,
                    caller: offer.caller.clone(),
                    callee: offer.callee.clone(),
                };
                offer.is_fresh(now, window).then_some((offer.issued, call))
            }
        }
    }

    pub(super) fn on_refresh(
        &mut self,
        subscription: SubscriptionId,
        expires: Option<Duration>,
        turn: &mut Turn<'_>,
    ) {
        match self.queue_of(subscription) {
            Some(callee) => {
                self.post_monitor(callee, monitor::Event::Refresh(subscription, expires));
                // Its time, its Contact, its number.
                self.on_moved(subscription);
            }
            None => turn.out.push(Output::Reject {
                subscription,
                reject: Reject::UnknownSubscription,
            }),
        }
    }

    pub(super) fn on_notify_failed(&mut self, subscription: SubscriptionId) {
        if let Some(callee) = self.queue_of(subscription) {
            self.post_monitor(callee, monitor::Event::Lost(subscription));
        }
    }

    pub(super) fn on_publish(&mut self, publish: &Publish, turn: &mut Turn<'_>) {
        let ticket = publish.ticket;
        if self.is_down {
            // What would be acknowledged might not outlive the process.
            let result = Err(Reject::StoreUnavailable);
            turn.out.push(Output::PublishAnswered { ticket, result });
            return;
        }
        let found = self.published_entry(&publish.at, publish.caller.as_ref());
        let Some((id, callee, entry)) = found else {
            // CC-72: without an entry there is nothing to publish for.
            let result = Err(Reject::NoEntry);
            turn.out.push(Output::PublishAnswered { ticket, result });
            return;
        };
        let until = publish.expires.map(|time| turn.now + time);
        let event = match publish.basic {
            Basic::Closed => monitor::Event::Suspend(entry, Because::Unavailable, until),
            Basic::Open => monitor::Event::Resume(entry),
        };
        self.post_monitor(callee, event);
        // Its entity-tag, whatever the document says.
        self.keep(id);
        // Answered when it is kept.
        let result = Ok(());
        self.emit(id, Output::PublishAnswered { ticket, result }, turn);
        self.run_steps(turn);
    }

    /// The subscription that a PUBLISH of this caller's would be about.
    pub fn published(&self, at: &PublishAt, caller: Option<&Aor>) -> Option<SubscriptionId> {
        let (_, _, subscription) = self.published_entry(at, caller)?;
        Some(subscription)
    }

    /// CC-49: by what it was sent to, else by its caller.
    fn published_entry(
        &self,
        at: &PublishAt,
        caller: Option<&Aor>,
    ) -> Option<(CompletionId, Aor, SubscriptionId)> {
        let id = match at {
            PublishAt::Entry(cce) => self.tokens.get(*cce)?,
            PublishAt::Subscription(subscription) => self.routes.get(subscription)?.names.id,
            PublishAt::Queue(Queue::Callee(callee)) => self.pairs.get(caller?, callee)?,
            PublishAt::Queue(Queue::Token(token)) => {
                let offer = self.sealer.open(token)?;
                self.pairs.get(&offer.caller, &offer.callee)?
            }
        };
        let completion = self.completions.get(&id)?;
        let is_his = caller.is_none_or(|caller| *caller == completion.caller);
        // Whose agent is here suspends without a message.
        let is_wire = completion.roles == Roles::Monitor && completion.life == Life::Accepted;
        let (callee, entry) = self.entry_of(id)?;
        (is_his && is_wire).then_some((id, callee, entry))
    }

    /// The callee in whose queue a subscription from elsewhere is.
    fn queue_of(&self, subscription: SubscriptionId) -> Option<Aor> {
        let route = self.routes.get(&subscription)?;
        (route.roles == Roles::Monitor).then(|| route.names.callee.clone())
    }
}

/// What our queues want done.
impl Service {
    pub(super) fn on_monitor_effect(&mut self, callee: &Aor, effect: Effect, turn: &mut Turn<'_>) {
        match effect {
            Effect::Accept(id, expires) => self.on_queue_accepts(id, expires, turn),
            Effect::Refuse(id, refusal) => self.on_queue_refuses(id, refusal, turn),
            Effect::TookOver(from, to) => self.on_took_over(from, to, turn),
            Effect::Notify(id, notice) => self.on_queue_notifies(id, notice, turn),
            Effect::Moved(id, to) => self.on_entry_moved(callee, id, to, turn),
            Effect::Ended(id, end) => self.on_entry_ended(id, end, turn),
        }
    }

    fn on_queue_accepts(
        &mut self,
        subscription: SubscriptionId,
        expires: Duration,
        turn: &mut Turn<'_>,
    ) {
        // A look at the queue is nobody's place.
        self.take_newcomer(subscription);
        let Some(route) = self.routes.get(&subscription).cloned() else {
            return;
        };
        if route.roles == Roles::Call {
            return;
        }
        if route.roles == Roles::Both {
            let accepted = agent::Event::Accepted(subscription, expires);
            self.post_agent(route.names.caller.clone(), accepted);
            return;
        }
        if let Some(completion) = self.completions.get_mut(&route.names.id)
            && completion.life == Life::Accepted
            && !expires.is_zero()
            && completion.renewal == Renewal::Shortens
        {
            completion.ends = turn.now + expires;
        }
        if expires.is_zero() {
            // R18: who has taken it back is told so when the store knows it, or another process
            // would serve it.
            self.keep(route.names.id);
        }
        let accept = Output::Accept {
            subscription,
            expires,
            cce: route.names.cce,
        };
        self.emit(route.names.id, accept, turn);
    }

    fn on_queue_refuses(
        &mut self,
        subscription: SubscriptionId,
        refusal: Refusal,
        turn: &mut Turn<'_>,
    ) {
        let newcomer = self.take_newcomer(subscription);
        let is_new = newcomer.is_some();
        let reject = Reject::of_queue(refusal, self.settings.monitor.times.expires_min);
        let Some(route) = self.routes.get(&subscription).cloned() else {
            return;
        };
        if route.roles == Roles::Both {
            let refused = agent::Event::Refused(subscription, reject.status());
            self.post_agent(route.names.caller.clone(), refused);
            return;
        }
        if route.roles == Roles::Call {
            self.routes.remove(&subscription);
            return refuse_camp(newcomer, reject, turn);
        }
        // One that has just ended keeps its route for the last NOTIFY, which the pace holds back.
        if is_new {
            self.routes.remove(&subscription);
        }
        turn.out.push(Output::Reject {
            subscription,
            reject,
        });
    }

    /// CC-36: the completion, its name and its place go over to the new dialog.
    fn on_took_over(&mut self, from: SubscriptionId, to: SubscriptionId, turn: &mut Turn<'_>) {
        let newcomer = self.take_newcomer(to);
        let Some(Route { names, .. }) = self.routes.get(&from).cloned() else {
            return;
        };
        let id = names.id;
        self.wake_agent(&names.caller);
        if let Some(route) = self.routes.get_mut(&to) {
            route.names = names;
        }
        if self.goes_on_as_callback(id, to) {
            return;
        }
        if let Some(completion) = self.completions.get_mut(&id) {
            if let Some(call) = completion.camped() {
                // He waits at his phone, and no longer with the call.
                turn.out.push(Output::EndCamp { call });
            }
            // An agent of ours that had it hears of its end, and is no longer asked.
            completion.roles = Roles::Monitor;
            completion.errand = Errand::Callback;
            completion.entry = Some(to);
            let (caller, before) = (completion.caller.clone(), completion.renewal);
            if let Some(newcomer) = newcomer {
                completion.renewal = newcomer.renewal;
                self.note_phone(&newcomer, turn);
            }
            self.forget_phone(&caller, before, turn);
            self.keep(id);
        }
    }

    fn on_queue_notifies(
        &mut self,
        subscription: SubscriptionId,
        notice: monitor::Notice,
        turn: &mut Turn<'_>,
    ) {
        let Some(route) = self.routes.get(&subscription).cloned() else {
            return;
        };
        if route.roles == Roles::Both {
            let notice = as_received(notice, self.settings.monitor.retention);
            let notified = agent::Event::Notified(subscription, notice);
            self.post_agent(route.names.caller.clone(), notified);
            return;
        }
        if let Lifetime::Terminated(_) = notice.life {
            self.routes.remove(&subscription);
        }
        if route.roles == Roles::Call {
            return;
        }
        let notify = Notify {
            state: notice.state,
            // CC-70: in all NOTIFYs, and in each the same.
            cce: route.names.cce,
            retention: self.settings.monitor.retention,
            life: notice.life,
        };
        let notify = Output::Notify {
            subscription,
            notify,
        };
        self.emit(route.names.id, notify, turn);
    }

    fn on_entry_moved(
        &mut self,
        callee: &Aor,
        subscription: SubscriptionId,
        to: Move,
        turn: &mut Turn<'_>,
    ) {
        if let Move::Queued(place) = to {
            self.on_entry_queued(callee, subscription, place, turn);
            return;
        }
        let Some(completion) = self.entered(subscription) else {
            return;
        };
        let id = completion.id;
        let is_wire = completion.roles == Roles::Monitor;
        let has_agent = completion.roles.has_agent();
        let now = turn.now;
        match to {
            Move::Selected => {
                completion.recalls = completion.recalls.saturating_add(1);
                // Told to the caller only after the store knows that it was the n-th time.
                self.keep(id);
            }
            Move::PutBack(why) => {
                let passed = why == Why::RecallPassed;
                completion.recalls_passed =
                    completion.recalls_passed.saturating_add(u16::from(passed));
                let again = passed && completion.recalls_passed > 1;
                // What it cost of his place.
                self.keep_later(id);
                if is_wire && again {
                    self.suspect(id, Pattern::ReadyWithoutCall, turn);
                }
            }
            Move::Suspended => {
                completion.suspended = Some(now);
                self.keep(id);
            }
            Move::Resumed => {
                let since = completion.suspended.take().unwrap_or(now);
                self.keep(id);
                if is_wire && now.since(since) > self.settings.timing.suspension_long {
                    self.suspect(id, Pattern::LongSuspension, turn);
                }
            }
            Move::Queued(_) | Move::Calling => {}
        }
        // Where the agent is here, it tells the story.
        if !has_agent {
            self.tell_entry(id, to, turn);
        }
        if to == Move::Selected {
            self.connect_camped(id, turn);
        }
    }

    fn on_entry_queued(
        &mut self,
        callee: &Aor,
        subscription: SubscriptionId,
        place: usize,
        turn: &mut Turn<'_>,
    ) {
        if let Some(newcomer) = self.take_newcomer(subscription) {
            self.note_phone(&newcomer, turn);
            self.insert(newcomer);
        }
        let Some(completion) = self.entered(subscription) else {
            return;
        };
        let (id, has_agent) = (completion.id, completion.roles.has_agent());
        completion.history.add(turn.now, Event::Queued(place));
        self.keep(id);
        self.begin_camp(id, turn);
        if !has_agent {
            self.accept(id, turn);
        }
        let waited_for = self.users.get(callee).map(|user| user.waited_for);
        let long = self.settings.timing.queue_long;
        if waited_for.is_some_and(|since| turn.now.since(since) > long) {
            self.suspect(id, Pattern::QueueNeverEmpty, turn);
        }
    }

    fn tell_entry(&mut self, id: CompletionId, to: Move, turn: &mut Turn<'_>) {
        let (event, stage) = match to {
            Move::Selected => (Event::Recalled, Some((Stage::Recalling, News::Recalling))),
            Move::Calling => (Event::CallStarted, Some((Stage::Calling, News::Calling))),
            Move::PutBack(why) => {
                let event = match why {
                    Why::CalleeTaken => Event::CalleeTaken,
                    Why::CallFailed => Event::CallFailed,
                    Why::Diverted => Event::Diverted,
                    Why::RecallPassed => Event::RecallPassed,
                    Why::Suspended => Event::Suspended,
                };
                (event, Some((Stage::Queued, News::Waiting(event))))
            }
            Move::Suspended => (Event::Suspended, None),
            Move::Resumed => (Event::Resumed, None),
            Move::Queued(place) => (Event::Queued(place), None),
        };
        self.story(id, event, stage, turn);
    }

    fn on_entry_ended(&mut self, subscription: SubscriptionId, end: End, turn: &mut Turn<'_>) {
        let Some(id) = self.entered(subscription).map(|it| it.id) else {
            return;
        };
        // What he has of it is made of its entry.
        self.wake_pair(id);
        let Some(completion) = self.completions.get_mut(&id) else {
            return;
        };
        completion.entry = None;
        let outcome = match end {
            End::Answered => Outcome::Completed,
            End::Expired => Outcome::Expired,
            End::Unsubscribed => Outcome::Cancelled,
            End::CalleeGone | End::Lost | End::NotRetained | End::RecallsUsedUp | End::Refused => {
                Outcome::Refused
            }
        };
        let has_agent = completion.roles.has_agent();
        if end == End::Lost {
            self.routes.remove(&subscription);
        }
        // Where the agent is here, it hears of the end and decides what it means.
        if !has_agent {
            self.finish(id, outcome, turn);
            self.end_camp(id, turn);
        }
    }

    /// The request that waited for what its queue says to this SUBSCRIBE.
    pub(super) fn take_newcomer(
        &mut self,
        subscription: SubscriptionId,
    ) -> Option<Box<Completion>> {
        self.newcomer
            .take_if(|newcomer| newcomer.entry == Some(subscription))
    }

    /// The completion whose entry in a queue this is.
    fn entered(&mut self, subscription: SubscriptionId) -> Option<&mut Completion> {
        let id = self.routes.get(&subscription)?.names.id;
        let completion = self.completions.get_mut(&id)?;
        (completion.entry == Some(subscription)).then_some(completion)
    }

    /// CC-74: for the log and a counter.
    fn suspect(&self, id: CompletionId, pattern: Pattern, turn: &mut Turn<'_>) {
        if let Some(completion) = self.completions.get(&id) {
            turn.out.push(Output::Suspect(Suspicion {
                caller: Some(completion.caller.clone()),
                callee: Some(completion.callee.clone()),
                pattern,
            }));
        }
    }
}

/// The loop inside the process: what we send is what we receive.
fn as_received(notice: monitor::Notice, retention: Retention) -> Notice {
    Notice {
        state: Some(notice.state),
        life: match notice.life {
            Lifetime::Active(left) => NoticeLife::Active(left),
            Lifetime::Terminated(Reason::Timeout) => NoticeLife::TimedOut,
            Lifetime::Terminated(Reason::NoResource | Reason::Probation | Reason::Rejected) => {
                NoticeLife::Ended
            }
        },
        retention,
        cc_uri: None,
        call_info: None,
        contact: None,
    }
}
