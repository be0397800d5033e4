//! Our queues on the wire: SUBSCRIBE and PUBLISH of agents elsewhere, and the NOTIFYs to them.
//!
//! Spec: RFC 6665 §4.2; RFC 3903 §6; RFC 6910 §7, §8, §9.
//!
//! Whoever may not know whether somebody is busy gets the same 403 in every case (CC-72, CC-73).

use std::time::Duration;

use crate::cc::addr;
use crate::cc::document::{self, Document};
use crate::cc::fork::CallId;
use crate::cc::id::CceToken;
use crate::cc::monitor::{Lifetime, Reason, Renewal};
use crate::cc::offer::{self, Named, Place};
use crate::cc::{Basic, SubscriptionId, pidf};
use crate::completion::{self, Input, Publish, PublishAt, Queue, Subscribe, Ticket};
use crate::dialog::kept;
use crate::dialog::publication::{self, PRESENCE, Wish};
use crate::dialog::subscription::{Fate, Notifier, Notify, PACKAGE, Package, Standing};
use crate::dialog::{Tag, Turn};
use crate::shard::desk::name_of;
use crate::shard::offer::host_at;
use crate::shard::subscriptions::{
    Monitor, Part, Publishing, Subscribing, Subscription, whole_seconds,
};
use crate::shard::watchers::{self, Watched};
use crate::shard::{Reject, Shard};
use crate::sip::dialog_info;
use crate::sip::flow::Flow;
use crate::sip::{Event, EventReason, Name, Request, Status, Uri, Writer, accepts, parse_u32};
use crate::table::Key;
use crate::time::Timestamp;
use crate::transaction::branch::hex;
use crate::transaction::clients::Failure;
use crate::transaction::reply;
use crate::transaction::servers::Answer;

/// Whom a phone watches by the dialog package, if that is how it asks; and the transaction that waits
/// already.
pub(super) type Asked = (Option<Watched>, Option<Key>);

impl Shard {
    /// A SUBSCRIBE that would make a subscription to a queue of ours.
    pub(super) fn on_subscribe(
        &mut self,
        now: Timestamp,
        flow: &Flow,
        request: &Request<'_>,
        asked: Asked,
    ) -> Result<(), Reject> {
        if !self.settings.completion.enabled {
            return Err(Reject::EventUnknown);
        }
        if let Some(again) = self.subscribe_again(now, flow, request, &asked) {
            return again;
        }
        let key = self
            .desk
            .subscriptions
            .reserve()
            .map_err(|_| Reject::TableFull)?;
        let begun = self.begin_subscription(now, flow, request, (key, asked));
        if begun.is_err() {
            self.desk.subscriptions.give_up(key);
        }
        begun
    }

    /// CC-34: by the rules of RFC 6665, and for whom completion is.
    fn begin_subscription(
        &mut self,
        now: Timestamp,
        flow: &Flow,
        request: &Request<'_>,
        (key, (watched, server)): (Key, Asked),
    ) -> Result<(), Reject> {
        let (package, media_type, renewal) = match watched {
            Some(_) => (Package::Dialog, dialog_info::MEDIA_TYPE, Renewal::Lengthens),
            None => (
                Package::CallCompletion,
                document::MEDIA_TYPE,
                Renewal::Shortens,
            ),
        };
        let tag = Tag::new(key, &mut self.rng);
        let notifier = Notifier::new(request, flow, (package, tag));
        let mut notifier = notifier.map_err(|status| match status {
            Status::BAD_EVENT => Reject::EventUnknown,
            _ => Reject::ContactMissing,
        })?;
        match (self.peer_of(flow), &self.edge) {
            (Some(_), _) => {}
            // R22: behind a NAT, a phone is where it registered from.
            (None, Some(_)) => notifier.keep_to_flow(flow),
            // R8: a spoofed datagram must not have somebody else told who is busy.
            (None, None) => notifier.keep_to(flow),
        }
        // CC-52
        if !accepts(&request.message, media_type) {
            return Err(Reject::NotAcceptable);
        }
        let (caller, queue) = if let Some(Watched { caller, callee }) = watched {
            (Some(caller), Queue::Callee(callee))
        } else {
            let caller = self.subscriber_name(request, flow)?;
            let queue = self.queue_of(request).ok_or(Reject::NoCompletion)?;
            (caller, queue)
        };
        let server = match server {
            Some(server) => server,
            None => self
                .layer
                .accept(now, request, flow, None)
                .map_err(|_| Reject::TableFull)?,
        };
        let subscription = self.desk.service.next_subscription();
        let monitor = Monitor {
            id: subscription,
            notifier,
            asked: Some(Box::new(Subscribing::First(server))),
            basic: Basic::Open,
            reserved: 0,
            dials: None,
        };
        let monitor = Subscription::Monitor(monitor);
        self.desk.subscriptions.fill(key, subscription, monitor);
        self.desk.facts.push_back(Input::Subscribe(Subscribe {
            subscription,
            caller,
            queue,
            call_id: CallId::new(request.call_id),
            expires: expires_of(request),
            renewal,
        }));
        Ok(())
    }

