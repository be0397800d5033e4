//! REGISTER on its way to the PBX and back.
//!
//! Spec: RFC 3261 §10.2, §10.3, §16.6, §16.7; RFC 4320 §4; RULES R3, R12.
//!
//! The phone and the PBX settle the password between them: challenges and credentials cross, and all
//! that they cover with them. Only the Contact is ours.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::call::relay::{copy_crossing_but, copy_request};
use crate::location::{Aor, Throttle};
use crate::random::Rng;
use crate::shard::settings::{Edge as Policy, Settings};
use crate::shard::{Reject, Shard};
use crate::sip::flow::Flow;
use crate::sip::{
    Checked, Message, Method, Name, Request, Response, Scratch, Status, Transport, Writer,
};
use crate::table::{Key, Table};
use crate::time::Timestamp;
use crate::transaction::User;
use crate::transaction::branch::hex;
use crate::transaction::clients::{Failure, Outgoing};
use crate::transaction::reply;
use crate::transaction::servers::Answer;

/// The part of a transaction's user that says: a registration.
const PART: u16 = u16::from_be_bytes([8, 0]);

/// The REGISTERs that wait for the PBX.
#[derive(Debug)]
pub(super) struct Registrations {
    waiting: Table<Box<Waiting>>,
    /// By when the PBX should have answered.
    due: BTreeSet<(Timestamp, Key)>,
    failures: Throttle,
    failures_of_source: Throttle,
    /// How long the PBX has; half of what the phone waits, so that it hears of it (RFC 4320 §4.1).
    answer_max: Duration,
}

/// A REGISTER that waits for the PBX.
#[derive(Debug)]
struct Waiting {
    server: Key,
    flow: Flow,
    user: Aor,
    register: Box<[u8]>,
    due: Timestamp,
}

impl Registrations {
    pub(super) fn new(settings: &Settings, policy: &Policy, rng: &mut Rng) -> Self {
        let (window, sources_max) = (policy.failures_window, policy.sources_max);
        let mut throttle = |failures_max| Throttle::new(rng, window, failures_max, sources_max);
        let waiting_max = usize::try_from(settings.limits.transactions_max).unwrap_or(usize::MAX);
        Self {
            waiting: Table::new(waiting_max),
            due: BTreeSet::new(),
            failures: throttle(policy.failures_max),
            failures_of_source: throttle(policy.failures_of_source_max),
            answer_max: settings.timing.t1 * 32,
        }
    }

    pub(super) fn set_settings(&mut self, settings: &Settings, policy: &Policy) {
        let waiting_max = usize::try_from(settings.limits.transactions_max).unwrap_or(usize::MAX);
        self.waiting.set_max(waiting_max);
        self.failures.set_max(policy.failures_max);
        self.failures_of_source
            .set_max(policy.failures_of_source_max);
        self.answer_max = settings.timing.t1 * 32;
    }

    pub(super) fn poll_timeout(&self) -> Option<Timestamp> {
        self.due.first().map(|(due, _)| *due)
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether the source may try for this user.
    fn check(&mut self, now: Timestamp, flow: &Flow, user: &Aor) -> Result<(), Reject> {
        let (source, user) = (flow.remote.ip(), user.as_str().as_bytes());
        let is_closed = self.failures.is_closed(now, source, user)
            || self.failures_of_source.is_closed(now, source, b"");
        if is_closed {
            Err(Reject::CredentialsThrottled)
        } else {
            Ok(())
        }
    }

    fn note_failure(&mut self, now: Timestamp, flow: &Flow, user: &Aor) {
        let source = flow.remote.ip();
        self.failures.add(now, source, user.as_str().as_bytes());
        self.failures_of_source.add(now, source, b"");
    }

    fn take(&mut self, key: Key) -> Option<Box<Waiting>> {
        let waiting = self.waiting.remove(key)?;
        self.due.remove(&(waiting.due, key));
        Some(waiting)
    }
}

/// Whether a transaction belongs to a registration.
pub(super) fn is_registration(user: User) -> bool {
    user.part == PART
}

impl Shard {
    /// R12: passes a REGISTER on to the PBX, unless it only keeps up what the PBX has granted for
    /// longer.
    pub(super) fn relay_register(
        &mut self,
        now: Timestamp,
        flow: &Flow,
        request: &Request<'_>,
    ) -> Result<(), Reject> {
        if self.peer_of(flow).is_some() {
            // What a PBX registers elsewhere is no phone of its own.
            return Err(Reject::SourceForeign);
        }
        request.to.uri.as_sip().ok_or(Reject::ContactMalformed)?;
        let user = self.domains.aor(&request.to.uri);
        let user = user.ok_or(Reject::UserUnknown)?;
        let edge = self.edge.as_deref_mut().ok_or(Reject::MethodUnknown)?;
        edge.registrations.check(now, flow, &user)?;
        let asked = edge.relay.read(request, &user);
        let asked = asked.map_err(|status| match status {
            Status::FORBIDDEN => Reject::ContactsTooMany,
            _ => Reject::ContactMalformed,
        })?;
        let of = (request, flow, &user);
        if edge.relay.is_refresh(now, &self.registrar, &asked, of) {
            self.scratch.clear();
            let mut writer = Writer::fragment(&mut self.scratch);
            let registrar = &mut self.registrar;
            edge.relay.refresh(now, registrar, asked, of, &mut writer);
            let is_written = writer.finish(b"").is_ok();
            let server = self.layer.accept(now, request, flow, None);
            let server = server.map_err(|_| Reject::TableFull)?;
            let status = if is_written {
                Status::OK
            } else {
                Status::SERVER_INTERNAL_ERROR
            };
            self.answer_register(now, server, (status, b""));
            return Ok(());
        }
        self.send_register(now, flow, request, user)
    }

