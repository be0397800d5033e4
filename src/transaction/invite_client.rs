//! The INVITE client transaction.
//!
//! Spec: RFC 3261 §17.1.1, §9.1; RFC 6026 §7.2 (state Accepted, timer M).
//!
//! ```text
//!   INVITE --> Calling --1xx--> Proceeding (--CANCEL sent--> gives up after 64*T1)
//!              |  A: again |       |   |
//!              +---2xx-----|--2xx--+   |
//!              |           v       |   |
//!              |        Accepted --|---|---M---> gone
//!              |                   |   |
//!              +-----3xx-6xx-------|---+
//!              |           v       |
//!              |       Completed --|-------D---> gone
//!              |      (ACK, again) |
//!              |           |       |
//!              B, error    error   64*T1 after CANCEL
//!              +-----------+-------+-----------> gone, and the user hears of it
//! ```

use crate::time::Timestamp;
use crate::transaction::Class;
use crate::transaction::timing::Resend;
use crate::transaction::timing::Timing;
use crate::transaction::timing::ends;

/// What the peer, the transport or the user did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Event {
    /// A response came.
    Response(Class),
    /// The user has sent a CANCEL, which is a transaction of its own.
    CancelSent,
    /// The INVITE or the ACK could not be sent.
    TransportError,
}

/// What the machine asks of its owner.
pub trait Effects {
    /// Sends the INVITE (again).
    fn send_request(&mut self);
    /// Sends the ACK of the failure (again): same branch, same destination.
    fn send_ack(&mut self);
    /// Gives the response that came to the user.
    fn pass_response_up(&mut self);
    /// Tells the user that no final response came.
    fn report_timeout(&mut self);
    /// Tells the user that the peer cannot be reached.
    fn report_transport_error(&mut self);
}

/// The state; `None` in place of it means that the transaction is gone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum State {
    /// No response yet.
    Calling {
        /// Timer A; none over a reliable transport.
        resend: Option<Resend>,
        /// Timer B.
        gives_up: Timestamp,
    },
    /// A provisional response came. How long the peer may ring is the call's to say (timer C).
    Proceeding {
        /// When a peer that answers CANCEL with silence is given up; none before the CANCEL.
        gives_up: Option<Timestamp>,
    },
    /// A 2xx came; more of them may, from other branches.
    Accepted {
        /// Timer M.
        ends: Timestamp,
    },
    /// A 3xx-6xx came and was acknowledged.
    Completed {
        /// Timer D.
        ends: Timestamp,
    },
}

impl State {
    /// Sends the INVITE.
    #[must_use]
    pub fn start(now: Timestamp, timing: Timing, reliable: bool, fx: &mut impl Effects) -> Self {
        fx.send_request();
        Self::Calling {
            resend: Resend::start(now, timing, reliable),
            gives_up: now + timing.patience(),
        }
    }

    /// Takes one event; the new state comes back, or `None` when the transaction is over.
    #[must_use]
    pub fn handle(
        self,
        now: Timestamp,
        event: Event,
        timing: Timing,
        reliable: bool,
        fx: &mut impl Effects,
    ) -> Option<Self> {
        match (self, event) {
            // S-02: the first response ends the sending of INVITEs.
            (Self::Calling { .. }, Event::Response(Class::Provisional)) => {
                fx.pass_response_up();
                Some(Self::Proceeding { gives_up: None })
            }
            // S-42: each further 2xx is another fork's, or the same again because our ACK was lost.
            (Self::Proceeding { .. }, Event::Response(Class::Provisional))
            | (Self::Accepted { .. }, Event::Response(Class::Success)) => {
                fx.pass_response_up();
                Some(self)
            }
            // S-42: the ACK of a 2xx is the user's.
            (Self::Calling { .. } | Self::Proceeding { .. }, Event::Response(Class::Success)) => {
                fx.pass_response_up();
                let ends = now + timing.patience();
                Some(Self::Accepted { ends })
            }
            (Self::Calling { .. } | Self::Proceeding { .. }, Event::Response(Class::Failure)) => {
                fx.send_ack();
                fx.pass_response_up();
                let ends = ends(now, timing.repeated_failure(), reliable)?;
                Some(Self::Completed { ends })
            }
            // S-03: the failure came again, so the ACK was lost.
            (Self::Completed { .. }, Event::Response(Class::Failure)) => {
                fx.send_ack();
                Some(self)
            }
            (Self::Proceeding { gives_up }, Event::CancelSent) => Some(Self::Proceeding {
                gives_up: gives_up.or_else(|| Some(now + timing.patience())),
            }),
            (Self::Calling { .. } | Self::Completed { .. }, Event::TransportError) => {
                fx.report_transport_error();
                None
            }
            // Absorbed: what comes late, and errors of what this machine did not send. A CANCEL is
            // not sent while Calling, where timer B runs anyway.
            (Self::Calling { .. }, Event::CancelSent)
            | (Self::Proceeding { .. }, Event::TransportError)
            | (
                Self::Accepted { .. },
                Event::Response(Class::Provisional | Class::Failure)
                | Event::CancelSent
                | Event::TransportError,
            )
            | (
                Self::Completed { .. },
                Event::Response(Class::Provisional | Class::Success) | Event::CancelSent,
            ) => Some(self),
        }
    }

