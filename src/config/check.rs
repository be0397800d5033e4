//! From what was written to what it means: every rule between values, and every default.
//!
//! Spec: RFC 3261 §10.3 (expiry), §16.6 (timer C), appendix A (T1, T2, T4).

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;

use crate::call;
use crate::completion::WallTime;
use crate::location;
use crate::shard::relays;
use crate::shard::settings::{Calls, Completion, Limits, Listener, Overload};
use crate::shard::settings::{Settings, Strangers};
use crate::transaction::timing::Timing;

use super::error::{Error, Place, Source};
use super::raw::{self, RawConfig};
use super::users;
use super::value;
use super::{
    ApiConnections, Arguments, Config, Connections, Format, Level, Log, Media, api_beside,
};

mod calls;
mod completion;
mod edge;
mod listeners;
mod media;
mod own_calls;
mod peers;
mod routes;
mod sites;
mod tokens;

use peers::Us;

/// Timer C is longer than three minutes.
const RING_MAX_LEAST_S: u32 = 181;

/// Who connects to the API needs some time to ask; and one who says nothing for an hour is not there.
const IDLE: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_hours(1);

/// Checks everything, and gives each site; stops at the first error.
pub(super) fn check_all(
    source: Source<'_>,
    raw: &RawConfig,
    arguments: &Arguments,
) -> Result<Vec<Config>, Error> {
    if !raw.site.is_empty() {
        return sites::sites(source, raw, arguments);
    }
    sites::only_site(source, raw)?;
    Ok(vec![check(source, (raw, raw), arguments)?])
}

/// One site: what is the process's stands in `common`, and may be the same table.
fn check(
    source: Source<'_>,
    (common, raw): (&RawConfig, &RawConfig),
    arguments: &Arguments,
) -> Result<Config, Error> {
    let (mut listeners, mut tls) = listeners::listeners(source, &raw.listener, arguments)?;
    let own_calls = listeners::own_calls(source, &raw.own_calls, &mut listeners)?;
    tls.resize(listeners.len(), None);
    let domains = source.read_all(&raw.domains, value::host_name)?;
    let mut upstream = peers::upstream(source, raw, arguments.upstream.as_ref(), &listeners)?;
    let own_login = own_calls::login(source, &raw.own_calls, upstream.is_some())?;
    let us = Us {
        listeners: &listeners,
        domains: &domains,
    };
    let peers = peers::others(source, &raw.peer, upstream.as_ref(), us)?;
    let log = log(source, &common.log)?;
    let records = records(source, raw.records.file.as_ref(), &log)?;
    let calls = calls(source, &raw.calls, upstream.is_some())?;
    let api = api(source, common.api.listen.as_ref(), &listeners)?;
    let timing = timing(source, &raw.timing)?;
    let media = media::media(source, &raw.media, &listeners)?;
    let completion = completion(source, raw, &calls, (timing.t1, media.as_ref()))?;
    // R17: what calls are is of interest where somebody may join them.
    let keeps_sessions = completion.intrusion.is_possible();
    let edge = edge::edge(source, raw, (upstream.as_ref(), media.is_some()))?;
    let is_trunk = edge::is_trunk(source, raw, (upstream.as_ref(), &peers))?;
    if let Some(upstream) = upstream.as_mut().filter(|_| edge.is_some()) {
        peers::recall_by_phone(upstream, raw, arguments);
    }
    Ok(Config {
        site: None,
        store: edge::store(source, raw)?,
        shard: Settings {
            listeners,
            routes: routes::routes(source, &raw.route, upstream.as_ref(), &peers)?,
            own_calls,
            own_login,
            peers,
            access: users::access(source, raw, (&domains, edge.as_ref()))?,
            domains,
            registrar: registrar(source, raw)?,
            calls,
            call_policy: call::Policy {
                keeps_sessions,
                ..calls::policy(source, &raw.calls, edge.as_ref())?
            },
            edge,
            is_trunk,
            server: server(source, raw)?,
            started: WallTime::default(),
            upstream,
            completion,
            limits: limits(source, &raw.limits)?,
            strangers: strangers(source, &raw.strangers)?,
            timing,
            call_timing: call::Timing {
                rings: rings(source, raw)?,
                t1: timing.t1,
                t2: timing.t2,
            },
            overload: overload(source, raw)?,
            records: records.is_some(),
            sound: media.as_ref().map(|media| media.sound.clone()),
            voice: None,
        },
        media,
        tls,
        connections: connections(source, &raw.limits)?,
        resolver: source.read_all(&common.resolver.servers, value::dns_server)?,
        log,
        api,
        api_connections: api_connections(source, &common.api)?,
        tokens: tokens::tokens(source, &common.api.token, raw.name.as_ref())?,
        records,
    })
}

