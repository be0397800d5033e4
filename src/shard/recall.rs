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
use crate::completion::{CompletionId, Input, Recall};
use crate::location::{Aor, BindingId};
use crate::shard::desk::{name_of, user_of};
use crate::shard::offer::{About, Asker, host_at};
use crate::shard::placing::Rung;
use crate::shard::record::Draft;
use crate::shard::ways::{Way, Ways, targets};
use crate::shard::{Held, Parties, Shard, passes};
use crate::sip::{Uri, unescape};
use crate::time::Timestamp;

impl Shard {
    /// Rings the phone that asked; all of the caller's only if it is gone (R8).
    pub(super) fn recall(&mut self, now: Timestamp, recall: &Recall) {
        let caller = user_of(&recall.caller);
        if self.users.legs(&caller) > 0 {
            // CC-21, CC-24: the service has yet to hear of his call, be it the one by which he asked.
            let (id, why) = (recall.id, RecallFailure::Engaged);
            let line = self.lines_of(&caller);
            let facts = [line, Input::RecallFailed { id, why }];
            self.desk.facts.extend(facts);
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
        let why: &[u8] = if self.is_connection(recall.id) {
            b"Call: "
        } else {
            b"Callback: "
        };
        let name = [why, &*dialled_user(&recall.dialled)].concat();
        let parties = Parties {
            caller: Some(caller),
            ..Parties::default()
        };
        let mut about = About::Recall(recall.id);
        let draft = || Draft::of_recall(&caller_uri, recall.dialled.as_str(), ways);
        self.records.begin(key, self.request_of(&about), draft);
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
            said: &[],
        };
        let call = self.with_turn(now, &parties, &mut about, |turn| {
            Call::recall(key, turn, &invitation)
        });
        let Some(call) = call else {
            self.records.forget(key);
            self.calls.discard(key);
            return false;
        };
        if let Some(caller) = &parties.caller {
            self.users.engage(caller);
        }
        self.counters.calls_started += 1;
        self.desk.recalls.insert(recall.id, Rung::new(key));
        self.put_back(now, key, Held::new(call, parties, about));
        true
    }

    /// R18: stops whatever is up for a recall, the call included that the caller's phone was asked
    /// for.
    pub(super) fn end_recall(&mut self, now: Timestamp, id: CompletionId, why: Why) {
        let Some(rung) = self.take_recall(id) else {
            return;
        };
        if let Some(referred) = rung.referred.filter(|_| why == Why::Ended) {
            self.with_call(now, referred, |call, turn| call.withdraw(turn, reason(why)));
        }
        self.with_call(now, rung.key, |call, turn| {
            call.end_recall(turn, reason(why));
        });
    }

    /// A call was answered: whose legs carry talk, and what is completed by it (R9).
    pub(super) fn on_answered(&mut self, now: Timestamp, held: &mut Held) {
        let Parties {
            caller,
            callee,
            dialled,
            ..
        } = &held.parties;
        for user in [caller, callee].into_iter().flatten() {
            self.users.answer(user);
        }
        // What has become of a recall, its news say.
        let is_recall = matches!(held.about, About::Recall(_));
        if !is_recall && passes::is_answered_for(&held.parties) {
            return self.on_diverted(now, held);
        }
        let dialled = dialled.as_ref().map(|dialled| &dialled.user);
        let callee = callee.as_ref().or(dialled);
        match &held.about {
            // Whoever got through by the name of his place has what he waited for.
            About::Beside(id) | About::CcCall(id) => {
                let fact = Input::CcCallAnswered { id: *id };
                self.desk.facts.push_back(fact);
            }
            About::Asker(asker) => {
                // Who answers behind a peer is for that peer to know.
                if let Some(callee) = asker.callee.queued()
                    && self.has_requests()
                {
                    let (caller, callee) = (asker.caller.clone(), name_of(callee));
                    let fact = Input::CallAnswered { caller, callee };
                    self.desk.facts.push_back(fact);
                }
                if asker.failed.is_some() {
                    self.forget_completed(asker);
                }
                // Nobody asks any more.
                held.about = asker.invited().map_or(About::Nothing, About::Camped);
            }
            About::Camped(_) | About::Nothing => {
                if let (Some(caller), Some(callee)) = (caller, callee)
                    && self.has_requests()
                {
                    let (caller, callee) = (name_of(caller), name_of(callee));
                    let fact = Input::CallAnswered { caller, callee };
                    self.desk.facts.push_back(fact);
                }
            }
            // Its news say more; a code has no callee.
            About::Code | About::Recall(_) => {}
            About::Inward(inward) => self.note_in_pass_answered(held, *inward),
        }
    }

