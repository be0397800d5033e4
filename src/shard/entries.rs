//! Places in queues of ours, by the URIs that name them: where a call to one goes.
//!
//! Spec: RFC 6910 §6.4, §10.3; RULES R3, R9.

use smallvec::SmallVec;

use crate::cc::addr;
use crate::cc::id::CceToken;
use crate::cc::offer::{self, Named};
use crate::completion::{CompletionId, View};
use crate::shard::desk::user_of;
use crate::shard::invite::Routed;
use crate::shard::{Reject, Shard};
use crate::sip::flow::Flow;
use crate::sip::{Request, SipUri, Uri};
use crate::time::Timestamp;

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

    /// R3: a place in a queue is called as its caller has called at first: through the PBX, where that
    /// has the callee's phones.
    pub(super) fn route_to_entry(
        &self,
        now: Timestamp,
        (request, flow): (&Request<'_>, &Flow),
        entry: &View<'_>,
    ) -> Result<Routed, Reject> {
        let dialled = Uri::parse(entry.dialled.as_str().as_bytes()).ok();
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
        let dialled = Uri::parse(view.dialled.as_str().as_bytes()).ok()?;
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
        Some(entry.dialled.with_cce(cce))
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
