//! Calls: two legs that have nothing in common but what crosses between them.
//!
//! Spec: RFC 3261 §6, §9, §13, §14, §15, §16.7–16.8; RFC 7332; RFC 3326.
//!
//! ```text
//!   INVITE --> Inviting --2xx--> Talking --BYE, 481, no ACK--> Ending --> over
//!                 |                                              ^
//!                 +---- CANCEL, all branches failed, timer C ----+
//!
//!   we ring A and B --> Recalling --both--> Talking; or Ending
//!   we answer A ------> Confirming --ACK--> Ending
//! ```
//!
//! - The A leg is the caller's, and we are its server; the B leg is the callee's, and we are its
//!   client. All branches towards the callee share its Call-ID and our tag, as forks of one call do,
//!   so that a phone with two registrations rings once.
//! - Each early dialog of the B leg has a tag of its own on the A leg: the caller sees the forks.
//! - The ACK of a 2xx crosses; the 2xx is sent again by us until it comes (S-05).

mod announce;
mod branches;
mod confirm;
mod early;
mod end;
mod exchange;
mod finals;
mod forks;
mod heard;
mod held;
mod hold;
pub mod ids;
mod joined;
mod known;
mod leaving;
mod marks;
mod mixed;
mod mixing;
mod nat;
mod negotiation;
mod policy;
pub mod reach;
mod recall;
mod redirect;
mod refers;
pub mod relay;
mod returning;
mod sdes;
mod sdp;
mod session;
mod setup;
mod sound;
mod staying;
mod within;

use std::net::IpAddr;
use std::time::Duration;

use smallvec::SmallVec;

use crate::dialog::{Dialog, Tag};
use crate::random::Rng;
use crate::sip::flow::{Flow, Transport};
use crate::sip::{Request, Response, Status, Writer};
use crate::table::Key;
use crate::time::Timestamp;
use crate::transaction::clients::Failure;
use crate::transaction::reply;
use crate::transaction::servers::Answer;
use crate::transaction::{Layer, User};

pub use announce::{Announce, PeerOffers, Silent, Told};
pub use end::refuse_orphan;
pub use finals::{is_better, not_the_whole_service};
pub use held::{Refused, Sent};
pub use ids::{Ids, Legs, NamedLeg, NoLegs, replaced_by};
pub use known::with_version;
pub use mixed::mixer_in_place_of;
pub use mixing::MixNews;
pub use nat::{NatMedia, anchored, rewritten};
pub use policy::{Policy, Reliability, SessionAsks};
pub use reach::misdirects;
pub use recall::{Announcement, Invitation, News, NoCall, Party, Refusal};
pub use session::Asks;
pub use setup::{Offer, Target, forwards};
pub use sound::{can_hear, needs_keys, only_hears};

/// How long things of a call may take.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Timer C: how long B may ring without a sign of life; more than 3 min (RFC 3261 §16.6).
    pub rings: Duration,
    /// T1 and T2 of RFC 3261: when a 2xx is sent again.
    pub t1: Duration,
    /// See `t1`.
    pub t2: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            rings: Duration::from_secs(185),
            t1: Duration::from_millis(500),
            t2: Duration::from_secs(4),
        }
    }
}

/// A side of a call; always by the original call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Side {
    /// The caller's.
    A,
    /// The callee's.
    B,
}

impl Side {
    fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// Our Contact, as the peers of each listener see it.
#[derive(Debug, Default)]
pub struct Contacts(Vec<[Box<[u8]>; 3]>);

impl Contacts {
    /// The Contacts of listeners with these sent-by.
    pub fn new(sent_by: &[Box<[u8]>]) -> Self {
        let each = |sent_by: &[u8]| {
            [b">".as_slice(), b";transport=tcp>", b";transport=tls>"]
                .map(|end| [b"<sip:", sent_by, end].concat().into_boxed_slice())
        };
        Self(sent_by.iter().map(|sent_by| each(sent_by)).collect())
    }

    /// The Contact for a peer behind this flow.
    pub fn of(&self, flow: &Flow) -> &[u8] {
        let listener = self.0.get(usize::from(flow.listener.0));
        let contact = listener.map(|[udp, tcp, tls]| match flow.transport {
            Transport::Udp => &**udp,
            Transport::Tcp => &**tcp,
            Transport::Tls => &**tls,
        });
        contact.unwrap_or_default()
    }
}

/// What a call may use while it is handled.
#[derive(Debug)]
pub struct Turn<'t> {
    /// The time.
    pub now: Timestamp,
    /// The transactions.
    pub layer: &'t mut Layer,
    /// Random numbers, for tags.
    pub rng: &'t mut Rng,
    /// Our Contacts.
    pub contacts: &'t Contacts,
    /// How long things may take.
    pub timing: Timing,
    /// What we ask of the two sides.
    pub policy: &'t Policy,
    /// The realm whose credentials stay here, because we alone have asked for them.
    pub realm: Option<&'t str>,
    /// Who adds to what A is told.
    pub announce: &'t mut dyn Announce,
    /// The legs of the other calls.
    pub legs: &'t dyn Legs,
    /// Where fields are written before they are sent; its contents are of no interest.
    pub scratch: &'t mut Vec<u8>,
}

