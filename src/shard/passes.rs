//! The two passes of one call: from a phone to the PBX, and from the PBX to a phone.
//!
//! Spec: RULES R1, R19.
//!
//! ```text
//!   A's phone ──► campon ──► PBX         the out pass; its caller is the user of A's flow
//!   B's phone ◄── campon ◄── PBX         the in pass; its callee is the user of the alias
//! ```
//!
//! - They are joined when the Call-ID and the From tag that we made come back (a PBX that is a proxy);
//!   else when exactly one open out pass has dialled a number of the in pass's user, and the in pass
//!   shows a number of that caller's.
//! - What a join tells is how the callee's phones took the call. Nothing that is safe with it is
//!   unsafe without: passes that are not joined are two calls.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;

use smallvec::SmallVec;

use crate::cc::Condition;
use crate::cc::offer::InPass;
use crate::completion::Input;
use crate::dialog::Tag;
use crate::location::Aor;
use crate::shard::offer::About;
use crate::shard::{Held, Parties, Reject, Shard};
use crate::sip::flow::Flow;
use crate::sip::{Name, NameAddr, Request, Status, Uri, unescape};
use crate::table::Key;
use crate::time::Timestamp;

/// The most open calls to one user that are told apart by their callers' numbers.
const OPEN_MAX: usize = 64;

/// What was seen of the callee's phones in a call that goes through the PBX.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Seen {
    /// No in pass was joined to it.
    #[default]
    Nothing,
    /// No phone of his is there to ring.
    NoBinding,
    /// A phone gave this final status, and none gave one that says more.
    Final(u16),
    /// A phone rang, and was cancelled though nobody else had answered.
    RangOut,
    /// A phone is busy.
    Busy(u16),
    /// One of his phones answered, or may have: an in pass that could not be joined was answered.
    Answered,
}

impl Seen {
    /// As evidence of why the call failed (R19).
    pub(super) fn in_pass(self) -> InPass {
        match self {
            Self::Nothing | Self::Answered => InPass::Silent,
            Self::NoBinding => InPass::NoBinding,
            Self::Final(status) | Self::Busy(status) => InPass::Final(status),
            Self::RangOut => InPass::RangOut,
        }
    }

    /// Why the call to his phones failed, whatever became of it elsewhere; `None` if it did not, or if
    /// nothing was seen.
    pub(super) fn failure(self) -> Option<Condition> {
        match self {
            Self::NoBinding => Some(Condition::NotLoggedIn),
            Self::RangOut => Some(Condition::NoReply),
            Self::Busy(_) => Some(Condition::Busy),
            Self::Nothing | Self::Final(_) | Self::Answered => None,
        }
    }

    /// How the call to one phone ended.
    pub(super) fn of_final(status: Status, rang: bool) -> Self {
        match status {
            Status::BUSY_HERE | Status::BUSY_EVERYWHERE => Self::Busy(status.code()),
            Status::REQUEST_TERMINATED if rang => Self::RangOut,
            Status::REQUEST_TERMINATED => Self::Nothing,
            _ => Self::Final(status.code()),
        }
    }

    /// Of two phones, what the one says that says more.
    fn or(self, other: Self) -> Self {
        if self.rank() > other.rank() {
            self
        } else {
            other
        }
    }

    fn rank(self) -> u8 {
        match self {
            Self::Nothing => 0,
            Self::NoBinding => 1,
            Self::Final(_) => 2,
            Self::RangOut => 3,
            Self::Busy(_) => 4,
            Self::Answered => 5,
        }
    }
}

/// Whom the caller of an out pass has dialled: a user whose phones register through us.
#[derive(Clone, Debug)]
pub(super) struct Dialled {
    pub(super) user: Aor,
    pub(super) seen: Seen,
    /// How many of his phones were called, and how many of them have refused.
    called: u16,
    refused: u16,
    /// R5: the in pass whose refusal the PBX is not told yet.
    pub(super) withheld: Option<Key>,
}

impl Dialled {
    pub(super) fn new(user: Aor) -> Self {
        Self {
            user,
            seen: Seen::Nothing,
            called: 0,
            refused: 0,
            withheld: None,
        }
    }

    /// What was seen is of a call that is over; another one begins.
    pub(super) fn begin_again(&mut self) {
        self.seen = Seen::Nothing;
        self.called = 0;
        self.refused = 0;
    }

    /// R17: the call joins one that he talks on.
    pub(super) fn note_joined(&mut self) {
        self.seen = Seen::Answered;
    }

