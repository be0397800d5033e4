//! A site as it runs: its sockets, its store and its records, and the thread of its worker.
//!
//! Sites share the process, its clock, its log and the event loop of the main thread, and nothing of
//! SIP: what one says to another goes over the network. So no message ever changes from one worker to
//! another, and what a site cannot do holds up no other one.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::thread::{self, JoinHandle};

use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;

use crate::api::access::Access;
use crate::completion::WallTime;
use crate::config::{Config, Media, voice};
use crate::routing::names::Question;
use crate::shard::settings::Carries;
use crate::shard::{Report, Shard};

use super::clock::Clock;
use super::http::{Asker, SiteApi};
use super::keeper::{self, Keeper, Opened};
use super::mail::{Command, Mail};
use super::records::{Records, Slot};
use super::reload::{Standing, Told};
use super::roster::Limits;
use super::secure::Secure;
use super::serve::ServeError;
use super::streams::{Streams, Tolerance};
use super::worker::Worker;
use super::{entropy, names, socket, sound};

/// Mail that waits for the worker; streams are read no further while it is full.
const MAIL_MAX: usize = 1024;
/// Messages that wait to be given to their connections; past it they are not sent.
const COMMANDS_MAX: usize = 4096;
/// News of lines that wait for those who read them; past it they are lost.
const NEWS_MAX: usize = 4096;
/// Questions that wait for DNS to be asked.
const QUESTIONS_MAX: usize = 256;

/// A site that is about to run: what it needs and may not get has been taken.
pub(super) struct Bound {
    config: Config,
    secure: Secure,
    /// None where a listener speaks TLS alone.
    udp: Vec<Option<UdpSocket>>,
    tcp: Vec<TcpListener>,
    store: Option<Opened>,
}

/// The threads of a site that runs.
pub(super) struct Site {
    name: Option<Box<str>>,
    worker: JoinHandle<Report>,
    records: Option<Records>,
    store: Option<JoinHandle<()>>,
}

/// What a site has on the event loop of the main thread.
pub(super) struct Beside {
    clock: Clock,
    servers: Vec<SocketAddr>,
    has_names: bool,
    secure: Secure,
    tcp: Vec<TcpListener>,
    tolerance: Tolerance,
    mail: mpsc::Sender<Mail>,
    commands: mpsc::Receiver<Command>,
    questions: mpsc::Receiver<Question>,
    pub(super) told: Told,
    access: Access,
    news: mpsc::Receiver<crate::shard::provider::LineEvent>,
}

impl Bound {
    /// Binds its sockets and opens its files.
    pub(super) fn new(mut config: Config) -> Result<Self, ServeError> {
        let secure = Secure::new(config.tls.clone())?;
        let (mut udp, mut tcp) = (Vec::new(), Vec::new());
        for listener in &config.shard.listeners {
            let by_tls = listener.carries == Carries::Tls;
            // S-23: the port of UDP listens on TCP as well.
            let datagrams = (!by_tls).then(|| bind(listener.bind, "UDP", socket::bind_udp));
            udp.push(datagrams.transpose()?);
            let protocol = if by_tls { "TLS" } else { "TCP" };
            tcp.push(bind(listener.bind, protocol, socket::bind_tcp)?);
        }
        let store = keeper::open(&mut config).map_err(|source| ServeError::Store {
            file: config.store.clone().unwrap_or_default(),
            source,
        })?;
        Ok(Self {
            config,
            secure,
            udp,
            tcp,
            store,
        })
    }

    /// Starts its threads; `sites` is how many share what the system gives one process.
    pub(super) fn start(self, clock: Clock, sites: usize) -> Result<(Site, Beside), ServeError> {
        let Self {
            mut config,
            secure,
            udp,
            tcp,
            store,
        } = self;
        let (records, slot) = open_records(&config, clock)?.unzip();
        config.shard.started = WallTime(clock.started());
        let folder = config.media.as_ref().map(|media| media.voice.as_deref());
        config.shard.voice = folder.map(voice::load).transpose()?;
        let mut shard = Shard::new(config.shard.clone(), entropy::seeded()?);
        let (mail, mailbox) = mpsc::channel(MAIL_MAX);
        let (keeper, store) = store
            .map(|opened| take_up(opened, &mut shard, clock, &mail))
            .transpose()?
            .unzip();
        let (streams, commands) = mpsc::channel(COMMANDS_MAX);
        let told = Told {
            site: config.site.clone(),
            clock,
            mail: mail.clone(),
            commands: streams.downgrade(),
            records: slot.clone(),
        };
        let (asking, questions) = mpsc::channel(QUESTIONS_MAX);
        let post = (streams, asking, slot);
        let sound = config.media.as_ref();
        let listeners = config.shard.listeners.iter().map(|it| it.bind).collect();
        let sound = sound.map(|media| start_sound((media, listeners), clock, mail.clone()));
        let sound = sound.transpose()?;
        let (telling, news) = mpsc::channel(NEWS_MAX);
        let worker = move || {
            let worker = Worker::new(shard, clock, udp, mailbox, post)?;
            Ok(worker.keeping(keeper).sounding(sound).telling(telling))
        };
        let site = Site {
            name: config.site.clone(),
            worker: spawn_worker(config.site.clone(), worker)?,
            records,
            store,
        };
        let files_max = socket::files_max();
        let of_api = config.api_connections.within(files_max).all_max;
        let files_max = files_max.saturating_sub(of_api) / sites.max(1);
        let beside = Beside {
            clock,
            has_names: config.shard.peers().any(|(_, peer)| peer.has_names()),
            secure,
            tcp,
            tolerance: Tolerance {
                limits: Limits::within(config.connections, files_max),
                ..Tolerance::default()
            },
            mail,
            commands,
            questions,
            told,
            access: Access::from(&config),
            servers: config.resolver,
            news,
        };
        Ok((site, beside))
    }
}

