//! The server transaction of a request other than INVITE and ACK.
//!
//! Spec: RFC 3261 §17.2.2; RFC 4320 §4 (100 late, 408 never); RFC 6026 §8.8 (errors of sending).
//!
//! ```text
//!   request --> Trying --after 3.5 s: 100--> Proceeding
//!                 |  |                         |  |
//!                 |  +--2xx-6xx--+--2xx-6xx----+  |
//!                 |              v                |
//!                 |          Completed -----------|---J---> gone
//!                 |         (sent again)          |
//!                 |                               |
//!                 +------------64*T1--------------+-------> gone, in silence
//! ```

use crate::time::Timestamp;
use crate::transaction::Class;
use crate::transaction::timing::Timing;
use crate::transaction::timing::ends;

/// What the peer, the transport or the user did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Event {
    /// The peer sent the request again.
    Retransmitted,
    /// The user answers.
    Answer(Class),
    /// A response could not be sent.
    TransportError,
}

/// What the machine asks of its owner.
pub trait Effects {
    /// Sends a 100 of the machine's own, and keeps it to be sent again.
    fn send_trying(&mut self);
    /// Sends the response that the event brought, and keeps it to be sent again.
    fn send_response(&mut self);
    /// Sends the response that was kept.
    fn resend_response(&mut self);
    /// Tells the user that a response could not be sent.
    fn report_transport_error(&mut self);
}

/// The state; `None` in place of it means that the transaction is gone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum State {
    /// No response yet, and none when the request comes again.
    Trying {
        /// When the peer may be, and has to be, told that we have the request.
        says_trying: Timestamp,
        /// When the peer has given up.
        gives_up: Timestamp,
    },
    /// A 100 went out.
    Proceeding {
        /// When the peer has given up.
        gives_up: Timestamp,
    },
    /// The final response went out, and again when the request comes again.
    Completed {
        /// Timer J.
        ends: Timestamp,
    },
}

impl State {
    /// The state after the request came.
    #[must_use]
    pub fn start(now: Timestamp, timing: Timing) -> Self {
        Self::Trying {
            says_trying: now + timing.until_t2(),
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
            (
                Self::Trying { .. } | Self::Proceeding { .. },
                Event::Answer(Class::Success | Class::Failure),
            ) => {
                fx.send_response();
                let ends = ends(now, timing.patience(), reliable)?;
                Some(Self::Completed { ends })
            }
            (Self::Proceeding { .. } | Self::Completed { .. }, Event::Retransmitted) => {
                fx.resend_response();
                Some(self)
            }
            // S-43: the peer sends its request again, and then the way back may have recovered.
            (Self::Proceeding { .. } | Self::Completed { .. }, Event::TransportError) => {
                fx.report_transport_error();
                Some(self)
            }
            // S-45: what the user has to say before the end is not said.
            // S-46: an early retransmission is not answered, or it would make the peer slow down
            // just when a lost final response needs the next one soon.
            (
                Self::Trying { .. },
                Event::Retransmitted | Event::Answer(Class::Provisional) | Event::TransportError,
            )
            | (Self::Proceeding { .. }, Event::Answer(Class::Provisional))
            | (Self::Completed { .. }, Event::Answer(_)) => Some(self),
        }
    }

    /// Acts on every timer due at `now`.
    #[must_use]
    pub fn handle_timeout(self, now: Timestamp, fx: &mut impl Effects) -> Option<Self> {
        match self {
            // S-47: the peer has just given up as well, so a 408 would find nobody.
            Self::Trying { gives_up, .. } | Self::Proceeding { gives_up } if gives_up <= now => {
                None
            }
            // S-46
            Self::Trying {
                says_trying,
                gives_up,
            } if says_trying <= now => {
                fx.send_trying();
                Some(Self::Proceeding { gives_up })
            }
            Self::Completed { ends } if ends <= now => None,
            Self::Trying { .. } | Self::Proceeding { .. } | Self::Completed { .. } => Some(self),
        }
    }

