//! One worker's SIP state, wired together: messages and time in, messages out.
//!
//! Spec: RFC 3261 §16, §18; RFC 7092 §3.1.
//!
//! The contract with the driver: after each [`Shard::handle_input`] and [`Shard::handle_timeout`],
//! take [`Shard::poll_output`] until it is empty; wait no longer than [`Shard::poll_timeout`].
//!
//! A panic in here is a bug of ours. It is caught at the message boundary: the outputs of that input
//! and the call in hand are dropped, it is counted and logged, and all other calls go on.

mod anchored;
mod announcing;
mod audit;
mod camping;
mod challenged;
mod codes;
mod desk;
mod edge;
mod ending;
mod entries;
mod facing;
mod intrude;
pub mod intrusion;
mod invite;
mod joining;
mod keep_alive;
mod keeping;
mod kept;
mod legs;
mod manners;
mod messages;
mod mixing;
mod music;
mod mwi;
mod names;
mod notifier;
mod numbers;
mod offer;
mod pace;
mod parked;
mod passes;
mod pings;
mod placing;
mod polls;
mod probes;
mod prompt;
pub mod provider;
mod recall;
mod receive;
mod reconfigure;
pub mod record;
mod redirect;
mod registration;
pub mod reject;
mod relayed;
pub mod relays;
mod replacing;
pub mod report;
mod resent;
mod reserve;
mod screen;
mod sender;
pub mod settings;
mod signals;
mod sound;
mod sources;
mod staying;
mod strangers;
mod subscriber;
mod subscriptions;
mod summaries;
mod table;
mod terms;
mod trunk;
mod unheard;
pub mod users;
mod watchers;
mod ways;
mod withheld;

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::call;
use crate::call::{Call, Contacts, Turn};
use crate::cc::capsule::CallIdentity;
use crate::cc::trust::PeerId;
use crate::location::{Aor, Domains, Gate, Registrar};
use crate::observe::{Counters, Delays};
use crate::random::Rng;
use crate::routing::Targets;
use crate::sip::Scratch;
use crate::table::{Key, Table};
use crate::time::Timestamp;
use crate::transaction::outbox::Sending;
use crate::transaction::{Layer, User};
use crate::wheel::Wheel;

use crate::shard::desk::Desk;
use crate::shard::edge::Edge;
use crate::shard::offer::{About, Announcer};
use crate::shard::passes::Dialled;
use crate::shard::pings::Pings;
use crate::shard::reconfigure::to_usize;
use crate::shard::record::Records;
use crate::shard::relays::Relays;
pub use crate::transaction::outbox::SendId;

pub use reject::Reject;
pub use report::{Report, TableReport, TargetReport};
pub use settings::{Listener, Settings};
pub use signals::{Input, Output};

/// A call and what the worker keeps beside it.
#[derive(Debug)]
struct Held {
    call: Call,
    parties: Parties,
    about: About,
    /// Its name for who may ask for its completion.
    asked: Option<CallIdentity>,
    armed: Option<Timestamp>,
    /// What its caller is asked, while he is kept from its failure.
    prompting: Option<Box<prompt::Prompting>>,
    /// The ports that its audio passes, if it passes us.
    anchorage: Option<Box<anchored::Anchorage>>,
    /// What it has to do with an intrusion.
    mixed: Option<Box<mixing::Mixed>>,
}

/// What a call is to those who would join it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Kind {
    /// One like most.
    #[default]
    Plain,
    /// Its caller wants it private.
    Private,
    /// It is for help, or back to who called for it.
    Pressing,
}

/// The users of ours that are in a call.
#[derive(Clone, Debug, Default)]
struct Parties {
    caller: Option<Aor>,
    /// Whether it counts among the calls that its caller began.
    is_outgoing: bool,
    callee: Option<Aor>,
    /// Whose number was dialled, where the call goes to him through the PBX.
    dialled: Option<Dialled>,
    /// The peers from which it comes and to which it goes.
    through: [Option<PeerId>; 2],
    /// What either side learns of the other.
    identity: terms::Identity,
    kind: Kind,
    left: terms::Left,
    /// Where redirections have led it.
    followed: Option<Arc<redirect::Followed>>,
}

