//! Where a call goes: to the callee's contacts, to the PBX, or nowhere.
//!
//! Spec: RFC 3261 §16.5; RULES R20.

use std::time::Duration;

use smallvec::SmallVec;

use crate::call::relay;
use crate::call::{self, Again, Asks, Call, Offer, SessionAsks, Told};
use crate::cc::Condition;
use crate::cc::addr::{self, AddrSpec};
use crate::cc::capsule::CallIdentity;
use crate::cc::line::Calls;
use crate::cc::monitor::Found;
use crate::cc::trust::PeerId;
use crate::completion::{Binding, Input};
use crate::location::Aor;
use crate::shard::desk::{name_of, user_of};
use crate::shard::entries::CcCall;
use crate::shard::joining::check_named;
use crate::shard::legs::IN_PLACE;
use crate::shard::offer::{About, Asker, Callee, identity_of};
use crate::shard::passes::Dialled;
use crate::shard::record::Draft;
use crate::shard::settings::PeerCompletion;
use crate::shard::ways::{Ways, keep_secure, targets};
use crate::shard::{Held, Parties, Reject, Shard};
use crate::sip::flow::Flow;
use crate::sip::{Name, Request, Uri, Writer};
use crate::table::Key;
use crate::time::Timestamp;
use crate::transaction::User;
use crate::transaction::branch::hex;
use crate::transaction::reply;
use crate::transaction::servers::Answer;

/// Where a call goes.
pub(super) struct Routed {
    pub(super) ways: Ways,
    /// The user of ours who is called.
    pub(super) callee: Option<Aor>,
    /// The peer through which it goes.
    pub(super) peer: Option<PeerId>,
}

/// R23: for how long nobody is called back who has called for help.
const AFTER_EMERGENCY: Duration = Duration::from_hours(1);

/// An INVITE and whom it concerns.
pub(super) struct Arrived<'r> {
    pub(super) request: &'r Request<'r>,
    pub(super) flow: &'r Flow,
    /// A user of ours who calls from a phone of his.
    pub(super) caller: Option<Aor>,
    /// How completion knows the caller, if he may have to do with it (R8).
    pub(super) name: Option<addr::Aor>,
}

impl Shard {
    pub(super) fn on_invite(
        &mut self,
        now: Timestamp,
        flow: &Flow,
        request: &Request<'_>,
    ) -> Result<(), Reject> {
        // T31: a call for help is refused for nothing that it names.
        let is_judged = !self.is_emergency(request);
        if is_judged {
            check_named(request)?;
        }
        if self.is_from_pbx(flow) {
            return self.on_in_pass(now, flow, request);
        }
        let caller = self.sender(flow, request);
        if is_judged {
            self.check_replacing(now, (request, flow), caller.as_ref())?;
            self.check_joining(now, request, caller.as_ref())?;
        }
        let begun = self.on_call_of(now, flow, request, caller);
        // Or it has become a call, which it ends with.
        self.end_joining(now);
        begun
    }

    fn on_call_of(
        &mut self,
        now: Timestamp,
        flow: &Flow,
        request: &Request<'_>,
        caller: Option<Aor>,
    ) -> Result<(), Reject> {
        if self.is_pressing(request) {
            if let Some(caller) = &caller {
                // R23: who has called for help is left alone.
                self.users.leave_alone(now, caller, AFTER_EMERGENCY);
            }
            return self.on_call(now, request, flow, caller);
        }
        if let (Some(caller), Some(code)) = (&caller, self.code_of(request)) {
            return self.on_code(now, flow, request, (caller, code));
        }
        let name = self.caller_name(request, flow, caller.as_ref());
        let arrived = Arrived {
            request,
            flow,
            caller,
            name,
        };
        match self.cc_call_of(now, &arrived)? {
            Some(cc_call) if self.is_beside(&cc_call) => self.on_call_beside(now, arrived, cc_call),
            Some(cc_call) => self.on_cc_call(now, arrived, cc_call),
            None => self.on_plain_call(now, arrived),
        }
    }

