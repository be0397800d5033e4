//! The offer: whether a failed call can be completed, and what tells the caller so.
//!
//! Spec: RFC 6910 §7.1, §12.4, §12.5; Q.850 causes in RFC 3326 Reason headers.

use crate::cc::Condition;
use crate::cc::id::CceToken;

/// What is known of how a call ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Evidence {
    /// What the callee's own phone did, if that was seen.
    pub in_pass: InPass,
    /// The Q.850 cause of a Reason header.
    pub cause: Option<u8>,
    /// The final status that the caller's side got.
    pub status: u16,
    /// Whether a phone rang: any 18x.
    pub alerting: Alerting,
    /// What we know of the callee's registration.
    pub callee: Registration,
}

/// What the callee's side of a call that crosses us twice did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum InPass {
    /// There was none, or it tells nothing: not joined, or cancelled because another phone answered.
    Silent,
    /// The phone gave this final status.
    Final(u16),
    /// It rang and was cancelled.
    RangOut,
    /// There was no phone to ring.
    NoBinding,
}

/// Whether a phone rang.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Alerting {
    /// No 18x was seen.
    None,
    /// At least one was.
    Rang,
}

/// What we know of a callee's registration.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Registration {
    /// He is none of our users.
    Stranger,
    /// He has a binding.
    Registered,
    /// He is ours and has none.
    Unregistered,
}

/// What one piece of evidence says.
enum Verdict {
    Offer(Condition),
    Never,
    Open,
}

/// The condition under which a failed call can be completed; `None` means: offer nothing.
///
/// Nearest evidence first: the callee's own phone, then the cause that the PBX names, then the
/// status, which a PBX makes up most freely. The caller of this function leaves out what may never
/// be completed: emergency calls, callees without a source of availability.
pub fn decide(evidence: &Evidence) -> Option<Condition> {
    let pieces = [
        by_in_pass(evidence.in_pass),
        by_cause(evidence.cause),
        by_status(evidence),
    ];
    for verdict in pieces {
        match verdict {
            Verdict::Offer(condition) => return Some(condition),
            Verdict::Never => return None,
            Verdict::Open => {}
        }
    }
    None
}

/// The condition of a call that a peer's monitor offers to complete, if any can be told.
///
/// CC-32: a missing or unknown `m` is made up for by how the call ended; old chan_sip says NR
/// whatever happened, so that what we saw goes first.
pub fn condition_offered(m: Option<&str>, evidence: &Evidence) -> Option<Condition> {
    decide(evidence).or_else(|| Condition::from_m(m?))
}

/// The value of the Call-Info header that offers completion.
///
/// CC-30, CC-31: the URI to subscribe to; no `;` inside the brackets unless a transport is asked for,
/// and `purpose` before `m`, because old chan_sip splits the value at each `;` and reads it in that
/// order.
pub fn call_info(token: &str, at: Place<'_>, condition: Condition) -> String {
    let Place { host, transport } = at;
    let (mark, transport) = transport.map_or(("", ""), |name| (";transport=", name));
    let parts = [
        "<sip:",
        OFFER_PREFIX,
        token,
        "@",
        host,
        mark,
        transport,
        ">;purpose=call-completion;m=",
        condition.m(),
    ];
    parts.concat()
}

/// The cc-URI of a queue entry of ours.
///
/// CC-39, CC-70: where its CC call and its PUBLISH go; no other entry has it.
pub fn cc_uri(cce: CceToken, at: Place<'_>) -> String {
    let Place { host, transport } = at;
    match transport {
        Some(name) => format!("sip:{ENTRY_PREFIX}{cce}@{host};transport={name}"),
        None => format!("sip:{ENTRY_PREFIX}{cce}@{host}"),
    }
}

/// What a user part of ours names; `None` for any other user.
pub fn named_by(user: &str) -> Option<Named<'_>> {
    match user.strip_prefix(ENTRY_PREFIX) {
        Some(cce) => cce.parse().ok().map(Named::Entry),
        None => user.strip_prefix(OFFER_PREFIX).map(Named::Offer),
    }
}

/// What a URI of ours names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Named<'t> {
    /// An entry, by its cc-URI.
    Entry(CceToken),
    /// An offer, by its token.
    Offer(&'t str),
}

/// What the user part of an offer's URI begins with.
const OFFER_PREFIX: &str = "cc-";

/// What the user part of a cc-URI begins with.
const ENTRY_PREFIX: &str = "cce-";

/// Where a URI of ours is reached.
#[derive(Clone, Copy, Debug)]
pub struct Place<'t> {
    /// Host and port of the listener that faces the peer, brackets of IPv6 included.
    pub host: &'t str,
    /// A transport parameter, for a peer that needs one.
    pub transport: Option<&'t str>,
}

fn by_in_pass(in_pass: InPass) -> Verdict {
    match in_pass {
        InPass::Final(486 | 600) => Verdict::Offer(Condition::Busy),
        InPass::RangOut => Verdict::Offer(Condition::NoReply),
        InPass::NoBinding => Verdict::Offer(Condition::NotLoggedIn),
        // He said no: a recall would ask him again.
        InPass::Final(403 | 603) => Verdict::Never,
        InPass::Silent | InPass::Final(_) => Verdict::Open,
    }
}

fn by_cause(cause: Option<u8>) -> Verdict {
    match cause {
        Some(17) => Verdict::Offer(Condition::Busy),
        Some(18 | 19) => Verdict::Offer(Condition::NoReply),
        Some(20) => Verdict::Offer(Condition::NotLoggedIn),
        // 21: call rejected.
        Some(21) => Verdict::Never,
        Some(_) | None => Verdict::Open,
    }
}

