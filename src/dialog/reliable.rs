//! The provisional responses of one early dialog, each sent until a PRACK acknowledges it.
//!
//! Spec: RFC 3262 §3.
//!
//! ```text
//!            response                        64*T1
//!   Ready ------------------> Sent (again) ---------> the owner gives up
//!     ^ ^                      |   |    ^
//!     | +--------PRACK---------+   |    | response
//!     |                            |    |
//!     +--------PRACK------- Heard <+----+
//!                              final response, or PRACK that cannot be met
//! ```
//!
//! - One response is under way at a time; those that come meanwhile wait, the newest few of them.
//! - Numbers go up by one with each response that is sent, from a random one.

use std::collections::VecDeque;
use std::time::Duration;

use crate::random::Rng;
use crate::sip::Status;
use crate::time::Timestamp;
use crate::transaction::timing::Resend;

/// The most responses that wait behind the one under way. Only the last of them still tells the
/// caller how the call stands; the others are a courtesy.
pub const WAITING_MAX: usize = 4;

/// A provisional response as it goes out, but for its RSeq.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Provisional {
    /// 101 to 199.
    pub status: Status,
    /// The phrase; the standard's if empty.
    pub phrase: Box<[u8]>,
    /// Header lines, the blank line and the body, as a fragment of the writer.
    pub rest: Box<[u8]>,
    /// Whether the body describes a session.
    pub has_session: bool,
}

/// A response to be sent now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Numbered<'r> {
    /// Its RSeq.
    pub rseq: u32,
    /// The response.
    pub response: &'r Provisional,
}

/// What is due.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Due<'r> {
    /// Nothing yet.
    Nothing,
    /// This one is sent again.
    Again(Numbered<'r>),
    /// S-53: nobody acknowledged it for 64*T1.
    GivesUp,
}

/// What becomes of a PRACK that names the response under way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Prack {
    /// It gets its 200.
    Met,
    /// It is refused for what else it asks; it may come again without that.
    Refused,
}

/// The reliable responses of one early dialog.
#[derive(Debug)]
pub struct Reliable {
    /// The RSeq of the response that was sent last; before the first, the number below its own.
    rseq: u32,
    state: State,
    waiting: VecDeque<Provisional>,
}

#[derive(Debug)]
enum State {
    /// All that was sent is acknowledged.
    Ready,
    /// The last response is sent again and again.
    Sent {
        response: Provisional,
        resend: Resend,
        gives_up: Timestamp,
    },
    /// The last response is not sent again, but a PRACK may still name it.
    Heard,
}

impl Reliable {
    /// Nothing has been sent yet.
    pub fn new(rng: &mut Rng) -> Self {
        // S-52: the first number is 1 to 2^31 - 1, so that it takes 2^31 responses to wrap around.
        let below_first = rng.below((1 << 31) - 1);
        Self {
            rseq: u32::try_from(below_first).unwrap_or_default(),
            state: State::Ready,
            waiting: VecDeque::new(),
        }
    }

    /// Takes a response; [`Self::poll_send`] says when it goes out.
    pub fn handle_response(&mut self, response: Provisional) {
        if self.newest() == Some(&response) {
            return;
        }
        if self.waiting.len() >= WAITING_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back(response);
    }

    /// Takes a PRACK of the response with this RSeq.
    pub fn handle_prack(&mut self, prack: Prack) {
        match (&self.state, prack) {
            (State::Ready, _) => {}
            (State::Sent { .. } | State::Heard, Prack::Met) => self.state = State::Ready,
            (State::Sent { .. } | State::Heard, Prack::Refused) => self.state = State::Heard,
        }
    }

    /// The INVITE has its final response: nothing goes out any more.
    pub fn handle_final(&mut self) {
        self.waiting = VecDeque::new();
        match self.state {
            State::Ready | State::Heard => {}
            State::Sent { .. } => self.state = State::Heard,
        }
    }

    /// Acts on a deadline.
    pub fn handle_timeout(&mut self, now: Timestamp) -> Due<'_> {
        match &mut self.state {
            State::Ready | State::Heard => Due::Nothing,
            State::Sent { gives_up, .. } if *gives_up <= now => Due::GivesUp,
            State::Sent {
                response, resend, ..
            } if resend.at <= now => {
                // S-53: unlike those of a 2xx, these waits have no T2.
                *resend = resend.doubled(now);
                let rseq = self.rseq;
                Due::Again(Numbered { rseq, response })
            }
            State::Sent { .. } => Due::Nothing,
        }
    }

    /// The response whose turn it is; it is under way from now on.
    pub fn poll_send(&mut self, now: Timestamp, t1: Duration) -> Option<Numbered<'_>> {
        match self.state {
            State::Ready | State::Heard => {}
            // S-52: the next one waits for the PRACK of this one.
            State::Sent { .. } => return None,
        }
        let response = self.waiting.pop_front()?;
        self.rseq += 1;
        self.state = State::Sent {
            response,
            resend: Resend {
                at: now + t1,
                interval: t1,
            },
            gives_up: now + t1 * 64,
        };
        let rseq = self.rseq;
        self.sent().map(|response| Numbered { rseq, response })
    }

    /// Whether a PRACK of this number is due.
    pub fn awaits(&self, rseq: u32) -> bool {
        match self.state {
            State::Ready => false,
            State::Sent { .. } | State::Heard => self.rseq == rseq,
        }
    }

    /// Whether a PRACK of any number is due.
    pub fn is_unacknowledged(&self) -> bool {
        self.awaits(self.rseq)
    }

    /// S-55: whether a session description is under way, which a 2xx must not overtake.
    pub fn holds_success(&self) -> bool {
        self.sent().is_some_and(|response| response.has_session)
    }

    /// When [`Self::handle_timeout`] next has work to do.
    pub fn deadline(&self) -> Option<Timestamp> {
        match &self.state {
            State::Ready | State::Heard => None,
            State::Sent {
                resend, gives_up, ..
            } => Some(resend.at.min(*gives_up)),
        }
    }

    fn sent(&self) -> Option<&Provisional> {
        match &self.state {
            State::Ready | State::Heard => None,
            State::Sent { response, .. } => Some(response),
        }
    }

    fn newest(&self) -> Option<&Provisional> {
        self.waiting.back().or_else(|| self.sent())
    }
}