    /// Whether all of his phones, which are this many, have been called in vain.
    pub(super) fn is_refused_by(&self, phones: usize) -> bool {
        self.called == self.refused && usize::from(self.refused) >= phones
    }
}

/// What joins two passes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Joint {
    /// Our own Call-ID and tag.
    Ids,
    /// The numbers of both users.
    Number,
}

/// An in pass: the out pass that it belongs to, and what there is to tell it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Inward {
    pub(super) out: Option<Key>,
    pub(super) news: Option<Seen>,
    /// R5: how long the PBX may be kept from a busy phone's refusal.
    pub(super) withholds: Option<Duration>,
}

/// The out passes that are open: not answered yet.
#[derive(Debug, Default)]
pub(super) struct Passes {
    by_dialled: HashMap<Aor, SmallVec<[Key; 1]>>,
}

impl Passes {
    fn open(&mut self, dialled: &Aor, key: Key) {
        match self.by_dialled.get_mut(dialled) {
            Some(open) if open.len() < OPEN_MAX => open.push(key),
            // So many calls to one user are not told apart by number any more.
            Some(_) => {}
            None => {
                self.by_dialled
                    .insert(dialled.clone(), SmallVec::from_slice(&[key]));
            }
        }
    }

    fn close(&mut self, dialled: &Aor, key: Key) {
        if let Some(open) = self.by_dialled.get_mut(dialled) {
            open.retain(|other| *other != key);
            if open.is_empty() {
                self.by_dialled.remove(dialled);
            }
        }
        let room = self.by_dialled.capacity();
        if room > 512 && self.by_dialled.len() < room / 8 {
            self.by_dialled.shrink_to(self.by_dialled.len() * 2);
        }
    }

    fn to(&self, dialled: &Aor) -> &[Key] {
        let open = self.by_dialled.get(dialled);
        open.map(|open| &**open).unwrap_or_default()
    }
}

impl Shard {
    /// R1: a call of the PBX's to one of our phones. Nothing is offered or added there.
    pub(super) fn on_in_pass(
        &mut self,
        now: Timestamp,
        flow: &Flow,
        request: &Request<'_>,
    ) -> Result<(), Reject> {
        let routed = self.route(now, request, flow, None);
        let user = match &routed {
            Ok(routed) => routed.callee.clone(),
            Err(_) => self.user_of_alias(now, &request.uri),
        };
        let joined = user.as_ref().and_then(|user| self.join(request, user));
        let out = joined.map(|(out, _)| out);
        let withholds = out.and_then(|out| self.withholds_for(out));
        if let Some(out) = out {
            self.note_called(out);
        }
        if let (Some((out, Joint::Ids)), Some(user)) = (joined, &user) {
            self.learn_number(out, user);
        }
        let routed = match routed {
            Ok(routed) => routed,
            Err(reject) => {
                if let (Some(out), Reject::UserUnregistered) = (out, reject) {
                    self.note_seen(out, Seen::NoBinding);
                }
                return Err(reject);
            }
        };
        let is_taken = |user: &Aor| self.is_taken_for(user, out);
        if user.as_ref().is_some_and(is_taken) && !self.is_pressing(request) {
            if let Some(out) = out {
                self.note_seen(out, Seen::Busy(Status::BUSY_HERE.code()));
                if withholds.is_some() && self.camps_behind(out) {
                    // R5: the CANCEL leaves before the 486.
                    self.let_wait(now, out);
                }
            }
            return Err(Reject::UserBusy);
        }
        let parties = Parties {
            callee: routed.callee,
            ..Parties::default()
        };
        let about = About::Inward(Inward {
            out,
            news: None,
            withholds,
        });
        self.start_call(now, request, flow, &routed.ways, (parties, about))
    }

    /// The open out pass that this call of the PBX's is the other half of.
    fn join(&self, request: &Request<'_>, callee: &Aor) -> Option<(Key, Joint)> {
        let by_ids = || {
            let tag = request.from.tag().and_then(Tag::parse)?;
            let held = self.calls.get(tag.call)?;
            let has_sent = held.call.has_sent(request.call_id, tag);
            has_sent.then_some((tag.call, Joint::Ids))
        };
        let by_number = || Some((self.join_by_number(request, callee)?, Joint::Number));
        by_ids().or_else(by_number)
    }

    fn join_by_number(&self, request: &Request<'_>, callee: &Aor) -> Option<Key> {
        let open = self.edge.as_deref()?.passes.to(callee);
        if open.is_empty() {
            return None;
        }
        let shown = shown_numbers(request);
        let mut fits = open.iter().filter(|key| {
            let held = self.calls.get(**key);
            let caller = held.and_then(|held| held.parties.caller.as_ref());
            caller.is_some_and(|caller| {
                let mut shown = shown.iter();
                shown.any(|number| self.is_number_of(number, caller))
            })
        });
        let only = fits.next()?;
        fits.next().is_none().then_some(*only)
    }

