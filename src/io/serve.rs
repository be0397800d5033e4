//! Starts everything, waits for the end, and says what was left.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::api::status::left_in_tables;
use crate::config::voice::BadVoice;
use crate::config::{ApiConnections, Config, Origin};
use crate::shard::Report;
use crate::shard::settings::Peer;
use crate::tls;

use super::clock::Clock;
use super::keeper::OpenError;
use super::log::{Log, Pen};
use super::mail::Mail;
use super::rehearsal::rehearse;
use super::reload::{Reloader, Standing};
use super::site::{Beside, Bound, Left, Site, bind, runtime};
use super::{http, signals, socket, systemd};

/// Why serving did not start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address} by {protocol}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// `UDP`, `TCP`, `TLS` or `HTTP`.
        protocol: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// The log file cannot be written.
    #[error("cannot write the log to {file}: {source}")]
    Log {
        /// The file.
        file: String,
        /// What the system says.
        source: io::Error,
    },
    /// The file of call records cannot be written.
    #[error("cannot write call records to {file}: {source}")]
    Records {
        /// The file.
        file: String,
        /// What the system says.
        source: io::Error,
    },
    /// The store cannot be opened.
    #[error("cannot keep anything in {}: {source}", file.display())]
    Store {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        source: OpenError,
    },
    /// The system gives no random numbers.
    #[error("no random numbers: {0}")]
    Random(#[from] getrandom::Error),
    /// The system does not say whom to ask for names.
    #[error("cannot ask DNS: {0}; write the addresses of its servers in [resolver] servers")]
    Resolver(#[from] hickory_resolver::net::NetError),
    /// The system gives no thread, event loop or signals.
    #[error("cannot start: {0}")]
    Start(#[from] io::Error),
    /// A recording cannot be played.
    #[error("no sound: {0}")]
    Sound(#[from] BadVoice),
    /// A certificate or key cannot be used.
    #[error("no TLS: {0}")]
    Tls(#[from] tls::Error),
    /// The worker ended by a panic, which has been printed.
    #[error("the worker ended unexpectedly")]
    Worker,
}

/// How serving ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// Nobody was left waiting.
    Clean,
    /// Calls were up, or somebody was owed an answer.
    Left,
}

/// Serves the sites until the operator wants to stop; goes by other configurations that come from the
/// same origin. There is one site at least.
pub fn serve(sites: Vec<Config>, origin: Origin) -> Result<End, ServeError> {
    rehearse();
    let first = sites.first().expect("there is a site");
    let log = Log::open(&first.log).map_err(|source| {
        let file = first.log.file.as_ref();
        let file = file.map(|file| file.display().to_string());
        ServeError::Log {
            file: file.unwrap_or_default(),
            source,
        }
    })?;
    let end = serve_logged(sites, origin, log.pen());
    log.close();
    end
}

fn serve_logged(sites: Vec<Config>, origin: Origin, pen: Pen) -> Result<End, ServeError> {
    sites.iter().for_each(announce);
    let bound = sites.iter().cloned().map(Bound::new);
    let bound = bound.collect::<Result<Vec<_>, _>>()?;
    let first = sites.first().expect("there is a site");
    let limits = first.api_connections.within(socket::files_max());
    let api = (bind(first.api, "HTTP", socket::bind_tcp)?, limits);
    let clock = Clock::start();
    let number = bound.len();
    let started = bound.into_iter().map(|site| site.start(clock, number));
    let started = started.collect::<Result<Vec<_>, _>>()?;
    let (threads, beside): (Vec<Site>, Vec<Beside>) = started.into_iter().unzip();
    let told = beside.iter().map(|site| site.told.clone()).collect();
    let (reloader, standing) = Reloader::new((sites, origin), told, pen);
    let served = runtime()?.block_on(serve_beside(api, threads, beside, (reloader, standing)));
    let reports = served?.into_iter().map(Left::close);
    let reports = reports.collect::<Result<Vec<_>, _>>()?;
    Ok(take_leave(&Report::joined(reports)))
}

/// What the main thread does, until all workers have ended; what they leave.
async fn serve_beside(
    (api, limits): (std::net::TcpListener, ApiConnections),
    threads: Vec<Site>,
    mut beside: Vec<Beside>,
    (reloader, standing): (Reloader, Vec<watch::Receiver<Standing>>),
) -> Result<Vec<Left>, ServeError> {
    let workers: Vec<mpsc::Sender<Mail>> = beside.iter().map(Beside::mail).collect();
    signals::start(workers.clone())?;
    reloader.start()?;
    systemd::start_watchdog(workers);
    let address = api.local_addr()?;
    let desks = beside.iter_mut().zip(standing);
    http::start(
        api,
        desks.map(|(site, standing)| site.api(standing)).collect(),
        limits,
    )?;
    let mut ends = JoinSet::new();
    for (site, threads) in beside.into_iter().zip(threads) {
        let streams = site.start()?;
        ends.spawn(async move {
            streams.run().await;
            // Its worker is over, or about to be.
            threads.join()
        });
    }
    tokio::spawn(http::announce_ready(address));
    let mut left = Vec::new();
    while let Some(end) = ends.join_next().await {
        left.push(end.map_err(|_| ServeError::Worker)?);
    }
    Ok(left)
}

/// The last line of the log: what was left.
fn take_leave(report: &Report) -> End {
    let left = left_in_tables(report);
    tracing::info!(owed = report.owed, left, "campon has stopped");
    if report.owed == 0 {
        End::Clean
    } else {
        End::Left
    }
}

/// The first line of a site in the log: which campon this is and where it stands.
fn announce(config: &Config) {
    let listen: Vec<_> = config
        .shard
        .listeners
        .iter()
        .map(|it| it.bind.to_string())
        .collect();
    let site = config.site.as_deref();
    tracing::info!(
        site,
        mode = config.mode(),
        listen = listen.join(" "),
        upstream = config.shard.upstream.as_ref().map(Peer::shown),
        status = %config.api,
        store = %config.store.as_ref().map_or_else(|| "memory".into(), |path| path.to_string_lossy()),
        "campon {}",
        env!("CARGO_PKG_VERSION"),
    );
    for warning in config.warnings() {
        tracing::warn!(site, "{warning}");
    }
}
