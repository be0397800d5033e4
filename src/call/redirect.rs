//! A redirection that is followed: the INVITE of a branch goes again, to where the answer says.
//!
//! Spec: RFC 3261 §8.1.3.4, §16.7 (S-32). Call-ID, From and To stay, and the CSeq number rises; what
//! rings or answers there is that branch from then on.

use crate::call::relay::{Fate, fate};
use crate::call::setup::Target;
use crate::call::{Call, Part, Turn};
use crate::sip::{Message, Method, Name, Via, Writer, parse_u32};
use crate::table::Key;
use crate::transaction::Layer;
use crate::transaction::branch::Branch;
use crate::transaction::clients::Outgoing;

impl Call {
    /// The INVITE of a part as it was sent, if that part is a branch whose final response is the one
    /// that came last and A still waits; else empty.
    pub fn redirected<'l>(&self, layer: &'l Layer, part: u16) -> &'l [u8] {
        match Part::of(part) {
            Part::Branch(branch) if self.open_server().is_some() && !self.is_earlier(branch) => {
                layer.answered_invite(self.way_of(branch).2)
            }
            Part::Branch(_)
            | Part::Negotiation
            | Part::Bye(_)
            | Part::Exchange(_)
            | Part::Refer => &[],
        }
    }

    /// Sends this INVITE of a branch again, to another target; whether it has left.
    pub fn follow(
        &mut self,
        turn: &mut Turn<'_>,
        part: u16,
        invite: &Message<'_>,
        target: &Target<'_>,
    ) -> bool {
        let Part::Branch(branch) = Part::of(part) else {
            return false;
        };
        let Some(client) = self.send_on(turn, branch, invite, target) else {
            return false;
        };
        self.redirect_branch(branch, client, (target.flow, target.reach));
        true
    }

    fn send_on(
        &mut self,
        turn: &mut Turn<'_>,
        branch: u8,
        invite: &Message<'_>,
        target: &Target<'_>,
    ) -> Option<Key> {
        let hops = invite.first(Name::MaxForwards).and_then(parse_u32);
        let hops = hops.and_then(|hops| u8::try_from(hops).ok());
        let via = Via::parse(invite.first(Name::Via)?).ok()?;
        let before = Branch::parse(via.branch()?)?;
        let number = self.b.dialog.next_cseq();
        let contact = turn.contacts.of(&target.flow);
        turn.scratch.clear();
        let mut writer = Writer::fragment(turn.scratch);
        let dialog = &self.b.dialog;
        dialog.write_fields(&mut writer, Method::Invite, number, hops.unwrap_or(70));
        writer.header(Name::Contact, contact);
        for header in invite.headers() {
            // What we ask of this leg, we ask there as well.
            let is_asked = matches!(
                header.name,
                Name::MaxBreadth | Name::MinSe | Name::SessionExpires
            );
            let is_ours = header.name == Name::Contact || fate(header.name) == Fate::PerLeg;
            if is_asked || !is_ours {
                writer.copy(header);
            }
        }
        writer.finish(invite.body()).ok()?;
        let outgoing = Outgoing {
            method: Method::Invite,
            uri: target.uri,
            flow: target.flow,
            user: Some(self.user(Part::Branch(branch))),
            destination: before.destination,
            fields: turn.scratch,
        };
        turn.layer
            .request_with(turn.now, &outgoing, target.others)
            .ok()
    }
}
