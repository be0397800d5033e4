//! SIP on paper: bytes to messages and back, with no state, no time and no sockets.
//!
//! Spec: RFC 3261 §7, §19, §20, §25.

pub mod flow;
pub mod method;
pub mod status;