fn server(source: Source<'_>, raw: &RawConfig) -> Result<Option<Box<str>>, Error> {
    let name = raw.server_header.as_ref();
    name.map(|name| source.read(name, value::server))
        .transpose()
}

fn overload(source: Source<'_>, raw: &RawConfig) -> Result<Overload, Error> {
    let usual = Overload::default().delay_max;
    let delay_max = source.millis(raw.overload.delay_target_ms.as_ref(), usual)?;
    Ok(Overload { delay_max })
}

fn completion(
    source: Source<'_>,
    raw: &RawConfig,
    calls: &Calls,
    (t1, media): (Duration, Option<&Media>),
) -> Result<Completion, Error> {
    let mut intrusion = media::intrusion(source, &raw.completion.intrusion)?;
    intrusion.rights = users::rights(source, &raw.user, intrusion.usual)?;
    let (raw_all, raw) = (raw, &raw.completion);
    let completion = completion::completion(source, raw, &calls.emergency, t1)?;
    let has_texts = !completion.messages.is_empty();
    Ok(Completion {
        prompt: media::prompt(source, (&raw.prompt, has_texts), media)?,
        intrusion,
        camp_on_answered: edge::answers_waiting(source, raw_all, media)?,
        announces_recalls: media::announces(source, raw.announce_recall.as_ref(), media)?,
        ..completion
    })
}

fn registrar(source: Source<'_>, raw: &RawConfig) -> Result<location::Policy, Error> {
    let usual = location::Policy::default();
    let users_max = source.amount(raw.limits.registrations.as_ref(), usual.aors_max)?;
    let raw = &raw.registrar;
    let min_s = source.at_least_one(raw.expires_min_s.as_ref(), usual.expires_min_s)?;
    let max_s = min_s.max(usual.expires_max_s);
    let max_s = source.at_least_one(raw.expires_max_s.as_ref(), max_s)?;
    if max_s < min_s {
        let why = format!("{max_s} s is less than expires_min_s, {min_s} s");
        return Err(source.blame(raw.expires_max_s.as_ref(), why));
    }
    let default_s = raw.expires_default_s.as_ref();
    let granted_s = source.at_least_one(default_s, usual.expires_s.clamp(min_s, max_s))?;
    if !(min_s..=max_s).contains(&granted_s) {
        let why = format!("{granted_s} s is not between {min_s} s and {max_s} s");
        return Err(source.blame(default_s, why));
    }
    let flow_timer = raw.flow_timer_s.as_ref();
    let flow_timer = flow_timer.map(|_| source.at_least_one(flow_timer, 1));
    Ok(location::Policy {
        expires_s: granted_s,
        expires_min_s: min_s,
        expires_max_s: max_s,
        contacts_max: source.amount(raw.contacts_max.as_ref(), usual.contacts_max)?,
        aors_max: users_max,
        flow_timer_s: flow_timer.transpose()?,
        ..usual
    })
}

fn calls(source: Source<'_>, raw: &raw::RawCalls, is_edge: bool) -> Result<Calls, Error> {
    let calls_max = match raw.calls_max.as_ref() {
        // R20: behind a PBX, the phone and the PBX decide who is busy.
        None if is_edge => None,
        written @ (None | Some(_)) => Some(source.at_least_one(written, 1)?),
    };
    let emergency = match &raw.emergency {
        None => vec!["112".to_owned(), "911".to_owned()],
        Some(numbers) => source.read_all(numbers, value::dialled)?,
    };
    let outgoing_max = raw.outgoing_max.as_ref();
    let outgoing_max = outgoing_max.map(|_| source.at_least_one(outgoing_max, 1));
    Ok(Calls {
        calls_max,
        outgoing_max: outgoing_max.transpose()?,
        emergency,
    })
}

