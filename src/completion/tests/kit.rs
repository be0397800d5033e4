//! A world around one service: users with lines, a store, and a clock that is told.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::cc::addr::{AddrSpec, Aor};
use crate::cc::capsule::{CallIdentity, Offer};
use crate::cc::line::{Calls, Line};
use crate::cc::monitor::{Lifetime, Reason, Renewal};
use crate::cc::trust::{Dials, Peer, PeerId};
use crate::cc::{Basic, Condition, RecallState, SubscriptionId};
use crate::completion::{
    Binding, CceToken, Complete, CompletionId, Counts, FailedCall, Identity, Input, Mode, Monitors,
    News, Notify, Outcome, Output, Publish, PublishAt, Queue, Reject, Reloaded, Service, Settings,
    Subscribe, Ticket, WallTime, Which, WhichCall,
};
use crate::random::Rng;
use crate::store::memory::Memory;
use crate::store::{Answer, Key, Put, Store as _, Stored};
use crate::time::Timestamp;

pub(super) const ALICE: &str = "alice";
pub(super) const BOB: &str = "bob";
pub(super) const CAROL: &str = "carol";
pub(super) const DAVE: &str = "dave";

/// How the store answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum StoreMood {
    /// At once.
    Well,
    /// It makes the change and says nothing.
    Silent,
    /// It makes the change and does not know.
    Unsure,
    /// It makes no change and does not know.
    Failing,
    /// Somebody else has the record.
    Taken,
}

/// A service and what surrounds it.
pub(super) struct World {
    pub(super) service: Service,
    pub(super) store: Memory,
    pub(super) mood: StoreMood,
    pub(super) now: Timestamp,
    pub(super) lines: BTreeMap<Aor, Line>,
    /// Records that the last restart did not take up.
    pub(super) unrestored: usize,
    /// The subscriptions whose dialogs outlive a restart.
    pub(super) dialogs: Vec<SubscriptionId>,
    /// All that the service wanted done.
    pub(super) said: Vec<String>,
    calls: u64,
}

pub(super) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(super) fn user(name: &str) -> Aor {
    Aor::new(&format!("sip:{name}@home.example"))
}

pub(super) fn address(text: &str) -> AddrSpec {
    AddrSpec::new(text).expect("a URI")
}

pub(super) fn peer() -> Peer {
    Peer {
        id: PeerId(7),
        hosts: ["peer.example"].map(Box::from).into(),
        dials: Dials::Tokens,
    }
}

impl World {
    /// Everybody is registered and free.
    pub(super) fn new() -> Self {
        Self::with(&Settings::default())
    }

    pub(super) fn with(settings: &Settings) -> Self {
        Self {
            service: Service::new(*settings, WallTime(0), Rng::from_number(1)),
            store: Memory::new(),
            mood: StoreMood::Well,
            now: Timestamp::START + seconds(1000),
            lines: BTreeMap::new(),
            unrestored: 0,
            dialogs: Vec::new(),
            said: Vec::new(),
            calls: 0,
        }
    }

    /// The process ends and another one begins: the store is the same, and nobody is known.
    pub(super) fn restarts(&mut self, known: &[&str]) -> Vec<Output> {
        self.service = Service::new(Settings::default(), WallTime(0), Rng::from_number(2));
        self.lines = known
            .iter()
            .map(|name| (user(name), Line::UNKNOWN))
            .collect();
        let mut fresh = Vec::new();
        let stored = self.stored();
        let (all, dialogs) = (stored.len(), &self.dialogs);
        let records = stored.into_iter().map(|(key, stored)| Reloaded {
            key,
            stored,
            peer: Some(peer()),
            dialogs: dialogs.clone(),
        });
        self.service
            .restore(self.now, records.collect(), &mut fresh);
        let out = self.follow(fresh);
        self.unrestored = all - self.service.counts().completions;
        out
    }