impl Beside {
    /// How the API asks for this site.
    pub(super) fn api(&mut self, standing: tokio::sync::watch::Receiver<Standing>) -> SiteApi {
        let asker = Asker {
            clock: self.clock,
            mail: self.mail.clone(),
            commands: self.told.commands.clone(),
            dropped: std::sync::Arc::default(),
            door: std::sync::Arc::default(),
            standing,
        };
        // They are read once.
        let news = std::mem::replace(&mut self.news, mpsc::channel(1).1);
        SiteApi {
            site: self.told.site.clone(),
            asker,
            access: std::mem::take(&mut self.access),
            news,
        }
    }

    /// To its worker.
    pub(super) fn mail(&self) -> mpsc::Sender<Mail> {
        self.mail.clone()
    }

    /// Asks DNS and accepts connections, on the event loop of this thread.
    pub(super) fn start(self) -> Result<Streams, ServeError> {
        names::start(
            &self.servers,
            self.has_names,
            self.mail.clone(),
            self.questions,
        )?;
        let listeners = (self.tcp, self.secure);
        let (clock, tolerance) = (self.clock, self.tolerance);
        Ok(Streams::start(
            clock,
            tolerance,
            listeners,
            self.mail,
            self.commands,
        )?)
    }
}

impl Site {
    /// Waits for its worker. One that has panicked has said so.
    pub(super) fn join(self) -> Left {
        let site = self.name.as_deref();
        let report = self.worker.join().map_err(|_| {
            tracing::error!(site, "the worker ended unexpectedly");
            ServeError::Worker
        });
        Left {
            report,
            records: self.records,
            store: self.store,
        }
    }
}

/// What a worker that is over leaves.
pub(super) struct Left {
    report: Result<Report, ServeError>,
    records: Option<Records>,
    store: Option<JoinHandle<()>>,
}

impl Left {
    /// Waits until all is written; nobody may be left who could hand in more.
    pub(super) fn close(self) -> Result<Report, ServeError> {
        if let Some(records) = self.records {
            records.close();
        }
        if let Some(store) = self.store {
            store.join().map_err(|_| ServeError::Worker)?;
        }
        self.report
    }
}

impl From<&Config> for Access {
    fn from(config: &Config) -> Self {
        Self {
            tokens: config.tokens.clone(),
            is_open: config.is_open(),
        }
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

/// Starts the thread for what our calls play and hear; it ends when the worker does.
fn start_sound(
    (media, listeners): (&Media, Box<[SocketAddr]>),
    clock: Clock,
    worker: mpsc::Sender<Mail>,
) -> Result<sound::Slot, ServeError> {
    let rng = entropy::seeded()?;
    // An address that is not this machine's would have each prompt end as it begins.
    let any = SocketAddr::new(media.sound.address, 0);
    bind(any, "UDP", UdpSocket::bind)?;
    let place = sound::Place {
        sound: media.sound.clone(),
        listeners,
    };
    Ok(sound::start(clock, place, rng, worker)?)
}

pub(super) fn bind<T>(
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

/// Runs a worker on a thread of its own, with an event loop of its own; what it logs names its site,
/// where there are several.
///
/// Both are made here: an allocator that keeps the threads apart then has nothing that lasts among
/// what calls allocate, and can give all of that back when they have ended.
fn spawn_worker(
    site: Option<Box<str>>,
    worker: impl FnOnce() -> io::Result<Worker>,
) -> io::Result<JoinHandle<Report>> {
    let runtime = runtime()?;
    let worker = {
        let _context = runtime.enter();
        worker()?
    };
    let run = move || {
        let span = site.map(|name| tracing::error_span!("site", name = &*name));
        let _within = span.as_ref().map(tracing::Span::enter);
        runtime.block_on(worker.run())
    };
    thread::Builder::new().name("worker".to_owned()).spawn(run)
}

pub(super) fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}
