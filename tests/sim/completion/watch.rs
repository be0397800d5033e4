//! What a bystander at campon's door sees, and what he must never see.
//!
//! Spec: DESIGN §13 (invariants); RULES R2, R9, R18, R21.
//!
//! He reads messages alone. Where they leave open what campon knows, he lets it pass.

mod camps;
mod codes;
mod crashes;
mod kept;
mod meetings;
mod notices;
mod texts;
mod turns;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use campon::completion::{CompletionId, Mode, Record};
use campon::shard::Settings;
use campon::time::Timestamp;

use super::agent::line_of;
use super::legs::{Legs, UNHEARD_MAX};
use super::operator::Pair;
use super::settings::{GUARD, NOTIFY_WINDOW, RECALL};
use crate::flow::kit::message::{Message, uri_of};
use crate::sim::wire;

use camps::Camps;
use codes::Codes;
use kept::Signs;
pub(super) use kept::read;
use texts::Texts;
use turns::Turns;

/// Timers are as exact as the slots of the wheel; each step rounds up once.
const SLACK: Duration = Duration::from_millis(50);

/// For so long a failed INVITE is known at least, once its answer is acknowledged (timer I).
const CONFIRMED: Duration = Duration::from_secs(5);

/// Whoever is no user of campon's.
const ELSEWHERE: &str = "";

/// What he has seen.
pub(crate) struct Watch {
    pub(crate) faults: Vec<String>,
    pub(crate) pairs: BTreeMap<(&'static str, &'static str), u64>,
    /// CC calls of campon's own after which the two talked.
    pub(crate) talks: u64,
    now: Timestamp,
    /// Whether the peer is the upstream, so that users' calls reach it.
    has_upstream: bool,
    /// Whether requests outlive the process, and the store does at once what it is told.
    pub(crate) is_kept: bool,
    /// How long it may take otherwise.
    pub(crate) store_delay: Duration,
    users: BTreeMap<SocketAddr, String>,
    here: BTreeSet<SocketAddr>,
    /// The requests that came in, and when, by branch and method.
    requests: BTreeMap<(String, String), (Timestamp, Message)>,
    /// What campon sent, by branch and method or status, so that repetitions do not count.
    sent: BTreeSet<(String, String)>,
    legs: Legs,
    subscriptions: BTreeMap<String, Seen>,
    failed: Vec<Failed>,
    /// For whom each user may be called back.
    wanted: BTreeMap<String, BTreeSet<String>>,
    recalls: Vec<Recall>,
    /// The Call-IDs of CC calls of campon's own, and whose they are.
    cc_calls: BTreeMap<String, (String, String)>,
    /// Those of them whose callers have asked once more since: what has ended with an answer may have
    /// begun anew.
    renewed: BTreeSet<String>,
    /// Who was completed last, with whom, and when.
    talked: Option<(String, String, Timestamp)>,
    /// Whose turn it is at campon's own queues.
    turns_of: Turns,
    /// The calls that callers make, and which of them wait.
    camps: Camps,
    /// What callers have left for callees to read.
    texts: Texts,
    /// Turns that a monitor elsewhere gave to each user for each callee, and that led to no recall yet.
    turns: BTreeMap<(String, String), u32>,
    /// The codes of each user that ask for completion and wait for their answer.
    asking: BTreeMap<String, u32>,
    coded: Codes,
    /// The state that each subscription elsewhere was told last, with its CSeq.
    told: BTreeMap<String, (u32, bool)>,
    /// What the store had when the last recall left, or the process ended.
    kept: Vec<Record>,
    /// How many recalls of each request it had counted.
    rung: BTreeMap<CompletionId, u32>,
    /// Whom this process has seen; whether he was on another call is [`Self::talking_on`].
    signs: Signs,
    /// Who is on a call of a process that has ended, as nobody but the two phones can know.
    pub(crate) talking_on: Vec<String>,
    /// When the process before this one ended.
    crashed: Option<Timestamp>,
}

