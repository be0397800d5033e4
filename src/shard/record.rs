//! Call records: what each call and each completion came to, as data, for whoever bills or searches.
//!
//! Spec: RFC 3326 (Reason); DESIGN §8.9 (history).
//!
//! Names and numbers stand in a record as they are: to say who called whom is its purpose. Nothing is
//! kept, and nothing costs anything, unless the operator wants records.

use std::collections::{BTreeMap, VecDeque};

use crate::call::{Call, Outcome, Side, Told};
use crate::completion::intrusion::Denied;
use crate::completion::{self, By, CompletionId, History};
use crate::dialog::Tag;
use crate::shard::offer::About;
use crate::shard::ways::Ways;
use crate::shard::{Held, Shard};
use crate::sip::flow::Flow;
use crate::sip::{Name, Request};
use crate::table::Key;
use crate::time::Timestamp;

/// Something that is over.
#[derive(Clone, Debug)]
pub enum Record {
    /// A call.
    Call(Box<CallRecord>),
    /// A request for completion.
    Completion(Box<CompletionRecord>),
    /// An attempt to join a call.
    Intrusion(Box<IntrusionRecord>, Timestamp, IntrusionEnd),
}

/// An attempt to join a call (T29).
#[derive(Clone, Debug)]
pub struct IntrusionRecord {
    /// The Call-ID of who asked.
    pub call_id: String,
    /// Who asked.
    pub intruder: String,
    /// Whose call it was.
    pub target: String,
    /// Whom that one talked to, as far as it is known and was looked for.
    pub third: Option<String>,
    /// When it was asked for.
    pub began: Timestamp,
    /// When he was let in.
    pub joined: Option<Timestamp>,
}

/// What came of an attempt to join a call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum IntrusionEnd {
    /// It was not to be.
    Denied(Denied),
    /// A side did not take part, or somebody hung up.
    Failed,
    /// He was let in, and has left.
    Joined,
}

impl IntrusionEnd {
    /// Its name in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Denied(denied) => denied.as_str(),
            Self::Failed => "failed",
            Self::Joined => "joined",
        }
    }
}

/// A call, from its INVITE to its end.
#[derive(Clone, Debug)]
pub struct CallRecord {
    /// The caller's leg; of a recall, the one that we rang first.
    pub a: LegRecord,
    /// The callee's leg.
    pub b: LegRecord,
    /// Who began it.
    pub origin: Origin,
    /// When the INVITE came, or the caller was rung.
    pub began: Timestamp,
    /// When the callee first rang.
    pub rang: Option<Timestamp>,
    /// When the call was answered.
    pub answered: Option<Timestamp>,
    /// When it ended.
    pub ended: Timestamp,
    /// What became of it.
    pub end: End,
    /// Who ended it.
    pub by: Ender,
    /// The request for completion that it was for, and what had happened to it by then.
    pub completion: Option<(CompletionId, History)>,
}

/// One leg of a call.
#[derive(Clone, Debug, Default)]
pub struct LegRecord {
    /// Its Call-ID; empty if there was no such leg.
    pub call_id: String,
    /// Who called, by the URI in From.
    pub from: String,
    /// Who was called, by the URI in To.
    pub to: String,
    /// The Request-URI of the INVITE.
    pub uri: String,
    /// The other ends that the INVITE came from or went to, `udp:192.0.2.1:5060`.
    pub addresses: Vec<String>,
    /// The one of them that answered.
    pub answered_at: Option<String>,
    /// The final status of the INVITE; `None` if there was none.
    pub status: Option<u16>,
    /// What this side said last about why, in Reason.
    pub reason: Option<String>,
}

/// Who began a call.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Origin {
    /// Its caller.
    #[default]
    Caller,
    /// We, to call a caller back.
    Recall,
}

/// What became of a call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// They talked.
    Answered,
    /// It was withdrawn before it was answered.
    Cancelled,
    /// It was not answered.
    Failed,
}

/// Who ended a call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ender {
    /// The callee, or what stands before him.
    Callee,
    /// The caller.
    Caller,
    /// We: a limit, a timer, a side that is gone, or the operator.
    Campon,
}

