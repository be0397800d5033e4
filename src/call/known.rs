//! What each side was told of the other one's media, kept where a mixer may come between them.
//!
//! Spec: RFC 3264 §5, §8; RFC 8866 §5.2; RULES R17.
//!
//! - It is what was sent, so that the side can be told the same again.
//! - A side knows its session by the `o=` line: what we describe in between is a version of it, and those
//!   that come later are ahead of what the other side counts.

use std::io::Write as _;

use crate::call::sdp::sdp_of;
use crate::call::{Call, Side, Turn};
use crate::sip::{Message, Response, Scratch};
use crate::table::Key;

/// What a side has been told of its session with the other one.
#[derive(Debug)]
pub(super) struct Known {
    /// The description that was sent to it last, of the other side's media.
    pub(super) sdp: Box<[u8]>,
    /// How far its versions are ahead of those of the other side.
    pub(super) ahead: u64,
}

impl Call {
    /// Keeps what the two sides were told of each other with this 2xx to an INVITE of `asker`, which
    /// went on by the transaction `client`.
    pub(super) fn note_sessions(
        &mut self,
        turn: &Turn<'_>,
        (asker, client): (Side, Option<Key>),
        response: &Response<'_>,
    ) {
        if !turn.policy.keeps_sessions {
            return;
        }
        let mut scratch = Scratch::new();
        let invite = Message::parse(turn.layer.answered_invite(client), &mut scratch).ok();
        let offered: Option<Box<[u8]>> = invite.and_then(|invite| sdp_of(&invite).map(Box::from));
        self.note_session(asker.other(), offered);
        let answer = sdp_of(&response.message).is_some();
        let answer = answer.then(|| Box::from(&*self.body_towards(asker, &response.message)));
        self.note_session(asker, answer);
    }

    /// Keeps what a side was told last of the other one; `None` if that is not known.
    pub(super) fn note_session(&mut self, side: Side, sdp: Option<Box<[u8]>>) {
        let leg = self.leg_mut(side);
        let ahead = leg.known.as_deref().map_or(0, |known| known.ahead);
        leg.known = match sdp {
            Some(sdp) => Some(Box::new(Known { sdp, ahead })),
            // Its versions still have to be ahead.
            None if ahead > 0 => Some(Box::new(Known {
                sdp: Box::default(),
                ahead,
            })),
            None => None,
        };
    }

    /// A description of the other side's, in the version that this side has to see.
    pub(super) fn ahead_for(&self, side: Side, sdp: &[u8]) -> Option<Vec<u8>> {
        let known = self.leg(side).known.as_deref()?;
        let ahead = (known.ahead > 0).then_some(known.ahead)?;
        let version = origin_of(sdp)?.version.checked_add(ahead)?;
        Some(with_version(sdp, version))
    }
}

/// The `o=` line of a description (RFC 8866 §5.2), in three.
pub(super) struct Origin<'s> {
    /// User name and session.
    before: &'s [u8],
    pub(super) version: u64,
    /// The address.
    after: &'s [u8],
}

pub(super) fn origin_of(sdp: &[u8]) -> Option<Origin<'_>> {
    let mut lines = sdp.split_inclusive(|byte| *byte == b'\n');
    let line = lines.find(|line| line.starts_with(b"o="))?;
    let mut spaces = memchr::memchr_iter(b' ', line);
    let (_, second, third) = (spaces.next()?, spaces.next()?, spaces.next()?);
    let version = str::from_utf8(line.get(second + 1..third)?).ok()?;
    Some(Origin {
        before: line.get(..=second)?,
        version: version.parse().ok()?,
        after: line.get(third..)?,
    })
}

pub(super) fn write_origin(origin: &Origin<'_>, version: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(origin.before);
    // Writing to memory cannot fail.
    let _written = write!(out, "{version}");
    out.extend_from_slice(origin.after);
}

/// The same description as this version of its session (RFC 3264 §8, S-64); as it is, if it has no `o=`
/// line with a version.
pub fn with_version(sdp: &[u8], version: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(sdp.len() + 8);
    for line in sdp.split_inclusive(|byte| *byte == b'\n') {
        match origin_of(line) {
            Some(origin) => write_origin(&origin, version, &mut out),
            None => out.extend_from_slice(line),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const SDP: &[u8] = b"v=0\r\no=alice 17 3 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\n";

    #[test]
    fn a_version_is_changed_and_nothing_else() {
        let told = with_version(SDP, 12);
        let expected = SDP.escape_ascii().to_string().replace(" 17 3 ", " 17 12 ");
        assert_eq!(told.escape_ascii().to_string(), expected);
        assert_eq!(origin_of(&told).map(|origin| origin.version), Some(12));
    }

    #[test]
    fn what_has_no_version_stays_as_it_is() {
        for sdp in [
            &b"v=0\r\ns=-\r\n"[..],
            b"o=alice 17 x IN IP4 192.0.2.9\r\n",
            b"o=1 2\r\n",
            b"",
        ] {
            assert!(origin_of(sdp).is_none());
            assert_eq!(with_version(sdp, 12), sdp);
        }
    }
}