/// A subscription at campon.
#[derive(Default)]
struct Seen {
    callee: String,
    cc_uri: Option<String>,
    notified: Vec<Timestamp>,
    /// Since when it is ready and nobody has called.
    ready_since: Option<Timestamp>,
    is_ready: bool,
    /// When a process ended whose successor has not told yet where it stands.
    taken_up: Option<Timestamp>,
    suspended_until: Option<Timestamp>,
    /// When it runs out, unless it is refreshed.
    ends: Option<Timestamp>,
    /// The CSeq of its last NOTIFY.
    cseq: u32,
    /// The NOTIFYs that nobody has answered well, and since when: the subscriber may be taken for gone.
    unanswered: BTreeMap<u32, Timestamp>,
    /// Whether it may have ended in a process that ended before it could say so.
    may_be_over: bool,
    /// The Call-ID of the CC call of one that was ready, until that has its final answer, and since when.
    cc_call: Option<(String, Timestamp)>,
    /// When a refresh was told that there is none: its end is about to be told, or it is forgotten.
    unknown: Option<Timestamp>,
    /// When it became ready though the callee was busy: it may still be withdrawn in that instant.
    doubted: Option<Timestamp>,
    life: Life,
}

/// How far a subscription has come.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Life {
    #[default]
    Live,
    /// Its end was acknowledged.
    TakenBack,
    /// Its last NOTIFY is out.
    Over,
}

/// A call of a user's that failed.
struct Failed {
    caller: String,
    callee: String,
    at: Timestamp,
    /// Whether he was busy.
    is_busy: bool,
    /// The branch of its INVITE.
    branch: String,
}

struct Recall {
    call_id: String,
    caller: String,
    callee: String,
    at: Timestamp,
    cc_calls: u32,
}

impl Watch {
    pub(crate) fn new(users: BTreeMap<SocketAddr, String>, settings: &Settings) -> Self {
        Self {
            faults: Vec::new(),
            pairs: BTreeMap::new(),
            talks: 0,
            now: Timestamp::START,
            has_upstream: settings.upstream.is_some(),
            is_kept: settings.completion.keeps,
            store_delay: Duration::ZERO,
            users,
            here: BTreeSet::new(),
            requests: BTreeMap::new(),
            sent: BTreeSet::new(),
            legs: Legs::default(),
            subscriptions: BTreeMap::new(),
            failed: Vec::new(),
            wanted: BTreeMap::new(),
            recalls: Vec::new(),
            cc_calls: BTreeMap::new(),
            renewed: BTreeSet::new(),
            talked: None,
            turns_of: Turns::default(),
            camps: Camps::new(settings),
            texts: Texts::default(),
            turns: BTreeMap::new(),
            asking: BTreeMap::new(),
            coded: Codes::default(),
            told: BTreeMap::new(),
            kept: Vec::new(),
            rung: BTreeMap::new(),
            signs: Signs::default(),
            talking_on: Vec::new(),
            crashed: None,
        }
    }

    /// Time has passed.
    pub(crate) fn on_time(&mut self, now: Timestamp) {
        self.now = now;
        self.check_camps();
        for (id, seen) in &mut self.subscriptions {
            if seen.doubted.take_if(|at| *at < now).is_some() {
                let what = format!("ready while the callee is busy: {id} before {now:?}");
                self.faults.push(what);
            }
            if let Some(since) = seen.ready_since
                && now.since(since) > RECALL + SLACK + self.store_delay
            {
                // S-124: a subscriber who does not answer may be taken for gone, and is told no more.
                let unanswered = seen.unanswered.values().min();
                let is_lost = unanswered.is_some_and(|at| now.since(*at) >= UNHEARD_MAX);
                seen.ready_since = None;
                if !is_lost {
                    self.faults.push(format!(
                        "ready without a CC call for longer than the recall timer: {id} at {now:?}"
                    ));
                }
            }
            // A slow store keeps the NOTIFY back that says so.
            let latest = NOTIFY_WINDOW + SLACK + self.store_delay;
            let is_late = |at: &mut Timestamp| now.since(*at) > latest;
            if seen.unknown.take_if(is_late).is_some() {
                let what = format!("an accepted subscription is forgotten: {id} before {now:?}");
                self.faults.push(what);
            }
        }
    }

    /// A datagram comes in.
    pub(crate) fn on_input(&mut self, now: Timestamp, from: SocketAddr, message: &Message) {
        self.on_time(now);
        let key = (
            message.branch().to_owned(),
            message.cseq_method().to_owned(),
        );
        if !message.is_request() {
            self.note_text_answered(message);
            self.on_notify_answered(message);
            self.note_turns_answered(message);
            return self.on_response_in(&key.0, message);
        }
        if self.requests.contains_key(&key) && !self.is_code_anew(&key, message) {
            // A copy may come so late that it is a request anew.
            match message.kind() {
                "INVITE" => self.note_camps_in(from, message),
                "PUBLISH" => self.on_publish_in(message),
                _ => {}
            }
            return;
        }
        self.requests.insert(key, (now, message.clone()));
        self.note(from, message);
        self.note_turns_in(from, message);
        match message.kind() {
            "PUBLISH" => self.on_publish_in(message),
            "INVITE" if message.tag_of_to().is_empty() => self.on_invite_in(from, message),
            "BYE" => self.legs.hang_up(now, message.call_id()),
            "CANCEL" => self.on_cancel_in(from, message),
            _ => {}
        }
    }

