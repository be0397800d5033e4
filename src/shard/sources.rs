//! What PBXs tell of the lines of those who are waited for: our subscriptions to their dialogs.
//!
//! Spec: RFC 4235; RFC 6665 §4.1; RULES R2, R11.
//!
//! ```text
//!   somebody waits ──► Asked ──2xx──► Live ──its time, a gap──► Live, refreshed
//!                        │ ▲           │
//!                        │ └─ Resting ◄┴─ 481, silence, ended by the PBX
//!                        └──► Without: the PBX tells nothing of him
//!   nobody waits any more ──► Leaving ──last NOTIFY, 64*T1──► gone
//! ```
//!
//! - A callee is watched only while somebody waits for him, and where the operator has said that the
//!   PBX tells.
//! - What was told holds for as long as the subscription does; without it nothing is known.

mod told;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use smallvec::SmallVec;

use crate::cc::trust::PeerId;
use crate::completion::Input;
use crate::dialog::subscription::{Ask, Lines, Package, Subscriber, Terms};
use crate::dialog::{Tag, Turn};
use crate::location::Aor;
use crate::routing::table::{Asked, Destination, decide};
use crate::shard::desk::name_of;
use crate::shard::recall::uri_of;
use crate::shard::settings::PeerCompletion;
use crate::shard::subscriptions::whole_seconds;
use crate::shard::users::Far;
use crate::shard::ways::Way;
use crate::shard::{Settings, Shard};
use crate::sip::dialog_states::Progress;
use crate::sip::{Request, Status, dialog_info, unescape};
use crate::table::{Key, Table};
use crate::time::Timestamp;
use crate::transaction::User;
use crate::transaction::fallback::Fallback;
use crate::transaction::login::Login;

/// The part of [`User`] by which their transactions name them.
const PART: u16 = 7 << 8;

/// What is asked for: a PBX that was started anew is silent for no longer than this.
const EXPIRES: Duration = Duration::from_mins(10);

/// The longest time that a PBX may ask us to subscribe for at least.
const EXPIRES_MAX: Duration = Duration::from_hours(24);

/// How long a PBX is left alone that gave no answer, the first time; twice as long each time after.
const REST: Duration = Duration::from_secs(30);
const REST_MAX: Duration = Duration::from_mins(5);

/// How long one is left alone that has ended a subscription and may be asked again.
const BREATH: Duration = Duration::from_secs(1);

/// For how long nobody is asked again who does not know the package.
const UNKNOWN_FOR: Duration = Duration::from_hours(1);

/// How far apart the callees of a PBX that is back are asked for.
const APART: Duration = Duration::from_millis(20);

/// The subscriptions of a worker to the dialogs of callees.
#[derive(Debug)]
pub(super) struct Sources {
    table: Table<Box<Source>>,
    by_user: BTreeMap<Aor, Key>,
    due: BTreeSet<(Timestamp, Key)>,
    /// Who does not know the package, and until when it is not asked again.
    strangers: BTreeMap<PeerId, Timestamp>,
    /// Until when users of ours may come back who were here before the start.
    users_return_until: Timestamp,
}

/// What is told of one callee.
#[derive(Debug)]
struct Source {
    user: Aor,
    peer: PeerId,
    stage: Stage,
    /// By fork.
    lines: SmallVec<[Lines; 1]>,
    /// What the PBX wants at least.
    expires: Duration,
    /// How long it rests next.
    rest: Duration,
    due: Option<Timestamp>,
}

#[derive(Debug)]
enum Stage {
    /// A SUBSCRIBE is out that makes a dialog, or its first NOTIFY has yet to come.
    Asked(Subscriber),
    /// It tells.
    Live(Subscriber),
    /// It is asked again when it is due.
    Resting,
    /// It tells nothing.
    Without,
    /// Nobody waits; its last NOTIFY has yet to come.
    Leaving(Subscriber),
}

/// Whether this is one of a source's requests.
pub(super) fn is_source(user: User) -> bool {
    user.part == PART
}

