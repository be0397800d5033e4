//! SIP on paper: bytes to messages and back, with no state, no time and no sockets.
//!
//! Spec: RFC 3261 §7, §19, §20, §25.

pub mod check;
mod class;
pub mod dialog_info;
pub mod dialog_states;
pub mod digest;
mod equivalence;
pub mod error;
pub mod flow;
pub mod framing;
pub mod header;
pub mod host;
mod index;
pub mod lex;
pub mod message;
pub mod method;
pub mod name;
pub mod params;
#[cfg(test)]
mod properties;
pub mod reginfo;
#[cfg(feature = "rsip")]
pub mod rsip;
mod sipfrag;
pub mod status;
pub mod summary;
pub mod uri;
#[cfg(test)]
mod vectors;
pub mod writer;

pub use check::{Checked, Refusal, Request, Response};
pub use error::{ParseError, What};
pub use flow::{ConnectionId, Flow, ListenerId, Transport};
pub use framing::{Frame, FrameError, Framer};
pub use header::accept::accepts;
pub use header::call_info::CallInfo;
pub use header::contact::Contact;
pub use header::cseq::CSeq;
pub use header::dialog_id::{DialogId, OwnedDialogId};
pub use header::event::Event;
pub use header::item::Item;
pub use header::name_addr::NameAddr;
pub use header::rack::RAck;
pub use header::reason::cause;
pub use header::subscription_state::{EventReason, SubscriptionState, Substate};
pub use header::via::Via;
pub use host::Host;
pub use lex::{parse_u32, unfold, unquote};
pub use message::{Header, Message, Scratch, StartLine};
pub use method::Method;
pub use name::Name;
pub use params::Params;
pub use sipfrag::sipfrag_status;
pub use status::Status;
pub use uri::{SipUri, TelUri, Uri, unescape};
pub use writer::{Refused, Writer};
