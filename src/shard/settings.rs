//! What an operator may choose of a worker, with the defaults of a fresh install.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::call;
use crate::cc::trust::{self, Dials, PeerId};
use crate::completion;
use crate::completion::Mode;
use crate::location::{self, Aor, Domains};
use crate::media::digit::Digit;
use crate::media::prompts::Voice;
use crate::routing::table::{OnBusy, Route};
use crate::routing::{Place, Policy, Spot};
use crate::shard::intrusion::Intrusion;
pub use crate::shard::manners::{Overload, Redirect, Tcp};
use crate::shard::relays;
pub use crate::shard::sound::Sound;
use crate::sip::flow::{ListenerId, Transport};
use crate::tls::Proof;
use crate::transaction::login::Login;
use crate::transaction::timing::Timing;

/// The settings of one worker.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The addresses that we listen on.
    pub listeners: Vec<Listener>,
    /// The PBX behind us: where everything goes that is not for our own users.
    pub upstream: Option<Peer>,
    /// What stands between phones and the PBX, if the PBX is their registrar (R1); `None`: we are.
    pub edge: Option<Edge>,
    /// R11: whether we stand between peers, and have no users at all.
    pub is_trunk: bool,
    /// Where our own calls through the upstream leave from, which trusts that address (R4); one of
    /// the listeners, and nothing that is relayed goes there. `None`: from where all else does.
    pub own_calls: Option<ListenerId>,
    /// Who we are for the upstream where it asks our own requests for credentials (R4); nothing that
    /// is relayed has them.
    pub own_login: Option<Arc<Login>>,
    /// The time of the calendar at [`crate::time::Timestamp::START`].
    pub started: completion::WallTime,
    /// The other parties that are known by their address.
    pub peers: Vec<Peer>,
    /// Which peer a request is for, the first that fits; what fits none goes as without a table.
    pub routes: Vec<Route>,
    /// What we call ourselves in the Server field of responses; `None`: nothing.
    pub server: Option<Box<str>>,
    /// The domains that are ours, besides the names and addresses of the listeners; lower case.
    pub domains: Vec<String>,
    /// What our registrar grants.
    pub registrar: location::Policy,
    /// Who may register; `None`: anybody.
    pub access: Option<location::Access>,
    /// What calls may do.
    pub calls: Calls,
    /// What becomes of calls that fail.
    pub completion: Completion,
    /// How much we hold at once.
    pub limits: Limits,
    /// What those may do who are no peers.
    pub strangers: Strangers,
    /// The times of transactions.
    pub timing: Timing,
    /// The times of calls.
    pub call_timing: call::Timing,
    /// What we ask of the two sides of a call.
    pub call_policy: call::Policy,
    /// When waiting in our queue has become too long.
    pub overload: Overload,
    /// Whether there are to be records of calls and completions.
    pub records: bool,
    /// Where we can be heard; `None`: nothing is played.
    pub sound: Option<Sound>,
    /// What is said and played.
    pub voice: Option<Voice>,
}

/// What a caller is asked who hears busy (R16).
#[derive(Clone, Debug)]
pub struct Prompt {
    /// Which digit asks for what, in the order in which they are said.
    pub digits: Vec<(Digit, Mode)>,
    /// How long a digit is waited for.
    pub lasts: Duration,
}

impl Default for Prompt {
    fn default() -> Self {
        Self {
            digits: Vec::new(),
            lasts: Duration::from_secs(20),
        }
    }
}

impl Settings {
    /// The upstream's place among the peers, taken or not.
    pub const UPSTREAM: PeerId = PeerId(0);

    /// The upstream and the other peers.
    pub fn peers(&self) -> impl Iterator<Item = (PeerId, &Peer)> {
        let upstream = self.upstream.iter().map(|peer| (Self::UPSTREAM, peer));
        let others = (Self::UPSTREAM.0 + 1..).map(PeerId).zip(&self.peers);
        upstream.chain(others)
    }

    /// The peer from one of whose networks this address is.
    pub fn peer_near(&self, source: IpAddr) -> Option<(PeerId, &Peer)> {
        let is_near = |peer: &Peer| peer.terms.networks.iter().any(|it| it.contains(&source));
        self.peers().find(|(_, peer)| is_near(peer))
    }

