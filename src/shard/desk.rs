//! The completion desk: facts go to the service in their order, and what it wants is carried out.
//!
//! Spec: DESIGN §8 ("facts in, wishes out"); RULES R2, R6.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::cc::addr;
use crate::cc::capsule::CallIdentity;
use crate::completion::{self, CompletionId, Input, News, Outcome, Output, Pattern, Service, Tell};
use crate::location::Aor;
use crate::media::desk::RoomId;
use crate::observe::Pii;
use crate::random::Rng;
use crate::shard::codes::Asked;
use crate::shard::entries::Made;
use crate::shard::intrude::Intruding;
use crate::shard::keeping::Vault;
use crate::shard::messages::Delivering;
use crate::shard::pace::{Buckets, Rate};
use crate::shard::placing::Rung;
use crate::shard::record::CompletionRecord;
use crate::shard::subscriptions::Subscriptions;
use crate::shard::{Settings, Shard};
use crate::table::Key;
use crate::time::Timestamp;

/// Most facts that one input may cause; more means that the service and the calls chase each other.
const FACTS_MAX: usize = 10_000;
/// Most of them for each user, for the lines of all may change at once, or their timers run out.
const FACTS_EACH_MAX: usize = 16;

/// How often the same suspicion is worth a line.
const LINE: Duration = Duration::from_mins(1);
/// Most callers of whom it is remembered.
const SUSPECTED_MAX: usize = 1_000;

/// What completion holds in a worker.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) service: Service,
    pub(super) vault: Vault,
    /// What the service has yet to be told.
    pub(super) facts: VecDeque<Input>,
    wishes: Vec<Output>,
    pub(super) subscriptions: Subscriptions,
    /// The calls that ring a caller.
    pub(super) recalls: BTreeMap<CompletionId, Rung>,
    /// The CC calls that callers make themselves.
    pub(super) cc_calls: BTreeMap<CompletionId, Made>,
    /// The request of each caller whose phone was asked to dial by itself.
    pub(super) referring: BTreeMap<addr::Aor, CompletionId>,
    /// Recalls whose next way to the callee is to be tried.
    pub(super) unplaced: Vec<CompletionId>,
    /// The calls that are to join others, by the intruder's call.
    pub(super) intruding: BTreeMap<Key, Intruding>,
    /// The texts on their way, by number.
    pub(super) deliveries: BTreeMap<u64, Delivering>,
    /// The codes that wait for their answer.
    pub(super) asked: BTreeMap<completion::Ticket, Asked>,
    /// The calls that may wait, or do.
    pub(super) camps: BTreeMap<CallIdentity, Key>,
    /// What was asked for them.
    pub(super) camp_tickets: BTreeMap<completion::Ticket, CallIdentity>,
    /// The rooms of those whose digit waits for its answer.
    pub(super) prompts: BTreeMap<completion::Ticket, RoomId>,
    /// Whose suspicious ways were logged within the last minute.
    suspected: Buckets<(Pattern, Option<addr::Aor>)>,
    last_ticket: u64,
    #[cfg(test)]
    pub(super) fails: bool,
}

impl Desk {
    pub(super) fn new(settings: &Settings, rng: &mut Rng) -> Self {
        let keeps = settings.completion.keeps;
        let started = settings.started;
        let settings = &settings.completion.service;
        let mut service = Service::new(*settings, started, Rng::from_number(rng.bits()));
        if keeps {
            // What was kept has yet to be read.
            service.handle(Timestamp::START, Input::StoreFailed, &mut Vec::new());
        }
        Self {
            service,
            vault: Vault::new(keeps),
            facts: VecDeque::new(),
            wishes: Vec::new(),
            subscriptions: Subscriptions::new(subscriptions_max(settings)),
            recalls: BTreeMap::new(),
            cc_calls: BTreeMap::new(),
            referring: BTreeMap::new(),
            unplaced: Vec::new(),
            intruding: BTreeMap::new(),
            deliveries: BTreeMap::new(),
            asked: BTreeMap::new(),
            camps: BTreeMap::new(),
            camp_tickets: BTreeMap::new(),
            prompts: BTreeMap::new(),
            suspected: Buckets::new(Rate::one_in(LINE), SUSPECTED_MAX),
            last_ticket: 0,
            #[cfg(test)]
            fails: false,
        }
    }

