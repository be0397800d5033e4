//! Completion: its times with their bounds, its limits, its codes.
//!
//! Spec: DESIGN §8.7; RFC 6910 §7.3, §9.4, §9.11; RFC 6665 §4.2.1 (Min-Expires); TS 24.642 timers.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use toml::Spanned;

use crate::cc::agent::{self, Resumption};
use crate::cc::document::Retention;
use crate::cc::monitor::{self, Times};
use crate::completion::{Codes, Limits, RawCodes, Settings, Timing};
use crate::config::error::{Error, Source};
use crate::config::raw::{Field, RawCompletion, RawMessages};
use crate::config::value;
use crate::shard::intrusion::Intrusion;
use crate::shard::settings::{Completion, Reserve};

type Bounds = RangeInclusive<Duration>;

/// The shortest time where none would be no time to do anything in.
const SHORTEST: Duration = Duration::from_millis(1);
const DAY: Duration = Duration::from_hours(24);

/// TS 24.642: what a callee who became free is left to himself.
const GUARD: Bounds = Duration::ZERO..=Duration::from_secs(15);
/// How far the calls of a phone that redials by itself may lie apart.
const POLL: Bounds = Duration::ZERO..=Duration::from_mins(5);
/// How long a caller waits with the call in his hand.
const CAMP: Bounds = SHORTEST..=Duration::from_hours(1);
/// How long a caller hears nothing of a failure; at most what PBXs let a phone ring.
const ASK: Bounds = Duration::from_secs(1)..=Duration::from_mins(1);
/// Around the 10 to 20 s of RFC 6910 §7.3.
const RECALL: Bounds = Duration::from_secs(1)..=Duration::from_mins(1);
const RING: Bounds = SHORTEST..=Duration::from_mins(1);
/// How long a call may take to be answered.
const CALL: Bounds = SHORTEST..=Duration::from_hours(1);
/// How long somebody is left in peace, or not known.
const REST: Bounds = Duration::ZERO..=DAY;
/// How long the end of a call may trail behind.
const TAIL: Bounds = Duration::ZERO..=Duration::from_mins(1);
/// How long an answer may take that somebody owes us.
const ANSWER: Bounds = SHORTEST..=Duration::from_mins(5);
/// Whoever asks gives up after 32 s (RFC 3261, timer F), and must have been answered by then.
const COMMIT: Bounds = SHORTEST..=Duration::from_secs(30);
/// RFC 6665 §4.2.1: who asks for an hour or more is not told that this is too brief.
const EXPIRES_MIN: Bounds = Duration::from_secs(1)..=Times::DEFAULT_DURATION;
/// Expires counts in seconds.
const SERVICE: Bounds = Duration::from_secs(1)..=DAY;
/// Times that nobody waits for on the phone.
const LONG: Bounds = SHORTEST..=DAY;

/// How long a text may wait for a phone that takes it.
const MESSAGE: Bounds = Duration::from_mins(1)..=Duration::from_hours(30 * 24);
/// How soon it is sent again: not so fast that a phone that is off is flooded.
const RETRY: Bounds = Duration::from_secs(1)..=Duration::from_hours(1);
/// As many as a code can name.
const TEXTS_MAX: usize = 100;
/// RFC 3428 §8: what fits into 1300 bytes with header fields of 800.
const TEXT_MAX: usize = 400;

/// Timers F and N: how many times T1 a request waits for its answer, a SUBSCRIBE for its NOTIFY.
const TIMEOUT_T1S: u32 = 64;

/// Checks times, limits and codes; `t1` bounds the waiting for what a peer owes us.
pub(super) fn completion(
    source: Source<'_>,
    raw: &RawCompletion,
    emergency: &[String],
    t1: Duration,
) -> Result<Completion, Error> {
    let usual = Completion::default();
    let enabled = raw.enabled.as_ref();
    let monitor = monitor(source, raw)?;
    let service = Settings {
        agent: agent(source, raw, &monitor, t1)?,
        limits: limits(source, raw)?,
        timing: timing(source, raw, &monitor.times)?,
        monitor,
    };
    Ok(Completion {
        enabled: enabled.map_or(usual.enabled, |written| *written.get_ref()),
        service,
        reserve: source.word(
            raw.reserve.as_ref(),
            usual.reserve,
            &[("completions", Reserve::Completions), ("all", Reserve::All)],
        )?,
        poll_window: source.time(raw.poll_window.as_ref(), usual.poll_window, POLL)?,
        codes: codes(source, raw, emergency)?,
        messages: messages(source, &raw.messages)?,
        intrusion: Intrusion::default(),
        prompt: None,
        on_busy: super::routes::on_busy(source, raw.on_busy.as_ref())?.unwrap_or(usual.on_busy),
        camp_on_music: (raw.camp_on_music.as_ref())
            .map_or(usual.camp_on_music, |written| *written.get_ref()),
        camp_on_answered: usual.camp_on_answered,
        ask_time: source.time(raw.ask_time.as_ref(), usual.ask_time, ASK)?,
        recall_by: source.methods(raw.recall_by.as_ref(), &usual.recall_by)?,
        announces_recalls: usual.announces_recalls,
        keeps: usual.keeps,
    })
}

