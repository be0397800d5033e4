//! The table of requirements against the tests: both know each other.
//!
//! A table of the file is one id: `met_by` names tests that cite it where they assert, `not_met` says
//! why nothing does. A test proves little of anything if it is said to prove much, so it cites few.

use std::collections::BTreeMap;
use std::fs;

use serde::Deserialize;

use crate::{Source, report, sources};

const FILE: &str = "tests/spec/requirements.toml";

/// The most ids that one test may cite.
const CITED_MAX: usize = 3;

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Requirement {
    MetBy(Vec<String>),
    NotMet(String),
}

/// A test: its name, its file, and the ids that its comments cite.
struct Test {
    name: String,
    place: String,
    cites: Vec<String>,
}

fn table() -> BTreeMap<String, Requirement> {
    let text = fs::read_to_string(FILE).expect("the table of requirements");
    toml::from_str(&text).expect("each id has `met_by` or `not_met`, and nothing else")
}

fn all() -> Vec<Source> {
    let tests = sources("tests")
        .into_iter()
        .filter(|source| !source.path.starts_with("tests/tidy"));
    sources("src")
        .into_iter()
        .chain(tests.filter(|it| !it.path.ends_with("tidy.rs")))
        .collect()
}

fn tests() -> Vec<Test> {
    all().iter().flat_map(tests_of).collect()
}

fn tests_of(source: &Source) -> Vec<Test> {
    let marks = source
        .numbered()
        .filter(|(_, line)| line.trim() == "#[test]");
    marks
        .filter_map(|(mark, _)| test_below(source, mark))
        .collect()
}

/// The test whose attribute stands on this line; the formatting shows where it ends.
fn test_below(source: &Source, mark: usize) -> Option<Test> {
    let mut lines = source.numbered().skip(mark);
    let (number, head) = lines.find(|(_, line)| line.trim_start().starts_with("fn "))?;
    let (indent, rest) = head.split_once("fn ")?;
    let end = format!("{indent}}}");
    let body = lines.take_while(|(_, line)| !line.starts_with(&end));
    let mut cites: Vec<_> = body.flat_map(|(_, line)| cited(line)).collect();
    cites.sort();
    cites.dedup();
    let name = rest.split('(').next()?.to_owned();
    Some(Test {
        name,
        place: format!("{}:{number}", source.path.display()),
        cites,
    })
}

/// The ids in the comment of a line.
fn cited(line: &str) -> Vec<String> {
    let comment = line.split_once("//").map_or("", |(_, comment)| comment);
    let words = comment.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    words
        .filter(|word| is_requirement(word))
        .map(str::to_owned)
        .collect()
}

fn is_requirement(word: &str) -> bool {
    let digits = word.strip_prefix("CC-").or_else(|| word.strip_prefix("S-"));
    digits.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
}

#[test]
fn every_cited_requirement_is_listed() {
    let table = table();
    report(&all(), |source| {
        source.numbered().find_map(|(number, line)| {
            let id = cited(line).into_iter().find(|id| !table.contains_key(id))?;
            Some((number, format!("{id} is not listed in {FILE}")))
        })
    });
}

#[test]
fn every_requirement_is_met_by_tests_that_cite_it_or_says_why_not() {
    let tests = tests();
    let broken: Vec<_> = table()
        .iter()
        .flat_map(|(id, row)| faults(id, row, &tests))
        .collect();
    assert!(broken.is_empty(), "{FILE}\n{}", broken.join("\n"));
}

fn faults(id: &str, requirement: &Requirement, tests: &[Test]) -> Vec<String> {
    let cites = |test: &&Test| test.cites.iter().any(|cited| cited == id);
    match requirement {
        _ if !is_requirement(id) => vec![format!("{id} is no id")],
        Requirement::MetBy(names) if names.is_empty() => vec![format!("{id}: by no test")],
        Requirement::MetBy(names) => {
            let is_met =
                |name: &&String| tests.iter().filter(cites).any(|test| test.name == **name);
            let unmet = names.iter().filter(|name| !is_met(name));
            unmet
                .map(|name| format!("{id}: no test `{name}` cites it"))
                .collect()
        }
        Requirement::NotMet(why) if why.trim().is_empty() => vec![format!("{id}: no reason")],
        Requirement::NotMet(_) => {
            let claims = tests.iter().filter(cites);
            claims
                .map(|test| format!("{}: cites {id}, which is not met", test.place))
                .collect()
        }
    }
}

#[test]
fn no_test_claims_much() {
    let broken: Vec<_> = tests()
        .into_iter()
        .filter(|test| test.cites.len() > CITED_MAX)
        .map(|test| format!("{}: cites {}", test.place, test.cites.join(", ")))
        .collect();
    assert!(
        broken.is_empty(),
        "more than {CITED_MAX} ids\n{}",
        broken.join("\n")
    );
}

/// What finds the tests must find them, or the rules above hold of nothing.
#[test]
fn tests_and_their_citations_are_found() {
    let text = "#[test]\nfn one() {\n    f(); // S-1\n    // CC-2, S-1: why\n}\n// S-3\n";
    let source = Source {
        path: "src/a.rs".into(),
        text: text.to_owned(),
    };
    let found = tests_of(&source);
    assert_eq!((found.len(), &*found[0].name), (1, "one"));
    assert_eq!(found[0].cites, ["CC-2", "S-1"]);
    assert_eq!(found[0].place, "src/a.rs:2");
}
