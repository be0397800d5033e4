//! The mode, and what phones may do whose registrar is the PBX.
//!
//! Spec: RULES R1, R3, R12.

use crate::config::error::{Error, Source};
use crate::config::raw::RawConfig;
use crate::shard::settings::{Edge, Peer};

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
            Some(written) => {
                let why = "is of use in edge mode alone: write mode = \"edge\"";
                Err(source.error(&written.span(), why))
            }
            None => Ok(None),
        };
    }
    if upstream.is_none() {
        let why = "edge mode needs the PBX: write upstream = \"sip:IP:PORT\"".to_owned();
        return Err(source.blame(raw.mode.as_ref(), why));
    }
    if let Some(user) = raw.user.first() {
        let why = "the users of edge mode are the PBX's, and so are their passwords";
        return Err(source.error(&user.span(), why));
    }
    let usual = Edge::default();
    let number = |written, default| source.at_least_one(written, default);
    Ok(Some(Edge {
        expires_max_s: number(written.expires_max_s.as_ref(), usual.expires_max_s)?,
        failures_max: number(written.failures_max.as_ref(), usual.failures_max)?,
        failures_of_source_max: number(
            written.failures_of_source_max.as_ref(),
            usual.failures_of_source_max,
        )?,
        ..usual
    }))
}
