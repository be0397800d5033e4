//! Who is registered where.
//!
//! Spec: RFC 3261 §10, §22.
//!
//! - A [`Registrar`] takes REGISTER requests and keeps the bindings of each [`Aor`]; who asks is not
//!   its concern.
//! - A [`Gate`] knows by their passwords who is a user of ours; without one, anybody is.
//! - Where a PBX keeps the registrations, a [`Relay`] knows under which [`Alias`] each phone is there.
//! - What it gives for a call are [`Target`]s: a Request-URI, and the flow that leads there.

mod account;
mod alias;
mod aor;
mod binding;
mod gate;
mod nonce;
mod proof;
mod record;
mod registrar;
mod reject;
mod relay;
mod throttle;
mod wanted;

#[cfg(test)]
mod rig;

use crate::sip::{Message, Name, NameAddr, Writer};

pub use crate::location::account::Account;
pub use crate::location::account::Accounts;
pub use crate::location::alias::Alias;
pub use crate::location::alias::Ids;
pub use crate::location::alias::Pseudonyms;
pub use crate::location::aor::Aor;
pub use crate::location::aor::Domains;
pub use crate::location::binding::BindingId;
pub use crate::location::binding::Target;
pub use crate::location::gate::Access;
pub use crate::location::gate::Again;
pub use crate::location::gate::Challenged;
pub use crate::location::gate::Denied;
pub use crate::location::gate::Gate;
pub use crate::location::registrar::Registrar;
pub use crate::location::relay::Asked;
pub use crate::location::relay::Found;
pub use crate::location::relay::Relay;
pub use crate::location::throttle::Throttle;
pub use crate::sip::digest::Algorithm;

/// What a registrar grants, and how much it keeps.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Policy {
    /// How long a binding lasts when the phone does not say: RFC 3261 §10.2.1.1 suggests an hour.
    pub expires_s: u32,
    /// The shortest time granted; below, a phone costs more in REGISTERs than in calls. Requests for
    /// an hour or more are never too short (RFC 3261 §10.3).
    pub expires_min_s: u32,
    /// The longest time granted, after which a phone that has gone is forgotten.
    pub expires_max_s: u32,
    /// Most bindings of one AOR; each of them rings at every call.
    pub contacts_max: usize,
    /// Most AORs with bindings; at 1 KiB each, the default is 100 MB.
    pub aors_max: usize,
    /// Most AORs that are remembered without a binding, so that their callers are told 480 and not
    /// 404; the one that has been gone for longest makes way.
    pub gone_max: usize,
    /// Most bytes of an AOR, and of a binding's Contact and Call-ID; phones need 100 to 400.
    pub binding_bytes_max: usize,
    /// RFC 5626 §10: what a phone that asks for `outbound` is told of how long its flow may be
    /// silent; `None`: nothing.
    pub flow_timer_s: Option<u32>,
}

impl Policy {
    /// S-85: tells a phone that asks for it how long its flow may be silent.
    fn write_flow_timer(&self, register: &Message<'_>, writer: &mut Writer<'_>) {
        if let Some(timer_s) = self.flow_timer_s.filter(|_| asks_for_outbound(register)) {
            writer.header_fmt(Name::FlowTimer, format_args!("{timer_s}"));
        }
    }
}

/// RFC 5626 §4.2.1: whether a phone takes part, on the flow that it registers over.
fn asks_for_outbound(register: &Message<'_>) -> bool {
    let mut options = register.values(Name::Supported);
    let has_flow = |contact| NameAddr::parse(contact).is_ok_and(|it| it.params.has("reg-id"));
    options.any(|option| option.eq_ignore_ascii_case(b"outbound"))
        && register.values(Name::Contact).any(has_flow)
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            expires_s: 3_600,
            expires_min_s: 60,
            expires_max_s: 7_200,
            contacts_max: 10,
            aors_max: 100_000,
            gone_max: 10_000,
            binding_bytes_max: 1_024,
            flow_timer_s: None,
        }
    }
}
