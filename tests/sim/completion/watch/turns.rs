//! Whose turn it is at a queue of campon's: nobody is passed over who certainly came first.
//!
//! Spec: DESIGN §8 (queue); RFC 6910 §7.3 (a retained request keeps its place).
//!
//! Only the callers are looked at of whom all is certain: they asked by a code for a callee who was busy,
//! no recall of theirs came to an end but by the callee's own doing, and they have no call.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use campon::completion::{Record, Roles};
use campon::time::Timestamp;

use super::{Recall, SLACK, Watch, user_of};
use crate::flow::kit::message::{Message, uri_of};
use crate::flow::kit::vault::Mood;
use crate::sim::completion::settings::{GUARD, RECALL, REST, RING};

/// How long a request certainly lives.
const LIVES: Duration = Duration::from_secs(100);

/// What is certain of those who wait.
#[derive(Default)]
pub(super) struct Turns {
    waiting: Vec<Waiting>,
    /// When each pair of caller and callee was first told that it was accepted, since nothing of it
    /// was left.
    accepted: BTreeMap<(String, String), Timestamp>,
    /// The same of pairs of which that is not certain: with several calls that failed, which of them
    /// the code was about is campon's to know (one to a number that nobody has is not completed). And
    /// of those whom a process that has ended had kept.
    perhaps: BTreeMap<(String, String), Timestamp>,
    /// Requests that ring a user or end a call of his, and whose answer is not there, by branch and
    /// method.
    open: BTreeMap<(String, String), String>,
    /// The calls of codes that have an answer of campon's or wait for it, and whose they are: until
    /// somebody hangs up, he who dialled the code is on the phone.
    codes: BTreeMap<String, String>,
    /// When each callee was last rung: what he did before may be used up.
    rung: BTreeMap<String, Timestamp>,
    /// When a call of each user's last moved.
    moved: BTreeMap<String, Timestamp>,
    /// Callers whose wish for a callee goes to a monitor elsewhere, and whose code has no answer yet: in
    /// campon's own queue they have no place.
    elsewhere: BTreeSet<(String, String)>,
    /// Who may be on a call of which his phone knows nothing: for this process, he is never idle.
    haunted: BTreeSet<String>,
    /// Since when the store keeps nothing, and until when it did not.
    trouble: Option<(Timestamp, Option<Timestamp>)>,
    /// How often somebody had his turn while somebody else waited.
    pub(super) contested: u64,
}

struct Waiting {
    caller: String,
    callee: String,
    /// When his call failed.
    failed: Timestamp,
    accepted: Timestamp,
    /// When his recall was last withdrawn, because the callee had a call himself.
    withdrawn: Option<Timestamp>,
    /// Whether he has met the callee busy again; the third time would end it.
    is_retained: bool,
}

impl Turns {
    /// A process has ended: of nobody anything is certain. But who is kept has come before all who ask
    /// the next one, and keeps his place, though his code may have had no answer any more.
    pub(super) fn on_crash(&mut self, now: Timestamp, kept: &[Record]) {
        self.waiting.clear();
        self.open.clear();
        self.codes.clear();
        self.elsewhere.clear();
        self.haunted.clear();
        for record in kept.iter().filter(|it| it.roles != Roles::Text) {
            let [caller, callee] = [&record.caller, &record.callee].map(|it| name_of(it.as_str()));
            self.on_perhaps_accepted(now, caller, callee);
        }
    }

    /// A call begins that this caller's phone has forgotten.
    pub(super) fn on_haunted(&mut self, caller: &str) {
        self.haunted.insert(caller.to_owned());
    }

    /// When a callee was last rung.
    pub(super) fn rung(&self, callee: &str) -> Option<Timestamp> {
        self.rung.get(callee).copied()
    }

    /// A code is refused, or its call ends.
    pub(super) fn on_code_over(&mut self, call_id: &str) {
        self.codes.remove(call_id);
    }

    /// A code was answered well; `failed` is when the call failed, if it certainly waits for the end of a
    /// call of the callee's.
    pub(super) fn on_accepted(
        &mut self,
        now: Timestamp,
        (caller, callee): (&str, &str),
        failed: Option<Timestamp>,
    ) {
        let pair = (caller.to_owned(), callee.to_owned());
        let is_elsewhere = self.elsewhere.remove(&pair);
        let is_first = !self.perhaps.contains_key(&pair);
        let Entry::Vacant(place) = self.accepted.entry(pair) else {
            // R21: who asks again keeps what he has, the recalls that he let pass included.
            return;
        };
        place.insert(now);
        if let Some(failed) = failed.filter(|_| is_first && !is_elsewhere) {
            self.waiting.push(Waiting {
                caller: caller.to_owned(),
                callee: callee.to_owned(),
                failed,
                accepted: now,
                withdrawn: None,
                is_retained: false,
            });
        }
    }

    /// A code was answered well, and may have been about his call to this callee as well.
    pub(super) fn on_perhaps_accepted(&mut self, now: Timestamp, caller: &str, callee: &str) {
        let pair = (caller.to_owned(), callee.to_owned());
        self.perhaps.entry(pair).or_insert(now);
    }

