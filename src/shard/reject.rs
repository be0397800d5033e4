//! Why a request is refused: one name, one status, one counter.
//!
//! Spec: RFC 3261 §8.2, §21.

use crate::sip::Status;

impl Reject {
    /// Why a NOTIFY is refused with this status.
    pub(super) fn of_notify(status: Status) -> Self {
        match status {
            Status::BAD_EVENT => Self::EventUnknown,
            Status::BAD_REQUEST => Self::DocumentBroken,
            Status::SERVER_INTERNAL_ERROR => Self::OutOfOrder,
            _ => Self::NoSuchCall,
        }
    }
}

macro_rules! rejects {
    ($($(#[$doc:meta])* $name:ident $counter:literal $status:ident)*) => {
        /// A rule that a request breaks, or a limit that it meets.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum Reject {
            $($(#[$doc])* $name,)*
        }

        impl Reject {
            /// Each of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The status that the peer is told.
            pub fn status(self) -> Status {
                match self {
                    $(Self::$name => Status::$status,)*
                }
            }

            /// The name in logs and counters.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $counter,)*
                }
            }
        }
    };
}

rejects! {
    /// S-112: too little Max-Breadth for all phones of the callee.
    BreadthExceeded "rejected_breadth_exceeded" MAX_BREADTH_EXCEEDED
    /// S-09: there is no INVITE that this CANCEL could mean.
    CancelOfNothing "rejected_cancel_of_nothing" CALL_DOES_NOT_EXIST
    /// A registration whose Contacts cannot be read, or stand in each other's way.
    ContactMalformed "rejected_contact_malformed" BAD_REQUEST
    /// S-13: a request that would make a dialog has no Contact.
    ContactMissing "rejected_contact_missing" BAD_REQUEST
    /// More Contacts in one registration than one user may have.
    ContactsTooMany "rejected_contacts_too_many" FORBIDDEN
    /// S-172: credentials of ours that lack something, or are for another request.
    CredentialsMalformed "rejected_credentials_malformed" BAD_REQUEST
    /// S-170: a registration without credentials, which is how each begins.
    CredentialsMissing "rejected_credentials_missing" UNAUTHORIZED
    /// S-173: a nonce that is too old or used up.
    CredentialsStale "rejected_credentials_stale" UNAUTHORIZED
    /// Too many wrong passwords from there of late.
    CredentialsThrottled "rejected_credentials_throttled" FORBIDDEN
    /// A wrong password for a registration, or a user whom nobody knows.
    CredentialsWrong "rejected_credentials_wrong" UNAUTHORIZED
    /// T30: an INVITE that names more than one call to join or to replace.
    DialogsTooMany "rejected_dialogs_too_many" BAD_REQUEST
    /// CC-61: a document that cannot be read.
    DocumentBroken "rejected_document_broken" BAD_REQUEST
    /// We are stopping and take no new calls.
    Draining "rejected_draining" SERVICE_UNAVAILABLE
    /// S-150: no publication has this entity-tag.
    EntityTagUnknown "rejected_entity_tag_unknown" CONDITIONAL_REQUEST_FAILED
    /// S-120: an event package that we do not have.
    EventUnknown "rejected_event_unknown" BAD_EVENT
    /// S-10: an extension is required that we do not have.
    ExtensionUnknown "rejected_extension_unknown" BAD_EXTENSION
    /// T30: who joins a call without the right to.
    JoinForbidden "rejected_join_forbidden" FORBIDDEN
    /// R22: the request has been here before, bound for the same place.
    LoopDetected "rejected_loop_detected" LOOP_DETECTED
    /// A body of another media type than the package's.
    MediaTypeUnknown "rejected_media_type_unknown" UNSUPPORTED_MEDIA_TYPE
    /// S-11: another copy of this request is being handled.
    MergedRequest "rejected_merged_request" LOOP_DETECTED
    /// R11: a method that this peer may not use.
    MethodForbidden "rejected_method_forbidden" METHOD_NOT_ALLOWED
    /// S-10: a method that is not for us.
    MethodUnknown "rejected_method_unknown" METHOD_NOT_ALLOWED
    /// DNS says that the name of the peer leads nowhere.
    NameUnknown "rejected_name_unknown" SERVICE_UNAVAILABLE
    /// DNS has not said in time where the peer is.
    NameUnresolved "rejected_name_unresolved" SERVER_TIMEOUT
    /// CC-72, CC-73: who has no business with completion, whatever the reason.
    NoCompletion "rejected_no_completion" FORBIDDEN
    /// S-30: a call that asks for TLS, to where none leads.
    NoSecureWay "rejected_no_secure_way" TEMPORARILY_UNAVAILABLE
    /// S-15: no call of ours has these tags.
    NoSuchCall "rejected_no_such_call" CALL_DOES_NOT_EXIST
    /// The subscriber does not read what we would write.
    NotAcceptable "rejected_not_acceptable" NOT_ACCEPTABLE
    /// S-14: a request within a dialog that was overtaken.
    OutOfOrder "rejected_out_of_order" SERVER_INTERNAL_ERROR
    /// The request waited too long before we came to it (R6, S-184).
    Overloaded "rejected_overloaded" SERVICE_UNAVAILABLE
    /// R4: the address of our own calls takes nothing that would be relayed.
    OwnCallsOnly "rejected_own_calls_only" FORBIDDEN
    /// R11: as many calls as the peer may have.
    PeerFull "rejected_peer_full" SERVICE_UNAVAILABLE
    /// R11: more calls a second than the peer may begin.
    PeerTooFast "rejected_peer_too_fast" SERVICE_UNAVAILABLE
    /// R8: a user of ours, from where he is not registered.
    ProxyCredentialsMissing "rejected_proxy_credentials_missing" PROXY_AUTHENTICATION_REQUIRED
    /// S-173: a nonce that is too old or used up.
    ProxyCredentialsStale "rejected_proxy_credentials_stale" PROXY_AUTHENTICATION_REQUIRED
    /// A wrong password for a request, or a user whom nobody knows.
    ProxyCredentialsWrong "rejected_proxy_credentials_wrong" PROXY_AUTHENTICATION_REQUIRED
    /// A route says that the call is not wanted.
    RouteDeclines "rejected_route_declines" DECLINE
    /// A route says that nobody may.
    RouteForbids "rejected_route_forbids" FORBIDDEN
    /// S-10: the Request-URI has a scheme that we cannot route by.
    SchemeUnknown "rejected_scheme_unknown" UNSUPPORTED_URI_SCHEME
    /// S-92: the session would have to be refreshed too often.
    SessionTooShort "rejected_session_too_short" SESSION_INTERVAL_TOO_SMALL
    /// R4, R8: who comes neither over the flow of a registered phone, in its user's name, nor from a
    /// peer.
    SourceForeign "rejected_source_foreign" FORBIDDEN
    /// T06: more requests from one source than it may send.
    SourceTooFast "rejected_source_too_fast" SERVICE_UNAVAILABLE
    /// S-121: a subscription for less time than is worth it.
    SubscriptionBrief "rejected_subscription_brief" INTERVAL_TOO_BRIEF
    /// A table is full.
    TableFull "rejected_table_full" SERVICE_UNAVAILABLE
    /// A user has begun as many calls as he may.
    TooManyCalls "rejected_too_many_calls" FORBIDDEN
    /// S-22: Max-Forwards has come to 0.
    TooManyHops "rejected_too_many_hops" TOO_MANY_HOPS
    /// A user has as many subscriptions as he may.
    TooManySubscriptions "rejected_too_many_subscriptions" TEMPORARILY_UNAVAILABLE
    /// R20: the callee has as many calls as he may.
    UserBusy "rejected_user_busy" BUSY_HERE
    /// A user of ours who acts for another one.
    UserForeign "rejected_user_foreign" FORBIDDEN
    /// S-10: nobody here has this address.
    UserUnknown "rejected_user_unknown" NOT_FOUND
    /// The callee is known and not registered.
    UserUnregistered "rejected_user_unregistered" TEMPORARILY_UNAVAILABLE
}

/// How often each was the reason.
#[derive(Clone, Debug)]
pub struct RejectCounts(Vec<u64>);

impl Default for RejectCounts {
    fn default() -> Self {
        Self(vec![0; Reject::ALL.len()])
    }
}

impl RejectCounts {
    /// Counts one more.
    pub fn add(&mut self, reject: Reject) {
        if let Some(count) = self.0.get_mut(reject as usize) {
            *count += 1;
        }
    }

    /// Every counter with its name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let names = Reject::ALL.iter().map(|reject| reject.name());
        names.zip(self.0.iter().copied())
    }
}
