//! The documents of `/v1`: lines, calls and requests, one to one with TAPI's structures.
//!
//! Spec: TAPI LINEADDRESSCAPS, LINEDEVSTATUS, LINECALLINFO, LINECALLSTATUS; RFC 3339 (times).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::completion::{Condition, Mode, Outcome, Stage};
use crate::shard::provider::{
    CallReason, CallReport, CallState, CompletionReport, Direction, LineEvent, LineNews, LineReport,
};
use crate::time::Date;

/// A line: a user of ours, with all his phones. LINEADDRESSCAPS and LINEDEVSTATUS.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Line {
    /// Its name: the user, with his domain if that is not campon's own.
    pub line: String,
    /// Whether one of its phones is registered.
    pub registered: bool,
    /// How many calls it is in.
    pub calls: u32,
    /// dwNumCallCompletions: how many requests it has.
    pub num_call_completions: usize,
    /// dwMaxCallCompletions: how many it may have; 0 if completion is not available.
    pub max_call_completions: usize,
    /// How many requests of others wait for it.
    pub waiting_for: usize,
    /// dwCallCompletionConds: 1 busy, 2 no answer.
    pub call_completion_conds: u32,
    /// dwCallCompletionModes: 1 camp_on, 2 callback, 4 intrude, 8 message.
    pub call_completion_modes: u32,
    /// The same, by name.
    pub modes: Vec<String>,
    /// dwCallFeatures that calls of this line may have: 16, they may be completed.
    pub call_features: u32,
    /// dwCallFeatures2 that they may have: 4 camp_on, 8 callback, 16 intrude, 32 message.
    pub call_features2: u32,
    /// dwAddressFeatures: 64 while there is a request that can be taken back.
    pub address_features: u32,
    /// dwAddrCapFlags: 2048, requests have ids.
    pub addr_cap_flags: u32,
    /// dwNumCompletionMessages.
    pub num_completion_messages: usize,
    /// The texts, by number from 0.
    pub completion_messages: Vec<String>,
    /// How many texts of others wait for it.
    pub messages_waiting: usize,
}

/// A call on a line. LINECALLINFO and LINECALLSTATUS.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Call {
    /// Its name.
    pub id: String,
    /// Whose line it is on.
    pub line: String,
    /// `out`, or `in`.
    pub direction: String,
    /// The other party, if known.
    pub party: Option<String>,
    /// LINECALLSTATE: `offering`, `proceeding`, `ringback`, `busy`, `connected`, `onhold`, `conferenced`
    /// or `idle`.
    pub state: String,
    /// LINEBUSYMODE of a `busy` call: 1 station.
    pub busy_mode: Option<u32>,
    /// LINEDISCONNECTMODE of a call that has failed: 32 busy, 64 no answer, 256 unreachable.
    pub disconnect_mode: Option<u32>,
    /// The final SIP status of a call that has failed.
    pub status: Option<u16>,
    /// Why it failed: `BS`, `NR` or `NL` (RFC 6910 §12.3).
    pub condition: Option<String>,
    /// When it began, or failed.
    pub since: String,
    /// Until when the completion of a failed call may be asked for.
    pub until: Option<String>,
    /// dwReason: `CALLCOMPLETION` for a call that completes one; at the called side, while
    /// it rings, `CAMPEDON` for one that has waited, `INTRUDE` for one that joins another; else `DIRECT`.
    pub reason: String,
    /// dwCompletionID: the request that it completes, or that was made of it.
    pub completion_id: Option<String>,
    /// dwCallFeatures: 16 if the call may be completed now.
    pub call_features: u32,
    /// dwCallFeatures2: by which modes: 4 camp_on, 8 callback, 16 intrude, 32 message.
    pub call_features2: u32,
    /// The same, by name.
    pub modes: Vec<String>,
}

/// A request for completion.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Completion {
    /// Its name.
    pub completion_id: String,
    /// Its number among the requests of its line, from 1: TAPI's 32-bit id, and the index of codes.
    pub number: u32,
    /// Whose it is.
    pub line: String,
    /// For whom.
    pub callee: String,
    /// What was dialled.
    pub dialled: String,
    /// `callback`, `camp_on` or `message`.
    pub mode: String,
    /// `asked`, `queued`, `recalling` or `calling`.
    pub stage: String,
    /// What the callee is to read, of a `message`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// When its service ends.
    pub ends: String,
    /// What happened so far.
    pub history: Vec<Step>,
}

/// One event of a request's story.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Step {
    /// When.
    pub at: String,
    /// What.
    pub event: String,
}

/// lineCompleteCall.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Complete {
    /// `camp_on`, `callback`, `intrude` or `message`.
    pub mode: String,
    /// dwMessageID, for `message`: from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<u32>,
}

