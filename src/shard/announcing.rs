//! What a caller hears who was called back: whom it is for, and then how his callee's phone rings.
//!
//! Spec: RULES R10; RFC 3725 §7; ITU-T E.180 §6.
//!
//! ```text
//!   he answers --> Announcing --played--> Announced --INVITE, 18x--> RingingBack --2xx--> over
//!                      \--no port, his phone does not want it--> as without
//! ```
//!
//! Where his own phone dials, what is ours to be heard ends with the REFER.

use crate::call::Announcement;
use crate::completion::CompletionId;
use crate::media::clip::Clip;
use crate::media::digit::Digit;
use crate::media::prompts::Phrase;
use crate::media::room::{Programme, Repeats};
use crate::shard::offer::About;
use crate::shard::prompt::{Prompting, Stage};
use crate::shard::recall::dialled_user;
use crate::shard::sound::trust_of;
use crate::shard::{Held, Shard};
use crate::time::Timestamp;

/// Frames of 20 ms: what is longer would take the callee's time.
const FRAMES_MAX: usize = 300;
/// A number that is longer is not said.
const KEYS_MAX: usize = 8;

impl Shard {
    /// He has answered: he is asked to hear us before his callee is called; whether he was.
    pub(super) fn begin_announcement(&mut self, now: Timestamp, id: CompletionId) -> bool {
        let is_wanted = self.settings.completion.announces_recalls && self.settings.voice.is_some();
        let rung = self.desk.recalls.get(&id).filter(|_| is_wanted);
        let Some(key) = rung.map(|rung| rung.key) else {
            return false;
        };
        // Who asked for a call of his own knows whom for.
        if self.is_connection(id) {
            return false;
        }
        let Some((room, at)) = self.sounds.take(key) else {
            self.counters.rooms_refused += 1;
            return false;
        };
        let asked = self.with_call(now, key, |call, turn| call.announce(turn, at));
        let is_asked = asked == Some(true);
        let held = self.calls.get_mut(key).filter(|_| is_asked);
        let Some(held) = held else {
            self.sounds.close(room);
            return false;
        };
        held.prompting = Some(Box::new(Prompting {
            room,
            port: at.port(),
            stage: Stage::Announcing,
            offered: Vec::new(),
            pressed: None,
        }));
        true
    }

    /// Looks after a caller who was called back and hears us.
    pub(super) fn attend_announcement(&mut self, held: &mut Held) {
        let Some((prompting, voice)) = held.prompting.as_mut().zip(self.settings.voice.as_ref())
        else {
            return;
        };
        let About::Recall(id) = held.about else {
            return;
        };
        let is_alone = held.call.is_up() && held.call.answered().is_none();
        if !is_alone || held.call.is_referring() {
            return self.close_prompt(held);
        }
        match prompting.stage {
            Stage::Announcing => match held.call.take_announcement() {
                Some(Announcement::Heard(mut agreed)) => {
                    let [from, _] = held.parties.through;
                    agreed.trust = trust_of(from, agreed.trust);
                    let party = (prompting.port, agreed);
                    let said = self.announcement(id);
                    self.sounds.open(prompting.room, party, said);
                }
                Some(Announcement::Unheard) => {
                    self.close_prompt(held);
                    self.on_announced(held);
                }
                None => {}
            },
            Stage::Announced if held.call.rings_for_caller() => {
                prompting.stage = Stage::RingingBack;
                let rings = Programme::new(voice.ringing.clone(), Repeats::Forever);
                self.sounds.play(prompting.room, rings);
            }
            Stage::Announced
            | Stage::RingingBack
            | Stage::Saying
            | Stage::Choosing
            | Stage::Asking(_)
            | Stage::Closing { .. }
            | Stage::Waiting(_)
            | Stage::Ringing(_)
            | Stage::Turning
            | Stage::Reserving
            | Stage::Joining
            | Stage::Joined => {}
        }
    }

    /// He has heard whom for, or does not want to: his callee is called.
    pub(super) fn on_announced(&mut self, held: &mut Held) {
        if let Some(prompting) = held.prompting.as_mut() {
            prompting.stage = Stage::Announced;
        }
        if let About::Recall(id) = held.about {
            self.desk.unplaced.push(id);
        }
    }

    /// "Your call is ready", and the number, if it is one that can be said.
    fn announcement(&self, id: CompletionId) -> Programme {
        let mut phrases = vec![Phrase::Recall];
        let dialled = self.dialled_for(id).map(dialled_user).unwrap_or_default();
        let keys: Option<Vec<_>> = dialled.iter().map(|key| Digit::of_key(*key)).collect();
        let keys = keys.filter(|keys| keys.len() <= KEYS_MAX);
        phrases.extend(keys.into_iter().flatten().map(Phrase::Key));
        let voice = self.settings.voice.as_ref();
        let said = voice.map_or_else(|| Clip::new(Vec::new()), |voice| voice.say(&phrases));
        Programme::new(said.cut_to(FRAMES_MAX), Repeats::Never)
    }
}
