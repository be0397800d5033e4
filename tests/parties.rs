//! campon between parties that are not campon: a scripted PBX, and real phones and PBXs.
//!
//! `pbx/` is ours and strict: whatever it sees that no standard allows fails the test. `real/` starts
//! Kamailio, baresip and others on addresses of their own and looks at what went over the wire.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "real processes run in real time"
)]
#![allow(
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![allow(unreachable_pub, reason = "a test is used by nobody")]

#[path = "real/camp_on.rs"]
mod camp_on;
#[path = "real/completion.rs"]
mod completion;
#[path = "real/edge.rs"]
mod edge;
#[path = "real/failover.rs"]
mod failover;
#[path = "real/harness.rs"]
mod harness;
#[path = "real/intrusion.rs"]
mod intrusion;
#[path = "sipp/message.rs"]
#[allow(dead_code, reason = "shared with the flows that SIPp plays")]
mod message;
#[path = "real/nat.rs"]
mod nat;
#[path = "pbx/mod.rs"]
#[allow(dead_code, reason = "a PBX has more habits than the flows show")]
mod pbx;
#[path = "sipp/process.rs"]
#[allow(dead_code, reason = "shared with the flows that SIPp plays")]
mod process;
#[path = "real/mod.rs"]
#[allow(dead_code, reason = "a phone can do more than the flows show")]
mod real;
#[path = "real/recalls.rs"]
mod recalls;
#[path = "real/secure.rs"]
mod secure;
#[path = "sipp/trace.rs"]
#[allow(dead_code, reason = "shared with the flows that SIPp plays")]
mod trace;
