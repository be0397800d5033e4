//! The ways to others: to the phones of a user of ours, and to the servers of a peer.
//!
//! Spec: RFC 3263 §4; RFC 3261 §16.6; RULES R3, R7.

use std::net::IpAddr;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::call::{self, Target};
use crate::cc::trust::PeerId;
use crate::dialog::Reach;
use crate::location::{self, Aor};
use crate::relay;
use crate::routing::names::Missing;
use crate::routing::targets::Located;
use crate::routing::{Change, Place, Policy, Server, Targets};
use crate::shard::settings::Peer;
use crate::shard::sources::is_source;
use crate::shard::{Reject, Settings, Shard, subscriptions};
use crate::sip::flow::{Flow, ListenerId, Transport};
use crate::sip::{Request, Uri};
use crate::table::Key;
use crate::time::Timestamp;
use crate::transaction::User;
use crate::transaction::fallback::{Fallback, Hop, ServerFailed, Trouble};
use crate::transaction::login::{Login, Proven};

/// A target with a Request-URI of its own.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) uri: SmallVec<[u8; 64]>,
    pub(super) flow: Flow,
    pub(super) reach: Reach,
    /// Where else the request may go.
    pub(super) others: Option<Box<Fallback>>,
}

pub(super) type Ways = SmallVec<[Way; 1]>;

impl From<location::Target<'_>> for Way {
    fn from(target: location::Target<'_>) -> Self {
        Self {
            uri: SmallVec::from_slice(target.uri),
            flow: target.flow,
            reach: if target.is_nat {
                Reach::Flow
            } else {
                Reach::Address
            },
            others: None,
        }
    }
}

impl Way {
    /// The same for a request of our own, which proves itself by this account.
    pub(super) fn with_login(mut self, login: Option<Arc<Login>>) -> Self {
        let Some(login) = login else {
            return self;
        };
        match &mut self.others {
            Some(others) => others.login = Some(login),
            None => self.others = Some(Box::new(Fallback::of_login(login))),
        }
        self
    }
}

/// The ways as a call takes them.
pub(super) fn targets(ways: &Ways) -> SmallVec<[Target<'_>; 1]> {
    ways.iter()
        .map(|way| Target {
            uri: &way.uri,
            flow: way.flow,
            reach: way.reach,
            others: way.others.as_deref(),
        })
        .collect()
}

/// S-30: who asks for TLS gets no other way.
pub(super) fn keep_secure(uri: &Uri<'_>, ways: &mut Ways) -> Result<(), Reject> {
    if !matches!(uri, Uri::Sip(uri) if uri.secure) {
        return Ok(());
    }
    let by_tls = |way: &mut Way| {
        if let Some(others) = &mut way.others {
            let hops = &mut others.hops;
            hops.retain(|hop| hop.flow.transport == Transport::Tls);
        }
        way.flow.transport == Transport::Tls
    };
    ways.retain(by_tls);
    if ways.is_empty() {
        return Err(Reject::NoSecureWay);
    }
    Ok(())
}

/// The servers that need no look-up.
pub(super) fn targets_of(settings: &Settings, now: Timestamp) -> Targets {
    let mut policies = Vec::new();
    for (id, peer) in settings.peers() {
        policies.resize(index_of(id) + 1, Policy::default());
        if let Some(policy) = policies.get_mut(index_of(id)) {
            *policy = peer.policy;
        }
    }
    let mut targets = Targets::new(policies);
    for (id, peer) in settings.peers() {
        targets.relocate(now, index_of(id), &fixed(peer));
    }
    targets
}

fn fixed(peer: &Peer) -> Vec<Located> {
    let places = peer.places.iter().enumerate();
    let located = places.filter_map(|(place, it)| {
        let (transport, remote) = it.fixed()?;
        let server = Server { transport, remote };
        let rank = crate::routing::srv::Rank::default();
        Some(Located {
            place,
            server,
            rank,
        })
    });
    located.collect()
}

