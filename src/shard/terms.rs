//! What a peer may ask of us, how much of it, and what it learns of who calls.
//!
//! Spec: RFC 3325 §5, §7 (P-Asserted-Identity between those who trust each other); RFC 3323 §4.2;
//! RULES R11.
//!
//! An identity that somebody asserts whom we do not believe is not there at all: it is gone before
//! anything looks at the message. One that is believed leaves us for those who are trusted as well,
//! and for others only where its owner has not asked for privacy.

use std::collections::BTreeMap;

use crate::call::Side;
use crate::cc::trust::PeerId;
use crate::completion;
use crate::location::Aor;
use crate::shard::pace::Rate;
use crate::shard::settings::Trust;
use crate::shard::ways::Ways;
use crate::shard::{Held, Parties, Reject, Shard};
use crate::sip::flow::Flow;
use crate::sip::{Message, Method, Name, Request};
use crate::table::Key;
use crate::time::Timestamp;

/// Who of the two is done with a call that is not over yet.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Left {
    a: bool,
    b: bool,
}

impl Left {
    fn insert(&mut self, side: Side) {
        match side {
            Side::A => self.a = true,
            Side::B => self.b = true,
        }
    }

    fn contains(self, side: Side) -> bool {
        match side {
            Side::A => self.a,
            Side::B => self.b,
        }
    }
}

/// What peers have taken of what they may.
pub(super) type Loads = BTreeMap<PeerId, Load>;

/// What a peer has taken.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Load {
    /// Calls from it and to it.
    calls: u32,
    /// By when the calls that it began have been earned again.
    full_at: Timestamp,
}

/// What becomes of a P-Asserted-Identity that crosses.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Identity {
    /// Somebody is not to see any.
    Hidden,
    /// Somebody is a phone, who sees that of a caller that does not mind.
    #[default]
    Private,
    /// Both are peers that are trusted.
    Shown,
}

impl Shard {
    /// RFC 3325 §5: whether what a message by this flow says of an identity is believed.
    pub(super) fn believes(&self, flow: &Flow) -> bool {
        let peer = self.peer_of(flow);
        peer.is_some_and(|(_, peer)| peer.terms.trust == Trust::Keep)
    }

