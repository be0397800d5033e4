//! Places in queues of ours, by the URIs that name them: where a call to one goes.
//!
//! Spec: RFC 6910 §6.4, §10.3; RULES R3, R9.

use smallvec::SmallVec;

use crate::cc::addr;
use crate::cc::id::CceToken;
use crate::cc::offer::{self, Named};
use crate::completion::{CompletionId, View};
use crate::shard::desk::{name_of, user_of};
use crate::shard::invite::{Arrived, Routed};
use crate::shard::offer::About;
use crate::shard::{Parties, Reject, Shard};
use crate::sip::flow::Flow;
use crate::sip::{Request, SipUri, Uri};
use crate::table::Key;
use crate::time::Timestamp;

/// How a call is known to complete another one, the surest first.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Sign {
    /// It goes to the name of a place in a queue.
    Uri,
    /// It goes to what was dialled at first, with that name beside it, or as his phone was told.
    Param,
    /// Its caller's turn has come, and he calls the callee.
    Pair,
}

/// A call that completes another one.
pub(super) struct CcCall {
    pub(super) id: CompletionId,
    pub(super) routed: Routed,
    pub(super) sign: Sign,
}

/// A CC call that its caller has made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Made {
    /// Its slot, once it has one.
    pub(super) key: Option<Key>,
    sign: Sign,
}

