//! What the operator wants: TOML as written, checked once, and the settings that follow from it.
//!
//! Every value of a [`Config`] holds what its type promises; what does not is an [`Error`] that names
//! the file, the line and the key. Nothing here opens a socket or resolves a name.

mod check;
mod error;
mod raw;
mod summary;
mod users;
mod value;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use crate::shard;
use crate::tls::Face;

pub use error::{Error, Place};

/// The port of the status API unless the configuration names one.
const API_PORT: u16 = 5080;

/// A checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// What the worker is told; at least one listener, no two alike.
    pub shard: shard::Settings,
    /// What each listener shows that speaks TLS, in their order; `None` for the others.
    pub tls: Vec<Option<Face>>,
    /// What is logged, and where to.
    pub log: Log,
    /// Where the status API listens; always a loopback address.
    pub api: SocketAddr,
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

impl Config {
    /// The configuration in this file, or the defaults if there is none.
    pub fn load(file: Option<&str>, arguments: &Arguments) -> Result<Self, Error> {
        let Some(file) = file else {
            return Self::parse("", "", arguments);
        };
        let text = std::fs::read_to_string(file).map_err(|error| Error {
            place: Place::File(file.to_owned()),
            key: "file".to_owned(),
            why: format!("cannot be read: {error}"),
        })?;
        Self::parse(file, &text, arguments)
    }

    /// The configuration that this text is; `file` only names it in errors.
    pub fn parse(file: &str, text: &str, arguments: &Arguments) -> Result<Self, Error> {
        let source = error::Source { file, text };
        let raw = toml::from_str(text).map_err(|error| {
            let span = error.span().unwrap_or_default();
            let why = error.message().replace('\n', "; ");
            source.error(&span, why)
        })?;
        check::check(source, &raw, arguments)
    }

    /// The mode, as the first log line names it.
    pub fn mode(&self) -> &'static str {
        match (&self.shard.edge, &self.shard.upstream) {
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
