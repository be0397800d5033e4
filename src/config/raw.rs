//! The configuration as it is written: every key that exists, with the place of each value.

use serde::Deserialize;
use toml::Spanned;

/// A value with its place in the file; `None` where the default holds.
pub(super) type Field<T> = Option<Spanned<T>>;

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawConfig {
    pub(super) upstream: Field<String>,
    pub(super) domains: Vec<Spanned<String>>,
    pub(super) listener: Vec<Spanned<RawListener>>,
    pub(super) registrar: RawRegistrar,
    pub(super) user: Vec<Spanned<RawUser>>,
    pub(super) calls: RawCalls,
    pub(super) limits: RawLimits,
    pub(super) timing: RawTiming,
    pub(super) overload: RawOverload,
    pub(super) log: RawLog,
    pub(super) api: RawApi,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawListener {
    pub(super) address: Field<String>,
    pub(super) advertise: Field<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawRegistrar {
    pub(super) open: Field<bool>,
    pub(super) realm: Field<String>,
    pub(super) nonce_life_ms: Field<u32>,
    pub(super) expires_default_s: Field<u32>,
    pub(super) expires_min_s: Field<u32>,
    pub(super) expires_max_s: Field<u32>,
    pub(super) contacts_max: Field<u32>,
}

/// Not `Debug`: it holds passwords.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawUser {
    pub(super) name: Field<String>,
    pub(super) password: Field<String>,
    pub(super) ha1_sha256: Field<String>,
    pub(super) ha1_md5: Field<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawCalls {
    pub(super) calls_max: Field<u32>,
    pub(super) ring_max_s: Field<u32>,
    pub(super) emergency: Option<Vec<Spanned<String>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawLimits {
    pub(super) calls: Field<u32>,
    pub(super) transactions: Field<u32>,
    pub(super) registrations: Field<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawTiming {
    #[serde(rename = "t1_ms")]
    pub(super) t1: Field<u32>,
    #[serde(rename = "t2_ms")]
    pub(super) t2: Field<u32>,
    #[serde(rename = "t4_ms")]
    pub(super) t4: Field<u32>,
    #[serde(rename = "timer_c_ms")]
    pub(super) timer_c: Field<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawOverload {
    pub(super) delay_target_ms: Field<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawLog {
    pub(super) level: Field<String>,
    pub(super) format: Field<String>,
    pub(super) file: Field<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawApi {
    pub(super) listen: Field<String>,
}
