//! Session timers of each leg: who refreshes, who does not, and what crosses of it.
//!
//! Spec: RFC 4028 §7, §9, §10.

use std::time::Duration;

use super::kit::dialog::Dialog;
use super::kit::draft::{ANSWER, Draft, OFFER, invite, response, within};
use super::kit::message::Message;
use super::kit::party::Party;
use super::kit::scenes::{hang_up, refused};
use super::kit::subject::Setup;
use super::kit::world::World;

const HOLD: &str = "v=0\r\no=alice 1 2 IN IP4 192.0.2.10\r\ns=-\r\n\
    c=IN IP4 192.0.2.10\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0 8\r\na=sendonly\r\n";

/// A call that is up, and what the two heard when it came about.
struct Timed {
    world: World,
    alice: Party,
    bob: Party,
    invite: Message,
    answer: Message,
    caller: Dialog,
    callee: Dialog,
}

impl Timed {
    /// Alice sends this, and Bob answers with what `answer` adds.
    #[track_caller]
    fn call(setup: Setup, offer: Draft, answer: impl FnOnce(Draft) -> Draft) -> Self {
        let world = World::new(setup);
        let (alice, bob) = (world.phone("alice"), world.phone("bob"));
        let sent = alice.sends(offer.with_sdp(OFFER));
        let invite = bob.receives("INVITE");
        let answered = bob.sends(answer(response(&invite, 200)).with_sdp(ANSWER));
        let answer = alice.receives("200");
        alice.acks(&sent, &answer);
        bob.receives("ACK");
        Self {
            caller: Dialog::of_caller(&sent, &answer),
            callee: Dialog::of_callee(&invite, &answered),
            world,
            alice,
            bob,
            invite,
            answer,
        }
    }

    fn after(&self, s: u64) {
        self.world.advance(Duration::from_secs(s));
    }

    /// Nothing happens for so many seconds, and then what comes at the end of them.
    #[track_caller]
    fn comes_at(&self, party: &Party, s: u64, kind: &str) -> Message {
        self.after(s - 1);
        self.world.quiet();
        party.receives_within(Duration::from_millis(1100), kind)
    }

    /// The same, for the end of the call.
    #[track_caller]
    fn ends_at(&self, s: u64) {
        self.after(s - 1);
        self.world.quiet();
        self.world.advance(Duration::from_millis(1100));
    }

    #[track_caller]
    fn hangs_up(&self) {
        hang_up(&self.alice, &self.caller, &self.bob);
    }

    /// Campon ends the call on both sides, for this reason.
    #[track_caller]
    fn is_ended(&self, reason: &str) {
        for party in [&self.alice, &self.bob] {
            let bye = party.receives("BYE");
            assert_eq!(bye.find("Reason").unwrap_or_default(), reason);
            party.answers(&bye, 200);
        }
    }
}

/// Alice's phone knows timers and asks for one.
fn asks(expires: &str) -> Draft {
    invite("bob")
        .with("Supported", "timer")
        .with("Session-Expires", expires)
}

/// Bob's phone takes what it is asked for, and says who is to refresh.
fn grants(expires: &str) -> impl FnOnce(Draft) -> Draft {
    move |answer| {
        answer
            .with("Session-Expires", expires)
            .with("Allow", "INVITE, ACK, BYE, CANCEL, UPDATE")
    }
}

