//! What a worker tells of itself: how much each table holds, and what it has counted.

use std::time::Duration;

use crate::completion::Stage;
use crate::observe::Delays;
use crate::routing::{Server, State};

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
    /// Calls, and transactions that somebody still waits for.
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
    pub state: State,
    /// For how long they do or do not.
    pub since: Duration,
    /// How long its last answer to OPTIONS took; `None` if it was never asked or never answered.
    pub rtt: Option<Duration>,
}
