//! The door of the API: how many connections there may be, and how long each may say nothing.
//!
//! Spec: RFC 9112 §9.5, §9.6; RFC 9110 §15.5.9, §15.6.4.
//!
//! Whoever comes beyond the last place hears 503, if not too many are being told already. A connection
//! on which no request begins in time, or whose head does not end in time, is closed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{self, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::api::problem::{self, Problem};
use crate::config::ApiConnections;

/// How many are told at once that there is no place.
const TURNED_AWAY_MAX: usize = 16;
/// How long one of them may take to hear it.
const PARTING: Duration = Duration::from_secs(1);

/// What has happened at the door.
#[derive(Debug, Default)]
pub(in crate::io) struct Tally {
    pub(super) accepted: AtomicU64,
    /// Closed, because nothing came.
    pub(super) idle: AtomicU64,
    pub(super) refused: AtomicU64,
}

/// Serves whoever comes, for as long as the event loop of this thread runs.
pub(super) async fn serve(
    mut listener: impl Listener<Io = TcpStream, Addr = SocketAddr>,
    router: Router,
    limits: ApiConnections,
    tally: Arc<Tally>,
) {
    let places = Arc::new(Semaphore::new(limits.all_max));
    let partings = Arc::new(Semaphore::new(TURNED_AWAY_MAX));
    let mut is_full = false;
    loop {
        let (stream, _) = listener.accept().await;
        if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
            is_full = false;
            tally.accepted.fetch_add(1, Ordering::Relaxed);
            let visit = converse(stream, router.clone(), limits.idle_max, Arc::clone(&tally));
            tokio::spawn(keeping(place, visit));
            continue;
        }
        tally.refused.fetch_add(1, Ordering::Relaxed);
        if !is_full {
            is_full = true;
            let connections = limits.all_max;
            tracing::warn!(connections, "no more connections to the API are let in");
        }
        if let Ok(place) = Arc::clone(&partings).try_acquire_owned() {
            tokio::spawn(keeping(place, turn_away(stream)));
        }
    }
}

/// Has this place for as long as it takes.
async fn keeping(place: OwnedSemaphorePermit, visit: impl Future<Output = ()>) {
    visit.await;
    drop(place);
}

async fn converse(stream: TcpStream, router: Router, idle_max: Duration, tally: Arc<Tally>) {
    let mut http = http1::Builder::new();
    // It runs from the end of one request to the end of the next one's head.
    http.timer(TokioTimer::new()).header_read_timeout(idle_max);
    let service = TowerToHyperService::new(router);
    let served = http.serve_connection(TokioIo::new(stream), service).await;
    if served.is_err_and(|error| error.is_timeout()) {
        tally.idle.fetch_add(1, Ordering::Relaxed);
    }
}

/// Says that there is no place. What was asked meanwhile is read, or the reset that unread bytes bring
/// about could overtake the answer.
async fn turn_away(mut stream: TcpStream) {
    let document = Problem::CONNECTIONS.to_json() + "\n";
    let (kind, length) = (problem::MEDIA_TYPE, document.len());
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\
         Retry-After: 1\r\nConnection: close\r\n\r\n{document}"
    );
    let said = async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await?;
        io::copy(&mut stream, &mut io::sink()).await
    };
    // Whoever does not hear it is gone.
    drop(timeout(PARTING, said).await);
}
