//! The offer: what a caller is told of a call that failed, and what is remembered of it.
//!
//! Spec: RFC 6910 §6.1, §7.1; RFC 3326 (Reason); RULES R7, R19, R21.

use std::collections::VecDeque;
use std::time::Duration;

use smallvec::SmallVec;

use crate::call::{Announce, PeerOffers, Told};
use crate::cc::Condition;
use crate::cc::addr::{self, AddrSpec};
use crate::cc::capsule::{CallIdentity, Offer};
use crate::cc::line::Calls;
use crate::cc::monitor::Found;
use crate::cc::offer::{self, Alerting, Evidence, InPass, Place, Registration};
use crate::cc::trust::PeerId;
use crate::completion::{
    Binding, CompletionId, FailedCall, Identity, Input, Monitors, Offered, Service,
};
use crate::location::{Aor, Registrar};
use crate::shard::Shard;
use crate::shard::camping::Camping;
use crate::shard::desk::{name_of, user_of};
use crate::shard::passes::{Inward, Seen};
use crate::shard::polls::Polls;
use crate::shard::record::Draft;
use crate::shard::settings::{PeerCompletion, Settings};
use crate::shard::users::Users;
use crate::sip::flow::ListenerId;
use crate::sip::{CallInfo, Message, Name, Response, Status, Writer, cause};
use crate::time::Timestamp;

/// What completion has to do with a call.
#[derive(Debug, Default)]
pub(super) enum About {
    /// Its caller may ask for completion, should it fail.
    Asker(Box<Asker>),
    /// It goes to a place in a queue whose CC call is under way already: answered it completes that
    /// all the same, and its failure says nothing.
    Beside(CompletionId),
    /// It has waited for its callee, who has answered.
    Camped(CompletionId),
    /// It completes a call.
    CcCall(CompletionId),
    /// It confirms a code.
    Code,
    /// It is an in pass: completion is the out pass's business.
    Inward(Inward),
    /// Nothing.
    #[default]
    Nothing,
    /// We rang the caller.
    Recall(CompletionId),
}

impl About {
    /// Who may ask for its completion.
    pub(super) fn asker(&self) -> Option<&Asker> {
        if let Self::Asker(asker) = self {
            Some(asker)
        } else {
            None
        }
    }

    /// Whom he called, if that is a user of ours.
    pub(super) fn callee_of_ours(&self) -> Option<&Aor> {
        match &self.asker()?.callee {
            Callee::Ours(callee) => Some(callee),
            Callee::Behind(..) | Callee::Watched(..) => None,
        }
    }

    /// The same, of a call after which nobody may ask.
    pub(super) fn without_asker(self) -> Self {
        match self {
            Self::Asker(_) => Self::Nothing,
            // R19: nothing is seen of a phone when another one has answered.
            Self::Inward(inward) => Self::Inward(Inward {
                out: None,
                ..inward
            }),
            other @ (Self::Beside(_)
            | Self::Camped(_)
            | Self::CcCall(_)
            | Self::Code
            | Self::Nothing
            | Self::Recall(_)) => other,
        }
    }
}

/// A caller who may ask for completion, and his call.
#[derive(Debug)]
pub(super) struct Asker {
    /// Who calls.
    pub(super) caller: addr::Aor,
    /// From which of his phones.
    pub(super) binding: Binding,
    /// Whom he calls.
    pub(super) callee: Callee,
    /// CC-07: the URI of his From.
    pub(super) from: AddrSpec,
    /// R13: what the call says of him beside that.
    pub(super) identity: Identity,
    /// CC-08: the original Request-URI.
    pub(super) dialled: AddrSpec,
    /// Where we listen for him.
    pub(super) listener: ListenerId,
    /// The call, in its token.
    pub(super) call: CallIdentity,
    /// CC-08: what the callee's side offers, in any of its responses.
    pub(super) offers: Vec<Offered>,
    /// R16: his session description, if he may be asked what is to be done about a failure.
    pub(super) session: Option<Box<[u8]>>,
    /// Why his call has failed, if he is being asked.
    pub(super) failed: Option<Condition>,
    /// R5: what it takes to let his call wait, if it may.
    pub(super) camping: Option<Box<Camping>>,
}