    /// A datagram goes out.
    pub(crate) fn on_output(&mut self, now: Timestamp, to: SocketAddr, message: &Message) {
        self.on_time(now);
        self.note_camps_out(message);
        let kind = message.kind().to_owned();
        let key = (
            message.branch().to_owned(),
            format!("{kind} {}", message.cseq_method()),
        );
        if !self.sent.insert(key) {
            return self.on_sent_again(message);
        }
        if message.is_request() {
            self.note_turns_out(to, message);
        }
        match (message.is_request(), &*kind) {
            (true, "INVITE") if message.tag_of_to().is_empty() => self.on_invite_out(to, message),
            (true, "BYE") => self.legs.hang_up(now, message.call_id()),
            (true, "CANCEL") => self.legs.close(message.call_id()),
            (true, "ACK") => self.on_ack_out(message),
            (true, "NOTIFY") => self.on_notify_out(message),
            (true, "MESSAGE") => self.check_text(to, message),
            (true, _) => {}
            (false, _) => self.on_response_out(to, message),
        }
    }

    /// What repeats an answer after a transaction's time may answer a late copy of the request, which
    /// is a call anew.
    fn on_sent_again(&mut self, message: &Message) {
        let branch = message.branch();
        let is_late = |it: &Failed| it.branch == branch && self.now.since(it.at) > CONFIRMED;
        let late = self.failed.iter().position(is_late);
        if let Some(at) = late.filter(|_| !message.is_request() && message.status() >= 300) {
            let again = self.failed.remove(at);
            let at = self.now;
            self.failed.push(Failed { at, ..again });
        }
    }

    /// Somebody else than its caller wants a request to end.
    pub(crate) fn on_ending(&mut self, now: Timestamp, pair: &Pair) {
        self.texts.on_ending(now, pair.id);
        if pair.mode == Mode::Callback {
            self.turns_of.forget(&pair.caller, Some(&pair.callee));
        }
    }

    /// It has ended; what its caller asks for at this moment is another one.
    pub(crate) fn on_ended(&mut self, pair: &Pair) {
        self.texts.on_ended(pair.id);
        let asked = self.texts.ending(pair.id);
        // A code that came before is about this one, however late a slow store lets it be answered.
        let coded = self.coded.asked(&pair.caller).map(|it| it.came);
        if pair.mode != Mode::Callback || coded.is_some_and(|at| Some(at) >= asked) {
            return;
        }
        let is_asking = self
            .asking
            .get(&pair.caller)
            .is_some_and(|codes| *codes > 0);
        if let Some(wanted) = self.wanted.get_mut(&pair.caller).filter(|_| !is_asking) {
            wanted.remove(&pair.callee);
        }
        self.turns_of.forget(&pair.caller, Some(&pair.callee));
    }

    /// How often somebody had his turn while somebody else waited for the same callee.
    pub(crate) fn contested(&self) -> u64 {
        self.turns_of.contested
    }

    fn fault(&mut self, what: &str, message: &Message) {
        let time = self.now.since(Timestamp::START).as_secs_f64();
        let id = message.call_id();
        self.faults
            .push(format!("{what}: {} [{id}] at {time:.3}", message.start()));
    }

    fn on_invite_in(&mut self, from: SocketAddr, invite: &Message) {
        let uri = invite.uri();
        self.note_camps_in(from, invite);
        if let Some(user) = self.users.get(&from) {
            self.signs.on_dials(user);
        }
        if uri.contains("%23") {
            return self.on_code_in(from, uri);
        }
        if let Some(user) = self.users.get(&from).filter(|_| self.here.contains(&from)) {
            self.legs.open(self.now, user, invite, None);
            let completes = |wanted: &BTreeSet<String>| wanted.contains(&user_of(uri));
            if !self.wanted.get(user).is_some_and(completes) {
                self.legs.mark_plain();
            }
        } else {
            self.legs.open(self.now, ELSEWHERE, invite, None);
        }
        let called = user_of(uri_of(invite.header("To")));
        let by_other = |callee: &str| self.legs.is_called(callee, ELSEWHERE);
        let leaving = self.leaving();
        for (id, seen) in &mut self.subscriptions {
            let by_uri = seen
                .cc_uri
                .as_ref()
                .is_some_and(|cc_uri| uri.starts_with(cc_uri.as_str()));
            if !self.users.contains_key(&from) && (by_uri || seen.callee == called) {
                seen.ready_since = None;
            }
            // One that was made before, in the name of a subscription before this one too, is it.
            let is_only = seen.cc_call.is_none() && !by_other(&seen.callee);
            // Nor who has just said that he is away: it is no longer his turn, told late or not.
            let is_first = is_only && !leaving.contains(id);
            if by_uri && seen.is_ready && seen.taken_up.is_none() && is_first {
                seen.cc_call = Some((invite.call_id().to_owned(), self.now));
            } else if seen.callee == called {
                // Which of the two calls it is about is not certain.
                seen.cc_call = None;
            }
        }
    }

