//! A call with one leg: it is answered by us, and ended by us when the caller has acknowledged.
//!
//! Spec: RFC 3261 §13.3.1.4, §15; RFC 3264 §6.
//!
//! ```text
//!   INVITE --> Confirming (200, again until ACK) --ACK, or none for 64*T1--> Ending (BYE) --> over
//!                  |
//!                 BYE --> over with the ACK
//! ```
//!
//! So a feature code says that it was understood: nobody is rung and nothing flows.

use crate::call::negotiation::Negotiation;
use crate::call::recall::ALLOW;
use crate::call::sdp::{SDP, Session, sdp_of};
use crate::call::{Call, Outcome, Phase, Side, Turn, respond};
use crate::dialog::{Dialog, Tag};
use crate::sip::flow::Flow;
use crate::sip::{Name, Request, Status, Writer};
use crate::table::Key;
use crate::transaction::reply;

impl Call {
    /// Answers an INVITE, whose transaction is `server`, and hangs up on its ACK.
    pub fn confirm(
        key: Key,
        turn: &mut Turn<'_>,
        request: &Request<'_>,
        flow: &Flow,
        server: Key,
    ) -> Self {
        let tag = Tag::new(key, turn.rng);
        let caller = Dialog::of_server(request, flow, tag);
        let nobody = Dialog::begun(b"", [b"", b""], tag, *flow);
        let mut call = Self::of_legs(key, turn.now, caller, nobody, Phase::Confirming);
        call.answered = Some(turn.now);
        let asked = request.cseq.number;
        let unacked = Negotiation::settled(turn, (Side::A, server), asked);
        call.negotiation = Some(Box::new(unacked));

        let towards = call.a.dialog.flow();
        let sent_by = turn.layer.sent_by(&towards);
        let session = Session::new(turn.rng.below(1 << 31), sent_by);
        let sdp = match sdp_of(&request.message) {
            Some(offer) => session.held_answer(offer),
            None => session.hold(),
        };
        let contact = turn.contacts.of(&towards);
        let write = |writer: &mut Writer<'_>| {
            writer.header(Name::Contact, contact);
            writer.header(Name::Allow, ALLOW);
            writer.header(Name::ContentType, SDP);
        };
        let answer = (Status::OK, &b""[..], reply::Tag::Ours(&tag.text()));
        respond(turn, server, answer, write, &sdp);
        call
    }

    /// The caller knows, or never will: the call has served its purpose.
    pub(super) fn end_confirmed(&mut self, turn: &mut Turn<'_>, outcome: Outcome) {
        self.outcome = outcome;
        self.send_byes(turn, &[Side::A], b"");
    }
}
