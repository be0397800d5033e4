//! Two streams that are passed on as they come: each side hears the other through us.
//!
//! Spec: RFC 3550 §5.1, §11 (the port of reports is the next one); RFC 4961; RULES R14.
//!
//! - A side's packets are taken from the address of its description or from that of its signalling, and
//!   what the other one says goes to where its last one came from: so it reaches a phone behind a NAT.
//! - A side that nothing comes from is sent to for the time of a trial.
//! - What is in a packet is nobody's business here: it may be encrypted.

use std::net::{IpAddr, SocketAddr};

use super::room::pair;
use super::stream::{Junk, PACKET_MAX, is_peer};
use super::trial::{Trial, Trust};

/// A side, as far as its signalling tells.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Party {
    /// Where its description wants packets; `None` if it has not said so, or wants none.
    pub described: Option<SocketAddr>,
    /// Where its signalling comes from.
    pub signalling: IpAddr,
    /// Whether it may be sent to where its description says though nothing comes from there.
    pub trust: Trust,
}

impl Party {
    /// The address that only its description names, if that is so.
    pub fn tried_at(&self) -> Option<IpAddr> {
        let described = self.described.filter(|_| self.trust == Trust::OnTrial);
        described.map(|described| described.ip())
    }
}

/// Both sides.
#[derive(Debug)]
pub struct Anchor {
    sides: [Side; 2],
}

#[derive(Debug)]
struct Side {
    /// Our port for its audio.
    port: u16,
    party: Party,
    /// Where its audio and its reports came from last.
    seen: [Option<SocketAddr>; 2],
    trial: Trial,
}

impl Side {
    /// Where it is sent one more packet; `place` is 0 for audio and 1 for reports.
    fn remote(&mut self, place: usize) -> Option<SocketAddr> {
        let described = || {
            let mut described = self.party.described?;
            let [audio, reports] = pair(described.port());
            described.set_port(if place == 0 { audio } else { reports });
            Some(described)
        };
        let beside = || {
            let audio = self.seen.first().copied().flatten()?;
            let [_, reports] = pair(audio.port());
            Some(SocketAddr::new(audio.ip(), reports))
        };
        let seen = self.seen.get(place).copied().flatten();
        // Whoever is heard somewhere else than he says has his reports there as well.
        let to = seen.or_else(beside).or_else(described)?;
        self.trial.sends().then_some(to)
    }
}

impl Anchor {
    /// These ports of ours, each for its party; who is on trial is sent so many packets.
    pub fn new(ports: [u16; 2], parties: [Party; 2], trial: u32) -> Self {
        let [first, second] = ports;
        let [a, b] = parties;
        let side = |port, party| Side {
            port,
            party,
            seen: [None; 2],
            trial: Trial::of(party.trust, trial),
        };
        Self {
            sides: [side(first, a), side(second, b)],
        }
    }

    /// The parties describe themselves anew: whoever moves is sent to where he says, until he is heard,
    /// and so many packets if he is on trial.
    pub fn describe(&mut self, parties: [Party; 2], trial: u32) {
        for (side, party) in self.sides.iter_mut().zip(parties) {
            if side.party != party {
                side.party = party;
                side.seen = [None; 2];
                side.trial = Trial::of(party.trust, trial);
            }
        }
    }

    /// The addresses that only a description names.
    pub fn tried_at(&self) -> impl Iterator<Item = IpAddr> {
        self.sides.iter().filter_map(|side| side.party.tried_at())
    }

    /// Whether the trial of a side has ended since this was last asked.
    pub fn take_end_of_trial(&mut self) -> bool {
        self.sides.iter_mut().any(|side| side.trial.take_end())
    }

    /// All ports of ours.
    pub fn ports(&self) -> impl Iterator<Item = u16> {
        self.sides.iter().flat_map(|side| pair(side.port))
    }

