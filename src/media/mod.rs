//! Sound, while completion needs it: a call's own audio never passes here.
//!
//! Spec: RFC 3550, 3551, 3711, 4733; DESIGN §3; RULES R14, R16, R17.
//!
//! Packets and the time in, packets and deadlines out; [`crate::io`] owns the sockets.

pub mod anchor;
pub mod clip;
pub mod codec;
pub mod desk;
pub mod digit;
pub mod event;
pub mod inband;
pub mod info;
pub mod jitter;
pub mod power;
pub mod prompts;
pub mod report;
pub mod room;
pub mod srtp;
pub mod stream;
pub mod tone;
pub mod trial;