impl Shard {
    /// CC-22: the request of whom a URI of ours names, and where a call to it goes; nobody but its
    /// owner finds anything there. `None`: it names nothing of that kind.
    pub(super) fn cc_call_to_named(
        &self,
        now: Timestamp,
        (request, flow): (&Request<'_>, &Flow),
        caller: Option<&addr::Aor>,
    ) -> Result<Option<(CompletionId, Routed)>, Reject> {
        let uri = request.uri.as_sip();
        let user = uri.and_then(|uri| str::from_utf8(uri.user?).ok());
        let Some(named) = user.and_then(offer::named_by) else {
            return Ok(None);
        };
        if !uri.is_some_and(|uri| self.domains.is_own(&uri)) {
            return Ok(None);
        }
        let service = &self.desk.service;
        let entry = match named {
            Named::Entry(cce) => service.entry(cce),
            Named::Offer(token) => match service.offered(token) {
                Some((caller, callee)) => {
                    let id = service.recognise(&caller, &callee);
                    id.and_then(|id| service.view(id))
                }
                // Somebody may be called so.
                None => return Ok(None),
            },
        };
        let entry = entry.filter(|entry| caller == Some(entry.caller));
        let entry = entry.ok_or(Reject::UserUnknown)?;
        let routed = self.route_to_entry(now, (request, flow), &entry)?;
        Ok(Some((entry.id, routed)))
    }

    /// Whether this is the CC call of a request, and where it goes: by the cc-URI, or because it is
    /// the caller's turn. The URI of an entry that is not his own is nobody's.
    pub(super) fn cc_call_of(
        &self,
        now: Timestamp,
        arrived: &Arrived<'_>,
    ) -> Result<Option<CcCall>, Reject> {
        let Arrived { request, flow, .. } = arrived;
        let Uri::Sip(uri) = request.uri else {
            return Ok(None);
        };
        let service = &self.desk.service;
        let named = self.cc_call_to_named(now, (request, flow), arrived.name.as_ref())?;
        if let Some((id, routed)) = named {
            let sign = Sign::Uri;
            return Ok(Some(CcCall { id, routed, sign }));
        }
        let Some(name) = arrived
            .name
            .as_ref()
            .filter(|_| service.counts().completions > 0 || self.is_connecting())
            // R5: who waits with this call goes on with it.
            .filter(|_| !self.has_camped(request, flow))
        else {
            return Ok(None);
        };
        // R1: whose number it is.
        let callee = self.domains.aor(&request.uri);
        let callee = callee.map(|callee| self.owner_of(&callee).unwrap_or(callee));
        let Some(callee) = callee else {
            return Ok(None);
        };
        let by_name = self.referred_to(name, &request.uri);
        let by_name = by_name.or_else(|| self.named_entry(name, &uri));
        let by_pair = || Some((service.recognise(name, &name_of(&callee))?, Sign::Pair));
        let found = by_name.map(|id| (id, Sign::Param)).or_else(by_pair);
        let Some((id, sign)) = found else {
            return Ok(None);
        };
        let routed = self.route(now, request, flow, Some(callee.clone()));
        let routed = routed.unwrap_or_else(|_| self.route_home(now, callee));
        Ok(Some(CcCall { id, routed, sign }))
    }

    /// Whether the CC call of that request is under way already. One that was taken for it, for want
    /// of a name, gives way to one that bears it and gets through (CC-22).
    pub(super) fn is_beside(&self, cc_call: &CcCall) -> bool {
        let Some(made) = self.cc_call_made(cc_call.id) else {
            return false;
        };
        let is_surer = made.sign == Sign::Pair && cc_call.sign != Sign::Pair;
        !is_surer || self.barrier(&cc_call.routed).is_some()
    }

    /// A call of the same caller's beside his CC call: a call as any other, and no word on how the
    /// first one fares, unless it gets through to the callee.
    pub(super) fn on_call_beside(
        &mut self,
        now: Timestamp,
        arrived: Arrived<'_>,
        cc_call: CcCall,
    ) -> Result<(), Reject> {
        match cc_call.sign {
            Sign::Param | Sign::Pair => return self.on_plain_call(now, arrived),
            Sign::Uri => {}
        }
        if let Some(reject) = self.barrier(&cc_call.routed) {
            return self.refuse_call(now, &arrived, About::Nothing, reject);
        }
        let Routed { ways, callee, .. } = cc_call.routed;
        let parties = Parties {
            caller: arrived.caller,
            callee,
            ..Parties::default()
        };
        let about = About::Beside(cc_call.id);
        self.start_call(now, arrived.request, arrived.flow, &ways, (parties, about))
    }

    /// What keeps a call from ringing anybody.
    pub(super) fn barrier(&self, routed: &Routed) -> Option<Reject> {
        if routed.ways.is_empty() {
            return Some(Reject::UserUnregistered);
        }
        let is_full = routed.callee.as_ref().is_some_and(|it| self.is_full(it));
        is_full.then_some(Reject::UserBusy)
    }

    /// A CC call begins that its caller makes.
    pub(super) fn begin_cc_call(&mut self, cc_call: &CcCall) {
        let before = self.cc_call_made(cc_call.id).and_then(|made| made.key);
        if let Some(held) = before.and_then(|key| self.calls.get_mut(key)) {
            held.about = About::Nothing;
        }
        let made = Made {
            key: None,
            sign: cc_call.sign,
        };
        self.desk.cc_calls.insert(cc_call.id, made);
    }

    /// The CC call of a request that is under way, if its caller has made it himself.
    fn cc_call_made(&self, id: CompletionId) -> Option<Made> {
        let made = *self.desk.cc_calls.get(&id)?;
        self.desk.service.is_called(id).then_some(made)
    }

    /// R3: a place in a queue is called as its caller has called at first: through the PBX, where that
    /// has the callee's phones.
    pub(super) fn route_to_entry(
        &self,
        now: Timestamp,
        (request, flow): (&Request<'_>, &Flow),
        entry: &View<'_>,
    ) -> Result<Routed, Reject> {
        let dialled = Uri::parse(entry.dialled.as_bytes()).ok();
        let callee = user_of(entry.callee);
        let behind = self.sources.peer_of(&callee);
        let behind = behind.filter(|_| self.is_behind(&callee));
        let is_elsewhere = self.edge.is_some() || behind.is_some();
        let Some(dialled) = dialled.filter(|_| is_elsewhere) else {
            return Ok(self.route_home(now, callee));
        };
        let original = Request {
            uri: dialled,
            ..*request
        };
        let (peer, way) = match behind {
            Some(peer) => {
                let way = self.way_at(peer, &dialled, flow.listener, request.call_id)?;
                (peer, way)
            }
            None => self.way_upstream(&original, flow)?,
        };
        Ok(Routed {
            ways: SmallVec::from_iter([way]),
            callee: None,
            peer: Some(peer),
        })
    }

    /// R9: the entry that a `cce` parameter names, if it is the caller's turn.
    pub(super) fn named_entry(&self, caller: &addr::Aor, uri: &SipUri<'_>) -> Option<CompletionId> {
        let cce = str::from_utf8(uri.params.value("cce")?).ok()?;
        let id = self.desk.service.recognise_token(cce.parse().ok()?)?;
        let view = self.desk.service.view(id)?;
        let dialled = Uri::parse(view.dialled.as_bytes()).ok()?;
        let is_his = view.caller == caller && dialled.is_equivalent(&Uri::Sip(*uri));
        is_his.then_some(id)
    }

    /// R3: a phone of the PBX's dials what it has dialled at first, with the name of its place: the PBX
    /// asks for its credentials, and those are for a Request-URI.
    pub(super) fn phone_dials(&self, flow: &Flow, cce: CceToken) -> Option<addr::AddrSpec> {
        if self.edge.is_none() || self.peer_of(flow).is_some() {
            return None;
        }
        let entry = self.desk.service.entry(cce)?;
        let dialled = addr::AddrSpec::new(entry.dialled).ok()?;
        Some(dialled.with_cce(cce))
    }

    /// The place in a queue of ours that a `cce` parameter names.
    pub(super) fn entry_in(&self, uri: &SipUri<'_>) -> Option<CceToken> {
        let cce = str::from_utf8(uri.params.value("cce")?)
            .ok()?
            .parse()
            .ok()?;
        self.desk.service.entry(cce).map(|entry| entry.cce)
    }
}