fn monitor(source: Source<'_>, raw: &RawCompletion) -> Result<monitor::Policy, Error> {
    let usual = monitor::Policy::default();
    let retention = match raw.retain.as_ref().map(Spanned::get_ref) {
        None => usual.retention,
        Some(true) => Retention::Kept,
        Some(false) => Retention::None,
    };
    let recalls_max = source.at_least_one(raw.recalls_max.as_ref(), usual.recalls_max)?;
    Ok(monitor::Policy {
        times: queue_times(source, raw)?,
        entries_max: source.amount(raw.queue_max.as_ref(), usual.entries_max)?,
        recalls_max,
        retention,
        ..usual
    })
}

fn queue_times(source: Source<'_>, raw: &RawCompletion) -> Result<Times, Error> {
    let usual = Times::default();
    let time =
        |written: &Field<String>, usual, bounds| source.time(written.as_ref(), usual, bounds);
    let times = Times {
        guard: time(&raw.guard, usual.guard, GUARD)?,
        guard_call: time(&raw.camp_on_guard, usual.guard_call, GUARD)?,
        recall: time(&raw.recall, usual.recall, RECALL)?,
        cc_call_max: time(&raw.cc_call_max, usual.cc_call_max, CALL)?,
        rest: time(&raw.rest, usual.rest, REST)?,
        aftermath: time(&raw.aftermath, usual.aftermath, TAIL)?,
        unknown: time(&raw.unknown_time, Timing::default().unknown_time, REST)?,
        notify_window: time(&raw.notify_window, usual.notify_window, CALL)?,
        expires_min: time(&raw.expires_min, usual.expires_min, EXPIRES_MIN)?,
        service_busy: time(&raw.service_busy, usual.service_busy, SERVICE)?,
        service_no_reply: time(&raw.service_no_reply, usual.service_no_reply, SERVICE)?,
        service_not_logged_in: {
            let usual = usual.service_not_logged_in;
            time(&raw.service_not_logged_in, usual, SERVICE)?
        },
    };
    for (written, service) in [
        (&raw.service_busy, times.service_busy),
        (&raw.service_no_reply, times.service_no_reply),
        (&raw.service_not_logged_in, times.service_not_logged_in),
    ] {
        let written = written.as_ref();
        lasts(source, written, service, ("guard", times.guard))?;
        lasts(source, written, service, ("expires_min", times.expires_min))?;
    }
    Ok(times)
}

/// A request outlives what is shorter by its nature.
fn lasts(
    source: Source<'_>,
    written: Option<&Spanned<String>>,
    service: Duration,
    (name, least): (&str, Duration),
) -> Result<(), Error> {
    if service >= least {
        return Ok(());
    }
    let [service, least] = [service, least].map(value::spelled);
    let why = format!("{service} is shorter than {name}, {least}");
    Err(source.blame(written, why))
}

fn agent(
    source: Source<'_>,
    raw: &RawCompletion,
    monitor: &monitor::Policy,
    t1: Duration,
) -> Result<agent::Policy, Error> {
    let usual = agent::Policy::default();
    let times = &monitor.times;
    let patience = t1 * TIMEOUT_T1S;
    let time =
        |written: &Field<String>, usual, bounds| source.time(written.as_ref(), usual, bounds);
    let ring = time(&raw.ring, usual.ring, RING)?;
    // CC-42: a caller who answers at the last moment is still within the monitor's recall timer.
    if ring >= times.recall {
        let [ring, recall] = [ring, times.recall].map(value::spelled);
        let why = format!("ring, {ring}, is not shorter than recall, {recall}");
        return Err(source.blame(raw.ring.as_ref().or(raw.recall.as_ref()), why));
    }
    Ok(agent::Policy {
        ring,
        place_max: time(&raw.place_max, usual.place_max, ANSWER)?,
        cc_call_max: times.cc_call_max,
        rest: times.rest,
        aftermath: times.aftermath,
        notify_max: time(&raw.notify_max, patience, ANSWER)?,
        leave_max: time(&raw.leave_max, patience, ANSWER)?,
        recalls_max: monitor.recalls_max,
        resumption: source.word(
            raw.resumption.as_ref(),
            usual.resumption,
            &[
                ("automatic", Resumption::Automatic),
                ("by-hand", Resumption::ByHand),
            ],
        )?,
    })
}

fn limits(source: Source<'_>, raw: &RawCompletion) -> Result<Limits, Error> {
    let usual = Limits::default();
    let per_second = raw.recalls_per_second_max.as_ref();
    Ok(Limits {
        per_caller_max: source.amount(raw.per_caller_max.as_ref(), usual.per_caller_max)?,
        total_max: source.amount(raw.total_max.as_ref(), usual.total_max)?,
        messages_max: source.amount(raw.messages.per_callee_max.as_ref(), usual.messages_max)?,
        failed_calls_max: source.amount(raw.failed_calls_max.as_ref(), usual.failed_calls_max)?,
        recalls_per_second_max: source.at_least_one(per_second, usual.recalls_per_second_max)?,
    })
}

