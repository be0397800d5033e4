//! House rules that neither rustc, clippy nor rustfmt can check.
//!
//! Each rule is one test, and each failure names `file:line`. The tables at the top are the
//! architecture: changing one is a design decision, so it shows up in review as such.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

/// Which module may use which: all of `sip`, or only `sip::uri`. A module not listed may use nothing
/// in the crate.
const ARROWS: &[(&str, &[&str])] = &[
    ("time", &[]),
    ("random", &[]),
    ("table", &[]),
    ("wheel", &["time"]),
    ("observe", &["time"]),
    ("sip", &[]),
    (
        "transaction",
        &["observe", "random", "sip", "table", "time", "wheel"],
    ),
    (
        "dialog",
        &["observe", "random", "sip", "table", "time", "transaction"],
    ),
    ("location", &["observe", "random", "sip", "table", "time"]),
    ("media", &["observe", "random", "sip::sdp", "time"]),
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
    ("cc", &["random", "sip::uri", "time"]),
    (
        "completion",
        &[
            "cc", "observe", "random", "sip::uri", "store", "table", "time",
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
            "location",
            "observe",
            "random",
            "sip",
            "table",
            "time",
            "transaction",
            "wheel",
        ],
    ),
    ("api", &["completion", "observe", "shard", "time"]),
    (
        "config",
        &[
            "call",
            "cc",
            "completion",
            "location",
            "observe",
            "shard",
            "sip",
            "time",
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
            "shard",
            "sip",
            "store",
            "time",
        ],
    ),
    ("lib", &[]),
    ("main", &["config", "io"]),
];

/// The most lines a source file may have before its tests.
const FILE_LINES_MAX: usize = 600;

/// Words that must not be left behind.
const BANNED: &[&str] = &["TODO", "FIXME", "XXX", "HACK"];

/// The requirements that the product claims, one TOML table each; see `cited_requirements_are_tested`.
const REQUIREMENTS: &str = "tests/spec/requirements.toml";

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

/// A comment that cites a requirement id (`CC-42`, `S-19`) cites one that the table lists.
#[test]
fn cited_requirements_are_listed() {
    let Ok(table) = fs::read_to_string(REQUIREMENTS) else {
        return;
    };
    report(&sources("src"), |source| {
        source.numbered().find_map(|(number, line)| {
            let comment = line.split_once("//")?.1;
            let id = comment
                .split(|c: char| !c.is_ascii_alphanumeric() && c != '-')
                .find(|word| is_requirement(word))?;
            (!table.contains(&format!("[{id}]"))).then(|| (number, format!("{id} is not listed")))
        })
    });
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
