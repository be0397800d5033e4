//! What the owner of a call adds to what its caller is told.
//!
//! Spec: RFC 6910 §7.1 (CC-30): the offer stands in the provisional responses and in the final one.

use std::fmt;
use std::time::Duration;

use crate::sip::{Response, Status, Writer};

/// Who adds header fields to the responses to A's INVITE: to each provisional one but 100, and to
/// the final one.
pub trait Announce: fmt::Debug {
    /// Writes the fields; says what becomes of the offers that B's side made.
    fn announce(&mut self, told: &Told<'_>, writer: &mut Writer<'_>) -> PeerOffers;

    /// How long A is kept from this failure, because there is something to say first (R5, R16).
    fn holds(&mut self, _failure: &Told<'_>) -> Option<Duration> {
        None
    }
}

/// A response that A is about to get.
#[derive(Clone, Copy, Debug)]
pub struct Told<'t> {
    /// The status, as A will see it.
    pub status: Status,
    /// Whether B rang: any 18x.
    pub rang: bool,
    /// B's response, if it is one of B's.
    pub response: Option<&'t Response<'t>>,
}

/// What becomes of `Call-Info` with purpose call-completion of B's side.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PeerOffers {
    /// It crosses: A may make of it what he can.
    Cross,
    /// It is taken up here.
    Removed,
}

/// Adds nothing.
#[derive(Debug)]
pub struct Silent;

impl Announce for Silent {
    fn announce(&mut self, _: &Told<'_>, _: &mut Writer<'_>) -> PeerOffers {
        PeerOffers::Cross
    }
}
