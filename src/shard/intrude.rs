//! Intrusion by the callee's phone: a caller who is kept from the busy joins the call of who talks.
//!
//! Spec: RFC 3911 §4, §5, §8; RULES R17, R23; TAPI `LINECALLCOMPLMODE_INTRUDE`.
//!
//! ```text
//!   held, asked for --rights, situation--> the phone takes Join? --no--> a mixer of ours
//!        |                                     |                             '--joined, or not-->
//!        \--denied, with the reason            '--INVITE with Join--18x, 2xx--> accepted
//!                                                      \--its failure--> the caller's, and refused
//! ```
//!
//! The id of such a request ends as soon as it is told.

use smallvec::SmallVec;

use crate::call::{Call, NatMedia, Offer, Outcome, Sent, Side, Turn};
use crate::cc::Condition;
use crate::cc::capsule::CallIdentity;
use crate::completion::intrusion::{Denied, Level};
use crate::completion::{self, CompletionId, Mode, Outcome as End, Ticket};
use crate::location::Aor;
use crate::shard::audit::AttemptId;
use crate::shard::camping::{Stage, set_stage};
use crate::shard::mixing::Bridge;
use crate::shard::offer::About;
use crate::shard::provider::{CallReport, Refusal};
use crate::shard::ways::{Way, Ways, targets};
use crate::shard::{Held, Shard};
use crate::sip::flow::Flow;
use crate::sip::{Checked, Message, Name, Request, Scratch};
use crate::table::Key;
use crate::time::Timestamp;

/// An attempt that an application waits for.
#[derive(Debug)]
pub(super) struct Intruding {
    id: CompletionId,
    /// Who asked, until he is answered.
    ticket: Option<Ticket>,
    by: By,
}

/// Who is to bring the three together.
#[derive(Debug)]
enum By {
    /// The callee's phone, which has yet to answer.
    Join(AttemptId),
    /// A mixer of ours, which keeps the attempt itself.
    Mixer,
}

impl Shard {
    /// Whether this user may intrude on anybody.
    pub(super) fn has_level(&self, user: &Aor) -> bool {
        self.rights_of(user).intrudes > Level::NONE
    }

    /// An application has a call join the call of its callee, by his phone or by a mixer; `is_offered`
    /// says whether this is something that its line could do with it.
    pub(super) fn join_call(
        &mut self,
        now: Timestamp,
        ticket: Ticket,
        (call, report): (CallIdentity, &CallReport),
        is_offered: bool,
    ) -> Result<(), Refusal> {
        let Some((key, mut held)) = self.take_camp(call) else {
            let line = self.line_of(&report.line);
            let has_level = line.is_ok_and(|line| self.has_level(&line));
            self.deny_from_elsewhere(now, report, denied(has_level));
            return Err(refused(is_offered));
        };
        // T29: from here on it is an attempt, whatever is wrong with it.
        let attempt = self.begin_attempt(now, key, &held);
        let begun = if is_offered && held.call.is_held() {
            let begun = self.join_as_held(now, (key, ticket), &mut held, attempt);
            begun.map_err(|denied| completion::Reject::IntrusionDenied(denied).into())
        } else {
            let caller = held.parties.caller.as_ref();
            let has_level = caller.is_some_and(|caller| self.has_level(caller));
            self.deny_attempt(now, attempt, denied(has_level));
            Err(refused(is_offered))
        };
        self.put_back(now, key, held);
        begun
    }

    fn join_as_held(
        &mut self,
        now: Timestamp,
        (key, ticket): (Key, Ticket),
        held: &mut Held,
        attempt: AttemptId,
    ) -> Result<(), Denied> {
        let talk = match self.talk_of(now, held) {
            Ok(talk) => talk,
            Err(denied) => {
                self.deny_attempt(now, attempt, denied);
                self.provider.count_end(Mode::Intrude, End::Refused);
                return Err(denied);
            }
        };
        let id = CompletionId::random(&mut self.rng);
        let joins = self.calls.get(talk.key);
        let joins = joins.is_some_and(|it| it.call.takes_join(talk.near));
        // One that is under way already goes on.
        let is_free = held.mixed.is_none();
        if joins && is_free && self.send_join(now, (key, held), &talk).is_some() {
            let (ticket, by) = (Some(ticket), By::Join(attempt));
            self.desk
                .intruding
                .insert(key, Intruding { id, ticket, by });
            return Ok(());
        }
        if let Err(denied) = self.intrude_in_room(now, (key, held), attempt) {
            self.provider.count_end(Mode::Intrude, End::Refused);
            return Err(denied);
        }
        // He is answered when he is in it, or cannot be.
        let (ticket, by) = (Some(ticket), By::Mixer);
        self.desk
            .intruding
            .insert(key, Intruding { id, ticket, by });
        Ok(())
    }

