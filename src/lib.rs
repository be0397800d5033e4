//! SIP back-to-back user agent that stands in front of a PBX, or serves phones by itself.
//!
//! The map, from the outside in; each module may use those below it, and `tests/tidy.rs` holds the
//! exact arrows:
//!
//! ```text
//!   main ─► io ─┬─► shard ─┬─► relay ─► call ─► dialog ─► transaction ─► sip
//!               ├─► api    ├─► location ───────────────────────────────► sip
//!               │          └─► routing ────────────────────────────────► sip
//!               └─► config
//!   completion ─► cc ─► sip::uri; store: what is to be completed
//!   tls ─► sip: certificates, and the names in them
//!   media: sound, as call and io need it
//!   time, table, named, ledger, wheel, random, observe: leaves that the others stand on
//! ```
//!
//! - Only [`io`] reads a clock, opens a socket, starts a thread or awaits. All else takes inputs and
//!   the time, and gives outputs as data; the same inputs give the same outputs.
//! - A deadline lies in the state that waits; leaving the state is cancelling the timer.
//! - What a peer sends is an input and never a panic; what would be a bug of ours panics, and costs
//!   one message: see [`shard`].
//! - A worker runs each input to completion on one thread: no locks, no queues in between.

pub mod api;
pub mod call;
pub mod cc;
pub mod completion;
pub mod config;
pub mod dialog;
pub mod io;
pub mod ledger;
pub mod location;
pub mod media;
pub mod named;
pub mod observe;
pub mod random;
pub mod relay;
pub mod routing;
pub mod shard;
pub mod sip;
pub mod store;
pub mod table;
pub mod time;
pub mod tls;
pub mod transaction;
pub mod wheel;
