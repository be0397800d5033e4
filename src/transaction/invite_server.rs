//! The INVITE server transaction.
//!
//! Spec: RFC 3261 §17.2.1; RFC 6026 §7.1 (state Accepted, timer L), §8.8 (errors of sending).
//!
//! ```text
//!   INVITE --> Proceeding --2xx--> Accepted ---L---> gone
//!                  |          (ACKs go to the user)
//!               3xx-6xx
//!                  v
//!              Completed --ACK--> Confirmed ---I---> gone
//!             (G: again)  |
//!                  |      +--ACK, reliable--------> gone
//!                  |
//!                  +------H-----> gone, and the user hears of it
//! ```

use crate::time::Timestamp;
use crate::transaction::Class;
use crate::transaction::timing::Resend;
use crate::transaction::timing::Timing;
use crate::transaction::timing::ends;

/// What the peer, the transport or the user did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Event {
    /// The peer sent the INVITE again.
    Retransmitted,
    /// The peer acknowledged the final response.
    Acknowledged,
    /// The user answers.
    Answer(Class),
    /// A response could not be sent.
    TransportError,
}

/// What the machine asks of its owner.
pub trait Effects {
    /// Sends the response that the event brought, and keeps it to be sent again.
    fn send_response(&mut self);
    /// Sends the response that was kept, if there is one.
    fn resend_response(&mut self);
    /// Gives the ACK of a 2xx to the user.
    fn pass_ack_up(&mut self);
    /// Tells the user that no ACK came.
    fn report_no_ack(&mut self);
    /// Tells the user that a response could not be sent.
    fn report_transport_error(&mut self);
}

/// The state; `None` in place of it means that the transaction is gone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum State {
    /// No final response yet. How long the user may take is the call's to say (timer C).
    Proceeding,
    /// A 2xx went out; it is the user's to send again.
    Accepted {
        /// Timer L.
        ends: Timestamp,
    },
    /// A 3xx-6xx went out; the ACK is awaited.
    Completed {
        /// Timer G; none over a reliable transport.
        resend: Option<Resend>,
        /// Timer H.
        gives_up: Timestamp,
    },
    /// The ACK came; more of it are absorbed.
    Confirmed {
        /// Timer I.
        ends: Timestamp,
    },
}

