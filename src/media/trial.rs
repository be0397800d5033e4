//! How long somebody is sent sound at an address that only his description names.
//!
//! Spec: RFC 3550 §9 (what is not asked for); RFC 4961; RFC 8445 §19.5.1 (the voice hammer attack).
//!
//! ```text
//!   Passed <--a packet from there-- Going --so many packets sent--> Ending --told--> Over
//!      ^------------------------------a packet from there--------------------------/
//! ```
//!
//! Whoever writes somebody else's address into his description has us send there, and stays out of it
//! himself: one request would be worth minutes of sound. So an address that is not that of the
//! signalling is taken at its word for a few seconds.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::room::TICK;

/// How many are sent to on trial at one address at once: as much as a call or two, however many INVITEs
/// name it.
const TRIALS_MAX: u32 = 4;

/// Whether a description may be believed that wants sound at its address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Trust {
    /// Its sender signals from there, or is known to us as a peer.
    Full,
    /// For as long as a trial lasts.
    OnTrial,
}

impl Trust {
    /// What a description is worth whose sender signals from there.
    pub fn of(described: IpAddr, signalling: IpAddr) -> Self {
        let (described, signalling) = (described.to_canonical(), signalling.to_canonical());
        // A machine may send to itself wherever it likes.
        let is_here = described.is_loopback() && signalling.is_loopback();
        if described == signalling || is_here {
            Self::Full
        } else {
            Self::OnTrial
        }
    }
}

/// How far it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Trial {
    /// So many packets may be sent yet.
    Going(u32),
    /// The last one has been sent.
    Ending,
    /// The same, and that was told.
    Over,
    /// It is who he says he is.
    Passed,
}

impl Trial {
    /// As the trust is, so many packets at most.
    pub(super) fn of(trust: Trust, packets: u32) -> Self {
        match trust {
            Trust::Full => Self::Passed,
            Trust::OnTrial => Self::Going(packets),
        }
    }

    /// Whether one more packet may be sent, which counts.
    pub(super) fn sends(&mut self) -> bool {
        match self {
            Self::Passed => true,
            Self::Ending | Self::Over => false,
            Self::Going(packets) => {
                let may_send = *packets > 0;
                *packets = packets.saturating_sub(1);
                if *packets == 0 {
                    *self = Self::Ending;
                }
                may_send
            }
        }
    }

    /// Whether it has ended since this was last asked.
    pub(super) fn take_end(&mut self) -> bool {
        let ends = *self == Self::Ending;
        if ends {
            *self = Self::Over;
        }
        ends
    }
}

/// How many are sent to on trial at each address; who has passed counts until his stream ends.
#[derive(Debug, Default)]
pub(super) struct Trials {
    each: BTreeMap<IpAddr, u32>,
}

impl Trials {
    /// One more; whether he may be sent anything before something comes from there.
    pub(super) fn begin(&mut self, at: IpAddr) -> bool {
        let count = self.each.entry(at).or_default();
        *count += 1;
        *count <= TRIALS_MAX
    }

    /// One less.
    pub(super) fn end(&mut self, at: IpAddr) {
        let left = self.each.get_mut(&at).map(|count| {
            *count = count.saturating_sub(1);
            *count
        });
        if left == Some(0) {
            self.each.remove(&at);
        }
    }

    /// All have ended.
    pub(super) fn clear(&mut self) {
        self.each.clear();
    }
}

/// How many packets are sent in this time, at one a tick.
pub(super) fn packets_in(time: Duration) -> u32 {
    u32::try_from(time.as_millis() / TICK.as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_believed_that_is_the_one_of_the_signalling() {
        let trust = |described: &str, signalling: &str| {
            let [described, signalling] =
                [described, signalling].map(|it| it.parse().expect("an address"));
            Trust::of(described, signalling)
        };
        assert_eq!(trust("192.0.2.1", "192.0.2.1"), Trust::Full);
        assert_eq!(trust("192.0.2.1", "::ffff:192.0.2.1"), Trust::Full);
        assert_eq!(trust("127.0.0.9", "127.0.0.1"), Trust::Full);
        assert_eq!(trust("192.0.2.1", "192.0.2.2"), Trust::OnTrial);
        assert_eq!(trust("192.168.1.7", "203.0.113.5"), Trust::OnTrial);
    }

    #[test]
    fn a_trial_ends_after_so_many_packets_and_says_so_once() {
        let mut trial = Trial::of(Trust::OnTrial, 2);
        assert!(trial.sends() && !trial.take_end());
        assert!(trial.sends() && trial.take_end());
        assert!(!trial.sends() && !trial.take_end());
    }

    #[test]
    fn no_more_than_a_few_are_sent_to_at_one_address() {
        let mut trials = Trials::default();
        let [victim, other] = ["192.0.2.1", "192.0.2.2"].map(|it| it.parse().expect("an address"));
        assert!((0..TRIALS_MAX).all(|_| trials.begin(victim)));
        assert!(!trials.begin(victim) && trials.begin(other));
        trials.end(victim);
        trials.end(victim);
        assert!(trials.begin(victim) && !trials.begin(victim));
        for at in [victim; 5].into_iter().chain([other]) {
            trials.end(at);
        }
        assert!(trials.each.is_empty());
        let mut none = Trial::of(Trust::OnTrial, 0);
        assert!(!none.sends() && none.take_end());
    }

    #[test]
    fn who_is_believed_is_sent_to_for_ever() {
        let mut trial = Trial::of(Trust::Full, 2);
        assert!((0..1000).all(|_| trial.sends()));
        assert!(!trial.take_end());
    }
}