/// Which part of a call a transaction belongs to; see [`User::part`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Part {
    /// A branch of the INVITE towards B.
    Branch(u8),
    /// The INVITE of A, or a re-INVITE and its other half.
    Negotiation,
    /// The BYE that we sent to a side.
    Bye(Side),
    /// Another request within the call.
    Exchange(u8),
    /// The REFER that asks A's phone to call B.
    Refer,
}

/// The part that A's INVITE belongs to.
pub const INVITE_PART: u16 = 0x100;

/// Whether a part, as [`User::part`] has it, is one of a call.
pub fn has_part(part: u16) -> bool {
    let [kind, _] = part.to_be_bytes();
    kind <= 4
}

impl Part {
    fn of(part: u16) -> Self {
        let [kind, number] = part.to_be_bytes();
        match kind {
            0 => Self::Branch(number),
            1 => Self::Negotiation,
            2 => Self::Bye(Side::A),
            3 => Self::Bye(Side::B),
            32 => Self::Refer,
            _ => Self::Exchange(number),
        }
    }

    fn number(self) -> u16 {
        u16::from_be_bytes(match self {
            Self::Branch(number) => [0, number],
            Self::Negotiation => [1, 0],
            Self::Bye(Side::A) => [2, 0],
            Self::Bye(Side::B) => [3, 0],
            Self::Exchange(number) => [4, number],
            // Others than calls have the numbers in between.
            Self::Refer => [32, 0],
        })
    }
}

/// One call.
#[derive(Debug)]
pub struct Call {
    key: Key,
    a: Leg,
    b: Leg,
    phase: Phase,
    /// The branches towards B, until the last of them has ended.
    setup: Option<Box<setup::Setup>>,
    /// The INVITE that is being negotiated, until its ACK.
    negotiation: Option<Box<negotiation::Negotiation>>,
    exchanges: Vec<exchange::Exchange>,
    /// What A hears reliably; nothing if it does not take reliable responses.
    early: Option<Box<early::Early>>,
    /// The tags of forks whose 2xx came too late; each was acknowledged and ended once.
    refused: Vec<Box<[u8]>>,
    /// The REFERs that crossed.
    refers: Option<Box<refers::Refers>>,
    /// Where the two sides are, if their audio passes us.
    anchored: Option<Box<nat::Anchored>>,
    /// The mixer between the two sides, if there is one.
    mixing: Option<Box<mixing::Mixing>>,
    /// What is more to it if it is a recall.
    recall: Option<Box<recall::Recall>>,
    /// The side that is a phone of ours, where the other is its PBX.
    phone: Option<Side>,
    /// The BYE of that phone, while the PBX has not answered it.
    leaving: Option<leaving::Leaving>,
    marks: marks::Marks,
    began: Timestamp,
    answered: Option<Timestamp>,
    /// When it ended for whoever ended it; the other side may have to hear of that yet.
    ended: Option<Timestamp>,
    outcome: Outcome,
}

/// What an INVITE that is repeated with credentials has in common with the one before.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Again {
    /// The Call-ID.
    pub call_id: Box<[u8]>,
    /// Our From tag.
    pub tag: Tag,
    /// The number of the INVITE before.
    pub cseq: u32,
    /// Whether A waited with it.
    pub has_waited: bool,
}

/// One side of a call.
#[derive(Debug)]
struct Leg {
    dialog: Dialog,
    /// Its session timer, if it was agreed on.
    timed: Option<Box<session::Timed>>,
    media: nat::Media,
    /// What it was told of the other side's media, where that is kept.
    known: Option<Box<known::Known>>,
}

