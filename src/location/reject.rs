//! Why a REGISTER is not carried out.
//!
//! Spec: RFC 3261 §10.3, §21.

use crate::sip::Status;

/// A rule that the phone broke, or a limit of ours.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum Reject {
    /// To is neither a SIP nor a SIPS URI.
    #[error("To is no SIP URI")]
    AddressForeign,
    /// More than `binding_bytes_max`.
    #[error("AOR, Contact or Call-ID too long")]
    BindingTooLong,
    /// Something that we cannot send an INVITE to.
    #[error("a Contact is no SIP URI")]
    ContactForeign,
    /// A Contact that follows no grammar.
    #[error("malformed Contact")]
    ContactMalformed,
    /// More than `contacts_max`.
    #[error("too many bindings of one AOR")]
    ContactsTooMany,
    /// An expiry below `expires_min_s`.
    #[error("interval too brief")]
    IntervalTooBrief,
    /// A request that is older than what it would change.
    #[error("older than the binding")]
    OutOfOrder,
    /// More AORs than `aors_max`.
    #[error("too many AORs")]
    RegistrarFull,
    /// A `*` beside another Contact, or without `Expires: 0`.
    #[error("* with Contacts or an expiry")]
    StarMisplaced,
    /// To names a host and no user.
    #[error("To names no user")]
    UserMissing,
}

impl Reject {
    pub(super) fn status(self) -> Status {
        match self {
            Self::AddressForeign
            | Self::BindingTooLong
            | Self::ContactForeign
            | Self::ContactMalformed
            | Self::StarMisplaced => Status::BAD_REQUEST,
            // The phone is not to try again, here or elsewhere.
            Self::ContactsTooMany => Status::FORBIDDEN,
            Self::IntervalTooBrief => Status::INTERVAL_TOO_BRIEF,
            // As for a lower CSeq in a dialog.
            Self::OutOfOrder => Status::SERVER_INTERNAL_ERROR,
            Self::RegistrarFull => Status::SERVICE_UNAVAILABLE,
            Self::UserMissing => Status::NOT_FOUND,
        }
    }
}
