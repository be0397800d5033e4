//! The mode, and what phones may do whose registrar is the PBX.
//!
//! Spec: RULES R1, R3, R11, R12.

use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;

use crate::call::NatMedia;
use crate::config::Media;
use crate::config::error::{Error, Source};
use crate::config::raw::RawConfig;
use crate::config::users::{self, ONLY_EDGE};
use crate::shard::settings::{Edge, KeepAlive, Peer};

/// What campon is to the phones.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Mode {
    /// It stands in front of their registrar.
    Edge,
    /// It is their registrar.
    Standalone,
    /// There are none: it stands between peers.
    Trunk,
}

fn mode(source: Source<'_>, raw: &RawConfig) -> Result<Mode, Error> {
    let modes = [
        ("edge", Mode::Edge),
        ("standalone", Mode::Standalone),
        ("trunk", Mode::Trunk),
    ];
    source.word(raw.mode.as_ref(), Mode::Standalone, &modes)
}

/// R11: whether campon stands between peers, of which there are two sides then.
pub(super) fn is_trunk(
    source: Source<'_>,
    raw: &RawConfig,
    (upstream, peers): (Option<&Peer>, &[Peer]),
) -> Result<bool, Error> {
    if mode(source, raw)? != Mode::Trunk {
        return Ok(false);
    }
    let written = raw.mode.as_ref();
    if upstream.into_iter().chain(peers).count() < 2 {
        let why = "trunk mode has two sides: write an upstream and a [[peer]], or two [[peer]]s";
        return Err(source.blame(written, why.to_owned()));
    }
    if upstream.is_none() && raw.route.is_empty() {
        let why = "without an upstream nothing leads anywhere: write a [[route]]";
        return Err(source.blame(written, why.to_owned()));
    }
    let registrar = &raw.registrar;
    let for_phones = [
        registrar.open.as_ref().map(Spanned::span),
        registrar.realm.as_ref().map(Spanned::span),
        raw.user.first().map(Spanned::span),
    ];
    if let Some(span) = for_phones.into_iter().flatten().min_by_key(|it| it.start) {
        return Err(source.error(&span, "is of no use in trunk mode: nobody registers there"));
    }
    Ok(true)
}

/// R5: whether calls that wait are answered: before a PBX the caller would have to say his password for
/// a call that is up.
pub(super) fn answers_waiting(
    source: Source<'_>,
    raw: &RawConfig,
    media: Option<&Media>,
) -> Result<bool, Error> {
    let Some(written) = raw.completion.camp_on_answered.as_ref() else {
        return Ok(false);
    };
    if !*written.get_ref() {
        return Ok(false);
    }
    let why = if media.is_none() {
        "without media.ports there is no music to answer for"
    } else if mode(source, raw)? == Mode::Edge {
        "in edge mode calls are for the PBX to answer"
    } else {
        return Ok(true);
    };
    Err(source.error(&written.span(), why))
}

/// What holds in edge mode; `None` in the others.
pub(super) fn edge(
    source: Source<'_>,
    raw: &RawConfig,
    (upstream, has_media): (Option<&Peer>, bool),
) -> Result<Option<Edge>, Error> {
    let written = &raw.edge;
    if mode(source, raw)? != Mode::Edge {
        return match written.first_written() {
            Some(written) => Err(source.error(&written, ONLY_EDGE)),
            None => Ok(None),
        };
    }
    if upstream.is_none() {
        let why = "edge mode needs the PBX: write upstream = \"sip:IP:PORT\"".to_owned();
        return Err(source.blame(raw.mode.as_ref(), why));
    }
    let usual = Edge::default();
    let number = |written, default| source.at_least_one(written, default);
    let keep_alive = [
        ("crlf", KeepAlive::Crlf),
        ("off", KeepAlive::Off),
        ("options", KeepAlive::Options),
    ];
    let nat_media = [
        ("anchor", NatMedia::Anchor),
        ("off", NatMedia::Off),
        ("rewrite", NatMedia::Rewrite),
    ];
    let every_s = written.keep_alive_s.as_ref();
    let every = every_s.map(|_| number(every_s, 1)).transpose()?;
    let nat_media = source.word(written.nat_media.as_ref(), usual.nat_media, &nat_media)?;
    if let (NatMedia::Anchor, false, Some(written)) = (nat_media, has_media, &written.nat_media) {
        let why = "without media.ports no audio can pass us";
        return Err(source.error(&written.span(), why));
    }
    Ok(Some(Edge {
        keep_alive: source.word(written.keep_alive.as_ref(), usual.keep_alive, &keep_alive)?,
        keep_alive_every: every.map_or(usual.keep_alive_every, |every_s| {
            Duration::from_secs(u64::from(every_s))
        }),
        numbers: users::numbers(source, &raw.user)?,
        nat_media,
        expires_max_s: number(written.expires_max_s.as_ref(), usual.expires_max_s)?,
        failures_max: number(written.failures_max.as_ref(), usual.failures_max)?,
        failures_of_source_max: number(
            written.failures_of_source_max.as_ref(),
            usual.failures_of_source_max,
        )?,
        ..usual
    }))
}

/// Where requests for completion are kept over a restart, and the registrations of a PBX: our own come
/// back by themselves.
pub(super) fn store(source: Source<'_>, raw: &RawConfig) -> Result<Option<PathBuf>, Error> {
    let Some(path) = &raw.store.path else {
        return Ok(None);
    };
    source.read(path, |text| {
        if text.is_empty() {
            return Err("is empty: write the path of a file".to_owned());
        }
        Ok(Some(PathBuf::from(text)))
    })
}
