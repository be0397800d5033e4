//! The failure that A gets: the best of all branches, and what crosses of it.
//!
//! Spec: RFC 3261 §16.7 (S-31); RFC 6910 §7.1.

use crate::call::held::Hold;
use crate::call::{Call, Outcome, Turn, respond_announced};
use crate::sip::{Checked, Message, Name, Response, Scratch, Status};
use crate::transaction::reply;

/// The best failure so far, while A is not told yet.
#[derive(Debug)]
pub(super) struct Final {
    pub(super) status: Status,
    /// The message, if there is one.
    response: Option<Box<[u8]>>,
}

impl Final {
    pub(super) fn of(status: Status, response: Option<&Response<'_>>) -> Self {
        let response = response.map(|response| Box::from(response.message.raw()));
        Self { status, response }
    }

    pub(super) fn ours(status: Status) -> Self {
        Self::of(status, None)
    }
}

impl Call {
    /// A gets this failure, now or after a while.
    pub(super) fn decide(
        &mut self,
        turn: &mut Turn<'_>,
        status: Status,
        response: Option<&Response<'_>>,
    ) {
        if self.hold_back(turn, status, response) {
            return;
        }
        match response {
            Some(response) if self.own_hold().is_some_and(Hold::is_unproven) => {
                let renewed = as_stale(response);
                let mut index = Scratch::new();
                let message = Message::parse(&renewed, &mut index).unwrap_or(response.message);
                let response = Response {
                    message,
                    ..*response
                };
                self.relay_final(turn, status, &response);
            }
            Some(response) => self.relay_final(turn, status, response),
            None => self.finish(turn, not_the_whole_service(status)),
        }
    }

    fn relay_final(&mut self, turn: &mut Turn<'_>, status: Status, response: &Response<'_>) {
        let Some(server) = self.take_server() else {
            return;
        };
        let status = not_the_whole_service(status);
        let phrase = if status == response.status {
            response.phrase
        } else {
            b""
        };
        let tag = self.final_tag(response.to.tag().unwrap_or_default());
        let answer = (status, phrase, reply::Tag::Ours(&tag));
        let told = self.told(status, Some(response));
        let body = response.message.body();
        respond_announced(turn, server, answer, (&told, body), |_| ());
        self.outcome = Outcome::Failed(status);
        self.note_refused();
        self.note_end(turn.now);
    }

    pub(super) fn relay_best(&mut self, turn: &mut Turn<'_>) {
        let setup = self.setup.as_deref_mut();
        let Some(best) = setup.and_then(|setup| setup.best.take()) else {
            return;
        };
        let mut index = Scratch::new();
        let kept = best.response.as_deref().unwrap_or_default();
        let message = Message::parse(kept, &mut index);
        match message
            .ok()
            .and_then(|message| Checked::check(message).ok())
        {
            Some(Checked::Response(response)) => self.decide(turn, best.status, Some(&response)),
            Some(Checked::Request(_)) | None => self.decide(turn, best.status, None),
        }
    }

    /// Ends A's INVITE with a failure of our own.
    pub(super) fn finish(&mut self, turn: &mut Turn<'_>, status: Status) {
        let told = self.told(status, None);
        if let Some(server) = self.take_server() {
            let tag = self.answer_tag();
            self.a.dialog.set_tag(tag);
            let tag = tag.text();
            let answer = (status, b"".as_slice(), reply::Tag::Ours(&tag));
            respond_announced(turn, server, answer, (&told, b""), |_| ());
            self.outcome = Outcome::Failed(status);
            self.note_refused();
            self.note_end(turn.now);
        }
    }
}

/// R5: B's response to an INVITE that went without the credentials it came with. The password behind
/// them is not wrong, which phones conclude from a second challenge; it is to be used with another
/// nonce (RFC 7616 §3.3).
fn as_stale(response: &Response<'_>) -> Vec<u8> {
    let raw = response.message.raw();
    let first = raw.iter().position(|byte| *byte == b'\n');
    let mut renewed = Vec::with_capacity(raw.len() + STALE.len());
    renewed.extend(raw.iter().take(first.map_or(0, |at| at + 1)));
    for header in response.message.headers() {
        let is_challenge = matches!(header.name, Name::ProxyAuthenticate | Name::WwwAuthenticate);
        let value = if is_challenge && header.value.to_ascii_lowercase().starts_with(b"digest ") {
            with_stale(header.value)
        } else {
            header.value.to_vec()
        };
        renewed.extend([header.spelled, b": ", &value, b"\r\n"].concat());
    }
    renewed.extend(b"\r\n");
    renewed.extend(response.message.body());
    renewed
}

const STALE: &[u8] = b", stale=true";

/// The challenge with this parameter, whatever it said of it before.
fn with_stale(challenge: &[u8]) -> Vec<u8> {
    let is_other = |part: &&[u8]| {
        let part = part.trim_ascii().to_ascii_lowercase();
        !part.starts_with(b"stale=") && !part.starts_with(b"digest stale=")
    };
    let kept: Vec<_> = challenge
        .split(|byte| *byte == b',')
        .filter(is_other)
        .collect();
    let kept = kept.join(&b","[..]);
    let kept = kept.trim_ascii();
    if kept.to_ascii_lowercase().starts_with(b"digest ") {
        [kept, STALE].concat()
    } else {
        [b"Digest ", kept, STALE].concat()
    }
}

/// S-31: one target's 503 does not say that we are out of service.
pub fn not_the_whole_service(status: Status) -> Status {
    if status == Status::SERVICE_UNAVAILABLE {
        Status::SERVER_INTERNAL_ERROR
    } else {
        status
    }
}

/// RFC 3261 §16.7: whether the failure `old` says more than the failure `new`.
pub fn is_better(old: Status, new: Status) -> bool {
    rank(old) <= rank(new)
}

fn rank(status: Status) -> (u16, bool) {
    let class = match status.code() / 100 {
        6 => 0,
        class => class,
    };
    // Those that A can do something about come before the others of their class.
    (class, !matches!(status.code(), 401 | 407 | 415 | 420 | 484))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_to_what_was_left_out_asks_for_another_nonce() {
        let renewed = &b"Digest realm=\"pbx\", nonce=\"1\", stale=true"[..];
        for challenge in [
            "Digest realm=\"pbx\", nonce=\"1\"",
            "Digest realm=\"pbx\", stale=FALSE, nonce=\"1\"",
            "Digest stale=false,realm=\"pbx\", nonce=\"1\"",
        ] {
            assert_eq!(with_stale(challenge.as_bytes()), renewed, "{challenge}");
        }
    }
}
