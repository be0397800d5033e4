//! A caller at a peer whose phone is his agent: it subscribes, and makes its CC calls itself.
//!
//! Spec: RFC 6910 §6; RFC 6665 §4.1; RFC 3903 §4.

use std::net::SocketAddr;
use std::time::Duration;

use campon::time::Timestamp;

use super::usage::{Usage, Wish, pidf};
use super::user::{errand, manners};
use crate::flow::kit::message::{Message, uri_of};
use crate::sim::call::Errand;
use crate::sim::phone::Phone;

/// What the agent does.
#[derive(Clone, Debug)]
pub(crate) enum Deed {
    Dials(Errand),
    Subscribes { uri: String, to: String },
    Refreshes(String),
    Unsubscribes(String),
    Publishes(String, &'static str),
    Calls(String),
}

/// The caller, his phone and its subscriptions.
pub(crate) struct Agent {
    pub(crate) phone: Phone,
    pub(crate) agenda: Vec<(Timestamp, Deed)>,
    subscriptions: Vec<Subscription>,
}

struct Subscription {
    usage: Usage,
    to: String,
    stands: Stands,
    is_ready: bool,
    cc_uri: Option<String>,
    publication: Usage,
    etag: Option<String>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stands {
    Asked,
    Live,
    Over,
}

impl Agent {
    pub(crate) fn new(mut phone: Phone) -> Self {
        phone.has_owner = true;
        phone.has_forks = false;
        phone.manners = manners;
        Self {
            phone,
            agenda: Vec::new(),
            subscriptions: Vec::new(),
        }
    }

    pub(crate) fn plan(&mut self, now: Timestamp, after_ms: u64, deed: Deed) {
        let at = now + Duration::from_millis(after_ms);
        self.agenda.push((at, deed));
    }

    pub(crate) fn act(&mut self, now: Timestamp, deed: Deed) {
        match deed {
            Deed::Dials(errand) => self.phone.dial(now, &errand),
            Deed::Subscribes { uri, to } => self.subscribe(now, &uri, to),
            Deed::Refreshes(id) => self.subscribe_again(now, &id, "60"),
            Deed::Unsubscribes(id) => self.subscribe_again(now, &id, "0"),
            Deed::Publishes(id, basic) => self.publish(now, &id, basic),
            Deed::Calls(id) => self.call(now, &id),
        }
    }

    /// Takes in what the phone was asked and told.
    pub(crate) fn react(&mut self, now: Timestamp) {
        for (from, request) in std::mem::take(&mut self.phone.asked) {
            match request.kind() {
                "NOTIFY" => self.on_notify(now, from, request),
                _ => self.phone.answer(now, from, request, 405),
            }
        }
        for (request, response) in std::mem::take(&mut self.phone.told) {
            match request.kind() {
                "INVITE" => self.on_call_failed(now, &request, &response),
                "SUBSCRIBE" => self.on_subscribed(now, &request, &response),
                "PUBLISH" => self.on_published(&request, &response),
                _ => {}
            }
        }
    }

    fn on_call_failed(&mut self, now: Timestamp, request: &Message, response: &Message) {
        let Some(info) = response.find("Call-Info") else {
            return;
        };
        if response.status() < 300 || self.phone.rng.below(10) == 0 {
            return;
        }
        self.phone.count("offers received");
        let uri = uri_of(info).to_owned();
        let to = request.header("To").to_owned();
        let wait = 50 + self.phone.rng.below(3_000);
        self.plan(now, wait, Deed::Subscribes { uri, to });
    }

    fn subscribe(&mut self, now: Timestamp, uri: &str, to: String) {
        let mut usage = Usage::of_client(&mut self.phone, uri, &to);
        let expires = [
            "",
            "Expires: 20\r\n",
            "Expires: 60\r\n",
            "Expires: 3600\r\n",
        ];
        let expires = expires[super::user::index(self.phone.rng.below(4))];
        let lines =
            format!("Event: call-completion\r\nAccept: application/call-completion\r\n{expires}");
        usage.send(now, &mut self.phone, subscribe(&lines));
        self.phone.count("SUBSCRIBEs");
        self.subscriptions.push(Subscription {
            publication: Usage::of_client(&mut self.phone, "", &to),
            usage,
            to,
            stands: Stands::Asked,
            is_ready: false,
            cc_uri: None,
            etag: None,
        });
    }

    fn subscribe_again(&mut self, now: Timestamp, id: &str, expires: &str) {
        let Some(subscription) = find(&mut self.subscriptions, id) else {
            return;
        };
        if subscription.stands != Stands::Live {
            return;
        }
        let lines = format!("Event: call-completion\r\nExpires: {expires}\r\n");
        let what = match expires {
            "0" => "unsubscribed",
            _ => "refreshed",
        };
        subscription
            .usage
            .send(now, &mut self.phone, subscribe(&lines));
        self.phone.count(what);
    }

    fn on_subscribed(&mut self, now: Timestamp, request: &Message, response: &Message) {
        let Some(subscription) = find(&mut self.subscriptions, request.call_id()) else {
            return;
        };
        let id = request.call_id().to_owned();
        if !request.tag_of_to().is_empty() {
            if response.status() == 481 {
                subscription.stands = Stands::Over;
            }
            return;
        }
        if response.status() != 200 {
            subscription.stands = Stands::Over;
            return self.phone.count("SUBSCRIBEs refused");
        }
        if subscription.stands == Stands::Asked {
            subscription.stands = Stands::Live;
        }
        response
            .header("To")
            .clone_into(&mut subscription.usage.remote);
        response
            .contact()
            .clone_into(&mut subscription.usage.target);
        self.phone.count("SUBSCRIBEs accepted");
        let expires: u64 = response.header("Expires").parse().expect("a number");
        if self.phone.rng.below(3) > 0 {
            self.plan(now, expires * 600, Deed::Refreshes(id.clone()));
        }
        self.plan_moods(now, &id);
    }

