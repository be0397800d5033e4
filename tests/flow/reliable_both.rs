//! Provisional responses that the callee wants acknowledged: by the caller, or by campon for him.
//!
//! Spec: RFC 3262 §3, §4, §5; RFC 3311 §5.2; RFC 3261 §13.2.1.

use std::time::Duration;

use super::kit::dialog::Dialog;
use super::kit::draft::{ANSWER, Draft, OFFER, invite, response, within};
use super::kit::message::Message;
use super::kit::party::Party;
use super::kit::scenes::{bob_with_two_phones, gives_in, hang_up, offered, refused, two_phones};
use super::kit::subject::Setup;
use super::kit::world::World;
use super::reliable::{acknowledges, is_reliable, prack, rseq};

/// The number of the callee's first reliable response.
const FIRST: u32 = 4711;

/// A call of a caller who takes reliable responses to a callee who sends them.
struct Both {
    world: World,
    alice: Party,
    bob: Party,
    sent: Message,
    invite: Message,
}

impl Both {
    /// Alice's phone sends this, and Bob's hears it.
    #[track_caller]
    fn of(draft: Draft) -> Self {
        let (world, alice, bob) = two_phones();
        let sent = alice.sends(draft);
        let invite = bob.receives("INVITE");
        Self {
            world,
            alice,
            bob,
            sent,
            invite,
        }
    }

    #[track_caller]
    fn offered() -> Self {
        Self::of(invite("bob").with("Supported", "100rel").with_sdp(OFFER))
    }

    /// Bob says this reliably; as Alice heard it, and both ends of the early dialog.
    #[track_caller]
    fn told(&self, draft: Draft, rseq: u32) -> (Message, Dialog, Dialog) {
        let told = self.bob.sends(numbered(draft, rseq));
        let heard = self.alice.receives(told.kind());
        assert!(is_reliable(&heard), "{heard}");
        let callers = Dialog::of_caller(&self.sent, &heard);
        (heard, callers, Dialog::of_callee(&self.invite, &told))
    }

    /// Alice acknowledges what she heard, and Bob says that it is well.
    #[track_caller]
    fn acknowledged(&self, callers: &Dialog, heard: &Message) {
        self.alice.sends(prack(callers, heard));
        let prack = self.bob.receives("PRACK");
        self.bob.answers(&prack, 200);
        self.alice.receives("200");
    }

    #[track_caller]
    fn answered(&self, callers: &Dialog) {
        self.bob.sends(response(&self.invite, 200));
        let answer = self.alice.receives("200");
        self.alice.acks(&self.sent, &answer);
        self.bob.receives("ACK");
        hang_up(&self.alice, callers, &self.bob);
    }

    #[track_caller]
    fn busy(&self) {
        self.bob.refuses(&self.invite, 486);
        refused(&self.alice, &self.sent, "486");
    }
}

fn numbered(draft: Draft, rseq: u32) -> Draft {
    draft
        .with("Require", "100rel")
        .with("RSeq", &rseq.to_string())
}

fn rings(invite: &Message) -> Draft {
    response(invite, 180)
}

fn has_early_media(invite: &Message) -> Draft {
    response(invite, 183).with_sdp(ANSWER)
}

#[test]
fn the_callees_reliable_ringing_is_acknowledged_by_the_caller() {
    let both = Both::offered();
    // S-58
    assert!(both.invite.lists("Supported", "100rel"));
    let (heard, callers, _) = both.told(rings(&both.invite), FIRST);
    // S-59
    assert_ne!(rseq(&heard), FIRST);
    both.bob.receives_nothing();
    both.alice.sends(prack(&callers, &heard));
    let prack = both.bob.receives("PRACK");
    let invite = both.invite.cseq();
    assert_eq!(prack.header("RAck"), format!("{FIRST} {invite} INVITE"));
    // S-14
    assert_eq!(prack.cseq(), invite + 1);
    both.alice.receives_nothing();
    both.bob.answers(&prack, 200);
    assert_eq!(both.alice.receives("200").cseq_method(), "PRACK");
    both.answered(&callers);
}

