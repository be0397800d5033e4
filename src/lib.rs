//! SIP back-to-back user agent with completion of calls (RFC 6910).

pub mod cc;
pub mod random;
pub mod sip;
pub mod time;
