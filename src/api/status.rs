//! What a campon holds and has counted: `GET /v1/status`, and the tables of `campon status`.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::shard::report::{Health, TargetReport};
use crate::shard::{Report, TableReport};

/// The status document.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Status {
    /// Whether new calls are let in.
    pub state: State,
    /// The version of campon.
    pub version: String,
    /// What is no worker's to report.
    #[serde(flatten)]
    pub process: Process,
    /// Calls, and transactions that somebody still waits for; a draining campon ends at 0.
    pub owed: usize,
    /// Each site that answers, where there are several; what follows is of all together.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sites: Vec<Site>,
    /// The servers of the peers, the upstream's included.
    pub peers: Vec<Peer>,
    /// What each table holds, by name.
    pub tables: BTreeMap<String, Table>,
    /// What was counted since the start, by name.
    pub counters: BTreeMap<String, u64>,
}

/// What the process knows of itself.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Process {
    /// How campon stands to its PBX: `standalone`, for example.
    pub mode: String,
    /// When it was started, in UTC: RFC 3339.
    pub started: String,
    /// Whole seconds since then.
    pub uptime_s: u64,
    /// The last attempt to put another configuration in force; `null` if there was none.
    pub reload: Option<Reload>,
}

/// An attempt to put another configuration in force.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Reload {
    /// When, in UTC: RFC 3339.
    pub at: String,
    /// What became of it.
    pub outcome: ReloadOutcome,
    /// The keys whose values have changed.
    pub changed: Vec<String>,
    /// The keys that differ from those at the start, and have no effect before a restart.
    pub needs_restart: Vec<String>,
    /// What is wrong with it, with file, line and key.
    pub error: Option<String>,
}

/// What became of an attempt to put another configuration in force.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReloadOutcome {
    /// It is in force.
    Applied,
    /// It does not hold: what was in force stays so.
    Refused,
    /// It is what was in force.
    Unchanged,
}

/// Whether new calls are let in.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// No new calls; campon ends with the last one.
    Draining,
    /// Calls are let in.
    Running,
}

/// One site of several.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Site {
    /// What the operator calls it.
    pub site: String,
    /// Whether new calls are let in.
    pub state: State,
    /// Calls that are up.
    pub calls: usize,
    /// Calls, and transactions that somebody still waits for.
    pub owed: usize,
}

/// One server of a peer.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Peer {
    /// What the operator calls the peer.
    pub peer: String,
    /// The server: `sip:192.0.2.1:5060;transport=udp`.
    pub server: String,
    /// Whether requests go there while another server is up.
    pub is_up: bool,
    /// For how long that has been so, in seconds.
    pub since_s: f64,
    /// How long its last answer to OPTIONS took, in seconds; `null` if it was never asked or never
    /// answered.
    pub rtt_s: Option<f64>,
}

/// What one table holds.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Table {
    /// How many entries.
    pub entries: usize,
    /// The age of the oldest, in seconds; `null` if there is none.
    pub oldest_s: Option<f64>,
}

impl Status {
    /// The document of a process and its worker's report.
    pub fn new(process: Process, report: &Report) -> Self {
        let tables = report
            .tables
            .iter()
            .map(|table| (table.name.to_owned(), Table::new(table)));
        let counters = report
            .counters
            .iter()
            .map(|&(name, count)| (name.to_owned(), count));
        Self {
            state: State::of(report),
            sites: Vec::new(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            process,
            owed: report.owed,
            peers: report.targets.iter().map(Peer::new).collect(),
            tables: tables.collect(),
            counters: counters.collect(),
        }
    }

    /// The document of a process with several sites; a peer is named with its site.
    pub fn of_sites(process: Process, reports: Vec<(Box<str>, Report)>) -> Self {
        let sites = reports.iter().map(|(name, report)| Site::new(name, report));
        let sites = sites.collect();
        let reports = reports.into_iter().map(|(name, mut report)| {
            for target in &mut report.targets {
                target.peer = format!("{name}/{}", target.peer);
            }
            report
        });
        Self {
            sites,
            ..Self::new(process, &Report::joined(reports))
        }
    }

    /// The document in JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a struct of numbers and text is JSON")
    }

    /// The document that this JSON is.
    pub fn from_json(json: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(json)
    }
}

impl State {
    fn of(report: &Report) -> Self {
        if report.draining {
            Self::Draining
        } else {
            Self::Running
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Draining => "draining",
            Self::Running => "running",
        }
    }
}

impl Site {
    fn new(name: &str, report: &Report) -> Self {
        let mut tables = report.tables.iter();
        let calls = tables.find(|table| table.name == "calls");
        Self {
            site: name.to_owned(),
            state: State::of(report),
            calls: calls.map_or(0, |calls| calls.entries),
            owed: report.owed,
        }
    }
}

impl Peer {
    fn new(target: &TargetReport) -> Self {
        Self {
            peer: target.peer.clone(),
            server: target.server.to_string(),
            is_up: target.state == Health::Up,
            since_s: to_seconds(target.since),
            rtt_s: target.rtt.map(to_seconds),
        }
    }
}

