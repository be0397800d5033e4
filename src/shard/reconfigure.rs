//! Other settings for a worker that runs: what they change, while calls and requests go on.
//!
//! What is under way keeps what it was begun with, such as the timers that are set; all that begins
//! later goes by the new settings. Sockets are not the worker's, so the listeners stay as they are;
//! so does the mode.

use crate::location::{Access, Gate};
use crate::shard::strangers::Strangers;
use crate::shard::{Settings, Shard, ways};
use crate::time::Timestamp;

impl Shard {
    /// Goes by these settings from here on. What is read from the settings when it is needed follows
    /// by itself; what some part keeps a copy of is handed to it here.
    pub(super) fn reconfigure(&mut self, now: Timestamp, mut settings: Settings) {
        settings.listeners = std::mem::take(&mut self.settings.listeners);
        // The thread that writes them is started with the process.
        settings.records = self.settings.records;
        settings.started = self.settings.started;
        // So is the one that keeps completions.
        settings.completion.keeps = self.settings.completion.keeps;
        self.domains = settings.own_domains();
        self.registrar.set_policy(settings.registrar);
        self.set_access(now, settings.access.take());
        self.layer.set_timing(settings.timing);
        let transactions_max = to_usize(settings.limits.transactions_max);
        self.layer.set_max(transactions_max);
        let relayed = settings.limits.relayed;
        self.relays.set_limits(relayed, transactions_max);
        self.calls.set_max(to_usize(settings.limits.calls_max));
        self.desk.set_settings(&settings.completion.service);
        if self.settings.strangers != settings.strangers {
            self.strangers = Strangers::new(&settings.strangers);
        }
        let mut targets = ways::targets_of(&settings, now);
        targets.inherit(&self.targets);
        self.targets = targets;
        if let Some(edge) = &mut self.edge {
            edge.set_settings(&settings);
        }
        self.settings = settings;
        self.relocate(now);
    }

    /// Phones go on with the nonces that they have; who is no user any more is no longer registered.
    fn set_access(&mut self, now: Timestamp, access: Option<Access>) {
        let gate = match (access, self.gate.take()) {
            (None, _) => return,
            (Some(access), Some(mut gate)) => {
                gate.set_access(access);
                gate
            }
            (Some(access), None) => Gate::new(access, &mut self.rng),
        };
        self.registrar.remove_unless(now, |aor| gate.has(aor));
        self.gate = Some(gate);
    }
}

pub(super) fn to_usize(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
