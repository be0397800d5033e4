//! Which listener faces whom, and which peer is at the other end of a flow.
//!
//! Spec: RFC 5922 §7.4; RULES R11, R13.
//!
//! A peer that we reach by TLS is known on connections of TLS alone: by its certificate where one
//! was shown, else by its address. All others are known by their address.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::cc::trust::PeerId;
use crate::shard::Shard;
use crate::shard::invite::Routed;
use crate::shard::settings::{Listener, Peer, Tcp};
use crate::sip::Request;
use crate::sip::flow::{ConnectionId, Flow, ListenerId, Transport};
use crate::time::Timestamp;
use crate::tls::Proof;
use crate::tls::names::is_same;
use crate::transaction::fallback::{Fallback, Hop};

/// What arrives with at most so many bytes leaves with fewer than 1300: our own Via and Contact are
/// what differs.
const DATAGRAM_MAX: usize = 1300 - 150;

/// The names in the certificates that the other ends of connections have shown.
pub(super) type Proven = BTreeMap<ConnectionId, Box<[Box<str>]>>;

/// How many names of a certificate are looked at.
const NAMES_MAX: usize = 16;

impl Shard {
    /// The peer that a message by this flow is from.
    pub(super) fn peer_of(&self, flow: &Flow) -> Option<(PeerId, &Peer)> {
        // S-193
        let shown = flow.connection.and_then(|id| self.proven.get(&id));
        if let Some(shown) = shown {
            let is_it = |peer: &Peer| {
                let proof = peer.proof.as_deref();
                proof.is_some_and(|proof| shown.iter().any(|name| is_same(name, &proof.name)))
            };
            return self.settings.peers().find(|(_, peer)| is_it(peer));
        }
        let (id, peer) = self.peer_at(flow.remote.ip())?;
        let is_plain = peer.is_secure() && flow.transport != Transport::Tls;
        (!is_plain).then_some((id, peer))
    }

    /// S-192: how whoever this flow leads to has to prove himself, where a connection of TLS is to
    /// be found or opened.
    pub fn proof_of(&self, flow: &Flow) -> Option<Arc<Proof>> {
        if flow.transport != Transport::Tls || flow.connection.is_some() {
            return None;
        }
        let (_, peer) = self.peer_at(flow.remote.ip())?;
        peer.proof.clone()
    }

    pub(super) fn on_proven(&mut self, flow: &Flow, shown: &[Box<str>]) {
        let Some(connection) = flow.connection else {
            return;
        };
        let shown = shown.iter().take(NAMES_MAX).cloned();
        self.proven.insert(connection, shown.collect());
    }

    /// Requests on it time out or are answered elsewhere; bindings fall back to Contact.
    pub(super) fn on_disconnected(&mut self, now: Timestamp, flow: &Flow) {
        if let Some(connection) = flow.connection {
            self.proven.remove(&connection);
        }
        self.registrar.handle_disconnected(flow);
        self.end_camps_over(now, flow);
    }

    /// R13: the listener that faces this address: the one that serves it most closely, else the one
    /// by which the call came, else the first that can reach it and serves nobody in particular. What
    /// is for our own calls alone is for nothing else, and they leave from nowhere else (R4).
    pub(super) fn listener_towards(
        &self,
        transport: Transport,
        to: IpAddr,
        came_by: ListenerId,
    ) -> ListenerId {
        let listeners = &self.settings.listeners;
        let fits = |id: &ListenerId| {
            let listener = listeners.get(usize::from(id.0));
            let is_free = *id == came_by || self.settings.own_calls != Some(*id);
            is_free && listener.is_some_and(|it| it.faces(transport, to))
        };
        // How closely; 0 is whoever comes, and `None` is others than this one.
        let closeness = |listener: &Listener| {
            let serving = listener.serves.iter().filter(|it| it.contains(&to));
            let closest = serving.map(|it| u16::from(it.prefix_len()) + 1).max();
            closest.or_else(|| listener.serves.is_empty().then_some(0))
        };
        if self.settings.own_calls == Some(came_by) && fits(&came_by) {
            return came_by;
        }
        let fitting = (0..).map(ListenerId).zip(listeners);
        let fitting = fitting.filter(|(id, _)| fits(id));
        let best = fitting
            .max_by_key(|(id, listener)| (closeness(listener), *id == came_by, Reverse(*id)));
        best.map_or(came_by, |(id, _)| id)
    }

    /// R22: what may be too long for a datagram goes to a peer by TCP, if it takes that; and by UDP
    /// nevertheless if it turns out not to.
    pub(super) fn go_by_tcp(&self, request: &Request<'_>, routed: &mut Routed) {
        // S-24
        if request.message.raw().len() <= DATAGRAM_MAX {
            return;
        }
        let peer = routed.peer.and_then(|id| self.settings.peer(id));
        let tcp = peer.map_or(Tcp::No, |peer| peer.terms.tcp);
        let takes_tcp = |flow: &Flow| match tcp {
            Tcp::Ask => self.probes.takes_tcp(flow.remote),
            Tcp::No => false,
            Tcp::Yes => true,
        };
        let is_for_tcp = |flow: &Flow| flow.transport == Transport::Udp && takes_tcp(flow);
        for way in &mut routed.ways {
            let others = way.others.take().map(|others| *others);
            let mut others = others.unwrap_or_else(Fallback::none);
            let hops = std::mem::take(&mut others.hops);
            if is_for_tcp(&way.flow) {
                others.hops.push_back(self.same_by_udp(way.flow, None));
                way.flow.transport = Transport::Tcp;
            }
            for mut hop in hops {
                let by_udp = is_for_tcp(&hop.flow);
                let by_udp = by_udp.then(|| self.same_by_udp(hop.flow, hop.uri.clone()));
                if by_udp.is_some() {
                    hop.flow.transport = Transport::Tcp;
                }
                hop.contact = Some(Box::from(self.contacts.of(&hop.flow)));
                others.hops.push_back(hop);
                others.hops.extend(by_udp);
            }
            let is_needed = !others.hops.is_empty() || others.login.is_some();
            way.others = is_needed.then(|| Box::new(others));
        }
    }

    fn same_by_udp(&self, flow: Flow, uri: Option<Box<[u8]>>) -> Hop {
        Hop {
            flow,
            uri,
            contact: Some(Box::from(self.contacts.of(&flow))),
            is_same: true,
        }
    }
}