    /// Takes in one input; what the store and the watchers do follows at once.
    pub(super) fn step(&mut self, input: Input) -> Vec<Output> {
        let mut fresh = Vec::new();
        self.service.handle(self.now, input, &mut fresh);
        self.follow(fresh)
    }

    /// Lets time pass.
    pub(super) fn pass(&mut self, time: Duration) -> Vec<Output> {
        let end = self.now + time;
        let mut out = Vec::new();
        let mut turns = 0;
        while let Some(due) = self.service.poll_timeout().filter(|due| *due <= end) {
            turns += 1;
            assert!(turns < 10_000, "a deadline does not go away");
            self.now = self.now.max(due);
            let mut fresh = Vec::new();
            self.service.handle_timeout(self.now, &mut fresh);
            out.extend(self.follow(fresh));
        }
        self.now = end;
        out
    }

    fn follow(&mut self, fresh: Vec<Output>) -> Vec<Output> {
        let mut out = Vec::new();
        for output in fresh {
            self.said.push(format!("{output:?}"));
            let reply = self.reply_to(&output);
            out.push(output);
            if let Some(reply) = reply {
                out.extend(self.step(reply));
            }
        }
        out
    }

    /// What those around the service say to an output.
    fn reply_to(&mut self, output: &Output) -> Option<Input> {
        if let Output::Persist(put) = output {
            let key = put.key;
            let answer = self.answer(put.clone())?;
            Some(Input::Persisted { key, answer })
        } else if let Output::Read(key) = output {
            let (key, stored) = (*key, self.store.read(*key));
            let answers = self.mood != StoreMood::Silent;
            answers.then_some(Input::Loaded { key, stored })
        } else if let Output::Watch { user } = output {
            let (user, line) = (user.clone(), self.line_of(user));
            Some(Input::Line { user, line })
        } else {
            None
        }
    }

    fn answer(&mut self, put: Put) -> Option<Answer> {
        match self.mood {
            StoreMood::Well => Some(self.store.put(put)),
            StoreMood::Silent => {
                self.store.put(put);
                None
            }
            StoreMood::Unsure => {
                self.store.put(put);
                Some(Answer::Unknown)
            }
            StoreMood::Failing => Some(Answer::Unknown),
            StoreMood::Taken => Some(Answer::Conflict),
        }
    }

    /// All that the store has.
    pub(super) fn stored(&self) -> Vec<(Key, Stored)> {
        (0..=255).flat_map(|part| self.store.load(part)).collect()
    }

    pub(super) fn line_of(&self, user: &Aor) -> Line {
        self.lines.get(user).copied().unwrap_or(Line {
            calls: Calls::Free,
            registered: Some(Timestamp::START),
            ..Line::UNKNOWN
        })
    }

    fn change(&mut self, name: &str, change: impl FnOnce(&mut Line)) -> Vec<Output> {
        let user = user(name);
        let mut line = self.line_of(&user);
        change(&mut line);
        self.lines.insert(user.clone(), line);
        self.step(Input::Line { user, line })
    }

    pub(super) fn engaged(&mut self, name: &str) -> Vec<Output> {
        self.change(name, |line| line.calls = Calls::Engaged)
    }

    /// His last call ends, one that he talked on.
    pub(super) fn hangs_up(&mut self, name: &str) -> Vec<Output> {
        let now = self.now;
        self.change(name, |line| {
            line.calls = Calls::Free;
            line.freed = Some(now);
            line.talked = Some(now);
        })
    }

    /// His last call ends, and he had not answered it.
    pub(super) fn stops_ringing(&mut self, name: &str) -> Vec<Output> {
        let now = self.now;
        self.change(name, |line| {
            line.calls = Calls::Free;
            line.freed = Some(now);
        })
    }

    pub(super) fn unregisters(&mut self, name: &str) -> Vec<Output> {
        self.change(name, |line| line.registered = None)
    }

    pub(super) fn registers(&mut self, name: &str) -> Vec<Output> {
        let now = self.now;
        self.change(name, |line| line.registered = Some(now))
    }