    /// Our account at a peer.
    pub fn login_at(&self, peer: PeerId) -> Option<Arc<Login>> {
        let login = self.own_login.as_ref();
        login.filter(|_| peer == Self::UPSTREAM).cloned()
    }

    /// The peer of this name.
    pub fn peer(&self, id: PeerId) -> Option<&Peer> {
        self.peers()
            .find(|(its, _)| *its == id)
            .map(|(_, peer)| peer)
    }
}

/// An address that we listen on.
#[derive(Clone, Debug)]
pub struct Listener {
    /// The socket's address.
    pub bind: SocketAddr,
    /// What Via and Contact say instead: host, or host and port.
    pub advertise: Option<String>,
    /// What is spoken there.
    pub carries: Carries,
    /// R13: whom it faces before all others; none: whoever comes.
    pub serves: Vec<IpNet>,
}

/// The transports of a listener.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Carries {
    /// UDP and TCP.
    Plain,
    /// TLS alone.
    Tls,
}

impl Carries {
    /// Whether a message may leave from there by this transport.
    pub fn has(self, transport: Transport) -> bool {
        match self {
            Self::Plain => transport != Transport::Tls,
            Self::Tls => transport == Transport::Tls,
        }
    }
}

impl Listener {
    /// A listener for UDP and TCP that peers reach by its address.
    pub fn at(bind: SocketAddr) -> Self {
        Self {
            bind,
            advertise: None,
            carries: Carries::Plain,
            serves: Vec::new(),
        }
    }

    /// Whether a message to this address may leave from there by this transport.
    pub fn faces(&self, transport: Transport, to: IpAddr) -> bool {
        self.carries.has(transport) && self.bind.is_ipv4() == to.is_ipv4()
    }

    /// The host and port in our Via and Contact, as peers see them.
    pub fn sent_by(&self) -> String {
        match &self.advertise {
            Some(advertise) if has_port(advertise) => advertise.clone(),
            Some(advertise) => format!("{advertise}:{}", self.bind.port()),
            None => self.bind.to_string(),
        }
    }

    /// The host in them, if it is not the socket's address.
    fn advertised_host(&self) -> Option<&str> {
        let advertise = self.advertise.as_deref()?;
        let host = match advertise.rsplit_once(':') {
            Some((host, _)) if has_port(advertise) => host,
            Some(_) | None => advertise,
        };
        Some(host.trim_start_matches('[').trim_end_matches(']'))
    }
}

impl Settings {
    /// The hosts whose URIs mean us: those of the listeners, to us and to peers, and the domains.
    pub(super) fn own_domains(&self) -> Domains {
        let listeners = self.listeners.iter();
        let advertised = listeners.clone().filter_map(Listener::advertised_host);
        let names = self.domains.iter().map(String::as_str).chain(advertised);
        Domains::new(listeners.map(|listener| listener.bind.ip()), names)
    }
}

/// A colon after the closing bracket, if there is one, and after any other host.
fn has_port(host: &str) -> bool {
    host.rsplit(']')
        .next()
        .is_some_and(|rest| rest.contains(':'))
}

/// A party that is known by its addresses: the PBX behind us, or another one beside it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Peer {
    /// What the operator calls it.
    pub name: String,
    /// Where it listens, the first choice first; what comes from an IP address of these, whatever
    /// the port, is its own.
    pub places: Vec<Place>,
    /// How it proves itself; always there if a place of it is reached by TLS.
    pub proof: Option<Arc<Proof>>,
    /// When a server of it counts as down.
    pub policy: Policy,
    /// R7: the hosts that its URIs may name: its places, then its domains; lower case.
    pub hosts: Arc<[Box<str>]>,
    /// What it may have dialled when a call is completed through it.
    pub dials: Dials,
    /// What it may do, and what it learns.
    pub terms: Terms,
    /// What becomes of the completion that it offers.
    pub completion: PeerCompletion,
    /// R2: whether it tells of the dialogs of those behind it (RFC 4235).
    pub dialog_events: bool,
    /// How a caller who was called back is connected with somebody behind it, in this order (R10).
    pub recall: Vec<RecallMethod>,
    /// Whether what is dialled there to complete a call carries `m` and `cce` (CC-23).
    pub cc_params: CcParams,
    /// What becomes of its redirections (S-32).
    pub redirect: Redirect,
}