impl Asker {
    /// Whether his call waited, and its INVITE has gone out anew.
    pub(super) fn is_invited(&self) -> bool {
        self.invited().is_some()
    }

    pub(super) fn invited(&self) -> Option<CompletionId> {
        self.camping.as_deref()?.invited()
    }
}

/// Who is called.
#[derive(Clone, Debug)]
pub(super) enum Callee {
    /// Somebody behind a peer.
    Behind(PeerId, addr::Aor),
    /// A user of ours.
    Ours(Aor),
    /// Somebody behind a peer that tells of his dialogs (R11).
    Watched(PeerId, Aor),
}

impl Callee {
    /// The one who is waited for in a queue of ours.
    pub(super) fn queued(&self) -> Option<&Aor> {
        match self {
            Self::Ours(callee) | Self::Watched(_, callee) => Some(callee),
            Self::Behind(..) => None,
        }
    }

    /// His name.
    pub(super) fn name(&self) -> addr::Aor {
        match self {
            Self::Ours(callee) | Self::Watched(_, callee) => name_of(callee),
            Self::Behind(_, callee) => callee.clone(),
        }
    }
}

/// Adds the offer to what callers are told.
#[derive(Debug)]
pub(super) struct Announcer<'s> {
    /// What is known of the call, if there is to be a record of it.
    pub(super) draft: Option<&'s mut Draft>,
    pub(super) now: Timestamp,
    pub(super) about: &'s mut About,
    pub(super) callee: Option<&'s Aor>,
    /// What was seen of his phones, if the call goes to him through the PBX.
    pub(super) seen: Option<Seen>,
    /// The peers from which the call comes and to which it goes.
    pub(super) through: [Option<PeerId>; 2],
    /// How many legs of the callee's are this call's own.
    pub(super) legs: u32,
    /// The host and port of each listener, as peers see it.
    pub(super) hosts: &'s [Box<str>],
    pub(super) settings: &'s Settings,
    pub(super) service: &'s Service,
    pub(super) registrar: &'s Registrar,
    pub(super) users: &'s mut Users,
    /// Whom his callers call again and again.
    pub(super) polls: &'s mut Polls,
    /// What the service is told of it.
    pub(super) facts: &'s mut VecDeque<Input>,
}

impl Announce for Announcer<'_> {
    fn announce(&mut self, told: &Told<'_>, writer: &mut Writer<'_>) -> PeerOffers {
        if told.status.is_success() {
            self.offer_beside_answer(writer);
            return PeerOffers::Cross;
        }
        if let Some(draft) = &mut self.draft {
            draft.note_told(self.now, told);
        }
        match std::mem::take(self.about) {
            About::Asker(mut asker) => {
                let offers = match asker.callee.clone() {
                    Callee::Ours(callee) => self.offer(&asker, &callee, told, writer),
                    Callee::Behind(peer, callee) => self.take_up(&mut asker, peer, &callee, told),
                    Callee::Watched(peer, callee) => {
                        self.offer_or_take_up(&mut asker, (peer, &callee), told, writer)
                    }
                };
                *self.about = About::Asker(asker);
                offers
            }
            About::CcCall(id) => {
                self.note_cc_call_failed(id, told);
                *self.about = About::CcCall(id);
                PeerOffers::Cross
            }
            About::Inward(mut inward) => {
                if !told.status.is_provisional() {
                    inward.news = Some(Seen::of_final(told.status, told.rang));
                }
                *self.about = About::Inward(inward);
                PeerOffers::Cross
            }
            About::Nothing => self.offers_across(),
            other @ (About::Beside(_) | About::Camped(_) | About::Code | About::Recall(_)) => {
                *self.about = other;
                PeerOffers::Cross
            }
        }
    }

    fn holds(&mut self, failure: &Told<'_>) -> Option<Duration> {
        if let Some(lasts) = self.withholds(failure).or_else(|| self.camps(failure)) {
            return Some(lasts);
        }
        let lasts = self.asks(failure)?;
        // What a digit may ask for.
        self.note_held();
        Some(lasts)
    }
}

