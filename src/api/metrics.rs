//! What a campon has counted and holds, as Prometheus reads it: `GET /metrics`.
//!
//! Spec: Prometheus text exposition format 0.0.4; Prometheus naming conventions (base units, `_total`).
//!
//! The numbers are the worker's own plain ones, and are turned into metrics when somebody asks: so no
//! call pays for metrics. Each counter of [`crate::observe`] becomes a metric of its name, with the
//! sentence of its documentation as help.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeLabelSet, MetricEncoder,
    NoLabelSet, prometheus_text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::api::status::{Process, ReloadOutcome};
use crate::completion::{Mode, Outcome, Stage};
use crate::observe::{self, Delays};
use crate::shard::report::{Health, TargetReport};
use crate::shard::{Report, TableReport};

/// The media type of the document.
pub const MEDIA_TYPE: &str = prometheus_text::CONTENT_TYPE;

/// What the system says of the process; `None` where it does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Resources {
    /// When it was started, in seconds since 1970.
    pub started_s: f64,
    /// The memory that it has in use, in bytes.
    pub resident_bytes: Option<u64>,
    /// The address space that it has reserved, in bytes.
    pub virtual_bytes: Option<u64>,
    /// The time that it has run on any processor, in seconds.
    pub cpu_s: Option<f64>,
    /// The files and sockets that it has open.
    pub open_files: Option<u64>,
    /// How many it may have open.
    pub open_files_max: Option<u64>,
    /// Its threads.
    pub threads: Option<u64>,
}

/// The document.
pub fn to_text(process: &Process, resources: Resources, report: Report) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Snapshot {
        process: Some((process.clone(), resources)),
        report: Some(report),
    }));
    encoded(&registry)
}

/// The document of a process with several sites: what is of one of them has its name as a label.
pub fn of_sites(
    process: &Process,
    resources: Resources,
    reports: Vec<(Box<str>, Report)>,
) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Snapshot {
        process: Some((process.clone(), resources)),
        report: None,
    }));
    let mut texts = vec![encoded(&registry)];
    for (name, report) in reports {
        let mut registry = Registry::default();
        let label = (Cow::Borrowed("site"), Cow::Owned(name.into()));
        let of_site = registry.sub_registry_with_label(label);
        of_site.register_collector(Box::new(Snapshot {
            process: None,
            report: Some(report),
        }));
        texts.push(encoded(&registry));
    }
    merged(&texts)
}

fn encoded(registry: &Registry) -> String {
    let mut text = String::new();
    prometheus_text::encode(&mut text, registry).expect("memory takes all that is written");
    text
}

/// One document of several: each metric once, with the samples of all.
fn merged(texts: &[String]) -> String {
    let mut families: Vec<(&str, Vec<&str>)> = Vec::new();
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for text in texts {
        let (mut place, mut is_new) = (0, false);
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let name = help.split(' ').next().unwrap_or_default();
                is_new = !places.contains_key(name);
                place = *places.entry(name).or_insert(families.len());
                if is_new {
                    families.push((name, Vec::new()));
                }
            }
            let is_head = line.starts_with('#');
            if let Some((_, lines)) = families.get_mut(place).filter(|_| is_new || !is_head) {
                lines.push(line);
            }
        }
    }
    let lines = families.into_iter().flat_map(|(_, lines)| lines);
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// All numbers at one moment.
#[derive(Debug)]
struct Snapshot {
    /// The process, where it is told of here.
    process: Option<(Process, Resources)>,
    /// A worker, in the same way.
    report: Option<Report>,
}

impl Collector for Snapshot {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        if let Some((process, _)) = &self.process {
            write_process(process, &mut page)?;
        }
        if let Some(report) = &self.report {
            let draining = i64::from(report.draining);
            page.gauge(
                "campon_draining",
                "Whether no new calls are let in.",
                &draining,
            )?;
        }
        if let Some((_, resources)) = &self.process {
            resources.write(&mut page)?;
        }
        match &self.report {
            Some(report) => Worker(report).write(&mut page),
            None => Ok(()),
        }
    }
}

fn write_process(process: &Process, page: &mut Page<'_>) -> fmt::Result {
    let build = [("version", env!("CARGO_PKG_VERSION"))];
    page.gauges(
        "campon_build_info",
        "The version of campon; always 1.",
        [(build, 1)],
    )?;
    if let Some(reload) = &process.reload {
        page.gauge(
            "campon_config_last_reload_successful",
            "Whether the configuration held when it was last read anew.",
            &i64::from(reload.outcome != ReloadOutcome::Refused),
        )?;
    }
    Ok(())
}

