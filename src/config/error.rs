//! What is wrong with a configuration, in one line that names file, line and key.

use std::fmt;
use std::ops::Range;

use toml::de::DeTable;

/// A configuration that does not hold, or an argument that does not.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub struct Error {
    /// `FILE:LINE`, `FILE`, or nothing for an argument.
    pub place: Place,
    /// The key, `section.key`; or the argument, `--listen`.
    pub key: String,
    /// What is wrong, and what would be right.
    pub why: String,
}

/// Where a value was written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Place {
    /// On the command line.
    Argument,
    /// The file as a whole.
    File(String),
    /// This line of the file, from 1.
    Line(String, usize),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Argument => {}
            Place::File(file) => write!(f, "{file}: ")?,
            Place::Line(file, line) => write!(f, "{file}:{line}: ")?,
        }
        write!(f, "{}: {}", self.key, self.why)
    }
}

/// How alike two names are of which one may be meant for the other; 1 is the same.
const ALIKE: f64 = 0.8;

/// What is wrong where the file does not have the form that it must have, as one line.
pub(super) fn why_not_read(message: &str) -> String {
    let unknown = message.strip_prefix("unknown field `");
    let unknown = unknown.and_then(|rest| rest.split_once("`, expected "));
    let Some((name, known)) = unknown else {
        return message.replace('\n', "; ");
    };
    // The names stand between backticks, and so does nothing else.
    let known = known.split('`').skip(1).step_by(2);
    let alike = known
        .clone()
        .map(|key| (strsim::jaro_winkler(name, key), key));
    let meant = alike.max_by(|one, other| one.0.total_cmp(&other.0));
    if let Some((_, key)) = meant.filter(|(alike, _)| *alike >= ALIKE) {
        return format!("is no key here: is `{key}` meant?");
    }
    let known: Vec<_> = known.collect();
    format!("is no key here, but one of {}", known.join(", "))
}

/// A file that is being read: turns a span into the place and key of an error.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source<'s> {
    pub(super) file: &'s str,
    pub(super) text: &'s str,
}

impl Source<'_> {
    /// The error of a value or key that stands at this span.
    pub(super) fn error(&self, span: &Range<usize>, why: impl Into<String>) -> Error {
        self.error_of(&key_at(self.text, span.start), span, why)
    }

    /// The error of a key that is missing from the table at this span.
    pub(super) fn error_of(&self, key: &str, span: &Range<usize>, why: impl Into<String>) -> Error {
        let before = self.text.bytes().take(span.start);
        let line = 1 + before.filter(|&byte| byte == b'\n').count();
        let place = Place::Line(self.file.to_owned(), line);
        Error {
            place,
            key: key.to_owned(),
            why: why.into(),
        }
    }
}

/// The dotted name of the key whose name or value covers this byte of the file.
fn key_at(text: &str, offset: usize) -> String {
    let (root, _) = DeTable::parse_recoverable(text);
    path_to(root.get_ref(), offset).unwrap_or_else(|| words_at(text, offset))
}

fn path_to(table: &DeTable<'_>, offset: usize) -> Option<String> {
    let covers = |span: Range<usize>| span.start <= offset && offset < span.end;
    table.iter().find_map(|(name, value)| {
        let items = value
            .get_ref()
            .as_array()
            .into_iter()
            .flat_map(|array| array.iter());
        let inside = std::iter::once(value).chain(items);
        let mut tables = inside.filter_map(|inside| inside.get_ref().as_table());
        match tables.find_map(|inner| path_to(inner, offset)) {
            Some(inner) => Some(format!("{}.{inner}", name.get_ref())),
            None if covers(name.span()) || covers(value.span()) => Some(name.get_ref().to_string()),
            None => None,
        }
    })
}

/// The same where the text is not TOML: the last `[section]`, and what stands left of `=`.
fn words_at(text: &str, offset: usize) -> String {
    let mut section = String::new();
    let mut key = "";
    let mut end = 0;
    for line in text.split_inclusive('\n') {
        key = line.split('=').next().unwrap_or_default().trim();
        end += line.len();
        if end > offset {
            break;
        }
        if key.starts_with('[') {
            section = key.replace(['[', ']'], "") + ".";
        }
    }
    section + key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_misspelt_is_told_what_is_meant() {
        let message = "unknown field `gaurd`, expected one of `enabled`, `guard`, `ring`";
        assert_eq!(why_not_read(message), "is no key here: is `guard` meant?");
    }

    #[test]
    fn a_key_that_is_like_no_other_is_told_all_of_them() {
        let message = "unknown field `xyz`, expected `enabled` or `guard`";
        assert_eq!(
            why_not_read(message),
            "is no key here, but one of enabled, guard"
        );
    }

    #[test]
    fn any_other_message_is_one_line() {
        assert_eq!(why_not_read("one\ntwo"), "one; two");
    }
}
