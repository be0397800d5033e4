//! What is asked of the two sides of a call.
//!
//! Spec: RFC 3262 §4 (S-58).

use crate::call::{Policy, Reliability};
use crate::config::error::{Error, Source};
use crate::config::raw::RawCalls;

/// Reads what calls ask of callees and callers.
pub(super) fn policy(source: Source<'_>, raw: &RawCalls) -> Result<Policy, Error> {
    let usual = Policy::default();
    let reliable = [
        ("always", Reliability::Always),
        ("as-caller", Reliability::AsCaller),
        ("never", Reliability::Never),
    ];
    Ok(Policy {
        reliable: source.word(raw.reliable.as_ref(), usual.reliable, &reliable)?,
    })
}