fn limits(source: Source<'_>, raw: &raw::RawLimits) -> Result<Limits, Error> {
    let Limits {
        calls_max,
        transactions_max,
        relayed,
    } = Limits::default();
    Ok(Limits {
        calls_max: source.at_least_one(raw.calls.as_ref(), calls_max)?,
        transactions_max: source.at_least_one(raw.transactions.as_ref(), transactions_max)?,
        relayed: relays::Limits {
            subscriptions_max: source
                .amount(raw.subscriptions.as_ref(), relayed.subscriptions_max)?,
            per_user_max: source
                .at_least_one(raw.subscriptions_per_user.as_ref(), relayed.per_user_max)?,
        },
    })
}

fn strangers(source: Source<'_>, raw: &raw::RawStrangers) -> Result<Strangers, Error> {
    let usual = Strangers::default();
    let rate_max = match raw.rate_max.as_ref() {
        None => usual.rate_max,
        // Without a word for "none", 0 is one.
        Some(rate) => (*rate.get_ref() > 0).then_some(*rate.get_ref()),
    };
    let scanners = match &raw.scanners {
        None => usual.scanners,
        Some(scanners) => source.read_all(scanners, value::name)?,
    };
    Ok(Strangers {
        rate_max,
        scanners,
        ..usual
    })
}

/// How many stream connections there may be, in all and of one source.
fn connections(source: Source<'_>, raw: &raw::RawLimits) -> Result<Connections, Error> {
    let Connections {
        all_max,
        of_source_max,
    } = Connections::default();
    Ok(Connections {
        all_max: source.amount(raw.connections.as_ref(), all_max)?,
        of_source_max: source.amount(raw.connections_of_source.as_ref(), of_source_max)?,
    })
}

fn timing(source: Source<'_>, raw: &raw::RawTiming) -> Result<Timing, Error> {
    let Timing { t1, t2, t4 } = Timing::default();
    let t1 = source.millis(raw.t1.as_ref(), t1)?;
    let t2 = source.millis(raw.t2.as_ref(), t2)?;
    if t2 < t1 {
        let why = format!("T2, {t2:?}, is shorter than T1, {t1:?}");
        return Err(source.blame(raw.t2.as_ref().or(raw.t1.as_ref()), why));
    }
    let t4 = source.millis(raw.t4.as_ref(), t4)?;
    Ok(Timing { t1, t2, t4 })
}

/// Timer C, which has two keys: one for operators, one for tests.
fn rings(source: Source<'_>, raw: &RawConfig) -> Result<Duration, Error> {
    let (ring_max_s, timer_c) = (&raw.calls.ring_max_s, &raw.timing.timer_c);
    match (ring_max_s, timer_c) {
        (Some(_), Some(twice)) => {
            let why = "says the same as calls.ring_max_s: leave one out";
            Err(source.error(&twice.span(), why))
        }
        (Some(least), None) if *least.get_ref() < RING_MAX_LEAST_S => {
            let why = format!("timer C is at least {RING_MAX_LEAST_S} s");
            Err(source.error(&least.span(), why))
        }
        (Some(ring_max_s), None) => Ok(seconds(*ring_max_s.get_ref())),
        (None, timer_c) => source.millis(timer_c.as_ref(), call::Timing::default().rings),
    }
}

fn log(source: Source<'_>, raw: &raw::RawLog) -> Result<Log, Error> {
    let levels = [
        Level::Error,
        Level::Warn,
        Level::Info,
        Level::Debug,
        Level::Trace,
    ];
    let formats = [Format::Text, Format::Json];
    Ok(Log {
        level: source.word(
            raw.level.as_ref(),
            Level::Info,
            &levels.map(|level| (level.as_str(), level)),
        )?,
        format: source.word(
            raw.format.as_ref(),
            Format::Text,
            &formats.map(|format| (format.as_str(), format)),
        )?,
        file: raw.file.as_ref().map(|file| PathBuf::from(file.get_ref())),
    })
}

