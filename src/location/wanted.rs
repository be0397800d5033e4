//! What a REGISTER asks for, checked against the policy before anything is changed.
//!
//! Spec: RFC 3261 §10.2, §10.3 steps 6 and 7.

use crate::location::Policy;
use crate::location::reject::Reject;
use crate::sip::Message;
use crate::sip::Name;
use crate::sip::NameAddr;
use crate::sip::SipUri;
use crate::sip::header::contact::Contact;
use crate::sip::lex::parse_u32;

/// An expiry of this or more is never too brief (RFC 3261 §10.3 step 7).
const HOUR_S: u32 = 3_600;

/// What becomes of the bindings.
#[derive(Debug)]
pub(super) enum Wanted<'m> {
    /// All of them go.
    RemoveAll,
    /// These are added, refreshed or removed; the others stay.
    Update(Vec<WantedBinding<'m>>),
}

/// One Contact.
#[derive(Clone, Copy, Debug)]
pub(super) struct WantedBinding<'m> {
    /// Where.
    pub(super) uri: SipUri<'m>,
    /// Name, URI and parameters as written.
    pub(super) contact: NameAddr<'m>,
    /// For how long, as granted; 0 removes it.
    pub(super) expires_s: u32,
}

impl<'m> Wanted<'m> {
    pub(super) fn parse(message: &Message<'m>, policy: Policy) -> Result<Self, Reject> {
        let default = message.first(Name::Expires).and_then(parse_u32);
        let mut wanted = Vec::new();
        let mut has_star = false;
        for value in message.values(Name::Contact) {
            match Contact::parse(value).map_err(|_| Reject::ContactMalformed)? {
                Contact::Star if has_star => return Err(Reject::StarMisplaced),
                Contact::Star => has_star = true,
                Contact::Address(contact) => wanted.push(wanted_binding(contact, default, policy)?),
            }
            if wanted.len() > policy.contacts_max {
                return Err(Reject::ContactsTooMany);
            }
        }
        match (has_star, default) {
            (false, _) => Ok(Self::Update(wanted)),
            (true, Some(0)) if wanted.is_empty() => Ok(Self::RemoveAll),
            (true, _) => Err(Reject::StarMisplaced),
        }
    }

    /// The Contacts; none where all bindings are meant.
    pub(super) fn contacts(&self) -> &[WantedBinding<'m>] {
        match self {
            Self::RemoveAll => &[],
            Self::Update(wanted) => wanted,
        }
    }

    pub(super) fn contacts_mut(&mut self) -> &mut [WantedBinding<'m>] {
        match self {
            Self::RemoveAll => &mut [],
            Self::Update(wanted) => wanted,
        }
    }
}

fn wanted_binding(
    contact: NameAddr<'_>,
    default: Option<u32>,
    policy: Policy,
) -> Result<WantedBinding<'_>, Reject> {
    let uri = contact.uri.as_sip().ok_or(Reject::ContactForeign)?;
    let asked = contact.expires_s().or(default).unwrap_or(policy.expires_s);
    if asked != 0 && asked < policy.expires_min_s.min(HOUR_S) {
        return Err(Reject::IntervalTooBrief);
    }
    Ok(WantedBinding {
        uri,
        contact,
        expires_s: asked.min(policy.expires_max_s),
    })
}
