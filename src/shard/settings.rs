//! What an operator may choose of a worker, with the defaults of a fresh install.

use std::net::SocketAddr;
use std::time::Duration;

use crate::call;
use crate::location;
use crate::sip::flow::Transport;
use crate::transaction::timing::Timing;

/// The settings of one worker.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The addresses that we listen on.
    pub listeners: Vec<Listener>,
    /// Where everything goes that is not for our own users.
    pub upstream: Option<Upstream>,
    /// The domains that are ours, besides the names and addresses of the listeners; lower case.
    pub domains: Vec<String>,
    /// What our registrar grants.
    pub registrar: location::Policy,
    /// What calls may do.
    pub calls: Calls,
    /// How much we hold at once.
    pub limits: Limits,
    /// The times of transactions.
    pub timing: Timing,
    /// The times of calls.
    pub call_timing: call::Timing,
    /// When waiting in our queue has become too long.
    pub overload: Overload,
}

/// An address that we listen on, by UDP and TCP.
#[derive(Clone, Debug)]
pub struct Listener {
    /// The socket's address.
    pub bind: SocketAddr,
    /// What Via and Contact say instead: host, or host and port.
    pub advertise: Option<String>,
}

impl Listener {
    /// The host and port in our Via and Contact, as peers see them.
    pub fn sent_by(&self) -> String {
        match &self.advertise {
            Some(advertise) if has_port(advertise) => advertise.clone(),
            Some(advertise) => format!("{advertise}:{}", self.bind.port()),
            None => self.bind.to_string(),
        }
    }
}

/// A colon after the closing bracket, if there is one, and after any other host.
fn has_port(host: &str) -> bool {
    host.rsplit(']')
        .next()
        .is_some_and(|rest| rest.contains(':'))
}

/// The PBX behind us.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Upstream {
    /// UDP or TCP.
    pub transport: Transport,
    /// Where it listens.
    pub address: SocketAddr,
}

/// What calls may do.
#[derive(Clone, Debug)]
pub struct Calls {
    /// The most calls of one user, above which he is busy (R20); `None`: his phone decides.
    pub calls_max: Option<u32>,
    /// The numbers of emergency services, as dialled.
    pub emergency: Vec<String>,
}

impl Default for Calls {
    fn default() -> Self {
        Self {
            // R20: softphones have several lines and never say 486 themselves.
            calls_max: Some(1),
            emergency: Vec::new(),
        }
    }
}

/// How much one worker holds at once; what is above is refused.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most calls; at 4 KiB each, the default is 400 MB.
    pub calls_max: u32,
    /// The most transactions of each kind; two to three a call that is being set up.
    pub transactions_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            calls_max: 100_000,
            transactions_max: 1_000_000,
        }
    }
}

/// When we say that we are overloaded.
#[derive(Clone, Copy, Debug)]
pub struct Overload {
    /// How long a new request may have waited for us; well below T1, so that what is admitted is
    /// answered before it comes again.
    pub delay_max: Duration,
}

impl Default for Overload {
    fn default() -> Self {
        Self {
            delay_max: Duration::from_millis(50),
        }
    }
}
