//! Which listener faces whom, and which peer is at the other end of a flow.
//!
//! Spec: RFC 5922 §7.4; RULES R11, R13.
//!
//! A peer that we reach by TLS is known on connections of TLS alone: by its certificate where one
//! was shown, else by its address. All others are known by their address.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::cc::trust::PeerId;
use crate::shard::Shard;
use crate::shard::settings::Peer;
use crate::sip::flow::{ConnectionId, Flow, ListenerId, Transport};
use crate::tls::{Proof, names};

/// Whose connections they are whose other end has shown a certificate; `None` is no peer's.
pub(super) type Proven = BTreeMap<ConnectionId, Option<PeerId>>;

impl Shard {
    /// The peer that a message by this flow is from.
    pub(super) fn peer_of(&self, flow: &Flow) -> Option<(PeerId, &Peer)> {
        // S-193
        let proven = flow.connection.and_then(|id| self.proven.get(&id));
        if let Some(proven) = proven {
            let id = (*proven)?;
            return self.settings.peer(id).map(|peer| (id, peer));
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
        let is_shown = |peer: &Peer| {
            let proof = peer.proof.as_deref();
            proof.is_some_and(|proof| shown.iter().any(|name| names::is_same(name, &proof.name)))
        };
        let peer = self.settings.peers().find(|(_, peer)| is_shown(peer));
        let peer = peer.map(|(id, _)| id);
        self.proven.insert(connection, peer);
    }

    /// Requests on it time out or are answered elsewhere; bindings fall back to Contact.
    pub(super) fn on_disconnected(&mut self, flow: &Flow) {
        if let Some(connection) = flow.connection {
            self.proven.remove(&connection);
        }
        self.registrar.handle_disconnected(flow);
    }

    /// R13: the listener that faces this address: the one by which the call came, if it can; and none
    /// else that is for our own calls alone (R4).
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
        let all = (0..=u8::MAX).take(listeners.len()).map(ListenerId);
        let mut found = std::iter::once(came_by).chain(all);
        found.find(fits).unwrap_or(came_by)
    }
}
