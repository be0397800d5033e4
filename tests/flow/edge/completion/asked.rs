//! The digit on busy in front of a PBX: it has the call meanwhile, and hears of the refusal if nothing
//! is asked for.
//!
//! Spec: RULES R5, R16.

use std::time::Duration;

use campon::media::desk::{Command, RoomId};
use campon::media::digit::Digit;
use campon::media::room::News;

use super::super::super::kit::completion::{GUARD, MOMENT};
use super::super::super::kit::message::Message;
use super::super::super::kit::scenes::{hang_up, refused};
use super::super::super::kit::subject::Setup;
use super::{Office, Passing, Talk, invite};

/// How long a digit is waited for.
const LASTS: Duration = Duration::from_secs(20);

/// Alice hears that Bob is busy, and the PBX does not know yet.
struct Asked {
    office: Office,
    talk: Talk,
    call: Passing,
    room: RoomId,
}

impl Asked {
    #[track_caller]
    fn new() -> Self {
        let office = Office::new(Setup::EdgePrompting);
        let talk = office.carol_talks();
        let call = office.passes(&office.alice, invite("alice", "bob"));
        office.pbx.answers(&call.out, 100);
        office.bob.refuses(&call.arrived, 486);
        let progress = office.alice.receives("183");
        assert!(
            progress.header("Call-Info").ends_with(";m=BS"),
            "{progress}"
        ); // CC-30
        office.pbx.receives_nothing();
        let (room, _) = office.world.opens();
        Self {
            office,
            talk,
            call,
            room,
        }
    }

    #[track_caller]
    fn room_closes(&self) {
        let next = self.office.world.next_sound();
        assert!(
            matches!(next, Some(Command::Close { room }) if room == self.room),
            "{next:?}"
        );
    }

    /// Alice presses a digit; whatever it does, a tone says that it was done.
    #[track_caller]
    fn presses(&self, digit: Digit) {
        self.office.world.hears(self.room, News::Digit(digit));
    }

    /// What is withheld reaches the PBX.
    #[track_caller]
    fn pbx_is_told(&self) {
        let refusal = self.office.pbx.receives("486");
        assert!(!refusal.has("Call-Info"), "{refusal}"); // R1
        self.office.pbx.acks(&self.call.back, &refusal);
    }

    #[track_caller]
    fn is_busy(&self) -> Message {
        let busy = refused(&self.office.alice, &self.call.sent, "486");
        assert!(busy.header("Call-Info").ends_with(";m=BS"), "{busy}");
        busy
    }
}

/// The mailbox has what is its own.
#[test]
fn who_presses_nothing_reaches_the_mailbox() {
    let asked = Asked::new();
    let office = &asked.office;
    office.world.advance(LASTS);
    asked.room_closes();
    asked.pbx_is_told();
    office.alice.receives_nothing();
    let mailbox = office.is_diverted(&asked.call);
    hang_up(&office.alice, &mailbox, &office.pbx);
    office.is_over(&office.carol, &asked.talk);
    office.world.stays_quiet();
}

#[test]
fn who_presses_nothing_hears_what_the_pbx_says() {
    let asked = Asked::new();
    let office = &asked.office;
    office.world.advance(LASTS);
    asked.room_closes();
    asked.pbx_is_told();
    office.pbx.refuses(&asked.call.out, 486);
    asked.is_busy();
    office.is_over(&office.carol, &asked.talk);
    office.world.stays_quiet();
}

#[test]
fn five_takes_the_call_from_the_pbx_and_calls_back() {
    let asked = Asked::new();
    let office = &asked.office;
    asked.presses(Digit::D5);
    let tone = office.world.next_sound();
    assert!(matches!(tone, Some(Command::Play { .. })), "{tone:?}");
    office.pbx.receives_nothing();
    office.world.hears(asked.room, News::PlayedOut);
    asked.is_busy();
    asked.room_closes();
    let cancel = office.pbx.receives("CANCEL");
    let Asked {
        office,
        talk,
        call,
        room: _,
    } = asked;
    office.gives_up(&(call, cancel));
    assert!(office.world.next_sound().is_none());
    office.world.advance(MOMENT);
    office.is_over(&office.carol, &talk);
    office.world.advance(GUARD);
    office.is_recalled_in_vain();
}

#[test]
fn six_takes_the_call_from_the_pbx_and_waits() {
    let asked = Asked::new();
    asked.presses(Digit::D6);
    asked.office.alice.receives("182");
    let cancel = asked.office.pbx.receives("CANCEL");
    let Asked {
        office,
        talk,
        call,
        room: _,
    } = asked;
    let busy = (call, cancel);
    office.gives_up(&busy);
    office.world.advance(MOMENT);
    let anew = office.is_dialled_anew(&talk, &busy.0);
    let call = office.passes_anew(&busy.0, anew);
    let talk = office.is_answered(&office.alice, &call);
    office.is_over(&office.alice, &talk);
    office.has_nothing_left();
}

/// Its own timer is the shorter one.
#[test]
fn a_pbx_that_has_rung_for_long_enough_goes_on_without_an_answer() {
    let asked = Asked::new();
    let office = &asked.office;
    office.world.advance(Duration::from_secs(10));
    office.pbx.gives_up(&asked.call.back);
    let mailbox = office.is_diverted(&asked.call);
    asked.room_closes();
    hang_up(&office.alice, &mailbox, &office.pbx);
    office.is_over(&office.carol, &asked.talk);
    office.world.stays_quiet();
}

#[test]
fn who_hangs_up_while_he_is_asked_leaves_the_pbx_as_well() {
    let asked = Asked::new();
    let office = &asked.office;
    office.alice.gives_up(&asked.call.sent);
    asked.room_closes();
    let cancel = office.pbx.receives("CANCEL");
    let Asked {
        office, talk, call, ..
    } = asked;
    office.gives_up(&(call, cancel));
    office.is_over(&office.carol, &talk);
    office.world.stays_quiet();
}

/// No port is free, or the phone cannot hear it: the PBX is told at once.
#[test]
fn who_cannot_be_asked_costs_the_pbx_no_time() {
    let asked = Asked::new();
    asked.office.world.hears(asked.room, News::Failed);
    asked.room_closes();
    asked.pbx_is_told();
    let office = &asked.office;
    office.pbx.refuses(&asked.call.out, 486);
    asked.is_busy();
    office.is_over(&office.carol, &asked.talk);
    office.world.stays_quiet();
}
