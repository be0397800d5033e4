//! Texts that callers leave: each is delivered, once if nothing goes wrong, and none that was taken back.
//!
//! Spec: RFC 3428 §8 (one at a time); RULES R20; `completion::messages` (what may have been delivered is
//! delivered again rather than lost).
//!
//! Which text a MESSAGE carries is known by its caller, its callee and its words: two of the same are as
//! good as each other.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use campon::completion::{CompletionId, Record, Roles};
use campon::store::Stored;
use campon::time::Timestamp;

use super::kept::read;
use super::{SLACK, Watch, user_of};
use crate::flow::kit::message::{Message, uri_of};
use crate::sim::completion::legs::UNHEARD_MAX;

/// How long taking back takes at most, if the store is not slow.
const TAKES: Duration = Duration::from_secs(5);

/// Caller, callee, and the words.
type Text = (String, String, String);

/// What is known of them.
#[derive(Default)]
pub(super) struct Texts {
    /// How many of each were read, and are still kept.
    read: BTreeMap<Text, u32>,
    /// Those that were taken so late that campon may not have heard it.
    taken_late: BTreeSet<Text>,
    /// Those on their way, by branch: what, where to, and since when.
    open: BTreeMap<String, (Text, SocketAddr, Timestamp)>,
    /// Who has left one.
    leavers: BTreeSet<String>,
    /// When each user took back last what he had asked for.
    taken_back: BTreeMap<String, Timestamp>,
    /// Which requests somebody else wanted to end, and when.
    ending: BTreeMap<CompletionId, Timestamp>,
    /// Which certainly have.
    ended: BTreeSet<CompletionId>,
    /// Those whose callers were told that nothing is kept of them, by caller and words, and when.
    refused: BTreeMap<(String, String), Timestamp>,
    /// Those whose removal was seen: a store that has failed before it did that is told so again.
    removed: BTreeSet<CompletionId>,
    withdrawn: u64,
    /// How far the calendar is ahead of the time that passes.
    ahead: Duration,
}

impl Texts {
    pub(super) fn on_crash(&mut self) {
        // Who has read one reads it again if its process could not keep that any more.
        self.read.clear();
        self.open.clear();
        self.removed.clear();
    }

    /// The clock was set forwards, and what ends by the calendar ends earlier.
    pub(super) fn on_jump(&mut self, by: Duration) {
        self.ahead += by;
    }

    pub(super) fn on_left(&mut self, user: &str) {
        self.leavers.insert(user.to_owned());
    }

    pub(super) fn has_left(&self, user: &str) -> bool {
        self.leavers.contains(user)
    }

    pub(super) fn on_taken_back(&mut self, now: Timestamp, user: &str) {
        self.taken_back.insert(user.to_owned(), now);
    }

    /// The store has not said in time that it has a text, or before its caller gave up: what it has
    /// written of it is removed, as soon as it says so.
    pub(super) fn on_refused(&mut self, now: Timestamp, user: &str, words: &str) {
        self.refused
            .insert((user.to_owned(), words.to_owned()), now);
    }

    pub(super) fn on_ending(&mut self, now: Timestamp, id: CompletionId) {
        self.ending.insert(id, now);
    }

    /// When somebody else wanted a request to end.
    pub(super) fn ending(&self, id: CompletionId) -> Option<Timestamp> {
        self.ending.get(&id).copied()
    }

    pub(super) fn on_ended(&mut self, id: CompletionId) {
        self.ended.insert(id);
    }
}

impl Watch {
    /// How many were taken back before anybody had read them.
    pub(crate) fn texts_withdrawn(&self) -> u64 {
        self.texts.withdrawn
    }

