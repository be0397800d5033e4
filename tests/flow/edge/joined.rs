//! What the in pass of a call tells its out pass, and what becomes of it.
//!
//! Spec: RULES R1, R19.

use super::super::kit::completion::REQUEST_LAST;
use super::super::kit::dialog::Dialog;
use super::super::kit::draft::{ANSWER, Draft, OFFER, cancel, proxied, request, response};
use super::super::kit::message::Message;
use super::super::kit::party::Party;
use super::super::kit::scenes::{gives_in, hang_up, refused};
use super::super::kit::world::World;
use super::{edge, invite, registers};

/// Alice calls Bob through a PBX, which calls Bob's phone.
struct Scene {
    world: World,
    pbx: Party,
    alice: Party,
    bob: Party,
    /// By which the PBX reaches Bob's phone.
    alias: String,
}

/// Alice's INVITE, and what the PBX got.
struct Out {
    sent: Message,
    at_pbx: Message,
}

/// The PBX's INVITE, and what Bob's phone got.
struct Inward {
    sent: Message,
    at_bob: Message,
}

impl Scene {
    fn new() -> Self {
        let (world, pbx) = edge();
        let (alice, bob) = (world.party("alice"), world.party_over_tcp("bob"));
        registers(&alice, "alice", &pbx);
        let alias = registers(&bob, "bob", &pbx);
        Self {
            world,
            pbx,
            alice,
            bob,
            alias,
        }
    }

    #[track_caller]
    fn calls(&self) -> Out {
        let sent = self.alice.sends(invite("alice", "bob").with_sdp(OFFER));
        let at_pbx = self.pbx.receives("INVITE");
        Out { sent, at_pbx }
    }

    /// A PBX that is a proxy: ids cross.
    #[track_caller]
    fn passes_on(&self, out: &Out) -> Inward {
        self.comes_back(proxied(&out.at_pbx, &self.alias))
    }

    /// A PBX that is a B2BUA: the ids are its own, and this is whom it shows.
    #[track_caller]
    fn calls_anew(&self, from: &str) -> Inward {
        let from = format!("<{from}>;tag=pbx");
        let call = request("INVITE", &self.alias).with("From", &from);
        self.comes_back(call.with_sdp(OFFER))
    }

    #[track_caller]
    fn comes_back(&self, draft: Draft) -> Inward {
        let sent = self.pbx.sends(draft);
        let at_bob = self.bob.receives("INVITE");
        assert!(!at_bob.has("Call-Info"), "{at_bob}");
        Inward { sent, at_bob }
    }

    /// Bob's phone refuses; what the PBX is told. Nothing is added there.
    #[track_caller]
    fn bob_refuses(&self, inward: &Inward, status: u16) {
        self.bob.refuses(&inward.at_bob, status);
        let refusal = refused(&self.pbx, &inward.sent, &status.to_string());
        assert!(!refusal.has("Call-Info"), "{refusal}");
    }

    /// Bob's phone rings until the PBX has enough of it.
    #[track_caller]
    fn bob_rings_in_vain(&self, inward: &Inward, reason: &str) {
        self.bob.answers(&inward.at_bob, 180);
        self.pbx.receives("180");
        self.pbx.sends(cancel(&inward.sent).with("Reason", reason));
        let [_, ended] = self.pbx.receives_each(["200", "487"]);
        self.pbx.acks(&inward.sent, &ended);
        gives_in(&self.bob, &inward.at_bob);
    }

    /// The PBX gives the call up; what Alice is told.
    #[track_caller]
    fn fails(&self, out: &Out, status: u16) -> Message {
        self.pbx.refuses(&out.at_pbx, status);
        refused(&self.alice, &out.sent, &status.to_string())
    }

    /// Somebody else answers for Bob; Alice hears it, and hangs up.
    #[track_caller]
    fn voicemail_answers(&self, out: &Out) -> Message {
        self.pbx.sends(response(&out.at_pbx, 200).with_sdp(ANSWER));
        let answer = self.alice.receives("200");
        self.alice.acks(&out.sent, &answer);
        self.pbx.receives("ACK");
        let dialog = Dialog::of_caller(&out.sent, &answer);
        hang_up(&self.alice, &dialog, &self.pbx);
        answer
    }

