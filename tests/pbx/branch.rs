//! A call through the PBX: the side of the caller, and a branch for each phone that is rung.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use super::dialog::Dialog;
use super::sip::Sip;

/// Who of a call a request came from.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Side {
    Caller,
    Callee,
}

impl Side {
    pub fn other(self) -> Self {
        match self {
            Self::Caller => Self::Callee,
            Self::Callee => Self::Caller,
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Progress {
    Trying,
    Answered,
    Cancelled,
    Failed,
}

/// The call to one phone.
pub struct Branch {
    /// Of its INVITE's Via.
    pub id: String,
    pub dialog: Dialog,
    pub progress: Progress,
    /// The failure.
    pub last: Option<Sip>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum State {
    Ringing,
    /// Between caller and the branch of that index.
    Talking(usize),
    /// Between caller and mailbox.
    Recording,
    Ended,
}

pub struct Call {
    pub invite: Sip,
    pub caller: Dialog,
    /// As the calls towards the phones show him.
    pub branches: Vec<Branch>,
    /// Who is rung when nobody of those before him answers.
    pub waves: VecDeque<Vec<String>>,
    pub state: State,
    pub rings_until: Instant,
    /// Whether the mailbox takes it when nobody does.
    pub mailbox: bool,
    /// The CSeq of each INVITE on the one side, by that on the other.
    pub invites: BTreeMap<(Side, u32), u32>,
}

impl Call {
    /// The side that a request came from, if it is of this call.
    pub fn side_of(&self, request: &Sip) -> Option<Side> {
        if self.caller.owns(request) {
            return Some(Side::Caller);
        }
        let owned = self.branches.iter().any(|one| one.dialog.owns(request));
        owned.then_some(Side::Callee)
    }

    /// The dialog with that side, once the call is answered.
    pub fn dialog(&mut self, side: Side) -> Option<&mut Dialog> {
        match (side, self.state) {
            (Side::Caller, _) => Some(&mut self.caller),
            (Side::Callee, State::Talking(index)) => self
                .branches
                .get_mut(index)
                .map(|branch| &mut branch.dialog),
            (Side::Callee, State::Ringing | State::Recording | State::Ended) => None,
        }
    }

    pub fn is_ringing(&self) -> bool {
        self.state == State::Ringing
    }

    /// Whether no phone can answer any more.
    pub fn is_refused(&self) -> bool {
        self.is_ringing()
            && self
                .branches
                .iter()
                .all(|one| one.progress != Progress::Trying)
    }

    /// What the caller is told when nobody answers.
    pub fn worst(&self) -> (u16, String) {
        let failures = self.branches.iter().filter_map(|one| one.last.as_ref());
        let failures = failures.map(|sip| (sip.status().unwrap_or(500), sip.reason()));
        // RFC 3261 §16.7: 6xx first, then what says most.
        let rank = |status: u16| match status {
            600.. => 0,
            486 => 1,
            _ => 2,
        };
        let best = failures.min_by_key(|(status, _)| rank(*status));
        let (status, reason) = best.unwrap_or((480, "Temporarily Unavailable"));
        (status, reason.to_owned())
    }
}
