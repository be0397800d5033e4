//! A caller who is answered by us, and hears what we mix for him.
//!
//! Spec: RULES R17; RFC 3261 §13.3.1.4, §15; RFC 3264 §8.
//!
//! ```text
//!   held --> Joined (200, again until ACK) --BYE of either--> Ending --> over
//! ```
//!
//! His session is one with the mixer: it may be refreshed, moved, held and ended (`staying`).

use crate::call::mixing::Mixing;
use crate::call::negotiation::Negotiation;
use crate::call::recall::ALLOW;
use crate::call::sdp::SDP;
use crate::call::sound::Taken;
use crate::call::{Call, Phase, Side, Turn, respond};
use crate::dialog::Tag;
use crate::sip::{Name, Status, Writer};
use crate::transaction::reply;

impl Call {
    /// Answers A, who is kept from a failure, with the session that it has with us already, in the same
    /// dialog; `offer` is what he had offered for that. Whether it could be done.
    pub fn join(&mut self, turn: &mut Turn<'_>, sdp: &[u8], offer: &[u8]) -> bool {
        let Some(tag) = self.held_tag().filter(|_| self.is_held()) else {
            return false;
        };
        // RFC 3262 §3: not before A knows what was said to it reliably.
        if self.owes_prack() {
            return false;
        }
        if !self.answer_kept(turn, (tag, Phase::Joined), sdp) {
            return false;
        }
        self.cancel_branches(turn, b"");
        self.drop_hold();
        let taken = Taken::of(offer, self.flow(Side::A).remote.ip());
        self.mixing = taken.map(|taken| Box::new(Mixing::of_one(&taken, sdp)));
        true
    }

    /// Answers A with this session, under the tag that it knows already; whether that could be done.
    pub(super) fn answer_kept(
        &mut self,
        turn: &mut Turn<'_>,
        (tag, phase): (Tag, Phase),
        sdp: &[u8],
    ) -> bool {
        let asked = self.invite_number();
        let Some(server) = self.take_server() else {
            return false;
        };
        self.a.dialog.set_tag(tag);
        self.leave_early(tag);
        self.phase = phase;
        self.answered = Some(turn.now);
        let contact = turn.contacts.of(&self.a.dialog.flow());
        let write = |writer: &mut Writer<'_>| {
            writer.header(Name::Contact, contact);
            writer.header(Name::Allow, ALLOW);
            writer.header(Name::ContentType, SDP);
        };
        let answer = (Status::OK, &b""[..], reply::Tag::Ours(&tag.text()));
        respond(turn, server, answer, write, sdp);
        let unacked = Negotiation::settled(turn, (Side::A, server), asked);
        self.negotiation = Some(Box::new(unacked));
        self.abandon_exchanges(turn);
        true
    }

    /// Whether A is answered by us, and by nobody else.
    pub fn is_joined(&self) -> bool {
        self.phase == Phase::Joined
    }
}
