//! Requests outside calls that are not for us: who may send them, and where they go.
//!
//! Spec: RFC 3261 §8.2, §16.5; RFC 3428 §8; RFC 6665 §4.1, §4.2; RULES R3, R4, R8, R15.
//!
//! A user of ours sends from where he is registered, a peer from its address, and nobody else: what
//! comes back goes where it was asked for, and no further.

use crate::cc::offer;
use crate::completion::PublishAt;
use crate::dialog::subscription::{PACKAGE, Package};
use crate::dialog::{Dialog, Names, Tag};
use crate::location::{Aor, Gate};
use crate::relay::{self, Errand, Part, Passage, Refused, Subscription, Turn, makes_dialog};
use crate::shard::edge::Source;
use crate::shard::invite::check_breadth;
use crate::shard::relays::{Filed, InHand, Kept, lamp_of};
use crate::shard::terms::Identity;
use crate::shard::watchers::Fallback;
use crate::shard::ways::{Ways, keep_secure, targets};
use crate::shard::{Reject, Settings, Shard};
use crate::sip::flow::Flow;
use crate::sip::{Event, Method, Name, Request, Response, SipUri};
use crate::table::Key;
use crate::time::Timestamp;
use crate::transaction::clients::Failure;

impl Shard {
    /// Whether a SUBSCRIBE or PUBLISH is about completion here, rather than for somebody behind us.
    ///
    /// R15: what phones ask for besides completion is for the PBX to tell.
    pub(super) fn is_about_completion(&self, flow: &Flow, request: &Request<'_>) -> bool {
        if !self.has_others(flow) {
            // There is nobody else who could tell.
            return true;
        }
        if !self.settings.completion.enabled {
            return false;
        }
        let uri = request.uri.as_sip();
        let names_entry = |uri: &SipUri<'_>| self.entry_in(uri).is_some();
        if request.method == Method::Publish && uri.as_ref().is_some_and(names_entry) {
            return true;
        }
        if self.settings.is_trunk && !uri.as_ref().is_some_and(names_queue) {
            // R11: the users are the peers', and so are their queues.
            return false;
        }
        if !uri.is_some_and(|uri| self.domains.is_own(&uri)) {
            return false;
        }
        if request.method == Method::Publish {
            return self.is_published_here(flow, request);
        }
        Event::of(&request.message).is_some_and(|event| event.is(PACKAGE))
    }

    /// CC-48: by its Request-URI, or because its sender waits in a queue of ours.
    fn is_published_here(&self, flow: &Flow, request: &Request<'_>) -> bool {
        if request.uri.as_sip().as_ref().is_some_and(names_queue) {
            return true;
        }
        let sender = self.sender(flow, request);
        let caller = self.caller_name(request, flow, sender.as_ref());
        let at = self.published_at(request);
        let has_entry = |at: PublishAt| self.desk.service.published(&at, caller.as_ref());
        at.and_then(has_entry).is_some()
    }

    /// Whether a request comes from a configured peer.
    pub(super) fn is_peer(&self, flow: &Flow) -> bool {
        self.peer_of(flow).is_some()
    }

    /// Whether a request of a kind that means nothing to us may mean something to somebody else.
    pub(super) fn passes(&self, flow: &Flow, request: &Request<'_>) -> bool {
        self.has_others(flow) && self.relay_sender(flow, request).is_ok()
    }

    /// Whether there is somebody besides our own users who may be meant.
    pub(super) fn has_others(&self, flow: &Flow) -> bool {
        self.settings.upstream.is_some() || self.is_peer(flow)
    }

    /// Whether an OPTIONS of a user of ours is about what is behind us, rather than about us or
    /// another user of ours.
    pub(super) fn asks_others(&self, flow: &Flow, request: &Request<'_>) -> bool {
        let uri = request.uri.as_sip();
        let is_elsewhere = uri.is_some_and(|uri| !self.domains.is_own(&uri));
        let upstream = self.settings.upstream.as_ref();
        is_elsewhere && upstream.is_some() && self.sender(flow, request).is_some()
    }

    /// A request outside of any dialog that is for somebody else.
    pub(super) fn on_relay(
        &mut self,
        now: Timestamp,
        flow: &Flow,
        request: &Request<'_>,
    ) -> Result<(), Reject> {
        self.relay_with(now, flow, request, None)
    }

