//! What the operator wants: TOML as written, checked once, and the settings that follow from it.
//!
//! Every value of a [`Config`] holds what its type promises; what does not is an [`Error`] that names
//! the file, the line and the key. Nothing here opens a socket or resolves a name.

mod change;
mod check;
mod error;
mod explain;
mod raw;
mod summary;
mod users;
mod value;
pub mod voice;
mod warnings;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::api::access::Token;
use crate::shard;
use crate::tls::Face;

pub use change::{Changes, keep_fixed};
pub use error::{Error, Place};

/// The port of the status API unless the configuration names one.
const API_PORT: u16 = 5080;

/// The checked configuration of one site, and of the process that serves it.
#[derive(Clone, Debug)]
pub struct Config {
    /// What the operator calls the site; `None` where the file has one alone.
    pub site: Option<Box<str>>,
    /// What the worker is told; at least one listener, no two alike.
    pub shard: shard::Settings,
    /// What each listener shows that speaks TLS, in their order; `None` for the others.
    pub tls: Vec<Option<Face>>,
    /// How many stream connections there may be.
    pub connections: Connections,
    /// The DNS servers; none: those of the system.
    pub resolver: Vec<SocketAddr>,
    /// What is logged, and where to.
    pub log: Log,
    /// Where the status API listens; always a loopback address.
    pub api: SocketAddr,
    /// What connections to it there may be.
    pub api_connections: ApiConnections,
    /// Who may ask the API for what; the file's hashes of bearer tokens.
    pub tokens: Vec<Token>,
    /// The file that call records are appended to, if there are to be any.
    pub records: Option<PathBuf>,
    /// The file in which registrations are kept over a restart; `None` keeps them in memory.
    pub store: Option<PathBuf>,
    /// Sound of our own, if there is to be any.
    pub media: Option<Media>,
}

/// Sound of our own.
#[derive(Clone, Debug)]
pub struct Media {
    /// Where we can be heard.
    pub sound: shard::settings::Sound,
    /// A folder with an operator's own recordings, if there is one.
    pub voice: Option<PathBuf>,
}

/// How many stream connections there may be; fewer where the system allows few files.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Connections {
    /// In all.
    pub all_max: usize,
    /// From one IP address, by its own opening.
    pub of_source_max: usize,
}

impl Default for Connections {
    fn default() -> Self {
        Self {
            // Half of what a process may usually open, 20 000 files.
            all_max: 10_000,
            // A NAT with a few hundred phones behind it, and room for each to connect again.
            of_source_max: 2_000,
        }
    }
}

/// What connections to the API there may be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ApiConnections {
    /// How many in all, readers of events included.
    pub all_max: usize,
    /// How long one may take from a request to the end of the next one's head.
    pub idle_max: Duration,
}

impl ApiConnections {
    /// Those of them that the system allows, of so many files: phones go first.
    #[must_use]
    pub fn within(self, files_max: usize) -> Self {
        Self {
            all_max: self.all_max.min(files_max / 4).max(1),
            ..self
        }
    }
}

impl Default for ApiConnections {
    fn default() -> Self {
        Self {
            // A desktop for each of a hundred people, with one that reads events, and room for others.
            all_max: 256,
            // More than most monitors let pass between two looks.
            idle_max: Duration::from_mins(1),
        }
    }
}

/// What is logged, and where to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Log {
    /// The least severe lines that are kept.
    pub level: Level,
    /// How a line looks.
    pub format: Format,
    /// The file that lines are appended to; `None` is the standard error.
    pub file: Option<PathBuf>,
}

/// How severe a log line is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Level {
    /// Whatever a developer may want; shows personal data.
    Debug,
    /// Something is wrong with us.
    Error,
    /// One line or two a call.
    Info,
    /// Everything.
    Trace,
    /// Something is wrong with a peer.
    Warn,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// What the command line sets, above the file.
