//! The one place that knows how a worker is built and read: the kit's side of `Shard`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use campon::call::{NatMedia, Reliability, SessionAsks};
use campon::cc::agent::Resumption;
use campon::cc::trust::Dials;
use campon::completion::intrusion::{Level, Rights};
use campon::completion::{Codes, Mode, RawCodes, WallTime};
use campon::location::{Access, Account, Accounts, Aor};
use campon::media::clip::Clip;
use campon::media::digit::Digit;
use campon::media::prompts::Voice;
use campon::random::Rng;
use campon::routing::health::Pings;
use campon::routing::table::OnBusy;
use campon::routing::{Place, Policy, Spot, State};
use campon::shard::settings::{CcParams, Edge, KeepAlive, Peer, Prompt, RecallMethod};
use campon::shard::settings::{Reserve, Sound};
use campon::shard::{Listener, Report, Settings, Shard};
use campon::sip::flow::{ListenerId, Transport};
use campon::transaction::login;

use super::password::{self, Login};

/// Where campon listens, and the host of its users.
pub(crate) const DOMAIN: &str = "192.0.2.1";

/// The same on IPv6.
pub(crate) const DOMAIN_V6: &str = "[2001:db8::1]";

/// Where the upstream is, where there is one.
pub(crate) const UPSTREAM: &str = "192.0.2.200:5060";

/// Where the second server of the upstream is, where there are two.
pub(crate) const SECOND: &str = "192.0.2.202:5060";

/// Where the other peer is, where there is one.
pub(crate) const OFFICE: &str = "192.0.2.201:5060";

/// Where our own calls leave from, where that is an address of their own.
pub(crate) const OWN_CALLS: &str = "192.0.2.1:5090";

/// The `ListenerId` of it.
pub(crate) const OWN_CALLS_LISTENER: u8 = 2;

/// What may be left for a callee, where texts may.
pub(crate) const TEXTS: [&str; 2] = ["please call back", "it is urgent"];

/// How many subscriptions of one user may pass through at once.
pub(crate) const SUBSCRIPTIONS_MAX: u32 = 3;

