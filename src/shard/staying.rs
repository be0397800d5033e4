//! Who goes on talking when one of the two has left a call that somebody has joined.
//!
//! Spec: RULES R17.
//!
//! Whom the caller wanted and the caller go on by our mixer, which is as much as a call of their own; who
//! has left is as free as after any call.

use crate::call::{Call, Side};
use crate::media::desk::RoomId;
use crate::shard::mixing::Mixed;
use crate::shard::{Held, Parties, Shard};
use crate::table::Key;
use crate::time::Timestamp;

impl Shard {
    /// This side of a call has left it; the other one stays with who has joined.
    pub(super) fn on_left(
        &mut self,
        now: Timestamp,
        joined: Option<(Key, RoomId)>,
        side: Side,
        held: &mut Held,
    ) {
        let stays = joined.and_then(|(key, room)| Some((key, room, self.calls.get(key)?)));
        let stays = stays.and_then(|(key, room, held)| Some((key, room, held.mixed.as_deref()?)));
        let Some((key, room, Mixed::Intruder { at: [a, b], .. })) = stays else {
            return self.in_turn(now, held, Call::hang_up);
        };
        let port = match side {
            Side::A => a.port(),
            Side::B => b.port(),
        };
        self.sounds.part(room, port, key);
        let left = part_of(&mut held.parties, side);
        self.release(now, &left);
    }
}

/// The part of the parties that was this side's, and is nobody's any more.
fn part_of(parties: &mut Parties, side: Side) -> Parties {
    let [from, to] = &mut parties.through;
    match side {
        Side::A => Parties {
            caller: parties.caller.take(),
            is_outgoing: std::mem::take(&mut parties.is_outgoing),
            through: [from.take(), None],
            ..Parties::default()
        },
        Side::B => Parties {
            callee: parties.callee.take(),
            through: [None, to.take()],
            ..Parties::default()
        },
    }
}
