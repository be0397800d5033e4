//! Calls that wait in front of a PBX: its own answer to a busy callee does not come in between.
//!
//! Spec: RULES R5, R9; RFC 3841 §9.1; RFC 3261 §9.1, §22.3.

use std::time::Duration;

use super::super::super::kit::completion::{GUARD, LONG, MOMENT, RECALL, just_before, recalled};
use super::super::super::kit::draft::{ANSWER, Draft, OFFER, proxied, request, response};
use super::super::super::kit::message::Message;
use super::super::super::kit::party::Party;
use super::super::super::kit::scenes::{hang_up, refused};
use super::super::super::kit::subject::Setup;
use super::{Office, Passing, REPEATS_IN, Talk, invite, registers};

/// How long Bob's phone is left alone before the call that waits is offered to it.
const CALL_GUARD: Duration = Duration::from_secs(1);
/// How long a call waits.
const CAMP_ON_MAX: Duration = Duration::from_mins(2);
/// How long the PBX may take to give a call up.
const GIVES_UP: Duration = Duration::from_secs(4);

const CHALLENGE: &str = "Digest realm=\"pbx\", nonce=\"1\"";
const CREDENTIALS: &str = "Digest username=\"alice\", realm=\"pbx\"";

/// A call to Bob that is to wait for him.
fn queued(user: &str) -> Draft {
    invite(user, "bob").with("Request-Disposition", "queue")
}

impl Office {
    /// A call that arrives at Bob's phone, which is busy; the PBX has to give it up.
    #[track_caller]
    fn finds_busy(&self, caller: &Party, draft: Draft) -> (Passing, Message) {
        let call = self.passes(caller, draft);
        self.pbx.answers(&call.out, 100);
        self.bob.refuses(&call.arrived, 486);
        // R5: first the CANCEL; who knows of no refusal has no mailbox to answer it with.
        let cancel = self.pbx.receives("CANCEL");
        assert_eq!(cancel.call_id(), call.out.call_id());
        self.pbx.receives_nothing();
        (call, cancel)
    }

    /// The PBX gives it up, and hears of the refusal afterwards.
    #[track_caller]
    pub(super) fn gives_up(&self, (call, cancel): &(Passing, Message)) {
        self.pbx.answers(cancel, 200);
        self.pbx.answers(&call.out, 487);
        let [_, refusal] = self.pbx.receives_each(["ACK", "486"]);
        assert!(!refusal.has("Call-Info"), "{refusal}"); // R1
        self.pbx.acks(&call.back, &refusal);
    }

    /// Alice calls Bob, who is busy, and waits.
    #[track_caller]
    fn alice_camps(&self) -> Passing {
        let busy = self.finds_busy(&self.alice, queued("alice"));
        self.alice.receives("182");
        self.gives_up(&busy);
        self.world.advance(MOMENT);
        busy.0
    }

    /// Bob's other call is over, and the call that waits is on its way to the PBX.
    #[track_caller]
    pub(super) fn is_dialled_anew(&self, talk: &Talk, call: &Passing) -> Message {
        self.is_over(&self.carol, talk);
        self.world.advance(just_before(CALL_GUARD));
        self.pbx.receives_nothing();
        self.world.advance(MOMENT);
        let anew = self.pbx.receives("INVITE");
        // R3: the next one of the same call.
        assert_eq!(anew.call_id(), call.out.call_id());
        assert_eq!(anew.tag_of_from(), call.out.tag_of_from());
        assert_eq!(anew.cseq(), call.out.cseq() + 1);
        assert_eq!(anew.uri(), call.out.uri());
        // What the PBX has seen once is a replay.
        assert!(!anew.has("Proxy-Authorization"), "{anew}");
        anew
    }

    /// The PBX passes it on to Bob's phone.
    #[track_caller]
    pub(super) fn passes_anew(&self, call: &Passing, anew: Message) -> Passing {
        let back = self.pbx.sends(proxied(&anew, &self.to_bob));
        let arrived = self.bob.receives("INVITE");
        Passing {
            sent: call.sent.clone(),
            out: anew,
            back,
            arrived,
        }
    }

