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

use std::borrow::Cow;
use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::call::Again;
use crate::cc::trust::PeerId;
use crate::completion::{Input, Lost};
use crate::location::{Alias, Aor, Found, Pseudonyms, Relay};
use crate::random::Rng;
use crate::shard::challenged::Challenged;
use crate::shard::invite::Routed;
use crate::shard::keep_alive::KeepAlive;
use crate::shard::notifier::is_anonymous;
use crate::shard::numbers::Numbers;
use crate::shard::offer::About;
use crate::shard::passes::Passes;
use crate::shard::registration::Registrations;
use crate::shard::ways::Way;
use crate::shard::{Held, Listener, Output, Reject, Settings, Shard};
use crate::sip::flow::Flow;
use crate::sip::{Item, Message, Method, Name, NameAddr, Request, Uri, reginfo};
use crate::table::Key;
use crate::time::Timestamp;

/// A request of this length does not go by UDP where the path is not known (RFC 3261 §18.1.1).
const LONG_BYTES: usize = 1300;

/// RFC 3261 §8.1.1.3: the address of somebody who has none to show.
const NOBODY: &[u8] = b"sip:anonymous@anonymous.invalid";

/// What is kept where the PBX is the registrar.
#[derive(Debug)]
pub(super) struct Edge {
    pub(super) relay: Relay,
    pub(super) keep_alive: KeepAlive,
    pub(super) registrations: Registrations,
    pub(super) challenged: Challenged,
    pub(super) passes: Passes,
    pub(super) numbers: Numbers,
    keeps: bool,
    /// What is to be kept over a restart.
    to_keep: VecDeque<Kept>,
    /// The one that was handed out last.
    kept: Option<Kept>,
}

