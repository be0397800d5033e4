//! What B says reliably before it answers: each response is acknowledged, by A's PRACK or by ours.
//!
//! Spec: RFC 3262 §4, §5; RFC 3264 §4; RFC 6337 §3.1.
//!
//! ```text
//!   A              campon               B
//!   | <-- 183 RSeq 9 - | <-- 183 RSeq 5 - |      both legs reliable: the PRACK crosses with its body
//!   | -- PRACK 9 ----> | -- PRACK 5 ----> |
//!   | <-- 200 -------- | <-- 200 -------- |
//!   |                  |                  |
//!   | <-- 183 -------- | <-- 183 RSeq 5 - |      B's leg alone: ours
//!   |                  | -- PRACK 5 ----> |
//! ```
//!
//! Each fork has an early dialog and numbers of its own; those of B's leg are not those of A's (S-59).

use crate::call::early::Tell;
use crate::call::relay::carries_session;
use crate::call::{Call, Side, Turn, end};
use crate::dialog::{Dialog, Tag};
use crate::sip::{Method, Name, Response, Writer, parse_u32};

/// B's early dialog of one fork, and what was heard in it.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) dialog: Dialog,
    /// The number of our INVITE.
    invite: u32,
    /// The RSeq of the response that was taken last.
    rseq: u32,
    pub(super) offer: Offer,
}

/// Where offer and answer stand in an early dialog (S-60).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Offer {
    /// S-71: the INVITE had none, so that B makes it.
    Awaited,
    /// This side has made it, and waits for the answer.
    Made(Side),
    /// It has been answered.
    Answered,
}

impl Heard {
    /// The side whose offer waits for its answer.
    pub(super) fn offers(&self) -> Option<Side> {
        match self.offer {
            Offer::Made(side) => Some(side),
            Offer::Awaited | Offer::Answered => None,
        }
    }

    /// Takes a response of this number; whether it is the next one (S-56).
    fn take(&mut self, rseq: u32, has_session: bool) -> bool {
        if self.rseq.checked_add(1) != Some(rseq) {
            return false;
        }
        self.rseq = rseq;
        self.on_session(has_session);
        true
    }

    fn on_session(&mut self, has_session: bool) {
        if has_session {
            self.offer = match self.offer {
                Offer::Awaited | Offer::Made(Side::B) => Offer::Made(Side::B),
                // The answer, or the same once more.
                Offer::Made(Side::A) | Offer::Answered => Offer::Answered,
            };
        }
    }
}

impl Call {
    /// Takes a provisional response of the fork that A knows by this tag: whether A is told, and
    /// which number its PRACK is to acknowledge on B's leg.
    pub(super) fn hear(&mut self, branch: u8, tag: Tag, response: &Response<'_>) -> Option<Tell> {
        let message = &response.message;
        let rseq = message.first(Name::RSeq).and_then(parse_u32);
        let is_reliable = message.has_option(Name::Require, "100rel");
        let Some(rseq) = rseq.filter(|_| is_reliable) else {
            return Some(Tell { tag, rseq: None });
        };
        let has_session = carries_session(message);
        let is_late = self.awaits_offer();
        let (flow, reach, _) = self.way_of(branch);
        let half = &self.b.dialog;
        let is_new = match self.setup.as_deref_mut()?.heard_mut(tag)? {
            Some(heard) => heard.take(rseq, has_session),
            first @ None => {
                let dialog = half.answered(response, &flow, reach);
                if !dialog.has_target() {
                    // There is nowhere to send the PRACK to.
                    return Some(Tell { tag, rseq: None });
                }
                let mut heard = Heard {
                    dialog,
                    invite: response.cseq.number,
                    rseq,
                    offer: if is_late {
                        Offer::Awaited
                    } else {
                        Offer::Made(Side::A)
                    },
                };
                heard.on_session(has_session);
                *first = Some(Box::new(heard));
                true
            }
        };
        // S-56: repeated or overtaken; a repetition has its PRACK, or gets it from A.
        is_new.then_some(Tell {
            tag,
            rseq: Some(rseq),
        })
    }

    /// S-56: acknowledges B's response of this number, for an A that does not do so.
    pub(super) fn acknowledge(&mut self, turn: &mut Turn<'_>, tag: Tag, rseq: u32) {
        let Some(heard) = self.heard(tag) else {
            return;
        };
        let number = heard.dialog.next_cseq();
        turn.scratch.clear();
        let mut writer = Writer::fragment(turn.scratch);
        let dialog = &heard.dialog;
        dialog.write_fields(&mut writer, Method::Prack, number, 70);
        write_rack(&mut writer, rseq, heard.invite);
        if writer.finish(b"").is_ok() {
            // Nobody waits for the answer: without one, B takes the call back itself.
            let _sent = end::send(turn, dialog, Method::Prack, None);
        }
    }

    /// B's early dialog of the fork that A knows by this tag.
    pub(super) fn heard(&mut self, tag: Tag) -> Option<&mut Heard> {
        self.setup.as_deref_mut()?.heard_mut(tag)?.as_deref_mut()
    }

    /// The same, to be looked at.
    pub(super) fn heard_in(&self, tag: Tag) -> Option<&Heard> {
        self.setup.as_deref()?.heard(tag)
    }
}

impl Heard {
    /// Writes which response a PRACK acknowledges.
    pub(super) fn write_rack(&self, writer: &mut Writer<'_>, rseq: u32) {
        write_rack(writer, rseq, self.invite);
    }
}

fn write_rack(writer: &mut Writer<'_>, rseq: u32, invite: u32) {
    writer.header_fmt(Name::RAck, format_args!("{rseq} {invite} INVITE"));
}
