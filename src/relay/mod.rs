//! Requests outside calls: each goes on to another party, and its answer comes back.
//!
//! Spec: RFC 3261 §6 ("B2BUA"), §8, §16.7; RFC 3428; RFC 3515; RFC 3903; RFC 6665; RFC 7332 §5.
//!
//! - A SUBSCRIBE or REFER makes dialogs: two for each notifier that answers, see [`Subscription`].
//! - Any other request is one transaction on either side, and nothing outlives it: [`Passage`].
//! - What crosses is the table of calls, [`crate::call::relay`], with the ids of calls as each side
//!   knows them; the entity-tags of a PUBLISH and a
//!   challenge cross with it, so that who has asked for them gets them back (R3).
//! - 503 of one target does not cross as such (S-31), and silence crosses as silence (S-47).

mod asked;
mod exchange;
mod passage;
mod subscription;

use std::time::Duration;

use smallvec::SmallVec;

use crate::call::{Contacts, Legs, Target};
use crate::dialog::Names;
use crate::random::Rng;
use crate::sip::flow::Flow;
use crate::sip::{Method, Request, Status, Writer};
use crate::table::Key;
use crate::time::Timestamp;
use crate::transaction::reply;
use crate::transaction::servers::Answer;
use crate::transaction::{Layer, User};

pub use passage::Passage;
pub use subscription::{At, Side, Subscription};

/// What a request may use while it passes.
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
    /// The realm whose credentials stay here, because we alone have asked for them.
    pub realm: Option<&'t str>,
    /// The calls that a request may name.
    pub legs: &'t dyn Legs,
    /// What crosses in place of the body of the request in hand, if that is not for its receiver.
    pub body: Option<&'t [u8]>,
    /// 64*T1: timer N, and how long after its end a subscription may still be spoken of.
    pub patience: Duration,
    /// Where fields are written before they are sent; its contents are of no interest.
    pub scratch: &'t mut Vec<u8>,
}

/// A request outside of any dialog that is to go on.
#[derive(Clone, Copy, Debug)]
pub struct Errand<'e> {
    /// The request; its Max-Forwards is not 0.
    pub request: &'e Request<'e>,
    /// The way it came.
    pub flow: &'e Flow,
    /// Its transaction.
    pub server: Key,
    /// The names of our leg towards the targets.
    pub names: Names,
    /// Where it goes, all at once.
    pub targets: &'e [Target<'e>],
}

/// Why a request within a subscription does not cross.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refused {
    /// Too many wait for their answer, in it or in all.
    Full,
    /// It has ended, or this method has no place in it.
    Gone,
    /// S-14: it was overtaken.
    OutOfOrder,
}

/// What kind of request of ours a response belongs to; see [`User::part`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Part {
    /// Another request within a subscription, by its number.
    Exchange(u8),
    /// The request that may make a subscription, by its target.
    Opening(u8),
    /// A request without a dialog.
    Passage,
}

impl Part {
    /// The part of a number; `None` for those of calls and of completion.
    pub fn of(part: u16) -> Option<Self> {
        let [kind, number] = part.to_be_bytes();
        match kind {
            16 => Some(Self::Passage),
            17 => Some(Self::Opening(number)),
            18 => Some(Self::Exchange(number)),
            _ => None,
        }
    }

    /// Whom a transaction of this part tells, or who owes its answer.
    pub fn user(self, key: Key) -> User {
        let part = match self {
            Self::Passage => [16, 0],
            Self::Opening(number) => [17, number],
            Self::Exchange(number) => [18, number],
        };
        User {
            call: key,
            part: u16::from_be_bytes(part),
        }
    }
}

/// Whether a request outside of any dialog makes one, if it is accepted.
pub fn makes_dialog(method: Method<'_>) -> bool {
    matches!(method, Method::Refer | Method::Subscribe)
}

/// S-16: requests whose Contact is where the next one goes.
fn is_target_refresh(method: Method<'_>) -> bool {
    matches!(method, Method::Notify | Method::Refer | Method::Subscribe)
}

/// S-128, S-162: a subscription is accepted with 200, whatever its notifier says; of others 202 says
/// that they are kept for later.
fn as_accepted(method: Method<'_>, status: Status) -> Status {
    if status == Status::ACCEPTED && makes_dialog(method) {
        Status::OK
    } else {
        status
    }
}

/// Answers a request with headers and a body of our own choosing.
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

/// Answers a request with a status alone.
fn respond_plainly(turn: &mut Turn<'_>, server: Key, status: Status, tag: reply::Tag<'_>) {
    respond(turn, server, (status, b"", tag), |_| (), b"");
}

/// Most parties have one target.
type Few<T> = SmallVec<[T; 1]>;