    /// Acts on every timer due at `now`.
    #[must_use]
    pub fn handle_timeout(self, now: Timestamp, fx: &mut impl Effects) -> Option<Self> {
        match self {
            Self::Calling { gives_up, .. }
            | Self::Proceeding {
                gives_up: Some(gives_up),
            } if gives_up <= now => {
                fx.report_timeout();
                None
            }
            Self::Calling {
                resend: Some(resend),
                gives_up,
            } if resend.at <= now => {
                fx.send_request();
                let resend = Some(resend.doubled(now));
                Some(Self::Calling { resend, gives_up })
            }
            Self::Accepted { ends } | Self::Completed { ends } if ends <= now => None,
            Self::Calling { .. }
            | Self::Proceeding { .. }
            | Self::Accepted { .. }
            | Self::Completed { .. } => Some(self),
        }
    }

    /// When [`Self::handle_timeout`] next has work to do.
    pub fn deadline(self) -> Option<Timestamp> {
        match self {
            Self::Calling { resend, gives_up } => {
                Some(resend.map_or(gives_up, |resend| resend.at.min(gives_up)))
            }
            Self::Proceeding { gives_up } => gives_up,
            Self::Accepted { ends } | Self::Completed { ends } => Some(ends),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::transaction::matrix::{Log, Machine, at, left_alone, machine, matrix};

    const PROVISIONAL: Event = Event::Response(Class::Provisional);
    const SUCCESS: Event = Event::Response(Class::Success);
    const FAILURE: Event = Event::Response(Class::Failure);

    impl Effects for Log {
        fn send_request(&mut self) {
            self.push("send_request");
        }

        fn send_ack(&mut self) {
            self.push("send_ack");
        }

        fn pass_response_up(&mut self) {
            self.push("pass_response_up");
        }

        fn report_timeout(&mut self) {
            self.push("report_timeout");
        }

        fn report_transport_error(&mut self) {
            self.push("report_transport_error");
        }
    }

    machine!();

    /// The state after these events, all at the start; what they caused is dropped.
    fn after(events: &[Event], reliable: bool) -> State {
        let mut log = Log::new();
        let mut state = State::start(Timestamp::START, Timing::default(), reliable, &mut log);
        for &event in events {
            let next = state.on_event(Timestamp::START, event, reliable, &mut log);
            state = next.expect("these events do not end it");
        }
        state
    }

    /// What the last of these events causes.
    fn effects(events: &[Event], last: Event) -> Log {
        let mut log = Log::new();
        let _ = after(events, false).on_event(at(100), last, false, &mut log);
        log
    }

    #[test]
    fn every_state_takes_every_event() {
        let states = [
            after(&[], false),
            after(&[], true),
            after(&[PROVISIONAL], false),
            after(&[PROVISIONAL, Event::CancelSent], false),
            after(&[SUCCESS], false),
            after(&[FAILURE], false),
        ];
        let events = [
            PROVISIONAL,
            SUCCESS,
            FAILURE,
            Event::CancelSent,
            Event::TransportError,
        ];
        insta::assert_snapshot!(matrix(&states, &events));
    }

    #[test]
    fn an_unanswered_invite_is_sent_seven_times_and_given_up_after_32_s() {
        let mut log = Log::new();
        let state = State::start(Timestamp::START, Timing::default(), false, &mut log);
        assert_eq!(log, ["send_request"]);
        let expected = [
            "0.5 send_request",
            "1.5 send_request",
            "3.5 send_request",
            "7.5 send_request",
            "15.5 send_request",
            "31.5 send_request",
            "32 report_timeout",
            "32 gone",
        ];
        assert_eq!(left_alone(state), expected); // S-02
    }

    #[test]
    fn over_a_reliable_transport_an_unanswered_invite_is_sent_once() {
        let state = after(&[], true);
        assert_eq!(left_alone(state), ["32 report_timeout", "32 gone"]); // S-02
    }

    #[test]
    fn a_provisional_response_ends_the_resending_and_all_waiting() {
        let state = after(&[PROVISIONAL], false);
        assert_eq!(state.deadline(), None); // S-02
    }

    #[test]
    fn a_cancelled_invite_is_given_up_32_s_after_the_first_cancel() {
        let state = after(&[PROVISIONAL], false);
        let mut log = Log::new();
        let state = state.on_event(at(1_000), Event::CancelSent, false, &mut log);
        let state = state.and_then(|state| {
            let state = state.on_event(at(2_000), Event::CancelSent, false, &mut log)?;
            state.on_event(at(3_000), PROVISIONAL, false, &mut log)
        });
        let state = state.expect("it waits for the 487");
        assert_eq!(left_alone(state), ["33 report_timeout", "33 gone"]);
    }

    #[test]
    fn the_487_that_a_cancel_brought_ends_the_wait_for_it() {
        let state = after(&[PROVISIONAL, Event::CancelSent, FAILURE], false);
        assert_eq!(left_alone(state), ["32 gone"]);
    }

    #[test]
    fn a_failure_is_acknowledged_each_time_and_goes_up_once() {
        assert_eq!(effects(&[], FAILURE), ["send_ack", "pass_response_up"]); // S-03
        let again = effects(&[PROVISIONAL, FAILURE, FAILURE], FAILURE);
        assert_eq!(again, ["send_ack"]); // S-03
    }

    #[test]
    fn repeated_failures_are_awaited_for_32_s_whatever_t1_is() {
        let timing = Timing {
            t1: Duration::from_millis(10),
            ..Timing::default()
        };
        let mut log = Log::new();
        let state = State::start(Timestamp::START, timing, false, &mut log);
        let state = state.handle(Timestamp::START, FAILURE, timing, false, &mut log);
        let state = state.expect("the failure may come again");
        assert_eq!(left_alone(state), ["32 gone"]);
    }

    #[test]
    fn over_a_reliable_transport_a_failure_ends_the_transaction() {
        let mut log = Log::new();
        let state = after(&[PROVISIONAL], true).on_event(at(100), FAILURE, true, &mut log);
        assert_eq!(state, None);
        assert_eq!(log, ["send_ack", "pass_response_up"]); // S-03
    }

    #[test]
    fn every_2xx_goes_up_and_none_is_acknowledged_here() {
        assert_eq!(effects(&[PROVISIONAL], SUCCESS), ["pass_response_up"]); // S-42
        assert_eq!(effects(&[SUCCESS, SUCCESS], SUCCESS), ["pass_response_up"]); // S-42
    }

    #[test]
    fn each_2xx_is_awaited_for_32_s_over_every_transport() {
        for reliable in [false, true] {
            let state = after(&[PROVISIONAL, SUCCESS], reliable);
            assert_eq!(left_alone(state), ["32 gone"]); // S-42
        }
    }

    #[test]
    fn an_invite_or_ack_that_cannot_be_sent_is_reported() {
        let reported = ["report_transport_error"];
        assert_eq!(effects(&[], Event::TransportError), reported); // S-27
        assert_eq!(effects(&[FAILURE], Event::TransportError), reported); // S-27
    }

    #[test]
    fn a_late_wake_up_sends_one_invite_and_keeps_the_distance_to_the_next() {
        let mut log = Log::new();
        let state = after(&[], false).on_timeout(at(4_000), &mut log);
        assert_eq!(log, ["send_request"]);
        assert_eq!(state.and_then(State::deadline), Some(at(5_000)));
    }
}
