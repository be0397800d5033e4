//! The upstream and the other peers: each at an address of its own, and none of them us.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use toml::{Spanned, Value};

use crate::cc::trust::Dials;
use crate::config::Arguments;
use crate::config::error::{Error, Source};
use crate::config::raw::{RawConfig, RawPeer};
use crate::config::value;
use crate::routing::health::Pings;
use crate::routing::{Place, Policy};
use crate::shard::settings::{
    Carries, CcParams, Listener, Peer, PeerCompletion, RecallMethod, Redirect, Tcp, Terms, Trust,
};
use crate::sip::flow::Transport;
use crate::sip::host::Host;
use crate::tls::Proof;

use super::argument;

/// The most peers: each new request is compared with all of them.
const PEERS_MAX: usize = 256;
/// The most addresses of one peer: a request tries four of them.
const PLACES_MAX: usize = 16;
/// What the upstream is called unless it has a name.
const UPSTREAM: &str = "upstream";

/// What peers must differ from.
#[derive(Clone, Copy)]
pub(super) struct Us<'s> {
    pub(super) listeners: &'s [Listener],
    pub(super) domains: &'s [String],
}

/// The upstream; an argument takes the place of all that the file says of it.
pub(super) fn upstream(
    source: Source<'_>,
    raw: &RawConfig,
    asked: Option<&String>,
    listeners: &[Listener],
) -> Result<Option<Peer>, Error> {
    // The phones keep the domain of their PBX: it may be ours and the upstream's.
    let us = Us {
        listeners,
        domains: &[],
    };
    match (asked, &raw.upstream) {
        (Some(text), _) => {
            let place = argument("--upstream", us.place_of_peer(text))?;
            if place.transport() == Transport::Tls {
                let why = "who proves it by TLS is said in a file only: [upstream] tls_name";
                return argument("--upstream", Err(why.to_owned()));
            }
            Ok(Some(Peer::of_places(UPSTREAM, vec![place])))
        }
        (None, Some(written)) => {
            let name = match &written.get_ref().name {
                Some(name) => source.read(name, value::name)?,
                None => UPSTREAM.to_owned(),
            };
            peer(source, written, (UPSTREAM, name), us).map(Some)
        }
        (None, None) => Ok(None),
    }
}

/// R10: callers are connected with callees behind the PBX with the credentials of the phone itself, or
/// from an address that the PBX trusts, unless the file says how.
pub(super) fn recall_by_phone(upstream: &mut Peer, raw: &RawConfig, arguments: &Arguments) {
    let written = raw.upstream.as_ref().map(Spanned::get_ref);
    let says = arguments.upstream.is_none() && written.is_some_and(|it| it.recall.is_some());
    if !says {
        upstream.recall = vec![RecallMethod::Refer, RecallMethod::ThirdParty];
    }
}

/// The peers beside the upstream.
pub(super) fn others(
    source: Source<'_>,
    written: &[Spanned<RawPeer>],
    upstream: Option<&Peer>,
    us: Us<'_>,
) -> Result<Vec<Peer>, Error> {
    let mut peers: Vec<Peer> = Vec::new();
    for written in written {
        let Some(name) = &written.get_ref().name else {
            let why = "is missing: write name = \"…\", for the log";
            return Err(source.error_of("peer.name", &written.span(), why));
        };
        let others = || upstream.into_iter().chain(&peers);
        let name = source.read(name, |text| {
            let name = value::name(text)?;
            let is_taken = name == UPSTREAM || others().any(|other| other.name == name);
            differs(is_taken, || format!("`{name}` is the name of another peer"))?;
            Ok(name)
        })?;
        let peer = peer(source, written, ("peer", name), us)?;
        for (place, address) in peer.places.iter().zip(addresses_of(written.get_ref())) {
            let is_there = |other: &&Peer| other.places.iter().any(|it| it.spot == place.spot);
            if let Some(twin) = others().find(is_there) {
                let (spot, twin) = (&place.spot, &twin.name);
                let why = format!("{spot} is `{twin}` already: a peer is known by its IP address");
                return Err(source.error(&address.span(), why));
            }
        }
        if peers.len() >= PEERS_MAX {
            let why = format!("more than {PEERS_MAX} peers");
            return Err(source.error(&written.span(), why));
        }
        peers.push(peer);
    }
    Ok(peers)
}

