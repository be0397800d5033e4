//! Where requests go: the servers of each peer, which of them are up, and which peer is meant.
//!
//! Spec: RFC 3263; RFC 2782; RFC 7984.
//!
//! ```text
//!   place ── as an operator writes it: an address, or a name that DNS knows
//!     │ locate, with what names has been told by DNS
//!     ▼
//!   targets ── the servers of a peer, in the order of srv, each with its health
//! ```
//!
//! [`table`] says which peer a request is for, before any of that.
//!
//! Nothing here asks DNS or sends anything: what is to be asked comes back as data.

pub mod health;
pub mod locate;
pub mod names;
pub mod place;
pub mod srv;
pub mod table;
pub mod targets;

pub use health::{Change, Health, Policy, State};
pub use place::{Place, Spot};
pub use targets::{Server, Targets};
