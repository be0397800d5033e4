//! After a restart: what the store kept is waited for again.
//!
//! Spec: DESIGN §9, §11; RULES R2 (users are unknown after a crash).
//!
//! A request that was selected when the process ended waits like all others: who was rung is not
//! rung again without a new sign of the callee.

use crate::cc::SubscriptionId;
use crate::cc::agent::{self, NewRequest, Way};
use crate::cc::line::Trigger;
use crate::cc::monitor::{Renewal, Wait};
use crate::completion::commit::removal;
use crate::completion::entry::{Commit, Completion, Life, Stage};
use crate::completion::history::{Event, History};
use crate::completion::output::Output;
use crate::completion::record::{Record, Roles};
use crate::completion::service::{Route, Service, Turn};
use crate::store::{Key, Stored, Version};
use crate::time::Timestamp;

impl Service {
    /// Takes up the records of the process before this one; to be called before any input.
    ///
    /// Those whose other end was a dialog come back, and their records are removed: nobody here
    /// knows the dialog any more.
    pub fn restore(
        &mut self,
        now: Timestamp,
        records: Vec<(Key, Stored)>,
        out: &mut Vec<Output>,
    ) -> Vec<Record> {
        let turn = &mut Turn { now, out };
        let mut others = Vec::new();
        for (key, stored) in records {
            let record = Record::decode(&stored.record);
            let alive = record.filter(|record| self.ends(record) > now);
            match alive {
                Some(record) if record.roles == Roles::Both => {
                    self.take_up(record, stored.version, turn);
                }
                Some(record) => {
                    others.push(record);
                    turn.out.push(Output::Persist(removal(key, stored.version)));
                }
                None => turn.out.push(Output::Persist(removal(key, stored.version))),
            }
        }
        others
    }

    fn ends(&self, record: &Record) -> Timestamp {
        Timestamp::from(record.ends.since(self.started))
    }

    fn take_up(&mut self, record: Record, version: Version, turn: &mut Turn<'_>) {
        let now = turn.now;
        let subscription = self.next_subscription();
        let completion = self.reborn(&record, version, subscription, now);
        let route = Route {
            roles: Roles::Both,
            caller: record.caller.clone(),
            callee: record.callee,
            id: record.id,
            cce: record.cce,
        };
        self.routes.insert(subscription, route);
        self.insert(completion);
        let request = NewRequest {
            id: record.id,
            dialled: record.dialled.clone(),
            condition: Some(record.condition),
            way: Way::Loop,
            monitors: vec![(subscription, record.dialled)],
        };
        self.post_agent(record.caller, agent::Event::Request(request));
        self.run(turn);
    }

    fn reborn(
        &mut self,
        record: &Record,
        version: Version,
        entry: SubscriptionId,
        now: Timestamp,
    ) -> Completion {
        self.last_order += 1;
        let mut history = History::default();
        history.add(now, Event::Requested(record.condition));
        let mut commit = Commit::new();
        commit.version = Some(version);
        let trigger = Trigger::Seen {
            by: now + self.settings.timing.unknown_time,
        };
        Completion {
            id: record.id,
            cce: record.cce,
            order: self.last_order,
            number: record.number,
            roles: Roles::Both,
            peer: None,
            entry: Some(entry),
            renewal: Renewal::Shortens,
            caller: record.caller.clone(),
            callee: record.callee.clone(),
            from: record.from.clone(),
            identity: record.identity.clone(),
            dialled: record.dialled.clone(),
            binding: record.binding,
            wait: Wait {
                condition: record.condition,
                trigger,
                since: now,
            },
            life: Life::Asked,
            stage: Stage::Asked,
            ends: self.ends(record),
            recalls: record.recalls,
            recalls_passed: 0,
            suspended: None,
            asked: Vec::new(),
            ending: None,
            history,
            commit,
        }
    }
}
