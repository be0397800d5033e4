//! The name of a header field, in its long and its compact form.
//!
//! Spec: RFC 3261 §7.3.1, §7.3.3, §20; the header fields of RFC 3262, 3323, 3325, 3326, 3327, 3515,
//! 3608, 3841, 3891, 3892, 3903, 3911, 4028, 4412, 4538, 5393, 5626, 5806, 6665, 7044, 8224.

use std::fmt;

macro_rules! names {
    ($($name:ident $spelled:literal)*) => {
        /// A header name that we know, or [`Name::Other`].
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        #[repr(u8)]
        pub enum Name {
            $(
                #[doc = $spelled]
                $name,
            )*
            /// A name that we do not know; the message has its spelling.
            Other,
        }

        impl Name {
            /// The names that we know, in alphabetical order.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The long form; empty for [`Name::Other`].
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $spelled,)*
                    Self::Other => "",
                }
            }

            fn of_long(spelled: &[u8]) -> Self {
                let candidate = match key(spelled) {
                    $(keys::$name => Self::$name,)*
                    _ => return Self::Other,
                };
                if spelled.eq_ignore_ascii_case(candidate.as_str().as_bytes()) {
                    candidate
                } else {
                    Self::Other
                }
            }
        }

        /// The key of each name; two alike would be an unreachable arm above.
        #[expect(non_upper_case_globals, reason = "each is called as its variant")]
        mod keys {
            $(pub(super) const $name: u64 = super::key($spelled.as_bytes());)*
        }
    };
}

names! {
    Accept "Accept"
    AcceptContact "Accept-Contact"
    AcceptEncoding "Accept-Encoding"
    AcceptLanguage "Accept-Language"
    AlertInfo "Alert-Info"
    Allow "Allow"
    AllowEvents "Allow-Events"
    AuthenticationInfo "Authentication-Info"
    Authorization "Authorization"
    CSeq "CSeq"
    CallId "Call-ID"
    CallInfo "Call-Info"
    Contact "Contact"
    ContentDisposition "Content-Disposition"
    ContentEncoding "Content-Encoding"
    ContentLanguage "Content-Language"
    ContentLength "Content-Length"
    ContentType "Content-Type"
    Date "Date"
    Diversion "Diversion"
    ErrorInfo "Error-Info"
    Event "Event"
    Expires "Expires"
    FlowTimer "Flow-Timer"
    From "From"
    HistoryInfo "History-Info"
    Identity "Identity"
    InReplyTo "In-Reply-To"
    Join "Join"
    MaxBreadth "Max-Breadth"
    MaxForwards "Max-Forwards"
    MimeVersion "MIME-Version"
    MinExpires "Min-Expires"
    MinSe "Min-SE"
    Organization "Organization"
    PAssertedIdentity "P-Asserted-Identity"
    PPreferredIdentity "P-Preferred-Identity"
    Path "Path"
    Priority "Priority"
    Privacy "Privacy"
    ProxyAuthenticate "Proxy-Authenticate"
    ProxyAuthorization "Proxy-Authorization"
    ProxyRequire "Proxy-Require"
    RAck "RAck"
    RSeq "RSeq"
    Reason "Reason"
    RecordRoute "Record-Route"
    ReferTo "Refer-To"
    ReferredBy "Referred-By"
    RejectContact "Reject-Contact"
    RemotePartyId "Remote-Party-ID"
    Replaces "Replaces"
    ReplyTo "Reply-To"
    RequestDisposition "Request-Disposition"
    Require "Require"
    ResourcePriority "Resource-Priority"
    RetryAfter "Retry-After"
    Route "Route"
    Server "Server"
    ServiceRoute "Service-Route"
    SessionExpires "Session-Expires"
    SipEtag "SIP-ETag"
    SipIfMatch "SIP-If-Match"
    Subject "Subject"
    SubscriptionState "Subscription-State"
    Supported "Supported"
    TargetDialog "Target-Dialog"
    Timestamp "Timestamp"
    To "To"
    Unsupported "Unsupported"
    UserAgent "User-Agent"
    Via "Via"
    Warning "Warning"
    WwwAuthenticate "WWW-Authenticate"
}

