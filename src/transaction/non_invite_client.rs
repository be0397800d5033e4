//! The client transaction of a request other than INVITE and ACK.
//!
//! Spec: RFC 3261 §17.1.2.
//!
//! ```text
//!   request --> Trying ------1xx------> Proceeding
//!             (E: again,              (E: again, at T2)
//!            doubling to T2)                |
//!                 |                         |
//!                 +---2xx-6xx--+--2xx-6xx---+
//!                 |            v            |
//!                 |        Completed -------|---K---> gone
//!                 |                         |
//!                 +--------F, error---------+-------> gone, and the user hears of it
//! ```

use crate::time::Timestamp;
use crate::transaction::Class;
use crate::transaction::timing::Resend;
use crate::transaction::timing::Timing;
use crate::transaction::timing::ends;

/// What the peer or the transport did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Event {
    /// A response came.
    Response(Class),
    /// The request could not be sent.
    TransportError,
}

/// What the machine asks of its owner.
pub trait Effects {
    /// Sends the request (again).
    fn send_request(&mut self);
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
    Trying {
        /// Timer E; none over a reliable transport.
        resend: Option<Resend>,
        /// Timer F.
        gives_up: Timestamp,
    },
    /// A provisional response came; the request is still sent again, for the final one may get lost.
    Proceeding {
        /// Timer E; none over a reliable transport.
        resend: Option<Timestamp>,
        /// Timer F.
        gives_up: Timestamp,
    },
    /// The final response came; more of it are absorbed.
    Completed {
        /// Timer K.
        ends: Timestamp,
    },
}

impl State {
    /// Sends the request.
    #[must_use]
    pub fn start(now: Timestamp, timing: Timing, reliable: bool, fx: &mut impl Effects) -> Self {
        fx.send_request();
        Self::Trying {
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
            (Self::Trying { resend, gives_up }, Event::Response(Class::Provisional)) => {
                fx.pass_response_up();
                // Timer E runs on, and is T2 from its next end.
                let resend = resend.map(|resend| resend.at);
                Some(Self::Proceeding { resend, gives_up })
            }
            (Self::Proceeding { .. }, Event::Response(Class::Provisional)) => {
                fx.pass_response_up();
                Some(self)
            }
            (
                Self::Trying { .. } | Self::Proceeding { .. },
                Event::Response(Class::Success | Class::Failure),
            ) => {
                fx.pass_response_up();
                let ends = ends(now, timing.t4, reliable)?;
                Some(Self::Completed { ends })
            }
            (Self::Trying { .. } | Self::Proceeding { .. }, Event::TransportError) => {
                fx.report_transport_error();
                None
            }
            // Absorbed: what comes after the final response.
            (Self::Completed { .. }, Event::Response(_) | Event::TransportError) => Some(self),
        }
    }

    /// Acts on every timer due at `now`.
    #[must_use]
    pub fn handle_timeout(
        self,
        now: Timestamp,
        timing: Timing,
        fx: &mut impl Effects,
    ) -> Option<Self> {
        match self {
            Self::Trying { gives_up, .. } | Self::Proceeding { gives_up, .. }
                if gives_up <= now =>
            {
                fx.report_timeout();
                None
            }
            Self::Trying {
                resend: Some(resend),
                gives_up,
            } if resend.at <= now => {
                fx.send_request();
                let resend = Some(resend.doubled_to(timing.t2, now));
                Some(Self::Trying { resend, gives_up })
            }
            Self::Proceeding {
                resend: Some(resend),
                gives_up,
            } if resend <= now => {
                fx.send_request();
                let resend = Some(now + timing.t2);
                Some(Self::Proceeding { resend, gives_up })
            }
            Self::Completed { ends } if ends <= now => None,
            Self::Trying { .. } | Self::Proceeding { .. } | Self::Completed { .. } => Some(self),
        }
    }