/// One worker's SIP state.
#[derive(Debug)]
pub struct Shard {
    settings: Settings,
    layer: Layer,
    calls: Table<Box<Held>>,
    deadlines: Wheel<Key>,
    registrar: Registrar,
    /// What stands between the phones and the PBX, if that is their registrar.
    edge: Option<Box<Edge>>,
    /// Who knows our users by their passwords; `None` where anybody may be a user.
    gate: Option<Gate>,
    domains: Domains,
    /// The servers of the peers.
    targets: Targets,
    pings: Pings,
    probes: probes::Probes,
    /// Where the peers with names are.
    directory: names::Directory,
    /// The requests that wait for that.
    lot: parked::Lot,
    proven: facing::Proven,
    strangers: strangers::Strangers,
    loads: terms::Loads,
    users: users::Users,
    contacts: Contacts,
    rng: Rng,
    counters: Counters,
    delays: Delays,
    rejects: reject::RejectCounts,
    draining: bool,
    desk: Desk,
    polls: polls::Polls,
    provider: provider::Provider,
    /// What PBXs tell of those who are waited for.
    sources: sources::Sources,
    records: Records,
    attempts: audit::Attempts,
    referred: replacing::Referred,
    /// The phones that show whether texts wait.
    lamps: mwi::Lamps,
    relays: Relays,
    sounds: sound::Sounds,
    /// The host and port of each listener, as peers see it.
    hosts: Vec<Box<str>>,
    /// The address of each.
    bound: Box<[SocketAddr]>,
    index: Scratch,
    scratch: Vec<u8>,
    /// The call that has been taken out of its slot, should its handling panic.
    in_hand: Option<(Key, Parties)>,
}

impl Shard {
    /// A worker that holds nothing.
    pub fn new(mut settings: Settings, mut rng: Rng) -> Self {
        let sent_by: Vec<Box<[u8]>> = settings
            .listeners
            .iter()
            .map(|listener| listener.sent_by().into_bytes().into_boxed_slice())
            .collect();
        let contacts = Contacts::new(&sent_by);
        let transactions_max = to_usize(settings.limits.transactions_max);
        let calls_max = to_usize(settings.limits.calls_max);
        let domains = settings.own_domains();
        let layer_seed = rng.bits();
        let layer_rng = Rng::from_number(layer_seed);
        // Of its own, so that what applications do not ask for changes nothing.
        let mut provided = Rng::from_number(layer_seed ^ 1);
        let access = settings.access.take();
        let hosts = settings.listeners.iter().map(Listener::sent_by);
        let mut shard = Self {
            desk: Desk::new(&settings, &mut rng),
            hosts: hosts.map(String::into_boxed_str).collect(),
            bound: settings.listeners.iter().map(|it| it.bind).collect(),
            layer: Layer::new(settings.timing, sent_by, transactions_max, layer_rng),
            calls: Table::new(calls_max),
            relays: Relays::new(settings.limits.relayed, transactions_max),
            deadlines: Wheel::new(),
            registrar: Registrar::new(settings.registrar),
            edge: Edge::new(&settings, &mut rng),
            gate: access.map(|access| Gate::new(access, &mut rng)),
            sounds: sound::Sounds::new(settings.sound.clone()),
            domains,
            targets: ways::targets_of(&settings, Timestamp::START),
            pings: Pings::default(),
            probes: probes::Probes::default(),
            directory: names::Directory::default(),
            lot: parked::Lot::default(),
            proven: facing::Proven::default(),
            strangers: strangers::Strangers::new(&settings.strangers),
            loads: terms::Loads::new(),
            users: users::Users::default(),
            contacts,
            rng,
            counters: Counters::default(),
            delays: Delays::default(),
            rejects: reject::RejectCounts::default(),
            draining: false,
            polls: polls::Polls::default(),
            provider: provider::Provider::new(&mut provided),
            sources: sources::Sources::new(settings.completion.service.limits.total_max),
            records: Records::new(settings.records),
            attempts: audit::Attempts::default(),
            referred: replacing::Referred::default(),
            lamps: mwi::Lamps::new(settings.limits.relayed.subscriptions_max),
            index: Scratch::new(),
            scratch: Vec::with_capacity(4096),
            in_hand: None,
            settings,
        };
        shard.layer.set_name(shard.settings.server.as_deref());
        shard.relocate(Timestamp::START);
        shard
    }