/// A request that was accepted.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Completed {
    /// Its name.
    pub completion_id: String,
    /// Its number among the requests of its line, from 1: TAPI's 32-bit id, and the index of codes.
    pub number: u32,
}

/// ITBasicCallControl::Connect.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Connect {
    /// The line whose phone rings first.
    pub from: String,
    /// A number, or a SIP URI.
    pub to: String,
}

/// A call that was made.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Connected {
    /// Its name.
    pub id: String,
}

/// News of a line; which fields there are depends on its type.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Event {
    /// `NUMCOMPLETIONS`, `COMPLCANCEL`, `CALLSTATE`, `MSGWAITON` or `MSGWAITOFF`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whose line it is about.
    pub line: String,
    /// NUMCOMPLETIONS: how many requests it has now. MSGWAITON: how many texts wait for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<usize>,
    /// CALLSTATE of a call that `POST /calls` has made: its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call_id: Option<String>,
    /// The same where the line's phone has dialled by itself, which is another call: the name that
    /// `POST /calls` gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub related_call_id: Option<String>,
    /// COMPLCANCEL, CALLSTATE: which request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion_id: Option<String>,
    /// COMPLCANCEL: how it ended: `expired` or `refused`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// CALLSTATE: `offering`, `proceeding`, `connected` or `idle`; of a call that waits `ringback`,
    /// `connected` or `busy`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// CALLSTATE: `CALLCOMPLETION`; `DIRECT` of a call that `POST /calls` has made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// CALLSTATE: whom the line wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub callee: Option<String>,
}

/// LINECALLFEATURE_COMPLETECALL.
const COMPLETE_CALL: u32 = 0x10;
/// LINECALLCOMPLCOND_BUSY and LINECALLCOMPLCOND_NOANSWER.
const CONDITIONS: u32 = 0x3;
/// LINEADDRFEATURE_UNCOMPLETECALL.
const UNCOMPLETE_CALL: u32 = 0x40;
/// LINEADDRCAPFLAGS_COMPLETIONID.
const COMPLETION_ID: u32 = 0x800;
/// LINEBUSYMODE_STATION.
const STATION: u32 = 0x1;

/// The modes: name, LINECALLCOMPLMODE, LINECALLFEATURE2.
const MODES: [(&str, Mode, u32, u32); 4] = [
    ("camp_on", Mode::CampOn, 0x1, 0x4),
    ("callback", Mode::Callback, 0x2, 0x8),
    ("intrude", Mode::Intrude, 0x4, 0x10),
    ("message", Mode::Message, 0x8, 0x20),
];

/// The mode of this name.
pub fn mode_named(name: &str) -> Option<Mode> {
    let found = MODES.iter().find(|(known, ..)| *known == name);
    found.map(|(_, mode, ..)| *mode)
}

fn names(modes: &[Mode]) -> Vec<String> {
    let offered = MODES.iter().filter(|(_, mode, ..)| modes.contains(mode));
    offered.map(|(name, ..)| (*name).to_owned()).collect()
}

fn bits(modes: &[Mode], bit: impl Fn(&(&str, Mode, u32, u32)) -> u32) -> u32 {
    let offered = MODES.iter().filter(|(_, mode, ..)| modes.contains(mode));
    offered.map(bit).sum()
}

impl From<&LineReport> for Line {
    fn from(line: &LineReport) -> Self {
        // What there is of it where anything can be completed, and else nothing.
        let with = |flag: u32, is_there: bool| if is_there { flag } else { 0 };
        let is_on = !line.modes.is_empty();
        Self {
            line: line.name.clone(),
            registered: line.is_registered,
            calls: line.calls,
            num_call_completions: line.completions,
            max_call_completions: line.completions_max,
            waiting_for: line.waiting_for,
            call_completion_conds: with(CONDITIONS, is_on),
            call_completion_modes: bits(&line.modes, |row| row.2),
            modes: names(&line.modes),
            call_features: with(COMPLETE_CALL, is_on),
            call_features2: bits(&line.modes, |row| row.3),
            address_features: with(UNCOMPLETE_CALL, line.completions > 0),
            addr_cap_flags: with(COMPLETION_ID, is_on),
            num_completion_messages: line.texts.len(),
            completion_messages: line.texts.iter().map(ToString::to_string).collect(),
            messages_waiting: line.messages_waiting,
        }
    }
}

