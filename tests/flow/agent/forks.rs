//! Campon as agent of its callers, towards a queue behind the upstream.
//!
//! Spec: RFC 6665 §4.1; RFC 6910 §6.

use crate::flow::kit::dialog::Dialog;
use crate::flow::kit::draft::{Draft, OFFER, invite, response, within};
use crate::flow::kit::message::Message;
use crate::flow::kit::party::Party;
use crate::flow::kit::scenes::refused;
use crate::flow::kit::subject::{Setup, UPSTREAM};
use crate::flow::kit::world::World;

/// A code is understood: its call is answered, and ended by campon.
#[track_caller]
fn understood(alice: &Party, sent: &Message) {
    let done = alice.receives("200");
    alice.acks(sent, &done);
    alice.is_hung_up_on();
}

fn notify(dialog: &Dialog, body: &str) -> Draft {
    within(dialog, "NOTIFY")
        .with("Contact", &format!("<sip:{UPSTREAM}>"))
        .with("Event", "call-completion")
        .with("Subscription-State", "active;expires=600")
        .with_body("application/call-completion", body.as_bytes())
}

/// The end of a fork that nobody could unsubscribe was never heard of, and its place was lost.
#[test]
fn a_fork_that_shows_itself_by_a_broken_document_is_unsubscribed_like_the_others() {
    let world = World::new(Setup::Upstream);
    let (alice, pbx) = (world.phone("alice"), world.upstream());
    let sent = alice.sends(invite("bob").with_sdp(OFFER));
    let called = pbx.receives("INVITE");
    let offer = format!("<sip:cc-7@{UPSTREAM}>;purpose=call-completion;m=BS");
    pbx.sends(response(&called, 486).with("Call-Info", &offer));
    pbx.receives("ACK");
    refused(&alice, &sent, "486");

    let code = alice.sends(invite("*37%23").with_sdp(OFFER));
    let subscribe = pbx.receives("SUBSCRIBE");
    let accepted = pbx.sends(response(&subscribe, 200).with("Expires", "600"));
    let first = Dialog::of_callee(&subscribe, &accepted);
    pbx.sends(notify(&first, "cc-state: queued\r\n"));
    pbx.receives("200");
    understood(&alice, &code);

    let mut second = first.clone();
    second.local = format!("{};tag=second", subscribe.header("To"));
    pbx.sends(notify(&second, "cc-state: perhaps\r\n"));
    pbx.receives("400"); // CC-61

    let code = alice.sends(invite("#37%23").with_sdp(OFFER));
    understood(&alice, &code);
    for _ in [first, second] {
        let ended = pbx.receives("SUBSCRIBE");
        assert_eq!(ended.header("Expires"), "0");
        pbx.answers(&ended, 481);
    }
    world.quiet();
}
