//! Requests that wait for DNS to say where their peer is.
//!
//! Spec: RFC 3263 §4; RFC 3261 §21.5.5 (504).
//!
//! Names are looked up at the start and again before their answers end, so that somebody waits only
//! in the first moments, or after DNS has been gone for a day. Who waits has a server transaction,
//! which the request takes up again when it goes on.

use std::collections::VecDeque;
use std::time::Duration;

use crate::shard::{Reject, Shard};
use crate::sip::flow::Flow;
use crate::sip::{Checked, Message, Method, Request, Status};
use crate::table::Key;
use crate::time::Timestamp;
use crate::transaction::branch::hex;
use crate::transaction::reply;
use crate::transaction::servers::Answer;

/// How long a request waits: what a caller bears, and less than a phone without an answer to
/// anything but INVITE.
const WAITS_MAX: Duration = Duration::from_secs(4);
/// How many wait; at 2 KiB each, 2 MB.
const PARKED_MAX: usize = 1000;

/// A request that waits.
#[derive(Debug)]
pub(super) struct Parked {
    server: Key,
    flow: Flow,
    request: Box<[u8]>,
    until: Timestamp,
}

/// The requests that wait, in the order in which they came.
pub(super) type Lot = VecDeque<Parked>;

impl Shard {
    /// Keeps a request until its peer is found; its sender is told that it has come.
    pub(super) fn park(
        &mut self,
        now: Timestamp,
        flow: &Flow,
        request: &Request<'_>,
    ) -> Result<(), Reject> {
        if self.lot.len() >= PARKED_MAX {
            return Err(Reject::TableFull);
        }
        let server = self.layer.accept(now, request, flow, None);
        let server = server.map_err(|_| Reject::TableFull)?;
        if request.method == Method::Invite {
            // S-06
            self.layer.respond(now, server, &Answer::TRYING);
        }
        self.lot.push_back(Parked {
            server,
            flow: *flow,
            request: Box::from(request.message.raw()),
            until: now + WAITS_MAX,
        });
        Ok(())
    }

    /// Something has become known: everybody who waits tries again.
    pub(super) fn unpark(&mut self, now: Timestamp) {
        for parked in std::mem::take(&mut self.lot) {
            self.resume(now, parked);
        }
    }

    /// Who has waited for long enough is told so.
    pub(super) fn expire_parked(&mut self, now: Timestamp) {
        while self.lot.front().is_some_and(|first| first.until <= now) {
            if let Some(parked) = self.lot.pop_front() {
                self.rejects.add(Reject::NameUnresolved);
                self.answer_parked(now, parked.server, Reject::NameUnresolved.status());
            }
        }
    }

    /// When [`Self::expire_parked`] has work to do.
    pub(super) fn parked_until(&self) -> Option<Timestamp> {
        self.lot.front().map(|parked| parked.until)
    }

    /// S-09: takes back an INVITE that waits; whether it did.
    pub(super) fn cancel_parked(&mut self, now: Timestamp, server: Key) -> bool {
        let before = self.lot.len();
        self.lot.retain(|parked| parked.server != server);
        let was_there = self.lot.len() < before;
        if was_there {
            self.answer_parked(now, server, Status::REQUEST_TERMINATED);
        }
        was_there
    }

    /// Whoever stops lets nobody wait.
    pub(super) fn clear_parked(&mut self, now: Timestamp) {
        for parked in std::mem::take(&mut self.lot) {
            self.answer_parked(now, parked.server, Status::SERVICE_UNAVAILABLE);
        }
    }

    fn resume(&mut self, now: Timestamp, parked: Parked) {
        let mut index = std::mem::take(&mut self.index);
        let message = Message::parse(&parked.request, &mut index).ok();
        let checked = message.and_then(|message| Checked::check(message).ok());
        let Some(Checked::Request(request)) = checked else {
            return;
        };
        self.layer.resume(now, parked.server);
        let handled = self.dispatch(now, &parked.flow, &request);
        let still_waits = handled == Err(Reject::NameUnresolved) && self.is_looking_up();
        if let Err(reject) = handled
            && !still_waits
        {
            self.refuse(now, &request, &parked.flow, reject);
        }
        self.layer.end_resuming();
        self.index = index;
        if still_waits {
            self.lot.push_back(parked);
        }
    }

    fn answer_parked(&mut self, now: Timestamp, server: Key, status: Status) {
        let tag = hex(self.rng.bits());
        let answer = Answer {
            status,
            phrase: b"",
            tag: reply::Tag::Ours(&tag),
            rest: reply::NOTHING,
        };
        self.layer.respond(now, server, &answer);
    }
}