/// What the counters of failed calls begin with; the class of the status follows.
const FAILED: &str = "calls_failed_";
/// What the counters of refused requests begin with; the reason follows.
const REJECTED: &str = "rejected_";
/// The ends of completions, among the counters.
const ENDS: [&str; 4] = ["cancelled", "completed", "expired", "refused"];
/// The same, as the service names them.
const OUTCOMES: [Outcome; 4] = [
    Outcome::Cancelled,
    Outcome::Completed,
    Outcome::Expired,
    Outcome::Refused,
];
/// What the counters of completions begin with.
const COMPLETIONS: &str = "completions_";

/// The numbers of one worker.
struct Worker<'r>(&'r Report);

impl Worker<'_> {
    fn write(&self, page: &mut Page<'_>) -> fmt::Result {
        self.write_calls(page)?;
        self.write_completions(page)?;
        self.write_counters(page)?;
        self.write_tables(page)?;
        self.write_peers(page)?;
        page.histogram(
            "campon_queue_delay_seconds",
            "How long messages may have waited before they were taken in.",
            &self.0.delays,
        )
    }

    fn write_calls(&self, page: &mut Page<'_>) -> fmt::Result {
        page.gauge(
            "campon_calls",
            "Calls that are up, those being set up included.",
            &self.entries("calls"),
        )?;
        page.counters(
            "campon_calls_failed",
            "Calls that ended without an answer, by the class of the status that the caller got; a \
             caller who gave up is cancelled.",
            self.below(FAILED).map(|(class, n)| ([("class", class)], n)),
        )
    }

    fn write_completions(&self, page: &mut Page<'_>) -> fmt::Result {
        let states = self.0.completions.iter();
        page.gauges(
            "campon_completions",
            "Requests for completion, by mode and state.",
            states.map(|(mode, stage, n)| {
                (
                    [("mode", mode.as_str()), ("state", name_of(*stage))],
                    to_i64(*n),
                )
            }),
        )?;
        let ended = &self.0.completions_ended;
        let count = |mode: Mode, outcome: Outcome| {
            let mut counts = ended.iter();
            let found = counts.find(|(its, end, _)| (*its, *end) == (mode, outcome));
            found.map_or(0, |(.., count)| *count)
        };
        let ends = Mode::ALL.into_iter().flat_map(|mode| {
            let ends = OUTCOMES.into_iter();
            ends.map(move |outcome| (mode, outcome))
        });
        page.counters(
            "campon_completions_ended",
            "Requests for completion that have ended, by mode and outcome.",
            ends.map(|(mode, outcome)| {
                let labels = [("mode", mode.as_str()), ("outcome", outcome_name(outcome))];
                (labels, count(mode, outcome))
            }),
        )
    }

    /// Every counter that has no metric of its own above.
    fn write_counters(&self, page: &mut Page<'_>) -> fmt::Result {
        page.counters(
            "campon_rejected",
            "Requests that were refused, by reason.",
            self.below(REJECTED)
                .map(|(reason, n)| ([("reason", reason)], n)),
        )?;
        for (name, count) in &self.0.counters {
            let end = name.strip_prefix(COMPLETIONS);
            let is_told = *name == "calls_failed"
                || name.starts_with(FAILED)
                || name.starts_with(REJECTED)
                || end.is_some_and(|end| ENDS.contains(&end));
            if !is_told {
                let help = observe::help(name).unwrap_or("As counted by the worker.");
                page.counter(&format!("campon_{name}"), help, count)?;
            }
        }
        Ok(())
    }

    fn write_tables(&self, page: &mut Page<'_>) -> fmt::Result {
        let tables = || self.0.tables.iter();
        let label = |table: &TableReport| [("table", table.name)];
        page.gauges(
            "campon_table_entries",
            "What each table holds.",
            tables().map(|table| (label(table), to_i64(table.entries))),
        )?;
        page.gauges(
            "campon_table_oldest_seconds",
            "The age of the oldest entry of each table that knows it; 0 if it is empty.",
            tables()
                .filter(|table| table.oldest.is_some())
                .map(|table| {
                    let oldest = table.oldest.unwrap_or_default();
                    (label(table), oldest.as_secs_f64())
                }),
        )
    }

    fn write_peers(&self, page: &mut Page<'_>) -> fmt::Result {
        let targets = || self.0.targets.iter();
        let label = |target: &TargetReport| {
            [
                ("peer", target.peer.clone()),
                ("server", target.server.to_string()),
            ]
        };
        page.gauges(
            "campon_peer_up",
            "Whether requests go to this server of a peer while another one is up.",
            targets().map(|target| (label(target), i64::from(target.state == Health::Up))),
        )?;
        let rtts = targets().filter_map(|target| Some((label(target), target.rtt?.as_secs_f64())));
        page.gauges(
            "campon_peer_rtt_seconds",
            "How long the last answer of this server to OPTIONS took.",
            rtts,
        )
    }

    /// The counters whose names begin like this, by the rest of their names.
    fn below(&self, prefix: &str) -> impl Iterator<Item = (&'static str, u64)> {
        let counters = self.0.counters.iter();
        counters.filter_map(move |(name, count)| Some((name.strip_prefix(prefix)?, *count)))
    }

    fn entries(&self, table: &str) -> i64 {
        let mut tables = self.0.tables.iter();
        let found = tables.find(|found| found.name == table);
        found.map_or(0, |found| to_i64(found.entries))
    }
}

