//! The scenario files, and the rules that all of them keep.

use std::fs;
use std::path::{Path, PathBuf};

use crate::ladder::Ladder;

const FOLDER: &str = "sipp-scenarios";

/// The file of a scenario, `basic_call.callee`; absolute, because SIPp runs elsewhere.
pub fn path(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join(FOLDER).join(format!("{name}.xml"))
}

/// The ladder at the head of a scenario file.
pub fn ladder(file: &Path) -> Ladder {
    let text = fs::read_to_string(file);
    let text = text.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let drawn = Ladder::of_scenario(&text);
    drawn.unwrap_or_else(|| panic!("{} opens with no ladder", file.display()))
}

/// File stem and text of every scenario.
fn all() -> Vec<(String, String)> {
    let entries = fs::read_dir(FOLDER).expect("the tests run in the repository root");
    let all: Vec<_> = entries
        .map(|entry| {
            let path = entry.expect("a readable folder").path();
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            let text = fs::read_to_string(&path).expect("UTF-8");
            (stem.into_owned(), text)
        })
        .collect();
    assert!(!all.is_empty(), "no scenarios found");
    all
}

#[test]
fn every_scenario_draws_each_of_its_messages() {
    for (name, text) in all() {
        let ladder = Ladder::of_scenario(&text);
        let ladder = ladder.unwrap_or_else(|| panic!("{name} opens with no ladder"));
        let optional = text.matches("optional=\"true\"").count();
        let said = text.matches("<send").count() + text.matches("<recv").count() - optional;
        assert_eq!(
            ladder.len(),
            said,
            "{name}: messages drawn and messages played"
        );
    }
}

#[test]
fn nothing_but_a_100_is_optional() {
    for (name, text) in all() {
        let optional = text.lines().filter(|line| line.contains("optional"));
        for line in optional {
            assert!(line.contains("response=\"100\""), "{name}: {}", line.trim());
        }
    }
}

#[test]
fn every_scenario_is_played_by_a_test() {
    let tests = concat!(
        include_str!("../sipp.rs"),
        include_str!("calls.rs"),
        include_str!("messages.rs"),
        include_str!("camping.rs"),
        include_str!("campons.rs"),
        include_str!("edge.rs"),
        include_str!("keys.rs"),
        include_str!("mixing.rs"),
        include_str!("operator.rs"),
        include_str!("peers.rs"),
        include_str!("recalls.rs"),
        include_str!("relayed.rs"),
        include_str!("tour.rs"),
        include_str!("ways.rs"),
        include_str!("../power/kill/traffic.rs")
    );
    let tests: String = code_lines(tests).collect();
    assert!(!tests.contains("#[ignore"), "an ignored test plays nothing");
    let drivers = concat!(include_str!("stage.rs"), include_str!("line.rs"));
    let drivers: String = code_lines(drivers).collect();
    for (name, _) in all() {
        let (flow, role) = name.split_once('.').expect("flow.role.xml");
        let named = format!("\"{name}\"");
        let played_as_call = [
            format!("play_call(\"{flow}\""),
            format!("play_call_on_kept_connection(\"{flow}\""),
        ];
        let as_call = match role {
            "caller" | "callee" => &played_as_call[..],
            "line" => &played_as_call[1..],
            _ => &[],
        };
        let played = tests.contains(&named)
            || drivers.contains(&named)
            || as_call.iter().any(|call| tests.contains(call));
        assert!(played, "no test plays {name}");
    }
}

/// The lines that are not comments.
fn code_lines(source: &str) -> impl Iterator<Item = &str> {
    let lines = source.lines();
    lines.filter(|line| !line.trim_start().starts_with("//"))
}
