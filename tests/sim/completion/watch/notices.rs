//! Subscriptions to campon's queues, as a bystander sees them: what they are told, and when they end.

use std::collections::BTreeSet;
use std::time::Duration;

use campon::time::Timestamp;

use super::{ELSEWHERE, Life, SLACK, Seen, Watch, user_of};
use crate::flow::kit::message::{Message, uri_of};
use crate::sim::completion::agent::line_of;
use crate::sim::completion::legs::UNHEARD_MAX;
use crate::sim::completion::settings::{CC_CALL_MAX, NOTIFY_WINDOW};

impl Seen {
    /// How many NOTIFYs it was sent within a window before now.
    fn recent(&self, now: Timestamp) -> usize {
        let is_recent = |at: &&Timestamp| now.since(**at) < NOTIFY_WINDOW;
        self.notified.iter().filter(is_recent).count()
    }

    /// Whether its caller has answered its recall and may be ringing the callee, and did so before what is
    /// told now was known: a slow store keeps a NOTIFY back for so long.
    fn is_calling_back(&self, now: Timestamp, delay: Duration) -> bool {
        let since = self.cc_call.as_ref().map(|(_, since)| now.since(*since));
        since.is_some_and(|since| delay <= since && since + SLACK < CC_CALL_MAX)
    }
}

impl Watch {
    pub(super) fn on_notify_out(&mut self, notify: &Message) {
        let standing = notify.header("Subscription-State");
        let is_ready = line_of(notify, "cc-state").as_deref() == Some("ready");
        let is_over = standing.starts_with("terminated");
        let now = self.now;
        let has_news = self.has_news_from_elsewhere();
        let Some(seen) = self.subscriptions.get_mut(notify.call_id()) else {
            return;
        };
        let is_newer = notify.cseq() > seen.cseq;
        seen.cseq = seen.cseq.max(notify.cseq());
        seen.unanswered.insert(notify.cseq(), now);
        // What its caller's own call does to it is told late if it must be.
        let is_calling = self.legs.is_called(&seen.callee, ELSEWHERE);
        let recent = seen.recent(now);
        seen.notified.push(now);
        let is_kept = seen.life == Life::Live && !seen.may_be_over;
        let is_lost = seen.taken_up.take().is_some() && is_kept && standing.ends_with("noresource");
        if let Some(uri) = line_of(notify, "cc-URI") {
            seen.cc_uri = Some(uri);
        }
        let becomes_ready = is_ready && !seen.is_ready;
        seen.is_ready = is_ready;
        seen.ready_since = match (is_ready, becomes_ready) {
            (false, _) => None,
            (true, true) if !is_calling => Some(now),
            (true, _) => seen.ready_since,
        };
        let is_suspended = seen.suspended_until.is_some_and(|until| until > now);
        let is_taken_back = seen.life == Life::TakenBack;
        let is_calling_back = seen.is_calling_back(now, self.store_delay);
        if is_over {
            seen.life = Life::Over;
            seen.unknown = None;
        }
        let callee = seen.callee.clone();
        // A late copy of an INVITE may be such a call too.
        let may_be_calling = is_calling || self.camps.has(ELSEWHERE, &callee);
        let is_doubted = becomes_ready && !may_be_calling && self.legs.is_busy(now, &callee);
        seen.doubted = is_doubted.then_some(now);
        // What waits for a slow store is paced by when it was written.
        let is_paced = self.store_delay.is_zero();
        let faults = [
            (is_lost && !has_news, "it has ended with its process"),
            (
                recent >= 3 && is_paced,
                "more than three NOTIFYs in a window",
            ),
            (
                is_ready && recent >= 2 && is_paced,
                "ready is the third NOTIFY",
            ),
            (!is_newer, "a NOTIFY is numbered as one before"),
            (
                is_taken_back && !is_over,
                "a NOTIFY after it was taken back",
            ),
            (becomes_ready && is_suspended, "a suspended entry is ready"),
            (
                !is_ready && !is_over && is_calling_back,
                "queued again while its CC call is under way",
            ),
            (
                becomes_ready && self.is_guarded(&callee),
                "ready in the guard time",
            ),
            (
                becomes_ready && self.waits_for_a_talk(&callee),
                "ready while the callee talks on",
            ),
        ];
        for (_, what) in faults.into_iter().filter(|(is_true, _)| *is_true) {
            self.fault(what, notify);
        }
    }

    /// Whether this process has heard anything from elsewhere that may have ended a subscription.
    fn has_news_from_elsewhere(&self) -> bool {
        let is_news = |it: &Message| {
            let from = user_of(uri_of(it.header("From")));
            let is_users = self.users.values().any(|user| *user == from);
            !is_users && matches!(it.kind(), "INVITE" | "PUBLISH" | "SUBSCRIBE")
        };
        self.requests.values().any(|(_, it)| is_news(it))
    }