    fn send_register(
        &mut self,
        now: Timestamp,
        flow: &Flow,
        request: &Request<'_>,
        user: Aor,
    ) -> Result<(), Reject> {
        let (_, way) = self.way_upstream(request, flow)?;
        let edge = self.edge.as_deref_mut().ok_or(Reject::MethodUnknown)?;
        let waiting_max = edge.registrations.waiting.entries_max();
        if edge.registrations.waiting.len() >= waiting_max {
            return Err(Reject::TableFull);
        }
        let asked = edge.relay.read(request, &user);
        let asked = asked.map_err(|_| Reject::ContactMalformed)?;
        let host = self.hosts.get(usize::from(way.flow.listener.0));
        let at = host.map(|host| &**host).unwrap_or_default();
        let transport = match way.flow.transport {
            Transport::Udp => "",
            Transport::Tcp => ";transport=tcp",
            Transport::Tls => ";transport=tls",
        };
        let tag = request.from.tag().unwrap_or_default();
        let ids = edge.relay.ids(&user, request.call_id, tag);
        let hops = request
            .max_forwards
            .map_or(70, |hops| hops.saturating_sub(1));
        self.scratch.clear();
        let mut writer = Writer::fragment(&mut self.scratch);
        writer
            .header_fmt(Name::MaxForwards, format_args!("{hops}"))
            .header_parts(Name::From, &[request.from.text, b";tag=", &ids.tag])
            .header(Name::To, request.to.text)
            .header(Name::CallId, &ids.call_id)
            .header_fmt(Name::CSeq, format_args!("{} REGISTER", request.cseq.number));
        edge.relay
            .write_contacts(&asked, (at, transport), &mut writer);
        copy_request(&mut writer, &request.message, None);
        let body = request.message.body();
        writer.finish(body).map_err(|_| Reject::ContactMalformed)?;

        let server = self.layer.accept(now, request, flow, None);
        let server = server.map_err(|_| Reject::TableFull)?;
        let due = now + edge.registrations.answer_max;
        let waiting = Box::new(Waiting {
            server,
            flow: *flow,
            user,
            register: Box::from(request.message.raw()),
            due,
        });
        let key = edge.registrations.waiting.insert(waiting);
        let key = key.map_err(|_| Reject::TableFull)?;
        edge.registrations.due.insert((due, key));
        let outgoing = Outgoing {
            method: Method::Register,
            uri: &way.uri,
            flow: way.flow,
            user: Some(User {
                call: key,
                part: PART,
            }),
            destination: self.layer.digester().destination(&request.uri),
            fields: &self.scratch,
        };
        // The Contact is the phone's alias, wherever it is registered.
        let others = way.others.map(|others| others.with_one_contact());
        let sent = self.layer.request_with(now, &outgoing, others.as_ref());
        if sent.is_err() {
            self.give_up_register(now, key, Status::SERVICE_UNAVAILABLE);
        }
        Ok(())
    }

    /// Takes the PBX's answer to a REGISTER.
    pub(super) fn on_register_response(
        &mut self,
        now: Timestamp,
        key: Key,
        response: &Response<'_>,
    ) {
        if response.status.is_provisional() {
            return;
        }
        let edge = self.edge.as_deref_mut();
        let Some(waiting) = edge.and_then(|edge| edge.registrations.take(key)) else {
            return;
        };
        let mut index = Scratch::new();
        let message = Message::parse(&waiting.register, &mut index).ok();
        let Some(Ok(Checked::Request(request))) = message.map(Checked::check) else {
            return;
        };
        let status = self.write_register_answer(now, &waiting, &request, response);
        let phrase = if status == response.status {
            response.phrase
        } else {
            b""
        };
        self.answer_register(now, waiting.server, (status, phrase));
    }

