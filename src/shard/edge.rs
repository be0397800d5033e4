//! Between phones and the PBX that is their registrar: who may send what, and where it goes.
//!
//! Spec: RULES R1, R4, R8, R12.
//!
//! ```text
//!   a registered phone ──► the PBX            out pass: as the phone wrote it
//!   the PBX, an alias  ──► that phone         in pass: over the flow of its registration
//!   another peer       ──► the PBX
//!   anybody else       ──► nobody (403), calls for help excepted
//! ```

use crate::call::Again;
use crate::cc::trust::PeerId;
use crate::location::{Aor, Found, Pseudonyms, Relay};
use crate::random::Rng;
use crate::shard::challenged::Challenged;
use crate::shard::invite::Routed;
use crate::shard::offer::About;
use crate::shard::passes::Passes;
use crate::shard::registration::Registrations;
use crate::shard::ways::Way;
use crate::shard::{Held, Listener, Reject, Settings, Shard};
use crate::sip::flow::Flow;
use crate::sip::{Method, Request, Uri};
use crate::table::Key;
use crate::time::Timestamp;

/// What is kept where the PBX is the registrar.
#[derive(Debug)]
pub(super) struct Edge {
    pub(super) relay: Relay,
    pub(super) registrations: Registrations,
    pub(super) challenged: Challenged,
    pub(super) passes: Passes,
}

/// R8: who sends a request outside of dialogs, by the way it came and not by what it says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Source {
    /// A peer, by its address; the PBX is [`Settings::UPSTREAM`].
    Peer(PeerId),
    /// A phone of this user, over the flow of its registration and in his name.
    Phone(Aor),
    /// Anybody else.
    Stranger,
}

impl Edge {
    pub(super) fn new(settings: &Settings, rng: &mut Rng) -> Option<Box<Self>> {
        let edge = settings.edge.as_ref()?;
        let names = if let Some(secret) = edge.secret {
            Pseudonyms::new(secret)
        } else {
            let first = settings.listeners.first().map(Listener::sent_by);
            Pseudonyms::of_address(&first.unwrap_or_default())
        };
        Some(Box::new(Self {
            relay: Relay::new(names, settings.registrar, edge.expires_max_s),
            registrations: Registrations::new(settings, edge, rng),
            challenged: Challenged::new(settings),
            passes: Passes::default(),
        }))
    }

