//! Somebody's dialogs as a notifier tells of them, one document after the other.
//!
//! Spec: RFC 4235 §4.3.
//!
//! That documents come in their order is seen to by the dialog that they come in.

use std::collections::BTreeMap;

use crate::sip::dialog_states::{Document, Progress};

/// The most dialogs that are kept; who has more is as engaged without them.
const DIALOGS_MAX: usize = 64;

/// The dialogs of one user, as one notifier knows them.
#[derive(Debug, Default)]
pub struct Lines {
    version: Option<u32>,
    dialogs: BTreeMap<Box<str>, Progress>,
}

/// What a document was to what is known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Taken {
    /// All is known now.
    Whole,
    /// Some document before it is missing: the notifier is to be asked for all.
    Gap,
}

impl Lines {
    /// Takes the next document in.
    pub fn take(&mut self, document: Document) -> Taken {
        let follows = match self.version {
            Some(last) => document.version == last.wrapping_add(1),
            None => false,
        };
        self.version = Some(document.version);
        if document.is_full {
            self.dialogs.clear();
        }
        for told in document.dialogs {
            if told.progress == Progress::Terminated {
                self.dialogs.remove(&told.id);
            } else if self.dialogs.len() < DIALOGS_MAX || self.dialogs.contains_key(&told.id) {
                self.dialogs.insert(told.id, told.progress);
            }
        }
        if document.is_full || follows {
            Taken::Whole
        } else {
            Taken::Gap
        }
    }

    /// How far his furthest dialog is: terminated if he has none.
    pub fn furthest(&self) -> Progress {
        let furthest = self.dialogs.values().copied().max();
        furthest.unwrap_or(Progress::Terminated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::dialog_states::Told;

    fn document(version: u32, is_full: bool, dialogs: &[(&str, Progress)]) -> Document {
        let told = |(id, progress): &(&str, Progress)| Told {
            id: (*id).into(),
            progress: *progress,
        };
        Document {
            version,
            is_full,
            dialogs: dialogs.iter().map(told).collect(),
        }
    }

    #[test]
    fn a_full_document_replaces_all_and_a_partial_one_what_it_names() {
        let mut lines = Lines::default();
        let two = [("1", Progress::Confirmed), ("2", Progress::Alerting)];
        assert_eq!(lines.take(document(5, true, &two)), Taken::Whole);
        assert_eq!(lines.furthest(), Progress::Confirmed);
        let ends = [("1", Progress::Terminated)];
        assert_eq!(lines.take(document(6, false, &ends)), Taken::Whole);
        assert_eq!(lines.furthest(), Progress::Alerting);
        // Some notifiers never count.
        assert_eq!(lines.take(document(0, true, &[])), Taken::Whole);
        assert_eq!(lines.furthest(), Progress::Terminated);
    }

    #[test]
    fn what_was_missed_has_to_be_asked_for() {
        let mut lines = Lines::default();
        let one = [("1", Progress::Confirmed)];
        assert_eq!(lines.take(document(0, false, &one)), Taken::Gap);
        assert_eq!(lines.furthest(), Progress::Confirmed);
        assert_eq!(lines.take(document(1, false, &[])), Taken::Whole);
        assert_eq!(lines.take(document(3, false, &[])), Taken::Gap);
        assert_eq!(lines.take(document(3, false, &[])), Taken::Gap);
    }

    #[test]
    fn more_dialogs_than_anybody_has_are_not_kept() {
        let mut lines = Lines::default();
        for number in 0..2 * DIALOGS_MAX {
            let id = number.to_string();
            lines.take(document(0, false, &[(&id, Progress::Alerting)]));
        }
        assert_eq!(lines.dialogs.len(), DIALOGS_MAX);
        assert_eq!(lines.furthest(), Progress::Alerting);
    }
}