/// How a caller who has answered his recall is connected with his callee.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RecallMethod {
    /// The callee's phones are rung over their registered flows, without the PBX.
    Direct,
    /// The caller's phone is asked to dial him itself (RFC 3515).
    Refer,
    /// We call him through the PBX or peer (RFC 3725, flow IV).
    ThirdParty,
}

/// Whether a number that is dialled anew says that it completes a call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CcParams {
    /// By the parameters `m` and `cce` of its URI.
    Added,
    /// It does not: the peer refuses URIs with parameters that it does not know.
    LeftOut,
}

impl Peer {
    /// A peer that speaks for its address alone, with the defaults of a fresh install.
    pub fn new(name: impl Into<String>, transport: Transport, address: SocketAddr) -> Self {
        Self::of_places(name, vec![Place::at(transport, address)])
    }

    /// The same with several places.
    pub fn of_places(name: impl Into<String>, places: Vec<Place>) -> Self {
        let mut peer = Self {
            name: name.into(),
            places,
            proof: None,
            policy: Policy::default(),
            hosts: Arc::new([]),
            dials: Dials::Original,
            terms: Terms::default(),
            completion: PeerCompletion::Agent,
            dialog_events: false,
            recall: vec![RecallMethod::ThirdParty],
            cc_params: CcParams::Added,
            redirect: Redirect::default(),
        };
        peer.hosts = peer.own_hosts().collect();
        peer
    }

    /// The same peer, which speaks for these domains as well.
    #[must_use]
    pub fn with_domains(mut self, domains: impl IntoIterator<Item = String>) -> Self {
        let domains = domains.into_iter().map(String::into_boxed_str);
        self.hosts = self.own_hosts().chain(domains).collect();
        self
    }

    /// Whether it is reached by TLS, everywhere.
    pub fn is_secure(&self) -> bool {
        let mut places = self.places.iter();
        places.all(|place| place.transport() == Transport::Tls)
    }

    /// Whether DNS has to be asked where it is.
    pub fn has_names(&self) -> bool {
        self.places.iter().any(|place| place.fixed().is_none())
    }

    /// Its places, for people.
    pub fn shown(&self) -> String {
        let places: Vec<_> = self.places.iter().map(Place::to_string).collect();
        places.join(", then ")
    }

    /// What an agent needs to know of it.
    pub fn trust(&self, id: PeerId) -> trust::Peer {
        trust::Peer {
            id,
            hosts: Arc::clone(&self.hosts),
            dials: self.dials,
        }
    }

    /// The hosts of its places, each once.
    fn own_hosts(&self) -> impl Iterator<Item = Box<str>> {
        let spots = self.places.iter().map(|place| &place.spot);
        let is_first = |(at, spot): &(usize, &Spot)| {
            let mut before = self.places.iter().take(*at);
            before.all(|place| place.spot != **spot)
        };
        spots
            .enumerate()
            .filter(is_first)
            .map(|(_, spot)| spot.to_string().into())
    }
}

/// What a peer may do, and what it learns of who calls.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Terms {
    /// Whether identities are believed and told.
    pub trust: Trust,
    /// The methods that it may begin something with; none: any.
    pub methods: Vec<Box<str>>,
    /// The most calls from it and to it; `None`: any number.
    pub calls_max: Option<u32>,
    /// The most calls that it may begin in a second; `None`: any number.
    pub rate_max: Option<u32>,
    /// Where else its requests come from.
    pub networks: Vec<IpNet>,
    /// R22: whether what is too long for a datagram goes to it by TCP.
    pub tcp: Tcp,
}

/// RFC 3325: whether a peer belongs to those whose P-Asserted-Identity is believed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Trust {
    /// Its own is believed, and it is told that of others.
    #[default]
    Keep,
    /// Its own is removed, and it is told none.
    Strip,
}

/// What becomes of the completion that a peer offers with a call that failed there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PeerCompletion {
    /// We are agent towards its monitor, and our callers are offered ours.
    Agent,
    /// Its offers are removed, and it is offered none.
    Off,
    /// Its offers pass on untouched.
    Relay,
}