fn by_status(evidence: &Evidence) -> Verdict {
    match (evidence.status, evidence.alerting, evidence.callee) {
        (486 | 600, _, _) => Verdict::Offer(Condition::Busy),
        (408, _, _) | (480 | 487, Alerting::Rang, _) => Verdict::Offer(Condition::NoReply),
        (404 | 480, Alerting::None, Registration::Unregistered) => {
            Verdict::Offer(Condition::NotLoggedIn)
        }
        _ => Verdict::Never,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: Evidence = Evidence {
        in_pass: InPass::Silent,
        cause: None,
        status: 500,
        alerting: Alerting::None,
        callee: Registration::Registered,
    };

    fn by_status(status: u16, alerting: Alerting, callee: Registration) -> Option<Condition> {
        decide(&Evidence {
            status,
            alerting,
            callee,
            ..CALL
        })
    }

    #[test]
    fn the_status_alone_decides_when_nothing_nearer_is_known() {
        use Alerting::{None as Silence, Rang};
        use Registration::{Registered, Stranger, Unregistered};
        for (status, alerting, callee, condition) in [
            (486, Silence, Registered, Some(Condition::Busy)),
            (600, Rang, Stranger, Some(Condition::Busy)),
            (408, Silence, Registered, Some(Condition::NoReply)),
            (480, Rang, Registered, Some(Condition::NoReply)),
            (487, Rang, Registered, Some(Condition::NoReply)),
            (487, Silence, Registered, None),
            (480, Silence, Unregistered, Some(Condition::NotLoggedIn)),
            (404, Silence, Unregistered, Some(Condition::NotLoggedIn)),
            (480, Silence, Registered, None),
            (404, Silence, Stranger, None),
            (404, Rang, Unregistered, None),
            (603, Rang, Registered, None),
            (403, Silence, Registered, None),
            (503, Silence, Registered, None),
            (200, Rang, Registered, None),
        ] {
            assert_eq!(
                by_status(status, alerting, callee),
                condition,
                "{status} {alerting:?} {callee:?}"
            );
        }
    }

    #[test]
    fn the_callees_own_phone_is_believed_before_cause_and_status() {
        let voicemail = Evidence {
            in_pass: InPass::RangOut,
            status: 200,
            alerting: Alerting::Rang,
            ..CALL
        };
        assert_eq!(decide(&voicemail), Some(Condition::NoReply));
        let busy = Evidence {
            in_pass: InPass::Final(486),
            cause: Some(19),
            ..voicemail
        };
        assert_eq!(decide(&busy), Some(Condition::Busy));
        let declined = Evidence {
            in_pass: InPass::Final(603),
            cause: Some(17),
            status: 486,
            ..CALL
        };
        assert_eq!(decide(&declined), None);
        let nobody = Evidence {
            in_pass: InPass::NoBinding,
            ..voicemail
        };
        assert_eq!(decide(&nobody), Some(Condition::NotLoggedIn));
    }

    #[test]
    fn the_cause_is_believed_before_the_status() {
        for (cause, condition) in [
            (17, Some(Condition::Busy)),
            (18, Some(Condition::NoReply)),
            (19, Some(Condition::NoReply)),
            (20, Some(Condition::NotLoggedIn)),
            (21, None),
            // Says nothing of the callee, so that the status goes on to decide.
            (31, Some(Condition::Busy)),
        ] {
            let evidence = Evidence {
                cause: Some(cause),
                status: 486,
                ..CALL
            };
            assert_eq!(decide(&evidence), condition, "cause {cause}");
        }
    }

    #[test]
    fn a_missing_or_unknown_m_is_made_up_for() {
        let busy = Evidence {
            status: 486,
            ..CALL
        };
        // CC-32
        assert_eq!(condition_offered(None, &busy), Some(Condition::Busy));
        assert_eq!(condition_offered(Some("ZZ"), &busy), Some(Condition::Busy));
        assert_eq!(condition_offered(Some("NR"), &busy), Some(Condition::Busy));
        assert_eq!(
            condition_offered(Some("nl"), &CALL),
            Some(Condition::NotLoggedIn)
        );
        assert_eq!(condition_offered(Some("ZZ"), &CALL), None);
    }

    #[test]
    fn the_offer_reads_as_old_peers_need_it() {
        let place = Place {
            host: "192.0.2.1:5060",
            transport: None,
        };
        // CC-31
        assert_eq!(
            call_info("abc", place, Condition::Busy),
            "<sip:cc-abc@192.0.2.1:5060>;purpose=call-completion;m=BS"
        );
        let tls = Place {
            host: "[2001:db8::1]",
            transport: Some("tls"),
        };
        assert_eq!(
            call_info("abc", tls, Condition::NotLoggedIn),
            "<sip:cc-abc@[2001:db8::1];transport=tls>;purpose=call-completion;m=NL"
        );
    }

    #[test]
    fn our_own_uris_are_recognised_by_their_users() {
        let place = Place {
            host: "192.0.2.1:5060",
            transport: None,
        };
        let cce = CceToken::from_bits(7);
        let uri = cc_uri(cce, place);
        let user = uri.split(['@', ':']).nth(1).expect("a user");
        // CC-70
        assert_eq!(named_by(user), Some(Named::Entry(cce)));
        assert_eq!(named_by("cc-abc"), Some(Named::Offer("abc")));
        assert_eq!(named_by("cce-abc"), None);
        assert_eq!(named_by("bob"), None);
    }
}
