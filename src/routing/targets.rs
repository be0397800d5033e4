//! The servers of every peer, as they are known now, each with its health.
//!
//! Spec: RFC 3263 §4.2, §4.3 (S-101).
//!
//! Invariants: an address belongs to one peer, the first that has it; a server that is still there
//! when its peer's name is looked up again keeps its health.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use smallvec::SmallVec;

use crate::random::Rng;
use crate::routing::health::{Change, Due, Health, Pings, Policy, State};
use crate::routing::srv::{self, Rank};
use crate::sip::flow::Transport;
use crate::time::Timestamp;

/// The most servers that one request tries: each may cost its caller [`Policy::patience`].
const TRIED_MAX: usize = 4;

/// One server: an address and what carries requests there.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Server {
    /// What carries requests.
    pub transport: Transport,
    /// Where to.
    pub remote: SocketAddr,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "sip:{};transport={}",
            self.remote,
            self.transport.uri_name()
        )
    }
}

/// A server that was found for a place of a peer's.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Located {
    /// Which place, in the order of the configuration.
    pub place: usize,
    /// The server.
    pub server: Server,
    /// Its rank among those of the place.
    pub rank: Rank,
}

/// What has happened to a server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Happening {
    /// Whose it is.
    pub peer: usize,
    /// The server.
    pub server: Server,
    /// Which of the peer's places it is at.
    pub place: usize,
    /// What is to be done.
    pub due: Due,
}

/// What is told of a server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Told {
    /// Whose it is.
    pub peer: usize,
    /// The server.
    pub server: Server,
    /// Whether requests go there.
    pub state: State,
    /// Since when.
    pub since: Timestamp,
    /// How long its last answer to OPTIONS took.
    pub rtt: Option<Duration>,
}

/// The servers of every peer; a peer is a number.
#[derive(Debug, Default)]
pub struct Targets {
    groups: Vec<Group>,
    /// By [`number_of`] their address.
    by_ip: BTreeMap<u128, usize>,
    next: Option<Timestamp>,
}

#[derive(Debug)]
struct Group {
    policy: Policy,
    targets: SmallVec<[Target; 1]>,
}

#[derive(Debug)]
struct Target {
    located: Located,
    health: Health,
}

impl Targets {
    /// Peers of whom no server is known yet.
    pub fn new(policies: impl IntoIterator<Item = Policy>) -> Self {
        let group = |policy| Group {
            policy,
            targets: SmallVec::new(),
        };
        Self {
            groups: policies.into_iter().map(group).collect(),
            ..Self::default()
        }
    }

    /// Takes in which servers a peer has; an address twice is its first one. Whether anything is
    /// other than before.
    pub fn relocate(&mut self, now: Timestamp, peer: usize, located: &[Located]) -> bool {
        let Some(group) = self.groups.get_mut(peer) else {
            return false;
        };
        let mut fresh: SmallVec<[Target; 1]> = SmallVec::new();
        for located in located {
            let is_there = |target: &&Target| target.located.server == located.server;
            if fresh.iter().any(|target| is_there(&target)) {
                continue;
            }
            let known = group.targets.iter().find(is_there);
            fresh.push(Target {
                located: *located,
                health: known.map_or_else(|| Health::new(now), |target| target.health),
            });
        }
        let is_pinged = every(&group.policy, fresh.len()).is_some();
        for target in &mut fresh {
            target.health.keep_pinging(now, is_pinged);
        }
        // DNS turns its answers round; the same servers must give the same choice.
        fresh.sort_by_key(|target| {
            let Located {
                place,
                server,
                rank,
            } = target.located;
            (place, rank, server)
        });
        let same = |(one, other): (&Target, &Target)| one.located == other.located;
        let has_changed =
            group.targets.len() != fresh.len() || !group.targets.iter().zip(&fresh).all(same);
        group.targets = fresh;
        self.by_ip.clear();
        for (peer, group) in self.groups.iter().enumerate() {
            for target in &group.targets {
                let ip = target.located.server.remote.ip();
                self.by_ip.entry(number_of(ip)).or_insert(peer);
            }
        }
        self.find_next();
        has_changed
    }

