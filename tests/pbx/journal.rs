//! What a party saw and said, and what it complains of.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::sip::Sip;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Way {
    Came,
    Left,
}

/// A message in the order of the journal.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Since the journal was opened.
    pub at: Duration,
    pub way: Way,
    pub sip: Sip,
}

/// Shared between a party and the test that watches it.
#[derive(Clone, Debug)]
pub struct Journal {
    /// Whose it is.
    name: String,
    opened: Instant,
    pages: Arc<Mutex<Pages>>,
}

#[derive(Debug, Default)]
struct Pages {
    entries: Vec<Entry>,
    complaints: Vec<String>,
}

impl Journal {
    pub fn open(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            opened: Instant::now(),
            pages: Arc::default(),
        }
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().expect("whoever wrote did not panic")
    }

    pub fn note(&self, way: Way, sip: &Sip) {
        let at = self.opened.elapsed();
        let sip = sip.clone();
        self.pages().entries.push(Entry { at, way, sip });
    }

    pub fn complain(&self, complaint: String) {
        self.pages().complaints.push(complaint);
    }

    /// The messages that went that way, with that label.
    pub fn labelled(&self, way: Way, label: &str) -> Vec<Entry> {
        let pages = self.pages();
        let same = |entry: &&Entry| entry.way == way && entry.sip.label() == label;
        pages.entries.iter().filter(same).cloned().collect()
    }

    /// The requests with that method that came.
    pub fn came(&self, method: &str) -> Vec<Sip> {
        let pages = self.pages();
        let same = |entry: &&Entry| {
            entry.way == Way::Came && entry.sip.status().is_none() && entry.sip.method() == method
        };
        let found = pages.entries.iter().filter(same);
        found.map(|entry| entry.sip.clone()).collect()
    }

    /// How many messages came or left.
    pub fn len(&self) -> usize {
        self.pages().entries.len()
    }

    /// All of it, a line a message.
    pub fn story(&self) -> String {
        let pages = self.pages();
        let mut story = String::new();
        for Entry { at, way, sip } in &pages.entries {
            let arrow = if *way == Way::Came { "<-" } else { "->" };
            let (at, label) = (at.as_millis(), sip.label());
            let (uri, call_id, cseq) = (sip.uri(), sip.call_id(), sip.cseq().0);
            let _ = writeln!(story, "{at:>7} {arrow} {label} {uri} [{call_id} {cseq}]");
        }
        story
    }

    /// Fails the test if there is any complaint.
    pub fn demand_peace(&self) {
        let complaints = self.pages().complaints.join("\n");
        let name = &self.name;
        assert!(
            complaints.is_empty(),
            "{name}:\n{complaints}\n{}",
            self.story()
        );
    }

    /// Takes out the complaints with that text, for a test that provokes them.
    pub fn take_complaints(&self, about: &str) -> usize {
        let mut pages = self.pages();
        let before = pages.complaints.len();
        pages.complaints.retain(|one| !one.contains(about));
        before - pages.complaints.len()
    }
}
