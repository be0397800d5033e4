//! What the PBX asks for its credentials comes again: with the names that it had the first time.
//!
//! Spec: RFC 3261 §22.2, §22.3; RULES R3.

use crate::flow::kit::dialog::Dialog;
use crate::flow::kit::draft::{Draft, request, response};
use crate::flow::kit::message::Message;
use crate::flow::kit::party::Party;
use crate::flow::kit::relayed::{CAROL, accept, ends, notify, phone_and_pbx, tells, watch};

const CHALLENGE: &str = "Digest realm=\"pbx.example\", nonce=\"n1\", algorithm=MD5, qop=\"auth\"";
const CREDENTIALS: &str = "Digest username=\"alice\", realm=\"pbx.example\", nonce=\"n1\", \
    uri=\"sip:carol@pbx.example\", response=\"6629fae49393a05397450978507c4ef1\", \
    qop=auth, nc=00000001, cnonce=\"c\"";

/// A request that stays the same but for its number and credentials.
fn asks(draft: Draft) -> impl Fn(u32) -> Draft {
    move |number| {
        let draft = draft.clone();
        let method = draft.method().to_owned();
        draft
            .with("Call-ID", "repeat@192.0.2.10")
            .with("From", "<sip:alice@192.0.2.1>;tag=repeat")
            .with("CSeq", &format!("{number} {method}"))
    }
}

/// The PBX challenges a request, and gets it again: as it came first, and as it came then.
#[track_caller]
fn is_challenged(alice: &Party, pbx: &Party, ask: &impl Fn(u32) -> Draft) -> [Message; 2] {
    let sent = alice.sends(ask(1));
    let first = pbx.receives(sent.kind());
    let challenge = response(&first, 407).with("Proxy-Authenticate", CHALLENGE);
    pbx.sends(challenge);
    let challenged = alice.receives("407");
    assert_eq!(challenged.header("Proxy-Authenticate"), CHALLENGE);
    alice.sends(ask(2).with("Proxy-Authorization", CREDENTIALS));
    let second = pbx.receives(sent.kind());
    [first, second]
}

#[track_caller]
fn is_the_same_but_proven([first, second]: &[Message; 2]) {
    // S-29
    assert_eq!(second.call_id(), first.call_id());
    assert_eq!(second.header("From"), first.header("From"));
    assert_eq!(second.cseq(), first.cseq() + 1);
    assert_eq!(second.header("Proxy-Authorization"), CREDENTIALS);
    // R3: what the response was made from.
    assert_eq!((second.uri(), second.kind()), (first.uri(), first.kind()));
    assert_eq!(second.body(), first.body());
    assert_ne!(second.branch(), first.branch());
}

#[test]
fn a_subscribe_that_is_challenged_keeps_its_names() {
    let (_world, alice, pbx) = phone_and_pbx();
    let ask = asks(watch(&alice, CAROL, "dialog"));
    let both = is_challenged(&alice, &pbx, &ask);
    is_the_same_but_proven(&both); // S-29
    let [_, second] = both;
    let answer = pbx.sends(accept(&pbx, &second, "3600"));
    alice.receives("200");
    let far = Dialog::of_callee(&second, &answer);
    tells(&pbx, notify(&pbx, &far, "active;expires=3600"), &alice);
    ends(&pbx, &far, &alice);
}

#[test]
fn a_message_and_a_publish_that_are_challenged_keep_their_names() {
    for method in ["MESSAGE", "PUBLISH"] {
        let (_world, alice, pbx) = phone_and_pbx();
        let draft = request(method, CAROL).with("Event", "presence");
        let ask = asks(draft.with_body("text/plain", b"hello"));
        let both = is_challenged(&alice, &pbx, &ask);
        is_the_same_but_proven(&both); // S-29
        let [_, second] = both;
        pbx.answers(&second, 200);
        alice.receives("200");
    }
}

#[test]
fn a_refresh_that_is_challenged_keeps_its_dialog() {
    let (_world, alice, pbx) = phone_and_pbx();
    let scene = crate::flow::kit::relayed::alice_watches_carol(&alice, &pbx);
    let refresh = || {
        let draft = crate::flow::kit::draft::within(&scene.near, "SUBSCRIBE");
        draft.with("Event", "dialog").with("Expires", "1800")
    };
    alice.sends(refresh());
    let first = pbx.receives("SUBSCRIBE");
    pbx.sends(response(&first, 401).with("WWW-Authenticate", CHALLENGE));
    assert_eq!(alice.receives("401").header("WWW-Authenticate"), CHALLENGE);
    alice.sends(refresh().with("Authorization", CREDENTIALS));
    let second = pbx.receives("SUBSCRIBE");
    // S-29
    assert_eq!(second.header("Authorization"), CREDENTIALS);
    assert_eq!(
        (second.call_id(), second.cseq()),
        (first.call_id(), first.cseq() + 1)
    );
    pbx.sends(accept(&pbx, &second, "1800"));
    alice.receives("200");
    ends(&pbx, &scene.far, &alice);
}

#[test]
fn two_phones_that_chose_the_same_names_are_not_led_together() {
    let (world, alice, pbx) = phone_and_pbx();
    let again = world.party("again");
    again.registers_as("alice");
    let ask = asks(request("MESSAGE", CAROL).with_body("text/plain", b"hello"));
    alice.sends(ask(1));
    let first = pbx.receives("MESSAGE");
    pbx.answers(&first, 200);
    alice.receives("200");
    again.sends(ask(2));
    let second = pbx.receives("MESSAGE");
    pbx.answers(&second, 200);
    again.receives("200");
    // S-37
    assert_ne!(first.call_id(), second.call_id());
    assert_ne!(first.tag_of_from(), second.tag_of_from());
}