impl Leg {
    fn of(dialog: Dialog) -> Self {
        let media = nat::Media::AsDescribed;
        Self {
            dialog,
            timed: None,
            media,
            known: None,
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    Inviting,
    /// We ring the two sides one after the other: the recall knows more.
    Recalling,
    /// We have answered A and hang up on the ACK.
    Confirming,
    /// We have answered A, who hears what we play and mix, until one of us hangs up.
    Joined,
    Talking,
    /// This side talks to who has joined it by a mixer of ours; the other one has left.
    Staying(Side),
    /// How many BYEs of ours are still unanswered.
    Ending {
        byes: u8,
    },
}

/// How a call ended, or how it stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// It goes on.
    Open,
    /// It was withdrawn before it was answered: by A, or by the owner of a recall.
    Cancelled,
    /// It had one leg, and was answered and ended by us.
    Confirmed,
    /// It was answered, and ended by an application.
    Disconnected,
    /// It was not answered; this is what A was told, or what a side that was rung said.
    Failed(Status),
    /// A recall whose caller went on to a call of his own.
    HandedOver,
    /// It was answered and has ended; this side hung up.
    HungUp(Side),
    /// It was answered and ended by us, because a side was gone or never acknowledged.
    Lost,
}

impl Call {
    /// Whether nothing of it is left to do.
    pub fn is_over(&self) -> bool {
        let ended = matches!(self.phase, Phase::Ending { byes: 0 });
        let recall = self.recall.as_deref();
        let has_talked = self.answered.is_some();
        let setup = self.setup.as_deref();
        let is_quiet = setup.is_none_or(|setup| has_talked && setup.is_silent())
            && recall.is_none_or(recall::Recall::is_quiet);
        ended && is_quiet && self.negotiation.is_none()
    }

    /// Whether it is being set up or talked on, rather than only winding down.
    pub fn is_up(&self) -> bool {
        !matches!(self.phase, Phase::Ending { .. })
    }

    /// Whether it is not answered and B's phone has rung.
    pub fn has_rung(&self) -> bool {
        self.setup.as_deref().is_some_and(|setup| setup.rang)
    }

    /// When it began.
    pub fn began(&self) -> Timestamp {
        self.began
    }

    /// When it was answered.
    pub fn answered(&self) -> Option<Timestamp> {
        self.answered
    }

    /// How it ended.
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// Whether B's side asked for credentials, so that A may call again with them (RFC 3261 §22).
    pub fn is_challenged(&self) -> bool {
        let asks = [Status::UNAUTHORIZED, Status::PROXY_AUTHENTICATION_REQUIRED];
        matches!(self.outcome, Outcome::Failed(status) if asks.contains(&status))
    }

    /// What a repetition of this call has to keep towards B (R3).
    pub fn again(&self) -> Again {
        let dialog = &self.b.dialog;
        Again {
            call_id: Box::from(dialog.call_id()),
            tag: dialog.tag(),
            cseq: dialog.local_cseq(),
            has_waited: false,
        }
    }

    /// A's Call-ID and From tag, and where A is.
    pub fn caller(&self) -> (&[u8], &[u8], IpAddr) {
        let dialog = &self.a.dialog;
        let source = dialog.flow().remote.ip();
        (dialog.call_id(), dialog.remote_tag(), source)
    }

    /// Whether our INVITE to B had this Call-ID and From tag.
    pub fn has_sent(&self, call_id: &[u8], tag: Tag) -> bool {
        let dialog = &self.b.dialog;
        dialog.tag() == tag && dialog.call_id() == call_id
    }

    /// The Call-ID of a leg, for the log.
    pub fn call_id(&self, side: Side) -> &[u8] {
        self.leg(side).dialog.call_id()
    }

    /// The way to the other end of a leg; the callee's is known when he has answered.
    pub fn flow(&self, side: Side) -> Flow {
        self.leg(side).dialog.flow()
    }

    /// When [`Self::handle_timeout`] next has work to do.
    pub fn deadline(&self) -> Option<Timestamp> {
        let rings = self.setup.as_deref().and_then(setup::Setup::deadline);
        let ack = self
            .negotiation
            .as_deref()
            .map(negotiation::Negotiation::deadline);
        let prack = self.early.as_deref().and_then(early::Early::deadline);
        let recall = self.recall.as_deref().and_then(recall::Recall::deadline);
        let session = self.session_deadline();
        let mix = self.mix_deadline();
        let all = [rings, ack, prack, recall, session, mix];
        all.into_iter().flatten().min()
    }

    /// Acts on a deadline.
    pub fn handle_timeout(&mut self, turn: &mut Turn<'_>) {
        self.on_rings_too_long(turn);
        self.on_recall_due(turn);
        self.on_ack_due(turn);
        self.on_prack_due(turn);
        self.on_session_due(turn);
        self.on_mix_due(turn);
    }

    /// Whether a request with these tags is within this call, and on which side.
    pub fn side_of(&self, request: &Request<'_>, tag: Tag) -> Option<Side> {
        let remote_tag = request.from.tag().unwrap_or_default();
        [Side::A, Side::B].into_iter().find(|side| {
            let dialog = &self.leg(*side).dialog;
            dialog.is(request.call_id, tag, remote_tag)
        })
    }