fn timing(source: Source<'_>, raw: &RawCompletion, times: &Times) -> Result<Timing, Error> {
    let usual = Timing::default();
    let longest = times
        .service_busy
        .max(times.service_no_reply)
        .max(times.service_not_logged_in);
    let queue_long = usual.queue_long.max(longest);
    let time =
        |written: &Field<String>, usual, bounds| source.time(written.as_ref(), usual, bounds);
    Ok(Timing {
        offer_window: time(&raw.offer_window, usual.offer_window, LONG)?,
        camp_on_max: time(&raw.camp_on_max, usual.camp_on_max, CAMP)?,
        message_lasts: time(&raw.messages.lasts, usual.message_lasts, MESSAGE)?,
        message_rest: time(&raw.messages.retry, usual.message_rest, RETRY)?,
        commit_max: time(&raw.commit_max, usual.commit_max, COMMIT)?,
        unknown_time: time(&raw.unknown_time, usual.unknown_time, REST)?,
        suspension_long: time(&raw.suspension_long, usual.suspension_long, LONG)?,
        // CC-74: longer than any request lives.
        queue_long: time(&raw.queue_long, queue_long, longest..=7 * DAY)?,
    })
}

/// The texts, by number; none is left without one.
fn messages(source: Source<'_>, raw: &RawMessages) -> Result<Vec<Arc<str>>, Error> {
    let Some(written) = &raw.texts else {
        return match first_written(raw) {
            Some(span) => Err(source.error(&span, "there are no texts: write texts")),
            None => Ok(Vec::new()),
        };
    };
    let texts = written.get_ref();
    if texts.is_empty() || texts.len() > TEXTS_MAX {
        let why = format!("there must be 1 to {TEXTS_MAX} texts");
        return Err(source.error(&written.span(), why));
    }
    let texts = source.read_all(texts, text)?;
    Ok(texts.into_iter().map(Arc::from).collect())
}

fn first_written(raw: &RawMessages) -> Option<std::ops::Range<usize>> {
    let times = [&raw.lasts, &raw.retry].into_iter().flatten();
    let times = times.map(Spanned::span);
    let number = raw.per_callee_max.as_ref().map(Spanned::span);
    times.chain(number).min_by_key(|span| span.start)
}

/// One line that fits into a datagram with its header fields.
fn text(written: &str) -> Result<String, String> {
    if written.trim().is_empty() || written.len() > TEXT_MAX {
        return Err(format!("must have 1 to {TEXT_MAX} bytes"));
    }
    if written.chars().any(char::is_control) {
        return Err("must be one line without control characters".to_owned());
    }
    Ok(written.to_owned())
}

fn codes(source: Source<'_>, raw: &RawCompletion, emergency: &[String]) -> Result<Codes, Error> {
    let texts = raw.messages.texts.as_ref();
    if let (Some(code), None) = (&raw.codes.message, texts) {
        let why = "there are no texts to be left: write completion.messages.texts";
        return Err(source.error(&code.span(), why));
    }
    let raw = &raw.codes;
    let text = |code: &Field<String>| code.as_ref().map(|code| code.get_ref().clone());
    let codes = RawCodes {
        cancel: text(&raw.cancel),
        cancel_all: text(&raw.cancel_all),
        cancel_last: text(&raw.cancel_last),
        list: text(&raw.list),
        message: text(&raw.message),
        request: text(&raw.request),
        request_last: text(&raw.request_last),
        resume: text(&raw.resume),
    };
    Codes::new(&codes, emergency).map_err(|error| {
        let written = [
            &raw.cancel,
            &raw.cancel_all,
            &raw.cancel_last,
            &raw.list,
            &raw.message,
            &raw.request,
            &raw.request_last,
            &raw.resume,
        ];
        let guilty = written.into_iter().flatten();
        let guilty = guilty.filter(|code| code.get_ref() == error.text());
        let last = guilty.map(Spanned::span).max_by_key(|span| span.start);
        source.error(&last.unwrap_or_default(), error.to_string())
    })
}

impl Source<'_> {
    /// A time within its bounds.
    pub(super) fn time(
        self,
        written: Option<&Spanned<String>>,
        default: Duration,
        bounds: Bounds,
    ) -> Result<Duration, Error> {
        let Some(written) = written else {
            return Ok(default);
        };
        self.read(written, |text| {
            let time = value::duration(text)?;
            if bounds.contains(&time) {
                return Ok(time);
            }
            let [least, most] = [bounds.start(), bounds.end()].map(|bound| value::spelled(*bound));
            Err(format!(
                "{} is not between {least} and {most}",
                value::spelled(time)
            ))
        })
    }
}
