//! House rules that neither rustc, clippy nor rustfmt can check.
//!
//! Each rule is one test, and each failure names `file:line`. The tables at the top are the
//! architecture: changing one is a design decision, so it shows up in review as such.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

#[path = "tidy/requirements.rs"]
mod requirements;

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

/// Code that gives up, or waits for luck.
const UNFINISHED: &[&str] = &["todo!(", "unimplemented!(", "thread::sleep("];

/// Paths of one machine, and words about how the tree came about; in two pieces, so that this file may
/// be searched as well.
const FOREIGN: &[(&str, &str)] = &[
    ("/ho", "me/"),
    ("/ro", "ot/"),
    ("/t", "mp/"),
    ("/wo", "rk/"),
    (".lib", "rary"),
    ("helper ", "session"),
    ("sub", "agent"),
];

/// The caps that clippy keeps, as they stand in its configuration.
const CAPS: &[&str] = &[
    "cognitive-complexity-threshold = 15",
    "excessive-nesting-threshold = 5",
    "max-fn-params-bools = 1",
    "max-struct-bools = 2",
    "too-many-arguments-threshold = 6",
    "too-many-lines-threshold = 70",
];

/// The lints behind the caps; no attribute may lift one.
const CAPPED: &[&str] = &[
    "cognitive_complexity",
    "excessive_nesting",
    "fn_params_excessive_bools",
    "struct_excessive_bools",
    "too_many_arguments",
    "too_many_lines",
];

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
    report(&everywhere(), |source| {
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

/// The caps on functions are clippy's; this keeps them where they are, and holds for every function.
#[test]
fn no_function_escapes_its_caps() {
    let clippy = fs::read_to_string(".clippy.toml").expect("clippy's configuration");
    for cap in CAPS {
        assert!(clippy.contains(cap), ".clippy.toml no longer says `{cap}`");
    }
    report(&everywhere(), |source| {
        source.code().find_map(|(number, line)| {
            let lint = CAPPED
                .iter()
                .find(|lint| line.contains(&format!("clippy::{lint}")))?;
            Some((number, format!("{lint} is not to be lifted")))
        })
    });
}

#[test]
fn nothing_is_left_behind() {
    report(&everywhere(), |source| {
        source.numbered().find_map(|(number, line)| {
            let word = BANNED.iter().find(|word| line.contains(*word))?;
            Some((number, format!("leftover {word}")))
        })
    });
}

#[test]
fn nothing_is_unfinished() {
    report(&everywhere(), |source| {
        source.code().find_map(|(number, line)| {
            if line.trim_start().starts_with("#[ignore") {
                return Some((number, "a test that does not run".to_owned()));
            }
            let word = UNFINISHED.iter().find(|word| line.contains(*word))?;
            Some((number, format!("unfinished: {word}")))
        })
    });
}

/// The tree works wherever it stands, and speaks of itself alone.
#[test]
fn nothing_foreign_is_named() {
    let mut texts = everywhere();
    texts.extend(files("sipp-scenarios", "xml"));
    texts.extend(["README.md", "Cargo.toml", "tests/run", ".ci/run"].map(Source::read));
    report(&texts, |source| {
        source.numbered().find_map(|(number, line)| {
            let (head, tail) = FOREIGN
                .iter()
                .find(|(head, tail)| line.contains(&format!("{head}{tail}")))?;
            Some((number, format!("names {head}{tail}")))
        })
    });
}

struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    fn read(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref().to_path_buf();
        let text = fs::read_to_string(&path).expect("a file of the tree, in UTF-8");
        Self { path, text }
    }

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

/// Every Rust file that is ours.
fn everywhere() -> Vec<Source> {
    let all = ["src", "tests", "benches"]
        .map(sources)
        .into_iter()
        .flatten();
    // What names the rules would break them.
    all.filter(|source| !source.path.ends_with("tests/tidy.rs"))
        .collect()
}

fn sources(folder: &str) -> Vec<Source> {
    files(folder, "rs")
}

fn files(folder: &str, extension: &str) -> Vec<Source> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)
        .expect("the tests run in the repository root")
        .flatten()
    {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path.to_string_lossy(), extension));
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(Source::read(&path));
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
