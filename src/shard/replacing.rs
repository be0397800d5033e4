//! An INVITE that takes the place of a call (`Replaces`): who may have it.
//!
//! Spec: RFC 3891 §3, §7; RFC 3892 §2; threats T30.
//!
//! ```text
//!   names no call through us, one that rings, or comes from a peer --> the receiver's to judge
//!   from a party of the call ----------------------------------------> may
//!   from whom a party has referred to it, within REFERRED_FOR -------> may
//!   from who may join it ---------------------------------------------> may
//!   from anybody else -----------------------------------------------> 403
//! ```
//!
//! Behind us the PBX knows whose calls these are, and nothing of it is judged here. Where anybody may be a
//! user, it is judged only if all three are known: who is not registered cannot be told from anybody else.

use std::collections::BTreeMap;
use std::time::Duration;

use smallvec::SmallVec;

use crate::call::{Side, replaced_by};
use crate::completion::intrusion::{Attempt, Level, Situation, decide};
use crate::dialog::Tag;
use crate::location::Aor;
use crate::shard::{Held, Kind, Reject, Shard};
use crate::sip::flow::Flow;
use crate::sip::{DialogId, Name, Request};
use crate::table::Key;
use crate::time::Timestamp;

/// How long a reference to a call is good: as long as a phone may ring.
const REFERRED_FOR: Duration = Duration::from_mins(3);
/// To how many a call is referred at a time.
const REFERRED_MAX: usize = 4;

/// Who has been referred to which call, and until when.
#[derive(Debug, Default)]
pub(super) struct Referred(BTreeMap<Key, SmallVec<[(Aor, Timestamp); 1]>>);

impl Referred {
    /// The call is over.
    pub(super) fn forget(&mut self, call: Key) {
        self.0.remove(&call);
    }

    fn note(&mut self, call: Key, user: Aor, until: Timestamp) {
        let users = self.0.entry(call).or_default();
        users.retain(|(other, _)| *other != user);
        if users.len() >= REFERRED_MAX {
            users.remove(0);
        }
        users.push((user, until));
    }

    fn has(&self, now: Timestamp, call: Key, user: &Aor) -> bool {
        let mut users = self.0.get(&call).into_iter().flatten();
        users.any(|(other, until)| other == user && now <= *until)
    }
}

impl Shard {
    /// A party refers another one to a call of his own, which that one is to take over.
    pub(super) fn note_referred(&mut self, now: Timestamp, tag: Tag, request: &Request<'_>) {
        if let Some((call, user)) = self.referred_in(tag, request) {
            self.referred.note(call, user, now + REFERRED_FOR);
        }
    }

    fn referred_in(&self, tag: Tag, refer: &Request<'_>) -> Option<(Key, Aor)> {
        let value = replaced_by(refer.message.first(Name::ReferTo)?)?;
        let id = DialogId::parse(Name::Replaces, &value)?;
        let within = self.calls.get(tag.call)?;
        let side = within.call.side_of(refer, tag)?;
        let [referrer, referred] = within.parties_from(side);
        let leg = self.leg_of(&id)?;
        let named = self.calls.get(leg.call)?;
        // Who is no user of ours is his peer's to know.
        let is_his = referrer.is_none_or(|referrer| is_party(named, referrer));
        let is_his = is_his || (self.gate.is_none() && !knows_both(named));
        Some((leg.call, referred.filter(|_| is_his)?.clone()))
    }

    /// Whether this caller may take the place of the call that his INVITE names, if it names one.
    pub(super) fn check_replacing(
        &self,
        now: Timestamp,
        (request, flow): (&Request<'_>, &Flow),
        caller: Option<&Aor>,
    ) -> Result<(), Reject> {
        let is_judged = request.message.first(Name::Replaces).is_some() && self.edge.is_none();
        if !is_judged || (caller.is_none() && self.is_peer(flow)) {
            return Ok(());
        }
        let Some(leg) = self.leg_named(request, &[Name::Replaces]) else {
            return Ok(());
        };
        let Some(held) = self.calls.get(leg.call) else {
            return Ok(());
        };
        let is_sure = self.gate.is_some() || (caller.is_some() && knows_both(held));
        let may = !is_sure
            || held.call.answered().is_none()
            || caller.is_some_and(|caller| {
                is_party(held, caller)
                    || self.referred.has(now, leg.call, caller)
                    || self.may_take_over(held, caller)
            });
        may.then_some(()).ok_or(Reject::ReplaceForbidden)
    }

    fn may_take_over(&self, held: &Held, caller: &Aor) -> bool {
        let [target, third] = held.parties_from(Side::A);
        let protection =
            |user: Option<&Aor>| user.map_or(Level::FULL, |user| self.rights_of(user).protection);
        let attempt = Attempt {
            intruder: self.rights_of(caller).intrudes,
            target: protection(target),
            third: protection(third),
            situation: match held.parties.kind {
                Kind::Plain => Situation::Talking,
                Kind::Private => Situation::Private,
                Kind::Pressing => Situation::Emergency,
            },
        };
        decide(&attempt).is_ok()
    }
}

fn knows_both(held: &Held) -> bool {
    held.parties_from(Side::A).iter().all(Option::is_some)
}

fn is_party(held: &Held, user: &Aor) -> bool {
    held.parties_from(Side::A).contains(&Some(user))
}
