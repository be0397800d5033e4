//! House rules that neither rustc, clippy nor rustfmt can check.
//!
//! Each rule is one test, and each failure names `file:line`. The tables at the top are the
//! architecture: changing one is a design decision, so it shows up in review as such.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

#[path = "tidy/tapi.rs"]
mod tapi;

/// Which module may use which: all of `sip`, or only `sip::uri`. A module not listed may use nothing
/// in the crate.
const ARROWS: &[(&str, &[&str])] = &[
    ("time", &[]),
    ("random", &[]),
    ("table", &[]),
    ("ledger", &[]),
    ("named", &["table"]),
    ("wheel", &["time"]),
    ("observe", &["time"]),
    ("sip", &[]),
    ("tls", &["sip"]),
    (
        "transaction",
        &["observe", "random", "sip", "table", "time", "wheel"],
    ),
    (
        "dialog",
        &["observe", "random", "sip", "table", "time", "transaction"],
    ),
    ("location", &["observe", "random", "sip", "table", "time"]),
    ("routing", &["random", "sip", "time"]),
    ("media", &["random", "time"]),
    (
        "call",
        &[
            "dialog",
            "media",
            "observe",
            "random",
            "sip",
            "table",
            "time",
            "transaction",
            "wheel",
        ],
    ),
    (
        "relay",
        &[
            "call",
            "dialog",
            "random",
            "sip",
            "table",
            "time",
            "transaction",
        ],
    ),
    ("cc", &["random", "sip::uri", "time"]),
    (
        "completion",
        &[
            "cc", "ledger", "named", "observe", "random", "sip::uri", "store", "table", "time",
        ],
    ),
    ("store", &["time"]),
    (
        "shard",
        &[
            "call",
            "cc",
            "completion",
            "dialog",
            "ledger",
            "location",
            "media",
            "named",
            "observe",
            "random",
            "relay",
            "routing",
            "sip",
            "store",
            "table",
            "time",
            "tls",
            "transaction",
            "wheel",
        ],
    ),
    ("api", &["completion", "observe", "shard", "time"]),
    (
        "config",
        &[
            "api",
            "call",
            "cc",
            "completion",
            "location",
            "media",
            "observe",
            "routing",
            "shard",
            "sip",
            "time",
            "tls",
            "transaction",
        ],
    ),
    (
        "io",
        &[
            "api",
            "completion",
            "config",
            "media",
            "observe",
            "random",
            "routing",
            "shard",
            "sip",
            "store",
            "time",
            "tls",
        ],
    ),
    ("lib", &[]),
    ("main", &["config", "io"]),
];

/// The most lines a source file may have before its tests.
const FILE_LINES_MAX: usize = 600;

/// Words that must not be left behind.
const BANNED: &[&str] = &["TODO", "FIXME", "XXX", "HACK"];

/// The requirements that the product claims, one TOML table each.
const REQUIREMENTS: &str = "tests/spec/requirements.toml";

/// The most requirements that one test may show.
const IDS_A_TEST_MAX: usize = 3;

#[test]
fn modules_state_their_purpose() {
    report(&sources("src"), |source| {
        let first = source.text.lines().next().unwrap_or_default();
        let good = first.starts_with("//! ") && first.ends_with('.');
        (!good).then(|| {
            (
                1,
                "the first line must be a one-sentence `//!` purpose".to_owned(),
            )
        })
    });
}

#[test]
fn files_stay_short() {
    report(&sources("src"), |source| {
        let lines = source
            .text
            .lines()
            .take_while(|line| *line != "#[cfg(test)]")
            .count();
        (lines > FILE_LINES_MAX).then(|| {
            (
                lines,
                format!("{lines} lines before the tests; at most {FILE_LINES_MAX}"),
            )
        })
    });
}

#[test]
fn arrows_point_down() {
    report(&sources("src"), |source| {
        let module = source.module();
        let allowed = ARROWS
            .iter()
            .find(|(name, _)| *name == module)
            .map_or(&[][..], |row| row.1);
        source.code().find_map(|(number, line)| {
            // Two forms would hide an arrow from this test: a climb, and a grouped import.
            if line.contains("super::super") || line.contains("crate::{") {
                return Some((
                    number,
                    "write one `crate::module::…` path a line".to_owned(),
                ));
            }
            line.split("crate::").skip(1).find_map(|path| {
                let mut steps = path.split(|c: char| !c.is_alphanumeric() && c != '_');
                let used = steps.next()?;
                // After `used::` comes an empty step, then the name inside it.
                let inner = format!("{used}::{}", steps.nth(1).unwrap_or_default());
                let fine = used == module || allowed.contains(&used) || allowed.contains(&&*inner);
                (!fine).then(|| (number, format!("`{module}` may not use `{inner}`")))
            })
        })
    });
}

