//! Our callers' agents on the wire: SUBSCRIBE and PUBLISH to queues elsewhere, and their NOTIFYs.
//!
//! Spec: RFC 6665 §4.1; RFC 3903 §4; RFC 6910 §6; RULES R7.
//!
//! Whatever a peer's addresses say, all of it goes to that peer.

use std::time::Duration;

use smallvec::SmallVec;

use crate::cc::addr::AddrSpec;
use crate::cc::agent::{Life, Notice, PublishTo, Published};
use crate::cc::document::{self, Document};
use crate::cc::{SubscriptionId, pidf};
use crate::completion::{self, Input};
use crate::dialog::publication::PRESENCE;
use crate::dialog::publication::{self, Place};
use crate::dialog::subscription::{
    Answer as Answered, Ask, Fate, Fork, Notified, Origin, Package, Subscriber, Terms,
};
use crate::dialog::{NotSent, Tag, Turn};
use crate::shard::subscriptions::{Agent, Forked, Part, Subscription, whole_seconds};
use crate::shard::{Reject, Shard};
use crate::sip::flow::Flow;
use crate::sip::{CallInfo, EventReason, Message, Name, NameAddr, Request, Response, Substate};
use crate::table::Key;
use crate::time::Timestamp;
use crate::transaction::clients::Failure;
use crate::transaction::fallback::Fallback;
use crate::transaction::servers::Answer;

/// CC-54: what a subscription lasts whose notifier does not say.
const EXPIRES_DEFAULT_S: u32 = 3_600;

impl Shard {
    /// CC-09: asks a monitor elsewhere.
    pub(super) fn send_subscribe(&mut self, now: Timestamp, wish: &completion::Subscription) {
        if self.try_subscribe(now, wish).is_none() {
            self.desk.facts.push_back(Input::Refused {
                subscription: wish.subscription,
                status: 503,
            });
        }
    }

    fn try_subscribe(&mut self, now: Timestamp, wish: &completion::Subscription) -> Option<()> {
        let way = self.way_to_peer(wish.peer, wish.target.as_str().as_bytes())?;
        let way = self.logged_in(wish.peer, way);
        let key = self.desk.subscriptions.reserve().ok()?;
        let tag = Tag::new(key, &mut self.rng);
        // CC-16, CC-17: as in the call that failed.
        let [from, to] = [&wish.from, &wish.to].map(|uri| format!("<{}>", uri.as_str()));
        let ask = Ask {
            uri: &way.uri,
            flow: way.flow,
            others: way.others.as_deref(),
            from: from.as_bytes(),
            to: to.as_bytes(),
            said: &self.told_of(&wish.identity, Some(wish.peer)),
            terms: Terms {
                package: Package::CallCompletion,
                contact: self.contacts.of(&way.flow),
                accept: document::MEDIA_TYPE,
                expires_s: whole_seconds(wish.expires),
            },
            forks_for: self.settings.timing.t1 * 64,
        };
        let turn = &mut Turn {
            now,
            layer: &mut self.layer,
            rng: &mut self.rng,
            scratch: &mut self.scratch,
        };
        let user = Some(Part::Subscription.user(key));
        let Ok(subscriber) = Subscriber::subscribe(turn, &ask, tag, user) else {
            self.desk.subscriptions.give_up(key);
            return None;
        };
        let agent = Agent {
            subscriber,
            flow: way.flow,
            forks: SmallVec::from_iter([Forked::new(wish.subscription)]),
        };
        let agent = Subscription::Agent(Box::new(agent));
        self.desk.subscriptions.fill(key, wish.subscription, agent);
        Some(())
    }

    /// R18: ends a subscription; its last NOTIFY follows.
    pub(super) fn send_unsubscribe(&mut self, now: Timestamp, id: SubscriptionId) {
        if let Some(Err(_)) = self.refresh(now, id, Duration::ZERO) {
            self.desk.facts.push_back(Input::Refused {
                subscription: id,
                status: 503,
            });
        }
    }

