//! Where a message goes: to its transaction, its call, or to what answers new requests.
//!
//! Spec: RFC 3261 §8.2, §12.2.2, §17, §18.

use std::time::Duration;

use crate::call::{self, Side};
use crate::dialog::Tag;
use crate::relay;
use crate::shard::keep_alive::is_keep_alive;
use crate::shard::offer::About;
use crate::shard::registration::is_registration;
use crate::shard::sources::is_source;
use crate::shard::subscriptions::Part;
use crate::shard::{Parties, Reject, Shard, messages, mwi, pings, probes};
use crate::sip::flow::Flow;
use crate::sip::{Checked, Message, Method, Name, Refusal, Request, Response, Status, cause};
use crate::table::Key;
use crate::time::Timestamp;
use crate::transaction::Event;
use crate::transaction::clients::Heard;
use crate::transaction::reply;
use crate::transaction::servers::{Answer, Arrival};

impl Shard {
    pub(super) fn receive(&mut self, now: Timestamp, flow: &Flow, bytes: &[u8], delay: Duration) {
        self.counters.messages_received += 1;
        self.delays.add(delay);
        // RFC 5626 §4.4.1: a keep-alive is not a message.
        if bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
            return;
        }
        let mut index = std::mem::take(&mut self.index);
        match Message::parse(bytes, &mut index) {
            // Most messages assert nothing, and then it does not matter who sends them.
            Ok(message)
                if message.first(Name::PAssertedIdentity).is_none() || self.believes(flow) =>
            {
                self.on_message(now, flow, message, delay);
            }
            Ok(message) => {
                let message = message.without(Name::PAssertedIdentity);
                self.on_message(now, flow, message, delay);
            }
            Err(error) => {
                self.counters.messages_dropped += 1;
                tracing::debug!(from = %flow, %error, "dropped what is not SIP");
            }
        }
        self.index = index;
    }

    fn on_message(&mut self, now: Timestamp, flow: &Flow, message: Message<'_>, delay: Duration) {
        match Checked::check(message) {
            Ok(Checked::Request(request)) => self.on_request(now, flow, &request, delay),
            Ok(Checked::Response(response)) => self.on_response(now, flow, &response),
            Err(Refusal::Answer {
                status,
                message,
                what,
            }) => {
                if self.is_unanswered(now, flow) {
                    return;
                }
                tracing::debug!(from = %flow, %what, "refused a malformed request");
                self.counters.messages_malformed += 1;
                self.layer.refuse(&message, flow, status, reply::NOTHING);
            }
            Err(Refusal::Drop(what)) => {
                self.counters.messages_dropped += 1;
                tracing::debug!(from = %flow, %what, "dropped a malformed message");
            }
        }
    }

    fn on_response(&mut self, now: Timestamp, flow: &Flow, response: &Response<'_>) {
        match self.layer.handle_response(now, response) {
            Heard::Up(user) if pings::is_ping(user) => self.on_pong(now, user, response.status),
            Heard::Up(user) if probes::is_probe(user) => self.on_probed(user, response.status),
            Heard::Up(user) if messages::is_text(user) => {
                self.on_text_answered(now, user, response.status);
            }
            Heard::Up(user) if mwi::is_lamp(user) => {
                self.on_lamp_answered(user.call, Ok(response.status));
            }
            Heard::Up(user) => {
                if is_registration(user) {
                    return self.on_register_response(now, user.call, response);
                }
                if is_keep_alive(user) {
                    return self.on_phone_asked(user.call, true);
                }
                if is_source(user) {
                    return self.on_source_answered(now, user.call, response);
                }
                if let Some(part) = Part::of(user.part) {
                    return self.on_subscription_response(now, (user.call, part), response);
                }
                if let Some(part) = relay::Part::of(user.part) {
                    if !self.tells_instead(now, (user.call, part), response) {
                        self.on_relay_response(now, (user.call, part), response);
                    }
                    return;
                }
                if self.follows(now, user, (flow, response)) {
                    return;
                }
                let identity = self.identity_within(user.call);
                let message = Self::for_other_side(identity, response.message);
                let response = &Response {
                    message,
                    ..*response
                };
                let heard = self.with_call(now, user.call, |call, turn| {
                    call.handle_response(turn, user.part, response);
                });
                let begins_dialog =
                    response.status.is_success() && response.cseq.method == Method::Invite;
                if heard.is_none() && begins_dialog {
                    self.refuse_orphan(now, flow, response);
                }
            }
            Heard::Absorbed => {}
            Heard::Orphan => self.refuse_orphan(now, flow, response),
            Heard::Stray => self.counters.responses_stray += 1,
        }
    }

    /// Takes what the transactions say.
    pub(super) fn on_event(&mut self, now: Timestamp, event: Event) {
        match event {
            Event::Failed(user, failure) => {
                if pings::is_ping(user) {
                    return self.on_ping_failed(now, user, failure);
                }
                if probes::is_probe(user) {
                    return self.on_probe_failed(user);
                }
                if messages::is_text(user) {
                    return self.on_text_failed(now, user, failure);
                }
                if mwi::is_lamp(user) {
                    return self.on_lamp_answered(user.call, Err(failure));
                }
                if is_registration(user) {
                    return self.on_register_failure(now, user.call, failure);
                }
                if is_keep_alive(user) {
                    return self.on_phone_asked(user.call, false);
                }
                if is_source(user) {
                    return self.on_source_unanswered(now, user.call);
                }
                if let Some(part) = Part::of(user.part) {
                    return self.on_subscription_failure((user.call, part), failure);
                }
                if let Some(part) = relay::Part::of(user.part) {
                    return self.on_relay_failure(now, (user.call, part), failure);
                }
                self.with_call(now, user.call, |call, turn| {
                    call.handle_failure(turn, user.part, failure);
                });
            }
            // The call has ended when its failure was sent; nobody else is concerned.
            Event::NoAck(_) => {}
        }
    }

    fn refuse_orphan(&mut self, now: Timestamp, flow: &Flow, response: &Response<'_>) {
        let nobody = Parties::default();
        self.with_turn(now, &nobody, &mut About::Nothing, |turn| {
            call::refuse_orphan(turn, response, flow);
        });
    }

    fn on_request(&mut self, now: Timestamp, flow: &Flow, request: &Request<'_>, delay: Duration) {
        #[cfg(test)]
        assert!(
            request.message.named("X-Failpoint") != Some(b"receive"),
            "failpoint"
        );
        if self.is_unwelcome(now, flow, request) {
            return;
        }
        match self.layer.sort(now, request, flow) {
            Arrival::Absorbed => {}
            Arrival::Ack => self.on_ack(now, request),
            Arrival::Cancel(server) => self.on_cancel(now, flow, request, server),
            Arrival::CancelOfNothing => self.refuse(now, request, flow, Reject::CancelOfNothing),
            Arrival::Merged => self.refuse(now, request, flow, Reject::MergedRequest),
            Arrival::New => match request.to.tag() {
                Some(tag) => self.on_request_within(now, flow, request, tag),
                None => self.on_new_request(now, flow, request, delay),
            },
        }
    }

    fn on_ack(&mut self, now: Timestamp, request: &Request<'_>) {
        let Some(tag) = request.to.tag().and_then(Tag::parse) else {
            return;
        };
        self.with_call(now, tag.call, |call, turn| {
            if let Some(side) = call.side_of(request, tag) {
                call.handle_ack(turn, side, request);
            }
        });
    }

    /// S-09: 200 to the CANCEL, whatever becomes of the INVITE.
    fn on_cancel(&mut self, now: Timestamp, flow: &Flow, request: &Request<'_>, server: Key) {
        let user = self.layer.user(server);
        let held = user.and_then(|user| self.calls.get(user.call));
        // RFC 3261 §9.2: the tag is that of the INVITE's answer.
        let tag = held.map(|held| held.call.answer_tag().text());
        let ok = Status::OK;
        match &tag {
            Some(tag) => self.layer.answer_with_tag(&request.message, flow, ok, tag),
            None => self
                .layer
                .refuse(&request.message, flow, ok, reply::NOTHING),
        }
        let Some(user) = user else {
            if !self.cancel_parked(now, server) {
                self.cancel_code(now, server);
            }
            return;
        };
        if let Some(held) = self.calls.get_mut(user.call)
            && is_completed_elsewhere(request)
        {
            // R19: another phone answered, so that nothing is left to complete.
            held.about = std::mem::take(&mut held.about).without_asker();
        }
        self.note_reason(user.call, Side::A, request);
        self.with_call(now, user.call, |call, turn| {
            call.handle_cancel(turn, user.part, request);
        });
    }

    fn on_request_within(
        &mut self,
        now: Timestamp,
        flow: &Flow,
        request: &Request<'_>,
        tag: &[u8],
    ) {
        let handled = self.on_request_subscribed(now, flow, request);
        let handled = handled.or_else(|| self.on_request_sourced(now, flow, request));
        let handled = handled.or_else(|| self.on_request_lamp(now, flow, request));
        if let Some(handled) = handled.or_else(|| self.on_request_relayed(now, flow, request)) {
            return handled.unwrap_or_else(|reject| self.refuse(now, request, flow, reject));
        }
        let tag = Tag::parse(tag);
        if request.method == Method::Bye
            && let Some(tag) = tag
        {
            self.note_bye(tag, request);
        }
        if let Some(tag) = tag.filter(|_| request.method == Method::Refer) {
            self.note_referred(now, tag, request);
        }
        let handled = tag.and_then(|tag| {
            let identity = self.identity_within(tag.call);
            let message = Self::for_other_side(identity, request.message);
            let request = &Request {
                message,
                ..*request
            };
            self.with_call(now, tag.call, |call, turn| {
                if let Some(side) = call.side_of(request, tag) {
                    call.handle_request(turn, side, request, flow);
                    return true;
                }
                call.handle_early(turn, tag, request, flow)
            })
        });
        if handled != Some(true) && !self.is_unanswered(now, flow) {
            self.refuse(now, request, flow, Reject::NoSuchCall);
        }
    }

    /// A request within a subscription; `None` if it is within none.
    fn on_request_subscribed(
        &mut self,
        now: Timestamp,
        flow: &Flow,
        request: &Request<'_>,
    ) -> Option<Result<(), Reject>> {
        let is_subscribed = self.desk.subscriptions.has(request);
        is_subscribed.then(|| match request.method {
            Method::Notify => self.on_notify(now, flow, request),
            Method::Publish => self.on_publish_within(now, flow, request),
            Method::Subscribe => self.on_subscribe_within(now, flow, request),
            Method::Ack
            | Method::Bye
            | Method::Cancel
            | Method::Info
            | Method::Invite
            | Method::Message
            | Method::Options
            | Method::Prack
            | Method::Refer
            | Method::Register
            | Method::Update
            | Method::Other(_) => Err(Reject::NoSuchCall),
        })
    }

    fn on_new_request(
        &mut self,
        now: Timestamp,
        flow: &Flow,
        request: &Request<'_>,
        delay: Duration,
    ) {
        let admitted = self
            .screen(request, delay)
            .and_then(|()| self.check_peer(now, flow, request))
            .and_then(|()| self.check_listener(flow, request))
            .and_then(|()| self.check_for_us(request))
            .and_then(|()| self.check_sender(now, flow, request));
        let handled = admitted.and_then(|()| self.dispatch(now, flow, request));
        let handled = match handled {
            Err(Reject::NameUnresolved) if self.is_looking_up() => self.park(now, flow, request),
            Ok(()) | Err(_) => handled,
        };
        if let Err(reject) = handled {
            self.refuse(now, request, flow, reject);
        }
    }

    /// Gives a request that was let in to what answers its method.
    pub(super) fn dispatch(
        &mut self,
        now: Timestamp,
        flow: &Flow,
        request: &Request<'_>,
    ) -> Result<(), Reject> {
        match request.method {
            Method::Invite => self.on_invite(now, flow, request),
            Method::Options if self.asks_others(flow, request) => self.on_relay(now, flow, request),
            Method::Options => self.on_options(now, flow, request),
            Method::Register => self.on_register(now, flow, request),
            Method::Ack => Ok(()),
            Method::Publish if self.is_about_completion(flow, request) => {
                self.on_publish(now, flow, request)
            }
            Method::Subscribe => self.on_new_subscribe(now, flow, request),
            Method::Message | Method::Publish => self.on_relay(now, flow, request),
            Method::Info | Method::Refer | Method::Other(_) if self.passes(flow, request) => {
                self.on_relay(now, flow, request)
            }
            // An unsolicited one is the PBX's to send.
            Method::Notify if self.is_peer(flow) => self.on_relay(now, flow, request),
            Method::Bye
            | Method::Cancel
            | Method::Info
            | Method::Notify
            | Method::Prack
            | Method::Update => Err(Reject::NoSuchCall),
            Method::Refer | Method::Other(_) => Err(Reject::MethodUnknown),
        }
    }

    fn on_register(
        &mut self,
        now: Timestamp,
        flow: &Flow,
        request: &Request<'_>,
    ) -> Result<(), Reject> {
        if self.edge.is_some() {
            return self.relay_register(now, flow, request);
        }
        let server = self
            .layer
            .accept(now, request, flow, None)
            .map_err(|_| Reject::TableFull)?;
        self.scratch.clear();
        let answer =
            self.registrar
                .handle_register(now, request, flow, &self.domains, &mut self.scratch);
        let tag = crate::transaction::branch::hex(self.rng.bits());
        let answer = Answer {
            status: answer,
            phrase: b"",
            tag: reply::Tag::Ours(&tag),
            rest: &self.scratch,
        };
        self.layer.respond(now, server, &answer);
        Ok(())
    }
}

/// RFC 3326 §3.1: the caller's side withdraws the call because somebody else has answered it.
fn is_completed_elsewhere(cancel: &Request<'_>) -> bool {
    cause(&cancel.message, "SIP") == Some(200)
}
