//! What the operator wants: TOML as written, checked once, and the settings that follow from it.
//!
//! Every value of a [`Config`] holds what its type promises; what does not is an [`Error`] that names
//! the file, the line and the key. Nothing here opens a socket or resolves a name.

mod check;
mod error;
mod raw;
mod value;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::shard;
use crate::sip::flow::Transport;

pub use error::{Error, Place};

/// The port of the status API unless the configuration names one.
const API_PORT: u16 = 5080;

/// A checked configuration.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// The addresses that we listen on, by UDP and TCP; at least one, no two alike.
    pub listeners: Vec<Listener>,
    /// The PBX in edge mode; `None` is standalone.
    pub upstream: Option<Upstream>,
    /// The domains that are ours, besides the names and addresses of the listeners; lower case.
    pub domains: Vec<String>,
    /// What our own registrar grants.
    pub registrar: Registrar,
    /// What calls may do.
    pub calls: Calls,
    /// How much we hold at once.
    pub limits: Limits,
    /// The protocol's times.
    pub timing: Timing,
    /// How long a request may have waited for us before new ones are refused.
    pub delay_target: Duration,
    /// What is logged, and where to.
    pub log: Log,
    /// Where the status API listens; always a loopback address.
    pub api: SocketAddr,
}

/// An address that we listen on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Listener {
    /// The address of its sockets, UDP and TCP.
    pub address: SocketAddr,
    /// What peers are told instead of it; always there if the address is a wildcard.
    pub advertise: Option<Advertise>,
}

/// A name or address under which peers reach a listener.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Advertise {
    /// A host name, an IPv4 address, or an IPv6 address in brackets.
    pub host: String,
    /// Another port than the listener's.
    pub port: Option<u16>,
}

/// The PBX that campon stands in front of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Upstream {
    /// UDP or TCP.
    pub transport: Transport,
    /// Where it listens.
    pub address: SocketAddr,
}

/// What our own registrar grants (RFC 3261 §10.3).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Registrar {
    /// Whether anybody may register, without a password.
    pub open: bool,
    /// Granted where none is asked for.
    pub expires_default: Duration,
    /// The least that is granted; less is answered by 423.
    pub expires_min: Duration,
    /// The most that is granted; more is shortened.
    pub expires_max: Duration,
    /// The most contacts of one user.
    pub contacts_max: u32,
}

/// What calls may do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Calls {
    /// The most calls of one user; above it he is busy. `None`: his phone decides.
    pub calls_max: Option<u32>,
    /// The numbers of emergency services, as dialled.
    pub emergency: Vec<String>,
}

/// How much we hold at once; above it, what is new is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// The most calls.
    pub calls_max: u32,
    /// The most transactions.
    pub transactions_max: u32,
    /// The most registered contacts.
    pub registrations_max: u32,
}

/// The protocol's times (RFC 3261 appendix A).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Timing {
    /// Round-trip time estimate.
    pub t1: Duration,
    /// Longest retransmit interval.
    pub t2: Duration,
    /// Longest life of a message in the network.
    pub t4: Duration,
    /// Timer C: the longest that a call may ring.
    pub ring_max: Duration,
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

    /// What the shard is to be told of all this.
    pub fn into_settings(self) -> shard::Settings {
        let listeners = self.listeners.into_iter().map(|listener| shard::Listener {
            bind: listener.address,
            advertise: listener.advertise.map(|advertise| advertise.to_string()),
        });
        shard::Settings {
            listeners: listeners.collect(),
        }
    }

    /// The mode, as the first log line names it.
    pub fn mode(&self) -> &'static str {
        match self.upstream {
            Some(_) => "edge",
            None => "standalone",
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

/// The summary that `campon check` prints.
impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.upstream {
            Some(upstream) => writeln!(f, "mode       edge, in front of {upstream}")?,
            None => writeln!(f, "mode       standalone{}", self.registrar.summary())?,
        }
        for listener in &self.listeners {
            writeln!(f, "listen     {listener}")?;
        }
        if !self.domains.is_empty() {
            writeln!(f, "domains    {}", self.domains.join(", "))?;
        }
        writeln!(f, "calls      {}", self.calls)?;
        writeln!(f, "limits     {}", self.limits)?;
        writeln!(f, "log        {}", self.log)?;
        write!(f, "status     http://{}/v1/status", self.api)
    }
}

impl Registrar {
    fn summary(&self) -> &'static str {
        if self.open {
            ", anybody may register"
        } else {
            ", registrar closed"
        }
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (UDP and TCP)", self.address)?;
        match &self.advertise {
            Some(advertise) => write!(f, " as {advertise}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Advertise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.host),
            None => f.write_str(&self.host),
        }
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "sip:{};transport={}",
            self.address,
            self.transport.uri_name()
        )
    }
}

impl fmt::Display for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.calls_max {
            Some(calls_max) => write!(f, "{calls_max} at a time for a user")?,
            None => write!(f, "as many for a user as his phone takes")?,
        }
        write!(f, "; emergency {}", self.emergency.join(", "))
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            calls_max,
            transactions_max,
            registrations_max,
        } = self;
        write!(
            f,
            "{calls_max} calls, {transactions_max} transactions, {registrations_max} registrations"
        )
    }
}

impl fmt::Display for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} as {} to ", self.level.as_str(), self.format.as_str())?;
        match &self.file {
            Some(file) => write!(f, "{}", file.display()),
            None => f.write_str("the standard error"),
        }
    }
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
