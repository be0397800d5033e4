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