/// What phones may do whose registrar is the PBX.
#[derive(Clone, Debug)]
pub struct Edge {
    /// What the PBX's names of the phones are made with; `None` makes them of our address.
    pub secret: Option<[u8; 32]>,
    /// The longest time for which a phone is told that it is registered, whatever the PBX grants:
    /// so that we hear early that it has gone.
    pub expires_max_s: u32,
    /// What becomes of the private addresses in the phones' session descriptions.
    pub nat_media: call::NatMedia,
    /// The users of the PBX, by numbers of theirs besides the names under which they register (R1).
    pub numbers: BTreeMap<Box<str>, Aor>,
    /// How the NATs in front of the phones are kept open.
    pub keep_alive: KeepAlive,
    /// How often.
    pub keep_alive_every: Duration,
    /// Whether registrations are to be kept over a restart; what is kept is told by the worker.
    pub keeps: bool,
    /// For how long failed registrations are held against their source.
    pub failures_window: Duration,
    /// The most failed registrations of one user from one source in that time, so that the PBX need
    /// not shut us out; a phone with an old password tries twice a minute.
    pub failures_max: u32,
    /// The most failed registrations from one source in that time; many phones may share it.
    pub failures_of_source_max: u32,
    /// The most sources that failures are held against.
    pub sources_max: usize,
}

/// What is sent to phones over UDP, so that the NATs in front of them stay open.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeepAlive {
    /// An empty line, which nobody answers.
    Crlf,
    /// Nothing.
    Off,
    /// OPTIONS, so that a phone is missed that has answered before.
    Options,
}

impl Default for Edge {
    fn default() -> Self {
        Self {
            secret: None,
            expires_max_s: u32::MAX,
            nat_media: call::NatMedia::Off,
            numbers: BTreeMap::new(),
            keep_alive: KeepAlive::Crlf,
            // NATs forget a UDP flow after 30 s at the earliest (RFC 4787 §4.3 says 2 min).
            keep_alive_every: Duration::from_secs(25),
            keeps: false,
            failures_window: Duration::from_mins(1),
            failures_max: 10,
            failures_of_source_max: 60,
            sources_max: 10_000,
        }
    }
}

/// What becomes of calls that fail.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "switches of the configuration"
)]
pub struct Completion {
    /// Whether completion is offered and asked for at all; calls flow without it.
    pub enabled: bool,
    /// Queues, timers and limits.
    pub service: completion::Settings,
    /// Which calls find a callee taken whose caller is being recalled (R9).
    pub reserve: Reserve,
    /// Whether requests are kept by the driver over a restart; else they end with the process.
    pub keeps: bool,
    /// How soon the next call of a phone that calls a busy callee again and again comes at the
    /// latest; zero: none is answered here.
    pub poll_window: Duration,
    /// What callers dial to ask for it.
    pub codes: completion::Codes,
    /// How a caller who was called back is connected with a user who is registered here, in this
    /// order (R10).
    pub recall_by: Vec<RecallMethod>,
    /// Whether he hears whom for before that, and then how the callee's phone rings (R10).
    pub announces_recalls: bool,
    /// What becomes of a caller whose callee is busy, where no route says otherwise.
    pub on_busy: OnBusy,
    /// How long he is kept from it, so that somebody may ask for him (R5).
    pub ask_time: Duration,
    /// Whether a caller whose call waits hears music, where there is sound at all.
    pub camp_on_music: bool,
    /// Whether such a call is answered meanwhile (R5).
    pub camp_on_answered: bool,
    /// Who may join whose call, and what is heard of it.
    pub intrusion: Intrusion,
    /// What a caller is asked who hears busy; `None`: nothing.
    pub prompt: Option<Prompt>,
    /// The texts that may be left for a callee, by number.
    pub messages: Vec<Arc<str>>,
}

/// Which calls a reservation keeps away from the callee.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reserve {
    /// All that are not pressing.
    All,
    /// Those that complete others.
    Completions,
}

