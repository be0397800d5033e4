//! The errors of TAPI: their names, their values, and the HTTP status that goes with each.
//!
//! Spec: TAPI `LINEERR_` constants; RFC 9110 §15.

use crate::completion::Reject;
use crate::shard::provider::Refusal;

/// An error, by its name without `LINEERR_`.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum LineError {
    /// The line has as many requests as it may have.
    CompletionOverrun,
    /// The mode is none, or is not offered.
    InvalCallComplMode,
    /// No such call.
    InvalCallHandle,
    /// The call is not busy or ringing.
    InvalCallState,
    /// No such request.
    InvalCompletionId,
    /// No such line.
    InvalLineHandle,
    /// No such text.
    InvalMessageId,
    /// The body cannot be read.
    InvalPointer,
    /// The token does not go that far.
    NotOwner,
    /// The network refused.
    OperationFailed,
    /// Not for this call.
    OperationUnavail,
    /// Something is used up, or not there for now.
    ResourceUnavail,
    /// The worker is gone.
    Uninitialized,
}

impl LineError {
    /// Each.
    pub const ALL: [Self; 13] = [
        Self::CompletionOverrun,
        Self::InvalCallComplMode,
        Self::InvalCallHandle,
        Self::InvalCallState,
        Self::InvalCompletionId,
        Self::InvalLineHandle,
        Self::InvalMessageId,
        Self::InvalPointer,
        Self::NotOwner,
        Self::OperationFailed,
        Self::OperationUnavail,
        Self::ResourceUnavail,
        Self::Uninitialized,
    ];

    /// Its name, as TAPI spells it behind `LINEERR_`.
    pub const fn name(self) -> &'static str {
        self.row().0
    }

    /// Its value.
    pub const fn value(self) -> u32 {
        self.row().1
    }

    /// The HTTP status.
    pub const fn status(self) -> u16 {
        self.row().2
    }

    const fn row(self) -> (&'static str, u32, u16) {
        match self {
            Self::CompletionOverrun => ("COMPLETIONOVERRUN", 0x8000_0006, 409),
            Self::InvalCallComplMode => ("INVALCALLCOMPLMODE", 0x8000_0017, 422),
            Self::InvalCallHandle => ("INVALCALLHANDLE", 0x8000_0018, 404),
            Self::InvalCallState => ("INVALCALLSTATE", 0x8000_001c, 409),
            Self::InvalCompletionId => ("INVALCOMPLETIONID", 0x8000_001f, 404),
            Self::InvalLineHandle => ("INVALLINEHANDLE", 0x8000_002b, 404),
            Self::InvalMessageId => ("INVALMESSAGEID", 0x8000_0030, 422),
            Self::InvalPointer => ("INVALPOINTER", 0x8000_0035, 400),
            Self::NotOwner => ("NOTOWNER", 0x8000_0046, 403),
            Self::OperationFailed => ("OPERATIONFAILED", 0x8000_0048, 502),
            Self::OperationUnavail => ("OPERATIONUNAVAIL", 0x8000_0049, 409),
            Self::ResourceUnavail => ("RESOURCEUNAVAIL", 0x8000_004b, 503),
            Self::Uninitialized => ("UNINITIALIZED", 0x8000_0050, 503),
        }
    }
}

impl From<Refusal> for LineError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Address => Self::InvalPointer,
            Refusal::Call => Self::InvalCallHandle,
            Refusal::Completion(reject) => Self::from(reject),
            Refusal::Line => Self::InvalLineHandle,
            Refusal::Message => Self::InvalMessageId,
            Refusal::Mode => Self::InvalCallComplMode,
            Refusal::Phone => Self::ResourceUnavail,
            Refusal::State => Self::InvalCallState,
            Refusal::Worker => Self::Uninitialized,
        }
    }
}

impl From<Reject> for LineError {
    fn from(reject: Reject) -> Self {
        let value = reject.line_error();
        let found = Self::ALL.into_iter().find(|error| error.value() == value);
        found.unwrap_or(Self::OperationFailed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::completion::intrusion::Denied;

    #[test]
    fn every_error_has_a_name_and_a_value_of_its_own() {
        let mut values: Vec<_> = LineError::ALL.iter().map(|error| error.value()).collect();
        let mut names: Vec<_> = LineError::ALL.iter().map(|error| error.name()).collect();
        values.dedup();
        names.dedup();
        assert_eq!((values.len(), names.len()), (13, 13));
        assert!(values.iter().all(|value| value >> 16 == 0x8000));
    }

    #[test]
    fn what_the_service_refuses_has_the_value_that_it_gives() {
        use Reject::{
            CallerLimit, IntrusionDenied, ModeNotOffered, MonitorRefused, NoMonitor, NoOffer,
            ProcessFull, QueueFull, StoreUnavailable, UnknownCompletion, UnknownMessage,
        };
        for (reject, name, status) in [
            (CallerLimit, "COMPLETIONOVERRUN", 409),
            (ModeNotOffered, "INVALCALLCOMPLMODE", 422),
            (NoOffer, "INVALCALLSTATE", 409),
            (UnknownCompletion, "INVALCOMPLETIONID", 404),
            (UnknownMessage, "INVALMESSAGEID", 422),
            (MonitorRefused(500), "OPERATIONFAILED", 502),
            (NoMonitor, "OPERATIONUNAVAIL", 409),
            (IntrusionDenied(Denied::Private), "OPERATIONUNAVAIL", 409),
            (IntrusionDenied(Denied::NoMeans), "RESOURCEUNAVAIL", 503),
            (ProcessFull, "RESOURCEUNAVAIL", 503),
            (QueueFull, "RESOURCEUNAVAIL", 503),
            (StoreUnavailable, "RESOURCEUNAVAIL", 503),
        ] {
            let error = LineError::from(reject);
            assert_eq!((error.name(), error.status()), (name, status));
            assert_eq!(error.value(), reject.line_error());
        }
    }
}
