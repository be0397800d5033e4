//! Calls as an application sees them: one on each line, from its beginning to the end of its offer.
//!
//! Spec: TAPI LINECALLINFO, LINECALLSTATUS, LINECALLSTATE; RULES R24.

use std::collections::BTreeSet;
use std::hash::Hasher as _;

use siphasher::sip::SipHasher24;

use crate::call::Call;
use crate::cc::Condition;
use crate::cc::agent::RecallFailure;
use crate::cc::capsule::CallIdentity;
use crate::completion::{self, CompletionId, Failed, Input, Mode};
use crate::location::Aor;
use crate::shard::camping::Stage;
use crate::shard::desk::{name_of, user_of};
use crate::shard::offer::About;
use crate::shard::provider::{LISTED_MAX, Refusal, plain};
use crate::shard::{Held, Shard};
use crate::table::Key;
use crate::time::Timestamp;

/// A call on a line.
#[derive(Clone, Debug)]
pub struct CallReport {
    /// Its name.
    pub call: CallIdentity,
    /// Whose line it is on.
    pub line: String,
    /// Who began it.
    pub direction: Direction,
    /// The other party, as far as it is a user or was dialled.
    pub party: Option<String>,
    /// How it stands.
    pub state: CallState,
    /// The final status of one that failed.
    pub status: Option<u16>,
    /// Why it failed.
    pub condition: Option<Condition>,
    /// When it began; one that has failed, when it failed.
    pub since: Timestamp,
    /// Until when one that has failed may be completed.
    pub until: Option<Timestamp>,
    /// dwReason.
    pub reason: CallReason,
    /// The request that it completes.
    pub completes: Option<CompletionId>,
    /// The request that was made of it.
    pub completion: Option<CompletionId>,
    /// Whether its completion may be asked for now.
    pub is_completable: bool,
    /// By which modes.
    pub modes: Vec<Mode>,
}

/// Who began a call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Direction {
    /// The other party, or we.
    In,
    /// The line.
    Out,
}

/// LINECALLREASON, as far as calls here have them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CallReason {
    /// At the called side while it rings, of a call that has waited for it.
    CampedOn,
    /// It completes another.
    Completion,
    /// Somebody has called.
    Direct,
    /// The same, of one that joins another call.
    Intrude,
}

/// LINECALLSTATE, as far as calls here have them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CallState {
    /// The callee is busy; the call is over, but for its completion.
    Busy,
    /// Three talk, by a mixer of ours.
    Conferenced,
    /// They talk.
    Connected,
    /// It is over.
    Idle,
    /// The line's phone rings.
    Offering,
    /// Answered; one of the two is on hold.
    OnHold,
    /// It is on its way.
    Proceeding,
    /// The callee's phone rings, or rang in vain.
    Ringback,
}

/// A side of a call that is on a line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Role {
    Callee,
    Caller,
}

impl Shard {
    pub(super) fn call_report(
        &self,
        now: Timestamp,
        call: CallIdentity,
        only: Option<&Aor>,
    ) -> Result<CallReport, Refusal> {
        if let Some((key, role)) = self.find_call(call, only) {
            let held = self.calls.get(key);
            let report = held.and_then(|held| self.report_of(key, held, role));
            return report.ok_or(Refusal::Call);
        }
        let name = only.map(name_of);
        let failed = self
            .desk
            .service
            .failed_call_named(now, call, name.as_ref());
        let failed = failed.ok_or(Refusal::Call)?;
        Ok(self.report_of_failed(&failed))
    }

    pub(super) fn call_reports(&self, now: Timestamp, only: Option<&Aor>) -> Vec<CallReport> {
        let up = self.calls.iter().filter(|(_, held)| held.call.is_up());
        let up = up.flat_map(|(key, held)| {
            let roles = [Role::Caller, Role::Callee].into_iter();
            let his = roles.filter(move |role| role.is_of(held, only));
            his.filter_map(move |role| self.report_of(key, held, role))
        });
        let service = &self.desk.service;
        let failed = match only {
            Some(line) => service.failed_calls(now, &name_of(line)),
            None => service.all_failed_calls(now, LISTED_MAX),
        };
        let mut reports: Vec<CallReport> = up.take(LISTED_MAX).collect();
        // Who is kept from a failure has a call that is up, and it has failed.
        let listed: BTreeSet<CallIdentity> = reports.iter().map(|it| it.call).collect();
        let failed = failed.iter().filter(|it| !listed.contains(&it.call));
        let failed = failed.map(|failed| self.report_of_failed(failed));
        let room = LISTED_MAX - reports.len();
        reports.extend(failed.take(room));
        reports
    }

