//! Calls back through a PBX that knows nothing of them: busy, asked for, dialled anew, talked.
//!
//! Spec: RULES R1, R2, R9, R10, R18, R19; RFC 3515; RFC 3725 §4.4.

mod asked;
mod camp_on;
mod intrusion;
mod lamps;
mod peers;
mod strangers;
mod watchers;

use std::time::Duration;

use super::super::kit::completion::{
    CANCEL_LAST, GUARD, LONG, MOMENT, REQUEST_LAST, connects, is_confirmed, just_before, picks_up,
    recalled, stops_ringing,
};
use super::super::kit::dialog::Dialog;
use super::super::kit::dialogs::is_watched;
use super::super::kit::draft::{ANSWER, Draft, OFFER, proxied, request, response, within};
use super::super::kit::message::{Message, uri_of};
use super::super::kit::party::Party;
use super::super::kit::password::CAMPON;
use super::super::kit::scenes::{hang_up, refused};
use super::super::kit::subject::{Setup, UPSTREAM};
use super::super::kit::world::World;
use super::{address, from, invite, registers};

/// How long a phone may take to tell what has become of the call that it was asked for.
const NEWS_MAX: Duration = Duration::from_secs(5);

/// How long a phone may take to dial again with its password.
const REPEATS_IN: Duration = Duration::from_secs(4);

/// A PBX with three users, all of whose calls cross us twice.
struct Office {
    world: World,
    pbx: Party,
    alice: Party,
    bob: Party,
    carol: Party,
    /// By which the PBX reaches Bob.
    to_bob: String,
}

/// A call that is up, as those have it who can hang up.
struct Talk {
    caller: Dialog,
    /// The PBX's ends of the out pass and of the in pass.
    outward: Dialog,
    inward: Dialog,
}

/// The passes of a call that rings.
struct Passing {
    /// The INVITE as the caller sent it.
    sent: Message,
    /// As the PBX got it.
    out: Message,
    /// As the PBX sent it on.
    back: Message,
    /// As the callee got it.
    arrived: Message,
}