    fn on_invite_out(&mut self, to: SocketAddr, invite: &Message) {
        let user = self.users.get(&to).cloned().unwrap_or_default();
        self.signs.on_rings(&user);
        let is_recall = invite
            .find("Alert-Info")
            .is_some_and(|info| info.contains("recall"));
        let is_cc_call = !is_recall && invite.body().is_empty();
        if is_recall {
            self.check_recall(&user, invite);
        } else if is_cc_call {
            self.check_cc_call(&user, invite);
        } else {
            self.check_camped(&user, invite);
            self.note_haunted(invite);
            // A request that comes after its transaction is a call anew, and perhaps a CC call.
            let called = self.subscriptions.values_mut();
            for seen in called.filter(|seen| seen.callee == user) {
                seen.ready_since = None;
            }
        }
        let of = match (is_recall, is_cc_call) {
            (true, _) => None,
            (_, true) => self.legs.of_recall(&user_of(uri_of(invite.header("From")))),
            // A code of one who was not there is passed on like a number.
            _ if invite.uri().contains("%23") => None,
            _ => self.call_behind(invite),
        };
        self.legs.open(self.now, &user, invite, of);
        if is_recall {
            self.legs.mark_recall(&user);
        }
    }

    /// Nobody is recalled who did not ask, or who took it back, or who is busy.
    fn check_recall(&mut self, user: &str, invite: &Message) {
        let callee = user_of(uri_of(invite.header("From")));
        let wanted = self.wanted.get(user);
        if wanted.is_none_or(|wanted| !wanted.contains(&callee)) {
            self.fault("a recall that nobody waits for", invite);
        }
        if self.legs.is_busy(self.now, user) {
            self.fault("a busy caller is recalled", invite);
        }
        // Whose turn it is at a monitor elsewhere is that monitor's to say, the guard time included.
        let pair = (user.to_owned(), callee.clone());
        if let Some(turns) = self.turns.get_mut(&pair).filter(|turns| **turns > 0) {
            *turns -= 1;
        } else if callee == "fred" {
            self.fault("a second recall for one ready", invite);
        } else if self.is_guarded(&callee) {
            self.fault("a recall in the guard time", invite);
        } else if self.legs.was_busy(self.now, &callee) {
            self.fault("a recall while the callee is busy", invite);
        } else if self.passes_a_call(user, &callee) {
            self.fault("a recall passes a call that waits", invite);
        } else if self.is_passed_over(user, &callee) {
            self.fault("a recall passes somebody over", invite);
        }
        self.check_kept((user, &callee), invite);
        let mut before = self.recalls.iter().rev();
        let last = before.find(|recall| recall.caller == user && recall.callee == callee);
        // Unless he has asked once more since: his phone was busy with the code.
        let asked = self.coded.wants_since(user);
        let is_soon = |last: &Recall| self.now.since(last.at) < GUARD && asked < Some(last.at);
        if last.is_some_and(is_soon) {
            self.fault("a recall rings twice", invite);
        }
        self.recalls.push(Recall {
            call_id: invite.call_id().to_owned(),
            caller: user.to_owned(),
            callee,
            at: self.now,
            cc_calls: 0,
        });
    }

    /// Whether a callee has just ended a call, and his lines are still his own.
    fn is_guarded(&self, callee: &str) -> bool {
        let freed = self.legs.freed(callee);
        freed.is_some_and(|freed| self.now.since(freed) < GUARD)
    }

