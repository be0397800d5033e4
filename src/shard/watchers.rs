//! Phones that wait for a callee by the dialog package: he is on a call until it is their turn.
//!
//! Spec: RFC 4235; RFC 5359 §2.17; RULES R15.
//!
//! Yealink and Fanvil subscribe for a minute at a time after a call that failed, snom marks its Event
//! with `purpose=call-completion`. Lamps and busy keys are nobody's wish to be called back: where it is
//! not sure which of the two a SUBSCRIBE is, the PBX tells.

use crate::cc::addr;
use crate::cc::monitor::{Lifetime, Reason};
use crate::cc::{RecallState, SubscriptionId};
use crate::completion;
use crate::dialog::subscription::{Notifier, Package};
use crate::relay;
use crate::shard::desk::name_of;
use crate::shard::{Reject, Shard};
use crate::sip::dialog_info::{self, Standing};
use crate::sip::flow::Flow;
use crate::sip::{Checked, Event, Message, Name, Request, Response, Scratch, Status, parse_u32};
use crate::table::Key;
use crate::time::Timestamp;
use crate::transaction::branch::hex;
use crate::transaction::reply;
use crate::transaction::servers::Answer;

/// The longest time for which a phone that waits subscribes at once; lamps do so for longer.
const WAIT_MAX_S: u32 = 120;

/// A phone's SUBSCRIBE that asks for completion, or may.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    /// Whose phone it is.
    pub(super) caller: addr::Aor,
    /// Whom it watches.
    pub(super) callee: addr::Aor,
}

/// What is kept of a SUBSCRIBE that the PBX is to answer, should the PBX not know the package.
#[derive(Clone, Debug)]
pub(super) struct Fallback {
    watched: Watched,
    flow: Flow,
    request: Box<[u8]>,
}

/// How sure it is that a phone waits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Sureness {
    /// It says so.
    Said,
    /// It asks as phones do that wait.
    Likely,
    /// It may as well be a lamp.
    Unclear,
}

impl Shard {
    /// A SUBSCRIBE that would make a subscription: to a queue of ours, or to somebody else's.
    pub(super) fn on_new_subscribe(
        &mut self,
        now: Timestamp,
        flow: &Flow,
        request: &Request<'_>,
    ) -> Result<(), Reject> {
        if let Some((watched, sureness)) = self.watched(flow, request) {
            let waits = self.may_wait(now, &watched);
            let has_others = self.has_others(flow);
            let is_ours = match sureness {
                Sureness::Said => waits || !has_others,
                Sureness::Likely => waits,
                Sureness::Unclear => waits && !has_others,
            };
            if is_ours {
                return self.on_subscribe(now, flow, request, (Some(watched), None));
            }
            if waits && has_others {
                let fallback = Fallback {
                    watched,
                    flow: *flow,
                    request: request.message.raw().into(),
                };
                return self.relay_with(now, flow, request, Some(Box::new(fallback)));
            }
        }
        if self.is_about_lamp(flow, request) {
            return self.on_lamp(now, flow, request);
        }
        if self.is_about_completion(flow, request) {
            self.on_subscribe(now, flow, request, (None, None))
        } else {
            self.on_relay(now, flow, request)
        }
    }

    fn may_wait(&self, now: Timestamp, watched: &Watched) -> bool {
        let Watched { caller, callee } = watched;
        self.desk.service.may_wait(now, caller, callee)
    }

    /// Whom a user's phone asks about by the dialog package, and whether it asks as one that waits.
    fn watched(&self, flow: &Flow, request: &Request<'_>) -> Option<(Watched, Sureness)> {
        let event = Event::of(&request.message)?;
        let is_dialog = event.is(Package::Dialog.as_str());
        if !is_dialog || !self.settings.completion.enabled {
            return None;
        }
        let caller = self.sender(flow, request)?;
        let dialled = self.domains.aor(&request.uri)?;
        let sureness = if event.params.value("purpose") == Some(b"call-completion") {
            Sureness::Said
        } else {
            let expires = request.message.first(Name::Expires).and_then(parse_u32);
            let is_brief = expires.is_some_and(|seconds| seconds <= WAIT_MAX_S);
            let is_lamp = self.relays.has_lamp(&caller, flow, &dialled);
            if is_brief && !is_lamp {
                Sureness::Likely
            } else {
                Sureness::Unclear
            }
        };
        let callee = self.owner_of(&dialled).unwrap_or(dialled);
        let watched = Watched {
            caller: name_of(&caller),
            callee: name_of(&callee),
        };
        Some((watched, sureness))
    }

    fn refuse_kept(&mut self, now: Timestamp, server: Key, reject: Reject) {
        self.rejects.add(reject);
        let tag = hex(self.rng.bits());
        let answer = Answer {
            status: reject.status(),
            phrase: b"",
            tag: reply::Tag::Ours(&tag),
            rest: reply::NOTHING,
        };
        self.layer.respond(now, server, &answer);
    }

    /// R15: the PBX does not know the package, or whom it was asked about, so that we tell.
    ///
    /// Says whether its refusal is not to be passed on.
    pub(super) fn tells_instead(
        &mut self,
        now: Timestamp,
        (key, part): (Key, relay::Part),
        response: &Response<'_>,
    ) -> bool {
        let is_ignorance = matches!(response.status, Status::BAD_EVENT | Status::NOT_FOUND);
        if !is_ignorance || !matches!(part, relay::Part::Opening(_)) {
            return false;
        }
        let Some((fallback, server)) = self.relays.take_fallback(key) else {
            return false;
        };
        let Fallback {
            watched,
            flow,
            request,
        } = fallback;
        let mut index = Scratch::new();
        let message = Message::parse(&request, &mut index).ok();
        if let Some(Ok(Checked::Request(request))) = message.map(Checked::check) {
            let asked = (Some(watched), Some(server));
            if let Err(reject) = self.on_subscribe(now, &flow, &request, asked) {
                self.refuse_kept(now, server, reject);
            }
        }
        true
    }
}

/// What such a phone is told: it hears of no end before its turn, and calls then.
pub(super) fn document(
    notifier: &Notifier,
    id: SubscriptionId,
    notify: &completion::Notify,
) -> Vec<u8> {
    let standing = match (notify.life, notify.state) {
        (Lifetime::Terminated(_), _) | (_, RecallState::Queued) => Standing::Confirmed,
        (Lifetime::Active(_), RecallState::Ready) => Standing::Terminated,
    };
    let mut body = Vec::with_capacity(256);
    let about = (notifier.entity(), notifier.version());
    // Made up, and the same in each document; it is no id of any call's.
    dialog_info::write(&mut body, about, &format!("w{}", id.0), standing);
    body
}

/// How its subscription stands: what is no reason to ask again is none to a phone that does not know
/// completion.
pub(super) fn life_of(life: Lifetime) -> Lifetime {
    match life {
        Lifetime::Terminated(Reason::Probation | Reason::Rejected) => {
            Lifetime::Terminated(Reason::NoResource)
        }
        Lifetime::Active(_) | Lifetime::Terminated(Reason::NoResource | Reason::Timeout) => life,
    }
}
