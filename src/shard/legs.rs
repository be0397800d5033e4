//! The legs of all calls, for messages that name one: which it is, and where its peer is.
//!
//! Spec: RFC 3891 §3, §4; RFC 5589 §7.3; RFC 4235 §4.1 (S-145).

use smallvec::SmallVec;

use crate::call::{Legs, NamedLeg, Side};
use crate::dialog::Tag;
use crate::location::Aor;
use crate::shard::ways::Way;
use crate::shard::{Held, Shard};
use crate::sip::{DialogId, Name, Request, Uri};
use crate::table::Table;

/// The header fields of an INVITE that takes the place of a call, or joins it.
pub(super) const IN_PLACE: &[Name] = &[Name::Replaces, Name::Join];

impl Legs for Table<Box<Held>> {
    fn named(&self, id: &DialogId<'_>, tag: Tag) -> Option<NamedLeg> {
        self.get(tag.call)?.call.named(id, tag)
    }
}

impl Held {
    /// The users of ours on this side and on the other.
    pub(super) fn parties_from(&self, side: Side) -> [Option<&Aor>; 2] {
        match side {
            Side::A => [Side::A, Side::B],
            Side::B => [Side::B, Side::A],
        }
        .map(|side| self.party(side))
    }

    /// The user of ours on this side, if there is one.
    fn party(&self, side: Side) -> Option<&Aor> {
        match side {
            Side::A => self.parties.caller.as_ref(),
            Side::B => self.parties.callee.as_ref(),
        }
    }
}

impl Shard {
    /// Where a request goes that is addressed to our Contact and names a call there in one of these
    /// header fields: to the end that it means.
    pub(super) fn way_to_named(
        &self,
        request: &Request<'_>,
        by: &[Name],
    ) -> Option<(Way, Option<Aor>)> {
        let Uri::Sip(uri) = request.uri else {
            return None;
        };
        if uri.user.is_some() || !self.domains.is_own(&uri) {
            return None;
        }
        let leg = self.leg_named(request, by)?;
        let held = self.calls.get(leg.call)?;
        let peer = held.call.peer(leg.end);
        let way = Way {
            uri: SmallVec::from_slice(peer.uri),
            flow: peer.flow,
            reach: peer.reach,
            others: None,
        };
        (!peer.uri.is_empty()).then(|| (way, held.party(leg.end).cloned()))
    }

    /// Whether an INVITE takes the place of a call of this user, or joins it: it is not one more.
    pub(super) fn is_about_call_of(&self, request: &Request<'_>, user: &Aor) -> bool {
        let held = self
            .leg_named(request, IN_PLACE)
            .and_then(|leg| self.calls.get(leg.call));
        held.is_some_and(|held| {
            let mut sides = [Side::A, Side::B].into_iter();
            sides.any(|side| held.party(side) == Some(user))
        })
    }

    pub(super) fn leg_named(&self, request: &Request<'_>, by: &[Name]) -> Option<NamedLeg> {
        by.iter().find_map(|name| {
            let id = DialogId::parse(*name, request.message.first(*name)?)?;
            let mut tags = [id.end, id.across].into_iter().filter_map(Tag::parse);
            tags.find_map(|tag| self.calls.named(&id, tag))
        })
    }
}
