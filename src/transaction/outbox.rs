//! What is to be sent: messages laid end to end in one buffer, in the order in which they go out.

use std::collections::VecDeque;
use std::ops::Range;

use crate::sip::flow::Flow;
use crate::table::Key;

/// Names one sending, so that `io` can say that it failed.
///
/// Shape: the client transaction behind it, or nothing for what nobody waits for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SendId(pub Option<Key>);

/// One message on its way out.
#[derive(Clone, Copy, Debug)]
pub struct Sending<'o> {
    /// Where it goes.
    pub flow: Flow,
    /// The message.
    pub bytes: &'o [u8],
    /// To be handed back if it could not be sent.
    pub id: SendId,
}

/// The queue; emptied by the worker after each input.
#[derive(Debug, Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    sends: VecDeque<(Flow, Range<usize>, SendId)>,
}

/// A buffer that grew for one burst does not stay: this holds what an input usually causes.
const KEPT_BYTES_MAX: usize = 8 * 1024;
/// The same for the queue of messages.
const KEPT_SENDS_MAX: usize = 16;

impl Outbox {
    /// Queues a message that is written already.
    pub fn send(&mut self, flow: Flow, message: &[u8], id: SendId) {
        self.write(flow, id, |bytes| bytes.extend_from_slice(message));
    }

    /// Queues the message that `write` appends.
    pub fn write(&mut self, flow: Flow, id: SendId, write: impl FnOnce(&mut Vec<u8>)) -> &[u8] {
        let start = self.bytes.len();
        write(&mut self.bytes);
        let range = start..self.bytes.len();
        self.sends.push_back((flow, range.clone(), id));
        self.bytes.get(range).unwrap_or_default()
    }

    /// The next message; when there is none, the buffer starts anew.
    pub fn poll(&mut self) -> Option<Sending<'_>> {
        let Some((flow, range, id)) = self.sends.pop_front() else {
            self.give_back();
            return None;
        };
        let bytes = self.bytes.get(range).unwrap_or_default();
        Some(Sending { flow, bytes, id })
    }

    /// How many messages wait; with [`Self::truncate`], the way back after a panic.
    pub fn len(&self) -> usize {
        self.sends.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.sends.is_empty()
    }

    /// Forgets the messages queued after the first `len`.
    pub fn truncate(&mut self, len: usize) {
        self.sends.truncate(len);
    }

    fn give_back(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES_MAX);
        self.sends.shrink_to(KEPT_SENDS_MAX);
    }
}
