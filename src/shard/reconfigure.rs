//! Other settings for a worker that runs: what they change, while calls and requests go on.
//!
//! What is under way keeps what it was begun with, such as the timers that are set; all that begins
//! later goes by the new settings. Sockets are not the worker's, so the listeners stay as they are;
//! so does the mode.

use crate::completion::Input;
use crate::location::{Access, Gate};
use crate::shard::desk::name_of;
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
        let total_max = settings.completion.service.limits.total_max;
        self.sources.set_max(total_max);
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
        let gone = self.registrar.remove_unless(now, |aor| gate.has(aor));
        // Nobody waits for him any more, nor he for anybody.
        let gone = gone.iter().map(|user| Input::UserGone {
            user: name_of(user),
        });
        self.desk.facts.extend(gone);
        self.gate = Some(gate);
    }
}

pub(super) fn to_usize(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::location::{Account, Accounts, Aor};
    use crate::random::Rng;
    use crate::shard::{Input as Happening, Listener};
    use crate::sip::flow::{Flow, ListenerId, Transport};
    use crate::time::Timestamp;

    const NOW: Timestamp = Timestamp::START;

    /// His requests, and those of others for him, went on until their time was over.
    #[test]
    fn who_is_no_user_any_more_is_waited_for_no_more() {
        let listener = Listener::at("127.0.0.1:5060".parse().expect("an address"));
        let settings = Settings {
            listeners: vec![listener],
            ..Settings::default()
        };
        let mut shard = Shard::new(settings, Rng::from_number(1));
        for user in ["alice", "bob"] {
            let register = format!(
                "REGISTER sip:127.0.0.1 SIP/2.0\r\n\
                 Via: SIP/2.0/UDP 127.0.0.3;branch=z9hG4bK{user}\r\n\
                 Max-Forwards: 70\r\n\
                 From: <sip:{user}@127.0.0.1>;tag=1\r\n\
                 To: <sip:{user}@127.0.0.1>\r\n\
                 Call-ID: {user}\r\n\
                 CSeq: 1 REGISTER\r\n\
                 Contact: <sip:{user}@127.0.0.3>\r\n\
                 Content-Length: 0\r\n\r\n"
            );
            let flow = Flow {
                transport: Transport::Udp,
                listener: ListenerId(0),
                remote: "127.0.0.3:5060".parse().expect("an address"),
                connection: None,
            };
            let bytes = register.as_bytes();
            let delay = std::time::Duration::ZERO;
            shard.handle_input(NOW, Happening::Received { flow, bytes, delay });
        }
        assert_eq!(shard.registrar.len(), 2);
        let mut accounts = Accounts::default();
        accounts.insert("alice", Account::with_password("alice", "campon", "secret"));
        let access = Access {
            accounts,
            ..Access::default()
        };
        shard.set_access(NOW, Some(access));
        assert_eq!(shard.registrar.len(), 1);
        let user = name_of(&Aor::of_user(b"bob"));
        let told: Vec<_> = shard.desk.facts.iter().collect();
        assert!(
            matches!(&*told, [Input::UserGone { user: gone }] if *gone == user),
            "{told:?}"
        );
    }
}
