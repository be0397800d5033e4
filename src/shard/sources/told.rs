//! What a PBX answers to our SUBSCRIBEs for dialogs, and what its NOTIFYs tell.
//!
//! Spec: RFC 6665 §4.1.2, §4.1.3 (S-123 to S-127); RFC 4235 §4.3; RULES R2.

use std::time::Duration;

use crate::dialog::subscription::{Answer as Answered, Fate, Fork, Lines, Taken};
use crate::shard::sources::{BREATH, EXPIRES_MAX, REST, Stage};
use crate::shard::{Reject, Shard};
use crate::sip::dialog_states::Document;
use crate::sip::flow::Flow;
use crate::sip::{EventReason, Method, Name, Request, Response, Status, Substate};
use crate::sip::{dialog_info, parse_u32};
use crate::table::Key;
use crate::time::Timestamp;
use crate::transaction::servers::Answer;

impl Shard {
    /// A SUBSCRIBE went again with credentials.
    pub(in crate::shard) fn on_source_proven(&mut self, key: Key, number: u32) {
        let source = self.sources.table.get_mut(key);
        if let Some(subscriber) = source.and_then(|source| source.subscriber_mut()) {
            subscriber.handle_proven(number);
        }
    }

    /// S-101: it went on to another server.
    pub(in crate::shard) fn on_source_moved(&mut self, key: Key, flow: &Flow) {
        let source = self.sources.table.get_mut(key);
        if let Some(subscriber) = source.and_then(|source| source.subscriber_mut()) {
            subscriber.handle_moved(flow);
        }
    }

    pub(in crate::shard) fn on_source_answered(
        &mut self,
        now: Timestamp,
        key: Key,
        response: &Response<'_>,
    ) {
        let Some(source) = self.sources.table.get_mut(key) else {
            return;
        };
        let asked = source.expires;
        let Some(subscriber) = source.subscriber_mut() else {
            return;
        };
        match subscriber.handle_response(now, response) {
            Some(Answered::Accepted { expires_s, .. }) => {
                let granted = expires_s.map_or(asked, |granted| {
                    Duration::from_secs(granted.into()).min(EXPIRES_MAX)
                });
                self.on_source_granted(now, key, granted);
            }
            Some(Answered::Refused { status, fate, .. }) => {
                let least = response.message.first(Name::MinExpires).and_then(parse_u32);
                let least = least.map(|least| Duration::from_secs(least.into()));
                self.on_source_refused(now, key, (status, fate), least);
            }
            None => {}
        }
    }

    fn on_source_granted(&mut self, now: Timestamp, key: Key, granted: Duration) {
        let Some(source) = self.sources.table.get(key) else {
            return;
        };
        match &source.stage {
            Stage::Live(_) => self.sources.set_due(key, Some(now + refreshes_in(granted))),
            // Until its first NOTIFY.
            Stage::Asked(_) => {
                let patience = self.settings.timing.t1 * 64;
                self.sources.set_due(key, Some(now + patience));
            }
            Stage::Resting | Stage::Without | Stage::Leaving(_) => {}
        }
    }

    fn on_source_refused(
        &mut self,
        now: Timestamp,
        key: Key,
        (status, fate): (Status, Fate),
        least: Option<Duration>,
    ) {
        let Some(source) = self.sources.table.get_mut(key) else {
            return;
        };
        let is_live = matches!(source.stage, Stage::Live(_));
        let is_brief = status == Status::INTERVAL_TOO_BRIEF;
        if let Some(least) = least.filter(|least| is_brief && *least > source.expires) {
            source.expires = least.min(EXPIRES_MAX);
            return self.rest_source(now, key, Some(Duration::ZERO));
        }
        match status.code() {
            // The PBX has forgotten it, as after a restart.
            481 => {
                let breath = source.take_breath();
                self.rest_source(now, key, Some(breath));
            }
            408 | 480 | 500..600 => self.rest_source(now, key, None),
            // What was granted holds until its end, and then it is asked for anew.
            _ if is_live && fate == Fate::Kept => self.sources.set_due(key, Some(now + REST)),
            _ => self.end_source(now, key, Some(status)),
        }
    }

    /// A SUBSCRIBE met silence, or did not get away.
    pub(in crate::shard) fn on_source_unanswered(&mut self, now: Timestamp, key: Key) {
        self.rest_source(now, key, None);
    }

