//! Calls that wait for a busy callee: when they ring him, what their callers are told, and their end.
//!
//! Spec: RULES R5; RFC 3841 §9.1; RFC 3261 §21.1.4 (182).
//!
//! Whose call an INVITE of campon's goes on with is known by its session, which crosses unchanged.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use campon::shard::Settings;
use campon::time::Timestamp;

use super::{ELSEWHERE, SLACK, Watch, user_of};
use crate::flow::kit::message::{Message, uri_of};
use crate::sim::completion::settings::{CC_CALL_MAX, GUARD_CALL};
use crate::sim::wire;

/// Who waits is told so as often: each minute, by a timer that is as exact as it needs to be.
const TOLD_EVERY: Duration = Duration::from_secs(61);

/// How much longer than he may, a caller may be kept.
const TAIL: Duration = Duration::from_secs(2);

/// The calls whose INVITEs this process has got and not answered for good, by their sessions.
pub(super) struct Camps {
    open: BTreeMap<String, Open>,
    lasts: Duration,
    /// When each caller was last known to wait with a call.
    waited: BTreeMap<String, Timestamp>,
    tally: BTreeMap<&'static str, u64>,
}

struct Open {
    call_id: String,
    branch: String,
    caller: String,
    callee: String,
    waits: Option<Waits>,
    /// When its INVITE last came once more.
    repeated: Option<Timestamp>,
    /// Whether its CANCEL was answered.
    is_taken_back: bool,
}

/// He was told that he waits.
struct Waits {
    since: Timestamp,
    told: Timestamp,
    /// When his callee was last rung for him since.
    rung: Option<Timestamp>,
    /// The RSeq of what he was told last, where he is to acknowledge it.
    number: Option<String>,
}

impl Waits {
    /// While his callee is rung, it is the callee's phone's to say.
    fn is_queued(&self) -> bool {
        self.rung.is_none_or(|at| self.told > at)
    }
}

impl Camps {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            open: BTreeMap::new(),
            lasts: settings.completion.service.timing.camp_on_max,
            waited: BTreeMap::new(),
            tally: BTreeMap::new(),
        }
    }

    /// No call outlives its process.
    pub(super) fn on_crash(&mut self) {
        self.open.clear();
    }

    fn count(&mut self, what: &'static str) {
        *self.tally.entry(what).or_default() += 1;
    }

    /// Whether a caller has waited with a call since then, or does.
    pub(super) fn has_waited(&self, caller: &str, since: Timestamp) -> bool {
        let waits = |it: &Open| it.caller == caller && it.waits.is_some();
        let last = self.waited.get(caller);
        last.is_some_and(|at| *at >= since) || self.open.values().any(waits)
    }

    /// Whether a caller has a call to a callee that has no answer for good yet.
    pub(super) fn has(&self, caller: &str, callee: &str) -> bool {
        let is_it = |it: &Open| it.caller == caller && it.callee == callee;
        self.open.values().any(is_it)
    }

    fn of_branch(&mut self, branch: &str) -> Option<&mut Open> {
        self.open.values_mut().find(|it| it.branch == branch)
    }
}

