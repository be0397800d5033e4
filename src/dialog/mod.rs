//! Dialogs: who talks to whom, and the way of their next request.
//!
//! Spec: RFC 3261 §12; RFC 3262.

pub mod identity;
pub mod reliable;
pub mod tag;

pub use identity::{Dialog, Order, Reach};
pub use tag::Tag;
