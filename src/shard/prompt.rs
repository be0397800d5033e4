//! The digit on busy: a caller hears what can be done, presses a key, and has it done.
//!
//! Spec: RULES R5, R16, R23; DESIGN §8.2; RFC 3960 §3.2.
//!
//! ```text
//!   failure kept --> Saying --digit--> Asking --accepted, refused--> Closing --tone, time--> the failure
//!                      |                  | ^                                                  ^
//!                      |                  | \--digit: call me back-- Waiting, Ringing          |
//!                      |                  \--a place in the queue-----^                        |
//!                      |--digit: leave a text--> Choosing --its number--> Asking               |
//!                      \--time, no port, nobody to hear it, nothing to offer-------------------/
//! ```
//!
//! - What is said is early media: nothing is answered, so nothing is billed.
//! - Whatever goes wrong, the caller gets the failure that was kept, with its offer.

use std::sync::Arc;
use std::time::Duration;

use crate::call::{Call, Refused, Told};
use crate::cc::Condition;
use crate::completion::{
    Complete, CompletionId, Input, Leave, Mode, Reject as NotCompleted, Ticket, WhichCall,
};
use crate::media::desk::RoomId;
use crate::media::digit::Digit;
use crate::media::prompts::Phrase;
use crate::media::room::{News, Programme, Repeats};
use crate::shard::desk::name_of;
use crate::shard::offer::{About, Announcer, Callee};
use crate::shard::record::Draft;
use crate::shard::sound::trust_of;
use crate::shard::ways::Ways;
use crate::shard::{Held, Parties, Reject, Shard};
use crate::sip::flow::Flow;
use crate::sip::{Request, Status};
use crate::table::Key;
use crate::time::Timestamp;
use crate::transaction::User;
use crate::transaction::servers::Answer;

/// How long the last tone may take, and the network to let it through.
pub(super) const CLOSING_MAX: Duration = Duration::from_secs(3);
/// Many a phone tells a key twice, as an event and by INFO: for so long the same one is the same press.
const PRESS_MAX: Duration = Duration::from_millis(500);

/// A caller who is asked.
#[derive(Debug)]
pub(super) struct Prompting {
    pub(super) room: RoomId,
    /// Our port there.
    pub(super) port: u16,
    pub(super) stage: Stage,
    /// Which digits do what.
    pub(super) offered: Vec<(Digit, Mode)>,
    /// What was pressed last, and when.
    pub(super) pressed: Option<(Digit, Timestamp)>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stage {
    /// A digit is waited for.
    Saying,
    /// He wants to leave a text, and is asked which.
    Choosing,
    /// What it asks for is being done.
    Asking(Ticket),
    /// He hears whether it was.
    Closing { done: bool },
    /// His call waits, and he hears music.
    Waiting(CompletionId),
    /// The same, and his callee's phone rings.
    Ringing(CompletionId),
    /// He waits no longer, and will be called back.
    Turning,
    /// He wants to join his callee's call: ports for it are asked for.
    Reserving,
    /// That call is being put on a mixer.
    Joining,
    /// He has joined it.
    Joined,
    /// He was called back, and hears whom for.
    Announcing,
    /// He has heard it, and his callee is called.
    Announced,
    /// The same, and his callee's phone rings.
    RingingBack,
}

/// What a digit asks for.
pub(super) enum Wish {
    Complete(Mode),
    /// This text is left.
    Leave(Arc<str>),
}

impl Announcer<'_> {
    /// How long a caller is asked what is to be done about this failure, if he can be asked.
    pub(super) fn asks(&mut self, failure: &Told<'_>) -> Option<Duration> {
        let prompt = self.settings.completion.prompt.as_ref()?;
        let About::Asker(asker) = &*self.about else {
            return None;
        };
        let Callee::Ours(callee) = asker.callee.clone() else {
            return None;
        };
        let is_new = asker.session.is_some() && asker.failed.is_none();
        let condition = self.condition_of(&callee, failure).filter(|_| is_new)?;
        if self.is_left_alone(&asker.caller) {
            return None;
        }
        if !self.service.has_place(&name_of(&callee)) {
            return None;
        }
        let About::Asker(mut asker) = std::mem::take(self.about) else {
            return None;
        };
        let calls = self.calls_of(&callee);
        self.remember(&asker, &callee, (failure.status, condition, calls));
        asker.failed = Some(condition);
        *self.about = About::Asker(asker);
        Some(prompt.lasts)
    }
}

