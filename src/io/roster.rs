//! Which stream connections there are, how many more may come, and who has to go for them.
//!
//! Spec: RFC 3261 §18 (a connection is reused by the address of its other end).
//!
//! A connection that has not carried a whole message is nobody's yet: when there are too many, in
//! all, of that kind or from one source, the oldest of those makes room (T18, T19). Proven ones never
//! do.
//!
//! One that we opened serves only those who mean whom it has proven to lead to: two names may share
//! an address (CVE-2020-15260).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::config::Connections;
use crate::sip::flow::{ConnectionId, ListenerId};
use crate::time::Timestamp;
use crate::tls::Proof;

use super::connection::{Opener, Writes};

/// How many connections there may be.
#[expect(clippy::struct_field_names, reason = "limits end in `_max`")]
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// In all.
    pub(super) connections_max: usize,
    /// From one IP address, by its own opening.
    pub(super) from_source_max: usize,
    /// Those that have yet to carry a message, TLS being agreed on included.
    pub(super) unproven_max: usize,
}

/// Files that are not connections: sockets that listen, the log, the event loops; with room to spare.
const OTHER_FILES: usize = 100;

impl Limits {
    /// What the operator wants, or fewer where the system allows few files: a connection that cannot
    /// be accepted is answered by nobody, while one too many costs a silent one its place.
    pub(super) fn within(wanted: Connections, files_max: usize) -> Self {
        let files_max = files_max.saturating_sub(OTHER_FILES);
        Self {
            connections_max: wanted.all_max.min(files_max),
            from_source_max: wanted.of_source_max,
            ..Self::default()
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        let usual = Connections::default();
        Self {
            connections_max: usual.all_max,
            from_source_max: usual.of_source_max,
            // At 40 KiB for one that agrees on TLS, 40 MB. Who means well is through in a second.
            unproven_max: 1_000,
        }
    }
}

/// A connection as the others see it.
#[derive(Debug)]
pub(super) struct Entry {
    /// The local end.
    pub(super) listener: ListenerId,
    /// The other end.
    pub(super) remote: SocketAddr,
    /// Who opened it.
    pub(super) opener: Opener,
    /// How the other end has to prove itself.
    pub(super) proof: Option<Arc<Proof>>,
    /// When.
    pub(super) since: Timestamp,
    /// What is put here is written; when the last of its kind is dropped, the connection ends.
    pub(super) writes: Writes,
}

/// All connections.
#[derive(Debug)]
pub(super) struct Roster {
    limits: Limits,
    entries: BTreeMap<ConnectionId, Entry>,
    /// The newest connection to each address, and to whom.
    by_remote: HashMap<(ListenerId, SocketAddr, Option<Arc<Proof>>), ConnectionId>,
    /// Those that others opened, by address.
    by_source: HashMap<IpAddr, Source>,
    /// Those that have yet to carry a message, oldest first.
    unproven: BTreeSet<ConnectionId>,
}

#[derive(Debug, Default)]
struct Source {
    open: usize,
    unproven: BTreeSet<ConnectionId>,
}

/// Whether one more connection may come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Admission {
    /// Only if this one goes.
    Instead(ConnectionId),
    /// It may not.
    Refused,
    /// It may.
    Welcome,
}

impl Entry {
    fn address(&self) -> (ListenerId, SocketAddr, Option<Arc<Proof>>) {
        (self.listener, self.remote, self.proof.clone())
    }
}