    /// RFC 3325 §7: the message as the other side of its call may see it.
    pub(super) fn for_other_side(identity: Identity, message: Message<'_>) -> Message<'_> {
        let is_hidden = match identity {
            Identity::Hidden => true,
            Identity::Private => is_private(&message),
            Identity::Shown => false,
        };
        if is_hidden {
            message.without(Name::PAssertedIdentity)
        } else {
            message
        }
    }

    /// What either side of a request outside of calls learns of the other.
    pub(super) fn identity_across(&self, flow: &Flow, ways: &Ways) -> Identity {
        let to = ways.first().map(|way| way.flow);
        let sides = [Some(*flow), to];
        self.identity(sides.map(|side| Some(self.peer_of(&side?)?.0)))
    }

    /// R13, R23: what a request of our own says of the caller for whom it is made, besides From: as
    /// the call did that failed, on the leg to this peer or, `None`, to a phone.
    pub(super) fn told_of<'i>(
        &self,
        caller: &'i completion::Identity,
        to: Option<PeerId>,
    ) -> [(Name, &'i [u8]); 2] {
        let peer = to.and_then(|id| self.settings.peer(id));
        let is_hidden = match peer.map(|peer| peer.terms.trust) {
            Some(Trust::Keep) => false,
            Some(Trust::Strip) => true,
            None => asks_for_privacy(caller.privacy().as_bytes()),
        };
        let asserted = if is_hidden { "" } else { caller.asserted() };
        [
            (Name::PAssertedIdentity, asserted.as_bytes()),
            (Name::Privacy, caller.privacy().as_bytes()),
        ]
    }

    /// What either side of a call learns of the other.
    pub(super) fn identity_within(&self, call: Key) -> Identity {
        let held = self.calls.get(call);
        held.map(|held| held.parties.identity).unwrap_or_default()
    }

    /// Whether a peer may send this method, and now; a call for help always may.
    pub(super) fn check_peer(
        &mut self,
        now: Timestamp,
        flow: &Flow,
        request: &Request<'_>,
    ) -> Result<(), Reject> {
        let Some((id, peer)) = self.peer_of(flow) else {
            return Ok(());
        };
        let (methods, method) = (&peer.terms.methods, request.method.as_str());
        let is_allowed = methods.is_empty() || methods.iter().any(|it| **it == *method);
        let checked = match (is_allowed, peer.terms.rate_max) {
            (false, _) => Err(Reject::MethodForbidden),
            (true, Some(rate)) if request.method == Method::Invite => {
                let load = self.loads.entry(id).or_default();
                // What it did not use of a second, it may use in the next one.
                let is_earned = Rate::per_second(rate, rate).take(now, &mut load.full_at);
                is_earned.then_some(()).ok_or(Reject::PeerTooFast)
            }
            (true, _) => Ok(()),
        };
        checked.or_else(|reject| {
            let is_pressing = self.is_pressing(request);
            is_pressing.then_some(()).ok_or(reject)
        })
    }

    /// The methods that the peer may use who is told so.
    pub(super) fn methods_of(&self, flow: &Flow, reject: Reject) -> Option<String> {
        let is_asked = reject == Reject::MethodForbidden;
        let (_, peer) = self.peer_of(flow).filter(|_| is_asked)?;
        Some(peer.terms.methods.join(", "))
    }

    /// Whether the peers that a call crosses take one more, and what they learn of each other.
    pub(super) fn check_terms(
        &self,
        request: &Request<'_>,
        (flow, ways): (&Flow, &Ways),
        parties: &mut Parties,
    ) -> Result<(), Reject> {
        let to = ways.first().map(|way| way.flow);
        let from = self.peer_of(flow).map(|(id, _)| id);
        let to = to.and_then(|to| self.peer_of(&to)).map(|(id, _)| id);
        parties.through = [from, to];
        parties.identity = self.identity(parties.through);
        if self.is_pressing(request) {
            return Ok(());
        }
        let mut through = [from, to].into_iter().flatten();
        through.try_for_each(|id| self.check_calls(id))
    }

    /// Whether a call counts among those that its caller began; refused if he has as many as he may.
    pub(super) fn check_outgoing(
        &self,
        request: &Request<'_>,
        caller: Option<&Aor>,
    ) -> Result<bool, Reject> {
        let (Some(max), Some(caller)) = (self.settings.calls.outgoing_max, caller) else {
            return Ok(false);
        };
        if self.is_pressing(request) {
            return Ok(false);
        }
        if self.users.begun(caller) >= max {
            return Err(Reject::TooManyCalls);
        }
        Ok(true)
    }

    /// A call has begun; its users have been engaged.
    pub(super) fn engage_peers(&mut self, parties: &Parties) {
        if let Some(caller) = parties.caller.as_ref().filter(|_| parties.is_outgoing) {
            self.users.begin(caller);
        }
        for id in parties.through.into_iter().flatten() {
            self.loads.entry(id).or_default().calls += 1;
        }
    }

    /// A call has gone on from one peer to another.
    pub(super) fn move_load(&mut self, before: Option<PeerId>, to: PeerId) {
        if let Some(load) = before.and_then(|before| self.loads.get_mut(&before)) {
            load.calls = load.calls.saturating_sub(1);
        }
        self.loads.entry(to).or_default().calls += 1;
    }

    /// A call is over for its users and peers.
    pub(super) fn release(&mut self, now: Timestamp, parties: &Parties) {
        self.release_peers(parties);
        for side in [Side::A, Side::B] {
            self.free(now, parties, side);
        }
    }

    /// The same of one that its callee may have refused.
    pub(super) fn release_over(&mut self, now: Timestamp, held: &Held) {
        if held.call.met_busy() {
            self.release_refused(now, &held.parties);
        } else {
            self.release(now, &held.parties);
        }
    }

    /// R2: the same of one that its callee was too busy for: its end does not make him free.
    pub(super) fn release_refused(&mut self, now: Timestamp, parties: &Parties) {
        self.release_peers(parties);
        self.free(now, parties, Side::A);
        if let Some(callee) = party(parties, Side::B) {
            self.users.release_refused(now, callee);
        }
    }

    /// R2: who has hung up is free, however long it takes the other side to hear of that.
    pub(super) fn free_who_left(&mut self, now: Timestamp, held: &mut Held) {
        for side in [Side::A, Side::B] {
            if held.call.has_left(side) {
                self.free(now, &held.parties, side);
                held.parties.left.insert(side);
            }
        }
    }

    fn free(&mut self, now: Timestamp, parties: &Parties, side: Side) {
        let Some(user) = party(parties, side) else {
            return;
        };
        if side == Side::A && parties.is_outgoing {
            self.users.end_begun(user);
        }
        self.users.release(now, user);
    }

    pub(super) fn release_peers(&mut self, parties: &Parties) {
        for id in parties.through.into_iter().flatten() {
            if let Some(load) = self.loads.get_mut(&id) {
                load.calls = load.calls.saturating_sub(1);
            }
        }
    }

    pub(super) fn check_calls(&self, id: PeerId) -> Result<(), Reject> {
        let max = self.settings.peer(id).and_then(|peer| peer.terms.calls_max);
        let calls = self.loads.get(&id).map_or(0, |load| load.calls);
        if max.is_some_and(|max| calls >= max) {
            return Err(Reject::PeerFull);
        }
        Ok(())
    }

    pub(super) fn identity(&self, through: [Option<PeerId>; 2]) -> Identity {
        let trust = through.map(|id| {
            let peer = id.and_then(|id| self.settings.peer(id));
            peer.map(|peer| peer.terms.trust)
        });
        match trust {
            [Some(Trust::Keep), Some(Trust::Keep)] => Identity::Shown,
            [Some(Trust::Strip), _] | [_, Some(Trust::Strip)] => Identity::Hidden,
            [None, _] | [_, None] => Identity::Private,
        }
    }
}

/// Whose leg this side is, unless he has left it.
fn party(parties: &Parties, side: Side) -> Option<&Aor> {
    let user = match side {
        Side::A => &parties.caller,
        Side::B => &parties.callee,
    };
    user.as_ref().filter(|_| !parties.left.contains(side))
}

/// RFC 3325 §9.3: whether the identity is not to be shown outside.
pub(super) fn is_private(message: &Message<'_>) -> bool {
    message.fields(Name::Privacy).any(asks_for_privacy)
}

fn asks_for_privacy(privacy: &[u8]) -> bool {
    let mut asked = privacy.split(|byte| matches!(byte, b';' | b','));
    asked.any(|asked| asked.trim_ascii().eq_ignore_ascii_case(b"id"))
}
