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
    #[inline]
    pub fn of(spelled: &[u8]) -> Self {
        // S-33: one name, however it is spelled.
        match spelled {
            [letter] => Self::of_compact(*letter),
            _ => Self::of_long(spelled),
        }
    }

    fn of_long(spelled: &[u8]) -> Self {
        let letters = letters(spelled);
        let Some(known) = SLOTS.get(usize::from(slot(letters))) else {
            return Self::Other;
        };
        let long = known.long.as_bytes();
        // Most peers spell as the standard does, which is compared faster.
        let is_short = long.len() <= 8 && long.len() == spelled.len();
        let is_same = is_short && known.letters == letters
            || spelled == long
            || spelled.eq_ignore_ascii_case(long);
        if is_same { known.name } else { Self::Other }
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

/// A known name, and its first and last letters.
#[derive(Clone, Copy)]
struct Known {
    name: Name,
    long: &'static str,
    letters: u64,
}

/// Spreads the known names over 256 slots; found by trial, checked where `SLOTS` is built.
const SPREAD: u64 = 0xd651_2232_cc2b_b83f;

/// The known name of each slot.
#[expect(
    clippy::indexing_slicing,
    reason = "done when this is built, where it fails the build"
)]
static SLOTS: [Known; 256] = {
    let mut slots = [Known {
        name: Name::Other,
        long: "",
        letters: 0,
    }; 256];
    let mut names = Name::ALL;
    while let [name, rest @ ..] = names {
        let long = name.as_str();
        let letters = letters(long.as_bytes());
        let slot = slot(letters) as usize;
        assert!(
            matches!(slots[slot].name, Name::Other),
            "two names in one slot"
        );
        slots[slot] = Known {
            name: *name,
            long,
            letters,
        };
        names = rest;
    }
    slots
};

/// The first and the last four letters; of a shorter name those that it has.
const fn letters(spelled: &[u8]) -> u64 {
    let ends = match (spelled.first_chunk(), spelled.last_chunk()) {
        (Some(first), Some(last)) => [*first, *last],
        _ => match spelled {
            [a, b] => [[*a, *b, 0, 0], [0; 4]],
            [a, b, c] => [[*a, *b, *c, 0], [0; 4]],
            _ => [[0; 4]; 2],
        },
    };
    match ends.as_flattened().first_chunk() {
        Some(letters) => u64::from_le_bytes(*letters),
        None => 0,
    }
}

/// The slot of these letters, whatever their case.
const fn slot(letters: u64) -> u8 {
    let [slot, ..] = (letters | 0x2020_2020_2020_2020)
        .wrapping_mul(SPREAD)
        .to_be_bytes();
    slot
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
