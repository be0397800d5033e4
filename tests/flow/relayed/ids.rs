//! Requests outside of calls that name a call: each side knows it by ids of its own.
//!
//! Spec: RFC 4235 §4.1; RFC 4538; RFC 5589 §7.3; RFC 7647.

use crate::flow::kit::dialog::Dialog;
use crate::flow::kit::draft::{OFFER, invite, request, response};
use crate::flow::kit::message::{Message, param};
use crate::flow::kit::party::Party;
use crate::flow::kit::relayed::{CAROL, alice_watches_carol, ends, notify, phone_and_pbx, tells};
use crate::flow::kit::scenes::hang_up;

/// Alice speaks with Carol, who is behind the PBX.
struct Talk {
    /// The 200 as Alice got it.
    near: Message,
    /// The 200 as the PBX sent it.
    far: Message,
    /// Alice's end.
    alice: Dialog,
}

#[track_caller]
fn talk(alice: &Party, pbx: &Party) -> Talk {
    let sent = alice.sends(invite(CAROL).with_sdp(OFFER));
    let arrived = pbx.receives("INVITE");
    let far = pbx.sends(response(&arrived, 200).with_sdp(OFFER));
    let near = alice.receives("200");
    alice.acks(&sent, &near);
    pbx.receives("ACK");
    let alice = Dialog::of_caller(&sent, &near);
    Talk { near, far, alice }
}

/// A document about one dialog of Carol's, as whoever knows it by this 200 writes it.
fn document(answer: &Message) -> String {
    let (call_id, local, remote) = (answer.call_id(), answer.tag_of_to(), answer.tag_of_from());
    format!(
        "<?xml version=\"1.0\"?>\n<dialog-info xmlns=\"urn:ietf:params:xml:ns:dialog-info\" \
         version=\"1\" state=\"full\" entity=\"{CAROL}\">\n <dialog id=\"a\" call-id=\"{call_id}\" \
         local-tag=\"{local}\" remote-tag=\"{remote}\" direction=\"recipient\">\
         <state>confirmed</state></dialog>\n</dialog-info>\n"
    )
}

#[test]
fn a_watcher_knows_his_own_call_by_his_own_ids() {
    let (_world, alice, pbx) = phone_and_pbx();
    let call = talk(&alice, &pbx);
    let scene = alice_watches_carol(&alice, &pbx);
    let told = notify(&pbx, &scene.far, "active;expires=3600");
    let written = document(&call.far);
    let told = told.with_body("application/dialog-info+xml", written.as_bytes());
    let told = tells(&pbx, told, &alice);
    // S-145: nothing else of the document is touched.
    assert_eq!(told.sdp(), document(&call.near));
    ends(&pbx, &scene.far, &alice);
    hang_up(&alice, &call.alice, &pbx);
}

#[test]
fn a_refer_that_is_about_a_call_goes_to_its_other_end() {
    let (_world, alice, pbx) = phone_and_pbx();
    let call = talk(&alice, &pbx);
    let target = |answer: &Message| {
        let (call_id, local, remote) = (answer.call_id(), answer.tag_of_to(), answer.tag_of_from());
        format!("{call_id};local-tag={local};remote-tag={remote}")
    };
    let refer = request("REFER", &call.alice.target)
        .with("Target-Dialog", &target(&call.near))
        .with("Refer-To", "<sip:dave@pbx.example>")
        .with("Contact", &format!("<{}>", alice.uri()));
    alice.sends(refer);
    let arrived = pbx.receives("REFER");
    // S-166
    assert_eq!(arrived.uri(), pbx.uri());
    assert_eq!(arrived.header("Target-Dialog"), target(&call.far));
    assert_ne!(arrived.call_id(), call.far.call_id());
    pbx.answers(&arrived, 603);
    alice.receives("603");
    hang_up(&alice, &call.alice, &pbx);
}

#[test]
fn a_refer_names_the_call_that_it_replaces_as_its_party_knows_it() {
    let (_world, alice, pbx) = phone_and_pbx();
    let call = talk(&alice, &pbx);
    let replaces = |answer: &Message| {
        let (call_id, to, from) = (answer.call_id(), answer.tag_of_to(), answer.tag_of_from());
        format!(
            "{}%3Bto-tag%3D{to}%3Bfrom-tag%3D{from}",
            call_id.replace('@', "%40")
        )
    };
    let refer_to = |answer: &Message| format!("<{CAROL}?Replaces={}>", replaces(answer));
    let refer = request("REFER", "sip:dave@pbx.example")
        .with("Refer-To", &refer_to(&call.near))
        .with("Contact", &format!("<{}>", alice.uri()));
    alice.sends(refer);
    let arrived = pbx.receives("REFER");
    // S-168
    assert_eq!(arrived.header("Refer-To"), refer_to(&call.far));
    assert_eq!(
        param(arrived.header("From"), "tag"),
        Some(arrived.tag_of_from())
    );
    pbx.answers(&arrived, 603);
    alice.receives("603");
    hang_up(&alice, &call.alice, &pbx);
}
