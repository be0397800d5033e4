//! A caller who waits and is answered: we are his party until B has answered.
//!
//! Spec: RULES R5; RFC 3725 §4.4; RFC 3264 §8; RFC 3261 §13.3.1.4.
//!
//! ```text
//!   held --answer_waiting--> Answered --place--> Calling --2xx--> Offering --> Over: a bridge
//!                               ^                   | failure
//!                               \-------------------/
//! ```
//!
//! It goes on as a recall does whose caller has answered, but for one thing: if B is called in vain A waits
//! on. The session that A has is the one of what he heard before the answer.

use crate::call::recall::{Owner, Recall, Stage, new_call_id};
use crate::call::sdp::Session;
use crate::call::setup::Setup;
use crate::call::{Call, Few, Phase, Turn};
use crate::dialog::{Dialog, Tag};
use crate::time::Timestamp;

impl Call {
    /// Answers A, who is kept from a failure and waits until then at most, with the session that it has
    /// with us already; whether that could be done.
    ///
    /// [`Call::place`] calls B, as often as need be, and [`Call::end_recall`] ends it.
    pub fn answer_waiting(&mut self, turn: &mut Turn<'_>, until: Timestamp) -> bool {
        let sdp = self.held_session();
        let session = Session::of(&sdp);
        let Some((tag, session)) = self.held_tag().zip(session).filter(|_| self.is_kept()) else {
            return false;
        };
        // RFC 3262 §3: not before A knows what was said to it reliably; and what B's side has yet to
        // say is not to be taken for what it says of another INVITE.
        let is_done = self.setup.as_deref().is_some_and(Setup::is_done);
        if self.owes_prack() || !is_done {
            return false;
        }
        if !self.answer_kept(turn, (tag, Phase::Recalling), &sdp) {
            return false;
        }
        self.drop_hold();
        let (call_id, flow) = (new_call_id(turn), self.a.dialog.flow());
        let own = Tag::new(self.key, turn.rng);
        self.b.dialog = Dialog::begun(&call_id, [b"", b""], own, flow);
        self.recall = Some(Box::new(Recall {
            stage: Stage::Answered { until },
            branches: Few::new(),
            has_answered: true,
            session,
            news: None,
            audio: None,
            announced: None,
            owner: Owner::Listens,
            takes_refer: false,
            referred: None,
            login: None,
            keeps_until: Some(until),
        }));
        true
    }

    /// Whether A was answered by us and waits for B.
    pub fn keeps_caller(&self) -> bool {
        let recall = self.recall.as_deref();
        self.phase == Phase::Recalling && recall.is_some_and(|it| it.keeps_until.is_some())
    }
}

impl Recall {
    /// B was called in vain: A waits on, if he is one who does.
    pub(super) fn wait_on(&mut self, turn: &mut Turn<'_>) -> bool {
        let Some(until) = self.keeps_until else {
            return false;
        };
        self.cancel_branches(turn, b"");
        self.stage = Stage::Answered { until };
        true
    }
}
