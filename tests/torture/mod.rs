//! The torture messages of RFC 4475 and RFC 5118: each gets an answer that its manifest lists, and
//! campon goes on.
//!
//! The messages and their manifests stand beside the repository, in `shared/vectors`. Where they are
//! not, nothing is tested, and the tests say so.

mod expectation;
mod trial;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use expectation::Expectation;
use trial::Trial;

#[test]
fn each_message_of_rfc_4475_gets_an_acceptable_answer() {
    let Some(trials) = trials("rfc4475") else {
        return;
    };
    assert_eq!(trials.len(), 50);
    report("RFC 4475", &trials);
}

#[test]
fn each_message_of_rfc_5118_gets_an_acceptable_answer() {
    let Some(trials) = trials("rfc5118") else {
        return;
    };
    // Three messages are tried as they are and with their Content-Length put right.
    assert_eq!(trials.len(), 15);
    report("RFC 5118", &trials);
}

#[test]
fn all_messages_one_after_the_other_leave_nothing() {
    let sets = ["rfc4475", "rfc5118"].into_iter().filter_map(trials);
    let trials: Vec<_> = sets.flatten().collect();
    let left = trial::left_by(&trials);
    assert!(left.is_empty(), "{left:?}");
}

fn report(set: &str, trials: &[Trial]) {
    let failures: Vec<_> = trials
        .iter()
        .filter_map(|trial| {
            trial
                .run()
                .err()
                .map(|why| format!("{}: {why}", trial.name))
        })
        .collect();
    let passed = trials.len() - failures.len();
    println!("{set}: {passed} of {} messages", trials.len());
    assert!(failures.is_empty(), "{set}:\n{}", failures.join("\n"));
}

/// The trials of one manifest; `None`, and a line that says so, if it is absent.
fn trials(set: &str) -> Option<Vec<Trial>> {
    let Some(folder) = folder(set) else {
        // Past the capture of the test's output, which only a failure would show.
        let line = format!("NOT TESTED: ../shared/vectors/{set} is ABSENT");
        writeln!(std::io::stderr(), "{line}").expect("the standard error");
        return None;
    };
    let manifest = read(&folder.join("manifest.json"));
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).expect("JSON");
    let cases = manifest["cases"].as_array().expect("a list of cases");
    let trials = cases.iter().flat_map(|case| of_case(&folder, case));
    Some(trials.collect())
}

fn of_case(folder: &Path, case: &serde_json::Value) -> Vec<Trial> {
    let text = |key: &str| case[key].as_str().map(str::to_owned);
    let name = text("name").expect("a name");
    let raw = read(&folder.join(text("file").expect("a file")));
    assert_eq!(Some(raw.len() as u64), case["size"].as_u64(), "{name}");
    let acceptable = Expectation::list(&case["acceptable"]);
    let Some(fixed) = text("fixed_file") else {
        return vec![Trial::new(name, raw, acceptable)];
    };
    let as_it_is = Expectation::list(&case["acceptable_raw"]);
    let put_right = read(&folder.join(&fixed));
    vec![
        Trial::new(name, raw, as_it_is),
        Trial::new(fixed, put_right, acceptable),
    ]
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The set's folder under `shared/vectors`, in the nearest folder above the repository that has it.
fn folder(set: &str) -> Option<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().skip(1).find_map(|above| {
        let folder = above.join("shared/vectors").join(set);
        folder.is_dir().then_some(folder)
    })
}
