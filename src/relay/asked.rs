//! A request that went to its targets, all at once, and has no final response yet.
//!
//! Spec: RFC 3261 §16.6, §16.7; RFC 4320 §4.2.

use std::borrow::Cow;

use crate::call::relay::{copy_crossing, copy_naming, share_of_breadth};
use crate::call::{Ids, forwards, is_better, not_the_whole_service};
use crate::dialog::Dialog;
use crate::relay::{
    Errand, Few, Part, Turn, is_target_refresh, makes_dialog, respond, respond_plainly,
};
use crate::sip::{Checked, Message, Name, Response, Scratch, Status, Writer};
use crate::table::Key;
use crate::transaction::clients::{Failure, Outgoing};
use crate::transaction::reply;

/// Its transaction, and what has come of it so far.
#[derive(Debug)]
pub(super) struct Asked {
    server: Key,
    /// How many targets have said nothing final.
    waiting: u8,
    best: Option<Final>,
}

/// The best failure so far, while other targets may do better.
#[derive(Debug)]
struct Final {
    status: Status,
    /// The message, if there is one.
    response: Option<Box<[u8]>>,
}

impl Asked {
    /// Sends a request on; our sides towards its targets come back with it. `None` if it reached
    /// nobody, and has been answered.
    pub(super) fn send(
        turn: &mut Turn<'_>,
        errand: &Errand<'_>,
        part: impl Fn(u8) -> (Part, Key),
    ) -> Option<(Self, Few<Dialog>)> {
        let mut halves = Few::new();
        for (index, target) in (0..u8::MAX).zip(errand.targets) {
            let way = (target.flow, target.reach);
            let half = Dialog::of_forwarded(&errand.names, errand.request, way);
            if !write(turn, errand, &half) {
                break;
            }
            let (part, key) = part(index);
            let destination = turn.layer.digester().destination(&errand.request.uri);
            let outgoing = Outgoing {
                method: errand.request.method,
                uri: target.uri,
                flow: target.flow,
                user: Some(part.user(key)),
                destination,
                fields: turn.scratch,
            };
            let sent = turn.layer.request_with(turn.now, &outgoing, target.others);
            if sent.is_err() {
                break;
            }
            halves.push(half);
        }
        if halves.is_empty() {
            let tag = crate::transaction::branch::hex(turn.rng.bits());
            let status = Status::SERVER_INTERNAL_ERROR;
            respond_plainly(turn, errand.server, status, reply::Tag::Ours(&tag));
            return None;
        }
        let asked = Self {
            server: errand.server,
            waiting: u8::try_from(halves.len()).unwrap_or(u8::MAX),
            best: None,
        };
        Some((asked, halves))
    }

    /// Answers with a 2xx, and these fields besides those that cross; it has its answer with that.
    pub(super) fn succeed(
        self,
        turn: &mut Turn<'_>,
        (status, tag): (Status, &[u8]),
        response: &Response<'_>,
        write: impl FnOnce(&mut Writer<'_>),
    ) {
        let phrase = if status == response.status {
            response.phrase
        } else {
            b""
        };
        let write = |writer: &mut Writer<'_>| {
            write(writer);
            copy_crossing(writer, response);
        };
        let answer = (status, phrase, reply::Tag::Ours(tag));
        respond(turn, self.server, answer, write, response.message.body());
    }

    /// Whether there is but one target left, and none has failed.
    pub(super) fn is_alone(&self) -> bool {
        self.waiting == 1 && self.best.is_none()
    }

    /// The transaction that waits for the answer.
    pub(super) fn server(&self) -> Key {
        self.server
    }

    /// Takes a failure of one target. `None` if that decides: it is answered with the best.
    pub(super) fn fail(
        mut self,
        turn: &mut Turn<'_>,
        response: &Response<'_>,
        tag: &[u8],
    ) -> Option<Self> {
        let raw = Some(Box::from(response.message.raw()));
        self.note(response.status, raw);
        self.decide(turn, response.status, tag)
    }

    /// Takes the silence of one target, or that it could not be reached.
    pub(super) fn miss(
        mut self,
        turn: &mut Turn<'_>,
        failure: Failure,
        tag: &[u8],
    ) -> Option<Self> {
        let status = match failure {
            Failure::TimedOut => Status::REQUEST_TIMEOUT,
            Failure::Unreachable => Status::SERVICE_UNAVAILABLE,
        };
        self.note(status, None);
        self.decide(turn, status, tag)
    }

    fn note(&mut self, status: Status, response: Option<Box<[u8]>>) {
        self.waiting = self.waiting.saturating_sub(1);
        let best = self.best.as_ref();
        if best.is_none_or(|best| !is_better(best.status, status)) {
            self.best = Some(Final { status, response });
        }
    }

    /// RFC 3261 §16.7: when all have failed; a 6xx is for everybody.
    fn decide(mut self, turn: &mut Turn<'_>, status: Status, tag: &[u8]) -> Option<Self> {
        if self.waiting > 0 && status.code() < 600 {
            return Some(self);
        }
        let best = self.best.take()?;
        if best.status == Status::REQUEST_TIMEOUT {
            // S-47: whoever asked has given up as well.
            return None;
        }
        let status = not_the_whole_service(best.status);
        let mut index = Scratch::new();
        let kept = best.response.as_deref().unwrap_or_default();
        let message = Message::parse(kept, &mut index);
        let checked = message.ok().map(Checked::check);
        match checked {
            Some(Ok(Checked::Response(response))) => {
                self.succeed(turn, (status, tag), &response, |_| ());
            }
            Some(Ok(Checked::Request(_)) | Err(_)) | None => {
                respond_plainly(turn, self.server, status, reply::Tag::Ours(tag));
            }
        }
        None
    }
}

/// Whether the fields could be written.
fn write(turn: &mut Turn<'_>, errand: &Errand<'_>, half: &Dialog) -> bool {
    let Errand { request, .. } = errand;
    let receivers = [half.flow()];
    let ids = Ids {
        legs: turn.legs,
        own: None,
        receivers: &receivers,
    };
    turn.scratch.clear();
    let mut writer = Writer::fragment(turn.scratch);
    half.write_fields(
        &mut writer,
        request.method,
        half.local_cseq(),
        forwards(request),
    );
    if makes_dialog(request.method) || is_target_refresh(request.method) {
        writer.header(Name::Contact, turn.contacts.of(&half.flow()));
    }
    if let Some(breadth) = share_of_breadth(&request.message, errand.targets.len()) {
        writer.header_fmt(Name::MaxBreadth, format_args!("{breadth}"));
    }
    copy_naming(&mut writer, &request.message, turn.realm, &ids);
    let body = turn.body.map(Cow::Borrowed);
    let body = body.unwrap_or_else(|| ids.body(&request.message));
    writer.finish(&body).is_ok()
}
