//! Texts on their way: a MESSAGE to each of a callee's phones, one after the other.
//!
//! Spec: RFC 3428 §4, §5, §8; RULES R20, R23.
//!
//! One phone that takes it is enough; all are asked, so that he reads it wherever he is.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::cc::addr;
use crate::completion::{CompletionId, Delivery, Input, Mode, Taking, is_named};
use crate::media::digit::Digit;
use crate::media::room::{Programme, Repeats};
use crate::shard::desk::user_of;
use crate::shard::offer::{Asker, host_at};
use crate::shard::prompt::{Stage, Wish};
use crate::shard::provider::Refusal;
use crate::shard::recall::uri_of;
use crate::shard::subscriptions::whole_seconds;
use crate::shard::ways::Way;
use crate::shard::{Held, Shard};
use crate::sip::header::date::Date;
use crate::sip::{Method, Name, Status, Writer};
use crate::table::Key;
use crate::time::Timestamp;
use crate::transaction::User;
use crate::transaction::branch::hex;
use crate::transaction::clients::{Failure, Outgoing};

/// The part of what is no call but a text of ours; see [`User::part`].
const PART: u16 = u16::from_be_bytes([0x71, 0]);

/// A text that some of its callee's phones have yet to be sent.
#[derive(Debug)]
pub(super) struct Delivering {
    id: CompletionId,
    callee: addr::Aor,
    /// All of the MESSAGE but what differs from phone to phone.
    from: Box<str>,
    body: Box<str>,
    date: Date,
    ends: Timestamp,
    ways: VecDeque<Way>,
    /// What the phones before made of it.
    so_far: Option<Taking>,
}

/// Whether a transaction is one of a text of ours.
pub(super) fn is_text(user: User) -> bool {
    user.part == PART
}

impl Shard {
    /// Whether texts may be left at all.
    pub(super) fn leaves_texts(&self) -> bool {
        let completion = &self.settings.completion;
        completion.enabled && !completion.messages.is_empty()
    }

    /// The text of this number.
    pub(super) fn text_numbered(&self, number: u32) -> Option<Arc<str>> {
        let place = usize::try_from(number).ok()?;
        self.settings.completion.messages.get(place).cloned()
    }

    /// TAPI checks dwMessageID nowhere, so that its provider does.
    pub(super) fn text_of(
        &self,
        mode: Mode,
        message: Option<u32>,
    ) -> Result<Option<Arc<str>>, Refusal> {
        match (mode, message) {
            (Mode::Message, Some(number)) => {
                let text = self.text_numbered(number);
                text.map(Some).ok_or(Refusal::Message)
            }
            (Mode::Message, None) | (_, Some(_)) => Err(Refusal::Message),
            (Mode::Callback | Mode::CampOn | Mode::Intrude, None) => Ok(None),
        }
    }

    /// Whether this caller, who is kept from his failure, may leave a text.
    pub(super) fn could_leave(&self, held: &Held) -> bool {
        let is_named = |asker: &Asker| is_named(&asker.from, &asker.identity);
        self.leaves_texts() && held.about.asker().is_some_and(is_named)
    }

    /// He hears which there are and chooses, where the operator has recorded them; else he leaves the
    /// first.
    pub(super) fn offer_texts(&mut self, now: Timestamp, held: &mut Held) {
        let count = self.settings.completion.messages.len();
        let voice = self.settings.voice.as_ref();
        let Some(said) = voice.and_then(|voice| voice.say_texts(count)) else {
            return self.leave_text(now, held, 0);
        };
        let prompt = self.settings.completion.prompt.as_ref();
        let lasts = prompt.map(|prompt| prompt.lasts).unwrap_or_default();
        if let Some(prompting) = held.prompting.as_mut() {
            prompting.stage = Stage::Choosing;
            let programme = Programme::new(said, Repeats::Never);
            self.sounds.play(prompting.room, programme);
            held.call.hold_until(now + lasts);
        }
    }

    /// He has pressed a digit while he was asked.
    pub(super) fn choose_text(&mut self, now: Timestamp, held: &mut Held, digit: Digit) {
        if let Some(number) = digit.key().to_digit(10) {
            self.leave_text(now, held, number);
        }
    }

    fn leave_text(&mut self, now: Timestamp, held: &mut Held, number: u32) {
        if let Some(text) = self.text_numbered(number) {
            self.ask(now, held, Wish::Leave(text));
        }
    }

    /// Sends a text to its callee's phones.
    pub(super) fn deliver(&mut self, now: Timestamp, delivery: Delivery) {
        let Delivery {
            id,
            from,
            callee,
            text,
            expires,
        } = delivery;
        let name = from.user().unwrap_or_default();
        let ways = if self.draining {
            VecDeque::new()
        } else {
            self.ways_to(now, &user_of(&callee)).into_iter().collect()
        };
        let written = self.settings.started.at(now).0 / 1_000_000;
        let delivering = Delivering {
            id,
            callee,
            body: format!("{}: {text}", shown(name)).into(),
            from: from.as_str().into(),
            date: Date(written),
            ends: now + expires,
            ways,
            so_far: None,
        };
        let number = self.desk.ticket().0;
        self.desk.deliveries.insert(number, delivering);
        self.send_next_text(now, number);
    }