/// A request for completion, from when it was accepted to its end.
#[derive(Clone, Debug)]
pub struct CompletionRecord {
    /// Its name.
    pub id: CompletionId,
    /// Who waited.
    pub caller: String,
    /// For whom.
    pub callee: String,
    /// How the call was to be completed.
    pub mode: completion::Mode,
    /// How it ended.
    pub outcome: completion::Outcome,
    /// By whose doing.
    pub by: By,
    /// Its story.
    pub history: History,
}

/// The records of a worker.
#[derive(Debug, Default)]
pub(super) struct Records {
    is_on: bool,
    /// Of the calls that are up.
    drafts: BTreeMap<Key, Draft>,
    /// The calls that are for a completion, and are up.
    completing: BTreeMap<CompletionId, Key>,
    done: VecDeque<Record>,
}

/// What is known of a call so far.
#[derive(Debug, Default)]
pub(super) struct Draft {
    a: LegRecord,
    b: LegRecord,
    origin: Origin,
    rang: Option<Timestamp>,
    refuser: Option<Ender>,
    completion: Option<CompletionId>,
    history: Option<History>,
}

impl Records {
    pub(super) fn new(is_on: bool) -> Self {
        Self {
            is_on,
            ..Self::default()
        }
    }

    /// What is known of the call of this key, to be added to.
    pub(super) fn draft(&mut self, key: Key) -> Option<&mut Draft> {
        if self.drafts.is_empty() {
            return None;
        }
        self.drafts.get_mut(&key)
    }

    /// Begins the record of a call that has just begun.
    /// `request` is the one that it completes.
    pub(super) fn begin(
        &mut self,
        key: Key,
        request: Option<CompletionId>,
        draft: impl FnOnce() -> Draft,
    ) {
        if !self.is_on {
            return;
        }
        let mut draft = draft();
        draft.completion = request;
        if let Some(id) = request {
            self.completing.insert(id, key);
        }
        self.drafts.insert(key, draft);
    }

    /// Forgets a call of which nothing more can be known.
    pub(super) fn forget(&mut self, key: Key) {
        self.take(key);
    }

    pub(super) fn poll(&mut self) -> Option<Record> {
        self.done.pop_front()
    }

    /// A request for completion has ended.
    pub(super) fn on_completion_ended(&mut self, record: impl FnOnce() -> CompletionRecord) {
        if !self.is_on {
            return;
        }
        let record = record();
        let key = self.completing.get(&record.id);
        if let Some(draft) = key.and_then(|key| self.drafts.get_mut(key)) {
            draft.history = Some(record.history.clone());
        }
        self.done.push_back(Record::Completion(Box::new(record)));
    }

    /// An attempt to join a call is over.
    pub(super) fn on_intrusion(
        &mut self,
        now: Timestamp,
        record: IntrusionRecord,
        end: IntrusionEnd,
    ) {
        if self.is_on {
            let record = Record::Intrusion(Box::new(record), now, end);
            self.done.push_back(record);
        }
    }

    fn take(&mut self, key: Key) -> Option<Draft> {
        let draft = self.drafts.remove(&key)?;
        if let Some(id) = draft.completion
            && self.completing.get(&id) == Some(&key)
        {
            self.completing.remove(&id);
        }
        Some(draft)
    }
}