impl Office {
    fn new(setup: Setup) -> Self {
        let world = World::new(setup);
        let pbx = world.upstream();
        let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| world.party(name));
        registers(&alice, "alice", &pbx);
        registers(&carol, "carol", &pbx);
        let to_bob = registers(&bob, "bob", &pbx);
        Self {
            world,
            pbx,
            alice,
            bob,
            carol,
            to_bob,
        }
    }

    /// Somebody's call crosses the PBX, and arrives at Bob's phone.
    #[track_caller]
    fn passes(&self, caller: &Party, draft: Draft) -> Passing {
        let sent = caller.sends(draft.with_sdp(OFFER));
        let out = self.pbx.receives("INVITE");
        let back = self.pbx.sends(proxied(&out, &self.to_bob));
        let arrived = self.bob.receives("INVITE");
        Passing {
            sent,
            out,
            back,
            arrived,
        }
    }

    /// Bob answers it.
    #[track_caller]
    fn is_answered(&self, caller: &Party, call: &Passing) -> Talk {
        let ok = response(&call.arrived, 200);
        self.is_answered_with(caller, call, ok)
    }

    /// The same with this 200, to which a session is added.
    #[track_caller]
    fn is_answered_with(&self, caller: &Party, call: &Passing, ok: Draft) -> Talk {
        let Passing {
            sent,
            out,
            back,
            arrived: _,
        } = call;
        let (pbx, bob) = (&self.pbx, &self.bob);
        bob.sends(ok.with_sdp(ANSWER));
        let answered = pbx.receives("200");
        pbx.acks(back, &answered);
        bob.receives("ACK");
        let tag = answered.tag_of_to();
        let told = pbx.sends(response(out, 200).tagged(tag).with_sdp(ANSWER));
        let [answer] = caller.receives_each(["200"]);
        caller.acks(sent, &answer);
        pbx.receives("ACK");
        Talk {
            caller: Dialog::of_caller(sent, &answer),
            outward: Dialog::of_callee(out, &told),
            inward: Dialog::of_caller(back, &answered),
        }
    }

    /// The caller hangs up.
    #[track_caller]
    fn is_over(&self, caller: &Party, talk: &Talk) {
        let (pbx, bob) = (&self.pbx, &self.bob);
        caller.hangs_up(&talk.caller);
        pbx.is_hung_up_on();
        caller.receives_each(["200"]);
        pbx.hangs_up(&talk.inward);
        bob.is_hung_up_on();
        pbx.receives("200");
    }

    /// Carol talks with Bob.
    #[track_caller]
    fn carol_talks(&self) -> Talk {
        let call = self.passes(&self.carol, invite("carol", "bob"));
        self.is_answered(&self.carol, &call)
    }

    /// Bob's phone refuses the call, and the PBX says the same.
    #[track_caller]
    fn is_refused(&self, caller: &Party, call: &Passing, status: u16) -> Message {
        let pbx = &self.pbx;
        self.bob.refuses(&call.arrived, status);
        let refusal = pbx.receives(&status.to_string());
        assert!(!refusal.has("Call-Info"), "{refusal}"); // R1
        pbx.acks(&call.back, &refusal);
        pbx.refuses(&call.out, status);
        refused(caller, &call.sent, &status.to_string())
    }

    /// Alice calls Bob, who is busy: the 486.
    #[track_caller]
    fn alice_finds_bob_busy(&self) -> Message {
        let call = self.passes(&self.alice, invite("alice", "bob"));
        let refusal = self.is_refused(&self.alice, &call, 486);
        self.world.advance(Duration::from_secs(1));
        refusal
    }

    #[track_caller]
    fn dials(&self, code: &str) {
        let draft = from(request("INVITE", &address(code)), "alice");
        let sent = self.alice.sends(draft.with_sdp(OFFER));
        is_confirmed(&self.alice, &sent);
    }

    /// Nothing is left to take back.
    #[track_caller]
    fn has_nothing_left(&self) {
        let draft = from(request("INVITE", &address(CANCEL_LAST)), "alice");
        let sent = self.alice.sends(draft.with_sdp(OFFER));
        refused(&self.alice, &sent, "404");
    }

    /// Alice waits for Bob, who has become free, and her phone has been picked up.
    #[track_caller]
    fn alice_is_called_back(&self) -> Dialog {
        let talk = self.carol_talks();
        self.alice_finds_bob_busy();
        self.dials(REQUEST_LAST);
        self.is_over(&self.carol, &talk);
        self.world.advance(GUARD);
        let recall = recalled(&self.alice);
        assert_eq!(uri_of(recall.header("From")), address("bob"));
        picks_up(&self.alice, &recall)
    }

    /// Her phone is asked to dial, and does.
    #[track_caller]
    fn dials_by_itself(&self, recall: &Dialog) -> Passing {
        let uri = self.takes_refer(recall);
        self.passes(&self.alice, from(request("INVITE", &uri), "alice"))
    }

    #[track_caller]
    fn takes_refer(&self, recall: &Dialog) -> String {
        let refer = self.alice.receives("REFER");
        assert_eq!(refer.call_id(), recall.call_id);
        self.alice.answers(&refer, 202);
        uri_of(refer.header("Refer-To")).to_owned()
    }

    /// Her phone tells how its call went, and the recall is over: the Reason.
    #[track_caller]
    fn tells(&self, recall: &Dialog, line: &str) -> String {
        let alice = &self.alice;
        alice.sends(
            within(recall, "NOTIFY")
                .with("Event", "refer")
                .with("Subscription-State", "terminated;reason=noresource")
                .with_body("message/sipfrag", line.as_bytes()),
        );
        alice.receives_each(["200"]);
        let [bye] = alice.receives_each(["BYE"]);
        alice.answers(&bye, 200);
        bye.find("Reason").unwrap_or_default().to_owned()
    }
}

