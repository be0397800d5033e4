//! After a restart: what the store kept is waited for again, each in its place.
//!
//! Spec: DESIGN §9, §11; RULES R2 (users are unknown after a crash).
//!
//! A request that was selected when the process ended waits like all others: who was rung is not
//! rung again without a new sign of the callee.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::cc::SubscriptionId;
use crate::cc::addr::Aor;
use crate::cc::agent::{self, Kept, NewRequest, Way};
use crate::cc::fork::CallId;
use crate::cc::id::CompletionId;
use crate::cc::line::Trigger;
use crate::cc::monitor::{self, Newcomer, Wait, Waiter};
use crate::cc::pace::Medium;
use crate::cc::trust::{Peer, PeerId};
use crate::completion::commit::removal;
use crate::completion::entry::{Aside, Commit, Completion, Errand, Life, Stage};
use crate::completion::history::{Event, Outcome};
use crate::completion::names::Names;
use crate::completion::output::Output;
use crate::completion::record::{Record, Roles};
use crate::completion::service::{Route, Service, Turn};
use crate::completion::wording::Wording;
use crate::store::{Key, Stored, Version};
use crate::time::Timestamp;

/// A record of the process before, and what is there of all that it needs.
#[derive(Clone, Debug)]
pub struct Reloaded {
    /// Where it is kept.
    pub key: Key,
    /// The record.
    pub stored: Stored,
    /// The peer behind which its monitor is, if there is one and it is still configured.
    pub peer: Option<Peer>,
    /// The subscriptions whose dialogs are there.
    pub dialogs: Vec<SubscriptionId>,
}

impl Service {
    /// Takes up the records of the process before this one; to be called before any input.
    ///
    /// Those whose other end was a dialog that is not there any more have ended. The subscriptions
    /// that are of use, the lowest number first.
    pub fn restore(
        &mut self,
        now: Timestamp,
        records: Vec<Reloaded>,
        out: &mut Vec<Output>,
    ) -> Vec<SubscriptionId> {
        self.is_down = false;
        self.gate.set_shut(false);
        let turn = &mut Turn { now, out };
        let mut known = Vec::with_capacity(records.len());
        for reloaded in records {
            if let Some(record) = Record::decode(&reloaded.stored.record, self.started) {
                known.push((record, reloaded));
            } else {
                let gone = removal(reloaded.key, reloaded.stored.version);
                turn.out.push(Output::Persist(gone));
            }
        }
        // Queues are in the order of their coming.
        known.sort_by_key(|(record, _)| record.order);
        let latest = latest(&known);
        let mut used = Vec::new();
        for (record, reloaded) in known {
            // R21: before a caller asked for the same callee again, he was told that this one was
            // refused, as the store had not said that it has it.
            if latest.get(&wish(&record)) != Some(&record.order) {
                let gone = removal(reloaded.key, reloaded.stored.version);
                turn.out.push(Output::Persist(gone));
                continue;
            }
            used.extend(self.take_up(record, reloaded, turn));
            self.run(turn);
        }
        // An old entry that was taken over has a younger number than those behind it.
        used.sort_unstable();
        used
    }

    fn take_up(
        &mut self,
        mut record: Record,
        reloaded: Reloaded,
        turn: &mut Turn<'_>,
    ) -> Vec<SubscriptionId> {
        let mut ids = Vec::new();
        let is_there = |id: &SubscriptionId| reloaded.dialogs.contains(id);
        self.last_order = self.last_order.max(record.order);
        if let Some((entry, ..)) = &record.entry {
            ids.push(*entry);
        }
        if let Some(kept) = &mut record.request {
            if record.roles == Roles::Agent {
                kept.subscriptions.retain(|sub| is_there(&sub.id));
            }
            ids.extend(kept.subscriptions.iter().map(|sub| sub.id));
        }
        ids.sort_unstable();
        ids.dedup();
        if let Some(last) = ids.last() {
            self.last_subscription = self.last_subscription.max(last.0);
        }
        let is_whole = match record.roles {
            Roles::Agent => reloaded.peer.is_some() && !ids.is_empty(),
            Roles::Both => record.entry.is_some() && record.request.is_some(),
            Roles::Monitor => ids.iter().all(is_there) && !ids.is_empty(),
            Roles::Text => record.text.is_some(),
            Roles::Call => false,
        };
        let id = record.id;
        let is_over = record.ends <= turn.now;
        let completion = self.reborn(&record, &reloaded, turn.now);
        self.note_phone(&completion, turn);
        self.insert(completion);
        if is_over || !is_whole {
            let outcome = if is_over {
                Outcome::Expired
            } else {
                Outcome::Refused
            };
            self.finish(id, outcome, turn);
            return Vec::new();
        }
        if record.roles == Roles::Text {
            // His line is told as soon as he is watched.
            self.rekey(&record.callee, turn);
            return ids;
        }
        self.rejoin(record, reloaded.peer, &ids, turn);
        ids
    }