impl Table {
    fn new(table: &TableReport) -> Self {
        Self {
            entries: table.entries,
            oldest_s: table.oldest.map(to_seconds),
        }
    }
}

/// Seconds, to the millisecond.
fn to_seconds(age: Duration) -> f64 {
    (age.as_secs_f64() * 1_000.0).round() / 1_000.0
}

/// What is left in each table, on one line: `calls 0, registrations 3`.
pub fn left_in_tables(report: &Report) -> String {
    let tables = report
        .tables
        .iter()
        .map(|table| format!("{} {}", table.name, table.entries));
    tables.collect::<Vec<_>>().join(", ")
}

/// The tables that `campon status` prints.
impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.as_str();
        writeln!(
            f,
            "campon {} {} {state} for {} s, {} owed",
            self.version, self.process.mode, self.process.uptime_s, self.owed
        )?;
        if let Some(reload) = &self.process.reload {
            writeln!(f, "{reload}")?;
        }
        if !self.sites.is_empty() {
            writeln!(f, "\n{:<32}{:>12}{:>8}{:>8}", "site", "", "calls", "owed")?;
        }
        for site in &self.sites {
            let (name, state) = (&site.site, site.state.as_str());
            writeln!(f, "{name:<32}{state:>12}{:>8}{:>8}", site.calls, site.owed)?;
        }
        if !self.peers.is_empty() {
            writeln!(
                f,
                "\n{:<16}{:<48}{:>5}{:>12}{:>10}",
                "peer", "server", "", "since", "rtt"
            )?;
        }
        for peer in &self.peers {
            let state = if peer.is_up { "up" } else { "down" };
            let since = format!("{:.0} s", peer.since_s);
            let rtt = match peer.rtt_s {
                Some(rtt_s) => format!("{:.0} ms", rtt_s * 1_000.0),
                None => "-".to_owned(),
            };
            let (name, server) = (&peer.peer, &peer.server);
            writeln!(f, "{name:<16}{server:<48}{state:>5}{since:>12}{rtt:>10}")?;
        }
        writeln!(f, "\n{:<32}{:>12}{:>14}", "table", "entries", "oldest")?;
        for (name, table) in &self.tables {
            let oldest = match table.oldest_s {
                Some(oldest_s) => format!("{oldest_s:.1} s"),
                None => "-".to_owned(),
            };
            writeln!(f, "{name:<32}{:>12}{oldest:>14}", table.entries)?;
        }
        write!(f, "\n{:<32}{:>12}", "counter", "count")?;
        for (name, count) in &self.counters {
            write!(f, "\n{name:<32}{count:>12}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = match self.outcome {
            ReloadOutcome::Applied => "applied",
            ReloadOutcome::Refused => "refused",
            ReloadOutcome::Unchanged => "unchanged",
        };
        write!(f, "configuration {outcome} at {}", self.at)?;
        if !self.changed.is_empty() {
            write!(f, "; changed: {}", self.changed.join(" "))?;
        }
        if !self.needs_restart.is_empty() {
            write!(f, "; needs a restart: {}", self.needs_restart.join(" "))?;
        }
        if let Some(error) = &self.error {
            write!(f, "; {error}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::report::Server;
    use crate::shard::report::Transport;

    fn report() -> Report {
        let oldest = Some(Duration::from_micros(1_234_567));
        Report {
            tables: vec![
                TableReport {
                    name: "calls",
                    entries: 2,
                    oldest,
                },
                TableReport {
                    name: "registrations",
                    entries: 0,
                    oldest: None,
                },
            ],
            counters: vec![("calls_started", 7)],
            draining: true,
            owed: 3,
            targets: vec![TargetReport {
                peer: "office".to_owned(),
                server: Server {
                    transport: Transport::Udp,
                    remote: "192.0.2.7:5060".parse().expect("an address"),
                },
                state: Health::Down,
                since: Duration::from_secs(12),
                rtt: Some(Duration::from_millis(3)),
            }],
            ..Report::default()
        }
    }

    fn status() -> Status {
        let version = "1.2.3".to_owned();
        let process = Process {
            mode: "standalone".to_owned(),
            started: "2026-11-26T20:00:00.000Z".to_owned(),
            uptime_s: 90,
            reload: Some(Reload {
                at: "2026-11-26T20:01:00.000Z".to_owned(),
                outcome: ReloadOutcome::Applied,
                changed: vec!["calls.calls_max".to_owned(), "listener".to_owned()],
                needs_restart: vec!["listener".to_owned()],
                error: None,
            }),
        };
        Status {
            version,
            ..Status::new(process, &report())
        }
    }

    #[test]
    fn the_document_holds_every_table_and_counter() {
        insta::assert_snapshot!(status().to_json());
    }

    #[test]
    fn the_printed_tables_hold_every_table_and_counter() {
        insta::assert_snapshot!(status().to_string());
    }

    #[test]
    fn the_document_is_read_back_as_it_was_written() {
        let read = Status::from_json(&status().to_json()).expect("our own document");
        assert_eq!(read, status());
    }

    #[test]
    fn what_is_left_stands_on_one_line() {
        assert_eq!(left_in_tables(&report()), "calls 2, registrations 0");
    }
}
