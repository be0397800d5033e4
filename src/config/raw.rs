//! The configuration as it is written: every key that exists, with the place of each value.

use std::fmt;
use std::ops::Range;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use toml::Spanned;

/// A value with its place in the file; `None` where the default holds.
pub(super) type Field<T> = Option<Spanned<T>>;

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawConfig {
    /// Of a site.
    pub(super) name: Field<String>,
    pub(super) site: Vec<Spanned<Self>>,
    pub(super) mode: Field<String>,
    #[serde(deserialize_with = "upstream")]
    pub(super) upstream: Option<Spanned<RawPeer>>,
    pub(super) peer: Vec<Spanned<RawPeer>>,
    pub(super) route: Vec<Spanned<RawRoute>>,
    pub(super) own_calls: RawOwnCalls,
    pub(super) domains: Vec<Spanned<String>>,
    pub(super) server_header: Field<String>,
    pub(super) listener: Vec<Spanned<RawListener>>,
    pub(super) edge: RawEdge,
    pub(super) store: RawStore,
    pub(super) registrar: RawRegistrar,
    pub(super) user: Vec<Spanned<RawUser>>,
    pub(super) calls: RawCalls,
    pub(super) completion: RawCompletion,
    pub(super) limits: RawLimits,
    pub(super) strangers: RawStrangers,
    pub(super) timing: RawTiming,
    pub(super) overload: RawOverload,
    pub(super) resolver: RawResolver,
    pub(super) log: RawLog,
    pub(super) api: RawApi,
    pub(super) records: RawRecords,
    pub(super) media: RawMedia,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawListener {
    pub(super) address: Field<String>,
    pub(super) advertise: Field<String>,
    pub(super) tls: Option<Spanned<RawTls>>,
    pub(super) serves: Vec<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawTls {
    pub(super) certificate: Field<String>,
    pub(super) key: Field<String>,
    pub(super) client_auth: Field<String>,
    pub(super) client_ca: Field<String>,
}

/// Not `Debug`: it holds a password.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawOwnCalls {
    pub(super) listen: Field<String>,
    pub(super) user: Field<String>,
    pub(super) password: Field<String>,
    pub(super) ha1_sha256: Field<String>,
    pub(super) ha1_md5: Field<String>,
    pub(super) realm: Field<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawPeer {
    pub(super) name: Field<String>,
    pub(super) address: Field<String>,
    pub(super) addresses: Vec<Spanned<String>>,
    pub(super) attempt: Field<String>,
    pub(super) down_for: Field<String>,
    pub(super) ping: Field<String>,
    pub(super) ping_max: Field<String>,
    pub(super) down_after: Field<u32>,
    pub(super) up_after: Field<u32>,
    pub(super) tls_name: Field<String>,
    pub(super) tls_ca: Field<String>,
    pub(super) networks: Vec<Spanned<String>>,
    pub(super) trust: Field<String>,
    pub(super) methods: Vec<Spanned<String>>,
    pub(super) calls_max: Field<u32>,
    pub(super) rate_max: Field<u32>,
    pub(super) tcp: Field<toml::Value>,
    pub(super) cc_domains: Vec<Spanned<String>>,
    pub(super) dials: Field<String>,
    pub(super) completion: Field<String>,
    pub(super) recall: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) cc_params: Field<bool>,
    pub(super) dialog_events: Field<bool>,
    pub(super) redirect: Field<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawEdge {
    pub(super) expires_max_s: Field<u32>,
    pub(super) failures_max: Field<u32>,
    pub(super) failures_of_source_max: Field<u32>,
    pub(super) keep_alive: Field<String>,
    pub(super) keep_alive_s: Field<u32>,
    pub(super) nat_media: Field<String>,
}

impl RawEdge {
    /// Where something is written that needs edge mode.
    pub(super) fn first_written(&self) -> Option<Range<usize>> {
        let numbers = [
            &self.expires_max_s,
            &self.failures_max,
            &self.failures_of_source_max,
            &self.keep_alive_s,
        ];
        let numbers = numbers.into_iter().flatten().map(Spanned::span);
        let words = [&self.keep_alive, &self.nat_media];
        let words = words.into_iter().flatten().map(Spanned::span);
        numbers.chain(words).min_by_key(|span| span.start)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawRoute {
    pub(super) user: Field<String>,
    pub(super) method: Field<String>,
    pub(super) from: Field<String>,
    pub(super) to: Field<String>,
    pub(super) on_busy: Field<String>,
    pub(super) strip: Field<u32>,
    pub(super) prefix: Field<String>,
    pub(super) reject: Field<u16>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawStore {
    pub(super) path: Field<String>,
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
    pub(super) flow_timer_s: Field<u32>,
}

/// Not `Debug`: it holds passwords.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawUser {
    pub(super) name: Field<String>,
    pub(super) password: Field<String>,
    pub(super) ha1_sha256: Field<String>,
    pub(super) ha1_md5: Field<String>,
    pub(super) numbers: Option<Vec<Spanned<String>>>,
    pub(super) intrudes: Field<u32>,
    pub(super) protection: Field<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawCalls {
    pub(super) calls_max: Field<u32>,
    pub(super) outgoing_max: Field<u32>,
    pub(super) ring_max_s: Field<u32>,
    pub(super) reliable: Field<String>,
    pub(super) session_expires: Field<String>,
    pub(super) min_se: Field<String>,
    pub(super) emergency: Option<Vec<Spanned<String>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawCompletion {
    pub(super) enabled: Field<bool>,
    pub(super) retain: Field<bool>,
    pub(super) reserve: Field<String>,
    pub(super) announce_recall: Field<bool>,
    pub(super) recall_by: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) offer_window: Field<String>,
    pub(super) ask_time: Field<String>,
    pub(super) camp_on_answered: Field<bool>,
    pub(super) camp_on_music: Field<bool>,
    pub(super) camp_on_guard: Field<String>,
    pub(super) camp_on_max: Field<String>,
    pub(super) on_busy: Field<String>,
    pub(super) poll_window: Field<String>,
    pub(super) resumption: Field<String>,
    pub(super) guard: Field<String>,
    pub(super) recall: Field<String>,
    pub(super) ring: Field<String>,
    pub(super) place_max: Field<String>,
    pub(super) cc_call_max: Field<String>,
    pub(super) rest: Field<String>,
    pub(super) aftermath: Field<String>,
    pub(super) notify_window: Field<String>,
    pub(super) notify_max: Field<String>,
    pub(super) leave_max: Field<String>,
    pub(super) expires_min: Field<String>,
    pub(super) service_busy: Field<String>,
    pub(super) service_no_reply: Field<String>,
    pub(super) service_not_logged_in: Field<String>,
    pub(super) commit_max: Field<String>,
    pub(super) unknown_time: Field<String>,
    pub(super) suspension_long: Field<String>,
    pub(super) queue_long: Field<String>,
    pub(super) queue_max: Field<u32>,
    pub(super) per_caller_max: Field<u32>,
    pub(super) total_max: Field<u32>,
    pub(super) failed_calls_max: Field<u32>,
    pub(super) recalls_max: Field<u32>,
    pub(super) recalls_per_second_max: Field<u32>,
    pub(super) codes: RawCodes,
    pub(super) intrusion: RawIntrusion,
    pub(super) prompt: RawPrompt,
    pub(super) messages: RawMessages,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawIntrusion {
    pub(super) intrudes: Field<u32>,
    pub(super) protection: Field<u32>,
    pub(super) silent: Field<bool>,
    pub(super) warns_every: Field<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawCodes {
    pub(super) request_last: Field<String>,
    pub(super) request: Field<String>,
    pub(super) cancel_last: Field<String>,
    pub(super) cancel: Field<String>,
    pub(super) cancel_all: Field<String>,
    pub(super) list: Field<String>,
    pub(super) message: Field<String>,
    pub(super) resume: Field<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawMessages {
    pub(super) texts: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) lasts: Field<String>,
    pub(super) retry: Field<String>,
    pub(super) per_callee_max: Field<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawPrompt {
    pub(super) callback: Field<String>,
    pub(super) camp_on: Field<String>,
    pub(super) intrude: Field<String>,
    pub(super) lasts: Field<String>,
    pub(super) message: Field<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawMedia {
    pub(super) address: Field<String>,
    pub(super) ports: Field<String>,
    pub(super) takes_new_keys: Field<bool>,
    pub(super) timeout: Field<String>,
    pub(super) trial: Field<String>,
    pub(super) voice: Field<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawLimits {
    pub(super) calls: Field<u32>,
    pub(super) transactions: Field<u32>,
    pub(super) registrations: Field<u32>,
    pub(super) connections: Field<u32>,
    pub(super) connections_of_source: Field<u32>,
    pub(super) subscriptions: Field<u32>,
    pub(super) subscriptions_per_user: Field<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawStrangers {
    pub(super) rate_max: Field<u32>,
    pub(super) scanners: Option<Vec<Spanned<String>>>,
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
pub(super) struct RawResolver {
    pub(super) servers: Vec<Spanned<String>>,
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
    pub(super) connections_max: Field<u32>,
    pub(super) idle_max: Field<String>,
    pub(super) token: Vec<Spanned<RawToken>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawToken {
    pub(super) name: Field<String>,
    pub(super) sha256: Field<String>,
    pub(super) scopes: Vec<Spanned<String>>,
    pub(super) line: Field<String>,
    pub(super) site: Field<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawRecords {
    pub(super) file: Field<String>,
}

/// `upstream = "sip:…"` is short for a table with this address.
fn upstream<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Spanned<RawPeer>>, D::Error> {
    let written: Spanned<Upstream> = Deserialize::deserialize(from)?;
    let span = written.span();
    let raw = match written.into_inner() {
        Upstream::Address(address) => RawPeer {
            address: Some(Spanned::new(span.clone(), address)),
            ..RawPeer::default()
        },
        Upstream::Table(raw) => *raw,
    };
    Ok(Some(Spanned::new(span, raw)))
}

#[derive(Debug)]
enum Upstream {
    Address(String),
    Table(Box<RawPeer>),
}

impl<'de> Deserialize<'de> for Upstream {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(ReadUpstream)
    }
}

/// Takes either form; an untagged enum would lose the places and names of what is wrong.
struct ReadUpstream;

impl<'de> Visitor<'de> for ReadUpstream {
    type Value = Upstream;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"sip:IP[:PORT]\" or a table")
    }

    fn visit_str<E: Error>(self, address: &str) -> Result<Upstream, E> {
        Ok(Upstream::Address(address.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<Upstream, A::Error> {
        let table = RawPeer::deserialize(MapAccessDeserializer::new(table))?;
        Ok(Upstream::Table(Box::new(table)))
    }
}
