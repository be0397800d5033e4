//! What a new request must pass before anything is kept of it.
//!
//! Spec: RFC 3261 §8.2, §16.3; RFC 5393; RFC 7339 §5.10.

use std::time::Duration;

use crate::call::relay::KNOWN_OPTIONS;
use crate::cc::document;
use crate::dialog::session_timer::Asked;
use crate::shard::sender::challenged;
use crate::shard::subscriptions::whole_seconds;
use crate::shard::terms::is_private;
use crate::shard::{Kind, Reject, Shard, mwi};
use crate::sip::flow::Flow;
use crate::sip::{Method, Name, Request, Status, Uri, Writer, unescape};
use crate::time::Timestamp;
use crate::transaction::reply;

/// The methods that we let in, in dialogs or out of them.
const ALLOW: &[u8] =
    b"INVITE, ACK, CANCEL, BYE, OPTIONS, REGISTER, INFO, MESSAGE, NOTIFY, PRACK, PUBLISH, REFER, \
      SUBSCRIBE, UPDATE";
/// The same where nobody registers.
const ALLOW_BETWEEN_PEERS: &[u8] =
    b"INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, MESSAGE, NOTIFY, PRACK, PUBLISH, REFER, SUBSCRIBE, \
      UPDATE";
/// The options that we have or let cross.
pub(super) const SUPPORTED: &[u8] = b"100rel, histinfo, norefersub, replaces, timer";

/// The event packages that we have.
pub(super) const ALLOW_EVENTS: &[u8] = b"call-completion";

impl Shard {
    /// Whether a request that begins something is let in at all.
    pub(super) fn screen(&self, request: &Request<'_>, delay: Duration) -> Result<(), Reject> {
        if self.is_emergency(request) {
            return Ok(());
        }
        if delay > self.settings.overload.delay_max {
            return Err(Reject::Overloaded);
        }
        let begins = matches!(
            request.method,
            Method::Invite | Method::Options | Method::Refer | Method::Subscribe
        );
        if self.draining && begins && !self.asks_for_phone(request) {
            return Err(Reject::Draining);
        }
        Ok(())
    }

    /// R4: nothing is relayed by way of the address that the PBX trusts as ours.
    pub(super) fn check_listener(&self, flow: &Flow, request: &Request<'_>) -> Result<(), Reject> {
        let is_own = self.settings.own_calls == Some(flow.listener);
        let is_harmless = matches!(request.method, Method::Options | Method::Ack);
        if is_own && !is_harmless && !self.is_emergency(request) {
            return Err(Reject::OwnCallsOnly);
        }
        Ok(())
    }

    /// S-10, S-22: the order of RFC 3261 §16.3 and §8.2.
    pub(super) fn check_for_us(&self, request: &Request<'_>) -> Result<(), Reject> {
        if !matches!(request.uri, Uri::Sip(_) | Uri::Tel(_) | Uri::Urn(_)) {
            return Err(Reject::SchemeUnknown);
        }
        let is_options = request.method == Method::Options;
        if request.max_forwards == Some(0) && !is_options {
            return Err(Reject::TooManyHops);
        }
        if self.layer.is_loop(request) {
            return Err(Reject::LoopDetected);
        }
        if unknown_options(request).next().is_some() {
            return Err(Reject::ExtensionUnknown);
        }
        if request.method == Method::Invite
            && request.message.first(Name::SessionExpires).is_some()
            && Asked::of(&request.message).is_too_short(self.settings.call_policy.session_least_s)
        {
            return Err(Reject::SessionTooShort);
        }
        Ok(())
    }

    /// A call for help is never delayed and never refused (R20).
    /// What a call is to those who would join it.
    pub(super) fn kind_of(&self, request: &Request<'_>) -> Kind {
        if self.is_pressing(request) {
            Kind::Pressing
        } else if is_private(&request.message) {
            Kind::Private
        } else {
            Kind::Plain
        }
    }

    pub(super) fn is_emergency(&self, request: &Request<'_>) -> bool {
        request.method == Method::Invite && self.is_emergency_uri(&request.uri)
    }

    pub(super) fn is_emergency_uri(&self, uri: &Uri<'_>) -> bool {
        match uri {
            Uri::Urn(urn) => is_sos(urn),
            Uri::Sip(uri) => uri.user.is_some_and(|user| self.is_emergency_number(user)),
            Uri::Tel(tel) => self.is_emergency_number(tel.number),
            Uri::Other(_) => false,
        }
    }

