//! Subscription-State: how a subscription stands after the NOTIFY that says so.
//!
//! Spec: RFC 6665 §4.1.3, §8.2.3, §8.4.

use crate::sip::error::ParseError;
use crate::sip::header::item::Item;
use crate::sip::lex::parse_u32;

/// The value of Subscription-State.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SubscriptionState {
    /// Whether it lives.
    pub substate: Substate,
    /// What is left of it, in seconds.
    pub expires_s: Option<u32>,
    /// Why it ended; a reason that we do not know counts as none.
    pub reason: Option<EventReason>,
    /// After how many seconds it may be asked for again.
    pub retry_after_s: Option<u32>,
}

/// Whether a subscription lives.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Substate {
    /// It was granted.
    Active,
    /// It may yet be granted.
    Pending,
    /// It is over.
    Terminated,
    /// A state that we do not know; it does not end the subscription.
    Unknown,
}

/// Why a subscription ended (S-127).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EventReason {
    /// Its notifier moved: it may be asked for again at once.
    Deactivated,
    /// It was not granted in time: later.
    GiveUp,
    /// What it was about cannot change: never.
    Invariant,
    /// What it was about is gone: never.
    NoResource,
    /// Not now: later.
    Probation,
    /// Policy: never.
    Rejected,
    /// It was not refreshed, or unsubscribed: at once.
    Timeout,
}

impl SubscriptionState {
    /// Parses the value.
    pub fn parse(value: &[u8]) -> Result<Self, ParseError> {
        let item = Item::parse(value)?;
        let seconds = |name| item.params.value(name).and_then(parse_u32);
        let substate = if item.is("active") {
            Substate::Active
        } else if item.is("pending") {
            Substate::Pending
        } else if item.is("terminated") {
            Substate::Terminated
        } else {
            Substate::Unknown
        };
        Ok(Self {
            substate,
            expires_s: seconds("expires"),
            reason: item.params.value("reason").and_then(EventReason::parse),
            retry_after_s: seconds("retry-after"),
        })
    }
}

impl EventReason {
    const ALL: [Self; 7] = [
        Self::Deactivated,
        Self::GiveUp,
        Self::Invariant,
        Self::NoResource,
        Self::Probation,
        Self::Rejected,
        Self::Timeout,
    ];

    /// The token.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deactivated => "deactivated",
            Self::GiveUp => "giveup",
            Self::Invariant => "invariant",
            Self::NoResource => "noresource",
            Self::Probation => "probation",
            Self::Rejected => "rejected",
            Self::Timeout => "timeout",
        }
    }

    fn parse(token: &[u8]) -> Option<Self> {
        let is = |reason: &Self| reason.as_str().as_bytes().eq_ignore_ascii_case(token);
        Self::ALL.into_iter().find(is)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(value: &str) -> SubscriptionState {
        SubscriptionState::parse(value.as_bytes()).unwrap()
    }

    #[test]
    fn the_time_left_is_read() {
        let state = parse("active;expires=3600");
        assert_eq!(state.substate, Substate::Active);
        assert_eq!(state.expires_s, Some(3600));
        assert_eq!(parse("PENDING ; Expires = 5").expires_s, Some(5));
        assert_eq!(parse("active;expires=soon").expires_s, None);
    }

    #[test]
    fn reasons_are_read_in_any_case() {
        for reason in EventReason::ALL {
            let token = reason.as_str().to_uppercase();
            let state = parse(&format!("Terminated;reason={token};retry-after=9"));
            assert_eq!(state.substate, Substate::Terminated);
            assert_eq!(state.reason, Some(reason)); // S-127
            assert_eq!(state.retry_after_s, Some(9));
        }
    }

    #[test]
    fn states_and_reasons_that_we_do_not_know_are_let_pass() {
        assert_eq!(parse("dozing;x=y").substate, Substate::Unknown);
        assert_eq!(parse("terminated;reason=moonrise").reason, None);
        assert!(SubscriptionState::parse(b"").is_err());
        assert!(SubscriptionState::parse(b";expires=1").is_err());
    }
}
