//! Lines: who they are, and what can be done on them now.
//!
//! Spec: TAPI LINEADDRESSCAPS, LINEDEVSTATUS.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::completion::Mode;
use crate::location::Aor;
use crate::shard::Shard;
use crate::shard::desk::{name_of, user_of};
use crate::shard::provider::{LISTED_MAX, Refusal, plain};
use crate::sip::Uri;

/// A line: a user of ours, with all his phones.
#[derive(Clone, Debug)]
pub struct LineReport {
    /// Its name.
    pub name: String,
    /// Whether one of its phones is registered.
    pub is_registered: bool,
    /// How many calls it is in.
    pub calls: u32,
    /// How many requests it has (dwNumCallCompletions).
    pub completions: usize,
    /// How many it may have (dwMaxCallCompletions); 0 where completion is switched off.
    pub completions_max: usize,
    /// How many wait for it.
    pub waiting_for: usize,
    /// dwCallCompletionModes.
    pub modes: Vec<Mode>,
    /// The texts that may be left, by number (dwNumCompletionMessages).
    pub texts: Vec<Arc<str>>,
    /// How many of others wait for it.
    pub messages_waiting: usize,
}

impl Shard {
    /// The line of this name: a user part, an address without scheme, or a URI.
    pub(in crate::shard) fn line_of(&self, text: &str) -> Result<Aor, Refusal> {
        let uri = match text.split_once(':') {
            Some(_) => text.to_owned(),
            None if text.contains('@') => format!("sip:{text}"),
            None => {
                let here = Aor::from_canonical(format!("{text}@").into());
                return Ok(self.registrar.owner_of(&here).unwrap_or(here));
            }
        };
        let uri = Uri::parse(uri.as_bytes()).map_err(|_| Refusal::Line)?;
        let named = self.domains.aor(&uri).ok_or(Refusal::Line)?;
        Ok(self.registrar.owner_of(&named).unwrap_or(named))
    }

    pub(super) fn permitted(&self, line: &str, only: Option<&Aor>) -> Result<Aor, Refusal> {
        let line = self.line_of(line)?;
        if only.is_some_and(|only| *only != line) {
            return Err(Refusal::Line);
        }
        Ok(line)
    }

    /// `None` if nobody has heard of it.
    pub(super) fn line_report(&self, line: &Aor) -> Option<LineReport> {
        let name = name_of(line);
        let service = &self.desk.service;
        let calls = self.users.legs(line);
        let completions = service.views(&name).len();
        let waiting_for = service.waiting_for(&name);
        if !self.registrar.is_known(line) && calls == 0 && !service.knows(&name) {
            return None;
        }
        let is_on = self.settings.completion.enabled;
        Some(LineReport {
            name: plain(&name).to_owned(),
            is_registered: self.registrar.registered_since(line).is_some(),
            calls,
            completions,
            completions_max: if is_on { service.per_caller_max() } else { 0 },
            waiting_for,
            modes: self.modes_of_lines(),
            texts: if is_on {
                self.settings.completion.messages.clone()
            } else {
                Vec::new()
            },
            messages_waiting: service.messages_for(&name),
        })
    }

    /// The modes by which calls can be completed at all, in TAPI's order.
    pub(super) fn modes_of_lines(&self) -> Vec<Mode> {
        if !self.settings.completion.enabled {
            return Vec::new();
        }
        let mut modes = vec![Mode::CampOn, Mode::Callback];
        if self.settings.completion.intrusion.is_possible() {
            modes.push(Mode::Intrude);
        }
        if self.leaves_texts() {
            modes.push(Mode::Message);
        }
        modes
    }

    pub(super) fn line_reports(&self, after: Option<&str>, only: Option<&Aor>) -> Vec<LineReport> {
        if let Some(only) = only {
            let is_later = |line: &LineReport| after.is_none_or(|after| &*line.name > after);
            return self
                .line_report(only)
                .filter(is_later)
                .into_iter()
                .collect();
        }
        let mut lines: BTreeSet<Aor> = BTreeSet::new();
        let waiting = self.desk.service.users().map(user_of);
        let all = self.registrar.aors().cloned().chain(waiting);
        for line in all.filter(|it| after.is_none_or(|after| plain(&name_of(it)) > after)) {
            // Of many, the first ones.
            if lines.len() < LISTED_MAX || lines.last().is_some_and(|last| line < *last) {
                lines.insert(line);
            }
            if lines.len() > LISTED_MAX {
                lines.pop_last();
            }
        }
        lines
            .iter()
            .filter_map(|line| self.line_report(line))
            .collect()
    }
}