/// How a world's campon is set up.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Setup {
    /// Its own registrar, and one call a user.
    #[default]
    Standalone,
    /// The same, and requests for completion are kept over a restart.
    Kept,
    /// As [`Self::Upstream`], and requests for completion are kept over a restart.
    KeptUpstream,
    /// Standalone, and two texts may be left for callees.
    Texts,
    /// The same, and they are kept over a restart.
    KeptTexts,
    /// Standalone; busy is kept from callers for a while, and some may join calls: see [`intrusion`].
    Joining,
    /// Standalone without a limit of calls.
    Unlimited,
    /// Standalone, and callers who hear busy may press 5 to be called back, or 1 to wait.
    Prompting,
    /// The same, and calls that wait are answered.
    Answering,
    /// As [`Self::Intruding`], with records; these are Alice's level, and how Bob and Carol are
    /// protected.
    Levels([u8; 3]),
    /// As [`Self::Intruding`], with records, and a warning that is silence.
    Unwarned,
    /// As [`Self::Prompting`], and who presses 3 joins the call of the busy one.
    Intruding,
    /// As [`Self::Prompting`], and who presses 4 leaves a text.
    PromptingTexts,
    /// The same; which one he is asked, for both were recorded.
    PromptingChoice,
    /// What is for nobody registered goes to [`UPSTREAM`].
    Upstream,
    /// The same, and only Alice and Bob may register, with their passwords.
    Users,
    /// As [`Self::Upstream`], and who was not there to be called back says by code that he is.
    ByHand,
    /// As [`Self::Upstream`], which speaks for biloxi.example and may have made-up names dialled.
    Biloxi,
    /// Standalone, and a callee whose caller is recalled is kept from all other calls.
    Reserving,
    /// Standalone, and what comes from [`OFFICE`] comes from a peer.
    Peer,
    /// The same, without a limit of calls.
    PeerUnlimited,
    /// Standalone, and callers dial again by themselves: by REFER and in no other way.
    Refer,
    /// The same, and who cannot is put through to the callee's phones.
    ReferOrDirect,
    /// Standalone, and who is called back hears whom for.
    Announcing,
    /// The same, and dials by himself.
    AnnouncingRefer,
    /// As [`Self::Upstream`], where callers dial again by themselves, or are put through.
    ReferUpstream,
    /// The same, and the upstream bears no parameters in what is dialled.
    BareUpstream,
    /// As [`Self::Upstream`], where our own calls leave from [`OWN_CALLS`].
    OwnCalls,
    /// As [`Self::Upstream`], where our own requests have the account of [`password::CAMPON`].
    OwnAccount,
    /// As [`Self::Upstream`], which tells of the dialogs of those behind it.
    Told,
    /// As [`Self::Upstream`], with a second server at [`SECOND`]; nobody pings them.
    Twins,
    /// The same, and they tell of the dialogs of those behind them.
    ToldTwins,
    /// As [`Self::Twins`], and both are sent OPTIONS every 10 s.
    Pinged,
    /// As [`Self::Upstream`], with the peer at [`OFFICE`] and a table: see `flow::routes`.
    Routed,
    /// Trunk mode, between [`UPSTREAM`] and [`OFFICE`], whose completion is off, with a table: see
    /// `flow::trunk`.
    Trunk,
    /// The same, where the PBX tells of dialogs and the carrier may wait for its users.
    TrunkTold,
    /// As [`Self::Upstream`], which is `sip:pbx.example.org`.
    Named,
    /// Standalone, and callees are asked for reliable responses whoever calls.
    Reliable,
    /// Standalone, and both sides are asked for a session timer of half an hour.
    Timed,
    /// In front of the PBX at [`UPSTREAM`], which is the registrar; and [`OFFICE`] is a peer.
    Edge,
    /// The same, where our own calls leave from [`OWN_CALLS`].
    EdgeOwnCalls,
    /// As [`Self::Edge`], where our own requests have the account of [`password::CAMPON`].
    EdgeOwnAccount,
    /// As [`Self::Edge`], and a callee whose caller is recalled is kept from all other calls.
    EdgeReserving,
    /// As [`Self::Edge`], and the PBX tells of the dialogs of its users.
    EdgeTold,
    /// As [`Self::Edge`], where callees are rung without the PBX.
    EdgeDirect,
    /// The same, where registrations are kept over a restart, and the PBX knows Alice as 1002, Bob as
    /// 1001.
    EdgeKept,
    /// As [`Self::Edge`]; phones are kept alive by empty lines every 25 s and told 60 s at most, private
    /// media addresses are written anew, and registrations are kept over a restart.
    EdgeNat,
    /// The same, and all audio passes campon, as far as two pairs of ports go.
    EdgeAnchor,
    /// As [`Self::Edge`], and callers who hear busy may press 5 to be called back, 6 to wait.
    EdgePrompting,
    /// The same, and who presses 3 joins the call of the busy one; all is recorded.
    EdgeIntruding,
    /// As [`Self::Edge`], as [`Self::Joining`].
    EdgeJoining,
    /// As [`Self::Edge`], as [`Self::Texts`].
    EdgeTexts,
    /// As [`Self::Edge`], and phones are asked every 30 s whether they are there.
    EdgeAsks,
}

/// When the first campon of a world is started.
pub(crate) const STARTED: WallTime = WallTime(1_000_000_000_000_000);

/// Campon's addresses, in the order of their `ListenerId`.
pub(crate) fn listeners() -> [SocketAddr; 2] {
    [DOMAIN, DOMAIN_V6].map(|host| format!("{host}:5060").parse().expect("an address"))
}

/// A worker of this setup.
pub(crate) fn shard(setup: Setup, seed: u64) -> Shard {
    restarted(setup, seed, STARTED)
}

