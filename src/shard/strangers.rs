//! What strangers may ask of us: nothing if they are scanners, and not too much at once.
//!
//! Spec: RFC 3261 §26.1.5 (amplification); RFC 7339 §5.10.
//!
//! A request outside of calls costs its source a token. Peers need none, nor do programs on this
//! machine. Whoever has none left gets no answer to a datagram, whose source may be forged: what is sent again finds a bucket that has
//! filled. A scanner is not even told that somebody is here.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::shard::pace::{Buckets, Rate};
use crate::shard::settings::Strangers as Settings;
use crate::shard::{Reject, Shard};
use crate::sip::flow::Flow;
use crate::sip::{Message, Method, Name, Request};
use crate::time::Timestamp;

/// What a phone of ours may do beyond its share of the address that it has with others.
const PHONE: (u32, u32) = (20, 40);
/// How often the same source is worth a line.
const LINE: Duration = Duration::from_mins(1);
/// The part of an IPv6 address that a provider gives to one customer.
const CUSTOMER: u128 = !0 << 64;

/// Those who are no peers.
#[derive(Debug)]
pub(super) struct Strangers {
    scanners: Vec<String>,
    /// `None`: they may do as much as they like.
    sources: Option<Buckets<IpAddr>>,
    phones: Buckets<SocketAddr>,
    lines: Buckets<IpAddr>,
}

/// Why a request is thrown away.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Unwelcome {
    Scanner,
    TooFast,
}

impl Strangers {
    pub(super) fn new(settings: &Settings) -> Self {
        let max = settings.sources_max;
        let rate = settings.rate_max;
        let rate = rate.map(|rate| Rate::per_second(rate, rate.saturating_mul(2)));
        Self {
            scanners: settings.scanners.clone(),
            sources: rate.map(|rate| Buckets::new(rate, max)),
            phones: Buckets::new(Rate::per_second(PHONE.0, PHONE.1), max),
            lines: Buckets::new(Rate::one_in(LINE), max),
        }
    }

    fn is_scanner(&self, message: &Message<'_>) -> bool {
        let Some(agent) = message.first(Name::UserAgent) else {
            return false;
        };
        self.scanners.iter().any(|scanner| {
            let head = agent.get(..scanner.len()).unwrap_or_default();
            head.eq_ignore_ascii_case(scanner.as_bytes())
        })
    }

    /// Whether the source has spent what it had.
    fn is_spent(&mut self, now: Timestamp, source: IpAddr) -> bool {
        let sources = self.sources.as_mut();
        sources.is_some_and(|sources| !sources.take(now, customer(source)))
    }
}

impl Shard {
    /// Whether a request is thrown away before anything is kept of it; if so, it has been counted.
    pub(super) fn is_unwelcome(
        &mut self,
        now: Timestamp,
        flow: &Flow,
        request: &Request<'_>,
    ) -> bool {
        // What belongs to a call is dealt with there, and costs little where it does not.
        if request.to.tag().is_some() || self.peer_of(flow).is_some() {
            return false;
        }
        let why = if self.strangers.is_scanner(&request.message) {
            Unwelcome::Scanner
        } else if self.is_too_fast(now, flow, request) {
            Unwelcome::TooFast
        } else {
            return false;
        };
        if self.is_emergency(request) {
            return false;
        }
        self.note_unwelcome(now, flow, why);
        // Nobody else can have opened this connection.
        if why == Unwelcome::TooFast && flow.transport.is_reliable() {
            self.refuse(now, request, flow, Reject::SourceTooFast);
        }
        true
    }

    /// Whether what is answered without a trace of it, such as what cannot be read, gets no answer.
    pub(super) fn is_unanswered(&mut self, now: Timestamp, flow: &Flow) -> bool {
        let is_known = self.peer_of(flow).is_some() || self.is_local(flow);
        if is_known || !self.strangers.is_spent(now, flow.remote.ip()) {
            return false;
        }
        self.note_unwelcome(now, flow, Unwelcome::TooFast);
        true
    }

    fn is_too_fast(&mut self, now: Timestamp, flow: &Flow, request: &Request<'_>) -> bool {
        if matches!(request.method, Method::Ack | Method::Cancel) || self.is_local(flow) {
            return false;
        }
        if !self.strangers.is_spent(now, flow.remote.ip()) {
            return false;
        }
        let sender = self.domains.aor(&request.from.uri);
        let is_ours = sender.is_some_and(|user| self.registrar.is_registered_at(&user, flow));
        !(is_ours && self.strangers.phones.take(now, flow.remote))
    }

    /// Whether it comes from a program on this machine, such as a load test: nobody else can send
    /// from the very address that we listen on.
    fn is_local(&self, flow: &Flow) -> bool {
        let listener = self.settings.listeners.get(usize::from(flow.listener.0));
        listener.is_some_and(|listener| listener.bind.ip() == flow.remote.ip())
    }

    fn note_unwelcome(&mut self, now: Timestamp, flow: &Flow, why: Unwelcome) {
        let (count, line) = match why {
            Unwelcome::Scanner => (&mut self.counters.scanners_dropped, "a scanner is ignored"),
            Unwelcome::TooFast => {
                let line = "too many requests: some are ignored";
                (&mut self.counters.requests_throttled, line)
            }
        };
        *count += 1;
        if self.strangers.lines.take(now, customer(flow.remote.ip())) {
            tracing::warn!(from = %flow, "{line}");
        }
    }
}

fn customer(source: IpAddr) -> IpAddr {
    match source {
        IpAddr::V4(_) => source,
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & CUSTOMER).into()),
    }
}
