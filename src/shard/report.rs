//! What a worker tells of itself: how much each table holds, and what it has counted.

use std::time::Duration;

use crate::completion::Stage;
use crate::observe::Delays;
pub use crate::routing::Server;
pub use crate::routing::State as Health;
use crate::shard::Shard;
#[cfg(test)]
pub use crate::sip::flow::Transport;
use crate::time::Timestamp;

/// What the worker holds.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Report {
    /// Every table, in a fixed order.
    pub tables: Vec<TableReport>,
    /// Every counter, by name.
    pub counters: Vec<(&'static str, u64)>,
    /// Every server of every peer, the upstream's first.
    pub targets: Vec<TargetReport>,
    /// How many requests for completion are at each stage.
    pub completions: Vec<(Stage, usize)>,
    /// How long messages have waited before they were taken in.
    pub delays: Delays,
    /// Whether no new calls are taken.
    pub draining: bool,
    /// Calls, and transactions and last words that somebody still waits for.
    pub owed: usize,
}

/// What one table holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TableReport {
    /// The table.
    pub name: &'static str,
    /// How many entries it has.
    pub entries: usize,
    /// The age of the oldest entry.
    pub oldest: Option<Duration>,
}

/// What is known of one server of a peer's.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TargetReport {
    /// What the operator calls the peer.
    pub peer: String,
    /// The server.
    pub server: Server,
    /// Whether requests go there.
    pub state: Health,
    /// For how long they do or do not.
    pub since: Duration,
    /// How long its last answer to OPTIONS took; `None` if it was never asked or never answered.
    pub rtt: Option<Duration>,
}

impl Shard {
    /// What the worker holds.
    pub fn report(&self, now: Timestamp) -> Report {
        let (servers, clients) = (self.layer.servers(), self.layer.clients());
        let table = |name, entries, oldest: Option<Timestamp>| TableReport {
            name,
            entries,
            oldest: oldest.map(|oldest| now.since(oldest)),
        };
        let oldest_call = self.calls.iter().map(|(_, held)| held.call.began()).min();
        let mut tables = vec![
            table("calls", self.calls_up(), oldest_call),
            table("client_transactions", clients.all, clients.oldest),
            table("completions", self.desk.service.counts().completions, None),
            table("dialog_watches", self.sources.len(), None),
            table("registrations", self.registrar.len(), None),
            table("relayed_requests", self.relays.passages(), None),
            table("relayed_subscriptions", self.relays.subscriptions(), None),
            table("server_transactions", servers.all, servers.oldest),
            table("subscriptions", self.desk.subscriptions.len(), None),
            table("users", self.users.len(), None),
            table("users_engaged", self.users.engaged(), None),
        ];
        if let Some(edge) = self.edge.as_deref() {
            tables.extend([
                table("aliases", edge.relay.len(), None),
                table("calls_challenged", edge.challenged.len(), None),
                table("registers_waiting", edge.registrations.len(), None),
            ]);
        }
        if self.settings.sound.is_some() {
            tables.push(table("rooms", self.sounds.len(), None));
        }
        tables.sort_by_key(|table| table.name);
        Report {
            tables,
            counters: self.counters.iter().chain(self.rejects.iter()).collect(),
            targets: self.target_reports(now),
            completions: self.desk.service.stages().to_vec(),
            delays: self.delays,
            draining: self.draining,
            owed: self.calls_up() + servers.owing + clients.owing + self.farewells(),
        }
    }

    /// Whether no call is up and no transaction is kept.
    pub fn is_at_rest(&self) -> bool {
        self.calls.is_empty() && self.layer.is_empty()
    }

    /// Whether a call is up or somebody waits for a transaction; cheap while a call is up.
    pub fn is_owing(&self) -> bool {
        let transactions = || self.layer.servers().owing + self.layer.clients().owing;
        self.calls_up() > 0 || transactions() + self.farewells() > 0
    }

    /// How many subscribers of our queues have yet to hear that we stop: their last NOTIFY may have to
    /// wait (CC-65).
    fn farewells(&self) -> usize {
        if self.draining && !self.desk.vault.is_elsewhere() {
            self.desk.subscriptions.subscribers()
        } else {
            0
        }
    }

    /// How many calls there are, without the slots of those that were challenged.
    fn calls_up(&self) -> usize {
        let edge = self.edge.as_deref();
        self.calls.len() - edge.map_or(0, |edge| edge.challenged.len())
    }
}