#[test]
fn an_offer_in_an_acknowledgement_and_its_answer_cross() {
    let both = Both::offered();
    let (heard, callers, _) = both.told(has_early_media(&both.invite), FIRST);
    let again = OFFER.replace("alice 1 1", "alice 1 2");
    both.alice.sends(prack(&callers, &heard).with_sdp(&again));
    let prack = both.bob.receives("PRACK");
    assert_eq!(prack.sdp(), again);
    both.bob.sends(response(&prack, 200).with_sdp(ANSWER));
    // S-57
    assert_eq!(both.alice.receives("200").sdp(), ANSWER);
    both.answered(&callers);
}

#[test]
fn an_offer_in_an_acknowledgement_may_be_refused_by_the_callee() {
    let both = Both::offered();
    let (heard, callers, _) = both.told(has_early_media(&both.invite), FIRST);
    both.alice.sends(prack(&callers, &heard).with_sdp(OFFER));
    let crossed = both.bob.receives("PRACK");
    both.bob.answers(&crossed, 488);
    both.alice.receives("488");
    both.world.advance(Duration::from_secs(40));
    both.alice.receives_nothing();
    acknowledges(&both.alice, &callers, &heard);
    both.answered(&callers);
}

#[test]
fn an_offer_in_ringing_is_answered_in_the_acknowledgement() {
    let both = Both::of(invite("bob").with("Supported", "100rel"));
    assert!(both.invite.lists("Supported", "100rel"));
    let (heard, callers, callees) = both.told(response(&both.invite, 183).with_sdp(OFFER), FIRST);
    assert_eq!(heard.sdp(), OFFER);
    // S-60: her answer is due.
    both.bob.sends(within(&callees, "UPDATE").with_sdp(OFFER));
    both.bob.receives("500");
    both.alice.sends(prack(&callers, &heard).with_sdp(ANSWER));
    let prack = both.bob.receives("PRACK");
    // S-71
    assert_eq!(prack.sdp(), ANSWER);
    both.bob.answers(&prack, 200);
    both.alice.receives("200");
    both.answered(&callers);
}

#[test]
fn a_caller_who_waits_for_an_offer_may_require_it_of_the_callee() {
    let both = Both::of(invite("bob").with("Require", "100rel"));
    // S-50
    assert!(both.invite.lists("Require", "100rel"));
    // S-50: so this is not for her.
    both.bob.sends(rings(&both.invite));
    both.alice.receives_nothing();
    let refusal = response(&both.invite, 420).with("Unsupported", "100rel");
    both.bob.sends(refusal);
    both.bob.receives("ACK");
    let refusal = refused(&both.alice, &both.sent, "420");
    assert_eq!(refusal.header("Unsupported"), "100rel");
}

#[test]
fn ringing_without_the_offer_that_the_caller_waits_for_is_told_as_ever() {
    let both = Both::of(invite("bob").with("Supported", "100rel"));
    both.bob.sends(rings(&both.invite));
    // S-51
    assert!(!is_reliable(&both.alice.receives("180")));
    let (heard, callers, _) = both.told(response(&both.invite, 183).with_sdp(OFFER), FIRST);
    both.alice.sends(prack(&callers, &heard).with_sdp(ANSWER));
    let prack = both.bob.receives("PRACK");
    both.bob.answers(&prack, 200);
    both.alice.receives("200");
    both.busy();
}