    /// Takes over what was known of the servers that are still there, whosever they were.
    pub fn inherit(&mut self, before: &Self) {
        let known = |server: Server| {
            let mut targets = before.groups.iter().flat_map(|group| &group.targets);
            targets.find(|target| target.located.server == server)
        };
        for group in &mut self.groups {
            let is_pinged = every(&group.policy, group.targets.len()).is_some();
            for target in &mut group.targets {
                if let Some(known) = known(target.located.server) {
                    target.health = known.health;
                    target.health.keep_pinging(known.health.since(), is_pinged);
                }
            }
        }
        self.find_next();
    }

    /// The servers that a request to this peer tries, in this order; empty if none is known.
    ///
    /// `seed` decides among equals: the same seed chooses the same server while all is as it was.
    /// Servers that are down are left out, unless all are: then the least that can be done is to try
    /// them as if none were.
    pub fn choose(&self, peer: usize, seed: impl FnOnce() -> u64) -> SmallVec<[Located; 1]> {
        let Some(group) = self.groups.get(peer) else {
            return SmallVec::new();
        };
        if let [only] = &*group.targets {
            return SmallVec::from_iter([only.located]);
        }
        let is_up = |target: &&Target| target.health.state() == State::Up;
        let mut chosen: SmallVec<[Located; 1]> = group
            .targets
            .iter()
            .filter(is_up)
            .map(|target| target.located)
            .collect();
        if chosen.is_empty() {
            chosen.extend(group.targets.iter().map(|target| target.located));
        }
        let rank = |located: &Located| (located.place, located.rank);
        order(&mut chosen, rank, seed);
        chosen.truncate(TRIED_MAX);
        chosen
    }

    /// How long a server of this peer may say nothing while another one is left.
    pub fn patience(&self, peer: usize) -> Duration {
        let policy = self.groups.get(peer).map(|group| group.policy);
        policy.unwrap_or_default().patience
    }

    /// The peer whose server has this address.
    pub fn peer_at(&self, ip: IpAddr) -> Option<usize> {
        self.by_ip.get(&number_of(ip)).copied()
    }

    /// Whether any server of this peer is known.
    pub fn is_located(&self, peer: usize) -> bool {
        let group = self.groups.get(peer);
        group.is_some_and(|group| !group.targets.is_empty())
    }

    /// A request failed at this server; what of it is worth telling, if anything is.
    #[must_use]
    pub fn on_failed(
        &mut self,
        now: Timestamp,
        server: Server,
        why: Change,
        retry_after: Option<Duration>,
    ) -> Option<Happening> {
        self.change(server, |health, policy, _| {
            health.on_failed(now, policy, why, retry_after)
        })
    }

    /// OPTIONS went out to this server.
    pub fn on_ping_sent(&mut self, now: Timestamp, server: Server, number: u64) {
        let nothing = self.change(server, |health, policy, _| {
            health.on_ping_sent(now, policy, number);
            None
        });
        debug_assert_eq!(nothing, None, "sending changes nothing");
    }

    /// What came of the OPTIONS of this number: `None` an answer, else why there was none.
    #[must_use]
    pub fn on_pinged(
        &mut self,
        now: Timestamp,
        number: u64,
        failed: Option<Change>,
    ) -> Option<Happening> {
        let mut targets = self.groups.iter().flat_map(|group| &group.targets);
        let target = targets.find(|target| target.health.awaits(number))?;
        let server = target.located.server;
        self.change(server, |health, policy, every| {
            health.on_pinged(now, policy, every, failed)
        })
    }

    /// Whether the OPTIONS of this number wait for their answer.
    pub fn awaits(&self, number: u64) -> bool {
        let mut targets = self.groups.iter().flat_map(|group| &group.targets);
        targets.any(|target| target.health.awaits(number))
    }

    /// What is due; ask until there is nothing.
    #[must_use]
    pub fn handle_timeout(&mut self, now: Timestamp) -> Option<Happening> {
        if self.next.is_none_or(|next| next > now) {
            return None;
        }
        let mut found = None;
        for (peer, group) in self.groups.iter_mut().enumerate() {
            let every = every(&group.policy, group.targets.len()).unwrap_or_default();
            let policy = group.policy;
            found = group.targets.iter_mut().find_map(|target| {
                let due = target.health.handle_timeout(now, &policy, every)?;
                Some(Happening {
                    peer,
                    server: target.located.server,
                    place: target.located.place,
                    due,
                })
            });
            if found.is_some() {
                break;
            }
        }
        self.find_next();
        found
    }