impl Draft {
    /// A call that came in this INVITE and goes these ways.
    pub(super) fn of_invite(request: &Request<'_>, flow: &Flow, ways: &Ways) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let a = LegRecord {
            from: text(request.from.uri.text()),
            to: text(request.to.uri.text()),
            uri: text(request.uri.text()),
            addresses: vec![flow.to_string()],
            ..LegRecord::default()
        };
        let b = LegRecord {
            from: a.from.clone(),
            to: a.to.clone(),
            ..LegRecord::default()
        };
        let mut draft = Self {
            a,
            b,
            ..Self::default()
        };
        draft.add_ways(ways);
        draft
    }

    /// A caller who is called back these ways, about somebody.
    pub(super) fn of_recall(caller: &str, callee: &str, ways: &Ways) -> Self {
        let flows = ways.iter().map(|way| way.flow.to_string());
        let uri = ways.first().map(|way| way.uri.as_slice());
        Self {
            origin: Origin::Recall,
            a: LegRecord {
                from: callee.to_owned(),
                to: caller.to_owned(),
                uri: String::from_utf8_lossy(uri.unwrap_or_default()).into_owned(),
                addresses: flows.collect(),
                ..LegRecord::default()
            },
            ..Self::default()
        }
    }

    /// The callee's side of a recall is called.
    pub(super) fn call(&mut self, from: &str, to: &str, ways: &Ways) {
        from.clone_into(&mut self.b.from);
        to.clone_into(&mut self.b.to);
        self.add_ways(ways);
    }

    fn add_ways(&mut self, ways: &Ways) {
        if let Some(first) = ways.first() {
            self.b.uri = String::from_utf8_lossy(&first.uri).into_owned();
        }
        let flows = ways.iter().map(|way| way.flow.to_string());
        self.b.addresses.extend(flows);
    }

    /// The caller is about to be told this.
    pub(super) fn note_told(&mut self, now: Timestamp, told: &Told<'_>) {
        if told.status.is_provisional() {
            if matches!(told.status.code(), 180..190) && told.status.code() != 182 {
                self.rang.get_or_insert(now);
            }
            return;
        }
        self.a.status = Some(told.status.code());
        self.refuser = Some(Ender::Campon);
        if let Some(response) = told.response {
            self.refuser = Some(Ender::Callee);
            self.b.status = Some(response.status.code());
            let reason = response.message.first(Name::Reason);
            self.note_reason(Side::B, reason);
        }
    }

    /// What a side said about why.
    pub(super) fn note_reason(&mut self, side: Side, reason: Option<&[u8]>) {
        let leg = match side {
            Side::A => &mut self.a,
            Side::B => &mut self.b,
        };
        if let Some(reason) = reason {
            leg.reason = Some(String::from_utf8_lossy(reason).into_owned());
        }
    }

    fn finish(mut self, now: Timestamp, call: &Call, history: Option<&History>) -> CallRecord {
        let answered = call.answered();
        for (side, leg) in [(Side::A, &mut self.a), (Side::B, &mut self.b)] {
            leg.call_id = String::from_utf8_lossy(call.call_id(side)).into_owned();
            if answered.is_some() {
                leg.status = Some(200);
                leg.answered_at = Some(call.flow(side).to_string());
            }
        }
        let outcome = call.outcome();
        if outcome == Outcome::Cancelled {
            self.a.status = Some(487);
        }
        let history = self.history.or_else(|| history.cloned());
        CallRecord {
            origin: self.origin,
            began: call.began(),
            rang: self.rang,
            answered,
            ended: call.ended().unwrap_or(now),
            end: end_of(outcome, answered),
            by: ender(outcome, self.refuser),
            completion: self.completion.map(|id| (id, history.unwrap_or_default())),
            a: self.a,
            b: self.b,
        }
    }
}

impl Shard {
    /// Counts and logs a call that is over.
    pub(super) fn on_call_over(&mut self, now: Timestamp, held: &Held) {
        self.release_over(now, held);
        if matches!(held.about, About::Code) {
            // It was no call to anybody, and has its line already.
            return;
        }
        let call = &held.call;
        if call.answered().is_some() {
            self.counters.calls_answered += 1;
        } else {
            self.counters.count_failed(status_of(call.outcome()));
        }
        let ended = call.ended().unwrap_or(now);
        let talked = call.answered().map(|answered| ended.since(answered));
        tracing::info!(
            call_id = %call.call_id(Side::A).escape_ascii(),
            call_id_b = %call.call_id(Side::B).escape_ascii(),
            outcome = outcome_name(call.outcome()),
            talked_ms = talked.map(|talked| u64::try_from(talked.as_millis()).unwrap_or(u64::MAX)),
            "call over"
        );
    }

    /// What is over, oldest first.
    pub fn poll_record(&mut self) -> Option<Record> {
        self.records.poll()
    }