#[derive(Clone, Debug, Default)]
pub struct Arguments {
    /// `--listen ADDR`, each one; together they replace the file's listeners.
    pub listen: Vec<String>,
    /// `--upstream SIP-URI`.
    pub upstream: Option<String>,
}

/// Where a configuration comes from: what was written, before it is checked.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// The file; `None` where the defaults hold.
    pub file: Option<String>,
    /// What stood in it.
    pub text: String,
    /// What wins over it.
    pub arguments: Arguments,
}

impl Origin {
    /// What this file says, or nothing if there is none.
    pub fn read(file: Option<&str>, arguments: &Arguments) -> Result<Self, Error> {
        let text = file.map(std::fs::read_to_string).transpose();
        let text = text.map_err(|error| Error {
            place: Place::File(file.unwrap_or_default().to_owned()),
            key: "file".to_owned(),
            why: format!("cannot be read: {error}"),
        })?;
        Ok(Self {
            file: file.map(str::to_owned),
            text: text.unwrap_or_default(),
            arguments: arguments.clone(),
        })
    }

    /// The same, read anew.
    pub fn reread(&self) -> Result<Self, Error> {
        Self::read(self.file.as_deref(), &self.arguments)
    }

    /// What it means: each site, in the order of the file; there is one at least, and what is the
    /// process's is the same in all.
    pub fn sites(&self) -> Result<Vec<Config>, Error> {
        let file = self.file.as_deref().unwrap_or_default();
        Config::parse_all(file, &self.text, &self.arguments)
    }
}

impl Config {
    /// The configuration of each site in this file, or the defaults if there is none.
    pub fn load(file: Option<&str>, arguments: &Arguments) -> Result<Vec<Self>, Error> {
        Origin::read(file, arguments)?.sites()
    }

    /// The configuration that this text is, which has one site; `file` only names it in errors.
    pub fn parse(file: &str, text: &str, arguments: &Arguments) -> Result<Self, Error> {
        let mut sites = Self::parse_all(file, text, arguments)?;
        match (sites.pop(), sites.is_empty()) {
            (Some(only), true) => Ok(only),
            (Some(_) | None, _) => Err(Error {
                place: Place::File(file.to_owned()),
                key: "site".to_owned(),
                why: "there are several".to_owned(),
            }),
        }
    }

    /// The sites that this text is; there is one at least.
    fn parse_all(file: &str, text: &str, arguments: &Arguments) -> Result<Vec<Self>, Error> {
        let source = error::Source { file, text };
        let raw = toml::from_str(text).map_err(|error| {
            let span = error.span().unwrap_or_default();
            source.error(&span, error::why_not_read(error.message()))
        })?;
        check::check_all(source, &raw, arguments)
    }

    /// Whether the API asks nobody for a token where there are none: where anybody may register as
    /// anybody, he could ask for as much by phone.
    pub fn is_open(&self) -> bool {
        let settings = &self.shard;
        settings.access.is_none() && settings.upstream.is_none() && !settings.is_trunk
    }

    /// The mode, as the first log line names it.
    pub fn mode(&self) -> &'static str {
        match (&self.shard.edge, &self.shard.upstream) {
            _ if self.shard.is_trunk => "trunk",
            (Some(_), _) => "edge",
            (None, Some(_)) => "standalone with upstream",
            (None, None) => "standalone",
        }
    }
}

/// Where the API listens unless told: beside the first listener if that is a loopback address.
fn api_beside(listener: SocketAddr) -> SocketAddr {
    let ip = if listener.ip().is_loopback() {
        listener.ip()
    } else {
        IpAddr::V4(Ipv4Addr::LOCALHOST)
    };
    SocketAddr::new(ip, API_PORT)
}

impl Level {
    /// The word in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Error => "error",
            Self::Info => "info",
            Self::Trace => "trace",
            Self::Warn => "warn",
        }
    }
}

impl Format {
    /// The word in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Text => "text",
        }
    }
}
