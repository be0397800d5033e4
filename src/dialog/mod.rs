//! Dialogs: who talks to whom, the way of their next request, and what else they are used for.
//!
//! Spec: RFC 3261 §12; RFC 3262; RFC 4028; RFC 6665; RFC 3903.

pub mod derived;
pub mod identity;
pub mod kept;
#[cfg(test)]
mod kit;
pub mod publication;
pub mod reliable;
pub mod session_timer;
pub mod subscription;
pub mod tag;
pub mod turn;

pub use derived::Names;
pub use identity::{Dialog, Order, Reach};
pub use tag::Tag;
pub use turn::{NotSent, Turn};
