//! The CC call of a recall: by which ways the callee is reached, and whose call it is.
//!
//! Spec: RFC 6910 §6.4; RFC 3515; RFC 3725 §4.4; RULES R7, R9, R10, R18.
//!
//! The methods are tried in the order of the configuration until one is under way. A caller who dials
//! by himself meanwhile is not doubled: his call is the one.

use crate::call::{Call, Invitation, Party};
use crate::cc::addr::AddrSpec;
use crate::cc::agent::Why;
use crate::cc::line::Calls;
use crate::cc::monitor::Found;
use crate::cc::trust::PeerId;
use crate::cc::{Condition, addr};
use crate::completion::{self, CompletionId, Input, Via};
use crate::location::Aor;
use crate::shard::Shard;
use crate::shard::desk::user_of;
use crate::shard::passes::Dialled;
use crate::shard::settings::{CcParams, RecallMethod, Settings};
use crate::shard::ways::{Way, Ways, keep_secure, targets};
use crate::sip::Uri;
use crate::table::Key;
use crate::time::Timestamp;

/// A call that rings a caller, and how far it is on the way to his callee.
#[derive(Debug)]
pub(super) struct Rung {
    pub(super) key: Key,
    /// The call that the caller's phone was asked for, once it is seen.
    pub(super) referred: Option<Key>,
    placing: Option<Box<Placing>>,
}

/// A CC call that is wanted.
#[derive(Debug)]
struct Placing {
    cc_call: completion::Call,
    /// How many methods were tried.
    tried: usize,
    /// What the caller's phone was asked to dial.
    refer_to: Option<AddrSpec>,
}

/// What a method has come to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Attempt {
    /// It is under way, or has said all there is to say.
    Made,
    /// It cannot be used here.
    Impossible,
}

impl Rung {
    pub(super) fn new(key: Key) -> Self {
        Self {
            key,
            referred: None,
            placing: None,
        }
    }
}

/// How the callee is reached.
impl Shard {
    /// The caller answered: his callee is called.
    pub(super) fn place_cc_call(&mut self, now: Timestamp, cc_call: &completion::Call) {
        if let Some(rung) = self.desk.recalls.get_mut(&cc_call.id) {
            rung.placing = Some(Box::new(Placing {
                cc_call: cc_call.clone(),
                tried: 0,
                refer_to: None,
            }));
            if !self.begin_announcement(now, cc_call.id) {
                self.place(now, cc_call.id);
            }
        }
    }

    /// Whom the caller of a recall is to be connected with, as he dialled him.
    pub(super) fn dialled_for(&self, id: CompletionId) -> Option<&AddrSpec> {
        let placing = self.desk.recalls.get(&id)?.placing.as_ref()?;
        Some(&placing.cc_call.dialled)
    }

    /// Goes on with the recalls whose last method has come to nothing.
    pub(super) fn place_unplaced(&mut self, now: Timestamp) {
        for id in std::mem::take(&mut self.desk.unplaced) {
            self.place(now, id);
        }
    }

    fn place(&mut self, now: Timestamp, id: CompletionId) {
        let Some(rung) = self.desk.recalls.get_mut(&id) else {
            return;
        };
        let key = rung.key;
        let Some(mut placing) = rung.placing.take() else {
            return;
        };
        let attempt = self.try_methods(now, key, &mut placing);
        if let Some(rung) = self.desk.recalls.get_mut(&id) {
            rung.placing = Some(placing);
        }
        if attempt == Attempt::Impossible {
            self.with_call(now, key, Call::give_up);
        }
    }

    fn try_methods(&mut self, now: Timestamp, key: Key, placing: &mut Placing) -> Attempt {
        while let Some(method) = self.method(&placing.cc_call, placing.tried) {
            placing.tried += 1;
            let attempt = match method {
                RecallMethod::Direct => self.place_direct(now, key, &placing.cc_call),
                RecallMethod::Refer => self.refer(now, key, placing),
                RecallMethod::ThirdParty => self.place_through(now, key, &placing.cc_call),
            };
            if attempt == Attempt::Made {
                return attempt;
            }
        }
        Attempt::Impossible
    }

    fn method(&self, cc_call: &completion::Call, nth: usize) -> Option<RecallMethod> {
        let methods = match cc_call.via {
            Via::Own(_) if self.edge.is_some() => &self.settings.upstream.as_ref()?.recall,
            Via::Own(_) => match self.peer_of_watched(cc_call) {
                Some(peer) => &self.settings.peer(peer)?.recall,
                None => &self.settings.completion.recall_by,
            },
            Via::Peer(peer) => &self.settings.peer(peer)?.recall,
        };
        methods.get(nth).copied()
    }

    /// The peer that a callee of our own queue is behind, and where he is called.
    fn peer_of_watched(&self, cc_call: &completion::Call) -> Option<PeerId> {
        let callee = user_of(&cc_call.callee);
        let peer = self.sources.peer_of(&callee);
        peer.filter(|_| self.is_behind(&callee))
    }

