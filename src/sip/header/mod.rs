//! Header values with a grammar of their own, one file each.
//!
//! Spec: RFC 3261 §20.

pub mod contact;
pub mod credentials;
pub mod cseq;
pub mod item;
pub mod name_addr;
pub mod rack;
pub mod via;