    /// A call that nothing may come in between.
    fn on_call(
        &mut self,
        now: Timestamp,
        request: &Request<'_>,
        flow: &Flow,
        caller: Option<Aor>,
    ) -> Result<(), Reject> {
        let callee = self.domains.aor(&request.uri);
        let Routed { ways, callee, .. } = self.route(now, request, flow, callee)?;
        let parties = Parties {
            caller,
            callee,
            dialled: None,
            ..Parties::default()
        };
        self.start_call(now, request, flow, &ways, (parties, About::Nothing))
    }

    pub(super) fn on_plain_call(
        &mut self,
        now: Timestamp,
        arrived: Arrived<'_>,
    ) -> Result<(), Reject> {
        let Arrived { request, flow, .. } = arrived;
        let dialled = self.domains.aor(&request.uri);
        let named = self.way_to_named(request, IN_PLACE);
        let routed = match named {
            Some((way, callee)) => Ok(Routed {
                ways: SmallVec::from_iter([way]),
                callee,
                peer: None,
            }),
            None => self.route(now, request, flow, dialled.clone()),
        };
        // R1: whose number it is, though the call goes to the PBX.
        let owner = dialled.as_ref().and_then(|dialled| self.owner_of(dialled));
        let to_whom = match (&routed, dialled) {
            (Ok(_), _) if owner.is_some() => owner.clone().map(Callee::Ours),
            (
                Ok(Routed {
                    callee: Some(ours), ..
                }),
                _,
            ) => Some(Callee::Ours(ours.clone())),
            (
                Ok(Routed {
                    peer: Some(peer), ..
                }),
                Some(dialled),
            ) if self.is_told_of(now, *peer, &dialled) => Some(Callee::Watched(*peer, dialled)),
            (
                Ok(Routed {
                    peer: Some(peer), ..
                }),
                Some(dialled),
            ) => Some(Callee::Behind(*peer, name_of(&dialled))),
            (Err(Reject::UserUnregistered), Some(dialled)) => Some(Callee::Ours(dialled)),
            (Ok(_) | Err(_), _) => None,
        };
        let about = to_whom.and_then(|callee| self.asker(&arrived, callee));
        let is_poll = about.as_ref().is_some_and(|it| self.is_poll(now, it));
        let about = about.map_or(About::Nothing, |asker| About::Asker(Box::new(asker)));
        let routed = match routed {
            Ok(routed) => routed,
            Err(reject) => return self.refuse_call(now, &arrived, about, reject),
        };
        if is_poll {
            self.counters.polls_absorbed += 1;
            return self.refuse_call(now, &arrived, about, Reject::UserBusy);
        }
        let is_one_more =
            |callee: &Aor| self.is_taken(callee) && !self.is_about_call_of(request, callee);
        if routed.callee.as_ref().is_some_and(is_one_more) {
            return self.refuse_call(now, &arrived, about, Reject::UserBusy);
        }
        let parties = Parties {
            caller: arrived.caller,
            callee: routed.callee,
            dialled: owner.map(Dialled::new),
            ..Parties::default()
        };
        self.start_call(now, request, flow, &routed.ways, (parties, about))
    }

    /// CC-43, R9: a call that completes another one stops the recall timer, wherever it gets.
    fn on_cc_call(
        &mut self,
        now: Timestamp,
        arrived: Arrived<'_>,
        cc_call: CcCall,
    ) -> Result<(), Reject> {
        self.begin_cc_call(&cc_call);
        let CcCall { id, routed, .. } = cc_call;
        let Routed { ways, callee, peer } = routed;
        // R1: whose number it is.
        let view = self.desk.service.view(id).filter(|_| peer.is_some());
        let dialled = view.and_then(|view| self.owner_of(&user_of(view.callee)));
        if let Some(edge) = &mut self.edge {
            edge.challenged.forget_cc_call(id);
        }
        self.on_own_cc_call(now, id);
        self.desk.facts.push_back(Input::CcCallArrived { id });
        let refused = if ways.is_empty() {
            Some((
                Reject::UserUnregistered,
                Condition::NotLoggedIn,
                Calls::Free,
            ))
        } else {
            let is_full = callee.as_ref().is_some_and(|callee| self.is_full(callee));
            is_full.then_some((Reject::UserBusy, Condition::Busy, Calls::Engaged))
        };
        if let Some((reject, condition, calls)) = refused {
            let found = Some(Found { condition, calls });
            self.desk.facts.push_back(Input::CcCallFailed { id, found });
            return self.refuse_call(now, &arrived, About::Nothing, reject);
        }
        let parties = Parties {
            caller: arrived.caller,
            callee,
            dialled: dialled.map(Dialled::new),
            ..Parties::default()
        };
        let about = About::CcCall(id);
        self.start_call(now, arrived.request, arrived.flow, &ways, (parties, about))
    }

