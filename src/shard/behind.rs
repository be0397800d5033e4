//! Callers behind a peer whose agent we are: they ask by code, and are called back through that peer.
//!
//! Spec: RFC 6910 §6; RULES R7, R11.
//!
//! ```text
//!   caller      PBX (its callers are ours)        campon          carrier
//!     │ INVITE ──► │ INVITE ──────────────────────► │ INVITE ──────► │
//!     │ ◄──── 486  │ ◄───────────────────────── 486 │ ◄─ 486, offer  │
//!     │ *37# ────► │ INVITE *37# ─────────────────► │ SUBSCRIBE ───► │
//!     │ ◄── INVITE │ ◄────────────────────── INVITE │ ◄────── ready  │
//!     │ 200 ─────► │ 200 ─────────────────────────► │ INVITE ──────► │
//! ```
//!
//! - Who calls is whom the peer names in From, and nobody of ours.
//! - He is rung through the peer that he has asked through, by the address that he had then, and in no
//!   other way: the name of that peer is what stands for his phone.

use crate::cc::trust::PeerId;
use crate::completion::Binding;
use crate::location::Aor;
use crate::shard::Shard;
use crate::shard::desk::user_of;
use crate::shard::recall::uri_of;
use crate::shard::settings::Peer;
use crate::shard::ways::Way;
use crate::sip::Request;
use crate::sip::flow::Flow;

impl Shard {
    /// The caller of a peer's for whom we are agent, and what stands for his phone.
    pub(super) fn caller_behind(
        &self,
        flow: &Flow,
        request: &Request<'_>,
    ) -> Option<(Aor, Binding)> {
        let (_, peer) = self.peer_of(flow).filter(|(_, peer)| peer.is_agent_for)?;
        let has_number = request.from.uri.as_sip()?.user.is_some();
        let name = self
            .caller_name(request, flow, None)
            .filter(|_| has_number)?;
        Some((user_of(&name), binding_of(peer)))
    }

    /// Who may dial a code: a user of ours, or such a caller.
    pub(super) fn dials_codes(
        &self,
        flow: &Flow,
        request: &Request<'_>,
        ours: Option<&Aor>,
    ) -> Option<Aor> {
        let behind = || Some(self.caller_behind(flow, request)?.0);
        ours.cloned().or_else(behind)
    }

    /// What stands for the phone of a caller who is none of ours.
    pub(super) fn binding_behind(
        &self,
        flow: &Flow,
        request: &Request<'_>,
        ours: Option<&Aor>,
    ) -> Option<Binding> {
        let behind = || Some(self.caller_behind(flow, request)?.1);
        ours.is_none().then(behind).flatten()
    }

    /// The way back to such a caller, through the peer that he has asked through.
    pub(super) fn way_behind(&self, caller: &Aor, binding: Binding) -> Option<(PeerId, Way)> {
        let mut peers = self.settings.peers();
        let is_his = |peer: &Peer| peer.is_agent_for && binding_of(peer) == binding;
        let (id, _) = peers.find(|(_, peer)| is_his(peer))?;
        self.check_calls(id).ok()?;
        let uri = uri_of(caller, "");
        Some((id, self.way_of_ours(id, uri.as_bytes())?))
    }
}

/// FNV-1a, 64 bits: the same in each process, whatever stands before it in the configuration.
fn binding_of(peer: &Peer) -> Binding {
    let hash = peer
        .name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    Binding(hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::flow::Transport;

    /// It is kept over a restart.
    #[test]
    fn what_stands_for_a_peer_is_the_same_in_each_process() {
        let peer = |name: &str| {
            let address = "192.0.2.1:5060".parse().expect("an address");
            binding_of(&Peer::new(name, Transport::Udp, address))
        };
        assert_eq!(peer("a"), Binding(0xaf63_dc4c_8601_ec8c));
        assert_ne!(peer("pbx"), peer("carrier"));
    }
}
