//! Other settings for a worker that runs: what they change, while calls and requests go on.
//!
//! What is under way keeps what it was begun with, such as the timers that are set; all that begins
//! later goes by the new settings. Sockets are not the worker's, so the listeners stay as they are;
//! so does the mode.

use crate::location::{Access, Domains, Gate};
use crate::shard::strangers::Strangers;
use crate::shard::{Settings, Shard, ways};
use crate::time::Timestamp;

impl Shard {
    pub(super) fn reconfigure(&mut self, now: Timestamp, settings: Settings) {
        let Settings {
            listeners: _,
            upstream,
            edge,
            peers,
            domains,
            registrar,
            access,
            calls,
            completion,
            strangers,
            limits,
            timing,
            call_timing,
            overload,
        } = settings;
        let ips = self.settings.listeners.iter().map(|it| it.bind.ip());
        self.domains = Domains::new(ips, domains.iter().map(String::as_str));
        self.registrar.set_policy(registrar);
        self.set_access(now, access);
        self.layer.set_timing(timing);
        let transactions_max = to_usize(limits.transactions_max);
        self.layer.set_max(transactions_max);
        self.relays.set_limits(limits.relayed, transactions_max);
        self.calls.set_max(to_usize(limits.calls_max));
        self.desk.set_settings(&completion.service);
        let running = &mut self.settings;
        running.upstream = upstream;
        running.edge = edge;
        running.peers = peers;
        running.domains = domains;
        running.registrar = registrar;
        running.calls = calls;
        running.completion = completion;
        if running.strangers != strangers {
            self.strangers = Strangers::new(&strangers);
        }
        running.strangers = strangers;
        running.limits = limits;
        running.timing = timing;
        running.call_timing = call_timing;
        running.overload = overload;
        let mut targets = ways::targets_of(&self.settings, now);
        targets.inherit(&self.targets);
        self.targets = targets;
        if let Some(edge) = &mut self.edge {
            edge.set_settings(&self.settings);
        }
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