#[test]
fn nothing_is_left_behind() {
    report(&sources("src"), |source| {
        source.numbered().find_map(|(number, line)| {
            let word = BANNED.iter().find(|word| line.contains(*word))?;
            Some((number, format!("leftover {word}")))
        })
    });
}

/// A comment that cites a requirement id (`S-19`) cites one that the table lists.
#[test]
fn cited_requirements_are_listed() {
    let table = requirements();
    for folder in ["src", "tests"] {
        report(&sources(folder), |source| {
            source.numbered().find_map(|(number, line)| {
                let unlisted = ids(line).find(|id| !table.contains_key(*id))?;
                Some((number, format!("{unlisted} is not listed")))
            })
        });
    }
}

/// A requirement is met by tests that cite it, or says why it is not met.
#[test]
fn listed_requirements_are_tested_or_explained() {
    let tests = all_tests();
    let mut broken = String::new();
    for (id, requirement) in &requirements() {
        if let Err(why) = requirement.check(id, &tests) {
            let _ = writeln!(broken, "{REQUIREMENTS}: {id}: {why}");
        }
    }
    assert!(broken.is_empty(), "\n{broken}");
}

/// Nothing that is asked of us is left unsaid: each id of the reference, which stands beside the
/// repository, is listed. Where the reference is missing, this tests nothing and says so.
#[test]
fn every_requirement_of_the_reference_is_listed() {
    let Some(reference) = reference() else {
        return;
    };
    let table = requirements();
    let words = reference.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    let asked: BTreeSet<_> = words.filter(|word| is_requirement(word)).collect();
    assert!(asked.len() > 100, "only {} requirements", asked.len());
    let missing: Vec<_> = asked
        .iter()
        .filter(|id| !table.contains_key(**id))
        .collect();
    assert!(
        missing.is_empty(),
        "{REQUIREMENTS}: not listed: {missing:?}"
    );
}

/// What can be written in a file is told: each key stands in the README, as code.
#[test]
fn every_key_of_the_configuration_stands_in_the_readme() {
    let raw = fs::read_to_string("src/config/raw.rs").expect("the keys are there");
    let manual = fs::read_to_string("README.md").expect("the manual is there");
    let code = manual.split('`').skip(1).step_by(2);
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let told: BTreeSet<_> = code.flat_map(|it| it.split(|c| !is_word(c))).collect();
    let mut keys = BTreeSet::new();
    let mut renamed = None;
    for line in raw.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("#[serde(rename = \"") {
            renamed = name.split('"').next();
        }
        let field = line
            .strip_prefix("pub(super) ")
            .and_then(|it| it.split_once(": "));
        keys.extend(field.map(|(name, _)| renamed.take().unwrap_or(name)));
    }
    assert!(keys.len() > 100, "only {} keys", keys.len());
    let untold: Vec<_> = keys.difference(&told).collect();
    assert!(untold.is_empty(), "README.md: not told: {untold:?}");
}

/// What is asked of us, if it stands beside the repository.
fn reference() -> Option<String> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut places = root
        .ancestors()
        .skip(1)
        .map(|above| above.join("shared/reference/standards.md"));
    let found = places.find_map(|place| fs::read_to_string(place).ok());
    if found.is_none() {
        // Past the capture of the test's output, which only a failure would show.
        let line = "NOT TESTED: ../shared/reference is ABSENT";
        std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{line}\n"))
            .expect("the standard error");
    }
    found
}

/// A test that serves many ids proves none of them.
#[test]
fn a_test_serves_few_requirements() {
    let mut broken = String::new();
    for test in all_tests() {
        if test.cites.len() > IDS_A_TEST_MAX {
            let Test { place, name, cites } = test;
            let _ = writeln!(broken, "{place}: {name} cites {cites:?}");
        }
    }
    assert!(broken.is_empty(), "\n{broken}");
}

/// A row of the table of requirements.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Requirement {
    /// The tests that show it.
    #[serde(default)]
    met_by: Vec<String>,
    /// Which part the tests do not show because the product does not have it, and why.
    left_out: Option<String>,
    /// Why it is not met at all.
    not_met: Option<String>,
}

