//! The recall: the caller's phone is rung, then the callee's, and the service hears how it went.
//!
//! Spec: RFC 6910 §6.4; RULES R8 (the phone that asked), R9, R10, R18.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::call::{Call, Invitation, News, NoCall, Party, Refusal};
use crate::cc::addr::AddrSpec;
use crate::cc::agent::{RecallFailure, Why};
use crate::cc::line::Calls;
use crate::cc::monitor::Found;
use crate::cc::offer::{self, Alerting, Evidence, InPass, Registration};
use crate::completion::{self, CompletionId, Input, Recall, Via};
use crate::location::{Aor, BindingId};
use crate::shard::desk::user_of;
use crate::shard::offer::{About, host_at};
use crate::shard::ways::{Way, Ways, targets};
use crate::shard::{Held, Parties, Shard};
use crate::sip::{Uri, unescape};
use crate::table::Key;
use crate::time::Timestamp;

impl Shard {
    /// Rings the phone that asked; all of the caller's only if it is gone (R8).
    pub(super) fn recall(&mut self, now: Timestamp, recall: &Recall) {
        let caller = user_of(&recall.caller);
        if self.users.legs(&caller) > 0 {
            // CC-21: the service may not have heard of his call yet.
            let (id, why) = (recall.id, RecallFailure::Busy);
            self.desk.facts.push_back(Input::RecallFailed { id, why });
            return;
        }
        let ways = self.ways_back(now, &caller, BindingId(recall.binding.0));
        // Who is stopping takes no new calls, and begins none.
        if self.draining || !self.ring(now, recall, caller, &ways) {
            self.desk.facts.push_back(Input::RecallFailed {
                id: recall.id,
                why: RecallFailure::Unreachable,
            });
        }
    }

    /// Whether it rings.
    fn ring(&mut self, now: Timestamp, recall: &Recall, caller: Aor, ways: &Ways) -> bool {
        let Some(first) = ways.first() else {
            return false;
        };
        let Ok(key) = self.calls.reserve() else {
            return false;
        };
        let host = host_at(&self.hosts, first.flow.listener);
        let caller_uri = uri_of(&caller, host);
        let name = [b"Callback: ", &*dialled_user(&recall.dialled)].concat();
        let parties = Parties {
            caller: Some(caller),
            ..Parties::default()
        };
        let mut about = About::Recall(recall.id);
        let targets = targets(ways);
        let invitation = Invitation {
            targets: &targets,
            from: Party {
                name: &name,
                uri: recall.dialled.as_str().as_bytes(),
            },
            to: Party {
                name: b"",
                uri: caller_uri.as_bytes(),
            },
        };
        let call = self.with_turn(now, &parties, &mut about, |turn| {
            Call::recall(key, turn, &invitation)
        });
        let Some(call) = call else {
            self.calls.discard(key);
            return false;
        };
        if let Some(caller) = &parties.caller {
            self.users.engage(caller);
        }
        self.counters.calls_started += 1;
        self.desk.recalls.insert(recall.id, key);
        let held = Held {
            call,
            parties,
            about,
            armed: None,
        };
        self.put_back(now, key, Box::new(held));
        true
    }

    /// The caller answered: his callee is called.
    pub(super) fn place_cc_call(&mut self, now: Timestamp, cc_call: &completion::Call) {
        let Some(key) = self.desk.recalls.get(&cc_call.id).copied() else {
            return;
        };
        let (ways, callee) = match cc_call.via {
            Via::Own(_) => {
                let callee = user_of(&cc_call.callee);
                (self.ways_to(now, &callee), Some(callee))
            }
            Via::Peer(peer) => {
                let way = self.way_to_peer(peer, cc_call.target.as_str().as_bytes());
                (way.into_iter().collect(), None)
            }
        };
        if callee.as_ref().is_some_and(|callee| self.is_full(callee)) {
            return self.give_up_cc_call(now, key, cc_call.id);
        }
        if let Some(callee) = &callee
            && !ways.is_empty()
        {
            self.users.engage(callee);
            if let Some(held) = self.calls.get_mut(key) {
                held.parties.callee = Some(callee.clone());
            }
        }
        let targets = targets(&ways);
        let invitation = Invitation {
            targets: &targets,
            from: Party {
                name: b"",
                uri: cc_call.from.as_str().as_bytes(),
            },
            to: Party {
                name: b"",
                uri: cc_call.dialled.as_str().as_bytes(),
            },
        };
        self.with_call(now, key, |call, turn| call.place(turn, &invitation));
    }

    /// R20: the callee has as many calls as he may have again.
    fn give_up_cc_call(&mut self, now: Timestamp, key: Key, id: CompletionId) {
        let condition = crate::cc::Condition::Busy;
        let calls = Calls::Engaged;
        self.desk.facts.push_back(Input::CcCallArrived { id });
        self.desk.facts.push_back(Input::CcCallFailed {
            id,
            found: Some(Found { condition, calls }),
        });
        self.with_call(now, key, |call, turn| {
            call.end_recall(turn, b"SIP;cause=486;text=\"Busy Here\"");
        });
    }

