//! Connect: a line's phone is rung, and when it answers, whom the application named.
//!
//! Spec: TAPI ITBasicCallControl::Connect; RFC 3725; RULES R4, R10, R24.
//!
//! It goes the way of a recall, with the methods of a recall, for a request that there is not. Its line
//! hears CALLSTATE: offering, proceeding, connected; and idle, however it ends.

use std::time::Duration;

use crate::cc::Condition;
use crate::cc::addr::AddrSpec;
use crate::cc::agent::{RecallFailure, Why};
use crate::cc::capsule::CallIdentity;
use crate::cc::id::CceToken;
use crate::completion::{self, Binding, CompletionId, Identity, Input, Recall, Via};
use crate::location::Aor;
use crate::shard::desk::name_of;
use crate::shard::offer::About;
use crate::shard::provider::{CallState, LineNews, Provider, Refusal, plain};
use crate::shard::recall::uri_of;
use crate::shard::{Settings, Shard};
use crate::sip::Uri;
use crate::table::Key;
use crate::time::Timestamp;

/// How many connections may be in the making: each turn looks at all of them.
const CONNECTING_MAX: usize = 100;

/// A connection that is being made.
#[derive(Debug)]
pub(super) struct Connecting {
    from: Aor,
    callee: Aor,
    dialled: AddrSpec,
    /// What its line is told of, once it rings.
    told: Option<Told>,
    /// When what is going on is given up.
    until: Timestamp,
}

/// What a line is told of a connection.
#[derive(Clone, Debug)]
struct Told {
    call: CallIdentity,
    /// What the application knows it by, if its phone has dialled and this is another call.
    asked: Option<CallIdentity>,
    line: String,
    callee: String,
}

/// A connection whose two talk.
#[derive(Debug)]
pub(super) struct Connected {
    /// Their call.
    key: Key,
    told: Told,
}

impl Provider {
    fn tell_of(&mut self, told: &Told, state: CallState) {
        let news = LineNews::Connection {
            call: told.call,
            asked: told.asked,
            state,
            callee: told.callee.clone(),
        };
        self.tell(&told.line, news);
    }
}

impl Shard {
    /// Rings the line; the name of its call.
    pub(super) fn connect(
        &mut self,
        now: Timestamp,
        from: Aor,
        to: &str,
    ) -> Result<CallIdentity, Refusal> {
        if self.line_report(&from).is_none() {
            return Err(Refusal::Line);
        }
        let is_full = self.provider.connecting.len() >= CONNECTING_MAX;
        if self.draining || is_full || self.users.legs(&from) > 0 {
            return Err(Refusal::Phone);
        }
        let targets = self.registrar.targets(now, &from).count();
        let (dialled, callee) = self.dialled_by(&from, to)?;
        if targets == 0 {
            return Err(Refusal::Phone);
        }
        let id = CompletionId::random(&mut self.rng);
        let ring = self.settings.completion.service.agent.ring;
        let recall = Recall {
            id,
            caller: name_of(&from),
            binding: Binding::default(),
            callee: name_of(&callee),
            dialled: dialled.clone(),
            ring,
        };
        let connecting = Connecting {
            from,
            callee,
            dialled,
            told: None,
            until: now + ring,
        };
        self.provider.connecting.insert(id, connecting);
        self.recall(now, &recall);
        let Some(key) = self.desk.recalls.get(&id).map(|rung| rung.key) else {
            self.provider.connecting.remove(&id);
            return Err(Refusal::Phone);
        };
        let call = self.caller_call(key);
        if let Some(connecting) = self.provider.connecting.get_mut(&id) {
            let told = Told {
                call,
                asked: None,
                line: plain(&recall.caller).to_owned(),
                callee: plain(&recall.callee).to_owned(),
            };
            connecting.told = Some(told.clone());
            self.provider.tell_of(&told, CallState::Offering);
        }
        Ok(call)
    }

    /// What becomes of it, before the service hears of it and finds that it is none of its own.
    pub(in crate::shard) fn follow_connection(&mut self, now: Timestamp, fact: &Input) {
        if self.provider.connecting.is_empty() {
            return;
        }
        if let Input::RecallAnswered { id } = fact {
            self.tell_state(*id, CallState::Proceeding);
            self.place_connection(now, *id);
        }
        if let Input::CcCallArrived { id } = fact {
            let most = self.settings.completion.service.agent.cc_call_max;
            self.extend(now, *id, most);
        }
        if let Input::CcCallAnswered { id } | Input::CcCallDiverted { id } = fact {
            self.note_connected(*id);
        }
        if let Input::CcCallFailed { id, .. } | Input::RecallFailed { id, .. } = fact {
            self.end_connection(*id);
        }
    }

    fn tell_state(&mut self, id: CompletionId, state: CallState) {
        let connecting = self.provider.connecting.get(&id);
        if let Some(told) = connecting.and_then(|it| it.told.clone()) {
            self.provider.tell_of(&told, state);
        }
    }

    /// It has come to nothing.
    fn end_connection(&mut self, id: CompletionId) {
        self.tell_state(id, CallState::Idle);
        self.provider.connecting.remove(&id);
    }

