//! What is asked of the two sides of a call.
//!
//! Spec: RFC 3262 §4 (S-58); RFC 4028 §4, §5 (S-90, S-92).

use std::time::Duration;

use toml::Spanned;

use crate::call::{Policy, Reliability, SessionAsks};
use crate::config::error::{Error, Source};
use crate::config::raw::RawCalls;
use crate::config::value;
use crate::shard::settings::Edge;

/// What RFC 4028 §4 recommends.
const BEHIND_EDGE_S: u32 = 1800;
/// Longer than anybody talks; Session-Expires counts in seconds.
const SESSION_MAX: Duration = Duration::from_hours(24);

/// Reads what calls ask of callees and callers.
pub(super) fn policy(
    source: Source<'_>,
    raw: &RawCalls,
    edge: Option<&Edge>,
) -> Result<Policy, Error> {
    let usual = Policy::default();
    let reliable = [
        ("always", Reliability::Always),
        ("as-caller", Reliability::AsCaller),
        ("never", Reliability::Never),
    ];
    let least_s = match &raw.min_se {
        Some(written) => seconds(source, written, 1)?,
        None => usual.session_least_s,
    };
    let asks = match &raw.session_expires {
        // R12: a call that we have lost in a crash does not hang at the PBX for ever.
        None if edge.is_some() => SessionAsks::Peers(BEHIND_EDGE_S.max(least_s)),
        None => usual.session_asks,
        Some(off) if off.get_ref() == "off" => SessionAsks::Nobody,
        Some(written) => SessionAsks::Everybody(seconds(source, written, least_s)?),
    };
    Ok(Policy {
        reliable: source.word(raw.reliable.as_ref(), usual.reliable, &reliable)?,
        session_asks: asks,
        session_least_s: least_s,
        ..usual
    })
}

fn seconds(source: Source<'_>, written: &Spanned<String>, least_s: u32) -> Result<u32, Error> {
    source.read(written, |text| {
        let time = value::duration(text)?;
        let whole = u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
        if time.subsec_nanos() != 0 {
            return Err(format!("{text} is no whole number of seconds"));
        }
        if whole < least_s || time > SESSION_MAX {
            return Err(format!("{text} is not between {least_s}s and 24h"));
        }
        Ok(whole)
    })
}
