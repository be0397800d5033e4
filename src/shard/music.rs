//! What a caller hears whose call waits: music, then that it rings, and last his callee.
//!
//! Spec: RULES R5, R16; RFC 3960 §3; ITU-T E.180 §6.
//!
//! - It is early media in a dialog of our own: the callee's answer comes in another one, and what we
//!   play ends with it.
//! - Where nothing can be played the call waits all the same.

use crate::call::Told;
use crate::completion::{CompletionId, Input, Mode, Which};
use crate::media::prompts::Voice;
use crate::media::room::{Programme, Repeats};
use crate::shard::desk::name_of;
use crate::shard::offer::About;
use crate::shard::prompt::{Prompting, Stage, Wish};
use crate::shard::{Held, Shard};
use crate::sip::Status;
use crate::table::Key;
use crate::time::Timestamp;

impl Shard {
    /// The call has its place: its caller hears music, if anything.
    pub(super) fn begin_music(
        &mut self,
        now: Timestamp,
        (key, id): (Key, CompletionId),
        held: &mut Held,
    ) {
        let is_wanted = self.settings.completion.camp_on_music;
        let Some(voice) = self.settings.voice.as_ref().filter(|_| is_wanted) else {
            return self.close_prompt(held);
        };
        let programme = music(voice);
        let stage = Stage::Waiting(id);
        if let Some(prompting) = held.prompting.as_mut() {
            prompting.stage = stage;
            return self.sounds.play(prompting.room, programme);
        }
        if !self.may_hear_both(held) {
            return;
        }
        let prompt = self.settings.completion.prompt.as_ref();
        let digits = prompt.into_iter().flat_map(|prompt| &prompt.digits);
        let offered = digits.filter(|(_, mode)| *mode == Mode::Callback);
        let offered = offered.copied().collect();
        if let Some((room, port)) = self.open_room(now, key, held, programme) {
            held.prompting = Some(Box::new(Prompting {
                room,
                port,
                stage,
                offered,
                pressed: None,
            }));
        }
    }

    /// It goes on waiting: the callee was busy again.
    pub(super) fn play_while_waiting(&mut self, held: &mut Held) {
        let prompting = held.prompting.as_mut().zip(self.settings.voice.as_ref());
        if let Some((prompting, voice)) = prompting
            && let Stage::Ringing(id) = prompting.stage
        {
            prompting.stage = Stage::Waiting(id);
            self.sounds.play(prompting.room, music(voice));
        }
    }

    /// Its INVITE has gone out anew, or all is over: what is ours to be heard ends with the answer, or
    /// with what the callee's side plays itself.
    pub(super) fn play_while_ringing(&mut self, held: &mut Held) {
        if held.call.keeps_caller() {
            return self.play_to_kept(held);
        }
        let call = &held.call;
        let is_ours = call.open_server().is_some() && !call.hears_callee();
        let stage = held.prompting.as_ref().map(|prompting| prompting.stage);
        if stage == Some(Stage::Joined) && held.call.is_joined() {
            return;
        }
        match stage.filter(|_| is_ours) {
            Some(Stage::Waiting(id)) if call.has_rung() => {
                let prompting = held.prompting.as_mut().zip(self.settings.voice.as_ref());
                if let Some((prompting, voice)) = prompting {
                    prompting.stage = Stage::Ringing(id);
                    let rings = Programme::new(voice.ringing.clone(), Repeats::Forever);
                    self.sounds.play(prompting.room, rings);
                }
            }
            Some(Stage::Waiting(_) | Stage::Ringing(_)) => {}
            Some(
                Stage::Saying
                | Stage::Choosing
                | Stage::Asking(_)
                | Stage::Turning
                | Stage::Reserving
                | Stage::Joining
                | Stage::Joined
                | Stage::Announcing
                | Stage::Announced
                | Stage::RingingBack
                | Stage::Closing { .. },
            )
            | None => self.close_prompt(held),
        }
    }

    /// He has heard enough music, and wants to be called back.
    pub(super) fn leave_queue(&mut self, held: &Held, id: CompletionId) {
        if let Some(caller) = &held.parties.caller {
            let ticket = self.desk.ticket();
            self.desk.facts.push_back(Input::Uncomplete {
                ticket,
                caller: name_of(caller),
                which: Which::Id(id),
            });
        }
    }

    /// The call waits no longer, and its failure, which is as good as new, is to be completed.
    pub(super) fn turn_to_callback(&mut self, now: Timestamp, held: &mut Held) {
        let Held { parties, about, .. } = held;
        if let About::Asker(asker) = about {
            asker.failed = None;
            asker.camping = None;
        }
        let told = Told {
            status: Status::BUSY_HERE,
            rang: false,
            response: None,
        };
        let lasts = self.with_turn(now, parties, about, |turn| turn.announce.holds(&told));
        match lasts {
            Some(_) => self.ask(now, held, Wish::Complete(Mode::Callback)),
            None => self.let_go(now, held),
        }
    }
}

/// Whether its caller has left the queue to be called back.
pub(super) fn is_turning(held: &Held) -> bool {
    let prompting = held.prompting.as_ref();
    prompting.is_some_and(|prompting| prompting.stage == Stage::Turning)
}

fn music(voice: &Voice) -> Programme {
    Programme::new(voice.music.clone(), Repeats::Forever)
}
