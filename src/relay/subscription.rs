//! A subscription that passes through: what the subscriber sees, and what its notifiers see.
//!
//! Spec: RFC 6665 §4; RFC 3515 §2.4; RFC 7647; RULES R3, R15.
//!
//! ```text
//!   subscriber                    us                          notifier
//!       │ SUBSCRIBE or REFER ─────►│ near                  far │
//!       │                          │── the same, other names ─►│
//!       │◄── 2xx, near tag ────────│◄───────────────────── 2xx │   either of the two
//!       │◄── NOTIFY, near tag ─────│◄────────────────── NOTIFY │   may be the first
//! ```
//!
//! - Each notifier that answers makes a fork: two dialogs that have nothing in common. All forks have
//!   our one tag towards the notifiers, and one each towards the subscriber.
//! - How long a fork lives is between its two ends; here it is remembered for as long as was granted,
//!   so that what they still have to say to each other finds its way.

use std::time::Duration;

use crate::dialog::{Dialog, Order, Tag};
use crate::relay::asked::Asked;
use crate::relay::exchange::{Exchange, kind_of};
use crate::relay::{Errand, Few, Part, Refused, Turn, as_accepted, is_target_refresh};
use crate::sip::flow::Flow;
use crate::sip::{Method, Name, Request, Response, SubscriptionState, Substate, Writer, parse_u32};
use crate::table::Key;
use crate::time::Timestamp;
use crate::transaction::clients::{Failure, Outgoing};

/// Most dialogs that one SUBSCRIBE may make: more phones than one user has.
const FORKS_MAX: usize = 8;

/// What is granted where nobody says for how long.
const EXPIRES_DEFAULT: Duration = Duration::from_hours(1);

/// An end of a subscription.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Side {
    /// Who is told, and has sent the SUBSCRIBE or REFER.
    Subscriber,
    /// Who tells.
    Notifier,
}

impl Side {
    pub(super) fn other(self) -> Self {
        match self {
            Self::Subscriber => Self::Notifier,
            Self::Notifier => Self::Subscriber,
        }
    }
}

/// Where in a subscription a request belongs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct At {
    /// Who sent it.
    pub side: Side,
    /// In which fork; `None` for a NOTIFY that makes one.
    fork: Option<u8>,
}

/// A subscription and its forks.
#[derive(Debug)]
pub struct Subscription {
    pub(super) key: Key,
    /// The subscriber's side, with the tag of the first fork.
    near: Dialog,
    /// The notifier's side towards each target, before it has answered.
    halves: Few<Dialog>,
    asked: Option<Asked>,
    pub(super) forks: Few<Fork>,
    /// Timer N: until when a NOTIFY may make a fork.
    forks_until: Timestamp,
    /// It was accepted by somebody who has yet to say who he is, which his NOTIFY will.
    awaits_notify: bool,
    pub(super) exchanges: Vec<Exchange>,
    pub(super) last_exchange: u8,
}

/// The two dialogs with one notifier.
#[derive(Debug)]
pub(super) struct Fork {
    near: Dialog,
    far: Dialog,
    /// When it is forgotten, unless somebody prolongs it.
    pub(super) ends: Timestamp,
    /// Whether it is over; kept so that nothing late of it is taken for a new fork (S-126).
    pub(super) is_over: bool,
}

impl Fork {
    pub(super) fn dialog(&self, side: Side) -> &Dialog {
        match side {
            Side::Subscriber => &self.near,
            Side::Notifier => &self.far,
        }
    }

    pub(super) fn dialog_mut(&mut self, side: Side) -> &mut Dialog {
        match side {
            Side::Subscriber => &mut self.near,
            Side::Notifier => &mut self.far,
        }
    }
}

