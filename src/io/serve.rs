//! Starts everything, waits for the end, and says what was left.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::thread::{self, JoinHandle};

use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;

use crate::api::access::Access;
use crate::api::status::left_in_tables;
use crate::completion::WallTime;
use crate::config::{Config, Media, Origin};
use crate::media::prompts::BadPart;
use crate::shard::settings::{Carries, Peer};
use crate::shard::{Report, Shard};
use crate::tls;

use super::clock::Clock;
use super::http::{self, Asker};
use super::keeper::{self, Keeper, OpenError, Opened};
use super::log::{Log, Pen};
use super::mail::Mail;
use super::records::{Records, Slot};
use super::rehearsal::rehearse;
use super::reload::{Files, Reloader, Told};
use super::roster::Limits;
use super::secure::Secure;
use super::streams::{Streams, Tolerance};
use super::worker::Worker;
use super::{entropy, names, signals, socket, sound, systemd};

/// Mail that waits for the worker; streams are read no further while it is full.
const MAIL_MAX: usize = 1024;
/// Messages that wait to be given to their connections; past it they are not sent.
const COMMANDS_MAX: usize = 4096;
/// News of lines that wait for those who read them; past it they are lost.
const NEWS_MAX: usize = 4096;
/// Questions that wait for DNS to be asked.
const QUESTIONS_MAX: usize = 256;

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
    Sound(#[from] BadPart),
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

/// Every socket, bound before anything starts.
struct Sockets {
    /// None where a listener speaks TLS alone.
    udp: Vec<Option<UdpSocket>>,
    tcp: Vec<TcpListener>,
    http: TcpListener,
}

/// Serves until the operator wants to stop; goes by other configurations that come from the same origin.
pub fn serve(config: Config, origin: Origin) -> Result<End, ServeError> {
    rehearse();
    let log = Log::open(&config.log).map_err(|source| {
        let file = config
            .log
            .file
            .as_ref()
            .map(|file| file.display().to_string());
        ServeError::Log {
            file: file.unwrap_or_default(),
            source,
        }
    })?;
    let end = serve_logged(config, origin, log.pen());
    log.close();
    end
}

fn serve_logged(mut config: Config, origin: Origin, pen: Pen) -> Result<End, ServeError> {
    announce(&config);
    let secure = Secure::new(config.tls.clone())?;
    let sockets = Sockets::bind(&config)?;
    let api = sockets.http.local_addr()?;
    let store = open_store(&mut config)?;
    let clock = Clock::start();
    let has_names = config.shard.peers().any(|(_, peer)| peer.has_names());
    let servers = config.resolver.clone();
    let (records, slot) = open_records(&config, clock)?.unzip();
    let access = Access::from(&config);
    let files = Files {
        pen,
        records: slot.clone(),
    };
    config.shard.started = WallTime(clock.started());
    config.shard.voice = config.media.as_ref().map(sound::voice).transpose()?;
    let mut shard = Shard::new(config.shard.clone(), entropy::seeded()?);
    let (mail, mailbox) = mpsc::channel(MAIL_MAX);
    let (keeper, store) = store
        .map(|opened| take_up(opened, &mut shard, clock, &mail))
        .transpose()?
        .unzip();
    let (streams, commands) = mpsc::channel(COMMANDS_MAX);
    let told = Told {
        clock,
        mail: mail.clone(),
        commands: streams.downgrade(),
    };
    let tolerance = Tolerance {
        limits: Limits::within(config.connections, socket::files_max()),
        ..Tolerance::default()
    };
    let media = config.media.clone();
    let (reloader, standing) = Reloader::new((config, origin), told, files);
    let asker = Asker {
        clock,
        mail: mail.clone(),
        commands: streams.downgrade(),
        standing,
    };
    let udp = sockets.udp;
    let (asking, questions) = mpsc::channel(QUESTIONS_MAX);
    let post = (streams, asking, slot);
    let worker = move || Worker::new(shard, clock, udp, mailbox, post);
    let sound = media.map(|media| start_sound(&media, clock, mail.clone()));
    let sound = sound.transpose()?;
    let (telling, news) = mpsc::channel(NEWS_MAX);
    let worker = move || Ok(worker()?.keeping(keeper).sounding(sound).telling(telling));
    let worker = spawn_worker(worker)?;
    runtime()?.block_on(async {
        signals::start(mail.clone())?;
        reloader.start()?;
        systemd::start_watchdog(mail.clone());
        http::start(sockets.http, asker, (access, news))?;
        names::start(&servers, has_names, mail.clone(), questions)?;
        let listeners = (sockets.tcp, secure);
        let streams = Streams::start(clock, tolerance, listeners, mail, commands)?;
        tokio::spawn(http::announce_ready(api));
        streams.run().await;
        Ok::<_, ServeError>(())
    })?;
    let report = worker.join().map_err(|_| ServeError::Worker)?;
    if let Some(records) = records {
        records.close();
    }
    if let Some(store) = store {
        store.join().map_err(|_| ServeError::Worker)?;
    }
    Ok(take_leave(&report))
}

/// Starts the thread for what our calls play and hear; it ends when the worker does.
fn start_sound(
    media: &Media,
    clock: Clock,
    worker: mpsc::Sender<Mail>,
) -> Result<sound::Slot, ServeError> {
    let rng = entropy::seeded()?;
    Ok(sound::start(clock, media.sound.address, rng, worker)?)
}

impl From<&Config> for Access {
    fn from(config: &Config) -> Self {
        Self {
            tokens: config.tokens.clone(),
            is_open: config.is_open(),
        }
    }
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

/// Gives the worker what was kept, and starts the thread that keeps what is new.
fn take_up(
    opened: Opened,
    shard: &mut Shard,
    clock: Clock,
    mail: &mpsc::Sender<Mail>,
) -> Result<(Keeper, JoinHandle<()>), ServeError> {
    for (key, record) in &opened.kept {
        shard.restore(key, record);
    }
    shard.take_over(clock.now(), opened.completions);
    Ok(opened.store.start(mail.clone())?)
}

fn open_records(config: &Config, clock: Clock) -> Result<Option<(Records, Slot)>, ServeError> {
    let opened = config.records.as_deref().map(|file| {
        Records::open(file, clock).map_err(|source| ServeError::Records {
            file: file.display().to_string(),
            source,
        })
    });
    opened.transpose()
}

fn open_store(config: &mut Config) -> Result<Option<Opened>, ServeError> {
    keeper::open(config).map_err(|source| ServeError::Store {
        file: config.store.clone().unwrap_or_default(),
        source,
    })
}

/// The first line of the log: which campon this is and where it stands.
fn announce(config: &Config) {
    let listen: Vec<_> = config
        .shard
        .listeners
        .iter()
        .map(|it| it.bind.to_string())
        .collect();
    tracing::info!(
        mode = config.mode(),
        listen = listen.join(" "),
        upstream = config.shard.upstream.as_ref().map(Peer::shown),
        status = %config.api,
        store = %config.store.as_ref().map_or_else(|| "memory".into(), |path| path.to_string_lossy()),
        "campon {}",
        env!("CARGO_PKG_VERSION"),
    );
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
}

impl Sockets {
    fn bind(config: &Config) -> Result<Self, ServeError> {
        let (mut udp, mut tcp) = (Vec::new(), Vec::new());
        for listener in &config.shard.listeners {
            let by_tls = listener.carries == Carries::Tls;
            // S-23: the port of UDP listens on TCP as well.
            let datagrams = (!by_tls).then(|| bind(listener.bind, "UDP", socket::bind_udp));
            udp.push(datagrams.transpose()?);
            let protocol = if by_tls { "TLS" } else { "TCP" };
            tcp.push(bind(listener.bind, protocol, socket::bind_tcp)?);
        }
        let http = bind(config.api, "HTTP", socket::bind_tcp)?;
        Ok(Self { udp, tcp, http })
    }
}

fn bind<T>(
    address: SocketAddr,
    protocol: &'static str,
    bind: impl FnOnce(SocketAddr) -> io::Result<T>,
) -> Result<T, ServeError> {
    bind(address).map_err(|source| ServeError::Listen {
        address,
        protocol,
        source,
    })
}

/// Runs a worker on a thread of its own, with an event loop of its own.
///
/// Both are made here: an allocator that keeps the threads apart then has nothing that lasts among
/// what calls allocate, and can give all of that back when they have ended.
fn spawn_worker(worker: impl FnOnce() -> io::Result<Worker>) -> io::Result<JoinHandle<Report>> {
    let runtime = runtime()?;
    let worker = {
        let _context = runtime.enter();
        worker()?
    };
    let run = move || runtime.block_on(worker.run());
    thread::Builder::new().name("worker".to_owned()).spawn(run)
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}
