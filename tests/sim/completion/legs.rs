//! The legs of users that are certainly up, as messages show them.

use std::collections::BTreeMap;
use std::time::Duration;

use campon::time::Timestamp;

use crate::flow::kit::message::Message;

/// After so long a request without any answer is given up (timers B and F), but for the delay of what
/// is under way.
pub(super) const UNHEARD_MAX: Duration = Duration::from_secs(31);

/// The legs that are open.
#[derive(Debug, Default)]
pub(super) struct Legs {
    open: Vec<Leg>,
    calls: u64,
    /// When each user last ended an ordinary call.
    freed: BTreeMap<String, Timestamp>,
}

#[derive(Debug)]
struct Leg {
    /// Legs of one call have the same.
    call: u64,
    user: String,
    call_id: String,
    branch: String,
    since: Timestamp,
    is_heard: bool,
    kind: Kind,
}

/// What a call is to completion.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// It may complete another one.
    Any,
    /// It certainly completes none.
    Plain,
    /// Campon rings a caller.
    Recall,
}

impl Legs {
    /// A leg begins, of a new call or of this one.
    pub(super) fn open(&mut self, now: Timestamp, user: &str, invite: &Message, of: Option<u64>) {
        self.calls += 1;
        self.open.push(Leg {
            call: of.unwrap_or(self.calls),
            user: user.to_owned(),
            call_id: invite.call_id().to_owned(),
            branch: invite.branch().to_owned(),
            since: now,
            is_heard: false,
            kind: Kind::Any,
        });
    }

    /// The leg that was opened last completes no call, nor does what follows from it.
    pub(super) fn mark_plain(&mut self) {
        if let Some(leg) = self.open.last_mut() {
            leg.kind = Kind::Plain;
        }
    }

    /// The leg that was opened last is a recall.
    pub(super) fn mark_recall(&mut self, user: &str) {
        if let Some(leg) = self.open.last_mut().filter(|leg| leg.user == user) {
            leg.kind = Kind::Recall;
        }
    }

    /// Something came back, if it was not too late.
    pub(super) fn hear(&mut self, now: Timestamp, call_id: &str) {
        for leg in self.open.iter_mut().filter(|leg| leg.call_id == call_id) {
            leg.is_heard |= now.since(leg.since) < UNHEARD_MAX;
        }
    }

    /// The call of this leg ends.
    pub(super) fn close(&mut self, call_id: &str) {
        let found = self.open.iter().find(|leg| leg.call_id == call_id);
        if let Some(call) = found.map(|leg| leg.call) {
            self.open.retain(|leg| leg.call != call);
        }
    }

    /// Somebody hangs up.
    pub(super) fn hang_up(&mut self, now: Timestamp, call_id: &str) {
        let found = self.open.iter().find(|leg| leg.call_id == call_id);
        let call = found.map(|leg| leg.call);
        let legs = self.open.iter().filter(|leg| Some(leg.call) == call);
        if legs.clone().any(|leg| leg.kind == Kind::Plain) {
            self.freed.extend(legs.map(|leg| (leg.user.clone(), now)));
        }
        self.close(call_id);
    }

    /// When a user last ended an ordinary call.
    pub(super) fn freed(&self, user: &str) -> Option<Timestamp> {
        self.freed.get(user).copied()
    }

    /// The leg that this INVITE began fails.
    pub(super) fn close_invite(&mut self, branch: &str) {
        self.open.retain(|leg| leg.branch != branch);
    }

    /// Whether somebody has a call to a callee.
    pub(super) fn is_called(&self, callee: &str, by: &str) -> bool {
        let of_caller = |leg: &&Leg| leg.user == by;
        let mut callers = self.open.iter().filter(of_caller);
        let has_callee = |call| {
            self.open
                .iter()
                .any(|leg| leg.call == call && leg.user == callee)
        };
        callers.any(|leg| has_callee(leg.call))
    }

    /// The call that came last.
    pub(super) fn last(&self) -> Option<u64> {
        self.open.last().map(|leg| leg.call)
    }

    /// The call of this leg.
    pub(super) fn call_of(&self, call_id: &str) -> Option<u64> {
        let found = self.open.iter().find(|leg| leg.call_id == call_id);
        found.map(|leg| leg.call)
    }

    /// The call that recalls a user.
    pub(super) fn of_recall(&self, user: &str) -> Option<u64> {
        let mut recalls = self
            .open
            .iter()
            .rev()
            .filter(|leg| leg.kind == Kind::Recall);
        recalls.find(|leg| leg.user == user).map(|leg| leg.call)
    }

    pub(super) fn is_recalled(&self, user: &str) -> bool {
        self.of_recall(user).is_some()
    }

    /// Whether a user may have a call.
    pub(super) fn has_any(&self, user: &str) -> bool {
        self.open.iter().any(|leg| leg.user == user)
    }

    /// Whether a user certainly had a call before this moment: what begins in it may still be taken back.
    pub(super) fn was_busy(&self, now: Timestamp, user: &str) -> bool {
        let is_up = |leg: &Leg| leg.is_heard || now.since(leg.since) < UNHEARD_MAX;
        let is_older = |leg: &Leg| leg.since < now && is_up(leg);
        self.open
            .iter()
            .any(|leg| leg.user == user && is_older(leg))
    }

    /// Whether a user certainly has a call.
    pub(super) fn is_busy(&self, now: Timestamp, user: &str) -> bool {
        let is_up = |leg: &Leg| leg.is_heard || now.since(leg.since) < UNHEARD_MAX;
        self.open.iter().any(|leg| leg.user == user && is_up(leg))
    }
}