    /// What was accepted and has not ended is known, whatever process it was that accepted it; what has
    /// ended may have to wait for the NOTIFY that says so (CC-65).
    pub(super) fn check_forgotten(&mut self, request: &Message) {
        let now = self.now;
        let Some(seen) = self.subscriptions.get_mut(request.call_id()) else {
            return;
        };
        let is_certain = seen.life == Life::Live && seen.unanswered.is_empty() && !seen.may_be_over;
        if is_certain && seen.ends.is_some_and(|ends| now + SLACK < ends) {
            seen.unknown = Some(now);
        }
    }

    pub(super) fn on_notify_answered(&mut self, response: &Message) {
        let seen = self.subscriptions.get_mut(response.call_id());
        let Some(seen) = seen.filter(|_| response.cseq_method() == "NOTIFY") else {
            return;
        };
        let sent = seen.unanswered.get(&response.cseq()).copied();
        match response.status() {
            // An answer that comes too late is none.
            200..300 if sent.is_some_and(|sent| self.now.since(sent) < UNHEARD_MAX) => {
                seen.unanswered.remove(&response.cseq());
            }
            // S-124: there is no such subscription.
            481 => {
                seen.life = Life::Over;
                seen.ready_since = None;
                seen.unknown = None;
            }
            _ => {}
        }
    }

    /// The CC call of a subscriber is no longer under way.
    pub(super) fn close_cc_call(&mut self, call_id: &str) {
        let is_it = |it: &mut (String, Timestamp)| it.0 == call_id;
        for seen in self.subscriptions.values_mut() {
            seen.cc_call.take_if(is_it);
        }
    }

    /// However late the store lets it be answered, its time runs from its coming.
    pub(super) fn on_subscribed(
        &mut self,
        (came, request): (Timestamp, &Message),
        response: &Message,
    ) {
        let id = request.call_id().to_owned();
        let callee = user_of(uri_of(request.header("To")));
        let is_same = |seen: &&Seen| seen.callee == callee && seen.is_ready;
        // R21: an entry that moves to another subscription stays what it is.
        let is_ready = self.subscriptions.values().any(|seen| is_same(&seen));
        let seen = self.subscriptions.entry(id).or_insert_with(|| Seen {
            callee,
            is_ready,
            ..Seen::default()
        });
        let granted = response.header("Expires").parse().expect("a number");
        seen.ends = Some(came + Duration::from_secs(granted));
        if request.find("Expires") == Some("0") {
            seen.life = Life::TakenBack;
        }
    }

    /// Whom a PUBLISH is about.
    pub(super) fn published(&mut self, request: &Message) -> Option<&mut Seen> {
        let id = self.publisher(request)?;
        self.subscriptions.get_mut(&id)
    }

    fn publisher(&self, request: &Message) -> Option<String> {
        let uri = request.uri();
        let is_about = |(id, seen): &(&String, &Seen)| {
            **id == request.call_id()
                || seen.cc_uri.as_deref() == Some(uri) && seen.life != Life::Over
        };
        let found = self.subscriptions.iter().find(is_about);
        found.map(|(id, _)| id.clone())
    }

    /// The PUBLISHes that are not answered yet.
    pub(super) fn open_publications(&self) -> impl Iterator<Item = &Message> {
        let requests = self.requests.values().map(|(_, request)| request);
        requests.filter(|it| it.kind() == "PUBLISH" && !self.is_answered(it))
    }

    /// That one is under way (RFC 4320 §4.1) is no answer.
    fn is_answered(&self, request: &Message) -> bool {
        let branch = request.branch();
        let sent = self.sent.range((branch.to_owned(), String::new())..);
        let mut answers = sent.take_while(|(of, _)| of == branch);
        answers.any(|(_, what)| !what.starts_with('1'))
    }

    /// The subscriptions whose callers have said that they are away, and wait for the answer.
    pub(super) fn leaving(&self) -> BTreeSet<String> {
        let is_closed = |it: &&Message| String::from_utf8_lossy(it.body()).contains("closed");
        let closed = self.open_publications().filter(is_closed);
        closed.filter_map(|it| self.publisher(it)).collect()
    }

    /// It may be ready before the PUBLISH that resumes it is answered.
    pub(super) fn on_publish_in(&mut self, request: &Message) {
        let body = String::from_utf8_lossy(request.body()).into_owned();
        if let Some(seen) = self.published(request).filter(|_| body.contains("open")) {
            seen.suspended_until = None;
        }
    }

    /// Its time runs from its coming, too.
    pub(super) fn on_published(
        &mut self,
        (came, request): (Timestamp, &Message),
        response: &Message,
    ) {
        let body = String::from_utf8_lossy(request.body()).into_owned();
        let Some(seen) = self.published(request) else {
            return;
        };
        let expires = response.header("Expires").parse().expect("a number");
        let until = came + Duration::from_secs(expires);
        seen.suspended_until = body.contains("closed").then_some(until);
    }
}
