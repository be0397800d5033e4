//! The two who were on a mixer are given each other again.
//!
//! Spec: RULES R17; RFC 3264 §8; RFC 3261 §14.1 (S-19).
//!
//! ```text
//!   Mixed, or Asking near refused
//!     |
//!     v            2xx                2xx
//!   Returning far ----> Returning near ----> the two talk without us
//!     |   ^    \
//!     |   |     \--not now--> Waiting
//!     |   \----again, within RETURNS_IN--/
//!     |
//!     |no, both on the mixer -----------------> Kept --KEPT_FOR--> Returning, once
//!     |no, the other one is not --> Rejoining --2xx--^  \--no--> BYE to both
//!     \no, and they never heard each other by it: Waiting, and in the end BYE to both
//! ```
//!
//! While a side does not let go of the mixer, the two go on talking by it. Where they could not, their call
//! ends rather than staying half deaf.

use std::time::Duration;

use crate::call::known::{origin_of, with_version};
use crate::call::mixing::{MixNews, Mixing, Stage, index};
use crate::call::{Call, Phase, Side, Turn};
use crate::sip::{Response, Status};
use crate::time::Timestamp;

/// How long a side that has something else to do is asked again to send to the other one; as long as a
/// request may go unanswered (RFC 3261 §17.1.1.2).
const RETURNS_IN: Duration = Duration::from_secs(32);
/// When a side is asked again that did not want to; who waits hears the other one all the same.
const KEPT_FOR: Duration = Duration::from_mins(1);
/// When a side is asked again that has failed otherwise than by glare.
const FAILED_FOR: Duration = Duration::from_secs(4);
/// Says why a call is ended whose sides cannot be brought together.
const APART: &[u8] = b"SIP;cause=488;text=\"No session between the two\"";

/// A side that is asked again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Waiting {
    side: Side,
    again: Timestamp,
    gives_up: Timestamp,
}

impl Call {
    /// Nothing is heard by the mixer any more: the two are to have each other again, or nobody.
    pub fn break_mix(&mut self, turn: &mut Turn<'_>) {
        let Some(mixing) = self.mixing.as_deref_mut() else {
            return;
        };
        mixing.agreed = [None; 2];
        let gives_up = turn.now + RETURNS_IN;
        match mixing.stage {
            Stage::Returning(side, _) => mixing.stage = Stage::Returning(side, gives_up),
            Stage::Kept(side, _) => self.give_back(turn, side),
            Stage::Asking(_) | Stage::Mixed | Stage::Waiting(_) | Stage::Rejoining(_) => {
                self.end_mix(turn);
            }
        }
    }

    /// Asks a side to send to the other one again.
    pub(super) fn give_back(&mut self, turn: &mut Turn<'_>, side: Side) {
        self.give_back_until(turn, side, turn.now + RETURNS_IN);
    }

    /// Asks a side to send to the other one again, for so long.
    fn give_back_until(&mut self, turn: &mut Turn<'_>, side: Side, gives_up: Timestamp) {
        self.set_mix_stage(Stage::Returning(side, gives_up));
        if self.negotiation.is_some() || self.pending_offer(None).is_some() {
            // What is under way has an end of its own, and may be all that is needed.
            let again = turn.now + self.glare_wait(turn, side);
            return self.set_mix_stage(Stage::Waiting(Waiting {
                side,
                again,
                gives_up: gives_up.max(again + RETURNS_IN),
            }));
        }
        let place = index(side);
        let known = self.leg(side).known.as_deref().map(|known| &known.sdp);
        let mixing = self.mixing.as_deref();
        let version = mixing.and_then(|mixing| mixing.versions.get(place)?.checked_add(1));
        let sdp = known.zip(version);
        let sdp = sdp.map(|(known, version)| with_version(known, version).into_boxed_slice());
        let sent = sdp.and_then(|sdp| self.describe_anew(turn, side, sdp));
        if sent.is_none() {
            self.on_not_returned(turn, side, Status::SERVER_INTERNAL_ERROR);
        }
    }

    /// S-19: how long a side is left alone whose request has met ours.
    fn glare_wait(&self, turn: &mut Turn<'_>, side: Side) -> Duration {
        // Of a recall both legs are calls of ours.
        let owns_call_id = side == Side::B || self.recall.is_some();
        Duration::from_millis(if owns_call_id {
            2_100 + 10 * turn.rng.below(191)
        } else {
            10 * turn.rng.below(201)
        })
    }