    /// Goes by other settings from here on; the names of the phones stay.
    pub(super) fn set_settings(&mut self, settings: &Settings) {
        if let Some(edge) = &settings.edge {
            self.relay
                .set_policy(settings.registrar, edge.expires_max_s);
            self.registrations.set_settings(settings, edge);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Timestamp> {
        let all = [
            self.relay.poll_timeout(),
            self.registrations.poll_timeout(),
            self.challenged.poll_timeout(),
        ];
        all.into_iter().flatten().min()
    }
}

impl Shard {
    /// R8: who sends this request.
    pub(super) fn source(&self, flow: &Flow, request: &Request<'_>) -> Source {
        if let Some((peer, _)) = self.peer_of(flow) {
            return Source::Peer(peer);
        }
        match self.domains.aor(&request.from.uri) {
            Some(user) if self.registrar.is_registered_at(&user, flow) => Source::Phone(user),
            Some(_) | None => Source::Stranger,
        }
    }

    /// R4: whether a request outside of dialogs is let in where the PBX is the registrar.
    pub(super) fn check_source(&self, flow: &Flow, request: &Request<'_>) -> Result<(), Reject> {
        let is_open = match request.method {
            // The PBX asks for the password; who answers an ACK has nothing to fear.
            Method::Register | Method::Ack => true,
            // Whether we are there.
            Method::Options => !names_user(&request.uri),
            Method::Bye
            | Method::Cancel
            | Method::Info
            | Method::Invite
            | Method::Message
            | Method::Notify
            | Method::Prack
            | Method::Publish
            | Method::Refer
            | Method::Subscribe
            | Method::Update
            | Method::Other(_) => false,
        };
        if is_open || self.is_emergency(request) {
            return Ok(());
        }
        match self.source(flow, request) {
            Source::Peer(_) | Source::Phone(_) => Ok(()),
            Source::Stranger => Err(Reject::SourceForeign),
        }
    }

    /// Whether the request comes from the PBX whose phones we stand in front of.
    pub(super) fn is_from_pbx(&self, flow: &Flow) -> bool {
        let peer = self.peer_of(flow);
        self.edge.is_some() && peer.is_some_and(|(id, _)| id == Settings::UPSTREAM)
    }

    /// R4: where a request outside of dialogs goes that was let in: from the PBX to the phone that
    /// its alias names, and from all others to the PBX. `None` where we are the registrar.
    pub(super) fn where_to(
        &self,
        now: Timestamp,
        flow: &Flow,
        request: &Request<'_>,
    ) -> Option<Result<Routed, Reject>> {
        let edge = self.edge.as_deref()?;
        if self.is_from_pbx(flow) {
            return Some(self.route_to_alias(now, &edge.relay, &request.uri));
        }
        let found = self.way_upstream(request, flow);
        Some(found.map(|(peer, way)| Routed {
            ways: std::iter::once(way).collect(),
            callee: None,
            peer: Some(peer),
        }))
    }

    /// Over the flow of the registration, to the Contact as the phone wrote it.
    ///
    /// A phone whose flow has gone is not available (480). RFC 5626 has 430 for that, which tells a
    /// proxy to try the instance's other flows; the PBX was told neither flows nor the extension,
    /// and would have to take 430 for a malformed request (RFC 3261 §8.1.3.2).
    fn route_to_alias(
        &self,
        now: Timestamp,
        relay: &Relay,
        uri: &Uri<'_>,
    ) -> Result<Routed, Reject> {
        let uri = uri.as_sip().ok_or(Reject::UserUnknown)?;
        match relay.find(now, &self.registrar, &uri) {
            Found::Phone(user, target) => Ok(Routed {
                ways: std::iter::once(Way::from(target)).collect(),
                callee: Some(user),
                peer: None,
            }),
            Found::Gone(_) => Err(Reject::UserUnregistered),
            Found::Nobody => Err(Reject::UserUnknown),
        }
    }

    /// The user of an alias, whether his phone is there or not.
    pub(super) fn user_of_alias(&self, now: Timestamp, uri: &Uri<'_>) -> Option<Aor> {
        let relay = &self.edge.as_deref()?.relay;
        match relay.find(now, &self.registrar, &uri.as_sip()?) {
            Found::Phone(user, _) | Found::Gone(user) => Some(user),
            Found::Nobody => None,
        }
    }
}

impl Shard {
    /// Acts on what is due between the phones and the PBX.
    pub(super) fn wake_edge(&mut self, now: Timestamp) {
        let Some(edge) = self.edge.as_deref_mut() else {
            return;
        };
        edge.relay.handle_timeout(now);
        while let Some(key) = edge.challenged.poll_over(now) {
            self.calls.discard(key);
        }
        self.on_registers_due(now);
    }

    /// Whether the call was asked for credentials, and its slot is kept for its repetition.
    pub(super) fn keep_challenged(&mut self, now: Timestamp, key: Key, held: &Held) -> bool {
        let is_call = !matches!(held.about, About::Code | About::Recall(_));
        let Some(edge) = self.edge.as_deref_mut() else {
            return false;
        };
        if !held.call.is_challenged() || !is_call {
            return false;
        }
        let digester = self.layer.digester();
        let displaced = edge.challenged.keep(now, digester, (key, &held.call));
        if let Some(displaced) = displaced {
            self.calls.discard(displaced);
        }
        while let Some(key) = edge.challenged.poll_over(now) {
            self.calls.discard(key);
        }
        self.counters.calls_challenged += 1;
        true
    }

    /// The slot of the challenged call that this INVITE repeats.
    pub(super) fn take_challenged(
        &mut self,
        request: &Request<'_>,
        flow: &Flow,
    ) -> Option<(Key, Again)> {
        let edge = self.edge.as_deref_mut()?;
        edge.challenged.take(self.layer.digester(), request, flow)
    }
}

/// Whether the Request-URI is more than the address of a host.
pub(super) fn names_user(uri: &Uri<'_>) -> bool {
    match uri {
        Uri::Sip(uri) => uri.user.is_some(),
        Uri::Tel(_) | Uri::Urn(_) | Uri::Other(_) => true,
    }
}