    /// After an emergency call of his.
    pub(super) fn called_for_help(&mut self, name: &str, quiet: Duration) -> Vec<Output> {
        let until = self.now + quiet;
        self.change(name, |line| line.quiet_until = Some(until))
    }

    pub(super) fn failed_call(
        &mut self,
        caller: &str,
        callee: &str,
        condition: Condition,
    ) -> FailedCall {
        self.calls += 1;
        FailedCall {
            call: CallIdentity(self.calls),
            caller: user(caller),
            from: address(user(caller).as_str()),
            identity: Identity::default(),
            binding: Binding(40),
            callee: user(callee),
            dialled: address(user(callee).as_str()),
            status: 486,
            condition,
            calls: self.line_of(&user(callee)).calls,
            monitors: Monitors::Own,
        }
    }

    /// One calls the other in vain; the token of the offer comes back.
    pub(super) fn fails(&mut self, caller: &str, callee: &str, condition: Condition) -> String {
        let call = self.failed_call(caller, callee, condition);
        let token = self.service.seal(&Offer {
            caller: call.caller.clone(),
            callee: call.callee.clone(),
            condition: call.condition,
            calls: call.calls,
            call: call.call,
            issued: self.now,
        });
        self.step(Input::CallFailed(call));
        token
    }

    /// He asks for his last failed call, by code or API.
    pub(super) fn asks(&mut self, caller: &str) -> Result<CompletionId, Reject> {
        let out = self.asks_in_full(caller);
        answer(&out).expect("the question is answered")
    }

    pub(super) fn asks_in_full(&mut self, caller: &str) -> Vec<Output> {
        self.step(Input::Complete(Complete {
            ticket: Ticket(1),
            caller: user(caller),
            call: WhichCall::Last,
            mode: Mode::Callback,
        }))
    }

    /// A busy callee, and a caller of ours who waits for him.
    pub(super) fn waits(&mut self, caller: &str, callee: &str) -> CompletionId {
        self.engaged(callee);
        self.fails(caller, callee, Condition::Busy);
        self.asks(caller).expect("a place in the queue")
    }

    /// The callee hangs up, and his guard time passes.
    pub(super) fn frees(&mut self, callee: &str) -> Vec<Output> {
        self.pass(seconds(60));
        let mut out = self.hangs_up(callee);
        out.extend(self.pass(seconds(5)));
        out
    }

    pub(super) fn takes_back(
        &mut self,
        caller: &str,
        which: Which,
    ) -> (Result<Vec<CompletionId>, Reject>, Vec<Output>) {
        let out = self.step(Input::Uncomplete {
            ticket: Ticket(2),
            caller: user(caller),
            which,
        });
        let result = out.iter().find_map(|output| {
            let Output::Uncompleted { result, .. } = output else {
                return None;
            };
            Some(result.clone())
        });
        (result.expect("the question is answered"), out)
    }

    /// An agent elsewhere subscribes with a token.
    pub(super) fn subscribes(
        &mut self,
        caller: &str,
        token: &str,
        call_id: &str,
    ) -> (SubscriptionId, Vec<Output>) {
        let subscription = self.service.next_subscription();
        let out = self.step(Input::Subscribe(Subscribe {
            subscription,
            caller: Some(user(caller)),
            queue: Queue::Token(token.into()),
            call_id: call_id.into(),
            expires: None,
            renewal: Renewal::Shortens,
        }));
        (subscription, out)
    }

    /// A busy callee, and a caller elsewhere who waits for him.
    pub(super) fn waits_elsewhere(&mut self, caller: &str, callee: &str) -> SubscriptionId {
        self.engaged(callee);
        let token = self.fails(caller, callee, Condition::Busy);
        let (subscription, out) = self.subscribes(caller, &token, caller);
        assert_eq!(notified(&out, subscription), [QUEUED]);
        subscription
    }

