//! What is noted of each side of a call: whether its phone takes Join, has left, or was busy.
//!
//! Spec: RFC 3911 §7.2 (`Supported: join`); RFC 3261 §15; RULES R2, R17.
//!
//! Where nobody may intrude nothing is noted of Join, and nothing looked at.

use crate::call::{Call, Outcome, Phase, Side, Turn};
use crate::sip::{Message, Name, OwnedDialogId, Status};
use crate::time::Timestamp;

/// The marks of a call.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Marks(u8);

/// One of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
enum Mark {
    /// A's phone takes Join.
    JoinsA = 1,
    /// B's does.
    JoinsB = 2,
    /// A has its final response, or was on the call and has hung up or heard that it is over.
    LeftA = 4,
    /// B has.
    LeftB = 8,
    /// B's phone was busy, as it said after A had taken the call back.
    BusyB = 16,
}

impl Marks {
    /// Those that the INVITE shows.
    pub(super) fn of_invite(turn: &Turn<'_>, invite: &Message<'_>) -> Self {
        let mut marks = Self::default();
        if turn.policy.keeps_sessions {
            marks.set(Mark::JoinsA, takes_join(invite));
        }
        marks
    }

    /// Those that this side's answer shows, to the INVITE or to a later one.
    pub(super) fn note_answer(&mut self, turn: &Turn<'_>, side: Side, answer: &Message<'_>) {
        if !turn.policy.keeps_sessions {
            return;
        }
        let joins = match side {
            Side::A => Mark::JoinsA,
            Side::B => Mark::JoinsB,
        };
        if answer.first(Name::Supported).is_some() {
            self.set(joins, takes_join(answer));
        }
    }

    fn set(&mut self, mark: Mark, is_set: bool) {
        let bit = mark as u8;
        self.0 = if is_set { self.0 | bit } else { self.0 & !bit };
    }

    fn has(self, mark: Mark) -> bool {
        self.0 & mark as u8 != 0
    }
}

impl Call {
    /// R2: whether this side is done with a call of which the other side may yet have to hear that.
    pub fn has_left(&self, side: Side) -> bool {
        self.marks.has(match side {
            Side::A => Mark::LeftA,
            Side::B => Mark::LeftB,
        })
    }

    /// Notes that this side is done with the call, if it was on it and the call ends: it talked, or
    /// was called back.
    pub(super) fn note_left(&mut self, side: Side) {
        let left = match side {
            Side::A => Mark::LeftA,
            Side::B => Mark::LeftB,
        };
        let was_on = self.answered.is_some() || (side == Side::A && self.recall.is_some());
        if was_on && matches!(self.phase, Phase::Ending { .. }) {
            self.marks.set(left, true);
        }
    }

    /// When it ended, if it has.
    pub fn ended(&self) -> Option<Timestamp> {
        self.ended
    }

    /// Notes that it ends, for the first who says so.
    pub(super) fn note_end(&mut self, now: Timestamp) {
        self.ended.get_or_insert(now);
    }

    /// Notes that A was refused; what rings may take a while to hear of that.
    pub(super) fn note_refused(&mut self) {
        self.marks.set(Mark::LeftA, true);
    }

    /// Notes what B's phone says once A has had its own answer. One that has rung was busy with nothing
    /// else.
    pub(super) fn note_late(&mut self, status: Status) {
        let was_taken_back = self.outcome == Outcome::Cancelled && !self.has_rung();
        if was_taken_back && is_busy(status) {
            self.marks.set(Mark::BusyB, true);
        }
    }

    /// R2: whether B refused it because he was busy, whatever A was told.
    pub fn met_busy(&self) -> bool {
        self.marks.has(Mark::BusyB)
            || matches!(self.outcome, Outcome::Failed(status) if is_busy(status))
    }

    /// Whether the phone of this side has said that it takes Join.
    pub fn takes_join(&self, side: Side) -> bool {
        self.marks.has(match side {
            Side::A => Mark::JoinsA,
            Side::B => Mark::JoinsB,
        })
    }

    /// The dialog with this side, by the id that the phone there knows it by.
    pub fn dialog_of(&self, side: Side) -> OwnedDialogId {
        let dialog = &self.leg(side).dialog;
        OwnedDialogId {
            call_id: dialog.call_id().to_vec(),
            end: dialog.remote_tag().to_vec(),
            across: dialog.tag().text().to_vec(),
        }
    }
}

fn is_busy(status: Status) -> bool {
    [Status::BUSY_HERE, Status::BUSY_EVERYWHERE].contains(&status)
}

fn takes_join(message: &Message<'_>) -> bool {
    message.has_option(Name::Supported, "join")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::Scratch;

    fn with(fields: &str, check: impl Fn(&Message<'_>) -> bool) -> bool {
        let text = format!("INVITE sip:bob@b.example SIP/2.0\r\n{fields}\r\n\r\n");
        let mut index = Scratch::new();
        check(&Message::parse(text.as_bytes(), &mut index).expect("a message"))
    }

    #[test]
    fn a_phone_says_that_it_takes_join() {
        assert!(with("Supported: replaces, join", takes_join));
        assert!(!with("Supported: replaces", takes_join));
    }
}