/// An alias, and what is kept of it; nothing when it has gone.
#[derive(Debug)]
struct Kept {
    alias: [u8; Alias::BYTES],
    record: Option<Vec<u8>>,
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
            keep_alive: KeepAlive::new(edge, settings.registrar.aors_max.saturating_mul(2)),
            registrations: Registrations::new(settings, edge, rng),
            challenged: Challenged::new(settings),
            passes: Passes::default(),
            numbers: Numbers::default(),
            keeps: edge.keeps,
            to_keep: VecDeque::new(),
            kept: None,
        }))
    }

    /// Goes by other settings from here on; the names of the phones stay.
    pub(super) fn set_settings(&mut self, settings: &Settings) {
        if let Some(edge) = &settings.edge {
            self.relay
                .set_policy(settings.registrar, edge.expires_max_s);
            self.registrations.set_settings(settings, edge);
            self.keep_alive.set_settings(edge);
        }
    }

    /// Whether registrations outlive the process.
    pub(super) fn keeps(&self) -> bool {
        self.keeps
    }

    pub(super) fn poll_timeout(&self) -> Option<Timestamp> {
        let all = [
            self.relay.poll_timeout(),
            self.registrations.poll_timeout(),
            self.challenged.poll_timeout(),
            self.keep_alive.poll_timeout(),
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
        match self.named_user(request) {
            Some(user) if self.phone_flow(&user, flow, request).is_some() => Source::Phone(user),
            Some(_) | None => Source::Stranger,
        }
    }

    /// The user in whose name a request comes: From's, or of a phone that withholds it, the one that
    /// it tells the PBX alone (RFC 3323 §4.1.1.3, RFC 3325 §9.2).
    pub(super) fn named_user(&self, request: &Request<'_>) -> Option<Aor> {
        let from = &request.from.uri;
        if self.edge.is_none() || !is_anonymous(from) {
            return self.domains.aor(from);
        }
        let names = [Name::PPreferredIdentity, Name::PAssertedIdentity];
        let values = names.into_iter().map(|name| request.message.values(name));
        let mut users = values.flatten().filter_map(|value| {
            let identity = NameAddr::parse(value).ok()?;
            self.domains.aor(&identity.uri)
        });
        users.next()
    }

    /// R12: whether OPTIONS ask for one of the phones, which is there while we are stopping.
    pub(super) fn asks_for_phone(&self, request: &Request<'_>) -> bool {
        let uri = request.uri.as_sip().filter(|_| self.edge.is_some());
        let names_phone = uri.is_some_and(|uri| Alias::parse(&uri).is_some());
        request.method == Method::Options && names_phone
    }

    /// R8: the flow of the user's phone that sends this request; `None` if none of his does.
    ///
    /// A phone that has registered over UDP sends a long request over a stream of its own, as RFC 3261
    /// §18.1.1 tells it to. Such a stream shows its address, which nobody forges; the port is new.
    pub(super) fn phone_flow(
        &self,
        user: &Aor,
        flow: &Flow,
        request: &Request<'_>,
    ) -> Option<Flow> {
        if self.registrar.is_registered_at(user, flow) {
            return Some(*flow);
        }
        self.edge.as_deref()?;
        let is_long = request.message.raw().len() >= LONG_BYTES;
        if !flow.transport.is_reliable() || !is_long {
            return None;
        }
        self.registrar.datagrams_from(user, flow.remote.ip())
    }

    /// R4: whether a request outside of dialogs is let in where we are nobody's registrar.
    pub(super) fn check_source(&self, flow: &Flow, request: &Request<'_>) -> Result<(), Reject> {
        let is_open = match request.method {
            // R11: there is nothing to register at.
            Method::Register if self.settings.is_trunk => return Err(Reject::MethodUnknown),
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
    /// its alias names, and from all others to the PBX; in trunk mode to another peer. `None` where we
    /// are the registrar.
    pub(super) fn where_to(
        &self,
        now: Timestamp,
        flow: &Flow,
        request: &Request<'_>,
    ) -> Option<Result<Routed, Reject>> {
        if self.settings.is_trunk {
            return Some(self.between_peers(flow, request));
        }
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
        while let Some(id) = edge.challenged.poll_unrepeated(now) {
            // R9: nobody waits for a call that does not come.
            let fact = if let Some(asker) = edge.challenged.give_up_camped(id) {
                let call = asker.call;
                self.desk.camps.remove(&call);
                Input::CallLost {
                    call,
                    how: Lost::NotRepeated,
                }
            } else {
                Input::CcCallFailed { id, found: None }
            };
            self.desk.facts.push_back(fact);
        }
        self.on_registers_due(now);
        self.keep_alive(now);
    }

    /// Takes in which phones have come, gone or moved.
    pub(super) fn settle_edge(&mut self, now: Timestamp) {
        let Some(edge) = self.edge.as_deref_mut() else {
            return;
        };
        if !edge.relay.has_changed() {
            return;
        }
        let listeners = bound(&self.settings);
        while let Some(alias) = edge.relay.poll_change() {
            if edge.relay.target(now, &self.registrar, alias).is_some() {
                edge.relay.note_presence(alias, true);
                edge.keep_alive.note(now, alias);
            }
            if edge.keeps {
                let started = self.settings.started.0;
                let place = (&*listeners, started);
                let record = edge.relay.record(now, &self.registrar, alias, place);
                let alias = alias.to_bytes();
                edge.to_keep.push_back(Kept { alias, record });
            }
        }
    }

    /// R12: takes back a registration that was kept before a restart; to be called before the first
    /// input. The PBX may call its phone at once, if it is not on a connection.
    pub fn restore(&mut self, key: &[u8], record: &[u8]) {
        let alias = key.try_into().ok().map(Alias::from_bytes);
        let (Some(edge), Some(alias)) = (self.edge.as_deref_mut(), alias) else {
            return;
        };
        let listeners = bound(&self.settings);
        let place = (&*listeners, self.settings.started.0);
        let registrar = &mut self.registrar;
        if edge.relay.restore(registrar, (alias, record), place) {
            edge.keep_alive.note(Timestamp::START, alias);
            self.counters.registrations_restored += 1;
            let unknown_time = self.settings.completion.service.timing.unknown_time;
            self.users
                .know_nothing_until(Timestamp::START + unknown_time);
        }
    }

    /// The next thing to be kept over a restart, or to be forgotten.
    pub(super) fn poll_kept(&mut self) -> Option<Output<'_>> {
        let edge = self.edge.as_deref_mut()?;
        edge.kept = edge.to_keep.pop_front();
        let Kept { alias, record } = edge.kept.as_ref()?;
        Some(Output::Keep {
            key: alias,
            record: record.as_deref(),
        })
    }

    /// R12, R13: a document about registrations with the Contacts of the phones themselves in the
    /// place of the names under which the PBX knows them; `None` if it has none of those.
    pub(super) fn without_aliases(&self, now: Timestamp, message: &Message<'_>) -> Option<Vec<u8>> {
        let relay = &self.edge.as_deref()?.relay;
        let kind = Item::parse(message.first(Name::ContentType)?).ok()?;
        if !kind.is(reginfo::MEDIA_TYPE) {
            return None;
        }
        let shown = reginfo::map_contacts(message.body(), |uri| {
            let alias = Alias::parse(uri).filter(|_| self.domains.is_own(uri))?;
            let phone = relay.target(now, &self.registrar, alias);
            // Of a phone that has gone, nothing is left to be shown.
            Some(phone.map_or_else(|| NOBODY.to_vec(), |phone| phone.uri.to_vec()))
        });
        match shown {
            Cow::Owned(shown) => Some(shown),
            Cow::Borrowed(_) => None,
        }
    }

    /// Whether the call was asked for credentials, and its slot is kept for its repetition.
    pub(super) fn keep_challenged(&mut self, now: Timestamp, key: Key, held: &mut Held) -> bool {
        let is_call = !matches!(held.about, About::Code | About::Recall(_));
        let Some(edge) = self.edge.as_deref_mut() else {
            return false;
        };
        if !held.call.is_challenged() || !is_call {
            return false;
        }
        let digester = self.layer.digester();
        match std::mem::take(&mut held.about) {
            About::CcCall(id) => {
                self.desk.cc_calls.remove(&id);
                edge.challenged.await_cc_call(now, id);
            }
            About::Asker(asker) => {
                if let Some(id) = asker.invited() {
                    edge.challenged.await_camped(now, id, (key, asker));
                }
            }
            About::Beside(_)
            | About::Camped(_)
            | About::Code
            | About::Inward(_)
            | About::Nothing
            | About::Recall(_) => {}
        }
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

/// The addresses of our listeners, by their ids.
fn bound(settings: &Settings) -> Vec<SocketAddr> {
    settings.listeners.iter().map(|it| it.bind).collect()
}

/// Whether the Request-URI is more than the address of a host.
pub(super) fn names_user(uri: &Uri<'_>) -> bool {
    match uri {
        Uri::Sip(uri) => uri.user.is_some(),
        Uri::Tel(_) | Uri::Urn(_) | Uri::Other(_) => true,
    }
}
