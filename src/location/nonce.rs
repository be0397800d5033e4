//! Nonces that prove by themselves that we made them, and when; and how often each was used.
//!
//! Spec: RFC 7616 §3.3, §3.4 (nc), §5.4, §5.5 (replay).
//!
//! ```text
//!   ttttttttttttttttnnnnnnnnnnnnnnnnssssssssssssssss
//!   microseconds    number          seal: keyed hash of both, and of the address it was sent to
//! ```
//!
//! - A challenge costs no memory: a nonce is remembered when somebody has proved by it who he is. So
//!   only our own users can fill the table, and what makes way there is not taken again.
//! - Nobody can use a nonce in another's name, who forges the source of his datagrams: he does not
//!   see the challenge that goes there.

use std::collections::BTreeMap;
use std::hash::Hash as _;
use std::hash::Hasher as _;
use std::net::IpAddr;
use std::time::Duration;

use siphasher::sip::SipHasher24;
use subtle::ConstantTimeEq as _;

use crate::random::Rng;
use crate::time::Timestamp;

/// When a nonce was made, and which one it was.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Serial {
    made: Timestamp,
    number: u64,
}

/// Makes nonces, and knows them again.
#[derive(Debug)]
pub(super) struct Nonces {
    seal: SipHasher24,
    made: u64,
    life: Duration,
    used_max: usize,
    /// The highest count that each came with.
    used: BTreeMap<Serial, u32>,
    /// This one and all that are older have made way.
    forgotten: Option<Serial>,
}

/// A nonce of the past, or of somebody else: the phone may try with another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Stale;

impl Nonces {
    /// A maker of nonces that live this long, with a key of its own.
    pub(super) fn new(rng: &mut Rng, life: Duration, used_max: usize) -> Self {
        Self {
            seal: SipHasher24::new_with_keys(rng.bits(), rng.bits()),
            made: 0,
            life,
            used_max,
            used: BTreeMap::new(),
            forgotten: None,
        }
    }

    /// How long each lives from when it was made.
    pub(super) fn set_life(&mut self, life: Duration) {
        self.life = life;
    }

    /// A nonce that nobody has seen, for somebody at this address.
    pub(super) fn make(&mut self, now: Timestamp, source: IpAddr) -> String {
        self.made += 1;
        let serial = Serial {
            made: now,
            number: self.made,
        };
        let seal = self.sealed(serial, source);
        let (time, number) = (now.as_micros(), serial.number);
        format!("{time:016x}{number:016x}{seal:016x}")
    }

    /// Reads a nonce that was sent there and has not had its time.
    pub(super) fn read(
        &self,
        now: Timestamp,
        source: IpAddr,
        text: &[u8],
    ) -> Result<Serial, Stale> {
        let (serial, seal) = parse(text).ok_or(Stale)?;
        let is_ours: bool = self.sealed(serial, source).ct_eq(&seal).into();
        let is_young = self.is_young(now, serial) && self.forgotten < Some(serial);
        (is_ours && is_young).then_some(serial).ok_or(Stale)
    }

    /// Takes one use of a nonce.
    ///
    /// S-173: each use has a higher count than the one before, so that what somebody overheard is
    /// of no use to him.
    pub(super) fn spend(
        &mut self,
        now: Timestamp,
        serial: Serial,
        count: u32,
    ) -> Result<(), Stale> {
        self.forget_old(now);
        let before = self.used.get(&serial).copied().unwrap_or_default();
        if count <= before {
            return Err(Stale);
        }
        self.used.insert(serial, count);
        if self.used.len() > self.used_max
            && let Some((oldest, _)) = self.used.pop_first()
        {
            self.forgotten = Some(oldest);
        }
        Ok(())
    }

    fn sealed(&self, serial: Serial, source: IpAddr) -> u64 {
        let mut seal = self.seal;
        seal.write_u64(serial.made.as_micros());
        seal.write_u64(serial.number);
        source.hash(&mut seal);
        seal.finish()
    }

    fn is_young(&self, now: Timestamp, serial: Serial) -> bool {
        now.since(serial.made) <= self.life
    }

