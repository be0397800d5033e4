//! The first server of the PBX fails a request outside of calls, and the second one takes it.
//!
//! Spec: RFC 3263 §4.3; RFC 6665 §4.1.

use crate::flow::kit::dialog::Dialog;
use crate::flow::kit::draft::{request, response, within};
use crate::flow::kit::relayed::{CAROL, accept, ends, notify, tells, watch};
use crate::flow::kit::subject::Setup;
use crate::flow::kit::world::World;

#[test]
fn a_subscription_is_where_its_request_was_taken() {
    let world = World::new(Setup::Twins);
    let (alice, first, second) = (world.phone("alice"), world.upstream(), world.second());
    let sent = alice.sends(watch(&alice, CAROL, "dialog"));
    let at_first = first.receives("SUBSCRIBE");
    first.answers(&at_first, 503);
    let at_second = second.receives("SUBSCRIBE");
    // S-101
    assert_ne!(at_second.branch(), at_first.branch());
    for same in ["From", "To", "Call-ID", "CSeq", "Event", "Expires"] {
        assert_eq!(at_second.header(same), at_first.header(same));
    }
    // A name, which tells nothing of the way.
    let named = accept(&second, &at_second, "3600").with_only("Contact", "<sip:lamps@pbx.example>");
    let answer = second.sends(named);
    let accepted = alice.receives("200");
    let far = Dialog::of_callee(&at_second, &answer);
    tells(
        &second,
        notify(&second, &far, "active;expires=3600")
            .with_only("Contact", "<sip:lamps@pbx.example>"),
        &alice,
    );
    let near = Dialog::of_caller(&sent, &accepted);
    alice.sends(
        within(&near, "SUBSCRIBE")
            .with("Event", "dialog")
            .with("Expires", "0"),
    );
    let end = second.receives("SUBSCRIBE");
    assert_eq!(end.uri(), "sip:lamps@pbx.example");
    second.sends(accept(&second, &end, "0"));
    alice.receives("200");
    first.receives_nothing();
    ends(&second, &far, &alice);
}

#[test]
fn a_text_goes_to_the_second_server_when_the_first_fails_it() {
    let world = World::new(Setup::Twins);
    let (alice, first, second) = (world.phone("alice"), world.upstream(), world.second());
    alice.sends(request("MESSAGE", CAROL).with_body("text/plain", b"hello"));
    let at_first = first.receives("MESSAGE");
    first.answers(&at_first, 503);
    let at_second = second.receives("MESSAGE");
    // S-101
    assert_eq!((at_second.body(), at_second.uri()), (&b"hello"[..], CAROL));
    assert_eq!(at_second.call_id(), at_first.call_id());
    second.sends(response(&at_second, 202));
    alice.receives("202");
}
