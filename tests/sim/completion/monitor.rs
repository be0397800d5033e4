//! A callee behind the upstream, whose PBX has a queue of its own.
//!
//! Spec: RFC 6910 §7; RFC 6665 §4.2; RFC 3903 §6.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use campon::time::Timestamp;

use super::usage::{Usage, Wish};
use super::user::{index, manners};
use crate::flow::kit::message::Message;
use crate::sim::call::{Act, Call};
use crate::sim::phone::Phone;

/// What the monitor does: it moves on with this subscription.
#[derive(Clone, Debug)]
pub(crate) struct MovesOn(String);

/// The callee and his queue.
pub(crate) struct Monitor {
    pub(crate) phone: Phone,
    pub(crate) agenda: Vec<(Timestamp, MovesOn)>,
    entries: Vec<Entry>,
    /// The Call-IDs of SUBSCRIBEs that it does not hear.
    deaf_to: BTreeSet<String>,
    /// Until then entries become ready.
    lives_until: Timestamp,
    cc_uri: &'static str,
}

struct Entry {
    usage: Usage,
    state: &'static str,
    is_over: bool,
    etag: Option<String>,
    is_suspended: bool,
}

impl Monitor {
    /// With a name of its own in its cc-URI, or with the callee's.
    pub(crate) fn new(mut phone: Phone, cc_uri: &'static str, lives_until: Timestamp) -> Self {
        phone.has_owner = true;
        phone.has_forks = false;
        phone.manners = busy_manners;
        phone.adds = format!(
            "Call-Info: <sip:queue@{}>;purpose=call-completion;m=BS\r\n",
            phone.address
        );
        Self {
            phone,
            agenda: Vec::new(),
            entries: Vec::new(),
            deaf_to: BTreeSet::new(),
            lives_until,
            cc_uri,
        }
    }

    pub(crate) fn act(&mut self, now: Timestamp, MovesOn(id): MovesOn) {
        let Some(at) = self.entry(&id) else { return };
        let entry = &mut self.entries[at];
        if entry.is_over {
            return;
        }
        let is_end = self.phone.rng.below(10) == 0 || now >= self.lives_until;
        if is_end {
            return self.end(now, at, "noresource");
        }
        entry.state = match entry.state {
            "queued" if !entry.is_suspended => "ready",
            _ => "queued",
        };
        if entry.state == "ready" {
            self.phone.count("ready elsewhere");
        }
        self.notify(now, at, "active;expires=60");
        self.plan(now, id);
    }

    /// Takes in what the phone was asked and told.
    pub(crate) fn react(&mut self, now: Timestamp) {
        for (from, request) in std::mem::take(&mut self.phone.asked) {
            match request.kind() {
                "SUBSCRIBE" if request.tag_of_to().is_empty() => {
                    self.on_subscribe(now, from, request);
                }
                "SUBSCRIBE" => self.on_subscribe_again(now, from, request),
                "PUBLISH" => self.on_publish(now, from, request),
                _ => self.phone.answer(now, from, request, 405),
            }
        }
        for (request, response) in std::mem::take(&mut self.phone.told) {
            if request.kind() == "NOTIFY"
                && response.status() == 481
                && let Some(at) = self.entry(request.call_id())
            {
                self.entries[at].is_over = true;
            }
        }
    }

    fn on_subscribe(&mut self, now: Timestamp, from: SocketAddr, request: Message) {
        if self.deaf_to.contains(request.call_id()) {
            return;
        }
        self.phone.count("SUBSCRIBEs of campon");
        match self.phone.rng.below(20) {
            0 => {
                self.deaf_to.insert(request.call_id().to_owned());
                return self.phone.count("SUBSCRIBEs not heard");
            }
            1 => return self.phone.answer(now, from, request, 480),
            _ => {}
        }
        let copy = request.clone();
        let lines = "Expires: 60\r\n";
        let tag = self.phone.answer_with(now, from, request, (200, lines));
        self.entries.push(Entry {
            usage: Usage::of_server(&copy, &tag),
            state: "queued",
            is_over: false,
            etag: None,
            is_suspended: false,
        });
        self.notify(now, self.entries.len() - 1, "active;expires=60");
        self.plan(now, copy.call_id().to_owned());
    }

