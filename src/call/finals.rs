//! The failure that A gets: the best of all branches, and what crosses of it.
//!
//! Spec: RFC 3261 §16.7 (S-31); RFC 6910 §7.1.

use crate::call::{Call, Outcome, Turn, respond_announced};
use crate::sip::{Checked, Message, Response, Scratch, Status};
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
        }
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
