//! Whether the servers of peers take TCP: they are asked by OPTIONS over TCP, and those that answer do.
//!
//! Spec: RFC 3261 §11, §18.1.1 (S-24); RULES R22.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use crate::routing::Server;
use crate::shard::Shard;
use crate::shard::settings::{Settings, Tcp};
use crate::sip::flow::{Flow, ListenerId, Transport};
use crate::sip::status::Status;
use crate::table::Key;
use crate::time::Timestamp;
use crate::transaction::User;

/// The part of what is no call but a question whether somebody takes TCP; see [`User::part`].
const PART: u16 = 0x7001;
/// How often they are asked: a PBX that is set up anew is known for what it is soon enough.
const EVERY: Duration = Duration::from_mins(5);

/// Who is asked, and who has answered.
#[derive(Debug, Default)]
pub(super) struct Probes {
    /// When all are asked again; `None` where nobody is to be asked.
    due: Option<Timestamp>,
    last: u64,
    /// Those that wait for their answer, by number, with their transactions.
    waiting: BTreeMap<u64, (SocketAddr, Key)>,
    /// Those that have answered.
    able: BTreeSet<SocketAddr>,
}

impl Probes {
    /// Has all servers asked now that are to be asked by these settings.
    pub(super) fn begin(&mut self, now: Timestamp, settings: &Settings) {
        let mut peers = settings.peers();
        let is_asked = peers.any(|(_, peer)| peer.terms.tcp == Tcp::Ask);
        self.due = is_asked.then_some(now);
    }

    /// Whether the server has answered by TCP, the last time that it was asked.
    pub(super) fn takes_tcp(&self, server: SocketAddr) -> bool {
        self.able.contains(&server)
    }

    pub(super) fn poll_timeout(&self) -> Option<Timestamp> {
        self.due
    }
}

/// Whether a transaction is one of these OPTIONS.
pub(super) fn is_probe(user: User) -> bool {
    user.part == PART
}

impl Shard {
    /// Asks those who are to be asked, when it is time.
    pub(super) fn run_probes(&mut self, now: Timestamp) {
        if self.draining || self.probes.due.is_none_or(|due| due > now) {
            return;
        }
        self.probes.due = Some(now + EVERY);
        let mut asked = Vec::new();
        for (id, peer) in self.settings.peers() {
            if peer.terms.tcp == Tcp::Ask {
                let index = crate::shard::ways::index_of(id);
                let servers = self.targets.all().filter(|told| told.peer == index);
                asked.extend(servers.map(|told| told.server));
            }
        }
        for server in asked {
            if server.transport == Transport::Udp {
                self.probe(now, server.remote);
            }
        }
    }

    /// Whoever stops asks nobody any more.
    pub(super) fn stop_probing(&mut self) {
        self.probes.due = None;
        for (_, client) in std::mem::take(&mut self.probes.waiting).into_values() {
            self.layer.forget(client);
        }
    }

    /// An answer came by TCP, whatever it says: somebody reads there.
    pub(super) fn on_probed(&mut self, user: User, status: Status) {
        if !status.is_provisional()
            && let Some(server) = self.end_probe(user)
            && self.probes.able.insert(server)
        {
            tracing::info!(%server, "the server takes TCP");
        }
    }

    /// None did.
    pub(super) fn on_probe_failed(&mut self, user: User) {
        if let Some(server) = self.end_probe(user) {
            self.forget_tcp(server);
        }
    }

    /// What was to leave by TCP did not.
    pub(super) fn note_not_sent(&mut self, flow: &Flow) {
        if flow.transport == Transport::Tcp {
            self.forget_tcp(flow.remote);
        }
    }

    fn forget_tcp(&mut self, server: SocketAddr) {
        if self.probes.able.remove(&server) {
            tracing::info!(%server, "the server does not take TCP any more");
        }
    }

    /// Whose probe it was. Nothing of it stays.
    fn end_probe(&mut self, user: User) -> Option<SocketAddr> {
        let (server, client) = self.probes.waiting.remove(&user.call.to_bits())?;
        self.layer.forget(client);
        Some(server)
    }

    fn probe(&mut self, now: Timestamp, remote: SocketAddr) {
        let server = Server {
            transport: Transport::Tcp,
            remote,
        };
        self.probes.last += 1;
        let number = self.probes.last;
        let user = User {
            call: Key::from_bits(number),
            part: PART,
        };
        let uri = format!("sip:{remote};transport=tcp");
        let flow = self.flow_to(server, ListenerId(0));
        if let Some(client) = self.ask_options(now, &uri, flow, user) {
            self.probes.waiting.insert(number, (remote, client));
        }
    }
}