/// A peer's place among the targets.
pub(super) fn index_of(id: PeerId) -> usize {
    usize::try_from(id.0).unwrap_or(usize::MAX)
}

impl Shard {
    pub(super) fn ways_to(&self, now: Timestamp, callee: &Aor) -> Ways {
        self.registrar.targets(now, callee).map(Way::from).collect()
    }

    /// The peer whose requests come from this address, from whatever port.
    pub(super) fn peer_at(&self, source: IpAddr) -> Option<(PeerId, &Peer)> {
        let Some(index) = self.targets.peer_at(source) else {
            return self.settings.peer_near(source);
        };
        let id = PeerId(u32::try_from(index).ok()?);
        Some((id, self.settings.peer(id)?))
    }

    /// The way to the PBX behind us; nobody has the user if there is none.
    pub(super) fn way_upstream(
        &self,
        request: &Request<'_>,
        flow: &Flow,
    ) -> Result<(PeerId, Way), Reject> {
        let upstream = Settings::UPSTREAM;
        if self.settings.upstream.is_none() {
            return Err(Reject::UserUnknown);
        }
        let came_by = self.relayed_by(flow.listener);
        let way = self.way_at(upstream, &request.uri, came_by, request.call_id)?;
        Ok((upstream, way))
    }

    /// R4: nothing that is relayed leaves from the address of our own calls, wherever it came in.
    pub(super) fn relayed_by(&self, came_by: ListenerId) -> ListenerId {
        if self.settings.own_calls == Some(came_by) {
            ListenerId(0)
        } else {
            came_by
        }
    }

    /// A way to a peer, whatever the URI says (R7).
    pub(super) fn way_to_peer(&self, peer: PeerId, uri: &[u8]) -> Option<Way> {
        let asked = Uri::parse(uri).ok()?;
        self.way_at(peer, &asked, ListenerId(0), uri).ok()
    }

    /// The same for a request of our own.
    pub(super) fn logged_in(&self, peer: PeerId, way: Way) -> Way {
        way.with_login(self.settings.login_at(peer))
    }

    /// The way to a peer: to its first server that is up, and from there to the others.
    ///
    /// The Request-URI goes on as the phone wrote it (R3), unless it names us as registrar: then the
    /// peer is meant. Among servers of the same rank, `key` decides: what has the same one goes to the same
    /// server, such as a request that is repeated with credentials under its Call-ID.
    pub(super) fn way_at(
        &self,
        peer: PeerId,
        asked: &Uri<'_>,
        came_by: ListenerId,
        key: &[u8],
    ) -> Result<Way, Reject> {
        let index = index_of(peer);
        let settings = self.settings.peer(peer).ok_or(Reject::UserUnknown)?;
        let digester = self.layer.digester();
        let chosen = self
            .targets
            .choose(index, || digester.stateless_tag(&[key]));
        let Some((first, others)) = chosen.split_first() else {
            return Err(match self.missing(peer) {
                Missing::Nowhere => Reject::NameUnknown,
                Missing::Pending | Missing::Silent => Reject::NameUnresolved,
            });
        };
        let flow = self.flow_to(first.server, came_by);
        let way = Way {
            uri: self.uri_at(settings.places.get(first.place), first.server, asked),
            flow,
            reach: Reach::Address,
            others: None,
        };
        if others.is_empty() {
            return Ok(way);
        }
        let hops = others.iter().map(|other| {
            let flow = self.flow_to(other.server, came_by);
            let uri = self.uri_at(settings.places.get(other.place), other.server, asked);
            let contact = self.contacts.of(&flow);
            Hop {
                flow,
                uri: (uri != way.uri).then(|| Box::from(&*uri)),
                contact: (contact != self.contacts.of(&way.flow)).then(|| Box::from(contact)),
                is_same: false,
            }
        });
        let fallback = Fallback {
            hops: hops.collect(),
            patience: self.targets.patience(index),
            login: None,
        };
        Ok(Way {
            others: Some(Box::new(fallback)),
            ..way
        })
    }

