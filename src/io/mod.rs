//! Sockets, threads and the one clock: everything that the core is handed, and nothing else.
//!
//! Threads, each with one job, that share nothing but channels and the log's buffer:
//!
//! ```text
//!   worker   the shard and the datagram sockets; one for each site
//!   main     stream connections, HTTP, signals,    ── mail ──► worker ── commands ──► main
//!            the configuration and its changes
//!   log      writes what the other two log
//!   store    keeps registrations over a restart, if the operator wants that
//!   records  writes what the worker hands in
//! ```
//!
//! Sites share none of this but the main thread and the log.
//!
//! The worker never waits for the others: what does not fit into a channel is not sent, and it is
//! told so.

mod allocator;
mod applications;
mod caller;
mod client;
mod clock;
mod connection;
mod datagrams;
mod entropy;
mod http;
mod keeper;
mod log;
mod mail;
mod names;
mod process;
mod pulse;
mod records;
mod rehearsal;
mod reload;
mod roster;
mod secure;
mod serve;
mod signals;
mod site;
mod socket;
mod sound;
mod streams;
mod systemd;
mod worker;

pub use caller::{Wish, WishError, ask_api};
pub use client::{StatusError, fetch_status};
pub use keeper::OpenError;
pub use serve::{End, ServeError, serve};
