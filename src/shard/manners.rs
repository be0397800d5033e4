//! What the operator knows of how a peer behaves, and how we are to.

use std::time::Duration;

/// Whether a peer that is reached by UDP takes TCP as well.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Tcp {
    /// Each of its servers is asked by OPTIONS over TCP.
    Ask,
    /// It does not.
    #[default]
    No,
    /// It does.
    Yes,
}

/// What becomes of a call that a peer redirects.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Redirect {
    /// It goes where the peer says, if that is to a peer of ours.
    Follow,
    /// Its caller is told.
    #[default]
    Relay,
}

/// When we say that we are overloaded.
#[derive(Clone, Copy, Debug)]
pub struct Overload {
    /// How long a new request may have waited for us; well below T1, so that what is admitted is
    /// answered before it comes again.
    pub delay_max: Duration,
}

impl Default for Overload {
    fn default() -> Self {
        Self {
            delay_max: Duration::from_millis(50),
        }
    }
}
