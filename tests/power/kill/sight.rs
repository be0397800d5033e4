//! What a kill has hit, by what the witnesses had said and heard when campon was dead, and by what the
//! store had.

use std::fs;
use std::path::Path;
use std::time::Instant;

use campon::completion::Record;
use campon::store::disk::Disk;
use campon::store::keep::Keep as _;

use super::super::scene::{Line, Phone, Way, opened, value};
use super::exchange::{REQUEST, TAKE_BACK};

/// How far it had come, on the wire.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Phase {
    /// Alice had not asked.
    Unasked,
    /// She had asked, and heard nothing.
    Accept,
    /// She had heard that it is accepted, and Bob was on the phone.
    Waiting,
    /// She had asked for its end, and heard nothing.
    Uncomplete,
    /// She had heard of its end.
    TakenBack,
    /// Carol's end of the call was answered, and Bob had answered campon's; no INVITE had come to Alice.
    Ready,
    /// It had, and she had not answered.
    Ringing,
    /// She had, and Bob had not.
    CcCall,
    /// So had he.
    Talking,
}

impl Phase {
    /// What an operator would call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Unasked => "not asked yet",
            Self::Accept => "accept before its answer",
            Self::Waiting => "accepted, Bob busy",
            Self::Uncomplete => "uncomplete before its answer",
            Self::TakenBack => "taken back",
            Self::Ready => "ready",
            Self::Ringing => "ringing A",
            Self::CcCall => "CC call",
            Self::Talking => "answered by B",
        }
    }
}

/// All that was said since the exchange began.
pub(super) struct Journals {
    alice: Vec<Line>,
    bob: Vec<Line>,
    carol: Vec<Line>,
}

/// Whether there is a line like this, of those that a phone said before a moment or heard at all: what it
/// hears was said by a campon that was alive.
fn has(lines: &[Line], way: Way, by: Instant, is_it: impl Fn(&str) -> bool) -> bool {
    let mut of_way = lines.iter().filter(|line| line.way == way);
    of_way.any(|line| (way == Way::Heard || line.at < by) && is_it(&line.text))
}

/// The Call-ID of the first line like this.
fn call_of(lines: &[Line], way: Way, is_it: impl Fn(&str) -> bool) -> Option<&str> {
    let mut of_way = lines.iter().filter(|line| line.way == way);
    let found = of_way.find(|line| is_it(&line.text))?;
    Some(value(&found.text, "Call-ID"))
}

/// An INVITE that begins a call.
pub(super) fn is_new_call(text: &str) -> bool {
    text.starts_with("INVITE ") && !value(text, "To").contains(";tag=")
}

fn is_answer(text: &str, call: Option<&str>) -> bool {
    let is_of_invite = value(text, "CSeq").ends_with(" INVITE");
    text.starts_with("SIP/2.0 200") && is_of_invite && Some(value(text, "Call-ID")) == call
}

impl Journals {
    /// Takes the journals of all three.
    pub(super) fn taken(alice: &Phone, bob: &Phone, carol: &Phone) -> Self {
        Self {
            alice: alice.journal(),
            bob: bob.journal(),
            carol: carol.journal(),
        }
    }

    /// How far it had come, if what was said until then has been heard by campon.
    pub(super) fn phase(&self, by: Instant) -> Phase {
        let dialled = |code: &'static str| {
            let start = format!("INVITE sip:{code}@");
            move |text: &str| text.starts_with(&start)
        };
        let is_asked = |code| has(&self.alice, Way::Sent, by, dialled(code));
        let is_told = |code| {
            let call = call_of(&self.alice, Way::Sent, dialled(code));
            has(&self.alice, Way::Heard, by, |text| is_answer(text, call))
        };
        let recall = call_of(&self.alice, Way::Heard, is_new_call);
        let answered = |lines, call| has(lines, Way::Sent, by, |text| is_answer(text, call));
        if recall.is_some() {
            return match (
                answered(&self.alice, recall),
                answered(&self.bob, self.cc_call()),
            ) {
                (false, _) => Phase::Ringing,
                (true, false) => Phase::CcCall,
                (true, true) => Phase::Talking,
            };
        }
        let is_end =
            |text: &str| text.starts_with("SIP/2.0 200") && value(text, "CSeq").ends_with(" BYE");
        let has_carol_ended = has(&self.carol, Way::Heard, by, is_end);
        if has_carol_ended && has(&self.bob, Way::Sent, by, is_end) {
            Phase::Ready
        } else if is_told(TAKE_BACK) {
            Phase::TakenBack
        } else if is_asked(TAKE_BACK) {
            Phase::Uncomplete
        } else if is_told(REQUEST) {
            Phase::Waiting
        } else if is_asked(REQUEST) {
            Phase::Accept
        } else {
            Phase::Unasked
        }
    }

    /// The CC call, once it has come to Bob.
    pub(super) fn cc_call(&self) -> Option<&str> {
        let is_of_alice = |text: &str| value(text, "From").contains("alice");
        call_of(&self.bob, Way::Heard, |text| {
            is_new_call(text) && is_of_alice(text)
        })
    }

    /// How many calls have come to Alice.
    pub(super) fn recalls(&self) -> usize {
        recalls(&self.alice)
    }
}

/// How many calls have come to this phone.
pub(super) fn recalls(lines: &[Line]) -> usize {
    let heard = lines.iter().filter(|line| line.way == Way::Heard);
    let invites = heard.filter(|line| is_new_call(&line.text));
    let mut calls: Vec<_> = invites.map(|line| value(&line.text, "Call-ID")).collect();
    calls.sort_unstable();
    calls.dedup();
    calls.len()
}

/// The requests in a store that nobody has open: read from a copy, since to open it may mend it.
pub(super) fn kept(store: &Path) -> Vec<Record> {
    let copy = store.with_extension("seen");
    fs::copy(store, &copy).expect("the store that campon left");
    let disk = Disk::open(&copy).expect("a store opens after a crash");
    let records = disk.completions().expect("it can be read");
    let kept = records.iter().map(|(_, stored)| opened(&stored.record).0);
    kept.collect()
}
