//! The product: who asked to be called back when whom is free, and what has to be done about it.
//!
//! Spec: DESIGN §8, §9; TAPI `lineCompleteCall`, `lineUncompleteCall`; RFC 6910 below.
//!
//! ```text
//!  facts about calls, users ──►┌─────────┐──► SUBSCRIBE, NOTIFY, PUBLISH, their answers
//!  messages of RFC 6910 ──────►│ Service │──► ring the caller, place the CC call, stop
//!  wishes (code, API) ────────►│         │──► put, read
//!  the store's answers ───────►└─────────┘──► watch a user, news, suspicions
//! ```
//!
//! All of it is pure. Behind the service stand one [`Monitor`](crate::cc::monitor::Monitor) for each
//! callee that somebody waits for and one [`Agent`](crate::cc::agent::Agent) for each caller who
//! waits; where both ends of a subscription are here, it loops inside the process.

mod agenda;
mod asks;
mod bytes;
mod callers;
mod camping;
mod codes;
mod commit;
mod entry;
mod history;
mod identity;
mod input;
pub mod intrusion;
mod messages;
mod names;
mod outage;
mod output;
mod phones;
mod queues;
mod record;
mod reject;
mod requests;
mod rest;
mod restore;
mod seen;
mod service;
mod settings;
mod turns;
mod user;
mod wording;

pub use crate::cc::Condition;
pub use crate::cc::capsule::CallIdentity;
pub use crate::cc::id::{CceToken, CompletionId};
pub use codes::{Code, CodeError, CodeKind, Codes, RawCodes};
pub use entry::Stage;
pub use history::{Event, History, Outcome};
pub use identity::Identity;
pub use input::{
    Binding, Complete, FailedCall, Input, Leave, Lost, Mode, Monitors, Offered, Publish, PublishAt,
    Queue, Subscribe, Taking, Ticket, Which, WhichCall,
};
pub use messages::is_named;
pub use output::{
    By, Call, Delivery, News, Notify, Output, Pattern, Publication, Recall, Subscription,
    Suspicion, Tell, Via,
};
pub use record::{Record, Roles, WallTime};
pub use reject::Reject;
pub use restore::Reloaded;
pub use seen::Failed;
pub use service::{Counts, Service, View};
pub use settings::{Limits, Settings, Timing};

#[cfg(test)]
mod tests;