    /// Asks the caller's own phone.
    fn refer(&mut self, now: Timestamp, key: Key, placing: &mut Placing) -> Attempt {
        let uri = self.number_to_dial(&placing.cc_call);
        let text = uri.as_str().as_bytes();
        let is_asked = self.with_call(now, key, |call, turn| call.refer(turn, text));
        if is_asked != Some(true) {
            return Attempt::Impossible;
        }
        let (caller, id) = (placing.cc_call.caller.clone(), placing.cc_call.id);
        self.desk.referring.insert(caller, id);
        placing.refer_to = Some(uri);
        Attempt::Made
    }

    /// R3, R7: the original number, which says that it completes a call where the peer can bear it;
    /// or what the monitor named.
    fn number_to_dial(&self, cc_call: &completion::Call) -> AddrSpec {
        let peer = match cc_call.via {
            Via::Own(_) => match self.peer_of_watched(cc_call) {
                Some(peer) => self.settings.peer(peer),
                None => self.settings.upstream.as_ref(),
            },
            Via::Peer(peer) => self.settings.peer(peer),
        };
        let is_bare = peer.is_some_and(|peer| peer.cc_params == CcParams::LeftOut);
        match cc_call.via {
            _ if is_bare || self.is_connection(cc_call.id) => cc_call.dialled.clone(),
            Via::Own(cce) => cc_call.dialled.with_m(cc_call.condition).with_cce(cce),
            Via::Peer(_) => cc_call.target.clone(),
        }
    }

    /// Rings the callee's registered flows.
    fn place_direct(&mut self, now: Timestamp, key: Key, cc_call: &completion::Call) -> Attempt {
        let Via::Own(_) = cc_call.via else {
            return Attempt::Impossible;
        };
        let callee = user_of(&cc_call.callee);
        let ways = kept_secure(cc_call, self.ways_to(now, &callee));
        if ways.is_empty() {
            return Attempt::Impossible;
        }
        if self.is_full(&callee) {
            self.give_up_cc_call(now, key, cc_call.id);
            return Attempt::Made;
        }
        self.users.engage(&callee);
        if let Some(held) = self.calls.get_mut(key) {
            held.parties.callee = Some(callee);
        }
        self.place_at(now, key, cc_call, &ways)
    }

    /// Calls the callee through the peer that he is behind.
    fn place_through(&mut self, now: Timestamp, key: Key, cc_call: &completion::Call) -> Attempt {
        let peer = match cc_call.via {
            Via::Own(_) => self.peer_of_watched(cc_call).unwrap_or(Settings::UPSTREAM),
            Via::Peer(peer) => peer,
        };
        let uri = self.number_to_dial(cc_call);
        let way = self.way_of_ours(peer, uri.as_str().as_bytes());
        let ways = kept_secure(cc_call, way.into_iter().collect());
        if ways.is_empty() {
            return Attempt::Impossible;
        }
        if let Via::Own(_) = cc_call.via {
            self.open_pass_of_ours(key, user_of(&cc_call.callee));
        }
        self.place_at(now, key, cc_call, &ways)
    }

    /// R1, R9: by the call that comes back to his phones it is known whether it was he who answered.
    fn open_pass_of_ours(&mut self, key: Key, callee: Aor) {
        let Some(held) = self.calls.get_mut(key).filter(|_| self.edge.is_some()) else {
            return;
        };
        held.parties.dialled = Some(Dialled::new(callee));
        let parties = held.parties.clone();
        self.open_pass(&parties, key);
    }

    /// The way of a call of our own to a peer.
    pub(super) fn way_of_ours(&self, peer: PeerId, uri: &[u8]) -> Option<Way> {
        let is_pbx = peer == Settings::UPSTREAM;
        let asked = Uri::parse(uri).ok()?;
        // Help is called with nobody's name but the caller's.
        let is_help = self.is_emergency_uri(&asked);
        let login = self.settings.login_at(peer).filter(|_| !is_help);
        let Some(own) = self.settings.own_calls.filter(|_| is_pbx) else {
            // R4: in front of a registrar, what is ours is known by the address that it leaves from or
            // by its credentials.
            let must_differ = is_pbx && self.edge.is_some();
            let may_leave = login.is_some() || !must_differ;
            let way = self.way_to_peer(peer, uri).filter(|_| may_leave)?;
            return Some(way.with_login(login));
        };
        let mut way = self.way_at(peer, &asked, own, uri).ok()?;
        if let Some(others) = &mut way.others {
            others.hops.retain(|hop| hop.flow.listener == own);
        }
        let way = way.with_login(login);
        (way.flow.listener == own).then_some(way)
    }

