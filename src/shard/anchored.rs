//! Calls of phones behind NATs whose audio passes us.
//!
//! Spec: RULES R14.
//!
//! A call has its ports before its INVITE goes out, and for as long as it is up. Without ports it goes on
//! as if no phone were behind a NAT.

use std::net::SocketAddr;

use crate::call::{NatMedia, Offer};
use crate::media::desk::RoomId;
use crate::shard::{Held, Shard};
use crate::table::Key;

/// The ports of a call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Anchorage {
    room: RoomId,
    /// For the caller and for the callee.
    at: [SocketAddr; 2],
}

impl Shard {
    /// Gives a call ports, if its audio is to pass us and it has none.
    pub(super) fn anchor(
        &mut self,
        key: Key,
        has: Option<Anchorage>,
        offer: &mut Offer<'_>,
    ) -> Option<Anchorage> {
        if offer.nat_media != NatMedia::Anchor || offer.phone.is_none() {
            return has;
        }
        let anchorage = has.or_else(|| {
            let taken = self.sounds.take_two(key);
            self.counters.rooms_refused += u64::from(taken.is_none());
            taken.map(|(room, at)| Anchorage { room, at })
        });
        offer.anchor = anchorage.map(|anchorage| anchorage.at);
        anchorage
    }

    /// Tells the sound thread where the two sides of a call are, and that it has ended.
    pub(super) fn attend_anchor(&mut self, held: &mut Held) {
        let Some(Anchorage { room, at }) = held.anchorage.as_deref().copied() else {
            return;
        };
        if !held.call.is_up() {
            held.anchorage = None;
            self.sounds.close(room);
        } else if let Some(parties) = held.call.take_anchor() {
            self.sounds.anchor(room, at.map(|at| at.port()), parties);
        }
    }
}
