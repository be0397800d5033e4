//! The one place that knows how a worker is built and read: the kit's side of `Shard`.

use std::net::SocketAddr;

use campon::random::Rng;
use campon::shard::{Listener, Report, Settings, Shard};

/// Where campon listens, and the host of its users.
pub(crate) const DOMAIN: &str = "192.0.2.1";

/// The same on IPv6.
pub(crate) const DOMAIN_V6: &str = "[2001:db8::1]";

/// Where the upstream is, where there is one.
pub(crate) const UPSTREAM: &str = "192.0.2.200:5060";

/// How a world's campon is set up.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Setup {
    /// Its own registrar, and one call a user.
    #[default]
    Standalone,
    /// Standalone without a limit of calls.
    Unlimited,
    /// What is for nobody registered goes to [`UPSTREAM`].
    Upstream,
}

/// Campon's addresses, in the order of their `ListenerId`.
pub(crate) fn listeners() -> [SocketAddr; 2] {
    [DOMAIN, DOMAIN_V6].map(|host| format!("{host}:5060").parse().expect("an address"))
}

/// A worker of this setup.
pub(crate) fn shard(setup: Setup, seed: u64) -> Shard {
    let listeners = listeners().map(|bind| Listener { bind });
    let settings = Settings {
        listeners: listeners.to_vec(),
        upstream: matches!(setup, Setup::Upstream).then(|| format!("sip:{UPSTREAM}")),
        calls_max: matches!(setup, Setup::Standalone).then_some(1),
    };
    Shard::new(settings, Rng::from_number(seed))
}

/// The tables that hold something, with how many; bindings and users apart, which live longer.
pub(crate) fn held_by_calls(report: &Report) -> Vec<(&'static str, usize)> {
    let held = held(report).into_iter();
    held.filter(|(table, _)| !["bindings", "users"].contains(table))
        .collect()
}

/// The tables that hold something, with how many.
pub(crate) fn held(report: &Report) -> Vec<(&'static str, usize)> {
    let tables = report.tables.iter().copied();
    tables.filter(|(_, len)| *len > 0).collect()
}
