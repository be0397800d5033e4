//! Simulation: seeded phones on a bad network, and what must hold whatever they do.

mod call;
mod callee;
mod caller;
mod completion;
mod frame;
mod network;
mod phone;
mod steps;
mod transaction;
mod wire;
mod world;

use frame::Shown;
use network::Conditions;
use world::{Between, Outcome, run, run_shown};

/// Of so many seeds the faults are shown; the first are enough to begin with.
const FAILURES_SHOWN: usize = 30;

/// Below so many seeds nothing is said of how often things must happen.
const SEEDS_THAT_COUNT: usize = 20;

/// Below so many seeds it is luck whether the rarest things happen: one seed in forty has them.
const SEEDS_THAT_SHOW_ALL: usize = 200;

/// The seeds of a test that has so many by itself: `CAMPON_SEEDS` says how many, `CAMPON_SEEDS_AFTER`
/// after which, `CAMPON_SEED` which one alone, which then prints its messages.
fn seeds(by_itself: usize) -> Vec<u64> {
    if let Some(only) = asked("CAMPON_SEED") {
        return vec![only];
    }
    let after = asked("CAMPON_SEEDS_AFTER").unwrap_or(0);
    let many = asked("CAMPON_SEEDS").unwrap_or(by_itself as u64);
    (after + 1..=after + many).collect()
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long to test is not a setting of the program"
)]
fn asked(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().expect("a number"))
}

fn run_all(between: Between, conditions: Conditions) -> Vec<Outcome> {
    let seeds = seeds(SEEDS_THAT_COUNT);
    let shown = asked("CAMPON_SEED").map_or(Shown::Nothing, |_| Shown::Messages);
    let outcomes: Vec<_> = seeds
        .iter()
        .map(|seed| run_shown(*seed, between, conditions, shown))
        .collect();
    for outcome in &outcomes {
        print!("{}", outcome.messages);
    }
    let mut failed = Vec::new();
    for (seed, outcome) in seeds.iter().zip(&outcomes) {
        if !outcome.faults.is_empty() {
            failed.push(format!("seed {seed}:\n  {}", outcome.faults.join("\n  ")));
        }
    }
    let (count, seeds) = (failed.len(), seeds.len());
    failed.truncate(FAILURES_SHOWN);
    let shown = failed.join("\n");
    assert!(failed.is_empty(), "{count} of {seeds} seeds:\n{shown}");
    outcomes
}

/// The median over the seeds of how often something happened.
fn median(outcomes: &[Outcome], what: &str) -> u64 {
    let count = |outcome: &Outcome| outcome.tally.get(what).copied().unwrap_or_default();
    let mut counts: Vec<_> = outcomes.iter().map(count).collect();
    counts.sort_unstable();
    counts[counts.len() / 2]
}

fn total(outcomes: &[Outcome], what: &str) -> u64 {
    let count = |outcome: &Outcome| outcome.tally.get(what).copied().unwrap_or_default();
    outcomes.iter().map(count).sum()
}

/// Prints what the seeds did, and fails if they did too little to count.
fn assert_floors(outcomes: &[Outcome], floors: &[(&'static str, u64)], all: &[&str]) {
    let mut names: Vec<_> = outcomes.iter().flat_map(|o| o.tally.keys()).collect();
    names.sort_unstable();
    names.dedup();
    println!("{} seeds; median a seed, total", outcomes.len());
    for name in names {
        println!(
            "{name:>24} {:>6} {:>8}",
            median(outcomes, name),
            total(outcomes, name)
        );
    }
    if outcomes.len() < SEEDS_THAT_COUNT {
        return;
    }
    for (what, least) in floors {
        let median = median(outcomes, what);
        assert!(median >= *least, "{what}: {median} a seed, not {least}");
    }
    if outcomes.len() < SEEDS_THAT_SHOW_ALL {
        return;
    }
    for what in all {
        assert!(total(outcomes, what) > 0, "{what} never happened");
    }
}

/// The phones are right by themselves: a fault between them and campon is not theirs.
#[test]
fn phones_without_campon_end_each_invite_once() {
    let outcomes = run_all(Between::Nothing, Conditions::BAD);
    let floors = [("answers heard", 3), ("hung up", 3), ("lost", 10)];
    assert_floors(&outcomes, &floors, &["glare", "answers that crossed"]);
}

/// The promise to every caller, with one datagram in ten lost each way.
#[test]
fn each_invite_ends_once_and_the_tables_are_empty_after_quiet() {
    let outcomes = run_all(Between::Campon, Conditions::BAD);
    let floors = [
        ("registrations", 6),
        ("calls", 14),
        ("answers heard", 3),
        ("taken back", 1),
        ("busy", 1),
        ("changes asked for", 2),
        ("hung up", 3),
        ("lost", 20),
        ("repeated requests", 5),
        ("PRACKs heard", 2),
    ];
    let some = [
        "glare",
        "answers that crossed",
        "second forks",
        "given up by campon",
        "BYEs that crossed",
        "taken back early",
    ];
    assert_floors(&outcomes, &floors, &some);
}

#[test]
fn the_same_seed_leaves_the_same_trace() {
    for seed in 1..=5 {
        let first = run(seed, Between::Campon, Conditions::BAD);
        let second = run(seed, Between::Campon, Conditions::BAD);
        assert_eq!(first.trace, second.trace, "seed {seed}");
        let other = run(seed + 1000, Between::Campon, Conditions::BAD);
        assert_ne!(first.trace, other.trace, "seed {seed}");
    }
}

/// Where nothing is lost, nothing is said twice but to phones that are dead.
#[test]
fn on_a_clean_network_each_call_takes_few_messages() {
    let outcomes = run_all(Between::Campon, Conditions::CLEAN);
    let floors = [("answers heard", 3), ("busy", 1)];
    assert_floors(&outcomes, &floors, &[]);
    assert_eq!(total(&outcomes, "lost"), 0);
    assert_eq!(total(&outcomes, "late responses"), 0);
    assert_eq!(total(&outcomes, "PRACKs too late"), 0);
}