    /// Alice dials the code: she is confirmed, or told that there is nothing to complete.
    #[track_caller]
    fn alice_asks(&self) -> u16 {
        let sent = self
            .alice
            .sends(invite("alice", REQUEST_LAST).with_sdp(OFFER));
        let answer = self.alice.receives_final();
        self.alice.acks(&sent, &answer);
        if answer.status() == 200 {
            self.alice.is_hung_up_on();
        }
        self.pbx.receives_nothing();
        answer.status()
    }

    /// The request is taken back, so that nothing is left.
    #[track_caller]
    fn alice_takes_back(&self) {
        let code = super::super::kit::completion::CANCEL_ALL;
        let sent = self.alice.sends(invite("alice", code).with_sdp(OFFER));
        let [done] = self.alice.receives_each(["200"]);
        self.alice.acks(&sent, &done);
        self.alice.is_hung_up_on();
    }
}

/// What the Call-Info of a failure offers.
fn offered(failure: &Message) -> Option<&str> {
    let info = failure.find("Call-Info")?;
    assert!(info.contains(";purpose=call-completion"), "{info}");
    info.split_once(";m=").map(|(_, m)| m)
}

#[test]
fn a_busy_phone_is_seen_through_a_proxy() {
    let scene = Scene::new();
    let out = scene.calls();
    let inward = scene.passes_on(&out);
    scene.bob_refuses(&inward, 486);
    // Whatever the PBX makes of it.
    let failure = scene.fails(&out, 480);
    assert_eq!(offered(&failure), Some("BS"));
    assert_eq!(scene.alice_asks(), 200);
    scene.alice_takes_back();
}

#[test]
fn a_busy_phone_is_seen_through_a_b2bua_that_shows_the_caller() {
    let scene = Scene::new();
    let out = scene.calls();
    let inward = scene.calls_anew("sip:alice@192.0.2.200");
    scene.bob_refuses(&inward, 486);
    let failure = scene.fails(&out, 480);
    assert_eq!(offered(&failure), Some("BS"));
}

/// Nobody knows whose call it was: only what the PBX says counts, and that is no reason.
#[test]
fn a_call_whose_caller_is_hidden_is_not_joined() {
    let scene = Scene::new();
    let out = scene.calls();
    let inward = scene.calls_anew("sip:anonymous@anonymous.invalid");
    scene.bob_refuses(&inward, 486);
    let failure = scene.fails(&out, 480);
    assert_eq!(offered(&failure), None);
}

/// Two calls of the same caller to the same user cannot be told apart by number.
#[test]
fn two_open_calls_that_fit_are_not_joined() {
    let scene = Scene::new();
    let (one, two) = (scene.calls(), scene.calls());
    let inward = scene.calls_anew("sip:alice@192.0.2.200");
    scene.bob_refuses(&inward, 486);
    for out in [one, two] {
        assert_eq!(offered(&scene.fails(&out, 480)), None);
    }
}

#[test]
fn a_phone_that_rang_in_vain_did_not_reply() {
    let scene = Scene::new();
    let out = scene.calls();
    let inward = scene.passes_on(&out);
    scene.bob_rings_in_vain(&inward, "SIP;cause=487");
    let failure = scene.fails(&out, 500);
    assert_eq!(offered(&failure), Some("NR"));
}

/// Another of his phones was answered: that this one rang says nothing.
#[test]
fn a_phone_that_rang_while_another_was_answered_says_nothing() {
    let scene = Scene::new();
    let out = scene.calls();
    let inward = scene.passes_on(&out);
    scene.bob_rings_in_vain(&inward, "SIP;cause=200;text=\"Call completed elsewhere\"");
    let failure = scene.fails(&out, 500);
    assert_eq!(offered(&failure), None);
}

#[test]
fn a_phone_that_has_gone_is_not_logged_in() {
    let scene = Scene::new();
    scene.bob.disconnects();
    let out = scene.calls();
    let sent = scene.pbx.sends(proxied(&out.at_pbx, &scene.alias));
    refused(&scene.pbx, &sent, "480");
    let failure = scene.fails(&out, 500);
    assert_eq!(offered(&failure), Some("NL"));
}

