//! OPTIONS to the servers of peers, and what is told of their health.
//!
//! Spec: RFC 3261 §11; RFC 3263 §4.3.

use std::collections::BTreeMap;

use crate::cc::trust::PeerId;
use crate::routing::health::{Change, Due};
use crate::routing::targets::Happening;
use crate::shard::Shard;
use crate::shard::report::TargetReport;
use crate::sip::flow::ListenerId;
use crate::sip::{Method, Name, Status, Writer};
use crate::table::Key;
use crate::time::Timestamp;
use crate::transaction::User;
use crate::transaction::branch::hex;
use crate::transaction::clients::{Failure, Outgoing};

/// The part of what is no call but OPTIONS of our own; see [`User::part`].
const PART: u16 = 0x7000;

/// The OPTIONS that wait for their answer, by number, with their transactions.
#[derive(Debug, Default)]
pub(super) struct Pings {
    last: u64,
    waiting: BTreeMap<u64, Key>,
}

/// Whether a transaction is one of OPTIONS of ours.
pub(super) fn is_ping(user: User) -> bool {
    user.part == PART
}

impl Shard {
    /// Sends what is due, and notes whose answer is late.
    pub(super) fn run_pings(&mut self, now: Timestamp) {
        while let Some(happening) = self.targets.handle_timeout(now) {
            match happening.due {
                Due::Changed(_) => self.note_health(now, &happening),
                Due::Ping => self.ping(now, &happening),
            }
        }
        // A late answer is none; so the question is not asked again either.
        let (layer, targets) = (&mut self.layer, &self.targets);
        self.pings.waiting.retain(|number, client| {
            let is_awaited = targets.awaits(*number);
            if !is_awaited {
                layer.forget(*client);
            }
            is_awaited
        });
    }

    /// Whoever stops asks nobody any more.
    pub(super) fn stop_pinging(&mut self, now: Timestamp) {
        self.targets.stop_pinging(now);
        for client in std::mem::take(&mut self.pings.waiting).into_values() {
            self.layer.forget(client);
        }
    }

    /// An answer to OPTIONS: any final one is a sign of life, but for those that say there is none.
    pub(super) fn on_pong(&mut self, now: Timestamp, user: User, status: Status) {
        if status.is_provisional() {
            return;
        }
        let is_alive = !matches!(
            status,
            Status::REQUEST_TIMEOUT | Status::SERVICE_UNAVAILABLE
        );
        self.on_pinged(now, user, (!is_alive).then_some(Change::Unavailable));
    }

    pub(super) fn on_ping_failed(&mut self, now: Timestamp, user: User, failure: Failure) {
        let why = match failure {
            Failure::TimedOut => Change::Silent,
            Failure::Unreachable => Change::Unreachable,
        };
        self.on_pinged(now, user, Some(why));
    }

    /// Says once what has become of a server.
    pub(super) fn note_health(&mut self, now: Timestamp, happening: &Happening) {
        let Due::Changed(why) = happening.due else {
            return;
        };
        let peer = self.peer_name(happening.peer);
        let (server, why_text) = (happening.server, why.as_str());
        match why {
            Change::Answers | Change::Rested => {
                tracing::info!(peer, %server, why = why_text, "server is up");
                if let Ok(peer) = u32::try_from(happening.peer) {
                    self.sources.hasten(now, PeerId(peer));
                }
            }
            Change::Silent | Change::Unavailable | Change::Unreachable => {
                tracing::warn!(peer, %server, why = why_text, "server is down");
            }
        }
    }

    /// What is known of each server.
    pub(super) fn target_reports(&self, now: Timestamp) -> Vec<TargetReport> {
        let targets = self.targets.all();
        let report = targets.map(|told| TargetReport {
            peer: self.peer_name(told.peer).to_owned(),
            server: told.server,
            state: told.state,
            since: now.since(told.since),
            rtt: told.rtt,
        });
        report.collect()
    }

    fn on_pinged(&mut self, now: Timestamp, user: User, failed: Option<Change>) {
        let number = user.call.to_bits();
        // Nothing of a ping stays: whether a campon is at rest must not depend on them.
        if let Some(client) = self.pings.waiting.remove(&number) {
            self.layer.forget(client);
        }
        if let Some(happening) = self.targets.on_pinged(now, number, failed) {
            self.note_health(now, &happening);
        }
    }

    fn ping(&mut self, now: Timestamp, happening: &Happening) {
        let server = happening.server;
        let flow = self.flow_to(server, ListenerId(0));
        self.pings.last += 1;
        let number = self.pings.last;
        self.targets.on_ping_sent(now, server, number);
        let uri = self.ping_uri(happening);
        let us = self.layer.sent_by(&flow).to_vec();
        let (tag, call_id) = (hex(self.rng.bits()), hex(self.rng.bits()));
        self.scratch.clear();
        let mut writer = Writer::fragment(&mut self.scratch);
        writer.header(Name::MaxForwards, b"70");
        writer.header_parts(Name::From, &[b"<sip:", &us, b">;tag=", &tag]);
        writer.header_parts(Name::To, &[b"<", uri.as_bytes(), b">"]);
        writer.header_parts(Name::CallId, &[&call_id, b"@", &us]);
        writer.header(Name::CSeq, b"1 OPTIONS");
        writer.header(Name::Accept, b"application/sdp");
        let is_written = writer.finish(b"").is_ok();
        let outgoing = Outgoing {
            method: Method::Options,
            uri: uri.as_bytes(),
            flow,
            user: Some(User {
                call: Key::from_bits(number),
                part: PART,
            }),
            destination: 0,
            fields: &self.scratch,
        };
        // A ping that we cannot send says nothing of the server: its answer will be late.
        if is_written && let Ok(client) = self.layer.request(now, &outgoing) {
            self.pings.waiting.insert(number, client);
        }
    }

    fn ping_uri(&self, happening: &Happening) -> String {
        let peer = self
            .settings
            .peers()
            .find(|(id, _)| is_at(*id, happening.peer));
        let place = peer.and_then(|(_, peer)| peer.places.get(happening.place));
        match place {
            Some(place) if place.fixed().is_none() => {
                let scheme = if place.secure { "sips" } else { "sip" };
                format!("{scheme}:{}", place.host_port())
            }
            Some(_) | None => format!("sip:{}", happening.server.remote),
        }
    }

    fn peer_name(&self, index: usize) -> &str {
        let peer = self.settings.peers().find(|(id, _)| is_at(*id, index));
        peer.map_or("", |(_, peer)| &peer.name)
    }
}

fn is_at(id: PeerId, index: usize) -> bool {
    usize::try_from(id.0).is_ok_and(|id| id == index)
}