    /// TAPI: a call that was completed has not failed, and is not completed again.
    pub(super) fn forget_completed(&mut self, asker: &Asker) {
        let service = &mut self.desk.service;
        service.forget_failed(&asker.caller, asker.call);
    }

    fn has_requests(&self) -> bool {
        self.desk.service.counts().completions > 0
    }

    pub(super) fn on_recall_news(
        &mut self,
        now: Timestamp,
        held: &mut Held,
        id: CompletionId,
        news: News,
    ) {
        let fact = match news {
            News::NotReferred => {
                tracing::info!(completion = %id, "the caller's phone does not call by itself");
                return self.desk.unplaced.push(id);
            }
            News::RecallAnswered => Input::RecallAnswered { id },
            News::RecallFailed(why) => Input::RecallFailed {
                id,
                why: recall_failure(why),
            },
            News::CcCallLeft => Input::CcCallArrived { id },
            News::Answered if passes::is_answered_for(&held.parties) => {
                Input::CcCallDiverted { id }
            }
            News::Answered => Input::CcCallAnswered { id },
            News::CcCallFailed(refusal) => {
                let found = refusal.and_then(|refusal| self.found(id, &held.parties, refusal));
                if let Some(callee) = held.parties.callee.take() {
                    self.users.release(now, &callee);
                }
                Input::CcCallFailed { id, found }
            }
        };
        self.desk.facts.push_back(fact);
    }

    /// How the callee was found by a CC call that failed.
    pub(super) fn found(
        &self,
        id: CompletionId,
        parties: &Parties,
        refusal: Refusal,
    ) -> Option<Found> {
        let dialled = parties.dialled.as_ref();
        let callee = parties.callee.as_ref();
        let legs = u32::from(callee.is_some());
        let callee = callee.or_else(|| dialled.map(|dialled| &dialled.user));
        let registration = match callee {
            None => Registration::Stranger,
            Some(callee) if self.registrar.registered_since(callee).is_some() => {
                Registration::Registered
            }
            Some(_) => Registration::Unregistered,
        };
        let condition = offer::decide(&Evidence {
            in_pass: dialled.map_or(InPass::Silent, |dialled| dialled.seen.in_pass()),
            cause: refusal.q850,
            status: refusal.status.code(),
            alerting: if refusal.rang {
                Alerting::Rang
            } else {
                Alerting::None
            },
            callee: registration,
        })?;
        let calls = match (callee, self.desk.service.view(id)) {
            (Some(callee), _) => {
                let registered = self.registrar.registered_since(callee);
                self.users.calls_beside(callee, legs, registered)
            }
            (None, Some(view)) => self.users.calls_told(&user_of(view.callee)),
            (None, None) => Calls::Unknown,
        };
        Some(Found { condition, calls })
    }

    fn ways_back(&self, now: Timestamp, caller: &Aor, binding: BindingId) -> Ways {
        let asked: Ways = (self.registrar.targets_of(now, caller, binding))
            .map(Way::from)
            .collect();
        if asked.is_empty() {
            return self.ways_to(now, caller);
        }
        asked
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
pub(super) fn dialled_user(dialled: &AddrSpec) -> Cow<'_, [u8]> {
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
