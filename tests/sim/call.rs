//! One side of a call, as a phone keeps it.
//!
//! Spec: RFC 3261 §12, §13, §14.

use std::net::SocketAddr;
use std::time::Duration;

use campon::time::Timestamp;

use super::transaction::Repeat;
use crate::flow::kit::message::Message;

/// What a caller is about to do.
#[derive(Clone, Debug)]
pub(crate) struct Errand {
    /// Whom to call.
    pub(crate) uri: String,
    /// Where to send it.
    pub(crate) to: SocketAddr,
    /// How long to let it ring.
    pub(crate) patience: Duration,
    /// How long to speak.
    pub(crate) talks: Duration,
    /// When to change the call, counted from its answer.
    pub(crate) changes: Vec<Duration>,
    /// Whether the callee makes the offer.
    pub(crate) offers_late: bool,
    /// Further header lines of the INVITE.
    pub(crate) lines: &'static str,
}

/// What somebody does at an instant of his own choosing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Act {
    /// Caller: takes the call back.
    Cancel,
    /// Either: hangs up.
    HangUp,
    /// Either: sends a re-INVITE.
    Change,
    /// Callee: this provisional response.
    Ring(u16),
    /// Callee: this final response.
    Answer(u16),
    /// Callee: 480, as nobody has taken the call back for long.
    GivesUp,
    /// Callee: the 200 of another fork behind the same address, right after his own.
    AnswerAgain,
    /// Callee: this response to a re-INVITE.
    AnswerChange(u16),
}

/// How far a call has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Phase {
    /// Caller: no final response yet.
    Inviting(Taking),
    /// Callee: no final response yet.
    Offered,
    /// Answered.
    Up,
    /// Ended, refused or taken back.
    Over,
}

/// Whether the caller has taken his INVITE back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Taking {
    /// He has not, and nothing has been heard.
    Waits,
    /// He has not, and a 1xx was heard: a CANCEL may go out.
    Hears,
    /// He wants to, but nothing has been heard.
    Wants,
    /// The CANCEL is out.
    Took,
}

/// What the other side said of the end of a call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum End {
    /// Nothing, or it answered our BYE.
    Unheard,
    /// It hung up, or heard from us that the call is over.
    Known,
    /// It answered our BYE with 481, and has not hung up: the call was lost in between.
    Unknown,
}

/// One side of a call.
#[derive(Debug)]
pub(crate) struct Call {
    /// The phone's own number of it.
    pub(crate) no: u64,
    pub(crate) id: String,
    /// The own address with its tag.
    pub(crate) local: String,
    /// The other's address, with its tag as soon as it is known.
    pub(crate) remote: String,
    /// The other's Contact.
    pub(crate) target: String,
    /// Where requests go.
    pub(crate) to: SocketAddr,
    pub(crate) cseq: u32,
    /// The highest CSeq number of the other's.
    pub(crate) heard_cseq: u32,
    pub(crate) phase: Phase,
    pub(crate) agenda: Vec<(Timestamp, Act)>,
    /// A 200 of ours that waits for the ACK of this CSeq number.
    pub(crate) unacknowledged: Option<(u32, Option<Repeat>)>,
    /// Whether this caller takes reliable provisional responses.
    pub(crate) takes_reliable: bool,
    /// The RSeq of the last of them, by the To tag.
    pub(crate) told: Vec<(String, u32)>,
    /// Whether a re-INVITE of ours is under way.
    pub(crate) changing: bool,
    /// What our offers are called.
    pub(crate) session: String,
    /// What the other must call his answer in the ACK.
    pub(crate) asked: Option<String>,
    /// What to say if the other side does not hang up: our offer was not answered.
    pub(crate) unanswered: Option<String>,
    pub(crate) talks: Duration,
    pub(crate) changes: Vec<Duration>,
    /// Further header lines of the first INVITE.
    pub(crate) lines: &'static str,
    /// What was heard of the end.
    pub(crate) end: End,
    pub(crate) between: Between,
}

/// The process between the two sides.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Between {
    /// It leads the call.
    There,
    /// It has ended since: nobody else knows of the call.
    Gone,
}

impl Call {
    /// A call in its first moment.
    pub(crate) fn new(no: u64, id: String, phase: Phase) -> Self {
        Self {
            no,
            id,
            local: String::new(),
            remote: String::new(),
            target: String::new(),
            to: SocketAddr::from(([0, 0, 0, 0], 0)),
            cseq: 0,
            heard_cseq: 0,
            phase,
            agenda: Vec::new(),
            unacknowledged: None,
            takes_reliable: false,
            told: Vec::new(),
            changing: false,
            session: String::new(),
            asked: None,
            unanswered: None,
            talks: Duration::ZERO,
            changes: Vec::new(),
            lines: "",
            end: End::Unheard,
            between: Between::There,
        }
    }

    /// Whether a request within a dialog is for this side.
    pub(crate) fn is_for(&self, request: &Message) -> bool {
        let is_of = |address: &str, tag: &str| {
            let before = address.strip_suffix(tag);
            before.is_some_and(|before| before.ends_with(";tag="))
        };
        self.id == request.call_id()
            && is_of(&self.local, request.tag_of_to())
            && is_of(&self.remote, request.tag_of_from())
    }

    /// Whether a reliable response is the next one of its fork, and not one of before.
    pub(crate) fn is_told_anew(&mut self, response: &Message, rseq: u32) -> bool {
        let tag = response.tag_of_to();
        let Some((_, last)) = self.told.iter_mut().find(|(told, _)| told == tag) else {
            self.told.push((tag.to_owned(), rseq));
            return true;
        };
        let is_next = rseq == *last + 1;
        *last += u32::from(is_next);
        is_next
    }

    /// Plans an act.
    pub(crate) fn plan(&mut self, at: Timestamp, act: Act) {
        self.agenda.push((at, act));
    }

    /// Plans what is to happen once the call is up.
    pub(crate) fn plan_talk(&mut self, now: Timestamp) {
        let hang_up = now + self.talks;
        self.plan(hang_up, Act::HangUp);
        for change in std::mem::take(&mut self.changes) {
            self.plan(now + change, Act::Change);
        }
    }

    /// The next act that is due.
    pub(crate) fn take_due(&mut self, now: Timestamp) -> Option<Act> {
        let due = self.agenda.iter().position(|(at, _)| *at <= now)?;
        Some(self.agenda.remove(due).1)
    }

    /// Ends it; nothing that was planned happens any more.
    pub(crate) fn end(&mut self) {
        self.phase = Phase::Over;
        self.agenda.clear();
        self.unacknowledged = None;
        self.changing = false;
    }

    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        let acts = self.agenda.iter().map(|(at, _)| *at);
        let waits = self.unacknowledged.iter();
        let repeats = waits.filter_map(|(_, repeat)| repeat.as_ref().map(Repeat::deadline));
        acts.chain(repeats).min()
    }
}
