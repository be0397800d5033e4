//! The session timers of a call's two legs: what each has agreed on, and what is done when one is due.
//!
//! Spec: RFC 4028 §7, §9, §10 (S-90 to S-97); RULES R12.
//!
//! - Each leg has a timer of its own, or none. What crosses carries the timer of the leg that it goes
//!   out on, so that a refresh of one side refreshes the other as well.
//! - What one side asks for, the other is asked for, unless we ask for our own there.
//! - Where we refresh, it is by UPDATE if the peer allows it, else by an INVITE with what was
//!   described to the peer last.

use crate::call::exchange::At;
use crate::call::negotiation::is_end_of_dialog;
use crate::call::relay::{Fate, carries_session, fate};
use crate::call::sdp::SDP;
use crate::call::{Call, Leg, Part, Phase, Side, Turn, end};
use crate::dialog::session_timer::{Asked, Due, Refresher, SessionTimer, Terms, least_of};
use crate::sip::flow::Flow;
use crate::sip::parse_u32;
use crate::sip::{
    Message, Method, Name, Request, Response, Scratch, StartLine, Status, Via, Writer,
};
use crate::table::Key;
use crate::time::Timestamp;
use crate::transaction::branch::Branch;
use crate::transaction::clients::{Failure, Outgoing};

/// Says why a leg is ended whose session nobody has refreshed.
const EXPIRED: &[u8] = b"SIP;cause=408;text=\"Session timer expired\"";

/// The timer of a leg, and how we refresh its session.
#[derive(Debug)]
pub(super) struct Timed {
    timer: SessionTimer,
    means: Means,
}

#[derive(Debug)]
enum Means {
    Update,
    /// With what has been described to the peer; nothing yet, if that comes in the ACK.
    Invite(Box<Described>),
}

/// A session as its peer knows it.
#[derive(Debug, Default)]
struct Described {
    kind: Box<[u8]>,
    body: Box<[u8]>,
}

/// The time for which we ask each side of a call, in seconds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Asks {
    /// The caller.
    pub a: Option<u32>,
    /// The callee.
    pub b: Option<u32>,
}

impl Described {
    fn of(message: &Message<'_>, body: &[u8]) -> Self {
        if !carries_session(message) {
            return Self::default();
        }
        Self {
            kind: Box::from(message.first(Name::ContentType).unwrap_or_default()),
            body: Box::from(body),
        }
    }
}

impl Timed {
    pub(super) fn deadline(&self) -> Timestamp {
        self.timer.deadline()
    }

    /// A new timer, of a leg whose session was refreshed by these means before, if at all.
    fn renewed(before: Option<Means>, timer: SessionTimer, means: Means) -> Self {
        // What was described last, if anything was.
        let is_newer = matches!(
            (&before, &means),
            (Some(Means::Invite(_)), Means::Invite(described)) if !described.body.is_empty()
        );
        let means = match before {
            Some(before) if !is_newer => before,
            Some(_) | None => means,
        };
        Self { timer, means }
    }
}

/// Writes what a request asks the side behind this leg for: the terms that it knows, else what the
/// other side asks.
pub(super) fn write_request(writer: &mut Writer<'_>, leg: &Leg, request: &Request<'_>) {
    match &leg.timed {
        Some(timed) => write_ask(writer, &request.message, |writer| {
            timed.timer.terms().write_request(writer);
        }),
        None => copy_ask(writer, &request.message),
    }
}

/// Writes what a first INVITE asks for: so many seconds of our own, else what the caller asks.
pub(super) fn write_invite(
    writer: &mut Writer<'_>,
    invite: &Message<'_>,
    asked_s: Option<u32>,
    least_s: u32,
) {
    let Some(asked_s) = asked_s else {
        return copy_ask(writer, invite);
    };
    write_ask(writer, invite, |writer| {
        writer.header_fmt(Name::SessionExpires, format_args!("{asked_s}"));
        writer.header_fmt(Name::MinSe, format_args!("{least_s}"));
    });
}

