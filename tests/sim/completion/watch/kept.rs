//! What the store knows when a caller is rung, and what a new process rings him for.
//!
//! Spec: DESIGN §11 (selected for the n-th time: committed before the effect leaves; a selected entry with
//! no recorded end is queued again, not rung).

use std::net::SocketAddr;
use std::time::Duration;

use campon::completion::{Record, Roles};
use campon::store::{Key, Stored};

use super::Watch;
use crate::flow::kit::message::Message;
use crate::flow::kit::subject;

/// How long a callee may be unknown to a new process.
const UNKNOWN: Duration = Duration::from_mins(5);

impl Watch {
    /// What the store had at the moment in which a recall left.
    pub(crate) fn note_kept(&mut self, records: &[(Key, Stored)]) {
        self.kept = records.iter().map(|(_, stored)| read(stored)).collect();
    }

    /// A recall is counted in the store before it rings.
    pub(super) fn check_kept(&mut self, (caller, callee): (&str, &str), recall: &Message) {
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
        let before = self.rung.insert(id, recalls).unwrap_or_default();
        if recalls <= before {
            self.fault("a recall that the store does not count", recall);
        }
        // Elsewhere the monitor says anew that it is his turn.
        if roles == Roles::Both {
            self.check_sign(callee, recall);
        }
    }

    /// A message of his or to him.
    pub(super) fn note_sign(&mut self, of: SocketAddr) {
        if let Some(user) = self.users.get(&of) {
            self.signs.insert(user.clone());
        }
    }

    /// R2: nobody is recalled by a new process before that has seen anything of the callee.
    fn check_sign(&mut self, callee: &str, recall: &Message) {
        let is_new = |crashed| self.now.since(crashed) < UNKNOWN;
        if self.crashed.is_some_and(is_new) && !self.signs.contains(callee) {
            self.fault("a recall goes on as if no process had ended", recall);
        }
    }
}

/// The record of a completion, without the dialogs that are stored with it.
fn read(stored: &Stored) -> Record {
    let (length, rest) = stored.record.split_first_chunk().expect("a length");
    let length = usize::try_from(u32::from_be_bytes(*length)).expect("short");
    Record::decode(&rest[..length], subject::STARTED).expect("what campon wrote")
}