    /// Writes what crosses of the PBX's answer, and takes over what it grants; the status for the
    /// phone.
    fn write_register_answer(
        &mut self,
        now: Timestamp,
        waiting: &Waiting,
        request: &Request<'_>,
        response: &Response<'_>,
    ) -> Status {
        let Some(edge) = self.edge.as_deref_mut() else {
            return Status::SERVER_INTERNAL_ERROR;
        };
        let (flow, user) = (&waiting.flow, &waiting.user);
        self.scratch.clear();
        let mut writer = Writer::fragment(&mut self.scratch);
        let mut kept = true;
        if response.status.is_success() {
            if let Ok(asked) = edge.relay.read(request, user) {
                let registrar = &mut self.registrar;
                let of = (asked, request, flow, user);
                kept = edge
                    .relay
                    .handle_success(now, registrar, of, response, &mut writer);
            }
            // Each Contact has its own time, which may be shorter than the PBX's; and the flow is ours.
            copy_crossing_but(&mut writer, response, &[Name::Expires, Name::FlowTimer]);
        } else {
            if is_wrong(request, response) {
                edge.registrations.note_failure(now, flow, user);
            }
            copy_crossing_but(&mut writer, response, &[]);
        }
        let is_written = writer.finish(response.message.body()).is_ok();
        if !is_written || !kept {
            tracing::warn!(from = %flow, is_written, kept, "a registration was not kept");
            return Status::SERVER_INTERNAL_ERROR;
        }
        response.status
    }

    /// The PBX did not get a REGISTER, or has not answered.
    pub(super) fn on_register_failure(&mut self, now: Timestamp, key: Key, failure: Failure) {
        let status = match failure {
            Failure::TimedOut => Status::SERVER_TIMEOUT,
            // Another way to the PBX may be open to the phone (RFC 3263 §4.3).
            Failure::Unreachable => Status::SERVICE_UNAVAILABLE,
        };
        self.give_up_register(now, key, status);
    }

    /// S-47: what the PBX leaves unanswered is told while the phone still waits.
    pub(super) fn on_registers_due(&mut self, now: Timestamp) {
        while let Some(edge) = self.edge.as_deref()
            && let Some((due, key)) = edge.registrations.due.first().copied()
            && due <= now
        {
            self.give_up_register(now, key, Status::SERVER_TIMEOUT);
        }
    }

    fn give_up_register(&mut self, now: Timestamp, key: Key, status: Status) {
        let edge = self.edge.as_deref_mut();
        if let Some(waiting) = edge.and_then(|edge| edge.registrations.take(key)) {
            self.scratch.clear();
            self.scratch.extend_from_slice(reply::NOTHING);
            self.answer_register(now, waiting.server, (status, b""));
        }
    }

    /// Answers with what stands in `scratch`, or with nothing if that is no whole fragment.
    fn answer_register(&mut self, now: Timestamp, server: Key, line: (Status, &[u8])) {
        let (status, phrase) = line;
        let tag = hex(self.rng.bits());
        let rest = if self.scratch.is_empty() {
            reply::NOTHING
        } else {
            &self.scratch
        };
        let answer = Answer {
            status,
            phrase,
            tag: reply::Tag::Ours(&tag),
            rest,
        };
        self.layer.respond(now, server, &answer);
    }
}

/// Whether the PBX found fault with the phone, rather than asking for a password the first time or
/// for another nonce.
fn is_wrong(request: &Request<'_>, response: &Response<'_>) -> bool {
    match response.status {
        Status::FORBIDDEN | Status::NOT_FOUND => true,
        Status::UNAUTHORIZED | Status::PROXY_AUTHENTICATION_REQUIRED => {
            let has = |name| request.message.first(name).is_some();
            let has_tried = has(Name::Authorization) || has(Name::ProxyAuthorization);
            has_tried && !is_stale(response)
        }
        _ => false,
    }
}

/// S-173: whether only the nonce was too old.
fn is_stale(response: &Response<'_>) -> bool {
    let challenges = [Name::WwwAuthenticate, Name::ProxyAuthenticate];
    let mut fields = challenges
        .into_iter()
        .flat_map(|name| response.message.fields(name));
    fields.any(|field| {
        let field = field.to_ascii_lowercase();
        let mut params = field.split(|byte| *byte == b',' || byte.is_ascii_whitespace());
        params.any(|param| matches!(param, b"stale=true" | b"stale=\"true\""))
    })
}