impl Name {
    /// The name spelled so, in its long or compact form and in any case.
    pub fn of(spelled: &[u8]) -> Self {
        // S-33: one name, however it is spelled.
        match spelled {
            [letter] => Self::of_compact(*letter),
            _ => Self::of_long(spelled),
        }
    }

    fn of_compact(letter: u8) -> Self {
        match letter.to_ascii_lowercase() {
            b'a' => Self::AcceptContact,
            b'b' => Self::ReferredBy,
            b'c' => Self::ContentType,
            b'd' => Self::RequestDisposition,
            b'e' => Self::ContentEncoding,
            b'f' => Self::From,
            b'i' => Self::CallId,
            b'j' => Self::RejectContact,
            b'k' => Self::Supported,
            b'l' => Self::ContentLength,
            b'm' => Self::Contact,
            b'o' => Self::Event,
            b'r' => Self::ReferTo,
            b's' => Self::Subject,
            b't' => Self::To,
            b'u' => Self::AllowEvents,
            b'v' => Self::Via,
            b'x' => Self::SessionExpires,
            b'y' => Self::Identity,
            _ => Self::Other,
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spelled = self.as_str();
        f.write_str(if spelled.is_empty() {
            "(another header field)"
        } else {
            spelled
        })
    }
}

/// The first and the last four letters without their case: no two known names share them.
const fn key(spelled: &[u8]) -> u64 {
    let (first, last) = match (spelled.first_chunk(), spelled.last_chunk()) {
        (Some(first), Some(last)) => (*first, *last),
        _ => match spelled {
            [a, b] => ([*a, *b, 0, 0], [0; 4]),
            [a, b, c] => ([*a, *b, *c, 0], [0; 4]),
            _ => return 0,
        },
    };
    match [first, last].as_flattened().first_chunk() {
        Some(letters) => u64::from_be_bytes(*letters) | 0x2020_2020_2020_2020,
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_known_in_any_case() {
        for name in Name::ALL {
            let spelled = name.as_str();
            assert_eq!(Name::of(spelled.as_bytes()), *name);
            assert_eq!(Name::of(spelled.to_uppercase().as_bytes()), *name); // S-33
            assert_eq!(Name::of(spelled.to_lowercase().as_bytes()), *name);
        }
    }

    #[test]
    fn compact_forms_are_the_registered_ones() {
        let registered = "a:Accept-Contact b:Referred-By c:Content-Type d:Request-Disposition \
            e:Content-Encoding f:From i:Call-ID j:Reject-Contact k:Supported l:Content-Length \
            m:Contact o:Event r:Refer-To s:Subject t:To u:Allow-Events v:Via x:Session-Expires \
            y:Identity";
        for pair in registered.split_whitespace() {
            let (letter, long) = pair.split_once(':').unwrap();
            assert_eq!(Name::of(letter.as_bytes()).as_str(), long); // S-33
            assert_eq!(Name::of(letter.to_uppercase().as_bytes()).as_str(), long);
        }
    }

    #[test]
    fn unknown_names_are_other() {
        for spelled in [
            "",
            "z",
            "Vib",
            "Toe",
            "Froom",
            "C%6Fntact",
            "Accept-Conttact",
            "X-Via",
        ] {
            assert_eq!(Name::of(spelled.as_bytes()), Name::Other, "{spelled}");
        }
    }

    #[test]
    fn names_stand_in_alphabetical_order() {
        let mut sorted: Vec<_> = Name::ALL.iter().map(|name| format!("{name:?}")).collect();
        sorted.sort();
        let listed: Vec<_> = Name::ALL.iter().map(|name| format!("{name:?}")).collect();
        assert_eq!(listed, sorted);
    }
}