    /// The same, of a SUBSCRIBE that is answered in another way if it is refused.
    pub(super) fn relay_with(
        &mut self,
        now: Timestamp,
        flow: &Flow,
        request: &Request<'_>,
        fallback: Option<Box<Fallback>>,
    ) -> Result<(), Reject> {
        let is_event = matches!(request.method, Method::Publish | Method::Subscribe);
        // S-120
        if is_event && Event::of(&request.message).is_none() {
            return Err(Reject::EventUnknown);
        }
        let sender = self.relay_sender(flow, request)?;
        let mut ways = self.relay_ways(now, flow, (request, sender.is_some()))?;
        keep_secure(&request.uri, &mut ways)?;
        check_breadth(request, &ways)?;
        let identity = self.identity_across(flow, &ways);
        let request = &Request {
            message: Self::for_other_side(identity, request.message),
            ..*request
        };
        if makes_dialog(request.method) {
            let kept = self.kept_beside(flow, request, (sender, fallback));
            let kept = Kept { identity, ..kept };
            self.relay_opening(now, flow, request, (kept, &ways))
        } else {
            self.relays.shown = self.summary_unasked(now, flow, request);
            self.relay_passage(now, flow, request, &ways)
        }
    }

    /// R4, R8: a user of ours who has proven himself; `None` for a peer.
    fn relay_sender(&self, flow: &Flow, request: &Request<'_>) -> Result<Option<Aor>, Reject> {
        match self.source(flow, request) {
            Source::Peer(_) => Ok(None),
            Source::Phone(user) => Ok(Some(user)),
            Source::Stranger => match self.sender(flow, request) {
                Some(user) => Ok(Some(user)),
                None => Err(Reject::SourceForeign),
            },
        }
    }