    /// Answers a request, keeps nothing of it, and counts and logs why.
    pub(super) fn refuse(
        &mut self,
        now: Timestamp,
        request: &Request<'_>,
        flow: &Flow,
        reject: Reject,
    ) {
        self.note_refusal(request, flow, reject);
        // Nobody answers an ACK.
        if request.method == Method::Ack {
            return;
        }
        self.scratch.clear();
        let allowed = self.methods_of(flow, reject);
        let mut writer = Writer::fragment(&mut self.scratch);
        if let Some(gate) = &mut self.gate
            && let Some((field, whom)) = challenged(&self.domains, request, flow, reject)
        {
            gate.challenge(now, &whom, field, &mut writer);
        }
        if let Some(allowed) = allowed {
            writer.header(Name::Allow, allowed.as_bytes());
        }
        if reject == Reject::MethodUnknown {
            writer.header(Name::Allow, allow(self.settings.is_trunk));
        }
        let least_s = self.settings.call_policy.session_least_s;
        explain(&mut writer, request, reject, least_s);
        let rest = match writer.finish(b"") {
            Ok(range) => self.scratch.get(range).unwrap_or_default(),
            Err(_) => reply::NOTHING,
        };
        self.layer
            .refuse(&request.message, flow, reject.status(), rest);
    }

    /// Counts and logs why a request was refused.
    pub(super) fn note_refusal(&mut self, request: &Request<'_>, flow: &Flow, reject: Reject) {
        self.rejects.add(reject);
        tracing::debug!(
            call_id = %request.call_id.escape_ascii(),
            from = %flow,
            method = request.method.as_str(),
            "{}", reject.name()
        );
    }

    /// S-36: OPTIONS gets what an INVITE would get, and what we can.
    pub(super) fn answer_options(&mut self, request: &Request<'_>, flow: &Flow) {
        self.scratch.clear();
        let mut writer = Writer::fragment(&mut self.scratch);
        writer.header(Name::Allow, allow(self.settings.is_trunk));
        writer.header(Name::Accept, b"application/sdp");
        writer.header(Name::AcceptEncoding, b"identity");
        writer.header(Name::AcceptLanguage, b"en");
        writer.header(Name::AllowEvents, ALLOW_EVENTS);
        writer.header(Name::Supported, SUPPORTED);
        writer.header(Name::Contact, self.contacts.of(flow));
        let rest = match writer.finish(b"") {
            Ok(range) => self.scratch.get(range).unwrap_or_default(),
            Err(_) => reply::NOTHING,
        };
        self.layer.refuse(&request.message, flow, Status::OK, rest);
    }

    pub(super) fn is_emergency_number(&self, dialled: &[u8]) -> bool {
        // A `#` cannot stand in a URI unescaped (RFC 3261 §25.1).
        let dialled = unescape(dialled);
        let numbers = &self.settings.calls.emergency;
        numbers.iter().any(|number| *number.as_bytes() == *dialled)
    }
}

/// S-10, S-36: the methods that may begin something.
fn allow(is_trunk: bool) -> &'static [u8] {
    if is_trunk { ALLOW_BETWEEN_PEERS } else { ALLOW }
}

/// What a refusal says besides its status.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "most have nothing to say that their status does not"
)]
fn explain(writer: &mut Writer<'_>, request: &Request<'_>, reject: Reject, least_s: u32) {
    match reject {
        Reject::ExtensionUnknown => {
            for option in unknown_options(request) {
                writer.header(Name::Unsupported, option);
            }
        }
        // S-120, S-132
        Reject::EventUnknown => {
            // RFC 3903 §6: presence is taken by PUBLISH, and not told by NOTIFY.
            let is_publish = request.method == Method::Publish;
            let published: &[u8] = if is_publish { b", presence" } else { b"" };
            writer.header_parts(Name::AllowEvents, &[ALLOW_EVENTS, published]);
        }
        // S-92
        Reject::SessionTooShort => {
            writer.header_fmt(Name::MinSe, format_args!("{least_s}"));
        }
        Reject::NoSecureWay => {
            // RFC 5630 §4: it is the callee whose phone does without.
            writer.header(Name::Warning, b"380 campon \"SIPS Not Allowed\"");
        }
        // S-121
        Reject::SubscriptionBrief => {
            let least_s = whole_seconds(mwi::EXPIRES_MIN);
            writer.header_fmt(Name::MinExpires, format_args!("{least_s}"));
        }
        Reject::MediaTypeUnknown | Reject::NotAcceptable => {
            writer.header(Name::Accept, document::MEDIA_TYPE.as_bytes());
        }
        _ => {}
    }
}

/// RFC 5031: `urn:service:sos` and what is below it.
fn is_sos(urn: &[u8]) -> bool {
    let sos = b"urn:service:sos";
    let head = urn.get(..sos.len()).unwrap_or_default();
    let ends = matches!(urn.get(sos.len()), None | Some(b'.'));
    head.eq_ignore_ascii_case(sos) && ends
}

/// What a request requires and we do not have.
fn unknown_options<'m>(request: &Request<'m>) -> impl Iterator<Item = &'m [u8]> {
    let message = request.message;
    let required = message
        .values(Name::Require)
        .collect::<smallvec::SmallVec<[&[u8]; 4]>>();
    required.into_iter().filter(|option| {
        let mut known = KNOWN_OPTIONS.iter();
        !known.any(|known| known.eq_ignore_ascii_case(option))
    })
}