    pub(super) fn set_settings(&mut self, settings: &completion::Settings) {
        self.service.set_settings(*settings);
        self.subscriptions.set_max(subscriptions_max(settings));
    }

    pub(super) fn ticket(&mut self) -> completion::Ticket {
        self.last_ticket += 1;
        completion::Ticket(self.last_ticket)
    }
}

/// Each request may have one towards its caller's side and one towards its callee's.
fn subscriptions_max(settings: &completion::Settings) -> usize {
    settings.limits.total_max.saturating_mul(2)
}

/// A user, as the service knows him.
pub(super) fn name_of(user: &Aor) -> addr::Aor {
    addr::Aor::from(Arc::clone(user.as_arc()))
}

/// The user of a name that the service knows.
pub(super) fn user_of(name: &addr::Aor) -> Aor {
    Aor::from_canonical(Arc::clone(name.as_arc()))
}

impl Shard {
    /// Tells the service what has happened, until nothing is left to tell.
    pub(super) fn settle(&mut self, now: Timestamp) {
        let facts_max = FACTS_MAX + FACTS_EACH_MAX * self.users.len();
        let mut facts = 0;
        self.place_unplaced(now);
        while let Some(fact) = self.next_fact() {
            #[cfg(test)]
            assert!(!std::mem::take(&mut self.desk.fails), "failpoint");
            facts += 1;
            assert!(
                facts <= facts_max,
                "the service and the calls chase each other"
            );
            self.follow_connection(now, &fact);
            self.overhear(now, &fact);
            let mut wishes = std::mem::take(&mut self.desk.wishes);
            self.desk.service.handle(now, fact, &mut wishes);
            self.carry_out_all(now, wishes);
            self.place_unplaced(now);
        }
    }

    /// Whether the service is to be told anything; most messages are of no interest to it.
    pub(super) fn has_news(&self) -> bool {
        let has_to_do = !self.desk.facts.is_empty() || !self.desk.unplaced.is_empty();
        has_to_do || self.users.has_changed() || self.registrar.has_changed()
    }

    /// Lets the service act on what is due.
    pub(super) fn wake_service(&mut self, now: Timestamp) {
        if self
            .desk
            .service
            .poll_timeout()
            .is_some_and(|due| due <= now)
        {
            let mut wishes = std::mem::take(&mut self.desk.wishes);
            self.desk.service.handle_timeout(now, &mut wishes);
            self.carry_out_all(now, wishes);
        }
    }

    /// DESIGN §4: the service has broken down, and is made anew from what it has kept. Requests whose
    /// other end is a dialog are lost with it: their agents find out by 481, and ask again.
    pub(super) fn rebuild_desk(&mut self, now: Timestamp) {
        let fresh = Desk::new(&self.settings, &mut self.rng);
        let broken = std::mem::replace(&mut self.desk, fresh);
        self.desk.vault = broken.vault;
        self.desk.last_ticket = broken.last_ticket;
        for asked in broken.asked.into_values() {
            self.give_up_code(now, &asked);
        }
        self.provider.give_up();
        self.users.unwatch_all();
        self.sources.clear();
        tracing::error!("completion is made anew from its store");
        if let Some(records) = self.desk.vault.reload() {
            self.take_up(now, records);
        }
    }

    /// What happened on a user's lines comes after what caused it.
    fn next_fact(&mut self) -> Option<Input> {
        if let Some(fact) = self.desk.facts.pop_front() {
            return Some(fact);
        }
        while let Some(user) = self.registrar.poll_change() {
            self.users.note_change(&user);
        }
        let user = self.users.take_changed()?;
        Some(self.lines_of(&user))
    }