    /// R8: who calls, as completion knows him: a user of ours from his phone, or whom a peer names.
    pub(super) fn caller_name(
        &self,
        request: &Request<'_>,
        flow: &Flow,
        caller: Option<&Aor>,
    ) -> Option<addr::Aor> {
        if !self.settings.completion.enabled {
            return None;
        }
        if let Some(caller) = caller {
            return Some(name_of(caller));
        }
        let (_, peer) = self.peer_of(flow)?;
        let from = request.from.uri.as_sip()?;
        // A peer speaks for its own users, not for ours.
        let may_ask = peer.completion == PeerCompletion::Agent && !self.domains.is_own(&from);
        let caller = self.domains.aor(&request.from.uri)?;
        may_ask.then(|| name_of(&caller))
    }

    /// What completion has to know of a call in case it fails; `None` if nobody may ask.
    fn asker(&mut self, arrived: &Arrived<'_>, callee: Callee) -> Option<Asker> {
        let caller = arrived.name.clone()?;
        if let Callee::Behind(..) = callee
            && arrived.caller.is_none()
        {
            return None;
        }
        // Nobody waits for himself: the recall would make him busy.
        if let Callee::Ours(callee) = &callee
            && arrived.caller.as_ref() == Some(callee)
        {
            return None;
        }
        let address = |uri: &Uri<'_>| AddrSpec::new(str::from_utf8(uri.text()).ok()?).ok();
        let binding = arrived.caller.as_ref().and_then(|caller| {
            let flow = self.phone_flow(caller, arrived.flow, arrived.request)?;
            let binding = self.registrar.binding_at(caller, &flow)?;
            Some(Binding(binding.0))
        });
        let camping = self.may_camp(arrived.request, arrived.flow);
        let may_wait = camping.is_some();
        let known = arrived.caller.as_ref();
        let session =
            known.and_then(|_| self.session_for_sound(arrived.request, arrived.flow, may_wait));
        Some(Asker {
            // CC-29
            caller,
            binding: binding.unwrap_or_default(),
            callee,
            // CC-07
            from: address(&arrived.request.from.uri)?,
            identity: identity_of(&arrived.request.message),
            dialled: address(&arrived.request.uri)?,
            listener: arrived.flow.listener,
            call: CallIdentity(self.rng.bits()),
            offers: Vec::new(),
            session,
            failed: None,
            camping,
        })
    }

    /// A refusal of our own. One that might be none a moment later is kept for as long as a
    /// transaction lasts, so that a repetition is no second call; who may ask for completion gets
    /// the offer with it.
    pub(super) fn refuse_call(
        &mut self,
        now: Timestamp,
        arrived: &Arrived<'_>,
        mut about: About,
        reject: Reject,
    ) -> Result<(), Reject> {
        if !matches!(reject, Reject::UserBusy | Reject::UserUnregistered) {
            return Err(reject);
        }
        let Arrived { request, flow, .. } = arrived;
        let who = (arrived.caller.as_ref(), &mut about);
        let asked = self.ask_first(now, (request, flow), who, reject);
        if asked.is_err() {
            self.forget_held(&about);
        }
        if asked? {
            return Ok(());
        }
        let told = Told {
            status: reject.status(),
            rang: false,
            response: None,
        };
        self.with_turn(now, &Parties::default(), &mut about, |turn| {
            turn.scratch.clear();
            let mut writer = Writer::fragment(turn.scratch);
            // No other side has offered anything that could cross.
            let _offers = turn.announce.announce(&told, &mut writer);
            let rest = writer.finish(b"").map_err(|_| reject)?;
            let server = turn.layer.accept(now, request, flow, None);
            let server = server.map_err(|_| Reject::TableFull)?;
            let tag = hex(turn.rng.bits());
            let answer = Answer {
                status: told.status,
                phrase: b"",
                tag: reply::Tag::Ours(&tag),
                rest: turn.scratch.get(rest).unwrap_or_default(),
            };
            turn.layer.respond(now, server, &answer);
            Ok(())
        })?;
        self.note_refusal(request, flow, reject);
        self.record_refusal(now, request, flow, reject.status());
        tracing::info!(
            call_id = %request.call_id.escape_ascii(),
            outcome = reject.status().phrase(),
            "call refused"
        );
        Ok(())
    }