    /// Takes in what happened.
    pub fn handle_input(&mut self, now: Timestamp, input: Input<'_>) {
        self.guarded(now, |shard| {
            shard.take_in(now, input);
            shard.heed_servers(now);
            shard.heed_challenges(now);
            shard.settle_edge(now);
        });
        if self.has_news() {
            self.serve(now, |shard| shard.settle(now));
        }
    }

    fn take_in(&mut self, now: Timestamp, input: Input<'_>) {
        match input {
            Input::Received { flow, bytes, delay } => self.receive(now, &flow, bytes, delay),
            Input::NotSent { client, flow } => {
                self.note_not_sent(&flow);
                if let Some(event) = self.layer.handle_not_sent(now, client) {
                    self.on_event(now, event);
                }
            }
            Input::Disconnected { flow } => self.on_disconnected(now, &flow),
            Input::Proven { flow, names } => self.on_proven(&flow, names),
            Input::Resolved { question, reply } => self.on_resolved(now, question, reply),
            Input::Drain => self.drain(now),
            Input::Heard { room, news } => self.on_heard(now, room, news),
            Input::HangUp => self.hang_up(now),
            Input::Store(reply) => self.on_store(now, reply),
            Input::Asked(question) => self.on_question(now, question),
            Input::Reconfigure(settings) => self.reconfigure(now, *settings),
        }
    }

