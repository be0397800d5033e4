//! What the store knows when a caller is rung, and what a new process rings him for.
//!
//! Spec: DESIGN §11 (selected for the n-th time: committed before the effect leaves; a selected entry with
//! no recorded end is queued again, not rung); RULES R2 (a new process takes nobody for free whom it has
//! not seen on the phone).

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use campon::cc::Condition;
use campon::completion::{Record, Roles};
use campon::store::{Key, Stored};

use super::{Watch, user_of};
use crate::flow::kit::message::{Message, uri_of};
use crate::flow::kit::subject;

/// How long a callee may be unknown to a new process.
const UNKNOWN: Duration = Duration::from_mins(5);

/// Of whom a process has seen a call.
#[derive(Default)]
pub(super) struct Signs {
    any: BTreeSet<String>,
    /// Those that they made themselves.
    dialled: BTreeSet<String>,
}

impl Signs {
    pub(super) fn on_rings(&mut self, user: &str) {
        self.any.insert(user.to_owned());
    }

    pub(super) fn on_dials(&mut self, user: &str) {
        self.on_rings(user);
        self.dialled.insert(user.to_owned());
    }
}

impl Watch {
    /// What the store had at the moment in which a recall left, or the process ended.
    pub(crate) fn note_kept(&mut self, records: &[(Key, Stored)]) {
        self.kept = records.iter().map(|(_, stored)| read(stored)).collect();
    }

    /// A recall is counted in the store before it rings.
    pub(super) fn check_kept(&mut self, (caller, callee): (&str, &str), recall: &Message) {
        if !self.is_kept {
            return;
        }
        let is_pair = |it: &&Record| {
            let names = [&it.caller, &it.callee].map(|name| name.as_str().split('@').next());
            names == [Some(caller), Some(callee)] && it.roles != Roles::Text
        };
        let records = self.kept.iter().filter(is_pair);
        // R21: one that a younger one has replaced may not be removed yet.
        let Some(record) = records.max_by_key(|it| it.order) else {
            return self.fault("a recall of which the store knows nothing", recall);
        };
        let (id, recalls, roles) = (record.id, record.recalls, record.roles);
        let condition = record.condition;
        let before = self.rung.insert(id, recalls).unwrap_or_default();
        if recalls <= before {
            self.fault("a recall that the store does not count", recall);
        }
        // Elsewhere the monitor says anew that it is his turn.
        if roles == Roles::Both {
            self.check_sign((callee, condition), recall);
        }
    }

    /// Whether a callee talks on whom campon does not know to do so, and a subscriber waits for the end of
    /// a call of his. (Who waits for him to come is told by his REGISTER, talking or not.)
    pub(super) fn waits_for_a_talk(&self, callee: &str) -> bool {
        let waits = |record: &Record| {
            let user = |name: &str| name.split('@').next().unwrap_or_default().to_owned();
            let is_his = user(record.callee.as_str()) == callee && record.roles == Roles::Monitor;
            is_his
                && record.condition != Condition::NotLoggedIn
                && !self.has_missed(&user(record.caller.as_str()), callee)
        };
        self.talks_on(callee) && self.kept.iter().any(waits)
    }

    /// Whether a call of his has not found the callee's phone since this process began: he may wait for
    /// that by now, whatever he had asked for first.
    fn has_missed(&self, caller: &str, callee: &str) -> bool {
        self.requests.values().any(|(_, request)| {
            let [from, to] = ["From", "To"].map(|name| user_of(uri_of(request.header(name))));
            let answer = (request.branch().to_owned(), "480 INVITE".to_owned());
            request.kind() == "INVITE"
                && (&*from, &*to) == (caller, callee)
                && self.sent.contains(&answer)
        })
    }

    /// Whether somebody is on a call of a process that has ended, and has given this one no reason to
    /// think otherwise: who dials is taken for one who talks to nobody else, and is free when that call is
    /// over, though he had dialled while he still talked and this process got the INVITE that he repeats.
    fn talks_on(&self, user: &str) -> bool {
        !self.signs.dialled.contains(user) && self.talking_on.iter().any(|it| it == user)
    }

    /// R2: nobody is recalled by a new process before that has seen the callee on the phone; or he has
    /// come, who was not there.
    fn check_sign(&mut self, (callee, condition): (&str, Condition), recall: &Message) {
        let is_new = |crashed| self.now.since(crashed) < UNKNOWN;
        if !self.crashed.is_some_and(is_new) {
            return;
        }
        let is_here = |(at, user): (&SocketAddr, &String)| user == callee && self.here.contains(at);
        let has_come = condition == Condition::NotLoggedIn && self.users.iter().any(is_here);
        if !has_come && !self.signs.any.contains(callee) {
            self.fault("a recall goes on as if no process had ended", recall);
        }
        if !has_come && self.talks_on(callee) {
            self.fault("a recall for a callee who talks on", recall);
        }
    }
}

/// The record of a completion, without the dialogs that are stored with it.
pub(in crate::sim::completion) fn read(stored: &Stored) -> Record {
    let (length, rest) = stored.record.split_first_chunk().expect("a length");
    let length = usize::try_from(u32::from_be_bytes(*length)).expect("short");
    Record::decode(&rest[..length], subject::STARTED).expect("what campon wrote")
}