    /// CC-71, R8: whose agent it is; a configured peer may leave it to the token.
    pub(super) fn subscriber_name(
        &self,
        request: &Request<'_>,
        flow: &Flow,
    ) -> Result<Option<addr::Aor>, Reject> {
        let ours = self.sender(flow, request);
        let name = self.caller_name(request, flow, ours.as_ref());
        let is_anonymous_at_peer = || {
            let is_peer = self.peer_of(flow).is_some();
            is_peer && is_anonymous(&request.from.uri)
        };
        match name {
            Some(_) if is_anonymous_at_peer() => Ok(None),
            Some(name) => Ok(Some(name)),
            None => Err(Reject::NoCompletion),
        }
    }

    /// CC-33: the queue that a Request-URI names.
    fn queue_of(&self, request: &Request<'_>) -> Option<Queue> {
        let uri = request
            .uri
            .as_sip()
            .filter(|uri| self.domains.is_own(uri))?;
        let user = str::from_utf8(uri.user?).ok()?;
        match offer::named_by(user) {
            Some(Named::Offer(token)) => Some(Queue::Token(token.into())),
            Some(Named::Entry(_)) => None,
            None => self
                .domains
                .aor(&request.uri)
                .map(|callee| Queue::Callee(name_of(&callee))),
        }
    }

    /// A SUBSCRIBE within a subscription: it refreshes or ends it.
    pub(super) fn on_subscribe_within(
        &mut self,
        now: Timestamp,
        flow: &Flow,
        request: &Request<'_>,
    ) -> Result<(), Reject> {
        let sender = self.sender(flow, request);
        let is_again = self.desk.subscriptions.was_heard_before(request);
        let monitor = self.desk.subscriptions.monitor_of(request);
        let monitor = monitor.ok_or(Reject::NoSuchCall)?;
        let subscriber = self.desk.service.waits_by(monitor.id);
        if sender.is_some_and(|sender| Some(&name_of(&sender)) == subscriber) {
            // R8: from where its user has registered, and so it is told there.
            monitor.notifier.move_to(flow);
        }
        monitor
            .notifier
            .handle_subscribe(request)
            .or_else(|status| match status {
                Status::SERVER_INTERNAL_ERROR if is_again => Ok(()),
                status => Err(status),
            })
            .map_err(|status| match status {
                Status::BAD_EVENT => Reject::EventUnknown,
                Status::SERVER_INTERNAL_ERROR => Reject::OutOfOrder,
                _ => Reject::NoSuchCall,
            })?;
        if monitor.asked.is_some() {
            // The one before is not answered yet.
            return Err(Reject::OutOfOrder);
        }
        let server = self.layer.accept(now, request, flow, None);
        let server = server.map_err(|_| Reject::TableFull)?;
        // A stream that ended with the process before is found again by its subscriber.
        monitor.notifier.find_again(flow);
        monitor.asked = Some(Box::new(Subscribing::Within(server)));
        self.desk.facts.push_back(Input::Refresh {
            subscription: monitor.id,
            expires: expires_of(request),
        });
        Ok(())
    }