impl Roster {
    /// Nobody.
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            entries: BTreeMap::new(),
            by_remote: HashMap::new(),
            by_source: HashMap::new(),
            unproven: BTreeSet::new(),
        }
    }

    /// Takes in a connection; numbers are given in rising order.
    pub(super) fn insert(&mut self, id: ConnectionId, entry: Entry) {
        self.by_remote.insert(entry.address(), id);
        if entry.opener == Opener::Peer {
            self.unproven.insert(id);
            let source = self.by_source.entry(entry.remote.ip()).or_default();
            source.open += 1;
            source.unproven.insert(id);
        }
        self.entries.insert(id, entry);
    }

    /// It has carried a whole message.
    pub(super) fn prove(&mut self, id: ConnectionId) {
        self.unproven.remove(&id);
        let remote = self.entries.get(&id).map(|entry| entry.remote.ip());
        if let Some(source) = remote.and_then(|ip| self.by_source.get_mut(&ip)) {
            source.unproven.remove(&id);
        }
    }

    /// It is no more; whether it was there.
    pub(super) fn remove(&mut self, id: ConnectionId) -> bool {
        self.prove(id);
        let Some(entry) = self.entries.remove(&id) else {
            return false;
        };
        let address = entry.address();
        if self.by_remote.get(&address) == Some(&id) {
            self.by_remote.remove(&address);
        }
        if entry.opener == Opener::Peer {
            self.leave_source(entry.remote.ip());
        }
        true
    }

    /// Ends them all, each when what is queued for it is written.
    pub(super) fn clear(&mut self) {
        *self = Self::new(self.limits);
    }

    /// Whether a connection from there may come.
    pub(super) fn admission(&self, ip: IpAddr) -> Admission {
        let source = self.by_source.get(&ip);
        let from_source = source.map_or(0, |source| source.open);
        let oldest = if from_source >= self.limits.from_source_max {
            source.and_then(|source| source.unproven.first())
        } else if self.is_full() || self.unproven.len() >= self.limits.unproven_max {
            self.unproven.first()
        } else {
            return Admission::Welcome;
        };
        oldest.map_or(Admission::Refused, |id| Admission::Instead(*id))
    }

    /// Whether there is no room at all.
    pub(super) fn is_full(&self) -> bool {
        self.entries.len() >= self.limits.connections_max
    }

    /// Where to put what this connection is to write.
    pub(super) fn writes(&self, id: ConnectionId) -> Option<&Writes> {
        self.entries.get(&id).map(|entry| &entry.writes)
    }

    /// The newest connection to whoever proves himself so at that address.
    pub(super) fn find(
        &self,
        listener: ListenerId,
        remote: SocketAddr,
        proof: Option<Arc<Proof>>,
    ) -> Option<ConnectionId> {
        self.by_remote.get(&(listener, remote, proof)).copied()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Since when the oldest has been there.
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        self.entries.values().next().map(|entry| entry.since)
    }

    fn leave_source(&mut self, ip: IpAddr) {
        if let Some(source) = self.by_source.get_mut(&ip) {
            source.open -= 1;
            if source.open == 0 {
                self.by_source.remove(&ip);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    const LIMITS: Limits = Limits {
        connections_max: 3,
        from_source_max: 2,
        unproven_max: 3,
    };

    fn remote(host: u8, port: u16) -> SocketAddr {
        ([127, 0, 0, host], port).into()
    }

    fn entry(remote: SocketAddr, opener: Opener) -> Entry {
        let (writes, _) = mpsc::channel(1);
        Entry {
            listener: ListenerId(0),
            remote,
            opener,
            proof: None,
            since: Timestamp::START,
            writes,
        }
    }

    fn roster(remotes: &[SocketAddr]) -> Roster {
        let mut roster = Roster::new(LIMITS);
        for (id, remote) in (0..).zip(remotes) {
            roster.insert(ConnectionId(id), entry(*remote, Opener::Peer));
        }
        roster
    }

    #[test]
    fn there_are_fewer_connections_than_files() {
        let most = |files_max| Limits::within(Connections::default(), files_max).connections_max;
        assert_eq!(most(1024), 924);
        assert_eq!(most(usize::MAX), 10_000);
    }

    #[test]
    fn there_is_room_until_a_limit_is_reached() {
        let roster = roster(&[remote(1, 1), remote(2, 1)]);
        assert_eq!(roster.admission(remote(1, 2).ip()), Admission::Welcome);
    }

    #[test]
    fn a_source_with_too_many_gives_up_its_own_oldest_silent_one() {
        let roster = roster(&[remote(2, 1), remote(1, 1), remote(1, 2)]);
        let expected = Admission::Instead(ConnectionId(1));
        assert_eq!(roster.admission(remote(1, 3).ip()), expected);
    }

    #[test]
    fn when_all_are_too_many_the_oldest_silent_one_of_anybody_goes() {
        let mut roster = roster(&[remote(1, 1), remote(2, 1), remote(3, 1)]);
        roster.prove(ConnectionId(0));
        let expected = Admission::Instead(ConnectionId(1));
        assert_eq!(roster.admission(remote(4, 1).ip()), expected);
    }

    #[test]
    fn nobody_who_has_spoken_has_to_go() {
        let mut roster = roster(&[remote(1, 1), remote(1, 2)]);
        roster.prove(ConnectionId(0));
        roster.prove(ConnectionId(1));
        assert_eq!(roster.admission(remote(1, 3).ip()), Admission::Refused);
        assert_eq!(roster.admission(remote(2, 1).ip()), Admission::Welcome);
    }

    #[test]
    fn what_has_ended_leaves_room_and_nothing_else() {
        let mut roster = roster(&[remote(1, 1), remote(1, 2)]);
        assert!(roster.remove(ConnectionId(0)));
        assert!(roster.remove(ConnectionId(1)));
        assert!(!roster.remove(ConnectionId(1)));
        assert_eq!(roster.len(), 0);
        assert!(roster.by_remote.is_empty() && roster.by_source.is_empty());
        assert!(roster.unproven.is_empty());
    }

    #[test]
    fn an_address_is_reached_by_its_newest_connection() {
        let mut roster = roster(&[remote(1, 1)]);
        roster.insert(ConnectionId(7), entry(remote(1, 1), Opener::Us));
        assert_eq!(
            roster.find(ListenerId(0), remote(1, 1), None),
            Some(ConnectionId(7))
        );
        roster.remove(ConnectionId(0));
        assert_eq!(
            roster.find(ListenerId(0), remote(1, 1), None),
            Some(ConnectionId(7))
        );
        assert_eq!(roster.find(ListenerId(1), remote(1, 1), None), None);
    }

    /// A connection that we opened is not the other side's to account for.
    #[test]
    fn what_we_opened_counts_for_no_source() {
        let mut roster = roster(&[remote(1, 1)]);
        roster.insert(ConnectionId(7), entry(remote(1, 2), Opener::Us));
        assert_eq!(roster.admission(remote(1, 3).ip()), Admission::Welcome);
    }

    #[test]
    fn too_many_who_have_not_spoken_cost_the_oldest_of_them_its_place() {
        let limits = Limits {
            unproven_max: 1,
            ..LIMITS
        };
        let mut roster = Roster::new(limits);
        roster.insert(ConnectionId(0), entry(remote(1, 1), Opener::Peer));
        let expected = Admission::Instead(ConnectionId(0));
        assert_eq!(roster.admission(remote(2, 1).ip()), expected); // T19
        roster.prove(ConnectionId(0));
        assert_eq!(roster.admission(remote(2, 1).ip()), Admission::Welcome);
    }

    /// CVE-2020-15260: a connection was used for another name at the same address.
    #[test]
    fn a_connection_serves_only_the_name_that_it_has_proven() {
        let proof = |name: &str| {
            let authorities = "ca.pem".into();
            let name = name.into();
            Some(Arc::new(Proof { name, authorities }))
        };
        let mut roster = Roster::new(LIMITS);
        let mut to = |id, name| {
            let mut entry = entry(remote(1, 1), Opener::Us);
            entry.proof = proof(name);
            roster.insert(ConnectionId(id), entry);
        };
        to(0, "a.example");
        to(1, "b.example");
        let find = |proof| roster.find(ListenerId(0), remote(1, 1), proof);
        assert_eq!(find(proof("a.example")), Some(ConnectionId(0)));
        assert_eq!(find(proof("b.example")), Some(ConnectionId(1)));
        assert_eq!(find(proof("c.example")), None);
        assert_eq!(find(None), None);
    }
}