impl Default for Completion {
    fn default() -> Self {
        Self {
            enabled: true,
            service: completion::Settings::default(),
            reserve: Reserve::Completions,
            camp_on_music: true,
            camp_on_answered: false,
            intrusion: Intrusion::default(),
            prompt: None,
            messages: Vec::new(),
            on_busy: OnBusy::default(),
            ask_time: Duration::from_secs(10),
            keeps: false,
            // Every 30 s, they say, and not to the second.
            poll_window: Duration::from_secs(40),
            codes: completion::Codes::default(),
            recall_by: vec![RecallMethod::Direct],
            announces_recalls: false,
        }
    }
}

/// What calls may do.
#[derive(Clone, Debug)]
pub struct Calls {
    /// The most calls of one user, above which he is busy (R20); `None`: his phone decides.
    pub calls_max: Option<u32>,
    /// The most calls that a user has begun and that are up, against who steals his password; calls
    /// for help do not count. `None`: any number.
    pub outgoing_max: Option<u32>,
    /// The numbers of emergency services, as dialled.
    pub emergency: Vec<String>,
}

impl Default for Calls {
    fn default() -> Self {
        Self {
            // R20: softphones have several lines and never say 486 themselves.
            calls_max: Some(1),
            outgoing_max: None,
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
    /// What passes through without being a call.
    pub relayed: relays::Limits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            calls_max: 100_000,
            transactions_max: 1_000_000,
            relayed: relays::Limits::default(),
        }
    }
}

/// What those may do who are no peers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Strangers {
    /// The most requests outside of calls from one source, a second; twice as many at once. `None`:
    /// any number.
    pub rate_max: Option<u32>,
    /// How many sources are remembered; about 100 bytes each.
    pub sources_max: usize,
    /// T32: how `User-Agent` begins in what gets no answer; whatever the case.
    pub scanners: Vec<String>,
}

impl Default for Strangers {
    fn default() -> Self {
        // What is seen most at open ports, by its own name.
        let scanners = [
            "friendly-scanner",
            "friendly-request",
            "iwar",
            "pplsip",
            "sip-scan",
            "sipcli",
            "sipvicious",
            "sivus",
            "smap",
            "sundayddr",
        ];
        Self {
            // A NAT with a thousand phones that all come back within some seconds.
            rate_max: Some(200),
            sources_max: 10_000,
            scanners: scanners.map(str::to_owned).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A peer that was told the name of a listener had its requests for it taken for somebody else's.
    #[test]
    fn what_a_listener_is_called_by_peers_is_ours() {
        let listener = |advertise: &str| Listener {
            advertise: Some(advertise.to_owned()),
            ..Listener::at("0.0.0.0:5060".parse().expect("an address"))
        };
        let settings = Settings {
            listeners: ["sip.example.org:5070", "192.0.2.7", "[2001:db8::7]:5060"]
                .map(listener)
                .into(),
            ..Settings::default()
        };
        let domains = settings.own_domains();
        let is_own = |uri: &str| {
            let uri = crate::sip::Uri::parse(uri.as_bytes()).expect("a URI");
            domains.is_own(&uri.as_sip().expect("a SIP URI"))
        };
        assert!(is_own("sip:bob@SIP.example.org"));
        assert!(is_own("sip:bob@192.0.2.7:5070"));
        assert!(is_own("sip:bob@[2001:DB8::7]"));
        assert!(!is_own("sip:bob@example.org"));
    }

    fn peer(name: &str, address: &str) -> Peer {
        Peer::new(name, Transport::Udp, address.parse().expect("an address"))
    }

    #[test]
    fn a_peer_keeps_its_id_without_an_upstream() {
        let settings = Settings {
            peers: vec![peer("office", "192.0.2.2:5060")],
            ..Settings::default()
        };
        let found = settings.peer(PeerId(1)).expect("the peer");
        assert_eq!(found.name, "office");
        assert_eq!(settings.peer(Settings::UPSTREAM), None);
    }

    #[test]
    fn an_ipv6_peer_is_named_in_brackets_as_in_a_uri() {
        let peer = peer("office", "[2001:db8::7]:5060").with_domains(["a.example".to_owned()]);
        let trusted = peer.trust(PeerId(1));
        assert_eq!(*trusted.hosts, ["[2001:db8::7]".into(), "a.example".into()]);
    }
}