    /// S-121, S-122: the answer; its NOTIFY follows.
    pub(super) fn accept_subscribe(
        &mut self,
        now: Timestamp,
        id: SubscriptionId,
        (expires, cce): (Duration, CceToken),
    ) {
        let Some((_, monitor)) = self.desk.subscriptions.monitor_mut(id) else {
            return;
        };
        let Some(asked) = monitor.asked.take() else {
            return;
        };
        let tag = monitor.notifier.tag().text();
        let contact = contact(&self.hosts, &monitor.notifier.flow(), cce);
        let write = |writer: &mut Writer<'_>| {
            let expires_s = whole_seconds(expires);
            monitor
                .notifier
                .write_accepted(writer, contact.as_bytes(), expires_s);
        };
        let (server, tag) = match *asked {
            Subscribing::First(server) | Subscribing::Again(server) => {
                (server, reply::Tag::Ours(&tag))
            }
            Subscribing::Within(server) => (server, reply::Tag::AsReceived),
        };
        let answer = Answer::written(&mut self.scratch, (Status::OK, b"", tag), write, b"");
        self.layer.respond(now, server, &answer);
    }

    /// CC-60: a SUBSCRIBE is refused; the first one makes no subscription.
    pub(super) fn reject_subscribe(
        &mut self,
        now: Timestamp,
        id: SubscriptionId,
        reject: completion::Reject,
    ) {
        let Some((_, monitor)) = self.desk.subscriptions.monitor_mut(id) else {
            return;
        };
        let Some(asked) = monitor.asked.take() else {
            return;
        };
        let tag = monitor.notifier.tag().text();
        let (server, tag) = match *asked {
            Subscribing::First(server) => {
                self.desk.subscriptions.forget(id);
                (server, reply::Tag::Ours(&tag))
            }
            // What has ended meanwhile has yet to say so.
            Subscribing::Again(server) => (server, reply::Tag::Ours(&tag)),
            Subscribing::Within(server) => (server, reply::Tag::AsReceived),
        };
        let write = |writer: &mut Writer<'_>| {
            if let completion::Reject::TooBrief(least) = reject {
                // S-121
                let least_s = whole_seconds(least);
                writer.header_fmt(Name::MinExpires, format_args!("{least_s}"));
            }
            if let Some(later) = reject.retry_after() {
                let later_s = whole_seconds(later);
                writer.header_fmt(Name::RetryAfter, format_args!("{later_s}"));
            }
        };
        let status = Status::new(reject.status()).unwrap_or(Status::SERVER_INTERNAL_ERROR);
        let answer = Answer::written(&mut self.scratch, (status, b"", tag), write, b"");
        self.layer.respond(now, server, &answer);
        tracing::debug!(why = %reject, "refused a request for completion");
    }

    /// CC-38, CC-57: what a subscriber is told of his entry.
    pub(super) fn send_notify(
        &mut self,
        now: Timestamp,
        id: SubscriptionId,
        notify: &completion::Notify,
    ) {
        let Some((_, monitor)) = self.desk.subscriptions.monitor_mut(id) else {
            return;
        };
        let flow = monitor.notifier.flow();
        let dials = self.phone_dials(&flow, notify.cce);
        let Some((key, monitor)) = self.desk.subscriptions.monitor_mut(id) else {
            return;
        };
        monitor.dials = monitor.dials.take().or_else(|| dials.map(Box::new));
        let place = Place {
            host: host_at(&self.hosts, flow.listener),
            transport: None,
        };
        let (life, content_type, body) = match monitor.notifier.package() {
            Package::CallCompletion => {
                let place = || addr::AddrSpec::new(&offer::cc_uri(notify.cce, place)).ok();
                let document = Document {
                    state: Some(notify.state),
                    retention: notify.retention,
                    // CC-70: in all NOTIFYs the same.
                    uri: monitor.dials.as_deref().cloned().or_else(place),
                };
                let mut body = Vec::with_capacity(128);
                document.write(&mut body);
                (notify.life, document::MEDIA_TYPE, body)
            }
            // A lamp is told of by itself.
            Package::Dialog | Package::MessageSummary => (
                watchers::life_of(notify.life),
                dialog_info::MEDIA_TYPE,
                watchers::document(&monitor.notifier, id, notify),
            ),
        };
        let contact = contact(&self.hosts, &flow, notify.cce);
        let message = Notify {
            standing: standing(life),
            contact: contact.as_bytes(),
            content_type,
            body: &body,
        };
        let turn = &mut Turn {
            now,
            layer: &mut self.layer,
            rng: &mut self.rng,
            scratch: &mut self.scratch,
        };
        let user = Some(Part::Subscription.user(key));
        let sent = monitor.notifier.notify(turn, &message, user);
        // Another hundred numbers, well before these are used up.
        let is_used_up = monitor.notifier.cseq() + kept::RESERVED / 2 > monitor.reserved;
        let is_last = matches!(notify.life, Lifetime::Terminated(_));
        if is_last {
            // Its answer means nothing any more.
            self.desk.subscriptions.forget(id);
        } else if sent.is_err() {
            self.lose_subscriber(id);
        } else if is_used_up && self.desk.vault.is_elsewhere() {
            self.desk.facts.push_back(Input::Moved { subscription: id });
        }
    }

    /// S-124: answers after which the subscriber knows nothing of the subscription.
    pub(super) fn on_notify_answered(&mut self, key: Key, status: Status) {
        if Fate::after(status) == Fate::Gone {
            self.lose_subscriber_at(key);
        }
    }

    pub(super) fn on_notify_unanswered(&mut self, key: Key, failure: Failure) {
        if Fate::after_failure(failure) == Fate::Gone {
            self.lose_subscriber_at(key);
        }
    }

    fn lose_subscriber_at(&mut self, key: Key) {
        if let Some(Subscription::Monitor(monitor)) = self.desk.subscriptions.get_mut(key) {
            let id = monitor.id;
            self.lose_subscriber(id);
        }
    }

    fn lose_subscriber(&mut self, subscription: SubscriptionId) {
        self.desk.subscriptions.forget(subscription);
        self.desk
            .facts
            .push_back(Input::NotifyFailed { subscription });
    }

    /// A PUBLISH out of any dialog.
    pub(super) fn on_publish(
        &mut self,
        now: Timestamp,
        flow: &Flow,
        request: &Request<'_>,
    ) -> Result<(), Reject> {
        let event = Event::of(&request.message);
        let is_known = event.is_some_and(|event| event.is(PRESENCE) || event.is(PACKAGE));
        if !self.settings.completion.enabled || !is_known {
            return Err(Reject::EventUnknown);
        }
        let caller = self.subscriber_name(request, flow)?;
        let at = self.published_at(request).ok_or(Reject::NoCompletion)?;
        let checked = self.desk.subscriptions.publications.check(&request.message);
        self.publish(now, flow, request, (at, caller, checked))
    }

    /// CC-48: what a PUBLISH is about, by its Request-URI.
    pub(super) fn published_at(&self, request: &Request<'_>) -> Option<PublishAt> {
        let uri = request.uri.as_sip()?;
        if let Some(cce) = self.entry_in(&uri) {
            return Some(PublishAt::Entry(cce));
        }
        if !self.domains.is_own(&uri) {
            return None;
        }
        let user = str::from_utf8(uri.user?).ok()?;
        match offer::named_by(user) {
            Some(Named::Entry(cce)) => Some(PublishAt::Entry(cce)),
            Some(Named::Offer(_)) | None => self.queue_of(request).map(PublishAt::Queue),
        }
    }

    /// A PUBLISH within a subscription's dialog, whose tags name its caller.
    pub(super) fn on_publish_within(
        &mut self,
        now: Timestamp,
        flow: &Flow,
        request: &Request<'_>,
    ) -> Result<(), Reject> {
        let subscriptions = &mut self.desk.subscriptions;
        let is_again = subscriptions.was_heard_before(request);
        let monitor = subscriptions.monitor_of(request);
        let monitor = monitor.ok_or(Reject::NoSuchCall)?;
        let at = PublishAt::Subscription(monitor.id);
        let checked = if is_again {
            subscriptions.publications.check_again(&request.message)
        } else {
            let in_order = monitor.notifier.handle_other(request);
            in_order.map_err(|_| Reject::OutOfOrder)?;
            subscriptions.publications.check(&request.message)
        };
        self.publish(now, flow, request, (at, None, checked))
    }

    fn publish(
        &mut self,
        now: Timestamp,
        flow: &Flow,
        request: &Request<'_>,
        (at, caller, checked): (PublishAt, Option<addr::Aor>, Checked),
    ) -> Result<(), Reject> {
        let owner = self.desk.service.published(&at, caller.as_ref());
        // CC-72: without an entry there is nothing to publish for.
        let owner = owner.ok_or(Reject::NoCompletion)?;
        let asked = match checked {
            Ok(asked) if self.desk.subscriptions.names_another(&asked, owner) => {
                return Err(Reject::EntityTagUnknown);
            }
            Ok(asked) => asked,
            Err(reject) => {
                self.refuse_publish(request, flow, reject);
                return Ok(());
            }
        };
        let basic = match asked.wish {
            Wish::Initial | Wish::Modify => {
                pidf::parse(request.message.body()).map_err(|_| Reject::DocumentBroken)?
            }
            Wish::Refresh => {
                let monitor = self.desk.subscriptions.monitor_mut(owner);
                monitor.map_or(Basic::Open, |(_, monitor)| monitor.basic)
            }
            Wish::Remove => Basic::Open,
        };
        let server = self.layer.accept(now, request, flow, None);
        let server = server.map_err(|_| Reject::TableFull)?;
        let ticket = self.desk.ticket();
        let expires = Duration::from_secs(asked.expires_s.into());
        let publishing = Publishing {
            server,
            asked,
            owner,
            basic,
            nonce: self.rng.bits(),
            ends: now + expires,
        };
        self.desk
            .subscriptions
            .publishing
            .insert(ticket, publishing);
        self.desk.facts.push_back(Input::Publish(Publish {
            ticket,
            at,
            caller,
            basic,
            expires: Some(expires),
        }));
        Ok(())
    }

    fn refuse_publish(&mut self, request: &Request<'_>, flow: &Flow, reject: publication::Reject) {
        let rest = reply::rest(&mut self.scratch, |writer| reject.write_fields(writer), b"");
        self.layer
            .refuse(&request.message, flow, reject.status(), rest);
        tracing::debug!(why = %reject, from = %flow, "refused a publication");
    }

    /// S-151: what the service says of a PUBLISH.
    pub(super) fn answer_publish(
        &mut self,
        now: Timestamp,
        ticket: Ticket,
        result: Result<(), completion::Reject>,
    ) {
        let subscriptions = &mut self.desk.subscriptions;
        let Some(publishing) = subscriptions.publishing.remove(&ticket) else {
            return;
        };
        let Publishing {
            server,
            asked,
            owner,
            basic,
            nonce,
            ..
        } = publishing;
        let granted = match result {
            Ok(()) => {
                if let Some((_, monitor)) = subscriptions.monitor_mut(owner) {
                    monitor.basic = basic;
                }
                let publications = &mut subscriptions.publications;
                let granted = publications.commit(now, nonce, &asked, owner.0);
                granted.map_err(publication::Reject::status)
            }
            Err(reject) => Err(Status::new(reject.status()).unwrap_or(Status::FORBIDDEN)),
        };
        let write = |writer: &mut Writer<'_>| {
            if let Ok(granted) = granted {
                granted.write_fields(writer);
            }
        };
        let tag = hex(self.rng.bits());
        let status = granted.err().unwrap_or(Status::OK);
        let head = (status, &b""[..], reply::Tag::Ours(&tag));
        let answer = Answer::written(&mut self.scratch, head, write, b"");
        self.layer.respond(now, server, &answer);
    }
}