    /// When [`Self::handle_timeout`] has work to do.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        self.next
    }

    /// No more OPTIONS.
    pub fn stop_pinging(&mut self, now: Timestamp) {
        for target in self
            .groups
            .iter_mut()
            .flat_map(|group| group.targets.iter_mut())
        {
            target.health.keep_pinging(now, false);
        }
        self.find_next();
    }

    /// All servers, peer by peer.
    pub fn all(&self) -> impl Iterator<Item = Told> {
        let groups = self.groups.iter().enumerate();
        groups.flat_map(|(peer, group)| {
            group.targets.iter().map(move |target| Told {
                peer,
                server: target.located.server,
                state: target.health.state(),
                since: target.health.since(),
                rtt: target.health.rtt(),
            })
        })
    }

    fn change(
        &mut self,
        server: Server,
        change: impl FnOnce(&mut Health, &Policy, Duration) -> Option<Change>,
    ) -> Option<Happening> {
        let peer = self.peer_at(server.remote.ip())?;
        let group = self.groups.get_mut(peer)?;
        let every = every(&group.policy, group.targets.len()).unwrap_or_default();
        let is_there = |target: &&mut Target| target.located.server == server;
        let target = group.targets.iter_mut().find(is_there)?;
        let change = change(&mut target.health, &group.policy, every);
        let place = target.located.place;
        self.find_next();
        change.map(|change| Happening {
            peer,
            server,
            place,
            due: Due::Changed(change),
        })
    }

    fn find_next(&mut self) {
        let targets = self.groups.iter().flat_map(|group| &group.targets);
        self.next = targets.filter_map(|target| target.health.deadline()).min();
    }
}

/// An address as one number, which compares faster; an IPv4 address is that of its IPv6 form.
fn number_of(ip: IpAddr) -> u128 {
    let mapped = match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    mapped.to_bits()
}

/// How often the servers of a peer that has so many are sent OPTIONS, if they are.
fn every(policy: &Policy, servers: usize) -> Option<Duration> {
    match policy.pings {
        Pings::Every(every) => Some(every),
        Pings::WithChoice(every) if servers > 1 => Some(every),
        Pings::WithChoice(_) | Pings::Off => None,
    }
}

