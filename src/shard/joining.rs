//! An INVITE with a `Join` of its sender's own: whether he may have it is asked as for any intrusion.
//!
//! Spec: RFC 3911 §4, §8; RFC 3891 §3; RULES R17; threats T30.
//!
//! - Who knows the id of a call may not listen to it for that: lamps show ids to many.
//! - A party of the call may always have it joined, and what the PBX asks for is the PBX's to know.
//! - An id that names no call through us is the receiver's to look up, and nobody's guess: each tag of ours
//!   has 64 random bits.

use crate::completion::intrusion::{Attempt, Denied, Level, decide};
use crate::location::Aor;
use crate::shard::audit::plain;
use crate::shard::record::IntrusionRecord;
use crate::shard::{Reject, Shard};
use crate::sip::{Name, Request};
use crate::time::Timestamp;

/// RFC 3891 §3, RFC 3911 §4: an INVITE names one call at most.
pub(super) fn check_named(request: &Request<'_>) -> Result<(), Reject> {
    let headers = request.message.headers();
    let named = headers.filter(|header| matches!(header.name, Name::Join | Name::Replaces));
    if named.count() > 1 {
        return Err(Reject::DialogsTooMany);
    }
    Ok(())
}

impl Shard {
    /// Whether this caller may join the call that his INVITE names, if it names one; it is written down
    /// whether he may or not.
    pub(super) fn check_joining(
        &mut self,
        now: Timestamp,
        request: &Request<'_>,
        caller: Option<&Aor>,
    ) -> Result<(), Reject> {
        if request.message.first(Name::Join).is_none() {
            return Ok(());
        }
        let Some(leg) = self.leg_named(request, &[Name::Join]) else {
            return Ok(());
        };
        let Some(held) = self.calls.get(leg.call) else {
            return Ok(());
        };
        let [target, third] = held.parties_from(leg.end);
        if caller.is_some() && [target, third].contains(&caller) {
            return Ok(());
        }
        let third = self.third_of(leg.end, held).or_else(|| third.cloned());
        let protection =
            |user: Option<&Aor>| user.map_or(Level::FULL, |user| self.rights_of(user).protection);
        let is_left_alone =
            |user: Option<&Aor>| user.is_some_and(|user| self.users.is_left_alone(now, user));
        let attempt = Attempt {
            intruder: caller.map_or(Level::NONE, |caller| self.rights_of(caller).intrudes),
            target: protection(target),
            third: protection(third.as_ref()),
            situation: self
                .situation_of(held, is_left_alone(target) || is_left_alone(third.as_ref())),
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let record = IntrusionRecord {
            call_id: text(request.call_id),
            intruder: caller.map_or_else(|| text(request.from.uri.text()), plain),
            target: target.map(plain).unwrap_or_default(),
            third: third.as_ref().map(plain),
            began: now,
            joined: None,
        };
        let denied: Option<Denied> = decide(&attempt).err();
        self.note_joining(now, record, denied);
        denied.map_or(Ok(()), |_| Err(Reject::JoinForbidden))
    }
}
