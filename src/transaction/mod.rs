//! Transactions: a request and its responses, over a network that may lose them.
//!
//! Spec: RFC 3261 §17; RFC 6026 (INVITE and 2xx); RFC 4320 (other requests).
//!
//! Four machines, each a small value: it takes an event or a timeout and gives its next state, or
//! `None` when the transaction is over. What it wants done it asks of its `Effects`, which know the
//! messages; a machine does not.

pub mod invite_client;
pub mod invite_server;
pub mod non_invite_client;
pub mod non_invite_server;
pub mod timing;

#[cfg(test)]
mod matrix;

use crate::sip::status::Status;

/// The class of a response, as far as a transaction cares.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Class {
    /// 1xx
    Provisional,
    /// 2xx
    Success,
    /// 3xx-6xx
    Failure,
}

impl From<Status> for Class {
    fn from(status: Status) -> Self {
        match status.code() {
            ..200 => Self::Provisional,
            200..300 => Self::Success,
            300.. => Self::Failure,
        }
    }
}
