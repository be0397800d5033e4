//! Random lives of many completions, and what must hold in all of them.
//!
//! Spec: DESIGN §13 (invariants). The same seed gives the same life.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::cc::agent::{Life, Notice, Published, RecallFailure};
use crate::cc::document::Retention;
use crate::cc::line::Calls;
use crate::cc::monitor::{Found, Renewal};
use crate::cc::{Basic, Condition, RecallState, SubscriptionId};
use crate::completion::rest::AWAKE;
use crate::completion::{
    Complete, CompletionId, Input, Leave, Mode, Monitors, Offered, Output, Publish, PublishAt,
    Queue, Roles, Settings, Subscribe, Taking, Ticket, Which, WhichCall,
};
use crate::random::Rng;

use super::kit::{StoreMood, World, address, peer, seconds, user};
use super::seen::{FAR, Sim, Store, Turn};

/// Callers with an agent here, and callers with one elsewhere; each also a callee.
const LOCAL: [&str; 3] = ["alice", "bob", "carol"];
const ELSEWHERE: [&str; 2] = ["dave", "erin"];

/// Texts live no longer than all else does.
fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.timing.message_lasts = Duration::from_hours(1);
    settings
}

impl Sim {
    fn new(seed: u64, store: Store) -> Self {
        Self {
            world: World::with(&settings()),
            rng: Rng::from_number(seed),
            store,
            tickets: 0,
            open_tickets: BTreeSet::new(),
            open_subscribes: Vec::new(),
            dialogs: BTreeMap::new(),
            far: BTreeSet::new(),
            publishing: BTreeSet::new(),
            accepted: BTreeMap::new(),
            taken_back: BTreeSet::new(),
            ringing: BTreeSet::new(),
            tokens: Vec::new(),
            recalls: 0,
            texts: BTreeMap::new(),
        }
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        let at = self.rng.below(from.len() as u64);
        from.get(usize::try_from(at).expect("small")).copied()
    }

