//! Header values with a grammar of their own, one file each.
//!
//! Spec: RFC 3261 §20.

pub mod accept;
pub mod call_info;
pub mod challenge;
pub mod contact;
pub mod credentials;
pub mod cseq;
pub mod date;
pub mod dialog_id;
pub mod event;
pub mod item;
pub mod name_addr;
pub mod rack;
pub mod reason;
pub mod retry_after;
pub mod subscription_state;
pub mod via;