    /// When [`Self::handle_timeout`] next has work to do.
    pub fn deadline(self) -> Option<Timestamp> {
        match self {
            Self::Trying { resend, gives_up } => {
                Some(resend.map_or(gives_up, |resend| resend.at.min(gives_up)))
            }
            Self::Proceeding { resend, gives_up } => {
                Some(resend.map_or(gives_up, |resend| resend.min(gives_up)))
            }
            Self::Completed { ends } => Some(ends),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::matrix::{Log, Machine, at, left_alone, machine, matrix};

    const PROVISIONAL: Event = Event::Response(Class::Provisional);
    const SUCCESS: Event = Event::Response(Class::Success);
    const FAILURE: Event = Event::Response(Class::Failure);

    impl Effects for Log {
        fn send_request(&mut self) {
            self.push("send_request");
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

    machine!(Timing::default());

    fn start(reliable: bool) -> State {
        let mut log = Log::new();
        let state = State::start(Timestamp::START, Timing::default(), reliable, &mut log);
        assert_eq!(log, ["send_request"]);
        state
    }

    /// The state after an event at this time, over a transport that loses messages.
    fn then(state: State, now: Timestamp, event: Event) -> State {
        let next = state.on_event(now, event, false, &mut Log::new());
        next.expect("the event does not end it")
    }

    #[test]
    fn every_state_takes_every_event() {
        let states = [
            start(false),
            start(true),
            then(start(false), Timestamp::START, PROVISIONAL),
            then(start(true), Timestamp::START, PROVISIONAL),
            then(start(false), Timestamp::START, SUCCESS),
        ];
        let events = [PROVISIONAL, SUCCESS, FAILURE, Event::TransportError];
        insta::assert_snapshot!(matrix(&states, &events));
    }

    #[test]
    fn an_unanswered_request_is_sent_eleven_times_and_given_up_after_32_s() {
        let mut expected: Vec<_> = [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
            .map(|at| format!("{at} send_request"))
            .into();
        expected.extend(["32 report_timeout", "32 gone"].map(str::to_owned));
        assert_eq!(left_alone(start(false)), expected);
    }

    #[test]
    fn over_a_reliable_transport_an_unanswered_request_is_sent_once() {
        assert_eq!(left_alone(start(true)), ["32 report_timeout", "32 gone"]);
    }

    #[test]
    fn after_a_provisional_response_the_running_wait_is_the_last_below_t2() {
        let state = then(start(false), at(100), PROVISIONAL);
        let mut expected: Vec<_> = [0.5, 4.5, 8.5, 12.5, 16.5, 20.5, 24.5, 28.5]
            .map(|at| format!("{at} send_request"))
            .into();
        expected.extend(["32 report_timeout", "32 gone"].map(str::to_owned));
        assert_eq!(left_alone(state), expected);
    }

    #[test]
    fn over_a_reliable_transport_a_provisional_response_is_only_passed_up() {
        let mut log = Log::new();
        let state = start(true).on_event(at(100), PROVISIONAL, true, &mut log);
        assert_eq!(log, ["pass_response_up"]);
        let state = state.expect("the final response is awaited");
        assert_eq!(left_alone(state), ["32 report_timeout", "32 gone"]);
    }

    #[test]
    fn a_final_response_goes_up_once_and_more_of_it_are_absorbed_for_5_s() {
        for response in [SUCCESS, FAILURE] {
            let mut log = Log::new();
            let state = start(false).on_event(at(1_000), response, false, &mut log);
            let state = state.expect("the response may come again");
            let state = state.on_event(at(2_000), response, false, &mut log);
            assert_eq!(log, ["pass_response_up"]);
            assert_eq!(state.map(left_alone), Some(vec!["6 gone".to_owned()]));
        }
    }

    #[test]
    fn over_a_reliable_transport_the_final_response_ends_the_transaction() {
        let mut log = Log::new();
        assert_eq!(start(true).on_event(at(100), SUCCESS, true, &mut log), None);
        assert_eq!(log, ["pass_response_up"]);
    }

    #[test]
    fn a_request_that_cannot_be_sent_is_reported() {
        for state in [start(false), then(start(false), at(100), PROVISIONAL)] {
            let mut log = Log::new();
            assert_eq!(
                state.on_event(at(500), Event::TransportError, false, &mut log),
                None
            );
            assert_eq!(log, ["report_transport_error"]); // S-27
        }
    }
}
