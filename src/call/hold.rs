//! Whether audio is on hold, by the description of it.
//!
//! Spec: RFC 3264 §8.4 (S-67); RFC 8866 §5.7, §6.7 (what stands before the media lines is said of all of
//! them that do not say otherwise).

use crate::call::sdp::{Media, lines};

/// How a line, or all of them, say in which directions there is audio.
pub(super) const DIRECTIONS: [&[u8]; 4] =
    [b"a=sendrecv", b"a=sendonly", b"a=recvonly", b"a=inactive"];

/// What is said of a media line, or of all.
#[derive(Clone, Copy, Debug, Default)]
struct Said<'s> {
    direction: Option<&'s [u8]>,
    address: Option<&'s [u8]>,
}

impl<'s> Said<'s> {
    fn note(&mut self, line: &'s [u8]) {
        if DIRECTIONS.contains(&line) {
            self.direction = self.direction.or(Some(line));
        } else if line.starts_with(b"c=") {
            self.address = self.address.or(Some(line));
        }
    }

    fn is_held(&self, session: &Self) -> bool {
        let direction = self.direction.or(session.direction);
        let address = self.address.or(session.address);
        // RFC 3264 §8.4: the old way to say it.
        let is_nowhere = |line: &[u8]| line.ends_with(b" 0.0.0.0") || line.ends_with(b" ::");
        direction.is_some_and(|line| line != b"a=sendrecv") || address.is_some_and(is_nowhere)
    }
}

/// Whether an audio line that is in use is not to be heard in both directions.
pub(super) fn is_held(sdp: &[u8]) -> bool {
    let mut session = Said::default();
    let mut audio: Option<Said<'_>> = None;
    let mut is_in_media = false;
    for line in lines(sdp) {
        if line.starts_with(b"m=") {
            if audio.is_some_and(|audio| audio.is_held(&session)) {
                return true;
            }
            let media = Media::parse(line);
            let media = media.filter(|it| it.is_audio() && it.port().is_some_and(|port| port > 0));
            audio = media.map(|_| Said::default());
            is_in_media = true;
        } else if let Some(audio) = &mut audio {
            audio.note(line);
        } else if !is_in_media {
            session.note(line);
        }
    }
    audio.is_some_and(|audio| audio.is_held(&session))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SDP: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n\
        m=audio 40000 RTP/AVP 0\r\na=sendrecv\r\nm=video 40002 RTP/AVP 97\r\na=sendonly\r\n\
        m=audio 0 RTP/AVP 0\r\na=inactive\r\n";

    /// A door shows its picture and sees none: that is no hold, nor is what was refused.
    #[test]
    fn audio_in_use_decides_and_nothing_else() {
        assert!(!is_held(SDP.as_bytes()));
        for direction in ["sendonly", "recvonly", "inactive"] {
            let held = SDP.replace("a=sendrecv", &format!("a={direction}"));
            assert!(is_held(held.as_bytes()), "{direction}");
        }
        assert!(is_held(SDP.replace("audio 0", "audio 40004").as_bytes()));
        assert!(!is_held(b""));
    }

    /// The story: a call on hold by what its session says was joined.
    #[test]
    fn what_is_said_of_the_session_is_said_of_audio_that_does_not_say_otherwise() {
        for (from, to) in [
            (
                "c=IN IP4 192.0.2.9\r\nt=0 0\r\n",
                "c=IN IP4 0.0.0.0\r\nt=0 0\r\n",
            ),
            (
                "c=IN IP4 192.0.2.9\r\nt=0 0\r\n",
                "c=IN IP6 ::\r\nt=0 0\r\n",
            ),
        ] {
            assert!(is_held(SDP.replace(from, to).as_bytes()), "{to}");
        }
        let session = SDP.replace("t=0 0\r\n", "t=0 0\r\na=inactive\r\n");
        assert!(!is_held(session.as_bytes()));
        let silent = session.replace("a=sendrecv\r\n", "");
        assert!(is_held(silent.as_bytes()));
    }
}
