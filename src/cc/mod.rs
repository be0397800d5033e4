//! Completion of calls as its standard has it: the offer, the callee's queue, the caller's requests.
//!
//! Spec: RFC 6910.
//!
//! All of it is pure: facts and `now` go in, effects come back as data. The two roles,
//! [`monitor`] and [`agent`], meet only through a [`SubscriptionId`].

pub mod addr;
pub mod agent;
pub mod base32;
pub mod capsule;
pub mod document;
pub mod fork;
pub mod id;
pub mod line;
pub mod monitor;
pub mod offer;
pub mod pace;
pub mod pidf;
pub mod trust;

/// Why a call failed: the values of the `m` parameter.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Condition {
    /// The callee was busy: CCBS.
    Busy,
    /// The callee did not answer: CCNR.
    NoReply,
    /// The callee was not registered: CCNL.
    NotLoggedIn,
}

impl Condition {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Busy, Self::NoReply, Self::NotLoggedIn];

    /// The value of `m`: `BS`, `NR` or `NL` (RFC 6910 §12.3).
    pub fn m(self) -> &'static str {
        match self {
            Self::Busy => "BS",
            Self::NoReply => "NR",
            Self::NotLoggedIn => "NL",
        }
    }

    /// The condition of an `m` value.
    ///
    /// CC-32: `None` for a value that nobody registered; the request is then served by what else
    /// is known of the call.
    pub fn from_m(value: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|condition| condition.m().eq_ignore_ascii_case(value))
    }
}

/// The recall state of a queue entry, as its subscriber sees it: `cc-state`.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum RecallState {
    /// Not selected.
    Queued,
    /// Selected for recall.
    Ready,
}

/// Whether a caller can be recalled: the `basic` element of his presence.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Basic {
    /// He cannot: the request is suspended.
    Closed,
    /// He can.
    Open,
}

/// Names one subscription; made by the owner of both roles, never looked into here.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SubscriptionId(pub u64);
