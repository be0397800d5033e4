//! A request that makes no dialog: MESSAGE, PUBLISH, an unsolicited NOTIFY, or what nobody knows.
//!
//! Spec: RFC 3261 §8, §16.7; RFC 3428 §7; RFC 3903 §4; RFC 3842 (unsolicited NOTIFY).

use crate::relay::asked::Asked;
use crate::relay::{Errand, Part, Turn};
use crate::sip::Response;
use crate::table::Key;
use crate::transaction::branch::hex;
use crate::transaction::clients::Failure;

/// Such a request, until it is answered.
#[derive(Debug)]
pub struct Passage(Asked);

impl Passage {
    /// Sends a request on, to all of its targets at once; `None` if it reached nobody, and has been
    /// answered.
    pub fn send(key: Key, turn: &mut Turn<'_>, errand: &Errand<'_>) -> Option<Self> {
        let (asked, _) = Asked::send(turn, errand, |_| (Part::Passage, key))?;
        Some(Self(asked))
    }

    /// Takes a response; `None` if that was the end of it.
    pub fn handle_response(self, turn: &mut Turn<'_>, response: &Response<'_>) -> Option<Self> {
        let status = response.status;
        // S-45
        if status.is_provisional() {
            return Some(self);
        }
        let Self(asked) = self;
        let tag = hex(turn.rng.bits());
        if status.is_success() {
            asked.succeed(turn, (status, &tag), response, |_| ());
            return None;
        }
        asked.fail(turn, response, &tag).map(Self)
    }

    /// Takes the failure of a target that said nothing; `None` if that was the end of it.
    pub fn handle_failure(self, turn: &mut Turn<'_>, failure: Failure) -> Option<Self> {
        let Self(asked) = self;
        let tag = hex(turn.rng.bits());
        asked.miss(turn, failure, &tag).map(Self)
    }
}