    /// Ends a call; one that has failed, or that keeps its caller from a failure, is forgotten.
    pub(super) fn disconnect(
        &mut self,
        now: Timestamp,
        call: CallIdentity,
        only: Option<&Aor>,
    ) -> Result<(), Refusal> {
        let Some((key, role)) = self.find_call(call, only) else {
            let name = only.map(name_of);
            let failed = self
                .desk
                .service
                .failed_call_named(now, call, name.as_ref());
            let caller = failed.ok_or(Refusal::Call)?.caller.clone();
            self.desk.service.forget_failed(&caller, call);
            return Ok(());
        };
        let held = self.calls.get(key);
        let rings = held.filter(|held| held.call.answered().is_none());
        let Some(id) = rings.and_then(|held| held.about.recall()) else {
            let his = held.filter(|_| role == Role::Caller);
            let asker = his.and_then(|held| held.about.asker());
            let failed = asker.map(|asker| (asker.caller.clone(), asker.call));
            self.with_call(now, key, Call::disconnect);
            if let Some((caller, call)) = failed {
                self.desk.service.forget_failed(&caller, call);
            }
            return Ok(());
        };
        // As if he had refused it.
        let is_placed = self.calls.get(key).is_some_and(|it| it.call.is_placing());
        self.end_recall(now, id, crate::cc::agent::Why::Ended);
        let why = RecallFailure::Refused;
        self.desk.facts.push_back(if is_placed {
            Input::CcCallFailed { id, found: None }
        } else {
            Input::RecallFailed { id, why }
        });
        Ok(())
    }

    /// R24: the caller of a call that rings does not wait for its answer any more; one who is kept
    /// from a failure gets it. If what he asks for would be refused, he waits on.
    pub(super) fn refuse_ringing(
        &mut self,
        now: Timestamp,
        call: CallIdentity,
        text: Option<&str>,
    ) -> Result<(), completion::Reject> {
        let Some((key, Role::Caller)) = self.find_call(call, None) else {
            return Ok(());
        };
        let held = self.calls.get(key);
        if let Some(asker) = held.and_then(|held| held.about.asker()) {
            let callee = asker.callee.name();
            let service = &self.desk.service;
            service.would_take((&asker.caller, &callee), text)?;
            if text.is_some() && asker.callee.queued().is_none() {
                return Err(completion::Reject::NoMonitor);
            }
            if text.is_some() && !completion::is_named(&asker.from, &asker.identity) {
                return Err(completion::Reject::ModeNotOffered);
            }
        }
        self.with_call(now, key, |call, turn| {
            if call.is_held() {
                call.let_go(turn);
            } else {
                call.refuse_ringing(turn);
            }
        });
        Ok(())
    }

    /// The name of the caller's call.
    pub(super) fn caller_call(&self, key: Key) -> CallIdentity {
        let held = self.calls.get(key);
        self.call_name(key, held.and_then(|held| held.asked), Role::Caller)
    }

    fn find_call(&self, call: CallIdentity, only: Option<&Aor>) -> Option<(Key, Role)> {
        let up = self.calls.iter().filter(|(_, held)| held.call.is_up());
        let mut on_lines = up.flat_map(|(key, held)| {
            let roles = [Role::Caller, Role::Callee].into_iter();
            let his = roles.filter(move |role| role.is_of(held, only));
            his.map(move |role| (key, held.asked, role))
        });
        let found = on_lines.find(|(key, asked, role)| self.call_name(*key, *asked, *role) == call);
        found.map(|(key, _, role)| (key, role))
    }

    /// The name that an offer gave it, or one that nobody guesses.
    fn call_name(&self, key: Key, asked: Option<CallIdentity>, role: Role) -> CallIdentity {
        if let (Some(asked), Role::Caller) = (asked, role) {
            return asked;
        }
        let mut hasher = SipHasher24::new_with_key(&self.provider.secret);
        hasher.write_u64(key.to_bits());
        hasher.write_u8(u8::from(role == Role::Caller));
        CallIdentity(hasher.finish())
    }

    fn report_of(&self, key: Key, held: &Held, role: Role) -> Option<CallReport> {
        let parties = &held.parties;
        let line = role.line(held)?;
        let other = match role {
            Role::Caller => {
                let dialled = parties.dialled.as_ref().map(|it| &it.user);
                let callee = parties.callee.as_ref().or(dialled);
                let callee = callee.map(|it| plain(&name_of(it)).to_owned());
                held.about
                    .asker()
                    .map(|it| it.dialled.as_str().to_owned())
                    .or(callee)
                    .or_else(|| self.rung_for(&held.about))
            }
            Role::Callee => (parties.caller.as_ref()).map(|it| plain(&name_of(it)).to_owned()),
        };
        let recall = held.about.recall().is_some();
        let completes = self.request_of(&held.about);
        let state = state_of(held, role, recall);
        let may_ask = matches!(held.about, About::Asker(_)) && role == Role::Caller;
        let is_held = may_ask && held.call.is_held();
        let state = if is_held { CallState::Busy } else { state };
        let name = self.call_name(key, held.asked, role);
        let service = &self.desk.service;
        let modes = match state {
            CallState::Busy => {
                let mut modes = service.modes_of_held(name).to_vec();
                if !modes.is_empty() && self.has_level(line) {
                    modes.push(Mode::Intrude);
                }
                self.with_message(&modes, (line, name))
            }
            CallState::Ringback if may_ask => self.modes_of_failed((line, name)),
            CallState::Conferenced
            | CallState::Connected
            | CallState::Idle
            | CallState::Offering
            | CallState::OnHold
            | CallState::Proceeding
            | CallState::Ringback => Vec::new(),
        };
        Some(CallReport {
            call: name,
            line: plain(&name_of(line)).to_owned(),
            direction: if role == Role::Caller && !recall {
                Direction::Out
            } else {
                Direction::In
            },
            party: other,
            state,
            status: None,
            condition: None,
            since: held.call.began(),
            until: None,
            reason: reason_of(held, role, completes),
            completes: completes.filter(|_| role == Role::Caller),
            completion: service.camp_of(name).filter(|_| is_held),
            is_completable: !modes.is_empty(),
            modes,
        })
    }

