//! SIP back-to-back user agent with completion of calls (RFC 6910).

pub mod random;
pub mod shard;
pub mod sip;
pub mod time;