/// The PBX, or another side that calls go to.
fn upstream(setup: Setup) -> Option<Peer> {
    let address = UPSTREAM.parse().expect("an address");
    let upstream = Peer::new("upstream", Transport::Udp, address);
    match setup {
        Setup::Standalone
        | Setup::Kept
        | Setup::Texts
        | Setup::KeptTexts
        | Setup::Joining
        | Setup::Unlimited
        | Setup::Prompting
        | Setup::Answering
        | Setup::Levels(_)
        | Setup::Unwarned
        | Setup::Intruding
        | Setup::PromptingTexts
        | Setup::PromptingChoice
        | Setup::Peer
        | Setup::PeerUnlimited
        | Setup::Reserving
        | Setup::Reliable
        | Setup::Timed
        | Setup::Refer
        | Setup::ReferOrDirect
        | Setup::Announcing
        | Setup::AnnouncingRefer => None,
        Setup::Upstream
        | Setup::KeptUpstream
        | Setup::ByHand
        | Setup::Routed
        | Setup::Trunk
        | Setup::TrunkTold
        | Setup::Users
        | Setup::OwnCalls
        | Setup::OwnAccount
        | Setup::Told
        | Setup::ReferUpstream
        | Setup::BareUpstream
        | Setup::Edge
        | Setup::EdgeNat
        | Setup::EdgeAnchor
        | Setup::EdgeAsks
        | Setup::EdgeOwnCalls
        | Setup::EdgeOwnAccount
        | Setup::EdgeTold
        | Setup::EdgeReserving
        | Setup::EdgeDirect
        | Setup::EdgePrompting
        | Setup::EdgeIntruding
        | Setup::EdgeJoining
        | Setup::EdgeTexts
        | Setup::EdgeKept => Some(upstream),
        Setup::Twins | Setup::ToldTwins => Some(twins(Pings::Off)),
        Setup::Pinged => Some(twins(Policy::default().pings)),
        Setup::Named => Some(named()),
        Setup::Biloxi => Some(Peer {
            dials: Dials::Tokens,
            ..upstream.with_domains(["biloxi.example".to_owned()])
        }),
    }
}

/// The same, started at this time of the calendar.
pub(crate) fn restarted(setup: Setup, seed: u64, started: WallTime) -> Shard {
    let listeners = listeners().map(Listener::at);
    let office = OFFICE.parse().expect("an address");
    let office = Peer::new("office", Transport::Udp, office);
    let has_office = matches!(
        setup,
        Setup::Routed
            | Setup::Trunk
            | Setup::TrunkTold
            | Setup::Peer
            | Setup::PeerUnlimited
            | Setup::Edge
            | Setup::EdgeDirect
            | Setup::EdgeOwnCalls
            | Setup::EdgeOwnAccount
            | Setup::EdgeTold
            | Setup::EdgeReserving
    );
    let mut settings = Settings {
        listeners: listeners.to_vec(),
        upstream: upstream(setup),
        peers: Vec::from_iter(has_office.then_some(office)),
        edge: edge(setup),
        started,
        access: matches!(setup, Setup::Users).then(access),
        ..Settings::default()
    };
    settings.completion.keeps =
        matches!(setup, Setup::Kept | Setup::KeptTexts | Setup::KeptUpstream);
    if matches!(
        setup,
        Setup::Texts
            | Setup::KeptTexts
            | Setup::PromptingTexts
            | Setup::PromptingChoice
            | Setup::EdgeTexts
    ) {
        settings.completion.messages = TEXTS.map(Arc::from).into();
    }
    prepare_recalls(setup, &mut settings);
    if settings.upstream.is_some()
        || matches!(
            setup,
            Setup::PeerUnlimited | Setup::Reliable | Setup::Timed | Setup::Unlimited
        )
    {
        settings.calls.calls_max = None;
    }
    prepare_calls(setup, &mut settings);
    if let Setup::Reserving | Setup::EdgeReserving = setup {
        settings.completion.reserve = Reserve::All;
    }
    settings.limits.relayed.per_user_max = SUBSCRIPTIONS_MAX;
    prepare_routes(setup, &mut settings);
    settings.completion.codes = codes();
    prepare_prompts(setup, &mut settings);
    prepare_hearing(setup, &mut settings);
    if matches!(setup, Setup::Joining | Setup::EdgeJoining) {
        settings.completion.on_busy = OnBusy::Ask;
        settings.completion.intrusion.rights = intrusion();
        if matches!(setup, Setup::EdgeJoining) {
            settings.completion.intrusion.usual = intrusion_behind();
        }
        settings.call_policy.keeps_sessions = true;
        settings.calls.emergency = vec!["112".to_owned()];
        settings.records = true;
    }
    if matches!(setup, Setup::ByHand) {
        settings.completion.service.agent.resumption = Resumption::ByHand;
    }
    Shard::new(settings, Rng::from_number(seed))
}