    /// Bob answers what was dialled anew, and Alice hangs up after the talk.
    #[track_caller]
    fn is_put_through(&self, call: &Passing, anew: Message) {
        let call = self.passes_anew(call, anew);
        let talk = self.is_answered(&self.alice, &call);
        self.is_over(&self.alice, &talk);
    }

    /// The PBX asks Alice's phone for its password once more.
    #[track_caller]
    fn is_challenged(&self, call: &Passing, anew: &Message, told: &str) {
        let challenge = response(anew, 407).with("Proxy-Authenticate", CHALLENGE);
        self.pbx.sends(challenge);
        self.pbx.receives("ACK");
        let challenge = refused(&self.alice, &call.sent, "407");
        assert_eq!(challenge.header("Proxy-Authenticate"), told);
        assert!(!challenge.has("Call-Info"), "{challenge}");
    }
}

/// Carol talks to Bob, and Alice's call waits for him.
#[track_caller]
fn alice_waits() -> (Office, Talk, Passing) {
    let office = Office::new(Setup::Edge);
    let talk = office.carol_talks();
    let call = office.alice_camps();
    (office, talk, call)
}

/// The same, and then Carol has hung up: the call as it was, and as it was dialled anew.
#[track_caller]
fn it_is_her_turn() -> (Office, Passing, Message) {
    let (office, talk, call) = alice_waits();
    let anew = office.is_dialled_anew(&talk, &call);
    (office, call, anew)
}

/// Alice's INVITE with the next number and credentials.
fn repeated(sent: &Message) -> Draft {
    queued("alice")
        .with("Call-ID", sent.call_id())
        .with("CSeq", &format!("{} INVITE", sent.cseq() + 1))
        .with("Proxy-Authorization", CREDENTIALS)
}

#[test]
fn a_call_in_front_of_a_pbx_waits_and_is_dialled_anew() {
    let (office, call, anew) = it_is_her_turn();
    office.is_put_through(&call, anew);
    office.has_nothing_left();
    office.world.stays_quiet();
}

/// A proxy gives up by cancelling what it passed on.
#[test]
fn a_pbx_that_cancels_the_callee_hears_no_refusal() {
    let office = Office::new(Setup::Edge);
    let talk = office.carol_talks();
    let (call, cancel) = office.finds_busy(&office.alice, queued("alice"));
    office.alice.receives("182");
    office.pbx.answers(&cancel, 200);
    office.pbx.gives_up(&call.back);
    office.pbx.refuses(&call.out, 487);
    office.world.advance(GIVES_UP);
    office.pbx.receives_nothing();
    let anew = office.is_dialled_anew(&talk, &call);
    office.is_put_through(&call, anew);
}

/// Nobody talks to the mailbox: its 200 crossed the CANCEL.
#[test]
fn a_mailbox_that_wins_the_race_is_hung_up_on() {
    let office = Office::new(Setup::Edge);
    let talk = office.carol_talks();
    let (call, cancel) = office.finds_busy(&office.alice, queued("alice"));
    office.alice.receives("182");
    let answer = response(&call.out, 200).tagged("voicemail");
    office.pbx.sends(answer.with_sdp(ANSWER));
    office.pbx.answers(&cancel, 200);
    // S-07
    let [_, bye, refusal] = office.pbx.receives_each(["ACK", "BYE", "486"]);
    office.pbx.answers(&bye, 200);
    office.pbx.acks(&call.back, &refusal);
    office.alice.receives_nothing();
    office.world.advance(MOMENT);
    let anew = office.is_dialled_anew(&talk, &call);
    office.is_put_through(&call, anew);
    office.has_nothing_left();
}