    /// What is known of a user's lines.
    pub(super) fn lines_of(&self, user: &Aor) -> Input {
        // Whose registration somebody else keeps, who tells of him.
        let elsewhere = || self.users.far(user).map(|_| Timestamp::START);
        let registered = self.registrar.registered_since(user).or_else(elsewhere);
        Input::Line {
            line: self.users.line(user, registered),
            user: name_of(user),
        }
    }

    pub(super) fn carry_out_all(&mut self, now: Timestamp, mut wishes: Vec<Output>) {
        for wish in wishes.drain(..) {
            self.carry_out(now, wish);
        }
        self.desk.wishes = wishes;
    }

    fn carry_out(&mut self, now: Timestamp, wish: Output) {
        match wish {
            Output::Accept {
                subscription,
                expires,
                cce,
            } => self.accept_subscribe(now, subscription, (expires, cce)),
            Output::Reject {
                subscription,
                reject,
            } => self.reject_subscribe(now, subscription, reject),
            Output::Notify {
                subscription,
                notify,
            } => self.send_notify(now, subscription, &notify),
            Output::PublishAnswered { ticket, result } => self.answer_publish(now, ticket, result),
            Output::Subscribe(subscription) => self.send_subscribe(now, &subscription),
            Output::Unsubscribe { subscription } => self.send_unsubscribe(now, subscription),
            Output::Refresh {
                subscription,
                expires,
            } => self.send_refresh(now, subscription, expires),
            Output::Forget { subscription } => self.desk.subscriptions.forget(subscription),
            Output::Publish(publication) => self.send_publish(now, &publication),
            Output::Recall(recall) => self.recall(now, &recall),
            Output::EndRecall { id, why } => self.end_recall(now, id, why),
            Output::Call(call) => self.place_cc_call(now, &call),
            Output::Camp { id, call, lasts } => self.camp(now, id, (call, lasts)),
            Output::Connect { id, call } => self.connect_camped(now, id, call),
            Output::EndCamp { call } => self.end_camp(now, call),
            Output::Deliver(delivery) => self.deliver(now, delivery),
            Output::Lamp { user, count } => {
                self.provider.note_lamp(&user, count);
                self.light(now, &user);
            }
            Output::Completed { ticket, result } => {
                if !self.answer_camp(now, ticket, &result)
                    && !self.answer_prompt(now, ticket, &result)
                {
                    self.answer_asker(now, ticket, result.map(Some));
                }
            }
            Output::Uncompleted { ticket, result } => {
                self.answer_asker(now, ticket, result.map(|_| None));
            }
            Output::Persist(put) => self.persist(put),
            Output::Read(key) => self.read_kept(key),
            Output::Watch { user } => {
                let user = user_of(&user);
                self.users.watch(&user);
            }
            Output::Unwatch { user } => {
                let user = user_of(&user);
                self.users.unwatch(now, &user);
            }
            Output::WaitedFor { user } => self.watch_far(now, &user_of(&user)),
            Output::Unwaited { user } => self.unwatch_far(now, &user_of(&user)),
            Output::Tell(tell) => self.log_news(&tell),
            Output::Suspect(suspicion) => self.note_suspicion(now, &suspicion),
        }
    }

    fn note_suspicion(&mut self, now: Timestamp, suspicion: &completion::Suspicion) {
        self.counters.completions_suspected += 1;
        let whose = (suspicion.pattern, suspicion.caller.clone());
        if self.desk.suspected.take(now, whose) {
            tracing::warn!(
                caller = suspicion.caller.as_ref().map(show),
                callee = suspicion.callee.as_ref().map(show),
                pattern = suspicion.pattern.as_str(),
                "this looks like probing"
            );
        }
    }

    /// Who asked by the API, or by a code.
    fn answer_asker(
        &mut self,
        now: Timestamp,
        ticket: completion::Ticket,
        result: Result<Option<CompletionId>, completion::Reject>,
    ) {
        if !self.answer_application(ticket, result) {
            self.answer_code(now, ticket, result);
        }
    }