impl Resources {
    fn write(&self, page: &mut Page<'_>) -> fmt::Result {
        page.gauge(
            "process_start_time_seconds",
            "When the process was started, in seconds since 1970.",
            &self.started_s,
        )?;
        if let Some(cpu_s) = self.cpu_s {
            let help = "The time that the process has run on any processor.";
            page.counter("process_cpu_seconds", help, &cpu_s)?;
        }
        let gauges = [
            (
                "process_resident_memory_bytes",
                "The memory that the process has in use.",
                self.resident_bytes,
            ),
            (
                "process_virtual_memory_bytes",
                "The address space that the process has reserved.",
                self.virtual_bytes,
            ),
            (
                "process_open_fds",
                "The files and sockets that the process has open.",
                self.open_files,
            ),
            (
                "process_max_fds",
                "How many files and sockets the process may have open.",
                self.open_files_max,
            ),
            (
                "process_threads",
                "The threads of the process.",
                self.threads,
            ),
        ];
        for (name, help, value) in gauges {
            if let Some(value) = value {
                page.gauge(name, help, &i64::try_from(value).unwrap_or(i64::MAX))?;
            }
        }
        Ok(())
    }
}

/// Where metrics are written, each with its help and its type. A counter's name goes without `_total`,
/// which is added.
struct Page<'p>(DescriptorEncoder<'p>);

impl Page<'_> {
    fn counter(&mut self, name: &str, help: &str, count: &impl EncodeCounterValue) -> fmt::Result {
        let mut metric = self.begin(name, help, MetricType::Counter)?;
        metric.encode_counter::<NoLabelSet, _, u64>(count, None)
    }

    fn counters<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        counts: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut metric = self.begin(name, help, MetricType::Counter)?;
        for (labels, count) in counts {
            let mut one = metric.encode_family(&labels)?;
            one.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
        }
        Ok(())
    }

    fn gauge(&mut self, name: &str, help: &str, value: &impl EncodeGaugeValue) -> fmt::Result {
        self.begin(name, help, MetricType::Gauge)?
            .encode_gauge(value)
    }

    fn gauges<L: EncodeLabelSet, V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (L, V)>,
    ) -> fmt::Result {
        let mut metric = self.begin(name, help, MetricType::Gauge)?;
        for (labels, value) in values {
            metric.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    fn histogram(&mut self, name: &str, help: &str, delays: &Delays) -> fmt::Result {
        let buckets: Vec<_> = delays.buckets().collect();
        let mut metric = self.begin(name, help, MetricType::Histogram)?;
        let (sum_s, count) = (delays.sum().as_secs_f64(), delays.count());
        metric.encode_histogram::<NoLabelSet>(sum_s, count, &buckets, None)
    }

    fn begin<'s>(
        &'s mut self,
        name: &'s str,
        help: &str,
        kind: MetricType,
    ) -> Result<MetricEncoder<'s>, fmt::Error> {
        self.0.encode_descriptor(name, help, None, kind)
    }
}

