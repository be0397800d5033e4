//! Where the peers with names are: what DNS has said becomes their servers.
//!
//! Spec: RFC 3263 §4.

use crate::cc::trust::PeerId;
use crate::routing::locate::{Families, locate};
use crate::routing::names::{Answer, Failed, Missing, Names, Question};
use crate::routing::targets::Located;
use crate::shard::Shard;
use crate::shard::settings::Peer;
use crate::shard::ways::index_of;
use crate::time::Timestamp;

/// What is known of the peers with names.
#[derive(Debug, Default)]
pub(super) struct Directory {
    pub(super) names: Names,
    /// Why a peer, by its index, has no server or not all of them.
    missing: Vec<Option<Missing>>,
    /// What of it has been said in the log.
    told: Vec<Option<Missing>>,
    /// The question that is handed out.
    pub(super) asking: Option<Question>,
}

impl Shard {
    /// Finds the servers of every peer with a name, and asks for what is not known.
    pub(super) fn relocate(&mut self, now: Timestamp) {
        let families = Families {
            v4: self.settings.listeners.iter().any(|it| it.bind.is_ipv4()),
            v6: self.settings.listeners.iter().any(|it| it.bind.is_ipv6()),
        };
        self.directory.names.begin();
        let mut found = Vec::new();
        for (id, peer) in self.settings.peers().filter(|(_, peer)| peer.has_names()) {
            found.push((id, find(&mut self.directory.names, now, peer, families)));
        }
        for (id, (located, missing)) in found {
            self.settle_peer(now, id, &located, missing);
        }
        self.probes.begin(now, &self.settings);
        if !self.lot.is_empty() {
            self.unpark(now);
        }
    }

    /// What DNS said.
    pub(super) fn on_resolved(
        &mut self,
        now: Timestamp,
        question: &Question,
        reply: Result<&Answer, Failed>,
    ) {
        if reply.is_err() {
            tracing::debug!(%question, "DNS gave no answer");
        }
        if self.directory.names.on_reply(now, question, reply) {
            self.relocate(now);
        }
    }

    /// Asks again for what ends, and gives up what is not answered.
    pub(super) fn run_names(&mut self, now: Timestamp) {
        if self.directory.names.handle_timeout(now) {
            self.relocate(now);
        }
    }

    /// Whether DNS has yet to answer about some peer.
    pub(super) fn is_looking_up(&self) -> bool {
        self.directory.missing.contains(&Some(Missing::Pending))
    }

    /// Why no server of a peer is known.
    pub(super) fn missing(&self, id: PeerId) -> Missing {
        let missing = self.directory.missing.get(index_of(id)).copied();
        missing.flatten().unwrap_or(Missing::Nowhere)
    }

    fn settle_peer(
        &mut self,
        now: Timestamp,
        id: PeerId,
        located: &[Located],
        missing: Option<Missing>,
    ) {
        let index = index_of(id);
        let Directory {
            missing: known,
            told,
            ..
        } = &mut self.directory;
        known.resize(known.len().max(index + 1), None);
        told.resize(told.len().max(index + 1), None);
        if let Some(known) = known.get_mut(index) {
            *known = missing;
        }
        let is_pending = missing == Some(Missing::Pending);
        let told = told.get_mut(index).filter(|_| !is_pending);
        let is_news = told.is_some_and(|told| std::mem::replace(told, missing) != missing);
        let is_located = self.targets.is_located(index);
        // While the rest of a new answer is asked for, the old one holds.
        if is_pending && is_located {
            return;
        }
        let has_changed = self.targets.relocate(now, index, located);
        let peer = self.settings.peer(id).map_or("", |peer| &*peer.name);
        match missing {
            Some(why @ (Missing::Nowhere | Missing::Silent)) if is_news => {
                let why = match why {
                    Missing::Silent => "no answer from DNS",
                    Missing::Nowhere | Missing::Pending => "DNS does not know it",
                };
                tracing::warn!(peer, why, "a name of the peer leads nowhere");
            }
            Some(_) | None if has_changed => {
                let of_peer = self.targets.all().filter(|told| told.peer == index);
                let servers: Vec<_> = of_peer.map(|told| told.server.to_string()).collect();
                tracing::info!(peer, servers = servers.join(" "), "peer is found");
            }
            Some(_) | None => {}
        }
    }
}

/// The servers of a peer, and why some are missing.
fn find(
    names: &mut Names,
    now: Timestamp,
    peer: &Peer,
    families: Families,
) -> (Vec<Located>, Option<Missing>) {
    let mut located = Vec::new();
    let mut missing = None;
    for (index, place) in peer.places.iter().enumerate() {
        match locate(names, now, place, families) {
            Ok(servers) => located.extend(servers.into_iter().map(|(server, rank)| Located {
                place: index,
                server,
                rank,
            })),
            // What may yet come decides whether anybody waits.
            Err(Missing::Pending) => missing = Some(Missing::Pending),
            Err(why) => missing = missing.or(Some(why)),
        }
    }
    (located, missing)
}