    /// The two talk: by the call that we made, or by the one that the phone was asked for.
    fn note_connected(&mut self, id: CompletionId) {
        let connecting = self.provider.connecting.remove(&id);
        let Some(mut told) = connecting.and_then(|it| it.told) else {
            return;
        };
        // A phone that has dialled may have parted with the call that asked it.
        let dialled = self.desk.cc_calls.get(&id).and_then(|made| made.key);
        let rung = self.desk.recalls.get(&id).map(|rung| rung.key);
        let key = dialled.or(rung);
        let Some(key) = key.filter(|key| self.calls.get(*key).is_some()) else {
            // It is over already.
            self.provider.tell_of(&told, CallState::Connected);
            return self.provider.tell_of(&told, CallState::Idle);
        };
        let asked = std::mem::replace(&mut told.call, self.caller_call(key));
        told.asked = Some(asked).filter(|asked| *asked != told.call);
        self.provider.tell_of(&told, CallState::Connected);
        self.provider.connected.insert(id, Connected { key, told });
    }

    /// A call of ours is over; maybe it was a connection's.
    pub(in crate::shard) fn forget_connection(&mut self, id: CompletionId, key: Key) {
        let connected = self.provider.connected.get(&id);
        if connected.is_some_and(|it| it.key == key)
            && let Some(over) = self.provider.connected.remove(&id)
        {
            self.provider.tell_of(&over.told, CallState::Idle);
        }
    }

    /// The request that a call is for.
    pub(in crate::shard) fn request_of(&self, about: &About) -> Option<CompletionId> {
        about.completes().filter(|id| !self.is_connection(*id))
    }

    /// With whom a line is connected, or will be, that was rung for it.
    pub(super) fn rung_for(&self, about: &About) -> Option<String> {
        let id = about.completes()?;
        if let Some(connecting) = self.provider.connecting.get(&id) {
            return Some(plain(&name_of(&connecting.callee)).to_owned());
        }
        if let Some(connected) = self.provider.connected.get(&id) {
            return Some(connected.told.callee.clone());
        }
        let request = self.desk.service.view(id)?;
        Some(plain(request.callee).to_owned())
    }

    fn extend(&mut self, now: Timestamp, id: CompletionId, most: Duration) {
        if let Some(connecting) = self.provider.connecting.get_mut(&id) {
            connecting.until = now + most;
        }
    }

    fn place_connection(&mut self, now: Timestamp, id: CompletionId) {
        let agent = self.settings.completion.service.agent;
        self.extend(now, id, agent.place_max + agent.cc_call_max);
        let Some(connecting) = self.provider.connecting.get(&id) else {
            return;
        };
        let is_ours = self.edge.is_some() || self.registrar.is_known(&connecting.callee);
        let via = if is_ours || self.settings.upstream.is_none() {
            Via::Own(CceToken::random(&mut self.rng))
        } else {
            Via::Peer(Settings::UPSTREAM)
        };
        let host = self.hosts.first().map(|host| &**host).unwrap_or_default();
        let Ok(from) = AddrSpec::new(&uri_of(&connecting.from, host)) else {
            return;
        };
        let call = completion::Call {
            id,
            caller: name_of(&connecting.from),
            from,
            identity: Identity::default(),
            callee: name_of(&connecting.callee),
            dialled: connecting.dialled.clone(),
            target: connecting.dialled.clone(),
            condition: Condition::Busy,
            via,
        };
        self.place_cc_call(now, &call);
    }

    /// Whether any connection is being made.
    pub(in crate::shard) fn is_connecting(&self) -> bool {
        !self.provider.connecting.is_empty()
    }

    /// Whether this is no request, but a connection.
    pub(in crate::shard) fn is_connection(&self, id: CompletionId) -> bool {
        let provider = &self.provider;
        provider.connecting.contains_key(&id) || provider.connected.contains_key(&id)
    }

    /// Gives up what takes too long.
    pub(in crate::shard) fn wake_connections(&mut self, now: Timestamp) {
        let due = self.provider.connecting.iter();
        let due: Vec<_> = due
            .filter(|(_, it)| it.until <= now)
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            self.end_connection(id);
            self.end_recall(now, id, Why::NotReached(RecallFailure::Unanswered));
        }
    }

    /// When that is next.
    pub(in crate::shard) fn connections_due(&self) -> Option<Timestamp> {
        self.provider.connecting.values().map(|it| it.until).min()
    }

    /// What the line would have dialled, and whose number that is.
    fn dialled_by(&self, from: &Aor, to: &str) -> Result<(AddrSpec, Aor), Refusal> {
        let (_, domain) = from.as_str().rsplit_once('@').unwrap_or_default();
        let host = self.hosts.first().map(|host| &**host).unwrap_or_default();
        let domain = if domain.is_empty() { host } else { domain };
        let text = match to.split_once(':') {
            Some(_) => to.to_owned(),
            None if to.contains('@') => format!("sip:{to}"),
            None => format!("sip:{to}@{domain}"),
        };
        // R7: a name and where it is known, and nothing that steers the request.
        let dialled = AddrSpec::new(&text).map_err(|_| Refusal::Address)?;
        if text.contains(['?', ';', '<', '>']) {
            return Err(Refusal::Address);
        }
        let uri = Uri::parse(text.as_bytes()).map_err(|_| Refusal::Address)?;
        let callee = self.domains.aor(&uri).ok_or(Refusal::Address)?;
        let callee = self.owner_of(&callee).unwrap_or(callee);
        let number = match &uri {
            Uri::Sip(uri) => uri.user.unwrap_or_default(),
            Uri::Tel(uri) => uri.number,
            Uri::Urn(_) | Uri::Other(_) => b"",
        };
        // R23: nobody but a person calls for help.
        if callee == *from || self.is_emergency_number(number) {
            return Err(Refusal::Address);
        }
        Ok((dialled, callee))
    }
}