impl Subscription {
    /// Sends a SUBSCRIBE or REFER on, to all of its targets at once; `None` if it reached nobody, and
    /// has been answered.
    ///
    /// `near` is our side towards the subscriber.
    pub fn open(key: Key, turn: &mut Turn<'_>, errand: &Errand<'_>, near: Dialog) -> Option<Self> {
        let (asked, halves) = Asked::send(turn, errand, |index| (Part::Opening(index), key))?;
        Some(Self {
            key,
            near,
            halves,
            asked: Some(asked),
            forks: Few::new(),
            forks_until: turn.now + turn.patience,
            awaits_notify: false,
            exchanges: Vec::new(),
            last_exchange: 0,
        })
    }

    /// Whether nothing of it is left to do.
    pub fn is_over(&self) -> bool {
        let live = self.forks.iter().any(|fork| !fork.is_over);
        !live && self.asked.is_none() && self.exchanges.is_empty() && !self.awaits_notify
    }

    /// When [`Self::handle_timeout`] next has work to do.
    pub fn deadline(&self) -> Option<Timestamp> {
        let live = self.forks.iter().filter(|fork| !fork.is_over);
        let awaited = self.awaits_notify.then_some(self.forks_until);
        live.map(|fork| fork.ends).chain(awaited).min()
    }

    /// Forgets what has run out.
    pub fn handle_timeout(&mut self, turn: &mut Turn<'_>) {
        for index in 0..self.forks.len() {
            if self
                .forks
                .get(index)
                .is_some_and(|fork| fork.ends <= turn.now)
            {
                self.end_fork(turn, index);
            }
        }
        self.awaits_notify &= self.forks_until > turn.now;
    }

    /// Our tag towards the notifiers, by which their first NOTIFY names it.
    pub fn far_tag(&self) -> Option<Tag> {
        self.halves.first().map(Dialog::tag)
    }

    /// Where a request belongs; `None` if it is not within this subscription.
    pub fn locate(&self, now: Timestamp, request: &Request<'_>) -> Option<At> {
        let tag = request.to.tag().and_then(Tag::parse)?;
        let remote_tag = request.from.tag().unwrap_or_default();
        let is = |dialog: &Dialog| dialog.is(request.call_id, tag, remote_tag);
        for (index, fork) in (0..).zip(&self.forks) {
            let side = match (is(&fork.near), is(&fork.far)) {
                (true, _) => Side::Subscriber,
                (false, true) => Side::Notifier,
                (false, false) => continue,
            };
            let fork = Some(index);
            return Some(At { side, fork });
        }
        // S-129: before the 2xx, or of another fork than that.
        let half = self.halves.first()?;
        let is_ours = half.call_id() == request.call_id && half.tag() == tag;
        let makes_fork = is_ours
            && request.method == Method::Notify
            && !remote_tag.is_empty()
            && now < self.forks_until
            && self.forks.len() < FORKS_MAX;
        makes_fork.then_some(At {
            side: Side::Notifier,
            fork: None,
        })
    }

    /// Takes a request within it; `moved` says that its sender has proven himself where it came from.
    pub fn handle_request(
        &mut self,
        turn: &mut Turn<'_>,
        at: At,
        request: &Request<'_>,
        (flow, moved): (&Flow, bool),
    ) -> Result<(), Refused> {
        if !may_be_within(request.method) {
            return Err(Refused::Gone);
        }
        let index = match at.fork {
            Some(index) => usize::from(index),
            None => self.add_notified(turn, request, flow)?,
        };
        let fork = self.forks.get_mut(index).filter(|fork| !fork.is_over);
        let fork = fork.ok_or(Refused::Gone)?;
        let dialog = fork.dialog_mut(at.side);
        let is_first = at.fork.is_none();
        if !is_first && dialog.order(request.cseq.number) == Order::OutOfOrder {
            return Err(Refused::OutOfOrder);
        }
        let number = u8::try_from(index).map_err(|_| Refused::Full)?;
        let kind = kind_of(request, is_terminated(request));
        self.begin_exchange(turn, (at.side, number), request, (flow, kind))?;
        if let Some(fork) = self.forks.get_mut(index) {
            if is_target_refresh(request.method) {
                fork.dialog_mut(at.side).refresh_target(&request.message);
                if moved {
                    fork.dialog_mut(at.side).move_to(flow);
                }
            }
            if let Some(left) = time_left(request) {
                fork.ends = turn.now + left + turn.patience;
            }
        }
        Ok(())
    }