    /// The record of a call of which nothing more is waited for.
    pub(super) fn finish_record(&mut self, now: Timestamp, key: Key) {
        if let Some(held) = self.calls.take(key) {
            self.record_call(now, key, &held);
            self.calls.put_back(key, held);
        }
    }

    /// The record of a call that is over.
    pub(super) fn record_call(&mut self, now: Timestamp, key: Key, held: &Held) {
        let Some(draft) = self.records.take(key) else {
            return;
        };
        let view = draft.completion.and_then(|id| self.desk.service.view(id));
        let history = view.map(|view| view.history);
        let record = draft.finish(now, &held.call, history);
        self.records.done.push_back(Record::Call(Box::new(record)));
    }

    /// What this request says about why, in the record of its call.
    pub(super) fn note_reason(&mut self, key: Key, side: Side, request: &Request<'_>) {
        if let Some(draft) = self.records.draft(key) {
            draft.note_reason(side, request.message.first(Name::Reason));
        }
    }

    /// The same of a BYE, if it is within the call that its tag names.
    pub(super) fn note_bye(&mut self, tag: Tag, request: &Request<'_>) {
        if !self.records.is_on {
            return;
        }
        let held = self.calls.get(tag.call);
        let side = held.and_then(|held| held.call.side_of(request, tag));
        if let Some(side) = side {
            self.note_reason(tag.call, side, request);
        }
    }

    /// The record of a call that we refused ourselves.
    pub(super) fn record_refusal(
        &mut self,
        now: Timestamp,
        request: &Request<'_>,
        flow: &Flow,
        status: crate::sip::Status,
    ) {
        if !self.records.is_on {
            return;
        }
        let Draft { mut a, .. } = Draft::of_invite(request, flow, &Ways::new());
        a.call_id = String::from_utf8_lossy(request.call_id).into_owned();
        a.status = Some(status.code());
        let record = CallRecord {
            a,
            b: LegRecord::default(),
            origin: Origin::Caller,
            began: now,
            rang: None,
            answered: None,
            ended: now,
            end: End::Failed,
            by: Ender::Campon,
            completion: None,
        };
        self.records.done.push_back(Record::Call(Box::new(record)));
    }
}

fn end_of(outcome: Outcome, answered: Option<Timestamp>) -> End {
    match (answered, outcome) {
        (Some(_), _) => End::Answered,
        (None, Outcome::Cancelled) => End::Cancelled,
        (
            None,
            Outcome::Open
            | Outcome::Confirmed
            | Outcome::Disconnected
            | Outcome::Failed(_)
            | Outcome::HandedOver
            | Outcome::HungUp(_)
            | Outcome::Lost,
        ) => End::Failed,
    }
}

fn ender(outcome: Outcome, refuser: Option<Ender>) -> Ender {
    match outcome {
        Outcome::Cancelled | Outcome::HungUp(Side::A) => Ender::Caller,
        Outcome::HungUp(Side::B) => Ender::Callee,
        Outcome::Failed(_) => refuser.unwrap_or(Ender::Callee),
        Outcome::Confirmed
        | Outcome::Disconnected
        | Outcome::HandedOver
        | Outcome::Lost
        | Outcome::Open => Ender::Campon,
    }
}

/// What the caller of a call that failed was told; `None` if he had given it up.
fn status_of(outcome: Outcome) -> Option<u16> {
    match outcome {
        Outcome::Failed(status) => Some(status.code()),
        Outcome::Open
        | Outcome::Cancelled
        | Outcome::Confirmed
        | Outcome::Disconnected
        | Outcome::HandedOver
        | Outcome::HungUp(_)
        | Outcome::Lost => None,
    }
}

fn outcome_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Open => "open",
        Outcome::Cancelled => "cancelled",
        Outcome::Confirmed => "confirmed",
        Outcome::Disconnected => "disconnected",
        Outcome::Failed(status) => status.phrase(),
        Outcome::HandedOver => "handed over",
        Outcome::HungUp(Side::A) => "caller hung up",
        Outcome::HungUp(Side::B) => "callee hung up",
        Outcome::Lost => "lost",
    }
}