fn peer(
    source: Source<'_>,
    written: &Spanned<RawPeer>,
    (section, name): (&str, String),
    us: Us<'_>,
) -> Result<Peer, Error> {
    let raw = written.get_ref();
    let mut places: Vec<Place> = Vec::new();
    for written in addresses_of(raw) {
        let place = source.read(written, |text| {
            let place = us.place_of_peer(text)?;
            let is_twice = places.contains(&place);
            differs(is_twice, || format!("`{text}` is there twice"))?;
            let is_too_many = places.len() >= PLACES_MAX;
            differs(is_too_many, || format!("more than {PLACES_MAX} addresses"))?;
            Ok(place)
        })?;
        places.push(place);
    }
    if places.is_empty() {
        let why = "is missing: write address = \"IP:PORT\"";
        return Err(source.error_of(&format!("{section}.address"), &written.span(), why));
    }
    if let (Some(_), Some(twice)) = (&raw.address, raw.addresses.first()) {
        let why = "says the same as address: leave one out";
        return Err(source.error(&twice.span(), why));
    }
    let domains = source.read_all(&raw.cc_domains, |text| us.domain_of_peer(text))?;
    let dials = [("original", Dials::Original), ("tokens", Dials::Tokens)];
    let completion = [
        ("agent", PeerCompletion::Agent),
        ("relay", PeerCompletion::Relay),
        ("off", PeerCompletion::Off),
    ];
    let redirect = [("follow", Redirect::Follow), ("relay", Redirect::Relay)];
    let proof = proof(source, written, section, &places)?;
    for (place, written) in places.iter().zip(addresses_of(raw)) {
        if place.transport() == Transport::Tls && !us.speaks_tls_towards(place) {
            let why = "needs a [[listener]] with `tls` and an address of the same kind";
            return Err(source.error(&written.span(), why));
        }
    }
    let usual = Peer::of_places(name, places);
    Ok(Peer {
        proof,
        terms: terms(source, raw)?,
        policy: policy(source, raw)?,
        dials: source.word(raw.dials.as_ref(), usual.dials, &dials)?,
        completion: source.word(raw.completion.as_ref(), usual.completion, &completion)?,
        recall: source.methods(raw.recall.as_ref(), &usual.recall)?,
        dialog_events: raw.dialog_events.as_ref().is_some_and(|it| *it.get_ref()),
        cc_params: match raw.cc_params.as_ref().map(Spanned::get_ref) {
            Some(false) => CcParams::LeftOut,
            Some(true) | None => CcParams::Added,
        },
        redirect: source.word(raw.redirect.as_ref(), usual.redirect, &redirect)?,
        ..usual.with_domains(domains)
    })
}

fn terms(source: Source<'_>, raw: &RawPeer) -> Result<Terms, Error> {
    let trust = [("keep", Trust::Keep), ("strip", Trust::Strip)];
    let some = |written: &Option<Spanned<u32>>| {
        let written = written.as_ref();
        written.map(|_| source.at_least_one(written, 1)).transpose()
    };
    Ok(Terms {
        trust: source.word(raw.trust.as_ref(), Trust::default(), &trust)?,
        methods: source.read_all(&raw.methods, value::method)?,
        calls_max: some(&raw.calls_max)?,
        rate_max: some(&raw.rate_max)?,
        networks: source.read_all(&raw.networks, value::network)?,
        tcp: match raw.tcp.as_ref().map(|tcp| (tcp.span(), tcp.get_ref())) {
            None | Some((_, Value::Boolean(false))) => Tcp::No,
            Some((_, Value::Boolean(true))) => Tcp::Yes,
            Some((_, Value::String(ask))) if ask == "ask" => Tcp::Ask,
            Some((span, _)) => {
                return Err(source.error(&span, "is none of true, false, \"ask\""));
            }
        },
    })
}

/// `address`, or each of `addresses`.
fn addresses_of(raw: &RawPeer) -> impl Iterator<Item = &Spanned<String>> {
    raw.address.iter().chain(&raw.addresses)
}

/// When a server of a peer counts as down.
fn policy(source: Source<'_>, raw: &RawPeer) -> Result<Policy, Error> {
    let usual = Policy::default();
    let pings = match &raw.ping {
        None => usual.pings,
        Some(off) if off.get_ref() == "off" => Pings::Off,
        Some(every) => Pings::Every(source.read(every, some_time)?),
    };
    let time = |written: &Option<Spanned<String>>, usual| match written {
        Some(written) => source.read(written, some_time),
        None => Ok(usual),
    };
    let policy = Policy {
        patience: time(&raw.attempt, usual.patience)?,
        down_for: time(&raw.down_for, usual.down_for)?,
        pings,
        ping_max: time(&raw.ping_max, usual.ping_max)?,
        down_after: source.at_least_one(raw.down_after.as_ref(), usual.down_after)?,
        up_after: source.at_least_one(raw.up_after.as_ref(), usual.up_after)?,
    };
    match policy.pings {
        Pings::Every(every) | Pings::WithChoice(every) if every < policy.ping_max => {
            let why = format!(
                "{} is longer than from one ping to the next, {}",
                value::spelled(policy.ping_max),
                value::spelled(every)
            );
            Err(source.blame(raw.ping_max.as_ref().or(raw.ping.as_ref()), why))
        }
        Pings::Every(_) | Pings::WithChoice(_) | Pings::Off => Ok(policy),
    }
}

fn some_time(text: &str) -> Result<Duration, String> {
    let time = value::duration(text)?;
    differs(time.is_zero(), || "must not be 0".to_owned())?;
    Ok(time)
}