#[test]
fn a_pbx_that_does_not_give_up_hears_the_refusal_all_the_same() {
    let office = Office::new(Setup::Edge);
    let talk = office.carol_talks();
    let (call, cancel) = office.finds_busy(&office.alice, queued("alice"));
    office.alice.receives("182");
    office.pbx.answers(&cancel, 200);
    office.world.advance(just_before(GIVES_UP));
    office.pbx.receives_nothing();
    office.world.advance(MOMENT);
    let refusal = office.pbx.receives("486");
    office.pbx.acks(&call.back, &refusal);
    office.pbx.refuses(&call.out, 486);
    let anew = office.is_dialled_anew(&talk, &call);
    office.is_put_through(&call, anew);
}

#[test]
fn a_phone_that_is_asked_again_when_it_is_its_turn_goes_on_with_its_call() {
    let (office, call, anew) = it_is_her_turn();
    office.is_challenged(&call, &anew, CHALLENGE);
    office.world.advance(just_before(REPEATS_IN));
    let call = office.passes(&office.alice, repeated(&call.sent));
    assert_eq!(call.out.call_id(), anew.call_id());
    assert_eq!(call.out.cseq(), anew.cseq() + 1);
    assert_eq!(call.out.header("Proxy-Authorization"), CREDENTIALS);
    let talk = office.is_answered(&office.alice, &call);
    office.is_over(&office.alice, &talk);
    office.has_nothing_left();
    office.world.stays_quiet();
}

/// It keeps its place, and waits on with the call that came with the password.
#[test]
fn a_call_that_was_asked_again_and_finds_the_callee_busy_waits_on() {
    let (office, call, anew) = it_is_her_turn();
    office.is_challenged(&call, &anew, CHALLENGE);
    // Carol was quicker.
    let talk = office.carol_talks();
    let busy = office.finds_busy(&office.alice, repeated(&call.sent));
    office.gives_up(&busy);
    office.world.advance(MOMENT);
    office.alice.receives("182");
    let anew = office.is_dialled_anew(&talk, &busy.0);
    // R5: to her phone a second challenge would mean that its password is wrong.
    let told = format!("{CHALLENGE}, stale=true");
    office.is_challenged(&busy.0, &anew, &told);
    let call = office.passes(&office.alice, repeated(&busy.0.sent));
    let talk = office.is_answered(&office.alice, &call);
    office.is_over(&office.alice, &talk);
    office.has_nothing_left();
}

/// A password that is wrong is not asked for again and again.
#[test]
fn a_challenge_to_credentials_crosses_as_it_is() {
    let (office, call, anew) = it_is_her_turn();
    office.is_challenged(&call, &anew, CHALLENGE);
    let sent = office.alice.sends(repeated(&call.sent).with_sdp(OFFER));
    let anew = office.pbx.receives("INVITE");
    let call = Passing { sent, ..call };
    office.is_challenged(&call, &anew, CHALLENGE);
    office.world.advance(REPEATS_IN);
    office.is_recalled_in_vain();
}

/// R5: the password is asked of her user, perhaps; Bob does not wait for that, and she is called back.
#[test]
fn a_call_that_does_not_come_again_becomes_a_callback() {
    let (office, call, anew) = it_is_her_turn();
    office.is_challenged(&call, &anew, CHALLENGE);
    office.world.advance(just_before(REPEATS_IN));
    office.alice.receives_nothing();
    office.world.advance(MOMENT);
    let recall = recalled(&office.alice);
    let recall = super::picks_up(&office.alice, &recall);
    let call = office.dials_by_itself(&recall);
    let talk = office.is_answered(&office.alice, &call);
    office.tells(&recall, "SIP/2.0 200 OK\r\n");
    office.is_over(&office.alice, &talk);
    office.has_nothing_left();
}

/// The same may be taken back.
#[test]
fn a_callback_that_was_a_call_is_taken_back_like_any() {
    let (office, call, anew) = it_is_her_turn();
    office.is_challenged(&call, &anew, CHALLENGE);
    office.world.advance(REPEATS_IN);
    office.is_recalled_in_vain();
    office.has_nothing_left();
    office.world.stays_quiet();
}

