//! Calls of phones behind NATs whose audio passes us.
//!
//! Spec: RULES R14; RFC 3550 §6.3.5.
//!
//! - A call has its ports before its INVITE goes out, and for as long as it is up. Without ports, or ports
//!   of its phone's family, it goes on as if no phone were behind a NAT.
//! - One that is answered, not on hold, and of whose two sides nothing comes, is ended: nobody may be
//!   left who would hang up. It takes `media.timeout`, and twice that at most. One that lost its ports for good is ended when it is answered.

use std::net::SocketAddr;

use crate::call::{NatMedia, Offer, Side};
use crate::media::anchor::Party;
use crate::media::desk::RoomId;
use crate::shard::sound::trust_of;
use crate::shard::{Held, Parties, Shard};
use crate::table::Key;
use crate::time::Timestamp;

/// The ports of a call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Anchorage {
    pub(super) room: RoomId,
    /// For the caller and for the callee.
    pub(super) at: [SocketAddr; 2],
    pub(super) lasts: Lasts,
}

/// How well a call is heard through us.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Lasts {
    /// As far as is known.
    Open,
    /// Nothing has come for the time that is given.
    Silent,
    /// The ports were lost, and asked for once more.
    Again,
    /// They were lost for good.
    Lost,
}

impl Shard {
    /// Gives a call ports, if its audio is to pass us and it has none.
    pub(super) fn anchor(
        &mut self,
        key: Key,
        has: Option<Anchorage>,
        offer: &mut Offer<'_>,
    ) -> Option<Anchorage> {
        let phone = offer.phone.as_ref().map(|(_, flow)| flow.remote.ip());
        let ours = self.settings.sound.as_ref().map(|sound| sound.address);
        // There is no way from IPv4 to IPv6: whom we could not hear the PBX hears as he is.
        let both = phone.zip(ours);
        let is_beside = both.is_some_and(|(one, other)| one.is_ipv4() == other.is_ipv4());
        if offer.nat_media != NatMedia::Anchor || !is_beside {
            return has;
        }
        let anchorage = has.or_else(|| {
            let taken = self.sounds.take_two(key);
            self.counters.rooms_refused += u64::from(taken.is_none());
            let lasts = Lasts::Open;
            taken.map(|(room, at)| Anchorage { room, at, lasts })
        });
        offer.anchor = anchorage.map(|anchorage| anchorage.at);
        anchorage
    }

    /// Tells the sound thread where the two sides of a call are, and that it has ended.
    pub(super) fn attend_anchor(&mut self, now: Timestamp, held: &mut Held) {
        let Some(Anchorage { room, at, lasts }) = held.anchorage.as_deref_mut() else {
            return;
        };
        if !held.call.is_up() {
            let room = *room;
            held.anchorage = None;
            return self.sounds.close(room);
        }
        if *lasts == Lasts::Silent && held.call.is_anchor_held() {
            *lasts = Lasts::Open;
        }
        if let Some(parties) = held.call.take_anchor() {
            let ports = at.map(|at| at.port());
            let parties = trusted(&held.parties, parties);
            self.sounds.anchor(*room, ports, parties);
        }
        if held.call.take_misdirected() {
            self.on_misdirected(held.call.call_id(Side::A));
        }
        if *lasts == Lasts::Lost && held.call.answered().is_some() {
            self.end_anchored(now, held);
        }
    }

    /// Nothing has come from either side for the time that is given. It may have been on hold, or not
    /// answered yet: so it is ended when that is told again.
    pub(super) fn on_anchor_silent(&mut self, now: Timestamp, held: &mut Held) {
        let is_talk = held.call.answered().is_some() && !held.call.is_anchor_held();
        let Some(anchorage) = held.anchorage.as_deref_mut().filter(|_| is_talk) else {
            return;
        };
        if anchorage.lasts == Lasts::Silent {
            self.end_anchored(now, held);
        } else {
            anchorage.lasts = Lasts::Silent;
        }
    }

    fn end_anchored(&mut self, now: Timestamp, held: &mut Held) {
        self.on_silent(now, held);
        if let Some(anchorage) = held.anchorage.take() {
            self.sounds.close(anchorage.room);
        }
    }
}

/// The two sides, as far as they may be believed.
pub(super) fn trusted(known: &Parties, [a, b]: [Party; 2]) -> [Party; 2] {
    let [from, to] = known.through;
    let as_known = |party: Party, through| Party {
        trust: trust_of(through, party.trust),
        ..party
    };
    [as_known(a, from), as_known(b, to)]
}