/// Alice has the second level and Dave the first; Bob and Carol are protected against Dave, Fred
/// against both; all others against everybody.
fn intrusion() -> BTreeMap<Aor, Rights> {
    let level = |level| Level::new(level).expect("a level");
    let users = [
        ("alice", 2, 3),
        ("bob", 0, 1),
        ("carol", 0, 1),
        ("dave", 1, 0),
        ("erin", 0, 0),
        ("fred", 0, 2),
    ];
    let users = users.map(|(name, intrudes, protection)| {
        let rights = Rights {
            intrudes: level(intrudes),
            protection: level(protection),
        };
        (Aor::of_user(name.as_bytes()), rights)
    });
    users.into()
}

/// Behind a PBX everybody has the second level, and is protected against the first.
fn intrusion_behind() -> Rights {
    Rights {
        intrudes: Level::new(2).expect("a level"),
        protection: Level::new(1).expect("a level"),
    }
}

/// Where calls go.
fn prepare_routes(setup: Setup, settings: &mut Settings) {
    if matches!(setup, Setup::Routed) {
        settings.routes = crate::flow::routes::table();
        settings.calls.emergency = vec!["112".to_owned()];
    }
    if matches!(setup, Setup::Trunk | Setup::TrunkTold) {
        crate::flow::trunk::prepare(settings);
    }
}

/// What calls ask of their sides.
fn prepare_calls(setup: Setup, settings: &mut Settings) {
    if matches!(setup, Setup::Timed) {
        settings.call_policy.session_asks = SessionAsks::Everybody(1800);
    }
    if matches!(setup, Setup::Reliable) {
        settings.call_policy.reliable = Reliability::Always;
    }
}

/// What callers of somebody busy are asked.
fn prepare_prompts(setup: Setup, settings: &mut Settings) {
    let is_mixing = matches!(
        setup,
        Setup::Intruding | Setup::EdgeIntruding | Setup::Levels(_) | Setup::Unwarned
    );
    settings.records |= matches!(
        setup,
        Setup::EdgeIntruding | Setup::Levels(_) | Setup::Unwarned
    );
    if let Setup::Levels(levels) = setup {
        settings.completion.intrusion.rights = rights(levels);
    }
    if is_mixing {
        settings.call_policy.keeps_sessions = true;
        settings.completion.intrusion.usual = Rights {
            intrudes: Level::new(1).expect("a level"),
            protection: Level::NONE,
        };
    }
    if matches!(setup, Setup::EdgeAnchor) {
        settings.sound = Some(Sound {
            address: DOMAIN.parse().expect("an address"),
            ports: 20_000..=20_003,
            timeout: Duration::from_secs(30),
            trial: Duration::from_secs(5),
            takes_new_keys: false,
        });
    }
    if matches!(
        setup,
        Setup::Prompting
            | Setup::Answering
            | Setup::Levels(_)
            | Setup::Unwarned
            | Setup::Intruding
            | Setup::PromptingTexts
            | Setup::PromptingChoice
            | Setup::EdgePrompting
            | Setup::EdgeIntruding
    ) {
        let ports_end = if is_mixing { 20_009 } else { 20_003 };
        settings.sound = Some(Sound {
            address: DOMAIN.parse().expect("an address"),
            ports: 20_000..=ports_end,
            timeout: Duration::from_secs(30),
            trial: Duration::from_secs(5),
            takes_new_keys: false,
        });
        settings.voice = Some(voice(setup));
        settings.completion.prompt = Some(Prompt {
            digits: vec![
                (Digit::D5, Mode::Callback),
                (Digit::D1, Mode::CampOn),
                (Digit::D3, Mode::Intrude),
                (Digit::D4, Mode::Message),
            ],
            ..Prompt::default()
        });
    }
    if let (Setup::EdgePrompting, Some(prompt)) = (setup, &mut settings.completion.prompt) {
        prompt.digits.push((Digit::D6, Mode::CampOn));
    }
}