#[test]
fn each_leg_agrees_on_who_refreshes_it() {
    let call = Timed::call(
        Setup::Standalone,
        asks("1800"),
        grants("1800;refresher=uas"),
    );
    assert_eq!(call.invite.header("Session-Expires"), "1800");
    // S-94: she asked, so it is she; and he has said that it is he.
    let agreed = "1800;refresher=uac";
    assert_eq!(call.answer.header("Session-Expires"), agreed);
    assert_eq!(call.answer.list("Require"), ["timer"]);
    call.after(900);
    let refresh = within(&call.caller, "UPDATE").with("Supported", "timer");
    call.alice.sends(refresh.with("Session-Expires", agreed));
    let refresh = call.bob.receives("UPDATE");
    // S-97: the roles are those of this leg.
    assert_eq!(refresh.header("Session-Expires"), "1800;refresher=uas");
    let well = response(&refresh, 200).with("Session-Expires", "1800;refresher=uas");
    call.bob.sends(well);
    assert_eq!(call.alice.receives("200").header("Session-Expires"), agreed);
    // Both legs are fresh: neither has run out 1760 s later.
    call.after(1760);
    call.hangs_up();
}

#[test]
fn a_caller_who_does_not_refresh_is_given_up() {
    let call = Timed::call(Setup::Standalone, asks("90"), |answer| answer);
    assert_eq!(call.answer.header("Session-Expires"), "90;refresher=uac");
    call.ends_at(60);
    // S-96
    call.is_ended("SIP;cause=408;text=\"Session timer expired\"");
}

#[test]
fn a_callee_who_does_not_refresh_is_given_up() {
    let call = Timed::call(Setup::Timed, invite("bob"), grants("900;refresher=uas"));
    // She knows no timers.
    assert!(!call.answer.has("Session-Expires") && !call.answer.has("Require"));
    call.ends_at(868);
    // S-96
    call.is_ended("SIP;cause=408;text=\"Session timer expired\"");
}

#[test]
fn campon_asks_and_refreshes_by_update() {
    let call = Timed::call(Setup::Timed, invite("bob"), grants("1800;refresher=uac"));
    // S-91
    assert_eq!(call.invite.list("Supported"), ["timer"]);
    assert_eq!(call.invite.header("Session-Expires"), "1800");
    assert_eq!(call.invite.header("Min-SE"), "90");
    for _ in 0..2 {
        // S-95
        let refresh = call.comes_at(&call.bob, 900, "UPDATE");
        assert_eq!(refresh.header("Session-Expires"), "1800;refresher=uac");
        assert!(refresh.lists("Supported", "timer") && refresh.body().is_empty());
        let well = response(&refresh, 200).with("Session-Expires", "1800;refresher=uac");
        call.bob.sends(well);
    }
    call.alice.receives_nothing();
    let last = call.comes_at(&call.bob, 900, "UPDATE");
    call.bob.answers(&last, 200);
    // He has no use for it any more.
    call.after(4000);
    call.hangs_up();
}

#[test]
fn campon_refreshes_a_caller_who_asks_it_to() {
    let offer = asks("90;refresher=uas").with("Allow", "INVITE, ACK, BYE, CANCEL, UPDATE");
    let call = Timed::call(Setup::Standalone, offer, |answer| answer);
    // S-94
    assert_eq!(call.answer.header("Session-Expires"), "90;refresher=uas");
    assert!(!call.answer.has("Require"));
    // S-95
    let refresh = call.comes_at(&call.alice, 45, "UPDATE");
    assert_eq!(refresh.header("Session-Expires"), "90;refresher=uac");
    call.alice.answers(&refresh, 200);
    call.bob.receives_nothing();
    call.hangs_up();
}