impl Shard {
    /// A failure of our own that the caller is asked about first; whether he is.
    pub(super) fn ask_first(
        &mut self,
        now: Timestamp,
        (request, flow): (&Request<'_>, &Flow),
        (caller, about): (Option<&crate::location::Aor>, &mut About),
        reject: Reject,
    ) -> Result<bool, Reject> {
        let told = Told {
            status: reject.status(),
            rang: false,
            response: None,
        };
        let nobody = Parties::default();
        let lasts = self.with_turn(now, &nobody, about, |turn| turn.announce.holds(&told));
        let Some(lasts) = lasts else {
            return Ok(false);
        };
        let key = self.calls.reserve().map_err(|_| Reject::TableFull)?;
        let user = Some(User {
            call: key,
            part: crate::call::INVITE_PART,
        });
        let Ok(server) = self.layer.accept(now, request, flow, user) else {
            self.calls.discard(key);
            return Err(Reject::TableFull);
        };
        self.layer.respond(now, server, &Answer::TRYING);
        self.counters.calls_started += 1;
        let draft = || Draft::of_invite(request, flow, &Ways::new());
        self.records.begin(key, self.request_of(about), draft);
        let parties = Parties {
            caller: caller.cloned(),
            ..Parties::default()
        };
        if let Some(caller) = caller {
            self.users.engage(caller);
        }
        let mut about = std::mem::take(about);
        let refused = Refused {
            request,
            flow,
            server,
            status: told.status,
        };
        let asked = about.asker().map(|asker| asker.call);
        let call = self.with_turn(now, &parties, &mut about, |turn| {
            Call::hold(key, turn, &refused, lasts)
        });
        let mut held = Held::new(call, parties, about);
        held.asked = asked;
        self.put_back(now, key, held);
        Ok(true)
    }

    /// Begins to ask whoever is kept from his failure, and ends it with the call.
    pub(super) fn attend(&mut self, now: Timestamp, key: Key, held: &mut Held) {
        match (&held.prompting, held.call.is_held()) {
            (None, true) => {
                if self.begin_prompt(now, key, held).is_none() {
                    self.in_turn(now, held, Call::cease);
                }
            }
            (Some(_), true) => {
                if let Some(digit) = held.call.take_digit() {
                    self.on_digit(now, key, held, digit);
                }
                self.play_while_waiting(held);
                self.answer_waiting(now, held);
            }
            (Some(_), false) if matches!(held.about, About::Recall(_)) => {
                self.attend_announcement(held);
            }
            (Some(_), false) => self.play_while_ringing(held),
            (None, false) => {}
        }
    }

    fn begin_prompt(&mut self, now: Timestamp, key: Key, held: &mut Held) -> Option<()> {
        let voice = self.settings.voice.clone()?;
        let reason = held.about.asker()?.failed?;
        if !held.call.is_kept() && !self.may_hear_both(held) {
            // His callee's side may answer yet.
            return None;
        }
        let offered = self.offered(now, held, reason);
        if offered.is_empty() {
            return None;
        }
        let sentence = voice.say(&sentence(&offered, reason));
        let programme = Programme::new(sentence, Repeats::Never);
        let (room, port) = self.open_room(now, key, held, programme)?;
        self.counters.prompts += 1;
        held.prompting = Some(Box::new(Prompting {
            room,
            port,
            stage: Stage::Saying,
            offered,
            pressed: None,
        }));
        Some(())
    }

    /// R16: a room in which a caller whose failure is kept hears this, as early media.
    pub(super) fn open_room(
        &mut self,
        now: Timestamp,
        key: Key,
        held: &mut Held,
        programme: Programme,
    ) -> Option<(RoomId, u16)> {
        let session = held.about.asker()?.session.clone()?;
        let Some((room, at)) = self.sounds.take(key) else {
            self.counters.rooms_refused += 1;
            return None;
        };
        let told = self.in_turn(now, held, |call, turn| {
            let (agreed, answer) = call.sound_answer(turn, &session, at)?;
            call.tell_held(turn, Status::SESSION_PROGRESS, b"", &answer);
            Some(agreed)
        });
        let Some(mut agreed) = told else {
            self.sounds.close(room);
            return None;
        };
        let [from, _] = held.parties.through;
        agreed.trust = trust_of(from, agreed.trust);
        self.sounds.open(room, (at.port(), agreed), programme);
        Some((room, at.port()))
    }

    /// What can be done for this caller now, of all that a digit may ask for.
    fn offered(&self, now: Timestamp, held: &Held, reason: Condition) -> Vec<(Digit, Mode)> {
        let prompt = self.settings.completion.prompt.as_ref();
        let digits = prompt.into_iter().flat_map(|prompt| &prompt.digits);
        let is_possible = |mode| match mode {
            Mode::Callback => true,
            Mode::CampOn => {
                let could_camp = |asker| self.could_camp(asker);
                let is_camp = reason == Condition::Busy && self.may_hear_both(held);
                is_camp && held.about.asker().is_some_and(could_camp)
            }
            Mode::Intrude => reason == Condition::Busy && self.may_intrude(now, held),
            Mode::Message => self.could_leave(held),
        };
        digits
            .filter(|(_, mode)| is_possible(*mode))
            .copied()
            .collect()
    }

    /// Something was heard in a room of ours, or it is no more.
    pub(super) fn on_heard(&mut self, now: Timestamp, room: RoomId, news: News) {
        let Some(key) = self.sounds.call_of(room) else {
            return;
        };
        let Some(mut held) = self.calls.take(key) else {
            return self.sounds.close(room);
        };
        let stage = held.prompting.as_ref().map(|prompting| prompting.stage);
        match (news, stage) {
            (News::Digit(digit), Some(_)) => self.on_digit(now, key, &mut held, digit),
            (News::Reserved, Some(Stage::Reserving)) => self.put_on_mixer(now, key, &mut held),
            (News::Unreserved, Some(Stage::Reserving)) => self.fail_to_join(now, &mut held),
            (News::PlayedOut, Some(Stage::Announcing)) => self.on_announced(&mut held),
            (News::Failed, _) => self.on_unheard(now, &mut held),
            (News::PlayedOut, Some(Stage::Closing { done: true })) => self.let_go(now, &mut held),
            (News::PlayedOut, Some(Stage::Closing { done: false })) => {
                self.in_turn(now, &mut held, Call::cease);
                self.close_prompt(&mut held);
            }
            (News::Silent, Some(Stage::Joined)) => self.on_silent(now, &mut held),
            (News::Unconfirmed, _) => self.on_unconfirmed(&held),
            (News::Silent, None) => self.on_anchor_silent(now, &mut held),
            (News::PlayedOut | News::Reserved | News::Silent | News::Unreserved, Some(_))
            | (News::Digit(_) | News::PlayedOut | News::Reserved | News::Unreserved, None) => {}
        }
        self.put_back(now, key, held);
    }

    fn on_digit(&mut self, now: Timestamp, key: Key, held: &mut Held, digit: Digit) {
        let Some(prompting) = held.prompting.as_mut() else {
            return;
        };
        let before = prompting.pressed.replace((digit, now));
        if before.is_some_and(|(same, at)| same == digit && now.since(at) < PRESS_MAX) {
            return;
        }
        if prompting.stage == Stage::Choosing {
            return self.choose_text(now, held, digit);
        }
        let mut offered = prompting.offered.iter();
        let Some((_, mode)) = offered.find(|(each, _)| *each == digit).copied() else {
            let is_asked = prompting.stage == Stage::Saying;
            if is_asked && self.is_to_join(digit) {
                self.note_unoffered(now, key, held);
            }
            return;
        };
        match prompting.stage {
            Stage::Saying if mode == Mode::Intrude => self.intrude(now, key, held),
            Stage::Saying if mode == Mode::Message => self.offer_texts(now, held),
            Stage::Saying => self.ask(now, held, Wish::Complete(mode)),
            Stage::Waiting(id) if mode == Mode::Callback => {
                prompting.stage = Stage::Turning;
                self.leave_queue(held, id);
            }
            Stage::Choosing
            | Stage::Waiting(_)
            | Stage::Ringing(_)
            | Stage::Asking(_)
            | Stage::Turning
            | Stage::Reserving
            | Stage::Joining
            | Stage::Joined
            | Stage::Announcing
            | Stage::Announced
            | Stage::RingingBack
            | Stage::Closing { .. } => {}
        }
    }

    /// Whether this is the digit of who may join a call.
    fn is_to_join(&self, digit: Digit) -> bool {
        let prompt = self.settings.completion.prompt.as_ref();
        let digits = prompt.map(|prompt| &prompt.digits);
        digits.is_some_and(|digits| digits.contains(&(digit, Mode::Intrude)))
    }

    /// What a digit asks for.
    pub(super) fn ask(&mut self, now: Timestamp, held: &mut Held, wish: Wish) {
        let asked = held.about.asker().map(|asker| asker.call);
        let asked = asked.zip(held.parties.caller.as_ref());
        let Some(((call, caller), prompting)) = asked.zip(held.prompting.as_mut()) else {
            return;
        };
        let ticket = self.desk.ticket();
        self.desk.prompts.insert(ticket, prompting.room);
        prompting.stage = Stage::Asking(ticket);
        let (caller, call) = (name_of(caller), WhichCall::Call(call));
        self.desk.facts.push_back(match wish {
            Wish::Complete(mode) => Input::Complete(Complete {
                ticket,
                caller,
                call,
                mode,
            }),
            Wish::Leave(text) => Input::Leave(Leave {
                ticket,
                caller,
                call,
                text,
            }),
        });
        let patience = self.settings.completion.service.timing.commit_max + CLOSING_MAX;
        held.call.hold_until(now + patience);
    }

    /// The service has answered what a digit asked for; whether it was one.
    pub(super) fn answer_prompt<T>(
        &mut self,
        now: Timestamp,
        ticket: Ticket,
        result: &Result<T, NotCompleted>,
    ) -> bool {
        let Some(room) = self.desk.prompts.remove(&ticket) else {
            return false;
        };
        let Some(key) = self.sounds.call_of(room) else {
            return true;
        };
        let Some(mut held) = self.calls.take(key) else {
            return true;
        };
        tracing::info!(
            call_id = %held.call.call_id(crate::call::Side::A).escape_ascii(),
            refused = result.as_ref().err().map(ToString::to_string),
            "digit pressed"
        );
        let tone = self.settings.voice.as_ref().map(|voice| match result {
            Ok(_) => voice.accepted.clone(),
            Err(_) => voice.refused.clone(),
        });
        let asking = held.prompting.as_mut();
        let asking = asking.filter(|it| it.stage == Stage::Asking(ticket));
        if let (Some(prompting), Some(tone)) = (asking, tone) {
            let done = result.is_ok();
            prompting.stage = Stage::Closing { done };
            self.sounds.play(room, Programme::new(tone, Repeats::Never));
            held.call.hold_until(now + CLOSING_MAX);
        }
        self.put_back(now, key, held);
        true
    }

    /// Nobody is asked any more.
    pub(super) fn close_prompt(&mut self, held: &mut Held) {
        if let Some(prompting) = held.prompting.take() {
            self.sounds.close(prompting.room);
        }
    }

    pub(super) fn let_go(&mut self, now: Timestamp, held: &mut Held) {
        self.in_turn(now, held, Call::let_go);
        self.close_prompt(held);
    }
}

/// What a caller hears: why, and then what each digit does.
fn sentence(offered: &[(Digit, Mode)], reason: Condition) -> Vec<Phrase> {
    let mut phrases = vec![match reason {
        Condition::Busy => Phrase::Busy,
        Condition::NoReply | Condition::NotLoggedIn => Phrase::NoReply,
    }];
    for (digit, mode) in offered {
        let does = match mode {
            Mode::Callback => Phrase::Callback,
            Mode::CampOn => Phrase::CampOn,
            Mode::Intrude => Phrase::Intrude,
            Mode::Message => Phrase::Message,
        };
        phrases.extend([does, Phrase::Key(*digit)]);
    }
    phrases
}
