//! The upstream and the other peers: each at an address of its own, and none of them us.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use toml::Spanned;

use crate::cc::trust::Dials;
use crate::config::error::{Error, Source};
use crate::config::raw::{RawConfig, RawPeer};
use crate::config::value;
use crate::shard::settings::{Carries, Listener, Peer, PeerCompletion, Terms, Trust};
use crate::sip::flow::Transport;
use crate::sip::host::Host;
use crate::tls::Proof;

use super::argument;

/// The most peers: each new request is compared with all of them.
const PEERS_MAX: usize = 256;
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
            let (transport, address) = argument("--upstream", us.peer_address(text))?;
            if transport == Transport::Tls {
                let why = "who proves it by TLS is said in a file only: [upstream] tls_name";
                return argument("--upstream", Err(why.to_owned()));
            }
            Ok(Some(Peer::new(UPSTREAM, transport, address)))
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
        let ip = peer.address.ip();
        if let Some(twin) = others().find(|other| other.address.ip() == ip) {
            let twin = &twin.name;
            let why = format!("{ip} is `{twin}` already: a peer is known by its IP address");
            return Err(source.blame(written.get_ref().address.as_ref(), why));
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
    let Some(raw_address) = &raw.address else {
        let why = "is missing: write address = \"IP:PORT\"";
        return Err(source.error_of(&format!("{section}.address"), &written.span(), why));
    };
    let (transport, address) = source.read(raw_address, |text| us.peer_address(text))?;
    let domains = source.read_all(&raw.cc_domains, |text| us.domain_of_peer(text))?;
    let dials = [("original", Dials::Original), ("tokens", Dials::Tokens)];
    let completion = [
        ("agent", PeerCompletion::Agent),
        ("relay", PeerCompletion::Relay),
        ("off", PeerCompletion::Off),
    ];
    let proof = proof(source, written, section, transport)?;
    if proof.is_some()
        && !us
            .listeners
            .iter()
            .any(|it| speaks_tls_towards(it, address))
    {
        let why = "needs a [[listener]] with `tls` and an address of the same kind";
        return Err(source.error(&raw_address.span(), why));
    }
    let usual = Peer::new(name, transport, address);
    Ok(Peer {
        proof,
        terms: terms(source, raw)?,
        dials: source.word(raw.dials.as_ref(), usual.dials, &dials)?,
        completion: source.word(raw.completion.as_ref(), usual.completion, &completion)?,
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
        tcp: raw.tcp.as_ref().is_some_and(|tcp| *tcp.get_ref()),
    })
}

/// S-192: whom the certificate of a peer that we reach by TLS has to name.
fn proof(
    source: Source<'_>,
    written: &Spanned<RawPeer>,
    section: &str,
    transport: Transport,
) -> Result<Option<Arc<Proof>>, Error> {
    let raw = written.get_ref();
    let keys = [("tls_name", &raw.tls_name), ("tls_ca", &raw.tls_ca)];
    if transport != Transport::Tls {
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

fn speaks_tls_towards(listener: &Listener, peer: SocketAddr) -> bool {
    listener.carries == Carries::Tls && listener.bind.is_ipv4() == peer.is_ipv4()
}

impl Us<'_> {
    /// Where a peer listens: anywhere but where we do.
    fn peer_address(self, text: &str) -> Result<(Transport, SocketAddr), String> {
        let (transport, address) = value::peer_address(text)?;
        let is_ours = self.listeners.iter().any(|it| listens_at(it, address));
        differs(is_ours, || format!("{address} is a listener of ours"))?;
        Ok((transport, address))
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

fn differs(is_same: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if is_same { Err(why()) } else { Ok(()) }
}

fn listens_at(listener: &Listener, address: SocketAddr) -> bool {
    let is_any = listener.bind.ip().is_unspecified()
        && listener.bind.port() == address.port()
        && address.ip().is_loopback();
    is_any || listener.bind == address || listener.sent_by() == address.to_string()
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