    /// The out pass has begun that these parties' call is.
    pub(super) fn open_pass(&mut self, parties: &Parties, key: Key) {
        if let (Some(edge), Some(dialled)) = (self.edge.as_deref_mut(), &parties.dialled) {
            edge.passes.open(&dialled.user, key);
        }
    }

    /// The out pass has been answered, or is over.
    pub(super) fn close_pass(&mut self, parties: &Parties, key: Key) {
        if let (Some(edge), Some(dialled)) = (self.edge.as_deref_mut(), &parties.dialled) {
            edge.passes.close(&dialled.user, key);
        }
    }

    /// Tells the out pass that one of the callee's phones is called.
    fn note_called(&mut self, out: Key) {
        if let Some(dialled) = self.dialled_mut(out) {
            dialled.called = dialled.called.saturating_add(1);
        }
    }

    /// Tells the out pass what was seen of one of the callee's phones.
    pub(super) fn note_seen(&mut self, out: Key, seen: Seen) {
        if let Some(dialled) = self.dialled_mut(out) {
            dialled.seen = dialled.seen.or(seen);
            if seen != Seen::Answered {
                dialled.refused = dialled.refused.saturating_add(1);
            }
        }
    }

    pub(super) fn dialled_mut(&mut self, out: Key) -> Option<&mut Dialled> {
        self.calls.get_mut(out)?.parties.dialled.as_mut()
    }

    /// R1: the call went elsewhere, and is remembered as one that failed.
    pub(super) fn on_diverted(&mut self, now: Timestamp, held: &mut Held) {
        let about = std::mem::take(&mut held.about);
        let Some(dialled) = &held.parties.dialled else {
            return;
        };
        match about {
            About::Asker(asker) if asker.is_invited() => self.on_camp_diverted(&asker),
            About::Asker(asker) => {
                let condition = self.condition_of(dialled);
                self.remember_diverted(now, &asker, &dialled.user, condition);
            }
            About::CcCall(id) => self.desk.facts.push_back(Input::CcCallDiverted { id }),
            About::Beside(_)
            | About::Camped(_)
            | About::Code
            | About::Inward(_)
            | About::Nothing
            | About::Recall(_) => {}
        }
    }

    /// Why a call was not answered by the phones of whom it was for.
    fn condition_of(&self, dialled: &Dialled) -> Condition {
        dialled.seen.failure().unwrap_or_else(|| {
            if self.registrar.registered_since(&dialled.user).is_none() {
                Condition::NotLoggedIn
            } else if self.users.legs(&dialled.user) > 0 {
                Condition::Busy
            } else {
                Condition::NoReply
            }
        })
    }

    /// A phone of this user has answered: each of the calls to him may be the one.
    pub(super) fn note_in_pass_answered(&mut self, held: &Held, inward: Inward) {
        if let Some(out) = inward.out {
            return self.note_seen(out, Seen::Answered);
        }
        let Some(callee) = &held.parties.callee else {
            return;
        };
        let open = self.edge.as_deref().map(|edge| edge.passes.to(callee));
        let open: SmallVec<[Key; 1]> = open.map(SmallVec::from_slice).unwrap_or_default();
        for out in open {
            self.note_seen(out, Seen::Answered);
        }
    }
}

/// R1: whether a call to one of our users was answered by something else than his phones: by
/// voicemail, or by whom he forwards to.
pub(super) fn is_answered_for(parties: &Parties) -> bool {
    let dialled = parties.dialled.as_ref();
    dialled.is_some_and(|dialled| dialled.seen != Seen::Answered)
}

/// The numbers that stand for the caller: the user parts of From and P-Asserted-Identity.
fn shown_numbers<'m>(request: &Request<'m>) -> SmallVec<[Cow<'m, [u8]>; 2]> {
    let asserted = request.message.values(Name::PAssertedIdentity);
    let asserted = asserted.filter_map(|value| Some(NameAddr::parse(value).ok()?.uri));
    let uris = std::iter::once(request.from.uri).chain(asserted);
    uris.filter_map(|uri| match uri {
        Uri::Sip(uri) => uri.user.map(unescape),
        Uri::Tel(tel) => Some(tel.number.into()),
        Uri::Urn(_) | Uri::Other(_) => None,
    })
    .collect()
}
