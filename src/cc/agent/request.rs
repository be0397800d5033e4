//! One request of a caller, and the subscriptions behind it.
//!
//! Spec: RFC 6910 §6.2 (one request, several monitors), §6.4, §6.5.

use crate::cc::addr::AddrSpec;
use crate::cc::agent::Turn;
use crate::cc::agent::event::{
    Effect, Life, NewRequest, Notice, Policy, Publication, PublishTo, Resumption, Way,
};
use crate::cc::id::CompletionId;
use crate::cc::line::Line;
use crate::cc::monitor::Because;
use crate::cc::{Basic, Condition, RecallState, SubscriptionId};
use crate::time::Timestamp;

/// Where a request stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stage {
    /// No monitor has it yet; each subscription bounds how long.
    Pending,
    /// It waits to be selected.
    Queued,
    /// The caller is rung.
    Recalling {
        /// When that is given up.
        gives_up: Timestamp,
    },
    /// The caller answered, and the CC call is asked for.
    Placing {
        /// When that is given up.
        gives_up: Timestamp,
    },
    /// The CC call is under way.
    Calling {
        /// When a call whose end nobody tells is given up.
        gives_up: Timestamp,
    },
}

/// Why a caller is not to be recalled for one request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Hold {
    /// His turn came while he could not take a call.
    Engaged,
    /// CC-28: he could not take his turn, and has not said that he is back.
    ByHand { because: Because },
    /// He did not come to the phone; he rests until then, or until he is seen talking.
    Rest {
        since: Timestamp,
        until: Timestamp,
        because: Because,
    },
}

/// One request.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Request {
    pub(super) id: CompletionId,
    pub(super) dialled: AddrSpec,
    pub(super) condition: Option<Condition>,
    pub(super) way: Way,
    pub(super) stage: Stage,
    pub(super) subscriptions: Vec<Subscription>,
    /// The one whose monitor selected it.
    pub(super) selected: Option<SubscriptionId>,
    pub(super) hold: Option<Hold>,
    /// What its owner was told of the caller's availability.
    pub(super) shown: Basic,
    /// Recalls that the caller let pass.
    pub(super) passed: u32,
    /// What the last SUBSCRIBE that failed was answered with.
    pub(super) last_status: u16,
}

/// What of a request outlives its process, beside what it was asked for with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Kept {
    /// What its owner was told of the caller's availability.
    pub shown: Basic,
    /// Recalls that the caller let pass.
    pub passed: u32,
    /// Its subscriptions.
    pub subscriptions: Vec<KeptSubscription>,
}

/// What of a subscription outlives its process.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeptSubscription {
    /// Its name.
    pub id: SubscriptionId,
    /// The monitor's URI, from Call-Info.
    pub monitor: AddrSpec,
    /// When it ends.
    pub ends: Timestamp,
    /// The cc-state of the last NOTIFY: a recall is one change to "ready".
    pub seen: Option<RecallState>,
    /// The cc-URI that it told.
    pub cc_uri: Option<AddrSpec>,
    /// The Call-Info that it told.
    pub call_info: Option<AddrSpec>,
    /// Its Contact.
    pub contact: Option<AddrSpec>,
    /// What its monitor was told last.
    pub told: Basic,
    /// How many of the ways to publish have failed.
    pub ways_failed: usize,
}

/// How far a subscription has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Phase {
    /// SUBSCRIBE sent.
    Asked,
    /// 2xx received, no NOTIFY yet.
    Answered,
    /// A NOTIFY came.
    Live,
}

/// One subscription to one monitor.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Subscription {
    pub(super) id: SubscriptionId,
    /// The monitor's URI, from Call-Info.
    pub(super) monitor: AddrSpec,
    pub(super) phase: Phase,
    /// Timer N before the first NOTIFY, then the end of the subscription.
    pub(super) ends: Timestamp,
    /// The cc-state of the last NOTIFY.
    pub(super) seen: Option<RecallState>,
    /// What its NOTIFYs named; those inside the process name nothing.
    pub(super) named: Option<Box<Named>>,
    /// What its monitor was told last.
    pub(super) told: Basic,
    pub(super) publishing: Publishing,
    /// How many of the ways to publish have failed.
    pub(super) ways_failed: usize,
}

/// The addresses that a subscription's NOTIFYs named.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Named {
    cc_uri: Option<AddrSpec>,
    call_info: Option<AddrSpec>,
    contact: Option<AddrSpec>,
}

