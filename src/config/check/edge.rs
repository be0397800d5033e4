//! The mode, and what phones may do whose registrar is the PBX.
//!
//! Spec: RULES R1, R3, R12.

use std::path::PathBuf;
use std::time::Duration;

use crate::call::NatMedia;
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
}

/// What holds in edge mode; `None` in the others.
pub(super) fn edge(
    source: Source<'_>,
    raw: &RawConfig,
    upstream: Option<&Peer>,
) -> Result<Option<Edge>, Error> {
    let modes = [("edge", Mode::Edge), ("standalone", Mode::Standalone)];
    let mode = source.word(raw.mode.as_ref(), Mode::Standalone, &modes)?;
    let written = &raw.edge;
    if mode == Mode::Standalone {
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
    Ok(Some(Edge {
        keep_alive: source.word(written.keep_alive.as_ref(), usual.keep_alive, &keep_alive)?,
        keep_alive_every: every.map_or(usual.keep_alive_every, |every_s| {
            Duration::from_secs(u64::from(every_s))
        }),
        numbers: users::numbers(source, &raw.user)?,
        nat_media: source.word(written.nat_media.as_ref(), usual.nat_media, &nat_media)?,
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