#[test]
fn campon_acknowledges_for_a_caller_who_does_not() {
    let world = World::new(Setup::Reliable);
    let (alice, bob) = (world.phone("alice"), world.phone("bob"));
    let (sent, invite) = offered(&alice, &bob);
    // S-58
    assert!(invite.lists("Supported", "100rel"));
    let told = bob.sends(numbered(has_early_media(&invite), FIRST));
    // S-59
    let heard = alice.receives("183");
    assert!(!is_reliable(&heard));
    assert_eq!(heard.sdp(), ANSWER);
    let prack = bob.receives("PRACK");
    assert_eq!(
        prack.header("RAck"),
        format!("{FIRST} {} INVITE", invite.cseq())
    );
    assert!(prack.body().is_empty());
    bob.answers(&prack, 200);
    // S-56: one for each, however often it comes, and in order.
    bob.sends_again(&told);
    bob.sends(numbered(rings(&invite), FIRST + 2));
    bob.receives_nothing();
    alice.receives_nothing();
    bob.sends(numbered(rings(&invite), FIRST + 1));
    alice.receives("180");
    let second = bob.receives("PRACK");
    assert_eq!(second.cseq(), prack.cseq() + 1);
    bob.answers(&second, 200);
    let answer = bob.takes_call(&invite, &alice, &sent);
    let caller = Dialog::of_caller(&sent, &answer);
    alice.hangs_up(&caller);
    let bye = bob.receives("BYE");
    assert_eq!(bye.cseq(), second.cseq() + 1);
    bob.answers(&bye, 200);
    alice.receives("200");
}

#[test]
fn a_callee_is_not_asked_for_an_offer_that_nobody_could_answer() {
    let world = World::new(Setup::Reliable);
    let (alice, bob) = (world.phone("alice"), world.phone("bob"));
    let sent = alice.sends(invite("bob"));
    let invite = bob.receives("INVITE");
    // S-71
    assert!(!invite.lists("Supported", "100rel"));
    bob.refuses(&invite, 486);
    refused(&alice, &sent, "486");
}

/// Some callers follow one row of numbers whatever the tag.
#[test]
fn the_second_forks_ringing_is_acknowledged_by_campon() {
    let (_world, alice, desk, cell) = bob_with_two_phones();
    let sent = alice.sends(invite("bob").with("Supported", "100rel").with_sdp(OFFER));
    let (at_desk, at_cell) = (desk.receives("INVITE"), cell.receives("INVITE"));
    desk.sends(numbered(rings(&at_desk), FIRST));
    cell.sends(numbered(rings(&at_cell), 9));
    let (by_desk, by_cell) = (alice.receives("180"), alice.receives("180"));
    assert!(is_reliable(&by_desk) && !is_reliable(&by_cell));
    let at_once = cell.receives("PRACK");
    // S-56
    assert_eq!(
        at_once.header("RAck"),
        format!("9 {} INVITE", at_cell.cseq())
    );
    cell.answers(&at_once, 200);
    desk.receives_nothing();
    alice.sends(prack(&Dialog::of_caller(&sent, &by_desk), &by_desk));
    let crossed = desk.receives("PRACK");
    desk.answers(&crossed, 200);
    alice.receives("200");
    for (phone, invite) in [(&desk, &at_desk), (&cell, &at_cell)] {
        phone.refuses(invite, 486);
    }
    refused(&alice, &sent, "486");
}

#[test]
fn a_caller_who_never_acknowledges_costs_the_callee_nothing_but_a_call() {
    let both = Both::offered();
    both.told(rings(&both.invite), FIRST);
    both.world.advance(Duration::from_millis(31_900));
    both.alice.receives_copies("180");
    both.world.advance(Duration::from_millis(200));
    // S-53
    gives_in(&both.bob, &both.invite);
    refused(&both.alice, &both.sent, "504");
}

#[test]
fn an_acknowledgement_on_its_way_is_answered_when_the_call_ends() {
    let both = Both::offered();
    let (heard, callers, _) = both.told(rings(&both.invite), FIRST);
    both.alice.sends(prack(&callers, &heard));
    let crossing = both.bob.receives("PRACK");
    both.alice.cancels(&both.sent);
    let [first, second, refusal] = both.alice.receives_each(["200", "200", "487"]);
    // S-54
    let mut answered = [first.cseq_method(), second.cseq_method()];
    answered.sort_unstable();
    assert_eq!(answered, ["CANCEL", "PRACK"]);
    both.alice.acks(&both.sent, &refusal);
    gives_in(&both.bob, &both.invite);
    both.bob.answers(&crossing, 200);
}