/// Whether a PUBLISH is unanswered; there is never a second one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Publishing {
    Idle,
    Waiting,
}

impl Request {
    pub(super) fn new(now: Timestamp, mut new: NewRequest, policy: &Policy) -> Self {
        let timer_n = now + policy.notify_max;
        let monitors = std::mem::take(&mut new.monitors).into_iter();
        let subscribe = |(id, monitor)| Subscription::new(id, monitor, timer_n);
        Self {
            subscriptions: monitors.map(subscribe).collect(),
            ..Self::unheard(new)
        }
    }

    /// One without subscriptions yet.
    pub(super) fn unheard(new: NewRequest) -> Self {
        Self {
            id: new.id,
            dialled: new.dialled,
            condition: new.condition,
            way: new.way,
            stage: Stage::Pending,
            subscriptions: Vec::new(),
            selected: None,
            hold: None,
            shown: Basic::Open,
            passed: 0,
            last_status: 408,
        }
    }

    /// The request of a process before this one, which waits.
    pub(super) fn revived(now: Timestamp, new: NewRequest, kept: Kept, policy: &Policy) -> Self {
        let subscriptions = kept.subscriptions.into_iter();
        let by_hand = policy.resumption == Resumption::ByHand && kept.shown == Basic::Closed;
        Self {
            stage: Stage::Queued,
            // CC-28: a restart is no word of his.
            hold: by_hand.then_some(Hold::ByHand {
                because: Because::Unavailable,
            }),
            subscriptions: subscriptions.map(Subscription::revived).collect(),
            shown: kept.shown,
            passed: kept.passed,
            ..Self::new(now, new, policy)
        }
    }

    /// What outlives the process: what no monitor has taken does not.
    pub(super) fn kept(&self) -> Kept {
        let taken = |sub: &&Subscription| sub.phase != Phase::Asked;
        let subscriptions = self.subscriptions.iter().filter(taken);
        Kept {
            shown: self.shown,
            passed: self.passed,
            subscriptions: subscriptions.map(Subscription::kept).collect(),
        }
    }

    /// Whether the caller is busy with it.
    pub(super) fn is_active(&self) -> bool {
        match self.stage {
            Stage::Pending | Stage::Queued => false,
            Stage::Recalling { .. } | Stage::Placing { .. } | Stage::Calling { .. } => true,
        }
    }

    pub(super) fn find(&mut self, id: SubscriptionId) -> Option<&mut Subscription> {
        self.subscriptions.iter_mut().find(|sub| sub.id == id)
    }

    /// Where the SUBSCRIBE goes.
    ///
    /// CC-12: with the monitor's own `m`.
    pub(super) fn target(&self, monitor: &AddrSpec) -> AddrSpec {
        match self.condition {
            Some(condition) => monitor.with_m(condition),
            None => monitor.clone(),
        }
    }

    /// Where the CC call goes: the first of these that the peer may have dialled.
    ///
    /// CC-22: what the NOTIFY says, else the Call-Info, else what was dialled at first.
    pub(super) fn call_target(&self) -> AddrSpec {
        let selected = self.subscriptions.iter();
        let selected = selected.filter(|sub| Some(sub.id) == self.selected);
        let named = selected.flat_map(|sub| sub.cc_uri().chain([&sub.monitor]));
        let peer = match &self.way {
            // Inside the process the callee himself is named, and his own number is dialled.
            Way::Loop => None,
            Way::Peer(peer) => Some(peer),
        };
        let allowed = |address: &&AddrSpec| {
            peer.is_some_and(|peer| peer.may_dial(address, &self.dialled).is_ok())
        };
        let address = named.into_iter().find(allowed);
        // CC-23: marked, so that the callee's side knows it and may let it through first.
        self.target(address.unwrap_or(&self.dialled))
    }

    /// Takes over what a NOTIFY says, as far as the peer may say it.
    pub(super) fn read(&mut self, now: Timestamp, id: SubscriptionId, notice: &Notice) {
        let way = self.way.clone();
        let may_name = |address: &AddrSpec| match &way {
            Way::Loop => true,
            Way::Peer(peer) => peer.may_name(address).is_ok(),
        };
        let allowed = |address: &Option<AddrSpec>| address.clone().filter(may_name);
        let Some(sub) = self.find(id) else { return };
        sub.phase = Phase::Live;
        if let Life::Active(left) = notice.life {
            sub.ends = now + left;
        }
        // CC-69: kept as received, parameters included, and kept when a later NOTIFY has none.
        let before = sub.named.take().map(|named| *named).unwrap_or_default();
        sub.named = Named::kept([
            allowed(&notice.cc_uri).or(before.cc_uri),
            allowed(&notice.call_info).or(before.call_info),
            allowed(&notice.contact).or(before.contact),
        ]);
    }
}

