//! What becomes of a call when the room in which its parties are heard is no more.
//!
//! Spec: RULES R5, R14, R16, R17.
//!
//! ```text
//!   asked, told ----------> the failure that was kept, at once
//!   waits ----------------> waits on, and hears nothing
//!   joins, has joined ----> ends; the two are given each other again
//!   called back ----------> his callee is rung
//!   passes us ------------> the same ports once more, and if that is in vain, the call ends
//! ```
//!
//! The sound thread gives a room up when the system has no port for it, or after a bug of ours.

use crate::call::{Call, Side};
use crate::shard::anchored::{Anchorage, Lasts};
use crate::shard::prompt::Stage;
use crate::shard::{Held, Shard};
use crate::time::Timestamp;

impl Shard {
    /// Its room is no more.
    pub(super) fn on_unheard(&mut self, now: Timestamp, held: &mut Held) {
        let Some(prompting) = held.prompting.as_ref() else {
            return self.on_anchor_lost(held);
        };
        match prompting.stage {
            Stage::Announcing => {
                self.close_prompt(held);
                self.on_announced(held);
            }
            // It goes on without anything to hear.
            Stage::Announced | Stage::RingingBack | Stage::Waiting(_) | Stage::Ringing(_) => {
                self.close_prompt(held);
            }
            Stage::Closing { done: true } => self.let_go(now, held),
            Stage::Saying | Stage::Choosing | Stage::Asking(_) | Stage::Closing { done: false } => {
                self.in_turn(now, held, Call::cease);
                self.close_prompt(held);
            }
            // He will be called back all the same.
            Stage::Turning => {}
            // R17: whom he joins, or was to join, learn of it by his end.
            Stage::Reserving | Stage::Joining => self.in_turn(now, held, Call::cease),
            Stage::Joined => self.in_turn(now, held, Call::hang_up),
        }
    }

    fn on_anchor_lost(&mut self, held: &mut Held) {
        let Some(Anchorage { room, at, lasts }) = held.anchorage.as_deref_mut() else {
            // Two who are being given each other again.
            return;
        };
        let parties = held.call.anchored_parties();
        let is_first = matches!(lasts, Lasts::Open | Lasts::Silent);
        let Some(parties) = parties.filter(|_| is_first) else {
            *lasts = Lasts::Lost;
            return;
        };
        *lasts = Lasts::Again;
        let ports = at.map(|at| at.port());
        self.sounds.anchor(*room, ports, parties);
    }

    /// RFC 3550 §6.3.5 has members time out: nothing has come for long from whoever has joined, or from
    /// both of a call that passes us.
    pub(super) fn on_silent(&mut self, now: Timestamp, held: &mut Held) {
        tracing::warn!(
            call_id = %held.call.call_id(Side::A).escape_ascii(),
            "nothing is heard of who is in a call"
        );
        self.counters.calls_silent += 1;
        self.in_turn(now, held, Call::hang_up);
    }
}