impl Sources {
    pub(super) fn new(sources_max: usize) -> Self {
        Self {
            table: Table::new(sources_max),
            by_user: BTreeMap::new(),
            due: BTreeSet::new(),
            strangers: BTreeMap::new(),
            users_return_until: Timestamp::START,
        }
    }

    /// Requests of a process before this one are taken up: until then nobody is a stranger because he
    /// is not registered.
    pub(super) fn await_users(&mut self, until: Timestamp) {
        self.users_return_until = until;
    }

    /// How many there may be; those that are there already stay.
    pub(super) fn set_max(&mut self, sources_max: usize) {
        self.table.set_max(sources_max);
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// When the next one has something to do.
    pub(super) fn poll_timeout(&self) -> Option<Timestamp> {
        self.due.first().map(|(due, _)| *due)
    }

    /// The peer that was asked for a callee's dialogs.
    pub(super) fn peer_of(&self, user: &Aor) -> Option<PeerId> {
        let key = self.by_user.get(user)?;
        Some(self.table.get(*key)?.peer)
    }

    /// The one that a NOTIFY is for.
    pub(super) fn named_by(&self, request: &Request<'_>) -> Option<Key> {
        let tag = request.to.tag().and_then(Tag::parse)?;
        let source = self.table.get(tag.call)?;
        let is_named = |it: &Subscriber| it.is_named_by(request);
        source
            .subscriber()
            .is_some_and(is_named)
            .then_some(tag.call)
    }

    fn set_due(&mut self, key: Key, due: Option<Timestamp>) {
        let Some(source) = self.table.get_mut(key) else {
            return;
        };
        if let Some(old) = std::mem::replace(&mut source.due, due) {
            self.due.remove(&(old, key));
        }
        if let Some(due) = due {
            self.due.insert((due, key));
        }
    }

    fn remove(&mut self, key: Key) {
        self.set_due(key, None);
        if let Some(source) = self.table.remove(key)
            && self.by_user.get(&source.user) == Some(&key)
        {
            self.by_user.remove(&source.user);
        }
    }

    /// Nobody waits for anybody any more, and nobody is told so.
    pub(super) fn clear(&mut self) {
        let all: Vec<Key> = self.table.iter().map(|(key, _)| key).collect();
        for key in all {
            self.remove(key);
        }
    }

    /// A PBX is there again that was not: whoever is watched there is asked for, one after the other.
    pub(super) fn hasten(&mut self, now: Timestamp, peer: PeerId) {
        let stale = self.table.iter().filter(|(_, source)| {
            let may_be = matches!(source.stage, Stage::Live(_) | Stage::Resting);
            may_be && source.peer == peer
        });
        let stale: Vec<Key> = stale.map(|(key, _)| key).collect();
        for (nth, key) in (0..).zip(stale) {
            self.set_due(key, Some(now + APART * nth));
        }
    }
}

impl Source {
    fn subscriber(&self) -> Option<&Subscriber> {
        match &self.stage {
            Stage::Asked(subscriber) | Stage::Live(subscriber) | Stage::Leaving(subscriber) => {
                Some(subscriber)
            }
            Stage::Resting | Stage::Without => None,
        }
    }

    fn subscriber_mut(&mut self) -> Option<&mut Subscriber> {
        match &mut self.stage {
            Stage::Asked(subscriber) | Stage::Live(subscriber) | Stage::Leaving(subscriber) => {
                Some(subscriber)
            }
            Stage::Resting | Stage::Without => None,
        }
    }

    /// What is known of its callee's lines; of several forks, the furthest.
    fn far(&self) -> Far {
        let furthest = self.lines.iter().map(Lines::furthest).max();
        match furthest.unwrap_or(Progress::Terminated) {
            Progress::Terminated => Far::Free,
            Progress::Alerting => Far::Alerting,
            Progress::Confirmed => Far::Talking,
        }
    }

    /// The same where it may be asked again at once, unless it has told nothing since that was done.
    fn take_breath(&mut self) -> Duration {
        let is_first = self.rest == REST;
        let rest = self.take_rest();
        if is_first { BREATH } else { rest }
    }