/// R9: she talks to the mailbox, and is called back when Bob is there again.
#[test]
fn a_mailbox_that_answers_when_it_is_the_callers_turn_is_no_success() {
    let (office, call, anew) = it_is_her_turn();
    let call = office.passes_anew(&call, anew);
    office.bob.answers(&call.arrived, 180);
    office.pbx.receives("180");
    office.pbx.gives_up(&call.back);
    super::stops_ringing(&office.bob, &call.arrived);
    let mailbox = office.is_diverted(&call);
    office.world.advance(RECALL);
    office.world.quiet();
    hang_up(&office.alice, &mailbox, &office.pbx);
    office.world.advance(LONG);
    office.alice.receives_nothing();
    let talk = office.carol_talks();
    office.is_over(&office.carol, &talk);
    office.world.advance(GUARD);
    office.is_recalled_in_vain();
}

#[test]
fn a_caller_who_hangs_up_in_front_of_a_pbx_waits_no_longer() {
    let (office, talk, call) = alice_waits();
    office.alice.gives_up(&call.sent);
    office.is_over(&office.carol, &talk);
    office.has_nothing_left();
    office.world.stays_quiet();
}

/// Her phone has lost its connection, and its call with it: Bob would answer to nobody.
#[test]
fn a_caller_whose_connection_has_gone_waits_no_longer() {
    let office = Office::new(Setup::Edge);
    let dave = office.world.party_over_tcp("dave");
    registers(&dave, "dave", &office.pbx);
    let talk = office.carol_talks();
    let busy = office.finds_busy(&dave, queued("dave"));
    dave.receives("182");
    office.gives_up(&busy);
    office.world.advance(MOMENT);
    dave.disconnects();
    // Which nobody reads.
    dave.receives("487");
    office.is_over(&office.carol, &talk);
    office.world.advance(LONG);
    office.pbx.receives_nothing();
    office.bob.receives_nothing();
}

/// She hangs up before the PBX has given up what she waits for.
#[test]
fn a_caller_who_is_quicker_than_the_pbx_leaves_nothing_behind() {
    let office = Office::new(Setup::Edge);
    let talk = office.carol_talks();
    let busy = office.finds_busy(&office.alice, queued("alice"));
    office.alice.receives("182");
    office.alice.gives_up(&busy.0.sent);
    office.gives_up(&busy);
    office.world.advance(MOMENT);
    office.is_over(&office.carol, &talk);
    office.has_nothing_left();
    office.world.stays_quiet();
}

#[test]
fn a_call_that_waited_too_long_in_front_of_a_pbx_may_be_called_back() {
    let (office, talk, call) = alice_waits();
    office.world.advance(Duration::from_mins(1));
    office.alice.receives("182");
    office
        .world
        .advance(CAMP_ON_MAX.saturating_sub(Duration::from_mins(1)));
    let busy = refused(&office.alice, &call.sent, "486");
    assert!(busy.header("Call-Info").ends_with(";m=BS"), "{busy}");
    office.dials(super::REQUEST_LAST);
    office.is_over(&office.carol, &talk);
    office.world.advance(GUARD);
    office.is_recalled_in_vain();
}

/// Each waited for the other, and neither would ever have been free.
#[test]
fn two_who_call_each_other_through_a_pbx_are_connected_once() {
    let (office, talk, call) = alice_waits();
    office.is_over(&office.carol, &talk);
    let back = office.bob.sends(
        invite("bob", "alice")
            .with("Request-Disposition", "queue")
            .with_sdp(OFFER),
    );
    let out = office.pbx.receives("INVITE");
    // The PBX's own word: her only line is taken.
    office.pbx.refuses(&out, 486);
    refused(&office.bob, &back, "486");
    office.world.advance(CALL_GUARD);
    let anew = office.pbx.receives("INVITE");
    office.is_put_through(&call, anew);
    office.world.stays_quiet();
}

