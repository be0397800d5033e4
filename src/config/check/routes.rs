//! The route table: each route says where to, and names what is there.

use std::net::IpAddr;

use toml::Spanned;

use crate::config::error::{Error, Source};
use crate::config::raw::RawRoute;
use crate::config::value;
use crate::routing::table::{Destination, Network, OnBusy, Origin, Pattern, Refusal, Route};
use crate::shard::settings::{Peer, Settings};
use crate::sip::Method;

/// The most routes: a request is compared with each of them.
const ROUTES_MAX: usize = 256;
/// What stands for the phones of our users, in `to` and `from`.
const USERS: &str = "users";
const REGISTERED: &str = "registered";

/// The routes; the upstream and the peers by their names.
pub(super) fn routes(
    source: Source<'_>,
    written: &[Spanned<RawRoute>],
    upstream: Option<&Peer>,
    peers: &[Peer],
) -> Result<Vec<Route>, Error> {
    if let Some(surplus) = written.get(ROUTES_MAX) {
        let why = format!("more than {ROUTES_MAX} routes");
        return Err(source.error_of("route", &surplus.span(), why));
    }
    let names = Names { upstream, peers };
    let route = |written: &Spanned<RawRoute>| route(source, written, names);
    written.iter().map(route).collect()
}

/// The peers by name.
#[derive(Clone, Copy)]
struct Names<'p> {
    upstream: Option<&'p Peer>,
    peers: &'p [Peer],
}

impl Names<'_> {
    /// The index of a peer, as `PeerId` has it.
    fn find(self, name: &str) -> Option<u32> {
        let is_upstream = |it: &Peer| it.name == name || name == "upstream";
        if self.upstream.is_some_and(is_upstream) {
            return Some(Settings::UPSTREAM.0);
        }
        let at = self.peers.iter().position(|peer| peer.name == name)?;
        u32::try_from(at + 1).ok()
    }
}

fn route(
    source: Source<'_>,
    written: &Spanned<RawRoute>,
    names: Names<'_>,
) -> Result<Route, Error> {
    let raw = written.get_ref();
    let method = raw.method.as_ref();
    let method = method.map(|written| source.read(written, value_of_method));
    let from = raw.from.as_ref();
    let from = from.map(|written| source.read(written, |text| origin(text, names)));
    let user = raw.user.as_ref();
    let user = user.map(|written| source.read(written, pattern));
    Ok(Route {
        user: user.transpose()?,
        method: method.transpose()?,
        from: from.transpose()?,
        to: destination(source, written, names)?,
        on_busy: on_busy(source, raw.on_busy.as_ref())?,
    })
}

/// What becomes of a caller whose callee is busy.
pub(super) fn on_busy(
    source: Source<'_>,
    written: Option<&Spanned<String>>,
) -> Result<Option<OnBusy>, Error> {
    let read = |text: &str| match text {
        "ask" => Ok(OnBusy::Ask),
        "camp-on" => Ok(OnBusy::CampOn),
        "refuse" => Ok(OnBusy::Refuse),
        other => Err(format!(
            "\"{other}\" is none of \"ask\", \"camp-on\", \"refuse\""
        )),
    };
    written
        .map(|written| source.read(written, read))
        .transpose()
}

fn destination(
    source: Source<'_>,
    written: &Spanned<RawRoute>,
    names: Names<'_>,
) -> Result<Destination, Error> {
    let raw = written.get_ref();
    let changes = [
        raw.strip.as_ref().map(Spanned::span),
        raw.prefix.as_ref().map(Spanned::span),
    ];
    let is_to_peer = raw.to.as_ref().is_some_and(|to| to.get_ref() != USERS);
    if let Some(span) = changes.into_iter().flatten().next()
        && !is_to_peer
    {
        return Err(source.error(&span, "goes with `to` a peer"));
    }
    match (&raw.to, &raw.reject) {
        (None, None) => {
            let why = "is missing: write to = \"PEER\", to = \"users\" or reject = 403";
            Err(source.error_of("route.to", &written.span(), why))
        }
        (Some(_), Some(twice)) => {
            let why = "says otherwise than route.to: leave one out";
            Err(source.error(&twice.span(), why))
        }
        (None, Some(status)) => {
            let refusal = match status.get_ref() {
                403 => Refusal::Forbidden,
                404 => Refusal::NotFound,
                603 => Refusal::Declined,
                other => {
                    let why = format!("{other} is none of 403, 404, 603");
                    return Err(source.error(&status.span(), why));
                }
            };
            Ok(Destination::Refused(refusal))
        }
        (Some(to), None) if to.get_ref() == USERS => Ok(Destination::Users),
        (Some(to), None) => {
            let peer = source.read(to, |name| names.find(name).ok_or_else(|| no_peer(name)))?;
            let strip = raw.strip.as_ref().map_or(0, |strip| *strip.get_ref());
            let prefix = raw.prefix.as_ref();
            let prefix = prefix.map(|written| source.read(written, value::dialled));
            Ok(Destination::Peer {
                peer,
                strip: usize::try_from(strip).unwrap_or(usize::MAX),
                prefix: prefix.transpose()?.unwrap_or_default(),
            })
        }
    }
}

fn no_peer(name: &str) -> String {
    format!("`{name}` is no peer")
}

/// A user part with `*` and `?`; what cannot stand in one is no pattern.
fn pattern(text: &str) -> Result<Pattern, String> {
    if text.is_empty() || text.contains(|letter: char| letter.is_whitespace() || letter == '@') {
        return Err(format!("`{text}` is no user part, with * and ? in it"));
    }
    Ok(Pattern(text.to_owned()))
}

fn value_of_method(text: &str) -> Result<String, String> {
    match Method::parse(text.as_bytes()) {
        Some(Method::Other(_)) | None => Err(format!("`{text}` is no method")),
        Some(_) => Ok(text.to_owned()),
    }
}

/// `registered`, the name of a peer, `IP` or `IP/BITS`.
fn origin(text: &str, names: Names<'_>) -> Result<Origin, String> {
    if text == REGISTERED {
        return Ok(Origin::Registered);
    }
    if let Some(peer) = names.find(text) {
        return Ok(Origin::Peer(peer));
    }
    let (ip, bits) = match text.split_once('/') {
        Some((ip, bits)) => (ip, Some(bits)),
        None => (text, None),
    };
    let ip: IpAddr = ip
        .parse()
        .map_err(|_| format!("`{text}` is no peer, no network IP/BITS and not \"registered\""))?;
    let most = if ip.is_ipv4() { 32 } else { 128 };
    match bits.map_or(Ok(most), str::parse::<u8>) {
        Ok(bits) if bits <= most => Ok(Origin::Network(Network { ip, bits })),
        Ok(_) | Err(_) => Err(format!("`{text}` has more bits than an address")),
    }
}