    /// R18: stops whatever is up for a recall.
    pub(super) fn end_recall(&mut self, now: Timestamp, id: CompletionId, why: Why) {
        if let Some(key) = self.desk.recalls.remove(&id) {
            self.with_call(now, key, |call, turn| call.end_recall(turn, reason(why)));
        }
    }

    pub(super) fn on_recall_news(
        &mut self,
        now: Timestamp,
        held: &mut Held,
        id: CompletionId,
        news: News,
    ) {
        let fact = match news {
            News::RecallAnswered => Input::RecallAnswered { id },
            News::RecallFailed(why) => Input::RecallFailed {
                id,
                why: recall_failure(why),
            },
            News::CcCallLeft => Input::CcCallArrived { id },
            News::Answered => Input::CcCallAnswered { id },
            News::CcCallFailed(refusal) => {
                let callee = held.parties.callee.take();
                let found = refusal.and_then(|refusal| self.found(callee.as_ref(), refusal));
                if let Some(callee) = callee {
                    self.users.release(now, &callee);
                }
                Input::CcCallFailed { id, found }
            }
        };
        self.desk.facts.push_back(fact);
    }

    /// How the callee was found by a CC call that failed.
    fn found(&self, callee: Option<&Aor>, refusal: Refusal) -> Option<Found> {
        let registration = match callee {
            None => Registration::Stranger,
            Some(callee) if self.registrar.registered_since(callee).is_some() => {
                Registration::Registered
            }
            Some(_) => Registration::Unregistered,
        };
        let condition = offer::decide(&Evidence {
            in_pass: InPass::Silent,
            cause: refusal.q850,
            status: refusal.status.code(),
            alerting: if refusal.rang {
                Alerting::Rang
            } else {
                Alerting::None
            },
            callee: registration,
        })?;
        let calls = callee.map_or(Calls::Unknown, |callee| self.users.calls_beside(callee, 1));
        Some(Found { condition, calls })
    }

    fn ways_back(&self, now: Timestamp, caller: &Aor, binding: BindingId) -> Ways {
        match self.registrar.target_of(now, caller, binding) {
            Some(target) => std::iter::once(Way::from(target)).collect(),
            None => self.ways_to(now, caller),
        }
    }
}

fn recall_failure(why: NoCall) -> RecallFailure {
    match why {
        NoCall::Busy => RecallFailure::Busy,
        NoCall::NoWay => RecallFailure::NoCall,
        NoCall::Refused => RecallFailure::Refused,
        NoCall::Unanswered => RecallFailure::Unanswered,
        NoCall::Unreachable => RecallFailure::Unreachable,
    }
}

/// RFC 3326: what the phones are told of a recall that is withdrawn.
fn reason(why: Why) -> &'static [u8] {
    match why {
        Why::CalledByHand => b"SIP;cause=200;text=\"Call completed elsewhere\"",
        Why::CallFailed | Why::NoCall => b"SIP;cause=480;text=\"Callee not reached\"",
        Why::Ended => b"SIP;cause=487;text=\"Callback taken back\"",
        Why::NotReached(_) => b"SIP;cause=480;text=\"Callback not answered\"",
        Why::Withdrawn => b"SIP;cause=480;text=\"Callee not free any more\"",
    }
}

/// Whom the caller dialled, for his display.
fn dialled_user(dialled: &AddrSpec) -> Cow<'_, [u8]> {
    match Uri::parse(dialled.as_str().as_bytes()) {
        Ok(Uri::Sip(uri)) => uri.user.map(unescape).unwrap_or_default(),
        Ok(Uri::Tel(tel)) => Cow::Borrowed(tel.number),
        Ok(Uri::Urn(_) | Uri::Other(_)) | Err(_) => Cow::default(),
    }
}

/// The address of a user of ours, as a URI.
pub(super) fn uri_of(user: &Aor, host: &str) -> String {
    let text = user.as_str();
    let (name, domain) = text.rsplit_once('@').unwrap_or((text, ""));
    let mut uri = String::from("sip:");
    for byte in name.bytes() {
        // RFC 3261 §25.1: what stands for itself in a user part; what is escaped already stays so.
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,;?/%".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            // Writing to memory cannot fail.
            let _written = write!(uri, "%{byte:02X}");
        }
    }
    uri.push('@');
    uri.push_str(if domain.is_empty() { host } else { domain });
    uri
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn the_address_of_a_user_can_stand_in_a_message() {
        for (name, uri) in [
            ("alice@", "sip:alice@192.0.2.1:5060"),
            ("alice@example.com", "sip:alice@example.com"),
            ("a b>@", "sip:a%20b%3E@192.0.2.1:5060"),
            ("x%00@", "sip:x%00@192.0.2.1:5060"),
        ] {
            let user = Aor::from_canonical(Arc::from(name));
            assert_eq!(uri_of(&user, "192.0.2.1:5060"), uri);
        }
    }
}