#[test]
fn who_was_busy_behind_a_pbx_is_dialled_by_the_callers_own_phone() {
    let office = Office::new(Setup::Edge);
    let talk = office.carol_talks();
    let busy = office.alice_finds_bob_busy();
    let offer = busy.header("Call-Info");
    assert!(offer.ends_with(";purpose=call-completion;m=BS"), "{offer}"); // CC-30
    office.dials(REQUEST_LAST);
    office.is_over(&office.carol, &talk);
    office.world.advance(GUARD);
    let recall = recalled(&office.alice);
    let recall = picks_up(&office.alice, &recall);
    let uri = office.takes_refer(&recall);
    // R3: the original number, and what says that it completes a call.
    assert!(
        uri.starts_with(&format!("{};m=BS;cce=", address("bob"))),
        "{uri}"
    );
    let draft = from(request("INVITE", &uri), "alice");
    let call = office.passes(&office.alice, draft);
    assert_eq!(call.out.uri(), uri);
    let talk = office.is_answered(&office.alice, &call);
    assert_eq!(office.tells(&recall, "SIP/2.0 200 OK\r\n"), "");
    office.is_over(&office.alice, &talk);
    office.has_nothing_left();
    office.world.stays_quiet();
}

#[test]
fn a_pbx_may_ask_for_the_password_once_more() {
    let office = Office::new(Setup::Edge);
    let recall = office.alice_is_called_back();
    let uri = office.takes_refer(&recall);
    let draft = || from(request("INVITE", &uri), "alice").with("Call-ID", "anew@192.0.2.99");
    let sent = office.alice.sends(draft().with_sdp(OFFER));
    let out = office.pbx.receives("INVITE");
    let challenge = "Digest realm=\"pbx\", nonce=\"1\"";
    office
        .pbx
        .sends(response(&out, 407).with("Proxy-Authenticate", challenge));
    office.pbx.receives("ACK");
    refused(&office.alice, &sent, "407");
    // It is still her turn, and nobody else's.
    let again = draft().with("CSeq", "315 INVITE");
    let again = again.with(
        "Proxy-Authorization",
        "Digest username=\"alice\", realm=\"pbx\"",
    );
    let call = office.passes(&office.alice, again);
    let talk = office.is_answered(&office.alice, &call);
    office.tells(&recall, "SIP/2.0 200 OK\r\n");
    office.is_over(&office.alice, &talk);
    office.has_nothing_left();
}

/// R9: Bob is not kept waiting for who does not know the password.
#[test]
fn a_phone_that_does_not_repeat_its_call_frees_the_callee() {
    let office = Office::new(Setup::Edge);
    let recall = office.alice_is_called_back();
    let uri = office.takes_refer(&recall);
    let draft = from(request("INVITE", &uri), "alice").with_sdp(OFFER);
    let sent = office.alice.sends(draft);
    let out = office.pbx.receives("INVITE");
    let challenge = "Digest realm=\"pbx\", nonce=\"1\"";
    let challenged = response(&out, 407).with("Proxy-Authenticate", challenge);
    office.pbx.sends(challenged);
    office.pbx.receives("ACK");
    refused(&office.alice, &sent, "407");
    office.world.advance(just_before(REPEATS_IN + NEWS_MAX));
    office.alice.receives_nothing();
    office.world.advance(MOMENT);
    let [bye] = office.alice.receives_each(["BYE"]);
    assert_eq!(bye.call_id(), recall.call_id);
    office.alice.answers(&bye, 200);
    // She keeps her place.
    let talk = office.carol_talks();
    office.is_over(&office.carol, &talk);
    office.world.advance(GUARD);
    office.is_recalled_in_vain();
}