impl Announcer<'_> {
    /// R11: what becomes of a peer's offers to the caller of another one.
    fn offers_across(&self) -> PeerOffers {
        let mut sides = self.through.iter().flatten();
        let is_off = sides.any(|id| {
            let peer = self.settings.peer(*id);
            peer.is_some_and(|peer| peer.completion == PeerCompletion::Off)
        });
        if is_off {
            PeerOffers::Removed
        } else {
            PeerOffers::Cross
        }
    }

    /// CC-30: in each non-100 1xx and in the failure, if our own queue would take the caller.
    fn offer(
        &mut self,
        asker: &Asker,
        callee: &Aor,
        told: &Told<'_>,
        writer: &mut Writer<'_>,
    ) -> PeerOffers {
        let condition = if told.status.is_provisional() {
            // R21: what a caller hears while it rings is of use once nobody answers.
            asker.failed.or(Some(Condition::NoReply))
        } else {
            asker.failed.or_else(|| match &asker.callee {
                Callee::Ours(_) => self.condition_of(callee, told),
                Callee::Watched(..) | Callee::Behind(..) => {
                    offer::decide(&self.evidence(None, told))
                }
            })
        };
        let name = name_of(callee);
        let Some(condition) = condition.filter(|_| self.service.has_place(&name)) else {
            return PeerOffers::Cross;
        };
        // His peer says so, and will tell when it is over. Who is told to have no call at all does not
        // want to be disturbed (R2), and his next call tells when he may be.
        let is_told_busy = matches!(asker.callee, Callee::Watched(..))
            && condition == Condition::Busy
            && self.users.far(callee).is_none();
        // As he is written where he is registered: who waits for him for an hour adds no text.
        let registrar = self.registrar;
        let (callee, registered) = registrar.known(callee).unwrap_or((callee, None));
        let name = name_of(callee);
        let calls = if is_told_busy {
            Calls::Engaged
        } else {
            self.users.calls_beside(callee, self.legs, registered)
        };
        self.note_busy(asker, callee, told);
        self.write_offer(asker, &name, (condition, calls), writer);
        // Who is asked about a failure is told of it before he gets it.
        if !told.status.is_provisional() && asker.failed.is_none() {
            self.remember(asker, callee, (told.status, condition, calls));
        }
        PeerOffers::Removed
    }

    /// R11: a peer's own monitor goes before ours, and ours is what a peer has without one.
    fn offer_or_take_up(
        &mut self,
        asker: &mut Asker,
        (peer, callee): (PeerId, &Aor),
        told: &Told<'_>,
        writer: &mut Writer<'_>,
    ) -> PeerOffers {
        let offers = told.response.map(offers_in).unwrap_or_default();
        if offers.is_empty() && asker.offers.is_empty() {
            return self.offer(asker, callee, told, writer);
        }
        self.take_up(asker, peer, &name_of(callee), told)
    }

    /// R1: something else answers for a callee whose phones were seen to fail.
    fn offer_beside_answer(&self, writer: &mut Writer<'_>) {
        let About::Asker(asker) = &*self.about else {
            return;
        };
        let Callee::Ours(callee) = &asker.callee else {
            return;
        };
        let name = name_of(callee);
        let condition = self.seen.and_then(Seen::failure);
        if let Some(condition) = condition.filter(|_| self.service.has_place(&name)) {
            let calls = self.calls_of(callee);
            self.write_offer(asker, &name, (condition, calls), writer);
        }
    }

    fn write_offer(
        &self,
        asker: &Asker,
        callee: &addr::Aor,
        (condition, calls): (Condition, Calls),
        writer: &mut Writer<'_>,
    ) {
        let token = self.service.seal(&Offer {
            caller: asker.caller.clone(),
            callee: callee.clone(),
            condition,
            calls,
            call: asker.call,
            issued: self.now,
        });
        let place = Place {
            host: host_at(self.hosts, asker.listener),
            transport: None,
        };
        let info = offer::call_info(&token, place, condition);
        writer.header(Name::CallInfo, info.as_bytes());
    }

    /// R19: why the call has failed, as far as that can be completed.
    pub(super) fn condition_of(&self, callee: &Aor, failure: &Told<'_>) -> Option<Condition> {
        offer::decide(&self.evidence(Some(callee), failure))
    }

    /// R23: who has called for help hears nothing of ours that he need not.
    pub(super) fn is_left_alone(&self, caller: &addr::Aor) -> bool {
        self.users.is_left_alone(self.now, &user_of(caller))
    }

    /// The service learns of a failed call.
    pub(super) fn remember(
        &mut self,
        asker: &Asker,
        callee: &Aor,
        how: (Status, Condition, Calls),
    ) {
        let window = self.settings.completion.service.timing.offer_window;
        self.users.keep(self.now, callee, window);
        let failed = failed_call(asker, name_of(callee), how, Monitors::Own);
        self.facts.push_back(Input::CallFailed(failed));
    }

    /// Who was refused without having rung will be refused again as long as his callee is as busy.
    fn note_busy(&mut self, asker: &Asker, callee: &Aor, told: &Told<'_>) {
        let is_from_him = told.response.is_some() && !told.rang;
        if told.status != Status::BUSY_HERE || !is_from_him {
            return;
        }
        let legs = self.users.legs(callee).saturating_sub(self.legs);
        if legs > 0 {
            let window = self.settings.completion.poll_window;
            let pair = (asker.caller.clone(), name_of(callee));
            self.polls
                .note((self.now, window), pair, (asker.binding, legs));
        }
    }

    /// The callee's side has a monitor of its own: we are agent towards it, within R7.
    fn take_up(
        &mut self,
        asker: &mut Asker,
        peer: PeerId,
        callee: &addr::Aor,
        told: &Told<'_>,
    ) -> PeerOffers {
        let Some(settings) = self.settings.peer(peer) else {
            return PeerOffers::Cross;
        };
        match settings.completion {
            PeerCompletion::Agent => {}
            PeerCompletion::Off => return PeerOffers::Removed,
            PeerCompletion::Relay => return PeerOffers::Cross,
        }
        let trust = settings.trust(peer);
        let found = told.response.map(offers_in).unwrap_or_default();
        let is_trusted = found.iter().all(|offer| trust.may_name(&offer.uri).is_ok());
        if is_trusted {
            for offer in found {
                // CC-08: what was offered while it rang as well.
                if !asker.offers.contains(&offer) {
                    asker.offers.push(offer);
                }
            }
        }
        // CC-11: without any offer the callee's own address may be asked.
        let may_ask = !asker.offers.is_empty() || is_trusted;
        if !told.status.is_provisional() && may_ask {
            self.note_failure_behind(asker, callee, told, trust);
        }
        if is_trusted {
            PeerOffers::Removed
        } else {
            PeerOffers::Cross
        }
    }

    fn note_failure_behind(
        &mut self,
        asker: &mut Asker,
        callee: &addr::Aor,
        told: &Told<'_>,
        peer: crate::cc::trust::Peer,
    ) {
        let m = asker.offers.iter().find_map(|offer| offer.m);
        let evidence = self.evidence(None, told);
        let m = m.map(Condition::m);
        let Some(condition) = offer::condition_offered(m, &evidence) else {
            return;
        };
        let offers = std::mem::take(&mut asker.offers);
        let monitors = Monitors::Peer { peer, offers };
        let how = (told.status, condition, Calls::Unknown);
        let failed = failed_call(asker, callee.clone(), how, monitors);
        self.facts.push_back(Input::CallFailed(failed));
    }

    fn note_cc_call_failed(&mut self, id: CompletionId, told: &Told<'_>) {
        let is_challenge = matches!(
            told.status,
            Status::UNAUTHORIZED | Status::PROXY_AUTHENTICATION_REQUIRED
        );
        // R3: it comes again, with credentials.
        if told.status.is_provisional() || is_challenge {
            return;
        }
        let callee = self.callee;
        let has_given_up = told.response.is_none() && told.status == Status::REQUEST_TERMINATED;
        let condition = offer::decide(&self.evidence(callee, told)).filter(|_| !has_given_up);
        let found = condition.map(|condition| Found {
            condition,
            calls: match (callee, self.service.view(id)) {
                (Some(callee), _) => self.calls_of(callee),
                (None, Some(view)) => self.users.calls_told(&user_of(view.callee)),
                (None, None) => Calls::Unknown,
            },
        });
        self.facts.push_back(Input::CcCallFailed { id, found });
    }

    /// Whether the callee has other calls than this one.
    pub(super) fn calls_of(&self, callee: &Aor) -> Calls {
        let registered = self.registrar.registered_since(callee);
        self.users.calls_beside(callee, self.legs, registered)
    }

    fn evidence(&self, callee: Option<&Aor>, told: &Told<'_>) -> Evidence {
        let registration = match callee {
            None => Registration::Stranger,
            Some(callee) if self.registrar.registered_since(callee).is_some() => {
                Registration::Registered
            }
            Some(_) => Registration::Unregistered,
        };
        Evidence {
            in_pass: match (self.seen, callee, told.response) {
                (Some(seen), ..) => seen.in_pass(),
                // The phone of a user of ours answers for itself.
                (None, Some(_), Some(response)) => InPass::Final(response.status.code()),
                (None, None, _) | (None, _, None) => InPass::Silent,
            },
            cause: told.response.and_then(|response| {
                let cause = cause(&response.message, "Q.850")?;
                u8::try_from(cause).ok()
            }),
            status: told.status.code(),
            alerting: if told.rang {
                Alerting::Rang
            } else {
                Alerting::None
            },
            callee: registration,
        }
    }
}

