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