impl Watch {
    /// How many calls waited, and what became of them.
    pub(crate) fn camped(&mut self) -> BTreeMap<&'static str, u64> {
        std::mem::take(&mut self.camps.tally)
    }

    /// Somebody calls.
    pub(super) fn note_camps_in(&mut self, from: SocketAddr, invite: &Message) {
        let Some(session) = wire::session_name(invite) else {
            return;
        };
        if !invite.tag_of_to().is_empty() {
            return;
        }
        if let Some(call) = self.camps.open.get_mut(&session) {
            call.repeated = Some(self.now);
            return;
        }
        let caller = self.users.get(&from).map_or(ELSEWHERE, String::as_str);
        let call = Open {
            call_id: invite.call_id().to_owned(),
            branch: invite.branch().to_owned(),
            caller: caller.to_owned(),
            callee: user_of(uri_of(invite.header("To"))),
            waits: None,
            repeated: None,
            is_taken_back: false,
        };
        self.camps.open.insert(session, call);
    }

    /// Something is sent, for the first time or again: what a caller hears of his call.
    pub(super) fn note_camps_out(&mut self, message: &Message) {
        if message.is_request() {
            return;
        }
        let (now, branch) = (self.now, message.branch());
        let what = (message.cseq_method(), message.status());
        let Some(call) = self.camps.of_branch(branch) else {
            return;
        };
        match what {
            ("CANCEL", 200) => call.is_taken_back = true,
            ("INVITE", 182) => {
                let is_new = call.waits.is_none();
                let waits = call.waits.get_or_insert(Waits {
                    since: now,
                    told: now,
                    rung: None,
                    number: None,
                });
                let number = message.find("RSeq").map(str::to_owned);
                // RFC 3261 §17.2.1: a copy is answered with what was said last, and that he is queued
                // was said before his callee was rung. RFC 3262 §3: what is not acknowledged is repeated.
                let is_repeated = number.is_some() && number == waits.number;
                if call.repeated != Some(now) && !is_repeated || waits.is_queued() {
                    waits.told = now;
                }
                waits.number = number;
                if is_new {
                    self.camps.count("calls that wait");
                }
            }
            ("INVITE", status @ 200..) => {
                let waited = call.waits.is_some();
                if waited {
                    let caller = call.caller.clone();
                    self.camps.waited.insert(caller, now);
                }
                self.camps.open.retain(|_, it| it.branch != branch);
                if let Some(what) = end_of_waiting(status).filter(|_| waited) {
                    self.camps.count(what);
                }
            }
            _ => {}
        }
    }

    /// Who waits hears so from time to time, and does not wait for ever.
    pub(super) fn check_camps(&mut self) {
        let (now, lasts) = (self.now, self.camps.lasts);
        for call in self.camps.open.values_mut() {
            let Some(waits) = &mut call.waits else {
                continue;
            };
            let is_queued = waits.is_queued();
            let is_rung = |at: Timestamp| now.since(at) < CC_CALL_MAX * 2;
            let faults = [
                (
                    is_queued && now.since(waits.told) > TOLD_EVERY,
                    "a caller who waits is told nothing for a minute",
                ),
                (
                    now.since(waits.since) > lasts + TAIL + SLACK
                        && !waits.rung.is_some_and(is_rung),
                    "a call waits longer than it may",
                ),
            ];
            for (_, what) in faults.into_iter().filter(|(is_true, _)| *is_true) {
                let fault = format!("{what}: {} before {now:?}", call.call_id);
                self.faults.push(fault);
                // Once is enough.
                waits.told = now;
                waits.rung = Some(now);
            }
        }
    }

    /// The call with which an INVITE of campon's goes on.
    pub(super) fn call_behind(&self, invite: &Message) -> Option<u64> {
        let session = wire::session_name(invite)?;
        let call = self.camps.open.get(&session);
        let known = call.and_then(|call| self.legs.call_of(&call.call_id));
        known.or_else(|| self.legs.last())
    }

    /// A copy of an INVITE that comes after its transaction is a call anew, of which its caller's phone
    /// knows nothing.
    pub(super) fn note_haunted(&mut self, invite: &Message) {
        let session = wire::session_name(invite).unwrap_or_default();
        let call = self.camps.open.get(&session);
        if let Some(call) = call.filter(|call| self.legs.call_of(&call.call_id).is_none()) {
            self.turns_of.on_haunted(&call.caller);
        }
    }

    /// R5: somebody rings for whom another is calling right now; where that call had to wait, the
    /// callee is free, and has had time for himself.
    pub(super) fn check_camped(&mut self, callee: &str, invite: &Message) {
        let session = wire::session_name(invite).unwrap_or_default();
        let is_busy = self.legs.is_busy(self.now, callee);
        let freed = self.legs.freed(callee);
        let is_guarded = freed.is_some_and(|freed| self.now.since(freed) < GUARD_CALL);
        let Some(call) = self.camps.open.get_mut(&session) else {
            return self.fault("a callee is rung for nobody", invite);
        };
        let Some(waits) = &mut call.waits else {
            return;
        };
        waits.rung = Some(self.now);
        let faults = [
            (is_busy, "a call that waits rings a busy callee"),
            (is_guarded, "a call that waits rings in the guard time"),
            (call.is_taken_back, "a call that was taken back rings"),
        ];
        self.camps.count("calls that waited and rang");
        for (_, what) in faults.into_iter().filter(|(is_true, _)| *is_true) {
            self.fault(what, invite);
        }
    }

    /// Whether a call waits for a callee that came before somebody else's request, and that was
    /// nothing but kept waiting since the callee has hung up. Whose caller has found him busy once more
    /// after that, and asked for that call, waits for what the callee does from then on (R21).
    pub(super) fn passes_a_call(&self, caller: &str, callee: &str) -> bool {
        let Some(came) = self.came(caller, callee) else {
            return false;
        };
        let freed = self.legs.freed(callee);
        let has_rung = self.turns_of.rung(callee);
        let has_met_again = |caller: &str| {
            let asked = self.coded.asked(caller).map(|it| it.came);
            self.failed.iter().any(|it| {
                (&*it.caller, &*it.callee) == (caller, callee)
                    && Some(it.at) > freed
                    && Some(it.at) <= asked
            })
        };
        self.camps.open.values().any(|it| {
            let Some(waits) = it.waits.as_ref().filter(|_| it.callee == callee) else {
                return false;
            };
            let hung_up = freed.is_some_and(|at| {
                at > waits.since + SLACK && has_rung.is_none_or(|rung| at > rung)
            });
            waits.since + SLACK < came
                && waits.rung.is_none()
                && !it.is_taken_back
                && hung_up
                && it.caller != ELSEWHERE
                && !has_met_again(&it.caller)
        })
    }
}

fn end_of_waiting(status: u16) -> Option<&'static str> {
    match status {
        200..300 => Some("calls that waited and were answered"),
        486 => Some("calls that waited to the end"),
        487 => Some("calls that waited and were taken back"),
        _ => None,
    }
}
