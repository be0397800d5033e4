//! Between peers alone: who may send what, and where it goes.
//!
//! Spec: RFC 3261 §16.5; RULES R4, R11.
//!
//! ```text
//!   the upstream ──► the peer of a route, or the one that the Request-URI names; else nobody (404)
//!   another peer ──► the same; else the upstream
//!   anybody else ──► nobody (403), calls for help excepted
//! ```
//!
//! Nobody registers here. A call for help goes to the other side, whatever a route refuses.

use crate::cc::trust::PeerId;
use crate::shard::invite::Routed;
use crate::shard::settings::Peer;
use crate::shard::{Reject, Settings, Shard};
use crate::sip::Request;
use crate::sip::flow::Flow;
use crate::sip::host::Host;
use crate::sip::uri::SipUri;

impl Shard {
    /// Where a request outside of dialogs goes that no route leads anywhere.
    pub(super) fn between_peers(
        &self,
        flow: &Flow,
        request: &Request<'_>,
    ) -> Result<Routed, Reject> {
        let from = self.peer_of(flow).map(|(id, _)| id);
        let uri = request.uri.as_sip();
        let named = uri.and_then(|uri| self.peer_with_host(&uri, from));
        let to = named.or_else(|| self.other_side(from, request));
        let to = to.ok_or(Reject::UserUnknown)?;
        let came_by = self.relayed_by(flow.listener);
        let way = self.way_at(to, &request.uri, came_by, request.call_id)?;
        Ok(Routed {
            ways: std::iter::once(way).collect(),
            callee: None,
            peer: Some(to),
        })
    }

    /// The peer whose host stands in the URI; nobody is sent back what he sends.
    pub(super) fn peer_with_host(&self, uri: &SipUri<'_>, from: Option<PeerId>) -> Option<PeerId> {
        if self.domains.is_own(uri) {
            return None;
        }
        let is_named = |peer: &Peer| {
            let mut hosts = peer.hosts.iter();
            hosts.any(|host| Host::parse(host.as_bytes()).is_ok_and(|host| host == uri.host))
        };
        let mut others = self.settings.peers().filter(|(id, _)| Some(*id) != from);
        others.find(|(_, peer)| is_named(peer)).map(|(id, _)| id)
    }

    /// The upstream for all others; what the upstream sends needs a route, unless it calls for help.
    fn other_side(&self, from: Option<PeerId>, request: &Request<'_>) -> Option<PeerId> {
        let upstream = Settings::UPSTREAM;
        if self.settings.upstream.is_some() && from != Some(upstream) {
            return Some(upstream);
        }
        let mut others = self.settings.peers().filter(|(id, _)| Some(*id) != from);
        let first = others.next().map(|(id, _)| id);
        first.filter(|_| self.is_emergency(request))
    }
}