    fn uri_at(&self, place: Option<&Place>, server: Server, asked: &Uri<'_>) -> SmallVec<[u8; 64]> {
        let mut uri = SmallVec::from_slice(asked.text());
        if let Uri::Sip(asked) = asked
            && self.domains.is_own(asked)
            && self.edge.is_none()
        {
            let is_secure = place.is_some_and(|place| place.secure);
            let scheme: &[u8] = if is_secure { b"sips:" } else { b"sip:" };
            uri.clear();
            uri.extend_from_slice(scheme);
            if let Some(user) = asked.user {
                uri.extend_from_slice(user);
                uri.push(b'@');
            }
            match place.filter(|place| place.fixed().is_none()) {
                // RFC 3263 §4: the name is what the servers behind it know themselves by.
                Some(name) => uri.extend_from_slice(name.host_port().as_bytes()),
                None => uri.extend_from_slice(server.remote.to_string().as_bytes()),
            }
            uri.extend_from_slice(asked.params.text());
        }
        uri
    }

    pub(super) fn flow_to(&self, server: Server, came_by: ListenerId) -> Flow {
        Flow {
            transport: server.transport,
            listener: self.listener_towards(server.transport, server.remote.ip(), came_by),
            remote: server.remote,
            connection: None,
        }
    }

    /// S-101: takes in which servers failed, and tells the calls whose requests have gone on.
    pub(super) fn heed_servers(&mut self, now: Timestamp) {
        while let Some(failed) = self.layer.poll_server_failed() {
            self.on_server_failed(now, failed);
        }
    }

    /// R4: takes in which of our own requests were asked for credentials.
    pub(super) fn heed_challenges(&mut self, now: Timestamp) {
        while let Some(proven) = self.layer.poll_proven() {
            match proven {
                Proven::Repeated {
                    user,
                    client,
                    number,
                } => {
                    self.counters.requests_proven += 1;
                    if let Some(user) = user {
                        self.on_proven_request(now, user, (client, number));
                    }
                }
                Proven::Refused => {
                    self.counters.credentials_refused += 1;
                    tracing::warn!(
                        "a request of our own was not let in by the upstream: see own_calls.user"
                    );
                }
            }
        }
    }

    fn on_proven_request(&mut self, now: Timestamp, user: User, (client, number): (Key, u32)) {
        if call::has_part(user.part) {
            self.with_call(now, user.call, |call, _| {
                call.handle_proven(user.part, client, number);
            });
        } else if is_source(user) {
            self.on_source_proven(user.call, number);
        } else if subscriptions::Part::of(user.part).is_some() {
            // A PUBLISH may be within the same dialog.
            self.on_subscribe_proven(user.call, number);
        }
    }

    fn on_server_failed(&mut self, now: Timestamp, failed: ServerFailed) {
        let (why, retry_after) = match failed.trouble {
            Trouble::Silent => (Change::Silent, None),
            Trouble::Unavailable { retry_after } => (Change::Unavailable, retry_after),
            Trouble::Unreachable => (Change::Unreachable, None),
        };
        let Flow {
            transport, remote, ..
        } = failed.flow;
        let server = Server { transport, remote };
        let told = if failed.had_choice {
            self.targets.on_failed(now, server, why, retry_after)
        } else {
            self.targets.on_only_one_failed(now, server, why)
        };
        if let Some(happening) = told {
            self.note_health(now, &happening);
        }
        let Some((user, client, flow)) = failed.moved else {
            return;
        };
        self.counters.requests_moved_on += 1;
        // All others know their requests by the part alone.
        if call::has_part(user.part) {
            self.with_call(now, user.call, |call, _| {
                call.handle_moved(user.part, client, flow);
            });
        } else if is_source(user) {
            self.on_source_moved(user.call, &flow);
        } else if let Some(relay::Part::Opening(target)) = relay::Part::of(user.part) {
            self.on_opening_moved(now, (user.call, target), &flow);
        } else if subscriptions::Part::of(user.part) == Some(subscriptions::Part::Subscription) {
            self.on_subscribe_moved(user.call, &flow);
        }
    }
}