/// R1: whose call it is that comes back nobody knows; the PBX's own word is enough.
#[test]
fn a_call_whose_other_half_is_unknown_waits_if_the_pbx_says_busy() {
    let office = Office::new(Setup::Edge);
    let talk = office.carol_talks();
    let sent = office.alice.sends(queued("alice").with_sdp(OFFER));
    let out = office.pbx.receives("INVITE");
    let from = "<sip:anonymous@anonymous.invalid>;tag=hidden";
    let back = request("INVITE", &office.to_bob).with("From", from);
    let back = office.pbx.sends(back.with_sdp(OFFER));
    let arrived = office.bob.receives("INVITE");
    office.bob.refuses(&arrived, 486);
    let refusal = office.pbx.receives("486");
    office.pbx.acks(&back, &refusal);
    office.alice.receives_nothing();
    office.pbx.refuses(&out, 486);
    office.alice.receives("182");
    office.world.advance(MOMENT);
    let call = Passing {
        sent,
        out,
        back,
        arrived,
    };
    let anew = office.is_dialled_anew(&talk, &call);
    office.is_put_through(&call, anew);
}

/// Bob's phone at home may still answer.
#[test]
fn nothing_is_withheld_while_another_phone_rings() {
    let office = Office::new(Setup::Edge);
    let home = office.world.party("home");
    let to_home = registers(&home, "bob", &office.pbx);
    let talk = office.carol_talks();
    let call = office.passes(&office.alice, queued("alice"));
    office.pbx.answers(&call.out, 100);
    let back = office.pbx.sends(proxied(&call.out, &to_home));
    let rings = home.receives("INVITE");
    home.answers(&rings, 180);
    office.pbx.receives("180");
    office.bob.refuses(&call.arrived, 486);
    let refusal = office.pbx.receives("486");
    office.pbx.acks(&call.back, &refusal);
    office.alice.receives_nothing();
    // That one is not taken either.
    home.refuses(&rings, 486);
    let cancel = office.pbx.receives("CANCEL");
    office.pbx.receives_nothing();
    office.alice.receives("182");
    let call = Passing { back, ..call };
    let busy = (call, cancel);
    office.gives_up(&busy);
    office.world.advance(MOMENT);
    let anew = office.is_dialled_anew(&talk, &busy.0);
    office.is_put_through(&busy.0, anew);
}

/// Whoever calls for help is not made to wait, and the PBX is told at once.
#[test]
fn a_call_for_help_never_waits() {
    let office = Office::new(Setup::Edge);
    let talk = office.carol_talks();
    let draft = queued("alice").with("Priority", "emergency");
    let call = office.passes(&office.alice, draft);
    office.pbx.answers(&call.out, 100);
    let told = office.is_refused(&office.alice, &call, 486);
    assert!(!told.has("Call-Info"), "{told}");
    // R23: nor when she calls him soon after that.
    let call = office.passes(&office.alice, queued("alice"));
    office.pbx.answers(&call.out, 100);
    office.is_refused(&office.alice, &call, 486);
    office.is_over(&office.carol, &talk);
    office.world.stays_quiet();
}

/// A PBX that plays its own tone to her says no more in that dialog.
#[test]
fn a_tone_of_the_pbx_is_over_when_the_call_waits() {
    let office = Office::new(Setup::Edge);
    let talk = office.carol_talks();
    let call = office.passes(&office.alice, queued("alice"));
    office
        .pbx
        .sends(response(&call.out, 183).tagged("tone").with_sdp(ANSWER));
    let early = office.alice.receives("183");
    office.bob.refuses(&call.arrived, 486);
    let cancel = office.pbx.receives("CANCEL");
    let waits = office.alice.receives("182");
    // R16: what campon says is a fork of its own.
    assert_ne!(early.tag_of_to(), waits.tag_of_to());
    let busy = (call, cancel);
    office.gives_up(&busy);
    office.world.advance(MOMENT);
    let anew = office.is_dialled_anew(&talk, &busy.0);
    office.is_put_through(&busy.0, anew);
}