#[test]
fn who_says_no_is_not_asked_again() {
    let scene = Scene::new();
    let out = scene.calls();
    let inward = scene.passes_on(&out);
    scene.bob_refuses(&inward, 603);
    let failure = scene.fails(&out, 486);
    assert_eq!(offered(&failure), None);
}

/// R1: Alice heard a voice, and it was not Bob's.
#[test]
fn a_call_that_voicemail_answered_can_be_completed() {
    for status in [486, 480] {
        let scene = Scene::new();
        let out = scene.calls();
        let inward = scene.passes_on(&out);
        scene.bob_refuses(&inward, status);
        let answer = scene.voicemail_answers(&out);
        // What a 480 of a phone means nobody knows; that it is busy it says.
        let offer = (status == 486).then_some("BS");
        assert_eq!(offered(&answer), offer, "{answer}");
        assert_eq!(scene.alice_asks(), 200, "after {status}");
        scene.alice_takes_back();
    }
}

/// The PBX forwards all of Bob's calls, and asks none of his phones.
#[test]
fn a_call_that_never_reached_a_phone_can_be_completed() {
    let scene = Scene::new();
    let out = scene.calls();
    let answer = scene.voicemail_answers(&out);
    // R1: nothing was seen of his phones.
    assert_eq!(offered(&answer), None, "{answer}");
    assert_eq!(scene.alice_asks(), 200);
    scene.alice_takes_back();
}

/// R1: she hears the mailbox, and her phone that he did not pick up.
#[test]
fn the_answer_of_the_mailbox_offers_to_wait_for_who_rang_in_vain() {
    let scene = Scene::new();
    let out = scene.calls();
    let inward = scene.passes_on(&out);
    scene.bob_rings_in_vain(&inward, "SIP;cause=487");
    let answer = scene.voicemail_answers(&out);
    assert_eq!(offered(&answer), Some("NR"), "{answer}");
    assert_eq!(scene.alice_asks(), 200);
    scene.alice_takes_back();
}

#[test]
fn a_call_that_was_answered_is_done() {
    let scene = Scene::new();
    for anew in [false, true] {
        let out = scene.calls();
        // Joined, and not: that one of his phones was answered is enough.
        let inward = if anew {
            scene.calls_anew("sip:anonymous@anonymous.invalid")
        } else {
            scene.passes_on(&out)
        };
        scene
            .bob
            .sends(response(&inward.at_bob, 200).with_sdp(ANSWER));
        let answered = scene.pbx.receives("200");
        scene.pbx.acks(&inward.sent, &answered);
        scene.bob.receives("ACK");
        scene.voicemail_answers(&out);
        let dialog = Dialog::of_caller(&inward.sent, &answered);
        hang_up(&scene.pbx, &dialog, &scene.bob);
        assert_eq!(scene.alice_asks(), 403);
    }
}

/// A number of nobody who registers through us: a service, a hunt group, the world.
#[test]
fn nothing_is_offered_for_a_number_of_nobodys() {
    let scene = Scene::new();
    let sent = scene.alice.sends(invite("alice", "700").with_sdp(OFFER));
    let at_pbx = scene.pbx.receives("INVITE");
    let failure = scene.fails(&Out { sent, at_pbx }, 486);
    assert_eq!(offered(&failure), None);
    drop(scene.world);
}

/// R1: the number counts, whatever host was dialled.
#[test]
fn a_user_is_known_by_his_number_at_any_host() {
    let scene = Scene::new();
    let draft = super::from(request("INVITE", "sip:bob@192.0.2.200;user=phone"), "alice");
    let sent = scene.alice.sends(draft.with_sdp(OFFER));
    let at_pbx = scene.pbx.receives("INVITE");
    assert_eq!(at_pbx.uri(), "sip:bob@192.0.2.200;user=phone");
    let failure = scene.fails(&Out { sent, at_pbx }, 486);
    assert_eq!(offered(&failure), Some("BS"));
}