fn records(
    source: Source<'_>,
    written: Option<&Spanned<String>>,
    log: &Log,
) -> Result<Option<PathBuf>, Error> {
    let Some(written) = written else {
        return Ok(None);
    };
    let file = PathBuf::from(written.get_ref());
    if file.as_os_str().is_empty() {
        return Err(source.error(&written.span(), "must not be empty"));
    }
    if log.file.as_ref() == Some(&file) {
        return Err(source.error(
            &written.span(),
            "is the file of the log: it takes one of its own",
        ));
    }
    Ok(Some(file))
}

fn api(
    source: Source<'_>,
    written: Option<&Spanned<String>>,
    listeners: &[Listener],
) -> Result<SocketAddr, Error> {
    let Some(written) = written else {
        let first = listeners.first().expect("there is at least one listener");
        return Ok(api_beside(first.bind));
    };
    source.read(written, |text| {
        let address: SocketAddr = text
            .parse()
            .map_err(|_| format!("`{text}` is not IP:PORT"))?;
        // The API asks nobody who he is; so nobody from outside may ask it.
        if !address.ip().is_loopback() {
            return Err(format!("{} is not a loopback address", address.ip()));
        }
        if listeners.iter().any(|listener| listener.bind == address) {
            return Err(format!("{address} is a SIP listener's"));
        }
        Ok(address)
    })
}

/// What connections to the API there may be: one at least, for whoever asks for the status.
fn api_connections(source: Source<'_>, raw: &raw::RawApi) -> Result<ApiConnections, Error> {
    let ApiConnections { all_max, idle_max } = ApiConnections::default();
    Ok(ApiConnections {
        all_max: source.amount(raw.connections_max.as_ref(), all_max)?,
        idle_max: source.time(raw.idle_max.as_ref(), idle_max, IDLE)?,
    })
}

impl Source<'_> {
    pub(super) fn read<T>(
        self,
        written: &Spanned<String>,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<T, Error> {
        read(written.get_ref()).map_err(|why| self.error(&written.span(), why))
    }

    pub(super) fn read_all<T>(
        self,
        written: &[Spanned<String>],
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Vec<T>, Error> {
        written.iter().map(|one| self.read(one, &read)).collect()
    }

    /// One word of these.
    fn word<T: Copy>(
        self,
        written: Option<&Spanned<String>>,
        default: T,
        words: &[(&str, T)],
    ) -> Result<T, Error> {
        let Some(written) = written else {
            return Ok(default);
        };
        self.read(written, |text| {
            let found = words.iter().find(|(word, _)| *word == text);
            let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            found
                .map(|row| row.1)
                .ok_or_else(|| format!("`{text}` is none of {}", words.join(", ")))
        })
    }

    fn at_least_one(self, written: Option<&Spanned<u32>>, default: u32) -> Result<u32, Error> {
        match written {
            None => Ok(default),
            Some(zero) if *zero.get_ref() == 0 => Err(self.error(&zero.span(), "must not be 0")),
            Some(written) => Ok(*written.get_ref()),
        }
    }

    /// How many of something; the default may be anything.
    fn amount(self, written: Option<&Spanned<u32>>, default: usize) -> Result<usize, Error> {
        let written = written.map(|_| self.at_least_one(written, 1)).transpose()?;
        Ok(written.map_or(default, |written| {
            usize::try_from(written).unwrap_or(usize::MAX)
        }))
    }

    /// A time in milliseconds; the default may be anything.
    pub(super) fn millis(
        self,
        written: Option<&Spanned<u32>>,
        default: Duration,
    ) -> Result<Duration, Error> {
        if written.is_none() {
            return Ok(default);
        }
        let millis = self.at_least_one(written, 1)?;
        Ok(Duration::from_millis(u64::from(millis)))
    }

    /// The error of a value that does not go with another; defaults go with each other.
    fn blame<T>(self, written: Option<&Spanned<T>>, why: String) -> Error {
        self.error(&written.map(Spanned::span).unwrap_or_default(), why)
    }
}

fn seconds(seconds: u32) -> Duration {
    Duration::from_secs(u64::from(seconds))
}

fn argument<T>(name: &str, read: Result<T, String>) -> Result<T, Error> {
    read.map_err(|why| Error {
        place: Place::Argument,
        key: name.to_owned(),
        why,
    })
}