    fn forget_old(&mut self, now: Timestamp) {
        while let Some((oldest, _)) = self.used.first_key_value()
            && !self.is_young(now, *oldest)
        {
            self.used.pop_first();
        }
    }
}

fn parse(text: &[u8]) -> Option<(Serial, u64)> {
    let text = str::from_utf8(text).ok()?;
    let (time, rest) = text.split_at_checked(16)?;
    let (number, seal) = rest.split_at_checked(16)?;
    let read = |digits: &str| u64::from_str_radix(digits, 16).ok();
    let serial = Serial {
        made: Timestamp::from(Duration::from_micros(read(time)?)),
        number: read(number)?,
    };
    Some((serial, read(seal)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: Duration = Duration::from_mins(5);
    const NOW: Timestamp = Timestamp::START;
    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    fn nonces(used_max: usize) -> Nonces {
        Nonces::new(&mut Rng::from_number(1), LIFE, used_max)
    }

    impl Nonces {
        fn take(&mut self, now: Timestamp, nonce: &str, count: u32) -> Result<(), Stale> {
            let serial = self.read(now, HERE, nonce.as_bytes())?;
            self.spend(now, serial, count)
        }
    }

    #[test]
    fn a_nonce_is_good_for_one_use_of_each_count_upwards() {
        let mut nonces = nonces(9);
        let nonce = nonces.make(NOW, HERE);
        assert_eq!(nonces.take(NOW, &nonce, 1), Ok(())); // S-173
        assert_eq!(nonces.take(NOW, &nonce, 1), Err(Stale)); // S-173
        assert_eq!(nonces.take(NOW, &nonce, 7), Ok(()));
        assert_eq!(nonces.take(NOW, &nonce, 6), Err(Stale));
    }

    #[test]
    fn two_nonces_of_one_instant_are_two() {
        let mut nonces = nonces(9);
        let [first, second] = [nonces.make(NOW, HERE), nonces.make(NOW, HERE)];
        assert_eq!(nonces.take(NOW, &first, 1), Ok(()));
        assert_eq!(nonces.take(NOW, &second, 1), Ok(()));
    }

    #[test]
    fn a_nonce_is_good_where_it_was_sent_and_nowhere_else() {
        let mut nonces = nonces(9);
        let nonce = nonces.make(NOW, THERE);
        assert_eq!(nonces.take(NOW, &nonce, 1), Err(Stale));
        assert!(nonces.read(NOW, THERE, nonce.as_bytes()).is_ok());
    }

    #[test]
    fn a_nonce_grows_old_and_leaves_nothing_behind() {
        let mut nonces = nonces(9);
        let old = nonces.make(NOW, HERE);
        assert_eq!(nonces.take(NOW + LIFE, &old, 1), Ok(()));
        let later = NOW + LIFE + Duration::from_micros(1);
        assert_eq!(nonces.take(later, &old, 2), Err(Stale));
        let new = nonces.make(later, HERE);
        assert_eq!(nonces.take(later, &new, 1), Ok(()));
        assert_eq!(nonces.used.len(), 1);
    }

    #[test]
    fn nobody_makes_a_nonce_of_ours() {
        let mut nonces = nonces(9);
        let nonce = nonces.make(NOW, HERE);
        let mut foreign = Nonces::new(&mut Rng::from_number(2), LIFE, 9);
        for made_up in [
            foreign.make(NOW, HERE),
            nonce.replacen('0', "1", 1),
            nonce[1..].to_owned(),
            format!("{nonce}0"),
            "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0vabcd".to_owned(),
            String::new(),
        ] {
            assert_eq!(nonces.take(NOW, &made_up, 1), Err(Stale), "{made_up}");
        }
    }

    #[test]
    fn a_nonce_that_made_way_in_a_full_table_is_not_taken_again() {
        let mut nonces = nonces(2);
        let made: Vec<_> = (0..3).map(|_| nonces.make(NOW, HERE)).collect();
        for nonce in &made {
            assert_eq!(nonces.take(NOW, nonce, 1), Ok(()));
        }
        assert_eq!(nonces.used.len(), 2);
        assert_eq!(nonces.take(NOW, &made[0], 2), Err(Stale)); // S-173
        assert_eq!(nonces.take(NOW, &made[1], 2), Ok(()));
    }
}
