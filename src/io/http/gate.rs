//! Who comes in to `/v1`: Host, bearer token, rate, and what he brings.
//!
//! Spec: RFC 6750 §2.1, §3; RFC 9110 §7.2, §15.5.9, §15.5.14; RFC 6585 §4.

#![expect(
    clippy::disallowed_types,
    reason = "counts of requests, shared by the handlers of one thread; no call waits for them"
)]

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::time::timeout;

use crate::api::access::{Access, Grant, Scope};
use crate::api::line_error::LineError;
use crate::api::problem::Problem;
use crate::time::Timestamp;

use crate::io::clock::Clock;

use super::refuse;

/// The longest body, in bytes.
const BODY_MAX: usize = 16 * 1024;

/// How much may be asked, and how slowly.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    /// Requests a second with each token.
    pub(super) per_second: u32,
    /// How many may come at once.
    pub(super) burst: u32,
    /// How long the body of a request may take.
    pub(super) body_max: Duration,
}

impl Default for Rate {
    fn default() -> Self {
        // A desktop for each of a hundred people, behind one token.
        Self {
            per_second: 100,
            burst: 200,
            body_max: Duration::from_secs(10),
        }
    }
}

/// Requests that may still come.
#[derive(Debug)]
struct Bucket {
    /// In millionths of a request.
    left: u64,
    filled: Timestamp,
}

/// One request, in a [`Bucket`].
const ONE: u64 = 1_000_000;

impl Bucket {
    fn take(&mut self, now: Timestamp, rate: Rate) -> bool {
        let since = u64::try_from(now.since(self.filled).as_micros()).unwrap_or(u64::MAX);
        let more = since.saturating_mul(u64::from(rate.per_second));
        let most = u64::from(rate.burst) * ONE;
        self.left = self.left.saturating_add(more).min(most);
        self.filled = now;
        let has_left = self.left >= ONE;
        self.left -= if has_left { ONE } else { 0 };
        has_left
    }
}

/// Lets in who may come in.
#[derive(Clone, Debug)]
pub(super) struct Gate {
    clock: Clock,
    access: Arc<Access>,
    rate: Rate,
    /// One for each token, and one for all who have none.
    buckets: Arc<Mutex<Vec<Bucket>>>,
}

impl Gate {
    pub(super) fn new(clock: Clock, access: Access, rate: Rate) -> Self {
        let now = clock.now();
        let buckets = (0..=access.tokens.len()).map(|_| Bucket {
            left: u64::from(rate.burst) * ONE,
            filled: now,
        });
        Self {
            clock,
            rate,
            buckets: Arc::new(Mutex::new(buckets.collect())),
            access: Arc::new(access),
        }
    }

    fn admit(&self, headers: &HeaderMap) -> Result<Grant, Problem> {
        if !headers.get(header::HOST).is_some_and(is_here) {
            return Err(Problem::HOST);
        }
        let authorization = headers.get(header::AUTHORIZATION);
        let grant = self.access.grant(authorization.map(HeaderValue::as_bytes));
        let place = grant
            .as_ref()
            .map_or(self.access.tokens.len(), |it| it.place);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = buckets.get_mut(place);
        if !bucket.is_some_and(|it| it.take(self.clock.now(), self.rate)) {
            return Err(Problem::RATE);
        }
        grant.ok_or(Problem::TOKEN)
    }
}

/// A page of somebody else's has its own name for this address (DNS rebinding).
fn is_here(host: &HeaderValue) -> bool {
    let Ok(host) = host.to_str() else {
        return false;
    };
    if let Ok(address) = host.parse::<SocketAddr>() {
        return address.ip().is_loopback();
    }
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') => (name, port),
        Some(_) | None => (host, "0"),
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    let is_loopback = bare.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
    port.parse::<u16>().is_ok() && (name.eq_ignore_ascii_case("localhost") || is_loopback)
}

/// Puts the [`Grant`] to the request, and all of its body; or refuses it.
pub(super) async fn check(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let grant = match gate.admit(request.headers()) {
        Ok(grant) => grant,
        Err(problem) => return problem.into_response(),
    };
    let (mut parts, body) = request.into_parts();
    let body = match timeout(gate.rate.body_max, to_bytes(body, BODY_MAX)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => return Problem::LENGTH.into_response(),
        Err(_) => return Problem::SLOW.into_response(),
    };
    parts.extensions.insert(grant);
    next.run(Request::from_parts(parts, Body::from(body))).await
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = refuse(&self);
        let (name, value) = match self.status {
            401 => (header::WWW_AUTHENTICATE, "Bearer realm=\"campon\""),
            403 => (
                header::WWW_AUTHENTICATE,
                "Bearer realm=\"campon\", error=\"insufficient_scope\"",
            ),
            429 => (header::RETRY_AFTER, "1"),
            _ => return response,
        };
        let headers = response.headers_mut();
        headers.insert(name, HeaderValue::from_static(value));
        response
    }
}

/// Who may look.
#[derive(Debug)]
pub(super) struct Reads(pub(super) Grant);

/// Who may act in the name of a line.
#[derive(Debug)]
pub(super) struct Completes(pub(super) Grant);

/// Who may end a request: in the name of its line, or as an operator.
#[derive(Debug)]
pub(super) struct Ends(pub(super) Grant);

fn granted(parts: &Parts, scopes: &[Scope]) -> Result<Grant, Problem> {
    let grant = parts.extensions.get::<Grant>().ok_or(Problem::TOKEN)?;
    if scopes.iter().any(|scope| grant.may(*scope)) {
        return Ok(grant.clone());
    }
    let why = "the token lacks the scope for that";
    Err(Problem::of(LineError::NotOwner, why))
}

impl<S: Send + Sync> FromRequestParts<S> for Reads {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        granted(parts, &[Scope::Read]).map(Self)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Completes {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        granted(parts, &[Scope::Complete]).map(Self)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Ends {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        granted(parts, &[Scope::Complete, Scope::Admin]).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_of_somebody_elses_is_not_served() {
        for host in [
            "localhost",
            "127.0.0.1:5080",
            "127.3.2.1",
            "[::1]:80",
            "LOCALHOST:1",
        ] {
            assert!(is_here(&HeaderValue::from_static(host)), "{host}");
        }
        for host in [
            "example.com",
            "127.0.0.1.example.com:5080",
            "192.0.2.1",
            "",
            "localhost:x",
        ] {
            assert!(!is_here(&HeaderValue::from_static(host)), "{host}");
        }
    }

    #[test]
    fn who_asks_too_often_waits() {
        let rate = Rate {
            per_second: 2,
            burst: 3,
            body_max: Duration::ZERO,
        };
        let mut bucket = Bucket {
            left: 3 * ONE,
            filled: Timestamp::START,
        };
        let mut at = |millis| bucket.take(Timestamp::START + Duration::from_millis(millis), rate);
        assert_eq!([at(0), at(0), at(0), at(0)], [true, true, true, false]);
        assert_eq!([at(499), at(500), at(501)], [false, true, false]);
    }
}