    /// A phone has answered.
    pub(super) fn on_text_answered(&mut self, now: Timestamp, user: User, status: Status) {
        if status.is_provisional() {
            return;
        }
        let how = match status.code() {
            200..=299 => Taking::Taken,
            // RFC 3428 §7, §10; RFC 3261 §21.4: it takes no MESSAGE, or no text.
            405 | 406 | 415 | 488 | 489 | 501 | 606 => Taking::Refused,
            _ => Taking::Failed,
        };
        self.on_text_gone(now, user, how);
    }

    /// It has not.
    pub(super) fn on_text_failed(&mut self, now: Timestamp, user: User, failure: Failure) {
        match failure {
            Failure::TimedOut | Failure::Unreachable => {
                self.on_text_gone(now, user, Taking::Failed);
            }
        }
    }

    fn on_text_gone(&mut self, now: Timestamp, user: User, how: Taking) {
        let number = user.call.to_bits();
        if let Some(delivering) = self.desk.deliveries.get_mut(&number) {
            delivering.so_far = Some(together(delivering.so_far, how));
            self.send_next_text(now, number);
        }
    }

    /// RFC 3428 §8: the next phone is sent it when the one before has answered.
    fn send_next_text(&mut self, now: Timestamp, number: u64) {
        while let Some(delivering) = self.desk.deliveries.get_mut(&number) {
            let Some(way) = delivering.ways.pop_front() else {
                let how = delivering.so_far.unwrap_or(Taking::Failed);
                let (id, callee) = (delivering.id, delivering.callee.clone());
                self.desk.deliveries.remove(&number);
                self.count_text(how);
                return self
                    .desk
                    .facts
                    .push_back(Input::Delivered { id, callee, how });
            };
            if self.send_message(now, number, &way) {
                return;
            }
        }
    }

    fn count_text(&mut self, how: Taking) {
        *match how {
            Taking::Taken => &mut self.counters.messages_delivered,
            Taking::Failed | Taking::Refused => &mut self.counters.messages_not_taken,
        } += 1;
    }

    /// Whether it has left.
    fn send_message(&mut self, now: Timestamp, number: u64, way: &Way) -> bool {
        let Some(delivering) = self.desk.deliveries.get(&number) else {
            return false;
        };
        let host = host_at(&self.hosts, way.flow.listener);
        let to = uri_of(&user_of(&delivering.callee), host);
        let [call, tag] = [(); 2].map(|()| hex(self.rng.bits()));
        let expires_s = whole_seconds(delivering.ends.since(now));
        let date = delivering.date;
        self.scratch.clear();
        let mut writer = Writer::fragment(&mut self.scratch);
        writer
            .header(Name::MaxForwards, b"70")
            .header_parts(
                Name::From,
                &[b"<", delivering.from.as_bytes(), b">;tag=", &tag],
            )
            .header_parts(Name::To, &[b"<", to.as_bytes(), b">"])
            .header_parts(Name::CallId, &[&call, b"@", host.as_bytes()])
            .header(Name::CSeq, b"1 MESSAGE")
            .header_fmt(Name::Date, format_args!("{date}"))
            .header_fmt(Name::Expires, format_args!("{expires_s}"))
            .header(Name::ContentType, b"text/plain;charset=UTF-8");
        let is_written = writer.finish(delivering.body.as_bytes()).is_ok();
        let outgoing = Outgoing {
            method: Method::Message,
            uri: &way.uri,
            flow: way.flow,
            user: Some(User {
                call: Key::from_bits(number),
                part: PART,
            }),
            destination: 0,
            fields: &self.scratch,
        };
        is_written && self.layer.request(now, &outgoing).is_ok()
    }
}

/// What several phones made of it: one that takes it is enough, and one that may is worth a wait.
fn together(before: Option<Taking>, how: Taking) -> Taking {
    match (before, how) {
        (Some(Taking::Taken), _) | (_, Taking::Taken) => Taking::Taken,
        (Some(Taking::Failed), _) | (_, Taking::Failed) => Taking::Failed,
        (None | Some(Taking::Refused), Taking::Refused) => Taking::Refused,
    }
}

/// A user part as people read it.
fn shown(user: &str) -> String {
    let bytes = crate::sip::unescape(user.as_bytes());
    let text = String::from_utf8_lossy(&bytes);
    text.chars().filter(|letter| !letter.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_phone_that_takes_a_text_is_enough() {
        use Taking::{Failed, Refused, Taken};
        for (answers, expected) in [
            ([Refused, Taken], Taken),
            ([Taken, Failed], Taken),
            ([Refused, Failed], Failed),
            ([Failed, Refused], Failed),
            ([Refused, Refused], Refused),
        ] {
            let all = answers.into_iter();
            let found = all.fold(None, |before, how| Some(together(before, how)));
            assert_eq!(found, Some(expected), "{answers:?}");
        }
    }

    #[test]
    fn a_name_in_a_text_is_readable_and_one_line() {
        assert_eq!(shown("a%20b%0D%0Ac"), "a bc");
    }
}
