//! What the three phones do while campon may be killed: from a busy line to a call, or to the end of the
//! wish for one.
//!
//! ```text
//!   Carol ─ talks with Bob              Alice takes it back ─► over
//!   Alice ─ finds him busy, asks ─► waits ┤
//!                                       Carol hangs up ─► guard time ─► rings ─► CC call ─► they talk
//! ```

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use super::super::scene::{PATIENCE, Phone, SDP, answer, value};

/// How long one look for a message takes, so that the end of campon is noticed.
const LOOK: Duration = Duration::from_millis(4);

/// How long people take: to hang up, to lift the receiver.
const THOUGHT: Duration = Duration::from_millis(20);

/// Dialled to be called back.
pub(super) const REQUEST: &str = "*37%23";

/// Dialled not to be.
pub(super) const TAKE_BACK: &str = "%2337%23";

/// Where a stretch of the exchange begins.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Point {
    /// Carol has called Bob.
    Calls,
    /// Alice has dialled her request.
    Asks,
    /// She has heard that it is accepted.
    Waits,
    /// She has dialled its end.
    TakesBack,
    /// She has heard of that.
    TookBack,
    /// Carol and Bob have hung up.
    Freed,
    /// Alice's phone rings.
    Rings,
    /// She has answered.
    Answers,
    /// So has Bob.
    Talks,
    /// They hear each other.
    Over,
}

/// The three, before a campon that may be dead at any moment.
pub(super) struct Exchange<'a> {
    pub(super) alice: &'a mut Phone,
    pub(super) bob: &'a mut Phone,
    pub(super) carol: &'a mut Phone,
    /// To whom it may concern.
    pub(super) news: Sender<Point>,
    pub(super) is_dead: &'a AtomicBool,
    /// When it came where.
    pub(super) times: Vec<(Point, Instant)>,
}

impl Exchange<'_> {
    /// Plays until the end, or until campon is dead and all that it has said was heard (`None`).
    pub(super) fn plays(&mut self, takes_back: bool) -> Option<()> {
        let bye = self.carol_talks()?;
        self.alice_finds_busy()?;
        self.alice_dials(REQUEST, Point::Asks)?;
        self.comes_to(Point::Waits);
        self.thinks()?;
        if takes_back {
            self.alice_dials(TAKE_BACK, Point::TakesBack)?;
            self.comes_to(Point::TookBack);
            self.thinks()?;
        } else {
            self.carol.send(&bye);
            self.hears(self.carol, "SIP/2.0 200")?;
            let bye = self.hears(self.bob, "BYE")?;
            self.bob.send(&answer(&bye, "200 OK", ""));
            self.comes_to(Point::Freed);
            self.alice_is_recalled()?;
        }
        self.comes_to(Point::Over);
        Some(())
    }

    fn alice_is_recalled(&mut self) -> Option<()> {
        let recall = self.hears(self.alice, "INVITE")?;
        self.alice.send(&answer(&recall, "180 Ringing", ""));
        self.comes_to(Point::Rings);
        self.thinks()?;
        self.alice.send(&answer(&recall, "200 OK", SDP));
        self.comes_to(Point::Answers);
        let cc_call = self.hears(self.bob, "INVITE")?;
        self.bob.send(&answer(&cc_call, "180 Ringing", ""));
        self.thinks()?;
        self.bob.send(&answer(&cc_call, "200 OK", SDP));
        self.comes_to(Point::Talks);
        let offer = self.hears(self.alice, "INVITE")?;
        self.alice.send(&answer(&offer, "200 OK", SDP));
        self.hears(self.bob, "ACK")?;
        self.thinks()
    }

    /// What ends their call.
    fn carol_talks(&mut self) -> Option<String> {
        let invite = self.carol.request("INVITE", "bob", "", SDP);
        self.carol.send(&invite);
        self.comes_to(Point::Calls);
        let rings = self.hears(self.bob, "INVITE")?;
        self.bob.send(&answer(&rings, "200 OK", SDP));
        let answered = self.hears(self.carol, "SIP/2.0 200")?;
        let ack = self.carol.within("ACK", &invite, &answered);
        self.carol.send(&ack);
        self.hears(self.bob, "ACK")?;
        Some(self.carol.within("BYE", &invite, &answered))
    }

    fn alice_finds_busy(&mut self) -> Option<()> {
        let invite = self.alice.request("INVITE", "bob", "", SDP);
        self.alice.send(&invite);
        let busy = self.hears(self.alice, "SIP/2.0 486")?;
        let ack = self.alice.within("ACK", &invite, &busy);
        let branch = value(&invite, "Via").to_owned();
        let ack = ack.replacen(value(&ack, "Via"), &branch, 1);
        self.alice.send(&ack);
        Some(())
    }

    /// A code is answered by a call that says no more.
    fn alice_dials(&mut self, code: &str, point: Point) -> Option<()> {
        let invite = self.alice.request("INVITE", code, "", SDP);
        self.alice.send(&invite);
        self.comes_to(point);
        let done = self.hears(self.alice, "SIP/2.0 200")?;
        let ack = self.alice.within("ACK", &invite, &done);
        self.alice.send(&ack);
        Some(())
    }

    /// The next message of this start; `None` from a campon that is dead.
    fn hears(&self, phone: &Phone, start: &str) -> Option<String> {
        let begun = Instant::now();
        loop {
            // Looked at first: what it sent before its end is there to be heard after that.
            let is_dead = self.is_dead.load(Ordering::Acquire);
            if let Some(text) = phone.awaits(LOOK, start) {
                return Some(text);
            }
            if is_dead {
                return None;
            }
            assert!(begun.elapsed() < PATIENCE, "waits for {start} in vain");
        }
    }

    fn thinks(&self) -> Option<()> {
        drop(self.alice.awaits(THOUGHT, "nothing"));
        (!self.is_dead.load(Ordering::Acquire)).then_some(())
    }

    fn comes_to(&mut self, point: Point) {
        self.times.push((point, Instant::now()));
        // Nobody may be there to listen.
        let _ = self.news.send(point);
    }
}
