//! Completion on a bad network: what must hold whoever waits for whom.
//!
//! Spec: DESIGN §13. Campon crashes at any output in two worlds of three; what its store was told is
//! there again, and the clock may have been set.

mod agent;
mod fate;
mod legs;
mod monitor;
mod operator;
mod settings;
mod table;
mod usage;
mod user;
mod watch;
mod world;

use std::collections::BTreeMap;
use std::num::NonZero;
use std::thread::{self, ScopedJoinHandle};

use super::frame::Shown;
use super::steps::{Step, recorded};
use super::{FAILURES_SHOWN, SEEDS_THAT_COUNT, asked, seeds};
use world::{Outcome, run};

/// How many seeds are run if `CAMPON_SEEDS` does not say; so many show all that must happen, as the rarest
/// of it does in three seeds of ten.
const SEEDS: usize = 100;

/// What the seed in the middle must have done at least; below that seeds count for nothing.
const FLOORS: [(&str, u64); 11] = [
    ("CC calls answered", 1),
    ("cancels heard", 1),
    ("calls", 40),
    ("completions_accepted", 8),
    ("completions_completed", 2),
    ("completions_recalled", 6),
    ("codes", 8),
    ("SUBSCRIBEs accepted", 3),
    ("crashes", 1),
    ("ended by others", 1),
    ("calls that wait", 1),
];

/// Meetings of a stage and an event that some seed must have shown. What is told to users while
/// nothing is under way for them (NOTIFYs that crossed an end) is left to luck.
const MEETINGS: [(&str, &str); 12] = [
    ("agent queued", "suspends"),
    ("agent queued", "unsubscribes"),
    ("agent ready", "calls"),
    ("agent ready", "suspends"),
    ("agent ready", "unsubscribes"),
    ("agent suspended", "resumes"),
    ("callee awaited", "calls"),
    ("callee awaited", "goes away"),
    ("callee reserved", "calls"),
    ("caller recalled", "is told queued"),
    ("caller recalled", "takes back"),
    ("caller waits", "goes away"),
];

/// What all seeds did together: of a million of them nothing single is kept but what was wrong.
#[derive(Default)]
struct Sum {
    seeds: usize,
    /// In how many seeds each thing happened how often.
    tallies: BTreeMap<&'static str, BTreeMap<u64, usize>>,
    pairs: BTreeMap<(&'static str, &'static str), u64>,
    steps: BTreeMap<Step, u64>,
    wrong: Vec<String>,
}

impl Sum {
    fn add(&mut self, seed: u64, outcome: Outcome) {
        print!("{}", outcome.messages);
        self.seeds += 1;
        for (name, count) in outcome.tally {
            let counts = self.tallies.entry(name).or_default();
            *counts.entry(count).or_default() += 1;
        }
        for (pair, count) in outcome.pairs {
            *self.pairs.entry(pair).or_default() += count;
        }
        if !outcome.faults.is_empty() {
            let faults = outcome.faults.join("\n  ");
            self.wrong.push(format!("seed {seed}:\n  {faults}"));
        }
    }

    fn join(&mut self, other: Self) {
        self.seeds += other.seeds;
        for (name, counts) in other.tallies {
            let all = self.tallies.entry(name).or_default();
            for (count, seeds) in counts {
                *all.entry(count).or_default() += seeds;
            }
        }
        for (pair, count) in other.pairs {
            *self.pairs.entry(pair).or_default() += count;
        }
        for (step, count) in other.steps {
            *self.steps.entry(step).or_default() += count;
        }
        self.wrong.extend(other.wrong);
    }

    /// How often something happened in the seed in the middle.
    fn median(&self, name: &str) -> u64 {
        let Some(counts) = self.tallies.get(name) else {
            return 0;
        };
        // A seed that does not speak of it has none.
        let mut seen = self.seeds - counts.values().sum::<usize>();
        if seen > self.seeds / 2 {
            return 0;
        }
        let middle = counts.iter().find(|(_, seeds)| {
            seen += **seeds;
            seen > self.seeds / 2
        });
        middle.map_or(0, |(count, _)| *count)
    }

    fn total(&self, name: &str) -> u64 {
        let counts = self.tallies.get(name).into_iter().flatten();
        counts.map(|(count, seeds)| count * *seeds as u64).sum()
    }

    /// Prints which event met which stage, and how often; then the median and the sum of all that
    /// was counted.
    fn print(&self) {
        println!("stage, event: how often");
        for ((stage, event), count) in &self.pairs {
            println!("{stage:>24}, {event:<16} {count:>8}");
        }
        println!("{} seeds; median a seed, total", self.seeds);
        for name in self.tallies.keys() {
            let (median, total) = (self.median(name), self.total(name));
            println!("{name:>26} {median:>6} {total:>8}");
        }
    }
}

/// Runs every seed, prints what they did, and fails if one broke an invariant.
fn run_all() -> Sum {
    let shown = asked("CAMPON_SEED").map_or(Shown::Nothing, |_| Shown::Messages);
    let mut sum = run_apart(&seeds(SEEDS), shown);
    sum.print();
    let (count, seeds) = (sum.wrong.len(), sum.seeds);
    sum.wrong.truncate(FAILURES_SHOWN);
    let wrong = sum.wrong.join("\n");
    assert!(wrong.is_empty(), "{count} of {seeds} seeds:\n{wrong}");
    table::check(&sum.steps, seeds);
    sum
}

/// Runs the seeds, as many at once as there are processors.
fn run_apart(seeds: &[u64], shown: Shown) -> Sum {
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    let share = seeds.len().div_ceil(processors).max(1);
    let run_part = |part: &[u64]| {
        let mut sum = Sum::default();
        for seed in part {
            sum.add(*seed, run(*seed, shown));
        }
        sum
    };
    let start = |part: &[u64]| {
        let (mut sum, steps) = recorded(|| run_part(part));
        sum.steps = steps;
        sum
    };
    thread::scope(|scope| {
        let start = &start;
        let running: Vec<_> = seeds
            .chunks(share)
            .map(|part| scope.spawn(move || start(part)))
            .collect();
        let mut all = Sum::default();
        for part in running.into_iter().map(ScopedJoinHandle::join) {
            all.join(part.expect("a world that panics says why"));
        }
        all
    })
}

/// The promise of completion, with one datagram in ten lost each way, or up to half of all.
#[test]
fn completions_keep_the_invariants() {
    let sum = run_all();
    if sum.seeds < SEEDS_THAT_COUNT {
        return;
    }
    for (what, least) in FLOORS {
        let median = sum.median(what);
        assert!(median >= least, "{what}: {median} a seed, not {least}");
    }
    if sum.seeds < SEEDS {
        return;
    }
    for meeting in MEETINGS {
        let has_met = sum.pairs.contains_key(&meeting);
        assert!(has_met, "{meeting:?} never met");
    }
    for what in [
        "completions_cancelled",
        "completions_completed",
        "completions_expired",
        "completions_refused",
        "calls that waited to the end",
        "texts read",
        "texts taken back",
        "calls that waited and were answered",
        "stops",
        "troubles of the store",
        "turns contested",
    ] {
        assert!(sum.total(what) > 0, "{what} never happened");
    }
}

#[test]
fn the_same_seed_leaves_the_same_trace_of_completions() {
    for seed in 1..=3 {
        let first = run(seed, Shown::Trace);
        let second = run(seed, Shown::Trace);
        assert_eq!(first.trace, second.trace, "seed {seed}");
        let other = run(seed + 1000, Shown::Trace);
        assert_ne!(first.trace, other.trace, "seed {seed}");
    }
}
