//! The HTTP listener of the API: asks the other threads, answers with documents of `api`.
//!
//! Spec: RFC 9110 §9.3.1, §15; RFC 9457.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use crate::api::metrics;
use crate::api::problem::{self, Problem};
use crate::api::status::{Process, Status};
use crate::shard::Report;
use crate::time::Timestamp;

use super::clock::Clock;
use super::mail::{Command, Mail};
use super::process;
use super::reload::Standing;
use super::systemd;

/// How long the other threads have to answer: far more than a turn takes.
const ANSWER: Duration = Duration::from_secs(2);
/// What [`announce_ready`] asks.
const REQUEST: &[u8] = b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
const JSON: &str = "application/json";

/// Asks the other threads.
#[derive(Clone, Debug)]
pub(super) struct Asker {
    /// The clock of the worker.
    pub(super) clock: Clock,
    /// To the worker.
    pub(super) mail: mpsc::Sender<Mail>,
    /// To the streams, which it does not keep from ending.
    pub(super) commands: mpsc::WeakSender<Command>,
    /// What configuration is in force.
    pub(super) standing: watch::Receiver<Standing>,
}

/// Answers requests for as long as the event loop of this thread runs.
pub(super) fn start(listener: std::net::TcpListener, asker: Asker) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let router = Router::new()
        .route(
            "/v1/status",
            get(status).fallback(async || refuse(Problem::METHOD)),
        )
        .route(
            "/metrics",
            get(metrics).fallback(async || refuse(Problem::METHOD)),
        )
        .fallback(async || refuse(Problem::PATH))
        .with_state(asker);
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(())
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
        Ok(None) | Err(_) => refuse(Problem::WORKER),
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
        Ok(None) | Err(_) => refuse(Problem::WORKER),
    }
}

fn refuse(problem: Problem) -> Response {
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
        Some(report)
    }
}
