//! Places in queues of ours, by the URIs that name them: where a call to one goes.
//!
//! Spec: RFC 6910 §6.4, §10.3; RULES R3, R9.

use smallvec::SmallVec;

use crate::cc::addr;
use crate::cc::id::CceToken;
use crate::completion::{CompletionId, View};
use crate::shard::desk::user_of;
use crate::shard::invite::Routed;
use crate::shard::{Reject, Shard};
use crate::sip::flow::Flow;
use crate::sip::{Request, SipUri, Uri};
use crate::time::Timestamp;

impl Shard {
    /// R3: a place in a queue is called as its caller has called at first: through the PBX, where that
    /// has the callee's phones.
    pub(super) fn route_to_entry(
        &self,
        now: Timestamp,
        (request, flow): (&Request<'_>, &Flow),
        entry: &View<'_>,
    ) -> Result<Routed, Reject> {
        let dialled = Uri::parse(entry.dialled.as_str().as_bytes()).ok();
        let Some(dialled) = dialled.filter(|_| self.edge.is_some()) else {
            return Ok(self.route_home(now, user_of(entry.callee)));
        };
        let original = Request {
            uri: dialled,
            ..*request
        };
        let (peer, way) = self.way_upstream(&original, flow)?;
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