impl Shard {
    /// R1: a call that somebody else answered for the callee can be completed as if it had failed.
    pub(super) fn remember_diverted(
        &mut self,
        now: Timestamp,
        asker: &Asker,
        callee: &Aor,
        condition: Condition,
    ) {
        let name = name_of(callee);
        if !self.desk.service.has_place(&name) {
            return;
        }
        let registered = self.registrar.registered_since(callee);
        let calls = self.users.calls_beside(callee, 0, registered);
        let window = self.settings.completion.service.timing.offer_window;
        self.users.keep(now, callee, window);
        let failed = failed_call(asker, name, (Status::OK, condition, calls), Monitors::Own);
        self.desk.facts.push_back(Input::CallFailed(failed));
    }
}

/// The host and port of a listener, as peers see it.
pub(super) fn host_at(hosts: &[Box<str>], listener: ListenerId) -> &str {
    hosts
        .get(usize::from(listener.0))
        .map(|host| &**host)
        .unwrap_or_default()
}

fn failed_call(
    asker: &Asker,
    callee: addr::Aor,
    how: (Status, Condition, Calls),
    monitors: Monitors,
) -> FailedCall {
    let (status, condition, calls) = how;
    FailedCall {
        call: asker.call,
        caller: asker.caller.clone(),
        from: asker.from.clone(),
        identity: asker.identity.clone(),
        binding: asker.binding,
        callee,
        dialled: asker.dialled.clone(),
        status: status.code(),
        condition,
        calls,
        monitors,
    }
}

/// R13: what a call says of its caller beside From.
pub(super) fn identity_of(message: &Message<'_>) -> Identity {
    let joined = |name| {
        let values = message.values(name).map(|value| str::from_utf8(value).ok());
        let values: Option<SmallVec<[&str; 2]>> = values.collect();
        values.map(|values| values.join(", ")).unwrap_or_default()
    };
    if message
        .first(Name::PAssertedIdentity)
        .or_else(|| message.first(Name::Privacy))
        .is_none()
    {
        return Identity::default();
    }
    Identity::new(&joined(Name::PAssertedIdentity), &joined(Name::Privacy))
}

/// What a response offers.
fn offers_in(response: &Response<'_>) -> Vec<Offered> {
    CallInfo::offers(&response.message)
        .filter_map(|offer| {
            Some(Offered {
                uri: AddrSpec::new(str::from_utf8(offer.uri.text()).ok()?).ok()?,
                m: offer.m().and_then(Condition::from_m),
            })
        })
        .collect()
}