    /// Where a request goes that is not for us.
    fn relay_ways(
        &self,
        now: Timestamp,
        flow: &Flow,
        (request, is_user): (&Request<'_>, bool),
    ) -> Result<Ways, Reject> {
        if let Some((way, _)) = self.way_to_named(request, &[Name::TargetDialog]) {
            // S-166: to the other end of the call that it is about.
            return Ok(Ways::from_iter([way]));
        }
        if let Some(routed) = self.by_table(now, request, flow) {
            return routed.map(|routed| routed.ways);
        }
        if let Some(routed) = self.where_to(now, flow, request) {
            return routed.map(|routed| routed.ways);
        }
        let callee = self.domains.aor(&request.uri);
        let asks_for_state = matches!(request.method, Method::Publish | Method::Subscribe);
        // What a user's state is, the PBX tells, which has all of it.
        if !(is_user && asks_for_state)
            && let Some(callee) = &callee
        {
            let home = self.ways_to(now, callee);
            if !home.is_empty() {
                return Ok(home);
            }
        }
        let may_go_up = is_user || !self.is_upstream(flow);
        if may_go_up && self.settings.upstream.is_some() {
            let (_, way) = self.way_upstream(request, flow)?;
            return Ok(Ways::from_iter([way]));
        }
        if is_user && asks_for_state {
            return Err(Reject::EventUnknown);
        }
        match callee {
            Some(callee) if self.registrar.is_known(&callee) => Err(Reject::UserUnregistered),
            Some(_) | None => Err(Reject::UserUnknown),
        }
    }

    fn kept_beside(
        &self,
        flow: &Flow,
        request: &Request<'_>,
        (owner, fallback): (Option<Aor>, Option<Box<Fallback>>),
    ) -> Kept {
        let event = Event::of(&request.message).filter(|_| request.method == Method::Subscribe);
        let is_lamp = event.is_some_and(|event| event.is(Package::Dialog.as_str()));
        let target = is_lamp.then(|| self.domains.aor(&request.uri)).flatten();
        let lamp = owner.as_ref().zip(target);
        Kept {
            lamp: lamp.map(|(owner, target)| lamp_of(owner, flow, &target)),
            is_lit: owner
                .as_ref()
                .is_some_and(|owner| self.is_about_shared_lamp(owner, request)),
            owner,
            fallback,
            identity: Identity::default(),
        }
    }

    fn is_upstream(&self, flow: &Flow) -> bool {
        let peer = self.peer_of(flow);
        peer.is_some_and(|(id, _)| id == Settings::UPSTREAM)
    }

    fn relay_passage(
        &mut self,
        now: Timestamp,
        flow: &Flow,
        request: &Request<'_>,
        ways: &Ways,
    ) -> Result<(), Reject> {
        let relays = &mut self.relays;
        let key = relays.passages.reserve().map_err(|_| Reject::TableFull)?;
        let user = Some(Part::Passage.user(key));
        let Ok(server) = self.layer.accept(now, request, flow, user) else {
            relays.passages.discard(key);
            return Err(Reject::TableFull);
        };
        relays.in_hand = Some(InHand::Passage(key));
        let errand = Errand {
            request,
            flow,
            server,
            names: Names::of(self.layer.digester(), request, flow),
            targets: &targets(ways),
        };
        let passage = self.with_relay_turn(now, |turn| Passage::send(key, turn, &errand));
        self.relays.put_passage(key, passage);
        self.counters.requests_relayed += 1;
        Ok(())
    }

    fn relay_opening(
        &mut self,
        now: Timestamp,
        flow: &Flow,
        request: &Request<'_>,
        (kept, ways): (Kept, &Ways),
    ) -> Result<(), Reject> {
        let owner = kept.owner.as_ref();
        if request.message.values(Name::Contact).next().is_none() {
            return Err(Reject::ContactMissing);
        }
        if owner.is_some_and(|owner| self.relays.is_full(owner)) {
            return Err(Reject::TooManySubscriptions);
        }
        let relays = &mut self.relays;
        let key = relays.subscriptions.reserve();
        let key = key.map_err(|_| Reject::TableFull)?;
        let user = Some(Part::Opening(0).user(key));
        let Ok(server) = self.layer.accept(now, request, flow, user) else {
            relays.subscriptions.discard(key);
            return Err(Reject::TableFull);
        };
        relays.in_hand = Some(InHand::Subscription(key, Filed::default()));
        let mut names = Names::of(self.layer.digester(), request, flow);
        if relays.by_far_tag.contains_key(&names.tag) {
            // It asks twice, and each answer is to find its own.
            names = Names::random(&mut self.rng);
        }
        let mut near = Dialog::of_server(request, flow, Tag::new(key, &mut self.rng));
        // R8: a spoofed datagram must not have somebody else told; R22: behind a NAT, a phone is
        // where it registered from.
        match (owner, &self.edge) {
            (Some(_), Some(_)) => near.keep_to_flow(flow),
            (Some(_), None) => near.keep_to(flow),
            (None, _) => {}
        }
        let errand = Errand {
            request,
            flow,
            server,
            names,
            targets: &targets(ways),
        };
        let opened = self.with_relay_turn(now, |turn| Subscription::open(key, turn, &errand, near));
        self.relays.in_hand = None;
        match opened {
            Some(subscription) => self.relays.file(key, subscription, kept),
            None => {
                self.relays.subscriptions.discard(key);
            }
        }
        self.counters.subscriptions_relayed += 1;
        Ok(())
    }

    /// A request within a subscription that passes through; `None` if it is within none.
    pub(super) fn on_request_relayed(
        &mut self,
        now: Timestamp,
        flow: &Flow,
        request: &Request<'_>,
    ) -> Option<Result<(), Reject>> {
        let key = self.relays.find(request)?;
        let held = self.relays.subscriptions.get(key)?;
        let at = held.subscription.locate(now, request)?;
        if request.max_forwards == Some(0) {
            return Some(Err(Reject::TooManyHops));
        }
        let identity = held.filed.identity;
        let owner = held.filed.owner.as_ref();
        let moved = match at.side {
            relay::Side::Subscriber => {
                owner.is_none_or(|owner| self.registrar.is_registered_at(owner, flow))
            }
            relay::Side::Notifier => false,
        };
        let request = &Request {
            message: Self::for_other_side(identity, request.message),
            ..*request
        };
        if at.side == relay::Side::Notifier {
            let shown = self.without_aliases(now, &request.message);
            self.relays.shown = shown.or_else(|| self.summary_within(key, request));
        }
        let handled = self.with_subscription(now, key, |subscription, turn| {
            subscription.handle_request(turn, at, request, (flow, moved))
        });
        handled.map(|handled| {
            handled.map_err(|refused| match refused {
                Refused::Full => Reject::TableFull,
                Refused::Gone => Reject::NoSuchCall,
                Refused::OutOfOrder => Reject::OutOfOrder,
            })
        })
    }

    /// Takes an answer to a request that passed through.
    pub(super) fn on_relay_response(
        &mut self,
        now: Timestamp,
        (key, part): (Key, Part),
        response: &Response<'_>,
    ) {
        match part {
            Part::Passage => self.with_passage(now, key, |passage, turn| {
                passage.handle_response(turn, response)
            }),
            Part::Opening(target) => {
                self.with_subscription(now, key, |subscription, turn| {
                    subscription.handle_opening(turn, target, response);
                });
            }
            Part::Exchange(number) => {
                self.with_subscription(now, key, |subscription, turn| {
                    subscription.handle_exchange(turn, number, response);
                });
            }
        }
    }

    /// A request that may make a subscription went on to another server.
    pub(super) fn on_opening_moved(
        &mut self,
        now: Timestamp,
        (key, target): (Key, u8),
        flow: &Flow,
    ) {
        self.with_subscription(now, key, |subscription, _| {
            subscription.handle_moved(target, flow);
        });
    }

    /// Takes the failure of a request that passed through and that nobody answered.
    pub(super) fn on_relay_failure(
        &mut self,
        now: Timestamp,
        (key, part): (Key, Part),
        failure: Failure,
    ) {
        match part {
            Part::Passage => self.with_passage(now, key, |passage, turn| {
                passage.handle_failure(turn, failure)
            }),
            Part::Opening(_) => {
                self.with_subscription(now, key, |subscription, turn| {
                    subscription.handle_opening_failure(turn, failure);
                });
            }
            Part::Exchange(number) => {
                self.with_subscription(now, key, |subscription, turn| {
                    subscription.handle_exchange_failure(turn, number, failure);
                });
            }
        }
    }

    /// Forgets the subscriptions that have run out.
    pub(super) fn wake_relays(&mut self, now: Timestamp) {
        while let Some((_, key)) = self.relays.deadlines.first().filter(|(due, _)| *due <= now) {
            let key = *key;
            self.with_subscription(now, key, Subscription::handle_timeout);
        }
    }

    fn with_passage(
        &mut self,
        now: Timestamp,
        key: Key,
        act: impl FnOnce(Passage, &mut Turn<'_>) -> Option<Passage>,
    ) {
        // It has been answered already, by another target.
        let Some(passage) = self.relays.passages.take(key) else {
            return;
        };
        self.relays.in_hand = Some(InHand::Passage(key));
        let left = self.with_relay_turn(now, |turn| act(passage, turn));
        self.relays.put_passage(key, left);
    }

    /// Takes a subscription out of its slot, lets it act, and puts it back unless it is over.
    pub(super) fn with_subscription<R>(
        &mut self,
        now: Timestamp,
        key: Key,
        act: impl FnOnce(&mut Subscription, &mut Turn<'_>) -> R,
    ) -> Option<R> {
        let mut held = self.relays.subscriptions.take(key)?;
        let in_hand = InHand::Subscription(key, held.filed.clone());
        self.relays.in_hand = Some(in_hand);
        let result = self.with_relay_turn(now, |turn| act(&mut held.subscription, turn));
        self.relays.in_hand = None;
        self.relays.put_back(key, held);
        Some(result)
    }

    fn with_relay_turn<R>(&mut self, now: Timestamp, act: impl FnOnce(&mut Turn<'_>) -> R) -> R {
        let shown = self.relays.shown.take();
        let mut turn = Turn {
            now,
            layer: &mut self.layer,
            rng: &mut self.rng,
            contacts: &self.contacts,
            realm: self.gate.as_ref().map(Gate::realm),
            legs: &self.calls,
            body: shown.as_deref(),
            patience: self.settings.timing.t1 * 64,
            scratch: &mut self.scratch,
        };
        act(&mut turn)
    }
}

/// CC-33: whether the URI is one of those that we give to a queue, or to a place in one.
fn names_queue(uri: &SipUri<'_>) -> bool {
    let user = uri.user.and_then(|user| str::from_utf8(user).ok());
    user.is_some_and(|user| offer::named_by(user).is_some())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::random::Rng;
    use crate::shard::settings::Peer;
    use crate::shard::{Input, Listener, Output};
    use crate::sip::flow::{ListenerId, Transport};

    const NOW: Timestamp = Timestamp::START;
    const ALICE: &str = "127.0.0.3:5060";
    const PBX: &str = "127.0.0.2:5060";

    /// A worker in front of a PBX, at which Alice is registered.
    fn shard() -> Shard {
        let listener = Listener::at("127.0.0.1:5060".parse().expect("an address"));
        let pbx = PBX.parse().expect("an address");
        let settings = Settings {
            listeners: vec![listener],
            upstream: Some(Peer::new("upstream", Transport::Udp, pbx)),
            ..Settings::default()
        };
        let mut shard = Shard::new(settings, Rng::from_number(1));
        let register = request("REGISTER", "reg").replace("To: <sip:bob", "To: <sip:alice");
        assert!(receive(&mut shard, ALICE, &register).contains("200 OK"));
        shard
    }

    /// What is sent when this comes.
    fn receive(shard: &mut Shard, from: &str, message: &str) -> String {
        let flow = Flow {
            transport: Transport::Udp,
            listener: ListenerId(0),
            remote: from.parse().expect("an address"),
            connection: None,
        };
        let input = Input::Received {
            flow,
            bytes: message.as_bytes(),
            delay: Duration::ZERO,
        };
        shard.handle_input(NOW, input);
        let mut sent = String::new();
        while let Some(Output::Send { bytes, .. }) = shard.poll_output() {
            sent.push_str(&String::from_utf8_lossy(bytes));
        }
        sent
    }

    fn request(method: &str, call: &str) -> String {
        format!(
            "{method} sip:bob@pbx.example SIP/2.0\r\n\
             Via: SIP/2.0/UDP 127.0.0.3;branch=z9hG4bK{call}{method}\r\n\
             Max-Forwards: 70\r\n\
             From: <sip:alice@127.0.0.1>;tag={call}\r\n\
             To: <sip:bob@127.0.0.1>\r\n\
             Call-ID: {call}\r\n\
             CSeq: 1 {method}\r\n\
             Contact: <sip:alice@127.0.0.3>\r\n\
             Event: dialog\r\n\
             Content-Length: 0\r\n\r\n"
        )
    }

    /// A panic inside a subscription costs that one, and it no longer counts against its user.
    #[test]
    fn a_panic_inside_a_subscription_costs_that_one() {
        let mut shard = shard();
        for call in ["one", "two"] {
            let sent = receive(&mut shard, ALICE, &request("SUBSCRIBE", call));
            assert!(sent.starts_with("SUBSCRIBE "), "{sent}");
        }
        let alice = Aor::of_user(b"alice");
        assert_eq!(shard.relays.by_owner.get(&alice), Some(&2));
        let (key, _) = shard.relays.subscriptions.iter().next().expect("two");
        shard.guarded(NOW, |shard| {
            shard.with_subscription(NOW, key, |_, _| panic!("failpoint"));
        });
        assert_eq!(shard.relays.subscriptions(), 1);
        assert_eq!(shard.relays.subscriptions.taken(), 0);
        assert_eq!(shard.relays.by_far_tag.len(), 1);
        assert_eq!(shard.relays.by_owner.get(&alice), Some(&1));
    }

    /// The phone whose request it was had no answer before its own timer.
    #[test]
    fn a_request_whose_handling_panics_is_answered() {
        let mut shard = shard();
        let sent = receive(&mut shard, ALICE, &request("SUBSCRIBE", "one"));
        assert!(sent.starts_with("SUBSCRIBE "), "{sent}");
        let sent = receive(&mut shard, ALICE, &request("MESSAGE", "two"));
        assert!(sent.starts_with("MESSAGE "), "{sent}");
        let (key, _) = shard.relays.subscriptions.iter().next().expect("one");
        shard.guarded(NOW, |shard| {
            shard.with_subscription(NOW, key, |_, _| panic!("failpoint"));
        });
        let (key, _) = shard.relays.passages.iter().next().expect("one");
        shard.guarded(NOW, |shard| {
            shard.with_passage(NOW, key, |_, _| panic!("failpoint"));
        });
        let mut answers = Vec::new();
        while let Some(Output::Send { bytes, .. }) = shard.poll_output() {
            answers.push(String::from_utf8_lossy(bytes).into_owned());
        }
        let [first, second] = answers.as_slice() else {
            panic!("{answers:?}");
        };
        for (answer, method) in [(first, "SUBSCRIBE"), (second, "MESSAGE")] {
            assert!(answer.starts_with("SIP/2.0 500 "), "{answer}");
            assert!(answer.contains(&format!("CSeq: 1 {method}")), "{answer}");
        }
        assert_eq!(shard.relays.passages(), 0);
    }

    /// The number of a request is below 2^31, whatever the phone wrote: one more than the highest
    /// would be none.
    #[test]
    fn the_highest_number_is_followed_by_another() {
        let mut shard = shard();
        let highest = request("SUBSCRIBE", "high").replace("CSeq: 1 ", "CSeq: 4294967295 ");
        let sent = receive(&mut shard, ALICE, &highest);
        assert!(sent.contains("CSeq: 2147483647 SUBSCRIBE"), "{sent}");
        let (key, _) = shard.relays.subscriptions.iter().next().expect("one");
        shard.with_subscription(NOW, key, |subscription, turn| {
            subscription.handle_opening_failure(turn, Failure::TimedOut);
        });
        assert_eq!(shard.relays.subscriptions(), 0);
        assert_eq!(shard.counters.panics, 0);
    }
}