    fn anybody(&mut self) -> &'static str {
        let all = [LOCAL.as_slice(), &ELSEWHERE].concat();
        self.pick(&all).expect("somebody")
    }

    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.open_tickets.insert(ticket);
        ticket
    }

    pub(super) fn step(&mut self, input: Input) {
        let out = self.world.step(input);
        self.watch(out);
    }

    pub(super) fn pass(&mut self, time: Duration) {
        // In slices, so that each output is seen at about its time.
        let mut left = time;
        while !left.is_zero() {
            let next = self.world.service.poll_timeout();
            let until = next.map_or(left, |due| due.since(self.world.now).min(left));
            let slice = until.max(Duration::from_millis(1)).min(left);
            let out = self.world.pass(slice);
            self.watch(out);
            left -= slice;
        }
    }

    /// One random thing happens.
    fn act(&mut self) {
        match self.rng.below(34) {
            0..=3 => {
                let bound = self.pick(&[2_000, 8_000, 25_000, 90_000, 900_000]);
                let millis = self.rng.below(bound.expect("a bound"));
                self.pass(Duration::from_millis(millis));
            }
            4..=6 => self.change_a_line(),
            7..=11 => self.free_somebody(),
            12..=15 => self.fail_and_ask(),
            16..=20 => self.end_a_recall(),
            21..=24 => self.cc_call(),
            25 => self.take_back(),
            26 => self.dialog_event(),
            27 => self.publish(),
            28 | 29 => self.far_event(),
            30 => self.odd_event(),
            31 => self.leave_a_text(),
            32 => self.take_a_text(),
            _ => self.change_the_mood(),
        }
    }

    /// Somebody who is waited for talks, hangs up, and has his guard time.
    fn free_somebody(&mut self) {
        let living = self.living();
        let Some(id) = self.pick(&living) else {
            return;
        };
        let view = self.world.service.view(id).expect("it lives");
        let callee = view.callee.clone();
        let all = [LOCAL.as_slice(), &ELSEWHERE].concat();
        let Some(name) = all.into_iter().find(|name| user(name) == callee) else {
            return;
        };
        let out = self.world.engaged(name);
        self.watch(out);
        let talk = self.rng.below(60);
        self.pass(seconds(1 + talk));
        let out = self.world.hangs_up(name);
        self.watch(out);
        let after = self.rng.below(12);
        self.pass(seconds(after));
    }

    fn change_a_line(&mut self) {
        let name = self.anybody();
        let out = match self.rng.below(8) {
            0..=2 => self.world.engaged(name),
            3..=5 => self.world.hangs_up(name),
            6 => self.world.stops_ringing(name),
            _ if self.rng.below(2) == 0 => self.world.unregisters(name),
            _ => self.world.registers(name),
        };
        self.watch(out);
    }

    fn fail_and_ask(&mut self) {
        let caller = self.anybody();
        let callee = self.anybody();
        if caller == callee {
            return;
        }
        let condition = self.pick(&Condition::ALL).expect("one");
        if ELSEWHERE.contains(&caller) {
            let token = self.world.fails(caller, callee, condition);
            self.subscribe(caller, &token);
            self.tokens.push((caller, token));
            return;
        }
        if self.rng.below(3) == 0 {
            let mut call = self.world.failed_call(caller, FAR, condition);
            let uri = address("sip:cc-1@peer.example");
            call.dialled = address("sip:far@peer.example");
            call.monitors = Monitors::Peer {
                peer: peer(),
                offers: vec![Offered { uri, m: None }],
            };
            self.step(Input::CallFailed(call));
        } else {
            self.world.fails(caller, callee, condition);
        }
        let ticket = self.ticket();
        self.step(Input::Complete(Complete {
            ticket,
            caller: user(caller),
            call: WhichCall::Last,
            mode: Mode::Callback,
        }));
    }

    fn leave_a_text(&mut self) {
        let (caller, callee) = (self.anybody(), self.anybody());
        if caller == callee {
            return;
        }
        self.world.fails(caller, callee, Condition::NoReply);
        let ticket = self.ticket();
        let text = self.pick(&["one", "two"]).expect("one");
        self.step(Input::Leave(Leave {
            ticket,
            caller: user(caller),
            call: WhichCall::Last,
            text: text.into(),
        }));
    }

    fn take_a_text(&mut self) {
        let callees: Vec<_> = self.texts.keys().cloned().collect();
        let at = self.rng.below(callees.len() as u64);
        let callee = callees.get(usize::try_from(at).expect("small"));
        if let Some((callee, (id, _))) = callee.and_then(|callee| self.texts.remove_entry(callee)) {
            let all = [Taking::Failed, Taking::Refused, Taking::Taken];
            let how = self.pick(&all).expect("one");
            self.step(Input::Delivered { id, callee, how });
        }
    }

    fn subscribe(&mut self, caller: &str, token: &str) {
        let subscription = self.world.service.next_subscription();
        self.open_subscribes.push(subscription);
        // Now and then a fork of the one before.
        let call_id = format!("call-{}", self.rng.below(30));
        let expires = self.pick(&[None, Some(0), Some(60), Some(3600)]);
        self.step(Input::Subscribe(Subscribe {
            subscription,
            caller: Some(user(caller)),
            queue: Queue::Token(token.into()),
            call_id: (&*call_id).into(),
            expires: expires.flatten().map(seconds),
            renewal: Renewal::Shortens,
        }));
    }

    fn take_back(&mut self) {
        let ticket = self.ticket();
        let name = self.anybody();
        let which = self.pick(&[Which::Last, Which::All]).expect("one");
        self.step(Input::Uncomplete {
            ticket,
            caller: user(name),
            which,
        });
    }

    fn end_a_recall(&mut self) {
        let ringing: Vec<_> = self.ringing.iter().copied().collect();
        let Some(id) = self.pick(&ringing) else {
            return;
        };
        if self.rng.below(3) > 0 {
            self.step(Input::RecallAnswered { id });
            return;
        }
        let why = self.pick(&[
            RecallFailure::Busy,
            RecallFailure::NoCall,
            RecallFailure::Refused,
            RecallFailure::Unanswered,
            RecallFailure::Unreachable,
        ]);
        self.ringing.remove(&id);
        let why = why.expect("one");
        self.step(Input::RecallFailed { id, why });
    }

    fn cc_call(&mut self) {
        let odd = self.rng.below(8) == 0;
        let mut living = self.living();
        living.retain(|id| odd || self.is_selected(*id));
        let Some(id) = self.pick(&living) else {
            return;
        };
        if self.is_selected(id) {
            self.step(Input::CcCallArrived { id });
            self.arrived(id);
        }
        self.pass(seconds(3));
        match self.rng.below(4) {
            0 | 1 => {
                let calls = self.pick(&[Calls::Engaged, Calls::Free]).expect("one");
                let found = Found {
                    condition: self.pick(&Condition::ALL).expect("one"),
                    calls,
                };
                let found = (self.rng.below(4) > 0).then_some(found);
                self.ringing.remove(&id);
                self.step(Input::CcCallFailed { id, found });
            }
            2 => self.step(Input::CcCallAnswered { id }),
            _ => {
                self.ringing.remove(&id);
                self.step(Input::CcCallDiverted { id });
            }
        }
    }

    fn is_selected(&self, id: CompletionId) -> bool {
        let view = self.world.service.view(id).expect("it lives");
        let service = &self.world.service;
        service.recognise(view.caller, view.callee).is_some()
    }

    /// The caller has called: his time to do so is no longer measured.
    fn arrived(&mut self, id: CompletionId) {
        let Some(view) = self.world.service.view(id) else {
            return;
        };
        let dialogs = self.dialogs.values_mut();
        for dialog in dialogs.filter(|dialog| dialog.cce == Some(view.cce)) {
            dialog.turn = Turn::Called;
        }
    }

    fn dialog_event(&mut self) {
        let dialogs: Vec<_> = self.dialogs.keys().copied().collect();
        let Some(subscription) = self.pick(&dialogs) else {
            return;
        };
        match self.rng.below(4) {
            0 => {
                self.dialogs.remove(&subscription);
                self.step(Input::NotifyFailed { subscription });
            }
            1 => self.refresh(subscription, Some(Duration::ZERO)),
            _ => self.refresh(subscription, None),
        }
    }

    fn refresh(&mut self, subscription: SubscriptionId, expires: Option<Duration>) {
        self.open_subscribes.push(subscription);
        self.step(Input::Refresh {
            subscription,
            expires,
        });
    }

    fn publish(&mut self) {
        let dialogs: Vec<_> = self.dialogs.keys().copied().collect();
        let Some(subscription) = self.pick(&dialogs) else {
            return;
        };
        let basic = self.pick(&[Basic::Closed, Basic::Open]).expect("one");
        let ticket = self.ticket();
        if basic == Basic::Open
            && let Some(dialog) = self.dialogs.get_mut(&subscription)
        {
            dialog.suspended = false;
        }
        let out = self.world.step(Input::Publish(Publish {
            ticket,
            at: PublishAt::Subscription(subscription),
            caller: None,
            basic,
            expires: None,
        }));
        let done = out.iter().any(|output| {
            matches!(output, Output::PublishAnswered { result: Ok(()), ticket: to } if *to == ticket)
        });
        self.watch(out);
        if done
            && basic == Basic::Closed
            && let Some(dialog) = self.dialogs.get_mut(&subscription)
        {
            dialog.suspended = true;
        }
    }

    fn far_event(&mut self) {
        let far: Vec<_> = self.far.iter().copied().collect();
        let Some(subscription) = self.pick(&far) else {
            return;
        };
        let notice = Notice {
            state: self
                .pick(&[Some(RecallState::Queued), Some(RecallState::Ready)])
                .flatten(),
            life: Life::Active(seconds(1800)),
            retention: Retention::Kept,
            cc_uri: None,
            call_info: None,
            contact: None,
        };
        let last = Notice {
            life: self.pick(&[Life::Ended, Life::TimedOut]).expect("one"),
            ..notice.clone()
        };
        let expires = seconds(3600);
        let input = match self.rng.below(8) {
            0 => Input::Refused {
                subscription,
                status: 480,
            },
            1 => Input::Accepted {
                subscription,
                expires,
            },
            2 => Input::Notified {
                subscription,
                notice: last,
            },
            _ => Input::Notified {
                subscription,
                notice,
            },
        };
        self.step(input);
        if self.publishing.remove(&subscription) {
            let how = self.pick(&[Published::Done, Published::Failed]);
            let how = how.expect("one");
            self.step(Input::Published { subscription, how });
        }
    }

    /// What should not come, or seldom does.
    fn odd_event(&mut self) {
        let subscription = SubscriptionId(self.rng.below(500));
        let fork = SubscriptionId(100_000 + self.rng.below(1000));
        let id = CompletionId::from_bits(self.rng.bits().into());
        let name = self.anybody();
        let living = self.living();
        match self.rng.below(7) {
            0 => self.step(Input::RecallAnswered { id }),
            1 => self.step(Input::CcCallAnswered { id }),
            2 => self.step(Input::Forked {
                of: subscription,
                subscription: fork,
            }),
            3 => self.step(Input::UserGone { user: user(name) }),
            4 => {
                let other = self.anybody();
                self.step(Input::CallAnswered {
                    caller: user(name),
                    callee: user(other),
                });
            }
            5 => {
                if let Some(id) = self.pick(&living) {
                    let ticket = self.ticket();
                    self.step(Input::Refuse { ticket, id });
                }
            }
            _ => {
                let count = self.tokens.len() as u64;
                let at = usize::try_from(self.rng.below(count)).expect("small");
                if let Some((_, token)) = self.tokens.get(at).cloned() {
                    self.subscribe(name, &token);
                }
            }
        }
    }

    fn change_the_mood(&mut self) {
        if self.store == Store::Moody {
            let moods = [
                StoreMood::Well,
                StoreMood::Well,
                StoreMood::Silent,
                StoreMood::Unsure,
                StoreMood::Failing,
            ];
            self.world.mood = self.pick(&moods).expect("one");
        }
    }

    fn living(&self) -> Vec<CompletionId> {
        let living = self.accepted.iter().filter(|(_, end)| end.is_none());
        let living = living.map(|(id, _)| *id);
        living
            .filter(|id| self.world.service.view(*id).is_some())
            .collect()
    }
}