    fn log_news(&mut self, tell: &Tell) {
        self.provider.note(tell);
        let (mut why, mut outcome, mut story) = (None, None, None);
        let what = match &tell.news {
            News::Accepted(_) => {
                self.counters.completions_accepted += 1;
                "completion accepted"
            }
            News::Recalling => {
                self.counters.completions_recalled += 1;
                "caller is recalled"
            }
            News::Calling => "completing call is under way",
            News::Waiting(event) => {
                why = Some(event.to_string());
                "completion waits"
            }
            News::Ended {
                outcome: end,
                history,
                by,
                ..
            } => {
                self.records.on_completion_ended(|| CompletionRecord {
                    id: tell.id,
                    caller: plain(&tell.caller).to_owned(),
                    callee: plain(&tell.callee).to_owned(),
                    mode: tell.mode,
                    outcome: *end,
                    by: *by,
                    history: history.clone(),
                });
                self.provider.count_end(tell.mode, *end);
                *match end {
                    Outcome::Cancelled => &mut self.counters.completions_cancelled,
                    Outcome::Completed => &mut self.counters.completions_completed,
                    Outcome::Expired => &mut self.counters.completions_expired,
                    Outcome::Refused => &mut self.counters.completions_refused,
                } += 1;
                outcome = Some(end.to_string());
                story = Some(history.to_string());
                "completion ended"
            }
        };
        tracing::info!(
            completion = %tell.id,
            caller = show(&tell.caller),
            callee = show(&tell.callee),
            mode = tell.mode.as_str(),
            why,
            outcome,
            story,
            "{what}"
        );
    }
}

/// A user in a log line.
pub(super) fn show(name: &addr::Aor) -> String {
    Pii(plain(name)).to_string()
}

/// A user of ours without the `@` that stands for our domain.
pub(super) fn plain(name: &addr::Aor) -> &str {
    name.as_str().trim_end_matches('@')
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::mpsc;

    use super::*;
    use crate::shard::Listener;

    /// What is logged.
    #[derive(Clone)]
    struct Paper(mpsc::Sender<Vec<u8>>);

    impl io::Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).expect("a reader");
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// How many lines the log has about probing after these suspicions, and what was counted.
    fn suspected(suspicions: &[(u64, &str)]) -> (usize, u64) {
        let listener = Listener::at("127.0.0.1:5060".parse().expect("an address"));
        let settings = Settings {
            listeners: vec![listener],
            ..Settings::default()
        };
        let mut shard = Shard::new(settings, Rng::from_number(1));
        let (page, pages) = mpsc::channel();
        let page = Paper(page);
        let log = tracing_subscriber::fmt().with_writer(move || page.clone());
        tracing::subscriber::with_default(log.finish(), || {
            for (seconds, caller) in suspicions {
                let suspicion = completion::Suspicion {
                    caller: Some(addr::Aor::new(caller)),
                    callee: None,
                    pattern: Pattern::NoFailedCall,
                };
                let now = Timestamp::START + Duration::from_secs(*seconds);
                shard.carry_out(now, Output::Suspect(suspicion));
            }
        });
        let log: Vec<u8> = pages.try_iter().flatten().collect();
        let log = String::from_utf8_lossy(&log);
        let lines = log.lines().filter(|line| line.contains("probing"));
        (lines.count(), shard.counters.completions_suspected)
    }

    /// CC-74
    #[test]
    fn the_same_suspicion_is_one_line_a_minute_and_a_count_each_time() {
        let same = [(0, "alice@"), (1, "alice@"), (59, "alice@")];
        assert_eq!(suspected(&same), (1, 3)); // CC-74
        let again = [(0, "alice@"), (59, "alice@"), (61, "alice@"), (62, "bob@")];
        assert_eq!(suspected(&again), (3, 4));
    }
}