#[test]
fn campon_refreshes_by_invite_with_what_it_said_last() {
    let answer = |answer: Draft| answer.with("Session-Expires", "600;refresher=uac");
    let call = Timed::call(Setup::Timed, invite("bob"), answer);
    let refresh = call.comes_at(&call.bob, 300, "INVITE");
    // S-95: no change of the session.
    assert_eq!(refresh.sdp(), OFFER);
    assert_eq!(refresh.header("Session-Expires"), "600;refresher=uac");
    // S-18: his INVITE crosses ours, and hers has to wait for it.
    let crossing = call
        .bob
        .sends(within(&call.callee, "INVITE").with_sdp(HOLD));
    refused(&call.bob, &crossing, "491");
    let change = call
        .alice
        .sends(within(&call.caller, "INVITE").with_sdp(HOLD));
    refused(&call.alice, &change, "500");
    let well = response(&refresh, 200).with("Session-Expires", "600;refresher=uac");
    call.bob.sends(well.with_sdp(ANSWER));
    let ack = call.bob.receives("ACK");
    // S-04
    assert_eq!(ack.cseq(), refresh.cseq());
    call.alice.receives_nothing();
    let change = call
        .alice
        .sends(within(&call.caller, "INVITE").with_sdp(HOLD));
    let held = call.bob.receives("INVITE");
    let well = response(&held, 200).with("Session-Expires", "600;refresher=uac");
    call.bob.sends(well.with_sdp(ANSWER));
    let answer = call.alice.receives("200");
    call.alice.acks(&change, &answer);
    call.bob.receives("ACK");
    let refresh = call.comes_at(&call.bob, 300, "INVITE");
    assert_eq!(refresh.sdp(), HOLD);
    call.bob.refuses(&refresh, 491);
    call.hangs_up();
}

#[test]
fn a_refresh_that_is_refused_is_tried_again() {
    let call = Timed::call(Setup::Timed, invite("bob"), grants("900;refresher=uac"));
    let refresh = call.comes_at(&call.bob, 450, "UPDATE");
    call.bob.answers(&refresh, 500);
    let again = call.comes_at(&call.bob, 45, "UPDATE");
    // S-93: not for longer than this.
    call.bob.sends(response(&again, 422).with("Min-SE", "1200"));
    let longer = call
        .bob
        .receives_within(Duration::from_millis(50), "UPDATE");
    assert_eq!(longer.header("Session-Expires"), "1200;refresher=uac");
    let well = response(&longer, 200).with("Session-Expires", "1200;refresher=uac");
    call.bob.sends(well);
    call.after(599);
    call.world.quiet();
    call.hangs_up();
}

#[test]
fn a_side_that_knows_no_call_or_says_nothing_ends_it() {
    let call = Timed::call(Setup::Timed, invite("bob"), grants("900;refresher=uac"));
    let refresh = call.comes_at(&call.bob, 450, "UPDATE");
    call.bob.answers(&refresh, 481);
    // S-15
    call.is_ended("");
    let call = Timed::call(Setup::Timed, invite("bob"), grants("900;refresher=uac"));
    call.comes_at(&call.bob, 450, "UPDATE");
    call.world.advance(Duration::from_millis(31_900));
    call.bob.receives_copies("UPDATE");
    call.world.advance(Duration::from_millis(300));
    // S-15
    call.is_ended("");
}

#[test]
fn too_short_a_session_is_refused_with_the_least() {
    let world = World::new(Setup::Standalone);
    let (alice, bob) = (world.phone("alice"), world.phone("bob"));
    let sent = alice.sends(asks("89").with_sdp(OFFER));
    // S-92
    let refusal = refused(&alice, &sent, "422");
    // S-90
    assert_eq!(refusal.header("Min-SE"), "90");
    bob.receives_nothing();
    drop(world);
    let call = Timed::call(Setup::Standalone, asks("90"), |answer| answer);
    for method in ["UPDATE", "INVITE"] {
        let short = within(&call.caller, method).with("Session-Expires", "60");
        let sent = call.alice.sends(short.with("Supported", "timer"));
        let refusal = call.alice.receives("422");
        // S-92
        assert_eq!(refusal.header("Min-SE"), "90");
        if method == "INVITE" {
            call.alice.acks(&sent, &refusal);
        }
    }
    call.bob.receives_nothing();
    call.hangs_up();
}

#[test]
fn a_callee_who_finds_the_callers_session_too_short_tells_the_caller() {
    let world = World::new(Setup::Standalone);
    let (alice, bob) = (world.phone("alice"), world.phone("bob"));
    let sent = alice.sends(asks("300").with_sdp(OFFER));
    let invite = bob.receives("INVITE");
    bob.sends(response(&invite, 422).with("Min-SE", "600"));
    bob.receives("ACK");
    // S-93: she asked, and asks again.
    let refusal = refused(&alice, &sent, "422");
    assert_eq!(refusal.header("Min-SE"), "600");
}