    /// Acts on what is due.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        self.guarded(now, |shard| {
            while let Some(event) = shard.layer.handle_timeout(now) {
                if let Some(event) = event {
                    shard.on_event(now, event);
                }
            }
            while let Some(key) = shard.deadlines.take_due(now) {
                shard.wake_call(now, key);
            }
            shard.heed_servers(now);
            shard.heed_challenges(now);
            shard.run_pings(now);
            shard.run_names(now);
            shard.run_probes(now);
            shard.expire_parked(now);
            shard.registrar.handle_timeout(now);
            shard.wake_edge(now);
            shard.settle_edge(now);
            shard.users.handle_timeout(now);
            shard.polls.handle_timeout(now);
            shard.wake_connections(now);
            shard.wake_sources(now);
            shard.wake_lamps(now);
            shard.desk.subscriptions.handle_timeout(now);
            shard.wake_relays(now);
        });
        self.serve(now, |shard| {
            shard.wake_service(now);
            shard.settle(now);
        });
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output<'_>> {
        if self.layer.outbox().is_empty() {
            // Its buffer starts anew.
            let _none = self.layer.outbox().poll();
            self.directory.asking = self.directory.names.poll_question();
            if self.directory.asking.is_some() {
                let question = self.directory.asking.as_ref();
                return question.map(|question| Output::Resolve { question });
            }
            if self.desk.vault.has_orders() {
                return self.desk.vault.poll_order();
            }
            return self.poll_kept();
        }
        let Sending { flow, bytes, id } = self.layer.outbox().poll()?;
        self.counters.messages_sent += 1;
        Some(Output::Send { flow, bytes, id })
    }

    /// When [`Self::handle_timeout`] has work to do.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        let all = [
            self.layer.poll_timeout(),
            self.deadlines.next_due(),
            self.registrar.poll_timeout(),
            self.targets.poll_timeout(),
            self.probes.poll_timeout(),
            self.directory.names.poll_timeout(),
            self.parked_until(),
            self.edge.as_deref().and_then(Edge::poll_timeout),
            self.users.poll_timeout(),
            self.polls.poll_timeout(),
            self.connections_due(),
            self.lamps.poll_timeout(),
            self.desk.service.poll_timeout(),
            self.desk.subscriptions.poll_timeout(),
            self.relays.poll_timeout(),
            self.sources.poll_timeout(),
        ];
        all.into_iter().flatten().min()
    }

    /// Runs one input; if it panics, what it had begun is dropped and all else is kept.
    ///
    /// Says whether all went well.
    fn guarded(&mut self, now: Timestamp, handle: impl FnOnce(&mut Self)) -> bool {
        let queued = self.layer.outbox().len();
        let done = catch_unwind(AssertUnwindSafe(|| handle(self)));
        if done.is_ok() {
            return true;
        }
        self.counters.panics += 1;
        self.layer.outbox().truncate(queued);
        let lost = self.in_hand.take();
        tracing::error!(
            call_lost = lost.is_some(),
            "a message was dropped: caught a panic"
        );
        if let Some(lost) = self.relays.drop_in_hand() {
            self.layer.abandon(now, |user| lost.is_of(user));
        }
        if let Some((key, parties)) = lost {
            self.records.forget(key);
            self.end_attempts_of(now, key, None);
            self.calls.discard(key);
            self.sounds.close_all_of(key);
            self.close_pass(&parties, key);
            self.release(now, &parties);
            let is_lost = |user: User| user.call == key && call::has_part(user.part);
            self.layer.abandon(now, is_lost);
        }
        false
    }

    /// Runs what concerns the service; if it panics, the service is made anew from its store.
    fn serve(&mut self, now: Timestamp, handle: impl FnOnce(&mut Self)) {
        if !self.guarded(now, handle) {
            self.guarded(now, |shard| shard.rebuild_desk(now));
        }
    }

    fn wake_call(&mut self, now: Timestamp, key: Key) {
        let Some(held) = self.calls.get_mut(key) else {
            return;
        };
        if held.armed.is_some_and(|armed| armed <= now) {
            held.armed = None;
        }
        self.with_call(now, key, Call::handle_timeout);
    }

    /// Takes a call out of its slot, lets it act, and puts it back unless it is over.
    fn with_call<R>(
        &mut self,
        now: Timestamp,
        key: Key,
        act: impl FnOnce(&mut Call, &mut Turn<'_>) -> R,
    ) -> Option<R> {
        let mut held = self.calls.take(key)?;
        self.in_hand = Some((key, held.parties.clone()));
        let was_answered = held.call.answered().is_some();
        let Held {
            call,
            parties,
            about,
            ..
        } = &mut *held;
        let result = self.with_turn(now, parties, about, |turn| act(call, turn));
        self.on_news(now, &mut held, was_answered);
        self.in_hand = None;
        self.put_back(now, key, held);
        Some(result)
    }

    /// Lets a call act that is out of its slot.
    fn in_turn<R>(
        &mut self,
        now: Timestamp,
        held: &mut Held,
        act: impl FnOnce(&mut Call, &mut Turn<'_>) -> R,
    ) -> R {
        let Held {
            call,
            parties,
            about,
            ..
        } = held;
        self.with_turn(now, parties, about, |turn| act(call, turn))
    }

    /// Lets something act that concerns these users.
    fn with_turn<R>(
        &mut self,
        now: Timestamp,
        parties: &Parties,
        about: &mut About,
        act: impl FnOnce(&mut Turn<'_>) -> R,
    ) -> R {
        let dialled = parties.dialled.as_ref();
        let in_hand = self.in_hand.as_ref().map(|(key, _)| *key);
        let mut announcer = Announcer {
            draft: in_hand.and_then(|key| self.records.draft(key)),
            now,
            about,
            callee: parties
                .callee
                .as_ref()
                .or_else(|| dialled.map(|it| &it.user)),
            seen: dialled.map(|it| it.seen),
            through: parties.through,
            legs: u32::from(parties.callee.is_some()),
            hosts: &self.hosts,
            settings: &self.settings,
            service: &self.desk.service,
            registrar: &self.registrar,
            users: &mut self.users,
            polls: &mut self.polls,
            facts: &mut self.desk.facts,
        };
        let mut turn = Turn {
            now,
            layer: &mut self.layer,
            rng: &mut self.rng,
            contacts: &self.contacts,
            timing: self.settings.call_timing,
            policy: &self.settings.call_policy,
            realm: self.gate.as_ref().map(Gate::realm),
            announce: &mut announcer,
            legs: &self.calls,
            scratch: &mut self.scratch,
        };
        act(&mut turn)
    }

    /// Takes in what has become of a call while it acted.
    fn on_news(&mut self, now: Timestamp, held: &mut Held, was_answered: bool) {
        let is_answered = held.call.answered().is_some() && !held.call.keeps_caller();
        if !was_answered && is_answered {
            self.close_question(&held.about);
            self.on_answered(now, held);
        }
        if let About::Inward(inward) = &mut held.about
            && let (Some(out), Some(seen)) = (inward.out, inward.news.take())
        {
            self.note_seen(out, seen);
        }
        if let Some(news) = held.call.take_news() {
            match held.about {
                About::Recall(id) => self.on_recall_news(now, held, id, news),
                About::Asker(_) => self.on_kept_news(now, held, news),
                About::Beside(_)
                | About::Camped(_)
                | About::CcCall(_)
                | About::Code
                | About::Inward(_)
                | About::Nothing => {}
            }
        }
    }

    fn put_back(&mut self, now: Timestamp, key: Key, mut held: Box<Held>) {
        if !self.desk.intruding.is_empty() {
            self.watch_intrusion(now, key, &held);
        }
        if held.mixed.is_some() {
            self.attend_mix(now, key, &mut held);
        }
        if held.anchorage.is_some() {
            self.attend_anchor(now, &mut held);
        }
        if held.parties.dialled.is_some() {
            self.tell_withheld(now, &mut held);
        }
        let waits =
            self.attend_camp(now, key, &mut held) || self.attend_withheld(now, key, &mut held);
        if held.prompting.is_some() || (held.call.is_held() && !waits) {
            self.attend(now, key, &mut held);
        }
        self.free_who_left(now, &mut held);
        if held.call.is_over() {
            self.close_pass(&held.parties, key);
            self.end_attempts_of(now, key, held.call.answered());
            self.referred.forget(key);
            if self.keep_challenged(now, key, &mut held) {
                // Its repetition will be the call.
                self.records.forget(key);
                return self.release(now, &held.parties);
            }
            self.calls.discard(key);
            match held.about {
                About::Recall(id) => self.forget_recall(id, key),
                About::CcCall(id) => self.forget_cc_call(id, key),
                About::Asker(_)
                | About::Beside(_)
                | About::Camped(_)
                | About::Code
                | About::Inward(_)
                | About::Nothing => {}
            }
            self.on_call_over(now, &held);
            self.record_call(now, key, &held);
            return;
        }
        if let Some(deadline) = held.call.deadline()
            && held.armed.is_none_or(|armed| armed > deadline)
        {
            held.armed = Some(self.deadlines.arm(now, key, deadline));
        }
        self.calls.put_back(key, held);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::completion::{self, Input as Fact};
    use crate::sip::flow::{Flow, ListenerId, Transport};

    const NOW: Timestamp = Timestamp::START;

    fn shard() -> Shard {
        let listener = Listener::at("127.0.0.1:5060".parse().expect("an address"));
        let upstream = "127.0.0.2:5060".parse().expect("an address");
        let upstream = settings::Peer::new("upstream", Transport::Udp, upstream);
        let settings = Settings {
            listeners: vec![listener],
            upstream: Some(upstream),
            ..Settings::default()
        };
        Shard::new(settings, Rng::from_number(1))
    }

    fn receive(shard: &mut Shard, message: &str) -> Vec<String> {
        let flow = Flow {
            transport: Transport::Udp,
            listener: ListenerId(0),
            remote: "127.0.0.3:5060".parse().expect("an address"),
            connection: None,
        };
        let input = Input::Received {
            flow,
            bytes: message.as_bytes(),
            delay: Duration::ZERO,
        };
        shard.handle_input(NOW, input);
        sent(shard)
    }

    fn sent(shard: &mut Shard) -> Vec<String> {
        let mut sent = Vec::new();
        while let Some(Output::Send { bytes, .. }) = shard.poll_output() {
            sent.push(String::from_utf8_lossy(bytes).into_owned());
        }
        sent
    }

    fn request(method: &str, call: &str, extra: &str) -> String {
        format!(
            "{method} sip:bob@127.0.0.1 SIP/2.0\r\n\
             Via: SIP/2.0/UDP 127.0.0.3;branch=z9hG4bK{call}{method}\r\n\
             Max-Forwards: 70\r\n\
             From: <sip:alice@127.0.0.1>;tag={call}\r\n\
             To: <sip:bob@127.0.0.1>\r\n\
             Call-ID: {call}\r\n\
             CSeq: 1 {method}\r\n\
             Contact: <sip:alice@127.0.0.3>\r\n\
             {extra}Content-Length: 0\r\n\r\n"
        )
    }

    /// A panic while one message is handled costs that message and nothing else.
    #[test]
    fn a_panic_costs_one_message_and_no_other_call() {
        let mut shard = shard();
        assert_eq!(receive(&mut shard, &request("INVITE", "one", "")).len(), 2);

        let fatal = request("INVITE", "two", "X-Failpoint: receive\r\n");
        assert_eq!(receive(&mut shard, &fatal), Vec::<String>::new());
        assert_eq!(shard.counters.panics, 1);

        assert_eq!(shard.calls.len(), 1);
        let cancel = request("CANCEL", "one", "").replace("oneCANCEL", "oneINVITE");
        let answers = receive(&mut shard, &cancel);
        assert!(
            answers
                .iter()
                .any(|answer| answer.starts_with("SIP/2.0 487"))
        );
    }

    /// A panic inside the service costs what it was told, and neither calls nor accepted requests.
    #[test]
    fn a_panic_inside_the_service_costs_no_call() {
        let mut shard = shard();
        receive(&mut shard, &request("INVITE", "one", ""));
        shard.desk.fails = true;
        shard.desk.facts.push_back(Fact::UserGone {
            user: crate::cc::addr::Aor::new("bob@"),
        });
        shard.handle_timeout(NOW);
        assert_eq!(shard.counters.panics, 1);
        assert_eq!(shard.calls.len(), 1);
        assert!(shard.desk.facts.is_empty());
        assert_eq!(receive(&mut shard, &request("INVITE", "two", "")).len(), 2);
    }

    /// The INVITE of a code that met a panic waited for ever.
    #[test]
    fn a_panic_inside_the_service_leaves_no_code_unanswered() {
        let mut shard = shard();
        let codes = completion::RawCodes {
            request_last: Some("*37#".to_owned()),
            ..Default::default()
        };
        let codes = completion::Codes::new(&codes, &[]);
        shard.settings.completion.codes = codes.expect("a code that can be dialled");
        let register = request("REGISTER", "reg", "").replace("To: <sip:bob", "To: <sip:alice");
        assert!(receive(&mut shard, &register).concat().contains("200 OK"));
        shard.desk.fails = true;
        let code = request("INVITE", "code", "").replace("sip:bob@", "sip:*37%23@");
        let answers = receive(&mut shard, &code);
        assert_eq!(shard.counters.panics, 1);
        let last = answers.last().expect("an answer");
        assert!(last.starts_with("SIP/2.0 503"), "{last}");
    }

    /// Each of more than ten thousand lines that changed at once was taken for a chase.
    #[test]
    fn the_lines_of_any_number_of_users_may_change_at_once() {
        let mut shard = shard();
        for number in 0..12_000 {
            let user = Aor::from_canonical(format!("{number}@").into());
            shard.users.watch(&user);
        }
        shard.handle_timeout(NOW);
        assert_eq!(shard.counters.panics, 0);
        assert_eq!(shard.users.take_changed(), None);
    }

    #[test]
    fn a_worker_that_stops_takes_nobody_in_who_would_wait() {
        let mut shard = shard();
        shard.handle_input(NOW, Input::Drain);
        for method in ["INVITE", "OPTIONS", "SUBSCRIBE"] {
            let answers = receive(&mut shard, &request(method, "new", ""));
            assert!(answers.concat().starts_with("SIP/2.0 503"), "{answers:?}");
        }
    }

    /// A `#` cannot stand in a URI but escaped.
    #[test]
    fn an_emergency_number_is_known_however_it_is_written() {
        let mut shard = shard();
        shard.settings.calls.emergency = vec!["*112#".to_owned()];
        shard.handle_input(NOW, Input::Drain);
        for (call, number) in [("one", "*112%23"), ("two", "%2A11%32%23")] {
            let uri = format!("sip:{number}@");
            let help = request("INVITE", call, "").replace("sip:bob@", &uri);
            let sent = receive(&mut shard, &help).concat();
            assert!(sent.contains(&format!("INVITE {uri}")), "{sent}");
        }
    }

    /// A panic inside a call costs that call, and its users are free again.
    #[test]
    fn a_panic_inside_a_call_costs_that_call() {
        let mut shard = shard();
        receive(&mut shard, &request("INVITE", "one", ""));
        receive(&mut shard, &request("INVITE", "two", ""));
        let (key, _) = shard.calls.iter().next().expect("two calls are up");
        shard.guarded(NOW, |shard| {
            shard.with_call(NOW, key, |_, _| panic!("failpoint"));
        });
        // Its caller does not wait for ever.
        let told = sent(&mut shard);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told.concat().starts_with("SIP/2.0 500"), "{told:?}");
        assert_eq!(shard.calls.len(), 1);
        assert_eq!(shard.calls.taken(), 0);
        assert!(shard.in_hand.is_none());
    }
}