/// R1: A heard a 200, and B did not.
#[test]
fn a_call_that_voicemail_answered_can_be_completed() {
    let office = Office::new(Setup::Edge);
    let talk = office.carol_talks();
    let call = office.passes(&office.alice, invite("alice", "bob"));
    office.bob.refuses(&call.arrived, 486);
    let busy = office.pbx.receives("486");
    office.pbx.acks(&call.back, &busy);
    let voicemail = office.is_diverted(&call);
    hang_up(&office.alice, &voicemail, &office.pbx);
    office.world.advance(Duration::from_secs(1));
    office.dials(REQUEST_LAST);
    office.is_over(&office.carol, &talk);
    office.world.advance(GUARD);
    let recall = recalled(&office.alice);
    let recall = picks_up(&office.alice, &recall);
    let call = office.dials_by_itself(&recall);
    let talk = office.is_answered(&office.alice, &call);
    office.tells(&recall, "SIP/2.0 200 OK\r\n");
    office.is_over(&office.alice, &talk);
    office.has_nothing_left();
}

impl Office {
    /// Alice's phone rings, for she is still waited for; she lets it pass and takes it back.
    #[track_caller]
    fn is_recalled_in_vain(&self) {
        let recall = recalled(&self.alice);
        self.alice.refuses(&recall, 486);
        self.dials(CANCEL_LAST);
    }

    /// The PBX answers by itself: voicemail, or whom Bob forwards to.
    #[track_caller]
    fn is_diverted(&self, call: &Passing) -> Dialog {
        let answer = response(&call.out, 200).tagged("voicemail");
        self.pbx.sends(answer.with_sdp(ANSWER));
        let [answer] = self.alice.receives_each(["200"]);
        self.alice.acks(&call.sent, &answer);
        self.pbx.receives("ACK");
        Dialog::of_caller(&call.sent, &answer)
    }
}

#[test]
fn a_cc_call_that_voicemail_answers_is_none_that_completes() {
    let office = Office::new(Setup::Edge);
    let recall = office.alice_is_called_back();
    let call = office.dials_by_itself(&recall);
    office.bob.answers(&call.arrived, 180);
    office.pbx.receives("180");
    // The PBX has let it ring for long enough.
    office.pbx.gives_up(&call.back);
    stops_ringing(&office.bob, &call.arrived);
    let voicemail = office.is_diverted(&call);
    office.tells(&recall, "SIP/2.0 200 OK\r\n");
    // R9: the call stays.
    office.world.stays_quiet();
    hang_up(&office.alice, &voicemail, &office.pbx);
    // She is called back when Bob has talked again.
    let talk = office.carol_talks();
    office.is_over(&office.carol, &talk);
    office.world.advance(GUARD);
    office.is_recalled_in_vain();
}

#[test]
fn a_cc_call_that_finds_bob_busy_again_waits_for_his_next_sign() {
    let office = Office::new(Setup::Edge);
    let recall = office.alice_is_called_back();
    let call = office.dials_by_itself(&recall);
    office.is_refused(&office.alice, &call, 486);
    let reason = office.tells(&recall, "SIP/2.0 486 Busy Here\r\n");
    assert!(reason.starts_with("SIP;cause=486"), "{reason}");
    office.world.advance(LONG);
    office.alice.receives_nothing();
    let talk = office.carol_talks();
    office.is_over(&office.carol, &talk);
    office.world.advance(GUARD);
    let recall = recalled(&office.alice);
    let recall = picks_up(&office.alice, &recall);
    let call = office.dials_by_itself(&recall);
    let talk = office.is_answered(&office.alice, &call);
    office.tells(&recall, "SIP/2.0 200 OK\r\n");
    office.is_over(&office.alice, &talk);
}

