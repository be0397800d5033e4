//! Where a call goes: to the callee's contacts, to the PBX, or nowhere.
//!
//! Spec: RFC 3261 §16.5; RULES R20.

use smallvec::SmallVec;

use crate::call::{self, Call, Offer, Target};
use crate::dialog::Reach;
use crate::location::Aor;
use crate::shard::{Held, Parties, Reject, Shard};
use crate::sip::flow::{Flow, ListenerId};
use crate::sip::{Name, Request, Uri};
use crate::table::Key;
use crate::time::Timestamp;
use crate::transaction::User;
use crate::transaction::servers::Answer;

/// A target with a Request-URI of its own.
struct Way {
    uri: SmallVec<[u8; 64]>,
    flow: Flow,
    reach: Reach,
}

type Ways = SmallVec<[Way; 1]>;

impl Shard {
    pub(super) fn on_invite(
        &mut self,
        now: Timestamp,
        flow: &Flow,
        request: &Request<'_>,
    ) -> Result<(), Reject> {
        let callee = self.domains.aor(&request.uri);
        let (ways, callee) = self.route(now, request, flow, callee)?;
        if let Some(callee) = &callee {
            self.check_free(request, callee)?;
        }
        let caller = self.domains.aor(&request.from.uri);
        let caller = caller.filter(|caller| self.registrar.is_registered_at(caller, flow));
        let parties = Parties { caller, callee };
        self.start_call(now, request, flow, &ways, parties)
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

    /// The ways to the callee, and who that is if he is one of our users.
    fn route(
        &self,
        now: Timestamp,
        request: &Request<'_>,
        flow: &Flow,
        callee: Option<Aor>,
    ) -> Result<(Ways, Option<Aor>), Reject> {
        if let Some(callee) = callee {
            let ways = self.ways_to(now, &callee);
            if !ways.is_empty() {
                return Ok((ways, Some(callee)));
            }
            if self.settings.upstream.is_none() && self.registrar.is_known(&callee) {
                return Err(Reject::UserUnregistered);
            }
        }
        let upstream = self
            .way_upstream(request, flow)
            .ok_or(Reject::UserUnknown)?;
        Ok((SmallVec::from_iter([upstream]), None))
    }

    fn ways_to(&self, now: Timestamp, callee: &Aor) -> Ways {
        let targets = self.registrar.targets(now, callee);
        targets
            .map(|target| Way {
                uri: SmallVec::from_slice(target.uri),
                flow: target.flow,
                reach: if target.is_nat {
                    Reach::Flow
                } else {
                    Reach::Address
                },
            })
            .collect()
    }

    /// The Request-URI goes on as the phone wrote it (R3), unless it names us: then the PBX is meant.
    fn way_upstream(&self, request: &Request<'_>, flow: &Flow) -> Option<Way> {
        let upstream = self.settings.upstream.as_ref()?;
        let mut uri = SmallVec::from_slice(request.uri.text());
        if let Uri::Sip(asked) = request.uri
            && self.domains.is_own(&asked)
        {
            uri.clear();
            uri.extend_from_slice(b"sip:");
            if let Some(user) = asked.user {
                uri.extend_from_slice(user);
                uri.push(b'@');
            }
            uri.extend_from_slice(upstream.address.to_string().as_bytes());
            uri.extend_from_slice(asked.params.text());
        }
        let listener = self.listener_towards(&upstream.address, flow.listener);
        Some(Way {
            uri,
            flow: Flow {
                transport: upstream.transport,
                listener,
                remote: upstream.address,
                connection: None,
            },
            reach: Reach::Address,
        })
    }

    /// The listener by which a call came, unless it speaks another address family.
    fn listener_towards(&self, to: &std::net::SocketAddr, came_by: ListenerId) -> ListenerId {
        let listeners = &self.settings.listeners;
        let fits = |listener: &&crate::shard::Listener| listener.bind.is_ipv4() == to.is_ipv4();
        let own = listeners.get(usize::from(came_by.0)).filter(fits);
        if own.is_some() {
            return came_by;
        }
        let other = listeners.iter().position(|listener| fits(&listener));
        let other = other.and_then(|other| u8::try_from(other).ok());
        other.map_or(came_by, ListenerId)
    }

    /// R20: a user with as many calls as he may have is busy, unless it is about an emergency.
    fn check_free(&self, request: &Request<'_>, callee: &Aor) -> Result<(), Reject> {
        let Some(calls_max) = self.settings.calls.calls_max else {
            return Ok(());
        };
        if is_urgent(request) || self.is_emergency(request) || self.users.legs(callee) < calls_max {
            return Ok(());
        }
        Err(Reject::UserBusy)
    }

    fn start_call(
        &mut self,
        now: Timestamp,
        request: &Request<'_>,
        flow: &Flow,
        ways: &Ways,
        parties: Parties,
    ) -> Result<(), Reject> {
        let key = self.calls.reserve().map_err(|_| Reject::TableFull)?;
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
        self.in_hand = Some((key, parties.clone()));
        let call = self.invite(now, key, request, (flow, server), ways);
        self.in_hand = None;
        let held = Held {
            call,
            parties,
            armed: None,
        };
        self.put_back(now, key, Box::new(held));
        Ok(())
    }

    fn invite(
        &mut self,
        now: Timestamp,
        key: Key,
        request: &Request<'_>,
        came: (&Flow, Key),
        ways: &Ways,
    ) -> Call {
        let targets: SmallVec<[Target<'_>; 1]> = ways
            .iter()
            .map(|way| Target {
                uri: &way.uri,
                flow: way.flow,
                reach: way.reach,
            })
            .collect();
        let offer = Offer {
            request,
            flow: came.0,
            server: came.1,
            targets: &targets,
        };
        Call::invite(key, &mut self.turn(now), &offer)
    }
}

/// RFC 3261 §20.26, RFC 7090: a call that must get through, such as the one back to who called for
/// help.
fn is_urgent(request: &Request<'_>) -> bool {
    let priority = request.message.first(Name::Priority).unwrap_or_default();
    [b"emergency".as_slice(), b"psap-callback"]
        .iter()
        .any(|urgent| urgent.eq_ignore_ascii_case(priority))
}