    fn plan_moods(&mut self, now: Timestamp, id: &str) {
        let (first, second) = (self.phone.rng.below(15_000), self.phone.rng.below(15_000));
        let id = id.to_owned();
        match self.phone.rng.below(10) {
            0..2 => self.plan(now, first, Deed::Unsubscribes(id)),
            2..6 => {
                self.plan(now, first, Deed::Publishes(id.clone(), "closed"));
                if self.phone.rng.below(4) > 0 {
                    self.plan(now, first + second, Deed::Publishes(id, "open"));
                }
            }
            6 => self.plan(now, first, Deed::Refreshes(id)),
            _ => {}
        }
    }

    fn on_notify(&mut self, now: Timestamp, from: SocketAddr, request: Message) {
        let Some(subscription) = find(&mut self.subscriptions, request.call_id()) else {
            return self.phone.answer(now, from, request, 481);
        };
        if subscription.stands == Stands::Over {
            return self.phone.answer(now, from, request, 481);
        }
        if !subscription.usage.is_in_order(&request) {
            return self.phone.answer(now, from, request, 500);
        }
        subscription.stands = Stands::Live;
        request
            .header("From")
            .clone_into(&mut subscription.usage.remote);
        request.contact().clone_into(&mut subscription.usage.target);
        if let Some(uri) = line_of(&request, "cc-URI") {
            subscription.cc_uri = Some(uri);
        }
        let was_ready = subscription.is_ready;
        subscription.is_ready = line_of(&request, "cc-state").as_deref() == Some("ready");
        let becomes_ready = subscription.is_ready && !was_ready;
        if request.header("Subscription-State").starts_with("term") {
            subscription.stands = Stands::Over;
            self.phone.count("told that it is over");
        }
        let id = request.call_id().to_owned();
        self.phone.answer(now, from, request, 200);
        if becomes_ready {
            self.on_ready(now, id);
        }
    }

    fn on_ready(&mut self, now: Timestamp, id: String) {
        self.phone.count("ready");
        let wait = self.phone.rng.below(3_500);
        match self.phone.rng.below(20) {
            0..3 => {}
            3 => self.plan(now, wait, Deed::Unsubscribes(id)),
            4 => self.plan(now, wait, Deed::Publishes(id, "closed")),
            _ => self.plan(now, wait, Deed::Calls(id)),
        }
    }

    fn call(&mut self, now: Timestamp, id: &str) {
        let Some(subscription) = find(&mut self.subscriptions, id) else {
            return;
        };
        if subscription.stands != Stands::Live {
            return;
        }
        let original = uri_of(&subscription.to).to_owned();
        let cc_uri = subscription
            .cc_uri
            .clone()
            .unwrap_or_else(|| original.clone());
        let uri = match self.phone.rng.below(10) {
            0 => original,
            1 | 2 => format!("{original};m=BS"),
            _ => format!("{cc_uri};m=BS"),
        };
        self.phone.count("CC calls of agents");
        let (patience, talk) = (
            500 + self.phone.rng.below(8_000),
            self.phone.rng.below(8_000),
        );
        self.phone.dial(now, &errand(uri, patience, 300 + talk));
    }

    fn publish(&mut self, now: Timestamp, id: &str, basic: &'static str) {
        let Some(subscription) = find(&mut self.subscriptions, id) else {
            return;
        };
        let Some(cc_uri) = subscription
            .cc_uri
            .clone()
            .filter(|_| subscription.stands == Stands::Live)
        else {
            return;
        };
        let known = subscription.etag.as_ref();
        let known = known.map(|etag| format!("SIP-If-Match: {etag}\r\n"));
        let known = known.unwrap_or_default();
        let expires = 10 + self.phone.rng.below(60);
        let lines = format!("Event: presence\r\nExpires: {expires}\r\n{known}");
        let entity = format!("sip:{}@{}", self.phone.user, self.phone.domain);
        let wish = Wish {
            method: "PUBLISH",
            lines: &lines,
            body: &pidf(&entity, basic),
        };
        self.phone.count(match basic {
            "open" => "resumed",
            _ => "suspended",
        });
        if self.phone.rng.below(3) == 0 {
            return subscription.usage.send(now, &mut self.phone, wish);
        }
        subscription.publication.target.clone_from(&cc_uri);
        subscription.publication.send(now, &mut self.phone, wish);
    }

    fn on_published(&mut self, request: &Message, response: &Message) {
        let is_about = |it: &&mut Subscription| {
            let id = request.call_id();
            it.publication.call_id == id || it.usage.call_id == id
        };
        let Some(subscription) = self.subscriptions.iter_mut().find(is_about) else {
            return;
        };
        subscription.etag = response.find("SIP-ETag").map(str::to_owned);
        self.phone.count(match response.status() {
            200 => "PUBLISHs accepted",
            _ => "PUBLISHs refused",
        });
    }
}

fn find<'s>(all: &'s mut [Subscription], id: &str) -> Option<&'s mut Subscription> {
    all.iter_mut().find(|one| one.usage.call_id == id)
}

fn subscribe(lines: &str) -> Wish<'_> {
    Wish {
        method: "SUBSCRIBE",
        lines,
        body: "",
    }
}

/// A line of a call-completion document.
pub(crate) fn line_of(notify: &Message, name: &str) -> Option<String> {
    let body = String::from_utf8_lossy(notify.body());
    let line = body.lines().find_map(|line| line.strip_prefix(name));
    line.map(|line| line.trim_start_matches(':').trim().to_owned())
}
