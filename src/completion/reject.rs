//! Why a request is refused: one variant a rule, each with its status.
//!
//! Spec: RFC 6910 §7.2, §9.7; RFC 6665 §4.2.1; TAPI `lineCompleteCall` errors.

use std::time::Duration;

use crate::cc::monitor::Refusal;
use crate::completion::intrusion::Denied;

/// Why a request is refused.
///
/// Whoever may not know whether somebody is busy gets the same answer in every case: 403.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Reject {
    /// The caller has as many requests as he may have.
    #[error("the caller has too many requests")]
    CallerLimit,
    /// The call may not be joined, or cannot.
    #[error("no intrusion: {0}")]
    IntrusionDenied(Denied),
    /// The request is a fork of one that was accepted.
    #[error("a fork of this request was accepted")]
    Merged,
    /// The mode is not offered for this call.
    #[error("the mode is not offered")]
    ModeNotOffered,
    /// The monitor elsewhere refused, with this status.
    #[error("the callee's side refused with {0}")]
    MonitorRefused(u16),
    /// The caller has no entry there.
    #[error("the caller has no such entry")]
    NoEntry,
    /// No monitor is known for the callee.
    #[error("nobody watches the callee")]
    NoMonitor,
    /// No call of this caller failed shortly before, or the token is not for him.
    #[error("no failed call to complete")]
    NoOffer,
    /// The process has as many requests as it may have.
    #[error("the process has too many requests")]
    ProcessFull,
    /// The callee's queue is full.
    #[error("the callee's queue is full")]
    QueueFull,
    /// The store does not answer, or says that the record is somebody else's.
    #[error("the store is not available")]
    StoreUnavailable,
    /// The subscription asked for is shorter than this.
    #[error("the subscription is too brief")]
    TooBrief(Duration),
    /// There is no such completion, or it is not this caller's.
    #[error("no such completion")]
    UnknownCompletion,
    /// There is no text of that number.
    #[error("no such message")]
    UnknownMessage,
    /// There is no such subscription.
    #[error("no such subscription")]
    UnknownSubscription,
}

impl Reject {
    /// The status of the response.
    pub fn status(self) -> u16 {
        match self {
            // CC-60: for now.
            Self::CallerLimit | Self::ProcessFull | Self::QueueFull => 480,
            // CC-60: for good; CC-72, CC-73: and whoever has no business here.
            Self::ModeNotOffered | Self::NoEntry | Self::NoMonitor | Self::NoOffer => 403,
            Self::IntrusionDenied(denied) => denied.status(),
            Self::Merged => 482,
            Self::MonitorRefused(status) => status,
            Self::StoreUnavailable => 503,
            Self::TooBrief(_) => 423,
            Self::UnknownCompletion | Self::UnknownMessage => 404,
            Self::UnknownSubscription => 481,
        }
    }

    /// CC-60: when it may be worth another try, where it is refused for now: by then somebody else may
    /// have been served.
    pub fn retry_after(self) -> Option<Duration> {
        match self {
            Self::CallerLimit | Self::ProcessFull | Self::QueueFull => Some(Duration::from_mins(1)),
            Self::IntrusionDenied(_)
            | Self::Merged
            | Self::ModeNotOffered
            | Self::MonitorRefused(_)
            | Self::NoEntry
            | Self::NoMonitor
            | Self::NoOffer
            | Self::StoreUnavailable
            | Self::TooBrief(_)
            | Self::UnknownCompletion
            | Self::UnknownMessage
            | Self::UnknownSubscription => None,
        }
    }

    /// The TAPI error that a provider returns for it.
    pub fn line_error(self) -> u32 {
        match self {
            Self::CallerLimit => 0x8000_0006,
            Self::Merged | Self::MonitorRefused(_) | Self::TooBrief(_) => 0x8000_0048,
            Self::IntrusionDenied(denied) => denied.line_error(),
            Self::ModeNotOffered => 0x8000_0017,
            Self::NoEntry | Self::UnknownCompletion | Self::UnknownSubscription => 0x8000_001f,
            Self::UnknownMessage => 0x8000_0030,
            Self::NoMonitor => 0x8000_0049,
            Self::NoOffer => 0x8000_001c,
            Self::ProcessFull | Self::QueueFull | Self::StoreUnavailable => 0x8000_004b,
        }
    }

    /// The refusal of our own queue.
    pub(super) fn of_queue(refusal: Refusal, expires_min: Duration) -> Self {
        match refusal {
            Refusal::Full => Self::QueueFull,
            Refusal::Merged => Self::Merged,
            Refusal::TooBrief => Self::TooBrief(expires_min),
            Refusal::Unknown => Self::UnknownSubscription,
        }
    }

    /// The refusal of a monitor, by the status of its answer.
    ///
    /// A redirection or a challenge is for us, and says nothing to him who asked.
    pub(super) fn of_monitor(status: u16) -> Self {
        match status {
            480 => Self::QueueFull,
            300..=399 | 401 | 403 | 404 | 405 | 407 | 408 | 489 | 501 => Self::NoMonitor,
            other => Self::MonitorRefused(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_term_denials_have_the_standards_statuses() {
        // CC-60
        assert_eq!(Reject::QueueFull.status(), 480);
        assert_eq!(Reject::NoMonitor.status(), 403);
        // CC-35
        assert_eq!(Reject::Merged.status(), 482);
    }

    #[test]
    fn refusals_of_strangers_look_alike() {
        // CC-72, CC-73
        assert_eq!(Reject::NoOffer.status(), Reject::NoEntry.status());
    }
}
