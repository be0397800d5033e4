//! What a worker is told, and what it wants done.

use std::time::Duration;

use crate::media::desk::RoomId;
use crate::media::room::News;
use crate::routing::names::{Answer, Failed, Question};
use crate::shard::Settings;
use crate::shard::provider;
use crate::sip::flow::Flow;
use crate::store::{Opening, Order, Reply};
use crate::transaction::outbox::SendId;

/// What happens to a worker.
#[derive(Debug)]
pub enum Input<'i> {
    /// A whole message came in.
    Received {
        /// How it came.
        flow: Flow,
        /// The message.
        bytes: &'i [u8],
        /// The time since the receive socket was last empty: how long it may have waited.
        delay: Duration,
    },
    /// A message did not leave.
    NotSent {
        /// The id that the message was sent with.
        client: SendId,
        /// Where it was to go.
        flow: Flow,
    },
    /// Whoever is at the other end of a stream has proven these names, or none.
    Proven {
        /// The stream.
        flow: Flow,
        /// The names in his certificate.
        names: &'i [Box<str>],
    },
    /// A stream ended.
    Disconnected {
        /// The stream.
        flow: Flow,
    },
    /// DNS has answered, or has not.
    Resolved {
        /// What it was asked.
        question: &'i Question,
        /// What it said.
        reply: Result<&'i Answer, Failed>,
    },
    /// Something was heard in a room of ours, or it could not be opened.
    Heard {
        /// Which.
        room: RoomId,
        /// What.
        news: News,
    },
    /// No new calls from here on.
    Drain,
    /// Every call ends now.
    HangUp,
    /// What the store says, where it is driven from outside.
    Store(Reply),
    /// An application asks.
    Asked(&'i provider::Question),
    /// The operator wants other things from here on; calls go on.
    Reconfigure(Box<Settings>),
}

/// What a worker wants done.
#[derive(Clone, Copy, Debug)]
pub enum Output<'o> {
    /// Asks DNS; the answer is awaited in [`Input::Resolved`], and given up after a while.
    Resolve {
        /// What to ask.
        question: &'o Question,
    },
    /// Sends a message.
    Send {
        /// Where to.
        flow: Flow,
        /// The message.
        bytes: &'o [u8],
        /// Comes back in [`Input::NotSent`].
        id: SendId,
    },
    /// Asks the store, where it is driven from outside; to be carried out in this order, and not at all
    /// under another opening than the last. What it says is awaited in [`Input::Store`].
    Store {
        /// Under which.
        opening: Opening,
        /// What.
        order: &'o Order,
    },
    /// Keeps a record over a restart; nobody waits for it.
    Keep {
        /// Its key.
        key: &'o [u8],
        /// What it says from now on; `None` removes it.
        record: Option<&'o [u8]>,
    },
}
