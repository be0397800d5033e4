//! The upstream and the other peers: each at an address of its own, and none of them us.

use std::net::{IpAddr, SocketAddr};

use toml::Spanned;

use crate::cc::trust::Dials;
use crate::config::Arguments;
use crate::config::error::{Error, Source};
use crate::config::raw::{RawConfig, RawPeer};
use crate::config::value;
use crate::shard::settings::{CcParams, Listener, Peer, PeerCompletion, RecallMethod};
use crate::sip::flow::{ListenerId, Transport};
use crate::sip::host::Host;

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

/// Whether the file says how callers are connected with callees behind the upstream.
pub(super) fn names_methods(raw: &RawConfig, arguments: &Arguments) -> bool {
    let written = raw.upstream.as_ref().map(Spanned::get_ref);
    arguments.upstream.is_none() && written.is_some_and(|written| written.recall.is_some())
}

/// R4: the address that the PBX trusts as ours, which is none that anything is relayed from.
pub(super) fn own_calls(
    source: Source<'_>,
    written: &Spanned<String>,
    listeners: &mut Vec<Listener>,
) -> Result<ListenerId, Error> {
    source.read(written, |text| {
        let address = value::listen_address(text)?;
        if address.ip().is_unspecified() {
            return Err(format!(
                "{address} is a wildcard: the PBX has to know one address"
            ));
        }
        let is_shared = |listener: &Listener| {
            let bind = listener.bind;
            let is_any = bind.ip().is_unspecified() && bind.is_ipv4() == address.is_ipv4();
            bind == address || (is_any && bind.port() == address.port())
        };
        if listeners.iter().any(is_shared) {
            return Err(format!(
                "{address} is a listener's, from which calls are relayed"
            ));
        }
        let id = u8::try_from(listeners.len()).map_err(|_| "one listener too many".to_owned())?;
        listeners.push(Listener {
            bind: address,
            advertise: None,
        });
        Ok(ListenerId(id))
    })
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
    let Some(address) = &raw.address else {
        let why = "is missing: write address = \"IP:PORT\"";
        return Err(source.error_of(&format!("{section}.address"), &written.span(), why));
    };
    let (transport, address) = source.read(address, |text| us.peer_address(text))?;
    let domains = source.read_all(&raw.cc_domains, |text| us.domain_of_peer(text))?;
    let dials = [("original", Dials::Original), ("tokens", Dials::Tokens)];
    let completion = [
        ("agent", PeerCompletion::Agent),
        ("relay", PeerCompletion::Relay),
        ("off", PeerCompletion::Off),
    ];
    let usual = Peer::new(name, transport, address);
    Ok(Peer {
        dials: source.word(raw.dials.as_ref(), usual.dials, &dials)?,
        completion: source.word(raw.completion.as_ref(), usual.completion, &completion)?,
        recall: source.methods(raw.recall.as_ref(), &usual.recall)?,
        cc_params: match raw.cc_params.as_ref().map(Spanned::get_ref) {
            Some(false) => CcParams::LeftOut,
            Some(true) | None => CcParams::Added,
        },
        ..usual.with_domains(domains)
    })
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
