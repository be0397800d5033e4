//! A call record as a line of JSON.
//!
//! Spec: RFC 8259; RFC 3339 (times).

use serde::Serialize;

use crate::completion::{By, CompletionId, History};
use crate::shard::record::{
    CallRecord, CompletionRecord, End, Ender, IntrusionEnd, IntrusionRecord, LegRecord, Origin,
    Record,
};
use crate::time::{Date, Timestamp};

/// The line, with its end; `utc` says what the calendar showed at a moment.
pub fn to_line(record: &Record, utc: impl Fn(Date) -> String) -> String {
    let line = match record {
        Record::Call(call) => serde_json::to_string(&Call::new(call, &utc)),
        Record::Completion(completion) => serde_json::to_string(&Completion::new(completion, &utc)),
        Record::Intrusion(intrusion, ended, end) => {
            serde_json::to_string(&Intrusion::new(intrusion, (*ended, *end), &utc))
        }
    };
    line.expect("structs of numbers and text are JSON") + "\n"
}

#[derive(Serialize)]
struct Call<'r> {
    #[serde(rename = "type")]
    kind: &'static str,
    origin: &'static str,
    began: String,
    rang: Option<String>,
    answered: Option<String>,
    ended: String,
    /// Seconds, to the millisecond.
    talked_s: Option<f64>,
    outcome: &'static str,
    ended_by: &'static str,
    a: Leg<'r>,
    b: Leg<'r>,
    completion: Option<Story>,
}

#[derive(Serialize)]
struct Leg<'r> {
    call_id: &'r str,
    from: &'r str,
    to: &'r str,
    uri: &'r str,
    addresses: &'r [String],
    answered_at: Option<&'r str>,
    status: Option<u16>,
    reason: Option<&'r str>,
}

#[derive(Serialize)]
struct Completion<'r> {
    #[serde(rename = "type")]
    kind: &'static str,
    caller: &'r str,
    callee: &'r str,
    mode: &'static str,
    outcome: String,
    ended_by: &'static str,
    #[serde(flatten)]
    story: Story,
}

#[derive(Serialize)]
struct Intrusion<'r> {
    #[serde(rename = "type")]
    kind: &'static str,
    intruder: &'r str,
    target: &'r str,
    third: Option<&'r str>,
    call_id: &'r str,
    began: String,
    joined: Option<String>,
    ended: String,
    outcome: &'static str,
}

#[derive(Serialize)]
struct Story {
    completion_id: String,
    history: Vec<Step>,
}

#[derive(Serialize)]
struct Step {
    at: String,
    event: String,
}

impl<'r> Call<'r> {
    fn new(record: &'r CallRecord, utc: &impl Fn(Date) -> String) -> Self {
        let talked = record.answered.map(|at| record.ended.since(at));
        let completion = record.completion.as_ref();
        Self {
            kind: "call",
            origin: match record.origin {
                Origin::Caller => "caller",
                Origin::Recall => "recall",
            },
            began: utc(record.began.into()),
            rang: record.rang.map(|at| utc(at.into())),
            answered: record.answered.map(|at| utc(at.into())),
            ended: utc(record.ended.into()),
            talked_s: talked.map(|talked| (talked.as_secs_f64() * 1e3).round() / 1e3),
            outcome: match record.end {
                End::Answered => "answered",
                End::Cancelled => "cancelled",
                End::Failed => "failed",
            },
            ended_by: match record.by {
                Ender::Callee => "callee",
                Ender::Caller => "caller",
                Ender::Campon => "campon",
            },
            a: Leg::new(&record.a),
            b: Leg::new(&record.b),
            completion: completion.map(|(id, history)| Story::new(*id, history, utc)),
        }
    }
}

impl<'r> Leg<'r> {
    fn new(leg: &'r LegRecord) -> Self {
        Self {
            call_id: &leg.call_id,
            from: &leg.from,
            to: &leg.to,
            uri: &leg.uri,
            addresses: &leg.addresses,
            answered_at: leg.answered_at.as_deref(),
            status: leg.status,
            reason: leg.reason.as_deref(),
        }
    }
}

impl<'r> Completion<'r> {
    fn new(record: &'r CompletionRecord, utc: &impl Fn(Date) -> String) -> Self {
        Self {
            kind: "completion",
            caller: &record.caller,
            callee: &record.callee,
            mode: record.mode.as_str(),
            outcome: record.outcome.to_string(),
            ended_by: match record.by {
                By::Caller => "caller",
                By::Other => "other",
            },
            story: Story::new(record.id, &record.history, utc),
        }
    }
}

impl<'r> Intrusion<'r> {
    fn new(
        record: &'r IntrusionRecord,
        (ended, end): (Timestamp, IntrusionEnd),
        utc: &impl Fn(Date) -> String,
    ) -> Self {
        Self {
            kind: "intrusion",
            intruder: &record.intruder,
            target: &record.target,
            third: record.third.as_deref(),
            call_id: &record.call_id,
            began: utc(record.began.into()),
            joined: record.joined.map(|at| utc(at.into())),
            ended: utc(ended.into()),
            outcome: end.as_str(),
        }
    }
}

impl Story {
    fn new(id: CompletionId, history: &History, utc: &impl Fn(Date) -> String) -> Self {
        let steps = history.iter().map(|(at, event)| Step {
            at: utc(at),
            event: event.to_string(),
        });
        Self {
            completion_id: id.to_string(),
            history: steps.collect(),
        }
    }
}