/// S-91
fn write_ask(writer: &mut Writer<'_>, crossing: &Message<'_>, write: impl FnOnce(&mut Writer<'_>)) {
    if !crossing.has_option(Name::Supported, "timer") {
        writer.header(Name::Supported, b"timer");
    }
    write(writer);
}

fn copy_ask(writer: &mut Writer<'_>, crossing: &Message<'_>) {
    if let Some(expires) = crossing.first(Name::SessionExpires) {
        writer.header(Name::SessionExpires, expires);
        if let Some(least) = crossing.first(Name::MinSe) {
            writer.header(Name::MinSe, least);
        }
    }
}

/// What a caller's INVITE says of session timers, if he or we care.
pub(super) fn asked_by(invite: &Message<'_>, asked_s: Option<u32>) -> Asked {
    if asked_s.is_none() && invite.first(Name::SessionExpires).is_none() {
        return Asked::default();
    }
    Asked::of(invite)
}

/// S-92: refuses a request within a call that asks for too short a session.
pub(super) fn refuse_too_short(
    turn: &mut Turn<'_>,
    request: &Request<'_>,
    flow: &Flow,
) -> Option<()> {
    let least_s = turn.policy.session_least_s;
    if !Asked::of(&request.message).is_too_short(least_s) {
        return None;
    }
    turn.scratch.clear();
    let mut writer = Writer::fragment(turn.scratch);
    writer.header_fmt(Name::MinSe, format_args!("{least_s}"));
    let rest = writer.finish(b"").ok()?;
    let rest = turn.scratch.get(rest).unwrap_or_default();
    let status = Status::SESSION_INTERVAL_TOO_SMALL;
    turn.layer.refuse(&request.message, flow, status, rest);
    Some(())
}

impl Call {
    /// S-93: a peer that we have asked for a timer of our own wants it longer, and is asked once more;
    /// what A has asked for is A's to ask again.
    pub(super) fn ask_longer(
        &mut self,
        turn: &mut Turn<'_>,
        branch: u8,
        response: &Response<'_>,
    ) -> Option<()> {
        let is_too_short = response.status == Status::SESSION_INTERVAL_TOO_SMALL;
        let least_s = least_of(&response.message).filter(|_| is_too_short)?;
        let setup = self.setup.as_deref_mut()?;
        let is_pending = setup.server().is_some();
        setup
            .asks
            .b
            .filter(|asked_s| is_pending && least_s > *asked_s)?;
        // Once: whatever is said to it goes back to A.
        setup.asks.b = None;
        let client = self.way_of(branch).2;
        let invite: Box<[u8]> = Box::from(turn.layer.answered_invite(client));
        let mut scratch = Scratch::new();
        let invite = Message::parse(&invite, &mut scratch).ok()?;
        let client = self.send_longer(turn, branch, &invite, least_s)?;
        self.move_branch(branch, client, self.way_of(branch).0);
        Some(())
    }

    fn send_longer(
        &mut self,
        turn: &mut Turn<'_>,
        branch: u8,
        invite: &Message<'_>,
        least_s: u32,
    ) -> Option<Key> {
        let StartLine::Request { uri, .. } = invite.start() else {
            return None;
        };
        let hops = invite.first(Name::MaxForwards).and_then(parse_u32);
        let via = Via::parse(invite.first(Name::Via)?).ok()?;
        let before = Branch::parse(via.branch()?)?;
        let number = self.b.dialog.next_cseq();
        turn.scratch.clear();
        let mut writer = Writer::fragment(turn.scratch);
        let hops = hops.and_then(|hops| u8::try_from(hops).ok());
        let dialog = &self.b.dialog;
        dialog.write_fields(&mut writer, Method::Invite, number, hops.unwrap_or(70));
        for header in invite.headers() {
            if !matches!(fate(header.name), Fate::PerLeg | Fate::TooShort) {
                writer.copy(header);
            }
        }
        writer.header_fmt(Name::SessionExpires, format_args!("{least_s}"));
        writer.header_fmt(Name::MinSe, format_args!("{least_s}"));
        writer.finish(invite.body()).ok()?;
        let outgoing = Outgoing {
            method: Method::Invite,
            uri,
            flow: self.way_of(branch).0,
            user: Some(self.user(Part::Branch(branch))),
            destination: before.destination,
            fields: turn.scratch,
        };
        turn.layer.request(turn.now, &outgoing).ok()
    }

    /// S-94, S-97: what we agree to with A, whose INVITE B has answered with this.
    pub(super) fn agree_with_caller(&mut self, turn: &Turn<'_>, response: &Response<'_>) {
        let Some(setup) = self.setup.as_deref() else {
            return;
        };
        let agreed = setup.asked.agreed(setup.asks.a);
        let allows_update = setup.asked.allows_update;
        if agreed.is_none() {
            return;
        }
        let body = self.body_from(Side::B, &response.message);
        let described = Described::of(&response.message, &body);
        self.agree(turn, Side::A, agreed, allows_update, described);
    }

    /// S-94: what a side that has sent this request hears of the leg's terms with its 2xx, which
    /// describes the session so.
    pub(super) fn agree_within(&mut self, turn: &Turn<'_>, side: Side, asked: Asked) {
        let terms = self
            .leg(side)
            .timed
            .as_deref()
            .map(|timed| timed.timer.terms());
        let agreed = asked.agreed(terms.map(|terms| terms.interval_s));
        // Without a timer so far, only what the peer refreshes is agreed to: how we could is not known.
        let agreed = agreed.filter(|agreed| terms.is_some() || agreed.refresher == Refresher::Peer);
        self.agree(
            turn,
            side,
            agreed,
            asked.allows_update,
            Described::default(),
        );
    }

    /// What a 2xx to an INVITE, whose transaction is `client`, or UPDATE of ours says of the leg's
    /// timer.
    pub(super) fn on_session_answered(
        &mut self,
        turn: &Turn<'_>,
        side: Side,
        response: &Response<'_>,
        client: Option<Key>,
    ) {
        let message = &response.message;
        self.marks.note_answer(turn, side, message);
        let is_timed = message.first(Name::SessionExpires).is_some();
        if !is_timed {
            self.leg_mut(side).timed = None;
            return;
        }
        let agreed = Asked::of(message).answered();
        let allows_update =
            message.has_option(Name::Allow, "UPDATE") || response.cseq.method == Method::Update;
        let mut scratch = Scratch::new();
        let invite = turn.layer.answered_invite(client);
        let invite = Message::parse(invite, &mut scratch).ok();
        let described = invite.map(|invite| Described::of(&invite, invite.body()));
        self.agree(
            turn,
            side,
            agreed,
            allows_update,
            described.unwrap_or_default(),
        );
    }

    fn agree(
        &mut self,
        turn: &Turn<'_>,
        side: Side,
        agreed: Option<Terms>,
        allows_update: bool,
        described: Described,
    ) {
        let leg = self.leg_mut(side);
        let Some(agreed) = agreed else {
            leg.timed = None;
            return;
        };
        // Whoever says less has been told how much it is at least, or does not listen.
        let terms = agreed.at_least(turn.policy.session_least_s);
        let before = leg.timed.take().map(|timed| timed.means);
        let means = if allows_update {
            Means::Update
        } else {
            Means::Invite(Box::new(described))
        };
        let timer = SessionTimer::new(turn.now, terms);
        leg.timed = Some(Box::new(Timed::renewed(before, timer, means)));
    }

    /// The session has been described to this side anew.
    pub(super) fn note_description(&mut self, to: Side, message: &Message<'_>) {
        let is_wanted = matches!(
            self.leg(to).timed.as_deref(),
            Some(Timed {
                means: Means::Invite(_),
                ..
            })
        );
        if !is_wanted || !carries_session(message) {
            return;
        }
        let body = self.body_towards(to, message);
        if let Some(Timed {
            means: Means::Invite(described),
            ..
        }) = self.leg_mut(to).timed.as_deref_mut()
        {
            **described = Described::of(message, &body);
        }
    }

    /// The same, by us.
    pub(super) fn redescribe(&mut self, to: Side, sdp: &[u8]) {
        if let Some(Timed {
            means: Means::Invite(described),
            ..
        }) = self.leg_mut(to).timed.as_deref_mut()
        {
            described.kind = Box::from(SDP);
            described.body = Box::from(sdp);
        }
    }

    /// The call ends: nothing is refreshed any more.
    pub(super) fn forget_sessions(&mut self) {
        self.a.timed = None;
        self.b.timed = None;
    }

    /// The terms of this leg, for the 2xx to a request of its peer's.
    pub(super) fn terms(&self, side: Side) -> Option<Terms> {
        let timed = self.leg(side).timed.as_deref();
        timed.map(|timed| timed.timer.terms())
    }

    /// When the next leg is to be refreshed or ended.
    pub(super) fn session_deadline(&self) -> Option<Timestamp> {
        let legs = [&self.a, &self.b].into_iter();
        let timed = legs.filter_map(|leg| leg.timed.as_deref());
        timed.map(Timed::deadline).min()
    }

    /// Whatever is due of the two sessions.
    pub(super) fn on_session_due(&mut self, turn: &mut Turn<'_>) {
        for side in [Side::A, Side::B] {
            let Some(timed) = self.leg_mut(side).timed.as_deref_mut() else {
                continue;
            };
            match timed.timer.handle_timeout(turn.now) {
                Due::Nothing => {}
                Due::Refresh => self.refresh(turn, side),
                // S-96
                Due::Expired => return self.lose_for(turn, &[Side::A, Side::B], EXPIRED),
            }
        }
    }

    /// S-95: refreshes the session of a leg, unless something is under way there.
    fn refresh(&mut self, turn: &mut Turn<'_>, side: Side) {
        let is_sent = match self.leg(side).timed.as_deref().map(|timed| &timed.means) {
            Some(Means::Update) => self.refresh_by_update(turn, side),
            Some(Means::Invite(described)) if described.body.is_empty() => {
                // What it knows is not known: rather than end the call, it is left to the peer.
                self.leg_mut(side).timed = None;
                return;
            }
            Some(Means::Invite(_)) => self.refresh_by_invite(turn, side),
            None => return,
        };
        if is_sent.is_none() {
            self.on_refresh_refused(turn.now, side);
        }
    }

    fn refresh_by_update(&mut self, turn: &mut Turn<'_>, side: Side) -> Option<()> {
        let asker = At::within(side.other());
        let part = self.begin_refresh(asker)?;
        let sent = self.send_refresh(turn, side, Method::Update, part);
        if sent.is_none() {
            self.forget_refresh(part);
        }
        sent.map(|_| ())
    }

    fn refresh_by_invite(&mut self, turn: &mut Turn<'_>, side: Side) -> Option<()> {
        if self.negotiation.is_some() || self.pending_offer(None).is_some() {
            return None;
        }
        let part = Part::Negotiation;
        let (client, number) = self.send_refresh(turn, side, Method::Invite, part)?;
        self.await_refresh(turn, side, client, number);
        Some(())
    }

    fn send_refresh(
        &mut self,
        turn: &mut Turn<'_>,
        side: Side,
        method: Method<'static>,
        part: Part,
    ) -> Option<(Key, u32)> {
        let user = Some(self.user(part));
        let leg = self.leg_mut(side);
        let number = leg.dialog.next_cseq();
        let timed = leg.timed.as_deref()?;
        turn.scratch.clear();
        let mut writer = Writer::fragment(turn.scratch);
        leg.dialog.write_fields(&mut writer, method, number, 70);
        let flow = leg.dialog.flow();
        writer.header(Name::Contact, turn.contacts.of(&flow));
        writer.header(Name::Supported, b"timer");
        timed.timer.terms().write_request(&mut writer);
        let body = match &timed.means {
            Means::Update => &b""[..],
            Means::Invite(described) => {
                writer.header(Name::ContentType, &described.kind);
                &described.body
            }
        };
        writer.finish(body).ok()?;
        let account = self.account_on(side);
        let dialog = &self.leg(side).dialog;
        let client = end::send_as(turn, dialog, method, (user, account.as_ref()))?;
        Some((client, number))
    }

    /// Takes the final response to a refresh of ours.
    pub(super) fn on_refreshed(
        &mut self,
        turn: &mut Turn<'_>,
        side: Side,
        response: &Response<'_>,
    ) {
        let (now, status) = (turn.now, response.status);
        if self.phase != Phase::Talking {
            return;
        }
        if status.is_success() {
            self.leg_mut(side).dialog.refresh_target(&response.message);
            return self.on_session_answered(turn, side, response, None);
        }
        let is_challenged = matches!(status.code(), 401 | 407);
        if is_challenged {
            // R3: we have no credentials there, and the call stays as it was.
            self.leg_mut(side).timed = None;
            return;
        }
        if is_end_of_dialog(status) {
            // S-15
            return self.lose(turn, &[Side::A, Side::B]);
        }
        let least_s = least_of(&response.message);
        let least_s = least_s.filter(|_| status == Status::SESSION_INTERVAL_TOO_SMALL);
        match (self.leg_mut(side).timed.as_deref_mut(), least_s) {
            (Some(timed), Some(least_s)) => timed.timer.handle_too_short(now, least_s),
            (Some(timed), None) => timed.timer.handle_refusal(now),
            (None, _) => {}
        }
    }

    /// A refresh of ours was not answered.
    pub(super) fn on_refresh_failure(&mut self, turn: &mut Turn<'_>, side: Side, failure: Failure) {
        match failure {
            // S-15: as good as 408.
            Failure::TimedOut => self.lose(turn, &[Side::A, Side::B]),
            Failure::Unreachable => self.on_refresh_refused(turn.now, side),
        }
    }

    /// A refresh of ours did not get through, or would meet something else.
    pub(super) fn on_refresh_refused(&mut self, now: Timestamp, side: Side) {
        if let Some(timed) = self.leg_mut(side).timed.as_deref_mut() {
            timed.timer.handle_refusal(now);
        }
    }
}