    pub(super) fn publishes(
        &mut self,
        caller: &str,
        at: PublishAt,
        basic: Basic,
    ) -> (Result<(), Reject>, Vec<Output>) {
        let out = self.step(Input::Publish(Publish {
            ticket: Ticket(3),
            at,
            caller: Some(user(caller)),
            basic,
            expires: None,
        }));
        let result = out.iter().find_map(|output| {
            let Output::PublishAnswered { result, .. } = output else {
                return None;
            };
            Some(*result)
        });
        (result.expect("a PUBLISH is answered"), out)
    }

    pub(super) fn id_of(&self, caller: &str) -> CompletionId {
        self.service.views(&user(caller))[0].id
    }

    /// After quiet nothing is left, here and in the store.
    pub(super) fn ends_empty(&mut self) {
        self.pass(seconds(4 * 3600));
        assert_eq!(self.service.counts(), Counts::default());
        assert_eq!(self.service.poll_timeout(), None);
        assert!(self.store.is_empty(), "records are left");
    }
}

pub(super) const QUEUED: (RecallState, Option<Reason>) = (RecallState::Queued, None);
pub(super) const READY: (RecallState, Option<Reason>) = (RecallState::Ready, None);

pub(super) fn over(reason: Reason) -> (RecallState, Option<Reason>) {
    (RecallState::Queued, Some(reason))
}

/// What one subscriber was told.
pub(super) fn notified(out: &[Output], id: SubscriptionId) -> Vec<(RecallState, Option<Reason>)> {
    let mine = notifies(out).into_iter().filter(|(to, _)| *to == id);
    mine.map(|(_, notify)| match notify.life {
        Lifetime::Active(_) => (notify.state, None),
        Lifetime::Terminated(reason) => (notify.state, Some(reason)),
    })
    .collect()
}

pub(super) fn notifies(out: &[Output]) -> Vec<(SubscriptionId, Notify)> {
    let notifies = out.iter().filter_map(|output| {
        let Output::Notify {
            subscription,
            notify,
        } = output
        else {
            return None;
        };
        Some((*subscription, *notify))
    });
    notifies.collect()
}

/// The name of an entry, from its last NOTIFY.
pub(super) fn cce_of(out: &[Output], id: SubscriptionId) -> CceToken {
    let mine = notifies(out).into_iter().rfind(|(to, _)| *to == id);
    mine.expect("a NOTIFY").1.cce
}

/// The callers who are rung.
pub(super) fn rung(out: &[Output]) -> Vec<Aor> {
    let recalls = out.iter().filter_map(|output| {
        let Output::Recall(recall) = output else {
            return None;
        };
        Some(recall.caller.clone())
    });
    recalls.collect()
}

/// The addresses that are called.
pub(super) fn called(out: &[Output]) -> Vec<String> {
    let calls = out.iter().filter_map(|output| {
        let Output::Call(call) = output else {
            return None;
        };
        Some(call.target.as_str().to_owned())
    });
    calls.collect()
}

/// The recalls that are stopped.
pub(super) fn stopped(out: &[Output]) -> Vec<CompletionId> {
    let stops = out.iter().filter_map(|output| {
        let Output::EndRecall { id, .. } = output else {
            return None;
        };
        Some(*id)
    });
    stops.collect()
}

/// How requests ended.
pub(super) fn ended(out: &[Output]) -> Vec<(CompletionId, Outcome)> {
    let ends = out.iter().filter_map(|output| {
        let Output::Tell(tell) = output else {
            return None;
        };
        let News::Ended { outcome, .. } = tell.news else {
            return None;
        };
        Some((tell.id, outcome))
    });
    ends.collect()
}

/// The answer to a wish for completion.
pub(super) fn answer(out: &[Output]) -> Option<Result<CompletionId, Reject>> {
    out.iter().find_map(|output| {
        let Output::Completed { result, .. } = output else {
            return None;
        };
        Some(*result)
    })
}

/// Why a SUBSCRIBE was refused.
pub(super) fn refused(out: &[Output]) -> Option<Reject> {
    out.iter().find_map(|output| {
        let Output::Reject { reject, .. } = output else {
            return None;
        };
        Some(*reject)
    })
}
