//! Completion on a bad network: what must hold whoever waits for whom.
//!
//! Spec: DESIGN §13 (invariants that need no crash).

mod agent;
mod legs;
mod monitor;
mod usage;
mod user;
mod watch;
mod world;

use std::collections::BTreeMap;

use super::frame::Shown;
use super::{FAILURES_SHOWN, SEEDS_THAT_COUNT, SEEDS_THAT_SHOW_ALL, asked, seeds};
use world::{Outcome, run};

/// What the seed in the middle must have done at least; below that seeds count for nothing.
const FLOORS: [(&str, u64); 5] = [
    ("calls", 40),
    ("completions_accepted", 8),
    ("completions_recalled", 2),
    ("codes", 4),
    ("SUBSCRIBEs accepted", 2),
];

/// Runs every seed, prints what they did, and fails if one broke an invariant.
fn run_all() -> (Vec<Outcome>, BTreeMap<&'static str, u64>) {
    let shown = asked("CAMPON_SEED").map_or(Shown::Nothing, |_| Shown::Messages);
    let seeds = seeds();
    let outcomes: Vec<_> = seeds.iter().map(|seed| run(*seed, shown)).collect();
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
    (outcomes, medians)
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

/// The promise of completion, with one datagram in ten lost each way.
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
    if outcomes.len() < SEEDS_THAT_SHOW_ALL {
        return;
    }
    for what in [
        "completions_cancelled",
        "completions_completed",
        "completions_expired",
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
