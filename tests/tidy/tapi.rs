//! The manual of TAPI against what is there: the operations, the documents and the tests of each row.

use super::*;

const MANUAL: &str = "src/api/tapi.md";

/// Each row that the reference has on TAPI has one in the manual, with its form here and tests that
/// show that form. Where the reference is missing, only the manual is looked at.
#[test]
fn every_row_of_tapi_has_a_form_and_a_test() {
    let manual = fs::read_to_string(MANUAL).expect("the manual is there");
    let evidence = Evidence::read();
    let mut broken = String::new();
    let mut told = BTreeSet::new();
    for (number, row) in (1..).zip(manual.lines()).filter(|(_, line)| is_row(line)) {
        let cells = cells(row);
        let [name, here, shown_by] = *cells.as_slice() else {
            panic!("{MANUAL}:{number}: three cells");
        };
        if let Err(why) = evidence.check(name, here, shown_by) {
            let _ = writeln!(broken, "{MANUAL}:{number}: {name}: {why}");
        }
        if !told.insert(name.to_owned()) {
            let _ = writeln!(broken, "{MANUAL}:{number}: {name}: twice");
        }
    }
    for name in asked_for() {
        if !told.contains(&name) {
            let _ = writeln!(broken, "{MANUAL}: no row {name}");
        }
    }
    assert!(broken.is_empty(), "\n{broken}");
}

/// The rows of the reference, if it is there.
fn asked_for() -> Vec<String> {
    let Some(reference) = reference() else {
        return Vec::new();
    };
    let (_, tapi) = reference
        .split_once("\n## 3. TAPI\n")
        .expect("a part on TAPI");
    let (tapi, _) = tapi.split_once("\n## ").expect("its end");
    let mut asked = Vec::new();
    for row in tapi.lines().filter(|line| is_row(line)) {
        let cells = cells(row);
        // The errors are two a row, each with its value.
        let is_value = |cell: &&str| cell.starts_with("0x8000") && cells.len() == 4;
        let names = match cells.iter().filter(|cell| is_value(cell)).count() {
            2 => vec![cells.first(), cells.get(2)],
            _ => vec![cells.first()],
        };
        asked.extend(names.into_iter().flatten().map(|name| (*name).to_owned()));
    }
    assert!(asked.len() > 60, "only {} rows of TAPI", asked.len());
    asked
}

/// What a row may speak of.
struct Evidence {
    /// Method and path of each operation of the OpenAPI document.
    operations: BTreeSet<String>,
    /// What the API's own files say: members, events, codes and statuses.
    api: String,
    /// The file of each test, by its name.
    tests: BTreeMap<String, String>,
}

impl Evidence {
    fn read() -> Self {
        let mut all = sources("src");
        all.extend(sources("tests"));
        let v1 = all.iter().find(|it| it.path.ends_with("io/http/v1.rs"));
        let v1 = &v1.expect("the operations").text;
        let operations = v1.split("#[utoipa::path(").skip(1).map(operation);
        let documents = all.iter().filter(|it| it.path.starts_with("src/api"));
        let documents = documents.map(|it| it.text.as_str());
        let tests = all.iter().flat_map(|it| {
            let names = it.tests().into_iter().map(|test| test.name);
            names.map(|name| (name, it.text.clone()))
        });
        Self {
            operations: operations.collect(),
            api: documents.chain([v1.as_str()]).collect(),
            tests: tests.collect(),
        }
    }

    /// Whether all that a row names is there, and its tests show some of it.
    fn check(&self, name: &str, here: &str, shown_by: &str) -> Result<(), String> {
        let mut shown = Vec::new();
        for test in shown_by.split('`').skip(1).step_by(2) {
            let text = self.tests.get(test);
            shown.push(text.ok_or_else(|| format!("no test {test}"))?);
        }
        // An error is named by its row.
        let mut is_shown = is_name(name) && shown.iter().any(|text| text.contains(name));
        for form in forms(here) {
            let is_operation = self.operations.contains(form);
            let is_in_tests = shown.iter().any(|text| text.contains(form));
            is_shown |= is_operation || (is_in_tests && !is_status(form));
            if !is_operation && !is_in_tests && !self.api.contains(form) {
                return Err(format!("{form} is neither in the API nor in its tests"));
            }
        }
        if shown.is_empty() || !is_shown {
            return Err("nothing that it names is in its tests".to_owned());
        }
        Ok(())
    }
}

/// `get, path = "/v1/lines", …` as `GET /lines`.
fn operation(attribute: &str) -> String {
    let method = attribute.split(',').next().unwrap_or_default();
    let path = attribute.split('"').nth(1).unwrap_or_default();
    let path = path.strip_prefix("/v1").unwrap_or(path);
    format!("{} {path}", method.to_uppercase())
}

/// What a row names: code, and between it names in capitals and statuses.
fn forms(here: &str) -> Vec<&str> {
    let spans = here.split('`').skip(1).step_by(2);
    let plain = here.split('`').step_by(2);
    let words = plain.flat_map(|text| text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'));
    let words = words.filter(|word| is_name(word) || is_status(word));
    spans.chain(words).collect()
}

fn is_name(word: &str) -> bool {
    word.len() > 4 && word.bytes().all(|b| b.is_ascii_uppercase())
}

fn is_status(word: &str) -> bool {
    word.len() == 3 && word.starts_with(['2', '4', '5']) && word.bytes().all(|b| b.is_ascii_digit())
}

/// A row of a table that is neither its head nor the line below that.
fn is_row(line: &str) -> bool {
    const HEADS: [&str; 7] = [
        "TAPI",
        "Aspect",
        "Name",
        "LINEERR_",
        "Structure.member",
        "Mode",
        "Item",
    ];
    let cells = cells(line);
    let first = cells.first().filter(|_| line.starts_with('|'));
    first.is_some_and(|first| {
        // "Mode" is the name of a row as well, which has two cells.
        let is_head = HEADS.contains(first) && !(*first == "Mode" && cells.len() < 5);
        !is_head && !first.starts_with("---")
    })
}

fn cells(row: &str) -> Vec<&str> {
    let inside = row.trim().trim_matches('|');
    inside.split('|').map(str::trim).collect()
}
