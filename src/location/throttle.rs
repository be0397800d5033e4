//! How often each source has been wrong about a user of late, so that guessing takes years.
//!
//! Spec: RFC 7616 §5.7 (online dictionary attacks).
//!
//! Source and user are counted together: a phone with an old password shuts out neither its
//! neighbours behind the same NAT nor its user's other phones.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::hash::Hasher as _;
use std::net::IpAddr;
use std::time::Duration;

use siphasher::sip::SipHasher13;

use crate::random::Rng;
use crate::time::Timestamp;

/// A source, and a hash of the user that it claims to be.
type Who = (IpAddr, u64);

/// The part of an IPv6 address that a provider gives to one customer.
const CUSTOMER: u128 = !0 << 64;

/// Counts failures, each source's of each user for as long as `window`.
#[derive(Debug)]
pub struct Throttle {
    key: SipHasher13,
    window: Duration,
    failures_max: u32,
    sources_max: usize,
    failures: BTreeMap<Who, u32>,
    /// Who is counted, by the time of the first failure.
    since: VecDeque<(Timestamp, Who)>,
}

impl Throttle {
    /// A throttle that lets so many failures pass, and remembers so many sources.
    pub fn new(rng: &mut Rng, window: Duration, failures_max: u32, sources_max: usize) -> Self {
        Self {
            key: SipHasher13::new_with_keys(rng.bits(), rng.bits()),
            window,
            failures_max,
            sources_max,
            failures: BTreeMap::new(),
            since: VecDeque::new(),
        }
    }

    /// How many failures pass from here on.
    pub fn set_max(&mut self, failures_max: u32) {
        self.failures_max = failures_max;
    }

    /// Counts a failure; how many that makes.
    pub fn add(&mut self, now: Timestamp, source: IpAddr, user: &[u8]) -> u32 {
        self.forget_old(now);
        let who = self.who(source, user);
        if !self.failures.contains_key(&who) {
            if self.since.len() >= self.sources_max {
                self.forget_first();
            }
            self.since.push_back((now, who));
        }
        let count = self.failures.entry(who).or_default();
        *count += 1;
        *count
    }

    /// Whether this source has been wrong about this user as often as it may.
    pub fn is_closed(&mut self, now: Timestamp, source: IpAddr, user: &[u8]) -> bool {
        self.forget_old(now);
        let failures = self.failures.get(&self.who(source, user));
        failures.is_some_and(|failures| *failures >= self.failures_max)
    }

    fn forget_old(&mut self, now: Timestamp) {
        while let Some((since, _)) = self.since.front()
            && now.since(*since) >= self.window
        {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some((_, who)) = self.since.pop_front() {
            self.failures.remove(&who);
        }
    }

    fn who(&self, source: IpAddr, user: &[u8]) -> Who {
        let mut hasher = self.key;
        hasher.write(user);
        (network(source), hasher.finish())
    }
}

fn network(source: IpAddr) -> IpAddr {
    match source {
        IpAddr::V4(_) => source,
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & CUSTOMER).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::START;
    const WINDOW: Duration = Duration::from_mins(1);
    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    fn throttle(sources_max: usize) -> Throttle {
        Throttle::new(&mut Rng::from_number(1), WINDOW, 2, sources_max)
    }

    #[test]
    fn who_was_wrong_too_often_is_shut_out_until_the_minute_is_over() {
        let mut throttle = throttle(9);
        assert_eq!(throttle.add(NOW, HERE, b"bob"), 1);
        assert!(!throttle.is_closed(NOW, HERE, b"bob"));
        let later = NOW + WINDOW / 2;
        assert_eq!(throttle.add(later, HERE, b"bob"), 2);
        assert!(throttle.is_closed(later, HERE, b"bob"));
        assert!(!throttle.is_closed(NOW + WINDOW, HERE, b"bob"));
        assert!(throttle.failures.is_empty() && throttle.since.is_empty());
    }

    #[test]
    fn neither_neighbours_nor_other_phones_are_shut_out() {
        let mut throttle = throttle(9);
        for _ in 0..2 {
            throttle.add(NOW, HERE, b"bob");
        }
        assert!(!throttle.is_closed(NOW, HERE, b"alice"));
        assert!(!throttle.is_closed(NOW, THERE, b"bob"));
    }

    #[test]
    fn all_addresses_of_an_ipv6_network_are_one_source() {
        let mut throttle = throttle(9);
        let [one, another, elsewhere] = ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"]
            .map(|text| text.parse().expect("an address"));
        for source in [one, another] {
            throttle.add(NOW, source, b"bob");
        }
        assert!(throttle.is_closed(NOW, one, b"bob"));
        assert!(!throttle.is_closed(NOW, elsewhere, b"bob"));
    }

    #[test]
    fn only_so_many_sources_are_remembered() {
        let mut throttle = throttle(1);
        for source in [HERE, HERE, THERE] {
            throttle.add(NOW, source, b"bob");
        }
        assert_eq!((throttle.failures.len(), throttle.since.len()), (1, 1));
        assert!(!throttle.is_closed(NOW, HERE, b"bob"));
    }
}