    fn on_subscribe_again(&mut self, now: Timestamp, from: SocketAddr, request: Message) {
        let found = self.entry(request.call_id());
        let Some(at) = found.filter(|at| !self.entries[*at].is_over) else {
            return self.phone.answer(now, from, request, 481);
        };
        if !self.entries[at].usage.is_in_order(&request) {
            return self.phone.answer(now, from, request, 500);
        }
        let is_last = request.header("Expires") == "0";
        let lines = format!("Expires: {}\r\n", if is_last { 0 } else { 60 });
        self.phone.answer_with(now, from, request, (200, &lines));
        if is_last {
            self.phone.count("unsubscribed by campon");
            self.end(now, at, "timeout");
        } else {
            self.phone.count("refreshed by campon");
            self.notify(now, at, "active;expires=60");
        }
    }

    fn on_publish(&mut self, now: Timestamp, from: SocketAddr, request: Message) {
        let known = request.find("SIP-If-Match").map(str::to_owned);
        let entry = self.entries.iter_mut().rev().find(|entry| !entry.is_over);
        let Some(entry) = entry else {
            return self.phone.answer(now, from, request, 404);
        };
        if known.is_some() && known != entry.etag || self.phone.rng.below(12) == 0 {
            entry.etag = None;
            self.phone.count("PUBLISHs of campon refused");
            return self.phone.answer(now, from, request, 412);
        }
        let body = String::from_utf8_lossy(request.body()).into_owned();
        if !body.is_empty() {
            entry.is_suspended = body.contains("closed");
        }
        let etag = self.phone.unique("etag");
        let lines = format!(
            "SIP-ETag: {etag}\r\nExpires: {}\r\n",
            request.header("Expires")
        );
        entry.etag = Some(etag);
        self.phone.count("PUBLISHs of campon");
        self.phone.answer_with(now, from, request, (200, &lines));
    }

    fn end(&mut self, now: Timestamp, at: usize, reason: &str) {
        let entry = &mut self.entries[at];
        entry.state = "queued";
        entry.is_over = true;
        self.notify(now, at, &format!("terminated;reason={reason}"));
    }

    fn notify(&mut self, now: Timestamp, at: usize, standing: &str) {
        let address = self.phone.address;
        let entry = &mut self.entries[at];
        let lines = format!("Event: call-completion\r\nSubscription-State: {standing}\r\n");
        let body = format!(
            "cc-state: {}\r\ncc-service-retention: true\r\ncc-URI: sip:{}@{address}\r\n",
            entry.state, self.cc_uri
        );
        let wish = Wish {
            method: "NOTIFY",
            lines: &lines,
            body: &body,
        };
        entry.usage.send(now, &mut self.phone, wish);
    }

    fn plan(&mut self, now: Timestamp, id: String) {
        let wait = Duration::from_millis(500 + self.phone.rng.below(8_000));
        self.agenda.push((now + wait, MovesOn(id)));
    }

    fn entry(&self, id: &str) -> Option<usize> {
        let mut entries = self.entries.iter();
        entries.position(|entry| entry.usage.call_id == id)
    }
}

/// He is busy as a rule, and takes CC calls as everybody.
fn busy_manners(phone: &mut Phone, now: Timestamp, invite: &Message, call: &mut Call) {
    if invite.uri().contains("m=BS") {
        phone.count("CC calls elsewhere");
        return manners(phone, now, invite, call);
    }
    let wait = Duration::from_millis(phone.rng.below(400));
    let status = [486, 486, 486, 480, 200][index(phone.rng.below(5))];
    call.talks = Duration::from_millis(500);
    if status != 486 {
        call.plan(now + wait / 2, Act::Ring(180));
    }
    call.plan(now + wait, Act::Answer(status));
}