    /// S-36: what an INVITE to this user would meet.
    pub(super) fn on_options(
        &mut self,
        now: Timestamp,
        flow: &Flow,
        request: &Request<'_>,
    ) -> Result<(), Reject> {
        let names_user = matches!(request.uri, Uri::Sip(uri) if uri.user.is_some());
        if names_user {
            let callee = self.domains.aor(&request.uri);
            self.route(now, request, flow, callee)?;
        }
        self.answer_options(request, flow);
        Ok(())
    }

    pub(super) fn route(
        &self,
        now: Timestamp,
        request: &Request<'_>,
        flow: &Flow,
        callee: Option<Aor>,
    ) -> Result<Routed, Reject> {
        let mut routed = self.route_anyhow(now, request, flow, callee)?;
        keep_secure(&request.uri, &mut routed.ways)?;
        self.go_by_tcp(request, &mut routed);
        Ok(routed)
    }

    fn route_anyhow(
        &self,
        now: Timestamp,
        request: &Request<'_>,
        flow: &Flow,
        callee: Option<Aor>,
    ) -> Result<Routed, Reject> {
        if let Some(routed) = self.by_table(now, request, flow) {
            return routed;
        }
        if let Some(routed) = self.where_to(now, flow, request) {
            return routed;
        }
        if let Some(callee) = callee {
            let home = self.route_home(now, callee.clone());
            if !home.ways.is_empty() {
                return Ok(home);
            }
            if self.settings.upstream.is_none() && self.registrar.is_known(&callee) {
                return Err(Reject::UserUnregistered);
            }
        }
        let (peer, way) = self.way_upstream(request, flow)?;
        Ok(Routed {
            ways: SmallVec::from_iter([way]),
            callee: None,
            peer: Some(peer),
        })
    }

    /// To the phones of a user of ours, if he has any.
    pub(super) fn route_home(&self, now: Timestamp, callee: Aor) -> Routed {
        Routed {
            ways: self.ways_to(now, &callee),
            callee: Some(callee),
            peer: None,
        }
    }

    /// R20: a user with as many calls as he may have is busy.
    pub(super) fn is_full(&self, callee: &Aor) -> bool {
        let calls_max = self.settings.calls.calls_max;
        calls_max.is_some_and(|calls_max| self.users.legs(callee) >= calls_max)
    }

    pub(super) fn start_call(
        &mut self,
        now: Timestamp,
        request: &Request<'_>,
        flow: &Flow,
        ways: &Ways,
        (mut parties, about): (Parties, About),
    ) -> Result<(), Reject> {
        self.check_terms(request, (flow, ways), &mut parties)?;
        parties.is_outgoing = self.check_outgoing(request, parties.caller.as_ref())?;
        check_breadth(request, ways)?;
        let (again, about) = self.take_up_challenged(request, flow, about);
        let (key, again) = match again {
            Some((key, again)) => (key, Some(again)),
            None => (self.calls.reserve().map_err(|_| Reject::TableFull)?, None),
        };
        let user = Some(User {
            call: key,
            part: call::INVITE_PART,
        });
        let Ok(server) = self.layer.accept(now, request, flow, user) else {
            self.calls.discard(key);
            return Err(Reject::TableFull);
        };
        // S-06: at once, for B may take its time.
        self.layer.respond(now, server, &Answer::TRYING);
        self.counters.calls_started += 1;
        for user in [&parties.caller, &parties.callee].into_iter().flatten() {
            self.users.engage(user);
        }
        self.engage_peers(&parties);
        if let About::CcCall(id) = &about {
            self.note_cc_call(*id, key);
        }
        self.open_pass(&parties, key);
        self.in_hand = Some((key, parties.clone()));
        let draft = || Draft::of_invite(request, flow, ways);
        self.records.begin(key, self.request_of(&about), draft);
        self.attempts.become_call(key);
        let arrived = (flow, server, again.as_ref());
        let mut held = self.invite(now, key, request, arrived, (ways, parties, about));
        self.on_news(now, &mut held, false);
        self.in_hand = None;
        self.put_back(now, key, held);
        Ok(())
    }

