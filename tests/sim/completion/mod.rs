//! Completion on a bad network: what must hold whoever waits for whom.
//!
//! Spec: DESIGN §13. Campon crashes at any output in two worlds of three; what its store was told is
//! there again, and the clock may have been set.

mod agent;
mod legs;
mod monitor;
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
const FLOORS: [(&str, u64); 9] = [
    ("CC calls answered", 1),
    ("cancels heard", 1),
    ("calls", 40),
    ("completions_accepted", 8),
    ("completions_completed", 2),
    ("completions_recalled", 6),
    ("codes", 8),
    ("SUBSCRIBEs accepted", 3),
    ("crashes", 1),
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

/// Runs every seed, prints what they did, and fails if one broke an invariant.
fn run_all() -> (Vec<Outcome>, BTreeMap<&'static str, u64>) {
    let shown = asked("CAMPON_SEED").map_or(Shown::Nothing, |_| Shown::Messages);
    let seeds = seeds(SEEDS);
    let (outcomes, steps) = run_apart(&seeds, shown);
    let mut failed = Vec::new();
    for (seed, outcome) in seeds.iter().zip(&outcomes) {
        print!("{}", outcome.messages);
        if !outcome.faults.is_empty() {
            failed.push(format!("seed {seed}:\n  {}", outcome.faults.join("\n  ")));
        }
    }
    print_pairs(&outcomes);
    let medians = print_tallies(&outcomes);
    let (count, seeds) = (failed.len(), seeds.len());
    failed.truncate(FAILURES_SHOWN);
    let shown = failed.join("\n");
    assert!(failed.is_empty(), "{count} of {seeds} seeds:\n{shown}");
    table::check(&steps, seeds);
    (outcomes, medians)
}

/// Runs the seeds, as many at once as there are processors; what each did, in their order, and all
/// the steps of all of them.
fn run_apart(seeds: &[u64], shown: Shown) -> (Vec<Outcome>, BTreeMap<Step, u64>) {
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    let share = seeds.len().div_ceil(processors).max(1);
    let parts = thread::scope(|scope| {
        let run_part = |part: &[u64]| part.iter().map(|seed| run(*seed, shown)).collect();
        let start = |part| scope.spawn(move || recorded::<Vec<_>>(|| run_part(part)));
        let running: Vec<_> = seeds.chunks(share).map(start).collect();
        let ended = running.into_iter().map(ScopedJoinHandle::join);
        ended
            .map(|part| part.expect("a world that panics says why"))
            .collect::<Vec<_>>()
    });
    let mut outcomes = Vec::new();
    let mut steps = BTreeMap::new();
    for (part, seen) in parts {
        outcomes.extend(part);
        for (step, count) in seen {
            *steps.entry(step).or_default() += count;
        }
    }
    (outcomes, steps)
}

/// Prints the median and the sum of all that was counted: the medians.
fn print_tallies(outcomes: &[Outcome]) -> BTreeMap<&'static str, u64> {
    let mut names: Vec<_> = outcomes
        .iter()
        .flat_map(|o| o.tally.keys())
        .copied()
        .collect();
    names.sort_unstable();
    names.dedup();
    println!("{} seeds; median a seed, total", outcomes.len());
    let mut medians = BTreeMap::new();
    for name in names {
        let count = |outcome: &Outcome| outcome.tally.get(name).copied().unwrap_or_default();
        let mut counts: Vec<_> = outcomes.iter().map(count).collect();
        counts.sort_unstable();
        let (median, total) = (counts[counts.len() / 2], counts.iter().sum::<u64>());
        println!("{name:>26} {median:>6} {total:>8}");
        medians.insert(name, median);
    }
    medians
}

/// Prints which event met which stage, and how often.
fn print_pairs(outcomes: &[Outcome]) {
    let mut pairs = BTreeMap::new();
    for (pair, count) in outcomes.iter().flat_map(|outcome| &outcome.pairs) {
        *pairs.entry(pair).or_insert(0) += count;
    }
    println!("stage, event: how often");
    for ((stage, event), count) in pairs {
        println!("{stage:>24}, {event:<16} {count:>8}");
    }
}

/// The promise of completion, with one datagram in ten lost each way, or up to half of all.
#[test]
fn completions_keep_the_invariants() {
    let (outcomes, medians) = run_all();
    if outcomes.len() < SEEDS_THAT_COUNT {
        return;
    }
    for (what, least) in FLOORS {
        let median = medians.get(what).copied().unwrap_or_default();
        assert!(median >= least, "{what}: {median} a seed, not {least}");
    }
    if outcomes.len() < SEEDS {
        return;
    }
    for meeting in MEETINGS {
        let has_met = outcomes
            .iter()
            .any(|outcome| outcome.pairs.contains_key(&meeting));
        assert!(has_met, "{meeting:?} never met");
    }
    for what in [
        "completions_cancelled",
        "completions_completed",
        "completions_expired",
        "turns contested",
    ] {
        let total: u64 = outcomes
            .iter()
            .filter_map(|outcome| outcome.tally.get(what))
            .sum();
        assert!(total > 0, "{what} never happened");
    }
}

#[test]
fn the_same_seed_leaves_the_same_trace_of_completions() {
    for seed in 1..=3 {
        let first = run(seed, Shown::Nothing);
        let second = run(seed, Shown::Nothing);
        assert_eq!(first.trace, second.trace, "seed {seed}");
        let other = run(seed + 1000, Shown::Nothing);
        assert_ne!(first.trace, other.trace, "seed {seed}");
    }
}
