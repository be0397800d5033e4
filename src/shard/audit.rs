//! Attempts to join calls: each leaves one record that names all three, whatever comes of it.
//!
//! Spec: RULES R17; threats T29.
//!
//! - An attempt is one from the moment that it is asked for, whoever refuses it. Its [`AttemptId`] cannot
//!   be copied: it is ended once.
//! - What nobody has ended ends with the call of who asked.

use std::collections::BTreeMap;

use crate::call::Side;
use crate::completion::intrusion::Denied;
use crate::location::Aor;
use crate::observe::Pii;
use crate::shard::desk::name_of;
use crate::shard::provider::CallReport;
use crate::shard::record::{IntrusionEnd, IntrusionRecord};
use crate::shard::{Held, Shard};
use crate::table::Key;
use crate::time::Timestamp;

/// An attempt that is under way: the call of who asked, and a number.
#[derive(Debug)]
#[must_use = "an attempt has to be ended"]
pub(super) struct AttemptId(Key, u64);

/// The attempts that are under way.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    open: BTreeMap<(Key, u64), Open>,
    last: u64,
    /// That of an INVITE which is about to become a call.
    joining: Option<IntrusionRecord>,
}

#[derive(Debug)]
struct Open {
    record: IntrusionRecord,
    /// Whether who asks is in it when his call is answered.
    is_the_call: bool,
}

impl Attempts {
    fn open(&mut self, key: Key, record: IntrusionRecord, is_the_call: bool) -> AttemptId {
        self.last += 1;
        let open = Open {
            record,
            is_the_call,
        };
        self.open.insert((key, self.last), open);
        AttemptId(key, self.last)
    }

    /// The INVITE that is in hand, if it joins a call, is this one.
    pub(super) fn become_call(&mut self, key: Key) {
        if let Some(record) = self.joining.take() {
            // It ends with the call.
            let _ends = self.open(key, record, true);
        }
    }
}

impl Shard {
    /// The caller of a call that is kept from its failure asks to join another.
    pub(super) fn begin_attempt(&mut self, now: Timestamp, key: Key, held: &Held) -> AttemptId {
        let caller = held.parties.caller.as_ref();
        let record = IntrusionRecord {
            call_id: String::from_utf8_lossy(held.call.call_id(Side::A)).into_owned(),
            intruder: caller.map(plain).unwrap_or_default(),
            target: held.about.callee_of_ours().map(plain).unwrap_or_default(),
            third: self.third_for(now, held).as_ref().map(plain),
            began: now,
            joined: None,
        };
        self.attempts.open(key, record, false)
    }

    /// An INVITE joins a call by itself, or is not to.
    pub(super) fn note_joining(
        &mut self,
        now: Timestamp,
        record: IntrusionRecord,
        denied: Option<Denied>,
    ) {
        match denied {
            Some(denied) => self.write_attempt(now, record, IntrusionEnd::Denied(denied)),
            None => self.attempts.joining = Some(record),
        }
    }

    /// An INVITE that was to join a call has become none.
    pub(super) fn end_joining(&mut self, now: Timestamp) {
        if let Some(record) = self.attempts.joining.take() {
            self.write_attempt(now, record, IntrusionEnd::Failed);
        }
    }

    /// He is in it.
    pub(super) fn note_joined(&mut self, now: Timestamp, attempt: &AttemptId) {
        let AttemptId(key, number) = attempt;
        if let Some(open) = self.attempts.open.get_mut(&(*key, *number)) {
            open.record.joined = Some(now);
        }
    }

    /// An attempt is over; who had been let in has left.
    pub(super) fn end_attempt(&mut self, now: Timestamp, AttemptId(key, number): AttemptId) {
        if let Some(Open { record, .. }) = self.attempts.open.remove(&(key, number)) {
            let end = match record.joined {
                Some(_) => IntrusionEnd::Joined,
                None => IntrusionEnd::Failed,
            };
            self.write_attempt(now, record, end);
        }
    }

    /// It was not to be.
    pub(super) fn deny_attempt(
        &mut self,
        now: Timestamp,
        AttemptId(key, number): AttemptId,
        denied: Denied,
    ) {
        if let Some(Open { record, .. }) = self.attempts.open.remove(&(key, number)) {
            self.write_attempt(now, record, IntrusionEnd::Denied(denied));
        }
    }

    /// An application asks to join a call from one that is not kept from a failure.
    pub(super) fn deny_from_elsewhere(
        &mut self,
        now: Timestamp,
        report: &CallReport,
        denied: Denied,
    ) {
        let record = IntrusionRecord {
            call_id: String::new(),
            intruder: report.line.clone(),
            target: report.party.clone().unwrap_or_default(),
            third: None,
            began: now,
            joined: None,
        };
        self.write_attempt(now, record, IntrusionEnd::Denied(denied));
    }

    /// The call of who asked is gone, which was answered at that time.
    pub(super) fn end_attempts_of(
        &mut self,
        now: Timestamp,
        key: Key,
        answered: Option<Timestamp>,
    ) {
        if self.attempts.open.is_empty() {
            return;
        }
        let his = self.attempts.open.range_mut((key, 0)..=(key, u64::MAX));
        let his = his.map(|((_, number), open)| {
            if open.is_the_call {
                open.record.joined = answered;
            }
            *number
        });
        let his: Vec<u64> = his.collect();
        for number in his {
            self.end_attempt(now, AttemptId(key, number));
        }
    }

    fn write_attempt(&mut self, now: Timestamp, record: IntrusionRecord, end: IntrusionEnd) {
        tracing::info!(
            intruder = %Pii(&record.intruder),
            target = %Pii(&record.target),
            third = record.third.as_ref().map(|third| Pii(third).to_string()),
            outcome = end.as_str(),
            "intrusion"
        );
        match end {
            IntrusionEnd::Joined => {}
            IntrusionEnd::Denied(_) => self.counters.intrusions_denied += 1,
            IntrusionEnd::Failed => self.counters.intrusions_failed += 1,
        }
        self.records.on_intrusion(now, record, end);
    }
}

/// A user as records name him.
pub(super) fn plain(user: &Aor) -> String {
    name_of(user).as_str().trim_end_matches('@').to_owned()
}
