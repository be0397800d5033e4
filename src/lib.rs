//! SIP back-to-back user agent with completion of calls (RFC 6910).

pub mod call;
pub mod cc;
pub mod completion;
pub mod dialog;
pub mod location;
pub mod observe;
pub mod random;
pub mod shard;
pub mod sip;
pub mod store;
pub mod table;
pub mod time;
pub mod transaction;
pub mod wheel;
