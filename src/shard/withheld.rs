//! A busy phone behind the PBX: its refusal is withheld until the PBX has given the call up.
//!
//! Spec: RULES R5; RFC 3261 §9.1.
//!
//! ```text
//!   A            campon            PBX            campon            B
//!   | INVITE ---> | INVITE -------> | INVITE -------> | INVITE -----> |
//!   |             | <-- out pass    | <-- in pass     | <-------- 486 |
//!   |             | CANCEL -------> |                 |               |
//!   | <--- 182    | <---------- 487 | <---------- 486 |               |
//!   |             |                                                   |   B hangs up
//!   |             | INVITE -------> |   anew; its 407 is A's, whose phone calls again
//! ```
//!
//! - A caller who is asked what he wants is asked while the PBX has the call: it hears of the refusal
//!   if he wants nothing, and goes on with it as it likes.
//! - Nothing else of the PBX's answers for the callee: it has no refusal to act upon. A 200 that wins
//!   the race all the same is acknowledged and ended.
//! - While another phone of his may still answer nothing is withheld.

use std::time::Duration;

use crate::call::{self, Again, Call, Sent, Told};
use crate::cc::Condition;
use crate::completion::{Input, Lost};
use crate::shard::camping::Camping;
use crate::shard::mixing::JOINS_IN;
use crate::shard::offer::{About, Announcer, Asker};
use crate::shard::passes::Seen;
use crate::shard::{Held, Shard};
use crate::sip::flow::Flow;
use crate::sip::{Message, Name, Request, Scratch};
use crate::table::Key;
use crate::time::Timestamp;

/// How long the PBX may take to give up what it was told to.
const GIVES_UP_T1: u32 = 8;
/// How long a caller who has asked for something may take to hear whether he has it.
const ANSWERED_IN: Duration = Duration::from_secs(5);

impl Announcer<'_> {
    /// How long the PBX is kept from this refusal of one of its phones.
    pub(super) fn withholds(&mut self, failure: &Told<'_>) -> Option<Duration> {
        let About::Inward(inward) = &mut *self.about else {
            return None;
        };
        let seen = Seen::of_final(failure.status, failure.rang);
        let lasts = inward.withholds.filter(|_| matches!(seen, Seen::Busy(_)))?;
        inward.news = Some(seen);
        Some(lasts)
    }
}

impl Shard {
    /// Whether the call of this out pass would wait for a busy callee.
    pub(super) fn camps_behind(&self, out: Key) -> bool {
        let asker = self.calls.get(out).and_then(|held| held.about.asker());
        let camping = asker.and_then(|asker| asker.camping.as_deref());
        camping.is_some_and(Camping::may_wait)
    }

    /// How long the PBX may be kept from a refusal: until it has given up the call of this out pass,
    /// which waits; or as long as its caller is asked.
    pub(super) fn withholds_for(&self, out: Key) -> Option<Duration> {
        if self.camps_behind(out) {
            return Some(self.settings.timing.t1 * GIVES_UP_T1);
        }
        let asker = self.calls.get(out)?.about.asker()?;
        let completion = &self.settings.completion;
        let prompt = completion
            .prompt
            .as_ref()
            .filter(|_| asker.session.is_some());
        let camping = asker.camping.as_deref();
        let asks = match prompt {
            Some(prompt) if asker.failed.is_none() => prompt.lasts,
            None if camping.is_some_and(Camping::may_be_asked_for) => completion.ask_time,
            Some(_) | None => return None,
        };
        // What he presses is done, and he hears so.
        let joins = completion.intrusion.is_possible().then_some(JOINS_IN);
        let done_in = completion.service.timing.commit_max + ANSWERED_IN;
        Some(asks + done_in.max(joins.unwrap_or_default()))
    }

    /// Lets the call of an out pass wait whose callee is busy; the PBX gets a CANCEL. Whether it does.
    pub(super) fn let_wait(&mut self, now: Timestamp, out: Key) -> bool {
        let waits = self.with_call(now, out, Call::hold_busy);
        waits == Some(true)
    }

    /// Looks after an in pass whose refusal is withheld; whether it is one.
    pub(super) fn attend_withheld(&mut self, now: Timestamp, key: Key, held: &mut Held) -> bool {
        let About::Inward(inward) = &mut held.about else {
            return false;
        };
        if inward.withholds.is_none() || !held.call.is_held() {
            return false;
        }
        // What becomes of it from here on is nothing to the out pass.
        if let Some(out) = inward.out.take() {
            let busy = Some(Condition::Busy);
            self.leave_callee(now, key, (&mut held.parties, busy));
            if !self.give_up_behind(now, out, key) {
                self.in_turn(now, held, Call::let_go);
            }
        }
        true
    }

    fn give_up_behind(&mut self, now: Timestamp, out: Key, inward: Key) -> bool {
        let Some(dialled) = self.dialled_mut(out) else {
            return false;
        };
        let dialled = dialled.clone();
        let phones = self.registrar.targets(now, &dialled.user).count();
        if !dialled.is_refused_by(phones) {
            return false;
        }
        let waits = if self.camps_behind(out) {
            self.let_wait(now, out)
        } else {
            self.with_call(now, out, Call::ask_of_busy) == Some(true)
        };
        if let Some(dialled) = self.dialled_mut(out).filter(|_| waits) {
            dialled.withheld = Some(inward);
        }
        waits
    }

