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
    /// The number by which the other leg awaits the PRACK of it, if it awaits one.
    pub rseq_beyond: Option<u32>,
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
    /// It is refused for what else it asks, or not answered yet; it may come again.
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
            // One that is awaited elsewhere is the only one that is.
            let unawaited = |waiting: &Provisional| waiting.rseq_beyond.is_none();
            let oldest = self.waiting.iter().position(unawaited).unwrap_or_default();
            self.waiting.remove(oldest);
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
            State::Sent { gives_up, .. } if *gives_up <= now => Due::GivesUp,
            State::Sent {
                response, resend, ..
            } if resend.at <= now => {
                // S-53: unlike those of a 2xx, these waits have no T2.
                *resend = resend.doubled(now);
                let rseq = self.rseq;
                Due::Again(Numbered { rseq, response })
            }
            State::Ready | State::Sent { .. } | State::Heard => Due::Nothing,
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

    /// The number by which the other leg awaits the PRACK of the response under way.
    pub fn rseq_beyond(&self) -> Option<u32> {
        self.sent()?.rseq_beyond
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

#[cfg(test)]
mod tests {
    use super::*;

    const T1: Duration = Duration::from_millis(500);

    fn at(ms: u64) -> Timestamp {
        Timestamp::START + Duration::from_millis(ms)
    }

    fn ringing() -> Provisional {
        Provisional {
            status: Status::RINGING,
            phrase: Box::default(),
            rest: Box::default(),
            has_session: false,
            rseq_beyond: None,
        }
    }

    fn progress(description: &str) -> Provisional {
        Provisional {
            status: Status::SESSION_PROGRESS,
            rest: Box::from(description.as_bytes()),
            has_session: true,
            ..ringing()
        }
    }

    /// A dialog in which these responses came at the start, and the first one went out.
    fn told(responses: &[Provisional]) -> Reliable {
        let mut reliable = Reliable::new(&mut Rng::from_number(1));
        for response in responses {
            reliable.handle_response(response.clone());
            reliable.poll_send(at(0), T1);
        }
        reliable
    }

    /// What goes out when each response is acknowledged at once.
    fn all_sent(mut reliable: Reliable) -> Vec<Provisional> {
        let mut sent = Vec::new();
        reliable.handle_prack(Prack::Met);
        while let Some(next) = reliable.poll_send(at(0), T1) {
            sent.push(next.response.clone());
            reliable.handle_prack(Prack::Met);
        }
        sent
    }

    #[test]
    fn the_first_number_is_random_and_leaves_room_for_all_others() {
        let first = |seed| {
            let mut reliable = Reliable::new(&mut Rng::from_number(seed));
            reliable.handle_response(ringing());
            let sent = reliable.poll_send(at(0), T1);
            sent.expect("nothing else is under way").rseq
        };
        let mut numbers: Vec<_> = (0..1000).map(first).collect();
        assert!(numbers.iter().all(|number| (1..1 << 31).contains(number))); // S-52
        numbers.sort_unstable();
        numbers.dedup();
        assert!(numbers.len() > 990);
    }

    #[test]
    fn numbers_go_up_by_one() {
        let mut reliable = told(&[ringing()]);
        let first = reliable.rseq;
        for expected in first + 1..first + 4 {
            reliable.handle_prack(Prack::Met);
            reliable.handle_response(ringing());
            let sent = reliable.poll_send(at(0), T1);
            assert_eq!(sent.map(|sent| sent.rseq), Some(expected)); // S-52
        }
    }

    #[test]
    fn a_response_goes_out_again_with_waits_that_double_until_32_s() {
        let mut reliable = told(&[ringing()]);
        let (mut again, rseq) = (Vec::new(), reliable.rseq);
        let gave_up = loop {
            let due = reliable.deadline().expect("it is not acknowledged");
            match reliable.handle_timeout(due) {
                Due::Again(sent) => {
                    assert_eq!(sent.rseq, rseq);
                    again.push(due);
                }
                Due::GivesUp => break due,
                Due::Nothing => panic!("a deadline of nothing"),
            }
        };
        assert_eq!(again, [500, 1500, 3500, 7500, 15_500, 31_500].map(at)); // S-53
        assert_eq!(gave_up, at(32_000));
    }

    #[test]
    fn a_wake_up_too_early_does_nothing() {
        let mut reliable = told(&[ringing()]);
        assert_eq!(reliable.handle_timeout(at(499)), Due::Nothing);
        assert_eq!(reliable.deadline(), Some(at(500)));
    }

    #[test]
    fn the_next_response_waits_for_the_acknowledgement() {
        let mut reliable = told(&[ringing()]);
        reliable.handle_response(progress("early"));
        assert_eq!(reliable.poll_send(at(0), T1), None); // S-52
        reliable.handle_prack(Prack::Met);
        let sent = reliable.poll_send(at(0), T1).map(|sent| sent.response);
        assert_eq!(sent, Some(&progress("early")));
    }

    #[test]
    fn of_those_that_wait_the_newest_few_are_kept() {
        let came: Vec<_> = (0..20)
            .map(|number| progress(&number.to_string()))
            .collect();
        let sent = all_sent(told(&came));
        assert_eq!(sent, came[came.len() - WAITING_MAX..]);
    }

    #[test]
    fn one_that_is_awaited_elsewhere_is_kept_among_them() {
        let awaited = Provisional {
            rseq_beyond: Some(7),
            ..ringing()
        };
        let mut came = vec![progress("first"), awaited.clone()];
        came.extend((0..20).map(|number| progress(&number.to_string())));
        let sent = all_sent(told(&came));
        assert_eq!(sent.len(), WAITING_MAX);
        assert_eq!(sent.first(), Some(&awaited));
    }

    #[test]
    fn what_says_nothing_new_does_not_wait() {
        let reliable = told(&[ringing(), ringing(), progress("early"), progress("early")]);
        assert_eq!(all_sent(reliable), [progress("early")]);
    }

    #[test]
    fn a_number_is_awaited_until_its_acknowledgement_and_no_other_is() {
        let mut reliable = told(&[ringing()]);
        let rseq = reliable.rseq;
        assert!(!reliable.awaits(rseq - 1) && !reliable.awaits(rseq + 1)); // S-54
        assert!(reliable.awaits(rseq));
        reliable.handle_prack(Prack::Met);
        assert!(!reliable.awaits(rseq));
        assert_eq!(reliable.deadline(), None);
    }

    #[test]
    fn nothing_is_awaited_before_something_was_sent() {
        let reliable = Reliable::new(&mut Rng::from_number(1));
        assert!(!reliable.awaits(reliable.rseq)); // S-54
    }

    #[test]
    fn after_the_final_response_nothing_goes_out_and_the_acknowledgement_is_still_awaited() {
        let mut reliable = told(&[ringing(), progress("early")]);
        reliable.handle_final();
        assert_eq!(reliable.deadline(), None);
        assert_eq!(reliable.handle_timeout(at(60_000)), Due::Nothing);
        assert_eq!(reliable.poll_send(at(0), T1), None);
        assert!(reliable.is_unacknowledged());
    }

    #[test]
    fn after_a_refused_acknowledgement_the_caller_is_left_alone_and_may_send_another() {
        let mut reliable = told(&[ringing()]);
        let rseq = reliable.rseq;
        reliable.handle_prack(Prack::Refused);
        assert_eq!(reliable.deadline(), None);
        assert!(reliable.awaits(rseq));
        reliable.handle_prack(Prack::Met);
        assert!(!reliable.awaits(rseq));
    }

    #[test]
    fn a_session_under_way_holds_the_success_until_it_is_acknowledged() {
        let mut reliable = told(&[progress("early")]);
        assert!(reliable.holds_success()); // S-55
        reliable.handle_prack(Prack::Met);
        assert!(!reliable.holds_success());
    }

    #[test]
    fn ringing_under_way_holds_nothing_whatever_waits_behind_it() {
        let reliable = told(&[ringing(), progress("early")]);
        assert!(!reliable.holds_success()); // S-55
    }
}