    /// RFC 3911 §4: the caller's INVITE once more, to the phone that talks and to it alone. A PBX that
    /// has it is told to forget it, and what proves him to the PBX is nothing to the phone.
    fn send_join(
        &mut self,
        now: Timestamp,
        (key, held): (Key, &mut Held),
        talk: &Bridge,
    ) -> Option<()> {
        let side = talk.near;
        let talk = self.calls.get(talk.key)?;
        let target = talk.call.peer(side);
        let way = target.flow;
        let ways: Ways = SmallVec::from_iter([Way {
            uri: SmallVec::from_slice(target.uri),
            flow: target.flow,
            reach: target.reach,
            others: None,
        }]);
        let callee = match side {
            Side::A => talk.parties.caller.clone(),
            Side::B => talk.parties.callee.clone(),
        };
        let id = talk.call.dialog_of(side);
        let About::Asker(asker) = &held.about else {
            return None;
        };
        let camping = asker.camping.as_deref()?;
        let flow = camping.flow;
        let (invite, _) = self.anew(&camping.invite);
        let invite = with_join(&invite, &id)?;
        let mut index = Scratch::new();
        let message = Message::parse(&invite, &mut index).ok()?;
        let Ok(Checked::Request(request)) = Checked::check(message) else {
            return None;
        };
        set_stage(held, Stage::Joining);
        self.leave_callee(now, key, (&mut held.parties, Some(Condition::Busy)));
        held.parties.callee = callee;
        if let Some(dialled) = &mut held.parties.dialled {
            dialled.note_joined();
        }
        let edge = self.settings.edge.as_ref();
        if edge.is_some_and(|edge| edge.nat_media == NatMedia::Rewrite) {
            held.call.place_behind(Side::B, &way);
        }
        if let Some(callee) = &held.parties.callee {
            self.users.engage(callee);
        }
        self.invite_joined(now, held, (&request, &flow), &ways)
    }

    fn invite_joined(
        &mut self,
        now: Timestamp,
        held: &mut Held,
        (request, flow): (&Request<'_>, &Flow),
        ways: &Ways,
    ) -> Option<()> {
        let message = Self::for_other_side(held.parties.identity, request.message);
        let request = Request {
            message,
            ..*request
        };
        let server = held.call.open_server()?;
        let offer = self.offer_of((&request, flow, server), ways, &held.parties);
        let targets = targets(ways);
        let offer = Offer {
            targets: &targets,
            ..offer
        };
        self.in_turn(now, held, |call: &mut Call, turn: &mut Turn<'_>| {
            call.invite_held(turn, &offer, Sent::AsWritten);
        });
        Some(())
    }

    /// Looks whether the phone has answered, or the mixer stands; nothing while nobody intrudes.
    pub(super) fn watch_intrusion(&mut self, now: Timestamp, key: Key, held: &Held) {
        let Some(intruding) = self.desk.intruding.remove(&key) else {
            return;
        };
        let Intruding { id, ticket, by } = intruding;
        match by {
            By::Join(attempt) => self.watch_join(now, (key, held), (id, ticket), attempt),
            By::Mixer => self.watch_mixer((key, held), id, ticket),
        }
    }