    /// Tells the subscriber something between what its notifier tells, in the same package.
    pub fn tell(
        &mut self,
        turn: &mut Turn<'_>,
        event: &[u8],
        (kind, body): (&str, &[u8]),
    ) -> Option<()> {
        let fork = self.forks.iter_mut().find(|fork| !fork.is_over)?;
        let left = fork.ends.since(turn.now).saturating_sub(turn.patience);
        let dialog = &mut fork.near;
        let (cseq, to) = (dialog.next_cseq(), dialog.flow());
        turn.scratch.clear();
        let mut writer = Writer::fragment(turn.scratch);
        dialog.write_fields(&mut writer, Method::Notify, cseq, 70);
        writer.header(Name::Contact, turn.contacts.of(&to));
        writer.header(Name::Event, event);
        let left_s = left.as_secs();
        writer.header_fmt(
            Name::SubscriptionState,
            format_args!("active;expires={left_s}"),
        );
        writer.header(Name::ContentType, kind.as_bytes());
        writer.finish(body).ok()?;
        let outgoing = Outgoing {
            method: Method::Notify,
            uri: dialog.request_uri(),
            flow: to,
            user: None,
            destination: 0,
            fields: turn.scratch,
        };
        turn.layer.request(turn.now, &outgoing).ok()?;
        Some(())
    }

    /// S-101: the request went on to another server of this target, where the dialog will be.
    pub fn handle_moved(&mut self, target: u8, flow: &Flow) {
        if let Some(half) = self.halves.get_mut(usize::from(target)) {
            half.move_to(flow);
        }
    }

    /// Takes a response to a request of ours that may make it, from this target.
    pub fn handle_opening(&mut self, turn: &mut Turn<'_>, target: u8, response: &Response<'_>) {
        if response.status.is_provisional() {
            return;
        }
        if response.status.is_success() {
            return self.on_accepted(turn, target, response);
        }
        let tag = self.near.tag().text();
        self.asked = self
            .asked
            .take()
            .and_then(|asked| asked.fail(turn, response, &tag));
    }

    /// Gives up a request that its only target has refused: the transaction that waits for an answer.
    pub fn give_up(&mut self) -> Option<Key> {
        let asked = self.asked.take_if(|asked| asked.is_alone())?;
        Some(asked.server())
    }

    /// Takes the failure of such a request that this target did not answer.
    pub fn handle_opening_failure(&mut self, turn: &mut Turn<'_>, failure: Failure) {
        let tag = self.near.tag().text();
        self.asked = self
            .asked
            .take()
            .and_then(|asked| asked.miss(turn, failure, &tag));
    }