/// What a PUBLISH asks for.
type Checked = Result<publication::Asked, publication::Reject>;

/// CC-48: our Contact names the place, so that a PUBLISH to it finds it.
fn contact(hosts: &[Box<str>], flow: &Flow, cce: CceToken) -> String {
    let place = Place {
        host: host_at(hosts, flow.listener),
        transport: flow.transport.is_reliable().then_some("tcp"),
    };
    format!("<{}>", offer::cc_uri(cce, place))
}

pub(super) fn expires_of(request: &Request<'_>) -> Option<Duration> {
    let expires = request.message.first(Name::Expires).and_then(parse_u32);
    expires.map(|seconds| Duration::from_secs(seconds.into()))
}

fn standing(life: Lifetime) -> Standing {
    match life {
        Lifetime::Active(left) => Standing::Active {
            expires_s: whole_seconds(left),
        },
        Lifetime::Terminated(reason) => Standing::Terminated {
            reason: match reason {
                Reason::NoResource => EventReason::NoResource,
                Reason::Probation => EventReason::Probation,
                Reason::Rejected => EventReason::Rejected,
                Reason::Timeout => EventReason::Timeout,
            },
        },
    }
}

/// RFC 3323 §4.1.1.3, RFC 3261 §8.1.1.3: a From that says nothing of its user.
pub(super) fn is_anonymous(from: &Uri<'_>) -> bool {
    let user = from.as_sip().and_then(|uri| uri.user);
    user.is_some_and(|user| user.eq_ignore_ascii_case(b"anonymous"))
}