impl Request {
    /// CC-27: resumes the caller when what kept him is over.
    pub(super) fn release_hold(&mut self, line: &Line, now: Timestamp) {
        let over = match self.hold {
            None | Some(Hold::ByHand { .. }) => false,
            Some(Hold::Engaged) => !line.refuses_calls(now),
            Some(Hold::Rest { since, until, .. }) => {
                let seen = line.talked > Some(since) || line.registered > Some(since);
                (until <= now || seen) && !line.refuses_calls(now)
            }
        };
        if over {
            self.hold = None;
        }
    }

    /// CC-24: to each monitor that was told otherwise.
    pub(super) fn publish(&mut self, shown: Basic, turn: &mut Turn<'_>) {
        let because = match self.hold {
            Some(Hold::ByHand { because } | Hold::Rest { because, .. }) => because,
            Some(Hold::Engaged) | None => Because::Unavailable,
        };
        let active = self.is_active();
        for sub in &mut self.subscriptions {
            let is_selected = self.selected == Some(sub.id);
            let basic = match shown {
                Basic::Open if active && !is_selected => Basic::Closed,
                Basic::Open | Basic::Closed => shown,
            };
            let idle = sub.publishing == Publishing::Idle;
            if sub.phase != Phase::Live || sub.told == basic || !idle {
                continue;
            }
            let Some(to) = sub.publish_to() else {
                continue;
            };
            sub.told = basic;
            sub.publishing = Publishing::Waiting;
            let publication = Publication {
                to,
                basic,
                expires: sub.ends.since(turn.now),
                because,
            };
            turn.out.push(Effect::Publish(sub.id, publication));
        }
    }
}

impl Named {
    /// cc-URI, Call-Info and Contact; `None` if there is none of them.
    fn kept(addresses: [Option<AddrSpec>; 3]) -> Option<Box<Self>> {
        let is_some = addresses.iter().any(Option::is_some);
        let [cc_uri, call_info, contact] = addresses;
        is_some.then(|| {
            Box::new(Self {
                cc_uri,
                call_info,
                contact,
            })
        })
    }
}

impl Subscription {
    pub(super) fn new(id: SubscriptionId, monitor: AddrSpec, timer_n: Timestamp) -> Self {
        Self {
            id,
            monitor,
            phase: Phase::Asked,
            ends: timer_n,
            seen: None,
            named: None,
            told: Basic::Open,
            publishing: Publishing::Idle,
            ways_failed: 0,
        }
    }

    fn revived(kept: KeptSubscription) -> Self {
        Self {
            phase: Phase::Live,
            seen: kept.seen,
            named: Named::kept([kept.cc_uri, kept.call_info, kept.contact]),
            told: kept.told,
            ways_failed: kept.ways_failed,
            ..Self::new(kept.id, kept.monitor, kept.ends)
        }
    }

    fn kept(&self) -> KeptSubscription {
        let named = self.named.as_deref().cloned().unwrap_or_default();
        KeptSubscription {
            id: self.id,
            monitor: self.monitor.clone(),
            ends: self.ends,
            seen: self.seen,
            cc_uri: named.cc_uri,
            call_info: named.call_info,
            contact: named.contact,
            told: self.told,
            ways_failed: self.ways_failed,
        }
    }

    /// The cc-URI that it told.
    fn cc_uri(&self) -> impl Iterator<Item = &AddrSpec> {
        self.named.iter().filter_map(|named| named.cc_uri.as_ref())
    }

    /// Where the next PUBLISH goes; `None` when every way has failed.
    ///
    /// CC-26: cc-URI, dialog, Call-Info of the NOTIFY, Contact, in this order.
    pub(super) fn publish_to(&self) -> Option<PublishTo> {
        let named = self.named.as_deref().cloned().unwrap_or_default();
        let ways = [
            named.cc_uri.map(PublishTo::Address),
            Some(PublishTo::Dialog),
            named.call_info.map(PublishTo::Address),
            named.contact.map(PublishTo::Address),
        ];
        ways.into_iter().flatten().nth(self.ways_failed)
    }
}