    /// Takes a response to a request of this call.
    pub fn handle_response(&mut self, turn: &mut Turn<'_>, part: u16, response: &Response<'_>) {
        if self.is_anchored()
            && let Some(answerer) = self.answerer_of(Part::of(part))
        {
            self.note_audio(answerer, &response.message);
        }
        match Part::of(part) {
            Part::Branch(branch) if self.recall.is_some() => {
                self.on_ring_response(turn, branch, response);
            }
            Part::Branch(branch) => self.on_branch_response(turn, branch, response),
            Part::Negotiation if self.phase == Phase::Recalling => {
                self.on_offer_response(turn, response);
            }
            Part::Negotiation => self.on_reinvite_response(turn, response),
            Part::Bye(side) if self.on_leave_answered(turn, side, response) => {}
            Part::Bye(side) => self.on_bye_done(side, response.status),
            Part::Exchange(number) => self.on_exchange_response(turn, number, response),
            Part::Refer => self.on_refer_response(turn, response),
        }
    }

    /// Takes the failure of a request that nobody answered.
    pub fn handle_failure(&mut self, turn: &mut Turn<'_>, part: u16, failure: Failure) {
        match Part::of(part) {
            Part::Branch(branch) if self.recall.is_some() => {
                self.on_ring_failure(turn, branch, failure);
            }
            Part::Branch(branch) => self.on_branch_failure(turn, branch, failure),
            Part::Negotiation if self.phase == Phase::Recalling => self.on_offer_failure(turn),
            Part::Negotiation => self.on_reinvite_failure(turn, failure),
            Part::Bye(side) if self.on_leave_failed(turn, side) => {}
            Part::Bye(side) => self.on_bye_done(side, Status::REQUEST_TIMEOUT),
            Part::Exchange(number) => self.on_exchange_failure(turn, number, failure),
            Part::Refer => self.on_refer_failure(turn),
        }
    }

    /// A call of these two legs, of which nothing has happened yet.
    fn of_legs(key: Key, now: Timestamp, a: Dialog, b: Dialog, phase: Phase) -> Self {
        Self {
            key,
            a: Leg::of(a),
            b: Leg::of(b),
            phase,
            setup: None,
            negotiation: None,
            exchanges: Vec::new(),
            early: None,
            refused: Vec::new(),
            refers: None,
            anchored: None,
            mixing: None,
            recall: None,
            phone: None,
            leaving: None,
            marks: marks::Marks::default(),
            began: now,
            answered: None,
            ended: None,
            outcome: Outcome::Open,
        }
    }

    fn leg(&self, side: Side) -> &Leg {
        match side {
            Side::A => &self.a,
            Side::B => &self.b,
        }
    }

    fn leg_mut(&mut self, side: Side) -> &mut Leg {
        match side {
            Side::A => &mut self.a,
            Side::B => &mut self.b,
        }
    }

    fn user(&self, part: Part) -> User {
        User {
            call: self.key,
            part: part.number(),
        }
    }
}

/// Answers a request of a peer's with headers and a body of our own choosing.
fn respond(
    turn: &mut Turn<'_>,
    server: Key,
    answer: (Status, &[u8], reply::Tag<'_>),
    write: impl FnOnce(&mut Writer<'_>),
    body: &[u8],
) {
    let answer = Answer::written(turn.scratch, answer, write, body);
    turn.layer.respond(turn.now, server, &answer);
}

/// Answers A's INVITE with what crosses of B's response, if it is one, and what is announced.
fn respond_announced(
    turn: &mut Turn<'_>,
    server: Key,
    answer: (Status, &[u8], reply::Tag<'_>),
    (told, body): (&Told<'_>, &[u8]),
    write: impl FnOnce(&mut Writer<'_>),
) {
    let (status, phrase, tag) = answer;
    let answer = Answer {
        status,
        phrase,
        tag,
        rest: write_announced(turn.scratch, turn.announce, (told, body), write),
    };
    turn.layer.respond(turn.now, server, &answer);
}

/// Writes what follows the head of a response to A's INVITE.
fn write_announced<'s>(
    scratch: &'s mut Vec<u8>,
    announce: &mut dyn Announce,
    (told, body): (&Told<'_>, &[u8]),
    write: impl FnOnce(&mut Writer<'_>),
) -> &'s [u8] {
    let write = |writer: &mut Writer<'_>| {
        write(writer);
        let offers = announce.announce(told, writer);
        if let Some(response) = told.response {
            relay::copy_response(writer, response, offers);
        }
    };
    reply::rest(scratch, write, body)
}

/// Answers a request of a peer's with a status alone.
fn respond_plainly(turn: &mut Turn<'_>, server: Key, status: Status, tag: reply::Tag<'_>) {
    respond(turn, server, (status, b"", tag), |_| (), b"");
}

/// Up to how many forks of one call a caller gets to see.
const FORKS_MAX: usize = 16;
/// Up to how many requests cross within one call at a time.
const EXCHANGES_MAX: usize = 8;
/// Branches of one call; most have one.
type Few<T> = SmallVec<[T; 1]>;