    /// Takes in a packet that came to a port of ours: from which port it goes on, and where to.
    pub fn handle(
        &mut self,
        port: u16,
        from: SocketAddr,
        bytes: &[u8],
    ) -> Result<Option<(u16, SocketAddr)>, Junk> {
        let [a, b] = &mut self.sides;
        let (side, other) = if pair(a.port).contains(&port) {
            (a, b)
        } else {
            (b, a)
        };
        let place = usize::from(port != side.port);
        let described = side.party.described.map(|described| described.ip());
        let signalling = side.party.signalling;
        if !is_peer(described.unwrap_or(signalling), signalling, from.ip()) {
            return Err(Junk::Source);
        }
        let is_rtp = bytes.first().is_some_and(|first| first >> 6 == 2);
        if !is_rtp || bytes.len() > PACKET_MAX {
            return Err(Junk::Malformed);
        }
        if let Some(seen) = side.seen.get_mut(place) {
            *seen = Some(from);
        }
        // A report of whoever signals does not vouch for whom he has described.
        if place == 0 || described == Some(from.ip()) {
            side.trial = Trial::Passed;
        }
        let [audio, reports] = pair(other.port);
        let leaves = if place == 0 { audio } else { reports };
        Ok(other.remote(place).map(|to| (leaves, to)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTP: &[u8] = b"\x80\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x09";

    const TRIAL: u32 = 5;

    fn at(address: &str) -> SocketAddr {
        address.parse().expect("an address")
    }

    /// A phone that believes to be at 192.168.1.7, and a PBX.
    fn anchor() -> Anchor {
        let phone = Party {
            described: Some(at("192.168.1.7:4000")),
            signalling: at("203.0.113.5:1").ip(),
            trust: Trust::OnTrial,
        };
        let pbx = Party {
            described: Some(at("198.51.100.1:6000")),
            signalling: at("198.51.100.1:1").ip(),
            trust: Trust::Full,
        };
        Anchor::new([20_000, 20_002], [phone, pbx], TRIAL)
    }

    #[test]
    fn a_phone_behind_a_nat_is_sent_to_where_it_sends_from() {
        let mut anchor = anchor();
        let early = anchor.handle(20_002, at("198.51.100.1:6000"), RTP);
        assert_eq!(early, Ok(Some((20_000, at("192.168.1.7:4000")))));
        let said = anchor.handle(20_000, at("203.0.113.5:61000"), RTP);
        assert_eq!(said, Ok(Some((20_002, at("198.51.100.1:6000")))));
        let heard = anchor.handle(20_002, at("198.51.100.1:6000"), RTP);
        assert_eq!(heard, Ok(Some((20_000, at("203.0.113.5:61000")))));
    }

    #[test]
    fn reports_go_beside_the_audio() {
        let mut anchor = anchor();
        let report = anchor.handle(20_001, at("203.0.113.5:61001"), RTP);
        assert_eq!(report, Ok(Some((20_003, at("198.51.100.1:6001")))));
        let back = anchor.handle(20_003, at("198.51.100.1:6001"), RTP);
        assert_eq!(back, Ok(Some((20_001, at("203.0.113.5:61001")))));
    }

    #[test]
    fn strangers_and_what_is_no_rtp_move_nothing() {
        let mut anchor = anchor();
        let stranger = anchor.handle(20_000, at("192.0.2.66:4000"), RTP);
        assert_eq!(stranger, Err(Junk::Source));
        for bytes in [&b""[..], b"\x16\xfe\xff", &[0x80; 1501]] {
            let cut = anchor.handle(20_000, at("203.0.113.5:61000"), bytes);
            assert_eq!(cut, Err(Junk::Malformed));
        }
        let heard = anchor.handle(20_002, at("198.51.100.1:6000"), RTP);
        assert_eq!(heard, Ok(Some((20_000, at("192.168.1.7:4000")))));
    }

    #[test]
    fn a_side_that_moves_is_sent_to_where_it_says() {
        let mut anchor = anchor();
        anchor
            .handle(20_002, at("198.51.100.1:6000"), RTP)
            .expect("taken");
        let phone = anchor.sides[0].party;
        let moved = Party {
            described: Some(at("198.51.100.9:7000")),
            signalling: at("198.51.100.1:1").ip(),
            trust: Trust::Full,
        };
        anchor.describe([phone, moved], TRIAL);
        let said = anchor.handle(20_000, at("203.0.113.5:61000"), RTP);
        assert_eq!(said, Ok(Some((20_002, at("198.51.100.9:7000")))));
    }

    #[test]
    fn who_wants_nothing_is_sent_nothing() {
        let mut anchor = anchor();
        let phone = anchor.sides[0].party;
        let deaf = Party {
            described: None,
            ..anchor.sides[1].party
        };
        anchor.describe([phone, deaf], TRIAL);
        let said = anchor.handle(20_000, at("203.0.113.5:61000"), RTP);
        assert_eq!(said, Ok(None));
    }

    /// A phone that describes somebody else, and whose calls are music.
    #[test]
    fn a_side_that_nothing_comes_from_is_sent_to_for_a_while() {
        let mut anchor = anchor();
        let passes = |anchor: &mut Anchor| {
            let heard = anchor.handle(20_002, at("198.51.100.1:6000"), RTP);
            heard.expect("taken").is_some()
        };
        assert!((0..TRIAL).all(|_| passes(&mut anchor)));
        assert!(anchor.take_end_of_trial() && !anchor.take_end_of_trial());
        assert!(!passes(&mut anchor));
        anchor
            .handle(20_000, at("203.0.113.5:61000"), RTP)
            .expect("taken");
        assert!((0..1000).all(|_| passes(&mut anchor)));
    }
}