    /// A request within a subscription to somebody's dialogs; `None` if it is within none.
    pub(in crate::shard) fn on_request_sourced(
        &mut self,
        now: Timestamp,
        flow: &Flow,
        request: &Request<'_>,
    ) -> Option<Result<(), Reject>> {
        if request.method != Method::Notify {
            return None;
        }
        let key = self.sources.named_by(request)?;
        Some(self.on_source_notify(now, flow, request, key))
    }

    fn on_source_notify(
        &mut self,
        now: Timestamp,
        flow: &Flow,
        request: &Request<'_>,
        key: Key,
    ) -> Result<(), Reject> {
        let source = self.sources.table.get_mut(key);
        let source = source.ok_or(Reject::NoSuchCall)?;
        let subscriber = source.subscriber_mut().ok_or(Reject::NoSuchCall)?;
        let notified = subscriber.handle_notify(now, request, flow);
        let notified = notified.map_err(Reject::of_notify)?;
        let document = match notified.content_type {
            Some(kind) if !notified.body.is_empty() && kind.is(dialog_info::MEDIA_TYPE) => {
                let document = Document::read(notified.body);
                Some(document.ok_or(Reject::DocumentBroken)?)
            }
            Some(_) | None => None,
        };
        let state = notified.state;
        let fork = notified.fork;
        let server = self.layer.accept(now, request, flow, None);
        let server = server.map_err(|_| Reject::TableFull)?;
        self.layer.respond(now, server, &Answer::OK);
        if state.substate == Substate::Terminated {
            let wait = state
                .retry_after_s
                .map(|seconds| Duration::from_secs(seconds.into()));
            self.on_source_terminated(now, key, state.reason, wait);
        } else {
            let left = state.expires_s.map(|left| Duration::from_secs(left.into()));
            self.on_source_told(now, (key, fork), document, left);
        }
        Ok(())
    }

    fn on_source_terminated(
        &mut self,
        now: Timestamp,
        key: Key,
        reason: Option<EventReason>,
        wait: Option<Duration>,
    ) {
        match reason {
            // S-123: it may be had again.
            Some(EventReason::Deactivated | EventReason::Timeout) => {
                let source = self.sources.table.get_mut(key);
                let breath = source.map(|source| source.take_breath());
                self.rest_source(now, key, breath);
            }
            Some(EventReason::Probation | EventReason::GiveUp) | None => {
                self.rest_source(now, key, wait.map(|wait| wait.min(EXPIRES_MAX)));
            }
            Some(EventReason::Rejected | EventReason::NoResource | EventReason::Invariant) => {
                self.end_source(now, key, None);
            }
        }
    }

    fn on_source_told(
        &mut self,
        now: Timestamp,
        (key, fork): (Key, Fork),
        document: Option<Document>,
        left: Option<Duration>,
    ) {
        let Some(source) = self.sources.table.get_mut(key) else {
            return;
        };
        if matches!(source.stage, Stage::Leaving(_)) {
            return;
        }
        let mut due = left.map(|left| now + refreshes_in(left.min(EXPIRES_MAX)));
        if let Some(document) = document {
            let place = usize::from(fork.0);
            while source.lines.len() <= place {
                source.lines.push(Lines::default());
            }
            let lines = source.lines.get_mut(place);
            let taken = lines.map_or(Taken::Whole, |lines| lines.take(document));
            match taken {
                // RFC 4235 §4.3: all of it is told again after a SUBSCRIBE.
                Taken::Gap => due = Some(now + source.take_breath()),
                Taken::Whole => source.rest = REST,
            }
        }
        let stage = std::mem::replace(&mut source.stage, Stage::Resting);
        source.stage = if let Stage::Asked(subscriber) = stage {
            Stage::Live(subscriber)
        } else {
            stage
        };
        let due = due.or_else(|| {
            let is_set = source.due.is_some();
            (!is_set).then(|| now + refreshes_in(source.expires))
        });
        let is_known = !source.lines.is_empty();
        let (user, far) = (source.user.clone(), source.far());
        if due.is_some() {
            self.sources.set_due(key, due);
        }
        if is_known {
            self.users.set_far(now, &user, Some(far));
        }
    }
}

/// When what lasts so long is to be asked for again: with time for it to fail, and to be tried again.
fn refreshes_in(granted: Duration) -> Duration {
    let early = (granted / 5).min(Duration::from_mins(1));
    granted.saturating_sub(early).max(BREATH)
}