    /// Whether nothing may come in between: a call for help, or one back to who called for it.
    pub(super) fn is_pressing(&self, request: &Request<'_>) -> bool {
        is_urgent(request) || self.is_emergency(request)
    }

    /// The side that is a phone, where the other is its PBX, and the flow by which it is reached.
    pub(super) fn phone_of(
        &self,
        parties: &Parties,
        (request, flow): (&Request<'_>, &Flow),
        ways: &Ways,
    ) -> Option<(call::Side, Flow)> {
        self.edge.as_deref()?;
        if let Some(caller) = &parties.caller {
            let home = self.phone_flow(caller, flow, request);
            return Some((call::Side::A, home.unwrap_or(*flow)));
        }
        parties.callee.as_ref()?;
        Some((call::Side::B, ways.first()?.flow))
    }

    /// R12: whom of the two sides we ask for a session timer.
    pub(super) fn session_asks(&self, flow: &Flow, ways: &Ways) -> Asks {
        let of_peer = |flow: &Flow, asked_s| {
            let peer = self.peer_at(flow.remote.ip());
            peer.map(|_| asked_s)
        };
        match self.settings.call_policy.session_asks {
            SessionAsks::Nobody => Asks::default(),
            SessionAsks::Everybody(asked_s) => Asks {
                a: Some(asked_s),
                b: Some(asked_s),
            },
            SessionAsks::Peers(asked_s) => Asks {
                a: of_peer(flow, asked_s),
                b: ways.first().and_then(|way| of_peer(&way.flow, asked_s)),
            },
        }
    }

    fn invite(
        &mut self,
        now: Timestamp,
        key: Key,
        request: &Request<'_>,
        (flow, server, again): (&Flow, Key, Option<&Again>),
        (ways, mut parties, mut about): (&Ways, Parties, About),
    ) -> Box<Held> {
        if self.settings.call_policy.keeps_sessions {
            parties.kind = self.kind_of(request);
        }
        let targets = targets(ways);
        let message = Self::for_other_side(parties.identity, request.message);
        let request = &Request {
            message,
            ..*request
        };
        let offer = self.offer_of((request, flow, server), ways, &parties);
        let mut offer = Offer {
            targets: &targets,
            again,
            ..offer
        };
        let anchorage = self.anchor(key, None, &mut offer);
        let asked = about.asker().map(|asker| asker.call);
        let call = self.with_turn(now, &parties, &mut about, |turn| {
            Call::invite(key, turn, &offer)
        });
        let mut held = Held::new(call, parties, about);
        held.asked = asked;
        held.anchorage = anchorage.map(Box::new);
        held
    }
}

impl Held {
    /// A call with nothing beside it.
    pub(super) fn new(call: Call, parties: Parties, about: About) -> Box<Self> {
        Box::new(Self {
            call,
            parties,
            about,
            asked: None,
            armed: None,
            prompting: None,
            anchorage: None,
            mixed: None,
        })
    }
}

/// S-112: branches side by side need some of it each.
pub(super) fn check_breadth(request: &Request<'_>, ways: &Ways) -> Result<(), Reject> {
    let breadth = relay::breadth(&request.message);
    let is_narrow = usize::try_from(breadth).is_ok_and(|breadth| breadth < ways.len());
    if ways.len() > 1 && is_narrow {
        return Err(Reject::BreadthExceeded);
    }
    Ok(())
}

/// RFC 3261 §20.26, RFC 7090: a call that must get through, such as the one back to who called for
/// help.
fn is_urgent(request: &Request<'_>) -> bool {
    let priority = request.message.first(Name::Priority).unwrap_or_default();
    [b"emergency".as_slice(), b"psap-callback"]
        .iter()
        .any(|urgent| urgent.eq_ignore_ascii_case(priority))
}