    fn watch_join(
        &mut self,
        now: Timestamp,
        (key, held): (Key, &Held),
        (id, mut ticket): (CompletionId, Option<Ticket>),
        attempt: AttemptId,
    ) {
        let call = &held.call;
        let is_joined = call.answered().is_some();
        if (is_joined || call.has_rung())
            && let Some(ticket) = ticket.take()
        {
            // The phone has accepted it, as far as TAPI is concerned.
            self.answer_application(ticket, Ok(Some(id)));
        }
        if is_joined {
            if let Some(call) = held.asked {
                // Nobody asks for it any more.
                self.desk.camps.remove(&call);
                let released = completion::Input::CallReleased { call };
                self.desk.facts.push_back(released);
            }
            // When they part is the phone's to know.
            self.note_joined(now, &attempt);
            self.end_attempt(now, attempt);
            self.provider.count_end(Mode::Intrude, End::Completed);
        } else if !call.is_up() || call.is_held() {
            if let Some(ticket) = ticket {
                let reject = completion::Reject::MonitorRefused(status_of(call));
                self.answer_application(ticket, Err(reject));
            }
            self.end_attempt(now, attempt);
            self.provider.count_end(Mode::Intrude, End::Refused);
        } else {
            let by = By::Join(attempt);
            self.desk
                .intruding
                .insert(key, Intruding { id, ticket, by });
        }
    }

    fn watch_mixer(&mut self, (key, held): (Key, &Held), id: CompletionId, ticket: Option<Ticket>) {
        let is_joined = held.call.is_joined();
        let is_on_its_way = held.mixed.is_some() && held.call.is_held();
        if !is_joined && is_on_its_way {
            let by = By::Mixer;
            self.desk
                .intruding
                .insert(key, Intruding { id, ticket, by });
            return;
        }
        let (end, result) = if is_joined {
            (End::Completed, Ok(Some(id)))
        } else {
            let reject = completion::Reject::IntrusionDenied(Denied::NoMeans);
            (End::Refused, Err(reject))
        };
        if let Some(ticket) = ticket {
            self.answer_application(ticket, result);
        }
        self.provider.count_end(Mode::Intrude, end);
    }
}

/// Why a call joins nothing that cannot, or whose line may not.
fn denied(has_level: bool) -> Denied {
    if has_level {
        Denied::NoMeans
    } else {
        Denied::NoRight
    }
}

/// What an application is told of it.
fn refused(is_offered: bool) -> Refusal {
    if is_offered {
        Refusal::State
    } else {
        completion::Reject::ModeNotOffered.into()
    }
}

/// What the phone said, or what its caller did.
fn status_of(call: &Call) -> u16 {
    match call.outcome() {
        Outcome::Failed(status) => status.code(),
        Outcome::Open
        | Outcome::Cancelled
        | Outcome::Confirmed
        | Outcome::Disconnected
        | Outcome::HandedOver
        | Outcome::HungUp(_)
        | Outcome::Lost => 487,
    }
}

/// The INVITE with the two fields that make it join this dialog; `None` if it has one of its own.
fn with_join(invite: &[u8], id: &crate::sip::OwnedDialogId) -> Option<Vec<u8>> {
    let mut index = Scratch::new();
    let message = Message::parse(invite, &mut index).ok()?;
    let is_bound = |name| message.first(name).is_some();
    if is_bound(Name::Join) || is_bound(Name::Replaces) {
        return None;
    }
    let line = invite.iter().position(|byte| *byte == b'\n')? + 1;
    let (start, rest) = invite.split_at_checked(line)?;
    let [call_id, end, across] = [&id.call_id, &id.end, &id.across].map(Vec::as_slice);
    Some(
        [
            start,
            b"Join: ",
            call_id,
            b";to-tag=",
            end,
            b";from-tag=",
            across,
            b"\r\nRequire: join\r\n",
            rest,
        ]
        .concat(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::OwnedDialogId;

    fn id() -> OwnedDialogId {
        OwnedDialogId {
            call_id: b"c1@h".to_vec(),
            end: b"theirs".to_vec(),
            across: b"ours".to_vec(),
        }
    }

    #[test]
    fn an_invite_joins_one_dialog_and_keeps_all_else() {
        let invite = b"INVITE sip:bob@b.example SIP/2.0\r\nSubject: x\r\n\r\nbody";
        let joined = with_join(invite, &id()).expect("an INVITE");
        assert_eq!(
            String::from_utf8_lossy(&joined),
            "INVITE sip:bob@b.example SIP/2.0\r\n\
             Join: c1@h;to-tag=theirs;from-tag=ours\r\nRequire: join\r\nSubject: x\r\n\r\nbody"
        );
        // RFC 3911 §4: one Join, and no Replaces beside it.
        assert_eq!(with_join(&joined, &id()), None);
    }
}