    /// A side goes on sending to us.
    pub(super) fn on_not_returned(&mut self, turn: &mut Turn<'_>, side: Side, status: Status) {
        let Some(Stage::Returning(_, gives_up)) = self.mix_stage() else {
            return;
        };
        let wait = if status == Status::REQUEST_PENDING {
            self.glare_wait(turn, side)
        } else {
            FAILED_FOR
        };
        let Some(mixing) = self.mixing.as_deref_mut() else {
            return;
        };
        let again = turn.now + wait;
        let could_go_on = mixing.is_heard && mixing.agreed.iter().all(Option::is_some);
        let is_worth_it = is_for_now(status) || !could_go_on;
        if is_worth_it && again < gives_up {
            mixing.stage = Stage::Waiting(Waiting {
                side,
                again,
                gives_up,
            });
        } else if !could_go_on {
            self.part_the_two(turn);
        } else if mixing.changed == [true; 2] {
            mixing.keep(side, turn.now);
        } else {
            mixing.stage = Stage::Rejoining(side.other());
            if !self.ask_to_mix(turn, side.other()) {
                self.part_the_two(turn);
            }
        }
    }

    /// A side sends to us again, as the other one does.
    pub(super) fn on_rejoined(&mut self, turn: &mut Turn<'_>, side: Side, response: &Response<'_>) {
        if !self.is_as_agreed(side, &response.message) {
            // We would not be heard there.
            return self.part_the_two(turn);
        }
        let Some(mixing) = self.mixing.as_deref_mut() else {
            return;
        };
        if let Some(is_changed) = mixing.changed.get_mut(index(side)) {
            *is_changed = true;
        }
        mixing.keep(side.other(), turn.now);
    }

    /// The two have no session with each other, and cannot be given one.
    pub(super) fn part_the_two(&mut self, turn: &mut Turn<'_>) {
        self.lose_for(turn, &[Side::A, Side::B], APART);
    }

    /// A side sends to the other one again.
    pub(super) fn on_returned(&mut self, turn: &mut Turn<'_>, side: Side) {
        self.count_on(side);
        let (place, across) = (index(side), index(side.other()));
        let Some(mixing) = self.mixing.as_deref_mut() else {
            return;
        };
        if let Some(is_changed) = mixing.changed.get_mut(place) {
            *is_changed = false;
        }
        // Who was not asked, or has refused, knows of nothing.
        if mixing.changed.get(across) == Some(&true) {
            self.give_back(turn, side.other());
        } else {
            mixing.news = Some(MixNews::Gone);
        }
    }

    /// What a side hears of the other one from here on is later than what it has heard of us.
    pub(super) fn count_on(&mut self, side: Side) {
        let versions = self.mixing.as_deref().map(|mixing| &mixing.versions);
        let version = versions.and_then(|versions| versions.get(index(side)).copied());
        let known = self.leg_mut(side).known.as_deref_mut();
        if let Some((known, version)) = known.zip(version) {
            let before = origin_of(&known.sdp).map_or(0, |origin| origin.version);
            known.ahead += version.saturating_sub(before);
            known.sdp = with_version(&known.sdp, version).into_boxed_slice();
        }
    }

    /// When a side is asked again.
    pub(super) fn mix_deadline(&self) -> Option<Timestamp> {
        match self.mix_stage()? {
            Stage::Waiting(Waiting { again, .. }) | Stage::Kept(_, again) => Some(again),
            // An INVITE of ours has its own, and who has joined leaves at some time.
            Stage::Asking(_) | Stage::Mixed | Stage::Returning(..) | Stage::Rejoining(_) => None,
        }
    }

    /// Asks a side again whose time has come.
    pub(super) fn on_mix_due(&mut self, turn: &mut Turn<'_>) {
        if self.phase != Phase::Talking {
            return;
        }
        match self.mix_stage() {
            Some(Stage::Waiting(waiting)) if waiting.again <= turn.now => {
                self.give_back_until(turn, waiting.side, waiting.gives_up);
            }
            // One refusal is enough to know.
            Some(Stage::Kept(side, again)) if again <= turn.now => {
                self.give_back_until(turn, side, turn.now);
            }
            Some(
                Stage::Asking(_)
                | Stage::Mixed
                | Stage::Returning(..)
                | Stage::Waiting(_)
                | Stage::Rejoining(_)
                | Stage::Kept(..),
            )
            | None => {}
        }
    }
}

impl Mixing {
    /// Both go on by us, until this side lets go.
    fn keep(&mut self, side: Side, now: Timestamp) {
        self.stage = Stage::Kept(side, now + KEPT_FOR);
        self.kept = self.kept.saturating_add(1);
        if self.kept == 1 {
            self.news = Some(MixNews::Kept);
        }
    }
}

/// Whether a refusal says that the same may be taken a little later.
fn is_for_now(status: Status) -> bool {
    matches!(
        status,
        Status::REQUEST_PENDING
            | Status::REQUEST_TERMINATED
            | Status::SERVER_INTERNAL_ERROR
            | Status::SERVICE_UNAVAILABLE
    )
}
