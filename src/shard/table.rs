//! The route table at work: what it says of a request that came.
//!
//! Spec: RFC 3261 §16.5.

use crate::cc::trust::PeerId;
use crate::routing::table::{Asked, Destination, Refusal, Route, decide, rewritten};
use crate::shard::invite::Routed;
use crate::shard::{Reject, Shard};
use crate::sip::flow::Flow;
use crate::sip::{Request, Uri, unescape};
use crate::time::Timestamp;

impl Shard {
    /// Where the table sends a request; `None` if no route fits. A call for help passes it by, and so
    /// does what a PBX sends to the alias of a phone.
    pub(super) fn by_table(
        &self,
        now: Timestamp,
        request: &Request<'_>,
        flow: &Flow,
    ) -> Option<Result<Routed, Reject>> {
        let routes = &self.settings.routes;
        let for_help = self.is_emergency(request);
        if routes.is_empty() || self.is_from_pbx(flow) || (for_help && !self.settings.is_trunk) {
            return None;
        }
        let route = self.with_asked(request, flow, |asked| Some(decide(routes, asked)?.1))?;
        if for_help && !matches!(route.to, Destination::Peer { .. }) {
            return None;
        }
        Some(self.take_route(now, request, flow, route))
    }

    /// What a request is to the route table.
    pub(super) fn with_asked<R>(
        &self,
        request: &Request<'_>,
        flow: &Flow,
        look: impl FnOnce(&Asked<'_>) -> R,
    ) -> R {
        let sender = self.domains.aor(&request.from.uri);
        let is_registered = |sender| self.registrar.is_registered_at(&sender, flow);
        let user = unescape(user_of(&request.uri));
        look(&Asked {
            user: &user,
            method: request.method.as_str(),
            source: flow.remote.ip(),
            peer: self.peer_of(flow).map(|(id, _)| id.0),
            is_registered: sender.is_some_and(is_registered),
        })
    }

    fn take_route(
        &self,
        now: Timestamp,
        request: &Request<'_>,
        flow: &Flow,
        route: &Route,
    ) -> Result<Routed, Reject> {
        match &route.to {
            Destination::Refused(refusal) => Err(match refusal {
                Refusal::Declined => Reject::RouteDeclines,
                Refusal::Forbidden => Reject::RouteForbids,
                Refusal::NotFound => Reject::UserUnknown,
            }),
            Destination::Users => {
                let callee = self.domains.aor(&request.uri).ok_or(Reject::UserUnknown)?;
                let is_known = self.registrar.is_known(&callee);
                let home = self.route_home(now, callee);
                match home.ways.is_empty() {
                    false => Ok(home),
                    true if is_known => Err(Reject::UserUnregistered),
                    true => Err(Reject::UserUnknown),
                }
            }
            Destination::Peer {
                peer,
                strip,
                prefix,
            } => {
                let peer = PeerId(*peer);
                let (asked, user) = (request.uri.text(), user_of(&request.uri));
                let uri = rewritten(asked, user, *strip, prefix);
                let uri = Uri::parse(&uri).map_err(|_| Reject::UserUnknown)?;
                let way = self.way_at(peer, &uri, flow.listener, request.call_id)?;
                Ok(Routed {
                    ways: std::iter::once(way).collect(),
                    callee: None,
                    peer: Some(peer),
                })
            }
        }
    }
}

/// Who is called, as the URI has it.
fn user_of<'m>(uri: &Uri<'m>) -> &'m [u8] {
    match uri {
        Uri::Sip(uri) => uri.user.unwrap_or_default(),
        Uri::Tel(uri) => uri.number,
        Uri::Urn(_) | Uri::Other(_) => b"",
    }
}
