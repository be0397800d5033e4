//! SIP on paper: bytes to messages and back, with no state, no time and no sockets.
//!
//! Spec: RFC 3261 §7, §19, §20, §25.

pub mod check;
pub mod error;
pub mod flow;
pub mod header;
pub mod host;
mod index;
pub mod lex;
pub mod message;
pub mod method;
pub mod name;
pub mod params;
pub mod status;
pub mod uri;
pub mod writer;

pub use check::{Checked, Refusal, Request, Response};
pub use error::{ParseError, What};
pub use flow::{ConnectionId, Flow, ListenerId, Transport};
pub use header::cseq::CSeq;
pub use header::name_addr::NameAddr;
pub use header::via::Via;
pub use host::Host;
pub use message::{Header, Message, Scratch, StartLine};
pub use method::Method;
pub use name::Name;
pub use params::Params;
pub use status::Status;
pub use uri::{SipUri, TelUri, Uri, unescape};
pub use writer::{Refused, Writer};