/// R18: REFER sent, and the request is taken back at the other phone.
#[test]
fn a_request_taken_back_while_the_phone_dials_is_withdrawn_at_the_pbx() {
    let office = Office::new(Setup::Edge);
    let cell = office.world.party("cell");
    registers(&cell, "alice", &office.pbx);
    let recall = office.alice_is_called_back();
    let call = office.dials_by_itself(&recall);
    let code = from(request("INVITE", &address(CANCEL_LAST)), "alice");
    let code = cell.sends(code.with_sdp(OFFER));
    let cancel = office.pbx.receives_copies("CANCEL");
    // Nothing was said on the out pass, so that there is nothing to cancel yet.
    assert!(cancel.is_empty());
    office.pbx.answers(&call.out, 180);
    let cancel = office.pbx.receives("CANCEL");
    office.pbx.answers(&cancel, 200);
    office.pbx.refuses(&call.out, 487);
    office.pbx.cancels(&call.back);
    office.bob.answers(&call.arrived, 180);
    let [_, ended] = office.pbx.receives_each(["200", "487"]);
    office.pbx.acks(&call.back, &ended);
    let cancel = office.bob.receives("CANCEL");
    office.bob.answers(&cancel, 200);
    office.bob.refuses(&call.arrived, 487);
    let [ended] = office.alice.receives_each(["487"]);
    office.alice.acks(&call.sent, &ended);
    let [bye] = office.alice.receives_each(["BYE"]);
    assert_eq!(bye.call_id(), recall.call_id);
    office.alice.answers(&bye, 200);
    is_confirmed(&cell, &code);
}

/// R2: Bob is not engaged when he refuses, so that he has to be seen talking.
#[test]
fn a_busy_signal_of_a_free_phone_is_do_not_disturb() {
    let office = Office::new(Setup::Edge);
    office.alice_finds_bob_busy();
    office.dials(REQUEST_LAST);
    office.world.advance(LONG);
    office.alice.receives_nothing();
    let talk = office.carol_talks();
    office.is_over(&office.carol, &talk);
    office.world.advance(GUARD);
    office.is_recalled_in_vain();
}

/// R2: with a second call on the line nobody has become free.
#[test]
fn who_has_another_call_left_is_not_free() {
    let office = Office::new(Setup::Edge);
    let first = office.carol_talks();
    let second = office.carol_talks();
    office.alice_finds_bob_busy();
    office.dials(REQUEST_LAST);
    office.is_over(&office.carol, &first);
    office.world.advance(LONG);
    office.alice.receives_nothing();
    office.is_over(&office.carol, &second);
    office.world.advance(GUARD);
    office.is_recalled_in_vain();
}

/// R10: no REFER, and an address that the PBX trusts.
#[test]
fn a_phone_that_cannot_dial_is_put_through_from_our_own_address() {
    let office = Office::new(Setup::EdgeOwnCalls);
    let side = office.world.at_own_calls("pbx", UPSTREAM);
    is_put_through(&office, &side, |_| None);
}

/// R10, R4: no REFER, and an account at the PBX.
#[test]
fn a_phone_that_cannot_dial_is_put_through_with_our_own_credentials() {
    let office = Office::new(Setup::EdgeOwnAccount);
    let pbx = office.pbx.clone();
    is_put_through(&office, &pbx, |out| {
        assert_eq!(out.find("Proxy-Authorization"), None, "{out}");
        let challenge = response(out, 407).with("Proxy-Authenticate", CHALLENGE);
        pbx.sends(challenge);
        pbx.receives("ACK");
        let again = pbx.receives("INVITE");
        let credentials = again.header("Proxy-Authorization");
        CAMPON.is_proven_by(credentials, CHALLENGE, &again);
        Some(again)
    });
}