fn lives(store: Store, seeds: u64, steps: usize) {
    let (mut accepted, mut recalls) = (Vec::new(), Vec::new());
    let mut outcomes = BTreeMap::new();
    for seed in 0..seeds {
        let mut sim = Sim::new(seed, store);
        for _ in 0..steps {
            sim.act();
        }
        sim.quiet();
        accepted.push(sim.accepted.len());
        recalls.push(sim.recalls);
        for end in sim.accepted.into_values().flatten() {
            *outcomes.entry(end).or_insert(0_usize) += 1;
        }
    }
    accepted.sort_unstable();
    recalls.sort_unstable();
    let middle = accepted.len() / 2;
    println!(
        "{store:?}: {} completions, {} recalls in the middle; {outcomes:?}",
        accepted[middle], recalls[middle]
    );
    assert!(accepted[middle] >= 10, "seeds that do nothing");
    assert!(recalls[middle] >= 4, "seeds that do nothing");
    assert_eq!(outcomes.len(), 4, "an outcome never comes");
}

#[test]
fn random_lives_keep_the_invariants() {
    lives(Store::Steady, 60, 400);
}

#[test]
fn random_lives_with_a_moody_store_end_all_that_was_accepted() {
    lives(Store::Moody, 60, 400);
}

/// DESIGN §11: whenever a process ends, all that it had accepted and that belongs nowhere else is there
/// in the next one. The story: of several texts for one callee only the last was.
#[test]
fn random_lives_go_on_in_the_next_process() {
    let (mut callbacks, mut texts) = (0, 0);
    for seed in 0..120 {
        let mut sim = Sim::new(seed, Store::Steady);
        for _ in 0..40 + seed {
            sim.act();
        }
        let roles = |id: &CompletionId| Some((*id, sim.world.service.view(*id)?.roles));
        let lived: Vec<_> = sim.living().iter().filter_map(roles).collect();
        sim.world.restarts(&LOCAL);
        for (id, roles) in lived {
            let count = match roles {
                Roles::Both => &mut callbacks,
                Roles::Text => &mut texts,
                // They end with a dialog, or with the call.
                Roles::Agent | Roles::Call | Roles::Monitor => continue,
            };
            *count += 1;
            assert!(sim.world.service.view(id).is_some(), "seed {seed}: {id}");
        }
    }
    assert!(callbacks.min(texts) > 20, "{callbacks} and {texts}");
}

/// What rests is made anew as it was: nobody could tell that it ever rested.
#[test]
fn random_lives_are_the_same_whether_or_not_machines_rest() {
    let mut rests = 0;
    for (seed, store) in (0..40).zip([Store::Steady, Store::Moody].into_iter().cycle()) {
        let [mut sim, mut other] = [0, 1].map(|_| Sim::new(seed, store));
        for step in 0..400 {
            sim.act();
            AWAKE.set(true);
            other.act();
            AWAKE.set(false);
            let said = [&mut sim, &mut other].map(|sim| std::mem::take(&mut sim.world.said));
            assert_eq!(said[0], said[1], "seed {seed}, step {step}");
            let due = [&sim, &other].map(|sim| sim.world.service.poll_timeout());
            assert_eq!(due[0], due[1], "seed {seed}, step {step}");
            rests += sim.world.service.resting();
            assert_eq!(other.world.service.resting(), 0);
        }
    }
    assert!(rests > 10_000, "nothing ever rests: {rests}");
}
