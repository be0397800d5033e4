//! What is asked for and taken back by code, as far as the answers tell.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use campon::time::Timestamp;

use super::{CONFIRMED, Failed, SLACK, Watch, user_of};
use crate::flow::kit::message::Message;
use crate::sim::completion::legs::UNHEARD_MAX;
use crate::sim::completion::settings::{OFFER_WINDOW, TEXTS};
use crate::sim::completion::user::{CANCEL_ALL, CANCEL_LAST, LEAVE, REQUEST_LAST, RESUME};
use crate::sim::wire;

/// A code that asked for a callback, and was answered well.
#[derive(Clone, Copy)]
pub(super) struct Coded {
    pub(super) came: Timestamp,
    pub(super) answered: Timestamp,
}

/// The codes by which each user wants to be rung, as they were answered well last.
#[derive(Default)]
pub(super) struct Codes {
    asked: BTreeMap<String, Coded>,
    resumed: BTreeMap<String, Timestamp>,
}

impl Codes {
    pub(super) fn asked(&self, user: &str) -> Option<Coded> {
        self.asked.get(user).copied()
    }

    /// A slow store may answer the later one of two first.
    fn on_asked(&mut self, user: &str, came: Timestamp, answered: Timestamp) {
        let before = self.asked(user).map(|it| it.came);
        let came = before.map_or(came, |before| before.max(came));
        let coded = Coded { came, answered };
        self.asked.insert(user.to_owned(), coded);
    }

    /// Since when he certainly wants to be rung.
    pub(super) fn wants_since(&self, user: &str) -> Option<Timestamp> {
        let asked = self.asked(user).map(|it| it.answered);
        asked.max(self.resumed.get(user).copied())
    }
}

impl Watch {
    /// Whether a code comes once more when its first copy is forgotten, so that its answers are not
    /// those to the first one.
    pub(super) fn is_code_anew(&mut self, key: &(String, String), request: &Message) -> bool {
        let is_code = request.kind() == "INVITE" && request.uri().contains("%23");
        let came = self.requests.get(key).map(|(came, _)| *came);
        // One that was refused is forgotten soon after its caller has acknowledged that: an ACK of the
        // same branch (RFC 3261 §17.1.1.3) is one of a refusal.
        let ack = (key.0.clone(), "ACK".to_owned());
        let acknowledged = self.requests.get(&ack).map(|(at, _)| *at);
        let is_over = |at: Option<Timestamp>, by| at.is_some_and(|at| self.now.since(at) > by);
        let is_anew = is_code && (is_over(came, UNHEARD_MAX) || is_over(acknowledged, CONFIRMED));
        if is_anew {
            self.sent.retain(|(branch, _)| *branch != key.0);
            self.requests.remove(&ack);
        }
        is_anew
    }

    pub(super) fn on_code_in(&mut self, from: SocketAddr, uri: &str) {
        let code = user_of(uri);
        if (code == CANCEL_ALL || code == CANCEL_LAST)
            && let Some(user) = self.users.get(&from)
        {
            self.texts.on_taken_back(self.now, user);
        }
        if LEAVE.contains(&&*code)
            && let Some(user) = self.users.get(&from)
        {
            // Answered or not: what is kept outlives the process that was asked.
            self.texts.on_left(user);
        }
        if code == REQUEST_LAST
            && let Some(user) = self.users.get(&from)
        {
            *self.asking.entry(user.clone()).or_default() += 1;
        }
    }

    /// A call is taken back. Where it is a code, so is the text that it has left, as soon as the store says
    /// that it has that.
    pub(super) fn on_cancel_in(&mut self, from: SocketAddr, cancel: &Message) {
        // RFC 3261 §9.2: one that comes after the 200 changes nothing.
        let answer = (cancel.branch().to_owned(), "200 INVITE".to_owned());
        if self.sent.contains(&answer) {
            return;
        }
        self.legs.close(cancel.call_id());
        self.close_cc_call(cancel.call_id());
        let code = user_of(cancel.uri());
        if let Some(nth) = LEAVE.iter().position(|leave| *leave == code)
            && let Some(user) = self.users.get(&from)
        {
            self.texts.on_refused(self.now, user, TEXTS[nth]);
        }
    }

    /// Campon keeps no transaction for whom it does not know (RFC 3261 §8.2.7): the next copy of what it
    /// has refused him is decided anew, and is his own code if he has registered meanwhile.
    fn forget_copies(&mut self, request: &Message) {
        let branch = request.branch();
        self.requests
            .remove(&(branch.to_owned(), request.cseq_method().to_owned()));
        self.sent.retain(|(of, _)| of != branch);
    }

    /// A code has its answer: campon's own, or, from a phone that is not registered, a callee's
    /// who took it for a number. What it is about was decided when it came.
    pub(super) fn on_code(
        &mut self,
        to: SocketAddr,
        (came, request): (Timestamp, &Message),
        response: &Message,
    ) {
        let Some(user) = self.users.get(&to) else {
            return;
        };
        let asking = self.asking.entry(user.clone()).or_default();
        let code = user_of(request.uri());
        if code == REQUEST_LAST {
            *asking = asking.saturating_sub(1);
        }
        if response.status() >= 300 {
            self.turns_of.on_code_over(request.call_id());
        }
        if response.status() == 503
            && let Some(nth) = LEAVE.iter().position(|leave| *leave == code)
        {
            self.texts.on_refused(self.now, user, TEXTS[nth]);
        }
        let is_own = wire::session_name(response).is_some_and(|name| name == "-");
        if response.status() == 404 && !self.here.contains(&to) {
            return self.forget_copies(request);
        }
        if response.status() != 200 || !is_own {
            return;
        }
        if code == RESUME {
            self.coded.resumed.insert(user.clone(), self.now);
        }
        // What is taken back last may be what has not been answered yet, or a text, or a call that waits.
        let is_other = self.texts.has_left(user) || self.camps.has_waited(user, came);
        let is_sure = *asking == 0 && !is_other;
        // A slow store answers both at once; what was asked for later is not taken back.
        let is_renewed = self.coded.asked(user).is_some_and(|it| it.came > came);
        let wanted = self.wanted.entry(user.clone()).or_default();
        if code == REQUEST_LAST {
            self.coded.on_asked(user, came, self.now);
            let is_recent =
                |it: &&Failed| it.caller == *user && came.since(it.at) <= OFFER_WINDOW + SLACK;
            let recent = self.failed.iter().filter(is_recent);
            wanted.extend(recent.clone().map(|it| it.callee.clone()));
            let is_his = |(caller, _): &&(String, String)| caller == user;
            let his = self.cc_calls.iter().filter(|(_, pair)| is_his(pair));
            self.renewed.extend(his.map(|(id, _)| id.clone()));
            if let Some(last) = recent.clone().next_back() {
                // A call that he has may be one with the callee, which is all he wants.
                let is_certain = !self.legs.has_any(user)
                    && recent.clone().all(|it| it.callee == last.callee)
                    && came.since(last.at) + SLACK < OFFER_WINDOW;
                let failed = Some(last.at).filter(|_| is_certain && last.is_busy);
                self.turns_of
                    .on_accepted(self.now, (user, &last.callee), failed);
                for other in recent.filter(|it| it.callee != last.callee) {
                    self.turns_of
                        .on_perhaps_accepted(self.now, user, &other.callee);
                }
            }
        } else if !is_renewed
            && (code == CANCEL_ALL || code == CANCEL_LAST && wanted.len() == 1 && is_sure)
        {
            wanted.clear();
            self.turns_of.forget(user, None);
        }
    }
}
