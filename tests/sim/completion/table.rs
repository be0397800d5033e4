//! Every (machine, state, event) that there is: seen by some seed, or listed with its reason.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::Deserialize;

use crate::sim::steps::Step;

/// Below so many seeds it is luck whether the rarest steps are made.
const SEEDS_THAT_MEET_ALL: usize = 5_000;

/// The machines, their states, and what may happen to them.
const MACHINES: [(&str, &[&str], &[&str]); 7] = [
    (
        "agent",
        &["Empty", "Leaving", "Waiting", "Occupied"],
        &[
            "Line",
            "Request",
            "TakeUp",
            "Accepted",
            "Refused",
            "Forked",
            "NotifiedQueued",
            "NotifiedReady",
            "NotifiedEnd",
            "Published",
            "RecallAnswered",
            "RecallFailed",
            "CcCallArrived",
            "CcCallAnswered",
            "CcCallFailed",
            "Talking",
            "Resume",
            "Uncomplete",
            "Due",
        ],
    ),
    (
        "request",
        &[
            "Pending",
            "Queued",
            "Held",
            "Recalling",
            "Placing",
            "Calling",
            "Ended",
        ],
        &[
            "Accepted",
            "Refused",
            "Forked",
            "NotifiedQueued",
            "NotifiedReady",
            "NotifiedEnd",
            "Published",
            "RecallAnswered",
            "RecallFailed",
            "CcCallArrived",
            "CcCallAnswered",
            "CcCallFailed",
            "Talking",
            "Resume",
            "Uncomplete",
            "Due",
        ],
    ),
    (
        "monitor",
        &["Empty", "Queued", "Suspended", "Ready", "Calling"],
        &[
            "Line",
            "Subscribe",
            "TakeUp",
            "Renew",
            "Refresh",
            "Unsubscribe",
            "Lost",
            "Suspend",
            "Resume",
            "CcCallArrived",
            "CcCallAnswered",
            "CcCallDiverted",
            "CcCallFailed",
            "Refuse",
            "Abandon",
            "CalleeGone",
            "Due",
        ],
    ),
    (
        "invite client",
        &["Calling", "Proceeding", "Accepted", "Completed"],
        &[
            "Response(Provisional)",
            "Response(Success)",
            "Response(Failure)",
            "CancelSent",
            "TransportError",
            "Again",
            "Over",
        ],
    ),
    (
        "invite server",
        &["Proceeding", "Accepted", "Completed", "Confirmed"],
        &[
            "Retransmitted",
            "Acknowledged",
            "Answer(Provisional)",
            "Answer(Success)",
            "Answer(Failure)",
            "TransportError",
            "Again",
            "Over",
        ],
    ),
    (
        "non-invite client",
        &["Trying", "Proceeding", "Completed"],
        &[
            "Response(Provisional)",
            "Response(Success)",
            "Response(Failure)",
            "TransportError",
            "Again",
            "Over",
        ],
    ),
    (
        "non-invite server",
        &["Trying", "Proceeding", "Completed"],
        &[
            "Retransmitted",
            "Answer(Provisional)",
            "Answer(Success)",
            "Answer(Failure)",
            "TransportError",
            "Again",
            "Over",
        ],
    ),
];

/// What seeds do not show, and why.
const UNSEEN: &str = include_str!("unseen.toml");

/// Prints the table, and fails if it says less or more than the list.
pub(super) fn check(steps: &BTreeMap<Step, u64>, seeds: usize) {
    print_table(steps);
    let (never, by_luck) = listed();
    let of = |step: [&str; 3]| step.map(str::to_owned);
    let all: BTreeSet<_> = all().map(of).collect();
    let mut faults = Vec::new();
    for step in steps.keys().chain(&never).chain(&by_luck) {
        if !all.contains(step) {
            faults.push(format!("{step:?}: no such step in the table"));
        }
    }
    for step in steps.keys().filter(|step| never.contains(*step)) {
        faults.push(format!("{step:?}: is seen, and listed as unseen"));
    }
    if seeds >= SEEDS_THAT_MEET_ALL {
        let is_known = |step: &&Step| {
            steps.contains_key(*step) || never.contains(*step) || by_luck.contains(*step)
        };
        let missing = all.iter().filter(|step| !is_known(step));
        faults.extend(missing.map(|step| format!("{step:?}: neither seen nor listed")));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

fn all() -> impl Iterator<Item = [&'static str; 3]> {
    MACHINES.into_iter().flat_map(|(machine, states, events)| {
        let of_state = move |state: &&'static str| {
            let state = *state;
            events.iter().map(move |event| [machine, state, *event])
        };
        states.iter().flat_map(of_state)
    })
}

/// States and events of a machine that do not meet.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unseen {
    machine: String,
    states: Vec<String>,
    events: Vec<String>,
    why: String,
    /// Whether some seed may show them all the same.
    #[serde(default)]
    luck: bool,
}

/// What is never seen, and what only luck shows.
fn listed() -> (BTreeSet<Step>, BTreeSet<Step>) {
    let mut list: BTreeMap<String, Vec<Unseen>> = toml::from_str(UNSEEN).expect("a list");
    let (mut never, mut by_luck) = (BTreeSet::new(), BTreeSet::new());
    for entry in list.remove("unseen").unwrap_or_default() {
        assert!(entry.why.len() > 20, "no reason: {}", entry.why);
        for state in &entry.states {
            for event in &entry.events {
                let step = [&entry.machine, state, event].map(String::clone);
                let is_twice = never.contains(&step) || by_luck.contains(&step);
                assert!(!is_twice, "{step:?} is listed twice");
                let list = if entry.luck { &mut by_luck } else { &mut never };
                list.insert(step);
            }
        }
    }
    (never, by_luck)
}

fn print_table(steps: &BTreeMap<Step, u64>) {
    let mut text = String::new();
    for (machine, states, events) in MACHINES {
        for state in states {
            let _ = write!(text, "{machine}, {state}:");
            for event in events {
                let step = [machine, state, event].map(str::to_owned);
                let count = steps.get(&step).copied().unwrap_or_default();
                let _ = write!(text, " {event} {count}");
            }
            text.push('\n');
        }
    }
    println!("machine, state: event and how often\n{text}");
}