/// S-192: whom the certificate of a peer that we reach by TLS has to name.
fn proof(
    source: Source<'_>,
    written: &Spanned<RawPeer>,
    section: &str,
    places: &[Place],
) -> Result<Option<Arc<Proof>>, Error> {
    let raw = written.get_ref();
    let keys = [("tls_name", &raw.tls_name), ("tls_ca", &raw.tls_ca)];
    if places
        .iter()
        .all(|place| place.transport() != Transport::Tls)
    {
        let unused = keys.iter().find_map(|(_, written)| written.as_ref());
        return match unused {
            Some(unused) => {
                let why = "goes with an address that ends in ;transport=tls";
                Err(source.error(&unused.span(), why))
            }
            None => Ok(None),
        };
    }
    for (key, missing) in keys {
        if missing.is_none() {
            let key = format!("{section}.{key}");
            let why = "is missing: ;transport=tls needs tls_name and tls_ca";
            return Err(source.error_of(&key, &written.span(), why));
        }
    }
    let (Some(name), Some(ca)) = (&raw.tls_name, &raw.tls_ca) else {
        return Ok(None);
    };
    let proof = Proof {
        name: source.read(name, value::certified_name)?.into(),
        authorities: ca.get_ref().into(),
    };
    proof
        .check()
        .map_err(|error| source.error(&ca.span(), error.why))?;
    Ok(Some(Arc::new(proof)))
}

impl Us<'_> {
    /// Where a peer listens: anywhere but where we do.
    fn place_of_peer(self, text: &str) -> Result<Place, String> {
        let place = value::place(text)?;
        let is_ours = match place.fixed() {
            Some((_, address)) => self.listeners.iter().any(|it| listens_at(it, address)),
            None => self.listeners.iter().any(|it| is_called(it, &place)),
        };
        differs(is_ours, || {
            format!("{} is a listener of ours", place.host_port())
        })?;
        Ok(place)
    }

    /// Whether a listener of ours speaks TLS from an address of the same kind.
    fn speaks_tls_towards(self, place: &Place) -> bool {
        let is_alike = |listener: &Listener| match place.fixed() {
            Some((_, address)) => listener.bind.is_ipv4() == address.is_ipv4(),
            None => true,
        };
        let mut listeners = self.listeners.iter();
        listeners.any(|it| it.carries == Carries::Tls && is_alike(it))
    }

    /// A domain that a peer speaks for: none whose URIs mean us.
    fn domain_of_peer(self, text: &str) -> Result<String, String> {
        let domain = value::host_name(text)?;
        let listeners = self.listeners.iter().flat_map(hosts);
        let is_ours = listeners
            .chain(self.domains.iter().cloned())
            .any(|ours| is_same_host(&ours, &domain));
        differs(is_ours, || format!("`{domain}` is ours"))?;
        Ok(domain)
    }
}

impl Source<'_> {
    /// The methods of a recall, in the order in which they are tried.
    pub(super) fn methods(
        self,
        written: Option<&Spanned<Vec<Spanned<String>>>>,
        usual: &[RecallMethod],
    ) -> Result<Vec<RecallMethod>, Error> {
        let Some(written) = written else {
            return Ok(usual.to_vec());
        };
        let words = [
            ("direct", RecallMethod::Direct),
            ("refer", RecallMethod::Refer),
            ("3pcc", RecallMethod::ThirdParty),
        ];
        let mut methods = Vec::new();
        for word in written.get_ref() {
            let method = self.word(Some(word), RecallMethod::Refer, &words)?;
            if methods.contains(&method) {
                let why = format!("`{}` is there twice", word.get_ref());
                return Err(self.error(&word.span(), why));
            }
            methods.push(method);
        }
        if methods.is_empty() {
            return Err(self.error(&written.span(), "names no method"));
        }
        Ok(methods)
    }
}

fn differs(is_same: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if is_same { Err(why()) } else { Ok(()) }
}

fn listens_at(listener: &Listener, address: SocketAddr) -> bool {
    let is_any = listener.bind.ip().is_unspecified()
        && listener.bind.port() == address.port()
        && address.ip().is_loopback();
    is_any || listener.bind == address || listener.sent_by() == address.to_string()
}

/// Whether a listener is advertised as this name and port; a name without one may be any port's.
fn is_called(listener: &Listener, place: &Place) -> bool {
    let sent_by = listener.sent_by();
    let port = place.port();
    sent_by == format!("{}:{port}", place.spot)
}

/// The hosts by which peers reach a listener.
fn hosts(listener: &Listener) -> impl Iterator<Item = String> {
    let sent_by = listener.sent_by();
    let advertised = sent_by.rsplit_once(':').map(|(host, _)| host.to_owned());
    let bound = match listener.bind.ip() {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    [Some(bound), advertised].into_iter().flatten()
}

fn is_same_host(one: &str, other: &str) -> bool {
    let parse = |text: &str| Host::parse(text.as_bytes()).map(|host| host.to_string());
    one == other || parse(one).is_ok_and(|one| parse(other).is_ok_and(|other| one == other))
}
