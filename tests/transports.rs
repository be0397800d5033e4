//! The binary as the network meets it: transports, certificates, and the manners of strangers.
//!
//! Each test takes a network of its own, 127.a.b.0/24. Nothing waits for time, but for the end of
//! what campon itself times.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "real sockets and processes in real time"
)]
#![allow(
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![allow(unreachable_pub, reason = "a test is used by nobody")]

#[path = "transports/authority.rs"]
mod authority;
#[path = "transports/campon.rs"]
mod campon;
#[path = "transports/crossing.rs"]
mod crossing;
#[path = "transports/keys.rs"]
mod keys;
#[path = "transports/line.rs"]
mod line;
#[path = "transports/manners.rs"]
mod manners;
#[path = "transports/phone.rs"]
mod phone;
#[path = "transports/secure.rs"]
mod secure;
#[path = "transports/sites.rs"]
mod sites;
#[path = "transports/trunk.rs"]
mod trunk;