    /// What was missed while no process was there is told by the NOTIFY that follows.
    pub(super) fn send_refresh(&mut self, now: Timestamp, id: SubscriptionId, expires: Duration) {
        // One that cannot be sent is none that was missed: it lives until its end.
        if let Some(Ok(())) = self.refresh(now, id, expires)
            && let Some((_, fork, agent)) = self.desk.subscriptions.agent_mut(id)
            && let Some(forked) = agent.forks.get_mut(usize::from(fork.0))
        {
            forked.is_refreshed = true;
        }
    }

    /// A SUBSCRIBE within a subscription; `None` if there is none of this name.
    fn refresh(
        &mut self,
        now: Timestamp,
        id: SubscriptionId,
        expires: Duration,
    ) -> Option<Result<(), NotSent>> {
        let account = self.account_of(id);
        let (key, fork, agent) = self.desk.subscriptions.agent_mut(id)?;
        let terms = Terms {
            package: Package::CallCompletion,
            contact: self.contacts.of(&agent.flow),
            accept: document::MEDIA_TYPE,
            expires_s: whole_seconds(expires),
        };
        let turn = &mut Turn {
            now,
            layer: &mut self.layer,
            rng: &mut self.rng,
            scratch: &mut self.scratch,
        };
        let user = Some(Part::Subscription.user(key));
        let whose = (user, account.as_ref());
        Some(agent.subscriber.refresh(turn, fork, &terms, whose))
    }

    /// How our requests of a subscription are proven, should they be challenged.
    fn account_of(&mut self, id: SubscriptionId) -> Option<Fallback> {
        let (_, _, agent) = self.desk.subscriptions.agent_mut(id)?;
        let flow = agent.flow;
        let (peer, _) = self.peer_of(&flow)?;
        self.settings.login_at(peer).map(Fallback::of_login)
    }

    /// Whether this is the end of a refresh that a subscription need not survive.
    fn ends_refresh(&mut self, key: Key, fork: Fork) -> bool {
        let Some(Subscription::Agent(agent)) = self.desk.subscriptions.get_mut(key) else {
            return false;
        };
        let forked = agent.forks.get_mut(usize::from(fork.0));
        forked.is_some_and(|forked| std::mem::take(&mut forked.is_refreshed))
    }

    pub(super) fn on_subscribe_answered(
        &mut self,
        now: Timestamp,
        key: Key,
        response: &Response<'_>,
    ) {
        let Some(Subscription::Agent(agent)) = self.desk.subscriptions.get_mut(key) else {
            return;
        };
        match agent.subscriber.handle_response(now, response) {
            Some(Answered::Accepted {
                fork,
                origin,
                expires_s,
            }) => {
                let Some(subscription) = self.name_fork(key, fork, origin) else {
                    return;
                };
                self.ends_refresh(key, fork);
                let expires_s = expires_s.unwrap_or(EXPIRES_DEFAULT_S);
                self.desk.facts.push_back(Input::Accepted {
                    subscription,
                    expires: Duration::from_secs(expires_s.into()),
                });
            }
            Some(Answered::Refused { fork, status, fate }) => {
                // S-125
                let is_refresh = self.ends_refresh(key, fork);
                if !is_refresh || fate == Fate::Gone {
                    self.tell_refused(key, fork, status.code());
                }
            }
            None => {}
        }
    }

    pub(super) fn on_subscribe_unanswered(&mut self, key: Key, failure: Failure) {
        let status = match failure {
            Failure::TimedOut => 408,
            Failure::Unreachable => 503,
        };
        // The way to it may be open again before the subscription ends.
        if !self.ends_refresh(key, Fork(0)) {
            self.tell_refused(key, Fork(0), status);
        }
    }

    /// S-101: a SUBSCRIBE of ours went on to another server of the same peer.
    pub(super) fn on_subscribe_moved(&mut self, key: Key, flow: &Flow) {
        if let Some(Subscription::Agent(agent)) = self.desk.subscriptions.get_mut(key) {
            agent.subscriber.handle_moved(flow);
            agent.flow = *flow;
        }
    }