/// What is said in a campon of this setup; the shipped files are read once, as that takes longer than
/// many a ladder.
fn voice(setup: Setup) -> Voice {
    static SHIPPED: LazyLock<Voice> =
        LazyLock::new(|| Voice::new(|_| None).expect("the shipped voice"));
    if matches!(setup, Setup::PromptingChoice) {
        let own = include_bytes!("../../../src/media/prompts/en/message.wav");
        let is_text = |name: &str| matches!(name, "text_0" | "text_1");
        let voice = Voice::new(|name| is_text(name).then(|| own.to_vec()));
        return voice.expect("a voice with texts");
    }
    let mut voice = SHIPPED.clone();
    if matches!(setup, Setup::Unwarned) {
        voice.warning = Clip::new(vec![0; 8_000]);
    }
    voice
}

/// What callers hear who wait or are called back.
fn prepare_hearing(setup: Setup, settings: &mut Settings) {
    settings.completion.camp_on_answered = matches!(setup, Setup::Answering);
    if let Setup::Announcing | Setup::AnnouncingRefer = setup {
        settings.sound = Some(Sound {
            address: DOMAIN.parse().expect("an address"),
            ports: 20_000..=20_003,
            timeout: Duration::from_secs(30),
            trial: Duration::from_secs(5),
            takes_new_keys: false,
        });
        settings.voice = Some(voice(setup));
        settings.completion.announces_recalls = true;
    }
}

/// What Alice may, and how Bob and Carol are protected.
fn rights([intruder, target, third]: [u8; 3]) -> BTreeMap<Aor, Rights> {
    let level = |level: u8| Level::new(level.into()).expect("a level");
    let each = [
        ("alice", level(intruder), Level::NONE),
        ("bob", Level::NONE, level(target)),
        ("carol", Level::NONE, level(third)),
    ];
    let each = each.into_iter().map(|(name, intrudes, protection)| {
        let rights = Rights {
            intrudes,
            protection,
        };
        (Aor::of_user(name.as_bytes()), rights)
    });
    each.collect()
}

/// What callers dial.
fn codes() -> Codes {
    let codes = RawCodes {
        request_last: Some("*37#".to_owned()),
        request: Some("*37*{number}#".to_owned()),
        cancel_last: Some("#37*#".to_owned()),
        cancel: Some("#37*{index}#".to_owned()),
        cancel_all: Some("#37#".to_owned()),
        list: Some("*#37#".to_owned()),
        message: Some("*39*{index}#".to_owned()),
        resume: Some("*38#".to_owned()),
    };
    Codes::new(&codes, &[]).expect("codes that can be dialled")
}

/// An upstream of which only the name is known.
fn named() -> Peer {
    let place = Place {
        secure: false,
        spot: Spot::Name("pbx.example.org".into()),
        port: None,
        transport: None,
    };
    Peer {
        policy: Policy {
            pings: Pings::Off,
            ..Policy::default()
        },
        ..Peer::of_places("upstream", vec![place])
    }
}

fn edge(setup: Setup) -> Option<Edge> {
    let usual = Edge {
        keep_alive: KeepAlive::Off,
        ..Edge::default()
    };
    let is_usual = matches!(
        setup,
        Setup::Edge
            | Setup::EdgeDirect
            | Setup::EdgeOwnCalls
            | Setup::EdgeOwnAccount
            | Setup::EdgePrompting
            | Setup::EdgeIntruding
            | Setup::EdgeJoining
            | Setup::EdgeTexts
            | Setup::EdgeReserving
            | Setup::EdgeTold
    );
    if is_usual {
        return Some(usual);
    }
    if matches!(setup, Setup::EdgeKept) {
        return Some(Edge {
            keeps: true,
            numbers: [("1001", "bob"), ("1002", "alice")]
                .map(|(number, user)| (number.into(), Aor::of_user(user.as_bytes())))
                .into(),
            ..usual
        });
    }
    if matches!(setup, Setup::EdgeNat) {
        return Some(Edge {
            keep_alive: KeepAlive::Crlf,
            expires_max_s: 60,
            nat_media: NatMedia::Rewrite,
            keeps: true,
            ..usual
        });
    }
    if matches!(setup, Setup::EdgeAnchor) {
        return Some(Edge {
            nat_media: NatMedia::Anchor,
            ..usual
        });
    }
    matches!(setup, Setup::EdgeAsks).then_some(Edge {
        keep_alive: KeepAlive::Options,
        keep_alive_every: Duration::from_secs(30),
        ..usual
    })
}

