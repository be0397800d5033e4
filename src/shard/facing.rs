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
use crate::shard::settings::{Listener, Peer};
use crate::sip::Request;
use crate::sip::flow::{ConnectionId, Flow, ListenerId, Transport};
use crate::time::Timestamp;
use crate::tls::Proof;
use crate::tls::names::is_same;

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

    /// R22: what may be too long for a datagram goes to a peer by TCP, if it takes that.
    pub(super) fn go_by_tcp(&self, request: &Request<'_>, routed: &mut Routed) {
        // S-24
        if request.message.raw().len() <= DATAGRAM_MAX {
            return;
        }
        let peer = routed.peer.and_then(|id| self.settings.peer(id));
        if !peer.is_some_and(|peer| peer.terms.tcp) {
            return;
        }
        for way in &mut routed.ways {
            let others = way.others.as_mut().map(|others| &mut others.hops);
            let others = others.into_iter().flatten().map(|hop| &mut hop.flow);
            for flow in others.chain([&mut way.flow]) {
                if flow.transport == Transport::Udp {
                    flow.transport = Transport::Tcp;
                }
            }
        }
    }
}