    /// The callee is free, the caller still waits, and it is in time.
    fn check_cc_call(&mut self, user: &str, invite: &Message) {
        let caller = user_of(uri_of(invite.header("From")));
        let callee = match user {
            "" => user_of(uri_of(invite.header("To"))),
            user => user.to_owned(),
        };
        let is_busy = !user.is_empty() && self.legs.is_busy(self.now, user);
        let wanted = self.wanted.get(&caller);
        if wanted.is_none_or(|wanted| !wanted.contains(&callee)) {
            self.fault("a CC call that nobody waits for", invite);
        }
        let id = invite.call_id().to_owned();
        self.cc_calls.insert(id, (caller.clone(), callee.clone()));
        let mut recalls = self.recalls.iter_mut().rev();
        let recall = recalls.find(|recall| recall.caller == caller && recall.callee == callee);
        let Some(recall) = recall else {
            return self.fault("a CC call without a recall", invite);
        };
        recall.cc_calls += 1;
        let (count, took) = (recall.cc_calls, self.now.since(recall.at));
        if count > 1 {
            self.fault("a second CC call for one recall", invite);
        }
        // CC-44: one that a slow store held back for longer is a call like any other.
        if is_busy && took <= RECALL + SLACK {
            self.fault("a busy callee is rung", invite);
        }
        if took > RECALL + SLACK + self.store_delay {
            self.fault("a CC call after the recall timer", invite);
        }
    }

    fn on_response_in(&mut self, branch: &str, response: &Message) {
        self.legs.hear(self.now, response.call_id());
        if response.cseq_method() == "INVITE" && response.status() >= 300 {
            self.legs.close_invite(branch);
        }
    }

    /// The two talk: the callee was told the caller's session, not one of campon's own.
    fn on_ack_out(&mut self, ack: &Message) {
        let talks = wire::session_name(ack).is_some_and(|name| name != "-");
        if talks
            && let Some((caller, callee)) = self.cc_calls.remove(ack.call_id())
            && let Some(wanted) = self.wanted.get_mut(&caller)
        {
            if !self.renewed.remove(ack.call_id()) {
                wanted.remove(&callee);
            }
            self.turns_of.forget(&caller, Some(&callee));
            self.talks += 1;
            self.talked = Some((caller, callee, self.now));
        }
    }

    fn on_response_out(&mut self, to: SocketAddr, response: &Message) {
        if response.cseq_method() == "INVITE" && response.status() >= 200 {
            self.close_cc_call(response.call_id());
        }
        let key = (
            response.branch().to_owned(),
            response.cseq_method().to_owned(),
        );
        let Some((came, request)) = self.requests.get(&key).cloned() else {
            return;
        };
        match (request.kind(), response.status()) {
            ("INVITE", 300..)
                if request.tag_of_to().is_empty() && !request.uri().contains("%23") =>
            {
                self.legs.close(request.call_id());
                self.on_call_failed(to, &request, response.status());
            }
            ("INVITE", 200..) if request.uri().contains("%23") => {
                self.on_code(to, (came, &request), response);
            }
            ("REGISTER", 200) => {
                let is_last = request.find("Expires") == Some("0");
                let _: bool = if is_last {
                    self.here.remove(&to)
                } else {
                    self.here.insert(to)
                };
            }
            ("SUBSCRIBE", 200) => self.on_subscribed((came, &request), response),
            ("SUBSCRIBE", 481) => self.check_forgotten(&request),
            ("PUBLISH", 200) => self.on_published((came, &request), response),
            ("NOTIFY", 200) => self.on_told(&request),
            _ => {}
        }
    }

    fn on_call_failed(&mut self, to: SocketAddr, request: &Message, status: u16) {
        if let Some(user) = self.users.get(&to) {
            let callee = user_of(request.uri());
            self.failed.push(Failed {
                caller: user.clone(),
                callee,
                is_busy: status == 486 && request.find("Request-Disposition").is_none(),
                branch: request.branch().to_owned(),
                at: self.now,
            });
        }
    }

    /// A monitor elsewhere told an agent of ours.
    fn on_told(&mut self, notify: &Message) {
        let is_ready = line_of(notify, "cc-state").as_deref() == Some("ready");
        let told = self.told.entry(notify.call_id().to_owned()).or_default();
        if notify.cseq() <= told.0 {
            return;
        }
        if is_ready && !told.1 {
            let pair = ["To", "From"].map(|field| user_of(uri_of(notify.header(field))));
            *self.turns.entry(pair.into()).or_default() += 1;
        }
        *told = (notify.cseq(), is_ready);
    }
}

/// The user of a URI.
fn user_of(uri: &str) -> String {
    let after = uri.split_once(':').map_or(uri, |(_, rest)| rest);
    let user = after.split('@').next().unwrap_or_default();
    user.to_owned()
}