    fn place_at(
        &mut self,
        now: Timestamp,
        key: Key,
        cc_call: &completion::Call,
        ways: &Ways,
    ) -> Attempt {
        if let Some(draft) = self.records.draft(key) {
            draft.call(cc_call.from.as_str(), cc_call.dialled.as_str(), ways);
        }
        let targets = targets(ways);
        let to = ways.first().and_then(|way| self.peer_of(&way.flow));
        let to = to.map(|(peer, _)| peer);
        let invitation = Invitation {
            targets: &targets,
            from: Party {
                name: b"",
                uri: cc_call.from.as_str().as_bytes(),
            },
            to: Party {
                name: b"",
                uri: cc_call.dialled.as_str().as_bytes(),
            },
            said: &self.told_of(&cc_call.identity, to),
        };
        self.with_call(now, key, |call, turn| call.place(turn, &invitation));
        Attempt::Made
    }

    /// R20: the callee has as many calls as he may have again.
    fn give_up_cc_call(&mut self, now: Timestamp, key: Key, id: CompletionId) {
        let condition = Condition::Busy;
        let calls = Calls::Engaged;
        self.desk.facts.push_back(Input::CcCallArrived { id });
        self.desk.facts.push_back(Input::CcCallFailed {
            id,
            found: Some(Found { condition, calls }),
        });
        self.with_call(now, key, |call, turn| {
            call.end_recall(turn, b"SIP;cause=486;text=\"Busy Here\"");
        });
    }
}

/// S-30: whoever was dialled by TLS is called by TLS.
fn kept_secure(cc_call: &completion::Call, mut ways: Ways) -> Ways {
    let dialled = Uri::parse(cc_call.dialled.as_str().as_bytes());
    if !dialled.is_ok_and(|uri| keep_secure(&uri, &mut ways).is_ok()) {
        ways.clear();
    }
    ways
}

/// Whose call it is that arrives.
impl Shard {
    /// The request whose caller's phone was asked to dial this URI.
    pub(super) fn referred_to(&self, caller: &addr::Aor, uri: &Uri<'_>) -> Option<CompletionId> {
        let id = *self.desk.referring.get(caller)?;
        let placing = self.desk.recalls.get(&id)?.placing.as_ref()?;
        let wanted = Uri::parse(placing.refer_to.as_ref()?.as_str().as_bytes()).ok()?;
        wanted.is_equivalent(uri).then_some(id)
    }

    /// R9, R10: the caller himself calls: his phone was asked to, or he was quicker than we are.
    pub(super) fn on_own_cc_call(&mut self, now: Timestamp, id: CompletionId) {
        let Some(key) = self.desk.recalls.get(&id).map(|rung| rung.key) else {
            return;
        };
        let Some(held) = self.calls.get_mut(key) else {
            return;
        };
        if held.call.is_referring() {
            self.with_call(now, key, |call, _| call.note_referred());
        } else if held.call.is_placing() {
            // The leg that we had placed makes room for his.
            if let Some(callee) = held.parties.callee.take() {
                self.users.release(now, &callee);
            }
            self.end_recall(now, id, Why::CalledByHand);
        }
    }

    /// R18: what would be withdrawn with the recall.
    pub(super) fn note_cc_call(&mut self, id: CompletionId, key: Key) {
        if let Some(made) = self.desk.cc_calls.get_mut(&id) {
            made.key = Some(key);
        }
        if let Some(rung) = self.desk.recalls.get_mut(&id) {
            rung.referred = Some(key);
        }
    }

    /// A CC call is over: nothing is left to withdraw.
    pub(super) fn forget_cc_call(&mut self, id: CompletionId, key: Key) {
        self.forget_connection(id, key);
        let made = self.desk.cc_calls.get(&id);
        if made.is_some_and(|made| made.key == Some(key)) {
            self.desk.cc_calls.remove(&id);
        }
        if let Some(rung) = self.desk.recalls.get_mut(&id) {
            rung.referred.take_if(|referred| *referred == key);
        }
    }

    /// What the recall itself learns of the call that its caller's phone was asked for.
    pub(super) fn overhear(&mut self, now: Timestamp, fact: &Input) {
        if let Input::CcCallAnswered { id }
        | Input::CcCallDiverted { id }
        | Input::CcCallFailed { id, .. } = fact
        {
            self.desk.cc_calls.remove(id);
            if let Some(rung) = self.desk.recalls.get(id) {
                self.with_call(now, rung.key, |call, turn| call.end_referral(turn));
            }
        }
    }

    /// A recall is over.
    pub(super) fn forget_recall(&mut self, id: CompletionId, key: Key) {
        self.forget_connection(id, key);
        let recalls = &self.desk.recalls;
        if recalls.get(&id).is_some_and(|rung| rung.key == key) {
            self.take_recall(id);
        }
    }

    /// A recall that nobody asks for any more.
    pub(super) fn take_recall(&mut self, id: CompletionId) -> Option<Rung> {
        let rung = self.desk.recalls.remove(&id)?;
        if let Some(placing) = &rung.placing {
            let caller = &placing.cc_call.caller;
            if self.desk.referring.get(caller) == Some(&id) {
                self.desk.referring.remove(caller);
            }
        }
        Some(rung)
    }
}