    fn on_accepted(&mut self, turn: &mut Turn<'_>, target: u8, response: &Response<'_>) {
        let ends = turn.now + granted(response) + turn.patience;
        let known = self.forks.iter().position(|fork| {
            let remote_tag = response.to.tag().unwrap_or_default();
            fork.far.remote_tag() == remote_tag
        });
        let fork = if has_no_subscription(response) {
            None
        } else {
            known.or_else(|| self.add_answered(turn, (target, ends), response))
        };
        let near = match fork.and_then(|fork| self.forks.get_mut(fork)) {
            Some(fork) => {
                fork.ends = fork.ends.max(ends);
                &fork.near
            }
            None => &self.near,
        };
        let (tag, flow) = (near.tag().text(), near.flow());
        let Some(asked) = self.asked.take() else {
            // Another one was accepted before: this one shows itself by its NOTIFY.
            return;
        };
        self.awaits_notify = fork.is_none() && !has_no_subscription(response);
        let contact = turn.contacts.of(&flow);
        let status = as_accepted(response.cseq.method, response.status);
        let write = |writer: &mut Writer<'_>| {
            writer.header(Name::Contact, contact);
        };
        asked.succeed(turn, (status, &tag), response, write);
    }

    /// The fork that a 2xx makes; `None` if it does not say who made it, or there are too many.
    fn add_answered(
        &mut self,
        turn: &mut Turn<'_>,
        (target, ends): (u8, Timestamp),
        response: &Response<'_>,
    ) -> Option<usize> {
        let half = self.halves.get(usize::from(target))?;
        let far = half.answered(response, &half.flow(), half.reach());
        if far.remote_tag().is_empty() || !far.has_target() || self.forks.len() >= FORKS_MAX {
            return None;
        }
        Some(self.add(turn, far, ends))
    }

    /// S-129: the fork that a NOTIFY makes.
    fn add_notified(
        &mut self,
        turn: &mut Turn<'_>,
        notify: &Request<'_>,
        flow: &Flow,
    ) -> Result<usize, Refused> {
        let came_from = |half: &&Dialog| half.flow().remote.ip() == flow.remote.ip();
        let half = self.halves.iter().find(came_from);
        let half = half.or_else(|| self.halves.first()).ok_or(Refused::Gone)?;
        let far = half.notified(notify);
        if !far.has_target() {
            return Err(Refused::Gone);
        }
        self.awaits_notify = false;
        let ends = turn.now + EXPIRES_DEFAULT + turn.patience;
        Ok(self.add(turn, far, ends))
    }

    /// Adds a fork: the first has the tag that the answer has, whichever of them comes first.
    fn add(&mut self, turn: &mut Turn<'_>, far: Dialog, ends: Timestamp) -> usize {
        let mut near = self.near.clone();
        if !self.forks.is_empty() {
            near.set_tag(Tag::new(self.key, turn.rng));
        }
        self.forks.push(Fork {
            near,
            far,
            ends,
            is_over: false,
        });
        self.forks.len() - 1
    }

    /// It is over; what still waits in it for an answer gets 481.
    pub(super) fn end_fork(&mut self, turn: &mut Turn<'_>, index: usize) {
        if let Some(fork) = self.forks.get_mut(index) {
            fork.is_over = true;
        }
        self.abandon_exchanges(turn, index);
    }
}

/// What either end may send within a subscription: sessions have dialogs of their own (S-130).
fn may_be_within(method: Method<'_>) -> bool {
    match method {
        Method::Info
        | Method::Message
        | Method::Notify
        | Method::Options
        | Method::Publish
        | Method::Refer
        | Method::Subscribe
        | Method::Other(_) => true,
        Method::Ack
        | Method::Bye
        | Method::Cancel
        | Method::Invite
        | Method::Prack
        | Method::Register
        | Method::Update => false,
    }
}

/// Whether this NOTIFY is the last one.
fn is_terminated(request: &Request<'_>) -> bool {
    let state = state_of(request);
    state.is_some_and(|state| state.substate == Substate::Terminated)
}

/// S-123: what a NOTIFY says is left.
fn time_left(request: &Request<'_>) -> Option<Duration> {
    let left_s = state_of(request)?.expires_s?;
    Some(Duration::from_secs(left_s.into()))
}

fn state_of(request: &Request<'_>) -> Option<SubscriptionState> {
    let state = request.message.first(Name::SubscriptionState);
    let state = state.filter(|_| request.method == Method::Notify)?;
    SubscriptionState::parse(state).ok()
}

/// S-121: what a 2xx grants.
pub(super) fn granted(response: &Response<'_>) -> Duration {
    let expires = response.message.first(Name::Expires).and_then(parse_u32);
    expires.map_or(EXPIRES_DEFAULT, |seconds| {
        Duration::from_secs(seconds.into())
    })
}

/// RFC 4488 §4: the REFER was taken, and nobody is told what comes of it.
fn has_no_subscription(response: &Response<'_>) -> bool {
    let refer_sub = response.message.named("Refer-Sub").unwrap_or_default();
    refer_sub.eq_ignore_ascii_case(b"false")
}
