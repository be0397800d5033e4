//! What the threads tell each other.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::media::desk::RoomId;
use crate::media::room::News;
use crate::routing::names::{self, Failed, Question};
use crate::shard::provider::{Answer, Ask};
use crate::shard::{Report, SendId, Settings};
use crate::sip::flow::Flow;
use crate::store::Reply;
use crate::time::Timestamp;
use crate::tls::{self, Proof};

/// What a worker is told, in the order in which it happened.
#[derive(Debug)]
pub(super) enum Mail {
    /// An application asks; answered at once, or when the service has answered.
    Ask {
        /// The only line that it may be about.
        line: Option<Box<str>>,
        /// What.
        ask: Ask,
        /// Who waits.
        asker: oneshot::Sender<Answer>,
    },
    /// Somebody asks whether the worker still takes mail.
    Alive(oneshot::Sender<()>),
    /// A stream closed.
    Disconnected {
        /// The stream.
        flow: Flow,
    },
    /// The operator wants to stop when the last call has ended.
    Drain,
    /// The operator wants to stop now.
    HangUp,
    /// Something was heard in a room, or it could not be opened.
    Heard {
        /// Which.
        room: RoomId,
        /// What.
        news: News,
    },
    /// A message that was to leave by a stream did not.
    NotSent {
        /// As the shard gave it.
        id: SendId,
        /// As the shard gave it.
        flow: Flow,
    },
    /// Whoever is at the other end of a stream has proven who he is; before his first message.
    Proven {
        /// The stream.
        flow: Flow,
        /// The names in his certificate.
        names: Vec<Box<str>>,
    },
    /// A whole message came by a stream.
    Received {
        /// The stream.
        flow: Flow,
        /// The message.
        bytes: Bytes,
        /// When it was put here.
        queued: Timestamp,
    },
    /// The operator wants other things from here on.
    Reconfigure {
        /// What.
        settings: Box<Settings>,
        /// Told when they hold.
        done: oneshot::Sender<()>,
    },
    /// DNS has answered, or has not.
    Resolved {
        /// What it was asked.
        question: Question,
        /// What it said.
        reply: Result<names::Answer, Failed>,
    },
    /// What the store says.
    Store(Vec<Reply>),
    /// Somebody asks what the worker holds.
    Report(oneshot::Sender<Report>),
}

/// What the streams are told.
#[derive(Debug)]
pub(super) enum Command {
    /// The certificates are to be read anew.
    Reload(oneshot::Sender<Result<(), tls::Error>>),
    /// Somebody asks what the streams hold: a table and counters.
    Report(oneshot::Sender<Report>),
    /// Sends a message by a stream.
    Send {
        /// The stream; without a connection, any to that address, or a new one.
        flow: Flow,
        /// The message.
        bytes: Bytes,
        /// Comes back in [`Mail::NotSent`].
        id: SendId,
        /// Who must be at the other end of a connection of TLS that is found or opened.
        proof: Option<Arc<Proof>>,
    },
}
