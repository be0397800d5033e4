//! A, who has answered, hears something of ours before B is called.
//!
//! Spec: RFC 3725 §4.4, §7 (what A hears meanwhile); RFC 3264 §5, §8; RULES R10.
//!
//! ```text
//!   Answered --announce--> Announcing --2xx, refused--> Answered
//!                              |
//!                  BYE, 481, 408, time: Over
//! ```
//!
//! A knows one session, ours: that something of ours is heard is a version of it, as what B describes is
//! a later one. A phone that does not want to hear it is called for all the same.

use std::net::SocketAddr;

use crate::call::negotiation::{Negotiation, is_end_of_dialog};
use crate::call::recall::Stage;
use crate::call::sdp::sdp_of;
use crate::call::sound::Taken;
use crate::call::{Call, Side, Turn, end};
use crate::media::stream::Agreed;
use crate::sip::Response;
use crate::table::Key;
use crate::time::Timestamp;

/// The re-INVITE that asks A to hear us.
#[derive(Clone, Copy, Debug)]
pub(super) struct Announcing {
    number: u32,
    client: Key,
    pub(super) until: Timestamp,
}

/// What A has said to it.
#[derive(Clone, Copy, Debug)]
pub enum Announcement {
    /// A hears us, and this was agreed on.
    Heard(Agreed),
    /// A does not.
    Unheard,
}

impl Call {
    /// Asks A, who has answered, to hear us at this address; whether that could be sent, and there is a way
    /// from there to his phone.
    ///
    /// [`Call::take_announcement`] tells what A says.
    pub fn announce(&mut self, turn: &mut Turn<'_>, at: SocketAddr) -> bool {
        let source = self.flow(Side::A).remote.ip();
        let is_free = self.recall.as_deref().is_some_and(|recall| {
            let theirs = recall.audio.unwrap_or(source).to_canonical();
            recall.is_answered() && theirs.is_ipv4() == at.is_ipv4()
        });
        let sent = is_free.then(|| self.send_announcement(turn, at));
        let Some((client, number)) = sent.flatten() else {
            return false;
        };
        if let Some(recall) = self.recall.as_deref_mut() {
            recall.stage = Stage::Announcing(Announcing {
                number,
                client,
                until: turn.now + turn.timing.t1 * 64,
            });
        }
        true
    }

    /// What A has said to an announcement since this was last asked.
    pub fn take_announcement(&mut self) -> Option<Announcement> {
        self.recall.as_deref_mut()?.announced.take()
    }

    /// Whether B's phone rings for A, who has answered.
    pub fn rings_for_caller(&self) -> bool {
        let stage = self.recall.as_deref().map(|recall| &recall.stage);
        matches!(stage, Some(Stage::Calling(ring)) if ring.rang)
    }

    fn send_announcement(&mut self, turn: &mut Turn<'_>, at: SocketAddr) -> Option<(Key, u32)> {
        let sdp = self.recall.as_deref_mut()?.session.played(at);
        self.ask_anew(turn, &sdp)
    }

    /// Takes A's response to an announcement; whether it is one.
    pub(super) fn on_announcement_response(
        &mut self,
        turn: &mut Turn<'_>,
        response: &Response<'_>,
    ) -> bool {
        let Some(Announcing { number, client, .. }) = self.announcing() else {
            return false;
        };
        let status = response.status;
        if status.is_provisional() {
            return true;
        }
        if is_end_of_dialog(status) {
            // S-15
            self.end_announcing(turn, Announcement::Unheard);
            self.lose_caller(turn);
            return true;
        }
        let mut announced = Announcement::Unheard;
        if status.is_success() {
            self.a.dialog.refresh_target(&response.message);
            end::send_ack(turn, &self.a.dialog, number, Some(client), None);
            let source = self.flow(Side::A).remote.ip();
            let taken = sdp_of(&response.message).and_then(|sdp| Taken::of(sdp, source));
            // It was offered no keys.
            if let Some(taken) = taken.filter(|taken| !taken.is_secure()) {
                announced = Announcement::Heard(taken.agreed(None));
            }
        }
        self.end_announcing(turn, announced);
        true
    }

    /// A has not answered an announcement, and will not; whether there was one.
    pub(super) fn on_announcement_failure(&mut self, turn: &mut Turn<'_>) -> bool {
        let was = self.announcing().is_some();
        if was {
            // S-15: as good as 408.
            self.end_announcing(turn, Announcement::Unheard);
            self.lose_caller(turn);
        }
        was
    }

    fn end_announcing(&mut self, turn: &Turn<'_>, announced: Announcement) {
        if let Some(recall) = self.recall.as_deref_mut() {
            recall.announced = Some(announced);
            recall.stage = Stage::Answered {
                until: turn.now + turn.timing.t1 * 64,
            };
        }
    }

    /// What A still says to an announcement is acknowledged.
    pub(super) fn abandon_announcement(&mut self, turn: &mut Turn<'_>, announcing: &Announcing) {
        let (client, number) = (announcing.client, announcing.number);
        turn.layer.cancel(turn.now, client, b"");
        let withdrawn = Negotiation::withdrawn(turn, Side::B, client, number);
        self.negotiation = Some(Box::new(withdrawn));
    }

    fn announcing(&self) -> Option<Announcing> {
        match &self.recall.as_deref()?.stage {
            Stage::Announcing(announcing) => Some(*announcing),
            Stage::Ringing(_)
            | Stage::Answered { .. }
            | Stage::Referring(_)
            | Stage::Calling(_)
            | Stage::Offering(_)
            | Stage::Over => None,
        }
    }
}
