//! The status code of a response, with the phrase of the standard.
//!
//! Spec: RFC 3261 §7.2, §21; RFC 6665 §8.3; RFC 3903 §11; RFC 4028 §6.

use std::fmt;

/// A status code, 100 to 699.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Status(u16);

macro_rules! statuses {
    ($($name:ident $code:literal $phrase:literal)*) => {
        impl Status {
            $(
                #[doc = concat!(stringify!($code), " ", $phrase)]
                pub const $name: Self = Self($code);
            )*

            /// The phrase of the standard; empty for a code that has none here.
            pub fn phrase(self) -> &'static str {
                match self.0 {
                    $($code => $phrase,)*
                    _ => "",
                }
            }
        }
    };
}

statuses! {
    TRYING 100 "Trying"
    RINGING 180 "Ringing"
    FORWARDED 181 "Call Is Being Forwarded"
    QUEUED 182 "Queued"
    SESSION_PROGRESS 183 "Session Progress"
    OK 200 "OK"
    ACCEPTED 202 "Accepted"
    NO_NOTIFICATION 204 "No Notification"
    MOVED_TEMPORARILY 302 "Moved Temporarily"
    BAD_REQUEST 400 "Bad Request"
    UNAUTHORIZED 401 "Unauthorized"
    FORBIDDEN 403 "Forbidden"
    NOT_FOUND 404 "Not Found"
    METHOD_NOT_ALLOWED 405 "Method Not Allowed"
    NOT_ACCEPTABLE 406 "Not Acceptable"
    PROXY_AUTHENTICATION_REQUIRED 407 "Proxy Authentication Required"
    REQUEST_TIMEOUT 408 "Request Timeout"
    GONE 410 "Gone"
    CONDITIONAL_REQUEST_FAILED 412 "Conditional Request Failed"
    REQUEST_ENTITY_TOO_LARGE 413 "Request Entity Too Large"
    UNSUPPORTED_MEDIA_TYPE 415 "Unsupported Media Type"
    UNSUPPORTED_URI_SCHEME 416 "Unsupported URI Scheme"
    BAD_EXTENSION 420 "Bad Extension"
    SESSION_INTERVAL_TOO_SMALL 422 "Session Interval Too Small"
    INTERVAL_TOO_BRIEF 423 "Interval Too Brief"
    FLOW_FAILED 430 "Flow Failed"
    TEMPORARILY_UNAVAILABLE 480 "Temporarily Unavailable"
    CALL_DOES_NOT_EXIST 481 "Call/Transaction Does Not Exist"
    MAX_BREADTH_EXCEEDED 440 "Max-Breadth Exceeded"
    LOOP_DETECTED 482 "Loop Detected"
    TOO_MANY_HOPS 483 "Too Many Hops"
    ADDRESS_INCOMPLETE 484 "Address Incomplete"
    BUSY_HERE 486 "Busy Here"
    REQUEST_TERMINATED 487 "Request Terminated"
    NOT_ACCEPTABLE_HERE 488 "Not Acceptable Here"
    BAD_EVENT 489 "Bad Event"
    REQUEST_PENDING 491 "Request Pending"
    SERVER_INTERNAL_ERROR 500 "Server Internal Error"
    NOT_IMPLEMENTED 501 "Not Implemented"
    SERVICE_UNAVAILABLE 503 "Service Unavailable"
    SERVER_TIMEOUT 504 "Server Time-out"
    VERSION_NOT_SUPPORTED 505 "Version Not Supported"
    MESSAGE_TOO_LARGE 513 "Message Too Large"
    BUSY_EVERYWHERE 600 "Busy Everywhere"
    DECLINE 603 "Decline"
    DOES_NOT_EXIST_ANYWHERE 604 "Does Not Exist Anywhere"
    NOT_ACCEPTABLE_ANYWHERE 606 "Not Acceptable"
}

impl Status {
    /// The status of this code; `None` outside 100 to 699.
    pub fn new(code: u16) -> Option<Self> {
        (100..700).contains(&code).then_some(Self(code))
    }

    /// The code.
    pub fn code(self) -> u16 {
        self.0
    }

    /// Whether it is 100 to 199.
    pub fn is_provisional(self) -> bool {
        self.0 < 200
    }

    /// Whether it is 200 to 299.
    pub fn is_success(self) -> bool {
        (200..300).contains(&self.0)
    }

    /// Whether it is 300 to 699.
    pub fn is_failure(self) -> bool {
        self.0 >= 300
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0, self.phrase())
    }
}
