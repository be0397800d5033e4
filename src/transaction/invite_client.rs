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
