//! What a campon holds and has counted: `GET /v1/status`, and the tables of `campon status`.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::shard::{Report, TableReport};
use crate::time::Timestamp;

/// The status document.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Status {
    /// Whether new calls are let in.
    pub state: State,
    /// The version of campon.
    pub version: String,
    /// Whole seconds since the start.
    pub uptime_s: u64,
    /// Calls, and transactions that somebody still waits for; a draining campon ends at 0.
    pub owed: usize,
    /// What each table holds, by name.
    pub tables: BTreeMap<String, Table>,
    /// What was counted since the start, by name.
    pub counters: BTreeMap<String, u64>,
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

/// What one table holds.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Table {
    /// How many entries.
    pub entries: usize,
    /// The age of the oldest, in seconds; `null` if there is none.
    pub oldest_s: Option<f64>,
}

impl Status {
    /// The document of a worker's report.
    pub fn new(now: Timestamp, report: &Report) -> Self {
        let tables = report
            .tables
            .iter()
            .map(|table| (table.name.to_owned(), Table::new(table)));
        let counters = report
            .counters
            .iter()
            .map(|&(name, count)| (name.to_owned(), count));
        Self {
            state: if report.draining {
                State::Draining
            } else {
                State::Running
            },
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_s: now.since(Timestamp::START).as_secs(),
            owed: report.owed,
            tables: tables.collect(),
            counters: counters.collect(),
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
        let state = match self.state {
            State::Draining => "draining",
            State::Running => "running",
        };
        writeln!(
            f,
            "campon {} {state} for {} s, {} owed",
            self.version, self.uptime_s, self.owed
        )?;
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

#[cfg(test)]
mod tests {
    use super::*;

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
            targets: Vec::new(),
            draining: true,
            owed: 3,
        }
    }

    fn status() -> Status {
        let version = "1.2.3".to_owned();
        let now = Timestamp::from(Duration::from_millis(90_500));
        Status {
            version,
            ..Status::new(now, &report())
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