/// The places in the order of the configuration, and within each by rank and by chance.
fn order(
    located: &mut [Located],
    rank: impl Fn(&Located) -> (usize, Rank),
    seed: impl FnOnce() -> u64,
) {
    located.sort_by_key(&rank);
    let mut rng = None;
    let mut rest = located;
    let mut seed = Some(seed);
    while let Some(first) = rest.first() {
        let place = first.place;
        let of_place = rest.iter().take_while(|it| it.place == place).count();
        let (of_place, others) = rest.split_at_mut(of_place);
        if of_place.len() > 1 {
            let rng =
                rng.get_or_insert_with(|| Rng::from_number(seed.take().map_or(0, |seed| seed())));
            srv::order(of_place, |it| it.rank, rng);
        }
        rest = others;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::START;

    fn server(host: u8) -> Server {
        Server {
            transport: Transport::Udp,
            remote: SocketAddr::from(([192, 0, 2, host], 5060)),
        }
    }

    fn located(place: usize, host: u8) -> Located {
        Located {
            place,
            server: server(host),
            rank: Rank::default(),
        }
    }

    fn quiet() -> Policy {
        Policy {
            pings: Pings::Off,
            ..Policy::default()
        }
    }

    fn targets(policy: Policy, hosts: &[u8]) -> Targets {
        let mut targets = Targets::new([policy, policy]);
        let located: Vec<_> = (0..)
            .zip(hosts)
            .map(|(place, host)| located(place, *host))
            .collect();
        targets.relocate(NOW, 1, &located);
        targets
    }

    fn chosen(targets: &Targets) -> Vec<Server> {
        let chosen = targets.choose(1, || 5);
        chosen.iter().map(|located| located.server).collect()
    }

    #[test]
    fn places_are_tried_in_the_order_in_which_they_are_written() {
        let targets = targets(quiet(), &[9, 3, 7]);
        assert_eq!(chosen(&targets), [server(9), server(3), server(7)]);
        assert!(targets.choose(0, || 5).is_empty());
    }

    #[test]
    fn a_server_that_failed_is_left_out_until_it_has_rested() {
        let mut targets = targets(quiet(), &[1, 2]);
        let told = targets.on_failed(NOW, server(1), Change::Silent, None);
        assert_eq!(
            told.map(|told| told.due),
            Some(Due::Changed(Change::Silent))
        );
        assert_eq!(chosen(&targets), [server(2)]);
        let back = NOW + Policy::default().down_for;
        assert_eq!(targets.poll_timeout(), Some(back));
        let told = targets.handle_timeout(back);
        assert_eq!(
            told.map(|told| told.due),
            Some(Due::Changed(Change::Rested))
        );
        assert_eq!(targets.handle_timeout(back), None);
        assert_eq!(chosen(&targets), [server(1), server(2)]);
    }

    #[test]
    fn where_all_are_down_they_are_tried_as_if_none_were() {
        let mut targets = targets(quiet(), &[1, 2]);
        for host in [1, 2] {
            let _told = targets.on_failed(NOW, server(host), Change::Unreachable, None);
        }
        assert_eq!(chosen(&targets), [server(1), server(2)]);
    }

    #[test]
    fn equals_are_chosen_by_the_seed_alone() {
        let mut targets = targets(quiet(), &[]);
        let equals: Vec<_> = (1..=4).map(|host| located(0, host)).collect();
        targets.relocate(NOW, 1, &equals);
        let first = |seed| targets.choose(1, || seed)[0].server;
        assert_eq!(first(11), first(11));
        let firsts: std::collections::BTreeSet<_> = (0..64).map(first).collect();
        assert_eq!(firsts.len(), 4);
    }

    #[test]
    fn a_server_that_is_found_again_keeps_its_health() {
        let mut targets = targets(quiet(), &[1, 2]);
        let _told = targets.on_failed(NOW, server(1), Change::Silent, None);
        targets.relocate(NOW, 1, &[located(0, 1), located(0, 3)]);
        assert_eq!(chosen(&targets), [server(3)]);
        assert_eq!(targets.peer_at(server(2).remote.ip()), None);
        assert_eq!(targets.peer_at(server(3).remote.ip()), Some(1));
    }

    #[test]
    fn only_where_there_is_a_choice_are_servers_pinged_unasked() {
        let mut alone = targets(Policy::default(), &[1]);
        assert_eq!(alone.handle_timeout(NOW), None);
        let mut two = targets(Policy::default(), &[1, 2]);
        for host in [1, 2] {
            let happening = two.handle_timeout(NOW).expect("a ping is due");
            assert_eq!((happening.server, happening.due), (server(host), Due::Ping));
            two.on_ping_sent(NOW, happening.server, host.into());
        }
        assert_eq!(two.handle_timeout(NOW), None);
        two.stop_pinging(NOW);
        assert_eq!(two.poll_timeout(), None);
    }

    #[test]
    fn an_answer_in_another_order_changes_nothing() {
        let mut targets = targets(quiet(), &[]);
        let mut equals: Vec<_> = (1..=4).map(|host| located(0, host)).collect();
        assert!(targets.relocate(NOW, 1, &equals));
        let before = chosen(&targets);
        equals.rotate_left(1);
        assert!(!targets.relocate(NOW, 1, &equals));
        assert_eq!(chosen(&targets), before);
    }

    #[test]
    fn other_settings_leave_the_health_of_a_server_as_it_was() {
        let mut before = targets(quiet(), &[1, 2]);
        let _told = before.on_failed(NOW, server(2), Change::Silent, None);
        let mut after = targets(quiet(), &[3, 2]);
        after.inherit(&before);
        assert_eq!(chosen(&after), [server(3)]);
    }

    #[test]
    fn a_request_tries_no_more_than_four_servers() {
        let targets = targets(quiet(), &[1, 2, 3, 4, 5, 6]);
        assert_eq!(chosen(&targets).len(), TRIED_MAX);
    }
}