    fn report_of_failed(&self, failed: &Failed<'_>) -> CallReport {
        CallReport {
            call: failed.call,
            line: plain(failed.caller).to_owned(),
            direction: Direction::Out,
            party: Some(failed.dialled.as_str().to_owned()),
            state: match failed.condition {
                Condition::Busy => CallState::Busy,
                // Not registered counts as not answered.
                Condition::NoReply | Condition::NotLoggedIn => CallState::Ringback,
            },
            status: Some(failed.status),
            condition: Some(failed.condition),
            since: failed.at,
            until: Some(failed.until),
            reason: CallReason::Direct,
            completes: None,
            completion: failed.completion,
            is_completable: true,
            modes: self.modes_of_failed((&user_of(failed.caller), failed.call)),
        }
    }

    /// The modes by which a call of this line's that has failed, or rings, can be completed.
    fn modes_of_failed(&self, call: (&Aor, CallIdentity)) -> Vec<Mode> {
        if self.settings.completion.enabled {
            self.with_message(self.desk.service.modes(), call)
        } else {
            Vec::new()
        }
    }

    fn with_message(&self, modes: &[Mode], (line, call): (&Aor, CallIdentity)) -> Vec<Mode> {
        let mut modes = modes.to_vec();
        let service = &self.desk.service;
        let is_left = self.leaves_texts() && service.takes_message(&name_of(line), call);
        if !modes.is_empty() && is_left {
            modes.push(Mode::Message);
        }
        modes
    }
}

impl About {
    fn recall(&self) -> Option<CompletionId> {
        if let Self::Recall(id) = self {
            Some(*id)
        } else {
            None
        }
    }

    pub(super) fn completes(&self) -> Option<CompletionId> {
        match self {
            Self::Camped(id) | Self::CcCall(id) | Self::Recall(id) => Some(*id),
            Self::Asker(asker) => place_of(asker.camping.as_deref()?.stage()),
            Self::Beside(_) | Self::Code | Self::Inward(_) | Self::Nothing => None,
        }
    }
}

impl Role {
    fn line(self, held: &Held) -> Option<&Aor> {
        if matches!(held.about, About::Code) {
            // It is no call to anybody.
            return None;
        }
        match self {
            Self::Callee => held.parties.callee.as_ref(),
            Self::Caller => held.parties.caller.as_ref(),
        }
    }

    fn is_of(self, held: &Held, only: Option<&Aor>) -> bool {
        let line = self.line(held);
        line.is_some_and(|line| only.is_none_or(|only| only == line))
    }
}

/// The request by which a call has its place in the queue.
fn place_of(stage: Stage) -> Option<CompletionId> {
    match stage {
        Stage::Waits(id, _) | Stage::Invited(id, _) => Some(id),
        Stage::Idle | Stage::New | Stage::Open | Stage::Asked | Stage::Joining | Stage::Over => {
            None
        }
    }
}

/// What has brought the call to this side of it.
fn reason_of(held: &Held, role: Role, completes: Option<CompletionId>) -> CallReason {
    let camping = held.about.asker().and_then(|it| it.camping.as_deref());
    match (role, camping) {
        (Role::Caller, _) if completes.is_some() => CallReason::Completion,
        (Role::Callee, Some(camping)) if camping.is_joining() => CallReason::Intrude,
        (Role::Callee, Some(camping)) if camping.invited().is_some() => CallReason::CampedOn,
        (Role::Callee | Role::Caller, _) => CallReason::Direct,
    }
}

fn state_of(held: &Held, role: Role, is_recall: bool) -> CallState {
    let call = &held.call;
    let is_mixed = call.is_joined() || (held.mixed.is_some() && call.is_mixed());
    let is_under_way = call.is_placing() || call.is_referring();
    match role {
        // R24: a call that waits stays what it was.
        Role::Caller if call.keeps_caller() && !call.is_placing() => CallState::Busy,
        Role::Caller if call.rings_for_caller() => CallState::Ringback,
        Role::Caller if call.keeps_caller() => CallState::Proceeding,
        _ if is_mixed => CallState::Conferenced,
        _ if call.answered().is_some() && call.is_on_hold() => CallState::OnHold,
        _ if call.answered().is_some() => CallState::Connected,
        Role::Caller if is_recall && !is_under_way => CallState::Offering,
        Role::Caller if call.has_rung() => CallState::Ringback,
        Role::Caller => CallState::Proceeding,
        Role::Callee => CallState::Offering,
    }
}
