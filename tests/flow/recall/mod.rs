//! By which way a caller who was called back reaches his callee, and how that is taken back.
//!
//! Spec: RFC 3515; RFC 3725 §4.4; RULES R9, R10, R18.

mod account;
mod announced;
mod methods;
mod peers;
mod uncomplete;

use super::kit::completion::{BobIsBusy, REQUEST_LAST, dials, picks_up, recalled};
use super::kit::dialog::Dialog;
use super::kit::draft::{ANSWER, Draft, OFFER, request, response, within};
use super::kit::message::{Message, uri_of};
use super::kit::party::Party;
use super::kit::subject::Setup;

/// Alice has asked for Bob, is called back, and has picked up: her end of the recall.
#[track_caller]
fn answered(setup: Setup) -> (BobIsBusy, Dialog) {
    let scene = BobIsBusy::with(setup);
    dials(&scene.alice, REQUEST_LAST);
    scene.bob_is_free();
    let recall = recalled(&scene.alice);
    let dialog = picks_up(&scene.alice, &recall);
    (scene, dialog)
}

/// Alice's phone is asked to dial, and says yes: what it is to dial.
#[track_caller]
fn takes_refer(alice: &Party, dialog: &Dialog) -> String {
    let refer = alice.receives("REFER");
    assert_eq!(refer.call_id(), dialog.call_id);
    alice.answers(&refer, 202);
    uri_of(refer.header("Refer-To")).to_owned()
}

/// It tells how its call goes: this status line, and whether more is to come.
#[track_caller]
fn tells(alice: &Party, dialog: &Dialog, line: &str, state: &str) {
    alice.sends(refer_news(dialog, line, state));
    let [taken] = alice.receives_each(["200"]);
    assert_eq!(taken.cseq_method(), "NOTIFY");
}

fn refer_news(dialog: &Dialog, line: &str, state: &str) -> Draft {
    within(dialog, "NOTIFY")
        .with("Event", "refer")
        .with("Subscription-State", state)
        .with_body("message/sipfrag", format!("{line}\r\n").as_bytes())
}

const MORE_TO_COME: &str = "active;expires=60";
const LAST: &str = "terminated;reason=noresource";

/// Alice's phone dials what it was asked to.
fn dials_for(alice: &Party, uri: &str) -> Message {
    alice.sends(request("INVITE", uri).with_sdp(OFFER))
}

/// Her call is answered: her end, and the callee's.
#[track_caller]
fn is_answered(alice: &Party, sent: &Message, bob: &Party, rings: &Message) -> (Dialog, Dialog) {
    let answered = bob.sends(response(rings, 200).with_sdp(ANSWER));
    let [answer] = alice.receives_each(["200"]);
    alice.acks(sent, &answer);
    bob.receives("ACK");
    (
        Dialog::of_caller(sent, &answer),
        Dialog::of_callee(rings, &answered),
    )
}

/// The recall is ended by campon: the Reason.
#[track_caller]
fn is_parted(alice: &Party, dialog: &Dialog) -> String {
    let [bye] = alice.receives_each(["BYE"]);
    assert_eq!(bye.call_id(), dialog.call_id);
    alice.answers(&bye, 200);
    bye.find("Reason").unwrap_or_default().to_owned()
}
