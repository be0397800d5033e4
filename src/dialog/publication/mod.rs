//! Publications on the wire: whether a caller can be recalled, told by PUBLISH.
//!
//! Spec: RFC 3903; RFC 6910 §6.5, §7.5, §8.
//!
//! What a document says is its owner's business; here there are entity-tags and times.

mod client;
mod server;

pub use client::{Answer, Place, Publish, Publisher};
pub use server::{Asked, Granted, Limits, Publications, Reject, Wish};

/// The event package of presence.
pub const PRESENCE: &str = "presence";

/// The media type of presence.
pub const MEDIA_TYPE: &str = "application/pidf+xml";