    /// How long it is left alone now.
    fn take_rest(&mut self) -> Duration {
        let rest = self.rest;
        self.rest = (rest * 2).min(REST_MAX);
        rest
    }
}

/// Who is asked, and for whom.
impl Shard {
    /// The peer that a user is behind: in front of a registrar that is the registrar; else whoever his
    /// calls go to, if he is none of ours.
    pub(super) fn peer_behind(&self, user: &Aor) -> Option<PeerId> {
        let upstream = self.settings.upstream.as_ref().map(|_| Settings::UPSTREAM);
        if self.edge.is_some() {
            return upstream;
        }
        if self.registrar.is_known(user) {
            return None;
        }
        let name = unescape(user.user().as_bytes());
        let asked = Asked {
            user: &name,
            method: "INVITE",
            source: Ipv4Addr::UNSPECIFIED.into(),
            peer: None,
            is_registered: true,
        };
        if let Some((_, route)) = decide(&self.settings.routes, &asked) {
            return match &route.to {
                Destination::Peer { peer, .. } => Some(PeerId(*peer)),
                Destination::Users | Destination::Refused(_) => None,
            };
        }
        let (_, domain) = user.as_str().rsplit_once('@').unwrap_or_default();
        let mut peers = self.settings.peers();
        let named = peers.find(|(_, peer)| peer.hosts.iter().any(|host| **host == *domain));
        named.map(|(id, _)| id).or(upstream)
    }

    /// R11: whether somebody behind this peer can be waited for here.
    pub(super) fn is_told_of(&self, now: Timestamp, peer: PeerId, user: &Aor) -> bool {
        let settings = self.settings.peer(peer);
        let is_ours = settings.is_some_and(|it| it.completion == PeerCompletion::Agent);
        is_ours
            && self.edge.is_none()
            && self.tells_of_dialogs(now, peer)
            && self.peer_behind(user) == Some(peer)
    }

    /// Whether all that can be known of a callee's lines is what a peer tells.
    pub(super) fn is_behind(&self, user: &Aor) -> bool {
        self.edge.is_none() && self.peer_behind(user).is_some()
    }

    /// The way of a request of our own that is no call: as those, where they are told from what is
    /// relayed.
    fn way_of_request(&self, peer: PeerId, uri: &[u8]) -> Option<Way> {
        let own = self.way_of_ours(peer, uri);
        own.or_else(|| self.way_to_peer(peer, uri))
    }

    /// Whether a peer tells of the dialogs of those behind it, as far as is known.
    pub(super) fn tells_of_dialogs(&self, now: Timestamp, peer: PeerId) -> bool {
        let told = self.settings.peer(peer).is_some_and(|it| it.dialog_events);
        let stranger = self.sources.strangers.get(&peer);
        told && stranger.is_none_or(|until| *until <= now)
    }

    /// Somebody waits for this callee.
    pub(super) fn watch_far(&mut self, now: Timestamp, user: &Aor) {
        let Some(peer) = self.peer_behind(user) else {
            return;
        };
        if !self.tells_of_dialogs(now, peer) {
            return self.lose_source(now, user);
        }
        let known = self.sources.by_user.get(user).copied();
        let known = known.filter(|key| self.sources.table.get(*key).is_some());
        let key = if let Some(key) = known {
            key
        } else {
            let source = Source {
                user: user.clone(),
                peer,
                stage: Stage::Resting,
                lines: SmallVec::new(),
                expires: EXPIRES,
                rest: REST,
                due: None,
            };
            let Ok(key) = self.sources.table.insert(Box::new(source)) else {
                return self.lose_source(now, user);
            };
            self.sources.by_user.insert(user.clone(), key);
            key
        };
        self.ask_source(now, key);
    }

    /// Nobody waits for him any more.
    pub(super) fn unwatch_far(&mut self, now: Timestamp, user: &Aor) {
        let Some(key) = self.sources.by_user.remove(user) else {
            return;
        };
        self.users.set_far(now, user, None);
        let Some(mut source) = self.sources.table.take(key) else {
            return;
        };
        let stage = std::mem::replace(&mut source.stage, Stage::Without);
        let peer = source.peer;
        self.sources.table.put_back(key, source);
        match stage {
            Stage::Asked(subscriber) | Stage::Live(subscriber) => {
                self.leave_source(now, (key, peer), subscriber);
            }
            Stage::Resting | Stage::Without | Stage::Leaving(_) => self.sources.remove(key),
        }
    }