    /// A SUBSCRIBE of ours went again with credentials.
    pub(super) fn on_subscribe_proven(&mut self, key: Key, number: u32) {
        if let Some(Subscription::Agent(agent)) = self.desk.subscriptions.get_mut(key) {
            agent.subscriber.handle_proven(number);
        }
    }

    fn tell_refused(&mut self, key: Key, fork: Fork, status: u16) {
        if let Some(subscription) = self.id_of(key, fork) {
            self.desk.facts.push_back(Input::Refused {
                subscription,
                status,
            });
        }
    }

    fn id_of(&mut self, key: Key, fork: Fork) -> Option<SubscriptionId> {
        match self.desk.subscriptions.get_mut(key)? {
            Subscription::Agent(agent) => Some(agent.forks.get(usize::from(fork.0))?.id),
            Subscription::Monitor(_) => None,
        }
    }

    /// S-129: the subscription of a fork; one that has just shown itself gets a name.
    fn name_fork(&mut self, key: Key, fork: Fork, origin: Origin) -> Option<SubscriptionId> {
        if origin != Origin::Forked {
            return self.id_of(key, fork);
        }
        let of = self.id_of(key, Fork(0))?;
        let subscription = self.desk.service.next_subscription();
        if let Some(Subscription::Agent(agent)) = self.desk.subscriptions.get_mut(key) {
            agent.forks.push(Forked::new(subscription));
        }
        self.desk.subscriptions.name(subscription, key, fork);
        self.desk
            .facts
            .push_back(Input::Forked { of, subscription });
        Some(subscription)
    }

    /// A NOTIFY to an agent of ours.
    pub(super) fn on_notify(
        &mut self,
        now: Timestamp,
        flow: &Flow,
        request: &Request<'_>,
    ) -> Result<(), Reject> {
        let key = self.desk.subscriptions.named_by(request);
        let key = key.ok_or(Reject::NoSuchCall)?;
        let found = self.desk.subscriptions.get_mut(key);
        let Some(Subscription::Agent(agent)) = found else {
            return Err(Reject::NoSuchCall);
        };
        let notified = agent.subscriber.handle_notify(now, request, flow);
        let notified = notified.map_err(Reject::of_notify)?;
        if notified.origin == Origin::First
            && let Some(way) = agent.subscriber.flow()
        {
            agent.flow = way;
        }
        // A fork is one, whatever its body says.
        let subscription = self.name_fork(key, notified.fork, notified.origin);
        let notice = notice(&request.message, &notified)?;
        let server = self.layer.accept(now, request, flow, None);
        let server = server.map_err(|_| Reject::TableFull)?;
        // CC-75: before anything comes of it.
        self.layer.respond(now, server, &Answer::OK);
        if let Some(subscription) = subscription {
            self.desk.facts.push_back(Input::Notified {
                subscription,
                notice,
            });
        }
        Ok(())
    }

    /// CC-24, CC-27: tells a monitor elsewhere whether its caller can be recalled.
    pub(super) fn send_publish(&mut self, now: Timestamp, wish: &completion::Publication) {
        if self.try_publish(now, wish).is_none() {
            self.tell_published(wish.subscription, Published::Failed);
        }
    }