fn name_of(stage: Stage) -> &'static str {
    match stage {
        Stage::Asked => "asked",
        Stage::Calling => "calling",
        Stage::Queued => "queued",
        Stage::Recalling => "recalling",
    }
}

fn outcome_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Cancelled => "cancelled",
        Outcome::Completed => "completed",
        Outcome::Expired => "expired",
        Outcome::Refused => "refused",
    }
}

fn to_i64(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;
    use crate::observe::Counters;

    fn report() -> Report {
        let mut delays = Delays::default();
        delays.add(Duration::from_micros(30));
        delays.add(Duration::from_millis(70));
        let counters = Counters {
            calls_failed: 5,
            calls_failed_4xx: 3,
            calls_failed_cancelled: 2,
            completions_completed: 4,
            ..Counters::default()
        };
        let counters = counters.iter().chain([("rejected_draining", 6)]);
        Report {
            tables: vec![
                TableReport {
                    name: "calls",
                    entries: 2,
                    oldest: Some(Duration::from_millis(1500)),
                },
                TableReport {
                    name: "users",
                    entries: 7,
                    oldest: None,
                },
            ],
            counters: counters.collect(),
            completions: vec![
                (Mode::Callback, Stage::Queued, 8),
                (Mode::Callback, Stage::Recalling, 1),
            ],
            completions_ended: vec![(Mode::Callback, Outcome::Completed, 4)],
            delays,
            ..Report::default()
        }
    }

    fn text() -> String {
        let resources = Resources {
            started_s: 1_800_000_000.5,
            resident_bytes: Some(7_000_000),
            cpu_s: Some(0.25),
            ..Resources::default()
        };
        to_text(&Process::default(), resources, report())
    }

    /// Each metric is there once, and each sample of a site says of which.
    #[test]
    fn the_sites_of_a_process_differ_by_a_label() {
        let sites = [("north", 2), ("south", 5)].map(|(name, calls)| {
            let mut report = report();
            report.tables[0].entries = calls;
            (name.into(), report)
        });
        let text = of_sites(&Process::default(), Resources::default(), sites.into());
        let families = read(&text);
        let calls = &families["campon_calls"].samples;
        let told = |site: &str, n: f64| (format!("campon_calls{{site=\"{site}\"}}"), n);
        assert_eq!(*calls, [told("north", 2.0), told("south", 5.0)]);
        let tables = &families["campon_table_entries"].samples;
        assert_eq!(tables.len(), 4);
        assert!(
            tables
                .iter()
                .all(|(series, _)| series.contains("site=\"") && series.contains("table=\""))
        );
        assert_eq!(families["process_start_time_seconds"].samples.len(), 1);
        assert_eq!(families["campon_build_info"].samples.len(), 1);
        let one = read(&text_of_one());
        assert_eq!(
            one.keys().collect::<Vec<_>>(),
            families.keys().collect::<Vec<_>>()
        );
    }

    fn text_of_one() -> String {
        to_text(&Process::default(), Resources::default(), report())
    }

    /// A metric as a strict reader of the format sees it.
    #[derive(Debug, Default)]
    struct Family {
        help: String,
        kind: String,
        /// Name and labels, and the value.
        samples: Vec<(String, f64)>,
    }

    /// Reads the format as its specification has it: HELP, TYPE, samples, one family after another, no
    /// name and no sample twice, everything in its alphabet.
    fn read(text: &str) -> BTreeMap<String, Family> {
        assert!(text.ends_with('\n'), "the last line is ended");
        let mut families: BTreeMap<String, Family> = BTreeMap::new();
        let mut current = String::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect("a help text");
                assert!(is_name(name), "{line}");
                current = name.to_owned();
                let family = Family {
                    help: help.to_owned(),
                    ..Family::default()
                };
                assert!(families.insert(current.clone(), family).is_none(), "{line}");
                continue;
            }
            let family = families.get_mut(&current).expect("HELP comes first");
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a type");
                assert_eq!((name, &*family.kind), (&*current, ""), "{line}");
                assert!(family.samples.is_empty(), "{line}");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                family.kind = kind.to_owned();
                continue;
            }
            let (series, value) = line.rsplit_once(' ').expect("a value");
            let name = series.split('{').next().unwrap_or_default();
            assert!(is_of(name, &current, &family.kind), "{line}");
            if let Some(labels) = series.strip_prefix(name).filter(|rest| !rest.is_empty()) {
                check_labels(labels);
            }
            let value = value.parse().expect("a number");
            assert!(
                !family.samples.iter().any(|(twice, _)| twice == series),
                "{line}"
            );
            family.samples.push((series.to_owned(), value));
        }
        families
    }

    fn is_name(name: &str) -> bool {
        let is_inside = |c: char| c.is_ascii_alphanumeric() || c == '_';
        name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(is_inside)
    }

    fn is_of(name: &str, family: &str, kind: &str) -> bool {
        match kind {
            "histogram" => ["_bucket", "_sum", "_count"]
                .iter()
                .any(|end| name.strip_suffix(end) == Some(family)),
            _ => name == family,
        }
    }

    fn check_labels(labels: &str) {
        let inside = labels
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix('}'));
        let mut names = BTreeSet::new();
        for label in inside.expect("braces").split(',') {
            let (name, value) = label.split_once('=').expect("a value");
            assert!(is_name(name) && names.insert(name), "{labels}");
            let value = value
                .strip_prefix('"')
                .and_then(|rest| rest.strip_suffix('"'));
            assert!(
                !value.expect("quotes").contains(['"', '\\', '\n']),
                "{labels}"
            );
        }
    }

    #[test]
    fn the_document_is_what_prometheus_reads() {
        let families = read(&text());
        assert!(families.len() > 20, "{}", families.len());
        for (name, family) in &families {
            assert!(family.help.ends_with('.'), "{name}: {}", family.help);
            let is_counter = family.kind == "counter";
            assert_eq!(is_counter, name.ends_with("_total"), "{name}");
            let all_count = family.samples.iter().all(|(_, value)| *value >= 0.0);
            assert!(all_count, "{name}");
        }
    }

    #[test]
    fn a_number_stands_under_its_name_and_labels() {
        let families = read(&text());
        let value = |family: &str, series: &str| {
            let samples = &families.get(family).expect(family).samples;
            let found = samples.iter().find(|(name, _)| name == series);
            found
                .unwrap_or_else(|| panic!("no {series} in {samples:?}"))
                .1
        };
        for (family, labels, expected) in [
            ("campon_calls", "", 2.0),
            ("campon_calls_failed_total", "{class=\"4xx\"}", 3.0),
            ("campon_calls_failed_total", "{class=\"cancelled\"}", 2.0),
            ("campon_rejected_total", "{reason=\"draining\"}", 6.0),
            (
                "campon_completions",
                "{mode=\"callback\",state=\"queued\"}",
                8.0,
            ),
            (
                "campon_completions_ended_total",
                "{mode=\"callback\",outcome=\"completed\"}",
                4.0,
            ),
            ("campon_table_entries", "{table=\"users\"}", 7.0),
            ("campon_table_oldest_seconds", "{table=\"calls\"}", 1.5),
            ("process_start_time_seconds", "", 1_800_000_000.5),
            ("process_cpu_seconds_total", "", 0.25),
        ] {
            let found = value(family, &format!("{family}{labels}"));
            assert!((found - expected).abs() < 1e-9, "{family}{labels}: {found}");
        }
    }

    #[test]
    fn each_bucket_counts_those_below_it_and_the_last_counts_all() {
        let families = read(&text());
        let delays = &families["campon_queue_delay_seconds"].samples;
        let buckets = delays.iter().filter(|(name, _)| name.contains("_bucket"));
        let counts: Vec<_> = buckets.map(|(_, count)| *count).collect();
        assert!(counts.is_sorted(), "{counts:?}");
        assert_eq!(counts.last(), Some(&2.0));
        let all = delays.iter().find(|(name, _)| name.ends_with("_count"));
        assert_eq!(all.map(|all| all.1), Some(2.0));
        assert!(delays.iter().any(|(name, _)| name.contains("le=\"+Inf\"")));
    }

    /// A counter that somebody adds shows up by itself.
    #[test]
    fn every_counter_becomes_a_metric_with_its_own_help() {
        let families = read(&text());
        for (name, _) in Counters::default().iter() {
            let is_told = name.starts_with("calls_failed") || name.starts_with(COMPLETIONS);
            if !is_told {
                let family = &families[&format!("campon_{name}_total")];
                assert_eq!(Some(&*family.help), observe::help(name));
            }
        }
    }
}