    fn leave_source(
        &mut self,
        now: Timestamp,
        (key, peer): (Key, PeerId),
        mut subscriber: Subscriber,
    ) {
        let is_left = self.refresh_with(now, (key, peer), &mut subscriber, Duration::ZERO);
        if !is_left {
            return self.sources.remove(key);
        }
        if let Some(source) = self.sources.table.get_mut(key) {
            source.stage = Stage::Leaving(subscriber);
        }
        let patience = self.settings.timing.t1 * 64;
        self.sources.set_due(key, Some(now + patience));
    }

    /// Sends a SUBSCRIBE that makes a dialog.
    fn ask_source(&mut self, now: Timestamp, key: Key) {
        let Some(source) = self.sources.table.get(key) else {
            return;
        };
        let (peer, expires) = (source.peer, source.expires);
        let host = self.hosts.first().map(|host| &**host).unwrap_or_default();
        let uri = uri_of(&source.user, host);
        let asked = self.subscribe_to(now, (key, peer), &uri, expires);
        let is_asked = asked.is_some();
        let patience = self.settings.timing.t1 * 64;
        let Some(source) = self.sources.table.get_mut(key) else {
            return;
        };
        source.lines.clear();
        let due = if let Some(subscriber) = asked {
            source.stage = Stage::Asked(subscriber);
            // RFC 6665 §4.1.2.4: timer N, after an answer that may take as long.
            now + patience * 2
        } else {
            source.stage = Stage::Resting;
            now + source.take_rest()
        };
        self.counters.dialog_watches_asked += u64::from(is_asked);
        self.sources.set_due(key, Some(due));
    }

    fn subscribe_to(
        &mut self,
        now: Timestamp,
        (key, peer): (Key, PeerId),
        uri: &str,
        expires: Duration,
    ) -> Option<Subscriber> {
        let way = self.way_of_request(peer, uri.as_bytes())?;
        let us = String::from_utf8_lossy(self.layer.sent_by(&way.flow)).into_owned();
        let login = self.settings.login_at(peer);
        let from = match login.as_deref().map(Login::user) {
            // A name of its own goes with credentials of its own.
            Some(name) if !name.contains('@') => {
                let domain = uri.rsplit_once('@').map_or(uri, |(_, domain)| domain);
                format!("<sip:{name}@{domain}>")
            }
            Some(_) | None => format!("<sip:{us}>"),
        };
        let to = format!("<{uri}>");
        let ask = Ask {
            uri: &way.uri,
            flow: way.flow,
            others: way.others.as_deref(),
            from: from.as_bytes(),
            to: to.as_bytes(),
            said: &[],
            terms: Terms {
                package: Package::Dialog,
                contact: self.contacts.of(&way.flow),
                accept: dialog_info::MEDIA_TYPE,
                expires_s: whole_seconds(expires),
            },
            forks_for: self.settings.timing.t1 * 64,
        };
        let tag = Tag::new(key, &mut self.rng);
        let turn = &mut Turn {
            now,
            layer: &mut self.layer,
            rng: &mut self.rng,
            scratch: &mut self.scratch,
        };
        Subscriber::subscribe(turn, &ask, tag, Some(user_of(key))).ok()
    }

    /// Sends a SUBSCRIBE within the dialogs that there are; whether any went out.
    fn refresh_with(
        &mut self,
        now: Timestamp,
        (key, peer): (Key, PeerId),
        subscriber: &mut Subscriber,
        expires: Duration,
    ) -> bool {
        let Some(flow) = subscriber.flow() else {
            return false;
        };
        let account = self.settings.login_at(peer);
        let account = account.map(Fallback::of_login);
        let terms = Terms {
            package: Package::Dialog,
            contact: self.contacts.of(&flow),
            accept: dialog_info::MEDIA_TYPE,
            expires_s: whole_seconds(expires),
        };
        let turn = &mut Turn {
            now,
            layer: &mut self.layer,
            rng: &mut self.rng,
            scratch: &mut self.scratch,
        };
        let whose = (Some(user_of(key)), account.as_ref());
        let mut is_sent = false;
        for fork in subscriber.forks() {
            is_sent |= subscriber.refresh(turn, fork, &terms, whose).is_ok();
        }
        is_sent
    }

