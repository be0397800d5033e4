//! Header values with a grammar of their own, one file each.
//!
//! Spec: RFC 3261 §20.

pub mod cseq;
pub mod name_addr;
pub mod via;
