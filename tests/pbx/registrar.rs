//! The PBX's registrar: RFC 3261 §10.3, and nothing of RFC 5626.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::sip::{Sip, address, bare, parameter};
use super::switches::Switches;

#[derive(Clone, Debug)]
struct Binding {
    contact: String,
    ends: Instant,
    call_id: String,
    cseq: u32,
}

/// Who is where, by user part.
#[derive(Debug, Default)]
pub struct Registrar {
    bindings: BTreeMap<String, Vec<Binding>>,
}

/// What a REGISTER comes to: the status, and what else is wrong with it.
pub struct Outcome {
    pub response: Sip,
    pub complaint: Option<String>,
}

impl Registrar {
    /// Carries out a REGISTER of a user who has proven himself.
    pub fn register(&mut self, user: &str, request: &Sip, switches: &Switches) -> Outcome {
        let refused = |status, reason: &str, complaint: Option<&str>| Outcome {
            response: Sip::response(request, status, reason),
            complaint: complaint.map(|why| format!("{why}:\n{request}")),
        };
        let bindings = self.bindings.entry(user.to_owned()).or_default();
        let now = Instant::now();
        bindings.retain(|one| one.ends > now);
        let (cseq, _) = request.cseq();
        let known = bindings.iter().find(|one| one.call_id == request.call_id());
        if known.is_some_and(|one| one.cseq >= cseq) {
            return refused(
                500,
                "Out Of Order",
                Some("a REGISTER that does not count on"),
            );
        }
        let contacts = request.list("Contact");
        let general = request.first("Expires").and_then(|text| text.parse().ok());
        if contacts == ["*"] {
            if general != Some(0) {
                return refused(400, "Bad Request", Some("`*` without Expires: 0"));
            }
            bindings.clear();
        }
        for contact in contacts.iter().filter(|one| *one != "*") {
            let own = parameter(contact, "expires").and_then(|text| text.parse().ok());
            let asked: u32 = own.or(general).unwrap_or(switches.expires_max);
            if asked != 0 && asked < switches.expires_min {
                let mut outcome = refused(423, "Interval Too Brief", None);
                let least = switches.expires_min.to_string();
                outcome.response.push("Min-Expires", &least);
                return outcome;
            }
            let uri = address(contact).to_owned();
            bindings.retain(|one| bare(&one.contact) != bare(&uri));
            if asked > 0 {
                let granted = asked.min(switches.expires_max);
                bindings.push(Binding {
                    contact: uri,
                    ends: now + Duration::from_secs(granted.into()),
                    call_id: request.call_id().to_owned(),
                    cseq,
                });
            }
        }
        let mut response = Sip::response(request, 200, "OK");
        for Binding { contact, ends, .. } in &*bindings {
            let left = ends.duration_since(now).as_secs_f64().ceil();
            response.push("Contact", &format!("<{contact}>;expires={left:.0}"));
        }
        Outcome {
            response,
            complaint: None,
        }
    }

    /// Where a user can be reached, the newest last.
    pub fn contacts(&self, user: &str) -> Vec<String> {
        let now = Instant::now();
        let bindings = self.bindings.get(user).into_iter().flatten();
        let live = bindings.filter(|one| one.ends > now);
        live.map(|one| one.contact.clone()).collect()
    }

    pub fn all_contacts(&self) -> Vec<String> {
        let users = self.bindings.keys();
        users.flat_map(|user| self.contacts(user)).collect()
    }

    /// As after a restart.
    pub fn forget(&mut self) {
        self.bindings.clear();
    }
}
