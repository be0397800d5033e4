//! Codes that name a number or an index, and the one that tells which requests there are.
//!
//! Spec: TS 24.642 §4.5; RFC 3428; DESIGN §8.2.

use std::time::Duration;

use crate::flow::kit::completion::{
    BobIsBusy, CANCEL_ALL, REQUEST_LAST, dials, dials_in_vain, speaks_with, talks_after_recall,
};
use crate::flow::kit::dialog::Dialog;
use crate::flow::kit::draft::{OFFER, invite};
use crate::flow::kit::message::without_tag;
use crate::flow::kit::party::Party;
use crate::flow::kit::scenes::{hang_up, refused};

const LIST: &str = "*%2337%23";

/// Alice has called Bob and then Dave in vain, both of whom speak with others.
struct TwoAreBusy {
    bob: BobIsBusy,
    dave: Party,
    erin: Party,
    talk: Dialog,
}

impl TwoAreBusy {
    fn new() -> Self {
        let bob = BobIsBusy::new();
        let [dave, erin] = ["dave", "erin"].map(|name| bob.world.phone(name));
        let talk = speaks_with(&erin, "dave", &dave);
        let sent = bob.alice.sends(invite("dave").with_sdp(OFFER));
        refused(&bob.alice, &sent, "486");
        bob.world.advance(Duration::from_secs(1));
        Self {
            bob,
            dave,
            erin,
            talk,
        }
    }

    /// Both have time again.
    fn are_free(&self) {
        hang_up(&self.erin, &self.talk, &self.dave);
        self.bob.bob_is_free();
    }
}

/// What the list says.
#[track_caller]
fn lists(caller: &Party, expected: &str) {
    let sent = caller.sends(invite(LIST).with_sdp(OFFER));
    let [text, done] = caller.receives_each(["MESSAGE", "200"]);
    assert_eq!(text.sdp(), expected);
    assert_eq!(text.header("Content-Type"), "text/plain;charset=UTF-8");
    assert_eq!(text.uri(), caller.uri());
    assert_eq!(without_tag(text.header("From")), sent.header("To"));
    assert_ne!(text.call_id(), sent.call_id());
    caller.answers(&text, 200);
    caller.acks(&sent, &done);
    caller.is_hung_up_on();
}

#[test]
fn a_code_with_a_number_asks_for_the_call_to_that_number() {
    let both = TwoAreBusy::new();
    let BobIsBusy {
        world, alice, bob, ..
    } = &both.bob;
    dials(alice, "*37*bob%23");
    lists(alice, "1: bob, waiting");
    both.are_free();
    // Dave's was the last one that failed.
    talks_after_recall(alice, bob);
    world.stays_quiet();
}

#[test]
fn a_code_with_a_number_that_was_not_called_in_vain_is_refused() {
    let both = TwoAreBusy::new();
    let alice = &both.bob.alice;
    dials_in_vain(alice, "*37*carol%23", "403"); // CC-73
    let world = &both.bob.world;
    world.advance(Duration::from_secs(31));
    dials_in_vain(alice, "*37*bob%23", "403");
    both.are_free();
    world.stays_quiet();
}

#[test]
fn a_list_tells_a_caller_of_his_own_requests_by_their_numbers() {
    let both = TwoAreBusy::new();
    let (alice, erin) = (&both.bob.alice, &both.erin);
    lists(alice, "no requests");
    dials(alice, REQUEST_LAST);
    dials(alice, "*37*bob%23");
    lists(alice, "1: dave, waiting\r\n2: bob, waiting");
    lists(erin, "no requests");
    dials(alice, CANCEL_ALL);
    lists(alice, "no requests");
    both.are_free();
}

#[test]
fn a_code_with_an_index_takes_that_request_back_and_leaves_the_others() {
    let both = TwoAreBusy::new();
    let BobIsBusy {
        world, alice, bob, ..
    } = &both.bob;
    dials(alice, REQUEST_LAST);
    dials(alice, "*37*bob%23");
    dials_in_vain(&both.erin, "%2337*1%23", "404");
    dials(alice, "%2337*1%23");
    dials_in_vain(alice, "%2337*1%23", "404");
    lists(alice, "2: bob, waiting");
    both.are_free();
    talks_after_recall(alice, bob);
    world.stays_quiet();
}

#[test]
fn a_phone_that_takes_no_messages_reads_the_list_in_the_refusal() {
    let both = TwoAreBusy::new();
    let alice = &both.bob.alice;
    dials(alice, REQUEST_LAST);
    dials(alice, "*37*bob%23");
    let allow = "INVITE, ACK, CANCEL, BYE";
    let sent = alice.sends(invite(LIST).with("Allow", allow).with_sdp(OFFER));
    let told = refused(alice, &sent, "480");
    assert_eq!(told.phrase(), "1: dave, waiting; 2: bob, waiting");
    dials(alice, CANCEL_ALL);
    let sent = alice.sends(invite(LIST).with("Allow", allow).with_sdp(OFFER));
    assert_eq!(refused(alice, &sent, "480").phrase(), "no requests");
    both.are_free();
}

#[test]
fn who_is_no_user_has_no_list() {
    let scene = BobIsBusy::new();
    let mallory = scene.world.party("mallory");
    let sent = mallory.sends(invite(LIST).with_sdp(OFFER));
    refused(&mallory, &sent, "404");
    scene.bob_hangs_up();
}
