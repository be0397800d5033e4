//! Which event met which stage of a request, as a bystander sees it.

use std::net::SocketAddr;

use super::{Life, Seen, Watch, user_of};
use crate::flow::kit::message::{Message, uri_of};
use crate::sim::completion::agent::line_of;
use crate::sim::completion::user::REQUEST_LAST;

impl Watch {
    /// Which event met which stage.
    pub(super) fn note(&mut self, from: SocketAddr, request: &Message) {
        let is_code = request.uri().contains("%23");
        let event = match request.kind() {
            "INVITE" if !request.tag_of_to().is_empty() => return,
            "INVITE" if is_code && user_of(request.uri()) == REQUEST_LAST => "asks",
            "INVITE" if is_code => "takes back",
            "INVITE" => "calls",
            "BYE" => "hangs up",
            "CANCEL" => "gives up a call",
            "REGISTER" if request.find("Expires") == Some("0") => "goes away",
            "REGISTER" => "comes back",
            "SUBSCRIBE" if request.find("Expires") == Some("0") => "unsubscribes",
            "SUBSCRIBE" => "subscribes",
            "PUBLISH" if request.body().windows(6).any(|word| word == b"closed") => "suspends",
            "PUBLISH" => "resumes",
            "NOTIFY" if line_of(request, "cc-state").as_deref() == Some("ready") => "is told ready",
            "NOTIFY" => "is told queued",
            _ => return,
        };
        let stage = match self.users.get(&from) {
            Some(user) => self.stage_of(user),
            None if request.kind() == "NOTIFY" => {
                self.stage_of(&user_of(uri_of(request.header("To"))))
            }
            None => self.stage_elsewhere(),
        };
        *self.pairs.entry((stage, event)).or_default() += 1;
    }

    fn stage_of(&self, user: &str) -> &'static str {
        let as_callee = |seen: &&Seen| seen.callee == user && seen.life != Life::Over;
        let mut waiting = self.subscriptions.values().filter(as_callee);
        let is_awaited = self.wanted.values().any(|wanted| wanted.contains(user));
        let wants = self
            .wanted
            .get(user)
            .is_some_and(|wanted| !wanted.is_empty());
        if self.legs.is_recalled(user) {
            "caller recalled"
        } else if wants {
            "caller waits"
        } else if waiting.any(|seen| seen.is_ready) {
            "callee reserved"
        } else if is_awaited || waiting.next().is_some() {
            "callee awaited"
        } else if self.has_upstream {
            "nothing, with upstream"
        } else {
            "nothing"
        }
    }

    fn stage_elsewhere(&self) -> &'static str {
        let mut live = self
            .subscriptions
            .values()
            .filter(|seen| seen.life != Life::Over);
        let is_suspended = |seen: &Seen| seen.suspended_until.is_some_and(|at| at > self.now);
        match live.clone().next() {
            None => "agent has nothing",
            Some(_) if live.clone().any(|seen| seen.is_ready) => "agent ready",
            Some(_) if live.any(is_suspended) => "agent suspended",
            Some(_) => "agent queued",
        }
    }
}
