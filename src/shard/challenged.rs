//! Calls that were asked for credentials, until they come again with them.
//!
//! Spec: RFC 3261 §22.2, §22.3; RULES R3.
//!
//! A PBX may bind its nonce to Call-ID and From tag. Our tag names the slot of the call, so the slot
//! stays taken for a while, and the repeated INVITE becomes the call there: with the Call-ID and the
//! tag of the first, and the next CSeq number.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use crate::call::{Again, Call};
use crate::completion::CompletionId;
use crate::shard::Settings;
use crate::shard::offer::Asker;
use crate::sip::Request;
use crate::sip::flow::Flow;
use crate::table::Key;
use crate::time::Timestamp;
use crate::transaction::digest::{Digest, DigestMap, Digester};

/// How long a phone has to answer a challenge: as long as a transaction lasts, so that a user can
/// be asked for his password.
const WAITS_T1: u32 = 64;
/// R5, R9: how long the phone of a CC call has, which knows its password: a callee is reserved for it.
const WAITS_FOR_CC_T1: u32 = 8;
/// Of the calls that we may hold, one in this many may be a challenged one.
const SHARE: u32 = 4;

/// The slots that are kept.
#[derive(Debug)]
pub(super) struct Challenged {
    kept: DigestMap<Kept>,
    /// In the order in which they are given up.
    order: VecDeque<(Timestamp, Digest)>,
    /// The CC calls among them, and by when they are to come again: a callee is reserved for each.
    awaited: VecDeque<(Timestamp, CompletionId)>,
    /// R5: the callers who waited with a call, by its slot.
    camped: BTreeMap<Key, (CompletionId, Box<Asker>)>,
    waits: Duration,
    waits_for_cc: Duration,
    kept_max: usize,
}

#[derive(Debug)]
struct Kept {
    key: Key,
    again: Again,
    /// Only from there does it come again (R8).
    source: IpAddr,
    until: Timestamp,
}

impl Challenged {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            kept: DigestMap::default(),
            order: VecDeque::new(),
            awaited: VecDeque::new(),
            camped: BTreeMap::new(),
            waits_for_cc: settings.timing.t1 * WAITS_FOR_CC_T1,
            waits: settings.timing.t1 * WAITS_T1,
            kept_max: usize::try_from(settings.limits.calls_max / SHARE).unwrap_or(usize::MAX),
        }
    }

    /// Keeps the slot of a call that was challenged; one that had the same name comes back, to be
    /// freed.
    #[must_use]
    pub(super) fn keep(
        &mut self,
        now: Timestamp,
        digester: &Digester,
        (key, call): (Key, &Call),
    ) -> Option<Key> {
        let (call_id, tag, source) = call.caller();
        let name = name(digester, call_id, tag);
        let until = now + self.waits;
        let kept = Kept {
            key,
            again: call.again(),
            source,
            until,
        };
        self.order.push_back((until, name));
        self.kept.insert(name, kept).map(|displaced| displaced.key)
    }

    /// A CC call was challenged.
    pub(super) fn await_cc_call(&mut self, now: Timestamp, id: CompletionId) {
        self.forget_cc_call(id);
        self.awaited.push_back((now + self.waits_for_cc, id));
    }

    /// R5: the call of somebody who waited was challenged when it was his turn.
    pub(super) fn await_camped(
        &mut self,
        now: Timestamp,
        id: CompletionId,
        camped: (Key, Box<Asker>),
    ) {
        let (key, asker) = camped;
        self.camped.insert(key, (id, asker));
        self.await_cc_call(now, id);
    }

    /// Whether this INVITE is such a call, with credentials.
    pub(super) fn is_camped(
        &self,
        digester: &Digester,
        request: &Request<'_>,
        flow: &Flow,
    ) -> bool {
        if self.camped.is_empty() {
            return false;
        }
        let tag = request.from.tag().unwrap_or_default();
        let kept = self.kept.get(&name(digester, request.call_id, tag));
        let kept = kept.filter(|kept| kept.source == flow.remote.ip());
        kept.is_some_and(|kept| self.camped.contains_key(&kept.key))
    }

    /// Whose call has come again in that slot.
    pub(super) fn take_camped(&mut self, key: Key) -> Option<Box<Asker>> {
        let (id, asker) = self.camped.remove(&key)?;
        self.forget_cc_call(id);
        Some(asker)
    }

    /// Whose call has not.
    pub(super) fn give_up_camped(&mut self, id: CompletionId) -> Option<Box<Asker>> {
        let mut camped = self.camped.iter();
        let key = camped.find_map(|(key, (its, _))| (*its == id).then_some(*key))?;
        let (_, asker) = self.camped.remove(&key)?;
        Some(asker)
    }

    /// It came again, or another one of that request came.
    pub(super) fn forget_cc_call(&mut self, id: CompletionId) {
        self.awaited.retain(|(_, awaited)| *awaited != id);
    }

    /// A request whose CC call did not come again in time.
    pub(super) fn poll_unrepeated(&mut self, now: Timestamp) -> Option<CompletionId> {
        let (_, id) = *self.awaited.front().filter(|(due, _)| *due <= now)?;
        self.awaited.pop_front();
        Some(id)
    }

    /// The slot of the challenged call that this INVITE repeats.
    pub(super) fn take(
        &mut self,
        digester: &Digester,
        request: &Request<'_>,
        flow: &Flow,
    ) -> Option<(Key, Again)> {
        if self.kept.is_empty() {
            return None;
        }
        let tag = request.from.tag().unwrap_or_default();
        let name = name(digester, request.call_id, tag);
        let kept = self.kept.get(&name)?;
        (kept.source == flow.remote.ip()).then_some(())?;
        let Kept { key, again, .. } = self.kept.remove(&name)?;
        Some((key, again))
    }

    /// A slot whose time is over, or that makes way for others.
    pub(super) fn poll_over(&mut self, now: Timestamp) -> Option<Key> {
        while let Some((until, name)) = self.order.front().copied() {
            if until > now && self.kept.len() <= self.kept_max {
                return None;
            }
            self.order.pop_front();
            // If it has been taken up, and perhaps challenged anew, this is not its end.
            if self.kept.get(&name).is_some_and(|kept| kept.until == until) {
                return Some(self.kept.remove(&name)?.key);
            }
        }
        None
    }

    pub(super) fn poll_timeout(&self) -> Option<Timestamp> {
        let over = self.order.front().map(|(until, _)| *until);
        let due = self.awaited.front().map(|(due, _)| *due);
        [over, due].into_iter().flatten().min()
    }

    /// How many slots are kept.
    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }
}

fn name(digester: &Digester, call_id: &[u8], tag: &[u8]) -> Digest {
    digester.of(&[b"challenged", call_id, tag])
}