    fn try_publish(&mut self, now: Timestamp, wish: &completion::Publication) -> Option<()> {
        let account = self.account_of(wish.subscription);
        let said = self.told_of(&wish.identity, Some(wish.peer));
        let (key, fork, agent) = self.desk.subscriptions.agent_mut(wish.subscription)?;
        let Agent {
            subscriber,
            flow,
            forks,
            ..
        } = agent;
        let forked = forks.get_mut(usize::from(fork.0))?;
        let from = format!("<{}>", wish.from.as_str());
        let to;
        let place = match &wish.to {
            PublishTo::Dialog => Place::Dialog(subscriber.dialog_mut(fork)?),
            PublishTo::Address(uri) => {
                to = format!("<{}>", uri.as_str());
                Place::Address {
                    uri: uri.as_str().as_bytes(),
                    flow: *flow,
                    from: from.as_bytes(),
                    to: to.as_bytes(),
                }
            }
        };
        let body = pidf::write(&wish.from, wish.basic);
        let publish = publication::Publish {
            said: &said,
            event: PRESENCE,
            // CC-25
            expires_s: whole_seconds(wish.expires),
            content_type: pidf::MEDIA_TYPE,
            body: body.as_bytes(),
        };
        let turn = &mut Turn {
            now,
            layer: &mut self.layer,
            rng: &mut self.rng,
            scratch: &mut self.scratch,
        };
        let user = Some(Part::Publish(fork).user(key));
        let (publisher, whose) = (&forked.publisher, (user, account.as_ref()));
        publisher.publish(turn, place, &publish, whose).ok()?;
        forked.publication = Some(Box::new(wish.clone()));
        Some(())
    }

    pub(super) fn on_publish_answered(
        &mut self,
        now: Timestamp,
        (key, fork): (Key, Fork),
        response: &Response<'_>,
    ) {
        let Some(Subscription::Agent(agent)) = self.desk.subscriptions.get_mut(key) else {
            return;
        };
        let Some(forked) = agent.forks.get_mut(usize::from(fork.0)) else {
            return;
        };
        let Some(answer) = forked.publisher.handle_response(response) else {
            return;
        };
        let (id, publication) = (forked.id, forked.publication.take());
        match (answer, publication) {
            (publication::Answer::Done, _) => self.tell_published(id, Published::Done),
            // S-153
            (publication::Answer::Again, Some(wish)) => self.send_publish(now, &wish),
            (publication::Answer::TooBrief(Some(least_s)), Some(mut wish))
                if whole_seconds(wish.expires) < least_s =>
            {
                wish.expires = Duration::from_secs(least_s.into());
                self.send_publish(now, &wish);
            }
            (
                publication::Answer::Again
                | publication::Answer::Failed(_)
                | publication::Answer::TooBrief(_),
                _,
            ) => self.tell_published(id, Published::Failed),
        }
    }

    pub(super) fn on_publish_unanswered(&mut self, key: Key, fork: Fork) {
        if let Some(id) = self.id_of(key, fork) {
            self.tell_published(id, Published::Failed);
        }
    }

    fn tell_published(&mut self, subscription: SubscriptionId, how: Published) {
        self.desk
            .facts
            .push_back(Input::Published { subscription, how });
    }
}

/// What a NOTIFY says (CC-61, CC-62).
fn notice(message: &Message<'_>, notified: &Notified<'_>) -> Result<Notice, Reject> {
    let is_over = notified.state.substate == Substate::Terminated;
    let life = if is_over {
        document::Life::Terminated
    } else {
        document::Life::Active
    };
    let is_ours = |item: &crate::sip::Item<'_>| item.is(document::MEDIA_TYPE);
    if !notified.body.is_empty() && !notified.content_type.as_ref().is_some_and(is_ours) {
        return Err(Reject::MediaTypeUnknown);
    }
    let document = Document::parse(notified.body, life).map_err(|_| Reject::DocumentBroken)?;
    let address = |text: &[u8]| AddrSpec::new(str::from_utf8(text).ok()?).ok();
    let contact = message.values(Name::Contact).next();
    let contact = contact.and_then(|contact| NameAddr::parse(contact).ok());
    let left_s = notified.state.expires_s.unwrap_or(EXPIRES_DEFAULT_S);
    Ok(Notice {
        state: document.state,
        life: match (is_over, notified.state.reason) {
            (false, _) => Life::Active(Duration::from_secs(left_s.into())),
            (true, Some(EventReason::Timeout)) => Life::TimedOut,
            (true, _) => Life::Ended,
        },
        retention: document.retention,
        cc_uri: document.uri,
        call_info: CallInfo::offers(message)
            .next()
            .and_then(|offer| address(offer.uri.text())),
        contact: contact.and_then(|contact| address(contact.uri.text())),
    })
}