    /// Nothing is left of what a caller waits for: of all of it, or for this callee.
    pub(super) fn forget(&mut self, caller: &str, callee: Option<&str>) {
        let is_other = |it: &str| callee.is_some_and(|callee| it != callee);
        for pairs in [&mut self.accepted, &mut self.perhaps] {
            pairs.retain(|(by, of), _| by != caller || is_other(of));
        }
        self.waiting
            .retain(|it| it.caller != caller || is_other(&it.callee));
    }

    /// A CC call has its final answer: who meets his callee busy once keeps his place.
    fn on_cc_call_answered(&mut self, (caller, callee): &(String, String), status: u16) {
        let is_his = |it: &Waiting| it.caller == *caller && it.callee == *callee;
        let Some(it) = self.waiting.iter_mut().find(|it| is_his(it)) else {
            return;
        };
        if status != 486 || std::mem::replace(&mut it.is_retained, true) {
            self.doubt(is_his);
        }
    }

    /// Somebody's wish is brought to a monitor elsewhere, and so is the one he has here: a caller
    /// waits for a callee in one queue.
    fn on_asked_elsewhere(&mut self, subscribe: &Message) {
        let pair: (String, String) = ends_of(subscribe).into();
        self.doubt(|it| it.caller == pair.0 && it.callee == pair.1);
        self.elsewhere.insert(pair);
    }

    /// Whether somebody may have had his turn since a callee hung up, and nobody has seen it: the store
    /// kept the recall back for as long as it would have rung (what is not kept does not leave), and
    /// he is left alone now as one who was not reached.
    fn may_have_had_his_turn(&self, now: Timestamp, hung_up: Timestamp) -> bool {
        self.trouble.is_some_and(|(began, ended)| {
            let (first, last) = (began.max(hung_up + GUARD), ended.unwrap_or(now));
            last.since(first) + SLACK >= RING && now.since(last) < REST + SLACK
        })
    }

    /// Of these nothing is certain any more.
    fn doubt(&mut self, is_one: impl Fn(&Waiting) -> bool) {
        self.waiting.retain(|it| !is_one(it));
    }
}

impl Watch {
    /// The store gets slow, or fails, or is well again.
    pub(crate) fn on_store(&mut self, now: Timestamp, mood: Mood) {
        let trouble = &mut self.turns_of.trouble;
        let since = trouble.filter(|(_, ended)| ended.is_none());
        let began = since.map(|(began, _)| began);
        *trouble = match mood {
            Mood::Well => began.map(|began| (began, Some(now))).or(*trouble),
            Mood::Slow | Mood::Down => Some((began.unwrap_or(now), None)),
        };
    }

    /// A request comes in.
    pub(super) fn note_turns_in(&mut self, from: SocketAddr, request: &Message) {
        let Some(user) = self.users.get(&from) else {
            return;
        };
        self.turns_of.moved.insert(user.clone(), self.now);
        if request.kind() == "BYE" {
            self.turns_of.on_code_over(request.call_id());
        }
        let called = user_of(uri_of(request.header("To")));
        let is_recalled = self.legs.is_recalled(user);
        match request.kind() {
            // Whatever it asks for or takes back.
            "INVITE" if request.uri().contains("%23") => {
                let id = request.call_id().to_owned();
                self.turns_of.codes.insert(id, user.clone());
                self.turns_of.doubt(|it| it.caller == *user);
            }
            "INVITE" => self.turns_of.doubt(|it| {
                let pair = [&it.caller, &it.callee];
                it.caller == *user && is_recalled
                    || pair == [user, &called]
                    || pair == [&called, user]
            }),
            "REGISTER" => self
                .turns_of
                .doubt(|it| it.caller == *user || it.callee == *user),
            // He hangs up before he is connected.
            "BYE" if is_recalled => self.turns_of.doubt(|it| it.caller == *user),
            _ => {}
        }
    }

    /// A response comes in.
    pub(super) fn note_turns_answered(&mut self, response: &Message) {
        let key = (
            response.branch().to_owned(),
            response.cseq_method().to_owned(),
        );
        let turns = &mut self.turns_of;
        if response.status() < 200 {
            return;
        }
        if let Some(user) = turns.open.remove(&key) {
            if key.1 == "INVITE" {
                turns.rung.insert(user.clone(), self.now);
            }
            turns.moved.insert(user, self.now);
        }
        if response.cseq_method() != "INVITE" {
            return;
        }
        let id = response.call_id();
        if let Some(pair) = self.cc_calls.get(id) {
            turns.on_cc_call_answered(pair, response.status());
        }
        let recall = self.recalls.iter().find(|recall| recall.call_id == id);
        // Given up before anything came of it, there was nothing to cancel.
        let is_late = |recall: &Recall| self.now.since(recall.at) + SLACK > RING;
        let is_let_pass = |recall: &&Recall| match response.status() {
            200 => is_late(recall),
            487 => false,
            _ => true,
        };
        // Two who talk have what they wanted of each other. Who asked for his caller while that one's
        // call waited for him has it by an INVITE that came before he asked.
        if recall.is_none() && response.status() == 200 {
            let [caller, callee] = ends_of(response);
            turns.doubt(|it| {
                let pair = [&it.caller, &it.callee];
                pair == [&caller, &callee] || pair == [&callee, &caller]
            });
        }
        if let Some(recall) = recall.filter(is_let_pass) {
            turns.doubt(|it| it.caller == recall.caller && it.callee == recall.callee);
        }
    }