/// Alice's phone refuses REFER, and a call of our own leaves on this side of the PBX; what `asks`
/// gives is what it has become when the PBX goes on with it.
#[track_caller]
fn is_put_through(office: &Office, side: &Party, asks: impl Fn(&Message) -> Option<Message>) {
    let talk = office.carol_talks();
    office.alice_finds_bob_busy();
    office.dials(REQUEST_LAST);
    office.is_over(&office.carol, &talk);
    office.world.advance(GUARD);
    let recall = recalled(&office.alice);
    let recall = picks_up(&office.alice, &recall);
    let refer = office.alice.receives("REFER");
    office.alice.answers(&refer, 501);
    let out = side.receives("INVITE");
    let out = asks(&out).unwrap_or(out);
    assert_eq!(uri_of(out.header("From")), address("alice")); // R4
    assert!(out.uri().starts_with(&address("bob")), "{out}");
    // The PBX calls Bob with ids of its own, and Alice's number.
    let onward = request("INVITE", &office.to_bob)
        .with("From", &format!("<{}>;tag=b2bua", address("alice")))
        .with_sdp(OFFER);
    let back = office.pbx.sends(onward);
    let arrived = office.bob.receives("INVITE");
    let answered = office.bob.takes_call(&arrived, &office.pbx, &back);
    connects(&office.alice, side, &out);
    hang_up(&office.alice, &recall, side);
    hang_up(
        &office.pbx,
        &Dialog::of_caller(&back, &answered),
        &office.bob,
    );
    office.has_nothing_left();
}

/// What the PBX asks for.
const CHALLENGE: &str =
    "Digest realm=\"pbx\", nonce=\"n/1\", opaque=\"o\", qop=\"auth\", algorithm=MD5";

/// R4: without an address of our own, nothing of ours leaves with what is relayed.
#[test]
fn a_phone_that_cannot_dial_is_let_go_without_such_an_address() {
    let office = Office::new(Setup::Edge);
    let recall = office.alice_is_called_back();
    let refer = office.alice.receives("REFER");
    office.alice.answers(&refer, 501);
    let [bye] = office.alice.receives_each(["BYE"]);
    assert_eq!(bye.call_id(), recall.call_id);
    assert!(bye.header("Reason").starts_with("SIP;cause=503"), "{bye}");
    office.alice.answers(&bye, 200);
    office.world.advance(Duration::from_secs(30));
    office.pbx.receives_nothing();
    office.dials(CANCEL_LAST);
}

/// R10: opted in, Bob's phone rings without the PBX.
#[test]
fn a_callee_may_be_rung_without_the_pbx() {
    let office = Office::new(Setup::EdgeDirect);
    let recall = office.alice_is_called_back();
    let arrived = office.bob.receives("INVITE");
    office.pbx.receives_nothing();
    connects(&office.alice, &office.bob, &arrived);
    hang_up(&office.alice, &recall, &office.bob);
    office.has_nothing_left();
}

#[test]
fn who_reaches_the_callee_by_himself_needs_no_recall() {
    let office = Office::new(Setup::Edge);
    let talk = office.carol_talks();
    office.alice_finds_bob_busy();
    office.dials(REQUEST_LAST);
    office.is_over(&office.carol, &talk);
    let call = office.passes(&office.alice, invite("alice", "bob"));
    let talk = office.is_answered(&office.alice, &call);
    office.is_over(&office.alice, &talk);
    office.has_nothing_left();
    office.world.stays_quiet();
}

/// R2: Bob talks on a phone that we do not see, and the PBX tells.
#[test]
fn a_talk_on_a_phone_that_only_the_pbx_sees_is_waited_for() {
    let office = Office::new(Setup::EdgeTold);
    let Office {
        world, pbx, alice, ..
    } = &office;
    let sent = alice.sends(invite("alice", "bob").with_sdp(OFFER));
    let out = pbx.receives("INVITE");
    pbx.refuses(&out, 486);
    refused(alice, &sent, "486");
    let draft = from(request("INVITE", &address(REQUEST_LAST)), "alice");
    let code = alice.sends(draft.with_sdp(OFFER));
    let watch = is_watched(pbx, &address("bob"));
    is_confirmed(alice, &code);
    watch.tells(pbx, 0, "full", &[("1", "confirmed")]);
    world.advance(LONG);
    alice.receives_nothing();
    watch.tells(pbx, 1, "partial", &[("1", "terminated")]);
    world.advance(GUARD);
    let recall = recalled(alice);
    alice.refuses(&recall, 486);
    let draft = from(request("INVITE", &address(CANCEL_LAST)), "alice");
    let code = alice.sends(draft.with_sdp(OFFER));
    watch.is_left(pbx);
    is_confirmed(alice, &code);
}