impl Requirement {
    fn check(&self, id: &str, tests: &[Test]) -> Result<(), String> {
        if !is_requirement(id) {
            return Err("no id of a requirement".to_owned());
        }
        if self.met_by.is_empty() == self.not_met.is_none() {
            return Err("either `met_by` or `not_met`".to_owned());
        }
        if self.left_out.is_some() && self.met_by.is_empty() {
            return Err("`left_out` goes with `met_by`".to_owned());
        }
        let mut reasons = self.left_out.iter().chain(&self.not_met);
        if reasons.any(|why| !why.ends_with('.')) {
            return Err("a reason is a sentence".to_owned());
        }
        let is_shown_by = |name: &String| {
            let mut named = tests.iter().filter(|test| test.name == *name);
            named.any(|test| test.cites.contains(id))
        };
        match self.met_by.iter().find(|name| !is_shown_by(name)) {
            Some(name) => Err(format!("no test `{name}` that cites it")),
            None => Ok(()),
        }
    }
}

fn requirements() -> BTreeMap<String, Requirement> {
    let text = fs::read_to_string(REQUIREMENTS).expect("the table is there");
    toml::from_str(&text).expect("the table holds requirements")
}

/// A test function and the requirements that its comments cite.
struct Test {
    /// `file:line`
    place: String,
    name: String,
    cites: BTreeSet<String>,
}

fn all_tests() -> Vec<Test> {
    let mut found = sources("src");
    found.extend(sources("tests"));
    found.iter().flat_map(Source::tests).collect()
}

/// The requirement ids in the comment of a line.
fn ids(line: &str) -> impl Iterator<Item = &str> {
    let comment = line.split_once("//").unwrap_or_default().1;
    comment
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '-')
        .filter(|word| is_requirement(word))
}

struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    /// The top-level module that this file belongs to.
    fn module(&self) -> String {
        let inside = self.path.strip_prefix("src").unwrap_or(&self.path);
        let first = inside.iter().next().unwrap_or_default().to_string_lossy();
        first.trim_end_matches(".rs").to_owned()
    }

    /// The lines that are not comments.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.numbered()
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    fn tests(&self) -> Vec<Test> {
        let lines: Vec<_> = self.text.lines().collect();
        let marks = self.numbered().filter(|(_, line)| line.trim() == "#[test]");
        marks
            .filter_map(|(number, mark)| {
                let (above, below) = lines.split_at(number);
                self.test(above, mark, below)
            })
            .collect()
    }

    /// The test of a `#[test]`: from the first line of its doc to its last brace.
    fn test(&self, above: &[&str], mark: &str, below: &[&str]) -> Option<Test> {
        let brace = mark.replace("#[test]", "}");
        let is_doc = |line: &&&str| line.trim() == "#[test]" || line.trim().starts_with("///");
        let doc = above.iter().rev().take_while(is_doc);
        let body = below.iter().take_while(|line| **line != brace);
        let name = body
            .clone()
            .find_map(|line| line.trim().strip_prefix("fn "))?;
        Some(Test {
            place: format!("{}:{}", self.path.display(), above.len()),
            name: name.split('(').next()?.to_owned(),
            cites: doc
                .chain(body)
                .flat_map(|line| ids(line))
                .map(str::to_owned)
                .collect(),
        })
    }

    fn numbered(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.lines())
    }
}

fn sources(folder: &str) -> Vec<Source> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)
        .expect("the tests run in the repository root")
        .flatten()
    {
        let path = entry.path();
        if path.is_dir() {
            found.extend(sources(&path.to_string_lossy()));
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            found.push(Source {
                text: fs::read_to_string(&path).expect("UTF-8"),
                path,
            });
        }
    }
    found
}

fn report(sources: &[Source], rule: impl Fn(&Source) -> Option<(usize, String)>) {
    assert!(!sources.is_empty(), "no sources found");
    let mut broken = String::new();
    for source in sources {
        if let Some((line, why)) = rule(source) {
            let _ = writeln!(broken, "{}:{line}: {why}", source.path.display());
        }
    }
    assert!(broken.is_empty(), "\n{broken}");
}

fn is_requirement(word: &str) -> bool {
    let digits = word.strip_prefix("CC-").or_else(|| word.strip_prefix("S-"));
    digits.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
}
