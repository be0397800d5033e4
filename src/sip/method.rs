//! The method of a request.
//!
//! Spec: RFC 3261 §7.1, §27.4; the methods of RFC 3262, 3311, 3428, 3515, 3903, 6086, 6665.

use std::fmt;

use crate::sip::class::Class;

/// A method; case-sensitive, and any token is one.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(missing_docs, reason = "each variant is the method of its name")]
pub enum Method<'m> {
    Ack,
    Bye,
    Cancel,
    Info,
    Invite,
    Message,
    Notify,
    Options,
    Prack,
    Publish,
    Refer,
    Register,
    Subscribe,
    Update,
    /// A token that we do not know.
    Other(&'m str),
}

impl<'m> Method<'m> {
    /// The method of this token; `None` if it is not a token.
    pub fn parse(token: &'m [u8]) -> Option<Self> {
        Some(match token {
            b"ACK" => Self::Ack,
            b"BYE" => Self::Bye,
            b"CANCEL" => Self::Cancel,
            b"INFO" => Self::Info,
            b"INVITE" => Self::Invite,
            b"MESSAGE" => Self::Message,
            b"NOTIFY" => Self::Notify,
            b"OPTIONS" => Self::Options,
            b"PRACK" => Self::Prack,
            b"PUBLISH" => Self::Publish,
            b"REFER" => Self::Refer,
            b"REGISTER" => Self::Register,
            b"SUBSCRIBE" => Self::Subscribe,
            b"UPDATE" => Self::Update,
            _ if !token.is_empty() && token.iter().copied().all(is_token) => {
                Self::Other(std::str::from_utf8(token).ok()?)
            }
            _ => return None,
        })
    }

    /// The token.
    pub fn as_str(self) -> &'m str {
        match self {
            Self::Ack => "ACK",
            Self::Bye => "BYE",
            Self::Cancel => "CANCEL",
            Self::Info => "INFO",
            Self::Invite => "INVITE",
            Self::Message => "MESSAGE",
            Self::Notify => "NOTIFY",
            Self::Options => "OPTIONS",
            Self::Prack => "PRACK",
            Self::Publish => "PUBLISH",
            Self::Refer => "REFER",
            Self::Register => "REGISTER",
            Self::Subscribe => "SUBSCRIBE",
            Self::Update => "UPDATE",
            Self::Other(token) => token,
        }
    }

    /// The method without its tie to the message; `None` for a token that we do not know.
    pub fn known(self) -> Option<Method<'static>> {
        Some(match self {
            Self::Ack => Method::Ack,
            Self::Bye => Method::Bye,
            Self::Cancel => Method::Cancel,
            Self::Info => Method::Info,
            Self::Invite => Method::Invite,
            Self::Message => Method::Message,
            Self::Notify => Method::Notify,
            Self::Options => Method::Options,
            Self::Prack => Method::Prack,
            Self::Publish => Method::Publish,
            Self::Refer => Method::Refer,
            Self::Register => Method::Register,
            Self::Subscribe => Method::Subscribe,
            Self::Update => Method::Update,
            Self::Other(_) => return None,
        })
    }
}

impl fmt::Display for Method<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether a byte may stand in a token (RFC 3261 §25.1).
#[inline]
pub fn is_token(byte: u8) -> bool {
    Class::TOKEN.has(byte)
}