impl State {
    /// The state after the INVITE came.
    #[must_use]
    pub fn start() -> Self {
        Self::Proceeding
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
            (Self::Proceeding, Event::Answer(class)) => {
                fx.send_response();
                Some(Self::after(class, now, timing, reliable))
            }
            // S-41: the user repeats his 2xx, and we just send it.
            (Self::Accepted { .. }, Event::Answer(Class::Success)) => {
                fx.send_response();
                Some(self)
            }
            (Self::Proceeding | Self::Completed { .. }, Event::Retransmitted) => {
                fx.resend_response();
                Some(self)
            }
            // S-41: more than one may come, each for a 2xx that was sent.
            (Self::Accepted { .. }, Event::Acknowledged) => {
                fx.pass_ack_up();
                Some(self)
            }
            (Self::Completed { .. }, Event::Acknowledged) => {
                let ends = ends(now, timing.t4, reliable)?;
                Some(Self::Confirmed { ends })
            }
            // S-43: the request is still there to be answered, and the way back may recover.
            (
                Self::Proceeding | Self::Accepted { .. } | Self::Completed { .. },
                Event::TransportError,
            ) => {
                fx.report_transport_error();
                Some(self)
            }
            // Absorbed. S-40: an INVITE that comes after its 2xx is an old one.
            (Self::Proceeding, Event::Acknowledged)
            | (
                Self::Accepted { .. },
                Event::Retransmitted | Event::Answer(Class::Provisional | Class::Failure),
            )
            | (Self::Completed { .. }, Event::Answer(_))
            | (
                Self::Confirmed { .. },
                Event::Retransmitted
                | Event::Acknowledged
                | Event::Answer(_)
                | Event::TransportError,
            ) => Some(self),
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
            Self::Accepted { ends } | Self::Confirmed { ends } if ends <= now => None,
            Self::Completed { gives_up, .. } if gives_up <= now => {
                fx.report_no_ack();
                None
            }
            Self::Completed {
                resend: Some(resend),
                gives_up,
            } if resend.at <= now => {
                fx.resend_response();
                let resend = Some(resend.doubled_to(timing.t2, now));
                Some(Self::Completed { resend, gives_up })
            }
            Self::Proceeding
            | Self::Accepted { .. }
            | Self::Completed { .. }
            | Self::Confirmed { .. } => Some(self),
        }
    }

    /// When [`Self::handle_timeout`] next has work to do.
    pub fn deadline(self) -> Option<Timestamp> {
        match self {
            Self::Proceeding => None,
            Self::Completed { resend, gives_up } => {
                Some(resend.map_or(gives_up, |resend| resend.at.min(gives_up)))
            }
            Self::Accepted { ends } | Self::Confirmed { ends } => Some(ends),
        }
    }

    fn after(class: Class, now: Timestamp, timing: Timing, reliable: bool) -> Self {
        let patience = now + timing.patience();
        match class {
            Class::Provisional => Self::Proceeding,
            Class::Success => Self::Accepted { ends: patience },
            Class::Failure => Self::Completed {
                resend: Resend::start(now, timing, reliable),
                gives_up: patience,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::matrix::{Log, Machine, at, left_alone, machine, matrix};

    const RINGING: Event = Event::Answer(Class::Provisional);
    const OK: Event = Event::Answer(Class::Success);
    const BUSY: Event = Event::Answer(Class::Failure);

    impl Effects for Log {
        fn send_response(&mut self) {
            self.push("send_response");
        }

        fn resend_response(&mut self) {
            self.push("resend_response");
        }

        fn pass_ack_up(&mut self) {
            self.push("pass_ack_up");
        }

        fn report_no_ack(&mut self) {
            self.push("report_no_ack");
        }

        fn report_transport_error(&mut self) {
            self.push("report_transport_error");
        }
    }

    machine!(Timing::default());

    /// The state after these events, all at the start; what they caused is dropped.
    fn after(events: &[Event], reliable: bool) -> State {
        let mut log = Log::new();
        events.iter().fold(State::start(), |state, &event| {
            let next = state.on_event(Timestamp::START, event, reliable, &mut log);
            next.expect("these events do not end it")
        })
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
            after(&[OK], false),
            after(&[BUSY], false),
            after(&[BUSY], true),
            after(&[BUSY, Event::Acknowledged], false),
        ];
        let events = [
            Event::Retransmitted,
            Event::Acknowledged,
            RINGING,
            OK,
            BUSY,
            Event::TransportError,
        ];
        insta::assert_snapshot!(matrix(&states, &events));
    }

    #[test]
    fn a_failure_without_ack_is_sent_eleven_times_and_reported_after_32_s() {
        assert_eq!(effects(&[], BUSY), ["send_response"]);
        let mut expected: Vec<_> = [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
            .map(|at| format!("{at} resend_response"))
            .into();
        expected.extend(["32 report_no_ack", "32 gone"].map(str::to_owned));
        assert_eq!(left_alone(after(&[BUSY], false)), expected);
    }

    #[test]
    fn over_a_reliable_transport_a_failure_is_sent_once_and_its_ack_still_awaited() {
        let state = after(&[BUSY], true);
        assert_eq!(left_alone(state), ["32 report_no_ack", "32 gone"]);
    }

    #[test]
    fn an_ack_stops_the_resending_and_more_of_it_are_absorbed_for_5_s() {
        let state = after(&[BUSY, Event::Acknowledged, Event::Acknowledged], false);
        assert_eq!(left_alone(state), ["5 gone"]);
    }

    #[test]
    fn over_a_reliable_transport_the_ack_ends_the_transaction() {
        let state = after(&[BUSY], true);
        assert_eq!(
            state.on_event(at(100), Event::Acknowledged, true, &mut Log::new()),
            None
        );
    }

    #[test]
    fn an_invite_that_comes_again_gets_the_last_response_again_until_the_2xx() {
        let again = Event::Retransmitted;
        assert_eq!(effects(&[RINGING], again), ["resend_response"]);
        assert_eq!(effects(&[BUSY], again), ["resend_response"]);
        assert!(effects(&[OK], again).is_empty()); // S-40
    }

    #[test]
    fn a_2xx_is_kept_for_32_s_over_every_transport() {
        for reliable in [false, true] {
            assert_eq!(left_alone(after(&[OK], reliable)), ["32 gone"]); // S-40
        }
    }

    #[test]
    fn after_a_2xx_its_repetitions_are_sent_and_every_ack_goes_up() {
        assert_eq!(effects(&[OK], OK), ["send_response"]); // S-41
        assert_eq!(
            effects(&[OK, Event::Acknowledged], Event::Acknowledged),
            ["pass_ack_up"]
        ); // S-41
    }

    #[test]
    fn no_other_answer_follows_a_final_one() {
        assert!(effects(&[OK], BUSY).is_empty());
        assert!(effects(&[OK], RINGING).is_empty());
        assert!(effects(&[BUSY], OK).is_empty());
    }

    #[test]
    fn a_response_that_cannot_be_sent_is_reported_and_the_transaction_stays() {
        for events in [&[RINGING], &[OK], &[BUSY]] {
            let mut log = Log::new();
            let state = after(events, false);
            let next = state.on_event(at(100), Event::TransportError, false, &mut log);
            assert_eq!(next, Some(state)); // S-43
            assert_eq!(log, ["report_transport_error"]); // S-27
        }
    }
}
