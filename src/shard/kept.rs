//! Calls that wait and are answered by us: music is heard on them, and the callee comes when he is free.
//!
//! Spec: RULES R5 (`camp_on = "answered"`); RFC 3725 §4.4.
//!
//! ```text
//!   waits, hears music --> answered (200) --its turn--> INVITE without a session --2xx--> re-INVITE of his
//!                             ^    |                        | busy again                     caller: they talk
//!                             |    \--time, taken back: BYE |
//!                             \-----------------------------/
//! ```
//!
//! - The caller's side counts from our 200: whoever bills him does so while he waits.
//! - His place in the queue is that of any call that waits.

use crate::call::{Call, Invitation, News, Party, Refusal};
use crate::cc::Condition;
use crate::completion::Input;
use crate::media::room::{Programme, Repeats};
use crate::shard::camping::{Stage as Camp, TAIL, set_stage};
use crate::shard::prompt::Stage;
use crate::shard::ways::{Ways, targets};
use crate::shard::{Held, Parties, Shard};
use crate::time::Timestamp;

/// RFC 3326: what a caller is told who has waited in vain.
const NOT_REACHED: &[u8] = b"SIP;cause=486;text=\"Busy Here\"";

impl Shard {
    /// Answers whoever waits with music, where the operator has it so.
    pub(super) fn answer_waiting(&mut self, now: Timestamp, held: &mut Held) {
        let stage = held.prompting.as_ref().map(|prompting| prompting.stage);
        let is_wanted = self.settings.completion.camp_on_answered;
        let waits = camp_of(held).filter(|_| is_wanted && matches!(stage, Some(Stage::Waiting(_))));
        let Some(Camp::Waits(_, until)) = waits else {
            return;
        };
        let is_answered = self.in_turn(now, held, |call, turn| {
            call.answer_waiting(turn, until + TAIL)
        });
        if let Some(prompting) = held.prompting.as_mut().filter(|_| is_answered) {
            // From here on he hangs up to do something else.
            prompting.offered.clear();
            self.counters.calls_waiting_answered += 1;
        }
    }

    /// It is his turn: his callee is rung, and asked what he has to offer; whether he was answered.
    pub(super) fn place_kept(&mut self, now: Timestamp, held: &mut Held, ways: &Ways) -> bool {
        let asker = held.about.asker().filter(|_| held.call.keeps_caller());
        let Some(asker) = asker else {
            return false;
        };
        let to = ways.first().and_then(|way| self.peer_of(&way.flow));
        let identity = asker.identity.clone();
        let said = self.told_of(&identity, to.map(|(peer, _)| peer));
        let (from, dialled) = (asker.from.clone(), asker.dialled.clone());
        let targets = targets(ways);
        let invitation = Invitation {
            targets: &targets,
            from: Party {
                name: b"",
                uri: from.as_str().as_bytes(),
            },
            to: Party {
                name: b"",
                uri: dialled.as_str().as_bytes(),
            },
            said: &said,
        };
        self.in_turn(now, held, |call, turn| call.place(turn, &invitation));
        true
    }

    /// What has become of the call to his callee.
    pub(super) fn on_kept_news(&mut self, now: Timestamp, held: &mut Held, news: News) {
        match news {
            News::Answered => self.on_answered(now, held),
            News::CcCallFailed(refusal) => self.on_kept_failed(now, held, refusal),
            // Why he is gone, the call itself says.
            News::CcCallLeft | News::NotReferred | News::RecallAnswered | News::RecallFailed(_) => {
            }
        }
    }

    fn on_kept_failed(&mut self, now: Timestamp, held: &mut Held, refusal: Option<Refusal>) {
        let Some(Camp::Invited(id, until)) = camp_of(held) else {
            return;
        };
        let found = refusal.and_then(|refusal| self.found(id, &held.parties, refusal));
        let [_, to] = &mut held.parties.through;
        let left = Parties {
            callee: held.parties.callee.take(),
            through: [None, to.take()],
            ..Parties::default()
        };
        let condition = found.map(|found| found.condition);
        if condition == Some(Condition::Busy) {
            self.release_refused(now, &left);
        } else {
            self.release(now, &left);
        }
        self.desk.facts.push_back(Input::CcCallFailed { id, found });
        let waits = matches!(condition, Some(Condition::Busy | Condition::NotLoggedIn));
        if waits && held.call.keeps_caller() {
            return set_stage(held, Camp::Waits(id, until));
        }
        self.end_kept(now, held);
    }

    /// He waits no longer.
    pub(super) fn end_kept(&mut self, now: Timestamp, held: &mut Held) {
        self.in_turn(now, held, |call: &mut Call, turn| {
            call.end_recall(turn, NOT_REACHED);
        });
    }

    /// What he hears follows how far his call is.
    pub(super) fn play_to_kept(&mut self, held: &mut Held) {
        let waits = matches!(camp_of(held), Some(Camp::Waits(..)));
        let Some((prompting, voice)) = held.prompting.as_mut().zip(self.settings.voice.as_ref())
        else {
            return;
        };
        let (stage, heard) = match prompting.stage {
            Stage::Waiting(id) if held.call.rings_for_caller() => {
                (Stage::Ringing(id), voice.ringing.clone())
            }
            Stage::Ringing(id) if waits => (Stage::Waiting(id), voice.music.clone()),
            Stage::Waiting(_)
            | Stage::Ringing(_)
            | Stage::Saying
            | Stage::Choosing
            | Stage::Asking(_)
            | Stage::Closing { .. }
            | Stage::Turning
            | Stage::Reserving
            | Stage::Joining
            | Stage::Joined
            | Stage::Announcing
            | Stage::Announced
            | Stage::RingingBack => return,
        };
        prompting.stage = stage;
        let heard = Programme::new(heard, Repeats::Forever);
        self.sounds.play(prompting.room, heard);
    }
}

/// How far it is with waiting.
fn camp_of(held: &Held) -> Option<Camp> {
    let asker = held.about.asker()?;
    Some(asker.camping.as_deref()?.stage())
}