/// R2: a PBX that does not tell leaves what is seen of the phones themselves.
#[test]
fn a_pbx_that_knows_no_dialog_events_takes_nothing_from_what_is_seen() {
    let office = Office::new(Setup::EdgeTold);
    let talk = office.carol_talks();
    office.alice_finds_bob_busy();
    let draft = from(request("INVITE", &address(REQUEST_LAST)), "alice");
    let code = office.alice.sends(draft.with_sdp(OFFER));
    let [asked] = office.pbx.receives_each(["SUBSCRIBE"]);
    office.pbx.answers(&asked, 489);
    is_confirmed(&office.alice, &code);
    office.is_over(&office.carol, &talk);
    office.world.advance(GUARD);
    office.is_recalled_in_vain();
    assert_eq!(office.world.counted("dialog_watches_refused"), 1);
}

/// R9: Carol's call to Bob would take him from Alice, whose phone rings.
#[test]
fn a_callee_whose_caller_rings_is_busy_to_the_calls_of_other_phones() {
    let office = Office::new(Setup::EdgeReserving);
    let Office {
        pbx, alice, bob, ..
    } = &office;
    let talk = office.carol_talks();
    office.alice_finds_bob_busy();
    office.dials(REQUEST_LAST);
    office.is_over(&office.carol, &talk);
    office.world.advance(GUARD);
    let recall = recalled(alice);
    let sent = office.carol.sends(invite("carol", "bob").with_sdp(OFFER));
    let out = pbx.receives("INVITE");
    let back = pbx.sends(proxied(&out, &office.to_bob));
    let busy = pbx.receives("486");
    pbx.acks(&back, &busy);
    pbx.refuses(&out, 486);
    let busy = refused(&office.carol, &sent, "486");
    assert!(busy.has("Call-Info"), "{busy}");
    bob.receives_nothing();
    // A call that is nobody's other half is let through, and takes him.
    let stranger = request("INVITE", &office.to_bob)
        .with("From", "<sip:0123@pbx.example>;tag=pstn")
        .with_sdp(OFFER);
    let back = pbx.sends(stranger);
    let rings = bob.receives("INVITE");
    let [cancel] = alice.receives_each(["CANCEL"]);
    alice.answers(&cancel, 200);
    alice.refuses(&recall, 487);
    bob.refuses(&rings, 486);
    let busy = pbx.receives("486");
    pbx.acks(&back, &busy);
    office.dials(CANCEL_LAST);
}

/// R9: his own caller's call is not kept from him.
#[test]
fn a_callee_who_is_kept_free_is_reached_by_the_one_he_is_kept_for() {
    let office = Office::new(Setup::EdgeReserving);
    let recall = office.alice_is_called_back();
    let call = office.dials_by_itself(&recall);
    let talk = office.is_answered(&office.alice, &call);
    assert_eq!(office.tells(&recall, "SIP/2.0 200 OK\r\n"), "");
    office.is_over(&office.alice, &talk);
    office.has_nothing_left();
}

/// CC-22: what campon offered to Alice is nothing to Carol, and nothing the PBX could know.
#[test]
fn an_offer_is_called_by_nobody_but_its_owner_in_her_turn() {
    let office = Office::new(Setup::Edge);
    let talk = office.carol_talks();
    let busy = office.alice_finds_bob_busy();
    let offer = uri_of(busy.header("Call-Info")).to_owned();
    for (party, user) in [(&office.carol, "carol"), (&office.alice, "alice")] {
        let draft = from(request("INVITE", &offer), user);
        let sent = party.sends(draft.with_sdp(OFFER));
        refused(party, &sent, "404");
        office.pbx.receives_nothing();
    }
    office.is_over(&office.carol, &talk);
}