    /// What is due of them.
    pub(super) fn wake_sources(&mut self, now: Timestamp) {
        while let Some((due, key)) = self.sources.due.first().copied()
            && due <= now
        {
            self.sources.set_due(key, None);
            self.wake_source(now, key);
        }
    }

    fn wake_source(&mut self, now: Timestamp, key: Key) {
        let Some(mut source) = self.sources.table.take(key) else {
            return;
        };
        let (peer, expires) = (source.peer, source.expires);
        let stage = std::mem::replace(&mut source.stage, Stage::Resting);
        let user = source.user.clone();
        self.sources.table.put_back(key, source);
        match stage {
            // Nothing was told in time, or it is time to ask anew.
            Stage::Asked(_) => self.rest_source(now, key, None),
            Stage::Resting => self.ask_source(now, key),
            Stage::Live(subscriber) if !self.tells_of_dialogs(now, peer) => {
                self.users.set_far(now, &user, None);
                self.sources.by_user.remove(&user);
                self.leave_source(now, (key, peer), subscriber);
            }
            Stage::Live(mut subscriber) => {
                let is_sent = self.refresh_with(now, (key, peer), &mut subscriber, expires);
                if let Some(source) = self.sources.table.get_mut(key) {
                    source.stage = Stage::Live(subscriber);
                }
                if !is_sent {
                    self.rest_source(now, key, None);
                }
            }
            Stage::Without => {
                if let Some(source) = self.sources.table.get_mut(key) {
                    source.stage = Stage::Without;
                }
            }
            Stage::Leaving(_) => self.sources.remove(key),
        }
    }

    /// Nothing is known of him for the time being.
    fn rest_source(&mut self, now: Timestamp, key: Key, rest: Option<Duration>) {
        let Some(source) = self.sources.table.get_mut(key) else {
            return;
        };
        if matches!(source.stage, Stage::Leaving(_)) {
            return self.sources.remove(key);
        }
        let rest = rest.unwrap_or_else(|| source.take_rest());
        source.stage = Stage::Resting;
        source.lines.clear();
        let user = source.user.clone();
        self.counters.dialog_watches_lost += 1;
        self.sources.set_due(key, Some(now + rest));
        self.users.set_far(now, &user, None);
    }

    /// The PBX does not tell of him, and will not.
    fn end_source(&mut self, now: Timestamp, key: Key, why: Option<Status>) {
        let Some(source) = self.sources.table.get_mut(key) else {
            return;
        };
        if matches!(source.stage, Stage::Leaving(_)) {
            return self.sources.remove(key);
        }
        source.stage = Stage::Without;
        source.lines.clear();
        let (user, peer) = (source.user.clone(), source.peer);
        self.sources.set_due(key, None);
        self.users.set_far(now, &user, None);
        self.counters.dialog_watches_refused += 1;
        let name = self.settings.peer(peer).map(|peer| &*peer.name);
        let status = why.map(Status::code);
        tracing::debug!(
            peer = name,
            status,
            "a peer does not tell of a callee's dialogs"
        );
        let is_unknown = matches!(why.map(Status::code), Some(405 | 489 | 501));
        if is_unknown && self.tells_of_dialogs(now, peer) {
            self.sources.strangers.insert(peer, now + UNKNOWN_FOR);
            tracing::warn!(peer = name, status, "a peer knows no dialog events");
        }
        self.lose_source(now, &user);
    }

    /// R2: who has no other source of availability is waited for by nobody; but whoever was waited for
    /// when we were started may be a user of ours who has not come back yet.
    fn lose_source(&mut self, now: Timestamp, user: &Aor) {
        if now >= self.sources.users_return_until && self.is_behind(user) {
            let user = name_of(user);
            self.desk.facts.push_back(Input::UserGone { user });
        }
    }
}

fn user_of(key: Key) -> User {
    User {
        call: key,
        part: PART,
    }
}