impl Call {
    /// The document; `utc` says what the calendar showed at a moment.
    pub fn new(call: &CallReport, utc: &impl Fn(Date) -> String) -> Self {
        let direction = match call.direction {
            Direction::In => "in",
            Direction::Out => "out",
        };
        let reason = match call.reason {
            CallReason::CampedOn => "CAMPEDON",
            CallReason::Completion => "CALLCOMPLETION",
            CallReason::Direct => "DIRECT",
            CallReason::Intrude => "INTRUDE",
        };
        Self {
            id: call.call.to_string(),
            line: call.line.clone(),
            direction: direction.to_owned(),
            party: call.party.clone(),
            state: state_name(call.state).to_owned(),
            busy_mode: (call.state == CallState::Busy).then_some(STATION),
            disconnect_mode: call.condition.map(disconnect_mode),
            status: call.status,
            condition: call.condition.map(Condition::m).map(str::to_owned),
            since: utc(call.since.into()),
            until: call.until.map(|at| utc(at.into())),
            reason: reason.to_owned(),
            completion_id: call.completes.or(call.completion).map(|id| id.to_string()),
            call_features: if call.modes.is_empty() {
                0
            } else {
                COMPLETE_CALL
            },
            call_features2: bits(&call.modes, |row| row.3),
            modes: names(&call.modes),
        }
    }
}

impl Completion {
    /// The document; `utc` says what the calendar showed at a moment.
    pub fn new(completion: &CompletionReport, utc: &impl Fn(Date) -> String) -> Self {
        let stage = match completion.stage {
            Stage::Asked => "asked",
            Stage::Calling => "calling",
            Stage::Queued => "queued",
            Stage::Recalling => "recalling",
        };
        let steps = completion.history.iter().map(|(at, event)| Step {
            at: utc(at),
            event: event.to_string(),
        });
        Self {
            completion_id: completion.id.to_string(),
            number: completion.number,
            line: completion.line.clone(),
            callee: completion.callee.clone(),
            dialled: completion.dialled.clone(),
            mode: names(&[completion.mode]).concat(),
            stage: stage.to_owned(),
            text: completion.text.clone(),
            ends: utc(completion.ends.into()),
            history: steps.collect(),
        }
    }
}

impl From<&LineEvent> for Event {
    fn from(event: &LineEvent) -> Self {
        let mut document = Self {
            kind: String::new(),
            line: event.line.clone(),
            count: None,
            call_id: None,
            related_call_id: None,
            completion_id: None,
            outcome: None,
            state: None,
            reason: None,
            callee: None,
        };
        let kind = match &event.what {
            LineNews::CallState { state, id, callee } => {
                document.state = Some(state_name(*state).to_owned());
                document.reason = Some("CALLCOMPLETION".to_owned());
                document.completion_id = Some(id.to_string());
                document.callee = Some(callee.clone());
                "CALLSTATE"
            }
            LineNews::Connection {
                call,
                asked,
                state,
                callee,
            } => {
                document.related_call_id = asked.map(|asked| asked.to_string());
                document.state = Some(state_name(*state).to_owned());
                document.reason = Some("DIRECT".to_owned());
                document.call_id = Some(call.to_string());
                document.callee = Some(callee.clone());
                "CALLSTATE"
            }
            LineNews::ComplCancel { id, outcome } => {
                document.completion_id = Some(id.to_string());
                document.outcome = Some(Outcome::to_string(outcome));
                "COMPLCANCEL"
            }
            LineNews::MsgWait { count: 0 } => "MSGWAITOFF",
            LineNews::MsgWait { count } => {
                document.count = Some(*count);
                "MSGWAITON"
            }
            LineNews::NumCompletions { count } => {
                document.count = Some(*count);
                "NUMCOMPLETIONS"
            }
        };
        kind.clone_into(&mut document.kind);
        document
    }
}

fn state_name(state: CallState) -> &'static str {
    match state {
        CallState::Busy => "busy",
        CallState::Conferenced => "conferenced",
        CallState::Connected => "connected",
        CallState::Idle => "idle",
        CallState::Offering => "offering",
        CallState::OnHold => "onhold",
        CallState::Proceeding => "proceeding",
        CallState::Ringback => "ringback",
    }
}

/// LINEDISCONNECTMODE.
fn disconnect_mode(condition: Condition) -> u32 {
    match condition {
        Condition::Busy => 0x20,
        Condition::NoReply => 0x40,
        Condition::NotLoggedIn => 0x100,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_modes_have_the_bits_of_tapi() {
        let all = MODES.map(|(_, mode, ..)| mode);
        assert_eq!(bits(&all, |row| row.2), 0xf);
        assert_eq!(bits(&all, |row| row.3), 0x3c);
        assert_eq!(bits(&[Mode::Callback], |row| row.2), 2);
        assert_eq!(mode_named("callback"), Some(Mode::Callback));
        assert_eq!(mode_named("call_back"), None);
    }
}