    /// A text leaves: one that was left, that nobody has read or taken back, and no second one with it.
    pub(super) fn check_text(&mut self, to: SocketAddr, message: &Message) {
        let [caller, callee] = ["From", "To"].map(|field| user_of(uri_of(message.header(field))));
        let text = (caller, callee, message.sdp().to_owned());
        let now = self.now;
        if self.is_kept {
            let is_it =
                |record: &&Record| of_record(record).as_ref().is_some_and(|it| is(it, &text));
            let kept = self.kept.iter().filter(is_it);
            let left = kept.filter(|record| !self.texts.ended.contains(&record.id));
            let read = self.texts.read.get(&text).copied().unwrap_or_default();
            let left = left.count();
            if left <= read as usize {
                let what = format!("a text of which {left} were left and {read} are read");
                self.fault(&what, message);
            }
        }
        let is_open = |(_, at, since): &&(Text, SocketAddr, Timestamp)| {
            *at == to && now.since(*since) < UNHEARD_MAX
        };
        if self.texts.open.values().any(|it| is_open(&it)) {
            self.fault("two texts at a time", message);
        }
        let branch = message.branch().to_owned();
        self.texts.open.insert(branch, (text, to, now));
    }

    /// A phone has taken a text, or has not.
    pub(super) fn note_text_answered(&mut self, response: &Message) {
        if response.cseq_method() != "MESSAGE" || response.status() < 200 {
            return;
        }
        let Some((text, _, since)) = self.texts.open.remove(response.branch()) else {
            return;
        };
        if response.status() >= 300 {
            return;
        }
        if self.now.since(since) < UNHEARD_MAX {
            *self.texts.read.entry(text).or_default() += 1;
        } else {
            self.texts.taken_late.insert(text);
        }
    }

    /// A record is removed: a text was read, or taken back, or its time was over.
    pub(crate) fn on_removed(&mut self, now: Timestamp, stored: &Stored) {
        let record = read(stored);
        let Some(text) = of_record(&record) else {
            return;
        };
        if !self.texts.removed.insert(record.id) {
            return;
        }
        let mut all_read = self.texts.read.iter_mut();
        if let Some((_, count)) = all_read.find(|(it, count)| **count > 0 && is(&text, it)) {
            *count -= 1;
            return;
        }
        // One that is on its way may still be read, and is not asked about any more; one that nobody has
        // answered was sent once more since.
        let open = self.texts.open.values_mut();
        let its = open.filter(|(sent, ..)| is(&text, sent));
        if let Some((sent, ..)) = its.max_by_key(|(.., since)| *since) {
            *sent = Text::default();
        }
        let is_taken_late = self.texts.taken_late.iter().any(|it| is(&text, it));
        let takes = TAKES + self.store_delay;
        let is_recent = |at: Option<&Timestamp>| at.is_some_and(|at| now.since(*at) < takes);
        let is_withdrawn = is_recent(self.texts.taken_back.get(&text.0))
            || is_recent(self.texts.ending.get(&record.id));
        self.texts.withdrawn += u64::from(is_withdrawn);
        // One refusal is about one text, and the store is not slow for longer.
        let refused = (text.0.clone(), text.2.clone());
        let refused = self.texts.refused.remove(&refused);
        let is_refused = refused.is_some_and(|at| now.since(at) <= self.store_delay + SLACK);
        // The record's times are those of a process that was started with the world.
        let is_over = now + self.texts.ahead + SLACK >= record.ends;
        let has_ended = is_refused || self.texts.ended.contains(&record.id);
        if !is_withdrawn && !is_over && !is_taken_late && !has_ended {
            let what = format!("a text is dropped that nobody has read: {text:?} at {now:?}");
            self.faults.push(what);
        }
    }
}

fn of_record(record: &Record) -> Option<Text> {
    if record.roles != Roles::Text {
        return None;
    }
    let user = |name: &str| name.split('@').next().unwrap_or_default().to_owned();
    let words = record.text.as_deref()?.to_owned();
    Some((
        user(record.caller.as_str()),
        user(record.callee.as_str()),
        words,
    ))
}

/// Whether what was sent is what was left: its caller may stand before the words.
fn is(left: &Text, sent: &Text) -> bool {
    (&left.0, &left.1) == (&sent.0, &sent.1) && sent.2.ends_with(&left.2)
}