#[test]
fn a_callee_who_finds_campons_session_too_short_is_asked_again() {
    let world = World::new(Setup::Timed);
    let (alice, bob) = (world.phone("alice"), world.phone("bob"));
    let draft = invite("bob").with("X-Unheard-Of", "kept");
    let sent = alice.sends(draft.with_sdp(OFFER));
    let first = bob.receives("INVITE");
    bob.sends(response(&first, 422).with("Min-SE", "3600"));
    bob.receives("ACK");
    let second = bob.receives("INVITE");
    // S-93
    assert_eq!(second.header("Session-Expires"), "3600");
    assert_eq!(second.header("Min-SE"), "3600");
    assert_eq!(
        (second.call_id(), second.uri()),
        (first.call_id(), first.uri())
    );
    assert_eq!(second.tag_of_from(), first.tag_of_from());
    assert_eq!(second.cseq(), first.cseq() + 1);
    assert_ne!(second.branch(), first.branch());
    assert_eq!(
        (second.sdp(), second.header("X-Unheard-Of")),
        (OFFER, "kept")
    );
    alice.receives_nothing();
    // Once is enough.
    bob.sends(response(&second, 422).with("Min-SE", "7200"));
    bob.receives("ACK");
    refused(&alice, &sent, "422");
}

#[test]
fn a_call_that_ends_is_refreshed_no_more() {
    let call = Timed::call(Setup::Timed, invite("bob"), grants("900;refresher=uac"));
    call.after(440);
    call.hangs_up();
    call.after(900);
    call.world.quiet();
}

#[test]
fn a_refresh_waits_for_what_is_under_way() {
    let call = Timed::call(Setup::Timed, invite("bob"), grants("900;refresher=uac"));
    call.after(440);
    call.alice
        .sends(within(&call.caller, "UPDATE").with_sdp(HOLD));
    let update = call.bob.receives("UPDATE");
    call.after(12);
    // S-68: his phone has not answered the one before.
    let copies = call.bob.receives_copies("UPDATE");
    assert!(copies.iter().all(|copy| copy.raw == update.raw));
    let well = response(&update, 200).with("Session-Expires", "900;refresher=uac");
    call.bob.sends(well.with_sdp(ANSWER));
    call.alice.receives("200");
    // That was a refresh as well.
    call.after(440);
    call.world.quiet();
    call.hangs_up();
}

/// Whoever answers a challenge is the phone, and the phone has not asked for anything.
#[test]
fn a_refresh_that_is_challenged_ends_the_timer_and_not_the_call() {
    let call = Timed::call(Setup::Timed, invite("bob"), grants("900;refresher=uac"));
    let refresh = call.comes_at(&call.bob, 450, "UPDATE");
    let challenge = "Digest realm=\"pbx\", nonce=\"1\"";
    call.bob
        .sends(response(&refresh, 407).with("Proxy-Authenticate", challenge));
    call.after(4000);
    call.world.quiet();
    call.hangs_up();
}

#[test]
fn nobody_makes_campon_refresh_without_end() {
    for expires in [
        "0;refresher=uac",
        "1",
        "4294967295;refresher=uac",
        "x;refresher=uac",
    ] {
        let call = Timed::call(Setup::Timed, invite("bob"), grants(expires));
        call.after(44);
        // S-90
        call.world.quiet();
        call.hangs_up();
    }
    // A proxy asks for what the phone itself would not understand to be refused.
    let call = Timed::call(
        Setup::Standalone,
        asks("0").without("Supported"),
        |answer| answer,
    );
    call.after(44);
    call.world.quiet();
    call.hangs_up();
}
