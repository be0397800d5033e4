//! The HTTP listener of the API: asks the other threads, answers with documents of `api`.
//!
//! Spec: RFC 9110 §9.3.1, §15; RFC 9457.

mod door;
mod events;
mod gate;
mod sites;
mod v1;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::{Listener, ListenerExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use crate::api::access::Access;
use crate::api::metrics;
use crate::api::problem::{self, Problem};
use crate::api::status::{Process, Status};
use crate::config::ApiConnections;
use crate::observe::ApiCounters;
use crate::shard::Report;
use crate::shard::provider::{Answer, Ask, LineEvent};
use crate::time::Timestamp;

use crate::io::clock::Clock;
use crate::io::mail::{Command, Mail};
use crate::io::process;
use crate::io::reload::Standing;
use crate::io::systemd;

use door::Tally;
use events::Hub;
use gate::Gate;

/// How long the other threads have to answer: far more than a turn takes.
const ANSWER: Duration = Duration::from_secs(2);
/// How long a client may take nothing of what is sent to it, before its connection is reset.
const STALLED: Duration = Duration::from_secs(30);
/// What [`announce_ready`] asks.
const REQUEST: &[u8] = b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
/// Readers of events that wait for their place.
const READERS: usize = 16;
const JSON: &str = "application/json";

/// Asks the other threads.
#[derive(Clone, Debug)]
pub(in crate::io) struct Asker {
    /// The clock of the worker.
    pub(in crate::io) clock: Clock,
    /// To the worker.
    pub(in crate::io) mail: mpsc::Sender<Mail>,
    /// To the streams, which it does not keep from ending.
    pub(in crate::io) commands: mpsc::WeakSender<Command>,
    /// How many readers of events have been dropped.
    pub(in crate::io) dropped: Arc<AtomicU64>,
    /// What has happened at the door; of several sites the first one's is in use, as they share it.
    pub(in crate::io) door: Arc<Tally>,
    /// What configuration is in force.
    pub(in crate::io) standing: watch::Receiver<Standing>,
}

/// What there is to be told of a site.
pub(super) struct SiteApi {
    /// Its name, where there are several.
    pub(super) site: Option<Box<str>>,
    pub(super) asker: Asker,
    /// Who may ask for it.
    pub(super) access: Access,
    pub(super) news: mpsc::Receiver<LineEvent>,
}

/// Answers requests for as long as the event loop of this thread runs.
pub(super) fn start(
    listener: std::net::TcpListener,
    sites: Vec<SiteApi>,
    limits: ApiConnections,
) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let first = sites.first();
    let tally = first.map(|first| Arc::clone(&first.asker.door));
    let router = sites::router(sites);
    let serving = door::serve(
        impatient(listener),
        router,
        limits,
        tally.unwrap_or_default(),
    );
    tokio::spawn(serving);
    Ok(())
}

/// Who does not read what is sent to him loses his connection (RFC 5482): [`STALLED`].
fn impatient(
    listener: tokio::net::TcpListener,
) -> impl Listener<Io = TcpStream, Addr = SocketAddr> {
    listener.tap_io(|stream| {
        let stream = socket2::SockRef::from(&*stream);
        if let Err(error) = stream.set_tcp_user_timeout(Some(STALLED)) {
            tracing::warn!(%error, "a client of the API may stall for ever");
        }
    })
}

/// All resources; to be called on the event loop that they are served on.
fn router(asker: Asker, gate: Gate, news: mpsc::Receiver<LineEvent>) -> Router {
    let (readers, reading) = mpsc::channel(READERS);
    let calendar = asker.clock.calendar();
    let hub = Hub::new(
        calendar.unix_s(Timestamp::START).to_bits(),
        Arc::clone(&asker.dropped),
    );
    tokio::spawn(hub.run(news, reading));
    let desk = v1::Desk {
        asker: asker.clone(),
        readers,
    };
    let (v1, _) = v1::routes(desk, gate);
    Router::new()
        .route(
            "/v1/status",
            get(status).fallback(async || refuse(&Problem::METHOD)),
        )
        .route(
            "/metrics",
            get(metrics).fallback(async || refuse(&Problem::METHOD)),
        )
        .with_state::<()>(asker)
        .merge(v1)
        .fallback(async || refuse(&Problem::PATH))
}

/// Asks for the status as an operator would, and says that campon is ready when it is answered.
pub(super) async fn announce_ready(api: SocketAddr) {
    if let Ok(Ok(())) = timeout(ANSWER, ask(api)).await {
        tracing::info!("campon is ready");
    } else {
        tracing::warn!(%api, "campon is ready, but does not answer for its status");
    }
    systemd::ready();
}

async fn ask(api: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(api).await?;
    stream.write_all(REQUEST).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    if answer.starts_with(b"HTTP/1.1 200 ") {
        Ok(())
    } else {
        Err(io::ErrorKind::InvalidData.into())
    }
}

async fn status(State(asker): State<Asker>) -> Response {
    match timeout(ANSWER, asker.report()).await {
        Ok(Some(report)) => {
            let document = Status::new(asker.process(), &report).to_json();
            respond(StatusCode::OK, JSON, document + "\n")
        }
        Ok(None) | Err(_) => refuse(&Problem::WORKER),
    }
}

async fn metrics(State(asker): State<Asker>) -> Response {
    match timeout(ANSWER, asker.report()).await {
        Ok(Some(report)) => {
            let started_s = asker.clock.calendar().unix_s(Timestamp::START);
            let resources = process::resources(started_s);
            let document = metrics::to_text(&asker.process(), resources, report);
            respond(StatusCode::OK, metrics::MEDIA_TYPE, document)
        }
        Ok(None) | Err(_) => refuse(&Problem::WORKER),
    }
}

fn refuse(problem: &Problem) -> Response {
    let code = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    respond(code, problem::MEDIA_TYPE, problem.to_json() + "\n")
}

fn respond(code: StatusCode, media_type: &'static str, document: String) -> Response {
    (code, [(header::CONTENT_TYPE, media_type)], document).into_response()
}

impl Asker {
    /// What is no worker's to report.
    fn process(&self) -> Process {
        let Standing { mode, reload } = self.standing.borrow().clone();
        let now = self.clock.now();
        Process {
            mode: mode.to_owned(),
            uptime_s: now.since(Timestamp::START).as_secs(),
            started: self.clock.calendar().utc(Timestamp::START),
            reload,
        }
    }

    /// What an application asks for, about that line alone; `None` if the worker is gone.
    async fn ask(&self, line: Option<Box<str>>, ask: Ask) -> Option<Answer> {
        let (asker, answer) = oneshot::channel();
        let mail = Mail::Ask { line, ask, asker };
        self.mail.send(mail).await.ok()?;
        answer.await.ok()
    }

    /// What the worker and the streams hold; `None` if they are gone.
    async fn report(&self) -> Option<Report> {
        let (asker, worker) = oneshot::channel();
        self.mail.send(Mail::Report(asker)).await.ok()?;
        let (asker, streams) = oneshot::channel();
        self.commands
            .upgrade()?
            .send(Command::Report(asker))
            .await
            .ok()?;
        let (mut report, streams) = (worker.await.ok()?, streams.await.ok()?);
        report.tables.extend(streams.tables);
        report.counters.extend(streams.counters);
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        let api = ApiCounters {
            api_connections_accepted: count(&self.door.accepted),
            api_connections_idle: count(&self.door.idle),
            api_connections_refused: count(&self.door.refused),
            api_readers_dropped: count(&self.dropped),
        };
        report.counters.extend(api.iter());
        Some(report)
    }
}

#[cfg(test)]
mod tests;
