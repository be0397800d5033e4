//! Whether a request comes from whom it says: users of ours prove it, where there are passwords.
//!
//! Spec: RFC 3261 §10.3 steps 3 and 4, §22.2, §22.3; RULES R8.

use crate::location::{Again, Aor, Challenged, Denied, Domains};
use crate::shard::{Reject, Shard};
use crate::sip::flow::Flow;
use crate::sip::{Method, Name, Request, Status};
use crate::time::Timestamp;

impl Shard {
    /// Lets in who is no user of ours, and users who are where they have registered or who prove
    /// themselves now.
    pub(super) fn check_sender(
        &mut self,
        now: Timestamp,
        flow: &Flow,
        request: &Request<'_>,
    ) -> Result<(), Reject> {
        if self.edge.is_some() || self.settings.is_trunk {
            return self.check_source(flow, request);
        }
        if request.method == Method::Register {
            return self.check_registrant(now, flow, request);
        }
        let Some(claimed) = self.unproven_sender(flow, request) else {
            return Ok(());
        };
        let Some(gate) = &mut self.gate else {
            return Ok(());
        };
        let field = Name::ProxyAuthorization;
        let proven = gate.check(now, request, flow, field, &self.domains);
        let proven = proven.map_err(|denied| match denied {
            Denied::Malformed => Reject::CredentialsMalformed,
            Denied::Missing => Reject::ProxyCredentialsMissing,
            Denied::Stale => Reject::ProxyCredentialsStale,
            Denied::Throttled => Reject::CredentialsThrottled,
            Denied::Wrong => Reject::ProxyCredentialsWrong,
        })?;
        if proven == claimed {
            Ok(())
        } else {
            Err(Reject::UserForeign)
        }
    }

    /// R8: the user of ours who sends a request that was let in, by his flow or by his password.
    pub(super) fn sender(&self, flow: &Flow, request: &Request<'_>) -> Option<Aor> {
        let user = self.named_user(request)?;
        if let Some(registered) = self.registrar.registered_at(&user, flow) {
            // As he is written there: whoever keeps his name adds no text.
            return Some(registered.clone());
        }
        let asks = self
            .gate
            .as_ref()
            .filter(|_| !self.is_not_asked(flow, request));
        let is_proven = asks.is_some_and(|gate| gate.has(&user));
        let has_phone = || self.phone_flow(&user, flow, request).is_some();
        (is_proven || has_phone()).then_some(user)
    }

    /// Everybody registers his own address only.
    fn check_registrant(
        &mut self,
        now: Timestamp,
        flow: &Flow,
        request: &Request<'_>,
    ) -> Result<(), Reject> {
        let Some(gate) = &mut self.gate else {
            return Ok(());
        };
        let proven = gate.check(now, request, flow, Name::Authorization, &self.domains);
        let proven = proven.map_err(|denied| match denied {
            Denied::Malformed => Reject::CredentialsMalformed,
            Denied::Missing => Reject::CredentialsMissing,
            Denied::Stale => Reject::CredentialsStale,
            Denied::Throttled => Reject::CredentialsThrottled,
            Denied::Wrong => Reject::CredentialsWrong,
        })?;
        match self.domains.aor(&request.to.uri) {
            Some(aor) if aor != proven => Err(Reject::UserForeign),
            // That this is nobody's address is the registrar's to say.
            Some(_) | None => Ok(()),
        }
    }

    /// A call for help is never doubted, and a peer passes on what its own users send.
    fn is_not_asked(&self, flow: &Flow, request: &Request<'_>) -> bool {
        self.peer_of(flow).is_some() || self.is_emergency(request)
    }

    /// The user of ours that From names, if there is reason to doubt it.
    fn unproven_sender(&self, flow: &Flow, request: &Request<'_>) -> Option<Aor> {
        let gate = self.gate.as_ref()?;
        // Nobody answers the challenge of these (RFC 3261 §22.1), and here they have no effect.
        let is_answer = matches!(request.method, Method::Ack | Method::Bye | Method::Cancel);
        if is_answer || self.is_not_asked(flow, request) {
            return None;
        }
        let claimed = self.domains.aor(&request.from.uri)?;
        let is_doubtful = gate.has(&claimed) && !self.registrar.is_registered_at(&claimed, flow);
        is_doubtful.then_some(claimed)
    }
}

/// S-170: a 401 or 407 says in this field what has to be proven, and by whom.
pub(super) fn challenged(
    domains: &Domains,
    request: &Request<'_>,
    flow: &Flow,
    reject: Reject,
) -> Option<(Name, Challenged)> {
    let (field, claimed) = match reject.status() {
        Status::UNAUTHORIZED => (Name::WwwAuthenticate, request.to.uri),
        Status::PROXY_AUTHENTICATION_REQUIRED => (Name::ProxyAuthenticate, request.from.uri),
        _ => return None,
    };
    let stale = [Reject::CredentialsStale, Reject::ProxyCredentialsStale];
    let whom = Challenged {
        source: flow.remote.ip(),
        user: domains.aor(&claimed),
        again: if stale.contains(&reject) {
            Again::Stale
        } else {
            Again::Unproven
        },
    };
    Some((field, whom))
}