#[test]
fn an_acknowledgement_that_comes_twice_crosses_once() {
    let both = Both::offered();
    let (heard, callers, _) = both.told(rings(&both.invite), FIRST);
    let sent = both.alice.sends(prack(&callers, &heard));
    let crossing = both.bob.receives("PRACK");
    both.world.advance(Duration::from_millis(400));
    both.alice.sends_again(&sent);
    both.bob.receives_nothing();
    both.alice.receives_nothing();
    both.bob.answers(&crossing, 200);
    both.alice.receives("200");
    both.busy();
}

#[test]
fn both_sides_change_the_session_before_the_answer() {
    let both = Both::offered();
    let (heard, callers, callees) = both.told(has_early_media(&both.invite), FIRST);
    both.acknowledged(&callers, &heard);
    both.alice.sends(within(&callers, "UPDATE").with_sdp(OFFER));
    let update = both.bob.receives("UPDATE");
    assert_eq!(
        (update.sdp(), update.cseq()),
        (OFFER, both.invite.cseq() + 2)
    );
    both.bob.sends(response(&update, 200).with_sdp(ANSWER));
    assert_eq!(both.alice.receives("200").sdp(), ANSWER);
    both.bob.sends(within(&callees, "UPDATE").with_sdp(ANSWER));
    let update = both.alice.receives("UPDATE");
    assert_eq!(update.sdp(), ANSWER);
    // S-12: in the dialog in which it rings.
    assert_eq!(update.tag_of_from(), heard.tag_of_to());
    both.alice.sends(response(&update, 200).with_sdp(OFFER));
    assert_eq!(both.bob.receives("200").sdp(), OFFER);
    both.answered(&callers);
}

#[test]
fn early_updates_that_meet_an_offer_are_put_off() {
    let both = Both::offered();
    let (heard, callers, callees) = both.told(rings(&both.invite), FIRST);
    both.acknowledged(&callers, &heard);
    // S-60: her offer in the INVITE has no answer yet.
    both.alice.sends(within(&callers, "UPDATE").with_sdp(OFFER));
    assert!(both.alice.receives("500").has("Retry-After"));
    both.bob.sends(within(&callees, "UPDATE").with_sdp(OFFER));
    // S-68
    both.bob.receives("491");
    let (heard, _, _) = both.told(has_early_media(&both.invite), FIRST + 1);
    both.acknowledged(&callers, &heard);
    both.bob.sends(within(&callees, "UPDATE").with_sdp(OFFER));
    let update = both.alice.receives("UPDATE");
    both.alice.sends(within(&callers, "UPDATE").with_sdp(OFFER));
    // S-68
    both.alice.receives("491");
    both.alice.answers(&update, 491);
    both.bob.receives("491");
    both.answered(&callers);
}

#[test]
fn another_invite_before_the_answer_is_put_off() {
    let both = Both::offered();
    let (heard, callers, callees) = both.told(has_early_media(&both.invite), FIRST);
    both.acknowledged(&callers, &heard);
    let again = both.alice.sends(within(&callers, "INVITE").with_sdp(OFFER));
    // S-18
    refused(&both.alice, &again, "500");
    let crossing = both.bob.sends(within(&callees, "INVITE").with_sdp(OFFER));
    // S-18
    refused(&both.bob, &crossing, "491");
    both.answered(&callers);
}

#[test]
fn a_request_that_waits_when_the_phone_is_busy_gets_487() {
    let both = Both::offered();
    let (heard, callers, _) = both.told(has_early_media(&both.invite), FIRST);
    both.acknowledged(&callers, &heard);
    both.alice.sends(within(&callers, "INFO"));
    let info = both.bob.receives("INFO");
    both.bob.refuses(&both.invite, 486);
    let [refusal, busy] = both.alice.receives_each(["487", "486"]);
    // S-21
    assert_eq!(refusal.cseq_method(), "INFO");
    both.alice.acks(&both.sent, &busy);
    both.bob.answers(&info, 200);
}
