//! How many ladders begin and end: what is the same in all of them, and asserted in `basic`.

use super::dialog::Dialog;
use super::draft::{ANSWER, OFFER, invite, response};
use super::message::Message;
use super::party::Party;
use super::subject::Setup;
use super::world::World;

/// A call that rings.
pub(crate) struct Ringing {
    /// The INVITE as the caller sent it.
    pub(crate) sent: Message,
    /// The INVITE as the callee got it.
    pub(crate) invite: Message,
    /// The 180 as the caller got it.
    pub(crate) rings: Message,
}

/// A call that is up.
pub(crate) struct Call {
    /// The INVITE as the caller sent it.
    pub(crate) sent: Message,
    /// The INVITE as the callee got it.
    pub(crate) invite: Message,
    /// The 200 as the caller got it.
    pub(crate) answer: Message,
    /// The 200 as the callee sent it.
    pub(crate) answered: Message,
    /// The ACK as the caller sent it.
    pub(crate) ack: Message,
    /// The caller's end.
    pub(crate) caller: Dialog,
    /// The callee's end.
    pub(crate) callee: Dialog,
}

/// A standalone campon with two registered phones.
pub(crate) fn two_phones() -> (World, Party, Party) {
    let world = World::new(Setup::Standalone);
    let (alice, bob) = (world.phone("alice"), world.phone("bob"));
    (world, alice, bob)
}

/// A standalone campon with Alice's phone and two of Bob's: at his desk and in his pocket.
pub(crate) fn bob_with_two_phones() -> (World, Party, Party, Party) {
    let world = World::new(Setup::Standalone);
    let (alice, desk, cell) = (
        world.phone("alice"),
        world.party("desk"),
        world.party("cell"),
    );
    desk.registers_as("bob");
    cell.registers_as("bob");
    (world, alice, desk, cell)
}

/// Alice's INVITE reaches Bob, who has said nothing yet.
#[track_caller]
pub(crate) fn offered(alice: &Party, bob: &Party) -> (Message, Message) {
    let sent = alice.sends(invite("bob").with_sdp(OFFER));
    (sent, bob.receives("INVITE"))
}

/// Alice hears Bob's phone ring.
#[track_caller]
pub(crate) fn ringing(alice: &Party, bob: &Party) -> Ringing {
    let (sent, invite) = offered(alice, bob);
    bob.answers(&invite, 180);
    let rings = alice.receives("180");
    Ringing {
        sent,
        invite,
        rings,
    }
}

/// Alice and Bob speak.
#[track_caller]
pub(crate) fn call(alice: &Party, bob: &Party) -> Call {
    let Ringing { sent, invite, .. } = ringing(alice, bob);
    let answered = bob.sends(response(&invite, 200).with_sdp(ANSWER));
    let answer = alice.receives("200");
    let ack = alice.acks(&sent, &answer);
    bob.receives("ACK");
    Call {
        caller: Dialog::of_caller(&sent, &answer),
        callee: Dialog::of_callee(&invite, &answered),
        sent,
        invite,
        answer,
        answered,
        ack,
    }
}

/// A party takes a CANCEL of the INVITE that rings with it, and gives in.
#[track_caller]
pub(crate) fn gives_in(party: &Party, invite: &Message) -> Message {
    let cancel = party.receives("CANCEL");
    party.answers(&cancel, 200);
    party.refuses(invite, 487);
    cancel
}

/// The call is refused with this code, by campon or by the callee.
#[track_caller]
pub(crate) fn refused(caller: &Party, sent: &Message, code: &str) -> Message {
    let refusal = caller.receives(code);
    assert_eq!(refusal.cseq_method(), "INVITE");
    caller.acks(sent, &refusal);
    refusal
}

/// The one with the dialog hangs up, and the other's phone hears of it.
#[track_caller]
pub(crate) fn hang_up(from: &Party, dialog: &Dialog, to: &Party) {
    from.hangs_up(dialog);
    to.is_hung_up_on();
    from.receives("200");
}
