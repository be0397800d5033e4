//! A monitor elsewhere: the peer that offers to watch a callee, and tells how it goes.
//!
//! Spec: RFC 6910 §7, §9; RFC 6665 §4.2.

use super::completion::{REQUEST_LAST, is_confirmed};
use super::dialog::Dialog;
use super::draft::{Draft, OFFER, invite, response, within};
use super::message::Message;
use super::party::Party;
use super::scenes::refused;
use super::subject::Setup;
use super::world::World;

/// Where Bob is, as Alice dials him at the peer.
pub(crate) const BOB: &str = "sip:bob@192.0.2.200";

/// The monitor of his queue there.
pub(crate) const MONITOR: &str = "sip:queue-7@192.0.2.200:5060";

/// The entry in it, as a peer names it that has only the callee himself dialled.
pub(crate) const ENTRY: &str = "sip:bob@192.0.2.200:5060;entry=4711";

/// How long a peer is waited for: 64*T1.
pub(crate) const PATIENCE: std::time::Duration = std::time::Duration::from_secs(32);

/// A subscription of campon's at a peer.
pub(crate) struct Watch {
    /// The SUBSCRIBE as the peer got it.
    pub(crate) sent: Message,
    /// The peer's end.
    pub(crate) dialog: Dialog,
}

/// Alice's phone and the peer behind campon.
pub(crate) fn alice_and_peer(setup: Setup) -> (World, Party, Party) {
    let world = World::new(setup);
    let (alice, pbx) = (world.phone("alice"), world.upstream());
    (world, alice, pbx)
}

/// The same, and Alice has called Bob, who is busy there and may be waited for.
#[track_caller]
pub(crate) fn alice_failed_at_peer(setup: Setup) -> (World, Party, Party) {
    let (world, alice, pbx) = alice_and_peer(setup);
    fails_at_peer(&alice, &pbx, BOB, &call_info(MONITOR));
    (world, alice, pbx)
}

/// The offer in a Call-Info.
pub(crate) fn call_info(uri: &str) -> String {
    format!("<{uri}>;purpose=call-completion;m=BS")
}

/// Alice's call to somebody at the peer meets a 486 with this Call-Info: the 486 as she gets it.
#[track_caller]
pub(crate) fn fails_at_peer(alice: &Party, pbx: &Party, whom: &str, info: &str) -> Message {
    let sent = alice.sends(invite(whom).with_sdp(OFFER));
    let got = pbx.receives("INVITE");
    pbx.sends(response(&got, 486).with("Call-Info", info));
    pbx.receives("ACK");
    refused(alice, &sent, "486")
}

/// Alice asks by code, and the peer's monitor has her in its queue.
#[track_caller]
pub(crate) fn is_queued_at_peer(alice: &Party, pbx: &Party) -> Watch {
    let watch = is_taken_by_peer(alice, pbx);
    notifies(pbx, &watch.dialog, "queued");
    watch
}

/// Alice asks by code, and the peer accepts.
#[track_caller]
pub(crate) fn is_taken_by_peer(alice: &Party, pbx: &Party) -> Watch {
    let code = alice.sends(invite(REQUEST_LAST).with_sdp(OFFER));
    let watch = takes_subscribe(pbx);
    is_confirmed(alice, &code);
    watch
}

/// The peer accepts a SUBSCRIBE.
#[track_caller]
pub(crate) fn takes_subscribe(pbx: &Party) -> Watch {
    let sent = pbx.receives("SUBSCRIBE");
    let accepted = pbx.sends(accept(&sent, "3600"));
    let dialog = Dialog::of_callee(&sent, &accepted);
    Watch { sent, dialog }
}

/// A 200 to a SUBSCRIBE.
pub(crate) fn accept(subscribe: &Message, expires_s: &str) -> Draft {
    response(subscribe, 200)
        .with("Expires", expires_s)
        .with("Contact", "<sip:notifier@192.0.2.200:5060>")
}

/// A NOTIFY with these fields.
pub(crate) fn notify(dialog: &Dialog, state: &str, document: &str) -> Draft {
    within(dialog, "NOTIFY")
        .with("Event", "call-completion")
        .with("Subscription-State", state)
        .with("Contact", "<sip:notifier@192.0.2.200:5060>")
        .with_body("application/call-completion", document.as_bytes())
}

/// The peer tells this state, with [`ENTRY`] as the entry's address, and campon takes it.
#[track_caller]
pub(crate) fn notifies(pbx: &Party, dialog: &Dialog, state: &str) {
    let document = format!("cc-state: {state}\r\ncc-URI: {ENTRY}\r\n");
    pbx.sends(notify(dialog, "active;expires=3500", &document));
    pbx.receives("200");
}

/// The peer ends a subscription, and campon takes it.
#[track_caller]
pub(crate) fn ends(pbx: &Party, dialog: &Dialog, reason: &str) {
    let state = format!("terminated;reason={reason}");
    pbx.sends(notify(dialog, &state, "cc-state: queued\r\n"));
    let [_taken] = pbx.receives_each(["200"]);
}

/// Campon takes its request back in the subscription's dialog.
#[track_caller]
pub(crate) fn is_taken_back(pbx: &Party, dialog: &Dialog) -> Message {
    let [end] = pbx.receives_each(["SUBSCRIBE"]);
    assert_eq!(end.header("Expires"), "0");
    assert_eq!(end.call_id(), dialog.call_id);
    assert_eq!(end.header("To"), dialog.local);
    pbx.sends(accept(&end, "0"));
    ends(pbx, dialog, "timeout");
    end
}