    /// When [`Self::handle_timeout`] next has work to do.
    pub fn deadline(self) -> Option<Timestamp> {
        match self {
            Self::Trying {
                says_trying,
                gives_up,
            } => Some(says_trying.min(gives_up)),
            Self::Proceeding { gives_up } => Some(gives_up),
            Self::Completed { ends } => Some(ends),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::transaction::matrix::{Log, Machine, at, left_alone, machine, matrix};

    const PROVISIONAL: Event = Event::Answer(Class::Provisional);
    const SUCCESS: Event = Event::Answer(Class::Success);
    const FAILURE: Event = Event::Answer(Class::Failure);

    impl Effects for Log {
        fn send_trying(&mut self) {
            self.push("send_trying");
        }

        fn send_response(&mut self) {
            self.push("send_response");
        }

        fn resend_response(&mut self) {
            self.push("resend_response");
        }

        fn report_transport_error(&mut self) {
            self.push("report_transport_error");
        }
    }

    machine!();

    fn start() -> State {
        State::start(Timestamp::START, Timing::default())
    }

    fn proceeding() -> State {
        let state = start().on_timeout(at(3_500), &mut Log::new());
        state.expect("the user may still answer")
    }

    fn completed(state: State) -> State {
        let state = state.on_event(Timestamp::START, SUCCESS, false, &mut Log::new());
        state.expect("the request may come again")
    }

    fn effects(state: State, event: Event) -> Log {
        let mut log = Log::new();
        let _ = state.on_event(at(100), event, false, &mut log);
        log
    }

    #[test]
    fn every_state_takes_every_event() {
        let states = [start(), proceeding(), completed(start())];
        let events = [
            Event::Retransmitted,
            PROVISIONAL,
            SUCCESS,
            FAILURE,
            Event::TransportError,
        ];
        insta::assert_snapshot!(matrix(&states, &events));
    }

    #[test]
    fn a_slow_user_gets_the_peer_a_100_after_3_5_s_and_then_silence() {
        assert_eq!(left_alone(start()), ["3.5 send_trying", "32 gone"]); // S-46, S-47
    }

    #[test]
    fn the_100_comes_when_a_client_of_the_same_times_would_slow_down_to_t2() {
        let quick = Timing {
            t1: Duration::from_millis(10),
            t2: Duration::from_millis(60),
            ..Timing::default()
        };
        let state = State::start(Timestamp::START, quick);
        assert_eq!(state.deadline(), Some(at(10 + 20 + 40))); // S-46
    }

    #[test]
    fn an_early_retransmission_is_not_answered_and_a_late_one_gets_the_100_again() {
        assert!(effects(start(), Event::Retransmitted).is_empty()); // S-46
        assert_eq!(
            effects(proceeding(), Event::Retransmitted),
            ["resend_response"]
        );
    }

    #[test]
    fn the_users_provisional_answers_are_not_sent() {
        assert!(effects(start(), PROVISIONAL).is_empty()); // S-45
        assert!(effects(proceeding(), PROVISIONAL).is_empty()); // S-45
    }

    #[test]
    fn the_final_answer_is_sent_and_sent_again_for_32_s() {
        for answer in [SUCCESS, FAILURE] {
            assert_eq!(effects(start(), answer), ["send_response"]);
            assert_eq!(effects(proceeding(), answer), ["send_response"]);
        }
        let state = completed(start());
        assert_eq!(effects(state, Event::Retransmitted), ["resend_response"]);
        assert_eq!(left_alone(state), ["32 gone"]);
    }

    #[test]
    fn no_second_final_answer_is_sent() {
        assert!(effects(completed(start()), FAILURE).is_empty());
    }

    #[test]
    fn over_a_reliable_transport_the_final_answer_ends_the_transaction() {
        let mut log = Log::new();
        assert_eq!(start().on_event(at(100), FAILURE, true, &mut log), None);
        assert_eq!(log, ["send_response"]);
    }

    #[test]
    fn a_response_that_cannot_be_sent_is_reported_and_the_transaction_stays() {
        for state in [proceeding(), completed(start())] {
            let mut log = Log::new();
            let next = state.on_event(at(100), Event::TransportError, false, &mut log);
            assert_eq!(next, Some(state)); // S-43
            assert_eq!(log, ["report_transport_error"]); // S-27
        }
    }
}