/// An upstream of two servers.
fn twins(pings: Pings) -> Peer {
    let places = [UPSTREAM, SECOND].map(|address| {
        let address = address.parse().expect("an address");
        Place::at(Transport::Udp, address)
    });
    let policy = Policy {
        pings,
        ..Policy::default()
    };
    Peer {
        policy,
        ..Peer::of_places("upstream", places.to_vec())
    }
}

/// By which ways callers who were called back reach their callees.
fn prepare_recalls(setup: Setup, settings: &mut Settings) {
    if let Setup::OwnCalls | Setup::EdgeOwnCalls = setup {
        let own = OWN_CALLS.parse().expect("an address");
        settings.listeners.push(Listener::at(own));
        settings.own_calls = Some(ListenerId(OWN_CALLS_LISTENER));
    }
    if let Setup::OwnAccount | Setup::EdgeOwnAccount = setup {
        let Login { user, password } = password::CAMPON;
        let login = login::Login::with_password(user, None, password);
        settings.own_login = Some(Arc::new(login));
    }
    if let Setup::ByHand = setup {
        settings.completion.service.agent.resumption = Resumption::ByHand;
    }
    if let Setup::Refer | Setup::ReferOrDirect | Setup::AnnouncingRefer = setup {
        settings.completion.recall_by = vec![RecallMethod::Refer];
    }
    if let Setup::ReferOrDirect = setup {
        settings.completion.recall_by.push(RecallMethod::Direct);
    }
    let Some(upstream) = &mut settings.upstream else {
        return;
    };
    if let Setup::Edge
    | Setup::EdgeOwnCalls
    | Setup::EdgeOwnAccount
    | Setup::EdgeTold
    | Setup::EdgeReserving
    | Setup::ReferUpstream
    | Setup::BareUpstream = setup
    {
        upstream.recall = vec![RecallMethod::Refer, RecallMethod::ThirdParty];
    }
    upstream.dialog_events = matches!(
        setup,
        Setup::Told | Setup::ToldTwins | Setup::EdgeTold | Setup::TrunkTold
    );
    if let Setup::EdgeDirect = setup {
        upstream.recall = vec![RecallMethod::Direct];
    }
    if let Setup::BareUpstream = setup {
        upstream.cc_params = CcParams::LeftOut;
    }
}

fn access() -> Access {
    let usual = Access::default();
    let mut accounts = Accounts::default();
    for Login { user, password } in [password::ALICE, password::BOB] {
        let account = Account::with_password(user, &usual.realm, password);
        accounts.insert(user, account);
    }
    Access { accounts, ..usual }
}

/// The tables that hold something, with how many; registrations apart, which live longer.
pub(crate) fn held_by_calls(report: &Report) -> Vec<(&'static str, usize)> {
    let held = held(report).into_iter();
    held.filter(|(table, _)| !["aliases", "registrations"].contains(table))
        .collect()
}

/// The tables that hold something, with how many.
pub(crate) fn held(report: &Report) -> Vec<(&'static str, usize)> {
    let tables = report.tables.iter();
    let held = tables.map(|table| (table.name, table.entries));
    held.filter(|(_, entries)| *entries > 0).collect()
}

/// The servers of the peers that take no requests.
pub(crate) fn down(report: &Report) -> Vec<String> {
    let targets = report.targets.iter();
    let down = targets.filter(|target| target.state == State::Down);
    down.map(|target| target.server.remote.to_string())
        .collect()
}
