//! What is wrong with a message, and where.
//!
//! Spec: RFC 3261 §7, §21.4.1; RFC 4475.

use std::fmt;

use crate::sip::name::Name;

/// A rule that a message or a value breaks.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum What {
    /// A display name or an address that follows no grammar.
    Address,
    /// The body is shorter than Content-Length says.
    BodyShort,
    /// A CR, LF or NUL where none may stand.
    Control,
    /// Nothing but line ends: a keep-alive.
    Empty,
    /// The header fields are not ended by an empty line.
    HeadersOpen,
    /// More than [`HEADER_BYTES_MAX`](crate::sip::message::HEADER_BYTES_MAX).
    HeadersTooLarge,
    /// More than [`HEADERS_MAX`](crate::sip::message::HEADERS_MAX).
    HeadersTooMany,
    /// A host that is neither a name nor an address.
    Host,
    /// A header line without a colon, or with a name that is no token.
    Line,
    /// The value of this header field follows no grammar.
    Malformed(Name),
    /// More than [`MESSAGE_MAX`](crate::sip::message::MESSAGE_MAX).
    MessageTooLarge,
    /// The method of CSeq is not the request's.
    MethodDiffers,
    /// A header field that every message of its kind has.
    Missing(Name),
    /// Not a SIP message at all.
    NotSip,
    /// A number with other bytes than digits, or too large for its use.
    Number,
    /// An empty parameter, or bytes that no parameter may have.
    Param,
    /// More than [`PARAMS_MAX`](crate::sip::params::PARAMS_MAX).
    ParamsTooMany,
    /// A port that is not 1 to 65535.
    Port,
    /// A quoted string that does not end.
    Quote,
    /// A header field that may stand only once.
    Repeated(Name),
    /// The Request-URI follows no grammar, or has header fields in it.
    RequestUri,
    /// A URI without a scheme.
    Scheme,
    /// Blanks in the start line that no grammar allows.
    StartLine,
    /// A status code that is not 100 to 699.
    Status,
    /// Bytes in a URI that must be escaped.
    Uri,
    /// A version other than SIP/2.0.
    Version,
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Address => "malformed address",
            Self::BodyShort => "body shorter than Content-Length",
            Self::Control => "CR, LF or NUL inside a value",
            Self::Empty => "nothing but line ends",
            Self::HeadersOpen => "no empty line after the header fields",
            Self::HeadersTooLarge => "header fields too large",
            Self::HeadersTooMany => "too many header fields",
            Self::Host => "malformed host",
            Self::Line => "malformed header line",
            Self::Malformed(name) => return write!(f, "malformed {name}"),
            Self::MessageTooLarge => "message too large",
            Self::MethodDiffers => "CSeq names another method",
            Self::Missing(name) => return write!(f, "no {name}"),
            Self::NotSip => "not SIP",
            Self::Number => "malformed number",
            Self::Param => "malformed parameter",
            Self::ParamsTooMany => "too many parameters",
            Self::Port => "malformed port",
            Self::Quote => "quoted string without end",
            Self::Repeated(name) => return write!(f, "more than one {name}"),
            Self::RequestUri => "malformed Request-URI",
            Self::Scheme => "URI without scheme",
            Self::StartLine => "malformed start line",
            Self::Status => "malformed status code",
            Self::Uri => "malformed URI",
            Self::Version => "version is not SIP/2.0",
        })
    }
}

/// A rule that is broken, and the byte of the parsed text where that was seen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ParseError {
    /// The rule.
    pub what: What,
    /// Bytes before the place.
    pub at: u16,
}

impl ParseError {
    pub(crate) fn new(what: What, at: usize) -> Self {
        let at = u16::try_from(at).unwrap_or(u16::MAX);
        Self { what, at }
    }

    /// The same, seen from a text with so many more bytes before.
    pub(crate) fn after(self, bytes: usize) -> Self {
        Self::new(self.what, usize::from(self.at) + bytes)
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.what, self.at)
    }
}

impl std::error::Error for ParseError {}
