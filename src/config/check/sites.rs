//! The sites of a file: each what a file without any is as a whole, and none in the way of another.

use std::net::SocketAddr;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::error::{Error, Source};
use crate::config::raw::RawConfig;
use crate::config::{Arguments, Config};

use super::check;

/// The most sites: each takes a few threads.
const SITES_MAX: usize = 64;
/// What the process has once, whatever its sites.
const OF_PROCESS: [&str; 3] = ["api", "log", "resolver"];

/// A site as it is written, and what it means.
type Checked<'r> = (&'r RawConfig, Config);

/// Each site, in the order of the file; there is one at least.
pub(super) fn sites(
    source: Source<'_>,
    raw: &RawConfig,
    arguments: &Arguments,
) -> Result<Vec<Config>, Error> {
    check_places(source)?;
    if let Some(surplus) = raw.site.get(SITES_MAX) {
        let why = format!("more than {SITES_MAX} sites");
        return Err(source.error_of("site", &surplus.span(), why));
    }
    let first = raw.site.first().map(Spanned::span).unwrap_or_default();
    if !arguments.listen.is_empty() || arguments.upstream.is_some() {
        let why = "--listen and --upstream are for a file without sites";
        return Err(source.error_of("site", &first, why));
    }
    let mut checked: Vec<Checked<'_>> = Vec::new();
    for site in &raw.site {
        let (span, site) = (site.span(), site.get_ref());
        let Some(written) = &site.name else {
            let why = "is missing: write name = \"…\", for the log and the API";
            return Err(source.error_of("site.name", &span, why));
        };
        let name = source.read(written, name)?;
        if site.listener.is_empty() {
            let why = "is missing: each site has listeners of its own";
            return Err(source.error_of("site.listener", &span, why));
        }
        let mut config = check(source, (raw, site), arguments)?;
        config.site = Some(name);
        if let Some((_, first)) = checked.first() {
            config.api = first.api;
        }
        for other in &checked {
            differ(source, (site, &config), other)?;
        }
        if let Some(taken) = listener_at(&config, |bind| bind == config.api) {
            let why = format!("{} is where the API listens", config.api);
            return Err(source.error(&span_of_listener(site, taken), why));
        }
        checked.push((site, config));
    }
    let is_site = |name: &str| {
        checked
            .iter()
            .any(|(_, it)| it.site.as_deref() == Some(name))
    };
    check_tokens(source, raw, is_site)?;
    Ok(checked.into_iter().map(|(_, config)| config).collect())
}

/// A file of one site has no name for it.
pub(super) fn only_site(source: Source<'_>, raw: &RawConfig) -> Result<(), Error> {
    match &raw.name {
        Some(name) => Err(source.error(&name.span(), "goes into a [[site]]")),
        None => check_tokens(source, raw, |_| false),
    }
}

/// A token may be for one site alone.
fn check_tokens(
    source: Source<'_>,
    raw: &RawConfig,
    is_site: impl Fn(&str) -> bool,
) -> Result<(), Error> {
    let tokens = raw.api.token.iter();
    let mut named = tokens.filter_map(|token| token.get_ref().site.as_ref());
    match named.find(|name| !is_site(name.get_ref())) {
        Some(unknown) => {
            let why = format!("`{}` is no [[site]]", unknown.get_ref());
            Err(source.error(&unknown.span(), why))
        }
        None => Ok(()),
    }
}

/// What stands in paths and labels as it is.
fn name(text: &str) -> Result<Box<str>, String> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !text.is_empty() && text.bytes().all(is_plain) {
        Ok(text.into())
    } else {
        Err(format!("`{text}` is not made of a-z, 0-9 and -"))
    }
}

/// What is the process's stands outside of the sites, and all else inside.
fn check_places(source: Source<'_>) -> Result<(), Error> {
    let (root, _) = DeTable::parse_recoverable(source.text);
    let mut wrong: Vec<(Range<usize>, &str)> = Vec::new();
    for (key, value) in root.get_ref() {
        if key.get_ref() == "site" {
            let inside = keys_of_sites(value.get_ref());
            wrong.extend(inside.map(|span| (span, "is the process's: write it before all sites")));
        } else if !OF_PROCESS.contains(&key.get_ref().as_ref()) {
            wrong.push((key.span(), "goes into a [[site]], as there are some"));
        }
    }
    match wrong.into_iter().min_by_key(|(span, _)| span.start) {
        Some((span, why)) => Err(source.error(&span, why)),
        None => Ok(()),
    }
}

/// The places of the process's keys in sites.
fn keys_of_sites(sites: &DeValue<'_>) -> impl Iterator<Item = Range<usize>> {
    let sites = sites.as_array().into_iter().flat_map(|sites| sites.iter());
    let tables = sites.filter_map(|site| site.get_ref().as_table());
    let keys = tables.flat_map(|table| table.keys());
    let of_process = keys.filter(|key| OF_PROCESS.contains(&key.get_ref().as_ref()));
    of_process.map(Spanned::span)
}

/// Two sites share neither a name, nor a socket, nor a file.
fn differ(
    source: Source<'_>,
    (raw, config): (&RawConfig, &Config),
    (_, other): &Checked<'_>,
) -> Result<(), Error> {
    let theirs = other.site.as_deref().unwrap_or_default();
    let clash = |span: Range<usize>, what: &str| {
        Err(source.error(&span, format!("is {what} of site `{theirs}`")))
    };
    let span =
        |written: &Option<Spanned<String>>| written.as_ref().map(Spanned::span).unwrap_or_default();
    if config.site == other.site {
        return clash(span(&raw.name), "the name");
    }
    let is_theirs = |bind: SocketAddr| {
        let mut listeners = other.shard.listeners.iter();
        listeners.any(|it| overlaps(it.bind, bind))
    };
    if let Some(taken) = listener_at(config, is_theirs) {
        return clash(span_of_listener(raw, taken), "a listener");
    }
    if config.store.is_some() && config.store == other.store {
        return clash(span(&raw.store.path), "the store");
    }
    if config.records.is_some() && config.records == other.records {
        return clash(span(&raw.records.file), "the file of records");
    }
    let sounds = [config, other].map(|it| it.media.as_ref().map(|media| &media.sound));
    if let [Some(ours), Some(theirs)] = sounds
        && ours.address == theirs.address
        && ours.ports.start() <= theirs.ports.end()
        && theirs.ports.start() <= ours.ports.end()
    {
        return clash(span(&raw.media.ports), "a port");
    }
    Ok(())
}

/// The place of the first listener of which this holds.
fn listener_at(config: &Config, holds: impl Fn(SocketAddr) -> bool) -> Option<usize> {
    let mut listeners = config.shard.listeners.iter();
    listeners.position(|it| holds(it.bind))
}

/// Where it is written; behind the listeners comes that of our own calls.
fn span_of_listener(raw: &RawConfig, place: usize) -> Range<usize> {
    let written = match raw.listener.get(place) {
        Some(listener) => listener.get_ref().address.as_ref(),
        None => raw.own_calls.listen.as_ref(),
    };
    written.map(Spanned::span).unwrap_or_default()
}

/// Whether both cannot be bound.
fn overlaps(one: SocketAddr, other: SocketAddr) -> bool {
    let is_any = one.ip().is_unspecified() || other.ip().is_unspecified();
    let is_same = one.ip() == other.ip() || (is_any && one.is_ipv4() == other.is_ipv4());
    one.port() == other.port() && is_same
}