    /// The PBX has given a call up, or has it for good: nothing is withheld from it any more.
    pub(super) fn tell_withheld(&mut self, now: Timestamp, held: &mut Held) {
        let (dialled, call) = (held.parties.dialled.as_mut(), &held.call);
        let Some(dialled) = dialled.filter(|dialled| dialled.withheld.is_some()) else {
            return;
        };
        let goes_on = call.is_up() && !call.is_held();
        let is_being_taken = call.is_withdrawing() || !goes_on;
        if call.is_inviting() && is_being_taken {
            return;
        }
        if let Some(inward) = dialled.withheld.take() {
            self.with_call(now, inward, Call::let_go);
        }
    }
}

/// An INVITE as it came, but for the credentials.
fn without_credentials(raw: &[u8]) -> (Box<[u8]>, Sent) {
    let mut index = Scratch::new();
    let Ok(message) = Message::parse(raw, &mut index) else {
        return (Box::from(raw), Sent::AsWritten);
    };
    let mut sent = Sent::AsWritten;
    let credentials = [Name::Authorization, Name::ProxyAuthorization];
    let first = raw.iter().position(|byte| *byte == b'\n');
    let mut kept = Vec::with_capacity(raw.len());
    kept.extend(raw.iter().take(first.map_or(0, |at| at + 1)));
    for header in message.headers() {
        if credentials.contains(&header.name) {
            sent = Sent::Unproven;
        } else {
            kept.extend([header.spelled, b": ", header.value, b"\r\n"].concat());
        }
    }
    kept.extend(b"\r\n");
    kept.extend(message.body());
    (kept.into_boxed_slice(), sent)
}

/// The PBX asked for credentials when it was the caller's turn.
impl Shard {
    /// The INVITE of a call that waits, as it goes out once more. A PBX has seen its credentials, and
    /// takes what it sees twice for a replay (RFC 7616 §5.5).
    pub(super) fn anew(&self, invite: &[u8]) -> (Box<[u8]>, Sent) {
        if self.edge.is_some() {
            without_credentials(invite)
        } else {
            (Box::from(invite), Sent::AsWritten)
        }
    }

    /// Whether this is the call of somebody who waits, with credentials.
    pub(super) fn has_camped(&self, request: &Request<'_>, flow: &Flow) -> bool {
        let digester = self.layer.digester();
        let edge = self.edge.as_deref();
        edge.is_some_and(|edge| edge.challenged.is_camped(digester, request, flow))
    }

    /// The challenged call that this one repeats, and what completion has to do with it: with that of
    /// somebody who waits, the same as before.
    pub(super) fn take_up_challenged(
        &mut self,
        request: &Request<'_>,
        flow: &Flow,
        about: About,
    ) -> (Option<(Key, Again)>, About) {
        let Some((key, mut again)) = self.take_challenged(request, flow) else {
            return (None, about);
        };
        let camped = self.take_camped(key, request, flow);
        again.has_waited = camped.as_deref().is_some_and(Asker::is_invited);
        (Some((key, again)), camped.map_or(about, About::Asker))
    }

    fn take_camped(&mut self, key: Key, request: &Request<'_>, flow: &Flow) -> Option<Box<Asker>> {
        let mut asker = self.edge.as_deref_mut()?.challenged.take_camped(key)?;
        let ours = self.settings.sound.as_ref().map(|sound| sound.address);
        let is_wanted = self.desk.service.camp_of(asker.call).is_some();
        let hears = |ours| call::can_hear(&request.message, flow.remote.ip(), ours);
        let hears = ours.is_some_and(hears);
        asker.session =
            (asker.session.take().filter(|_| hears)).map(|_| Box::from(request.message.body()));
        if let Some(camping) = asker.camping.as_deref_mut() {
            camping.repeat(request, flow);
            if !is_wanted {
                camping.give_up();
            }
        }
        Some(asker)
    }

    /// R9: something else of the PBX's has answered a call that waited. It stays as it is, and its
    /// caller waits on without it.
    pub(super) fn on_camp_diverted(&mut self, asker: &Asker) {
        let call = asker.call;
        self.desk.camps.remove(&call);
        self.desk.facts.push_back(Input::CallLost {
            call,
            how: Lost::Diverted,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invite_loses_its_credentials_and_nothing_else() {
        let head = "INVITE sip:bob@pbx SIP/2.0\r\nVia: SIP/2.0/UDP a\r\nSubject: one\r\n two\r\n";
        let tail = "l: 4\r\n\r\nbody";
        let proof =
            "Proxy-Authorization: Digest username=\"a\"\r\nAuthorization: Digest b=\"c\"\r\n";
        let raw = [head, proof, tail].concat();
        let (kept, sent) = without_credentials(raw.as_bytes());
        assert_eq!(str::from_utf8(&kept), Ok(&*[head, tail].concat()));
        assert_eq!(sent, Sent::Unproven);
    }
}