    /// Gives the machines back what they had.
    fn rejoin(
        &mut self,
        record: Record,
        peer: Option<Peer>,
        ids: &[SubscriptionId],
        turn: &mut Turn<'_>,
    ) {
        let completion = self.completions.get(&record.id);
        let names = completion.map(|completion| Arc::clone(&completion.names));
        let Some(names) = names else {
            return;
        };
        for id in ids {
            let route = Route {
                roles: record.roles,
                names: Arc::clone(&names),
            };
            self.routes.insert(*id, route);
        }
        if record.roles != Roles::Both {
            // S-14: the numbers of its dialogs that this process uses are kept before they are used, or
            // one after it would use them again.
            self.keep(record.id);
        }
        let wait = self.wait_anew(&record, turn.now);
        let medium = match record.roles {
            Roles::Both | Roles::Call | Roles::Text => Medium::Process,
            Roles::Agent | Roles::Monitor => Medium::Network,
        };
        if let Some((id, call_id, place)) = record.entry {
            let newcomer = Newcomer {
                id,
                caller: record.caller.clone(),
                call_id,
                expires: None,
                wait,
                medium,
                renewal: record.renewal,
                waiter: Waiter::Subscriber,
            };
            self.post_monitor(record.callee, monitor::Event::TakeUp(newcomer, place));
        }
        if let Some(kept) = record.request {
            if record.roles == Roles::Agent {
                self.refresh_all(record.id, &kept, turn);
            }
            let request = NewRequest {
                id: record.id,
                dialled: record.dialled,
                condition: Some(record.condition),
                way: peer.map_or(Way::Loop, Way::Peer),
                monitors: Vec::new(),
            };
            self.post_agent(record.caller, agent::Event::TakeUp(request, kept));
        }
    }

    /// What a monitor elsewhere said while nobody was here to hear it, it says again.
    fn refresh_all(&mut self, id: CompletionId, kept: &Kept, turn: &mut Turn<'_>) {
        for sub in &kept.subscriptions {
            let refresh = Output::Refresh {
                subscription: sub.id,
                expires: sub.ends.since(turn.now),
            };
            self.emit(id, refresh, turn);
        }
    }

    /// R2: nobody knows what the callee did meanwhile.
    fn wait_anew(&self, record: &Record, now: Timestamp) -> Wait {
        let by = now + self.settings.timing.unknown_time;
        Wait {
            condition: record.condition,
            trigger: Trigger::anew(record.condition, by),
            since: now,
        }
    }

    fn reborn(&mut self, record: &Record, reloaded: &Reloaded, now: Timestamp) -> Box<Completion> {
        let mut history = record.history.clone();
        history.add(now, Event::Restarted);
        let names = Names {
            id: record.id,
            cce: record.cce,
            caller: self.users.name(&record.caller).clone(),
            callee: self.users.name(&record.callee).clone(),
            wording: Wording::new(&record.from, &record.dialled, &record.identity),
        };
        Box::new(Completion {
            errand: if record.roles == Roles::Text {
                Errand::Message
            } else {
                Errand::Callback
            },
            names: self.blanks.fill(names),
            order: record.order,
            number: record.number,
            roles: record.roles,
            entry: record.entry.as_ref().map(|(id, ..)| *id),
            call_id: CallId::default(),
            told: None,
            is_at_rest: false,
            renewal: record.renewal,
            binding: record.binding,
            wait: self.wait_anew(record, now),
            life: Life::Accepted,
            stage: Stage::Queued,
            ends: record.ends,
            recalls: u16::try_from(record.recalls).unwrap_or(u16::MAX),
            recalls_passed: u16::try_from(record.recalls_passed).unwrap_or(u16::MAX),
            suspended: record.suspended,
            history,
            commit: Commit::known(reloaded.stored.version),
            aside: Aside::of(record.text.clone(), reloaded.peer.clone()),
        })
    }
}

/// What a caller has once: a text of these words for a callee, or a call back from him.
type Wish = (Aor, Aor, Option<Arc<str>>);

fn wish(record: &Record) -> Wish {
    let text = record.text.clone();
    (record.caller.clone(), record.callee.clone(), text)
}

/// The last record of each wish, oldest first as they come; who leaves word is not called back as well.
fn latest(known: &[(Record, Reloaded)]) -> BTreeMap<Wish, u64> {
    let mut latest = BTreeMap::new();
    for (record, _) in known {
        let (caller, callee, text) = wish(record);
        if text.is_some() {
            latest.insert((caller.clone(), callee.clone(), text), record.order);
        }
        latest.insert((caller, callee, None), record.order);
    }
    latest
}

/// What belongs to a completion elsewhere.
impl Service {
    /// The peer behind which its monitor is.
    pub fn peer_of(&self, id: CompletionId) -> Option<PeerId> {
        let completion = self.completions.get(&id)?;
        completion.peer().map(|peer| peer.id)
    }

    /// The subscriptions whose other ends are elsewhere.
    pub fn subscriptions_of(&self, id: CompletionId) -> Vec<SubscriptionId> {
        let Some(completion) = self.completions.get(&id) else {
            return Vec::new();
        };
        match completion.roles {
            Roles::Both | Roles::Call | Roles::Text => Vec::new(),
            Roles::Monitor => completion.entry.into_iter().collect(),
            Roles::Agent => {
                let user = self.users.get(&completion.caller);
                let agent = user.and_then(|user| user.agent.as_ref());
                let kept = agent.and_then(|agent| agent.kept(id));
                let subscriptions = kept.into_iter().flat_map(|kept| kept.subscriptions);
                subscriptions.map(|sub| sub.id).collect()
            }
        }
    }
}

impl Commit {
    fn known(version: Version) -> Self {
        Self {
            version: Some(version),
            was_kept: true,
            ..Self::new()
        }
    }
}
