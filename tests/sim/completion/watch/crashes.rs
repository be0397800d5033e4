//! What a bystander makes of a crash, and of a clock that was set while nothing ran.

use std::collections::BTreeSet;
use std::time::Duration;

use campon::time::Timestamp;

use super::{Life, SLACK, Signs, Watch, user_of};
use crate::flow::kit::message::{Message, uri_of};
use crate::sim::completion::legs::Legs;
use crate::sim::completion::settings::NOTIFY_WINDOW;

impl Watch {
    /// The process ends. What it kept is there again; what it only knew is not.
    pub(crate) fn on_crash(&mut self, now: Timestamp, last_removal: Option<Timestamp>) {
        self.on_time(now);
        // What was asked for may be kept, and the answer was never sent.
        let asking = std::mem::take(&mut self.asking);
        for (user, _) in asking.into_iter().filter(|(_, codes)| *codes > 0) {
            let failed = self.failed.iter().filter(|it| it.caller == user);
            let callees: Vec<_> = failed.map(|it| it.callee.clone()).collect();
            self.wanted.entry(user).or_default().extend(callees);
        }
        // Who talks with whom was not written down any more: the call has ended with the process.
        if let Some((caller, callee, at)) = self.talked.take()
            && at == now
        {
            self.wanted.entry(caller).or_default().insert(callee);
        }
        let is_recent = last_removal.is_some_and(|at| now.since(at) <= NOTIFY_WINDOW + SLACK);
        let replaced = self.replaced();
        self.doubt_publications();
        for (id, seen) in &mut self.subscriptions {
            seen.may_be_over |= is_recent || replaced.contains(id);
            seen.ready_since = None;
            seen.doubted = None;
            seen.unknown = None;
            seen.cc_call = None;
            seen.taken_up = Some(now);
        }
        self.legs = Legs::default();
        self.camps.on_crash();
        self.texts.on_crash();
        self.turns_of.on_crash(now, &self.kept);
        self.here.clear();
        self.requests.clear();
        self.sent.clear();
        // A turn that led to nothing is given anew.
        self.turns.clear();
        self.told.clear();
        self.crashed = Some(now);
    }

    /// R21: the subscriptions whose places a younger one has taken over, or may have: whose end was
    /// not told yet.
    fn replaced(&self) -> BTreeSet<String> {
        let is_first = |(_, it): &&(Timestamp, Message)| {
            it.kind() == "SUBSCRIBE" && it.tag_of_to().is_empty() && !self.is_refused(it)
        };
        let first: Vec<_> = self.requests.values().filter(is_first).collect();
        let live = self.subscriptions.iter();
        let live = live.filter(|(_, seen)| seen.life == Life::Live);
        let replaced = live.filter(|(id, seen)| {
            let own = first.iter().find(|(_, it)| it.call_id() == **id);
            let came = own.map(|(came, _)| *came);
            let is_his = |it: &Message| user_of(uri_of(it.header("To"))) == seen.callee;
            first.iter().any(|(at, it)| Some(*at) > came && is_his(it))
        });
        replaced.map(|(id, _)| id.clone()).collect()
    }

    /// What was published last may be kept, and the answer was never sent.
    fn doubt_publications(&mut self) {
        let open: Vec<_> = self.open_publications().cloned().collect();
        for request in &open {
            if let Some(seen) = self.published(request) {
                seen.suspended_until = None;
            }
        }
    }

    /// Whether campon has refused a request.
    fn is_refused(&self, request: &Message) -> bool {
        let branch = request.branch();
        let sent = self.sent.range((branch.to_owned(), String::new())..);
        let mut answers = sent.take_while(|(of, _)| of == branch);
        answers.any(|(_, what)| matches!(what.as_bytes().first(), Some(b'3'..=b'6')))
    }

    /// The clock was set forwards while no process ran: what runs out does so earlier.
    pub(crate) fn on_jump(&mut self, by: Duration) {
        // What came while no process ran, nobody has seen.
        self.signs = Signs::default();
        self.texts.on_jump(by);
        let earlier = |at: Timestamp| {
            let since = at.since(Timestamp::START).saturating_sub(by);
            Timestamp::START + since
        };
        for seen in self.subscriptions.values_mut() {
            seen.ends = seen.ends.map(earlier);
            seen.suspended_until = seen.suspended_until.map(earlier);
        }
    }
}