    /// A request goes out.
    pub(super) fn note_turns_out(&mut self, to: SocketAddr, request: &Message) {
        let now = self.now;
        if request.kind() == "SUBSCRIBE" && request.tag_of_to().is_empty() {
            self.turns_of.on_asked_elsewhere(request);
        }
        let Some(user) = self.users.get(&to) else {
            return;
        };
        let kind = request.kind().to_owned();
        if !["BYE", "CANCEL", "INVITE"].contains(&&*kind) {
            return;
        }
        let turns = &mut self.turns_of;
        if kind == "BYE" {
            turns.on_code_over(request.call_id());
        } else {
            turns.rung.insert(user.clone(), now);
        }
        turns.moved.insert(user.clone(), now);
        // How long the caller may have let it pass: who has answered, and is not connected.
        let lasts = match &*kind {
            "CANCEL" => Some(RING),
            "BYE" => Some(RECALL),
            _ => None,
        };
        let key = (request.branch().to_owned(), kind);
        turns.open.insert(key, user.clone());
        let id = request.call_id();
        if let Some((caller, callee)) = self.cc_calls.get(id) {
            turns.doubt(|it| it.caller == *caller && it.callee == *callee);
        }
        let recall = self.recalls.iter().find(|recall| recall.call_id == id);
        if let (Some(recall), Some(lasts)) = (recall.filter(|it| it.cc_calls == 0), lasts) {
            let is_his = |it: &Waiting| it.caller == recall.caller && it.callee == recall.callee;
            // CC-44: the timers run from his turn on, while a slow store keeps back the recall, and
            // then the CC call.
            if now.since(recall.at) + SLACK + self.store_delay < lasts {
                let his = turns.waiting.iter_mut().find(|it| is_his(it));
                if let Some(it) = his {
                    it.withdrawn = Some(now);
                }
            } else {
                turns.doubt(is_his);
            }
        }
    }

    /// Somebody is told that it is his turn at a queue of campon's: whether one is passed over who came
    /// before him and whom nothing keeps.
    pub(super) fn is_passed_over(&mut self, caller: &str, callee: &str) -> bool {
        let now = self.now;
        let Some(came) = self.came(caller, callee) else {
            return false;
        };
        let hung_up = self.legs.freed(callee);
        let rung = self.turns_of.rung.get(callee).copied();
        let is_other = |it: &&Waiting| it.callee == callee && it.caller != caller;
        let has_seen_him = |it: &Waiting| {
            hung_up.is_some_and(|at| {
                at > it.failed + SLACK
                    && rung.is_none_or(|rung| at > rung)
                    && !self.turns_of.may_have_had_his_turn(now, at)
            })
        };
        let others = self.turns_of.waiting.iter().filter(is_other);
        let passed = others.clone().find(|it| {
            it.accepted + SLACK < came
                && now.since(it.accepted) < LIVES
                && has_seen_him(it)
                && it.withdrawn.is_none_or(|at| now.since(at) > GUARD + SLACK)
                && self.is_idle(&it.caller)
        });
        let is_passed = passed.is_some();
        let is_contested = others.count() > 0;
        self.turns_of.contested += u64::from(is_contested);
        is_passed
    }

    /// When a user's request for a callee was accepted first, at the earliest, if anybody saw it.
    pub(super) fn came(&self, caller: &str, callee: &str) -> Option<Timestamp> {
        let pair = (caller.to_owned(), callee.to_owned());
        let turns = &self.turns_of;
        let seen = [&turns.accepted, &turns.perhaps].map(|pairs| pairs.get(&pair).copied());
        seen.into_iter().flatten().min()
    }

    /// Whether a user is there and certainly has no call, and had none a moment ago.
    fn is_idle(&self, user: &str) -> bool {
        let turns = &self.turns_of;
        let mut users = self.users.iter();
        let is_here = users.any(|(at, name)| name == user && self.here.contains(at));
        let moved = turns.moved.get(user).copied();
        is_here
            && !self.legs.has_any(user)
            && !turns.open.values().any(|it| it == user)
            && !turns.codes.values().any(|it| it == user)
            && !turns.haunted.contains(user)
            && moved.is_none_or(|at| self.now.since(at) > SLACK)
    }
}

/// The user of an address of record.
fn name_of(aor: &str) -> &str {
    aor.split('@').next().unwrap_or_default()
}

/// Who sends a request, and for whom it is.
fn ends_of(message: &Message) -> [String; 2] {
    ["From", "To"].map(|field| user_of(uri_of(message.header(field))))
}
