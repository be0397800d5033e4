//! Loss of power at any moment: the production store and service on a disk that forgets what it likes.
//!
//! Spec: DESIGN §11. kill -9 proves nothing of fsync, for the page cache survives the process; here
//! what was not synced is dropped, torn or written in another order, and the power may go again
//! while the store recovers.

#![allow(
    clippy::disallowed_types,
    reason = "the store wants its disk to be shared between threads"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "real processes run in real time, and how long to test is no setting of theirs"
)]

mod full;
mod kill;
mod many;
mod model;
mod platter;
mod scene;
mod world;

use std::collections::BTreeMap;
use std::num::NonZero;
use std::thread::{self, ScopedJoinHandle};

use world::{Mutant, Outcome, run};

/// How many schedules are run if `CAMPON_SCHEDULES` does not say.
const SCHEDULES: u64 = 100;

/// Within how many schedules a mutant must be found.
const MUTANT_SCHEDULES: u64 = 1000;

/// What the schedule in the middle must have done at least.
const FLOORS: [(&str, u64); 5] = [
    ("accepted", 2),
    ("ends told", 1),
    ("power lost", 1),
    ("recalls", 1),
    ("records written", 4),
];

/// What some schedule must have met.
const MET: [&str; 6] = [
    "failed while writing",
    "lost while asked",
    "lost while calling",
    "lost while recovering",
    "lost while ringing",
    "store failed",
];

fn asked(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().expect("a number"))
}

/// Nothing that was accepted is lost, and nobody is rung twice: `CAMPON_SCHEDULES` says how often this
/// is tried, `CAMPON_SCHEDULE` which one alone.
#[test]
fn accepted_requests_outlive_any_loss_of_power() {
    let all = match asked("CAMPON_SCHEDULE") {
        Some(only) => only..=only,
        None => 1..=asked("CAMPON_SCHEDULES").unwrap_or(SCHEDULES),
    };
    let seeds: Vec<u64> = all.collect();
    let count = seeds.len();
    let mut sums: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    let mut faults = Vec::new();
    for (seed, Outcome { fault, tally }) in run_apart(&seeds) {
        faults.extend(fault.map(|fault| format!("schedule {seed}: {fault}")));
        for (name, count) in tally {
            sums.entry(name).or_default().push(count);
        }
    }
    println!("{count} schedules; median of a schedule, sum");
    for (name, counts) in &mut sums {
        // A schedule that does not speak of it has none.
        counts.resize(count, 0);
        counts.sort_unstable();
        let sum: u64 = counts.iter().sum();
        println!("  {name:<24} {:>4} {sum:>9}", counts[count / 2]);
    }
    let first: Vec<_> = faults.iter().take(5).map(String::as_str).collect();
    assert!(
        faults.is_empty(),
        "{} of {count} schedules:\n{}",
        faults.len(),
        first.join("\n")
    );
    if count > 1 {
        for (name, floor) in FLOORS {
            let median = sums.get(name).map_or(0, |counts| counts[count / 2]);
            assert!(median >= floor, "{name}: {median} in the middle");
        }
        for name in MET {
            assert!(sums.contains_key(name), "no schedule: {name}");
        }
    }
}

/// Runs these schedules, as many at once as there are processors; what came of each, in their order.
fn run_apart(seeds: &[u64]) -> Vec<(u64, Outcome)> {
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    let share = seeds.len().div_ceil(processors).max(1);
    let run_part = |part: &[u64]| -> Vec<_> {
        let outcome = |seed: &u64| (*seed, run(*seed, Mutant::None));
        part.iter().map(outcome).collect()
    };
    thread::scope(|scope| {
        let start = |part| scope.spawn(move || run_part(part));
        let running: Vec<_> = seeds.chunks(share).map(start).collect();
        let ended = running.into_iter().map(ScopedJoinHandle::join);
        ended
            .flat_map(|part| part.expect("a schedule that panics says why"))
            .collect()
    })
}

fn is_found(mutant: Mutant) -> u64 {
    let mut schedules = 1..=MUTANT_SCHEDULES;
    let found = schedules.find(|seed| run(*seed, mutant).fault.is_some());
    let found = found.unwrap_or_else(|| panic!("{mutant:?} is not found"));
    println!("{mutant:?} is found by schedule {found}");
    found
}

/// A store without durability: what it says is kept may be gone.
#[test]
fn a_store_that_does_not_sync_is_found_out() {
    is_found(Mutant::NoSync);
}

/// An answer before the commit: the caller hears what a loss of power takes back.
#[test]
fn an_answer_before_the_commit_is_found_out() {
    is_found(Mutant::AnswerFirst);
}

/// A recall that rings before it is counted would ring again.
#[test]
fn a_recall_that_is_not_kept_is_found_out() {
    is_found(Mutant::RecallUnkept);
}
